/* SPDX-License-Identifier: Apache-2.0 */
/* The rounds of a run: which cases, how long each, what is reported of them. */
#include "bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report.h"
#include "bench/run.h"

#define ROUNDS_MAX 200
#define AREA_BYTES (64u << 20)

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
                             .unit = bench->units[metric] ? bench->units[metric] : bench->unit,
                             .disk = bench->on_disk ? run->site.disk : NULL,
                             .value = report_median(values, kept),
                             .limit = report_median(limits, kept),
                             .ratio = report_median(ratios, kept),
                             .budget = bench->on_disk && run->site.in_memory ? 0 : c->budget[metric],
                             .budget_is_floor = bench->floors >> metric & 1,
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

static int stopped(const struct run *run)
{
    return site_stopped(&run->site);
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
        if (r < 0 && stopped(run))
            break;
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

static size_t bench_count(void)
{
    return in_memory_bench_count + on_disk_bench_count;
}

static const struct bench *bench_at(size_t index)
{
    return index < in_memory_bench_count ? &in_memory_benches[index] : &on_disk_benches[index - in_memory_bench_count];
}

void bench_names(void (*callback)(const char *name, const char *what))
{
    for (size_t i = 0; i < bench_count(); i++)
        if (bench_at(i)->what)
            callback(bench_at(i)->name, bench_at(i)->what);
}

static int wanted(const struct bench_options *options, const struct bench *bench, const struct bench_case *c)
{
    int named = options->name_count == 0;
    for (size_t i = 0; i < options->name_count; i++)
        named |= strcmp(options->names[i], bench->name) == 0;
    return named && (!options->only || strstr(c->name, options->only));
}

static int run_bench(struct run *run, const struct bench *bench)
{
    int r = 0;
    for (size_t i = 0; i < bench->count && r == 0 && !stopped(run); i++)
        if (wanted(run->options, bench, &bench->cases[i]))
            r = run_case(run, bench, &bench->cases[i]);
    return r;
}

/* Each case gets as much; but a round that was begun is ended, and one of each case there is. 0: there is no case. */
static size_t share_out(struct run *run)
{
    double seconds = run->options->seconds > 0 ? run->options->seconds : 90, least = seconds / 10;
    size_t cases = 0;
    for (size_t i = 0; i < bench_count(); i++)
        for (size_t k = 0; k < bench_at(i)->count; k++)
            if (wanted(run->options, bench_at(i), &bench_at(i)->cases[k])) {
                cases++;
                run->on_disk |= bench_at(i)->on_disk;
                seconds -= bench_at(i)->round_seconds;
            }
    if (cases)
        run->seconds_per_case = (seconds > least ? seconds : least) / (double)cases;
    return cases;
}

static int run_wanted(struct run *run)
{
    int r = 0;
    if (share_out(run) == 0)
        return -ENOENT;
    if (run->on_disk)
        r = on_disk_begin(run);
    if (r < 0)
        return r;
    report_begin(run->options->json);
    for (size_t i = 0; i < bench_count() && r == 0; i++)
        r = run_bench(run, bench_at(i));
    return r;
}

int bench_run(const struct bench_options *options)
{
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return -ENOMEM;
    run->options = options;
    run->site = (struct site){
        .bus = options->bus, .weird = options->weird, .directory = options->journal_dir, .stop = options->stop};
    run->disk = (struct disk){.direct = -1, .buffered = -1};
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
    disk_close(&run->disk);
    site_close(&run->site);
    free(run);
    return r < 0 ? r : missed;
}
