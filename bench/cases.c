/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/cases.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <weir.h>

#define FORTH "bench-forth"
#define BACK "bench-back"
#define BATCH 64

struct work {
    const char *bus;
    size_t payload_bytes;
    enum case_way way;
    uint64_t count;
    uint64_t *ticks;
    uint8_t *buffer;
    double result;
};

static int say(int r, const char *what)
{
    if (r < 0)
        fprintf(stderr, "weir: bench: %s: %s %s\n", what, weir_strerror(r), weir_last_error());
    return r;
}

static int make_ring(const struct case_ring *ring, const char *name)
{
    struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    options.exclusive = ring->exclusive;
    options.journaled = 0;
    options.segment_bytes = ring->segment_bytes;
    options.memory_limit_bytes = ring->memory_limit_bytes;
    options.max_readers = 2;
    return say(weir_ring_create(ring->bus, name, &options), name);
}

static int open_sub(const char *bus, const char *name, int64_t spin_ns, struct weir_sub **ret_sub)
{
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    options.gating = 1;
    options.spin_ns = spin_ns;
    return say(weir_sub_open(bus, name, &options, ret_sub), name);
}

static int run(struct pair *pair, const struct case_ring *ring, int (*parent)(struct pair *, void *),
               int (*child)(struct pair *, void *), struct work *work)
{
    int r = make_ring(ring, FORTH);
    if (r == 0)
        r = make_ring(ring, BACK);
    if (r == 0 && work->payload_bytes && !(work->buffer = calloc(1, work->payload_bytes)))
        r = -ENOMEM;
    work->bus = ring->bus;
    if (r == 0)
        r = say(pair_run(pair, parent, child, work), "two processes");
    free(work->buffer);
    weir_ring_remove(ring->bus, FORTH, 1, 0);
    weir_ring_remove(ring->bus, BACK, 1, 0);
    return r;
}

/* -- latency -------------------------------------------------------------------------------------------------------- */

static int latency_child(struct pair *pair, void *ctx)
{
    const struct work *work = ctx;
    struct weir_message message;
    struct weir_sub *sub;
    struct weir_pub *pub;
    if (open_sub(work->bus, FORTH, WEIR_FOREVER, &sub) < 0 || say(weir_pub_open(work->bus, BACK, NULL, &pub), BACK) < 0)
        return -EIO;
    pair_child_ready(pair);
    for (uint64_t i = 0; i < work->count; i++) {
        int r = weir_sub_next(sub, WEIR_FOREVER, &message);
        if (r < 0 || message.data_bytes != work->payload_bytes)
            return say(r, "next");
        memcpy(work->buffer, message.data, work->payload_bytes);
        if ((r = weir_pub_send(pub, work->buffer, work->payload_bytes, WEIR_FOREVER, NULL)) < 0)
            return say(r, "send");
    }
    weir_sub_close(sub);
    weir_pub_close(pub);
    return 0;
}

static int latency_parent(struct pair *pair, void *ctx)
{
    (void)pair;
    struct work *work = ctx;
    struct weir_message message;
    struct weir_sub *sub;
    struct weir_pub *pub;
    if (open_sub(work->bus, BACK, WEIR_FOREVER, &sub) < 0 ||
        say(weir_pub_open(work->bus, FORTH, NULL, &pub), FORTH) < 0)
        return -EIO;
    int r = 0;
    for (uint64_t i = 0; i < work->count && r == 0; i++) {
        uint64_t start = bench_ticks();
        memcpy(work->buffer, &i, sizeof i);
        r = weir_pub_send(pub, work->buffer, work->payload_bytes, WEIR_FOREVER, NULL);
        if (r == 0)
            r = weir_sub_next(sub, WEIR_FOREVER, &message);
        if (r == 0) {
            memcpy(work->buffer, message.data, work->payload_bytes);
            work->ticks[i] = bench_ticks() - start;
            if (memcmp(work->buffer, &i, sizeof i) != 0)
                r = -EBADMSG;
        }
    }
    weir_sub_close(sub);
    weir_pub_close(pub);
    return say(r, "round trip");
}

