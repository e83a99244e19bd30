/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a journal is synced: for whoever waits, each so many milliseconds, or never; what written and durable mean under each,
 * when memory is given up, and what a death of the daemon leaves.
 */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing TIMEOUT 300

#include "tests/daemon_support.hh"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

namespace
{

struct policy_rules synced(enum policy_sync sync, uint32_t interval_ms = 0)
{
    struct policy_rules rules = {};
    rules.room = {0, 1 << 20, 95, 90};
    rules.base.sync = sync;
    rules.base.sync_interval_ms = interval_ms;
    return rules;
}

/* Syncs of segment files that were made since it is there. */
class Syncs
{
public:
    Syncs()
    {
        hooks_ = {before, nullptr, this};
        jio_hooks = &hooks_;
    }
    Syncs(const Syncs &) = delete;
    Syncs &operator=(const Syncs &) = delete;
    ~Syncs()
    {
        jio_hooks = nullptr;
    }
    uint64_t count()
    {
        return mem_load_acquire(&count_);
    }
    void fail()
    {
        mem_store_release(&fails_, 1);
    }

private:
    static int64_t before(void *ctx, const struct jio_event *event)
    {
        Syncs *syncs = static_cast<Syncs *>(ctx);
        char link[64], path[512] = "";
        if (event->call != JIO_SYNC_DATA)
            return 0;
        snprintf(link, sizeof link, "/proc/self/fd/%d", event->fd);
        ssize_t bytes = readlink(link, path, sizeof path - 1);
        if (bytes < 4 || strcmp(path + bytes - 4, ".seg") != 0)
            return 0;
        mem_store_release(&syncs->count_, mem_load_acquire(&syncs->count_) + 1); /* by the drain's one thread */
        return mem_load_acquire(&syncs->fails_) ? -EIO : 0;
    }

