/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a ring without taking part in it: info, participants, check. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/attach.h"
#include "weir.h"

/* Where the committed part ends. Announces nothing: what it reads may be reused meanwhile, so it is bounded and for show. */
static uint64_t walk_visible(struct attachment *attachment, struct ring_reader_state *walker)
{
    struct ring_view *view = &attachment->view;
    struct ring_item item;
    uint64_t visible = mem_load_acquire(&view->control->visible);
    uint64_t drained = mem_load_acquire(&view->control->drained);
    if ((view->geometry.flags & RING_JOURNALED) && drained > visible)
        visible = drained;
    uint64_t oldest;
    *walker = (struct ring_reader_state){.view = view};
    int r = ring_reader_seek(walker, visible & ~(uint64_t)(RING_UNIT_BYTES - 1));
    if (r == -ENOENT && ring_oldest_segment(view, visible >> view->geometry.segment_shift, &oldest) == 0)
        r = ring_reader_seek(walker, oldest << view->geometry.segment_shift);
    if (r < 0)
        return visible;
    while (ring_reader_peek(walker, &item) > 0)
        ring_reader_pass(walker, &item);
    uint64_t at = ring_reader_position(walker);
    return at > visible ? at : visible;
}

/* The dead, whose entries stand until somebody needs them, do not count where one may ask for them. */
static uint32_t count_attached(const struct attachment *attachment, bool readers)
{
    const struct ring_view *view = &attachment->view;
    uint32_t first = readers ? 0 : 1, entries = readers ? view->geometry.max_readers : view->geometry.max_publishers;
    int lock_fd = readers ? attachment->shm.reader_lock_fd : attachment->shm.lock_fd;
    uint32_t count = 0;
    for (uint32_t i = first; i < first + entries; i++) {
        uint64_t id = mem_load_relaxed(readers ? &view->reader_table[i].id : &view->publishers[i].id);
        count += id != 0 && (lock_fd < 0 || shm_locked(lock_fd, id) != 0);
    }
    return count;
}

static void fill_files(const struct attachment *attachment, struct weir_ring_info *info)
{
    struct stat status;
    info->memory_bytes =
        attachment->shm.sizes.control_bytes + attachment->shm.sizes.readers_bytes + attachment->shm.sizes.data_bytes;
    if (fstat(attachment->shm.control_fd, &status) == 0) {
        info->mode = status.st_mode & 07777;
        info->uid = status.st_uid;
        info->gid = status.st_gid;
    }
}

int weir_ring_inspect(const char *bus, const char *name, struct weir_ring_info *ret_info)
{
    struct attachment attachment;
    struct ring_reader_state walker;
    fail_clear();
    if (!ret_info || ret_info->size != sizeof *ret_info)
        return fail(-EINVAL, "weir_ring_inspect: ret_info.size is not sizeof(struct weir_ring_info)");
    int r = attachment_open(&attachment, bus, name, SHM_LOOK, false);
    if (r < 0)
        return r;
    const struct ring_view *view = &attachment.view;
    const struct ring_control *control = view->control;
    const struct ring_geometry *g = &view->geometry;
    uint64_t journal_error = mem_load_acquire(&control->journal_error);
    uint64_t sync = mem_load_acquire(&control->sync);
    struct weir_ring_info info = {.size = sizeof info,
                                  .exclusive = (g->flags & RING_EXCLUSIVE) != 0,
                                  .journaled = (g->flags & RING_JOURNALED) != 0,
                                  .when_full = (int)g->when_full,
                                  .fenced = (g->features_incompatible & RING_FEATURE_FENCED) != 0,
                                  .segment_bytes = 1ull << g->segment_shift,
                                  .memory_limit_bytes = g->memory_limit_bytes,
                                  .slot_count = g->slot_count,
                                  .max_readers = g->max_readers,
                                  .max_publishers = g->max_publishers,
                                  .reader_count = count_attached(&attachment, true),
                                  .publisher_count = count_attached(&attachment, false),
                                  .created_ns = view->identity.created_ns,
                                  .epoch = view->identity.epoch,
                                  .first_position = view->identity.start,
                                  .written = mem_load_acquire(&control->written),
                                  .durable = mem_load_acquire(&control->durable),
                                  .lease = mem_load_acquire(&control->lease),
                                  .journal_error = (int)journal_error,
                                  .sync = (int)(sync & 0xff),
                                  .sync_interval_ms = (uint32_t)(sync >> 8),
                                  .journal_retries = (journal_error & RING_JOURNAL_RETRIES) != 0,
                                  .quota_messages_per_second = mem_load_relaxed(&control->quota_messages),
                                  .quota_bytes_per_second = mem_load_relaxed(&control->quota_bytes),
                                  .quota_burst_ns = mem_load_relaxed(&control->quota_burst_ns),
                                  .refused_count = mem_load_relaxed(&control->refused_count),
                                  .refused_last_ns = mem_load_relaxed(&control->refused_last_ns)};
    uint64_t oldest, room = mem_load_relaxed(&control->room);
    info.journal_room_bytes = room ? room - 1 : UINT64_MAX;
    memcpy(info.ring_id, view->identity.ring_id, sizeof info.ring_id);
    fill_files(&attachment, &info);
    for (uint32_t i = 0; i < g->slot_count; i++)
        info.slots_used += mem_load_relaxed(&view->states[i]) != 0;
    if (ring_oldest_segment(view, 0, &oldest) == 0)
        info.memory_position = oldest << g->segment_shift;
    info.visible = walk_visible(&attachment, &walker);
    info.end_position = ring_end_position(view);
    info.daemon_alive = attachment.shm.lock_fd < 0 ? -1 : attachment_daemon_alive(&attachment);
    attachment_close(&attachment);
    *ret_info = info;
    return 0;
}

