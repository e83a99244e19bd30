// SPDX-License-Identifier: Apache-2.0
// Participants that die or stop at a given store or swap, what goes on around them, and what must be true afterwards.
//
// A Trial is a ring with one reader that takes everything over (weird's part on a journaled ring), a log of what each
// actor tried and did, kept where it survives the actor, and the checks. An Actor plays a role. It is run by a Child (a
// forked process, killed by SIGKILL) or by a Fiber (in this process; never continued means dead).
#ifndef WEIR_TESTS_SUPPORT_RING_CRASH_H
#define WEIR_TESTS_SUPPORT_RING_CRASH_H

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/support/ring_fiber.h"
#include "tests/support/ring_fixture.h"

namespace ringtest
{

// -- Coverage: how often each crash point was reached, in this process and in its children -------------------------------

void coverage_count(struct mem_site *site);

struct Site {
    std::string file;
    std::string function;
    int line;
    uint64_t hits;
};
// One per line; sites of a header that several files have are one.
std::vector<Site> coverage();

// -- Trial ---------------------------------------------------------------------------------------------------------------

constexpr uint32_t kActors = 16;
constexpr char kTrialName[] = "named";

struct ActorLog {
    struct mem_u64 ids[4]; // of publishers, each put down before its entry is asked for
    struct mem_u64 id_count;
    struct mem_u64 reader_ids[4];
    struct mem_u64 reader_id_count;
    struct mem_u64 attempted; // messages below this number were begun
    struct mem_u64 committed; // and below this one are committed
    struct mem_u64 named;     // took the name
    struct mem_u64 gated;     // is a reader with a gate
    struct mem_u64 error;     // -errno that the script did not expect
    struct mem_u64 finished;
};

struct Seen {
    uint64_t position;
    uint64_t next;
    uint32_t who;
    uint64_t number;
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
    // The kernel drops every lock of this actor.
    void dies(uint32_t who);
    // Reads on, repairs on the way, moves `drained` behind itself. False: an error.
    bool take_over();
    // Others publish until so many segments later, while everything is taken over. Returns how many it got through.
    uint32_t go_on(uint32_t segments, uint32_t units = 9);
    // Everything that must hold once nobody is left of those who died. Adds to failures().
    void aftermath();
    // Others go on while these stand still, alive; or stand still where one of them has a claim open.
    void while_stopped(const std::vector<uint32_t> &stopped);
    // Messages: order, nothing lost, nothing invented.
    void check_messages();
    // Nothing names the dead, no slot is in between, and all of them can be used.
    void check_leaks();

    const std::vector<std::string> &failures() const
    {
        return failures_;
    }
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

    Ring ring;
    Reader main;
    uint64_t start_of_role = 0; // for the scripts' use

private:
    ActorLog *logs_;
    std::vector<std::string> failures_;
    std::vector<Seen> seen_;
    std::map<uint32_t, uint64_t> seen_count_;
    std::vector<uint64_t> dead_;
    uint32_t survivor_;
    uint32_t gaps_ = 0;
};

// Plays a role. Everything it owns lives in the trial, so that it can be left where it stands. Each call returns false
// when the script should end: an error, put down in the log.
class Actor
{
public:
    Actor(Trial &trial, uint32_t who);

    bool join();
    bool join_daemon();
    bool take_name();                                     // kTrialName
    bool publish(uint32_t count = 1, uint32_t units = 0); // 0: sizes of all kinds
    bool publish_batch(uint32_t count);
    bool cancel(uint32_t units);
    bool claim(uint32_t units); // and leaves it open
    void leave();
    bool join_reader(bool gating = false);
    bool take_cursor(const char *name);
    bool read(uint32_t most = UINT32_MAX);
    void leave_reader();
    bool failed(int error);

    Trial &trial;
    uint32_t who;
    ActorLog &log;
    View &view;
    struct ring_publisher_state publisher = {};
    struct ring_reader_state reader = {};
    // When there is no room: 0: an error; else so often it lets others run and tries again.
    uint32_t patience = 0;

private:
    uint64_t sequence_before = 0; // the name's, before this actor's first message
    int claim_room(uint32_t units, uint64_t *ret_position);
    uint32_t put_body(uint8_t *body, uint64_t number, uint32_t units);
};

using Script = std::function<void(Actor &)>;

// -- Child: an actor in a process of its own -------------------------------------------------------------------------------

class Child
{
public:
    enum class End { finished, killed, stopped, broken };

    Child(Trial &trial, uint32_t who, const Script &script);
    ~Child(); // kills it
    Child(const Child &) = delete;
    Child &operator=(const Child &) = delete;

    // Starts it; it is killed before its n-th store or swap.
    End run_and_kill(uint64_t n);
    // Starts it; it stops before its n-th store or swap.
    End run_and_stop(uint64_t n);
    // Lets it run on; ended() says when it is over.
    void go_on();
    bool ended(End *ret_end);
    // Where it stopped or was killed.
    std::string where() const;

private:
    void start(uint64_t n, bool kill);
    End wait();

    Trial &trial_;
    uint32_t who_;
    Script script_;
    pid_t pid_ = -1;
    int told_ = -1; // the child tells that it stopped
    int tell_ = -1; // we tell it to go on
    char *where_;
};

} // namespace ringtest

#endif
