// SPDX-License-Identifier: Apache-2.0
// test: LINKS PkgConfig::JANSSON PROGRAMS weir_tool weird TIMEOUT 240
// weir journal ...: on journals live and dead, good and damaged; times; the way back after a journal error.
#include "tests/cli_support.hh"

using namespace cli;

class JournalTool : public cli::Test
{
protected:
    const Words small = {"--segment-bytes", "4KiB", "--memory-limit",   "64KiB",
                         "--max-readers",   "2",    "--max-publishers", "3"};

    void TearDown() override
    {
        weird_.reset(); /* it writes to what is removed now */
        cli::Test::TearDown();
    }

    /* A ring `a` with so many messages, drained; weird goes on. */
    void fill(int count = 2000, const Words &options = {})
    {
        weird_ = start_weird();
        create("a", small);
        ASSERT_TRUE(served("a"));
        Words words = {"pub", "a", "--confirm", "durable"};
        words.insert(words.end(), options.begin(), options.end());
        Result result = run(words, numbers(1, count), 60);
        ASSERT_EQ(result.status, 0) << result.error;
    }
    void stop_weird()
    {
        weird_->send_signal(SIGTERM);
        ASSERT_EQ(weird_->wait(), 0) << weird_->error;
        weird_.reset();
    }
    std::string path(const std::string &name) const
    {
        return disk_ + "/journal/a/" + name;
    }
    void damage(const std::string &name, long offset, const std::string &bytes = "XXXX") const
    {
        std::fstream file(path(name), std::ios::in | std::ios::out | std::ios::binary);
        ASSERT_TRUE(file.good()) << path(name);
        file.seekp(offset);
        file << bytes;
    }
    /* Until weird has the ring's journal, and says that nothing is wrong with it. */
    bool well(double seconds = 20) const
    {
        auto began = Clock::now();
        while (seconds_since(began) < seconds) {
            Result result = run({"ring", "info", "a", "--json"});
            Json info = result.status == 0 ? parse(result.output) : nullptr;
            if (info && text(info.get(), "daemon") == "alive" &&
                json_is_null(json_object_get(info.get(), "journal_error")))
                return true;
        }
        return false;
    }
    /* weir journal words... of a journal whose ring may be gone. */
    Result tool(Words words) const
    {
        words.insert(words.begin(), "journal");
        words.insert(words.end(), {"--journal", disk_ + "/journal"});
        return run(words);
    }
    /* What is read where these ranges are missing. */
    std::string without(const std::vector<std::pair<json_int_t, json_int_t>> &ranges) const
    {
        std::string expected;
        for (const Json &message : parse_lines(tool({"dump", "a", "--json"}).output)) {
            json_int_t position = number(message.get(), "position");
            bool missing = false;
            for (auto [from, to] : ranges)
                missing |= position >= from && position < to;
            expected += missing ? "" : text(message.get(), "data") + "\n";
        }
        return expected;
    }
    Json info() const
    {
        Result result = run({"journal", "info", "a", "--json"});
        EXPECT_EQ(result.status, 0) << result.error;
        return parse(result.output);
    }

    std::unique_ptr<Process> weird_;
};

