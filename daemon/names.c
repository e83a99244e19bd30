/* SPDX-License-Identifier: Apache-2.0 */
/* The table of names that a journal keeps: counting, saving, restoring. */
#include "daemon/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/guard.h"
#include "shm/shm.h"

#define NAMES_CHECKPOINT_NS 1000000000ull

/* -- table ---------------------------------------------------------------------------------------------------------- */

static struct names_entry *names_find(const struct names *names, uint64_t hash)
{
    for (uint32_t at = (uint32_t)hash;; at++) {
        uint32_t number = names->index[at & names->index_mask];
        if (number == 0)
            return NULL;
        if (names->entries[number - 1].hash == hash)
            return &names->entries[number - 1];
    }
}

/* name: checked. False: no room. */
static bool names_add(struct names *names, const char *name, uint64_t sequence)
{
    uint64_t hash = ring_producer_hash(name);
    if (names_find(names, hash))
        return true;
    if (names->count == names->capacity)
        return false;
    struct names_entry *entry = &names->entries[names->count++];
    *entry = (struct names_entry){.hash = hash, .durable = sequence, .cut = sequence, .pending = sequence};
    memcpy(entry->name, name, strnlen(name, RING_NAME_BYTES - 1));
    uint32_t at = (uint32_t)hash;
    while (names->index[at & names->index_mask] != 0)
        at++;
    names->index[at & names->index_mask] = names->count;
    return true;
}

int names_open(struct names *names, const struct ring_geometry *geometry, const struct journal_names *saved)
{
    *names = (struct names){.position = saved->position};
    uint32_t index_count = 16;
    names->capacity = geometry->max_producers > saved->producer_count ? geometry->max_producers : saved->producer_count;
    names->cursor_capacity = geometry->max_cursors > saved->cursor_count ? geometry->max_cursors : saved->cursor_count;
    while (index_count < 2 * (uint64_t)names->capacity)
        index_count *= 2;
    names->index_mask = index_count - 1;
    names->entries = calloc(names->capacity + 1u, sizeof *names->entries);
    names->index = calloc(index_count, sizeof *names->index);
    names->dirty = calloc(names->capacity + 1u, sizeof *names->dirty);
    names->cuts = calloc(names->capacity + 1u, sizeof *names->cuts);
    names->asides = calloc(names->capacity + 1u, sizeof *names->asides);
    names->cursors = calloc(names->cursor_capacity + 1u, sizeof *names->cursors);
    names->cursors_now = calloc(names->cursor_capacity + 1u, sizeof *names->cursors_now);
    if (!names->entries || !names->index || !names->dirty || !names->cuts || !names->asides || !names->cursors ||
        !names->cursors_now) {
        names_close(names);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < saved->producer_count; i++) {
        if (shm_name_check(saved->producers[i].name) == 0)
            names_add(names, saved->producers[i].name, saved->producers[i].value);
    }
    for (uint32_t i = 0; i < saved->cursor_count; i++) {
        if (shm_name_check(saved->cursors[i].name) == 0)
            names->cursors[names->cursor_count++] = saved->cursors[i];
    }
    return 0;
}

void names_close(struct names *names)
{
    free(names->entries);
    free(names->index);
    free(names->dirty);
    free(names->cuts);
    free(names->asides);
    free(names->cursors);
    free(names->cursors_now);
    *names = (struct names){0};
}

uint64_t names_count_from(const struct names *names, const struct journal_meta *meta)
{
    return names->position > meta->durable ? names->position : meta->durable;
}

/* -- counting ------------------------------------------------------------------------------------------------------- */

static void names_count(struct names *names, struct names_entry *entry, uint64_t sequence)
{
    if (sequence <= entry->pending)
        return;
    if (entry->pending == entry->cut)
        names->dirty[names->dirty_count++] = (uint32_t)(entry - names->entries);
    entry->pending = sequence;
}

void names_count_recovered(void *ctx, uint64_t producer, uint64_t sequence)
{
    struct names *names = ctx;
    struct names_entry *entry = names_find(names, producer);
    if (entry)
        names_count(names, entry, sequence);
}

