/* SPDX-License-Identifier: Apache-2.0 */
/* Opening rings: who may, what is mapped how, and what happens when something else than a ring stands there. */
// test: LINKS weir_shm

#include "tests/shm_support.hh"

#include <sys/resource.h>
#include <sys/un.h>

namespace
{

/* Whether this process may write to the mapping: asks the kernel to allow it. */
bool may_write(void *memory)
{
    return mprotect(memory, 4096, PROT_READ | PROT_WRITE) == 0;
}

class ShmAttach : public ShmTest
{
protected:
    /* Fails with this error, a sentence that names the ring or its place, and nothing kept. */
    void expect_refused(const char *name, int error, const std::string &part)
    {
        for (shm_access access : {SHM_LOOK, SHM_SUBSCRIBE, SHM_PUBLISH, SHM_SERVE}) {
            SCOPED_TRACE(testing::Message() << "access " << access);
            int before = open_descriptors();
            Ring ring(bus_fd_, name, access, true);
            EXPECT_EQ(ring.error, error) << ring.why.text;
            EXPECT_NE(std::string(ring.why.text).find(part), std::string::npos) << ring.why.text;
            EXPECT_EQ(ring.control, nullptr);
            EXPECT_EQ(open_descriptors(), before);
        }
    }
};

TEST_F(ShmAttach, MapsForEachPurposeWithTheRightsItTakesAndNoMore)
{
    struct {
        shm_access access;
        bool repair, ring_writable, readers_writable;
    } const all[] = {
        {SHM_LOOK, false, false, false},   {SHM_LOOK, true, false, false},    {SHM_SUBSCRIBE, false, false, true},
        {SHM_SUBSCRIBE, true, true, true}, {SHM_PUBLISH, false, true, false}, {SHM_SERVE, false, true, true},
    };
    ASSERT_EQ(create("ring", 0600, 8), 0);
    for (const auto &one : all) {
        SCOPED_TRACE(testing::Message() << "access " << one.access << (one.repair ? " with repair" : ""));
        Ring ring(bus_fd_, "ring", one.access, one.repair);
        ASSERT_EQ(ring.error, 0) << ring.why.text;
        EXPECT_TRUE(ring.whole(8));
        EXPECT_EQ(ring.control_writable, one.ring_writable);
        EXPECT_EQ(ring.data_writable, one.ring_writable);
        EXPECT_EQ(ring.readers_writable, one.readers_writable);
        EXPECT_EQ(may_write(ring.control), one.ring_writable);
        EXPECT_EQ(may_write(ring.data), one.ring_writable);
        EXPECT_EQ(may_write(ring.readers), one.readers_writable);
        EXPECT_GE(ring.lock_fd, 0);
        EXPECT_GE(ring.reader_lock_fd, 0);
        bool publishes = one.access == SHM_PUBLISH || one.access == SHM_SERVE;
        bool subscribes = one.access == SHM_SUBSCRIBE || one.access == SHM_SERVE;
        EXPECT_EQ(shm_lock(ring.lock_fd, 1), publishes ? 0 : -EBADF);
        EXPECT_EQ(shm_lock(ring.reader_lock_fd, 1), subscribes ? 0 : -EBADF);
    }
}

TEST_F(ShmAttach, MapsAreNotWritableToBeginWith)
{
    ASSERT_EQ(create(), 0);
    Child child([&](const Line &) {
        Ring ring(bus_fd_, "ring", SHM_SUBSCRIBE);
        CHILD_CHECK(ring.error == 0);
        signal(SIGSEGV, SIG_DFL);
        *static_cast<char *>(ring.control) = 1;
        return 0;
    });
    EXPECT_EQ(child.result(), -SIGSEGV);
}

TEST_F(ShmAttach, SharesTheMemoryBetweenProcesses)
{
    ASSERT_EQ(create("ring", 0600, 1), 0);
    Ring subscriber(bus_fd_, "ring", SHM_SUBSCRIBE);
    ASSERT_EQ(subscriber.error, 0);
    Child publisher([&](const Line &) {
        Ring ring(bus_fd_, "ring", SHM_PUBLISH);
        CHILD_CHECK(ring.error == 0);
        memset(ring.control, 2, ring.sizes.control_bytes);
        memset(ring.data, 2, ring.sizes.data_bytes);
        return 0;
    });
    ASSERT_EQ(publisher.result(), 0);
    memset(subscriber.readers, 2, subscriber.sizes.readers_bytes);
    Ring fresh(bus_fd_, "ring", SHM_LOOK);
    EXPECT_TRUE(subscriber.whole(2) && fresh.whole(2));
}

TEST_F(ShmAttach, ThatWorksOnTheMemoryFindsItAllThere)
{
    Request request;
    request.sizes.data_bytes = 4 << 20;
    ASSERT_EQ(create(request), 0);
    for (shm_access access : {SHM_SUBSCRIBE, SHM_PUBLISH, SHM_SERVE}) {
        Ring ring(bus_fd_, "ring", access);
        ASSERT_EQ(ring.error, 0);
        struct rusage before, after;
        ASSERT_EQ(getrusage(RUSAGE_THREAD, &before), 0);
        auto *data = static_cast<unsigned char *>(ring.data);
        unsigned sum = 0;
        for (uint64_t at = 0; at < ring.sizes.data_bytes; at += 4096) {
            sum += data[at];
            if (ring.data_writable)
                data[at] = 1;
        }
        ASSERT_EQ(getrusage(RUSAGE_THREAD, &after), 0);
        EXPECT_EQ(sum, 1024u);
        EXPECT_TRUE(sanitized || after.ru_minflt - before.ru_minflt < 16) << "of 1024 pages, access " << access;
    }
}

TEST_F(ShmAttach, LeavesNoDescriptorAndNoMapBehind)
{
    ASSERT_EQ(create(), 0);
    int before = open_descriptors();
    Ring ring(bus_fd_, "ring", SHM_SERVE);
    ASSERT_EQ(ring.error, 0);
    EXPECT_EQ(open_descriptors(), before + 6);
    void *data = ring.data;
    shm_close_ring(&ring);
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(msync(data, 4096, MS_ASYNC), -1) << "unmapped";
    shm_close_ring(&ring);
    shm_close_ring(nullptr);
    struct shm_ring zeroed = {};
    shm_close_ring(&zeroed);
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_NE(fcntl(STDIN_FILENO, F_GETFD), -1);
}

TEST_F(ShmAttach, OfManyRingsClosedInAnyOrderClosesTheRightOnes)
{
    ASSERT_EQ(create("a", 0600, 1), 0);
    ASSERT_EQ(create("b", 0600, 2), 0);
    ASSERT_EQ(create("c", 0600, 3), 0);
    Ring a(bus_fd_, "a", SHM_PUBLISH), b(bus_fd_, "b", SHM_PUBLISH), c(bus_fd_, "c", SHM_PUBLISH);
    shm_close_ring(&b);
    EXPECT_TRUE(a.whole(1) && c.whole(3));
    shm_close_ring(&c);
    Ring again(bus_fd_, "b", SHM_PUBLISH);
    shm_close_ring(&a);
    EXPECT_TRUE(again.whole(2));
    shm_close_ring(&again);
    EXPECT_EQ(open_descriptors("/locks"), 0);
}

/* -- Rights ------------------------------------------------------------------------------------------------------- */

/* As a user who is neither the owner nor in the group. */
#define AS_SOMEBODY_ELSE()                                                                                             \
    if (!is_root())                                                                                                    \
        GTEST_SKIP() << "takes root, to be somebody else as well";                                                     \
    Child child([&](const Line &) {                                                                                    \
        CHILD_CHECK(become(nobody, nobody));
TEST_F(ShmAttach, WithTheRightToReadSubscribesAndNoMore)
{
    ASSERT_EQ(create("ring", 0644, 8), 0);
    AS_SOMEBODY_ELSE()
    Ring subscriber(bus_fd_, "ring", SHM_SUBSCRIBE, true);
    CHILD_CHECK(subscriber.error == 0 && subscriber.whole(8));
    CHILD_CHECK(!subscriber.control_writable && !subscriber.data_writable && subscriber.readers_writable);
    CHILD_CHECK(subscriber.lock_fd == -1);
    CHILD_CHECK(shm_lock(subscriber.reader_lock_fd, 5) == 0);
    CHILD_CHECK(!may_write(subscriber.control) && !may_write(subscriber.data));

    CHILD_CHECK(openat(bus_fd_, "ring/locks", O_RDONLY) == -1 && errno == EACCES);
    CHILD_CHECK(openat(bus_fd_, "ring/control", O_RDWR) == -1 && errno == EACCES);
    CHILD_CHECK(openat(bus_fd_, "ring/data", O_RDWR) == -1 && errno == EACCES);
    CHILD_CHECK(unlinkat(bus_fd_, "ring/readers", 0) == -1 && errno == EACCES);
    CHILD_CHECK(openat(bus_fd_, "ring/new", O_CREAT | O_WRONLY, 0600) == -1 && errno == EACCES);

    Ring looker(bus_fd_, "ring", SHM_LOOK);
    CHILD_CHECK(looker.error == 0 && looker.lock_fd == -1 && shm_locked(looker.reader_lock_fd, 5) == 1);

    for (shm_access access : {SHM_PUBLISH, SHM_SERVE}) {
        Ring ring(bus_fd_, "ring", access);
        CHILD_CHECK(ring.error == -EACCES);
        CHILD_CHECK(strstr(ring.why.text, "uid 65534 may not ") && strstr(ring.why.text, "mode 0644"));
        CHILD_CHECK(strstr(ring.why.text, "control") && strstr(ring.why.text, "--mode"));
    }
    return 0;
});
EXPECT_EQ(child.result(), 0);
}

TEST_F(ShmAttach, WithTheRightToWritePublishesAndRepairs)
{
    ASSERT_EQ(create("ring", 0666), 0);
    AS_SOMEBODY_ELSE()
    Ring publisher(bus_fd_, "ring", SHM_PUBLISH);
    CHILD_CHECK(publisher.error == 0 && publisher.control_writable);
    CHILD_CHECK(shm_lock(publisher.lock_fd, 5) == 0);
    Ring subscriber(bus_fd_, "ring", SHM_SUBSCRIBE, true);
    CHILD_CHECK(subscriber.error == 0 && subscriber.control_writable && subscriber.data_writable);
    CHILD_CHECK(shm_locked(subscriber.lock_fd, 5) == 1);
    return 0;
});
EXPECT_EQ(child.result(), 0);
}

