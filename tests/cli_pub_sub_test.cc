// SPDX-License-Identifier: Apache-2.0
// test: LINKS PkgConfig::JANSSON PROGRAMS weir_tool TIMEOUT 240
// weir pub and weir sub on memory-only rings: formats, limits, positions, signals, broken pipes.
#include "tests/cli_support.hh"

#include <set>

using namespace cli;

class PubSub : public cli::Test
{
protected:
    // Bytes of random-looking lengths and contents, the same each time.
    static std::string blob(size_t bytes, unsigned seed)
    {
        std::string blob(bytes, '\0');
        for (char &c : blob) {
            seed = seed * 1664525 + 1013904223;
            c = static_cast<char>(seed >> 24);
        }
        return blob;
    }
};

// -- Formats ----------------------------------------------------------------------------------------------------------

TEST_F(PubSub, LinesGoThroughAsTheyAre)
{
    create("a");
    std::string lines = "one\n\ntwo with blanks \n\ttab\r\n\xff\xfe not UTF-8\nlast without newline";
    publish("a", lines);
    EXPECT_TRUE(same(contents("a"), lines + "\n"));
}

TEST_F(PubSub, AnEmptyInputIsNoMessage)
{
    create("a");
    publish("a", "");
    EXPECT_EQ(contents("a"), "");
    publish("a", "\n");
    EXPECT_EQ(contents("a"), "\n");
}

TEST_F(PubSub, ManyLinesGoThroughInOrder)
{
    create("a", {"--memory", "--memory-limit", "64MiB"});
    std::string lines = numbers(1, 200000);
    publish("a", lines);
    EXPECT_TRUE(same(contents("a"), lines));
}

TEST_F(PubSub, FramesCarryAnyBytes)
{
    create("a");
    std::string frames;
    for (unsigned i = 0; i < 300; i++)
        frames += frame(blob(i * i % 5000, i));
    frames += frame("") + frame("\n") + frame(std::string(3, '\0'));
    publish("a", frames, {"--framed"});
    Result result = run({"sub", "a", "--framed", "--timeout", "0"});
    EXPECT_TRUE(same(result.output, frames));
}

TEST_F(PubSub, LongLinesGoThroughUpToASegment)
{
    create("a", {"--memory", "--segment-bytes", "1MiB"});
    std::string lines = std::string(1000000, 'x') + "\n" + std::string(300000, 'y') + "\nz\n";
    publish("a", lines);
    EXPECT_TRUE(same(contents("a"), lines));
}

TEST_F(PubSub, ALineThatIsTooLongIsAnErrorAndAllBeforeItIsPublished)
{
    create("a", {"--memory", "--segment-bytes", "4KiB"});
    // Longer than what a segment takes, but not than a segment: the ring refuses it. And far longer: not even read.
    for (size_t bytes : {size_t{4090}, size_t{5000}, size_t{50000000}}) {
        std::string path = file("in", numbers(1, 10) + std::string(bytes, 'x') + "\nlater\n");
        Result result = run({"pub", "a", "--file", path});
        EXPECT_EQ(result.status, 1);
        EXPECT_TRUE(contains(result.error, "offset 21")) << result.error;
        EXPECT_TRUE(contains(result.error, path)) << result.error;
    }
    EXPECT_EQ(contents("a"), numbers(1, 10) + numbers(1, 10) + numbers(1, 10));
}

TEST_F(PubSub, AFrameThatIsTooLongOrCutOffIsAnErrorAndAllBeforeItIsPublished)
{
    create("a", {"--memory", "--segment-bytes", "4KiB"});
    std::string good = frame("one") + frame("two");
    const std::vector<std::string> tails = {std::string(1, '\1'),
                                            std::string("\5\0\0", 3),
                                            std::string("\5\0\0\0", 4),
                                            frame("three").substr(0, 8),
                                            frame(std::string(5000, 'x')) + frame("later"),
                                            "\xff\xff\xff\xff" + frame("later")};
    std::string expected;
    for (const std::string &tail : tails) {
        Result result = run({"pub", "a", "--framed"}, good + tail);
        EXPECT_EQ(result.status, 1);
        EXPECT_TRUE(contains(result.error, "offset 14")) << result.error;
        expected += good;
    }
    EXPECT_EQ(run({"sub", "a", "--framed", "--timeout", "0"}).output, expected);
}

