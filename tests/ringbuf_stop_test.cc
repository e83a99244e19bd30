// SPDX-License-Identifier: Apache-2.0
// Each role stopped before each of its stores and swaps, alone and together with another one, while others go on, use every
// slot again, and take tables' entries again; then it goes on, or is killed, and the promises are checked
// (Trial::aftermath). At every store and swap in ringbuf/ somebody must have been stopped.
//   WEIR_CRASH_SEED=N   repeats a run's choice of pairs        WEIR_CRASH_ALL=1   all pairs, for hours
// test: LINKS weir_ringbuf TIMEOUT 600
#include <gtest/gtest.h>
#include <sched.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "tests/support/ring_child.h"
#include "tests/support/ring_coverage.h"
#include "tests/support/ring_points.h"
#include "tests/support/ring_roles.h"

using namespace ringtest;

namespace
{

const bool kEverySite = (every_call_site_must_be(kOneIn == 1 ? Event::stopped : Event::passed), true);

std::string error_of(Trial &trial, uint32_t who)
{
    return strerror((int)look(&trial.log(who).error));
}

class Stop : public ::testing::Test
{
protected:
    void SetUp() override
    {
        mem_point_hook = fiber_point;
        mem_load_hook = fiber_load;
    }
    void TearDown() override
    {
        mem_point_hook = nullptr;
        mem_load_hook = nullptr;
    }
};

// -- One is stopped ------------------------------------------------------------------------------------------------------

class EveryRole : public Stop, public ::testing::WithParamInterface<size_t>
{
protected:
    const Role &role = roles()[GetParam()];
    Shape shape() const
    {
        return trial_shape(role.flags, role.when_full, true);
    }
};

TEST_P(EveryRole, may_be_stopped_before_each_store_and_go_on_later)
{
    Picker picker;
    bool stopped = true, again = false;
    uint64_t trials = 0;
    for (uint64_t n = picker.step(); stopped; n += again ? 0 : picker.step(), trials++) {
        Trial trial(shape());
        trial_prepare(trial, role.before);
        again = !again && trial.has_companions(); /* the second time those that stand by go on first */
        Child child(trial, kRole, role.script);
        Child::End end = child.run_and_stop(n);
        stopped = end == Child::End::stopped;
        if (stopped) {
            if (!again)
                trial.companions_go_on();
            trial.while_stopped({kRole, kSecond});
            ASSERT_EQ(trial.failure_text(), "") << "stopped at point " << n << ", " << child.where() << "\n"
                                                << trial.ring.dump();
            if (trial.companions_block())
                trial.companions_go_on();
            child.go_on();
            while ((end = child.end()) == Child::End::running && trial.take_over())
                sched_yield();
        }
        ASSERT_EQ(end, Child::End::finished)
            << "point " << n << ", " << child.where() << ": " << error_of(trial, kRole) << "\n"
            << trial.failure_text();
        trial.die({kRole, kSecond}); /* they left, and their locks fell */
        trial.aftermath();
        ASSERT_EQ(trial.failure_text(), "") << "stopped and continued at point " << n << ", " << child.where() << "\n"
                                            << trial.ring.dump();
    }
    ASSERT_TRUE(trials > 1 || kOneIn > 1);
    printf("           %s: stopped %llu times\n", role.name.c_str(), (unsigned long long)(trials - 1));
}

TEST_P(EveryRole, may_be_killed_after_it_was_stopped)
{
    Picker picker;
    for (uint64_t n = picker.step();; n += picker.step()) {
        Trial trial(shape());
        trial_prepare(trial, role.before);
        std::unique_ptr<Fiber> fiber = actor_fiber(trial, kRole, role.script);
        actor_run(trial, *fiber, n);
        if (fiber->state() != Fiber::State::stopped)
            break; /* at its end, or waits for who stands by */
        trial.while_stopped({kRole, kSecond});
        trial.die({kRole, kSecond});
        trial.aftermath();
        ASSERT_EQ(trial.failure_text(), "") << "stopped and killed at point " << n << ", " << fiber->where() << "\n"
                                            << trial.ring.dump();
    }
}

INSTANTIATE_TEST_SUITE_P(ring, EveryRole, ::testing::Range<size_t>(0, roles().size()),
                         [](const ::testing::TestParamInfo<size_t> &at) { return roles()[at.param].name; });

// -- Two are, before any access ------------------------------------------------------------------------------------------

class EveryPair : public Stop, public ::testing::WithParamInterface<size_t>
{
protected:
    static constexpr Fiber::Points kAccesses = Fiber::Points::accesses;
    const Pair &pair = pairs()[GetParam()];
    Picker picker;
    uint64_t trials = 0;

