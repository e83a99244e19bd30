// SPDX-License-Identifier: Apache-2.0
// test: LABELS model TIMEOUT 60
//
// The litmus shapes of docs/memory-ordering.md, by name: every execution of each is made up (which store each load reads
// from, in which order the stores to one word land) and held against the rules of x86 and of ARMv8, as far as the shapes
// need these:
//   both    accesses of one process to one word keep their order, and nothing comes between the halves of a swap
//   x86     (TSO: Owens, Sarkar, Sewell 2009) all keep their order but a load behind a store; a full fence or a swap
//           holds that, too
//   ARMv8   (Pulte and others 2018; aarch64.cat of herdtools) "ordered before" has no circle. Swaps are ldaxr and stlxr,
//           the weakest that they become; a load-acquire is tried as ldar and as ldapr
// Each shape is shown to need what it has: with one order less ARM allows what must not be, or x86 does.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace
{

enum class Order { plain, acquire, release };

struct Step {
    enum Kind { load, store, swap, fence, branch } kind;
    std::string word;
    Order order = Order::plain;
    int value = 0;    // what is stored
    int expected = 0; // what a swap must find: the shape is about executions in which it succeeds
    std::string reg;  // where a load puts what it found
};

Step load(const char *reg, const char *word, Order order = Order::plain)
{
    return {Step::load, word, order, 0, 0, reg};
}
Step acquire(const char *reg, const char *word)
{
    return load(reg, word, Order::acquire);
}
Step store(const char *word, int value, Order order = Order::plain)
{
    return {Step::store, word, order, value, 0, ""};
}
Step release(const char *word, int value)
{
    return store(word, value, Order::release);
}
Step swap(const char *word, int expected, int value)
{
    return {Step::swap, word, Order::plain, value, expected, ""};
}
Step fence()
{
    return {Step::fence, "", Order::plain, 0, 0, ""};
}
Step branch() // on what was loaded so far
{
    return {Step::branch, "", Order::plain, 0, 0, ""};
}

using Program = std::vector<std::vector<Step>>;
using Values = std::map<std::string, int>; // by register, and "last WORD" for what a word holds in the end

struct Event {
    int thread; // -1: the value that a word begins with, 0
    Step::Kind kind;
    std::string word;
    bool acquire, release, swap;
    int value, expected;
    std::string reg;
};

// A relation among the events: from [a] to [b].
struct Relation {
    explicit Relation(size_t count) : rows(count, std::vector<bool>(count))
    {
    }
    void add(size_t a, size_t b)
    {
        rows[a][b] = true;
    }
    bool circular() const
    {
        auto reach = rows;
        for (size_t k = 0; k < reach.size(); k++)
            for (size_t i = 0; i < reach.size(); i++)
                for (size_t j = 0; reach[i][k] && j < reach.size(); j++)
                    reach[i][j] = reach[i][j] || reach[k][j];
        for (size_t i = 0; i < reach.size(); i++)
            if (reach[i][i])
                return true;
        return false;
    }
    std::vector<std::vector<bool>> rows;
};

enum class Machine { x86, arm, arm_ldapr };

class Search
{
public:
    // `interrupted`: the heavy fence. The last process calls membarrier where its fence stands, and the first is
    // interrupted in front of its step of this number.
    Search(const Program &program, Machine machine, int interrupted = -1) : machine_(machine), interrupted_(interrupted)
    {
        std::map<std::string, bool> words;
        for (const auto &thread : program)
            for (const Step &step : thread)
                if (!step.word.empty())
                    words[step.word] = true;
        for (const auto &word : words)
            events_.push_back({-1, Step::store, word.first, false, false, false, 0, 0, ""});
        for (size_t thread = 0; thread < program.size(); thread++) {
            for (const Step &step : program[thread]) {
                int t = static_cast<int>(thread);
                bool is_swap = step.kind == Step::swap;
                if (step.kind != Step::swap) {
                    events_.push_back({t, step.kind, step.word, step.order == Order::acquire,
                                       step.order == Order::release, false, step.value, 0, step.reg});
                    continue;
                }
                events_.push_back({t, Step::load, step.word, true, false, is_swap, 0, step.expected, ""});
                events_.push_back({t, Step::store, step.word, false, true, is_swap, step.value, 0, ""});
            }
        }
        from_.assign(events_.size(), 0);
    }

    bool allows(const std::function<bool(Values &)> &outcome)
    {
        outcome_ = &outcome;
        return choose_stores(0);
    }

private:
    bool is_load(size_t e) const
    {
        return events_[e].kind == Step::load;
    }
    bool is_store(size_t e) const
    {
        return events_[e].kind == Step::store;
    }
    bool is_access(size_t e) const
    {
        return is_load(e) || is_store(e);
    }
    bool before(size_t a, size_t b) const
    {
        return a < b && events_[a].thread == events_[b].thread && events_[a].thread >= 0;
    }
    bool same_word(size_t a, size_t b) const
    {
        return events_[a].word == events_[b].word;
    }
    bool other_thread(size_t a, size_t b) const
    {
        return events_[a].thread != events_[b].thread;
    }

    // Which store each load reads from.
    bool choose_stores(size_t e)
    {
        if (e == events_.size())
            return choose_landings();
        if (!is_load(e))
            return choose_stores(e + 1);
        for (size_t s = 0; s < events_.size(); s++) {
            if (!is_store(s) || !same_word(s, e) || (events_[e].swap && events_[s].value != events_[e].expected))
                continue;
            from_[e] = s;
            if (choose_stores(e + 1))
                return true;
        }
        return false;
    }

    // In which order the stores land: all orders of all stores, though that of one word's alone counts.
    bool choose_landings()
    {
        std::vector<size_t> stores;
        for (size_t e = 0; e < events_.size(); e++)
            if (is_store(e))
                stores.push_back(e); // what words begin with comes first
        auto first = std::find_if(stores.begin(), stores.end(), [&](size_t e) { return events_[e].thread >= 0; });
        do {
            landing_.assign(events_.size(), 0);
            for (size_t i = 0; i < stores.size(); i++)
                landing_[stores[i]] = i;
            if (happens() && found())
                return true;
        } while (std::next_permutation(first, stores.end()));
        return false;
    }

    bool lands_before(size_t a, size_t b) const
    {
        return is_store(a) && is_store(b) && same_word(a, b) && landing_[a] < landing_[b];
    }
    bool reads_from(size_t s, size_t l) const
    {
        return is_load(l) && from_[l] == s;
    }
    bool read_before(size_t l, size_t s) const
    {
        return is_load(l) && lands_before(from_[l], s);
    }

    bool happens() const
    {
        size_t count = events_.size();
        Relation one_word(count), all(count);
        for (size_t a = 0; a < count; a++) {
            for (size_t b = 0; b < count; b++) {
                if (a == b)
                    continue;
                bool observed = reads_from(a, b) || read_before(a, b) || lands_before(a, b);
                if (observed || (before(a, b) && is_access(a) && is_access(b) && same_word(a, b)))
                    one_word.add(a, b);
                if (machine_ == Machine::x86 ? observed && !(reads_from(a, b) && !other_thread(a, b))
                                             : observed && other_thread(a, b))
                    all.add(a, b);
                if (before(a, b) && ordered(a, b))
                    all.add(a, b);
                if (interrupted_ >= 0 && barrier_orders(a, b))
                    all.add(a, b);
                if (is_store(b) && events_[b].swap && a == b - 1) // nothing between the halves of a swap
                    for (size_t s = 0; s < count; s++)
                        if (s != b && read_before(a, s) && lands_before(s, b))
                            return false;
            }
        }
        return !one_word.circular() && !all.circular();
    }

    bool fence_between(size_t a, size_t b) const
    {
        for (size_t f = a + 1; f < b; f++)
            if (events_[f].kind == Step::fence && (interrupted_ < 0 || events_[f].thread != last_thread()))
                return true;
        return false;
    }

    // `a` stands before `b` in one process: does the machine keep it so?
    bool ordered(size_t a, size_t b) const
    {
        if (!is_access(a) || !is_access(b))
            return false;
        const Event &first = events_[a], &second = events_[b];
        if (fence_between(a, b))
            return true;
        if (machine_ == Machine::x86)
            return !(is_store(a) && is_load(b)) || first.swap || second.swap;
        if (first.acquire || second.release)
            return true;
        bool strong_acquire = second.acquire && (machine_ == Machine::arm || second.swap); // ldar, ldaxr; not ldapr
        if (first.release && strong_acquire)
            return true;
        if (first.swap && second.swap && b == a + 1)
            return true;
        for (size_t i = a + 1; is_load(a) && is_store(b) && i < b; i++)
            if (events_[i].kind == Step::branch)
                return true;
        return false;
    }

    int last_thread() const
    {
        return events_.back().thread;
    }

    // membarrier(2): a full fence in the caller and, while it lasts, one in the other, wherever that is just then.
    bool barrier_orders(size_t a, size_t b) const
    {
        size_t start = 0, call = 0;
        while (events_[start].thread != 0)
            start++;
        while (events_[call].thread != last_thread() || events_[call].kind != Step::fence)
            call++;
        size_t interrupt = start + static_cast<size_t>(interrupted_);
        auto side = [&](size_t e, bool ahead) {
            return (events_[e].thread == 0 && (e < interrupt) == ahead) ||
                   (events_[e].thread == last_thread() && e != call && (e < call) == ahead);
        };
        return side(a, true) && side(b, false);
    }

    bool found() const
    {
        Values values;
        for (size_t e = 0; e < events_.size(); e++) {
            if (is_load(e) && !events_[e].reg.empty())
                values[events_[e].reg] = events_[from_[e]].value;
            bool last = is_store(e);
            for (size_t s = 0; s < events_.size(); s++)
                last = last && !lands_before(e, s);
            if (last)
                values["last " + events_[e].word] = events_[e].value;
        }
        return (*outcome_)(values);
    }

    Machine machine_;
    int interrupted_;
    std::vector<Event> events_;
    std::vector<size_t> from_, landing_;
    const std::function<bool(Values &)> *outcome_ = nullptr;
};

using Outcome = std::function<bool(Values &)>;

bool allowed(Machine machine, const Program &program, const Outcome &outcome)
{
    return Search(program, machine).allows(outcome);
}

void expect_never(const Program &program, const Outcome &outcome)
{
    EXPECT_FALSE(allowed(Machine::x86, program, outcome)) << "x86";
    EXPECT_FALSE(allowed(Machine::arm, program, outcome)) << "ARM, ldar";
    EXPECT_FALSE(allowed(Machine::arm_ldapr, program, outcome)) << "ARM, ldapr";
}

void expect_on_arm_alone(const Program &program, const Outcome &outcome)
{
    EXPECT_FALSE(allowed(Machine::x86, program, outcome)) << "x86";
    EXPECT_TRUE(allowed(Machine::arm, program, outcome)) << "ARM, ldar";
}

} // namespace

