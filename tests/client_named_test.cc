/* SPDX-License-Identifier: Apache-2.0 */
/* Publishers that have a name go on after a crash where they stopped; exclusive rings are handed over after a death. */
// test: LINKS weir_client TIMEOUT 120

#include "tests/support/client_support.hh"

#include "ringbuf/access.h"

namespace
{

class ClientNamed : public ClientTest, public testing::WithParamInterface<int>
{
protected:
    static RingOptions options()
    {
        return RingOptions().with_exclusive(GetParam()).with_users(3, 2);
    }
    void SetUp() override
    {
        ClientTest::SetUp();
        ASSERT_EQ(create(options()), 0) << weir_last_error();
    }
    void TearDown() override
    {
        EXPECT_EQ(faults(), std::vector<std::string>());
        ClientTest::TearDown();
    }
    /* Reads what is there: sequences from `*next` on, each once, each with the text of its sequence. */
    static void read_on(const Sub &sub, uint64_t *next, const char *name = "source")
    {
        weir_message message;
        int r;
        while ((r = sub.next(&message)) == 0) {
            ASSERT_EQ(message.has & WEIR_HAS_SEQUENCE, WEIR_HAS_SEQUENCE);
            ASSERT_EQ(message.publisher_hash, weir_publisher_hash(name));
            ASSERT_EQ(message.sequence, *next);
            ASSERT_EQ(text_of(message).substr(0, text_of(message).find(' ')), std::to_string(*next));
            ++*next;
        }
        ASSERT_EQ(r, -EAGAIN) << weir_last_error();
    }
};

INSTANTIATE_TEST_SUITE_P(On, ClientNamed, testing::Values(0, 1), [](const testing::TestParamInfo<int> &info) {
    return std::string(info.param ? "ExclusiveRing" : "SharedRing");
});

/* -- sequences ----------------------------------------------------------------------------------------------------- */

TEST_P(ClientNamed, CountsWhatItPublishes)
{
    Pub pub(bus_, "ring", "source");
    Sub sub(bus_, "ring");
    ASSERT_EQ(pub.error, 0) << weir_last_error();
    EXPECT_EQ(pub.last_sequence(), 0u);
    ASSERT_EQ(pub.send("1"), 0);
    EXPECT_EQ(pub.last_sequence(), 1u);
    weir_message message = message_of("2");
    ASSERT_EQ(weir_pub_send_message(pub, &message, 0, nullptr), 0);
    void *data = nullptr;
    ASSERT_EQ(weir_pub_claim(pub, 1, nullptr, 0, &data), 0);
    EXPECT_EQ(pub.last_sequence(), 2u);
    memcpy(data, "x", 1);
    ASSERT_EQ(weir_pub_cancel(pub), 0);
    EXPECT_EQ(pub.last_sequence(), 2u) << "what was cancelled is not counted";
    ASSERT_EQ(weir_pub_claim(pub, 1, nullptr, 0, &data), 0);
    memcpy(data, "3", 1);
    ASSERT_EQ(weir_pub_commit(pub, 1, nullptr), 0);
    weir_message batch[] = {message_of("4"), message_of("5"), message_of("6")};
    ASSERT_EQ(weir_pub_send_batch(pub, batch, 3, 0, nullptr), 0);
    EXPECT_EQ(pub.last_sequence(), 6u);
    uint64_t next = 1;
    read_on(sub, &next);
    EXPECT_EQ(next, 7u);
}

TEST_P(ClientNamed, TakesItsOwnSequencesAndRefusesOlderOnes)
{
    Pub pub(bus_, "ring", "source");
    Sub sub(bus_, "ring");
    auto send = [&](uint64_t sequence) {
        weir_message message = sequenced("x", sequence);
        uint64_t position = 4711;
        int r = weir_pub_send_message(pub, &message, 0, &position);
        EXPECT_EQ(position == 4711, r < 0);
        return r;
    };
    EXPECT_EQ(send(0), -EALREADY) << "0 says: none yet";
    EXPECT_EQ(send(10), 0);
    for (uint64_t sequence : {10u, 9u, 1u, 0u}) {
        EXPECT_EQ(send(sequence), -EALREADY);
        EXPECT_TRUE(told("sequence " + std::to_string(sequence)) && told("the last one is 10")) << weir_last_error();
    }
    EXPECT_EQ(send(11), 0);
    EXPECT_EQ(send(1000), 0);
    EXPECT_EQ(pub.send("x"), 0) << "without one of its own it counts on";
    EXPECT_EQ(pub.last_sequence(), 1001u);
    EXPECT_EQ(send(UINT64_MAX - 1), 0);
    EXPECT_EQ(send(UINT64_MAX), 0);
    EXPECT_EQ(pub.send("x"), -EALREADY) << "there is none behind that";
    weir_message message;
    for (uint64_t sequence : {UINT64_C(10), UINT64_C(11), UINT64_C(1000), UINT64_C(1001), UINT64_MAX - 1, UINT64_MAX}) {
        ASSERT_EQ(sub.next(&message), 0);
        EXPECT_EQ(message.sequence, sequence);
    }
    EXPECT_EQ(sub.text(), "[EAGAIN]") << "what was refused is not there";
}

TEST_P(ClientNamed, RefusesAWholeBatchForOneOldSequence)
{
    Pub pub(bus_, "ring", "source");
    Sub sub(bus_, "ring");
    weir_message rising[] = {sequenced("5", 5), message_of("6"), sequenced("8", 8)};
    ASSERT_EQ(weir_pub_send_batch(pub, rising, 3, 0, nullptr), 0) << weir_last_error();
    EXPECT_EQ(pub.last_sequence(), 8u);
    weir_message old[] = {sequenced("9", 9), sequenced("8", 8)};
    EXPECT_EQ(weir_pub_send_batch(pub, old, 2, 0, nullptr), -EALREADY);
    weir_message twice[] = {sequenced("10", 10), sequenced("10", 10)};
    EXPECT_EQ(weir_pub_send_batch(pub, twice, 2, 0, nullptr), -EALREADY);
    weir_message behind[] = {sequenced("10", 10), message_of("11"), sequenced("11", 11)};
    EXPECT_EQ(weir_pub_send_batch(pub, behind, 3, 0, nullptr), -EALREADY);
    EXPECT_EQ(pub.last_sequence(), 8u);
    weir_message message;
    for (uint64_t sequence : {5u, 6u, 8u}) {
        ASSERT_EQ(sub.next(&message), 0);
        EXPECT_EQ(message.sequence, sequence);
    }
    EXPECT_EQ(sub.text(), "[EAGAIN]");
}

TEST_P(ClientNamed, UsesUpNoSequenceWhenTheRingIsFull)
{
    Pub pub(bus_, "ring", "source");
    Sub gate(bus_, "ring", SubOptions().with_gate());
    int r;
    uint64_t last = 0;
    while ((r = pub.send(std::to_string(last + 1))) == 0)
        last++;
    ASSERT_EQ(r, -EAGAIN);
    EXPECT_EQ(pub.send("x", 1 * ms), -ETIMEDOUT);
    EXPECT_EQ(pub.last_sequence(), last);
    uint64_t next = 1;
    read_on(gate, &next);
    EXPECT_EQ(next, last + 1);
    ASSERT_EQ(pub.send(std::to_string(last + 1)), 0);
    read_on(gate, &next);
    EXPECT_EQ(next, last + 2);
}

TEST_P(ClientNamed, WithoutANameHasNoSequence)
{
    Pub pub(bus_, "ring");
    uint64_t sequence = 4711;
    EXPECT_EQ(weir_pub_last_sequence(pub, &sequence), -EPERM);
    EXPECT_TRUE(told("no name")) << weir_last_error();
    EXPECT_EQ(sequence, 4711u);
}

/* -- names --------------------------------------------------------------------------------------------------------- */

TEST_P(ClientNamed, IsRefusedABadName)
{
    std::string longest(64, 'n'), too_long(65, 'n');
    for (const char *name : {"", ".n", "a b", "a/b"}) {
        EXPECT_EQ(Pub(bus_, "ring", name).error, -EILSEQ) << name;
        EXPECT_TRUE(told("publisher name")) << weir_last_error();
    }
    EXPECT_EQ(Pub(bus_, "ring", too_long.c_str()).error, -ENAMETOOLONG);
    EXPECT_EQ(Pub(bus_, "ring", longest.c_str()).error, 0) << weir_last_error();
    EXPECT_EQ(info().publisher_count, 0u) << "who is refused holds nothing";
    for (int i = 1; i < 64; i++)
        ASSERT_EQ(Pub(bus_, "ring", ("name" + std::to_string(i)).c_str()).error, 0) << weir_last_error();
    EXPECT_EQ(Pub(bus_, "ring", "one-too-many").error, -ENOSPC);
    EXPECT_TRUE(told("remembers 64 names of publishers") && told("one-too-many")) << weir_last_error();
    EXPECT_EQ(Pub(bus_, "ring", "name63").error, 0) << "those that are known still come";
    EXPECT_EQ(info().publisher_count, 0u);
}

TEST_P(ClientNamed, RemembersItsSequenceWhenItComesBack)
{
    Sub sub(bus_, "ring");
    uint64_t next = 1;
    for (int round = 0; round < 5; round++) {
        Pub pub(bus_, "ring", "source");
        EXPECT_EQ(pub.last_sequence(), next - 1);
        for (int i = 0; i < 3; i++)
            ASSERT_EQ(pub.send(std::to_string(pub.last_sequence() + 1)), 0);
        read_on(sub, &next);
    }
    EXPECT_EQ(next, 16u);
    Pub other(bus_, "ring", "another");
    EXPECT_EQ(other.last_sequence(), 0u) << "each name counts for itself";
}

TEST_P(ClientNamed, HoldsItsNameAsLongAsItLives)
{
    Child child([&](const Line &line) {
        Pub pub(bus_, "ring", "source");
        ASSERT_EQ(pub.error, 0) << weir_last_error();
        weir_message message = sequenced("x", 41);
        ASSERT_EQ(weir_pub_send_message(pub, &message, 0, nullptr), 0);
        line.say('r');
        line.hear();
    });
    ASSERT_EQ(child.line().hear(), 'r');
    for (int stopped : {0, 1}) {
        if (stopped)
            child.stop();
        EXPECT_EQ(Pub(bus_, "ring", "source").error, -EBUSY);
        if (GetParam())
            EXPECT_TRUE(told("ring ring is exclusive and its publisher is alive")) << weir_last_error();
        else
            EXPECT_TRUE(told("publisher name source of ring ring is held by a process that is alive"));
    }
    if (!GetParam()) {
        EXPECT_EQ(Pub(bus_, "ring", "another").error, 0) << "other names are free: " << weir_last_error();
        Pub here(bus_, "ring", "here");
        EXPECT_EQ(Pub(bus_, "ring", "here").error, -EBUSY) << "held in this process";
    }
    child.kill_and_reap();
    Pub heir(bus_, "ring", "source");
    ASSERT_EQ(heir.error, 0) << weir_last_error();
    EXPECT_EQ(heir.last_sequence(), 41u);
}

/* -- death --------------------------------------------------------------------------------------------------------- */

TEST_P(ClientNamed, ResumesAfterSigkillWithEachMessageOnce)
{
    Sub gate(bus_, "ring", SubOptions().with_gate());
    uint64_t next = 1;
    unsigned random = 7;
    for (int round = 0; round < 150; round++) {
        Child publisher([&](const Line &line) {
            Pub pub(bus_, "ring", "source");
            ASSERT_EQ(pub.error, 0) << weir_last_error();
            line.say('r');
            for (uint64_t sequence = pub.last_sequence() + 1;; sequence++) {
                std::string text = std::to_string(sequence) + " " + std::string(sequence * 7 % 300, 'x');
                if (sequence % 3 == 0) {
                    weir_message message = sequenced(text, sequence);
                    ASSERT_EQ(weir_pub_send_message(pub, &message, WEIR_FOREVER, nullptr), 0) << weir_last_error();
                } else if (sequence % 3 == 1) {
                    ASSERT_EQ(pub.send(text, WEIR_FOREVER), 0) << weir_last_error();
                } else {
                    std::string second = std::to_string(sequence + 1) + " second of a batch";
                    weir_message batch[] = {message_of(text), message_of(second)};
                    ASSERT_EQ(weir_pub_send_batch(pub, batch, 2, WEIR_FOREVER, nullptr), 0) << weir_last_error();
                    sequence++;
                }
            }
        });
        ASSERT_EQ(publisher.line().hear(), 'r');
        random = random * 1103515245 + 12345;
        uint64_t enough = next + (random >> 16) % 60;
        while (next < enough && !HasFatalFailure())
            read_on(gate, &next);
        publisher.kill_and_reap();
        ASSERT_NO_FATAL_FAILURE(read_on(gate, &next));
        Pub heir(bus_, "ring", "source");
        ASSERT_EQ(heir.error, 0) << weir_last_error();
        ASSERT_EQ(heir.last_sequence(), next - 1) << "in round " << round;
        weir_message again = sequenced("again", next - 1);
        EXPECT_EQ(weir_pub_send_message(heir, &again, 0, nullptr), -EALREADY);
        ASSERT_NO_FATAL_FAILURE(read_on(gate, &next));
    }
}

/* Counts stores to shared memory down and dies before the one that reaches 0. */
int64_t stores_left;
void die_at_store(struct mem_site *)
{
    if (--stores_left == 0)
        kill(getpid(), SIGKILL);
}

TEST_P(ClientNamed, ResumesRightWhicheverStoreWasItsLast)
{
    Sub gate(bus_, "ring", SubOptions().with_gate());
    uint64_t next = 1;
    int deaths = 0;
    for (int64_t last_store = 1;; last_store++) {
        SCOPED_TRACE(last_store);
        uint64_t before = next;
        Child publisher([&](const Line &) {
            Pub pub(bus_, "ring", "source");
            ASSERT_EQ(pub.error, 0) << weir_last_error();
            stores_left = last_store;
            mem_point_hook = die_at_store;
            auto text = [&] { return std::to_string(pub.last_sequence() + 1) + " " + std::string(700, 'x'); };
            for (int i = 0; i < 4; i++)
                ASSERT_EQ(pub.send(text(), WEIR_FOREVER), 0) << weir_last_error();
            std::string second = std::to_string(pub.last_sequence() + 2) + " second", first = text();
            weir_message batch[] = {message_of(first), message_of(second)};
            ASSERT_EQ(weir_pub_send_batch(pub, batch, 2, WEIR_FOREVER, nullptr), 0) << weir_last_error();
            mem_point_hook = nullptr;
        });
        bool dead = publisher.result() == -SIGKILL;
        deaths += dead;
        ASSERT_NO_FATAL_FAILURE(read_on(gate, &next));
        {
            Pub heir(bus_, "ring", "source");
            ASSERT_EQ(heir.error, 0) << weir_last_error();
            ASSERT_NO_FATAL_FAILURE(read_on(gate, &next));
            ASSERT_EQ(heir.last_sequence(), next - 1);
            ASSERT_EQ(heir.send(std::to_string(next)), 0) << weir_last_error();
            ASSERT_NO_FATAL_FAILURE(read_on(gate, &next));
            ASSERT_EQ(heir.last_sequence(), next - 1);
        }
        ASSERT_LE(next, before + 7);
        if (!dead) {
            ASSERT_EQ(publisher.result(), 0);
            ASSERT_EQ(next, before + 7) << "the one that lived sent all";
            break;
        }
    }
    EXPECT_GT(deaths, GetParam() ? 20 : 30) << "that is how many stores five publishes take at least";
}

TEST_P(ClientNamed, TakesItsNameOnceWhicheverStoreOfTheTakingWasTheLast)
{
    Sub sub(bus_, "ring");
    for (int64_t last_store = 1;; last_store++) {
        SCOPED_TRACE(last_store);
        std::string name = "name" + std::to_string(last_store % 50);
        Child publisher([&](const Line &) {
            stores_left = last_store;
            mem_point_hook = die_at_store;
            Pub pub(bus_, "ring", name.c_str());
            ASSERT_EQ(pub.error, 0) << weir_last_error();
            pub.close();
            mem_point_hook = nullptr;
        });
        bool dead = publisher.result() == -SIGKILL;
        Pub heir(bus_, "ring", name.c_str());
        ASSERT_EQ(heir.error, 0) << weir_last_error();
        EXPECT_EQ(heir.last_sequence(), last_store > 50 ? 1u : 0u);
        EXPECT_EQ(heir.send("x"), 0) << weir_last_error();
        EXPECT_EQ(faults(), std::vector<std::string>());
        if (!dead) {
            EXPECT_EQ(publisher.result(), 0);
            EXPECT_GT(last_store, 15);
            break;
        }
    }
}

/* -- exclusive rings ----------------------------------------------------------------------------------------------- */

class ClientExclusive : public ClientTest
{
protected:
    void SetUp() override
    {
        ClientTest::SetUp();
        ASSERT_EQ(create(RingOptions().with_exclusive()), 0) << weir_last_error();
    }
};

TEST_F(ClientExclusive, HasOnePublisherAtATime)
{
    Child child([&](const Line &line) {
        Pub pub(bus_, "ring");
        Pub second(bus_, "ring");
        EXPECT_EQ(second.error, -EBUSY) << "not in the same process either";
        line.say(pub.error == 0 ? 'r' : 'x');
        line.hear();
        pub.close();
        line.say('c');
        line.hear();
    });
    ASSERT_EQ(child.line().hear(), 'r');
    EXPECT_EQ(Pub(bus_, "ring").error, -EBUSY);
    EXPECT_TRUE(told("ring ring is exclusive and its publisher is alive")) << weir_last_error();
    child.stop();
    EXPECT_EQ(Pub(bus_, "ring").error, -EBUSY) << "who is stopped is alive";
    child.go_on();
    child.line().say('c');
    ASSERT_EQ(child.line().hear(), 'c');
    Pub pub(bus_, "ring");
    EXPECT_EQ(pub.error, 0) << weir_last_error();
    EXPECT_EQ(pub.send("x"), 0);
}

TEST_F(ClientExclusive, IsTakenOverAfterSigkillWithNothingLost)
{
    Sub gate(bus_, "ring", SubOptions().with_gate());
    int64_t next = 0;
    for (int round = 0; round < 100; round++) {
        Child publisher([&](const Line &line) {
            Pub pub(bus_, "ring");
            ASSERT_EQ(pub.error, 0) << weir_last_error();
            for (int64_t i = next;; i++) {
                ASSERT_EQ(pub.send(std::to_string(i), WEIR_FOREVER), 0) << weir_last_error();
                line.say_number(i);
            }
        });
        int64_t sent = -1;
        weir_message message;
        for (int i = 0; i < 20 + round; i++) {
            sent = publisher.line().hear_number();
            ASSERT_EQ(gate.next(&message, 10 * s), 0) << weir_last_error();
            ASSERT_EQ(text_of(message), std::to_string(next++));
        }
        publisher.kill_and_reap();
        for (int64_t more; (more = publisher.line().hear_number()) >= 0;)
            sent = more;
        Pub heir(bus_, "ring");
        ASSERT_EQ(heir.error, 0) << weir_last_error();
        ASSERT_EQ(heir.send("heir"), 0) << weir_last_error();
        while (gate.next(&message, 10 * s) == 0 && text_of(message) != "heir")
            ASSERT_EQ(text_of(message), std::to_string(next++));
        ASSERT_EQ(text_of(message), "heir");
        ASSERT_GT(next, sent) << "it was told that this one is published";
        ASSERT_LE(next, sent + 2);
    }
    EXPECT_EQ(faults(), std::vector<std::string>());
}

TEST_F(ClientExclusive, HeirDoesNotSeeAnUncommittedClaim)
{
    Sub sub(bus_, "ring");
    for (int round = 0; round < 100; round++) {
        Child publisher([&](const Line &line) {
            Pub pub(bus_, "ring");
            void *data = nullptr;
            ASSERT_EQ(pub.send("committed"), 0) << weir_last_error();
            ASSERT_EQ(weir_pub_claim(pub, 200, nullptr, 0, &data), 0);
            memset(data, 0xff, 200); /* what it leaves behind looks like no record, or like one */
            line.say('r');
            line.hear();
        });
        ASSERT_EQ(publisher.line().hear(), 'r');
        publisher.kill_and_reap();
        Pub heir(bus_, "ring");
        ASSERT_EQ(heir.send("heir"), 0) << weir_last_error();
        EXPECT_EQ(sub.text(), "committed");
        EXPECT_EQ(sub.text(), "heir");
        EXPECT_EQ(sub.text(), "[EAGAIN]");
        EXPECT_EQ(faults(), std::vector<std::string>());
    }
}

} // namespace
