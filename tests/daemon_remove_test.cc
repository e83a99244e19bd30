/* SPDX-License-Identifier: Apache-2.0 */
/* Rings that are removed: whoever removes them may die or be stopped on the way, or cross the daemon's own steps. */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing LABELS tsan TIMEOUT 300

#include "tests/daemon_support.hh"

namespace
{

class DaemonRemoveJournal : public DaemonTest
{
protected:
    /* As `weir ring rm` does it, up to the death of it. */
    void take_name_away(const std::string &ring)
    {
        std::filesystem::rename(bus_ + "/" + ring, bus_ + "/.old-0123456789abcdef");
    }
    static bool stop_for_a_while(const Weird &weird)
    {
        int status;
        ::kill(weird.pid(), SIGSTOP);
        return waitpid(weird.pid(), &status, WUNTRACED) == weird.pid() && WIFSTOPPED(status);
    }
    bool journal_stands(const std::string &ring)
    {
        return std::filesystem::exists(journal_ + "/" + ring);
    }
};

class DaemonRemove : public DaemonRemoveJournal, public testing::WithParamInterface<bool>
{
};

/* P2: the one who removes the ring dies before it says so in the ring. */
TEST_P(DaemonRemove, TellsPublishersThatTheNameIsGone)
{
    struct weir_ring_options options = small_ring();
    options.journaled = GetParam();
    create("ring", options);
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_pub *pub = publisher("ring");
    send(pub, "kept");
    uint8_t ring_id[16];
    memcpy(ring_id, info("ring").ring_id, sizeof ring_id);
    take_name_away("ring");
    EXPECT_TRUE(wait_until([&] { return weir_pub_send(pub, "x", 1, 0, nullptr) == -EIDRM; })) << weird.log();
    weir_pub_close(pub);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
    if (GetParam()) {
        std::vector<std::string> kept = data_of(journal("ring", ring_id));
        ASSERT_FALSE(kept.empty());
        EXPECT_EQ(kept[0], "kept");
    }
}

/* It saw no journal, since the daemon was about to make it; or died before it came to it. */
TEST_F(DaemonRemoveJournal, TheDaemonTakesTheJournalAwayItself)
{
    create("ring");
    create("named");
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    struct ring_control *control = map_control("ring"), *named = map_control("named");
    ASSERT_TRUE(stop_for_a_while(weird)); /* lest it be between the two, and take the first for all */
    take_name_away("ring");
    mem_store_release(&control->removed, RING_REMOVED_WITH_JOURNAL);
    ::kill(weird.pid(), SIGCONT);
    EXPECT_TRUE(wait_until([&] { return !journal_stands("ring"); })) << weird.log();
    /* Any publisher can write that word: as long as the ring has its name, its records stay. */
    mem_store_release(&named->removed, RING_REMOVED_WITH_JOURNAL);
    EXPECT_TRUE(wait_until([&] { return weird.says("ring named: removed"); })) << weird.log();
    munmap(control, RING_CONTROL_HEADER_BYTES);
    munmap(named, RING_CONTROL_HEADER_BYTES);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
    EXPECT_TRUE(journal_stands("named"));
}

/* What a daemon does between the two looks of whoever removes the ring. */
struct Crossing {
    std::string bus, journal;
    struct journal_meta meta;
};
Crossing *crossing;

void cross(const char *step)
{
    if (strcmp(step, "remove: name gone") != 0)
        return;
    int fd = open(crossing->journal.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    EXPECT_EQ(journal_create(fd, &crossing->meta), 0);
    close(fd);
    for (const auto &entry : std::filesystem::directory_iterator(crossing->bus)) {
        if (entry.path().filename().string().find(".old-") == 0)
            std::filesystem::create_symlink(crossing->journal + "/ring", entry.path() / "journal");
    }
}

TEST_F(DaemonRemoveJournal, OfWhichThereWasNoneAMomentAgoGoesToo)
{
    create("ring");
    Crossing now = {bus_, journal_, {}};
    now.meta.geometry.segment_shift = 14;
    strcpy(now.meta.identity.name, "ring");
    memcpy(now.meta.identity.ring_id, info("ring").ring_id, sizeof now.meta.identity.ring_id);
    now.meta.identity.epoch = info("ring").epoch;
    now.meta.mode = 0600;
    now.meta.uid = geteuid();
    now.meta.gid = getegid();
    crossing = &now;
    shm_point_hook = cross;
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), 0) << weir_last_error();
    shm_point_hook = nullptr;
    EXPECT_FALSE(journal_stands("ring"));
}

