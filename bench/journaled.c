/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/journaled.h"

#include <errno.h>
#include <string.h>

/* A disk that makes no progress for as long is broken. */
#define PATIENCE_NS 60000000000
/* How often a wait is left, to see whether the bench is to end. */
#define SLICE_NS 100000000

int journaled_ring(const struct site *site, const struct case_shape *shape, const char *name)
{
    struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    options.exclusive = shape->exclusive;
    options.segment_bytes = shape->segment_bytes;
    options.memory_limit_bytes = shape->memory_bytes ? shape->memory_bytes : JOURNALED_MEMORY_BYTES;
    options.max_readers = 1;
    options.max_publishers = 1;
    return case_say(weir_ring_create(site->bus, name, &options), name);
}

int journaled_wait(const struct site *site, struct weir_pub *pub, uint64_t position)
{
    int r = -ETIMEDOUT;
    for (uint64_t start = bench_now_ns(); r == -ETIMEDOUT && bench_now_ns() - start < PATIENCE_NS;) {
        r = weir_pub_wait(pub, position, WEIR_DURABLE, SLICE_NS);
        if (site_stopped(site))
            return -EINTR;
    }
    return case_say(r, "durable");
}

int journaled_pub(const struct site *site, const char *name, struct weir_pub **ret_pub)
{
    uint64_t position;
    struct weir_pub *pub;
    int r = case_say(weir_pub_open(site->bus, name, NULL, &pub), name);
    if (r < 0)
        return r;
    r = case_say(weir_pub_send(pub, "x", 1, PATIENCE_NS, &position), "send");
    if (r == 0)
        r = journaled_wait(site, pub, position);
    if (r < 0)
        weir_pub_close(pub);
    else
        *ret_pub = pub;
    return r;
}

int journaled_send(struct weir_pub *pub, size_t payload_bytes, uint64_t first, size_t count, uint64_t *ret_last)
{
    static uint8_t payloads[JOURNALED_BATCH][JOURNALED_PAYLOAD_MAX];
    struct weir_message messages[JOURNALED_BATCH];
    uint64_t positions[JOURNALED_BATCH];
    for (size_t i = 0; i < count; i++) {
        uint64_t number = first + i;
        memcpy(payloads[i], &number, sizeof number);
        messages[i] = (struct weir_message){.data = payloads[i], .data_bytes = payload_bytes};
    }
    int r = weir_pub_send_batch(pub, messages, count, PATIENCE_NS, positions);
    if (r == 0 && ret_last)
        *ret_last = positions[count - 1];
    return case_say(r, "send");
}

void journaled_remove(const struct site *site, const char *name)
{
    weir_ring_remove(site->bus, name, 1, 1);
}
