// SPDX-License-Identifier: Apache-2.0
// Participants of every kind on one small ring, scheduled at random: before any access to a shared word another one may go
// on, be stopped for long, or die. A seed gives one schedule, always the same; failures name it.
//   WEIR_TEST_SEED=N    that seed alone          WEIR_TEST_SEEDS=N   so many, from 1
// test: LINKS weir_ringbuf TIMEOUT 600
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include "tests/support/ring_points.h"
#include "tests/support/ring_roles.h"

using namespace ringtest;

namespace
{

uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);
    return value ? strtoull(value, nullptr, 10) : otherwise;
}

class Random
{
public:
    explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 1)
    {
    }
    uint64_t next()
    {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return state_ * 0x2545f4914f6cdd1dull >> 16;
    }
    uint64_t below(uint64_t limit)
    {
        return next() % limit;
    }
    bool one_in(uint64_t odds)
    {
        return odds && below(odds) == 0;
    }

private:
    uint64_t state_;
};

enum class Part { publisher, mortal, named, reader, sweeper, weird };

struct Member {
    Part part;
    uint32_t who;
    std::unique_ptr<Fiber> fiber;
    std::vector<Seen> got;
    bool read_only = false;
    bool may_die = false;
    bool over = false;
    uint64_t sleeps_until = 0;
};

uint64_t budget; // accesses until the next one is asked

struct Kind {
    const char *name;
    uint32_t flags;
    uint32_t when_full;
};

const Kind kKinds[] = {
    {"shared_journaled", RING_JOURNALED, RING_BLOCK},
    {"shared_memory", 0, RING_BLOCK},
    {"shared_drop_old", 0, RING_DROP_OLD},
    {"exclusive_journaled", RING_EXCLUSIVE | RING_JOURNALED, RING_BLOCK},
    {"exclusive_memory", RING_EXCLUSIVE, RING_BLOCK},
};

class Schedule
{
public:
    Schedule(const Kind &k, uint64_t s) : kind(k), seed(s), random(s), trial(shape(k, s))
    {
    }

    static Shape shape(const Kind &kind, uint64_t seed)
    {
        Random random(seed ^ 0x5555);
        Shape shape;
        shape.flags = kind.flags;
        shape.when_full = kind.when_full;
        shape.publishers = (kind.flags & RING_EXCLUSIVE) ? 1 : 3 + (uint32_t)random.below(2);
        shape.readers = 3;
        shape.slots = 4 + (uint32_t)random.below(5);
        shape.producers = 1;
        static const uint64_t kStarts[] = {0, (1ull << 32) - 3 * 4096, (1ull << 44) - 3 * 4096,
                                           (1ull << 63) - 3 * 4096};
        shape.start = kStarts[random.below(4)];
        return shape;
    }

    void publisher_body(Member &member)
    {
        Actor actor(trial, member.who);
        actor.patience = UINT32_MAX;
        uint32_t lives = 1 + (uint32_t)random.below(3);
        for (uint32_t life = 0; life < lives; life++) {
            while (!actor.join())
                actor.view->ops->relax(actor.view->ctx);
            poke(&actor.log.error, 0);
            while (member.part == Part::named && !actor.take_name()) {
                poke(&actor.log.error, 0);
                actor.view->ops->relax(actor.view->ctx);
            }
            for (uint32_t i = 0; i < 8 && !look(&actor.log.error); i++) {
                uint64_t dice = random.below(12);
                if (dice == 0)
                    actor.cancel(1 + (uint32_t)random.below(40));
                else if (dice == 1)
                    actor.publish_batch(2 + (uint32_t)random.below(3));
                else if (dice == 2)
                    ring_visible_position(&actor.publisher);
                else if (dice == 3)
                    ring_sweep(&actor.publisher);
                else if (dice < 6)
                    actor.publish(1, 1 + (uint32_t)random.below(64));
                else
                    actor.publish(1);
            }
            actor.leave();
        }
    }

