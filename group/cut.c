/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting runs of new messages off the log. The swap of the cursor is the claim: it names the entry, which names the owner.
 *
 * 1. An entry that is PLANNED, and that the cursor does not name or does not stand at the end of, has not come true, and
 *    never will once its owner is dead: the swap that makes it so is the owner's alone, and whoever takes the name out of the
 *    cursor has settled it before.
 * 2. The entry is reserved before the cursor is read: from then on nobody but its owner can make the cursor name it, so a
 *    name found there is not a memory of the entry's last life.
 *
 * Killed before the cursor's swap: the entry is RESERVED or PLANNED, the messages were never claimed. Behind it: PLANNED,
 * and true; who cuts next, ends leases or resolves the dead finds that out.
 */
#include <errno.h>

#include "group/internal.h"

/* -- entries to be had ------------------------------------------------------------------------------------------------ */

static bool try_reserve(struct group_worker *worker, uint32_t index, uint64_t *ret_word)
{
    struct mem_u64 *word = &worker->view->entries[index].word;
    uint64_t held = mem_load_acquire(word);
    *ret_word = entry_make(GROUP_RESERVED, 0, worker->owner, 0, entry_generation(held));
    if (entry_state(held) != GROUP_FREE || !mem_swap(word, held, *ret_word)) /* E12 take */
        return false;
    worker->hint = index;
    return true;
}

uint32_t entry_reserve(struct group_worker *worker, uint64_t *ret_word)
{
    struct group_view *view = worker->view;
    if (worker->kept) {
        uint32_t kept = worker->kept;
        worker->kept = 0;
        *ret_word = worker->kept_word;
        return kept;
    }
    for (;;) {
        uint32_t used = entries_used(view);
        for (uint32_t i = 0; i < used; i++) {
            uint32_t index = worker->hint + i < used ? worker->hint + i : worker->hint + i - used;
            if (index < used && try_reserve(worker, index, ret_word))
                return index + 1;
        }
        if (used == view->options.entry_count)
            return 0;
        mem_swap(&view->header->used, used, used + 1); /* first: who looks at all used ones must see what is reserved */
        worker->hint = used;
    }
}

void entry_keep(struct group_worker *worker, uint32_t index, uint64_t word)
{
    worker->kept = index + 1;
    worker->kept_word = word;
}

uint64_t entry_done(const struct group_worker *worker, uint64_t word)
{
    return entry_empty(word, worker->kept ? 0 : worker->owner);
}

int group_reserve(struct group_worker *worker)
{
    uint64_t word;
    uint32_t entry = entry_reserve(worker, &word);
    if (entry == 0)
        return -ENOSPC;
    entry_keep(worker, entry - 1, word);
    return 0;
}

/* -- plans ------------------------------------------------------------------------------------------------------------ */

static bool move_came_true(const struct group_view *view, uint32_t index, uint64_t word, uint64_t plan)
{
    const struct group_entry *source = entry_at(view, plan_source(plan) - 1);
    if (!source)
        return false;
    uint64_t from = mem_load_acquire(&source->word); /* E12 take */
    return (entry_state(from) == GROUP_HELD || entry_state(from) == GROUP_OPEN) && entry_last(from) == index + 1 &&
           entry_generation(from) == plan_generation(plan) && (entry_mask(from) & entry_mask(word)) == 0;
}

bool plan_came_true(const struct group_view *view, uint32_t index, uint64_t word)
{
    const struct group_entry *entry = &view->entries[index];
    uint64_t plan = mem_load_acquire(&entry->plan); /* E11 plan */
    if (plan_source(plan) != 0)
        return move_came_true(view, index, word, plan);
    uint64_t end = run_end(mem_load_acquire(&entry->end));
    uint64_t cursor = mem_load_acquire(&view->header->cursor); /* E12 take */
    return cursor_tip(cursor) == index + 1 && cursor_stands_at(cursor, end);
}

