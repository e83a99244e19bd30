/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept in a journal under names: the last sequence of each named publisher, as far as it is durable, and the
 * positions of cursors.
 *
 * Sequences are counted from the drained copies, not read from the ring: what is only in memory is lost with it, and a
 * publisher that asks for its last sequence after a power loss must not be told of a record that is gone. Three rules
 * make that hold at whatever instruction the power fails:
 *   1. a count is set aside until its record was taken by the journal, and pending until its bytes are synced: what could not be
 *      written, for want of room, may be lost yet. Since more is written while a sync is under way, what is pending is cut off
 *      now and then, and waits so for a sync of all of it, however much comes behind;
 *   2. a record carries the hash of its publisher's name alone, so the name is saved before its first record is written;
 *   3. counts are saved before meta.durable passes their records, since recovery counts from there.
 */
#ifndef WEIR_DAEMON_NAMES_H
#define WEIR_DAEMON_NAMES_H

#include "journal/journal.h"
#include "ringbuf/ring.h"

struct names_entry {
    uint64_t hash;
    uint64_t durable; /* last sequence that is synced */
    uint64_t cut;     /* last sequence that was written before the cut; `durable`, where nothing is cut off */
    uint64_t pending; /* last sequence that was written */
    uint64_t aside;   /* last sequence of what is to be written next; 0: none */
    char name[RING_NAME_BYTES];
};

struct names {
    struct names_entry *entries;
    uint32_t count, capacity;
    uint32_t *index; /* by hash: number + 1 of an entry; never full */
    uint32_t index_mask;
    uint32_t *dirty; /* entries whose pending is ahead of their cut */
    uint32_t dirty_count;
    uint32_t *cuts; /* entries whose cut is ahead of what is durable */
    uint32_t cut_count;
    bool is_cut;
    uint64_t cut_end; /* what is cut off lies below */
    uint32_t *asides; /* entries that have something aside */
    uint32_t aside_count;

    uint64_t position; /* every record below it is counted in `durable` */
    uint64_t unmerged; /* records up to here were counted before the start and are to be synced again; 0: none */
    bool changed;      /* something durable is not saved */
    bool unsaved_name;
    uint64_t looked_ns; /* CLOCK_MONOTONIC, when the cursors were looked at last */

    struct journal_name *cursors; /* as saved last */
    uint32_t cursor_count;
    struct journal_name *cursors_now; /* room to read them into */
    uint32_t cursors_now_count, cursor_capacity;
};

/* geometry bounds the numbers; saved, from journal_load_names(), fills in. */
int names_open(struct names *names, const struct ring_geometry *geometry, const struct journal_names *saved);
void names_close(struct names *names);
/*
 * Where counting begins for a table that was opened with what journal_load_names() returned without an error: by rule 3 all
 * below meta.durable was counted when that was written, and what did not change since was not saved again.
 */
uint64_t names_count_from(const struct names *names, const struct journal_meta *meta);

/* Takes over names that the ring has and the table has not. Touches the ring's memory: under a guard. */
void names_learn(struct names *names, const struct ring_view *view);

/* For journal_recover(), ctx is the names: counts as pending. */
void names_count_recovered(void *ctx, uint64_t producer, uint64_t sequence);
/* Behind journal_recover(), which found an end; `durable` is how far the records are known to be synced. */
void names_recovered(struct names *names, uint64_t durable, uint64_t end);

/* For journal_seal(), ctx is a struct names_drain, one for each call: sets counts aside, looks unknown names up. */
struct names_drain {
    struct names *names;
    const struct ring_view *view;
    bool looked;
    int error; /* -EFAULT: the ring's memory went away */
};
void names_count_drained(void *ctx, uint64_t producer, uint64_t sequence);
/* What is set aside was written: it is pending. Or it was not: it is forgotten, to be counted again when it is tried again. */
void names_written(struct names *names, bool written);

/* A sync is begun; all below `written` is counted. */
void names_cut(struct names *names, uint64_t written);
/* Everything below `durable` is synced; all below `written`, and nothing else, is counted. */
void names_synced(struct names *names, uint64_t durable, uint64_t written);

/* Saves producers and the cursors as they were read last. */
int names_save(struct names *names, struct journal_writer *writer);
/* Once in a while: reads the cursors from the ring, and saves what changed. now_ns UINT64_MAX: now. Also -EFAULT. */
int names_checkpoint(struct names *names, const struct ring_view *view, struct journal_writer *writer, uint64_t now_ns);

/* The lowest position of a cursor, in the ring now or as it was saved last; UINT64_MAX: there is none. Also -EFAULT. */
int names_floor(struct names *names, const struct ring_view *view, uint64_t *ret_position);

/* Puts what is known into a ring that is being made. False: it has no room for all. */
bool names_restore(const struct names *names, const struct ring_view *view);

#endif
