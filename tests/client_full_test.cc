/* SPDX-License-Identifier: Apache-2.0 */
/* A full ring: publishers wait, are refused, or take the oldest; and every record that is not there is told. */
// test: LINKS weir_client

#include "tests/support/client_support.hh"

#include <sys/time.h>

namespace
{

class ClientFull : public ClientTest
{
protected:
    /* Publishes numbers from `from` on until the ring takes no more: returns the first number that did not go in. */
    static int fill(const Pub &pub, int from = 0, int expected = -EAGAIN)
    {
        for (int i = from; i < 1000000; i++) {
            int r = pub.send(std::to_string(i));
            if (r < 0) {
                EXPECT_EQ(r, expected) << weir_last_error();
                return i;
            }
        }
        ADD_FAILURE() << "it takes everything";
        return 0;
    }
    static void expect_numbers(const Sub &sub, int from, int to)
    {
        for (int i = from; i < to; i++)
            ASSERT_EQ(sub.text(), std::to_string(i));
    }
};

/* -- block --------------------------------------------------------------------------------------------------------- */

TEST_F(ClientFull, JournaledRingThatNobodyDrainsSaysSo)
{
    for (int exclusive : {0, 1}) {
        SCOPED_TRACE(exclusive);
        std::string name = "ring" + std::to_string(exclusive);
        ASSERT_EQ(create(RingOptions().with_exclusive(exclusive).with_journal(), name.c_str()), 0);
        Pub pub(bus_, name.c_str());
        Sub sub(bus_, name.c_str());
        int count = fill(pub);
        EXPECT_TRUE(told(name) && told("full and nobody drains it: start weird")) << weir_last_error();
        EXPECT_GE((uint64_t)count * 64, info(name.c_str()).memory_limit_bytes) << "the limit was promised";
        uint64_t position = 4711;
        EXPECT_EQ(pub.send("x", 20 * ms, &position), -ETIMEDOUT);
        EXPECT_TRUE(told("full and nobody drains it: start weird")) << weir_last_error();
        weir_message message = message_of("x");
        EXPECT_EQ(weir_pub_send_message(pub, &message, 0, &position), -EAGAIN);
        EXPECT_EQ(weir_pub_send_batch(pub, &message, 1, 1 * ms, &position), -ETIMEDOUT);
        void *data = nullptr;
        EXPECT_EQ(weir_pub_claim(pub, 1, nullptr, 0, &data), -EAGAIN);
        EXPECT_EQ(weir_pub_claim(pub, 1, nullptr, 1 * ms, &data), -ETIMEDOUT);
        EXPECT_EQ(data, nullptr);
        EXPECT_EQ(position, 4711u);
        EXPECT_EQ(info(name.c_str()).refused_count, 0u) << "that is for drop-new";
        expect_numbers(sub, 0, count);
        EXPECT_EQ(sub.text(), "[EAGAIN]");
        EXPECT_EQ(faults(name.c_str()), std::vector<std::string>());
    }
}

TEST_F(ClientFull, ReadersOfAJournaledRingNeverHoldUpItsPublisher)
{
    /* Three readers that sit still: at the start, in the middle, stopped. Without them as many records fit. */
    ASSERT_EQ(create(RingOptions().with_journal().with_users(1, 3), "alone"), 0);
    ASSERT_EQ(create(RingOptions().with_journal().with_users(1, 3)), 0);
    int most = fill(Pub(bus_, "alone"));
    Pub pub(bus_, "ring");
    Sub still(bus_, "ring");
    Sub slow(bus_, "ring");
    Child stopped([&](const Line &line) {
        Sub sub(bus_, "ring");
        line.say(sub.text() == "[EAGAIN]" ? 'r' : 'x');
        line.hear();
    });
    ASSERT_EQ(stopped.line().hear(), 'r');
    stopped.stop();
    int half = most / 2;
    for (int i = 0; i < half; i++)
        ASSERT_EQ(pub.send(std::to_string(i)), 0);
    expect_numbers(slow, 0, half);
    EXPECT_EQ(fill(pub, half), most);
}

TEST_F(ClientFull, GatesAreForMemoryRingsThatKeepWhatIsOld)
{
    ASSERT_EQ(create(RingOptions().with_journal(), "journaled"), 0) << weir_last_error();
    ASSERT_EQ(create(RingOptions().with_policy(WEIR_DROP_OLD), "telemetry"), 0) << weir_last_error();
    EXPECT_EQ(Sub(bus_, "journaled", SubOptions().with_gate()).error, -EINVAL);
    EXPECT_TRUE(told("journaled") && told("hold up its publishers")) << weir_last_error();
    EXPECT_EQ(Sub(bus_, "telemetry", SubOptions().with_gate()).error, -EINVAL);
    EXPECT_TRUE(told("drops what is old") && told("hold up its publishers")) << weir_last_error();
    EXPECT_EQ(info("journaled").reader_count, 0u);
}

TEST_F(ClientFull, GatingReaderHoldsUpThePublisherUntilItReadsOn)
{
    for (int exclusive : {0, 1}) {
        SCOPED_TRACE(exclusive);
        std::string name = "ring" + std::to_string(exclusive);
        ASSERT_EQ(create(RingOptions().with_exclusive(exclusive), name.c_str()), 0);
        Pub pub(bus_, name.c_str());
        Sub gate(bus_, name.c_str(), SubOptions().with_gate());
        int sent = fill(pub);
        EXPECT_TRUE(told("full: a gating reader has not taken")) << weir_last_error();
        EXPECT_EQ(pub.send("x", 1 * ms), -ETIMEDOUT);
        EXPECT_TRUE(told("full: a gating reader has not taken")) << weir_last_error();
        EXPECT_GE((uint64_t)sent * 64, info(name.c_str()).memory_limit_bytes);
        int read = 0;
        for (int round = 0; round < 50; round++) {
            expect_numbers(gate, read, read + 64);
            read += 64;
            ASSERT_EQ(gate.text(), std::to_string(read)) << "now it stands in the next segment";
            read++;
            int more = fill(pub, sent);
            EXPECT_GT(more, sent);
            EXPECT_LE(more - read, (int)(info(name.c_str()).slot_count * 64)) << "nothing was overwritten";
            sent = more;
        }
        expect_numbers(gate, read, sent);
        EXPECT_EQ(gate.text(), "[EAGAIN]");
    }
}

TEST_F(ClientFull, WaitingPublisherIsWokenWhenTheGatingReaderReadsOn)
{
    ASSERT_EQ(create(RingOptions()), 0) << weir_last_error();
    Sub gate(bus_, "ring", SubOptions().with_gate());
    ASSERT_EQ(gate.error, 0) << weir_last_error();
    constexpr int all = 20000;
    Child publisher([&](const Line &line) {
        Pub pub(bus_, "ring");
        for (int i = 0; i < all; i++)
            ASSERT_EQ(pub.send(std::to_string(i), WEIR_FOREVER), 0) << weir_last_error();
        line.say('d');
    });
    ASSERT_TRUE(publisher.wait_until_asleep());
    EXPECT_GT(participant_of(publisher.pid()).waiting_since_ns, info().created_ns);
    for (int i = 0; i < all; i++) {
        weir_message message;
        ASSERT_EQ(gate.next(&message, 10 * s), 0) << weir_last_error();
        ASSERT_EQ(text_of(message), std::to_string(i));
    }
    EXPECT_EQ(publisher.line().hear(), 'd');
    EXPECT_EQ(publisher.result(), 0);
    EXPECT_EQ(gate.text(), "[EAGAIN]");
}

/* What ends a gate wakes the publisher that waits for it. */
class ClientGate : public ClientFull
{
protected:
    void SetUp() override
    {
        ClientFull::SetUp();
        ASSERT_EQ(create(RingOptions()), 0) << weir_last_error();
    }
    /* A publisher that has filled the ring and sleeps; it says 'w' when it got on. */
    std::unique_ptr<Child> waiting_publisher() const
    {
        auto publisher = std::make_unique<Child>([this](const Line &line) {
            Pub pub(bus_, "ring");
            fill(pub);
            line.say('f');
            ASSERT_EQ(pub.send("waited for", WEIR_FOREVER), 0) << weir_last_error();
            line.say('w');
            line.hear();
        });
        EXPECT_EQ(publisher->line().hear(), 'f');
        EXPECT_TRUE(publisher->wait_until_asleep());
        EXPECT_FALSE(publisher->line().has_news());
        return publisher;
    }
};

TEST_F(ClientGate, GoesWhenTheReaderCloses)
{
    Sub gate(bus_, "ring", SubOptions().with_gate());
    auto publisher = waiting_publisher();
    gate.close();
    EXPECT_EQ(publisher->line().hear(), 'w');
}

TEST_F(ClientGate, GoesWhenTheReaderIsKilled)
{
    Child reader([&](const Line &line) {
        Sub gate(bus_, "ring", SubOptions().with_gate());
        line.say('r');
        line.hear();
    });
    ASSERT_EQ(reader.line().hear(), 'r');
    auto publisher = waiting_publisher();
    reader.stop();
    EXPECT_FALSE(publisher->line().has_news(100)) << "a stopped reader is alive, and gates";
    reader.kill_and_reap();
    EXPECT_EQ(publisher->line().hear(), 'w');
}

TEST_F(ClientGate, MovesWhenTheReaderSeeks)
{
    Sub gate(bus_, "ring", SubOptions().with_gate());
    auto publisher = waiting_publisher();
    ASSERT_EQ(weir_sub_seek(gate, WEIR_POSITION_END), 0) << weir_last_error();
    EXPECT_EQ(publisher->line().hear(), 'w');
    EXPECT_EQ(gate.text(), "waited for");
}

TEST_F(ClientGate, StaysWhereItIsWhenASeekIsRefused)
{
    Sub gate(bus_, "ring", SubOptions().with_gate());
    Pub pub(bus_, "ring");
    int count = fill(pub);
    uint64_t end = info().end_position;
    EXPECT_EQ(weir_sub_seek(gate, end - 32), -EINVAL);
    EXPECT_EQ(weir_sub_seek(gate, end + 64), -EINVAL);
    EXPECT_EQ(pub.send("x"), -EAGAIN);
    expect_numbers(gate, 0, count);
}

TEST_F(ClientGate, IsNotMovedByLookingForABadPosition)
{
    /* While it looks whether a record starts there, in another segment, its own must not be given away. A record of
     * two units makes the middle one a bad position. */
    Sub gate(bus_, "ring", SubOptions().with_gate());
    Pub filler(bus_, "ring");
    ASSERT_EQ(filler.send("first"), 0);
    std::string wide(100, 'w');
    uint64_t last = 0;
    while (filler.send(wide, 0, &last) == 0) {
    }
    filler.close();
    Child publisher([&](const Line &line) {
        Pub pub(bus_, "ring");
        line.say('r');
        while (pub.send(wide, 0) == -EAGAIN && !line.has_news()) {
        }
    });
    ASSERT_EQ(publisher.line().hear(), 'r');
    for (int i = 0; i < 20000; i++)
        ASSERT_EQ(weir_sub_seek(gate, last + 64), -EINVAL) << weir_last_error();
    publisher.line().say('e');
    EXPECT_EQ(publisher.result(), 0);
    EXPECT_EQ(gate.text(), "first");
    EXPECT_EQ(gate.text(), wide);
}

TEST_F(ClientFull, OneWhoDoesNotGateIsOvertakenAndToldSo)
{
    ASSERT_EQ(create(RingOptions()), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    ASSERT_EQ(sub.text(), "[EAGAIN]");
    for (int i = 0; i < 5000; i++)
        ASSERT_EQ(pub.send(std::to_string(i)), 0) << weir_last_error();
    /* It announces the first segment, so that one is still there; then comes the gap. */
    expect_numbers(sub, 0, 64);
    weir_message message;
    ASSERT_EQ(sub.next(&message), -EPIPE);
    weir_gap gap = sub.gap();
    EXPECT_EQ(gap.from, 4096u);
    EXPECT_EQ(gap.reason, WEIR_GAP_OVERWRITTEN);
    EXPECT_TRUE(told("from position 4096 to " + std::to_string(gap.to))) << weir_last_error();
    EXPECT_EQ(sub.position(), gap.to);
    expect_numbers(sub, (int)(gap.to / 64), 5000);
    EXPECT_EQ(sub.text(), "[EAGAIN]");
}

/* -- drop-new ------------------------------------------------------------------------------------------------------ */

TEST_F(ClientFull, DropNewRefusesAtOnceAndCounts)
{
    for (int journaled : {0, 1}) {
        SCOPED_TRACE(journaled);
        std::string name = "ring" + std::to_string(journaled);
        ASSERT_EQ(
            create(RingOptions().with_journal(journaled).with_policy(WEIR_DROP_NEW).with_users(2, 2), name.c_str()), 0);
        Pub pub(bus_, name.c_str(), "source");
        Pub nameless(bus_, name.c_str());
        Sub sub(bus_, name.c_str(), journaled ? SubOptions() : SubOptions().with_gate());
        ASSERT_EQ(pub.error | nameless.error | sub.error, 0) << weir_last_error();
        int sent = fill(pub);
        EXPECT_TRUE(told("full and drops what is new")) << weir_last_error();
        EXPECT_EQ(info(name.c_str()).refused_count, 1u);
        EXPECT_EQ(pub.send("x", WEIR_FOREVER), -EAGAIN) << "it never waits";
        weir_message message = sequenced("x", 1000000);
        EXPECT_EQ(weir_pub_send_message(pub, &message, 1 * s, nullptr), -EAGAIN);
        EXPECT_EQ(pub.last_sequence(), (uint64_t)sent) << "a refused sequence may come again";
        EXPECT_EQ(nameless.send("x"), -EAGAIN);

        RingInfo now = info(name.c_str());
        EXPECT_EQ(now.refused_count, 4u);
        EXPECT_GT(now.refused_last_ns, now.created_ns);
        std::vector<weir_participant> all = participants(name.c_str());
        ASSERT_EQ(all.size(), 3u);
        EXPECT_EQ(all[0].refused_count, 3u);
        EXPECT_EQ(all[0].refused_sequence, 1000000u);
        EXPECT_GT(all[0].refused_last_ns, now.created_ns);
        EXPECT_LE(all[0].refused_last_ns, now.refused_last_ns);
        EXPECT_EQ(all[1].refused_count, 1u);
        EXPECT_EQ(all[1].refused_sequence, 0u);
        EXPECT_EQ(all[1].refused_last_ns, now.refused_last_ns);
        expect_numbers(sub, 0, sent);
        EXPECT_EQ(sub.text(), "[EAGAIN]");
        if (journaled)
            continue;
        EXPECT_EQ(weir_pub_send_message(pub, &message, 0, nullptr), 0) << "there is room now";
        EXPECT_EQ(pub.last_sequence(), 1000000u);
        EXPECT_EQ(info(name.c_str()).refused_count, 4u);
    }
}

/* -- drop-old ------------------------------------------------------------------------------------------------------ */

TEST_F(ClientFull, DropOldTellsEachGapExactly)
{
    for (int exclusive : {0, 1}) {
        SCOPED_TRACE(exclusive);
        std::string name = "ring" + std::to_string(exclusive);
        RingOptions options = RingOptions().with_exclusive(exclusive).with_policy(WEIR_DROP_OLD);
        ASSERT_EQ(create(options.with_first(UINT64_C(1) << 32), name.c_str()), 0);
        Pub pub(bus_, name.c_str());
        Sub sub(bus_, name.c_str());
        std::map<uint64_t, std::string> sent;
        uint64_t expected = UINT64_C(1) << 32, read = 0, missing = 0, gaps = 0;
        unsigned random = 1;
        for (int round = 0; round < 60; round++) {
            int burst = round % 3 == 0 ? 2000 : 30;
            for (int i = 0; i < burst; i++) {
                random = random * 1103515245 + 12345;
                std::string text = std::to_string(i) + std::string(random >> 16 & 255, 'x');
                uint64_t position;
                ASSERT_EQ(pub.send(text, 0, &position), 0) << weir_last_error();
                sent[position] = text;
            }
            for (int i = 0; i < 100; i++) {
                weir_message message;
                int r = sub.next(&message);
                if (r == -EAGAIN)
                    break;
                if (r == -EPIPE) {
                    weir_gap gap = sub.gap();
                    EXPECT_EQ(gap.reason, WEIR_GAP_OVERWRITTEN);
                    ASSERT_EQ(sent.lower_bound(expected), sent.lower_bound(gap.from)) << "nothing stood before the gap";
                    EXPECT_GT(gap.to, gap.from);
                    auto behind = sent.lower_bound(gap.to);
                    missing += (uint64_t)std::distance(sent.lower_bound(gap.from), behind);
                    expected = gap.to;
                    gaps++;
                    continue;
                }
                ASSERT_EQ(r, 0) << weir_last_error();
                auto it = sent.lower_bound(expected);
                ASSERT_NE(it, sent.end());
                ASSERT_EQ(message.position, it->first) << "a record was left out and no gap told";
                ASSERT_EQ(text_of(message), it->second);
                expected = message.next;
                read++;
            }
        }
        for (weir_message message; sub.next(&message) != -EAGAIN;) {
            ASSERT_EQ(text_of(message), sent[message.position]);
            read++;
        }
        EXPECT_EQ(read + missing, sent.size());
        EXPECT_GT(gaps, 10u);
        EXPECT_GT(missing, 1000u);
        EXPECT_EQ(faults(name.c_str()), std::vector<std::string>());
    }
}

TEST_F(ClientFull, DropOldNeverMakesAPublisherWait)
{
    ASSERT_EQ(create(RingOptions().with_policy(WEIR_DROP_OLD)), 0) << weir_last_error();
    Child stopped([&](const Line &line) {
        Sub sub(bus_, "ring");
        weir_message message;
        line.say(sub.next(&message, WEIR_FOREVER) == 0 ? 'r' : 'x');
        line.hear();
        EXPECT_EQ(text_of(message), "in place") << "what it looks at stays";
    });
    Pub pub(bus_, "ring");
    ASSERT_EQ(pub.send("in place"), 0);
    ASSERT_EQ(stopped.line().hear(), 'r');
    stopped.stop();
    for (int i = 0; i < 20000; i++)
        ASSERT_EQ(pub.send(std::to_string(i)), 0) << weir_last_error();
    stopped.line().say('c');
    stopped.go_on();
    EXPECT_EQ(stopped.result(), 0);
}

TEST_F(ClientFull, DropOldGapsAreToldInBatchesAndCopiesToo)
{
    ASSERT_EQ(create(RingOptions().with_policy(WEIR_DROP_OLD)), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    Sub batch(bus_, "ring"), copy(bus_, "ring");
    for (int i = 0; i < 3000; i++)
        ASSERT_EQ(pub.send(std::to_string(i)), 0) << weir_last_error();
    std::vector<weir_message> messages(10);
    uint64_t from = 0, read = 0, missing = 0;
    for (int r; (r = weir_sub_next_batch(batch, messages.data(), 10, 0)) != -EAGAIN;) {
        if (r == -EPIPE) {
            EXPECT_EQ(batch.gap().from, from);
            missing += (batch.gap().to - from) / 64;
            from = batch.gap().to;
            continue;
        }
        ASSERT_GT(r, 0) << weir_last_error();
        for (int i = 0; i < r; i++) {
            ASSERT_EQ(text_of(messages[i]), std::to_string(from / 64));
            from = messages[i].next;
            read++;
        }
    }
    EXPECT_EQ(read + missing, 3000u);
    EXPECT_GT(missing, 1000u);
    char buffer[16];
    from = read = missing = 0;
    for (int r; (r = weir_sub_recv(copy, buffer, sizeof(buffer), 0, messages.data())) != -EAGAIN;) {
        if (r == -EPIPE) {
            EXPECT_EQ(copy.gap().from, from);
            missing += (copy.gap().to - from) / 64;
            from = copy.gap().to;
            continue;
        }
        ASSERT_EQ(r, 0) << weir_last_error();
        ASSERT_EQ(text_of(messages[0]), std::to_string(from / 64));
        ASSERT_EQ(messages[0].data, buffer);
        from = messages[0].next;
        read++;
    }
    EXPECT_EQ(read + missing, 3000u);
    EXPECT_GT(missing, 1000u);
}

TEST_F(ClientFull, NewReaderBeginsWithTheOldestThatIsThereWithoutAGap)
{
    ASSERT_EQ(create(RingOptions().with_policy(WEIR_DROP_OLD)), 0) << weir_last_error();
    Child publisher([&](const Line &line) {
        Pub pub(bus_, "ring");
        for (int i = 0; i < 1000; i++)
            ASSERT_EQ(pub.send(std::to_string(i)), 0);
        line.say('r');
        for (int i = 1000; !line.has_news(); i++)
            for (int k = 0; k < 100; k++)
                ASSERT_EQ(pub.send(std::to_string(i)), 0);
    });
    ASSERT_EQ(publisher.line().hear(), 'r');
    for (int i = 0; i < 3000; i++) {
        Sub sub(bus_, "ring");
        ASSERT_EQ(sub.error, 0) << weir_last_error();
        weir_message message;
        ASSERT_EQ(sub.next(&message, 10 * s), 0) << i << ": " << weir_last_error();
    }
    publisher.line().say('e');
    EXPECT_EQ(publisher.result(), 0);
}

} // namespace
