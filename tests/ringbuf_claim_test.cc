// SPDX-License-Identifier: Apache-2.0
// Claiming room and committing records, byte by byte.
// test: LINKS weir_ringbuf
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "tests/support/ring_fixture.h"

using namespace ringtest;

namespace
{

struct Case {
    bool exclusive;
    uint64_t start;
};

class Claim : public ::testing::TestWithParam<Case>
{
protected:
    static Shape shape(Case one)
    {
        Shape s;
        s.flags = RING_JOURNALED | (one.exclusive ? RING_EXCLUSIVE : 0);
        s.publishers = one.exclusive ? 1 : 3;
        s.start = one.start;
        return s;
    }
    bool exclusive = GetParam().exclusive;
    Ring ring{shape(GetParam())};
    View &view = ring.view();
    uint64_t start = ring.start();

    struct ring_record *record(uint64_t position)
    {
        uint64_t state;
        uint32_t slot;
        if (!slot_find(view, position >> 12, &slot, &state))
            return nullptr;
        return record_at(slot_base(view, slot), (uint32_t)(position % 4096 / RING_UNIT_BYTES));
    }
    uint64_t head(uint64_t position)
    {
        return look(&record(position)->head);
    }
    uint32_t slot_of(uint64_t segment)
    {
        uint64_t state;
        uint32_t slot = UINT32_MAX;
        slot_find(view, segment, &slot, &state);
        return slot;
    }
};

TEST_P(Claim, writes_a_record_as_the_layout_says)
{
    Publisher publisher(ring);
    ASSERT_EQ(publisher.publish("hello", 0x1234), (int64_t)start);
    EXPECT_EQ(head(start), head_make(RING_READY, 0, 1, 0x1234, publisher->owner));
    EXPECT_EQ(record(start)->body_bytes, 5u);
    EXPECT_EQ(record(start)->crc, 0u);
    EXPECT_EQ(memcmp(record(start) + 1, "hello", 5), 0);
    EXPECT_EQ(head(start + 64), 0u) << "the header behind a record is free";
    EXPECT_EQ(look(&publisher->entry->position), start);
    EXPECT_EQ(look(&publisher->entry->announced), (start >> 12) + 1);
    EXPECT_EQ(ring_end_position(view), start + 64);
}

TEST_P(Claim, is_not_seen_before_it_is_committed)
{
    Publisher publisher(ring);
    Reader reader(ring);
    uint64_t position;
    struct ring_item item;
    ASSERT_EQ(ring_reader_seek(reader, start), 0);
    ASSERT_EQ(ring_claim(publisher, 3, &position), 0);
    EXPECT_EQ(ring_reader_peek(reader, &item), 0);
    memset(ring_claim_address(publisher) + 16, 'x', 3 * 64 - 16);
    EXPECT_EQ(ring_reader_peek(reader, &item), 0);
    EXPECT_EQ(head(start), 0u) << "readers poll this line: a claim does not touch it";
    ring_commit(publisher, 7, RING_FLAG_PROPERTIES, 100);
    ASSERT_EQ(ring_reader_peek(reader, &item), 1);
    EXPECT_EQ(item.position, start);
    EXPECT_EQ(item.next, start + 3 * 64);
    EXPECT_EQ(item.body_bytes, 100u);
    EXPECT_EQ(item.tag, 7);
    EXPECT_EQ(item.flags, RING_FLAG_PROPERTIES);
}

TEST_P(Claim, takes_records_of_one_line_and_of_a_whole_segment)
{
    Publisher publisher(ring);
    Reader reader(ring);
    ASSERT_EQ(ring_reader_seek(reader, start), 0);
    std::vector<std::string> sent;
    for (uint32_t bytes : {48u, 4080u, 48u, 4080u, 4017u}) {
        sent.push_back(stamped(1, sent.size(), bytes));
        ASSERT_TRUE(published(publisher.publish(sent.back()))) << ring.dump();
        ring.drained(ring_reader_position(reader) & ~4095ull);
        EXPECT_EQ(bodies(reader.read_all()), std::vector<std::string>{sent.back()}) << ring.dump();
    }
    EXPECT_EQ(ring_reader_position(reader), start + 5 * 4096) << ring.dump();
    EXPECT_EQ(ring.faults(), std::vector<std::string>());
}

TEST_P(Claim, larger_than_a_segment_is_refused_and_nothing_happens)
{
    Publisher publisher(ring);
    uint64_t position = 7;
    std::vector<uint8_t> before = ring.bytes();
    EXPECT_EQ(ring_claim(publisher, 65, &position), -EMSGSIZE);
    EXPECT_EQ(ring_claim(publisher, UINT32_MAX, &position), -EMSGSIZE);
    EXPECT_EQ(ring_claim(publisher, 0, &position), -EINVAL);
    EXPECT_EQ(publisher.publish(std::string(4081, 'x')), -EMSGSIZE);
    EXPECT_EQ(position, 7u);
    EXPECT_EQ(ring.bytes(), before);
}

TEST_P(Claim, is_refused_while_another_one_is_open)
{
    Publisher publisher(ring);
    uint64_t position;
    ASSERT_EQ(ring_claim(publisher, 1, &position), 0);
    EXPECT_EQ(ring_claim(publisher, 1, &position), -EINVAL);
    ring_commit(publisher, 0, 0, 0);
    EXPECT_EQ(ring_claim(publisher, 1, &position), 0);
    EXPECT_EQ(position, start + 64);
}

TEST_P(Claim, that_does_not_fit_leaves_padding_and_goes_to_the_next_segment)
{
    Publisher publisher(ring);
    Reader reader(ring);
    ASSERT_EQ(ring_reader_seek(reader, start), 0);
    ASSERT_EQ(publisher.publish(std::string(60 * 64 - 16, 'a')), (int64_t)start);
    ASSERT_EQ(publisher.publish(std::string(5 * 64 - 16, 'b')), (int64_t)start + 4096);
    EXPECT_EQ(head(start + 60 * 64), head_make(RING_PADDING, 0, 4, 0, publisher->owner));
    EXPECT_EQ(reader.read_all().size(), 2u);
    /* To the very end, no padding is needed. */
    ASSERT_EQ(publisher.publish(std::string(59 * 64 - 16, 'c')), (int64_t)start + 4096 + 5 * 64);
    ASSERT_EQ(publisher.publish("d"), (int64_t)start + 2 * 4096);
    EXPECT_EQ(bodies(reader.read_all()).size(), 2u);
    EXPECT_EQ(ring.faults(), std::vector<std::string>());
}

TEST_P(Claim, can_be_cancelled)
{
    Publisher publisher(ring);
    Reader reader(ring);
    uint64_t position;
    ASSERT_EQ(ring_reader_seek(reader, start), 0);
    ASSERT_EQ(publisher.publish("before"), (int64_t)start);
    ASSERT_EQ(ring_claim(publisher, 5, &position), 0);
    memset(ring_claim_address(publisher) + 16, 0xff, 5 * 64 - 16);
    ring_cancel(publisher);
    ring_cancel(publisher); /* nothing is open any more: nothing happens */
    ASSERT_EQ(publisher.publish("behind"), (int64_t)start + (exclusive ? 1 : 6) * 64);
    EXPECT_EQ(bodies(reader.read_all()), (std::vector<std::string>{"before", "behind"}));
    EXPECT_EQ(ring.faults(), std::vector<std::string>());
}

TEST_P(Claim, leaving_cancels_it)
{
    Reader reader(ring);
    ASSERT_EQ(ring_reader_seek(reader, start), 0);
    {
        Publisher publisher(ring);
        uint64_t position;
        ASSERT_EQ(ring_claim(publisher, 5, &position), 0);
        publisher.leave();
        EXPECT_EQ(ring.names(publisher->index, publisher->id), std::vector<std::string>());
    }
    Publisher next(ring);
    next.publish("x");
    EXPECT_EQ(reader.read_all().size(), 1u);
}

TEST_P(Claim, of_a_batch_becomes_visible_at_once)
{
    Publisher publisher(ring);
    Reader reader(ring);
    uint64_t position;
    struct ring_item item;
    ASSERT_EQ(ring_reader_seek(reader, start), 0);
    ASSERT_EQ(ring_claim(publisher, 1 + 2 + 3, &position), 0);
    memset(ring_claim_address(publisher) + 16, 'x', 6 * 64 - 16);
    ring_batch_put(publisher, 3, 3, 3, 0, 100); /* in any order */
    EXPECT_EQ(ring_reader_peek(reader, &item), 0);
    ring_batch_put(publisher, 1, 2, 2, 0, 60);
    EXPECT_EQ(ring_reader_peek(reader, &item), 0);
    EXPECT_EQ(head(start), 0u);
    ring_commit_first(publisher, 1, 1, 0, 20);
    std::vector<Message> all = reader.read_all();
    ASSERT_EQ(all.size(), 3u);
    for (uint32_t i = 0; i < 3; i++) {
        static const uint32_t kOffsets[] = {0, 1, 3}, kBytes[] = {20, 60, 100};
        EXPECT_EQ(all[i].position, start + kOffsets[i] * 64);
        EXPECT_EQ(all[i].tag, i + 1);
        EXPECT_EQ(all[i].body.size(), kBytes[i]);
    }
    EXPECT_EQ(publisher.publish("x"), (int64_t)start + 6 * 64);
    EXPECT_EQ(ring.faults(), std::vector<std::string>());
}

TEST_P(Claim, finds_the_header_behind_it_clean_where_it_must_be_and_touches_nothing_committed)
{
    Publisher publisher(ring);
    Reader reader(ring);
    ASSERT_EQ(ring_reader_seek(reader, start), 0);
    /* Sizes such that claims end on, before and behind the borders of what is cleaned at a time. */
    uint64_t number = 0, at = start;
    std::vector<std::string> sent;
    for (uint32_t round = 0; round < 8; round++) {
        for (uint32_t units : {1u, 30u, 1u, 31u, 1u, 33u, 15u, 16u, 17u, 2u, 63u, 64u}) {
            std::string body = stamped(1, number++, units * 64 - 16);
            int64_t position = publisher.publish(body);
            ASSERT_TRUE(published(position));
            sent.push_back(body);
            at = (uint64_t)position + units * 64;
            if (at % 4096) {
                EXPECT_EQ(head(at), 0u) << "behind the record at " << position;
                if (!exclusive) {
                    uint64_t clean = look(&view->slots[slot_of(at >> 12)].clean);
                    EXPECT_GT(clean_units(clean), at % 4096 / 64);
                    EXPECT_TRUE(clean_free(clean));
                    for (uint32_t i = (uint32_t)(at % 4096 / 64); i < clean_units(clean); i++)
                        EXPECT_EQ(look(&record_at(slot_base(view, slot_of(at >> 12)), i)->head), 0u);
                }
            }
            std::vector<std::string> got = bodies(reader.read_all());
            ASSERT_EQ(got, sent);
            sent.clear();
            ring.drained(ring_reader_position(reader));
            ASSERT_EQ(ring.faults(), std::vector<std::string>());
        }
    }
}

TEST_P(Claim, in_a_removed_ring_is_refused_when_it_comes_to_the_next_segment)
{
    Publisher publisher(ring);
    publisher.publish("x");
    poke(&ring.control_block()->removed, 1);
    EXPECT_EQ(publisher.publish(std::string(4080, 'x')), -EIDRM);
    EXPECT_EQ(publisher.publish("x"), -EIDRM) << "it must not go back into the old segment";
}

INSTANTIATE_TEST_SUITE_P(kinds, Claim, ::testing::ValuesIn([] {
                             std::vector<Case> all;
                             for (bool exclusive : {false, true})
                                 for (uint64_t start : positions_near_limits())
                                     all.push_back({exclusive, start});
                             return all;
                         }()),
                         [](const ::testing::TestParamInfo<Case> &one) {
                             return (one.param.exclusive ? "exclusive_" : "shared_") + position_name(one.param.start);
                         });

// -- Shared rings: several publishers --------------------------------------------------------------------------------------

class Shared : public ::testing::TestWithParam<uint64_t>
{
protected:
    static Shape shape(uint64_t start)
    {
        Shape s;
        s.start = start;
        s.publishers = 4;
        return s;
    }
    Ring ring{shape(GetParam())};
    View &view = ring.view();
    uint64_t start = ring.start();
    struct ring_slot *slot = &view->slots[0];

