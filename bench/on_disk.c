/* SPDX-License-Identifier: Apache-2.0 */
/* Benches of journals on a disk: which cases there are, and how one round of each is taken. */
#include <errno.h>
#include <string.h>

#include "bench/journaled.h"
#include "bench/run.h"

#define ROUND_BYTES (512ull << 20)
#define RECOVER_BYTES (1ull << 30)
/* These show the same with less, and sooner. */
#define PUBLISH_BYTES (96ull << 20)
#define RINGS_BYTES (256ull << 20)
#define CATCH_UP_BYTES (128ull << 20)
#define CONFIRMS 200u

static uint64_t round_bytes(const struct run *run, uint64_t most)
{
    uint64_t wanted = run->options->journal_bytes ? run->options->journal_bytes : ROUND_BYTES;
    return wanted < most ? wanted : most;
}

int on_disk_begin(struct run *run)
{
    /* The limit's file, and a journal of the same size beside it; recover's, which is alone, is no larger than both. */
    return site_open(&run->site, 2 * round_bytes(run, UINT64_MAX));
}

static int open_disk(struct run *run)
{
    return run->disk.buffered >= 0 ? 0 : disk_open(&run->disk, &run->site, round_bytes(run, UINT64_MAX));
}

/* -- one sample of each kind ---------------------------------------------------------------------------------------- */

static int sample_drain(struct run *run, const struct bench_case *c, struct sample *ret)
{
    uint64_t memory_bytes = c->shape.memory_bytes ? c->shape.memory_bytes : JOURNALED_MEMORY_BYTES;
    uint64_t sync_bytes = memory_bytes / 4 < JOURNALED_SYNC_BYTES ? memory_bytes / 4 : JOURNALED_SYNC_BYTES;
    int r = open_disk(run);
    if (r == 0)
        r = disk_write_all(&run->disk, c->shape.huge, sync_bytes, JOURNALED_SYNC_NS, &ret->limit[0]);
    if (r == 0)
        r = case_drain(&run->pair, &run->site, &c->shape, run->disk.bytes, &ret->value[0], &ret->value[1]);
    ret->limit[0] /= 1e6;
    ret->value[0] /= 1e6;
    ret->value[1] /= MIB;
    return r;
}

static int sample_rings(struct run *run, const struct bench_case *c, struct sample *ret)
{
    struct case_shape one = c->shape;
    one.rings = 1;
    uint64_t bytes = round_bytes(run, RINGS_BYTES);
    int r = case_drain(&run->pair, &run->site, &one, bytes, &ret->limit[0], &ret->value[1]);
    if (r == 0)
        r = case_drain(&run->pair, &run->site, &c->shape, bytes, &ret->value[0], &ret->value[1]);
    ret->limit[0] /= 1e6;
    ret->value[0] /= 1e6;
    ret->value[1] /= MIB;
    return r;
}

static int sample_publish(struct run *run, const struct bench_case *c, struct sample *ret)
{
    struct case_shape without = c->shape;
    uint64_t bytes = round_bytes(run, PUBLISH_BYTES);
    without.daemon = 0;
    histogram_clear(&run->limit);
    histogram_clear(&run->weir);
    int r = case_publish(&run->pair, &run->site, &without, bytes, &run->limit, &ret->value[2]);
    if (r == 0)
        r = case_publish(&run->pair, &run->site, &c->shape, bytes, &run->weir, &ret->value[2]);
    double per_ns = bench_ticks_per_ns();
    for (size_t i = 0; i < 2; i++) {
        ret->limit[i] = (double)histogram_percentile(&run->limit, i == 0 ? 50 : 99) / per_ns;
        ret->value[i] = (double)histogram_percentile(&run->weir, i == 0 ? 50 : 99) / per_ns;
    }
    ret->value[2] *= 100;
    return r;
}

