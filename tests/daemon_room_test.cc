/* SPDX-License-Identifier: Apache-2.0 */
/* The account of room: what is granted to several at once, and when, and what those who expire are told to give up. */
// test: LINKS weird_core weir_journal weir_shm weir_ringbuf LABELS tsan TIMEOUT 120

#include "tests/journal_support.hh"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

extern "C" {
#include "daemon/policy.h"
#include "daemon/room.h"
}

using namespace journaltest;

namespace
{

constexpr uint64_t segment_bytes = (uint64_t)1 << small_shift;
constexpr uint64_t file_bytes = segment_bytes + JOURNAL_BLOCK_BYTES;

/* A disk of so many bytes, which knows what was allocated on it. */
class SmallDisk
{
public:
    explicit SmallDisk(uint64_t bytes) : bytes_(bytes)
    {
        hooks_ = {before, after, this};
        jio_hooks = &hooks_;
    }
    SmallDisk(const SmallDisk &) = delete;
    SmallDisk &operator=(const SmallDisk &) = delete;
    ~SmallDisk()
    {
        jio_hooks = nullptr;
    }
    uint64_t used() const
    {
        return used_;
    }
    /* With what others have. */
    void fill(bool full)
    {
        others_ = full ? bytes_ - used_ : 0;
    }

private:
    static int64_t before(void *ctx, const struct jio_event *event)
    {
        SmallDisk *disk = (SmallDisk *)ctx;
        if (event->call == JIO_ALLOCATE) /* as long as it takes: who was granted room has not got it yet */
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        return event->call == JIO_ROOM ? (int64_t)std::max<uint64_t>(disk->bytes_ - disk->used_ - disk->others_, 1) : 0;
    }
    static void after(void *ctx, const struct jio_event *event, int64_t result)
    {
        SmallDisk *disk = (SmallDisk *)ctx;
        if (event->call == JIO_ALLOCATE && result == 0 && event->bytes == file_bytes)
            disk->used_ += event->bytes;
    }

    uint64_t bytes_;
    std::atomic<uint64_t> used_{0}, others_{0};
    struct jio_hooks hooks_;
};

class DaemonRoom : public ::testing::Test
{
protected:
    /* A journal with its share of the room. */
    struct Ring {
        Ring(DaemonRoom &test, const char *name, enum policy_when_limited when_limited = POLICY_LIMITED_BLOCK,
             uint64_t limit_bytes = 0)
            : test_(test)
        {
            meta_ = make_meta(name);
            EXPECT_EQ(journal_create(test.scratch_.fd(), &meta_), 0);
            EXPECT_EQ(journal_open(test.scratch_.fd(), name, &writer, &meta_), 0);
            EXPECT_EQ(room_join(test.room_, name, writer, &share), 0);
            struct policy policy = {};
            policy.when_limited = when_limited;
            policy.limit_bytes = limit_bytes;
            room_set_policy(share, &policy);
        }
        Ring(const Ring &) = delete;
        Ring &operator=(const Ring &) = delete;
        ~Ring()
        {
            room_leave(share);
            journal_close(writer);
        }
        /* One more segment's first record; whole: all of it, so that the next one is asked for ahead. */
        int write_next(bool whole = false)
        {
            log_.append("record");
            log_.pad();
            uint64_t from = segments * segment_bytes;
            int result = log_.write(writer, meta_, from, from + (whole ? segment_bytes : RING_UNIT_BYTES));
            if (result == 0)
                segments++;
            else
                log_ = Log(from); /* again, later */
            return result;
        }
        int write(uint64_t count = 1)
        {
            int result = 0;
            while (result == 0 && count-- > 0)
                result = write_next();
            return result;
        }
        /* All but so many of the oldest stay. */
        void expire(uint64_t below)
        {
            ASSERT_EQ(journal_sync(writer), 0);
            ASSERT_EQ(journal_expire(writer, below), 0);
        }
        uint64_t bytes()
        {
            uint64_t bytes = 0;
            EXPECT_EQ(journal_bytes(test_.scratch_.fd(), meta_.identity.name, &bytes), 0);
            return bytes;
        }

        struct journal_writer *writer = nullptr;
        struct room_share *share = nullptr;
        uint64_t segments = 0;

    private:
        DaemonRoom &test_;
        struct journal_meta meta_;
        Log log_;
    };

    void SetUp() override
    {
        ASSERT_EQ(policies_open(&policies_), 0);
        rules_.room = {0, 0, 80, 50};
        set();
        ASSERT_EQ(room_open(&room_, scratch_.fd(), policies_), 0);
    }
    void TearDown() override
    {
        jio_hooks = nullptr;
        room_close(room_);
        policies_close(policies_);
    }
    void set()
    {
        ASSERT_EQ(policies_set(policies_, &rules_), 0);
    }

