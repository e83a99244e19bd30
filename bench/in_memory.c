/* SPDX-License-Identifier: Apache-2.0 */
/* Benches of rings in memory: which cases there are, and how one round of each is taken. */
#include <errno.h>

#include "bench/cases.h"
#include "bench/run.h"

#define TRIPS 20000u
#define CALIBRATION_TRIPS 5000u
#define WAKES 100u
#define DEATHS 100u
#define IDLE_SECONDS 2.0
#define OPEN_LOOP_SECONDS 0.5
/* Bare round trips below this are two cores of one cache, "near"; above, "far": some 130 and 480 ns. */
#define NEAR_BELOW_NS 250.0
/* Two readings of a limit that differ by more than this say that the cores were moved apart in between. */
#define AGREE 1.25

/* -- one sample of each kind ---------------------------------------------------------------------------------------- */

static const double percentiles[METRICS_MAX] = {50, 99, 99.9, 99.99, 100};

static void pick(const struct histogram *histogram, double per_unit, double *ret_values)
{
    for (size_t i = 0; i < METRICS_MAX; i++)
        ret_values[i] = (double)histogram_percentile(histogram, percentiles[i]) / per_unit;
}

/* Does `work` between two readings of the bare ping-pong, `trips` each, which are left in run->limit. */
static int between_readings(struct run *run, size_t trips,
                            int (*work)(struct run *, const struct bench_case *, struct sample *),
                            const struct bench_case *c, struct sample *ret)
{
    double per_ns = bench_ticks_per_ns();
    histogram_clear(&run->limit);
    int r = limit_ping_pong(&run->pair, trips, &run->limit);
    double before = (double)histogram_percentile(&run->limit, 50) / per_ns;
    if (r == 0)
        r = work(run, c, ret);
    histogram_clear(&run->other);
    if (r == 0)
        r = limit_ping_pong(&run->pair, trips, &run->other);
    if (r < 0)
        return r;
    double after = (double)histogram_percentile(&run->other, 50) / per_ns;
    double low = before < after ? before : after;
    if (before + after - low > low * AGREE)
        return -EAGAIN;
    histogram_merge(&run->limit, &run->other);
    ret->near = low < NEAR_BELOW_NS;
    return 0;
}

static int nothing(struct run *run, const struct bench_case *c, struct sample *ret)
{
    (void)run;
    (void)c;
    (void)ret;
    return 0;
}

static int sample_limit(struct run *run, const struct bench_case *c, struct sample *ret)
{
    (void)c;
    int r = between_readings(run, TRIPS, nothing, c, ret);
    pick(&run->limit, bench_ticks_per_ns(), ret->value);
    return r;
}

static int copy_ring(struct run *run, const struct bench_case *c, double *ret_rate)
{
    uint64_t messages = c->shape.payload_bytes <= 256 ? 1000000 : (256ull << 20) / c->shape.payload_bytes;
    size_t slot_bytes = (c->shape.payload_bytes + 63) & ~(size_t)63; /* a bare slot has no header */
    int r = limit_copy_ring(&run->pair, slot_bytes, c->shape.set_bytes, messages, ret_rate);
    *ret_rate /= 1e6;
    return r;
}

static int work_copy_ring(struct run *run, const struct bench_case *c, struct sample *ret)
{
    return copy_ring(run, c, &ret->value[0]);
}

static int sample_copy(struct run *run, const struct bench_case *c, struct sample *ret)
{
    return between_readings(run, CALIBRATION_TRIPS, work_copy_ring, c, ret);
}

static int work_round_trip(struct run *run, const struct bench_case *c, struct sample *ret)
{
    (void)ret;
    return case_round_trip(&run->pair, run->options->bus, &c->shape, TRIPS, &run->weir);
}

static int sample_latency(struct run *run, const struct bench_case *c, struct sample *ret)
{
    histogram_clear(&run->weir);
    int r = between_readings(run, TRIPS, work_round_trip, c, ret);
    if (r == 0) {
        pick(&run->weir, bench_ticks_per_ns(), ret->value);
        pick(&run->limit, bench_ticks_per_ns(), ret->limit);
        r = plot_add(&run->plot, c->name, ret->near, &run->weir, &run->limit);
    }
    return r;
}

static int work_open_loop(struct run *run, const struct bench_case *c, struct sample *ret)
{
    (void)ret;
    return case_open_loop(&run->pair, run->options->bus, &c->shape, OPEN_LOOP_SECONDS, &run->weir);
}

