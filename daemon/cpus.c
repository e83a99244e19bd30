/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of processors, as taskset(1) takes them. */
#include "daemon/cpus.h"

#include <errno.h>
#include <stdlib.h>

/* A number of a processor, and *text behind it; or -EINVAL. */
static int take_number(const char **text)
{
    char *end;
    if (**text < '0' || **text > '9')
        return -EINVAL;
    errno = 0;
    unsigned long number = strtoul(*text, &end, 10);
    if (errno || number >= CPU_SETSIZE)
        return -EINVAL;
    *text = end;
    return (int)number;
}

int cpus_parse(const char *list, cpu_set_t *ret_cpus)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    for (;; list++) {
        int first = take_number(&list), last = first;
        if (first >= 0 && *list == '-') {
            list++;
            last = take_number(&list);
        }
        if (first < 0 || last < first || (*list && *list != ','))
            return -EINVAL;
        for (int cpu = first; cpu <= last; cpu++)
            CPU_SET((size_t)cpu, &cpus);
        if (!*list)
            break;
    }
    *ret_cpus = cpus;
    return 0;
}

int cpus_check(const cpu_set_t *cpus, struct shm_why *why)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0) {
        shm_explain(why, "cannot ask which processors may be used: %m");
        return -errno;
    }
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, cpus) && !CPU_ISSET(cpu, &allowed)) {
            shm_explain(
                why, "processor %zu is not there, or this process may not use it (taskset, a container's cpuset)", cpu);
            return -EINVAL;
        }
    }
    return 0;
}
