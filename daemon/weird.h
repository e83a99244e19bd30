/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon, as a library: main.c starts it, and so can a test. Threads: a conductor that finds rings, a supervisor that
 * sees deaths, and one or more that drain.
 *
 * It installs a handler for SIGBUS while it runs. Everything else about signals is the caller's: block what the threads
 * are not to take before weird_start().
 */
#ifndef WEIR_DAEMON_WEIRD_H
#define WEIR_DAEMON_WEIRD_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "shm/shm.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weird;

struct weird_options {
    const char *bus;     /* NULL: as shm_bus_open() chooses */
    const char *journal; /* NULL: as place_open() chooses */
    uint32_t threads;    /* that drain; 0: 1 */
    bool verbose;
    const cpu_set_t *cpus; /* processors that the threads that drain run on; NULL: any */
};

#define WEIRD_THREADS_MAX 64u

/*
 * When it returns 0 the rings of the journals are back and those on the bus are served. -EBUSY: another daemon serves the
 * bus. The calling thread is registered with RCU for the time of the call.
 */
int weird_start(const struct weird_options *options, struct weird **ret_weird, struct shm_why *why);
/* Drains what is committed, syncs, saves names, leaves the rings. NULL is allowed. */
void weird_stop(struct weird *weird);

/* Readable when it cannot go on, and should be stopped: the bus was taken away. */
int weird_failed_fd(const struct weird *weird);
/* Where it works. */
const char *weird_bus(const struct weird *weird);
const char *weird_journal(const struct weird *weird);
/* How often the drain threads went to sleep. */
uint64_t weird_sleeps(const struct weird *weird);

#ifdef __cplusplus
}
#endif

#endif
