// SPDX-License-Identifier: Apache-2.0
#include "tests/support/ring_fixture.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace ringtest
{

namespace
{
/* No other fiber runs while this lives. Threads run without a hook, but see whether there is one: it stays as it is then. */
class Undisturbed
{
public:
    Undisturbed() : hook_(mem_load_hook)
    {
        if (hook_)
            mem_load_hook = nullptr;
    }
    Undisturbed(const Undisturbed &) = delete;
    Undisturbed &operator=(const Undisturbed &) = delete;
    ~Undisturbed()
    {
        if (hook_)
            mem_load_hook = hook_;
    }

private:
    void (*hook_)(void);
};
} // namespace

std::string position_name(uint64_t start)
{
    if (start == 0)
        return "from_zero";
    for (uint32_t bit = 32; bit < 64; bit++)
        if (start < 1ull << bit && start >= (1ull << bit) - (1ull << 20))
            return "near_2_to_the_" + std::to_string(bit);
    return "from_" + std::to_string(start);
}

// -- Ring --------------------------------------------------------------------------------------------------------------

void *Ring::allocate(uint64_t bytes)
{
    int flags = MAP_ANONYMOUS | (shape_.shared ? MAP_SHARED : MAP_PRIVATE);
    void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (at == MAP_FAILED)
        throw std::runtime_error("mmap");
    mapped_.emplace_back(at, bytes);
    return at;
}

Ring::Ring(const Shape &shape) : shape_(shape)
{
    start_ = shape.start & ~(shape.segment_bytes() - 1);
    geometry_.flags = shape.flags;
    geometry_.when_full = shape.when_full;
    geometry_.segment_shift = shape.segment_shift;
    geometry_.max_publishers = shape.publishers;
    geometry_.max_readers = shape.readers;
    geometry_.max_producers = shape.producers;
    geometry_.max_cursors = shape.cursors;
    geometry_.memory_limit_bytes = shape.memory_limit_bytes ? shape.memory_limit_bytes : shape.segment_bytes();
    geometry_.slot_count = shape.slots;
    const char *reason = "";
    if (ring_geometry_check(&geometry_, &reason) < 0)
        throw std::runtime_error(std::string("geometry: ") + reason);
    control_ = allocate(geometry_.control_bytes);
    readers_ = allocate(geometry_.readers_bytes);
    data_ = static_cast<uint8_t *>(allocate(geometry_.data_bytes));
    world_ = static_cast<World *>(allocate(sizeof(World)));
    /* What lies in a slot before its first use is nobody's business. */
    memset(data_, 0xa5, geometry_.data_bytes);
    struct ring_identity identity = {};
    strcpy(identity.name, "test");
    memcpy(identity.ring_id, "0123456789abcdef", 16);
    identity.created_ns = 1;
    identity.epoch = 1;
    identity.start = start_;
    ring_format(control_, readers_, data_, &geometry_, &identity);
    poke(&control_block()->lease, UINT64_MAX);
}

Ring::~Ring()
{
    for (auto &at : mapped_)
        munmap(at.first, at.second);
}

View &Ring::view()
{
    Undisturbed changes; /* the list */
    views_.emplace_back(*this);
    return views_.back();
}

static void add(struct mem_u64 *count, struct mem_u64 *ids, uint64_t id)
{
    uint64_t at = mem_add_(count, 1);
    if (at >= World::kMaxDead)
        throw std::runtime_error("too many dead");
    poke(&ids[at], id);
}

void Ring::publisher_dies(uint64_t id)
{
    add(&world_->dead_publishers_count, world_->dead_publishers, id);
}

void Ring::reader_dies(uint64_t id)
{
    add(&world_->dead_readers_count, world_->dead_readers, id);
}

void Ring::drained(uint64_t position)
{
    poke(&control_block()->written, position);
    poke(&control_block()->durable, position);
    poke(&control_block()->drained, position);
}

std::vector<uint8_t> Ring::bytes() const
{
    std::vector<uint8_t> all;
    auto put = [&all](const void *at, uint64_t bytes) {
        all.insert(all.end(), static_cast<const uint8_t *>(at), static_cast<const uint8_t *>(at) + bytes);
    };
    put(control_, geometry_.control_bytes);
    put(readers_, geometry_.readers_bytes);
    put(data_, geometry_.data_bytes);
    return all;
}

std::vector<std::string> Ring::faults()
{
    std::vector<std::string> found;
    ring_check(
        view(),
        [](void *ctx, enum ring_file file, uint64_t offset, const char *what) {
            static const char *const kFiles[] = {"control", "readers", "data"};
            static_cast<std::vector<std::string> *>(ctx)->push_back(std::string(kFiles[file]) + "+" +
                                                                    std::to_string(offset) + ": " + what);
        },
        &found);
    return found;
}

static std::string text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static std::string text(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    return line;
}

static const char *const kHeadStates[] = {"free", "claimed", "ready", "padding"};
static const char *const kSlotStates[] = {"free", "reserved", "live", "reclaiming"};

std::string Ring::dump()
{
    View &v = view();
    uint64_t active = look(&control_block()->active);
    std::string all =
        text("active segment %" PRIx64 " slot %u, start %" PRIx64 ", drained %" PRIx64 ", exclusive %" PRIu64 "\n",
             active_segment(active), active_slot(active), start_, look(&control_block()->drained),
             look(&control_block()->exclusive));
    for (uint32_t i = 0; i < v->publisher_entries; i++)
        if (look(&v->publishers[i].id))
            all +=
                text("publisher %u: id %" PRIu64 " announced %" PRIx64 " producer %" PRIu64 "\n", i,
                     look(&v->publishers[i].id), look(&v->publishers[i].announced), look(&v->publishers[i].producer));
    for (uint32_t i = 0; i < geometry_.max_readers; i++)
        if (look(&v->reader_table[i].id))
            all += text("reader %u: id %" PRIu64 " announced %" PRIx64 " gate %" PRIx64 " position %" PRIx64 "\n", i,
                        look(&v->reader_table[i].id), look(&v->reader_table[i].announced),
                        look(&v->reader_table[i].gate), look(&v->reader_table[i].position));
    for (uint32_t i = 0; i < geometry_.slot_count; i++) {
        uint64_t state = look(&v->states[i]), tail = look(&v->slots[i].tail), clean = look(&v->slots[i].clean);
        all += text("slot %u: %s segment ..%08x owner %d; tail end %u units %u owner %x; clean %u by %d\n", i,
                    kSlotStates[slot_state(state)], (uint32_t)(state >> 32), (int)slot_owner_index(state),
                    tail_end(tail), tail_units(tail), tail_owner(tail), clean_units(clean), (int)clean_index(clean));
        for (uint32_t at = 0; slot_state(state) != RING_SLOT_FREE && at < v->segment_units;) {
            struct ring_record *record = record_at(slot_base(v, i), at);
            uint64_t head = look(&record->head);
            if (head == 0 || head_units(head) == 0)
                break;
            all += text("  %u: %s units %u owner %x bytes %u\n", at, kHeadStates[head_state(head)], head_units(head),
                        head_owner(head), record->body_bytes);
            at += head_units(head);
        }
    }
    return all;
}

std::vector<std::string> Ring::names(uint32_t index, uint64_t id)
{
    View &v = view();
    std::vector<std::string> found;
    uint32_t owner = owner_make(index, id);
    if (look(&v->publishers[index].id) == id)
        found.push_back(text("publishers[%u].id", index));
    if (look(&control_block()->exclusive) == id)
        found.push_back("exclusive");
    for (uint32_t i = 0; i < geometry_.max_producers; i++) {
        if (look(&v->producers[i].holder) == id)
            found.push_back(text("producers[%u].holder", i));
    }
    for (uint32_t i = 0; i < geometry_.slot_count; i++) {
        uint64_t state = look(&v->states[i]);
        bool owned = slot_state(state) == RING_SLOT_RESERVED || slot_state(state) == RING_SLOT_RECLAIMING;
        if (owned && slot_names(state, index, id))
            found.push_back(text("states[%u] (%s)", i, kSlotStates[slot_state(state)]));
        if (slot_state(state) == RING_SLOT_FREE)
            continue;
        uint64_t clean = look(&v->slots[i].clean);
        if (!clean_free(clean) && clean_names(clean, index, id))
            found.push_back(text("slots[%u].clean", i));
        if (geometry_.flags & RING_EXCLUSIVE)
            continue;
        uint64_t tail = look(&v->slots[i].tail);
        for (uint32_t at = 0; at < tail_end(tail) && at < v->segment_units;) {
            uint64_t head = look(&record_at(slot_base(v, i), at)->head);
            bool open =
                head == 0 ? tail_owner(tail) == owner : head_state(head) == RING_CLAIMED && head_owner(head) == owner;
            if (open)
                found.push_back(text("claim in slot %u at %u", i, at));
            if (head_units(head) == 0)
                break;
            at += head_units(head);
        }
    }
    return found;
}

// -- View --------------------------------------------------------------------------------------------------------------

const struct ring_ops View::kOps = {View::publisher_dead, View::reader_dead, View::fence, View::readers_copy,
                                    View::relax};

View::View(Ring &ring) : ring_(ring)
{
    const struct ring_geometry &geometry = ring.geometry();
    const char *reason = "";
    int r = ring_view_init(&view_, ring.control(), geometry.control_bytes, ring.readers(), geometry.readers_bytes,
                           ring.data(), geometry.data_bytes, &reason);
    if (r < 0)
        throw std::runtime_error(std::string("view: ") + reason);
    copy_.reset(new uint64_t[geometry.readers_bytes / 8]);
    view_.ops = &kOps;
    view_.ctx = this;
    view_.control_writable = true;
    view_.data_writable = true;
    view_.readers_writable = true;
    view_.fence_self = ring.shape().fence_self;
}

World &View::world() const
{
    return ring_.world();
}

static bool listed(const struct mem_u64 *count, const struct mem_u64 *ids, uint64_t id)
{
    for (uint64_t i = look(count); i-- > 0;)
        if (look(&ids[i]) == id)
            return true;
    return false;
}

bool View::publisher_dead(void *ctx, uint64_t id)
{
    View *view = static_cast<View *>(ctx);
    World &world = view->world();
    if (view->on_publisher_dead)
        view->on_publisher_dead(view->on_ctx);
    Undisturbed says; /* the kernel, all at once */
    return listed(&world.dead_publishers_count, world.dead_publishers, id);
}

bool View::reader_dead(void *ctx, uint64_t id)
{
    World &world = static_cast<View *>(ctx)->world();
    return listed(&world.dead_readers_count, world.dead_readers, id);
}

bool View::fence(void *ctx)
{
    View *view = static_cast<View *>(ctx);
    World &world = view->world();
    mem_add_(&world.fences, 1);
    if (look(&world.fence_fails))
        return false;
    if (look(&world.fence_real))
        return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
    mem_fence_full();
    return true;
}

bool View::has_marked() const
{
    for (uint32_t i = 0; i < view_.geometry.slot_count; i++)
        if (slot_state(look(&view_.states[i])) == RING_SLOT_RECLAIMING)
            return true;
    return false;
}

const struct ring_readers *View::readers_copy(void *ctx)
{
    View *view = static_cast<View *>(ctx);
    if (view->on_mark && view->has_marked())
        view->on_mark(view->on_ctx);
    if (look(&view->world().copy_fails))
        return nullptr;
    const struct mem_u64 *from = static_cast<const struct mem_u64 *>(view->ring_.readers());
    for (uint64_t i = 0; i < view->ring_.geometry().readers_bytes / 8; i++)
        view->copy_[i] = look(&from[i]); /* memcpy() of words, in a way that thread sanitizer can follow */
    if (view->on_copy)
        view->on_copy(view->on_ctx);
    return reinterpret_cast<const struct ring_readers *>(view->copy_.get());
}

void View::relax(void *ctx)
{
    View *view = static_cast<View *>(ctx);
    view->relaxes++;
    if (view->on_relax)
        view->on_relax(view->on_ctx);
    sched_yield();
}

// -- Participants ------------------------------------------------------------------------------------------------------

Publisher::Publisher(Ring &r) : Publisher(r, r.view())
{
}

Publisher::Publisher(Ring &r, View &v) : ring(r), view(v)
{
    uint64_t id = ring_publisher_id(view);
    joined = ring_publisher_join(&state, view, id, 4711, 1);
    gone = joined < 0;
}

Publisher::~Publisher()
{
    leave();
}

int64_t Publisher::publish(const std::string &body, uint16_t tag)
{
    uint64_t position = 0;
    uint32_t units = ring_units(view, body.size());
    if (units == 0)
        return -EMSGSIZE;
    int r = ring_claim(&state, units, &position);
    if (r < 0)
        return r;
    memcpy(ring_claim_address(&state) + sizeof(struct ring_record), body.data(), body.size());
    ring_commit(&state, tag, 0, (uint32_t)body.size());
    return (int64_t)position;
}

void Publisher::die()
{
    ring.publisher_dies(state.id);
    gone = true;
}

void Publisher::leave()
{
    if (!gone)
        ring_publisher_leave(&state);
    gone = true;
}

Reader::Reader(Ring &r, bool gating) : Reader(r, r.view(), gating)
{
}

Reader::Reader(Ring &r, View &v, bool gating) : ring(r), view(v)
{
    uint64_t id = ring_reader_id(view);
    joined = ring_reader_join(&state, view, id, 4712, 1);
    gone = joined < 0;
    state.gating = gating;
}

Reader::~Reader()
{
    leave();
}

std::vector<Message> Reader::read_all(int *ret_error, uint32_t limit)
{
    std::vector<Message> all;
    int r = 0;
    for (uint32_t looks = 0; all.size() < limit;) {
        struct ring_item item;
        r = ring_reader_peek(&state, &item);
        if (r > 0) {
            all.push_back({item.position, item.next, item.tag, item.flags,
                           std::string(reinterpret_cast<const char *>(item.body), item.body_bytes)});
            ring_reader_pass(&state, &item);
            looks = 0;
            continue;
        }
        bool pending = false;
        if (r == 0 && looks++ < 3 && (r = ring_reader_look(&state, &pending)) > 0)
            continue;
        break;
    }
    if (ret_error)
        *ret_error = r;
    return all;
}

void Reader::die()
{
    ring.reader_dies(state.id);
    gone = true;
}

void Reader::leave()
{
    if (!gone)
        ring_reader_leave(&state);
    gone = true;
}

// -- Messages ----------------------------------------------------------------------------------------------------------

// Byte i of a body is the highest of its pattern's i-th word.
static constexpr uint64_t kPatternStep = 0xc4ceb9fe1a85ec53ull;

static uint64_t pattern(uint32_t who, uint64_t number, uint32_t at)
{
    return (number + 1) * 0x9e3779b97f4a7c15ull + who * 0xff51afd7ed558ccdull + at * kPatternStep;
}

void stamp_write(char *at, uint32_t who, uint64_t number, uint32_t bytes)
{
    memcpy(at, &who, 4);
    memcpy(at + 4, &bytes, 4);
    memcpy(at + 8, &number, 8);
    uint64_t word = pattern(who, number, 16);
    for (uint32_t i = 16; i < bytes; i++, word += kPatternStep)
        at[i] = (char)(word >> 56);
}

std::string stamped(uint32_t who, uint64_t number, uint32_t bytes)
{
    std::string body(bytes, 0);
    stamp_write(&body[0], who, number, bytes);
    return body;
}

bool stamp_read(const void *body, uint32_t bytes, uint32_t *ret_who, uint64_t *ret_number)
{
    const uint8_t *at = static_cast<const uint8_t *>(body);
    uint32_t said = 0;
    if (bytes < 16)
        return false;
    memcpy(ret_who, at, 4);
    memcpy(&said, at + 4, 4);
    memcpy(ret_number, at + 8, 8);
    uint64_t word = pattern(*ret_who, *ret_number, 16);
    for (uint32_t i = 16; i < bytes; i++, word += kPatternStep)
        if (at[i] != (uint8_t)(word >> 56))
            return false;
    return said == bytes;
}

std::vector<std::string> bodies(const std::vector<Message> &messages)
{
    std::vector<std::string> all;
    for (const Message &message : messages)
        all.push_back(message.body);
    return all;
}

} // namespace ringtest
