/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks a ring, live or dead, and reports what contradicts the invariants. It never writes and announces nothing, so in
 * a live ring a slot may be reused under it: what it saw in a segment counts only if the slot still holds it afterwards.
 */
#include <errno.h>
#include <string.h>

#include "ringbuf/internal.h"

struct check {
    const struct ring_view *view;
    ring_fault_fn *fault;
    void *ctx;
    uint64_t faults;
    uint64_t active;
};

static uint64_t control_offset(const struct check *check, const void *word)
{
    return (uint64_t)((const uint8_t *)word - (const uint8_t *)check->view->control);
}

static void report(struct check *check, enum ring_file file, uint64_t offset, const char *what)
{
    check->faults++;
    check->fault(check->ctx, file, offset, what);
}

static bool attached(const struct ring_view *view, uint32_t index, uint64_t id_bits, uint64_t id_mask)
{
    uint64_t id = index < view->publisher_entries ? mem_load_acquire(&view->publishers[index].id) : 0;
    return id != 0 && (id & id_mask) == (id_bits & id_mask);
}

/* A claim by nobody: who leaves, or is resolved, leaves none behind. */
static bool claimed_by_nobody(const struct ring_view *view, const struct ring_record *record, uint64_t head,
                              uint32_t owner)
{
    return !attached(view, owner_index(owner), owner, (1u << RING_OWNER_INCARNATION_BITS) - 1) &&
           mem_load_acquire(&record->head) == head;
}

/* First break of the chain of records in a slot; NULL: none. *ret_units: where. */
static const char *walk_segment(const struct ring_view *view, uint32_t slot, bool active, uint32_t *ret_units)
{
    const uint8_t *base = slot_base(view, slot);
    bool exclusive = view->geometry.flags & RING_EXCLUSIVE;
    uint32_t at = 0;
    while (at < view->segment_units) {
        struct ring_record *record = record_at(base, at);
        uint64_t head = mem_load_acquire(&record->head); /* E1 commit */
        *ret_units = at;
        if (head == 0) {
            if (exclusive)
                return active ? NULL : "free record header inside of a full segment";
            uint64_t tail = mem_load_acquire(&view->slots[slot].tail);
            if (tail_end(tail) <= at)
                return active ? NULL : "free record header inside of a full segment";
            if (mem_load_acquire(&record->head) != 0)
                continue;
            if (tail_end(tail) - tail_units(tail) != at)
                return "free record header that no claim covers";
            if (tail_end(tail) > view->segment_units)
                return "tail leaves the segment";
            if (claimed_by_nobody(view, record, 0, tail_owner(tail)))
                return "claim of a publisher that is not attached";
            at = tail_end(tail);
            continue;
        }
        if (head_state(head) == RING_FREE)
            return "record header in no known state";
        uint32_t units = head_units(head);
        if (units == 0 || units > view->segment_units - at)
            return "record length leaves the segment";
        if (head_state(head) == RING_CLAIMED && claimed_by_nobody(view, record, head, head_owner(head)))
            return "claim of a publisher that is not attached";
        uint32_t body_bytes = record->body_bytes;
        if (head_state(head) == RING_READY) {
            struct ring_meta meta;
            uint32_t bytes;
            if (body_bytes > (units << RING_UNIT_SHIFT) - sizeof *record)
                return "payload is longer than its record";
            if (head_flags(head) & ~RING_FLAG_PROPERTIES)
                return "record with unknown flags";
            if (ring_meta_get((const uint8_t *)(record + 1), body_bytes, head_flags(head), &meta, &bytes) < 0)
                return "record properties make no sense";
        }
        at += units;
    }
    *ret_units = at;
    if (!exclusive && tail_end(mem_load_acquire(&view->slots[slot].tail)) > view->segment_units)
        return "tail leaves the segment";
    return NULL;
}

