/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drain threads. Rings are spread over them by NUMA node (see spread.h) and by the hash of their names; a ring's drain state
 * belongs to one thread.
 */
#ifndef WEIR_DAEMON_DRAIN_H
#define WEIR_DAEMON_DRAIN_H

#include <pthread.h>
#include <sched.h>

#include "daemon/place.h"
#include "daemon/policy.h"
#include "daemon/registry.h"

#define DRAIN_THREADS_MAX 64u

struct drain_pool;

/* Starts so many threads, or one for each NUMA node, on these processors alone; cpus NULL: on any. */
int drain_start(struct drain_pool **ret_pool, const struct place *place, struct policies *policies,
                struct registry *registry, uint32_t threads, const cpu_set_t *cpus);
/* Wakes the thread that has this ring: the registry changed, or memory was repaired. Any thread. */
void drain_wake(struct drain_pool *pool, const struct weird_ring *ring);
/* Wakes them all: the policies changed. Any thread. */
void drain_wake_all(struct drain_pool *pool);
/* For the one who watches. False: a thread hangs; step_ns: since the last call (see beat.h). */
bool drain_beats(struct drain_pool *pool, uint64_t step_ns);
/*
 * Drains what is committed by now, syncs, saves, closes the journals, and ends the threads; they may still be woken until
 * drain_free(). NULL is allowed in both.
 */
void drain_finish(struct drain_pool *pool);
void drain_free(struct drain_pool *pool);
/* How often the threads slept, for tests. */
uint64_t drain_sleeps(const struct drain_pool *pool);

#endif
