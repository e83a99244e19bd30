// SPDX-License-Identifier: Apache-2.0
// test: LINKS PkgConfig::JANSSON PROGRAMS weir_tool weird TIMEOUT 240
// weir demo: its checks as a test, and that it leaves nothing behind however it ends.
#include "tests/cli_support.hh"

#include <set>

using namespace cli;

class Demo : public cli::Test
{
protected:
    void SetUp() override
    {
        cli::Test::SetUp();
        setenv("TMPDIR", disk_.c_str(), 1);
        before_ = folders();
    }
    void TearDown() override
    {
        unsetenv("TMPDIR");
        cli::Test::TearDown();
    }
    // Every demo's bus on this machine, of whichever run: only names that were there before may be there after.
    static std::set<std::string> folders()
    {
        std::set<std::string> names;
        for (const auto &entry : std::filesystem::directory_iterator("/dev/shm"))
            if (entry.path().filename().string().rfind("weir-demo-", 0) == 0)
                names.insert(entry.path());
        return names;
    }
    // The bus of the demo that is running below this test; "" if there is none yet.
    std::string bus_of_demo() const
    {
        for (const auto &name : folders())
            if (before_.count(name) == 0)
                return name;
        return "";
    }
    void expect_nothing_left(const std::string &demo_bus) const
    {
        EXPECT_FALSE(std::filesystem::exists(demo_bus)) << demo_bus;
        for (const auto &entry : std::filesystem::directory_iterator(disk_))
            EXPECT_NE(entry.path().filename().string().rfind("weir-demo-", 0), 0u) << entry.path();
    }
    std::set<std::string> before_;
};

TEST_F(Demo, EveryCheckPasses)
{
    // As much input as a small machine, or a sanitizer build, can take.
    Process demo({bin_ + "/weir", "demo", "--seconds", "6", "--json"}, Process::NOTHING);
    ASSERT_EQ(demo.wait(110), 0) << demo.error << demo.output;
    Json summary = parse(demo.output);
    EXPECT_TRUE(truth(summary.get(), "ok"));
    std::set<std::string> names;
    size_t index;
    json_t *check;
    json_array_foreach(json_object_get(summary.get(), "checks"), index, check)
    {
        EXPECT_TRUE(truth(check, "ok")) << text(check, "text");
        names.insert(text(check, "name"));
    }
    EXPECT_EQ(names, (std::set<std::string>{"published", "fast", "slow", "peak", "daemon_killed", "publisher_killed",
                                            "consumer_killed", "late"}));
    json_int_t messages = number(summary.get(), "messages"), parts = 0;
    json_t *consumer, *publisher;
    json_array_foreach(json_object_get(summary.get(), "publishers"), index, publisher)
    {
        parts += number(publisher, "messages");
        size_t other;
        json_array_foreach(json_object_get(summary.get(), "consumers"), other, consumer)
        {
            EXPECT_EQ(number(consumer, "messages"), messages);
            EXPECT_EQ(std::string(json_string_value(json_array_get(json_object_get(consumer, "digests"), index))),
                      text(publisher, "digest"));
        }
    }
    EXPECT_EQ(parts, messages);
    EXPECT_TRUE(contains(demo.error, "weird killed (SIGKILL)"));
    EXPECT_TRUE(contains(demo.error, "8 of 8 checks passed"));
    EXPECT_EQ(folders(), before_);
    expect_nothing_left("/none");
}

TEST_F(Demo, ItsDigestIsFnv1aOfLengthsAndBytes)
{
    // Each publisher's part is a third of these lines, again and again; it takes 50000 at least.
    Process demo({bin_ + "/weir", "demo", "--seconds", "2", "--json", "--input", file("in", "a\nbc\n\n")},
                 Process::NOTHING);
    ASSERT_EQ(demo.wait(110), 0) << demo.error << demo.output;
    Json summary = parse(demo.output);
    ASSERT_EQ(number(summary.get(), "messages"), 50000);
    const std::string lines[] = {"a", "bc", ""};
    for (uint64_t part = 0; part < 3; part++) {
        uint64_t hash = 0xcbf29ce484222325u;
        for (uint64_t i = 50000 * part / 3; i < 50000 * (part + 1) / 3; i++)
            for (char c : frame(lines[i % 3]))
                hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
        char expected[17];
        snprintf(expected, sizeof expected, "%016llx", static_cast<unsigned long long>(hash));
        EXPECT_EQ(text(json_array_get(json_object_get(summary.get(), "publishers"), part), "digest"), expected);
    }
}

TEST_F(Demo, ASignalEndsItAndNothingIsLeft)
{
    for (int number : {SIGINT, SIGTERM}) {
        Process demo({bin_ + "/weir", "demo", "--seconds", "20"}, Process::NOTHING);
        ASSERT_TRUE(demo.wait_for_output("first wave is published", 60)) << demo.error;
        std::string demo_bus = bus_of_demo();
        EXPECT_NE(demo_bus, "");
        demo.send_signal(number);
        EXPECT_EQ(demo.wait(), 1);
        EXPECT_TRUE(contains(demo.error, "interrupted")) << demo.error;
        expect_nothing_left(demo_bus);
    }
}

TEST_F(Demo, WithoutWeirdItFailsAndNothingIsLeft)
{
    Process demo({bin_ + "/weir", "demo", "--seconds", "2"}, Process::NOTHING, {"WEIRD=" + disk_ + "/not-there"});
    EXPECT_EQ(demo.wait(), 1);
    EXPECT_TRUE(contains(demo.error, "weird ended with exit status 127")) << demo.error;
    EXPECT_TRUE(contains(demo.error, "cannot start " + disk_ + "/not-there")) << demo.error;
    EXPECT_EQ(folders(), before_);
    expect_nothing_left("/none");
}

TEST_F(Demo, WithoutInputOrPlaceItFailsAndNothingIsLeft)
{
    Result result = run_words({bin_ + "/weir", "demo", "--seconds", "2", "--input", disk_ + "/not-there"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "no input")) << result.error;
    EXPECT_EQ(run_words({bin_ + "/weir", "demo", "--seconds", "2", "--input", file("empty", "")}).status, 1);
    setenv("TMPDIR", (disk_ + "/no-such-folder").c_str(), 1);
    EXPECT_EQ(run_words({bin_ + "/weir", "demo", "--seconds", "2"}).status, 1);
    EXPECT_EQ(folders(), before_);
    expect_nothing_left("/none");
}
