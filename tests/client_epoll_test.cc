/* SPDX-License-Identifier: Apache-2.0 */
/* The pollable descriptors: for epoll loops, of records and of confirms. */
// test: LINKS weir_client PROGRAMS weird_testing LABELS tsan TIMEOUT 300

#include "tests/support/client_support.hh"
#include "tests/support/storm_weird.hh"

#include <atomic>
#include <random>
#include <thread>

#include <sys/epoll.h>
#include <sys/resource.h>

extern "C" {
#include "client/watcher.h"
}
#include "ringbuf/layout.h"

namespace
{

/* An epoll with one descriptor in it. */
class Loop
{
public:
    explicit Loop(int fd, uint32_t events = EPOLLIN) : epoll_(epoll_create1(EPOLL_CLOEXEC))
    {
        struct epoll_event event = {};
        event.events = events;
        EXPECT_EQ(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event), 0) << strerror(errno);
    }
    Loop(const Loop &) = delete;
    Loop &operator=(const Loop &) = delete;
    ~Loop()
    {
        close(epoll_);
    }
    bool readable() const
    {
        return events(0) == 1;
    }
    /* Waits as long as it takes: the test has a deadline. */
    void wait() const
    {
        EXPECT_EQ(events(-1), 1);
    }

private:
    int events(int timeout_ms) const
    {
        struct epoll_event event;
        int r;
        do {
            r = epoll_wait(epoll_, &event, 1, timeout_ms);
        } while (r < 0 && errno == EINTR);
        return r;
    }

    int epoll_;
};

/* Those of the library. */
size_t threads()
{
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    while (const struct dirent *task = readdir(tasks)) {
        std::string name;
        std::ifstream("/proc/self/task/" + std::string(task->d_name) + "/comm") >> name;
        count += name == "weir-fd";
    }
    closedir(tasks);
    return count;
}

/* One that was joined stands there for an instant more. */
bool threads_become(size_t count)
{
    return comes_true([&] { return threads() == count; });
}

int fd_of(weir_sub *sub)
{
    int fd = -1;
    EXPECT_EQ(weir_sub_fd(sub, &fd), 0) << weir_last_error();
    return fd;
}

int fd_of(weir_pub *pub)
{
    int fd = -1;
    EXPECT_EQ(weir_pub_fd(pub, &fd), 0) << weir_last_error();
    return fd;
}

/* Sanitizers do not know the heavy fence: rings of theirs have everyone fence. */
RingOptions ring_options()
{
    RingOptions options;
    options.fenced = sanitized;
    return options.with_users(4, 4);
}

class ClientEpoll : public ClientTest
{
};

/* -- the descriptor ------------------------------------------------------------------------------------------------ */

TEST_F(ClientEpoll, ThereIsAThreadFromTheFirstQuestionUntilTheHandleIsClosed)
{
    ASSERT_EQ(create(ring_options()), 0) << weir_last_error();
    auto first = std::make_unique<Sub>(bus_, "ring");
    Sub second(bus_, "ring");
    Pub pub(bus_, "ring");
    ASSERT_EQ(pub.send("x"), 0);
    EXPECT_EQ(first->text(), "x");
    EXPECT_EQ(first->text(), "[EAGAIN]");
    ASSERT_TRUE(threads_become(0));
    int fd = fd_of(*first);
    EXPECT_EQ(threads(), 1u);
    EXPECT_EQ(fd_of(*first), fd) << "it is asked for once, and told again";
    EXPECT_EQ(threads(), 1u);
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    fd_of(pub);
    EXPECT_EQ(threads(), 2u);
    first.reset();
    pub.close();
    EXPECT_TRUE(threads_become(0));
    EXPECT_EQ(fcntl(fd, F_GETFD), -1) << "closed with the handle";
}

