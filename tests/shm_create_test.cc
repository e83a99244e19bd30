/* SPDX-License-Identifier: Apache-2.0 */
/* Making rings and taking them away: whole or not at all, whoever dies, and with the rights that were asked for. */
// test: LINKS weir_shm

#include "tests/shm_support.hh"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

/*
 * In front of libc's. A signal may end it with EINTR, and then all that the call has allocated is given back. Not every
 * kernel does that, so here each second call is interrupted, and each that takes longer than a fast timer's period.
 */
static bool interrupt_fallocate;
static int interrupted_calls;
extern "C" int fallocate(int fd, int mode, off_t offset, off_t length)
{
    static bool second;
    second = !second;
    if (interrupt_fallocate && (second || length > (2 << 20))) {
        errno = EINTR;
        interrupted_calls++;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

namespace
{

const Names all_files = {"control", "data", "locks", "locks.readers", "readers"};

class ShmCreate : public ShmTest
{
protected:
    Names files_of(const char *ring)
    {
        int fd = openat(bus_fd_, ring, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        Names names = names_in(fd);
        close(fd);
        return names;
    }
};

TEST_F(ShmCreate, GivesARingThatCanBeOpenedWithItsContent)
{
    int before = open_descriptors();
    ASSERT_EQ(create("ring", 0600, 42), 0) << why_.text;
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(names_in(bus_fd_), Names{"ring"});
    EXPECT_EQ(files_of("ring"), all_files);

    Ring ring(bus_fd_, "ring", SHM_PUBLISH);
    ASSERT_EQ(ring.error, 0) << ring.why.text;
    Request request;
    EXPECT_EQ(ring.sizes.control_bytes, request.sizes.control_bytes);
    EXPECT_EQ(ring.sizes.readers_bytes, request.sizes.readers_bytes);
    EXPECT_EQ(ring.sizes.data_bytes, request.sizes.data_bytes);
    EXPECT_TRUE(ring.whole(42));
}

TEST_F(ShmCreate, HandsZeroedMemoryToFormatWithAllItsPagesThere)
{
    struct Seen {
        const struct shm_sizes *sizes;
        bool zeroed;
        long faults;
    };
    Request request;
    request.sizes.data_bytes = 4 << 20;
    Seen seen = {&request.sizes, false, -1};
    request.ctx = &seen;
    request.format = [](void *ctx, void *control, void *readers, void *data) {
        auto *seen_here = static_cast<Seen *>(ctx);
        struct rusage before, after;
        getrusage(RUSAGE_THREAD, &before);
        seen_here->zeroed = all_bytes_are(control, seen_here->sizes->control_bytes, 0) &&
                            all_bytes_are(readers, seen_here->sizes->readers_bytes, 0) &&
                            all_bytes_are(data, seen_here->sizes->data_bytes, 0);
        getrusage(RUSAGE_THREAD, &after);
        seen_here->faults = after.ru_minflt - before.ru_minflt;
    };
    ASSERT_EQ(create(request), 0) << why_.text;
    EXPECT_TRUE(seen.zeroed);
    EXPECT_TRUE(sanitized || seen.faults < 16) << seen.faults << " of 1029 pages";
}

TEST_F(ShmCreate, KeepsSizesThatAreNoWholePages)
{
    Request request;
    request.sizes = {5000, 1, 4097};
    ASSERT_EQ(create(request), 0) << why_.text;
    Ring ring(bus_fd_, "ring", SHM_LOOK);
    ASSERT_EQ(ring.error, 0) << ring.why.text;
    EXPECT_EQ(ring.sizes.control_bytes, 5000u);
    EXPECT_EQ(ring.sizes.readers_bytes, 1u);
    EXPECT_EQ(ring.sizes.data_bytes, 4097u);
}

TEST_F(ShmCreate, AllocatesEveryPage)
{
    Request request;
    request.format = nullptr;
    request.sizes.data_bytes = (5 << 20) + 4096;
    ASSERT_EQ(create(request), 0) << why_.text;
    for (const char *file : {"ring/control", "ring/readers", "ring/data"}) {
        struct stat status = stat_of(file);
        EXPECT_GE(status.st_blocks * 512, status.st_size) << file;
    }
}

TEST_F(ShmCreate, RefusesRequestsThatMakeNoSense)
{
    EXPECT_EQ(create("../ring"), -EILSEQ);
    EXPECT_EQ(create(std::string(65, 'x').c_str()), -ENAMETOOLONG);
    EXPECT_TRUE(says("too long")) << why_.text;
    for (mode_t mode : {0700, 01600, 0400, 0200, 0060, 0620, 0602, 0000})
        EXPECT_EQ(create("ring", mode), -EINVAL) << std::oct << mode;
    for (uint64_t bytes : {UINT64_C(0), UINT64_MAX, UINT64_C(1) << 63, (UINT64_C(1) << 46) + 1}) {
        Request request;
        request.sizes.readers_bytes = bytes;
        EXPECT_EQ(create(request), -EINVAL) << bytes;
    }
    EXPECT_EQ(names_in(bus_fd_), Names{});
}

TEST_F(ShmCreate, RefusesABusThatIsNotOnTmpfs)
{
    int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Request request;
    EXPECT_EQ(shm_create(fd, &request, &why_), -EINVAL);
    EXPECT_TRUE(says("not on tmpfs")) << why_.text;
    close(fd);
}

TEST_F(ShmCreate, WithoutTheRightToWriteTheBusSaysWhose)
{
    if (!is_root())
        GTEST_SKIP() << "takes root, to be somebody else as well";
    Child child([&](const Line &) {
        CHILD_CHECK(become(nobody, nobody));
        CHILD_CHECK(create() == -EACCES);
        CHILD_CHECK(says("uid 65534 may not create rings on"));
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

/* -- The name is given once --------------------------------------------------------------------------------------- */

TEST_F(ShmCreate, OfANameThatIsTakenChangesNothing)
{
    ASSERT_EQ(create("ring", 0600, 1), 0);
    EXPECT_EQ(create("ring", 0666, 2), -EEXIST);
    EXPECT_TRUE(says("'ring'") && says("already")) << why_.text;
    Ring ring(bus_fd_, "ring", SHM_LOOK);
    EXPECT_TRUE(ring.whole(1));
    EXPECT_EQ(mode_of("ring/control"), 0600u);
    EXPECT_EQ(names_in(bus_fd_), Names{"ring"});
}

TEST_F(ShmCreate, OfANameThatAnythingHasIsRefused)
{
    ASSERT_EQ(symlinkat("nowhere", bus_fd_, "link"), 0);
    ASSERT_EQ(mkdirat(bus_fd_, "directory", 0755), 0);
    EXPECT_EQ(create("link"), -EEXIST);
    EXPECT_EQ(create("directory"), -EEXIST);
    EXPECT_EQ(names_in(bus_fd_), (Names{"directory", "link"}));
}

TEST_F(ShmCreate, ByManyAtOnceIsDoneByOneOfThem)
{
    for (int round = 0; round < 20; round++) {
        std::vector<std::unique_ptr<Child>> creators;
        for (unsigned char value = 1; value <= 4; value++) {
            creators.push_back(std::make_unique<Child>([&, value](const Line &line) {
                static const Line *parent;
                parent = &line;
                /* All have looked and found the name free before one takes it. */
                shm_point_hook = [](const char *step) {
                    if (strcmp(step, "create: rights given") == 0) {
                        parent->say('r');
                        parent->hear();
                    }
                };
                int error = create("ring", 0600, value);
                CHILD_CHECK(error == 0 || (error == -EEXIST && says("already")));
                return error == 0 ? value : 100;
            }));
        }
        for (auto &creator : creators)
            ASSERT_EQ(creator->line().hear(), 'r');
        for (auto &creator : creators)
            creator->line().say('g');
        int winner = 0, losers = 0;
        for (auto &creator : creators) {
            int result = creator->result();
            if (result == 100)
                losers++;
            else
                winner = result;
        }
        ASSERT_EQ(losers, 3);
        ASSERT_EQ(names_in(bus_fd_), Names{"ring"});
        Ring ring(bus_fd_, "ring", SHM_LOOK);
        ASSERT_EQ(ring.error, 0) << ring.why.text;
        ASSERT_TRUE(ring.whole((unsigned char)winner));
        ASSERT_EQ(shm_remove(bus_fd_, "ring", &why_), 0) << why_.text;
    }
}

/* -- Death at any step -------------------------------------------------------------------------------------------- */

/* Steps of a creation in the order they come; the hook records or, at the one that is asked for, kills. */
std::vector<std::string> steps;
size_t fatal_step;

TEST_F(ShmCreate, KilledAtAnyStepLeavesNothingOrAWholeRing)
{
    shm_point_hook = [](const char *step) { steps.emplace_back(step); };
    steps.clear();
    ASSERT_EQ(create("recorded"), 0);
    ASSERT_EQ(shm_remove(bus_fd_, "recorded", nullptr), 0);
    shm_point_hook = nullptr;
    const std::vector<std::string> all = steps;
    ASSERT_GE(all.size(), 8u);

    for (size_t fatal = 0; fatal < all.size() && all[fatal] != "remove: name gone"; fatal++) {
        SCOPED_TRACE("killed at step " + std::to_string(fatal) + ", " + all[fatal]);
        Child creator([&](const Line &) {
            steps.clear();
            fatal_step = fatal;
            shm_point_hook = [](const char *step) {
                steps.emplace_back(step);
                if (steps.size() == fatal_step + 1)
                    raise(SIGKILL);
            };
            (void)create("ring", 0644, 9);
            return 0;
        });
        ASSERT_EQ(creator.result(), -SIGKILL);

        Ring ring(bus_fd_, "ring", SHM_PUBLISH);
        if (all[fatal] == "create: named") {
            ASSERT_EQ(ring.error, 0) << ring.why.text;
            ASSERT_TRUE(ring.whole(9));
            ASSERT_EQ(shm_lock(ring.lock_fd, 0), 0) << "the builder's lock went with it";
            ASSERT_EQ(shm_remove(bus_fd_, "ring", &why_), 0) << why_.text;
        } else {
            ASSERT_EQ(ring.error, -ENOENT) << ring.why.text;
        }
        ASSERT_EQ(create("next"), 0) << why_.text;
        ASSERT_EQ(names_in(bus_fd_), Names{"next"}) << "the next creation sweeps up";
        ASSERT_EQ(shm_remove(bus_fd_, "next", &why_), 0) << why_.text;
    }
}

TEST_F(ShmCreate, KilledWhileItFormatsLeavesNothingToAttachTo)
{
    Child creator([&](const Line &line) {
        Request request;
        request.stamp.during = [&line] {
            line.say('f');
            line.hear();
        };
        return create(request);
    });
    ASSERT_EQ(creator.line().hear(), 'f');

    Names half = names_in(bus_fd_);
    ASSERT_EQ(half.size(), 1u);
    EXPECT_EQ(half[0].rfind(".new-", 0), 0u) << half[0];
    Ring early(bus_fd_, "ring", SHM_LOOK);
    EXPECT_EQ(early.error, -ENOENT);
    Ring by_its_true_name(bus_fd_, half[0].c_str(), SHM_LOOK);
    EXPECT_EQ(by_its_true_name.error, -EILSEQ);

    ASSERT_EQ(create("other"), 0) << why_.text;
    EXPECT_EQ(names_in(bus_fd_), (Names{half[0], "other"})) << "the living builder keeps what it has";

    creator.kill(SIGKILL);
    EXPECT_EQ(creator.result(), -SIGKILL);
    Ring late(bus_fd_, "ring", SHM_LOOK);
    EXPECT_EQ(late.error, -ENOENT);
    ASSERT_EQ(create("ring"), 0) << why_.text;
    EXPECT_EQ(names_in(bus_fd_), (Names{"other", "ring"}));
}

TEST_F(ShmCreate, ForkedChildOfABuilderDoesNotKeepItsLeftOversAlive)
{
    int survivor[2];
    ASSERT_EQ(pipe2(survivor, O_CLOEXEC), 0);
    Child creator([&](const Line &line) {
        Request request;
        request.stamp.during = [&] {
            if (fork() == 0) {
                alarm(deadline_s);
                int locks = open_descriptors("/locks") + open_descriptors("/locks.readers");
                pid_t pid = getpid();
                (void)!write(survivor[1], &locks, sizeof(locks));
                (void)!write(survivor[1], &pid, sizeof(pid));
                for (;;)
                    pause();
            }
            line.hear();
        };
        return create(request);
    });
    int locks = -1;
    pid_t pid = -1;
    ASSERT_EQ(read(survivor[0], &locks, sizeof(locks)), (ssize_t)sizeof(locks));
    ASSERT_EQ(read(survivor[0], &pid, sizeof(pid)), (ssize_t)sizeof(pid));
    EXPECT_EQ(locks, 0);
    creator.kill(SIGKILL);
    EXPECT_EQ(creator.result(), -SIGKILL);

    EXPECT_EQ(create("next"), 0) << why_.text;
    EXPECT_EQ(names_in(bus_fd_), Names{"next"});
    EXPECT_EQ(kill(pid, SIGKILL), 0) << "it lived all the while";
    waitpid(pid, nullptr, 0);
    close(survivor[0]);
    close(survivor[1]);
}

/* A process that runs into a step, says so, and goes on when told to. */
void pause_at(const Line &line, const char *step)
{
    static const Line *parent;
    static const char *where;
    parent = &line;
    where = step;
    shm_point_hook = [](const char *now) {
        if (where && strcmp(now, where) == 0) {
            where = nullptr; /* once */
            parent->say('p');
            parent->hear();
        }
    };
}

TEST_F(ShmCreate, StartsAgainWhenItsDirectoryIsSweptBeforeItIsLocked)
{
    for (const char *step : {"create: directory made", "create: directory open", "create: lock file made"}) {
        SCOPED_TRACE(step);
        Child creator([&](const Line &line) {
            pause_at(line, step);
            return create("slow", 0600, 5) == 0 ? 0 : 1;
        });
        ASSERT_EQ(creator.line().hear(), 'p');
        ASSERT_EQ(create("fast"), 0) << why_.text;
        ASSERT_EQ(names_in(bus_fd_), Names{"fast"}) << "swept: nobody can tell it from a dead one's";
        creator.line().say('g');
        ASSERT_EQ(creator.result(), 0);
        ASSERT_EQ(names_in(bus_fd_), (Names{"fast", "slow"}));
        Ring ring(bus_fd_, "slow", SHM_LOOK);
        ASSERT_TRUE(ring.whole(5));
        ASSERT_EQ(shm_remove(bus_fd_, "fast", nullptr), 0);
        ASSERT_EQ(shm_remove(bus_fd_, "slow", nullptr), 0);
    }
}

TEST_F(ShmCreate, StartsAgainWhenASweeperHasTheLock)
{
    Child creator([&](const Line &line) {
        pause_at(line, "create: lock file made");
        return create("slow", 0600, 5) == 0 ? 0 : 1;
    });
    ASSERT_EQ(creator.line().hear(), 'p');
    Child sweeper([&](const Line &line) {
        pause_at(line, "sweep: locked");
        return create("fast") == 0 ? 0 : 1;
    });
    ASSERT_EQ(sweeper.line().hear(), 'p');
    creator.line().say('g');
    ASSERT_EQ(creator.result(), 0);
    sweeper.line().say('g');
    ASSERT_EQ(sweeper.result(), 0);
    EXPECT_EQ(names_in(bus_fd_), (Names{"fast", "slow"}));
}

TEST_F(ShmCreate, FinishedUnderASweepersHandIsNotSweptAway)
{
    Child creator([&](const Line &line) {
        pause_at(line, "create: formatted");
        return create("slow", 0600, 5) == 0 ? 0 : 1;
    });
    ASSERT_EQ(creator.line().hear(), 'p');
    Child sweeper([&](const Line &line) {
        pause_at(line, "sweep: lock file open");
        return create("fast") == 0 ? 0 : 1;
    });
    ASSERT_EQ(sweeper.line().hear(), 'p'); /* it holds the lock file of what is about to become a ring */
    creator.line().say('g');
    ASSERT_EQ(creator.result(), 0);
    sweeper.line().say('g');
    ASSERT_EQ(sweeper.result(), 0);

    EXPECT_EQ(files_of("slow"), all_files);
    Ring ring(bus_fd_, "slow", SHM_PUBLISH);
    ASSERT_EQ(ring.error, 0) << ring.why.text;
    EXPECT_TRUE(ring.whole(5));
}

TEST_F(ShmCreate, SweepsNothingThatIsNotALeftOver)
{
    ASSERT_EQ(mkdirat(bus_fd_, "precious", 0755), 0);
    close(openat(bus_fd_, "precious/locks", O_CREAT | O_WRONLY, 0600));
    ASSERT_EQ(symlinkat("precious", bus_fd_, ".new-0000000000000001"), 0);
    ASSERT_EQ(symlinkat("precious", bus_fd_, ".old-0000000000000001"), 0);
    close(openat(bus_fd_, ".new-file", O_CREAT | O_WRONLY, 0600));
    ASSERT_EQ(mkfifoat(bus_fd_, ".old-fifo", 0600), 0);
    ASSERT_EQ(mkdirat(bus_fd_, ".new-kept", 0755), 0);
    ASSERT_EQ(mkfifoat(bus_fd_, ".new-kept/locks", 0600), 0);
    ASSERT_EQ(mkdirat(bus_fd_, ".old-kept", 0755), 0);
    close(openat(bus_fd_, ".old-kept/mine", O_CREAT | O_WRONLY, 0600));
    Names before = names_in(bus_fd_);
    ASSERT_EQ(create("ring"), 0) << why_.text;
    before.push_back("ring");
    EXPECT_EQ(names_in(bus_fd_), before);
    EXPECT_EQ(files_of("precious"), Names{"locks"});
    EXPECT_EQ(files_of(".old-kept"), Names{"mine"});
}

/* -- Memory ------------------------------------------------------------------------------------------------------- */

TEST_F(ShmCreate, OfMoreThanThereIsNamesBothSizesAndLeavesNothing)
{
    struct statvfs status;
    ASSERT_EQ(fstatvfs(bus_fd_, &status), 0);
    if (status.f_blocks == 0)
        GTEST_SKIP() << "/dev/shm has no limit here";
    Request request;
    request.sizes.data_bytes = (uint64_t)status.f_bavail * status.f_frsize + (64 << 20);
    uint64_t needed = request.sizes.control_bytes + request.sizes.readers_bytes + request.sizes.data_bytes;
    EXPECT_EQ(create(request), -ENOMEM);
    EXPECT_TRUE(says("(" + std::to_string(needed) + " bytes)")) << why_.text;
    const char *has = strstr(why_.text, " has ");
    ASSERT_NE(has, nullptr) << why_.text;
    const char *bracket = strchr(has, '(');
    ASSERT_NE(bracket, nullptr) << why_.text;
    uint64_t there = strtoull(bracket + 1, nullptr, 10);
    EXPECT_GT(there, 0u) << why_.text;
    EXPECT_LT(there, needed) << why_.text;
    EXPECT_TRUE(says("smaller memory limit")) << why_.text;
    EXPECT_EQ(names_in(bus_fd_), Names{});
}

/* Runs in a child with a tmpfs of 4 MiB of its own as the bus. */
#define ON_A_SMALL_TMPFS(options)                                                                                      \
    CHILD_CHECK(unshare(CLONE_NEWNS) == 0);                                                                            \
    CHILD_CHECK(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);                                      \
    CHILD_CHECK(mount("small", path("bus").c_str(), "tmpfs", 0, options) == 0);                                        \
    bus_fd_ = open(path("bus").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);                                           \
    CHILD_CHECK(bus_fd_ >= 0)

TEST_F(ShmCreate, OnASmallTmpfsTakesWhatFitsAndNotAPageMore)
{
    if (!is_root())
        GTEST_SKIP() << "takes root, to mount a tmpfs";
    Child child([&](const Line &) {
        ON_A_SMALL_TMPFS("size=4m");
        Request request;
        uint64_t page = Request::page;
        request.sizes = {page, page, (4 << 20) - page};
        CHILD_CHECK(create(request) == -ENOMEM);
        CHILD_CHECK(says("it needs 4.0 MiB (4198400 bytes), and " + path("bus") + " has 4.0 MiB (4194304 bytes) free"));
        CHILD_CHECK(names_in(bus_fd_).empty());
        request.sizes.data_bytes -= page;
        CHILD_CHECK(create(request) == 0);
        CHILD_CHECK(shm_remove(bus_fd_, "ring", &why_) == 0);
        CHILD_CHECK(create(request) == 0); /* removal gave all of it back */
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

TEST_F(ShmCreate, ThatLosesTheRoomToOthersWhileItBuildsLeavesNothing)
{
    if (!is_root())
        GTEST_SKIP() << "takes root, to mount a tmpfs";
    Child child([&](const Line &) {
        ON_A_SMALL_TMPFS("size=4m");
        static int bus;
        bus = bus_fd_;
        shm_point_hook = [](const char *step) {
            if (strcmp(step, "create: room checked") == 0) {
                int fd = openat(bus, "hog", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
                (void)!fallocate(fd, 0, 0, 3 << 20);
                close(fd);
            }
        };
        Request request;
        request.sizes.data_bytes = 2 << 20;
        CHILD_CHECK(create(request) == -ENOMEM);
        CHILD_CHECK(says("has 1.0 MiB (") && says("(2117632 bytes)"));
        CHILD_CHECK(names_in(bus_fd_) == Names{"hog"});
        struct statvfs status;
        CHILD_CHECK(fstatvfs(bus_fd_, &status) == 0);
        CHILD_CHECK(status.f_bavail * status.f_frsize == 1 << 20);
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

TEST_F(ShmCreate, OnATmpfsWithoutMoreInodesSaysSo)
{
    if (!is_root())
        GTEST_SKIP() << "takes root, to mount a tmpfs";
    Child child([&](const Line &) {
        ON_A_SMALL_TMPFS("size=4m,nr_inodes=1");
        /* One more each time: another file is the one that fails. The directory of the bus is the first. */
        for (int count = 1; count < 8; count++) {
            std::string inodes = "nr_inodes=" + std::to_string(count);
            CHILD_CHECK(mount("small", path("bus").c_str(), "tmpfs", MS_REMOUNT, inodes.c_str()) == 0);
            CHILD_CHECK(create() == (count < 7 ? -ENOMEM : 0));
            CHILD_CHECK(count == 7 || says("nr_inodes"));
            CHILD_CHECK(names_in(bus_fd_) == (count < 7 ? Names{} : Names{"ring"}));
        }
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

TEST_F(ShmCreate, AsksTheMachineWhereTheTmpfsPromisesMoreThanThereIs)
{
    if (!is_root())
        GTEST_SKIP() << "takes root, to mount a tmpfs";
    Child child([&](const Line &) {
        for (const char *size : {"size=100t", "size=0"}) {
            ON_A_SMALL_TMPFS(size);
            Request request;
            request.sizes.data_bytes = UINT64_C(1) << 44;
            shm_point_hook = [](const char *step) {
                if (strcmp(step, "create: room checked") == 0)
                    _exit(2); /* before it takes all the memory there is */
            };
            CHILD_CHECK(create(request) == -ENOMEM);
            shm_point_hook = nullptr;
            CHILD_CHECK(says("memory has") || says("(container) has"));
            CHILD_CHECK(create() == 0);
        }
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

class ShmRoom : public ShmTest
{
protected:
    void put(const char *name, const char *text)
    {
        int fd = openat(bus_fd_, name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
        ASSERT_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        close(fd);
    }
    uint64_t room()
    {
        return shm_room_of_group(path("bus").c_str());
    }
};

TEST_F(ShmRoom, OfAContainerIsItsLimitLessWhatCannotBeGivenUp)
{
    EXPECT_EQ(room(), UINT64_MAX) << "no such group";
    put("memory.current", "600\n");
    put("memory.max", "max\n");
    EXPECT_EQ(room(), UINT64_MAX) << "no limit";
    put("memory.max", "1000\n");
    EXPECT_EQ(room(), 400u);
    put("memory.stat", "anon 100\nfile 450\nkernel 7\nfile_mapped 9\nshmem 150\nslab_reclaimable 20\n");
    EXPECT_EQ(room(), 1000u - (600u - 300u - 20u));
    put("memory.current", "100\n");
    EXPECT_EQ(room(), 1000u) << "counts that were read at different times";
    put("memory.current", "5000\n");
    EXPECT_EQ(room(), 0u);
}

TEST_F(ShmCreate, BeyondTheFileSizeLimitIsAnErrorAndNoSignal)
{
    Child child([&](const Line &) {
        struct rlimit limit = {1 << 20, 1 << 20};
        CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        Request request;
        request.sizes.data_bytes = (1 << 20) + 1;
        CHILD_CHECK(create(request) == -EFBIG);
        CHILD_CHECK(says("ulimit -f"));
        request.sizes.data_bytes = 1 << 20;
        CHILD_CHECK(create(request) == 0);
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

TEST_F(ShmCreate, BeyondTheAddressSpaceLimitLeavesNothing)
{
    if (sanitized)
        GTEST_SKIP() << "sanitizers take all the address space";
    Child child([&](const Line &) {
        struct rlimit limit = {256 << 20, 256 << 20};
        CHILD_CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
        Request request;
        request.format = nullptr;
        request.sizes.data_bytes = 300 << 20;
        int before = open_descriptors();
        CHILD_CHECK(create(request) == -ENOMEM);
        CHILD_CHECK(says("cannot map 300.0 MiB"));
        CHILD_CHECK(names_in(bus_fd_).empty());
        CHILD_CHECK(open_descriptors() == before);
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

TEST_F(ShmCreate, UnderAFastTimerStillEnds)
{
    interrupted_calls = 0;
    interrupt_fallocate = true;
    Request request;
    request.format = nullptr;
    request.sizes.data_bytes = 8 << 20;
    int error = create(request);
    interrupt_fallocate = false;
    EXPECT_EQ(error, 0) << why_.text;
    EXPECT_GT(interrupted_calls, 8);
}

TEST_F(ShmCreate, WithoutDescriptorsLeavesNothing)
{
    Child child([&](const Line &) {
        CHILD_CHECK(create("warm") == 0);
        CHILD_CHECK(shm_remove(bus_fd_, "warm", nullptr) == 0);
        int lowest = first_descriptor_of_all_free();
        int successes = 0;
        /* From none to enough: each step of the creation is the one that fails once. */
        for (rlim_t more = 0; more < 12; more++) {
            struct rlimit limit = {(rlim_t)lowest + more, 1024};
            CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
            int error = create("ring");
            limit.rlim_cur = 1024;
            CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
            CHILD_CHECK(error == 0 || (error == -EMFILE && why_.text[0]));
            CHILD_CHECK(names_in(bus_fd_) == (error ? Names{} : Names{"ring"}));
            if (!error) {
                successes++;
                CHILD_CHECK(shm_remove(bus_fd_, "ring", nullptr) == 0);
            }
        }
        CHILD_CHECK(successes > 0 && successes < 12);
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

/* -- Rights ------------------------------------------------------------------------------------------------------- */

struct Rights {
    mode_t mode, directory, ring, readers, locks;
};

TEST_F(ShmCreate, GivesEachFileItsRightsWhateverTheUmask)
{
    const Rights all[] = {
        {0600, 0700, 0600, 0600, 0600}, {0640, 0750, 0640, 0660, 0600}, {0660, 0750, 0660, 0660, 0660},
        {0644, 0755, 0644, 0666, 0600}, {0664, 0755, 0664, 0666, 0660}, {0666, 0755, 0666, 0666, 0666},
        {0604, 0705, 0604, 0606, 0600},
    };
    for (mode_t mask : {0000, 0022, 0077}) {
        for (const Rights &rights : all) {
            SCOPED_TRACE(testing::Message() << std::oct << rights.mode << " with umask " << mask);
            umask(mask);
            ASSERT_EQ(create("ring", rights.mode), 0) << why_.text;
            EXPECT_EQ(mode_of("ring"), rights.directory);
            EXPECT_EQ(mode_of("ring/control"), rights.ring);
            EXPECT_EQ(mode_of("ring/data"), rights.ring);
            EXPECT_EQ(mode_of("ring/readers"), rights.readers);
            EXPECT_EQ(mode_of("ring/locks.readers"), rights.readers);
            EXPECT_EQ(mode_of("ring/locks"), rights.locks);
            ASSERT_EQ(shm_remove(bus_fd_, "ring", &why_), 0) << why_.text;
        }
    }
}

TEST_F(ShmCreate, LetsNobodyInBeforeItIsWhole)
{
    Request request("ring", 0666);
    std::vector<mode_t> modes;
    request.stamp.during = [&] {
        std::string half = names_in(bus_fd_).at(0);
        modes.push_back(mode_of(half));
        for (const std::string &file : all_files)
            modes.push_back(mode_of(half + "/" + file));
    };
    ASSERT_EQ(create(request), 0) << why_.text;
    EXPECT_EQ(modes, (std::vector<mode_t>{0700, 0600, 0600, 0600, 0600, 0600}));
}

TEST_F(ShmCreate, GivesTheFilesToTheGroupAndOwnerAskedFor)
{
    if (!is_root())
        GTEST_SKIP() << "takes root, to give files away";
    Request request("ring", 0640);
    request.set_gid = true;
    request.gid = 12345;
    ASSERT_EQ(create(request), 0) << why_.text;
    request.name = "given";
    request.set_uid = true;
    request.uid = nobody;
    ASSERT_EQ(create(request), 0) << why_.text;
    for (const char *file : {"", "/control", "/readers", "/data", "/locks", "/locks.readers"}) {
        EXPECT_EQ(stat_of(std::string("ring") + file).st_gid, 12345u) << file;
        EXPECT_EQ(stat_of(std::string("ring") + file).st_uid, 0u) << file;
        EXPECT_EQ(stat_of(std::string("given") + file).st_gid, 12345u) << file;
        EXPECT_EQ(stat_of(std::string("given") + file).st_uid, nobody) << file;
    }
    EXPECT_EQ(mode_of("given/control"), 0640u);
}

TEST_F(ShmCreate, ForAGroupThatIsNotMineSaysSoAndLeavesNothing)
{
    if (!is_root())
        GTEST_SKIP() << "takes root, to be somebody else as well";
    ASSERT_EQ(fchown(bus_fd_, nobody, nobody), 0);
    Child child([&](const Line &) {
        CHILD_CHECK(become(nobody, nobody));
        Request request;
        request.set_gid = true;
        request.gid = 12345;
        CHILD_CHECK(create(request) == -EPERM);
        CHILD_CHECK(says("not in the group 12345"));
        CHILD_CHECK(names_in(bus_fd_).empty());
        request.gid = nobody;
        CHILD_CHECK(create(request) == 0);
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

/* -- Removal ------------------------------------------------------------------------------------------------------ */

class ShmRemove : public ShmCreate
{
protected:
    int remove(const char *name)
    {
        why_ = {};
        return shm_remove(bus_fd_, name, &why_);
    }
};

TEST_F(ShmRemove, TakesTheNameAndLeavesTheMemoryToWhoHasIt)
{
    ASSERT_EQ(create("ring", 0600, 3), 0);
    Ring ring(bus_fd_, "ring", SHM_PUBLISH);
    ASSERT_EQ(ring.error, 0) << ring.why.text;
    ASSERT_EQ(symlinkat("/nowhere", ring.dir_fd, "journal"), 0);
    EXPECT_EQ(remove("ring"), 0) << why_.text;
    EXPECT_EQ(names_in(bus_fd_), Names{});
    EXPECT_TRUE(ring.whole(3));
    memset(ring.data, 4, ring.sizes.data_bytes);
    EXPECT_EQ(remove("ring"), -ENOENT);
    EXPECT_TRUE(says("no ring")) << why_.text;
    ASSERT_EQ(create("ring", 0600, 5), 0) << why_.text;
    EXPECT_TRUE(all_bytes_are(ring.data, ring.sizes.data_bytes, 4)) << "the new ring is another one";
}

TEST_F(ShmRemove, KilledAtAnyStepIsFinishedByTheNextCreation)
{
    ASSERT_EQ(create("ring"), 0);
    steps.clear();
    shm_point_hook = [](const char *step) { steps.emplace_back(step); };
    ASSERT_EQ(remove("ring"), 0);
    shm_point_hook = nullptr;
    size_t count = steps.size();
    ASSERT_GE(count, 6u);
    for (size_t fatal = 0; fatal < count; fatal++) {
        SCOPED_TRACE("killed at step " + std::to_string(fatal) + ", " + steps[fatal]);
        ASSERT_EQ(create("ring"), 0) << why_.text;
        Child remover([&](const Line &) {
            steps.clear();
            fatal_step = fatal;
            shm_point_hook = [](const char *step) {
                steps.emplace_back(step);
                if (steps.size() == fatal_step + 1)
                    raise(SIGKILL);
            };
            return remove("ring");
        });
        ASSERT_EQ(remover.result(), -SIGKILL);
        Ring ring(bus_fd_, "ring", SHM_LOOK);
        ASSERT_EQ(ring.error, -ENOENT) << ring.why.text;
        ASSERT_EQ(create("ring"), 0) << why_.text;
        ASSERT_EQ(names_in(bus_fd_), Names{"ring"});
        ASSERT_EQ(remove("ring"), 0) << why_.text;
    }
}

TEST_F(ShmRemove, TakesADamagedRingToo)
{
    for (const char *file : {"control", "readers", "data", "locks", "locks.readers"}) {
        SCOPED_TRACE(file);
        ASSERT_EQ(create("ring"), 0) << why_.text;
        int fd = openat(bus_fd_, "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_EQ(unlinkat(fd, file, 0), 0);
        ASSERT_EQ(mkfifoat(fd, file, 0600), 0);
        close(fd);
        ASSERT_EQ(remove("ring"), 0) << why_.text;
        ASSERT_EQ(names_in(bus_fd_), Names{});
    }
}

TEST_F(ShmRemove, TouchesNothingThatIsNotARing)
{
    ASSERT_EQ(create("ring"), 0);
    close(openat(bus_fd_, "ring/notes\n", O_CREAT | O_WRONLY, 0600));
    EXPECT_EQ(remove("ring"), -EMEDIUMTYPE);
    EXPECT_TRUE(says("'notes?'")) << why_.text;
    EXPECT_EQ(files_of("ring").size(), 6u);

    ASSERT_EQ(symlinkat("ring", bus_fd_, "link"), 0);
    EXPECT_EQ(remove("link"), -EMEDIUMTYPE);
    close(openat(bus_fd_, "file", O_CREAT | O_WRONLY, 0600));
    EXPECT_EQ(remove("file"), -EMEDIUMTYPE);
    ASSERT_EQ(mkdirat(bus_fd_, "directory", 0755), 0);
    ASSERT_EQ(mkdirat(bus_fd_, "directory/data", 0755), 0);
    EXPECT_EQ(remove("directory"), -EMEDIUMTYPE);
    EXPECT_EQ(remove("../bus"), -EILSEQ);
    EXPECT_EQ(names_in(bus_fd_), (Names{"directory", "file", "link", "ring"}));
}

TEST_F(ShmRemove, BySomebodyElseIsRefusedAndChangesNothing)
{
    if (!is_root())
        GTEST_SKIP() << "takes root, to be somebody else as well";
    ASSERT_EQ(create("private", 0600), 0);
    ASSERT_EQ(create("public", 0666), 0);
    ASSERT_EQ(fchmod(bus_fd_, 0777), 0); /* so it is the ring's rights that are asked, not the bus's */
    Child child([&](const Line &) {
        CHILD_CHECK(become(nobody, nobody));
        CHILD_CHECK(remove("private") == -EACCES);
        CHILD_CHECK(says("uid 65534 may not remove"));
        CHILD_CHECK(remove("public") == -EACCES);
        CHILD_CHECK(says("uid 65534 may not remove"));
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
    EXPECT_EQ(names_in(bus_fd_), (Names{"private", "public"}));
    EXPECT_EQ(files_of("public"), all_files);
}

} // namespace
