// SPDX-License-Identifier: Apache-2.0
// Each role killed before each of its stores and swaps, alone and after another one that was killed before; then others go
// on, and the promises are checked (Trial::aftermath). Every store and swap in ringbuf/ must have killed somebody.
//   WEIR_CRASH_SEED=N   repeats a run's choice of pairs        WEIR_CRASH_ALL=1   all pairs, for hours
// test: LINKS weir_ringbuf TIMEOUT 600
#include <gtest/gtest.h>

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

const bool kEverySite = (every_call_site_must_be(kOneIn == 1 ? Event::killed : Event::passed), true);

std::string error_of(Trial &trial, uint32_t who)
{
    return strerror((int)look(&trial.log(who).error));
}

class Crash : public ::testing::Test
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

// -- One dies ------------------------------------------------------------------------------------------------------------

class EveryRole : public Crash, public ::testing::WithParamInterface<size_t>
{
protected:
    const Role &role = roles()[GetParam()];
};

TEST_P(EveryRole, may_be_killed_before_each_store)
{
    std::set<std::string> places;
    Picker picker;
    uint64_t n = picker.step(), trials = 0;
    for (;; n += picker.step(), trials++) {
        Trial trial(trial_shape(role.flags, role.when_full, true));
        trial_prepare(trial, role.before);
        ASSERT_EQ(trial.failure_text(), "");
        uint64_t until = ring_end_position(trial.main.view);
        Child child(trial, kRole, role.script);
        Child::End end = child.run_and_kill(n);
        ASSERT_TRUE(end == Child::End::killed || end == Child::End::finished)
            << "point " << n << ": " << error_of(trial, kRole);
        places.insert(child.where());
        trial.die({kRole, kSecond});
        trial.aftermath();
        ASSERT_EQ(trial.failure_text(), "") << "killed at point " << n << ", " << child.where() << "\n"
                                            << trial.ring.dump();
        if (end == Child::End::finished) {
            ASSERT_TRUE(!look(&trial.log(kRole).read_from) || trial.has_read(kRole, until));
            break;
        }
    }
    ASSERT_TRUE(trials > 0 || kOneIn > 1);
    printf("           %s: killed at %llu points, %zu call sites\n", role.name.c_str(), (unsigned long long)trials,
           places.size() - 1);
}

INSTANTIATE_TEST_SUITE_P(ring, EveryRole, ::testing::Range<size_t>(0, roles().size()),
                         [](const ::testing::TestParamInfo<size_t> &at) { return roles()[at.param].name; });

// -- One dies, then who meets what it left is killed, too ----------------------------------------------------------------

class EveryPair : public Crash, public ::testing::WithParamInterface<size_t>
{
protected:
    const Pair &pair = pairs()[GetParam()];
};

TEST_P(EveryPair, may_be_killed_one_after_the_other)
{
    Picker picker;
    uint64_t trials = 0;
    Shape shape = trial_shape(pair.flags, pair.when_full, true);
    Trial alone(shape);
    trial_prepare(alone, pair.before);
    uint64_t firsts = points_of(alone, kRole, pair.first).size();
    for (uint64_t n = picker.step(); n <= firsts; n += picker.step()) {
        Trial unharmed(shape);
        trial_prepare(unharmed, pair.before);
        victim(unharmed, kRole, n, pair.first);
        std::vector<uint64_t> chosen = picker.pick(points_of(unharmed, kSecond, pair.second), 1);
        chosen.push_back(Fiber::kNever);
        for (uint64_t m : chosen) {
            Trial trial(shape);
            trial_prepare(trial, pair.before);
            victim(trial, kRole, n, pair.first);
            Child child(trial, kSecond, pair.second);
            Child::End end = child.run_and_kill(m);
            ASSERT_TRUE(end == Child::End::killed || end == Child::End::finished)
                << "points " << n << ", " << m << ": " << error_of(trial, kSecond) << "\n"
                << trial.ring.dump();
            trial.dies(kSecond);
            trial.aftermath();
            ASSERT_EQ(trial.failure_text(), "")
                << "the first killed at point " << n << ", the second at point " << m << ", " << child.where()
                << ", WEIR_CRASH_SEED=" << picker.seed() << "\n"
                << trial.ring.dump();
            trials++;
        }
    }
    printf("           %s: %llu pairs of deaths, WEIR_CRASH_SEED=%llu\n", pair.name.c_str(), (unsigned long long)trials,
           (unsigned long long)picker.seed());
}

INSTANTIATE_TEST_SUITE_P(ring, EveryPair, ::testing::Range<size_t>(0, pairs().size()),
                         [](const ::testing::TestParamInfo<size_t> &at) { return pairs()[at.param].name; });

// -- Before there is a ring, and where its words are damaged -------------------------------------------------------------

TEST_F(Crash, of_a_creator_leaves_nothing_that_could_be_attached_to)
{
    Ring ring((Shape()));
    const struct ring_geometry &geometry = ring.geometry();
    struct ring_identity identity = ring.view()->identity;
    for (uint64_t n = 1;; n++) {
        memset(ring.control(), 0, geometry.control_bytes);
        memset(ring.readers(), 0, geometry.readers_bytes);
        Fiber creator([&] { ring_format(ring.control(), ring.readers(), ring.data(), &geometry, &identity); });
        creator.run(n);
        struct ring_view view;
        const char *reason = "";
        int r = ring_view_init(&view, ring.control(), geometry.control_bytes, ring.readers(), geometry.readers_bytes,
                               ring.data(), geometry.data_bytes, &reason);
        if (creator.state() == Fiber::State::done) {
            EXPECT_EQ(r, 0) << reason;
            EXPECT_EQ(ring.faults(), std::vector<std::string>());
            break;
        }
        coverage_count(creator.site(), Event::killed);
        ASSERT_EQ(r, -EAGAIN) << "killed at point " << n << ", " << creator.where() << ": " << reason;
    }
}

// Who finds no way into the active segment gives up after many rounds: only where the words contradict each other.
TEST_F(Crash, of_a_publisher_in_a_damaged_ring_adds_no_damage)
{
    Trial trial(trial_shape(RING_JOURNALED, RING_BLOCK, false));
    trial_prepare(trial, nullptr);
    struct mem_u64 *state = &trial.main.view->states[active_slot(look(&trial.ring.control_block()->active))];
    uint64_t good = look(state);
    poke(state, 0);
    std::unique_ptr<Fiber> fiber = actor_fiber(trial, kRole, publish_and_roll);
    ASSERT_TRUE(fiber->run_to("publisher_enter"));
    coverage_count(fiber->site(), Event::killed);
    trial.dies(kRole);
    poke(&trial.log(kRole).attempted, 0);
    poke(state, good);
    trial.aftermath();
    EXPECT_EQ(trial.failure_text(), "");
}

} // namespace