void names_recovered(struct names *names, uint64_t durable, uint64_t end)
{
    names->unmerged = end;
    names_synced(names, durable, durable);
}

/* The ring's bytes are untrusted: copied, then checked. */
void names_learn(struct names *names, const struct ring_view *view)
{
    for (uint32_t i = 0; i < view->geometry.max_producers; i++) {
        char name[RING_NAME_BYTES];
        uint32_t before = names->count;
        if (mem_load_acquire(&view->producers[i].state) != RING_ENTRY_USED) /* E9 ready */
            continue;
        memcpy(name, view->producers[i].name, sizeof name);
        if (memchr(name, 0, sizeof name) == NULL || shm_name_check(name) < 0)
            continue;
        names_add(names, name, 0);
        if (names->count != before)
            names->unsaved_name = true;
    }
}

struct names_look {
    struct names *names;
    const struct ring_view *view;
};

static int names_learn_step(void *argument)
{
    struct names_look *look = argument;
    names_learn(look->names, look->view);
    return 0;
}

static bool names_set_aside(struct names *names, uint64_t producer, uint64_t sequence)
{
    struct names_entry *entry = names_find(names, producer);
    if (!entry)
        return false;
    if (sequence > entry->aside) {
        if (entry->aside == 0)
            names->asides[names->aside_count++] = (uint32_t)(entry - names->entries);
        entry->aside = sequence;
    }
    return true;
}

void names_count_drained(void *ctx, uint64_t producer, uint64_t sequence)
{
    struct names_drain *drain = ctx;
    if (names_set_aside(drain->names, producer, sequence) || drain->looked)
        return;
    /* Whoever had the name when the record was claimed has it in the table now: one look for each copy is enough. */
    drain->looked = true;
    struct names_look look = {.names = drain->names, .view = drain->view};
    int r = guard_run(names_learn_step, &look);
    if (r < 0)
        drain->error = r;
    names_set_aside(drain->names, producer, sequence);
}

void names_written(struct names *names, bool written)
{
    for (uint32_t i = 0; i < names->aside_count; i++) {
        struct names_entry *entry = &names->entries[names->asides[i]];
        if (written)
            names_count(names, entry, entry->aside);
        entry->aside = 0;
    }
    names->aside_count = 0;
}

void names_cut(struct names *names, uint64_t written)
{
    if (names->is_cut)
        return; /* what was cut off before waits yet */
    uint32_t *cuts = names->cuts;
    names->cuts = names->dirty;
    names->cut_count = names->dirty_count;
    names->is_cut = true;
    names->cut_end = written;
    names->dirty = cuts;
    names->dirty_count = 0;
    for (uint32_t i = 0; i < names->cut_count; i++)
        names->entries[names->cuts[i]].cut = names->entries[names->cuts[i]].pending;
}

static void names_merge(struct names *names, uint64_t position)
{
    for (uint32_t i = 0; i < names->cut_count; i++)
        names->entries[names->cuts[i]].durable = names->entries[names->cuts[i]].cut;
    names->changed |= names->cut_count > 0;
    names->cut_count = 0;
    names->is_cut = false;
    names->position = position;
}

void names_synced(struct names *names, uint64_t durable, uint64_t written)
{
    if (durable < names->unmerged)
        return; /* what was counted before the start reaches further than what is synced by now */
    names->unmerged = 0;
    if (names->is_cut && durable >= names->cut_end)
        names_merge(names, names->cut_end);
    if (durable < written)
        return;
    names_cut(names, written);
    names_merge(names, durable);
}

/* -- saving --------------------------------------------------------------------------------------------------------- */

int names_save(struct names *names, struct journal_writer *writer)
{
    struct journal_name *producers = calloc(names->count + 1u, sizeof *producers);
    if (!producers)
        return -ENOMEM;
    for (uint32_t i = 0; i < names->count; i++) {
        memcpy(producers[i].name, names->entries[i].name, RING_NAME_BYTES);
        producers[i].value = names->entries[i].durable;
    }
    struct journal_names save = {.position = names->position,
                                 .producer_count = names->count,
                                 .cursor_count = names->cursor_count,
                                 .producers = producers,
                                 .cursors = names->cursors};
    int r = journal_save_names(writer, &save);
    free(producers);
    if (r == 0)
        names->changed = names->unsaved_name = false;
    return r;
}

