// SPDX-License-Identifier: Apache-2.0
// test: LINKS PkgConfig::JANSSON PROGRAMS weir_tool weird TIMEOUT 300
// weir bench: what it prints of journals, with journals as small as can be. Whether a figure is good, the bench says.
#include "tests/cli_support.hh"

#include <map>
#include <sched.h>

using namespace cli;

// What a line has to say beside its figures.
struct Expected {
    std::string unit;
    bool limit;
    double budget; // 0: none
    bool floor;
};
using Lines = std::map<std::string, Expected>;

class Bench : public cli::Test
{
protected:
    void SetUp() override
    {
        cpu_set_t set;
        if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) < 2)
            GTEST_SKIP() << "needs two processors";
        cli::Test::SetUp();
        alarm(280);
        std::filesystem::create_directories(disk_ + "/bench");
    }
    void TearDown() override
    {
        if (!IsSkipped())
            cli::Test::TearDown();
    }
    Words bench(const Words &words, const std::string &directory) const
    {
        Words all = {bin_ + "/weir", "bench", "--journal-dir", directory, "--journal-bytes", "4MiB", "--seconds", "1"};
        all.insert(all.end(), words.begin(), words.end());
        return all;
    }
    static double figure(const json_t *line, const char *name)
    {
        const json_t *member = json_object_get(line, name);
        EXPECT_TRUE(json_is_number(member)) << name;
        return json_number_value(member);
    }
    static void check_line(const json_t *line, const Expected &expected, const std::string &disk)
    {
        double value = figure(line, "value"), ratio = 0;
        EXPECT_EQ(text(line, "unit"), expected.unit);
        EXPECT_GE(figure(line, "rounds"), 1);
        EXPECT_GE(value, 0);
        EXPECT_EQ(text(line, "disk"), disk);
        if (expected.limit) {
            ratio = figure(line, "ratio");
            EXPECT_GT(figure(line, "limit"), 0);
            EXPECT_GT(ratio, 0);
        } else {
            EXPECT_TRUE(json_is_null(json_object_get(line, "limit")));
            EXPECT_TRUE(json_is_null(json_object_get(line, "ratio")));
        }
        if (expected.budget == 0) {
            EXPECT_TRUE(json_is_null(json_object_get(line, "budget")));
            EXPECT_TRUE(json_is_null(json_object_get(line, "within")));
            return;
        }
        EXPECT_DOUBLE_EQ(figure(line, "budget"), expected.budget);
        double judged = expected.limit ? ratio : value;
        if (judged < expected.budget * 0.999 || judged > expected.budget * 1.001) { // printed with fewer digits
            EXPECT_EQ(truth(line, "within"), expected.floor == (judged > expected.budget));
        }
    }
    void measure(const std::string &name, const Lines &expected)
    {
        Result result = run_words(bench({name, "--json"}, disk_ + "/bench"), "", 250);
        ASSERT_EQ(result.status, 0) << result.error;
        EXPECT_EQ(result.error, "");
        Lines missing = expected;
        for (const Json &line : parse_lines(result.output)) {
            SCOPED_TRACE(text(line.get(), "case"));
            EXPECT_EQ(text(line.get(), "bench"), name);
            auto found = missing.find(text(line.get(), "case"));
            ASSERT_NE(found, missing.end());
            check_line(line.get(), found->second, text(line.get(), "disk"));
            missing.erase(found);
        }
        for (const auto &line : missing)
            ADD_FAILURE() << "no line for " << line.first;
        EXPECT_TRUE(std::filesystem::is_empty(disk_ + "/bench"));
    }
};

TEST_F(Bench, DrainHoldsThroughputPublishersAndMemoryAgainstTheirBudgets)
{
    measure("drain", {{"1 KiB", {"MB/s", true, 0.9, true}},
                      {"1 KiB resident", {"MiB", false, 17, false}},
                      {"1 KiB, 64 MiB of memory", {"MB/s", true, 0.9, true}},
                      {"1 KiB, 64 MiB of memory resident", {"MiB", false, 17, false}},
                      {"1 KiB, limit from huge pages", {"MB/s", true, 0, true}},
                      {"1 KiB, limit from huge pages resident", {"MiB", false, 17, false}},
                      {"1 KiB, 100 rings", {"MB/s", true, 0.8, true}},
                      {"1 KiB, 100 rings resident", {"MiB", false, 116, false}},
                      {"publish 64 x 48 B p50", {"ns", true, 1.2, false}},
                      {"publish 64 x 48 B p99", {"ns", true, 0, false}},
                      {"publish 64 x 48 B drained", {"%", false, 0, false}}});
}

