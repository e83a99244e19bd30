/* SPDX-License-Identifier: Apache-2.0 */
/* Making, opening, writing and removing journals; meta, ledger, names and retention. */
// test: LINKS weir_journal weir_ringbuf

#include "tests/journal_support.hh"

#include <sys/wait.h>

using namespace journaltest;

namespace
{

using JournalWrite = JournalTest;

/* For tests with thousands of syncs. */
class JournalWriteMuch : public JournalTest
{
protected:
    JournalWriteMuch() : JournalTest(Scratch::MEMORY)
    {
    }
};

/* -- Making, opening, removing -------------------------------------------------------------------------------- */

bool same(const struct journal_meta &a, const struct journal_meta &b)
{
    return memcmp(&a.geometry, &b.geometry, offsetof(struct ring_geometry, slot_count)) == 0 &&
           strcmp(a.identity.name, b.identity.name) == 0 && memcmp(a.identity.ring_id, b.identity.ring_id, 16) == 0 &&
           a.identity.created_ns == b.identity.created_ns && a.identity.epoch == b.identity.epoch &&
           a.identity.start == b.identity.start && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid &&
           a.lease == b.lease && a.durable == b.durable;
}

TEST_F(JournalWrite, OpensWhatWasMade)
{
    struct journal_meta meta = make_meta("name.of-64", 20, 5u << 20);
    meta.geometry.flags = RING_JOURNALED | RING_EXCLUSIVE;
    meta.geometry.when_full = RING_DROP_NEW;
    meta.geometry.features_incompatible = RING_FEATURE_FENCED;
    create(meta);
    ASSERT_EQ(open_writer(), 0);
    EXPECT_TRUE(same(meta, meta_));
}

TEST_F(JournalWrite, MakesAJournalOnce)
{
    create(make_meta());
    struct journal_meta other = make_meta();
    other.lease = 77;
    EXPECT_EQ(journal_create(scratch_.fd(), &other), -EEXIST);
    ASSERT_EQ(open_writer(), 0);
    EXPECT_NE(meta_.lease, 77u);
    ASSERT_EQ(mkdirat(scratch_.fd(), "directory", 0700), 0);
    write_file(scratch_.fd(), "file", {1, 2, 3});
    ASSERT_EQ(symlinkat("ring", scratch_.fd(), "link"), 0);
    for (const char *name : {"directory", "file", "link"}) {
        other = make_meta(name);
        EXPECT_EQ(journal_create(scratch_.fd(), &other), -EEXIST) << name;
    }
}

TEST_F(JournalWrite, RefusesNamesAndMetaThatCannotBe)
{
    struct journal_meta meta = make_meta("..");
    EXPECT_EQ(journal_create(scratch_.fd(), &meta), -EILSEQ);
    meta = make_meta("a/b");
    EXPECT_EQ(journal_create(scratch_.fd(), &meta), -EILSEQ);
    meta = make_meta("");
    EXPECT_EQ(journal_create(scratch_.fd(), &meta), -EILSEQ);
    memset(meta.identity.name, 'x', sizeof(meta.identity.name));
    EXPECT_EQ(journal_create(scratch_.fd(), &meta), -ENAMETOOLONG);
    meta = make_meta("ring", RING_SEGMENT_SHIFT_MAX + 1);
    EXPECT_EQ(journal_create(scratch_.fd(), &meta), -EINVAL);
    meta = make_meta("ring", 12, 64);
    EXPECT_EQ(journal_create(scratch_.fd(), &meta), -EINVAL);
    meta = make_meta();
    meta.identity.epoch = 0;
    EXPECT_EQ(journal_create(scratch_.fd(), &meta), -EINVAL);
    EXPECT_EQ(Scratch::names_in(scratch_.fd()).size(), 0u);
}

TEST_F(JournalWrite, LetsOneWriterInAtATime)
{
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    struct journal_writer *second = nullptr;
    struct journal_meta meta;
    EXPECT_EQ(journal_open(scratch_.fd(), "ring", &second, &meta), -EBUSY);
    pid_t child = fork();
    if (child == 0)
        _exit(journal_open(scratch_.fd(), "ring", &second, &meta) == -EBUSY ? 0 : 1);
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(journal_remove(scratch_.fd(), "ring", nullptr), -EBUSY);
    close_writer();
    EXPECT_EQ(open_writer(), 0);
}

/* P10: who may read all of a journal may hold a read lock on any file of it for ever. */
TEST_F(JournalWrite, IsLockedByAFileThatReadersMayNotOpen)
{
    struct journal_meta meta = make_meta();
    meta.mode = 0644;
    create(meta);
    std::vector<int> held;
    for (const std::string &name : Scratch::names_in(folder_fd_)) {
        struct stat st;
        ASSERT_EQ(fstatat(folder_fd_, name.c_str(), &st, 0), 0);
        if (!(st.st_mode & 0004))
            continue;
        held.push_back(openat(folder_fd_, name.c_str(), O_RDONLY | O_CLOEXEC));
        struct flock lock = {};
        lock.l_type = F_RDLCK;
        lock.l_whence = SEEK_SET;
        ASSERT_EQ(fcntl(held.back(), F_OFD_SETLK, &lock), 0) << name;
    }
    EXPECT_GE(held.size(), 2u);
    EXPECT_EQ(open_writer(), 0);
    close_writer();
    EXPECT_EQ(journal_remove(scratch_.fd(), "ring", nullptr), 0);
    for (int fd : held)
        close(fd);
}

TEST_F(JournalWrite, MakesItsLockAgainWhereSomebodyTookItAway)
{
    create(make_meta());
    ASSERT_EQ(unlinkat(folder_fd_, "lock", 0), 0);
    EXPECT_EQ(open_writer(), 0);
    EXPECT_EQ(journal_remove(scratch_.fd(), "ring", nullptr), -EBUSY);
}

TEST_F(JournalWrite, RemovesTheJournalOfTheRingThatWasNamedAndNoOther)
{
    struct journal_meta meta = make_meta();
    create(meta);
    struct ring_identity other = meta.identity, later = meta.identity;
    other.ring_id[7] ^= 1;
    later.epoch++;
    size_t files = Scratch::names_in(folder_fd_).size();
    EXPECT_EQ(journal_remove(scratch_.fd(), "ring", &other), -ESTALE);
    EXPECT_EQ(journal_remove(scratch_.fd(), "ring", &later), -ESTALE);
    EXPECT_EQ(Scratch::names_in(folder_fd_).size(), files);
    EXPECT_EQ(journal_remove(scratch_.fd(), "ring", &meta.identity), 0);
    EXPECT_EQ(Scratch::names_in(scratch_.fd()), std::vector<std::string>{});
}

TEST_F(JournalWrite, ItsWriterTakesItAwayButNotAnotherOneOfItsName)
{
    struct journal_meta meta = make_meta();
    create(meta);
    ASSERT_EQ(open_writer(), 0);
    ASSERT_EQ(renameat(scratch_.fd(), "ring", scratch_.fd(), "moved"), 0);
    meta.identity.ring_id[0]++;
    ASSERT_EQ(journal_create(scratch_.fd(), &meta), 0);
    EXPECT_EQ(journal_discard(scratch_.fd(), writer_), -ENOENT);
    writer_ = nullptr;
    EXPECT_EQ(Scratch::names_in(scratch_.fd()), (std::vector<std::string>{"moved", "ring"}));
    ASSERT_EQ(open_writer(), 0);
    EXPECT_EQ(journal_discard(scratch_.fd(), writer_), 0);
    writer_ = nullptr;
    EXPECT_EQ(Scratch::names_in(scratch_.fd()), std::vector<std::string>{"moved"});
}

TEST_F(JournalWrite, TellsWhatIsNotAJournalOfThisRing)
{
    struct journal_meta meta;
    struct journal_writer *writer;
    EXPECT_EQ(journal_open(scratch_.fd(), "missing", &writer, &meta), -ENOENT);
    write_file(scratch_.fd(), "file", {1});
    EXPECT_EQ(journal_open(scratch_.fd(), "file", &writer, &meta), -EMEDIUMTYPE);
    ASSERT_EQ(mkdirat(scratch_.fd(), "empty", 0700), 0);
    EXPECT_EQ(journal_open(scratch_.fd(), "empty", &writer, &meta), -EMEDIUMTYPE);
    create(make_meta());
    ASSERT_EQ(symlinkat("ring", scratch_.fd(), "link"), 0);
    EXPECT_EQ(journal_open(scratch_.fd(), "link", &writer, &meta), -EMEDIUMTYPE);
    ASSERT_EQ(renameat(scratch_.fd(), "ring", scratch_.fd(), "copy"), 0);
    EXPECT_EQ(journal_open(scratch_.fd(), "copy", &writer, &meta), -ESTALE);
    EXPECT_EQ(journal_open(scratch_.fd(), "../copy", &writer, &meta), -EILSEQ);
}

TEST_F(JournalWrite, DoesNotFollowWhatTheOwnerPlanted)
{
    create(make_meta());
    Bytes secret(10000, 's');
    write_file(scratch_.fd(), "secret", secret);
    for (const char *name : {"0000000000000000.seg", "names.new", "ledger"}) {
        unlinkat(folder_fd_, name, 0);
        ASSERT_EQ(symlinkat("../secret", folder_fd_, name), 0);
    }
    EXPECT_EQ(open_writer(), -EMEDIUMTYPE);
    unlinkat(folder_fd_, "ledger", 0);
    ASSERT_EQ(open_writer(), 0);
    ASSERT_EQ(symlinkat("../secret", folder_fd_, "ledger"), 0);
    Log log;
    log.append("x");
    struct journal_gap gap = {0, 64, 1, 1, JOURNAL_GAP_LOST};
    struct journal_names names = {};
    EXPECT_EQ(journal_save_names(writer_, &names), 0);
    EXPECT_EQ(journal_note_gap(writer_, &gap), -EMEDIUMTYPE);
    unlinkat(folder_fd_, "ledger", 0);
    EXPECT_EQ(log.write(writer_, meta_, 0, 64), -EMEDIUMTYPE);
    EXPECT_EQ(read_file(scratch_.fd(), "secret"), secret);
    close_writer();
    unlinkat(folder_fd_, "0000000000000000.seg", 0);
    ASSERT_EQ(mkfifoat(folder_fd_, "0000000000000000.seg", 0600), 0);
    ASSERT_EQ(open_writer(), 0);
    EXPECT_EQ(log.write(writer_, meta_, 0, 64), -EMEDIUMTYPE);
    Found found = read_journal(folder_fd_, meta_, 0, UINT64_MAX);
    EXPECT_EQ(found.error, -EMEDIUMTYPE);
}

TEST_F(JournalWrite, GivesFilesTheRightsAndTheOwnerOfTheRing)
{
    if (geteuid() != 0)
        GTEST_SKIP() << "only root can give files away";
    struct journal_meta meta = make_meta();
    meta.mode = 0664;
    meta.uid = 12345;
    meta.gid = 54321;
    mode_t mask = umask(077);
    Log log;
    fill(log, 2);
    make(log, meta);
    struct journal_names names = {};
    EXPECT_EQ(journal_save_names(writer_, &names), 0);
    umask(mask);
    struct stat st;
    ASSERT_EQ(fstat(folder_fd_, &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0755u);
    EXPECT_EQ(st.st_uid, 12345u);
    for (const std::string &name : Scratch::names_in(folder_fd_)) {
        ASSERT_EQ(fstatat(folder_fd_, name.c_str(), &st, 0), 0);
        EXPECT_EQ(st.st_mode & 07777, name == "lock" || name == "pins.lock" ? 0600u : 0644u) << name;
        EXPECT_EQ(st.st_uid, 12345u) << name;
        EXPECT_EQ(st.st_gid, 54321u) << name;
    }
    /* A file of somebody else in that directory is not written to. */
    close_writer();
    ASSERT_EQ(fchownat(folder_fd_, "meta", 0, 0, 0), 0);
    EXPECT_EQ(open_writer(), -EPERM);
}

TEST_F(JournalWrite, ListsJournalsInOrderAndNothingElse)
{
    for (const char *name : {"b", "a", "c-1"}) {
        struct journal_meta meta = make_meta(name);
        ASSERT_EQ(journal_create(scratch_.fd(), &meta), 0);
    }
    ASSERT_EQ(mkdirat(scratch_.fd(), "directory", 0700), 0);
    ASSERT_EQ(mkdirat(scratch_.fd(), ".new-x", 0700), 0);
    write_file(scratch_.fd(), "file", {1});
    std::vector<std::string> names;
    auto take = [](void *ctx, const char *name) {
        ((std::vector<std::string> *)ctx)->push_back(name);
        return strcmp(name, "b") == 0 ? 7 : 0;
    };
    EXPECT_EQ(journal_list(scratch_.fd(), take, &names), 7);
    EXPECT_EQ(names, (std::vector<std::string>{"a", "b"}));
}

TEST_F(JournalWrite, RemovesAllOfAJournal)
{
    Log log;
    fill(log, 3);
    make(log, make_meta());
    close_writer();
    /* What two deaths left behind goes too. */
    ASSERT_EQ(mkdirat(scratch_.fd(), ".removed-ring-0", 0700), 0);
    write_file(scratch_.fd(), ".removed-ring-0/meta", {1});
    ASSERT_EQ(mkdirat(scratch_.fd(), ".removed-other-0", 0700), 0);
    EXPECT_EQ(journal_remove(scratch_.fd(), "ring", nullptr), 0);
    EXPECT_EQ(Scratch::names_in(scratch_.fd()), std::vector<std::string>{});
    EXPECT_EQ(journal_remove(scratch_.fd(), "ring", nullptr), -ENOENT);
    ASSERT_EQ(mkdirat(scratch_.fd(), "directory", 0700), 0);
    EXPECT_EQ(journal_remove(scratch_.fd(), "directory", nullptr), -EMEDIUMTYPE);
    EXPECT_EQ(journal_remove(scratch_.fd(), "..", nullptr), -EILSEQ);
    struct journal_meta meta = make_meta();
    EXPECT_EQ(journal_create(scratch_.fd(), &meta), 0);
}

TEST_F(JournalWrite, MakesAJournalOverWhatADeathLeft)
{
    ASSERT_EQ(mkdirat(scratch_.fd(), ".new-ring", 0700), 0);
    write_file(scratch_.fd(), ".new-ring/meta", Bytes(100, 1));
    create(make_meta());
    EXPECT_EQ(Scratch::names_in(scratch_.fd()), std::vector<std::string>{"ring"});
    EXPECT_EQ(open_writer(), 0);
}

/* -- meta ------------------------------------------------------------------------------------------------------- */

TEST_F(JournalWrite, KeepsTheNewestMeta)
{
    create(make_meta());
    for (uint64_t i = 1; i <= 5; i++) {
        ASSERT_EQ(open_writer(), 0);
        for (int j = 0; j < (int)i; j++) {
            meta_.lease += 4096;
            meta_.durable += 64;
            ASSERT_EQ(journal_set_meta(writer_, &meta_), 0);
        }
        struct journal_meta set = meta_;
        close_writer();
        ASSERT_EQ(open_writer(), 0);
        EXPECT_TRUE(same(set, meta_));
        close_writer();
    }
}

TEST_F(JournalWrite, RefusesToBecomeAnotherRingOrGoBack)
{
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    struct journal_meta meta = meta_;
    meta.identity.ring_id[3] ^= 1;
    EXPECT_EQ(journal_set_meta(writer_, &meta), -EINVAL);
    meta = meta_;
    meta.geometry.segment_shift++;
    EXPECT_EQ(journal_set_meta(writer_, &meta), -EINVAL);
    meta = meta_;
    meta.identity.epoch = 2;
    EXPECT_EQ(journal_set_meta(writer_, &meta), 0);
    meta.identity.epoch = 1;
    EXPECT_EQ(journal_set_meta(writer_, &meta), -EINVAL);
}

/* A write of meta that was torn, or any byte of a block gone bad: one of two generations is found, never a mixture. */
TEST_F(JournalWriteMuch, SurvivesDamageToEitherBlockOfMeta)
{
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    struct journal_meta old_meta = meta_;
    meta_.lease += 12345 * 64;
    meta_.durable += 77 * 64;
    struct journal_meta new_meta = meta_;
    /* Only the first block of the two is written: as if power had gone before the second. */
    Bytes before = read_file(folder_fd_, "meta");
    ASSERT_EQ(journal_set_meta(writer_, &meta_), 0);
    close_writer();
    Bytes after = read_file(folder_fd_, "meta");
    Bytes mixed = before;
    std::copy(after.begin() + 4096, after.end(), mixed.begin() + 4096);

    for (size_t at = 0; at < sizeof(struct journal_meta_block); at++) {
        for (size_t block : {0u, 4096u}) {
            Bytes damaged = after; /* both blocks are new: damage to one does not bring back the old lease */
            damaged[block + at] ^= 0x10;
            write_file(folder_fd_, "meta", damaged);
            ASSERT_EQ(open_writer(), 0) << at;
            EXPECT_TRUE(same(meta_, new_meta));
            close_writer();
        }
        Bytes torn = mixed; /* the second half of the new block has not reached the disk */
        std::copy(before.begin() + 4096 + (long)at, before.begin() + 4096 + sizeof(struct journal_meta_block),
                  torn.begin() + 4096 + (long)at);
        write_file(folder_fd_, "meta", torn);
        ASSERT_EQ(open_writer(), 0) << at;
        EXPECT_TRUE(same(meta_, old_meta) || (same(meta_, new_meta) && torn == mixed)) << at;
        /* And the next generation goes over the torn block, not over the good one. */
        meta_.lease += 64;
        struct journal_meta next = meta_;
        ASSERT_EQ(journal_set_meta(writer_, &meta_), 0);
        close_writer();
        ASSERT_EQ(open_writer(), 0);
        EXPECT_TRUE(same(meta_, next));
        close_writer();
    }
    for (size_t bytes = 0; bytes < 8192; bytes += 41) {
        write_file(folder_fd_, "meta", Bytes(after.begin(), after.begin() + (long)bytes));
        EXPECT_EQ(open_writer(), bytes < sizeof(struct journal_meta_block) ? -EMEDIUMTYPE : 0) << bytes;
        close_writer();
    }
}

TEST_F(JournalWrite, TellsWhyAMetaCannotBeUsed)
{
    create(make_meta());
    Bytes good = read_file(folder_fd_, "meta");
    auto with = [&](const std::function<void(struct journal_meta_block &)> &change, bool seal) {
        Bytes bytes = good;
        for (size_t block : {0u, 4096u}) {
            struct journal_meta_block meta;
            memcpy(&meta, bytes.data() + block, sizeof(meta));
            change(meta);
            if (seal)
                meta.crc = journal_crc32c(0, &meta, offsetof(struct journal_meta_block, crc));
            memcpy(bytes.data() + block, &meta, sizeof(meta));
        }
        write_file(folder_fd_, "meta", bytes);
        int result = open_writer();
        close_writer();
        return result;
    };
    using Block = struct journal_meta_block;
    EXPECT_EQ(with([](Block &) {}, true), 0);
    EXPECT_EQ(with([](Block &block) { block.magic++; }, true), -EMEDIUMTYPE);
    EXPECT_EQ(with([](Block &block) { block.magic = __builtin_bswap64(block.magic); }, false), -EPROTONOSUPPORT);
    EXPECT_EQ(with([](Block &block) { block.layout_version++; }, true), -EPROTONOSUPPORT);
    EXPECT_EQ(with([](Block &block) { block.format_signature++; }, true), -EPROTONOSUPPORT);
    EXPECT_EQ(with([](Block &block) { block.features_incompatible = 1u << 30; }, true), -EPROTONOSUPPORT);
    EXPECT_EQ(with([](Block &block) { block.lease++; }, false), -EBADMSG);
    EXPECT_EQ(with([](Block &block) { block.segment_shift = 40; }, true), -EBADMSG);
    EXPECT_EQ(with([](Block &block) { block.segment_shift = 0; }, true), -EBADMSG);
    EXPECT_EQ(with([](Block &block) { block.start = 64; }, true), -EBADMSG);
    EXPECT_EQ(with([](Block &block) { block.epoch = 0; }, true), -EBADMSG);
    EXPECT_EQ(with([](Block &block) { memset(block.name, 'x', sizeof(block.name)); }, true), -EBADMSG);
    EXPECT_EQ(with([](Block &block) { block.header_bytes = 1; }, true), -EBADMSG);
}

/* -- Writing ------------------------------------------------------------------------------------------------------ */

TEST_F(JournalWrite, MakesTheNextFileInTheLastQuarter)
{
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    Log log;
    for (int i = 0; i < 64; i++)
        log.append("0123456789");
    ASSERT_EQ(log.write(writer_, meta_, 0, 3072), 0);
    EXPECT_NE(faccessat(folder_fd_, segment_file(1).c_str(), F_OK, 0), 0);
    ASSERT_EQ(log.write(writer_, meta_, 3072, 3136), 0);
    EXPECT_EQ(faccessat(folder_fd_, segment_file(1).c_str(), F_OK, 0), 0);
    struct stat st;
    ASSERT_EQ(fstatat(folder_fd_, segment_file(1).c_str(), &st, 0), 0);
    EXPECT_EQ(st.st_size, 8192);
    EXPECT_GE(st.st_blocks, 8192 / 512) << "the room is not allocated";
}

TEST_F(JournalWrite, RefusesWhatIsNotOneStretchOfASegmentOfThisEpoch)
{
    create(make_meta("ring", small_shift, 1 << 20));
    ASSERT_EQ(open_writer(), 0);
    Bytes bytes(8192);
    EXPECT_EQ(journal_write(writer_, (1 << 20) - 4096, bytes.data(), 64), -EINVAL);
    EXPECT_EQ(journal_write(writer_, (1 << 20) + 1, bytes.data(), 64), -EINVAL);
    EXPECT_EQ(journal_write(writer_, 1 << 20, bytes.data(), 65), -EINVAL);
    EXPECT_EQ(journal_write(writer_, (1 << 20) + 64, bytes.data(), 4096), -EINVAL);
    EXPECT_EQ(journal_write(writer_, 1 << 20, bytes.data(), 4096), 0);
}

TEST_F(JournalWrite, WritesAtTheOffsetOfTheSegmentBehindTheHeader)
{
    Log log;
    log.append("first");
    log.append("second");
    make(log, make_meta());
    Bytes file = read_file(folder_fd_, segment_file(0));
    ASSERT_EQ(file.size(), 8192u);
    EXPECT_EQ(Bytes(file.begin() + 4096, file.begin() + 4096 + 128), log.sealed(meta_, 0, 128));
    EXPECT_EQ(Bytes(file.begin() + 4096 + 128, file.end()), Bytes(4096 - 128, 0));
}

TEST_F(JournalWrite, TakesZerosWithLittleWritesAndNeverOverRecords)
{
    create(make_meta("ring", 20));
    ASSERT_EQ(open_writer(), 0);
    Log log(0, 20);
    fill(log, 1);
    /* Forward in all sizes, then back over parts of it, as a restarted daemon does. */
    uint64_t from = 0;
    std::vector<uint64_t> cuts = {0};
    std::mt19937_64 random(5);
    for (const Record &record : log.all()) {
        if (record.next - from >= UINT64_C(64) << (random() % 14)) {
            ASSERT_EQ(log.write(writer_, meta_, from, record.next), 0);
            cuts.push_back(from = record.next);
        }
    }
    ASSERT_EQ(log.write(writer_, meta_, from, log.end()), 0);
    for (int i = 0; i < 50; i++) {
        size_t at = random() % (cuts.size() - 1);
        ASSERT_EQ(log.write(writer_, meta_, cuts[at], cuts[at + 1]), 0);
        ASSERT_EQ(journal_sync(writer_), 0);
    }
    close_writer();
    ASSERT_EQ(open_writer(), 0);
    ASSERT_EQ(log.write(writer_, meta_, cuts[3], cuts[4]), 0);
    Found found = read_journal(folder_fd_, meta_, 0, log.end());
    EXPECT_EQ(found.records, log.records());
    EXPECT_EQ(found.damaged, std::vector<Range>{});
}

TEST_F(JournalWrite, GivesAFileMadeAheadInAnEarlierEpochANewHeader)
{
    Log first;
    fill(first, 1);
    make(first, make_meta()); /* segment 1 is made ahead */
    ASSERT_EQ(faccessat(folder_fd_, segment_file(1).c_str(), F_OK, 0), 0);
    meta_.identity.epoch = 2;
    meta_.identity.start = meta_.durable = 4096;
    ASSERT_EQ(journal_set_meta(writer_, &meta_), 0);
    Log second(4096);
    fill(second, 1, 9);
    ASSERT_EQ(second.write(writer_, meta_, 4096, second.end()), 0); /* while it is open */
    meta_.identity.epoch = 3;
    meta_.identity.start = meta_.durable = 8192;
    ASSERT_EQ(journal_set_meta(writer_, &meta_), 0);
    close_writer();
    ASSERT_EQ(open_writer(), 0);
    Log third(8192);
    fill(third, 1, 10);
    ASSERT_EQ(third.write(writer_, meta_, 8192, third.end()), 0); /* and after a restart */
    std::vector<Record> expected = first.records();
    for (const Log *log : {&second, &third}) {
        std::vector<Record> more = log->records();
        expected.insert(expected.end(), more.begin(), more.end());
    }
    EXPECT_EQ(read_journal(folder_fd_, meta_, 0, third.end()).records, expected);
}

TEST_F(JournalWrite, DoesNotWriteIntoAFileOfAnotherRing)
{
    create(make_meta());
    struct journal_meta other = make_meta("other");
    other.identity.ring_id[0] ^= 0xff;
    ASSERT_EQ(journal_create(scratch_.fd(), &other), 0);
    struct journal_writer *writer;
    ASSERT_EQ(journal_open(scratch_.fd(), "other", &writer, &other), 0);
    Log log;
    fill(log, 1);
    ASSERT_EQ(log.write(writer, other, 0, log.end()), 0);
    journal_close(writer);
    int other_fd = openat(scratch_.fd(), "other", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Bytes foreign = read_file(other_fd, segment_file(0));
    close(other_fd);

    write_file(folder_fd_, segment_file(0), foreign);
    ASSERT_EQ(open_writer(), 0);
    EXPECT_EQ(log.write(writer_, meta_, 0, log.end()), -ESTALE);
    EXPECT_EQ(read_file(folder_fd_, segment_file(0)), foreign);
    close_writer();
}

/* As power loss may leave it: the name is the new segment's already, and nothing of it was written. */
TEST_F(JournalWrite, TakesAFileThatWasAnotherSegmentsForAnEmptyOne)
{
    Log log;
    fill(log, 1);
    make(log, make_meta());
    close_writer();
    ASSERT_EQ(renameat(folder_fd_, segment_file(0).c_str(), folder_fd_, segment_file(7).c_str()), 0);
    EXPECT_TRUE(read_journal(folder_fd_, meta_, 7 * 4096, UINT64_MAX).records.empty()) << "it has none of that segment";
    ASSERT_EQ(open_writer(), 0);
    Log later(7 * 4096);
    fill(later, 1, 3);
    ASSERT_EQ(later.write(writer_, meta_, 7 * 4096, later.end()), 0);
    ASSERT_EQ(journal_sync(writer_), 0);
    EXPECT_EQ(read_journal(folder_fd_, meta_, 7 * 4096, later.end()).records, later.records());
}

TEST_F(JournalWrite, PutsAFileRightThatADeathLeftHalfMade)
{
    for (size_t bytes : {0, 100, 4096, 5000, 8191}) {
        struct journal_meta meta = make_meta(("ring" + std::to_string(bytes)).c_str());
        create(meta);
        write_file(folder_fd_, segment_file(0), Bytes(bytes, 0));
        ASSERT_EQ(open_writer(), 0);
        Log log;
        fill(log, 1);
        ASSERT_EQ(log.write(writer_, meta_, 0, log.end()), 0);
        ASSERT_EQ(journal_sync(writer_), 0);
        EXPECT_EQ(read_journal(folder_fd_, meta_, 0, log.end()).records, log.records());
        struct stat st;
        ASSERT_EQ(fstatat(folder_fd_, segment_file(0).c_str(), &st, 0), 0);
        EXPECT_EQ(st.st_size, 8192);
        close_writer();
        close(folder_fd_);
        folder_fd_ = -1;
    }
}

TEST_F(JournalWriteMuch, KeepsFewFilesOpenHoweverSeldomItIsSynced)
{
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    size_t before = open_descriptors();
    Log log;
    fill(log, 100);
    ASSERT_EQ(log.write(writer_, meta_, 0, log.end()), 0);
    EXPECT_LE(open_descriptors(), before + 32 + 1); /* the index */
    ASSERT_EQ(journal_sync(writer_), 0);
    EXPECT_LE(open_descriptors(), before + 2 + 1);
    EXPECT_EQ(read_journal(folder_fd_, meta_, 0, log.end()).records, log.records());
}

/* -- Ledger -------------------------------------------------------------------------------------------------------- */

struct journal_gap make_gap(uint64_t from, uint64_t to, uint32_t reason)
{
    return {from, to, from + 5, 1, reason};
}

TEST_F(JournalWrite, TellsTheRangesOfTheLedgerInOrder)
{
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    EXPECT_EQ(gaps_of(folder_fd_).size(), 0u);
    for (auto [from, to] : std::vector<Range>{{640, 704}, {64, 128}, {128, 192}}) {
        struct journal_gap gap = make_gap(from, to, JOURNAL_GAP_DAMAGED);
        ASSERT_EQ(journal_note_gap(writer_, &gap), 0);
    }
    struct journal_gap gap = make_gap(192, 256, JOURNAL_GAP_LOST);
    ASSERT_EQ(journal_note_gap(writer_, &gap), 0);
    EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED), (std::vector<Range>{{64, 128}, {128, 192}, {640, 704}}));
    EXPECT_EQ(gaps_of(folder_fd_)[0].time_ns, 69u);
    EXPECT_EQ(journal_find_gap(folder_fd_, 63, &gap), -ENOENT);
    EXPECT_EQ(journal_find_gap(folder_fd_, 256, &gap), -ENOENT);
    for (uint64_t at : {64, 127, 128, 191}) {
        ASSERT_EQ(journal_find_gap(folder_fd_, at, &gap), 0);
        EXPECT_EQ(Range(gap.from, gap.to), Range(64, 192)) << "adjacent ranges of one reason are one";
        EXPECT_EQ(gap.reason, (uint32_t)JOURNAL_GAP_DAMAGED);
    }
    ASSERT_EQ(journal_find_gap(folder_fd_, 192, &gap), 0);
    EXPECT_EQ(Range(gap.from, gap.to), Range(192, 256));
    EXPECT_EQ(gap.reason, (uint32_t)JOURNAL_GAP_LOST);
    gap = make_gap(9, 9, JOURNAL_GAP_LOST);
    EXPECT_EQ(journal_note_gap(writer_, &gap), -EINVAL);
}

TEST_F(JournalWriteMuch, ReadsALedgerThatIsTornOrDamagedAnywhere)
{
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    for (uint64_t i = 0; i < 5; i++) {
        struct journal_gap gap = make_gap(i * 1000, i * 1000 + 64, JOURNAL_GAP_DAMAGED);
        ASSERT_EQ(journal_note_gap(writer_, &gap), 0);
    }
    Bytes good = read_file(folder_fd_, "ledger");
    for (size_t at = 0; at < 5 * 64 + 64; at++) {
        Bytes damaged = good;
        damaged[at] ^= 0x04;
        write_file(folder_fd_, "ledger", damaged);
        std::vector<Range> expected;
        for (uint64_t i = 0; i < 5; i++) {
            if (i != at / 64)
                expected.push_back({i * 1000, i * 1000 + 64});
        }
        ASSERT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED), expected) << at;
    }
    for (size_t bytes = 0; bytes <= 6 * 64; bytes++) {
        write_file(folder_fd_, "ledger", Bytes(good.begin(), good.begin() + (long)bytes));
        ASSERT_EQ(gaps_of(folder_fd_).size(), std::min<size_t>(bytes / 64, 5)) << bytes;
        /* The next entry is found, and nothing that was there is lost. */
        struct journal_gap gap = make_gap(99000, 99064, JOURNAL_GAP_DAMAGED);
        ASSERT_EQ(journal_note_gap(writer_, &gap), 0);
        ASSERT_EQ(gaps_of(folder_fd_).size(), std::min<size_t>(bytes / 64, 5) + 1) << bytes;
    }
    ASSERT_EQ(unlinkat(folder_fd_, "ledger", 0), 0);
    EXPECT_EQ(gaps_of(folder_fd_).size(), 0u);
    struct journal_gap gap = make_gap(1, 2, JOURNAL_GAP_LOST);
    EXPECT_EQ(journal_note_gap(writer_, &gap), 0);
    EXPECT_EQ(gaps_of(folder_fd_).size(), 1u);
}

