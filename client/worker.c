/* SPDX-License-Identifier: Apache-2.0 */
/* Workers of groups: open, wait for the next message, acknowledge it or give it back. */
#include "client/worker.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/message.h"
#include "client/wait.h"

#define POLLS_PER_CLOCK 128u
#define ROUNDS_PER_LOOK 8u

/* -- open and close ------------------------------------------------------------------------------------------------------ */

static int join(struct weir_worker *worker, const char *group)
{
    const struct attachment *attachment = &worker->sub->attachment;
    int r = group_open(attachment, group, true, &worker->part, &worker->view);
    if (r < 0)
        return r;
    r = group_join(&worker->group, &worker->view, attachment->reader_id, (uint64_t)getpid(), shm_wall_ns(),
                   group_worker_dead, (void *)(uintptr_t)&attachment->view);
    if (r == -ENOSPC)
        return fail(r, "group %s of ring %s admits %u workers and all of them are alive", group,
                    attachment->view.identity.name, worker->view.options.worker_count);
    return r;
}

int weir_worker_open(const char *bus, const char *ring, const char *group, const struct weir_worker_options *given,
                     struct weir_worker **ret_worker)
{
    struct weir_worker_options options = WEIR_WORKER_OPTIONS_INIT;
    struct weir_sub_options sub_options = WEIR_SUB_OPTIONS_INIT;
    fail_clear();
    if (!group || !ret_worker || (given && given->size != sizeof options))
        return fail(-EINVAL, "weir_worker_open: group or ret_worker is NULL, or options.size is not "
                             "sizeof(struct weir_worker_options)");
    if (given)
        options = *given;
    if (options.prefetch > GROUP_RUN_MAX)
        return fail(-EINVAL, "prefetch is 1 to 16");
    struct weir_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return fail(-ENOMEM, "no memory for a worker");
    worker->prefetch = options.prefetch ? options.prefetch : GROUP_RUN_MAX;
    worker->random = shm_now_ns() ^ (uint64_t)(uintptr_t)worker;
    sub_options.from = WEIR_POSITION_END; /* the group says where */
    sub_options.spin_ns = options.spin_ns;
    int r = weir_sub_open(bus, ring, &sub_options, &worker->sub);
    if (r == 0)
        r = join(worker, group);
    if (r < 0) {
        weir_sub_close(worker->sub);
        shm_part_close(&worker->part);
        free(worker);
        return r;
    }
    *ret_worker = worker;
    return 0;
}

void weir_worker_close(struct weir_worker *worker)
{
    if (!worker)
        return;
    if (worker->sub->attachment.fork_generation == shm_fork_generation) {
        if (worker->left) /* not delivered: the attempt does not count */
            group_give_back(&worker->group, worker->run.entry, worker->run.generation, worker->left, 0, true);
        group_leave(&worker->group);
        group_tell(&worker->sub->attachment.view, &worker->view);
    }
    weir_sub_close(worker->sub);
    shm_part_close(&worker->part);
    free(worker);
}

/* -- wait ---------------------------------------------------------------------------------------------------------------- */

/* 0: no. */
static int check_removed(const struct weir_worker *worker)
{
    const struct ring_view *view = &worker->sub->attachment.view;
    if (mem_load_acquire(&worker->view.header->removed) != 0)
        return fail(-EIDRM, "group %s of ring %s was removed", worker->view.identity.name, view->identity.name);
    if (mem_load_acquire(&view->control->removed) != 0)
        return fail(-EIDRM, "ring %s was removed", view->identity.name);
    return 0;
}

/* Polls until there is a run or spin_ns are over; 0: they are. Yields, since the publisher may need this processor. */
static int spin(struct weir_worker *worker, uint32_t most, const struct wait *wait)
{
    struct weir_sub *sub = worker->sub;
    uint64_t start_ns = shm_now_ns();
    for (uint32_t rounds = 1;; rounds++) {
        bool pending, news = sub->in_journal || ring_reader_poll(&sub->reader, POLLS_PER_CLOCK);
        uint64_t now_ns = shm_now_ns();
        news |= group_may_take(&worker->group, now_ns) || worker_look_due(worker, now_ns);
        int r = news ? worker_fetch(worker, most) : 0;
        if (r == 0 && rounds % ROUNDS_PER_LOOK == 0 && (r = check_removed(worker)) == 0 &&
            (r = backlog_look(sub, &pending)) > 0)
            r = worker_fetch(worker, most);
        if (r != 0)
            return r;
        if (now_ns - start_ns >= (uint64_t)sub->spin_ns || now_ns >= wait->deadline_ns)
            return 0;
        sched_yield();
    }
}

