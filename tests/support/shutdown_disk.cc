/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/shutdown_disk.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/mounts.hh"

namespace
{

/* FS_IOC_SHUTDOWN of newer headers; and its argument that says: write nothing more, not even the journal. */
constexpr unsigned long shutdown_request = _IOR('X', 125, uint32_t);
constexpr uint32_t shutdown_without_log = 2;

} // namespace

ShutdownDisk::ShutdownDisk(const std::string &path, const std::string &make)
    : path_(path), image_(path + ".image"), why_(make_image(image_, make))
{
    mount();
    lose_power_now(); /* it may be refused, and then there is no such disk to be had */
    restore_power();
}

ShutdownDisk::~ShutdownDisk()
{
    stop_clock();
    unmount();
    unlink(image_.c_str());
}

void ShutdownDisk::mount()
{
    if (why_.empty())
        why_ = mount_image(image_, path_);
    if (why_.empty())
        fd_ = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void ShutdownDisk::unmount()
{
    if (fd_ < 0)
        return;
    close(fd_);
    fd_ = -1;
    /* Who was killed may let go of it a little later. */
    for (int left = 5000; umount2(path_.c_str(), 0) < 0 && left > 0; left--)
        usleep(1000);
}

void ShutdownDisk::stop_clock()
{
    end_ = true;
    if (clock_.joinable())
        clock_.join();
    end_ = false;
}

void ShutdownDisk::lose_power_at(uint64_t n)
{
    stop_clock();
    clock_ = std::thread([this, n] {
        for (uint64_t left = n; left > 0 && !end_; left--)
            usleep(500);
        if (!end_)
            lose_power_now();
    });
}

void ShutdownDisk::lose_power_now()
{
    uint32_t how = shutdown_without_log;
    if (lost_.exchange(true) || fd_ < 0)
        return;
    if (last_moment)
        last_moment();
    if (ioctl(fd_, shutdown_request, &how) < 0)
        why_ = std::string("it cannot be shut down: ") + strerror(errno);
}

void ShutdownDisk::restore_power()
{
    stop_clock();
    unmount();
    lost_ = false;
    mount();
}
