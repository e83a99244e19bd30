/* SPDX-License-Identifier: Apache-2.0 */
/* The NUMA nodes of this machine. The one place that knows libnuma. */
#ifndef WEIR_DAEMON_NODES_H
#define WEIR_DAEMON_NODES_H

#include <sched.h>

/* Of each of these processors, CPU_SETSIZE elements in all; -1: of none, as each is where the kernel tells nothing. */
void nodes_read(const cpu_set_t *cpus, int *ret_node_of_cpu);

#ifdef WEIR_TESTING
extern int (*nodes_hook)(int cpu); /* a made-up machine */
#endif

#endif
