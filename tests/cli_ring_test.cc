// SPDX-License-Identifier: Apache-2.0
// test: LINKS PkgConfig::JANSSON PROGRAMS weir_tool TIMEOUT 120
// weir ring create|ls|info|check|rm, and stat of rings that nobody uses.
#include "tests/cli_support.hh"

#include <sys/stat.h>

using namespace cli;

class Ring : public cli::Test
{
protected:
    Json info(const std::string &ring) const
    {
        Result result = run({"ring", "info", ring, "--json"});
        EXPECT_EQ(result.status, 0) << result.error;
        return parse(result.output);
    }
    // Overwrites bytes of one of the ring's files.
    void damage(const std::string &ring, const std::string &name, off_t offset, const std::string &bytes) const
    {
        int fd = open((bus_ + "/" + ring + "/" + name).c_str(), O_WRONLY);
        ASSERT_GE(fd, 0);
        ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), offset), static_cast<ssize_t>(bytes.size()));
        close(fd);
    }
};

TEST_F(Ring, IsCreatedJournaledSharedAndBlockingByDefault)
{
    create("a", {});
    Json ring = info("a");
    EXPECT_TRUE(truth(ring.get(), "journaled"));
    EXPECT_FALSE(truth(ring.get(), "exclusive"));
    EXPECT_EQ(text(ring.get(), "when_full"), "block");
    EXPECT_EQ(number(ring.get(), "segment_bytes"), 256 * 1024);
    EXPECT_EQ(number(ring.get(), "max_readers"), 16);
    EXPECT_EQ(number(ring.get(), "max_publishers"), 8);
    EXPECT_EQ(text(ring.get(), "mode"), "0600");
    EXPECT_EQ(text(ring.get(), "daemon"), "absent");
    EXPECT_EQ(number(ring.get(), "visible"), 0);
    EXPECT_TRUE(json_is_null(json_object_get(ring.get(), "journal_error")));
}

TEST_F(Ring, TakesEveryOptionOfItsGeometry)
{
    create("a",
           {"--exclusive", "--memory", "--segment-bytes", "64KiB", "--memory-limit", "2MiB", "--max-readers", "3",
            "--max-publishers", "1", "--when-full", "drop-old", "--mode", "0640", "--group", std::to_string(getgid())});
    Json ring = info("a");
    EXPECT_TRUE(truth(ring.get(), "exclusive"));
    EXPECT_FALSE(truth(ring.get(), "journaled"));
    EXPECT_EQ(text(ring.get(), "when_full"), "drop-old");
    EXPECT_EQ(number(ring.get(), "segment_bytes"), 65536);
    EXPECT_EQ(number(ring.get(), "memory_limit_bytes"), 2 << 20);
    EXPECT_EQ(number(ring.get(), "max_readers"), 3);
    EXPECT_EQ(number(ring.get(), "max_publishers"), 1);
    EXPECT_EQ(text(ring.get(), "mode"), "0640");
    EXPECT_EQ(number(ring.get(), "gid"), getgid());
    EXPECT_EQ(text(ring.get(), "daemon"), "none");
}

TEST_F(Ring, CreationIsQuietAndShowsTheRingAsJson)
{
    Result result = run({"ring", "create", "a", "--memory"});
    EXPECT_EQ(result.output + result.error, "");
    result = run({"ring", "create", "b", "--memory", "--json"});
    EXPECT_EQ(text(parse(result.output).get(), "ring"), "b");
}

TEST_F(Ring, ImpossibleRingsAreRefusedWithTheReason)
{
    const std::vector<Words> all = {
        {"a", "--segment-bytes", "5000"},
        {"a", "--when-full", "drop-old"}, // journaled
        {".hidden"},
        {"a/b"},
        {std::string(65, 'x')},
        {"a", "--group", "there-is-no-such-group"},
        {"a", "--memory-limit", "1000TiB"},
        {"a", "--mode", "777"},
        {"a", "--mode", "602"},
        {"a", "--exclusive", "--max-publishers", "2"},
        {"a", "--memory", "--journaled"},
        {"a", "--journaled", "--memory"},
    };
    for (const Words &options : all) {
        Words words = {"ring", "create"};
        words.insert(words.end(), options.begin(), options.end());
        Result result = run(words);
        EXPECT_EQ(result.status, 2) << options[0] << " " << options.back();
        EXPECT_EQ(result.error.rfind("weir: ring create: ", 0), 0u) << result.error;
        EXPECT_FALSE(contains(result.error, "max_publishers")) << "that is C: " << result.error;
    }
    EXPECT_EQ(run({"ring", "ls"}).output, "");
    create("a");
    EXPECT_EQ(run({"ring", "create", "a"}).status, 1) << "it exists";
}