static int names_cursors_step(void *argument)
{
    struct names_look *look = argument;
    const struct ring_view *view = look->view;
    struct names *names = look->names;
    names->cursors_now_count = 0;
    for (uint32_t i = 0; i < view->geometry.max_cursors; i++) {
        struct journal_name *to = &names->cursors_now[names->cursors_now_count];
        if (mem_load_acquire(&view->cursors[i].state) != RING_ENTRY_USED) /* E9 ready */
            continue;
        memset(to, 0, sizeof *to);
        memcpy(to->name, view->cursors[i].name, sizeof to->name);
        to->value = mem_load_acquire(&view->cursors[i].position);
        if (to->value != UINT64_MAX && memchr(to->name, 0, sizeof to->name) && shm_name_check(to->name) == 0)
            names->cursors_now_count++;
    }
    return 0;
}

static void names_cursors_take(struct names *names)
{
    uint32_t count = names->cursors_now_count;
    bool same = count == names->cursor_count;
    for (uint32_t i = 0; i < count && same; i++)
        same = names->cursors[i].value == names->cursors_now[i].value &&
               strcmp(names->cursors[i].name, names->cursors_now[i].name) == 0;
    if (same)
        return;
    struct journal_name *before = names->cursors;
    names->cursors = names->cursors_now;
    names->cursor_count = count;
    names->cursors_now = before;
    names->changed = true;
}

int names_checkpoint(struct names *names, const struct ring_view *view, struct journal_writer *writer, uint64_t now_ns)
{
    if (now_ns != UINT64_MAX && now_ns - names->looked_ns < NAMES_CHECKPOINT_NS)
        return 0;
    names->looked_ns = now_ns != UINT64_MAX ? now_ns : 0;
    struct names_look look = {.names = names, .view = view};
    int r = guard_run(names_cursors_step, &look);
    if (r < 0)
        return r;
    names_cursors_take(names);
    return names->changed ? names_save(names, writer) : 0;
}

static uint64_t names_lowest(const struct journal_name *cursors, uint32_t count)
{
    uint64_t lowest = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++)
        lowest = cursors[i].value < lowest ? cursors[i].value : lowest;
    return lowest;
}

int names_floor(struct names *names, const struct ring_view *view, uint64_t *ret_position)
{
    struct names_look look = {.names = names, .view = view};
    int r = guard_run(names_cursors_step, &look);
    if (r < 0)
        return r;
    uint64_t now = names_lowest(names->cursors_now, names->cursors_now_count);
    uint64_t saved = names_lowest(names->cursors, names->cursor_count);
    *ret_position = now < saved ? now : saved;
    return 0;
}

/* -- restoring ------------------------------------------------------------------------------------------------------ */

bool names_restore(const struct names *names, const struct ring_view *view)
{
    uint64_t start = view->identity.start;
    for (uint32_t i = 0; i < names->count && i < view->geometry.max_producers; i++) {
        struct ring_producer *producer = &view->producers[i];
        memcpy(producer->name, names->entries[i].name, RING_NAME_BYTES);
        mem_store_relaxed(&producer->hash, names->entries[i].hash);
        mem_store_relaxed(&producer->sequence, names->entries[i].durable);
        mem_store_relaxed(&producer->scan, start);
        mem_store_relaxed(&producer->state, RING_ENTRY_USED);
    }
    for (uint32_t i = 0; i < names->cursor_count && i < view->geometry.max_cursors; i++) {
        struct ring_cursor *cursor = &view->cursors[i];
        uint64_t position = names->cursors[i].value;
        memcpy(cursor->name, names->cursors[i].name, RING_NAME_BYTES);
        /* It may stand on a record that was lost; it cannot stand ahead of all that will ever be. */
        mem_store_relaxed(&cursor->position, position < start ? position : start);
        mem_store_relaxed(&cursor->state, RING_ENTRY_USED);
    }
    return names->count <= view->geometry.max_producers && names->cursor_count <= view->geometry.max_cursors;
}
