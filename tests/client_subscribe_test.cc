/* SPDX-License-Identifier: Apache-2.0 */
/* Where a subscriber begins, how it goes on, and how it finds its place again. */
// test: LINKS weir_client

#include "tests/support/client_support.hh"

namespace
{

/* Each test runs on a shared and on an exclusive ring, at positions where numbers of 32 and 63 bits end. */
struct Place {
    int exclusive;
    uint64_t first;
};

class ClientSubscribe : public ClientTest, public testing::WithParamInterface<Place>
{
protected:
    static constexpr uint64_t segment = 4096;

    void SetUp() override
    {
        ClientTest::SetUp();
        first_ = GetParam().first;
        RingOptions options;
        options.with_exclusive(GetParam().exclusive).with_segments(segment, 8).with_users(2, 4).with_first(first_);
        ASSERT_EQ(create(options), 0) << weir_last_error();
    }
    void TearDown() override
    {
        EXPECT_EQ(faults(), std::vector<std::string>());
        ClientTest::TearDown();
    }
    /* Publishes numbers, each in a record of one unit; returns their positions. */
    static std::vector<uint64_t> publish(const Pub &pub, int from, int to)
    {
        std::vector<uint64_t> positions;
        for (int i = from; i < to; i++) {
            uint64_t position = 0;
            EXPECT_EQ(pub.send(std::to_string(i), 0, &position), 0) << weir_last_error();
            positions.push_back(position);
        }
        return positions;
    }
    std::string text_at(uint64_t position) const
    {
        Sub sub(bus_, "ring", SubOptions().with_from(position));
        if (sub.error)
            return "[" + std::string(strerrorname_np(-sub.error)) + "]";
        return sub.text();
    }

