/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining and leaving: entries of the tables, the exclusive right, names of publishers, cursors of readers.
 *
 * An entry belongs to who swapped its own id into it; its lock was taken before, so a held entry is alive or dead, never
 * unborn. Killed after that: the entry is resolved by ring_publisher_resolve() or ring_reader_resolve().
 *
 * Names fill their table from the front: an entry is filled only when all before it are USED by other names, and USED is
 * for ever, so no name can stand twice. FILLING carries the filler's id; a dead filler's entry is FREE again.
 */
#include <errno.h>
#include <string.h>

#include "ringbuf/internal.h"

#define ENTRY_STATE_BITS 2

uint64_t ring_publisher_id(struct ring_view *view)
{
    return mem_add(&view->control->next_id, 1);
}

uint64_t ring_reader_id(struct ring_view *view)
{
    return mem_add(&view->readers->next_id, 1);
}

uint64_t ring_producer_hash(const char *name)
{
    /* FNV-1a, 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv). Never 0. */
    uint64_t hash = 0xcbf29ce484222325ull;
    for (const unsigned char *at = (const unsigned char *)name; *at; at++)
        hash = (hash ^ *at) * 0x100000001b3ull;
    return hash ? hash : 1;
}

/* -- publishers ---------------------------------------------------------------------------------------------------- */

static void publisher_begin(struct ring_publisher_state *publisher, struct ring_view *view, uint32_t index, uint64_t id)
{
    *publisher = (struct ring_publisher_state){
        .view = view, .entry = &view->publishers[index], .id = id, .index = index, .owner = owner_make(index, id)};
    mem_store_release(&publisher->entry->announced, 0);
}

static void publisher_describe(const struct ring_publisher_state *publisher, uint64_t pid, uint64_t now_ns)
{
    struct ring_publisher *entry = publisher->entry;
    mem_store_relaxed(&entry->producer, 0);
    mem_store_relaxed(&entry->waiting_since_ns, 0);
    mem_store_relaxed(&entry->refused_count, 0);
    mem_store_relaxed(&entry->refused_last_ns, 0);
    mem_store_relaxed(&entry->refused_sequence, 0);
    mem_store_relaxed(&entry->position, 0);
    mem_store_relaxed(&entry->attached_ns, now_ns);
    mem_store_release(&entry->pid, pid);
}

static bool take_free_entry(struct ring_publisher_state *publisher, struct ring_view *view, uint64_t id)
{
    for (uint32_t i = 1; i <= view->geometry.max_publishers; i++) {
        if (mem_load_acquire(&view->publishers[i].id) == 0 && mem_swap(&view->publishers[i].id, 0, id)) {
            publisher_begin(publisher, view, i, id);
            return true;
        }
    }
    return false;
}

/* All entries are taken: resolves the dead from a seat, which may be taken from the dead as it is, since who sits there holds
 * nothing but an announcement. */
static int make_free_entry(struct ring_view *view, uint64_t id)
{
    for (uint32_t round = 0; round < WAIT_ROUNDS; round++) {
        for (uint32_t i = view->publisher_entries - RING_SEATS; i < view->publisher_entries; i++) {
            uint64_t held = mem_load_acquire(&view->publishers[i].id);
            if ((held != 0 && !view->ops->publisher_dead(view->ctx, held)) ||
                !mem_swap(&view->publishers[i].id, held, id))
                continue;
            struct ring_publisher_state seat;
            publisher_begin(&seat, view, i, id);
            uint32_t resolved = ring_sweep(&seat);
            mem_store_release(&seat.entry->announced, 0);
            mem_swap(&seat.entry->id, id, 0);
            return resolved ? 0 : -ENOSPC;
        }
        view->ops->relax(view->ctx);
    }
    return -ENOSPC;
}

/* Who had the right before had the only entry, too, and gave the right back first: only damage makes it another's. */
static int take_exclusive(struct ring_publisher_state *publisher)
{
    struct ring_view *view = publisher->view;
    for (uint32_t round = 0; round < WAIT_ROUNDS; round++) {
        uint64_t holder = mem_load_acquire(&view->control->exclusive);
        if (holder != 0 && !view->ops->publisher_dead(view->ctx, holder))
            return -EBUSY;
        if (mem_swap(&view->control->exclusive, holder, publisher->id))
            return 0;
    }
    return -EBUSY;
}

int ring_publisher_join(struct ring_publisher_state *publisher, struct ring_view *view, uint64_t id, uint64_t pid,
                        uint64_t now_ns)
{
    bool exclusive = view->geometry.flags & RING_EXCLUSIVE;
    int r = 0;
    while (!take_free_entry(publisher, view, id)) {
        if (r < 0)
            return exclusive ? -EBUSY : r;
        r = make_free_entry(view, id); /* when it fails, another joiner may have freed one: look once more */
    }
    publisher_describe(publisher, pid, now_ns);
    if (exclusive) {
        r = take_exclusive(publisher);
        if (r < 0) {
            ring_publisher_leave(publisher);
            return r;
        }
    }
    return 0;
}