/* How long a sleep may be: less where something is known to come, or to be wrong. */
static int64_t sleep_bound(const struct weir_worker *worker, bool soon)
{
    if (worker->suspects)
        return 2 * (int64_t)GROUP_TWICE_NS;
    int64_t bound_ns = soon || worker->full ? SLEEP_BOUND_PENDING_NS : SLEEP_BOUND_NS;
    uint64_t now_ns = shm_now_ns(), due_ns = worker->group.due_ns;
    if (due_ns <= now_ns)
        return 1;
    return due_ns - now_ns < (uint64_t)bound_ns ? (int64_t)(due_ns - now_ns) : bound_ns;
}

MEM_COLD static int wait_run(struct weir_worker *worker, uint32_t most, int64_t timeout_ns)
{
    struct weir_sub *sub = worker->sub;
    struct ring_view *view = &sub->attachment.view;
    struct group_header *header = worker->view.header;
    struct wait wait = wait_start(timeout_ns);
    uint64_t records = 0, opened = 0;
    bool asked = false, fenced = false, pending;
    int r = sub->spin_ns > 0 ? spin(worker, most, &wait) : 0;
    while (r == 0) {
        /* What was asked for holds until somebody answers: a sleep that merely ran out costs no second fence. */
        if (!asked || mem_load_acquire(&view->control->records.seq) != records ||
            mem_load_acquire(&header->bell.seq) != opened) {
            records = ring_bell_ask(&view->control->records, &view->readers->records_want);
            opened = ring_bell_ask(&header->bell, &header->bell_want);
            fenced = view->ops->fence(view->ctx); /* E6 sleep */
            asked = true;
        }
        if ((r = worker_fetch(worker, most)) != 0 || (r = backlog_look(sub, &pending)) < 0)
            break;
        if (r > 0 &&
            !worker->full) { /* the dead's claim is out of the way; where no entry is free, messages may wait */
            r = 0;
            continue;
        }
        if ((r = check_removed(worker)) < 0)
            break;
        int64_t left = wait_left(&wait, sleep_bound(worker, pending || !fenced));
        if (left == 0)
            return fail(-ETIMEDOUT, "group %s had no further message in time", worker->view.identity.name);
        const struct shm_word words[] = {{attachment_futex(&view->control->records), (uint32_t)records},
                                         {attachment_futex(&header->bell), (uint32_t)opened}};
        if (shm_sleep_any(words, 2, left) == -EINTR)
            return fail(-EINTR, "interrupted while waiting for a message");
    }
    return r;
}

/* Who polls without ever waiting must meet the dead, too. */
MEM_COLD static int poll_once(struct weir_worker *worker, uint32_t most)
{
    struct weir_sub *sub = worker->sub;
    uint64_t now_ns = shm_coarse_ns();
    bool pending;
    int r = 0;
    if (now_ns - sub->looked_ns >= SLEEP_BOUND_PENDING_NS) {
        sub->looked_ns = now_ns;
        if ((r = backlog_look(sub, &pending)) > 0)
            r = worker_fetch(worker, most);
    }
    if (r == 0 && (r = check_removed(worker)) == 0) {
        fail_clear();
        r = -EAGAIN;
    }
    return r;
}

/* -- next ---------------------------------------------------------------------------------------------------------------- */

/*
 * What lies ready in the worker's own hands must not cost it its lease: that begins anew where a quarter has passed. False: it
 * was too late.
 */
static bool keep_lease(struct weir_worker *worker)
{
    uint64_t lease_ns = worker->view.options.lease_ns;
    if (lease_ns == UINT64_MAX)
        return true;
    uint64_t now_ns = shm_coarse_ns();
    if (now_ns < worker->leased_ns || now_ns - worker->leased_ns < lease_ns / 4)
        return true;
    worker->leased_ns = now_ns;
    if (group_extend(&worker->group, worker->run.entry, worker->run.generation, worker_lease_end(worker, now_ns)) == 0)
        return true;
    worker->left = 0;
    return false;
}

