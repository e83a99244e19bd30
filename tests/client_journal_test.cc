// SPDX-License-Identifier: Apache-2.0
// test: LINKS weir_client weir_journal weir_shm weir_ringbuf LABELS tsan TIMEOUT 240
// Journals from outside, through the public header: looking, reading, verifying, repairing, pinning.
#include "tests/journal_support.hh"

#include <memory>
#include <weir.h>

using namespace journaltest;

namespace
{

struct Fault {
    std::string file, what;
    uint64_t offset, bytes, from, to;
    bool known;
};

class ClientJournal : public JournalTest
{
protected:
    void SetUp() override
    {
        log_ = std::make_unique<Log>();
        fill(*log_, 8);
        make(*log_, make_meta());
        meta_.durable = log_->end();
        ASSERT_EQ(journal_set_meta(writer_, &meta_), 0);
    }
    void TearDown() override
    {
        weir_journal_close(journal_);
        JournalTest::TearDown();
    }

    int open_journal(const char *name = "ring")
    {
        weir_journal_close(journal_);
        journal_ = nullptr;
        return weir_journal_open(nullptr, scratch_.path().c_str(), name, &journal_);
    }

    /* What next() gives, gaps included. */
    struct Read {
        std::vector<uint64_t> positions;
        std::vector<std::string> bodies;
        std::vector<Range> gaps;
        std::vector<int> reasons;
        int end = 0;
    };
    Read read()
    {
        Read all;
        for (;;) {
            struct weir_message message;
            struct weir_gap gap;
            int r = weir_journal_next(journal_, &message);
            if (r == 0) {
                all.positions.push_back(message.position);
                all.bodies.emplace_back((const char *)message.data, message.data_bytes);
            } else if (r == -EPIPE) {
                EXPECT_EQ(weir_journal_gap(journal_, &gap), 0);
                all.gaps.push_back({gap.from, gap.to});
                all.reasons.push_back(gap.reason);
            } else {
                all.end = r;
                return all;
            }
        }
    }

    std::vector<Fault> verify(int *ret_new = nullptr)
    {
        std::vector<Fault> faults;
        EXPECT_EQ(open_journal(), 0) << weir_last_error();
        int r = weir_journal_verify(
            journal_,
            [](void *ctx, const struct weir_journal_fault *fault) {
                ((std::vector<Fault> *)ctx)
                    ->push_back({fault->file, fault->what, fault->offset, fault->bytes, fault->from, fault->to,
                                 fault->known != 0});
            },
            nullptr, &faults);
        EXPECT_GE(r, 0) << weir_last_error();
        EXPECT_EQ(r, (int)std::count_if(faults.begin(), faults.end(), [](const Fault &f) { return !f.known; }));
        if (ret_new)
            *ret_new = r;
        return faults;
    }

    std::vector<std::string> repair(bool dry_run = false, int expected = 0)
    {
        std::vector<std::string> steps;
        EXPECT_EQ(open_journal(), 0) << weir_last_error();
        int r = weir_journal_repair(
            journal_, dry_run, [](void *ctx, const char *text) { ((std::vector<std::string> *)ctx)->push_back(text); },
            nullptr, &steps);
        if (expected < 0)
            EXPECT_EQ(r, expected);
        else
            EXPECT_EQ(r, (int)steps.size()) << weir_last_error();
        return steps;
    }

    void damage(uint64_t position, uint8_t mask = 1)
    {
        uint64_t offset = JOURNAL_BLOCK_BYTES + position % 4096;
        Bytes bytes = read_file(folder_fd_, segment_file(position / 4096));
        bytes[offset] ^= mask;
        write_file(folder_fd_, segment_file(position / 4096), bytes);
    }

    /* weird's next start. */
    void opens_and_recovers()
    {
        uint64_t end = 0;
        size_t before = gaps_of(folder_fd_).size();
        ASSERT_EQ(open_writer(), 0);
        ASSERT_EQ(recover(&end), 0);
        close_writer();
        EXPECT_EQ(end, log_->end());
        EXPECT_EQ(gaps_of(folder_fd_).size(), before) << "recovery found what repair had not";
    }

    std::vector<uint64_t> positions_of(const std::vector<Record> &records)
    {
        std::vector<uint64_t> positions;
        for (const Record &record : records)
            positions.push_back(record.position);
        return positions;
    }

