/* SPDX-License-Identifier: Apache-2.0 */
/* What is published is what is read: by copy, in place and in batches, with every property, at every size. */
// test: LINKS weir_client

#include "tests/support/client_support.hh"

namespace
{

/* Each test runs on a shared and on an exclusive ring, in memory alone and journaled. */
struct Kind {
    int exclusive, journaled;
};

class ClientPublish : public ClientTest, public testing::WithParamInterface<Kind>
{
protected:
    static constexpr uint64_t segment = 4096;
    static constexpr uint64_t record_header = 16;
    static constexpr uint64_t largest = segment - record_header;

    static RingOptions options()
    {
        return RingOptions().with_exclusive(GetParam().exclusive).with_journal(GetParam().journaled);
    }
    void SetUp() override
    {
        ClientTest::SetUp();
        ASSERT_EQ(create(options().with_segments(segment, 16)), 0) << weir_last_error();
    }
    void TearDown() override
    {
        EXPECT_EQ(faults(), std::vector<std::string>());
        ClientTest::TearDown();
    }
};

std::string kind_name(const testing::TestParamInfo<Kind> &info)
{
    return std::string(info.param.exclusive ? "Exclusive" : "Shared") + (info.param.journaled ? "Journaled" : "Memory");
}

INSTANTIATE_TEST_SUITE_P(OnRing, ClientPublish, testing::Values(Kind{0, 0}, Kind{0, 1}, Kind{1, 0}, Kind{1, 1}),
                         kind_name);

/* Some bytes that depend on the seed and differ from place to place. */
std::string pattern(size_t bytes, unsigned seed)
{
    std::string data(bytes, '\0');
    for (size_t i = 0; i < bytes; i++)
        data[i] = (char)(i * 31 + seed * 17 + (i >> 8));
    return data;
}

TEST_P(ClientPublish, DeliversACopyUnderTheNameOfItsPosition)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    ASSERT_EQ(pub.error | sub.error, 0) << weir_last_error();
    std::string data = "a message of some forty bytes, more or less";
    uint64_t first = UINT64_MAX, second = UINT64_MAX;
    ASSERT_EQ(pub.send(data, 0, &first), 0) << weir_last_error();
    ASSERT_EQ(pub.send("second", 0, &second), 0) << weir_last_error();
    ASSERT_EQ(pub.send("no position asked for"), 0) << weir_last_error();
    EXPECT_EQ(first, 0u);
    EXPECT_EQ(second, 64u) << "48 bytes and a header are one cache line";
    weir_message message;
    ASSERT_EQ(sub.next(&message), 0) << weir_last_error();
    EXPECT_EQ(text_of(message), data);
    EXPECT_EQ(message.position, first);
    EXPECT_EQ(message.next, second);
    EXPECT_EQ(message.tag, 0);
    EXPECT_EQ(message.has, 0);
    EXPECT_EQ(message.key, nullptr);
    EXPECT_EQ(message.key_bytes, 0u);
    EXPECT_EQ(message.header_count, 0u);
    EXPECT_EQ(sub.text(), "second");
    EXPECT_EQ(sub.text(), "no position asked for");
    EXPECT_EQ(sub.text(), "[EAGAIN]");
    EXPECT_EQ(info().end_position, 192u);
    EXPECT_EQ(info().visible, 192u);
}

