/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing: open, send, batch, in place. What waits for the journal is in confirm.c. */
#include "client/publisher.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/message.h"
#include "client/quota.h"
#include "client/wait.h"
#include "weir.h"

/* -- open and close ------------------------------------------------------------------------------------------------ */

static int explain_join(int error, const char *ring, const struct ring_view *view)
{
    if (error == -EBUSY)
        return fail(error, "ring %s is exclusive and its publisher is alive", ring);
    if (error == -ENOSPC)
        return fail(error, "ring %s admits %u publishers and all of them are alive: see weir stat", ring,
                    view->geometry.max_publishers);
    return fail(error, "ring %s: %s", ring, weir_strerror(error));
}

static int take_name(struct weir_pub *pub, const char *ring, const char *name)
{
    int r = shm_name_check(name);
    if (r < 0)
        return fail(r, "publisher name \"%.80s\": %s", name, weir_strerror(r));
    r = ring_producer_take(&pub->state, name);
    if (r == -EBUSY)
        return fail(r, "publisher name %s of ring %s is held by a process that is alive", name, ring);
    if (r == -ENOSPC)
        return fail(r, "ring %s remembers %u names of publishers and has no room for %s", ring,
                    pub->attachment.view.geometry.max_producers, name);
    return r;
}

int weir_pub_open(const char *bus, const char *ring, const struct weir_pub_options *options, struct weir_pub **ret_pub)
{
    fail_clear();
    if (!ret_pub || (options && options->size != sizeof *options))
        return fail(-EINVAL, "weir_pub_open: ret_pub is NULL, or options.size is not sizeof(struct weir_pub_options)");
    struct weir_pub *pub = calloc(1, sizeof *pub);
    if (!pub)
        return fail(-ENOMEM, "no memory for a publisher");
    int r = attachment_open(&pub->attachment, bus, ring, SHM_PUBLISH, false);
    if (r < 0) {
        free(pub);
        return r;
    }
    struct ring_view *view = &pub->attachment.view;
    pub->spin_ns = attachment_spin_ns();
    pub->attachment.publisher_id = ring_publisher_id(view);
    r = shm_lock(pub->attachment.shm.lock_fd, pub->attachment.publisher_id);
    if (r < 0) {
        fail(r, "ring %s: cannot lock my byte in its lock file: %s", ring, weir_strerror(r));
        goto close;
    }
    if (mem_load_acquire(&view->control->removed)) {
        r = fail(-EIDRM, "ring %s was removed", ring);
        goto close;
    }
    r = ring_publisher_join(&pub->state, view, pub->attachment.publisher_id, (uint64_t)getpid(), shm_wall_ns());
    if (r < 0) {
        explain_join(r, ring, view);
        goto close;
    }
    if (options && options->name && (r = take_name(pub, ring, options->name)) < 0) {
        ring_publisher_leave(&pub->state);
        goto close;
    }
    *ret_pub = pub;
    return 0;
close:
    attachment_close(&pub->attachment);
    free(pub);
    return r;
}

void weir_pub_close(struct weir_pub *pub)
{
    if (!pub)
        return;
    bool forked = pub->attachment.fork_generation != shm_fork_generation;
    watcher_close(pub->watcher, forked);
    if (!forked)
        ring_publisher_leave(&pub->state);
    attachment_close(&pub->attachment);
    free(pub->scratch);
    free(pub);
}

/* -- room ---------------------------------------------------------------------------------------------------------- */

MEM_COLD static int refuse(struct weir_pub *pub, uint64_t sequence, const char *why)
{
    struct ring_publisher *entry = pub->state.entry;
    struct ring_control *control = pub->attachment.view.control;
    uint64_t now = shm_wall_ns();
    mem_store_relaxed(&entry->refused_count, mem_load_relaxed(&entry->refused_count) + 1);
    mem_store_relaxed(&entry->refused_sequence, sequence);
    mem_store_relaxed(&entry->refused_last_ns, now);
    mem_add(&control->refused_count, 1);
    mem_store_relaxed(&control->refused_last_ns, now);
    return fail(-EAGAIN, "%s", why);
}

