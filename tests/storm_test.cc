/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storm: on each kind of ring, publishers, readers and weird are killed with SIGKILL, stopped and continued at random,
 * while every message is accounted for: lost, duplicated, reordered, invented, or hung.
 *
 * A round is one ring and some tenths of a second to some seconds of that; rounds begin at 0, and a little below 2^32,
 * 2^44 and 2^63; every other one has 3 slots in all, the fewest that there can be. In CI each kind has a few seconds. By
 * hand, an hour for all of them:
 *
 *     B=$PWD/build/release; WEIR_BIN=$B/bin WEIR_STORM_SECONDS=360 \
 *         tests/run_in_scratch.sh $B/scratch/storm /dev/shm/weir-storm $B/tests/bin/storm_test
 *
 * WEIR_STORM_SECONDS is what each kind gets. The seed is printed; with WEIR_STORM_SEED=SEED the same kills and stops are
 * drawn in the same order, though the kernel schedules as it likes.
 */
// test: LINKS weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing TIMEOUT 600

#include "tests/support/storm_weird.hh"

#include <atomic>
#include <filesystem>

#include <sys/random.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#include "ringbuf/ring.h"
#include "shm/shm.h"
}
#pragma GCC diagnostic pop

namespace
{

constexpr uint32_t publishers = 3, readers = 3;
constexpr uint32_t each_most = 50000; /* messages of one publisher in a round */
constexpr uint32_t gaps_most = 100000;
constexpr uint32_t end_mark = publishers;
constexpr uint32_t batch_count = 4;
constexpr uint32_t cursor_reader = 1;
constexpr uint32_t few_slots = 3;
constexpr uint64_t segment = 4096;
constexpr int hang_s = sanitized ? 120 : 30;

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014) */
uint64_t mix(uint64_t value)
{
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

uint64_t now_ms()
{
    return shm_now_ns() / 1000000;
}

/* -- messages ------------------------------------------------------------------------------------------------------ */

/* What a message says of itself; then a pattern up to its length. */
struct Body {
    uint32_t publisher;
    uint32_t sequence;
    uint32_t bytes;
};

/* Sequences 4k+1 to 4k+4 are published as one batch, or one by one. */
bool in_batch(uint32_t publisher, uint64_t sequence)
{
    return mix(publisher * UINT64_C(1000003) + (sequence - 1) / batch_count) % 4 == 0;
}

std::string body_of(uint32_t publisher, uint32_t sequence)
{
    uint64_t mixed = mix((uint64_t)publisher << 32 | sequence);
    /* Mostly one cache line, sometimes several, now and then about a segment. */
    uint32_t most = mixed % 64 == 0 && !in_batch(publisher, sequence) ? 4000 : mixed % 4 == 0 ? 500 : 24;
    uint32_t bytes = sizeof(Body) + (uint32_t)(mixed >> 16) % most;
    std::string body(bytes, '\0');
    Body head = {publisher, sequence, bytes};
    memcpy(body.data(), &head, sizeof(head));
    for (uint32_t i = sizeof(head); i < bytes; i++)
        body[i] = (char)(mixed + i * 7);
    return body;
}

/* -- what they tell the test: shared memory, kept by whoever lives longer ------------------------------------------- */

struct Seen {
    uint64_t position;
    uint64_t next;
    uint32_t publisher;
    uint32_t sequence;
};

struct Gap {
    uint64_t from, to;
    bool ungated; /* of what was there before the reader was started again, while its gate was void */
};

struct ReaderLog {
    std::atomic<uint32_t> starts, seen_count, gap_count;
    Seen seen[publishers * each_most];
    Gap gaps[gaps_most];

    /* The end of what was read or told missing. */
    uint64_t end(uint64_t first) const
    {
        uint64_t at = first;
        if (seen_count)
            at = std::max(at, seen[seen_count - 1].next);
        if (gap_count)
            at = std::max(at, gaps[gap_count - 1].to);
        return at;
    }
};

struct Log {
    std::atomic<uint64_t> told[publishers][each_most + 1]; /* position + 1 of each sequence, 0: its publisher died */
    std::atomic<uint64_t> last[publishers];                /* sequence that the ring remembers, when all is over */
    std::atomic<uint64_t> work, refused;
    std::atomic<bool> stopping;
    ReaderLog reader[readers];
};

class SharedLog
{
public:
    SharedLog()
        : log_(static_cast<Log *>(
              mmap(nullptr, sizeof(Log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)))
    {
        if (log_ == MAP_FAILED)
            abort();
    }
    SharedLog(const SharedLog &) = delete;
    SharedLog &operator=(const SharedLog &) = delete;
    ~SharedLog()
    {
        munmap(log_, sizeof(Log));
    }
    Log *operator->() const
    {
        return log_;
    }
    Log &operator*() const
    {
        return *log_;
    }

private:
    Log *log_;
};

/* -- rounds -------------------------------------------------------------------------------------------------------- */

struct Kind {
    const char *name;
    int exclusive;
    int policy;
    int gating;
    int journaled;
};

const Kind kinds[] = {
    {"SharedGated", 0, WEIR_BLOCK, 1, 0},
    {"SharedDropNew", 0, WEIR_DROP_NEW, 1, 0},
    {"SharedDropOld", 0, WEIR_DROP_OLD, 0, 0},
    {"SharedJournaled", 0, WEIR_BLOCK, 0, 1},
    {"SharedJournaledDropNew", 0, WEIR_DROP_NEW, 0, 1},
    {"ExclusiveGated", 1, WEIR_BLOCK, 1, 0},
    {"ExclusiveDropNew", 1, WEIR_DROP_NEW, 1, 0},
    {"ExclusiveDropOld", 1, WEIR_DROP_OLD, 0, 0},
    {"ExclusiveJournaled", 1, WEIR_BLOCK, 0, 1},
};

struct Round {
    Kind kind;
    uint64_t seed;
    uint64_t first;
    bool few;
    bool fenced;
    uint64_t ms;
    std::string bus, journal;
};

struct Formatting {
    struct ring_geometry geometry;
    struct ring_identity identity;
};

/* The public way makes as many slots as the promises take; with fewer all must still be right, only slower. */
int create_few(const Round &round)
{
    Formatting formatting = {};
    struct ring_geometry &geometry = formatting.geometry;
    geometry.flags = (round.kind.exclusive ? RING_EXCLUSIVE : 0u) | (round.kind.journaled ? RING_JOURNALED : 0u);
    geometry.when_full = (uint32_t)round.kind.policy;
    geometry.segment_shift = 12;
    geometry.max_publishers = round.kind.exclusive ? 1 : publishers + 1;
    geometry.max_readers = readers + 1;
    geometry.max_producers = geometry.max_cursors = 8;
    geometry.features_incompatible = round.fenced ? RING_FEATURE_FENCED : 0;
    geometry.memory_limit_bytes = segment;
    geometry.slot_count = few_slots;
    const char *reason = "";
    if (ring_geometry_check(&geometry, &reason) < 0)
        return -EINVAL;
    formatting.identity.created_ns = shm_wall_ns();
    formatting.identity.epoch = 1;
    formatting.identity.start = round.first;
    strcpy(formatting.identity.name, "ring");
    memcpy(formatting.identity.ring_id, &round.seed, sizeof(round.seed));
    struct shm_create create = {};
    create.name = "ring";
    create.sizes.control_bytes = geometry.control_bytes;
    create.sizes.readers_bytes = geometry.readers_bytes;
    create.sizes.data_bytes = geometry.data_bytes;
    create.mode = 0600;
    create.format = [](void *ctx, void *control, void *reader_table, void *data) {
        auto *what = static_cast<Formatting *>(ctx);
        ring_format(control, reader_table, data, &what->geometry, &what->identity);
    };
    create.ctx = &formatting;
    struct shm_why why = {};
    int bus_fd = open(round.bus.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = shm_create(bus_fd, &create, &why);
    close(bus_fd);
    return r;
}

int create_ring(const Round &round)
{
    if (round.few)
        return create_few(round);
    RingOptions options = RingOptions()
                              .with_exclusive(round.kind.exclusive)
                              .with_policy(round.kind.policy)
                              .with_journal(round.kind.journaled)
                              .with_users(publishers + 1, readers + 1)
                              .with_first(round.first);
    options.fenced = round.fenced;
    return weir_ring_create(round.bus.c_str(), "ring", &options);
}

/* -- publishers ---------------------------------------------------------------------------------------------------- */

class Publisher
{
public:
    Publisher(const Round &round, Log *log, uint32_t number) : round_(round), log_(log), number_(number)
    {
    }

    /* Until it is told to stop: then it leaves what the ring remembers of it. */
    void run(const Line &)
    {
        while (!testing::Test::HasFailure()) {
            std::unique_ptr<Pub> pub = open();
            ASSERT_NE(pub, nullptr);
            uint64_t sequence = pub->last_sequence();
            check_remembered(sequence);
            for (int turn = 0; turn < 300 && !testing::Test::HasFailure(); turn++) {
                while (sequence + batch_count > each_most && !log_->stopping)
                    usleep(1000);
                if (log_->stopping) {
                    log_->last[number_] = sequence;
                    return;
                }
                sequence = publish_next(*pub, sequence + 1);
            }
        }
    }

private:
    /* Of an exclusive ring they take turns. */
    std::unique_ptr<Pub> open() const
    {
        std::string name = "publisher-" + std::to_string(number_);
        for (;;) {
            auto pub = std::make_unique<Pub>(round_.bus, "ring", name.c_str());
            if (pub->error == 0)
                return pub;
            if (pub->error != -EBUSY || !round_.kind.exclusive) {
                ADD_FAILURE() << weir_last_error();
                return nullptr;
            }
            sched_yield();
        }
    }
    void check_remembered(uint64_t sequence) const
    {
        ASSERT_LE(sequence, each_most) << "invented";
        for (uint64_t i = sequence + 1; i <= sequence + batch_count && i <= each_most; i++)
            ASSERT_EQ(log_->told[number_][i], 0u) << "sequence " << i << " was published and is not remembered";
        if (sequence % batch_count && in_batch(number_, sequence))
            ADD_FAILURE() << "half a batch: remembered up to sequence " << sequence;
    }
    /* Until it is there: drop-new says that there is no room, and the caller comes again. */
    template <typename Call>
    void until_taken(const Call &call) const
    {
        int r;
        while ((r = call()) == -EAGAIN && round_.kind.policy == WEIR_DROP_NEW) {
            log_->refused++;
            sched_yield();
        }
        ASSERT_EQ(r, 0) << weir_last_error();
    }
    void note(uint64_t sequence, uint64_t position) const
    {
        log_->told[number_][sequence] = position + 1;
        log_->work++;
    }
    /* The next message or batch, one way or another; returns the last sequence. */
    uint64_t publish_next(const Pub &pub, uint64_t sequence) const
    {
        if (in_batch(number_, sequence))
            return publish_batch(pub, sequence);
        std::string body = body_of(number_, (uint32_t)sequence);
        uint64_t position = 0, mixed = mix(sequence * 31 + number_);
        void *data = nullptr;
        weir_message message = sequenced(body, sequence);
        switch (mixed % 4) {
        case 0: /* in place, committing less than claimed */
            until_taken([&] {
                return weir_pub_claim(pub, std::min<size_t>(body.size() + (mixed >> 8) % 90, 4050), nullptr,
                                      WEIR_FOREVER, &data);
            });
            if (data) {
                memcpy(data, body.data(), body.size());
                EXPECT_EQ(weir_pub_commit(pub, body.size(), &position), 0) << weir_last_error();
            }
            break;
        case 1: /* after a change of mind */
            until_taken([&] { return weir_pub_claim(pub, 100, nullptr, WEIR_FOREVER, &data); });
            if (data) {
                memset(data, 0xee, 100);
                EXPECT_EQ(weir_pub_cancel(pub), 0) << weir_last_error();
            }
            [[fallthrough]];
        case 2:
            until_taken([&] { return weir_pub_send(pub, body.data(), body.size(), WEIR_FOREVER, &position); });
            break;
        default:
            until_taken([&] { return weir_pub_send_message(pub, &message, WEIR_FOREVER, &position); });
            break;
        }
        note(sequence, position);
        return sequence;
    }
    uint64_t publish_batch(const Pub &pub, uint64_t sequence) const
    {
        std::string bodies[batch_count];
        weir_message messages[batch_count];
        uint64_t positions[batch_count] = {};
        for (uint32_t i = 0; i < batch_count; i++) {
            bodies[i] = body_of(number_, (uint32_t)(sequence + i));
            messages[i] = message_of(bodies[i]);
        }
        until_taken([&] { return weir_pub_send_batch(pub, messages, batch_count, WEIR_FOREVER, positions); });
        for (uint32_t i = 0; i < batch_count; i++)
            note(sequence + i, positions[i]);
        return sequence + batch_count - 1;
    }

    const Round &round_;
    Log *log_;
    uint32_t number_;
};

/* -- readers ------------------------------------------------------------------------------------------------------- */

class Reader
{
public:
    Reader(const Round &round, Log *log, uint32_t number) : round_(round), all_(log), log_(log->reader[number])
    {
        number_ = number;
    }

    /* Goes on where it was, reads until the end mark. */
    void run(const Line &line)
    {
        bool again = log_.starts++ > 0;
        end_ = log_.end(round_.first);
        known_ = at_ = log_.seen_count;
        SubOptions options;
        options.with_from(end_).with_spin(number_ == 2 ? -1 : 0);
        options.gating = round_.kind.gating;
        options.cursor = number_ == cursor_reader ? "place" : nullptr;
        Sub sub(round_.bus, "ring", options);
        ASSERT_EQ(sub.error, 0) << "at " << end_ << ": " << weir_last_error();
        if (options.cursor) {
            go_back(sub.position());
        }
        if (again)
            note_ungated();
        line.say('r');
        std::vector<weir_message> messages(16);
        std::string buffer(segment, '\0');
        while (!ended_ && !testing::Test::HasFailure()) {
            int count = read_some(sub, messages, buffer);
            if (count == -EAGAIN)
                continue;
            if (count == -EPIPE) {
                ASSERT_NO_FATAL_FAILURE(take_gap(sub.gap()));
            } else {
                ASSERT_GT(count, 0) << weir_last_error();
            }
            for (int i = 0; i < count && !ended_; i++)
                ASSERT_NO_FATAL_FAILURE(take(messages[i]));
            if (options.cursor && count > 0 && !ended_ && mix(messages[0].position) % 8 == 0) {
                ASSERT_EQ(weir_sub_save(sub, messages[0].next), 0) << weir_last_error();
            }
        }
    }

private:
    /* Each reader reads in a way of its own: the number of messages, or the error. */
    int read_some(const Sub &sub, std::vector<weir_message> &messages, std::string &buffer) const
    {
        int r;
        if (number_ == 0)
            return weir_sub_next_batch(sub, messages.data(), messages.size(), WEIR_FOREVER);
        if (number_ == cursor_reader)
            r = weir_sub_recv(sub, buffer.data(), buffer.size(), 0, messages.data());
        else
            r = sub.next(messages.data(), WEIR_FOREVER);
        if (r == -EAGAIN)
            sched_yield();
        return r == 0 ? 1 : r;
    }
    /*
     * Until its gate stands again, publishers may take what is there, and here and there they may leave a segment that
     * somebody else is in: so there can be several gaps, up to the end of the segment that is the last one now.
     */
    void note_ungated()
    {
        RingInfo now = {};
        now.size = sizeof(now);
        ASSERT_EQ(weir_ring_inspect(round_.bus.c_str(), "ring", &now), 0) << weir_last_error();
        ungated_ = (now.end_position / segment + 1) * segment;
    }
    /* What was read behind the place that was saved comes again, the same at the same positions. */
    void go_back(uint64_t saved)
    {
        const Seen *begin = log_.seen;
        const Seen *found = std::lower_bound(
            begin, begin + known_, saved, [](const Seen &seen, uint64_t position) { return seen.position < position; });
        at_ = (uint32_t)(found - begin);
    }
    void take(const weir_message &message)
    {
        Body head = {};
        ASSERT_GE(message.data_bytes, sizeof(head)) << "invented at " << message.position;
        memcpy(&head, message.data, sizeof(head));
        if (head.publisher == end_mark) {
            ASSERT_EQ(text_of(message), body_of(end_mark, 0)) << "invented at " << message.position;
            ended_ = true;
            return;
        }
        ASSERT_LT(head.publisher, publishers) << "invented at " << message.position;
        ASSERT_TRUE(head.sequence >= 1 && head.sequence <= each_most) << "invented at " << message.position;
        ASSERT_EQ(text_of(message), body_of(head.publisher, head.sequence)) << "damaged at " << message.position;
        ASSERT_EQ(message.sequence, head.sequence) << "at " << message.position;
        Seen now = {message.position, message.next, head.publisher, head.sequence};
        if (at_ < known_) {
            const Seen &before = log_.seen[at_++];
            ASSERT_TRUE(before.position == now.position && before.next == now.next &&
                        before.publisher == now.publisher && before.sequence == now.sequence)
                << "read again at " << now.position << " is sequence " << now.sequence << " of publisher "
                << now.publisher << ", before it was " << before.sequence << " of " << before.publisher << " at "
                << before.position;
            return;
        }
        ASSERT_GE(now.position, end_) << "reordered or duplicated: behind " << end_ << " came " << now.position;
        ASSERT_LT(log_.seen_count, publishers * each_most) << "more than were sent";
        log_.seen[log_.seen_count] = now;
        log_.seen_count++; /* killed before this: read again */
        all_->work++;
        end_ = now.next;
    }
    void take_gap(const weir_gap &gap)
    {
        ASSERT_LT(gap.from, gap.to);
        ASSERT_EQ(gap.reason, WEIR_GAP_OVERWRITTEN) << gap.from << " to " << gap.to;
        while (at_ < known_ && log_.seen[at_].position < gap.to)
            at_++;
        if (gap.to <= end_) /* it had read that before it was killed */
            return;
        ASSERT_LT(log_.gap_count, gaps_most);
        log_.gaps[log_.gap_count] = {std::max(gap.from, end_), gap.to, gap.to <= ungated_};
        log_.gap_count++;
        end_ = gap.to;
    }

    const Round &round_;
    Log *all_;
    ReaderLog &log_;
    uint32_t number_;
    uint64_t end_ = 0, ungated_ = 0;
    uint32_t known_ = 0, at_ = 0; /* read before, and read again so far */
    bool ended_ = false;
};

/* -- the storm ----------------------------------------------------------------------------------------------------- */

struct Actor {
    std::string name;
    std::function<std::unique_ptr<Child>()> start;
    std::unique_ptr<Child> child;
    bool stopped;
    uint32_t deaths;
};

class Storm : public ClientTest, public testing::WithParamInterface<Kind>
{
protected:
    static uint64_t number_of(const char *name, uint64_t otherwise)
    {
        const char *text = getenv(name);
        return text && *text ? strtoull(text, nullptr, 0) : otherwise;
    }
    void SetUp() override
    {
        ClientTest::SetUp();
        uint64_t random = 0;
        ASSERT_EQ(getrandom(&random, sizeof(random), 0), (ssize_t)sizeof(random));
        seconds_ = number_of("WEIR_STORM_SECONDS", 2);
        seed_ = number_of("WEIR_STORM_SEED", random >> 32);
        alarm((unsigned)seconds_ * 2 + 200);
        printf("storm: WEIR_STORM_SEED=%llu WEIR_STORM_SECONDS=%llu\n", (unsigned long long)seed_,
               (unsigned long long)seconds_);
        fflush(stdout);
    }

    void begin(Round round)
    {
        round_ = std::move(round);
        random_ = round_.seed;
        log_ = std::make_unique<SharedLog>();
        std::filesystem::remove_all(round_.bus);
        std::filesystem::remove_all(round_.journal);
        std::filesystem::create_directories(round_.bus);
        std::filesystem::create_directories(round_.journal);
        ASSERT_EQ(create_ring(round_), 0) << weir_last_error();
        auto child_of = [](auto actor) { return std::make_unique<Child>([&](const Line &line) { actor.run(line); }); };
        Log *log = log_->operator->();
        for (uint32_t i = 0; i < readers; i++)
            add("reader " + std::to_string(i), [=, this] { return child_of(Reader(round_, log, i)); });
        for (uint32_t i = 0; i < publishers; i++)
            add("publisher " + std::to_string(i), [=, this] { return child_of(Publisher(round_, log, i)); });
        if (round_.kind.journaled)
            add("weird", [this] { return start_weird(round_.bus, round_.journal); });
        for (Actor &actor : actors_) {
            actor.child = actor.start();
            bool reads = &actor < &publisher(0);
            ASSERT_TRUE(!reads || actor.child->line().hear() == 'r'); /* gates stand before there is what to miss */
        }
    }
    void add(const std::string &name, const std::function<std::unique_ptr<Child>()> &start)
    {
        actors_.push_back({name, start, nullptr, false, 0});
    }
    uint64_t draw(uint64_t below)
    {
        return mix(++random_) % below;
    }
    Actor &reader(uint32_t number)
    {
        return actors_[number];
    }
    Actor &publisher(uint32_t number)
    {
        return actors_[readers + number];
    }
    uint32_t publisher_deaths()
    {
        uint32_t deaths = 0;
        for (uint32_t i = 0; i < publishers; i++)
            deaths += publisher(i).deaths;
        return deaths;
    }

    void kill(Actor &actor)
    {
        actor.child->kill_and_reap();
        actor.child.reset();
        actor.stopped = false;
        actor.deaths++;
    }
    void go_on(Actor &actor)
    {
        if (!actor.child)
            actor.child = actor.start();
        else if (actor.stopped)
            actor.child->go_on();
        actor.stopped = false;
    }
    /* Something happens to somebody; whoever is down is more likely to get up again than to stay there. */
    void strike()
    {
        Actor *actor = &actors_[draw(actors_.size())];
        if (draw(2)) {
            size_t from = draw(actors_.size());
            for (size_t i = 0; i < actors_.size(); i++) {
                Actor &other = actors_[(from + i) % actors_.size()];
                if (!other.child || other.stopped) {
                    actor = &other;
                    break;
                }
            }
        }
        if (actor->child && !actor->stopped) {
            ASSERT_FALSE(actor->child->ended()) << actor->name << " ended by itself: " << actor->child->result();
        }
        bool down = !actor->child || actor->stopped;
        if (actor->child && draw(10) < (down ? 3 : 6)) {
            kill(*actor);
            if (draw(2))
                go_on(*actor);
        } else if (down) {
            go_on(*actor);
        } else {
            actor->child->kill(SIGSTOP);
            actor->stopped = true;
        }
    }
    /* Blows for the round's time, and until it has done some harm to some work. */
    void blow()
    {
        Log &log = **log_;
        uint64_t end_ms = now_ms() + round_.ms, strikes = 0;
        while (now_ms() < end_ms || strikes < 20 || log.work < 300) {
            /* Follows the work done, lest it be all deaths and no work; where all stand still that is no reason to wait. */
            uint64_t goal = log.work + draw(300);
            for (int i = 0; i < 100 && log.work < goal; i++)
                usleep(100);
            ASSERT_NO_FATAL_FAILURE(strike());
            strikes++;
        }
    }

    /* Waits for its end, as long as anything goes on at all. */
    void wait_for(Actor &actor)
    {
        uint64_t work = 0, since_ms = now_ms();
        while (!actor.child->ended()) {
            uint64_t now = (*log_)->work + (*log_)->refused;
            if (now != work) {
                work = now;
                since_ms = now_ms();
            }
            ASSERT_LT(now_ms() - since_ms, (uint64_t)hang_s * 1000) << "hung: " << actor.name << "\n" << state();
            usleep(500);
        }
        ASSERT_EQ(actor.child->result(), 0) << actor.name;
    }
    void calm_down()
    {
        for (Actor &actor : actors_)
            go_on(actor);
        (*log_)->stopping = true;
        for (uint32_t i = 0; i < publishers; i++)
            ASSERT_NO_FATAL_FAILURE(wait_for(publisher(i)));
        Pub pub(round_.bus, "ring");
        ASSERT_EQ(pub.error, 0) << weir_last_error();
        std::string end = body_of(end_mark, 0);
        uint64_t position = 0;
        int r;
        uint64_t since_ms = now_ms();
        while ((r = pub.send(end, 100 * ms, &position)) == -EAGAIN || r == -ETIMEDOUT) {
            if (r == -EAGAIN && round_.kind.policy == WEIR_DROP_NEW)
                (*log_)->refused++;
            ASSERT_LT(now_ms() - since_ms, (uint64_t)hang_s * 1000) << "hung: no room for the last record\n" << state();
        }
        ASSERT_EQ(r, 0) << weir_last_error();
        for (uint32_t i = 0; i < readers; i++)
            ASSERT_NO_FATAL_FAILURE(wait_for(reader(i)));
        if (round_.kind.journaled) {
            ASSERT_EQ(weir_pub_wait(pub, position, WEIR_DURABLE, hang_s * s), 0) << weir_last_error() << state();
            pub.close();
            actors_.back().child->kill(SIGTERM);
            EXPECT_EQ(actors_.back().child->result(), 0) << text_of_file(round_.journal + ".log");
        }
    }

    /* -- the checker -- */

    /* Where each message stands, as its publisher was told and as each reader saw it; the same for all. */
    void collect(std::vector<uint64_t> (&positions)[publishers]) const
    {
        Log &log = **log_;
        for (uint32_t p = 0; p < publishers; p++) {
            positions[p].assign(log.last[p] + 1, 0);
            for (uint32_t i = 1; i <= each_most; i++) {
                uint64_t told = log.told[p][i];
                ASSERT_TRUE(told == 0 || i <= log.last[p])
                    << "sequence " << i << " of publisher " << p << " was published at " << told - 1
                    << " and the ring remembers " << log.last[p];
                if (i <= log.last[p])
                    positions[p][i] = told;
            }
        }
        for (uint32_t r = 0; r < readers; r++) {
            const ReaderLog &reader_log = log.reader[r];
            for (uint32_t i = 0; i < reader_log.seen_count; i++) {
                const Seen &seen = reader_log.seen[i];
                ASSERT_LE(seen.sequence, log.last[seen.publisher])
                    << "invented: reader " << r << " saw it of publisher " << seen.publisher << " at " << seen.position;
                uint64_t &known = positions[seen.publisher][seen.sequence];
                ASSERT_TRUE(known == 0 || known == seen.position + 1)
                    << "duplicated: sequence " << seen.sequence << " of publisher " << seen.publisher << " stands at "
                    << known - 1 << ", reader " << r << " saw it at " << seen.position;
                known = seen.position + 1;
            }
        }
    }
    /* In the ring's order and in each publisher's; what is missing lies in gaps that were told. */
    void check_reader(uint32_t number, const std::vector<uint64_t> &all)
    {
        const ReaderLog &log = (*log_)->reader[number];
        uint64_t last[publishers] = {};
        for (uint32_t i = 0; i < log.seen_count; i++) {
            const Seen &seen = log.seen[i];
            ASSERT_TRUE(i == 0 || seen.position >= log.seen[i - 1].next) << "reordered at " << seen.position;
            ASSERT_GT(seen.sequence, last[seen.publisher])
                << "reordered: publisher " << seen.publisher << " at " << seen.position;
            if (log.gap_count == 0) {
                ASSERT_EQ(seen.sequence, last[seen.publisher] + 1)
                    << "lost: of publisher " << seen.publisher << " before " << seen.position;
            }
            last[seen.publisher] = seen.sequence;
        }
        for (uint32_t p = 0; p < publishers && log.gap_count == 0; p++)
            ASSERT_EQ(last[p], (*log_)->last[p]) << "lost: the last ones of publisher " << p;
        uint32_t seen = 0, gap = 0;
        for (uint64_t position : all) {
            while (seen < log.seen_count && log.seen[seen].position < position)
                seen++;
            while (gap < log.gap_count && log.gaps[gap].to <= position)
                gap++;
            bool missing = gap < log.gap_count && log.gaps[gap].from <= position;
            bool here = seen < log.seen_count && log.seen[seen].position == position;
            ASSERT_NE(here, missing) << (here ? "read, and told missing: " : "lost without a word: ") << position;
        }
        if (round_.kind.policy == WEIR_DROP_OLD)
            return;
        for (uint32_t i = 0; i < log.gap_count; i++)
            ASSERT_TRUE(round_.kind.gating && log.gaps[i].ungated)
                << "lost " << log.gaps[i].from << " to " << log.gaps[i].to;
    }
    void check_all()
    {
        std::vector<uint64_t> positions[publishers], all;
        ASSERT_NO_FATAL_FAILURE(collect(positions));
        uint32_t unknown = 0;
        bool gaps = false;
        for (const auto &of_publisher : positions)
            for (size_t i = 1; i < of_publisher.size(); i++)
                if (of_publisher[i])
                    all.push_back(of_publisher[i] - 1);
                else
                    unknown++;
        std::sort(all.begin(), all.end());
        ASSERT_EQ(std::adjacent_find(all.begin(), all.end()), all.end()) << "two messages at one position";
        for (uint32_t i = 0; i < readers; i++) {
            SCOPED_TRACE("reader " + std::to_string(i));
            ASSERT_NO_FATAL_FAILURE(check_reader(i, all));
            gaps = gaps || (*log_)->reader[i].gap_count;
        }
        /* Overwritten before anybody saw it, and its publisher died before it was told. */
        ASSERT_LE(unknown, gaps ? publisher_deaths() * batch_count : 0u) << "lost";
        check_refused();
        if (round_.kind.journaled) {
            ASSERT_NO_FATAL_FAILURE(check_replay(all));
        }
    }
    /* P9: each refusal is counted; a publisher may have died between the count and the return. */
    void check_refused() const
    {
        RingInfo now = {};
        now.size = sizeof(now);
        ASSERT_EQ(weir_ring_inspect(round_.bus.c_str(), "ring", &now), 0) << weir_last_error();
        uint32_t deaths = 0;
        for (const Actor &actor : actors_)
            deaths += actor.deaths;
        EXPECT_GE(now.refused_count, (*log_)->refused);
        EXPECT_LE(now.refused_count, (*log_)->refused + deaths);
    }
    /* From the journal and what is in memory: the same again. */
    void check_replay(const std::vector<uint64_t> &all) const
    {
        Sub sub(round_.bus, "ring", SubOptions().with_from(round_.first));
        ASSERT_EQ(sub.error, 0) << weir_last_error();
        const ReaderLog &log = (*log_)->reader[0];
        weir_message message;
        for (uint32_t i = 0; i < all.size(); i++) {
            ASSERT_EQ(sub.next(&message), 0) << "replay at " << sub.position() << ": " << weir_last_error();
            ASSERT_EQ(message.position, log.seen[i].position) << "replayed in another order";
            ASSERT_EQ(text_of(message), body_of(log.seen[i].publisher, log.seen[i].sequence)) << message.position;
        }
        ASSERT_EQ(sub.next(&message), 0) << weir_last_error();
        ASSERT_EQ(text_of(message), body_of(end_mark, 0));
        ASSERT_EQ(sub.text(), "[EAGAIN]");
    }
    void check_ring() const
    {
        EXPECT_EQ(weir_ring_check(
                      round_.bus.c_str(), "ring",
                      [](void *, const char *file, uint64_t offset, const char *what) {
                          ADD_FAILURE() << file << " at " << offset << ": " << what;
                      },
                      nullptr),
                  0)
            << weir_last_error();
    }

    /* Everything's place, for whoever has to find out what went wrong. */
    std::string state() const
    {
        std::stringstream text;
        Log &log = **log_;
        RingInfo now = {};
        now.size = sizeof(now);
        weir_ring_inspect(round_.bus.c_str(), "ring", &now);
        text << "ring: memory from " << now.memory_position << ", end " << now.end_position << ", visible "
             << now.visible << ", written " << now.written << ", durable " << now.durable << ", lease " << now.lease
             << ", slots used " << now.slots_used << " of " << now.slot_count << "\n";
        for (uint32_t p = 0; p < publishers; p++) {
            uint32_t last = each_most;
            while (last && log.told[p][last] == 0)
                last--;
            text << "publisher " << p << ": told " << last << " at " << (int64_t)log.told[p][last] - 1
                 << ", remembered " << log.last[p] << "\n";
        }
        for (uint32_t r = 0; r < readers; r++)
            text << "reader " << r << ": read " << log.reader[r].seen_count << ", gaps " << log.reader[r].gap_count
                 << ", to " << log.reader[r].end(round_.first) << "\n";
        for (const Actor &actor : actors_)
            text << actor.name << ": "
                 << (!actor.child    ? "dead"
                     : actor.stopped ? "stopped"
                                     : "runs")
                 << ", died " << actor.deaths << " times\n";
        if (round_.kind.journaled) {
            std::string said = text_of_file(round_.journal + ".log");
            text << "weird said: ..." << said.substr(said.size() > 3000 ? said.size() - 3000 : 0) << "\n";
        }
        return text.str();
    }
    void end()
    {
        if (HasFailure())
            printf("storm: failed with WEIR_STORM_SEED=%llu\n%s", (unsigned long long)seed_, state().c_str());
        fflush(stdout);
        for (const Actor &actor : actors_) {
            total_deaths_ += actor.deaths;
        }
        total_work_ += (*log_)->work;
        actors_.clear();
        log_.reset();
        std::filesystem::remove_all(round_.bus);
        if (!HasFailure()) {
            std::filesystem::remove_all(round_.journal);
            std::filesystem::remove(round_.journal + ".log");
        }
    }

    Round round_;
    std::vector<Actor> actors_;
    std::unique_ptr<SharedLog> log_;
    uint64_t seed_ = 0, seconds_ = 0, random_ = 0;
    uint64_t total_work_ = 0, total_deaths_ = 0;
};

INSTANTIATE_TEST_SUITE_P(On, Storm, testing::ValuesIn(kinds),
                         [](const testing::TestParamInfo<Kind> &info) { return std::string(info.param.name); });

TEST_P(Storm, LosesDuplicatesReordersInventsAndHangsNothing)
{
    constexpr uint64_t below = 16 * segment;
    constexpr uint64_t firsts[] = {(UINT64_C(1) << 32) - below, (UINT64_C(1) << 63) - below, 0,
                                   (UINT64_C(1) << 44) - below};
    constexpr uint32_t round_count = 2 * std::size(firsts); /* each with many slots and with few */
    std::string disk = environment_or_skip("WEIR_TEST_DIR") + "/" + GetParam().name;
    uint64_t round_ms = std::clamp<uint64_t>(seconds_ * 1000 / round_count, 100, 5000);
    uint64_t end_ms = now_ms() + seconds_ * 1000;
    uint32_t rounds = 0;
    for (; !HasFailure() && (rounds < round_count || now_ms() < end_ms); rounds++) {
        uint64_t seed = mix(seed_ + rounds);
        Round round = {GetParam(),      seed,          firsts[rounds / 2 % std::size(firsts)],
                       rounds % 2 == 1, seed % 4 == 0, round_ms,
                       path("storm"),   disk};
        SCOPED_TRACE("WEIR_STORM_SEED=" + std::to_string(seed_) + ", round " + std::to_string(rounds) +
                     ", first position " + std::to_string(round.first) + (round.few ? ", few slots" : "") +
                     (round.fenced ? ", fenced" : ""));
        [&] {
            ASSERT_NO_FATAL_FAILURE(begin(round));
            ASSERT_NO_FATAL_FAILURE(blow());
            ASSERT_NO_FATAL_FAILURE(calm_down());
            ASSERT_NO_FATAL_FAILURE(check_all());
            check_ring();
        }();
        end();
    }
    printf("storm: %s: %u rounds, %llu messages sent or read, %llu deaths\n", GetParam().name, rounds,
           (unsigned long long)total_work_, (unsigned long long)total_deaths_);
}

} // namespace
