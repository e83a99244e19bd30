// SPDX-License-Identifier: Apache-2.0
// Workers of a group killed before each of their stores and swaps, alone and one after the other, and at random among others
// that go on, with leases that end under them. Then: every message was finished by one who held it, no attempt was told
// twice, no entry is lost. Every store and swap in group/ must have killed somebody.
//   WEIR_CRASH_SEED=N   begins the random trials there
// test: LINKS weir_group TIMEOUT 300
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/group_world.h"
#include "tests/support/ring_coverage.h"
#include "tests/support/ring_fiber.h"
#include "tests/support/ring_points.h"

using namespace grouptest;
using ringtest::Event;
using ringtest::Fiber;

namespace
{

const bool kEverySite =
    (ringtest::every_call_site_must_be(ringtest::kOneIn == 1 ? Event::killed : Event::passed), true);

struct Role {
    const char *name;
    std::function<void(Worker &)> before; // by somebody who lives, before the role begins
    std::function<void(Worker &)> script; // of who has joined
};

void leave_open(Worker &worker, uint32_t most)
{
    worker.cut(most);
    worker.give_back(worker.mask());
}

// Another worker, that stands still before its nth store in that function for ever. Alive.
void stop_another(World &world, const std::function<void(Worker &)> &script, const char *function, uint32_t nth = 1)
{
    auto worker = std::make_shared<Worker>(world);
    auto fiber = std::make_shared<Fiber>([worker, script] {
        worker->join();
        script(*worker);
    });
    if (!fiber->run_to(function, nth))
        world.fail(std::string("nobody comes to ") + function);
    world.stopped.push_back(worker);
    world.stopped.push_back(fiber);
}

const std::vector<Role> &roles()
{
    static const std::vector<Role> all = {
        {"cuts_and_finishes", nullptr,
         [](Worker &w) {
             w.cut(3);
             w.finish_all();
             w.cut(2);
             w.finish(1);
             w.finish(2);
             w.leave();
         }},
        {"takes_what_came_back", [](Worker &w) { leave_open(w, 2); },
         [](Worker &w) {
             w.take();
             w.finish_all();
         }},
        {"gives_back_all_and_some", nullptr,
         [](Worker &w) {
             w.cut(3);
             w.give_back(2);
             w.finish(1);
             w.give_back(4, w.world.now_ns + 5);
             w.cut(2);
             w.give_back(1, w.world.now_ns + 5);
             w.give_back(2);
             w.world.now_ns += 10;
             w.work_all();
         }},
        {"moves_one_that_came_back", [](Worker &w) { leave_open(w, 3); },
         [](Worker &w) {
             w.take();
             w.give_back(6);
             w.finish_all();
             w.take();
             w.give_back(2);
             w.leave();
         }},
        {"extends_and_is_too_late", nullptr,
         [](Worker &w) {
             w.cut(2);
             struct group_run run = w.runs.back();
             group_extend(&w.worker, run.entry, run.generation, w.world.now_ns + 2);
             w.world.end_leases();
             w.finish_all();
             w.take();
             w.give_back(1);
             w.world.end_leases();
             w.give_back(2, 77);
         }},
        {"goes_past_a_gap", nullptr,
         [](Worker &w) {
             struct group_cut cut;
             group_reserve(&w.worker);
             group_cursor(&w.worker, w.world.first, &cut);
             group_skip(&w.worker, &cut, w.world.position(2));
             if (w.world.finished[0] == 0)
                 w.world.finished[0] = w.world.finished[1] = 1;
             w.cut(2);
             w.finish_all();
         }},
        {"cuts_behind_who_stands_still",
         [](Worker &w) {
             stop_another(
                 w.world, [](Worker &other) { other.cut(2); }, "group_cut", 7);
         },
         [](Worker &w) {
             w.cut(2);
             w.finish_all();
             w.leave();
         }},
        {"ends_the_lease_of_a_cut_that_was_not_told",
         [](Worker &w) {
             stop_another(
                 w.world, [](Worker &other) { other.cut(2); }, "group_cut", 7);
         },
         [](Worker &w) {
             w.world.end_leases();
             w.work_all();
         }},
        {"ends_the_lease_of_a_move_that_was_not_told",
         [](Worker &w) {
             stop_another(
                 w.world,
                 [](Worker &other) {
                     other.cut(2);
                     other.give_back(1);
                 },
                 "give_back_some", 7);
         },
         [](Worker &w) {
             w.world.end_leases();
             w.work_all();
         }},
        {"takes_a_run_out_of_which_a_move_was_not_told",
         [](Worker &w) {
             stop_another(
                 w.world,
                 [](Worker &other) {
                     other.cut(2);
                     other.give_back(1);
                 },
                 "give_back_some", 7);
             World *world = &w.world;
             stop_another(
                 w.world, [world](Worker &) { world->end_leases(); }, "end_lease", 2);
         },
         [](Worker &w) {
             w.take();
             w.finish_all();
         }},
        {"finds_a_run_that_all_was_moved_out_of",
         [](Worker &w) {
             mem_store_relaxed_(&w.world.view.entries[0].word, entry_make(GROUP_OPEN, 0, 0, 1, 1));
             mem_store_relaxed_(&w.world.view.header->used, 1);
         },
         [](Worker &w) { w.work_all(); }},
        {"joins_where_all_lines_are_the_deads",
         [](Worker &w) {
             w.world.dead_ids.insert(w.worker.id);
             Worker others[3] = {Worker(w.world), Worker(w.world), Worker(w.world)};
             for (Worker &other : others) {
                 other.join();
                 other.cut(1);
                 w.world.dead_ids.insert(other.worker.id);
             }
         },
         [](Worker &w) { w.work_all(); }},
    };
    return all;
}

// A role up to its n-th point: then it is dead. False: it came to its end before.
bool die_at(World &world, const Role &role, uint64_t n, std::string *ret_where)
{
    Worker worker(world);
    Fiber fiber([&] {
        worker.join();
        role.script(worker);
    });
    fiber.run(n);
    *ret_where = fiber.where();
    bool done = fiber.state() == Fiber::State::done;
    if (!done)
        ringtest::coverage_count(fiber.site(), Event::killed);
    for (uint64_t id = 1; id < world.next_id; id++)
        world.dead_ids.insert(id);
    return !done;
}

void prepare(World &world, const Role &role)
{
    if (!role.before)
        return;
    Worker before(world);
    before.join();
    role.before(before);
    if (world.dead_ids.count(before.worker.id) == 0)
        before.leave();
}

// Others go on: everything is finished and nothing is left.
void aftermath(World &world)
{
    world.end_leases();
    Worker worker(world);
    world.sweep();
    if (!worker.join())
        world.fail("nobody may join");
    worker.worker.looking = true;
    worker.work_all();
    worker.leave();
    world.check_finished();
    world.check_empty();
}

class GroupCrash : public ::testing::Test
{
protected:
    void SetUp() override
    {
        mem_point_hook = ringtest::fiber_point;
    }
    void TearDown() override
    {
        mem_point_hook = nullptr;
    }
};

class EveryRole : public GroupCrash, public ::testing::WithParamInterface<size_t>
{
};

TEST_P(EveryRole, may_be_killed_before_each_store)
{
    const Role &role = roles()[GetParam()];
    for (uint64_t n = 1;; n++) {
        World world((World::Shape()));
        prepare(world, role);
        std::string where;
        bool died = die_at(world, role, n, &where);
        aftermath(world);
        ASSERT_EQ(world.failure, "") << "killed at point " << n << ", " << where << "\n" << world.dump();
        if (!died)
            break;
    }
}

// The second one is who puts in order what the first one left, and goes on with it.
TEST_P(EveryRole, and_who_resolves_it_may_be_killed_too)
{
    const Role &role = roles()[GetParam()];
    const Role second = {"second", nullptr, [](Worker &w) {
                             w.world.sweep();
                             w.world.end_leases();
                             w.work_all();
                             w.leave();
                         }};
    bool first_died = true;
    for (uint64_t n = 1; first_died; n++) {
        bool second_died = true;
        for (uint64_t m = 1; second_died; m++) {
            World world((World::Shape()));
            prepare(world, role);
            std::string where, then;
            first_died = die_at(world, role, n, &where);
            second_died = die_at(world, second, m, &then);
            aftermath(world);
            ASSERT_EQ(world.failure, "") << "killed at point " << n << ", " << where << ", then at " << m << ", "
                                         << then << "\n"
                                         << world.dump();
        }
    }
}

INSTANTIATE_TEST_SUITE_P(group, EveryRole, ::testing::Range<size_t>(0, roles().size()),
                         [](const ::testing::TestParamInfo<size_t> &at) { return roles()[at.param].name; });

TEST_F(GroupCrash, of_a_creator_leaves_nothing_that_could_be_attached_to)
{
    World world((World::Shape()));
    struct group_header *header = world.view.header;
    struct group_options options = world.view.options;
    struct group_identity identity = world.view.identity;
    for (uint64_t n = 1;; n++) {
        memset(static_cast<void *>(header), 0, world.bytes);
        Fiber creator([&] { group_format(header, &options, &identity, 64); });
        creator.run(n);
        struct group_view view;
        const char *reason = "";
        int r = group_view_init(&view, header, world.bytes, &reason);
        if (creator.state() == Fiber::State::done) {
            EXPECT_EQ(r, 0) << reason;
            break;
        }
        ringtest::coverage_count(creator.site(), Event::killed);
        ASSERT_EQ(r, -EAGAIN) << "killed at point " << n;
    }
}

// -- at random, among others ------------------------------------------------------------------------------------------------

uint64_t random_state;
uint64_t draw(uint64_t below)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (random_state >> 33) % below;
}

