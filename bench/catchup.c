/* SPDX-License-Identifier: Apache-2.0 */
/* A subscriber reads what has left memory from the journal; and the same loop, live. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/journaled.h"

#define RING "bench-catchup"
#define PATIENCE_NS 60000000000
#define SECONDS 2
/* A ring has more memory than its limit: docs/guarantees.md P1. */
#define LEAST_BYTES (4 * JOURNALED_MEMORY_BYTES)

struct work {
    const struct site *site;
    const struct case_shape *shape;
    uint64_t batches;
    double rate;
};

static uint64_t record_bytes(const struct work *work)
{
    return work->shape->payload_bytes + JOURNALED_HEADER_BYTES;
}

/*
 * Reads up to the position or the number, copies each payload out and looks at its number, which counts from 0. The
 * clock starts at the first one: live, it has to be sent first.
 */
static int read_up_to(struct work *work, struct weir_sub *sub, uint64_t end, uint64_t count)
{
    struct weir_message messages[JOURNALED_BATCH];
    uint8_t buffer[JOURNALED_PAYLOAD_MAX];
    uint64_t start = 0, next = 0;
    for (uint64_t at = 0; at < end && next < count;) {
        int got = weir_sub_next_batch(sub, messages, JOURNALED_BATCH, PATIENCE_NS);
        if (got < 0 || site_stopped(work->site))
            return case_say(got < 0 ? got : -EINTR, "next");
        start = start ? start : bench_now_ns();
        for (int i = 0; i < got; i++, next++) {
            uint64_t number;
            if (messages[i].data_bytes != work->shape->payload_bytes)
                return case_say(-EBADMSG, "size");
            memcpy(buffer, messages[i].data, messages[i].data_bytes);
            memcpy(&number, buffer, sizeof number);
            if (number != next)
                return case_say(-EBADMSG, "order");
        }
        at = messages[got - 1].next;
    }
    work->rate = start ? (double)next * 1e9 / (double)(bench_now_ns() - start) : 0;
    return start ? 0 : case_say(-EBADMSG, "nothing has left memory");
}

/* Until all are sent; where there is a time limit, until that and at least so much that some of it has left memory. */
static int send_batches(const struct work *work, struct weir_pub *pub, uint64_t limit_ns, uint64_t *ret_last)
{
    uint64_t start = bench_now_ns();
    int r = 0;
    for (uint64_t i = 0; i < work->batches && r == 0; i++) {
        if (limit_ns && i * JOURNALED_BATCH * record_bytes(work) > LEAST_BYTES && bench_now_ns() - start > limit_ns)
            break;
        r = site_stopped(work->site)
                ? -EINTR
                : journaled_send(pub, work->shape->payload_bytes, i * JOURNALED_BATCH, JOURNALED_BATCH, ret_last);
    }
    return r;
}

/* -- from the journal ----------------------------------------------------------------------------------------------- */

static int read_journal(struct pair *pair, void *ctx)
{
    (void)pair;
    struct work *work = ctx;
    struct weir_ring_info info = {.size = sizeof info};
    struct weir_sub *sub;
    int r = case_say(weir_ring_inspect(work->site->bus, RING, &info), RING);
    for (int pass = 0; pass < 2 && r == 0; pass++) { /* the first one brings it into the page cache */
        if ((r = case_say(weir_sub_open(work->site->bus, RING, NULL, &sub), RING)) < 0)
            return r;
        r = read_up_to(work, sub, info.memory_position, UINT64_MAX);
        weir_sub_close(sub);
    }
    return r;
}

static int fill(const struct work *work)
{
    struct weir_pub *pub;
    uint64_t last = 0;
    int r = case_say(weir_pub_open(work->site->bus, RING, NULL, &pub), RING);
    if (r < 0)
        return r;
    r = send_batches(work, pub, SECONDS * 1000000000ull, &last);
    if (r == 0)
        r = journaled_wait(work->site, pub, last);
    weir_pub_close(pub);
    return r;
}

static int catch_up(struct pair *pair, struct site *site, struct work *work, uint64_t bytes)
{
    struct bench_daemon daemon = {0};
    int r = journaled_ring(site, work->shape, RING);
    if (r == 0)
        r = bench_daemon_start(&daemon, site, pair->cpus[1], bytes, 0);
    if (r == 0)
        r = fill(work);
    if (r == 0)
        r = pair_run(pair, 0, read_journal, NULL, work);
    bench_daemon_stop(&daemon);
    journaled_remove(site, RING);
    return r;
}

/* -- live ----------------------------------------------------------------------------------------------------------- */

static int live_child(struct pair *pair, size_t index, void *ctx)
{
    const struct work *work = ctx;
    struct weir_pub *pub;
    if (case_say(weir_pub_open(work->site->bus, RING, NULL, &pub), RING) < 0)
        return -EIO;
    pair_child_ready(pair, index);
    while (mem_load_acquire(&pair->shared->go) == 0)
        ;
    int r = send_batches(work, pub, 0, NULL);
    weir_pub_close(pub);
    return r;
}

static int live_parent(struct pair *pair, void *ctx)
{
    struct work *work = ctx;
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    struct weir_sub *sub;
    options.gating = 1;
    options.spin_ns = WEIR_FOREVER;
    int r = case_say(weir_sub_open(work->site->bus, RING, &options, &sub), RING);
    if (r < 0)
        return r;
    mem_store_release(&pair->shared->go, 1);
    r = read_up_to(work, sub, UINT64_MAX, work->batches * JOURNALED_BATCH);
    weir_sub_close(sub);
    return r;
}

static int live(struct pair *pair, struct work *work)
{
    struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    options.journaled = 0;
    options.exclusive = work->shape->exclusive;
    options.max_readers = 1;
    options.max_publishers = 1;
    int r = case_say(weir_ring_create(work->site->bus, RING, &options), RING);
    if (r == 0)
        r = pair_run(pair, 1, live_parent, live_child, work);
    weir_ring_remove(work->site->bus, RING, 1, 0);
    return r;
}

int case_catch_up(struct pair *pair, struct site *site, const struct case_shape *shape, uint64_t bytes,
                  double *ret_rate, double *ret_live)
{
    struct work work = {.site = site, .shape = shape};
    bytes = bytes > LEAST_BYTES ? bytes : LEAST_BYTES;
    work.batches = bytes / (JOURNALED_BATCH * record_bytes(&work)) + 1;
    int r = live(pair, &work);
    *ret_live = work.rate;
    if (r == 0)
        r = catch_up(pair, site, &work, bytes);
    *ret_rate = work.rate;
    return r;
}
