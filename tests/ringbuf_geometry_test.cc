// SPDX-License-Identifier: Apache-2.0
// Sizes, formatting, and the checks between untrusted bytes and a view.
// test: LINKS weir_ringbuf
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <random>

#include "tests/support/ring_fixture.h"

using namespace ringtest;

namespace
{

struct ring_geometry good()
{
    struct ring_geometry geometry = {};
    geometry.flags = RING_JOURNALED;
    geometry.segment_shift = 18;
    geometry.max_publishers = 8;
    geometry.max_readers = 16;
    geometry.max_producers = 4;
    geometry.max_cursors = 4;
    geometry.memory_limit_bytes = 32ull << 18;
    return geometry;
}

std::string refusal(struct ring_geometry geometry)
{
    struct ring_geometry before = geometry;
    const char *reason = "";
    int r = ring_geometry_check(&geometry, &reason);
    if (r == 0)
        return "";
    EXPECT_EQ(r, -EINVAL);
    EXPECT_EQ(memcmp(&before, &geometry, sizeof geometry), 0) << "a refused geometry was changed";
    return reason;
}

TEST(Geometry, counts_the_slots_that_stopped_readers_and_publishers_may_pin)
{
    struct ring_geometry geometry = good();
    ASSERT_EQ(refusal(geometry), "");
    const char *reason;
    ASSERT_EQ(ring_geometry_check(&geometry, &reason), 0);
    EXPECT_EQ(geometry.slot_count, 32u + 16 + 2 * 8 + 1 + RING_SEATS);
    EXPECT_EQ(geometry.data_bytes, (uint64_t)geometry.slot_count << 18);
    EXPECT_EQ(geometry.control_bytes % 4096, 0u);
    EXPECT_EQ(geometry.readers_bytes % 4096, 0u);
}

TEST(Geometry, is_refused_with_the_reason)
{
    struct Case {
        const char *says;
        std::function<void(struct ring_geometry *)> change;
    };
    const Case cases[] = {
        {"kind of ring", [](struct ring_geometry *g) { g->flags = 8; }},
        {"when-full", [](struct ring_geometry *g) { g->when_full = 3; }},
        {"drop-old is for memory-only", [](struct ring_geometry *g) { g->when_full = RING_DROP_OLD; }},
        {"power of two from 4096", [](struct ring_geometry *g) { g->segment_shift = 11; }},
        {"power of two from 4096", [](struct ring_geometry *g) { g->segment_shift = 27; }},
        {"power of two from 4096", [](struct ring_geometry *g) { g->segment_shift = UINT32_MAX; }},
        {"publishers must be 1 to 512", [](struct ring_geometry *g) { g->max_publishers = 0; }},
        {"publishers must be 1 to 512", [](struct ring_geometry *g) { g->max_publishers = 513; }},
        {"exclusive ring has one publisher", [](struct ring_geometry *g) { g->flags = RING_EXCLUSIVE; }},
        {"readers must be 1 to 1024", [](struct ring_geometry *g) { g->max_readers = 1025; }},
        {"too many names", [](struct ring_geometry *g) { g->max_producers = 65537; }},
        {"too many names", [](struct ring_geometry *g) { g->max_cursors = 65537; }},
        {"at least one segment", [](struct ring_geometry *g) { g->memory_limit_bytes = (1u << 18) - 1; }},
        {"more than 4096 segments", [](struct ring_geometry *g) { g->memory_limit_bytes = UINT64_MAX; }},
        {"more than 4096 segments", [](struct ring_geometry *g) { g->slot_count = 4097; }},
        {"at least 3 slots", [](struct ring_geometry *g) { g->slot_count = 2; }},
    };
    for (const Case &one : cases) {
        struct ring_geometry geometry = good();
        one.change(&geometry);
        EXPECT_NE(refusal(geometry).find(one.says), std::string::npos)
            << "wanted: " << one.says << ", said: " << refusal(geometry);
    }
}

TEST(Geometry, takes_the_largest_and_the_smallest_of_everything)
{
    struct ring_geometry geometry = good();
    geometry.segment_shift = 26;
    geometry.max_publishers = 512;
    geometry.max_readers = 1024;
    geometry.memory_limit_bytes = 1ull << 26;
    EXPECT_EQ(refusal(geometry), "");
    geometry = good();
    geometry.flags = RING_EXCLUSIVE;
    geometry.segment_shift = 12;
    geometry.max_publishers = 1;
    geometry.max_readers = geometry.max_producers = geometry.max_cursors = 0;
    geometry.memory_limit_bytes = 4096;
    EXPECT_EQ(refusal(geometry), "");
}

// -- A view of bytes that somebody else wrote ------------------------------------------------------------------------------

class Bytes : public ::testing::TestWithParam<uint64_t>
{
protected:
    static Shape shape(uint64_t start)
    {
        Shape s;
        s.start = start;
        return s;
    }
    Ring ring{shape(GetParam())};

