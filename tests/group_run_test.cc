// SPDX-License-Identifier: Apache-2.0
// Runs in the hands of workers: who has what, who is refused, what comes back and when; words at their ends; bytes that make
// no sense.
// test: LINKS weir_group LABELS tsan
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "tests/support/group_world.h"

using namespace grouptest;

namespace
{

struct Group : ::testing::Test {
    World world{World::Shape()};
    Worker a{world}, b{world};

    void SetUp() override
    {
        ASSERT_TRUE(a.join());
        ASSERT_TRUE(b.join());
    }
    void TearDown() override
    {
        EXPECT_EQ(world.failure, "") << world.dump();
    }
    struct group_counts counts() const
    {
        struct group_counts counts;
        group_count(&world.view, world.first, &counts);
        return counts;
    }
    int finish(Worker &worker, const struct group_run &run, uint32_t bits)
    {
        return group_finish(&worker.worker, run.entry, run.generation, bits);
    }
    int give_back(Worker &worker, const struct group_run &run, uint32_t bits, uint64_t due_ns = 0, bool again = false)
    {
        return group_give_back(&worker.worker, run.entry, run.generation, bits, due_ns, again);
    }
};

TEST_F(Group, gives_each_message_to_one_worker)
{
    ASSERT_TRUE(a.cut(2));
    ASSERT_TRUE(b.cut(3));
    EXPECT_EQ(a.runs[0].start, world.position(0));
    EXPECT_EQ(b.runs[0].start, world.position(2));
    ASSERT_TRUE(a.cut(9));
    EXPECT_EQ(a.runs[1].count, 1u) << "what is left";
    EXPECT_FALSE(b.cut(1));
    a.finish_all();
    b.finish_all();
    world.check_finished();
    EXPECT_EQ(counts().low_water, world.position(6));
}

TEST_F(Group, refuses_who_does_not_hold_it)
{
    a.cut(2);
    const struct group_run run = a.runs[0];
    EXPECT_EQ(finish(b, run, 1), -ECANCELED);
    EXPECT_EQ(give_back(b, run, 3), -ECANCELED);
    EXPECT_EQ(group_extend(&b.worker, run.entry, run.generation, 1), -ECANCELED);
    EXPECT_EQ(finish(a, run, 4), -ECANCELED) << "no such message";
    EXPECT_EQ(finish(a, run, 0), -ECANCELED);
    struct group_run other = run;
    other.entry = 999999;
    EXPECT_EQ(finish(a, other, 1), -ECANCELED);
    EXPECT_EQ(give_back(a, other, 1), -ECANCELED);
    EXPECT_EQ(group_extend(&a.worker, other.entry, other.generation, 1), -ECANCELED);
    EXPECT_EQ(finish(a, run, 1), 0);
    EXPECT_EQ(finish(a, run, 1), -ECANCELED) << "twice";
    EXPECT_EQ(finish(a, run, 3), -ECANCELED) << "one of them twice";
    EXPECT_EQ(finish(a, run, 2), 0);
    EXPECT_EQ(finish(a, run, 2), -ECANCELED);
    a.cut(2);
    EXPECT_EQ(a.runs[1].entry, run.entry) << "the entry is kept for the next run";
    EXPECT_EQ(finish(a, run, 1), -ECANCELED) << "a ticket of the entry's last life";
}

TEST_F(Group, gives_back_all_or_some_and_counts_the_attempts)
{
    a.cut(3);
    const struct group_run run = a.runs[0];
    EXPECT_EQ(give_back(a, run, 2), 0);
    EXPECT_EQ(counts().open, 1u);
    EXPECT_EQ(counts().held, 2u);
    ASSERT_TRUE(b.take());
    EXPECT_EQ(b.runs[0].mask, 2u);
    EXPECT_EQ(b.runs[0].attempt, 2u);
    EXPECT_FALSE(b.take());
    EXPECT_EQ(give_back(a, run, 5, 0, true), 0);
    struct group_run taken;
    ASSERT_EQ(group_take(&b.worker, world.now_ns, 1, &taken), 1);
    EXPECT_EQ(taken.mask, 5u);
    EXPECT_EQ(taken.attempt, 1u) << "it was not delivered";
}

TEST_F(Group, keeps_what_is_delayed_until_it_is_due)
{
    a.cut(2);
    const struct group_run run = a.runs[0];
    uint64_t due_ns = world.now_ns + 100;
    EXPECT_EQ(give_back(a, run, 1, due_ns), 0);
    EXPECT_EQ(give_back(a, run, 2, due_ns + 50), 0);
    EXPECT_EQ(counts().delayed, 2u);
    EXPECT_FALSE(b.take()) << "as who joins looks";
    EXPECT_FALSE(b.take()) << "since something came back";
    EXPECT_EQ(b.worker.due_ns, due_ns);
    EXPECT_FALSE(group_may_take(&b.worker, due_ns - 1));
    EXPECT_TRUE(group_may_take(&b.worker, due_ns));
    world.now_ns = due_ns;
    EXPECT_TRUE(b.take());
    EXPECT_FALSE(b.take());
    EXPECT_EQ(b.worker.due_ns, due_ns + 50);
    world.now_ns = due_ns + 50;
    EXPECT_TRUE(b.take());
}

TEST_F(Group, ends_a_lease_that_was_found_past_its_time_twice)
{
    bool suspects = false;
    a.cut(2);
    const struct group_run run = a.runs[0];
    world.now_ns = run.lease_ns;
    EXPECT_FALSE(group_end_leases(&world.view, &world.ender, world.now_ns, &suspects));
    EXPECT_TRUE(suspects);
    EXPECT_FALSE(group_end_leases(&world.view, &world.ender, world.now_ns + 10, &suspects)) << "too soon";
    EXPECT_TRUE(suspects);
    EXPECT_EQ(group_extend(&a.worker, run.entry, run.generation, run.lease_ns + 100 * GROUP_TWICE_NS), 0);
    EXPECT_FALSE(group_end_leases(&world.view, &world.ender, world.now_ns + 2 * GROUP_TWICE_NS, &suspects))
        << "extended";
    EXPECT_FALSE(suspects);
    world.end_leases();
    EXPECT_EQ(finish(a, run, 1), -ECANCELED);
    EXPECT_EQ(group_extend(&a.worker, run.entry, run.generation, 1), -ECANCELED);
    ASSERT_TRUE(b.take());
    EXPECT_EQ(b.runs[0].attempt, 2u);
    EXPECT_EQ(finish(a, run, 1), -ECANCELED);
    b.finish_all();
}

/* A taker stores its lease just behind its swap: until then that of the entry's last holder stands there. */
TEST_F(Group, does_not_end_a_lease_that_was_not_stored_yet)
{
    bool suspects = false;
    a.cut(2);
    const struct group_run run = a.runs[0];
    struct mem_u64 *word = &world.view.entries[run.entry].word;
    group_end_leases(&world.view, &world.ender, run.lease_ns, &suspects);
    EXPECT_TRUE(suspects);
    uint64_t next = entry_make(GROUP_HELD, 3, b.worker.owner, 2, run.generation + 1);
    mem_store_release_(word, next);
    EXPECT_FALSE(group_end_leases(&world.view, &world.ender, run.lease_ns + 2 * GROUP_TWICE_NS, &suspects));
    EXPECT_EQ(mem_load_acquire(word), next);
    a.runs.clear();
}

TEST_F(Group, tells_when_no_entry_is_free_and_goes_on_with_what_came_back)
{
    World small{World::Shape{.messages = 9, .entries = 2, .workers = 2}};
    Worker c{small}, d{small};
    ASSERT_TRUE(c.join());
    ASSERT_TRUE(d.join());
    ASSERT_TRUE(c.cut(2));
    ASSERT_TRUE(d.cut(2));
    EXPECT_EQ(group_reserve(&c.worker), -ENOSPC);
    const struct group_run run = c.runs[0];
    EXPECT_EQ(give_back(c, run, 1), -ENOSPC) << "one of two takes an entry of its own";
    EXPECT_EQ(finish(c, run, 0), -ECANCELED);
    EXPECT_EQ(give_back(c, run, 3), 0) << "all of it takes none";
    EXPECT_TRUE(d.take());
    EXPECT_FALSE(d.cut(2));
    d.finish_all();
    EXPECT_TRUE(d.cut(2));
    EXPECT_EQ(small.failure, "");
}

TEST_F(Group, has_as_many_lines_as_it_was_made_with)
{
    Worker c{world}, d{world}, e{world};
    EXPECT_TRUE(c.join());
    EXPECT_TRUE(d.join());
    EXPECT_FALSE(e.join());
    c.cut(2);
    world.dead_ids.insert(c.worker.id);
    EXPECT_TRUE(e.join()) << "in the place of the dead";
    EXPECT_TRUE(e.take());
    EXPECT_EQ(e.runs[0].attempt, 2u);
    d.cut(2);
    d.leave();
    EXPECT_TRUE(e.take()) << "who leaves gives back";
    e.leave();
}

TEST_F(Group, goes_past_what_is_gone)
{
    struct group_cut cut, late;
    ASSERT_EQ(group_cursor(&a.worker, 0, &cut), -EINVAL) << "the entry comes first";
    ASSERT_EQ(group_reserve(&a.worker), 0);
    ASSERT_EQ(group_cursor(&a.worker, 0, &cut), 0);
    late = cut;
    EXPECT_EQ(group_skip(&a.worker, &cut, world.position(4)), 0);
    EXPECT_EQ(group_skip(&a.worker, &late, world.position(5)), -EAGAIN);
    ASSERT_TRUE(b.cut(9));
    EXPECT_EQ(b.runs[0].start, world.position(4));
    EXPECT_EQ(b.runs[0].count, 2u);
}

TEST(GroupWords, hold_their_ends)
{
    for (uint64_t position : {UINT64_C(0), UINT64_C(64), (UINT64_C(1) << 55) - 64, UINT64_C(1) << 55,
                              (UINT64_C(1) << 63) + 128, UINT64_MAX - 63}) {
        uint64_t cursor = cursor_make(position, GROUP_ENTRIES_MAX);
        EXPECT_EQ(cursor_tip(cursor), GROUP_ENTRIES_MAX);
        EXPECT_TRUE(cursor_stands_at(cursor, position));
        EXPECT_FALSE(cursor_stands_at(cursor, position + 64));
        for (int64_t distance : {INT64_C(0), INT64_C(64), INT64_C(-64), INT64_C(1) << 50, -(INT64_C(1) << 50)})
            EXPECT_EQ(cursor_position(cursor, position + (uint64_t)distance), position);
    }
    uint64_t word = entry_make(GROUP_HELD, 0xffff, GROUP_WORKERS_MAX, 63, 0x7fff);
    EXPECT_EQ(entry_state(word), (uint32_t)GROUP_HELD);
    EXPECT_EQ(entry_mask(word), 0xffffu);
    EXPECT_EQ(entry_owner(word), GROUP_WORKERS_MAX);
    EXPECT_EQ(entry_attempt(word), 63u);
    EXPECT_EQ(entry_generation(word), 0x7fffu);
    EXPECT_EQ(entry_last(entry_with_last(word, GROUP_ENTRIES_MAX)), GROUP_ENTRIES_MAX);
    EXPECT_EQ(entry_mask(entry_without(word, 0xfff0)), 0xfu);
    EXPECT_EQ(entry_generation(entry_empty(word, 3)), 0u);
    EXPECT_EQ(entry_owner(entry_empty(word, 3)), 3u);
    EXPECT_EQ(attempt_after(63), 63u);
    uint64_t plan = plan_move(GROUP_ENTRIES_MAX - 1, 0x7fff, true);
    EXPECT_EQ(plan_source(plan), GROUP_ENTRIES_MAX);
    EXPECT_EQ(plan_generation(plan), 0x7fffu);
    EXPECT_EQ(plan_owner(plan), GROUP_DELAYED);
}

TEST_F(Group, refuses_bytes_that_make_no_sense)
{
    struct Change {
        size_t offset;
        uint32_t value;
        int error;
    };
    const Change changes[] = {
        {offsetof(struct group_header, magic), 1, -EMEDIUMTYPE},
        {offsetof(struct group_header, layout_version), 2, -EPROTONOSUPPORT},
        {offsetof(struct group_header, header_bytes), 1, -EBADMSG},
        {offsetof(struct group_header, format_signature), 1, -EPROTONOSUPPORT},
        {offsetof(struct group_header, features_incompatible), 1, -EPROTONOSUPPORT},
        {offsetof(struct group_header, entry_count), 0, -EBADMSG},
        {offsetof(struct group_header, entry_count), 9, 0},
        {offsetof(struct group_header, entry_count), 16384, -EBADMSG},
        {offsetof(struct group_header, entry_count), 16383, -EBADMSG},
        {offsetof(struct group_header, worker_count), 0, -EBADMSG},
        {offsetof(struct group_header, worker_count), 1023, -EBADMSG},
        {offsetof(struct group_header, worker_count), 1022, -EBADMSG},
        {offsetof(struct group_header, jitter_percent), 101, -EBADMSG},
        {offsetof(struct group_header, backoff_percent), 99, -EBADMSG},
        {offsetof(struct group_header, ready), 0, -EAGAIN},
    };
    char *bytes = reinterpret_cast<char *>(world.view.header);
    for (const Change &change : changes) {
        uint32_t before;
        memcpy(&before, bytes + change.offset, 4);
        memcpy(bytes + change.offset, &change.value, 4);
        struct group_view view;
        const char *reason = "";
        EXPECT_EQ(group_view_init(&view, bytes, world.bytes, &reason), change.error) << change.offset << reason;
        EXPECT_EQ(change.error == 0, *reason == '\0') << change.offset;
        memcpy(bytes + change.offset, &before, 4);
    }
    struct group_view view;
    const char *reason;
    EXPECT_EQ(group_view_init(&view, bytes, 100, &reason), -EMEDIUMTYPE);
    EXPECT_EQ(group_view_init(&view, bytes, world.bytes + 4096, &reason), -EBADMSG);
    memset(world.view.header->name, 'x', RING_NAME_BYTES);
    EXPECT_EQ(group_view_init(&view, bytes, world.bytes, &reason), -EBADMSG);
}

/* Any bytes behind the header: an answer, in finite time, and no access out of bounds (address sanitizer). */
TEST_F(Group, survives_any_words)
{
    uint64_t random = 1;
    auto draw = [&] { return random = random * 6364136223846793005ull + 1442695040888963407ull; };
    for (int round = 0; round < 3000; round++) {
        char *from = reinterpret_cast<char *>(&world.view.header->cursor);
        char *to = reinterpret_cast<char *>(world.view.entries + world.view.options.entry_count);
        for (char *at = from; at < to; at += 8) {
            uint64_t word = draw() >> 32 | draw() << 32;
            memcpy(at, &word, 8);
        }
        struct group_counts counts;
        group_count(&world.view, 0, &counts);
        Worker worker(world);
        for (uint32_t i = 0; i < world.view.options.worker_count; i++)
            world.dead_ids.insert(mem_load_acquire(&world.view.lines[i].id));
        world.sweep();
        world.end_leases();
        if (!worker.join())
            continue;
        struct group_run run;
        for (int i = 0; i < 20 && group_take(&worker.worker, draw(), draw(), &run) > 0; i++)
            group_give_back(&worker.worker, run.entry, run.generation, run.mask & (uint32_t)draw(), draw(), draw() & 1);
        if (group_reserve(&worker.worker) == 0) {
            struct group_cut cut;
            group_cursor(&worker.worker, draw(), &cut);
        }
        worker.leave();
        world.dead_ids.clear();
    }
}

/* Threads, so that thread sanitizer sees the edges: what the cursor and the entries tell is ordered by them. */
TEST(GroupThreads, give_each_message_to_one)
{
    World world(World::Shape{.messages = 200000, .entries = 12, .workers = 4});
    world.view.options.lease_ns = UINT64_MAX;
    std::vector<uint32_t> done(world.messages);
    auto body = [&](unsigned seed) {
        struct group_worker worker;
        ASSERT_EQ(group_join(&worker, &world.view, seed, 1, 1, World::dead, &world), 0);
        for (;;) {
            struct group_run run = {};
            int r = group_take(&worker, 1, UINT64_MAX, &run);
            if (r == 0) {
                if (group_reserve(&worker) < 0)
                    continue;
                struct group_cut cut;
                ASSERT_EQ(group_cursor(&worker, 0, &cut), 0);
                uint32_t at = world.message_at(cut.position);
                if (at == world.messages) {
                    struct group_counts counts;
                    group_count(&world.view, 0, &counts);
                    if (counts.held + counts.open == 0)
                        break;
                    continue;
                }
                run.count = std::min(3u, world.messages - at);
                run.start = cut.position;
                run.end = world.position(at + run.count);
                run.lease_ns = UINT64_MAX;
                if (group_cut(&worker, &cut, &run) != 0)
                    continue;
            }
            seed = seed * 1103515245 + 12345;
            uint32_t bit = run.mask & (0u - run.mask);
            if ((seed >> 16) % 8 == 0 && group_give_back(&worker, run.entry, run.generation, bit, 0, false) == 0)
                run.mask &= ~bit;
            for (uint32_t i = 0; i < run.count; i++)
                if (run.mask & 1u << i)
                    done[world.message_at(run.start) + i]++; /* mine alone until it is finished */
            if (run.mask) {
                ASSERT_EQ(group_finish(&worker, run.entry, run.generation, run.mask), 0);
            }
        }
        group_leave(&worker);
    };
    std::vector<std::thread> threads;
    for (unsigned i = 1; i <= 4; i++)
        threads.emplace_back(body, i);
    for (std::thread &thread : threads)
        thread.join();
    for (uint32_t count : done)
        ASSERT_EQ(count, 1u);
    world.check_empty();
    EXPECT_EQ(world.failure, "");
}

} // namespace
