/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damaged, cut and torn files: no crash, no record that was never written, none of the good ones lost, and the damage told
 * to the byte. The damage is done byte by byte over whole small journals.
 */
// test: LINKS weir_journal weir_ringbuf TIMEOUT 600

#include "tests/journal_support.hh"

using namespace journaltest;

namespace
{

class JournalDamage : public JournalTest
{
protected:
    JournalDamage() : JournalTest(Scratch::MEMORY)
    {
    }

    /* A journal of so many full segments, closed. meta.durable is its start: everything is to be scanned. */
    void make_full(Log &log, unsigned segments, const struct journal_meta &meta)
    {
        fill(log, segments);
        make(log, meta);
        close_writer();
    }

    const Record *record_at(const Log &log, uint64_t position)
    {
        for (const Record &record : log.all()) {
            if (record.position <= position && position < record.next)
                return &record;
        }
        return nullptr;
    }

    /* What reading and recovery must say when just these records are bad. */
    void expect_only_bad(const Log &log, const std::vector<const Record *> &bad, const std::string &what)
    {
        std::vector<Record> good = log.records();
        std::vector<Range> ranges, inner;
        for (const Record *record : bad) {
            for (size_t i = 0; i < good.size(); i++) {
                if (good[i] == *record)
                    good.erase(good.begin() + (long)i);
            }
            if (!ranges.empty() && ranges.back().second == record->position)
                ranges.back().second = record->next;
            else
                ranges.push_back({record->position, record->next});
        }
        Found found = read_journal(folder_fd_, meta_, log.start(), log.end());
        ASSERT_EQ(found.records, good) << what;
        ASSERT_EQ(found.damaged, ranges) << what;
        ASSERT_EQ(found.error, 0) << what;

        uint64_t end = log.end();
        inner = ranges;
        if (!inner.empty() && inner.back().second == end) {
            end = inner.back().first;
            inner.pop_back();
        }
        uint64_t recovered = 0;
        for (int i = 0; i < 2; i++) { /* the second time nothing is noted again */
            ASSERT_EQ(open_writer(), 0);
            ASSERT_EQ(recover(&recovered), 0);
            close_writer();
            ASSERT_EQ(recovered, end) << what;
            ASSERT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED), inner) << what;
        }
    }

    void forget_gaps()
    {
        unlinkat(folder_fd_, "ledger", 0);
    }
};

TEST_F(JournalDamage, OfAnyOneByteCostsNoMoreThanTheRecordThatHoldsIt)
{
    Log log;
    make_full(log, 3, make_meta());
    for (uint64_t segment = 0; segment < 3; segment++) {
        Bytes file = read_file(folder_fd_, segment_file(segment));
        for (uint64_t at = 0;
             at<file.size(); at += at> 200 && at < 4000 ? 97 : 1) { /* the header is shorter than its block */
            uint8_t bit = (uint8_t)(1u << ((at * 5 + segment) % 8)), changed = (uint8_t)(file[at] ^ bit);
            patch_file(folder_fd_, segment_file(segment), at, &changed, 1);
            std::vector<const Record *> bad;
            const Record *record = at >= 4096 && segment * 4096 + at - 4096 < log.end()
                                       ? record_at(log, segment * 4096 + at - 4096)
                                       : nullptr;
            if (record && segment * 4096 + at - 4096 - record->position < record->covered())
                bad.push_back(record);
            expect_only_bad(log, bad, "byte " + std::to_string(at) + " of segment " + std::to_string(segment));
            if (HasFatalFailure())
                return;
            if (!bad.empty())
                forget_gaps();
            patch_file(folder_fd_, segment_file(segment), at, &file[at], 1);
        }
    }
}

TEST_F(JournalDamage, OfAFileCutAtAnyLengthCostsWhatWasCutOff)
{
    Log log;
    make_full(log, 3, make_meta());
    for (uint64_t segment = 0; segment < 3; segment++) {
        Bytes file = read_file(folder_fd_, segment_file(segment));
        for (uint64_t bytes = 0; bytes < file.size(); bytes += bytes < 4096 && bytes > 200 ? 97 : 1) {
            cut_file(folder_fd_, segment_file(segment), bytes);
            std::vector<const Record *> bad;
            for (const Record &record : log.all()) {
                if (record.position / 4096 == segment && record.position % 4096 + 4096 + record.covered() > bytes)
                    bad.push_back(&record);
            }
            expect_only_bad(log, bad, std::to_string(bytes) + " bytes of segment " + std::to_string(segment));
            if (HasFatalFailure())
                return;
            forget_gaps();
            write_file(folder_fd_, segment_file(segment), file);
        }
    }
}

