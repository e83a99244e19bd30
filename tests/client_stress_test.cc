/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many processes on a ring of few small segments, on each kind of ring, at positions where numbers of 32 and 63 bits end.
 * What each reader saw is held against what each publisher sent: each message once, whole, in its publisher's order and
 * in the ring's, or within a gap that the reader was told. In the second round publishers are killed with SIGKILL and
 * resume under their names, readers too, and all are stopped at random.
 */
// test: LINKS weir_client TIMEOUT 600

#include "tests/support/client_support.hh"

#include <atomic>

namespace
{

constexpr uint32_t publishers = 4, readers = 4;
constexpr uint32_t each_calm = sanitized ? 1500 : 6000, each_killed = sanitized ? 600 : 2500;
constexpr uint32_t each_most = each_calm;
constexpr uint32_t end_mark = publishers;

/* What a message says of itself; then a pattern up to its length. */
struct Body {
    uint32_t publisher;
    uint32_t sequence;
    uint32_t bytes;
};

std::string body_of(uint32_t publisher, uint32_t sequence)
{
    uint32_t mixed = (sequence + 1) * 2654435761u ^ publisher * 40503u;
    /* Mostly one cache line, sometimes several, now and then half a segment. */
    uint32_t bytes = mixed % 64 == 0 ? 2000 : mixed % 4 == 0 ? mixed >> 8 & 511 : mixed >> 8 & 31;
    bytes += sizeof(Body);
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

struct Log {
    std::atomic<uint64_t> sent[publishers][each_most + 1]; /* position + 1 of each sequence, 0: not told */
    std::atomic<uint32_t> sent_count, sent_allowed;
    struct {
        std::atomic<uint32_t> seen_count, gap_count;
        Seen seen[publishers * each_most + 1];
        weir_gap gaps[publishers * each_most];
    } reader[readers];
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

private:
    Log *log_;
};

/* -- the kinds ----------------------------------------------------------------------------------------------------- */

struct Kind {
    const char *name;
    int exclusive;
    int policy;
    int gating;
    int fenced;
    int journaled;
};

const Kind kinds[] = {
    {"SharedGated", 0, WEIR_BLOCK, 1, 0, 0},        {"SharedUngated", 0, WEIR_BLOCK, 0, 0, 0},
    {"SharedDropNew", 0, WEIR_DROP_NEW, 1, 0, 0},   {"SharedDropOld", 0, WEIR_DROP_OLD, 0, 0, 0},
    {"SharedFenced", 0, WEIR_BLOCK, 1, 1, 0},       {"SharedJournaled", 0, WEIR_BLOCK, 0, 0, 1},
    {"ExclusiveGated", 1, WEIR_BLOCK, 1, 0, 0},     {"ExclusiveDropOld", 1, WEIR_DROP_OLD, 0, 0, 0},
    {"ExclusiveJournaled", 1, WEIR_BLOCK, 0, 0, 1},
};

struct Case {
    Kind kind;
    uint64_t first;
    bool killing;
};

std::vector<Case> cases()
{
    std::vector<Case> all;
    for (const Kind &kind : kinds)
        for (uint64_t first : {UINT64_C(0), (UINT64_C(1) << 32) - 16 * 4096, (UINT64_C(1) << 44) - 16 * 4096,
                               (UINT64_C(1) << 63) - 16 * 4096})
            for (bool killing : {false, true})
                all.push_back({kind, first, killing});
    return all;
}

void PrintTo(const Case &value, std::ostream *out)
{
    *out << value.kind.name << " from " << value.first;
}

std::string case_name(const testing::TestParamInfo<Case> &info)
{
    int bits = info.param.first ? 63 - __builtin_clzll(info.param.first) + 1 : 0;
    return std::string(info.param.kind.name) + "At" + std::to_string(bits) + (info.param.killing ? "Killed" : "");
}

class ClientStress : public ClientTest, public testing::WithParamInterface<Case>
{
protected:
    static const Kind &kind()
    {
        return GetParam().kind;
    }
    static bool killing()
    {
        return GetParam().killing;
    }
    static uint32_t each()
    {
        return killing() ? each_killed : each_calm;
    }
    void SetUp() override
    {
        ClientTest::SetUp();
        RingOptions options = RingOptions()
                                  .with_exclusive(kind().exclusive)
                                  .with_policy(kind().policy)
                                  .with_journal(kind().journaled)
                                  .with_users(publishers + 1, readers + 1)
                                  .with_first(GetParam().first);
        options.fenced = kind().fenced;
        if (kind().journaled) /* nobody drains it: all must fit */
            options.with_segments(4096, 3000);
        ASSERT_EQ(create(options), 0) << weir_last_error();
    }

    /* -- publishers -- */

    /* Of an exclusive ring they take turns. */
    std::unique_ptr<Pub> open_publisher(uint32_t publisher) const
    {
        std::string name = "publisher-" + std::to_string(publisher);
        for (;;) {
            auto pub = std::make_unique<Pub>(bus_, "ring", name.c_str());
            if (pub->error == 0)
                return pub;
            if (pub->error != -EBUSY || !kind().exclusive) {
                ADD_FAILURE() << weir_last_error();
                return nullptr;
            }
            sched_yield();
        }
    }
    /* Until it is there: drop-new says that there is no room, and the caller comes again. */
    template <typename Call>
    static int until_taken(const Call &call)
    {
        int r;
        while ((r = call()) == -EAGAIN && kind().policy == WEIR_DROP_NEW)
            sched_yield();
        return r;
    }
    void note(uint32_t publisher, uint64_t sequence, uint64_t position) const
    {
        log_->sent[publisher][sequence] = position + 1;
        log_->sent_count++;
    }
    /* The next message or messages, one way or another; returns the last sequence. */
    uint64_t publish_next(const Pub &pub, uint32_t publisher, uint64_t sequence) const
    {
        std::string body = body_of(publisher, (uint32_t)sequence);
        uint64_t positions[3] = {};
        void *data = nullptr;
        weir_message messages[3];
        switch (sequence % 5) {
        case 0: /* in place, committing less than claimed */
            EXPECT_EQ(until_taken([&] {
                          return weir_pub_claim(pub, body.size() + sequence % 90, nullptr, WEIR_FOREVER, &data);
                      }),
                      0)
                << weir_last_error();
            memcpy(data, body.data(), body.size());
            EXPECT_EQ(weir_pub_commit(pub, body.size(), positions), 0) << weir_last_error();
            break;
        case 1: { /* a batch of up to three */
            size_t count = std::min<size_t>(1 + sequence / 5 % 3, each() - sequence + 1);
            std::vector<std::string> bodies;
            for (size_t i = 0; i < count; i++)
                bodies.push_back(body_of(publisher, (uint32_t)(sequence + i)).substr(0, 1300));
            for (size_t i = 0; i < count; i++)
                messages[i] = message_of(bodies[i]);
            EXPECT_EQ(until_taken([&] { return weir_pub_send_batch(pub, messages, count, WEIR_FOREVER, positions); }),
                      0)
                << weir_last_error();
            for (size_t i = 0; i < count; i++)
                note(publisher, sequence + i, positions[i]);
            return sequence + count - 1;
        }
        case 2: /* after a change of mind */
            EXPECT_EQ(until_taken([&] { return weir_pub_claim(pub, 100, nullptr, WEIR_FOREVER, &data); }), 0)
                << weir_last_error();
            memset(data, 0xee, 100);
            EXPECT_EQ(weir_pub_cancel(pub), 0) << weir_last_error();
            [[fallthrough]];
        case 3:
            EXPECT_EQ(
                until_taken([&] { return weir_pub_send(pub, body.data(), body.size(), WEIR_FOREVER, positions); }), 0)
                << weir_last_error();
            break;
        default:
            messages[0] = sequenced(body, sequence);
            EXPECT_EQ(until_taken([&] { return weir_pub_send_message(pub, messages, WEIR_FOREVER, positions); }), 0)
                << weir_last_error();
            break;
        }
        note(publisher, sequence, positions[0]);
        return sequence;
    }
    std::unique_ptr<Child> start_publisher(uint32_t publisher) const
    {
        return std::make_unique<Child>([this, publisher](const Line &) {
            for (bool done = false; !done && !HasFailure();) {
                std::unique_ptr<Pub> pub = open_publisher(publisher);
                ASSERT_NE(pub, nullptr);
                uint64_t sequence = pub->last_sequence();
                for (int i = 0; i < 400 && sequence < each() && !HasFailure(); i++) {
                    while (log_->sent_count >= log_->sent_allowed)
                        sched_yield();
                    sequence = publish_next(*pub, publisher, sequence + 1);
                }
                done = sequence >= each();
            }
        });
    }

    /* -- readers -- */

    void take(uint32_t reader, const weir_message &message, bool *ret_end) const
    {
        auto &log = log_->reader[reader];
        Body head = {};
        ASSERT_GE(message.data_bytes, sizeof(head));
        memcpy(&head, message.data, sizeof(head));
        if (head.publisher == end_mark) {
            *ret_end = true;
            return;
        }
        ASSERT_LT(head.publisher, publishers);
        ASSERT_EQ(text_of(message), body_of(head.publisher, head.sequence).substr(0, message.data_bytes));
        ASSERT_TRUE(message.data_bytes == head.bytes || message.data_bytes == 1300);
        ASSERT_EQ(message.sequence, head.sequence);
        ASSERT_LT(log.seen_count, publishers * each_most) << "more than were sent";
        log.seen[log.seen_count] = {message.position, message.next, head.publisher, head.sequence};
        log.seen_count++; /* killed before this: read again */
    }
    /* Each reader reads in a way of its own: the number of messages, or the error. */
    static int read_some(uint32_t reader, const Sub &sub, std::vector<weir_message> &messages, std::string &buffer)
    {
        int r;
        if (reader == 0)
            return weir_sub_next_batch(sub, messages.data(), messages.size(), WEIR_FOREVER);
        if (reader == 1)
            r = weir_sub_recv(sub, buffer.data(), buffer.size(), 0, messages.data());
        else
            r = sub.next(messages.data(), WEIR_FOREVER);
        if (r == -EAGAIN)
            sched_yield();
        return r == 0 ? 1 : r;
    }
    void read_all(uint32_t reader, const Line &line) const
    {
        auto &log = log_->reader[reader];
        uint64_t from = log.gap_count ? log.gaps[log.gap_count - 1].to : 0;
        if (log.seen_count)
            from = std::max(from, log.seen[log.seen_count - 1].next);
        SubOptions options;
        options.with_from(from ? from : WEIR_POSITION_START).with_spin(reader == 3 ? -1 : 0);
        options.gating = kind().gating;
        options.cursor = reader == 2 ? "place" : nullptr;
        Sub sub(bus_, "ring", options);
        ASSERT_EQ(sub.error, 0) << weir_last_error();
        if (options.cursor && sub.position() < from) { /* what it saved may be one message behind what it wrote down */
            ASSERT_EQ(weir_sub_seek(sub, from), 0) << weir_last_error();
        }
        line.say('r');
        std::vector<weir_message> messages(16);
        std::string buffer(4096, '\0');
        for (bool end = false; !end && !HasFailure();) {
            int count = read_some(reader, sub, messages, buffer);
            if (count == -EAGAIN)
                continue;
            if (count == -EPIPE) {
                ASSERT_LT(log.gap_count, publishers * each_most);
                log.gaps[log.gap_count] = sub.gap();
                log.gap_count++;
                continue;
            }
            ASSERT_GT(count, 0) << weir_last_error();
            for (int i = 0; i < count && !end; i++)
                ASSERT_NO_FATAL_FAILURE(take(reader, messages[i], &end));
            if (options.cursor) {
                ASSERT_EQ(weir_sub_save(sub, messages[0].next), 0) << weir_last_error();
            }
        }
    }
    std::unique_ptr<Child> start_reader(uint32_t reader) const
    {
        auto child = std::make_unique<Child>([this, reader](const Line &line) { read_all(reader, line); });
        EXPECT_EQ(child->line().hear(), 'r');
        return child;
    }

    SharedLog log_;
};

INSTANTIATE_TEST_SUITE_P(On, ClientStress, testing::ValuesIn(cases()), case_name);

TEST_P(ClientStress, EachMessageArrivesOnceInOrderAtEachReaderOrInAGapThatWasTold)
{
    std::vector<std::unique_ptr<Child>> reading, publishing;
    for (uint32_t i = 0; i < readers; i++)
        reading.push_back(start_reader(i));
    for (uint32_t i = 0; i < publishers; i++)
        publishing.push_back(start_publisher(i));

    /* Kills and stops follow the work that was done, not the clock: publishers get so much to do, and before they are
     * through with it something happens to one of them or to a reader. A share of it, so that it lasts for all deaths. */
    unsigned random = (unsigned)GetParam().first + 12345;
    auto draw = [&](unsigned below) {
        random = random * 1103515245 + 12345;
        return (random >> 16) % below;
    };
    for (int deaths = 0; killing() && deaths < 40;) {
        uint32_t goal = log_->sent_count + draw(each() / 20);
        log_->sent_allowed = goal + each() / 50;
        while (log_->sent_count < goal) {
            ASSERT_TRUE(std::any_of(publishing.begin(), publishing.end(), [](auto &child) { return !child->ended(); }));
            sched_yield();
        }
        uint32_t who = draw(publishers);
        if (draw(4) == 0) {
            Child &stopped = draw(2) ? *publishing[who] : *reading[who % readers];
            stopped.kill(SIGSTOP);
            for (unsigned i = 0; i < draw(500); i++)
                sched_yield();
            stopped.kill(SIGCONT);
        } else if (draw(5) == 0 && !kind().gating) {
            reading[who % readers]->kill_and_reap();
            reading[who % readers] = start_reader(who % readers);
        } else {
            publishing[who]->kill_and_reap();
            publishing[who] = start_publisher(who);
            deaths++;
        }
    }
    log_->sent_allowed = UINT32_MAX;
    for (const auto &child : publishing)
        EXPECT_EQ(child->result(), 0);
    {
        Pub pub(bus_, "ring");
        ASSERT_EQ(pub.error, 0) << weir_last_error();
        std::string end = body_of(end_mark, 0);
        ASSERT_EQ(until_taken([&] { return pub.send(end, WEIR_FOREVER); }), 0) << weir_last_error();
    }
    for (const auto &child : reading)
        ASSERT_EQ(child->result(), 0);

    /* Where each message stands: what its publisher was told, and what each reader saw. */
    std::map<std::pair<uint32_t, uint32_t>, uint64_t> positions;
    for (uint32_t p = 0; p < publishers; p++)
        for (uint32_t i = 1; i <= each(); i++)
            if (log_->sent[p][i])
                positions[{p, i}] = log_->sent[p][i] - 1;
    for (auto &log : log_->reader)
        for (uint32_t i = 0; i < log.seen_count; i++) {
            auto known =
                positions.emplace(std::make_pair(log.seen[i].publisher, log.seen[i].sequence), log.seen[i].position);
            ASSERT_EQ(known.first->second, log.seen[i].position) << "one message at two positions";
        }
    bool gaps_allowed = !kind().gating && !kind().journaled;
    if (!gaps_allowed) {
        ASSERT_EQ(positions.size(), publishers * each());
    }
    for (uint32_t r = 0; r < readers; r++) {
        SCOPED_TRACE("reader " + std::to_string(r));
        auto &log = log_->reader[r];
        uint32_t last[publishers] = {};
        std::map<uint64_t, uint64_t> gaps;
        for (uint32_t i = 0; i < log.gap_count; i++) {
            ASSERT_LT(log.gaps[i].from, log.gaps[i].to);
            ASSERT_EQ(log.gaps[i].reason, WEIR_GAP_OVERWRITTEN);
            gaps[log.gaps[i].from] = log.gaps[i].to;
        }
        auto in_gap = [&](uint64_t position) {
            auto behind = gaps.upper_bound(position);
            return behind != gaps.begin() && std::prev(behind)->second > position;
        };
        for (uint32_t i = 0; i < log.seen_count; i++) {
            const Seen &seen = log.seen[i];
            ASSERT_TRUE(i == 0 || seen.position >= log.seen[i - 1].next) << "out of order, or twice";
            ASSERT_GT(seen.sequence, last[seen.publisher]) << "out of its publisher's order";
            if (!gaps_allowed) {
                ASSERT_EQ(seen.sequence, last[seen.publisher] + 1) << "lost";
            }
            ASSERT_FALSE(in_gap(seen.position));
            last[seen.publisher] = seen.sequence;
        }
        uint32_t missing = 0;
        std::map<uint64_t, bool> here;
        for (uint32_t i = 0; i < log.seen_count; i++)
            here[log.seen[i].position] = true;
        for (const auto &message : positions) {
            if (here.count(message.second))
                continue;
            missing++;
            ASSERT_TRUE(in_gap(message.second)) << "lost without a word: " << message.first.second << " of publisher "
                                                << message.first.first << " at " << message.second;
        }
        EXPECT_EQ(log.seen_count + missing, positions.size());
        if (!gaps_allowed) {
            EXPECT_EQ(log.gap_count, 0u);
            EXPECT_EQ(log.seen_count, publishers * each());
        }
    }
    EXPECT_EQ(faults(), std::vector<std::string>());
    for (uint32_t p = 0; p < publishers; p++) {
        Pub pub(bus_, "ring", ("publisher-" + std::to_string(p)).c_str());
        EXPECT_EQ(pub.error, 0) << weir_last_error();
        EXPECT_EQ(pub.last_sequence(), each());
    }
}

} // namespace