TEST_F(PubSub, JsonHasAllThatAMessageHas)
{
    create("a");
    publish("a",
            "gr\xc3\xbc\xc3\x9f"
            "e \"x\"\n",
            {"--tag", "7", "--key", "k\xc3\xa4", "--as", "me"});
    publish("a", frame(std::string("\0\xff", 2)) + frame(std::string("a\0b", 3)) + frame(""), {"--framed"});
    std::vector<Json> lines = parse_lines(run({"sub", "a", "--json", "--timeout", "0"}).output);
    ASSERT_EQ(lines.size(), 4u);
    const json_t *first = lines[0].get();
    EXPECT_EQ(number(first, "position"), 0);
    EXPECT_EQ(number(first, "tag"), 7);
    EXPECT_EQ(number(first, "sequence"), 1);
    EXPECT_EQ(text(first, "publisher").size(), 16u);
    EXPECT_EQ(text(first, "key"), "k\xc3\xa4");
    EXPECT_EQ(text(first, "data"), "gr\xc3\xbc\xc3\x9f"
                                   "e \"x\"");
    EXPECT_EQ(text(first, "time").size(), 30u);
    EXPECT_EQ(text(first, "time").substr(0, 2), "20");
    EXPECT_EQ(text(lines[1].get(), "data_base64"), "AP8=");
    EXPECT_EQ(json_object_get(lines[1].get(), "data"), nullptr);
    EXPECT_EQ(json_object_get(lines[1].get(), "key"), nullptr);
    EXPECT_EQ(json_object_get(lines[1].get(), "sequence"), nullptr);
    EXPECT_EQ(text(lines[2].get(), "data"), std::string("a\0b", 3));
    EXPECT_EQ(text(lines[3].get(), "data"), "");
}

TEST_F(PubSub, Base64IsThatOfTheRfc)
{
    create("a");
    std::string frames;
    for (const char *tail : {"", "f", "fo", "foo", "foob", "fooba", "foobar"})
        frames += frame(std::string("\xff") + tail);
    publish("a", frames, {"--framed"});
    std::vector<std::string> expected = {"/w==", "/2Y=", "/2Zv", "/2Zvbw==", "/2Zvb2I=", "/2Zvb2Jh", "/2Zvb2Jhcg=="};
    std::vector<Json> lines = parse_lines(run({"sub", "a", "--json", "--timeout", "0"}).output);
    ASSERT_EQ(lines.size(), expected.size());
    for (size_t i = 0; i < lines.size(); i++)
        EXPECT_EQ(text(lines[i].get(), "data_base64"), expected[i]);
}

// -- Where to begin and when to end -----------------------------------------------------------------------------------

