/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: what each key may be, what is wrong with a file, what changes while the daemon runs and what does not. */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing TIMEOUT 300 LABELS tsan

#include "tests/daemon_support.hh"

#include <set>
#include <thread>

extern "C" {
#include "daemon/beat.h"
#include "daemon/config.h"
}

namespace
{

/* A text, parsed; with what was told of it. */
struct Parsed {
    struct config config = {};
    std::vector<std::string> told;
    int error = 0;

    static void take(void *ctx, const char *line)
    {
        static_cast<Parsed *>(ctx)->told.emplace_back(line);
    }
    explicit Parsed(const std::string &text)
    {
        struct config_tell tell = {take, this};
        error = config_parse("file", text.data(), text.size(), &config, &tell);
    }
    Parsed(const Parsed &) = delete;
    Parsed &operator=(const Parsed &) = delete;
    ~Parsed()
    {
        config_free(&config);
    }
    std::string all() const
    {
        std::string text;
        for (const std::string &line : told)
            text += line + "\n";
        return text;
    }
    struct policy of(const std::string &ring) const
    {
        struct policy policy;
        policy_apply(&config.policies, ring.c_str(), &policy);
        return policy;
    }
};

std::string printed(const struct config *config)
{
    char *text = nullptr;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    config_print(out, config);
    fclose(out);
    std::string result(text, bytes);
    free(text);
    return result;
}

std::string contents(const std::string &path)
{
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

/* -- keys --------------------------------------------------------------------------------------------------------- */

struct Key {
    const char *section, *name;
    std::string fallback;                                  /* as it is printed */
    std::vector<std::pair<std::string, std::string>> good; /* what is written, and how it is printed */
    std::vector<std::string> bad;
    const char *allowed;
};

const std::vector<Key> &all_keys()
{
    static const std::vector<std::string> not_sizes = {
        "", "x", "-1", "1.5GiB", "12kb", "99999999999999999999", "17179869184TiB", "1025TiB", "yes"};
    static const std::vector<std::string> not_switches = {"", "maybe", "YES", "2"};
    auto more = [](std::vector<std::string> words, const std::vector<std::string> &others) {
        words.insert(words.end(), others.begin(), others.end());
        return words;
    };
    static const std::vector<Key> keys = {
        {"weird", "bus", "", {{"/dev/shm/x", "/dev/shm/x"}, {"/a b", "/a b"}}, {"", "here", "./x"}, "a path"},
        {"weird", "journal", "", {{"/var/x", "/var/x"}}, {"", "here"}, "a path"},
        {"weird",
         "threads",
         "1",
         {{"1", "1"}, {"64", "64"}, {"7", "7"}},
         {"0", "65", "-1", "two", "1k", ""},
         "1 to 64"},
        {"weird", "cpus", "", {{"0", "0"}, {"0,2-5", "0,2-5"}}, {"", "-1", "5-2", "all", "1,"}, "a list of processors"},
        {"weird",
         "verbose",
         "no",
         {{"yes", "yes"}, {"true", "yes"}, {"on", "yes"}, {"1", "yes"}, {"no", "no"}, {"off", "no"}, {"0", "no"}},
         not_switches,
         "yes or no"},
        {"journal",
         "limit",
         "none",
         {{"none", "none"}, {"64KiB", "64KiB"}, {"1024TiB", "1024TiB"}, {"100 G", "100G"}, {"65537", "65537"}},
         more({"0", "63KiB"}, not_sizes),
         "none, or 64KiB to 1024TiB"},
        {"journal",
         "reserve",
         "64MiB",
         {{"0", "0"}, {"1GiB", "1GiB"}, {"1024TiB", "1024TiB"}, {"1000", "1k"}},
         more({"none"}, not_sizes),
         "0 to 1024TiB"},
        {"journal", "high_watermark", "95%", {{"91", "91%"}, {"100%", "100%"}}, {"0", "101", "", "9x"}, "1% to 100%"},
        {"journal",
         "low_watermark",
         "90%",
         {{"0", "0%"}, {"0%", "0%"}, {"94%", "94%"}},
         {"100", "-1", ""},
         "0% to 99%"},
        {"ring",
         "sync",
         "always",
         {{"always", "always"},
          {"never", "never"},
          {"interval 50", "interval 50ms"},
          {"interval=50ms", "interval 50ms"},
          {"interval 1ms", "interval 1ms"},
          {"interval 1min", "interval 1min"},
          {"interval 1m", "interval 1min"},
          {"interval = 2 s", "interval 2s"}},
         {"", "sometimes", "interval", "interval 0", "interval 61s", "interval50", "interval x", "always 5", "50ms"},
         "always, never, or interval TIME, 1ms to 1min"},
        {"ring",
         "retain_bytes",
         "none",
         {{"none", "none"}, {"4096", "4KiB"}, {"10GiB", "10GiB"}, {"1024TiB", "1024TiB"}},
         more({"0", "4095"}, not_sizes),
         "none, or 4KiB to 1024TiB"},
        {"ring",
         "retain_age",
         "none",
         {{"none", "none"},
          {"1ms", "1ms"},
          {"7d", "7d"},
          {"36500d", "36500d"},
          {"90 min", "90min"},
          {"5m", "5min"},
          {"24h", "1d"}},
         {"", "0", "5", "0ms", "36501d", "1w", "1.5h", "-1s"},
         "none, or 1ms to 36500d"},
        {"ring",
         "limit",
         "none",
         {{"none", "none"}, {"64KiB", "64KiB"}, {"1024TiB", "1024TiB"}},
         more({"0", "63KiB"}, not_sizes),
         "none, or 64KiB to 1024TiB"},
        {"ring",
         "when_limited",
         "block",
         {{"block", "block"}, {"expire", "expire"}},
         {"", "drop", "Block"},
         "block or expire"},
        {"ring",
         "quota_messages",
         "none",
         {{"none", "none"}, {"1", "1"}, {"2500", "2500"}, {"5k", "5k"}, {"1000M", "1000M"}},
         {"", "0", "1001M", "5 KiB", "-1", "1s"},
         "none, or 1 to 1000M (k M)"},
        {"ring",
         "quota_bytes",
         "none",
         {{"none", "none"}, {"1KiB", "1KiB"}, {"10MiB", "10MiB"}, {"1TiB", "1TiB"}},
         {"", "0", "1023", "2TiB", "-1"},
         "none, or 1KiB to 1TiB (k M G T, KiB MiB GiB TiB)"},
        {"ring",
         "quota_burst",
         "100ms",
         {{"0ms", "0ms"}, {"1s", "1s"}, {"1d", "1d"}},
         {"", "none", "2d", "5"},
         "0ms to 1d (ms s m h d)"},
        {"ring", "keep_unread", "no", {{"yes", "yes"}, {"no", "no"}}, not_switches, "yes or no"},
    };
    return keys;
}

std::vector<std::string> lines_of(const std::string &text)
{
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);)
        lines.push_back(line);
    return lines;
}

