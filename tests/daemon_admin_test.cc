/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's socket: who may ask what, and whoever asks badly, slowly or much hurts nobody. */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing TIMEOUT 300 LABELS tsan

#include "tests/daemon_support.hh"

#include <memory>

namespace
{

constexpr uid_t nobody = 65534;

/* A connection to the socket of the bus that is the working directory, or of a bus. */
class Connection
{
public:
    explicit Connection(const std::string &bus = ".")
    {
        struct sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        int bus_fd = open(bus.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (bus == ".")
            snprintf(address.sun_path, sizeof address.sun_path, ".weird.sock");
        else
            snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/.weird.sock", bus_fd);
        fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        connected = connect(fd_, (struct sockaddr *)&address, sizeof address) == 0;
        close(bus_fd);
    }
    Connection(const Connection &) = delete;
    Connection &operator=(const Connection &) = delete;
    ~Connection()
    {
        close(fd_);
    }
    bool put(const std::string &bytes) const
    {
        return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == (ssize_t)bytes.size();
    }
    /* All, up to the end of the connection; "?" behind it at the deadline. */
    std::string rest() const
    {
        std::string all;
        char buffer[4096];
        for (;;) {
            struct pollfd polled = {fd_, POLLIN, 0};
            if (poll(&polled, 1, deadline_ms) != 1)
                return all + "?";
            ssize_t bytes = recv(fd_, buffer, sizeof buffer, 0);
            if (bytes <= 0)
                return all;
            all.append(buffer, (size_t)bytes);
        }
    }
    /* Up to the line `end`. */
    std::string answer() const
    {
        std::string all;
        for (char c; all.size() < 4 || all.compare(all.size() - 4, 4, "end\n") != 0; all += c) {
            struct pollfd polled = {fd_, POLLIN, 0};
            if (poll(&polled, 1, deadline_ms) != 1 || recv(fd_, &c, 1, 0) != 1)
                return all + "?";
        }
        return all;
    }
    bool closed() const
    {
        char byte;
        return recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
    }
    bool connected = false;

private:
    int fd_ = -1;
};

class DaemonAdmin : public DaemonTest
{
protected:
    void SetUp() override
    {
        DaemonTest::SetUp();
        std::filesystem::permissions(bus_, std::filesystem::perms(0711));
    }
    std::string ask(const std::string &request) const
    {
        Connection connection(bus_);
        return connection.connected && connection.put(request) ? connection.rest() : "(no connection)";
    }
    static std::string value(const std::string &answer, const std::string &name)
    {
        size_t at = answer.find("\n" + name + " ");
        if (at == std::string::npos)
            return "(missing)";
        at += name.size() + 2;
        return answer.substr(at, answer.find('\n', at) - at);
    }
    /* In a child that is nobody, in the bus: the exit status of the body. */
    int as_nobody(const std::function<int()> &body)
    {
        Child child([&] {
            if (chdir(bus_.c_str()) != 0 || setgid(nobody) != 0 || setuid(nobody) != 0)
                _exit(126);
            _exit(body());
        });
        return child.wait();
    }
    std::string file() const
    {
        return journal_ + ".conf";
    }
};

TEST_F(DaemonAdmin, StatusTellsWhoServesAndByWhichPolicies)
{
    std::ofstream(file()) << "[journal]\nlimit = 1GiB\nhigh_watermark = 80\nlow_watermark = 70\n"
                             "[ring o*]\nsync = interval 50\nretain_bytes = 1MiB\nretain_age = 2s\nlimit = 2MiB\n"
                             "when_limited = expire\nkeep_unread = yes\n[ring t*]\nquota_messages = 500\n";
    Weird weird(bus_, journal_);
    weird.more_options = {"--config", file()};
    ASSERT_TRUE(weird.start()) << weird.log();
    create("orders");
    create("bills");
    struct weir_ring_options memory_only = small_ring();
    memory_only.journaled = 0;
    create("telemetry", memory_only);
    std::string answer;
    EXPECT_TRUE(wait_until([&] {
        answer = ask("status\n");
        return value(answer, "ring telemetry") != "(missing)" && value(answer, "ring orders") != "(missing)" &&
               value(answer, "ring bills") != "(missing)";
    })) << answer;
    EXPECT_EQ(answer.rfind("ok\n", 0), 0u) << answer;
    EXPECT_EQ(answer.substr(answer.size() - 5), "\nend\n");
    EXPECT_EQ(value(answer, "version"), weir_version());
    EXPECT_EQ(value(answer, "pid"), std::to_string(weird.pid()));
    EXPECT_EQ(value(answer, "uid"), std::to_string(geteuid()));
    EXPECT_EQ(value(answer, "bus"), bus_);
    EXPECT_EQ(value(answer, "journal"), journal_);
    EXPECT_EQ(value(answer, "config"), file());
    EXPECT_EQ(value(answer, "verbose"), "yes");
    EXPECT_EQ(value(answer, "limit_bytes"), "1073741824");
    EXPECT_EQ(value(answer, "reserve_bytes"), "67108864");
    EXPECT_EQ(value(answer, "high_watermark_percent"), "80");
    EXPECT_EQ(value(answer, "low_watermark_percent"), "70");
    EXPECT_EQ(value(answer, "ring orders"), "quota_messages_per_second=0 quota_bytes_per_second=0 quota_burst_ms=100 "
                                            "journaled=yes sync=interval sync_interval_ms=50 retain_bytes=1048576 "
                                            "retain_age_ms=2000 limit_bytes=2097152 when_limited=expire "
                                            "keep_unread=yes");
    EXPECT_EQ(value(answer, "ring bills"), "quota_messages_per_second=0 quota_bytes_per_second=0 quota_burst_ms=100 "
                                           "journaled=yes sync=always sync_interval_ms=0 retain_bytes=0 "
                                           "retain_age_ms=0 limit_bytes=0 when_limited=block keep_unread=no");
    EXPECT_EQ(value(answer, "ring telemetry"),
              "quota_messages_per_second=500 quota_bytes_per_second=0 quota_burst_ms=100 journaled=no");
    EXPECT_LT(answer.find("ring bills"), answer.find("ring orders")) << "in the order of their names";
    EXPECT_EQ(weird.stop(), 0);
    EXPECT_FALSE(std::filesystem::exists(bus_ + "/.weird.sock")) << "it goes with the daemon";
}

TEST_F(DaemonAdmin, WhatIsReloadedHoldsAtOnceAndWhatIsWrongIsAnswered)
{
    std::ofstream(file()) << "[ring]\nretain_bytes = 1MiB\n";
    create("ring");
    Weird weird(bus_, journal_);
    weird.more_options = {"--config", file()};
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_NE(ask("status\n").find(" retain_bytes=1048576 "), std::string::npos);
    std::ofstream(file()) << "[weird]\nthreads = 2\n[ring]\nretain_bytes = 2MiB\n";
    EXPECT_EQ(ask("reload\n"), "ok\nnote threads = 2 needs a restart: it stays 1 until then\nend\n");
    EXPECT_NE(ask("status\n").find(" retain_bytes=2097152 "), std::string::npos);
    std::ofstream(file()) << "[ring]\nretain_bytes = much\n";
    EXPECT_EQ(ask("reload\n"), "error the configuration was refused, and stays as it was\nnote " + file() +
                                   ":2: retain_bytes = much: allowed is none, or 4KiB to 1024TiB (k M G T, KiB MiB GiB "
                                   "TiB)\nend\n");
    EXPECT_NE(ask("status\n").find(" retain_bytes=2097152 "), std::string::npos);
    EXPECT_EQ(ask("verbose off\n"), "ok\nend\n");
    EXPECT_EQ(value(ask("status\n"), "verbose"), "no");
    EXPECT_EQ(ask("verbose on\n"), "ok\nend\n");
    EXPECT_EQ(value(ask("status\n"), "verbose"), "yes");
    EXPECT_EQ(weird.stop(), 0);
}

TEST_F(DaemonAdmin, WithoutAFileThereIsNothingToReload)
{
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_EQ(ask("reload\n"),
              "error it was started without a configuration file: there is nothing to read again\nend\n");
    EXPECT_EQ(value(ask("status\n"), "config"), "(missing)");
    EXPECT_EQ(weird.stop(), 0);
}

TEST_F(DaemonAdmin, WhoAsksForTheEndHearsOfItWhenAllIsDrained)
{
    create("ring");
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    struct weir_pub *pub = publisher("ring");
    uint64_t position = 0;
    for (int i = 0; i < 100; i++)
        position = send(pub, "x");
    EXPECT_EQ(ask("stop\n"), "ok\nend\n");
    EXPECT_GT(info("ring").durable, position);
    weir_pub_close(pub);
    EXPECT_EQ(weird.wait(), 0) << weird.log();
    EXPECT_TRUE(weird.says("stopped")) << weird.log();
}

TEST_F(DaemonAdmin, OthersMayAskButChangeNothing)
{
    if (geteuid() != 0)
        GTEST_SKIP() << "only root can be somebody else";
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_EQ(as_nobody([&] {
                  Connection connection;
                  return connection.connected && connection.put("status\n") &&
                                 value(connection.rest(), "pid") == std::to_string(weird.pid())
                             ? 0
                             : 1;
              }),
              0);
    for (const char *request : {"stop", "reload", "verbose off"}) {
        EXPECT_EQ(as_nobody([&] {
                      Connection connection;
                      std::string expected = std::string("error ") + request + " is for root and uid 0 alone\nend\n";
                      return connection.connected && connection.put(std::string(request) + "\n") &&
                                     connection.rest() == expected
                                 ? 0
                                 : 1;
                  }),
                  0)
            << request;
    }
    EXPECT_EQ(value(ask("status\n"), "verbose"), "yes");
    EXPECT_TRUE(weird.runs());
    EXPECT_EQ(weird.stop(), 0);
}

TEST_F(DaemonAdmin, WhatIsNoRequestIsRefusedAndHalfOfOneIsNone)
{
    const std::string unknown = "error unknown request: there are status, reload, verbose on|off, stop\nend\n";
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    for (const std::string &request :
         {std::string("\n"), std::string("stop now\n"), std::string("STATUS\n"), std::string("status \n"),
          std::string("stop\0\n", 6), std::string("\0\0\0\n", 4), std::string("stop\r\n"), std::string("\xff\xfe\n"),
          std::string(255, 's') + "\n", std::string(256, 's'), std::string(5000, 's')}) {
        EXPECT_EQ(ask(request).substr(0, unknown.size()), unknown) << request.size();
    }
    for (const std::string &half : {std::string(""), std::string("sto"), std::string("stop")}) {
        Connection connection(bus_);
        ASSERT_TRUE(connection.connected);
        EXPECT_TRUE(connection.put(half));
    }
    {
        Connection connection(bus_); /* in pieces, and with more behind it than was asked */
        for (char c : std::string("status"))
            EXPECT_TRUE(connection.put(std::string(1, c)));
        EXPECT_TRUE(connection.put("\nstop\n"));
        EXPECT_EQ(connection.rest().rfind("ok\nversion ", 0), 0u);
    }
    EXPECT_EQ(ask("status\n").rfind("ok\n", 0), 0u);
    EXPECT_TRUE(weird.runs());
    EXPECT_EQ(weird.stop(), 0);
}

TEST_F(DaemonAdmin, WhoSaysNothingIsLetGoAndTooManyAreTurnedAway)
{
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    std::vector<std::unique_ptr<Connection>> idle;
    for (int i = 0; i < 8; i++) {
        idle.push_back(std::make_unique<Connection>(bus_));
        ASSERT_TRUE(idle.back()->connected);
    }
    EXPECT_EQ(Connection(bus_).rest(), "error too many others ask\nend\n");
    idle.pop_back();
    EXPECT_TRUE(wait_until([&] { return ask("status\n").rfind("ok\n", 0) == 0; }));
    for (const auto &connection : idle)
        EXPECT_EQ(connection->rest(), "") << "closed, without a word";
    EXPECT_EQ(ask("status\n").rfind("ok\n", 0), 0u);

    /* Hundreds one after the other, of which nobody waits for the answer. */
    for (int i = 0; i < 300; i++)
        Connection(bus_).put(i % 2 ? "status\n" : "stat");
    EXPECT_TRUE(wait_until([&] { return ask("status\n").rfind("ok\n", 0) == 0; }));
    EXPECT_EQ(weird.stop(), 0);
}

TEST_F(DaemonAdmin, WhoMayChangeNothingGivesWayToWhoMay)
{
    if (geteuid() != 0)
        GTEST_SKIP() << "only root can be somebody else";
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    Shared *shared = shared_page();
    Child flood([&] {
        if (chdir(bus_.c_str()) != 0 || setgid(nobody) != 0 || setuid(nobody) != 0)
            _exit(126);
        std::unique_ptr<Connection> all[8];
        for (;;) {
            for (auto &connection : all) { /* whose is taken away comes again, for ever */
                if (!connection || connection->closed())
                    connection = std::make_unique<Connection>();
            }
            mem_add(&shared->words[0], 1);
            usleep(1000);
        }
    });
    ASSERT_TRUE(wait_until([&] { return mem_load_acquire(&shared->words[0]) > 1; }));
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(ask("status\n").rfind("ok\n", 0), 0u) << i;
    flood.kill();
    munmap(shared, 4096);
    EXPECT_EQ(weird.stop(), 0);
}

TEST_F(DaemonAdmin, ASocketOfTheDeadIsReplacedAndAnythingElseIsLeftAlone)
{
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    weird.kill();
    EXPECT_TRUE(std::filesystem::exists(bus_ + "/.weird.sock"));
    EXPECT_EQ(ask("status\n"), "(no connection)");
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_EQ(value(ask("status\n"), "pid"), std::to_string(weird.pid()));
    struct stat st;
    ASSERT_EQ(stat((bus_ + "/.weird.sock").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0666u) << "who may search the bus may ask";
    EXPECT_EQ(weird.stop(), 0);

    std::string victim = journal_ + "/victim";
    std::ofstream(victim) << "mine";
    std::filesystem::permissions(victim, std::filesystem::perms(0600));
    std::filesystem::create_symlink(victim, bus_ + "/.weird.sock");
    create("ring");
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_TRUE(weird.says("no socket " + bus_ + "/.weird.sock")) << weird.log();
    struct weir_pub *pub = publisher("ring");
    EXPECT_EQ(wait_durable(pub, send(pub, "x")), 0) << "it serves without it";
    weir_pub_close(pub);
    EXPECT_EQ(weird.stop(), 0);
    EXPECT_TRUE(std::filesystem::is_symlink(bus_ + "/.weird.sock"));
    ASSERT_EQ(stat(victim.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0600u);
}

/* One for a bus: who comes second hears who has it, and where. */
TEST_F(DaemonAdmin, ASecondDaemonHearsWhoTheFirstIs)
{
    Weird first(bus_, journal_), second(bus_, journal_ + "-2");
    ASSERT_TRUE(first.start()) << first.log();
    second.launch();
    EXPECT_EQ(second.wait(), 1);
    EXPECT_TRUE(second.says("the bus " + bus_ + " is served already by another weird: pid " +
                            std::to_string(first.pid()) + ", journal in " + journal_))
        << second.log();
    EXPECT_EQ(value(ask("status\n"), "pid"), std::to_string(first.pid())) << "its socket is the first one's still";
    EXPECT_EQ(first.stop(), 0);
}

/* Nor is another user's, whose lock may not be opened. */
TEST_F(DaemonAdmin, ASecondDaemonHearsThatTheFirstIsAnothers)
{
    if (geteuid() != 0)
        GTEST_SKIP() << "only root can be somebody else";
    Weird first(bus_, journal_);
    ASSERT_TRUE(first.start()) << first.log();
    std::filesystem::permissions(bus_, std::filesystem::perms(0777));
    std::string said = journal_ + ".said", other = bus_ + "/.journal";
    std::filesystem::create_directory(other);
    ASSERT_EQ(chown(other.c_str(), nobody, nobody), 0);
    int out = open(said.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int program = open((environment("WEIR_BIN") + "/weird_testing").c_str(), O_RDONLY | O_CLOEXEC);
    Child child([&] {
        static char name[] = "weird", bus[] = "--bus", journal[] = "--journal", here[] = ".", there[] = ".journal";
        char *words[] = {name, bus, here, journal, there, nullptr};
        if (chdir(bus_.c_str()) != 0 || setgid(nobody) != 0 || setuid(nobody) != 0 || dup2(out, STDERR_FILENO) < 0)
            _exit(126);
        fexecve(program, words, environ);
        _exit(127);
    });
    EXPECT_EQ(child.wait(), 1);
    close(out);
    close(program);
    std::ifstream file(said);
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_NE(text.str().find("it belongs to uid 0, whose weird serves here, or did"), std::string::npos) << text.str();
    EXPECT_EQ(first.stop(), 0);
}

} // namespace
