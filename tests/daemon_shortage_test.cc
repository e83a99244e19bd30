/* SPDX-License-Identifier: Apache-2.0 */
/* Shortages that pass: no room on the disk, no memory. Nothing is lost, publishers wait, and it goes on by itself. */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing LABELS tsan TIMEOUT 300

#include "tests/daemon_support.hh"

#include <sched.h>
#include <sys/mount.h>

namespace
{

using DaemonShortage = DaemonTest;

struct Shortage {
    int error;
    struct mem_u64 armed, met;
};

/* Files are made by opening and by allocating; what is there already can be written. */
int64_t run_short(void *ctx, const struct jio_event *event)
{
    Shortage *shortage = static_cast<Shortage *>(ctx);
    bool makes = event->call == JIO_ALLOCATE || (event->call == JIO_OPEN && event->name != nullptr &&
                                                 std::string(event->name).find(".new") != std::string::npos);
    if (!makes || mem_load_acquire(&shortage->armed) == 0)
        return 0;
    mem_add_(&shortage->met, 1);
    return -shortage->error;
}

std::string record(int number)
{
    return std::to_string(number) + std::string(1000, 'x');
}

class DaemonShortageOf : public DaemonTest, public testing::WithParamInterface<int>
{
};

TEST_P(DaemonShortageOf, HoldsPublishersUpAndGoesOnWithoutAStart)
{
    create("ring");
    Shortage shortage = {GetParam(), {0}, {0}};
    struct jio_hooks hooks = {run_short, nullptr, &shortage};
    std::vector<std::string> sent;
    jio_hooks = &hooks;
    {
        Embedded weird(bus_, journal_);
        ASSERT_EQ(weird.error, 0) << weird.why.text;
        struct weir_pub *pub = publisher("ring", "named");
        auto publish = [&](int64_t timeout_ns) {
            std::string text = record((int)sent.size());
            int r = weir_pub_send(pub, text.data(), text.size(), timeout_ns, nullptr);
            if (r == 0)
                sent.push_back(text);
            return r;
        };
        ASSERT_EQ(publish(deadline_ms * INT64_C(1000000)), 0) << weir_last_error();
        for (int round = 0; round < 3; round++) {
            mem_store_release_(&shortage.armed, 1);
            /* Until the memory is full, and the daemon has no file to write to. */
            ASSERT_TRUE(wait_until([&] { return publish(0) == -EAGAIN && info("ring").journal_error != 0; }));
            struct weir_ring_info now = info("ring");
            EXPECT_EQ(now.journal_error, GetParam());
            EXPECT_EQ(now.journal_retries, 1);
            EXPECT_LT(now.durable, now.end_position);
            /* `block`: it waits as long as it was told to, and is told for what. */
            EXPECT_EQ(publish(20000000), -ETIMEDOUT);
            EXPECT_NE(std::string(weir_last_error()).find(strerror(GetParam())), std::string::npos)
                << weir_last_error();
            EXPECT_EQ(weir_pub_wait(pub, now.end_position - 1, WEIR_DURABLE, 20000000), -ETIMEDOUT);
            EXPECT_NE(std::string(weir_last_error()).find(strerror(GetParam())), std::string::npos)
                << weir_last_error();
            uint64_t met = mem_load_acquire(&shortage.met);
            ASSERT_TRUE(wait_until([&] { return mem_load_acquire(&shortage.met) > met; })) << "it tries again";

            mem_store_release_(&shortage.armed, 0);
            ASSERT_EQ(publish(deadline_ms * INT64_C(1000000)), 0) << weir_last_error();
            ASSERT_TRUE(durable_reaches("ring", info("ring").end_position));
            EXPECT_EQ(info("ring").journal_error, 0);
        }
        weir_pub_close(pub);
    }
    jio_hooks = nullptr;
    EXPECT_EQ(data_of(journal("ring", info("ring").ring_id)), sent);
}

INSTANTIATE_TEST_SUITE_P(Errors, DaemonShortageOf, testing::Values(ENOSPC, EMFILE, ENOMEM));

/* It may be stopped in the middle of it: what the disk takes is there, the rest is in memory for the next one. */
TEST_F(DaemonShortage, MayEndAndBeginWhileTheDiskIsFull)
{
    create("ring");
    Shortage shortage = {ENOSPC, {0}, {0}};
    struct jio_hooks hooks = {run_short, nullptr, &shortage};
    std::vector<std::string> sent;
    struct weir_pub *pub = nullptr;
    jio_hooks = &hooks;
    for (uint64_t full : {1, 1, 0}) {
        mem_store_release_(&shortage.armed, 0);
        Embedded weird(bus_, journal_);
        ASSERT_EQ(weird.error, 0) << weird.why.text;
        mem_store_release_(&shortage.armed, full);
        pub = pub ? pub : publisher("ring");
        for (int i = 0; i < 100; i++) {
            sent.push_back(record((int)sent.size()));
            send(pub, sent.back());
        }
        if (full) {
            EXPECT_TRUE(wait_until([&] { return info("ring").journal_error == ENOSPC; }));
        } else {
            EXPECT_TRUE(durable_reaches("ring", info("ring").end_position));
        }
    }
    jio_hooks = nullptr;
    weir_pub_close(pub);
    EXPECT_EQ(data_of(journal("ring", info("ring").ring_id)), sent);
}

/* One segment's file is made, and no other. */
int64_t one_file(void *ctx, const struct jio_event *event)
{
    struct mem_u64 *left = static_cast<struct mem_u64 *>(ctx);
    if (event->call != JIO_ALLOCATE || event->bytes <= 16384 || mem_load_acquire(left) == UINT64_MAX)
        return 0;
    if (mem_load_acquire(left) == 0)
        return -EDQUOT;
    mem_store_release_(left, 0);
    return 0;
}

/*
 * A named publisher's records that are refused are lost with the memory: it must not be told that they are kept, whatever was
 * synced and saved after they were refused.
 */
TEST_F(DaemonShortage, CountsNoSequenceThatCouldNotBeWritten)
{
    create("ring");
    struct mem_u64 left = {1};
    struct jio_hooks hooks = {one_file, nullptr, &left};
    struct policy_rules rules = {};
    rules.room = {0, 1 << 20, 95, 90};
    rules.base.sync = POLICY_SYNC_INTERVAL;
    rules.base.sync_interval_ms = 3600000;
    uint64_t sent = 0, sequence = 0;
    struct weir_ring_info before;
    jio_hooks = &hooks;
    {
        Embedded weird(bus_, journal_, &rules);
        ASSERT_EQ(weird.error, 0) << weird.why.text;
        struct weir_pub *pub = publisher("ring", "named");
        auto publish = [&] {
            std::string text = record((int)sent);
            struct weir_message message = {};
            message.data = text.data();
            message.data_bytes = text.size();
            message.has = WEIR_HAS_SEQUENCE;
            message.sequence = sent + 1;
            int r = weir_pub_send_message(pub, &message, 0, nullptr);
            sent += r == 0;
            return r;
        };
        ASSERT_TRUE(wait_until([&] { return publish() == -EAGAIN && info("ring").journal_error == EDQUOT; }));
        before = info("ring");
        EXPECT_LT(before.durable, before.written) << "the end of the daemon has something to sync";
        weir_pub_close(pub);
    }
    mem_store_release_(&left, UINT64_MAX);
    size_t kept = journal("ring", before.ring_id).size();
    EXPECT_GT(kept, 0u);
    EXPECT_LT(kept, sent);
    lose_memory();
    {
        Embedded weird(bus_, journal_, &rules);
        ASSERT_EQ(weird.error, 0) << weird.why.text;
        struct weir_pub *pub = publisher("ring", "named");
        EXPECT_EQ(weir_pub_last_sequence(pub, &sequence), 0);
        EXPECT_EQ(sequence, kept);
        weir_pub_close(pub);
    }
    jio_hooks = nullptr;
}

/* A real full disk: a tmpfs in a mount namespace, with a file that takes all there is. */
int fill_and_free(const std::string &bus, const std::string &journal,
                  const std::function<struct weir_ring_info()> &look)
{
    std::string filler = journal + "/filler";
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("small", journal.c_str(), "tmpfs", 0, "size=1m,mode=755") != 0)
        return 77;
    Weird weird(bus, journal);
    if (!weird.start())
        return 1;
    struct weir_pub_options options = WEIR_PUB_OPTIONS_INIT;
    struct weir_pub *pub = nullptr;
    if (weir_pub_open(bus.c_str(), "ring", &options, &pub) != 0)
        return 2;
    int fd = open(filler.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    std::string page(4096, 'f'), text(1000, 'x');
    while (write(fd, page.data(), page.size()) > 0) {
    }
    close(fd);
    if (!wait_until([&] {
            return weir_pub_send(pub, text.data(), text.size(), 0, nullptr) == -EAGAIN &&
                   look().journal_error == ENOSPC;
        }))
        return 3;
    if (!weird.says("It is tried again"))
        return 4;
    unlink(filler.c_str());
    uint64_t position = 0;
    if (weir_pub_send(pub, text.data(), text.size(), deadline_ms * INT64_C(1000000), &position) != 0)
        return 5;
    if (weir_pub_wait(pub, position, WEIR_DURABLE, deadline_ms * INT64_C(1000000)) != 0)
        return 6;
    if (look().journal_error != 0 || weird.times_said("its journal goes on") != 1)
        return 7;
    weir_pub_close(pub);
    return weird.stop() == 0 ? 0 : 8;
}

TEST_F(DaemonShortage, GoesOnWhenAFullDiskHasRoomAgain)
{
    create("ring");
    Child child([this] { _exit(fill_and_free(bus_, journal_, [this] { return info("ring"); })); });
    int status = child.wait();
    if (status == 77)
        GTEST_SKIP() << "a mount namespace, or a tmpfs in it, is not permitted here";
    EXPECT_EQ(status, 0) << Weird(bus_, journal_).log();
}

} // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
namespace
{
struct mem_u64 refusals;
}

