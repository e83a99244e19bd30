/* SPDX-License-Identifier: Apache-2.0 */
/* What a bench is, and what is at hand while one runs. in_memory.c and on_disk.c have the tables of all. */
#ifndef WEIR_BENCH_RUN_H
#define WEIR_BENCH_RUN_H

#include "bench/bench.h"
#include "bench/cases.h"
#include "bench/disk.h"
#include "bench/pair.h"
#include "bench/plot.h"
#include "bench/site.h"

#define METRICS_MAX 5
#define MIB (1u << 20)
#define COUNT(array) (sizeof(array) / sizeof *(array))

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
    struct site site;
    struct disk disk;                    /* the limit's file, once a bench has asked for it */
    struct histogram weir, limit, other; /* of the sample under way */
    struct plot plot;
    double seconds_per_case;
    int on_disk; /* of the wanted benches one is */
    int missed;
};

struct bench {
    const char *name;
    const char *what; /* NULL: more cases of the bench before it */
    const char *unit;
    const char *metrics[METRICS_MAX + 1]; /* none: one without a name */
    const char *units[METRICS_MAX];       /* of a metric that has another unit */
    unsigned floors;                      /* a bit for each metric: its budget is the least, not the most */
    int two_places;                       /* near and far are told apart */
    int on_disk;
    double round_seconds; /* about what one takes, where that is long */
    const struct bench_case *cases;
    size_t count;
    int (*sample)(struct run *run, const struct bench_case *c, struct sample *ret); /* -EAGAIN: the limits disagree */
};

extern const struct bench in_memory_benches[], on_disk_benches[];
extern const size_t in_memory_bench_count, on_disk_bench_count;
/* Sees that there is room for what those on disk write; says on stderr where not. */
int on_disk_begin(struct run *run);

#endif
