/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading: a reader waits on the header at its own position and nowhere else. It announces a segment before it looks at
 * the slot's state, and the slot stays while it is announced (E2). Killed at any point: its announcement and gate are void
 * once the kernel says that it is dead.
 */
#include <errno.h>

#include "ringbuf/internal.h"

static void reader_announce(struct ring_reader_state *reader, uint64_t segment)
{
    if (!reader->announced)
        return;
    uint64_t gate = gate_make(segment_start(reader->view, segment), reader->id);
    if (reader->gating && mem_load_relaxed(&reader->entry->gate) != gate)
        mem_store_release(&reader->entry->gate, gate);
    if (mem_load_relaxed(reader->announced) != segment + 1)
        announce(reader->announced, segment + 1); /* E2 announce */
}

/* 0: inside. -EAGAIN: the segment does not exist yet, or is in doubt: try again. -ENOENT: it is gone from memory. */
static int enter_segment(struct ring_reader_state *reader)
{
    struct ring_view *view = reader->view;
    uint64_t segment = reader->segment;
    reader_announce(reader, segment);
    if (segment > active_segment(mem_load_acquire(&view->control->active))) /* E5 enter */
        return -EAGAIN;
    uint32_t slot;
    uint64_t state;
    if (!slot_find(view, segment, &slot, &state))
        return -ENOENT;
    if (slot_state(state) == RING_SLOT_RECLAIMING) {
        /* Its owner may have looked at the announcements before ours. Undo, then it cannot go on. */
        if (view->control_writable)
            mem_swap(&view->states[slot], state, slot_live(segment));
        return -EAGAIN;
    }
    reader->slot = &view->slots[slot];
    reader->base = slot_base(view, slot);
    reader->inside = true;
    return 0;
}

/*
 * The same, but doubts come to an end: a reclaimer that was stopped half-way leaves its mark, and who may not write cannot
 * undo it. Then it is -ENOENT: a journaled segment that was marked is on disk, another one may go at any time.
 */
MEM_COLD static int enter_for_sure(struct ring_reader_state *reader)
{
    struct ring_view *view = reader->view;
    for (uint32_t round = 0;; round++) {
        int r = enter_segment(reader);
        if (r != -EAGAIN || reader->segment > active_segment(mem_load_acquire(&view->control->active)))
            return r;
        if (round > WAIT_ROUNDS)
            return -ENOENT;
        view->ops->relax(view->ctx);
    }
}

int ring_reader_seek(struct ring_reader_state *reader, uint64_t position)
{
    struct ring_view *view = reader->view;
    uint64_t segment = segment_of(view, position);
    if (position % RING_UNIT_BYTES)
        return -EINVAL;
    reader->inside = false;
    reader->segment = segment;
    reader->offset = (uint32_t)((position - segment_start(view, segment)) >> RING_UNIT_SHIFT);
    if (reader->entry)
        mem_store_relaxed(&reader->entry->position, position);
    return enter_for_sure(reader);
}

int ring_reader_seek_end(struct ring_reader_state *reader)
{
    struct ring_view *view = reader->view;
    for (uint32_t round = 0; round < WAIT_ROUNDS; round++) {
        uint64_t segment = active_segment(mem_load_acquire(&view->control->active)); /* E5 enter */
        if (ring_reader_seek(reader, segment_start(view, segment)) < 0) {
            if (active_segment(mem_load_acquire(&view->control->active)) == segment)
                return -EBADMSG; /* `active` only rises, and its segment is not reclaimed: it is in memory */
            continue;
        }
        uint32_t end;
        if (view->geometry.flags & RING_EXCLUSIVE) {
            int r = segment_find_end(view, reader->base, &end);
            if (r < 0)
                return r;
        } else {
            end = tail_end(mem_load_acquire(&reader->slot->tail)); /* E3 claim */
            if (end > view->segment_units)
                return -EBADMSG;
        }
        reader->offset = end;
        if (reader->entry)
            mem_store_relaxed(&reader->entry->position, ring_reader_position(reader));
        return 0;
    }
    return -EAGAIN;
}