TEST_F(PubSub, CountEndsWithZeroAsDoesNoTimeAtAllAndATimeLimitWithOne)
{
    create("a");
    publish("a", numbers(1, 100));
    Result result = run({"sub", "a", "--count", "3"});
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.output, "1\n2\n3\n");
    EXPECT_EQ(run({"sub", "a", "--count", "0"}).status, 0);
    EXPECT_EQ(run({"sub", "a", "--count", "100", "--timeout", "0"}).status, 0);
    result = run({"sub", "a", "--count", "101", "--timeout", "0"});
    EXPECT_EQ(result.status, 0);
    EXPECT_TRUE(same(result.output, numbers(1, 100)));
    EXPECT_EQ(result.error, "");
    auto began = Clock::now();
    result = run({"sub", "a", "--count", "101", "--timeout", "300ms"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(same(result.output, numbers(1, 100)));
    EXPECT_GE(seconds_since(began), 0.29);
}

TEST_F(PubSub, TheTimeLimitCountsFromTheStartHoweverManyMessagesCome)
{
    create("a");
    Process source(weir({"pub", "a", "--rate", "200"}));
    source.write_input(numbers(1, 10000));
    EXPECT_EQ(run({"sub", "a", "--timeout", "0.5"}, "", 10).status, 1);
}

TEST_F(PubSub, BeginsAtAPositionAtTheEndOrAtTheStart)
{
    create("a");
    publish("a", numbers(1, 10));
    std::vector<Json> lines = parse_lines(run({"sub", "a", "--json", "--timeout", "0"}).output);
    std::string fifth = std::to_string(number(lines[4].get(), "position"));
    EXPECT_TRUE(same(run({"sub", "a", "--from", fifth, "--timeout", "0"}).output, numbers(5, 10)));
    EXPECT_TRUE(same(run({"sub", "a", "--from", "start", "--timeout", "0"}).output, numbers(1, 10)));
    EXPECT_EQ(run({"sub", "a", "--from", "end", "--timeout", "0"}).output, "");
    Process reader(weir({"sub", "a", "--from", "end", "--count", "2"}));
    // It says nothing until there is something: known by its place among the readers.
    ASSERT_TRUE(attached("a", "reader_count", 1));
    publish("a", "11\n12\n");
    EXPECT_EQ(reader.wait(), 0);
    EXPECT_EQ(reader.output, "11\n12\n");
}

// -- Latency and pace -------------------------------------------------------------------------------------------------

TEST_F(PubSub, ALineIsNeverDelayedByWhatComesAfterIt)
{
    create("a");
    Process source(weir({"pub", "a"}));
    Process reader(weir({"sub", "a"}));
    for (int i = 1; i <= 5; i++) {
        ASSERT_TRUE(source.write_input("line " + std::to_string(i) + "\nrest"));
        EXPECT_TRUE(reader.wait_for_output("line " + std::to_string(i) + "\n"));
    }
    source.close_input();
    EXPECT_EQ(source.wait(), 0);
    EXPECT_TRUE(reader.wait_for_output("restline 5\nrest\n"));
}

TEST_F(PubSub, RatesAreKeptWithoutDriftOnBothSides)
{
    create("a");
    auto began = Clock::now();
    publish("a", numbers(1, 301), {"--rate", "300"});
    double took = seconds_since(began);
    EXPECT_GE(took, 0.99); // 300 intervals; above is the machine's
    began = Clock::now();
    Result result = run({"sub", "a", "--rate", "0.3k", "--count", "301"});
    took = seconds_since(began);
    EXPECT_EQ(result.status, 0);
    EXPECT_GE(took, 0.99);
    EXPECT_TRUE(same(result.output, numbers(1, 301)));
}

TEST_F(PubSub, WaitingCostsNoProcessorTime)
{
    create("a");
    Process reader(weir({"sub", "a"}));
    Process source(weir({"pub", "a", "--rate", "20"}));
    source.write_input(numbers(1, 1000));
    ASSERT_TRUE(reader.wait_for_output("20\n"));
    for (const Process *process : {&reader, &source}) {
        std::ifstream stat("/proc/" + std::to_string(process->pid()) + "/stat");
        std::string word;
        long ticks = 0;
        for (int i = 1; i <= 15 && stat >> word; i++)
            if (i == 14 || i == 15)
                ticks += std::stol(word);
        EXPECT_LE(ticks, sysconf(_SC_CLK_TCK) * 30 / 100) << "in a second of waiting";
    }
}

// -- Positions that are kept ------------------------------------------------------------------------------------------

TEST_F(PubSub, ASavedPositionIsFoundAgain)
{
    create("a");
    publish("a", numbers(1, 10));
    EXPECT_TRUE(same(run({"sub", "a", "--save", "me", "--count", "4"}).output, numbers(1, 4)));
    EXPECT_TRUE(same(run({"sub", "a", "--save", "me", "--count", "3", "--from", "start"}).output, numbers(5, 7)));
    EXPECT_EQ(run({"sub", "a", "--save", "other", "--count", "1"}).output, "1\n");
    EXPECT_TRUE(same(run({"sub", "a", "--save", "me", "--timeout", "0"}).output, numbers(8, 10)));
    EXPECT_EQ(run({"sub", "a", "--save", "me", "--timeout", "0"}).output, "");
}

TEST_F(PubSub, ASavedPositionIsHeldByOneAtATime)
{
    create("a");
    publish("a", "1\n");
    Process reader(weir({"sub", "a", "--save", "me"}));
    ASSERT_TRUE(reader.wait_for_output("1\n"));
    Result result = run({"sub", "a", "--save", "me", "--timeout", "0"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "held by a process that is alive")) << result.error;
    reader.send_signal(SIGTERM);
    EXPECT_EQ(reader.wait(), 0);
    EXPECT_EQ(run({"sub", "a", "--save", "me", "--timeout", "0"}).output, "");
}

TEST_F(PubSub, KilledAtAnyMomentItLosesNothingAndRepeatsLittle)
{
    create("a", {"--memory", "--memory-limit", "64MiB"});
    const int last = 500000;
    publish("a", numbers(1, last));
    std::string path = file("out", "");
    int next = 1, repeated = 0, runs = 0;
    while (next <= last && runs < 200) {
        Process reader({"/bin/sh", "-c", "exec \"$@\" >>" + path, "sh", bin_ + "/weir", "--bus", bus_, "sub", "a",
                        "--save", "me"});
        auto began = Clock::now();
        while (std::filesystem::file_size(path) == 0 && seconds_since(began) < 20)
            usleep(100);
        usleep(3919 * (runs % 7));
        reader.send_signal(SIGKILL);
        ASSERT_EQ(reader.wait(), KILLED_BY + SIGKILL);
        runs++;
        // Each run's output goes on where the one before was saved: at or before where it ended. A kill can cut a write
        // off, within a line too: what was not whole was not saved.
        std::ifstream out(path);
        std::stringstream bytes;
        bytes << out.rdbuf();
        std::string text = bytes.str();
        text.erase(text.rfind('\n') + 1);
        std::istringstream lines(text);
        int first = 0;
        if (lines >> first) {
            ASSERT_LE(first, next) << "messages were lost";
            repeated += next - first;
            next = first + 1;
            for (int number = 0; lines >> number; next++)
                ASSERT_EQ(number, next);
        }
        std::filesystem::resize_file(path, 0);
    }
    EXPECT_GT(next, last);
    EXPECT_GT(runs, 1);
    EXPECT_LE(repeated, runs * 1024) << "a position is saved every 1024 messages";
    RecordProperty("runs", runs);
    RecordProperty("repeated", repeated);
}

TEST_F(PubSub, ANamedPublisherGoesOnAfterItsLastMessage)
{
    create("a");
    publish("a", numbers(1, 10), {"--as", "me"});
    Result result = run({"pub", "a", "--as", "me", "--json"}, numbers(1, 25));
    EXPECT_EQ(result.status, 0);
    EXPECT_TRUE(contains(result.error, "skipping that many")) << result.error;
    Json report = parse(result.output);
    EXPECT_EQ(number(report.get(), "skipped"), 10);
    EXPECT_EQ(number(report.get(), "published"), 15);
    result = run({"pub", "a", "--as", "me", "--json"}, numbers(1, 7));
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(number(parse(result.output).get(), "published"), 0);
    publish("a", "x\n", {"--as", "other"});
    EXPECT_EQ(contents("a"), numbers(1, 25) + "x\n");
}

TEST_F(PubSub, ANamedPublisherKilledAtAnyMomentPublishesEachMessageOnce)
{
    create("a", {"--memory", "--memory-limit", "64MiB"});
    const std::string input = file("in", numbers(1, 40000));
    int runs = 0, status = -1;
    for (; runs < 200 && status != 0; runs++) {
        Process source(weir({"pub", "a", "--as", "me", "--file", input, "--rate", "400k"}));
        usleep(12000 + 3001 * (runs % 5) + 2000 * runs); // longer and longer, for slow machines
        if (source.running()) {
            source.send_signal(SIGKILL);
            source.send_signal(SIGCONT);
        }
        status = source.wait();
        ASSERT_TRUE(status == 0 || status == KILLED_BY + SIGKILL) << source.error;
    }
    EXPECT_GT(runs, 1);
    EXPECT_TRUE(same(contents("a"), numbers(1, 40000)));
}

TEST_F(PubSub, ANameIsHeldByOneAtATime)
{
    create("a");
    Process source(weir({"pub", "a", "--as", "me"}));
    source.write_input("1\n");
    Process reader(weir({"sub", "a", "--count", "1"}));
    ASSERT_EQ(reader.wait(), 0);
    Result result = run({"pub", "a", "--as", "me"}, "x\n");
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "held by a process that is alive")) << result.error;
}

