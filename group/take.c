/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking what came back, finishing it, giving it back. One swap on one entry's word decides each of these; whoever's run was
 * taken away, whatever it slept through, finds another word there and is refused.
 *
 * A move takes messages out of a run into an entry of their own: the target is PLANNED with what it will be, then the run's
 * word loses the bits and names the target (the move), then the target becomes what it says. Who displaces that name from
 * the word (the next take) settles it before; so does the owner, before its next move.
 */
#include <errno.h>

#include "group/internal.h"

static bool is_mine(const struct group_worker *worker, uint64_t word, uint32_t generation)
{
    return entry_state(word) == GROUP_HELD && entry_owner(word) == worker->owner &&
           entry_generation(word) == (generation & GROUP_GENERATION_BITS);
}

/* -- take -------------------------------------------------------------------------------------------------------------- */

/* 1: taken; 0: it is not to be had. */
static int take_entry(struct group_worker *worker, uint32_t index, uint64_t now_ns, uint64_t lease_ns,
                      struct group_run *run)
{
    struct group_entry *entry = &worker->view->entries[index];
    uint64_t word = mem_load_acquire(&entry->word); /* E12 take */
    if (entry_state(word) != GROUP_OPEN)
        return 0;
    uint64_t when = mem_load_acquire(&entry->when);
    if (entry_owner(word) == GROUP_DELAYED && when > now_ns) {
        if (when < worker->due_seen_ns)
            worker->due_seen_ns = when;
        return 0;
    }
    settle_last(worker->view, index, word);
    if (entry_mask(word) == 0) { /* all of it was moved, and its owner did not come to free it */
        mem_swap(&entry->word, word, entry_empty(word, 0));
        return 0;
    }
    uint32_t attempt = attempt_after(entry_attempt(word));
    uint64_t held = entry_make(GROUP_HELD, entry_mask(word), worker->owner, attempt, entry_generation(word) + 1);
    if (!mem_swap(&entry->word, word, held)) /* E12 take */
        return 0;
    uint64_t end = mem_load_acquire(&entry->end);
    *run = (struct group_run){.entry = index,
                              .generation = entry_generation(held),
                              .mask = entry_mask(held),
                              .count = run_count(end),
                              .attempt = attempt,
                              .start = mem_load_acquire(&entry->start),
                              .end = run_end(end),
                              .lease_ns = lease_ns};
    mem_swap(&entry->when, when, lease_ns); /* not a store: where it was taken away already, `when` is another's */
    /* Where it was taken away already, start and end may be those of the entry's next life. */
    return mem_load_acquire(&entry->word) == held;
}

bool group_may_take(const struct group_worker *worker, uint64_t now_ns)
{
    return worker->looking || worker->due_ns <= now_ns ||
           mem_load_acquire(&worker->view->header->opened) != worker->opened;
}

/* Takes the first that is to be had, from where the last look ended on. */
static int go_on_looking(struct group_worker *worker, uint64_t now_ns, uint64_t lease_ns, struct group_run *ret_run)
{
    if (!worker->looking) {
        worker->opened = mem_load_acquire(&worker->view->header->opened);
        worker->looking = true;
        worker->next = 0;
        worker->due_seen_ns = UINT64_MAX;
    }
    uint32_t used = entries_used(worker->view);
    while (worker->next < used) {
        if (take_entry(worker, worker->next++, now_ns, lease_ns, ret_run))
            return 1;
    }
    worker->looking = false;
    worker->due_ns = worker->due_seen_ns;
    return 0;
}

int group_take(struct group_worker *worker, uint64_t now_ns, uint64_t lease_ns, struct group_run *ret_run)
{
    /* The rest of a look that was begun before, and a whole one: what came back before this call is seen. */
    for (uint32_t look = 0; look < 2 && group_may_take(worker, now_ns); look++) {
        if (go_on_looking(worker, now_ns, lease_ns, ret_run))
            return 1;
    }
    return 0;
}

/* -- finish ------------------------------------------------------------------------------------------------------------- */

