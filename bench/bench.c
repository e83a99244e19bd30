/* SPDX-License-Identifier: Apache-2.0 */
/* The benches: which cases, how many rounds, what they are held against. */
#include "bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cases.h"
#include "bench/pair.h"
#include "bench/plot.h"
#include "bench/report.h"

#define ROUNDS_MAX 200
#define METRICS_MAX 5
#define TRIPS 20000u
#define CALIBRATION_TRIPS 5000u
#define WAKES 100u
#define DEATHS 100u
#define AREA_BYTES (64u << 20)
#define IDLE_SECONDS 2.0
#define OPEN_LOOP_SECONDS 0.5
/* Bare round trips below this are two cores of one cache, "near"; above, "far": some 130 and 480 ns. */
#define NEAR_BELOW_NS 250.0
/* Two readings of a limit that differ by more than this say that the cores were moved apart in between. */
#define AGREE 1.25

/* One paired measurement, for each metric of the case; limit 0: there is none. */
struct sample {
    double value[METRICS_MAX], limit[METRICS_MAX];
    int near;
};

struct bench_case {
    const char *name;
    struct case_shape shape;
    double budget[METRICS_MAX];   /* of the ratio, or of the value where there is no limit; 0: none */
    double floor_near, floor_far; /* absolute budgets of the first metric */
};

struct run {
    const struct bench_options *options;
    struct pair pair;
    struct histogram weir, limit, other; /* of the sample under way */
    struct plot plot;
    double seconds_per_case;
    int missed;
};

struct bench {
    const char *name, *what, *unit;
    const char *metrics[METRICS_MAX + 1]; /* none: one without a name */
    int budget_is_floor;
    int two_places; /* near and far are told apart */
    const struct bench_case *cases;
    size_t count;
    int (*sample)(struct run *run, const struct bench_case *c, struct sample *ret); /* -EAGAIN: the limits disagree */
};

static int stopped(const struct run *run)
{
    return run->options->stop && run->options->stop();
}

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
    int r = case_repair(&run->pair, run->options->bus, run->options->weird, &c->shape, DEATHS, &run->weir);
    ret->near = 1;
    pick(&run->weir, 1000, ret->value);
    return r;
}

static int sample_idle(struct run *run, const struct bench_case *c, struct sample *ret)
{
    double share = 0;
    int r = c->shape.subscribers ? case_idle(&run->pair, run->options->bus, &c->shape, IDLE_SECONDS, &share)
                                 : case_idle_daemon(run->options->bus, run->options->weird, IDLE_SECONDS, &share);
    *ret = (struct sample){.value = {share * 100}, .near = 1};
    return r;
}

/* -- rounds --------------------------------------------------------------------------------------------------------- */

static void report_metric(struct run *run, const struct bench *bench, const struct bench_case *c, size_t metric,
                          const struct sample *samples, size_t count, int near)
{
    double values[ROUNDS_MAX], limits[ROUNDS_MAX], ratios[ROUNDS_MAX];
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        double value = samples[i].value[metric], limit = samples[i].limit[metric];
        if (samples[i].near != near)
            continue;
        values[kept] = value;
        limits[kept] = limit;
        ratios[kept] = limit > 0 ? value / limit : 0;
        kept++;
    }
    if (kept == 0)
        return;
    struct report_row row = {.bench = bench->name,
                             .name = c->name,
                             .metric = bench->metrics[metric],
                             .place = bench->two_places ? (near ? "near" : "far") : "",
                             .unit = metric > 0 && bench->budget_is_floor ? "" : bench->unit,
                             .value = report_median(values, kept),
                             .limit = report_median(limits, kept),
                             .ratio = report_median(ratios, kept),
                             .budget = c->budget[metric],
                             .budget_is_floor = bench->budget_is_floor,
                             .rounds = kept};
    run->missed |= !report_row(&row, run->options->json);
    double floor_rate = near ? c->floor_near : c->floor_far;
    if (metric == 0 && floor_rate > 0) { /* the same value against its absolute budget */
        row.limit = row.ratio = 0;
        row.budget = floor_rate;
        row.budget_is_floor = 1;
        run->missed |= !report_row(&row, run->options->json);
    }
}

static void report_case(struct run *run, const struct bench *bench, const struct bench_case *c,
                        const struct sample *samples, size_t count)
{
    for (int near = 1; near >= 0; near--)
        for (size_t metric = 0; metric < METRICS_MAX && (metric == 0 || bench->metrics[metric]); metric++)
            report_metric(run, bench, c, metric, samples, count, near);
}