MEM_COLD static int explain_full(struct weir_pub *pub, int error)
{
    const struct ring_view *view = &pub->attachment.view;
    if (!(view->geometry.flags & RING_JOURNALED))
        return fail(error, "ring %s is full: a gating reader has not taken what is there", view->identity.name);
    if (!attachment_daemon_alive(&pub->attachment))
        return fail(error, "ring %s is full and nobody drains it: start weird", view->identity.name);
    int held_up = attachment_journal_held_up(view->control);
    if (held_up)
        return fail(error, "ring %s is full, and its journal waits: %s", view->identity.name, strerror(held_up));
    return fail(error, "ring %s is full: the disk takes less than is published", view->identity.name);
}

MEM_COLD static int explain_claim(const struct ring_view *view, int r)
{
    if (r == -EIDRM)
        return fail(r, "ring %s was removed", view->identity.name);
    if (r == -EBADMSG)
        return fail(r, "ring %s is damaged: see weir ring check %s", view->identity.name, view->identity.name);
    return r;
}

/* Polls for room a little while, since whoever makes it is about to, most often. */
static int spin_for_room(struct weir_pub *pub, uint32_t units, const struct wait *wait, uint64_t *ret_position)
{
    uint64_t start = shm_now_ns(), now = start;
    while (now - start < (uint64_t)pub->spin_ns && now < wait->deadline_ns) {
        for (uint32_t i = 0; i < PAUSES_PER_TRY; i++)
            mem_pause();
        int r = ring_claim(&pub->state, units, ret_position);
        if (r != -EAGAIN)
            return r;
        sched_yield();
        now = shm_now_ns();
    }
    return -EAGAIN;
}

/* Waits for room until the deadline. Room comes with the journal's progress, or with a gating reader's. */
MEM_COLD static int wait_for_room(struct weir_pub *pub, uint32_t units, int64_t timeout_ns, uint64_t *ret_position)
{
    struct ring_view *view = &pub->attachment.view;
    struct ring_control *control = view->control;
    bool journaled = view->geometry.flags & RING_JOURNALED;
    struct ring_bell *bell = journaled ? &control->progress : &view->readers->gates;
    struct wait wait = wait_start(timeout_ns);
    int r = spin_for_room(pub, units, &wait, ret_position);
    if (r != -EAGAIN)
        return explain_claim(view, r);
    mem_store_relaxed(&pub->state.entry->waiting_since_ns, shm_wall_ns());
    for (;;) {
        uint64_t seq = ring_bell_ask(bell, &control->progress_want);
        bool fenced = view->ops->fence(view->ctx); /* E6 sleep */
        r = explain_claim(view, ring_claim(&pub->state, units, ret_position));
        if (r != -EAGAIN)
            break;
        if (journaled && attachment_journal_stopped(control)) {
            r = fail(-EIO, "ring %s is full and its journal has stopped: %s", view->identity.name,
                     strerror(attachment_journal_stopped(control)));
            break;
        }
        int64_t left = wait_left(&wait, fenced ? SLEEP_BOUND_NS : SLEEP_BOUND_PENDING_NS);
        if (left == 0) {
            r = explain_full(pub, -ETIMEDOUT);
            break;
        }
        if (journaled)
            attachment_ring(&control->work);
        if (shm_sleep(attachment_futex(bell), (uint32_t)seq, left) == -EINTR) {
            r = fail(-EINTR, "interrupted while waiting for room");
            break;
        }
    }
    mem_store_relaxed(&pub->state.entry->waiting_since_ns, 0);
    return r;
}

