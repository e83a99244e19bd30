/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring's journal on disk: writer (weird), recovery, reader (everybody). One writer at a time: it holds a write lock on
 * the file `lock`. All system calls go through journal/io.h, so that tests can make the n-th fail and see what was not synced.
 *
 * Negative errno: as the system calls gave it; -EBADMSG bytes that do not check; -EPROTONOSUPPORT other layout version or
 * byte order; -EMEDIUMTYPE not a journal; -EBUSY another writer has it; -ESTALE journal of another ring (other ring id, or
 * another name than its directory's: a copy); -EILSEQ, -ENAMETOOLONG a bad name; -EINVAL the caller's arguments make no
 * sense. Outputs are written on success only, save where it is said.
 *
 * A writer ends with its first failed write or sync: nothing is known then of what the kernel still holds. It answers
 * everything from then on with that error; close it. -ENOSPC, -EDQUOT, -EMFILE, -ENFILE and -ENOMEM do not end it when they
 * come from making or opening a file: nothing was written then, and the same call may be made again when there is room.
 * (Who takes every error for the end is right as well: a new writer begins at the durable position.)
 *
 * Threads: a writer, and a reader, belongs to one thread at a time; any number of them may work side by side.
 */
#ifndef WEIR_JOURNAL_JOURNAL_H
#define WEIR_JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "journal/layout.h"
#include "ringbuf/ring.h"

/* CRC-32C (Castagnoli, RFC 3720 B.4): hardware where the processor has it, else tables. crc is the running value, 0 first. */
uint32_t journal_crc32c(uint32_t crc, const void *data, size_t bytes);
/* Of a record at a position: head with owner bits zeroed. */
uint32_t journal_record_crc(const uint8_t ring_id[16], uint64_t epoch, uint64_t position, uint64_t head,
                            uint32_t body_bytes, const void *body);

struct journal_meta {
    struct ring_geometry geometry;
    uint32_t segments_shift; /* 2^n segments of the ring lie in one of the journal: in one file. It never changes */
    struct ring_identity identity; /* name, ring_id, created_ns, epoch, start */
    uint32_t mode, uid, gid;
    uint64_t lease;
    uint64_t durable;
};
/* log2 of the bytes in a segment of the journal. What is called a segment here is one of the journal. */
static inline uint32_t journal_shift(const struct journal_meta *meta)
{
    return meta->geometry.segment_shift + meta->segments_shift;
}

/* -- Writer ---------------------------------------------------------------------------------------------- */

struct journal_writer;

/* Segment files that one writer keeps open: what was written since the last sync began, and the next ones. */
#define JOURNAL_FILES_MAX 32u

/*
 * Makes DIR/NAME and its meta, durably (file and directories synced). -EEXIST: it is there. The caller sees to it that one
 * process at a time makes and removes journals in a directory. Files belong to meta's uid and gid where that may be done;
 * those who may read the ring may read the journal.
 */
int journal_create(int journal_fd, const struct journal_meta *meta);
/*
 * Locks and opens DIR/NAME for writing; *ret_meta: what it holds (of the geometry, not what ring_geometry_check() sets). What
 * it holds, its ledger, its names and its name are on stable storage then, even if an earlier writer's last sync had failed.
 */
int journal_open(int journal_fd, const char *name, struct journal_writer **ret_writer, struct journal_meta *ret_meta);
void journal_close(struct journal_writer *writer);
/* What ended the writer, a negative errno; 0: nothing did. */
int journal_ended(const struct journal_writer *writer);
/*
 * Errors that may pass: no room, no descriptors. Where they come from anything but a sync or the writing of records, nothing
 * that anybody relies on has changed, and the writer has not ended.
 */
bool journal_may_pass(int error);
/*
 * Writes and syncs a new generation of meta (lease, epoch, start, durable). On failure either the old or the new one counts.
 * Name, ring id and the sizes of segments cannot change, nor can the epoch go back (-EINVAL). A new epoch starts at a segment that
 * is at or above the last lease; what lies before it goes into the ledger first. `durable` bounds what recovery has to scan:
 * call this now and then as it moves on.
 */
int journal_set_meta(struct journal_writer *writer, const struct journal_meta *meta);

/*
 * Writes under way (journal/io.h, struct jio_queue), for all writers of one thread; its queue's buffers are for this alone.
 * Writes of records up to `longer_than` bytes are waited for all the same. Closed after the writers.
 */
struct jio_queue;
struct journal_flights;
#define JOURNAL_FLIGHT_BYTES ((1u << 20) + JOURNAL_BLOCK_BYTES) /* a buffer has at least so much */
int journal_flights_open(struct jio_queue *queue, uint64_t longer_than, struct journal_flights **ret_flights);
void journal_flights_close(struct journal_flights *flights);
/* From now on journal_write() may return while bytes are on their way. */
void journal_set_flights(struct journal_writer *writer, struct journal_flights *flights);
/* Behind what was written, in the order of positions; wait: all of it is. An error that came meanwhile ends the writer. */
int journal_settle(struct journal_writer *writer, bool wait, uint64_t *ret_written);

/*
 * Writes committed records: `bytes` (a multiple of the unit) copied from the ring at `position`, within one segment, CRCs set
 * by journal_seal(). Creates segment files as needed, allocated whole; the next one is made ahead when the last quarter of a
 * segment is reached. It is in the kernel when this returns; where there are flights, it may not even
 * have been sent before journal_settle(), which says when it is.
 * -EINVAL: below the epoch's start.
 */
int journal_write(struct journal_writer *writer, uint64_t position, const void *bytes_at, uint64_t bytes);
/*
 * Where `bytes` that begin at `position`, behind all that was written, can be put so that journal_write() of them, or of a
 * part, does not copy them; the next thing done with the writer is that, or they are lost. NULL: put them elsewhere.
 */
void *journal_stage(struct journal_writer *writer, uint64_t position, uint64_t bytes);
/*
 * Syncs every file written since the last call, and the directory when there is a new one in it. After success everything
 * written before the call is durable.
 */
int journal_sync(struct journal_writer *writer);
/*
 * The same in two halves, for what journal_settle() had told by then to be written: several writers' syncs are under way at
 * once, and what comes next is written meanwhile. One at a time; journal_sync() between them ends it. The second half: 1, and all
 * below *ret_durable is durable; 0: it is still under way, where it was not to be waited for. Behind an error the writer has
 * ended, whichever half it came from.
 */
int journal_sync_begin(struct journal_writer *writer);
int journal_sync_end(struct journal_writer *writer, bool wait, uint64_t *ret_durable);
/*
 * For when there is nothing else to do: makes a file for a segment to come, written from end to end, so that to sync what is
 * written over it takes half the time. 1: made one, there may be more to do; 0: there are enough, or it cannot be done now.
 */
int journal_prepare(struct journal_writer *writer);
/*
 * Checks a private copy of committed records that starts at `position`, within one segment, and makes it what goes to disk:
 * owner bits zero, CRCs set, zeros in padding and behind bodies. *ret_bytes, set in any case: how far whole, valid records
 * reach (all of it, else -EBADMSG: those before are sealed). `counted` (may be NULL) is called for each record that has a
 * producer sequence. Of `meta` it needs ring id, epoch and segment size.
 */
int journal_seal(const struct journal_meta *meta, uint64_t position, void *copy, uint64_t bytes, uint64_t *ret_bytes,
                 void (*counted)(void *ctx, uint64_t producer, uint64_t sequence), void *ctx);

struct journal_gap {
    uint64_t from, to;
    uint64_t time_ns;
    uint64_t epoch;
    uint32_t reason; /* enum journal_gap_reason */
};
/* Appends to the ledger, synced. There is room kept for it on a full disk. */
int journal_note_gap(struct journal_writer *writer, const struct journal_gap *gap);

struct journal_name {
    char name[RING_NAME_BYTES];
    uint64_t value;
};
struct journal_names {
    uint64_t position; /* all records below it are counted */
    uint32_t producer_count, cursor_count;
    struct journal_name *producers; /* value: last sequence */
    struct journal_name *cursors;   /* value: position */
};
int journal_save_names(struct journal_writer *writer, const struct journal_names *names); /* synced, by rename */
/* Missing file: empty, 0. -EBADMSG: damaged; what it held must be had from somewhere else. Free with journal_free_names(). */
int journal_read_names(int ring_journal_fd, const uint8_t ring_id[16], struct journal_names *ret_names);
/* Of a file that is damaged: what may have been names, all of them as producers. Nothing says that they were. */
int journal_salvage_names(int ring_journal_fd, struct journal_names *ret_names);
int journal_load_names(struct journal_writer *writer, struct journal_names *ret_names);
void journal_free_names(struct journal_names *names);

/*
 * Takes the files of all segments below this one away, after their range is durably in the ledger (JOURNAL_GAP_EXPIRED); those
 * that a pin covers stay. -EBUSY: this writer has one of them open, being written or not synced yet; or pins are just being
 * changed: come again. -EBADMSG: `pins` is damaged, and nothing expires before journal_unpin() has taken it away.
 */
int journal_expire(struct journal_writer *writer, uint64_t below_segment);
/* The same, of at most so many files, the oldest. *ret_count: how many went, set in any case. */
int journal_expire_some(struct journal_writer *writer, uint64_t below_segment, uint64_t most, uint64_t *ret_count);
/* Those that have files, ascending; valid until the writer's next call. */
int journal_segments(struct journal_writer *writer, const uint64_t **ret_segments, size_t *ret_count);
/* When a segment's first bytes were written (CLOCK_REALTIME), as its header tells. -EBADMSG: it has none that is valid. */
int journal_segment_created(struct journal_writer *writer, uint64_t segment, uint64_t *ret_created_ns);

enum journal_room_want {
    JOURNAL_ROOM_NEEDED, /* for what is to be written now */
    JOURNAL_ROOM_SPARE,  /* to be kept ready */
    JOURNAL_ROOM_AHEAD,  /* for what will be written next: nothing waits if it is refused */
};
/*
 * The account of room. `take` is asked before a file of so many bytes is made: 0, or the error that the call shall answer, one
 * that may pass. `settle`, behind each take that was granted: whether the file was made, and its
 * bytes are the file system's to tell from now on. `give`: a file went. All are called by whoever uses the writer.
 */
struct journal_room {
    int (*take)(void *ctx, uint64_t bytes, enum journal_room_want want);
    void (*settle)(void *ctx, uint64_t bytes, bool made);
    void (*give)(void *ctx, uint64_t bytes);
    void *ctx;
};
/* From now on; *ret_bytes: what its files take by then, the small ones left out. `room` is copied. */
int journal_set_room(struct journal_writer *writer, const struct journal_room *room, uint64_t *ret_bytes);
/*
 * Whether files are kept ready for segments to come. False: those that there are go. True, again: what could not be made
 * before is tried anew.
 */
void journal_keep_spares(struct journal_writer *writer, bool keep);
uint32_t journal_spares(const struct journal_writer *writer);
/* Bytes of one segment's file. */
uint64_t journal_file_bytes(const struct journal_writer *writer);
/* What the files of the journal DIR/NAME take, the small ones left out. Whoever has it. */
int journal_bytes(int journal_fd, const char *name, uint64_t *ret_bytes);

/*
 * Finds the end after a crash or power loss: scans records from meta.durable on (meta.start, if that is higher), from
 * `count_from` on if that is lower and still kept. Damage with good records behind it goes into the ledger, once; what was not
 * valid behind the end is left in place (its CRCs do not check). Everything below the end is durable when it returns.
 * `counted` as in journal_seal(), for records at or above `count_from`. Damage at or above `again_from` is not noted: the
 * caller has those records in memory, and writes them once more; UINT64_MAX: it has not. *ret_end: behind the last valid record.
 * -EIO: the disk cannot read; nothing is decided then.
 */
int journal_recover(struct journal_writer *writer, uint64_t count_from, uint64_t again_from,
                    void (*counted)(void *ctx, uint64_t producer, uint64_t sequence), void *ctx, uint64_t *ret_end);
/* Names of the journals below a directory; stops when the callback returns non-zero, returns that. */
int journal_list(int journal_fd, int (*callback)(void *ctx, const char *name), void *ctx);
/*
 * Removes DIR/NAME with all its files (renamed to .removed-... first), if it is of this ring in this epoch; identity NULL:
 * whosever it is. -EBUSY: a writer has it. -EMEDIUMTYPE: it has no meta. -ESTALE: it is another one's; or an error of reading
 * whose it is: nothing was removed then. 0: the name is gone, durably; files that resist go with a later call.
 */
int journal_remove(int journal_fd, const char *name, const struct ring_identity *identity);
/* The same with the journal that this writer has, which is closed in any case. -ENOENT: its name is gone already. */
int journal_discard(int journal_fd, struct journal_writer *writer);

/* -- Reader ---------------------------------------------------------------------------------------------- */

struct journal_reader;

/*
 * Of the journal directory of one ring (the descriptor is duplicated), with segments of 2^shift bytes: journal_shift(). The
 * journal may be live. Takes memory for one segment; only what is read is touched.
 */
int journal_reader_open(int ring_journal_fd, const uint8_t ring_id[16], uint32_t shift,
                        struct journal_reader **ret_reader);
void journal_reader_close(struct journal_reader *reader);
/*
 * Goes to a position: of a record, or a segment's start. Opens the segment; nothing is read of it. -ENOENT: no file of that
 * segment, and the reader stays where it was.
 */
int journal_reader_seek(struct journal_reader *reader, uint64_t position);
/*
 * The next record, in the reader's private copy of the segment: it stays valid while the reader reads on in that segment.
 * Nothing at or above `limit`, the end of a record, is looked at (live journal: `written`; dead one: UINT64_MAX). Padding is
 * skipped. 1: *ret_item. 0: the limit is reached. -ENOENT: the segment of the position has no file; see
 * journal_oldest_segment() and journal_find_gap(). -EBADMSG: the bytes at the position do not check: see
 * journal_reader_resync(); in a dead journal that is also how its end looks. -EIO: the disk cannot read them;
 * journal_reader_resync() skips them too. Every CRC is checked. On errors the position does not move.
 */
int journal_reader_next(struct journal_reader *reader, uint64_t limit, struct ring_item *ret_item);
uint64_t journal_reader_position(const struct journal_reader *reader);
/*
 * From damage, or a segment without a file, to the next valid record: position of it in this segment, else the start of the
 * next segment, or the limit if that is lower. Goes there. The same position again: the file cannot be opened now, and
 * journal_reader_next() says why.
 */
uint64_t journal_reader_resync(struct journal_reader *reader, uint64_t limit);
/* The lowest segment number >= from that has a file: 0, or -ENOENT. */
int journal_oldest_segment(int ring_journal_fd, uint64_t from, uint64_t *ret_segment);
/* The range of the ledger that holds `position` (adjacent ones of the same reason joined): 0, or -ENOENT. */
int journal_find_gap(int ring_journal_fd, uint64_t position, struct journal_gap *ret_gap);
/* All ranges in the order of positions; stops when the callback returns non-zero, returns that. */
int journal_gaps(int ring_journal_fd, int (*callback)(void *ctx, const struct journal_gap *gap), void *ctx);

/* -- Pins: ranges that retention leaves alone. Of the journal directory of one ring, live or not. --------- */

struct journal_pin {
    char name[RING_NAME_BYTES];
    uint64_t from, to; /* positions: [from, to); what is not written yet may be among them */
    uint64_t time_ns;  /* when it was made, CLOCK_REALTIME */
};
/*
 * When it has returned 0, nothing of the range has expired, and nothing of it expires until the pin is taken away: it is on
 * stable storage, and whoever expires reads the pins under the same lock. A pin of the same name is replaced. -ENODATA: some of
 * the range has expired already; -EINVAL: from >= to; -EFBIG: there are JOURNAL_PINS_MAX; -EBUSY: another one has changed
 * pins, or expired segments, for five seconds; -EBADMSG: the file is damaged. On an error a pin of that name is as it was; where
 * that is -EIO or another of the disk's, it may be the new one.
 */
int journal_pin(int ring_journal_fd, const char *name, uint64_t from, uint64_t to);
/* -ENOENT: no such pin. name NULL: all of them, and be the file damaged. */
int journal_unpin(int ring_journal_fd, const char *name);
/* In the order of names; stops when the callback returns non-zero, returns that. -EBADMSG: the file is damaged. */
int journal_pins(int ring_journal_fd, int (*callback)(void *ctx, const struct journal_pin *pin), void *ctx);

/* -- Looking, verifying, repairing: of the journal directory of one ring ----------------------------------- */

/* The directory of journals where none is given: /var/lib/weir where I may write it, else $XDG_STATE_HOME/weir, else
 * ~/.local/state/weir. It need not exist. -ENOENT: there is no home either. */
int journal_directory_default(char *path, size_t path_bytes);

/*
 * What `meta` says; *ret_rebuilt: it is damaged or gone, and this is what the headers of the segments tell, with defaults for
 * the rest: see repair.c. -EMEDIUMTYPE: no journal; -EBADMSG: nothing tells.
 */
int journal_look(int ring_journal_fd, struct journal_meta *ret_meta, bool *ret_rebuilt);
/* Whether a writer has it: 1 or 0; -EACCES: no right to ask. */
int journal_is_live(int ring_journal_fd);

struct journal_extent {
    uint64_t first_segment; /* the lowest that has a file; UINT64_MAX: none */
    uint64_t segment_count, spare_count;
    uint64_t bytes; /* on disk, all files */
};
int journal_measure(int ring_journal_fd, uint32_t shift, struct journal_extent *ret_extent);
/*
 * A position that is not above any record that was written at that time or later, and close to the first of them: a second's
 * worth of records, or 16 MiB. A record's, or a segment's start; with a damaged index it may be neither. -ENOENT: nothing is kept.
 */
int journal_seek_time(int ring_journal_fd, const struct journal_meta *meta, uint64_t time_ns, uint64_t *ret_position);
/* The end of a journal that nobody writes: behind the last valid record. */
int journal_find_end(int ring_journal_fd, const struct journal_meta *meta, uint64_t *ret_end);

enum journal_fault_kind {
    JOURNAL_FAULT_META,
    JOURNAL_FAULT_LEDGER,
    JOURNAL_FAULT_NAMES,
    JOURNAL_FAULT_PINS,
    JOURNAL_FAULT_HEADER, /* of a segment: costs no record */
    JOURNAL_FAULT_RECORDS
};
struct journal_fault {
    enum journal_fault_kind kind;
    const char *file;       /* of the directory; during the call */
    uint64_t offset, bytes; /* in the file */
    uint64_t from, to;      /* RECORDS: positions */
    uint64_t epoch;         /* HEADER: of the records in it */
    uint32_t reason;        /* RECORDS: enum journal_gap_reason, for the ledger */
    bool known;             /* the ledger tells it already */
    const char *what;
};
/* Non-zero from a callback ends it, and is returned. progress and record may be NULL. */
struct journal_watch {
    int (*fault)(void *ctx, const struct journal_fault *fault);
    int (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
    void (*record)(void *ctx, const struct ring_item *item);
    void *ctx;
};
/*
 * Reads everything and checks every checksum: records up to `limit` (live: durable; dead: UINT64_MAX, then up to the end).
 * Ranges that the ledger tells as expired or lost are no faults. *ret_end: where the records end, the limit at most.
 */
int journal_verify(int ring_journal_fd, const struct journal_meta *meta, uint64_t limit,
                   const struct journal_watch *watch, uint64_t *ret_end);

/*
 * Brings DIR/NAME, which nobody writes, to a state in which journal_open() and journal_recover() take it; see repair.c. `known`:
 * what the ring in memory says, for a `meta` that is lost; NULL: there is none. `again_from` as in journal_recover(), of a ring in
 * memory that has this ring id and epoch. `step` is told what is done, or with `dry_run` would be. Returns how many steps;
 * -EBUSY: somebody writes it.
 */
struct journal_repair {
    bool dry_run;
    const struct journal_meta *known;
    uint64_t again_from;
    void (*step)(void *ctx, const char *text);
    int (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes); /* may be NULL */
    void *ctx;
};
int journal_repair(int journal_fd, const char *name, const struct journal_repair *repair);

#endif
