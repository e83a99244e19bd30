// SPDX-License-Identifier: Apache-2.0
// Each role killed, and stopped, before each of its stores and swaps, alone and with another one that was killed or stopped
// before; then others go on, and the promises are checked (Trial::aftermath).
// test: LINKS weir_ringbuf TIMEOUT 600
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>

#include "tests/support/ring_roles.h"

using namespace ringtest;

namespace
{

std::string text(const Trial &trial)
{
    std::string all;
    for (const std::string &failure : trial.failures())
        all += failure + "\n";
    return all;
}

std::string error_of(Trial &trial, uint32_t who)
{
    return strerror((int)look(&trial.log(who).error));
}

std::unique_ptr<Fiber> actor_fiber(Trial &trial, uint32_t who, const Script &script)
{
    return std::make_unique<Fiber>([&trial, who, &script] {
        Actor actor(trial, who);
        actor.patience = UINT32_MAX;
        script(actor);
        poke(&actor.log.finished, 1);
    });
}

// Lets them run to their ends, each as far as it comes before the next one is asked, while what they wait for is done.
bool finish(Trial &trial, const std::vector<Fiber *> &fibers)
{
    for (uint32_t round = 0; round < 100; round++) {
        bool waits = false;
        for (Fiber *fiber : fibers) {
            for (uint32_t step = 0; step < 200 && fiber->step(); step++)
                if (!trial.take_over())
                    return false;
            waits |= fiber->state() != Fiber::State::done;
        }
        if (!waits)
            return true;
    }
    return false;
}

// By hand: WEIR_TEST_LONG=1 tries every point where the others try some of each call site.
bool thorough()
{
    static const bool wanted = getenv("WEIR_TEST_LONG") != nullptr;
    return wanted;
}

// The points of a script worth stopping at: of each call site the first hits and the last one.
std::vector<uint64_t> chosen_points(const Role &role, const Script &script, const std::function<void(Trial &)> &before,
                                    uint32_t per_site)
{
    Trial trial(role_shape(role));
    role_prepare(trial, role);
    if (before)
        before(trial);
    std::unique_ptr<Fiber> fiber = actor_fiber(trial, kRole, script);
    std::map<std::string, uint32_t> hits;
    std::map<std::string, uint64_t> last;
    std::set<uint64_t> points;
    if (thorough())
        per_site = UINT32_MAX;
    for (uint64_t n = 1;; n++) {
        fiber->run(1);
        if (fiber->state() == Fiber::State::done)
            break;
        std::string where = fiber->where();
        if (hits[where]++ < per_site)
            points.insert(n);
        last[where] = n;
    }
    for (auto &one : last)
        points.insert(one.second);
    return std::vector<uint64_t>(points.begin(), points.end());
}

class Hooked : public ::testing::Test
{
protected:
    void SetUp() override
    {
        mem_point_hook = fiber_point;
    }
    void TearDown() override
    {
        mem_point_hook = nullptr;
    }
};

std::string role_name(const ::testing::TestParamInfo<size_t> &parameter)
{
    return roles()[parameter.param].name;
}

// -- One actor, a process of its own -------------------------------------------------------------------------------------

class EveryRole : public Hooked, public ::testing::WithParamInterface<size_t>
{
protected:
    const Role &role = roles()[GetParam()];

