// SPDX-License-Identifier: Apache-2.0
#include "tests/support/ring_points.h"

#include <cstdlib>
#include <map>
#include <random>

namespace ringtest
{

Points points_of(Trial &trial, uint32_t who, const Script &script, Fiber::Points kind)
{
    Points all;
    std::unique_ptr<Fiber> fiber = actor_fiber(trial, who, script, kind);
    fiber->record(&all);
    fiber->run();
    return all;
}

Picker::Picker()
{
    const char *wanted = getenv("WEIR_CRASH_SEED");
    seed_ = wanted ? strtoull(wanted, nullptr, 10) : std::random_device{}();
    state_ = seed_ * 0x9e3779b97f4a7c15ull + 1;
}

bool Picker::everything()
{
    static const bool wanted = getenv("WEIR_CRASH_ALL") != nullptr;
    return wanted;
}

uint64_t Picker::below(uint64_t limit)
{
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (state_ * 0x2545f4914f6cdd1dull >> 16) % limit;
}

uint64_t Picker::draw(const Points &points)
{
    std::map<const struct mem_site *, std::vector<uint64_t>> of_site;
    for (uint64_t n = 1; n <= points.size(); n++)
        of_site[points[n - 1]].push_back(n);
    const std::vector<uint64_t> &site = std::next(of_site.begin(), (ptrdiff_t)below(of_site.size()))->second;
    return site[below(site.size())];
}

uint64_t Picker::step()
{
    return everything() ? 1 : 1 + below(2 * kOneIn - 1);
}

std::vector<uint64_t> Picker::pick(const Points &points, uint32_t count)
{
    std::vector<uint64_t> chosen;
    for (uint64_t n = 1; everything() && n <= points.size(); n++)
        chosen.push_back(n);
    while (!everything() && chosen.size() < count)
        chosen.push_back(draw(points));
    return chosen;
}

} // namespace ringtest