// -- Full rings -------------------------------------------------------------------------------------------------------

TEST_F(PubSub, PublishersWaitForAGatingReader)
{
    create("a", {"--memory", "--segment-bytes", "4KiB", "--memory-limit", "64KiB", "--max-readers", "2",
                 "--max-publishers", "2"});
    Process reader(weir({"sub", "a", "--gate", "--rate", "1k", "--count", "3000"}));
    ASSERT_TRUE(attached("a", "reader_count", 1));
    publish("a", numbers(1, 3000));
    EXPECT_EQ(reader.wait(), 0);
    EXPECT_TRUE(same(reader.output, numbers(1, 3000)));
}

TEST_F(PubSub, AFullRingFailsAtTheTimeLimitAndSaysWhoIsBehind)
{
    create("a", {"--memory", "--segment-bytes", "4KiB", "--memory-limit", "64KiB", "--max-readers", "2",
                 "--max-publishers", "2"});
    publish("a", "0\n");
    Process reader(weir({"sub", "a", "--gate"}));
    ASSERT_TRUE(reader.wait_for_output("0\n"));
    reader.send_signal(SIGSTOP);
    Result result = run({"pub", "a", "--timeout", "1", "--json"}, numbers(1, 5000));
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "a gating reader is behind")) << result.error;
    EXPECT_TRUE(contains(result.error, "the ring stayed full: a: line ")) << result.error;
    json_int_t published = number(parse(result.output).get(), "published");
    EXPECT_GT(published, 0);
    EXPECT_LT(published, 5000);
    result = run({"stat", "a"});
    EXPECT_TRUE(contains(result.output, "is stopped and gates")) << result.output;
    reader.send_signal(SIGCONT);
    EXPECT_TRUE(reader.wait_for_output("\n" + std::to_string(published) + "\n"));
}