    Shape shape() const
    {
        Shape s = role_shape(role);
        s.shared = true;
        return s;
    }
};

TEST_P(EveryRole, may_be_killed_before_each_store)
{
    std::set<std::string> places;
    uint64_t n = 1;
    for (;; n++) {
        Trial trial(shape());
        role_prepare(trial, role);
        ASSERT_EQ(text(trial), "");
        Child child(trial, kRole, role.script);
        Child::End end = child.run_and_kill(n);
        ASSERT_NE(end, Child::End::broken) << "point " << n << ": " << error_of(trial, kRole);
        if (end == Child::End::finished)
            break;
        places.insert(child.where());
        trial.dies(kRole);
        trial.aftermath();
        ASSERT_EQ(text(trial), "") << "killed at point " << n << ", " << child.where() << "\n" << trial.ring.dump();
    }
    ASSERT_GT(n, 1u);
    printf("           %s: killed at %llu points, %zu call sites\n", role.name, (unsigned long long)(n - 1),
           places.size());
}

TEST_P(EveryRole, may_be_stopped_before_each_store_and_go_on_later)
{
    uint64_t n = 1;
    for (;; n++) {
        Trial trial(shape());
        role_prepare(trial, role);
        Child child(trial, kRole, role.script);
        Child::End end = child.run_and_stop(n);
        ASSERT_NE(end, Child::End::broken) << "point " << n << ": " << error_of(trial, kRole);
        if (end == Child::End::finished)
            break;
        if (role.alone)
            trial.take_over();
        else
            trial.while_stopped({kRole});
        ASSERT_EQ(text(trial), "") << "stopped at point " << n << ", " << child.where() << "\n" << trial.ring.dump();
        child.go_on();
        while (!child.ended(&end) && trial.take_over())
            sched_yield();
        ASSERT_EQ(end, Child::End::finished) << "point " << n << ": " << error_of(trial, kRole);
        trial.dies(kRole); /* it left, and its locks fell */
        trial.aftermath();
        ASSERT_EQ(text(trial), "") << "stopped and continued at point " << n << ", " << child.where() << "\n"
                                   << trial.ring.dump();
    }
    printf("           %s: stopped at %llu points\n", role.name, (unsigned long long)(n - 1));
}

TEST_P(EveryRole, may_be_killed_after_it_was_stopped)
{
    if (role.alone)
        GTEST_SKIP() << "nobody else can publish meanwhile";
    uint64_t n = 1;
    for (;; n++) {
        Trial trial(shape());
        role_prepare(trial, role);
        {
            Child child(trial, kRole, role.script);
            Child::End end = child.run_and_stop(n);
            if (end == Child::End::finished)
                break;
            trial.while_stopped({kRole});
        }
        trial.dies(kRole);
        trial.aftermath();
        ASSERT_EQ(text(trial), "") << "stopped and killed at point " << n << "\n" << trial.ring.dump();
    }
}

INSTANTIATE_TEST_SUITE_P(crash, EveryRole, ::testing::Range<size_t>(0, roles().size()), role_name);

// -- One died, then who meets what it left is killed, too ----------------------------------------------------------------

struct Pair {
    const char *name;
    uint32_t flags;
    Script first;
    Script second;
    bool alone = false;
};

const std::vector<Pair> &pairs()
{
    constexpr uint32_t kJournaled = RING_JOURNALED, kExclusive = RING_EXCLUSIVE;
    static const std::vector<Pair> kPairs = {
        {"publisher_and_sweeper", kJournaled, publish_all_kinds, join_and_sweep},
        {"publisher_and_publisher", kJournaled, publish_all_kinds, publish_and_roll},
        {"memory_publisher_and_sweeper", 0, publish_all_kinds, join_and_sweep},
        {"memory_publisher_and_publisher", 0, publish_all_kinds, publish_and_roll},
        {"named_publisher_and_sweeper", kJournaled, publish_named, join_and_sweep},
        {"named_publisher_and_heir", kJournaled, publish_named, take_the_name},
        {"publisher_and_reader", kJournaled, publish_all_kinds, read_all},
        {"exclusive_publisher_and_heir", kExclusive | kJournaled, publish_all_kinds, publish_and_roll, true},
        {"exclusive_named_publisher_and_heir", kExclusive | kJournaled, publish_named, take_the_name, true},
    };
    return kPairs;
}

class EveryPair : public Hooked, public ::testing::WithParamInterface<size_t>
{
protected:
    const Pair &pair = pairs()[GetParam()];
    const Role role = {pair.name, pair.flags, RING_BLOCK, nullptr, nullptr, pair.alone};
};

TEST_P(EveryPair, may_be_killed_one_after_the_other)
{
    uint64_t trials = 0;
    Shape shape = role_shape(role);
    shape.shared = true;
    for (uint64_t n : chosen_points(role, pair.first, nullptr, 1)) {
        auto dead = [&](Trial &trial) { victim(trial, kVictim, n, pair.first); };
        std::vector<uint64_t> points = chosen_points(role, pair.second, dead, 1);
        points.push_back(UINT64_MAX);
        for (uint64_t m : points) {
            Trial trial(shape);
            role_prepare(trial, role);
            dead(trial);
            Child child(trial, kSecond, pair.second);
            Child::End end = child.run_and_kill(m);
            ASSERT_NE(end, Child::End::broken) << "points " << n << ", " << m << ": " << error_of(trial, kSecond);
            trial.dies(kSecond);
            trial.aftermath();
            ASSERT_EQ(text(trial), "") << "the first killed at point " << n << ", the second at point " << m << ", "
                                       << child.where() << "\n"
                                       << trial.ring.dump();
            trials++;
        }
    }
    printf("           %s: %llu pairs of deaths\n", pair.name, (unsigned long long)trials);
}

// The first dead, the second stopped while others clear up behind the first, reuse its index and all slots, and go on.
// Ids are handed out in a way that the next owner of the index has the same low bits.
TEST_P(EveryPair, is_harmless_when_the_second_wakes_up_long_after_others_resolved_the_first)
{
    if (pair.alone)
        GTEST_SKIP() << "nobody else can publish meanwhile";
    uint64_t trials = 0;
    for (uint32_t bits : thorough() ? std::vector<uint32_t>{12, 20, 33} : std::vector<uint32_t>{33}) {
        for (uint64_t n : chosen_points(role, pair.first, nullptr, 1)) {
            auto dead = [&](Trial &trial) { victim(trial, kVictim, n, pair.first); };
            for (uint64_t m : chosen_points(role, pair.second, dead, 1)) {
                Trial trial(role_shape(role));
                role_prepare(trial, role);
                dead(trial);
                std::unique_ptr<Fiber> second = actor_fiber(trial, kSecond, pair.second);
                second->run(m);
                {
                    Publisher sweeper(trial.ring);
                    if (sweeper.joined == 0)
                        ring_sweep(sweeper);
                }
                for (uint64_t i = 0; i < look(&trial.log(kVictim).id_count); i++)
                    poke(&trial.ring.control_block()->next_id, look(&trial.log(kVictim).ids[i]) + (1ull << bits));
                trial.while_stopped({kSecond});
                std::string where = second->where();
                ASSERT_TRUE(finish(trial, {second.get()})) << "points " << n << ", " << m << ", " << where << "\n"
                                                           << text(trial);
                ASSERT_EQ(look(&trial.log(kSecond).error), 0u)
                    << "points " << n << ", " << m << ": " << error_of(trial, kSecond);
                trial.dies(kSecond);
                trial.aftermath();
                ASSERT_EQ(text(trial), "") << "the first killed at point " << n << ", the second stopped at point " << m
                                           << ", " << where << ", ids alike in " << bits << " bits\n"
                                           << trial.ring.dump();
                trials++;
            }
        }
    }
    printf("           %s: %llu times\n", pair.name, (unsigned long long)trials);
}

TEST_P(EveryPair, may_be_stopped_at_the_same_time)
{
    if (pair.alone)
        GTEST_SKIP() << "nobody else can publish meanwhile";
    if (std::string(pair.name) == "named_publisher_and_heir")
        GTEST_SKIP() << "the heir is refused while the holder of the name lives, stopped or not";
    uint64_t trials = 0;
    std::vector<uint64_t> firsts = chosen_points(role, pair.first, nullptr, 1);
    std::vector<uint64_t> seconds = chosen_points(role, pair.second, nullptr, 1);
    for (uint64_t n : firsts) {
        for (uint64_t m : seconds) {
            for (uint32_t order = 0; order < 3; order++) {
                Trial trial(role_shape(role));
                role_prepare(trial, role);
                std::unique_ptr<Fiber> first = actor_fiber(trial, kRole, pair.first);
                std::unique_ptr<Fiber> second = actor_fiber(trial, kSecond, pair.second);
                first->run(n);
                second->run(m);
                std::string where = std::string(first->where()) + ", " + second->where();
                if (order < 2)
                    trial.while_stopped({kRole, kSecond});
                ASSERT_TRUE(order == 0 ? finish(trial, {first.get(), second.get()})
                                       : finish(trial, {second.get(), first.get()}))
                    << "stopped at points " << n << " and " << m << ", " << where << "\n"
                    << text(trial) << trial.ring.dump();
                ASSERT_EQ(look(&trial.log(kRole).error), 0u)
                    << error_of(trial, kRole) << " " << n << " " << m << " " << where;
                ASSERT_EQ(look(&trial.log(kSecond).error), 0u)
                    << error_of(trial, kSecond) << " " << n << " " << m << " " << where;
                trial.dies(kRole);
                trial.dies(kSecond);
                trial.aftermath();
                ASSERT_EQ(text(trial), "") << "stopped at points " << n << " and " << m << ", " << where
                                           << ", continued in order " << order << "\n"
                                           << trial.ring.dump();
                trials++;
            }
        }
    }
    printf("           %s: %llu pairs of stops\n", pair.name, (unsigned long long)trials);
}

INSTANTIATE_TEST_SUITE_P(crash, EveryPair, ::testing::Range<size_t>(0, pairs().size()),
                         [](const ::testing::TestParamInfo<size_t> &parameter) {
                             return std::string(pairs()[parameter.param].name);
                         });

// -- Every crash point was reached ---------------------------------------------------------------------------------------

struct Excuse {
    const char *file;
    const char *function;
    const char *reason;
};

const Excuse kExcuses[] = {
    {"tests/", "", "a test's own"},
    {"ringbuf/members.c", "take_exclusive", "the entry was freed between two looks, by a resolver at the same instant"},
    {"ringbuf/members.c", "resolve_holder", "the same for a producer's holder"},
    {"ringbuf/reader.c", "enter_segment", "a reclaim that is under way between two looks of a reader"},
    {"ringbuf/repair.c", "enter_segment_of", "the same for who resolves the dead"},
    {"ringbuf/roll.c", "publisher_enter", "gives up after thousands of rounds: only in a damaged ring"},
    {"ringbuf/roll.c", "slot_reclaim", "somebody announced between the first look and the one after the fence"},
};

class EveryCallSite : public ::testing::Environment
{
public:
    void TearDown() override
    {
        if (::testing::GTEST_FLAG(filter) != "*")
            return;
        size_t reached = 0, excused = 0;
        std::vector<Site> sites = coverage();
        for (const Site &site : sites) {
            bool excuse = false;
            for (const Excuse &one : kExcuses)
                excuse |= site.file.find(one.file) == 0 && (!*one.function || site.function == one.function);
            reached += site.hits > 0;
            excused += site.hits == 0 && excuse;
            if (site.hits == 0 && !excuse)
                ADD_FAILURE() << "no run reached " << site.file << ":" << site.line << " " << site.function;
        }
        printf("           %zu call sites reached, %zu excused, of %zu\n", reached, excused, sites.size());
    }
};

const ::testing::Environment *const kCallSites = ::testing::AddGlobalTestEnvironment(new EveryCallSite);

} // namespace