/* The name in a line NAME = VALUE, with or without a number sign in front; "" if it is none. */
std::string key_of(const std::string &line)
{
    size_t begin = line[0] == '#', end = line.find(" = ");
    std::string name = end == std::string::npos ? "" : line.substr(begin, end - begin);
    return name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string::npos ? name : "";
}

/* VALUE of a section in a printed configuration; behind a number sign where it is the default. */
std::string printed_value(const std::string &text, const std::string &section, const std::string &name)
{
    std::string here;
    for (const std::string &line : lines_of(text)) {
        if (line[0] == '[')
            here = line;
        else if (here == "[" + section + "]" && key_of(line) == name)
            return (line[0] == '#' ? "#" : "") + line.substr(line.find(" = ") + 3);
    }
    return "(missing)";
}

TEST(Config, EveryKeyHasItsDefaultAndTakesWhatItMay)
{
    struct config fallback;
    config_default(&fallback);
    for (const Key &key : all_keys()) {
        std::string value = printed_value(printed(&fallback), key.section, key.name);
        EXPECT_EQ(value[0], '#') << key.name;
        if (!key.fallback.empty()) {
            EXPECT_EQ(value, "#" + key.fallback) << key.name;
        }
        for (const auto &good : key.good) {
            Parsed parsed(std::string("[") + key.section + "]\n" + key.name + " = " + good.first + "\n");
            EXPECT_EQ(parsed.error, 0) << key.name << " = " << good.first << "\n" << parsed.all();
            value = printed_value(printed(&parsed.config), key.section, key.name);
            EXPECT_EQ(value, (good.second == key.fallback ? "#" : "") + good.second) << key.name << " = " << good.first;
            /* What is printed is read back as the same. */
            Parsed again(printed(&parsed.config));
            EXPECT_EQ(again.error, 0) << again.all();
            EXPECT_EQ(printed(&again.config), printed(&parsed.config));
        }
    }
}