int ring_daemon_join(struct ring_publisher_state *publisher, struct ring_view *view, uint64_t id, uint64_t pid,
                     uint64_t now_ns)
{
    struct mem_u64 *word = &view->publishers[RING_WEIRD_INDEX].id;
    for (;;) {
        uint64_t held = mem_load_acquire(word);
        if (held != 0 && !view->ops->publisher_dead(view->ctx, held))
            return -EBUSY;
        if (mem_swap(word, held, id))
            break;
    }
    publisher_begin(publisher, view, RING_WEIRD_INDEX, id);
    publisher_describe(publisher, pid, now_ns);
    return 0;
}

void ring_publisher_leave(struct ring_publisher_state *publisher)
{
    ring_cancel(publisher);
    if (publisher->producer)
        mem_swap(&publisher->producer->holder, publisher->id, 0);
    mem_swap(&publisher->view->control->exclusive, publisher->id, 0);
    mem_store_release(&publisher->entry->announced, 0);
    mem_swap(&publisher->entry->id, publisher->id, 0);
    publisher->inside = false;
    publisher->producer = NULL;
}

/* -- names --------------------------------------------------------------------------------------------------------- */

struct name_entry {
    struct mem_u64 *state;
    char *name;
};

/*
 * Finds the name's entry or fills a new one (`fill` sets the other words before it becomes USED). Returns its number,
 * -ENOSPC, or -EBUSY when somebody who lives has been filling an entry for too long.
 */
static int name_find(uint32_t count, struct name_entry (*at)(void *ctx, uint32_t i),
                     void (*fill)(void *ctx, uint32_t i), bool (*dead)(void *ctx, uint64_t id),
                     void (*relax)(void *ctx), void *ctx, const char *name, uint64_t id)
{
    uint32_t rounds = 0;
    for (uint32_t i = 0; i < count;) {
        struct name_entry entry = at(ctx, i);
        uint64_t state = mem_load_acquire(entry.state); /* E9 ready */
        if ((state & 3) == RING_ENTRY_USED) {
            if (strncmp(entry.name, name, RING_NAME_BYTES) == 0)
                return (int)i;
            i++;
        } else if ((state & 3) == RING_ENTRY_FREE) {
            uint64_t filling = RING_ENTRY_FILLING | id << ENTRY_STATE_BITS;
            if (!mem_swap(entry.state, state, filling))
                continue;
            memset(entry.name, 0, RING_NAME_BYTES);
            memcpy(entry.name, name, strnlen(name, RING_NAME_BYTES - 1));
            fill(ctx, i);
            mem_swap(entry.state, filling, RING_ENTRY_USED); /* E9 ready */
            return (int)i;
        } else if (dead(ctx, state >> ENTRY_STATE_BITS)) {
            mem_swap(entry.state, state, RING_ENTRY_FREE);
        } else if (++rounds > WAIT_ROUNDS) {
            return -EBUSY;
        } else {
            relax(ctx);
        }
    }
    return -ENOSPC;
}

static struct name_entry producer_entry(void *ctx, uint32_t i)
{
    struct ring_view *view = ((struct ring_publisher_state *)ctx)->view;
    return (struct name_entry){&view->producers[i].state, view->producers[i].name};
}

static void producer_fill(void *ctx, uint32_t i)
{
    struct ring_producer *producer = &((struct ring_publisher_state *)ctx)->view->producers[i];
    mem_store_relaxed(&producer->hash, ring_producer_hash(producer->name));
    mem_store_relaxed(&producer->holder, 0);
    mem_store_relaxed(&producer->sequence, 0);
    mem_store_relaxed(&producer->scan, 0);
    mem_store_relaxed(&producer->refused_count, 0);
}

static bool producer_filler_dead(void *ctx, uint64_t id)
{
    struct ring_view *view = ((struct ring_publisher_state *)ctx)->view;
    return view->ops->publisher_dead(view->ctx, id);
}

static void producer_relax(void *ctx)
{
    struct ring_view *view = ((struct ring_publisher_state *)ctx)->view;
    view->ops->relax(view->ctx);
}

/* A name held by the dead: everything of theirs is resolved, so that the last sequence is right. */
static void resolve_holder(struct ring_publisher_state *publisher, struct ring_producer *producer, uint64_t holder)
{
    struct ring_view *view = publisher->view;
    for (uint32_t i = 0; i < view->publisher_entries; i++) {
        if (mem_load_acquire(&view->publishers[i].id) == holder) {
            ring_publisher_resolve(publisher, i, holder);
            return;
        }
    }
    mem_swap(&producer->holder, holder, 0);
}

