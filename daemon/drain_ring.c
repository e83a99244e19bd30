/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants, at any instruction:
 *   1. control.durable <= what is synced: it is stored after a sync of all below it has ended well.
 *   2. control.drained <= control.durable: memory is given up only for what is safe; where the ring is never synced for, it is
 *      control.drained <= control.written. Whoever takes over then secures what lies between before it goes on (binding.c).
 *   3. control.lease <= the lease in the journal's meta: it is stored after journal_set_meta() returned 0.
 *   4. after a failed write or sync nothing of 1 to 3 is raised again, and control.journal_error says why. Where a file could
 *      not be made for want of room, nothing was written: it is tried again, and control.journal_error says that too.
 *   5. what goes to disk was checked in a copy that nobody else can change.
 * The ring's memory is touched under a guard alone; the journal is never.
 */
#include "daemon/drain_ring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bell.h"
#include "daemon/guard.h"
#include "daemon/log.h"

#define DRAIN_BATCH_BYTES (8ull << 20)
/* So many batches are sent ahead of what is durable, at most. Where the ring is never synced for, fewer: each of their segments may
 * be a file, and with more than JOURNAL_FILES_MAX of them writing waits for syncs. */
#define DRAIN_AHEAD 4ull
#define DRAIN_AHEAD_NEVER 2ull
#define DRAIN_COPY_BYTES (1ull << 20)
#define DRAIN_ALIGNMENT 4096u
#define DRAIN_RETRY_NS 100000000ull

static struct ring_view *drain_view(const struct drain_ring *drain)
{
    return &drain->ring->hold.drain.view;
}

/* -- stopping ------------------------------------------------------------------------------------------------------- */

static int drain_stop_step(void *argument)
{
    struct drain_ring *drain = argument;
    struct ring_control *control = drain_view(drain)->control;
    mem_store_release(&control->journal_error, (uint64_t)drain->stopped); /* E8 progress */
    bell_ring(&control->progress.seq);
    return 0;
}

static void drain_hurt(struct drain_ring *drain)
{
    drain->stopped = EFAULT;
    drain->syncing = false;
    weird_ring_hurt(drain->ring);
}

static void drain_stop(struct drain_ring *drain, int error, const char *what)
{
    if (error == -EFAULT) {
        drain_hurt(drain);
        return;
    }
    drain->stopped = -error;
    drain->syncing = false; /* journal_close() waits for what is under way */
    if (!drain->quiet)
        log_error("ring %s: %s at position %" PRIu64 ": %s. Its journal stops at %" PRIu64
                  " and stays there until weird is started again",
                  drain->ring->name, what, drain->written, strerror(-error), drain->durable);
    if (guard_run(drain_stop_step, drain) < 0)
        drain_hurt(drain);
}

/* -- waiting for room on the disk --------------------------------------------------------------------------------------- */

/* The word is weird's. Nobody is woken: who waits for room, or for a confirm, goes on waiting. */
static int drain_held_up_step(void *argument)
{
    const struct drain_ring *drain = argument;
    uint64_t error = drain->held_up ? (uint64_t)drain->held_up | RING_JOURNAL_RETRIES : 0;
    mem_store_release(&drain_view(drain)->control->journal_error, error);
    return 0;
}

static void drain_tell_held_up(struct drain_ring *drain, int error)
{
    drain->held_up = error;
    if (guard_run(drain_held_up_step, drain) < 0)
        drain_hurt(drain);
}

static void drain_goes_on(struct drain_ring *drain)
{
    if (drain->held_up == 0)
        return;
    log_notice("ring %s: its journal goes on at position %" PRIu64, drain->ring->name, drain->written);
    drain_tell_held_up(drain, 0);
}

/*
 * Nothing is lost where there was no room to make a file, or no memory: the records are in the ring still, and publishers do
 * what its policy says once that is full. Everything else ends the journal.
 */
static void drain_failed(struct drain_ring *drain, int error, const char *what)
{
    if (!journal_may_pass(error) || journal_ended(drain->binding->writer) < 0) {
        drain_stop(drain, error, what);
        return;
    }
    if (drain->held_up != -error && !drain->quiet)
        log_warning("ring %s: %s at position %" PRIu64
                    ": %s. It is tried again until it succeeds; its publishers wait, or "
                    "what they send is refused, when its memory is full",
                    drain->ring->name, what, drain->written, strerror(-error));
    drain->retry_ns = shm_now_ns() + DRAIN_RETRY_NS;
    drain_tell_held_up(drain, -error);
}

