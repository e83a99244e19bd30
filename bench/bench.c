/* SPDX-License-Identifier: Apache-2.0 */
/* The benches: which cases, how many rounds, what they are held against. */
#include "bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cases.h"
#include "bench/pair.h"
#include "bench/report.h"

#define ROUNDS_MAX 200
#define TRIPS 20000u
#define CALIBRATION_TRIPS 5000u
#define WAKES 100u
#define AREA_BYTES (64u << 20)
/* Bare round trips below this are two cores of one cache, "near"; see docs/performance in the report's rows. */
#define NEAR_BELOW_NS 250.0
/* Two readings of a limit that differ by more than this say that the cores were moved apart in between. */
#define AGREE 1.25

struct run {
    const struct bench_options *options;
    struct pair pair;
    uint64_t *ticks;
    double seconds_per_case;
    int missed;
};

/* One paired measurement: value and limit in the unit of the case. */
struct sample {
    double value, limit;
    int near;
};

struct bench_case {
    const char *name;
    const char *unit;
    int exclusive;
    size_t payload_bytes;
    size_t working_bytes; /* throughput: of the bare copy ring, and weir's memory limit */
    enum case_way way;
    double percentile; /* latency: 50, 99.9 */
    double budget;     /* of the ratio */
    int budget_is_floor;
    double floor_near, floor_far; /* absolute budgets, M/s */
};

static int stopped(const struct run *run)
{
    return run->options->stop && run->options->stop();
}

static double pick(const struct latency_result *result, double percentile)
{
    return percentile > 99.5 ? result->p999_ns : percentile > 90 ? result->p99_ns : result->p50_ns;
}

/* -- one sample of each kind: 0, -EAGAIN when the two limits disagree ---------------------------------------------- */

static int sample_latency(struct run *run, const struct bench_case *c, struct sample *ret)
{
    struct case_ring ring = {.bus = run->options->bus, .exclusive = c->exclusive};
    struct latency_result before, weir, after;
    int r;
    if ((r = limit_ping_pong(&run->pair, TRIPS, run->ticks, &before)) < 0 ||
        (r = case_latency(&run->pair, &ring, c->payload_bytes, TRIPS, run->ticks, &weir)) < 0 ||
        (r = limit_ping_pong(&run->pair, TRIPS, run->ticks, &after)) < 0)
        return r;
    double low = before.p50_ns < after.p50_ns ? before.p50_ns : after.p50_ns;
    if (before.p50_ns + after.p50_ns - low > low * AGREE)
        return -EAGAIN;
    ret->near = low < NEAR_BELOW_NS;
    ret->value = pick(&weir, c->percentile);
    ret->limit = (pick(&before, c->percentile) + pick(&after, c->percentile)) / 2;
    return 0;
}

static int sample_throughput(struct run *run, const struct bench_case *c, struct sample *ret)
{
    struct case_ring ring = {
        .bus = run->options->bus, .exclusive = c->exclusive, .memory_limit_bytes = c->working_bytes};
    uint64_t messages = c->payload_bytes <= 256 ? 1000000 : (512ull << 20) / c->payload_bytes;
    size_t slot_bytes = (c->payload_bytes + 63) & ~(size_t)63; /* a bare slot has no header */
    struct latency_result before, after;
    double bare, weir;
    int r;
    if ((r = limit_ping_pong(&run->pair, CALIBRATION_TRIPS, run->ticks, &before)) < 0 ||
        (r = limit_copy_ring(&run->pair, slot_bytes, c->working_bytes, messages, &bare)) < 0 ||
        (r = case_throughput(&run->pair, &ring, c->payload_bytes, c->way, messages, &weir)) < 0 ||
        (r = limit_ping_pong(&run->pair, CALIBRATION_TRIPS, run->ticks, &after)) < 0)
        return r;
    double low = before.p50_ns < after.p50_ns ? before.p50_ns : after.p50_ns;
    if (before.p50_ns + after.p50_ns - low > low * AGREE)
        return -EAGAIN;
    ret->near = low < NEAR_BELOW_NS;
    ret->value = weir / 1e6;
    ret->limit = bare / 1e6;
    return 0;
}

static int sample_wakeup(struct run *run, const struct bench_case *c, struct sample *ret)
{
    struct case_ring ring = {.bus = run->options->bus, .exclusive = c->exclusive};
    struct latency_result before, weir, after;
    int r;
    if ((r = limit_futex_wake(&run->pair, WAKES, run->ticks, &before)) < 0 ||
        (r = case_wakeup(&run->pair, &ring, WAKES, run->ticks, &weir)) < 0 ||
        (r = limit_futex_wake(&run->pair, WAKES, run->ticks, &after)) < 0)
        return r;
    ret->near = 1;
    ret->value = weir.p50_ns / 1000;
    ret->limit = (before.p50_ns + after.p50_ns) / 2000;
    return 0;
}