int ring_producer_take(struct ring_publisher_state *publisher, const char *name)
{
    struct ring_view *view = publisher->view;
    int found = name_find(view->geometry.max_producers, producer_entry, producer_fill, producer_filler_dead,
                          producer_relax, publisher, name, publisher->id);
    if (found < 0)
        return found;
    struct ring_producer *producer = &view->producers[found];
    for (uint32_t round = 0; round < WAIT_ROUNDS; round++) {
        uint64_t holder = mem_load_acquire(&producer->holder);
        if (holder == 0) {
            if (!mem_swap(&producer->holder, 0, publisher->id))
                continue;
            publisher->producer = producer;
            publisher->sequence = mem_load_acquire(&producer->sequence);
            mem_store_relaxed(&publisher->entry->producer, (uint64_t)found + 1);
            return 0;
        }
        if (!view->ops->publisher_dead(view->ctx, holder))
            return -EBUSY;
        resolve_holder(publisher, producer, holder);
    }
    return -EBUSY;
}

void ring_producer_count(struct ring_publisher_state *publisher, uint64_t sequence, uint64_t end_position)
{
    publisher->sequence = sequence;
    mem_store_release(&publisher->producer->sequence, sequence);
    mem_store_release(&publisher->producer->scan, end_position);
}

/* -- readers ------------------------------------------------------------------------------------------------------- */

int ring_reader_join(struct ring_reader_state *reader, struct ring_view *view, uint64_t id, uint64_t pid,
                     uint64_t now_ns)
{
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < view->geometry.max_readers; i++) {
            struct ring_reader *entry = &view->reader_table[i];
            uint64_t held = mem_load_acquire(&entry->id);
            if (held != 0) {
                if (round == 0 || !view->ops->reader_dead(view->ctx, held))
                    continue;
                ring_reader_resolve(view, i, held);
            }
            if (!mem_swap(&entry->id, 0, id))
                continue;
            *reader = (struct ring_reader_state){
                .view = view, .entry = entry, .announced = &entry->announced, .id = id, .index = i};
            mem_store_release(&entry->announced, 0);
            mem_store_relaxed(&entry->gate, 0);
            mem_store_relaxed(&entry->position, UINT64_MAX);
            mem_store_relaxed(&entry->lost_count, 0);
            mem_store_relaxed(&entry->cursor, 0);
            mem_store_relaxed(&entry->attached_ns, now_ns);
            mem_store_release(&entry->pid, pid);
            return 0;
        }
    }
    return -ENOSPC;
}

void ring_reader_leave(struct ring_reader_state *reader)
{
    uint64_t cursor = mem_load_relaxed(&reader->entry->cursor);
    if (cursor != 0 && cursor <= reader->view->geometry.max_cursors)
        mem_swap(&reader->view->cursors[cursor - 1].holder, reader->id, 0);
    mem_store_release(&reader->entry->announced, 0);
    mem_store_release(&reader->entry->gate, 0);
    mem_swap(&reader->entry->id, reader->id, 0);
    reader->inside = false;
}

static struct name_entry cursor_entry(void *ctx, uint32_t i)
{
    struct ring_view *view = ((struct ring_reader_state *)ctx)->view;
    return (struct name_entry){&view->cursors[i].state, view->cursors[i].name};
}

static void cursor_fill(void *ctx, uint32_t i)
{
    struct ring_cursor *cursor = &((struct ring_reader_state *)ctx)->view->cursors[i];
    mem_store_relaxed(&cursor->holder, 0);
    mem_store_relaxed(&cursor->position, UINT64_MAX);
    mem_store_relaxed(&cursor->saved_ns, 0);
}

static bool cursor_filler_dead(void *ctx, uint64_t id)
{
    struct ring_view *view = ((struct ring_reader_state *)ctx)->view;
    return view->ops->reader_dead(view->ctx, id);
}

static void cursor_relax(void *ctx)
{
    struct ring_view *view = ((struct ring_reader_state *)ctx)->view;
    view->ops->relax(view->ctx);
}

int ring_cursor_take(struct ring_reader_state *reader, const char *name, uint64_t *ret_position)
{
    struct ring_view *view = reader->view;
    int found = name_find(view->geometry.max_cursors, cursor_entry, cursor_fill, cursor_filler_dead, cursor_relax,
                          reader, name, reader->id);
    if (found < 0)
        return found;
    struct ring_cursor *cursor = &view->cursors[found];
    for (uint32_t round = 0; round < WAIT_ROUNDS; round++) {
        uint64_t holder = mem_load_acquire(&cursor->holder);
        if (holder != 0 && !view->ops->reader_dead(view->ctx, holder))
            return -EBUSY;
        if (!mem_swap(&cursor->holder, holder, reader->id)) /* a dead holder left nothing else behind */
            continue;
        mem_store_relaxed(&reader->entry->cursor, (uint64_t)found + 1);
        *ret_position = mem_load_acquire(&cursor->position);
        return 0;
    }
    return -EBUSY;
}

void ring_cursor_save(struct ring_reader_state *reader, uint64_t position, uint64_t now_ns)
{
    uint64_t cursor = mem_load_relaxed(&reader->entry->cursor);
    if (cursor == 0 || cursor > reader->view->geometry.max_cursors)
        return;
    mem_store_relaxed(&reader->view->cursors[cursor - 1].saved_ns, now_ns);
    mem_store_release(&reader->view->cursors[cursor - 1].position, position);
}
