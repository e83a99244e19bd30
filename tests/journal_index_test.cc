// SPDX-License-Identifier: Apache-2.0
// test: LINKS weir_journal weir_ringbuf LABELS tsan TIMEOUT 120
// The index of a journal: when an entry is due, where a time lies, clocks that jump, damage, what expires.
#include "tests/journal_support.hh"

extern "C" {
#include "journal/index.h"
#include "journal/writer.h"
}

using namespace journaltest;

namespace
{

constexpr uint64_t second = 1000000000;

class IndexTest : public JournalTest
{
protected:
    /* A journal with so many segments, whose index says what note() says alone. */
    void begin(unsigned segments = 8)
    {
        log_ = std::make_unique<Log>();
        fill(*log_, segments);
        make(*log_, make_meta());
        journal_index_close(&writer_->index);
        writer_->index = {};
        writer_->index.fd = -1;
        ASSERT_EQ(unlinkat(folder_fd_, JOURNAL_INDEX_NAME, 0), 0);
    }

    void note(uint64_t position, uint64_t time_ns)
    {
        journal_index_note(writer_, position, time_ns);
    }

    std::vector<struct journal_index_entry> entries()
    {
        Bytes bytes = read_file(folder_fd_, JOURNAL_INDEX_NAME);
        std::vector<struct journal_index_entry> all(bytes.size() / sizeof(struct journal_index_entry));
        memcpy(all.data(), bytes.data(), all.size() * sizeof(all[0]));
        return all;
    }

    struct journal_index_range find(uint64_t time_ns)
    {
        struct journal_index_range range = {};
        EXPECT_EQ(journal_index_find(folder_fd_, meta_.identity.ring_id, time_ns, &range), 0);
        return range;
    }

    uint64_t seek(uint64_t time_ns)
    {
        uint64_t position = UINT64_MAX;
        EXPECT_EQ(journal_seek_time(folder_fd_, &meta_, time_ns, &position), 0);
        return position;
    }

    std::unique_ptr<Log> log_;
};

TEST_F(IndexTest, AnEntryIsDueEachSecondOrEach16MiB)
{
    begin();
    note(0, 100 * second);
    note(64, 100 * second + 1);
    note(128, 101 * second - 1);
    note(192, 101 * second);
    note(192, 105 * second); /* not behind the last one */
    note(192 + JOURNAL_INDEX_BYTES - 64, 101 * second);
    note(192 + JOURNAL_INDEX_BYTES, 101 * second + 1);
    auto all = entries();
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[0].position, 0u);
    EXPECT_EQ(all[1].position, 192u);
    EXPECT_EQ(all[1].time_ns, 101 * second);
    EXPECT_EQ(all[2].position, 192u + JOURNAL_INDEX_BYTES);
}

TEST_F(IndexTest, WritingNotesWhereTheRecordsOfASecondBegin)
{
    Log log;
    fill(log, 2);
    uint64_t before = journal_wall_ns();
    make(log, make_meta());
    auto all = entries();
    ASSERT_GE(all.size(), 1u);
    EXPECT_EQ(all[0].position, 0u);
    EXPECT_GE(all[0].time_ns, before);
    EXPECT_LE(all[0].time_ns, journal_wall_ns());
}

TEST_F(IndexTest, ATimeLiesBetweenTwoEntries)
{
    begin();
    for (uint64_t i = 0; i < 100; i++)
        note(i * 64, (1000 + i) * second);
    for (uint64_t i = 0; i < 100; i++) {
        struct journal_index_range range = find((1000 + i) * second);
        EXPECT_EQ(range.from, i == 0 ? 0 : (i - 1) * 64);
        EXPECT_EQ(range.to, i * 64);
        range = find((1000 + i) * second + 1);
        EXPECT_EQ(range.from, i * 64);
        EXPECT_EQ(range.to, i == 99 ? UINT64_MAX : (i + 1) * 64);
    }
    EXPECT_EQ(find(1).from, 0u);
    EXPECT_EQ(find(1).to, 0u);
    EXPECT_EQ(find(UINT64_MAX).from, 99u * 64);
}