/* -- copying -------------------------------------------------------------------------------------------------------- */

struct drain_copy {
    struct drain_ring *drain;
    struct drain_buffer *buffer;
    uint64_t bytes;
    uint64_t needed; /* the next record takes a larger buffer */
};

static void drain_look_at_wishes(struct drain_ring *drain)
{
    const struct ring_control *control = drain_view(drain)->control;
    drain->work_seq = (uint32_t)mem_load_acquire(&control->work.seq);
    drain->wanted = mem_load_acquire(&control->confirm_want) > drain->durable ||
                    bell_wanted(mem_load_acquire(&control->progress_want), mem_load_acquire(&control->progress.seq));
}

/*
 * One run of committed records within one segment, as long as fits: whole records, and the padding between and behind them.
 * The segment stays where it is, since it is not below control.drained.
 */
static int drain_copy_step(void *argument)
{
    struct drain_copy *copy = argument;
    struct drain_ring *drain = copy->drain;
    struct ring_view *view = drain_view(drain);
    struct ring_reader_state *reader = &drain->reader;
    uint64_t start = drain->sent, at = start;
    uint64_t segment = start >> view->geometry.segment_shift;
    uint64_t end = (segment + 1) << view->geometry.segment_shift;
    int r;
    drain_look_at_wishes(drain);
    drain->end = ring_end_position(view);
    if (!reader->inside || reader->segment != segment || ring_reader_position(reader) != start) {
        r = ring_reader_seek(reader, start);
        if (r < 0)
            return r == -EAGAIN ? 0 : r;
    }
    const uint8_t *from = reader->base + (start & ((1ull << view->geometry.segment_shift) - 1));
    struct ring_item item;
    while ((r = ring_reader_peek(reader, &item)) == 1 && item.position < end) {
        if (item.next - start > copy->buffer->capacity)
            break;
        ring_reader_pass(reader, &item);
        at = item.next;
    }
    if (r == 1 && item.position < end) {
        if (at == start)
            copy->needed = item.next - start;
    } else {
        uint64_t padded = ring_reader_position(reader); /* peek went past padding, and maybe into the next segment */
        if (padded > end)
            padded = end;
        if (padded - start <= copy->buffer->capacity)
            at = padded;
        else if (at == start)
            copy->needed = padded - start;
    }
    if (at == start)
        return r < 0 ? r : 0;
    memcpy(copy->buffer->bytes, from, at - start);
    copy->bytes = at - start;
    return 0;
}

static bool drain_buffer_grow(struct drain_buffer *buffer, uint64_t capacity)
{
    if (capacity < DRAIN_COPY_BYTES)
        capacity = DRAIN_COPY_BYTES;
    capacity = (capacity + DRAIN_ALIGNMENT - 1) / DRAIN_ALIGNMENT * DRAIN_ALIGNMENT;
    if (buffer->fixed)
        return false;
    free(buffer->bytes);
    buffer->bytes = aligned_alloc(DRAIN_ALIGNMENT, capacity);
    buffer->capacity = buffer->bytes ? capacity : 0;
    return buffer->bytes != NULL;
}

/*
 * Where there is more than the segment that comes next, what is left of it is copied to where it flies from. The ring's end is
 * what it was, or anything: nothing but speed hangs on it.
 */
static bool drain_stage(struct drain_ring *drain, struct drain_buffer *ret_buffer)
{
    uint32_t shift = drain->binding->meta.geometry.segment_shift;
    uint64_t end = ((drain->sent >> shift) + 1) << shift;
    if (drain->end < end)
        return false;
    uint64_t bytes = end - drain->sent;
    *ret_buffer = (struct drain_buffer){journal_stage(drain->binding->writer, drain->sent, bytes), bytes, true};
    return ret_buffer->bytes != NULL;
}

