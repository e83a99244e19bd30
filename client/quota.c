/* SPDX-License-Identifier: Apache-2.0 */
#include "client/quota.h"

/* Due words count in parts of a nanosecond, since a message at 100 M/s costs ten of them: for nine years of uptime. */
#define PARTS_A_NS 64u
#define SECOND_PARTS (1e9 * PARTS_A_NS)
/* Nobody can have taken so much ahead of time: a due word beyond it was written by somebody else, and is begun anew. */
#define PARTS_AHEAD_MAX ((uint64_t)1 << 58)
#define PARTS_MAX ((uint64_t)1 << 57)

static uint64_t cost(uint64_t amount, uint64_t a_second)
{
    double parts = (double)amount * SECOND_PARTS / (double)a_second;
    return parts < (double)PARTS_MAX ? (uint64_t)parts : PARTS_MAX;
}

static uint64_t parts_of(uint64_t ns)
{
    return ns < PARTS_MAX / PARTS_A_NS ? ns * PARTS_A_NS : PARTS_MAX;
}

/* Clause 1. */
static uint64_t take(struct mem_u64 *due, uint64_t parts, uint64_t burst_ns, uint64_t now_ns)
{
    uint64_t now = now_ns * PARTS_A_NS;
    uint64_t burst = burst_ns ? parts_of(burst_ns) : 1; /* 0: one message, whenever nothing is owed */
    for (;;) {
        uint64_t before = mem_load_relaxed(due);
        uint64_t owed = before > now && before - now < PARTS_AHEAD_MAX ? before - now : 0;
        if (owed >= burst)
            return (owed - burst) / PARTS_A_NS + 1;
        if (mem_swap(due, before, now + owed + parts))
            return 0;
    }
}

static bool holds_still(const struct ring_control *control, const struct quota_share *share)
{
    return mem_load_relaxed(&control->quota_messages) == share->messages_a_second &&
           mem_load_relaxed(&control->quota_bytes) == share->bytes_a_second &&
           mem_load_relaxed(&control->quota_burst_ns) == share->burst_ns;
}

/*
 * Clause 3. The due word is loaded before the quota is, and swapped only if it is the same still: a quota that has not changed
 * by then had not when the due word was what it is (clause 4).
 */
static void give_back(struct mem_u64 *due, uint64_t parts, const struct ring_control *control,
                      const struct quota_share *share)
{
    uint64_t before;
    do {
        before = mem_load_acquire(due); /* E10 quota */
        if (before < parts || !holds_still(control, share))
            return;
    } while (!mem_swap(due, before, before - parts));
}

uint64_t quota_take(struct ring_control *control, const struct quota_amount *amount, uint64_t now_ns,
                    struct quota_share *ret_share)
{
    struct quota_share share = {.messages_a_second = mem_load_relaxed(&control->quota_messages),
                                .bytes_a_second = mem_load_relaxed(&control->quota_bytes),
                                .burst_ns = mem_load_relaxed(&control->quota_burst_ns),
                                .taken_ns = now_ns};
    uint64_t wait_ns = 0;
    if (share.messages_a_second) {
        share.messages_parts = cost(amount->messages, share.messages_a_second);
        wait_ns = take(&control->quota_messages_due, share.messages_parts, share.burst_ns, now_ns);
    }
    if (wait_ns == 0 && share.bytes_a_second) {
        uint64_t parts = cost(amount->bytes, share.bytes_a_second);
        wait_ns = take(&control->quota_bytes_due, parts, share.burst_ns, now_ns);
        if (wait_ns)
            quota_give_back(control, &share, now_ns);
        share.bytes_parts = parts;
    }
    if (wait_ns == 0)
        *ret_share = share;
    return wait_ns;
}

void quota_give_back(struct ring_control *control, const struct quota_share *share, uint64_t now_ns)
{
    uint64_t passed = parts_of(now_ns - share->taken_ns);
    if (share->messages_parts > passed)
        give_back(&control->quota_messages_due, share->messages_parts - passed, control, share);
    if (share->bytes_parts > passed)
        give_back(&control->quota_bytes_due, share->bytes_parts - passed, control, share);
}
