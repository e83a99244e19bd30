// SPDX-License-Identifier: Apache-2.0
// test: LINKS weir_client PkgConfig::JANSSON PROGRAMS weir_tool weird TIMEOUT 240
// The commands on journaled rings, with weird and without; stat of who stands in the way.
#include "tests/cli_support.hh"

#include <weir.h>

using namespace cli;

class Journal : public cli::Test
{
protected:
    const Words small = {"--segment-bytes", "4KiB", "--memory-limit",   "64KiB",
                         "--max-readers",   "2",    "--max-publishers", "3"};
};

TEST_F(Journal, ConfirmsAreWaitedForAndPrinted)
{
    auto weird = start_weird();
    create("a", {});
    ASSERT_TRUE(served("a"));
    for (const char *level : {"visible", "written", "durable"}) {
        Result result = run({"pub", "a", "--confirm", level}, numbers(1, 1000));
        EXPECT_EQ(result.status, 0) << result.error;
        EXPECT_EQ(result.output.rfind("published 1000 messages, last position ", 0), 0u) << result.output;
        EXPECT_TRUE(contains(result.output, std::string(", ") + level + "\n")) << result.output;
    }
    Json info = parse(run({"ring", "info", "a", "--json"}).output);
    EXPECT_EQ(number(info.get(), "durable"), number(info.get(), "visible"));
    Result result = run({"pub", "a", "--confirm", "durable", "--json"}, "x\n");
    Json report = parse(result.output);
    EXPECT_EQ(text(report.get(), "confirmed"), "durable");
    EXPECT_EQ(number(report.get(), "last_position"), number(info.get(), "visible"));
    result = run({"pub", "a", "--confirm", "durable"}, "");
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.output, "published 0 messages\n");
}

TEST_F(Journal, MoreThanAWindowOfConfirmsIsPublished)
{
    auto weird = start_weird();
    create("a", {"--memory-limit", "4MiB", "--segment-bytes", "64KiB"});
    ASSERT_TRUE(served("a"));
    std::string lines = numbers(1, 200000);
    Result result = run({"pub", "a", "--confirm", "durable", "--file", file("in", lines)}, "", 60);
    EXPECT_EQ(result.status, 0) << result.error;
    EXPECT_TRUE(same(contents("a"), lines));
}

TEST_F(Journal, AConfirmWithoutWeirdSaysSoAndFailsAtTheTimeLimit)
{
    create("a", {});
    auto began = Clock::now();
    Result result = run({"pub", "a", "--confirm", "written", "--timeout", "0.8"}, "x\n");
    EXPECT_GE(seconds_since(began), 0.8);
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(result.output, "");
    EXPECT_TRUE(contains(result.error, "nobody drains it: start weird")) << result.error;
    EXPECT_TRUE(contains(result.error, "position 0 is not yet written")) << result.error;
    EXPECT_EQ(contents("a"), "x\n");
}

TEST_F(Journal, ASignalEndsTheWaitForAConfirm)
{
    create("a", {});
    Process source(weir({"pub", "a", "--confirm", "durable"}));
    source.write_input("x\n");
    source.close_input();
    ASSERT_TRUE(source.wait_for_error("start weird"));
    source.send_signal(SIGINT);
    EXPECT_EQ(source.wait(), 1);
    EXPECT_TRUE(contains(source.error, "interrupted: a: position 0 is not yet durable")) << source.error;
}

TEST_F(Journal, AFullRingWaitsForWeirdAndThenGoesOn)
{
    create("a", small);
    const std::string lines = numbers(1, 5000);
    Process source(weir({"pub", "a", "--file", file("in", lines)}));
    ASSERT_TRUE(source.wait_for_error("weir: pub: a: ring full, nobody drains it: start weird\n")) << source.error;
    EXPECT_TRUE(source.running());
    Result result = run({"stat", "a"});
    EXPECT_TRUE(contains(result.output, "! nobody drains it: start weird")) << result.output;
    EXPECT_TRUE(contains(result.output, " has waited for room for ")) << result.output;
    auto weird = start_weird();
    EXPECT_EQ(source.wait(), 0) << source.error;
    EXPECT_TRUE(same(contents("a"), lines));
}

TEST_F(Journal, AFullRingFailsAtTheTimeLimit)
{
    create("a", small);
    Result result = run({"pub", "a", "--timeout", "200ms"}, numbers(1, 5000));
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "the ring stayed full: a: line ")) << result.error;
    result = run({"pub", "a", "--timeout", "0"}, "x\n");
    EXPECT_EQ(result.status, 1);
}