/* Invariant 2 of claim.c, and who cleans. */
static void check_clean(struct check *check, uint32_t slot, uint64_t state)
{
    const struct ring_view *view = check->view;
    struct ring_slot *words = &view->slots[slot];
    const char *what = NULL;
    uint64_t tail = mem_load_acquire(&words->tail);
    uint64_t clean = mem_load_acquire(&words->clean);
    uint32_t end = tail_end(tail);
    if (clean_units(clean) > view->segment_units)
        what = "clean mark leaves the segment";
    else if (!clean_free(clean) && !attached(view, clean_index(clean), clean >> 31, CLEAN_ID_MASK) &&
             mem_load_acquire(&words->clean) == clean)
        what = "segment is cleaned by a publisher that is not attached";
    else if (end < view->segment_units && clean_units(clean) <= end)
        what = "the header behind the last claim is not clean";
    else if (end < view->segment_units && mem_load_acquire(&record_at(slot_base(view, slot), end)->head) != 0 &&
             mem_load_acquire(&words->tail) == tail)
        what = "the header behind the last claim is not free";
    if (what && mem_load_acquire(&view->states[slot]) == state)
        report(check, RING_FILE_CONTROL, control_offset(check, &words->clean), what);
}

static void check_slot(struct check *check, uint32_t slot)
{
    const struct ring_view *view = check->view;
    uint64_t state = mem_load_acquire(&view->states[slot]);
    uint64_t offset = control_offset(check, &view->states[slot]);
    if (slot_state(state) == RING_SLOT_FREE) {
        if (state != 0)
            report(check, RING_FILE_CONTROL, offset, "free slot that names a segment or an owner");
        return;
    }
    if (slot_state(state) == RING_SLOT_RESERVED || slot_state(state) == RING_SLOT_RECLAIMING) {
        if (!attached(view, slot_owner_index(state), state >> 12, SLOT_ID_MASK) &&
            mem_load_acquire(&view->states[slot]) == state)
            report(check, RING_FILE_CONTROL, offset, "slot is held by a publisher that is not attached");
        if (slot_state(state) == RING_SLOT_RESERVED)
            return;
    }
    uint64_t segment;
    bool whole = slot_segment(view, slot, state, &segment);
    if (!whole || segment < segment_of(view, view->identity.start) ||
        segment > active_segment(mem_load_acquire(&view->control->active))) {
        if (mem_load_acquire(&view->states[slot]) == state)
            report(check, RING_FILE_CONTROL, offset, "slot holds a segment that cannot exist");
        return;
    }
    uint32_t units = 0;
    bool active = segment >= active_segment(check->active); /* as it was when we began: those before it are full */
    const char *what = walk_segment(view, slot, active, &units);
    if (what && mem_load_acquire(&view->states[slot]) == state)
        report(check, RING_FILE_DATA,
               ((uint64_t)slot << view->geometry.segment_shift) + ((uint64_t)units << RING_UNIT_SHIFT), what);
    if (!(view->geometry.flags & RING_EXCLUSIVE))
        check_clean(check, slot, state);
}

static void check_active(struct check *check)
{
    const struct ring_view *view = check->view;
    const struct ring_control *control = view->control;
    for (uint32_t round = 0; round < 64; round++) {
        uint64_t active = mem_load_acquire(&control->active);
        check->active = active;
        if (active_slot(active) >= view->geometry.slot_count) {
            report(check, RING_FILE_CONTROL, control_offset(check, &control->active), "active slot does not exist");
            return;
        }
        if (slot_holds(mem_load_acquire(&view->states[active_slot(active)]), active_segment(active)))
            return;
        if (mem_load_acquire(&control->active) == active) {
            report(check, RING_FILE_CONTROL, control_offset(check, &control->active),
                   "active slot does not hold the active segment");
            return;
        }
    }
}

