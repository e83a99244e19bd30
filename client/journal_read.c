/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a journal, without its ring. */
#include <errno.h>

#include "client/attach.h"
#include "client/journal.h"
#include "client/message.h"
#include "client/subscriber.h"
#include "journal/ledger.h"
#include "journal/segment.h"

void journal_read_close(struct weir_journal *journal)
{
    if (journal->walking)
        journal_walk_close(&journal->walk);
    journal->walking = false;
    journal->missing = (struct journal_range){0};
}

/* What is below is gone; where nothing is kept, the epoch's start. */
static int oldest_position(const struct weir_journal *journal, uint64_t *ret_position)
{
    uint64_t segment;
    int r = journal_oldest_segment(journal->folder_fd, 0, &segment);
    if (r == 0)
        *ret_position = journal_segment_start(segment, journal_shift(&journal->meta));
    else if (r == -ENOENT)
        *ret_position = journal->meta.identity.start;
    return r == -ENOENT ? 0 : r;
}

/* The end is what it is now: of a live journal what is written. */
static int walk_from(struct weir_journal *journal, uint64_t position)
{
    struct weir_ring_info ring;
    uint64_t limit = UINT64_MAX;
    journal_read_close(journal);
    if (journal_is_live(journal->folder_fd) != 0 && journal_ask_ring(journal, &ring))
        limit = ring.written;
    int r =
        journal_walk_open(&journal->walk, journal->folder_fd, &journal->meta, position, journal->meta.durable, limit);
    journal->walking = r == 0;
    return r;
}

static int start_walking(struct weir_journal *journal)
{
    uint64_t position = 0;
    if (journal->walking)
        return 0;
    int r = oldest_position(journal, &position);
    return r < 0 ? r : walk_from(journal, position);
}

/* -- Next ---------------------------------------------------------------------------------------------------------- */

static int take_part(void *ctx, uint64_t from, uint64_t to, const struct journal_gap *gap)
{
    struct weir_gap *told = ctx;
    *told = (struct weir_gap){from, to, gap ? journal_gap_reason(gap->reason) : WEIR_GAP_DAMAGED};
    return 1;
}

/* The first part of what is missing, with the reason that the ledger gives for it. */
static int tell_missing(struct weir_journal *journal)
{
    struct journal_ledger ledger;
    struct journal_range *missing = &journal->missing;
    int r = journal_ledger_load(journal->folder_fd, &ledger);
    if (r < 0)
        return journal_fail(journal, r, "its `ledger` cannot be read");
    journal_ledger_parts(&ledger, missing->from, missing->to, take_part, &journal->gap);
    journal_ledger_free(&ledger);
    missing->from = journal->gap.to;
    return fail(-EPIPE, "messages from position %llu to %llu are missing", (unsigned long long)journal->gap.from,
                (unsigned long long)journal->gap.to);
}

int weir_journal_next(struct weir_journal *journal, struct weir_message *ret_message)
{
    struct ring_item item;
    fail_clear();
    int r = start_walking(journal);
    if (r == 0 && journal->missing.from < journal->missing.to)
        return tell_missing(journal);
    if (r == 0)
        r = journal_walk_next(&journal->walk, &item, &journal->missing);
    if (r < 0)
        return journal_fail(journal, r, "cannot be read");
    if (r == 2)
        return tell_missing(journal);
    return r == 0 ? -EAGAIN : message_from_item(&item, ret_message);
}

int weir_journal_gap(const struct weir_journal *journal, struct weir_gap *ret_gap)
{
    if (journal->gap.to == 0)
        return fail(-ENOENT, "no gap was met");
    *ret_gap = journal->gap;
    return 0;
}

/* -- Position ------------------------------------------------------------------------------------------------------ */

uint64_t weir_journal_position(const struct weir_journal *journal)
{
    uint64_t position = 0;
    if (journal->missing.from < journal->missing.to)
        return journal->missing.from;
    if (journal->walking)
        return journal_walk_position(&journal->walk);
    oldest_position(journal, &position);
    return position;
}

/* Walks there from its segment's start: only so is it known that a message begins there. */
static int walk_to(struct weir_journal *journal, uint64_t position)
{
    uint32_t shift = journal_shift(&journal->meta);
    struct journal_range range;
    struct ring_item item;
    int r = walk_from(journal, journal_segment_start(journal_segment_of(position, shift), shift));
    while (r == 0 && journal_walk_position(&journal->walk) < position) {
        r = journal_walk_next(&journal->walk, &item, &range);
        if (r <= 0)
            return r < 0 ? r : -EINVAL;
        if (r == 1 && item.next > position) { /* of padding that it pointed to, or into, the record behind it */
            if (item.position < position)
                return -EINVAL;
            position = item.position;
        }
        r = 0;
    }
    if (r == 0)
        journal_walk_go(&journal->walk, position);
    return r;
}

static int to_end(struct weir_journal *journal)
{
    uint64_t end;
    int r = journal_find_end(journal->folder_fd, &journal->meta, &end);
    return r < 0 ? r : walk_from(journal, end);
}

int weir_journal_seek(struct weir_journal *journal, uint64_t position)
{
    uint64_t before = weir_journal_position(journal), oldest;
    fail_clear();
    int r = position % RING_UNIT_BYTES && position < WEIR_POSITION_START ? -EINVAL : 0;
    if (r == 0 && position == WEIR_POSITION_START && (r = oldest_position(journal, &oldest)) == 0)
        r = walk_from(journal, oldest);
    else if (r == 0 && position == WEIR_POSITION_END)
        r = to_end(journal);
    else if (r == 0)
        r = walk_to(journal, position);
    if (r == 0)
        return 0;
    walk_from(journal, before);
    return r == -EINVAL ? fail(r, "%llu is not the position of a message", (unsigned long long)position)
                        : journal_fail(journal, r, "cannot be read");
}

/* As in seek_time.c. */
static int scan_to_time(struct weir_journal *journal, uint64_t time_ns)
{
    uint64_t gap_from = UINT64_MAX;
    struct journal_range range;
    struct ring_item item;
    int r;
    while ((r = journal_walk_next(&journal->walk, &item, &range)) > 0) {
        if (r == 2) {
            gap_from = gap_from == UINT64_MAX ? range.from : gap_from;
            continue;
        }
        if (seek_time_reached(&item, time_ns)) {
            journal_walk_go(&journal->walk, gap_from != UINT64_MAX ? gap_from : item.position);
            return 0;
        }
        gap_from = UINT64_MAX;
    }
    if (r == 0 && gap_from != UINT64_MAX)
        journal_walk_go(&journal->walk, gap_from);
    return r;
}

int weir_journal_seek_time(struct weir_journal *journal, uint64_t time_ns)
{
    uint64_t before = weir_journal_position(journal), position;
    fail_clear();
    if (time_ns > shm_wall_ns())
        return weir_journal_seek(journal, WEIR_POSITION_END);
    int r = journal_seek_time(journal->folder_fd, &journal->meta, time_ns, &position);
    if (r == -ENOENT)
        r = oldest_position(journal, &position);
    if (r == 0)
        r = walk_to(journal, position);
    if (r == -EINVAL && (r = oldest_position(journal, &position)) == 0) /* the index is damaged */
        r = walk_from(journal, position);
    if (r == 0)
        r = scan_to_time(journal, time_ns);
    if (r == 0)
        return 0;
    walk_from(journal, before);
    return journal_fail(journal, r, "cannot be read");
}
