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

/* What is larger than the burst goes when nothing else was sent for as long as it would take. */
static uint64_t take(struct mem_u64 *due, uint64_t amount, uint64_t a_second, uint64_t burst_ns, uint64_t now_ns)
{
    uint64_t now = now_ns * PARTS_A_NS;
    uint64_t burst = burst_ns < PARTS_MAX / PARTS_A_NS ? burst_ns * PARTS_A_NS : PARTS_MAX;
    uint64_t parts = cost(amount, a_second);
    uint64_t tolerated = burst > parts ? burst : parts;
    for (;;) {
        uint64_t before = mem_load_relaxed(due);
        uint64_t from = before > now && before - now < PARTS_AHEAD_MAX ? before : now;
        uint64_t next = from + parts;
        if (next - now > tolerated)
            return (next - now - tolerated + PARTS_A_NS - 1) / PARTS_A_NS;
        if (mem_swap(due, before, next))
            return 0;
    }
}

static void give_back(struct mem_u64 *due, uint64_t amount, uint64_t a_second)
{
    mem_add(due, 0 - cost(amount, a_second));
}

uint64_t quota_take(struct ring_control *control, const struct quota_amount *amount, uint64_t now_ns)
{
    uint64_t messages = mem_load_relaxed(&control->quota_messages), bytes = mem_load_relaxed(&control->quota_bytes);
    uint64_t burst_ns = mem_load_relaxed(&control->quota_burst_ns), due_ns = 0;
    if (messages)
        due_ns = take(&control->quota_messages_due, amount->messages, messages, burst_ns, now_ns);
    if (due_ns || bytes == 0)
        return due_ns;
    due_ns = take(&control->quota_bytes_due, amount->bytes, bytes, burst_ns, now_ns);
    if (due_ns && messages)
        give_back(&control->quota_messages_due, amount->messages, messages);
    return due_ns;
}

void quota_give_back(struct ring_control *control, const struct quota_amount *amount)
{
    uint64_t messages = mem_load_relaxed(&control->quota_messages), bytes = mem_load_relaxed(&control->quota_bytes);
    if (messages)
        give_back(&control->quota_messages_due, amount->messages, messages);
    if (bytes)
        give_back(&control->quota_bytes_due, amount->bytes, bytes);
}