TEST_F(JournalDamage, OfManyBytesInventsNothingAndLosesNothingElse)
{
    Log log;
    make_full(log, 4, make_meta());
    std::mt19937_64 random(7);
    for (int i = 0; i < 1500; i++) {
        uint64_t segment = random() % 4;
        Bytes file = read_file(folder_fd_, segment_file(segment)), damaged = file;
        uint64_t from = random() % file.size(), to = std::min<uint64_t>(file.size(), from + random() % 700);
        for (uint64_t at = from; at < to; at++)
            damaged[at] = (uint8_t)(i % 3 == 0 ? 0 : i % 3 == 1 ? 0xff : random());
        write_file(folder_fd_, segment_file(segment), damaged);
        std::vector<const Record *> bad;
        for (const Record &record : log.all()) {
            if (record.position / 4096 != segment)
                continue;
            uint64_t first = record.position % 4096 + 4096;
            if (!std::equal(damaged.begin() + (long)first, damaged.begin() + (long)(first + record.covered()),
                            file.begin() + (long)first))
                bad.push_back(&record);
        }
        expect_only_bad(log, bad, "round " + std::to_string(i));
        if (HasFatalFailure())
            return;
        forget_gaps();
        write_file(folder_fd_, segment_file(segment), file);
    }
}

TEST_F(JournalDamage, OfAHeaderCostsNoRecordInAnyEpoch)
{
    Log log;
    fill(log, 3);
    make(log, make_meta());
    Log second(3 * 4096);
    meta_.identity.epoch = 2;
    meta_.identity.start = meta_.durable = 3 * 4096;
    ASSERT_EQ(journal_set_meta(writer_, &meta_), 0);
    fill(second, 3, 2);
    ASSERT_EQ(second.write(writer_, meta_, second.start(), second.end()), 0);
    ASSERT_EQ(journal_sync(writer_), 0);
    close_writer();
    std::vector<Record> expected = log.records(), more = second.records();
    expected.insert(expected.end(), more.begin(), more.end());
    for (uint64_t segment = 0; segment < 6; segment++) {
        Bytes file = read_file(folder_fd_, segment_file(segment));
        Bytes damaged = file;
        std::fill(damaged.begin(), damaged.begin() + 4096, (uint8_t)0xa5);
        write_file(folder_fd_, segment_file(segment), damaged);
        Found found = read_journal(folder_fd_, meta_, 0, second.end());
        EXPECT_EQ(found.records, expected) << segment;
        write_file(folder_fd_, segment_file(segment), file);
    }
    /* The writer goes on in such a file without touching what is in it. */
    Bytes nothing(4096, 0);
    patch_file(folder_fd_, segment_file(5), 0, nothing.data(), nothing.size());
    ASSERT_EQ(open_writer(), 0);
    uint64_t end = second.end();
    second.append("more");
    ASSERT_EQ(second.write(writer_, meta_, end, second.end()), 0);
    ASSERT_EQ(journal_sync(writer_), 0);
    expected.push_back(second.records().back());
    EXPECT_EQ(read_journal(folder_fd_, meta_, 0, second.end()).records, expected);
}

