// SPDX-License-Identifier: Apache-2.0
#include "tests/support/ring_actor.h"

#include <cerrno>
#include <cstring>

namespace ringtest
{

Actor::Actor(Trial &t, uint32_t w) : trial(t), who(w), log(t.log(w)), view(t.ring.view())
{
    view.on_relax = [](void *) {
        if (Fiber::current())
            Fiber::yield();
    };
}

bool Actor::failed(int error)
{
    poke(&log.error, (uint64_t)-error);
    return false;
}

void Actor::give_up()
{
    poke(&log.error, 0);
    poke(&log.attempted, look(&log.committed));
}

template <typename Attempt>
int Actor::wait_while(int error, Attempt attempt)
{
    int r;
    for (uint32_t tries = 0; (r = attempt()) == error; tries++) {
        if (error == -EBUSY)
            poke(&log.refused, look(&log.refused) + 1);
        if (tries >= patience)
            break;
        view->ops->relax(view->ctx);
    }
    return r;
}

static void note_id(struct mem_u64 *ids, struct mem_u64 *count, uint64_t id)
{
    poke(&ids[look(count) % ActorLog::kIds], id);
    poke(count, look(count) + 1);
}

// -- Publishing ----------------------------------------------------------------------------------------------------------

bool Actor::join()
{
    uint64_t id = ring_publisher_id(view);
    note_id(log.ids, &log.id_count, id);
    int r = wait_while(-EBUSY, [&] { return ring_publisher_join(&publisher, view, id, 4711, 1); });
    return r < 0 ? failed(r) : true;
}

bool Actor::join_daemon()
{
    uint64_t id = ring_publisher_id(view);
    note_id(log.ids, &log.id_count, id);
    int r = wait_while(-EBUSY, [&] { return ring_daemon_join(&publisher, view, id, 4711, 1); });
    return r < 0 ? failed(r) : true;
}

bool Actor::take_name()
{
    int r = wait_while(-EBUSY, [&] { return ring_producer_take(&publisher, kTrialName); });
    if (r < 0)
        return failed(r);
    sequence_before_ = publisher.sequence - look(&log.committed);
    poke(&log.named, 1);
    return true;
}

uint32_t Actor::put_body(uint8_t *body, uint64_t number, uint32_t units)
{
    uint32_t room = units * RING_UNIT_BYTES - (uint32_t)sizeof(struct ring_record), bytes = 0;
    if (publisher.producer) {
        struct ring_meta meta = {};
        meta.present = RING_HAS_SEQUENCE;
        meta.producer = ring_producer_hash(kTrialName);
        meta.sequence = sequence_before_ + number + 1;
        if (ring_meta_bytes(&meta, &bytes) < 0)
            return 0;
        ring_meta_put(&meta, body);
    }
    char text[4096];
    stamp_write(text, who, number, room - bytes);
    memcpy(body + bytes, text, room - bytes);
    return room;
}

bool Actor::publish(uint32_t count, uint32_t units)
{
    static const uint32_t kUnits[] = {1, 3, 9, 24, 2, 14, 1, 31};
    uint32_t flags = publisher.producer ? RING_FLAG_PROPERTIES : 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t number = look(&log.committed), position;
        uint32_t take = units ? units : kUnits[number % 8];
        poke(&log.attempted, number + 1);
        int r = wait_while(-EAGAIN, [&] { return ring_claim(&publisher, take, &position); });
        if (r < 0)
            return failed(r);
        poke(&log.positions[number % ActorLog::kPositions], position);
        uint32_t bytes = put_body(ring_claim_address(&publisher) + sizeof(struct ring_record), number, take);
        ring_commit(&publisher, (uint16_t)who, flags, bytes);
        poke(&log.committed, number + 1);
        if (publisher.producer)
            ring_producer_count(&publisher, sequence_before_ + number + 1, position + (uint64_t)take * RING_UNIT_BYTES);
        ring_news(view);
    }
    return true;
}

bool Actor::publish_batch(uint32_t count)
{
    uint32_t flags = publisher.producer ? RING_FLAG_PROPERTIES : 0;
    uint64_t number = look(&log.committed), position;
    const uint32_t units = 3;
    poke(&log.attempted, number + count);
    int r = wait_while(-EAGAIN, [&] { return ring_claim(&publisher, units * count, &position); });
    if (r < 0)
        return failed(r);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *body = ring_claim_address(&publisher) + i * units * RING_UNIT_BYTES + sizeof(struct ring_record);
        poke(&log.positions[(number + i) % ActorLog::kPositions], position + i * units * RING_UNIT_BYTES);
        uint32_t bytes = put_body(body, number + i, units);
        if (i > 0)
            ring_batch_put(&publisher, i * units, units, (uint16_t)who, flags, bytes);
    }
    ring_commit_first(&publisher, units, (uint16_t)who, flags,
                      units * RING_UNIT_BYTES - (uint32_t)sizeof(struct ring_record));
    poke(&log.committed, number + count);
    if (publisher.producer)
        ring_producer_count(&publisher, sequence_before_ + number + count,
                            position + (uint64_t)(units * count) * RING_UNIT_BYTES);
    return true;
}

