/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weir bench`: each figure stands beside the limit that the bare machine has for the same work, taken in interleaved
 * rounds of one run. The two cores of a virtual machine move apart at times, so an absolute time means nothing: a round is
 * limit, weir, limit, and counts only when both limits agree; what is reported is the median of the paired ratios.
 */
#ifndef WEIR_BENCH_BENCH_H
#define WEIR_BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>

struct bench_options {
    const char *const *names; /* of benches to run; none: all */
    size_t name_count;
    const char *only;  /* cases whose name has this in it; NULL: all */
    const char *bus;   /* directory on tmpfs that the bench may fill, made and removed by the caller */
    const char *weird; /* path of the daemon */
    const char
        *journal_dir; /* where journals are made, and removed; NULL: $TMPDIR where that is a disk, else /var/tmp */
    uint64_t journal_bytes; /* that a round of a bench of journals writes; 0: 512 MiB, recover 1 GiB */
    double seconds;         /* for all of it, about; 0: 90 */
    int json;               /* one object a line, else a table */
    const int *cpus;        /* the processors to use, two at least; cpu_count 0: all that are allowed */
    size_t cpu_count;
    const char *hgrm;  /* directory for percentile distributions, NAME.hgrm; NULL: none */
    const char *plot;  /* SVG file of the round trips' distributions, drawn by gnuplot; NULL: none */
    int progress;      /* 1: say on stderr what is being measured */
    int (*stop)(void); /* non-zero: end soon, or NULL */
};

/* 0: all within budget or without one; 1: something is not; negative errno: could not measure, reason on stderr. */
int bench_run(const struct bench_options *options);

/* Calls back with name and a line of description of each bench. */
void bench_names(void (*callback)(const char *name, const char *what));

#endif
