/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ending leases. A taker stores its lease just behind the swap that takes: so what is found past its time is ended only when
 * the same word is found past it again, a while later. One who sleeps that long in between loses what it took, and is told
 * at its ack.
 */
#include "group/internal.h"

/* Past its time, and in somebody's hands? *ret_word: as it was found. */
static bool is_suspect(const struct group_view *view, uint32_t index, uint64_t now_ns, uint64_t *ret_word)
{
    const struct group_entry *entry = &view->entries[index];
    uint64_t word = mem_load_acquire(&entry->word); /* E11 plan */
    uint32_t state = entry_state(word);
    *ret_word = word;
    if ((state != GROUP_HELD && state != GROUP_PLANNED) || entry_owner(word) == 0 ||
        mem_load_acquire(&entry->when) > now_ns)
        return false;
    return state == GROUP_HELD || plan_came_true(view, index, word);
}

/* True: it is open now. */
static bool end_lease(struct group_view *view, uint32_t index, uint64_t word)
{
    struct mem_u64 *at = &view->entries[index].word;
    if (entry_state(word) == GROUP_PLANNED) { /* and has come true */
        uint64_t fulfilled = plan_fulfilled(view, index, word);
        if (!mem_swap(at, word, fulfilled))
            return false;
        if (entry_state(fulfilled) == GROUP_OPEN)
            return true;
        word = fulfilled;
    }
    return mem_swap(at, word, entry_become(word, GROUP_OPEN, 0)); /* E12 take */
}

bool group_end_leases(struct group_view *view, struct group_ender *ender, uint64_t now_ns, bool *ret_suspects)
{
    bool opened = false;
    uint64_t word;
    if (now_ns - ender->looked_ns < GROUP_TWICE_NS) {
        *ret_suspects = ender->count != 0;
        return false;
    }
    for (uint32_t i = 0; i < ender->count; i++) {
        uint32_t index = ender->suspects[i].entry;
        if (is_suspect(view, index, now_ns, &word) && word == ender->suspects[i].word)
            opened |= end_lease(view, index, word);
    }
    if (opened)
        tell_opened(view);
    uint32_t used = entries_used(view);
    uint32_t at = ender->next < used ? ender->next : 0;
    ender->count = 0;
    ender->looked_ns = now_ns;
    for (uint32_t i = 0; i < used && ender->count < GROUP_SUSPECTS; i++, at = at + 1 < used ? at + 1 : 0) {
        if (!is_suspect(view, at, now_ns, &word))
            continue;
        ender->suspects[ender->count].entry = at;
        ender->suspects[ender->count++].word = word;
    }
    ender->next = at;
    *ret_suspects = ender->count != 0;
    return opened;
}
