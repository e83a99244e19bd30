/* SPDX-License-Identifier: Apache-2.0 */
/*
 * E6 sleep: who sleeps stores `want`, fences everyone, looks for news, sleeps. Who has news stores it, then (light fence) loads
 * `want`. The sleeper's heavy fence makes one of the two see the other; without it the sleeper may miss the news and is
 * woken by its own time limit.
 *
 * `want` only counts when it is ahead of `seq` by at most 2^31, and the news brings `seq` up to it: so garbage in it costs
 * one system call at most, not one for each message. Killed between the news and the wake: sleeps are bounded.
 */
#include "ringbuf/internal.h"

static bool wanted(uint64_t want, uint64_t seq)
{
    return want - seq - 1 < 1ull << 31;
}

bool ring_bell_news(const struct ring_view *view, struct ring_bell *bell, const struct mem_u64 *want)
{
    if (view->fence_self)
        mem_fence_full();
    else
        mem_fence_light();
    uint64_t seq = mem_load_relaxed(&bell->seq);
    uint64_t asked = mem_load_relaxed(want);
    if (!wanted(asked, seq))
        return false;
    mem_swap(&bell->seq, seq, asked); /* who loses this swap was overtaken by another's news: it wakes too */
    return true;
}

bool ring_news(struct ring_view *view)
{
    return view->readers && ring_bell_news(view, &view->control->records, &view->readers->records_want);
}

uint64_t ring_bell_ask(struct ring_bell *bell, struct mem_u64 *want)
{
    for (;;) {
        uint64_t seq = mem_load_acquire(&bell->seq);
        uint64_t asked = mem_load_acquire(want);
        if (wanted(asked, seq) || mem_swap(want, asked, seq + 1))
            return seq;
    }
}