/* The limit is the better of two ways to do it. */
static int sample_confirm(struct run *run, const struct bench_case *c, struct sample *ret)
{
    histogram_clear(&run->limit);
    histogram_clear(&run->other);
    histogram_clear(&run->weir);
    int r = open_disk(run);
    if (r == 0)
        r = disk_write_blocks(&run->disk, 1, CONFIRMS, &run->limit);
    if (r == 0)
        r = disk_write_blocks(&run->disk, 0, CONFIRMS, &run->other);
    if (r == 0)
        r = case_confirm(&run->pair, &run->site, &c->shape, CONFIRMS, &run->weir);
    const struct histogram *limit =
        histogram_percentile(&run->other, 50) < histogram_percentile(&run->limit, 50) ? &run->other : &run->limit;
    for (size_t i = 0; i < 2; i++) {
        ret->limit[i] = (double)histogram_percentile(limit, i == 0 ? 50 : 99) / 1e3;
        ret->value[i] = (double)histogram_percentile(&run->weir, i == 0 ? 50 : 99) / 1e3;
    }
    return r;
}

static int sample_confirm_many(struct run *run, const struct bench_case *c, struct sample *ret)
{
    histogram_clear(&run->weir);
    int r =
        case_confirm_many(&run->pair, &run->site, &c->shape, round_bytes(run, UINT64_MAX), &ret->value[0], &run->weir);
    ret->value[0] /= 1e6;
    ret->value[1] = (double)histogram_percentile(&run->weir, 50) / 1e6;
    ret->value[2] = (double)histogram_percentile(&run->weir, 99) / 1e6;
    return r;
}

static int sample_catch_up(struct run *run, const struct bench_case *c, struct sample *ret)
{
    int r = case_catch_up(&run->pair, &run->site, &c->shape, round_bytes(run, CATCH_UP_BYTES), &ret->value[0],
                          &ret->limit[0]);
    ret->value[0] /= 1e6;
    ret->limit[0] /= 1e6;
    return r;
}

static int sample_peak(struct run *run, const struct bench_case *c, struct sample *ret)
{
    struct case_shape alone = c->shape;
    struct peak without = {.histogram = &run->limit}, with = {.histogram = &run->weir};
    uint64_t bytes = round_bytes(run, UINT64_MAX);
    alone.subscribers = 0;
    histogram_clear(&run->limit);
    histogram_clear(&run->weir);
    int r = case_peak(&run->pair, &run->site, &alone, bytes, &without);
    if (r == 0)
        r = case_peak(&run->pair, &run->site, &c->shape, bytes, &with);
    double per_us = bench_ticks_per_ns() * 1000;
    ret->limit[0] = (double)histogram_percentile(&run->limit, 99) / per_us;
    ret->value[0] = (double)histogram_percentile(&run->weir, 99) / per_us;
    ret->value[1] = with.sent;
    ret->value[2] = with.taken;
    ret->value[3] = with.fills;
    ret->value[4] = with.resident / MIB;
    return r;
}

static int sample_recover(struct run *run, const struct bench_case *c, struct sample *ret)
{
    (void)c;
    struct recover seconds = {0};
    uint64_t bytes = run->options->journal_bytes ? run->options->journal_bytes : RECOVER_BYTES;
    disk_close(&run->disk); /* its room is wanted */
    int r = case_recover(&run->site, bytes, &seconds);
    *ret = (struct sample){
        .value = {seconds.clean, seconds.killed, seconds.restored_clean, seconds.restored_killed, (double)bytes / 1e9}};
    return r;
}

/* -- tables --------------------------------------------------------------------------------------------------------- */

/* Of weird beside its rings: 16 MiB, and 1 MiB for each. */
#define RESIDENT(rings) (16 + (rings))

static const struct bench_case drain_cases[] = {
    {.name = "1 KiB", .shape = {.payload_bytes = 1024}, .budget = {0.9, RESIDENT(1)}},
    {.name = "1 KiB, 64 MiB of memory",
     .shape = {.payload_bytes = 1024, .memory_bytes = 64u << 20, .segment_bytes = 1u << 20},
     .budget = {0.9, RESIDENT(1)}},
    {.name = "1 KiB, limit from huge pages", .shape = {.payload_bytes = 1024, .huge = 1}, .budget = {0, RESIDENT(1)}},
};

static const struct bench_case rings_cases[] = {
    {.name = "1 KiB, 100 rings",
     .shape = {.payload_bytes = 1024, .memory_bytes = 4u << 20, .rings = 100},
     .budget = {0.8, RESIDENT(100)}},
};

static const struct bench_case publish_cases[] = {
    {.name = "publish 64 x 48 B", .shape = {.exclusive = 1, .payload_bytes = 48, .daemon = 1}, .budget = {1.2}},
};