TEST_F(JournalTool, ListsAndShowsLiveAndDead)
{
    fill(2000, {"--as", "importer"});
    EXPECT_EQ(run({"sub", "a", "--save", "billing", "--count", "10"}).status, 0);
    for (bool live : {true, false}) {
        if (!live)
            stop_weird();
        Result result = run({"journal", "ls"});
        EXPECT_EQ(result.status, 0) << result.error;
        EXPECT_TRUE(contains(result.output, "JOURNAL  RING ID"));
        EXPECT_EQ(contains(result.output, "alive"), live) << result.output;
        auto lines = parse_lines(run({"journal", "ls", "--json"}).output);
        ASSERT_EQ(lines.size(), 1u);
        EXPECT_EQ(text(lines[0].get(), "journal"), "a");
        EXPECT_EQ(truth(lines[0].get(), "live"), live);
        EXPECT_EQ(number(lines[0].get(), "epoch"), 1);
        EXPECT_EQ(number(lines[0].get(), "oldest_position"), 0);
        EXPECT_GE(number(lines[0].get(), "end_position"), 2000 * 64);
        EXPECT_GT(number(lines[0].get(), "disk_bytes"), 2000 * 64);
        EXPECT_GE(number(lines[0].get(), "file_count"), 31);
        EXPECT_EQ(number(lines[0].get(), "gap_count"), 0);
        EXPECT_EQ(text(lines[0].get(), "ring_id"),
                  text(parse(run({"ring", "info", "a", "--json"}).output).get(), "ring_id"));
    }
    Json object = info();
    const json_t *publishers = json_object_get(object.get(), "publishers");
    ASSERT_EQ(json_array_size(publishers), 1u);
    EXPECT_EQ(text(json_array_get(publishers, 0), "name"), "importer");
    EXPECT_EQ(number(json_array_get(publishers, 0), "sequence"), 2000);
    const json_t *cursors = json_object_get(object.get(), "cursors");
    ASSERT_EQ(json_array_size(cursors), 1u);
    EXPECT_EQ(text(json_array_get(cursors, 0), "name"), "billing");
    EXPECT_EQ(number(json_array_get(cursors, 0), "position"), 10 * 64);
    Result result = run({"journal", "info", "a"});
    for (const char *word : {"importer: sequence 2000", "billing: position 640", "written by   nobody", "lease"})
        EXPECT_TRUE(contains(result.output, word)) << word << " in: " << result.output;
    /* By its directory, without a bus that knows it. */
    Words words = {bin_ + "/weir", "journal", "ls", "--bus", bus_ + "/none", "--journal", disk_ + "/journal"};
    EXPECT_TRUE(contains(run_words(words).output, "a  "));
}

TEST_F(JournalTool, NothingIsListedWhereThereIsNothing)
{
    Result result = run({"journal", "ls", "--journal", disk_ + "/journal"});
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.output, "");
    result = run({"journal", "ls", "--journal", disk_ + "/nowhere"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "nowhere")) << result.error;
    result = run({"journal", "info", "a", "--journal", disk_ + "/journal"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "there is no journal")) << result.error;
}

TEST_F(JournalTool, WrongWordsAreRefused)
{
    EXPECT_EQ(run({"journal"}).status, 2);
    EXPECT_EQ(run({"journal", "mend", "a"}).status, 2);
    for (const char *verb : {"info", "gaps", "verify", "dump", "repair", "pin", "unpin"})
        EXPECT_EQ(run({"journal", verb}).status, 2) << verb;
    EXPECT_EQ(run({"journal", "ls", "a"}).status, 2);
    EXPECT_EQ(run({"journal", "pin", "a"}).status, 2);
    EXPECT_EQ(run({"journal", "pin", "a", "--name", "x", "--from", "end"}).status, 2);
    EXPECT_EQ(run({"journal", "unpin", "a"}).status, 2);
    EXPECT_EQ(run({"journal", "unpin", "a", "--all", "--name", "x"}).status, 2);
    EXPECT_EQ(run({"journal", "dump", "a", "--json", "--framed"}).status, 2);
    Result result = run({"journal", "dump", "a", "--from", "64", "--since", "1h"});
    EXPECT_EQ(result.status, 2);
    EXPECT_TRUE(contains(result.error, "--from and --since exclude each other")) << result.error;
    result = run({"journal", "dump", "a", "--to", "64", "--until", "1h"});
    EXPECT_EQ(result.status, 2);
    EXPECT_TRUE(contains(result.error, "--to and --until exclude each other")) << result.error;
    EXPECT_EQ(run({"journal", "dump", "a", "--since", "yesterday"}).status, 2);
    EXPECT_EQ(run({"journal", "dump", "a", "--since", "2026-13-01"}).status, 2);
    EXPECT_EQ(run({"journal", "info", "a/b"}).status, 2);
    EXPECT_EQ(run({"sub", "a", "--since", "1h", "--from", "0"}).status, 2);
}

