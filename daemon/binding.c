/* SPDX-License-Identifier: Apache-2.0 */
/* Tying a ring to its journal: making, comparing, recovering, leasing. */
#include "daemon/binding.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/guard.h"
#include "daemon/log.h"

#define BINDING_LINK "journal"

/* -- lease ---------------------------------------------------------------------------------------------------------- */

static int binding_set_meta(struct binding *binding, uint64_t lease, uint64_t durable)
{
    struct journal_meta meta = binding->meta;
    meta.lease = lease;
    durable = durable < binding->names.position ? durable : binding->names.position; /* rule 3 of names.h */
    if (durable > meta.durable)
        meta.durable = durable;
    int r = binding->names.changed ? names_save(&binding->names, binding->writer) : 0;
    if (r == 0)
        r = journal_set_meta(binding->writer, &meta);
    if (r == 0)
        binding->meta = meta;
    return r;
}

int binding_lease(struct binding *binding, uint64_t drained, uint64_t durable)
{
    uint64_t segment = 1ull << binding->meta.geometry.segment_shift;
    if (binding->meta.lease >= drained + BINDING_LEASE_LEFT * binding->memory_bytes)
        return 0;
    int r =
        binding_set_meta(binding, (drained & ~(segment - 1)) + BINDING_LEASE_TAKEN * binding->memory_bytes, durable);
    return r < 0 ? r : 1;
}

int binding_record(struct binding *binding, uint64_t durable)
{
    return binding_set_meta(binding, binding->meta.lease, durable);
}

/* -- opening -------------------------------------------------------------------------------------------------------- */

struct binding_step {
    struct hold *hold;
    struct binding *binding;
    uint64_t durable, lease, written;
    uint64_t end; /* of what the journal holds */
};

static int binding_read_control(void *argument)
{
    struct binding_step *step = argument;
    const struct ring_control *control = step->hold->drain.view.control;
    /* Where it was never synced for, memory was given up for what was written: recovery secures all that the journal has. */
    uint64_t drained = mem_load_acquire(&control->drained);
    step->durable = mem_load_acquire(&control->durable);
    step->durable = drained > step->durable ? drained : step->durable;
    step->written = mem_load_acquire(&control->written);
    step->lease = mem_load_acquire(&control->lease);
    return 0;
}

/* The last of it: from here on publishers are told the truth about this journal. */
static int binding_tell_control(void *argument)
{
    struct binding_step *step = argument;
    struct ring_control *control = step->hold->drain.view.control;
    if (step->written < step->durable || step->written > step->end)
        step->written = step->durable;
    mem_store_release(&control->written, step->written);
    mem_store_release(&control->durable, step->durable); /* recovery secured it */
    mem_store_release(&control->drained, step->durable);
    mem_store_release(&control->lease, step->binding->meta.lease); /* E8 progress */
    mem_store_release(&control->journal_error, 0);
    return 0;
}

/*
 * A file of the journal takes what is synced at once (drain_ring.c): so there are few files to sync, and making
 * one, or taking one that has expired, costs little beside filling it. Small rings have small files: what they keep is to go in
 * small steps too.
 */
static uint32_t binding_segments_shift(const struct ring_view *view)
{
    uint64_t most = view->geometry.memory_limit_bytes / 4;
    uint32_t shift = view->geometry.segment_shift;
    most = most < BINDING_FILE_MAX ? most : BINDING_FILE_MAX;
    while (most >= BINDING_FILE_MIN && shift < RING_SEGMENT_SHIFT_MAX && 2ull << shift <= most &&
           view->identity.start % (2ull << shift) == 0)
        shift++;
    return shift - view->geometry.segment_shift;
}

