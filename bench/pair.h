/* SPDX-License-Identifier: Apache-2.0 */
/* Processes on processors of their own, memory that they share, and a clock. */
#ifndef WEIR_BENCH_PAIR_H
#define WEIR_BENCH_PAIR_H

#include <stddef.h>
#include <stdint.h>

#include "bench/histogram.h"
#include "ringbuf/access.h"

#define PAIR_CPUS_MAX 64
#define PAIR_CHILDREN_MAX 64

/* What one child tells. */
struct pair_child {
    _Alignas(MEM_PAIR_BYTES) struct mem_u64 ready, done;
};

/* Results and meeting points in shared memory. */
struct pair_shared {
    struct pair_child children[PAIR_CHILDREN_MAX];
    _Alignas(MEM_PAIR_BYTES) struct mem_u64 go;
    _Alignas(MEM_PAIR_BYTES) struct mem_u64 ping;
    uint8_t ping_payload[56];
    _Alignas(MEM_PAIR_BYTES) struct mem_u64 pong;
    uint8_t pong_payload[56];
    _Alignas(MEM_PAIR_BYTES) struct mem_u64 written;
    _Alignas(MEM_PAIR_BYTES) struct mem_u64 read;
    _Alignas(MEM_PAIR_BYTES) struct mem_u32 futex;
    struct mem_u64 stamp_ns;
    struct histogram histogram; /* filled by a child */
};

struct pair {
    int cpus[PAIR_CPUS_MAX]; /* the parent runs on the first, child i on the one at 1 + i, round and round */
    size_t cpu_count;        /* at least two */
    struct pair_shared *shared;
    uint8_t *area; /* shared, area_bytes, for the bare copy ring */
    size_t area_bytes;
};

/* cpu_count 0: all that the process may use. -ENODEV: fewer than two; -ENXIO: one that it may not use. */
int pair_open(struct pair *pair, const int *cpus, size_t cpu_count, size_t area_bytes);
void pair_close(struct pair *pair);

/*
 * Forks; `children` of them run `child`; once each has called pair_child_ready(), `parent` runs. Each returns 0 or a negative
 * errno; a child's failure ends the run with -ECHILD. Children die with their parent.
 */
int pair_run(struct pair *pair, size_t children, int (*parent)(struct pair *pair, void *ctx),
             int (*child)(struct pair *pair, size_t index, void *ctx), void *ctx);
void pair_child_ready(struct pair *pair, size_t index);

uint64_t bench_now_ns(void);
/* Cycle counter where there is one, else nanoseconds; and how many of them make a nanosecond. */
uint64_t bench_ticks(void);
double bench_ticks_per_ns(void);

#endif