int weir_ring_locate(const char *bus, const char *name, struct weir_ring_placement *ret_placement)
{
    struct attachment attachment;
    struct shm_placement actual;
    fail_clear();
    if (!ret_placement || ret_placement->size != sizeof *ret_placement)
        return fail(-EINVAL, "weir_ring_locate: ret_placement.size is not sizeof(struct weir_ring_placement)");
    int r = attachment_open(&attachment, bus, name, SHM_LOOK, false);
    if (r < 0)
        return r;
    const struct ring_geometry *g = &attachment.view.geometry;
    shm_look_placement(&attachment.shm, &actual);
    *ret_placement = (struct weir_ring_placement){.size = sizeof *ret_placement,
                                                  .huge = (int)g->huge,
                                                  .numa_node = (int)g->numa_node - 1,
                                                  .memory_node = actual.node,
                                                  .memory_bytes = actual.memory_bytes,
                                                  .node_bytes = actual.node_bytes,
                                                  .huge_bytes = actual.huge_bytes,
                                                  .page_bytes = actual.page_bytes};
    attachment_close(&attachment);
    return 0;
}

/* -- participants -------------------------------------------------------------------------------------------------- */

static int state_of(int lock_fd, uint64_t id, uint64_t pid)
{
    int held = lock_fd < 0 ? -1 : shm_locked(lock_fd, id);
    if (held < 0)
        return WEIR_UNKNOWN;
    if (held == 0)
        return WEIR_DEAD;
    return pid != 0 && pid <= INT32_MAX && shm_process_stopped((pid_t)pid) == 1 ? WEIR_STOPPED : WEIR_ALIVE;
}

static void copy_name(char to[WEIR_NAME_MAX + 1], const char from[RING_NAME_BYTES])
{
    memcpy(to, from, WEIR_NAME_MAX);
    to[WEIR_NAME_MAX] = 0;
}