int case_latency(struct pair *pair, const struct case_ring *ring, size_t payload_bytes, size_t trips, uint64_t *ticks,
                 struct latency_result *ret_result)
{
    struct work work = {.payload_bytes = payload_bytes, .count = trips, .ticks = ticks};
    int r = run(pair, ring, latency_parent, latency_child, &work);
    if (r == 0)
        *ret_result = latency_of(ticks, trips);
    return r;
}

/* -- throughput ----------------------------------------------------------------------------------------------------- */

/* Takes one message the way the case wants it; false when it is not the expected one. */
static int take(const struct work *work, const struct weir_message *message, uint64_t expected)
{
    uint64_t sequence;
    if (message->data_bytes != work->payload_bytes)
        return -EBADMSG;
    if (work->way != CASE_IN_PLACE)
        memcpy(work->buffer, message->data, work->payload_bytes);
    memcpy(&sequence, message->data, sizeof sequence);
    return sequence == expected ? 0 : -EBADMSG;
}

static int throughput_child(struct pair *pair, void *ctx)
{
    const struct work *work = ctx;
    struct weir_message messages[BATCH];
    struct weir_sub *sub;
    struct weir_pub *pub;
    if (open_sub(work->bus, FORTH, WEIR_FOREVER, &sub) < 0 || say(weir_pub_open(work->bus, BACK, NULL, &pub), BACK) < 0)
        return -EIO;
    pair_child_ready(pair);
    for (uint64_t i = 0; i < work->count;) {
        int count = weir_sub_next_batch(sub, messages, BATCH, WEIR_FOREVER);
        if (count < 0)
            return say(count, "next");
        for (int k = 0; k < count; k++, i++) {
            int r = take(work, &messages[k], i);
            if (r < 0)
                return say(r, "order");
        }
    }
    int r = say(weir_pub_send(pub, "done", 4, WEIR_FOREVER, NULL), "done");
    weir_sub_close(sub);
    weir_pub_close(pub);
    return r;
}

static int send_in_place(struct weir_pub *pub, const struct work *work, uint64_t i)
{
    void *data;
    int r = weir_pub_claim(pub, work->payload_bytes, NULL, WEIR_FOREVER, &data);
    if (r < 0)
        return r;
    memset(data, (int)i, work->payload_bytes);
    memcpy(data, &i, sizeof i);
    return weir_pub_commit(pub, work->payload_bytes, NULL);
}

static int send_batch(struct weir_pub *pub, const struct work *work, uint64_t i, uint64_t count)
{
    struct weir_message messages[BATCH];
    uint64_t sequences[BATCH][6]; /* the case sends 48 bytes */
    for (uint64_t k = 0; k < count; k++) {
        memset(sequences[k], 0, sizeof sequences[k]);
        sequences[k][0] = i + k;
        messages[k] = (struct weir_message){.data = sequences[k], .data_bytes = work->payload_bytes};
    }
    return weir_pub_send_batch(pub, messages, count, WEIR_FOREVER, NULL);
}

static int send_all(struct weir_pub *pub, const struct work *work)
{
    int r = 0;
    for (uint64_t i = 0; i < work->count && r == 0;) {
        uint64_t count = 1;
        if (work->way == CASE_BATCH) {
            count = work->count - i < BATCH ? work->count - i : BATCH;
            r = send_batch(pub, work, i, count);
        } else if (work->way == CASE_IN_PLACE) {
            r = send_in_place(pub, work, i);
        } else {
            memcpy(work->buffer, &i, sizeof i);
            r = weir_pub_send(pub, work->buffer, work->payload_bytes, WEIR_FOREVER, NULL);
        }
        i += count;
    }
    return r;
}

static int throughput_parent(struct pair *pair, void *ctx)
{
    (void)pair;
    struct work *work = ctx;
    struct weir_message message;
    struct weir_sub *sub;
    struct weir_pub *pub;
    if (open_sub(work->bus, BACK, WEIR_FOREVER, &sub) < 0 ||
        say(weir_pub_open(work->bus, FORTH, NULL, &pub), FORTH) < 0)
        return -EIO;
    uint64_t start = bench_now_ns();
    int r = send_all(pub, work);
    if (r == 0)
        r = weir_sub_next(sub, 60000000000, &message);
    work->result = (double)work->count * 1e9 / (double)(bench_now_ns() - start);
    weir_sub_close(sub);
    weir_pub_close(pub);
    return say(r, "send");
}

