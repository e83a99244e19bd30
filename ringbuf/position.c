/* SPDX-License-Identifier: Apache-2.0 */
/* Where the log ends, and how far it is committed. */
#include <errno.h>

#include "ringbuf/internal.h"

int segment_find_end(const struct ring_view *view, const uint8_t *base, uint32_t *ret_end)
{
    uint32_t at = 0;
    while (at < view->segment_units) {
        uint64_t head = mem_load_acquire(&record_at(base, at)->head); /* E1 commit */
        if (head == 0)
            break;
        uint32_t units = head_units(head);
        if (units == 0 || units > view->segment_units - at)
            return -EBADMSG;
        at += units;
    }
    *ret_end = at;
    return 0;
}

uint64_t ring_end_position(const struct ring_view *view)
{
    uint64_t active = mem_load_acquire(&view->control->active);
    uint32_t end = 0;
    for (uint32_t round = 0; round < WAIT_PAUSES; round++) {
        uint32_t slot = active_slot(active);
        if (slot >= view->geometry.slot_count)
            return segment_start(view, active_segment(active));
        if (!(view->geometry.flags & RING_EXCLUSIVE))
            end = tail_end(mem_load_acquire(&view->slots[slot].tail)); /* E3 claim */
        else if (segment_find_end(view, slot_base(view, slot), &end) < 0)
            end = 0;
        uint64_t now = mem_load_acquire(&view->control->active);
        if (now == active)
            break; /* the slot held the segment all the while */
        active = now;
        end = 0;
    }
    return unit_position(view, active_segment(active), end > view->segment_units ? view->segment_units : end);
}

static void raise_hint(struct ring_view *view, uint64_t position)
{
    for (;;) {
        uint64_t hint = mem_load_relaxed(&view->control->visible);
        if (hint >= position || mem_swap(&view->control->visible, hint, position))
            return;
    }
}

uint64_t ring_visible_position(struct ring_publisher_state *publisher)
{
    struct ring_view *view = publisher->view;
    uint64_t visible = mem_load_acquire(&view->control->visible);
    if (publisher->claimed)
        return visible;
    /* A reader that announces in the publisher's entry, and gives it back empty. */
    struct ring_reader_state walker = {.view = view, .announced = &publisher->entry->announced};
    publisher->inside = false;
    int r = ring_reader_seek(&walker, visible - visible % RING_UNIT_BYTES);
    uint64_t oldest;
    if (r == -ENOENT && ring_oldest_segment(view, segment_of(view, visible), &oldest) == 0)
        r = ring_reader_seek(&walker, segment_start(view, oldest));
    if (r == 0) {
        struct ring_item item;
        bool pending;
        do {
            while ((r = ring_reader_peek(&walker, &item)) > 0)
                ring_reader_pass(&walker, &item);
        } while (r == 0 && ring_reader_look(&walker, &pending) > 0);
        visible = ring_reader_position(&walker);
        raise_hint(view, visible);
    }
    mem_store_release(&publisher->entry->announced, 0);
    return visible;
}
