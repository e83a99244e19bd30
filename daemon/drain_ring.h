/* SPDX-License-Identifier: Apache-2.0 */
/* Draining one ring: from its memory through a private copy into its journal. Each belongs to one drain thread. */
#ifndef WEIR_DAEMON_DRAIN_RING_H
#define WEIR_DAEMON_DRAIN_RING_H

#include "daemon/policy.h"
#include "daemon/registry.h"
#include "daemon/retain.h"

/* Where records are copied, checked and sealed. One for each thread; grows to the largest record seen. */
struct drain_buffer {
    uint8_t *bytes;
    uint64_t capacity;
    bool fixed; /* it is not ours, and cannot grow */
};

struct drain_ring {
    struct weird_ring *ring;
    struct binding *binding;
    struct policy policy;
    struct journal_flights *flights; /* the thread's; NULL: none */
    struct room *room;
    struct retain retain;
    struct ring_reader_state reader;
    uint64_t sent;        /* behind what is on its way to the kernel */
    uint64_t end;         /* where the ring ended when it was looked at last */
    uint64_t written;     /* behind what was given to the kernel */
    uint64_t told;        /* control.written: not below what the last weird had written, which is written again */
    uint64_t syncing_to;  /* behind what is being synced; `durable`, where nothing is */
    uint64_t durable;     /* behind what was synced */
    uint64_t drained;     /* memory below it may be reclaimed */
    uint64_t unsynced_ns; /* since when something waits for a sync to begin; only while sent != syncing_to */
    uint64_t quiet_ns;    /* since when nothing was found; 0: something was */
    uint32_t work_seq;    /* low half of control.work.seq, read before the last look */
    bool turn;            /* a sync of it begins in this round */
    bool syncing;         /* between the halves of a sync */
    bool wanted;          /* somebody waits for progress */
    bool pending;         /* somebody has a claim at or past our position */
    bool quiet;           /* errors are expected and not told: the ring is being removed */
    int stopped;          /* errno that ended the drain of this ring, 0: none */
    int held_up;          /* errno that may pass, 0: none; tried again at retry_ns */
    bool names_late;      /* saving names failed for such a reason, and was told */
    uint64_t retry_ns;
};

/* drain->ring, drain->room, drain->policy and drain->flights are set, all else zero; the ring is bound. */
void drain_ring_begin(struct drain_ring *drain);
/* drain->policy has changed. */
void drain_ring_learn(struct drain_ring *drain);
/* Closes the journal and frees; the ring's reference stays the caller's. */
void drain_ring_close(struct drain_ring *drain);
/* The same, and takes the journal away. */
void drain_ring_discard(struct drain_ring *drain, const struct place *place);

/* Copies what was committed, up to about `limit` bytes, and writes it. Returns how much; 0: nothing now, or stopped. */
uint64_t drain_ring_write(struct drain_ring *drain, struct drain_buffer *buffer, uint64_t limit, uint64_t now_ns);
/*
 * Is it time for a sync? `others`: another ring of this thread has one. Where it is not yet, *due_ns is lowered to when it will
 * be, if nothing else happens.
 */
bool drain_ring_sync_due(const struct drain_ring *drain, bool others, uint64_t now_ns, uint64_t *due_ns);
/* Syncs what was sent, tells everyone, and leases ahead. */
void drain_ring_sync(struct drain_ring *drain);
/*
 * The same for what is written, in two halves, so that several rings' syncs are under way at once, and more is written
 * meanwhile. True: the second half is through.
 */
void drain_ring_sync_begin(struct drain_ring *drain, uint64_t now_ns);
bool drain_ring_sync_end(struct drain_ring *drain, bool wait);
/* Tells what was written meanwhile; wait: until all that was sent is. */
void drain_ring_settle(struct drain_ring *drain, bool wait);
/* When nothing was found for a while: is a dead one's claim in the way? True: it was, and is repaired. */
bool drain_ring_look(struct drain_ring *drain);
/* For when there is nothing else to do: gets the journal ready for what comes. True: there may be more of it. */
bool drain_ring_prepare(struct drain_ring *drain);
/* Now and then. */
void drain_ring_checkpoint(struct drain_ring *drain, uint64_t now_ns);
/* Now and then: what is to expire does. */
void drain_ring_retain(struct drain_ring *drain, uint64_t now_ns);
/* Asks publishers to ring `work`. True: they were not asked before, so fence and look once more before sleeping. */
bool drain_ring_ask(struct drain_ring *drain);
/* All that is committed now is written, synced and recorded: the end of a clean stop. At most until deadline_ns. */
void drain_ring_finish(struct drain_ring *drain, struct drain_buffer *buffer, uint64_t deadline_ns);

#endif
