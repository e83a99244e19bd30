// SPDX-License-Identifier: Apache-2.0
// Rolling over to the next segment, finding a slot for it, and who may keep a slot from being reused.
// test: LINKS weir_ringbuf
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <set>

#include "tests/support/ring_fiber.h"
#include "tests/support/ring_fixture.h"

using namespace ringtest;

namespace
{

constexpr uint64_t kSegment = 4096;

class Roll : public ::testing::TestWithParam<uint64_t>
{
protected:
    Shape journaled(uint32_t slots = 4)
    {
        Shape s;
        s.start = GetParam();
        s.slots = slots;
        s.publishers = 4;
        s.readers = 4;
        return s;
    }
    Shape memory(uint32_t slots = 4)
    {
        Shape s = journaled(slots);
        s.flags = 0;
        return s;
    }

    // Fills exactly one segment. Where the one before is full, that is a roll-over.
    static int64_t fill(Publisher &publisher)
    {
        return publisher.publish(stamped(1, 0, kSegment - 16));
    }
    static uint32_t active_slot_of(Ring &ring)
    {
        return active_slot(look(&ring.control_block()->active));
    }
    static uint64_t active_of(Ring &ring)
    {
        return active_segment(look(&ring.control_block()->active));
    }
    static std::set<uint64_t> in_memory(Ring &ring)
    {
        std::set<uint64_t> all;
        uint64_t at;
        for (uint64_t from = 0; ring_oldest_segment(ring.view(), from, &at) == 0; from = at + 1)
            all.insert(at - ring.first_segment());
        return all;
    }
    static std::vector<uint64_t> states(Ring &ring)
    {
        std::vector<uint64_t> all;
        for (uint32_t i = 0; i < ring.geometry().slot_count; i++)
            all.push_back(look(&ring.view()->states[i]));
        return all;
    }
};

TEST_P(Roll, takes_free_slots_first_and_then_that_of_the_oldest_segment)
{
    Ring ring(journaled(5));
    Publisher publisher(ring);
    for (uint32_t i = 0; i < 5; i++) {
        ASSERT_TRUE(published(fill(publisher)));
        EXPECT_EQ(active_slot_of(ring), i);
    }
    EXPECT_EQ(fill(publisher), -EAGAIN);
    for (uint32_t i = 0; i < 12; i++) {
        ring.drained(ring_end_position(ring.view()));
        ASSERT_TRUE(published(fill(publisher))) << ring.dump();
        EXPECT_EQ(active_slot_of(ring), i % 5) << ring.dump();
    }
    EXPECT_EQ(ring.faults(), std::vector<std::string>());
}

TEST_P(Roll, is_refused_when_the_ring_is_full_and_goes_on_when_the_journal_does)
{
    Ring ring(journaled(4));
    Publisher publisher(ring);
    for (uint32_t i = 0; i < 4; i++)
        ASSERT_TRUE(published(fill(publisher)));
    std::vector<uint64_t> before = states(ring);
    for (uint32_t i = 0; i < 3; i++)
        EXPECT_EQ(fill(publisher), -EAGAIN);
    EXPECT_EQ(states(ring), before);
    EXPECT_EQ(look(&publisher->entry->announced), 0u) << "who waits for room keeps none";
    ring.drained(ring.start() + kSegment - 64);
    EXPECT_EQ(fill(publisher), -EAGAIN) << "a segment is drained when all of it is";
    ring.drained(ring.start() + kSegment);
    EXPECT_EQ(fill(publisher), (int64_t)(ring.start() + 4 * kSegment));
    EXPECT_EQ(fill(publisher), -EAGAIN);
    EXPECT_EQ(in_memory(ring), (std::set<uint64_t>{1, 2, 3, 4}));
}

TEST_P(Roll, never_runs_past_the_lease)
{
    Ring ring(journaled(6));
    Publisher publisher(ring);
    poke(&ring.control_block()->lease, ring.start() + 3 * kSegment);
    for (uint32_t i = 0; i < 3; i++)
        ASSERT_TRUE(published(fill(publisher)));
    EXPECT_EQ(fill(publisher), -EAGAIN);
    poke(&ring.control_block()->lease, ring.start() + 4 * kSegment - 1);
    EXPECT_EQ(fill(publisher), -EAGAIN);
    poke(&ring.control_block()->lease, ring.start() + 4 * kSegment);
    EXPECT_TRUE(published(fill(publisher)));
}

TEST_P(Roll, of_a_memory_ring_without_readers_keeps_as_many_segments_as_fit)
{
    Ring ring(memory(5));
    Publisher publisher(ring);
    for (uint64_t i = 0; i < 30; i++) {
        ASSERT_TRUE(published(fill(publisher)));
        std::set<uint64_t> expected;
        for (uint64_t k = i < 4 ? 0 : i - 4; k <= i; k++)
            expected.insert(k);
        EXPECT_EQ(in_memory(ring), expected);
    }
    poke(&ring.control_block()->lease, 0);
    EXPECT_TRUE(published(fill(publisher))) << "a lease is the journal's";
}

TEST_P(Roll, keeps_all_that_fits_for_a_reader_that_has_not_said_where_it_begins)
{
    Ring ring(memory(5));
    Publisher publisher(ring);
    for (uint64_t i = 0; i < 4; i++)
        ASSERT_TRUE(published(fill(publisher)));
    Reader reader(ring);
    ASSERT_TRUE(published(fill(publisher)));
    EXPECT_EQ(in_memory(ring), (std::set<uint64_t>{0, 1, 2, 3, 4}));
    EXPECT_EQ(ring_reader_seek(reader, ring.start()), 0);
}

TEST_P(Roll, is_blocked_by_a_gate_and_by_nothing_else_of_a_reader)
{
    Ring ring(memory(3));
    Publisher publisher(ring);
    Reader gating(ring, true), other(ring);
    ASSERT_EQ(ring_reader_seek(gating, ring.start()), 0);
    ASSERT_EQ(ring_reader_seek(other, ring.start()), 0);
    for (uint32_t i = 0; i < 3; i++)
        ASSERT_TRUE(published(fill(publisher)));
    other.leave();
    EXPECT_EQ(fill(publisher), -EAGAIN);
    EXPECT_EQ(gating.read_all(nullptr, 1).size(), 1u);
    EXPECT_EQ(fill(publisher), -EAGAIN) << "it still stands in the first segment";
    struct ring_item item;
    EXPECT_EQ(ring_reader_peek(gating, &item), 1);
    EXPECT_TRUE(published(fill(publisher)));
    EXPECT_EQ(fill(publisher), -EAGAIN);
    ring_reader_outside(gating, ring.start() + 2 * kSegment);
    EXPECT_TRUE(published(fill(publisher))) << "a gate stays where the position is";
    EXPECT_EQ(fill(publisher), -EAGAIN);
    gating.die();
    EXPECT_TRUE(published(fill(publisher))) << "the dead gate nothing";
}

TEST_P(Roll, leaves_the_slot_of_an_announced_reader_alone)
{
    for (bool drops : {false, true}) {
        Shape shape = drops ? memory(4) : journaled(4);
        shape.when_full = drops ? RING_DROP_OLD : RING_BLOCK;
        Ring ring(shape);
        Publisher publisher(ring);
        Reader stopped(ring);
        ASSERT_EQ(ring_reader_seek(stopped, ring.start()), 0);
        ASSERT_TRUE(published(fill(publisher)));
        struct ring_item item;
        ASSERT_EQ(ring_reader_peek(stopped, &item), 1);
        uint32_t slot = active_slot_of(ring);
        for (uint64_t i = 1; i < 40; i++) {
            ring.drained(ring_end_position(ring.view()));
            ASSERT_TRUE(published(fill(publisher))) << "no reader stalls a publisher: " << i << "\n" << ring.dump();
            ASSERT_NE(active_slot_of(ring), slot);
        }
        uint32_t who;
        uint64_t number;
        EXPECT_TRUE(stamp_read(item.body, item.body_bytes, &who, &number)) << "what it reads in place stays whole";
        ring_reader_pass(stopped, &item);
        EXPECT_EQ(ring_reader_peek(stopped, &item), -ENOENT) << "and then it is told";
        uint64_t oldest;
        ASSERT_EQ(ring_oldest_segment(stopped.view, ring_reader_position(stopped) >> 12, &oldest), 0);
        ASSERT_EQ(ring_reader_seek(stopped, oldest << 12), 0);
        EXPECT_GE(stopped.read_all().size(), 2u);
        ring.drained(ring_end_position(ring.view()));
        ASSERT_TRUE(published(fill(publisher)));
        ring.drained(ring_end_position(ring.view()));
        ASSERT_TRUE(published(fill(publisher)));
        ASSERT_TRUE(published(fill(publisher)));
        EXPECT_EQ(ring.faults(), std::vector<std::string>());
    }
}

TEST_P(Roll, takes_the_slot_of_a_dead_reader)
{
    Ring ring(journaled(3));
    Publisher publisher(ring);
    Reader one(ring), two(ring);
    ASSERT_EQ(ring_reader_seek(one, ring.start()), 0);
    ASSERT_TRUE(published(fill(publisher)));
    ASSERT_TRUE(published(fill(publisher)));
    ASSERT_EQ(ring_reader_seek(two, ring.start() + kSegment), 0);
    ASSERT_TRUE(published(fill(publisher)));
    ring.drained(ring_end_position(ring.view()));
    EXPECT_EQ(fill(publisher), -EAGAIN) << "two stopped readers and three slots";
    one.die();
    EXPECT_TRUE(published(fill(publisher)));
    EXPECT_EQ(in_memory(ring), (std::set<uint64_t>{1, 2, 3}));
}

TEST_P(Roll, leaves_the_slot_of_an_announced_publisher_alone)
{
    Ring ring(journaled(4));
    Publisher publisher(ring), stopped(ring);
    ASSERT_TRUE(published(stopped.publish("x")));
    for (uint64_t i = 1; i < 40; i++) {
        ASSERT_TRUE(published(fill(publisher)));
        ring.drained(ring_end_position(ring.view()));
    }
    EXPECT_EQ(in_memory(ring).count(0), 1u);
    ASSERT_TRUE(published(fill(stopped))) << "it goes to where the others are";
    ring.drained(ring_end_position(ring.view()));
    for (uint64_t i = 1; i < 4; i++) {
        ASSERT_TRUE(published(fill(publisher)));
        ring.drained(ring_end_position(ring.view()));
    }
    EXPECT_EQ(in_memory(ring).count(0), 0u);
    EXPECT_EQ(ring.faults(), std::vector<std::string>());
}

TEST_P(Roll, sees_a_gate_move_on_though_an_idle_publisher_keeps_the_oldest_slot)
{
    Ring ring(memory(4));
    Publisher publisher(ring), idle(ring);
    Reader gating(ring, true);
    ASSERT_EQ(ring_reader_seek(gating, ring.start()), 0);
    ASSERT_TRUE(published(idle.publish("x")));
    while (published(fill(publisher)))
        ;
    EXPECT_EQ(in_memory(ring), (std::set<uint64_t>{0, 1, 2, 3}));
    struct ring_item item;
    EXPECT_EQ(gating.read_all(nullptr, 1).size(), 1u);
    EXPECT_EQ(ring_reader_peek(gating, &item), 1);
    EXPECT_EQ(fill(publisher), -EAGAIN) << "the first segment is the idle one's, the second is being read";
    EXPECT_EQ(gating.read_all().size(), 3u);
    EXPECT_TRUE(published(fill(publisher))) << "it looks at the readers anew\n" << ring.dump();
    EXPECT_EQ(in_memory(ring), (std::set<uint64_t>{0, 2, 3, 4}));
    EXPECT_EQ(ring.faults(), std::vector<std::string>());
}

// -- What happens between the mark and the last look -----------------------------------------------------------------------

// Full but for the slot of the first segment, which is drained: the publisher marks it, and before its last look `meanwhile` runs.
class Meanwhile : public Roll
{
protected:
    int64_t roll(Ring &ring, const std::function<void()> &meanwhile)
    {
        Publisher publisher(ring);
        while (published(fill(publisher)))
            ;
        ring.drained(ring.start() + kSegment);
        if (in_memory(ring) != std::set<uint64_t>{0, 1, 2, 3})
            return -EINVAL;
        static const std::function<void()> *body;
        body = &meanwhile;
        publisher.view.on_mark = [](void *) { (*body)(); };
        int64_t r = fill(publisher);
        publisher.view.on_mark = nullptr;
        return r;
    }
    static enum ring_slot_state first_slot(Ring &ring)
    {
        return slot_state(look(&ring.view()->states[0]));
    }
};

TEST_P(Meanwhile, nothing_happens_and_the_slot_is_taken)
{
    Ring ring(journaled(4));
    bool marked = false;
    EXPECT_TRUE(published(roll(ring, [&] { marked = first_slot(ring) == RING_SLOT_RECLAIMING; })));
    EXPECT_TRUE(marked);
    EXPECT_EQ(in_memory(ring), (std::set<uint64_t>{1, 2, 3, 4}));
}

TEST_P(Meanwhile, a_reader_announces_itself_and_keeps_the_slot)
{
    Ring ring(journaled(4));
    Reader reader(ring);
    poke(&reader->entry->position, UINT64_MAX - 1); /* reads nothing that would be a wish */
    EXPECT_EQ(roll(ring, [&] { poke(reader->announced, ring.first_segment() + 1); }), -EAGAIN);
    EXPECT_EQ(first_slot(ring), RING_SLOT_LIVE);
    EXPECT_EQ(in_memory(ring), (std::set<uint64_t>{0, 1, 2, 3}));
}

TEST_P(Meanwhile, a_reader_comes_in_and_undoes_the_mark)
{
    Ring ring(journaled(4));
    Reader reader(ring);
    EXPECT_EQ(roll(ring, [&] { EXPECT_EQ(ring_reader_seek(reader, ring.start()), 0); }), -EAGAIN);
    EXPECT_EQ(first_slot(ring), RING_SLOT_LIVE);
    EXPECT_EQ(reader.read_all().size(), 4u);
}

TEST_P(Meanwhile, a_reader_that_may_not_undo_the_mark_waits_and_is_told_in_the_end)
{
    Ring ring(journaled(4));
    Reader reader(ring);
    reader.view->control_writable = false;
    EXPECT_EQ(roll(ring,
                   [&] {
                       EXPECT_EQ(ring_reader_seek(reader, ring.start()), -ENOENT) << "bounded";
                       EXPECT_EQ(first_slot(ring), RING_SLOT_RECLAIMING);
                   }),
              -EAGAIN)
        << "it has announced itself";
    EXPECT_EQ(ring_reader_seek(reader, ring.start()), 0);
}

// It comes from the segment before, so it does not seek: it must neither wait for ever nor be told that there is nothing.
TEST_P(Meanwhile, a_reader_that_reads_on_into_the_marked_segment_does_not_wait_for_who_marked_it)
{
    for (bool writable : {true, false}) {
        Ring ring(journaled(4));
        Reader reader(ring);
        struct ring_item item = {};
        {
            Publisher publisher(ring);
            ASSERT_TRUE(published(fill(publisher)));
        }
        ASSERT_EQ(ring_reader_seek(reader, ring.start()), 0);
        ASSERT_EQ(ring_reader_peek(reader, &item), 1);
        ring_reader_pass(reader, &item);
        Publisher publisher(ring), stopped(ring);
        for (uint32_t i = 0; i < 2; i++)
            ASSERT_TRUE(published(fill(publisher)));
        uint64_t next = ring.first_segment() + 1;
        for (uint32_t slot = 0; slot < 4; slot++)
            if (look(&ring.view()->states[slot]) == slot_live(next))
                poke(&ring.view()->states[slot], slot_owned(RING_SLOT_RECLAIMING, next, stopped->index, stopped->id));
        reader.view->control_writable = writable;
        EXPECT_EQ(ring_reader_peek(reader, &item), writable ? 1 : -ENOENT) << "it is durable: the journal has it";
        EXPECT_EQ(ring_reader_position(reader), ring.start() + kSegment);
    }
}

TEST_P(Meanwhile, a_publisher_announces_itself_and_keeps_the_slot)
{
    Ring ring(journaled(4));
    Publisher other(ring);
    EXPECT_EQ(roll(ring, [&] { poke(&other->entry->announced, ring.first_segment() + 1); }), -EAGAIN);
    EXPECT_EQ(first_slot(ring), RING_SLOT_LIVE);
    poke(&other->entry->announced, 0);
}

TEST_P(Meanwhile, a_gate_is_set_and_keeps_the_slot)
{
    Ring gated(memory(4));
    Publisher publisher(gated);
    Reader gate(gated, true);
    ASSERT_EQ(ring_reader_seek(gate, gated.start()), 0);
    for (uint32_t i = 0; i < 4; i++)
        ASSERT_TRUE(published(fill(publisher)));
    poke(&gate->entry->gate, gate_make(gated.start() + kSegment, gate->id));
    poke(gate->announced, 0);
    static struct mem_u64 *word;
    static uint64_t value;
    word = &gate->entry->gate;
    value = gate_make(gated.start(), gate->id);
    publisher.view.on_mark = [](void *) { poke(word, value); };
    EXPECT_EQ(fill(publisher), -EAGAIN);
    EXPECT_EQ(in_memory(gated), (std::set<uint64_t>{0, 1, 2, 3}));
}

TEST_P(Meanwhile, another_publisher_takes_the_mark_over)
{
    Ring ring(journaled(4));
    Publisher other(ring);
    EXPECT_EQ(roll(ring, [&] { EXPECT_TRUE(published(other.publish("in between"))) << ring.dump(); }), -EAGAIN)
        << "its record takes a segment of its own, and the other one's holds the last slot";
    EXPECT_EQ(in_memory(ring), (std::set<uint64_t>{1, 2, 3, 4}));
    EXPECT_EQ(ring.faults(), std::vector<std::string>());
}

TEST_P(Meanwhile, the_readers_cannot_be_looked_at_and_nothing_is_reclaimed)
{
    Ring ring(journaled(4));
    EXPECT_EQ(roll(ring, [&] { poke(&ring.world().copy_fails, 1); }), -EAGAIN);
    EXPECT_EQ(first_slot(ring), RING_SLOT_LIVE);
    Publisher publisher(ring);
    EXPECT_EQ(fill(publisher), -EAGAIN);
    EXPECT_EQ(first_slot(ring), RING_SLOT_LIVE);
    poke(&ring.world().copy_fails, 0);
    EXPECT_TRUE(published(fill(publisher)));
}

TEST_P(Meanwhile, others_roll_over_and_its_own_try_gives_up_nothing)
{
    Ring ring(memory(4));
    Publisher publisher(ring), other(ring);
    for (uint32_t i = 0; i < 4; i++)
        ASSERT_TRUE(published(fill(publisher)));
    static Publisher *in_between;
    in_between = &other;
    publisher.view.on_mark = [](void *) { EXPECT_TRUE(published(in_between->publish("in between"))); };
    ASSERT_TRUE(published(publisher.publish("behind"))) << "the other one's segment has room";
    publisher.view.on_mark = nullptr;
    EXPECT_EQ(in_memory(ring), (std::set<uint64_t>{1, 2, 3, 4})) << "one segment went, not two";
}

// Stopped before it takes a slot, while others go on for long: it must not take a newer segment for an older one.
TEST_P(Meanwhile, others_go_far_ahead_of_who_was_stopped_in_a_roll_over)
{
    for (bool journal : {false, true}) {
        Ring ring(journal ? journaled(6) : memory(6));
        Publisher publisher(ring), other(ring);
        ASSERT_TRUE(published(fill(publisher)));
        uint64_t position = 0;
        mem_point_hook = fiber_point;
        Fiber late([&] { position = (uint64_t)fill(publisher); });
        ASSERT_TRUE(late.run_to("slot_take_free"));
        mem_point_hook = nullptr;
        for (uint32_t i = 0; i < 30; i++) {
            ASSERT_TRUE(published(fill(other)));
            ring.drained(ring_end_position(ring.view()));
        }
        late.run();
        ASSERT_EQ(late.state(), Fiber::State::done);
        EXPECT_EQ(position, ring.start() + 31 * kSegment);
        EXPECT_EQ(ring.faults(), std::vector<std::string>());
        EXPECT_TRUE(in_memory(ring).count(31) && in_memory(ring).count(30)) << ring.dump();
    }
}

INSTANTIATE_TEST_SUITE_P(positions, Meanwhile, ::testing::ValuesIn(positions_near_limits()),
                         [](const ::testing::TestParamInfo<uint64_t> &at) { return position_name(at.param); });

// -- Slots in between ------------------------------------------------------------------------------------------------------

TEST_P(Roll, frees_what_a_dead_one_had_reserved_and_lost)
{
    Ring ring(journaled(3));
    Publisher publisher(ring), dead(ring);
    ASSERT_TRUE(published(fill(publisher)));
    poke(&ring.view()->states[1], slot_owned(RING_SLOT_RESERVED, ring.first_segment() + 1, dead->index, dead->id));
    dead.die();
    ASSERT_TRUE(published(fill(publisher)));
    EXPECT_EQ(active_slot_of(ring), 1u);
}

TEST_P(Roll, leaves_what_a_stopped_one_has_reserved)
{
    Ring ring(journaled(4));
    Publisher publisher(ring), stopped(ring);
    ASSERT_TRUE(published(fill(publisher)));
    uint64_t reserved = slot_owned(RING_SLOT_RESERVED, ring.first_segment() + 1, stopped->index, stopped->id);
    poke(&ring.view()->states[1], reserved);
    for (uint32_t i = 0; i < 20; i++) {
        ASSERT_TRUE(published(fill(publisher)));
        ring.drained(ring_end_position(ring.view()));
        EXPECT_EQ(look(&ring.view()->states[1]), reserved);
    }
    Reader reader(ring);
    EXPECT_EQ(ring_reader_seek(reader, ring.start() + kSegment), -ENOENT) << "it is not that segment's slot";
}

TEST_P(Roll, goes_on_in_a_segment_whose_roller_died_before_it_was_live)
{
    Ring ring(journaled(4));
    Publisher publisher(ring), dead(ring);
    View &view = ring.view();
    ASSERT_TRUE(published(fill(publisher)));
    uint64_t next = ring.first_segment() + 1;
    poke(&view->states[1], slot_owned(RING_SLOT_RESERVED, next, dead->index, dead->id));
    poke(&view->slots[1].segment, next);
    poke(&view->slots[1].tail, 0);
    poke(&view->slots[1].clean, clean_make(1));
    poke(&record_at(slot_base(view, 1), 0)->head, 0);
    poke(&ring.control_block()->active, active_make(next, 1));
    Reader reader(ring);
    EXPECT_EQ(ring_reader_seek(reader, next << 12), 0) << "readers need no help";
    dead.die();
    EXPECT_EQ(publisher.publish("x"), (int64_t)(next << 12));
    EXPECT_EQ(look(&view->states[1]), slot_live(next));
    EXPECT_EQ(reader.read_all().size(), 1u);
}

TEST_P(Roll, takes_over_the_mark_of_a_stopped_reclaimer_when_it_needs_the_slot)
{
    Ring ring(journaled(4));
    Publisher publisher(ring), stopped(ring);
    for (uint32_t i = 0; i < 4; i++)
        ASSERT_TRUE(published(fill(publisher)));
    ring.drained(ring.start() + kSegment);
    uint64_t mark = slot_owned(RING_SLOT_RECLAIMING, ring.first_segment(), stopped->index, stopped->id);
    poke(&ring.view()->states[0], mark);
    ASSERT_TRUE(published(fill(publisher)));
    EXPECT_EQ(active_slot_of(ring), 0u);
    EXPECT_FALSE(mem_swap_(&ring.view()->states[0], mark, 0)) << "the stopped one's last swap fails";
}

// A segment that somebody has held for 2^32 segments has the low half of another one's number.
TEST_P(Roll, tells_a_slot_held_for_ever_from_its_namesake)
{
    Shape shape = journaled(5);
    shape.start += 1ull << 44;
    Ring ring(shape);
    View &view = ring.view();
    Publisher publisher(ring), stopped(ring);
    Reader reader(ring);
    uint64_t ancient = ring.first_segment() + 2 - (1ull << 32);
    poke(&view->states[1], slot_live(ancient));
    poke(&view->slots[1].segment, ancient);
    poke(&stopped->entry->announced, ancient + 1);
    std::vector<uint8_t> bytes(slot_base(view, 1), slot_base(view, 1) + kSegment);
    ASSERT_EQ(ring_reader_seek(reader, ring.start()), 0);
    for (uint32_t i = 0; i < 12; i++) {
        ASSERT_TRUE(published(fill(publisher))) << ring.dump();
        EXPECT_EQ(reader.read_all().size(), 1u);
        ring.drained(ring_reader_position(reader));
    }
    EXPECT_EQ(look(&view->states[1]), slot_live(ancient));
    EXPECT_EQ(memcmp(slot_base(view, 1), bytes.data(), bytes.size()), 0) << "nobody wrote into it";
    poke(&stopped->entry->announced, 0);
    for (uint32_t i = 0; i < 3; i++) {
        ASSERT_TRUE(published(fill(publisher)));
        EXPECT_EQ(reader.read_all().size(), 1u);
        ring.drained(ring_reader_position(reader));
    }
    EXPECT_NE(look(&view->states[1]), slot_live(ancient)) << "free at last";
}

TEST_P(Roll, resolves_the_dead_in_the_segment_that_it_takes)
{
    Ring ring(journaled(3));
    Publisher publisher(ring);
    uint32_t index;
    uint64_t id;
    {
        Publisher dead(ring);
        ASSERT_EQ(ring_producer_take(dead, "name"), 0);
        uint64_t position;
        struct ring_meta meta = {};
        meta.present = RING_HAS_SEQUENCE;
        meta.producer = ring_producer_hash("name");
        meta.sequence = 7;
        ASSERT_EQ(ring_claim(dead, 1, &position), 0);
        ring_meta_put(&meta, ring_claim_address(dead) + 16);
        ring_commit(dead, 0, RING_FLAG_PROPERTIES, 32);
        index = dead->index;
        id = dead->id;
        dead.die(); /* before it counted its record */
    }
    for (uint32_t i = 0; i < 3; i++) {
        ASSERT_TRUE(published(fill(publisher)));
        ring.drained(ring_end_position(ring.view()));
    }
    EXPECT_EQ(ring.names(index, id), std::vector<std::string>()) << ring.dump();
    Publisher heir(ring);
    ASSERT_EQ(ring_producer_take(heir, "name"), 0);
    EXPECT_EQ(heir->sequence, 7u) << "counted before the segment went";
}

// -- P1 by counting --------------------------------------------------------------------------------------------------------

TEST_P(Roll, of_the_last_publisher_goes_on_though_everybody_else_is_stopped_at_the_worst_place)
{
    Shape shape;
    shape.start = GetParam();
    shape.publishers = 5;
    shape.readers = 6;
    shape.slots = 0; /* as many as the counting asks for */
    Ring ring(shape);
    View &view = ring.view();
    Publisher last(ring);
    uint64_t first = ring.first_segment();
    /* Every reader in another segment. */
    std::vector<std::unique_ptr<Reader>> readers;
    for (uint32_t i = 0; i < shape.readers; i++) {
        ASSERT_TRUE(published(last.publish(std::string(kSegment - 16, 'r')))) << i;
        readers.push_back(std::make_unique<Reader>(ring));
        ASSERT_EQ(ring_reader_seek(*readers.back(), (first + i) << 12), 0);
        ring.drained(ring_end_position(view));
    }
    /* Every other publisher, and weird and both seats, in a segment of their own, and with a slot reserved. */
    std::vector<std::unique_ptr<Publisher>> publishers;
    for (uint32_t i = 1; i < shape.publishers; i++)
        publishers.push_back(std::make_unique<Publisher>(ring));
    auto stop_in_next = [&](uint32_t index, uint64_t id, bool reserves) {
        ASSERT_TRUE(published(last.publish(std::string(kSegment - 16, 'p')))) << ring.dump();
        poke(&view->publishers[index].announced, active_of(ring) + 1);
        ring.drained(ring_end_position(view));
        if (!reserves)
            return;
        for (uint32_t i = 0; i < ring.geometry().slot_count; i++) {
            uint64_t state = look(&view->states[i]);
            if (slot_state(state) == RING_SLOT_FREE) {
                poke(&view->states[i], slot_owned(RING_SLOT_RESERVED, active_of(ring), index, id));
                return;
            }
        }
        FAIL() << "no slot is free";
    };
    for (auto &publisher : publishers)
        stop_in_next((*publisher)->index, (*publisher)->id, true);
    stop_in_next(RING_WEIRD_INDEX, 1000, false);
    poke(&view->publishers[RING_WEIRD_INDEX].id, 1000);
    for (uint32_t seat = 0; seat < RING_SEATS; seat++) {
        stop_in_next(1 + shape.publishers + seat, 1001 + seat, false);
        poke(&view->publishers[1 + shape.publishers + seat].id, 1001 + seat);
    }
    for (uint32_t i = 0; i < 200; i++) {
        ASSERT_TRUE(published(last.publish(stamped(1, i, 1500)))) << "message " << i << "\n" << ring.dump();
        ring.drained(ring_end_position(view));
    }
    EXPECT_EQ(ring.faults(), std::vector<std::string>());
    /* And each of them could still read or write where it stands. */
    for (uint32_t i = 0; i < shape.readers; i++) {
        struct ring_item item;
        ASSERT_EQ(ring_reader_peek(*readers[i], &item), 1);
        EXPECT_EQ(item.position, (first + i) << 12);
        EXPECT_EQ(std::string(reinterpret_cast<const char *>(item.body), item.body_bytes),
                  std::string(kSegment - 16, 'r'));
    }
    for (auto &publisher : publishers)
        publisher->gone = true;
}

INSTANTIATE_TEST_SUITE_P(positions, Roll, ::testing::ValuesIn(positions_near_limits()),
                         [](const ::testing::TestParamInfo<uint64_t> &at) { return position_name(at.param); });

} // namespace