static int binding_make(const struct place *place, const struct hold *hold, const struct binding_step *step,
                        struct shm_why *why)
{
    const struct ring_view *view = &hold->drain.view;
    if (step->durable > view->identity.start) {
        shm_explain(why,
                    "there is no journal %s/%s, though this ring's records are durable up to %" PRIu64
                    ": is it the wrong journal directory? Give the right one, or remove the ring",
                    place->journal, view->identity.name, step->durable);
        return -ESTALE;
    }
    struct stat st;
    if (fstat(hold->shm.control_fd, &st) < 0)
        return -errno;
    struct journal_meta meta = {.geometry = view->geometry,
                                .segments_shift = binding_segments_shift(view),
                                .identity = view->identity,
                                .mode = st.st_mode & 0777,
                                .uid = st.st_uid,
                                .gid = st.st_gid,
                                .durable = view->identity.start};
    meta.lease = meta.identity.start + BINDING_LEASE_TAKEN * view->geometry.data_bytes;
    int r = journal_create(place->journal_fd, &meta);
    if (r < 0)
        shm_explain(why, "cannot make the journal %s/%s: %s", place->journal, view->identity.name, strerror(-r));
    return r;
}

static bool binding_same(const struct binding *binding, const struct ring_view *view)
{
    const struct ring_identity *ours = &binding->meta.identity;
    return memcmp(ours->ring_id, view->identity.ring_id, sizeof ours->ring_id) == 0 &&
           binding->meta.geometry.segment_shift == view->geometry.segment_shift;
}

/* Is this journal the one that the ring was drained to, and does it hold what the ring says is durable? */
static int binding_check(const struct binding *binding, const struct place *place, const struct ring_view *view,
                         const struct binding_step *step, struct shm_why *why)
{
    const char *name = view->identity.name;
    if (!binding_same(binding, view)) {
        shm_explain(why, "%s/%s is the journal of another ring: move it away, or remove the ring %s", place->journal,
                    name, name);
        return -ESTALE;
    }
    if (binding->meta.identity.epoch != view->identity.epoch || binding->meta.identity.start != view->identity.start) {
        shm_explain(why,
                    "the journal %s/%s is in epoch %" PRIu64 " and this ring in epoch %" PRIu64
                    ": another bus has gone on with it. Remove the ring, or give the right journal directory",
                    place->journal, name, binding->meta.identity.epoch, view->identity.epoch);
        return -ESTALE;
    }
    if (step->durable < view->identity.start || step->durable % RING_UNIT_BYTES) {
        shm_explain(why, "control says that it is durable up to %" PRIu64 ", which is no position of it",
                    step->durable);
        return -EBADMSG;
    }
    return 0;
}

static int binding_learn_names(void *argument)
{
    struct binding_step *step = argument;
    names_learn(&step->binding->names, &step->hold->drain.view);
    return 0;
}

/* Names that are damaged on disk stand in the ring too; what was counted is then counted again, as far back as records are
 * kept: *ret_damaged. */
static int binding_load_names(struct binding *binding, const struct place *place, struct binding_step *step,
                              bool *ret_damaged, struct shm_why *why)
{
    const char *name = binding->meta.identity.name;
    struct journal_names saved = {0};
    int damaged = journal_load_names(binding->writer, &saved);
    if (damaged < 0 && damaged != -EBADMSG) {
        shm_explain(why, "cannot read the names in %s/%s: %s", place->journal, name, strerror(-damaged));
        return damaged;
    }
    int r = names_open(&binding->names, &step->hold->drain.view.geometry, &saved);
    *ret_damaged = damaged < 0;
    journal_free_names(&saved);
    if (r == 0 && damaged < 0) {
        log_warning("ring %s: the names in its journal are damaged, and taken from the ring again", name);
        r = guard_run(binding_learn_names, step);
    }
    return r;
}

static int binding_recover(struct binding *binding, const struct place *place, struct binding_step *step,
                           struct shm_why *why)
{
    const char *name = binding->meta.identity.name;
    struct names *names = &binding->names;
    uint64_t end = 0;
    bool damaged;
    int r = binding_load_names(binding, place, step, &damaged, why);
    if (r < 0)
        return r;
    uint64_t count_from = damaged ? 0 : names_count_from(names, &binding->meta);
    r = journal_recover(binding->writer, count_from, step->durable, names_count_recovered, names, &end);
    if (r < 0) {
        shm_explain(why, "cannot recover the journal %s/%s: %s", place->journal, name, strerror(-r));
        return r;
    }
    if (end < step->durable) {
        shm_explain(why,
                    "the journal %s/%s ends at %" PRIu64 ", but this ring's records are durable up to %" PRIu64
                    ": is it the wrong journal directory, or an old copy?",
                    place->journal, name, end, step->durable);
        return -ESTALE;
    }
    step->end = end;
    if (!damaged) {
        names_recovered(names, step->durable, end);
        return 0;
    }
    /* All of it is saved before anything else is: what was counted below meta.durable is not counted a second time. */
    names_recovered(names, end, end);
    names->changed = true;
    return names_checkpoint(names, &step->hold->drain.view, binding->writer, UINT64_MAX);
}

