/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 1. Whole segments go, the oldest first. That of the last durable record stays, and all behind it.
 * 2. What a pin covers stays: journal_expire_some() sees to that.
 * 3. With `keep_unread`, what somebody still needs stays: retain_floor().
 * 4. `meta` says that all that goes was durable, and what was counted in it is saved, before it goes: a recovery
 *    neither looks for it nor counts it again.
 */
#include "daemon/retain.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "daemon/guard.h"
#include "daemon/log.h"
#include "journal/files.h"

#define RETAIN_LOOK_NS 100000000ull
/* And each time that so much was written: half of the spares that are kept of what expires (journal/spare.c), so that under load
 * files are used again, not made. */
#define RETAIN_LOOK_BYTES (32ull << 20)
#define RETAIN_SPARES_NS 1000000000ull
/* What one look reads and takes away at most: there is draining to be done in between. */
#define RETAIN_HEADERS 64u
#define RETAIN_FILES 128u
/* Whoever holds the lock of the pins so long may be stopped. */
#define RETAIN_BUSY_NS 5000000000ull

/* -- what nobody may take away ------------------------------------------------------------------------------------- */

/*
 * The lowest position that somebody still needs; UINT64_MAX: nobody does. Those are the saved positions of named
 * cursors, as they stand in the ring now, and as they were saved last: one of both is what a restart begins with.
 */
static int retain_floor(struct retain *retain, uint64_t *ret_position)
{
    *ret_position = UINT64_MAX;
    return retain->policy->keep_unread ? names_floor(&retain->binding->names, retain->view, ret_position) : 0;
}

/* Clause 1. */
static uint64_t retain_last(const struct retain *retain, uint64_t durable)
{
    return (durable > 0 ? durable - 1 : 0) >> journal_shift(&retain->binding->meta);
}

/* Segments from *ret_below on stay: clauses 1 and 3. */
static int retain_bound(struct retain *retain, uint64_t durable, uint64_t *ret_below)
{
    uint64_t floor, last = retain_last(retain, durable);
    int r = retain_floor(retain, &floor);
    if (r < 0)
        return r;
    floor >>= journal_shift(&retain->binding->meta);
    *ret_below = floor < last ? floor : last;
    return 0;
}

/* -- what is to go ------------------------------------------------------------------------------------------------- */

/* The newest segments that together hold retain_bytes stay, not counting the last one. */
static uint64_t retain_by_bytes(const struct retain *retain, const uint64_t *segments, size_t count, uint64_t last)
{
    uint32_t shift = journal_shift(&retain->binding->meta);
    if (retain->policy->retain_bytes == 0)
        return 0;
    while (count > 0 && segments[count - 1] >= last)
        count--;
    uint64_t keep = ((retain->policy->retain_bytes - 1) >> shift) + 1;
    return keep == 0 || keep >= count ? 0 : segments[count - keep];
}

static uint64_t retain_wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/*
 * A segment is as old as the next one's first record: what its last record is at least. That time stands in the next
 * one's header, under a checksum; the file's own times do not survive a copy or a backup. One whose successor does not
 * tell, or tells a time that is still to come, waits for the next that does, which is younger.
 */
static uint64_t retain_by_age(struct retain *retain, const uint64_t *segments, size_t count, uint64_t bound)
{
    uint64_t age_ns = retain->policy->retain_age_ms * 1000000, now_ns = retain_wall_ns(), created_ns;
    if (age_ns == 0)
        return 0;
    size_t i = 0;
    while (i < count && (segments[i] < retain->aged_below || segments[i] < retain->aged_read))
        i++;
    /* Who set the clock back may have put it before all that is due. */
    if (now_ns < retain->aged_due_ns && retain->aged_due_ns - now_ns <= age_ns && i < count)
        return retain->aged_below;
    uint32_t read = 0;
    for (retain->aged_read = 0; i + 1 < count && segments[i] < bound && read < RETAIN_HEADERS; read++) {
        i++;
        if (journal_segment_created(retain->binding->writer, segments[i], &created_ns) < 0 || created_ns > now_ns)
            continue;
        if (now_ns - created_ns < age_ns) {
            retain->aged_due_ns = created_ns + age_ns;
            return retain->aged_below;
        }
        retain->aged_below = segments[i];
    }
    if (read == RETAIN_HEADERS)
        retain->aged_read = segments[i]; /* on from there: however many do not tell, one behind them may */
    return retain->aged_below;
}

/* -- letting it go ------------------------------------------------------------------------------------------------- */

/* Somebody changes the pins: that is short, or worth to be told. */
static bool retain_is_busy(struct retain *retain, int error)
{
    uint64_t now_ns = shm_now_ns();
    if (error != -EBUSY)
        return false;
    if (retain->busy_ns == 0)
        retain->busy_ns = now_ns;
    return now_ns - retain->busy_ns < RETAIN_BUSY_NS;
}

/* Errors that end nothing: told once, tried again with the next look. */
static int retain_failed(struct retain *retain, int error)
{
    if (error == -EFAULT || journal_ended(retain->binding->writer) < 0)
        return error;
    if (retain_is_busy(retain, error))
        return 0;
    if (error != retain->told_error) {
        if (error == -EBADMSG || error == -EPROTONOSUPPORT)
            log_error(
                "ring %s: the pins of its journal cannot be read (%s): nothing of it expires: take them away with "
                "'weir journal unpin %s --all', and pin anew what is to stay",
                retain->ring, strerror(-error), retain->ring);
        else
            log_warning("ring %s: what is old in its journal cannot expire: %s. It is tried again", retain->ring,
                        error == -EBUSY ? "somebody holds " JOURNAL_PINS_LOCK_NAME : strerror(-error));
    }
    retain->told_error = error;
    return 0;
}