TEST_P(ClientPublish, TakesEverySizeUpToTheLargestAndNotOneByteMore)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    std::vector<size_t> sizes = {0, 1, 47, 48, 49, 111, 112, 113, 1000, largest - 64, largest - 1, largest};
    for (size_t size : sizes)
        ASSERT_EQ(pub.send(pattern(size, (unsigned)size), 0), 0) << size << ": " << weir_last_error();
    uint64_t position = 4711;
    for (size_t size : {(size_t)largest + 1, (size_t)segment, (size_t)10 * segment, (size_t)UINT32_MAX,
                        (size_t)UINT32_MAX + 1, SIZE_MAX - 64, SIZE_MAX}) {
        EXPECT_EQ(weir_pub_send(pub, "", size, 0, &position), -EMSGSIZE) << size;
        EXPECT_TRUE(told("4080") && told(std::to_string(size))) << weir_last_error();
        void *data = nullptr;
        EXPECT_EQ(weir_pub_claim(pub, size, nullptr, 0, &data), -EMSGSIZE) << size;
        EXPECT_TRUE(told("4080")) << weir_last_error();
        weir_message message = message_of("");
        message.data_bytes = size;
        EXPECT_EQ(weir_pub_send_message(pub, &message, 0, &position), -EMSGSIZE) << size;
        EXPECT_EQ(weir_pub_send_batch(pub, &message, 1, 0, &position), -EMSGSIZE) << size;
        EXPECT_TRUE(told("4080")) << weir_last_error();
    }
    EXPECT_EQ(position, 4711u) << "outputs are written on success alone";
    ASSERT_EQ(pub.send("behind them"), 0) << weir_last_error();
    for (size_t size : sizes)
        EXPECT_EQ(sub.text(), pattern(size, (unsigned)size)) << size;
    EXPECT_EQ(sub.text(), "behind them");
}

TEST_P(ClientPublish, DeliversEmptyMessages)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    ASSERT_EQ(weir_pub_send(pub, nullptr, 0, 0, nullptr), 0) << weir_last_error();
    weir_message empty = {};
    ASSERT_EQ(weir_pub_send_message(pub, &empty, 0, nullptr), 0) << weir_last_error();
    empty.tag = 9;
    ASSERT_EQ(weir_pub_send_batch(pub, &empty, 1, 0, nullptr), 0) << weir_last_error();
    weir_message message;
    char buffer[1];
    for (int tag : {0, 0, 9}) {
        ASSERT_EQ(weir_sub_recv(sub, buffer, 0, 0, &message), 0) << weir_last_error();
        EXPECT_EQ(message.data_bytes, 0u);
        EXPECT_EQ(message.tag, tag);
    }
    EXPECT_EQ(sub.text(), "[EAGAIN]");
}

TEST_P(ClientPublish, RefusesDataThatIsNotThere)
{
    Pub pub(bus_, "ring");
    weir_message message = {};
    message.data_bytes = 8;
    EXPECT_EQ(weir_pub_send(pub, nullptr, 8, 0, nullptr), -EINVAL);
    EXPECT_TRUE(told("NULL")) << weir_last_error();
    EXPECT_EQ(weir_pub_send_message(pub, &message, 0, nullptr), -EINVAL);
    EXPECT_TRUE(told("NULL")) << weir_last_error();
    EXPECT_EQ(weir_pub_send_batch(pub, &message, 1, 0, nullptr), -EINVAL);
    EXPECT_EQ(weir_pub_send_batch(pub, &message, 0, 0, nullptr), -EINVAL);
    EXPECT_TRUE(told("batch")) << weir_last_error();
    EXPECT_EQ(info().end_position, 0u);
}

/* -- in place ------------------------------------------------------------------------------------------------------ */

TEST_P(ClientPublish, DeliversWhatWasWrittenInPlace)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    void *data = nullptr;
    uint64_t position = UINT64_MAX;
    ASSERT_EQ(weir_pub_claim(pub, 11, nullptr, 0, &data), 0) << weir_last_error();
    EXPECT_EQ(sub.text(), "[EAGAIN]") << "nobody sees a claim";
    memcpy(data, "in place, so", 11);
    EXPECT_EQ(sub.text(), "[EAGAIN]");
    ASSERT_EQ(weir_pub_commit(pub, 11, &position), 0) << weir_last_error();
    EXPECT_EQ(position, 0u);
    EXPECT_EQ(sub.text(), "in place, s");
}