    uint64_t first_ = 0;
};

std::string place_name(const testing::TestParamInfo<Place> &info)
{
    std::string place = info.param.first == 0 ? "Zero" : std::to_string(63 - __builtin_clzll(info.param.first) + 1);
    return std::string(info.param.exclusive ? "Exclusive" : "Shared") + "At" + place;
}

INSTANTIATE_TEST_SUITE_P(On, ClientSubscribe,
                         testing::Values(Place{0, 0}, Place{1, 0}, Place{0, (UINT64_C(1) << 32) - 2 * 4096},
                                         Place{0, (UINT64_C(1) << 44) - 2 * 4096}, /* segment numbers of 32 bits */
                                         Place{1, (UINT64_C(1) << 63) - 2 * 4096},
                                         Place{0, (UINT64_C(1) << 63) - 2 * 4096}),
                         place_name);

/* -- where it begins ----------------------------------------------------------------------------------------------- */

TEST_P(ClientSubscribe, BeginsAtTheStartOrTheEndOrAPosition)
{
    Pub pub(bus_, "ring");
    Sub early(bus_, "ring");
    std::vector<uint64_t> positions = publish(pub, 0, 200);
    EXPECT_EQ(positions[0], first_);
    Sub late(bus_, "ring", SubOptions().with_from(WEIR_POSITION_END));
    Sub middle(bus_, "ring", SubOptions().with_from(positions[150]));
    ASSERT_EQ(early.error | late.error | middle.error, 0) << weir_last_error();
    EXPECT_EQ(early.position(), first_);
    EXPECT_EQ(middle.position(), positions[150]);
    EXPECT_EQ(late.position(), info().end_position);
    EXPECT_EQ(late.text(), "[EAGAIN]");
    publish(pub, 200, 210);
    for (int i = 0; i < 210; i++) {
        ASSERT_EQ(early.text(), std::to_string(i));
        if (i >= 150) {
            ASSERT_EQ(middle.text(), std::to_string(i));
        }
        if (i >= 200) {
            ASSERT_EQ(late.text(), std::to_string(i));
        }
    }
    for (const Sub *sub : {&early, &middle, &late}) {
        EXPECT_EQ(sub->text(), "[EAGAIN]");
        EXPECT_EQ(sub->position(), info().end_position);
        EXPECT_EQ(weir_sub_in_memory(*sub), 1);
    }
}

TEST_P(ClientSubscribe, BeginsAtEveryRecordThatIsThere)
{
    Pub pub(bus_, "ring");
    std::vector<std::pair<uint64_t, std::string>> sent;
    unsigned random = 3;
    for (int i = 0; i < 150; i++) {
        random = random * 1103515245 + 12345;
        /* Whatever the payload is: units full of what a header of two units looks like. */
        uint64_t forged = UINT64_C(2) | UINT64_C(2) << 5;
        std::string text;
        while (text.size() < (random >> 16) % 400)
            text.append((const char *)&forged, 8);
        uint64_t position;
        ASSERT_EQ(pub.send(text, 0, &position), 0);
        sent.emplace_back(position, text);
    }
    uint64_t end = info().end_position;
    for (const auto &record : sent)
        ASSERT_EQ(text_at(record.first), record.second);
    EXPECT_EQ(text_at(end), "[EAGAIN]");
    std::map<uint64_t, std::string> starts(sent.begin(), sent.end());
    for (uint64_t position = first_; position < end; position += 64) {
        auto behind = starts.lower_bound(position);
        if (behind != starts.end() && behind->first == position)
            continue;
        bool padding =
            behind != starts.begin() && std::prev(behind)->first + 16 + std::prev(behind)->second.size() <= position;
        std::string text = behind == starts.end() ? "[EAGAIN]" : behind->second;
        ASSERT_EQ(text_at(position), padding ? text : "[EINVAL]") << "at " << position;
    }
}

TEST_P(ClientSubscribe, RefusesAPositionThatIsNoRecords)
{
    Pub pub(bus_, "ring");
    std::string wide(200, 'w');
    uint64_t position, end;
    ASSERT_EQ(pub.send("x", 0, &position), 0);
    ASSERT_EQ(pub.send(wide, 0, &position), 0);
    end = info().end_position;
    for (uint64_t bad : {position + 64, position + 128, position + 192, position + 1, position + 8, position + 63}) {
        EXPECT_EQ(text_at(bad), "[EINVAL]") << bad;
        EXPECT_TRUE(told(std::to_string(bad) + " is not the position of a message")) << weir_last_error();
    }
    for (uint64_t bad :
         {end + 64, end + segment, end + 1, UINT64_C(1) << 63 | 1 << 20, UINT64_MAX - 63, UINT64_MAX - 2}) {
        EXPECT_EQ(text_at(bad), "[EINVAL]") << bad;
        EXPECT_TRUE(told("behind the end of ring ring")) << weir_last_error();
    }
    EXPECT_EQ(info().reader_count, 0u) << "who is refused holds nothing";
}

TEST_P(ClientSubscribe, FindsAGapBeforeTheFirstPosition)
{
    if (first_ == 0)
        GTEST_SKIP() << "nothing is before 0";
    Pub pub(bus_, "ring");
    publish(pub, 0, 1);
    Sub sub(bus_, "ring", SubOptions().with_from(first_ - segment));
    ASSERT_EQ(sub.error, 0) << weir_last_error();
    EXPECT_EQ(sub.text(), "[EPIPE]");
    EXPECT_EQ(sub.gap().from, first_ - segment);
    EXPECT_EQ(sub.gap().to, first_);
    EXPECT_EQ(sub.text(), "0");
}

TEST_P(ClientSubscribe, HasNoGapToTellBeforeItMetOne)
{
    Sub sub(bus_, "ring");
    weir_gap gap = {};
    EXPECT_EQ(weir_sub_gap(sub, &gap), -ENOENT);
}

TEST_P(ClientSubscribe, SeeksToWhatIsThereAndStaysWhenItIsNot)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    std::vector<uint64_t> positions = publish(pub, 0, 300);
    for (int i : {299, 0, 64, 63, 65, 128, 250, 1}) {
        ASSERT_EQ(weir_sub_seek(sub, positions[i]), 0) << weir_last_error();
        EXPECT_EQ(sub.position(), positions[i]);
        EXPECT_EQ(sub.text(), std::to_string(i));
    }
    for (uint64_t bad : {positions[7] + 1, positions[299] + 128, UINT64_MAX - 2}) {
        EXPECT_EQ(weir_sub_seek(sub, bad), -EINVAL);
        EXPECT_EQ(sub.position(), positions[2]);
    }
    EXPECT_EQ(sub.text(), "2");
    ASSERT_EQ(weir_sub_seek(sub, WEIR_POSITION_END), 0);
    EXPECT_EQ(sub.text(), "[EAGAIN]");
    ASSERT_EQ(weir_sub_seek(sub, WEIR_POSITION_START), 0);
    EXPECT_EQ(sub.text(), "0");
    ASSERT_EQ(weir_sub_seek(sub, positions[299] + 64), 0) << "the end: " << weir_last_error();
    EXPECT_EQ(sub.text(), "[EAGAIN]");
    publish(pub, 300, 301);
    EXPECT_EQ(sub.text(), "300");
}

