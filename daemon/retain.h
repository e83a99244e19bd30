/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a ring's journal is kept: by bytes, by age, and by the room there is. Of one ring, in its drain thread. */
#ifndef WEIR_DAEMON_RETAIN_H
#define WEIR_DAEMON_RETAIN_H

#include "daemon/binding.h"
#include "daemon/policy.h"
#include "daemon/room.h"

struct retain {
    const char *ring;
    struct binding *binding;
    const struct ring_view *view;
    const struct policy *policy;
    struct room_share *share; /* NULL: not yet, for want of memory or descriptors */
    struct room *room;
    uint64_t looked_ns, looked_at; /* when, and where `durable` was */
    uint64_t spares_ns;            /* when what could not be kept ready was tried again */
    uint64_t aged_below;           /* segments below are older than the policy's age */
    uint64_t aged_read;            /* segments below were read since, and did not tell; 0: begin again at aged_below */
    uint64_t aged_due_ns;          /* CLOCK_REALTIME: before, none becomes so */
    uint64_t told_room;            /* as in control.room */
    int told_error;                /* that keeps segments from expiring, and was logged */
    uint64_t busy_ns;              /* since when somebody changes the pins; 0: nobody does */
};

/* All of it outlives the retain. */
void retain_begin(struct retain *retain, struct room *room, const char *ring, struct binding *binding,
                  const struct ring_view *view, const struct policy *policy);
/* Before the binding is closed; also without a begin. */
void retain_end(struct retain *retain);
/* The policy has changed. */
void retain_learn(struct retain *retain);

/*
 * Now and then: what is to expire does. Everything below `durable` is synced. 0, or an error that the drain of the ring
 * does not survive: what ended the writer, or -EFAULT.
 */
int retain_look(struct retain *retain, uint64_t durable, uint64_t now_ns);
/* A file was refused for want of room. 1: some was made, ask again; 0: there is nothing to give up, or nothing may be. */
int retain_make_room(struct retain *retain, uint64_t durable);

#endif