    Shape shape() const
    {
        return trial_shape(pair.flags, pair.when_full, false);
    }
    void TearDown() override
    {
        Stop::TearDown();
        printf("           %s: %llu times, WEIR_CRASH_SEED=%llu\n", pair.name.c_str(), (unsigned long long)trials,
               (unsigned long long)picker.seed());
    }
};

// The first is dead, the second stopped while others clear up behind the first, take its index and all slots again, and go
// on. Ids are handed out in a way that the next owner of the index has the same low bits.
TEST_P(EveryPair, is_harmless_when_the_second_wakes_up_long_after_others_resolved_the_first)
{
    Trial alone(shape());
    trial_prepare(alone, pair.before);
    uint64_t firsts = points_of(alone, kRole, pair.first).size();
    for (uint64_t n = picker.step(); n <= firsts; n += picker.step()) {
        Trial unharmed(shape());
        trial_prepare(unharmed, pair.before);
        victim(unharmed, kRole, n, pair.first);
        for (uint64_t m : picker.pick(points_of(unharmed, kSecond, pair.second, kAccesses), 1)) {
            Trial trial(shape());
            trial_prepare(trial, pair.before);
            victim(trial, kRole, n, pair.first);
            std::unique_ptr<Fiber> second = actor_fiber(trial, kSecond, pair.second, kAccesses);
            actor_run(trial, *second, m);
            {
                Publisher sweeper(trial.ring);
                if (sweeper.joined == 0)
                    ring_sweep(sweeper);
            }
            uint32_t bits = (uint32_t[]){12, 20, 33}[picker.below(3)];
            if (look(&trial.log(kRole).id_count))
                poke(&trial.ring.control_block()->next_id, look(&trial.log(kRole).ids[0]) + (1ull << bits));
            trial.while_stopped({kSecond});
            std::string where = second->where();
            ASSERT_TRUE(actors_finish(trial, {second.get()})) << "points " << n << ", " << m << ", " << where << "\n"
                                                              << trial.failure_text();
            ASSERT_EQ(look(&trial.log(kSecond).error), 0u)
                << "points " << n << ", " << m << ", " << where << ": " << error_of(trial, kSecond)
                << ", WEIR_CRASH_SEED=" << picker.seed();
            trial.dies(kSecond);
            trial.aftermath();
            ASSERT_EQ(trial.failure_text(), "")
                << "the first killed at point " << n << ", the second stopped at access " << m << ", " << where
                << ", ids alike in " << bits << " bits, WEIR_CRASH_SEED=" << picker.seed() << "\n"
                << trial.ring.dump();
            trials++;
        }
    }
}

TEST_P(EveryPair, may_be_stopped_at_the_same_time)
{
    Trial alone(shape()), apart(shape());
    trial_prepare(alone, pair.before);
    trial_prepare(apart, pair.before);
    Points firsts = points_of(alone, kRole, pair.first, kAccesses);
    Points seconds = points_of(apart, kSecond, pair.second, kAccesses);
    for (uint64_t n : picker.pick(firsts, 150 / kOneIn)) {
        const uint64_t all_that_it_does = Fiber::kNever;
        for (uint64_t m : {picker.draw(seconds), all_that_it_does}) {
            Trial trial(shape());
            trial_prepare(trial, pair.before);
            std::unique_ptr<Fiber> first = actor_fiber(trial, kRole, pair.first, kAccesses);
            std::unique_ptr<Fiber> second = actor_fiber(trial, kSecond, pair.second, kAccesses);
            actor_run(trial, *first, n);
            actor_run(trial, *second, m);
            std::string where = first->where() + " and " + second->where();
            uint64_t order = picker.below(4);
            if (order & 2)
                trial.while_stopped({kRole, kSecond});
            ASSERT_TRUE(order & 1 ? actors_finish(trial, {first.get(), second.get()})
                                  : actors_finish(trial, {second.get(), first.get()}))
                << "stopped at accesses " << n << " and " << m << ", " << where << "\n"
                << trial.failure_text() << trial.ring.dump();
            ASSERT_EQ(look(&trial.log(kRole).error), 0u)
                << error_of(trial, kRole) << " " << n << " " << m << " " << where;
            ASSERT_EQ(look(&trial.log(kSecond).error), 0u)
                << error_of(trial, kSecond) << " " << n << " " << m << " " << where;
            trial.die({kRole, kSecond});
            trial.aftermath();
            ASSERT_EQ(trial.failure_text(), "")
                << "stopped at accesses " << n << " and " << m << ", " << where << ", continued in order " << order
                << ", WEIR_CRASH_SEED=" << picker.seed() << "\n"
                << trial.ring.dump();
            trials++;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(ring, EveryPair, ::testing::Range<size_t>(0, pairs().size()),
                         [](const ::testing::TestParamInfo<size_t> &at) { return pairs()[at.param].name; });

// -- The next owner of an index ------------------------------------------------------------------------------------------

// One dies; another one has been told so by the kernel, and stops before any access; others clear up; the next owner of
// the index, with the same low bits of its id, holds the like when the late one goes on.
class Namesake : public Stop, public ::testing::WithParamInterface<size_t>
{
protected:
    const Hold &hold = holds()[GetParam()];

    void prepare(Trial &trial)
    {
        trial_prepare(trial, nullptr);
        std::unique_ptr<Fiber> dead = actor_fiber(trial, kVictim, hold.script);
        ASSERT_TRUE(dead->run_to(hold.function, hold.nth));
        trial.dies(kVictim);
    }

    // The words of slots have 20 bits of an id, and 33 for who cleans: nothing but these stands between the last look of
    // who clears up and its swap. Claims have 12, but their words never come back within a segment.
    static bool is_about_to_swap(const Fiber &late)
    {
        return late.state() == Fiber::State::stopped && !late.stands_before_load() &&
               (late.stands_in("slot_settle") || late.stands_in("resolve_slots") || late.stands_in("clean_settle") ||
                late.stands_in("resolve_segment"));
    }

    void goes_unharmed(const Script &late_script, uint64_t m, uint32_t bits)
    {
        Trial trial(trial_shape(RING_JOURNALED, RING_BLOCK, false));
        prepare(trial);
        std::unique_ptr<Fiber> late = actor_fiber(trial, kSecond, late_script, Fiber::Points::accesses);
        actor_run(trial, *late, m);
        if (bits > 12 && is_about_to_swap(*late))
            return;
        std::string where = late->where();
        {
            Publisher sweeper(trial.ring);
            ASSERT_EQ(sweeper.joined, 0);
            ring_sweep(sweeper);
        }
        poke(&trial.ring.control_block()->next_id, look(&trial.log(kVictim).ids[0]) + (1ull << bits));
        trial.take_over();
        std::unique_ptr<Fiber> namesake = actor_fiber(trial, kRole, hold.script);
        namesake->run_to(hold.function, hold.nth);
        actor_run(trial, *late, Fiber::kNever);
        trial.audit();
        ASSERT_TRUE(actors_finish(trial, {namesake.get(), late.get()})) << where << "\n" << trial.failure_text();
        ASSERT_EQ(look(&trial.log(kRole).error), 0u) << error_of(trial, kRole) << ", " << where;
        ASSERT_EQ(look(&trial.log(kSecond).error), 0u) << error_of(trial, kSecond) << ", " << where;
        trial.die({kRole, kSecond});
        trial.aftermath();
        ASSERT_EQ(trial.failure_text(), "")
            << "late at access " << m << ", " << where << ", ids alike in " << bits << " bits\n"
            << trial.ring.dump();
    }
};

TEST_P(Namesake, of_the_dead_is_not_harmed_by_who_comes_late_to_clear_up)
{
    Picker picker;
    for (const Script &late : {Script(join_and_sweep), Script(publish_and_roll)}) {
        Trial unharmed(trial_shape(RING_JOURNALED, RING_BLOCK, false));
        prepare(unharmed);
        uint64_t accesses = points_of(unharmed, kSecond, late, Fiber::Points::accesses).size();
        /* A sweeper at each access; a publisher, which makes many that have nothing to do with the dead, at some. */
        uint64_t step = Picker::everything() ? 1 : accesses < 1000 ? kOneIn : kOneIn * (accesses / 100);
        for (uint32_t bits : {12, 33})
            for (uint64_t m = 1 + picker.below(step); m <= accesses && !HasFatalFailure(); m += step)
                goes_unharmed(late, m, bits);
    }
}

INSTANTIATE_TEST_SUITE_P(ring, Namesake, ::testing::Range<size_t>(0, holds().size()),
                         [](const ::testing::TestParamInfo<size_t> &at) { return holds()[at.param].name; });

// -- Who commits, and dies, while another one looks ----------------------------------------------------------------------

// Looked at while it was alive, asked about when it was dead: what it did in between counts.
class LastWord : public Stop, public ::testing::WithParamInterface<size_t>
{
protected:
    const Hold &hold = holds()[GetParam()];

    std::unique_ptr<Fiber> stop_at_hold(Trial &trial)
    {
        trial_prepare(trial, nullptr);
        std::unique_ptr<Fiber> owner = actor_fiber(trial, kRole, hold.script);
        EXPECT_TRUE(owner->run_to(hold.function, hold.nth));
        return owner;
    }

    void is_heard(const Script &script, uint64_t m, uint64_t stores)
    {
        Trial trial(trial_shape(RING_JOURNALED, RING_BLOCK, false));
        std::unique_ptr<Fiber> owner = stop_at_hold(trial);
        std::unique_ptr<Fiber> looks = actor_fiber(trial, kSecond, script, Fiber::Points::accesses);
        actor_run(trial, *looks, m);
        std::string where = looks->where();
        owner->run(stores + 1);
        trial.dies(kRole);
        trial.audit();
        ASSERT_TRUE(actors_finish(trial, {looks.get()})) << where << "\n" << trial.failure_text();
        ASSERT_EQ(look(&trial.log(kSecond).error), 0u) << error_of(trial, kSecond) << ", " << where;
        trial.dies(kSecond);
        trial.aftermath();
        ASSERT_EQ(trial.failure_text(), "")
            << "stopped at access " << m << ", " << where << ", while the other made " << stores << " stores\n"
            << trial.ring.dump();
    }
};

TEST_P(LastWord, of_the_dead_is_heard_by_who_looked_before)
{
    Picker picker;
    for (const Script &script : {reader({false, false, false, false}), reader({false, false, false, true}),
                                 Script(be_weird), Script(join_and_sweep)}) {
        Trial alone(trial_shape(RING_JOURNALED, RING_BLOCK, false));
        std::unique_ptr<Fiber> owner = stop_at_hold(alone);
        uint64_t accesses = points_of(alone, kSecond, script, Fiber::Points::accesses).size();
        uint64_t step = Picker::everything() ? 1 : accesses < 300 ? kOneIn : kOneIn * (accesses / 200);
        for (uint64_t m = 1 + picker.below(step); m <= accesses && !HasFatalFailure(); m += step)
            for (uint64_t stores : {1, 2})
                is_heard(script, m, stores);
    }
}

INSTANTIATE_TEST_SUITE_P(ring, LastWord, ::testing::Range<size_t>(0, holds().size()),
                         [](const ::testing::TestParamInfo<size_t> &at) { return holds()[at.param].name; });

// -- The name of who is stopped ------------------------------------------------------------------------------------------

// Held, or about to be: its entry is being filled, and who looks for a name waits before it is refused.
bool name_is_with(Trial &trial, uint32_t who)
{
    uint64_t id = look(&trial.log(who).ids[0]);
    for (uint32_t i = 0; id && i < trial.ring.geometry().max_producers; i++) {
        const struct ring_producer *producer = &trial.main.view->producers[i];
        if (look(&producer->holder) == id || look(&producer->state) == (RING_ENTRY_FILLING | id << 2))
            return true;
    }
    return false;
}

class Heir : public Stop, public ::testing::WithParamInterface<bool>
{
};

TEST_P(Heir, is_refused_while_the_holder_of_the_name_is_alive_and_stopped_and_gets_it_afterwards)
{
    const bool holder_dies = GetParam();
    uint64_t held = 0, n = 1;
    for (;; n++) {
        Trial trial(trial_shape(RING_JOURNALED, RING_BLOCK, false));
        trial_prepare(trial, nullptr);
        std::unique_ptr<Fiber> holder = actor_fiber(trial, kRole, publish_named);
        std::unique_ptr<Fiber> heir = actor_fiber(trial, kSecond, take_the_name);
        holder->run(n);
        if (holder->state() == Fiber::State::done)
            break;
        bool refused = name_is_with(trial, kRole);
        held += refused;
        do
            actor_run(trial, *heir, Fiber::kNever);
        while (heir->state() != Fiber::State::done && !look(&trial.log(kSecond).refused));
        ASSERT_EQ(look(&trial.log(kSecond).refused) > 0, refused) << "point " << n << ", " << holder->where();
        ASSERT_EQ(look(&trial.log(kSecond).named), refused ? 0u : 1u) << "point " << n << ", " << holder->where();
        trial.while_stopped({kRole, kSecond});
        if (!holder_dies) {
            ASSERT_TRUE(actors_finish(trial, {holder.get()})) << trial.failure_text();
        }
        trial.dies(kRole);
        ASSERT_TRUE(actors_finish(trial, {heir.get()})) << trial.failure_text();
        ASSERT_EQ(look(&trial.log(kSecond).error), 0u) << error_of(trial, kSecond);
        ASSERT_EQ(look(&trial.log(kSecond).named), 1u);
        trial.dies(kSecond);
        trial.aftermath();
        ASSERT_EQ(trial.failure_text(), "") << "point " << n << ", " << holder->where() << "\n" << trial.ring.dump();
    }
    printf("           refused at %llu of %llu points\n", (unsigned long long)held, (unsigned long long)(n - 1));
}

INSTANTIATE_TEST_SUITE_P(ring, Heir, ::testing::Bool(), [](const ::testing::TestParamInfo<bool> &at) {
    return at.param ? "when_it_dies" : "when_it_has_left";
});

// -- Everybody is --------------------------------------------------------------------------------------------------------

// As many slots as docs/guarantees.md P1 asks for; weird, both seats and every admitted reader but the first
// stopped in a segment of its own, and every publisher but the last stopped in a roll-over.
class Everybody : public Stop, public ::testing::WithParamInterface<uint32_t>
{
protected:
    static constexpr uint32_t kPublishers = 4, kReaders = 5;
    static constexpr uint32_t kSitters = 9, kReader = 12, kRoller = 16;
    Picker picker;

    Shape shape() const
    {
        Shape s = trial_shape(GetParam(), RING_BLOCK, false);
        s.publishers = kPublishers;
        s.readers = kReaders;
        s.slots = 0;
        return s;
    }

    // Two that look for an entry where all are dead, and weird: each stopped where it clears up behind another dead one.
    static void stop_who_resolves(Trial &trial)
    {
        for (uint32_t i = 0; i < kPublishers; i++) {
            trial.fill(1);
            victim(trial, kVictim + i, Fiber::kNever, [](Actor &actor) { (void)(actor.join() && actor.publish(2)); });
        }
        Script sit = [](Actor &actor) {
            if (actor.join())
                actor.leave();
            else if (look(&actor.log.error) == ENOSPC) /* by then the living may have all entries */
                actor.give_up();
        };
        trial.companion(kSitters, sit, "announce", 1).run(1);
        trial.companion(kSitters + 1, sit, "announce", 2).run(1);
        trial.companion(kSitters + 2, be_weird, "announce", 3).run(1);
        Publisher sweeper(trial.ring);
        ring_sweep(sweeper);
    }

    static void stop_readers(Trial &trial)
    {
        for (uint32_t i = 1; i < kReaders; i++) {
            trial.fill(1);
            trial.start_of_role = trial.active() << trial.ring.shape().segment_shift;
            trial.companion(
                kReader + i,
                [](Actor &actor) {
                    (void)(actor.join_reader() && actor.read(true));
                    actor.leave_reader();
                },
                "ring_reader_pass", 1);
            trial.take_over();
        }
    }

    // Segments that somebody who does not move has announced.
    static std::set<uint64_t> pinned(Trial &trial)
    {
        std::set<uint64_t> all;
        View &view = trial.main.view;
        for (uint32_t i = 0; i < view->publisher_entries; i++)
            if (look(&view->publishers[i].id) && look(&view->publishers[i].announced))
                all.insert(look(&view->publishers[i].announced) - 1);
        for (uint32_t i = 0; i < kReaders; i++)
            if (look(&view->reader_table[i].id) != trial.main->id && look(&view->reader_table[i].announced))
                all.insert(look(&view->reader_table[i].announced) - 1);
        return all;
    }

    // How many stores a roll-over has, up to the one that makes the new segment live.
    uint64_t roll_over_points()
    {
        Trial trial(shape());
        trial.go_on(trial.ring.geometry().slot_count + 1);
        std::unique_ptr<Fiber> fiber = actor_fiber(trial, kRole, publish_much);
        fiber->run_to("publisher_roll");
        uint64_t last = 1;
        for (uint64_t n = 1; !fiber->stands_in("commit_head"); fiber->run(1), n++)
            if (fiber->stands_in("publisher_roll"))
                last = n;
        return last;
    }

    void the_last_goes_on(const std::vector<uint64_t> &points)
    {
        Trial trial(shape());
        uint32_t slots = trial.ring.geometry().slot_count;
        trial.go_on(slots + 1);
        stop_who_resolves(trial);
        stop_readers(trial);
        ASSERT_EQ(pinned(trial).size(), 3u + kReaders - 1) << trial.ring.dump();
        for (uint32_t i = 0; i + 1 < kPublishers; i++) {
            Fiber &roller = trial.companion(kRoller + i, publish_much, "publisher_roll");
            if (points[i] > 1)
                roller.run(points[i] - 1);
            trial.go_on(1);
        }
        std::string where = "stopped at points " + std::to_string(points[0]) + ", " + std::to_string(points[1]) + ", " +
                            std::to_string(points[2]) + " of a roll-over";
        EXPECT_EQ(trial.go_on(3 * slots), 3 * slots) << where << "\n" << trial.ring.dump();
        trial.audit();
        trial.companions_end();
        trial.aftermath();
        EXPECT_EQ(trial.failure_text(), "") << where << "\n" << trial.ring.dump();
    }
};

TEST_P(Everybody, but_the_last_publisher_may_be_stopped)
{
    uint64_t last = roll_over_points();
    ASSERT_GE(last, 7u);
    for (uint64_t n = 1; n <= last && !HasFailure(); n++)
        the_last_goes_on({n, n, n});
    for (uint32_t i = 0; i < 40 && !HasFailure(); i++)
        the_last_goes_on({1 + picker.below(last), 1 + picker.below(last), 1 + picker.below(last)});
    printf("           %llu points of a roll-over, WEIR_CRASH_SEED=%llu\n", (unsigned long long)last,
           (unsigned long long)picker.seed());
}

INSTANTIATE_TEST_SUITE_P(ring, Everybody, ::testing::Values(RING_JOURNALED, 0u),
                         [](const ::testing::TestParamInfo<uint32_t> &at) {
                             return at.param ? "of_a_journaled_ring" : "of_a_memory_ring";
                         });

// -- Before there is a ring, and where its words are damaged -------------------------------------------------------------

TEST_F(Stop, of_a_creator_delays_the_ring_and_nothing_else)
{
    for (uint64_t n = 1;; n++) {
        Ring ring((Shape()));
        const struct ring_geometry &geometry = ring.geometry();
        struct ring_identity identity = ring.view()->identity;
        memset(ring.control(), 0, geometry.control_bytes);
        memset(ring.readers(), 0, geometry.readers_bytes);
        Fiber creator([&] { ring_format(ring.control(), ring.readers(), ring.data(), &geometry, &identity); });
        struct ring_view view;
        auto attach = [&] {
            const char *reason = "";
            return ring_view_init(&view, ring.control(), geometry.control_bytes, ring.readers(), geometry.readers_bytes,
                                  ring.data(), geometry.data_bytes, &reason);
        };
        creator.run(n);
        if (creator.state() == Fiber::State::done)
            break;
        coverage_count(creator.site(), Event::stopped);
        ASSERT_EQ(attach(), -EAGAIN) << "stopped at point " << n << ", " << creator.where();
        creator.run();
        ASSERT_EQ(attach(), 0);
        Publisher publisher(ring);
        Reader reader(ring);
        ASSERT_TRUE(published(publisher.publish("x")));
        ASSERT_EQ(ring_reader_seek(reader, ring.start()), 0);
        ASSERT_EQ(reader.read_all().size(), 1u);
        ASSERT_EQ(ring.faults(), std::vector<std::string>());
    }
}

// Who finds no way into the active segment gives up after many rounds: only where the words contradict each other.
TEST_F(Stop, of_a_publisher_in_a_damaged_ring_adds_no_damage)
{
    Trial trial(trial_shape(RING_JOURNALED, RING_BLOCK, false));
    trial_prepare(trial, nullptr);
    struct mem_u64 *state = &trial.main.view->states[active_slot(look(&trial.ring.control_block()->active))];
    uint64_t good = look(state);
    poke(state, 0);
    std::unique_ptr<Fiber> fiber = actor_fiber(trial, kRole, [](Actor &actor) {
        if (!actor.join() || actor.publish(1))
            return;
        if (look(&actor.log.error) == EBADMSG)
            actor.give_up();
        actor.leave();
    });
    ASSERT_TRUE(fiber->run_to("publisher_enter"));
    coverage_count(fiber->site(), Event::stopped);
    poke(state, good);
    trial.while_stopped({kRole});
    ASSERT_TRUE(actors_finish(trial, {fiber.get()}));
    EXPECT_EQ(look(&trial.log(kRole).error), 0u);
    trial.dies(kRole);
    trial.aftermath();
    EXPECT_EQ(trial.failure_text(), "");
}

} // namespace
