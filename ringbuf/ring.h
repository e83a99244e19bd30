/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring: algorithms over memory that the caller gives. No system call, no allocation, no log, no pointer stored in
 * shared memory. What only the kernel can say (who is dead, the heavy fence, a copy of the readers' table) comes
 * through struct ring_ops.
 *
 * Every int-returning function returns 0 or more, or a negative errno:
 *   -EAGAIN    nothing now (publish: no room)      -EMSGSIZE  larger than a segment takes
 *   -EBADMSG   the shared bytes make no sense       -ENOENT    not in memory (any more)
 *   -EIDRM     the ring was removed                 -EINVAL    the caller's arguments make no sense
 *   -EPROTONOSUPPORT  other layout version or unknown feature bits     -ENOSPC  a table is full
 *   -EBUSY     held by somebody who is alive        -EMEDIUMTYPE  not a file of weir's
 *
 * Who may run with whom: a struct ring_publisher_state or ring_reader_state belongs to one thread. Everything else is
 * safe between any number of processes. Progress: reading is wait-free; claiming is lock-free, and waits, bounded, for
 * a cleaner; committing is wait-free.
 */
#ifndef WEIR_RINGBUF_RING_H
#define WEIR_RINGBUF_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringbuf/layout.h"

/* -- Geometry: ask size, then format memory of that size ---------------------------------------------------------- */

struct ring_geometry {
    uint32_t flags;         /* RING_EXCLUSIVE, RING_JOURNALED */
    uint32_t when_full;     /* enum ring_when_full */
    uint32_t segment_shift; /* segment bytes = 1 << segment_shift */
    uint32_t max_publishers;
    uint32_t max_readers;
    uint32_t max_producers; /* names of publishers, and of cursors below, that the ring can remember */
    uint32_t max_cursors;
    uint64_t memory_limit_bytes; /* what may wait for the disk (journaled), what is kept (memory only) */
    uint64_t features_incompatible;
    uint32_t huge;       /* enum ring_huge; kept for whoever makes the memory, of no meaning here */
    uint32_t numa_node;  /* node + 1; 0: none; likewise */
    uint32_t slot_count; /* 0: limit in segments + readers + 2 x publishers + weird + seats; tests ask for fewer */
    /* Set by ring_geometry_check() */
    uint64_t control_bytes;
    uint64_t readers_bytes;
    uint64_t data_bytes;
};

/* Fills in the computed members. -EINVAL with *ret_reason set to a static sentence when the combination is impossible. */
int ring_geometry_check(struct ring_geometry *geometry, const char **ret_reason);

struct ring_identity {
    char name[RING_NAME_BYTES];
    uint8_t ring_id[16];
    uint64_t created_ns;
    uint64_t epoch; /* from 1 */
    uint64_t start; /* a multiple of the segment size */
};

/*
 * Formats control and readers (which must be zero, of the sizes in the geometry) and the first header of data.
 * Readiness is stored last.
 */
void ring_format(void *control, void *readers, void *data, const struct ring_geometry *geometry,
                 const struct ring_identity *identity);

/* -- View: one process's way to a ring ------------------------------------------------------------------------------ */

struct ring_ops {
    /* True only when the kernel says that nobody holds the lock of this id. False when alive or when it cannot tell. */
    bool (*publisher_dead)(void *ctx, uint64_t id);
    bool (*reader_dead)(void *ctx, uint64_t id);
    /* A full fence on every processor that runs a registered process (edge E6). False: not to be had. */
    bool (*fence)(void *ctx);
    /* A fresh private copy of the readers' file, its header and table, or NULL; the one before is void. */
    const struct ring_readers *(*readers_copy)(void *ctx);
    /* Let others run: called between looks in bounded waits. */
    void (*relax)(void *ctx);
};

struct ring_view {
    struct ring_control *control;
    struct ring_readers *readers; /* may be NULL for who never looks at sleepers (tests) */
    uint8_t *data;
    const struct ring_ops *ops;
    void *ctx;
    bool control_writable; /* may repair and reclaim; else looks only */
    bool data_writable;    /* may turn dead claims into padding */
    bool readers_writable; /* may free the entries of dead readers */
    bool fence_self;       /* this process is not registered for the heavy fence, or the ring has RING_FEATURE_FENCED */

    /* Copied from control once, bounded. */
    struct ring_geometry geometry;
    struct ring_identity identity;
    uint32_t segment_units;
    uint32_t publisher_entries; /* weird's, max_publishers, RING_SEATS */

    struct mem_u64 *states;
    struct ring_slot *slots;
    struct ring_publisher *publishers;
    struct ring_producer *producers;
    struct ring_reader *reader_table;
    struct ring_cursor *cursors;
};

/*
 * Checks the untrusted bytes and fills the view. The sizes are those of the files. Sets no ops and no booleans: the
 * caller does. -EAGAIN: not ready yet; *ret_reason: a static sentence for every error.
 */
int ring_view_init(struct ring_view *view, void *control, uint64_t control_bytes, void *readers, uint64_t readers_bytes,
                   void *data, uint64_t data_bytes, const char **ret_reason);
/* The geometry alone, from the first RING_CONTROL_HEADER_BYTES of control (to learn how much to map). */
int ring_control_read(const struct ring_control *control, uint64_t control_bytes, struct ring_geometry *ret_geometry,
                      struct ring_identity *ret_identity, const char **ret_reason);

/* -- Publisher ------------------------------------------------------------------------------------------------------ */

struct ring_publisher_state {
    struct ring_view *view;
    struct ring_publisher *entry;
    uint64_t id;
    uint32_t index;
    uint32_t owner;                     /* 22 bits, as in words */
    const struct ring_readers *readers; /* what ops->readers_copy() gave last, NULL: nothing yet */

    bool inside; /* `segment` is announced and `slot` holds it */
    uint64_t segment;
    struct ring_slot *slot;
    uint8_t *base;
    uint32_t end;   /* exclusive rings: where the next record goes, in units */
    uint32_t clean; /* exclusive rings: headers from `end` to here are free; above `end` */

    bool claimed;
    uint32_t claim_offset; /* units */
    uint32_t claim_units;

    struct ring_producer *producer; /* held name, or NULL */
    uint64_t sequence;              /* last one committed under that name */
};

/*
 * Registration. The caller has taken `id` with ring_publisher_id() and holds its lock already.
 * ring_publisher_join() finds an entry; dead holders are resolved on the way. -ENOSPC: all are alive.
 * -EBUSY: an exclusive ring whose publisher is alive.
 */
uint64_t ring_publisher_id(struct ring_view *view);
int ring_publisher_join(struct ring_publisher_state *publisher, struct ring_view *view, uint64_t id, uint64_t pid,
                        uint64_t now_ns);
/* As above for weird, which has index 0 to itself and never publishes. -EBUSY: another one is alive. */
int ring_daemon_join(struct ring_publisher_state *publisher, struct ring_view *view, uint64_t id, uint64_t pid,
                     uint64_t now_ns);
/* Cancels an open claim, gives back name and entry. */
void ring_publisher_leave(struct ring_publisher_state *publisher);

/* Takes the name (at most 64 characters, checked by the caller). -EBUSY: held by the living; -ENOSPC: no more names. */
int ring_producer_take(struct ring_publisher_state *publisher, const char *name);
uint64_t ring_producer_hash(const char *name);

/*
 * Claims room for one record, or several in a row, of `units` units in all (headers included). The body of the first
 * starts 16 bytes after ring_claim_address(). -EAGAIN: full (the caller waits or refuses), nothing was claimed.
 */
int ring_claim(struct ring_publisher_state *publisher, uint32_t units, uint64_t *ret_position);
uint8_t *ring_claim_address(const struct ring_publisher_state *publisher);
/* Units that a record with this many bytes of properties and payload takes, or 0 when no segment could hold it. */
uint32_t ring_units(const struct ring_view *view, uint64_t body_bytes);
/* Makes the whole claim one record. Visible when it returns. body_bytes <= what was claimed. */
void ring_commit(struct ring_publisher_state *publisher, uint16_t tag, uint32_t flags, uint32_t body_bytes);
/* Batches: headers of all records but the first, in any order, at `offset` units into the claim; then ring_commit_first().
 * The units of all of them make up the claim exactly. */
void ring_batch_put(struct ring_publisher_state *publisher, uint32_t offset, uint32_t units, uint16_t tag,
                    uint32_t flags, uint32_t body_bytes);
void ring_commit_first(struct ring_publisher_state *publisher, uint32_t units, uint16_t tag, uint32_t flags,
                       uint32_t body_bytes);
/* The claim becomes padding (shared) or as if it had never been (exclusive). */
void ring_cancel(struct ring_publisher_state *publisher);
/* After a commit under a name: remembers the last sequence that the commit held. */
void ring_producer_count(struct ring_publisher_state *publisher, uint64_t sequence, uint64_t end_position);
/* After commits: true when a sleeper wants to be woken; the bell was rung, the caller wakes the futex. */
bool ring_news(struct ring_view *view);
/* The same for any bell: after the news was stored. Edge E6. */
bool ring_bell_news(const struct ring_view *view, struct ring_bell *bell, const struct mem_u64 *want);
/*
 * Before sleeping: asks to be woken; returns the value of bell->seq to sleep on (its low half). The caller then has
 * everyone fenced (ops->fence), looks once more, and sleeps; without the heavy fence it must keep the sleep short.
 */
uint64_t ring_bell_ask(struct ring_bell *bell, struct mem_u64 *want);

/* -- Reader --------------------------------------------------------------------------------------------------------- */

struct ring_reader_state {
    struct ring_view *view;
    struct ring_reader *entry; /* NULL: has none (the drain, which gates by `drained`; a publisher that looks) */
    struct mem_u64 *announced; /* NULL: announces nothing */
    uint64_t id;
    uint32_t index;
    bool gating;
    bool
        stay; /* peek says 0 at the end of the segment instead of going to the next: what was seen in place stays valid */

    bool inside;
    uint64_t segment;
    uint8_t *base;
    struct ring_slot *slot;
    uint32_t offset; /* units; the next record to look at */
};

struct ring_item {
    uint64_t position;
    uint64_t next; /* position behind it */
    const uint8_t *body;
    uint32_t body_bytes;
    uint16_t tag;
    uint32_t flags;
};

uint64_t ring_reader_id(struct ring_view *view);
/* -ENOSPC: all entries are held by the living. */
int ring_reader_join(struct ring_reader_state *reader, struct ring_view *view, uint64_t id, uint64_t pid,
                     uint64_t now_ns);
void ring_reader_leave(struct ring_reader_state *reader);
/* Cursors: -EBUSY held by the living, -ENOSPC no more names. *ret_position: UINT64_MAX when it was never saved. */
int ring_cursor_take(struct ring_reader_state *reader, const char *name, uint64_t *ret_position);
void ring_cursor_save(struct ring_reader_state *reader, uint64_t position, uint64_t now_ns);

/*
 * Goes to a position, which must be that of a record's header, a segment's start, or the end of the log; announces its
 * segment. -ENOENT: not in memory. -EAGAIN: it is a segment that does not exist yet (stay there and peek).
 */
int ring_reader_seek(struct ring_reader_state *reader, uint64_t position);
/* Goes behind the last claim (exclusive: the last record). 0, -EBADMSG, -EAGAIN when publishers keep rolling over. */
int ring_reader_seek_end(struct ring_reader_state *reader);
uint64_t ring_reader_position(const struct ring_reader_state *reader);
/* Leaves memory: announces nothing, e.g. while reading the journal. A gate stays where `position` says. */
void ring_reader_outside(struct ring_reader_state *reader, uint64_t position);
/*
 * Looks at the next record without going past it. 1: *ret_item; 0: nothing yet; -ENOENT: the next segment is not in
 * memory any more; -EBADMSG: damaged. Padding is skipped. ring_reader_pass() goes past what was seen.
 */
int ring_reader_peek(struct ring_reader_state *reader, struct ring_item *ret_item);
/* Polls at most so many times, at the least cost for the publisher. True: peek again, there may be something. */
bool ring_reader_poll(const struct ring_reader_state *reader, uint32_t polls);
void ring_reader_pass(struct ring_reader_state *reader, const struct ring_item *item);
/*
 * Is there anything at my position: a record, a claim that its header tells, the segment that was missing? Announces and
 * changes nothing, so a copy of the state will do, in another thread, while the announcement stands; of a copy that the
 * reader has left behind the answer means nothing.
 */
bool ring_reader_stirred(const struct ring_reader_state *reader);
/*
 * After waiting a while: is the claim at my position a dead one's? 1: it was, and is repaired or skipped: peek again.
 * 0: nothing to do. -ENOENT: lapped (drop-old): the segments behind mine are gone. -EBADMSG: the claim there is nobody's,
 * or the words contradict each other. *ret_pending: somebody has a claim at
 * or past my position (sleep short).
 */
int ring_reader_look(struct ring_reader_state *reader, bool *ret_pending);
/* Id of the publisher whose uncommitted claim stands at the reader's position, alive or dead; 0: nobody's. */
uint64_t ring_reader_claimant(const struct ring_reader_state *reader);
/* The lowest segment >= from that is in memory, or -ENOENT. */
int ring_oldest_segment(const struct ring_view *view, uint64_t from, uint64_t *ret_segment);

/* -- Positions ------------------------------------------------------------------------------------------------------ */

/* Position behind the last claim (shared) or the last visible record (exclusive: found by walking). It announces nothing;
 * only where publishers roll over again and again meanwhile is it the start of a segment short of the end. */
uint64_t ring_end_position(const struct ring_view *view);
/* Everything below is committed: walks on from the hint in control and raises it. Uses the publisher's announcement, so
 * no claim may be open (then only the hint is returned). */
uint64_t ring_visible_position(struct ring_publisher_state *publisher);

/* -- Repair --------------------------------------------------------------------------------------------------------- */

/* Resolves everything that names a participant which the kernel says is dead, then frees its entry. Idempotent, may be
 * run by any number at once, may die anywhere. `self` is who does it: its announcement is used, so it must not have a claim
 * open (then nothing is done), and enters its segment anew before the next one. */
void ring_publisher_resolve(struct ring_publisher_state *self, uint32_t index, uint64_t id);
void ring_reader_resolve(struct ring_view *view, uint32_t index, uint64_t id);
/* Sweeps the tables (that of readers where it may be written); returns how many dead were resolved. */
uint32_t ring_sweep(struct ring_publisher_state *self);

/* -- Check ---------------------------------------------------------------------------------------------------------- */

enum ring_file { RING_FILE_CONTROL, RING_FILE_READERS, RING_FILE_DATA };
/* Called once per fault: where (file and byte offset) and what. */
typedef void ring_fault_fn(void *ctx, enum ring_file file, uint64_t offset, const char *what);
/* Walks a ring, live or dead, and reports each fault. Returns their number. Never writes. */
uint64_t ring_check(const struct ring_view *view, ring_fault_fn *fault, void *ctx);

/* -- Records -------------------------------------------------------------------------------------------------------- */

struct ring_meta {
    uint32_t present; /* RING_HAS_... */
    uint64_t time_ns;
    uint64_t expiry_ns;
    uint64_t producer; /* with RING_HAS_SEQUENCE */
    uint64_t sequence;
    const void *key;
    uint32_t key_bytes;
    const void *headers; /* encoded, see RING_HEADER_OVERHEAD */
    uint32_t headers_bytes;
};

/* Bytes that the properties take in front of the payload: 0 when there are none, a multiple of 8. -EINVAL: too large. */
int ring_meta_bytes(const struct ring_meta *meta, uint32_t *ret_bytes);
void ring_meta_put(const struct ring_meta *meta, uint8_t *body);
/* Reads properties from an untrusted body: *ret_bytes is where the payload starts. -EBADMSG: they make no sense. */
int ring_meta_get(const uint8_t *body, uint32_t body_bytes, uint32_t flags, struct ring_meta *ret_meta,
                  uint32_t *ret_bytes);

#endif
