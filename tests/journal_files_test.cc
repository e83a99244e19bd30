/* SPDX-License-Identifier: Apache-2.0 */
/* Segment files: written in whole blocks past the kernel's cache, made ahead of need, kept for another segment. */
// test: LINKS weir_journal weir_ringbuf

#include "tests/journal_support.hh"

using namespace journaltest;

namespace
{

/* -- Whole blocks ------------------------------------------------------------------------------------------------- */

/* Fails every read or write on a descriptor that has the flag, or the call that sets it. */
class NoDirect
{
public:
    explicit NoDirect(bool takes_the_flag) : takes_the_flag_(takes_the_flag)
    {
        hooks_ = {[](void *ctx, const struct jio_event *event) { return ((NoDirect *)ctx)->before(*event); }, nullptr,
                  this};
        jio_hooks = &hooks_;
    }
    NoDirect(const NoDirect &) = delete;
    NoDirect &operator=(const NoDirect &) = delete;
    ~NoDirect()
    {
        jio_hooks = nullptr;
    }
    int refused = 0;

private:
    int64_t before(const struct jio_event &event)
    {
        bool refuse = event.call == JIO_SET_DIRECT && !takes_the_flag_;
        if (event.call == JIO_READ || event.call == JIO_WRITE)
            refuse = fcntl(event.fd, F_GETFL) & O_DIRECT;
        refused += refuse;
        return refuse ? -EINVAL : 0;
    }

    bool takes_the_flag_;
    struct jio_hooks hooks_;
};

class JournalBlocks : public JournalTest
{
protected:
    /* In stretches of all lengths, some of them twice, as a daemon does that is restarted; everything is synced at times. */
    void write_in_pieces(Log &log, uint64_t seed)
    {
        std::mt19937_64 random(seed);
        std::vector<uint64_t> cuts = {log.start()};
        for (const Record &record : log.all()) {
            if (record.next - cuts.back() >= UINT64_C(64) << (random() % 14) || record.next == log.end())
                cuts.push_back(record.next);
        }
        for (size_t i = 0; i + 1 < cuts.size(); i++) {
            ASSERT_EQ(log.write(writer_, meta_, cuts[i], cuts[i + 1]), 0);
            switch (random() % 16) {
            case 0:
                ASSERT_EQ(journal_sync(writer_), 0);
                break;
            case 1:
                close_writer();
                ASSERT_EQ(open_writer(), 0);
                break;
            case 2:
                i -= std::min<size_t>(i, random() % 4);
                break;
            case 3:
                if (i > 4) { /* what lies behind stays as it is, for who reads there */
                    size_t back = i - 1 - random() % 4;
                    ASSERT_EQ(log.write(writer_, meta_, cuts[back], cuts[back + 1]), 0);
                }
                break;
            default:
                break;
            }
            ASSERT_EQ(read_journal(folder_fd_, meta_, i < 3 ? cuts[0] : cuts[i - 3], cuts[i + 1]).damaged,
                      std::vector<Range>{});
        }
        ASSERT_EQ(journal_sync(writer_), 0);
    }

