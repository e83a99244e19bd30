/* SPDX-License-Identifier: Apache-2.0 */
/* A mounted file system whose power can go: what was not synced may be lost then. */
#ifndef WEIR_TESTS_SUPPORT_POWER_DISK_H
#define WEIR_TESTS_SUPPORT_POWER_DISK_H

#include <cstdint>
#include <functional>
#include <string>

class PowerDisk
{
public:
    PowerDisk() = default;
    PowerDisk(const PowerDisk &) = delete;
    PowerDisk &operator=(const PowerDisk &) = delete;
    virtual ~PowerDisk() = default;

    /* "", or why it is not there. */
    virtual const std::string &why() const = 0;
    /* The power goes soon: the sooner the smaller n is, which is 1 or more. Everything is an error from then on. */
    virtual void lose_power_at(uint64_t n) = 0;
    virtual void lose_power_now() = 0;
    virtual bool lost_power() const = 0;
    /* It comes back, and what is left is mounted. Nobody may use what was mounted before. */
    virtual void restore_power() = 0;
    /* Where the power does not go at once: called before it does. From another thread, too. */
    std::function<void()> last_moment;
    /* Of the syncs of files one in so many fails, where that can be had; 0: none. */
    virtual void break_syncs(uint64_t)
    {
    }
    /* So many did. */
    virtual uint64_t broken() const
    {
        return 0;
    }
};

#endif