TEST_F(ShmAttach, RepairsWithBothFilesOrNotAtAll)
{
    ASSERT_EQ(create("ring", 0666), 0);
    ASSERT_EQ(fchmodat(bus_fd_, "ring/data", 0644, 0), 0);
    AS_SOMEBODY_ELSE()
    int before = open_descriptors("/control");
    Ring subscriber(bus_fd_, "ring", SHM_SUBSCRIBE, true);
    CHILD_CHECK(subscriber.error == 0);
    CHILD_CHECK(!subscriber.control_writable && !may_write(subscriber.control));
    CHILD_CHECK(!subscriber.data_writable && !may_write(subscriber.data));
    CHILD_CHECK(open_descriptors("/control") <= before + 1);
    return 0;
});
EXPECT_EQ(child.result(), 0);
}

TEST_F(ShmAttach, WithoutAnyRightSaysWhoseItIs)
{
    ASSERT_EQ(create("ring", 0600), 0);
    AS_SOMEBODY_ELSE()
    for (shm_access access : {SHM_LOOK, SHM_SUBSCRIBE, SHM_PUBLISH, SHM_SERVE}) {
        Ring ring(bus_fd_, "ring", access, true);
        CHILD_CHECK(ring.error == -EACCES);
        CHILD_CHECK(strstr(ring.why.text, "uid 65534 may not") && strstr(ring.why.text, "uid 0, gid 0, mode 0700"));
    }
    return 0;
});
EXPECT_EQ(child.result(), 0);
}

