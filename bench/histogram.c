/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/histogram.h"

#include <string.h>

static uint32_t bucket_of(uint64_t value)
{
    if (value < 2u << HISTOGRAM_BITS)
        return (uint32_t)value;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - HISTOGRAM_BITS;
    uint64_t bucket = ((uint64_t)shift << HISTOGRAM_BITS) + (value >> shift);
    return bucket < HISTOGRAM_BUCKETS ? (uint32_t)bucket : HISTOGRAM_BUCKETS - 1;
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_top(uint32_t bucket)
{
    if (bucket < 2u << HISTOGRAM_BITS)
        return bucket;
    uint32_t shift = (bucket >> HISTOGRAM_BITS) - 1;
    uint64_t step = bucket - (shift << HISTOGRAM_BITS);
    return ((step + 1) << shift) - 1;
}

void histogram_clear(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->sum += (double)value;
    if (value > histogram->max)
        histogram->max = value;
    histogram->buckets[bucket_of(value)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    into->count += from->count;
    into->sum += from->sum;
    if (from->max > into->max)
        into->max = from->max;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

/* *ret_below: how many are not above the value. */
static uint64_t value_at(const struct histogram *histogram, double percent, uint64_t *ret_below)
{
    double exact = (double)histogram->count * percent / 100;
    uint64_t wanted = (uint64_t)exact + ((double)(uint64_t)exact < exact ? 1 : 0), below = 0;
    if (wanted == 0)
        wanted = 1;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        below += histogram->buckets[i];
        if (below >= wanted) {
            *ret_below = below;
            uint64_t top = bucket_top(i);
            return top < histogram->max && i < HISTOGRAM_BUCKETS - 1 ? top : histogram->max;
        }
    }
    *ret_below = below;
    return histogram->max;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    uint64_t below;
    return value_at(histogram, percent, &below);
}

void histogram_print(const struct histogram *histogram, FILE *stream, double per_unit)
{
    fprintf(stream, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    uint64_t below = 0;
    double halves = 2; /* 100 / (100 - percent), rounded up to a power of two */
    for (double percent = 0; histogram->count > 0 && below < histogram->count;) {
        uint64_t value = value_at(histogram, percent, &below);
        if (below < histogram->count)
            fprintf(stream, "%12.3f %1.12f %10llu %14.2f\n", (double)value / per_unit, percent / 100,
                    (unsigned long long)below, 100 / (100 - percent));
        while (100 / (100 - percent) >= halves)
            halves *= 2;
        percent += 100 / (halves * 5); /* five lines for each halving of what is left */
    }
    fprintf(stream, "%12.3f %1.12f %10llu\n", (double)histogram->max / per_unit, 1.0,
            (unsigned long long)histogram->count);
    fprintf(stream, "#[Mean    = %12.3f, StdDeviation   = %12s]\n",
            histogram->count ? histogram->sum / (double)histogram->count / per_unit : 0, "-");
    fprintf(stream, "#[Max     = %12.3f, Total count    = %12llu]\n", (double)histogram->max / per_unit,
            (unsigned long long)histogram->count);
    fprintf(stream, "#[Buckets = %12u, SubBuckets     = %12u]\n", HISTOGRAM_OCTAVES, 2u << HISTOGRAM_BITS);
}