// The rules above against what is known of them: the examples in the manuals and papers.
TEST(Litmus, TextbookShapesComeOutAsInTheTextbooks)
{
    struct Known {
        const char *name;
        Program program;
        Outcome outcome;
        bool x86, arm, arm_ldapr;
    };
    auto both_old = [](Values &v) { return v["r1"] == 0 && v["r2"] == 0; };
    auto new_then_old = [](Values &v) { return v["r1"] == 1 && v["r2"] == 0; };
    auto from_nowhere = [](Values &v) { return v["r1"] == 1 && v["r2"] == 1; };
    auto lost_first = [](Values &v) { return v["r1"] == 1 && v["last x"] == 1; };
    auto lost_both = [](Values &v) { return v["last x"] == 1 && v["last y"] == 1; };
    auto two_stories = [](Values &v) { return v["r1"] == 1 && v["r2"] == 0 && v["r3"] == 1 && v["r4"] == 0; };
    const Known shapes[] = {
        {"MP", {{store("x", 1), store("y", 1)}, {load("r1", "y"), load("r2", "x")}}, new_then_old, false, true, true},
        {"SB", {{store("x", 1), load("r1", "y")}, {store("y", 1), load("r2", "x")}}, both_old, true, true, true},
        {"SB, release and acquire",
         {{release("x", 1), acquire("r1", "y")}, {release("y", 1), acquire("r2", "x")}},
         both_old,
         true,
         false,
         true},
        {"LB", {{load("r1", "x"), store("y", 1)}, {load("r2", "y"), store("x", 1)}}, from_nowhere, false, true, true},
        {"LB, branches",
         {{load("r1", "x"), branch(), store("y", 1)}, {load("r2", "y"), branch(), store("x", 1)}},
         from_nowhere,
         false,
         false,
         false},
        {"MP, branch before a load",
         {{store("x", 1), fence(), store("y", 1)}, {load("r1", "y"), branch(), load("r2", "x")}},
         new_then_old,
         false,
         true,
         true},
        {"S", {{store("x", 1), store("y", 1)}, {load("r1", "y"), store("x", 2)}}, lost_first, false, true, true},
        {"R",
         {{store("x", 1), store("y", 1)}, {store("y", 2), load("r2", "x")}},
         [](Values &v) { return v["last y"] == 2 && v["r2"] == 0; },
         true,
         true,
         true},
        {"2+2W", {{store("x", 1), store("y", 2)}, {store("y", 1), store("x", 2)}}, lost_both, false, true, true},
        {"CoRR", {{store("x", 1)}, {load("r1", "x"), load("r2", "x")}}, new_then_old, false, false, false},
        {"IRIW",
         {{store("x", 1)}, {store("y", 1)}, {load("r1", "x"), load("r2", "y")}, {load("r3", "y"), load("r4", "x")}},
         two_stories,
         false,
         true,
         true},
        {"IRIW, acquire",
         {{store("x", 1)},
          {store("y", 1)},
          {acquire("r1", "x"), acquire("r2", "y")},
          {acquire("r3", "y"), acquire("r4", "x")}},
         two_stories,
         false,
         false,
         false},
        {"two swaps find the same",
         {{swap("x", 0, 1)}, {swap("x", 0, 2)}},
         [](Values &) { return true; },
         false,
         false,
         false},
    };
    for (const Known &shape : shapes) {
        EXPECT_EQ(shape.x86, allowed(Machine::x86, shape.program, shape.outcome)) << shape.name << " on x86";
        EXPECT_EQ(shape.arm, allowed(Machine::arm, shape.program, shape.outcome)) << shape.name << " on ARM, ldar";
        EXPECT_EQ(shape.arm_ldapr, allowed(Machine::arm_ldapr, shape.program, shape.outcome))
            << shape.name << ", ldapr";
    }
}

