/* SPDX-License-Identifier: Apache-2.0 */
/* A ring's tie to its journal: made or opened, compared with the ring, recovered, linked, leased ahead. */
#ifndef WEIR_DAEMON_BINDING_H
#define WEIR_DAEMON_BINDING_H

#include "daemon/hold.h"
#include "daemon/names.h"
#include "daemon/place.h"
#include "journal/journal.h"

/* The lease, in units of the ring's memory: raised when less than the first is left, to the second. */
/* A file of a journal holds so much, or one segment of the ring. */
#define BINDING_FILE_MIN (1ull << 20)
#define BINDING_FILE_MAX (8ull << 20)
#define BINDING_LEASE_LEFT 2u
#define BINDING_LEASE_TAKEN 4u

struct binding {
    struct journal_writer *writer;
    struct journal_meta meta; /* as it is on disk */
    struct names names;
    uint64_t durable;      /* of the ring when it was bound: the drain starts here */
    uint64_t written;      /* likewise: so far publishers were told, and the journal has it; not below durable */
    uint64_t memory_bytes; /* how far memory can reach past what is drained */
};

/*
 * -ESTALE: the journal is another ring's, or another life of it, or does not reach as far as the ring says: `why` says what to
 * do; nothing was changed. -EBUSY: another writer has it. -EFAULT: the ring's memory went away.
 */
int binding_open(struct binding **ret_binding, const struct place *place, struct hold *hold, struct shm_why *why);
/* NULL is allowed. */
void binding_close(struct binding *binding);
/* Closes it, and takes the journal away. -ENOENT: its name was gone already. */
int binding_discard(struct binding *binding, const struct place *place);

/*
 * Positions are leased ahead, durably, so that one is never given out twice: what was in memory alone at a power loss lies
 * below the lease, and the next epoch starts above it. Memory below `drained` may be reclaimed. 1: meta.lease was raised, and may now be told to publishers.
 */
int binding_lease(struct binding *binding, uint64_t drained, uint64_t durable);
/* Writes down how far recovery need not look. */
int binding_record(struct binding *binding, uint64_t durable);

#endif
