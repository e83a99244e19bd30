/* SPDX-License-Identifier: Apache-2.0 */
/* Handles: not for forked children, independent of each other in threads. */
// test: LINKS weir_client LABELS tsan TIMEOUT 300

#include "tests/support/client_support.hh"

#include <atomic>
#include <thread>

namespace
{

class ClientHandle : public ClientTest
{
};

/* -- fork ---------------------------------------------------------------------------------------------------------- */

TEST_F(ClientHandle, IsOfNoUseInAForkedChildAndSaysSo)
{
    ASSERT_EQ(create(RingOptions().with_users(2, 4)), 0) << weir_last_error();
    Pub pub(bus_, "ring", "source");
    Sub sub(bus_, "ring", SubOptions().with_cursor("place"));
    uint64_t position = 0;
    ASSERT_EQ(pub.send("1", 0, &position), 0);
    Child child([&](const Line &) {
        weir_message message = message_of("x");
        void *data = nullptr;
        char buffer[8];
        uint64_t out = 4711;
        const int results[] = {pub.send("x"),
                               weir_pub_send_message(pub, &message, 0, &out),
                               weir_pub_send_batch(pub, &message, 1, 0, &out),
                               weir_pub_claim(pub, 1, nullptr, 0, &data),
                               weir_pub_commit(pub, 0, &out),
                               weir_pub_cancel(pub),
                               weir_pub_confirm(pub, position, WEIR_VISIBLE),
                               weir_pub_wait(pub, position, WEIR_VISIBLE, WEIR_FOREVER),
                               sub.next(&message),
                               sub.next(&message, WEIR_FOREVER),
                               weir_sub_next_batch(sub, &message, 1, 0),
                               weir_sub_recv(sub, buffer, sizeof(buffer), 0, &message),
                               weir_sub_seek(sub, WEIR_POSITION_END),
                               weir_sub_save(sub, position)};
        for (int result : results)
            EXPECT_EQ(result, -ECHILD);
        EXPECT_TRUE(told("before fork()")) << weir_last_error();
        EXPECT_EQ(out, 4711u);
        EXPECT_EQ(data, nullptr);
    });
    EXPECT_EQ(child.result(), 0);
    EXPECT_EQ(sub.text(), "1") << "nothing came from the child";
    EXPECT_EQ(sub.text(), "[EAGAIN]");
}

TEST_F(ClientHandle, ClosedInAForkedChildHarmsNobody)
{
    for (int exclusive : {0, 1}) {
        SCOPED_TRACE(exclusive);
        ASSERT_EQ(create(RingOptions().with_exclusive(exclusive).with_users(2, 3)), 0) << weir_last_error();
        Pub pub(bus_, "ring", "source");
        Sub gate(bus_, "ring", SubOptions().with_gate().with_cursor("place"));
        void *data = nullptr;
        ASSERT_EQ(pub.send("before"), 0);
        ASSERT_EQ(weir_pub_claim(pub, 8, nullptr, 0, &data), 0);
        Child child([&](const Line &) {
            pub.close();
            gate.close();
            /* The parent's are as they were. */
            EXPECT_EQ(Pub(bus_, "ring", "source").error, -EBUSY) << weir_last_error();
            EXPECT_EQ(Sub(bus_, "ring", SubOptions().with_cursor("place")).error, -EBUSY) << weir_last_error();
            EXPECT_EQ(info().publisher_count, 1u);
            EXPECT_EQ(info().reader_count, 1u);
            for (const weir_participant &participant : participants())
                EXPECT_EQ(participant.state, WEIR_ALIVE);
            /* And it may have its own. */
            Sub own(bus_, "ring");
            EXPECT_EQ(own.text(), "before");
        });
        EXPECT_EQ(child.result(), 0);
        for (const weir_participant &participant : participants())
            EXPECT_EQ(participant.state, WEIR_ALIVE) << "also after the child's end";
        memcpy(data, "in place", 8);
        ASSERT_EQ(weir_pub_commit(pub, 8, nullptr), 0) << weir_last_error();
        EXPECT_EQ(Pub(bus_, "ring", "source").error, -EBUSY);
        EXPECT_EQ(gate.text(), "before");
        EXPECT_EQ(gate.text(), "in place");
        pub.close();
        gate.close();
        ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), 0) << weir_last_error();
    }
}

