/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that fail, at every single call of a life of a journal: nothing that was reported durable is missing
 * afterwards, nothing that was never written is there, no descriptor is left, and the journal opens.
 */
// test: LINKS weir_journal weir_ringbuf TIMEOUT 600

#include "tests/journal_life.hh"

using namespace journaltest;

namespace
{

class JournalFault : public ::testing::Test
{
protected:
    void TearDown() override
    {
        jio_hooks = nullptr;
    }
};

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

bool any_call_that_repeats(const struct jio_event &event)
{
    return any_call(event) && event.call != JIO_LIST && !syncs(event);
}

bool takes_room(const struct jio_event &event)
{
    return event.call == JIO_WRITE || event.call == JIO_ALLOCATE || event.call == JIO_MAKE_DIRECTORY ||
           event.call == JIO_RENAME || syncs(event);
}

bool is_ledger(int fd)
{
    char path[256] = "";
    ssize_t bytes = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path - 1);
    return bytes > 0 && strstr(path, "ledger");
}

bool reads_and_writes(const struct jio_event &event)
{
    return event.call == JIO_READ || event.call == JIO_WRITE;
}

/* Runs lives in which the first, the second, ... such call fails, until one is untouched. */
void fail_each(int64_t answer, bool (*concerns)(const struct jio_event &), bool for_ever, bool must_pass, bool queued)
{
    size_t descriptors = open_descriptors();
    for (uint64_t n = 1;; n++) {
        bool came;
        {
            Scratch scratch(Scratch::MEMORY);
            ShuffledQueue queue(7);
            Life life(scratch.fd(), 5, queued ? &queue : nullptr, queued ? 2 : 0);
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

class EachCall : public JournalFault, public ::testing::WithParamInterface<int>
{
};
INSTANTIATE_TEST_SUITE_P(Errors, EachCall, ::testing::Values(EIO, ENOSPC, EMFILE, ENOMEM, EACCES),
                         [](const auto &error) { return strerrorname_np(error.param); });

TEST_P(EachCall, MayFailInALife)
{
    for (bool queued : {false, true})
        fail_each(-GetParam(), any_call, false, false, queued);
}

TEST_P(EachCall, MayFailWhileAJournalIsMade)
{
    size_t descriptors = open_descriptors();
    for (uint64_t n = 1;; n++) {
        SCOPED_TRACE("call " + std::to_string(n));
        Scratch scratch(Scratch::MEMORY);
        struct journal_meta meta = make_meta(), opened;
        struct journal_writer *writer = nullptr;
        bool came;
        int made;
        {
            Failure failure(n, -GetParam(), any_call);
            made = journal_create(scratch.fd(), &meta);
            came = failure.came();
        }
        ASSERT_TRUE(made == 0 || (came && made == -GetParam())) << made;
        int again = journal_create(scratch.fd(), &meta);
        ASSERT_TRUE(again == -EEXIST || (again == 0 && made < 0)) << again;
        ASSERT_EQ(journal_open(scratch.fd(), "ring", &writer, &opened), 0);
        journal_close(writer);
        EXPECT_EQ(Scratch::names_in(scratch.fd()).size(), 1u) << "something is left over";
        EXPECT_EQ(open_descriptors(), descriptors + 1);
        if (!came)
            break;
    }
}

TEST_P(EachCall, MayFailWhileAJournalIsRemoved)
{
    size_t descriptors = open_descriptors();
    for (uint64_t n = 1;; n++) {
        SCOPED_TRACE("call " + std::to_string(n));
        Scratch scratch(Scratch::MEMORY);
        Life life(scratch.fd(), 1);
        ASSERT_EQ(life.live(20), 0);
        struct journal_meta other = make_meta("other");
        ASSERT_EQ(journal_create(scratch.fd(), &other), 0);
        bool came;
        int removed;
        {
            Failure failure(n, -GetParam(), any_call);
            removed = journal_remove(scratch.fd(), "ring", nullptr);
            came = failure.came();
        }
        bool busy = removed == -EBUSY && GetParam() == EACCES; /* fcntl() may say it so */
        ASSERT_TRUE(removed == 0 || (came && (removed == -GetParam() || busy))) << removed;
        bool there = faccessat(scratch.fd(), "ring", F_OK, 0) == 0; /* the name goes at once, or the journal is whole */
        EXPECT_FALSE(removed == 0 && there);
        if (there) {
            life.check();
            EXPECT_EQ(journal_remove(scratch.fd(), "ring", nullptr), 0);
        }
        EXPECT_EQ(journal_remove(scratch.fd(), "other", nullptr), 0);
        EXPECT_EQ(Scratch::names_in(scratch.fd()).size(), 0u) << "what resisted goes with a later removal";
        EXPECT_EQ(open_descriptors(), descriptors + 1);
        if (!came)
            break;
    }
}

/* Reads on after each error. Bytes that the disk cannot read may be lost to that reader, nothing else. */
std::vector<Record> read_on(int folder_fd, const struct journal_meta &meta, uint64_t limit)
{
    std::vector<Record> records;
    struct journal_reader *reader = nullptr;
    for (int i = 0; i < 2 && !reader; i++)
        journal_reader_open(folder_fd, meta.identity.ring_id, journal_shift(&meta), &reader);
    EXPECT_NE(reader, nullptr);
    for (int errors = 0; reader && errors < 8;) {
        struct ring_item item;
        int result = journal_reader_next(reader, limit, &item);
        if (result == 0)
            break;
        if (result == 1)
            records.push_back(record_of(item));
        else if (result == -EBADMSG)
            journal_reader_resync(reader, limit);
        errors += result < 0;
    }
    journal_reader_close(reader);
    return records;
}

TEST_P(EachCall, MayFailWhileAJournalIsReadAndLosesNoRecord)
{
    Scratch scratch(Scratch::MEMORY);
    struct journal_meta meta = make_meta();
    struct journal_writer *writer;
    Log log;
    fill(log, 3);
    ASSERT_EQ(journal_create(scratch.fd(), &meta), 0);
    ASSERT_EQ(journal_open(scratch.fd(), "ring", &writer, &meta), 0);
    ASSERT_EQ(log.write(writer, meta, 0, log.end()), 0);
    ASSERT_EQ(journal_sync(writer), 0);
    journal_close(writer);
    int folder_fd = openat(scratch.fd(), "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    patch_file(folder_fd, segment_file(1), 0, "damaged header", 14); /* so that the others are asked for the epoch */
    std::vector<Record> all = log.records();
    const Record damaged = all[all.size() / 2];
    patch_file(folder_fd, segment_file(damaged.position / 4096), 4096 + damaged.position % 4096 + 8, "\xff\xff", 2);
    all.erase(all.begin() + (long)(all.size() / 2));

    size_t descriptors = open_descriptors();
    for (uint64_t n = 1;; n++) {
        SCOPED_TRACE("call " + std::to_string(n));
        Failure failure(n, -GetParam(), any_call);
        std::vector<Record> found = read_on(folder_fd, meta, log.end());
        if (GetParam() != EIO || !failure.came()) {
            ASSERT_EQ(found, all);
        }
        for (const Record &record : found)
            ASSERT_EQ(std::count(all.begin(), all.end(), record), 1) << record;
        EXPECT_EQ(open_descriptors(), descriptors);
        if (!failure.came())
            break;
    }
    close(folder_fd);
}

/*
 * A segment whose header is damaged: its epoch has to be asked of other files, and without a descriptor for the one that
 * knows, nothing is known. In a later epoch of the journal that is a neighbour, else `meta`.
 */
void want_of_descriptors_is_no_damage(bool later_epoch, bool for_ever)
{
    Scratch scratch(Scratch::MEMORY);
    struct journal_meta meta = make_meta();
    struct journal_writer *writer;
    struct journal_reader *reader;
    struct ring_item item;
    Log log;
    fill(log, later_epoch ? 2 : 1);
    uint64_t from = later_epoch ? 4096 : 0;
    ASSERT_EQ(journal_create(scratch.fd(), &meta), 0);
    ASSERT_EQ(journal_open(scratch.fd(), "ring", &writer, &meta), 0);
    ASSERT_EQ(log.write(writer, meta, 0, log.end()), 0);
    ASSERT_EQ(journal_sync(writer), 0);
    if (later_epoch) {
        meta.identity.epoch = 2;
        meta.identity.start = meta.lease;
        ASSERT_EQ(journal_set_meta(writer, &meta), 0);
    }
    journal_close(writer);
    int folder_fd = openat(scratch.fd(), "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    patch_file(folder_fd, segment_file(from / 4096), 0, "damaged header", 14);
    bool came = true;
    for (uint64_t n = 1; came; n++) {
        ASSERT_EQ(journal_reader_open(folder_fd, meta.identity.ring_id, small_shift, &reader), 0);
        Failure failure(
            n, -EMFILE, [](const struct jio_event &event) { return event.call == JIO_OPEN; }, for_ever);
        int result = journal_reader_seek(reader, from);
        if (result == 0)
            result = journal_reader_next(reader, log.end(), &item);
        came = failure.came();
        EXPECT_EQ(result, came ? -EMFILE : 1) << "at call " << n;
        journal_reader_close(reader);
    }
    close(folder_fd);
}

TEST_F(JournalFault, WantOfDescriptorsIsNoDamage)
{
    for (bool later_epoch : {false, true}) {
        for (bool for_ever : {false, true})
            want_of_descriptors_is_no_damage(later_epoch, for_ever);
    }
}

TEST_P(EachCall, MayFailWhileJournalsAndTheirGapsAreListed)
{
    Scratch scratch(Scratch::MEMORY);
    Life life(scratch.fd(), 1);
    ASSERT_EQ(life.live(60), 0);
    int folder_fd = openat(scratch.fd(), "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t all_gaps = gaps_of(folder_fd).size();
    EXPECT_GT(all_gaps, 0u);
    size_t descriptors = open_descriptors();
    for (uint64_t n = 1;; n++) {
        SCOPED_TRACE("call " + std::to_string(n));
        Failure failure(n, -GetParam(), any_call);
        size_t journals = 0, gaps = 0;
        auto count_journal = [](void *ctx, const char *) { return (++*(size_t *)ctx, 0); };
        auto count_gap = [](void *ctx, const struct journal_gap *) { return (++*(size_t *)ctx, 0); };
        struct journal_gap gap;
        uint64_t segment;
        int result = journal_list(scratch.fd(), count_journal, &journals);
        EXPECT_TRUE(result == -GetParam() || (result == 0 && journals == 1)) << result << ", " << journals;
        result = journal_gaps(folder_fd, count_gap, &gaps);
        EXPECT_TRUE(result == -GetParam() || (result == 0 && gaps == all_gaps)) << result << ", " << gaps;
        result = journal_find_gap(folder_fd, UINT64_MAX - 1, &gap);
        EXPECT_TRUE(result == -GetParam() || result == -ENOENT) << result;
        result = journal_oldest_segment(folder_fd, 0, &segment);
        EXPECT_TRUE(result == -GetParam() || result == 0) << result;
        EXPECT_EQ(open_descriptors(), descriptors);
        if (!failure.came())
            break;
    }
    close(folder_fd);
}

TEST_F(JournalFault, ADiskThatIsFullFromAnyCallOnIsToldAndNothingIsLost)
{
    for (bool queued : {false, true})
        fail_each(-ENOSPC, takes_room, true, false, queued);
}

TEST_F(JournalFault, ADiskThatIsGoneForGoodIsToldAndNothingIsLost)
{
    for (bool queued : {false, true})
        fail_each(-EIO, any_call, true, false, queued);
}

TEST_F(JournalFault, AnInterruptedOrShortReadOrWriteGoesOn)
{
    for (bool queued : {false, true}) {
        fail_each(-EINTR, any_call_that_repeats, false, true, queued);
        fail_each(1, reads_and_writes, false, true, queued);
        fail_each(511, reads_and_writes, true, true, queued);
    }
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
            uint64_t recovered = 0;
            std::vector<std::function<int()>> calls = {
                [&] { return log.write(writer, meta, 0, log.end()); },
                [&] { return journal_sync(writer); },
                [&] { return journal_set_meta(writer, &meta); },
                [&] { return journal_note_gap(writer, &gap); },
                [&] { return journal_save_names(writer, &names); },
                [&] { return journal_recover(writer, 0, UINT64_MAX, nullptr, nullptr, &recovered); },
                [&] { return journal_expire(writer, 1); },
            };
            size_t failed = calls.size();
            bool came, expiring = false;
            {
                /* Of a file that expires, and is kept as a spare, no sync counts: where it fails the file is removed. */
                Failure failure(n, -error, [&expiring](const struct jio_event &event) {
                    return syncs(event) && !(expiring && event.call == JIO_SYNC_DATA && !is_ledger(event.fd));
                });
                for (size_t i = 0; i < calls.size() && failed == calls.size(); i++) {
                    expiring = i + 1 == calls.size();
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

TEST_F(JournalFault, AFullDiskHasRoomForAGapInALongLedger)
{
    Scratch scratch(Scratch::MEMORY);
    struct journal_meta meta = make_meta();
    struct journal_writer *writer;
    ASSERT_EQ(journal_create(scratch.fd(), &meta), 0);
    int folder_fd = openat(scratch.fd(), "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Bytes ledger(read_file(folder_fd, "ledger").size()); /* the zeros that are kept behind the entries */
    for (uint64_t i = 5000; i > 0; i--) {
        struct journal_ledger_entry entry = {};
        entry.magic = JOURNAL_LEDGER_MAGIC;
        entry.from = i * 4096;
        entry.to = entry.from + 4096;
        entry.reason = JOURNAL_GAP_EXPIRED;
        entry.crc = journal_crc32c(0, &entry, offsetof(struct journal_ledger_entry, crc));
        ledger.insert(ledger.begin(), (uint8_t *)&entry, (uint8_t *)(&entry + 1));
    }
    write_file(folder_fd, "ledger", ledger);
    ASSERT_EQ(journal_open(scratch.fd(), "ring", &writer, &meta), 0);
    struct journal_gap gap = {1u << 30, 2u << 30, 1, 1, JOURNAL_GAP_LOST};
    auto takes_room = [](const struct jio_event &event) {
        return event.call == JIO_ALLOCATE || (event.call == JIO_OPEN && event.name && strstr(event.name, ".new"));
    };
    {
        Failure failure(1, -ENOSPC, takes_room, true);
        EXPECT_EQ(journal_note_gap(writer, &gap), 0);
        EXPECT_EQ(gaps_of(folder_fd).size(), 5001u);
    }
    journal_close(writer);

    /* With room it is put together; and has what the next gap takes, without room, in the new file too. */
    ASSERT_EQ(journal_open(scratch.fd(), "ring", &writer, &meta), 0);
    gap.from++;
    EXPECT_EQ(journal_note_gap(writer, &gap), 0);
    EXPECT_EQ(gaps_of(folder_fd).size(), 3u);
    size_t bytes = read_file(folder_fd, "ledger").size();
    {
        Failure failure(1, -ENOSPC, takes_room, true);
        gap.from++;
        EXPECT_EQ(journal_note_gap(writer, &gap), 0);
    }
    EXPECT_EQ(read_file(folder_fd, "ledger").size(), bytes) << "more room was taken";
    EXPECT_EQ(gaps_of(folder_fd).size(), 4u);
    journal_close(writer);
    close(folder_fd);
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

/* A write that a killed writer left under way: it lands when the file is waited for, or else at the worst moment. */
class StaleWrite
{
public:
    StaleWrite(int folder_fd, const std::string &name, uint64_t offset) : offset_(offset)
    {
        fd_ = openat(folder_fd, name.c_str(), O_RDWR | O_CLOEXEC);
        EXPECT_EQ(pread(fd_, block_, sizeof block_, (off_t)offset_), (ssize_t)sizeof block_);
        EXPECT_EQ(fstat(fd_, &file_), 0);
        hooks_ = {nullptr,
                  [](void *ctx, const struct jio_event *event, int64_t) { ((StaleWrite *)ctx)->after(*event); }, this};
        jio_hooks = &hooks_;
    }
    StaleWrite(const StaleWrite &) = delete;
    StaleWrite &operator=(const StaleWrite &) = delete;
    ~StaleWrite()
    {
        jio_hooks = nullptr;
        land();
        close(fd_);
    }

private:
    void after(const struct jio_event &event)
    {
        struct stat other;
        if (event.call == JIO_ALLOCATE && fstat(event.fd, &other) == 0 && other.st_ino == file_.st_ino)
            land();
    }
    void land()
    {
        if (!landed_) {
            EXPECT_EQ(pwrite(fd_, block_, sizeof block_, (off_t)offset_), (ssize_t)sizeof block_);
        }
        landed_ = true;
    }

    int fd_;
    uint64_t offset_;
    uint8_t block_[JOURNAL_BLOCK_BYTES];
    struct stat file_ = {};
    bool landed_ = false;
    struct jio_hooks hooks_ = {};
};

TEST_F(JournalFault, AWriteThatADeadWriterLeftUnderWayOverwritesNothing)
{
    Scratch scratch;
    struct journal_meta meta = make_meta();
    struct journal_writer *writer;
    Log log;
    uint64_t end = 0;
    ASSERT_EQ(journal_create(scratch.fd(), &meta), 0);
    ASSERT_EQ(journal_open(scratch.fd(), "ring", &writer, &meta), 0);
    log.append(pattern(1, 100));
    ASSERT_EQ(log.write(writer, meta, 0, log.end()), 0);
    ASSERT_EQ(journal_sync(writer), 0);
    journal_close(writer);
    int folder_fd = openat(scratch.fd(), "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    {
        StaleWrite stale(folder_fd, segment_file(0), JOURNAL_BLOCK_BYTES);
        ASSERT_EQ(journal_open(scratch.fd(), "ring", &writer, &meta), 0);
        ASSERT_EQ(journal_recover(writer, UINT64_MAX, UINT64_MAX, nullptr, nullptr, &end), 0);
        ASSERT_EQ(end, log.end());
        log.append(pattern(2, 100));
        ASSERT_EQ(log.write(writer, meta, end, log.end()), 0);
        ASSERT_EQ(journal_sync(writer), 0);
        journal_close(writer);
    }
    EXPECT_EQ(read_journal(folder_fd, meta, 0, log.end()).records, log.records());
    close(folder_fd);
}

} // namespace