/* For readers who fall out of memory. Removed with the ring's directory, so it is made in place. */
static void binding_link(const struct place *place, const struct hold *hold, const char *name)
{
    char target[PATH_MAX], there[PATH_MAX];
    int bytes = snprintf(target, sizeof target, "%s/%s", place->journal, name);
    if (bytes < 0 || (size_t)bytes >= sizeof target)
        return;
    ssize_t got = readlinkat(hold->shm.dir_fd, BINDING_LINK, there, sizeof there);
    if (got == bytes && memcmp(there, target, (size_t)bytes) == 0)
        return;
    if (got >= 0)
        unlinkat(hold->shm.dir_fd, BINDING_LINK, 0);
    if (symlinkat(target, hold->shm.dir_fd, BINDING_LINK) < 0)
        log_warning("ring %s: cannot link it to its journal, slow readers will not find it: %m", name);
}

/* Subscribers of other users read on in the journal with rights of their own. */
static void binding_warn(const struct binding *binding, const struct place *place)
{
    char path[PATH_MAX];
    if (place_journal_is_shut(place, binding->meta.mode, binding->meta.gid, path))
        log_warning("ring %s: its mode %04o lets others subscribe, but %s lets not all of them pass: a subscriber that "
                    "falls out of memory could not read on in the journal",
                    binding->meta.identity.name, (unsigned)binding->meta.mode, path);
}

static int binding_fill(struct binding *binding, const struct place *place, struct hold *hold, struct shm_why *why)
{
    const struct ring_view *view = &hold->drain.view;
    const char *name = view->identity.name;
    struct binding_step step = {.hold = hold, .binding = binding};
    int r = guard_run(binding_read_control, &step);
    if (r < 0)
        return r;
    r = journal_open(place->journal_fd, name, &binding->writer, &binding->meta);
    if (r == -ENOENT) {
        r = binding_make(place, hold, &step, why);
        if (r < 0)
            return r;
        r = journal_open(place->journal_fd, name, &binding->writer, &binding->meta);
    }
    if (r == -EBUSY)
        shm_explain(why, "another process writes the journal %s/%s", place->journal, name);
    else if (r < 0)
        shm_explain(why, "cannot open the journal %s/%s: %s", place->journal, name, strerror(-r));
    if (r == 0)
        r = binding_check(binding, place, view, &step, why);
    if (r == 0)
        r = binding_recover(binding, place, &step, why);
    if (r < 0)
        return r;
    binding->durable = step.durable;
    binding->memory_bytes = view->geometry.data_bytes;
    binding_link(place, hold, name);
    binding_warn(binding, place);
    r = guard_run(binding_tell_control, &step);
    binding->written = step.written;
    return r;
}

int binding_open(struct binding **ret_binding, const struct place *place, struct hold *hold, struct shm_why *why)
{
    struct binding *binding = calloc(1, sizeof *binding);
    if (!binding)
        return -ENOMEM;
    int r = binding_fill(binding, place, hold, why);
    if (r < 0) {
        binding_close(binding);
        return r;
    }
    *ret_binding = binding;
    return 0;
}

int binding_discard(struct binding *binding, const struct place *place)
{
    int r = journal_discard(place->journal_fd, binding->writer);
    binding->writer = NULL;
    binding_close(binding);
    return r;
}

void binding_close(struct binding *binding)
{
    if (!binding)
        return;
    names_close(&binding->names);
    if (binding->writer)
        journal_close(binding->writer);
    free(binding);
}
