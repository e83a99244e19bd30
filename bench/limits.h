/* SPDX-License-Identifier: Apache-2.0 */
/* What the bare machine can do: the limits that weir is held against. */
#ifndef WEIR_BENCH_LIMITS_H
#define WEIR_BENCH_LIMITS_H

#include "bench/pair.h"

/* One cache line each way, 56 bytes copied on both sides; adds `trips` round trips in ticks. */
int limit_ping_pong(struct pair *pair, size_t trips, struct histogram *histogram);
/* Fixed slots of `slot_bytes` in `ring_bytes` of shared memory, copied in and copied out; messages a second. */
int limit_copy_ring(struct pair *pair, size_t slot_bytes, size_t ring_bytes, uint64_t messages, double *ret_rate);
/* A blocked process woken through a futex; adds nanoseconds from the store to its first instruction. */
int limit_futex_wake(struct pair *pair, size_t wakes, struct histogram *histogram);

#endif
