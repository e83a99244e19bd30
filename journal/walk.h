/* SPDX-License-Identifier: Apache-2.0 */
/* All records of a journal from a position to its end, past everything that is wrong: damage, files that are gone. */
#ifndef WEIR_JOURNAL_WALK_H
#define WEIR_JOURNAL_WALK_H

#include <stdint.h>

#include "journal/journal.h"

struct journal_walk {
    struct journal_reader *reader;
    int folder_fd; /* the caller's */
    uint32_t shift;
    uint64_t floor, limit;
    bool over; /* the end was reached */
};

struct journal_range {
    uint64_t from, to; /* [from, to) */
    int error;         /* what its first bytes said: -EBADMSG, -ENOENT (no file), -EIO */
};

/*
 * From `from` on: a record, or a segment's start. Nothing at or above `limit` is looked at. Records are expected up to
 * `floor`, or to the limit where there is one; behind it bytes that do not check are the end, unless a good record follows.
 */
int journal_walk_open(struct journal_walk *walk, int folder_fd, const struct journal_meta *meta, uint64_t from,
                      uint64_t floor, uint64_t limit);
void journal_walk_close(struct journal_walk *walk);
/*
 * 1: *ret_item, as of journal_reader_next(). 2: *ret_range has no records that can be read, and the walk stands behind it.
 * 0: the end, which is the position. Negative: the journal cannot be read now, and nothing is decided.
 */
int journal_walk_next(struct journal_walk *walk, struct ring_item *ret_item, struct journal_range *ret_range);
/* Goes somewhere else: a record, or a segment's start. */
void journal_walk_go(struct journal_walk *walk, uint64_t position);
uint64_t journal_walk_position(const struct journal_walk *walk);

#endif
