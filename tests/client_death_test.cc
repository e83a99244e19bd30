/* SPDX-License-Identifier: Apache-2.0 */
/* Dead and stopped publishers: the claim of a dead one holds nobody up, that of a stopped one is waited for. */
// test: LINKS weir_client TIMEOUT 120

#include "tests/support/client_support.hh"

#include "ringbuf/access.h"

namespace
{

/* A publisher that has a claim of so many bytes open; it commits "late" when it hears 'c'. */
class Claimant : public Child
{
public:
    Claimant(const std::string &bus, size_t bytes, const char *ring = "ring")
        : Child([&](const Line &line) {
              Pub pub(bus, ring);
              void *data = nullptr;
              ASSERT_EQ(weir_pub_claim(pub, bytes, nullptr, 0, &data), 0) << weir_last_error();
              memset(data, 0x5a, bytes);
              line.say('r');
              line.hear();
              memcpy(data, "late", 4);
              ASSERT_EQ(weir_pub_commit(pub, 4, nullptr), 0) << weir_last_error();
              line.say('c');
              line.hear();
          })
    {
        EXPECT_EQ(line().hear(), 'r');
    }
};

/* -- readers that wait in each way --------------------------------------------------------------------------------- */

struct Waiting {
    const char *name;
    int64_t spin_ns;
    int64_t timeout_ns;
};

class ClientDeath : public ClientTest, public testing::WithParamInterface<Waiting>
{
protected:
    void SetUp() override
    {
        ClientTest::SetUp();
        ASSERT_EQ(create(RingOptions().with_users(3, 4).with_segments(4096, 8)), 0) << weir_last_error();
    }
    void TearDown() override
    {
        EXPECT_EQ(faults(), std::vector<std::string>());
        ClientTest::TearDown();
    }
    /* The next record, however long it takes. */
    static std::string wait_for_text(const Sub &sub)
    {
        std::string text;
        do {
            text = sub.text(GetParam().timeout_ns);
        } while (text == "[EAGAIN]");
        return text;
    }
    /* A reader that waits from here on and tells whether it read the texts; it has begun to wait when this returns. */
    std::unique_ptr<Child> reader_of(const std::vector<std::string> &texts) const
    {
        auto reader = std::make_unique<Child>([&](const Line &line) {
            Sub sub(bus_, "ring", SubOptions().with_spin(GetParam().spin_ns));
            ASSERT_EQ(sub.error, 0) << weir_last_error();
            line.say('r');
            for (const std::string &text : texts)
                ASSERT_EQ(wait_for_text(sub), text);
        });
        EXPECT_EQ(reader->line().hear(), 'r');
        if (GetParam().spin_ns == 0 && GetParam().timeout_ns != 0) {
            EXPECT_TRUE(reader->wait_until_asleep());
        }
        return reader;
    }
};

INSTANTIATE_TEST_SUITE_P(Reader, ClientDeath,
                         testing::Values(Waiting{"Polling", 0, 0}, Waiting{"Spinning", INT64_MAX, WEIR_FOREVER},
                                         Waiting{"Sleeping", 0, WEIR_FOREVER}, Waiting{"ByDefault", -1, WEIR_FOREVER}),
                         [](const testing::TestParamInfo<Waiting> &info) { return std::string(info.param.name); });

TEST_P(ClientDeath, ClaimIsPassedWhenTheNextRecordWasThereBefore)
{
    for (size_t bytes : {(size_t)10, (size_t)100, (size_t)4000}) {
        Claimant claimant(bus_, bytes);
        Pub pub(bus_, "ring");
        Sub sub(bus_, "ring", SubOptions().with_spin(GetParam().spin_ns).with_from(info().visible));
        ASSERT_EQ(pub.send("behind"), 0) << "a claim holds no publisher up: " << weir_last_error();
        claimant.kill_and_reap();
        EXPECT_EQ(wait_for_text(sub), "behind");
    }
}

/* Whoever looks once in a while, without a time limit, meets the dead at its next look, and not after a thousand. */
class SeldomPoll : public ClientDeath
{
protected:
    static void wait_for_the_coarse_clock(int64_t ns)
    {
        auto now = [] {
            struct timespec t;
            clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
            return t.tv_sec * 1000000000ll + t.tv_nsec;
        };
        for (int64_t start = now(); now() - start < ns;)
            sched_yield();
    }
};

INSTANTIATE_TEST_SUITE_P(Reader, SeldomPoll, testing::Values(Waiting{"Polling", 0, 0}));

TEST_P(SeldomPoll, PassesAClaimOfTheDead)
{
    Sub sub(bus_, "ring");
    EXPECT_EQ(sub.text(0), "[EAGAIN]");
    Claimant claimant(bus_, 10);
    Pub pub(bus_, "ring");
    ASSERT_EQ(pub.send("behind"), 0) << weir_last_error();
    claimant.kill_and_reap();
    wait_for_the_coarse_clock(10 * ms);
    EXPECT_EQ(sub.text(0), "behind");
}

TEST_P(SeldomPoll, IsToldAtOnceThatTheRingWasRemoved)
{
    Sub sub(bus_, "ring");
    EXPECT_EQ(sub.text(0), "[EAGAIN]");
    ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0) << weir_last_error();
    EXPECT_EQ(sub.text(0), "[EIDRM]");
    ASSERT_EQ(create(RingOptions()), 0) << weir_last_error(); /* for the fixture */
}