/* Bytes in the buffer, 0, or -errno. */
static int64_t drain_copy(struct drain_ring *drain, struct drain_buffer *buffer)
{
    struct drain_copy copy = {.drain = drain, .buffer = buffer};
    if (buffer->capacity == 0 && !drain_buffer_grow(buffer, DRAIN_COPY_BYTES))
        return -ENOMEM;
    int r = guard_run(drain_copy_step, &copy);
    if (r == 0 && copy.needed) {
        /* At most a segment: what ring_reader_peek() returns lies in one. */
        if (!drain_buffer_grow(buffer, copy.needed))
            return -ENOMEM;
        drain->reader.inside = false;
        copy.needed = 0;
        r = guard_run(drain_copy_step, &copy);
    }
    return r < 0 ? r : (int64_t)copy.bytes;
}

/* A sync begins when so much is written and not synced, however long it could wait. A sync costs less than waiting publishers do:
 * it is never put off until memory is short. Where nobody waits for it, it bounds what a recovery has to read. */
static uint64_t drain_batch_bytes(const struct drain_ring *drain)
{
    if (drain->policy.sync == POLICY_SYNC_NEVER)
        return (JOURNAL_FILES_MAX / 4ull) << drain->binding->meta.geometry.segment_shift;
    uint64_t bytes = drain->binding->memory_bytes / DRAIN_AHEAD;
    return bytes < DRAIN_BATCH_BYTES ? bytes : DRAIN_BATCH_BYTES;
}

static uint64_t drain_ahead_bytes(const struct drain_ring *drain)
{
    bool never = drain->policy.sync == POLICY_SYNC_NEVER;
    return (never ? DRAIN_AHEAD_NEVER : DRAIN_AHEAD) * drain_batch_bytes(drain);
}

/* How far memory may be reclaimed: see invariant 2. It never goes back: the policy may have changed meanwhile. */
static void drain_give_up_memory(struct drain_ring *drain)
{
    struct ring_control *control = drain_view(drain)->control;
    uint64_t drained = drain->policy.sync == POLICY_SYNC_NEVER ? drain->written : drain->durable;
    if (drained > drain->drained)
        drain->drained = drained;
    mem_store_release(&control->drained, drain->drained); /* E8 progress */
}

/* -- writing -------------------------------------------------------------------------------------------------------- */

/*
 * Only those are woken who wait for no more than this: to wake one that waits for the sync takes as long as half of it, and
 * would have to be done again. Where memory is given up now, whoever waits for room is woken too.
 */
static int drain_written_step(void *argument)
{
    struct drain_ring *drain = argument;
    struct ring_view *view = drain_view(drain);
    struct ring_control *control = view->control;
    uint64_t before = mem_load_relaxed(&control->written);
    if (drain->written > drain->told)
        drain->told = drain->written;
    mem_store_release(&control->written, drain->told); /* E8 progress */
    if (drain->policy.sync == POLICY_SYNC_NEVER)
        drain_give_up_memory(drain);
    uint64_t visible = mem_load_acquire(&control->visible);
    if (visible < drain->written)
        mem_swap(&control->visible, visible, drain->written); /* a hint: who raced us knew as much */
    if (view->fence_self)
        mem_fence_full(); /* E6 sleep */
    else
        mem_fence_light(); /* E6 sleep */
    bool room = drain->policy.sync == POLICY_SYNC_NEVER;
    if ((room || mem_load_acquire(&control->written_want) > before) &&
        ring_bell_news(view, &control->progress, &control->progress_want))
        shm_wake_all(bell_futex(&control->progress.seq));
    return 0;
}

static int drain_durable_step(void *argument)
{
    struct drain_ring *drain = argument;
    struct ring_view *view = drain_view(drain);
    struct ring_control *control = view->control;
    mem_store_release(&control->durable, drain->durable); /* E8 progress */
    drain_give_up_memory(drain);
    mem_store_release(&control->lease, drain->binding->meta.lease); /* E8 progress */
    if (ring_bell_news(view, &control->progress, &control->progress_want))
        shm_wake_all(bell_futex(&control->progress.seq));
    return 0;
}

static void drain_tell(struct drain_ring *drain)
{
    if (guard_run(drain_durable_step, drain) < 0)
        drain_hurt(drain);
}