    /* A record in the middle of a segment, with one behind it. */
    const Record &some_record(unsigned segment)
    {
        for (const Record &record : log_->all()) {
            if (!record.padding && record.position > segment * 4096ull + 512 && record.body.size() > 8)
                return record;
        }
        return log_->all().back();
    }

    std::unique_ptr<Log> log_;
    struct weir_journal *journal_ = nullptr;
};

TEST_F(ClientJournal, IsListedAndLookedAtLiveAndDead)
{
    struct weir_journal_info info = {};
    info.size = sizeof info;
    std::vector<std::string> names;
    EXPECT_EQ(weir_journal_list(
                  nullptr, scratch_.path().c_str(),
                  [](void *ctx, const char *name) {
                      ((std::vector<std::string> *)ctx)->push_back(name);
                      return 0;
                  },
                  &names),
              0);
    EXPECT_EQ(names, std::vector<std::string>{"ring"});
    ASSERT_EQ(open_journal(), 0);
    ASSERT_EQ(weir_journal_inspect(journal_, &info), 0) << weir_last_error();
    EXPECT_EQ(info.live, 1);
    close_writer();
    ASSERT_EQ(weir_journal_inspect(journal_, &info), 0);
    EXPECT_EQ(info.live, 0);
    EXPECT_EQ(info.damaged, 0);
    EXPECT_EQ(info.oldest_position, 0u);
    EXPECT_EQ(info.end_position, log_->end());
    EXPECT_EQ(info.durable, log_->end());
    EXPECT_EQ(info.segment_bytes, 4096u);
    EXPECT_GE(info.file_count, 8u);
    EXPECT_GE(info.disk_bytes, 8u * 8192);
    EXPECT_EQ(info.epoch, 1u);
    EXPECT_EQ(memcmp(info.ring_id, meta_.identity.ring_id, 16), 0);
    info.size = 1;
    EXPECT_EQ(weir_journal_inspect(journal_, &info), -EINVAL);
}

TEST_F(ClientJournal, WhatIsNoJournalIsSaidToBeNone)
{
    EXPECT_EQ(open_journal("none"), -ENOENT);
    EXPECT_EQ(open_journal("../ring"), -EILSEQ);
    EXPECT_EQ(open_journal(std::string(65, 'x').c_str()), -ENAMETOOLONG);
    ASSERT_EQ(mkdirat(scratch_.fd(), "empty", 0700), 0);
    EXPECT_EQ(open_journal("empty"), -EMEDIUMTYPE);
    EXPECT_EQ(weir_journal_open(nullptr, (scratch_.path() + "/nowhere").c_str(), "ring", &journal_), -ENOENT);
    EXPECT_NE(std::string(weir_last_error()), "");
}

TEST_F(ClientJournal, AllMessagesAreReadLiveAndDead)
{
    for (bool live : {true, false}) {
        if (!live)
            close_writer();
        ASSERT_EQ(open_journal(), 0);
        Read all = read();
        EXPECT_EQ(all.end, -EAGAIN);
        EXPECT_EQ(all.positions, positions_of(log_->records()));
        EXPECT_TRUE(all.gaps.empty());
        size_t i = 0;
        for (const Record &record : log_->records())
            ASSERT_EQ(all.bodies[i++], record.body);
    }
}

TEST_F(ClientJournal, SeeksToMessagesAndNowhereElse)
{
    close_writer();
    ASSERT_EQ(open_journal(), 0);
    struct weir_message message;
    for (const Record &record : log_->records()) {
        ASSERT_EQ(weir_journal_seek(journal_, record.position), 0) << weir_last_error();
        ASSERT_EQ(weir_journal_next(journal_, &message), 0);
        ASSERT_EQ(message.position, record.position);
        if (record.next - record.position > 64) {
            ASSERT_EQ(weir_journal_seek(journal_, record.position + 64), -EINVAL);
        }
        ASSERT_EQ(weir_journal_seek(journal_, record.position + 1), -EINVAL);
    }
    ASSERT_EQ(weir_journal_seek(journal_, WEIR_POSITION_START), 0);
    EXPECT_EQ(weir_journal_position(journal_), 0u);
    ASSERT_EQ(weir_journal_seek(journal_, WEIR_POSITION_END), 0);
    EXPECT_EQ(weir_journal_position(journal_), log_->end());
    EXPECT_EQ(weir_journal_next(journal_, &message), -EAGAIN);
    EXPECT_EQ(weir_journal_seek(journal_, log_->end() + 4096), -EINVAL);
    EXPECT_EQ(weir_journal_position(journal_), log_->end()) << "it stays where it was";
    struct weir_gap gap;
    EXPECT_EQ(weir_journal_gap(journal_, &gap), -ENOENT);
}

TEST_F(ClientJournal, ExpiredPositionsAreAGapWithItsReason)
{
    ASSERT_EQ(journal_expire(writer_, 3), 0);
    close_writer();
    ASSERT_EQ(open_journal(), 0);
    ASSERT_EQ(weir_journal_seek(journal_, 4096), 0);
    Read all = read();
    ASSERT_EQ(all.gaps.size(), 1u);
    EXPECT_EQ(all.gaps[0].first, 4096u);
    EXPECT_EQ(all.gaps[0].second, 3u * 4096);
    EXPECT_EQ(all.reasons[0], WEIR_GAP_EXPIRED);
    EXPECT_EQ(all.positions, positions_of(log_->records(3 * 4096)));
    EXPECT_TRUE(verify().empty()) << "what has expired is no fault";
}

TEST_F(ClientJournal, VerifyFindsNothingInAGoodJournal)
{
    EXPECT_TRUE(verify().empty()) << "live";
    close_writer();
    EXPECT_TRUE(verify().empty()) << "dead";
    std::pair<uint64_t, uint64_t> told;
    EXPECT_EQ(weir_journal_verify(
                  journal_, [](void *, const struct weir_journal_fault *) {},
                  [](void *ctx, uint64_t done, uint64_t total) {
                      *(std::pair<uint64_t, uint64_t> *)ctx = {done, total};
                      return 0;
                  },
                  &told),
              0);
    EXPECT_EQ(told.first, told.second);
    EXPECT_GE(told.second, 8u * 4096);
    EXPECT_EQ(weir_journal_verify(
                  journal_, [](void *, const struct weir_journal_fault *) {},
                  [](void *, uint64_t, uint64_t) { return -ECANCELED; }, nullptr),
              -ECANCELED);
    EXPECT_EQ(weir_journal_verify(
                  journal_, [](void *, const struct weir_journal_fault *) {},
                  [](void *, uint64_t, uint64_t) { return 1; }, nullptr),
              -EINTR);
}

TEST_F(ClientJournal, VerifyTellsDamagedRecordsByExactRange)
{
    const Record &record = some_record(3);
    damage(record.position + 20);
    for (bool live : {true, false}) {
        if (!live)
            close_writer();
        auto faults = verify();
        ASSERT_EQ(faults.size(), 1u);
        EXPECT_EQ(faults[0].file, segment_file(record.position / 4096));
        EXPECT_EQ(faults[0].offset, JOURNAL_BLOCK_BYTES + record.position % 4096);
        EXPECT_EQ(faults[0].bytes, record.next - record.position);
        EXPECT_EQ(faults[0].from, record.position);
        EXPECT_EQ(faults[0].to, record.next);
        EXPECT_FALSE(faults[0].known);
    }
    repair();
    auto faults = verify();
    ASSERT_EQ(faults.size(), 1u);
    EXPECT_TRUE(faults[0].known) << "the ledger has it now";
    Read all = read();
    EXPECT_EQ(all.gaps, (std::vector<Range>{{record.position, record.next}}));
    EXPECT_EQ(all.reasons, std::vector<int>{WEIR_GAP_DAMAGED});
    EXPECT_EQ(all.positions.size(), log_->records().size() - 1);
    opens_and_recovers();
}

TEST_F(ClientJournal, DurableRecordsThatAreGoneAtTheEndAreAFault)
{
    close_writer();
    uint64_t last = (log_->end() - 1) / 4096;
    ASSERT_EQ(unlinkat(folder_fd_, segment_file(last).c_str(), 0), 0);
    auto faults = verify();
    ASSERT_GE(faults.size(), 1u);
    EXPECT_EQ(faults[0].from, last * 4096);
    EXPECT_EQ(faults.back().to, log_->end());
    repair();
    EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED), (std::vector<Range>{{last * 4096, log_->end()}}));
}