TEST_F(ClientEpoll, IsReadableUntilNothingIsThere)
{
    for (int exclusive : {0, 1}) {
        SCOPED_TRACE(exclusive);
        std::string name = "ring" + std::to_string(exclusive);
        ASSERT_EQ(create(ring_options().with_exclusive(exclusive), name.c_str()), 0) << weir_last_error();
        Pub pub(bus_, name.c_str());
        Sub sub(bus_, name.c_str());
        Loop loop(fd_of(sub));
        EXPECT_TRUE(loop.readable()) << "nobody has looked yet";
        EXPECT_EQ(sub.text(), "[EAGAIN]");
        EXPECT_FALSE(loop.readable());
        EXPECT_EQ(sub.text(), "[EAGAIN]");
        EXPECT_FALSE(loop.readable());
        EXPECT_EQ(sub.text(1 * ms), "[ETIMEDOUT]");
        EXPECT_FALSE(loop.readable());
        for (int round = 0; round < 200; round++) { /* over several segments */
            ASSERT_EQ(pub.send("a"), 0);
            ASSERT_EQ(pub.send("b"), 0);
            loop.wait();
            EXPECT_TRUE(loop.readable()) << "looking at it takes nothing away";
            ASSERT_EQ(sub.text(), "a");
            EXPECT_TRUE(loop.readable()) << "there is more";
            ASSERT_EQ(sub.text(), "b");
            ASSERT_EQ(sub.text(), "[EAGAIN]");
            ASSERT_FALSE(loop.readable());
        }
    }
}

TEST_F(ClientEpoll, TellsOfARecordThatIsNotTakenWithIt)
{
    ASSERT_EQ(create(ring_options()), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    Loop loop(fd_of(sub));
    weir_message message, batch[2];
    char byte;
    ASSERT_EQ(weir_sub_recv(sub, &byte, 1, 0, &message), -EAGAIN);
    ASSERT_EQ(pub.send("long"), 0);
    loop.wait();
    EXPECT_EQ(weir_sub_recv(sub, &byte, 1, 0, &message), -EMSGSIZE);
    EXPECT_TRUE(loop.readable()) << "it is still the next one";
    ASSERT_EQ(pub.send("more"), 0);
    ASSERT_EQ(pub.send("last"), 0);
    ASSERT_EQ(weir_sub_next_batch(sub, batch, 2, 0), 2);
    EXPECT_TRUE(loop.readable());
    ASSERT_EQ(weir_sub_next_batch(sub, batch, 2, 0), 1);
    EXPECT_EQ(text_of(batch[0]), "last");
    EXPECT_EQ(weir_sub_next_batch(sub, batch, 2, 0), -EAGAIN);
    EXPECT_FALSE(loop.readable());
    ASSERT_EQ(weir_sub_seek(sub, 0), 0) << weir_last_error();
    EXPECT_TRUE(loop.readable()) << "nobody has looked there yet";
    EXPECT_EQ(sub.text(), "long");
}

TEST_F(ClientEpoll, TakesNoSignalOfTheProgram)
{
    ASSERT_EQ(create(ring_options()), 0) << weir_last_error();
    Sub sub(bus_, "ring");
    fd_of(sub);
    sigset_t usr1, before;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &usr1, &before), 0);
    struct sigaction action = {}, old = {};
    action.sa_handler = [](int) { _exit(3); };
    ASSERT_EQ(sigaction(SIGUSR1, &action, &old), 0);
    ASSERT_EQ(kill(getpid(), SIGUSR1), 0);
    int taken = 0;
    EXPECT_EQ(sigwait(&usr1, &taken), 0) << "no other thread could have it";
    EXPECT_EQ(taken, SIGUSR1);
    sigaction(SIGUSR1, &old, nullptr);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

/* -- nothing is lost ----------------------------------------------------------------------------------------------- */

