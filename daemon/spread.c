/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/spread.h"

#include <stddef.h>

static void spread_add(struct spread *spread, uint32_t node, size_t cpu)
{
    uint32_t i = 0;
    while (i < spread->node_count && spread->nodes[i].node != node)
        i++;
    if (i == SPREAD_THREADS_MAX)
        return; /* no thread is left for it: its rings are drained by another node's */
    if (i == spread->node_count) {
        spread->nodes[i].node = node;
        CPU_ZERO(&spread->nodes[i].cpus);
        spread->node_count++;
    }
    CPU_SET(cpu, &spread->nodes[i].cpus);
}

void spread_make(struct spread *ret_spread, uint32_t threads, const cpu_set_t *cpus, const int *node_of_cpu)
{
    *ret_spread = (struct spread){.thread_count = threads};
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, cpus) && node_of_cpu[cpu] >= 0)
            spread_add(ret_spread, (uint32_t)node_of_cpu[cpu], cpu);
    }
    if (ret_spread->node_count == 1)
        ret_spread->node_count = 0; /* there is nothing to choose from */
    if (ret_spread->thread_count < ret_spread->node_count)
        ret_spread->thread_count = ret_spread->node_count;
}

const struct spread_node *spread_of_thread(const struct spread *spread, uint32_t thread)
{
    return spread->node_count ? &spread->nodes[thread % spread->node_count] : NULL;
}

uint32_t spread_thread(const struct spread *spread, uint32_t numa_node, uint64_t hash)
{
    for (uint32_t i = 0; numa_node && i < spread->node_count; i++) {
        if (spread->nodes[i].node != numa_node - 1)
            continue;
        uint32_t threads = (spread->thread_count - i - 1) / spread->node_count + 1; /* of this node */
        return i + (uint32_t)(hash % threads) * spread->node_count;
    }
    return (uint32_t)(hash % spread->thread_count);
}
