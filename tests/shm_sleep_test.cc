/* SPDX-License-Identifier: Apache-2.0 */
/* Sleeping and waking across processes, the heavy fence, the clocks. */
// test: LINKS weir_shm LABELS tsan

#include "tests/shm_support.hh"

#include <atomic>

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>

namespace
{

constexpr int64_t ms = 1000000;
constexpr int64_t s = 1000 * ms;

class ShmSleep : public ShmTest
{
protected:
    void SetUp() override
    {
        ShmTest::SetUp();
        ASSERT_EQ(create("ring", 0600, 0), 0) << why_.text;
        ASSERT_EQ(shm_open_ring(bus_fd_, "ring", SHM_PUBLISH, false, &ring_, &why_), 0) << why_.text;
        word_ = static_cast<uint32_t *>(ring_.control);
    }
    void TearDown() override
    {
        shm_close_ring(&ring_);
        ShmTest::TearDown();
    }
    /* A child that sleeps on the word, with another mapping of it, and says how it woke. */
    Child::Body sleeper(shm_access access, int64_t timeout_ns)
    {
        return [this, access, timeout_ns](const Line &line) {
            Ring ring(bus_fd_, "ring", access);
            CHILD_CHECK(ring.error == 0);
            line.say('r');
            line.send_number(shm_sleep(static_cast<uint32_t *>(ring.control), 0, timeout_ns));
            return 0;
        };
    }