static int explain_quota(const struct weir_pub *pub, int error)
{
    const struct ring_view *view = &pub->attachment.view;
    return fail(error, "ring %s takes %llu messages and %llu bytes a second (0: as many as come), and has had them",
                view->identity.name, (unsigned long long)mem_load_relaxed(&view->control->quota_messages),
                (unsigned long long)mem_load_relaxed(&view->control->quota_bytes));
}

/* Waits until the quota lets so much through: in turns, since the ring may be removed, or the quota changed, meanwhile. */
MEM_COLD static int wait_for_quota(struct weir_pub *pub, const struct quota_amount *amount, uint64_t sequence,
                                   int64_t *timeout_ns, struct quota_share *ret_share)
{
    struct ring_view *view = &pub->attachment.view;
    struct ring_control *control = view->control;
    struct wait wait = wait_start(*timeout_ns);
    uint64_t due_ns;
    int r = 0;
    while ((due_ns = quota_take(control, amount, shm_now_ns(), ret_share)) > 0) {
        if (view->geometry.when_full != RING_BLOCK)
            return refuse(pub, sequence, "the ring has had its quota");
        if (*timeout_ns <= 0)
            return explain_quota(pub, -EAGAIN);
        int64_t left = wait_left(&wait, due_ns < SLEEP_BOUND_NS ? (int64_t)due_ns : SLEEP_BOUND_NS);
        if (left == 0) {
            r = explain_quota(pub, -ETIMEDOUT);
            break;
        }
        if (mem_load_relaxed(&pub->state.entry->waiting_since_ns) == 0)
            mem_store_relaxed(&pub->state.entry->waiting_since_ns, shm_wall_ns());
        struct timespec span = {0, (long)left};
        if (clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL) == EINTR) {
            r = fail(-EINTR, "interrupted while waiting for the ring's quota");
            break;
        }
        if (mem_load_acquire(&control->removed)) {
            r = explain_claim(view, -EIDRM);
            break;
        }
    }
    mem_store_relaxed(&pub->state.entry->waiting_since_ns, 0);
    if (r == 0 && wait.deadline_ns != UINT64_MAX) {
        *timeout_ns = wait_left(&wait, INT64_MAX);
    }
    return r;
}

static int claim_room(struct weir_pub *pub, uint32_t units, uint64_t sequence, int64_t timeout_ns,
                      uint64_t *ret_position)
{
    struct ring_view *view = &pub->attachment.view;
    int r = ring_claim(&pub->state, units, ret_position);
    if (__builtin_expect(r == 0, 1))
        return 0;
    if (r != -EAGAIN)
        return explain_claim(view, r);
    if (view->geometry.when_full == RING_DROP_NEW)
        return refuse(pub, sequence, "the ring is full and drops what is new");
    if (timeout_ns <= 0)
        return explain_full(pub, -EAGAIN);
    return wait_for_room(pub, units, timeout_ns, ret_position);
}

/* `count` messages in so many units. */
static int claim(struct weir_pub *pub, uint32_t units, size_t count, uint64_t sequence, int64_t timeout_ns,
                 uint64_t *ret_position)
{
    struct ring_control *control = pub->attachment.view.control;
    if (__builtin_expect(mem_load_acquire(&control->removed) != 0, 0))
        return explain_claim(&pub->attachment.view, -EIDRM); /* nobody would ever read it */
    if (__builtin_expect(!quota_set(control), 1))
        return claim_room(pub, units, sequence, timeout_ns, ret_position);
    struct quota_amount amount = {.messages = count, .bytes = (uint64_t)units << RING_UNIT_SHIFT};
    struct quota_share share;
    int r = wait_for_quota(pub, &amount, sequence, &timeout_ns, &share);
    if (r < 0)
        return r;
    r = claim_room(pub, units, sequence, timeout_ns, ret_position);
    if (r < 0)
        quota_give_back(control, &share, shm_now_ns());
    return r;
}

/* -- send ---------------------------------------------------------------------------------------------------------- */

