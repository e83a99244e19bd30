/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/room.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "journal/io.h"
#include "shm/shm.h"

/* Of a file system that is smaller than eight times the reserve, an eighth is kept free. */
#define ROOM_RESERVE_PART 8u
/* Journals that no ring has are counted again at most so often, and only when they stand in somebody's way. */
#define ROOM_COUNT_AGAIN_NS 1000000000ull
/* Whoever waits above the low watermark has what room there is when there was some for so long. */
#define ROOM_WAIT_NS 1000000000ull

struct room_wait {
    bool waits;       /* it was refused, and has got nothing since */
    uint64_t room_ns; /* since when there was room for a file, at times; 0: there was none */
};

struct room_share {
    struct room_share *next;
    struct room *room;
    struct journal_writer *writer;
    char name[RING_NAME_BYTES];
    uint64_t file_bytes;
    uint64_t used; /* by its segments, and those kept ready */
    struct policy policy;
    bool told_tight;
    struct room_wait ring_wait, all_wait; /* by the ring's limit, and by what all share */
};

struct room {
    pthread_mutex_t lock;
    int journal_fd;
    struct policies *policies;
    struct room_share *shares;
    uint64_t used;     /* by all shares */
    uint64_t promised; /* of it, what is not made yet */
    uint64_t others;   /* what journals take that no ring has */
    bool counted;
    uint64_t counted_ns;
};

/* What may be used, and where the watermarks are. */
struct room_bounds {
    uint64_t used, limit, high, low;
    int error; /* what is answered beyond the limit */
};

int room_open(struct room **ret_room, int journal_fd, struct policies *policies)
{
    struct room *room = calloc(1, sizeof *room);
    if (!room)
        return -ENOMEM;
    pthread_mutex_init(&room->lock, NULL);
    room->journal_fd = journal_fd;
    room->policies = policies;
    *ret_room = room;
    return 0;
}

void room_close(struct room *room)
{
    if (!room)
        return;
    pthread_mutex_destroy(&room->lock);
    free(room);
}

/* -- journals that no ring has ------------------------------------------------------------------------------------- */

static int room_count_one(void *ctx, const char *name)
{
    struct room *room = ctx;
    uint64_t bytes = 0;
    for (const struct room_share *share = room->shares; share; share = share->next) {
        if (strcmp(share->name, name) == 0)
            return 0;
    }
    journal_bytes(room->journal_fd, name, &bytes); /* of what cannot be read nothing is known */
    room->others += bytes;
    return 0;
}

static void room_count_others(struct room *room)
{
    room->others = 0;
    journal_list(room->journal_fd, room_count_one, room);
    room->counted = true;
    room->counted_ns = shm_now_ns();
}

/* -- bounds -------------------------------------------------------------------------------------------------------- */

static uint64_t room_percent(uint64_t bytes, uint32_t percent)
{
    return bytes / 100 * percent + bytes % 100 * percent / 100;
}

static uint64_t room_less(uint64_t from, uint64_t bytes)
{
    return from > bytes ? from - bytes : 0;
}

static void room_mark(struct room_bounds *bounds, const struct policy_room *policy)
{
    bounds->high = room_percent(bounds->limit, policy->high_percent);
    bounds->low = room_percent(bounds->limit, policy->low_percent);
}

/*
 * Of all journals together. The file system is asked each time: others use it as well. Where it does not answer, it is
 * taken to have room, and may refuse a file itself.
 */
static struct room_bounds room_of_all(struct room *room, const struct policy_room *policy)
{
    struct room_bounds bounds = {.used = room->used, .limit = UINT64_MAX, .error = -ENOSPC};
    uint64_t free_bytes, all_bytes;
    if (jio_room(room->journal_fd, &free_bytes, &all_bytes) == 0) {
        uint64_t part = all_bytes / ROOM_RESERVE_PART;
        uint64_t reserve = policy->reserve_bytes < part ? policy->reserve_bytes : part;
        reserve += room->promised;
        bounds.limit =
            free_bytes >= reserve ? room->used + (free_bytes - reserve) : room_less(room->used, reserve - free_bytes);
    }
    if (policy->limit_bytes) {
        if (!room->counted)
            room_count_others(room);
        uint64_t limit = room_less(policy->limit_bytes, room->others);
        if (limit < bounds.limit) {
            bounds.limit = limit;
            bounds.error = -EDQUOT;
        }
    }
    room_mark(&bounds, policy);
    return bounds;
}

/* Where the limit stands in the way, for journals that may have gone meanwhile. */
static void room_count_again(struct room *room, const struct policy_room *policy, struct room_bounds *all)
{
    if (all->error != -EDQUOT || shm_now_ns() - room->counted_ns < ROOM_COUNT_AGAIN_NS)
        return;
    room_count_others(room);
    *all = room_of_all(room, policy);
}