TEST_P(ClientPublish, CommitsLessThanWasClaimedButNotMore)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    for (size_t bytes : {(size_t)0, (size_t)1, (size_t)100, (size_t)largest}) {
        void *data = nullptr;
        ASSERT_EQ(weir_pub_claim(pub, largest, nullptr, 0, &data), 0) << weir_last_error();
        memcpy(data, pattern(largest, 1).data(), largest);
        EXPECT_EQ(weir_pub_commit(pub, largest + 1, nullptr), -EINVAL);
        EXPECT_TRUE(told("4080 bytes were claimed, 4081")) << weir_last_error();
        ASSERT_EQ(weir_pub_commit(pub, bytes, nullptr), 0) << "the claim is still open: " << weir_last_error();
        EXPECT_EQ(sub.text(), pattern(bytes, 1));
    }
    weir_message named = {};
    named.key = "key";
    named.key_bytes = 3;
    named.tag = 5;
    void *data = nullptr;
    ASSERT_EQ(weir_pub_claim(pub, 500, &named, 0, &data), 0) << weir_last_error();
    memcpy(data, "short", 5);
    ASSERT_EQ(weir_pub_commit(pub, 5, nullptr), 0) << weir_last_error();
    weir_message message;
    ASSERT_EQ(sub.next(&message), 0);
    EXPECT_EQ(text_of(message), "short");
    EXPECT_EQ(std::string((const char *)message.key, message.key_bytes), "key");
    EXPECT_EQ(message.tag, 5);
}

TEST_P(ClientPublish, LeavesNothingBehindWhereAClaimWasCancelled)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    for (int i = 0; i < 200; i++) { /* across segments */
        void *data = nullptr;
        ASSERT_EQ(weir_pub_claim(pub, 100, nullptr, 0, &data), 0) << weir_last_error();
        memset(data, 'x', 100);
        ASSERT_EQ(weir_pub_cancel(pub), 0) << weir_last_error();
        EXPECT_EQ(sub.text(), "[EAGAIN]");
        if (i % 10 == 0) {
            ASSERT_EQ(pub.send("kept " + std::to_string(i)), 0) << weir_last_error();
            EXPECT_EQ(sub.text(), "kept " + std::to_string(i));
        }
    }
}

TEST_P(ClientPublish, HasOneClaimAtATime)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    void *data = nullptr, *other = nullptr;
    weir_message message = message_of("x");
    EXPECT_EQ(weir_pub_commit(pub, 0, nullptr), -EPERM);
    EXPECT_TRUE(told("no claim is open"));
    EXPECT_EQ(weir_pub_cancel(pub), -EPERM);
    EXPECT_TRUE(told("no claim is open"));
    ASSERT_EQ(weir_pub_claim(pub, 10, nullptr, 0, &data), 0) << weir_last_error();
    EXPECT_EQ(weir_pub_claim(pub, 10, nullptr, 0, &other), -EPERM);
    EXPECT_TRUE(told("commit or cancel it first"));
    EXPECT_EQ(other, nullptr);
    EXPECT_EQ(pub.send("x"), -EPERM);
    EXPECT_EQ(weir_pub_send_message(pub, &message, 0, nullptr), -EPERM);
    EXPECT_EQ(weir_pub_send_batch(pub, &message, 1, 0, nullptr), -EPERM);
    memcpy(data, "still mine", 10);
    ASSERT_EQ(weir_pub_commit(pub, 10, nullptr), 0) << weir_last_error();
    EXPECT_EQ(weir_pub_commit(pub, 10, nullptr), -EPERM);
    EXPECT_EQ(sub.text(), "still mine");
    EXPECT_EQ(sub.text(), "[EAGAIN]");
}

TEST_P(ClientPublish, CancelsAnOpenClaimWhenItCloses)
{
    Sub sub(bus_, "ring");
    for (int i = 0; i < 3; i++) {
        Pub pub(bus_, "ring");
        void *data = nullptr;
        ASSERT_EQ(weir_pub_claim(pub, 10, nullptr, 0, &data), 0) << weir_last_error();
        memcpy(data, "never seen", 10);
    }
    Pub pub(bus_, "ring");
    ASSERT_EQ(pub.send("seen"), 0) << weir_last_error();
    EXPECT_EQ(sub.text(), "seen");
    weir_pub_close(nullptr);
    weir_sub_close(nullptr);
}

