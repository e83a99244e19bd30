/* SPDX-License-Identifier: Apache-2.0 */
/* When counts of named publishers are durable: never before all is that they were counted from. */
// test: LINKS weird_core weir_journal weir_shm weir_ringbuf TIMEOUT 60

#include <gtest/gtest.h>

#include <cstring>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#include "daemon/names.h"
}
#pragma GCC diagnostic pop

namespace
{

class DaemonNames : public testing::Test
{
protected:
    void SetUp() override
    {
        struct ring_geometry geometry = {};
        geometry.max_producers = 4;
        struct journal_name saved_names[2] = {};
        strcpy(saved_names[0].name, "first");
        strcpy(saved_names[1].name, "second");
        struct journal_names saved = {};
        saved.producers = saved_names;
        saved.producer_count = 2;
        ASSERT_EQ(names_open(&names_, &geometry, &saved), 0);
    }
    void TearDown() override
    {
        names_close(&names_);
    }
    /* A record of this publisher is written. */
    void write(const char *name, uint64_t sequence)
    {
        struct names_drain drain = {};
        drain.names = &names_;
        names_count_drained(&drain, ring_producer_hash(name), sequence);
        names_written(&names_, true);
    }
    uint64_t durable(size_t index) const
    {
        return names_.entries[index].durable;
    }

    struct names names_ = {};
};

TEST_F(DaemonNames, CountWhenAllIsSynced)
{
    write("first", 7);
    EXPECT_EQ(durable(0), 0u);
    names_synced(&names_, 640, 640);
    EXPECT_EQ(durable(0), 7u);
    EXPECT_EQ(durable(1), 0u);
    EXPECT_EQ(names_.position, 640u);
    EXPECT_TRUE(names_.changed);
}

/* The sync that is begun is for 640 alone, since what lies behind is still on its way to the disk. */
TEST_F(DaemonNames, WaitForASyncOfAllThatWasCountedWhenItBegan)
{
    write("first", 7);
    names_cut(&names_, 1280);
    write("first", 8);
    write("second", 3);
    names_synced(&names_, 640, 1920);
    EXPECT_EQ(durable(0), 0u) << "7 may lie between 640 and 1280";
    EXPECT_EQ(names_.position, 0u);
    EXPECT_FALSE(names_.changed);

    names_cut(&names_, 1920); /* what was cut off waits yet: it is not mixed with what came after it */
    names_synced(&names_, 1280, 2560);
    EXPECT_EQ(durable(0), 7u);
    EXPECT_EQ(durable(1), 0u);
    EXPECT_EQ(names_.position, 1280u);
    EXPECT_TRUE(names_.changed);

    names_cut(&names_, 2560);
    write("second", 4);
    names_synced(&names_, 2560, 3200);
    EXPECT_EQ(durable(0), 8u);
    EXPECT_EQ(durable(1), 3u);
    EXPECT_EQ(names_.position, 2560u);
    names_synced(&names_, 3200, 3200);
    EXPECT_EQ(durable(1), 4u);
    EXPECT_EQ(names_.position, 3200u);
}

/* They go on, however long the syncs lag behind what is written. */
TEST_F(DaemonNames, MoveOnWhileMoreIsWrittenAllTheTime)
{
    for (uint64_t i = 1; i <= 100; i++) {
        write("first", i);
        names_cut(&names_, i * 640);
        if (i > 3)
            names_synced(&names_, (i - 3) * 640, i * 640);
    }
    EXPECT_GE(durable(0), 90u);
    EXPECT_LE(durable(0), 97u);
    EXPECT_GE(names_.position, 90u * 640);
    EXPECT_LE(names_.position, 97u * 640);
}

/* Behind a recovery the counts reach up to what it found, which may not be synced yet. */
TEST_F(DaemonNames, WaitForAllThatRecoveryFound)
{
    names_count_recovered(&names_, ring_producer_hash("first"), 9);
    names_recovered(&names_, 640, 6400);
    EXPECT_EQ(durable(0), 0u);
    names_cut(&names_, 1280);
    names_synced(&names_, 1280, 1280);
    EXPECT_EQ(durable(0), 0u);
    names_cut(&names_, 6400);
    names_synced(&names_, 6400, 7040);
    EXPECT_EQ(durable(0), 9u);
}

/* A damaged file of names: all was counted up to an end behind what the drain begins at, and a hole before it is drained again. */
TEST_F(DaemonNames, ForgetNothingThatIsDrainedAgainBelowWhatWasCounted)
{
    names_recovered(&names_, 6400, 6400);
    EXPECT_EQ(names_.position, 6400u);
    write("first", 5);
    names_cut(&names_, 1280);
    names_synced(&names_, 640, 1280);
    write("second", 6);
    names_cut(&names_, 2560);
    names_synced(&names_, 2560, 3200);
    names_synced(&names_, 7040, 7040);
    EXPECT_EQ(durable(0), 5u);
    EXPECT_EQ(durable(1), 6u);
}

} // namespace
