/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mounted file system that can lose power (see lossy_store.h): served through /dev/fuse by a process of its own,
 * which ends with the test. It says EIO to everything from when the power is gone until it is back.
 */
#ifndef WEIR_TESTS_SUPPORT_LOSSY_DISK_H
#define WEIR_TESTS_SUPPORT_LOSSY_DISK_H

#include <sys/types.h>

#include "tests/support/power_disk.h"

struct LossyNews;

class LossyDisk : public PowerDisk
{
public:
    /* In a mount namespace that is the caller's own. allocates: it has fallocate(2). */
    LossyDisk(const std::string &path, uint64_t seed, bool allocates);
    ~LossyDisk() override;

    const std::string &why() const override
    {
        return why_;
    }
    void lose_power_at(uint64_t n) override; /* at the n-th change: a write, a sync, a name */
    void lose_power_now() override;
    bool lost_power() const override;
    void restore_power() override;
    void break_syncs(uint64_t one_in) override;
    uint64_t broken() const override;

    /*
     * Writes of 64 KiB and more that come, but for those of zeros alone, are neither done nor answered until those that
     * were held are released.
     */
    void hold_writes(bool hold);
    void release_writes();
    uint64_t held() const;

private:
    int ask(int what, uint64_t value = 0) const;
    void mounted(int error);

    std::string path_, why_;
    LossyNews *news_;
    pid_t server_ = -1;
    int line_ = -1;
};

#endif