bool Actor::claim(uint32_t units)
{
    uint64_t position;
    int r = wait_while(-EAGAIN, [&] { return ring_claim(&publisher, units, &position); });
    return r < 0 ? failed(r) : true;
}

bool Actor::cancel(uint32_t units)
{
    if (!claim(units))
        return false;
    memset(ring_claim_address(&publisher) + sizeof(struct ring_record), 0xee,
           units * RING_UNIT_BYTES - sizeof(struct ring_record));
    ring_cancel(&publisher);
    return true;
}

void Actor::leave()
{
    ring_publisher_leave(&publisher);
}

// -- Reading -------------------------------------------------------------------------------------------------------------

bool Actor::join_reader(bool gating)
{
    uint64_t id = ring_reader_id(view);
    note_id(log.reader_ids, &log.reader_id_count, id);
    int r = ring_reader_join(&reader, view, id, 4712, 1);
    reader.gating = gating;
    poke(&log.gated, gating);
    return r < 0 ? failed(r) : true;
}

bool Actor::take_cursor()
{
    uint64_t position;
    int r = wait_while(-EBUSY, [&] { return ring_cursor_take(&reader, kTrialCursor, &position); });
    return r < 0 ? failed(r) : true;
}

bool Actor::take_item(const struct ring_item &item, Seen *ret_seen)
{
    *ret_seen = {item.position, item.next, 0, 0};
    if (!seen_read(item.body, item.body_bytes, item.flags, item.tag, ret_seen))
        return failed(-EILSEQ);
    ring_reader_pass(&reader, &item);
    return true;
}

// Puts down what was read if it is what it was.
bool Actor::keep(const struct ring_item *items, const Seen *seen, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        Seen again = {seen[i].position, seen[i].next, 0, 0};
        if (!seen_read(items[i].body, items[i].body_bytes, items[i].flags, items[i].tag, &again) ||
            !(again == seen[i]) || look(&log.read_count) >= ActorLog::kReads)
            return failed(-EILSEQ);
        log.read[look(&log.read_count)] = again;
        poke(&log.read_count, look(&log.read_count) + 1);
    }
    return true;
}

bool Actor::in_memory(uint64_t segment)
{
    uint32_t slot;
    uint64_t state;
    return slot_find(view, segment, &slot, &state);
}

// From the reader's segment on. What was gone before its gate was there stays gone.
bool Actor::all_in_memory()
{
    for (uint64_t segment = reader.segment; segment < trial.active(); segment++)
        if (!in_memory(segment))
            return false;
    return true;
}

bool Actor::read(bool in_place)
{
    constexpr uint32_t kHeld = 3;
    int r = ring_reader_seek(&reader, trial.start_of_role);
    if (r == -ENOENT && !(view->control_writable && in_memory(reader.segment)))
        return true; /* gone; who may not write cannot undo a mark either */
    if (r < 0)
        return failed(r);
    poke(&log.read_from, trial.start_of_role);
    const bool gap = !all_in_memory();
    for (uint32_t looks = 0; looks < 3;) {
        struct ring_item items[kHeld];
        Seen seen[kHeld];
        uint32_t count = 0;
        reader.stay = false;
        do {
            r = ring_reader_peek(&reader, &items[count]);
            if (r > 0 && !take_item(items[count], &seen[count]))
                return false;
            count += r > 0;
            reader.stay = true; /* what is held is in this segment */
        } while (r > 0 && in_place && count < kHeld);
        if (!keep(items, seen, count))
            return false;
        bool pending;
        if (count == 0 && r == 0)
            looks += (r = ring_reader_look(&reader, &pending)) <= 0;
        if (r == -ENOENT && (gap || !reader.gating))
            return true; /* told that it goes on in the journal, or that what was there is gone */
        if (r < 0)
            return failed(r);
    }
    return true;
}

void Actor::leave_reader()
{
    ring_reader_leave(&reader);
}

// -- As fibers -----------------------------------------------------------------------------------------------------------

std::unique_ptr<Fiber> actor_fiber(Trial &trial, uint32_t who, const Script &script, Fiber::Points points)
{
    return std::make_unique<Fiber>(
        [&trial, who, script] {
            Actor actor(trial, who);
            actor.patience = UINT32_MAX;
            script(actor);
            poke(&actor.log.finished, 1);
        },
        points);
}

void actor_run(Trial &trial, Fiber &fiber, uint64_t n)
{
    uint64_t at = n == Fiber::kNever ? n : fiber.points() + n;
    for (uint32_t round = 0; round < 100; round++)
        if (!fiber.step(at == Fiber::kNever ? at : at - fiber.points()) || !trial.take_over())
            return;
}

bool actors_finish(Trial &trial, const std::vector<Fiber *> &fibers)
{
    for (uint32_t round = 0; round < 100; round++) {
        bool waits = false;
        for (Fiber *fiber : fibers) {
            for (uint32_t step = 0; step < 200 && fiber->step(); step++)
                if (!trial.take_over())
                    return false;
            waits |= fiber->state() != Fiber::State::done;
        }
        if (!waits)
            return true;
    }
    return false;
}

} // namespace ringtest
