/* SPDX-License-Identifier: Apache-2.0 */
/* The host was restarted: the bus is empty, and rings come back from their journals. */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing LABELS tsan TIMEOUT 300

#include "tests/daemon_support.hh"

namespace
{

class DaemonRestore : public DaemonTest
{
protected:
    struct weir_message named(const std::string &text)
    {
        struct weir_message message = {};
        message.data = text.data();
        message.data_bytes = text.size();
        message.has = WEIR_HAS_SEQUENCE;
        return message;
    }

    /* A ring with a few records of two named publishers and a saved cursor, drained; then the host is restarted. */
    void live_and_lose(bool cleanly)
    {
        create("ring");
        Weird weird(bus_, journal_);
        ASSERT_TRUE(weird.start()) << weird.log();
        struct weir_pub *first = publisher("ring", "first"), *second = publisher("ring", "second");
        uint64_t position = 0;
        for (uint64_t i = 1; i <= 100; i++) {
            std::string text = "record " + std::to_string(i);
            struct weir_message message = named(text);
            message.sequence = i <= 60 ? i : 2 * i;
            ASSERT_EQ(
                weir_pub_send_message(i <= 60 ? first : second, &message, deadline_ms * INT64_C(1000000), &position), 0)
                << weir_last_error();
            sent_.push_back(text);
        }
        struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
        options.cursor = "bookmark";
        struct weir_sub *sub;
        ASSERT_EQ(weir_sub_open(bus_.c_str(), "ring", &options, &sub), 0) << weir_last_error();
        struct weir_message message;
        for (int i = 0; i < 30; i++)
            ASSERT_EQ(weir_sub_next(sub, deadline_ms * INT64_C(1000000), &message), 0);
        ASSERT_EQ(weir_sub_save(sub, message.next), 0);
        saved_ = message.next;
        weir_sub_close(sub);
        ASSERT_EQ(wait_durable(first, position), 0) << weir_last_error();
        before_ = info("ring");
        /* Cursors are kept once a second. */
        if (cleanly)
            EXPECT_EQ(weird.stop(), 0);
        else
            ASSERT_TRUE(wait_until([&] { return saved_cursor() == saved_; })) << weird.log();
        weird.kill();
        weir_pub_close(first);
        weir_pub_close(second);
        lose_memory();
    }

    /* What the journal has of the cursor by now. */
    uint64_t saved_cursor()
    {
        std::ifstream file(journal_ + "/ring/names", std::ios::binary);
        std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
        struct journal_names_header header;
        if (bytes.size() < sizeof header)
            return UINT64_MAX;
        memcpy(&header, bytes.data(), sizeof header);
        for (size_t at = sizeof header; at + sizeof(struct journal_name_entry) <= bytes.size();
             at += sizeof(struct journal_name_entry)) {
            struct journal_name_entry entry;
            memcpy(&entry, bytes.data() + at, sizeof entry);
            if (strcmp(entry.name, "bookmark") == 0)
                return entry.value;
        }
        return UINT64_MAX;
    }

    uint64_t last_sequence(const char *name)
    {
        uint64_t sequence = UINT64_MAX;
        struct weir_pub *pub = publisher("ring", name);
        if (pub) {
            EXPECT_EQ(weir_pub_last_sequence(pub, &sequence), 0);
        }
        weir_pub_close(pub);
        return sequence;
    }

