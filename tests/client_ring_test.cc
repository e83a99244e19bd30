/* SPDX-License-Identifier: Apache-2.0 */
/* Rings as a whole: made as asked or refused with the reason, listed, looked at, removed. */
// test: LINKS weir_client

#include "tests/support/client_support.hh"

#include <sys/statvfs.h>

namespace
{

class ClientRing : public ClientTest
{
protected:
    /* Refused with this error and a text that has all the parts; nothing is left behind. */
    void refused(const weir_ring_options &options, int error, const std::vector<const char *> &parts,
                 const char *name = "ring") const
    {
        EXPECT_EQ(create(options, name), error) << weir_last_error();
        for (const char *part : parts)
            EXPECT_TRUE(told(part)) << "not told: " << part << "\ntold: " << weir_last_error();
        EXPECT_EQ(list(), std::vector<std::string>());
    }
    void overwrite(const char *file, uint64_t offset, const void *bytes, size_t count) const
    {
        int fd = open(path(file).c_str(), O_WRONLY | O_CLOEXEC);
        ASSERT_GE(fd, 0) << file;
        EXPECT_EQ(pwrite(fd, bytes, count, (off_t)offset), (ssize_t)count);
        close(fd);
    }
    int look() const
    {
        RingInfo info = {};
        info.size = sizeof(info);
        return weir_ring_inspect(bus_.c_str(), "ring", &info);
    }
};

TEST_F(ClientRing, WithoutOptionsHasTheDocumentedDefaults)
{
    ASSERT_EQ(weir_ring_create(bus_.c_str(), "ring", nullptr), 0) << weir_last_error();
    EXPECT_STREQ(weir_last_error(), "");
    RingInfo now = info();
    EXPECT_EQ(now.exclusive, 0);
    EXPECT_EQ(now.journaled, 1);
    EXPECT_EQ(now.when_full, WEIR_BLOCK);
    EXPECT_EQ(now.fenced, 0);
    EXPECT_EQ(now.segment_bytes, 256u << 10);
    EXPECT_EQ(now.memory_limit_bytes, 32 * now.segment_bytes);
    EXPECT_EQ(now.max_readers, 16u);
    EXPECT_EQ(now.max_publishers, 8u);
    EXPECT_GE(now.slot_count, 32u + 16 + 2 * 8);
    EXPECT_EQ(now.slots_used, 1u);
    EXPECT_GE(now.memory_bytes, now.slot_count * now.segment_bytes);
    EXPECT_EQ(now.reader_count, 0u);
    EXPECT_EQ(now.publisher_count, 0u);
    EXPECT_EQ(now.mode, 0600u);
    EXPECT_EQ(now.uid, geteuid());
    EXPECT_EQ(now.gid, getegid());
    EXPECT_EQ(now.epoch, 1u);
    for (uint64_t position :
         {now.first_position, now.memory_position, now.end_position, now.visible, now.written, now.durable})
        EXPECT_EQ(position, 0u);
    EXPECT_GE(now.lease, now.memory_limit_bytes);
    EXPECT_EQ(now.journal_error, 0);
    EXPECT_EQ(now.daemon_alive, 0);
    EXPECT_EQ(now.refused_count, 0u);
    EXPECT_EQ(now.refused_last_ns, 0u);
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    EXPECT_LE(now.created_ns / (uint64_t)s, (uint64_t)wall.tv_sec);
    EXPECT_GE(now.created_ns / (uint64_t)s + 2 * deadline_s, (uint64_t)wall.tv_sec);
}

TEST_F(ClientRing, HasWhatItsOptionsAskFor)
{
    weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    options.exclusive = 1;
    options.journaled = 0;
    options.when_full = WEIR_DROP_OLD;
    options.segment_bytes = 8192;
    options.memory_limit_bytes = 81920;
    options.max_readers = 3;
    options.mode = 0640;
    options.fenced = 1;
    options.first_position = UINT64_C(1) << 40;
    ASSERT_EQ(create(options), 0) << weir_last_error();
    RingInfo now = info();
    EXPECT_EQ(now.exclusive, 1);
    EXPECT_EQ(now.journaled, 0);
    EXPECT_EQ(now.when_full, WEIR_DROP_OLD);
    EXPECT_EQ(now.fenced, 1);
    EXPECT_EQ(now.segment_bytes, 8192u);
    EXPECT_EQ(now.memory_limit_bytes, 81920u);
    EXPECT_EQ(now.max_readers, 3u);
    EXPECT_EQ(now.max_publishers, 1u);
    EXPECT_EQ(now.mode, 0640u);
    for (uint64_t position : {now.first_position, now.memory_position, now.end_position, now.visible})
        EXPECT_EQ(position, UINT64_C(1) << 40);
    RingInfo other = {};
    other.size = sizeof(other);
    ASSERT_EQ(create(RingOptions(), "other"), 0) << weir_last_error();
    ASSERT_EQ(weir_ring_inspect(bus_.c_str(), "other", &other), 0);
    EXPECT_NE(memcmp(now.ring_id, other.ring_id, sizeof(now.ring_id)), 0) << "ids are each ring's own";
}

TEST_F(ClientRing, GrowsItsSegmentsWhereTheMemoryLimitNeedsItUnlessTheyWereAskedFor)
{
    struct statvfs room;
    ASSERT_EQ(statvfs("/dev/shm", &room), 0);
    RingOptions options;
    options.memory_limit_bytes = UINT64_C(200) << 30; /* fits in 4096 segments of 64 MiB only */
    if (room.f_bavail * room.f_frsize > options.memory_limit_bytes)
        GTEST_SKIP() << "this tmpfs would take it";
    refused(options, -EINVAL, {"4096 segments"});
    options.segment_bytes = 0;
    refused(options, -ENOMEM, {"GiB"});
    options.memory_limit_bytes = UINT64_C(400) << 30;
    refused(options, -EINVAL, {"4096 segments"});
}

TEST_F(ClientRing, IsRefusedWithAReasonWhenItsGeometryIsImpossible)
{
    RingOptions options;
    options.size--;
    refused(options, -EINVAL, {"sizeof(struct weir_ring_options)"});
    options = RingOptions();
    for (uint64_t bytes : {UINT64_C(1), UINT64_C(2048), UINT64_C(5000), UINT64_C(128) << 20, UINT64_C(1) << 63}) {
        options.segment_bytes = bytes;
        options.memory_limit_bytes = 0;
        refused(options, -EINVAL, {"segment", "power of two", "4 KiB", "64 MiB"});
    }
    options = RingOptions();
    options.memory_limit_bytes = 4095;
    refused(options, -EINVAL, {"memory limit", "at least one segment"});
    for (uint64_t bytes : {UINT64_C(4096) << 12, UINT64_MAX}) {
        options.memory_limit_bytes = bytes;
        refused(options, -EINVAL, {"4096 segments", "larger segments", "smaller limit"});
    }
    options = RingOptions();
    options.max_readers = 1025;
    refused(options, -EINVAL, {"readers", "1 to 1024"});
    options.max_readers = UINT32_MAX;
    refused(options, -EINVAL, {"readers", "1 to 1024"});
    options = RingOptions();
    for (uint32_t count : {513u, UINT32_MAX}) {
        options.max_publishers = count;
        refused(options, -EINVAL, {"publishers", "1 to 512"});
    }
}

TEST_F(ClientRing, IsRefusedWithAReasonWhenItsOptionsContradictEachOther)
{
    RingOptions options;
    options.exclusive = 1;
    options.max_publishers = 2;
    refused(options, -EINVAL, {"exclusive", "one publisher"});
    for (int policy : {-1, 3, INT32_MAX})
        refused(RingOptions().with_policy(policy), -EINVAL, {"block, drop-new or drop-old"});
    refused(RingOptions().with_journal().with_policy(WEIR_DROP_OLD), -EINVAL, {"drop-old", "memory-only", "drop-new"});
    for (uint64_t position : {UINT64_C(1), UINT64_C(4095), UINT64_C(2048)})
        refused(RingOptions().with_first(position), -EINVAL, {"first position", "multiple", "4096"});
    for (uint32_t mode : {0777u, 01600u, 0100u, UINT32_MAX})
        refused(RingOptions().with_mode(mode), -EINVAL, {"mode", "0666"});
    for (uint32_t mode : {0066u, 0400u, 0200u})
        refused(RingOptions().with_mode(mode), -EINVAL, {"mode", "shut out", "owner"});
    for (uint32_t mode : {0620u, 0602u, 0642u})
        refused(RingOptions().with_mode(mode), -EINVAL, {"mode", "publish", "may not read"});
    options = RingOptions();
    options.group = "no-such-group-anywhere";
    refused(options, -EINVAL, {"no group no-such-group-anywhere"});
    options.group = "";
    refused(options, -EINVAL, {"no group"});
    options.group = "99999999999";
    refused(options, -EINVAL, {"no group"});
}

TEST_F(ClientRing, BelongsToTheGroupThatWasNamedOrNumbered)
{
    RingOptions options;
    std::string number = std::to_string(getegid());
    options.group = number.c_str();
    ASSERT_EQ(create(options, "numbered"), 0) << weir_last_error();
    EXPECT_EQ(info("numbered").gid, getegid());
    struct group *entry = getgrgid(getegid());
    ASSERT_NE(entry, nullptr);
    options.group = entry->gr_name;
    ASSERT_EQ(create(options, "named"), 0) << weir_last_error();
    EXPECT_EQ(info("named").gid, getegid());
    if (!is_root())
        return;
    options.group = "65534";
    ASSERT_EQ(create(options, "foreign"), 0) << weir_last_error();
    EXPECT_EQ(info("foreign").gid, 65534u);
}

TEST_F(ClientRing, IsRefusedWithTheSizeNeededWhenMemoryIsTooSmall)
{
    struct statvfs room;
    ASSERT_EQ(statvfs("/dev/shm", &room), 0);
    uint64_t limit = UINT64_C(4000) * (64u << 20);
    if (room.f_bavail * room.f_frsize > limit)
        GTEST_SKIP() << "this tmpfs is larger than any ring";
    refused(RingOptions().with_segments(64u << 20, 4000), -ENOMEM, {"GiB", "bytes", "memory limit"});
}

TEST_F(ClientRing, TakesEveryNameThatIsAllowedAndNoOther)
{
    std::string longest(64, 'x');
    for (const char *name : {"a", "A.b-c_9", "0", "-", "_", longest.c_str()})
        EXPECT_EQ(create(RingOptions(), name), 0) << name << ": " << weir_last_error();
    EXPECT_EQ(list().size(), 6u);
    for (const std::string &name : list())
        EXPECT_EQ(weir_ring_remove(bus_.c_str(), name.c_str(), 0, 0), 0) << weir_last_error();
    for (const char *name : {"", ".", "..", ".a", "a/b", "/", "a b", "a\n", "\xc3\xa4", "a:b", "a%b", "*"})
        refused(RingOptions(), -EILSEQ, {"A-Z a-z 0-9 . _ -"}, name);
    std::string too_long(65, 'x');
    refused(RingOptions(), -ENAMETOOLONG, {"64 characters"}, too_long.c_str());
    refused(RingOptions(), -EINVAL, {"name is NULL"}, nullptr);
}

TEST_F(ClientRing, TellsABadNameFromAMissingRingWhereverANameIsTaken)
{
    weir_pub *pub = nullptr;
    weir_sub *sub = nullptr;
    std::string too_long(65, 'x');
    struct {
        const char *name;
        int error;
    } cases[] = {{"", -EILSEQ}, {"../ring", -EILSEQ}, {too_long.c_str(), -ENAMETOOLONG}, {"missing", -ENOENT}};
    for (auto &c : cases) {
        RingInfo ring_info = {};
        ring_info.size = sizeof(ring_info);
        EXPECT_EQ(weir_pub_open(bus_.c_str(), c.name, nullptr, &pub), c.error) << c.name;
        EXPECT_STRNE(weir_last_error(), "");
        EXPECT_EQ(weir_sub_open(bus_.c_str(), c.name, nullptr, &sub), c.error) << c.name;
        EXPECT_STRNE(weir_last_error(), "");
        EXPECT_EQ(weir_ring_inspect(bus_.c_str(), c.name, &ring_info), c.error) << c.name;
        EXPECT_EQ(weir_ring_remove(bus_.c_str(), c.name, 0, 0), c.error) << c.name;
        EXPECT_EQ(weir_ring_remove(bus_.c_str(), c.name, 1, 0), c.error) << c.name;
        EXPECT_EQ(weir_ring_check(bus_.c_str(), c.name, nullptr, nullptr), c.error) << c.name;
        EXPECT_EQ(weir_ring_participants(bus_.c_str(), c.name, nullptr, nullptr), c.error) << c.name;
        EXPECT_STRNE(weir_last_error(), "");
    }
    EXPECT_TRUE(told("missing")) << weir_last_error();
    EXPECT_TRUE(told("weir ring create")) << weir_last_error();
    EXPECT_EQ(weir_pub_open(bus_.c_str(), nullptr, nullptr, &pub), -EINVAL);
    EXPECT_EQ(weir_sub_open(bus_.c_str(), nullptr, nullptr, &sub), -EINVAL);
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), nullptr, 0, 0), -EINVAL);
    EXPECT_EQ(pub, nullptr) << "outputs are written on success alone";
    EXPECT_EQ(sub, nullptr);
}