/* Of glibc: what calloc() is but for this test. */
extern "C" void *__libc_calloc(size_t count, size_t bytes);
extern "C" void *calloc(size_t count, size_t bytes)
{
    char name[16] = "";
    if (mem_load_acquire(&refusals) != 0 && prctl(PR_GET_NAME, name) == 0 &&
        (strcmp(name, "weird-drain") == 0 || strcmp(name, "weird-watch") == 0)) {
        mem_add_(&refusals, (uint64_t)-1);
        errno = ENOMEM;
        return nullptr;
    }
    return __libc_calloc(count, bytes);
}

namespace
{

/* A ring that came while there was no memory to take it in is taken in later, though nothing else changes. */
TEST_F(DaemonShortage, TakesARingInThatItHadNoMemoryFor)
{
    Embedded weird(bus_, journal_);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    mem_store_release_(&refusals, 4);
    create("ring");
    EXPECT_TRUE(wait_until([&] { return mem_load_acquire(&refusals) == 0; }));
    struct weir_pub *pub = publisher("ring");
    EXPECT_EQ(wait_durable(pub, send(pub, "taken in")), 0) << weir_last_error();
    /* And its dead are put in order. */
    Child child([&] {
        struct weir_pub *mine = publisher("ring");
        void *data;
        weir_pub_claim(mine, 100, nullptr, 0, &data);
        ::kill(getpid(), SIGKILL);
    });
    child.wait();
    EXPECT_EQ(wait_durable(pub, send(pub, "behind it")), 0) << weir_last_error();
    weir_pub_close(pub);
}

} // namespace
#endif