/* -- batches and copies -------------------------------------------------------------------------------------------- */

TEST_P(ClientSubscribe, TakesAsManyAsThereAreAndNoMoreThanItWants)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    std::vector<weir_message> messages(100);
    EXPECT_EQ(weir_sub_next_batch(sub, messages.data(), 100, 0), -EAGAIN);
    EXPECT_EQ(weir_sub_next_batch(sub, messages.data(), 100, 1 * ms), -ETIMEDOUT);
    EXPECT_EQ(weir_sub_next_batch(sub, messages.data(), 0, 0), -EINVAL);
    EXPECT_TRUE(told("a batch has 1 to")) << weir_last_error();
    EXPECT_EQ(weir_sub_next_batch(sub, messages.data(), SIZE_MAX, 0), -EINVAL);
    publish(pub, 0, 30);
    ASSERT_EQ(weir_sub_next_batch(sub, messages.data(), 7, 0), 7);
    for (int i = 0; i < 7; i++)
        EXPECT_EQ(text_of(messages[i]), std::to_string(i));
    EXPECT_EQ(sub.text(), "7") << "batches and single steps mix";
    ASSERT_EQ(weir_sub_next_batch(sub, messages.data(), 100, 0), 22);
    for (int i = 0; i < 22; i++)
        EXPECT_EQ(text_of(messages[i]), std::to_string(8 + i));
    EXPECT_EQ(weir_sub_next_batch(sub, messages.data(), 100, 0), -EAGAIN);
}

/* A reader pins the segment that it looks at and no other. So a batch must not lead it into the next one, also when only
 * padding is left, while the caller still looks at what it was given. */
TEST_P(ClientSubscribe, KeepsABatchInPlaceUntilTheNextCall)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    std::string wide(900, 'w');
    for (int batch : {0, 1, 2}) {
        SCOPED_TRACE(batch);
        ASSERT_EQ(weir_sub_seek(sub, WEIR_POSITION_END), 0);
        std::vector<std::string> sent;
        do { /* to the segment's end: the last one does not fit there, and padding stands in its place */
            sent.push_back(std::to_string(sent.size()) + wide);
            ASSERT_EQ(pub.send(sent.back()), 0) << weir_last_error();
        } while (info().end_position / segment == sub.position() / segment);
        std::vector<weir_message> messages(sent.size() + 10);
        int count = 1;
        if (batch == 0) { /* one at a time */
            for (size_t i = 0; i + 1 < sent.size(); i++)
                ASSERT_EQ(sub.next(&messages[0]), 0);
            sent.erase(sent.begin(), sent.end() - 2);
        } else if (batch == 1) {
            count = weir_sub_next_batch(sub, messages.data(), messages.size(), 0);
            ASSERT_EQ(count, (int)sent.size() - 1) << "up to the padding";
        } else { /* exactly what is in front of the padding */
            count = weir_sub_next_batch(sub, messages.data(), sent.size() - 1, 0);
            ASSERT_EQ(count, (int)sent.size() - 1);
        }
        /* Every slot that may be reused is. */
        for (int i = 0; i < 5000; i++)
            ASSERT_EQ(pub.send("overwrites"), 0) << weir_last_error();
        for (int i = 0; i < count; i++)
            ASSERT_EQ(text_of(messages[i]), sent[i]) << "overwritten in place";
        EXPECT_EQ(sub.text(), "[EPIPE]") << "what came behind has been overwritten";
    }
}