TEST_F(JournalWrite, PutsALongLedgerTogetherAndKeepsWhatWasLost)
{
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    Bytes ledger;
    std::vector<Range> lost;
    for (uint64_t i = 0; i < 5000; i++) {
        struct journal_ledger_entry entry = {};
        entry.magic = JOURNAL_LEDGER_MAGIC;
        entry.from = i * 4096;
        entry.to = entry.from + 4096;
        entry.reason = i % 100 == 7 ? JOURNAL_GAP_LOST : JOURNAL_GAP_EXPIRED;
        if (entry.reason == JOURNAL_GAP_LOST)
            lost.push_back({entry.from, entry.to});
        entry.crc = journal_crc32c(0, &entry, offsetof(struct journal_ledger_entry, crc));
        ledger.insert(ledger.end(), (uint8_t *)&entry, (uint8_t *)(&entry + 1));
    }
    write_file(folder_fd_, "ledger", ledger);
    struct journal_gap gap = make_gap(5000 * 4096, 5001 * 4096, JOURNAL_GAP_EXPIRED);
    ASSERT_EQ(journal_note_gap(writer_, &gap), 0);
    EXPECT_LT(gaps_of(folder_fd_).size(), 110u);
    EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_LOST), lost);
    for (uint64_t i = 0; i < 5001; i++) {
        ASSERT_EQ(journal_find_gap(folder_fd_, i * 4096 + 1, &gap), 0) << i;
        ASSERT_EQ(gap.reason, i % 100 == 7 ? JOURNAL_GAP_LOST : JOURNAL_GAP_EXPIRED) << i;
    }
    EXPECT_EQ(journal_find_gap(folder_fd_, 5001 * 4096, &gap), -ENOENT);
    gap = make_gap(1u << 30, 2u << 30, JOURNAL_GAP_DAMAGED);
    ASSERT_EQ(journal_note_gap(writer_, &gap), 0);
    EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED), (std::vector<Range>{{1u << 30, 2u << 30}}));
}

