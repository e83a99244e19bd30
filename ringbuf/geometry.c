/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, formatting, and the checks that stand between untrusted bytes and a view. */
#include <errno.h>
#include <string.h>

#include "ringbuf/internal.h"

static uint64_t round_up(uint64_t value, uint64_t step)
{
    return (value + step - 1) / step * step;
}

static int refuse(const char **ret_reason, const char *reason, int error)
{
    if (ret_reason)
        *ret_reason = reason;
    return error;
}

static uint32_t publisher_entries(const struct ring_geometry *geometry)
{
    return 1 + geometry->max_publishers + RING_SEATS;
}

static uint64_t states_bytes(const struct ring_geometry *geometry)
{
    return round_up((uint64_t)geometry->slot_count * sizeof(struct mem_u64), MEM_PAIR_BYTES);
}

int ring_geometry_check(struct ring_geometry *geometry, const char **ret_reason)
{
    struct ring_geometry g = *geometry;
    if (g.flags & ~(RING_EXCLUSIVE | RING_JOURNALED))
        return refuse(ret_reason, "unknown kind of ring", -EINVAL);
    if (g.when_full > RING_DROP_OLD)
        return refuse(ret_reason, "when-full must be block, drop-new or drop-old", -EINVAL);
    if ((g.flags & RING_JOURNALED) && g.when_full == RING_DROP_OLD)
        return refuse(ret_reason,
                      "drop-old is for memory-only rings: a journaled ring keeps what was published (use block or "
                      "drop-new, or --memory)",
                      -EINVAL);
    if (g.segment_shift < RING_SEGMENT_SHIFT_MIN || g.segment_shift > RING_SEGMENT_SHIFT_MAX)
        return refuse(ret_reason, "segment bytes must be a power of two from 4096 (4 KiB) to 67108864 (64 MiB)",
                      -EINVAL);
    if (g.max_publishers < 1 || g.max_publishers > RING_PUBLISHERS_MAX)
        return refuse(ret_reason, "publishers must be 1 to 512", -EINVAL);
    if ((g.flags & RING_EXCLUSIVE) && g.max_publishers != 1)
        return refuse(ret_reason, "an exclusive ring has one publisher", -EINVAL);
    if (g.max_readers > RING_READERS_MAX)
        return refuse(ret_reason, "readers must be 1 to 1024", -EINVAL);
    if (g.huge > RING_HUGE_TRANSPARENT || g.numa_node > RING_NODES_MAX)
        return refuse(ret_reason, "unknown pages, or an impossible NUMA node", -EINVAL);
    if (g.max_producers > 65536 || g.max_cursors > 65536)
        return refuse(ret_reason, "too many names", -EINVAL);

    uint64_t limit = g.memory_limit_bytes >> g.segment_shift;
    if (limit < 1)
        return refuse(ret_reason, "the memory limit must be at least one segment", -EINVAL);
    /* P1 is a matter of counting: besides what waits for the disk, each reader may pin one slot and each publisher two,
     * and so may weird and those in the seats, one each, while they repair. */
    uint64_t slots = limit + g.max_readers + 2ull * g.max_publishers + 1 + RING_SEATS;
    if (g.slot_count)
        slots = g.slot_count;
    if (slots > RING_SLOTS_MAX)
        return refuse(ret_reason,
                      "memory limit, readers and publishers together need more than 4096 segments: use larger segments "
                      "or a smaller limit",
                      -EINVAL);
    if (slots < RING_SLOTS_MIN)
        return refuse(ret_reason, "a ring needs at least 3 slots", -EINVAL);
    g.slot_count = (uint32_t)slots;

    g.control_bytes = RING_CONTROL_HEADER_BYTES + states_bytes(&g) + g.slot_count * sizeof(struct ring_slot) +
                      publisher_entries(&g) * sizeof(struct ring_publisher) +
                      g.max_producers * sizeof(struct ring_producer);
    g.control_bytes = round_up(g.control_bytes, 4096);
    g.readers_bytes = RING_READERS_HEADER_BYTES + g.max_readers * sizeof(struct ring_reader) +
                      g.max_cursors * sizeof(struct ring_cursor);
    g.readers_bytes = round_up(g.readers_bytes, 4096);
    g.data_bytes = (uint64_t)g.slot_count << g.segment_shift;
    *geometry = g;
    return 0;
}