int group_finish(struct group_worker *worker, uint32_t index, uint32_t generation, uint32_t bits)
{
    struct group_entry *entry = entry_at(worker->view, index);
    if (!entry || bits == 0)
        return -ECANCELED;
    for (;;) {
        uint64_t word = mem_load_acquire(&entry->word);
        if (!is_mine(worker, word, generation) || (entry_mask(word) & bits) != bits)
            return -ECANCELED;
        bool all = entry_mask(word) == bits;
        uint64_t rest = all ? entry_done(worker, word) : entry_without(word, bits);
        if (!mem_swap(&entry->word, word, rest))
            continue; /* whoever else changes it takes it away */
        if (entry_state(rest) == GROUP_RESERVED)
            entry_keep(worker, index, rest);
        return 0;
    }
}

/* -- give back ---------------------------------------------------------------------------------------------------------- */

static int give_back_all(struct group_worker *worker, struct group_entry *entry, uint64_t word, uint64_t due_ns,
                         bool attempt_back)
{
    if (due_ns) {
        /* Not a store: where it was taken away meanwhile, `when` is the next owner's. */
        uint64_t lease_ns = mem_load_acquire(&entry->when);
        if (mem_load_acquire(&entry->word) != word || !mem_swap(&entry->when, lease_ns, due_ns))
            return -ECANCELED;
    }
    uint64_t open = entry_become(word, GROUP_OPEN, due_ns ? GROUP_DELAYED : 0);
    if (attempt_back)
        open -= 1ull << GROUP_ATTEMPT_SHIFT;
    if (!mem_swap(&entry->word, word, open)) /* E12 take */
        return -ECANCELED;
    tell_opened(worker->view);
    return 0;
}

static int give_back_some(struct group_worker *worker, uint32_t index, uint64_t word, uint32_t bits, uint64_t due_ns,
                          bool attempt_back)
{
    struct group_view *view = worker->view;
    struct group_entry *entry = &view->entries[index];
    uint64_t reserved;
    uint32_t number = entry_reserve(worker, &reserved);
    if (number == 0)
        return -ENOSPC;
    uint32_t to = number - 1;
    struct group_entry *target = &view->entries[to];
    mem_store_release(&target->when, due_ns);                           /* E11 plan */
    mem_store_release(&target->start, mem_load_acquire(&entry->start)); /* E11 plan */
    mem_store_release(&target->end, mem_load_acquire(&entry->end));     /* E11 plan */
    uint64_t plan = plan_move(index, entry_generation(word), due_ns != 0);
    mem_store_release(&target->plan, plan); /* E11 plan */
    uint64_t planned = entry_make(GROUP_PLANNED, bits, worker->owner, entry_attempt(word) - (attempt_back ? 1 : 0),
                                  entry_generation(reserved));
    mem_store_release(&target->word, planned);                                               /* E11 plan */
    if (!mem_swap(&entry->word, word, entry_with_last(entry_without(word, bits), number))) { /* E12 take */
        uint64_t kept = entry_done(worker, planned);
        mem_store_release(&target->word, kept);
        if (entry_state(kept) == GROUP_RESERVED)
            entry_keep(worker, to, kept);
        return -ECANCELED;
    }
    mem_swap(&target->word, planned, entry_become(planned, GROUP_OPEN, plan_owner(plan)));
    tell_opened(view);
    return 0;
}

int group_give_back(struct group_worker *worker, uint32_t index, uint32_t generation, uint32_t bits, uint64_t due_ns,
                    bool attempt_back)
{
    struct group_entry *entry = entry_at(worker->view, index);
    uint64_t word = entry ? mem_load_acquire(&entry->word) : 0;
    if (!entry || bits == 0 || !is_mine(worker, word, generation) || (entry_mask(word) & bits) != bits)
        return -ECANCELED;
    attempt_back = attempt_back && entry_attempt(word) > 0;
    if (entry_mask(word) == bits)
        return give_back_all(worker, entry, word, due_ns, attempt_back);
    return give_back_some(worker, index, word, bits, due_ns, attempt_back);
}

int group_extend(struct group_worker *worker, uint32_t index, uint32_t generation, uint64_t lease_ns)
{
    struct group_entry *entry = entry_at(worker->view, index);
    if (!entry)
        return -ECANCELED;
    uint64_t before = mem_load_acquire(&entry->when);
    if (!is_mine(worker, mem_load_acquire(&entry->word), generation) || !mem_swap(&entry->when, before, lease_ns))
        return -ECANCELED;
    return is_mine(worker, mem_load_acquire(&entry->word), generation) ? 0 : -ECANCELED;
}