static void drain_lease(struct drain_ring *drain)
{
    int r = binding_lease(drain->binding, drain->drained, drain->durable);
    if (r < 0)
        drain_failed(drain, r, "leasing positions failed");
    else if (r > 0)
        drain_tell(drain);
}

void drain_ring_settle(struct drain_ring *drain, bool wait)
{
    uint64_t written = drain->written;
    if (drain->stopped || drain->sent == drain->written)
        return;
    int r = journal_settle(drain->binding->writer, wait, &written);
    if (r < 0) {
        drain_failed(drain, r, "writing failed");
        return;
    }
    if (written == drain->written)
        return;
    drain->written = written;
    if (guard_run(drain_written_step, drain) < 0)
        drain_hurt(drain);
    else if (drain->policy.sync == POLICY_SYNC_NEVER)
        drain_lease(drain);
}

/* Where a file is refused for want of room, a ring that may give up what is oldest does, down to the low watermark. */
static bool drain_make_room(struct drain_ring *drain, int error)
{
    if (error != -EDQUOT && error != -ENOSPC)
        return false;
    if (drain->policy.when_limited != POLICY_LIMITED_EXPIRE || journal_ended(drain->binding->writer) < 0)
        return false;
    if (drain->sent != drain->durable) /* what is not synced cannot go */
        drain_ring_sync(drain);
    int r = drain->stopped ? 0 : retain_make_room(&drain->retain, drain->durable);
    if (r < 0)
        drain_stop(drain, r, "expiring failed");
    return r > 0 && !drain->stopped;
}

static bool drain_write_run(struct drain_ring *drain, struct drain_buffer *buffer, uint64_t bytes, uint64_t now_ns)
{
    struct binding *binding = drain->binding;
    struct names_drain names = {.names = &binding->names, .view = drain_view(drain)};
    uint64_t valid = 0;
    int damaged = journal_seal(&binding->meta, drain->sent, buffer->bytes, bytes, &valid, names_count_drained, &names);
    int r = names.error;
    if (r == 0 && binding->names.unsaved_name)
        r = names_save(&binding->names, binding->writer); /* rule 2 of names.h */
    if (r == 0 && damaged < 0 && valid < bytes)
        bytes = valid;
    if (r == 0 && bytes) {
        r = journal_write(binding->writer, drain->sent, buffer->bytes, bytes);
        if (drain_make_room(drain, r))
            r = journal_write(binding->writer, drain->sent, buffer->bytes, bytes);
    }
    names_written(&binding->names, r == 0 && !drain->stopped);
    if (drain->stopped)
        return false;
    if (r < 0) {
        drain_failed(drain, r, "writing failed");
        return false;
    }
    drain_goes_on(drain);
    if (drain->sent == drain->syncing_to)
        drain->unsynced_ns = now_ns;
    drain->sent += bytes;
    if (damaged < 0 && drain->sent != drain->durable)
        drain_ring_sync(drain);
    if (damaged < 0 && !drain->stopped)
        drain_stop(drain, damaged, "a record makes no sense");
    return !drain->stopped;
}

static int drain_wishes_step(void *argument)
{
    drain_look_at_wishes(argument);
    return 0;
}

/* True: what held it up may have passed. */
static bool drain_try_again(struct drain_ring *drain, uint64_t now_ns)
{
    if (guard_run(drain_wishes_step, drain) < 0)
        drain_hurt(drain);
    if (drain->stopped || now_ns < drain->retry_ns)
        return false;
    drain_lease(drain);
    return !drain->stopped && now_ns >= drain->retry_ns;
}

uint64_t drain_ring_write(struct drain_ring *drain, struct drain_buffer *buffer, uint64_t limit, uint64_t now_ns)
{
    uint64_t total = 0;
    if (drain->held_up && !drain_try_again(drain, now_ns))
        return 0;
    limit = limit < drain_batch_bytes(drain) ? limit : drain_batch_bytes(drain); /* then it may be time for a sync */
    while (!drain->stopped && total < limit && drain->sent - drain->durable < drain_ahead_bytes(drain)) {
        struct drain_buffer stage;
        struct drain_buffer *place = drain_stage(drain, &stage) ? &stage : buffer;
        int64_t bytes = drain_copy(drain, place);
        if (bytes < 0) {
            drain_failed(drain, (int)bytes,
                         bytes == -ENOENT ? "records not yet written left the memory" : "reading failed");
            break;
        }
        if (bytes == 0)
            drain_goes_on(drain);
        if (bytes == 0 || !drain_write_run(drain, place, (uint64_t)bytes, now_ns))
            break;
        total += (uint64_t)bytes;
    }
    if (total) {
        drain_ring_settle(drain, false);
        drain->quiet_ns = 0;
        drain->pending = false;
    } else if (drain->quiet_ns == 0) {
        drain->quiet_ns = now_ns;
    }
    return total;
}

