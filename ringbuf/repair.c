/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the dead leave behind, and how it is put in order.
 *
 * The kernel says that an id is dead; ids are never reused, so that stays true. Then a word is read; then it is made sure
 * that the table entry still carries the dead's id, hence the word (read before) names the dead and no later owner of the
 * index; then one swap on exactly what was read. Each step may be done by several at once, or again. The entry is
 * freed last, so an index is given out only after everything that names it is resolved. What carries no owner (the
 * announcement) is not touched: it means nothing while the id is 0, and who takes the entry next resets it.
 *
 * What a dead publisher may hold: one claim, in the segment that it announced (in the tail word, or displaced to its
 * header); the cleaning right there; a RESERVED or RECLAIMING slot; the exclusive right; a producer's name, whose last
 * record may not be counted yet, in the announced segment.
 */
#include "ringbuf/internal.h"

struct dead {
    struct ring_publisher *entry;
    uint64_t id;
    uint32_t index;
    uint32_t owner;
};

static bool still_there(const struct dead *dead)
{
    return mem_load_acquire(&dead->entry->id) == dead->id;
}

/* Repairs the dead's claim, and counts the records of its producer from `from` (units) on. Walks the chain of invariant 1. */
static void resolve_claims(const struct ring_view *view, const struct dead *dead, const uint8_t *base,
                           struct ring_slot *slot, uint64_t producer_hash, uint32_t from, uint64_t *ret_sequence)
{
    bool exclusive = view->geometry.flags & RING_EXCLUSIVE;
    for (uint32_t at = 0; at < view->segment_units;) {
        struct ring_record *record = record_at(base, at);
        uint64_t tail = mem_load_acquire(&slot->tail);   /* E3 claim */
        uint64_t head = mem_load_acquire(&record->head); /* E1 commit */
        uint32_t units = head_units(head);
        uint32_t owner = head_owner(head);
        if (head == 0) {
            if (exclusive || tail_end(tail) <= at)
                return;
            if (tail_end(tail) - tail_units(tail) != at)
                return; /* damaged: a claim that left the tail word stands in its header, which we read after the tail */
            units = tail_units(tail);
            owner = tail_owner(tail);
            if (owner != dead->owner)
                return;
        }
        if (units == 0 || units > view->segment_units - at)
            return;
        if (head == 0 || head_state(head) == RING_CLAIMED) {
            if (owner == dead->owner && still_there(dead) && !claim_to_padding(record, head, units, owner))
                continue;
        } else if (head_state(head) == RING_READY && producer_hash && at >= from) {
            struct ring_meta meta;
            uint32_t bytes, body_bytes = record->body_bytes;
            uint32_t room = (units << RING_UNIT_SHIFT) - (uint32_t)sizeof *record;
            if (body_bytes <= room &&
                ring_meta_get((const uint8_t *)(record + 1), body_bytes, head_flags(head), &meta, &bytes) == 0 &&
                (meta.present & RING_HAS_SEQUENCE) && meta.producer == producer_hash && meta.sequence > *ret_sequence)
                *ret_sequence = meta.sequence;
        }
        at += units;
    }
}

/* Announces the dead's segment for ourselves and finds its slot. False: it is gone, or the entry is somebody else's. */
static bool enter_segment_of(struct ring_publisher_state *self, const struct dead *dead, uint64_t announced,
                             uint32_t *ret_slot)
{
    struct ring_view *view = self->view;
    uint64_t segment = announced - 1;
    announce(&self->entry->announced, announced); /* E2 announce */
    uint64_t state;
    if (!slot_find(view, segment, ret_slot, &state))
        return false;
    if (slot_state(state) == RING_SLOT_RECLAIMING && !slot_names(state, self->index, self->id)) {
        /* Its owner may have looked before we announced: undo, then it cannot go on. */
        mem_swap(&view->states[*ret_slot], state, slot_live(segment));
        state = mem_load_acquire(&view->states[*ret_slot]);
        if (state != slot_live(segment))
            return false;
    }
    return still_there(dead) && mem_load_acquire(&dead->entry->announced) == announced;
}

/* The producer that the dead holds, or NULL. */
static struct ring_producer *producer_of(const struct ring_view *view, const struct dead *dead)
{
    for (uint32_t i = 0; i < view->geometry.max_producers; i++)
        if (mem_load_acquire(&view->producers[i].holder) == dead->id)
            return &view->producers[i];
    return NULL;
}