TEST_F(Bench, ConfirmHoldsOneAndManyOutstandingAgainstTheirBudgets)
{
    measure("confirm", {{"64 B, one outstanding p50", {"us", true, 1.3, false}},
                        {"64 B, one outstanding p99", {"us", true, 0, false}},
                        {"64 B, many", {"M/s", false, 2, true}},
                        {"64 B, many p50", {"ms", false, 0, false}},
                        {"64 B, many p99", {"ms", false, 0, false}},
                        {"1 KiB, many", {"M/s", false, 0.5, true}},
                        {"1 KiB, many p50", {"ms", false, 0, false}},
                        {"1 KiB, many p99", {"ms", false, 0, false}}});
}

TEST_F(Bench, CatchUpStandsBesideReadingLive)
{
    measure("catchup", {{"48 B", {"M/s", true, 0.5, true}}, {"1 KiB", {"M/s", true, 0.5, true}}});
}

TEST_F(Bench, PeakTellsOfPublisherConsumerAndMemory)
{
    measure("peak", {{"1 KiB, 100000/s publish p99", {"us", true, 1.2, false}},
                     {"1 KiB, 100000/s publisher", {"x", false, 0, false}},
                     {"1 KiB, 100000/s consumer", {"x", false, 0.99, true}},
                     {"1 KiB, 100000/s fills", {"x", false, 0, false}},
                     {"1 KiB, 100000/s resident", {"MiB", false, 17, false}}});
}

TEST_F(Bench, RecoverTimesEachKindOfStart)
{
    measure("recover", {{"start after a clean stop", {"s", false, 1, false}},
                        {"start after a kill", {"s", false, 3, false}},
                        {"start after a clean stop, ring gone", {"s", false, 1, false}},
                        {"start after a kill, ring gone", {"s", false, 3, false}},
                        {"start on a journal of", {"GB", false, 0, false}}});
}

TEST_F(Bench, ATableHasTheSameLines)
{
    Result result = run_words(bench({"confirm", "--case", "one"}, disk_ + "/bench"));
    ASSERT_EQ(result.status, 0) << result.error;
    EXPECT_TRUE(contains(result.output, "confirm     64 B, one outstanding p50 ")) << result.output;
    EXPECT_TRUE(contains(result.output, "<= 1.3")) << result.output;
    EXPECT_FALSE(contains(result.output, "many")) << result.output;
}

// Memory is no disk: it is measured, said, and held against nothing.
TEST_F(Bench, OnTmpfsNothingIsHeldAgainstABudget)
{
    Result result = run_words(bench({"confirm", "--case", "one", "--json"}, bus_));
    ASSERT_EQ(result.status, 0) << result.error;
    EXPECT_TRUE(contains(result.error, "is tmpfs")) << result.error;
    std::vector<Json> lines = parse_lines(result.output);
    ASSERT_EQ(lines.size(), 2u);
    for (const Json &line : lines)
        check_line(line.get(), {"us", true, 0, false}, "tmpfs");
    EXPECT_TRUE(std::filesystem::is_empty(bus_));
}

TEST_F(Bench, WithoutRoomNothingIsBegun)
{
    Result result = run_words({bin_ + "/weir", "bench", "drain", "--journal-dir", bus_, "--journal-bytes", "1TiB"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "MiB are needed")) << result.error;
    EXPECT_TRUE(contains(result.error, "--journal-bytes")) << result.error;
    EXPECT_TRUE(std::filesystem::is_empty(bus_));
}

TEST_F(Bench, AFolderThatCannotBeMadeIsSaid)
{
    Result result = run_words(bench({"confirm"}, disk_ + "/nowhere"));
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "cannot make a folder in " + disk_ + "/nowhere")) << result.error;
}

// Of the daemon that a bench runs.
static std::string bus_of_child(pid_t pid)
{
    std::string process = "/proc/" + std::to_string(pid);
    std::ifstream children(process + "/task/" + std::to_string(pid) + "/children");
    std::string bus;
    for (int child; children >> child;) {
        std::ifstream line("/proc/" + std::to_string(child) + "/cmdline");
        for (std::string word; std::getline(line, word, '\0');)
            if (word == "--bus")
                std::getline(line, bus, '\0');
    }
    return bus;
}

TEST_F(Bench, AnInterruptLeavesNothingBehind)
{
    Words words = bench({"confirm", "--seconds", "600", "--json"}, disk_ + "/bench");
    Process process(words, Process::NOTHING);
    std::string bus;
    auto began = Clock::now();
    while (bus.empty() && seconds_since(began) < 60 && process.running())
        bus = bus_of_child(process.pid());
    ASSERT_NE(bus, "") << process.error;
    EXPECT_FALSE(std::filesystem::is_empty(disk_ + "/bench"));
    process.send_signal(SIGINT);
    EXPECT_EQ(process.wait(100), 0) << process.error;
    EXPECT_TRUE(std::filesystem::is_empty(disk_ + "/bench"));
    EXPECT_FALSE(std::filesystem::exists(bus));
}