TEST(Config, EveryKeySaysInWhichLineItMayNotBeWhatItIsAndWhatIsAllowed)
{
    for (const Key &key : all_keys()) {
        for (const std::string &bad : key.bad) {
            Parsed parsed(std::string("# a comment\n\n[") + key.section + "]\n" + key.name + " = " + bad + "\n");
            EXPECT_EQ(parsed.error, -EINVAL) << key.name << " = " << bad;
            ASSERT_EQ(parsed.told.size(), 1u) << parsed.all();
            std::string begins = std::string("file:4: ") + key.name + " = " + bad + ": allowed is " + key.allowed;
            EXPECT_EQ(parsed.told[0].rfind(begins, 0), 0u) << parsed.told[0] << "\ninstead of\n" << begins;
        }
    }
}

TEST(Config, TheTestsKnowEveryKey)
{
    struct config fallback;
    config_default(&fallback);
    std::multiset<std::string> there, known = {"sync", "retain_age"}; /* of the example */
    for (const std::string &line : lines_of(printed(&fallback))) {
        if (!key_of(line).empty())
            there.insert(key_of(line));
    }
    for (const Key &key : all_keys())
        known.insert(key.name);
    EXPECT_EQ(there, known);
}

TEST(Config, TheSampleHasEveryKeyAndIsWhatHoldsWithoutIt)
{
    struct config fallback;
    config_default(&fallback);
    std::string sample = contents(environment("WEIR_SOURCE") + "/packaging/weird.conf");
    EXPECT_EQ(sample, printed(&fallback)) << "it is made by: weird --check-config";
    Parsed parsed(sample);
    EXPECT_EQ(parsed.error, 0) << parsed.all();
    EXPECT_EQ(printed(&parsed.config), sample);

    /* Nor is anything wrong with it once its number signs are taken away. */
    std::string without;
    for (const std::string &line : lines_of(sample))
        without += (key_of(line).empty() && line.rfind("#[", 0) != 0 ? line : line.substr(1)) + "\n";
    Parsed open(without);
    EXPECT_EQ(open.error, 0) << open.all();
    EXPECT_STREQ(open.config.bus, "/run/weir");
    EXPECT_STREQ(open.config.cpus, "0,2-5");
    EXPECT_EQ(open.config.threads, fallback.threads);
    EXPECT_EQ(open.config.policies.count, 2u);
    EXPECT_EQ(open.of("orders").sync, POLICY_SYNC_ALWAYS);
    EXPECT_EQ(open.of("telemetry.cpu").sync_interval_ms, 100u);
    EXPECT_EQ(open.of("telemetry.cpu").retain_age_ms, 7u * 86400 * 1000);
}

/* -- sections ------------------------------------------------------------------------------------------------------ */