/* After a commit: wakes whoever asked to be. Two loads of lines that nobody writes while nobody sleeps. */
static void tell(struct weir_pub *pub)
{
    struct ring_view *view = &pub->attachment.view;
    struct ring_control *control = view->control;
    if (ring_news(view))
        shm_wake_all(attachment_futex(&control->records));
    if (ring_bell_news(view, &control->work, &control->work_want))
        shm_wake_all(attachment_futex(&control->work));
}

static int too_large(const struct weir_pub *pub, uint64_t bytes)
{
    uint64_t most = (1ull << pub->attachment.view.geometry.segment_shift) - sizeof(struct ring_record);
    return fail(-EMSGSIZE, "%llu bytes with their properties are more than the %llu that a segment of ring %s takes",
                (unsigned long long)bytes, (unsigned long long)most, pub->attachment.view.identity.name);
}

/* The sequence that the message will have; 0 with an error when it was published before. */
static int next_sequence(struct weir_pub *pub, const struct weir_message *message, uint64_t last,
                         uint64_t *ret_sequence)
{
    uint64_t sequence = (message->has & WEIR_HAS_SEQUENCE) ? message->sequence : last + 1;
    if (sequence > last) {
        *ret_sequence = sequence;
        return 0;
    }
    mem_add(&pub->state.producer->refused_count, 1);
    return fail(-EALREADY, "sequence %llu was published before: the last one is %llu", (unsigned long long)sequence,
                (unsigned long long)last);
}

static int check_open(const struct weir_pub *pub)
{
    int r = attachment_check(&pub->attachment);
    if (r == 0 && pub->state.claimed)
        r = fail(-EPERM, "a claim is open: commit or cancel it first");
    return r;
}

/* Properties to the claimed record; meta is complete but for the headers' encoding. */
static void put_properties(struct weir_pub *pub, const struct weir_message *message, struct ring_meta *meta,
                           uint8_t *body)
{
    if (meta->headers_bytes) {
        message_encode_headers(message, pub->scratch);
        meta->headers = pub->scratch;
    }
    ring_meta_put(meta, body);
}

static int need_scratch(struct weir_pub *pub, const struct ring_meta *meta)
{
    if (meta->headers_bytes && !pub->scratch && !(pub->scratch = malloc(UINT16_MAX)))
        return fail(-ENOMEM, "no memory for headers");
    return 0;
}

MEM_HOT int weir_pub_send(struct weir_pub *pub, const void *data, size_t data_bytes, int64_t timeout_ns,
                          uint64_t *ret_position)
{
    if (__builtin_expect(pub->state.producer != NULL, 0)) {
        struct weir_message message = {.data = data, .data_bytes = data_bytes};
        return weir_pub_send_message(pub, &message, timeout_ns, ret_position);
    }
    int r = check_open(pub);
    if (r < 0)
        return r;
    if (data_bytes && !data)
        return fail(-EINVAL, "weir_pub_send: data is NULL");
    uint32_t units = ring_units(&pub->attachment.view, data_bytes);
    if (units == 0)
        return too_large(pub, data_bytes);
    uint64_t position = 0;
    r = claim(pub, units, 1, 0, timeout_ns, &position);
    if (r < 0)
        return r;
    if (data_bytes)
        memcpy(ring_claim_address(&pub->state) + sizeof(struct ring_record), data, data_bytes);
    ring_commit(&pub->state, 0, 0, (uint32_t)data_bytes);
    tell(pub);
    if (ret_position)
        *ret_position = position;
    return 0;
}

MEM_HOT int weir_pub_send_message(struct weir_pub *pub, const struct weir_message *message, int64_t timeout_ns,
                                  uint64_t *ret_position)
{
    void *data = NULL;
    if (message->data_bytes && !message->data)
        return fail(-EINVAL, "weir_message.data is NULL");
    int r = weir_pub_claim(pub, message->data_bytes, message, timeout_ns, &data);
    if (r < 0)
        return r;
    assert(data);
    if (message->data_bytes)
        memcpy(data, message->data, message->data_bytes);
    return weir_pub_commit(pub, message->data_bytes, ret_position);
}