/* Clause 4. *below: lowered to what may go now. */
static int retain_prepare(struct retain *retain, uint64_t durable, uint64_t *below)
{
    struct binding *binding = retain->binding;
    uint32_t shift = journal_shift(&binding->meta);
    int r = 0;
    if (binding->meta.durable >> shift < *below)
        r = binding_record(binding, durable);
    if (r == 0 && binding->meta.durable >> shift < *below)
        *below = binding->meta.durable >> shift;
    return r;
}

static int retain_expire(struct retain *retain, uint64_t durable, uint64_t below, uint64_t most, uint64_t *went)
{
    *went = 0;
    int r = retain_prepare(retain, durable, &below);
    if (r == 0)
        r = journal_expire_some(retain->binding->writer, below, most, went);
    if (r < 0)
        return retain_failed(retain, r);
    retain->told_error = 0;
    retain->busy_ns = 0;
    return 0;
}

static uint64_t retain_files(const struct retain *retain, uint64_t bytes)
{
    uint64_t file = journal_file_bytes(retain->binding->writer);
    return bytes / file + (bytes % file != 0);
}

/* By bytes and by age, then, for want of room, of what is left. */
static int retain_apply(struct retain *retain, uint64_t durable, uint64_t give_bytes, uint64_t *went)
{
    const uint64_t *segments;
    size_t count;
    uint64_t bound, more = 0;
    *went = 0;
    int r = retain_bound(retain, durable, &bound);
    if (r < 0)
        return r;
    r = journal_segments(retain->binding->writer, &segments, &count);
    if (r < 0)
        return retain_failed(retain, r);
    if (count == 0 || segments[0] >= bound)
        return 0;
    uint64_t below = retain_by_bytes(retain, segments, count, retain_last(retain, durable));
    uint64_t aged = retain_by_age(retain, segments, count, bound);
    below = aged > below ? aged : below;
    below = below < bound ? below : bound;
    uint64_t files = retain_files(retain, give_bytes);
    if (segments[0] < below)
        r = retain_expire(retain, durable, below, RETAIN_FILES, went);
    files = files < RETAIN_FILES ? files : RETAIN_FILES;
    if (r == 0 && files > *went)
        r = retain_expire(retain, durable, bound, files - *went, &more);
    *went += more;
    if (*went == RETAIN_FILES)
        retain->looked_ns = 0; /* there may be more: as soon as what has come is drained */
    return r;
}

/* -- room ---------------------------------------------------------------------------------------------------------- */

static void retain_join(struct retain *retain)
{
    if (!retain->share && room_join(retain->room, retain->ring, retain->binding->writer, &retain->share) == 0)
        room_set_policy(retain->share, retain->policy);
}

struct retain_tell {
    struct ring_control *control;
    uint64_t room;
};

static int retain_tell_step(void *argument)
{
    const struct retain_tell *tell = argument;
    mem_store_relaxed(&tell->control->room, tell->room);
    return 0;
}

static int retain_tell(struct retain *retain, uint64_t left_bytes)
{
    struct retain_tell tell = {retain->view->control, left_bytes < UINT64_MAX - 1 ? left_bytes + 1 : 0};
    if (tell.room == retain->told_room)
        return 0;
    retain->told_room = tell.room;
    return guard_run(retain_tell_step, &tell);
}

static void retain_spares(struct retain *retain, const struct room_view *view, uint64_t now_ns)
{
    if (view->pressed) {
        journal_keep_spares(retain->binding->writer, false);
    } else if (view->ample && now_ns - retain->spares_ns >= RETAIN_SPARES_NS) {
        retain->spares_ns = now_ns;
        journal_keep_spares(retain->binding->writer, true);
    }
}

int retain_look(struct retain *retain, uint64_t durable, uint64_t now_ns)
{
    uint64_t went;
    if (now_ns - retain->looked_ns < RETAIN_LOOK_NS && durable - retain->looked_at < RETAIN_LOOK_BYTES)
        return 0;
    retain->looked_ns = now_ns;
    retain->looked_at = durable;
    retain_join(retain);
    if (!retain->share)
        return 0;
    struct room_view view = room_look(retain->share, false);
    retain_spares(retain, &view, now_ns);
    int r = retain_apply(retain, durable, view.give_bytes, &went);
    return r < 0 ? r : retain_tell(retain, room_look(retain->share, false).left_bytes);
}

int retain_make_room(struct retain *retain, uint64_t durable)
{
    uint64_t went;
    if (!retain->share || retain->policy->when_limited != POLICY_LIMITED_EXPIRE)
        return 0;
    struct room_view view = room_look(retain->share, true);
    bool spares = view.pressed && journal_spares(retain->binding->writer) > 0;
    if (spares)
        journal_keep_spares(retain->binding->writer, false);
    int r = retain_apply(retain, durable, view.give_bytes, &went);
    return r < 0 ? r : spares || went > 0;
}

/* -- from beginning to end ----------------------------------------------------------------------------------------- */

void retain_begin(struct retain *retain, struct room *room, const char *ring, struct binding *binding,
                  const struct ring_view *view, const struct policy *policy)
{
    *retain = (struct retain){.ring = ring, .binding = binding, .view = view, .policy = policy, .room = room};
    retain_join(retain);
}

void retain_end(struct retain *retain)
{
    room_leave(retain->share);
    retain->share = NULL;
}

void retain_learn(struct retain *retain)
{
    retain->aged_below = 0;
    retain->aged_read = 0;
    retain->aged_due_ns = 0;
    retain->looked_ns = 0;
    if (retain->share)
        room_set_policy(retain->share, retain->policy);
}