TEST_F(JournalTool, DumpPrintsWhatSubPrints)
{
    fill();
    for (bool live : {true, false}) {
        EXPECT_TRUE(same(run({"journal", "dump", "a"}).output, numbers(1, 2000)));
        EXPECT_EQ(run({"journal", "dump", "a", "--from", "640", "--count", "3"}).output, "11\n12\n13\n");
        EXPECT_EQ(run({"journal", "dump", "a", "--from", "640", "--to", "768"}).output, "11\n12\n");
        EXPECT_EQ(run({"journal", "dump", "a", "--count", "2", "--framed"}).output, frame("1") + frame("2"));
        EXPECT_EQ(run({"journal", "dump", "a", "--to", "0"}).output, "");
        EXPECT_EQ(run({"journal", "dump", "a", "--from", "end"}).output, "");
        auto lines = parse_lines(run({"journal", "dump", "a", "--from", "64", "--count", "1", "--json"}).output);
        ASSERT_EQ(lines.size(), 1u);
        EXPECT_EQ(number(lines[0].get(), "position"), 64);
        EXPECT_EQ(text(lines[0].get(), "data"), "2");
        Result result = run({"journal", "dump", "a", "--from", "65"});
        EXPECT_EQ(result.status, 1);
        EXPECT_TRUE(contains(result.error, "65 is not the position of a message")) << result.error;
        EXPECT_EQ(run({"journal", "verify", "a"}).status, 0);
        auto verified = parse_lines(run({"journal", "verify", "a", "--json"}).output);
        ASSERT_EQ(verified.size(), 1u);
        EXPECT_EQ(number(verified[0].get(), "faults"), 0);
        EXPECT_GE(number(verified[0].get(), "verified_bytes"), 2000 * 64);
        if (live)
            stop_weird();
    }
}

TEST_F(JournalTool, MessagesAreFoundByTheirTime)
{
    fill();
    auto lines = parse_lines(run({"journal", "dump", "a", "--json"}).output);
    ASSERT_EQ(lines.size(), 2000u);
    /* With its index, and without it. */
    for (bool index : {true, false}) {
        if (!index) {
            ASSERT_TRUE(std::filesystem::remove(path("index")));
        }
        for (size_t i : {0u, 1u, 777u, 1998u}) {
            std::string time = text(lines[i].get(), "time");
            size_t first = i;
            while (first > 0 && text(lines[first - 1].get(), "time") >= time)
                first--;
            std::string expected = text(lines[first].get(), "data") + "\n";
            EXPECT_EQ(run({"sub", "a", "--since", time, "--count", "1"}).output, expected);
            EXPECT_EQ(run({"journal", "dump", "a", "--since", time, "--count", "1"}).output, expected);
            std::string before = run({"journal", "dump", "a", "--until", time}).output;
            EXPECT_EQ(before, first == 0 ? "" : numbers(1, (int)first));
        }
        EXPECT_TRUE(same(run({"sub", "a", "--since", "1d", "--timeout", "0"}).output, numbers(1, 2000)));
        EXPECT_TRUE(same(run({"sub", "a", "--since", "2001-02-03", "--timeout", "0"}).output, numbers(1, 2000)));
        EXPECT_EQ(run({"sub", "a", "--since", "0", "--timeout", "0"}).output, "");
        EXPECT_EQ(run({"sub", "a", "--since", "2100-01-01T00:00:00+01:00", "--timeout", "0"}).output, "");
        EXPECT_EQ(run({"journal", "dump", "a", "--since", "2100-01-01 10:00"}).output, "");
    }
    stop_weird();
    std::string time = text(lines[1000].get(), "time");
    std::string rest = run({"journal", "dump", "a", "--since", time}).output;
    EXPECT_TRUE(contains(rest, "\n1500\n"));
    EXPECT_FALSE(contains(rest, "\n500\n"));
}

