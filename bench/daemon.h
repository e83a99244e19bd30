/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon for a bench, with a journal of its own in the folder of the site. */
#ifndef WEIR_BENCH_DAEMON_H
#define WEIR_BENCH_DAEMON_H

#include <sys/types.h>

#include "bench/site.h"

struct bench_daemon {
    pid_t pid; /* 0: it does not run */
    struct site *site;
    int cpu;
    char journal[600];
    char config[600];     /* empty: none */
    double ready_seconds; /* from its start until it said that it serves its rings */
};

/*
 * Starts `weird` on the bus, on this processor alone or, -1, on any, and waits until it is ready. `bytes` are to be
 * written to its journal; retain_bytes of them are kept, 0: all. Negative errno; -EINTR: the site was asked to stop. It does
 * not outlive its starter.
 */
int bench_daemon_start(struct bench_daemon *daemon, struct site *site, int cpu, uint64_t bytes, uint64_t retain_bytes);
/* Sends it a signal that ends it, and waits; its journal stays. */
void bench_daemon_end(struct bench_daemon *daemon, int signal_number);
/* Starts it again on the same journal. */
int bench_daemon_again(struct bench_daemon *daemon);
/* Ends it and removes its journal. Nothing where it was never started. */
void bench_daemon_stop(struct bench_daemon *daemon);

/* Resident memory in bytes, without that which it shares with others, such as rings; 0: unknown. */
uint64_t bench_daemon_resident(const struct bench_daemon *daemon);

#endif