TEST_F(ClientRing, RefusesOptionsOfAnotherSizeAndMissingOutputs)
{
    ASSERT_EQ(create(), 0) << weir_last_error();
    weir_pub *pub = nullptr;
    weir_sub *sub = nullptr;
    weir_pub_options pub_options = WEIR_PUB_OPTIONS_INIT;
    weir_sub_options sub_options = WEIR_SUB_OPTIONS_INIT;
    pub_options.size++;
    sub_options.size = 0;
    EXPECT_EQ(weir_pub_open(bus_.c_str(), "ring", &pub_options, &pub), -EINVAL);
    EXPECT_TRUE(told("sizeof(struct weir_pub_options)")) << weir_last_error();
    EXPECT_EQ(weir_sub_open(bus_.c_str(), "ring", &sub_options, &sub), -EINVAL);
    EXPECT_TRUE(told("sizeof(struct weir_sub_options)")) << weir_last_error();
    EXPECT_EQ(weir_pub_open(bus_.c_str(), "ring", nullptr, nullptr), -EINVAL);
    EXPECT_EQ(weir_sub_open(bus_.c_str(), "ring", nullptr, nullptr), -EINVAL);
    RingInfo ring_info = {};
    EXPECT_EQ(weir_ring_inspect(bus_.c_str(), "ring", &ring_info), -EINVAL);
    EXPECT_TRUE(told("sizeof(struct weir_ring_info)")) << weir_last_error();
    EXPECT_EQ(weir_ring_inspect(bus_.c_str(), "ring", nullptr), -EINVAL);
}