TEST_F(JournalTool, DamageIsToldByExactRangeAndRepairedOnce)
{
    fill();
    Result result = tool({"repair", "a"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "weird has it")) << result.error;
    EXPECT_EQ(run({"ring", "rm", "a", "--keep-journal"}).status, 0); /* memory would have what is missing */
    stop_weird();
    const std::string good = without({{12928, 12992}, {20480, 24576}});
    damage("0000000000000003.seg", 4096 + 640 + 16);
    std::filesystem::remove(path("0000000000000005.seg"));
    result = tool({"verify", "a"});
    EXPECT_EQ(result.status, 1);
    const char *damaged =
        "a: 0000000000000003.seg: bytes 4736 to 4800: records that do not check: positions 12928 to 12992\n";
    EXPECT_TRUE(contains(result.output, damaged)) << result.output;
    EXPECT_TRUE(contains(result.output, "a: 0000000000000005.seg: bytes 4096 to 8192: there is no such file: positions "
                                        "20480 to 24576\n"))
        << result.output;
    EXPECT_TRUE(contains(result.output, ": 2 new faults, 0 known\n")) << result.output;
    auto faults = parse_lines(tool({"verify", "a", "--json"}).output);
    ASSERT_EQ(faults.size(), 3u);
    EXPECT_EQ(text(faults[0].get(), "file"), "0000000000000003.seg");
    EXPECT_EQ(number(faults[0].get(), "offset"), 4736);
    EXPECT_EQ(number(faults[0].get(), "bytes"), 64);
    EXPECT_EQ(number(faults[0].get(), "from"), 12928);
    EXPECT_FALSE(truth(faults[0].get(), "known"));
    EXPECT_EQ(number(faults[2].get(), "faults"), 2);

    result = tool({"repair", "a", "--dry-run"});
    EXPECT_EQ(result.status, 0) << result.error;
    EXPECT_TRUE(contains(result.output, "2 steps to be done")) << result.output;
    EXPECT_EQ(tool({"gaps", "a"}).output, "");
    auto steps = parse_lines(tool({"repair", "a", "--json"}).output);
    ASSERT_EQ(steps.size(), 3u);
    EXPECT_EQ(number(steps[2].get(), "steps"), 2);
    EXPECT_TRUE(contains(text(steps[0].get(), "step"), "positions 12928 to 12992 are noted as damaged"));
    EXPECT_EQ(tool({"repair", "a"}).output, "a: there is nothing to repair\n");
    result = tool({"verify", "a"});
    EXPECT_EQ(result.status, 0) << "the ledger knows it now";
    EXPECT_TRUE(contains(result.output, "(known to the ledger)")) << result.output;
    result = tool({"gaps", "a"});
    EXPECT_TRUE(contains(result.output, "12928 to 12992, damaged, noted ")) << result.output;
    auto gaps = parse_lines(tool({"gaps", "a", "--json"}).output);
    ASSERT_EQ(gaps.size(), 2u);
    EXPECT_EQ(number(gaps[1].get(), "from"), 20480);
    EXPECT_EQ(number(gaps[1].get(), "to"), 24576);
    EXPECT_EQ(text(gaps[1].get(), "reason"), "damaged");
    EXPECT_EQ(number(gaps[1].get(), "epoch"), 1);
    EXPECT_TRUE(contains(text(gaps[1].get(), "noted"), "T"));

    result = tool({"dump", "a"});
    EXPECT_TRUE(contains(result.error, "gap: positions 12928 to 12992 are missing (damaged)\n")) << result.error;
    EXPECT_TRUE(same(result.output, good));
    weird_ = start_weird();
    ASSERT_TRUE(served("a"));
    EXPECT_TRUE(same(contents("a"), result.output)) << "subscribers read the same";
}

/* What is damaged above durable is in memory: it is no gap, neither now nor when weird has written it again. */
TEST_F(JournalTool, ARepairNotesNothingThatMemoryHas)
{
    std::string file = disk_ + "/weird.conf";
    std::ofstream(file) << "[ring]\nsync = interval 1m\n";
    weird_ = std::make_unique<Process>(
        Words{bin_ + "/weird", "--bus", bus_, "--journal", disk_ + "/journal", "--config", file}, Process::NOTHING);
    create("a", {"--segment-bytes", "4KiB", "--memory-limit", "512KiB", "--max-readers", "2", "--max-publishers", "3"});
    ASSERT_TRUE(served("a"));
    ASSERT_EQ(run({"pub", "a", "--confirm", "written"}, numbers(1, 500), 60).status, 0);
    weird_->send_signal(SIGKILL);
    weird_->wait();
    ASSERT_LT(number(parse(run({"ring", "info", "a", "--json"}).output).get(), "durable"), 3 * 4096);
    damage("0000000000000003.seg", 4096 + 640 + 16);
    std::filesystem::remove(path("0000000000000005.seg"));
    for (bool dry_run : {true, false}) {
        Result result = tool(dry_run ? Words{"repair", "a", "--dry-run"} : Words{"repair", "a"});
        EXPECT_EQ(result.status, 0) << result.error;
        EXPECT_TRUE(contains(result.output, "positions 12928 to 12992 stay as they are")) << result.output;
        EXPECT_TRUE(contains(result.output, "positions 20480 to 24576 stay as they are")) << result.output;
        EXPECT_FALSE(contains(result.output, "noted")) << result.output;
        EXPECT_TRUE(parse_lines(tool({"gaps", "a", "--json"}).output).empty());
    }
    weird_ = start_weird();
    ASSERT_TRUE(served("a"));
    ASSERT_EQ(run({"pub", "a", "--confirm", "durable"}, "501\n").status, 0);
    stop_weird();
    Result result = tool({"verify", "a"});
    EXPECT_EQ(result.status, 0) << result.output;
    EXPECT_TRUE(parse_lines(tool({"gaps", "a", "--json"}).output).empty());
    EXPECT_TRUE(same(tool({"dump", "a"}).output, numbers(1, 501)));
}