TEST_F(PubSub, WhoHasHadTheQuotaIsToldSoAndNotThatAReaderIsBehind)
{
    create("a", {"--memory"});
    const uint64_t quota[] = {1, 0, 0}; // messages and bytes a second, burst
    int fd = open((bus_ + "/a/control").c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_EQ(pwrite(fd, quota, sizeof quota, 272), static_cast<ssize_t>(sizeof quota));
    close(fd);
    publish("a", numbers(1, 60)); // pays for a minute
    Result result = run({"pub", "a", "--timeout", "1"}, "x\n");
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "a: it waits: ring a takes 1 messages and 0 bytes a second")) << result.error;
    EXPECT_FALSE(contains(result.error, "gating")) << result.error;
    EXPECT_TRUE(contains(result.error, "or had its quota: a: line 1 ")) << result.error;
}

TEST_F(PubSub, WhatDropNewRefusesIsCountedAndFails)
{
    create("a", {"--memory", "--segment-bytes", "4KiB", "--memory-limit", "64KiB", "--max-readers", "2",
                 "--max-publishers", "2", "--when-full", "drop-new"});
    publish("a", "0\n");
    Process reader(weir({"sub", "a", "--gate"}));
    ASSERT_TRUE(reader.wait_for_output("0\n"));
    reader.send_signal(SIGSTOP);
    Result result = run({"pub", "a", "--json"}, numbers(1, 5000));
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "were refused")) << result.error;
    Json report = parse(result.output);
    json_int_t published = number(report.get(), "published"), refused = number(report.get(), "refused");
    EXPECT_GT(published, 0);
    EXPECT_GT(refused, 0);
    EXPECT_EQ(published + refused, 5000);
    EXPECT_EQ(number(parse(run({"ring", "info", "a", "--json"}).output).get(), "refused_count"), refused);
    EXPECT_TRUE(contains(run({"stat", "a"}).output, "were refused because the ring was full"));
    reader.send_signal(SIGCONT);
    ASSERT_TRUE(reader.wait_for_output("\n" + std::to_string(published) + "\n"));
    EXPECT_TRUE(same(reader.output, numbers(0, static_cast<int>(published))));
}

