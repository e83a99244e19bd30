/* SPDX-License-Identifier: Apache-2.0 */
/* Mapping a ring for the daemon, and the ring's questions that only the kernel can answer. */
#include "daemon/hold.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/guard.h"

/* -- what only the kernel can say ----------------------------------------------------------------------------------- */

static bool hold_publisher_dead(void *ctx, uint64_t id)
{
    const struct hold *hold = ((struct hold_side *)ctx)->hold;
    /* A lock is not seen through the descriptor that holds it. */
    return id != hold->id && shm_locked(hold->shm.lock_fd, id) == 0;
}

static bool hold_reader_dead(void *ctx, uint64_t id)
{
    const struct hold *hold = ((struct hold_side *)ctx)->hold;
    return hold->shm.reader_lock_fd >= 0 && shm_locked(hold->shm.reader_lock_fd, id) == 0;
}

static bool hold_fence(void *ctx)
{
    const struct hold_side *side = ctx;
    if (side->view.geometry.features_incompatible & RING_FEATURE_FENCED) {
        mem_fence_full(); /* the others fence for themselves */
        return true;
    }
    return shm_fence();
}

/* By pread, not from the mapping: the copy must be what it was at one look, and short files are an answer, no signal. */
static const struct ring_readers *hold_readers_copy(void *ctx)
{
    struct hold_side *side = ctx;
    size_t bytes = side->view.geometry.readers_bytes;
    for (size_t at = 0; at < bytes;) {
        ssize_t got = pread(side->hold->shm.readers_fd, (char *)side->readers_copy + at, bytes - at, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return NULL;
        at += (size_t)got;
    }
    return side->readers_copy;
}

static void hold_relax(void *ctx)
{
    (void)ctx;
    sched_yield();
}

static const struct ring_ops hold_ops = {.publisher_dead = hold_publisher_dead,
                                         .reader_dead = hold_reader_dead,
                                         .fence = hold_fence,
                                         .readers_copy = hold_readers_copy,
                                         .relax = hold_relax};

/* -- opening -------------------------------------------------------------------------------------------------------- */

static int hold_view(struct hold *hold, bool fence_self, const char **ret_reason)
{
    const struct shm_ring *shm = &hold->shm;
    struct ring_view view;
    int r = ring_view_init(&view, shm->control, shm->sizes.control_bytes, shm->readers, shm->sizes.readers_bytes,
                           shm->data, shm->sizes.data_bytes, ret_reason);
    if (r < 0)
        return r;
    view.ops = &hold_ops;
    view.control_writable = shm->control_writable;
    view.data_writable = shm->data_writable;
    view.readers_writable = shm->readers_writable;
    view.fence_self = fence_self || (view.geometry.features_incompatible & RING_FEATURE_FENCED);
    struct hold_side *sides[] = {&hold->drain, &hold->supervise};
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
        sides[i]->hold = hold;
        sides[i]->view = view;
        sides[i]->view.ctx = sides[i];
    }
    return 0;
}

struct hold_step {
    struct hold *hold;
    bool fence_self;
    const char *name;
    const char *reason;
};

static int hold_look(void *argument)
{
    struct hold_step *step = argument;
    struct hold *hold = step->hold;
    int r = hold_view(hold, step->fence_self, &step->reason);
    if (r < 0)
        return r;
    if (strcmp(hold->drain.view.identity.name, step->name) != 0) {
        step->reason = "the ring was made under another name";
        return -EBADMSG;
    }
    if (mem_load_acquire(&hold->drain.view.control->removed)) {
        step->reason = "the ring is being removed";
        return -EIDRM;
    }
    hold->id = ring_publisher_id(&hold->supervise.view);
    return 0;
}

static int hold_join(void *argument)
{
    struct hold_step *step = argument;
    struct hold *hold = step->hold;
    step->reason = "another weird that is alive serves the ring";
    return ring_daemon_join(&hold->daemon, &hold->supervise.view, hold->id, (uint64_t)getpid(), shm_wall_ns());
}

static int hold_make(struct hold *hold, const struct place *place, const char *name, struct shm_why *why)
{
    struct hold_step step = {.hold = hold, .fence_self = place->fence_self, .name = name};
    int r = guard_run(hold_look, &step);
    if (r == 0) {
        hold->drain.readers_copy = calloc(1, hold->drain.view.geometry.readers_bytes);
        hold->supervise.readers_copy = calloc(1, hold->drain.view.geometry.readers_bytes);
        if (!hold->drain.readers_copy || !hold->supervise.readers_copy)
            return -ENOMEM;
        step.reason = "the lock of a fresh id is held: next_id in control was set back";
        r = shm_lock(hold->shm.lock_fd, hold->id);
    }
    if (r == 0)
        r = guard_run(hold_join, &step);
    if (r == -EFAULT)
        step.reason = "its files were cut short";
    if (r < 0)
        shm_explain(why, "%s", step.reason ? step.reason : strerror(-r));
    return r;
}

int hold_open(struct hold *hold, const struct place *place, const char *name, struct shm_why *why)
{
    *hold = (struct hold){0};
    int r = shm_open_ring(place->bus_fd, name, SHM_SERVE, true, &hold->shm, why);
    if (r < 0)
        return r;
    if (hold->shm.lock_fd < 0) {
        shm_explain(why, "its lock file may not be opened");
        r = -EACCES;
    } else {
        r = hold_make(hold, place, name, why);
    }
    if (r < 0)
        hold_close(hold);
    return r;
}

static int hold_leave_step(void *argument)
{
    ring_publisher_leave(&((struct hold *)argument)->daemon);
    return 0;
}

void hold_leave(struct hold *hold)
{
    guard_run(hold_leave_step, hold);
}

void hold_close(struct hold *hold)
{
    free(hold->drain.readers_copy);
    free(hold->supervise.readers_copy);
    shm_close_ring(&hold->shm);
}