    int attach(std::string *ret_reason = nullptr)
    {
        return attach_sized(ring.geometry().control_bytes, ring.geometry().readers_bytes, ring.geometry().data_bytes,
                            ret_reason);
    }
    int attach_sized(uint64_t control, uint64_t readers, uint64_t data, std::string *ret_reason = nullptr)
    {
        struct ring_view view;
        memset(&view, 0x77, sizeof view);
        struct ring_view before = view;
        const char *reason = NULL;
        int r = ring_view_init(&view, ring.control(), control, ring.readers(), readers, ring.data(), data, &reason);
        if (r < 0) {
            EXPECT_NE(reason, nullptr);
            EXPECT_EQ(memcmp(&before, &view, sizeof view), 0) << "the view was changed by a refused attach";
            if (ret_reason && reason)
                *ret_reason = reason;
        }
        return r;
    }
    struct ring_control *control()
    {
        return ring.control_block();
    }
};

TEST_P(Bytes, a_formatted_ring_says_what_it_was_made_of)
{
    struct ring_geometry geometry;
    struct ring_identity identity;
    const char *reason;
    ASSERT_EQ(ring_control_read(control(), RING_CONTROL_HEADER_BYTES, &geometry, &identity, &reason), 0);
    EXPECT_EQ(memcmp(&geometry, &ring.geometry(), sizeof geometry), 0);
    EXPECT_EQ(identity.start, ring.start());
    EXPECT_EQ(identity.epoch, 1u);
    EXPECT_STREQ(identity.name, "test");
    EXPECT_EQ(attach(), 0);
    EXPECT_EQ(ring.faults(), std::vector<std::string>());
    EXPECT_EQ(ring_end_position(ring.view()), ring.start());
}

TEST_P(Bytes, of_another_kind_are_refused_each_in_its_own_way)
{
    struct Case {
        int error;
        const char *says;
        std::function<void(struct ring_control *, struct ring_readers *)> damage;
    };
    const Case cases[] = {
        {-EMEDIUMTYPE, "does not begin", [](struct ring_control *c, struct ring_readers *) { c->magic++; }},
        {-EPROTONOSUPPORT, "another layout version",
         [](struct ring_control *c, struct ring_readers *) { c->layout_version++; }},
        {-EAGAIN, "not ready", [](struct ring_control *c, struct ring_readers *) { poke(&c->ready, 0); }},
        {-EPROTONOSUPPORT, "byte order",
         [](struct ring_control *c, struct ring_readers *) { c->format_signature ^= 1ull << 40; }},
        {-EPROTONOSUPPORT, "byte order", [](struct ring_control *c, struct ring_readers *) { c->header_bytes = 1; }},
        {-EPROTONOSUPPORT, "does not know",
         [](struct ring_control *c, struct ring_readers *) { c->features_incompatible = 2; }},
        {-EBADMSG, "", [](struct ring_control *c, struct ring_readers *) { c->segment_shift = 40; }},
        {-EBADMSG, "", [](struct ring_control *c, struct ring_readers *) { c->slot_count = 1u << 31; }},
        {-EBADMSG, "", [](struct ring_control *c, struct ring_readers *) { c->publisher_count = 0; }},
        {-EBADMSG, "shorter", [](struct ring_control *c, struct ring_readers *) { c->producer_count = 60000; }},
        {-EBADMSG, "shorter", [](struct ring_control *c, struct ring_readers *) { c->slot_count++; }},
        {-EBADMSG, "segment's start", [](struct ring_control *c, struct ring_readers *) { c->start++; }},
        {-EBADMSG, "segment's start", [](struct ring_control *c, struct ring_readers *) { c->epoch = 0; }},
        {-EBADMSG, "no end",
         [](struct ring_control *c, struct ring_readers *) { memset(c->name, 'x', sizeof c->name); }},
        {-EMEDIUMTYPE, "readers", [](struct ring_control *, struct ring_readers *r) { r->magic++; }},
        {-EPROTONOSUPPORT, "readers", [](struct ring_control *, struct ring_readers *r) { r->layout_version++; }},
        {-EBADMSG, "another ring", [](struct ring_control *, struct ring_readers *r) { r->ring_id[0]++; }},
        {-EBADMSG, "another ring", [](struct ring_control *, struct ring_readers *r) { r->reader_count++; }},
        {-EBADMSG, "another ring", [](struct ring_control *, struct ring_readers *r) { r->cursor_count++; }},
    };
    std::vector<uint8_t> saved_control(ring.geometry().control_bytes), saved_readers(ring.geometry().readers_bytes);
    memcpy(saved_control.data(), ring.control(), saved_control.size());
    memcpy(saved_readers.data(), ring.readers(), saved_readers.size());
    for (const Case &one : cases) {
        std::string reason;
        one.damage(control(), static_cast<struct ring_readers *>(ring.readers()));
        EXPECT_EQ(attach(&reason), one.error) << one.says << ": " << reason;
        EXPECT_NE(reason.find(one.says), std::string::npos) << "wanted: " << one.says << ", said: " << reason;
        memcpy(ring.control(), saved_control.data(), saved_control.size());
        memcpy(ring.readers(), saved_readers.data(), saved_readers.size());
        EXPECT_EQ(attach(), 0);
    }
    control()->features_compatible = UINT64_MAX;
    EXPECT_EQ(attach(), 0) << "unknown compatible features are ignored";
}

TEST_P(Bytes, cut_short_are_refused)
{
    const struct ring_geometry &g = ring.geometry();
    EXPECT_EQ(attach_sized(0, g.readers_bytes, g.data_bytes), -EMEDIUMTYPE);
    EXPECT_EQ(attach_sized(RING_CONTROL_HEADER_BYTES - 1, g.readers_bytes, g.data_bytes), -EMEDIUMTYPE);
    EXPECT_EQ(attach_sized(RING_CONTROL_HEADER_BYTES, g.readers_bytes, g.data_bytes), -EBADMSG);
    EXPECT_EQ(attach_sized(g.control_bytes - 1, g.readers_bytes, g.data_bytes), -EBADMSG);
    EXPECT_EQ(attach_sized(g.control_bytes, g.readers_bytes - 1, g.data_bytes), -EBADMSG);
    EXPECT_EQ(attach_sized(g.control_bytes, 0, g.data_bytes), -EBADMSG);
    EXPECT_EQ(attach_sized(g.control_bytes, g.readers_bytes, g.data_bytes - 1), -EBADMSG);
    EXPECT_EQ(attach_sized(g.control_bytes, g.readers_bytes, 0), -EBADMSG);
    EXPECT_EQ(attach_sized(g.control_bytes, g.readers_bytes, g.data_bytes), 0);
}

TEST_P(Bytes, of_garbage_are_refused_or_lead_nowhere_out_of_bounds)
{
    std::mt19937_64 random(GetParam() + 1);
    std::vector<uint8_t> saved(ring.geometry().control_bytes);
    memcpy(saved.data(), ring.control(), saved.size());
    for (uint32_t round = 0; round < 2000; round++) {
        uint8_t *at = static_cast<uint8_t *>(ring.control());
        memcpy(at, saved.data(), saved.size());
        /* Some bytes of the header; in the end all of it. */
        uint32_t bytes = round < 1500 ? 1 + (uint32_t)(random() % 4) : (uint32_t)sizeof(struct ring_control);
        for (uint32_t i = 0; i < bytes; i++)
            at[bytes == sizeof(struct ring_control) ? i : random() % sizeof(struct ring_control)] = (uint8_t)random();
        struct ring_view view;
        const char *reason = NULL;
        int r = ring_view_init(&view, ring.control(), ring.geometry().control_bytes, ring.readers(),
                               ring.geometry().readers_bytes, ring.data(), ring.geometry().data_bytes, &reason);
        if (r < 0) {
            ASSERT_NE(reason, nullptr);
            continue;
        }
        ASSERT_LE(view.geometry.control_bytes, ring.geometry().control_bytes);
        ASSERT_LE(view.geometry.readers_bytes, ring.geometry().readers_bytes);
        ASSERT_LE(view.geometry.data_bytes, ring.geometry().data_bytes);
        ring_end_position(&view);
        uint64_t oldest;
        ring_oldest_segment(&view, 0, &oldest);
        ring_check(
            &view, [](void *, enum ring_file, uint64_t, const char *) {}, nullptr);
    }
}

INSTANTIATE_TEST_SUITE_P(positions, Bytes, ::testing::ValuesIn(positions_near_limits()),
                         [](const ::testing::TestParamInfo<uint64_t> &at) { return position_name(at.param); });

// The control file as it is before the n-th store of the format.
struct Format {
    uint64_t left;
    const std::vector<uint64_t> *from;
    std::vector<uint64_t> copy;
};
Format format;

TEST(Format, killed_before_each_store_leaves_a_ring_that_is_not_ready)
{
    Ring ring{Shape()};
    struct ring_identity identity = {};
    strcpy(identity.name, "test");
    identity.epoch = 1;
    uint64_t n = 1;
    for (;; n++) {
        std::vector<uint64_t> control(ring.geometry().control_bytes / 8), readers(ring.geometry().readers_bytes / 8);
        format = {n, &control, {}};
        mem_point_hook = [](struct mem_site *) {
            if (--format.left == 0)
                format.copy = *format.from;
        };
        ring_format(control.data(), readers.data(), ring.data(), &ring.geometry(), &identity);
        mem_point_hook = nullptr;
        if (format.copy.empty())
            break;
        const char *reason;
        EXPECT_EQ(ring_control_read(reinterpret_cast<struct ring_control *>(format.copy.data()),
                                    RING_CONTROL_HEADER_BYTES, nullptr, nullptr, &reason),
                  -EAGAIN)
            << "at store " << n;
    }
    EXPECT_GT(n, 10u);
}

} // namespace
