// SPDX-License-Identifier: Apache-2.0
#include "tests/support/ring_crash.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>

extern "C" {
extern char __start_weir_sites[];
extern char __stop_weir_sites[];
}

namespace ringtest
{

// -- Coverage ------------------------------------------------------------------------------------------------------------

namespace
{

constexpr size_t kSiteStride = 32; // mem_point() aligns each to this

size_t site_count()
{
    return (size_t)(__stop_weir_sites - __start_weir_sites) / kSiteStride;
}

void *shared_memory(size_t bytes)
{
    void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        throw std::runtime_error("mmap");
    return at;
}

struct mem_u64 *site_hits()
{
    static struct mem_u64 *hits = static_cast<struct mem_u64 *>(shared_memory(site_count() * sizeof(struct mem_u64)));
    return hits;
}

constexpr uint32_t kSurvivor = kActors - 1;

} // namespace

void coverage_count(struct mem_site *site)
{
    size_t i = (size_t)(reinterpret_cast<char *>(site) - __start_weir_sites) / kSiteStride;
    mem_add_(&site_hits()[i], 1);
}

std::vector<Site> coverage()
{
    std::map<std::pair<std::string, int>, Site> all;
    for (size_t i = 0; i < site_count(); i++) {
        const struct mem_site *site = reinterpret_cast<const struct mem_site *>(__start_weir_sites + i * kSiteStride);
        Site &one = all.emplace(std::make_pair(std::string(site->file), site->line),
                                Site{site->file, site->function, site->line, 0})
                        .first->second;
        one.hits += look(&site_hits()[i]);
    }
    std::vector<Site> list;
    for (auto &entry : all)
        list.push_back(entry.second);
    return list;
}

// -- Trial ---------------------------------------------------------------------------------------------------------------

Trial::Trial(const Shape &shape)
    : ring(shape), main(ring, !(shape.flags & RING_JOURNALED) && shape.when_full == RING_BLOCK), survivor_(kSurvivor)
{
    site_hits();
    logs_ = static_cast<ActorLog *>(shared_memory(sizeof(ActorLog) * kActors));
    if (main.joined < 0 || ring_reader_seek(main, ring.start()) < 0)
        throw std::runtime_error("the first reader cannot join");
}

Trial::~Trial()
{
    munmap(logs_, sizeof(ActorLog) * kActors);
}

void Trial::fail(const std::string &what)
{
    failures_.push_back(what);
}

void Trial::dies(uint32_t who)
{
    ActorLog &of = log(who);
    for (uint64_t i = 0; i < look(&of.id_count); i++)
        ring.publisher_dies(look(&of.ids[i]));
    for (uint64_t i = 0; i < look(&of.reader_id_count); i++)
        ring.reader_dies(look(&of.reader_ids[i]));
    dead_.push_back(who);
}

bool Trial::take_over()
{
    int error = 0;
    for (Message &message : main.read_all(&error)) {
        struct ring_meta meta;
        uint32_t bytes = 0, who = 0;
        uint64_t number = 0;
        const uint8_t *body = reinterpret_cast<const uint8_t *>(message.body.data());
        uint32_t body_bytes = (uint32_t)message.body.size();
        if (ring_meta_get(body, body_bytes, message.flags, &meta, &bytes) < 0 ||
            !stamp_read(body + bytes, body_bytes - bytes, &who, &number) || message.tag != who) {
            fail("a record that nobody wrote at position " + std::to_string(message.position));
            return false;
        }
        seen_.push_back({message.position, message.next, who, number});
        if (number < seen_count_[who] || (number > seen_count_[who] && gaps_ == 0))
            fail("actor " + std::to_string(who) + ": message " + std::to_string(number) + " after " +
                 std::to_string(seen_count_[who]) + " messages");
        seen_count_[who] = number + 1;
    }
    uint64_t oldest;
    if (error == -ENOENT && ring.shape().when_full == RING_DROP_OLD &&
        ring_oldest_segment(main.view, (ring_reader_position(main) >> ring.shape().segment_shift) + 1, &oldest) == 0) {
        gaps_++;
        int r = ring_reader_seek(main, oldest << ring.shape().segment_shift);
        return r == 0 || r == -ENOENT || r == -EAGAIN ? take_over() : false;
    }
    ring.drained(ring_reader_position(main));
    if (error < 0) {
        fail("the reader stops at position " + std::to_string(ring_reader_position(main)) + ": " + strerror(-error));
        return false;
    }
    return true;
}

uint32_t Trial::go_on(uint32_t segments, uint32_t units)
{
    Actor actor(*this, survivor_);
    if (!take_over())
        return 0;
    if (!actor.join()) {
        fail("another publisher cannot join: " + std::string(strerror((int)look(&actor.log.error))));
        return 0;
    }
    uint64_t first = active_segment(look(&ring.control_block()->active));
    uint32_t got = 0;
    for (uint32_t stuck = 0; got < segments && stuck < 3;) {
        actor.patience = 0;
        if (actor.publish(1, units)) {
            stuck = 0;
        } else if (look(&actor.log.error) == EAGAIN) {
            poke(&actor.log.error, 0);
            poke(&actor.log.attempted, look(&actor.log.committed));
            stuck++;
        } else {
            fail("another publisher cannot publish: " + std::string(strerror((int)look(&actor.log.error))));
            break;
        }
        if (!take_over())
            break;
        got = (uint32_t)(active_segment(look(&ring.control_block()->active)) - first);
    }
    actor.leave();
    return got;
}

void Trial::check_messages()
{
    if (!take_over())
        return;
    for (uint32_t who = 0; who < kActors; who++) {
        uint64_t attempted = look(&log(who).attempted), committed = look(&log(who).committed), seen = seen_of(who);
        std::string name = "actor " + std::to_string(who);
        if (gaps_)
            continue; /* dropped, and told */
        if (seen < committed)
            fail(name + ": " + std::to_string(committed) + " messages committed, " + std::to_string(seen) + " seen");
        if (seen > committed && seen != attempted)
            fail(name + ": " + std::to_string(committed) + " messages committed, " + std::to_string(attempted) +
                 " tried, and " + std::to_string(seen) + " seen");
    }
}

void Trial::check_leaks()
{
    View &view = ring.view();
    for (uint64_t who : dead_) {
        for (uint64_t i = 0; i < look(&log((uint32_t)who).id_count); i++) {
            for (uint32_t index = 0; index < view->publisher_entries; index++)
                for (const std::string &word : ring.names(index, look(&log((uint32_t)who).ids[i])))
                    fail("still names a dead publisher: " + word);
        }
        for (uint64_t i = 0; i < look(&log((uint32_t)who).reader_id_count); i++) {
            uint64_t id = look(&log((uint32_t)who).reader_ids[i]);
            for (uint32_t k = 0; k < ring.geometry().max_readers; k++)
                if (look(&view->reader_table[k].id) == id)
                    fail("a dead reader is still in the table");
            for (uint32_t k = 0; k < ring.geometry().max_cursors; k++)
                if (look(&view->cursors[k].holder) == id)
                    fail("a dead reader still holds a cursor");
        }
    }
    for (uint32_t i = 0; i < ring.geometry().slot_count; i++) {
        enum ring_slot_state state = slot_state(look(&view->states[i]));
        if (state == RING_SLOT_RESERVED || state == RING_SLOT_RECLAIMING)
            fail("slot " + std::to_string(i) + " is held by somebody");
    }
    /* Every entry can be had. */
    std::vector<struct ring_publisher_state> all(ring.geometry().max_publishers);
    for (auto &one : all) {
        int r = ring_publisher_join(&one, view, ring_publisher_id(view), 1, 1);
        if (r < 0) {
            fail("an entry of the publishers' table is lost: " + std::string(strerror(-r)));
            return;
        }
    }
    for (auto &one : all)
        ring_publisher_leave(&one);
    /* Every slot can be had: with nothing taken over, the log grows to as many segments as there are slots. */
    if (ring.shape().when_full == RING_DROP_OLD || !take_over())
        return;
    uint64_t first = ring_reader_position(main) >> ring.shape().segment_shift;
    Actor actor(*this, survivor_);
    if (!actor.join())
        return;
    while (actor.publish(1, 21))
        ;
    if (look(&actor.log.error) != EAGAIN)
        fail("while the ring is filled: " + std::string(strerror((int)look(&actor.log.error))));
    poke(&actor.log.error, 0);
    poke(&actor.log.attempted, look(&actor.log.committed));
    actor.leave();
    uint64_t last = active_segment(look(&ring.control_block()->active));
    if (last - first + 1 != ring.geometry().slot_count)
        fail("a ring of " + std::to_string(ring.geometry().slot_count) + " slots is full with " +
             std::to_string(last - first + 1) + " segments");
    take_over();
}

void Trial::aftermath()
{
    uint32_t segments = 2 * ring.geometry().slot_count;
    uint32_t got = go_on(segments);
    if (got < segments)
        fail("others got through " + std::to_string(got) + " segments of " + std::to_string(segments));
    {
        Publisher sweeper(ring);
        if (sweeper.joined < 0)
            fail("the sweeper cannot join");
        else
            ring_sweep(sweeper);
    }
    check_messages();
    uint64_t named = 0, of_name = 0;
    for (uint32_t who = 0; who < kActors; who++) {
        if (look(&log(who).named)) {
            named++;
            of_name += seen_of(who);
        }
    }
    if (named) {
        Publisher heir(ring);
        int r = ring_producer_take(heir, kTrialName);
        if (r < 0)
            fail("the name cannot be taken again: " + std::string(strerror(-r)));
        else if (gaps_ ? heir->sequence < of_name : heir->sequence != of_name)
            fail("the last sequence is said to be " + std::to_string(heir->sequence) + ", and " +
                 std::to_string(of_name) + " messages were seen");
    }
    check_leaks();
    check_messages();
    for (const std::string &fault : ring.faults())
        fail("ring_check: " + fault);
}

void Trial::while_stopped(const std::vector<uint32_t> &stopped)
{
    uint32_t segments = 2 * ring.geometry().slot_count;
    uint32_t got = go_on(segments);
    if (got >= segments)
        return;
    /* Order is total: whoever has a claim open holds up what comes behind it, and is named. */
    uint64_t claimant = ring_reader_claimant(main);
    for (uint32_t who : stopped) {
        for (uint64_t i = 0; i < look(&log(who).id_count); i++)
            if (claimant == look(&log(who).ids[i]))
                return;
        if (look(&log(who).gated))
            return; /* a gate is a wish to be waited for */
    }
    fail("others got through " + std::to_string(got) + " segments of " + std::to_string(segments) +
         " though no claim of the stopped one is in the way");
}

// -- Actor ---------------------------------------------------------------------------------------------------------------

Actor::Actor(Trial &t, uint32_t w) : trial(t), who(w), log(t.log(w)), view(t.ring.view())
{
    view.on_relax = [](void *) {
        if (Fiber::current())
            Fiber::yield();
    };
}

bool Actor::failed(int error)
{
    poke(&log.error, (uint64_t)-error);
    return false;
}

bool Actor::join()
{
    uint64_t id = ring_publisher_id(view);
    uint64_t count = look(&log.id_count);
    poke(&log.ids[count % 4], id);
    poke(&log.id_count, count + 1 > 4 ? 4 : count + 1);
    int r = ring_publisher_join(&publisher, view, id, 4711, 1);
    return r < 0 ? failed(r) : true;
}

bool Actor::join_daemon()
{
    uint64_t id = ring_publisher_id(view);
    poke(&log.ids[look(&log.id_count)], id);
    poke(&log.id_count, look(&log.id_count) + 1);
    int r = ring_daemon_join(&publisher, view, id, 4711, 1);
    return r < 0 ? failed(r) : true;
}

bool Actor::take_name()
{
    int r = ring_producer_take(&publisher, kTrialName);
    if (r < 0)
        return failed(r);
    sequence_before = publisher.sequence - look(&log.committed);
    poke(&log.named, 1);
    return true;
}

int Actor::claim_room(uint32_t units, uint64_t *ret_position)
{
    int r;
    for (uint32_t tries = 0; (r = ring_claim(&publisher, units, ret_position)) == -EAGAIN && tries < patience; tries++)
        view->ops->relax(view->ctx);
    return r;
}

uint32_t Actor::put_body(uint8_t *body, uint64_t number, uint32_t units)
{
    uint32_t room = units * RING_UNIT_BYTES - (uint32_t)sizeof(struct ring_record), bytes = 0;
    if (publisher.producer) {
        struct ring_meta meta = {};
        meta.present = RING_HAS_SEQUENCE;
        meta.producer = ring_producer_hash(kTrialName);
        meta.sequence = sequence_before + number + 1;
        if (ring_meta_bytes(&meta, &bytes) < 0)
            return 0;
        ring_meta_put(&meta, body);
    }
    char text[4096];
    stamp_write(text, who, number, room - bytes);
    memcpy(body + bytes, text, room - bytes);
    return room;
}

bool Actor::publish(uint32_t count, uint32_t units)
{
    static const uint32_t kUnits[] = {1, 3, 9, 24, 2, 14, 1, 31};
    uint32_t flags = publisher.producer ? RING_FLAG_PROPERTIES : 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t number = look(&log.committed), position;
        uint32_t take = units ? units : kUnits[number % 8];
        poke(&log.attempted, number + 1);
        int r = claim_room(take, &position);
        if (r < 0)
            return failed(r);
        uint32_t bytes = put_body(ring_claim_address(&publisher) + sizeof(struct ring_record), number, take);
        ring_commit(&publisher, (uint16_t)who, flags, bytes);
        poke(&log.committed, number + 1);
        if (publisher.producer)
            ring_producer_count(&publisher, sequence_before + number + 1, position + (uint64_t)take * RING_UNIT_BYTES);
        ring_news(view);
    }
    return true;
}

