/* SPDX-License-Identifier: Apache-2.0 */
/* Who is alive: asked of the kernel about processes that are killed, stopped, forked, executed or in a container. */
// test: LINKS weir_shm LABELS tsan

#include "tests/shm_support.hh"

#include <atomic>
#include <thread>

#include <sched.h>
#include <spawn.h>
#include <sys/ptrace.h>

namespace
{

constexpr uint64_t id = 7;

class ShmAlive : public ShmTest
{
protected:
    void SetUp() override
    {
        ShmTest::SetUp();
        ASSERT_EQ(create(), 0) << why_.text;
        ASSERT_EQ(shm_open_ring(bus_fd_, "ring", SHM_SERVE, false, &prober_, &why_), 0) << why_.text;
    }
    void TearDown() override
    {
        shm_close_ring(&prober_);
        ShmTest::TearDown();
    }
    int locked() const
    {
        return shm_locked(prober_.lock_fd, id);
    }
    /* In a child: opens the ring, locks the id, says so. */
    int hold(const Line &line, Ring *ring)
    {
        CHILD_CHECK(shm_open_ring(bus_fd_, "ring", SHM_PUBLISH, false, ring, nullptr) == 0);
        CHILD_CHECK(shm_lock(ring->lock_fd, id) == 0);
        line.say('h');
        return 0;
    }
    Child::Body holder()
    {
        return [this](const Line &line) {
            Ring ring;
            CHILD_CHECK(hold(line, &ring) == 0);
            line.hear();
            return 0;
        };
    }

