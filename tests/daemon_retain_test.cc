/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What weird keeps of a journal: by bytes, by age, by what is still to be read, by pins, and by the room there is. What
 * goes is in the ledger; a publisher meets its ring's policy before the disk is full, and nobody ever meets a full
 * disk.
 */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing LABELS tsan TIMEOUT 600

#include "tests/daemon_support.hh"

#include <memory>

#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

namespace
{

constexpr uint64_t segment_bytes = 16384;
constexpr uint64_t file_bytes = segment_bytes + 4096;

std::string record(size_t number)
{
    std::string text = std::to_string(number);
    return text + std::string(1000 - text.size(), 'x');
}

struct policy_rules keep_all()
{
    struct policy_rules rules = {};
    rules.room = {0, 1 << 20, 95, 90};
    rules.base.sync = POLICY_SYNC_ALWAYS;
    return rules;
}

struct policy_rules with(const std::function<void(struct policy_rules &)> &change)
{
    struct policy_rules rules = keep_all();
    change(rules);
    return rules;
}

/*
 * What the journal's files take by the calls that made and removed them, and what the file system says is free where a
 * test wants it to lie.
 */
class Meter
{
public:
    Meter()
    {
        hooks_ = {before, after, this};
        jio_hooks = &hooks_;
    }
    Meter(const Meter &) = delete;
    Meter &operator=(const Meter &) = delete;
    ~Meter()
    {
        jio_hooks = nullptr;
    }
    /* 0: as it is. */
    void pretend_free(uint64_t bytes)
    {
        mem_store_release_(&free_, bytes);
    }
    uint64_t full_count()
    {
        return mem_load_acquire(&full_);
    }
    uint64_t asked_count()
    {
        return mem_load_acquire(&asked_);
    }

private:
    static int64_t before(void *ctx, const struct jio_event *event)
    {
        Meter *meter = static_cast<Meter *>(ctx);
        if (event->call != JIO_ROOM)
            return 0;
        mem_add_(&meter->asked_, 1);
        return (int64_t)mem_load_acquire(&meter->free_);
    }
    static void after(void *ctx, const struct jio_event *, int64_t result)
    {
        Meter *meter = static_cast<Meter *>(ctx);
        if (result == -ENOSPC || result == -EDQUOT)
            mem_add_(&meter->full_, 1);
    }

