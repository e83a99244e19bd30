// SPDX-License-Identifier: Apache-2.0
// test: LINKS PkgConfig::JANSSON PROGRAMS weir_tool weird TIMEOUT 240
// weir daemon: asking the weird of a bus who it is, and telling it what to do.
#include "tests/cli_support.hh"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

using namespace cli;

class Daemon : public cli::Test
{
protected:
    std::unique_ptr<Process> start(const std::string &config) const
    {
        std::string path = file("weird.conf", config);
        auto process = std::make_unique<Process>(
            Words{bin_ + "/weird", "--bus", bus_, "--journal", disk_ + "/journal", "--config", path}, Process::NOTHING);
        auto began = Clock::now();
        while (run({"daemon", "status"}).status != 0)
            if (seconds_since(began) > 20)
                break;
        return process;
    }
};

TEST_F(Daemon, StatusIsForPeopleAndForPrograms)
{
    create("orders", {});
    create("memory");
    auto weird = start("[ring o*]\nretain_bytes = 1GiB\nretain_age = 7d\nsync = interval 20ms\n");
    ASSERT_TRUE(served("orders"));
    auto began = Clock::now();
    while (!contains(run({"daemon", "status"}).output, "\nmemory ") && seconds_since(began) < 20)
        ;
    Result result = run({"daemon", "status"});
    EXPECT_EQ(result.status, 0) << result.error;
    for (const std::string &part : {"pid " + std::to_string(weird->pid()), "bus      " + bus_,
                                    "journal  " + disk_ + "/journal", "config   " + disk_ + "/weird.conf",
                                    std::string("orders  interval 20.0 ms   1 GiB"), std::string("in memory alone")})
        EXPECT_TRUE(contains(result.output, part)) << part << " in: " << result.output;

    result = run({"daemon", "status", "--json"});
    EXPECT_EQ(result.status, 0) << result.error;
    EXPECT_EQ(std::count(result.output.begin(), result.output.end(), '\n'), 1);
    Json status = parse(result.output);
    EXPECT_EQ(number(status.get(), "pid"), weird->pid());
    EXPECT_EQ(number(status.get(), "uid"), geteuid());
    EXPECT_EQ(text(status.get(), "bus"), bus_);
    EXPECT_EQ(text(status.get(), "config"), disk_ + "/weird.conf");
    EXPECT_FALSE(truth(status.get(), "verbose"));
    EXPECT_GT(number(status.get(), "uptime_ms"), 0);
    EXPECT_EQ(number(status.get(), "reserve_bytes"), 64 << 20);
    const json_t *rings = json_object_get(status.get(), "rings");
    ASSERT_EQ(json_array_size(rings), 2u);
    EXPECT_EQ(text(json_array_get(rings, 0), "ring"), "memory");
    EXPECT_FALSE(truth(json_array_get(rings, 0), "journaled"));
    const json_t *orders = json_array_get(rings, 1);
    EXPECT_EQ(text(orders, "ring"), "orders");
    EXPECT_EQ(text(orders, "sync"), "interval");
    EXPECT_EQ(number(orders, "sync_interval_ms"), 20);
    EXPECT_EQ(number(orders, "retain_bytes"), 1 << 30);
    EXPECT_EQ(number(orders, "retain_age_ms"), 7 * 86400 * 1000);
    EXPECT_EQ(text(orders, "when_limited"), "block");
    EXPECT_FALSE(truth(orders, "keep_unread"));
}

