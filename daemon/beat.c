/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/beat.h"

#include <pthread.h>

/* A thread that goes in circles gets at least this part of the time, on however busy a machine. */
#define BEAT_CIRCLES_PART 16u

void beat_begin(struct beat *beat)
{
    if (pthread_getcpuclockid(pthread_self(), &beat->clock) != 0)
        beat->clock = CLOCK_MONOTONIC; /* then each wait is taken for a hang */
    beat_raise(beat);
}

void beat_raise(struct beat *beat)
{
    mem_store_release(&beat->rounds, mem_load_relaxed(&beat->rounds) + 1);
}

static uint64_t beat_used_ns(const struct beat *beat)
{
    struct timespec used;
    if (clock_gettime(beat->clock, &used) != 0)
        return 0;
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

bool beat_look(struct beat *beat, uint64_t step_ns, enum beat_kind kind)
{
    uint64_t rounds = mem_load_acquire(&beat->rounds);
    if (rounds == 0)
        return true;
    if (rounds != beat->seen_rounds) {
        beat->seen_rounds = rounds;
        beat->seen_used_ns = beat_used_ns(beat);
        beat->still_ns = 0;
        return true;
    }
    beat->still_ns += step_ns;
    if (beat->still_ns < BEAT_LIMIT_NS)
        return true;
    return kind == BEAT_WAITS_FOR_DISK && beat_used_ns(beat) - beat->seen_used_ns < beat->still_ns / BEAT_CIRCLES_PART;
}
