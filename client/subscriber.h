/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEIR_CLIENT_SUBSCRIBER_H
#define WEIR_CLIENT_SUBSCRIBER_H

#include "client/attach.h"
#include "client/watcher.h"
#include "journal/journal.h"
#include "weir.h"

struct weir_sub {
    struct attachment attachment;
    struct ring_reader_state reader;
    struct journal_reader *journal; /* opened when first needed */
    uint32_t journal_shift;         /* log2 of the bytes in its segments: from then on */
    bool in_journal;                /* the position is the journal reader's */
    bool has_cursor;
    int64_t spin_ns;
    uint64_t gate_told;      /* segment that publishers were last told about */
    uint64_t looked_ns;      /* for the dead, when it polls without waiting */
    struct watcher *watcher; /* of weir_sub_fd(), NULL: nobody asked for it */
    struct weir_gap gap;
};

/* -- backlog.c: where records come from ----------------------------------------------------------------------------- */

/* Goes to a position in memory or in the journal; a gap there is found by the next fetch. */
int backlog_seek(struct weir_sub *sub, uint64_t position);
/* The same for a position that came from outside: -EINVAL unless a record starts there. */
int backlog_seek_checked(struct weir_sub *sub, uint64_t position);
/* A position from which on everything of that time or later lies, in the journal's index: 0; -ENOENT: it does not tell. */
int backlog_time_hint(struct weir_sub *sub, uint64_t time_ns, uint64_t *ret_position);
/* Goes to the oldest record kept anywhere. */
int backlog_seek_oldest(struct weir_sub *sub);
/* The next record, not passed yet: 1, 0: none, -EPIPE: sub->gap, the position is behind it; other errors. */
int backlog_fetch(struct weir_sub *sub, struct ring_item *ret_item);
void backlog_pass(struct weir_sub *sub, const struct ring_item *item);
/* After waiting a while: repairs what the dead left at my position. 1: fetch again. *ret_pending: sleep short. */
int backlog_look(struct weir_sub *sub, bool *ret_pending);
void backlog_close(struct weir_sub *sub);

/* -- seek_time.c ---------------------------------------------------------------------------------------------------- */

/* Goes to the first record of that time or later, or to the end. */
int seek_time(struct weir_sub *sub, uint64_t time_ns);
/* Whether a record carries no time, or this one or a later one. */
bool seek_time_reached(const struct ring_item *item, uint64_t time_ns);

#endif