uint64_t plan_fulfilled(const struct group_view *view, uint32_t index, uint64_t word)
{
    uint64_t plan = mem_load_acquire(&view->entries[index].plan); /* E11 plan */
    if (plan_source(plan) == 0)
        return entry_become(word, GROUP_HELD, entry_owner(word));
    return entry_become(word, GROUP_OPEN, plan_owner(plan));
}

void settle_last(const struct group_view *view, uint32_t index, uint64_t word)
{
    uint32_t last = entry_last(word) - 1;
    struct group_entry *entry = entry_at(view, last);
    if (!entry)
        return;
    uint64_t planned = mem_load_acquire(&entry->word); /* E11 plan */
    if (entry_state(planned) != GROUP_PLANNED)
        return;
    uint64_t plan = mem_load_acquire(&entry->plan);
    bool told = plan_source(plan) == index + 1 && plan_generation(plan) == entry_generation(word) &&
                (entry_mask(word) & entry_mask(planned)) == 0;
    if (told && mem_swap(&entry->word, planned, entry_become(planned, GROUP_OPEN, plan_owner(plan))))
        tell_opened(view);
}

/* The same for the entry that the cursor names. */
static void settle_tip(const struct group_view *view, uint64_t cursor)
{
    struct group_entry *entry = entry_at(view, cursor_tip(cursor) - 1);
    if (!entry)
        return;
    uint64_t planned = mem_load_acquire(&entry->word); /* E11 plan */
    if (entry_state(planned) != GROUP_PLANNED)
        return;
    bool told = plan_source(mem_load_acquire(&entry->plan)) == 0 &&
                cursor_stands_at(cursor, run_end(mem_load_acquire(&entry->end)));
    if (told)
        mem_swap(&entry->word, planned, entry_become(planned, GROUP_HELD, entry_owner(planned))); /* E12 take */
}

/* -- the claim -------------------------------------------------------------------------------------------------------- */

int group_cursor(struct group_worker *worker, uint64_t near, struct group_cut *ret_cut)
{
    if (!worker->kept) /* see 2. above */
        return -EINVAL;
    uint64_t cursor = mem_load_acquire(&worker->view->header->cursor); /* E12 take */
    settle_tip(worker->view, cursor);
    *ret_cut = (struct group_cut){cursor, cursor_position(cursor, near)};
    return 0;
}

int group_skip(struct group_worker *worker, const struct group_cut *cut, uint64_t to)
{
    return mem_swap(&worker->view->header->cursor, cut->cursor, cursor_make(to, 0)) ? 0 : -EAGAIN; /* E12 take */
}

int group_cut(struct group_worker *worker, const struct group_cut *cut, struct group_run *run)
{
    struct group_view *view = worker->view;
    if (!worker->kept || run->count == 0 || run->count > GROUP_RUN_MAX)
        return -EINVAL;
    uint32_t index = worker->kept - 1;
    struct group_entry *entry = &view->entries[index];
    run->entry = index;
    run->generation = entry_generation(worker->kept_word);
    run->mask = (1u << run->count) - 1;
    run->attempt = 1;
    mem_store_release(&entry->when, run->lease_ns);        /* E11 plan */
    mem_store_release(&entry->start, run->start);          /* E11 plan */
    mem_store_release(&entry->end, run->end | run->count); /* E11 plan */
    mem_store_release(&entry->plan, PLAN_CUT);             /* E11 plan */
    uint64_t planned = entry_make(GROUP_PLANNED, run->mask, worker->owner, run->attempt, run->generation);
    mem_store_release(&entry->word, planned);                                              /* E11 plan */
    if (!mem_swap(&view->header->cursor, cut->cursor, cursor_make(run->end, index + 1))) { /* E12 take */
        /* Each plan has a generation of its own, so that who looked at this one cannot settle the next. */
        worker->kept_word = entry_empty(planned, worker->owner);
        mem_store_release(&entry->word, worker->kept_word);
        return -EAGAIN;
    }
    worker->kept = 0;
    uint64_t held = entry_become(planned, GROUP_HELD, worker->owner);
    if (!mem_swap(&entry->word, planned, held) && mem_load_acquire(&entry->word) != held)
        return -ECANCELED;
    return 0;
}