TEST_F(Daemon, IsToldToReadItsConfigurationAgainToSayMoreAndToStop)
{
    auto weird = start("");
    file("weird.conf", "[weird]\nthreads = 2\n");
    Result result = run({"daemon", "reload"});
    EXPECT_EQ(result.status, 0) << result.error;
    EXPECT_EQ(result.output, "threads = 2 needs a restart: it stays 1 until then\n");
    Json reloaded = parse(run({"daemon", "reload", "--json"}).output);
    EXPECT_TRUE(truth(reloaded.get(), "reloaded"));
    EXPECT_EQ(json_array_size(json_object_get(reloaded.get(), "notes")), 1u);

    file("weird.conf", "[weird]\nthreads = x\nbux = 1\n");
    result = run({"daemon", "reload"});
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(result.output, "");
    EXPECT_TRUE(contains(result.error, "weird.conf:2: threads = x: allowed is 1 to 64\n")) << result.error;
    EXPECT_TRUE(contains(result.error, "weird.conf:3: unknown key 'bux'")) << result.error;
    EXPECT_TRUE(contains(result.error, "weir: daemon reload: the configuration was refused")) << result.error;

    EXPECT_EQ(run({"daemon", "verbose", "on"}).status, 0);
    EXPECT_TRUE(truth(parse(run({"daemon", "status", "--json"}).output).get(), "verbose"));
    EXPECT_FALSE(truth(parse(run({"daemon", "verbose", "off", "--json"}).output).get(), "verbose"));
    EXPECT_EQ(run({"daemon", "verbose", "loud"}).status, 2);

    result = run({"daemon", "stop", "--json"});
    EXPECT_EQ(result.status, 0) << result.error;
    EXPECT_TRUE(truth(parse(result.output).get(), "stopped"));
    EXPECT_EQ(weird->wait(20), 0);
}

TEST_F(Daemon, WhereNobodyServesThatIsSaid)
{
    for (const char *verb : {"status", "reload", "stop"}) {
        Result result = run({"daemon", verb});
        EXPECT_EQ(result.status, 1);
        EXPECT_EQ(result.output, "");
        EXPECT_EQ(result.error, std::string("weir: daemon ") + verb + ": no weird serves the bus " + bus_ +
                                    ": start one, or name another bus\n");
    }
    Result result = run_words({bin_ + "/weir", "--bus", bus_ + "/none", "daemon", "status"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "there is no bus directory " + bus_ + "/none")) << result.error;
    auto weird = start("");
    weird->send_signal(SIGKILL);
    weird->wait(20);
    result = run({"daemon", "status"});
    EXPECT_EQ(result.status, 1) << "a socket that the dead left is nobody";
    EXPECT_TRUE(contains(result.error, "no weird serves the bus")) << result.error;
}

// Whatever sits behind the socket may say anything.
TEST_F(Daemon, AnAnswerThatIsNoneIsAnError)
{
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    int bus_fd = open(bus_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/.weird.sock", bus_fd);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ASSERT_EQ(listen(fd, 8), 0);
    const std::vector<std::string> answers = {"",
                                              "end\n",
                                              "ok\n",
                                              "ok\npid 1\n",
                                              std::string("ok\n\0\nend\n", 9),
                                              "error no\nnote \x1b[31m\nend\n",
                                              "ok\nend",
                                              "what\nend\n"};
    for (const std::string &answer : answers) {
        Process process(weir({"daemon", "status"}));
        int peer = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
        ASSERT_GE(peer, 0);
        char request[64];
        EXPECT_EQ(recv(peer, request, sizeof request, 0), 7);
        EXPECT_EQ(send(peer, answer.data(), answer.size(), MSG_NOSIGNAL), (ssize_t)answer.size());
        close(peer);
        EXPECT_EQ(process.wait(20), 1) << answer;
        EXPECT_EQ(process.output, "");
        EXPECT_TRUE(contains(process.error, "weir: daemon status: ")) << process.error;
        EXPECT_EQ(process.error.find('\x1b'), std::string::npos);
    }
    // What is known of it is shown, the rest is not there.
    Process process(weir({"daemon", "status", "--json"}));
    int peer = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
    const std::string odd = "ok\nring\nring \nring a =x b= journaled=9 \nuptime_ms x\nlimit_bytes\n\n\nend\n";
    EXPECT_EQ(send(peer, odd.data(), odd.size(), MSG_NOSIGNAL), (ssize_t)odd.size());
    close(peer);
    EXPECT_EQ(process.wait(20), 0) << process.error;
    EXPECT_EQ(number(parse(process.output).get(), "pid"), getpid());
    close(fd);
    close(bus_fd);
}