    struct shm_ring prober_ = {};
};

/* -- Locks -------------------------------------------------------------------------------------------------------- */

TEST_F(ShmAlive, AnIdIsHeldByOneAtATimeEvenInOneProcess)
{
    Ring first(bus_fd_, "ring", SHM_PUBLISH), second(bus_fd_, "ring", SHM_PUBLISH);
    EXPECT_EQ(locked(), 0);
    EXPECT_EQ(shm_lock(first.lock_fd, id), 0);
    EXPECT_EQ(locked(), 1);
    EXPECT_EQ(shm_lock(second.lock_fd, id), -EBUSY);
    EXPECT_EQ(shm_lock(second.lock_fd, id + 1), 0);
    EXPECT_EQ(shm_locked(second.lock_fd, id), 1);
    EXPECT_EQ(shm_locked(first.lock_fd, id), 0) << "nobody sees his own";
    shm_close_ring(&first);
    EXPECT_EQ(locked(), 0);
    EXPECT_EQ(shm_locked(prober_.lock_fd, id + 1), 1);
    shm_close_ring(&second);
    EXPECT_EQ(shm_locked(prober_.lock_fd, id + 1), 0);
}

TEST_F(ShmAlive, IdsReachFarAndDoNotTouchEachOther)
{
    Ring ring(bus_fd_, "ring", SHM_PUBLISH);
    const uint64_t top = (UINT64_C(1) << 62) - 1;
    for (uint64_t one : {UINT64_C(1), UINT64_C(1) << 32, top}) {
        EXPECT_EQ(shm_lock(ring.lock_fd, one), 0);
        EXPECT_EQ(shm_locked(prober_.lock_fd, one), 1);
        EXPECT_EQ(shm_locked(prober_.lock_fd, one - 1), 0);
        EXPECT_EQ(shm_locked(prober_.lock_fd, one + 1 > top ? 2 : one + 1), 0);
    }
    for (uint64_t one : {top + 1, UINT64_C(1) << 63, UINT64_MAX}) {
        EXPECT_EQ(shm_lock(ring.lock_fd, one), -EINVAL);
        EXPECT_EQ(shm_locked(prober_.lock_fd, one), 0) << "nobody can hold it, so nobody is alive under it";
    }
    EXPECT_EQ(shm_lock(-1, id), -EBADF);
    EXPECT_EQ(shm_locked(-1, id), -EBADF);
}

TEST_F(ShmAlive, AReadLockMakesNobodyAlive)
{
    int fd = openat(bus_fd_, "ring/locks", O_RDONLY | O_CLOEXEC);
    struct flock lock = {};
    lock.l_type = F_RDLCK;
    lock.l_whence = SEEK_SET; /* every byte there is */
    ASSERT_EQ(fcntl(fd, F_OFD_SETLK, &lock), 0);
    EXPECT_EQ(locked(), 0);
    close(fd);
}

TEST_F(ShmAlive, PublishersAndReadersAreAskedApart)
{
    Ring publisher(bus_fd_, "ring", SHM_PUBLISH);
    Ring subscriber(bus_fd_, "ring", SHM_SUBSCRIBE);
    ASSERT_EQ(shm_lock(publisher.lock_fd, id), 0);
    ASSERT_EQ(shm_lock(subscriber.reader_lock_fd, id + 1), 0);
    EXPECT_EQ(shm_locked(prober_.reader_lock_fd, id), 0);
    EXPECT_EQ(shm_locked(prober_.reader_lock_fd, id + 1), 1);
    EXPECT_EQ(shm_locked(prober_.lock_fd, id + 1), 0);
}

/* -- Death -------------------------------------------------------------------------------------------------------- */

TEST_F(ShmAlive, AHolderThatIsKilledIsDead)
{
    Child child(holder());
    ASSERT_EQ(child.line().hear(), 'h');
    EXPECT_EQ(locked(), 1);
    child.kill(SIGKILL);
    ASSERT_EQ(child.result(), -SIGKILL);
    EXPECT_EQ(locked(), 0);
}

TEST_F(ShmAlive, AHolderThatIsStoppedIsAlive)
{
    Child child(holder());
    ASSERT_EQ(child.line().hear(), 'h');
    EXPECT_EQ(shm_process_stopped(child.pid()), 0);
    child.stop();
    EXPECT_EQ(locked(), 1);
    EXPECT_EQ(shm_process_stopped(child.pid()), 1);
    child.kill(SIGKILL);
    ASSERT_EQ(child.result(), -SIGKILL);
    EXPECT_EQ(locked(), 0);
}

TEST_F(ShmAlive, AHolderThatClosesIsGone)
{
    Child child([&](const Line &line) {
        Ring ring;
        CHILD_CHECK(hold(line, &ring) == 0);
        line.hear();
        shm_close_ring(&ring);
        line.say('c');
        line.hear();
        return 0;
    });
    ASSERT_EQ(child.line().hear(), 'h');
    EXPECT_EQ(locked(), 1);
    child.line().say('g');
    ASSERT_EQ(child.line().hear(), 'c');
    EXPECT_EQ(locked(), 0);
}

TEST_F(ShmAlive, AHolderInAnotherPidNamespaceIsSeenAlikeAndDiesAlike)
{
    Child outer([&](const Line &line) {
        if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) {
            line.say('n');
            return 0;
        }
        pid_t inner = fork();
        if (inner == 0) {
            alarm(deadline_s);
            Ring ring;
            if (getpid() != 1 || hold(line, &ring) != 0)
                _exit(1);
            for (;;)
                pause();
        }
        line.hear();
        kill(inner, SIGKILL);
        int status = 0;
        CHILD_CHECK(waitpid(inner, &status, 0) == inner && WIFSIGNALED(status));
        line.say('d');
        line.hear();
        return 0;
    });
    char word = outer.line().hear();
    if (word == 'n')
        GTEST_SKIP() << "a pid namespace is not permitted here";
    ASSERT_EQ(word, 'h');
    EXPECT_EQ(locked(), 1);
    outer.line().say('k');
    ASSERT_EQ(outer.line().hear(), 'd');
    EXPECT_EQ(locked(), 0);
}

/* -- Fork and exec ------------------------------------------------------------------------------------------------ */

