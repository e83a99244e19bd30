/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings that the daemon serves, by name. The conductor puts them in and takes them out; drain threads and the
 * supervisor walk the table under RCU, take a reference on what they work with, and leave the read-side section before they
 * sleep, sync or touch a ring's memory. Memory is unmapped by the conductor, when the last reference is given back and a
 * grace period has passed.
 */
#ifndef WEIR_DAEMON_REGISTRY_H
#define WEIR_DAEMON_REGISTRY_H

#include <sys/types.h>

#define URCU_API_MAP /* rcu_read_lock() and so on are those of liburcu-memb */
#include <urcu/urcu-memb.h>

#include <urcu/rculfhash.h>

#include "daemon/binding.h"
#include "daemon/hold.h"

struct drain_ring;
struct watch_ring;

/* Which directory on the bus it is: another one under the same name is another ring. */
struct ring_place {
    dev_t device;
    ino_t inode;
};

/* What the conductor remembers of a ring that it cannot tie to its journal yet. */
struct ring_bind {
    uint64_t due_ns;
    uint64_t delay_ns;
    struct shm_why told; /* what was logged last: said once */
};

struct weird_ring {
    struct cds_lfht_node node;
    struct mem_u64 references; /* 0: nobody takes one any more */
    struct mem_u64 unused;     /* 1: nobody but the conductor has it */
    struct registry *registry;
    char name[RING_NAME_BYTES];
    uint64_t hash;
    bool journaled;
    struct hold hold;

    struct ring_place place; /* constant once it is in the table */

    /* The conductor's alone. */
    uint64_t seen; /* in the round of this number */
    struct ring_bind bind;

    struct mem_u64 gone; /* 1: out of the table: whoever has it lets go */
    struct mem_u64 hurt; /* 1: its memory was taken away under us, set by who noticed; the conductor takes it out */

    /* The conductor's until `bound` is 1, then the drain thread's, until that lets the ring go. */
    struct binding *binding;
    struct mem_u64 bound;
    struct mem_u64 taken; /* 1: the drain thread has it, and drains the rest when it is gone */

    struct drain_ring *drain; /* the drain thread's alone */
    struct watch_ring *watch; /* the supervisor's alone */
};

struct registry {
    struct cds_lfht *table;
    struct mem_u64 generation; /* changes when a ring comes, goes, or is bound to its journal */
    int event_fd;              /* the conductor polls it: something is hurt, or not used any more */
};

int registry_open(struct registry *registry);
/* Nothing is left in it. */
void registry_close(struct registry *registry);

/* A ring of its own reference: the caller's. The conductor alone. */
void registry_add(struct registry *registry, struct weird_ring *ring);
/* Takes it out of the table and says so in `gone`; the reference stays the caller's. */
void registry_remove(struct registry *registry, struct weird_ring *ring);
/* Under rcu_read_lock(); good until rcu_read_unlock() unless weird_ring_get() took it. */
struct weird_ring *registry_find(struct registry *registry, const char *name);
/* True to stop, and returned then. Called inside a read-side section. */
bool registry_walk(struct registry *registry, bool (*visit)(void *ctx, struct weird_ring *ring), void *ctx);
/* Waits until every walk that may have seen what is out of the table by now is over. Outside of read-side sections. */
void registry_grace(const struct registry *registry);
void registry_changed(struct registry *registry);
/* Wakes the conductor. */
void registry_call(struct registry *registry);

bool weird_ring_get(struct weird_ring *ring); /* false: it is being let go */
void weird_ring_put(struct weird_ring *ring);
/* After a grace period. */
void weird_ring_free(struct weird_ring *ring);

/* Whether its name on the bus still leads to it. */
bool weird_ring_is_named(const struct weird_ring *ring, int bus_fd);

/* Its memory cannot be relied on any more: the conductor takes it out. Any thread with a reference. */
void weird_ring_hurt(struct weird_ring *ring);

#endif