    struct jio_hooks hooks_ = {};
    struct mem_u64 count_ = {0}, fails_ = {0};
};

class DaemonSync : public DaemonTest
{
protected:
    bool written_reaches(uint64_t position)
    {
        return wait_until([&] { return info("r").written >= position; });
    }
    uint64_t drained()
    {
        struct ring_control *control = map_control("r");
        uint64_t drained = mem_load_acquire(&control->drained);
        munmap(control, RING_CONTROL_HEADER_BYTES);
        return drained;
    }
    std::vector<std::string> read_all(size_t count)
    {
        std::vector<std::string> all;
        const struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
        struct weir_sub *sub = nullptr;
        EXPECT_EQ(weir_sub_open(bus_.c_str(), "r", &options, &sub), 0) << weir_last_error();
        struct weir_message message = {};
        while (sub && all.size() < count && weir_sub_next(sub, deadline_ms * INT64_C(1000000), &message) == 0)
            all.emplace_back(static_cast<const char *>(message.data), message.data_bytes);
        weir_sub_close(sub);
        return all;
    }
    static std::string text(size_t number)
    {
        return std::to_string(number) + std::string(1000, 'x');
    }
};

TEST_F(DaemonSync, AlwaysSyncsSoonWithoutAnybodyWaiting)
{
    create("r");
    struct policy_rules rules = synced(POLICY_SYNC_ALWAYS);
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("r");
    uint64_t position = send(pub, "one");
    EXPECT_TRUE(durable_reaches("r", position + 1));
    EXPECT_EQ(info("r").sync, WEIR_SYNC_ALWAYS);
    weir_pub_close(pub);
}

/* Each confirm that is waited for takes one interval: so many of them cannot have had more syncs than intervals went by. */
TEST_F(DaemonSync, AnIntervalIsKeptWhoeverWaits)
{
    constexpr uint32_t interval_ms = 50;
    create("r");
    Syncs syncs;
    struct policy_rules rules = synced(POLICY_SYNC_INTERVAL, interval_ms);
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("r");
    uint64_t begun_ns = shm_now_ns();
    for (int i = 0; i < 8; i++)
        ASSERT_EQ(wait_durable(pub, send(pub, "one")), 0) << weir_last_error();
    uint64_t intervals = (shm_now_ns() - begun_ns) / (interval_ms * UINT64_C(1000000));
    EXPECT_GE(intervals, 7u) << "a confirm came before its time";
    EXPECT_LE(syncs.count(), intervals + 1);
    EXPECT_EQ(info("r").sync, WEIR_SYNC_INTERVAL);
    EXPECT_EQ(info("r").sync_interval_ms, interval_ms);
    weir_pub_close(pub);
}

/* Memory is given up for what is written; nothing is called durable that was not synced. */
TEST_F(DaemonSync, NeverSyncsForNobodyAndStillGivesMemoryUp)
{
    create("r");
    {
        Syncs syncs;
        struct policy_rules rules = synced(POLICY_SYNC_NEVER);
        Embedded weird(bus_, journal_, &rules);
        ASSERT_EQ(weird.error, 0) << weird.why.text;
        struct weir_pub *pub = publisher("r");
        uint64_t first = info("r").durable, position = 0;
        for (size_t i = 0; i < 100; i++)
            position = send(pub, text(i));
        ASSERT_TRUE(written_reaches(position + 1));
        EXPECT_EQ(weir_pub_wait(pub, position, WEIR_DURABLE, 100 * INT64_C(1000000)), -ETIMEDOUT);
        EXPECT_EQ(info("r").durable, first);
        EXPECT_GT(drained(), position);
        EXPECT_EQ(syncs.count(), 0u);
        EXPECT_EQ(info("r").sync, WEIR_SYNC_NEVER);
        weir_pub_close(pub);
    }
    EXPECT_GE(info("r").durable, info("r").written) << "a clean stop syncs";
}

/* Many times what memory holds: publishers never wait for a sync, and what recovery has to read stays bounded. */
TEST_F(DaemonSync, NeverIsBoundedByTheFilesThatAreOpen)
{
    create("r");
    struct policy_rules rules = synced(POLICY_SYNC_NEVER);
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("r");
    uint64_t position = 0;
    for (size_t i = 0; i < 2000; i++)
        position = send(pub, text(i));
    ASSERT_TRUE(written_reaches(position + 1));
    EXPECT_TRUE(durable_reaches("r", position - (JOURNAL_FILES_MAX + 1) * UINT64_C(16384)));
    weir_pub_close(pub);
}

/* Stopped in the middle of it, with a sync under way and as much written ahead of it as may be. */
TEST_F(DaemonSync, ACleanStopLeavesNothingBehindHoweverMuchIsOnItsWay)
{
    constexpr uint64_t memory_bytes = 8 << 20;
    struct weir_ring_options options = small_ring();
    options.memory_limit_bytes = memory_bytes;
    create("r", options);
    for (const enum policy_sync sync : {POLICY_SYNC_NEVER, POLICY_SYNC_ALWAYS}) {
        for (uint64_t round = 0; round < 16; round++) {
            struct policy_rules rules = synced(sync);
            struct weir_pub *pub = publisher("r");
            uint64_t position = 0, before = info("r").durable;
            for (size_t i = 0; i < 4000; i++)
                position = send(pub, text(i));
            weir_pub_close(pub);
            {
                Embedded weird(bus_, journal_, &rules);
                ASSERT_EQ(weird.error, 0) << weird.why.text;
                ASSERT_TRUE(written_reaches(before + round * memory_bytes / 32));
                EXPECT_GE(info("r").durable, before);
            }
            EXPECT_GT(info("r").durable, position);
        }
    }
}

/* What is old may only go when it is durable: a ring that waits for room is synced, though it is to be never. */
TEST_F(DaemonSync, NeverDoesNotHoldUpWhatIsOldWhenThereIsNoRoom)
{
    create("r");
    struct policy_rules rules = synced(POLICY_SYNC_NEVER);
    rules.base.limit_bytes = 12 * (16384 + 4096);
    rules.base.when_limited = POLICY_LIMITED_BLOCK;
    rules.base.retain_bytes = 4 * 16384;
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("r");
    uint64_t position = 0;
    for (size_t i = 0; i < 1000 && !HasFailure(); i++)
        position = send(pub, text(i));
    EXPECT_TRUE(written_reaches(position + 1));
    weir_pub_close(pub);
}

TEST_F(DaemonSync, AFailedSyncUnderNeverIsNoFalseDurable)
{
    create("r");
    Syncs syncs;
    struct policy_rules rules = synced(POLICY_SYNC_NEVER);
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    syncs.fail();
    struct weir_pub *pub = publisher("r");
    uint64_t first = info("r").durable;
    std::string data = text(0);
    uint64_t position;
    for (size_t i = 0; i < 2000 && info("r").journal_error == 0; i++)
        (void)weir_pub_send(pub, data.data(), data.size(), 10 * INT64_C(1000000), &position);
    EXPECT_EQ(info("r").journal_error, EIO);
    EXPECT_EQ(info("r").durable, first);
    weir_pub_close(pub);
}

/* The ring's memory was given up below what is written: the next daemon finds all of it in the journal, and secures it. */
TEST_F(DaemonSync, WhatWasWrittenUnderNeverSurvivesTheDaemon)
{
    create("r");
    std::string file = journal_ + "/../weird.conf";
    std::ofstream(file) << "[ring]\nsync = never\n";
    Weird weird(bus_, journal_);
    weird.more_options = {"--config", file};
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_pub *pub = publisher("r");
    std::vector<std::string> sent;
    uint64_t position = 0;
    for (size_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < 150; i++) {
            sent.push_back(text(sent.size()));
            position = send(pub, sent.back());
        }
        ASSERT_TRUE(written_reaches(position + 1));
        uint64_t before = drained();
        EXPECT_GT(before, info("r").durable);
        weird.kill();
        ASSERT_TRUE(weird.start()) << weird.log();
        EXPECT_GE(drained(), before);
        EXPECT_GE(info("r").durable, before) << "recovery makes durable what it found";
    }
    EXPECT_EQ(read_all(sent.size()), sent);
    weir_pub_close(pub);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
    lose_memory();
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_EQ(read_all(sent.size()), sent);
}

