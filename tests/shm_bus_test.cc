/* SPDX-License-Identifier: Apache-2.0 */
/* Names of rings, and which directory is the bus. */
// test: LINKS weir_shm

#include "tests/shm_support.hh"

namespace
{

TEST(ShmName, TakesWhatANameMayBe)
{
    for (const char *name : {"a", "orders", "A-Z_a-z.0-9", "9", "-", "_", "a..b", "x."})
        EXPECT_EQ(shm_name_check(name), 0) << name;
    EXPECT_EQ(shm_name_check(std::string(64, 'x').c_str()), 0);
}

TEST(ShmName, RefusesWhatCouldLeaveTheBusOrHideInIt)
{
    for (const char *name :
         {"", ".", "..", ".hidden", ".new-0", "a/b", "/", "../a", "a b", "a\n", "\x1b[2J", "ä", "a:b"})
        EXPECT_EQ(shm_name_check(name), -EILSEQ) << name;
    EXPECT_EQ(shm_name_check(nullptr), -EILSEQ);
}

TEST(ShmName, RefusesTheSixtyFifthCharacter)
{
    EXPECT_EQ(shm_name_check(std::string(65, 'x').c_str()), -ENAMETOOLONG);
    EXPECT_EQ(shm_name_check(std::string(100000, 'x').c_str()), -ENAMETOOLONG);
}

TEST(ShmWhy, CutsLongTextAndLetsNothingSteerATerminal)
{
    struct shm_why why;
    shm_explain(&why, "a%sb%c", "\x1b[31m\n", 0x7f);
    EXPECT_STREQ(why.text, "a?[31m?b?");
    shm_explain(&why, "%s", std::string(5000, 'x').c_str());
    EXPECT_EQ(strlen(why.text), sizeof(why.text) - 1);
    shm_explain(nullptr, "nobody asks");
}

class ShmBus : public ShmTest
{
protected:
    void SetUp() override
    {
        ShmTest::SetUp();
        ASSERT_EQ(mkdirat(scratch_fd_, "memory", 01777), 0);
        ASSERT_EQ(fchmodat(scratch_fd_, "memory", 01777, 0), 0);
        service_ = path("service");
        memory_ = path("memory");
        own_ = memory_ + "/weir-" + std::to_string(geteuid());
        places_ = {service_.c_str(), memory_.c_str()};
    }
    int find()
    {
        chosen_[0] = '\0';
        why_ = {};
        int fd = shm_bus_open_default(&places_, chosen_, sizeof(chosen_), &why_);
        if (fd >= 0)
            close(fd);
        return fd;
    }