TEST_F(ClientRing, IsMadeOnceUnderOneName)
{
    ASSERT_EQ(create(), 0) << weir_last_error();
    RingInfo first = info();
    EXPECT_EQ(create(RingOptions().with_segments(8192, 4)), -EEXIST);
    EXPECT_TRUE(told("ring")) << weir_last_error();
    EXPECT_EQ(memcmp(info().ring_id, first.ring_id, sizeof(first.ring_id)), 0);
}

TEST_F(ClientRing, NeedsABusOnTmpfs)
{
    RingOptions options;
    EXPECT_EQ(weir_ring_create(path("no/such").c_str(), "ring", &options), -ENOENT);
    EXPECT_TRUE(told("no/such")) << weir_last_error();
    int fd = open(path("file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_GE(fd, 0);
    close(fd);
    EXPECT_EQ(weir_ring_create(path("file").c_str(), "ring", &options), -ENOTDIR);
    EXPECT_TRUE(told("not a directory")) << weir_last_error();
    const char *disk = getenv("WEIR_TEST_DIR");
    if (disk) {
        EXPECT_EQ(weir_ring_create(disk, "ring", &options), -EINVAL);
        EXPECT_TRUE(told("tmpfs")) << weir_last_error();
    }
    EXPECT_EQ(weir_ring_create(path("made").c_str(), "ring", &options), 0) << "one level is made";
    EXPECT_EQ(weir_ring_list(path("missing").c_str(), nullptr, nullptr), -ENOENT);
    EXPECT_TRUE(told("missing")) << weir_last_error();
}

TEST_F(ClientRing, IsFoundOnTheBusOfTheEnvironment)
{
    std::string saved = getenv("WEIR_BUS") ? getenv("WEIR_BUS") : "/dev/shm";
    setenv("WEIR_BUS", bus_.c_str(), 1);
    char bus[256] = "", tight[4] = "abc";
    ASSERT_EQ(weir_bus_default(bus, sizeof(bus)), 0) << weir_last_error();
    EXPECT_EQ(bus, bus_);
    EXPECT_EQ(weir_bus_default(tight, sizeof(tight)), -ENAMETOOLONG);
    EXPECT_STREQ(tight, "abc");
    RingOptions options;
    ASSERT_EQ(weir_ring_create(nullptr, "ring", &options), 0) << weir_last_error();
    weir_pub *pub = nullptr;
    ASSERT_EQ(weir_pub_open(nullptr, "ring", nullptr, &pub), 0) << weir_last_error();
    EXPECT_EQ(weir_pub_send(pub, "x", 1, 0, nullptr), 0);
    weir_pub_close(pub);
    setenv("WEIR_BUS", saved.c_str(), 1);
    Sub sub(bus_, "ring");
    EXPECT_EQ(sub.text(), "x");
}

TEST_F(ClientRing, ListsRingsInOrderAndNothingElse)
{
    EXPECT_EQ(list(), std::vector<std::string>());
    for (const char *name : {"b", "a", "c.d", "B"})
        ASSERT_EQ(create(RingOptions(), name), 0) << weir_last_error();
    ASSERT_EQ(mkdir(path(".new-0123456789abcdef").c_str(), 0700), 0);
    int fd = open(path("file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(fd);
    EXPECT_EQ(list(), (std::vector<std::string>{"B", "a", "b", "c.d"}));
    int calls = 0;
    EXPECT_EQ(
        weir_ring_list(
            bus_.c_str(), [](void *ctx, const char *) { return ++*static_cast<int *>(ctx) == 2 ? -77 : 0; }, &calls),
        -77);
    EXPECT_EQ(calls, 2);
}

TEST_F(ClientRing, SaysWhatIsWrongWithBytesThatAreNoRing)
{
    ASSERT_EQ(mkdir(path("ring").c_str(), 0700), 0);
    EXPECT_EQ(look(), -EMEDIUMTYPE);
    EXPECT_TRUE(told("not a whole ring")) << weir_last_error();
    ASSERT_EQ(rmdir(path("ring").c_str()), 0);
    ASSERT_EQ(create(), 0) << weir_last_error();

    uint64_t magic = 0;
    overwrite("ring/control", 0, &magic, sizeof(magic));
    EXPECT_EQ(look(), -EMEDIUMTYPE);
    EXPECT_TRUE(told("ring")) << weir_last_error();
    ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), -EMEDIUMTYPE);
    ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0) << weir_last_error();

    ASSERT_EQ(create(), 0) << weir_last_error();
    uint32_t version = 7;
    overwrite("ring/control", 8, &version, sizeof(version));
    EXPECT_EQ(look(), -EPROTONOSUPPORT);
    EXPECT_TRUE(told("of the ring: 7") && told("of this library: 1")) << weir_last_error();
    Pub pub(bus_, "ring");
    EXPECT_EQ(pub.error, -EPROTONOSUPPORT);
    Sub sub(bus_, "ring");
    EXPECT_EQ(sub.error, -EPROTONOSUPPORT);
    ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0) << weir_last_error();

    ASSERT_EQ(create(), 0) << weir_last_error();
    ASSERT_EQ(truncate(path("ring/data").c_str(), 4096), 0);
    EXPECT_EQ(look(), -EBADMSG);
    EXPECT_TRUE(told("data is shorter")) << weir_last_error();
    ASSERT_EQ(truncate(path("ring/data").c_str(), 0), 0);
    EXPECT_EQ(look(), -EMEDIUMTYPE);
    EXPECT_TRUE(told("empty")) << weir_last_error();
}