TEST_F(Ring, SaysWhereItsMemoryLies)
{
    create("plain");
    Json plain = info("plain");
    EXPECT_TRUE(json_is_null(json_object_get(plain.get(), "numa_asked")));
    EXPECT_EQ(text(plain.get(), "huge_asked"), "none");
    EXPECT_EQ(number(plain.get(), "huge_bytes"), 0);
    EXPECT_EQ(number(plain.get(), "page_bytes"), sysconf(_SC_PAGESIZE));
    EXPECT_EQ(number(plain.get(), "placed_bytes"), number(plain.get(), "memory_bytes"));
    Result result = run({"ring", "info", "plain"});
    EXPECT_TRUE(contains(result.output, "\nnode         ")) << result.output;
    EXPECT_TRUE(contains(result.output, "\npages        ")) << result.output;
    EXPECT_FALSE(contains(result.output, "asked for")) << result.output;
}

TEST_F(Ring, LiesOnTheNodeThatItIsAskedFor)
{
    Result result = run({"ring", "create", "local", "--memory", "--numa", "local", "--json"});
    if (result.status == 1 && contains(result.error, "no NUMA node can be chosen"))
        GTEST_SKIP() << result.error;
    ASSERT_EQ(result.status, 0) << result.error;
    Json local = parse(result.output);
    const json_int_t node = number(local.get(), "numa_asked");
    EXPECT_EQ(number(local.get(), "numa_node"), node);
    EXPECT_EQ(number(local.get(), "numa_node_bytes"), number(local.get(), "placed_bytes"));
    result = run({"ring", "info", "local"});
    EXPECT_TRUE(contains(result.output, "all of it; asked for: " + std::to_string(node))) << result.output;
    create("numbered", {"--memory", "--numa", std::to_string(node)});
    EXPECT_EQ(number(info("numbered").get(), "numa_asked"), node);
    for (const char *absent : {"1023", "1024", "2000000000"}) {
        result = run({"ring", "create", "absent", "--numa", absent});
        EXPECT_NE(result.status, 0) << absent;
        EXPECT_TRUE(contains(result.error, std::string("no NUMA node ") + absent)) << result.error;
    }
    for (const char *wrong : {"", "x", "-1", "1.5", "99999999999", "Local"}) {
        result = run({"ring", "create", "wrong", "--numa", wrong});
        EXPECT_EQ(result.status, 2) << wrong;
        EXPECT_TRUE(contains(result.error, "--numa")) << result.error;
    }
    EXPECT_FALSE(contains(run({"ring", "ls"}).output, "absent"));
}

// Whether there are huge pages is the machine's; what is not had is said.
TEST_F(Ring, LiesOnHugePagesOrSaysWhatIsMissing)
{
    for (const char *kind : {"--huge", "--huge-transparent"}) {
        Result result = run({"ring", "create", "a", "--memory", "--memory-limit", "4MiB", "--max-readers", "1",
                             "--max-publishers", "1", kind, "--json"});
        if (result.status == 0) {
            Json ring = parse(result.output);
            EXPECT_NE(text(ring.get(), "huge_asked"), "none");
            EXPECT_GT(number(ring.get(), "huge_bytes"), 0);
            EXPECT_GE(number(ring.get(), "segment_bytes"), number(ring.get(), "page_bytes"));
            publish("a", numbers(1, 100));
            EXPECT_EQ(run({"sub", "a", "--count", "100"}).output, numbers(1, 100));
            EXPECT_EQ(run({"ring", "rm", "a"}).status, 0);
            result = run({"ring", "create", "a", "--segment-bytes", "4096", kind});
            EXPECT_TRUE(contains(result.error, "smaller than a huge page: they need ")) << result.error;
        } else {
            EXPECT_TRUE(contains(result.error, "huge pages")) << result.error;
            EXPECT_TRUE(contains(result.error, "mount") || contains(result.error, "nr_hugepages") ||
                        contains(result.error, "kernel"))
                << result.error;
        }
        EXPECT_NE(result.status, 0);
        EXPECT_EQ(run({"ring", "ls"}).output, "");
    }
}

TEST_F(Ring, AreListedInOrderOfTheirNames)
{
    EXPECT_EQ(run({"ring", "ls"}).output, "");
    create("b");
    create("a", {});
    Result result = run({"ring", "ls"});
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.output.rfind("RING", 0), 0u);
    EXPECT_LT(result.output.find("\na "), result.output.find("\nb "));
    std::vector<Json> lines = parse_lines(run({"ring", "ls", "--json"}).output);
    ASSERT_EQ(lines.size(), 2u);
    EXPECT_EQ(text(lines[0].get(), "ring"), "a");
    EXPECT_EQ(text(lines[1].get(), "ring"), "b");
}

