/* SPDX-License-Identifier: Apache-2.0 */
/* Subscribing: open, wait for the next record, save the position. Where records come from is in backlog.c. */
#include "client/subscriber.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/message.h"
#include "client/wait.h"

/* Polls between two looks at the clock, rounds of that between two looks for a dead claimant: the tail word is the
 * publishers'. */
#define POLLS_PER_CLOCK 128u
#define ROUNDS_PER_LOOK 8u

/* -- open and close ------------------------------------------------------------------------------------------------ */

static int take_cursor(struct weir_sub *sub, const char *name, uint64_t *position)
{
    uint64_t saved;
    const char *ring = sub->attachment.view.identity.name;
    int r = shm_name_check(name);
    if (r < 0)
        return fail(r, "cursor name \"%.80s\": %s", name, weir_strerror(r));
    r = ring_cursor_take(&sub->reader, name, &saved);
    if (r == -EBUSY)
        return fail(r, "cursor %s of ring %s is held by a process that is alive", name, ring);
    if (r == -ENOSPC)
        return fail(r, "ring %s keeps %u cursors and has no room for %s", ring,
                    sub->attachment.view.geometry.max_cursors, name);
    if (r == 0) {
        sub->has_cursor = true;
        if (saved != UINT64_MAX)
            *position = saved;
    }
    return r;
}

static int go_to(struct weir_sub *sub, uint64_t position)
{
    if (position == WEIR_POSITION_END) {
        int r = ring_reader_seek_end(&sub->reader);
        sub->in_journal = false;
        return r < 0 ? fail(r, "ring %s: cannot find its end: %s", sub->attachment.view.identity.name, weir_strerror(r))
                     : 0;
    }
    if (position == WEIR_POSITION_START)
        return backlog_seek_oldest(sub);
    return backlog_seek_checked(sub, position);
}

/* Of weir_sub_options.since_ns, until a cursor is found: no position is odd. */
#define SINCE UINT64_C(1)

static int check_gating(const struct ring_view *view)
{
    if (view->geometry.flags & RING_JOURNALED)
        return fail(-EINVAL, "ring %s is journaled: no reader may hold up its publishers", view->identity.name);
    if (view->geometry.when_full == RING_DROP_OLD)
        return fail(-EINVAL, "ring %s drops what is old: no reader may hold up its publishers", view->identity.name);
    return 0;
}

static int join(struct weir_sub *sub, const char *ring)
{
    struct ring_view *view = &sub->attachment.view;
    sub->attachment.reader_id = ring_reader_id(view);
    int r = shm_lock(sub->attachment.shm.reader_lock_fd, sub->attachment.reader_id);
    if (r < 0)
        return fail(r, "ring %s: cannot lock my byte in the readers' lock file: %s", ring, weir_strerror(r));
    r = ring_reader_join(&sub->reader, view, sub->attachment.reader_id, (uint64_t)getpid(), shm_wall_ns());
    if (r == -ENOSPC)
        return fail(r, "ring %s admits %u readers and all of them are alive: see weir stat", ring,
                    view->geometry.max_readers);
    return r;
}

/* The struct before it grew: a program that was built then knows of no time to begin at. */
#define OPTIONS_BYTES_TIMELESS offsetof(struct weir_sub_options, since_ns)

static bool take_options(const struct weir_sub_options *given, struct weir_sub_options *ret_options)
{
    *ret_options = (struct weir_sub_options)WEIR_SUB_OPTIONS_INIT;
    if (given && given->size != sizeof *given && given->size != OPTIONS_BYTES_TIMELESS)
        return false;
    if (given)
        memcpy(ret_options, given, given->size);
    return true;
}