TEST_F(ShmAlive, AForkedChildThatOutlivesTheHolderDoesNotKeepItAlive)
{
    int orphan[2];
    ASSERT_EQ(pipe2(orphan, O_CLOEXEC), 0);
    Child child([&](const Line &line) {
        Ring ring, other(bus_fd_, "ring", SHM_SERVE);
        CHILD_CHECK(other.error == 0 && shm_lock(other.reader_lock_fd, id) == 0);
        CHILD_CHECK(hold(line, &ring) == 0);
        line.hear();
        if (fork() == 0) {
            alarm(deadline_s);
            pid_t pid = getpid();
            (void)!write(orphan[1], &pid, sizeof(pid));
            for (;;)
                pause();
        }
        line.hear();
        return 0;
    });
    ASSERT_EQ(child.line().hear(), 'h');
    child.line().say('f');
    pid_t pid = 0;
    ASSERT_EQ(read(orphan[0], &pid, sizeof(pid)), (ssize_t)sizeof(pid));
    EXPECT_EQ(locked(), 1) << "the child closed its copies, and gave nothing back that is the holder's";
    EXPECT_EQ(shm_locked(prober_.reader_lock_fd, id), 1);
    child.kill(SIGKILL);
    ASSERT_EQ(child.result(), -SIGKILL);
    EXPECT_EQ(locked(), 0);
    EXPECT_EQ(shm_locked(prober_.reader_lock_fd, id), 0);
    EXPECT_EQ(kill(pid, SIGKILL), 0) << "it lived all the while";
    EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
    close(orphan[0]);
    close(orphan[1]);
}