/* Publishes numbers, at times at once, at times after the reader has surely gone to sleep. */
void publish_at_random(const std::string &bus, const char *ring, int count, unsigned seed)
{
    Pub pub(bus, ring);
    std::mt19937 random(seed);
    for (int i = 0; i < count; i++) {
        if (random() % 4 == 0)
            std::this_thread::yield();
        if (random() % 8 == 0)
            usleep(random() % 200);
        ASSERT_EQ(pub.send(std::to_string(i), WEIR_FOREVER), 0) << weir_last_error();
    }
}

TEST_F(ClientEpoll, LoopReceivesEverythingThatComesAtRandom)
{
    const int count = sanitized ? 2000 : 20000;
    for (int exclusive : {0, 1}) {
        for (bool one_at_a_time : {true, false}) {
            SCOPED_TRACE("exclusive " + std::to_string(exclusive) + ", one at a time " + std::to_string(one_at_a_time));
            ASSERT_EQ(create(ring_options().with_exclusive(exclusive)), 0) << weir_last_error();
            Sub sub(bus_, "ring", SubOptions().with_gate());
            /* Edge-triggered where it reads all that is there. */
            Loop loop(fd_of(sub), one_at_a_time ? (uint32_t)EPOLLIN : (uint32_t)(EPOLLIN | EPOLLET));
            std::thread publisher(publish_at_random, bus_, "ring", count, 1u);
            for (int next = 0; next < count;) {
                loop.wait();
                std::string text;
                do {
                    text = sub.text();
                    if (text != "[EAGAIN]") {
                        ASSERT_EQ(text, std::to_string(next++));
                    }
                } while (!one_at_a_time && text != "[EAGAIN]");
            }
            publisher.join();
            EXPECT_EQ(sub.text(), "[EAGAIN]");
            sub.close();
            ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0) << weir_last_error();
        }
    }
}

/* A lost wake-up shows as a sleep of 80 ms, its bound: these many would take longer than the test's deadline. */
TEST_F(ClientEpoll, NoWakeUpIsLostInManyRoundTrips)
{
    constexpr int rounds = 4000;
    static_assert(rounds * 2 * 80 / 1000 > deadline_s, "lost wake-ups are noticed");
    ASSERT_EQ(create(ring_options(), "there"), 0) << weir_last_error();
    ASSERT_EQ(create(ring_options().with_exclusive(), "back"), 0) << weir_last_error();
    Child echo([&](const Line &line) {
        Sub sub(bus_, "there");
        Pub pub(bus_, "back");
        Loop loop(fd_of(sub));
        line.say('r');
        for (int i = 0; i < rounds;) {
            loop.wait();
            std::string text = sub.text();
            if (text == "[EAGAIN]")
                continue;
            ASSERT_EQ(text, std::to_string(i++));
            ASSERT_EQ(pub.send(text), 0);
        }
    });
    Pub pub(bus_, "there");
    ASSERT_EQ(echo.line().hear(), 'r');
    Sub sub(bus_, "back");
    Loop loop(fd_of(sub));
    for (int i = 0; i < rounds; i++) {
        ASSERT_EQ(pub.send(std::to_string(i)), 0);
        std::string text;
        while ((text = sub.text()) == "[EAGAIN]")
            loop.wait();
        ASSERT_EQ(text, std::to_string(i));
    }
    EXPECT_EQ(echo.result(), 0);
}