    Scratch scratch_{Scratch::MEMORY};
    struct policy_rules rules_ = {};
    struct policies *policies_ = nullptr;
    struct room *room_ = nullptr;
};

TEST_F(DaemonRoom, IsNotGrantedTwiceToThoseWhoAskAtOnce)
{
    constexpr uint64_t reserve = 1 << 20, room = 40 * file_bytes;
    rules_.room.reserve_bytes = reserve;
    set();
    SmallDisk disk(reserve + room + file_bytes / 2);
    std::vector<std::unique_ptr<Ring>> rings;
    std::vector<std::thread> threads;
    for (const char *name : {"a", "b", "c", "d"})
        rings.push_back(std::make_unique<Ring>(*this, name));
    for (auto &ring : rings)
        threads.emplace_back([&ring] { EXPECT_EQ(ring->write(100), -ENOSPC); });
    for (std::thread &thread : threads)
        thread.join();
    EXPECT_EQ(disk.used(), room) << "all of it, and no more";
    for (auto &ring : rings)
        EXPECT_EQ(room_look(ring->share, false).left_bytes, file_bytes / 2);
}

TEST_F(DaemonRoom, IsRefusedFromTheLimitOnUntilTheLowWatermarkIsReached)
{
    Ring ring(*this, "ring", POLICY_LIMITED_BLOCK, 6 * file_bytes);
    journal_keep_spares(ring.writer, false);
    EXPECT_EQ(ring.write(20), -EDQUOT);
    EXPECT_EQ(ring.bytes(), 6 * file_bytes);
    EXPECT_EQ(room_look(ring.share, false).left_bytes, 0u);
    EXPECT_EQ(room_look(ring.share, true).give_bytes, 0u) << "it gives up nothing";
    ring.expire(2);
    EXPECT_EQ(ring.write(), -EDQUOT) << "there is room, but not below the low watermark";
    ring.expire(3);
    EXPECT_EQ(ring.write(3), 0);
    EXPECT_EQ(ring.write(), -EDQUOT);
    EXPECT_EQ(ring.bytes(), 6 * file_bytes);
}

/* Retention may never come to the low watermark: of what waits, nothing becomes old. */
TEST_F(DaemonRoom, IsRefusedUntilSomeFilesHaveRoom)
{
    Ring ring(*this, "ring", POLICY_LIMITED_BLOCK, 40 * file_bytes);
    journal_keep_spares(ring.writer, false);
    EXPECT_EQ(ring.write(50), -EDQUOT);
    ring.expire(ROOM_FILES_LEAST - 1);
    EXPECT_EQ(ring.write(), -EDQUOT);
    ring.expire(ROOM_FILES_LEAST);
    EXPECT_EQ(ring.write(ROOM_FILES_LEAST), 0);
    EXPECT_EQ(ring.write(), -EDQUOT);
}

TEST_F(DaemonRoom, IsNotRefusedForEverWhileThereIsSome)
{
    Ring ring(*this, "ring", POLICY_LIMITED_BLOCK, 40 * file_bytes);
    journal_keep_spares(ring.writer, false);
    EXPECT_EQ(ring.write(50), -EDQUOT);
    ring.expire(1);
    int result = ring.write();
    EXPECT_EQ(result, -EDQUOT);
    for (int i = 0; i < 6000 && result == -EDQUOT; i++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        result = ring.write();
    }
    EXPECT_EQ(result, 0);
    EXPECT_EQ(ring.write(), -EDQUOT);
    EXPECT_EQ(ring.bytes(), 40 * file_bytes);
}

/* Others filled the disk, and are gone again. */
TEST_F(DaemonRoom, IsGrantedAgainWhenTheDiskHasRoomAgain)
{
    rules_.room.reserve_bytes = 1 << 20;
    set();
    SmallDisk disk(rules_.room.reserve_bytes + 100 * file_bytes);
    Ring ring(*this, "ring");
    journal_keep_spares(ring.writer, false);
    ASSERT_EQ(ring.write(90), 0);
    disk.fill(true);
    EXPECT_EQ(ring.write(), -ENOSPC);
    disk.fill(false);
    EXPECT_EQ(ring.write(10), 0);
}

TEST_F(DaemonRoom, IsWaitedForOnlyByWhatIsToBeWrittenNow)
{
    Ring ring(*this, "ring", POLICY_LIMITED_BLOCK, 40 * file_bytes);
    journal_keep_spares(ring.writer, false);
    ASSERT_EQ(ring.write(39), 0);
    ASSERT_EQ(ring.write_next(true), 0) << "the next file is asked for ahead, and refused";
    ring.expire(1);
    EXPECT_EQ(ring.write_next(true), 0);
    EXPECT_EQ(ring.write(), -EDQUOT);
    ring.expire(2);
    EXPECT_EQ(ring.write(), -EDQUOT) << "now somebody waits";
}

TEST_F(DaemonRoom, IsGivenUpFromTheHighWatermarkDownToTheLowOne)
{
    Ring ring(*this, "ring", POLICY_LIMITED_EXPIRE, 10 * file_bytes);
    journal_keep_spares(ring.writer, false);
    ASSERT_EQ(ring.write(8), 0);
    EXPECT_EQ(room_look(ring.share, false).give_bytes, 0u);
    ASSERT_EQ(ring.write(), 0);
    EXPECT_EQ(room_look(ring.share, false).give_bytes, 4 * file_bytes);
    ASSERT_EQ(ring.write(5), -EDQUOT);
    ring.expire(1);
    EXPECT_EQ(ring.write(), 0) << "who expires goes on with what room there is";
}

TEST_F(DaemonRoom, IsGivenUpByThoseWhoExpireEachItsPart)
{
    rules_.room.limit_bytes = 40 * file_bytes;
    set();
    Ring firm(*this, "firm"), large(*this, "large", POLICY_LIMITED_EXPIRE),
        little(*this, "little", POLICY_LIMITED_EXPIRE);
    for (Ring *ring : {&firm, &large, &little})
        journal_keep_spares(ring->writer, false);
    ASSERT_EQ(firm.write(12), 0);
    ASSERT_EQ(little.write(6), 0);
    ASSERT_EQ(large.write(18), 0);
    EXPECT_TRUE(room_look(firm.share, false).pressed);
    EXPECT_EQ(room_look(firm.share, false).give_bytes, 0u);
    EXPECT_NEAR((double)room_look(little.share, false).give_bytes, (double)(4 * file_bytes), 2);
    EXPECT_NEAR((double)room_look(large.share, false).give_bytes, (double)(12 * file_bytes), 2);
    EXPECT_EQ(firm.write(10), -EDQUOT);
    EXPECT_EQ(room_look(firm.share, false).left_bytes, 0u);
}

TEST_F(DaemonRoom, IsNotSpentOnFilesKeptReadyAboveTheLowWatermark)
{
    Ring ring(*this, "ring", POLICY_LIMITED_BLOCK, 10 * file_bytes);
    ASSERT_EQ(ring.write(4), 0);
    EXPECT_TRUE(room_look(ring.share, false).ample);
    EXPECT_EQ(journal_prepare(ring.writer), 1);
    EXPECT_EQ(journal_prepare(ring.writer), 0);
    EXPECT_EQ(journal_spares(ring.writer), 1u);
    EXPECT_EQ(room_look(ring.share, false).left_bytes, 6 * file_bytes) << "with what is ready";
    EXPECT_EQ(ring.write(6), 0);
    EXPECT_EQ(ring.write(), -EDQUOT);
    EXPECT_EQ(ring.bytes(), 10 * file_bytes);
}

TEST_F(DaemonRoom, IsTakenAlsoByJournalsThatNoRingHas)
{
    rules_.room.limit_bytes = 10 * file_bytes;
    set();
    {
        Ring other(*this, "other");
        journal_keep_spares(other.writer, false);
        ASSERT_EQ(other.write(6), 0);
    }
    Ring ring(*this, "ring");
    journal_keep_spares(ring.writer, false);
    EXPECT_EQ(ring.write(10), -EDQUOT);
    EXPECT_EQ(ring.bytes(), 4 * file_bytes);
    ASSERT_EQ(journal_remove(scratch_.fd(), "other", nullptr), 0);
    int result = -EDQUOT;
    for (int i = 0; i < 2000 && result == -EDQUOT; i++) { /* it is counted again once a second at most */
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        result = ring.write();
    }
    EXPECT_EQ(result, 0);
    EXPECT_EQ(ring.write(5), 0);
}

/* An expiring ring gives up nothing for a journal that has gone meanwhile. */
TEST_F(DaemonRoom, IsNotGivenUpForJournalsThatHaveGone)
{
    rules_.room.limit_bytes = 20 * file_bytes;
    set();
    Ring ring(*this, "ring", POLICY_LIMITED_EXPIRE);
    journal_keep_spares(ring.writer, false);
    ASSERT_EQ(ring.write(9), 0);
    auto gone = [&] {
        Ring other(*this, "other");
        journal_keep_spares(other.writer, false);
        ASSERT_EQ(other.write(10), 0);
    };
    gone();
    ASSERT_GT(room_look(ring.share, false).give_bytes, 0u);
    ASSERT_EQ(journal_remove(scratch_.fd(), "other", nullptr), 0);
    uint64_t give = 1;
    for (int i = 0; i < 2000 && give > 0; i++) { /* it is counted again once a second at most */
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        give = room_look(ring.share, false).give_bytes;
    }
    EXPECT_EQ(give, 0u);
    gone();
    ASSERT_EQ(journal_remove(scratch_.fd(), "other", nullptr), 0);
    room_count_anew(room_);
    EXPECT_EQ(room_look(ring.share, false).give_bytes, 0u) << "it is known to have gone";
}

TEST_F(DaemonRoom, IsEnoughForFourFilesInAnyCase)
{
    Ring ring(*this, "ring", POLICY_LIMITED_BLOCK, 1);
    journal_keep_spares(ring.writer, false);
    EXPECT_EQ(ring.write(10), -EDQUOT);
    EXPECT_EQ(ring.segments, ROOM_FILES_LEAST);
}

} // namespace