/* -- in place ------------------------------------------------------------------------------------------------------ */

MEM_HOT int weir_pub_claim(struct weir_pub *pub, size_t data_bytes, const struct weir_message *message,
                           int64_t timeout_ns, void **ret_data)
{
    static const struct weir_message plain;
    struct ring_meta meta = {0};
    uint32_t meta_bytes = 0;
    if (!message)
        message = &plain;
    int r = check_open(pub);
    if (r < 0)
        return r;
    bool named = pub->state.producer != NULL;
    if ((r = message_measure(message, named, &meta, &meta_bytes)) < 0 || (r = need_scratch(pub, &meta)) < 0)
        return r;
    if (named) {
        if ((r = next_sequence(pub, message, pub->state.sequence, &meta.sequence)) < 0)
            return r;
        meta.producer = mem_load_relaxed(&pub->state.producer->hash);
    }
    uint32_t units = data_bytes > UINT32_MAX ? 0 : ring_units(&pub->attachment.view, (uint64_t)meta_bytes + data_bytes);
    if (units == 0)
        return too_large(pub, (uint64_t)meta_bytes + data_bytes);
    r = claim(pub, units, 1, meta.sequence, timeout_ns, &pub->claim_position);
    if (r < 0)
        return r;
    uint8_t *body = ring_claim_address(&pub->state) + sizeof(struct ring_record);
    if (meta_bytes)
        put_properties(pub, message, &meta, body);
    pub->claim_tag = message->tag;
    pub->claim_flags = meta_bytes ? RING_FLAG_PROPERTIES : 0;
    pub->claim_meta_bytes = meta_bytes;
    pub->claim_sequence = meta.sequence;
    pub->claim_data_bytes = data_bytes;
    *ret_data = body + meta_bytes;
    return 0;
}

MEM_HOT int weir_pub_commit(struct weir_pub *pub, size_t data_bytes, uint64_t *ret_position)
{
    int r = attachment_check(&pub->attachment);
    if (r < 0)
        return r;
    if (!pub->state.claimed)
        return fail(-EPERM, "no claim is open");
    if (data_bytes > pub->claim_data_bytes)
        return fail(-EINVAL, "%zu bytes were claimed, %zu cannot be committed", pub->claim_data_bytes, data_bytes);
    uint64_t end = pub->claim_position + ((uint64_t)pub->state.claim_units << RING_UNIT_SHIFT);
    ring_commit(&pub->state, pub->claim_tag, pub->claim_flags, pub->claim_meta_bytes + (uint32_t)data_bytes);
    if (pub->state.producer)
        ring_producer_count(&pub->state, pub->claim_sequence, end);
    tell(pub);
    if (ret_position)
        *ret_position = pub->claim_position;
    return 0;
}

int weir_pub_cancel(struct weir_pub *pub)
{
    int r = attachment_check(&pub->attachment);
    if (r < 0)
        return r;
    if (!pub->state.claimed)
        return fail(-EPERM, "no claim is open");
    ring_cancel(&pub->state);
    tell(pub); /* padding lets readers go on */
    return 0;
}

/* -- batch --------------------------------------------------------------------------------------------------------- */

/* Units of message i, with its properties measured. */
static int batch_units(struct weir_pub *pub, const struct weir_message *message, struct ring_meta *ret_meta,
                       uint32_t *ret_meta_bytes, uint32_t *ret_units)
{
    if (message->data_bytes && !message->data)
        return fail(-EINVAL, "weir_message.data is NULL");
    int r = message_measure(message, pub->state.producer != NULL, ret_meta, ret_meta_bytes);
    if (r < 0)
        return r;
    uint64_t bytes = (uint64_t)*ret_meta_bytes + message->data_bytes;
    *ret_units = message->data_bytes > UINT32_MAX ? 0 : ring_units(&pub->attachment.view, bytes);
    return *ret_units ? 0 : too_large(pub, bytes);
}

