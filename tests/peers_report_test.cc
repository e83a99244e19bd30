// SPDX-License-Identifier: Apache-2.0
// test: LINKS PkgConfig::JANSSON TIMEOUT 60
// The report of `./run bench --peers`, from recorded lines: medians, paired ratios, what is behind, what was not measured.
#include <gtest/gtest.h>
#include <sstream>

// Not a library, and needed by this test alone.
#include "bench/peers/recorded.cc"
#include "bench/peers/report.cc"
#include "bench/peers/table.cc"

using namespace peers;

static const char *const run_line =
    "{\"run\":{\"date\":\"2026-01-02 03:04 UTC\",\"weir\":\"weir 0.1.0\",\"kernel\":\"6.1\",\"system\":\"Debian\","
    "\"processor\":\"Some Processor\",\"processors\":2,\"governor\":\"none\",\"versions\":{\"libzmq3-dev\":\"4.3.4-6\","
    "\"libnng-dev\":\"\"}}}\n";

static std::string row(const std::string &comparison, const std::string &name, const std::string &peer,
                       const std::string &subject, int round, const std::string &place, const std::string &metrics)
{
    return "{\"comparison\":\"" + comparison + "\",\"case\":\"" + name + "\",\"peer\":\"" + peer + "\",\"subject\":\"" +
           subject + "\",\"round\":" + std::to_string(round) + ",\"place\":\"" + place + "\",\"metrics\":{" + metrics +
           "}}\n";
}

static std::string report_of(const std::string &lines)
{
    std::istringstream raw(lines);
    return make_report(raw, "plots", "raw.json");
}

static bool has(const std::string &text, const std::string &part)
{
    return text.find(part) != std::string::npos;
}

TEST(PeersReport, median_is_of_the_middle_and_spread_of_the_ends)
{
    EXPECT_EQ(spread_of({}).count, 0u);
    Spread odd = spread_of({9, 1, 4}), even = spread_of({8, 2, 4, 100});
    EXPECT_DOUBLE_EQ(odd.median, 4);
    EXPECT_DOUBLE_EQ(odd.least, 1);
    EXPECT_DOUBLE_EQ(odd.most, 9);
    EXPECT_DOUBLE_EQ(even.median, 6);
    EXPECT_EQ(even.count, 4u);
}

// The rounds' own ratios are 2, 2 and 8: that of the medians, 4, would be another.
TEST(PeersReport, ratios_are_paired_within_a_round)
{
    std::string lines = run_line;
    const double weir[] = {100, 400, 200}, peer[] = {200, 800, 1600};
    for (int i = 0; i < 3; i++) {
        lines += row("latency", "64 B", "pipe", "weir shared", i, "near", "\"p50\":" + std::to_string(weir[i]));
        lines += row("latency", "64 B", "pipe", "pipe", i, "near", "\"p50\":" + std::to_string(peer[i]));
    }
    std::string report = report_of(lines);
    EXPECT_TRUE(has(report, "| pipe | 800 ns |")) << report;
    EXPECT_TRUE(has(report, "| 2.00 (2.00 to 8.00) |")) << report;
    EXPECT_TRUE(has(report, "those whose median is below 1: 0.")) << report;
}

TEST(PeersReport, near_and_far_are_told_apart)
{
    std::string lines = run_line;
    for (const char *place : {"near", "far", "moved"}) {
        std::string value = place[0] == 'n' ? "100" : place[0] == 'f' ? "300" : "700";
        lines += row("latency", "64 B", "pipe", "limit", 0, place, "\"p50\":50");
        lines += row("latency", "64 B", "pipe", "weir shared", 0, place, "\"p50\":100");
        lines += row("latency", "64 B", "pipe", "pipe", 0, place, "\"p50\":" + value);
    }
    std::string report = report_of(lines);
    EXPECT_TRUE(has(report, "| 64 B, near | p50 |")) << report;
    EXPECT_TRUE(has(report, "| 64 B, far | p50 |")) << report;
    EXPECT_TRUE(has(report, "| pipe | 300 ns |")) << report;
    EXPECT_TRUE(has(report, "| pipe | 700 ns |")) << report;
    EXPECT_TRUE(has(report, "| latency, 64 B, p50 | near | weir shared | 2.00 | 1 |")) << report;
}

