/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon for a bench, with a journal of its own. */
#ifndef WEIR_BENCH_DAEMON_H
#define WEIR_BENCH_DAEMON_H

#include <sys/types.h>

struct bench_daemon {
    pid_t pid;
    char journal[512];
};

/* Starts `weird` (a path, or a name in $PATH) on the bus; it may not have found its rings yet. Negative errno. */
int bench_daemon_start(struct bench_daemon *daemon, const char *bus, const char *weird);
/* Ends it and removes its journal. */
void bench_daemon_stop(struct bench_daemon *daemon);

#endif
