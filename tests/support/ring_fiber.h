// SPDX-License-Identifier: Apache-2.0
// A participant that can be stopped before any access to shared words, and left there: stopped, or dead for ever.
#ifndef WEIR_TESTS_SUPPORT_RING_FIBER_H
#define WEIR_TESTS_SUPPORT_RING_FIBER_H

#include <ucontext.h>

#include <cstdint>
#include <functional>
#include <memory>

extern "C" {
#include "ringbuf/access.h"
}

namespace ringtest
{

class Fiber
{
public:
    enum class State { ready, stopped, done };
    static constexpr uint64_t kNever = UINT64_MAX;

    explicit Fiber(std::function<void()> body);
    ~Fiber(); // wherever it is: what it held stays held, nothing on its stack is destroyed
    Fiber(const Fiber &) = delete;
    Fiber &operator=(const Fiber &) = delete;

    // Runs it until it is about to make its n-th store or swap from now on (n from 1), or to its end. Where it gives the
    // processor back by itself in between (a bounded wait), it gets it again.
    void run(uint64_t stop_before = kNever);
    // The same, and returns where it gives the processor back: true, to be called again.
    bool step(uint64_t stop_before = kNever);
    State state() const
    {
        return state_;
    }
    // Stores and swaps that it came to so far.
    uint64_t points() const
    {
        return points_;
    }
    // Where it stands, "file:line function".
    const char *where() const
    {
        return where_;
    }

    // The one that runs just now; NULL: none, the test itself does.
    static Fiber *current();
    // From inside: gives the processor back to who called run().
    static void yield();

    // Stops at loads, too; used with yield() by who schedules at random.
    static void (*at_point)(Fiber &fiber, bool load);

private:
    friend void fiber_point(struct mem_site *site);
    static void entry(unsigned low, unsigned high);
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
    uint64_t points_ = 0;
    uint64_t stop_at_ = kNever;
    char where_[128] = "";
};

// The hook to be set as mem_point_hook where fibers are used.
void fiber_point(struct mem_site *site);
void fiber_load();

} // namespace ringtest

#endif