TEST_F(ClientJournal, AMissingFileInTheMiddleIsAFault)
{
    close_writer();
    ASSERT_EQ(unlinkat(folder_fd_, segment_file(2).c_str(), 0), 0);
    ASSERT_EQ(unlinkat(folder_fd_, segment_file(3).c_str(), 0), 0);
    auto faults = verify();
    ASSERT_EQ(faults.size(), 1u);
    EXPECT_EQ(faults[0].from, 2u * 4096);
    EXPECT_EQ(faults[0].to, 4u * 4096);
    EXPECT_EQ(repair(true).size(), 1u);
    EXPECT_TRUE(gaps_of(folder_fd_).empty()) << "a dry run writes nothing";
    EXPECT_EQ(repair().size(), 1u);
    EXPECT_TRUE(repair().empty()) << "twice is once";
    opens_and_recovers();
}

TEST_F(ClientJournal, RepairIsRefusedWhileSomebodyWrites)
{
    damage(some_record(2).position + 20);
    repair(false, -EBUSY);
    EXPECT_NE(std::string(weir_last_error()).find("stop weird"), std::string::npos) << weir_last_error();
    repair(true, -EBUSY);
}

TEST_F(ClientJournal, ALostMetaComesBackFromTheSegments)
{
    close_writer();
    for (bool gone : {false, true}) {
        if (gone)
            ASSERT_EQ(unlinkat(folder_fd_, "meta", 0), 0);
        else
            write_file(folder_fd_, "meta", Bytes(8192, 0));
        ASSERT_EQ(open_journal(), 0) << weir_last_error();
        struct weir_journal_info info = {};
        info.size = sizeof info;
        ASSERT_EQ(weir_journal_inspect(journal_, &info), 0);
        EXPECT_EQ(info.damaged, 1);
        EXPECT_EQ(read().positions, positions_of(log_->records())) << "without it all can be read";
        ASSERT_FALSE(verify().empty());
        EXPECT_EQ(repair(true).size(), 1u);
        EXPECT_EQ(open_writer(), -EMEDIUMTYPE);
        EXPECT_EQ(repair().size(), 1u);
        EXPECT_TRUE(verify().empty());
        struct journal_meta before = meta_;
        ASSERT_EQ(open_writer(), 0);
        close_writer();
        EXPECT_EQ(meta_.identity.epoch, before.identity.epoch);
        EXPECT_EQ(meta_.identity.start, before.identity.start);
        EXPECT_STREQ(meta_.identity.name, "ring");
        EXPECT_EQ(memcmp(meta_.identity.ring_id, before.identity.ring_id, 16), 0);
        EXPECT_GE(meta_.lease, before.lease) << "no position is given out twice";
        EXPECT_EQ(meta_.mode, before.mode);
        opens_and_recovers();
    }
}