int weir_sub_open(const char *bus, const char *ring, const struct weir_sub_options *given, struct weir_sub **ret_sub)
{
    struct weir_sub_options taken, *options = &taken;
    fail_clear();
    if (!ret_sub || !take_options(given, &taken))
        return fail(-EINVAL, "weir_sub_open: ret_sub is NULL, or options.size is not sizeof(struct weir_sub_options)");
    struct weir_sub *sub = calloc(1, sizeof *sub);
    if (!sub)
        return fail(-ENOMEM, "no memory for a subscriber");
    int r = attachment_open(&sub->attachment, bus, ring, SHM_SUBSCRIBE, true);
    if (r < 0) {
        free(sub);
        return r;
    }
    if ((options->gating && (r = check_gating(&sub->attachment.view)) < 0) || (r = join(sub, ring)) < 0) {
        attachment_close(&sub->attachment);
        free(sub);
        return r;
    }
    uint64_t position = options->since_ns ? SINCE : options->from;
    sub->spin_ns = options->spin_ns < 0 ? attachment_spin_ns() : options->spin_ns;
    sub->reader.gating = options->gating;
    if ((options->cursor && (r = take_cursor(sub, options->cursor, &position)) < 0) ||
        (r = options->since_ns && position == SINCE ? seek_time(sub, options->since_ns) : go_to(sub, position)) < 0) {
        weir_sub_close(sub);
        return r;
    }
    *ret_sub = sub;
    return 0;
}

/* Publishers that wait for gates want to know that mine moved. */
MEM_COLD static void tell_gate(struct weir_sub *sub)
{
    struct ring_view *view = &sub->attachment.view;
    if (ring_bell_news(view, &view->readers->gates, &view->control->progress_want))
        shm_wake_all(attachment_futex(&view->readers->gates));
}

void weir_sub_close(struct weir_sub *sub)
{
    if (!sub)
        return;
    bool forked = sub->attachment.fork_generation != shm_fork_generation;
    watcher_close(sub->watcher, forked); /* first: it looks at the ring */
    if (!forked) {
        ring_reader_leave(&sub->reader);
        if (sub->reader.gating)
            tell_gate(sub);
    }
    backlog_close(sub);
    attachment_close(&sub->attachment);
    free(sub);
}

/* -- next ---------------------------------------------------------------------------------------------------------- */

static inline int fetch(struct weir_sub *sub, struct ring_item *ret_item)
{
    int r = backlog_fetch(sub, ret_item);
    if (sub->reader.gating && sub->gate_told != sub->reader.segment) {
        sub->gate_told = sub->reader.segment;
        tell_gate(sub);
    }
    return r;
}

/* 0: no. Else what was published before it was, or that it is. */
static int check_removed(struct weir_sub *sub, struct ring_item *ret_item)
{
    const struct ring_view *view = &sub->attachment.view;
    if (__builtin_expect(mem_load_acquire(&view->control->removed) == 0, 1))
        return 0;
    int r = fetch(sub, ret_item);
    return r != 0 ? r : fail(-EIDRM, "ring %s was removed", view->identity.name);
}

/* Polls until there is news or spin_ns are over; 0: they are. Yields, since the publisher may need this processor. */
static int spin(struct weir_sub *sub, const struct wait *wait, struct ring_item *ret_item)
{
    uint64_t start = 0;
    int r;
    for (uint32_t rounds = 1;; rounds++) {
        if (!sub->in_journal && ring_reader_poll(&sub->reader, POLLS_PER_CLOCK) && (r = fetch(sub, ret_item)) != 0)
            return r;
        uint64_t now = shm_now_ns();
        if (start == 0)
            start = now;
        if (now - start >= (uint64_t)sub->spin_ns || now >= wait->deadline_ns)
            return 0;
        bool pending;
        if (rounds % ROUNDS_PER_LOOK == 0 &&
            ((r = backlog_look(sub, &pending)) < 0 || (r = check_removed(sub, ret_item)) != 0))
            return r;
        sched_yield();
        if ((r = fetch(sub, ret_item)) != 0)
            return r;
    }
}

MEM_COLD static int wait_next(struct weir_sub *sub, int64_t timeout_ns, struct ring_item *ret_item)
{
    struct ring_view *view = &sub->attachment.view;
    struct wait wait = wait_start(timeout_ns);
    int r;
    if (sub->spin_ns > 0 && (r = spin(sub, &wait, ret_item)) != 0)
        return r;
    uint64_t seq = 0;
    bool asked = false, fenced = false, pending;
    for (;;) {
        /* What was asked for holds until somebody answers: a sleep that merely ran out costs no second fence. */
        if (!asked || mem_load_acquire(&view->control->records.seq) != seq) {
            seq = ring_bell_ask(&view->control->records, &view->readers->records_want);
            fenced = view->ops->fence(view->ctx); /* E6 sleep */
            asked = true;
        }
        if ((r = fetch(sub, ret_item)) != 0)
            return r;
        if ((r = backlog_look(sub, &pending)) < 0)
            return r;
        if (r > 0)
            continue;
        if ((r = check_removed(sub, ret_item)) != 0)
            return r;
        int64_t left = wait_left(&wait, pending || !fenced ? SLEEP_BOUND_PENDING_NS : SLEEP_BOUND_NS);
        if (left == 0)
            return fail(-ETIMEDOUT, "ring %s had no further message in time", view->identity.name);
        if (shm_sleep(attachment_futex(&view->control->records), (uint32_t)seq, left) == -EINTR)
            return fail(-EINTR, "interrupted while waiting for a message");
        if ((r = fetch(sub, ret_item)) != 0) /* before the fence: it costs as much as the wake-up */
            return r;
    }
}

