// SPDX-License-Identifier: Apache-2.0
#include "tests/support/ring_fiber.h"

#include <cstring>
#include <stdexcept>

#include "tests/support/ring_coverage.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define FIBERS_TELL_SANITIZER 1
#endif

namespace ringtest
{

namespace
{
constexpr size_t kStackBytes = 256 * 1024;
constexpr uint32_t kEndless = 1000000; // steps of a script that never ends
Fiber *running;
} // namespace

void (*Fiber::at_point)(Fiber &fiber, bool load);

Fiber *Fiber::current()
{
    return running;
}

Fiber::Fiber(std::function<void()> body, Points points)
    : body_(std::move(body)), stack_(new char[kStackBytes]), counts_(points)
{
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack_.get();
    context_.uc_stack.ss_size = kStackBytes;
    context_.uc_link = nullptr;
    uint64_t self = reinterpret_cast<uint64_t>(this);
    makecontext(&context_, reinterpret_cast<void (*)()>(&Fiber::entry), 2, (unsigned)self, (unsigned)(self >> 32));
}

Fiber::~Fiber() = default;

void Fiber::entry(unsigned low, unsigned high)
{
    Fiber *self = reinterpret_cast<Fiber *>((uint64_t)high << 32 | low);
#ifdef FIBERS_TELL_SANITIZER
    __sanitizer_finish_switch_fiber(nullptr, &self->caller_stack_, &self->caller_stack_bytes_);
#endif
    self->body_();
    self->state_ = State::done;
    self->switch_out(true);
}

void Fiber::switch_in()
{
    Fiber *before = running;
    running = this;
#ifdef FIBERS_TELL_SANITIZER
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, stack_.get(), kStackBytes);
#endif
    swapcontext(&caller_, &context_);
#ifdef FIBERS_TELL_SANITIZER
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
    running = before;
}

void Fiber::switch_out(bool last)
{
#ifdef FIBERS_TELL_SANITIZER
    __sanitizer_start_switch_fiber(last ? nullptr : &fake_stack_, caller_stack_, caller_stack_bytes_);
#endif
    (void)last;
    swapcontext(&context_, &caller_);
#ifdef FIBERS_TELL_SANITIZER
    __sanitizer_finish_switch_fiber(fake_stack_, &caller_stack_, &caller_stack_bytes_);
#endif
}

bool Fiber::step(uint64_t stop_before)
{
    if (state_ == State::done)
        return false;
    stop_at_ = stop_before == kNever ? kNever : points_ + stop_before;
    state_ = State::ready;
    switch_in();
    return state_ == State::ready;
}

void Fiber::run(uint64_t stop_before)
{
    uint64_t at = stop_before == kNever ? kNever : points_ + stop_before;
    for (uint32_t round = 0; step(at == kNever ? kNever : at - points_); round++)
        if (round > kEndless)
            throw std::runtime_error("a fiber that never ends, " + where());
}

bool Fiber::run_to(const char *function, uint32_t nth)
{
    for (uint32_t round = 0; nth > 0; round++) {
        run(1);
        if (state_ == State::done)
            return false;
        if (round > kEndless)
            throw std::runtime_error("a fiber that never ends, " + where());
        nth -= !loads_ && stands_in(function);
    }
    return true;
}

bool Fiber::stands_in(const char *function) const
{
    return site_ && strcmp(site_->function, function) == 0;
}

std::string Fiber::where() const
{
    if (!site_)
        return "its beginning";
    return (loads_ ? "a load behind " : "") + std::string(site_->file) + ":" + std::to_string(site_->line) + " " +
           site_->function;
}

void Fiber::yield()
{
    running->switch_out(false);
}

void Fiber::stop()
{
    state_ = State::stopped;
    switch_out(false);
}

void Fiber::come_to_point()
{
    if (record_)
        record_->push_back(site_);
    if (++points_ == stop_at_)
        stop();
}

void fiber_point(struct mem_site *site)
{
    coverage_count(site, Event::passed);
    Fiber *fiber = running;
    if (!fiber)
        return;
    fiber->site_ = site;
    fiber->loads_ = false;
    fiber->come_to_point();
    if (Fiber::at_point)
        Fiber::at_point(*fiber, false);
}

void fiber_load()
{
    Fiber *fiber = running;
    if (!fiber)
        return;
    fiber->loads_ = true;
    if (fiber->counts_ == Fiber::Points::accesses)
        fiber->come_to_point();
    if (Fiber::at_point)
        Fiber::at_point(*fiber, true);
}

} // namespace ringtest
