/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entering a segment, rolling over to the next one, finding a slot for it.
 *
 * A slot's state word says which segment it holds and who has it:
 *   FREE -> RESERVED(segment, owner)      one swap by who rolls over
 *   RESERVED -> LIVE(segment)             by anybody, once `active` names it; -> FREE by its owner when another won
 *   LIVE -> RECLAIMING(segment, owner)    by who needs a slot and may free this one
 *   RECLAIMING -> LIVE, or another's RECLAIMING   by anybody at any time: the owner's last swap then fails
 *   RECLAIMING -> RESERVED(next, owner)   by its owner, after the fence and a look at everybody
 * Killed while RESERVED: `active` decides (slot_settle). Killed while RECLAIMING: it is still the old segment, whole.
 * A slot is never written by anybody but its RESERVED owner before `active` names it; E5 enter: what the owner prepared is
 * seen by whoever reads `active` or the LIVE state with an acquire.
 */
#include <errno.h>

#include "ringbuf/internal.h"

static bool slot_has(const struct ring_view *view, uint32_t slot, uint64_t state, uint64_t segment)
{
    uint64_t found;
    return slot_holds(state, segment) && slot_segment(view, slot, state, &found) && found == segment;
}

bool slot_find(const struct ring_view *view, uint64_t segment, uint32_t *ret_slot, uint64_t *ret_state)
{
    uint64_t active = mem_load_acquire(&view->control->active); /* E5 enter */
    if (active_segment(active) == segment && active_slot(active) < view->geometry.slot_count) {
        uint64_t state = mem_load_acquire(&view->states[active_slot(active)]);
        if (slot_has(view, active_slot(active), state, segment)) {
            *ret_slot = active_slot(active);
            *ret_state = state;
            return true;
        }
    }
    for (uint32_t i = 0; i < view->geometry.slot_count; i++) {
        uint64_t state = mem_load_acquire(&view->states[i]); /* E5 enter */
        if (!slot_has(view, i, state, segment))
            continue;
        /* Several may have reserved a slot for it: the one that `active` names, or named, is it. */
        if (slot_state(state) == RING_SLOT_RESERVED &&
            mem_load_acquire(&view->control->active) != active_make(segment, i))
            continue;
        *ret_slot = i;
        *ret_state = state;
        return true;
    }
    return false;
}

bool publisher_is_dead(const struct ring_view *view, uint32_t index, uint64_t id_bits, uint64_t id_mask,
                       uint64_t *ret_id)
{
    if (index >= view->publisher_entries)
        return false;
    uint64_t id = mem_load_acquire(&view->publishers[index].id);
    if (id == 0 || (id & id_mask) != (id_bits & id_mask))
        return false;
    *ret_id = id;
    return view->ops->publisher_dead(view->ctx, id);
}

bool slot_settle(struct ring_view *view, uint32_t slot, uint32_t index, uint64_t id)
{
    /* Dead first; then read; then swap on exactly what was read. The entry still naming the dead shows that both words,
     * read before, are of its time and not of a later owner of the index. */
    uint64_t state = mem_load_acquire(&view->states[slot]);
    uint64_t active = mem_load_acquire(&view->control->active);
    if (slot_state(state) != RING_SLOT_RESERVED || !slot_names(state, index, id) ||
        mem_load_acquire(&view->publishers[index].id) != id)
        return false;
    bool won = active_slot(active) == slot && slot_holds(state, active_segment(active));
    return mem_swap(&view->states[slot], state, won ? slot_to_live(state) : 0);
}

int publisher_enter(struct ring_publisher_state *publisher)
{
    struct ring_view *view = publisher->view;
    for (uint32_t round = 0; round < WAIT_ROUNDS; round++) {
        if (mem_load_acquire(&view->control->removed))
            return -EIDRM;
        uint64_t active = mem_load_acquire(&view->control->active); /* E5 enter */
        uint64_t segment = active_segment(active);
        uint32_t slot = active_slot(active);
        if (slot >= view->geometry.slot_count)
            return -EBADMSG;
        announce(&publisher->entry->announced, segment + 1); /* E2 announce */
        uint64_t state = mem_load_acquire(&view->states[slot]);
        if (slot_holds(state, segment) && mem_load_acquire(&view->control->active) == active) {
            if (slot_state(state) == RING_SLOT_LIVE) {
                publisher->segment = segment;
                publisher->slot = &view->slots[slot];
                publisher->base = slot_base(view, slot);
                if ((view->geometry.flags & RING_EXCLUSIVE) &&
                    segment_find_end(view, publisher->base, &publisher->end) < 0)
                    break; /* not inside: the next claim must not go where the last segment ended */
                publisher->clean = publisher->end + 1;
                publisher->inside = true;
                return 0;
            }
            /* RESERVED by who won the roll-over, and may have died since: it is live, since `active` names it. */
            mem_swap(&view->states[slot], state, slot_live(segment));
            continue;
        }
        if (round > WAIT_PAUSES)
            view->ops->relax(view->ctx);
    }
    mem_store_release(&publisher->entry->announced, 0);
    return -EBADMSG;
}