static int sample_open_loop(struct run *run, const struct bench_case *c, struct sample *ret)
{
    histogram_clear(&run->weir);
    int r = between_readings(run, CALIBRATION_TRIPS, work_open_loop, c, ret);
    pick(&run->weir, bench_ticks_per_ns(), ret->value);
    return r;
}

static int work_throughput(struct run *run, const struct bench_case *c, struct sample *ret)
{
    uint64_t messages = c->shape.payload_bytes <= 256 ? 1000000 : (256ull << 20) / c->shape.payload_bytes;
    int r = copy_ring(run, c, &ret->limit[0]);
    if (r == 0)
        r = case_fan_in(&run->pair, run->options->bus, &c->shape, messages, &ret->value[0], &ret->value[1]);
    ret->value[0] /= 1e6;
    return r;
}

static int sample_throughput(struct run *run, const struct bench_case *c, struct sample *ret)
{
    return between_readings(run, CALIBRATION_TRIPS, work_throughput, c, ret);
}

static int work_fan_out(struct run *run, const struct bench_case *c, struct sample *ret)
{
    int r = case_fan_out(&run->pair, run->options->bus, &c->shape, 500000, &ret->value[0]);
    ret->value[0] /= 1e6;
    return r;
}

static int sample_fan_out(struct run *run, const struct bench_case *c, struct sample *ret)
{
    return between_readings(run, CALIBRATION_TRIPS, work_fan_out, c, ret);
}

static int sample_wakeup(struct run *run, const struct bench_case *c, struct sample *ret)
{
    int r;
    histogram_clear(&run->limit);
    histogram_clear(&run->weir);
    if ((r = limit_futex_wake(&run->pair, WAKES, &run->limit)) < 0 ||
        (r = case_wakeup(&run->pair, run->options->bus, &c->shape, WAKES, &run->weir)) < 0 ||
        (r = limit_futex_wake(&run->pair, WAKES, &run->limit)) < 0)
        return r;
    ret->near = 1;
    pick(&run->weir, 1000, ret->value);
    pick(&run->limit, 1000, ret->limit);
    return 0;
}

static int sample_roll_over(struct run *run, const struct bench_case *c, struct sample *ret)
{
    double per_us = bench_ticks_per_ns() * 1000;
    histogram_clear(&run->weir);
    histogram_clear(&run->other);
    int r = case_roll_over(&run->pair, run->options->bus, &c->shape, 2000000, &run->weir, &run->other);
    double more =
        ((double)histogram_percentile(&run->weir, 99) - (double)histogram_percentile(&run->other, 99)) / per_us;
    *ret = (struct sample){.value = {more > 0 ? more : 0, (double)histogram_percentile(&run->weir, 50) / per_us},
                           .near = 1};
    return r;
}

static int sample_repair(struct run *run, const struct bench_case *c, struct sample *ret)
{
    histogram_clear(&run->weir);
    int r = case_repair(&run->pair, &run->site, &c->shape, DEATHS, &run->weir);
    ret->near = 1;
    pick(&run->weir, 1000, ret->value);
    return r;
}

static int sample_idle(struct run *run, const struct bench_case *c, struct sample *ret)
{
    double share = 0;
    int r = c->shape.subscribers ? case_idle(&run->pair, run->options->bus, &c->shape, IDLE_SECONDS, &share)
                                 : case_idle_daemon(&run->site, IDLE_SECONDS, &share);
    *ret = (struct sample){.value = {share * 100}, .near = 1};
    return r;
}

/* -- tables --------------------------------------------------------------------------------------------------------- */

#define SMALL_SET (4u << 20)
#define LARGE_SET (64u << 20)
#define HALF_MIB (MIB / 2)

static const struct bench_case limit_cases[] = {{.name = "ping-pong of a cache line"}};

static const struct bench_case copy_cases[] = {
    {.name = "64 B, 4 MiB set", .shape = {.payload_bytes = 64, .set_bytes = SMALL_SET}},
    {.name = "4 KiB, 4 MiB set", .shape = {.payload_bytes = 4096, .set_bytes = SMALL_SET}},
    {.name = "4 KiB, 64 MiB set", .shape = {.payload_bytes = 4096, .set_bytes = LARGE_SET}},
    {.name = "64 KiB, 4 MiB set", .shape = {.payload_bytes = 65536, .set_bytes = SMALL_SET}},
    {.name = "64 KiB, 64 MiB set", .shape = {.payload_bytes = 65536, .set_bytes = LARGE_SET}},
};

