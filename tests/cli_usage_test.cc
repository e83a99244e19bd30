// SPDX-License-Identifier: Apache-2.0
// test: LINKS PkgConfig::JANSSON PROGRAMS weir_tool TIMEOUT 120
// Help, versions, and whatever is wrong with a command line: exit 2, usage on standard error, nothing done.
#include "tests/cli_support.hh"

using namespace cli;

class Usage : public cli::Test
{
};

struct CommandOptions {
    Words words;
    Words options;
};

static const std::vector<CommandOptions> commands = {
    {{"ring", "create"},
     {"--exclusive", "--journaled", "--memory", "--segment-bytes", "--memory-limit", "--max-readers",
      "--max-publishers", "--when-full", "--mode", "--group"}},
    {{"ring", "ls"}, {}},
    {{"ring", "info"}, {}},
    {{"ring", "check"}, {}},
    {{"ring", "rm"}, {"--force", "--keep-journal"}},
    {{"group", "create"},
     {"--from", "--since", "--lease", "--backoff", "--backoff-max", "--backoff-percent", "--jitter", "--max-entries",
      "--max-workers"}},
    {{"group", "ls"}, {}},
    {{"group", "info"}, {}},
    {{"group", "rm"}, {"--force"}},
    {{"pub"}, {"--file", "--framed", "--rate", "--confirm", "--tag", "--key", "--as", "--timeout"}},
    {{"sub"}, {"--from", "--count", "--timeout", "--save", "--rate", "--framed", "--gate"}},
    {{"stat"}, {"--interval", "--count"}},
    {{"bench"}, {"--seconds", "--case", "--cpus", "--journal-dir", "--journal-bytes", "--hgrm", "--plot"}},
    {{"demo"}, {"--seconds", "--input"}},
    {{"daemon", "status"}, {}},
    {{"daemon", "reload"}, {}},
    {{"daemon", "verbose"}, {}},
    {{"daemon", "stop"}, {}},
};

static Words with(Words words, const Words &more)
{
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

TEST_F(Usage, HelpOfEachCommandListsEachOption)
{
    for (const CommandOptions &command : commands) {
        Result result = run(with(command.words, {"--help"}));
        EXPECT_EQ(result.status, 0);
        EXPECT_EQ(result.error, "");
        for (const std::string &option : with(command.options, {"--json", "--help"}))
            EXPECT_TRUE(contains(result.output, "  " + option)) << option << " in: " << result.output;
        bool own_bus = command.words[0] == "demo" || command.words[0] == "bench";
        EXPECT_EQ(contains(result.output, "--bus"), !own_bus) << result.output;
        EXPECT_EQ(result.output.rfind("usage: weir " + command.words[0], 0), 0u) << result.output;
    }
}

TEST_F(Usage, HelpListsEachCommand)
{
    Result result = run({"--help"});
    EXPECT_EQ(result.status, 0);
    for (const char *word :
         {"ring create", "ring ls", "ring info", "ring check", "ring rm", "pub", "sub", "stat", "demo", "daemon status",
          "daemon reload", "daemon verbose", "daemon stop", "--bus", "--json", "--version"})
        EXPECT_TRUE(contains(result.output, word)) << word;
    EXPECT_FALSE(contains(result.output, "demo-publisher"));
}

TEST_F(Usage, HelpOfRingListsItsVerbs)
{
    Result result = run({"ring", "--help"});
    EXPECT_EQ(result.status, 0);
    EXPECT_TRUE(contains(result.output, "ring check"));
    EXPECT_FALSE(contains(result.output, "  pub "));
}

TEST_F(Usage, HelpMayStandInFrontAndWinsOverWhatIsWrong)
{
    Result result = run({"--help", "ring", "create"});
    EXPECT_EQ(result.status, 0);
    EXPECT_TRUE(contains(result.output, "--when-full"));
    EXPECT_EQ(run({"pub", "-h"}).status, 0);
    EXPECT_EQ(run({"pub", "--help", "--no-such-option"}).status, 0);
}

TEST_F(Usage, VersionIsPrinted)
{
    Result result = run_words({bin_ + "/weir", "--version"});
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.output.rfind("weir ", 0), 0u);
    EXPECT_EQ(run({"pub", "--version"}).status, 2);
}

struct Wrong {
    Words words;
    const char *says;
};

