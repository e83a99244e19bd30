/* SPDX-License-Identifier: Apache-2.0 */
/* Counts of spans by size, an eighth of an octave each. */
#include "cli/demo.h"

enum { PER_OCTAVE_SHIFT = 3, PER_OCTAVE = 1 << PER_OCTAVE_SHIFT };

/* Below 8 ns a bucket each; above, the octave and the three bits behind its first. */
static unsigned bucket_of(uint64_t span_ns)
{
    if (span_ns < PER_OCTAVE)
        return (unsigned)span_ns;
    unsigned octave = 63 - (unsigned)__builtin_clzll(span_ns);
    unsigned part = (unsigned)(span_ns >> (octave - PER_OCTAVE_SHIFT)) & (PER_OCTAVE - 1);
    unsigned bucket = (octave - PER_OCTAVE_SHIFT + 1) * PER_OCTAVE + part;
    return bucket < DEMO_BUCKETS ? bucket : DEMO_BUCKETS - 1;
}

static uint64_t bucket_end_ns(unsigned bucket)
{
    if (bucket < PER_OCTAVE)
        return bucket;
    unsigned shift = bucket / PER_OCTAVE - 1;
    return ((uint64_t)(PER_OCTAVE + bucket % PER_OCTAVE + 1) << shift) - 1;
}

void demo_latency_add(struct demo_latency *latency, uint64_t span_ns)
{
    latency->counts[bucket_of(span_ns)]++;
}

void demo_latency_merge(struct demo_latency *latency, const struct demo_latency *more)
{
    for (unsigned i = 0; i < DEMO_BUCKETS; i++)
        latency->counts[i] += more->counts[i];
}

uint64_t demo_latency_quantile(const struct demo_latency *latency, double share)
{
    uint64_t total = 0, below = 0;
    for (unsigned i = 0; i < DEMO_BUCKETS; i++)
        total += latency->counts[i];
    for (unsigned i = 0; i < DEMO_BUCKETS && total > 0; i++) {
        below += latency->counts[i];
        if ((double)below >= share * (double)total)
            return bucket_end_ns(i);
    }
    return 0;
}