TEST_F(ClientRing, IsCheckedWithEachFaultNamed)
{
    ASSERT_EQ(create(RingOptions().with_journal()), 0) << weir_last_error();
    EXPECT_EQ(faults(), std::vector<std::string>());
    {
        Pub pub(bus_, "ring");
        for (int i = 0; i < 200; i++)
            ASSERT_EQ(pub.send("sound"), 0) << weir_last_error();
        EXPECT_EQ(faults(), std::vector<std::string>());
    }
    uint64_t wild = UINT64_C(0xdeadbeefdeadbeef);
    overwrite("ring/data", 128, &wild, sizeof(wild));
    ASSERT_EQ(faults().size(), 1u);
    EXPECT_EQ(faults()[0].find("data at 128: "), 0u) << faults()[0];
    Sub sub(bus_, "ring");
    EXPECT_EQ(sub.text(), "sound");
    EXPECT_EQ(sub.text(), "sound");
    EXPECT_EQ(sub.text(), "[EBADMSG]");
    EXPECT_TRUE(told("damaged at position 128") && told("weir ring check ring")) << weir_last_error();
    EXPECT_EQ(sub.text(), "[EBADMSG]") << "it stays so";
}

/* -- removing ------------------------------------------------------------------------------------------------------ */

TEST_F(ClientRing, IsNotRemovedUnderTheLivingUnlessForced)
{
    ASSERT_EQ(create(), 0) << weir_last_error();
    {
        Pub pub(bus_, "ring");
        EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), -EBUSY);
        EXPECT_TRUE(told("1 process") && told("weir stat ring")) << weir_last_error();
    }
    {
        Sub sub(bus_, "ring");
        EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), -EBUSY);
    }
    Child child([&](const Line &line) {
        Pub pub(bus_, "ring");
        Sub sub(bus_, "ring");
        ASSERT_EQ(pub.error, 0);
        line.say('r');
        line.hear();
    });
    ASSERT_EQ(child.line().hear(), 'r');
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), -EBUSY);
    child.stop();
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), -EBUSY) << "who is stopped is alive";
    child.kill_and_reap();
    EXPECT_EQ(list(), std::vector<std::string>{"ring"});
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), 0) << weir_last_error();
    EXPECT_EQ(list(), std::vector<std::string>());
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), -ENOENT);
}

