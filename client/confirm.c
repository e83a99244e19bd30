/* SPDX-License-Identifier: Apache-2.0 */
/* Confirms: a comparison of two positions, and sleeping until it holds. */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "client/publisher.h"
#include "client/wait.h"
#include "weir.h"

static bool is_visible(struct weir_pub *pub, uint64_t position)
{
    struct ring_view *view = &pub->attachment.view;
    if (mem_load_acquire(&view->control->visible) > position)
        return true;
    if ((view->geometry.flags & RING_EXCLUSIVE) && pub->state.inside) /* mine alone, visible as they were sent */
        return (pub->state.segment << view->geometry.segment_shift) + ((uint64_t)pub->state.end << RING_UNIT_SHIFT) >
               position;
    return ring_visible_position(&pub->state) > position;
}

static int check_level(const struct weir_pub *pub, enum weir_level level)
{
    int r = attachment_check(&pub->attachment);
    if (r < 0)
        return r;
    if (level > WEIR_DURABLE)
        return fail(-EINVAL, "unknown level");
    if (level != WEIR_VISIBLE && !(pub->attachment.view.geometry.flags & RING_JOURNALED))
        return fail(-EINVAL, "ring %s is memory-only: nothing in it is ever written",
                    pub->attachment.view.identity.name);
    return 0;
}

static int not_yet(const struct weir_pub *pub)
{
    const struct ring_view *view = &pub->attachment.view;
    if (mem_load_acquire(&view->control->removed))
        return fail(-EIDRM, "ring %s was removed", view->identity.name);
    fail_clear();
    return -EAGAIN;
}

static const struct mem_u64 *level_word(const struct ring_control *control, enum weir_level level)
{
    return level == WEIR_WRITTEN ? &control->written : &control->durable;
}

/* E8 progress: what was synced before the daemon's store is on disk for whoever sees it. */
static int reached(struct weir_pub *pub, uint64_t position, enum weir_level level)
{
    struct ring_control *control = pub->attachment.view.control;
    if (level == WEIR_VISIBLE)
        return is_visible(pub, position) ? 0 : not_yet(pub);
    if (mem_load_acquire(level_word(control, level)) > position)
        return 0;
    int error = attachment_journal_stopped(control);
    if (error)
        return fail(-EIO, "the journal of ring %s has stopped (%s); durable up to position %llu",
                    pub->attachment.view.identity.name, strerror(error),
                    (unsigned long long)mem_load_acquire(&control->durable));
    return not_yet(pub);
}

static void raise_want(struct mem_u64 *want, uint64_t position)
{
    for (;;) {
        uint64_t now = mem_load_relaxed(want);
        if (now >= position || mem_swap(want, now, position))
            return;
    }
}

/* -- pollable descriptor ------------------------------------------------------------------------------------------- */

static bool may_be_there(const struct watch *watch)
{
    return mem_load_acquire(watch->level) > watch->position || attachment_journal_stopped(watch->control) != 0 ||
           mem_load_acquire(&watch->control->removed) != 0;
}

/* It is not there yet: from now on the descriptor tells when to ask again. */
static int arm(struct weir_pub *pub, uint64_t position, enum weir_level level)
{
    struct ring_view *view = &pub->attachment.view;
    struct ring_control *control = view->control;
    const struct mem_u64 *word = level == WEIR_VISIBLE ? &control->visible : level_word(control, level);
    if (pub->watch.level == word && pub->watch.position == position && watcher_holds(pub->watcher))
        return -EAGAIN;
    if (level != WEIR_VISIBLE)
        raise_want(level == WEIR_WRITTEN ? &control->written_want : &control->confirm_want, position + 1);
    uint64_t seq = ring_bell_ask(&control->progress, &control->progress_want);
    bool fenced = view->ops->fence(view->ctx); /* E6 sleep */
    int r = reached(pub, position, level);
    if (r != -EAGAIN)
        return r;
    if (level != WEIR_VISIBLE)
        attachment_ring(&control->work);
    pub->watch = (struct watch){.bell = &control->progress,
                                .seq = seq,
                                .bound_ns = level == WEIR_VISIBLE || !fenced ? SLEEP_BOUND_PENDING_NS : SLEEP_BOUND_NS,
                                .look_again = level == WEIR_VISIBLE, /* nobody rings for it */
                                .ready = may_be_there,
                                .control = control,
                                .level = word,
                                .position = position};
    watcher_arm(pub->watcher, &pub->watch);
    return -EAGAIN;
}

int weir_pub_confirm(struct weir_pub *pub, uint64_t position, enum weir_level level)
{
    int r = check_level(pub, level);
    if (r < 0)
        return r;
    r = reached(pub, position, level);
    if (pub->watcher && r == -EAGAIN)
        r = arm(pub, position, level);
    if (pub->watcher && r != -EAGAIN)
        watcher_rest(pub->watcher);
    return r;
}