TEST_P(ClientDeath, ClaimIsPassedByWhoWasWaitingForIt)
{
    Claimant claimant(bus_, 100);
    auto reader = reader_of({"behind"});
    Pub pub(bus_, "ring");
    ASSERT_EQ(pub.send("behind"), 0);
    claimant.kill_and_reap();
    EXPECT_EQ(reader->result(), 0);
}

TEST_P(ClientDeath, ClaimThatWasTheLastIsPassedWhenSomethingComesBehindIt)
{
    Claimant claimant(bus_, 100);
    auto reader = reader_of({"behind"});
    claimant.kill_and_reap();
    Pub pub(bus_, "ring");
    ASSERT_EQ(pub.send("behind"), 0);
    EXPECT_EQ(reader->result(), 0);
}

TEST_P(ClientDeath, SeveralClaimsInARowArePassed)
{
    auto first = std::make_unique<Claimant>(bus_, 10);
    auto second = std::make_unique<Claimant>(bus_, 1000);
    auto reader = reader_of({"behind", "them"});
    first->kill_and_reap();
    second->kill_and_reap();
    Claimant third(bus_, 3000);
    third.kill_and_reap();
    Pub pub(bus_, "ring");
    ASSERT_EQ(pub.send("behind"), 0) << weir_last_error();
    ASSERT_EQ(pub.send("them"), 0);
    EXPECT_EQ(reader->result(), 0);
}

TEST_P(ClientDeath, StoppedPublishersClaimIsWaitedForWhileOthersGoOn)
{
    Claimant claimant(bus_, 100);
    auto reader = reader_of({"late", "behind 0", "behind 1"});
    claimant.stop();
    Pub pub(bus_, "ring");
    for (int i = 0; i < 300; i++)
        ASSERT_EQ(pub.send("behind " + std::to_string(i)), 0) << weir_last_error();
    weir_participant stopped = participant_of(claimant.pid());
    EXPECT_EQ(stopped.state, WEIR_STOPPED);
    EXPECT_EQ(stopped.holds_claim, 1);
    EXPECT_EQ(participant_of(getpid()).holds_claim, 0);
    EXPECT_EQ(info().visible, 0u);
    EXPECT_EQ(info().end_position / 64 / 64, 4u) << "several segments on";
    Sub here(bus_, "ring");
    for (int i = 0; i < 5000; i++)
        ASSERT_EQ(here.text(), "[EAGAIN]") << "the order is total";
    claimant.go_on();
    claimant.line().say('c');
    EXPECT_EQ(reader->result(), 0);
    EXPECT_EQ(claimant.line().hear(), 'c');
    EXPECT_EQ(here.text(), "late");
    for (int i = 0; i < 300; i++)
        ASSERT_EQ(here.text(), "behind " + std::to_string(i));
    EXPECT_EQ(participant_of(claimant.pid()).holds_claim, 0);
    EXPECT_EQ(participant_of(claimant.pid()).state, WEIR_ALIVE);
}