TEST_F(Journal, AJournalThatIsNotWhereItWasIsAnErrorAndNoGap)
{
    auto weird = start_weird();
    create("a", small);
    ASSERT_TRUE(served("a"));
    std::string lines = numbers(1, 30000);
    ASSERT_EQ(run({"pub", "a", "--confirm", "durable"}, lines, 60).status, 0);
    std::filesystem::rename(disk_ + "/journal/a", disk_ + "/journal/moved");
    for (const char *from : {"start", "0"}) {
        Result result = run({"sub", "a", "--from", from, "--count", "1", "--timeout", "5"});
        EXPECT_EQ(result.status, 1);
        EXPECT_EQ(result.output, "");
        EXPECT_TRUE(contains(result.error, "cannot read the journal of ring a")) << result.error;
        EXPECT_FALSE(contains(result.error, "gap")) << result.error;
    }
    std::filesystem::rename(disk_ + "/journal/moved", disk_ + "/journal/a");
    EXPECT_TRUE(same(contents("a"), lines));
}

TEST_F(Journal, WhatHasLeftTheMemoryIsReadFromTheJournal)
{
    auto weird = start_weird();
    create("a", small);
    ASSERT_TRUE(served("a"));
    std::string lines = numbers(1, 30000);
    ASSERT_EQ(run({"pub", "a", "--confirm", "durable"}, lines, 60).status, 0);
    Json info = parse(run({"ring", "info", "a", "--json"}).output);
    EXPECT_GT(number(info.get(), "memory_position"), 0);
    EXPECT_TRUE(same(contents("a"), lines));
    // Also from in between, and by someone who goes on there.
    EXPECT_TRUE(same(run({"sub", "a", "--save", "me", "--count", "12345"}).output, numbers(1, 12345)));
    EXPECT_TRUE(same(run({"sub", "a", "--save", "me", "--count", "17655"}).output, numbers(12346, 30000)));
    EXPECT_EQ(run({"ring", "check", "a"}).status, 0);
}

TEST_F(Journal, WeirdKilledAndStartedAgainIsNoticedByNobody)
{
    create("a", {"--memory-limit", "8MiB"});
    auto weird = start_weird();
    ASSERT_TRUE(served("a"));
    Process reader(weir({"sub", "a", "--count", "4000"}));
    Process source(weir({"pub", "a", "--rate", "4k", "--confirm", "durable", "--file", file("in", numbers(1, 4000))}));
    ASSERT_TRUE(reader.wait_for_output("\n500\n"));
    weird->send_signal(SIGKILL);
    weird->wait();
    ASSERT_TRUE(reader.wait_for_output("\n2000\n"));
    weird = start_weird();
    EXPECT_EQ(source.wait(30), 0) << source.error;
    EXPECT_EQ(reader.wait(), 0) << reader.error;
    EXPECT_TRUE(same(reader.output, numbers(1, 4000)));
}

TEST_F(Journal, StatShowsReadersTheirLagAndTheDaemon)
{
    auto weird = start_weird();
    create("a", {});
    ASSERT_TRUE(served("a"));
    publish("a", numbers(1, 1000), {"--as", "importer"});
    Process reader(weir({"sub", "a", "--save", "billing", "--rate", "1"}));
    Process source(weir({"pub", "a", "--as", "exporter"}));
    source.write_input("x\n");
    ASSERT_TRUE(reader.wait_for_output("1\n"));
    auto began = Clock::now();
    std::vector<Json> lines;
    json_t *people = nullptr;
    while (seconds_since(began) < 20) {
        lines = parse_lines(run({"stat", "a", "--json", "--interval", "50ms", "--count", "1"}).output);
        ASSERT_EQ(lines.size(), 1u);
        people = json_object_get(lines[0].get(), "participants");
        bool saved = false;
        for (size_t i = 0; i < json_array_size(people); i++)
            saved |= json_is_string(json_object_get(json_array_get(people, i), "saved"));
        if (json_array_size(people) == 3 && saved)
            break;
    }
    ASSERT_EQ(json_array_size(people), 3u);
    size_t index;
    json_t *one;
    json_array_foreach(people, index, one)
    {
        EXPECT_EQ(text(one, "state"), "alive");
        EXPECT_GT(number(one, "pid"), 0);
        if (text(one, "role") == "reader") {
            EXPECT_EQ(text(one, "name"), "billing");
            EXPECT_EQ(number(one, "pid"), reader.pid());
            EXPECT_GT(number(one, "lag_bytes"), 0);
            EXPECT_FALSE(truth(one, "gating"));
            EXPECT_EQ(number(one, "gap_count"), 0);
            EXPECT_EQ(text(one, "saved").size(), strlen("2026-01-31T12:00:00.123456789Z"));
        } else if (text(one, "role") == "publisher") {
            EXPECT_EQ(text(one, "name"), "exporter");
            EXPECT_FALSE(truth(one, "holds_claim"));
            EXPECT_EQ(number(one, "repeated_count"), 0);
        } else {
            EXPECT_EQ(text(one, "role"), "daemon");
            EXPECT_EQ(number(one, "pid"), weird->pid());
        }
    }
    EXPECT_EQ(text(lines[0].get(), "daemon"), "alive");
    Result result = run({"stat"});
    for (const char *word : {"billing", "exporter", "daemon", "visible", "durable", "weird: alive", " ago"})
        EXPECT_TRUE(contains(result.output, word)) << word << " in: " << result.output;
}

