/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts of latencies by size, log-linear: 128 steps an octave, so a value is known to less than one percent. The layout of
 * the buckets and the text form are those of HdrHistogram (Gil Tene, hdrhistogram.org). Plain memory, so that it can lie in
 * memory that two processes share.
 */
#ifndef WEIR_BENCH_HISTOGRAM_H
#define WEIR_BENCH_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

#define HISTOGRAM_BITS 7u /* steps an octave */
#define HISTOGRAM_OCTAVES 34u
#define HISTOGRAM_BUCKETS ((HISTOGRAM_OCTAVES + 1) << HISTOGRAM_BITS)

struct histogram {
    uint64_t count, max;
    double sum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_clear(struct histogram *histogram);
/* Values beyond the last bucket are counted in it; max is exact. */
void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The smallest value that at least `percent` of all are not above; 0 when there are none. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);
/* The percentile distribution as HdrHistogram's plotters read it (.hgrm), values divided by `per_unit`. */
void histogram_print(const struct histogram *histogram, FILE *stream, double per_unit);

#endif