static const struct bench_case latency_cases[] = {
    {.name = "exclusive 48 B", .shape = {.exclusive = 1, .payload_bytes = 48}, .budget = {1.25, 0, 2}},
    {.name = "shared 48 B", .shape = {.payload_bytes = 48}, .budget = {1.25, 0, 2}},
    {.name = "exclusive 1 KiB", .shape = {.exclusive = 1, .payload_bytes = 1024}},
    {.name = "shared 1 KiB", .shape = {.payload_bytes = 1024}},
};

static const struct bench_case open_loop_cases[] = {
    {.name = "exclusive 48 B, 10000/s", .shape = {.exclusive = 1, .payload_bytes = 48, .rate = 1e4}},
    {.name = "exclusive 48 B, 1000000/s", .shape = {.exclusive = 1, .payload_bytes = 48, .rate = 1e6}},
    {.name = "shared 48 B, 10000/s", .shape = {.payload_bytes = 48, .rate = 1e4}},
    {.name = "shared 48 B, 1000000/s", .shape = {.payload_bytes = 48, .rate = 1e6}},
};

static const struct bench_case throughput_cases[] = {
    {.name = "exclusive 48 B",
     .shape = {.exclusive = 1, .payload_bytes = 48, .set_bytes = SMALL_SET},
     .floor_near = 40,
     .floor_far = 25},
    {.name = "exclusive 48 B, in place",
     .shape = {.exclusive = 1, .payload_bytes = 48, .set_bytes = SMALL_SET, .way = CASE_IN_PLACE}},
    {.name = "exclusive 48 B, batches of 64",
     .shape = {.exclusive = 1, .payload_bytes = 48, .set_bytes = SMALL_SET, .way = CASE_BATCH}},
    {.name = "shared 48 B", .shape = {.payload_bytes = 48, .set_bytes = SMALL_SET}, .floor_near = 25, .floor_far = 18},
    {.name = "shared 48 B, batches of 64", .shape = {.payload_bytes = 48, .set_bytes = SMALL_SET, .way = CASE_BATCH}},
    {.name = "shared 48 B, 2 publishers", .shape = {.payload_bytes = 48, .set_bytes = SMALL_SET, .publishers = 2}},
    {.name = "shared 48 B, 4 publishers", .shape = {.payload_bytes = 48, .set_bytes = SMALL_SET, .publishers = 4}},
    {.name = "exclusive 1 KiB", .shape = {.exclusive = 1, .payload_bytes = 1024, .set_bytes = SMALL_SET}},
    {.name = "exclusive 4 KiB, 4 MiB set",
     .shape = {.exclusive = 1, .payload_bytes = 4096, .segment_bytes = HALF_MIB, .set_bytes = SMALL_SET},
     .budget = {0.8}},
    {.name = "exclusive 4 KiB, 64 MiB set",
     .shape = {.exclusive = 1, .payload_bytes = 4096, .segment_bytes = MIB, .set_bytes = LARGE_SET},
     .budget = {0.8}},
    {.name = "exclusive 64 KiB, 4 MiB set",
     .shape = {.exclusive = 1, .payload_bytes = 65536, .segment_bytes = HALF_MIB, .set_bytes = SMALL_SET},
     .budget = {0.8}},
    {.name = "exclusive 64 KiB, 64 MiB set",
     .shape = {.exclusive = 1, .payload_bytes = 65536, .segment_bytes = MIB, .set_bytes = LARGE_SET},
     .budget = {0.8}},
    {.name = "exclusive 64 KiB, in place",
     .shape = {.exclusive = 1,
               .payload_bytes = 65536,
               .segment_bytes = HALF_MIB,
               .set_bytes = SMALL_SET,
               .way = CASE_IN_PLACE}},
    {.name = "shared 4 KiB, 4 MiB set",
     .shape = {.payload_bytes = 4096, .segment_bytes = HALF_MIB, .set_bytes = SMALL_SET},
     .budget = {0.8}},
    {.name = "shared 64 KiB, 4 MiB set",
     .shape = {.payload_bytes = 65536, .segment_bytes = HALF_MIB, .set_bytes = SMALL_SET},
     .budget = {0.8}},
};

static const struct bench_case fan_out_cases[] = {
    {.name = "exclusive 48 B, 1 subscriber",
     .shape = {.exclusive = 1, .payload_bytes = 48, .set_bytes = SMALL_SET, .subscribers = 1}},
    {.name = "exclusive 48 B, 2 subscribers",
     .shape = {.exclusive = 1, .payload_bytes = 48, .set_bytes = SMALL_SET, .subscribers = 2}},
    {.name = "exclusive 48 B, 8 subscribers",
     .shape = {.exclusive = 1, .payload_bytes = 48, .set_bytes = SMALL_SET, .subscribers = 8}},
};