TEST_F(Journal, StatCountsWhatWasMissedAndWhatWasRefusedAsPublishedBefore)
{
    create("a", {"--memory", "--segment-bytes", "4KiB", "--memory-limit", "16KiB", "--max-readers", "2",
                 "--max-publishers", "2", "--when-full", "drop-old"});
    publish("a", numbers(1, 5000));
    Process reader(weir({"sub", "a", "--from", "0"}));
    ASSERT_TRUE(reader.wait_for_output("\n5000\n"));
    struct weir_pub_options options = WEIR_PUB_OPTIONS_INIT;
    struct weir_pub *pub = nullptr;
    options.name = "importer";
    ASSERT_EQ(weir_pub_open(bus_.c_str(), "a", &options, &pub), 0) << weir_last_error();
    struct weir_message message = {};
    message.has = WEIR_HAS_SEQUENCE;
    message.sequence = 7;
    ASSERT_EQ(weir_pub_send_message(pub, &message, 0, nullptr), 0);
    for (int i = 0; i < 3; i++)
        ASSERT_EQ(weir_pub_send_message(pub, &message, 0, nullptr), -EALREADY);
    Json report = parse(run({"stat", "a", "--json", "--interval", "20ms", "--count", "1"}).output);
    const json_t *people = json_object_get(report.get(), "participants");
    ASSERT_EQ(json_array_size(people), 2u);
    EXPECT_EQ(number(json_array_get(people, 0), "repeated_count"), 3);
    EXPECT_EQ(number(json_array_get(people, 0), "refused_count"), 0);
    EXPECT_EQ(number(json_array_get(people, 1), "gap_count"), 1);
    EXPECT_TRUE(json_is_null(json_object_get(json_array_get(people, 1), "saved")));
    std::string text = run({"stat", "a", "--interval", "20ms", "--count", "1"}).output;
    EXPECT_TRUE(contains(text, "(importer) was refused 3 messages whose sequence")) << text;
    EXPECT_TRUE(contains(text, " it was told of 1 gap\n")) << text;
    weir_pub_close(pub);
}

TEST_F(Journal, StatShowsRates)
{
    create("a", {"--memory"});
    Process source(weir({"pub", "a", "--rate", "1k"}));
    source.write_input(numbers(1, 5000));
    Process reader(weir({"sub", "a"}));
    ASSERT_TRUE(reader.wait_for_output("\n100\n"));
    std::vector<Json> lines = parse_lines(run({"stat", "a", "--json"}).output);
    ASSERT_EQ(lines.size(), 1u);
    double rate = json_real_value(json_object_get(lines[0].get(), "visible_bytes_per_second"));
    EXPECT_GT(rate, 64 * 1000 * 0.2);
    EXPECT_LT(rate, 64 * 1000 * 5.0);
}

