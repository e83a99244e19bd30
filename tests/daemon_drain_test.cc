/* SPDX-License-Identifier: Apache-2.0 */
/* What is published reaches the journal: all of it, once, in order, whoever dies; and what is called durable is. */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing LABELS tsan TIMEOUT 600

#include "tests/daemon_support.hh"

#include <random>

namespace
{

using DaemonDrain = DaemonTest;

std::string numbered(uint64_t number, size_t bytes)
{
    std::string text = std::to_string(number) + ":";
    text.resize(bytes < text.size() ? text.size() : bytes, (char)('a' + number % 26));
    return text;
}

TEST_F(DaemonDrain, WritesEveryRecordInOrder)
{
    Weird weird(bus_, journal_);
    create("ring");
    ASSERT_TRUE(weird.start()) << weird.log();
    std::vector<std::string> sent;
    std::mt19937 random(1);
    struct weir_pub *pub = publisher("ring");
    uint64_t last = 0;
    for (uint64_t i = 0; i < 5000; i++) {
        sent.push_back(numbered(i, random() % 8 == 0 ? random() % 16000 : random() % 300));
        last = send(pub, sent.back());
    }
    ASSERT_EQ(wait_durable(pub, last), 0) << weir_last_error() << weird.log();
    EXPECT_EQ(data_of(journal("ring", info("ring").ring_id, 16384, info("ring").durable)), sent);
    EXPECT_EQ(last_journal_error_, 0);
    weir_pub_close(pub);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

TEST_F(DaemonDrain, DrainsAnExclusiveRingAndRecordsLargerThanItsBuffer)
{
    struct weir_ring_options options = small_ring();
    options.exclusive = 1;
    options.max_publishers = 0;
    options.segment_bytes = 8 << 20;
    options.memory_limit_bytes = 3 * options.segment_bytes;
    create("ring", options);
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    std::vector<std::string> sent;
    struct weir_pub *pub = publisher("ring");
    uint64_t last = 0;
    for (uint64_t i = 0; i < 30; i++) {
        sent.push_back(numbered(i, i % 3 == 0 ? (8u << 20) - 16 : i * 100000));
        last = send(pub, sent.back());
    }
    ASSERT_EQ(wait_durable(pub, last), 0) << weir_last_error() << weird.log();
    EXPECT_EQ(data_of(journal("ring", info("ring").ring_id, 8 << 20)), sent);
    weir_pub_close(pub);
}

TEST_F(DaemonDrain, TakesCancelledClaimsAndBatchesAsTheyAre)
{
    Weird weird(bus_, journal_);
    create("ring");
    ASSERT_TRUE(weird.start()) << weird.log();
    std::vector<std::string> sent;
    struct weir_pub *pub = publisher("ring");
    uint64_t last = 0;
    for (uint64_t i = 0; i < 300; i++) {
        void *data;
        ASSERT_EQ(weir_pub_claim(pub, 100 + i * 20, nullptr, deadline_ms * INT64_C(1000000), &data), 0);
        memset(data, 'x', 100);
        ASSERT_EQ(weir_pub_cancel(pub), 0);
        struct weir_message messages[3] = {};
        std::string texts[3];
        uint64_t positions[3];
        for (int j = 0; j < 3; j++) {
            texts[j] = numbered(3 * i + (uint64_t)j, 10 + 60 * (size_t)j);
            messages[j].data = texts[j].data();
            messages[j].data_bytes = texts[j].size();
            sent.push_back(texts[j]);
        }
        ASSERT_EQ(weir_pub_send_batch(pub, messages, 3, deadline_ms * INT64_C(1000000), positions), 0);
        last = positions[2];
    }
    ASSERT_EQ(wait_durable(pub, last), 0) << weir_last_error();
    EXPECT_EQ(data_of(journal("ring", info("ring").ring_id)), sent);
    weir_pub_close(pub);
}

TEST_F(DaemonDrain, ConfirmsOneByOneAndTellsWhatIsWritten)
{
    Weird weird(bus_, journal_);
    create("ring");
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_pub *pub = publisher("ring");
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t position = send(pub, numbered(i, 48));
        ASSERT_EQ(wait_durable(pub, position), 0) << weir_last_error();
        struct weir_ring_info now = info("ring");
        EXPECT_GT(now.durable, position);
        EXPECT_GE(now.written, now.durable);
        EXPECT_GE(now.visible, now.written);
        EXPECT_GE(now.lease, now.durable);
        EXPECT_EQ(now.journal_error, 0);
        EXPECT_EQ(now.daemon_alive, 1);
    }
    weir_pub_close(pub);
}

TEST_F(DaemonDrain, SyncsSoonThoughNobodyWaits)
{
    Weird weird(bus_, journal_);
    create("ring");
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_pub *pub = publisher("ring");
    uint64_t last = send(pub, "alone");
    EXPECT_TRUE(durable_reaches("ring", last + 1));
    weir_pub_close(pub);
}

TEST_F(DaemonDrain, TakesOverWhatWasPublishedBeforeItCame)
{
    create("ring");
    std::vector<std::string> sent;
    struct weir_pub *pub = publisher("ring");
    for (uint64_t i = 0; i < 500; i++) {
        sent.push_back(numbered(i, 100));
        send(pub, sent.back());
    }
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    sent.push_back("last");
    ASSERT_EQ(wait_durable(pub, send(pub, "last")), 0) << weir_last_error();
    EXPECT_EQ(data_of(journal("ring", info("ring").ring_id)), sent);
    weir_pub_close(pub);
}

TEST_F(DaemonDrain, WritesWhatIsCommittedBeforeItStops)
{
    Weird weird(bus_, journal_);
    create("ring");
    ASSERT_TRUE(weird.start()) << weird.log();
    std::vector<std::string> sent;
    struct weir_pub *pub = publisher("ring");
    uint64_t last = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        sent.push_back(numbered(i, 150));
        last = send(pub, sent.back());
    }
    EXPECT_EQ(weird.stop(), 0) << weird.log();
    EXPECT_GT(info("ring").durable, last);
    EXPECT_EQ(info("ring").daemon_alive, 0);
    EXPECT_EQ(data_of(journal("ring", info("ring").ring_id)), sent);
    weir_pub_close(pub);
}