static int run_case(struct run *run, const struct bench *bench, const struct bench_case *c)
{
    struct sample samples[ROUNDS_MAX];
    size_t count = 0;
    uint64_t start = bench_now_ns();
    uint64_t budget_ns = (uint64_t)(run->seconds_per_case * 1e9);
    if (run->options->progress)
        fprintf(stderr, "\r\033[Kmeasuring %s %s", bench->name, c->name);
    while (count < ROUNDS_MAX && !stopped(run)) {
        samples[count] = (struct sample){.near = 0};
        int r = bench->sample(run, c, &samples[count]);
        if (r < 0 && r != -EAGAIN)
            return r;
        count += r == 0;
        uint64_t spent = bench_now_ns() - start;
        if (spent > 20 * budget_ns || (spent > budget_ns && count > 0))
            break;
    }
    if (run->options->progress)
        fprintf(stderr, "\r\033[K");
    report_case(run, bench, c, samples, count);
    return 0;
}

/* -- tables --------------------------------------------------------------------------------------------------------- */

#define SMALL_SET (4u << 20)
#define LARGE_SET (64u << 20)
#define MIB (1u << 20)
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

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define PERCENTILES                                                                                                    \
    {                                                                                                                  \
        "p50", "p99", "p99.9", "p99.99", "max", NULL                                                                   \
    }
static const struct bench benches[] = {
    {"limit", "the bare machine: round trips of one cache line each way, 56 bytes copied on both sides", "ns",
     PERCENTILES, 0, 1, limit_cases, COUNT(limit_cases), sample_limit},
    {"copy",
     "the bare machine: fixed slots copied into shared memory and out of it",
     "M/s",
     {NULL},
     0,
     1,
     copy_cases,
     COUNT(copy_cases),
     sample_copy},
    {"latency", "round trips of two processes beside the bare ping-pong", "ns", PERCENTILES, 0, 1, latency_cases,
     COUNT(latency_cases), sample_latency},
    {"openloop", "one way at a fixed rate, from when a message was due to when it was received", "ns", PERCENTILES, 0,
     1, open_loop_cases, COUNT(open_loop_cases), sample_open_loop},
    {"throughput",
     "publishers to one subscriber beside a bare copy ring; fairness: the slowest's part of its share",
     "M/s",
     {NULL, "fairness", NULL},
     1,
     1,
     throughput_cases,
     COUNT(throughput_cases),
     sample_throughput},
    {"fanout",
     "one publisher to several subscribers",
     "M/s",
     {NULL},
     0,
     1,
     fan_out_cases,
     COUNT(fan_out_cases),
     sample_fan_out},
    {"wakeup", "a blocked subscriber beside a bare futex wake", "us", PERCENTILES, 0, 0, wakeup_cases,
     COUNT(wakeup_cases), sample_wakeup},
    {"rollover",
     "what the publish that rolls over takes more at p99, and its p50",
     "us",
     {"more", "p50", NULL},
     0,
     0,
     roll_over_cases,
     COUNT(roll_over_cases),
     sample_roll_over},
    {"repair", "a claim of the dead, from the drop of its lock to the receipt of the message behind it", "us",
     PERCENTILES, 0, 0, repair_cases, COUNT(repair_cases), sample_repair},
    {"idle", "what waiting costs, in percent of a core", "%", {NULL}, 0, 0, idle_cases, COUNT(idle_cases), sample_idle},
};

void bench_names(void (*callback)(const char *name, const char *what))
{
    for (size_t i = 0; i < COUNT(benches); i++)
        callback(benches[i].name, benches[i].what);
}

static int wanted(const struct bench_options *options, const struct bench *bench, const struct bench_case *c)
{
    int named = options->name_count == 0;
    for (size_t i = 0; i < options->name_count; i++)
        named |= strcmp(options->names[i], bench->name) == 0;
    return named && (!options->only || strstr(c->name, options->only));
}

static int run_wanted(struct run *run)
{
    size_t cases = 0;
    int r = 0;
    for (size_t i = 0; i < COUNT(benches); i++)
        for (size_t k = 0; k < benches[i].count; k++)
            cases += wanted(run->options, &benches[i], &benches[i].cases[k]) ? 1 : 0;
    if (cases == 0)
        return -ENOENT;
    run->seconds_per_case = (run->options->seconds > 0 ? run->options->seconds : 90) / (double)cases;
    report_begin(run->options->json);
    for (size_t i = 0; i < COUNT(benches) && r == 0; i++)
        for (size_t k = 0; k < benches[i].count && r == 0 && !stopped(run); k++)
            if (wanted(run->options, &benches[i], &benches[i].cases[k]))
                r = run_case(run, &benches[i], &benches[i].cases[k]);
    return r;
}

int bench_run(const struct bench_options *options)
{
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return -ENOMEM;
    run->options = options;
    int r = pair_open(&run->pair, options->cpus, options->cpu_count, AREA_BYTES);
    if (r == -ENXIO)
        fprintf(stderr, "weir: bench: --cpus: one of the processors is not there, or may not be used\n");
    if (r == -ENODEV)
        fprintf(stderr, "weir: bench: needs two processors that it may use\n");
    if (r == 0)
        r = run_wanted(run);
    if (r == 0)
        r = plot_finish(&run->plot, options->hgrm, options->plot);
    int missed = run->missed;
    plot_close(&run->plot);
    pair_close(&run->pair);
    free(run);
    return r < 0 ? r : missed;
}