TEST_F(Journal, StatSaysWhenTheJournalWillBeFull)
{
    auto weird = start_weird();
    create("a", {});
    ASSERT_TRUE(served("a"));
    auto until = [](const std::function<bool()> &condition) {
        for (int i = 0; i < 50; i++) {
            if (condition())
                return true;
        }
        return false;
    };
    auto report = [&] {
        return std::move(parse_lines(run({"stat", "a", "--json", "--interval", "200ms", "--count", "1"}).output)[0]);
    };
    ASSERT_EQ(run({"pub", "a", "--confirm", "durable"}, "x\n").status, 0);
    ASSERT_TRUE(until([&] { return json_is_integer(json_object_get(report().get(), "journal_room_bytes")); }));
    Json idle = report();
    EXPECT_GT(number(idle.get(), "journal_room_bytes"), 0);
    EXPECT_TRUE(json_is_null(json_object_get(idle.get(), "journal_full_in_seconds"))) << "nothing is written";
    EXPECT_TRUE(contains(run({"stat", "a"}).output, "  the journal may take "));
    Process source(weir({"pub", "a", "--rate", "1k"}));
    source.write_input(numbers(1, 8000));
    EXPECT_TRUE(until([&] {
        Json busy = report();
        double rate = json_real_value(json_object_get(busy.get(), "written_bytes_per_second"));
        double room = (double)number(busy.get(), "journal_room_bytes");
        double left = json_real_value(json_object_get(busy.get(), "journal_full_in_seconds"));
        return rate > 0 && left > 0.99 * room / rate && left < 1.01 * room / rate;
    }));
    EXPECT_TRUE(until([&] {
        return contains(run({"stat", "a", "--interval", "200ms", "--count", "1"}).output, ": full in ");
    }));
}

TEST_F(Journal, StatCountsDownToTheLimitOfTheRing)
{
    constexpr json_int_t limit = 1 << 20;
    Process weird({bin_ + "/weird", "--bus", bus_, "--journal", disk_ + "/journal", "--config",
                   file("weird.conf", "[ring a]\nlimit = 1MiB\n")},
                  Process::NOTHING);
    create("a", small);
    ASSERT_TRUE(served("a"));
    auto until = [](const std::function<bool()> &condition) {
        auto began = Clock::now();
        while (!condition()) {
            if (seconds_since(began) > 30)
                return false;
        }
        return true;
    };
    auto report = [&] {
        return std::move(parse_lines(run({"stat", "a", "--json", "--interval", "200ms", "--count", "1"}).output)[0]);
    };
    auto room = [](const Json &of) { return number(of.get(), "journal_room_bytes"); };
    ASSERT_EQ(run({"pub", "a", "--confirm", "durable"}, "x\n").status, 0);
    ASSERT_TRUE(until([&] { return json_is_integer(json_object_get(report().get(), "journal_room_bytes")); }));
    EXPECT_LE(room(report()), limit);
    {
        Process source(weir({"pub", "a", "--rate", "500"}));
        source.write_input(numbers(1, 5000));
        EXPECT_TRUE(until([&] {
            Json busy = report();
            double rate = json_real_value(json_object_get(busy.get(), "written_bytes_per_second"));
            double left = json_real_value(json_object_get(busy.get(), "journal_full_in_seconds"));
            double expected = (double)room(busy) / rate;
            return rate > 0 && room(busy) <= limit && left > 0.99 * expected && left < 1.01 * expected;
        }));
    }
    Process flood(weir({"pub", "a", "--file", file("in", numbers(1, 50000))}));
    std::string text;
    EXPECT_TRUE(until([&] { /* too little is left for another file */
                            Json full = report();
                            text = run({"stat", "a"}).output;
                            return room(full) < limit / 4 &&
                                   json_is_null(json_object_get(full.get(), "journal_full_in_seconds")) &&
                                   contains(text, "Disk quota exceeded") && !contains(text, ": full in ");
    })) << text;
}

