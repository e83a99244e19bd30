/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a ring, and the ring's questions that only the kernel can answer. */
#include "client/attach.h"

#include <endian.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir.h"

static bool publisher_dead(void *ctx, uint64_t id)
{
    const struct attachment *attachment = ctx;
    return id != attachment->publisher_id && attachment->shm.lock_fd >= 0 &&
           shm_locked(attachment->shm.lock_fd, id) == 0;
}

static bool reader_dead(void *ctx, uint64_t id)
{
    const struct attachment *attachment = ctx;
    return id != attachment->reader_id && attachment->shm.reader_lock_fd >= 0 &&
           shm_locked(attachment->shm.reader_lock_fd, id) == 0;
}

static bool fence(void *ctx)
{
    const struct attachment *attachment = ctx;
    if (attachment->view.geometry.features_incompatible & RING_FEATURE_FENCED) {
        mem_fence_full(); /* everyone fences for itself; this is ours */
        return true;
    }
    return attachment->fence_works && shm_fence();
}

static const struct ring_readers *readers_copy(void *ctx)
{
    struct attachment *attachment = ctx;
    uint64_t bytes = RING_READERS_HEADER_BYTES + attachment->view.geometry.max_readers * sizeof(struct ring_reader);
    if (!attachment->readers_copy && !(attachment->readers_copy = aligned_alloc(MEM_PAIR_BYTES, bytes)))
        return NULL;
    /* Read, not mapped: subscribers may truncate the file, and that must not kill a publisher. */
    for (uint64_t done = 0; done < bytes;) {
        ssize_t got =
            pread(attachment->shm.readers_fd, (char *)attachment->readers_copy + done, bytes - done, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return NULL;
        done += (uint64_t)got;
    }
    return attachment->readers_copy;
}

static void relax(void *ctx)
{
    (void)ctx;
    sched_yield();
}

static const struct ring_ops kernel_ops = {.publisher_dead = publisher_dead,
                                           .reader_dead = reader_dead,
                                           .fence = fence,
                                           .readers_copy = readers_copy,
                                           .relax = relax};

static int explain_view(int error, const char *name, const char *reason, const struct shm_ring *shm)
{
    if (error == -EPROTONOSUPPORT && shm->sizes.control_bytes >= RING_CONTROL_HEADER_BYTES) {
        const struct ring_control *control = shm->control;
        return fail(error, "ring %s: %s (layout version of the ring: %u, of this library: %u)", name, reason,
                    control->layout_version, RING_LAYOUT_VERSION);
    }
    return fail(error, "ring %s: %s", name, reason);
}

int attachment_open(struct attachment *attachment, const char *bus, const char *name, enum shm_access access,
                    bool repair)
{
    char path[256];
    struct shm_why why = {""};
    const char *reason = "";
    memset(attachment, 0, sizeof *attachment);
    if (!name)
        return fail(-EINVAL, "no ring is named");
    int bus_fd = shm_bus_open(bus, false, path, sizeof path, &why);
    if (bus_fd < 0)
        return fail(bus_fd, "%s", why.text);
    int r = shm_open_ring(bus_fd, name, access, repair, &attachment->shm, &why);
    close(bus_fd);
    if (r < 0)
        return fail(r, "%s", why.text[0] ? why.text : weir_strerror(r));
    struct shm_ring *shm = &attachment->shm;
    r = ring_view_init(&attachment->view, shm->control, shm->sizes.control_bytes, shm->readers,
                       shm->sizes.readers_bytes, shm->data, shm->sizes.data_bytes, &reason);
    if (r < 0) {
        r = explain_view(r, name, reason, shm);
        shm_close_ring(shm);
        return r;
    }
    attachment->fork_generation = shm_fork_generation;
    attachment->fence_works = shm_fence_register();
    attachment->view.ops = &kernel_ops;
    attachment->view.ctx = attachment;
    attachment->view.control_writable = shm->control_writable;
    attachment->view.data_writable = shm->data_writable;
    attachment->view.readers_writable = shm->readers_writable;
    attachment->view.fence_self =
        !attachment->fence_works || (attachment->view.geometry.features_incompatible & RING_FEATURE_FENCED);
    return 0;
}

void attachment_close(struct attachment *attachment)
{
    shm_close_ring(&attachment->shm);
    free(attachment->readers_copy);
    attachment->readers_copy = NULL;
}

int attachment_check(const struct attachment *attachment)
{
    if (attachment->fork_generation == shm_fork_generation)
        return 0;
    return fail(-ECHILD, "this handle was opened before fork(): open one of this process's own");
}

#define SPIN_NS 50000

int64_t attachment_spin_ns(void)
{
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) < 2 ? 0 : SPIN_NS;
}

const uint32_t *attachment_futex(const struct ring_bell *bell)
{
    const uint32_t *halves = (const uint32_t *)(const void *)&bell->seq;
    return __BYTE_ORDER == __LITTLE_ENDIAN ? halves : halves + 1;
}

void attachment_ring(struct ring_bell *bell)
{
    mem_add(&bell->seq, 1);
    shm_wake_all(attachment_futex(bell));
}

int attachment_journal_stopped(const struct ring_control *control)
{
    uint64_t error = mem_load_acquire(&control->journal_error);
    return error & RING_JOURNAL_RETRIES ? 0 : (int)error;
}

int attachment_journal_held_up(const struct ring_control *control)
{
    uint64_t error = mem_load_acquire(&control->journal_error);
    return error & RING_JOURNAL_RETRIES ? (int)error : 0;
}

bool attachment_daemon_alive(struct attachment *attachment)
{
    uint64_t id = mem_load_acquire(&attachment->view.publishers[RING_WEIRD_INDEX].id);
    return id != 0 && !publisher_dead(attachment, id);
}
