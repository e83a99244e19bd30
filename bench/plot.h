/* SPDX-License-Identifier: Apache-2.0 */
/* Distributions of latency as files: .hgrm for HdrHistogram's plotters, and an SVG plot drawn by gnuplot. */
#ifndef WEIR_BENCH_PLOT_H
#define WEIR_BENCH_PLOT_H

#include <stddef.h>

#include "bench/histogram.h"

#define PLOT_CURVES_MAX 16

struct plot_curve {
    char name[64]; /* "shared 48 B, near" */
    struct histogram *weir, *limit;
};

struct plot {
    struct plot_curve curves[PLOT_CURVES_MAX];
    size_t count;
};

/* Adds a round to the curve of its case and place. -ENOMEM. */
int plot_add(struct plot *plot, const char *name, int near, const struct histogram *weir,
             const struct histogram *limit);
/*
 * Writes DIRECTORY/NAME.hgrm and NAME-limit.hgrm, in ns, and FILE; either may be NULL. Says on stderr what it could not do
 * and returns the error.
 */
int plot_finish(const struct plot *plot, const char *directory, const char *file);
void plot_close(struct plot *plot);

#endif