/* Who polls without ever waiting must meet the dead, too, however often or seldom it polls. */
MEM_COLD static int poll_once(struct weir_sub *sub, struct ring_item *ret_item)
{
    bool pending;
    int r;
    uint64_t now = shm_coarse_ns();
    if (now - sub->looked_ns >= SLEEP_BOUND_PENDING_NS) {
        sub->looked_ns = now;
        if ((r = backlog_look(sub, &pending)) > 0)
            r = fetch(sub, ret_item);
        if (r != 0)
            return r;
    }
    if ((r = check_removed(sub, ret_item)) != 0)
        return r;
    fail_clear();
    return -EAGAIN;
}

/* -- pollable descriptor ------------------------------------------------------------------------------------------- */

static bool may_have_news(const struct watch *watch)
{
    return mem_load_acquire(&watch->control->removed) != 0 || ring_reader_stirred(&watch->reader);
}

/*
 * Nothing was there, `nothing` says how: from now on the descriptor tells when to ask again. What comes to light before
 * it can is returned instead. The look comes before the arming: watcher.c says why that loses nothing.
 */
MEM_COLD static int arm(struct weir_sub *sub, int nothing, struct ring_item *ret_item)
{
    struct ring_view *view = &sub->attachment.view;
    struct watch watch = {.bell = &view->control->records, .ready = may_have_news, .control = view->control};
    bool pending;
    int r;
    if (watcher_holds(sub->watcher)) /* who asks often does not fence often */
        return nothing;
    for (;;) {
        watch.seq = ring_bell_ask(&view->control->records, &view->readers->records_want);
        bool fenced = view->ops->fence(view->ctx); /* E6 sleep */
        if ((r = fetch(sub, ret_item)) != 0 || (r = backlog_look(sub, &pending)) < 0)
            break;
        if (r > 0)
            continue;
        if ((r = check_removed(sub, ret_item)) != 0)
            break;
        watch.look_again = pending || sub->in_journal; /* what the thread may not repair, or cannot see */
        watch.bound_ns = watch.look_again || !fenced ? SLEEP_BOUND_PENDING_NS : SLEEP_BOUND_NS;
        watch.reader = sub->reader;
        watcher_arm(sub->watcher, &watch);
        return nothing;
    }
    watcher_raise(sub->watcher);
    return r;
}

/* 1 and the item, which is not passed yet; or the error. */
static int next_item(struct weir_sub *sub, int64_t timeout_ns, struct ring_item *ret_item)
{
    int r = attachment_check(&sub->attachment);
    if (r < 0)
        return r;
    r = fetch(sub, ret_item);
    if (__builtin_expect(r == 0, 0)) {
        r = timeout_ns > 0 ? wait_next(sub, timeout_ns, ret_item) : poll_once(sub, ret_item);
        if (sub->watcher && (r == -EAGAIN || r == -ETIMEDOUT))
            r = arm(sub, r, ret_item);
    }
    return r;
}

int weir_sub_fd(struct weir_sub *sub, int *ret_fd)
{
    int r = attachment_check(&sub->attachment);
    if (r < 0)
        return r;
    if (!sub->watcher) {
        if ((r = watcher_open(&sub->watcher)) < 0)
            return r;
        watcher_raise(sub->watcher); /* nobody has looked yet */
    }
    *ret_fd = watcher_fd(sub->watcher);
    return 0;
}

MEM_HOT int weir_sub_next(struct weir_sub *sub, int64_t timeout_ns, struct weir_message *ret_message)
{
    struct ring_item item;
    int r = next_item(sub, timeout_ns, &item);
    if (r < 0)
        return r;
    backlog_pass(sub, &item);
    return message_from_item(&item, ret_message);
}