    struct jio_hooks hooks_;
    struct mem_u64 free_ = {0}, full_ = {0}, asked_ = {0};
};

class DaemonRetain : public DaemonTest
{
protected:
    int folder()
    {
        return open((journal_ + "/ring").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    std::set<uint64_t> segments(const std::string &ring = "ring")
    {
        std::set<uint64_t> found;
        for (const auto &entry : std::filesystem::directory_iterator(journal_ + "/" + ring)) {
            if (entry.path().extension() == ".seg")
                found.insert(strtoull(entry.path().filename().c_str(), nullptr, 16));
        }
        return found;
    }
    size_t files(const std::string &ring = "ring")
    {
        size_t count = 0;
        for (const auto &entry : std::filesystem::directory_iterator(journal_ + "/" + ring))
            count += entry.path().extension() == ".seg" || entry.path().extension() == ".spare";
        return count;
    }
    std::vector<struct journal_gap> gaps(const std::string &ring = "ring")
    {
        std::vector<struct journal_gap> found;
        int fd = open((journal_ + "/" + ring).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        auto take = [](void *ctx, const struct journal_gap *gap) {
            static_cast<std::vector<struct journal_gap> *>(ctx)->push_back(*gap);
            return 0;
        };
        EXPECT_EQ(journal_gaps(fd, take, &found), 0);
        close(fd);
        return found;
    }
    /* What was sent is there, or in a range of the ledger; and `stay` says which must be there. */
    void check(const std::map<uint64_t, std::string> &sent, const std::string &ring = "ring",
               const std::function<bool(uint64_t position)> &stay = nullptr)
    {
        std::map<uint64_t, std::string> found;
        int fd = open((journal_ + "/" + ring).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct journal_reader *reader = nullptr;
        ASSERT_EQ(journal_reader_open(fd, info(ring).ring_id, 14, &reader), 0);
        for (uint64_t segment : segments(ring)) {
            struct ring_item item;
            if (journal_reader_seek(reader, segment << 14) < 0)
                continue;
            while (journal_reader_next(reader, info(ring).durable, &item) == 1 && item.position >> 14 == segment)
                found[item.position] = payload(item);
        }
        journal_reader_close(reader);
        close(fd);
        std::vector<struct journal_gap> told = gaps(ring);
        for (const auto &[position, text] : sent) {
            auto at = found.find(position);
            if (at != found.end()) {
                ASSERT_EQ(at->second, text) << position;
                continue;
            }
            ASSERT_FALSE(stay && stay(position)) << position;
            bool known = false;
            for (const struct journal_gap &gap : told)
                known |= gap.from <= position && position < gap.to && gap.reason == JOURNAL_GAP_EXPIRED;
            ASSERT_TRUE(known) << position << " is gone, and nobody says so";
        }
    }

    /* Until so many segments are full. Fails where a publisher has to wait too long. */
    void publish(struct weir_pub *pub, uint64_t segment_count)
    {
        uint64_t first = sent_.empty() ? 0 : sent_.rbegin()->first;
        uint64_t to = (first / segment_bytes + segment_count) * segment_bytes, position = first;
        while (position < to && !HasFailure()) {
            ASSERT_TRUE(wait_until([&] { return try_send(pub, &position); })) << weir_last_error();
        }
        ASSERT_EQ(wait_durable(pub, position), 0) << weir_last_error();
    }
    /* Until its ring has no room, with the journal held up. False: that does not come. */
    bool publish_until_full(struct weir_pub *pub)
    {
        uint64_t position;
        return wait_until([&] {
            while (try_send(pub, &position))
                continue;
            struct weir_ring_info now = info("ring");
            /* All that may go has gone: it is synced, and its memory reused. */
            return now.journal_error != 0 && now.durable == now.written && !try_send(pub, &position);
        });
    }
    bool try_send(struct weir_pub *pub, uint64_t *position)
    {
        std::string text = record(sent_.size());
        if (weir_pub_send(pub, text.data(), text.size(), 0, position) != 0)
            return false;
        sent_[*position] = text;
        return true;
    }

    std::map<uint64_t, std::string> sent_;
};

TEST_F(DaemonRetain, KeepsTheNewestSegmentsThatHoldSoManyBytes)
{
    struct policy_rules rules = with([](auto &r) { r.base.retain_bytes = 4 * segment_bytes; });
    create("ring");
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("ring");
    publish(pub, 40);
    uint64_t last = info("ring").durable - 1;
    ASSERT_TRUE(wait_until([&] { return *segments().begin() == last / segment_bytes - 4; }));
    check(sent_, "ring", [&](uint64_t position) { return position / segment_bytes + 4 >= last / segment_bytes; });
    EXPECT_EQ(gaps().front().from, 0u);
    weir_pub_close(pub);
}

TEST_F(DaemonRetain, LetsOldSegmentsGoButNeverTheLastOne)
{
    struct policy_rules rules = with([](auto &r) { r.base.retain_age_ms = 3600 * 1000; });
    create("ring");
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("ring");
    publish(pub, 300); /* more than go at once */
    EXPECT_EQ(*segments().begin(), 0u);
    uint64_t last = (info("ring").durable - 1) / segment_bytes;
    rules = with([](auto &r) { r.base.retain_age_ms = 1; });
    ASSERT_EQ(weird_set_policies(weird.weird, &rules), 0);
    ASSERT_TRUE(wait_until([&] { return *segments().begin() == last; }));
    check(sent_, "ring", [&](uint64_t position) { return position / segment_bytes == last; });
    weir_pub_close(pub);
}

/* The clock was years ahead for a while: what was begun by then says nothing of its age, and what follows does. */
TEST_F(DaemonRetain, LetsOldSegmentsGoWhateverTimesToComeTheirHeadersTell)
{
    struct policy_rules rules = with([](auto &r) { r.base.retain_age_ms = 3600 * 1000; });
    create("ring");
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("ring");
    publish(pub, 100);
    uint64_t last = (info("ring").durable - 1) / segment_bytes;
    for (uint64_t segment = 1; segment <= 80; segment++) { /* more than are read at once */
        char name[32];
        struct journal_segment_header header;
        snprintf(name, sizeof name, "/ring/%016llx.seg", (unsigned long long)segment);
        int fd = open((journal_ + name).c_str(), O_RDWR | O_CLOEXEC);
        ASSERT_EQ(pread(fd, &header, sizeof header, 0), (ssize_t)sizeof header);
        header.created_ns += UINT64_C(10) * 365 * 86400 * 1000000000;
        header.crc = journal_crc32c(0, &header, offsetof(struct journal_segment_header, crc));
        ASSERT_EQ(pwrite(fd, &header, sizeof header, 0), (ssize_t)sizeof header);
        close(fd);
    }
    rules = with([](auto &r) { r.base.retain_age_ms = 1; });
    ASSERT_EQ(weird_set_policies(weird.weird, &rules), 0);
    ASSERT_TRUE(wait_until([&] { return *segments().begin() == last; })) << *segments().begin();
    check(sent_, "ring", [&](uint64_t position) { return position / segment_bytes == last; });
    weir_pub_close(pub);
}

TEST_F(DaemonRetain, LeavesAPinnedRangeAloneAndTakesWhatLiesAroundIt)
{
    struct policy_rules rules = keep_all();
    create("ring");
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("ring");
    publish(pub, 12);
    uint64_t last = (info("ring").durable - 1) / segment_bytes;
    int fd = folder();
    ASSERT_EQ(journal_pin(fd, "audit", 3 * segment_bytes + 64, 5 * segment_bytes + 64), 0);
    rules = with([](auto &r) { r.base.retain_bytes = 1; });
    ASSERT_EQ(weird_set_policies(weird.weird, &rules), 0);
    std::set<uint64_t> left = {3, 4, 5, last - 1, last};
    ASSERT_TRUE(wait_until([&] {
        std::set<uint64_t> now = segments();
        now.erase(last + 1);
        return now == left;
    }));
    auto pinned = [&](uint64_t position) { return position / segment_bytes >= 3 && position / segment_bytes <= 5; };
    check(sent_, "ring", pinned);
    EXPECT_EQ(journal_pin(fd, "late", 0, 4 * segment_bytes), -ENODATA);
    ASSERT_EQ(journal_unpin(fd, "audit"), 0);
    ASSERT_TRUE(wait_until([&] { return *segments().begin() == last - 1; }));
    check(sent_);
    close(fd);
    weir_pub_close(pub);
}

TEST_F(DaemonRetain, KeepsWhatANamedCursorHasNotPassedIfToldTo)
{
    struct policy_rules rules = with([](auto &r) {
        r.base.retain_bytes = 1;
        r.base.keep_unread = true;
    });
    create("ring");
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    struct weir_sub *sub = nullptr;
    options.cursor = "slow";
    ASSERT_EQ(weir_sub_open(bus_.c_str(), "ring", &options, &sub), 0) << weir_last_error();
    ASSERT_EQ(weir_sub_save(sub, 0), 0) << weir_last_error();
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("ring");
    publish(pub, 12);
    uint64_t last = (info("ring").durable - 1) / segment_bytes;
    for (uint64_t segment : {4, 7}) {
        ASSERT_EQ(weir_sub_save(sub, segment * segment_bytes + 64), 0) << weir_last_error();
        ASSERT_TRUE(wait_until([&] { return *segments().begin() == segment; })) << *segments().begin();
    }
    EXPECT_EQ(gaps().back().to, 7 * segment_bytes);
    ASSERT_EQ(weir_sub_save(sub, info("ring").durable), 0);
    ASSERT_TRUE(wait_until([&] { return *segments().begin() == last - 1; }));
    check(sent_);
    weir_sub_close(sub);
    weir_pub_close(pub);
}

/* P5: it is told, at the position at which it is. */
TEST_F(DaemonRetain, LetsAReaderFinishItsSegmentAndTellsItTheGapBehindIt)
{
    struct policy_rules rules = keep_all();
    create("ring");
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("ring");
    publish(pub, 60);
    struct weir_sub *sub = nullptr;
    struct weir_message message;
    ASSERT_EQ(weir_sub_open(bus_.c_str(), "ring", nullptr, &sub), 0) << weir_last_error();
    ASSERT_EQ(weir_sub_next(sub, 0, &message), 0) << weir_last_error();
    ASSERT_EQ(weir_sub_in_memory(sub), 0);
    rules = with([](auto &r) { r.base.retain_bytes = 1; });
    ASSERT_EQ(weird_set_policies(weird.weird, &rules), 0);
    ASSERT_TRUE(wait_until([&] { return *segments().begin() > 50; }));
    publish(pub, 10); /* files that went may be in use again */
    uint64_t count = 1;
    int r;
    while ((r = weir_sub_next(sub, 0, &message)) == 0) {
        EXPECT_EQ(std::string((const char *)message.data, message.data_bytes), sent_[message.position]);
        count++;
    }
    ASSERT_EQ(r, -EPIPE) << weir_last_error();
    uint64_t in_first = 0;
    for (const auto &entry : sent_)
        in_first += entry.first < segment_bytes;
    EXPECT_EQ(count, in_first);
    struct weir_gap gap;
    ASSERT_EQ(weir_sub_gap(sub, &gap), 0);
    EXPECT_EQ(gap.reason, WEIR_GAP_EXPIRED);
    EXPECT_EQ(gap.from, segment_bytes);
    ASSERT_EQ(weir_sub_next(sub, 0, &message), 0) << weir_last_error();
    EXPECT_EQ(message.position, gap.to);
    weir_sub_close(sub);
    weir_pub_close(pub);
}

/* Publisher `early` has all its records in what expires, and then everything dies: it is told its last sequence all the
 * same. */
TEST_F(DaemonRetain, RemembersTheSequencesOfWhatHasExpired)
{
    std::string config = journal_ + ".conf";
    std::ofstream(config) << "[ring]\nretain_bytes = 16KiB\n";
    create("ring");
    struct weir_pub *early = publisher("ring", "early"), *pub = publisher("ring");
    auto weird = std::make_unique<Weird>(bus_, journal_);
    weird->more_options = {"--config", config};
    ASSERT_TRUE(weird->start()) << weird->log();
    /* The names were looked at by then, and are not again for a second. */
    ASSERT_TRUE(wait_until([&] { return info("ring").journal_room_bytes != UINT64_MAX; }));
    struct weir_message message = {};
    message.data = "early";
    message.data_bytes = 5;
    message.has = WEIR_HAS_SEQUENCE;
    message.sequence = 17;
    uint64_t position;
    ASSERT_EQ(weir_pub_send_message(early, &message, deadline_ms * INT64_C(1000000), &position), 0);
    publish(pub, 12);
    ASSERT_TRUE(wait_until([&] { return segments().count(0) == 0; }));
    weird->kill();
    weir_pub_close(early);
    weir_pub_close(pub);
    lose_memory();
    ASSERT_TRUE(weird->start()) << weird->log();
    uint64_t sequence = 0;
    early = publisher("ring", "early");
    EXPECT_EQ(weir_pub_last_sequence(early, &sequence), 0);
    EXPECT_EQ(sequence, 17u);
    weir_pub_close(early);
    EXPECT_EQ(weird->stop(), 0) << weird->log();
}

/* Drains up to a position, and lets expire, in a process of its own, which dies at its n-th call to the disk; 0: it
 * does not. */
bool retain_in_child(const std::string &bus, const std::string &journal, const struct policy_rules &rules,
                     uint64_t position, uint64_t die_at)
{
    Child child([&] {
        struct jio_hooks hooks = {step_on_disk, nullptr, nullptr};
        if (die_at) {
            mem_store_release_(&steps_left, die_at);
            jio_hooks = &hooks;
        }
        if (!freopen((journal + ".log").c_str(), "a", stderr))
            _exit(2);
        Embedded weird(bus, journal, &rules);
        struct weir_ring_info info = {};
        info.size = sizeof info;
        auto expired = [&] {
            char name[32];
            snprintf(name, sizeof name, "/ring/%016llx.seg", (unsigned long long)(position / segment_bytes - 2));
            return access((journal + name).c_str(), F_OK) < 0;
        };
        bool through =
            weird.error == 0 && wait_until([&] {
                return weir_ring_inspect(bus.c_str(), "ring", &info) == 0 && info.durable > position && expired();
            });
        weird_stop(weird.weird);
        _exit(through ? 0 : 3);
    });
    int status = child.wait();
    EXPECT_TRUE(status == 0 || (die_at && status == -SIGKILL)) << status << " at step " << die_at;
    return status == 0;
}

TEST_F(DaemonRetain, LosesNothingThatNobodyTellsOfAtWhicheverStepItDies)
{
    struct policy_rules rules = with([](auto &r) {
        r.base.retain_bytes = 1;
        r.base.limit_bytes = 8 * file_bytes;
        r.base.when_limited = POLICY_LIMITED_EXPIRE;
    });
    create("ring");
    struct weir_pub *pub = publisher("ring");
    bool through = false;
    uint64_t steps = 0, position = 0;
    while (!through && !HasFailure()) {
        for (int i = 0; i < 48; i++) {
            ASSERT_TRUE(try_send(pub, &position));
        }
        steps += 3 * step_stride;
        through = retain_in_child(bus_, journal_, rules, position, steps);
        EXPECT_TRUE(retain_in_child(bus_, journal_, rules, position, 0));
        EXPECT_LE(files(), 8u);
        check(sent_, "ring", [&](uint64_t at) { return at / segment_bytes + 1 >= position / segment_bytes; });
    }
    EXPECT_GT(steps, 30u);
    weir_pub_close(pub);
}

/* -- room ---------------------------------------------------------------------------------------------------------- */

TEST_F(DaemonRetain, HoldsPublishersUpAtTheRingsLimitAndGoesOnWhenThereIsRoom)
{
    struct policy_rules rules = with([](auto &r) { r.base.limit_bytes = 10 * file_bytes; });
    create("ring");
    Meter meter;
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("ring");
    for (uint64_t limit : {10, 60}) { /* the memory takes 28 */
        ASSERT_TRUE(publish_until_full(pub));
        EXPECT_EQ(info("ring").journal_error, EDQUOT);
        EXPECT_EQ(info("ring").journal_retries, 1);
        EXPECT_LE(files(), limit);
        EXPECT_EQ(*segments().begin(), 0u);
        rules.base.limit_bytes = 6 * limit * file_bytes;
        ASSERT_EQ(weird_set_policies(weird.weird, &rules), 0);
        std::string text = record(sent_.size());
        uint64_t position = send(pub, text);
        sent_[position] = text;
        ASSERT_EQ(wait_durable(pub, position), 0) << weir_last_error();
        EXPECT_EQ(info("ring").journal_error, 0);
    }
    /* Retention makes room, too. */
    ASSERT_TRUE(publish_until_full(pub));
    rules.base.retain_bytes = 1;
    ASSERT_EQ(weird_set_policies(weird.weird, &rules), 0);
    publish(pub, 100);
    EXPECT_LE(files(), 360u);
    EXPECT_EQ(meter.full_count(), 0u);
    check(sent_);
    weir_pub_close(pub);
}

class DaemonRetainRest : public DaemonRetain, public testing::WithParamInterface<uint64_t>
{
};

/*
 * Retention comes to rest above the low watermark, with room for some files or only for two: of what waits nothing becomes old,
 * so this is all the room there will be.
 */
TEST_P(DaemonRetainRest, GoesOnWhereRetentionNeverComesToTheLowWatermark)
{
    struct policy_rules rules = with([](auto &r) {
        r.room.low_percent = 50;
        r.base.limit_bytes = 40 * file_bytes;
        r.base.retain_bytes = GetParam() * segment_bytes;
    });
    create("ring");
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    int fd = -1;
    ASSERT_TRUE(wait_until([&] { return (fd = folder()) >= 0; }));
    ASSERT_EQ(journal_pin(fd, "all", 0, UINT64_MAX), 0);
    struct weir_pub *pub = publisher("ring");
    ASSERT_TRUE(publish_until_full(pub));
    EXPECT_EQ(info("ring").journal_error, EDQUOT);
    uint64_t durable = info("ring").durable;
    ASSERT_EQ(journal_unpin(fd, "all"), 0);
    EXPECT_TRUE(wait_until([&] { return info("ring").durable >= durable + 8 * segment_bytes; }));
    close(fd);
    weir_pub_close(pub);
}

INSTANTIATE_TEST_SUITE_P(Segments, DaemonRetainRest, testing::Values(30, 37));

TEST_F(DaemonRetain, WarnsWhereWhatIsToBeKeptLeavesNoRoomToWrite)
{
    std::string config = journal_ + ".conf";
    std::ofstream(config) << "[ring]\nlimit = 1MiB\nretain_bytes = 512KiB\n[ring tight]\nretain_bytes = 800KiB\n";
    create("ring");
    create("tight");
    Weird weird(bus_, journal_);
    weird.more_options = {"--config", config};
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_TRUE(
        wait_until([&] { return weird.log().find("ring tight: its limit leaves little") != std::string::npos; }));
    EXPECT_TRUE(wait_until([&] { return info("ring").journal_room_bytes != UINT64_MAX; }));
    EXPECT_EQ(weird.log().find("ring ring: its limit"), std::string::npos);
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

TEST_F(DaemonRetain, GivesUpTheOldestAtTheRingsLimitIfToldTo)
{
    struct policy_rules rules = with([](auto &r) {
        r.base.limit_bytes = 10 * file_bytes;
        r.base.when_limited = POLICY_LIMITED_EXPIRE;
    });
    create("ring");
    Meter meter;
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("ring");
    for (int i = 0; i < 20 && !HasFailure(); i++) {
        publish(pub, 10);
        EXPECT_LE(files(), 10u);
    }
    EXPECT_EQ(meter.full_count(), 0u);
    EXPECT_GE(segments().size(), 4u);
    check(sent_);
    weir_pub_close(pub);
}

/* The pinned ones cannot go: publishers wait, as with `block`, until they may. */
TEST_F(DaemonRetain, HoldsPublishersUpWhereThereIsNothingToGiveUp)
{
    struct policy_rules rules = with([](auto &r) {
        r.base.limit_bytes = 10 * file_bytes;
        r.base.when_limited = POLICY_LIMITED_EXPIRE;
    });
    create("ring");
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    int fd = folder();
    ASSERT_TRUE(fd >= 0 || wait_until([&] { return (fd = folder()) >= 0; }));
    ASSERT_EQ(journal_pin(fd, "all", 0, UINT64_MAX), 0);
    struct weir_pub *pub = publisher("ring");
    ASSERT_TRUE(publish_until_full(pub));
    EXPECT_LE(files(), 10u);
    EXPECT_TRUE(gaps().empty());
    ASSERT_EQ(journal_unpin(fd, "all"), 0);
    publish(pub, 20);
    check(sent_);
    close(fd);
    weir_pub_close(pub);
}

TEST_F(DaemonRetain, SharesTheDirectorysLimitAmongItsRings)
{
    struct policy_rules rules = with([](auto &r) { r.room.limit_bytes = 30 * file_bytes; });
    struct policy_rule rule = {};
    strcpy(rule.pattern, "ring");
    rule.has = POLICY_HAS_WHEN_LIMITED;
    rule.says.when_limited = POLICY_LIMITED_EXPIRE;
    rules.rules = &rule;
    rules.count = 1;
    create("ring");
    create("firm");
    Meter meter;
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("ring"), *firm = publisher("firm");
    std::map<uint64_t, std::string> held;
    for (int i = 0; i < 15 && !HasFailure(); i++) {
        publish(pub, 4);
        uint64_t position = 0;
        for (int j = 0; j < 15; j++) {
            std::string text = record(held.size());
            position = send(firm, text);
            held[position] = text;
        }
        ASSERT_EQ(wait_durable(firm, position), 0) << weir_last_error();
        EXPECT_LE(files("ring") + files("firm"), 30u);
    }
    EXPECT_TRUE(gaps("firm").empty()) << "what blocks gives up nothing";
    EXPECT_FALSE(gaps("ring").empty());
    check(sent_);
    check(held, "firm", [](uint64_t) { return true; });
    EXPECT_EQ(meter.full_count(), 0u);
    weir_pub_close(pub);
    weir_pub_close(firm);
}

class DaemonRetainFull : public DaemonRetain, public testing::WithParamInterface<enum policy_when_limited>
{
};

/* The file system says that it is nearly full, and then that it is not. */
TEST_P(DaemonRetainFull, MeetsTheReserveOfTheFileSystemBeforeTheFileSystemIsFull)
{
    struct policy_rules rules = with([](auto &r) { r.base.when_limited = GetParam(); });
    create("ring");
    Meter meter;
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("ring");
    publish(pub, 40);
    EXPECT_GT(info("ring").journal_room_bytes, 0u);
    meter.pretend_free((1 << 20) + file_bytes / 2);
    if (GetParam() == POLICY_LIMITED_EXPIRE) {
        publish(pub, 40);
        EXPECT_FALSE(gaps().empty());
    } else {
        ASSERT_TRUE(publish_until_full(pub));
        EXPECT_EQ(info("ring").journal_error, ENOSPC);
        EXPECT_TRUE(gaps().empty());
        EXPECT_TRUE(wait_until([&] { return info("ring").journal_room_bytes < 10 * file_bytes; }));
        std::string text = record(sent_.size());
        EXPECT_EQ(weir_pub_send(pub, text.data(), text.size(), 20000000, nullptr), -ETIMEDOUT);
    }
    meter.pretend_free(0);
    publish(pub, 20);
    EXPECT_EQ(info("ring").journal_error, 0);
    EXPECT_EQ(meter.full_count(), 0u);
    check(sent_);
    weir_pub_close(pub);
}

INSTANTIATE_TEST_SUITE_P(Policies, DaemonRetainFull, testing::Values(POLICY_LIMITED_BLOCK, POLICY_LIMITED_EXPIRE));

/* A disk that is full otherwise has no room for files kept ready. When it has, they are made again. */
TEST_F(DaemonRetain, MakesFilesReadyAgainWhenThereIsRoomAgain)
{
    struct policy_rules rules = keep_all();
    create("ring");
    Meter meter;
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    struct weir_pub *pub = publisher("ring");
    auto spares = [&] { return files() - segments().size(); };
    publish(pub, 2);
    ASSERT_TRUE(wait_until([&] { return spares() >= 2; }));
    meter.pretend_free(1 << 20);
    ASSERT_TRUE(wait_until([&] { return spares() == 0; })) << "they go, for others that need the room";
    meter.pretend_free(0);
    ASSERT_TRUE(wait_until([&] { return spares() >= 2; }));
    weir_pub_close(pub);
}

/* -- a real small disk --------------------------------------------------------------------------------------------- */

class DaemonRetainDisk : public DaemonRetain, public testing::WithParamInterface<enum weir_when_full>
{
protected:
    uint64_t free_bytes()
    {
        struct statvfs room;
        EXPECT_EQ(statvfs(journal_.c_str(), &room), 0);
        return (uint64_t)room.f_bavail * room.f_frsize;
    }
    void fill_and_free()
    {
        struct policy_rules rules = keep_all();
        Meter meter;
        Embedded weird(bus_, journal_, &rules);
        ASSERT_EQ(weird.error, 0) << weird.why.text;
        struct weir_pub *pub = publisher("ring", "named");
        std::string filler = journal_ + "/filler";
        int fd = open(filler.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        publish(pub, 1);
        ASSERT_TRUE(wait_until([&] { return info("ring").journal_room_bytes <= 15 << 20; })) << "but for the reserve";
        for (int round = 1; round <= 2; round++) {
            ASSERT_EQ(posix_fallocate(fd, 0, (3 - round) * (2 << 20)), 0);
            for (int i = 0; i < 20000 && info("ring").journal_error == 0; i++) {
                uint64_t position;
                try_send(pub, &position);
            }
            for (uint64_t position; try_send(pub, &position);)
                continue;
            struct weir_ring_info now = info("ring");
            EXPECT_EQ(now.journal_error, ENOSPC);
            EXPECT_TRUE(wait_until([&] { return info("ring").journal_room_bytes < 1 << 20; }));
            EXPECT_GT(now.refused_count + (GetParam() == WEIR_BLOCK), 0u);
            EXPECT_GE(free_bytes(), (uint64_t)(1 << 20) - 65536) << "the reserve was taken";
            ASSERT_EQ(ftruncate(fd, 0), 0);
            ASSERT_TRUE(wait_until([&] { return info("ring").journal_error == 0; }));
            publish(pub, 3);
        }
        EXPECT_EQ(meter.full_count(), 0u);
        close(fd);
        weir_pub_close(pub);
        check(sent_, "ring", [](uint64_t) { return true; });
    }
};

TEST_P(DaemonRetainDisk, IsNeverFullAndItsPublishersMeetTheirPolicyBefore)
{
    struct weir_ring_options options = small_ring();
    options.when_full = GetParam();
    create("ring", options);
    Child child([this] {
        if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            mount("small", journal_.c_str(), "tmpfs", 0, "size=16m,mode=755") != 0)
            _exit(77);
        alarm(test_limit_s);
        fill_and_free();
        fflush(nullptr);
        _exit(HasFailure() ? 1 : 0);
    });
    int status = child.wait();
    if (status == 77 && geteuid() != 0)
        GTEST_SKIP() << "a mount namespace, or a tmpfs in it, is not permitted here";
    EXPECT_EQ(status, 0);
}

INSTANTIATE_TEST_SUITE_P(Policies, DaemonRetainDisk, testing::Values(WEIR_BLOCK, WEIR_DROP_NEW));

} // namespace