TEST_F(ClientRing, LeavesItsNameToANewOneWhileItsMemoryIsStillHeld)
{
    ASSERT_EQ(create(), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    ASSERT_EQ(pub.send("kept"), 0);
    ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0) << weir_last_error();
    ASSERT_EQ(create(), 0) << weir_last_error();
    EXPECT_EQ(info().end_position, 0u);
    Pub other(bus_, "ring");
    EXPECT_EQ(other.send("new"), 0) << weir_last_error();
    EXPECT_EQ(sub.text(), "kept") << "what was there is still read";
    EXPECT_EQ(sub.text(1 * ms), "[EIDRM]");
    EXPECT_TRUE(told("ring ring was removed")) << weir_last_error();
}

/* -- rights -------------------------------------------------------------------------------------------------------- */

TEST_F(ClientRing, GivesOthersWhatItsModeSaysAndTellsThemWhatTheyLack)
{
    if (!is_root())
        GTEST_SKIP() << "needs root to be somebody else";
    ASSERT_EQ(create(RingOptions().with_mode(0600), "closed"), 0) << weir_last_error();
    ASSERT_EQ(create(RingOptions().with_mode(0644), "open"), 0) << weir_last_error();
    ASSERT_EQ(create(RingOptions().with_mode(0666), "shared"), 0) << weir_last_error();
    Child child([&](const Line &) {
        ASSERT_TRUE(become(nobody, nobody));
        for (int r : {Pub(bus_, "closed").error, Sub(bus_, "closed").error}) {
            EXPECT_EQ(r, -EACCES);
            EXPECT_TRUE(told("uid 65534") && told("closed") && told("mode 0700")) << weir_last_error();
        }
        EXPECT_EQ(Pub(bus_, "open").error, -EACCES);
        EXPECT_TRUE(told("may not publish on") && told("weir ring create --mode")) << weir_last_error();
        EXPECT_EQ(Sub(bus_, "open").error, 0) << weir_last_error();
        EXPECT_EQ(info("open").daemon_alive, -1);
        EXPECT_EQ(Pub(bus_, "shared").error, 0) << weir_last_error();
        EXPECT_EQ(Sub(bus_, "shared").error, 0) << weir_last_error();
        EXPECT_EQ(info("shared").daemon_alive, 0);
        for (const char *name : {"closed", "open", "shared"})
            for (int force : {0, 1}) {
                EXPECT_EQ(weir_ring_remove(bus_.c_str(), name, force, 0), -EACCES);
                EXPECT_TRUE(told("uid 65534 may not remove the")) << weir_last_error();
            }
        EXPECT_EQ(create(RingOptions(), "mine"), -EACCES) << "the bus is not its to write";
    });
    EXPECT_EQ(child.result(), 0);
    EXPECT_EQ(list(), (std::vector<std::string>{"closed", "open", "shared"}));
}