bool Actor::publish_batch(uint32_t count)
{
    uint32_t flags = publisher.producer ? RING_FLAG_PROPERTIES : 0;
    uint64_t number = look(&log.committed), position;
    const uint32_t units = 3;
    poke(&log.attempted, number + count);
    int r = claim_room(units * count, &position);
    if (r < 0)
        return failed(r);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *body = ring_claim_address(&publisher) + i * units * RING_UNIT_BYTES + sizeof(struct ring_record);
        uint32_t bytes = put_body(body, number + i, units);
        if (i > 0)
            ring_batch_put(&publisher, i * units, units, (uint16_t)who, flags, bytes);
    }
    ring_commit_first(&publisher, units, (uint16_t)who, flags,
                      units * RING_UNIT_BYTES - (uint32_t)sizeof(struct ring_record));
    poke(&log.committed, number + count);
    if (publisher.producer)
        ring_producer_count(&publisher, sequence_before + number + count,
                            position + (uint64_t)(units * count) * RING_UNIT_BYTES);
    return true;
}

bool Actor::claim(uint32_t units)
{
    uint64_t position;
    int r = claim_room(units, &position);
    return r < 0 ? failed(r) : true;
}

bool Actor::cancel(uint32_t units)
{
    if (!claim(units))
        return false;
    memset(ring_claim_address(&publisher) + sizeof(struct ring_record), 0xee,
           units * RING_UNIT_BYTES - sizeof(struct ring_record));
    ring_cancel(&publisher);
    return true;
}