uint64_t ring_reader_position(const struct ring_reader_state *reader)
{
    return unit_position(reader->view, reader->segment, reader->offset);
}

void ring_reader_outside(struct ring_reader_state *reader, uint64_t position)
{
    reader->inside = false;
    reader->segment = segment_of(reader->view, position);
    reader->offset = (uint32_t)((position - segment_start(reader->view, reader->segment)) >> RING_UNIT_SHIFT);
    if (reader->gating)
        mem_store_release(&reader->entry->gate, gate_make(segment_start(reader->view, reader->segment), reader->id));
    if (reader->announced)
        mem_store_release(reader->announced, 0);
    if (reader->entry)
        mem_store_relaxed(&reader->entry->position, position);
}

int ring_reader_peek(struct ring_reader_state *reader, struct ring_item *ret_item)
{
    struct ring_view *view = reader->view;
    for (;;) {
        if (reader->offset >= view->segment_units) {
            if (reader->stay)
                return 0;
            reader->segment++;
            reader->offset = 0;
            reader->inside = false;
        }
        if (!reader->inside) {
            int r = enter_for_sure(reader);
            if (r == -EAGAIN)
                return 0;
            if (r < 0)
                return r;
        }
        struct ring_record *record = record_at(reader->base, reader->offset);
        uint64_t head = mem_load_acquire(&record->head); /* E1 commit */
        enum ring_record_state state = head_state(head);
        if (head == 0 || state == RING_CLAIMED)
            return 0;
        if (state == RING_FREE)
            return -EBADMSG;
        uint32_t units = head_units(head);
        if (units == 0 || units > view->segment_units - reader->offset)
            return -EBADMSG;
        if (state == RING_PADDING) {
            reader->offset += units;
            continue;
        }
        uint32_t body_bytes = record->body_bytes; /* read once */
        if (body_bytes > (units << RING_UNIT_SHIFT) - sizeof *record)
            return -EBADMSG;
        ret_item->position = ring_reader_position(reader);
        ret_item->next = ret_item->position + ((uint64_t)units << RING_UNIT_SHIFT);
        ret_item->body = (const uint8_t *)(record + 1);
        ret_item->body_bytes = body_bytes;
        ret_item->tag = head_tag(head);
        ret_item->flags = head_flags(head);
        return 1;
    }
}

bool ring_reader_poll(const struct ring_reader_state *reader, uint32_t polls)
{
    if (!reader->inside || reader->offset >= reader->view->segment_units)
        return true;
    const struct ring_record *record = record_at(reader->base, reader->offset);
    for (uint32_t i = 0; i < polls; i++) {
        uint64_t head = mem_load_relaxed(&record->head); /* whoever goes on reads it again, with E1 commit */
        if (head != 0 && head_state(head) != RING_CLAIMED)
            return true;
        mem_pause();
    }
    return false;
}

bool ring_reader_stirred(const struct ring_reader_state *reader)
{
    const struct ring_view *view = reader->view;
    if (!reader->inside)
        return active_segment(mem_load_acquire(&view->control->active)) >= reader->segment;
    return reader->offset >= view->segment_units ||
           mem_load_relaxed(&record_at(reader->base, reader->offset)->head) != 0; /* who goes on reads it again */
}

void ring_reader_pass(struct ring_reader_state *reader, const struct ring_item *item)
{
    reader->offset += (uint32_t)((item->next - item->position) >> RING_UNIT_SHIFT);
    if (reader->entry)
        mem_store_relaxed(&reader->entry->position, item->next);
}

/* Drop-old: the segment behind mine exists no more, so whoever claimed at my position has been lapped. */
static bool lapped(const struct ring_reader_state *reader)
{
    const struct ring_view *view = reader->view;
    uint32_t slot;
    uint64_t state;
    if (view->geometry.when_full != RING_DROP_OLD ||
        active_segment(mem_load_acquire(&view->control->active)) <= reader->segment + 1)
        return false;
    return !slot_find(view, reader->segment + 1, &slot, &state);
}