TEST_F(Usage, WhatIsWrongIsToldWithExit2)
{
    const std::vector<Wrong> all = {
        {{}, "no command"},
        {{"publish"}, "unknown command: publish"},
        {{"ring"}, "needs a verb"},
        {{"ring", "make"}, "unknown command: ring make"},
        {{"--verbose", "pub", "x"}, "unknown option: --verbose"},
        {{"ring", "create"}, "missing: NAME"},
        {{"ring", "create", "a", "b"}, "one word too many: b"},
        {{"ring", "create", "a", "--frobnicate"}, "unknown option: --frobnicate"},
        {{"ring", "create", "a", "--segment-bytes"}, "needs a value"},
        {{"ring", "create", "a", "--segment-bytes", "12x"}, "is not a whole number"},
        {{"ring", "create", "a", "--segment-bytes", "-1"}, "is not a whole number"},
        {{"ring", "create", "a", "--segment-bytes", "17179869184TiB"}, "is not a whole number"},
        {{"ring", "create", "a", "--segment-bytes", "128MiB"}, "must be 4096 to 67108864"},
        {{"ring", "create", "a", "--max-readers", "0"}, "must be 1 to 1024"},
        {{"ring", "create", "a", "--max-publishers", "513"}, "must be 1 to 512"},
        {{"ring", "create", "a", "--when-full", "wait"}, "must be one of block|drop-new|drop-old"},
        {{"ring", "create", "a", "--when-full", "drop"}, "must be one of"},
        {{"ring", "create", "a", "--mode", "rw"}, "octal"},
        {{"ring", "create", "a", "--mode", "680"}, "octal"},
        {{"ring", "create", "a", "--mode", "777"}, "is not an octal number from 600 to 666"},
        {{"ring", "create", "a", "--exclusive=yes"}, "takes no value"},
        {{"ring", "ls", "a"}, "one word too many"},
        {{"ring", "ls", "--force"}, "unknown option"},
        {{"ring", "info"}, "missing"},
        {{"ring", "info", "a", "b"}, "one word too many"},
        {{"ring", "check"}, "missing"},
        {{"ring", "rm"}, "missing"},
        {{"ring", "rm", "a", "--yes"}, "unknown option"},
        {{"pub"}, "missing"},
        {{"pub", "a", "b"}, "one word too many"},
        {{"pub", "a", "--rate", "0"}, "is not a number above 0"},
        {{"pub", "a", "--rate", "1.2.3"}, "is not a number above 0"},
        {{"pub", "a", "--rate", "fast"}, "is not a number above 0"},
        {{"pub", "a", "--confirm", "remote"}, "must be one of visible|written|durable"},
        {{"pub", "a", "--tag", "65536"}, "must be 0 to 65535"},
        {{"pub", "a", "--timeout", "1w"}, "is not a time"},
        {{"pub", "a", "--timeout", "-1"}, "is not a time"},
        {{"pub", "a", "--file"}, "needs a value"},
        {{"sub"}, "missing"},
        {{"sub", "a", "b"}, "one word too many"},
        {{"sub", "a", "--from", "middle"}, "is neither start, end nor a position"},
        {{"sub", "a", "--from", "18446744073709551615"}, "is neither start"},
        {{"sub", "a", "--count", "some"}, "is not a whole number"},
        {{"sub", "a", "--count", "99999999999999999999"}, "is not a whole number"},
        {{"sub", "a", "--json", "--framed"}, "exclude each other"},
        {{"stat", "--interval", "1ms"}, "shorter than 10 ms"},
        {{"stat", "--interval", "0"}, "shorter than 10 ms"},
        {{"stat", "--count", "0"}, "must be 1 or more"},
        {{"ring", "ls", "--bus="}, "--bus: names no directory"},
        {{"ring", "ls", "--bus", ""}, "--bus: names no directory"},
        {{"daemon"}, "needs a verb"},
        {{"daemon", "start"}, "unknown command: daemon start"},
        {{"daemon", "status", "a"}, "one word too many"},
        {{"daemon", "verbose"}, "missing: on|off"},
        {{"daemon", "stop", "--force"}, "unknown option"},
        {{"bench", "limit"}, "--bus: the command makes a bus of its own"},
        {{"demo"}, "--bus: the command makes a bus of its own"},
        {{"demo", "--seconds", "1"}, "must be 2 to 3600"},
    };
    for (const Wrong &wrong : all) {
        Result result = run(wrong.words);
        EXPECT_EQ(result.status, 2) << wrong.says << "\n" << result.error;
        EXPECT_EQ(result.output, "");
        EXPECT_EQ(result.error.rfind("weir: ", 0), 0u) << result.error;
        EXPECT_TRUE(contains(result.error, wrong.says)) << wrong.says << " in: " << result.error;
    }
    EXPECT_EQ(run({"ring", "ls"}).output, "") << "one of them made a ring";
}

TEST_F(Usage, ComplaintsShowTheUsageOfTheCommand)
{
    EXPECT_TRUE(contains(run({"sub"}).error, "usage: weir sub NAME [options]"));
    EXPECT_TRUE(contains(run({"ring"}).error, "ring check"));
    EXPECT_TRUE(contains(run({"nonsense"}).error, "ring create"));
}

TEST_F(Usage, BusIsTakenBeforeBetweenAndBehindTheWords)
{
    const std::string weir = bin_ + "/weir";
    EXPECT_EQ(run_words({weir, "--bus", bus_, "ring", "create", "a", "--memory"}).status, 0);
    EXPECT_EQ(run_words({weir, "ring", "--bus", bus_, "info", "a"}).status, 0);
    EXPECT_EQ(run_words({weir, "ring", "info", "a", "--bus", bus_}).status, 0);
    EXPECT_EQ(run_words({weir, "ring", "info", "--bus=" + bus_, "a"}).status, 0);
    EXPECT_EQ(run_words({weir, "ring", "info", "--", "a", "--bus"}).status, 2);
    EXPECT_EQ(run_words({weir, "ring", "info", "a", "--bus"}).status, 2);
    setenv("WEIR_BUS", bus_.c_str(), 1);
    EXPECT_EQ(run_words({weir, "ring", "info", "a"}).status, 0);
    EXPECT_EQ(run_words({weir, "--bus", bus_ + "-not-there", "ring", "info", "a"}).status, 1);
    setenv("WEIR_BUS", std::filesystem::path(bus_).parent_path().c_str(), 1);
}

TEST_F(Usage, DemoTakesNoOperand)
{
    Result result = run_words({bin_ + "/weir", "demo", "now"});
    EXPECT_EQ(result.status, 2);
    EXPECT_TRUE(contains(result.error, "one word too many")) << result.error;
}

TEST_F(Usage, ABrokenStandardOutputIsAFailure)
{
    create("a");
    for (const Words &words : {Words{"ring", "ls"}, Words{"ring", "info", "a"}, Words{"stat", "a"}, Words{"--help"}}) {
        Words all = {"/bin/sh", "-c", "exec \"$@\" >/dev/full", "sh"};
        Result result = run_words(with(all, weir(words)));
        EXPECT_EQ(result.status, 1) << words[0];
        EXPECT_TRUE(contains(result.error, "No space left")) << result.error;
    }
}
