// SPDX-License-Identifier: Apache-2.0
#include "tests/support/ring_roles.h"

#include <cerrno>

namespace ringtest
{

// -- Scripts: publishers -------------------------------------------------------------------------------------------------

static void publish_all_kinds(Actor &actor)
{
    if (actor.join() && actor.publish(5) && actor.cancel(7) && actor.publish_batch(3) && actor.publish(8))
        actor.leave();
}

void publish_and_roll(Actor &actor)
{
    if (actor.join() && actor.publish(12))
        actor.leave();
}

void publish_much(Actor &actor)
{
    if (actor.join() && actor.publish(100))
        actor.leave();
}

void publish_named(Actor &actor)
{
    if (actor.join() && actor.take_name() && actor.publish(4) && actor.publish_batch(3) && actor.publish(6))
        actor.leave();
}

void take_the_name(Actor &actor)
{
    if (actor.join() && actor.take_name() && actor.publish(3))
        actor.leave();
}

static void claim_and_hold(Actor &actor)
{
    if (actor.join() && actor.publish(2))
        actor.claim(5);
}

static void claim_much_and_cancel(Actor &actor)
{
    if (actor.join() && actor.cancel(40))
        actor.leave();
}

void join_and_sweep(Actor &actor)
{
    if (!actor.join())
        return;
    ring_sweep(&actor.publisher);
    if (actor.publish(3))
        actor.leave();
}

void be_weird(Actor &actor)
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

// -- Scripts: readers ----------------------------------------------------------------------------------------------------

static void read_as(Actor &actor, const ReaderKind &kind)
{
    actor.view->control_writable = actor.view->data_writable = !kind.read_only;
    if (!actor.join_reader(kind.gate) || (kind.cursor && !actor.take_cursor()) || !actor.read(kind.in_place))
        return;
    if (kind.cursor)
        ring_cursor_save(&actor.reader, ring_reader_position(&actor.reader), 1);
    int r = ring_reader_seek_end(&actor.reader);
    if (r < 0 && !actor.failed(r))
        return;
    ring_reader_outside(&actor.reader, ring_reader_position(&actor.reader));
    actor.leave_reader();
}

Script reader(const ReaderKind &kind)
{
    return [kind](Actor &actor) { read_as(actor, kind); };
}

// -- Scripts: with somebody else in between ------------------------------------------------------------------------------

static uint64_t marked_segment(Trial &trial)
{
    View &view = trial.main.view;
    for (uint32_t i = 0; i < view->geometry.slot_count; i++)
        if (slot_state(look(&view->states[i])) == RING_SLOT_RECLAIMING)
            return look(&view->slots[i].segment);
    return UINT64_MAX;
}

// Reads the first message of the oldest segment, and holds it until the publisher is done.
struct Guest {
    Actor reader;
    struct ring_item item = {};
    Seen seen = {};
    bool too_late = false; // it was stopped, and the segment is gone

