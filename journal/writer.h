/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer's files share. */
#ifndef WEIR_JOURNAL_WRITER_H
#define WEIR_JOURNAL_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/files.h"
#include "journal/journal.h"
#include "journal/meta.h"

/* Segment files that one writer keeps open: what was written since the last sync, and the next one. */
#define JOURNAL_FILES_MAX 32u

struct journal_file {
    int fd;
    uint64_t segment;
    uint64_t epoch;          /* in its header */
    uint64_t blank_from;     /* offset in the segment: from here on nothing was ever written; UINT64_MAX: not known */
    uint64_t unsynced_bytes; /* since the kernel was last told to begin writing out */
    bool dirty;              /* written since its last sync */
};

struct journal_writer {
    int folder_fd;
    int meta_fd;       /* holds the lock */
    int error;         /* what ended the writer, negative; 0: nothing did */
    bool folder_dirty; /* a file was made since the directory was last synced */

    struct journal_meta meta;
    struct journal_meta_state meta_state;

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