TEST_P(ClientSubscribe, CopiesIntoTheCallersBuffer)
{
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    weir_header header = {"h", "value", 5};
    weir_message sent = message_of("twelve bytes", 7), seen = {};
    sent.key = "key";
    sent.key_bytes = 3;
    sent.headers = &header;
    sent.header_count = 1;
    ASSERT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), 0);
    ASSERT_EQ(pub.send("second"), 0);
    char buffer[64] = "untouched";
    for (size_t small : {(size_t)0, (size_t)1, (size_t)11}) {
        seen.data_bytes = 0;
        ASSERT_EQ(weir_sub_recv(sub, buffer, small, 0, &seen), -EMSGSIZE);
        EXPECT_EQ(seen.data_bytes, 12u);
        EXPECT_TRUE(told("12 bytes")) << weir_last_error();
        EXPECT_STREQ(buffer, "untouched");
        EXPECT_EQ(sub.position(), first_) << "it is still the next one";
    }
    ASSERT_EQ(weir_sub_recv(sub, buffer, 12, 0, &seen), 0) << weir_last_error();
    EXPECT_EQ(seen.data, buffer);
    EXPECT_EQ(text_of(seen), "twelve bytes");
    EXPECT_EQ(seen.tag, 7);
    EXPECT_EQ(std::string((const char *)seen.key, seen.key_bytes), "key");
    const void *value;
    size_t value_bytes;
    ASSERT_EQ(weir_message_header(&seen, "h", &value, &value_bytes), 0);
    EXPECT_EQ(std::string((const char *)value, value_bytes), "value");
    ASSERT_EQ(weir_sub_recv(sub, buffer, sizeof(buffer), 0, &seen), 0);
    EXPECT_EQ(text_of(seen), "second");
    EXPECT_EQ(weir_sub_recv(sub, buffer, sizeof(buffer), 0, &seen), -EAGAIN);
    EXPECT_EQ(weir_sub_recv(sub, buffer, sizeof(buffer), 1 * ms, &seen), -ETIMEDOUT);
}

TEST_P(ClientSubscribe, ForwardsWhatItReadAsItIs)
{
    /* A message that was read names its headers by reserved_headers, not by headers: sent on as it is, it must not take
     * the sender down. */
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    weir_header header = {"h", "value", 5};
    weir_message sent = message_of("payload", 7), seen;
    sent.headers = &header;
    sent.header_count = 1;
    ASSERT_EQ(weir_pub_send_message(pub, &sent, 0, nullptr), 0);
    ASSERT_EQ(sub.next(&seen), 0);
    EXPECT_EQ(weir_pub_send_message(pub, &seen, 0, nullptr), -EINVAL);
    EXPECT_TRUE(told("headers is NULL")) << weir_last_error();
    seen.header_count = 0;
    EXPECT_EQ(weir_pub_send_message(pub, &seen, 0, nullptr), 0) << weir_last_error();
    EXPECT_EQ(sub.text(), "payload");
}

/* -- cursors ------------------------------------------------------------------------------------------------------- */

TEST_P(ClientSubscribe, FindsItsPlaceAgainUnderACursorsName)
{
    Pub pub(bus_, "ring");
    publish(pub, 0, 100);
    {
        Sub sub(bus_, "ring", SubOptions().with_cursor("place").with_from(WEIR_POSITION_END));
        ASSERT_EQ(sub.error, 0) << weir_last_error();
        EXPECT_EQ(sub.text(), "[EAGAIN]") << "never saved: it begins where `from` says";
    }
    {
        Sub sub(bus_, "ring", SubOptions().with_cursor("place"));
        weir_message message;
        for (int i = 0; i < 70; i++)
            ASSERT_EQ(sub.next(&message), 0);
        ASSERT_EQ(weir_sub_save(sub, message.next), 0) << weir_last_error();
        ASSERT_EQ(sub.next(&message), 0);
    }
    for (int round = 0; round < 2; round++) {
        Sub sub(bus_, "ring", SubOptions().with_cursor("place").with_from(WEIR_POSITION_END));
        EXPECT_EQ(sub.text(), "70") << "closing does not save, and what was saved wins over `from`";
    }
    Sub other(bus_, "ring", SubOptions().with_cursor("other"));
    EXPECT_EQ(other.text(), "0");
    EXPECT_EQ(participants()[1].name, std::string("other"));
}

