/* SPDX-License-Identifier: Apache-2.0 */
/* Where a daemon works: its bus and its journal directory, opened and, the bus, locked. Constant once opened. */
#ifndef WEIR_DAEMON_PLACE_H
#define WEIR_DAEMON_PLACE_H

#include <limits.h>
#include <stdbool.h>

#include "shm/shm.h"

struct place {
    int bus_fd;
    int journal_fd;
    int lock_fd;     /* BUS/.weird, write-locked: one daemon per bus */
    bool fence_self; /* the kernel refused the heavy fence */
    char bus[PATH_MAX];
    char journal[PATH_MAX]; /* absolute */
};

/*
 * bus as for shm_bus_open(); made when missing. journal: a directory, its last part made when missing; NULL: /var/lib/weir
 * where I may write it, else $XDG_STATE_HOME/weir, else ~/.local/state/weir. -EBUSY: the bus has its daemon; `why` says which.
 */
int place_open(struct place *place, const char *bus, const char *journal, struct shm_why *why);
void place_close(struct place *place);

/* False when the bus's path leads somewhere else by now: whoever comes later cannot meet us. */
bool place_bus_stands(const struct place *place);

#endif
