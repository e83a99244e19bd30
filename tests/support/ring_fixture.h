// SPDX-License-Identifier: Apache-2.0
// A ring in the test's own memory, and what the kernel would say about its participants, said by the test.
#ifndef WEIR_TESTS_SUPPORT_RING_FIXTURE_H
#define WEIR_TESTS_SUPPORT_RING_FIXTURE_H

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "ringbuf/internal.h"
#include "ringbuf/ring.h"
}

namespace ringtest
{

// Without mem_point(): what a test writes by hand is not one of the ring's crash points.
inline void poke(struct mem_u64 *word, uint64_t value)
{
    mem_store_release_(word, value);
}

inline uint64_t look(const struct mem_u64 *word)
{
    return mem_load_acquire(word);
}

struct Shape {
    uint32_t flags = RING_JOURNALED;
    uint32_t when_full = RING_BLOCK;
    uint32_t segment_shift = RING_SEGMENT_SHIFT_MIN;
    uint32_t publishers = 2;
    uint32_t readers = 2;
    uint32_t producers = 2;
    uint32_t cursors = 2;
    uint32_t slots = 4;              // 0: as many as docs/guarantees.md P1 asks for
    uint64_t memory_limit_bytes = 0; // 0: one segment
    uint64_t start = 0;              // rounded down to a segment's start
    bool shared = false;             // memory that forked children share
    bool fence_self = true;          // announcements are fenced by who makes them (thread sanitizer can follow that)

    uint64_t segment_bytes() const
    {
        return 1ull << segment_shift;
    }
    uint32_t segment_units() const
    {
        return 1u << (segment_shift - RING_UNIT_SHIFT);
    }
};

// Where tests begin: nothing wrapped yet, segment numbers about to leave 32 bits, positions about to.
inline std::vector<uint64_t> positions_near_limits()
{
    return {0, (1ull << 32) - 3 * 4096, (1ull << 44) - 3 * 4096, (1ull << 63) - 3 * 4096};
}

std::string position_name(uint64_t start);

// What the kernel knows: shared between forked processes.
struct World {
    static constexpr uint32_t kMaxDead = 4096;
    struct mem_u64 dead_publishers_count;
    struct mem_u64 dead_publishers[kMaxDead];
    struct mem_u64 dead_readers_count;
    struct mem_u64 dead_readers[kMaxDead];
    struct mem_u64 fences;      // how many were asked for
    struct mem_u64 fence_fails; // not 0: membarrier is refused
    struct mem_u64 fence_real;  // not 0: membarrier(2), else a full fence of the caller alone
    struct mem_u64 copy_fails;  // not 0: the readers' table cannot be read
};

class Ring;

// One process's way to the ring, with ops of its own (the copy of the readers' table is private).
class View
{
public:
    explicit View(Ring &ring);
    View(const View &) = delete;
    View &operator=(const View &) = delete;

    struct ring_view *operator->()
    {
        return &view_;
    }
    operator struct ring_view *()
    {
        return &view_;
    }
    World &world() const;

    // Called before a copy of the readers is made while a slot is marked, behind each copy, where the ring asks whether
    // somebody is dead, and before each relax, by tests that put something in between.
    void (*on_mark)(void *ctx) = nullptr;
    void (*on_copy)(void *ctx) = nullptr;
    void (*on_publisher_dead)(void *ctx) = nullptr;
    void (*on_relax)(void *ctx) = nullptr;
    void *on_ctx = nullptr;
    uint64_t relaxes = 0;

private:
    static bool publisher_dead(void *ctx, uint64_t id);
    static bool reader_dead(void *ctx, uint64_t id);
    static bool fence(void *ctx);
    bool has_marked() const;
    static const struct ring_readers *readers_copy(void *ctx);
    static void relax(void *ctx);
    static const struct ring_ops kOps;

