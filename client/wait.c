/* SPDX-License-Identifier: Apache-2.0 */
#include "client/wait.h"

#include "shm/shm.h"

struct wait wait_start(int64_t timeout_ns)
{
    if (timeout_ns == INT64_MAX)
        return (struct wait){UINT64_MAX};
    return (struct wait){shm_now_ns() + (timeout_ns > 0 ? (uint64_t)timeout_ns : 0)};
}

int64_t wait_left(const struct wait *wait, int64_t bound_ns)
{
    if (wait->deadline_ns == UINT64_MAX)
        return bound_ns;
    uint64_t now = shm_now_ns();
    if (now >= wait->deadline_ns)
        return 0;
    uint64_t left = wait->deadline_ns - now;
    return left < (uint64_t)bound_ns ? (int64_t)left : bound_ns;
}