TEST_F(ClientHandle, DiesWithItsProcessAndNotWithTheChildrenThatInheritedIt)
{
    ASSERT_EQ(create(RingOptions().with_exclusive()), 0) << weir_last_error();
    int survivor[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, survivor), 0);
    Child parent([&](const Line &line) {
        Pub pub(bus_, "ring", "source");
        Sub sub(bus_, "ring", SubOptions().with_cursor("place"));
        ASSERT_EQ(pub.error | sub.error, 0) << weir_last_error();
        ASSERT_EQ(pub.send("1"), 0);
        if (fork() == 0) { /* lives on, with the parent's handles, until the test is over */
            alarm(deadline_s);
            close(survivor[0]);
            Line(survivor[1]).say('r');
            Line(survivor[1]).hear();
            _exit(0);
        }
        line.hear();
    });
    close(survivor[1]);
    Line child(survivor[0]);
    ASSERT_EQ(child.hear(), 'r');
    EXPECT_EQ(Pub(bus_, "ring", "source").error, -EBUSY);
    parent.kill_and_reap();
    for (const weir_participant &participant : participants())
        EXPECT_EQ(participant.state, WEIR_DEAD);
    Pub pub(bus_, "ring", "source");
    EXPECT_EQ(pub.error, 0) << weir_last_error();
    EXPECT_EQ(pub.last_sequence(), 1u);
    EXPECT_EQ(Sub(bus_, "ring", SubOptions().with_cursor("place")).error, 0) << weir_last_error();
    close(survivor[0]);
}

/* -- threads ------------------------------------------------------------------------------------------------------- */

TEST_F(ClientHandle, OneInEachThreadIsAsGoodAsOneInEachProcess)
{
    constexpr int publishers = 3, readers = 3, each = sanitized ? 3000 : 30000;
    for (int gating : {0, 1}) {
        SCOPED_TRACE(gating);
        RingOptions options = RingOptions().with_users(publishers, readers).with_segments(8192, 4);
        ASSERT_EQ(create(options), 0) << weir_last_error();
        std::atomic<int> ready{0};
        std::vector<std::thread> threads;
        for (int r = 0; r < readers; r++)
            threads.emplace_back([&, r] {
                SubOptions sub_options;
                sub_options.with_spin(r == 0 ? -1 : 0);
                if (gating)
                    sub_options.with_gate();
                Sub sub(bus_, "ring", sub_options);
                EXPECT_EQ(sub.error, 0) << weir_last_error();
                ready++;
                int next[publishers] = {};
                weir_message messages[16];
                for (bool end = false; !end;) {
                    int count = weir_sub_next_batch(sub, messages, r == 1 ? 16 : 1, WEIR_FOREVER);
                    if (count == -EPIPE && !gating)
                        continue;
                    if (count <= 0) {
                        ADD_FAILURE() << weir_last_error();
                        return;
                    }
                    for (int i = 0; i < count; i++) {
                        end = messages[i].tag == publishers;
                        if (end)
                            break;
                        int number = atoi(text_of(messages[i]).c_str());
                        int &expected = next[messages[i].tag];
                        EXPECT_TRUE(gating ? number == expected : number >= expected);
                        expected = number + 1;
                    }
                }
                if (gating) {
                    for (int count : next)
                        EXPECT_EQ(count, each);
                }
            });
        while (ready < readers)
            sched_yield();
        std::vector<std::thread> senders;
        for (int p = 0; p < publishers; p++)
            senders.emplace_back([&, p] {
                Pub pub(bus_, "ring");
                EXPECT_EQ(pub.error, 0) << weir_last_error();
                for (int i = 0; i < each; i++) {
                    std::string text = std::to_string(i);
                    weir_message message = message_of(text, (uint16_t)p);
                    EXPECT_EQ(weir_pub_send_message(pub, &message, WEIR_FOREVER, nullptr), 0) << weir_last_error();
                }
            });
        for (std::thread &sender : senders)
            sender.join();
        weir_message end = message_of("", publishers);
        EXPECT_EQ(weir_pub_send_message(Pub(bus_, "ring"), &end, WEIR_FOREVER, nullptr), 0) << weir_last_error();
        for (std::thread &thread : threads)
            thread.join();
        EXPECT_EQ(faults(), std::vector<std::string>());
        ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), 0) << weir_last_error();
    }
}

TEST_F(ClientHandle, CanBePassedFromThreadToThread)
{
    ASSERT_EQ(create(), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    for (int i = 0; i < 20; i++) {
        std::thread([&] { EXPECT_EQ(pub.send(std::to_string(i)), 0) << weir_last_error(); }).join();
        std::thread([&] { EXPECT_EQ(sub.text(), std::to_string(i)); }).join();
    }
}

TEST_F(ClientHandle, LastErrorIsEachThreadsOwn)
{
    ASSERT_EQ(create(), 0) << weir_last_error();
    EXPECT_EQ(Pub(bus_, "no-such-ring").error, -ENOENT);
    EXPECT_TRUE(told("no-such-ring"));
    std::thread([&] {
        EXPECT_STREQ(weir_last_error(), "");
        EXPECT_EQ(Pub(bus_, "another").error, -ENOENT);
        EXPECT_TRUE(told("another"));
    }).join();
    EXPECT_TRUE(told("no-such-ring"));
}

} // namespace