static void check_positions(struct check *check)
{
    const struct ring_view *view = check->view;
    const struct ring_control *control = view->control;
    /* In the order in which they are raised: read the lower ones first. */
    uint64_t remote = mem_load_acquire(&control->remote);
    uint64_t drained = mem_load_acquire(&control->drained);
    uint64_t durable = mem_load_acquire(&control->durable);
    uint64_t written = mem_load_acquire(&control->written);
    uint64_t lease = mem_load_acquire(&control->lease);
    uint64_t end = ring_end_position(view);
    if (durable > written)
        report(check, RING_FILE_CONTROL, control_offset(check, &control->durable), "durable is ahead of written");
    if (drained > written)
        report(check, RING_FILE_CONTROL, control_offset(check, &control->drained), "drained is ahead of written");
    if (remote > written)
        report(check, RING_FILE_CONTROL, control_offset(check, &control->remote), "remote is ahead of written");
    if (written > end)
        report(check, RING_FILE_CONTROL, control_offset(check, &control->written), "written is ahead of the log's end");
    if ((view->geometry.flags & RING_JOURNALED) && end > lease)
        report(check, RING_FILE_CONTROL, control_offset(check, &control->lease), "the log's end is ahead of the lease");
    if (durable < view->identity.start)
        report(check, RING_FILE_CONTROL, control_offset(check, &control->durable),
               "durable is before the first position");
}

/* Two slots with the same segment, the active one aside. */
static void check_doubles(struct check *check)
{
    const struct ring_view *view = check->view;
    for (uint32_t i = 0; i < view->geometry.slot_count; i++) {
        uint64_t state = mem_load_acquire(&view->states[i]);
        if (slot_state(state) != RING_SLOT_LIVE)
            continue;
        for (uint32_t k = i + 1; k < view->geometry.slot_count; k++) {
            uint64_t other = mem_load_acquire(&view->states[k]);
            if (other == state && mem_load_acquire(&view->states[i]) == state)
                report(check, RING_FILE_CONTROL, control_offset(check, &view->states[k]), "two slots hold one segment");
        }
    }
}

static void check_names(struct check *check, const char *name, uint64_t state, enum ring_file file, uint64_t offset)
{
    if ((state & 3) == RING_ENTRY_USED && (name[0] == 0 || memchr(name, 0, RING_NAME_BYTES) == NULL))
        report(check, file, offset, "a used name entry without a name");
    if ((state & 3) > RING_ENTRY_USED)
        report(check, file, offset, "name entry in no known state");
}

/* Rights that are held by nobody: who leaves, or is resolved, gives them back before its entry. */
static bool held_by_nobody(const struct ring_view *view, const struct mem_u64 *holder)
{
    uint64_t id = mem_load_acquire(holder);
    if (id == 0)
        return false;
    for (uint32_t i = 0; i < view->publisher_entries; i++)
        if (mem_load_acquire(&view->publishers[i].id) == id)
            return false;
    return mem_load_acquire(holder) == id;
}

static void check_holders(struct check *check)
{
    const struct ring_view *view = check->view;
    if (held_by_nobody(view, &view->control->exclusive))
        report(check, RING_FILE_CONTROL, control_offset(check, &view->control->exclusive),
               "exclusive right is held by a publisher that is not attached");
    for (uint32_t i = 0; i < view->geometry.max_producers; i++)
        if (held_by_nobody(view, &view->producers[i].holder))
            report(check, RING_FILE_CONTROL, control_offset(check, &view->producers[i].holder),
                   "name is held by a publisher that is not attached");
}

uint64_t ring_check(const struct ring_view *view, ring_fault_fn *fault, void *ctx)
{
    struct check check = {.view = view, .fault = fault, .ctx = ctx};
    check_active(&check);
    for (uint32_t i = 0; i < view->geometry.slot_count; i++)
        check_slot(&check, i);
    check_doubles(&check);
    check_positions(&check);
    check_holders(&check);
    for (uint32_t i = 0; i < view->geometry.max_producers; i++)
        check_names(&check, view->producers[i].name, mem_load_acquire(&view->producers[i].state), RING_FILE_CONTROL,
                    control_offset(&check, &view->producers[i]));
    for (uint32_t i = 0; view->readers && i < view->geometry.max_cursors; i++)
        check_names(&check, view->cursors[i].name, mem_load_acquire(&view->cursors[i].state), RING_FILE_READERS,
                    (uint64_t)((const uint8_t *)&view->cursors[i] - (const uint8_t *)view->readers));
    return check.faults;
}
