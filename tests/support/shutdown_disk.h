/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ext4 or xfs in a file, whose power goes by FS_IOC_SHUTDOWN: the kernel drops what it has not written out, its
 * journal included, and finds what is left when it mounts it anew. Unlike those of a host without power, programs live
 * on while it does: in xfs a sync may find that what it was to wait for was dropped, and succeed. So what a program is
 * told behind the last moment counts for nothing.
 */
#ifndef WEIR_TESTS_SUPPORT_SHUTDOWN_DISK_H
#define WEIR_TESTS_SUPPORT_SHUTDOWN_DISK_H

#include <atomic>
#include <thread>

#include "tests/support/power_disk.h"

class ShutdownDisk : public PowerDisk
{
public:
    /* make: the command that makes one in a file. In a mount namespace that is the caller's own. */
    ShutdownDisk(const std::string &path, const std::string &make);
    ~ShutdownDisk() override;

    const std::string &why() const override
    {
        return why_;
    }
    void lose_power_at(uint64_t n) override; /* in so many halves of a millisecond */
    void lose_power_now() override;
    bool lost_power() const override
    {
        return lost_;
    }
    void restore_power() override;

private:
    void mount();
    void unmount();
    void stop_clock();

    std::string path_, image_, why_;
    int fd_ = -1;
    std::atomic<bool> lost_{false}, end_{false};
    std::thread clock_;
};

#endif