static struct room_bounds room_of_ring(const struct room_share *share, const struct policy_room *policy)
{
    struct room_bounds bounds = {.used = share->used, .limit = UINT64_MAX, .error = -EDQUOT};
    uint64_t least = ROOM_FILES_LEAST * share->file_bytes;
    if (share->policy.limit_bytes)
        bounds.limit = share->policy.limit_bytes > least ? share->policy.limit_bytes : least;
    room_mark(&bounds, policy);
    return bounds;
}

/* -- taking -------------------------------------------------------------------------------------------------------- */

static bool room_fits(const struct room_bounds *bounds, uint64_t bytes)
{
    return bounds->used <= bounds->limit && bytes <= bounds->limit - bounds->used;
}

static bool room_goes_on(const struct room_bounds *bounds, uint64_t bytes, struct room_wait *wait)
{
    if (!wait->waits || bounds->used <= bounds->low || room_fits(bounds, ROOM_FILES_LEAST * bytes))
        return true;
    if (wait->room_ns == 0 && room_fits(bounds, bytes))
        wait->room_ns = shm_now_ns();
    return wait->room_ns && shm_now_ns() - wait->room_ns >= ROOM_WAIT_NS;
}

static int room_ask(const struct room_bounds *bounds, uint64_t bytes, bool expires, struct room_wait *wait)
{
    if (!room_goes_on(bounds, bytes, wait))
        return bounds->error;
    bool fits = room_fits(bounds, bytes);
    if (fits)
        *wait = (struct room_wait){0};
    else
        wait->waits = !expires;
    return fits ? 0 : bounds->error;
}

static int room_ask_both(struct room_share *share, const struct room_bounds *ring, const struct room_bounds *all,
                         uint64_t bytes)
{
    bool expires = share->policy.when_limited == POLICY_LIMITED_EXPIRE;
    int r = room_ask(ring, bytes, expires, &share->ring_wait);
    return r < 0 ? r : room_ask(all, bytes, expires, &share->all_wait);
}

static int room_take(void *ctx, uint64_t bytes, enum journal_room_want want)
{
    struct room_share *share = ctx;
    struct room *room = share->room;
    struct policy_room policy;
    policies_room(room->policies, &policy);
    pthread_mutex_lock(&room->lock);
    struct room_bounds all = room_of_all(room, &policy), ring = room_of_ring(share, &policy);
    int r = 0;
    if (!room_fits(&all, bytes))
        room_count_again(room, &policy, &all);
    if (want == JOURNAL_ROOM_SPARE) {
        r = all.used + bytes <= all.low && ring.used + bytes <= ring.low ? 0 : -ENOSPC;
    } else {
        struct room_wait ring_wait = share->ring_wait, all_wait = share->all_wait;
        r = room_ask_both(share, &ring, &all, bytes);
        if (r < 0 && want == JOURNAL_ROOM_AHEAD) { /* nobody waits for that */
            share->ring_wait = ring_wait;
            share->all_wait = all_wait;
        }
    }
    if (r == 0) {
        share->used += bytes;
        room->used += bytes;
        room->promised += bytes;
    }
    pthread_mutex_unlock(&room->lock);
    return r;
}

static void room_take_back(struct room_share *share, uint64_t bytes)
{
    bytes = bytes < share->used ? bytes : share->used;
    share->used -= bytes;
    share->room->used -= bytes;
}

static void room_settle(void *ctx, uint64_t bytes, bool made)
{
    struct room_share *share = ctx;
    pthread_mutex_lock(&share->room->lock);
    share->room->promised -= bytes;
    if (!made)
        room_take_back(share, bytes);
    pthread_mutex_unlock(&share->room->lock);
}

static void room_give(void *ctx, uint64_t bytes)
{
    struct room_share *share = ctx;
    pthread_mutex_lock(&share->room->lock);
    room_take_back(share, bytes);
    pthread_mutex_unlock(&share->room->lock);
}

/* -- looking ------------------------------------------------------------------------------------------------------- */

/* What this ring's part is of what all have too much: as large as its part of what they have that may expire. */
static uint64_t room_part(const struct room_share *share, uint64_t excess)
{
    uint64_t expiring = 0;
    for (const struct room_share *other = share->room->shares; other; other = other->next)
        expiring += other->policy.when_limited == POLICY_LIMITED_EXPIRE ? other->used : 0;
    if (expiring == 0)
        return 0;
    double part = (double)share->used / (double)expiring * (double)excess;
    uint64_t bytes = (uint64_t)part + 1;
    return bytes < excess ? bytes : excess;
}

