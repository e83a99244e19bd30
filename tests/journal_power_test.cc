/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power that goes at any call of a life of a journal, with any part of what was not synced on the disk, in pieces of 512 or
 * 4096 bytes and in any order: nothing that was reported durable is missing afterwards, nothing that was never written is
 * there, and the journal opens by itself. A seed gives one case, always the same; failures name it.
 *   WEIR_TEST_SEED=N    that seed alone          WEIR_TEST_SEEDS=N   so many, from 1
 */
// test: LINKS weir_journal weir_ringbuf TIMEOUT 600

#include "tests/journal_disk.hh"
#include "tests/journal_life.hh"

using namespace journaltest;

namespace
{

class JournalPower : public ::testing::Test
{
protected:
    void TearDown() override
    {
        jio_hooks = nullptr;
    }
};

uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);
    return value ? strtoull(value, nullptr, 0) : otherwise;
}

/* Power that goes and comes, six times in one life; a daemon may die and come back while it lasts, and syncs may fail. */
void live_through_power_cuts(uint64_t seed)
{
    std::mt19937_64 random(seed);
    auto folder = std::make_unique<Scratch>(Scratch::MEMORY);
    ShuffledQueue queue(seed);
    Life life(folder->fd(), seed, seed % 2 ? &queue : nullptr, seed / 6 % 3);
    bool syncs_fail = seed % 3 == 0;
    for (int round = 1; round <= 6; round++) {
        auto after = std::make_unique<Scratch>(Scratch::MEMORY);
        {
            Disk disk(folder->fd(), random());
            disk.lose_power_at(1 + random() % 700);
            disk.break_syncs(syncs_fail ? 40 : 0);
            int lives = 1 + (int)(random() % 3);
            for (int i = 0; i < lives && !disk.lost_power(); i++) {
                int result = life.live(5 + (int)(random() % 40), i > 0 && random() % 2 == 0);
                ASSERT_TRUE(result == 0 || disk.lost_power() || syncs_fail) << result << " in round " << round;
            }
            disk.make_remains(after->fd());
        }
        folder = std::move(after);
        life.move_to(folder->fd());
        life.check();
        ASSERT_FALSE(::testing::Test::HasFailure()) << "round " << round;
    }
}

TEST_F(JournalPower, MayGoAtAnyTimeAndTakesNothingThatWasDurable)
{
    uint64_t first = from_environment("WEIR_TEST_SEED", 1);
    uint64_t last = getenv("WEIR_TEST_SEED") ? first : from_environment("WEIR_TEST_SEEDS", 500);
    size_t descriptors = open_descriptors();
    for (uint64_t seed = first; seed <= last && !HasFailure(); seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        live_through_power_cuts(seed);
        EXPECT_EQ(open_descriptors(), descriptors);
    }
}

/* The same life again and again; the power goes at its first call, at the second, and so on. Several remains of each. */
void lose_power_at_each_call(bool queued)
{
    constexpr int remains = 4;
    for (uint64_t n = 1;; n++) {
        SCOPED_TRACE("call " + std::to_string(n));
        Scratch scratch(Scratch::MEMORY);
        ShuffledQueue queue(11);
        Life life(scratch.fd(), 11, queued ? &queue : nullptr, queued ? 1 : 0);
        Disk disk(scratch.fd(), n);
        disk.lose_power_at(n);
        int result = life.live(40);
        if (result == 0)
            result = life.live(20);
        ASSERT_TRUE(result == 0 || disk.lost_power()) << result;
        disk.unplug();
        for (int i = 0; i < remains; i++) {
            SCOPED_TRACE("remains " + std::to_string(i));
            Scratch after(Scratch::MEMORY);
            disk.make_remains(after.fd());
            life.move_to(after.fd());
            life.check();
            if (i + 1 == remains) {
                ASSERT_EQ(life.live(10), 0);
                life.check();
            }
            ASSERT_FALSE(::testing::Test::HasFailure());
        }
        if (!disk.lost_power()) {
            EXPECT_TRUE(!queued || queue.most() > 1) << "nothing was under way at once";
            break;
        }
    }
}

TEST_F(JournalPower, MayGoAtEachCallInTurnAndTakesNothingThatWasDurable)
{
    lose_power_at_each_call(false);
    lose_power_at_each_call(true);
}

/* The first minutes of a journal, with the power going at each call in turn. */
TEST_F(JournalPower, MayGoWhileAJournalIsMadeWhichIsWholeThenOrNotThere)
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

TEST_F(JournalPower, MayGoWhileAJournalIsRemovedWhichIsWholeThenOrNotThere)
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
            removed = journal_remove(scratch.fd(), "ring", nullptr);
            lost = disk.lost_power();
            disk.make_remains(after.fd());
        }
        life.move_to(after.fd());
        if (removed == 0) {
            EXPECT_EQ(journal_remove(after.fd(), "ring", nullptr), -ENOENT) << n;
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

} // namespace