/* -- batches ------------------------------------------------------------------------------------------------------- */

TEST_P(ClientPublish, DeliversABatchInOrderSideBySide)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    ASSERT_EQ(pub.send("before"), 0);
    std::vector<std::string> texts = {"one", "", pattern(100, 3), "four", pattern(1000, 4)};
    std::vector<weir_message> batch;
    for (const std::string &text : texts)
        batch.push_back(message_of(text, (uint16_t)(batch.size() * 1000)));
    batch[3].key = "k";
    batch[3].key_bytes = 1;
    std::vector<uint64_t> positions(batch.size());
    ASSERT_EQ(weir_pub_send_batch(pub, batch.data(), batch.size(), 0, positions.data()), 0) << weir_last_error();
    ASSERT_EQ(pub.send("after"), 0);
    EXPECT_EQ(sub.text(), "before");
    uint64_t expected = 64;
    for (size_t i = 0; i < texts.size(); i++) {
        weir_message message;
        ASSERT_EQ(sub.next(&message), 0) << weir_last_error();
        EXPECT_EQ(text_of(message), texts[i]);
        EXPECT_EQ(message.tag, i * 1000);
        EXPECT_EQ(message.key_bytes, i == 3 ? 1u : 0u);
        EXPECT_EQ(message.position, positions[i]);
        EXPECT_EQ(message.position, expected);
        expected = message.next;
    }
    EXPECT_EQ(sub.text(), "after");
}

TEST_P(ClientPublish, FillsASegmentWithOneBatchAndRefusesTheNextByte)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    std::string small = pattern(48, 1), large = pattern(49, 2);
    std::vector<weir_message> batch(64, message_of(small));
    ASSERT_EQ(weir_pub_send_batch(pub, batch.data(), batch.size(), 0, nullptr), 0) << weir_last_error();
    for (int i = 0; i < 64; i++)
        EXPECT_EQ(sub.text(), small);
    batch.back() = message_of(large);
    EXPECT_EQ(weir_pub_send_batch(pub, batch.data(), batch.size(), 0, nullptr), -EMSGSIZE);
    EXPECT_TRUE(told("does not fit in one segment of 4096 bytes")) << weir_last_error();
    EXPECT_EQ(sub.text(), "[EAGAIN]");
    EXPECT_EQ(info().end_position, segment);
    ASSERT_EQ(pub.send("x"), 0);
    batch.back() = message_of(small);
    ASSERT_EQ(weir_pub_send_batch(pub, batch.data(), batch.size(), 0, nullptr), 0) << "in the next segment";
    EXPECT_EQ(sub.text(), "x");
    for (int i = 0; i < 64; i++)
        EXPECT_EQ(sub.text(), small);
}

TEST_P(ClientPublish, PublishesNothingOfABatchThatHasOneFault)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    std::string huge(largest + 1, 'x');
    weir_header no_name = {"", "v", 1};
    for (int fault = 0; fault < 5; fault++) {
        std::vector<weir_message> batch(5, message_of("sound"));
        std::vector<uint64_t> positions(5, 4711);
        int expected = -EINVAL;
        switch (fault) {
        case 0:
            batch[4] = message_of(huge);
            expected = -EMSGSIZE;
            break;
        case 1:
            batch[3].data = nullptr;
            break;
        case 2:
            batch[4].has = 0x8000;
            break;
        case 3:
            batch[2].headers = &no_name;
            batch[2].header_count = 1;
            break;
        default:
            batch[0] = sequenced("x", 1);
            break;
        }
        EXPECT_EQ(weir_pub_send_batch(pub, batch.data(), batch.size(), 0, positions.data()), expected) << fault;
        EXPECT_STRNE(weir_last_error(), "");
        EXPECT_EQ(positions, std::vector<uint64_t>(5, 4711));
        EXPECT_EQ(info().end_position, 0u);
    }
    EXPECT_EQ(sub.text(), "[EAGAIN]");
    ASSERT_EQ(pub.send("goes on"), 0);
    EXPECT_EQ(sub.text(), "goes on");
}