int case_throughput(struct pair *pair, const struct case_ring *ring, size_t payload_bytes, enum case_way way,
                    uint64_t messages, double *ret_rate)
{
    struct work work = {.payload_bytes = payload_bytes, .way = way, .count = messages};
    int r = run(pair, ring, throughput_parent, throughput_child, &work);
    if (r == 0)
        *ret_rate = work.result;
    return r;
}

/* -- wake-up, idle -------------------------------------------------------------------------------------------------- */

static int wakeup_child(struct pair *pair, void *ctx)
{
    const struct work *work = ctx;
    struct weir_message message;
    struct weir_sub *sub;
    if (open_sub(work->bus, FORTH, 0, &sub) < 0)
        return -EIO;
    pair_child_ready(pair);
    for (uint64_t i = 0; i < work->count; i++) {
        int r = weir_sub_next(sub, WEIR_FOREVER, &message);
        mem_store_release(&pair->shared->stamp_ns, bench_now_ns());
        mem_store_release(&pair->shared->read, i + 1);
        if (r < 0)
            return say(r, "next");
    }
    weir_sub_close(sub);
    return 0;
}

static int wakeup_parent(struct pair *pair, void *ctx)
{
    struct work *work = ctx;
    struct weir_pub *pub;
    if (say(weir_pub_open(work->bus, FORTH, NULL, &pub), FORTH) < 0)
        return -EIO;
    for (uint64_t i = 0; i < work->count; i++) {
        struct timespec rest = {0, 300000}; /* until it surely sleeps */
        nanosleep(&rest, NULL);
        uint64_t start = bench_now_ns();
        int r = weir_pub_send(pub, &i, sizeof i, WEIR_FOREVER, NULL);
        if (r < 0)
            return say(r, "send");
        while (mem_load_acquire(&pair->shared->read) != i + 1)
            ;
        work->ticks[i] = (uint64_t)((double)(mem_load_acquire(&pair->shared->stamp_ns) - start) * bench_ticks_per_ns());
    }
    weir_pub_close(pub);
    return 0;
}

int case_wakeup(struct pair *pair, const struct case_ring *ring, size_t wakes, uint64_t *ns,
                struct latency_result *ret_result)
{
    struct work work = {.count = wakes, .ticks = ns};
    int r = run(pair, ring, wakeup_parent, wakeup_child, &work);
    if (r == 0)
        *ret_result = latency_of(ns, wakes);
    return r;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

/* The child blocks for count nanoseconds and leaves what it used, in ns of processor time. */
static int idle_child(struct pair *pair, void *ctx)
{
    const struct work *work = ctx;
    struct weir_message message;
    struct weir_sub *sub;
    if (open_sub(work->bus, FORTH, -1, &sub) < 0)
        return -EIO;
    double before = cpu_seconds();
    pair_child_ready(pair);
    int r = weir_sub_next(sub, (int64_t)work->count, &message);
    mem_store_release(&pair->shared->stamp_ns, (uint64_t)((cpu_seconds() - before) * 1e9));
    mem_store_release(&pair->shared->read, 1);
    weir_sub_close(sub);
    return r == -ETIMEDOUT ? 0 : say(r, "next");
}

static int idle_parent(struct pair *pair, void *ctx)
{
    struct work *work = ctx;
    while (mem_load_acquire(&pair->shared->read) == 0) {
        struct timespec rest = {0, 20000000};
        nanosleep(&rest, NULL);
    }
    work->result = (double)mem_load_acquire(&pair->shared->stamp_ns) / (double)work->count;
    return 0;
}

int case_idle(struct pair *pair, const struct case_ring *ring, double seconds, double *ret_share)
{
    struct work work = {.count = (uint64_t)(seconds * 1e9)};
    int r = run(pair, ring, idle_parent, idle_child, &work);
    if (r == 0)
        *ret_share = work.result;
    return r;
}
