// SPDX-License-Identifier: Apache-2.0
// A group over a log of messages that are a unit each, at positions from `first` on; its workers, and a ledger of what they did.
#ifndef WEIR_TESTS_SUPPORT_GROUP_WORLD_H
#define WEIR_TESTS_SUPPORT_GROUP_WORLD_H

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

extern "C" {
#include "group/group.h"
#include "group/words.h"
}

namespace grouptest
{

constexpr uint64_t kLease = 1000000000;

struct World {
    struct Shape {
        uint32_t messages = 6;
        uint32_t entries = 8;
        uint32_t workers = 4;
        uint64_t first = 0;
    };
    explicit World(const Shape &shape);

    uint64_t position(uint32_t message) const
    {
        return first + (uint64_t)message * RING_UNIT_BYTES;
    }
    uint32_t message_at(uint64_t position) const
    {
        return (uint32_t)((position - first) / RING_UNIT_BYTES);
    }
    void fail(const std::string &text);
    // What the ledger says: each message finished by one, no attempt told twice. At rest, so that nothing is in flight.
    void check_finished();
    // Nothing names anybody, and no entry is in use.
    void check_empty();
    std::string dump() const;
    static bool dead(void *ctx, uint64_t id);
    // The kernel says dead: everything of theirs is put in order.
    void sweep();
    // Leases end, however long they were.
    void end_leases();

    uint32_t messages;
    uint64_t first;
    uint64_t now_ns = 1000;
    uint64_t next_id = 1;
    std::unique_ptr<char[]> memory;
    uint64_t bytes;
    struct group_view view;
    std::set<uint64_t> dead_ids;
    struct group_ender ender = {};
    std::vector<uint32_t> finished;
    std::vector<std::set<uint32_t>> attempts;
    std::string failure;
    std::vector<std::shared_ptr<void>> stopped; // who stands still somewhere, to the end
};

// One worker: each function is a step of a worker's life. What it holds is what it believes to hold.
struct Worker {
    explicit Worker(World &world) : world(world)
    {
    }
    bool join();
    // Takes up to `most` new ones. False: there are none, or no entry is free.
    bool cut(uint32_t most);
    bool take();
    void note(const struct group_run &run);
    void finish(uint32_t bits);
    void finish_all();
    // False: it is not possible now.
    bool give_back(uint32_t bits, uint64_t due_ns = 0);
    void leave();
    // Until there is nothing more to do for now.
    void work_all(uint32_t most = 2);
    uint32_t mask() const
    {
        return runs.empty() ? 0 : runs.back().mask;
    }

    World &world;
    struct group_worker worker = {};
    std::vector<struct group_run> runs;
};

} // namespace grouptest

#endif
