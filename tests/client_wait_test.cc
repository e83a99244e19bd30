/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting: for a record, for room, for a confirm; woken by news, by the time limit, by a signal, by the ring's removal. */
// test: LINKS weir_client TIMEOUT 120

#include "tests/support/client_support.hh"

#include <atomic>

#include "ringbuf/layout.h"

namespace
{

uint64_t now_ns()
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * (uint64_t)s + (uint64_t)now.tv_nsec;
}

class ClientWait : public ClientTest
{
protected:
    /* How often the readers' bell has rung. */
    uint64_t bell() const
    {
        struct ring_control control;
        int fd = open(path("ring/control").c_str(), O_RDONLY | O_CLOEXEC);
        EXPECT_EQ(pread(fd, &control, sizeof(control), 0), (ssize_t)sizeof(control));
        close(fd);
        return control.records.seq.raw;
    }
    static void fill(const Pub &pub)
    {
        int r;
        while ((r = pub.send("x")) == 0) {
        }
        EXPECT_EQ(r, -EAGAIN) << weir_last_error();
    }
};

/* -- time limits --------------------------------------------------------------------------------------------------- */

TEST_F(ClientWait, EndsNotBeforeItsTimeLimit)
{
    ASSERT_EQ(create(RingOptions().with_journal()), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    uint64_t position = 0;
    ASSERT_EQ(pub.send("x", 0, &position), 0);
    for (int64_t spin : {INT64_C(0), INT64_C(-1), 1 * ms, 1000 * s}) {
        Sub sub(bus_, "ring", SubOptions().with_spin(spin).with_from(WEIR_POSITION_END));
        weir_message message;
        char buffer[8];
        for (int64_t limit : {INT64_C(1), 1 * ms, 120 * ms}) {
            uint64_t start = now_ns();
            EXPECT_EQ(sub.next(&message, limit), -ETIMEDOUT);
            EXPECT_EQ(weir_sub_next_batch(sub, &message, 1, limit), -ETIMEDOUT);
            EXPECT_EQ(weir_sub_recv(sub, buffer, sizeof(buffer), limit, &message), -ETIMEDOUT);
            EXPECT_GE(now_ns() - start, 3 * (uint64_t)limit);
        }
        EXPECT_EQ(sub.next(&message, -1), -EAGAIN);
        EXPECT_EQ(sub.next(&message, INT64_MIN), -EAGAIN);
    }
    uint64_t start = now_ns();
    EXPECT_EQ(weir_pub_wait(pub, position, WEIR_DURABLE, 70 * ms), -ETIMEDOUT);
    EXPECT_TRUE(told("nobody drains the ring: start weird")) << weir_last_error();
    EXPECT_GE(now_ns() - start, 70u * (uint64_t)ms);
    fill(pub);
    start = now_ns();
    EXPECT_EQ(pub.send("x", 70 * ms), -ETIMEDOUT);
    EXPECT_GE(now_ns() - start, 70u * (uint64_t)ms);
    EXPECT_EQ(pub.send("x", -1), -EAGAIN);
}

/* -- wake-ups ------------------------------------------------------------------------------------------------------ */

TEST_F(ClientWait, NobodyIsRungForWhereNobodySleeps)
{
    ASSERT_EQ(create(), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    uint64_t before = bell();
    for (int i = 0; i < 100; i++) {
        ASSERT_EQ(pub.send("x"), 0);
        EXPECT_EQ(sub.text(), "x");
        EXPECT_EQ(sub.text(), "[EAGAIN]");
    }
    EXPECT_EQ(bell(), before);
}

TEST_F(ClientWait, SleepersAreRungForOnceAndWake)
{
    for (int exclusive : {0, 1}) {
        ASSERT_EQ(create(RingOptions().with_exclusive(exclusive).with_users(1, 8)), 0) << weir_last_error();
        Pub pub(bus_, "ring");
        std::vector<std::unique_ptr<Child>> sleepers;
        for (int i = 0; i < 5; i++)
            sleepers.push_back(std::make_unique<Child>([&](const Line &line) {
                Sub sub(bus_, "ring", SubOptions().with_from(WEIR_POSITION_END));
                for (;;) {
                    line.say('r');
                    std::string text = sub.text(WEIR_FOREVER);
                    ASSERT_EQ(text.size(), 1u) << text;
                    line.say(text[0]);
                }
            }));
        for (char word : std::string("abc")) {
            for (const auto &sleeper : sleepers) {
                ASSERT_EQ(sleeper->line().hear(), 'r');
                ASSERT_TRUE(sleeper->wait_until_asleep());
            }
            uint64_t before = bell();
            ASSERT_EQ(pub.send(std::string(1, word)), 0);
            EXPECT_EQ(bell(), before + 1);
            ASSERT_EQ(pub.send(std::string(1, word)), 0);
            EXPECT_LE(bell(), before + 2) << "rung once for all, unless somebody sleeps again already";
            for (const auto &sleeper : sleepers) {
                EXPECT_EQ(sleeper->line().hear(), word);
                ASSERT_EQ(sleeper->line().hear(), 'r');
                EXPECT_EQ(sleeper->line().hear(), word);
            }
        }
        sleepers.clear();
        ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0) << weir_last_error();
    }
}

/* A lost wake-up shows as a sleep of 50 ms, its bound: these many would take longer than the test's deadline. */
TEST_F(ClientWait, NoWakeUpIsLostInManyRoundTrips)
{
    constexpr int rounds = 4000;
    static_assert(rounds * 2 * 50 / 1000 > deadline_s, "lost wake-ups are noticed");
    ASSERT_EQ(create(RingOptions(), "there"), 0) << weir_last_error();
    ASSERT_EQ(create(RingOptions().with_exclusive(), "back"), 0) << weir_last_error();
    Child echo([&](const Line &line) {
        Sub sub(bus_, "there");
        Pub pub(bus_, "back");
        line.say('r');
        for (int i = 0; i < rounds; i++) {
            ASSERT_EQ(sub.text(WEIR_FOREVER), std::to_string(i));
            ASSERT_EQ(pub.send(std::to_string(i)), 0);
        }
    });
    Pub pub(bus_, "there");
    ASSERT_EQ(echo.line().hear(), 'r');
    Sub sub(bus_, "back");
    for (int i = 0; i < rounds; i++) {
        ASSERT_EQ(pub.send(std::to_string(i)), 0);
        ASSERT_EQ(sub.text(WEIR_FOREVER), std::to_string(i));
    }
    EXPECT_EQ(echo.result(), 0);
}

/* -- signals ------------------------------------------------------------------------------------------------------- */

std::atomic<int> handled;
void on_signal(int)
{
    handled++;
}

TEST_F(ClientWait, ReturnsToTheCallerWhenASignalHandlerRan)
{
    ASSERT_EQ(create(RingOptions().with_journal()), 0) << weir_last_error();
    for (int flags : {0, SA_RESTART}) {
        SCOPED_TRACE(flags ? "with SA_RESTART" : "without SA_RESTART");
        Child child([&](const Line &line) {
            struct sigaction action = {};
            action.sa_handler = on_signal;
            action.sa_flags = flags;
            sigaction(SIGUSR1, &action, nullptr);
            Sub sub(bus_, "ring", SubOptions().with_from(WEIR_POSITION_END));
            Pub pub(bus_, "ring");
            weir_message message;
            char buffer[8];
            ASSERT_EQ(sub.error | pub.error, 0) << weir_last_error();
            line.say('r');
            EXPECT_EQ(sub.next(&message, WEIR_FOREVER), -EINTR);
            EXPECT_TRUE(told("interrupted")) << weir_last_error();
            line.say('r');
            EXPECT_EQ(weir_sub_next_batch(sub, &message, 1, WEIR_FOREVER), -EINTR);
            line.say('r');
            EXPECT_EQ(weir_sub_recv(sub, buffer, sizeof(buffer), WEIR_FOREVER, &message), -EINTR);
            uint64_t position = 0;
            if (pub.send("goes on", 0, &position) == 0) {
                EXPECT_EQ(sub.text(), "goes on");
            }
            line.say('r');
            EXPECT_EQ(weir_pub_wait(pub, position, WEIR_DURABLE, WEIR_FOREVER), -EINTR);
            EXPECT_TRUE(told("interrupted")) << weir_last_error();
            fill(pub);
            line.say('r');
            EXPECT_EQ(pub.send("x", WEIR_FOREVER), -EINTR);
            EXPECT_TRUE(told("interrupted")) << weir_last_error();
            EXPECT_EQ(participant_of(getpid()).waiting_since_ns, 0u) << "it waits no more";
            EXPECT_EQ(pub.send("x"), -EAGAIN) << "the handle is sound";
            EXPECT_EQ(handled, 5);
        });
        for (int i = 0; i < 5; i++) {
            ASSERT_EQ(child.line().hear(), 'r');
            ASSERT_TRUE(child.wait_until_asleep());
            child.kill(SIGUSR1);
        }
        EXPECT_EQ(child.result(), 0);
    }
}

/* -- removal ------------------------------------------------------------------------------------------------------- */

TEST_F(ClientWait, EndsWhenTheRingIsRemoved)
{
    for (int journaled : {0, 1}) {
        SCOPED_TRACE(journaled);
        ASSERT_EQ(create(RingOptions().with_journal(journaled).with_users(3, 6)), 0) << weir_last_error();
        Sub gate(bus_, "ring", journaled ? SubOptions() : SubOptions().with_gate());
        uint64_t position = 0;
        {
            Pub pub(bus_, "ring");
            ASSERT_EQ(pub.send("x", 0, &position), 0);
            fill(pub);
        }
        ASSERT_EQ(gate.text(), "x");
        std::vector<std::unique_ptr<Child>> sleepers, spinners;
        sleepers.push_back(std::make_unique<Child>([&](const Line &line) {
            Sub sub(bus_, "ring", SubOptions().with_from(WEIR_POSITION_END));
            line.say('r');
            EXPECT_EQ(sub.text(WEIR_FOREVER), "[EIDRM]");
            EXPECT_TRUE(told("ring ring was removed")) << weir_last_error();
            EXPECT_EQ(sub.text(1 * ms), "[EIDRM]") << "it stays so";
        }));
        sleepers.push_back(std::make_unique<Child>([&](const Line &line) {
            Pub pub(bus_, "ring");
            line.say('r');
            EXPECT_EQ(pub.send("x", WEIR_FOREVER), -EIDRM);
            EXPECT_TRUE(told("ring ring was removed")) << weir_last_error();
            EXPECT_EQ(pub.send("x"), -EIDRM) << "it stays so";
        }));
        if (journaled)
            sleepers.push_back(std::make_unique<Child>([&](const Line &line) {
                Pub pub(bus_, "ring");
                line.say('r');
                EXPECT_EQ(weir_pub_wait(pub, position, WEIR_DURABLE, WEIR_FOREVER), -EIDRM);
                EXPECT_TRUE(told("ring ring was removed")) << weir_last_error();
                EXPECT_EQ(weir_pub_confirm(pub, position, WEIR_WRITTEN), -EIDRM);
                EXPECT_EQ(weir_pub_confirm(pub, position, WEIR_VISIBLE), 0) << "that it was";
            }));
        spinners.push_back(std::make_unique<Child>([&](const Line &line) {
            Sub sub(bus_, "ring", SubOptions().with_from(WEIR_POSITION_END).with_spin(INT64_MAX));
            line.say('r');
            EXPECT_EQ(sub.text(WEIR_FOREVER), "[EIDRM]");
        }));
        spinners.push_back(std::make_unique<Child>([&](const Line &line) {
            Sub sub(bus_, "ring", SubOptions().with_from(WEIR_POSITION_END));
            line.say('r');
            std::string text;
            while ((text = sub.text()) == "[EAGAIN]") {
            }
            EXPECT_EQ(text, "[EIDRM]");
        }));
        for (const auto &sleeper : sleepers) {
            ASSERT_EQ(sleeper->line().hear(), 'r');
            ASSERT_TRUE(sleeper->wait_until_asleep());
        }
        for (const auto &spinner : spinners)
            ASSERT_EQ(spinner->line().hear(), 'r');
        ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0) << weir_last_error();
        for (const auto &child : sleepers)
            EXPECT_EQ(child->result(), 0);
        for (const auto &child : spinners)
            EXPECT_EQ(child->result(), 0);
    }
}