/* Messages are in hand: 1; or the error. */
static int next_run(struct weir_worker *worker, uint32_t most, int64_t timeout_ns)
{
    int r = attachment_check(&worker->sub->attachment);
    if (r < 0)
        return r;
    if (worker->left && keep_lease(worker))
        return 1;
    r = worker_fetch(worker, most);
    if (__builtin_expect(r == 0, 0))
        r = timeout_ns > 0 ? wait_run(worker, most, timeout_ns) : poll_once(worker, most);
    return r;
}

#define TICKET_BIT_SHIFT 14
#define TICKET_GENERATION_SHIFT 18

/* The next message in hand. -EBADMSG: it makes no sense; nobody gets it where `pass`, else it is still the next one. */
static int hand_out(struct weir_worker *worker, struct weir_task *ret_task, bool pass)
{
    const struct group_run *run = &worker->run;
    uint32_t bit = (uint32_t)__builtin_ctz(worker->left);
    int r = message_from_item(&worker->items[bit], &ret_task->message);
    if (r < 0 && pass)
        group_finish(&worker->group, run->entry, run->generation, 1u << bit);
    if (r == 0 || pass)
        worker->left &= worker->left - 1;
    if (r < 0)
        return r;
    ret_task->attempt = run->attempt;
    ret_task->reserved = 0;
    ret_task->ticket =
        run->entry | (uint64_t)bit << TICKET_BIT_SHIFT | (uint64_t)run->generation << TICKET_GENERATION_SHIFT;
    return 0;
}

static void count(struct mem_u64 *word, uint64_t more)
{
    mem_store_relaxed(word, mem_load_relaxed(word) + more);
}

MEM_HOT int weir_worker_next(struct weir_worker *worker, int64_t timeout_ns, struct weir_task *ret_task)
{
    int r = next_run(worker, worker->prefetch, timeout_ns);
    if (r > 0 && (r = hand_out(worker, ret_task, true)) == 0)
        count(&worker->group.line->taken, 1);
    return r;
}

MEM_HOT int weir_worker_next_batch(struct weir_worker *worker, struct weir_task *ret_tasks, size_t max_count,
                                   int64_t timeout_ns)
{
    if (max_count == 0 || max_count > INT32_MAX)
        return fail(-EINVAL, "a batch has 1 to 2147483647 messages");
    uint32_t most = max_count < GROUP_RUN_MAX ? (uint32_t)max_count : GROUP_RUN_MAX;
    int r = next_run(worker, most > worker->prefetch ? most : worker->prefetch, timeout_ns);
    int taken = 0;
    int error = 0;
    while (r > 0 && worker->left && (size_t)taken < max_count &&
           (error = hand_out(worker, &ret_tasks[taken], taken == 0)) == 0)
        taken++;
    count(&worker->group.line->taken, (uint64_t)taken);
    return taken > 0 ? taken : error < 0 ? error : r;
}

int weir_worker_gap(const struct weir_worker *worker, struct weir_gap *ret_gap)
{
    if (worker->gap.to == 0)
        return fail(-ENOENT, "no gap was met");
    *ret_gap = worker->gap;
    return 0;
}

/* -- what becomes of it -------------------------------------------------------------------------------------------------- */

static uint32_t ticket_entry(const struct weir_task *task)
{
    return (uint32_t)task->ticket & ((1u << TICKET_BIT_SHIFT) - 1);
}

static uint32_t ticket_bit(const struct weir_task *task)
{
    return 1u << (task->ticket >> TICKET_BIT_SHIFT & (GROUP_RUN_MAX - 1));
}

static uint32_t ticket_generation(const struct weir_task *task)
{
    return (uint32_t)(task->ticket >> TICKET_GENERATION_SHIFT);
}

static int refuse(struct weir_worker *worker, size_t how_many)
{
    count(&worker->group.line->refused, how_many);
    return fail(-ECANCELED,
                "%zu of the messages are not this worker's any more: their lease has ended, or they were "
                "finished or given back before",
                how_many);
}

