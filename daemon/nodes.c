/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/nodes.h"

#include <numa.h>
#include <stddef.h>

#ifdef WEIR_TESTING
int (*nodes_hook)(int cpu);
#endif

static int node_of(int cpu)
{
#ifdef WEIR_TESTING
    if (nodes_hook)
        return nodes_hook(cpu);
#endif
    return numa_available() < 0 ? -1 : numa_node_of_cpu(cpu);
}

void nodes_read(const cpu_set_t *cpus, int *ret_node_of_cpu)
{
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        ret_node_of_cpu[cpu] = CPU_ISSET(cpu, cpus) ? node_of((int)cpu) : -1;
}