void Actor::leave()
{
    ring_publisher_leave(&publisher);
}

bool Actor::join_reader(bool gating)
{
    uint64_t id = ring_reader_id(view);
    poke(&log.reader_ids[look(&log.reader_id_count)], id);
    poke(&log.reader_id_count, look(&log.reader_id_count) + 1);
    int r = ring_reader_join(&reader, view, id, 4712, 1);
    reader.gating = gating;
    poke(&log.gated, gating);
    return r < 0 ? failed(r) : true;
}

bool Actor::take_cursor(const char *name)
{
    uint64_t position;
    int r = ring_cursor_take(&reader, name, &position);
    return r < 0 ? failed(r) : true;
}

bool Actor::read(uint32_t most)
{
    for (uint32_t got = 0, looks = 0; got < most && looks < 3;) {
        struct ring_item item;
        bool pending;
        int r = ring_reader_peek(&reader, &item);
        if (r > 0) {
            ring_reader_pass(&reader, &item);
            got++;
            looks = 0;
        } else if (r == 0) {
            r = ring_reader_look(&reader, &pending);
            looks += r <= 0;
        }
        if (r == -ENOENT && (trial.ring.shape().flags & RING_JOURNALED))
            return true; /* it goes on in the journal */
        if (r < 0)
            return failed(r);
    }
    return true;
}