/* -- syncing -------------------------------------------------------------------------------------------------------- */

bool drain_ring_sync_due(const struct drain_ring *drain, bool others, uint64_t now_ns, uint64_t *due_ns)
{
    if (drain->stopped || drain->syncing || drain->written == drain->durable)
        return false;
    if (drain->written - drain->durable >= drain_batch_bytes(drain))
        return true;
    /* Held up, it waits for what is old to expire, which only what is durable may. */
    if (drain->policy.sync == POLICY_SYNC_NEVER)
        return drain->held_up != 0;
    bool always = drain->policy.sync == POLICY_SYNC_ALWAYS;
    uint64_t collect_ms = always ? POLICY_COLLECT_MS : drain->policy.sync_interval_ms;
    uint64_t ring_due_ns = drain->unsynced_ns + collect_ms * 1000000;
    if (ring_due_ns < *due_ns)
        *due_ns = ring_due_ns;
    return now_ns >= ring_due_ns || (always && (drain->wanted || others));
}

static void drain_synced(struct drain_ring *drain, uint64_t durable)
{
    drain->syncing = false;
    drain->syncing_to = drain->durable = durable;
    names_synced(&drain->binding->names, durable, drain->sent);
    drain_tell(drain);
    if (!drain->stopped)
        drain_lease(drain);
}

void drain_ring_sync(struct drain_ring *drain)
{
    drain_ring_settle(drain, true);
    if (drain->stopped)
        return;
    int r = journal_sync(drain->binding->writer);
    if (r < 0)
        drain_stop(drain, r, "syncing failed");
    else
        drain_synced(drain, drain->written);
}

void drain_ring_sync_begin(struct drain_ring *drain, uint64_t now_ns)
{
    int r = journal_sync_begin(drain->binding->writer);
    if (r < 0) {
        drain_stop(drain, r, "syncing failed");
        return;
    }
    drain->syncing = true;
    drain->syncing_to = drain->written;
    drain->unsynced_ns = now_ns;
    names_cut(&drain->binding->names, drain->sent);
}

bool drain_ring_sync_end(struct drain_ring *drain, bool wait)
{
    uint64_t durable;
    int r = journal_sync_end(drain->binding->writer, wait, &durable);
    if (r < 0)
        drain_stop(drain, r, "syncing failed");
    else if (r > 0)
        drain_synced(drain, durable);
    return r != 0;
}

/* -- now and then --------------------------------------------------------------------------------------------------- */

static int drain_look_step(void *argument)
{
    struct drain_ring *drain = argument;
    return ring_reader_look(&drain->reader, &drain->pending);
}

bool drain_ring_look(struct drain_ring *drain)
{
    int r = guard_run(drain_look_step, drain);
    if (r < 0)
        drain_stop(drain, r, "a claim makes no sense");
    return r > 0;
}

void drain_ring_checkpoint(struct drain_ring *drain, uint64_t now_ns)
{
    int r = names_checkpoint(&drain->binding->names, drain_view(drain), drain->binding->writer, now_ns);
    bool late = journal_may_pass(r) && journal_ended(drain->binding->writer) == 0;
    if (late && !drain->names_late)
        log_warning("ring %s: saving names failed: %s. It is tried again", drain->ring->name, strerror(-r));
    else if (r < 0 && !late)
        drain_stop(drain, r, "saving names failed");
    drain->names_late = late;
}

void drain_ring_retain(struct drain_ring *drain, uint64_t now_ns)
{
    int r = retain_look(&drain->retain, drain->durable, now_ns);
    if (r < 0)
        drain_stop(drain, r, "expiring failed");
}

