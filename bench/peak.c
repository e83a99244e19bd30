/* SPDX-License-Identifier: Apache-2.0 */
/* A publisher a hundred times as fast as its consumer, until memory would have been full many times over. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "bench/journaled.h"

#define RING "bench-peak"
#define SECONDS 1
#define SECONDS_MOST 2 /* where the disk does not follow, and publishers wait */
#define TIMES_FASTER 100
#define PATIENCE_NS 60000000000
#define SLICE_NS 50000000

struct work {
    struct site *site;
    const struct case_shape *shape;
    uint64_t count, sent;
    struct weir_pub *pub;
    struct peak *peak;
};

static void sleep_until(uint64_t due_ns)
{
    struct timespec due = {(time_t)(due_ns / 1000000000u), (long)(due_ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
        ;
}

static uint64_t span_ns(const struct work *work, uint64_t messages)
{
    return (uint64_t)((double)messages * 1e9 / work->shape->rate);
}

/* True: the peak is over, and it has all. */
static int has_all(const struct pair *pair, uint64_t taken)
{
    return mem_load_acquire(&pair->shared->go) == 2 && taken == mem_load_acquire(&pair->shared->written);
}

/* At its own rate while the peak lasts, `go` being 1; then as fast as it can. `read` is how many it has. */
static int take_peak(struct pair *pair, const struct work *work, struct weir_sub *sub)
{
    struct weir_message message;
    uint64_t start = mem_load_acquire(&pair->shared->stamp_ns), number, waits = 0;
    for (uint64_t i = 0; !has_all(pair, i);) {
        if (mem_load_acquire(&pair->shared->go) == 1)
            sleep_until(start + span_ns(work, i * TIMES_FASTER));
        int r = weir_sub_next(sub, SLICE_NS, &message);
        if (r == -ETIMEDOUT && ++waits < PATIENCE_NS / SLICE_NS) /* the peak is over now, or the publisher waits */
            continue;
        if (r < 0)
            return r;
        memcpy(&number, message.data, sizeof number);
        if (number != i || message.data_bytes != work->shape->payload_bytes)
            return -EBADMSG;
        waits = 0;
        mem_store_release(&pair->shared->read, ++i);
    }
    return 0;
}

static int consume(struct pair *pair, size_t index, void *ctx)
{
    const struct work *work = ctx;
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    struct weir_sub *sub;
    options.from = WEIR_POSITION_END;
    int r = case_say(weir_sub_open(work->site->bus, RING, &options, &sub), RING);
    if (r < 0)
        return r;
    pair_child_ready(pair, index);
    while (mem_load_acquire(&pair->shared->go) == 0)
        sleep_until(bench_now_ns() + 100000);
    r = case_say(take_peak(pair, work, sub), "next");
    weir_sub_close(sub);
    return r;
}

static int send_peak(struct work *work, uint64_t start)
{
    uint8_t payload[JOURNALED_PAYLOAD_MAX] = {0};
    int r = 0;
    while (work->sent < work->count && r == 0 && bench_now_ns() - start < SECONDS_MOST * 1000000000ull) {
        while (bench_now_ns() < start + span_ns(work, work->sent))
            ;
        uint64_t began = bench_ticks();
        memcpy(payload, &work->sent, sizeof work->sent);
        r = weir_pub_send(work->pub, payload, work->shape->payload_bytes, PATIENCE_NS, NULL);
        histogram_add(work->peak->histogram, bench_ticks() - began);
        work->sent += r == 0;
        if (site_stopped(work->site))
            return -EINTR;
    }
    return case_say(r, "send");
}

static int produce(struct pair *pair, void *ctx)
{
    struct work *work = ctx;
    uint64_t start = bench_now_ns();
    mem_store_release(&pair->shared->stamp_ns, start);
    mem_store_release(&pair->shared->go, 1);
    int r = send_peak(work, start);
    double due = (double)(bench_now_ns() - start) * work->shape->rate / 1e9;
    double taken = (double)mem_load_acquire(&pair->shared->read);
    work->peak->sent = due > 0 ? (double)work->sent / due : 0;
    work->peak->taken = due > 0 ? taken / due * TIMES_FASTER : 0;
    mem_store_release(&pair->shared->written, work->sent);
    mem_store_release(&pair->shared->go, 2);
    return r;
}

static int run(struct pair *pair, struct work *work)
{
    struct weir_ring_info info = {.size = sizeof info};
    int r = case_say(weir_ring_inspect(work->site->bus, RING, &info), RING);
    if (r == 0)
        r = journaled_pub(work->site, RING, &work->pub);
    if (r == 0)
        r = pair_run(pair, work->shape->subscribers, produce, consume, work);
    weir_pub_close(work->pub);
    work->peak->fills =
        (double)(work->sent * (work->shape->payload_bytes + JOURNALED_HEADER_BYTES)) / (double)info.memory_bytes;
    return r;
}

int case_peak(struct pair *pair, struct site *site, const struct case_shape *shape, uint64_t bytes, struct peak *peak)
{
    struct work work = {.site = site, .shape = shape, .peak = peak};
    struct bench_daemon daemon = {0};
    uint64_t most = bytes / (shape->payload_bytes + JOURNALED_HEADER_BYTES);
    work.count = (uint64_t)(shape->rate * SECONDS);
    work.count = work.count < most ? work.count : most;
    int r = journaled_ring(site, shape, RING);
    if (r == 0)
        r = bench_daemon_start(&daemon, site, pair->cpus[1], bytes, 0);
    if (r == 0)
        r = run(pair, &work);
    peak->resident = (double)bench_daemon_resident(&daemon);
    bench_daemon_stop(&daemon);
    journaled_remove(site, RING);
    return r;
}