MEM_HOT int weir_worker_ack(struct weir_worker *worker, const struct weir_task *tasks, size_t task_count,
                            size_t *ret_done)
{
    int r = attachment_check(&worker->sub->attachment);
    if (r < 0)
        return r;
    size_t done = 0;
    for (size_t i = 0, next; i < task_count; i = next) {
        const struct weir_task *first = &tasks[i];
        uint32_t bits = 0;
        /* Those of one run that stand next to each other are one swap. */
        for (next = i;
             next < task_count && ticket_entry(&tasks[next]) == ticket_entry(first) &&
             ticket_generation(&tasks[next]) == ticket_generation(first) && !(bits & ticket_bit(&tasks[next]));
             next++)
            bits |= ticket_bit(&tasks[next]);
        if (group_finish(&worker->group, ticket_entry(first), ticket_generation(first), bits) == 0) {
            done += next - i;
            continue;
        }
        for (size_t at = i; next - i > 1 && at < next; at++)
            done += group_finish(&worker->group, ticket_entry(first), ticket_generation(first),
                                 ticket_bit(&tasks[at])) == 0;
    }
    if (done)
        count(&worker->group.line->acked, done);
    if (ret_done)
        *ret_done = done;
    return done == task_count ? 0 : refuse(worker, task_count - done);
}

static uint64_t draw(struct weir_worker *worker, uint64_t below)
{
    worker->random = worker->random * 6364136223846793005ull + 1442695040888963407ull; /* Knuth's MMIX */
    return (worker->random >> 33) % below;
}

/* Before attempt + 1. */
static uint64_t backoff(struct weir_worker *worker, uint32_t attempt)
{
    const struct group_options *options = &worker->view.options;
    uint64_t delay_ns = options->backoff_ns;
    for (uint32_t i = 1; i < attempt && delay_ns < options->backoff_max_ns; i++) {
        uint64_t hundredth_ns = delay_ns / 100,
                 rest_ns = delay_ns % 100; /* the product of the whole may be too large */
        delay_ns = hundredth_ns * options->backoff_percent + rest_ns * options->backoff_percent / 100;
    }
    if (delay_ns > options->backoff_max_ns)
        delay_ns = options->backoff_max_ns;
    uint64_t percent = options->jitter_percent ? draw(worker, options->jitter_percent + 1u) : 0;
    return delay_ns - delay_ns / 100 * percent;
}

int weir_worker_nack(struct weir_worker *worker, const struct weir_task *task, int64_t delay_ns)
{
    int r = attachment_check(&worker->sub->attachment);
    if (r < 0)
        return r;
    if (delay_ns < WEIR_NACK_BACKOFF)
        return fail(-EINVAL, "delay_ns is 0 or more, or WEIR_NACK_BACKOFF");
    uint64_t delay = delay_ns == WEIR_NACK_BACKOFF ? backoff(worker, task->attempt) : (uint64_t)delay_ns;
    r = group_give_back(&worker->group, ticket_entry(task), ticket_generation(task), ticket_bit(task),
                        delay ? shm_now_ns() + delay : 0, false);
    if (r == -ENOSPC)
        return fail(-EAGAIN, "group %s has all of its %u entries in use: the message is still this worker's",
                    worker->view.identity.name, worker->view.options.entry_count);
    if (r < 0)
        return refuse(worker, 1);
    count(&worker->group.line->returned, 1);
    group_tell(&worker->sub->attachment.view, &worker->view);
    return 0;
}

int weir_worker_extend(struct weir_worker *worker, const struct weir_task *task, int64_t lease_ns)
{
    int r = attachment_check(&worker->sub->attachment);
    if (r < 0)
        return r;
    if (lease_ns <= 0)
        return fail(-EINVAL, "a lease is longer than nothing");
    uint64_t ends_ns = lease_ns == WEIR_FOREVER ? UINT64_MAX : shm_now_ns() + (uint64_t)lease_ns;
    r = group_extend(&worker->group, ticket_entry(task), ticket_generation(task), ends_ns);
    return r < 0 ? refuse(worker, 1) : 0;
}
