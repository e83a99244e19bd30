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

/*
 * Does a directory on the way to the journals, ret_path[PATH_MAX], stop those whom the read bits of `mode` let in? Says yes
 * where an access control list may say no.
 */
bool place_journal_is_shut(const struct place *place, mode_t mode, gid_t gid, char *ret_path);

/* False when the bus's path leads somewhere else by now: whoever comes later cannot meet us. */
bool place_bus_stands(const struct place *place);

#endif