TEST_F(DaemonRemoveJournal, AStoppedDaemonTakesTheJournalAwayWhenItGoesOn)
{
    create("ring");
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    ASSERT_TRUE(stop_for_a_while(weird));
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), -EBUSY);
    EXPECT_NE(std::string(weir_last_error()).find("removes it when it does"), std::string::npos) << weir_last_error();
    EXPECT_TRUE(journal_stands("ring"));
    ::kill(weird.pid(), SIGCONT);
    EXPECT_TRUE(wait_until([&] { return !journal_stands("ring"); })) << weird.log();
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

/* Who may write a ring's directory can bend its link. */
TEST_F(DaemonRemoveJournal, LeavesTheJournalOfAnotherRingAlone)
{
    create("ring");
    std::string link = bus_ + "/ring/journal";
    {
        Weird weird(bus_, journal_);
        ASSERT_TRUE(weird.start()) << weird.log();
        EXPECT_EQ(weird.stop(), 0) << weird.log();
    }
    ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 1), 0) << weir_last_error();
    create("ring");
    std::filesystem::create_symlink(journal_ + "/ring", link);
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), -EMEDIUMTYPE) << weir_last_error();
    EXPECT_TRUE(journal_stands("ring"));
    EXPECT_FALSE(std::filesystem::exists(bus_ + "/ring"));
}

/* Whoever pinned it may know nothing of who removes the ring. */
TEST_F(DaemonRemoveJournal, WithPinsGoesByForceAlone)
{
    create("ring");
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_pub *pub = publisher("ring");
    EXPECT_EQ(wait_durable(pub, send(pub, "x")), 0) << weir_last_error();
    weir_pub_close(pub);
    int fd = open((journal_ + "/ring").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    auto refused = [&] {
        int r = weir_ring_remove(bus_.c_str(), "ring", 0, 0);
        return std::to_string(r == -EBUSY) + ": " + weir_last_error();
    };
    auto error = [](const std::string &names) {
        return "1: pins keep the journal of ring ring (" + names + "): unpin, keep the journal, or use force";
    };
    ASSERT_EQ(journal_pin(fd, "audit", 0, 64), 0);
    EXPECT_EQ(refused(), error("audit"));
    ASSERT_EQ(journal_pin(fd, "bills", 0, 1 << 20), 0);
    EXPECT_EQ(refused(), error("audit, bills"));
    for (char c = 'a'; c <= 'z'; c++)
        ASSERT_EQ(journal_pin(fd, std::string(64, c).c_str(), 0, 64), 0);
    EXPECT_EQ(refused(), error(std::string(64, 'a') + ", audit, " + std::string(64, 'b') + ", bills, " +
                               std::string(64, 'c') + " and 23 more"));

    pub = publisher("ring"); /* nothing of it has gone */
    EXPECT_EQ(wait_durable(pub, send(pub, "y")), 0) << weir_last_error();
    weir_pub_close(pub);
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 1), 0) << "the journal stays: " << weir_last_error();
    EXPECT_TRUE(wait_until([&] { return weird.says("ring ring: removed"); })) << weird.log();
    EXPECT_EQ(weird.stop(), 0) << weird.log();
    ASSERT_TRUE(weird.start()) << weird.log();
    ASSERT_NE(info("ring").size, 0u);
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), -EBUSY);

    int pins_fd = openat(fd, "pins", O_WRONLY | O_CLOEXEC); /* damaged: any range may have been pinned */
    EXPECT_EQ(pwrite(pins_fd, "x", 1, 40), 1);
    close(pins_fd);
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), -EBADMSG);
    EXPECT_NE(std::string(weir_last_error()).find("the pins of the journal of ring ring cannot be read"),
              std::string::npos)
        << weir_last_error();
    ASSERT_EQ(journal_unpin(fd, nullptr), 0);
    ASSERT_EQ(journal_pin(fd, "audit", 0, 64), 0);
    EXPECT_EQ(refused(), error("audit"));
    close(fd);
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0) << weir_last_error();
    EXPECT_FALSE(journal_stands("ring"));
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

INSTANTIATE_TEST_SUITE_P(Rings, DaemonRemove, testing::Values(true, false),
                         [](const testing::TestParamInfo<bool> &kind) { return kind.param ? "Journaled" : "Memory"; });

} // namespace