TEST_F(ClientJournal, OneBadBlockOfMetaIsWrittenAnew)
{
    close_writer();
    for (uint64_t block : {0, 1}) {
        patch_file(folder_fd_, "meta", block * JOURNAL_BLOCK_BYTES + 40, "xx", 2);
        auto faults = verify();
        ASSERT_EQ(faults.size(), 1u);
        EXPECT_EQ(faults[0].offset, block * JOURNAL_BLOCK_BYTES);
        EXPECT_EQ(repair().size(), 1u);
        EXPECT_TRUE(verify().empty());
    }
}

TEST_F(ClientJournal, ALostHeaderIsWrittenAnewWithTheEpochOfItsRecords)
{
    close_writer();
    patch_file(folder_fd_, segment_file(2), 0, "xxxxxxxx", 8);
    auto faults = verify();
    ASSERT_EQ(faults.size(), 1u);
    EXPECT_EQ(faults[0].file, segment_file(2));
    EXPECT_EQ(faults[0].from, faults[0].to) << "no record is lost by it";
    EXPECT_EQ(repair().size(), 1u);
    EXPECT_TRUE(verify().empty());
    EXPECT_EQ(read().positions, positions_of(log_->records()));
    opens_and_recovers();
}

TEST_F(ClientJournal, ALostLedgerEntryIsFoundAgain)
{
    ASSERT_EQ(journal_expire(writer_, 2), 0);
    const Record &record = some_record(4);
    struct journal_gap gap = {record.position, record.next, 1, 1, JOURNAL_GAP_DAMAGED};
    ASSERT_EQ(journal_note_gap(writer_, &gap), 0);
    gap.from = gap.to;
    gap.to += 64;
    ASSERT_EQ(journal_note_gap(writer_, &gap), 0);
    close_writer();
    damage(record.position + 20);
    patch_file(folder_fd_, "ledger", 64 + 8, "xx", 2);
    int new_count = 0;
    auto faults = verify(&new_count);
    EXPECT_EQ(new_count, 2) << "the entry, and what it told";
    repair();
    verify(&new_count);
    EXPECT_EQ(new_count, 0);
    auto ranges = ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED);
    EXPECT_EQ(ranges.size(), 2u);
    EXPECT_EQ(ranges[0], (Range{record.position, record.next}));
    EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_EXPIRED), (std::vector<Range>{{0, 2 * 4096}}));
}

