/* SPDX-License-Identifier: Apache-2.0 */
/* The processors that the drain threads are given. */
#ifndef WEIR_DAEMON_CPUS_H
#define WEIR_DAEMON_CPUS_H

#include <sched.h>

#include "shm/shm.h"

/* "0,2-5", as of taskset(1). -EINVAL: it is no such list, or empty. */
int cpus_parse(const char *list, cpu_set_t *ret_cpus);
/* -EINVAL: one of them is not there, or this process may not use it: the kernel would leave it out without a word. */
int cpus_check(const cpu_set_t *cpus, struct shm_why *why);

#endif