bool drain_ring_prepare(struct drain_ring *drain)
{
    return journal_prepare(drain->binding->writer) > 0;
}

static int drain_ask_step(void *argument)
{
    struct drain_ring *drain = argument;
    struct ring_control *control = drain_view(drain)->control;
    uint64_t before = mem_load_acquire(&control->work_want);
    drain->work_seq = (uint32_t)ring_bell_ask(&control->work, &control->work_want);
    return mem_load_acquire(&control->work_want) != before;
}

bool drain_ring_ask(struct drain_ring *drain)
{
    int r = guard_run(drain_ask_step, drain);
    if (r < 0)
        drain_hurt(drain);
    return r > 0;
}

/* -- from beginning to end ------------------------------------------------------------------------------------------- */

static int drain_learn_step(void *argument)
{
    const struct drain_ring *drain = argument;
    const struct policy *policy = &drain->policy;
    static const uint64_t words[] = {[POLICY_SYNC_ALWAYS] = RING_SYNC_ALWAYS,
                                     [POLICY_SYNC_INTERVAL] = RING_SYNC_INTERVAL,
                                     [POLICY_SYNC_NEVER] = RING_SYNC_NEVER};
    uint64_t interval_ms = policy->sync == POLICY_SYNC_INTERVAL ? policy->sync_interval_ms : 0;
    mem_store_release(&drain_view(drain)->control->sync, words[policy->sync] | interval_ms << 8);
    return 0;
}

void drain_ring_learn(struct drain_ring *drain)
{
    if (!drain->stopped && guard_run(drain_learn_step, drain) < 0)
        drain_hurt(drain);
    retain_learn(&drain->retain);
}

void drain_ring_begin(struct drain_ring *drain)
{
    drain->binding = drain->ring->binding;
    drain->reader.view = drain_view(drain);
    drain->sent = drain->written = drain->syncing_to = drain->durable = drain->binding->durable;
    drain->told = drain->binding->written;
    journal_set_flights(drain->binding->writer, drain->flights);
    drain->drained = drain->binding->durable;
    retain_begin(&drain->retain, drain->room, drain->ring->name, drain->binding, drain_view(drain), &drain->policy);
    drain_ring_learn(drain);
    drain_lease(drain);
}

void drain_ring_discard(struct drain_ring *drain, const struct place *place)
{
    retain_end(&drain->retain);
    int r = binding_discard(drain->binding, place);
    room_count_anew(drain->room);
    if (r < 0 && r != -ENOENT)
        log_error("ring %s: it is removed, its journal is not: %s", drain->ring->name, strerror(-r));
    drain->binding = NULL;
    drain_ring_close(drain);
}

void drain_ring_close(struct drain_ring *drain)
{
    retain_end(&drain->retain);
    binding_close(drain->binding);
    drain->ring->binding = NULL;
    free(drain);
}

struct drain_end {
    struct drain_ring *drain;
    uint64_t position;
};

static int drain_end_step(void *argument)
{
    struct drain_end *end = argument;
    end->position = ring_end_position(drain_view(end->drain));
    return 0;
}

void drain_ring_finish(struct drain_ring *drain, struct drain_buffer *buffer, uint64_t deadline_ns)
{
    struct drain_end end = {.drain = drain};
    drain->retry_ns = 0;
    if (!drain->stopped && guard_run(drain_end_step, &end) < 0)
        drain_hurt(drain);
    if (!drain->stopped && drain->sent != drain->durable) /* else it might be as much as may be ahead of it */
        drain_ring_sync(drain);
    while (!drain->stopped) {
        uint64_t now_ns = shm_now_ns();
        uint64_t bytes = 0;
        if (drain->sent < end.position && now_ns < deadline_ns)
            bytes = drain_ring_write(drain, buffer, drain_batch_bytes(drain), now_ns);
        if (drain->stopped)
            break;
        if (drain->sent != drain->durable)
            drain_ring_sync(drain);
        if (bytes == 0)
            break;
    }
    if (!drain->stopped)
        drain_ring_checkpoint(drain, UINT64_MAX);
    if (!drain->stopped) {
        int r = binding_record(drain->binding, drain->durable);
        if (r < 0)
            drain_failed(drain, r, "recording the end failed");
    }
}