    void sweeper_body(Member &member)
    {
        Actor actor(trial, member.who);
        for (uint32_t i = 0; i < 3; i++) {
            if (member.part == Part::weird ? actor.join_daemon() : actor.join()) {
                ring_sweep(&actor.publisher);
                ring_visible_position(&actor.publisher);
                actor.leave();
            }
            poke(&actor.log.error, 0);
            actor.view->ops->relax(actor.view->ctx);
        }
    }

    void reader_body(Member &member)
    {
        Actor actor(trial, member.who);
        actor.view->control_writable = actor.view->data_writable = !member.read_only;
        if (!actor.join_reader())
            return;
        uint64_t from = trial.ring.start();
        int r = ring_reader_seek(&actor.reader, from);
        for (uint32_t looks = 0; !over;) {
            struct ring_item item;
            bool pending;
            if (r == 0)
                r = ring_reader_peek(&actor.reader, &item);
            if (r > 0) {
                member.got.push_back({item.position, item.next, item.tag, 0});
                if (item.body_bytes < 16 || memcmp(&item.tag, item.body + body_offset(item), 2) != 0)
                    failed("a reader meets a record that nobody wrote", item.position);
                ring_reader_pass(&actor.reader, &item);
                r = 0;
                continue;
            }
            if (r == 0 && ++looks % 3 == 0)
                r = ring_reader_look(&actor.reader, &pending);
            if (r == -ENOENT) {
                uint64_t oldest;
                from = (ring_reader_position(&actor.reader) >> trial.ring.shape().segment_shift) + 1;
                r = ring_oldest_segment(actor.view, from, &oldest);
                if (r == 0)
                    r = ring_reader_seek(&actor.reader, oldest << trial.ring.shape().segment_shift);
                if (r == -EAGAIN || r == -ENOENT)
                    r = 0;
            }
            if (r < 0)
                failed("a reader is told", (uint64_t)-r);
            r = 0;
            actor.view->ops->relax(actor.view->ctx);
        }
        actor.leave_reader();
    }

    static uint32_t body_offset(const struct ring_item &item)
    {
        struct ring_meta meta;
        uint32_t bytes = 0;
        if (ring_meta_get(item.body, item.body_bytes, item.flags, &meta, &bytes) < 0 || item.body_bytes - bytes < 16)
            return 0;
        return bytes;
    }

    void failed(const char *what, uint64_t value)
    {
        trial.fail(std::string(what) + " " + std::to_string(value));
        over = true;
    }

    void add(Part part)
    {
        members.push_back(std::make_unique<Member>());
        Member &member = *members.back();
        member.part = part;
        member.who = (uint32_t)members.size();
        member.may_die = part == Part::mortal || part == Part::named || (part == Part::sweeper && random.one_in(2)) ||
                         (part == Part::reader && random.one_in(4)) || (part == Part::weird && random.one_in(2));
        member.read_only = part == Part::reader && random.one_in(2);
        member.fiber = std::make_unique<Fiber>([this, &member] {
            if (member.part == Part::reader)
                reader_body(member);
            else if (member.part == Part::sweeper || member.part == Part::weird)
                sweeper_body(member);
            else
                publisher_body(member);
        });
    }

    bool publishers_over() const
    {
        for (const auto &member : members)
            if (!member->over && member->part != Part::reader)
                return false;
        return true;
    }

