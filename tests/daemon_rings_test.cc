/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon itself, and the rings that come, go, make no sense, or are taken away under it. */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing LABELS tsan TIMEOUT 300

#include "tests/daemon_support.hh"

#include <sys/resource.h>

namespace
{

using DaemonRings = DaemonTest;

int run_weird(const std::vector<std::string> &options, std::string *ret_output)
{
    std::string command = environment("WEIR_BIN") + "/weird_testing";
    for (const std::string &option : options)
        command += " '" + option + "'";
    command += " 2>&1";
    FILE *pipe = popen(command.c_str(), "r");
    char buffer[4096];
    ret_output->clear();
    for (size_t bytes; (bytes = fread(buffer, 1, sizeof buffer, pipe)) > 0;)
        ret_output->append(buffer, bytes);
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(DaemonRings, CommandLineAnswersEachMistake)
{
    std::string output;
    EXPECT_EQ(run_weird({"--help"}, &output), 0);
    EXPECT_NE(output.find("--journal DIR"), std::string::npos);
    EXPECT_EQ(run_weird({"--version"}, &output), 0);
    EXPECT_EQ(output, "weird " + std::string(weir_version()) + "\n");
    const std::vector<std::vector<std::string>> mistakes = {
        {"--colour"},        {"--bus"},     {"extra"}, {"--threads", "0"}, {"--threads", "65"}, {"--threads", "x"},
        {"--threads", "-1"}, {"--bus", ""}, {"-z"}};
    for (const std::vector<std::string> &mistake : mistakes) {
        EXPECT_EQ(run_weird(mistake, &output), 2) << mistake[0];
        EXPECT_NE(output.find("Try 'weird --help'"), std::string::npos) << output;
    }
    EXPECT_EQ(run_weird({"-ab"}, &output), 2);
    EXPECT_EQ(output.find("weird: unknown option: -a\n"), 0u) << output;
    EXPECT_EQ(run_weird({"--verbose=yes"}, &output), 2);
    EXPECT_NE(output.find("--verbose=yes"), std::string::npos) << output;
    EXPECT_EQ(run_weird({"--bus", "/proc/no/such", "--journal", journal_}, &output), 1);
    EXPECT_EQ(run_weird({"--bus", bus_, "--journal", "/proc/no/such"}, &output), 1);
    EXPECT_NE(output.find("/proc/no/such"), std::string::npos) << output;
}

TEST_F(DaemonRings, TellsJournaldThePriorityOfALine)
{
    std::string output;
    setenv("JOURNAL_STREAM", "8:1234", 1);
    EXPECT_EQ(run_weird({"--bus", bus_, "--journal", "/proc/no/such"}, &output), 1);
    unsetenv("JOURNAL_STREAM");
    EXPECT_EQ(output.rfind("<3>", 0), 0u) << output;
    EXPECT_EQ(run_weird({"--bus", bus_, "--journal", "/proc/no/such"}, &output), 1);
    EXPECT_EQ(output.rfind("weird: ", 0), 0u) << output;
}

TEST_F(DaemonRings, ASecondDaemonIsToldWhoHasTheBus)
{
    Weird first(bus_, journal_), second(bus_, journal_ + "2");
    ASSERT_TRUE(first.start()) << first.log();
    EXPECT_FALSE(second.start());
    EXPECT_EQ(second.wait(), 1);
    EXPECT_TRUE(second.says("pid " + std::to_string(first.pid()))) << second.log();
    EXPECT_TRUE(second.says(journal_)) << second.log();
    EXPECT_TRUE(first.runs());
    EXPECT_EQ(first.stop(), 0);
    Weird third(bus_, journal_);
    EXPECT_TRUE(third.start()) << third.log();
    EXPECT_EQ(third.stop(), 0);
}

TEST_F(DaemonRings, ASecondBusIsToldWhoHasTheJournalDirectory)
{
    std::string other_bus = bus_ + "-other";
    std::filesystem::create_directories(other_bus);
    Weird first(bus_, journal_), second(other_bus, journal_);
    create("ring");
    ASSERT_TRUE(first.start()) << first.log();
    EXPECT_FALSE(second.start());
    EXPECT_EQ(second.wait(), 1);
    EXPECT_TRUE(second.says("pid " + std::to_string(first.pid()) + ", bus " + bus_ + ".")) << second.log();
    EXPECT_TRUE(second.says("The bus " + other_bus + " needs a directory of its own: give --journal DIR"))
        << second.log();
    EXPECT_TRUE(first.runs());
    struct weir_pub *pub = publisher("ring");
    EXPECT_EQ(wait_durable(pub, send(pub, "still served")), 0) << weir_last_error();
    weir_pub_close(pub);

    /* However the first one ends, the directory is free then; what is in it is looked at ring by ring. */
    first.kill();
    Weird third(other_bus, journal_);
    EXPECT_TRUE(third.start()) << third.log();
    EXPECT_EQ(third.stop(), 0);
    std::filesystem::remove_all(other_bus);
}

/* Whoever is killed keeps its locks a moment longer, as the test does here. */
TEST_F(DaemonRings, WaitsAMomentForOneThatIsDying)
{
    int fd = open((bus_ + "/.weird").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    ASSERT_EQ(fcntl(fd, F_OFD_SETLK, &lock), 0);
    Weird weird(bus_, journal_);
    weird.launch();
    usleep(100000);
    close(fd);
    EXPECT_TRUE(wait_until([&] { return weird.says("serving the bus") || !weird.runs(); }));
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

/* Its lock files' text is for people. */
TEST_F(DaemonRings, StartsWhereItCannotWriteWhoItIs)
{
    int pipes[2];
    ASSERT_EQ(pipe2(pipes, O_CLOEXEC), 0);
    Child child([&] {
        struct rlimit none = {0, 0};
        std::string program = environment("WEIR_BIN") + "/weird_testing";
        signal(SIGXFSZ, SIG_IGN);
        unsetenv("NOTIFY_SOCKET");
        if (dup2(pipes[1], STDERR_FILENO) < 0 || setrlimit(RLIMIT_FSIZE, &none) != 0)
            _exit(126);
        execl(program.c_str(), program.c_str(), "--bus", bus_.c_str(), "--journal", journal_.c_str(), nullptr);
        _exit(127);
    });
    close(pipes[1]);
    std::string said;
    char buffer[4096];
    for (ssize_t bytes;
         said.find("serving the bus") == std::string::npos && (bytes = read(pipes[0], buffer, sizeof buffer)) > 0;)
        said.append(buffer, (size_t)bytes);
    EXPECT_NE(said.find("warning: cannot write into " + bus_ + "/.weird"), std::string::npos) << said;
    ::kill(child.pid(), SIGTERM);
    EXPECT_EQ(child.wait(), 0) << said;
    close(pipes[0]);
}

TEST_F(DaemonRings, MakesItsDirectoriesAndStopsOnEachSignal)
{
    for (int signal : {SIGTERM, SIGINT, SIGHUP}) {
        std::filesystem::remove_all(bus_);
        std::filesystem::remove_all(journal_);
        Weird weird(bus_, journal_);
        ASSERT_TRUE(weird.start()) << weird.log();
        EXPECT_TRUE(std::filesystem::is_directory(bus_));
        EXPECT_TRUE(std::filesystem::is_directory(journal_));
        ::kill(weird.pid(), signal);
        EXPECT_EQ(weird.wait(), 0) << signal;
    }
}

/* nohup(1) has SIGHUP ignored; it stays so. */
TEST_F(DaemonRings, GoesOnWithoutATerminalWhereItIsToldTo)
{
    struct sigaction ignore = {}, before;
    ignore.sa_handler = SIG_IGN;
    ASSERT_EQ(sigaction(SIGHUP, &ignore, &before), 0);
    Weird weird(bus_, journal_);
    bool started = weird.start();
    sigaction(SIGHUP, &before, nullptr);
    ASSERT_TRUE(started) << weird.log();
    ::kill(weird.pid(), SIGHUP);
    create("ring");
    struct weir_pub *pub = publisher("ring");
    EXPECT_EQ(wait_durable(pub, send(pub, "still here")), 0) << weir_last_error();
    weir_pub_close(pub);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

TEST_F(DaemonRings, WarnsWhereSubscribersOfOthersCouldNotReadTheJournal)
{
    std::filesystem::permissions(journal_, std::filesystem::perms::owner_all);
    struct weir_ring_options shared = small_ring();
    shared.mode = 0644;
    create("mine");
    create("ours", shared);
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_EQ(weird.times_said("ring ours: its mode 0644 lets others subscribe"), 1u) << weird.log();
    EXPECT_EQ(weird.times_said("lets others subscribe"), 1u) << weird.log();
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

TEST_F(DaemonRings, ChoosesItsJournalDirectoryItself)
{
    if (access("/var/lib/weir", W_OK) == 0)
        GTEST_SKIP() << "/var/lib/weir is in use here";
    std::string home = journal_ + "-home";
    std::filesystem::create_directories(home);
    auto run = [this](const std::string &variable, const std::string &value, const std::string &expected) {
        Child child([&] {
            unsetenv("XDG_STATE_HOME");
            unsetenv("NOTIFY_SOCKET");
            setenv(variable.c_str(), value.c_str(), 1);
            std::string program = environment("WEIR_BIN") + "/weird_testing";
            if (!freopen((journal_ + ".log").c_str(), "w", stderr))
                _exit(126);
            execl(program.c_str(), program.c_str(), "--bus", bus_.c_str(), nullptr);
            _exit(127);
        });
        EXPECT_TRUE(wait_until([&] { return Weird(bus_, journal_).says("journals in " + expected + "\n"); }));
        EXPECT_TRUE(std::filesystem::is_directory(expected));
        ::kill(child.pid(), SIGTERM);
        EXPECT_EQ(child.wait(), 0);
    };
    run("HOME", home, home + "/.local/state/weir");
    run("XDG_STATE_HOME", home + "/state", home + "/state/weir");
}

TEST_F(DaemonRings, EndsWhenTheBusIsTakenAway)
{
    Weird weird(bus_, journal_);
    create("ring");
    ASSERT_TRUE(weird.start()) << weird.log();
    std::filesystem::remove_all(bus_);
    EXPECT_EQ(weird.wait(), 1);
    EXPECT_TRUE(weird.says("was taken away")) << weird.log();
}

TEST_F(DaemonRings, ServesARingThatIsMadeWhileItRuns)
{
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    for (int i = 0; i < 5; i++) {
        std::string ring = "ring" + std::to_string(i);
        create(ring);
        struct weir_pub *pub = publisher(ring);
        EXPECT_EQ(wait_durable(pub, send(pub, ring)), 0) << weir_last_error();
        EXPECT_EQ(std::filesystem::read_symlink(bus_ + "/" + ring + "/journal"),
                  std::filesystem::canonical(journal_) / ring);
        weir_pub_close(pub);
    }
}

TEST_F(DaemonRings, LetsGoOfARingThatIsRemovedAndTakesTheNextOfThatName)
{
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    for (int i = 0; i < 5; i++) {
        create("ring");
        struct weir_pub *pub = publisher("ring");
        EXPECT_EQ(wait_durable(pub, send(pub, "record " + std::to_string(i))), 0) << weir_last_error();
        EXPECT_EQ(data_of(journal("ring", info("ring").ring_id)),
                  std::vector<std::string>{"record " + std::to_string(i)});
        weir_pub_close(pub);
        /* The daemon holds the journal until it has noticed. */
        int fd = open(bus_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_EQ(shm_remove(fd, "ring", nullptr), 0);
        close(fd);
        fd = open(journal_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_TRUE(wait_until([&] { return journal_remove(fd, "ring", nullptr) == 0; })) << weird.log();
        close(fd);
    }
    /* Nothing of it is kept: descriptors and mappings are those of a daemon without rings. */
    EXPECT_TRUE(wait_until([&] {
        std::ifstream maps("/proc/" + std::to_string(weird.pid()) + "/maps");
        for (std::string line; std::getline(maps, line);) {
            if (line.find(bus_) != std::string::npos)
                return false;
        }
        return true;
    }));
    EXPECT_TRUE(weird.runs());
    EXPECT_FALSE(weird.says("stays there until")) << weird.log();
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

TEST_F(DaemonRings, ARingThatIsRemovedWithItsJournalLeavesRoomForTheNextOfThatName)
{
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    for (int i = 0; i < 20; i++) {
        create("ring");
        struct weir_pub *pub = publisher("ring");
        uint64_t last = send(pub, "record " + std::to_string(i));
        EXPECT_EQ(wait_durable(pub, last), 0) << weir_last_error() << weird.log();
        /* Much that is not drained yet: nobody waits for it, since it goes too. */
        for (int j = 0; j < 100; j++)
            send(pub, std::string(1000, 'x'));
        weir_pub_close(pub);
        ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), 0) << weir_last_error() << weird.log();
        ASSERT_FALSE(std::filesystem::exists(journal_ + "/ring"));
    }
    EXPECT_FALSE(weird.says("is not drained")) << weird.log();
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

TEST_F(DaemonRings, WritesWhatIsInMemoryWhenARingGoesAndItsJournalStays)
{
    Weird weird(bus_, journal_);
    create("ring");
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_ring_info now = info("ring");
    struct weir_pub *pub = publisher("ring");
    std::vector<std::string> sent;
    for (int i = 0; i < 200; i++) {
        sent.push_back("record " + std::to_string(i));
        send(pub, sent.back());
    }
    int fd = open(bus_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT_EQ(shm_remove(fd, "ring", nullptr), 0);
    close(fd);
    EXPECT_TRUE(wait_until([&] { return weird.says("ring ring: removed"); }));
    EXPECT_EQ(weird.stop(), 0);
    EXPECT_EQ(data_of(journal("ring", now.ring_id)), sent);
    weir_pub_close(pub);
}

/* Holds the drain of the ring "busy" in its write. */
struct Hold {
    struct mem_u64 armed, held, released;
};

int64_t hold_io(void *ctx, const struct jio_event *event)
{
    Hold *hold = static_cast<Hold *>(ctx);
    std::string link = "/proc/self/fd/" + std::to_string(event->fd);
    if (event->call != JIO_WRITE || mem_load_acquire(&hold->armed) == 0 ||
        std::filesystem::read_symlink(link).parent_path().filename() != "busy")
        return 0;
    mem_store_release_(&hold->held, 1);
    wait_until([&] { return mem_load_acquire(&hold->released) != 0; });
    return 0;
}

TEST_F(DaemonRings, WritesWhatIsInMemoryOfARingThatCameAndWentWhileItsThreadWasBusy)
{
    Hold hold = {};
    struct jio_hooks hooks = {hold_io, nullptr, &hold};
    auto is_bound = [this](const char *ring) {
        return wait_until([&] { return std::filesystem::exists(journal_ + "/" + ring); });
    };
    create("busy");
    std::vector<std::string> sent;
    struct weir_ring_info brief;
    jio_hooks = &hooks;
    {
        Embedded weird(bus_, journal_);
        ASSERT_EQ(weird.error, 0) << weird.why.text;
        struct weir_pub *pub = publisher("busy");
        ASSERT_EQ(wait_durable(pub, send(pub, "one")), 0) << weir_last_error();
        mem_store_release_(&hold.armed, 1);
        send(pub, "two");
        weir_pub_close(pub);
        ASSERT_TRUE(wait_until([&] { return mem_load_acquire(&hold.held) != 0; }));

        create("brief");
        brief = info("brief");
        ASSERT_TRUE(is_bound("brief"));
        pub = publisher("brief");
        for (int i = 0; i < 10; i++) {
            sent.push_back("record " + std::to_string(i));
            send(pub, sent.back());
        }
        weir_pub_close(pub);
        create("behind"); /* it is bound by the same thread, after the others */
        ASSERT_TRUE(is_bound("behind"));
        int fd = open(bus_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_EQ(shm_remove(fd, "brief", nullptr), 0);
        close(fd);
        create("last");
        ASSERT_TRUE(is_bound("last")) << "by now the removal was seen";
        mem_store_release_(&hold.released, 1);
    }
    jio_hooks = nullptr;
    EXPECT_EQ(data_of(journal("brief", brief.ring_id)), sent);
}

TEST_F(DaemonRings, SkipsWhatMakesNoSenseAndServesTheOthers)
{
    create("good");
    create("headless");
    create("torn");
    create("foreign");
    create("other-name");
    std::filesystem::create_directory(bus_ + "/empty");
    std::ofstream(bus_ + "/file") << "no directory";
    std::ofstream(bus_ + "/headless/control", std::ios::in | std::ios::out | std::ios::binary) << "WEIR?";
    std::filesystem::resize_file(bus_ + "/torn/data", 4096);
    {
        std::fstream control(bus_ + "/foreign/control", std::ios::in | std::ios::out | std::ios::binary);
        uint32_t version = 999;
        control.seekp(offsetof(struct ring_control, layout_version));
        control.write((const char *)&version, sizeof version);
    }
    std::filesystem::rename(bus_ + "/other-name", bus_ + "/renamed");
    std::filesystem::create_directory(bus_ + "/noise");
    for (const char *name : {"control", "readers", "data", "locks", "locks.readers"}) {
        std::ofstream file(bus_ + "/noise/" + name, std::ios::binary);
        for (int i = 0; i < 40000; i++)
            file.put((char)(i * 7919 >> 3));
    }

    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_pub *pub = publisher("good");
    EXPECT_EQ(wait_durable(pub, send(pub, "fine")), 0) << weir_last_error();
    weir_pub_close(pub);
    for (const char *name : {"empty", "file", "headless", "torn", "foreign", "renamed", "noise"})
        EXPECT_EQ(weird.times_said("ring " + std::string(name) + " is not served"), 1u) << name << "\n" << weird.log();

    /* Said once, though it looks every second; said again when it changes. */
    std::string before = weird.log();
    create("later");
    std::filesystem::resize_file(bus_ + "/torn/data", 8192);
    EXPECT_TRUE(wait_until([&] { return weird.times_said("ring torn is not served") == 2; })) << weird.log();
    EXPECT_EQ(weird.times_said("ring noise is not served"), 1u) << weird.log();
    EXPECT_EQ(weird.stop(), 0);
}

/* P7: somebody who may publish cuts a file short under the daemon. */
class DaemonQuarantine : public DaemonTest, public testing::WithParamInterface<const char *>
{
};

TEST_P(DaemonQuarantine, TakesTheRingOutAndServesTheOthers)
{
    create("good");
    create("cut");
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_pub *good = publisher("good");
    std::string bus = bus_, path = bus_ + "/cut/" + GetParam();
    struct weir_pub *cut = publisher("cut");
    EXPECT_EQ(wait_durable(cut, send(cut, "safe")), 0) << weir_last_error();
    EXPECT_EQ(wait_durable(good, send(good, "fine")), 0) << weir_last_error();
    uint8_t ring_id[16];
    memcpy(ring_id, info("cut").ring_id, sizeof ring_id);
    ASSERT_EQ(truncate(path.c_str(), 0), 0);
    EXPECT_TRUE(wait_until([&] { return weird.says("ring cut is not served: its files were cut short"); }))
        << weird.log();
    EXPECT_EQ(wait_durable(good, send(good, "still fine")), 0) << weir_last_error();
    create("late");
    struct weir_pub *late = publisher("late");
    EXPECT_EQ(wait_durable(late, send(late, "fine too")), 0) << weir_last_error();
    EXPECT_TRUE(weird.runs());
    EXPECT_EQ(data_of(journal("cut", ring_id)), std::vector<std::string>{"safe"});
    if (GetParam() != std::string("control")) {
        struct ring_control *control = map_control("cut");
        EXPECT_EQ(mem_load_acquire(&control->journal_error), (uint64_t)EFAULT) << "publishers are told";
        munmap(control, RING_CONTROL_HEADER_BYTES);
    }

    /* Made anew, it is served. */
    int fd = open(bus_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT_EQ(shm_remove(fd, "cut", nullptr), 0);
    close(fd);
    std::filesystem::remove_all(journal_ + "/cut");
    create("cut");
    struct weir_pub *anew = publisher("cut");
    EXPECT_EQ(wait_durable(anew, send(anew, "anew")), 0) << weir_last_error() << weird.log();
    EXPECT_EQ(weird.stop(), 0) << weird.log();
    weir_pub_close(anew);
    weir_pub_close(late);
    weir_pub_close(good);
    /* Its own publisher may die of the cut (the threat model says so): left in a child. */
    Child child([cut] { weir_pub_close(cut); });
    child.wait();
}

INSTANTIATE_TEST_SUITE_P(Files, DaemonQuarantine, testing::Values("control", "data", "readers"));

TEST_F(DaemonRings, RefusesTheJournalOfAnotherRingUntilItIsMovedAway)
{
    create("ring");
    {
        Weird weird(bus_, journal_);
        ASSERT_TRUE(weird.start()) << weird.log();
        struct weir_pub *pub = publisher("ring");
        EXPECT_EQ(wait_durable(pub, send(pub, "old")), 0);
        weir_pub_close(pub);
        EXPECT_EQ(weird.stop(), 0);
    }
    std::filesystem::remove_all(bus_ + "/ring");
    create("ring");
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_TRUE(wait_until([&] { return weird.says("is the journal of another ring"); })) << weird.log();
    struct weir_pub *pub = publisher("ring");
    uint64_t position = send(pub, "new");
    EXPECT_EQ(weir_pub_wait(pub, position, WEIR_DURABLE, 1000000000), -EIO) << weir_last_error();
    std::filesystem::rename(journal_ + "/ring", journal_ + "/moved");
    EXPECT_TRUE(durable_reaches("ring", position + 1)) << weird.log();
    EXPECT_EQ(info("ring").journal_error, 0);
    EXPECT_EQ(weird.times_said("is the journal of another ring"), 1u) << weird.log();
    weir_pub_close(pub);
}

TEST_F(DaemonRings, RefusesADirectoryThatLacksWhatIsDurable)
{
    create("ring");
    {
        Weird weird(bus_, journal_);
        ASSERT_TRUE(weird.start()) << weird.log();
        struct weir_pub *pub = publisher("ring");
        EXPECT_EQ(wait_durable(pub, send(pub, "old")), 0);
        weir_pub_close(pub);
        EXPECT_EQ(weird.stop(), 0);
    }
    uint64_t durable = info("ring").durable;
    Weird other(bus_, journal_ + "-other");
    ASSERT_TRUE(other.start()) << other.log();
    EXPECT_TRUE(wait_until([&] { return other.says("wrong journal directory"); })) << other.log();
    EXPECT_FALSE(std::filesystem::exists(journal_ + "-other/ring"));
    EXPECT_EQ(info("ring").durable, durable);
    EXPECT_EQ(other.stop(), 0);
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_pub *pub = publisher("ring");
    EXPECT_EQ(wait_durable(pub, send(pub, "new")), 0) << weir_last_error() << weird.log();
    EXPECT_EQ(data_of(journal("ring", info("ring").ring_id)), (std::vector<std::string>{"old", "new"}));
    weir_pub_close(pub);
}

TEST_F(DaemonRings, LeavesMemoryOnlyRingsUndrained)
{
    struct weir_ring_options options = small_ring();
    options.journaled = 0;
    create("memory", options);
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_EQ(info("memory").daemon_alive, 1);
    struct weir_pub *pub = publisher("memory");
    send(pub, "here");
    EXPECT_EQ(weird.stop(), 0);
    EXPECT_FALSE(std::filesystem::exists(journal_ + "/memory"));
    EXPECT_EQ(info("memory").daemon_alive, 0);
    weir_pub_close(pub);
}

} // namespace
