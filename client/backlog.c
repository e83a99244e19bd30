/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a subscriber's next record comes from: memory while its segment is there, else the journal, and back to memory as
 * soon as that has it. A range that neither has is a gap, told once.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "client/subscriber.h"

static uint64_t segment_bytes(const struct weir_sub *sub)
{
    return 1ull << sub->attachment.view.geometry.segment_shift;
}

static bool journaled(const struct weir_sub *sub)
{
    return sub->attachment.view.geometry.flags & RING_JOURNALED;
}

static uint64_t end_segment(const struct weir_sub *sub)
{
    return ring_end_position(&sub->attachment.view) >> sub->attachment.view.geometry.segment_shift;
}

/* Descriptor of the ring's journal directory, by the link that weird made; or negative. */
static int journal_directory(const struct weir_sub *sub)
{
    int fd = openat(sub->attachment.shm.dir_fd, "journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* How large the segments of the journal are: `meta` says so, else their headers do. What says nothing has no record either. */
static void learn_shift(struct weir_sub *sub, int directory_fd)
{
    const struct ring_view *view = &sub->attachment.view;
    struct journal_meta meta;
    bool rebuilt;
    bool ours = journal_look(directory_fd, &meta, &rebuilt) == 0 &&
                memcmp(meta.identity.ring_id, view->identity.ring_id, sizeof meta.identity.ring_id) == 0;
    sub->journal_shift = ours ? journal_shift(&meta) : view->geometry.segment_shift;
}

/* Opens the journal when it is first needed. It may not be there yet: -ENOENT. */
static int open_journal(struct weir_sub *sub)
{
    if (sub->journal)
        return 0;
    int fd = journal_directory(sub);
    if (fd < 0)
        return fd;
    learn_shift(sub, fd);
    int r = journal_reader_open(fd, sub->attachment.view.identity.ring_id, sub->journal_shift, &sub->journal);
    close(fd);
    return r;
}

/* Bytes of one file that make no sense: the records in it are gone, as those in a file that is gone. */
static bool is_damage(int error)
{
    return error == -EBADMSG || error == -ESTALE || error == -EMEDIUMTYPE || error == -EPROTONOSUPPORT;
}

/*
 * The journal's directory is not there. That is as it should be while weird has never drained the ring, and when the ring
 * is removed; else somebody has moved it, and what it has is not known.
 */
static bool has_no_journal(const struct weir_sub *sub, int error)
{
    const struct ring_control *control = sub->attachment.view.control;
    const struct ring_identity *identity = &sub->attachment.view.identity;
    bool drained = identity->epoch > 1 || mem_load_acquire(&control->drained) != identity->start; /* E8 progress */
    return error == -ENOENT && (!drained || mem_load_acquire(&control->removed) != 0);
}

static int fail_journal(const struct weir_sub *sub, uint64_t position, int error)
{
    int told = error; /* of the closed list */
    if (error == -EMFILE || error == -ENFILE)
        told = -ENOMEM; /* "or handles" */
    else if (error == -EPERM)
        told = -EACCES;
    else if (error == -ENOENT || error == -ENOTDIR || error == -ELOOP || error == -ESTALE)
        told = -EIO; /* it is not where it was, or not this ring's */
    return fail(told, "cannot read the journal of ring %s at position %llu: %s", sub->attachment.view.identity.name,
                (unsigned long long)position, strerror(-error));
}

void backlog_close(struct weir_sub *sub)
{
    journal_reader_close(sub->journal);
    sub->journal = NULL;
}

static bool seek_memory(struct weir_sub *sub, uint64_t position)
{
    int r = ring_reader_seek(&sub->reader, position);
    if (r < 0 && r != -EAGAIN)
        return false;
    sub->in_journal = false;
    return true;
}

/* 1: the journal has a file for the position, and the reader stands there. 0: it has none. Or an error: not known now. */
MEM_COLD static int seek_journal(struct weir_sub *sub, uint64_t position)
{
    if (!journaled(sub))
        return 0;
    int r = open_journal(sub);
    if (r < 0)
        return has_no_journal(sub, r) ? 0 : r;
    r = journal_reader_seek(sub->journal, position);
    if (r < 0)
        return r == -ENOENT || is_damage(r) ? 0 : r;
    ring_reader_outside(&sub->reader, position);
    sub->in_journal = true;
    return 1;
}

/* Memory, else journal; else it stays outside of memory at the position, and the next fetch finds the gap. */
int backlog_seek(struct weir_sub *sub, uint64_t position)
{
    if (position % RING_UNIT_BYTES)
        return fail(-EINVAL, "%llu is not the position of a message", (unsigned long long)position);
    if (!seek_memory(sub, position) && seek_journal(sub, position) <= 0) {
        ring_reader_outside(&sub->reader, position);
        sub->in_journal = false;
    }
    return 0;
}

/*
 * Goes to a position that must be a record's, by walking there from its segment's start: in memory headers alone say where
 * records begin, and payload may look like a header. 1: there (or behind padding that it pointed into); 0: not in memory.
 */
static int walk_memory(struct weir_sub *sub, uint64_t position)
{
    struct ring_item item;
    bool pending;
    int r;
    if (!seek_memory(sub, position & ~(segment_bytes(sub) - 1)))
        return 0;
    sub->reader.stay = true;
    for (;;) {
        r = ring_reader_peek(&sub->reader, &item); /* goes past padding */
        if (ring_reader_position(&sub->reader) >= position)
            break;
        if (r == 0 && ring_reader_look(&sub->reader, &pending) > 0) /* and this past what the dead left */
            continue;
        if (r <= 0 || item.next > position) {
            r = -EINVAL;
            break;
        }
        ring_reader_pass(&sub->reader, &item);
    }
    sub->reader.stay = false;
    return r == -EINVAL ? r : 1;
}

/* The same in the journal. What does not check on the way leaves the position unproved: the fetch then says what is wrong. */
static int walk_journal(struct weir_sub *sub, uint64_t position)
{
    struct ring_item item;
    if (seek_journal(sub, position & ~(segment_bytes(sub) - 1)) <= 0)
        return 0;
    int r = 1;
    while (r > 0 && journal_reader_position(sub->journal) < position)
        r = journal_reader_next(sub->journal, position, &item);
    if (r >= 0 && journal_reader_position(sub->journal) > position)
        return -EINVAL;
    return 1;
}

int backlog_seek_checked(struct weir_sub *sub, uint64_t position)
{
    uint64_t end = ring_end_position(&sub->attachment.view);
    if (position > end)
        return fail(-EINVAL, "position %llu is behind the end of ring %s, %llu", (unsigned long long)position,
                    sub->attachment.view.identity.name, (unsigned long long)end);
    /* A gate stays where it is until the position is known to be good; the seek below moves it. */
    bool gating = sub->reader.gating;
    if (mem_load_relaxed(&sub->reader.entry->gate) != 0)
        sub->reader.gating = false;
    int r = position % RING_UNIT_BYTES ? -EINVAL : walk_memory(sub, position);
    if (r > 0)
        position = ring_reader_position(&sub->reader);
    else if (r == 0)
        r = walk_journal(sub, position);
    sub->reader.gating = gating;
    if (r < 0)
        return fail(-EINVAL, "%llu is not the position of a message", (unsigned long long)position);
    return backlog_seek(sub, position);
}

/*
 * 1: *ret_position; 0: there is none; or an error. The journal's segments may be larger than the ring's: of the first one, what
 * lies at or above `from` counts.
 */
static int next_in_journal(struct weir_sub *sub, uint64_t from, uint64_t *ret_position)
{
    uint64_t segment;
    int r = open_journal(sub);
    int fd = r < 0 ? r : journal_directory(sub);
    if (fd < 0)
        return has_no_journal(sub, fd) ? 0 : fd;
    r = journal_oldest_segment(fd, from >> sub->journal_shift, &segment);
    close(fd);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    *ret_position = segment << sub->journal_shift > from ? segment << sub->journal_shift : from;
    return 1;
}

/* The start of the first segment at or above `from` that memory or journal has, UINT64_MAX: none; or an error: not known. */
static int next_kept(struct weir_sub *sub, uint64_t from_segment, uint64_t *ret_position)
{
    uint32_t shift = sub->attachment.view.geometry.segment_shift;
    uint64_t next = UINT64_MAX, position, segment;
    if (ring_oldest_segment(&sub->attachment.view, from_segment, &segment) == 0)
        next = segment << shift;
    if (journaled(sub) && next != from_segment << shift) {
        int r = next_in_journal(sub, from_segment << shift, &position);
        if (r < 0)
            return r;
        if (r > 0 && position < next)
            next = position;
    }
    *ret_position = next;
    return 0;
}

int backlog_seek_oldest(struct weir_sub *sub)
{
    uint64_t oldest = 0;
    for (uint32_t round = 0; round < 64; round++) { /* it may be reused before we are there */
        int r = next_kept(sub, 0, &oldest);
        if (r == 0 && seek_memory(sub, oldest))
            return 0;
        if (r == 0)
            r = seek_journal(sub, oldest);
        if (r != 0)
            return r < 0 ? fail_journal(sub, oldest, r) : 0;
    }
    return backlog_seek(sub, oldest);
}

int backlog_time_hint(struct weir_sub *sub, uint64_t time_ns, uint64_t *ret_position)
{
    const struct ring_view *view = &sub->attachment.view;
    struct journal_meta meta = {.geometry = view->geometry, .identity = view->identity};
    if (!journaled(sub))
        return -ENOENT;
    int r = open_journal(sub);
    int fd = r < 0 ? r : journal_directory(sub);
    if (fd < 0)
        return has_no_journal(sub, fd) ? -ENOENT : fail_journal(sub, view->identity.start, fd);
    meta.segments_shift = sub->journal_shift - view->geometry.segment_shift;
    r = journal_seek_time(fd, &meta, time_ns, ret_position);
    close(fd);
    return r < 0 && r != -ENOENT ? fail_journal(sub, view->identity.start, r) : r;
}

/* -- gaps ---------------------------------------------------------------------------------------------------------- */

static int tell_gap(struct weir_sub *sub, uint64_t from, uint64_t to, int reason)
{
    sub->gap = (struct weir_gap){.from = from, .to = to, .reason = reason};
    mem_store_relaxed(&sub->reader.entry->lost_count, mem_load_relaxed(&sub->reader.entry->lost_count) + 1);
    backlog_seek(sub, to);
    return fail(-EPIPE, "messages from position %llu to %llu are missing", (unsigned long long)from,
                (unsigned long long)to);
}

static int ledger_reason(uint32_t reason)
{
    return reason == JOURNAL_GAP_EXPIRED ? WEIR_GAP_EXPIRED
           : reason == JOURNAL_GAP_LOST  ? WEIR_GAP_LOST
                                         : WEIR_GAP_DAMAGED;
}

/* What the ledger says of the position: 0: nothing; -EPIPE: the gap is told; or an error: not known. */
static int gap_from_ledger(struct weir_sub *sub, uint64_t position)
{
    struct journal_gap gap;
    if (!journaled(sub))
        return 0;
    int fd = journal_directory(sub);
    if (fd < 0)
        return has_no_journal(sub, fd) ? 0 : fail_journal(sub, position, fd);
    int r = journal_find_gap(fd, position, &gap);
    close(fd);
    if (r < 0 && r != -ENOENT && !is_damage(r))
        return fail_journal(sub, position, r);
    if (r < 0 || gap.to <= position)
        return 0;
    return tell_gap(sub, position, gap.to, ledger_reason(gap.reason));
}

/* The position's segment is neither in memory nor in the journal. */
MEM_COLD static int gap_to_next(struct weir_sub *sub, uint64_t position)
{
    int r = gap_from_ledger(sub, position);
    if (r < 0)
        return r;
    uint64_t segment = position >> sub->attachment.view.geometry.segment_shift;
    uint64_t to;
    r = next_kept(sub, segment, &to);
    if (r == 0 && to <= position) /* the segment came back between two looks (a reclaim undone): it is read next time */
        r = next_kept(sub, segment + 1, &to);
    if (r < 0)
        return fail_journal(sub, position, r);
    if (to == UINT64_MAX || to <= position)
        return 0;
    return tell_gap(sub, position, to, journaled(sub) ? WEIR_GAP_EXPIRED : WEIR_GAP_OVERWRITTEN);
}

/* -- fetch --------------------------------------------------------------------------------------------------------- */

MEM_COLD static int damaged_memory(struct weir_sub *sub)
{
    return fail(-EBADMSG, "ring %s is damaged at position %llu: see weir ring check %s",
                sub->attachment.view.identity.name, (unsigned long long)ring_reader_position(&sub->reader),
                sub->attachment.view.identity.name);
}

/* Bytes on disk that do not check: the end of an epoch, as the ledger knows; or damage. */
static int skip_damage(struct weir_sub *sub, uint64_t position, uint64_t limit)
{
    int r = gap_from_ledger(sub, position);
    if (r < 0)
        return r;
    if (seek_memory(sub, position))
        return 0; /* the same bytes, whole */
    uint64_t to = journal_reader_resync(sub->journal, limit);
    return to > position ? tell_gap(sub, position, to, WEIR_GAP_DAMAGED) : 0;
}

/* 1, -EPIPE, an error, or 0: look where we are now. *ret_again: 0 does not mean that there is nothing. */
MEM_COLD static int fetch_journal(struct weir_sub *sub, struct ring_item *ret_item, bool *ret_again)
{
    uint64_t position = journal_reader_position(sub->journal);
    *ret_again = !sub->reader.stay;
    if (position % segment_bytes(sub) == 0 && (sub->reader.stay || seek_memory(sub, position)))
        return 0;
    uint64_t limit = mem_load_acquire(&sub->attachment.view.control->written); /* E8 progress */
    if (sub->reader.stay && limit > (position | (segment_bytes(sub) - 1)) + 1)
        limit = (position | (segment_bytes(sub) - 1)) + 1;
    int r = journal_reader_next(sub->journal, limit, ret_item);
    if (r == 1)
        return 1;
    position = journal_reader_position(sub->journal);
    if (sub->reader.stay)
        return 0;
    if (r == 0) {
        /* Caught up with what is written: the rest is in memory, unless it was drained meanwhile. */
        *ret_again = seek_memory(sub, position) || mem_load_acquire(&sub->attachment.view.control->written) > limit;
        return 0;
    }
    if (r == -ENOENT)
        return seek_memory(sub, position) ? 0 : gap_to_next(sub, position);
    if (r == -EBADMSG)
        return skip_damage(sub, position, limit);
    return fail_journal(sub, position, r);
}

int backlog_fetch(struct weir_sub *sub, struct ring_item *ret_item)
{
    for (uint32_t round = 0; round < 64; round++) {
        int r;
        if (sub->in_journal) {
            bool again;
            r = fetch_journal(sub, ret_item, &again);
            if (r != 0 || !again)
                return r;
            continue;
        }
        r = ring_reader_peek(&sub->reader, ret_item);
        if (__builtin_expect(r >= 0, 1))
            return r;
        if (r == -EBADMSG)
            return damaged_memory(sub);
        uint64_t position = ring_reader_position(&sub->reader);
        r = seek_journal(sub, position);
        if (r < 0)
            return fail_journal(sub, position, r);
        if (r == 0 && (r = gap_to_next(sub, position)) < 0)
            return r;
    }
    return 0;
}

void backlog_pass(struct weir_sub *sub, const struct ring_item *item)
{
    if (sub->in_journal)
        mem_store_relaxed(&sub->reader.entry->position, item->next); /* the journal's reader passed it */
    else
        ring_reader_pass(&sub->reader, item);
}

int backlog_look(struct weir_sub *sub, bool *ret_pending)
{
    *ret_pending = false;
    if (sub->in_journal)
        return 0;
    int r = ring_reader_look(&sub->reader, ret_pending);
    if (r == -EBADMSG)
        return damaged_memory(sub);
    if (r != -ENOENT)
        return r;
    /* Lapped, past a stopped publisher's claim: go where the ring still is. */
    uint64_t position = ring_reader_position(&sub->reader);
    uint64_t segment = position >> sub->attachment.view.geometry.segment_shift;
    uint64_t to;
    r = next_kept(sub, segment + 1, &to);
    if (r < 0)
        return fail_journal(sub, position, r);
    if (to == UINT64_MAX || segment >= end_segment(sub))
        return 0;
    return tell_gap(sub, position, to, WEIR_GAP_OVERWRITTEN);
}