TEST_F(ShmAlive, AForkedChildThatClosesTheRingLeavesTheHolderAlive)
{
    Ring ring(bus_fd_, "ring", SHM_PUBLISH);
    ASSERT_EQ(shm_lock(ring.lock_fd, id), 0);
    Child child([&](const Line &) {
        CHILD_CHECK(ring.lock_fd == -1 && ring.reader_lock_fd == -1);
        CHILD_CHECK(ring.whole(1)); /* the memory is still there to be read */
        shm_close_ring(&ring);
        CHILD_CHECK(open_descriptors("/ring/control") == 1); /* the prober's */
        CHILD_CHECK(locked() == -EBADF);
        Ring own(bus_fd_, "ring", SHM_PUBLISH); /* and one of its own is as good as any */
        CHILD_CHECK(own.error == 0 && shm_locked(own.lock_fd, id) == 1);
        CHILD_CHECK(shm_lock(own.lock_fd, id) == -EBUSY && shm_lock(own.lock_fd, id + 1) == 0);
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
    EXPECT_EQ(locked(), 1);
    EXPECT_GE(ring.lock_fd, 0) << "the parent's own struct is untouched";
}

TEST_F(ShmAlive, TheForkGenerationRisesInTheChildAlone)
{
    uint32_t before = shm_fork_generation;
    Child child([&](const Line &) {
        CHILD_CHECK(shm_fork_generation == before + 1);
        Child grandchild([&](const Line &) {
            CHILD_CHECK(shm_fork_generation == before + 2);
            return 0;
        });
        CHILD_CHECK(grandchild.result() == 0);
        CHILD_CHECK(shm_fork_generation == before + 1);
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
    EXPECT_EQ(shm_fork_generation, before);
}

TEST_F(ShmAlive, AProgramStartedByTheHolderDoesNotKeepItAlive)
{
    int orphan[2];
    ASSERT_EQ(pipe2(orphan, O_CLOEXEC), 0);
    Child child([&](const Line &line) {
        Ring ring;
        CHILD_CHECK(hold(line, &ring) == 0);
        line.hear();
        /* `cat` repeats what it hears, so it is done with exec; and it never hears the end, having both ends itself. */
        int to[2], from[2];
        CHILD_CHECK(pipe(to) == 0 && pipe(from) == 0);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, to[0], 0);
        posix_spawn_file_actions_adddup2(&actions, from[1], 1);
        char cat[] = "cat";
        char *arguments[] = {cat, nullptr};
        pid_t pid = 0;
        CHILD_CHECK(posix_spawnp(&pid, "cat", &actions, nullptr, arguments, environ) == 0);
        char word = 'w';
        CHILD_CHECK(write(to[1], &word, 1) == 1 && read(from[0], &word, 1) == 1);
        (void)!write(orphan[1], &pid, sizeof(pid));
        line.hear();
        return 0;
    });
    ASSERT_EQ(child.line().hear(), 'h');
    child.line().say('s');
    pid_t pid = 0;
    ASSERT_EQ(read(orphan[0], &pid, sizeof(pid)), (ssize_t)sizeof(pid));
    EXPECT_EQ(locked(), 1);
    child.kill(SIGKILL);
    ASSERT_EQ(child.result(), -SIGKILL);
    EXPECT_EQ(locked(), 0);
    EXPECT_EQ(kill(pid, SIGKILL), 0) << "it lived all the while";
    EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
    close(orphan[0]);
    close(orphan[1]);
}

TEST_F(ShmAlive, AForkAtAnyMomentOfAnOpeningLeavesNoLockFileInTheChild)
{
    std::atomic<bool> stop{false};
    std::thread opener([&] {
        while (!stop) {
            Ring ring(bus_fd_, "ring", SHM_SERVE);
            Request request("other");
            (void)shm_create(bus_fd_, &request, nullptr);
            (void)shm_remove(bus_fd_, "other", nullptr);
        }
    });
    Budget budget;
    for (int round = 0; round < 300 && budget.left(); round++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm(deadline_s);
            _exit(open_descriptors("/locks") + open_descriptors("/locks.readers"));
        }
        int status = 0;
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_TRUE(WIFEXITED(status));
        EXPECT_EQ(WEXITSTATUS(status), 0);
    }
    stop = true;
    opener.join();
}

/* -- Stopped ------------------------------------------------------------------------------------------------------ */

TEST_F(ShmAlive, AProcessThatRunsSleepsOrIsGoneIsNotStopped)
{
    EXPECT_EQ(shm_process_stopped(getpid()), 0);
    Child child([](const Line &line) {
        line.hear();
        return 0;
    });
    EXPECT_EQ(shm_process_stopped(child.pid()), 0);
    child.stop();
    EXPECT_EQ(shm_process_stopped(child.pid()), 1);
    child.kill(SIGCONT);
    int status = 0;
    ASSERT_EQ(waitpid(child.pid(), &status, WCONTINUED), child.pid());
    EXPECT_EQ(shm_process_stopped(child.pid()), 0);
    child.kill(SIGKILL);
    siginfo_t info;
    ASSERT_EQ(waitid(P_PID, (id_t)child.pid(), &info, WEXITED | WNOWAIT), 0);
    EXPECT_EQ(shm_process_stopped(child.pid()), -ESRCH) << "a zombie";
    (void)child.status();
    EXPECT_EQ(shm_process_stopped(child.pid()), -ESRCH);
    for (pid_t none : {0, -1, INT32_MAX})
        EXPECT_EQ(shm_process_stopped(none), -ESRCH);
}

TEST_F(ShmAlive, AProcessIsNotStoppedByItsName)
{
    Child child([](const Line &line) {
        prctl(PR_SET_NAME, ") T 1 (x");
        line.say('n');
        line.hear();
        return 0;
    });
    ASSERT_EQ(child.line().hear(), 'n');
    EXPECT_EQ(shm_process_stopped(child.pid()), 0);
    child.stop();
    EXPECT_EQ(shm_process_stopped(child.pid()), 1);
}

TEST_F(ShmAlive, AProcessUnderADebuggerThatHoldsItIsStopped)
{
    Child child([](const Line &line) {
        line.hear();
        return 0;
    });
    if (ptrace(PTRACE_SEIZE, child.pid(), nullptr, nullptr) != 0)
        GTEST_SKIP() << "tracing is not permitted here";
    ASSERT_EQ(ptrace(PTRACE_INTERRUPT, child.pid(), nullptr, nullptr), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child.pid(), &status, __WALL), child.pid());
    EXPECT_EQ(shm_process_stopped(child.pid()), 1);
}

} // namespace