static const struct bench_case confirm_cases[] = {
    {.name = "64 B, one outstanding", .shape = {.payload_bytes = 64}, .budget = {1.3}},
};

static const struct bench_case confirm_many_cases[] = {
    {.name = "64 B, many", .shape = {.payload_bytes = 64}, .budget = {2}},
    {.name = "1 KiB, many", .shape = {.payload_bytes = 1024}, .budget = {0.5}},
};

static const struct bench_case catch_up_cases[] = {
    {.name = "48 B", .shape = {.payload_bytes = 48}, .budget = {0.5}},
    {.name = "1 KiB", .shape = {.payload_bytes = 1024}, .budget = {0.5}},
};

static const struct bench_case peak_cases[] = {
    {.name = "1 KiB, 100000/s",
     .shape =
         {.payload_bytes = 1024, .rate = 1e5, .subscribers = 1, .segment_bytes = 128u << 10, .memory_bytes = 4u << 20},
     .budget = {1.2, 0, 0.99, 0, RESIDENT(1)}},
};

static const struct bench_case recover_cases[] = {
    {.name = "start", .budget = {1, 3, 1, 3}},
};

const struct bench on_disk_benches[] = {
    {.name = "drain",
     .what = "throughput to the journal beside direct writes; the publisher's cost; 100 rings; weird's memory",
     .unit = "MB/s",
     .metrics = {NULL, "resident", NULL},
     .units = {NULL, "MiB"},
     .floors = 1u << 0,
     .on_disk = 1,
     .round_seconds = 3,
     .cases = drain_cases,
     .count = COUNT(drain_cases),
     .sample = sample_drain},
    {.name = "drain",
     .unit = "MB/s",
     .metrics = {NULL, "resident", NULL},
     .units = {NULL, "MiB"},
     .floors = 1u << 0,
     .on_disk = 1,
     .round_seconds = 3,
     .cases = rings_cases,
     .count = COUNT(rings_cases),
     .sample = sample_rings},
    {.name = "drain",
     .unit = "ns",
     .metrics = {"p50", "p99", "drained", NULL},
     .units = {NULL, NULL, "%"},
     .on_disk = 1,
     .round_seconds = 1.5,
     .cases = publish_cases,
     .count = COUNT(publish_cases),
     .sample = sample_publish},
    {.name = "confirm",
     .what = "until a message is durable, beside a block written and synced; confirms a second",
     .unit = "us",
     .metrics = {"p50", "p99", NULL},
     .on_disk = 1,
     .cases = confirm_cases,
     .count = COUNT(confirm_cases),
     .sample = sample_confirm},
    {.name = "confirm",
     .unit = "M/s",
     .metrics = {NULL, "p50", "p99", NULL},
     .units = {NULL, "ms", "ms"},
     .floors = 1u << 0,
     .on_disk = 1,
     .round_seconds = 1.5,
     .cases = confirm_many_cases,
     .count = COUNT(confirm_many_cases),
     .sample = sample_confirm_many},
    {.name = "catchup",
     .what = "a subscriber reads from the journal, in the page cache, beside reading live from memory",
     .unit = "M/s",
     .floors = 1u << 0,
     .on_disk = 1,
     .round_seconds = 2,
     .cases = catch_up_cases,
     .count = COUNT(catch_up_cases),
     .sample = sample_catch_up},
    {.name = "peak",
     .what = "a publisher 100 times as fast as its consumer, beside itself without one",
     .unit = "us",
     .metrics = {"publish p99", "publisher", "consumer", "fills", "resident", NULL},
     .units = {NULL, "x", "x", "x", "MiB"},
     .floors = 1u << 2,
     .on_disk = 1,
     .round_seconds = 2.5,
     .cases = peak_cases,
     .count = COUNT(peak_cases),
     .sample = sample_peak},
    {.name = "recover",
     .what = "how long weird takes to start on a journal, after a clean stop and after a kill",
     .unit = "s",
     .metrics = {"after a clean stop", "after a kill", "after a clean stop, ring gone", "after a kill, ring gone",
                 "on a journal of"},
     .units = {NULL, NULL, NULL, NULL, "GB"},
     .on_disk = 1,
     .round_seconds = 6,
     .cases = recover_cases,
     .count = COUNT(recover_cases),
     .sample = sample_recover},
};
const size_t on_disk_bench_count = COUNT(on_disk_benches);