TEST_F(ClientWait, PublishesNothingMoreToARemovedRing)
{
    for (int exclusive : {0, 1}) {
        ASSERT_EQ(create(RingOptions().with_exclusive(exclusive)), 0) << weir_last_error();
        Pub pub(bus_, "ring", "source");
        ASSERT_EQ(pub.send("x"), 0) << "in the middle of a segment";
        void *data = nullptr;
        ASSERT_EQ(weir_pub_claim(pub, 1, nullptr, 0, &data), 0);
        ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0) << weir_last_error();
        EXPECT_EQ(weir_pub_cancel(pub), 0) << weir_last_error();
        weir_message message = message_of("x");
        EXPECT_EQ(pub.send("x"), -EIDRM);
        EXPECT_TRUE(told("ring ring was removed")) << weir_last_error();
        EXPECT_EQ(weir_pub_send_message(pub, &message, 0, nullptr), -EIDRM);
        EXPECT_EQ(weir_pub_send_batch(pub, &message, 1, 0, nullptr), -EIDRM);
        EXPECT_EQ(weir_pub_claim(pub, 1, nullptr, 0, &data), -EIDRM);
        EXPECT_EQ(pub.last_sequence(), 1u);
    }
}

/* -- confirms ------------------------------------------------------------------------------------------------------ */

