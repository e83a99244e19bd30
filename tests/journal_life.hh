/* SPDX-License-Identifier: Apache-2.0 */
/* Lives of a journal, for the tests that take away system calls or the power in the middle of one. */
#ifndef WEIR_TESTS_JOURNAL_LIFE_HH
#define WEIR_TESTS_JOURNAL_LIFE_HH

#include "tests/journal_queue.hh"

#include <memory>

namespace journaltest
{

/*
 * One life of a journal, as the daemon leads it: made or opened, recovered, a new epoch, records written, synced, pinned
 * and expired, gaps and names noted. What was promised is kept here, outlives the journal's failures, and is what check()
 * holds the next life against.
 */
class Life
{
public:
    /* `queue`, if there is one, takes what is written and synced. 2^segments_shift of the ring's segments are in a file. */
    Life(int journal_fd, uint64_t seed, ShuffledQueue *queue = nullptr, uint32_t segments_shift = 0)
        : journal_fd_(journal_fd), random_(seed), queue_(queue), segments_shift_(segments_shift)
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
        if (result == 0 && queue_)
            journal_set_flights(writer, queue_->flights());
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
        EXPECT_EQ(meta_.segments_shift, segments_shift_);
        EXPECT_GE(meta_.lease, lease_);
        EXPECT_GE(meta_.identity.epoch, epoch_);
        int folder_fd = openat(journal_fd_, "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        check_names(writer);
        check_ledger(folder_fd);
        check_pins(folder_fd);
        uint64_t recovered = 0;
        EXPECT_EQ(journal_recover(writer, UINT64_MAX, UINT64_MAX, nullptr, nullptr, &recovered), 0);
        EXPECT_GE(recovered, durable_);
        check_records(folder_fd, std::max(recovered, meta_.durable));
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
        syncing_ = wrote_ = false;
        struct journal_meta meta = make_meta();
        meta.segments_shift = segments_shift_;
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
        uint64_t recovered = 0;
        int result = journal_recover(writer, UINT64_MAX, UINT64_MAX, nullptr, nullptr, &recovered);
        if (result < 0)
            return result;
        durable_ = std::max(durable_, recovered); /* recovery says that all below it is */
        look(recovered);
        keep(recovered);
        uint64_t start = (std::max(meta_.lease, recovered) + file_bytes() - 1) / file_bytes() * file_bytes();
        if (recovered < start && (result = note(writer, recovered, start, JOURNAL_GAP_LOST)) < 0)
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
            return random_() % 2 ? set_meta(writer) : prepare(writer);
        case 6:
            switch (random_() % 6) {
            case 0:
            case 1:
                return expire(writer);
            case 2:
                return pin();
            default:
                return save_names(writer);
            }
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
        wrote_ = true;
        uint64_t written = 0;
        if (result == 0 && queue_ && random_() % 2 == 0)
            result = journal_settle(writer, false, &written);
        EXPECT_LE(written, written_);
        return result;
    }

    int sync(struct journal_writer *writer)
    {
        if (syncing_ && random_() % 2)
            return end_sync(writer);
        if (!syncing_ && random_() % 2)
            return begin_sync(writer);
        syncing_ = false;
        uint64_t written = 0;
        int result = journal_sync(writer);
        if (result == 0) {
            EXPECT_EQ(journal_settle(writer, false, &written), 0);
            EXPECT_TRUE(written == written_ || written == 0) << written; /* 0: nothing in this life */
        }
        if (result == 0)
            synced(written_);
        return result;
    }

    int begin_sync(struct journal_writer *writer)
    {
        uint64_t written = 0;
        int result = journal_settle(writer, random_() % 4 == 0, &written);
        if (result == 0)
            result = journal_sync_begin(writer);
        syncing_ = result == 0;
        wrote_before_sync_ = wrote_;
        return result;
    }