/* Of its segments alone: files that are kept ready are used up before the ring's own limit is met. */
static uint64_t room_to_give(struct room_share *share, const struct room_bounds *all, const struct room_bounds *ring,
                             bool needed)
{
    uint64_t ready = journal_spares(share->writer) * share->file_bytes;
    uint64_t kept = room_less(ring->used, ready);
    uint64_t give = 0;
    if (kept > ring->high || (needed && !room_fits(ring, share->file_bytes)))
        give = room_less(kept, ring->low);
    if (all->used > all->high || (needed && !room_fits(all, share->file_bytes))) {
        uint64_t excess = room_less(all->used, all->low);
        uint64_t part = room_part(share, excess);
        give = part > give ? part : give;
    }
    return needed && give < share->file_bytes ? share->file_bytes : give;
}

struct room_view room_look(struct room_share *share, bool needed)
{
    struct room *room = share->room;
    struct policy_room policy;
    policies_room(room->policies, &policy);
    pthread_mutex_lock(&room->lock);
    struct room_bounds all = room_of_all(room, &policy), ring = room_of_ring(share, &policy);
    if (all.used > all.high || (needed && !room_fits(&all, share->file_bytes)))
        room_count_again(room, &policy, &all);
    uint64_t left_of_all = room_less(all.limit, all.used), left_of_ring = room_less(ring.limit, ring.used);
    struct room_view view = {.pressed = all.used > all.high,
                             .ample = all.used <= all.low && ring.used <= ring.low,
                             .left_bytes = left_of_all < left_of_ring ? left_of_all : left_of_ring};
    if (share->policy.when_limited == POLICY_LIMITED_EXPIRE)
        view.give_bytes = room_to_give(share, &all, &ring, needed);
    pthread_mutex_unlock(&room->lock);
    uint64_t ready = journal_spares(share->writer) * share->file_bytes;
    view.left_bytes += ready < UINT64_MAX - view.left_bytes ? ready : 0;
    return view;
}

/* -- shares -------------------------------------------------------------------------------------------------------- */

int room_join(struct room *room, const char *name, struct journal_writer *writer, struct room_share **ret_share)
{
    struct room_share *share = calloc(1, sizeof *share);
    if (!share)
        return -ENOMEM;
    share->room = room;
    share->writer = writer;
    share->file_bytes = journal_file_bytes(writer);
    memcpy(share->name, name, strnlen(name, sizeof share->name - 1));
    struct journal_room asked = {.take = room_take, .settle = room_settle, .give = room_give, .ctx = share};
    int r = journal_set_room(writer, &asked, &share->used);
    if (r < 0) {
        free(share);
        return r;
    }
    pthread_mutex_lock(&room->lock);
    share->next = room->shares;
    room->shares = share;
    room->used += share->used;
    room->others = room_less(room->others, share->used);
    pthread_mutex_unlock(&room->lock);
    *ret_share = share;
    return 0;
}

void room_leave(struct room_share *share)
{
    if (!share)
        return;
    struct room *room = share->room;
    pthread_mutex_lock(&room->lock);
    struct room_share **at = &room->shares;
    while (*at != share)
        at = &(*at)->next;
    *at = share->next;
    room->used -= share->used;
    room->others += share->used; /* unless its journal goes with it: see room_count_anew() */
    pthread_mutex_unlock(&room->lock);
    free(share);
}

void room_count_anew(struct room *room)
{
    pthread_mutex_lock(&room->lock);
    room->counted = false;
    pthread_mutex_unlock(&room->lock);
}

/* It may not expire for want of room, and what it keeps, the file written to and the next one are beyond the low watermark. */
static bool room_is_tight(const struct room_share *share, const struct policy_room *policy)
{
    uint64_t kept_files = share->policy.retain_bytes / (share->file_bytes - JOURNAL_BLOCK_BYTES) + 2;
    return share->policy.retain_bytes && share->policy.limit_bytes &&
           share->policy.when_limited == POLICY_LIMITED_BLOCK &&
           kept_files > room_of_ring(share, policy).low / share->file_bytes;
}

void room_set_policy(struct room_share *share, const struct policy *policy)
{
    struct policy_room room_policy;
    policies_room(share->room->policies, &room_policy);
    pthread_mutex_lock(&share->room->lock);
    share->policy = *policy;
    share->ring_wait = share->all_wait = (struct room_wait){0}; /* what was refused may be granted now */
    bool tight = room_is_tight(share, &room_policy), tell = tight && !share->told_tight;
    share->told_tight = tight;
    pthread_mutex_unlock(&share->room->lock);
    if (tell)
        log_warning("ring %s: its limit leaves little room beside its retain_bytes: with two files more of %" PRIu64
                    " bytes that is beyond the low watermark, and its publishers may have to wait at times",
                    share->name, share->file_bytes);
}