TEST_F(ClientWait, ConfirmsTellWhatIsVisibleAndWhatNobodyWrites)
{
    for (int exclusive : {0, 1}) {
        SCOPED_TRACE(exclusive);
        std::string name = "ring" + std::to_string(exclusive);
        ASSERT_EQ(create(RingOptions().with_exclusive(exclusive).with_journal(), name.c_str()), 0);
        Pub pub(bus_, name.c_str());
        uint64_t first = 0, position = 0;
        ASSERT_EQ(pub.send("x", 0, &first), 0);
        for (int i = 0; i < 100; i++)
            ASSERT_EQ(pub.send("x", 0, &position), 0);
        for (uint64_t sent : {first, position}) {
            EXPECT_EQ(weir_pub_confirm(pub, sent, WEIR_VISIBLE), 0) << weir_last_error();
            EXPECT_EQ(weir_pub_wait(pub, sent, WEIR_VISIBLE, 0), 0) << weir_last_error();
            for (enum weir_level level : {WEIR_WRITTEN, WEIR_DURABLE}) {
                EXPECT_EQ(weir_pub_confirm(pub, sent, level), -EAGAIN);
                EXPECT_EQ(weir_pub_wait(pub, sent, level, 0), -EAGAIN);
                EXPECT_EQ(weir_pub_wait(pub, sent, level, 1 * ms), -ETIMEDOUT);
                EXPECT_TRUE(told("nobody drains the ring: start weird")) << weir_last_error();
            }
        }
        EXPECT_EQ(weir_pub_confirm(pub, position + 64, WEIR_VISIBLE), -EAGAIN) << "nothing is there";
        EXPECT_EQ(weir_pub_wait(pub, position + 64, WEIR_VISIBLE, 1 * ms), -ETIMEDOUT);
        EXPECT_EQ(weir_pub_confirm(pub, position, (enum weir_level)3), -EINVAL);
        EXPECT_EQ(weir_pub_confirm(pub, position, (enum weir_level) - 1), -EINVAL);
        ASSERT_EQ(pub.send("y"), 0) << "having looked does not disturb it";
        Sub sub(bus_, name.c_str());
        for (int i = 0; i < 101; i++)
            ASSERT_EQ(sub.text(), "x");
        EXPECT_EQ(sub.text(), "y");
    }
}