TEST_F(JournalTool, AJournalWithoutItsMetaComesBackToo)
{
    fill(2000, {"--as", "importer"});
    EXPECT_EQ(run({"ring", "rm", "a", "--keep-journal"}).status, 0);
    stop_weird();
    std::filesystem::resize_file(path("meta"), 0);
    damage("names", 30);
    Result result = run({"journal", "ls", "--journal", disk_ + "/journal"});
    EXPECT_TRUE(contains(result.output, "damaged: see weir journal repair")) << result.output;
    weird_ = start_weird();
    EXPECT_TRUE(weird_->wait_for_error("cannot open its journal: Wrong medium type: see weir journal repair"))
        << weird_->error;
    stop_weird();
    result = run({"journal", "repair", "a", "--journal", disk_ + "/journal"});
    EXPECT_EQ(result.status, 0) << result.error;
    EXPECT_TRUE(contains(result.output, "meta: written anew from the segments' headers")) << result.output;
    weird_ = start_weird();
    ASSERT_TRUE(served("a"));
    EXPECT_TRUE(same(contents("a"), numbers(1, 2000)));
    /* Its last sequence is what its messages prove: these lines were published before. */
    EXPECT_EQ(run({"pub", "a", "--as", "importer", "--confirm", "durable"}, numbers(1, 2001)).status, 0);
    EXPECT_TRUE(same(contents("a"), numbers(1, 2001)));
}

TEST_F(JournalTool, PinsAreMadeShownAndTakenAway)
{
    fill();
    for (bool live : {true, false}) {
        EXPECT_EQ(run({"journal", "pin", "a", "--name", "audit", "--from", "640", "--to", "1280"}).status, 0);
        EXPECT_EQ(run({"journal", "pin", "a", "--name", "all"}).status, 0);
        Result result = run({"journal", "info", "a"});
        EXPECT_TRUE(contains(result.output, "  audit: 640 to 1280, made 20")) << result.output;
        Json object = info();
        const json_t *pins = json_object_get(object.get(), "pins");
        ASSERT_EQ(json_array_size(pins), 2u);
        EXPECT_EQ(text(json_array_get(pins, 0), "name"), "all");
        EXPECT_EQ(number(json_array_get(pins, 0), "from"), 0);
        EXPECT_EQ(number(json_array_get(pins, 0), "to"), number(object.get(), "end_position"));
        EXPECT_EQ(run({"journal", "unpin", "a", "--name", "audit"}).status, 0);
        result = run({"journal", "unpin", "a", "--name", "audit"});
        EXPECT_EQ(result.status, 1);
        EXPECT_TRUE(contains(result.error, "no such pin")) << result.error;
        EXPECT_EQ(run({"journal", "unpin", "a", "--all"}).status, 0);
        EXPECT_EQ(json_array_size(json_object_get(info().get(), "pins")), 0u);
        if (live)
            stop_weird();
    }
}

TEST_F(JournalTool, ARingWhoseJournalHasPinsIsRemovedByForceAlone)
{
    fill();
    EXPECT_EQ(run({"journal", "pin", "a", "--name", "audit", "--from", "640", "--to", "1280"}).status, 0);
    Result result = run({"ring", "rm", "a"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "pins keep the journal of ring a (audit): unpin, keep the journal"))
        << result.error;
    EXPECT_TRUE(same(contents("a"), numbers(1, 2000)));
    EXPECT_EQ(run({"ring", "rm", "a", "--force"}).status, 0);
    EXPECT_FALSE(std::filesystem::exists(disk_ + "/journal/a"));
}