TEST_F(PubSub, WhatDropOldOverwroteIsToldAsAGap)
{
    create("a", {"--memory", "--segment-bytes", "4KiB", "--memory-limit", "16KiB", "--max-readers", "2",
                 "--max-publishers", "2", "--when-full", "drop-old"});
    publish("a", numbers(1, 5000));
    Result result = run({"sub", "a", "--from", "0", "--timeout", "0"});
    EXPECT_TRUE(contains(result.error, "gap: positions 0 to ")) << result.error;
    EXPECT_TRUE(contains(result.error, " are missing (overwritten)\n")) << result.error;
    ASSERT_NE(result.output, "");
    int first = std::stoi(result.output);
    EXPECT_GT(first, 1);
    EXPECT_TRUE(same(result.output, numbers(first, 5000)));

    std::vector<Json> lines = parse_lines(run({"sub", "a", "--from", "0", "--json", "--timeout", "0"}).output);
    ASSERT_GE(lines.size(), 2u);
    const json_t *gap = json_object_get(lines[0].get(), "gap");
    ASSERT_NE(gap, nullptr);
    EXPECT_EQ(number(gap, "from"), 0);
    EXPECT_EQ(number(gap, "to"), number(lines[1].get(), "position"));
    EXPECT_EQ(text(gap, "reason"), "overwritten");
}

// -- Signals and pipes ------------------------------------------------------------------------------------------------

TEST_F(PubSub, SignalsEndAReaderCleanlyAndItsPositionIsSaved)
{
    create("a");
    for (int number : {SIGINT, SIGTERM, SIGHUP}) {
        publish("a", "x\n");
        Process reader(weir({"sub", "a", "--save", "me"}));
        ASSERT_TRUE(reader.wait_for_output("x\n"));
        reader.send_signal(number);
        EXPECT_EQ(reader.wait(), 0) << number;
        EXPECT_EQ(reader.output, "x\n");
        EXPECT_EQ(reader.error, "");
    }
    EXPECT_EQ(run({"sub", "a", "--save", "me", "--timeout", "0"}).output, "");
}