TEST_F(ShmAttach, ByTheGroupFollowsTheGroupsBits)
{
    if (!is_root())
        GTEST_SKIP() << "takes root, to be somebody else as well";
    for (mode_t mode : {0640, 0660}) {
        Request request("ring", mode);
        request.set_gid = true;
        request.gid = 12345;
        ASSERT_EQ(create(request), 0) << why_.text;
        Child child([&](const Line &) {
            CHILD_CHECK(become(nobody, 12345));
            Ring subscriber(bus_fd_, "ring", SHM_SUBSCRIBE);
            CHILD_CHECK(subscriber.error == 0);
            CHILD_CHECK((subscriber.lock_fd >= 0) == (mode == 0660));
            Ring publisher(bus_fd_, "ring", SHM_PUBLISH);
            CHILD_CHECK(publisher.error == (mode == 0660 ? 0 : -EACCES));
            return 0;
        });
        EXPECT_EQ(child.result(), 0) << std::oct << mode;
        ASSERT_EQ(shm_remove(bus_fd_, "ring", &why_), 0);
    }
}

/* -- What is no ring ---------------------------------------------------------------------------------------------- */

TEST_F(ShmAttach, ToNothingSaysHowToMakeIt)
{
    expect_refused("ring", -ENOENT, "there is no ring 'ring' on " + path("bus") + ": create it");
    expect_refused("../bus", -EILSEQ, "is no name");
    expect_refused(".new-0000000000000000", -EILSEQ, "no dot in front");
}

