/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers' lines, and what the dead among them held. "The kernel says dead" comes first, then the words, then the line's id
 * again, then one swap on exactly what was read: a line is given out again only when no entry names it, so while it still
 * has the dead one's id, what names it was the dead one's.
 */
#include <errno.h>

#include "group/internal.h"

static void line_begin(struct group_worker *worker, struct group_view *view, uint32_t line, uint64_t id, uint64_t pid,
                       uint64_t now_ns)
{
    *worker = (struct group_worker){.view = view,
                                    .line = &view->lines[line],
                                    .id = id,
                                    .owner = line + 1,
                                    .looking = true, /* nobody tells a newcomer what came back before */
                                    .due_ns = UINT64_MAX,
                                    .due_seen_ns = UINT64_MAX};
    worker->opened = mem_load_acquire(&view->header->opened);
    mem_store_relaxed(&worker->line->attached_ns, now_ns);
    mem_store_release(&worker->line->pid, pid);
}

int group_join(struct group_worker *worker, struct group_view *view, uint64_t id, uint64_t pid, uint64_t now_ns,
               group_dead *dead, void *ctx)
{
    bool opened;
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < view->options.worker_count; i++) {
            if (mem_load_acquire(&view->lines[i].id) == 0 && mem_swap(&view->lines[i].id, 0, id)) {
                line_begin(worker, view, i, id, pid, now_ns);
                return 0;
            }
        }
        if (round == 0)
            group_sweep(view, dead, ctx, &opened); /* the newcomer looks at all of it anyway */
    }
    return -ENOSPC;
}

/* Words that change this often under a resolver's eyes are not the work of one dead worker: damage is left as it is. */
#define RELEASE_STEPS 8u

/* One step on an entry. False: it does not name the owner, or no more. */
static bool release_step(struct group_view *view, uint32_t index, uint32_t line, uint64_t id, bool *ret_opened)
{
    struct group_entry *entry = &view->entries[index];
    uint64_t word = mem_load_acquire(&entry->word); /* E12 take */
    uint32_t state = entry_state(word);
    uint64_t next;
    if (entry_owner(word) != line + 1 || state == GROUP_FREE || state > GROUP_HELD)
        return false;
    if (state == GROUP_HELD)
        next = entry_become(word, GROUP_OPEN, 0);
    else if (state == GROUP_PLANNED && plan_came_true(view, index, word))
        next = plan_fulfilled(view, index, word);
    else
        next = entry_empty(word, 0);
    if (mem_load_acquire(&view->lines[line].id) != id)
        return false;
    if (mem_swap(&entry->word, word, next) && entry_state(next) == GROUP_OPEN) /* E12 take */
        *ret_opened = true;
    return true;
}

bool group_resolve(struct group_view *view, uint32_t line, uint64_t id)
{
    bool opened = false;
    uint32_t used = entries_used(view);
    for (uint32_t i = 0; i < used; i++) {
        for (uint32_t step = 0; step < RELEASE_STEPS && release_step(view, i, line, id, &opened); step++) {
        }
    }
    if (opened)
        tell_opened(view);
    mem_swap(&view->lines[line].id, id, 0);
    return opened;
}

bool group_leave(struct group_worker *worker)
{
    worker->kept = 0;
    return group_resolve(worker->view, worker->owner - 1, worker->id);
}

uint32_t group_sweep(struct group_view *view, group_dead *dead, void *ctx, bool *ret_opened)
{
    uint32_t resolved = 0;
    *ret_opened = false;
    for (uint32_t i = 0; i < view->options.worker_count; i++) {
        uint64_t id = mem_load_acquire(&view->lines[i].id);
        if (id == 0 || !dead(ctx, id))
            continue;
        *ret_opened |= group_resolve(view, i, id);
        resolved++;
    }
    return resolved;
}