TEST_F(JournalDamage, RecordsDoNotCheckInAnotherPlaceRingOrEpoch)
{
    Log log;
    make_full(log, 2, make_meta());
    /* All of segment 0 as segment 1, header and all; then with segment 1's own header. */
    Bytes first = read_file(folder_fd_, segment_file(0)), second = read_file(folder_fd_, segment_file(1));
    write_file(folder_fd_, segment_file(1), first);
    EXPECT_EQ(read_journal(folder_fd_, meta_, 4096, 8192).records, std::vector<Record>{});
    std::copy(second.begin(), second.begin() + 4096, first.begin());
    write_file(folder_fd_, segment_file(1), first);
    EXPECT_EQ(read_journal(folder_fd_, meta_, 4096, 8192).records, std::vector<Record>{});
    /* Under the header of another epoch, or ring. */
    for (int what = 0; what < 2; what++) {
        Bytes changed = second;
        struct journal_segment_header header;
        memcpy(&header, changed.data(), sizeof(header));
        if (what == 0)
            header.epoch++;
        else
            header.ring_id[7]++;
        header.crc = journal_crc32c(0, &header, offsetof(struct journal_segment_header, crc));
        memcpy(changed.data(), &header, sizeof(header));
        write_file(folder_fd_, segment_file(1), changed);
        struct journal_meta meta = meta_;
        if (what == 1) {
            memcpy(meta.identity.ring_id, header.ring_id, 16);
            unlinkat(folder_fd_, "meta", 0);
        }
        EXPECT_EQ(read_journal(folder_fd_, meta, 4096, 8192).records, std::vector<Record>{});
    }
}

TEST_F(JournalDamage, IsFoundQuicklyInALongRecordFullOfWhatLooksLikeHeaders)
{
    Log log(0, RING_SEGMENT_SHIFT_MAX);
    log.append("good");
    /* A record of nearly 32 MiB; each unit of its body claims to be a record that reaches to the end of the segment. */
    std::string body((32u << 20) - 16, 0);
    for (size_t at = 48; at + 16 <= body.size(); at += 64) {
        uint32_t units = (uint32_t)(((64u << 20) - 64 - 16 - at) / 64);
        uint64_t head = head_make(RING_READY, 0, units, 0, 0);
        uint32_t body_bytes = units * 64 - 16;
        memcpy(body.data() + at, &head, 8);
        memcpy(body.data() + at + 8, &body_bytes, 4);
    }
    Record damaged = log.append(body);
    log.append("behind");
    make(log, make_meta("ring", RING_SEGMENT_SHIFT_MAX));
    close_writer();
    uint8_t byte = 0xee;
    patch_file(folder_fd_, segment_file(0), 4096 + damaged.position + 20, &byte, 1);
    Found found = read_journal(folder_fd_, meta_, 0, log.end());
    EXPECT_EQ(found.records.size(), 2u);
    EXPECT_EQ(found.damaged, (std::vector<Range>{{damaged.position, damaged.next}}));
}

/* -- Recovery ------------------------------------------------------------------------------------------------- */

class JournalRecovery : public JournalDamage
{
protected:
    uint64_t recover_now()
    {
        uint64_t recovered = 0;
        EXPECT_EQ(open_writer(), 0);
        EXPECT_EQ(recover(&recovered), 0);
        close_writer();
        return recovered;
    }
};

TEST_F(JournalRecovery, FindsTheExactEndAfterATornWriteOverOlderBytes)
{
    /* `older`: what an earlier epoch could have left in the file, good records of the same ring and position, were they
     * of this epoch. */
    struct journal_meta meta = make_meta(), old_meta = meta;
    meta.identity.epoch = 2;
    for (bool garbage : {false, true}) {
        Log log, older;
        fill(older, 2, 3);
        Bytes old_bytes = garbage ? older.sealed(old_meta, 0, 4096) : Bytes(4096, 0);
        fill(log, 1);
        struct journal_meta named = meta;
        strcpy(named.identity.name, garbage ? "garbage" : "zeros");
        make_full(log, 0, named);
        Bytes file = read_file(folder_fd_, segment_file(0));
        for (size_t from = 0; from < log.all().size(); from += 3) {
            uint64_t begin = log.all()[from].position;
            for (uint64_t cut = begin / 512 * 512; cut <= 4096; cut += 512) {
                uint64_t kept = std::max(begin, cut);
                Bytes torn = file;
                std::copy(old_bytes.begin() + (long)kept, old_bytes.end(), torn.begin() + 4096 + (long)kept);
                write_file(folder_fd_, segment_file(0), torn);
                uint64_t end = 0;
                for (const Record &record : log.all()) {
                    uint64_t covered_to = record.position + record.covered();
                    if (!std::equal(torn.begin() + 4096 + (long)record.position, torn.begin() + 4096 + (long)covered_to,
                                    file.begin() + 4096 + (long)record.position))
                        break;
                    end = record.next;
                }
                ASSERT_EQ(recover_now(), end) << "from " << begin << " cut at " << cut;
                ASSERT_EQ(gaps_of(folder_fd_).size(), 0u);
            }
        }
        close(folder_fd_);
        folder_fd_ = -1;
    }
}