/* -- Names --------------------------------------------------------------------------------------------------------- */

struct Names {
    uint64_t position = 0;
    std::vector<struct journal_name> producers, cursors;

    void add(std::vector<struct journal_name> &to, const std::string &name, uint64_t value)
    {
        struct journal_name entry = {};
        memcpy(entry.name, name.c_str(), name.size());
        entry.value = value;
        to.push_back(entry);
    }
    int save(struct journal_writer *writer)
    {
        struct journal_names names = {position, (uint32_t)producers.size(), (uint32_t)cursors.size(), producers.data(),
                                      cursors.data()};
        return journal_save_names(writer, &names);
    }
    bool is(const struct journal_names &names) const
    {
        auto equal = [](const std::vector<struct journal_name> &a, const struct journal_name *b, uint32_t count) {
            bool all = a.size() == count;
            for (uint32_t i = 0; all && i < count; i++)
                all = strcmp(a[i].name, b[i].name) == 0 && a[i].value == b[i].value;
            return all;
        };
        return position == names.position && equal(producers, names.producers, names.producer_count) &&
               equal(cursors, names.cursors, names.cursor_count);
    }
};

TEST_F(JournalWrite, LoadsTheNamesThatWereSavedLast)
{
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    struct journal_names loaded;
    ASSERT_EQ(journal_load_names(writer_, &loaded), 0);
    EXPECT_TRUE(Names().is(loaded));
    journal_free_names(&loaded);
    Names names;
    for (uint64_t i = 0; i < 20; i++) {
        names.position = i * 64;
        names.add(i % 2 ? names.producers : names.cursors, std::string(i * 3 + 1, 'a'), i << 40);
        ASSERT_EQ(names.save(writer_), 0);
        ASSERT_EQ(journal_load_names(writer_, &loaded), 0);
        EXPECT_TRUE(names.is(loaded));
        journal_free_names(&loaded);
    }
    names.producers.back().name[0] = 0;
    memset(names.cursors.back().name, 'x', sizeof(names.cursors.back().name));
    EXPECT_EQ(names.save(writer_), -EINVAL);
}