TEST_F(PubSub, SignalsEndAPublisherThatWaitsForInput)
{
    create("a");
    Process source(weir({"pub", "a"}));
    source.write_input("one\n");
    Process reader(weir({"sub", "a", "--count", "1"}));
    ASSERT_EQ(reader.wait(), 0);
    source.send_signal(SIGINT);
    EXPECT_EQ(source.wait(), 0) << source.error;
    Process cut(weir({"pub", "a"}));
    cut.write_input("two\nhalf a line");
    Process second(weir({"sub", "a", "--count", "2"}));
    ASSERT_EQ(second.wait(), 0);
    cut.send_signal(SIGTERM);
    EXPECT_EQ(cut.wait(), 1);
    EXPECT_TRUE(contains(cut.error, "interrupted")) << cut.error;
    EXPECT_EQ(contents("a"), "one\ntwo\n");
}

TEST_F(PubSub, ASignalEndsAPublisherInFrontOfAFullRing)
{
    create("a", {"--segment-bytes", "4KiB", "--memory-limit", "64KiB", "--max-readers", "2", "--max-publishers", "2"});
    Process source(weir({"pub", "a"}));
    source.write_input(numbers(1, 5000));
    EXPECT_TRUE(source.wait_for_error("ring full, nobody drains it: start weird")) << source.error;
    EXPECT_TRUE(source.running());
    source.send_signal(SIGINT);
    EXPECT_EQ(source.wait(), 1);
    EXPECT_EQ(source.error.find("start weird"), source.error.rfind("start weird")) << "said once";
    EXPECT_TRUE(contains(source.error, "interrupted: a: line ")) << source.error;
}

TEST_F(PubSub, ABrokenPipeEndsAReaderQuietlyAndSavesNothingThatWasNotWritten)
{
    create("a", {"--memory", "--memory-limit", "64MiB"});
    const int last = 200000;
    publish("a", numbers(1, last));
    Result result = run_words({"/bin/sh", "-c", "{ \"$@\"; echo \"status $?\" >&2; } | head -n 3", "sh", bin_ + "/weir",
                               "--bus", bus_, "sub", "a", "--save", "me"});
    EXPECT_EQ(result.output, "1\n2\n3\n");
    EXPECT_EQ(result.error, "status 1\n");
    // What went into the pipe counts as written: at most a block of output and the pipe.
    std::string rest = run({"sub", "a", "--save", "me", "--timeout", "0"}).output;
    ASSERT_NE(rest, "");
    int first = std::stoi(rest);
    EXPECT_LE(first, 100000);
    EXPECT_TRUE(same(rest, numbers(first, last)));
}

TEST_F(PubSub, AnIdleReaderNoticesThatNobodyReadsItsOutput)
{
    create("a");
    publish("a", "1\n");
    Process reader(weir({"sub", "a"}));
    ASSERT_TRUE(reader.wait_for_output("1\n"));
    reader.close_output();
    EXPECT_EQ(reader.wait(), 1);
    EXPECT_EQ(reader.error, "");
}

TEST_F(PubSub, AReaderWhoseOutputIsStuckCanBeEndedAndSavesNothingThatWasNotTaken)
{
    create("a", {"--memory", "--memory-limit", "64MiB"});
    const int last = 300000;
    publish("a", numbers(1, last));
    int out[2];
    ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out[1], 1);
        execl((bin_ + "/weir").c_str(), "weir", "--bus", bus_.c_str(), "sub", "a", "--save", "me", nullptr);
        _exit(127);
    }
    close(out[1]);
    usleep(300000); // the pipe is full, and nobody reads it
    kill(pid, SIGTERM);
    int status = -1;
    auto began = Clock::now();
    while (waitpid(pid, &status, WNOHANG) == 0 && seconds_since(began) < 20)
        usleep(10000);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 1);
    std::string taken, rest = run({"sub", "a", "--save", "me", "--timeout", "0"}).output;
    char buffer[65536];
    for (ssize_t got; (got = read(out[0], buffer, sizeof buffer)) > 0;)
        taken.append(buffer, static_cast<size_t>(got));
    close(out[0]);
    // The next run begins at or before the end of what was taken.
    int next = std::stoi(rest), whole = 0;
    std::istringstream lines(taken);
    for (std::string line; std::getline(lines, line);)
        whole += !lines.eof();
    EXPECT_LE(next, whole + 1);
    EXPECT_TRUE(same(rest, numbers(next, last)));
}

