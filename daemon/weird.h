/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon, as a library: main.c starts it, and so can a test. Threads: a conductor that finds rings, a supervisor that
 * sees deaths, one or more that drain, and one that answers on the socket of the bus.
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
struct policy_rules;

struct weird_options {
    const char *bus;     /* NULL: as shm_bus_open() chooses */
    const char *journal; /* NULL: as place_open() chooses */
    uint32_t threads;    /* that drain, one for each NUMA node at least; 0: 1 */
    bool verbose;
    const cpu_set_t *cpus;               /* processors that the threads that drain run on; NULL: any */
    const struct policy_rules *policies; /* NULL: the defaults */
    const struct weird_calls *calls;     /* what may be asked of its owner through the socket; NULL: nothing */
};

/* Called in the daemon's thread for its socket. Members may be NULL. */
struct weird_calls {
    const char *config; /* file, for who asks */
    /* Reads the configuration again. Each line that there is to say goes to `tell`. 0, or a negative errno: nothing changed. */
    int (*reload)(void *ctx, struct weird *weird, void (*tell)(void *tell_ctx, const char *line), void *tell_ctx);
    void (*stop)(void *ctx); /* makes the owner call weird_stop() soon */
    void *ctx;
};

#define WEIRD_THREADS_MAX 64u

/*
 * When it returns 0 the rings of the journals are back and those on the bus are served. -EBUSY: another daemon serves the
 * bus. The calling thread is registered with RCU for the time of the call.
 */
int weird_start(const struct weird_options *options, struct weird **ret_weird, struct shm_why *why);
/* Drains what is committed, syncs, saves names, leaves the rings. NULL is allowed. */
void weird_stop(struct weird *weird);

/* From now on these hold; the threads are woken for it. -ENOMEM: those of before hold. Any thread. */
int weird_set_policies(struct weird *weird, const struct policy_rules *policies);
/* False: one of its threads hangs. For the one who watches; step_ns: since the last call (see beat.h). */
bool weird_lives(struct weird *weird, uint64_t step_ns);

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