TEST(Config, TheLastSectionThatMatchesAndSaysSomethingWins)
{
    Parsed parsed("[ring o*]\nretain_bytes = 1MiB\nsync = never\n"
                  "[ring orders]\nretain_bytes = 2MiB\nkeep_unread = yes\n"
                  "[ ring  *s ]\nsync = interval 5\n"
                  "[ring]\nretain_age = 1h\nretain_bytes = 8MiB\nwhen_limited = expire\n"
                  "[ring [ab]?]\nlimit = 1MiB\n");
    ASSERT_EQ(parsed.error, 0) << parsed.all();
    struct policy orders = parsed.of("orders"), other = parsed.of("other"), plain = parsed.of("x"),
                  ab = parsed.of("b1");
    EXPECT_EQ(orders.retain_bytes, 2u << 20);
    EXPECT_EQ(orders.sync, POLICY_SYNC_INTERVAL);
    EXPECT_EQ(orders.sync_interval_ms, 5u);
    EXPECT_TRUE(orders.keep_unread);
    EXPECT_EQ(orders.retain_age_ms, 3600000u) << "[ring] holds for all, wherever it stands";
    EXPECT_EQ(orders.when_limited, POLICY_LIMITED_EXPIRE);
    EXPECT_EQ(other.sync, POLICY_SYNC_NEVER);
    EXPECT_EQ(other.retain_bytes, 1u << 20);
    EXPECT_FALSE(other.keep_unread);
    EXPECT_EQ(plain.retain_bytes, 8u << 20);
    EXPECT_EQ(plain.sync, POLICY_SYNC_ALWAYS);
    EXPECT_EQ(ab.limit_bytes, 1u << 20);
    EXPECT_EQ(plain.limit_bytes, 0u);

    Parsed again(printed(&parsed.config));
    ASSERT_EQ(again.error, 0) << again.all();
    EXPECT_EQ(printed(&again.config), printed(&parsed.config));
    EXPECT_EQ(again.of("orders").retain_bytes, 2u << 20);
}

TEST(Config, PoliciesChangeAsAWhole)
{
    struct policies *policies;
    struct policy policy;
    struct policy_room room;
    ASSERT_EQ(policies_open(&policies), 0);
    uint64_t generation = policies_generation(policies);
    policies_of(policies, "orders", &policy);
    policies_room(policies, &room);
    EXPECT_EQ(policy.sync, POLICY_SYNC_ALWAYS);
    EXPECT_EQ(policy.retain_bytes, 0u);
    EXPECT_EQ(room.reserve_bytes, 64u << 20);
    EXPECT_EQ(room.high_percent, 95u);
    EXPECT_EQ(room.low_percent, 90u);
    {
        Parsed parsed("[journal]\nlimit=1GiB\n[ring o*]\nretain_bytes=1MiB\n");
        ASSERT_EQ(policies_set(policies, &parsed.config.policies), 0);
    }
    EXPECT_NE(policies_generation(policies), generation);
    policies_of(policies, "orders", &policy);
    EXPECT_EQ(policy.retain_bytes, 1u << 20);
    policies_of(policies, "bills", &policy);
    EXPECT_EQ(policy.retain_bytes, 0u);
    policies_room(policies, &room);
    EXPECT_EQ(room.limit_bytes, 1u << 30);
    policies_close(policies);
}

/* -- what is wrong --------------------------------------------------------------------------------------------------- */

