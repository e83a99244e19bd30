/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pins, and what expires around them: a pin that was made is obeyed, whoever expires at the same time, whatever call
 * fails and whenever the power goes; nothing goes that the ledger does not tell. And the account of room that a writer
 * keeps to.
 */
// test: LINKS weir_journal weir_ringbuf LABELS tsan TIMEOUT 300

#include <atomic>
#include <thread>

#include "tests/journal_disk.hh"

using namespace journaltest;

namespace
{

constexpr uint64_t segment_bytes = (uint64_t)1 << small_shift;

struct Pin {
    std::string name;
    uint64_t from, to;
    bool operator==(const Pin &other) const
    {
        return name == other.name && from == other.from && to == other.to;
    }
};
std::ostream &operator<<(std::ostream &out, const Pin &pin)
{
    return out << pin.name << " [" << pin.from << ", " << pin.to << ")";
}

std::vector<Pin> pins_of(int folder_fd)
{
    std::vector<Pin> pins;
    auto take = [](void *ctx, const struct journal_pin *pin) {
        ((std::vector<Pin> *)ctx)->push_back({pin->name, pin->from, pin->to});
        return 0;
    };
    EXPECT_EQ(journal_pins(folder_fd, take, &pins), 0);
    return pins;
}

std::vector<uint64_t> segments_in(int folder_fd)
{
    std::vector<uint64_t> segments;
    for (const std::string &name : Scratch::names_in(folder_fd)) {
        uint64_t segment;
        if (journal_segment_number(name.c_str(), &segment))
            segments.push_back(segment);
    }
    std::sort(segments.begin(), segments.end());
    return segments;
}

using Numbers = std::vector<uint64_t>;

class JournalPins : public JournalTest
{
protected:
    JournalPins() : JournalTest(Scratch::MEMORY)
    {
    }
    /* Synced, `count` segments with a file, and the writer behind them: none of them is open. */
    void make_segments(unsigned count)
    {
        Log log;
        fill(log, count); /* and the next one's file is made ahead */
        ASSERT_NO_FATAL_FAILURE(make(log, make_meta()));
        close_writer();
        ASSERT_EQ(open_writer(), 0);
    }
    int pin(const char *name, uint64_t from_segment, uint64_t to_segment)
    {
        return journal_pin(folder_fd_, name, from_segment * segment_bytes, to_segment * segment_bytes);
    }
};

TEST_F(JournalPins, AreKeptInTheOrderOfTheirNames)
{
    create(make_meta());
    EXPECT_TRUE(pins_of(folder_fd_).empty());
    ASSERT_EQ(journal_pin(folder_fd_, "b", 10, 20), 0);
    ASSERT_EQ(journal_pin(folder_fd_, "c", 0, UINT64_MAX), 0);
    ASSERT_EQ(journal_pin(folder_fd_, "a", 7, 8), 0);
    EXPECT_EQ(pins_of(folder_fd_), (std::vector<Pin>{{"a", 7, 8}, {"b", 10, 20}, {"c", 0, UINT64_MAX}}));
    ASSERT_EQ(journal_pin(folder_fd_, "b", 11, 12), 0) << "replaced";
    ASSERT_EQ(journal_unpin(folder_fd_, "a"), 0);
    EXPECT_EQ(journal_unpin(folder_fd_, "a"), -ENOENT);
    EXPECT_EQ(pins_of(folder_fd_), (std::vector<Pin>{{"b", 11, 12}, {"c", 0, UINT64_MAX}}));
    ASSERT_EQ(journal_unpin(folder_fd_, nullptr), 0);
    EXPECT_TRUE(pins_of(folder_fd_).empty());
}

TEST_F(JournalPins, RefuseWhatMakesNoSenseAndLeaveAllAsItWas)
{
    create(make_meta());
    ASSERT_EQ(journal_pin(folder_fd_, "good", 1, 2), 0);
    EXPECT_EQ(journal_pin(folder_fd_, "good", 2, 2), -EINVAL);
    EXPECT_EQ(journal_pin(folder_fd_, "good", 3, 2), -EINVAL);
    EXPECT_EQ(journal_pin(folder_fd_, "", 1, 2), -EILSEQ);
    EXPECT_EQ(journal_pin(folder_fd_, "a/b", 1, 2), -EILSEQ);
    EXPECT_EQ(journal_pin(folder_fd_, std::string(65, 'x').c_str(), 1, 2), -ENAMETOOLONG);
    EXPECT_EQ(pins_of(folder_fd_), (std::vector<Pin>{{"good", 1, 2}}));
    for (uint32_t i = 1; i < JOURNAL_PINS_MAX; i++)
        ASSERT_EQ(journal_pin(folder_fd_, ("p" + std::to_string(i)).c_str(), i, i + 1), 0);
    EXPECT_EQ(journal_pin(folder_fd_, "one-too-many", 1, 2), -EFBIG);
    EXPECT_EQ(journal_pin(folder_fd_, "good", 5, 6), 0) << "no more than there were";
    EXPECT_EQ(pins_of(folder_fd_).size(), JOURNAL_PINS_MAX);
}

TEST_F(JournalPins, KeepTheSegmentsThatTheyTouchAndTheLedgerTellsTheOthers)
{
    ASSERT_NO_FATAL_FAILURE(make_segments(10));
    uint64_t count = 0;
    ASSERT_EQ(journal_pin(folder_fd_, "inside", 2 * segment_bytes + 64, 2 * segment_bytes + 128), 0);
    ASSERT_EQ(journal_pin(folder_fd_, "across", 5 * segment_bytes - 64, 5 * segment_bytes + 64), 0);
    ASSERT_EQ(journal_pin(folder_fd_, "edges", 7 * segment_bytes, 8 * segment_bytes), 0);
    ASSERT_EQ(journal_expire_some(writer_, 9, 3, &count), 0);
    EXPECT_EQ(count, 3u);
    EXPECT_EQ(segments_in(folder_fd_), (Numbers{2, 4, 5, 6, 7, 8, 9, 10})) << "the oldest three";
    ASSERT_EQ(journal_expire_some(writer_, 9, UINT64_MAX, &count), 0);
    EXPECT_EQ(count, 2u);
    EXPECT_EQ(segments_in(folder_fd_), (Numbers{2, 4, 5, 7, 9, 10}));
    EXPECT_EQ(ranges_of(folder_fd_, JOURNAL_GAP_EXPIRED), (std::vector<Range>{{0, 2 * segment_bytes},
                                                                              {3 * segment_bytes, 4 * segment_bytes},
                                                                              {6 * segment_bytes, 7 * segment_bytes},
                                                                              {8 * segment_bytes, 9 * segment_bytes}}));
    ASSERT_EQ(journal_expire(writer_, 9), 0) << "nothing is told twice";
    EXPECT_EQ(gaps_of(folder_fd_).size(), 4u);
    ASSERT_EQ(journal_unpin(folder_fd_, "across"), 0);
    ASSERT_EQ(journal_expire(writer_, 9), 0);
    EXPECT_EQ(segments_in(folder_fd_), (Numbers{2, 7, 9, 10}));
}

TEST_F(JournalPins, AreRefusedForWhatHasExpired)
{
    ASSERT_NO_FATAL_FAILURE(make_segments(6));
    ASSERT_EQ(pin("first", 2, 4), 0);
    ASSERT_EQ(journal_expire(writer_, 3), 0);
    EXPECT_EQ(pin("late", 0, 1), -ENODATA);
    EXPECT_EQ(pin("late", 1, 3), -ENODATA);
    EXPECT_EQ(pin("first", 0, 6), -ENODATA);
    EXPECT_EQ(pins_of(folder_fd_), (std::vector<Pin>{{"first", 2 * segment_bytes, 4 * segment_bytes}}));
    EXPECT_EQ(pin("late", 2, 100), 0) << "what is still to come, too";
}

/* The ledger is told, and then the power goes: the files are there again, and the range is expired all the same. */
TEST_F(JournalPins, AreRefusedForWhatHasBegunToExpire)
{
    ASSERT_NO_FATAL_FAILURE(make_segments(6));
    struct jio_hooks hooks = {[](void *, const struct jio_event *event) -> int64_t {
                                  return event->call == JIO_UNLINK || event->call == JIO_RENAME ? -EIO : 0;
                              },
                              nullptr, nullptr};
    jio_hooks = &hooks;
    EXPECT_EQ(journal_expire(writer_, 3), -EIO);
    jio_hooks = nullptr;
    EXPECT_EQ(segments_in(folder_fd_).front(), 0u);
    EXPECT_EQ(pin("late", 0, 1), -ENODATA);
    EXPECT_EQ(pin("other", 3, 4), 0);
}

TEST_F(JournalPins, OfADamagedFileStopAllThatExpiresUntilTheyAreTakenAway)
{
    ASSERT_NO_FATAL_FAILURE(make_segments(3));
    ASSERT_EQ(pin("a", 1, 2), 0);
    Bytes good = read_file(folder_fd_, JOURNAL_PINS_NAME);
    for (size_t i = 0; i < good.size(); i++) {
        Bytes bad = good;
        bad[i] ^= 0x10;
        write_file(folder_fd_, JOURNAL_PINS_NAME, bad);
        int expected = i >= 8 && i < 12 ? -EPROTONOSUPPORT : -EBADMSG;
        EXPECT_EQ(journal_expire(writer_, 2), expected) << i;
        EXPECT_EQ(pin("b", 2, 3), expected) << i;
        EXPECT_EQ(journal_unpin(folder_fd_, "a"), expected) << i;
    }
    for (size_t bytes = 0; bytes < good.size(); bytes++) {
        write_file(folder_fd_, JOURNAL_PINS_NAME, Bytes(good.begin(), good.begin() + (long)bytes));
        EXPECT_EQ(journal_expire(writer_, 2), -EBADMSG) << bytes;
    }
    EXPECT_EQ(segments_in(folder_fd_), (Numbers{0, 1, 2, 3}));
    EXPECT_TRUE(gaps_of(folder_fd_).empty());
    ASSERT_EQ(journal_unpin(folder_fd_, nullptr), 0);
    ASSERT_EQ(journal_expire(writer_, 2), 0);
    EXPECT_EQ(segments_in(folder_fd_), (Numbers{2, 3}));
}

/* -- Side by side -------------------------------------------------------------------------------------------------- */

TEST_F(JournalPins, WaitForWhoChangesThemAndNothingExpiresMeanwhile)
{
    ASSERT_NO_FATAL_FAILURE(make_segments(3));
    int fd = openat(folder_fd_, JOURNAL_PINS_LOCK_NAME, O_RDWR | O_CLOEXEC);
    ASSERT_EQ(jio_lock(fd), 0);
    EXPECT_EQ(journal_expire(writer_, 2), -EBUSY);
    EXPECT_EQ(segments_in(folder_fd_).front(), 0u);
    struct Asked {
        std::atomic<int> count{0};
    } asked;
    struct jio_hooks hooks = {[](void *ctx, const struct jio_event *event) -> int64_t {
                                  ((Asked *)ctx)->count += event->call == JIO_LOCK;
                                  return 0;
                              },
                              nullptr, &asked};
    jio_hooks = &hooks;
    std::thread tool([&] { EXPECT_EQ(pin("patient", 0, 1), 0); });
    while (asked.count < 3)
        std::this_thread::yield();
    close(fd);
    tool.join();
    jio_hooks = nullptr;
    EXPECT_EQ(pins_of(folder_fd_).size(), 1u);
}

TEST_F(JournalPins, OfSeveralAtOnceAreNotLost)
{
    create(make_meta());
    std::vector<std::thread> tools;
    for (int t = 0; t < 4; t++) {
        tools.emplace_back([this, t] {
            for (int i = 0; i < 20; i++) {
                std::string name = std::to_string(t) + "-" + std::to_string(i);
                EXPECT_EQ(journal_pin(folder_fd_, name.c_str(), 1, 2), 0);
                if (i % 2) {
                    EXPECT_EQ(journal_unpin(folder_fd_, name.c_str()), 0);
                }
            }
        });
    }
    for (std::thread &tool : tools)
        tool.join();
    EXPECT_EQ(pins_of(folder_fd_).size(), 4u * 10);
}

/* One takes the oldest away, one at a time; the other pins what it can. What it was given stays. */
TEST_F(JournalPins, ThatAreMadeWhileSegmentsExpireAreObeyedOrRefused)
{
    constexpr uint64_t segments = 200;
    ASSERT_NO_FATAL_FAILURE(make_segments(segments));
    std::atomic<uint64_t> refused{0};
    std::set<uint64_t> held;
    std::atomic<bool> over{false};
    auto pin_what_can_be = [&] {
        std::mt19937_64 random(1);
        for (uint64_t at = 0; at < segments;) {
            int result = pin("cursor", at, at + 1);
            if (result == -ENODATA) {
                refused++;
                at += 3;
                continue;
            }
            struct stat st;
            ASSERT_EQ(result, 0);
            ASSERT_EQ(fstatat(folder_fd_, segment_file(at).c_str(), &st, 0), 0) << at;
            ASSERT_EQ(pin(("s" + std::to_string(at)).c_str(), at, at + 1), 0) << at;
            held.insert(at);
            at += 1 + random() % 4;
        }
    };
    std::thread tool([&] {
        pin_what_can_be();
        over = true;
    });
    uint64_t count;
    for (uint64_t below = 1; below < segments || !over; below += below < segments) {
        int result = journal_expire_some(writer_, below, 1, &count);
        ASSERT_TRUE(result == 0 || result == -EBUSY) << result;
    }
    tool.join();
    ASSERT_EQ(journal_expire(writer_, segments), 0);
    for (uint64_t segment : segments_in(folder_fd_))
        held.erase(segment);
    EXPECT_TRUE(held.empty());
}

/* -- Faults -------------------------------------------------------------------------------------------------------- */

/* What holds afterwards, whatever failed: old pins are there, what went is told, what is pinned has not gone. */
void check_after(int folder_fd, bool pinned)
{
    std::vector<Pin> pins = pins_of(folder_fd);
    ASSERT_FALSE(pins.empty());
    EXPECT_EQ(pins.back(), (Pin{"old", segment_bytes, 2 * segment_bytes}));
    if (pinned) {
        EXPECT_EQ(pins.front(), (Pin{"new", 3 * segment_bytes, 4 * segment_bytes}));
    }
    Numbers segments = segments_in(folder_fd);
    std::set<uint64_t> there(segments.begin(), segments.end());
    EXPECT_EQ(there.count(1), 1u);
    if (pinned) {
        EXPECT_EQ(there.count(3), 1u);
    }
    for (uint64_t segment = 0; segment < 5; segment++) {
        struct journal_gap gap;
        if (there.count(segment) == 0) {
            EXPECT_EQ(journal_find_gap(folder_fd, segment * segment_bytes, &gap), 0) << segment;
        }
    }
}

/* Pins, and then lets expire. *ret_pinned: the pin was made. */
int pin_and_expire(int journal_fd, bool *ret_pinned)
{
    struct journal_writer *writer;
    struct journal_meta meta;
    int folder_fd = jio_open(journal_fd, "ring", O_RDONLY | O_DIRECTORY, 0);
    if (folder_fd < 0)
        return folder_fd;
    int result = journal_pin(folder_fd, "new", 3 * segment_bytes, 4 * segment_bytes);
    *ret_pinned = result == 0;
    jio_close(folder_fd);
    if (result == 0)
        result = journal_open(journal_fd, "ring", &writer, &meta);
    if (result < 0)
        return result;
    result = journal_expire(writer, 5);
    journal_close(writer);
    return result;
}

void make_folder(int journal_fd)
{
    Log log;
    fill(log, 6);
    struct journal_meta meta = make_meta(), opened;
    struct journal_writer *writer;
    ASSERT_EQ(journal_create(journal_fd, &meta), 0);
    ASSERT_EQ(journal_open(journal_fd, "ring", &writer, &opened), 0);
    ASSERT_EQ(log.write(writer, opened, log.start(), log.end()), 0);
    ASSERT_EQ(journal_sync(writer), 0);
    journal_close(writer);
    int folder_fd = openat(journal_fd, "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    EXPECT_EQ(journal_pin(folder_fd, "old", segment_bytes, 2 * segment_bytes), 0);
    close(folder_fd);
}

void check_folder(int journal_fd, bool pinned)
{
    int folder_fd = openat(journal_fd, "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT_GE(folder_fd, 0);
    check_after(folder_fd, pinned);
    close(folder_fd);
    bool again = false;
    EXPECT_EQ(pin_and_expire(journal_fd, &again), 0);
}

TEST_F(JournalPins, AreObeyedWhicheverCallFails)
{
    struct Nth {
        uint64_t left;
        int error;
    };
    for (int error : {-EIO, -ENOSPC, -EMFILE}) {
        for (uint64_t n = 1;; n++) {
            SCOPED_TRACE(std::to_string(error) + " at call " + std::to_string(n));
            Scratch scratch(Scratch::MEMORY);
            ASSERT_NO_FATAL_FAILURE(make_folder(scratch.fd()));
            Nth nth = {n, error};
            struct jio_hooks hooks = {[](void *ctx, const struct jio_event *event) -> int64_t {
                                          Nth *nth = (Nth *)ctx;
                                          return event->call != JIO_CLOSE && nth->left > 0 && --nth->left == 0
                                                     ? nth->error
                                                     : 0;
                                      },
                                      nullptr, &nth};
            size_t descriptors = open_descriptors();
            bool pinned = false;
            jio_hooks = &hooks;
            pin_and_expire(scratch.fd(), &pinned);
            jio_hooks = nullptr;
            EXPECT_EQ(open_descriptors(), descriptors);
            check_folder(scratch.fd(), pinned);
            ASSERT_FALSE(HasFailure());
            if (nth.left > 0)
                break;
        }
    }
}

TEST_F(JournalPins, AreObeyedWheneverThePowerGoes)
{
    for (uint64_t n = 1;; n++) {
        Scratch scratch(Scratch::MEMORY);
        ASSERT_NO_FATAL_FAILURE(make_folder(scratch.fd()));
        bool lost, pinned = false;
        Disk disk(scratch.fd(), n);
        disk.lose_power_at(n);
        pin_and_expire(scratch.fd(), &pinned);
        lost = disk.lost_power();
        disk.unplug();
        for (int i = 0; i < 6; i++) {
            SCOPED_TRACE("call " + std::to_string(n) + ", remains " + std::to_string(i));
            Scratch after(Scratch::MEMORY);
            disk.make_remains(after.fd());
            check_folder(after.fd(), pinned);
            ASSERT_FALSE(HasFailure());
        }
        if (!lost)
            break;
    }
}

/* -- Room ---------------------------------------------------------------------------------------------------------- */

struct Account {
    uint64_t used = 0, promised = 0, limit = UINT64_MAX, spare_limit = UINT64_MAX;
    uint64_t most = 0;

    struct journal_room room()
    {
        return {take, settle, give, this};
    }

private:
    static int take(void *ctx, uint64_t bytes, enum journal_room_want want)
    {
        Account *account = (Account *)ctx;
        EXPECT_EQ(account->promised, 0u);
        if (account->used + bytes > (want == JOURNAL_ROOM_SPARE ? account->spare_limit : account->limit))
            return -EDQUOT;
        account->promised = bytes;
        return 0;
    }
    static void settle(void *ctx, uint64_t bytes, bool made)
    {
        Account *account = (Account *)ctx;
        EXPECT_EQ(account->promised, bytes);
        account->promised = 0;
        account->used += made ? bytes : 0;
        account->most = std::max(account->most, account->used);
    }
    static void give(void *ctx, uint64_t bytes)
    {
        Account *account = (Account *)ctx;
        EXPECT_GE(account->used, bytes);
        account->used -= bytes;
    }
};

class JournalRoom : public JournalPins
{
protected:
    /* What the account must say. */
    uint64_t used()
    {
        uint64_t bytes = 0;
        EXPECT_EQ(journal_bytes(scratch_.fd(), "ring", &bytes), 0);
        return bytes;
    }
};

TEST_F(JournalRoom, IsAskedForBeforeFilesAreMadeAndGivenBackWhenTheyGo)
{
    Account account;
    struct journal_room room = account.room();
    Log log;
    std::mt19937_64 random(3);
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    ASSERT_EQ(journal_set_room(writer_, &room, &account.used), 0);
    uint64_t written = 0;
    for (int i = 0; i < 400; i++) {
        log.append(pattern(random(), random() % 1500));
        account.limit = random() % 4 ? UINT64_MAX : account.used;
        account.spare_limit = random() % 4 ? UINT64_MAX : account.used;
        switch (random() % 5) {
        case 0:
            ASSERT_EQ(journal_sync(writer_), 0);
            break;
        case 1:
            ASSERT_GE(journal_prepare(writer_), 0);
            break;
        case 2:
            journal_keep_spares(writer_, random() % 4 != 0);
            break;
        case 3: {
            ASSERT_EQ(journal_sync(writer_), 0);
            uint64_t below = written / segment_bytes;
            ASSERT_EQ(journal_expire(writer_, below > 2 ? below - 2 : 0), 0);
            break;
        }
        default: {
            uint64_t bytes = segment_bytes - (written & (segment_bytes - 1));
            bytes = std::min(bytes, log.end() - written);
            int result = log.write(writer_, meta_, written, written + bytes);
            ASSERT_TRUE(result == 0 || result == -EDQUOT) << result;
            EXPECT_EQ(journal_ended(writer_), 0);
            written += result == 0 ? bytes : 0;
        }
        }
        ASSERT_EQ(account.used, used()) << i;
    }
    const uint64_t *segments;
    size_t count;
    ASSERT_EQ(journal_segments(writer_, &segments, &count), 0);
    EXPECT_EQ(Numbers(segments, segments + count), segments_in(folder_fd_));
}

TEST_F(JournalRoom, ThatIsRefusedEndsNothingAndNothingIsLost)
{
    Account account;
    struct journal_room room = account.room();
    Log log;
    fill(log, 6);
    create(make_meta());
    ASSERT_EQ(open_writer(), 0);
    ASSERT_EQ(journal_set_room(writer_, &room, &account.used), 0);
    uint64_t file = journal_file_bytes(writer_), written = 0;
    account.limit = 3 * file;
    for (int round = 0; written < log.end(); round++) {
        ASSERT_LT(round, 20);
        uint64_t to = std::min(log.end(), (written / segment_bytes + 1) * segment_bytes);
        int result = log.write(writer_, meta_, written, to);
        if (result == 0) {
            written = to;
            continue;
        }
        ASSERT_EQ(result, -EDQUOT);
        EXPECT_LE(used(), account.limit);
        ASSERT_EQ(journal_sync(writer_), 0);
        account.limit += file;
    }
    ASSERT_EQ(journal_sync(writer_), 0);
    EXPECT_EQ(read_journal(folder_fd_, meta_, 0, log.end()).records, log.records());
}

/* -- Age ----------------------------------------------------------------------------------------------------------- */

TEST_F(JournalPins, SegmentsTellWhenTheirFirstRecordCameAlsoInACopy)
{
    Log log;
    fill(log, 1);
    ASSERT_NO_FATAL_FAILURE(make(log, make_meta()));
    uint64_t made_ahead = journal_wall_ns(), created, first;
    ASSERT_EQ(segments_in(folder_fd_), (Numbers{0, 1})) << "the next one is there already";
    EXPECT_LT(journal_segment_created(writer_, 1, &created), 0) << "nothing is in it yet";
    uint64_t from = log.end();
    fill(log, 1);
    ASSERT_EQ(log.write(writer_, meta_, from, log.end()), 0);
    ASSERT_EQ(journal_segment_created(writer_, 1, &created), 0);
    EXPECT_GE(created, made_ahead);
    ASSERT_EQ(journal_segment_created(writer_, 0, &first), 0);
    EXPECT_LT(first, made_ahead);
    ASSERT_EQ(journal_sync(writer_), 0);
    Bytes content = read_file(folder_fd_, segment_file(1));
    ASSERT_EQ(unlinkat(folder_fd_, segment_file(1).c_str(), 0), 0);
    write_file(folder_fd_, segment_file(1), content);
    uint64_t copied;
    ASSERT_EQ(journal_segment_created(writer_, 1, &copied), 0);
    EXPECT_EQ(copied, created);
}

} // namespace