TEST_P(ClientPublish, MakesABatchVisibleAtOnceOrNotAtAll)
{
    constexpr int batch_size = 7;
    const int rounds = GetParam().journaled ? 100 : 2000; /* nobody drains it */
    Child reader([&](const Line &line) {
        Sub sub(bus_, "ring", SubOptions().with_spin(0));
        ASSERT_EQ(sub.error, 0);
        line.say('r');
        std::vector<weir_message> messages(64);
        for (int seen = 0; seen < rounds * batch_size;) {
            int count = weir_sub_next_batch(sub, messages.data(), messages.size(), 0);
            if (count == -EAGAIN) {
                sched_yield();
                continue;
            }
            ASSERT_GT(count, 0) << weir_last_error();
            ASSERT_EQ(count % batch_size, 0) << "a part of a batch was seen";
            seen += count;
            line.say_number(seen);
        }
    });
    ASSERT_EQ(reader.line().hear(), 'r');
    Pub pub(bus_, "ring");
    /* 63 of a segment's 64 units: a batch never stands on both sides of a segment's end. */
    std::vector<weir_message> batch(batch_size, message_of("x"));
    int64_t seen = 0;
    for (int round = 0; round < rounds; round++) {
        ASSERT_EQ(weir_pub_send_batch(pub, batch.data(), batch.size(), 0, nullptr), 0) << weir_last_error();
        while ((round + 1) * batch_size - seen > 10 * 64)
            ASSERT_GT(seen = reader.line().hear_number(), 0);
    }
    EXPECT_EQ(reader.result(), 0);
}

/* -- properties ---------------------------------------------------------------------------------------------------- */

TEST_P(ClientPublish, CarriesEveryTag)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    for (unsigned tag : {0u, 1u, 255u, 256u, 0x8000u, 0xffffu}) {
        weir_message message = message_of("x", (uint16_t)tag);
        ASSERT_EQ(weir_pub_send_message(pub, &message, 0, nullptr), 0) << weir_last_error();
        void *data = nullptr;
        ASSERT_EQ(weir_pub_claim(pub, 1, &message, 0, &data), 0) << weir_last_error();
        *(char *)data = 'y';
        ASSERT_EQ(weir_pub_commit(pub, 1, nullptr), 0);
        weir_message seen;
        for (const char *text : {"x", "y"}) {
            ASSERT_EQ(sub.next(&seen), 0);
            EXPECT_EQ(seen.tag, tag);
            EXPECT_EQ(text_of(seen), text);
        }
    }
}

TEST_P(ClientPublish, CarriesTimeAndExpiryAndKey)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    weir_message sent = message_of("payload", 3);
    sent.has = WEIR_HAS_TIME | WEIR_HAS_EXPIRY;
    sent.time_ns = 1234567890123456789;
    sent.expiry_ns = UINT64_MAX;
    sent.key = "the\0key";
    sent.key_bytes = 7;
    ASSERT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), 0) << weir_last_error();
    sent.has = WEIR_HAS_EXPIRY;
    sent.expiry_ns = 1;
    sent.key = nullptr;
    EXPECT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), -EINVAL);
    EXPECT_TRUE(told("weir_message.key is NULL")) << weir_last_error();
    sent.key_bytes = 0;
    ASSERT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), 0) << weir_last_error();
    weir_message seen;
    ASSERT_EQ(sub.next(&seen), 0) << weir_last_error();
    EXPECT_EQ(seen.has, WEIR_HAS_TIME | WEIR_HAS_EXPIRY);
    EXPECT_EQ(seen.time_ns, 1234567890123456789u);
    EXPECT_EQ(seen.expiry_ns, UINT64_MAX);
    EXPECT_EQ(std::string((const char *)seen.key, seen.key_bytes), std::string("the\0key", 7));
    EXPECT_EQ(text_of(seen), "payload");
    EXPECT_EQ(seen.tag, 3);
    ASSERT_EQ(sub.next(&seen), 0) << weir_last_error();
    EXPECT_EQ(seen.has, WEIR_HAS_EXPIRY);
    EXPECT_EQ(seen.time_ns, 0u);
    EXPECT_EQ(seen.expiry_ns, 1u);
    EXPECT_EQ(seen.key, nullptr);
    EXPECT_EQ(seen.key_bytes, 0u);
    EXPECT_EQ(text_of(seen), "payload");
}

