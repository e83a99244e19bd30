/* SPDX-License-Identifier: Apache-2.0 */
/* What the bare machine can do: the limits that weir is held against. */
#ifndef WEIR_BENCH_LIMITS_H
#define WEIR_BENCH_LIMITS_H

#include "bench/pair.h"

struct latency_result {
    double p50_ns, p99_ns, p999_ns;
};
/* Sorts and fills in the percentiles of `count` tick counts. */
struct latency_result latency_of(uint64_t *ticks, size_t count);

/* One cache line each way, 56 bytes copied on both sides. */
int limit_ping_pong(struct pair *pair, size_t trips, uint64_t *ticks, struct latency_result *ret_result);
/* Fixed slots of `slot_bytes` in `ring_bytes` of shared memory, copied in and copied out; messages a second. */
int limit_copy_ring(struct pair *pair, size_t slot_bytes, size_t ring_bytes, uint64_t messages, double *ret_rate);
/* A blocked process woken through a futex; ticks of CLOCK_MONOTONIC from the store to its first instruction. */
int limit_futex_wake(struct pair *pair, size_t wakes, uint64_t *ns, struct latency_result *ret_result);

#endif
