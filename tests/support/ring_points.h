// SPDX-License-Identifier: Apache-2.0
// Which points of a script somebody is killed or stopped at.
#ifndef WEIR_TESTS_SUPPORT_RING_POINTS_H
#define WEIR_TESTS_SUPPORT_RING_POINTS_H

#include <cstdint>
#include <vector>

#include "tests/support/ring_actor.h"

namespace ringtest
{

using Points = std::vector<const struct mem_site *>;

// The points that a script comes to, one after the other, when nobody disturbs it; of loads the store before them.
Points points_of(Trial &trial, uint32_t who, const Script &script, Fiber::Points kind = Fiber::Points::stores);

// Each point is taken in turn, or, where a trial takes ten times as long (address sanitizer), about one in so many.
constexpr uint32_t kOneIn =
#ifdef __SANITIZE_ADDRESS__
    10;
#else
    1;
#endif

// Draws points. WEIR_CRASH_SEED=N repeats a run; WEIR_CRASH_ALL=1 takes all of them (for hours).
class Picker
{
public:
    Picker();
    static bool everything();
    // Numbers of points, from 1: all of them, or so many, each call site as likely as the others.
    std::vector<uint64_t> pick(const Points &points, uint32_t count);
    uint64_t draw(const Points &points);
    // How far the next point to take is from one: 1, or anything that is kOneIn on average.
    uint64_t step();
    uint64_t below(uint64_t limit);
    uint64_t seed() const
    {
        return seed_;
    }

private:
    uint64_t seed_;
    uint64_t state_;
};

} // namespace ringtest

#endif
