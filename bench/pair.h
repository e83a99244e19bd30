/* SPDX-License-Identifier: Apache-2.0 */
/* Two processes on two processors, a page that both see, and a clock. */
#ifndef WEIR_BENCH_PAIR_H
#define WEIR_BENCH_PAIR_H

#include <stddef.h>
#include <stdint.h>

#include "ringbuf/access.h"

/* Results and meeting points in shared memory. */
struct pair_shared {
    _Alignas(MEM_PAIR_BYTES) struct mem_u64 child_ready;
    _Alignas(MEM_PAIR_BYTES) struct mem_u64 ping;
    uint8_t ping_payload[56];
    _Alignas(MEM_PAIR_BYTES) struct mem_u64 pong;
    uint8_t pong_payload[56];
    _Alignas(MEM_PAIR_BYTES) struct mem_u64 written;
    _Alignas(MEM_PAIR_BYTES) struct mem_u64 read;
    _Alignas(MEM_PAIR_BYTES) struct mem_u32 futex;
    struct mem_u64 stamp_ns;
};

struct pair {
    int cpus[2];
    struct pair_shared *shared;
    uint8_t *area; /* shared, area_bytes, for the bare copy ring */
    size_t area_bytes;
};

int pair_open(struct pair *pair, const int cpus[2], size_t area_bytes);
void pair_close(struct pair *pair);

/*
 * Forks; the child runs `child` on cpus[1], then `parent` runs on cpus[0]. Each returns 0 or a negative errno; the
 * child's failure ends the run with -ECHILD. The child dies with its parent.
 */
int pair_run(struct pair *pair, int (*parent)(struct pair *pair, void *ctx), int (*child)(struct pair *pair, void *ctx),
             void *ctx);
void pair_child_ready(struct pair *pair);
int pair_wait_child(struct pair *pair); /* -ETIMEDOUT after ten seconds */

uint64_t bench_now_ns(void);
/* Cycle counter where there is one, else nanoseconds; and how many of them make a nanosecond. */
uint64_t bench_ticks(void);
double bench_ticks_per_ns(void);

#endif