TEST(PeersReport, a_peer_that_is_ahead_is_listed)
{
    std::string lines = run_line;
    lines += row("throughput", "4 KiB", "zeromq", "weir exclusive", 0, "far", "\"rate\":1000000");
    lines += row("throughput", "4 KiB", "zeromq", "weir shared", 0, "far", "\"rate\":4000000");
    lines += row("throughput", "4 KiB", "zeromq", "zeromq", 0, "far", "\"rate\":2000000");
    std::string report = report_of(lines);
    EXPECT_TRUE(has(report, "Of 2 paired ratios, those whose median is below 1: 1.")) << report;
    EXPECT_TRUE(has(report, "| throughput, 4 KiB | far | weir exclusive | zeromq | 0.50 | 1 |")) << report;
    EXPECT_TRUE(has(report, "| zeromq | 2.00 M/s | 8.19 | 0.50 | 2.00 | 1 |")) << report;
}

TEST(PeersReport, confirms_are_of_the_same_rounds)
{
    std::string lines = run_line;
    for (int i = 0; i < 2; i++)
        for (const char *peer : {"redis-always", "redis-everysec"}) {
            bool always = std::string(peer) == "redis-always";
            lines += row("confirm", "1 KiB, one outstanding", peer, "weir", i, "near",
                         always ? "\"p50\":200000,\"rate\":5000" : "\"p50\":100000,\"rate\":10000");
            lines += row("confirm", "1 KiB, one outstanding", peer, peer, i, "near",
                         always ? "\"p50\":400000,\"rate\":2500" : "\"p50\":50000,\"rate\":20000");
        }
    std::string report = report_of(lines);
    EXPECT_TRUE(
        has(report, "| confirm, 1 KiB, one outstanding, p50 |  | weir | redis-everysec | 0.50 (0.50 to 0.50) | 2 |"))
        << report;
    EXPECT_FALSE(has(report, "| weir | redis-always |")) << report;
}

TEST(PeersReport, what_was_not_measured_and_the_versions_stand_in_it)
{
    std::string lines = run_line;
    lines += "{\"missing\":{\"peer\":\"iceoryx\",\"reason\":\"E: Unable to locate package iceoryx\"}}\n"
             "{\"failed\":{\"peer\":\"posix-mq\",\"comparison\":\"throughput\",\"case\":\"64 "
             "KiB\",\"reason\":\"mq_open\"}}\n";
    std::string report = report_of(lines);
    EXPECT_TRUE(has(report, "| iceoryx | not installed | E: Unable to locate package iceoryx |")) << report;
    EXPECT_TRUE(has(report, "| posix-mq | throughput, 64 KiB | mq_open |")) << report;
    EXPECT_TRUE(has(report, "| libzmq3-dev | 4.3.4-6 |")) << report;
    EXPECT_TRUE(has(report, "| libnng-dev | not installed |")) << report;
    EXPECT_TRUE(has(report, "| kernel | 6.1 |")) << report;
    EXPECT_TRUE(has(report, "Nothing was paired.")) << report;
}

TEST(PeersReport, lines_that_are_none_are_refused_by_number)
{
    for (const char *bad : {"{\"comparison\":", "nonsense", "{\"other\":1}"}) {
        try {
            report_of(std::string(run_line) + bad + "\n");
            FAIL() << bad;
        } catch (const std::runtime_error &error) {
            EXPECT_EQ(std::string(error.what()).compare(0, 6, "line 2"), 0) << error.what();
        }
    }
    EXPECT_THROW(report_of(""), std::runtime_error);
}