TEST_P(ClientDeath, StoppedPublishersClaimIsPassedOnceItIsKilled)
{
    Claimant claimant(bus_, 100);
    auto reader = reader_of({"behind"});
    claimant.stop();
    Pub pub(bus_, "ring");
    ASSERT_EQ(pub.send("behind"), 0);
    claimant.kill_and_reap();
    EXPECT_EQ(reader->result(), 0);
}

/* -- death at each store ------------------------------------------------------------------------------------------- */

int64_t stores_left;
void die_at_store(struct mem_site *)
{
    if (--stores_left == 0)
        kill(getpid(), SIGKILL);
}

TEST_P(ClientDeath, PublisherThatDiesAtAnyStoreHoldsNobodyUp)
{
    Sub sub(bus_, "ring", SubOptions().with_spin(GetParam().spin_ns));
    for (int64_t last_store = 1;; last_store++) {
        SCOPED_TRACE(last_store);
        Child dying([&](const Line &) {
            Pub pub(bus_, "ring");
            std::string wide(1500, 'w');
            stores_left = last_store;
            mem_point_hook = die_at_store;
            for (int i = 0; i < 4; i++)
                ASSERT_EQ(pub.send(std::to_string(i) + wide), 0) << weir_last_error();
            mem_point_hook = nullptr;
        });
        bool dead = dying.result() == -SIGKILL;
        Pub pub(bus_, "ring");
        ASSERT_EQ(pub.send("mark"), 0) << weir_last_error();
        int seen = 0;
        for (std::string text; (text = wait_for_text(sub)) != "mark"; seen++)
            ASSERT_EQ(text[0], '0' + seen) << text;
        ASSERT_LE(seen, 4);
        if (!dead) {
            EXPECT_EQ(dying.result(), 0);
            EXPECT_EQ(seen, 4);
            EXPECT_GT(last_store, 20);
            break;
        }
    }
}

/* A reader that dies pins nothing and holds no name; what others read goes on. */
TEST_P(ClientDeath, ReaderThatDiesAtAnyStoreHoldsNobodyUp)
{
    for (int64_t last_store = 1;; last_store++) {
        SCOPED_TRACE(last_store);
        Child dying([&](const Line &) {
            stores_left = last_store;
            mem_point_hook = die_at_store;
            Sub sub(bus_, "ring", SubOptions().with_cursor("place").with_gate());
            weir_message message;
            for (int r; (r = sub.next(&message)) != -EAGAIN;) {
                if (r == 0) {
                    ASSERT_EQ(weir_sub_save(sub, message.next), 0) << weir_last_error();
                }
            }
            sub.close();
            mem_point_hook = nullptr;
        });
        bool dead = dying.result() == -SIGKILL;
        Sub heir(bus_, "ring", SubOptions().with_cursor("place").with_gate());
        ASSERT_EQ(heir.error, 0) << weir_last_error();
        ASSERT_EQ(weir_sub_seek(heir, WEIR_POSITION_END), 0) << weir_last_error();
        Pub pub(bus_, "ring");
        for (int i = 0; i < 100; i++)
            ASSERT_EQ(pub.send(std::to_string(i)), 0) << weir_last_error();
        EXPECT_EQ(heir.text(), "0");
        if (!dead) {
            EXPECT_EQ(dying.result(), 0);
            EXPECT_GT(last_store, 20);
            break;
        }
        if (last_store > 200) /* by then it has joined, read and saved many times over */
            last_store += 50;
    }
}

/* -- readers that may only read ------------------------------------------------------------------------------------ */

