/* SPDX-License-Identifier: Apache-2.0 */
/* A worker of a group: a subscriber that reads where the group says, and the run of messages that it hands out just now. */
#ifndef WEIR_CLIENT_WORKER_H
#define WEIR_CLIENT_WORKER_H

#include "client/subscriber.h"
#include "group/group.h"

struct weir_worker {
    struct weir_sub *sub;
    struct shm_part part;
    struct group_view view;
    struct group_worker group;
    struct group_ender ender;
    bool suspects;      /* leases that may have run out: look again soon */
    bool full;          /* no entry was free when one was wanted */
    uint64_t looked_ns; /* for the dead, and for leases */
    uint32_t prefetch;

    struct group_run run; /* in hand; its messages are `items` */
    uint32_t left;        /* bits of them that are not handed out yet */
    uint64_t leased_ns;   /* the lease was stored then */
    struct ring_item items[GROUP_RUN_MAX];
    struct weir_gap gap;
    uint64_t random;
};

/* -- group.c ---------------------------------------------------------------------------------------------------------- */

/* Maps the group's file and checks it. `writable`: to work; else to look. */
int group_open(const struct attachment *attachment, const char *group, bool writable, struct shm_part *ret_part,
               struct group_view *ret_view);
/* Something came back: who sleeps is woken. */
void group_tell(const struct ring_view *ring, const struct group_view *view);
bool group_worker_dead(void *ctx, uint64_t id); /* ctx: a struct ring_view */

/* -- worker_fetch.c: a run and its messages ----------------------------------------------------------------------------- */

/*
 * The next run, of at most so many messages where it is new: what came back first. 1: `run`, `items` and `left` are set; 0: there
 * is none now; -EPIPE: `gap`; other errors.
 */
int worker_fetch(struct weir_worker *worker, uint32_t most);
/* The dead, and leases, are looked for every so often, within worker_fetch(). */
bool worker_look_due(const struct weir_worker *worker, uint64_t now_ns);
/* When a lease that begins now ends. */
uint64_t worker_lease_end(const struct weir_worker *worker, uint64_t now_ns);

#endif