TEST_P(ClientPublish, TakesTheTimeItselfWhereNoneIsGiven)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    auto wall_ns = [] {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t)now.tv_sec * (uint64_t)s + (uint64_t)now.tv_nsec;
    };
    weir_message sent = message_of("x");
    sent.has = WEIR_HAS_TIME;
    uint64_t before = wall_ns();
    ASSERT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), 0) << weir_last_error();
    ASSERT_EQ(weir_pub_send_batch(pub, &sent, 1, 0, nullptr), 0) << weir_last_error();
    uint64_t after = wall_ns();
    for (int i = 0; i < 2; i++) {
        weir_message seen;
        ASSERT_EQ(sub.next(&seen), 0);
        EXPECT_GE(seen.time_ns, before);
        EXPECT_LE(seen.time_ns, after);
    }
}

TEST_P(ClientPublish, CarriesHeaders)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    std::string long_name(255, 'n');
    const weir_header headers[] = {
        {"trace", "abc", 3}, {"empty", nullptr, 0}, {long_name.c_str(), "\0\xff", 2}, {"trace", "again", 5}};
    weir_message sent = message_of("payload");
    sent.headers = headers;
    sent.header_count = 4;
    sent.key = "key";
    sent.key_bytes = 3;
    ASSERT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), 0) << weir_last_error();
    weir_message seen;
    ASSERT_EQ(sub.next(&seen), 0) << weir_last_error();
    EXPECT_EQ(text_of(seen), "payload");
    EXPECT_EQ(seen.header_count, 4u);
    EXPECT_EQ(std::string((const char *)seen.key, seen.key_bytes), "key");
    const void *value;
    size_t value_bytes, name_bytes;
    const char *name;
    for (size_t i = 0; i < 4; i++) {
        ASSERT_EQ(weir_message_header_at(&seen, i, &name, &name_bytes, &value, &value_bytes), 0) << i;
        EXPECT_EQ(std::string(name, name_bytes), headers[i].name);
        EXPECT_EQ(std::string((const char *)value, value_bytes),
                  std::string((const char *)headers[i].value, headers[i].value_bytes));
    }
    EXPECT_EQ(weir_message_header_at(&seen, 4, &name, &name_bytes, &value, &value_bytes), -ENOENT);
    EXPECT_EQ(weir_message_header_at(&seen, SIZE_MAX, &name, &name_bytes, &value, &value_bytes), -ENOENT);
    ASSERT_EQ(weir_message_header(&seen, "trace", &value, &value_bytes), 0);
    EXPECT_EQ(std::string((const char *)value, value_bytes), "abc") << "the first of them";
    ASSERT_EQ(weir_message_header(&seen, long_name.c_str(), &value, &value_bytes), 0);
    EXPECT_EQ(value_bytes, 2u);
    for (const char *missing : {"", "trac", "tracer", "Trace"})
        EXPECT_EQ(weir_message_header(&seen, missing, &value, &value_bytes), -ENOENT) << missing;
}

/* The properties of a record take at most 65528 bytes: 8, each value's 8 or 16, the key, 3 and its bytes for each header,
 * rounded up to 8. */