TEST_F(ShmAttach, ToWhatIsNoDirectoryIsRefusedWithoutWaiting)
{
    ASSERT_EQ(create("true"), 0);
    ASSERT_EQ(symlinkat("true", bus_fd_, "link"), 0);
    ASSERT_EQ(symlinkat("nowhere", bus_fd_, "broken"), 0);
    ASSERT_EQ(mkfifoat(bus_fd_, "pipe", 0600), 0);
    close(openat(bus_fd_, "file", O_CREAT | O_WRONLY, 0600));
    for (const char *name : {"link", "broken", "pipe", "file"})
        expect_refused(name, -EMEDIUMTYPE, std::string(name) + " is not a ring");
}

TEST_F(ShmAttach, ToAnEmptyDirectorySaysWhatIsMissing)
{
    ASSERT_EQ(mkdirat(bus_fd_, "ring", 0700), 0);
    expect_refused("ring", -EMEDIUMTYPE, "it has no file control");
}

class ShmAttachDamaged : public ShmAttach, public testing::WithParamInterface<const char *>
{
protected:
    void SetUp() override
    {
        ShmAttach::SetUp();
        ASSERT_EQ(create(), 0);
        ring_fd_ = openat(bus_fd_, "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    void TearDown() override
    {
        close(ring_fd_);
        ShmAttach::TearDown();
    }
    void take_away()
    {
        ASSERT_EQ(unlinkat(ring_fd_, file(), 0), 0);
    }
    const char *file() const
    {
        return GetParam();
    }

    int ring_fd_ = -1;
};

class ShmAttachDamagedMemory : public ShmAttachDamaged
{
};

TEST_P(ShmAttachDamagedMemory, AFileThatIsMissingIsNamed)
{
    take_away();
    expect_refused("ring", -EMEDIUMTYPE, std::string("it has no file ") + file());
}

TEST_P(ShmAttachDamagedMemory, AFileThatIsALinkIsNotFollowed)
{
    close(openat(scratch_fd_, "elsewhere", O_CREAT | O_WRONLY, 0600));
    take_away();
    ASSERT_EQ(symlinkat(path("elsewhere").c_str(), ring_fd_, file()), 0);
    expect_refused("ring", -EMEDIUMTYPE, std::string(file()) + " in it is not a regular file");
}

TEST_P(ShmAttachDamagedMemory, AFileThatIsADirectoryAPipeOrASocketIsRefusedWithoutWaiting)
{
    std::string expected = std::string(file()) + " in it is not a regular file";
    take_away();
    ASSERT_EQ(mkdirat(ring_fd_, file(), 0700), 0);
    expect_refused("ring", -EMEDIUMTYPE, expected);
    ASSERT_EQ(unlinkat(ring_fd_, file(), AT_REMOVEDIR), 0);

    ASSERT_EQ(mkfifoat(ring_fd_, file(), 0600), 0);
    expect_refused("ring", -EMEDIUMTYPE, expected);
    take_away();

    int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/ring/%s", path("bus").c_str(), file());
    ASSERT_EQ(bind(socket_fd, reinterpret_cast<struct sockaddr *>(&address), sizeof(address)), 0);
    close(socket_fd);
    expect_refused("ring", -EMEDIUMTYPE, expected);
}

TEST_P(ShmAttachDamagedMemory, AFileThatIsEmptyIsRefused)
{
    int fd = openat(ring_fd_, file(), O_RDWR | O_CLOEXEC);
    ASSERT_EQ(ftruncate(fd, 0), 0);
    close(fd);
    expect_refused("ring", -EMEDIUMTYPE, std::string(file()) + " is empty");
}

TEST_P(ShmAttachDamagedMemory, AFileThatIsMostlyAHoleIsRefusedBeforeItIsFilled)
{
    int fd = openat(ring_fd_, file(), O_RDWR | O_CLOEXEC);
    for (off_t size : {off_t(1) << 20, off_t(1) << 40, INT64_MAX}) {
        ASSERT_EQ(ftruncate(fd, size), 0);
        struct stat before, after;
        ASSERT_EQ(fstat(fd, &before), 0);
        expect_refused("ring", -EMEDIUMTYPE, std::string(file()) + " has holes");
        ASSERT_EQ(fstat(fd, &after), 0);
        EXPECT_EQ(after.st_blocks, before.st_blocks);
        if (HasFailure())
            break; /* the next one would be filled with all the memory there is */
    }
    close(fd);
}

TEST_P(ShmAttachDamagedMemory, AFileThatWasCutIsMappedAtTheSizeItHas)
{
    int fd = openat(ring_fd_, file(), O_RDWR | O_CLOEXEC);
    ASSERT_EQ(ftruncate(fd, 100), 0);
    close(fd);
    Ring ring(bus_fd_, "ring", SHM_LOOK);
    ASSERT_EQ(ring.error, 0) << ring.why.text;
    std::string name = file();
    uint64_t bytes = name == "control"   ? ring.sizes.control_bytes
                     : name == "readers" ? ring.sizes.readers_bytes
                                         : ring.sizes.data_bytes;
    EXPECT_EQ(bytes, 100u) << "the caller compares it with what the ring says";
}

INSTANTIATE_TEST_SUITE_P(EachFile, ShmAttachDamagedMemory, testing::Values("control", "readers", "data"),
                         [](const auto &one) { return std::string(one.param); });

class ShmAttachDamagedLocks : public ShmAttachDamaged
{
};

TEST_P(ShmAttachDamagedLocks, AreRefusedToWhoNeedsThemAndNoObstacleToWhoOnlyLooks)
{
    take_away();
    for (bool pipe : {false, true}) {
        if (pipe) {
            ASSERT_EQ(mkfifoat(ring_fd_, file(), 0600), 0);
        }
        Ring looker(bus_fd_, "ring", SHM_LOOK);
        EXPECT_EQ(looker.error, 0) << looker.why.text;
        Ring publisher(bus_fd_, "ring", SHM_PUBLISH);
        EXPECT_EQ(publisher.error, -EMEDIUMTYPE);
        EXPECT_NE(strstr(publisher.why.text, file()), nullptr) << publisher.why.text;
        Ring subscriber(bus_fd_, "ring", SHM_SUBSCRIBE);
        EXPECT_EQ(subscriber.error, strcmp(file(), "locks") == 0 ? 0 : -EMEDIUMTYPE);
    }
    EXPECT_EQ(open_descriptors(file()), 0);
}

INSTANTIATE_TEST_SUITE_P(EachFile, ShmAttachDamagedLocks, testing::Values("locks", "locks.readers"),
                         [](const auto &one) { return std::string(one.param) == "locks" ? "publishers" : "readers"; });

TEST_F(ShmAttach, ToARingThatIsRemovedMeanwhileFindsNone)
{
    /* Many rings come and go; an opener finds a whole one or none, never a piece of one. */
    Child churner([&](const Line &line) {
        while (!line.has_news(0)) {
            CHILD_CHECK(create("ring", 0600, 6) == 0);
            CHILD_CHECK(shm_remove(bus_fd_, "ring", &why_) == 0);
        }
        return 0;
    });
    int opened = 0, missing = 0;
    for (Budget budget; (opened < 200 || missing < 200) && budget.left();) {
        Ring ring(bus_fd_, "ring", SHM_SERVE);
        if (ring.error == 0)
            opened++;
        else
            missing++;
        if (ring.error == 0) {
            ASSERT_TRUE(ring.whole(6));
        } else {
            ASSERT_EQ(ring.error, -ENOENT) << ring.why.text;
        }
    }
    churner.line().say('e');
    EXPECT_EQ(churner.result(), 0);
}

TEST_F(ShmAttach, WithoutDescriptorsKeepsNone)
{
    ASSERT_EQ(create(), 0);
    Child child([&](const Line &) {
        int lowest = first_descriptor_of_all_free();
        int successes = 0;
        for (rlim_t more = 0; more < 8; more++) {
            for (shm_access access : {SHM_LOOK, SHM_SUBSCRIBE, SHM_PUBLISH, SHM_SERVE}) {
                int before = open_descriptors();
                struct rlimit limit = {(rlim_t)lowest + more, 1024};
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
                Ring ring(bus_fd_, "ring", access, true);
                limit.rlim_cur = 1024;
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
                CHILD_CHECK(ring.error == (more < 6 ? -EMFILE : 0));
                CHILD_CHECK(ring.error == 0 || open_descriptors() == before);
                successes += ring.error == 0;
            }
        }
        CHILD_CHECK(successes == 8);
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

} // namespace