static void view_pointers(struct ring_view *view)
{
    uint8_t *at = (uint8_t *)view->control + RING_CONTROL_HEADER_BYTES;
    view->states = (struct mem_u64 *)(void *)at;
    at += states_bytes(&view->geometry);
    view->slots = (struct ring_slot *)(void *)at;
    at += view->geometry.slot_count * sizeof(struct ring_slot);
    view->publishers = (struct ring_publisher *)(void *)at;
    view->publisher_entries = publisher_entries(&view->geometry);
    at += view->publisher_entries * sizeof(struct ring_publisher);
    view->producers = (struct ring_producer *)(void *)at;
    view->segment_units = 1u << (view->geometry.segment_shift - RING_UNIT_SHIFT);
    if (view->readers) {
        at = (uint8_t *)view->readers + RING_READERS_HEADER_BYTES;
        view->reader_table = (struct ring_reader *)(void *)at;
        at += view->geometry.max_readers * sizeof(struct ring_reader);
        view->cursors = (struct ring_cursor *)(void *)at;
    }
}

void ring_format(void *control_memory, void *readers_memory, void *data, const struct ring_geometry *geometry,
                 const struct ring_identity *identity)
{
    struct ring_control *control = control_memory;
    control->magic = RING_CONTROL_MAGIC;
    control->layout_version = RING_LAYOUT_VERSION;
    control->header_bytes = RING_CONTROL_HEADER_BYTES;
    control->format_signature = RING_FORMAT_SIGNATURE;
    control->features_incompatible = geometry->features_incompatible;
    memcpy(control->ring_id, identity->ring_id, sizeof control->ring_id);
    control->created_ns = identity->created_ns;
    control->epoch = identity->epoch;
    control->start = identity->start;
    control->flags = geometry->flags;
    control->when_full = geometry->when_full;
    control->segment_shift = geometry->segment_shift;
    control->slot_count = geometry->slot_count;
    control->publisher_count = geometry->max_publishers;
    control->reader_count = geometry->max_readers;
    control->producer_count = geometry->max_producers;
    control->cursor_count = geometry->max_cursors;
    control->memory_limit_bytes = geometry->memory_limit_bytes;
    memcpy(control->name, identity->name, sizeof control->name);
    control->huge = (uint8_t)geometry->huge;
    control->numa_node = (uint16_t)geometry->numa_node;

    struct ring_readers *readers = readers_memory;
    if (readers) {
        readers->magic = RING_READERS_MAGIC;
        readers->layout_version = RING_LAYOUT_VERSION;
        readers->header_bytes = RING_READERS_HEADER_BYTES;
        readers->reader_count = geometry->max_readers;
        readers->cursor_count = geometry->max_cursors;
        memcpy(readers->ring_id, identity->ring_id, sizeof readers->ring_id);
        mem_store_relaxed(&readers->next_id, 1);
    }

    struct ring_view view = {.control = control, .readers = readers, .data = data, .geometry = *geometry};
    view_pointers(&view);
    uint64_t segment = identity->start >> geometry->segment_shift;
    mem_store_relaxed(&record_at(data, 0)->head, 0);
    mem_store_relaxed(&view.slots[0].tail, 0);
    mem_store_relaxed(&view.slots[0].clean, clean_make(1));
    mem_store_relaxed(&view.slots[0].segment, segment);
    mem_store_relaxed(&view.states[0], slot_live(segment));
    mem_store_relaxed(&control->visible, identity->start);
    mem_store_relaxed(&control->written, identity->start);
    mem_store_relaxed(&control->durable, identity->start);
    mem_store_relaxed(&control->remote, identity->start);
    mem_store_relaxed(&control->drained, identity->start);
    mem_store_relaxed(&control->lease, identity->start + geometry->data_bytes);
    mem_store_relaxed(&control->next_id, 1);
    mem_store_relaxed(&control->active, active_make(segment, 0));
    mem_store_release(&control->ready, RING_LAYOUT_VERSION); /* E9 ready */
}