/* An item that was fetched is to be the next one again: the journal's reader has passed it, memory's has not. */
static void step_back(struct weir_sub *sub, const struct ring_item *item)
{
    if (sub->in_journal)
        backlog_seek(sub, item->position);
}

MEM_HOT int weir_sub_next_batch(struct weir_sub *sub, struct weir_message *ret_messages, size_t max_count,
                                int64_t timeout_ns)
{
    struct ring_item item;
    if (max_count == 0 || max_count > INT32_MAX)
        return fail(-EINVAL, "a batch has 1 to 2147483647 messages");
    int count = 0;
    int r = next_item(sub, timeout_ns, &item);
    if (r < 0)
        return r;
    bool in_journal = sub->in_journal;
    sub->reader.stay = true; /* what was seen stays valid only within its segment */
    do {
        r = message_from_item(&item, &ret_messages[count]);
        if (r < 0 && count > 0) { /* told by the next call */
            step_back(sub, &item);
            break;
        }
        backlog_pass(sub, &item);
    } while (r == 0 && (size_t)++count < max_count &&
             (r = in_journal ? backlog_fetch(sub, &item) : ring_reader_peek(&sub->reader, &item)) > 0);
    sub->reader.stay = false;
    return count > 0 ? count : r;
}

MEM_HOT int weir_sub_recv(struct weir_sub *sub, void *buffer, size_t buffer_bytes, int64_t timeout_ns,
                          struct weir_message *ret_message)
{
    struct ring_item item;
    int r = next_item(sub, timeout_ns, &item);
    if (r < 0)
        return r;
    struct weir_message message;
    r = message_from_item(&item, &message);
    if (r == 0 && message.data_bytes > buffer_bytes) {
        ret_message->data_bytes = message.data_bytes;
        step_back(sub, &item);
        return fail(-EMSGSIZE, "the message has %zu bytes, the buffer %zu", message.data_bytes, buffer_bytes);
    }
    backlog_pass(sub, &item);
    if (r < 0)
        return r;
    if (message.data_bytes)
        memcpy(buffer, message.data, message.data_bytes);
    message.data = buffer;
    *ret_message = message;
    return 0;
}

/* -- position ------------------------------------------------------------------------------------------------------ */

int weir_sub_gap(const struct weir_sub *sub, struct weir_gap *ret_gap)
{
    if (sub->gap.to == 0)
        return fail(-ENOENT, "no gap was met");
    *ret_gap = sub->gap;
    return 0;
}

uint64_t weir_sub_position(const struct weir_sub *sub)
{
    return sub->in_journal ? journal_reader_position(sub->journal) : ring_reader_position(&sub->reader);
}

int weir_sub_seek(struct weir_sub *sub, uint64_t position)
{
    int r = attachment_check(&sub->attachment);
    if (r < 0)
        return r;
    uint64_t before = weir_sub_position(sub);
    r = go_to(sub, position);
    if (r < 0)
        backlog_seek(sub, before);
    if (sub->watcher)
        watcher_raise(sub->watcher); /* nobody has looked there yet */
    return r;
}

int weir_sub_seek_time(struct weir_sub *sub, uint64_t time_ns)
{
    fail_clear();
    int r = attachment_check(&sub->attachment);
    if (r < 0)
        return r;
    uint64_t before = weir_sub_position(sub);
    r = seek_time(sub, time_ns);
    if (r < 0)
        backlog_seek(sub, before);
    if (sub->watcher)
        watcher_raise(sub->watcher); /* nobody has looked there yet */
    return r;
}

int weir_sub_save(struct weir_sub *sub, uint64_t position)
{
    int r = attachment_check(&sub->attachment);
    if (r < 0)
        return r;
    if (!sub->has_cursor)
        return fail(-EPERM, "the subscriber has no cursor: set weir_sub_options.cursor");
    if (position % RING_UNIT_BYTES || position > ring_end_position(&sub->attachment.view))
        return fail(-EINVAL, "%llu is not the position of a message", (unsigned long long)position);
    ring_cursor_save(&sub->reader, position, shm_wall_ns());
    return 0;
}

int weir_sub_in_memory(const struct weir_sub *sub)
{
    return !sub->in_journal;
}
