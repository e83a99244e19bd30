/* SPDX-License-Identifier: Apache-2.0 */
/* The file `index`: from which position on what was drained at a time lies. It serves speed alone. */
#ifndef WEIR_JOURNAL_INDEX_H
#define WEIR_JOURNAL_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/journal.h"

#define JOURNAL_INDEX_NAME "index"
/* An entry is due when so much time has passed since the last, or so much was written. */
#define JOURNAL_INDEX_NS 1000000000ull
#define JOURNAL_INDEX_BYTES (16u << 20)

struct journal_index {
    int fd; /* -1: not open */
    bool any;
    uint64_t end_bytes; /* behind the last entry */
    uint64_t position;  /* of the last one */
    uint64_t time_ns;
    uint64_t cut_bytes; /* it is looked at next when it is this long: how much of it has expired */
};

/*
 * Records from `position` on are about to be written, at this time. What goes wrong with it is no error: a seek begins earlier
 * then, and reads more.
 */
void journal_index_note(struct journal_writer *writer, uint64_t position, uint64_t time_ns);
void journal_index_close(struct journal_index *index);

struct journal_index_range {
    uint64_t from; /* everything below it was written before the time; 0: not known of anything */
    uint64_t to;   /* everything at or above it was written at that time or later; UINT64_MAX: likewise */
};
/* Where in the journal the time lies. A missing file, or a damaged one, tells less. */
int journal_index_find(int folder_fd, const uint8_t ring_id[16], uint64_t time_ns,
                       struct journal_index_range *ret_range);

#endif
