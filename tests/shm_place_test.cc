/* SPDX-License-Identifier: Apache-2.0 */
/* Where memory lies: huge pages on hugetlbfs, transparent ones, NUMA nodes; what each death leaves; links that lie. */
// test: LINKS weir_shm TIMEOUT 120

#include "tests/shm_support.hh"

#include <fstream>

#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

namespace
{

constexpr uint64_t huge_page = UINT64_C(2) << 20;

long number_in(const std::string &file)
{
    long number = -1;
    std::ifstream(file) >> number;
    return number;
}

/* What a mount may be made in: a namespace that dies with this program. */
bool mounts_of_our_own()
{
    static const bool own = unshare(CLONE_NEWNS) == 0 && mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    return own;
}

/* Two pages of slots. */
struct HugeRequest : Request {
    explicit HugeRequest(const char *ring_name = "ring", mode_t ring_mode = 0600, unsigned char value = 1)
        : Request(ring_name, ring_mode, value)
    {
        huge = SHM_HUGE_PAGES;
        sizes.data_bytes = 2 * huge_page;
    }
};

/* A hugetlbfs of its own, with a few pages in the machine's pool; they are given back. */
class ShmHuge : public ShmTest
{
protected:
    static constexpr long pages = 8;
    static constexpr const char *pool = "/sys/kernel/mm/hugepages/hugepages-2048kB/";