/* P3: killed and started again at any moment while somebody publishes: nothing is lost, nothing comes twice. */
TEST_F(DaemonDrain, LosesNothingWhenItIsKilledAgainAndAgain)
{
    create("ring");
    Shared *shared = shared_page();
    constexpr uint64_t kills = 25;
    std::string bus = bus_;
    Child child([shared, bus] {
        struct weir_pub_options options = WEIR_PUB_OPTIONS_INIT;
        options.name = "producer";
        struct weir_pub *pub;
        if (weir_pub_open(bus.c_str(), "ring", &options, &pub) < 0)
            _exit(2);
        std::mt19937 random(7);
        for (uint64_t i = 0; mem_load_acquire(&shared->words[1]) == 0; i++) {
            std::string text = numbered(i, random() % 700);
            struct weir_message message = {};
            message.data = text.data();
            message.data_bytes = text.size();
            if (weir_pub_send_message(pub, &message, deadline_ms * INT64_C(1000000), nullptr) < 0)
                _exit(3);
            mem_store_release(&shared->words[0], i + 1);
        }
        weir_pub_close(pub);
    });
    std::mt19937 random(3);
    Weird weird(bus_, journal_);
    for (uint64_t i = 0; i < kills; i++) {
        ASSERT_TRUE(weird.start()) << weird.log();
        usleep(1000 + random() % 30000);
        weird.kill();
    }
    mem_store_release(&shared->words[1], 1);
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_EQ(child.wait(), 0);
    uint64_t count = mem_load_acquire(&shared->words[0]);
    struct weir_pub *pub = publisher("ring");
    ASSERT_EQ(wait_durable(pub, send(pub, "last")), 0) << weir_last_error();
    weir_pub_close(pub);
    EXPECT_EQ(weird.stop(), 0);

    std::vector<Record> records = journal("ring", info("ring").ring_id);
    ASSERT_EQ(records.size(), count + 1) << weird.log();
    std::mt19937 again(7);
    for (uint64_t i = 0; i < count; i++)
        ASSERT_EQ(records[i].data, numbered(i, again() % 700));
    EXPECT_EQ(records.back().data, "last");
    munmap(shared, 4096);
}

std::string path_of(int fd)
{
    char path[PATH_MAX] = "";
    ssize_t bytes = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path - 1);
    return std::string(path, bytes > 0 ? (size_t)bytes : 0);
}