TEST_F(JournalWriteMuch, NoticesDamageToTheNamesAndANewFileThatWasNeverFinished)
{
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    Names names;
    names.position = 640;
    names.add(names.producers, "alice", 17);
    names.add(names.cursors, "bob", 64);
    ASSERT_EQ(names.save(writer_), 0);
    Bytes good = read_file(folder_fd_, "names");
    struct journal_names loaded;
    for (size_t at = 0; at < good.size(); at++) {
        Bytes damaged = good;
        damaged[at] ^= 0x20;
        write_file(folder_fd_, "names", damaged);
        int result = journal_load_names(writer_, &loaded);
        EXPECT_TRUE(result == -EBADMSG || (result == -EPROTONOSUPPORT && at >= 8 && at < 12) ||
                    (result == -ESTALE && at >= 24 && at < 40))
            << at << ": " << result;
    }
    for (size_t bytes = 0; bytes < good.size(); bytes++) {
        write_file(folder_fd_, "names", Bytes(good.begin(), good.begin() + (long)bytes));
        EXPECT_EQ(journal_load_names(writer_, &loaded), -EBADMSG);
    }
    write_file(folder_fd_, "names", good);
    write_file(folder_fd_, "names.new", Bytes(17, 3));
    ASSERT_EQ(journal_load_names(writer_, &loaded), 0);
    EXPECT_TRUE(names.is(loaded));
    journal_free_names(&loaded);
    EXPECT_EQ(names.save(writer_), 0);
    EXPECT_NE(faccessat(folder_fd_, "names.new", F_OK, 0), 0);
}

