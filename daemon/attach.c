/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/attach.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/guard.h"

/* -- what only the kernel can say ----------------------------------------------------------------------------------- */

static bool attach_publisher_dead(void *ctx, uint64_t id)
{
    const struct attachment *attachment = ((struct attach_side *)ctx)->attachment;
    /* A lock is not seen through the descriptor that holds it. */
    return id != attachment->id && shm_locked(attachment->shm.lock_fd, id) == 0;
}

static bool attach_reader_dead(void *ctx, uint64_t id)
{
    const struct attachment *attachment = ((struct attach_side *)ctx)->attachment;
    return attachment->shm.reader_lock_fd >= 0 && shm_locked(attachment->shm.reader_lock_fd, id) == 0;
}

static bool attach_fence(void *ctx)
{
    const struct attach_side *side = ctx;
    if (side->view.geometry.features_incompatible & RING_FEATURE_FENCED) {
        mem_fence_full(); /* the others fence for themselves */
        return true;
    }
    return shm_fence();
}

/* By pread, not from the mapping: the copy must be what it was at one look, and short files are an answer, no signal. */
static const struct ring_readers *attach_readers_copy(void *ctx)
{
    struct attach_side *side = ctx;
    size_t bytes = side->view.geometry.readers_bytes;
    for (size_t at = 0; at < bytes;) {
        ssize_t got = pread(side->attachment->shm.readers_fd, (char *)side->readers_copy + at, bytes - at, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return NULL;
        at += (size_t)got;
    }
    return side->readers_copy;
}

static void attach_relax(void *ctx)
{
    (void)ctx;
    sched_yield();
}

static const struct ring_ops attach_ops = {.publisher_dead = attach_publisher_dead,
                                           .reader_dead = attach_reader_dead,
                                           .fence = attach_fence,
                                           .readers_copy = attach_readers_copy,
                                           .relax = attach_relax};

/* -- opening -------------------------------------------------------------------------------------------------------- */

static int attach_view(struct attachment *attachment, bool fence_self, const char **ret_reason)
{
    const struct shm_ring *shm = &attachment->shm;
    struct ring_view view;
    int r = ring_view_init(&view, shm->control, shm->sizes.control_bytes, shm->readers, shm->sizes.readers_bytes,
                           shm->data, shm->sizes.data_bytes, ret_reason);
    if (r < 0)
        return r;
    view.ops = &attach_ops;
    view.control_writable = shm->control_writable;
    view.data_writable = shm->data_writable;
    view.readers_writable = shm->readers_writable;
    view.fence_self = fence_self || (view.geometry.features_incompatible & RING_FEATURE_FENCED);
    struct attach_side *sides[] = {&attachment->drain, &attachment->supervise};
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
        sides[i]->attachment = attachment;
        sides[i]->view = view;
        sides[i]->view.ctx = sides[i];
    }
    return 0;
}

struct attach_step {
    struct attachment *attachment;
    bool fence_self;
    const char *name;
    const char *reason;
};

static int attach_look(void *argument)
{
    struct attach_step *step = argument;
    struct attachment *attachment = step->attachment;
    int r = attach_view(attachment, step->fence_self, &step->reason);
    if (r < 0)
        return r;
    if (strcmp(attachment->drain.view.identity.name, step->name) != 0) {
        step->reason = "the ring was made under another name";
        return -EBADMSG;
    }
    if (mem_load_acquire(&attachment->drain.view.control->removed)) {
        step->reason = "the ring is being removed";
        return -EIDRM;
    }
    attachment->id = ring_publisher_id(&attachment->supervise.view);
    return 0;
}

static int attach_join(void *argument)
{
    struct attach_step *step = argument;
    struct attachment *attachment = step->attachment;
    step->reason = "another weird that is alive serves the ring";
    return ring_daemon_join(&attachment->daemon, &attachment->supervise.view, attachment->id, (uint64_t)getpid(),
                            shm_wall_ns());
}

static int attach_make(struct attachment *attachment, const struct place *place, const char *name, struct shm_why *why)
{
    struct attach_step step = {.attachment = attachment, .fence_self = place->fence_self, .name = name};
    int r = guard_run(attach_look, &step);
    if (r == 0) {
        attachment->drain.readers_copy = calloc(1, attachment->drain.view.geometry.readers_bytes);
        attachment->supervise.readers_copy = calloc(1, attachment->drain.view.geometry.readers_bytes);
        if (!attachment->drain.readers_copy || !attachment->supervise.readers_copy)
            return -ENOMEM;
        step.reason = "the lock of a fresh id is held: next_id in control was set back";
        r = shm_lock(attachment->shm.lock_fd, attachment->id);
    }
    if (r == 0)
        r = guard_run(attach_join, &step);
    if (r == -EFAULT)
        step.reason = "its files were cut short";
    if (r < 0)
        shm_explain(why, "%s", step.reason ? step.reason : strerror(-r));
    return r;
}

int attach_open(struct attachment *attachment, const struct place *place, const char *name, struct shm_why *why)
{
    *attachment = (struct attachment){0};
    int r = shm_open_ring(place->bus_fd, name, SHM_SERVE, true, &attachment->shm, why);
    if (r < 0)
        return r;
    if (attachment->shm.lock_fd < 0) {
        shm_explain(why, "its lock file may not be opened");
        r = -EACCES;
    } else {
        r = attach_make(attachment, place, name, why);
    }
    if (r < 0)
        attach_close(attachment);
    return r;
}

static int attach_leave_step(void *argument)
{
    ring_publisher_leave(&((struct attachment *)argument)->daemon);
    return 0;
}

void attach_leave(struct attachment *attachment)
{
    guard_run(attach_leave_step, attachment);
}

void attach_close(struct attachment *attachment)
{
    free(attachment->drain.readers_copy);
    free(attachment->supervise.readers_copy);
    shm_close_ring(&attachment->shm);
}