/* -- finding a slot ------------------------------------------------------------------------------------------------ */

/* May the segment go, as far as the journal or the gates of the living are concerned? */
static bool segment_done(const struct ring_view *view, const struct ring_readers *readers, uint64_t segment)
{
    if (view->geometry.flags & RING_JOURNALED)
        return segment_start(view, segment + 1) <= mem_load_acquire(&view->control->drained); /* E8 progress */
    if (view->geometry.when_full == RING_DROP_OLD || readers == NULL)
        return true;
    const struct ring_reader *table =
        (const struct ring_reader *)(const void *)((const uint8_t *)readers + RING_READERS_HEADER_BYTES);
    for (uint32_t i = 0; i < view->geometry.max_readers; i++) {
        uint64_t id = mem_load_relaxed(&table[i].id);
        uint64_t gate = mem_load_relaxed(&table[i].gate);
        if (id != 0 && gate_names(gate, id) && gate_position(gate) <= segment_start(view, segment) &&
            !view->ops->reader_dead(view->ctx, id))
            return false;
    }
    return true;
}

/* Is a living reader in the segment? The table is a private copy. */
static bool readers_inside(const struct ring_view *view, const struct ring_readers *readers, uint64_t segment)
{
    if (readers == NULL)
        return false;
    const struct ring_reader *table =
        (const struct ring_reader *)(const void *)((const uint8_t *)readers + RING_READERS_HEADER_BYTES);
    for (uint32_t i = 0; i < view->geometry.max_readers; i++) {
        uint64_t id = mem_load_relaxed(&table[i].id);
        if (id != 0 && mem_load_relaxed(&table[i].announced) == segment + 1 && !view->ops->reader_dead(view->ctx, id))
            return true;
    }
    return false;
}

/* Is a living publisher in the segment? Dead ones that are get resolved: their last record may not be counted yet. */
static bool publishers_inside(struct ring_publisher_state *publisher, uint64_t segment, bool resolve)
{
    struct ring_view *view = publisher->view;
    for (uint32_t i = 0; i < view->publisher_entries; i++) {
        struct ring_publisher *entry = &view->publishers[i];
        if (i == publisher->index || mem_load_acquire(&entry->announced) != segment + 1)
            continue;
        uint64_t id = mem_load_acquire(&entry->id);
        if (id == 0)
            continue;
        if (!view->ops->publisher_dead(view->ctx, id))
            return true;
        if (resolve) {
            ring_publisher_resolve(publisher, i, id);
            if (mem_load_acquire(&entry->id) == id)
                return true;
        }
    }
    return false;
}

/* The publisher's segment is the last one still: nobody else has rolled over. */
static bool is_last(const struct ring_publisher_state *publisher)
{
    return active_segment(mem_load_acquire(&publisher->view->control->active)) == publisher->segment;
}

/*
 * Takes a slot whose segment is done: mark, fence, look at everyone again (docs/memory-ordering.md, E2).
 * E2 announce: either the one who announces sees the mark, or we see the announcement.
 */
static bool slot_reclaim(struct ring_publisher_state *publisher, uint32_t slot, uint64_t state, uint64_t segment,
                         uint64_t next, bool *fresh)
{
    struct ring_view *view = publisher->view;
    if (publishers_inside(publisher, segment, false))
        return false;
    uint64_t mine = slot_owned(RING_SLOT_RECLAIMING, segment, publisher->index, publisher->id);
    if (!mem_swap(&view->states[slot], state, mine))
        return false;
    mem_fence_full(); /* E2 announce */
    const struct ring_readers *readers = publisher->readers = view->ops->readers_copy(view->ctx);
    *fresh = true;
    bool free = (readers != NULL || view->geometry.max_readers == 0) && !readers_inside(view, readers, segment) &&
                segment_done(view, readers, segment) && !publishers_inside(publisher, segment, true) &&
                is_last(publisher); /* else it would be given up for nothing */
    if (free)
        return mem_swap(&view->states[slot], mine,
                        slot_owned(RING_SLOT_RESERVED, next, publisher->index, publisher->id));
    mem_swap(&view->states[slot], mine, slot_live(segment)); /* fails where somebody undid it, or took it over */
    return false;
}

/* The more, the older the slot's segment is, counted back from `next`; by the half of its number that the state has. */
static uint64_t slot_age(uint64_t state, uint32_t slot, uint64_t next)
{
    return (uint64_t)(uint32_t)(next - (state >> 32)) << 12 | slot;
}

/* The oldest slot in use that is younger than `limit`: its age, 0: there is none. */
static uint64_t oldest_slot(const struct ring_view *view, uint64_t next, uint64_t limit, uint32_t *ret_slot,
                            uint64_t *ret_state)
{
    uint64_t oldest = 0;
    for (uint32_t i = 0; i < view->geometry.slot_count; i++) {
        uint64_t state = mem_load_acquire(&view->states[i]);
        uint64_t age = slot_age(state, i, next);
        if (age > oldest && age < limit &&
            (slot_state(state) == RING_SLOT_LIVE || slot_state(state) == RING_SLOT_RECLAIMING)) {
            oldest = age;
            *ret_slot = i;
            *ret_state = state;
        }
    }
    return oldest;
}

