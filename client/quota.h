/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the publishers of a ring may send together: messages and bytes a second, in shared memory, so that it holds whoever
 * sends. Two words, one for each, tell when the next one would be due if all had come evenly spaced (GCRA, the "virtual
 * scheduling" of ITU-T I.371).
 *
 * 1. Whoever comes goes while less than the burst is owed. That is the same for small messages and large ones, so neither keep
 *    the others out; and so over any time t never more is taken than rate x t + burst, and what the last message has beyond it.
 * 2. Who dies between taking and sending has used up a share of it, and nothing else.
 * 3. What is given back is never more than what others could have had but for it: the time that passed meanwhile has worked it
 *    off already. After a change of the quota nothing is.
 * 4. weird changes the rates and the burst first, and then the due words to 0.
 */
#ifndef WEIR_CLIENT_QUOTA_H
#define WEIR_CLIENT_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "ringbuf/layout.h"

struct quota_amount {
    uint64_t messages, bytes;
};

/* One load for each message: the words lie in a line that is read for each message anyway. */
static inline bool quota_set(const struct ring_control *control)
{
    return (mem_load_relaxed(&control->quota_messages) | mem_load_relaxed(&control->quota_bytes)) != 0;
}
struct quota_share {
    uint64_t messages_a_second, bytes_a_second, burst_ns; /* the quota that it was taken of */
    uint64_t messages_parts, bytes_parts;                 /* how long that takes for it */
    uint64_t taken_ns;
};
/* 0: taken, and *ret_share says what. Else nothing was, and so many nanoseconds have to pass. */
uint64_t quota_take(struct ring_control *control, const struct quota_amount *amount, uint64_t now_ns,
                    struct quota_share *ret_share);
/* What was taken and not sent: clause 3. */
void quota_give_back(struct ring_control *control, const struct quota_share *share, uint64_t now_ns);

#endif