static struct weir_participant look_publisher(const struct attachment *attachment, uint32_t index, uint64_t id,
                                              uint64_t claimant)
{
    const struct ring_view *view = &attachment->view;
    const struct ring_publisher *entry = &view->publishers[index];
    struct weir_participant p = {.size = sizeof p,
                                 .role = index == RING_WEIRD_INDEX ? WEIR_DAEMON : WEIR_PUBLISHER,
                                 .index = index,
                                 .id = id,
                                 .pid = mem_load_acquire(&entry->pid),
                                 .attached_ns = mem_load_relaxed(&entry->attached_ns),
                                 .position = mem_load_relaxed(&entry->position),
                                 .holds_claim = claimant == id,
                                 .waiting_since_ns = mem_load_relaxed(&entry->waiting_since_ns),
                                 .refused_count = mem_load_relaxed(&entry->refused_count),
                                 .refused_last_ns = mem_load_relaxed(&entry->refused_last_ns),
                                 .refused_sequence = mem_load_relaxed(&entry->refused_sequence)};
    uint64_t producer = mem_load_relaxed(&entry->producer);
    p.state = state_of(attachment->shm.lock_fd, id, p.pid);
    if (producer != 0 && producer <= view->geometry.max_producers) {
        copy_name(p.name, view->producers[producer - 1].name);
        p.repeated_count = mem_load_relaxed(&view->producers[producer - 1].refused_count);
    }
    return p;
}

static struct weir_participant look_reader(const struct attachment *attachment, uint32_t index, uint64_t id,
                                           uint64_t end)
{
    const struct ring_view *view = &attachment->view;
    const struct ring_reader *entry = &view->reader_table[index];
    struct weir_participant p = {.size = sizeof p,
                                 .role = WEIR_READER,
                                 .index = index,
                                 .id = id,
                                 .pid = mem_load_acquire(&entry->pid),
                                 .attached_ns = mem_load_relaxed(&entry->attached_ns),
                                 .position = mem_load_relaxed(&entry->position),
                                 .gating = mem_load_relaxed(&entry->gate) != 0,
                                 .gap_count = mem_load_relaxed(&entry->lost_count)};
    uint64_t cursor = mem_load_relaxed(&entry->cursor);
    p.lag_bytes = end > p.position ? end - p.position : 0;
    p.state = state_of(attachment->shm.reader_lock_fd, id, p.pid);
    if (cursor != 0 && cursor <= view->geometry.max_cursors) {
        copy_name(p.name, view->cursors[cursor - 1].name);
        p.saved_ns = mem_load_relaxed(&view->cursors[cursor - 1].saved_ns);
    }
    return p;
}

int weir_ring_participants(const char *bus, const char *name,
                           int (*callback)(void *ctx, const struct weir_participant *participant), void *ctx)
{
    struct attachment attachment;
    struct ring_reader_state walker;
    fail_clear();
    int r = attachment_open(&attachment, bus, name, SHM_LOOK, false);
    if (r < 0)
        return r;
    const struct ring_view *view = &attachment.view;
    walk_visible(&attachment, &walker);
    uint64_t end = ring_end_position(view), claimant = ring_reader_claimant(&walker);
    for (uint32_t i = 0; i < view->publisher_entries && r == 0; i++) {
        uint64_t id = mem_load_acquire(&view->publishers[i].id);
        if (id == 0)
            continue;
        struct weir_participant p = look_publisher(&attachment, i, id, claimant);
        r = callback(ctx, &p);
    }
    for (uint32_t i = 0; i < view->geometry.max_readers && r == 0; i++) {
        uint64_t id = mem_load_acquire(&view->reader_table[i].id);
        if (id == 0)
            continue;
        struct weir_participant p = look_reader(&attachment, i, id, end);
        r = callback(ctx, &p);
    }
    attachment_close(&attachment);
    return r;
}

/* -- check --------------------------------------------------------------------------------------------------------- */

struct fault_ctx {
    void (*callback)(void *ctx, const char *file, uint64_t offset, const char *what);
    void *ctx;
};

static void on_fault(void *ctx, enum ring_file file, uint64_t offset, const char *what)
{
    static const char *const names[] = {"control", "readers", "data"};
    const struct fault_ctx *fault = ctx;
    fault->callback(fault->ctx, names[file], offset, what);
}

int weir_ring_check(const char *bus, const char *name,
                    void (*callback)(void *ctx, const char *file, uint64_t offset, const char *what), void *ctx)
{
    struct attachment attachment;
    fail_clear();
    int r = attachment_open(&attachment, bus, name, SHM_LOOK, false);
    if (r < 0)
        return r;
    struct fault_ctx fault = {callback, ctx};
    uint64_t faults = ring_check(&attachment.view, on_fault, &fault);
    attachment_close(&attachment);
    return faults > INT32_MAX ? INT32_MAX : (int)faults;
}