    uint64_t head_at(uint32_t units)
    {
        return look(&record_at(slot_base(view, 0), units)->head);
    }
};

TEST_P(Shared, the_tail_names_the_last_claim)
{
    Publisher a(ring), b(ring);
    uint64_t position;
    ASSERT_EQ(ring_claim(a, 3, &position), 0);
    EXPECT_EQ(look(&slot->tail), tail_make(3, 3, a->owner));
    ASSERT_EQ(ring_claim(b, 2, &position), 0);
    EXPECT_EQ(position, start + 3 * 64);
    EXPECT_EQ(look(&slot->tail), tail_make(5, 2, b->owner));
}

TEST_P(Shared, who_displaces_a_claim_writes_it_down_first)
{
    Publisher a(ring), b(ring), c(ring);
    uint64_t position;
    ASSERT_EQ(ring_claim(a, 3, &position), 0);
    EXPECT_EQ(head_at(0), 0u);
    ASSERT_EQ(ring_claim(b, 2, &position), 0);
    EXPECT_EQ(head_at(0), head_make(RING_CLAIMED, 0, 3, 0, a->owner));
    ring_commit(b, 0, 0, 1);
    ASSERT_EQ(ring_claim(c, 1, &position), 0);
    EXPECT_EQ(head_at(3), head_make(RING_READY, 0, 2, 0, b->owner)) << "what is committed is not written over";
    ring_commit(a, 0, 0, 1);
    EXPECT_EQ(head_at(0), head_make(RING_READY, 0, 3, 0, a->owner));
    ring_commit(c, 0, 0, 1);
    Reader reader(ring);
    ASSERT_EQ(ring_reader_seek(reader, start), 0);
    EXPECT_EQ(reader.read_all().size(), 3u);
}

TEST_P(Shared, readers_wait_for_the_first_of_several_claims)
{
    Publisher a(ring), b(ring);
    Reader reader(ring);
    uint64_t position;
    ASSERT_EQ(ring_reader_seek(reader, start), 0);
    ASSERT_EQ(ring_claim(a, 3, &position), 0);
    memcpy(ring_claim_address(a) + 16, "a", 1);
    ASSERT_EQ(b.publish("b"), (int64_t)start + 3 * 64);
    EXPECT_EQ(reader.read_all().size(), 0u);
    ring_commit(a, 0, 0, 1);
    EXPECT_EQ(bodies(reader.read_all()), (std::vector<std::string>{"a", "b"}));
}

TEST_P(Shared, who_waits_too_long_for_a_stopped_cleaner_pads_the_rest_and_goes_on)
{
    Publisher stopped(ring), other(ring);
    Reader reader(ring);
    ASSERT_EQ(ring_reader_seek(reader, start), 0);
    ASSERT_EQ(stopped.publish("x"), (int64_t)start);
    uint64_t clean = look(&slot->clean);
    uint32_t units = clean_units(clean);
    poke(&slot->clean, clean_taken(units, stopped->index, stopped->id)); /* it stands in the middle of cleaning */
    EXPECT_EQ(other.publish(std::string((units - 2) * 64 - 16, 'y')), (int64_t)start + 64) << "as far as it is clean";
    EXPECT_EQ(other.publish("z"), (int64_t)start + 4096);
    EXPECT_GT(other.view.relaxes, 10u);
    EXPECT_EQ(head_at(units - 1), head_make(RING_PADDING, 0, 64 - units + 1, 0, other->owner));
    /* It wakes up: what it still cleans is padding. */
    for (uint32_t i = units; i < 64; i++)
        poke(&record_at(slot_base(view, 0), i)->head, 0);
    poke(&slot->clean, clean_make(64));
    EXPECT_EQ(reader.read_all().size(), 3u);
    EXPECT_EQ(stopped.publish("w"), (int64_t)start + 4096 + 64);
    EXPECT_EQ(ring.faults(), std::vector<std::string>());
}

TEST_P(Shared, who_pads_does_not_wait_for_a_stopped_cleaner)
{
    Publisher stopped(ring), other(ring);
    ASSERT_EQ(stopped.publish("x"), (int64_t)start);
    uint64_t clean = look(&slot->clean);
    poke(&slot->clean, clean_taken(clean_units(clean), stopped->index, stopped->id));
    EXPECT_EQ(other.publish(std::string(4080, 'y')), (int64_t)start + 4096);
    EXPECT_EQ(other.view.relaxes, 0u);
}

TEST_P(Shared, a_dead_cleaners_right_is_taken_over)
{
    Publisher dead(ring), other(ring);
    ASSERT_EQ(dead.publish("x"), (int64_t)start);
    uint64_t clean = look(&slot->clean);
    uint32_t units = clean_units(clean);
    poke(&slot->clean, clean_taken(units, dead->index, dead->id));
    dead.die();
    EXPECT_EQ(other.publish(std::string(40 * 64 - 16, 'y')), (int64_t)start + 64);
    EXPECT_TRUE(clean_free(look(&slot->clean)));
    EXPECT_GT(clean_units(look(&slot->clean)), 41u);
    EXPECT_EQ(head_at(41), 0u);
}

TEST_P(Shared, damaged_words_are_an_error_and_never_a_hang)
{
    struct Damage {
        const char *what;
        uint64_t tail, clean;
    };
    uint32_t ghost = owner_make(3, 99);
    for (const Damage &damage : {Damage{"an end outside", tail_make(65, 1, ghost), clean_make(64)},
                                 Damage{"a longer claim than there is", tail_make(3, 4, ghost), clean_make(33)},
                                 Damage{"a claim of nothing", tail_make(3, 0, ghost), clean_make(33)},
                                 Damage{"clean behind the tail", tail_make(9, 1, 0), clean_make(3)},
                                 Damage{"clean outside", tail_make(9, 1, 0), clean_make(70)}}) {
        Ring one(shape(GetParam()));
        Publisher publisher(one);
        View &v = one.view();
        poke(&v->slots[0].tail, damage.tail);
        poke(&v->slots[0].clean, damage.clean);
        int64_t r = publisher.publish(std::string(50 * 64 - 16, 'x'));
        EXPECT_TRUE(r == -EBADMSG || r >= 0) << damage.what << ": " << r;
        EXPECT_NE(one.faults(), std::vector<std::string>()) << damage.what;
    }
}

INSTANTIATE_TEST_SUITE_P(positions, Shared, ::testing::ValuesIn(positions_near_limits()),
                         [](const ::testing::TestParamInfo<uint64_t> &at) { return position_name(at.param); });

// -- Exclusive rings -------------------------------------------------------------------------------------------------------

// But for the free header behind it, which lies where nobody looks before the record is ready.
TEST(Exclusive, a_claim_leaves_no_trace_in_shared_words)
{
    Shape shape;
    shape.flags = RING_EXCLUSIVE | RING_JOURNALED;
    shape.publishers = 1;
    Ring ring(shape);
    Publisher publisher(ring);
    publisher.publish("x");
    uint64_t position;
    poke(&record_at(publisher->base, publisher->end + 5)->head, 0);
    std::vector<uint8_t> before = ring.bytes();
    ASSERT_EQ(ring_claim(publisher, 5, &position), 0);
    EXPECT_EQ(ring.bytes(), before);
    ring_cancel(publisher);
    EXPECT_EQ(ring.bytes(), before);
}

TEST(Exclusive, what_a_cancelled_claim_wrote_is_never_taken_for_a_header)
{
    Shape shape;
    shape.flags = RING_EXCLUSIVE | RING_JOURNALED;
    shape.publishers = 1;
    Ring ring(shape);
    Publisher publisher(ring);
    Reader reader(ring);
    ASSERT_EQ(ring_reader_seek(reader, ring.start()), 0);
    uint64_t position;
    ASSERT_TRUE(published(publisher.publish("before")));
    ASSERT_EQ(ring_claim(publisher, 10, &position), 0);
    memset(ring_claim_address(publisher) + sizeof(struct ring_record), 0xff,
           10 * RING_UNIT_BYTES - sizeof(struct ring_record));
    ring_cancel(publisher);
    for (int i = 0; i < 12; i++)
        ASSERT_TRUE(published(publisher.publish("behind")));
    EXPECT_EQ(reader.read_all().size(), 13u);
    EXPECT_EQ(ring.faults(), std::vector<std::string>());
}

TEST(Exclusive, an_heir_goes_on_behind_the_last_record)
{
    Shape shape;
    shape.flags = RING_EXCLUSIVE | RING_JOURNALED;
    shape.publishers = 1;
    Ring ring(shape);
    Reader reader(ring);
    ASSERT_EQ(ring_reader_seek(reader, 0), 0);
    std::vector<std::string> sent;
    for (uint32_t life = 0; life < 20; life++) {
        Publisher publisher(ring);
        ASSERT_EQ(publisher.joined, 0);
        for (uint32_t i = 0; i < 5; i++) {
            sent.push_back(stamped(1, sent.size(), 16 + 100 * i));
            ASSERT_TRUE(published(publisher.publish(sent.back())));
        }
        uint64_t position;
        ASSERT_EQ(ring_claim(publisher, 9, &position), 0);
        memset(ring_claim_address(publisher) + 16, 0xff, 9 * 64 - 16);
        ring_batch_put(publisher, 1, 3, 0, 0, 1);
        if (life % 2)
            publisher.die();
        EXPECT_EQ(bodies(reader.read_all()), sent) << "life " << life;
        EXPECT_EQ(ring_end_position(ring.view()) & ~4095ull, ring_reader_position(reader) & ~4095ull);
        sent.clear();
        ring.drained(ring_reader_position(reader));
    }
}

} // namespace
