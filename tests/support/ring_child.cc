// SPDX-License-Identifier: Apache-2.0
#include "tests/support/ring_child.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>

#include "tests/support/ring_coverage.h"

namespace ringtest
{

namespace
{

constexpr uint32_t kPatience = 1000000;
constexpr unsigned kHangsAfterSeconds = 100; // what takes milliseconds will never end

struct {
    uint64_t left;
    int signal;
    struct mem_u64 *site;
} child;

void child_point(struct mem_site *site)
{
    coverage_count(site, Event::passed);
    if (child.left == 0 || --child.left > 0)
        return;
    coverage_count(site, child.signal == SIGKILL ? Event::killed : Event::stopped);
    poke(child.site, reinterpret_cast<uint64_t>(site));
    raise(child.signal);
}

} // namespace

Child::Child(Trial &trial, uint32_t who, const Script &script)
    : trial_(trial), who_(who), script_(script), site_(static_cast<struct mem_u64 *>(shared_memory(sizeof *site_)))
{
}

Child::~Child()
{
    if (pid_ > 0) {
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    munmap(site_, sizeof *site_);
}

std::string Child::where() const
{
    const struct mem_site *site = reinterpret_cast<const struct mem_site *>(look(site_));
    return site ? std::string(site->file) + ":" + std::to_string(site->line) + " " + site->function : "its end";
}

void Child::start(uint64_t n, int signal)
{
    pid_ = fork();
    if (pid_ < 0)
        throw std::runtime_error("fork");
    if (pid_ > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(kHangsAfterSeconds);
    child = {n, signal, site_};
    mem_point_hook = child_point;
    Actor actor(trial_, who_);
    actor.patience = signal == SIGKILL ? 0 : kPatience; /* who waits is helped by the parent while it goes on */
    script_(actor);
    poke(&actor.log.finished, 1);
    _exit(look(&actor.log.error) ? 1 : 0);
}

Child::End Child::wait(int flags)
{
    int status;
    pid_t r = waitpid(pid_, &status, flags);
    if (r == 0)
        return End::running;
    if (r == pid_ && WIFSTOPPED(status))
        return End::stopped;
    pid_ = -1;
    if (r > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return End::killed;
    return r > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? End::finished : End::broken;
}

Child::End Child::run_and_kill(uint64_t n)
{
    start(n, SIGKILL);
    return wait(0);
}

Child::End Child::run_and_stop(uint64_t n)
{
    start(n, SIGSTOP);
    return wait(WUNTRACED);
}

void Child::go_on()
{
    kill(pid_, SIGCONT);
}

Child::End Child::end()
{
    return wait(WNOHANG);
}

} // namespace ringtest