TEST_F(IndexTest, AClockThatIsSetBackHidesNothing)
{
    begin();
    note(0, 100 * second);
    note(640, 1000 * second);                      /* it was set ahead, */
    note(640 + JOURNAL_INDEX_BYTES, 110 * second); /* and back: no second has passed, but enough was written */
    note(1280 + JOURNAL_INDEX_BYTES, 2000 * second);
    auto all = entries();
    ASSERT_EQ(all.size(), 4u);
    EXPECT_EQ(all[2].time_ns, 1000 * second);
    EXPECT_EQ(find(105 * second).from, 0u) << "what was written at 110 comes behind what 1000 says";
    EXPECT_EQ(find(110 * second).from, 0u);
    EXPECT_EQ(find(1500 * second).from, 640u + JOURNAL_INDEX_BYTES);
}

TEST_F(IndexTest, ANewWriterGoesOnBehindTheLastEntry)
{
    begin();
    note(0, 100 * second);
    note(640, 200 * second);
    close_writer();
    /* What a torn write left behind it. */
    Bytes bytes = read_file(folder_fd_, JOURNAL_INDEX_NAME);
    bytes.resize(bytes.size() + 20, 0x55);
    write_file(folder_fd_, JOURNAL_INDEX_NAME, bytes);
    ASSERT_EQ(open_writer(), 0);
    note(320, 300 * second); /* written once more after a death */
    note(640, 300 * second);
    note(704, 300 * second);
    auto all = entries();
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[2].position, 704u);
    EXPECT_EQ(find(300 * second).from, 640u);
}

TEST_F(IndexTest, EntriesThatDoNotCheckArePassedOver)
{
    begin();
    for (uint64_t i = 0; i < 1000; i++)
        note(i * 64, (1000 + i) * second);
    std::mt19937_64 random(7);
    Bytes good = read_file(folder_fd_, JOURNAL_INDEX_NAME);
    for (int round = 0; round < 50; round++) {
        Bytes bad = good;
        std::set<uint64_t> broken;
        uint64_t from = random() % 1000, count = 1 + random() % 400;
        for (uint64_t i = from; i < std::min<uint64_t>(1000, from + count); i++) {
            broken.insert(i);
            if (round % 2)
                memset(bad.data() + i * 32, 0, 32);
            else
                bad[i * 32 + random() % 32] ^= 1;
        }
        write_file(folder_fd_, JOURNAL_INDEX_NAME, bad);
        for (uint64_t i : {uint64_t(0), from, from + count / 2, from + count, uint64_t(999)}) {
            uint64_t low = std::min<uint64_t>(i, 999), high = low;
            while (low > 0 && broken.count(low))
                low--;
            struct journal_index_range range = find((1000 + high) * second + 1);
            EXPECT_EQ(range.from, broken.count(low) ? 0 : low * 64) << "round " << round << ", entry " << i;
        }
    }
    write_file(folder_fd_, JOURNAL_INDEX_NAME, {});
    EXPECT_EQ(find(1500 * second).from, 0u);
    EXPECT_EQ(find(1500 * second).to, UINT64_MAX);
}

TEST_F(IndexTest, AnotherRingsIndexTellsNothing)
{
    begin();
    note(640, 100 * second);
    struct journal_index_range range = {};
    uint8_t other[16] = {1};
    ASSERT_EQ(journal_index_find(folder_fd_, other, 200 * second, &range), 0);
    EXPECT_EQ(range.from, 0u);
}

TEST_F(IndexTest, ASeekNeverGoesPastWhatWasWrittenAtThatTime)
{
    begin(8);
    /* One entry a segment, a minute apart. */
    for (uint64_t i = 0; i < 8; i++)
        note(i * 4096, (1000 + 60 * i) * second);
    for (uint64_t i = 1; i < 8; i++) {
        EXPECT_EQ(seek((1000 + 60 * i) * second), (i - 1) * 4096) << "the second before may reach up to it";
        EXPECT_EQ(seek((1000 + 60 * i) * second + 1), i * 4096);
    }
    EXPECT_EQ(seek(1), 0u);
}

TEST_F(IndexTest, WithoutAnIndexTheSegmentsTell)
{
    begin(8);
    uint64_t last = log_->all().back().position;
    /* All headers are of now: a time to come lies in the last segments, one that has passed at the start. */
    EXPECT_EQ(seek(1), 0u);
    EXPECT_LE(seek(journal_wall_ns() + second), last);
    EXPECT_GE(seek(journal_wall_ns() + second) + 3 * 4096, last);
    ASSERT_EQ(unlinkat(folder_fd_, segment_file(0).c_str(), 0), 0);
    EXPECT_EQ(seek(1), 4096u) << "what is gone is not gone to";
}

TEST_F(IndexTest, AnIndexThatLeadsNowhereIsHeldToTheSegments)
{
    begin(4);
    note(UINT64_MAX - 63, 100 * second);
    EXPECT_LT(seek(200 * second), 8u * 4096);
}