TEST_F(PubSub, AFullDiskUnderTheOutputIsAnError)
{
    create("a");
    publish("a", numbers(1, 10));
    Result result = run_words({"/bin/sh", "-c", "exec \"$@\" >/dev/full", "sh", bin_ + "/weir", "--bus", bus_, "sub",
                               "a", "--count", "5", "--save", "me"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "No space left")) << result.error;
    EXPECT_TRUE(same(run({"sub", "a", "--save", "me", "--timeout", "0"}).output, numbers(1, 10)));
}

// -- Inputs and confirms ----------------------------------------------------------------------------------------------

TEST_F(PubSub, InputsThatCannotBeReadAreErrors)
{
    create("a");
    Result result = run({"pub", "a", "--file", disk_ + "/not-there"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "No such file")) << result.error;
    result = run({"pub", "a", "--file", disk_});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "directory")) << result.error;
    EXPECT_EQ(run({"pub", "a", "--file", "-"}, "x\n").status, 0);
    EXPECT_EQ(contents("a"), "x\n");
}

TEST_F(PubSub, VisibleIsConfirmedOnAnyRingAndTheRestNeedsAJournal)
{
    create("a");
    Result result = run({"pub", "a", "--confirm", "visible"}, numbers(1, 3));
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.output, "published 3 messages, last position 128, visible\n");
    result = run({"pub", "a", "--confirm", "durable"}, numbers(1, 3));
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "in memory only")) << result.error;
    EXPECT_TRUE(same(contents("a"), numbers(1, 3)));
}

TEST_F(PubSub, AnExclusiveRingHasOnePublisher)
{
    create("a", {"--memory", "--exclusive"});
    Process source(weir({"pub", "a"}));
    source.write_input("1\n");
    Process reader(weir({"sub", "a", "--count", "1"}));
    ASSERT_EQ(reader.wait(), 0);
    Result result = run({"pub", "a"}, "2\n");
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "a: ring a is exclusive and its publisher is alive")) << result.error;
    source.send_signal(SIGKILL);
    EXPECT_EQ(source.wait(), KILLED_BY + SIGKILL);
    publish("a", "2\n");
    EXPECT_EQ(contents("a"), "1\n2\n");
}

TEST_F(PubSub, ManyPublishersAndReadersAtOnce)
{
    create("a", {"--memory", "--memory-limit", "64MiB"});
    std::vector<std::unique_ptr<Process>> sources, readers;
    std::string expected[4];
    for (int i = 0; i < 3; i++)
        readers.push_back(std::make_unique<Process>(weir({"sub", "a", "--count", "40000"})));
    ASSERT_TRUE(attached("a", "reader_count", 3)); // what every attached reader has passed is not kept for later ones
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 10000; j++)
            expected[i] += static_cast<char>('a' + i) + std::to_string(j) + "\n";
        std::string path = file("in" + std::to_string(i), expected[i]);
        sources.push_back(std::make_unique<Process>(weir({"pub", "a", "--file", path})));
    }
    for (auto &source : sources)
        EXPECT_EQ(source->wait(), 0) << source->error;
    for (auto &reader : readers) {
        EXPECT_EQ(reader->wait(), 0) << reader->error;
        EXPECT_TRUE(same(reader->output, readers[0]->output)) << "one order for all";
        std::string got[4];
        std::istringstream lines(reader->output);
        for (std::string line; std::getline(lines, line);)
            got[(line[0] - 'a') & 3] += line + "\n";
        for (int i = 0; i < 4; i++)
            EXPECT_TRUE(same(got[i], expected[i]));
    }
}
