/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/lossy_disk.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <new>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/lossy_server.h"

LossyDisk::LossyDisk(const std::string &path, uint64_t seed, bool allocates) : path_(path)
{
    void *page = mmap(nullptr, sizeof(LossyNews), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int line[2];
    if (page == MAP_FAILED || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) < 0)
        abort();
    news_ = new (page) LossyNews();
    server_ = fork();
    if (server_ == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* A descriptor of the test's that lived on here would pass for its life. */
        dup2(line[1], 3);
        close_range(4, ~0u, 0);
        lossy_serve(path, seed, allocates, news_, 3);
        _exit(0);
    }
    close(line[1]);
    line_ = line[0];
    mounted(ask(LOSSY_MOUNT));
}

void LossyDisk::mounted(int error)
{
    why_ = error ? std::string("nothing can be served through /dev/fuse: ") + strerror(error) : "";
}

LossyDisk::~LossyDisk()
{
    close(line_);
    waitpid(server_, nullptr, 0);
    munmap(news_, sizeof(LossyNews));
}

int LossyDisk::ask(int what, uint64_t value) const
{
    LossyOrder order = {static_cast<LossyWish>(what), value};
    int result;
    if (send(line_, &order, sizeof order, MSG_NOSIGNAL) < 0 || recv(line_, &result, sizeof result, 0) <= 0)
        return EPIPE;
    return result;
}

void LossyDisk::lose_power_at(uint64_t n)
{
    ask(LOSSY_LOSE_AT, n);
}

void LossyDisk::lose_power_now()
{
    ask(LOSSY_LOSE);
}

bool LossyDisk::lost_power() const
{
    return news_->lost != 0;
}

void LossyDisk::restore_power()
{
    mounted(ask(LOSSY_RESTORE));
}

void LossyDisk::break_syncs(uint64_t one_in)
{
    ask(LOSSY_BREAK_SYNCS, one_in);
}

void LossyDisk::hold_writes(bool hold)
{
    ask(LOSSY_HOLD, hold);
}

void LossyDisk::release_writes()
{
    ask(LOSSY_RELEASE);
}

uint64_t LossyDisk::held() const
{
    return news_->held;
}

uint64_t LossyDisk::broken() const
{
    return news_->broken;
}