    bool run()
    {
        static const uint64_t kQuanta[] = {1, 1, 3, 10, 50, 400};
        static const uint64_t kStops[] = {0, 30, 200, 1000};
        static const uint64_t kDeaths[] = {20, 100, 500};
        static const Part kParts[] = {Part::publisher, Part::publisher, Part::mortal, Part::mortal,  Part::mortal,
                                      Part::named,     Part::reader,    Part::reader, Part::sweeper, Part::weird};
        uint64_t quantum = kQuanta[random.below(6)], stops = kStops[random.below(4)], deaths = kDeaths[random.below(3)];
        add(Part::publisher);
        for (uint64_t i = 2 + random.below(5); i > 0; i--)
            add(kParts[random.below(10)]);

        for (uint64_t step = 0;; step++) {
            if (step > 3000000) {
                trial.fail("it hangs");
                break;
            }
            if (publishers_over())
                over = true; /* readers end, too */
            Member *member = choose(step);
            if (!member) {
                if (over)
                    break;
                trial.take_over();
                continue;
            }
            if (member->may_die && random.one_in(deaths)) {
                member->over = true;
                trial.dies(member->who);
                continue;
            }
            if (random.one_in(stops)) {
                member->sleeps_until = step + 1 + random.below(3000);
                continue;
            }
            budget = 1 + random.below(2 * quantum);
            if (!member->fiber->step()) {
                member->over = true;
                trial.dies(member->who); /* it left, and its locks fell */
            }
            if (random.one_in(8))
                trial.take_over();
            if (!trial.failures().empty())
                break;
        }
        Fiber::at_point = nullptr;
        if (trial.failures().empty())
            trial.aftermath();
        if (trial.failures().empty())
            compare();
        return trial.failures().empty();
    }

    Member *choose(uint64_t step)
    {
        std::vector<Member *> awake;
        bool any = false;
        for (auto &member : members) {
            any |= !member->over;
            if (!member->over && member->sleeps_until <= step)
                awake.push_back(member.get());
        }
        if (awake.empty() && any)
            for (auto &member : members)
                if (!member->over)
                    awake.push_back(member.get());
        return awake.empty() ? nullptr : awake[random.below(awake.size())];
    }

    // Every reader has met, at each position, what the first one met there.
    void compare()
    {
        std::map<uint64_t, const Seen *> all;
        for (const Seen &seen : trial.seen())
            all[seen.position] = &seen;
        for (auto &member : members) {
            uint64_t at = 0;
            for (const Seen &got : member->got) {
                auto found = all.find(got.position);
                if (found != all.end() && (found->second->next != got.next || found->second->who != got.who))
                    trial.fail("two readers disagree about position " + std::to_string(got.position));
                if (found == all.end() && kind.when_full != RING_DROP_OLD)
                    trial.fail("a reader met what the first one did not, at " + std::to_string(got.position));
                if (got.position < at)
                    trial.fail("a reader went back to " + std::to_string(got.position));
                at = got.next;
            }
        }
    }

    const Kind kind;
    const uint64_t seed;
    Random random;
    Trial trial;
    std::vector<std::unique_ptr<Member>> members;
    bool over = false;
};

void at_point(Fiber &fiber, bool load)
{
    (void)fiber;
    (void)load;
    if (--budget == 0)
        Fiber::yield();
}

class EveryInterleaving : public ::testing::TestWithParam<Kind>
{
};

TEST_P(EveryInterleaving, keeps_the_promises)
{
    uint64_t first = from_environment("WEIR_TEST_SEED", 1);
    uint64_t last = getenv("WEIR_TEST_SEED") ? first : from_environment("WEIR_TEST_SEEDS", 1500 / kOneIn);
    mem_point_hook = fiber_point;
    mem_load_hook = fiber_load;
    for (uint64_t seed = first; seed <= last && !HasFailure(); seed++) {
        Schedule schedule(GetParam(), seed);
        Fiber::at_point = at_point;
        bool good = schedule.run();
        Fiber::at_point = nullptr;
        std::string all;
        for (const std::string &failure : schedule.trial.failures())
            all += failure + "\n";
        EXPECT_TRUE(good) << "seed " << seed << "\n" << all << schedule.trial.ring.dump();
    }
    mem_point_hook = nullptr;
    mem_load_hook = nullptr;
}

INSTANTIATE_TEST_SUITE_P(random, EveryInterleaving, ::testing::ValuesIn(kKinds),
                         [](const ::testing::TestParamInfo<Kind> &parameter) {
                             return std::string(parameter.param.name);
                         });

} // namespace
