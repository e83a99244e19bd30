/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer's files share. */
#ifndef WEIR_JOURNAL_WRITER_H
#define WEIR_JOURNAL_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/blocks.h"
#include "journal/files.h"
#include "journal/flight.h"
#include "journal/index.h"
#include "journal/journal.h"
#include "journal/kept.h"
#include "journal/meta.h"

struct journal_file {
    int fd;
    uint64_t segment;
    uint64_t epoch;          /* in its header */
    uint64_t nothing_from;   /* offset in the segment: from here on nothing is to be kept; UINT64_MAX: not known */
    uint64_t blank_from;     /* likewise: from here on nothing was ever written, not even zeros */
    uint64_t unsynced_bytes; /* since the kernel was last told to begin writing out */
    bool flies;              /* writes to it may be under way */
    bool direct;             /* written past the kernel's cache */
    bool header_due;         /* not written yet: it goes with the segment's first bytes */
    uint64_t sent_to;        /* position behind the last record sent to it */
    bool dirty;              /* holds what neither was synced nor is being synced */
};

#define JOURNAL_SPARES_MAX 32u
struct journal_spares {
    uint64_t numbers[JOURNAL_SPARES_MAX];
    uint32_t count;
    uint64_t next;
    bool listed;   /* those that an earlier writer left are among them */
    bool given_up; /* the last one could not be made */
    bool unwanted; /* there is no room to be spent on them */
};

struct journal_writer {
    int folder_fd;
    int lock_fd; /* nobody else writes while it is open */
    int meta_fd;
    int error;         /* what ended the writer, negative; 0: nothing did */
    bool folder_dirty; /* a file may have been made since the directory was last synced */

    struct journal_meta meta;
    struct journal_meta_state meta_state;

    struct journal_room room; /* all NULL: it is not asked */
    struct journal_kept kept;
    struct journal_index index;
    struct journal_spares spares;
    struct journal_blocks blocks;
    struct journal_flights *flights; /* NULL: each write is waited for */
    struct journal_landings landings;
    uint64_t written, sent; /* behind what has landed, and what was sent; 0, 0: nothing was, in this life */
    struct journal_file files[JOURNAL_FILES_MAX];
    struct jio_op syncs[JOURNAL_FILES_MAX + 1]; /* of files, and of the directory */
    uint32_t syncs_under_way;
    bool syncing;      /* between the halves of a sync */
    int sync_result;   /* of those of it that are not under way any more */
    uint64_t sync_end; /* it is for what lies below */
    uint32_t file_count;
    uint64_t segment;              /* written to last */
    uint64_t ahead_tried;          /* segment + 1 for which the next one was made, or tried, ahead of need */
    uint64_t ledger_compact_count; /* entries at which putting together is tried next; 0: not set yet */
};

/* Ends the writer; the first error stays. Returns the error given. */
static inline int journal_end(struct journal_writer *writer, int error)
{
    if (writer->error == 0)
        writer->error = error;
    return error;
}

/* -- The account of room, of one segment's file -- */

static inline int journal_room_take(const struct journal_writer *writer, enum journal_room_want want)
{
    return writer->room.take ? writer->room.take(writer->room.ctx, journal_file_bytes(writer), want) : 0;
}

static inline void journal_room_settle(const struct journal_writer *writer, bool made)
{
    if (writer->room.settle)
        writer->room.settle(writer->room.ctx, journal_file_bytes(writer), made);
}

static inline void journal_room_give(const struct journal_writer *writer)
{
    if (writer->room.give)
        writer->room.give(writer->room.ctx, journal_file_bytes(writer));
}

static inline struct journal_rights journal_rights_of(const struct journal_meta *meta)
{
    return (struct journal_rights){meta->mode, meta->uid, meta->gid};
}

#endif