    void come_in()
    {
        uint64_t oldest;
        if (reader.reader.entry || !reader.join_reader() || ring_oldest_segment(reader.view, 0, &oldest) < 0)
            return;
        too_late = ring_reader_seek(&reader.reader, oldest << reader.trial.ring.shape().segment_shift) < 0;
        if (!too_late && ring_reader_peek(&reader.reader, &item) == 1)
            look_at(&seen);
    }
    bool look_at(Seen *ret_seen) const
    {
        *ret_seen = {item.position, item.next, 0, 0};
        return item.next && seen_read(item.body, item.body_bytes, item.flags, item.tag, ret_seen);
    }
    bool leave()
    {
        Seen again;
        bool whole = look_at(&again) && again == seen;
        if (reader.reader.entry)
            reader.leave_reader();
        return whole || too_late;
    }
};

// A reader comes into the segment that is about to be reclaimed: between the first look at the readers and the mark, or
// between the mark and the second look.
static void publish_while_a_reader_comes_in(Actor &actor, bool marked)
{
    Guest guest = {Actor(actor.trial, kSecond)};
    actor.view.on_ctx = &guest;
    auto come_in = [](void *ctx) { static_cast<Guest *>(ctx)->come_in(); };
    (marked ? actor.view.on_mark : actor.view.on_copy) = come_in;
    if (!actor.join() || !actor.publish(20))
        return;
    actor.leave();
    if (!guest.leave())
        actor.failed(-EILSEQ);
}

// The holder of the name is resolved by another one between the kernel's answer and the search for its entry.
static void take_the_name_while_another_resolves(Actor &actor)
{
    if (!actor.join())
        return;
    Actor other(actor.trial, kSecond);
    actor.view.on_ctx = &other;
    actor.view.on_publisher_dead = [](void *ctx) {
        Actor *sweeps = static_cast<Actor *>(ctx);
        if (sweeps->publisher.entry || !sweeps->join())
            return;
        ring_sweep(&sweeps->publisher);
        sweeps->leave();
    };
    bool taken = actor.take_name();
    actor.view.on_publisher_dead = nullptr;
    if (taken && actor.publish(3))
        actor.leave();
}

// -- What they find ------------------------------------------------------------------------------------------------------

static void a_dead_claimant(Trial &trial)
{
    victim(trial, kVictim, Fiber::kNever, claim_and_hold);
}

static void something_to_read(Trial &trial)
{
    trial.fill(2);
    a_dead_claimant(trial);
    trial.fill(1);
}

// Dies before the nth store of the function.
static void victim_in(Trial &trial, uint32_t who, const Script &script, const char *function, uint32_t nth)
{
    std::unique_ptr<Fiber> fiber = actor_fiber(trial, who, script);
    if (!fiber->run_to(function, nth))
        trial.fail(std::string("no victim came to ") + function);
    trial.dies(who);
}

static void a_dead_cleaner(Trial &trial)
{
    victim_in(trial, kVictim, claim_much_and_cancel, "clean_chunk", 3);
}

static void a_dead_helper(Trial &trial)
{
    a_dead_claimant(trial);
    victim_in(trial, kVictim + 1, publish_and_roll, "help_last_claim", 1);
}

// The stores of publisher_roll(): announcement, segment, tail, header, clean, active, state.
static void a_slot_reserved_by_the_dead(Trial &trial)
{
    victim_in(trial, kVictim, publish_and_roll, "publisher_roll", 6);
}

static void a_segment_entered_by_nobody(Trial &trial)
{
    victim_in(trial, kVictim, publish_and_roll, "publisher_roll", 7);
}

static void a_mark_of_the_dead(Trial &trial)
{
    victim_in(trial, kVictim, publish_and_roll, "slot_reclaim", 2);
}

static void a_dead_batch(Trial &trial)
{
    victim_in(
        trial, kVictim, [](Actor &actor) { actor.join() && actor.publish(1) && actor.publish_batch(4); },
        "ring_batch_put", 3);
}

static void a_record_not_counted(Trial &trial)
{
    victim_in(trial, kVictim, publish_named, "ring_producer_count", 7);
}

static void a_record_not_counted_long_ago(Trial &trial)
{
    a_record_not_counted(trial);
    trial.fill(2);
    trial.take_over();
}

static void a_named_claimant(Trial &trial)
{
    victim(trial, kVictim, Fiber::kNever,
           [](Actor &actor) { actor.join() && actor.take_name() && actor.publish(2) && actor.claim(5); });
}

static void a_name_half_written(Trial &trial)
{
    victim_in(trial, kVictim, publish_named, "producer_fill", 3);
}

static void a_cursor_half_written(Trial &trial)
{
    trial.fill(1);
    victim_in(trial, kVictim, reader({false, true, false, false}), "cursor_fill", 2);
}

static void a_table_of_dead(Trial &trial)
{
    for (uint32_t i = 0; i < trial.ring.geometry().max_publishers; i++)
        victim(trial, kVictim + i, Fiber::kNever, claim_and_hold);
}

static void a_seat_of_the_dead(Trial &trial)
{
    a_table_of_dead(trial);
    victim_in(trial, kVictim + 4, publish_and_roll, "resolve_segment", 1);
}

static void a_table_of_dead_readers(Trial &trial)
{
    trial.fill(1);
    for (uint32_t i = 1; i < trial.ring.geometry().max_readers; i++)
        victim(trial, kVictim + i, Fiber::kNever,
               [](Actor &actor) { actor.join_reader(true) && (actor.who > kVictim + 1 || actor.take_cursor()); });
}

// Slept for long before it announced the segment that was the active one when it looked, and died then.
static void a_dead_one_in_what_is_gone(Trial &trial)
{
    std::unique_ptr<Fiber> fiber = actor_fiber(trial, kVictim, publish_and_roll);
    fiber->run_to("announce");
    trial.go_on(trial.ring.geometry().slot_count + 2);
    fiber->run(1);
    trial.dies(kVictim);
}

// What the entry's last owner waited for is nothing to its next one.
static void a_gate_of_the_dead(Trial &trial)
{
    trial.fill(2);
    victim(trial, kVictim, Fiber::kNever, [](Actor &actor) { actor.join_reader(true) && actor.read(); });
    Publisher sweeper(trial.ring);
    ring_sweep(sweeper);
}

static void a_dead_weird(Trial &trial)
{
    a_dead_claimant(trial);
    victim(trial, kVictim + 1, Fiber::kNever, [](Actor &actor) { actor.join_daemon(); });
}

static void a_stopped_cleaner(Trial &trial)
{
    trial.companion(kCompanion, claim_much_and_cancel, "clean_chunk", 3);
}

static void a_stopped_claimant(Trial &trial)
{
    trial.companion(kCompanion, publish_and_roll, "commit_head", 2);
}

static void a_stopped_roller(Trial &trial)
{
    trial.companion(kCompanion, publish_and_roll, "publisher_roll", 4);
}

static void a_stopped_winner(Trial &trial)
{
    trial.companion(kCompanion, publish_and_roll, "publisher_roll", 7);
}

static void a_stopped_reclaimer(Trial &trial)
{
    trial.companion(kCompanion, publish_and_roll, "slot_reclaim", 2);
    trial.start_of_role = marked_segment(trial) << trial.ring.shape().segment_shift;
}

static void a_reclaimer_stopped_where_somebody_died(Trial &trial)
{
    uint64_t segment = trial.active();
    victim(trial, kVictim, Fiber::kNever, [](Actor &actor) { actor.join() && actor.publish(1); });
    Fiber &fiber = trial.companion(kCompanion, publish_much, "slot_reclaim", 1);
    for (fiber.run(1); marked_segment(trial) != segment; fiber.run(1))
        if (!trial.take_over() || !fiber.run_to("slot_reclaim"))
            return trial.fail("nobody reclaims the segment of the dead");
}

// -- The tables ----------------------------------------------------------------------------------------------------------

static constexpr uint32_t kJournaled = RING_JOURNALED, kMemory = 0, kExclusive = RING_EXCLUSIVE | RING_JOURNALED;

static void add_readers(std::vector<Role> *all)
{
    for (uint32_t bits = 0; bits < 16; bits++) {
        ReaderKind kind = {(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0};
        std::string name = std::string("reads") + (kind.in_place ? "_in_place" : "_and_copies") +
                           (kind.cursor ? "_with_a_cursor" : "") + (kind.gate ? "_with_a_gate" : "") +
                           (kind.read_only ? "_without_the_right_to_write" : "");
        all->push_back({name, kind.gate ? kMemory : kJournaled, reader(kind), something_to_read});
    }
    all->push_back(
        {"reads_where_all_readers_are_dead", kJournaled, reader({false, true, false, false}), a_table_of_dead_readers});
    all->push_back(
        {"reads_where_the_dead_had_a_gate", kMemory, reader({false, false, false, false}), a_gate_of_the_dead});
    all->push_back({"reads_with_a_cursor_that_the_dead_half_wrote", kJournaled, reader({false, true, false, false}),
                    a_cursor_half_written});
    all->push_back(
        {"reads_what_is_being_reclaimed", kJournaled, reader({false, false, false, false}), a_stopped_reclaimer});
    all->push_back({"reads_what_is_being_reclaimed_without_the_right_to_write", kJournaled,
                    reader({false, false, false, true}), a_stopped_reclaimer});
}

const std::vector<Role> &roles()
{
    static const std::vector<Role> kRoles = [] {
        std::vector<Role> all = {
            {"publishes_on_a_shared_ring", kJournaled, publish_all_kinds},
            {"publishes_on_a_shared_memory_ring", kMemory, publish_all_kinds},
            {"publishes_on_a_ring_that_drops_the_old", kMemory, publish_all_kinds, nullptr, RING_DROP_OLD},
            {"publishes_under_a_name", kJournaled, publish_named},
            {"publishes_on_an_exclusive_ring", kExclusive, publish_all_kinds},
            {"publishes_on_an_exclusive_memory_ring", RING_EXCLUSIVE, publish_all_kinds},
            {"publishes_under_a_name_on_an_exclusive_ring", kExclusive, publish_named},
            {"asks_to_be_woken_and_wakes", kJournaled, ask_and_tell},
            {"is_weird", kJournaled, be_weird, a_dead_weird},
            {"helps_a_dead_claimant", kJournaled, publish_and_roll, a_dead_claimant},
            {"helps_behind_a_dead_helper", kJournaled, publish_and_roll, a_dead_helper},
            {"takes_over_from_a_dead_cleaner", kJournaled, publish_and_roll, a_dead_cleaner},
            {"takes_a_slot_reserved_by_the_dead", kJournaled, publish_and_roll, a_slot_reserved_by_the_dead},
            {"enters_a_segment_that_the_dead_made", kJournaled, publish_and_roll, a_segment_entered_by_nobody},
            {"takes_over_the_mark_of_the_dead", kJournaled, publish_and_roll, a_mark_of_the_dead},
            {"reclaims_where_a_dead_one_is_not_counted", kJournaled, publish_and_roll, a_record_not_counted_long_ago},
            {"sweeps_behind_a_dead_claimant", kJournaled, join_and_sweep, a_dead_claimant},
            {"sweeps_behind_a_dead_cleaner", kJournaled, join_and_sweep, a_dead_cleaner},
            {"sweeps_behind_a_dead_batch", kJournaled, join_and_sweep, a_dead_batch},
            {"sweeps_behind_a_dead_named_publisher", kJournaled, join_and_sweep, a_record_not_counted},
            {"sweeps_behind_a_dead_reclaimer", kJournaled, join_and_sweep, a_mark_of_the_dead},
            {"sweeps_where_the_segment_of_the_dead_is_reclaimed", kJournaled, join_and_sweep,
             a_reclaimer_stopped_where_somebody_died},
            {"sweeps_where_the_segment_of_the_dead_is_gone", kJournaled, join_and_sweep, a_dead_one_in_what_is_gone},
            {"takes_the_name_of_the_dead", kJournaled, take_the_name, a_named_claimant},
            {"takes_the_name_of_the_dead_while_another_resolves", kJournaled, take_the_name_while_another_resolves,
             a_named_claimant},
            {"takes_a_name_that_the_dead_half_wrote", kJournaled, take_the_name, a_name_half_written},
            {"joins_where_all_entries_are_dead", kJournaled, publish_and_roll, a_table_of_dead},
            {"joins_where_a_seat_is_dead_too", kJournaled, publish_and_roll, a_seat_of_the_dead},
            {"takes_over_an_exclusive_ring", kExclusive, publish_and_roll, a_dead_claimant},
            {"takes_over_an_exclusive_ring_after_a_batch", kExclusive, publish_and_roll, a_dead_batch},
            {"publishes_past_a_stopped_cleaner", kJournaled, publish_and_roll, a_stopped_cleaner},
            {"publishes_behind_a_stopped_claimant", kJournaled, publish_and_roll, a_stopped_claimant},
            {"overtakes_a_stopped_roller", kJournaled, publish_and_roll, a_stopped_roller},
            {"enters_the_segment_of_a_stopped_roller", kJournaled, publish_and_roll, a_stopped_winner},
            {"overtakes_a_stopped_reclaimer", kJournaled, publish_and_roll, a_stopped_reclaimer},
            {"publishes_while_a_reader_comes_in", kJournaled,
             [](Actor &actor) { publish_while_a_reader_comes_in(actor, false); }},
            {"publishes_while_a_reader_comes_in_at_the_mark", kJournaled,
             [](Actor &actor) { publish_while_a_reader_comes_in(actor, true); }},
        };
        add_readers(&all);
        return all;
    }();
    return kRoles;
}

const std::vector<Pair> &pairs()
{
    static const Script read_with_cursor = reader({false, true, false, false});
    static const Script read_only = reader({false, false, true, true});
    static const Script read_gated = reader({true, false, false, false});
    static const std::vector<Pair> kPairs = {
        {"publisher_and_sweeper", kJournaled, publish_all_kinds, join_and_sweep},
        {"publisher_and_publisher", kJournaled, publish_all_kinds, publish_and_roll},
        {"publisher_and_weird", kJournaled, publish_all_kinds, be_weird},
        {"publisher_and_reader", kJournaled, publish_all_kinds, read_with_cursor},
        {"publisher_and_read_only_reader", kJournaled, publish_all_kinds, read_only},
        {"memory_publisher_and_sweeper", kMemory, publish_all_kinds, join_and_sweep},
        {"memory_publisher_and_publisher", kMemory, publish_all_kinds, publish_and_roll},
        {"memory_publisher_and_gated_reader", kMemory, publish_all_kinds, read_gated},
        {"dropping_publisher_and_publisher", kMemory, publish_all_kinds, publish_and_roll, nullptr, RING_DROP_OLD},
        {"named_publisher_and_sweeper", kJournaled, publish_named, join_and_sweep},
        {"named_publisher_and_heir", kJournaled, publish_named, take_the_name},
        {"reclaimer_and_sweeper", kJournaled, publish_and_roll, join_and_sweep, a_record_not_counted_long_ago},
        {"sweeper_and_sweeper", kJournaled, join_and_sweep, join_and_sweep, a_named_claimant},
        {"weird_and_weird", kJournaled, be_weird, be_weird, a_dead_claimant},
        {"joiner_and_joiner", kJournaled, join_and_sweep, join_and_sweep, a_table_of_dead},
        {"reader_and_reader", kJournaled, read_with_cursor, read_with_cursor, something_to_read},
        {"gated_reader_and_publisher", kMemory, read_gated, publish_and_roll, something_to_read},
        {"exclusive_publisher_and_heir", kExclusive, publish_all_kinds, publish_and_roll},
        {"exclusive_named_publisher_and_heir", kExclusive, publish_named, take_the_name},
    };
    return kPairs;
}

// The stores of publisher_roll() are: announcement, segment, tail, header, clean, active, state.
const std::vector<Hold> &holds()
{
    static const std::vector<Hold> kHolds = {
        {"a_claim", publish_and_roll, "commit_head", 2},
        {"a_batch", publish_all_kinds, "ring_batch_put", 2},
        {"padding", publish_and_roll, "commit_head", 7},
        {"the_right_to_clean", claim_much_and_cancel, "clean_chunk", 3},
        {"a_reserved_slot", publish_and_roll, "publisher_roll", 3},
        {"a_slot_that_is_active", publish_and_roll, "publisher_roll", 7},
        {"a_mark", publish_and_roll, "slot_reclaim", 2},
        {"a_name_half_written", publish_named, "producer_fill", 3},
        {"a_name", publish_named, "commit_head", 3},
        {"a_record_not_counted", publish_named, "ring_producer_count", 5},
    };
    return kHolds;
}

// -- Preparation ---------------------------------------------------------------------------------------------------------

Shape trial_shape(uint32_t flags, uint32_t when_full, bool shared)
{
    Shape shape;
    shape.flags = flags;
    shape.when_full = when_full;
    shape.publishers = (flags & RING_EXCLUSIVE) ? 1 : 3;
    shape.readers = 3;
    shape.slots = 7;
    shape.start = (1ull << 44) - 8 * 4096; /* segment numbers leave 32 bits on the way */
    shape.shared = shared;
    return shape;
}

void trial_prepare(Trial &trial, const std::function<void(Trial &)> &before)
{
    trial.go_on(trial.ring.geometry().slot_count + 1);
    trial.start_of_role = ring_reader_position(trial.main);
    if (before)
        before(trial);
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
