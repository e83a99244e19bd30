/* SPDX-License-Identifier: Apache-2.0 */
/* Where a daemon works: its bus and its journal directory, opened and locked. Constant once opened. */
#ifndef WEIR_DAEMON_PLACE_H
#define WEIR_DAEMON_PLACE_H

#include <limits.h>
#include <stdbool.h>

#include "shm/shm.h"

struct place {
    int bus_fd;
    int journal_fd;
    int bus_lock_fd;     /* BUS/.weird, write-locked: one daemon for a bus */
    int journal_lock_fd; /* JOURNAL/.weird, write-locked: one bus for a journal directory */
    bool fence_self;     /* the kernel refused the heavy fence */
    char bus[PATH_MAX];
    char journal[PATH_MAX]; /* absolute */
};

/*
 * bus as for shm_bus_open(); made when missing. journal: a directory, its last part made when missing; NULL: /var/lib/weir
 * where I may write it, else $XDG_STATE_HOME/weir, else ~/.local/state/weir. -EBUSY: the bus has its daemon, or the journal
 * directory another bus; `why` says which.
 */
int place_open(struct place *place, const char *bus, const char *journal, struct shm_why *why);
void place_close(struct place *place);

/* False when the bus's path leads somewhere else by now: whoever comes later cannot meet us. */
bool place_bus_stands(const struct place *place);

#endif