TEST_F(IndexTest, HalfThatHasExpiredIsCutOff)
{
    begin(24); /* 1536 places for an entry, of 64 bytes each */
    for (uint64_t i = 0; i < 1000; i++)
        note(i * 64, (1000 + i) * second);
    EXPECT_EQ(entries().size(), 1000u);
    journal_close(writer_);
    writer_ = nullptr;
    ASSERT_EQ(open_writer(), 0);
    ASSERT_EQ(journal_expire(writer_, 15), 0); /* 960 entries tell of what is gone */
    note(1000 * 64, 2000 * second);
    EXPECT_EQ(entries().size(), 1001u) << "it is not worth it yet";
    for (uint64_t i = 1001; i < 1100; i++)
        note(i * 64, (1000 + i) * second);
    auto all = entries();
    EXPECT_LT(all.size(), 200u);
    ASSERT_FALSE(all.empty());
    EXPECT_LT(all[0].position, 15u * 4096) << "the last one below the oldest segment stays";
    EXPECT_GE(all[1].position, 15u * 4096);
    for (uint64_t i = 970; i < 1100; i++)
        EXPECT_EQ(find((1000 + i) * second + 1).from, i * 64);
}

/* All of it would have to be read to learn that nothing in it checks. */
TEST_F(IndexTest, AFileThatClaimsAnySizeTellsNothingAndIsReplaced)
{
    begin();
    note(0, 100 * second);
    note(64, 200 * second);
    close_writer();
    int fd = openat(folder_fd_, JOURNAL_INDEX_NAME, O_WRONLY | O_CLOEXEC);
    ASSERT_EQ(ftruncate(fd, INT64_C(1) << 40), 0);
    close(fd);
    EXPECT_EQ(find(300 * second).from, 0u);
    EXPECT_EQ(find(300 * second).to, UINT64_MAX);
    EXPECT_EQ(seek(1), 0u);
    ASSERT_EQ(open_writer(), 0);
    note(128, 300 * second);
    auto all = entries();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].position, 128u);
    EXPECT_EQ(find(400 * second).from, 128u);
}

/* A ring that keeps all it ever had: half of the entries go, and the rest is found as before. */
TEST_F(IndexTest, ALongOneIsThinnedOut)
{
    constexpr uint64_t many = 1u << 21;
    begin();
    for (uint64_t i = 0; i < 6; i++)
        note(i * 64, (1000 + i) * second);
    close_writer();
    Bytes first = read_file(folder_fd_, JOURNAL_INDEX_NAME);
    int fd = openat(folder_fd_, JOURNAL_INDEX_NAME, O_WRONLY | O_CLOEXEC);
    ASSERT_EQ(pwrite(fd, first.data() + 128, 64, (many - 2) * 32), 64);
    ASSERT_EQ(ftruncate(fd, many * 32), 0);
    close(fd);
    ASSERT_EQ(open_writer(), 0);
    note(1000 * 64, 2000 * second); /* the one too many */
    note(1001 * 64, 2001 * second);
    auto all = entries();
    ASSERT_EQ(all.size(), many / 2 + 1);
    EXPECT_EQ(all[0].position, 1u * 64);
    EXPECT_EQ(all[1].position, 3u * 64);
    EXPECT_EQ(all[2].position, 5u * 64);
    EXPECT_EQ(all[many / 2 - 1].position, 5u * 64);
    EXPECT_EQ(all[many / 2].position, 1001u * 64);
    EXPECT_EQ(find(1001 * second + 1).from, 64u);
    EXPECT_EQ(find(1001 * second + 1).to, 3u * 64);
    EXPECT_EQ(find(3000 * second).from, 1001u * 64);
}

TEST_F(IndexTest, AnIndexThatCannotBeWrittenEndsNothing)
{
    Log log;
    fill(log, 3);
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    ASSERT_EQ(mkdirat(folder_fd_, JOURNAL_INDEX_NAME, 0700), 0);
    EXPECT_EQ(log.write(writer_, meta_, 0, log.end()), 0);
    EXPECT_EQ(journal_sync(writer_), 0);
    EXPECT_EQ(journal_ended(writer_), 0);
    EXPECT_LE(seek(journal_wall_ns()), log.end()) << "and the segments tell";
    ASSERT_EQ(unlinkat(folder_fd_, JOURNAL_INDEX_NAME, AT_REMOVEDIR), 0);
}

} // namespace
