// SPDX-License-Identifier: Apache-2.0
#include "tests/support/ring_coverage.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdio>
#include <map>
#include <stdexcept>
#include <string>

extern "C" {
extern char __start_weir_sites[];
extern char __stop_weir_sites[];
}

namespace ringtest
{

namespace
{

constexpr size_t kSiteStride = 32; // mem_point() aligns each to this
constexpr size_t kEvents = 3;
const char *const kEventNames[kEvents] = {"come to", "killed at", "stopped at"};

size_t site_count()
{
    return (size_t)(__stop_weir_sites - __start_weir_sites) / kSiteStride;
}

struct mem_u64 *counts()
{
    static struct mem_u64 *all =
        static_cast<struct mem_u64 *>(shared_memory(site_count() * kEvents * sizeof(struct mem_u64)));
    return all;
}

// A line of a header stands in every file that includes it: those sites are one.
class EveryCallSite : public ::testing::Environment
{
public:
    explicit EveryCallSite(Event event) : event_((size_t)event)
    {
    }
    void SetUp() override
    {
        coverage_begin();
    }
    void TearDown() override
    {
        if (::testing::GTEST_FLAG(filter) != "*")
            return;
        std::map<std::string, uint64_t> all;
        for (size_t i = 0; i < site_count(); i++) {
            const struct mem_site *site =
                reinterpret_cast<const struct mem_site *>(__start_weir_sites + i * kSiteStride);
            all[std::string(site->file) + ":" + std::to_string(site->line) + " " + site->function] +=
                mem_load_acquire(&counts()[i * kEvents + event_]);
        }
        for (auto &site : all)
            EXPECT_GT(site.second, 0u) << "nobody was " << kEventNames[event_] << " " << site.first;
        printf("           %zu call sites, each %s\n", all.size(), kEventNames[event_]);
    }

private:
    size_t event_;
};

} // namespace

void *shared_memory(size_t bytes)
{
    void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        throw std::runtime_error("mmap");
    return at;
}

void coverage_begin()
{
    counts();
}

void coverage_count(const struct mem_site *site, Event event)
{
    size_t i = (size_t)(reinterpret_cast<const char *>(site) - __start_weir_sites) / kSiteStride;
    mem_add_(&counts()[i * kEvents + (size_t)event], 1);
}

void every_call_site_must_be(Event event)
{
    ::testing::AddGlobalTestEnvironment(new EveryCallSite(event));
}

} // namespace ringtest
