/* SPDX-License-Identifier: Apache-2.0 */
/* Deaths: seen as events, proven by locks, put in order, and nobody sleeps through them. */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing LABELS tsan TIMEOUT 300

#include "tests/daemon_support.hh"

namespace
{

constexpr int64_t patience_ns = deadline_ms * INT64_C(1000000);

class DaemonSupervise : public DaemonTest, public testing::WithParamInterface<bool>
{
protected:
    void SetUp() override
    {
        DaemonTest::SetUp();
        struct weir_ring_options options = small_ring();
        options.journaled = GetParam();
        create("ring", options);
    }
    int participants(int role)
    {
        struct Count {
            int role, number;
        } count = {role, 0};
        weir_ring_participants(
            bus_.c_str(), "ring",
            [](void *ctx, const struct weir_participant *participant) {
                Count *found = static_cast<Count *>(ctx);
                found->number += participant->role == found->role;
                return 0;
            },
            &count);
        return count.number;
    }
};

TEST_P(DaemonSupervise, RepairsTheClaimOfADeadPublisher)
{
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_pub *pub = publisher("ring");
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    struct weir_sub *sub;
    ASSERT_EQ(weir_sub_open(bus_.c_str(), "ring", &options, &sub), 0) << weir_last_error();
    Shared *shared = shared_page();
    for (int i = 0; i < 20; i++) {
        mem_store_release(&shared->words[0], 0);
        Child child([&] {
            struct weir_pub *mine = publisher("ring");
            void *data;
            if (weir_pub_claim(mine, 100, nullptr, patience_ns, &data) == 0)
                mem_store_release(&shared->words[0], 1);
            for (;;)
                pause();
        });
        ASSERT_TRUE(wait_until([&] { return mem_load_acquire(&shared->words[0]) == 1; }));
        /* Behind the claim, where nobody sees it yet. */
        uint64_t position = send(pub, "behind " + std::to_string(i));
        struct weir_message message;
        EXPECT_EQ(weir_sub_next(sub, 0, &message), -EAGAIN);
        EXPECT_EQ(participants(WEIR_PUBLISHER), 2);
        child.kill();
        ASSERT_EQ(weir_sub_next(sub, patience_ns, &message), 0) << weir_last_error();
        EXPECT_EQ(message.position, position);
        EXPECT_TRUE(wait_until([&] { return participants(WEIR_PUBLISHER) == 1; }));
        if (GetParam()) {
            EXPECT_EQ(wait_durable(pub, position), 0) << weir_last_error();
        }
    }
    munmap(shared, 4096);
    weir_sub_close(sub);
    weir_pub_close(pub);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

/* Whoever dies before it was ever looked at. */
TEST_P(DaemonSupervise, SeesWhoDiesRightAfterItCame)
{
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    for (int i = 0; i < 50; i++) {
        Child child([&] {
            struct weir_pub *mine = publisher("ring");
            void *data;
            weir_pub_claim(mine, 100, nullptr, patience_ns, &data);
            ::kill(getpid(), SIGKILL);
        });
        child.wait();
        EXPECT_TRUE(wait_until([&] { return participants(WEIR_PUBLISHER) == 0; })) << i;
    }
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

TEST_P(DaemonSupervise, FreesWhatDeadReadersHeld)
{
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    Shared *shared = shared_page();
    for (int i = 0; i < 10; i++) {
        mem_store_release(&shared->words[0], 0);
        Child child([&] {
            struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
            options.cursor = "place";
            options.gating = !GetParam();
            struct weir_sub *sub;
            if (weir_sub_open(bus_.c_str(), "ring", &options, &sub) == 0)
                mem_store_release(&shared->words[0], 1);
            for (;;)
                pause();
        });
        ASSERT_TRUE(wait_until([&] { return mem_load_acquire(&shared->words[0]) == 1; }));
        EXPECT_EQ(participants(WEIR_READER), 1);
        child.kill();
        EXPECT_TRUE(wait_until([&] { return participants(WEIR_READER) == 0; })) << weird.log();
    }
    munmap(shared, 4096);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

/* A stopped publisher is alive: nothing of it is touched. */
TEST_P(DaemonSupervise, LeavesAStoppedPublisherAlone)
{
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    Shared *shared = shared_page();
    Child child([&] {
        struct weir_pub *mine = publisher("ring");
        void *data;
        if (weir_pub_claim(mine, 100, nullptr, patience_ns, &data) == 0)
            mem_store_release(&shared->words[0], 1);
        while (mem_load_acquire(&shared->words[0]) != 2)
            usleep(100);
        memcpy(data, "written", 7);
        mem_store_release(&shared->words[0], weir_pub_commit(mine, 7, nullptr) == 0 ? 3 : 4);
        weir_pub_close(mine);
    });
    ASSERT_TRUE(wait_until([&] { return mem_load_acquire(&shared->words[0]) == 1; }));
    ::kill(child.pid(), SIGSTOP);
    uint64_t start = shm_now_ns();
    ASSERT_TRUE(wait_until([&] { return shm_now_ns() - start > 1200000000u; })); /* a sweep of the clock passes */
    EXPECT_EQ(participants(WEIR_PUBLISHER), 1);
    mem_store_release(&shared->words[0], 2);
    ::kill(child.pid(), SIGCONT);
    ASSERT_TRUE(wait_until([&] { return mem_load_acquire(&shared->words[0]) >= 3; }));
    EXPECT_EQ(mem_load_acquire(&shared->words[0]), 3u);
    EXPECT_EQ(child.wait(), 0);
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    struct weir_sub *sub;
    struct weir_message message;
    ASSERT_EQ(weir_sub_open(bus_.c_str(), "ring", &options, &sub), 0) << weir_last_error();
    ASSERT_EQ(weir_sub_next(sub, patience_ns, &message), 0) << weir_last_error();
    EXPECT_EQ(std::string((const char *)message.data, message.data_bytes), "written");
    weir_sub_close(sub);
    munmap(shared, 4096);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

/* Whoever resolved it: the dead may have been about to wake somebody. */
TEST_P(DaemonSupervise, RingsTheBellsWhenSomebodyHasGone)
{
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    struct ring_control *control = map_control("ring");
    uint64_t before = mem_load_acquire(&control->records.seq);
    /* One that it has seen: how soon it looks is its own affair. */
    EXPECT_TRUE(wait_until([&] {
        struct weir_pub *pub = publisher("ring");
        usleep(20000);
        weir_pub_close(pub);
        return mem_load_acquire(&control->records.seq) != before;
    })) << weird.log();
    munmap(control, RING_CONTROL_HEADER_BYTES);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

/* The daemon dies as well; the next one finds both deaths. */
TEST_P(DaemonSupervise, RepairsWhatDiedWhileItWasAway)
{
    {
        Weird weird(bus_, journal_);
        ASSERT_TRUE(weird.start()) << weird.log();
        weird.kill();
    }
    Child child([&] {
        struct weir_pub *mine = publisher("ring");
        void *data;
        weir_pub_claim(mine, 100, nullptr, patience_ns, &data);
        ::kill(getpid(), SIGKILL);
    });
    child.wait();
    EXPECT_EQ(info("ring").daemon_alive, 0);
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_EQ(info("ring").daemon_alive, 1);
    EXPECT_TRUE(wait_until([&] { return participants(WEIR_PUBLISHER) == 0; })) << weird.log();
    EXPECT_EQ(weird.stop(), 0) << weird.log();
    EXPECT_EQ(info("ring").daemon_alive, 0);
}

INSTANTIATE_TEST_SUITE_P(Rings, DaemonSupervise, testing::Values(true, false),
                         [](const testing::TestParamInfo<bool> &info) { return info.param ? "Journaled" : "Memory"; });

} // namespace