    std::string service_, memory_, own_;
    struct shm_bus_places places_ = {};
    char chosen_[256] = "";
};

TEST_F(ShmBus, OfANamedDirectoryIsThatDirectory)
{
    char chosen[256];
    int fd = shm_bus_open(path("bus").c_str(), false, chosen, sizeof(chosen), &why_);
    ASSERT_GE(fd, 0) << why_.text;
    EXPECT_EQ(path("bus"), chosen);
    struct stat opened, expected;
    ASSERT_EQ(fstat(fd, &opened), 0);
    ASSERT_EQ(fstat(bus_fd_, &expected), 0);
    EXPECT_EQ(opened.st_ino, expected.st_ino);
    EXPECT_EQ(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(fd);
}

TEST_F(ShmBus, ThatIsMissingIsMadeOnlyWhenAskedFor)
{
    std::string missing = path("missing");
    EXPECT_EQ(shm_bus_open(missing.c_str(), false, nullptr, 0, &why_), -ENOENT);
    EXPECT_TRUE(says(missing)) << why_.text;
    EXPECT_NE(access(missing.c_str(), F_OK), 0);

    umask(077);
    int fd = shm_bus_open(missing.c_str(), true, nullptr, 0, &why_);
    ASSERT_GE(fd, 0) << why_.text;
    struct stat status;
    ASSERT_EQ(fstat(fd, &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0755u);
    close(fd);

    EXPECT_EQ(shm_bus_open(path("one/two").c_str(), true, nullptr, 0, &why_), -ENOENT) << "one level only";
}

TEST_F(ShmBus, ThatExistsKeepsItsModeWhenItMayBeMade)
{
    ASSERT_EQ(fchmod(bus_fd_, 0700), 0);
    int fd = shm_bus_open(path("bus").c_str(), true, nullptr, 0, &why_);
    ASSERT_GE(fd, 0) << why_.text;
    close(fd);
    EXPECT_EQ(mode_of("."), 0700u);
}

TEST_F(ShmBus, ThatIsAFileIsRefused)
{
    close(openat(scratch_fd_, "file", O_CREAT | O_WRONLY, 0644));
    EXPECT_EQ(shm_bus_open(path("file").c_str(), true, nullptr, 0, &why_), -ENOTDIR);
    EXPECT_TRUE(says("not a directory")) << why_.text;
}

TEST_F(ShmBus, WhosePathDoesNotFitIsRefusedAndLeavesNoDescriptor)
{
    char small[8] = "before";
    int before = open_descriptors();
    EXPECT_EQ(shm_bus_open(path("bus").c_str(), false, small, sizeof(small), &why_), -ENAMETOOLONG);
    EXPECT_STREQ(small, "before");
    EXPECT_EQ(open_descriptors(), before);
}

TEST_F(ShmBus, ComesFromTheEnvironmentBeforeTheDefault)
{
    char chosen[256];
    std::string saved = getenv("WEIR_BUS") ? getenv("WEIR_BUS") : "/dev/shm";
    setenv("WEIR_BUS", path("bus").c_str(), 1);
    int fd = shm_bus_open(nullptr, false, chosen, sizeof(chosen), &why_);
    ASSERT_GE(fd, 0) << why_.text;
    EXPECT_EQ(path("bus"), chosen);
    close(fd);
    fd = shm_bus_open(path("memory").c_str(), false, chosen, sizeof(chosen), &why_);
    ASSERT_GE(fd, 0);
    EXPECT_EQ(path("memory"), chosen) << "what the caller names comes first";
    close(fd);
    setenv("WEIR_BUS", path("missing").c_str(), 1);
    EXPECT_EQ(shm_bus_open(nullptr, false, chosen, sizeof(chosen), &why_), -ENOENT);
    EXPECT_TRUE(says("$WEIR_BUS")) << why_.text;
    setenv("WEIR_BUS", saved.c_str(), 1);
}

TEST_F(ShmBus, OfTheServiceComesBeforeMyOwn)
{
    ASSERT_EQ(mkdir(service_.c_str(), 0755), 0);
    ASSERT_GE(find(), 0) << why_.text;
    EXPECT_EQ(service_, chosen_);
    EXPECT_NE(access(own_.c_str(), F_OK), 0) << "my own is made only when it is used";
}

TEST_F(ShmBus, OfTheServiceThatIMayNotSearchIsPassedBy)
{
    if (!is_root())
        GTEST_SKIP() << "takes root, to be somebody else as well";
    ASSERT_EQ(mkdir(service_.c_str(), 0750), 0);
    Child child([&](const Line &) {
        CHILD_CHECK(become(nobody, nobody));
        CHILD_CHECK(find() >= 0);
        CHILD_CHECK(memory_ + "/weir-65534" == chosen_);
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

TEST_F(ShmBus, OfTheServiceThatIMaySearchButNotListWillDo)
{
    if (!is_root())
        GTEST_SKIP() << "takes root, to be somebody else as well";
    ASSERT_EQ(mkdir(service_.c_str(), 0711), 0);
    int service_fd = open(service_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Request request("ring", 0644, 7);
    ASSERT_EQ(shm_create(service_fd, &request, &why_), 0) << why_.text;
    close(service_fd);
    Child child([&](const Line &) {
        CHILD_CHECK(become(nobody, nobody));
        int fd = shm_bus_open_default(&places_, chosen_, sizeof(chosen_), &why_);
        CHILD_CHECK(fd >= 0);
        CHILD_CHECK(service_ == chosen_);
        Ring ring(fd, "ring", SHM_SUBSCRIBE);
        CHILD_CHECK(ring.error == 0 && ring.whole(7));
        return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

TEST_F(ShmBus, OfTheServiceThatIsAFileOrALinkIsPassedBy)
{
    close(open(service_.c_str(), O_CREAT | O_WRONLY, 0644));
    ASSERT_GE(find(), 0) << why_.text;
    EXPECT_EQ(own_, chosen_);
    ASSERT_EQ(unlink(service_.c_str()), 0);
    ASSERT_EQ(symlink(path("bus").c_str(), service_.c_str()), 0);
    ASSERT_GE(find(), 0) << why_.text;
    EXPECT_EQ(own_, chosen_);
}

TEST_F(ShmBus, OfMyOwnIsMadeWhateverTheUmask)
{
    umask(0077);
    ASSERT_GE(find(), 0) << why_.text;
    EXPECT_EQ(own_, chosen_);
    struct stat status;
    ASSERT_EQ(stat(own_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0755u);
    EXPECT_EQ(status.st_uid, geteuid());
    ASSERT_GE(find(), 0) << "and is found again: " << why_.text;
}

TEST_F(ShmBus, OfMyOwnMayBeClosedToOthers)
{
    ASSERT_EQ(mkdir(own_.c_str(), 0700), 0);
    ASSERT_GE(find(), 0) << why_.text;
    struct stat status;
    ASSERT_EQ(stat(own_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0700u);
}

TEST_F(ShmBus, OfMyOwnThatOthersMayWriteIsRefused)
{
    for (mode_t mode : {0775, 0757, 01777}) {
        (void)mkdir(own_.c_str(), 0755);
        ASSERT_EQ(chmod(own_.c_str(), mode), 0);
        EXPECT_EQ(find(), -EPERM) << std::oct << mode;
        EXPECT_STREQ(chosen_, "");
        EXPECT_TRUE(says(own_) && says("chmod go-w")) << why_.text;
    }
}

TEST_F(ShmBus, OfMyOwnThatIsSomebodyElsesIsRefused)
{
    if (!is_root())
        GTEST_SKIP() << "takes root, to give a directory away";
    for (mode_t mode : {0755, 0700}) {
        (void)mkdir(own_.c_str(), 0755);
        ASSERT_EQ(chown(own_.c_str(), nobody, nobody), 0);
        ASSERT_EQ(chmod(own_.c_str(), mode), 0);
        EXPECT_EQ(find(), -EPERM);
        EXPECT_TRUE(says("belongs to uid 65534")) << why_.text;
    }
    Child child([&](const Line &) { /* without root's rights the directory does not even open */
                                    std::string squatted = memory_ + "/weir-65533";
                                    CHILD_CHECK(mkdir(squatted.c_str(), 0700) == 0);
                                    CHILD_CHECK(become(65533, 65533));
                                    CHILD_CHECK(find() == -EPERM);
                                    CHILD_CHECK(says("belongs to uid 0"));
                                    return 0;
    });
    EXPECT_EQ(child.result(), 0);
}

TEST_F(ShmBus, OfMyOwnThatIsALinkOrAFileIsRefused)
{
    ASSERT_EQ(symlink(path("bus").c_str(), own_.c_str()), 0);
    EXPECT_EQ(find(), -EPERM);
    EXPECT_TRUE(says("symbolic link")) << why_.text;
    ASSERT_EQ(unlink(own_.c_str()), 0);

    ASSERT_EQ(symlink(path("nowhere").c_str(), own_.c_str()), 0);
    EXPECT_EQ(find(), -EPERM);
    EXPECT_NE(access(path("nowhere").c_str(), F_OK), 0) << "and nothing is made behind the link";
    ASSERT_EQ(unlink(own_.c_str()), 0);

    ASSERT_EQ(mkfifo(own_.c_str(), 0600), 0);
    EXPECT_EQ(find(), -EPERM);
}

TEST_F(ShmBus, SaysWhereItCouldNotBeMade)
{
    memory_ = path("gone");
    places_.memory = memory_.c_str();
    EXPECT_EQ(find(), -ENOENT);
    EXPECT_TRUE(says(memory_) && says("$WEIR_BUS")) << why_.text;
}

} // namespace