/* -- who takes part ------------------------------------------------------------------------------------------------ */

TEST_F(ClientRing, NamesEverybodyWhoTakesPart)
{
    ASSERT_EQ(create(RingOptions().with_users(2, 3)), 0) << weir_last_error();
    EXPECT_EQ(participants().size(), 0u);
    Pub pub(bus_, "ring", "source");
    Sub plain(bus_, "ring");
    Sub named(bus_, "ring", SubOptions().with_cursor("place").with_gate());
    ASSERT_EQ(pub.error | plain.error | named.error, 0);
    uint64_t first, second;
    ASSERT_EQ(pub.send("one", 0, &first), 0);
    ASSERT_EQ(pub.send("two", 0, &second), 0);
    weir_message message;
    ASSERT_EQ(plain.next(&message), 0);

    std::vector<weir_participant> all = participants();
    ASSERT_EQ(all.size(), 3u);
    for (const weir_participant &participant : all) {
        EXPECT_EQ(participant.size, sizeof(participant));
        EXPECT_EQ(participant.pid, (uint64_t)getpid());
        EXPECT_EQ(participant.state, WEIR_ALIVE);
        EXPECT_NE(participant.id, 0u);
        EXPECT_GT(participant.attached_ns, info().created_ns);
        EXPECT_EQ(participant.holds_claim, 0);
        EXPECT_EQ(participant.waiting_since_ns, 0u);
    }
    EXPECT_EQ(all[0].role, WEIR_PUBLISHER);
    EXPECT_STREQ(all[0].name, "source");
    EXPECT_EQ(all[0].position, second);
    EXPECT_EQ(all[1].role, WEIR_READER);
    EXPECT_STREQ(all[1].name, "");
    EXPECT_EQ(all[1].position, message.next);
    EXPECT_EQ(all[1].lag_bytes, info().end_position - message.next);
    EXPECT_EQ(all[1].gating, 0);
    EXPECT_EQ(all[2].role, WEIR_READER);
    EXPECT_STREQ(all[2].name, "place");
    EXPECT_EQ(all[2].position, first);
    EXPECT_EQ(all[2].gating, 1);
    EXPECT_EQ(info().reader_count, 2u);
    EXPECT_EQ(info().publisher_count, 1u);

    int calls = 0;
    EXPECT_EQ(weir_ring_participants(
                  bus_.c_str(), "ring",
                  [](void *ctx, const weir_participant *) { return ++*static_cast<int *>(ctx) == 2 ? 99 : 0; }, &calls),
              99);
    EXPECT_EQ(calls, 2);
    plain.close();
    pub.close();
    EXPECT_EQ(participants().size(), 1u);
    EXPECT_EQ(info().reader_count, 1u);
    EXPECT_EQ(info().publisher_count, 0u);
}

