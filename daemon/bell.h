/* SPDX-License-Identifier: Apache-2.0 */
/* Ringing the bells of layout.h. */
#ifndef WEIR_DAEMON_BELL_H
#define WEIR_DAEMON_BELL_H

#include "ringbuf/layout.h"
#include "shm/shm.h"

/* The half of a 64-bit word that a futex sleeps on. */
static inline const uint32_t *bell_futex(const struct mem_u64 *word)
{
    const uint32_t *halves = (const uint32_t *)(const void *)word;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return halves;
#else
    return halves + 1;
#endif
}

/* A wish is plausible when it is ahead by less than half of what a futex can tell apart. */
static inline bool bell_wanted(uint64_t want, uint64_t seq)
{
    return want - seq - 1 < (1ull << 31) - 1;
}

static inline void bell_ring(struct mem_u64 *seq)
{
    mem_add(seq, 1);
    shm_wake_all(bell_futex(seq));
}

#endif