/* The thread alone, with nothing to rescue it: a bell that it did not hear would be the end of the test. */
TEST_F(ClientEpoll, ThreadHearsEachBellWheneverItRings)
{
    const int rounds = sanitized ? 2000 : 15000;
    struct ring_bell bell = {};
    struct watcher *watcher = nullptr;
    ASSERT_EQ(watcher_open(&watcher), 0) << weir_last_error();
    Loop loop(watcher_fd(watcher));
    EXPECT_FALSE(loop.readable());
    std::atomic<int> round{0};
    std::thread ringer([&] {
        std::mt19937 random(1);
        for (int i = 1; i <= rounds; i++) {
            while (round.load() < i)
                std::this_thread::yield();
            for (unsigned pause = random() % 2000; pause > 0; pause--)
                mem_pause();
            if (random() % 64 == 0)
                usleep(100);
            attachment_ring(&bell);
        }
    });
    std::mt19937 random(2);
    for (int i = 1; i <= rounds; i++) {
        struct watch watch = {};
        watch.bell = &bell;
        watch.bound_ns = 3600 * s;
        watch.ready = [](const struct watch *) { return false; };
        watch.seq = mem_load_acquire(&bell.seq);
        round.store(i);
        for (unsigned pause = random() % 2000; pause > 0; pause--)
            mem_pause();
        watcher_arm(watcher, &watch);
        loop.wait();
        if (i % 2 == 0) {
            watcher_rest(watcher);
            EXPECT_FALSE(loop.readable());
        }
    }
    ringer.join();
    watcher_close(watcher, false);
}