/* -- Retention ------------------------------------------------------------------------------------------------------ */

TEST_F(JournalWrite, ExpiresTheOldestSegmentsAndSaysSo)
{
    Log log;
    fill(log, 6);
    make(log, make_meta());
    ASSERT_EQ(journal_expire(writer_, 0), 0);
    ASSERT_EQ(journal_expire(writer_, 2), 0);
    ASSERT_EQ(journal_expire(writer_, 2), 0);
    ASSERT_EQ(journal_expire(writer_, 3), 0);
    EXPECT_EQ(journal_expire(writer_, 6), -EBUSY) << "the segment that is written to";
    uint64_t oldest;
    ASSERT_EQ(journal_oldest_segment(folder_fd_, 0, &oldest), 0);
    EXPECT_EQ(oldest, 3u);
    struct journal_gap gap;
    ASSERT_EQ(journal_find_gap(folder_fd_, 0, &gap), 0);
    EXPECT_EQ(Range(gap.from, gap.to), Range(0, 3 * 4096));
    EXPECT_EQ(gap.reason, (uint32_t)JOURNAL_GAP_EXPIRED);
    Found found = read_journal(folder_fd_, meta_, 0, log.end());
    EXPECT_EQ(found.records, log.records(3 * 4096));
    EXPECT_EQ(found.damaged, (std::vector<Range>{{0, 3 * 4096}}));
}