TEST_F(ClientJournal, BetweenEpochsItIsLostAndNotDamaged)
{
    close_writer();
    ASSERT_EQ(open_writer(), 0);
    uint64_t start = (meta_.lease + 4095) & ~4095ull;
    meta_.identity.epoch = 2;
    meta_.identity.start = meta_.durable = start;
    meta_.lease = start + (1 << 20);
    ASSERT_EQ(journal_set_meta(writer_, &meta_), 0);
    Log second(start);
    fill(second, 2);
    ASSERT_EQ(second.write(writer_, meta_, start, second.end()), 0);
    ASSERT_EQ(journal_sync(writer_), 0);
    close_writer();
    repair();
    EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_LOST), (std::vector<Range>{{log_->end(), start}}));
    EXPECT_TRUE(ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED).empty());
}

TEST_F(ClientJournal, DamagedNamesKeepTheSequencesThatTheRecordsProve)
{
    struct ring_meta properties = {};
    properties.present = RING_HAS_SEQUENCE;
    properties.producer = ring_producer_hash("proved");
    uint32_t bytes = 0;
    ASSERT_EQ(ring_meta_bytes(&properties, &bytes), 0);
    for (uint64_t sequence : {7, 9, 8}) {
        std::string body(bytes, 0);
        properties.sequence = sequence;
        ring_meta_put(&properties, (uint8_t *)body.data());
        uint64_t from = log_->end();
        log_->append(body + "data", 0, RING_FLAG_PROPERTIES);
        ASSERT_EQ(log_->write(writer_, meta_, from, log_->end()), 0);
    }
    ASSERT_EQ(journal_sync(writer_), 0);
    struct journal_name producers[2] = {{"proved", 3}, {"unproved", 5}};
    struct journal_name cursors[1] = {{"reader", 64}};
    struct journal_names names = {64, 2, 1, producers, cursors};
    ASSERT_EQ(journal_save_names(writer_, &names), 0);
    close_writer();
    patch_file(folder_fd_, "names", 40, "x", 1);
    ASSERT_EQ(verify().size(), 1u);
    EXPECT_EQ(weir_journal_names(
                  journal_, [](void *, const struct weir_journal_name *) { return 0; }, nullptr),
              -EBADMSG);
    EXPECT_EQ(repair().size(), 1u);
    EXPECT_TRUE(verify().empty());
    std::vector<std::string> found;
    EXPECT_EQ(weir_journal_names(
                  journal_,
                  [](void *ctx, const struct weir_journal_name *name) {
                      ((std::vector<std::string> *)ctx)
                          ->push_back(std::string(name->name) + (name->is_cursor ? "@" : "=") +
                                      std::to_string(name->value));
                      return 0;
                  },
                  &found),
              0);
    EXPECT_EQ(found, std::vector<std::string>{"proved=9"});
}