TEST(Config, EveryFaultOfAFileIsToldWithItsLine)
{
    Parsed parsed("threads = 1\n"                     /* 1 */
                  "[weird]\nthreads=99\nbux=1\n"      /* 2 */
                  "threads = 2\n"                     /* 5 */
                  "[jour]\nlimit=x\nno line at all\n" /* 6: the rest of an unknown section is not told */
                  "[journal]\nlow_watermark = 97\n"   /* 9 */
                  "[weird]\nbus=x\n"                  /* 11 */
                  "[ring a b]\n[ring a]\n[ring a]\n"  /* 13 */
                  "[ring\n[]\n  [ring b] x\n"         /* 16 */
                  "[weird x]\nno key\n"               /* 19 */
                  "[ring c]\nno key\nsync = always\n" /* 21 */
                  "= 5\n[Weird]\n");                  /* 24 */
    EXPECT_EQ(parsed.error, -EINVAL);
    std::vector<std::string> expected = {
        "file:1: key 'threads' before any section: begin with [weird], [journal] or [ring]",
        "file:3: threads = 99: allowed is 1 to 64",
        "file:4: unknown key 'bux' in [weird]: it has bus, journal, threads, cpus, verbose",
        "file:5: threads stands in this section already, in line 3",
        "file:6: unknown section [jour]: there are [weird], [journal], [ring] and [ring PATTERN]",
        "file:11: section [weird] stands in line 2 already",
        "file:13: [ring a b]: a pattern is the name of a ring with * ? [...] for what differs, 127 characters at most",
        "file:15: section [ring a] stands in line 14 already",
        "file:16: a section is [weird], [journal], [ring] or [ring PATTERN]: there is no ] at the end",
        "file:17: unknown section []: there are [weird], [journal], [ring] and [ring PATTERN]",
        "file:18: a section is [weird], [journal], [ring] or [ring PATTERN]: there is no ] at the end",
        "file:19: unknown section [weird x]: there are [weird], [journal], [ring] and [ring PATTERN]",
        "file:22: neither a [section], nor KEY = VALUE, nor a comment: no key",
        "file:24: unknown key '' in [ring]: it has sync, retain_bytes, retain_age, limit, when_limited, "
        "quota_messages, quota_bytes, quota_burst, keep_unread",
        "file:25: unknown section [Weird]: there are [weird], [journal], [ring] and [ring PATTERN]",
        "file:10: low_watermark, 97%, must be below high_watermark, 95%",
    };
    EXPECT_EQ(parsed.told, expected) << parsed.all();
}

TEST(Config, CommentsBlankLinesAndLineEndsOfOthersAreNoFaults)
{
    Parsed parsed(
        "\xef\xbb\xbf; comment\r\n\r\n   # another\n[ring] ; behind a section\r\n\tsync\t=\tnever ; behind a value"
        "\r\n\n[weird]\nverbose: yes");
    EXPECT_EQ(parsed.error, 0) << parsed.all();
    EXPECT_EQ(parsed.of("x").sync, POLICY_SYNC_NEVER);
    EXPECT_TRUE(parsed.config.verbose);
    EXPECT_EQ(Parsed("").error, 0);
}

TEST(Config, WhatIsNoTextIsRefused)
{
    std::string zero = "[weird]\nverbose = yes\nbus = /a";
    zero += '\0';
    zero += "b\n";
    Parsed zeros(zero);
    EXPECT_EQ(zeros.all(), "file:3: byte 0 in column 9: a line is text\n");
    EXPECT_EQ(Parsed("\x1b[31m\n").all(), "file:1: byte 27 in column 1: a line is text\n");
    EXPECT_EQ(Parsed("\n#" + std::string(CONFIG_LINE_MAX, 'x') + "\n").all(),
              "file:2: the line has 191 bytes: 190 are allowed\n");
    EXPECT_EQ(Parsed("#" + std::string(CONFIG_LINE_MAX - 1, 'x') + "\r\n").error, 0);

    /* What is told of it stays one line of text. */
    Parsed odd("[weird]\nb\xff\xfe = 1\n");
    EXPECT_EQ(odd.error, -EINVAL);
    ASSERT_EQ(odd.told.size(), 1u);
    std::string rules;
    for (unsigned i = 0; i <= CONFIG_RULES_MAX; i++)
        rules += "[ring r" + std::to_string(i) + "]\n";
    Parsed many(rules);
    EXPECT_EQ(many.all(), "file:1025: [ring r1024]: more than 1024 sections of rings\n");
    Parsed longest("[ring " + std::string(127, 'a') + "]\nsync=never\n");
    EXPECT_EQ(longest.error, 0) << longest.all();
    EXPECT_EQ(Parsed("[ring " + std::string(128, 'a') + "]\n").error, -EINVAL);
}