void any_worker(Worker &worker)
{
    if (!worker.join())
        return;
    for (uint32_t step = 0; step < 30; step++) {
        if (!worker.take() && !worker.cut(1 + (uint32_t)draw(3)))
            continue;
        while (worker.mask()) {
            uint32_t mask = worker.mask(), one = mask & (0u - mask);
            switch (draw(6)) {
            case 0:
                worker.give_back(mask, draw(2) ? worker.world.now_ns + draw(50) : 0);
                break;
            case 1:
                if (!worker.give_back(one, draw(2) ? worker.world.now_ns + draw(50) : 0))
                    worker.finish(one);
                break;
            case 2:
                worker.finish(one);
                break;
            default:
                worker.finish(mask);
            }
        }
    }
    worker.leave();
}

void yield_sometimes(Fiber &fiber, bool)
{
    (void)fiber;
    if (draw(3) == 0)
        Fiber::yield();
}

TEST_F(GroupCrash, at_random_among_others_that_go_on)
{
    const char *given = getenv("WEIR_CRASH_SEED");
    uint64_t first = given ? strtoull(given, nullptr, 10) : (uint64_t)time(nullptr) << 20;
    uint64_t trials = given ? 1 : 10000 / ringtest::kOneIn;
    uint64_t kills = 0, ends = 0;
    Fiber::at_point = yield_sometimes;
    mem_load_hook = ringtest::fiber_load;
    for (uint64_t seed = first; seed < first + trials; seed++) {
        random_state = seed;
        World::Shape shape;
        shape.messages = 4 + (uint32_t)draw(12);
        shape.entries = 4 + (uint32_t)draw(4); /* three that a worker may pin each, one more is enough */
        shape.workers = 3 + (uint32_t)draw(2);
        shape.first = draw(2) ? 0 : (1ull << 55) - 5 * 64;
        World world(shape);
        std::vector<std::unique_ptr<Worker>> workers;
        std::vector<std::unique_ptr<Fiber>> fibers;
        auto start = [&](size_t at) {
            workers.push_back(std::make_unique<Worker>(world));
            Worker *worker = workers.back().get();
            fibers[at] = std::make_unique<Fiber>([worker] { any_worker(*worker); });
        };
        fibers.resize(4);
        for (size_t i = 0; i < 3; i++)
            start(i);
        fibers[3] = std::make_unique<Fiber>([&] {
            for (uint32_t i = 0; i < 100; i++) {
                world.sweep();
                world.now_ns += draw(20);
                if (draw(4) == 0) {
                    world.end_leases();
                    ends++;
                }
            }
        });
        std::vector<Worker *> current = {workers[0].get(), workers[1].get(), workers[2].get()};
        for (uint32_t i = 0; i < 4000; i++) {
            size_t at = draw(4);
            if (at < 3 && draw(120) == 0 && fibers[at]->state() != Fiber::State::done) {
                world.dead_ids.insert(current[at]->worker.id);
                if (fibers[at]->site() && !fibers[at]->stands_before_load())
                    ringtest::coverage_count(fibers[at]->site(), Event::killed);
                start(at); /* where it stood, it stays for ever */
                current[at] = workers.back().get();
                kills++;
            }
            fibers[at]->step();
        }
        for (uint64_t id = 1; id < world.next_id; id++)
            world.dead_ids.insert(id);
        Fiber::at_point = nullptr;
        mem_load_hook = nullptr;
        aftermath(world);
        ASSERT_EQ(world.failure, "") << "WEIR_CRASH_SEED=" << seed << "\n" << world.dump();
        Fiber::at_point = yield_sometimes;
        mem_load_hook = ringtest::fiber_load;
    }
    Fiber::at_point = nullptr;
    mem_load_hook = nullptr;
    printf("           %llu deaths, leases ended %llu times\n", (unsigned long long)kills, (unsigned long long)ends);
}

} // namespace