    std::vector<struct journal_gap> gaps()
    {
        std::vector<struct journal_gap> found;
        int fd = open((journal_ + "/ring").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        journal_gaps(
            fd,
            [](void *ctx, const struct journal_gap *gap) {
                static_cast<std::vector<struct journal_gap> *>(ctx)->push_back(*gap);
                return 0;
            },
            &found);
        close(fd);
        return found;
    }

    /* Everything is as it was, in the next epoch, above what was leased. */
    void check_restored(uint64_t epoch)
    {
        struct weir_ring_info now = info("ring");
        ASSERT_NE(now.size, 0u);
        EXPECT_EQ(memcmp(now.ring_id, before_.ring_id, 16), 0);
        EXPECT_EQ(now.created_ns, before_.created_ns);
        EXPECT_EQ(now.epoch, epoch);
        EXPECT_GE(now.first_position, before_.lease);
        EXPECT_EQ(now.first_position % now.segment_bytes, 0u);
        EXPECT_EQ(now.mode, before_.mode);
        EXPECT_EQ(now.memory_bytes, before_.memory_bytes);
        EXPECT_EQ(now.max_readers, before_.max_readers);
        EXPECT_EQ(now.durable, now.first_position);
        EXPECT_GT(now.lease, now.first_position);
        EXPECT_EQ(last_sequence("first"), 60u);
        EXPECT_EQ(last_sequence("second"), 200u);

        struct journal_gap gap;
        int fd = open((journal_ + "/ring").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_EQ(journal_find_gap(fd, before_.durable, &gap), 0);
        close(fd);
        EXPECT_EQ(gap.from, before_.durable);
        EXPECT_EQ(gap.to, now.first_position);
        EXPECT_EQ(gap.reason, (uint32_t)JOURNAL_GAP_LOST);
    }

    /* Through the public interface: the cursor is found, the gap told, what is published now comes behind it. */
    void check_read_on()
    {
        struct weir_pub *pub = publisher("ring", "first");
        struct weir_message message = named("after");
        std::string text = "after";
        message.data = text.data();
        message.sequence = 60;
        EXPECT_EQ(weir_pub_send_message(pub, &message, 0, nullptr), -EALREADY);
        message.sequence = 61;
        uint64_t position;
        ASSERT_EQ(weir_pub_send_message(pub, &message, deadline_ms * INT64_C(1000000), &position), 0)
            << weir_last_error();
        ASSERT_EQ(wait_durable(pub, position), 0) << weir_last_error();
        weir_pub_close(pub);

        struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
        options.cursor = "bookmark";
        struct weir_sub *sub;
        ASSERT_EQ(weir_sub_open(bus_.c_str(), "ring", &options, &sub), 0) << weir_last_error();
        EXPECT_EQ(weir_sub_position(sub), saved_);
        std::vector<std::string> got;
        int r, told = 0;
        while (got.size() < 71) {
            r = weir_sub_next(sub, deadline_ms * INT64_C(1000000), &message);
            if (r == -EPIPE) {
                struct weir_gap gap;
                ASSERT_EQ(weir_sub_gap(sub, &gap), 0);
                EXPECT_EQ(gap.reason, WEIR_GAP_LOST);
                EXPECT_EQ(gap.from, before_.durable);
                told++;
                continue;
            }
            ASSERT_EQ(r, 0) << weir_last_error() << " after " << got.size();
            got.push_back(std::string((const char *)message.data, message.data_bytes));
        }
        EXPECT_EQ(told, 1);
        std::vector<std::string> expected(sent_.begin() + 30, sent_.end());
        expected.push_back("after");
        EXPECT_EQ(got, expected);
        weir_sub_close(sub);
    }

    std::vector<std::string> sent_;
    uint64_t saved_ = 0;
    struct weir_ring_info before_ = {};
};

TEST_F(DaemonRestore, BringsARingBackAfterACleanStop)
{
    live_and_lose(true);
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    check_restored(2);
    check_read_on();
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

TEST_F(DaemonRestore, BringsARingBackAfterAnAbruptEnd)
{
    live_and_lose(false);
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    check_restored(2);
    check_read_on();
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

TEST_F(DaemonRestore, GoesOnThroughSeveralEpochs)
{
    live_and_lose(true);
    std::vector<uint64_t> starts;
    for (int i = 0; i < 4; i++) {
        Weird weird(bus_, journal_);
        ASSERT_TRUE(weird.start()) << weird.log();
        starts.push_back(info("ring").first_position);
        EXPECT_EQ(info("ring").epoch, (uint64_t)i + 2);
        struct weir_pub *pub = publisher("ring");
        sent_.push_back("epoch " + std::to_string(i + 2));
        ASSERT_EQ(wait_durable(pub, send(pub, sent_.back())), 0) << weir_last_error();
        weir_pub_close(pub);
        weird.kill();
        lose_memory();
    }
    for (size_t i = 1; i < starts.size(); i++)
        EXPECT_GT(starts[i], starts[i - 1]);
    EXPECT_EQ(gaps().size(), 4u - 1 + 1);
    EXPECT_EQ(data_of(journal("ring", before_.ring_id)), sent_);
}

/* Names are kept now and then also while there always is something to drain. */
TEST_F(DaemonRestore, KeepsPlacesWhileItIsBusy)
{
    create("ring");
    Shared *shared = shared_page();
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    Child child([&] {
        struct weir_pub *pub = publisher("ring");
        while (mem_load_acquire(&shared->words[0]) == 0)
            send(pub, std::string(1000, 'x'));
        weir_pub_close(pub);
    });
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    options.cursor = "bookmark";
    struct weir_sub *sub;
    struct weir_message message;
    ASSERT_EQ(weir_sub_open(bus_.c_str(), "ring", &options, &sub), 0) << weir_last_error();
    ASSERT_EQ(weir_sub_next(sub, deadline_ms * INT64_C(1000000), &message), 0) << weir_last_error();
    ASSERT_EQ(weir_sub_save(sub, message.next), 0);
    EXPECT_TRUE(wait_until([&] { return saved_cursor() == message.next; })) << weird.log();
    mem_store_release(&shared->words[0], 1);
    EXPECT_EQ(child.wait(), 0);
    weir_sub_close(sub);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
    munmap(shared, 4096);
}

/* Its death at each single step on disk and in memory leaves what the next one can do again. */
TEST_F(DaemonRestore, MayDieAtAnyStepOfBringingARingBack)
{
    live_and_lose(false);
    std::string saved = journal_ + "-saved";
    std::filesystem::copy(journal_, saved, std::filesystem::copy_options::recursive);
    uint64_t steps = 0, died = 1;
    while (died != 0) {
        ASSERT_LT(steps, 2000u);
        std::filesystem::remove_all(journal_);
        std::filesystem::copy(saved, journal_, std::filesystem::copy_options::recursive);
        lose_memory();
        steps += step_stride;
        Child child([this, steps] {
            struct jio_hooks hooks = {step_on_disk, nullptr, nullptr};
            mem_store_release_(&steps_left, steps);
            jio_hooks = &hooks;
            shm_point_hook = [](const char *) { step(); };
            mem_point_hook = [](struct mem_site *) { step(); };
            if (!freopen((journal_ + ".log").c_str(), "a", stderr))
                _exit(126);
            struct weird_options options = {};
            options.bus = bus_.c_str();
            options.journal = journal_.c_str();
            options.threads = 1;
            struct weird *weird;
            struct shm_why why = {};
            if (weird_start(&options, &weird, &why) < 0)
                _exit(2);
            _exit(0); /* as abrupt as the others */
        });
        int status = child.wait();
        ASSERT_TRUE(status == 0 || status == -SIGKILL) << status;
        died = status == 0 ? 0 : 1;
        Weird weird(bus_, journal_);
        ASSERT_TRUE(weird.start()) << weird.log();
        uint64_t epoch = info("ring").epoch;
        EXPECT_TRUE(epoch == 2 || epoch == 3) << epoch;
        check_restored(epoch);
        ASSERT_FALSE(HasFailure()) << "died at step " << steps << "\n" << weird.log();
        EXPECT_EQ(weird.stop(), 0) << weird.log();
    }
    EXPECT_GT(steps, 50u);
    RecordProperty("steps", (int)steps);
    std::filesystem::remove_all(saved);
}

/* What is read of segment files while the daemon starts. */
struct Reads {
    struct mem_u64 bytes;
};

void count_reads(void *ctx, const struct jio_event *event, int64_t result)
{
    char path[64], target[PATH_MAX];
    snprintf(path, sizeof path, "/proc/self/fd/%d", event->fd);
    ssize_t bytes = event->call == JIO_READ && result > 0 ? readlink(path, target, sizeof target - 1) : 0;
    if (bytes > 0 && std::string(target, (size_t)bytes).find(".seg") != std::string::npos)
        mem_add_(&static_cast<Reads *>(ctx)->bytes, (uint64_t)result);
}

/* However long the journal is, a start reads what came since the positions were leased last. */
TEST_F(DaemonRestore, ReadsTheEndOfALongJournalAlone)
{
    constexpr uint64_t journal_bytes = 12 << 20;
    create("ring");
    before_ = info("ring");
    {
        Weird weird(bus_, journal_);
        ASSERT_TRUE(weird.start()) << weird.log();
        struct weir_pub *pub = publisher("ring", "early");
        send(pub, "counted once");
        weir_pub_close(pub);
        pub = publisher("ring");
        uint64_t position = 0;
        for (uint64_t bytes = 0; bytes < journal_bytes; bytes += 10000)
            position = send(pub, std::string(10000, 'x'));
        ASSERT_EQ(wait_durable(pub, position), 0) << weir_last_error();
        weir_pub_close(pub);
        weird.kill();
    }
    /* The lease is raised when less than two memories of it are left, to four. */
    uint64_t most = 4 * before_.memory_bytes;
    ASSERT_LT(most, journal_bytes / 2);
    for (const char *what : {"killed", "stopped", "restarted"}) {
        Reads reads = {};
        struct jio_hooks hooks = {nullptr, count_reads, &reads};
        if (strcmp(what, "restarted") == 0)
            lose_memory();
        jio_hooks = &hooks;
        {
            Embedded weird(bus_, journal_);
            EXPECT_EQ(weird.error, 0) << weird.why.text;
            EXPECT_LT(mem_load_acquire(&reads.bytes), most) << what;
            EXPECT_EQ(last_sequence("early"), 1u) << what;
        }
        jio_hooks = nullptr; /* its threads have ended */
    }
}

/* Damaged names are put together again from the records, once, and before anything else is counted. */
TEST_F(DaemonRestore, SavesDamagedNamesAgainAsSoonAsItHasThem)
{
    create("ring");
    {
        Weird weird(bus_, journal_);
        ASSERT_TRUE(weird.start()) << weird.log();
        struct weir_pub *pub = publisher("ring", "first");
        uint64_t position = 0;
        for (int i = 0; i < 5; i++)
            position = send(pub, "record");
        ASSERT_EQ(wait_durable(pub, position), 0) << weir_last_error();
        weir_pub_close(pub);
        EXPECT_EQ(weird.stop(), 0);
    }
    std::ofstream(journal_ + "/ring/names", std::ios::in | std::ios::out | std::ios::binary) << "no names";
    {
        Weird weird(bus_, journal_);
        ASSERT_TRUE(weird.start()) << weird.log();
        EXPECT_TRUE(weird.says("are damaged")) << weird.log();
        weird.kill();
    }
    lose_memory();
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_EQ(last_sequence("first"), 5u) << weird.log();
}

TEST_F(DaemonRestore, LeavesARingAloneThatIsOnTheBus)
{
    create("ring");
    {
        Weird weird(bus_, journal_);
        ASSERT_TRUE(weird.start()) << weird.log();
        struct weir_pub *pub = publisher("ring");
        EXPECT_EQ(wait_durable(pub, send(pub, "one")), 0);
        weir_pub_close(pub);
    }
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_EQ(info("ring").epoch, 1u);
    EXPECT_TRUE(gaps().empty());
}

/* A bus that slept through the next epoch of its ring must not write into it. */
TEST_F(DaemonRestore, RefusesARingWhoseJournalHasGoneOnElsewhere)
{
    create("ring");
    {
        Weird weird(bus_, journal_);
        ASSERT_TRUE(weird.start()) << weird.log();
        struct weir_pub *pub = publisher("ring");
        EXPECT_EQ(wait_durable(pub, send(pub, "one")), 0);
        weir_pub_close(pub);
    }
    std::string other_bus = bus_ + "-other";
    std::filesystem::create_directories(other_bus);
    {
        Weird other(other_bus, journal_);
        ASSERT_TRUE(other.start()) << other.log();
    }
    std::filesystem::remove_all(other_bus);
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_TRUE(wait_until([&] { return weird.says("another bus has gone on with it"); })) << weird.log();
    EXPECT_EQ(weird.stop(), 0);
}

} // namespace
