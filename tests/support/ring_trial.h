// SPDX-License-Identifier: Apache-2.0
// What goes on around participants that die or stop, and what must be true afterwards.
//
// A Trial is a ring with one reader that takes everything over (weird's part on a journaled ring), a log of what each
// actor tried and did, kept where it survives the actor, and the checks. Actors (ring_actor.h) play their parts on it, each
// as a Child (ring_child.h: a forked process, really killed or stopped) or as a Fiber (in this process; never continued
// means dead).
#ifndef WEIR_TESTS_SUPPORT_RING_TRIAL_H
#define WEIR_TESTS_SUPPORT_RING_TRIAL_H

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/ring_fiber.h"
#include "tests/support/ring_fixture.h"

namespace ringtest
{

class Actor;
using Script = std::function<void(Actor &)>;

constexpr uint32_t kActors = 24;
constexpr uint32_t kSurvivor = kActors - 1; // others, of whom nothing ever happens
constexpr char kTrialName[] = "named";
constexpr char kTrialCursor[] = "cursor";

struct Seen {
    uint64_t position;
    uint64_t next;
    uint32_t who;
    uint64_t number;
    bool operator==(const Seen &other) const
    {
        return position == other.position && next == other.next && who == other.who && number == other.number;
    }
};

struct ActorLog {
    static constexpr uint64_t kIds = 4;
    static constexpr uint64_t kReads = 512;
    static constexpr uint64_t kPositions = 1024;
    struct mem_u64 ids[kIds]; // of publishers, the last few, each put down before its entry is asked for
    struct mem_u64 id_count;
    struct mem_u64 reader_ids[kIds];
    struct mem_u64 reader_id_count;
    struct mem_u64 attempted; // messages below this number were begun
    struct mem_u64 committed; // and below this one are committed
    struct mem_u64 named;     // took the name
    struct mem_u64 gated;     // is a reader with a gate
    struct mem_u64 refused;   // so often it was told that the name, the cursor or the ring is held by the living
    struct mem_u64 error;     // -errno that the script did not expect
    struct mem_u64 finished;
    struct mem_u64 read_from; // a reader: where it began, what it read
    struct mem_u64 read_count;
    Seen read[kReads];
    struct mem_u64 positions[kPositions]; // where the last messages were said to be, by their numbers
};

class Trial
{
public:
    explicit Trial(const Shape &shape);
    ~Trial();

    ActorLog &log(uint32_t who)
    {
        return logs_[who];
    }
    // The kernel drops every lock of these actors.
    void dies(uint32_t who);
    void die(const std::vector<uint32_t> &who);

    // Somebody who stands still, alive, from now on: at the n-th store of the function. Ends with companions_end().
    Fiber &companion(uint32_t who, const Script &script, const char *function, uint32_t nth = 1);
    bool has_companions() const
    {
        return !companions_.empty();
    }
    // One of them has the claim open that everybody waits for.
    bool companions_block();
    // They go on as far as they can.
    void companions_go_on();
    // They go on to their ends, and leave.
    void companions_end();

    // Reads on, repairs on the way, moves `drained` behind itself. False: an error.
    bool take_over();
    // Others publish until so many segments later, and nothing is taken over.
    void fill(uint32_t segments);
    // The same while everything is taken over. Returns how many segments they got through.
    uint32_t go_on(uint32_t segments, uint32_t units = 9);
    // Others go on, and use every slot again, while these stand still, alive; or stand still where one of them has a claim
    // open, the only exclusive right, or a gate.
    void while_stopped(std::vector<uint32_t> stopped);
    // At any moment, with whoever stopped or dead where he stands: ring_check() finds nothing, and what is in memory is
    // what the first reader met there.
    void audit();
    // The actor has read everything from where it began up to this position.
    bool has_read(uint32_t who, uint64_t until);
    // Everything that must hold once nobody is left of those who died. Adds to failures().
    void aftermath();

    const std::vector<std::string> &failures() const
    {
        return failures_;
    }
    std::string failure_text() const;
    void fail(const std::string &what);
    // What the first reader met, in order.
    const std::vector<Seen> &seen() const
    {
        return seen_;
    }
    uint64_t seen_of(uint32_t who) const
    {
        auto at = seen_count_.find(who);
        return at == seen_count_.end() ? 0 : at->second;
    }
    uint64_t active() const
    {
        return active_segment(look(&ring.control_block()->active));
    }
    bool drops_old() const
    {
        return ring.shape().when_full == RING_DROP_OLD;
    }

    Ring ring;
    Reader main;
    uint64_t start_of_role = 0; // where the scripts' readers begin

private:
    struct Companion {
        uint32_t who;
        std::unique_ptr<Fiber> fiber;
        Script script;
    };

    bool belongs_to(const std::vector<uint32_t> &who, uint64_t publisher_id);
    bool gates(uint32_t who);
    std::vector<Seen> reread(uint64_t position);
    void check_messages();
    void check_reads(uint32_t who);
    void check_name();
    void check_nobody_left();
    void check_publisher_entries();
    void check_reader_entries();
    void check_names();
    void check_slots();

    ActorLog *logs_;
    std::vector<std::string> failures_;
    std::vector<Seen> seen_;
    std::map<uint32_t, uint64_t> seen_count_;
    std::vector<Companion> companions_;
    std::vector<uint32_t> dead_;
    uint32_t gaps_ = 0;
};

// True, and in *ret_seen what the message says of itself; false: nobody wrote it.
bool seen_read(const void *body, uint32_t body_bytes, uint32_t flags, uint16_t tag, Seen *ret_seen);

} // namespace ringtest

#endif