static int sample_idle(struct run *run, const struct bench_case *c, struct sample *ret)
{
    struct case_ring ring = {.bus = run->options->bus, .exclusive = c->exclusive};
    double share;
    int r = case_idle(&run->pair, &ring, 2.0, &share);
    if (r < 0)
        return r;
    *ret = (struct sample){.value = share * 100, .near = 1};
    return 0;
}

/* -- rounds --------------------------------------------------------------------------------------------------------- */

static void report_place(struct run *run, const char *bench, const struct bench_case *c, const struct sample *samples,
                         size_t count, int near, int two_places)
{
    double values[ROUNDS_MAX], limits[ROUNDS_MAX], ratios[ROUNDS_MAX];
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (samples[i].near != near)
            continue;
        values[kept] = samples[i].value;
        limits[kept] = samples[i].limit;
        ratios[kept] = samples[i].limit > 0 ? samples[i].value / samples[i].limit : 0;
        kept++;
    }
    if (kept == 0)
        return;
    struct report_row row = {.bench = bench,
                             .name = c->name,
                             .place = two_places ? (near ? "near" : "far") : "",
                             .unit = c->unit,
                             .value = report_median(values, kept),
                             .limit = report_median(limits, kept),
                             .ratio = report_median(ratios, kept),
                             .budget = c->budget,
                             .budget_is_floor = c->budget_is_floor,
                             .rounds = kept};
    run->missed |= !report_row(&row, run->options->json);
    double floor_rate = near ? c->floor_near : c->floor_far;
    if (floor_rate > 0) { /* the same value against its absolute budget */
        row.limit = row.ratio = 0;
        row.budget = floor_rate;
        row.budget_is_floor = 1;
        run->missed |= !report_row(&row, run->options->json);
    }
}

static int run_case(struct run *run, const char *bench, const struct bench_case *c,
                    int (*sample)(struct run *, const struct bench_case *, struct sample *), int two_places)
{
    struct sample samples[ROUNDS_MAX];
    size_t count = 0;
    uint64_t start = bench_now_ns();
    uint64_t budget_ns = (uint64_t)(run->seconds_per_case * 1e9);
    if (run->options->progress)
        fprintf(stderr, "\r\033[Kmeasuring %s %s", bench, c->name);
    while (count < ROUNDS_MAX && !stopped(run)) {
        int r = sample(run, c, &samples[count]);
        if (r < 0 && r != -EAGAIN)
            return r;
        count += r == 0;
        uint64_t spent = bench_now_ns() - start;
        if (spent > 20 * budget_ns || (spent > budget_ns && count > 0))
            break;
    }
    if (run->options->progress)
        fprintf(stderr, "\r\033[K");
    report_place(run, bench, c, samples, count, 1, two_places);
    report_place(run, bench, c, samples, count, 0, two_places);
    return 0;
}

/* -- tables --------------------------------------------------------------------------------------------------------- */

static const struct bench_case latency_cases[] = {
    {.name = "exclusive 48 B p50", .unit = "ns", .exclusive = 1, .payload_bytes = 48, .percentile = 50, .budget = 1.25},
    {.name = "exclusive 48 B p99.9",
     .unit = "ns",
     .exclusive = 1,
     .payload_bytes = 48,
     .percentile = 99.9,
     .budget = 2},
    {.name = "shared 48 B p50", .unit = "ns", .payload_bytes = 48, .percentile = 50, .budget = 1.25},
    {.name = "shared 48 B p99.9", .unit = "ns", .payload_bytes = 48, .percentile = 99.9, .budget = 2},
    {.name = "exclusive 1 KiB p50", .unit = "ns", .exclusive = 1, .payload_bytes = 1024, .percentile = 50},
    {.name = "shared 1 KiB p50", .unit = "ns", .payload_bytes = 1024, .percentile = 50},
};