class ClientReadOnly : public ClientTest
{
protected:
    void SetUp() override
    {
        ClientTest::SetUp();
        if (!is_root())
            GTEST_SKIP() << "needs root to be somebody else";
        ASSERT_EQ(create(RingOptions().with_users(3, 4).with_mode(0644)), 0) << weir_last_error();
    }
    /* Somebody who may read the ring's files and no more, and says the first letter of what it reads. */
    std::unique_ptr<Child> stranger(int64_t spin_ns = 0, const char *cursor = nullptr) const
    {
        auto child = std::make_unique<Child>([&](const Line &line) {
            ASSERT_TRUE(become(nobody, nobody));
            EXPECT_EQ(access(path("ring/control").c_str(), W_OK), -1);
            Sub sub(bus_, "ring", SubOptions().with_spin(spin_ns).with_cursor(cursor));
            ASSERT_EQ(sub.error, 0) << weir_last_error();
            line.say('r');
            weir_message message;
            while (sub.next(&message, WEIR_FOREVER) == 0) {
                if (cursor) {
                    ASSERT_EQ(weir_sub_save(sub, message.next), 0) << weir_last_error();
                }
                line.say(text_of(message)[0]);
            }
        });
        EXPECT_EQ(child->line().hear(), 'r');
        return child;
    }
};

TEST_F(ClientReadOnly, ReadsAndIsWokenAsAllOthersAre)
{
    auto reader = stranger();
    Pub pub(bus_, "ring");
    for (char word : std::string("abcdefgh")) {
        ASSERT_TRUE(reader->wait_until_asleep());
        ASSERT_EQ(pub.send(std::string(1, word)), 0);
        EXPECT_EQ(reader->line().hear(), word);
    }
    /* Gates are in the readers' file, which it may write. */
    Child gate([&](const Line &line) {
        ASSERT_TRUE(become(nobody, nobody));
        Sub sub(bus_, "ring", SubOptions().with_gate());
        line.say(sub.error ? 'x' : 'r');
        line.hear();
    });
    ASSERT_EQ(gate.line().hear(), 'r');
    int r;
    while ((r = pub.send("x")) == 0) {
    }
    EXPECT_EQ(r, -EAGAIN);
    gate.kill_and_reap();
    EXPECT_EQ(pub.send("x", WEIR_FOREVER), 0);
}

TEST_F(ClientReadOnly, PassesADeadClaimByItsLengthWhereItMayAskWhoIsDead)
{
    ASSERT_EQ(chmod(path("ring/locks").c_str(), 0644), 0);
    for (int64_t spin : {INT64_C(0), INT64_MAX}) {
        for (size_t bytes : {(size_t)10, (size_t)1000}) {
            Claimant claimant(bus_, bytes);
            auto reader = stranger(spin);
            Pub pub(bus_, "ring");
            ASSERT_EQ(pub.send("behind"), 0);
            claimant.kill_and_reap();
            char word;
            while ((word = reader->line().hear()) == 'x') {
            }
            EXPECT_EQ(word, 'b');
            pub.close();
            reader.reset();
            ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0);
            ASSERT_EQ(create(RingOptions().with_users(3, 4).with_mode(0644)), 0) << weir_last_error();
            ASSERT_EQ(chmod(path("ring/locks").c_str(), 0644), 0);
        }
    }
}

TEST_F(ClientReadOnly, FindsItsCursorBehindADeadClaimThatNobodyRepaired)
{
    ASSERT_EQ(chmod(path("ring/locks").c_str(), 0644), 0);
    Claimant claimant(bus_, 100);
    Pub pub(bus_, "ring");
    ASSERT_EQ(pub.send("1"), 0);
    ASSERT_EQ(pub.send("2"), 0);
    claimant.kill_and_reap();
    {
        auto reader = stranger(0, "place");
        EXPECT_EQ(reader->line().hear(), '1');
        EXPECT_EQ(reader->line().hear(), '2');
        ASSERT_TRUE(reader->wait_until_asleep());
    }
    ASSERT_EQ(pub.send("3"), 0);
    auto reader = stranger(0, "place");
    EXPECT_EQ(reader->line().hear(), '3');
}

TEST_F(ClientReadOnly, IsFreedByWhoMayRepairWhereItMayNotAsk)
{
    Claimant claimant(bus_, 100);
    auto reader = stranger();
    Pub pub(bus_, "ring");
    ASSERT_EQ(pub.send("behind"), 0);
    claimant.kill_and_reap();
    ASSERT_TRUE(reader->wait_until_asleep());
    EXPECT_FALSE(reader->line().has_news()) << "it cannot know that the claimant is dead";
    Sub sub(bus_, "ring");
    EXPECT_EQ(sub.text(WEIR_FOREVER), "behind");
    EXPECT_EQ(reader->line().hear(), 'b');
}

} // namespace