TEST_F(JournalWrite, TellsWhatWasLostAsLostStillWhenWhatLiesAroundItHasExpired)
{
    Log log;
    fill(log, 6);
    make(log, make_meta());
    struct journal_gap gap = make_gap(2 * 4096, 3 * 4096, JOURNAL_GAP_LOST);
    ASSERT_EQ(journal_note_gap(writer_, &gap), 0);
    char name[JOURNAL_SEGMENT_NAME_BYTES];
    journal_segment_name(2, name);
    ASSERT_EQ(unlinkat(folder_fd_, name, 0), 0);
    struct journal_meta meta;
    journal_close(writer_);
    ASSERT_EQ(journal_open(scratch_.fd(), "ring", &writer_, &meta), 0);
    ASSERT_EQ(journal_expire(writer_, 5), 0);
    const std::vector<std::pair<uint64_t, uint32_t>> told = {
        {0, JOURNAL_GAP_EXPIRED}, {2, JOURNAL_GAP_LOST}, {3, JOURNAL_GAP_EXPIRED}};
    for (auto [segment, reason] : told) {
        ASSERT_EQ(journal_find_gap(folder_fd_, segment * 4096, &gap), 0);
        EXPECT_EQ(gap.reason, reason) << segment;
    }
}

} // namespace