    Ring &ring_;
    struct ring_view view_ = {};
    std::unique_ptr<uint64_t[]> copy_;
};

struct Message {
    uint64_t position;
    uint64_t next;
    uint16_t tag;
    uint32_t flags;
    std::string body;
};

class Ring
{
public:
    explicit Ring(const Shape &shape);
    ~Ring();
    Ring(const Ring &) = delete;
    Ring &operator=(const Ring &) = delete;

    const Shape &shape() const
    {
        return shape_;
    }
    const struct ring_geometry &geometry() const
    {
        return geometry_;
    }
    void *control() const
    {
        return control_;
    }
    void *readers() const
    {
        return readers_;
    }
    uint8_t *data() const
    {
        return data_;
    }
    struct ring_control *control_block() const
    {
        return static_cast<struct ring_control *>(control_);
    }
    World &world() const
    {
        return *world_;
    }
    uint64_t start() const
    {
        return start_;
    }
    uint64_t first_segment() const
    {
        return start_ >> shape_.segment_shift;
    }

    // A view that belongs to the ring and lives as long.
    View &view();
    void publisher_dies(uint64_t id);
    void reader_dies(uint64_t id);
    // The journal has everything below this position.
    void drained(uint64_t position);
    // Everything that ring_check() says, one line each.
    std::vector<std::string> faults();
    // All words, for a failure's message.
    std::string dump();
    // A copy of control, readers and data as they are, one behind the other.
    std::vector<uint8_t> bytes() const;

    // Words that name this publisher, exhaustively: the places, empty when there are none.
    std::vector<std::string> names(uint32_t index, uint64_t id);

private:
    void *allocate(uint64_t bytes);

    Shape shape_;
    struct ring_geometry geometry_ = {};
    uint64_t start_ = 0;
    std::vector<std::pair<void *, uint64_t>> mapped_;
    void *control_ = nullptr;
    void *readers_ = nullptr;
    uint8_t *data_ = nullptr;
    World *world_ = nullptr;
    std::deque<View> views_;
};

// What publish() returned is a position (which may have its highest bit set), not an error.
inline bool published(int64_t result)
{
    return result < -4095 || result >= 0;
}

// Joined participants; leave on destruction unless told otherwise (they may be "dead").
class Publisher
{
public:
    explicit Publisher(Ring &ring);
    Publisher(Ring &ring, View &view);
    ~Publisher();
    Publisher(const Publisher &) = delete;
    Publisher &operator=(const Publisher &) = delete;

    struct ring_publisher_state *operator->()
    {
        return &state;
    }
    operator struct ring_publisher_state *()
    {
        return &state;
    }
    // Publishes; returns the position or a negative errno: see published().
    int64_t publish(const std::string &body, uint16_t tag = 0);
    // The kernel says from now on that it is dead. It does nothing more.
    void die();
    void leave();

    Ring &ring;
    View &view;
    struct ring_publisher_state state = {};
    int joined = 0;
    bool gone = false;
};

class Reader
{
public:
    explicit Reader(Ring &ring, bool gating = false);
    Reader(Ring &ring, View &view, bool gating = false);
    ~Reader();
    Reader(const Reader &) = delete;
    Reader &operator=(const Reader &) = delete;

    struct ring_reader_state *operator->()
    {
        return &state;
    }
    operator struct ring_reader_state *()
    {
        return &state;
    }
    // All that is there, repaired where the dead stand in the way. *ret_error: what the last peek or look said.
    std::vector<Message> read_all(int *ret_error = nullptr, uint32_t limit = UINT32_MAX);
    void die();
    void leave();

    Ring &ring;
    View &view;
    struct ring_reader_state state = {};
    int joined = 0;
    bool gone = false;
};

// A body that tells by itself who wrote it, as which one, and whether it is whole. bytes >= 16.
std::string stamped(uint32_t who, uint64_t number, uint32_t bytes);
void stamp_write(char *at, uint32_t who, uint64_t number, uint32_t bytes);
// True: whole; then who and number are set.
bool stamp_read(const void *body, uint32_t bytes, uint32_t *ret_who, uint64_t *ret_number);

std::vector<std::string> bodies(const std::vector<Message> &messages);

} // namespace ringtest

#endif