int ring_control_read(const struct ring_control *control, uint64_t control_bytes, struct ring_geometry *ret_geometry,
                      struct ring_identity *ret_identity, const char **ret_reason)
{
    if (control_bytes < RING_CONTROL_HEADER_BYTES)
        return refuse(ret_reason, "control is shorter than its header", -EMEDIUMTYPE);
    uint64_t ready = mem_load_acquire(&control->ready); /* E9 ready */
    struct ring_control c;
    memcpy(&c, control, sizeof c); /* read once; only the copy is looked at */
    if (c.magic != RING_CONTROL_MAGIC)
        return refuse(ret_reason, "control does not begin as a ring's", -EMEDIUMTYPE);
    if (c.layout_version != RING_LAYOUT_VERSION)
        return refuse(ret_reason, "the ring has another layout version", -EPROTONOSUPPORT);
    if (ready != RING_LAYOUT_VERSION)
        return refuse(ret_reason, "the ring is not ready yet", -EAGAIN);
    if (c.format_signature != RING_FORMAT_SIGNATURE || c.header_bytes != RING_CONTROL_HEADER_BYTES)
        return refuse(ret_reason, "the ring was made for another byte order, cache line or word size",
                      -EPROTONOSUPPORT);
    if (c.features_incompatible & ~(uint64_t)RING_FEATURES_KNOWN)
        return refuse(ret_reason, "the ring uses features that this version does not know", -EPROTONOSUPPORT);

    struct ring_geometry g = {.flags = c.flags,
                              .when_full = c.when_full,
                              .segment_shift = c.segment_shift,
                              .max_publishers = c.publisher_count,
                              .max_readers = c.reader_count,
                              .max_producers = c.producer_count,
                              .max_cursors = c.cursor_count,
                              .memory_limit_bytes = c.memory_limit_bytes,
                              .features_incompatible = c.features_incompatible,
                              .huge = c.huge,
                              .numa_node = c.numa_node,
                              .slot_count = c.slot_count};
    if (ring_geometry_check(&g, ret_reason) < 0)
        return -EBADMSG;
    if (c.start & ((1ull << g.segment_shift) - 1) || c.epoch == 0)
        return refuse(ret_reason, "the first position is not a segment's start", -EBADMSG);
    if (memchr(c.name, 0, sizeof c.name) == NULL)
        return refuse(ret_reason, "the ring's name has no end", -EBADMSG);
    if (ret_geometry)
        *ret_geometry = g;
    if (ret_identity) {
        memcpy(ret_identity->name, c.name, sizeof c.name);
        memcpy(ret_identity->ring_id, c.ring_id, sizeof c.ring_id);
        ret_identity->created_ns = c.created_ns;
        ret_identity->epoch = c.epoch;
        ret_identity->start = c.start;
    }
    return 0;
}

int ring_view_init(struct ring_view *view, void *control, uint64_t control_bytes, void *readers, uint64_t readers_bytes,
                   void *data, uint64_t data_bytes, const char **ret_reason)
{
    struct ring_view v = {.control = control, .readers = readers, .data = data};
    int r = ring_control_read(control, control_bytes, &v.geometry, &v.identity, ret_reason);
    if (r < 0)
        return r;
    if (control_bytes < v.geometry.control_bytes)
        return refuse(ret_reason, "control is shorter than its geometry says", -EBADMSG);
    if (data_bytes < v.geometry.data_bytes)
        return refuse(ret_reason, "data is shorter than the geometry says", -EBADMSG);
    if (readers) {
        struct ring_readers copy;
        if (readers_bytes < v.geometry.readers_bytes)
            return refuse(ret_reason, "readers is shorter than the geometry says", -EBADMSG);
        memcpy(&copy, readers, sizeof copy);
        if (copy.magic != RING_READERS_MAGIC)
            return refuse(ret_reason, "readers does not begin as a ring's", -EMEDIUMTYPE);
        if (copy.layout_version != RING_LAYOUT_VERSION)
            return refuse(ret_reason, "readers has another layout version", -EPROTONOSUPPORT);
        if (memcmp(copy.ring_id, v.identity.ring_id, sizeof copy.ring_id) != 0 ||
            copy.reader_count != v.geometry.max_readers || copy.cursor_count != v.geometry.max_cursors)
            return refuse(ret_reason, "readers belongs to another ring", -EBADMSG);
    }
    view_pointers(&v);
    *view = v;
    return 0;
}