int weir_pub_fd(struct weir_pub *pub, int *ret_fd)
{
    int r = attachment_check(&pub->attachment);
    if (r < 0 || (!pub->watcher && (r = watcher_open(&pub->watcher)) < 0))
        return r;
    *ret_fd = watcher_fd(pub->watcher);
    return 0;
}

static int late(struct weir_pub *pub, enum weir_level level)
{
    int held_up = attachment_journal_held_up(pub->attachment.view.control);
    if (level == WEIR_VISIBLE)
        return fail(-ETIMEDOUT, "not confirmed in time");
    if (!attachment_daemon_alive(&pub->attachment))
        return fail(-ETIMEDOUT, "not confirmed in time: nobody drains the ring: start weird");
    if (held_up)
        return fail(-ETIMEDOUT, "not confirmed in time: the journal waits: %s", strerror(held_up));
    return fail(-ETIMEDOUT, "not confirmed in time");
}

/* -- waiting ------------------------------------------------------------------------------------------------------- */

/* A sync of a fast disk is through in less. To be woken behind it takes a third of that again. */
#define CONFIRM_SPIN_NS 250000
#define CONFIRM_MEAN_OF 8

static uint64_t *confirm_mean(struct weir_pub *pub, enum weir_level level)
{
    return &pub->confirm_ns[level == WEIR_DURABLE];
}

/* What was not confirmed in time takes long, however short that was. */
static void confirm_took(struct weir_pub *pub, enum weir_level level, int result, uint64_t took_ns)
{
    uint64_t *mean = confirm_mean(pub, level);
    if (result == 0)
        *mean += took_ns / CONFIRM_MEAN_OF - *mean / CONFIRM_MEAN_OF;
    else if (result == -ETIMEDOUT && *mean < 2 * CONFIRM_SPIN_NS)
        *mean = 2 * CONFIRM_SPIN_NS;
}

/* Polls, unless the confirms before this one took longer. Yields, since the daemon may need this processor. */
static int spin_for_confirm(struct weir_pub *pub, uint64_t position, enum weir_level level, const struct wait *wait,
                            uint64_t start_ns)
{
    uint64_t now = start_ns;
    int r = -EAGAIN;
    if (pub->spin_ns == 0 || *confirm_mean(pub, level) > CONFIRM_SPIN_NS)
        return r;
    attachment_ring(&pub->attachment.view.control->work);
    while (r == -EAGAIN && now - start_ns < CONFIRM_SPIN_NS && now < wait->deadline_ns) {
        for (uint32_t i = 0; i < PAUSES_PER_TRY; i++)
            mem_pause();
        r = reached(pub, position, level);
        sched_yield();
        now = shm_now_ns();
    }
    return r;
}

static int sleep_for_confirm(struct weir_pub *pub, uint64_t position, enum weir_level level, const struct wait *wait)
{
    struct ring_view *view = &pub->attachment.view;
    struct ring_control *control = view->control;
    /* Nobody rings a bell for what becomes visible behind a slow claim: look every 0.2 ms. */
    int64_t bound = level == WEIR_VISIBLE ? 200000 : SLEEP_BOUND_NS;
    for (;;) {
        uint64_t seq = ring_bell_ask(&control->progress, &control->progress_want);
        if (!view->ops->fence(view->ctx) && bound > SLEEP_BOUND_PENDING_NS) /* E6 sleep */
            bound = SLEEP_BOUND_PENDING_NS;
        int r = reached(pub, position, level);
        if (r != -EAGAIN)
            return r;
        int64_t left = wait_left(wait, bound);
        if (left == 0)
            return late(pub, level);
        if (level != WEIR_VISIBLE)
            attachment_ring(&control->work);
        if (shm_sleep(attachment_futex(&control->progress), (uint32_t)seq, left) == -EINTR)
            return fail(-EINTR, "interrupted while waiting for a confirm");
        if ((r = reached(pub, position, level)) != -EAGAIN) /* before the fence: it costs as much as the wake-up */
            return r;
    }
}

int weir_pub_wait(struct weir_pub *pub, uint64_t position, enum weir_level level, int64_t timeout_ns)
{
    struct ring_control *control = pub->attachment.view.control;
    int r = check_level(pub, level);
    if (r < 0 || (r = reached(pub, position, level)) != -EAGAIN || timeout_ns <= 0)
        return r;
    struct wait wait = wait_start(timeout_ns);
    if (level == WEIR_VISIBLE)
        return sleep_for_confirm(pub, position, level, &wait);
    uint64_t start_ns = shm_now_ns();
    raise_want(level == WEIR_WRITTEN ? &control->written_want : &control->confirm_want, position + 1);
    r = spin_for_confirm(pub, position, level, &wait, start_ns);
    if (r == -EAGAIN)
        r = sleep_for_confirm(pub, position, level, &wait);
    confirm_took(pub, level, r, shm_now_ns() - start_ns);
    return r;
}