TEST_F(Ring, AListGoesOnBehindOneThatCannotBeRead)
{
    create("a");
    create("b");
    damage("a", "control", 0, "garbage!");
    Result result = run({"ring", "ls"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "weir: ring ls: "));
    EXPECT_TRUE(contains(result.output, "\nb "));
    result = run({"stat"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.output, "b: memory only"));
}

TEST_F(Ring, WhatIsNotThereIsToldByEachCommand)
{
    const std::vector<Words> all = {{"ring", "info", "a"}, {"ring", "check", "a"}, {"ring", "rm", "a"},
                                    {"pub", "a"},          {"sub", "a"},           {"stat", "a"}};
    for (const Words &words : all) {
        Result result = run(words);
        EXPECT_EQ(result.status, 1) << words.back();
        EXPECT_TRUE(contains(result.error, ": a: there is no ring 'a' on " + bus_)) << result.error;
        EXPECT_FALSE(contains(result.error, "no such ring")) << "it is said once: " << result.error;
    }
    EXPECT_EQ(run({"ring", "ls"}).status, 0);
    bus_ += "-not-there";
    EXPECT_EQ(run({"ring", "ls"}).status, 1);
    EXPECT_EQ(run({"stat"}).status, 1);
}

TEST_F(Ring, ABadNameIsWrongUsageOfEachCommand)
{
    create("a");
    const std::vector<Words> all = {{"ring", "create", ".x"},
                                    {"ring", "info", ".x"},
                                    {"ring", "check", ".x"},
                                    {"ring", "rm", ".x"},
                                    {"pub", ".x"},
                                    {"sub", ".x"},
                                    {"stat", ".x"},
                                    {"pub", "a", "--as", ".x"},
                                    {"sub", "a", "--save", ".x"},
                                    {"stat", std::string(65, 'x')}};
    for (const Words &words : all) {
        Result result = run(words);
        EXPECT_EQ(result.status, 2) << result.error;
        size_t rule = result.error.find("A-Z a-z 0-9");
        EXPECT_TRUE(rule == std::string::npos || result.error.find("A-Z a-z 0-9", rule + 1) == std::string::npos)
            << "it is said once: " << result.error;
    }
}

TEST_F(Ring, ABusThatCannotBeMadeIsNotTakenForARing)
{
    bus_ += "/not/there";
    Result result = run({"ring", "create", "a"});
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(result.error.rfind("weir: ring create: a: cannot make the bus directory " + bus_, 0), 0u) << result.error;
}

TEST_F(Ring, InfoOnATerminalSaysTheSame)
{
    create("a", {});
    Result result = run({"ring", "info", "a"});
    EXPECT_EQ(result.status, 0);
    for (const char *text : {"ring         a", "journaled, shared, when full: block", "256 KiB", "start weird", "0600"})
        EXPECT_TRUE(contains(result.output, text)) << text << " in: " << result.output;
}

TEST_F(Ring, CheckFindsNoFaultInASoundRing)
{
    create("a");
    EXPECT_EQ(run({"ring", "check", "a"}).status, 0);
    publish("a", numbers(1, 20000));
    Result result = run({"ring", "check", "a"});
    EXPECT_EQ(result.status, 0) << result.output;
    EXPECT_EQ(result.output, "");
    std::vector<Json> lines = parse_lines(run({"ring", "check", "a", "--json"}).output);
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_EQ(number(lines[0].get(), "faults"), 0);
}

TEST_F(Ring, CheckTellsEachFaultWithFileAndOffset)
{
    create("a");
    publish("a", numbers(1, 100));
    // The header of the 11th record: an allocated length that leads out of the segment.
    damage("a", "data", 640, std::string(8, '\x42'));
    Result result = run({"ring", "check", "a"});
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(result.output.rfind("a: data: 640: ", 0), 0u) << result.output << result.error;
    std::vector<Json> lines = parse_lines(run({"ring", "check", "a", "--json"}).output);
    ASSERT_GE(lines.size(), 2u);
    EXPECT_EQ(text(lines[0].get(), "file"), "data");
    EXPECT_EQ(number(lines[0].get(), "offset"), 640);
    EXPECT_NE(text(lines[0].get(), "fault"), "");
    EXPECT_EQ(number(lines.back().get(), "faults"), static_cast<json_int_t>(lines.size()) - 1);
}