    struct shm_ring ring_ = {};
    uint32_t *word_ = nullptr;
};

TEST_F(ShmSleep, EndsWhenAnotherProcessWakes)
{
    Child child(sleeper(SHM_PUBLISH, 20 * s));
    ASSERT_EQ(child.line().hear(), 'r');
    while (!child.line().has_news(1))
        shm_wake_all(word_);
    EXPECT_EQ(child.line().hear_number(), 0);
}

TEST_F(ShmSleep, WorksOnAMappingThatMayOnlyBeRead)
{
    Child child(sleeper(SHM_SUBSCRIBE, INT64_MAX));
    ASSERT_EQ(child.line().hear(), 'r');
    while (!child.line().has_news(1))
        shm_wake_all(word_);
    EXPECT_EQ(child.line().hear_number(), 0);
}

TEST_F(ShmSleep, EndsForAllSleepersAtOnce)
{
    Child first(sleeper(SHM_SUBSCRIBE, 20 * s)), second(sleeper(SHM_SUBSCRIBE, 20 * s));
    ASSERT_EQ(first.line().hear(), 'r');
    ASSERT_EQ(second.line().hear(), 'r');
    /* Both sleep in the kernel now, says the kernel; then one wake is for both. */
    for (const Child *child : {&first, &second}) {
        char link[64];
        snprintf(link, sizeof(link), "/proc/%d/syscall", (int)child->pid());
        std::string call;
        while (call.rfind("202 ", 0) != 0) {
            char text[64] = "";
            int fd = open(link, O_RDONLY | O_CLOEXEC);
            ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
            close(fd);
            if (got < 0)
                GTEST_SKIP() << "may not ask which system call a child is in";
            call = text;
        }
    }
    shm_wake_all(word_);
    EXPECT_EQ(first.line().hear_number(), 0);
    EXPECT_EQ(second.line().hear_number(), 0);
}

TEST_F(ShmSleep, DoesNotBeginWhenTheWordHasChanged)
{
    EXPECT_EQ(shm_sleep(word_, 1, INT64_MAX), 0);
    *word_ = 5;
    Ring reader(bus_fd_, "ring", SHM_SUBSCRIBE);
    EXPECT_EQ(shm_sleep(static_cast<uint32_t *>(reader.control), 0, INT64_MAX), 0);
}

TEST_F(ShmSleep, EndsWithItsTimeLimitAndNotBefore)
{
    for (int64_t timeout_ns : {int64_t(1), 20 * ms}) {
        uint64_t before = shm_now_ns();
        EXPECT_EQ(shm_sleep(word_, 0, timeout_ns), -ETIMEDOUT);
        EXPECT_GE(shm_now_ns() - before, (uint64_t)timeout_ns);
    }
    EXPECT_EQ(shm_sleep(word_, 0, 0), -ETIMEDOUT);
    EXPECT_EQ(shm_sleep(word_, 0, -1), -ETIMEDOUT);
    EXPECT_EQ(shm_sleep(word_, 0, INT64_MIN), -ETIMEDOUT);
}

TEST_F(ShmSleep, IsInterruptedByASignalHandlerWhateverItsFlags)
{
    for (int flags : {0, SA_RESTART}) {
        for (int64_t timeout_ns : {20 * s, INT64_MAX}) {
            SCOPED_TRACE(testing::Message() << "flags " << flags << ", time limit " << timeout_ns);
            Child child([&](const Line &line) {
                struct sigaction action = {};
                action.sa_handler = [](int) {};
                action.sa_flags = flags;
                CHILD_CHECK(sigaction(SIGUSR1, &action, nullptr) == 0);
                line.say('r');
                line.send_number(shm_sleep(word_, 0, timeout_ns));
                return 0;
            });
            ASSERT_EQ(child.line().hear(), 'r');
            while (!child.line().has_news(1))
                child.kill(SIGUSR1);
            EXPECT_EQ(child.line().hear_number(), -EINTR);
        }
    }
}

TEST_F(ShmSleep, OnWhatIsNoMemoryIsAnError)
{
    void *gone = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(gone, 4096);
    EXPECT_EQ(shm_sleep(static_cast<uint32_t *>(gone), 0, s), -EFAULT);
}

/* -- Fence -------------------------------------------------------------------------------------------------------- */

/* Which fences this process is registered for; negative: the kernel is older than that question (Linux 6.3). */
long registrations()
{
    constexpr int get_registrations = 1 << 9;
    return syscall(SYS_membarrier, get_registrations, 0, 0);
}

TEST_F(ShmSleep, TheKernelTakesTheRegistrationForTheFenceAndTheFence)
{
    Child child([](const Line &) {
        bool can_ask = registrations() >= 0;
        CHILD_CHECK(!can_ask || (registrations() & MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0);
        CHILD_CHECK(shm_fence_register());
        CHILD_CHECK(shm_fence_register()); /* and once more */
        CHILD_CHECK(!can_ask || (registrations() & MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) != 0);
        CHILD_CHECK(shm_fence());
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

/*
 * Each of two processes stores to its own word, then loads the other's. One of them fences between by nothing but the
 * compiler, the other with the heavy fence: then at least one sees the other's store. Without the fence both miss it
 * within a few thousand rounds on any machine with two cores. (That the light one is registered makes too small a
 * difference here to be noticed: see the test above.)
 */
struct Duel {
    alignas(128) std::atomic<uint64_t> round;
    alignas(128) std::atomic<uint64_t> done;
    alignas(128) std::atomic<uint32_t> light;
    alignas(128) std::atomic<uint32_t> heavy;
    alignas(128) std::atomic<uint32_t> light_saw;
};

/* Both sides start a round within a few nanoseconds of each other, at shifts that vary. */
void wait_a_little(uint64_t round)
{
    for (std::atomic<uint64_t> at{0}; at.load(std::memory_order_relaxed) < round % 60;)
        at.fetch_add(1, std::memory_order_relaxed);
}

/* Spins, since the two must meet within nanoseconds; on a busy machine the other may need this processor. */
void wait_for(const std::atomic<uint64_t> &word, uint64_t value)
{
    for (unsigned spins = 0; word.load(std::memory_order_acquire) < value; spins++) {
        if (spins > 10000)
            sched_yield();
    }
}

TEST_F(ShmSleep, TheFenceOrdersAnotherProcessThatFencesOnlyTheCompiler)
{
    constexpr uint64_t rounds = 20000, over = UINT64_MAX;
    auto *duel = new (ring_.data) Duel();
    Child child([&](const Line &line) {
        CHILD_CHECK(shm_fence_register());
        line.say('r');
        for (uint64_t round = 1;; round++) {
            wait_for(duel->round, round);
            if (duel->round.load(std::memory_order_relaxed) == over)
                return 0;
            wait_a_little(round / 60);
            duel->light.store(1, std::memory_order_relaxed);
            std::atomic_signal_fence(std::memory_order_seq_cst);
            uint32_t saw = duel->heavy.load(std::memory_order_relaxed);
            duel->light_saw.store(saw, std::memory_order_relaxed);
            duel->done.store(round, std::memory_order_release);
        }
    });
    ASSERT_EQ(child.line().hear(), 'r');
    uint64_t both_missed = 0;
    Budget budget;
    for (uint64_t round = 1; round <= rounds && budget.left(); round++) {
        duel->light.store(0, std::memory_order_relaxed);
        duel->heavy.store(0, std::memory_order_relaxed);
        duel->round.store(round, std::memory_order_release);
        wait_a_little(round);
        duel->heavy.store(1, std::memory_order_relaxed);
        if (!shm_fence())
            FAIL() << "the kernel refused the fence";
        uint32_t saw = duel->light.load(std::memory_order_relaxed);
        wait_for(duel->done, round);
        both_missed += !saw && !duel->light_saw.load(std::memory_order_relaxed);
    }
    duel->round.store(over, std::memory_order_release);
    EXPECT_EQ(both_missed, 0u);
    EXPECT_EQ(child.result(), 0);
}

/* -- Clocks ------------------------------------------------------------------------------------------------------- */

TEST(ShmClock, TheOneForSpansNeverGoesBack)
{
    uint64_t last = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t now = shm_now_ns();
        ASSERT_GE(now, last);
        last = now;
    }
}

TEST(ShmClock, TheOneForInstantsCountsFrom1970)
{
    uint64_t before = (uint64_t)time(nullptr);
    uint64_t now = shm_wall_ns();
    EXPECT_GE(now / (uint64_t)s, before);
    EXPECT_LE(now / (uint64_t)s, before + deadline_s);
}

} // namespace