#define SMALL_SET (4u << 20)
#define LARGE_SET (64u << 20)
static const struct bench_case throughput_cases[] = {
    {.name = "exclusive 48 B",
     .unit = "M/s",
     .exclusive = 1,
     .payload_bytes = 48,
     .working_bytes = SMALL_SET,
     .budget = 0.5,
     .budget_is_floor = 1,
     .floor_near = 40,
     .floor_far = 25},
    {.name = "exclusive 48 B, batches of 64",
     .unit = "M/s",
     .exclusive = 1,
     .payload_bytes = 48,
     .working_bytes = SMALL_SET,
     .way = CASE_BATCH},
    {.name = "shared 48 B, one publisher",
     .unit = "M/s",
     .payload_bytes = 48,
     .working_bytes = SMALL_SET,
     .floor_near = 25,
     .floor_far = 18},
    {.name = "shared 48 B, batches of 64",
     .unit = "M/s",
     .payload_bytes = 48,
     .working_bytes = SMALL_SET,
     .way = CASE_BATCH},
    {.name = "exclusive 4 KiB, 4 MiB set",
     .unit = "M/s",
     .exclusive = 1,
     .payload_bytes = 4096,
     .working_bytes = SMALL_SET,
     .budget = 0.8,
     .budget_is_floor = 1},
    {.name = "exclusive 4 KiB, 64 MiB set",
     .unit = "M/s",
     .exclusive = 1,
     .payload_bytes = 4096,
     .working_bytes = LARGE_SET,
     .budget = 0.8,
     .budget_is_floor = 1},
    {.name = "exclusive 64 KiB, 4 MiB set",
     .unit = "M/s",
     .exclusive = 1,
     .payload_bytes = 65536,
     .working_bytes = SMALL_SET,
     .budget = 0.8,
     .budget_is_floor = 1},
    {.name = "exclusive 64 KiB, 64 MiB set",
     .unit = "M/s",
     .exclusive = 1,
     .payload_bytes = 65536,
     .working_bytes = LARGE_SET,
     .budget = 0.8,
     .budget_is_floor = 1},
    {.name = "exclusive 64 KiB, in place",
     .unit = "M/s",
     .exclusive = 1,
     .payload_bytes = 65536,
     .working_bytes = SMALL_SET,
     .way = CASE_IN_PLACE},
    {.name = "shared 4 KiB, 4 MiB set",
     .unit = "M/s",
     .payload_bytes = 4096,
     .working_bytes = SMALL_SET,
     .budget = 0.8,
     .budget_is_floor = 1},
    {.name = "shared 64 KiB, 4 MiB set",
     .unit = "M/s",
     .payload_bytes = 65536,
     .working_bytes = SMALL_SET,
     .budget = 0.8,
     .budget_is_floor = 1},
};

static const struct bench_case wakeup_cases[] = {
    {.name = "blocked subscriber, p50", .unit = "us", .budget = 1.3},
};

static const struct bench_case idle_cases[] = {
    {.name = "blocked subscriber", .unit = "%", .budget = 0.1},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))
static const struct bench {
    const char *name, *what;
    const struct bench_case *cases;
    size_t count;
    int (*sample)(struct run *, const struct bench_case *, struct sample *);
    int two_places;
} benches[] = {
    {"latency", "round trips of two processes beside a bare ping-pong of one cache line each way", latency_cases,
     COUNT(latency_cases), sample_latency, 1},
    {"throughput", "one publisher to one subscriber beside a bare copy ring", throughput_cases, COUNT(throughput_cases),
     sample_throughput, 1},
    {"wakeup", "a blocked subscriber beside a bare futex wake", wakeup_cases, COUNT(wakeup_cases), sample_wakeup, 0},
    {"idle", "what a blocked subscriber costs, in percent of a core", idle_cases, COUNT(idle_cases), sample_idle, 0},
};

void bench_names(void (*callback)(const char *name, const char *what))
{
    for (size_t i = 0; i < COUNT(benches); i++)
        callback(benches[i].name, benches[i].what);
}

static int wanted(const struct bench_options *options, const char *name)
{
    for (size_t i = 0; i < options->name_count; i++)
        if (strcmp(options->names[i], name) == 0)
            return 1;
    return options->name_count == 0;
}

static int run_wanted(struct run *run)
{
    size_t cases = 0;
    int r = 0;
    for (size_t i = 0; i < COUNT(benches); i++)
        cases += wanted(run->options, benches[i].name) ? benches[i].count : 0;
    if (cases == 0)
        return -EINVAL;
    run->seconds_per_case = (run->options->seconds > 0 ? run->options->seconds : 60) / (double)cases;
    report_begin(run->options->json);
    for (size_t i = 0; i < COUNT(benches) && r == 0; i++) {
        if (!wanted(run->options, benches[i].name))
            continue;
        for (size_t k = 0; k < benches[i].count && r == 0 && !stopped(run); k++)
            r = run_case(run, benches[i].name, &benches[i].cases[k], benches[i].sample, benches[i].two_places);
    }
    return r;
}

int bench_run(const struct bench_options *options)
{
    struct run run = {.options = options, .ticks = calloc(TRIPS, sizeof(uint64_t))};
    int r = run.ticks ? pair_open(&run.pair, options->cpus, AREA_BYTES) : -ENOMEM;
    if (r == -ENODEV)
        fprintf(stderr, "weir: bench: needs two processors that it may use\n");
    if (r == 0)
        r = run_wanted(&run);
    pair_close(&run.pair);
    free(run.ticks);
    return r < 0 ? r : run.missed;
}
