/* SPDX-License-Identifier: Apache-2.0 */
/* Throughput to the disk, and what the drain costs who publishes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/journaled.h"

#define RINGS_MAX 100
#define SECONDS 2
/* A ring that has run for a while writes over what has expired, as its limit writes over what it wrote. */
#define RETAIN_BYTES (64ull << 20)
/* Of batches of 64 messages: so much that the drain has work all the time, and less than the publisher could. */
#define PACE_NS 20000u

struct work {
    struct site *site;
    const struct case_shape *shape;
    size_t rings;
    uint64_t batches, primed;
    struct weir_pub *pubs[RINGS_MAX];
    struct histogram *histogram;
    double rate, drained;
};

static const char *ring_name(size_t index)
{
    static char name[32];
    snprintf(name, sizeof name, "bench-%zu", index);
    return name;
}

static uint64_t record_bytes(const struct case_shape *shape)
{
    return shape->payload_bytes + JOURNALED_HEADER_BYTES;
}

static int make_rings(const struct work *work)
{
    int r = 0;
    for (size_t i = 0; i < work->rings && r == 0; i++)
        r = journaled_ring(work->site, work->shape, ring_name(i));
    return r;
}

static void remove_rings(struct work *work)
{
    for (size_t i = 0; i < work->rings; i++) {
        weir_pub_close(work->pubs[i]);
        journaled_remove(work->site, ring_name(i));
    }
}

/* -- throughput ----------------------------------------------------------------------------------------------------- */

static int send_everything(struct pair *pair, void *ctx)
{
    (void)pair;
    struct work *work = ctx;
    uint64_t last[RINGS_MAX] = {0}, i = 0;
    int r = 0;
    for (uint64_t k = 0; r == 0 && k < work->primed; k++)
        r = site_stopped(work->site)
                ? -EINTR
                : journaled_send(work->pubs[0], work->shape->payload_bytes, k, JOURNALED_SMALL_BATCH, &last[0]);
    if (r == 0 && work->primed)
        r = journaled_wait(work->site, work->pubs[0], last[0]);
    uint64_t start = bench_now_ns();
    /* Every ring gets as many; on a slow disk, fewer. */
    for (; r == 0 && i < work->batches && (i % work->rings || bench_now_ns() - start < SECONDS * 1000000000ull); i++) {
        size_t ring = i % work->rings;
        r = site_stopped(work->site)
                ? -EINTR
                : journaled_send(work->pubs[ring], work->shape->payload_bytes, i, JOURNALED_SMALL_BATCH, &last[ring]);
    }
    for (size_t k = 0; k < work->rings && r == 0; k++)
        r = journaled_wait(work->site, work->pubs[k], last[k]);
    work->rate =
        (double)(i * JOURNALED_SMALL_BATCH * record_bytes(work->shape)) * 1e9 / (double)(bench_now_ns() - start);
    return r;
}

int case_drain(struct pair *pair, struct site *site, const struct case_shape *shape, uint64_t bytes, double *ret_rate,
               double *ret_resident)
{
    struct work work = {.site = site, .shape = shape, .rings = shape->rings ? shape->rings : 1};
    struct bench_daemon daemon = {0};
    uint64_t batch_bytes = JOURNALED_SMALL_BATCH * record_bytes(shape);
    uint64_t retain_bytes = shape->rings ? 0 : RETAIN_BYTES;
    work.primed = 3 * retain_bytes / batch_bytes;
    work.batches = bytes / batch_bytes / work.rings * work.rings;
    if (work.batches == 0)
        work.batches = work.rings;
    int r = make_rings(&work);
    if (r == 0)
        r = bench_daemon_start(&daemon, site, pair->cpus[1], work.batches * batch_bytes, retain_bytes);
    for (size_t i = 0; i < work.rings && r == 0; i++)
        r = journaled_pub(site, ring_name(i), &work.pubs[i]);
    if (r == 0)
        r = pair_run(pair, 0, send_everything, NULL, &work);
    *ret_rate = work.rate;
    *ret_resident = (double)bench_daemon_resident(&daemon);
    bench_daemon_stop(&daemon);
    remove_rings(&work);
    return r;
}

/* -- publishing while it drains ------------------------------------------------------------------------------------- */

static int send_at_pace(struct pair *pair, void *ctx)
{
    (void)pair;
    struct work *work = ctx;
    struct weir_ring_info info = {.size = sizeof info};
    uint64_t start = bench_now_ns(), first = 0, last = 0;
    int r = 0;
    for (uint64_t i = 0; i < work->batches && r == 0 && !site_stopped(work->site); i++) {
        while (bench_now_ns() < start + i * PACE_NS)
            ;
        uint64_t began = bench_ticks();
        r = journaled_send(work->pubs[0], work->shape->payload_bytes, i, JOURNALED_BATCH, &last);
        histogram_add(work->histogram, bench_ticks() - began);
        first = i == 0 ? last : first;
    }
    if (r == 0)
        r = case_say(weir_ring_inspect(work->site->bus, ring_name(0), &info), ring_name(0));
    if (r == 0 && info.durable > first && last > first)
        work->drained = (double)(info.durable - first) / (double)(last - first);
    return r;
}

int case_publish(struct pair *pair, struct site *site, const struct case_shape *shape, uint64_t bytes,
                 struct histogram *histogram, double *ret_drained)
{
    struct case_shape roomy = *shape;
    struct work work = {.site = site, .shape = &roomy, .rings = 1, .histogram = histogram};
    struct bench_daemon daemon = {0};
    work.batches = bytes / (JOURNALED_BATCH * record_bytes(shape)) + 1;
    roomy.memory_bytes = bytes + bytes / 16 + JOURNALED_MEMORY_BYTES; /* segments end in padding */
    int r = make_rings(&work);
    if (r == 0 && shape->daemon)
        r = bench_daemon_start(&daemon, site, pair->cpus[1], bytes, 0);
    if (r == 0 && shape->daemon)
        r = journaled_pub(site, ring_name(0), &work.pubs[0]);
    else if (r == 0)
        r = case_say(weir_pub_open(site->bus, ring_name(0), NULL, &work.pubs[0]), ring_name(0));
    if (r == 0)
        r = pair_run(pair, 0, send_at_pace, NULL, &work);
    *ret_drained = work.drained < 1 ? work.drained : 1;
    bench_daemon_stop(&daemon);
    remove_rings(&work);
    return site_stopped(site) ? -EINTR : r;
}
