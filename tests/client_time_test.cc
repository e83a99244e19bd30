// SPDX-License-Identifier: Apache-2.0
// test: LINKS weir_client LABELS tsan TIMEOUT 120
// Going to a time on a ring in memory; in the journal: cli_journal_tool_test and journal_index_test.
#include "tests/support/client_support.hh"

namespace
{

constexpr uint64_t second = 1000000000;

class ClientTime : public ClientTest
{
protected:
    void create_ring(int when_full = WEIR_BLOCK)
    {
        struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
        options.journaled = 0;
        options.when_full = when_full;
        options.segment_bytes = 4096;
        options.memory_limit_bytes = 8 * 4096;
        options.max_readers = 2;
        options.max_publishers = 2;
        ASSERT_EQ(weir_ring_create(bus_.c_str(), "ring", &options), 0) << weir_last_error();
        ASSERT_EQ(weir_pub_open(bus_.c_str(), "ring", nullptr, &pub_), 0) << weir_last_error();
    }
    void TearDown() override
    {
        weir_pub_close(pub_);
        weir_sub_close(sub_);
        ClientTest::TearDown();
    }
    uint64_t publish(uint64_t time_ns)
    {
        struct weir_message message = {};
        uint64_t position = 0;
        message.has = time_ns ? WEIR_HAS_TIME : 0;
        message.time_ns = time_ns;
        message.data = "x";
        message.data_bytes = 1;
        EXPECT_EQ(weir_pub_send_message(pub_, &message, 0, &position), 0) << weir_last_error();
        return position;
    }
    void open_sub(uint64_t since_ns = 0, const char *cursor = nullptr)
    {
        weir_sub_close(sub_);
        sub_ = nullptr;
        struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
        options.since_ns = since_ns;
        options.cursor = cursor;
        ASSERT_EQ(weir_sub_open(bus_.c_str(), "ring", &options, &sub_), 0) << weir_last_error();
    }
    /* Position of the first message of that time or later; UINT64_MAX: there is none. */
    uint64_t since(uint64_t time_ns)
    {
        EXPECT_EQ(weir_sub_seek_time(sub_, time_ns), 0) << weir_last_error();
        struct weir_message message;
        return weir_sub_next(sub_, 0, &message) == 0 ? message.position : UINT64_MAX;
    }

    struct weir_pub *pub_ = nullptr;
    struct weir_sub *sub_ = nullptr;
};

TEST_F(ClientTime, FindsTheFirstMessageOfThatTimeOrLater)
{
    create_ring();
    std::vector<uint64_t> positions;
    for (uint64_t i = 0; i < 200; i++)
        positions.push_back(publish((100 + i) * second));
    open_sub();
    for (uint64_t i = 0; i < 200; i++) {
        EXPECT_EQ(since((100 + i) * second), positions[i]);
        EXPECT_EQ(since((100 + i) * second + 1), i == 199 ? UINT64_MAX : positions[i + 1]);
    }
    EXPECT_EQ(since(1), positions[0]);
    EXPECT_EQ(since(0), positions[0]);
}

TEST_F(ClientTime, TimesThatFallHideNothing)
{
    create_ring();
    publish(100 * second);
    uint64_t overtaken = publish(300 * second);
    publish(200 * second);
    uint64_t last = publish(400 * second);
    open_sub();
    EXPECT_EQ(since(200 * second), overtaken);
    EXPECT_EQ(since(250 * second), overtaken);
    EXPECT_EQ(since(301 * second), last);
}

TEST_F(ClientTime, AMessageWithoutATimeEndsTheSearch)
{
    create_ring();
    publish(100 * second);
    uint64_t timeless = publish(0);
    publish(200 * second);
    open_sub();
    EXPECT_EQ(since(150 * second), timeless);
}

TEST_F(ClientTime, ATimeToComeIsTheEnd)
{
    create_ring();
    publish(0);
    open_sub();
    EXPECT_EQ(since(UINT64_MAX), UINT64_MAX);
    uint64_t next = publish(0);
    struct weir_message message;
    ASSERT_EQ(weir_sub_next(sub_, 0, &message), 0);
    EXPECT_EQ(message.position, next);
}

TEST_F(ClientTime, TheOptionStandsForFromAndACursorWins)
{
    create_ring();
    std::vector<uint64_t> positions;
    for (uint64_t i = 0; i < 10; i++)
        positions.push_back(publish((100 + i) * second));
    open_sub(105 * second, "mine");
    EXPECT_EQ(weir_sub_position(sub_), positions[5]);
    ASSERT_EQ(weir_sub_save(sub_, positions[2]), 0);
    open_sub(105 * second, "mine");
    EXPECT_EQ(weir_sub_position(sub_), positions[2]);
    /* A program that was built before the option was there. */
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    options.size = offsetof(struct weir_sub_options, since_ns);
    options.since_ns = 105 * second;
    weir_sub_close(sub_);
    sub_ = nullptr;
    ASSERT_EQ(weir_sub_open(bus_.c_str(), "ring", &options, &sub_), 0);
    EXPECT_EQ(weir_sub_position(sub_), positions[0]);
}

TEST_F(ClientTime, PositionOneIsStillNoPosition)
{
    create_ring();
    publish(0);
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    options.from = 1;
    EXPECT_EQ(weir_sub_open(bus_.c_str(), "ring", &options, &sub_), -EINVAL);
}

TEST_F(ClientTime, WhatWasOverwrittenIsNotToldOnTheWay)
{
    create_ring(WEIR_DROP_OLD);
    for (uint64_t i = 0; i < 2000; i++)
        publish((100 + i) * second);
    open_sub();
    ASSERT_EQ(weir_sub_seek_time(sub_, 2050 * second), 0);
    struct weir_message message;
    ASSERT_EQ(weir_sub_next(sub_, 0, &message), 0);
    EXPECT_EQ(message.time_ns, 2050 * second);
    struct weir_gap gap;
    EXPECT_EQ(weir_sub_gap(sub_, &gap), -ENOENT);
}

} // namespace
