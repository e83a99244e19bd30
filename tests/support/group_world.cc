// SPDX-License-Identifier: Apache-2.0
#include "tests/support/group_world.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace grouptest
{

World::World(const Shape &shape)
    : messages(shape.messages), first(shape.first), finished(shape.messages), attempts(shape.messages)
{
    struct group_options options = {};
    options.lease_ns = kLease;
    options.backoff_percent = 100;
    options.entry_count = shape.entries;
    options.worker_count = shape.workers;
    struct group_identity identity = {};
    memcpy(identity.name, "group", 6);
    bytes = group_bytes(&options);
    memory = std::make_unique<char[]>(bytes + MEM_PAIR_BYTES);
    uintptr_t at = (reinterpret_cast<uintptr_t>(memory.get()) + MEM_PAIR_BYTES - 1) & ~(uintptr_t)(MEM_PAIR_BYTES - 1);
    void *aligned = reinterpret_cast<void *>(at);
    auto hook = mem_point_hook;
    mem_point_hook = nullptr;
    group_format(aligned, &options, &identity, first);
    mem_point_hook = hook;
    const char *reason = "";
    if (group_view_init(&view, aligned, bytes, &reason) < 0)
        fail(reason);
}

void World::fail(const std::string &text)
{
    if (failure.empty())
        failure = text;
}

void World::check_finished()
{
    for (uint32_t i = 0; i < messages; i++)
        if (finished[i] != 1)
            fail("message " + std::to_string(i) + " was finished " + std::to_string(finished[i]) + " times");
}

void World::check_empty()
{
    for (uint32_t i = 0; i < view.options.entry_count; i++)
        if (entry_state(mem_load_acquire(&view.entries[i].word)) != GROUP_FREE)
            fail("entry " + std::to_string(i) + " is not free");
    for (uint32_t i = 0; i < view.options.worker_count; i++)
        if (mem_load_acquire(&view.lines[i].id) != 0)
            fail("line " + std::to_string(i) + " is not free");
}

std::string World::dump() const
{
    uint64_t cursor = mem_load_acquire(&view.header->cursor);
    char line[200];
    snprintf(line, sizeof line, "cursor: message %u, entry %d\n", message_at(cursor_position(cursor, first)),
             (int)cursor_tip(cursor) - 1);
    std::string text = line;
    static const char *const names[] = {"FREE", "RESERVED", "PLANNED", "HELD", "OPEN", "5", "6", "7"};
    for (uint32_t i = 0; i < view.options.entry_count; i++) {
        uint64_t word = mem_load_acquire(&view.entries[i].word);
        snprintf(line, sizeof line, "entry %u: %s mask %x owner %u last %d attempt %u generation %u start %u\n", i,
                 names[entry_state(word)], entry_mask(word), entry_owner(word), (int)entry_last(word) - 1,
                 entry_attempt(word), entry_generation(word), message_at(mem_load_acquire(&view.entries[i].start)));
        text += line;
    }
    return text;
}

bool World::dead(void *ctx, uint64_t id)
{
    return static_cast<World *>(ctx)->dead_ids.count(id) != 0;
}

void World::sweep()
{
    bool opened;
    group_sweep(&view, dead, this, &opened);
}

void World::end_leases()
{
    bool suspects;
    now_ns += 2 * kLease;
    group_end_leases(&view, &ender, now_ns, &suspects);
    now_ns += 2 * GROUP_TWICE_NS;
    group_end_leases(&view, &ender, now_ns, &suspects);
}

bool Worker::join()
{
    uint64_t id = world.next_id++;
    return group_join(&worker, &world.view, id, 1, 1, World::dead, &world) == 0;
}

void Worker::note(const struct group_run &run)
{
    for (uint32_t i = 0; i < run.count; i++) {
        if (!(run.mask & 1u << i))
            continue;
        uint32_t message = world.message_at(run.start) + i;
        if (message >= world.messages)
            world.fail("a message that there is not");
        else if (!world.attempts[message].insert(run.attempt).second)
            world.fail("message " + std::to_string(message) + ": attempt " + std::to_string(run.attempt) + " twice");
    }
    runs.push_back(run);
}

bool Worker::cut(uint32_t most)
{
    if (group_reserve(&worker) < 0)
        return false;
    for (;;) {
        struct group_cut cut;
        if (group_cursor(&worker, world.first, &cut) < 0) {
            world.fail("no cursor");
            return false;
        }
        uint32_t at = world.message_at(cut.position);
        uint32_t count = at < world.messages ? world.messages - at : 0;
        if (count > most)
            count = most;
        if (count == 0)
            return false;
        struct group_run run = {};
        run.start = cut.position;
        run.end = cut.position + (uint64_t)count * RING_UNIT_BYTES;
        run.count = count;
        run.lease_ns = world.now_ns + kLease;
        int r = group_cut(&worker, &cut, &run);
        if (r == 0)
            note(run);
        if (r != -EAGAIN)
            return true;
    }
}

bool Worker::take()
{
    struct group_run run;
    int r = group_take(&worker, world.now_ns, world.now_ns + kLease, &run);
    if (r > 0)
        note(run);
    return r > 0;
}

void Worker::finish(uint32_t bits)
{
    struct group_run &run = runs.back();
    int r = group_finish(&worker, run.entry, run.generation, bits);
    if (r == 0) {
        for (uint32_t i = 0; i < run.count; i++)
            if (bits & 1u << i && ++world.finished[world.message_at(run.start) + i] != 1)
                world.fail("a message was finished twice");
    }
    run.mask &= ~bits;
    if (r != 0 || run.mask == 0)
        runs.pop_back();
}

void Worker::finish_all()
{
    while (!runs.empty())
        finish(runs.back().mask);
}

bool Worker::give_back(uint32_t bits, uint64_t due_ns)
{
    struct group_run &run = runs.back();
    int r = group_give_back(&worker, run.entry, run.generation, bits, due_ns, false);
    if (r == -ENOSPC)
        return false;
    run.mask &= ~bits;
    if (r != 0 || run.mask == 0)
        runs.pop_back();
    return true;
}

void Worker::leave()
{
    runs.clear();
    group_leave(&worker);
}

void Worker::work_all(uint32_t most)
{
    while (take() || cut(most))
        finish_all();
}

} // namespace grouptest