TEST_F(Journal, StatNamesTheStoppedPublisherThatReadersWaitFor)
{
    create("a", {"--memory"});
    int told[2];
    ASSERT_EQ(pipe2(told, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct weir_pub_options options = WEIR_PUB_OPTIONS_INIT;
        struct weir_pub *pub = nullptr;
        void *data = nullptr;
        options.name = "sleeper";
        if (weir_pub_open(bus_.c_str(), "a", &options, &pub) != 0 || weir_pub_claim(pub, 10, nullptr, 0, &data) != 0)
            _exit(1);
        if (write(told[1], "x", 1) != 1)
            _exit(1);
        raise(SIGSTOP);
        memcpy(data, "woken", 5);
        _exit(weir_pub_commit(pub, 5, nullptr) == 0 ? 0 : 1);
    }
    char byte;
    ASSERT_EQ(read(told[0], &byte, 1), 1);
    int status;
    ASSERT_EQ(waitpid(pid, &status, WUNTRACED), pid);
    ASSERT_TRUE(WIFSTOPPED(status));
    publish("a", "behind it\n");
    EXPECT_EQ(contents("a"), "") << "order is total";
    Result result = run({"stat", "a"});
    std::string sentence =
        "publisher " + std::to_string(pid) + " (sleeper) is stopped and holds a claim: readers wait for it";
    EXPECT_TRUE(contains(result.output, sentence)) << result.output;
    std::vector<Json> lines = parse_lines(run({"stat", "a", "--json"}).output);
    ASSERT_EQ(lines.size(), 1u);
    const json_t *one = json_array_get(json_object_get(lines[0].get(), "participants"), 0);
    EXPECT_EQ(text(one, "state"), "stopped");
    EXPECT_TRUE(truth(one, "holds_claim"));
    kill(pid, SIGCONT);
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(WEXITSTATUS(status), 0);
    EXPECT_EQ(contents("a"), "woken\nbehind it\n");
    close(told[0]);
    close(told[1]);
}

TEST_F(Journal, ARingThatIsRemovedWithItsJournalIsGone)
{
    auto weird = start_weird();
    create("a", {});
    ASSERT_TRUE(served("a"));
    ASSERT_EQ(run({"pub", "a", "--confirm", "durable"}, "x\n").status, 0);
    Result result = run({"ring", "rm", "a"});
    EXPECT_EQ(result.status, 0) << result.error;
    EXPECT_FALSE(std::filesystem::exists(disk_ + "/journal/a"));
    EXPECT_EQ(run({"ring", "info", "a"}).status, 1);
    // The next one of that name is another ring, and starts from nothing.
    create("a", {});
    ASSERT_TRUE(served("a"));
    ASSERT_EQ(run({"pub", "a", "--confirm", "durable"}, "y\n").status, 0);
    EXPECT_EQ(contents("a"), "y\n");
}

TEST_F(Journal, RemovingARingWaitsUntilWeirdLetsGoOfItsJournal)
{
    auto weird = start_weird();
    create("a", {});
    ASSERT_TRUE(served("a"));
    ASSERT_EQ(run({"pub", "a", "--confirm", "durable"}, "x\n").status, 0);
    weird->send_signal(SIGSTOP);
    Process remover(weir({"ring", "rm", "a"}));
    while (std::filesystem::exists(bus_ + "/a"))
        ASSERT_TRUE(remover.running()) << remover.error;
    weird->send_signal(SIGCONT);
    EXPECT_EQ(remover.wait(), 0) << remover.error;
    EXPECT_FALSE(std::filesystem::exists(disk_ + "/journal/a"));
}

TEST_F(Journal, AJournalThatWeirdDoesNotLetGoOfIsToldAndComesBackOnce)
{
    auto weird = start_weird();
    create("a", {});
    ASSERT_TRUE(served("a"));
    ASSERT_EQ(run({"pub", "a", "--confirm", "durable"}, "x\n").status, 0);
    weird->send_signal(SIGSTOP);
    Result result = run({"ring", "rm", "a"});
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.error, "its journal is not: weird has not let go of it yet")) << result.error;
    EXPECT_TRUE(std::filesystem::exists(disk_ + "/journal/a"));
    weird->send_signal(SIGKILL);
    weird->wait();
    weird = start_weird();
    ASSERT_TRUE(served("a"));
    result = run({"ring", "rm", "a"});
    EXPECT_EQ(result.status, 0) << result.error;
    EXPECT_FALSE(std::filesystem::exists(disk_ + "/journal/a"));
}

TEST_F(Journal, ARingWhoseJournalIsKeptComesBackFromIt)
{
    auto weird = start_weird();
    create("a", {});
    ASSERT_TRUE(served("a"));
    ASSERT_EQ(run({"pub", "a", "--confirm", "durable"}, numbers(1, 100)).status, 0);
    EXPECT_EQ(run({"ring", "rm", "a", "--keep-journal"}).status, 0);
    weird->send_signal(SIGTERM);
    EXPECT_EQ(weird->wait(), 0) << weird->error;
    weird = start_weird();
    ASSERT_TRUE(served("a"));
    EXPECT_TRUE(same(run({"sub", "a", "--count", "100", "--timeout", "10"}).output, numbers(1, 100)));
}