/* A slot that is free, or reserved by somebody who died. */
static bool slot_take_free(struct ring_publisher_state *publisher, uint64_t next, uint32_t *ret_slot)
{
    struct ring_view *view = publisher->view;
    for (uint32_t i = 0; i < view->geometry.slot_count; i++) {
        uint64_t state = mem_load_acquire(&view->states[i]);
        uint64_t id;
        if (slot_state(state) == RING_SLOT_FREE) {
            *ret_slot = i;
            if (mem_swap(&view->states[i], state,
                         slot_owned(RING_SLOT_RESERVED, next, publisher->index, publisher->id))) /* E7 free slot */
                return true;
            i--; /* look again */
        } else if (slot_state(state) == RING_SLOT_RESERVED &&
                   publisher_is_dead(view, slot_owner_index(state), state >> 12, SLOT_ID_MASK, &id) &&
                   slot_settle(view, i, slot_owner_index(state), id)) {
            i--;
        }
    }
    return false;
}

/*
 * A slot for `next`, RESERVED by the publisher: a free one, else that of the oldest segment that may go. Oldest, though a
 * segment that its readers have just left would be warmer: its lines are in their caches, and to write them costs a
 * transfer each, while those of the oldest have left all caches for the shared one (docs/performance.md). Which segments
 * are worth a mark is first asked of the readers' table as it was at the last roll-over. -EAGAIN: full.
 */
static int slot_take(struct ring_publisher_state *publisher, uint64_t next, uint32_t *ret_slot)
{
    struct ring_view *view = publisher->view;
    if (slot_take_free(publisher, next, ret_slot))
        return 0;
    bool fresh = false;
    uint64_t state = 0, age, limit = UINT64_MAX;
    *ret_slot = 0;
    while ((age = oldest_slot(view, next, limit, ret_slot, &state)) != 0) {
        uint64_t segment;
        if (!slot_segment(view, *ret_slot, state, &segment)) {
            limit = age; /* it was taken meanwhile */
            continue;
        }
        if (segment >= next - 1)
            return -EAGAIN; /* that is the active one; or others are far ahead, and there is no need for a slot */
        bool done = segment_done(view, publisher->readers, segment);
        bool worth_it = done && !readers_inside(view, publisher->readers, segment);
        if (!worth_it && !fresh) {
            publisher->readers = view->ops->readers_copy(view->ctx);
            fresh = true;
            continue;
        }
        if (!done)
            return -EAGAIN; /* then none behind it is done either */
        if (worth_it && slot_reclaim(publisher, *ret_slot, state, segment, next, &fresh))
            return 0;
        limit = age;
    }
    return -EAGAIN;
}

int publisher_roll(struct ring_publisher_state *publisher)
{
    struct ring_view *view = publisher->view;
    uint64_t segment = publisher->segment;
    publisher->inside = false;
    mem_store_release(&publisher->entry->announced, 0); /* done with it; the entry may be needed to resolve the dead */
    uint64_t active = mem_load_acquire(&view->control->active);
    if (active_segment(active) != segment)
        return 0;
    if (mem_load_acquire(&view->control->removed))
        return -EIDRM;
    uint64_t next = segment + 1;
    if ((view->geometry.flags & RING_JOURNALED) &&
        segment_start(view, next + 1) > mem_load_acquire(&view->control->lease)) /* E8 progress */
        return -EAGAIN;
    uint32_t slot;
    int r = slot_take(publisher, next, &slot);
    if (r < 0)
        return is_last(publisher) ? r : 0;
    mem_store_relaxed(&view->slots[slot].segment, next);
    mem_store_relaxed(&view->slots[slot].tail, 0);
    mem_store_relaxed(&record_at(slot_base(view, slot), 0)->head, 0);
    mem_store_relaxed(&view->slots[slot].clean, clean_make(1));
    bool won = mem_swap(&view->control->active, active, active_make(next, slot)); /* E5 enter */
    uint64_t mine = slot_owned(RING_SLOT_RESERVED, next, publisher->index, publisher->id);
    mem_swap(&view->states[slot], mine, won ? slot_live(next) : 0);
    return 0;
}

int ring_oldest_segment(const struct ring_view *view, uint64_t from, uint64_t *ret_segment)
{
    uint64_t oldest = UINT64_MAX;
    for (uint32_t i = 0; i < view->geometry.slot_count; i++) {
        uint64_t state = mem_load_acquire(&view->states[i]);
        if (slot_state(state) != RING_SLOT_LIVE && slot_state(state) != RING_SLOT_RECLAIMING)
            continue;
        uint64_t segment;
        if (slot_segment(view, i, state, &segment) && segment >= from && segment < oldest)
            oldest = segment;
    }
    uint64_t active = active_segment(mem_load_acquire(&view->control->active));
    if (active >= from && active < oldest)
        oldest = active;
    if (oldest == UINT64_MAX)
        return -ENOENT;
    *ret_segment = oldest;
    return 0;
}
