/* SPDX-License-Identifier: Apache-2.0 */
/* Time limits, and how long a sleep may be before the sleeper looks for the dead. */
#ifndef WEIR_CLIENT_WAIT_H
#define WEIR_CLIENT_WAIT_H

#include <stdint.h>

/* A publisher may have died between its news and the wake; P2 gives 100 ms, 5 ms where something is known to be pending. */
#define SLEEP_BOUND_NS 80000000
#define SLEEP_BOUND_PENDING_NS 5000000

/* A span of time being waited out. */
struct wait {
    uint64_t deadline_ns; /* CLOCK_MONOTONIC; UINT64_MAX: never */
};
struct wait wait_start(int64_t timeout_ns);
/* What is left of it, at most `bound_ns`; 0: nothing. */
int64_t wait_left(const struct wait *wait, int64_t bound_ns);

#endif