static void raise_sequence(struct ring_producer *producer, uint64_t sequence)
{
    for (;;) {
        uint64_t now = mem_load_acquire(&producer->sequence);
        if (now >= sequence || mem_swap(&producer->sequence, now, sequence))
            return;
    }
}

/* The work in the announced segment. False: it could not be entered, though the dead still announces it. */
static bool resolve_segment(struct ring_publisher_state *self, const struct dead *dead, struct ring_producer *producer)
{
    struct ring_view *view = self->view;
    uint64_t announced = mem_load_acquire(&dead->entry->announced);
    if (announced == 0)
        return true;
    uint32_t slot;
    if (!enter_segment_of(self, dead, announced, &slot)) {
        uint64_t state;
        mem_store_release(&self->entry->announced, 0);
        return !still_there(dead) || !slot_find(view, announced - 1, &slot, &state);
    }
    uint32_t from = 0;
    uint64_t hash = 0, sequence = 0;
    if (producer) {
        uint64_t scan = mem_load_acquire(&producer->scan);
        uint64_t start = segment_start(view, announced - 1);
        hash = mem_load_relaxed(&producer->hash);
        if (scan > start && scan - start <= (uint64_t)view->segment_units << RING_UNIT_SHIFT)
            from = (uint32_t)((scan - start) >> RING_UNIT_SHIFT);
    }
    resolve_claims(view, dead, slot_base(view, slot), &view->slots[slot], hash, from, &sequence);
    if (producer && sequence && still_there(dead))
        raise_sequence(producer, sequence);

    uint64_t clean = mem_load_acquire(&view->slots[slot].clean);
    if (clean_names(clean, dead->index, dead->id) && still_there(dead))
        mem_swap(&view->slots[slot].clean, clean, clean_make(clean_units(clean)));
    mem_store_release(&self->entry->announced, 0);
    return true;
}

static void resolve_slots(struct ring_view *view, const struct dead *dead)
{
    for (uint32_t i = 0; i < view->geometry.slot_count; i++) {
        uint64_t state = mem_load_acquire(&view->states[i]);
        if (slot_state(state) == RING_SLOT_LIVE || slot_state(state) == RING_SLOT_FREE ||
            !slot_names(state, dead->index, dead->id))
            continue;
        if (slot_state(state) == RING_SLOT_RESERVED)
            slot_settle(view, i, dead->index, dead->id);
        else if (still_there(dead))
            mem_swap(&view->states[i], state, slot_to_live(state));
    }
}

void ring_publisher_resolve(struct ring_publisher_state *self, uint32_t index, uint64_t id)
{
    struct ring_view *view = self->view;
    if (self->claimed)
        return; /* the claim needs the announcement where it is */
    self->inside = false;
    struct dead dead = {.entry = &view->publishers[index], .id = id, .index = index, .owner = owner_make(index, id)};
    struct ring_producer *producer = producer_of(view, &dead);
    for (uint32_t round = 0; !resolve_segment(self, &dead, producer); round++) {
        if (round > WAIT_ROUNDS)
            return; /* the entry stays; whoever comes next tries again */
        view->ops->relax(view->ctx);
    }
    resolve_slots(view, &dead);
    mem_swap(&view->control->exclusive, id, 0);
    if (producer)
        mem_swap(&producer->holder, id, 0);
    mem_swap(&dead.entry->id, id, 0);
}

void ring_reader_resolve(struct ring_view *view, uint32_t index, uint64_t id)
{
    for (uint32_t i = 0; i < view->geometry.max_cursors; i++)
        mem_swap(&view->cursors[i].holder, id, 0);
    mem_swap(&view->reader_table[index].id, id, 0);
}

uint32_t ring_sweep(struct ring_publisher_state *self)
{
    struct ring_view *view = self->view;
    uint32_t resolved = 0;
    for (uint32_t i = 0; i < view->publisher_entries; i++) {
        uint64_t id = mem_load_acquire(&view->publishers[i].id);
        if (i == self->index || id == 0 || !view->ops->publisher_dead(view->ctx, id))
            continue;
        ring_publisher_resolve(self, i, id);
        resolved += mem_load_acquire(&view->publishers[i].id) != id;
    }
    for (uint32_t i = 0; view->readers_writable && i < view->geometry.max_readers; i++) {
        uint64_t id = mem_load_acquire(&view->reader_table[i].id);
        if (id == 0 || !view->ops->reader_dead(view->ctx, id))
            continue;
        ring_reader_resolve(view, i, id);
        resolved++;
    }
    return resolved;
}
