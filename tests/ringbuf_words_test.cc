// SPDX-License-Identifier: Apache-2.0
// The packing of shared words at their extremes, and the properties in front of a payload.
// test: LINKS weir_ringbuf
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <random>

#include "tests/support/ring_fixture.h"

using namespace ringtest;

namespace
{

constexpr uint32_t kUnitsMost = 1u << (RING_SEGMENT_SHIFT_MAX - RING_UNIT_SHIFT);
constexpr uint32_t kIndexMost = RING_PUBLISHERS_MAX + RING_SEATS; // with weird's at 0

TEST(Words, an_owner_names_its_index_and_the_low_bits_of_its_id)
{
    for (uint32_t index : {0u, 1u, 511u, kIndexMost}) {
        for (uint64_t id : {1ull, 0xfffull, 0x1000ull, 0x1234567890abcull, ~0ull}) {
            uint32_t owner = owner_make(index, id);
            EXPECT_LT(owner, 1u << RING_OWNER_BITS);
            EXPECT_NE(owner, 0u);
            EXPECT_EQ(owner_index(owner), index);
            EXPECT_TRUE(owner_names(owner, index, id));
            EXPECT_TRUE(owner_names(owner, index, id + 4096))
                << "that far it does not tell: an index is reused only when resolved";
            EXPECT_FALSE(owner_names(owner, index, id + 1));
            EXPECT_FALSE(owner_names(owner, index ^ 1, id));
        }
    }
    EXPECT_EQ(owner_index(0), UINT32_MAX) << "nobody";
}

TEST(Words, a_record_header_keeps_its_parts_apart)
{
    for (enum ring_record_state state : {RING_FREE, RING_CLAIMED, RING_READY, RING_PADDING}) {
        for (uint32_t flags : {0u, 7u}) {
            for (uint32_t units : {0u, 1u, kUnitsMost}) {
                for (uint16_t tag : {0, 1, 0x8000, 0xffff}) {
                    for (uint32_t owner : {0u, owner_make(0, 1), owner_make(kIndexMost, ~0ull)}) {
                        uint64_t head = head_make(state, flags, units, tag, owner);
                        EXPECT_EQ(head_state(head), state);
                        EXPECT_EQ(head_flags(head), flags);
                        EXPECT_EQ(head_units(head), units);
                        EXPECT_EQ(head_tag(head), tag);
                        EXPECT_EQ(head_owner(head), owner);
                    }
                }
            }
        }
    }
    EXPECT_EQ(head_make(RING_FREE, 0, 0, 0, 0), 0u) << "a free header is zero";
    EXPECT_EQ(head_flags(head_make(RING_READY, ~0u, 1, 0, 0)), RING_FLAGS_MASK)
        << "more flags than there are do not spill";
    EXPECT_EQ(head_tag(head_make(RING_READY, ~0u, 1, 0, 0)), 0);
}

TEST(Words, the_tail_keeps_its_parts_apart)
{
    for (uint32_t end : {0u, 1u, kUnitsMost}) {
        for (uint32_t units : {0u, 1u, kUnitsMost}) {
            for (uint32_t owner : {0u, owner_make(0, 1), owner_make(kIndexMost, ~0ull)}) {
                uint64_t tail = tail_make(end, units, owner);
                EXPECT_EQ(tail_end(tail), end);
                EXPECT_EQ(tail_units(tail), units);
                EXPECT_EQ(tail_owner(tail), owner);
            }
        }
    }
}

TEST(Words, the_clean_word_keeps_its_parts_apart)
{
    for (uint32_t units : {0u, 1u, kUnitsMost}) {
        EXPECT_TRUE(clean_free(clean_make(units)));
        EXPECT_EQ(clean_units(clean_make(units)), units);
        for (uint32_t index : {0u, kIndexMost}) {
            for (uint64_t id : {1ull, CLEAN_ID_MASK, ~0ull}) {
                uint64_t clean = clean_taken(units, index, id);
                EXPECT_FALSE(clean_free(clean));
                EXPECT_EQ(clean_units(clean), units);
                EXPECT_EQ(clean_index(clean), index);
                EXPECT_TRUE(clean_names(clean, index, id));
                EXPECT_FALSE(clean_names(clean, index, id ^ 1));
                EXPECT_FALSE(clean_names(clean, index + 1, id));
            }
        }
    }
}

TEST(Words, a_slot_state_keeps_its_parts_apart)
{
    for (uint64_t segment : {0ull, 1ull, 0xffffffffull, 0x100000000ull, (1ull << 52) - 1}) {
        EXPECT_EQ(slot_state(slot_live(segment)), RING_SLOT_LIVE);
        EXPECT_TRUE(slot_holds(slot_live(segment), segment));
        EXPECT_FALSE(slot_holds(slot_live(segment), segment + 1));
        EXPECT_FALSE(slot_holds(0, segment)) << "a free slot holds nothing";
        for (enum ring_slot_state state : {RING_SLOT_RESERVED, RING_SLOT_RECLAIMING}) {
            for (uint32_t index : {0u, kIndexMost}) {
                for (uint64_t id : {1ull, SLOT_ID_MASK, ~0ull}) {
                    uint64_t word = slot_owned(state, segment, index, id);
                    EXPECT_EQ(slot_state(word), state);
                    EXPECT_EQ(slot_owner_index(word), index);
                    EXPECT_TRUE(slot_names(word, index, id));
                    EXPECT_FALSE(slot_names(word, index, id ^ 1));
                    EXPECT_TRUE(slot_holds(word, segment));
                    EXPECT_EQ(slot_to_live(word), slot_live(segment));
                }
            }
        }
    }
}

TEST(Words, the_active_word_holds_every_segment_and_every_slot)
{
    for (uint64_t segment : {0ull, 0xffffffffull, (1ull << 52) - 1}) {
        for (uint32_t slot : {0u, RING_SLOTS_MAX - 1}) {
            EXPECT_EQ(active_segment(active_make(segment, slot)), segment);
            EXPECT_EQ(active_slot(active_make(segment, slot)), slot);
        }
    }
}

// -- Sizes and properties ------------------------------------------------------------------------------------------------

TEST(Record, of_48_bytes_is_one_cache_line_and_the_largest_fills_a_segment)
{
    Ring ring{Shape()};
    View &view = ring.view();
    EXPECT_EQ(ring_units(view, 0), 1u);
    EXPECT_EQ(ring_units(view, 48), 1u);
    EXPECT_EQ(ring_units(view, 49), 2u);
    EXPECT_EQ(ring_units(view, 4096 - 16), 64u);
    EXPECT_EQ(ring_units(view, 4096 - 15), 0u);
    EXPECT_EQ(ring_units(view, UINT64_MAX), 0u);
}

struct ring_meta everything()
{
    static const char headers[] = {1, 2, 0, 'n', 'v', 'v'};
    struct ring_meta meta = {};
    meta.present = RING_HAS_KNOWN;
    meta.time_ns = 1;
    meta.expiry_ns = UINT64_MAX;
    meta.producer = 0x1122334455667788;
    meta.sequence = 1ull << 63;
    meta.key = "key";
    meta.key_bytes = 3;
    meta.headers = headers;
    meta.headers_bytes = sizeof headers;
    return meta;
}

TEST(Properties, come_back_as_they_were_put_in)
{
    for (uint32_t present = 0; present <= RING_HAS_KNOWN; present++) {
        for (uint32_t rest = 0; rest < 4; rest++) {
            struct ring_meta meta = everything(), back;
            uint32_t bytes, at;
            meta.present = present;
            if (!(rest & 1))
                meta.key_bytes = 0;
            if (!(rest & 2))
                meta.headers_bytes = 0;
            ASSERT_EQ(ring_meta_bytes(&meta, &bytes), 0);
            EXPECT_EQ(bytes == 0, present == 0 && rest == 0) << "who does not use them does not pay";
            EXPECT_EQ(bytes % 8, 0u);
            std::vector<uint8_t> body(bytes + 8, 0xee);
            ring_meta_put(&meta, body.data());
            for (uint32_t i = bytes; i < bytes + 8; i++)
                ASSERT_EQ(body[i], 0xee) << "the payload was written to";
            ASSERT_EQ(ring_meta_get(body.data(), bytes + 8, bytes ? RING_FLAG_PROPERTIES : 0, &back, &at), 0);
            EXPECT_EQ(at, bytes);
            EXPECT_EQ(back.present, present);
            EXPECT_EQ(back.time_ns, present & RING_HAS_TIME ? meta.time_ns : 0);
            EXPECT_EQ(back.expiry_ns, present & RING_HAS_EXPIRY ? meta.expiry_ns : 0);
            EXPECT_EQ(back.producer, present & RING_HAS_SEQUENCE ? meta.producer : 0);
            EXPECT_EQ(back.sequence, present & RING_HAS_SEQUENCE ? meta.sequence : 0);
            ASSERT_EQ(back.key_bytes, meta.key_bytes);
            ASSERT_EQ(back.headers_bytes, meta.headers_bytes);
            EXPECT_TRUE(back.key_bytes == 0 || memcmp(back.key, meta.key, back.key_bytes) == 0);
            EXPECT_TRUE(back.headers_bytes == 0 || memcmp(back.headers, meta.headers, back.headers_bytes) == 0);
        }
    }
}

TEST(Properties, larger_than_they_can_say_are_refused)
{
    struct ring_meta meta = {};
    uint32_t bytes = 7;
    meta.key_bytes = UINT16_MAX - 15;
    EXPECT_EQ(ring_meta_bytes(&meta, &bytes), 0);
    EXPECT_EQ(bytes, (uint32_t)UINT16_MAX - 7);
    meta.key_bytes++;
    bytes = 7;
    EXPECT_EQ(ring_meta_bytes(&meta, &bytes), -EINVAL);
    EXPECT_EQ(bytes, 7u);
    meta.key_bytes = meta.headers_bytes = UINT32_MAX;
    EXPECT_EQ(ring_meta_bytes(&meta, &bytes), -EINVAL);
    meta = {};
    meta.present = RING_HAS_KNOWN + 1;
    EXPECT_EQ(ring_meta_bytes(&meta, &bytes), -EINVAL);
}

TEST(Properties, that_make_no_sense_are_refused)
{
    struct ring_meta meta = everything(), back;
    uint32_t bytes, at;
    ASSERT_EQ(ring_meta_bytes(&meta, &bytes), 0);
    std::vector<uint8_t> good(bytes);
    ring_meta_put(&meta, good.data());
    auto get = [&](std::vector<uint8_t> body) {
        return ring_meta_get(body.data(), (uint32_t)body.size(), RING_FLAG_PROPERTIES, &back, &at);
    };
    auto with = [&](size_t offset, uint16_t value) {
        std::vector<uint8_t> body = good;
        memcpy(body.data() + offset, &value, 2);
        return body;
    };
    EXPECT_EQ(get(good), 0);
    for (size_t cut = 0; cut < good.size(); cut++)
        EXPECT_EQ(get(std::vector<uint8_t>(good.begin(), good.begin() + (long)cut)), -EBADMSG) << cut;
    EXPECT_EQ(get(with(0, 0)), -EBADMSG) << "length zero";
    EXPECT_EQ(get(with(0, (uint16_t)(bytes + 8))), -EBADMSG) << "longer than the body";
    EXPECT_EQ(get(with(0, (uint16_t)(bytes - 8))), -EBADMSG) << "shorter than what they hold";
    EXPECT_EQ(get(with(0, (uint16_t)(bytes - 1))), -EBADMSG) << "no multiple of 8";
    EXPECT_EQ(get(with(2, RING_HAS_KNOWN + 1)), -EBADMSG) << "unknown values";
    EXPECT_EQ(get(with(4, UINT16_MAX)), -EBADMSG) << "key";
    EXPECT_EQ(get(with(6, UINT16_MAX)), -EBADMSG) << "headers";
}

TEST(Properties, of_garbage_never_point_outside_of_the_body)
{
    std::mt19937_64 random(1);
    for (uint32_t round = 0; round < 200000; round++) {
        std::vector<uint8_t> body(random() % 80);
        for (uint8_t &byte : body)
            byte = random() % 3 ? (uint8_t)(random() % 12) : (uint8_t)random();
        struct ring_meta meta;
        uint32_t at;
        if (ring_meta_get(body.data(), (uint32_t)body.size(), RING_FLAG_PROPERTIES, &meta, &at) < 0)
            continue;
        ASSERT_LE(at, body.size());
        auto inside = [&](const void *from, uint32_t bytes) {
            return bytes == 0 ||
                   (from >= body.data() && static_cast<const uint8_t *>(from) + bytes <= body.data() + at);
        };
        ASSERT_TRUE(inside(meta.key, meta.key_bytes) && inside(meta.headers, meta.headers_bytes));
    }
}

} // namespace
