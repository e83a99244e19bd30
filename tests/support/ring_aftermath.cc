// SPDX-License-Identifier: Apache-2.0
// What must be true of a trial's ring once nobody is left of those who died or were stopped.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/support/ring_actor.h"
#include "tests/support/ring_trial.h"

namespace ringtest
{

void Trial::check_messages()
{
    if (!take_over())
        return;
    for (uint32_t who = 0; who < kActors; who++) {
        check_reads(who);
        uint64_t attempted = look(&log(who).attempted), committed = look(&log(who).committed), seen = seen_of(who);
        std::string name = "actor " + std::to_string(who);
        if (gaps_)
            continue; /* dropped, and told */
        if (seen < committed)
            fail(name + ": " + std::to_string(committed) + " messages committed, " + std::to_string(seen) + " seen");
        if (seen > committed && seen != attempted)
            fail(name + ": " + std::to_string(committed) + " messages committed, " + std::to_string(attempted) +
                 " tried, and " + std::to_string(seen) + " seen");
    }
}

// What an actor read is a run of what the first reader met.
void Trial::check_reads(uint32_t who)
{
    const ActorLog &of = log(who);
    auto at = std::lower_bound(seen_.begin(), seen_.end(), look(&of.read_from),
                               [](const Seen &seen, uint64_t position) { return seen.position < position; });
    for (uint64_t i = 0; i < look(&of.read_count); i++, ++at) {
        while (gaps_ && at != seen_.end() && at->position < of.read[i].position)
            ++at;
        if (at != seen_.end() && *at == of.read[i])
            continue;
        fail("actor " + std::to_string(who) + " read message " + std::to_string(of.read[i].number) + " of " +
             std::to_string(of.read[i].who) + " at position " + std::to_string(of.read[i].position) +
             ", the first reader did not");
        return;
    }
}

void Trial::check_name()
{
    uint64_t of_name = 0;
    bool named = false;
    for (uint32_t who = 0; who < kActors; who++) {
        if (!look(&log(who).named))
            continue;
        named = true;
        of_name += seen_of(who);
    }
    if (!named)
        return;
    Publisher heir(ring);
    int r = heir.joined < 0 ? heir.joined : ring_producer_take(heir, kTrialName);
    if (r < 0)
        fail("the name cannot be taken again: " + std::string(strerror(-r)));
    else if (gaps_ ? heir->sequence < of_name : heir->sequence != of_name)
        fail("the last sequence is said to be " + std::to_string(heir->sequence) + ", and " + std::to_string(of_name) +
             " messages were seen");
}

// All have left or are dead and cleared up: only the first reader is there.
void Trial::check_nobody_left()
{
    View &view = ring.view();
    for (uint32_t who : dead_)
        for (uint64_t i = 0; i < std::min(look(&log(who).id_count), ActorLog::kIds); i++)
            for (uint32_t index = 0; index < view->publisher_entries; index++)
                for (const std::string &word : ring.names(index, look(&log(who).ids[i])))
                    fail("still names a dead publisher: " + word);
    for (uint32_t i = 0; i < view->publisher_entries; i++)
        if (look(&view->publishers[i].id))
            fail("publisher entry " + std::to_string(i) + " is held by nobody who lives");
    for (uint32_t i = 0; i < ring.geometry().max_readers; i++)
        if (look(&view->reader_table[i].id) && look(&view->reader_table[i].id) != main->id)
            fail("reader entry " + std::to_string(i) + " is held by nobody who lives");
    for (uint32_t i = 0; i < ring.geometry().max_producers; i++)
        if (look(&view->producers[i].holder))
            fail("a producer's name is held by nobody who lives");
    for (uint32_t i = 0; i < ring.geometry().max_cursors; i++)
        if (look(&view->cursors[i].holder))
            fail("a cursor is held by nobody who lives");
    if (look(&ring.control_block()->exclusive))
        fail("the exclusive right is held by nobody who lives");
    for (uint32_t i = 0; i < ring.geometry().slot_count; i++) {
        enum ring_slot_state state = slot_state(look(&view->states[i]));
        if (state == RING_SLOT_RESERVED || state == RING_SLOT_RECLAIMING)
            fail("slot " + std::to_string(i) + " is held by somebody");
    }
}

// Every entry can be had, and not one more.
void Trial::check_publisher_entries()
{
    View &view = ring.view();
    std::vector<struct ring_publisher_state> all(ring.geometry().max_publishers + 1);
    size_t joined = 0;
    int r = 0;
    while (joined < all.size() && (r = ring_publisher_join(&all[joined], view, ring_publisher_id(view), 1, 1)) == 0)
        joined++;
    if (joined != ring.geometry().max_publishers || (r != -ENOSPC && r != -EBUSY))
        fail("of " + std::to_string(ring.geometry().max_publishers) + " entries for publishers " +
             std::to_string(joined) + " can be had: " + strerror(-r));
    while (joined > 0)
        ring_publisher_leave(&all[--joined]);
}

void Trial::check_reader_entries()
{
    View &view = ring.view();
    std::vector<struct ring_reader_state> all(ring.geometry().max_readers);
    size_t joined = 0;
    int r = 0;
    while (joined < all.size() && (r = ring_reader_join(&all[joined], view, ring_reader_id(view), 1, 1)) == 0)
        joined++;
    if (joined != ring.geometry().max_readers - 1 || r != -ENOSPC)
        fail("of " + std::to_string(ring.geometry().max_readers) + " entries for readers, one of them in use, " +
             std::to_string(joined) + " can be had: " + strerror(-r));
    while (joined > 0)
        ring_reader_leave(&all[--joined]);
}

// The known name and as many new ones as there is room for can be had, and not one more.
void Trial::check_names()
{
    for (uint32_t i = 0; i <= ring.geometry().max_producers; i++) {
        Publisher publisher(ring);
        std::string name = i == 0 ? kTrialName : "name " + std::to_string(i);
        int r = ring_producer_take(publisher, name.c_str());
        if (r != (i < ring.geometry().max_producers ? 0 : -ENOSPC))
            fail("the name of producer " + std::to_string(i) + ": " + strerror(-r));
    }
    for (uint32_t i = 0; i <= ring.geometry().max_cursors; i++) {
        Reader reader(ring);
        std::string name = i == 0 ? kTrialCursor : "cursor " + std::to_string(i);
        uint64_t position;
        int r = ring_cursor_take(reader, name.c_str(), &position);
        if (r != (i < ring.geometry().max_cursors ? 0 : -ENOSPC))
            fail("cursor " + std::to_string(i) + ": " + strerror(-r));
    }
}

// With nothing taken over, the log grows to as many segments as there are slots.
void Trial::check_slots()
{
    if (!take_over())
        return;
    uint32_t slots = ring.geometry().slot_count;
    Actor actor(*this, kSurvivor);
    if (!actor.join())
        return fail("who fills the ring cannot join");
    uint64_t first = ring_reader_position(main) >> ring.shape().segment_shift;
    while (actor.publish(1, 21) && active() < first + 3 * slots)
        ;
    if (look(&actor.log.error) != (drops_old() ? 0 : EAGAIN))
        fail("while the ring is filled: " + std::string(strerror((int)look(&actor.log.error))));
    if (look(&actor.log.error))
        actor.give_up();
    actor.leave();
    uint32_t live = 0;
    for (uint32_t i = 0; i < slots; i++)
        live += slot_state(look(&main.view->states[i])) == RING_SLOT_LIVE;
    if (live != slots || (!drops_old() && active() - first + 1 != slots))
        fail("a ring of " + std::to_string(slots) + " slots is full with " + std::to_string(active() - first + 1) +
             " segments, in " + std::to_string(live) + " slots");
    take_over();
}

void Trial::aftermath()
{
    audit();
    if (!companions_.empty()) {
        while_stopped({});
        companions_end();
        audit();
    }
    uint32_t segments = 2 * ring.geometry().slot_count;
    uint32_t got = go_on(segments);
    if (got < segments)
        fail("others got through " + std::to_string(got) + " segments of " + std::to_string(segments));
    if (got >= segments)
        check_slots(); /* whoever needs a slot clears up behind the dead himself */
    {
        Publisher sweeper(ring);
        if (sweeper.joined < 0)
            fail("the sweeper cannot join");
        else
            ring_sweep(sweeper);
    }
    check_messages();
    check_name();
    check_nobody_left();
    if (!failures_.empty())
        return;
    check_publisher_entries();
    check_reader_entries();
    check_names();
    check_messages();
    check_nobody_left();
    audit();
}

} // namespace ringtest
