/* SPDX-License-Identifier: Apache-2.0 */
/* What a group is doing, for show. */
#include <string.h>

#include "group/internal.h"

static void count_entry(const struct group_view *view, uint32_t index, struct group_counts *counts)
{
    const struct group_entry *entry = &view->entries[index];
    uint64_t word = mem_load_acquire(&entry->word); /* E12 take */
    uint32_t state = entry_state(word);
    if (state == GROUP_FREE)
        return;
    counts->entries_used++;
    bool held = state == GROUP_HELD || (state == GROUP_PLANNED && plan_came_true(view, index, word));
    if (!held && state != GROUP_OPEN)
        return;
    uint32_t messages = (uint32_t)__builtin_popcount(entry_mask(word));
    uint64_t start = mem_load_acquire(&entry->start);
    if (messages && start < counts->low_water)
        counts->low_water = start;
    if (held)
        counts->held += messages;
    else if (entry_owner(word) == GROUP_DELAYED)
        counts->delayed += messages;
    else
        counts->open += messages;
}

void group_count(const struct group_view *view, uint64_t near, struct group_counts *ret_counts)
{
    struct group_counts counts = {0};
    counts.cursor = cursor_position(mem_load_acquire(&view->header->cursor), near);
    counts.low_water = counts.cursor;
    uint32_t used = entries_used(view);
    for (uint32_t i = 0; i < used; i++)
        count_entry(view, i, &counts);
    for (uint32_t i = 0; i < view->options.worker_count; i++) {
        const struct group_line *line = &view->lines[i];
        counts.taken += mem_load_relaxed(&line->taken);
        counts.acked += mem_load_relaxed(&line->acked);
        counts.returned += mem_load_relaxed(&line->returned);
        counts.refused += mem_load_relaxed(&line->refused);
        counts.missing += mem_load_relaxed(&line->missing);
    }
    *ret_counts = counts;
}
