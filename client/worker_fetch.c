/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a worker's next run comes from: what came back, or new messages cut off the log; and its messages, from memory or
 * from the journal as a subscriber finds them. A run lies in one segment, which stays announced while its messages are in
 * hand.
 */
#include <errno.h>
#include <string.h>

#include "client/wait.h"
#include "client/worker.h"

#define LOOK_NS ((uint64_t)SLEEP_BOUND_NS)

uint64_t worker_lease_end(const struct weir_worker *worker, uint64_t now_ns)
{
    uint64_t lease_ns = worker->view.options.lease_ns;
    return lease_ns < UINT64_MAX - now_ns ? now_ns + lease_ns : UINT64_MAX;
}

static void tell(const struct weir_worker *worker)
{
    group_tell(&worker->sub->attachment.view, &worker->view);
}

static const char *ring_name(const struct weir_worker *worker)
{
    return worker->sub->attachment.view.identity.name;
}

bool worker_look_due(const struct weir_worker *worker, uint64_t now_ns)
{
    return now_ns - worker->looked_ns >= (worker->suspects ? 2ull * GROUP_TWICE_NS : LOOK_NS);
}

/* The dead, and leases that have run out: weird looks after them, if it is there. */
static void look_after_others(struct weir_worker *worker, uint64_t now_ns)
{
    bool opened;
    if (!worker_look_due(worker, now_ns))
        return;
    worker->looked_ns = now_ns;
    group_sweep(&worker->view, group_worker_dead, &worker->sub->attachment.view, &opened);
    opened |= group_end_leases(&worker->view, &worker->ender, now_ns, &worker->suspects);
    worker->group.due_ns = 0; /* look at all entries, whether or not somebody died before he told of one */
    if (opened)
        tell(worker);
}

/*
 * Messages from where the reader stands, as far as they are there, within its segment: their number, 0, or an error with
 * none.
 */
static int read_ahead(struct weir_sub *sub, struct ring_item *items, uint32_t most)
{
    int r = backlog_fetch(sub, &items[0]);
    if (r <= 0)
        return r;
    bool in_journal = sub->in_journal;
    uint32_t count = 0;
    sub->reader.stay = true;
    do {
        backlog_pass(sub, &items[count++]);
    } while (count < most &&
             (in_journal ? backlog_fetch(sub, &items[count]) : ring_reader_peek(&sub->reader, &items[count])) > 0);
    sub->reader.stay = false;
    return (int)count;
}

static int tell_gap(struct weir_worker *worker, uint64_t from, uint64_t to)
{
    worker->gap = (struct weir_gap){.from = from, .to = to, .reason = worker->sub->gap.reason};
    struct mem_u64 *missing = &worker->group.line->missing;
    mem_store_relaxed(missing, mem_load_relaxed(missing) + 1);
    return fail(-EPIPE, "messages from position %llu to %llu are missing", (unsigned long long)from,
                (unsigned long long)to);
}

/* -- what came back ---------------------------------------------------------------------------------------------------- */

/* Others may have written it: a run lies within a segment of the log, and its mask tells of no more messages than it has. */
static bool is_plausible(const struct weir_worker *worker)
{
    const struct ring_view *view = &worker->sub->attachment.view;
    const struct group_run *run = &worker->run;
    uint32_t shift = view->geometry.segment_shift;
    return run->start % RING_UNIT_BYTES == 0 && run->start < run->end &&
           run->start >> shift == (run->end - 1) >> shift && run->end <= ring_end_position(view) && run->count >= 1 &&
           run->count <= GROUP_RUN_MAX && run->mask != 0 && run->mask >> run->count == 0;
}

/* Back to the group, as if this worker had never had them. -ENOSPC: they stay. */
static int put_back(struct weir_worker *worker, uint32_t bits)
{
    int r = bits ? group_give_back(&worker->group, worker->run.entry, worker->run.generation, bits, 0, true) : 0;
    if (r == 0 && bits) {
        worker->run.mask &= ~bits;
        tell(worker);
    }
    return r;
}

static int no_sense(struct weir_worker *worker)
{
    return fail(-EBADMSG, "group %s of ring %s is damaged: an entry tells of messages that there are not",
                worker->view.identity.name, ring_name(worker));
}

/*
 * The first message that is wanted is gone: `found` is -EPIPE, told just now, or so many were read before it. Those behind the
 * gap are counted from the run's end. Finishes what is gone.
 */
