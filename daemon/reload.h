/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration that is in force, and reading it again: by a signal, or through the daemon's socket. */
#ifndef WEIR_DAEMON_RELOAD_H
#define WEIR_DAEMON_RELOAD_H

#include <pthread.h>

#include "daemon/config.h"
#include "daemon/weird.h"

struct reload {
    pthread_mutex_t lock;
    const char *file;
    struct config_given given; /* on the command line: it wins over the file */
    struct config running;
};

/*
 * Reads the file again. What is safe takes effect; what is not is told, as needing a restart. With any fault in the file all
 * stays as it is, and each is told. What is told is logged as well; `tell` may be NULL. The service manager hears of it.
 */
int reload_run(struct reload *reload, struct weird *weird, void (*tell)(void *tell_ctx, const char *line),
               void *tell_ctx);

#endif
