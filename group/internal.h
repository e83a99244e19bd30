/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of group/ share with each other. */
#ifndef WEIR_GROUP_INTERNAL_H
#define WEIR_GROUP_INTERNAL_H

#include "group/group.h"
#include "group/words.h"

/* NULL: there is no entry of that number. */
static inline struct group_entry *entry_at(const struct group_view *view, uint32_t index)
{
    return index < view->options.entry_count ? &view->entries[index] : NULL;
}

/* How many entries have ever been reserved. */
static inline uint32_t entries_used(const struct group_view *view)
{
    uint64_t used = mem_load_acquire(&view->header->used);
    return used < view->options.entry_count ? (uint32_t)used : view->options.entry_count;
}

/* An entry was made OPEN: who looks at `opened` afterwards looks at the entries. */
static inline void tell_opened(const struct group_view *view)
{
    mem_add(&view->header->opened, 1);
}

/*
 * Has the plan of entry `index`, PLANNED as `word` says, come true? The cursor tells, or the word of the entry that the
 * messages are moved out of. True only where that word, and the plan, are of the same life: where the word changed meanwhile the
 * caller's swap on it fails.
 */
bool plan_came_true(const struct group_view *view, uint32_t index, uint64_t word);
/* What a plan that has come true makes of the word. */
uint64_t plan_fulfilled(const struct group_view *view, uint32_t index, uint64_t word);

/* A FREE entry becomes RESERVED: its number + 1, *ret_word as it is then; 0: none is free. */
uint32_t entry_reserve(struct group_worker *worker, uint64_t *ret_word);
/* What a worker has finished it keeps for its next run, once. The word to put in place of `word`. */
uint64_t entry_done(const struct group_worker *worker, uint64_t word);
void entry_keep(struct group_worker *worker, uint32_t index, uint64_t word);

/* Before the word of entry `index` is displaced: what it names as last, if that is not settled. */
void settle_last(const struct group_view *view, uint32_t index, uint64_t word);

#endif