static int go_past_gap(struct weir_worker *worker, int found)
{
    struct weir_sub *sub = worker->sub;
    struct group_run *run = &worker->run;
    uint32_t kept = 0;
    bool told = found == -EPIPE;
    while (weir_sub_position(sub) < run->end && kept < run->count) {
        int r = backlog_fetch(sub, &worker->items[kept]);
        if (r == -EPIPE) {
            told = true;
            kept = 0;
        } else if (r <= 0) {
            if (r < 0)
                put_back(worker, run->mask);
            return r < 0 ? r : no_sense(worker);
        } else if (worker->items[kept].next > run->end) {
            break;
        } else {
            backlog_pass(sub, &worker->items[kept++]);
        }
    }
    if (!told)
        return no_sense(worker);
    uint32_t first = run->count - kept;
    memmove(&worker->items[first], worker->items, kept * sizeof worker->items[0]);
    uint32_t gone = run->mask & ((1u << first) - 1);
    if (gone && group_finish(&worker->group, run->entry, run->generation, gone) < 0)
        return 0; /* it was taken away meanwhile */
    run->mask &= ~gone;
    worker->left = run->mask;
    uint64_t from = sub->gap.from > run->start ? sub->gap.from : run->start;
    return tell_gap(worker, from, sub->gap.to < run->end ? sub->gap.to : run->end);
}

/* The run that was taken: 1: its messages are in hand; 0: it is not ours any more; -EPIPE; other errors. */
static int load_taken(struct weir_worker *worker)
{
    struct group_run *run = &worker->run;
    worker->left = 0;
    if (!is_plausible(worker))
        return no_sense(worker);
    /* One message that kills whoever touches it is to take no others with it: each of them comes back by itself. */
    uint32_t others = run->attempt > 1 ? run->mask & (run->mask - 1) : 0;
    if (put_back(worker, others) == -ECANCELED)
        return 0;
    backlog_seek(worker->sub, run->start);
    int found = read_ahead(worker->sub, worker->items, 32u - (uint32_t)__builtin_clz(run->mask));
    if (found < 0 && found != -EPIPE) {
        put_back(worker, run->mask);
        return found;
    }
    while (found > 0 && worker->items[found - 1].next > run->end)
        found--;
    uint32_t there = found > 0 ? run->mask & ((1u << found) - 1) : 0;
    if (there == 0)
        return go_past_gap(worker, found);
    put_back(worker, run->mask & ~there);
    worker->left = there;
    return 1;
}

/* -- new ones ------------------------------------------------------------------------------------------------------------ */

static int cut_new(struct weir_worker *worker, uint32_t most, uint64_t now_ns)
{
    struct weir_sub *sub = worker->sub;
    const struct ring_view *view = &sub->attachment.view;
    struct group_run *run = &worker->run;
    worker->full = group_reserve(&worker->group) < 0;
    while (!worker->full) {
        struct group_cut cut;
        group_cursor(&worker->group, weir_sub_position(sub), &cut);
        if (cut.position != weir_sub_position(sub))
            backlog_seek(sub, cut.position);
        int found = read_ahead(sub, worker->items, most);
        if (found == -EPIPE && group_skip(&worker->group, &cut, sub->gap.to) == 0)
            return tell_gap(worker, sub->gap.from, sub->gap.to);
        if (found == -EPIPE)
            continue; /* another one went past it, or on from there */
        if (found == 0 && cut.position > ring_end_position(view) + (1ull << view->geometry.segment_shift))
            return fail(-EBADMSG, "group %s of ring %s is damaged: it stands behind the end of the ring",
                        worker->view.identity.name, ring_name(worker));
        if (found <= 0)
            return found;
        *run = (struct group_run){.count = (uint32_t)found,
                                  .start = worker->items[0].position,
                                  .end = worker->items[found - 1].next,
                                  .lease_ns = worker_lease_end(worker, now_ns)};
        int r = group_cut(&worker->group, &cut, run);
        if (r == 0) {
            worker->left = run->mask;
            return 1;
        }
        if (r == -ECANCELED) /* this worker slept for as long as a lease: its messages come back */
            worker->full = group_reserve(&worker->group) < 0;
    }
    return 0;
}

int worker_fetch(struct weir_worker *worker, uint32_t most)
{
    uint64_t now_ns = shm_now_ns();
    worker->leased_ns = now_ns;
    look_after_others(worker, now_ns);
    while (group_take(&worker->group, now_ns, worker_lease_end(worker, now_ns), &worker->run) > 0) {
        int r = load_taken(worker);
        if (r != 0)
            return r;
    }
    return cut_new(worker, most, now_ns);
}