/* A drain that is held up behind its first files, and what it tells meanwhile. */
struct HeldUp {
    struct ring_control *control;
    struct mem_u64 armed, met, lowest;
};
int64_t hold_up(void *ctx, const struct jio_event *event)
{
    HeldUp *held_up = static_cast<HeldUp *>(ctx);
    char name[16] = "";
    if (event->call != JIO_OPEN || strstr(event->name, "2.seg") == nullptr || mem_load_acquire(&held_up->armed) == 0 ||
        prctl(PR_GET_NAME, name) != 0 || strcmp(name, "weird-drain") != 0)
        return 0;
    uint64_t written = mem_load_acquire(&held_up->control->written);
    if (written < mem_load_acquire(&held_up->lowest))
        mem_store_release_(&held_up->lowest, written);
    mem_add_(&held_up->met, 1);
    return -EMFILE;
}

/* Written says that the kernel has it: that a new daemon writes it again does not take that back. */
TEST_F(DaemonSync, WrittenIsNotTakenBackByTheNextDaemon)
{
    create("r");
    std::string file = journal_ + "/../weird.conf";
    std::ofstream(file) << "[ring]\nsync = interval 1m\n";
    struct weir_pub *pub = publisher("r");
    uint64_t position = 0;
    {
        Weird weird(bus_, journal_);
        weird.more_options = {"--config", file};
        ASSERT_TRUE(weird.start()) << weird.log();
        for (size_t i = 0; i < 80; i++)
            position = send(pub, text(i));
        ASSERT_EQ(weir_pub_wait(pub, position, WEIR_WRITTEN, deadline_ms * INT64_C(1000000)), 0);
        weird.kill();
    }
    struct weir_ring_info before = info("r");
    ASSERT_GT(before.written, position);
    ASSERT_LT(before.durable, before.written - 2 * 16384) << "several files are to be written again";
    HeldUp held_up = {map_control("r"), {1}, {0}, {UINT64_MAX}};
    struct jio_hooks hooks = {hold_up, nullptr, &held_up};
    jio_hooks = &hooks;
    {
        struct policy_rules rules = synced(POLICY_SYNC_ALWAYS);
        Embedded weird(bus_, journal_, &rules);
        ASSERT_EQ(weird.error, 0) << weird.why.text;
        EXPECT_TRUE(wait_until([&] { return mem_load_acquire(&held_up.met) >= 3; })) << "tried again";
        EXPECT_GE(info("r").written, before.written);
        mem_store_release_(&held_up.armed, 0);
        EXPECT_EQ(wait_durable(pub, position), 0) << weir_last_error();
    }
    jio_hooks = nullptr;
    EXPECT_GE(mem_load_acquire(&held_up.lowest), before.written);
    munmap(held_up.control, RING_CONTROL_HEADER_BYTES);
    weir_pub_close(pub);
}

/* As containers often do. */
void refuse_io_uring()
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof steps / sizeof steps[0], steps};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(2);
}

TEST_F(DaemonSync, ThreadsWriteWhereIoUringIsRefused)
{
    struct weir_ring_options options = small_ring();
    options.segment_bytes = 1 << 20; /* so that there is enough to be written while the next is copied */
    options.memory_limit_bytes = 8 << 20;
    create("r", options);
    Child child([&] {
        refuse_io_uring();
        Weird weird(bus_, journal_);
        bool started = weird.start();
        struct weir_pub *pub = publisher("r");
        uint64_t position = 0;
        for (size_t i = 0; i < 20000; i++)
            position = send(pub, text(i));
        bool durable = wait_durable(pub, position) == 0;
        bool threads = weird.log().find("journals are written by threads") != std::string::npos;
        weir_pub_close(pub);
        _exit(started && durable && threads && weird.stop() == 0 ? 0 : 1);
    });
    EXPECT_EQ(child.wait(), 0);
    std::vector<std::string> all = data_of(journal("r", info("r").ring_id, 1 << 20));
    ASSERT_EQ(all.size(), 20000u);
    for (size_t i = 0; i < all.size(); i++)
        ASSERT_EQ(all[i], text(i));
}

} // namespace
