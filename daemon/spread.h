/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which drain thread runs where, and which one drains a ring. Where the processors that may be used belong to several NUMA
 * nodes, each thread is of one node, and what it touches first lies there.
 */
#ifndef WEIR_DAEMON_SPREAD_H
#define WEIR_DAEMON_SPREAD_H

#include <sched.h>
#include <stdint.h>

#define SPREAD_THREADS_MAX 64u

struct spread_node {
    uint32_t node;
    cpu_set_t cpus; /* of those that may be used */
};

struct spread {
    uint32_t thread_count;
    uint32_t node_count; /* 0: threads are of no node; else thread i is of nodes[i % node_count] */
    struct spread_node nodes[SPREAD_THREADS_MAX];
};

/*
 * threads: at most SPREAD_THREADS_MAX; more are made of it where there are more nodes. node_of_cpu has CPU_SETSIZE elements,
 * less than 0: of no node.
 */
void spread_make(struct spread *ret_spread, uint32_t threads, const cpu_set_t *cpus, const int *node_of_cpu);
/* The node that this thread is of. NULL: none, it runs on any of the processors that may be used. */
const struct spread_node *spread_of_thread(const struct spread *spread, uint32_t thread);
/* The thread for a ring. numa_node as in struct ring_geometry: node + 1, 0: none. */
uint32_t spread_thread(const struct spread *spread, uint32_t numa_node, uint64_t hash);

#endif
