/* SPDX-License-Identifier: Apache-2.0 */
/* The same work as in limits.h, done through weir's public API. */
#ifndef WEIR_BENCH_CASES_H
#define WEIR_BENCH_CASES_H

#include "bench/limits.h"

enum case_way { CASE_COPY, CASE_IN_PLACE, CASE_BATCH };

struct case_ring {
    const char *bus;
    int exclusive;
    uint64_t segment_bytes; /* 0: default */
    uint64_t memory_limit_bytes;
};

/* Round trips over two rings, one each way; payload_bytes copied in and out on both sides. */
int case_latency(struct pair *pair, const struct case_ring *ring, size_t payload_bytes, size_t trips, uint64_t *ticks,
                 struct latency_result *ret_result);
/* One publisher, one subscriber that publishers wait for: messages a second from the first send to the last receive. */
int case_throughput(struct pair *pair, const struct case_ring *ring, size_t payload_bytes, enum case_way way,
                    uint64_t messages, double *ret_rate);
/* A subscriber blocked in weir_sub_next(), woken by a publish. */
int case_wakeup(struct pair *pair, const struct case_ring *ring, size_t wakes, uint64_t *ns,
                struct latency_result *ret_result);
/* Share of a core that a subscriber uses that is blocked for `seconds`. */
int case_idle(struct pair *pair, const struct case_ring *ring, double seconds, double *ret_share);

#endif