TEST_F(ClientRing, TellsTheStoppedAndTheDeadFromTheLiving)
{
    ASSERT_EQ(create(), 0) << weir_last_error();
    Child child([&](const Line &line) {
        Pub pub(bus_, "ring");
        Sub sub(bus_, "ring");
        line.say('r');
        line.hear();
    });
    ASSERT_EQ(child.line().hear(), 'r');
    auto lives = [&] {
        std::vector<int> lives;
        for (const weir_participant &participant : participants())
            lives.push_back(participant.state);
        return lives;
    };
    EXPECT_EQ(lives(), (std::vector<int>{WEIR_ALIVE, WEIR_ALIVE}));
    child.stop();
    EXPECT_EQ(lives(), (std::vector<int>{WEIR_STOPPED, WEIR_STOPPED}));
    child.go_on();
    child.kill_and_reap();
    EXPECT_EQ(lives(), (std::vector<int>{WEIR_DEAD, WEIR_DEAD})) << "until somebody takes their places";
    EXPECT_EQ(info().publisher_count, 0u) << "the dead are not attached";
    EXPECT_EQ(info().reader_count, 0u);
    Pub pub(bus_, "ring");
    EXPECT_EQ(pub.error, 0) << "the ring admits one publisher: " << weir_last_error();
    EXPECT_EQ(info().publisher_count, 1u);
}