TEST_F(JournalRecovery, TakesDamageBeforeGoodRecordsForDamageAndNotForTheEnd)
{
    Log log;
    make_full(log, 5, make_meta());
    /* From the middle of segment 1 to the middle of segment 3, and all of segment 2's file gone. */
    Bytes nothing(2048, 0);
    patch_file(folder_fd_, segment_file(1), 4096 + 2048, nothing.data(), 2048);
    unlinkat(folder_fd_, segment_file(2).c_str(), 0);
    patch_file(folder_fd_, segment_file(3), 4096, nothing.data(), 2048);
    uint64_t from = 0, to = UINT64_MAX;
    for (const Record &record : log.all()) {
        if (record.position + record.covered() > 4096 + 2048) {
            from = record.position;
            break;
        }
    }
    for (const Record &record : log.all()) {
        if (record.position >= 3 * 4096 + 2048) {
            to = record.position;
            break;
        }
    }
    /* What the caller writes once more is not damaged for long: only what lies below is noted. */
    uint64_t recovered = 0;
    for (uint64_t again_from : {from, from + 1024}) {
        ASSERT_EQ(open_writer(), 0);
        EXPECT_EQ(journal_recover(writer_, UINT64_MAX, again_from, nullptr, nullptr, &recovered), 0);
        close_writer();
        EXPECT_EQ(recovered, log.end());
        EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED).size(), again_from == from ? 0u : 1u);
    }
    unlinkat(folder_fd_, "ledger", 0);
    recovered = recover_now();
    EXPECT_EQ(recovered, log.end());
    EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED), (std::vector<Range>{{from, to}}));
    recover_now();
    EXPECT_EQ(gaps_of(folder_fd_).size(), 1u);
}

TEST_F(JournalRecovery, NotesOnlyWhatTheLedgerDoesNotTell)
{
    Log log;
    make_full(log, 4, make_meta());
    unlinkat(folder_fd_, segment_file(1).c_str(), 0);
    unlinkat(folder_fd_, segment_file(2).c_str(), 0);
    ASSERT_EQ(open_writer(), 0);
    for (auto [from, to] : std::vector<Range>{{4096 + 640, 4096 + 1280}, {2 * 4096 - 64, 2 * 4096 + 128}, {0, 64}}) {
        struct journal_gap gap = {from, to, 1, 1, JOURNAL_GAP_LOST};
        ASSERT_EQ(journal_note_gap(writer_, &gap), 0);
    }
    close_writer();
    EXPECT_EQ(recover_now(), log.end());
    EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED),
              (std::vector<Range>{{4096, 4096 + 640}, {4096 + 1280, 2 * 4096 - 64}, {2 * 4096 + 128, 3 * 4096}}));
}

TEST_F(JournalRecovery, NeverEndsBelowWhatWasDurable)
{
    Log log;
    fill(log, 3);
    make(log, make_meta());
    meta_.durable = log.end();
    ASSERT_EQ(journal_set_meta(writer_, &meta_), 0);
    close_writer();
    EXPECT_EQ(recover_now(), log.end());
    EXPECT_EQ(gaps_of(folder_fd_).size(), 0u);
    /* All files gone, or their ends: what was synced is missing, and that is said when it is looked at. */
    const Record &last = log.all().back();
    Bytes nothing(last.covered(), 0);
    patch_file(folder_fd_, segment_file(2), 4096 + last.position % 4096, nothing.data(), nothing.size());
    EXPECT_EQ(recover_now(), log.end());
    uint64_t recovered = 0;
    ASSERT_EQ(open_writer(), 0);
    ASSERT_EQ(recover(&recovered, 0), 0);
    EXPECT_EQ(recovered, log.end());
    EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED), (std::vector<Range>{{last.position, last.next}}));
    close_writer();
    for (uint64_t segment = 0; segment < 4; segment++)
        unlinkat(folder_fd_, segment_file(segment).c_str(), 0);
    recovered = recover_now();
    EXPECT_EQ(recovered, log.end());
}