static int batch_measure(struct weir_pub *pub, const struct weir_message *messages, size_t count, uint32_t *ret_units,
                         uint64_t *ret_last_sequence)
{
    uint64_t total = 0, last = pub->state.sequence;
    for (size_t i = 0; i < count; i++) {
        struct ring_meta meta = {0};
        uint32_t meta_bytes = 0, units = 0;
        int r = batch_units(pub, &messages[i], &meta, &meta_bytes, &units);
        if (r < 0 || (r = need_scratch(pub, &meta)) < 0)
            return r;
        if (pub->state.producer && (r = next_sequence(pub, &messages[i], last, &last)) < 0)
            return r;
        total += units;
        if (total > pub->attachment.view.segment_units)
            return fail(-EMSGSIZE, "the batch does not fit in one segment of %llu bytes",
                        1ull << pub->attachment.view.geometry.segment_shift);
    }
    *ret_units = (uint32_t)total;
    *ret_last_sequence = last;
    return 0;
}

MEM_HOT int weir_pub_send_batch(struct weir_pub *pub, const struct weir_message *messages, size_t count,
                                int64_t timeout_ns, uint64_t *ret_positions)
{
    uint32_t total = 0, first_units = 0, first_body = 0, first_flags = 0, offset = 0;
    uint64_t position = 0, last_sequence = 0, sequence = pub->state.sequence;
    int r = check_open(pub);
    if (r < 0)
        return r;
    if (count == 0)
        return fail(-EINVAL, "a batch of nothing");
    if ((r = batch_measure(pub, messages, count, &total, &last_sequence)) < 0 ||
        (r = claim(pub, total, count, last_sequence, timeout_ns, &position)) < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        const struct weir_message *message = &messages[i];
        struct ring_meta meta = {0};
        uint32_t meta_bytes = 0, units = 0;
        batch_units(pub, message, &meta, &meta_bytes, &units); /* did not fail a moment ago; the caller's own memory */
        if (pub->state.producer) {
            sequence = (message->has & WEIR_HAS_SEQUENCE) ? message->sequence : sequence + 1;
            meta.sequence = sequence;
            meta.producer = mem_load_relaxed(&pub->state.producer->hash);
        }
        uint8_t *body =
            ring_claim_address(&pub->state) + ((size_t)offset << RING_UNIT_SHIFT) + sizeof(struct ring_record);
        if (meta_bytes)
            put_properties(pub, message, &meta, body);
        if (message->data_bytes)
            memcpy(body + meta_bytes, message->data, message->data_bytes);
        uint32_t flags = meta_bytes ? RING_FLAG_PROPERTIES : 0;
        uint32_t body_bytes = meta_bytes + (uint32_t)message->data_bytes;
        if (i == 0) {
            first_units = units;
            first_body = body_bytes;
            first_flags = flags;
        } else {
            ring_batch_put(&pub->state, offset, units, message->tag, flags, body_bytes);
        }
        if (ret_positions)
            ret_positions[i] = position + ((uint64_t)offset << RING_UNIT_SHIFT);
        offset += units;
    }
    ring_commit_first(&pub->state, first_units, messages[0].tag, first_flags, first_body);
    if (pub->state.producer)
        ring_producer_count(&pub->state, last_sequence, position + ((uint64_t)total << RING_UNIT_SHIFT));
    tell(pub);
    return 0;
}

int weir_pub_last_sequence(struct weir_pub *pub, uint64_t *ret_sequence)
{
    if (!pub->state.producer)
        return fail(-EPERM, "the publisher has no name");
    *ret_sequence = pub->state.sequence;
    return 0;
}