TEST(Config, WhatCannotBeReadIsTold)
{
    std::string folder = environment("WEIR_TEST_DIR") + "/files";
    std::filesystem::create_directories(folder);
    std::string fifo = folder + "/fifo", large = folder + "/large";
    ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
    std::ofstream(large) << std::string(CONFIG_FILE_MAX + 1, '\n');
    const std::vector<std::pair<std::string, std::string>> all = {
        {folder + "/none", ": cannot read it: No such file or directory"},
        {folder, ": it is no regular file"},
        {fifo, ": it is no regular file"},
        {large, ": it is longer than 1048576 bytes"}};
    for (const auto &one : all) {
        Parsed told("");
        struct config_tell tell = {Parsed::take, &told};
        struct config config;
        EXPECT_LT(config_load(one.first.c_str(), &config, &tell), 0) << one.first;
        EXPECT_EQ(told.all(), one.first + one.second + "\n");
    }
    std::filesystem::remove_all(folder);
}

/* -- threads that hang ------------------------------------------------------------------------------------------------ */

TEST(Beat, WhoGoesInCirclesHangsAndWhoWaitsDoesNot)
{
    struct beat circles = {}, waits = {}, comes = {};
    struct mem_u64 stop = {};
    EXPECT_TRUE(beat_look(&circles, 10 * BEAT_LIMIT_NS, BEAT_COMES_ROUND)) << "it has not begun";
    std::thread first([&] {
        beat_begin(&circles);
        while (mem_load_acquire(&stop) == 0)
            ;
    });
    std::thread second([&] {
        beat_begin(&waits);
        beat_begin(&comes);
        while (mem_load_acquire(&stop) == 0)
            usleep(1000);
    });
    ASSERT_TRUE(wait_until([&] { return mem_load_acquire(&circles.rounds) && mem_load_acquire(&comes.rounds); }));
    for (struct beat *beat : {&circles, &waits, &comes})
        EXPECT_TRUE(beat_look(beat, 1, BEAT_COMES_ROUND)) << "it has come round since the last look";
    EXPECT_TRUE(beat_look(&comes, BEAT_LIMIT_NS - 1, BEAT_COMES_ROUND)) << "it may take a while";
    EXPECT_FALSE(beat_look(&comes, 1, BEAT_COMES_ROUND));
    beat_raise(&comes);
    EXPECT_TRUE(beat_look(&comes, BEAT_LIMIT_NS, BEAT_COMES_ROUND)) << "it goes on";
    EXPECT_TRUE(wait_until([&] {
        struct timespec used;
        return clock_gettime(circles.clock, &used) == 0 && (used.tv_sec || used.tv_nsec > 400000000);
    }));
    EXPECT_FALSE(beat_look(&circles, BEAT_LIMIT_NS, BEAT_WAITS_FOR_DISK));
    EXPECT_TRUE(beat_look(&waits, 100 * BEAT_LIMIT_NS, BEAT_WAITS_FOR_DISK)) << "it only waits";
    mem_store_release(&stop, 1);
    first.join();
    second.join();
}

/* -- the daemon ---------------------------------------------------------------------------------------------------------- */

/* A service manager's socket. */
class Manager
{
public:
    Manager()
    {
        static int count;
        name = "@weir-config-" + std::to_string(getpid()) + "-" + std::to_string(count++);
        struct sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        memcpy(address.sun_path, name.data(), name.size());
        address.sun_path[0] = 0;
        fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(
            bind(fd_, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name.size())),
            0);
    }
    Manager(const Manager &) = delete;
    Manager &operator=(const Manager &) = delete;
    ~Manager()
    {
        close(fd_);
    }
    /* What it is told next, "" at the deadline. */
    std::string next()
    {
        struct pollfd polled = {fd_, POLLIN, 0};
        char text[256];
        if (poll(&polled, 1, deadline_ms) != 1)
            return "";
        ssize_t bytes = recv(fd_, text, sizeof text, 0);
        return std::string(text, bytes > 0 ? (size_t)bytes : 0);
    }
    std::string name;

private:
    int fd_;
};

