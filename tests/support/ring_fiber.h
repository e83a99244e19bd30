// SPDX-License-Identifier: Apache-2.0
// A participant that can be stopped before any access to shared words, and left there: stopped, or dead for ever.
#ifndef WEIR_TESTS_SUPPORT_RING_FIBER_H
#define WEIR_TESTS_SUPPORT_RING_FIBER_H

#include <ucontext.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "ringbuf/access.h"
}

namespace ringtest
{

class Fiber
{
public:
    enum class State { ready, stopped, done };
    // What counts as a point: stores and swaps, at which alone shared memory changes, or loads as well.
    enum class Points { stores, accesses };
    static constexpr uint64_t kNever = UINT64_MAX;

    explicit Fiber(std::function<void()> body, Points points = Points::stores);
    ~Fiber(); // wherever it is: what it held stays held, nothing on its stack is destroyed
    Fiber(const Fiber &) = delete;
    Fiber &operator=(const Fiber &) = delete;

    // Runs it until it is about to make its n-th access from now on (n from 1), or to its end. Where it gives the
    // processor back by itself in between (a bounded wait), it gets it again.
    void run(uint64_t stop_before = kNever);
    // The same, and returns where it gives the processor back: true, to be called again.
    bool step(uint64_t stop_before = kNever);
    // Runs it until it is about to make the nth store or swap of this function from now on. False: it never came there.
    bool run_to(const char *function, uint32_t nth = 1);
    State state() const
    {
        return state_;
    }
    // Points that it came to so far.
    uint64_t points() const
    {
        return points_;
    }
    // The store or swap that it stands before, or came to last; NULL: none yet.
    const struct mem_site *site() const
    {
        return site_;
    }
    bool stands_in(const char *function) const;
    bool stands_before_load() const
    {
        return loads_;
    }
    // "file:line function", and whether it is a load behind that.
    std::string where() const;

    // From now on the points that it comes to are put down there: the store, or the one before the load.
    void record(std::vector<const struct mem_site *> *points)
    {
        record_ = points;
    }

    // The one that runs just now; NULL: none, the test itself does.
    static Fiber *current();
    // From inside: gives the processor back to who called run().
    static void yield();

    // Called at each access, loads too; used with yield() by who schedules at random.
    static void (*at_point)(Fiber &fiber, bool load);

private:
    friend void fiber_point(struct mem_site *site);
    friend void fiber_load();
    static void entry(unsigned low, unsigned high);
    void come_to_point();
    void stop();
    void switch_in();
    void switch_out(bool last);

    std::function<void()> body_;
    std::unique_ptr<char[]> stack_;
    ucontext_t context_ = {};
    ucontext_t caller_ = {};
    void *fake_stack_ = nullptr;
    const void *caller_stack_ = nullptr;
    size_t caller_stack_bytes_ = 0;
    State state_ = State::ready;
    Points counts_;
    uint64_t points_ = 0;
    uint64_t stop_at_ = kNever;
    const struct mem_site *site_ = nullptr;
    std::vector<const struct mem_site *> *record_ = nullptr;
    bool loads_ = false;
};

// The hooks to be set as mem_point_hook and, for Points::accesses or at_point, as mem_load_hook.
void fiber_point(struct mem_site *site);
void fiber_load();

} // namespace ringtest

#endif