/* Drains up to a position in a process of its own, which dies at its n-th step; 0: it does not. True: it got through. */
bool drain_in_child(const std::string &bus, const std::string &journal, uint64_t position, uint64_t die_at)
{
    Child child([&] {
        struct jio_hooks hooks = {step_on_disk, nullptr, nullptr};
        if (die_at) {
            mem_store_release_(&steps_left, die_at);
            jio_hooks = &hooks;
            mem_point_hook = [](struct mem_site *site) {
                if (strncmp(site->file, "daemon/", 7) == 0)
                    step();
            };
        }
        struct weird_options options = {};
        options.bus = bus.c_str();
        options.journal = journal.c_str();
        options.threads = 1;
        struct weird *weird;
        struct shm_why why = {};
        if (!freopen((journal + ".log").c_str(), "a", stderr) || weird_start(&options, &weird, &why) < 0)
            _exit(2);
        struct weir_ring_info info = {};
        info.size = sizeof info;
        bool through =
            wait_until([&] { return weir_ring_inspect(bus.c_str(), "ring", &info) == 0 && info.durable > position; });
        weird_stop(weird);
        _exit(through ? 0 : 3);
    });
    int status = child.wait();
    EXPECT_TRUE(status == 0 || (die_at && status == -SIGKILL)) << status << " at step " << die_at;
    return status == 0;
}