class DaemonConfig : public DaemonTest
{
protected:
    void write(const std::string &text)
    {
        std::ofstream(file() + ".new") << text;
        std::filesystem::rename(file() + ".new", file());
    }
    std::string file() const
    {
        return journal_ + ".conf";
    }
    /* Exit status, and what it prints on both. */
    static int check(const std::vector<std::string> &options, std::string *ret_text)
    {
        std::string line = environment("WEIR_BIN") + "/weird_testing";
        for (const std::string &option : options)
            line += " '" + option + "'";
        FILE *out = popen((line + " 2>&1").c_str(), "r");
        char buffer[4096];
        ret_text->clear();
        for (size_t bytes; (bytes = fread(buffer, 1, sizeof buffer, out)) > 0;)
            ret_text->append(buffer, bytes);
        int status = pclose(out);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
};

TEST_F(DaemonConfig, IsCheckedWithoutServing)
{
    std::string text;
    EXPECT_EQ(check({"--check-config"}, &text), 0);
    EXPECT_EQ(text, contents(environment("WEIR_SOURCE") + "/packaging/weird.conf"));
    write("[weird]\nbus = " + bus_ + "\nthreads = 3\n[ring x*]\nsync = never\n");
    EXPECT_EQ(check({"--check-config", "--config", file(), "--threads", "5"}, &text), 0);
    EXPECT_EQ(printed_value(text, "weird", "bus"), bus_);
    EXPECT_EQ(printed_value(text, "weird", "threads"), "5") << "the command line wins";
    EXPECT_EQ(printed_value(text, "ring x*", "sync"), "never");
    write("[weird]\nthreads = 3\nthreads = 4\nbux = 1\n");
    EXPECT_EQ(check({"--config", file(), "--check-config"}, &text), 1);
    EXPECT_EQ(text, "weird: " + file() + ":3: threads stands in this section already, in line 2\nweird: " + file() +
                        ":4: unknown key 'bux' in [weird]: it has bus, journal, threads, cpus, verbose\n");
    EXPECT_EQ(check({"--config", file() + ".none"}, &text), 1) << "nor is it started with such a file";
    EXPECT_EQ(check({"--config"}, &text), 2);
    EXPECT_EQ(check({"--check-config", "x"}, &text), 2);
    EXPECT_EQ(check({"--check-config=x"}, &text), 2);
    EXPECT_EQ(check({"--check-config", "--cpus", "x"}, &text), 2);
    EXPECT_EQ(check({"--check-config", "--bus", ""}, &text), 2);
}

TEST_F(DaemonConfig, AFileSaysWhereItServes)
{
    write("[weird]\nbus = " + bus_ + "\njournal = " + journal_ + "\nthreads = 2\ncpus = 0\nverbose = yes\n");
    create("ring");
    Weird weird(bus_, journal_);
    weird.bare = true;
    weird.more_options = {"--config", file()};
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_TRUE(weird.says("serving the bus " + bus_ + ", journals in " + journal_)) << weird.log();
    struct weir_pub *pub = publisher("ring");
    EXPECT_EQ(wait_durable(pub, send(pub, "x")), 0) << weir_last_error();
    weir_pub_close(pub);
    EXPECT_EQ(weird.stop(), 0);

    /* The command line wins. */
    std::string other = journal_ + "-2";
    weird.more_options = {"--config", file(), "--journal", other};
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_TRUE(weird.says("journals in " + other)) << weird.log();
    EXPECT_EQ(weird.stop(), 0);
}

TEST_F(DaemonConfig, IsReadAgainOnSighup)
{
    Manager manager;
    write("[weird]\nbus = " + bus_ + "\njournal = " + journal_ + "\n");
    Weird weird(bus_, journal_);
    weird.bare = true;
    weird.more_options = {"--config", file(), "--journal", journal_};
    weird.launch(manager.name);
    ASSERT_EQ(manager.next(), "READY=1") << weird.log();

    /* What is safe takes effect, and nothing else is said. */
    write("[weird]\nbus = " + bus_ + "\nverbose = yes\n[ring]\nsync = never\n");
    ::kill(weird.pid(), SIGHUP);
    std::string reloading = manager.next();
    const std::string begins = "RELOADING=1\nMONOTONIC_USEC=";
    EXPECT_EQ(reloading.rfind(begins, 0), 0u) << reloading;
    EXPECT_GT(strtoull(reloading.c_str() + begins.size(), nullptr, 10), 0u) << reloading;
    EXPECT_EQ(manager.next(), "READY=1");
    EXPECT_TRUE(weird.says("read " + file() + " again")) << weird.log();
    EXPECT_FALSE(weird.says("restart")) << weird.log();

    /* What is not is told; what the command line said is not asked. */
    write("[weird]\nbus = /elsewhere\njournal = /nowhere\nthreads = 4\ncpus = 0\n");
    ::kill(weird.pid(), SIGHUP);
    EXPECT_EQ(manager.next().rfind("RELOADING=1", 0), 0u);
    EXPECT_EQ(manager.next(), "READY=1");
    EXPECT_EQ(weird.times_said("needs a restart"), 3u) << weird.log();
    EXPECT_TRUE(weird.says("bus = /elsewhere needs a restart: it stays " + bus_ + " until then")) << weird.log();
    EXPECT_TRUE(weird.says("threads = 4 needs a restart: it stays 1 until then")) << weird.log();
    EXPECT_TRUE(weird.says("cpus = 0 needs a restart: it stays the default until then")) << weird.log();

    /* With a fault all stays as it was. */
    write("[weird]\nbus = " + bus_ + "\nfrobnicate = 1\n[ring]\nsync = later\n");
    ::kill(weird.pid(), SIGHUP);
    EXPECT_EQ(manager.next().rfind("RELOADING=1", 0), 0u);
    EXPECT_EQ(manager.next(), "READY=1");
    EXPECT_TRUE(weird.says(file() + ":3: unknown key 'frobnicate'")) << weird.log();
    EXPECT_TRUE(weird.says(file() + ":5: sync = later: allowed is")) << weird.log();
    EXPECT_TRUE(weird.says("the configuration stays as it was")) << weird.log();
    EXPECT_TRUE(weird.runs());

    ::kill(weird.pid(), SIGTERM);
    EXPECT_EQ(manager.next(), "STOPPING=1");
    EXPECT_EQ(weird.wait(), 0) << weird.log();
}

TEST_F(DaemonConfig, VerboseFollowsTheFile)
{
    Manager manager;
    write("[weird]\nverbose = yes\n");
    Weird weird(bus_, journal_);
    weird.bare = true;
    weird.more_options = {"--config", file(), "--bus", bus_, "--journal", journal_};
    weird.launch(manager.name);
    ASSERT_EQ(manager.next(), "READY=1") << weird.log();
    struct weir_ring_options memory_only = small_ring();
    memory_only.journaled = 0;
    create("loud", memory_only);
    EXPECT_TRUE(wait_until([&] { return weird.says("ring loud"); })) << weird.log();
    write("");
    ::kill(weird.pid(), SIGHUP);
    EXPECT_EQ(manager.next().rfind("RELOADING=1", 0), 0u);
    EXPECT_EQ(manager.next(), "READY=1");
    create("quiet", memory_only);
    EXPECT_TRUE(wait_until([&] { return info("quiet").daemon_alive == 1; }));
    EXPECT_FALSE(weird.says("ring quiet")) << weird.log();
    EXPECT_EQ(weird.stop(), 0);
}

TEST_F(DaemonConfig, TellsTheWatchdogThatItLives)
{
    Manager manager;
    setenv("WATCHDOG_USEC", "200000", 1);
    Weird weird(bus_, journal_);
    weird.launch(manager.name);
    unsetenv("WATCHDOG_USEC");
    ASSERT_EQ(manager.next(), "READY=1") << weird.log();
    for (int i = 0; i < 5; i++)
        ASSERT_EQ(manager.next(), "WATCHDOG=1");
    EXPECT_EQ(weird.stop(), 0);
    weird.kill();

    /* It was meant for another process. */
    Manager other;
    setenv("WATCHDOG_USEC", "200000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    Weird second(bus_, journal_);
    second.launch(other.name);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    ASSERT_EQ(other.next(), "READY=1") << second.log();
    ::kill(second.pid(), SIGTERM);
    EXPECT_EQ(other.next(), "STOPPING=1");
    EXPECT_EQ(second.wait(), 0);
}

} // namespace