TEST_F(JournalRecovery, OfAnEmptyJournalEndsAtItsStart)
{
    create(make_meta("ring", small_shift, 1 << 20));
    uint64_t recovered = recover_now();
    EXPECT_EQ(recovered, 1u << 20);
    ASSERT_EQ(open_writer(), 0);
    ASSERT_EQ(recover(&recovered, 0), 0) << "counting from 0 where nothing ever was";
    EXPECT_EQ(recovered, 1u << 20);
    EXPECT_EQ(gaps_of(folder_fd_).size(), 0u);
}

TEST_F(JournalRecovery, EndsBehindPaddingToo)
{
    Log log;
    log.append("x");
    log.pad(3);
    make(log, make_meta());
    close_writer();
    EXPECT_EQ(recover_now(), 4u * 64);
}

TEST_F(JournalRecovery, ScansFromTheDurablePositionAndCountsFromWhereItIsTold)
{
    Log log;
    std::vector<Range> all; /* position, sequence */
    for (uint64_t i = 1; i <= 300; i++) {
        struct ring_meta properties = {};
        uint32_t bytes;
        properties.present = RING_HAS_SEQUENCE;
        properties.producer = 5;
        properties.sequence = i;
        ASSERT_EQ(ring_meta_bytes(&properties, &bytes), 0);
        std::string body(bytes, 0);
        ring_meta_put(&properties, (uint8_t *)body.data());
        all.push_back({log.append(body, 0, RING_FLAG_PROPERTIES).position, i});
        log.append("x");
    }
    make(log, make_meta());
    auto count = [&](uint64_t from) {
        std::vector<uint64_t> sequences;
        uint64_t recovered = 0;
        EXPECT_EQ(
            journal_recover(
                writer_, from, UINT64_MAX,
                [](void *ctx, uint64_t, uint64_t sequence) { ((std::vector<uint64_t> *)ctx)->push_back(sequence); },
                &sequences, &recovered),
            0);
        EXPECT_EQ(recovered, log.end());
        return sequences;
    };
    auto expected = [&](uint64_t from) {
        std::vector<uint64_t> sequences;
        for (auto [position, sequence] : all) {
            if (position >= from)
                sequences.push_back(sequence);
        }
        return sequences;
    };
    EXPECT_EQ(count(0), expected(0));
    EXPECT_EQ(count(all[100].first), expected(all[100].first));
    meta_.durable = all[200].first;
    ASSERT_EQ(journal_set_meta(writer_, &meta_), 0);
    EXPECT_EQ(count(0), expected(0));
    EXPECT_EQ(count(all[250].first), expected(all[250].first));
    EXPECT_EQ(count(UINT64_MAX), std::vector<uint64_t>{});
    /* What is not kept any more cannot be counted, and is no damage. */
    ASSERT_EQ(journal_sync(writer_), 0);
    ASSERT_EQ(journal_expire(writer_, 1), 0);
    EXPECT_EQ(count(0), expected(4096));
    EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED), std::vector<Range>{});
    /* Below the durable position, and not to be counted, nothing is looked at. */
    Bytes nothing(100, 0);
    patch_file(folder_fd_, segment_file(1), 4096, nothing.data(), nothing.size());
    EXPECT_EQ(count(UINT64_MAX), std::vector<uint64_t>{});
    EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED), std::vector<Range>{});
}

TEST_F(JournalRecovery, GoesOverTheJumpBetweenEpochs)
{
    Log first;
    fill(first, 2);
    make(first, make_meta());
    uint64_t lease = 10 * 4096;
    struct journal_gap lost = {first.end(), lease, 1, 1, JOURNAL_GAP_LOST};
    ASSERT_EQ(journal_note_gap(writer_, &lost), 0);
    meta_.identity.epoch = 2;
    meta_.identity.start = lease;
    ASSERT_EQ(journal_set_meta(writer_, &meta_), 0); /* durable is still below the start */
    close_writer();
    EXPECT_EQ(recover_now(), lease) << "an epoch without records";
    ASSERT_EQ(open_writer(), 0);
    Log second(lease);
    fill(second, 2, 2);
    ASSERT_EQ(second.write(writer_, meta_, lease, second.end()), 0);
    uint64_t recovered = 0;
    ASSERT_EQ(recover(&recovered, 0), 0);
    EXPECT_EQ(recovered, second.end());
    EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_DAMAGED), std::vector<Range>{});
    std::vector<Record> expected = first.records(), more = second.records();
    expected.insert(expected.end(), more.begin(), more.end());
    EXPECT_EQ(read_journal(folder_fd_, meta_, 0, second.end()).records, expected);
}

