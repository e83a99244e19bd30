/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: across segments and epochs, up to the limit, while it is being written, and at the far ends of positions. */
// test: LINKS weir_journal weir_ringbuf

#include "tests/journal_support.hh"

#include <thread>

using namespace journaltest;

namespace
{

class JournalRead : public JournalTest
{
protected:
    void TearDown() override
    {
        journal_reader_close(reader_);
        reader_ = nullptr;
        JournalTest::TearDown();
    }

    void open_reader()
    {
        journal_reader_close(reader_);
        reader_ = nullptr;
        ASSERT_EQ(journal_reader_open(folder_fd_, meta_.identity.ring_id, journal_shift(&meta_), &reader_), 0);
    }

    struct journal_reader *reader_ = nullptr;
    struct ring_item item_;
};

TEST_F(JournalRead, DeliversWhatWasWrittenInEveryShape)
{
    uint64_t number = 0;
    for (uint32_t shift : {12u, 14u, 18u}) {
        for (uint64_t start : {UINT64_C(0), (UINT64_C(1) << 32) - (UINT64_C(2) << shift),
                               (UINT64_C(1) << 63) - (UINT64_C(1) << shift), UINT64_MAX - (UINT64_C(3) << shift) + 1}) {
            struct journal_meta meta = make_meta(("ring" + std::to_string(number++)).c_str(), shift, start);
            Log log(start, shift);
            fill(log, start > UINT64_MAX / 2 + 100000 ? 2 : 4);
            make(log, meta);
            Found found = read_journal(folder_fd_, meta, start, log.end());
            EXPECT_EQ(found.records, log.records()) << "from " << start;
            EXPECT_EQ(found.damaged, std::vector<Range>{});
            EXPECT_EQ(found.error, 0);
            close_writer();
            close(folder_fd_);
            folder_fd_ = -1;
        }
    }
}

TEST_F(JournalRead, ReachesTheLastPositionThatThereIs)
{
    uint64_t start = UINT64_MAX - 4095;
    create(make_meta("ring", small_shift, start));
    ASSERT_EQ(open_writer(), 0);
    Log log(start);
    for (int i = 0; i < 64; i++)
        log.append("0123456789");
    ASSERT_EQ(log.end(), 0u) << "positions are used up";
    Bytes copy = log.sealed(meta_, start, 4096);
    ASSERT_EQ(journal_write(writer_, start, copy.data(), 4096), 0);
    ASSERT_EQ(journal_sync(writer_), 0);
    Found found = read_journal(folder_fd_, meta_, start, UINT64_MAX - 63);
    EXPECT_EQ(found.records.size(), 63u);
    open_reader();
    ASSERT_EQ(journal_reader_seek(reader_, start + 4096 - 64), 0);
    ASSERT_EQ(journal_reader_next(reader_, UINT64_MAX, &item_), -EBADMSG) << "it would end above the limit";
}

TEST_F(JournalRead, StopsAtTheLimitWhateverLiesBehind)
{
    Log log;
    fill(log, 3);
    make(log, make_meta());
    open_reader();
    std::vector<Record> expected = log.records();
    for (const Record &record : log.all()) {
        ASSERT_EQ(journal_reader_seek(reader_, 0), 0);
        size_t count = 0;
        int result;
        while ((result = journal_reader_next(reader_, record.position, &item_)) == 1)
            ASSERT_EQ(record_of(item_), expected[count++]);
        ASSERT_EQ(result, 0);
        ASSERT_EQ(count, log.records(0, record.position).size());
        ASSERT_EQ(journal_reader_position(reader_), record.position) << "padding below the limit is passed";
    }
}

TEST_F(JournalRead, DoesNotEvenReadBytesAboveTheLimit)
{
    Log log;
    fill(log, 2);
    make(log, make_meta());
    struct Watch {
        uint64_t limit, highest;
    } watch = {log.all()[5].position, 0};
    struct jio_hooks hooks = {[](void *ctx, const struct jio_event *event) -> int64_t {
                                  Watch *w = (Watch *)ctx;
                                  if (event->call == JIO_READ && event->offset >= 4096)
                                      w->highest = std::max(w->highest, event->offset - 4096 + event->bytes);
                                  return 0;
                              },
                              nullptr, &watch};
    open_reader();
    ASSERT_EQ(journal_reader_seek(reader_, 0), 0);
    jio_hooks = &hooks;
    while (journal_reader_next(reader_, watch.limit, &item_) == 1)
        ;
    journal_reader_resync(reader_, watch.limit);
    jio_hooks = nullptr;
    EXPECT_EQ(watch.highest, watch.limit);
    EXPECT_EQ(journal_reader_position(reader_), watch.limit);
}

TEST_F(JournalRead, SeeksToAnyRecord)
{
    Log log;
    fill(log, 3);
    make(log, make_meta());
    open_reader();
    std::vector<Record> records = log.records();
    std::mt19937_64 random(2);
    for (int i = 0; i < 500; i++) {
        const Record &record = records[random() % records.size()];
        ASSERT_EQ(journal_reader_seek(reader_, record.position), 0);
        ASSERT_EQ(journal_reader_next(reader_, log.end(), &item_), 1);
        ASSERT_EQ(record_of(item_), record);
    }
    uint64_t before = journal_reader_position(reader_);
    EXPECT_EQ(journal_reader_seek(reader_, 999 * 4096), -ENOENT);
    EXPECT_EQ(journal_reader_seek(reader_, 1), -EINVAL);
    EXPECT_EQ(journal_reader_position(reader_), before);
}

TEST_F(JournalRead, KeepsRecordsInPlaceWhileItStaysInTheirSegment)
{
    Log log(0, 18);
    fill(log, 1);
    make(log, make_meta("ring", 18));
    open_reader();
    std::vector<struct ring_item> items;
    while (journal_reader_next(reader_, log.end(), &item_) == 1)
        items.push_back(item_);
    std::vector<Record> records = log.records();
    ASSERT_EQ(items.size(), records.size());
    for (size_t i = 0; i < items.size(); i++)
        ASSERT_EQ(record_of(items[i]), records[i]);
}

TEST_F(JournalRead, SaysWhichSegmentHasNoFile)
{
    Log log;
    fill(log, 5);
    make(log, make_meta());
    close_writer();
    unlinkat(folder_fd_, segment_file(1).c_str(), 0);
    unlinkat(folder_fd_, segment_file(2).c_str(), 0);
    open_reader();
    int result;
    while ((result = journal_reader_next(reader_, UINT64_MAX, &item_)) == 1)
        ;
    EXPECT_EQ(result, -ENOENT);
    EXPECT_EQ(journal_reader_position(reader_), 4096u);
    uint64_t segment;
    ASSERT_EQ(journal_oldest_segment(folder_fd_, 1, &segment), 0);
    EXPECT_EQ(segment, 3u);
    EXPECT_EQ(journal_reader_resync(reader_, UINT64_MAX), 2u * 4096);
    EXPECT_EQ(journal_reader_resync(reader_, UINT64_MAX), 3u * 4096);
    EXPECT_EQ(journal_reader_next(reader_, UINT64_MAX, &item_), 1);
    EXPECT_EQ(journal_oldest_segment(folder_fd_, 99, &segment), -ENOENT);
    write_file(folder_fd_, "0000000000000002.seg.bak", {});
    write_file(folder_fd_, "000000000000000G.seg", {});
    write_file(folder_fd_, "ffffffffffffffff.seg", {});
    EXPECT_EQ(journal_oldest_segment(folder_fd_, 6, &segment), -ENOENT);
}

TEST_F(JournalRead, ReadsOnInAFileThatIsUnlinkedUnderIt)
{
    Log log;
    fill(log, 2);
    make(log, make_meta());
    close_writer();
    open_reader();
    ASSERT_EQ(journal_reader_next(reader_, UINT64_MAX, &item_), 1);
    unlinkat(folder_fd_, segment_file(0).c_str(), 0);
    size_t count = 1;
    while (journal_reader_next(reader_, 4096, &item_) == 1)
        count++;
    EXPECT_EQ(count, log.records(0, 4096).size());
}

TEST_F(JournalRead, SurvivesAFileThatIsCutUnderIt)
{
    Log log(0, 20);
    fill(log, 1);
    make(log, make_meta("ring", 20));
    close_writer();
    open_reader();
    ASSERT_EQ(journal_reader_next(reader_, UINT64_MAX, &item_), 1);
    cut_file(folder_fd_, segment_file(0), 0);
    int result;
    while ((result = journal_reader_next(reader_, log.end(), &item_)) == 1)
        ;
    EXPECT_EQ(result, -EBADMSG);
    EXPECT_EQ(journal_reader_resync(reader_, log.end()), log.end());
}

TEST_F(JournalRead, RefusesTheJournalOfAnotherRing)
{
    Log log;
    log.append("x");
    make(log, make_meta());
    uint8_t other[16] = {1, 2, 3};
    EXPECT_EQ(journal_reader_open(folder_fd_, other, small_shift, &reader_), -ESTALE);
    EXPECT_EQ(journal_reader_open(folder_fd_, meta_.identity.ring_id, 11, &reader_), -EINVAL);
    EXPECT_EQ(journal_reader_open(folder_fd_, meta_.identity.ring_id, 27, &reader_), -EINVAL);
    EXPECT_EQ(reader_, nullptr);
}

TEST_F(JournalRead, ReadsAJournalWhoseMetaIsLost)
{
    Log log;
    fill(log, 2);
    make(log, make_meta());
    close_writer();
    unlinkat(folder_fd_, "meta", 0);
    EXPECT_EQ(read_journal(folder_fd_, meta_, 0, log.end()).records, log.records());
}

TEST_F(JournalRead, SeesRecordsThatAreWrittenAfterItLooked)
{
    Log log;
    fill(log, 2);
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    ASSERT_EQ(log.write(writer_, meta_, 0, log.all()[0].next), 0);
    open_reader();
    std::vector<Record> expected = log.records(), got;
    /* With no limit, so that it has read the place of each record before it was written. */
    for (size_t i = 1; i < log.all().size(); i++) {
        int result;
        while ((result = journal_reader_next(reader_, UINT64_MAX, &item_)) == 1)
            got.push_back(record_of(item_));
        ASSERT_TRUE(result == -EBADMSG || result == -ENOENT) << result;
        ASSERT_EQ(log.write(writer_, meta_, log.all()[i].position, log.all()[i].next), 0);
    }
    while (journal_reader_next(reader_, UINT64_MAX, &item_) == 1)
        got.push_back(record_of(item_));
    EXPECT_EQ(got, expected);
}

/* Another thread writes, and now and then begins again from an earlier position, as a restarted daemon does. */
TEST_F(JournalRead, FollowsAJournalWhileItIsWritten)
{
    create(make_meta());
    Log log;
    fill(log, 60);
    struct mem_u64 written = {};
    std::thread writing([&] {
        std::mt19937_64 random(11);
        struct journal_writer *writer = nullptr;
        struct journal_meta meta;
        size_t durable = 0, at = 0;
        while (at < log.all().size()) {
            if (!writer) {
                ASSERT_EQ(journal_open(scratch_.fd(), "ring", &writer, &meta), 0);
            }
            size_t to = std::min(log.all().size(), at + 1 + random() % 20);
            ASSERT_EQ(log.write(writer, meta, log.all()[at].position, log.all()[to - 1].next), 0);
            at = to;
            if (log.all()[at - 1].next > mem_load_relaxed(&written))
                mem_store_release_(&written, log.all()[at - 1].next);
            if (random() % 8 == 0) {
                ASSERT_EQ(journal_sync(writer), 0);
                durable = at;
            } else if (random() % 12 == 0) {
                journal_close(writer);
                writer = nullptr;
                at = durable;
            }
        }
        journal_close(writer);
    });
    open_reader();
    std::vector<Record> got;
    while (journal_reader_position(reader_) < log.end()) {
        int result = journal_reader_next(reader_, mem_load_acquire(&written), &item_);
        if (result == 1) {
            got.push_back(record_of(item_));
        } else if (result == 0) {
            std::this_thread::yield();
        } else {
            ADD_FAILURE() << "error " << result << " at " << journal_reader_position(reader_);
            break;
        }
    }
    writing.join();
    EXPECT_EQ(got, log.records());
}

} // namespace