TEST(Litmus, E1CommitShowsThePayload)
{
    Outcome old = [](Values &v) { return v["r1"] == 1 && v["r2"] == 0; };
    expect_never({{store("body", 1), release("head", 1)}, {acquire("r1", "head"), load("r2", "body")}}, old);
    expect_on_arm_alone({{store("body", 1), store("head", 1)}, {acquire("r1", "head"), load("r2", "body")}}, old);
    expect_on_arm_alone({{store("body", 1), release("head", 1)}, {load("r1", "head"), load("r2", "body")}}, old);
}

TEST(Litmus, E1CommitShowsTheFreeHeaderBehindThatAnotherCleaned)
{
    // next: 0 is what an earlier segment left, 1 is free
    Outcome invented = [](Values &v) { return v["r1"] == 1 && v["r2"] == 1 && v["r3"] == 0; };
    std::vector<Step> cleaner = {store("next", 1), swap("clean", 0, 1)};
    std::vector<Step> reader = {acquire("r2", "head"), acquire("r3", "next")};
    expect_never({cleaner, {acquire("r1", "clean"), release("head", 1)}, reader}, invented);
    expect_on_arm_alone({cleaner, {load("r1", "clean"), store("head", 1)}, reader}, invented);
}

TEST(Litmus, E2EitherTheAnnouncementOrTheMarkIsSeen)
{
    Outcome neither = [](Values &v) { return v["r1"] == 0 && v["r2"] == 0; };
    std::vector<Step> reclaimer = {swap("state", 0, 1), fence(), load("r2", "announced")};
    expect_never({{release("announced", 1), fence(), acquire("r1", "state")}, reclaimer}, neither);

    Program unfenced = {{release("announced", 1), acquire("r1", "state")}, reclaimer};
    EXPECT_TRUE(allowed(Machine::x86, unfenced, neither));
    EXPECT_FALSE(allowed(Machine::arm, unfenced, neither)); // stlr and ldar keep their order
    EXPECT_TRUE(allowed(Machine::arm_ldapr, unfenced, neither));

    Program unfenced_reclaimer = {{release("announced", 1), fence(), acquire("r1", "state")},
                                  {swap("state", 0, 1), load("r2", "announced")}};
    expect_on_arm_alone(unfenced_reclaimer, neither);
}

