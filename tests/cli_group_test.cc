// SPDX-License-Identifier: Apache-2.0
// test: LINKS PkgConfig::JANSSON PROGRAMS weir_tool TIMEOUT 120
// weir group create|ls|info|rm.
#include "tests/cli_support.hh"

using namespace cli;

class Group : public cli::Test
{
protected:
    void SetUp() override
    {
        cli::Test::SetUp();
        create("a", {"--memory"});
    }
    Json info(const std::string &group) const
    {
        Result result = run({"group", "info", "a", group, "--json"});
        EXPECT_EQ(result.status, 0) << result.error;
        return parse(result.output);
    }
};

TEST_F(Group, IsCreatedWithDefaultsListedShownAndRemoved)
{
    Result result = run({"group", "ls", "a"});
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.output + result.error, "");
    result = run({"group", "create", "a", "one"});
    EXPECT_EQ(result.status, 0) << result.error;
    EXPECT_EQ(result.output + result.error, "");
    Json one = info("one");
    EXPECT_EQ(text(one.get(), "ring"), "a");
    EXPECT_EQ(text(one.get(), "group"), "one");
    EXPECT_EQ(number(one.get(), "lease_ns"), 30000000000);
    EXPECT_EQ(number(one.get(), "backoff_percent"), 200);
    EXPECT_EQ(number(one.get(), "max_entries"), 8192);
    EXPECT_EQ(number(one.get(), "max_workers"), 64);
    EXPECT_EQ(number(one.get(), "lag_bytes"), 0);
    result = run({"group", "info", "a", "one"});
    EXPECT_EQ(result.output.rfind("group        one of ring a\n", 0), 0u) << result.output;
    EXPECT_TRUE(contains(result.output, "workers      0 of 64\n")) << result.output;
    result = run({"group", "ls", "a"});
    EXPECT_EQ(result.output.rfind("GROUP", 0), 0u) << result.output;
    EXPECT_TRUE(contains(result.output, "\none ")) << result.output;
    result = run({"group", "rm", "a", "one", "--json"});
    EXPECT_EQ(result.status, 0);
    EXPECT_TRUE(truth(parse(result.output).get(), "removed"));
    EXPECT_EQ(run({"group", "ls", "a"}).output, "");
}

TEST_F(Group, TakesItsOptions)
{
    Result result = run({"pub", "a"}, "1\n2\n3\n");
    ASSERT_EQ(result.status, 0) << result.error;
    result = run({"group",
                  "create",
                  "a",
                  "one",
                  "--from",
                  "end",
                  "--lease",
                  "10s",
                  "--backoff",
                  "50ms",
                  "--backoff-max",
                  "2s",
                  "--backoff-percent",
                  "150",
                  "--jitter",
                  "10",
                  "--max-entries",
                  "100",
                  "--max-workers",
                  "3",
                  "--json"});
    EXPECT_EQ(result.status, 0) << result.error;
    Json one = parse(result.output);
    EXPECT_EQ(number(one.get(), "lease_ns"), 10000000000);
    EXPECT_EQ(number(one.get(), "backoff_ns"), 50000000);
    EXPECT_EQ(number(one.get(), "backoff_max_ns"), 2000000000);
    EXPECT_EQ(number(one.get(), "backoff_percent"), 150);
    EXPECT_EQ(number(one.get(), "jitter_percent"), 10);
    EXPECT_EQ(number(one.get(), "max_entries"), 100);
    EXPECT_EQ(number(one.get(), "max_workers"), 3);
    EXPECT_EQ(number(one.get(), "position"), 192);
    EXPECT_EQ(run({"group", "create", "a", "two", "--from", "64"}).status, 0);
    EXPECT_EQ(number(info("two").get(), "position"), 64);
    EXPECT_EQ(number(info("two").get(), "lag_bytes"), 128);
    EXPECT_EQ(run({"group", "create", "a", "three"}).status, 0);
    EXPECT_EQ(number(info("three").get(), "unfinished_position"), 0);
    result = run({"group", "ls", "a", "--json"});
    EXPECT_EQ(std::count(result.output.begin(), result.output.end(), '\n'), 3);
}

TEST_F(Group, ExplainsWhatItRefuses)
{
    EXPECT_EQ(run({"group", "create", "a", "one"}).status, 0);
    const struct {
        Words words;
        int status;
        const char *said;
    } refused[] = {
        {{"group", "create", "a", "one"}, 1, "already"},
        {{"group", "create", "none", "one"}, 1, "none"},
        {{"group", "create", "a"}, 2, "usage"},
        {{"group", "create", "a", "b/c"}, 2, "b/c"},
        {{"group", "create", "a", "two", "--from", "7"}, 2, "7"},
        {{"group", "create", "a", "two", "--backoff", "2s", "--backoff-max", "1s"}, 2, "back-off"},
        {{"group", "create", "a", "two", "--max-entries", "16384"}, 2, "--max-entries"},
        {{"group", "create", "a", "two", "--jitter", "101"}, 2, "--jitter"},
        {{"group", "info", "a", "none"}, 1, "none"},
        {{"group", "ls", "none"}, 1, "none"},
        {{"group", "rm", "a", "none"}, 1, "none"},
        {{"group", "rm", "a", "none", "--force"}, 1, "none"},
        {{"group"}, 2, "usage"},
    };
    for (const auto &one : refused) {
        Result result = run(one.words);
        EXPECT_EQ(result.status, one.status) << result.error;
        EXPECT_TRUE(contains(result.error, one.said)) << one.said << " in: " << result.error;
        EXPECT_EQ(result.output, "");
    }
    EXPECT_NE(run({"group", "ls", "a"}).output, "");
}