static const struct bench_case wakeup_cases[] = {
    {.name = "blocked subscriber", .shape = {.payload_bytes = 48}, .budget = {1.3}},
    {.name = "subscriber in epoll_wait", .shape = {.payload_bytes = 48, .epoll = 1}},
};

static const struct bench_case roll_over_cases[] = {
    {.name = "exclusive 48 B", .shape = {.exclusive = 1, .payload_bytes = 48, .set_bytes = SMALL_SET}, .budget = {5}},
    {.name = "shared 48 B", .shape = {.payload_bytes = 48, .set_bytes = SMALL_SET}, .budget = {5}},
};

static const struct bench_case repair_cases[] = {
    {.name = "subscriber awake", .budget = {0, 5000}},
    {.name = "subscriber asleep", .shape = {.asleep = 1}, .budget = {0, 100000}},
    {.name = "subscriber awake, weird runs", .shape = {.daemon = 1}, .budget = {0, 5000}},
    {.name = "subscriber asleep, weird runs", .shape = {.asleep = 1, .daemon = 1}, .budget = {0, 5000}},
};

static const struct bench_case idle_cases[] = {
    {.name = "blocked subscriber", .shape = {.payload_bytes = 48, .subscribers = 1}, .budget = {0.1}},
    {.name = "daemon with one ring", .budget = {0.1}},
};

#define PERCENTILES                                                                                                    \
    {                                                                                                                  \
        "p50", "p99", "p99.9", "p99.99", "max", NULL                                                                   \
    }
const struct bench in_memory_benches[] = {
    {.name = "limit",
     .what = "the bare machine: round trips of one cache line each way, 56 bytes copied on both sides",
     .unit = "ns",
     .metrics = PERCENTILES,
     .two_places = 1,
     .cases = limit_cases,
     .count = COUNT(limit_cases),
     .sample = sample_limit},
    {.name = "copy",
     .what = "the bare machine: fixed slots copied into shared memory and out of it",
     .unit = "M/s",
     .two_places = 1,
     .cases = copy_cases,
     .count = COUNT(copy_cases),
     .sample = sample_copy},
    {.name = "latency",
     .what = "round trips of two processes beside the bare ping-pong",
     .unit = "ns",
     .metrics = PERCENTILES,
     .two_places = 1,
     .cases = latency_cases,
     .count = COUNT(latency_cases),
     .sample = sample_latency},
    {.name = "openloop",
     .what = "one way at a fixed rate, from when a message was due to when it was received",
     .unit = "ns",
     .metrics = PERCENTILES,
     .two_places = 1,
     .cases = open_loop_cases,
     .count = COUNT(open_loop_cases),
     .sample = sample_open_loop},
    {.name = "throughput",
     .what = "publishers to one subscriber beside a bare copy ring; fairness: the slowest's part of its share",
     .unit = "M/s",
     .metrics = {NULL, "fairness", NULL},
     .units = {NULL, ""},
     .floors = 1u << 0,
     .two_places = 1,
     .cases = throughput_cases,
     .count = COUNT(throughput_cases),
     .sample = sample_throughput},
    {.name = "fanout",
     .what = "one publisher to several subscribers",
     .unit = "M/s",
     .two_places = 1,
     .cases = fan_out_cases,
     .count = COUNT(fan_out_cases),
     .sample = sample_fan_out},
    {.name = "wakeup",
     .what = "a blocked subscriber beside a bare futex wake",
     .unit = "us",
     .metrics = PERCENTILES,
     .cases = wakeup_cases,
     .count = COUNT(wakeup_cases),
     .sample = sample_wakeup},
    {.name = "rollover",
     .what = "what the publish that rolls over takes more at p99, and its p50",
     .unit = "us",
     .metrics = {"more", "p50", NULL},
     .cases = roll_over_cases,
     .count = COUNT(roll_over_cases),
     .sample = sample_roll_over},
    {.name = "repair",
     .what = "a claim of the dead, from the drop of its lock to the receipt of the message behind it",
     .unit = "us",
     .metrics = PERCENTILES,
     .cases = repair_cases,
     .count = COUNT(repair_cases),
     .sample = sample_repair},
    {.name = "idle",
     .what = "what waiting costs, in percent of a core",
     .unit = "%",
     .cases = idle_cases,
     .count = COUNT(idle_cases),
     .sample = sample_idle},
};
const size_t in_memory_bench_count = COUNT(in_memory_benches);