void Actor::leave_reader()
{
    ring_reader_leave(&reader);
}

// -- Child ---------------------------------------------------------------------------------------------------------------

namespace
{

struct {
    uint64_t left;
    bool kill;
    int tell, told;
    char *where;
} child;

void child_point(struct mem_site *site)
{
    coverage_count(site);
    if (child.left == 0 || --child.left > 0)
        return;
    snprintf(child.where, 128, "%s:%d %s", site->file, site->line, site->function);
    if (child.kill)
        raise(SIGKILL);
    char byte = 0;
    if (write(child.tell, &byte, 1) != 1 || read(child.told, &byte, 1) != 1)
        _exit(9);
}

} // namespace

Child::Child(Trial &trial, uint32_t who, const Script &script)
    : trial_(trial), who_(who), script_(script), where_(static_cast<char *>(shared_memory(128)))
{
}

Child::~Child()
{
    if (pid_ > 0) {
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    if (told_ >= 0)
        close(told_);
    if (tell_ >= 0)
        close(tell_);
    munmap(where_, 128);
}

std::string Child::where() const
{
    return where_;
}

void Child::start(uint64_t n, bool killing)
{
    int down[2], up[2];
    if (pipe(down) < 0 || pipe(up) < 0)
        throw std::runtime_error("pipe");
    pid_ = fork();
    if (pid_ < 0)
        throw std::runtime_error("fork");
    if (pid_ == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        child = {n, killing, up[1], down[0], where_};
        mem_point_hook = child_point;
        Actor actor(trial_, who_);
        actor.patience = killing ? 0 : 1000000;
        script_(actor);
        poke(&actor.log.finished, 1);
        _exit(look(&actor.log.error) ? 1 : 0);
    }
    close(down[0]);
    close(up[1]);
    tell_ = down[1];
    told_ = up[0];
}

Child::End Child::wait()
{
    int status;
    if (waitpid(pid_, &status, 0) != pid_)
        return End::broken;
    pid_ = -1;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return End::killed;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? End::finished : End::broken;
}

Child::End Child::run_and_kill(uint64_t n)
{
    start(n, true);
    return wait();
}

Child::End Child::run_and_stop(uint64_t n)
{
    start(n, false);
    char byte;
    return read(told_, &byte, 1) == 1 ? End::stopped : wait();
}

void Child::go_on()
{
    char byte = 0;
    if (write(tell_, &byte, 1) != 1)
        throw std::runtime_error("the child is gone");
}

bool Child::ended(End *ret_end)
{
    int status;
    pid_t r = waitpid(pid_, &status, WNOHANG);
    if (r == 0)
        return false;
    pid_ = -1;
    *ret_end = r > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? End::finished : End::broken;
    return true;
}

} // namespace ringtest