TEST_P(ClientPublish, CarriesPropertiesUpToTheirLimitAndNoFurther)
{
    ASSERT_EQ(create(options().with_segments(256 << 10, 2), "wide"), 0) << weir_last_error();
    Pub pub(bus_, "wide");
    Sub sub(bus_, "wide");
    std::string value(65535, 'v'), key(70000, 'k');
    weir_message sent = message_of("payload"), seen;
    weir_header header = {"h", value.data(), 0};
    sent.headers = &header;
    sent.header_count = 1;
    size_t most = 65528 - 8 - 3 - 1;
    for (size_t bytes : {most - 1, most}) {
        header.value_bytes = bytes;
        ASSERT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), 0) << bytes << ": " << weir_last_error();
        ASSERT_EQ(sub.next(&seen), 0) << weir_last_error();
        const void *got;
        size_t got_bytes;
        ASSERT_EQ(weir_message_header(&seen, "h", &got, &got_bytes), 0);
        EXPECT_EQ(std::string((const char *)got, got_bytes), value.substr(0, bytes));
        EXPECT_EQ(text_of(seen), "payload");
    }
    for (size_t bytes : {most + 1, most + 9, (size_t)65535}) {
        header.value_bytes = bytes;
        EXPECT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), -EINVAL) << bytes;
        EXPECT_TRUE(told("65528")) << weir_last_error();
    }
    for (size_t bytes : {(size_t)65536, SIZE_MAX}) {
        header.value_bytes = bytes;
        EXPECT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), -EINVAL) << bytes;
        EXPECT_TRUE(told("header h") && told("65535")) << weir_last_error();
    }
    sent.header_count = 0;
    sent.key = key.data();
    for (uint32_t bytes : {65519u, 65520u}) {
        sent.key_bytes = bytes;
        ASSERT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), 0) << bytes << ": " << weir_last_error();
        ASSERT_EQ(sub.next(&seen), 0) << weir_last_error();
        EXPECT_EQ(std::string((const char *)seen.key, seen.key_bytes), key.substr(0, bytes));
    }
    for (uint32_t bytes : {65521u, 65535u, 65536u, UINT32_MAX}) {
        sent.key_bytes = bytes;
        EXPECT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), -EINVAL) << bytes;
        EXPECT_TRUE(told("65528")) << weir_last_error();
    }
    EXPECT_EQ(sub.text(), "[EAGAIN]");
}

TEST_P(ClientPublish, CountsPropertiesInTheSizeOfAMessage)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    std::string data(largest - 16, 'x');
    weir_message sent = message_of(data), seen;
    sent.key = "12345678";
    sent.key_bytes = 8;
    ASSERT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), 0) << weir_last_error();
    sent.data_bytes++;
    EXPECT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), -EMSGSIZE);
    EXPECT_TRUE(told("with their properties")) << weir_last_error();
    ASSERT_EQ(sub.next(&seen), 0);
    EXPECT_EQ(text_of(seen), data);
}

TEST_P(ClientPublish, RefusesPropertiesThatMakeNoSense)
{
    Pub pub(bus_, "ring");
    std::string long_name(256, 'n');
    weir_message sent = message_of("x");
    for (unsigned has : {8u, 0x8000u, 0xfff8u}) {
        sent.has = (uint16_t)has;
        EXPECT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), -EINVAL);
        EXPECT_TRUE(told("unknown bits")) << weir_last_error();
    }
    sent.has = WEIR_HAS_SEQUENCE;
    sent.sequence = 1;
    EXPECT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), -EINVAL);
    EXPECT_TRUE(told("named publisher")) << weir_last_error();
    sent.has = 0;
    for (const char *name : {(const char *)nullptr, "", long_name.c_str()}) {
        weir_header headers[] = {{"good", "v", 1}, {name, "v", 1}};
        sent.headers = headers;
        sent.header_count = 2;
        EXPECT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), -EINVAL);
        EXPECT_TRUE(told("header 1") && told("1 to 255 bytes")) << weir_last_error();
    }
    sent.headers = nullptr;
    EXPECT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), -EINVAL);
    EXPECT_TRUE(told("headers")) << weir_last_error();
    weir_header no_value = {"name", nullptr, 3};
    sent.headers = &no_value;
    sent.header_count = 1;
    EXPECT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), -EINVAL);
    EXPECT_TRUE(told("value")) << weir_last_error();
    EXPECT_EQ(info().end_position, 0u);
}

} // namespace