TEST_P(ClientSubscribe, FindsItsPlaceAgainAfterSigkill)
{
    Pub pub(bus_, "ring");
    publish(pub, 0, 300);
    int next = 0;
    for (int round = 0; round < 20; round++) {
        Child reader([&](const Line &line) {
            Sub sub(bus_, "ring", SubOptions().with_cursor("place"));
            ASSERT_EQ(sub.error, 0) << weir_last_error();
            for (weir_message message; sub.next(&message) == 0;) {
                line.say_number(atoi(text_of(message).c_str()));
                if (line.hear() != 's')
                    return;
                ASSERT_EQ(weir_sub_save(sub, message.next), 0) << weir_last_error();
            }
        });
        for (int i = 0; i < round; i++) {
            ASSERT_EQ(reader.line().hear_number(), next);
            reader.line().say('s');
            next++;
        }
        ASSERT_EQ(reader.line().hear_number(), next) << "by now the one before is saved";
        if (round % 2) {
            EXPECT_EQ(Sub(bus_, "ring", SubOptions().with_cursor("place")).error, -EBUSY);
            EXPECT_TRUE(told("cursor place of ring ring is held by a process that is alive")) << weir_last_error();
        }
        reader.kill_and_reap();
    }
    Sub sub(bus_, "ring", SubOptions().with_cursor("place"));
    EXPECT_EQ(sub.text(), std::to_string(next));
}

TEST_P(ClientSubscribe, SavesOnlyWhatCanBeAPositionAndOnlyUnderAName)
{
    Pub pub(bus_, "ring");
    publish(pub, 0, 3);
    uint64_t end = info().end_position;
    Sub nameless(bus_, "ring");
    EXPECT_EQ(weir_sub_save(nameless, end), -EPERM);
    EXPECT_TRUE(told("weir_sub_options.cursor")) << weir_last_error();
    Sub sub(bus_, "ring", SubOptions().with_cursor("place"));
    for (uint64_t bad : {end + 64, first_ + 1, WEIR_POSITION_START, WEIR_POSITION_END})
        EXPECT_EQ(weir_sub_save(sub, bad), -EINVAL) << bad;
    EXPECT_EQ(weir_sub_save(sub, first_ + 64), 0) << weir_last_error();
    EXPECT_EQ(weir_sub_save(sub, end), 0) << weir_last_error();
    EXPECT_EQ(weir_sub_save(sub, first_), 0) << "backwards, too: " << weir_last_error();
    EXPECT_EQ(weir_sub_save(sub, first_ + 128), 0) << weir_last_error();
    sub.close();
    EXPECT_EQ(Sub(bus_, "ring", SubOptions().with_cursor("place")).text(), "2");
    for (const char *name : {"", ".c", "a b"})
        EXPECT_EQ(Sub(bus_, "ring", SubOptions().with_cursor(name)).error, -EILSEQ) << name;
    EXPECT_TRUE(told("cursor name")) << weir_last_error();
    for (int i = 1; i < 64; i++)
        ASSERT_EQ(Sub(bus_, "ring", SubOptions().with_cursor(("c" + std::to_string(i)).c_str())).error, 0);
    EXPECT_EQ(Sub(bus_, "ring", SubOptions().with_cursor("one-too-many")).error, -ENOSPC);
    EXPECT_TRUE(told("keeps 64 cursors")) << weir_last_error();
}

/* Where a reader stands need not be where a record stands: claims that were cancelled lie between, and padding. */
TEST_P(ClientSubscribe, FindsAPlaceThatWasSavedBetweenCancelledClaims)
{
    Pub pub(bus_, "ring");
    void *data = nullptr;
    auto cancel = [&](size_t bytes) {
        ASSERT_EQ(weir_pub_claim(pub, bytes, nullptr, 0, &data), 0) << weir_last_error();
        ASSERT_EQ(weir_pub_cancel(pub), 0);
    };
    for (size_t first : {(size_t)10, (size_t)1000}) {
        for (size_t second : {(size_t)10, (size_t)1000, (size_t)4000}) {
            publish(pub, 0, 1);
            Sub sub(bus_, "ring", SubOptions().with_cursor("place").with_from(WEIR_POSITION_END));
            ASSERT_EQ(weir_sub_seek(sub, WEIR_POSITION_END), 0);
            cancel(first);
            ASSERT_EQ(sub.text(), "[EAGAIN]") << "now it stands behind what was cancelled";
            ASSERT_EQ(weir_sub_save(sub, sub.position()), 0) << weir_last_error();
            sub.close();
            cancel(second);
            Sub again(bus_, "ring", SubOptions().with_cursor("place"));
            ASSERT_EQ(again.error, 0) << weir_last_error();
            EXPECT_EQ(again.text(), "[EAGAIN]");
            publish(pub, 5, 6);
            EXPECT_EQ(again.text(), "5");
            again.close();
            EXPECT_EQ(Sub(bus_, "ring", SubOptions().with_cursor("place")).text(), "5");
        }
    }
}

} // namespace