TEST(Litmus, E2WhoLeftNeitherReadsNorWritesInTheNextSegment)
{
    Outcome read = [](Values &v) { return v["r1"] == 2 && v["r2"] == 1; };
    std::vector<Step> by_acquire = {acquire("r2", "announced"), store("slot", 2)};
    std::vector<Step> by_branch = {load("r2", "announced"), branch(), store("slot", 2)};
    expect_never({{load("r1", "slot"), release("announced", 1)}, by_acquire}, read);
    expect_never({{load("r1", "slot"), release("announced", 1)}, by_branch}, read);
    expect_on_arm_alone({{load("r1", "slot"), store("announced", 1)}, by_acquire}, read);

    Outcome written = [](Values &v) { return v["r2"] == 1 && v["last slot"] == 1; };
    expect_never({{store("slot", 1), release("announced", 1)}, by_acquire}, written);
    expect_never({{store("slot", 1), release("announced", 1)}, by_branch}, written);
    expect_on_arm_alone({{store("slot", 1), store("announced", 1)}, by_acquire}, written);
}

TEST(Litmus, E3AClaimThatLeftTheTailWordStandsInItsHeader)
{
    // tail: 1 is A's claim, 2 B's. head: 1 is READY, 2 claimed.
    Outcome nobodys = [](Values &v) { return v["r3"] == 2 && v["r4"] == 0; };
    std::vector<Step> reader = {acquire("r2", "head"), acquire("r3", "tail"), acquire("r4", "head")};
    std::vector<Step> a = {swap("tail", 0, 1), release("head", 1)};
    expect_never({{swap("tail", 0, 1)}, {acquire("r1", "tail"), swap("head", 0, 2), swap("tail", 1, 2)}, reader},
                 nobodys);

    // B finds A's READY by a relaxed load, and goes on when it is there.
    Outcome nobodys_ready = [](Values &v) { return v["r1"] == 1 && v["r3"] == 2 && v["r4"] == 0; };
    expect_never({a, {load("r1", "head"), branch(), swap("tail", 1, 2)}, reader}, nobodys_ready);
    expect_on_arm_alone({a, {load("r1", "head"), store("tail", 2)}, reader}, nobodys_ready);
}