    void SetUp() override
    {
        ShmTest::SetUp();
        if (!is_root() || !mounts_of_our_own())
            GTEST_SKIP() << "needs the right to mount a hugetlbfs";
        before_ = number_in(std::string(pool) + "nr_hugepages");
        if (before_ < 0)
            GTEST_SKIP() << "this kernel has no huge pages of 2 MiB";
        long missing = pages - number_in(std::string(pool) + "free_hugepages");
        if (missing > 0)
            std::ofstream(std::string(pool) + "nr_hugepages") << before_ + missing;
        if (number_in(std::string(pool) + "free_hugepages") < pages)
            GTEST_SKIP() << "the machine has no " << pages << " huge pages to spare";
        /* The only one in sight, for all that other mounts have. */
        std::ifstream mounts("/proc/self/mounts");
        for (std::string what, where, kind, rest; mounts >> what >> where >> kind && std::getline(mounts, rest);)
            if (kind == "hugetlbfs")
                (void)umount2(where.c_str(), MNT_DETACH);
        ASSERT_EQ(mkdirat(scratch_fd_, "huge", 0755), 0);
        if (mount("none", path("huge").c_str(), "hugetlbfs", 0, "pagesize=2M,mode=1777") != 0)
            GTEST_SKIP() << "no hugetlbfs can be mounted: " << strerror(errno);
        mounted_ = true;
    }
    void TearDown() override
    {
        if (mounted_)
            (void)umount2(path("huge").c_str(), MNT_DETACH);
        if (before_ >= 0)
            std::ofstream(std::string(pool) + "nr_hugepages") << before_;
        ShmTest::TearDown();
    }
    Names huge_files() const
    {
        int fd = open(path("huge").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        Names names = names_in(fd);
        close(fd);
        return names;
    }
    std::string link_of(const char *ring) const
    {
        char target[512] = "";
        EXPECT_GT(readlinkat(bus_fd_, (std::string(ring) + "/data").c_str(), target, sizeof(target) - 1), 0);
        return target;
    }
    shm_placement placement() const
    {
        Ring ring(bus_fd_, "ring", SHM_LOOK);
        EXPECT_EQ(ring.error, 0) << ring.why.text;
        shm_placement placement = {};
        if (ring.error == 0)
            shm_look_placement(&ring, &placement);
        return placement;
    }

private:
    long before_ = -1;
    bool mounted_ = false;
};

/* -- hugetlbfs ----------------------------------------------------------------------------------------------------- */

TEST_F(ShmHuge, DataLiesOnHugetlbfsAndIsAttachedToAsEver)
{
    uint64_t page = 0;
    ASSERT_EQ(shm_huge_page_bytes(SHM_HUGE_PAGES, UINT64_C(64) << 20, &page, &why_), 0) << why_.text;
    EXPECT_EQ(page, huge_page);
    HugeRequest request("ring", 0640, 7);
    ASSERT_EQ(create(request), 0) << why_.text;
    ASSERT_EQ(huge_files().size(), 1u);
    EXPECT_EQ(link_of("ring"), path("huge/") + huge_files()[0]);
    for (shm_access access : {SHM_LOOK, SHM_SUBSCRIBE, SHM_PUBLISH, SHM_SERVE}) {
        Ring ring(bus_fd_, "ring", access, true);
        ASSERT_EQ(ring.error, 0) << ring.why.text;
        EXPECT_TRUE(ring.whole(7));
        EXPECT_EQ(ring.sizes.data_bytes, 2 * huge_page);
        struct stat status = {};
        ASSERT_EQ(fstat(ring.data_fd, &status), 0);
        EXPECT_EQ(status.st_mode & 07777, 0640u);
        if (access == SHM_PUBLISH)
            static_cast<char *>(ring.data)[huge_page] = 8;
        if (access == SHM_PUBLISH)
            static_cast<char *>(ring.data)[huge_page] = 7;
    }
    shm_placement now = placement();
    EXPECT_EQ(now.page_bytes, huge_page);
    EXPECT_EQ(now.huge_bytes, 2 * huge_page);
    EXPECT_EQ(now.memory_bytes, 2 * huge_page + 5 * Request::page);
    ASSERT_EQ(shm_remove(bus_fd_, "ring", &why_), 0) << why_.text;
    EXPECT_EQ(huge_files(), Names{}) << "the pages are given back";
}

TEST_F(ShmHuge, MemoryStaysWithWhoHasItMapped)
{
    HugeRequest request;
    ASSERT_EQ(create(request), 0) << why_.text;
    Ring ring(bus_fd_, "ring", SHM_PUBLISH);
    ASSERT_EQ(ring.error, 0) << ring.why.text;
    ASSERT_EQ(shm_remove(bus_fd_, "ring", &why_), 0) << why_.text;
    EXPECT_EQ(huge_files(), Names{});
    EXPECT_TRUE(ring.whole(1));
}

TEST_F(ShmHuge, TooFewPagesAreAnErrorThatSaysHowManyAndHow)
{
    long there = number_in(std::string(pool) + "free_hugepages");
    HugeRequest request;
    request.sizes.data_bytes = ((uint64_t)there + 3) * huge_page;
    EXPECT_EQ(create(request), -ENOMEM);
    EXPECT_TRUE(says("needs " + std::to_string(there + 3) + " of 2048 KiB")) << why_.text;
    EXPECT_TRUE(says(std::to_string(there) + " are free")) << why_.text;
    EXPECT_TRUE(says("nr_hugepages")) << why_.text;
    EXPECT_EQ(huge_files(), Names{});
    EXPECT_EQ(names_in(bus_fd_), Names{});
    EXPECT_EQ(number_in(std::string(pool) + "free_hugepages"), there);
}

TEST_F(ShmHuge, SlotsThatAreNoWholePagesAreRefused)
{
    HugeRequest request;
    request.sizes.data_bytes = huge_page + Request::page;
    EXPECT_EQ(create(request), -EINVAL);
    EXPECT_TRUE(says("not a multiple of a huge page's")) << why_.text;
    EXPECT_EQ(huge_files(), Names{});
    EXPECT_EQ(names_in(bus_fd_), Names{});
}

TEST_F(ShmHuge, WithoutAMountTheErrorSaysHowToMakeOne)
{
    ASSERT_EQ(umount2(path("huge").c_str(), MNT_DETACH), 0);
    HugeRequest request;
    uint64_t page = 0;
    EXPECT_EQ(create(request), -EOPNOTSUPP);
    EXPECT_TRUE(says("mount -t hugetlbfs") && says("nr_hugepages")) << why_.text;
    EXPECT_EQ(shm_huge_page_bytes(SHM_HUGE_PAGES, UINT64_C(64) << 20, &page, &why_), -EOPNOTSUPP);
    EXPECT_EQ(names_in(bus_fd_), Names{});
    ASSERT_EQ(mount("none", path("huge").c_str(), "hugetlbfs", 0, "pagesize=2M,mode=0755"), 0);
    Child other([&](const Line &) {
        CHILD_CHECK(become(nobody, nobody));
        CHILD_CHECK(shm_huge_page_bytes(SHM_HUGE_PAGES, UINT64_C(64) << 20, &page, &why_) == -EOPNOTSUPP);
        CHILD_CHECK(says("uid 65534"));
        return 0;
    });
    EXPECT_EQ(other.result(), 0);
}

/* -- Death at any step --------------------------------------------------------------------------------------------- */

std::vector<std::string> steps;
size_t fatal_step;

void die_at_fatal_step(const char *step)
{
    steps.emplace_back(step);
    if (steps.size() == fatal_step + 1)
        raise(SIGKILL);
}

TEST_F(ShmHuge, KilledAtAnyStepOfMakingAndRemovingNoPageIsLostForGood)
{
    shm_point_hook = [](const char *step) { steps.emplace_back(step); };
    steps.clear();
    HugeRequest request("ring", 0600, 9);
    ASSERT_EQ(create(request), 0) << why_.text;
    ASSERT_EQ(shm_remove(bus_fd_, "ring", nullptr), 0);
    shm_point_hook = nullptr;
    const std::vector<std::string> all = steps;
    ASSERT_EQ(std::count(all.begin(), all.end(), "create: huge pages' file made"), 1);
    ASSERT_EQ(std::count(all.begin(), all.end(), "remove: huge pages given back"), 1);
    for (size_t fatal = 0; fatal < all.size(); fatal++) {
        SCOPED_TRACE("killed at step " + std::to_string(fatal) + ", " + all[fatal]);
        Child maker([&](const Line &) {
            steps.clear();
            fatal_step = fatal;
            shm_point_hook = die_at_fatal_step;
            HugeRequest own("ring", 0600, 9);
            (void)create(own);
            (void)shm_remove(bus_fd_, "ring", nullptr);
            return 0;
        });
        ASSERT_EQ(maker.result(), -SIGKILL);
        {
            Ring ring(bus_fd_, "ring", SHM_PUBLISH);
            if (ring.error == 0) {
                EXPECT_TRUE(ring.whole(9));
                ASSERT_EQ(shm_remove(bus_fd_, "ring", &why_), 0) << why_.text;
            } else {
                ASSERT_EQ(ring.error, -ENOENT) << ring.why.text;
            }
        }
        ASSERT_EQ(create("next"), 0) << why_.text;
        ASSERT_EQ(names_in(bus_fd_), Names{"next"}) << "the next creation sweeps up";
        ASSERT_EQ(huge_files(), Names{}) << "on both file systems";
        ASSERT_EQ(shm_remove(bus_fd_, "next", &why_), 0) << why_.text;
    }
}

TEST_F(ShmHuge, KilledBetweenGivingAwayTheFileAndTheDirectoryItIsStillSweptUp)
{
    Child maker([&](const Line &) {
        shm_point_hook = [](const char *step) {
            if (strcmp(step, "create: formatted") == 0)
                raise(SIGKILL);
        };
        HugeRequest own;
        own.set_uid = true;
        own.uid = nobody;
        (void)create(own);
        return 0;
    });
    ASSERT_EQ(maker.result(), -SIGKILL);
    ASSERT_EQ(huge_files().size(), 1u);
    ASSERT_EQ(chown((path("huge/") + huge_files()[0]).c_str(), nobody, nobody), 0);
    ASSERT_EQ(create("next"), 0) << why_.text;
    EXPECT_EQ(huge_files(), Names{});
    EXPECT_EQ(names_in(bus_fd_), Names{"next"});
}

/* -- Links that lie ------------------------------------------------------------------------------------------------ */

TEST_F(ShmHuge, LinkToAnothersHugePagesIsNeitherOpenedNorRemoved)
{
    HugeRequest request("mine", 0666);
    ASSERT_EQ(create(request), 0) << why_.text;
    const std::string target = link_of("mine");
    ASSERT_EQ(create("theirs"), 0) << why_.text;
    ASSERT_EQ(unlinkat(bus_fd_, "theirs/data", 0), 0);
    ASSERT_EQ(symlinkat(target.c_str(), bus_fd_, "theirs/data"), 0);
    ASSERT_EQ(fchownat(bus_fd_, "theirs", nobody, nobody, 0), 0);
    for (shm_access access : {SHM_LOOK, SHM_SUBSCRIBE, SHM_PUBLISH, SHM_SERVE}) {
        Ring ring(bus_fd_, "theirs", access, true);
        EXPECT_EQ(ring.error, -EMEDIUMTYPE) << ring.why.text;
    }
    ASSERT_EQ(shm_remove(bus_fd_, "theirs", &why_), 0) << why_.text;
    EXPECT_EQ(huge_files().size(), 1u) << "the link went, and what it led to stayed";
    /* The same as a left-over, which the next creation sweeps. */
    ASSERT_EQ(mkdirat(bus_fd_, ".old-0123456789abcdef", 0700), 0);
    ASSERT_EQ(symlinkat(target.c_str(), bus_fd_, ".old-0123456789abcdef/data"), 0);
    ASSERT_EQ(fchownat(bus_fd_, ".old-0123456789abcdef", nobody, nobody, 0), 0);
    ASSERT_EQ(create("next"), 0) << why_.text;
    EXPECT_EQ(names_in(bus_fd_), (Names{"mine", "next"}));
    EXPECT_EQ(huge_files().size(), 1u);
    Ring ring(bus_fd_, "mine", SHM_PUBLISH);
    EXPECT_EQ(ring.error, 0) << ring.why.text;
    EXPECT_TRUE(ring.whole(1));
}

TEST_F(ShmHuge, LinkToAnythingElseIsNoRing)
{
    HugeRequest request;
    ASSERT_EQ(create(request), 0) << why_.text;
    const std::string target = link_of("ring"), file = target.substr(target.rfind('/'));
    std::ofstream(path("weir-0123456789abcdef")) << "on tmpfs";
    ASSERT_EQ(mkdir(path("huge/weir-00000000000000dd").c_str(), 0755), 0);
    ASSERT_EQ(mkfifo(path("huge/weir-00000000000000ff").c_str(), 0644), 0);
    (void)!symlink(target.c_str(), path("huge/weir-00000000000000aa").c_str()); /* hugetlbfs may not take it */
    ASSERT_EQ(link(target.c_str(), path("huge/other").c_str()), 0);
    const std::string links[] = {path("weir-0123456789abcdef"),
                                 path("huge/weir-00000000000000dd"),
                                 path("huge/weir-00000000000000ff"),
                                 path("huge/weir-00000000000000aa"),
                                 path("huge/other"),
                                 path("huge/"),
                                 "/dev/zero",
                                 "../../huge" + file,
                                 file.substr(1),
                                 file,
                                 "x",
                                 std::string(4000, 'x')};
    for (const std::string &lie : links) {
        SCOPED_TRACE(lie);
        ASSERT_EQ(unlinkat(bus_fd_, "ring/data", 0), 0);
        ASSERT_EQ(symlinkat(lie.c_str(), bus_fd_, "ring/data"), 0);
        Ring ring(bus_fd_, "ring", SHM_PUBLISH);
        EXPECT_EQ(ring.error, -EMEDIUMTYPE) << ring.why.text;
    }
    ASSERT_EQ(unlinkat(bus_fd_, "ring/data", 0), 0);
    ASSERT_EQ(symlinkat(path("huge/weir-0000000000000000").c_str(), bus_fd_, "ring/data"), 0);
    Ring ring(bus_fd_, "ring", SHM_PUBLISH);
    EXPECT_EQ(ring.error, -EMEDIUMTYPE) << "it leads to nothing: " << ring.why.text;
    const Names before = huge_files();
    ASSERT_EQ(shm_remove(bus_fd_, "ring", &why_), 0) << why_.text;
    EXPECT_EQ(huge_files(), before) << "none of them was the ring's";
}

/* -- Transparent ones ---------------------------------------------------------------------------------------------- */

class ShmTransparent : public ShmTest
{
protected:
    void SetUp() override
    {
        ShmTest::SetUp();
        uint64_t page;
        if (shm_huge_page_bytes(SHM_HUGE_TRANSPARENT, UINT64_MAX, &page, &why_) != 0 || page != huge_page)
            GTEST_SKIP() << "this kernel has no transparent huge pages of 2 MiB";
        if (!is_root() || !mounts_of_our_own())
            GTEST_SKIP() << "needs the right to mount a tmpfs";
    }
    /* The bus on a tmpfs of this kind. */
    bool mount_bus(const char *options)
    {
        if (mount("none", path("bus").c_str(), "tmpfs", 0, options) != 0)
            return false;
        close(bus_fd_);
        bus_fd_ = open(path("bus").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return bus_fd_ >= 0;
    }
    void TearDown() override
    {
        close(bus_fd_);
        bus_fd_ = -1;
        (void)umount2(path("bus").c_str(), MNT_DETACH);
        ShmTest::TearDown();
    }
};

TEST_F(ShmTransparent, ArePagesOfATmpfsThatIsMountedForIt)
{
    if (!mount_bus("huge=advise,size=64m"))
        GTEST_SKIP() << "no tmpfs can be mounted with huge=advise: " << strerror(errno);
    HugeRequest request("ring", 0600, 5);
    request.huge = SHM_HUGE_TRANSPARENT;
    request.sizes.data_bytes = 8 * huge_page;
    if (create(request) == -EOPNOTSUPP)
        GTEST_SKIP() << "the kernel gives none now: " << why_.text;
    Ring ring(bus_fd_, "ring", SHM_LOOK);
    ASSERT_EQ(ring.error, 0) << why_.text << ring.why.text;
    EXPECT_TRUE(ring.whole(5));
    shm_placement placement;
    shm_look_placement(&ring, &placement);
    EXPECT_EQ(placement.page_bytes, huge_page);
    EXPECT_GE(placement.huge_bytes, huge_page);
    EXPECT_LE(placement.huge_bytes, 8 * huge_page);
    EXPECT_EQ(placement.memory_bytes, 8 * huge_page + 5 * Request::page);
    ASSERT_EQ(shm_remove(bus_fd_, "ring", &why_), 0) << why_.text;
}

TEST_F(ShmTransparent, AreRefusedWhereTheMountDoesNotAllowThem)
{
    if (!mount_bus("huge=never,size=64m"))
        GTEST_SKIP() << "no tmpfs can be mounted: " << strerror(errno);
    HugeRequest request;
    request.huge = SHM_HUGE_TRANSPARENT;
    EXPECT_EQ(create(request), -EOPNOTSUPP);
    EXPECT_TRUE(says("huge=advise")) << why_.text;
    EXPECT_EQ(names_in(bus_fd_), Names{});
}

int bus_to_fill = -1;

TEST_F(ShmTransparent, ATmpfsThatIsFilledMeanwhileIsAnErrorAndNoSignal)
{
    if (!mount_bus("huge=advise,size=6m"))
        GTEST_SKIP() << "no tmpfs can be mounted with huge=advise: " << strerror(errno);
    HugeRequest request;
    request.huge = SHM_HUGE_TRANSPARENT;
    bus_to_fill = bus_fd_;
    shm_point_hook = [](const char *step) {
        int fd = strcmp(step, "create: room checked") != 0
                     ? -1
                     : openat(bus_to_fill, "filling", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0) {
            (void)!fallocate(fd, 0, 0, 3 << 20);
            close(fd);
        }
    };
    EXPECT_EQ(create(request), -ENOMEM);
    EXPECT_TRUE(says("too little memory")) << why_.text;
    EXPECT_EQ(names_in(bus_fd_), Names{"filling"});
}

/* -- Nodes --------------------------------------------------------------------------------------------------------- */

class ShmNode : public ShmTest
{
protected:
    void SetUp() override
    {
        ShmTest::SetUp();
        if (shm_node_here(&here_, &why_) != 0 || shm_node_check(here_, &why_) == -EOPNOTSUPP)
            GTEST_SKIP() << why_.text;
    }
    unsigned here_ = 0;
};

TEST_F(ShmNode, AllMemoryLiesOnTheNodeThatWasAskedFor)
{
    Request request;
    request.set_node = true;
    request.node = here_;
    ASSERT_EQ(create(request), 0) << why_.text;
    Ring ring(bus_fd_, "ring", SHM_LOOK);
    ASSERT_EQ(ring.error, 0) << ring.why.text;
    shm_placement placement;
    shm_look_placement(&ring, &placement);
    EXPECT_EQ(placement.node, (int)here_);
    EXPECT_EQ(placement.node_bytes, 21 * Request::page);
    EXPECT_EQ(placement.memory_bytes, 21 * Request::page);
    EXPECT_EQ(placement.page_bytes, Request::page);
    EXPECT_EQ(placement.huge_bytes, 0u);
    /* On a machine of one node it would lie there anyway; that it was said, the files tell whoever maps them. */
    for (void *part : {ring.control, ring.readers, ring.data}) {
        int policy = -1;
        unsigned long nodes[1024 / (8 * sizeof(unsigned long))] = {0};
        ASSERT_EQ(syscall(SYS_get_mempolicy, &policy, nodes, 1025ul, part, MPOL_F_ADDR), 0) << strerror(errno);
        EXPECT_EQ(policy, MPOL_BIND);
        EXPECT_EQ(nodes[here_ / (8 * sizeof(unsigned long))], 1ul << here_ % (8 * sizeof(unsigned long)));
    }
}

TEST_F(ShmNode, EachNodeThatThereIsCanBeAskedFor)
{
    int nodes = 0;
    for (unsigned node = 0; node < 64; node++) {
        if (shm_node_check(node, &why_) != 0)
            continue;
        Request request;
        request.set_node = true;
        request.node = node;
        ASSERT_EQ(create(request), 0) << why_.text;
        Ring ring(bus_fd_, "ring", SHM_LOOK);
        ASSERT_EQ(ring.error, 0) << ring.why.text;
        shm_placement placement;
        shm_look_placement(&ring, &placement);
        EXPECT_EQ(placement.node, (int)node);
        EXPECT_EQ(placement.node_bytes, placement.memory_bytes);
        ASSERT_EQ(shm_remove(bus_fd_, "ring", &why_), 0) << why_.text;
        nodes++;
    }
    EXPECT_GE(nodes, 1);
}

TEST_F(ShmNode, OneThatIsNotThereIsAnErrorThatSaysWhichAre)
{
    for (unsigned node : {1023u, 1024u, 4000000000u}) {
        Request request;
        request.set_node = true;
        request.node = node;
        EXPECT_EQ(create(request), -EINVAL);
        EXPECT_TRUE(says("no NUMA node " + std::to_string(node))) << why_.text;
        EXPECT_TRUE(says(" " + std::to_string(here_))) << why_.text;
        EXPECT_EQ(names_in(bus_fd_), Names{});
    }
}

TEST_F(ShmNode, WhatIsCutShortIsToldOfAsFarAsItGoes)
{
    Request request;
    ASSERT_EQ(create(request), 0) << why_.text;
    Ring ring(bus_fd_, "ring", SHM_LOOK);
    ASSERT_EQ(ring.error, 0) << ring.why.text;
    int fd = openat(bus_fd_, "ring/data", O_RDWR | O_CLOEXEC);
    ASSERT_EQ(ftruncate(fd, 0), 0);
    close(fd);
    shm_placement placement;
    shm_look_placement(&ring, &placement);
    EXPECT_LE(placement.node_bytes, 5 * Request::page);
    EXPECT_EQ(placement.memory_bytes, 21 * Request::page);
}

} // namespace