TEST_F(ClientJournal, GapsAndPinsAreListedAndListingStops)
{
    struct journal_gap gap = {0, 64, 5, 1, JOURNAL_GAP_LOST};
    ASSERT_EQ(journal_note_gap(writer_, &gap), 0);
    ASSERT_EQ(journal_expire(writer_, 1), 0);
    ASSERT_EQ(open_journal(), 0);
    std::vector<struct weir_journal_gap_entry> gaps;
    EXPECT_EQ(weir_journal_gaps(
                  journal_,
                  [](void *ctx, const struct weir_journal_gap_entry *told) {
                      ((std::vector<struct weir_journal_gap_entry> *)ctx)->push_back(*told);
                      return 0;
                  },
                  &gaps),
              0);
    ASSERT_EQ(gaps.size(), 2u);
    EXPECT_EQ(gaps[0].to, 64u);
    EXPECT_EQ(gaps[0].reason, WEIR_GAP_LOST);
    EXPECT_EQ(gaps[0].time_ns, 5u);
    EXPECT_EQ(gaps[1].reason, WEIR_GAP_EXPIRED);
    EXPECT_EQ(weir_journal_gaps(
                  journal_, [](void *, const struct weir_journal_gap_entry *) { return 42; }, nullptr),
              42);

    EXPECT_EQ(weir_journal_pin(journal_, "keep", 0, 8192), -EPIPE);
    EXPECT_EQ(weir_journal_pin(journal_, "keep", 8192, 8192), -EINVAL);
    EXPECT_EQ(weir_journal_pin(journal_, "keep", WEIR_POSITION_END, WEIR_POSITION_END), -EINVAL);
    EXPECT_EQ(weir_journal_pin(journal_, "keep", 4096, WEIR_POSITION_START), -EINVAL);
    EXPECT_NE(std::string(weir_last_error()).find("cannot begin at the end"), std::string::npos) << weir_last_error();
    EXPECT_EQ(weir_journal_pin(journal_, "a/b", 4096, 8192), -EILSEQ);
    EXPECT_EQ(weir_journal_pin(journal_, "keep", WEIR_POSITION_START, WEIR_POSITION_END), 0) << weir_last_error();
    std::vector<struct weir_journal_pin_entry> pins;
    auto take = [](void *ctx, const struct weir_journal_pin_entry *told) {
        ((std::vector<struct weir_journal_pin_entry> *)ctx)->push_back(*told);
        return 0;
    };
    EXPECT_EQ(weir_journal_pins(journal_, take, &pins), 0);
    ASSERT_EQ(pins.size(), 1u);
    EXPECT_STREQ(pins[0].name, "keep");
    EXPECT_EQ(pins[0].from, 4096u);
    EXPECT_EQ(pins[0].to, log_->end());
    EXPECT_EQ(weir_journal_pins(
                  journal_, [](void *, const struct weir_journal_pin_entry *) { return -7; }, nullptr),
              -7);
    EXPECT_EQ(weir_journal_unpin(journal_, "other"), -ENOENT);
    EXPECT_EQ(weir_journal_unpin(journal_, "keep"), 0);
    EXPECT_EQ(weir_journal_unpin(journal_, nullptr), -EINVAL);
    for (const char *name : {"one", "two"})
        EXPECT_EQ(weir_journal_pin(journal_, name, 4096, 8192), 0) << weir_last_error();
    EXPECT_EQ(weir_journal_unpin(journal_, nullptr), -EINVAL) << "it is not all of them";
    pins.clear();
    EXPECT_EQ(weir_journal_pins(journal_, take, &pins), 0);
    EXPECT_EQ(pins.size(), 2u);
    EXPECT_EQ(weir_journal_unpin_all(journal_), 0);
    pins.clear();
    EXPECT_EQ(weir_journal_pins(journal_, take, &pins), 0);
    EXPECT_TRUE(pins.empty());
    EXPECT_EQ(weir_journal_unpin_all(journal_), 0);
}

/* Whatever is damaged: repair loses no record that could be read, and leaves nothing that verify does not know. */
TEST_F(ClientJournal, NoGoodRecordIsLostByARepair)
{
    close_writer();
    std::mt19937_64 random(5);
    std::map<std::string, Bytes> good;
    for (const std::string &name : Scratch::names_in(folder_fd_))
        good[name] = read_file(folder_fd_, name);
    for (int round = 0; round < 60; round++) {
        Scratch::empty(folder_fd_);
        for (const auto &[name, bytes] : good)
            write_file(folder_fd_, name, bytes);
        for (uint64_t i = 0; i <= random() % 4; i++) {
            std::string name = random() % 4 ? segment_file(random() % 8) : random() % 2 ? "meta" : "ledger";
            Bytes bytes = good[name];
            switch (random() % 4) {
            case 0:
                bytes.resize(random() % bytes.size());
                break;
            case 1:
                memset(bytes.data(), (int)(random() % 2) * 255, 1 + random() % bytes.size());
                break;
            default:
                bytes[random() % bytes.size()] ^= (uint8_t)(1 + random() % 255);
            }
            write_file(folder_fd_, name, bytes);
            if (random() % 8 == 0)
                unlinkat(folder_fd_, name.c_str(), 0);
        }
        if (open_journal() < 0) /* nothing is left that says what it was */
            continue;
        Read before = read();
        repair();
        int new_count = -1;
        verify(&new_count);
        EXPECT_EQ(new_count, 0) << "round " << round;
        ASSERT_EQ(open_journal(), 0);
        Read after = read();
        ASSERT_EQ(after.positions, before.positions) << "round " << round;
        ASSERT_EQ(open_writer(), 0) << "round " << round;
        uint64_t end = 0;
        ASSERT_EQ(recover(&end), 0);
        close_writer();
        if (HasFailure())
            break;
    }
}

} // namespace