/* The same, at each single step in turn: its n-th store to the ring, its n-th call to the disk. */
TEST_F(DaemonDrain, LosesNothingAtWhicheverStepItDies)
{
    create("ring");
    struct weir_pub *pub = publisher("ring", "producer");
    std::vector<std::string> sent;
    bool through = false;
    uint64_t steps = 0;
    while (!through && !HasFailure()) {
        uint64_t last = 0;
        for (int i = 0; i < 60; i++) {
            std::string text = numbered(sent.size(), 40 + 400 * (sent.size() % 3));
            struct weir_message message = {};
            message.data = text.data();
            message.data_bytes = text.size();
            message.has = WEIR_HAS_SEQUENCE;
            message.sequence = sent.size() + 1;
            ASSERT_EQ(weir_pub_send_message(pub, &message, deadline_ms * INT64_C(1000000), &last), 0)
                << weir_last_error();
            sent.push_back(text);
        }
        steps += step_stride;
        through = drain_in_child(bus_, journal_, last, steps);
        struct weir_ring_info now = info("ring");
        EXPECT_LE(now.durable, now.written);
        EXPECT_LE(now.written, now.visible);
        EXPECT_TRUE(drain_in_child(bus_, journal_, last, 0));
    }
    EXPECT_GT(steps, 30u);
    RecordProperty("steps", (int)steps);
    std::vector<Record> records = journal("ring", info("ring").ring_id);
    EXPECT_EQ(data_of(records), sent);
    weir_pub_close(pub);

    /* The sequence is what was drained, whatever was killed in between: the host is restarted. */
    lose_memory();
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    uint64_t sequence = 0;
    pub = publisher("ring", "producer");
    EXPECT_EQ(weir_pub_last_sequence(pub, &sequence), 0);
    EXPECT_EQ(sequence, sent.size());
    weir_pub_close(pub);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

TEST_F(DaemonDrain, SpreadsRingsOverItsThreads)
{
    Weird weird(bus_, journal_);
    weird.more_options = {"--threads", "3"};
    for (int i = 0; i < 10; i++)
        create("ring" + std::to_string(i));
    ASSERT_TRUE(weird.start()) << weird.log();
    for (int i = 0; i < 10; i++) {
        std::string ring = "ring" + std::to_string(i);
        struct weir_pub *pub = publisher(ring);
        std::vector<std::string> sent;
        uint64_t last = 0;
        for (uint64_t j = 0; j < 200; j++) {
            sent.push_back(numbered(j, (size_t)i * 50));
            last = send(pub, sent.back());
        }
        ASSERT_EQ(wait_durable(pub, last), 0) << weir_last_error();
        EXPECT_EQ(data_of(journal(ring, info(ring).ring_id)), sent);
        weir_pub_close(pub);
    }
    EXPECT_EQ(weird.stop(), 0);
}

/* P4. The n-th sync fails: what was durable stays, nothing more becomes it, and whoever waits is told. */
struct Failing {
    enum jio_call call;
    std::string folder; /* of this journal alone */
    struct mem_u64 armed;
    struct mem_u64 failed;
};

int64_t fail_io(void *ctx, const struct jio_event *event)
{
    Failing *failing = static_cast<Failing *>(ctx);
    if (event->call != failing->call || mem_load_acquire(&failing->armed) == 0 ||
        path_of(event->fd).find(failing->folder) == std::string::npos)
        return 0;
    mem_add_(&failing->failed, 1);
    return -EIO;
}

class DaemonDiskError : public DaemonTest, public testing::WithParamInterface<enum jio_call>
{
};

TEST_P(DaemonDiskError, StopsThatJournalAndTellsEveryone)
{
    create("bad");
    create("good");
    Failing failing = {GetParam(), "/bad/", {0}, {0}};
    struct jio_hooks hooks = {fail_io, nullptr, &failing};
    jio_hooks = &hooks;
    {
        Embedded weird(bus_, journal_);
        ASSERT_EQ(weird.error, 0) << weird.why.text;
        struct weir_pub *bad = publisher("bad"), *good = publisher("good");
        ASSERT_EQ(wait_durable(bad, send(bad, "safe")), 0) << weir_last_error();
        uint64_t durable = info("bad").durable;
        mem_store_release_(&failing.armed, 1);
        uint64_t position = send(bad, "lost");
        EXPECT_EQ(wait_durable(bad, position), -EIO) << weir_last_error();
        EXPECT_EQ(info("bad").durable, durable);
        EXPECT_EQ(info("bad").journal_error, EIO);
        uint64_t failures = mem_load_acquire(&failing.failed);
        EXPECT_GE(failures, 1u);
        /* The other one goes on, and nobody tries the broken one again. */
        ASSERT_EQ(wait_durable(good, send(good, "fine")), 0) << weir_last_error();
        mem_store_release_(&failing.armed, 0);
        EXPECT_EQ(weir_pub_confirm(bad, send(bad, "more"), WEIR_DURABLE), -EIO);
        ASSERT_EQ(wait_durable(good, send(good, "fine")), 0) << weir_last_error();
        EXPECT_EQ(info("bad").durable, durable);
        EXPECT_EQ(mem_load_acquire(&failing.failed), failures);
        weir_pub_close(bad);
        weir_pub_close(good);
    }
    /* A new start writes again from what was durable. */
    {
        Embedded weird(bus_, journal_);
        ASSERT_EQ(weird.error, 0) << weird.why.text;
        struct weir_pub *bad = publisher("bad");
        ASSERT_EQ(wait_durable(bad, send(bad, "last")), 0) << weir_last_error();
        EXPECT_EQ(info("bad").journal_error, 0);
        weir_pub_close(bad);
    }
    jio_hooks = nullptr;
    EXPECT_EQ(data_of(journal("bad", info("bad").ring_id)), (std::vector<std::string>{"safe", "lost", "more", "last"}));
}

INSTANTIATE_TEST_SUITE_P(Calls, DaemonDiskError, testing::Values(JIO_WRITE, JIO_SYNC_DATA));

/* P4 the other way round: while a sync has not returned, what it is about is not durable. */
TEST_F(DaemonDrain, CallsNothingDurableBeforeItsSyncReturns)
{
    struct Watching {
        std::string bus;
        uint64_t syncs, early;
    } watching = {bus_, 0, 0};
    create("ring");
    struct jio_hooks hooks = {[](void *ctx, const struct jio_event *event) -> int64_t {
                                  Watching *watch = static_cast<Watching *>(ctx);
                                  struct weir_ring_info before = {}, after = {};
                                  before.size = after.size = sizeof before;
                                  if (event->call != JIO_SYNC_DATA ||
                                      path_of(event->fd).find(".seg") == std::string::npos)
                                      return 0;
                                  weir_ring_inspect(watch->bus.c_str(), "ring", &before);
                                  usleep(2000);
                                  weir_ring_inspect(watch->bus.c_str(), "ring", &after);
                                  watch->syncs++;
                                  watch->early += after.durable != before.durable || after.written <= after.durable;
                                  return 0;
                              },
                              nullptr, &watching};
    jio_hooks = &hooks;
    {
        Embedded weird(bus_, journal_);
        ASSERT_EQ(weird.error, 0) << weird.why.text;
        struct weir_pub *pub = publisher("ring");
        for (uint64_t i = 0; i < 500; i++) {
            uint64_t position = send(pub, numbered(i, 500));
            if (i % 50 == 0) {
                EXPECT_EQ(wait_durable(pub, position), 0) << weir_last_error();
            }
        }
        weir_pub_close(pub);
    }
    jio_hooks = nullptr;
    EXPECT_GE(watching.syncs, 10u);
    EXPECT_EQ(watching.early, 0u);
}

TEST_F(DaemonDrain, SleepsWhenThereIsNothingToDo)
{
    create("ring");
    Embedded weird(bus_, journal_);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("ring");
    ASSERT_EQ(wait_durable(pub, send(pub, "one")), 0) << weir_last_error();
    uint64_t before = weird_sleeps(weird.weird), start = shm_now_ns();
    ASSERT_TRUE(wait_until([&] { return shm_now_ns() - start > 1500000000u; }));
    /* It is meant to have five sleeps a second, after some shorter ones. */
    EXPECT_LT(weird_sleeps(weird.weird) - before, 60u);
    /* And it wakes at once for somebody who waits. */
    EXPECT_EQ(wait_durable(pub, send(pub, "two")), 0) << weir_last_error();
    weir_pub_close(pub);
}

} // namespace
