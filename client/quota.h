/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the publishers of a ring may send together: messages and bytes a second, in shared memory, so that it holds whoever
 * sends. Two words, one for each, tell when the next one would be due if all had come evenly spaced (GCRA, the "virtual
 * scheduling" of ITU-T I.371): over any time t never more than rate x t + burst. Who dies between taking and sending has
 * used up a share of it, and nothing else.
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
/* 0: taken. Else nothing was, and so many nanoseconds have to pass. */
uint64_t quota_take(struct ring_control *control, const struct quota_amount *amount, uint64_t now_ns);
/* What was taken and not sent. */
void quota_give_back(struct ring_control *control, const struct quota_amount *amount);

#endif