/* docs/guarantees.md: "The way back after a journal error". */
TEST_F(JournalTool, ARingGoesOnWithItsJournalInAnotherDirectory)
{
    fill();
    stop_weird();
    std::filesystem::create_directories(disk_ + "/other");
    Words elsewhere = {bin_ + "/weird", "--bus", bus_, "--journal", disk_ + "/other"};
    {
        Process refused(elsewhere, Process::NOTHING);
        EXPECT_TRUE(refused.wait_for_error("is it the wrong journal directory?")) << refused.error;
        publish("a", "in memory\n");
        refused.send_signal(SIGTERM);
        refused.wait();
    }
    const std::string good = without({{9216, 12288}});
    /* The directory goes to another disk: what can be read of it. */
    std::filesystem::copy(disk_ + "/journal/a", disk_ + "/other/a", std::filesystem::copy_options::recursive);
    std::filesystem::resize_file(disk_ + "/other/a/0000000000000002.seg", 4096 + 1024);
    Result result = run({"journal", "repair", "a", "--journal", disk_ + "/other"});
    EXPECT_EQ(result.status, 0) << result.error;
    EXPECT_TRUE(contains(result.output, "positions 9216 to 12288 are noted as damaged")) << result.output;
    weird_ = std::make_unique<Process>(elsewhere, Process::NOTHING);
    ASSERT_TRUE(well());
    result = run({"pub", "a", "--confirm", "durable"}, "and on\n");
    EXPECT_EQ(result.status, 0) << result.error;
    result = run({"sub", "a", "--timeout", "0"});
    EXPECT_TRUE(same(result.output, good + "in memory\nand on\n"));
    EXPECT_EQ(result.error, "gap: positions 9216 to 12288 are missing (damaged)\n");
    EXPECT_EQ(run({"journal", "verify", "a"}).status, 0) << "the ring's link leads there now";
}

TEST_F(JournalTool, ACopyThatLacksDurableMessagesAtItsEndComesBackAboveThem)
{
    fill();
    weird_->send_signal(SIGKILL); /* what is durable was not noted in the journal yet */
    weird_->wait();
    json_int_t durable = number(parse(run({"ring", "info", "a", "--json"}).output).get(), "durable");
    std::filesystem::create_directories(disk_ + "/other");
    std::filesystem::copy(disk_ + "/journal/a", disk_ + "/other/a", std::filesystem::copy_options::recursive);
    for (const auto &file : std::filesystem::directory_iterator(disk_ + "/other/a")) {
        std::string name = file.path().filename();
        if (name >= "0000000000000014" && name.find(".seg") != std::string::npos)
            std::filesystem::remove(file.path());
    }
    EXPECT_EQ(run({"journal", "repair", "a", "--journal", disk_ + "/other"}).status, 0);
    Words elsewhere = {bin_ + "/weird", "--bus", bus_, "--journal", disk_ + "/other"};
    weird_ = std::make_unique<Process>(elsewhere, Process::NOTHING);
    EXPECT_TRUE(weird_->wait_for_error("is it the wrong journal directory, or an old copy?")) << weird_->error;
    EXPECT_TRUE(contains(contents("a"), "\n2000\n")) << "memory still has it";
    stop_weird();
    EXPECT_EQ(run({"ring", "rm", "a", "--keep-journal"}).status, 0);
    weird_ = std::make_unique<Process>(elsewhere, Process::NOTHING);
    ASSERT_TRUE(served("a"));
    EXPECT_EQ(run({"pub", "a", "--confirm", "durable"}, "and on\n").status, 0);
    Result result = run({"sub", "a", "--timeout", "0"});
    EXPECT_TRUE(contains(result.output, "1\n2\n3\n"));
    EXPECT_FALSE(contains(result.output, "\n2000\n"));
    EXPECT_TRUE(contains(result.output, "and on\n"));
    EXPECT_TRUE(contains(result.error, "are missing (lost)")) << result.error;
    Json info = parse(run({"ring", "info", "a", "--json"}).output);
    EXPECT_EQ(number(info.get(), "epoch"), 2);
    EXPECT_GT(number(info.get(), "first_position"), durable) << "no position is given out twice";
}