/* A daemon that died may have left records in the kernel alone, even in pages that it could not write out. */
TEST_F(JournalRecovery, WritesAndSyncsAllAboveTheDurablePositionBeforeItTellsTheEnd)
{
    Log log;
    fill(log, 3);
    make(log, make_meta());
    uint64_t durable = log.all()[3].position;
    meta_.durable = durable;
    ASSERT_EQ(journal_set_meta(writer_, &meta_), 0);
    struct Seen {
        std::map<int, uint64_t> file_of, dirty;
        std::map<uint64_t, std::pair<uint64_t, uint64_t>> secured; /* segment: from, to */
        bool folder = false;
    } seen;
    struct jio_hooks hooks = {nullptr,
                              [](void *ctx, const struct jio_event *event, int64_t result) {
                                  Seen *s = (Seen *)ctx;
                                  uint64_t segment;
                                  if (event->call == JIO_OPEN && event->name &&
                                      journal_segment_number(event->name, &segment))
                                      s->file_of[(int)result] = segment;
                                  if (event->call == JIO_CLOSE)
                                      s->file_of.erase(event->fd);
                                  if (event->call == JIO_SYNC)
                                      s->folder = true;
                                  if (event->call == JIO_WRITE && s->file_of.count(event->fd))
                                      s->dirty[s->file_of[event->fd]] = event->offset + event->bytes - 4096;
                                  if (event->call == JIO_SYNC_DATA && s->file_of.count(event->fd))
                                      s->secured[s->file_of[event->fd]].second = s->dirty[s->file_of[event->fd]];
                              },
                              &seen};
    uint64_t recovered = 0;
    jio_hooks = &hooks;
    ASSERT_EQ(recover(&recovered), 0);
    jio_hooks = nullptr;
    EXPECT_EQ(recovered, log.end());
    EXPECT_TRUE(seen.folder);
    EXPECT_EQ(seen.secured[0].second, 4096u);
    EXPECT_EQ(seen.secured[1].second, 4096u);
    EXPECT_EQ(seen.secured[2].second, log.end() - 2 * 4096);
    EXPECT_EQ(read_journal(folder_fd_, meta_, 0, log.end()).records, log.records());
}

TEST_F(JournalRecovery, DecidesNothingWhereTheDiskCannotRead)
{
    Log log(0, 16);
    fill(log, 2);
    make(log, make_meta("ring", 16));
    /* In each file one block is bad: the bytes of the segment from 8192 to 12288. */
    struct jio_hooks hooks = {[](void *, const struct jio_event *event) -> int64_t {
                                  bool bad = event->call == JIO_READ && event->offset < 4096 + 12288 &&
                                             event->offset + event->bytes > 4096 + 8192;
                                  return bad ? -EIO : 0;
                              },
                              nullptr, nullptr};
    uint64_t recovered = 0;
    jio_hooks = &hooks;
    EXPECT_EQ(recover(&recovered), -EIO);
    /* A reader is told so too, and can go on behind what cannot be read. */
    struct journal_reader *reader;
    struct ring_item item;
    ASSERT_EQ(journal_reader_open(folder_fd_, meta_.identity.ring_id, 16, &reader), 0);
    int result;
    std::vector<Record> got, expected;
    for (;;) {
        while ((result = journal_reader_next(reader, log.end(), &item)) == 1)
            got.push_back(record_of(item));
        if (result != -EIO)
            break;
        ASSERT_GT(journal_reader_resync(reader, log.end()), 0u);
    }
    journal_reader_close(reader);
    jio_hooks = nullptr;
    EXPECT_EQ(result, 0);
    for (const Record &record : log.records()) {
        uint64_t from = record.position % 65536;
        if (from + record.covered() <= 8192 || from >= 12288)
            expected.push_back(record);
    }
    EXPECT_EQ(got, expected);
    EXPECT_EQ(recover(&recovered), 0) << "when the disk reads again, all is there";
    EXPECT_EQ(recovered, log.end());
    EXPECT_EQ(gaps_of(folder_fd_).size(), 0u);
}

} // namespace
