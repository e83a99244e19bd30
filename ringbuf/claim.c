/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claiming room and committing records.
 *
 * Invariants of a shared ring's slot, for offsets in units:
 *   1. Each claim up to the tail's end stands either in its record's header (CLAIMED, READY or PADDING) or, the last one
 *      only, in the tail word. So whoever walks the segment from its start can tell every claim's length and owner.
 *   2. clean > end, or clean = end = segment: the header behind the last claim is free (zero) before it is claimed.
 *   3. A header goes FREE -> CLAIMED -> READY or PADDING, steps left out but never turned back, while its segment stays.
 *   4. Length and owner of a claim never change. Only its living owner makes it READY; PADDING is made by its owner, or by
 *      anybody after the kernel said that the owner is dead.
 * Killed at any point: before the tail's swap nothing was taken; after it, the claim is found by 1 and becomes padding; a
 * cleaning right held by the dead is taken over, since cleaning the same headers twice does no harm (nobody can claim
 * past `clean`).
 *
 * Exclusive rings have no tail word: the end is where the first FREE header is, and the header behind a record is made
 * free before the record is READY. Killed before that: nothing happened.
 *
 * Both kinds clean ahead after a commit, when nobody waits for them: to write a header costs the transfer of its line.
 */
#include <errno.h>

#include "ringbuf/internal.h"

/* Headers cleaned at a time, and how few are left then: lines that are about to be written (docs/performance.md). */
#define SHARED_CHUNK_UNITS 8u
#define EXCLUSIVE_CHUNK_UNITS 4u
#define FEW_UNITS 2u

/*
 * Two may repair the same claim, and the drain copies with memcpy() what the faster one wrote. The slower one's swap fails
 * and writes nothing, but thread sanitizer takes every swap for a write: it is told to overlook the access, though not the
 * order that comes with it.
 */
#ifdef __SANITIZE_THREAD__
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#else
#define AnnotateIgnoreWritesBegin(file, line) ((void)0)
#define AnnotateIgnoreWritesEnd(file, line) ((void)0)
#endif

bool claim_to_padding(struct ring_record *record, uint64_t head, uint32_t units, uint32_t owner)
{
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
    bool swapped = mem_swap(&record->head, head, head_make(RING_PADDING, 0, units, 0, owner));
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    return swapped;
}

/* E1 commit: what the publisher wrote before is seen by whoever reads this header with an acquire. */
static void commit_head(struct ring_record *record, enum ring_record_state state, uint32_t flags, uint32_t units,
                        uint16_t tag, uint32_t owner)
{
    mem_store_release(&record->head, head_make(state, flags, units, tag, owner));
}

/*
 * Before another's claim is displaced from the tail word, it stands in its header (invariant 1). Most often its owner is
 * about to commit: wait a little first, so as not to pull the line away. -EBADMSG: the tail makes no sense.
 */
MEM_COLD static int help_last_claim(const struct ring_publisher_state *publisher, uint64_t tail)
{
    uint32_t owner = tail_owner(tail);
    uint32_t end = tail_end(tail);
    uint32_t units = tail_units(tail);
    if (units == 0 || units > end)
        return -EBADMSG;
    struct ring_record *record = record_at(publisher->base, end - units);
    for (uint32_t i = 0; i < WAIT_PAUSES; i++) {
        if (mem_load_relaxed(&record->head) != 0)
            return 0;
        mem_pause();
    }
    mem_swap(&record->head, 0, head_make(RING_CLAIMED, 0, units, 0, owner));
    return 0;
}

/* Cleans, holding the right to, from `clean` on; E4 clean: headers are free for whoever sees the new word. */
static void clean_chunk(const struct ring_publisher_state *publisher, uint64_t taken, uint32_t goal)
{
    for (uint32_t i = clean_units(taken); i < goal; i++)
        mem_store_relaxed(&record_at(publisher->base, i)->head, 0);
    mem_swap(&publisher->slot->clean, taken, clean_make(goal));
}

/* Takes the right from a dead cleaner. */
static bool clean_settle(struct ring_publisher_state *publisher, uint64_t clean)
{
    uint64_t id;
    if (!publisher_is_dead(publisher->view, clean_index(clean), clean >> 31, CLEAN_ID_MASK, &id))
        return false;
    return mem_swap(&publisher->slot->clean, clean, clean_make(clean_units(clean)));
}