TEST_F(Ring, GarbageTruncatedAndForeignFilesAreFaultsAndNeverACrash)
{
    create("a");
    publish("a", numbers(1, 1000));
    const std::string ring = bus_ + "/a", sound = disk_ + "/sound";
    std::filesystem::copy(ring, sound, std::filesystem::copy_options::recursive);
    for (const char *name : {"control", "readers", "data", "locks"}) {
        for (int kind = 0; kind < 4; kind++) {
            const std::string path = ring + "/" + name;
            auto bytes = std::filesystem::file_size(path);
            if (kind == 0)
                std::filesystem::remove(path);
            else if (kind == 1)
                std::filesystem::resize_file(path, bytes / 2);
            else if (kind == 2)
                std::filesystem::resize_file(path, 0);
            else
                std::ofstream(path) << std::string(bytes, '\xa5');
            for (const Words &words : {Words{"ring", "check", "a"}, Words{"ring", "info", "a"},
                                       Words{"stat", "a", "--interval", "10ms", "--count", "1"},
                                       Words{"sub", "a", "--timeout", "0"}, Words{"pub", "a"}}) {
                int status = run(words).status;
                EXPECT_TRUE(status == 0 || status == 1) << words.back() << " " << name << " " << kind << ": " << status;
            }
            if (strcmp(name, "locks") != 0) {
                EXPECT_EQ(run({"ring", "check", "a"}).status, 1) << name << " " << kind;
            }
            std::filesystem::remove_all(ring);
            std::filesystem::copy(sound, ring, std::filesystem::copy_options::recursive);
        }
    }
    EXPECT_EQ(run({"ring", "check", "a"}).status, 0);
}

TEST_F(Ring, ATruncationUnderAUserIsToldAndNoCrash)
{
    create("a", {"--memory", "--segment-bytes", "64KiB"});
    publish("a", numbers(1, 10));
    Process reader(weir({"sub", "a"}));
    ASSERT_TRUE(reader.wait_for_output("10\n"));
    std::filesystem::resize_file(bus_ + "/a/data", 0);
    EXPECT_EQ(reader.wait(), 1);
    EXPECT_TRUE(contains(reader.error, "the ring's memory is gone: a: ")) << reader.error;
}

TEST_F(Ring, IsRemoved)
{
    create("a");
    Result result = run({"ring", "rm", "a"});
    EXPECT_EQ(result.status, 0) << result.error;
    EXPECT_EQ(result.output, "");
    EXPECT_EQ(run({"ring", "info", "a"}).status, 1);
    EXPECT_TRUE(std::filesystem::is_empty(bus_));
    create("b");
    EXPECT_TRUE(truth(parse(run({"ring", "rm", "b", "--json"}).output).get(), "removed"));
}

TEST_F(Ring, IsNotRemovedUnderTheLivingUnlessForced)
{
    create("a");
    publish("a", "x\n");
    Process reader(weir({"sub", "a"}));
    ASSERT_TRUE(reader.wait_for_output("x\n"));
    Result result = run({"ring", "rm", "a"});
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(result.error.rfind("weir: ring rm: ", 0), 0u);
    EXPECT_EQ(run({"ring", "info", "a"}).status, 0);
    EXPECT_EQ(run({"ring", "rm", "a", "--force"}).status, 0);
    EXPECT_EQ(reader.wait(), 1);
    EXPECT_TRUE(contains(reader.error, "removed")) << reader.error;
}

TEST_F(Ring, StatOfARingThatNobodyUses)
{
    create("a", {});
    Result result = run({"stat", "a"});
    EXPECT_EQ(result.status, 0);
    EXPECT_TRUE(contains(result.output, "a: journaled, shared")) << result.output;
    EXPECT_TRUE(contains(result.output, "! nobody drains it: start weird")) << result.output;
    std::vector<Json> lines = parse_lines(run({"stat", "--json", "--interval", "20ms", "--count", "3"}).output);
    ASSERT_EQ(lines.size(), 3u);
    EXPECT_EQ(json_array_size(json_object_get(lines[2].get(), "participants")), 0u);
    EXPECT_EQ(json_array_size(json_object_get(lines[2].get(), "notes")), 1u);
}

TEST_F(Ring, StatRepeatsUntilInterrupted)
{
    create("a");
    Process stat(weir({"stat", "--interval", "20ms"}), Process::NOTHING);
    ASSERT_TRUE(stat.wait_for_output("a: memory only"));
    stat.send_signal(SIGINT);
    EXPECT_EQ(stat.wait(), 0);
}
