/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's hold on one ring's memory: mapped, looked at through two views, joined under index 0. */
#ifndef WEIR_DAEMON_HOLD_H
#define WEIR_DAEMON_HOLD_H

#include "daemon/place.h"
#include "ringbuf/ring.h"
#include "shm/shm.h"

struct hold;

/* A view and what its operations need. One for each thread that works on the ring, since the copy is the thread's own. */
struct hold_side {
    struct ring_view view;
    struct hold *hold;
    void *readers_copy;
};

struct hold {
    struct shm_ring shm;
    uint64_t id; /* our byte in the lock file */
    struct hold_side drain;
    struct hold_side supervise;
    struct ring_publisher_state daemon; /* its announcement belongs to the supervising thread alone */
};

/*
 * Maps the ring, checks what can be checked, takes an id and its lock, and joins. What was opened is closed again on failure.
 * -EFAULT: the files were cut short meanwhile. The hold must not move while it is open.
 */
int hold_open(struct hold *hold, const struct place *place, const char *name, struct shm_why *why);
/* Gives the entry back: the ring is to stand without a daemon. Not for a ring that is gone or damaged. */
void hold_leave(struct hold *hold);
void hold_close(struct hold *hold);

#endif