TEST(Litmus, E4TheCleanersZeroDoesNotLandOnACommit)
{
    // head: 1 is free, 2 READY
    Outcome vanished = [](Values &v) { return v["r1"] == 1 && v["last head"] == 1; };
    expect_never({{store("head", 1), swap("clean", 0, 1)}, {acquire("r1", "clean"), release("head", 2)}}, vanished);
    expect_on_arm_alone({{store("head", 1), store("clean", 1)}, {acquire("r1", "clean"), release("head", 2)}},
                        vanished);
}

TEST(Litmus, E5WhoEntersSeesThePreparedSlot)
{
    Outcome old = [](Values &v) { return v["r1"] == 1 && v["r2"] == 0; };
    std::vector<Step> roller = {store("tail", 1), swap("active", 0, 1)};
    expect_never({roller, {acquire("r1", "active"), load("r2", "tail")}}, old);
    expect_on_arm_alone({roller, {load("r1", "active"), load("r2", "tail")}}, old);

    // Another makes it LIVE, and the third goes by that alone.
    Outcome old_by_state = [](Values &v) { return v["r0"] == 1 && v["r1"] == 1 && v["r2"] == 0; };
    expect_never({roller, {acquire("r0", "active"), swap("state", 0, 1)}, {acquire("r1", "state"), load("r2", "tail")}},
                 old_by_state);
}

TEST(Litmus, E6EitherTheNewsOrTheWishIsSeen)
{
    Outcome missed = [](Values &v) { return v["r1"] == 0 && v["r2"] == 0; };
    std::vector<Step> sleeper = {swap("want", 0, 1), fence(), acquire("r2", "head")};
    expect_never({{release("head", 1), fence(), load("r1", "want")}, sleeper}, missed); // RING_FEATURE_FENCED

    Program light = {{release("head", 1), load("r1", "want")}, sleeper};
    EXPECT_TRUE(allowed(Machine::x86, light, missed));
    EXPECT_TRUE(allowed(Machine::arm, light, missed));
    for (int interrupted = 0; interrupted <= 2; interrupted++) // membarrier, wherever it meets the publisher
        for (Machine machine : {Machine::x86, Machine::arm, Machine::arm_ldapr})
            EXPECT_FALSE(Search(light, machine, interrupted).allows(missed))
                << "interrupted before step " << interrupted;
}