TEST_F(ClientWait, ConfirmsOfWritingAreRefusedOnMemoryRings)
{
    ASSERT_EQ(create(), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    uint64_t position = 0;
    ASSERT_EQ(pub.send("x", 0, &position), 0);
    EXPECT_EQ(weir_pub_confirm(pub, position, WEIR_VISIBLE), 0);
    for (enum weir_level level : {WEIR_WRITTEN, WEIR_DURABLE}) {
        EXPECT_EQ(weir_pub_confirm(pub, position, level), -EINVAL);
        EXPECT_TRUE(told("memory-only")) << weir_last_error();
        EXPECT_EQ(weir_pub_wait(pub, position, level, WEIR_FOREVER), -EINVAL);
    }
}

TEST_F(ClientWait, RecordBehindAnOpenClaimIsNotYetVisible)
{
    ASSERT_EQ(create(RingOptions().with_users(2, 2)), 0) << weir_last_error();
    Child slow([&](const Line &line) {
        Pub pub(bus_, "ring");
        void *data = nullptr;
        ASSERT_EQ(weir_pub_claim(pub, 4, nullptr, 0, &data), 0);
        memcpy(data, "slow", 4);
        line.say('r');
        line.hear();
        ASSERT_EQ(weir_pub_commit(pub, 4, nullptr), 0);
        line.say('c');
        line.hear();
    });
    ASSERT_EQ(slow.line().hear(), 'r');
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    uint64_t position = 0;
    ASSERT_EQ(pub.send("behind", 0, &position), 0);
    EXPECT_EQ(weir_pub_confirm(pub, position, WEIR_VISIBLE), -EAGAIN);
    EXPECT_EQ(weir_pub_wait(pub, position, WEIR_VISIBLE, 1 * ms), -ETIMEDOUT);
    EXPECT_EQ(info().visible, 0u);
    EXPECT_EQ(info().end_position, 128u);
    slow.line().say('c');
    EXPECT_EQ(weir_pub_wait(pub, position, WEIR_VISIBLE, WEIR_FOREVER), 0) << weir_last_error();
    EXPECT_EQ(weir_pub_confirm(pub, position, WEIR_VISIBLE), 0);
    EXPECT_EQ(info().visible, 128u);
    EXPECT_EQ(sub.text(), "slow");
    EXPECT_EQ(sub.text(), "behind");
    slow.line().say('e');
}

TEST_F(ClientWait, RecordBehindADeadClaimBecomesVisible)
{
    ASSERT_EQ(create(RingOptions().with_users(2, 2)), 0) << weir_last_error();
    Child dying([&](const Line &line) {
        Pub pub(bus_, "ring");
        void *data = nullptr;
        ASSERT_EQ(weir_pub_claim(pub, 4, nullptr, 0, &data), 0);
        line.say('r');
        line.hear();
    });
    ASSERT_EQ(dying.line().hear(), 'r');
    Pub pub(bus_, "ring");
    uint64_t position = 0;
    ASSERT_EQ(pub.send("behind", 0, &position), 0);
    EXPECT_EQ(weir_pub_confirm(pub, position, WEIR_VISIBLE), -EAGAIN);
    dying.kill_and_reap();
    EXPECT_EQ(weir_pub_wait(pub, position, WEIR_VISIBLE, WEIR_FOREVER), 0) << weir_last_error();
}

} // namespace