    void check_all(Log &log, uint64_t from = 0)
    {
        Found found = read_journal(folder_fd_, meta_, from, log.end());
        EXPECT_EQ(found.records, log.records(from));
        EXPECT_EQ(found.damaged, std::vector<Range>{});
        uint32_t shift = meta_.geometry.segment_shift;
        for (uint64_t segment = from >> shift; segment <= (log.end() - 1) >> shift; segment++) {
            int fd = openat(folder_fd_, segment_file(segment).c_str(), O_RDONLY | O_CLOEXEC);
            struct journal_place place = {meta_.identity.ring_id, shift, segment};
            uint64_t epoch = 0;
            EXPECT_EQ(journal_segment_read_header(fd, &place, &epoch), 0) << segment;
            EXPECT_EQ(epoch, meta_.identity.epoch);
            close(fd);
        }
    }
};

TEST_F(JournalBlocks, HoldWhatWasWrittenInAnyPieces)
{
    for (uint32_t shift : {12u, 16u, 21u}) {
        std::string name = "ring" + std::to_string(shift);
        create(make_meta(name.c_str(), shift));
        ASSERT_EQ(open_writer(), 0);
        Log log(0, shift);
        fill(log, shift == 21 ? 1 : 5, shift);
        write_in_pieces(log, shift);
        check_all(log);
        close_writer();
        close(folder_fd_);
        folder_fd_ = -1;
        if (HasFailure())
            break;
    }
}

TEST_F(JournalBlocks, GoThroughTheCacheWhereTheFileSystemWantsThat)
{
    for (bool takes_the_flag : {false, true}) {
        NoDirect no_direct(takes_the_flag);
        create(make_meta(takes_the_flag ? "takes" : "refuses"));
        ASSERT_EQ(open_writer(), 0);
        Log log;
        fill(log, 5);
        write_in_pieces(log, 3);
        check_all(log);
        EXPECT_GT(no_direct.refused, 0);
        close_writer();
        close(folder_fd_);
        folder_fd_ = -1;
    }
}

TEST_F(JournalBlocks, KeepWhatStandsAroundWhatIsWrittenAgain)
{
    create(make_meta("ring", 14));
    ASSERT_EQ(open_writer(), 0);
    Log log(0, 14);
    while (log.end() < 3 * 4096)
        log.append("of one unit");
    ASSERT_EQ(log.write(writer_, meta_, 0, log.end()), 0);
    const std::vector<uint64_t> edges = {0, 64, 2048, 4032, 4096, 4160, 8128, 8192, 8256};
    for (bool reopened : {false, true}) {
        for (uint64_t from : edges) {
            for (uint64_t to : edges) {
                if (from >= to)
                    continue;
                if (reopened) {
                    close_writer();
                    ASSERT_EQ(open_writer(), 0);
                }
                ASSERT_EQ(log.write(writer_, meta_, from, to), 0);
                ASSERT_EQ(read_journal(folder_fd_, meta_, 0, log.end()).records, log.records()) << from << " to " << to;
            }
        }
    }
}

/* As after a restart in the middle of a segment whose file is gone. */
TEST_F(JournalBlocks, StandBehindAHeaderAlsoWhereASegmentDoesNotBeginWithThem)
{
    create(make_meta("ring", 16));
    ASSERT_EQ(open_writer(), 0);
    Log log(0, 16);
    fill(log, 1);
    uint64_t from = log.all()[3].position;
    ASSERT_LT(from, 4096u);
    ASSERT_EQ(log.write(writer_, meta_, from, log.end()), 0);
    ASSERT_EQ(journal_sync(writer_), 0);
    Found found = read_journal(folder_fd_, meta_, from, log.end());
    EXPECT_EQ(found.records, log.records(from));
    EXPECT_EQ(found.damaged, std::vector<Range>{});
    int fd = openat(folder_fd_, segment_file(0).c_str(), O_RDONLY | O_CLOEXEC);
    struct journal_place place = {meta_.identity.ring_id, 16, 0};
    uint64_t epoch = 0;
    EXPECT_EQ(journal_segment_read_header(fd, &place, &epoch), 0);
    close(fd);
}

/* A file that claims any size would fill the disk, if all of it were given room to wait for what is under way in it. */
TEST_F(JournalBlocks, GiveAFileNoMoreRoomThanASegmentHas)
{
    Log log;
    fill(log, 3);
    make(log, make_meta());
    ASSERT_EQ(journal_sync(writer_), 0);
    close_writer();
    uint64_t last = (log.end() - 1) >> small_shift, end = 0;
    struct stat st = {};
    int fd = openat(folder_fd_, segment_file(last).c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_EQ(ftruncate(fd, INT64_C(64) << 20), 0);
    ASSERT_EQ(open_writer(), 0);
    ASSERT_EQ(journal_recover(writer_, UINT64_MAX, UINT64_MAX, nullptr, nullptr, &end), 0);
    EXPECT_EQ(end, log.end());
    ASSERT_EQ(log.write(writer_, meta_, log.all().back().position, log.end()), 0);
    ASSERT_EQ(journal_sync(writer_), 0);
    check_all(log);
    ASSERT_EQ(fstat(fd, &st), 0);
    EXPECT_LT(st.st_blocks * 512, 1 << 20);
    close(fd);
}

/* -- Spares ------------------------------------------------------------------------------------------------------- */

class JournalSpares : public JournalBlocks
{
protected:
    size_t spares() const
    {
        size_t count = 0;
        for (const std::string &name : Scratch::names_in(folder_fd_))
            count += name.find(".spare") != std::string::npos;
        return count;
    }
    ino_t inode(const std::string &name) const
    {
        struct stat st = {};
        EXPECT_EQ(fstatat(folder_fd_, name.c_str(), &st, AT_SYMLINK_NOFOLLOW), 0) << name;
        return st.st_ino;
    }
    int prepare_all()
    {
        int count = 0;
        while (journal_prepare(writer_) == 1)
            count++;
        return count;
    }
};

TEST_F(JournalSpares, AreMadeAheadWrittenFromEndToEndAndBecomeTheNextSegments)
{
    create(make_meta("ring", 18));
    ASSERT_EQ(open_writer(), 0);
    Log log(0, 18);
    fill(log, 6);
    EXPECT_EQ(prepare_all(), 0) << "nothing was written yet, and perhaps nothing ever is";
    uint64_t first = log.all()[0].next;
    ASSERT_EQ(log.write(writer_, meta_, 0, first), 0);
    int made = prepare_all();
    EXPECT_GE(made, 2);
    EXPECT_LE(made, 8);
    EXPECT_EQ(spares(), (size_t)made);
    EXPECT_EQ(read_file(folder_fd_, "0000000000000000.spare"), Bytes(4096 + (1 << 18)));
    std::set<ino_t> inodes;
    for (int i = 0; i < made; i++) {
        char name[32];
        snprintf(name, sizeof name, "%016x.spare", (unsigned)i);
        inodes.insert(inode(name));
    }
    ASSERT_EQ(log.write(writer_, meta_, first, log.end()), 0);
    ASSERT_EQ(journal_sync(writer_), 0);
    check_all(log);
    EXPECT_EQ(spares(), 0u);
    for (int i = 1; i <= made; i++)
        EXPECT_EQ(inodes.count(inode(segment_file((uint64_t)i))), 1u) << i;
    EXPECT_EQ(prepare_all(), made);
}

TEST_F(JournalSpares, AreFoundByTheNextWriterAndAreNoneOfTheirOldSegment)
{
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    Log log;
    fill(log, 4);
    ASSERT_EQ(log.write(writer_, meta_, 0, log.all()[0].next), 0);
    ASSERT_GE(prepare_all(), 2);
    close_writer();
    /* As it is when power goes after a spare was made a segment's file and written, but before its new name was synced. */
    ASSERT_EQ(open_writer(), 0);
    std::set<ino_t> inodes;
    for (const std::string &name : Scratch::names_in(folder_fd_)) {
        if (name.find(".spare") == std::string::npos)
            continue;
        int fd = openat(folder_fd_, name.c_str(), O_RDWR | O_CLOEXEC);
        ASSERT_EQ(journal_segment_write_header(fd, &meta_, 77), 0);
        close(fd);
        inodes.insert(inode(name));
    }
    write_in_pieces(log, 5);
    check_all(log);
    for (uint64_t segment = 1; segment < 4; segment++)
        EXPECT_EQ(inodes.count(inode(segment_file(segment))), 1u) << segment;
}

TEST_F(JournalSpares, AreWhatExpiresAndNothingOfItComesBack)
{
    Log log;
    fill(log, 4);
    make(log, make_meta());
    std::set<ino_t> old = {inode(segment_file(0)), inode(segment_file(1)), inode(segment_file(2))};
    ASSERT_EQ(journal_expire(writer_, 3), 0);
    EXPECT_EQ(spares(), 3u);
    uint64_t from = log.end(), first = log.all().size();
    fill(log, 5, 2);
    ASSERT_EQ(log.write(writer_, meta_, from, log.all()[first].next), 0);
    ASSERT_EQ(log.write(writer_, meta_, log.all()[first].next, log.end()), 0);
    ASSERT_EQ(journal_sync(writer_), 0);
    EXPECT_EQ(spares(), 0u);
    size_t again = 0;
    for (uint64_t segment = 4; segment < 9; segment++)
        again += old.count(inode(segment_file(segment)));
    EXPECT_EQ(again, 3u);
    /* In a dead journal the end is where nothing checks any more, whatever the file held before. */
    close_writer();
    ASSERT_EQ(open_writer(), 0);
    uint64_t recovered = 0;
    ASSERT_EQ(recover(&recovered), 0);
    EXPECT_EQ(recovered, log.end());
    Found found = read_journal(folder_fd_, meta_, 3 * 4096, UINT64_MAX);
    EXPECT_EQ(found.records, log.records(3 * 4096));
}

TEST_F(JournalSpares, AreNotWrittenToWhileSomebodyReads)
{
    Log log;
    fill(log, 4);
    make(log, make_meta());
    struct journal_reader *reader;
    struct ring_item item;
    std::vector<Record> expected = log.records(0, 4096), read;
    ASSERT_EQ(journal_reader_open(folder_fd_, meta_.identity.ring_id, small_shift, &reader), 0);
    ASSERT_EQ(journal_reader_seek(reader, 0), 0);
    ASSERT_EQ(journal_reader_next(reader, 64 * 6, &item), 1);
    read.push_back(record_of(item));
    ASSERT_EQ(journal_expire(writer_, 3), 0);
    EXPECT_EQ(spares(), 3u);
    uint64_t from = log.end();
    fill(log, 8, 2);
    ASSERT_EQ(log.write(writer_, meta_, from, log.end()), 0);
    int result;
    while ((result = journal_reader_next(reader, log.end(), &item)) == 1)
        read.push_back(record_of(item));
    EXPECT_EQ(result, -ENOENT);
    EXPECT_EQ(read, expected);
    journal_reader_close(reader);
}

TEST_F(JournalSpares, AreNotTakenWhileSomebodyReadsThem)
{
    Log log;
    fill(log, 4);
    make(log, make_meta());
    ASSERT_EQ(journal_expire(writer_, 3), 0);
    ASSERT_EQ(spares(), 3u);
    /* Who opened the file before it lost its name, and holds it since. */
    int fd = openat(folder_fd_, "0000000000000002.spare", O_RDONLY | O_CLOEXEC);
    ASSERT_EQ(jio_hold(fd), 0);
    ino_t held = inode("0000000000000002.spare");
    Bytes before = read_file(folder_fd_, "0000000000000002.spare");
    uint64_t from = log.end();
    fill(log, 6, 2);
    ASSERT_EQ(log.write(writer_, meta_, from, log.end()), 0);
    for (uint64_t segment = 4; segment < 10; segment++)
        EXPECT_NE(inode(segment_file(segment)), held);
    Bytes after(before.size());
    EXPECT_EQ(pread(fd, after.data(), after.size(), 0), (ssize_t)after.size());
    EXPECT_EQ(after, before);
    close(fd);
    check_all(log, 3 * 4096);
}

TEST_F(JournalSpares, AreAFewAndGoWithTheJournal)
{
    Log log;
    fill(log, 60);
    make(log, make_meta());
    ASSERT_EQ(journal_expire(writer_, 58), 0);
    EXPECT_LE(spares(), 32u);
    EXPECT_EQ(prepare_all(), 0) << "there are enough";
    close_writer();
    ASSERT_EQ(journal_remove(scratch_.fd(), "ring", nullptr), 0);
    EXPECT_TRUE(Scratch::names_in(scratch_.fd()).empty());
}

TEST_F(JournalSpares, AreDoneWithoutWhereThereIsNoRoomForThem)
{
    Log log;
    fill(log, 4);
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    ASSERT_EQ(log.write(writer_, meta_, 0, log.all()[0].next), 0);
    struct jio_hooks hooks = {[](void *, const struct jio_event *event) -> int64_t {
                                  return event->call == JIO_ALLOCATE || event->call == JIO_WRITE ? -ENOSPC : 0;
                              },
                              nullptr, nullptr};
    jio_hooks = &hooks;
    EXPECT_EQ(journal_prepare(writer_), 0);
    jio_hooks = nullptr;
    EXPECT_EQ(spares(), 0u);
    ASSERT_EQ(log.write(writer_, meta_, log.all()[0].next, log.end()), 0);
    ASSERT_EQ(journal_sync(writer_), 0);
    check_all(log);
}

} // namespace
