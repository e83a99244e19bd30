// SPDX-License-Identifier: Apache-2.0
#include "tests/support/ring_trial.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <stdexcept>

#include "tests/support/ring_actor.h"
#include "tests/support/ring_coverage.h"

namespace ringtest
{

bool seen_read(const void *body, uint32_t body_bytes, uint32_t flags, uint16_t tag, Seen *ret_seen)
{
    struct ring_meta meta;
    uint32_t bytes = 0;
    const uint8_t *at = static_cast<const uint8_t *>(body);
    return ring_meta_get(at, body_bytes, flags, &meta, &bytes) == 0 &&
           stamp_read(at + bytes, body_bytes - bytes, &ret_seen->who, &ret_seen->number) && ret_seen->who == tag;
}

// The last reader of a memory-only ring that waits for readers has a gate.
Trial::Trial(const Shape &shape)
    : ring(shape), main(ring, !(shape.flags & RING_JOURNALED) && shape.when_full == RING_BLOCK)
{
    coverage_begin();
    logs_ = static_cast<ActorLog *>(shared_memory(sizeof(ActorLog) * kActors));
    if (main.joined < 0 || ring_reader_seek(main, ring.start()) < 0)
        throw std::runtime_error("the first reader cannot join");
}

Trial::~Trial()
{
    munmap(logs_, sizeof(ActorLog) * kActors);
}

void Trial::fail(const std::string &what)
{
    failures_.push_back(what);
}

std::string Trial::failure_text() const
{
    std::string all;
    for (const std::string &failure : failures_)
        all += failure + "\n";
    return all;
}

void Trial::dies(uint32_t who)
{
    ActorLog &of = log(who);
    for (uint64_t i = 0; i < std::min(look(&of.id_count), ActorLog::kIds); i++)
        ring.publisher_dies(look(&of.ids[i]));
    for (uint64_t i = 0; i < std::min(look(&of.reader_id_count), ActorLog::kIds); i++)
        ring.reader_dies(look(&of.reader_ids[i]));
    dead_.push_back(who);
}

void Trial::die(const std::vector<uint32_t> &who)
{
    for (uint32_t one : who)
        dies(one);
}

// -- Those who stand by --------------------------------------------------------------------------------------------------

Fiber &Trial::companion(uint32_t who, const Script &script, const char *function, uint32_t nth)
{
    companions_.push_back({who, actor_fiber(*this, who, script), script});
    Fiber &fiber = *companions_.back().fiber;
    if (!fiber.run_to(function, nth))
        throw std::runtime_error(std::string("nobody came to ") + function);
    return fiber;
}

bool Trial::companions_block()
{
    return std::any_of(companions_.begin(), companions_.end(),
                       [this](const Companion &one) { return belongs_to({one.who}, ring_reader_claimant(main)); });
}

void Trial::companions_go_on()
{
    for (Companion &one : companions_)
        actor_run(*this, *one.fiber, Fiber::kNever);
}

void Trial::companions_end()
{
    std::vector<Fiber *> fibers;
    for (Companion &one : companions_)
        fibers.push_back(one.fiber.get());
    if (!actors_finish(*this, fibers))
        fail("who was stopped beside it does not come to an end");
    for (Companion &one : companions_) {
        if (look(&log(one.who).error))
            fail("who was stopped beside it: " + std::string(strerror((int)look(&log(one.who).error))));
        dies(one.who);
    }
    companions_.clear();
}

// -- What goes on --------------------------------------------------------------------------------------------------------

bool Trial::take_over()
{
    int error = 0;
    for (Message &message : main.read_all(&error)) {
        Seen seen = {message.position, message.next, 0, 0};
        if (!seen_read(message.body.data(), (uint32_t)message.body.size(), message.flags, message.tag, &seen)) {
            fail("a record that nobody wrote at position " + std::to_string(message.position));
            return false;
        }
        seen_.push_back(seen);
        uint64_t &count = seen_count_[seen.who];
        if (seen.number < count || (seen.number > count && gaps_ == 0))
            fail("actor " + std::to_string(seen.who) + ": message " + std::to_string(seen.number) + " after " +
                 std::to_string(count) + " messages");
        count = seen.number + 1;
        uint64_t said = look(&log(seen.who).positions[seen.number % ActorLog::kPositions]);
        if (seen.position != said)
            fail("actor " + std::to_string(seen.who) + ": message " + std::to_string(seen.number) + " is at position " +
                 std::to_string(seen.position) + " and was said to be at " + std::to_string(said));
    }
    uint64_t oldest;
    if (error == -ENOENT && drops_old() &&
        ring_oldest_segment(main.view, (ring_reader_position(main) >> ring.shape().segment_shift) + 1, &oldest) == 0) {
        gaps_++;
        int r = ring_reader_seek(main, oldest << ring.shape().segment_shift);
        return r == 0 || r == -ENOENT || r == -EAGAIN ? take_over() : false;
    }
    ring.drained(ring_reader_position(main));
    if (error < 0) {
        fail("the reader stops at position " + std::to_string(ring_reader_position(main)) + ": " + strerror(-error));
        return false;
    }
    return true;
}

void Trial::fill(uint32_t segments)
{
    Actor actor(*this, kSurvivor);
    uint64_t until = active() + segments;
    if (!actor.join())
        fail("who fills the ring cannot join");
    while (active() < until && actor.publish(1, 9))
        ;
    if (look(&actor.log.error))
        fail("while the ring is filled: " + std::string(strerror((int)look(&actor.log.error))));
    actor.leave();
}

uint32_t Trial::go_on(uint32_t segments, uint32_t units)
{
    Actor actor(*this, kSurvivor);
    if (!take_over())
        return 0;
    if (!actor.join()) {
        if (look(&actor.log.error) != EBUSY && look(&actor.log.error) != ENOSPC)
            fail("another publisher cannot join: " + std::string(strerror((int)look(&actor.log.error))));
        poke(&actor.log.error, 0);
        return 0;
    }
    uint64_t first = active();
    uint32_t got = 0;
    for (uint32_t stuck = 0; got < segments && stuck < 3;) {
        if (actor.publish(1, units)) {
            stuck = 0;
        } else if (look(&actor.log.error) == EAGAIN) {
            actor.give_up();
            stuck++;
        } else {
            fail("another publisher cannot publish: " + std::string(strerror((int)look(&actor.log.error))));
            break;
        }
        if (!take_over())
            break;
        got = (uint32_t)(active() - first);
    }
    actor.leave();
    return got;
}

bool Trial::belongs_to(const std::vector<uint32_t> &who, uint64_t publisher_id)
{
    for (uint32_t one : who)
        for (uint64_t i = 0; i < std::min(look(&log(one).id_count), ActorLog::kIds); i++)
            if (publisher_id == look(&log(one).ids[i]))
                return true;
    return false;
}

// A gate is a wish to be waited for; who never asked for one must not be in the way.
bool Trial::gates(uint32_t who)
{
    for (uint32_t i = 0; i < ring.geometry().max_readers && look(&log(who).gated); i++) {
        struct ring_reader *entry = &main.view->reader_table[i];
        for (uint64_t k = 0; k < std::min(look(&log(who).reader_id_count), ActorLog::kIds); k++)
            if (look(&entry->id) == look(&log(who).reader_ids[k]) && look(&entry->gate))
                return true;
    }
    return false;
}

void Trial::while_stopped(std::vector<uint32_t> stopped)
{
    for (Companion &one : companions_)
        stopped.push_back(one.who);
    uint32_t segments = 2 * ring.geometry().slot_count;
    uint32_t got = go_on(segments);
    audit();
    if (got >= segments)
        return;
    /* Order is total: whoever has a claim open holds up what comes behind it, and is named. */
    if (belongs_to(stopped, ring_reader_claimant(main)))
        return;
    if ((ring.shape().flags & RING_EXCLUSIVE) && belongs_to(stopped, look(&main.view->publishers[1].id)))
        return;
    if (std::any_of(stopped.begin(), stopped.end(), [this](uint32_t who) { return gates(who); }))
        return;
    /* All entries are dead ones', and those who would clear up behind them have sat down in the seats, and stand still. */
    uint32_t seat = main.view->publisher_entries - RING_SEATS, sitting = 0;
    for (; seat < main.view->publisher_entries; seat++)
        sitting += belongs_to(stopped, look(&main.view->publishers[seat].id));
    if (sitting == RING_SEATS)
        return;
    fail("others got through " + std::to_string(got) + " segments of " + std::to_string(segments) +
         ", and nothing of the stopped ones is in the way");
}

// -- Looking again -------------------------------------------------------------------------------------------------------

// All records in memory below the position, slot by slot, announcing nothing: nobody else runs.
std::vector<Seen> Trial::reread(uint64_t position)
{
    View &view = ring.view();
    std::vector<Seen> all;
    for (uint64_t from = 0, segment; ring_oldest_segment(view, from, &segment) == 0; from = segment + 1) {
        uint32_t slot;
        uint64_t state;
        uint64_t start = segment << ring.shape().segment_shift;
        if (start >= position || !slot_find(view, segment, &slot, &state))
            continue;
        struct ring_reader_state reader = {};
        reader.view = view;
        reader.inside = reader.stay = true;
        reader.segment = segment;
        reader.slot = &view->slots[slot];
        reader.base = slot_base(view, slot);
        struct ring_item item;
        while (ring_reader_position(&reader) < position && ring_reader_peek(&reader, &item) == 1) {
            if (item.position >= position)
                break; /* padding was in between */
            Seen seen = {item.position, item.next, 0, 0};
            if (!seen_read(item.body, item.body_bytes, item.flags, item.tag, &seen))
                fail("what was read before is damaged now, at position " + std::to_string(item.position));
            all.push_back(seen);
            ring_reader_pass(&reader, &item);
        }
        uint64_t end = std::min(position, start + ring.shape().segment_bytes());
        if (ring_reader_position(&reader) < end && gaps_ == 0)
            fail("what was read before comes to an end now at position " +
                 std::to_string(ring_reader_position(&reader)) + " of " + std::to_string(end));
    }
    return all;
}

bool Trial::has_read(uint32_t who, uint64_t until)
{
    uint64_t from = look(&log(who).read_from);
    auto expected = std::count_if(seen_.begin(), seen_.end(), [from, until](const Seen &seen) {
        return seen.position >= from && seen.position < until;
    });
    return look(&log(who).read_count) >= (uint64_t)expected;
}

void Trial::audit()
{
    for (const std::string &fault : ring.faults())
        fail("ring_check: " + fault);
    std::set<uint64_t> segments;
    std::vector<Seen> again = reread(ring_reader_position(main)), before;
    uint32_t shift = ring.shape().segment_shift;
    for (uint64_t from = 0, segment; ring_oldest_segment(main.view, from, &segment) == 0; from = segment + 1)
        segments.insert(segment);
    for (const Seen &seen : seen_)
        if (segments.count(seen.position >> shift))
            before.push_back(seen);
    if (gaps_) /* what was skipped may still be there */
        again.erase(std::remove_if(again.begin(), again.end(),
                                   [&before](const Seen &seen) {
                                       return std::find(before.begin(), before.end(), seen) == before.end();
                                   }),
                    again.end());
    if (again != before)
        fail("of " + std::to_string(before.size()) + " messages that were read from what is in memory, " +
             std::to_string(again.size()) + " are there now, or others");
}

} // namespace ringtest