static bool is_clean(const struct ring_publisher_state *publisher, uint32_t target)
{
    uint32_t units = clean_units(mem_load_acquire(&publisher->slot->clean)); /* E4 clean */
    return units >= target && units <= publisher->view->segment_units;
}

/*
 * Makes all headers below `target` free. 1: done. 0: somebody has cleaned for too long (stopped): the caller pads what
 * is left. A cleaner that wakes up after that cleans inside of padding, which nobody reads; its slot is announced.
 */
MEM_COLD static int clean_to(struct ring_publisher_state *publisher, uint32_t end, uint32_t target)
{
    struct ring_slot *slot = publisher->slot;
    uint32_t segment_units = publisher->view->segment_units;
    for (uint32_t round = 0;;) {
        uint64_t clean = mem_load_acquire(&slot->clean); /* E4 clean */
        uint32_t units = clean_units(clean);
        if (units >= target)
            return 1;
        if (units <= end || units > segment_units)
            return -EBADMSG;
        if (clean_free(clean)) {
            uint32_t goal = units + SHARED_CHUNK_UNITS > target ? units + SHARED_CHUNK_UNITS : target;
            if (goal > segment_units)
                goal = segment_units;
            uint64_t taken = clean_taken(units, publisher->index, publisher->id);
            if (mem_swap(&slot->clean, clean, taken))
                clean_chunk(publisher, taken, goal);
            continue;
        }
        if (++round % WAIT_PAUSES != 0) {
            mem_pause();
            continue;
        }
        if (clean_settle(publisher, clean))
            continue;
        if (round > WAIT_ROUNDS)
            return 0;
        publisher->view->ops->relax(publisher->view->ctx);
    }
}

/* After a commit, `end` being where its claim ended: cleans some more when few headers are left. */
static void clean_ahead_shared(struct ring_publisher_state *publisher, uint32_t end)
{
    uint32_t segment_units = publisher->view->segment_units;
    uint64_t clean = mem_load_acquire(&publisher->slot->clean); /* E4 clean */
    uint32_t units = clean_units(clean);
    if (units >= end + FEW_UNITS || units <= end || units >= segment_units || !clean_free(clean))
        return;
    uint32_t goal = units + SHARED_CHUNK_UNITS < segment_units ? units + SHARED_CHUNK_UNITS : segment_units;
    uint64_t taken = clean_taken(units, publisher->index, publisher->id);
    if (mem_swap(&publisher->slot->clean, clean, taken))
        clean_chunk(publisher, taken, goal);
}

/* The header behind a record is free before the record is READY. */
static void clean_behind_exclusive(struct ring_publisher_state *publisher, uint32_t end)
{
    if (end < publisher->clean)
        return;
    if (end < publisher->view->segment_units)
        mem_store_relaxed(&record_at(publisher->base, end)->head, 0);
    publisher->clean = end + 1; /* at the segment's end, too: what is below is no longer ours to clean */
}

static void clean_ahead_exclusive(struct ring_publisher_state *publisher)
{
    uint32_t segment_units = publisher->view->segment_units;
    if (publisher->clean >= publisher->end + FEW_UNITS)
        return;
    for (uint32_t i = 0; i < EXCLUSIVE_CHUNK_UNITS && publisher->clean < segment_units; i++)
        mem_store_relaxed(&record_at(publisher->base, publisher->clean++)->head, 0);
}

static int claim_shared(struct ring_publisher_state *publisher, uint32_t units)
{
    struct ring_view *view = publisher->view;
    uint32_t segment_units = view->segment_units;
    for (;;) {
        int r;
        if (!publisher->inside && (r = publisher_enter(publisher)) < 0)
            return r;
        uint64_t tail = mem_load_acquire(&publisher->slot->tail); /* E3 claim */
        uint32_t end = tail_end(tail);
        if (end >= segment_units) {
            if (end > segment_units)
                return -EBADMSG;
            if ((r = publisher_roll(publisher)) < 0)
                return r;
            continue;
        }
        bool padding = end + units > segment_units;
        uint32_t take = padding ? segment_units - end : units;
        uint32_t target = end + take < segment_units ? end + take + 1 : segment_units;
        if (!padding && !is_clean(publisher, target) && (r = clean_to(publisher, end, target)) <= 0) {
            if (r < 0)
                return r;
            padding = true;
            take = segment_units - end;
        }
        if (tail_owner(tail) != 0 && tail_owner(tail) != publisher->owner && (r = help_last_claim(publisher, tail)) < 0)
            return r;
        if (!mem_swap(&publisher->slot->tail, tail, tail_make(end + take, take, publisher->owner))) /* E3 claim */
            continue;
        publisher->claim_offset = end;
        publisher->claim_units = take;
        if (!padding)
            return 0;
        commit_head(record_at(publisher->base, end), RING_PADDING, 0, take, 0, publisher->owner);
    }
}

