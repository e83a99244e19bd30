/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that fail, and power that goes, at every single call of a life of a journal: nothing that was reported
 * durable is missing afterwards, nothing that was never written is there, no descriptor is left, and the journal opens.
 */
// test: LINKS weir_journal weir_ringbuf TIMEOUT 300

#include "tests/journal_disk.hh"

using namespace journaltest;

namespace
{

/*
 * One life of a journal, as the daemon leads it: made or opened, recovered, a new epoch, records written, synced and
 * expired, gaps and names noted. What was promised is kept here, outlives the journal's failures, and is what check()
 * holds the next life against.
 */
class Life
{
public:
    Life(int journal_fd, uint64_t seed) : journal_fd_(journal_fd), random_(seed)
    {
    }

    void move_to(int journal_fd)
    {
        journal_fd_ = journal_fd;
    }

    /* 0, or the first error. Descriptors are closed in any case. `memory`: the ring outlived the daemon before. */
    int live(int steps, bool memory = false)
    {
        struct journal_writer *writer = nullptr;
        if (!memory)
            log_.reset();
        int result = begin(&writer);
        for (int i = 0; result == 0 && i < steps; i++)
            result = step(writer);
        journal_close(writer);
        return result;
    }

    /* Called with no faults about, behind a life that may have ended anywhere. */
    void check()
    {
        if (!made_)
            return;
        struct journal_writer *writer = nullptr;
        ASSERT_EQ(journal_open(journal_fd_, "ring", &writer, &meta_), 0);
        EXPECT_GE(meta_.lease, lease_);
        EXPECT_GE(meta_.identity.epoch, epoch_);
        int folder_fd = openat(journal_fd_, "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        check_names(writer);
        check_ledger(folder_fd);
        struct journal_recovery recovery;
        EXPECT_EQ(journal_recover(writer, UINT64_MAX, nullptr, nullptr, &recovery), 0);
        EXPECT_GE(recovery.end, durable_);
        check_records(folder_fd, std::max(recovery.end, meta_.durable));
        close(folder_fd);
        journal_close(writer);
    }

    bool made() const
    {
        return made_;
    }

private:
    int begin(struct journal_writer **ret_writer)
    {
        struct journal_meta meta = make_meta();
        meta.lease = lease_ahead;
        int result = journal_create(journal_fd_, &meta);
        if (result < 0 && result != -EEXIST)
            return result;
        made_ |= result == 0; /* from now on it must be there */
        result = journal_open(journal_fd_, "ring", ret_writer, &meta_);
        made_ |= result == 0;
        if (result < 0)
            return result;
        if (!log_ || log_->start() != meta_.identity.start)
            return new_epoch(*ret_writer);
        written_ = synced_; /* what was not durable is written again from memory */
        return 0;
    }

    /* What a daemon does that finds the ring's memory gone: the journal's end, a gap up to the lease, an epoch above. */
    int new_epoch(struct journal_writer *writer)
    {
        struct journal_recovery recovery;
        int result = journal_recover(writer, UINT64_MAX, nullptr, nullptr, &recovery);
        if (result < 0)
            return result;
        durable_ = std::max(durable_, recovery.end); /* recovery says that all below it is */
        look(recovery.end);
        keep(recovery.end);
        uint64_t start = (std::max(meta_.lease, recovery.end) + 4095) / 4096 * 4096;
        if (recovery.end < start && (result = note(writer, recovery.end, start, JOURNAL_GAP_LOST)) < 0)
            return result;
        meta_.identity.epoch++;
        meta_.identity.start = start;
        meta_.durable = start;
        meta_.lease = start + lease_ahead;
        result = journal_set_meta(writer, &meta_);
        if (result < 0)
            return result;
        lease_ = meta_.lease;
        epoch_ = meta_.identity.epoch;
        log_ = std::make_unique<Log>(start);
        written_ = synced_ = start;
        return 0;
    }

    int step(struct journal_writer *writer)
    {
        switch (random_() % 8) {
        case 0:
        case 1:
        case 2:
            return write(writer);
        case 3:
        case 4:
            return sync(writer);
        case 5:
            return set_meta(writer);
        case 6:
            return random_() % 3 ? save_names(writer) : expire(writer);
        default:
            return note(writer, durable_ / 2, durable_ / 2 + 64 * (1 + random_() % 9), JOURNAL_GAP_DAMAGED);
        }
    }

    /* No position at or above the lease is given out. */
    int write(struct journal_writer *writer)
    {
        if (log_->end() + 8 * 4096 > meta_.lease)
            return set_meta(writer);
        size_t first = log_->all().size();
        for (uint64_t i = random_() % 30; i < 40; i++)
            log_->append(pattern(random_(), random_() % 400));
        for (size_t i = first; i < log_->all().size(); i++)
            known_[log_->all()[i].position] = log_->all()[i];
        int result = log_->write(writer, meta_, written_, log_->end());
        if (result == 0)
            written_ = log_->end();
        return result;
    }

    int sync(struct journal_writer *writer)
    {
        int result = journal_sync(writer);
        if (result == 0) {
            synced_ = written_;
            durable_ = std::max(durable_, written_);
            keep(written_);
        }
        return result;
    }

    /* Everything known below `to` must be there from now on. */
    void keep(uint64_t to)
    {
        for (const auto &[position, record] : known_) {
            if (record.next <= to && record.next > kept_to_ && found_or_written(record))
                must_[position] = record;
        }
        kept_to_ = std::max(kept_to_, to);
    }

    /* Of this epoch, all that was written; of an earlier one, recovery decides, and look() has noted what it found. */
    bool found_or_written(const Record &record) const
    {
        return log_ && record.position >= log_->start() ? record.next <= written_ : found_.count(record.position) > 0;
    }

    int set_meta(struct journal_writer *writer)
    {
        struct journal_meta meta = meta_;
        if (meta.durable < durable_)
            meta.durable = durable_;
        meta.lease = std::max(meta.lease, (log_->end() + 4095) / 4096 * 4096 + (8 + random_() % 4) * 4096);
        int result = journal_set_meta(writer, &meta);
        if (result == 0) {
            meta_ = meta;
            lease_ = meta.lease;
        }
        return result;
    }

    int note(struct journal_writer *writer, uint64_t from, uint64_t to, uint32_t reason)
    {
        struct journal_gap gap = {from, to, 1, epoch_, reason};
        int result = journal_note_gap(writer, &gap);
        if (result == 0)
            gaps_.push_back(gap);
        return result;
    }

    int save_names(struct journal_writer *writer)
    {
        struct journal_name name = {};
        strcpy(name.name, "somebody");
        name.value = ++names_tried_;
        struct journal_names names = {durable_, 1, 0, &name, nullptr};
        int result = journal_save_names(writer, &names);
        if (result == 0)
            names_saved_ = names_tried_;
        return result;
    }

    int expire(struct journal_writer *writer)
    {
        uint64_t below = durable_ / 4096;
        if (below < 2)
            return 0;
        expired_to_ = std::max(expired_to_, (below - 1) * 4096); /* whether it succeeds or not, they may be gone */
        int result = journal_expire(writer, below - 1);
        return result == -EBUSY ? 0 : result;
    }

    void check_names(struct journal_writer *writer)
    {
        struct journal_names names;
        ASSERT_EQ(journal_load_names(writer, &names), 0);
        uint64_t value = names.producer_count ? names.producers[0].value : 0;
        EXPECT_GE(value, names_saved_);
        EXPECT_LE(value, names_tried_);
        journal_free_names(&names);
    }

    void check_ledger(int folder_fd)
    {
        std::vector<struct journal_gap> found = gaps_of(folder_fd);
        for (const struct journal_gap &gap : gaps_) {
            bool there = false;
            for (const struct journal_gap &other : found)
                there |= other.from <= gap.from && other.to >= gap.to && other.reason == gap.reason;
            EXPECT_TRUE(there) << "the gap from " << gap.from << " to " << gap.to;
        }
    }

    /* What is there after a recovery; fewer when reading fails. */
    void look(uint64_t end)
    {
        int folder_fd = jio_open(journal_fd_, "ring", O_RDONLY | O_DIRECTORY, 0);
        found_.clear();
        if (folder_fd < 0)
            return;
        for (const Record &record : read_journal(folder_fd, meta_, 0, end).records)
            found_.insert(record.position);
        jio_close(folder_fd);
    }

    void check_records(int folder_fd, uint64_t end)
    {
        Found found = read_journal(folder_fd, meta_, 0, end);
        EXPECT_EQ(found.error, 0);
        found_.clear();
        for (const Record &record : found.records) {
            auto known = known_.find(record.position);
            ASSERT_NE(known, known_.end()) << "a record that nobody wrote";
            ASSERT_EQ(record, known->second);
            found_.insert(record.position);
        }
        for (const auto &[position, record] : must_) {
            if (record.padding || position < expired_to_)
                continue;
            ASSERT_EQ(found_.count(position), 1u) << record << " was durable, and is gone";
        }
    }

    static constexpr uint64_t lease_ahead = 16 * 4096;

    int journal_fd_;
    std::mt19937_64 random_;
    struct journal_meta meta_ = make_meta();
    std::unique_ptr<Log> log_;
    uint64_t written_ = 0, synced_ = 0; /* of the log */

    /* Promised. */
    bool made_ = false;
    uint64_t lease_ = 0, epoch_ = 0, durable_ = 0, kept_to_ = 0, expired_to_ = 0;
    uint64_t names_saved_ = 0, names_tried_ = 0;
    std::vector<struct journal_gap> gaps_;
    std::map<uint64_t, Record> known_, must_;
    std::set<uint64_t> found_;
};

class JournalFault : public ::testing::Test
{
protected:
    void TearDown() override
    {
        jio_hooks = nullptr;
    }
};

/* -- Power ------------------------------------------------------------------------------------------------------ */

TEST_F(JournalFault, PowerThatGoesAtAnyCallTakesNothingThatWasDurable)
{
    size_t descriptors = open_descriptors();
    for (uint64_t seed = 0; seed < 60; seed++) {
        Scratch scratch(Scratch::MEMORY);
        std::mt19937_64 random(seed);
        mkdirat(scratch.fd(), "0", 0700);
        int fd = openat(scratch.fd(), "0", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        Life life(fd, seed);
        for (int round = 1; round <= 6; round++) {
            std::string next = std::to_string(round);
            mkdirat(scratch.fd(), next.c_str(), 0700);
            int next_fd = openat(scratch.fd(), next.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            {
                Disk disk(fd, random());
                disk.lose_power_at(1 + random() % 700);
                disk.break_syncs(seed % 3 == 0 ? 40 : 0);
                int lives = 1 + (int)(random() % 3); /* a daemon may die and come back while the power lasts */
                for (int i = 0; i < lives && !disk.lost_power(); i++) {
                    int result = life.live(5 + (int)(random() % 40), i > 0 && random() % 2 == 0);
                    ASSERT_TRUE(result == 0 || disk.lost_power() || seed % 3 == 0) << result;
                }
                disk.make_remains(next_fd);
            }
            close(fd);
            fd = next_fd;
            life.move_to(fd);
            life.check();
            if (HasFailure()) {
                ADD_FAILURE() << "seed " << seed << ", round " << round;
                close(fd);
                return;
            }
        }
        close(fd);
    }
    EXPECT_EQ(open_descriptors(), descriptors);
}

/* The first minutes of a journal, with the power going at each call in turn. */
TEST_F(JournalFault, PowerThatGoesWhileAJournalIsMadeLeavesAWholeOneOrNone)
{
    for (uint64_t n = 1;; n++) {
        Scratch scratch(Scratch::MEMORY), after(Scratch::MEMORY);
        struct journal_meta meta = make_meta(), opened;
        struct journal_writer *writer;
        bool lost;
        int made;
        {
            Disk disk(scratch.fd(), n);
            disk.lose_power_at(n);
            made = journal_create(scratch.fd(), &meta);
            lost = disk.lost_power();
            disk.make_remains(after.fd());
        }
        int result = journal_open(after.fd(), "ring", &writer, &opened);
        if (result == 0)
            journal_close(writer);
        ASSERT_TRUE(result == 0 || (result == -ENOENT && made < 0)) << n << ": " << made << " " << result;
        if (result == -ENOENT) {
            EXPECT_EQ(journal_create(after.fd(), &meta), 0) << n;
        }
        if (!lost)
            break;
    }
}

TEST_F(JournalFault, PowerThatGoesWhileAJournalIsRemovedLeavesAWholeOneOrNone)
{
    for (uint64_t n = 1;; n++) {
        Scratch scratch(Scratch::MEMORY), after(Scratch::MEMORY);
        Life life(scratch.fd(), 1);
        ASSERT_EQ(life.live(20), 0);
        int removed;
        bool lost;
        {
            Disk disk(scratch.fd(), n);
            disk.lose_power_at(n);
            removed = journal_remove(scratch.fd(), "ring");
            lost = disk.lost_power();
            disk.make_remains(after.fd());
        }
        life.move_to(after.fd());
        if (removed == 0) {
            EXPECT_EQ(journal_remove(after.fd(), "ring"), -ENOENT) << n;
        } else {
            struct journal_writer *writer;
            struct journal_meta meta;
            int result = journal_open(after.fd(), "ring", &writer, &meta);
            ASSERT_TRUE(result == 0 || result == -ENOENT) << result;
            if (result == 0) {
                journal_close(writer);
                life.check();
            }
        }
        if (!lost)
            break;
    }
}

/* -- Calls that fail ---------------------------------------------------------------------------------------------- */

/* Fails the n-th call of those that the filter lets through. */
class Failure
{
public:
    Failure(uint64_t n, int64_t answer, std::function<bool(const struct jio_event &)> concerns, bool for_ever = false)
        : left_(n), answer_(answer), concerns_(std::move(concerns)), for_ever_(for_ever)
    {
        hooks_ = {[](void *ctx, const struct jio_event *event) -> int64_t { return ((Failure *)ctx)->ask(*event); },
                  nullptr, this};
        jio_hooks = &hooks_;
    }
    Failure(const Failure &) = delete;
    Failure &operator=(const Failure &) = delete;
    ~Failure()
    {
        jio_hooks = nullptr;
    }
    bool came() const
    {
        return came_;
    }

private:
    int64_t ask(const struct jio_event &event)
    {
        if (!concerns_(event) || (left_ == 0 && !for_ever_))
            return 0;
        if (left_ > 0 && --left_ > 0)
            return 0;
        came_ = true;
        return answer_;
    }

    uint64_t left_;
    int64_t answer_;
    std::function<bool(const struct jio_event &)> concerns_;
    bool for_ever_, came_ = false;
    struct jio_hooks hooks_;
};

bool any_call(const struct jio_event &event)
{
    return event.call != JIO_CLOSE;
}

bool syncs(const struct jio_event &event)
{
    return event.call == JIO_SYNC || event.call == JIO_SYNC_DATA;
}

bool reads_and_writes(const struct jio_event &event)
{
    return event.call == JIO_READ || event.call == JIO_WRITE;
}

/* Runs lives in which the first, the second, ... such call fails, until one is untouched. */
void fail_each(int64_t answer, bool (*concerns)(const struct jio_event &), bool for_ever, bool must_pass)
{
    size_t descriptors = open_descriptors();
    for (uint64_t n = 1;; n++) {
        bool came;
        {
            Scratch scratch(Scratch::MEMORY);
            Life life(scratch.fd(), 5);
            ASSERT_EQ(life.live(10), 0);
            int result;
            {
                Failure failure(n, answer, concerns, for_ever);
                result = life.live(40);
                came = failure.came();
            }
            ASSERT_TRUE(result == 0 || (came && !must_pass)) << "call " << n << ": " << result;
            life.check();
            ASSERT_EQ(life.live(10), 0) << "call " << n;
            life.check();
            if (::testing::Test::HasFailure()) {
                ADD_FAILURE() << "call " << n << " answered " << answer;
                return;
            }
        }
        ASSERT_EQ(open_descriptors(), descriptors) << "call " << n;
        if (!came)
            break;
    }
}

TEST_F(JournalFault, AnyCallMayFailWithAnError)
{
    for (int error : {EIO, ENOSPC, EMFILE, EACCES}) {
        fail_each(-error, any_call, false, false);
        if (HasFailure())
            return;
    }
}

TEST_F(JournalFault, ADiskThatIsGoneForGoodIsToldAndNothingIsLost)
{
    fail_each(-EIO, any_call, true, false);
}

TEST_F(JournalFault, AnInterruptedOrShortReadOrWriteGoesOn)
{
    fail_each(
        -EINTR, [](const struct jio_event &event) { return any_call(event) && !syncs(event); }, false, true);
    fail_each(1, reads_and_writes, false, true);
    fail_each(511, reads_and_writes, true, true);
}

TEST_F(JournalFault, AFailedSyncEndsTheWriterWithThatErrorAndIsNotTriedAgain)
{
    for (int error : {EIO, ENOSPC, EINTR, EDQUOT}) {
        for (uint64_t n = 1;; n++) {
            Scratch scratch(Scratch::MEMORY);
            struct journal_meta meta = make_meta();
            struct journal_writer *writer;
            ASSERT_EQ(journal_create(scratch.fd(), &meta), 0);
            ASSERT_EQ(journal_open(scratch.fd(), "ring", &writer, &meta), 0);
            Log log;
            fill(log, 3);
            struct journal_gap gap = {0, 64, 1, 1, JOURNAL_GAP_LOST};
            struct journal_names names = {};
            struct journal_recovery recovery;
            std::vector<std::function<int()>> calls = {
                [&] { return log.write(writer, meta, 0, log.end()); },
                [&] { return journal_sync(writer); },
                [&] { return journal_set_meta(writer, &meta); },
                [&] { return journal_note_gap(writer, &gap); },
                [&] { return journal_save_names(writer, &names); },
                [&] { return journal_recover(writer, 0, nullptr, nullptr, &recovery); },
                [&] { return journal_expire(writer, 1); },
            };
            size_t failed = calls.size();
            bool came;
            {
                Failure failure(n, -error, syncs);
                for (size_t i = 0; i < calls.size() && failed == calls.size(); i++) {
                    if (calls[i]() < 0)
                        failed = i;
                }
                came = failure.came();
            }
            if (came) {
                ASSERT_LT(failed, calls.size()) << "sync " << n << " failed, and nobody was told";
                for (auto &call : calls)
                    EXPECT_EQ(call(), -error) << "after sync " << n;
            }
            journal_close(writer);
            if (!came)
                break;
        }
    }
}

TEST_F(JournalFault, AFullDiskIsToldBeforeAnythingIsWrittenAndMayPass)
{
    Scratch scratch(Scratch::MEMORY);
    struct journal_meta meta = make_meta();
    struct journal_writer *writer;
    ASSERT_EQ(journal_create(scratch.fd(), &meta), 0);
    ASSERT_EQ(journal_open(scratch.fd(), "ring", &writer, &meta), 0);
    Log log;
    fill(log, 4);
    ASSERT_EQ(log.write(writer, meta, 0, 4096), 0);
    int folder_fd = openat(scratch.fd(), "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int error : {ENOSPC, EDQUOT, EMFILE}) {
        Failure failure(
            1, -error,
            [](const struct jio_event &event) {
                return event.call == JIO_ALLOCATE ||
                       (event.call == JIO_OPEN && event.name && strstr(event.name, ".new"));
            },
            true);
        EXPECT_EQ(log.write(writer, meta, 4096, 8192), 0) << "made ahead";
        EXPECT_EQ(log.write(writer, meta, 8192, log.end()), -error);
        EXPECT_NE(faccessat(folder_fd, segment_file(2).c_str(), F_OK, 0), 0);
        struct journal_gap gap = {64, 128, 1, 1, JOURNAL_GAP_LOST};
        EXPECT_EQ(journal_note_gap(writer, &gap), 0) << "there is room kept for it";
        EXPECT_EQ(journal_set_meta(writer, &meta), 0);
        EXPECT_EQ(journal_sync(writer), 0);
    }
    EXPECT_EQ(log.write(writer, meta, 8192, log.end()), 0);
    EXPECT_EQ(journal_sync(writer), 0);
    EXPECT_EQ(read_journal(folder_fd, meta, 0, log.end()).records, log.records());
    close(folder_fd);
    journal_close(writer);
}

TEST_F(JournalFault, AFileSystemThatCannotAllocateGetsZeros)
{
    Scratch scratch;
    struct journal_meta meta = make_meta("ring", 18);
    struct journal_writer *writer;
    Failure failure(
        1, -EOPNOTSUPP,
        [](const struct jio_event &event) { return event.call == JIO_ALLOCATE || event.call == JIO_START_WRITING; },
        true);
    ASSERT_EQ(journal_create(scratch.fd(), &meta), 0);
    ASSERT_EQ(journal_open(scratch.fd(), "ring", &writer, &meta), 0);
    Log log(0, 18);
    fill(log, 2);
    ASSERT_EQ(log.write(writer, meta, 0, log.end()), 0);
    ASSERT_EQ(journal_sync(writer), 0);
    int folder_fd = openat(scratch.fd(), "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    ASSERT_EQ(fstatat(folder_fd, segment_file(2).c_str(), &st, 0), 0) << "made ahead";
    EXPECT_EQ(st.st_size, 4096 + (1 << 18));
    EXPECT_GE(st.st_blocks, (4096 + (1 << 18)) / 512);
    EXPECT_EQ(read_journal(folder_fd, meta, 0, log.end()).records, log.records());
    close(folder_fd);
    journal_close(writer);
}

} // namespace