TEST_F(ClientEpoll, RecordWhosePublisherRangForNobodyIsFoundAllTheSame)
{
    ASSERT_EQ(create(ring_options()), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    Loop loop(fd_of(sub));
    uint64_t nobody_asks = 0;
    int fd = open(path("ring/readers").c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_EQ(pub.send("enters"), 0);
    ASSERT_EQ(sub.text(), "enters");
    for (int i = 0; i < 5; i++) {
        ASSERT_EQ(sub.text(), "[EAGAIN]");
        ASSERT_FALSE(loop.readable());
        /* As if it had died between its record and the bell. */
        ASSERT_EQ(pwrite(fd, &nobody_asks, sizeof(nobody_asks), offsetof(struct ring_readers, records_want)), 8);
        ASSERT_EQ(pub.send("unheard"), 0);
        loop.wait();
        ASSERT_EQ(sub.text(), "unheard");
    }
    close(fd);
}

TEST_F(ClientEpoll, DeadAndSlowClaimsAreMet)
{
    ASSERT_EQ(create(ring_options()), 0) << weir_last_error();
    for (bool dies : {true, false}) {
        for (bool known : {true, false}) { /* before the subscriber looked last, or after */
            SCOPED_TRACE("dies " + std::to_string(dies) + ", known " + std::to_string(known));
            Sub sub(bus_, "ring", SubOptions().with_from(WEIR_POSITION_END));
            Loop loop(fd_of(sub));
            if (!known) {
                EXPECT_EQ(sub.text(), "[EAGAIN]");
            }
            Child claimant([&](const Line &line) {
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
            ASSERT_EQ(claimant.line().hear(), 'r');
            if (known) {
                EXPECT_EQ(sub.text(), "[EAGAIN]");
            }
            Pub pub(bus_, "ring");
            ASSERT_EQ(pub.send("behind"), 0);
            std::string text = "[EAGAIN]";
            for (int i = 0; i < 3; i++) { /* it looks now and then, and finds nothing */
                loop.wait();
                ASSERT_EQ(sub.text(), "[EAGAIN]");
            }
            if (dies)
                claimant.kill_and_reap();
            else
                claimant.line().say('c');
            while ((text = sub.text()) == "[EAGAIN]")
                loop.wait();
            EXPECT_EQ(text, dies ? "behind" : "slow");
            if (!dies) {
                EXPECT_EQ(sub.text(), "behind");
            }
        }
    }
}

/* -- ends ---------------------------------------------------------------------------------------------------------- */

TEST_F(ClientEpoll, RemovalOfTheRingIsToldOf)
{
    ASSERT_EQ(create(ring_options()), 0) << weir_last_error();
    Sub sub(bus_, "ring");
    Loop loop(fd_of(sub));
    {
        Pub pub(bus_, "ring");
        ASSERT_EQ(sub.text(), "[EAGAIN]");
        ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0) << weir_last_error();
    }
    loop.wait();
    std::string text;
    while ((text = sub.text()) == "[EAGAIN]")
        loop.wait();
    EXPECT_EQ(text, "[EIDRM]");
    EXPECT_TRUE(loop.readable()) << "it stays so";
    remove_tree(AT_FDCWD, bus_);
    sub.close();
    ASSERT_EQ(mkdir(bus_.c_str(), 0755), 0);
}

/* A close that waited for a sleep's end of 80 ms would make these many take longer than the deadline. */
TEST_F(ClientEpoll, CloseDoesNotWaitForTheThreadsSleep)
{
    constexpr int rounds = 800;
    static_assert(sanitized || rounds * 80 / 1000 > deadline_s, "waiting is noticed");
    ASSERT_EQ(create(ring_options()), 0) << weir_last_error();
    ASSERT_TRUE(threads_become(0));
    for (int i = 0; i < rounds; i++) {
        Sub sub(bus_, "ring");
        Loop loop(fd_of(sub));
        EXPECT_EQ(sub.text(), "[EAGAIN]");
        EXPECT_FALSE(loop.readable());
        if (i % 4 == 0)
            usleep(100);
    }
    EXPECT_TRUE(threads_become(0));
}

TEST_F(ClientEpoll, ForkedChildHasNoPartInIt)
{
    ASSERT_EQ(create(ring_options()), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    Loop loop(fd_of(sub));
    int confirms = fd_of(pub);
    EXPECT_EQ(sub.text(), "[EAGAIN]");
    Child child([&](const Line &) {
        int fd = -2;
        EXPECT_EQ(weir_sub_fd(sub, &fd), -ECHILD);
        EXPECT_EQ(weir_pub_fd(pub, &fd), -ECHILD);
        EXPECT_EQ(fd, -2);
        EXPECT_EQ(sub.text(), "[ECHILD]");
        int mine = fcntl(confirms, F_GETFD);
        EXPECT_NE(mine, -1);
        sub.close();
        pub.close();
        EXPECT_EQ(fcntl(confirms, F_GETFD), -1) << "closed in the child";
    });
    EXPECT_EQ(child.result(), 0);
    EXPECT_FALSE(loop.readable());
    ASSERT_EQ(pub.send("goes on"), 0);
    loop.wait();
    EXPECT_EQ(sub.text(), "goes on");
}

TEST_F(ClientEpoll, WithoutAnyDescriptorLeftItIsAnErrorAndTheHandleIsSound)
{
    ASSERT_EQ(create(ring_options()), 0) << weir_last_error();
    Child child([&](const Line &) {
        Sub sub(bus_, "ring");
        Pub pub(bus_, "ring");
        struct rlimit limit = {0, 0};
        int fd = -2;
        EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
        EXPECT_EQ(weir_sub_fd(sub, &fd), -ENOMEM);
        EXPECT_TRUE(told("descriptor")) << weir_last_error();
        EXPECT_EQ(weir_pub_fd(pub, &fd), -ENOMEM);
        EXPECT_EQ(fd, -2);
        EXPECT_EQ(pub.send("x"), 0);
        EXPECT_EQ(sub.text(), "x");
        EXPECT_EQ(sub.text(), "[EAGAIN]");
    });
    EXPECT_EQ(child.result(), 0);
}

/* -- with the journal ---------------------------------------------------------------------------------------------- */

class ClientEpollJournal : public ClientEpoll
{
protected:
    void SetUp() override
    {
        ClientEpoll::SetUp();
        const char *test = testing::UnitTest::GetInstance()->current_test_info()->name();
        weird_ = start_weird(bus_, environment_or_skip("WEIR_TEST_DIR") + "/" + test);
    }
    void TearDown() override
    {
        weird_->kill(SIGTERM);
        (void)weird_->status();
        ClientEpoll::TearDown();
    }
    std::unique_ptr<Child> weird_;
};

TEST_F(ClientEpollJournal, BacklogIsReadInALoopAndThenWhatIsNew)
{
    const int count = 2000; /* ten times what memory holds */
    ASSERT_EQ(create(ring_options().with_journal()), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    for (int i = 0; i < count; i++)
        ASSERT_EQ(pub.send(std::to_string(i), WEIR_FOREVER), 0) << weir_last_error();
    Sub sub(bus_, "ring");
    EXPECT_EQ(weir_sub_in_memory(sub), 0);
    Loop loop(fd_of(sub));
    for (int next = 0; next < count + 50;) {
        if (next == count && sub.text() == "[EAGAIN]") {
            ASSERT_EQ(pub.send(std::to_string(next)), 0);
        }
        loop.wait();
        std::string text = sub.text();
        if (text == "[EAGAIN]")
            continue;
        ASSERT_EQ(text, std::to_string(next++));
        if (next > count && next < count + 50) {
            ASSERT_EQ(pub.send(std::to_string(next)), 0);
        }
    }
    EXPECT_EQ(weir_sub_in_memory(sub), 1);
}

TEST_F(ClientEpollJournal, ConfirmsAreToldOf)
{
    ASSERT_EQ(create(ring_options().with_journal()), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    Loop loop(fd_of(pub));
    EXPECT_FALSE(loop.readable()) << "nothing was asked for";
    for (int i = 0; i < 50; i++) {
        for (enum weir_level level : {WEIR_VISIBLE, WEIR_WRITTEN, WEIR_DURABLE}) {
            uint64_t position = 0;
            ASSERT_EQ(pub.send("x", WEIR_FOREVER, &position), 0) << weir_last_error();
            int r;
            while ((r = weir_pub_confirm(pub, position, level)) == -EAGAIN)
                loop.wait();
            ASSERT_EQ(r, 0) << weir_last_error();
            EXPECT_FALSE(loop.readable()) << "it was answered";
        }
    }
}

TEST_F(ClientEpollJournal, ConfirmThatNobodyGivesIsNotToldOfUntilTheRingIsRemoved)
{
    ASSERT_EQ(create(ring_options().with_journal()), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    Loop loop(fd_of(pub));
    uint64_t position = 0;
    ASSERT_EQ(pub.send("x", 0, &position), 0);
    ASSERT_EQ(weir_pub_wait(pub, position, WEIR_DURABLE, WEIR_FOREVER), 0) << weir_last_error();
    weird_->kill(SIGSTOP);
    ASSERT_EQ(pub.send("x", 0, &position), 0);
    EXPECT_EQ(weir_pub_confirm(pub, position, WEIR_DURABLE), -EAGAIN);
    EXPECT_EQ(weir_pub_confirm(pub, position, WEIR_DURABLE), -EAGAIN);
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 1), 0) << weir_last_error();
    weird_->kill(SIGCONT);
    int r;
    while ((r = weir_pub_confirm(pub, position, WEIR_DURABLE)) == -EAGAIN)
        loop.wait();
    EXPECT_TRUE(r == -EIDRM || r == 0) << weir_strerror(r);
    EXPECT_FALSE(loop.readable());
}

/* -- the struct that grew ------------------------------------------------------------------------------------------ */

TEST_F(ClientEpoll, ProgramBuiltBeforePlacementMakesRingsWithoutOne)
{
    RingOptions options;
    options.size = offsetof(weir_ring_options, huge);
    options.huge = WEIR_HUGE_PAGES; /* what happens to stand behind its struct */
    options.numa_node = 77;
    ASSERT_EQ(create(options), 0) << weir_last_error();
    struct weir_ring_placement placement = {};
    placement.size = sizeof(placement);
    ASSERT_EQ(weir_ring_locate(bus_.c_str(), "ring", &placement), 0) << weir_last_error();
    EXPECT_EQ(placement.huge, WEIR_HUGE_NONE);
    EXPECT_EQ(placement.numa_node, WEIR_NUMA_NONE);
    EXPECT_EQ(placement.memory_bytes, info().memory_bytes);
}

} // namespace
