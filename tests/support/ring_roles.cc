// SPDX-License-Identifier: Apache-2.0
#include "tests/support/ring_roles.h"

#include <cerrno>

namespace ringtest
{

// -- Scripts -------------------------------------------------------------------------------------------------------------

void publish_all_kinds(Actor &actor)
{
    if (!actor.join() || !actor.publish(5) || !actor.cancel(7) || !actor.publish_batch(3) || !actor.publish(8))
        return;
    actor.leave();
}

void publish_and_roll(Actor &actor)
{
    if (!actor.join() || !actor.publish(12))
        return;
    actor.leave();
}

void publish_named(Actor &actor)
{
    if (!actor.join() || !actor.take_name() || !actor.publish(4) || !actor.publish_batch(3) || !actor.publish(6))
        return;
    actor.leave();
}

void claim_and_hold(Actor &actor)
{
    if (actor.join() && actor.publish(2))
        actor.claim(5);
}

void join_and_sweep(Actor &actor)
{
    if (!actor.join())
        return;
    ring_sweep(&actor.publisher);
    if (actor.publish(3))
        actor.leave();
}

void take_the_name(Actor &actor)
{
    if (actor.join() && actor.take_name() && actor.publish(3))
        actor.leave();
}

static bool seek_and_read(Actor &actor)
{
    int r = ring_reader_seek(&actor.reader, actor.trial.start_of_role);
    if (r == -ENOENT)
        return true;
    return r < 0 ? actor.failed(r) : actor.read();
}

void read_all(Actor &actor)
{
    if (!actor.join_reader() || !actor.take_cursor("cursor") || !seek_and_read(actor))
        return;
    ring_cursor_save(&actor.reader, ring_reader_position(&actor.reader), 1);
    int r = ring_reader_seek_end(&actor.reader);
    if (r < 0 && !actor.failed(r))
        return;
    ring_reader_outside(&actor.reader, 0);
    actor.leave_reader();
}

static void read_with_a_gate(Actor &actor)
{
    if (!actor.join_reader(true) || !seek_and_read(actor))
        return;
    ring_reader_outside(&actor.reader, ring_reader_position(&actor.reader));
    actor.leave_reader();
}

static void be_weird(Actor &actor)
{
    if (!actor.join_daemon())
        return;
    ring_visible_position(&actor.publisher);
    ring_sweep(&actor.publisher);
    ring_visible_position(&actor.publisher);
    actor.leave();
}

static void ask_and_tell(Actor &actor)
{
    if (!actor.join())
        return;
    ring_bell_ask(&actor.view->control->records, &actor.view->readers->records_want);
    if (actor.publish(1))
        actor.leave();
}

// -- What they find ------------------------------------------------------------------------------------------------------

static void a_dead_claimant(Trial &trial)
{
    victim(trial, kVictim, Fiber::kNever, claim_and_hold);
}

static void a_dead_cleaner(Trial &trial)
{
    victim(trial, kVictim, 12, [](Actor &actor) {
        if (actor.join())
            actor.claim(40); /* of the many headers that it cleans, one is done */
    });
}

static void a_record_not_counted(Trial &trial)
{
    victim(trial, kVictim, Fiber::kNever, [](Actor &actor) {
        if (!actor.join() || !actor.take_name() || !actor.publish(3))
            return;
        poke(&actor.publisher.producer->sequence, 1);
        poke(&actor.publisher.producer->scan, actor.trial.ring.start());
    });
}

static void a_named_claimant(Trial &trial)
{
    victim(trial, kVictim, Fiber::kNever, [](Actor &actor) {
        if (actor.join() && actor.take_name() && actor.publish(2))
            actor.claim(5);
    });
}

static void a_table_of_dead(Trial &trial)
{
    for (uint32_t i = 0; i < trial.ring.geometry().max_publishers; i++)
        victim(trial, kVictim + i, Fiber::kNever, claim_and_hold);
}

static void a_dead_weird(Trial &trial)
{
    a_dead_claimant(trial);
    victim(trial, kVictim + 1, Fiber::kNever, [](Actor &actor) { actor.join_daemon(); });
}

const std::vector<Role> &roles()
{
    constexpr uint32_t kJournaled = RING_JOURNALED, kExclusive = RING_EXCLUSIVE;
    static const std::vector<Role> kRoles = {
        {"publishes_on_a_shared_ring", kJournaled, RING_BLOCK, nullptr, publish_all_kinds},
        {"publishes_on_a_shared_memory_ring", 0, RING_BLOCK, nullptr, publish_all_kinds},
        {"publishes_on_a_ring_that_drops_the_old", 0, RING_DROP_OLD, nullptr, publish_all_kinds},
        {"publishes_under_a_name", kJournaled, RING_BLOCK, nullptr, publish_named},
        {"publishes_on_an_exclusive_ring", kExclusive | kJournaled, RING_BLOCK, nullptr, publish_all_kinds, true},
        {"publishes_on_an_exclusive_memory_ring", kExclusive, RING_BLOCK, nullptr, publish_all_kinds, true},
        {"publishes_under_a_name_on_an_exclusive_ring", kExclusive | kJournaled, RING_BLOCK, nullptr, publish_named,
         true},
        {"helps_a_dead_claimant", kJournaled, RING_BLOCK, a_dead_claimant, publish_and_roll},
        {"takes_over_from_a_dead_cleaner", kJournaled, RING_BLOCK, a_dead_cleaner, publish_and_roll},
        {"sweeps_behind_a_dead_claimant", kJournaled, RING_BLOCK, a_dead_claimant, join_and_sweep},
        {"sweeps_behind_a_dead_named_publisher", kJournaled, RING_BLOCK, a_record_not_counted, join_and_sweep},
        {"takes_the_name_of_the_dead", kJournaled, RING_BLOCK, a_named_claimant, take_the_name},
        {"joins_where_all_entries_are_dead", kJournaled, RING_BLOCK, a_table_of_dead, publish_and_roll},
        {"takes_over_an_exclusive_ring", kExclusive | kJournaled, RING_BLOCK, a_dead_claimant, publish_and_roll, true},
        {"reads_past_a_dead_claimant", kJournaled, RING_BLOCK, a_dead_claimant, read_all},
        {"reads_with_a_gate", 0, RING_BLOCK, nullptr, read_with_a_gate},
        {"is_weird", kJournaled, RING_BLOCK, a_dead_weird, be_weird},
        {"asks_to_be_woken_and_wakes", kJournaled, RING_BLOCK, nullptr, ask_and_tell},
    };
    return kRoles;
}

Shape role_shape(const Role &role)
{
    Shape shape;
    shape.flags = role.flags;
    shape.when_full = role.when_full;
    shape.publishers = (role.flags & RING_EXCLUSIVE) ? 1 : 3;
    shape.readers = 3;
    shape.slots = 7;
    shape.start = (1ull << 44) - 8 * 4096; /* segment numbers leave 32 bits on the way */
    return shape;
}

void role_prepare(Trial &trial, const Role &role)
{
    trial.go_on(trial.ring.geometry().slot_count + 1);
    if (role.before)
        role.before(trial);
    trial.start_of_role = ring_reader_position(trial.main);
}

void victim(Trial &trial, uint32_t who, uint64_t n, const Script &script)
{
    Fiber fiber([&trial, who, &script] {
        Actor actor(trial, who);
        script(actor);
    });
    fiber.run(n);
    trial.dies(who);
}

} // namespace ringtest