    int end_sync(struct journal_writer *writer)
    {
        uint64_t durable = 0;
        int result = journal_sync_end(writer, random_() % 4 == 0, &durable);
        syncing_ = result == 0;
        EXPECT_LE(durable, written_);
        EXPECT_TRUE(result != 1 || !wrote_before_sync_ || durable >= synced_) << durable << " after " << synced_;
        if (result == 1 && durable > synced_)
            synced(durable);
        return result < 0 ? result : 0;
    }

    void synced(uint64_t to)
    {
        synced_ = to;
        durable_ = std::max(durable_, to);
        keep(to);
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

    static int prepare(struct journal_writer *writer)
    {
        int result = journal_prepare(writer);
        return result < 0 ? result : 0;
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
        uint64_t below = durable_ / file_bytes();
        if (below < 2)
            return 0;
        expired_to_ =
            std::max(expired_to_, (below - 1) * file_bytes()); /* whether it succeeds or not, they may be gone */
        int result = journal_expire(writer, below - 1);
        return result == -EBUSY ? 0 : result;
    }

    /* Of four names; one of them is sometimes taken away. Where a call fails, the pin may be the old one, the new one or none. */
    int pin()
    {
        std::string name = "pin-" + std::to_string(random_() % 4);
        uint64_t from = random_() % (durable_ / 4096 + 1) * 4096, to = from + (1 + random_() % 3) * 4096;
        bool away = random_() % 3 == 0;
        int folder_fd = jio_open(journal_fd_, "ring", O_RDONLY | O_DIRECTORY, 0);
        if (folder_fd < 0)
            return folder_fd;
        auto before = pins_.extract(name);
        int result = away ? journal_unpin(folder_fd, name.c_str()) : journal_pin(folder_fd, name.c_str(), from, to);
        jio_close(folder_fd);
        if (result == -ENODATA && before)
            pins_.insert(std::move(before)); /* it is as it was */
        else if (result == 0 && !away)
            pins_[name] = {from, to};
        return result == -ENODATA || result == -ENOENT ? 0 : result;
    }

    bool pinned(uint64_t position) const
    {
        for (const auto &[name, range] : pins_) {
            if (range.first <= position && position < range.second)
                return true;
        }
        return false;
    }

    void check_pins(int folder_fd)
    {
        std::map<std::string, Range> found;
        auto take = [](void *ctx, const struct journal_pin *pin) {
            (*(std::map<std::string, Range> *)ctx)[pin->name] = {pin->from, pin->to};
            return 0;
        };
        ASSERT_EQ(journal_pins(folder_fd, take, &found), 0);
        for (const auto &[name, range] : pins_)
            EXPECT_EQ(found[name], range) << name;
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
            if (record.padding || (position < expired_to_ && !pinned(position)))
                continue;
            ASSERT_EQ(found_.count(position), 1u) << record << " was durable, and is gone";
        }
    }

    uint64_t file_bytes() const
    {
        return UINT64_C(4096) << segments_shift_;
    }

    static constexpr uint64_t lease_ahead = 16 * 4096;

    int journal_fd_;
    std::mt19937_64 random_;
    ShuffledQueue *queue_;
    uint32_t segments_shift_;
    struct journal_meta meta_ = make_meta();
    std::unique_ptr<Log> log_;
    uint64_t written_ = 0, synced_ = 0; /* of the log */
    bool syncing_ = false;              /* between the halves of a sync */
    bool wrote_ = false;                /* in this life */
    bool wrote_before_sync_ = false;

    /* Promised. */
    bool made_ = false;
    uint64_t lease_ = 0, epoch_ = 0, durable_ = 0, kept_to_ = 0, expired_to_ = 0;
    uint64_t names_saved_ = 0, names_tried_ = 0;
    std::vector<struct journal_gap> gaps_;
    std::map<std::string, Range> pins_;
    std::map<uint64_t, Record> known_, must_;
    std::set<uint64_t> found_;
};

} // namespace journaltest

#endif
