/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer's files share. */
#ifndef WEIR_JOURNAL_WRITER_H
#define WEIR_JOURNAL_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/blocks.h"
#include "journal/files.h"
#include "journal/journal.h"
#include "journal/meta.h"

struct journal_file {
    int fd;
    uint64_t segment;
    uint64_t epoch;          /* in its header */
    uint64_t nothing_from;   /* offset in the segment: from here on nothing is to be kept; UINT64_MAX: not known */
    uint64_t blank_from;     /* likewise: from here on nothing was ever written, not even zeros */
    uint64_t unsynced_bytes; /* since the kernel was last told to begin writing out */
    bool direct;             /* written past the kernel's cache */
    bool header_due;         /* not written yet: it goes with the segment's first bytes */
    bool dirty;              /* written since its last sync */
};

#define JOURNAL_SPARES_MAX 32u
struct journal_spares {
    uint64_t numbers[JOURNAL_SPARES_MAX];
    uint32_t count;
    uint64_t next;
    bool listed;   /* those that an earlier writer left are among them */
    bool given_up; /* the last one could not be made */
};

struct journal_writer {
    int folder_fd;
    int lock_fd; /* nobody else writes while it is open */
    int meta_fd;
    int error;         /* what ended the writer, negative; 0: nothing did */
    bool folder_dirty; /* a file may have been made since the directory was last synced */

    struct journal_meta meta;
    struct journal_meta_state meta_state;

    struct journal_spares spares;
    struct journal_blocks blocks;
    struct journal_file files[JOURNAL_FILES_MAX];
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

static inline struct journal_rights journal_rights_of(const struct journal_meta *meta)
{
    return (struct journal_rights){meta->mode, meta->uid, meta->gid};
}

#endif