TEST(Litmus, E7WhoGaveASlotBackWritesNoMoreInIt)
{
    Outcome set_back = [](Values &v) { return v["last tail"] == 1; };
    // state: 0 RESERVED by the first, 1 FREE, 2 RESERVED by the second
    expect_never({{store("tail", 1), swap("state", 0, 1)}, {swap("state", 1, 2), store("tail", 2)}}, set_back);
    expect_on_arm_alone({{store("tail", 1), store("state", 1)}, {swap("state", 1, 2), store("tail", 2)}}, set_back);
}

TEST(Litmus, E8TheDrainDoesNotReadTheNextSegment)
{
    Outcome other = [](Values &v) { return v["r1"] == 2 && v["r2"] == 1; };
    expect_never({{load("r1", "slot"), release("drained", 1)}, {acquire("r2", "drained"), store("slot", 2)}}, other);
    expect_on_arm_alone({{load("r1", "slot"), store("drained", 1)}, {acquire("r2", "drained"), store("slot", 2)}},
                        other);
    expect_on_arm_alone({{load("r1", "slot"), release("drained", 1)}, {load("r2", "drained"), store("slot", 2)}},
                        other);
}

TEST(Litmus, E9WhatIsReadyIsWhole)
{
    Outcome half = [](Values &v) { return v["r1"] == 2 && v["r2"] == 0; };
    expect_never(
        {{swap("state", 0, 1), store("name", 1), swap("state", 1, 2)}, {acquire("r1", "state"), load("r2", "name")}},
        half);
    expect_on_arm_alone(
        {{swap("state", 0, 1), store("name", 1), store("state", 2)}, {acquire("r1", "state"), load("r2", "name")}},
        half);
}

TEST(Litmus, E11WhatIsPlannedHasItsPlan)
{
    Outcome old = [](Values &v) { return v["r1"] == 1 && v["r2"] == 0; };
    std::vector<Step> settler = {acquire("r1", "word"), acquire("r2", "plan")};
    expect_never({{release("plan", 1), release("word", 1)}, settler}, old);
    expect_on_arm_alone({{release("plan", 1), store("word", 1)}, settler}, old);
    expect_on_arm_alone({{release("plan", 1), release("word", 1)}, {load("r1", "word"), acquire("r2", "plan")}}, old);
}

TEST(Litmus, E11WhoSeesTheNextPlanSeesTheWordOfThatLife)
{
    Outcome mixed = [](Values &v) { return v["r1"] == 1 && v["r2"] == 0; };
    std::vector<Step> late = {acquire("r1", "plan"), acquire("r2", "word")};
    expect_never({{swap("word", 0, 1), release("plan", 1)}, late}, mixed);
    expect_on_arm_alone({{swap("word", 0, 1), store("plan", 1)}, late}, mixed);
    expect_on_arm_alone({{swap("word", 0, 1), release("plan", 1)}, {load("r1", "plan"), acquire("r2", "word")}}, mixed);
}

TEST(Litmus, E12WhatLeftTheCursorIsSettled)
{
    // entry: 1 is HELD. cursor: 1 names another. What the resolver's swap would find stands for it.
    Outcome freed = [](Values &v) { return v["r2"] == 1 && v["r3"] == 0; };
    std::vector<Step> resolver = {acquire("r1", "entry"), acquire("r2", "cursor"), acquire("r3", "entry")};
    expect_never({{swap("entry", 0, 1), swap("cursor", 0, 1)}, resolver}, freed);
    expect_on_arm_alone({{swap("entry", 0, 1), store("cursor", 1)}, resolver}, freed);

    // One settles, another sees that and displaces.
    Outcome freed_by_two = [](Values &v) { return v["r0"] == 1 && v["r2"] == 1 && v["r3"] == 0; };
    expect_never({{swap("entry", 0, 1)}, {acquire("r0", "entry"), swap("cursor", 0, 1)}, resolver}, freed_by_two);
}

TEST(Litmus, RepairReadsTheEntryBehindTheWord)
{
    // The dead one's entry is freed (0 to 1) and taken by another (2), who then writes the word (1): no repairer that
    // finds the dead's id behind the word has read the other's word.
    Outcome mistaken = [](Values &v) { return v["r1"] == 1 && v["r2"] == 0; };
    std::vector<Step> others = {swap("entry", 0, 1), swap("entry", 1, 2), swap("word", 0, 1)};
    expect_never({others, {acquire("r1", "word"), acquire("r2", "entry")}}, mistaken);
    expect_on_arm_alone({others, {load("r1", "word"), acquire("r2", "entry")}}, mistaken);
}