TEST_F(ClientRing, AdmitsAsManyAsItWasMadeForAndTheDeadMakeRoom)
{
    ASSERT_EQ(create(RingOptions().with_users(2, 2)), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    Child child([&](const Line &line) {
        Pub another(bus_, "ring");
        Sub other(bus_, "ring");
        line.say(another.error == 0 && other.error == 0 ? 'r' : 'x');
        line.hear();
    });
    ASSERT_EQ(child.line().hear(), 'r');
    for (int round = 0; round < 3; round++) {
        EXPECT_EQ(Pub(bus_, "ring").error, -ENOSPC);
        EXPECT_TRUE(told("admits 2 publishers") && told("weir stat")) << weir_last_error();
        EXPECT_EQ(Sub(bus_, "ring").error, -ENOSPC);
        EXPECT_TRUE(told("admits 2 readers") && told("weir stat")) << weir_last_error();
    }
    child.kill_and_reap();
    Pub heir(bus_, "ring");
    EXPECT_EQ(heir.error, 0) << weir_last_error();
    Sub reader(bus_, "ring");
    EXPECT_EQ(reader.error, 0) << weir_last_error();
    EXPECT_EQ(heir.send("still whole"), 0);
    EXPECT_EQ(pub.send("for all"), 0);
    for (const Sub *each : {&sub, &reader}) {
        EXPECT_EQ(each->text(), "still whole");
        EXPECT_EQ(each->text(), "for all");
    }
    EXPECT_EQ(faults(), std::vector<std::string>());
}

/* -- errors -------------------------------------------------------------------------------------------------------- */

TEST(ClientErrors, HaveOneSentenceEach)
{
    const int documented[] = {EINVAL,    ENAMETOOLONG, EILSEQ,          ENOENT, EEXIST,   EACCES, ENOMEM, EAGAIN,
                              ETIMEDOUT, EPIPE,        EMSGSIZE,        EBUSY,  EALREADY, ENOSPC, EIDRM,  EIO,
                              EBADMSG,   EMEDIUMTYPE,  EPROTONOSUPPORT, ECHILD, EINTR,    EPERM};
    std::map<std::string, int> seen;
    for (int error : documented) {
        std::string text = weir_strerror(-error);
        EXPECT_NE(text, "");
        EXPECT_NE(text, strerrorname_np(error)) << "not in the list";
        EXPECT_TRUE(seen.emplace(text, error).second) << text << " stands for two errors";
    }
    EXPECT_STREQ(weir_strerror(-EMFILE), "Too many open files") << "others come with the system's words";
    EXPECT_STREQ(weir_strerror(-100000), "unknown error");
    EXPECT_STREQ(weir_strerror(0), "success");
    EXPECT_STREQ(weir_strerror(1), "success");
    EXPECT_STREQ(weir_version(), "0.1.0");
    EXPECT_EQ(weir_publisher_hash("a"), weir_publisher_hash("a"));
    EXPECT_NE(weir_publisher_hash("a"), weir_publisher_hash("b"));
}

TEST_F(ClientRing, KeepsTheTextOfTheLastErrorForTheThreadThatMadeIt)
{
    ASSERT_EQ(create(), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    EXPECT_EQ(weir_pub_commit(pub, 0, nullptr), -EPERM);
    EXPECT_TRUE(told("no claim is open"));
    EXPECT_EQ(sub.text(), "[EAGAIN]");
    EXPECT_FALSE(told("no claim is open")) << "an old text for a new error";
    EXPECT_EQ(weir_pub_commit(pub, 0, nullptr), -EPERM);
    EXPECT_EQ(sub.text(1 * ms), "[ETIMEDOUT]");
    EXPECT_FALSE(told("no claim is open")) << "an old text for a new error";
}

} // namespace