/* Is there an entry for the owner of a claim, dead or alive? */
static bool publisher_attached(const struct ring_view *view, uint32_t owner)
{
    uint32_t index = owner_index(owner);
    return index < view->publisher_entries && owner_names(owner, index, mem_load_acquire(&view->publishers[index].id));
}

/* A claim of `owner` stands at the reader's position, `head` is what its header said. 1: dead, repaired or skipped. */
static int repair_claim(struct ring_reader_state *reader, uint64_t head, uint32_t units, uint32_t owner)
{
    struct ring_view *view = reader->view;
    struct ring_record *record = record_at(reader->base, reader->offset);
    uint64_t id;
    if (units == 0 || units > view->segment_units - reader->offset)
        return -EBADMSG;
    uint64_t incarnation_mask = (1ull << RING_OWNER_INCARNATION_BITS) - 1;
    if (!publisher_is_dead(view, owner_index(owner), owner, incarnation_mask, &id)) {
        bool nobody = !publisher_attached(view, owner);
        if (mem_load_acquire(&record->head) != head)
            return 1;                 /* its owner may have come and gone: then it is written */
        return nobody ? -EBADMSG : 0; /* who leaves, or is resolved, leaves no claim behind */
    }
    if (mem_load_acquire(&record->head) != head)
        return 1;
    if (view->data_writable)
        claim_to_padding(record, head, units, owner);
    else
        reader->offset += units; /* it never will be ready; somebody who may write turns it into padding */
    return 1;
}

int ring_reader_look(struct ring_reader_state *reader, bool *ret_pending)
{
    struct ring_view *view = reader->view;
    *ret_pending = false;
    if (!reader->inside || reader->offset >= view->segment_units) /* at its end there is no header: peek goes on */
        return 0;
    if (lapped(reader))
        return -ENOENT;
    uint64_t head = mem_load_acquire(&record_at(reader->base, reader->offset)->head);
    if (head_state(head) == RING_READY || head_state(head) == RING_PADDING)
        return 1;
    if (view->geometry.flags & RING_EXCLUSIVE)
        return 0; /* claims are not seen before they are committed, and need no repair */
    if (head_state(head) == RING_CLAIMED) {
        *ret_pending = true;
        return repair_claim(reader, head, head_units(head), head_owner(head));
    }
    uint64_t tail = mem_load_acquire(&reader->slot->tail); /* E3 claim */
    if (tail_end(tail) <= reader->offset)
        return 0;
    *ret_pending = true;
    if (tail_end(tail) - tail_units(tail) != reader->offset)
        /* Displaced since we read the header: by now it is written (invariant 1 of claim.c), else it is damaged. */
        return mem_load_acquire(&record_at(reader->base, reader->offset)->head) != 0 ? 1 : -EBADMSG;
    return repair_claim(reader, 0, tail_units(tail), tail_owner(tail));
}

uint64_t ring_reader_claimant(const struct ring_reader_state *reader)
{
    const struct ring_view *view = reader->view;
    if (!reader->inside || reader->offset >= view->segment_units || (view->geometry.flags & RING_EXCLUSIVE))
        return 0;
    uint64_t head = mem_load_acquire(&record_at(reader->base, reader->offset)->head);
    uint64_t tail = mem_load_acquire(&reader->slot->tail);
    uint32_t owner = 0;
    if (head_state(head) == RING_CLAIMED)
        owner = head_owner(head);
    else if (head == 0 && tail_end(tail) - tail_units(tail) == reader->offset)
        owner = tail_owner(tail);
    uint32_t index = owner_index(owner);
    if (owner == 0 || index >= view->publisher_entries)
        return 0;
    uint64_t id = mem_load_acquire(&view->publishers[index].id);
    return owner_names(owner, index, id) ? id : 0;
}
