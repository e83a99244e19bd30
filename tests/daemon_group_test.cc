/* SPDX-License-Identifier: Apache-2.0 */
/* Groups with weird: the dead's messages are open again though nobody else works, leases end, the backlog lies on disk; and a
 * storm of deaths, stops, joins and leaves, of weird too, behind which no message is lost. */
// test: LINKS weird_core weir_client weir_journal weir_group weir_shm weir_ringbuf PROGRAMS weird_testing LABELS tsan TIMEOUT 300

#include "tests/daemon_support.hh"

#include <sys/mman.h>

namespace
{

constexpr int64_t ms = 1000000;
constexpr int64_t patience_ns = deadline_ms * ms;

class DaemonGroup : public DaemonTest
{
protected:
    void make_group(int64_t lease_ns = WEIR_FOREVER, const char *name = "group")
    {
        struct weir_group_options options = WEIR_GROUP_OPTIONS_INIT;
        options.lease_ns = lease_ns;
        options.max_entries = 64;
        options.max_workers = 8;
        ASSERT_EQ(weir_group_create(bus_.c_str(), "ring", name, &options), 0) << weir_last_error();
    }
    struct weir_group_info group(const char *name = "group")
    {
        struct weir_group_info info = {};
        info.size = sizeof info;
        EXPECT_EQ(weir_group_inspect(bus_.c_str(), "ring", name, &info), 0) << weir_last_error();
        return info;
    }
    struct weir_worker *worker(uint32_t prefetch = 0)
    {
        struct weir_worker_options options = WEIR_WORKER_OPTIONS_INIT;
        options.prefetch = prefetch;
        struct weir_worker *worker = nullptr;
        EXPECT_EQ(weir_worker_open(bus_.c_str(), "ring", "group", &options, &worker), 0) << weir_last_error();
        return worker;
    }
    /* A worker that holds one message, and tells when it does. */
    void hold(struct mem_u64 *told)
    {
        struct weir_worker *mine = worker(1);
        struct weir_task task;
        if (mine && weir_worker_next(mine, patience_ns, &task) == 0)
            mem_store_release(told, 1);
        for (;;)
            pause();
    }
    struct mem_u64 *words(size_t count)
    {
        void *at = mmap(nullptr, count * 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        EXPECT_NE(at, MAP_FAILED);
        return static_cast<struct mem_u64 *>(at);
    }
};

TEST_F(DaemonGroup, GivesBackWhatTheDeadHeldThoughNobodyElseWorks)
{
    create("ring");
    make_group();
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_pub *pub = publisher("ring");
    struct mem_u64 *told = words(1);
    for (int i = 0; i < 10; i++) {
        mem_store_release(told, 0);
        send(pub, "message");
        Child child([&] { hold(told); });
        ASSERT_TRUE(wait_until([&] { return mem_load_acquire(told) == 1; }));
        EXPECT_EQ(group().held_count, 1u);
        child.kill();
        EXPECT_TRUE(wait_until([&] { return group().open_count == 1; })) << "weird gave it back";
        EXPECT_EQ(group().worker_count, 0u);
        struct weir_worker *mine = worker();
        struct weir_task task;
        ASSERT_EQ(weir_worker_next(mine, 0, &task), 0) << weir_last_error();
        EXPECT_EQ(task.attempt, 2u);
        EXPECT_EQ(weir_worker_ack(mine, &task, 1, nullptr), 0);
        weir_worker_close(mine);
        /* Another group of the name: weird takes it up. */
        ASSERT_EQ(weir_group_remove(bus_.c_str(), "ring", "group", 0), 0) << weir_last_error();
        make_group();
        mine = worker();
        while (weir_worker_next(mine, 0, &task) == 0)
            EXPECT_EQ(weir_worker_ack(mine, &task, 1, nullptr), 0);
        weir_worker_close(mine);
    }
    weir_pub_close(pub);
    munmap(told, 8);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

TEST_F(DaemonGroup, EndsTheLeaseOfWhoIsStoppedThoughNobodyElseWorks)
{
    create("ring");
    make_group(30 * ms);
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_pub *pub = publisher("ring");
    struct mem_u64 *told = words(1);
    send(pub, "message");
    Child child([&] { hold(told); });
    ASSERT_TRUE(wait_until([&] { return mem_load_acquire(told) == 1; }));
    ::kill(child.pid(), SIGSTOP);
    EXPECT_TRUE(wait_until([&] { return group().open_count == 1; }));
    EXPECT_EQ(group().worker_count, 1u) << "a stopped one is alive";
    weir_pub_close(pub);
    munmap(told, 8);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

TEST_F(DaemonGroup, LeavesAGroupAloneThatMakesNoSense)
{
    create("ring");
    make_group();
    make_group(WEIR_FOREVER, "cut-short");
    make_group(WEIR_FOREVER, "overwritten");
    std::string file = bus_ + "/ring/group.cut-short";
    Weird weird(bus_, journal_);
    int fd = open((bus_ + "/ring/group.overwritten").c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_EQ(pwrite(fd, "nonsense", 8, 0), 8);
    close(fd);
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_TRUE(wait_until([&] { return weird.says("group overwritten is left alone"); })) << weird.log();
    ASSERT_EQ(truncate(file.c_str(), 4096), 0);
    EXPECT_TRUE(wait_until([&] { return weird.says("group cut-short is left alone"); })) << weird.log();
    struct weir_pub *pub = publisher("ring");
    struct mem_u64 *told = words(1);
    send(pub, "message");
    Child child([&] { hold(told); });
    ASSERT_TRUE(wait_until([&] { return mem_load_acquire(told) == 1; }));
    child.kill();
    EXPECT_TRUE(wait_until([&] { return group().open_count == 1; })) << "the others are looked after";
    weir_pub_close(pub);
    munmap(told, 8);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

TEST_F(DaemonGroup, ReadsTheBacklogFromDiskAndGoesOnWithoutWeird)
{
    constexpr int count = 20000;
    create("ring"); /* 256 KiB of memory */
    make_group();
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_pub *pub = publisher("ring");
    uint64_t position = 0;
    for (int i = 0; i < count; i++)
        position = send(pub, std::to_string(i));
    ASSERT_EQ(wait_durable(pub, position), 0) << weir_last_error();
    EXPECT_LT(group().position, info("ring").memory_position) << "what is next lies on disk alone";
    struct weir_worker *workers[] = {worker(), worker(5)};
    std::vector<int> seen(count);
    std::map<int, uint32_t> attempts;
    unsigned random = 1;
    uint64_t idle = 0;
    for (int turn = 0; idle < 4; turn++) {
        struct weir_worker *mine = workers[turn % 2];
        struct weir_task tasks[16];
        int got = weir_worker_next_batch(mine, tasks, 1 + (size_t)turn % 16, 0);
        idle = got == -EAGAIN ? idle + 1 : 0;
        ASSERT_TRUE(got > 0 || got == -EAGAIN) << weir_last_error();
        for (int i = 0; i < got; i++) {
            int number = std::stoi(std::string((const char *)tasks[i].message.data, tasks[i].message.data_bytes));
            ASSERT_EQ(tasks[i].attempt, ++attempts[number]);
            random = random * 1103515245 + 12345;
            if ((random >> 16) % 10 == 0) {
                ASSERT_EQ(weir_worker_nack(mine, &tasks[i], 0), 0) << weir_last_error();
                continue;
            }
            ASSERT_EQ(weir_worker_ack(mine, &tasks[i], 1, nullptr), 0) << weir_last_error();
            seen[(size_t)number]++;
        }
        if (turn == 500) {
            ASSERT_EQ(weird.stop(), 0) << weird.log();
        }
    }
    for (int i = 0; i < count; i++)
        ASSERT_EQ(seen[(size_t)i], 1) << i;
    struct weir_group_info info = group();
    EXPECT_EQ(info.lag_bytes + info.held_count + info.open_count, 0u);
    EXPECT_EQ(info.acked_count, (uint64_t)count);
    for (struct weir_worker *mine : workers)
        weir_worker_close(mine);
    weir_pub_close(pub);
}

/* -- a storm ------------------------------------------------------------------------------------------------------------ */

/* For each message: deliveries, those with attempt 1, acknowledgements that counted. */
struct Ledger {
    struct mem_u64 delivered, first, acked;
};

class GroupStorm : public DaemonGroup
{
protected:
    static constexpr uint32_t messages = 1000000;
    static constexpr int rounds = 80;

    /* Works until it is killed, or has taken so much that it leaves. */
    void work(Ledger *ledger, unsigned seed)
    {
        struct weir_worker *mine = worker(1 + seed % 16);
        struct weir_task tasks[16];
        for (int turn = 0; mine && turn < 20000; turn++) {
            int got = weir_worker_next_batch(mine, tasks, 1 + seed / 65536 % 16, 50 * ms);
            if (got == -ENOENT || got == -EPIPE || got == -EBADMSG || got == -EIO)
                _exit(1);
            for (int i = 0; i < got; i++) {
                uint32_t number;
                memcpy(&number, tasks[i].message.data, sizeof number);
                if (number >= messages)
                    _exit(2);
                mem_add_(&ledger[number].delivered, 1);
                if (tasks[i].attempt == 1)
                    mem_add_(&ledger[number].first, 1);
                seed = seed * 1103515245 + 12345;
                if (seed / 65536 % 50 == 0)
                    (void)weir_worker_nack(mine, &tasks[i], seed / 65536 % 3 ? 0 : 2 * ms);
                else if (weir_worker_ack(mine, &tasks[i], 1, nullptr) == 0)
                    mem_add_(&ledger[number].acked, 1);
            }
        }
        weir_worker_close(mine);
    }
};

TEST_F(GroupStorm, LosesNothing)
{
    struct weir_ring_options options = small_ring();
    options.max_readers = 8;
    create("ring", options);
    make_group(20 * ms);
    size_t bytes = messages * sizeof(Ledger);
    Ledger *ledger = reinterpret_cast<Ledger *>(words(bytes / 8));
    auto weird = std::make_unique<Weird>(bus_, journal_);
    ASSERT_TRUE(weird->start()) << weird->log();
    Child publishes([&] {
        struct weir_pub *pub = publisher("ring");
        for (uint32_t i = 0; i < messages; i++)
            if (weir_pub_send(pub, &i, sizeof i, patience_ns, nullptr) < 0)
                _exit(1);
        weir_pub_close(pub);
    });
    std::vector<std::unique_ptr<Child>> workers(4);
    unsigned seed = (unsigned)time(nullptr);
    auto start = [&](size_t at) {
        seed = seed * 1103515245 + 12345;
        unsigned mine = seed;
        workers[at] = std::make_unique<Child>([&, mine] { work(ledger, mine); });
    };
    for (size_t i = 0; i < workers.size(); i++)
        start(i);
    auto delivered = [&] { return group().taken_count; };
    for (int round = 0; round < rounds; round++) {
        uint64_t before = delivered();
        /* Something is done between two blows, unless all is done. */
        wait_until([&] { return delivered() > before + 12000 || group().acked_count >= messages; });
        size_t at = (seed >> 18) % workers.size();
        seed = seed * 1103515245 + 12345;
        switch ((seed >> 16) % 6) {
        case 0: /* stopped, for longer than a lease mostly */
            ::kill(workers[at]->pid(), SIGSTOP);
            break;
        case 2: /* and on: what it acknowledges now is another's by now */
            for (auto &child : workers)
                ::kill(child->pid(), SIGCONT);
            break;
        case 1:
            weird->kill();
            weird = std::make_unique<Weird>(bus_, journal_);
            ASSERT_TRUE(weird->start()) << weird->log();
            break;
        default:
            workers[at]->kill();
            start(at);
        }
    }
    EXPECT_EQ(publishes.wait(), 0);
    for (auto &child : workers)
        child->kill();
    /* What they held comes back, and one who lives finishes it. */
    struct weir_worker *mine = worker();
    struct weir_task task;
    EXPECT_TRUE(wait_until([&] {
        while (weir_worker_next(mine, 0, &task) == 0) {
            uint32_t number;
            memcpy(&number, task.message.data, sizeof number);
            mem_add_(&ledger[number].delivered, 1);
            if (task.attempt == 1)
                mem_add_(&ledger[number].first, 1);
            if (weir_worker_ack(mine, &task, 1, nullptr) == 0)
                mem_add_(&ledger[number].acked, 1);
        }
        struct weir_group_info now = group();
        return now.unfinished_position == info("ring").end_position && now.held_count == 0;
    })) << group().held_count;
    EXPECT_EQ(weir_worker_next(mine, 0, &task), -EAGAIN);
    weir_worker_close(mine);
    uint64_t lost = 0, twice = 0, repeated = 0, recovered = 0;
    for (uint32_t i = 0; i < messages; i++) {
        lost += mem_load_acquire(&ledger[i].delivered) == 0;
        twice += mem_load_acquire(&ledger[i].acked) > 1;
        repeated += mem_load_acquire(&ledger[i].first) > 1;
        recovered += mem_load_acquire(&ledger[i].delivered) > 1;
    }
    EXPECT_EQ(lost, 0u);
    EXPECT_EQ(twice, 0u) << "acknowledged twice";
    EXPECT_EQ(repeated, 0u) << "delivered twice as if for the first time";
    EXPECT_EQ(group().entry_count, 0u) << "an entry leaked";
    printf("           %u messages, %llu of them delivered more than once\n", messages, (unsigned long long)recovered);
    munmap(ledger, bytes);
    EXPECT_EQ(weird->stop(), 0) << weird->log();
}

} // namespace