static int claim_exclusive(struct ring_publisher_state *publisher, uint32_t units)
{
    uint32_t segment_units = publisher->view->segment_units;
    for (;;) {
        int r;
        if (!publisher->inside && (r = publisher_enter(publisher)) < 0)
            return r;
        uint32_t end = publisher->end;
        if (end + units <= segment_units) {
            publisher->claim_offset = end;
            publisher->claim_units = units;
            end += units;
            if (end >= publisher->clean && end < segment_units)
                mem_prefetch_store(record_at(publisher->base, end)); /* the commit cleans it */
            return 0;
        }
        if (end < segment_units) {
            commit_head(record_at(publisher->base, end), RING_PADDING, 0, segment_units - end, 0, publisher->owner);
            publisher->end = segment_units;
        }
        if ((r = publisher_roll(publisher)) < 0)
            return r;
    }
}

int ring_claim(struct ring_publisher_state *publisher, uint32_t units, uint64_t *ret_position)
{
    if (units == 0 || publisher->claimed)
        return -EINVAL;
    if (units > publisher->view->segment_units)
        return -EMSGSIZE;
    int r = (publisher->view->geometry.flags & RING_EXCLUSIVE) ? claim_exclusive(publisher, units)
                                                               : claim_shared(publisher, units);
    if (r < 0)
        return r;
    publisher->claimed = true;
    *ret_position = unit_position(publisher->view, publisher->segment, publisher->claim_offset);
    return 0;
}

uint8_t *ring_claim_address(const struct ring_publisher_state *publisher)
{
    return publisher->base + ((size_t)publisher->claim_offset << RING_UNIT_SHIFT);
}

static void note_position(struct ring_publisher_state *publisher)
{
    mem_store_relaxed(&publisher->entry->position,
                      unit_position(publisher->view, publisher->segment, publisher->claim_offset));
}

void ring_commit_first(struct ring_publisher_state *publisher, uint32_t units, uint16_t tag, uint32_t flags,
                       uint32_t body_bytes)
{
    struct ring_record *record = record_at(publisher->base, publisher->claim_offset);
    uint32_t end = publisher->claim_offset + publisher->claim_units;
    if (publisher->view->geometry.flags & RING_EXCLUSIVE)
        clean_behind_exclusive(publisher, end);
    record->body_bytes = body_bytes;
    record->crc = 0;
    commit_head(record, RING_READY, flags, units, tag, publisher->owner);
    publisher->claimed = false;
    note_position(publisher);
    if (publisher->view->geometry.flags & RING_EXCLUSIVE) {
        publisher->end = end;
        clean_ahead_exclusive(publisher);
    } else {
        clean_ahead_shared(publisher, end);
    }
}

void ring_commit(struct ring_publisher_state *publisher, uint16_t tag, uint32_t flags, uint32_t body_bytes)
{
    ring_commit_first(publisher, publisher->claim_units, tag, flags, body_bytes);
}

void ring_batch_put(struct ring_publisher_state *publisher, uint32_t offset, uint32_t units, uint16_t tag,
                    uint32_t flags, uint32_t body_bytes)
{
    struct ring_record *record = record_at(publisher->base, publisher->claim_offset + offset);
    record->body_bytes = body_bytes;
    record->crc = 0;
    mem_store_relaxed(&record->head, head_make(RING_READY, flags, units, tag, publisher->owner));
}

void ring_cancel(struct ring_publisher_state *publisher)
{
    if (!publisher->claimed)
        return;
    publisher->claimed = false;
    if (publisher->view->geometry.flags & RING_EXCLUSIVE) {
        publisher->clean = publisher->end + 1; /* payload may stand in what was clean behind it */
        return;
    }
    commit_head(record_at(publisher->base, publisher->claim_offset), RING_PADDING, 0, publisher->claim_units, 0,
                publisher->owner);
}
