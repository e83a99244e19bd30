// SPDX-License-Identifier: Apache-2.0
// Threads on tiny rings of each kind, and a checker of every message: nothing lost, duplicated, reordered or invented, one
// total order at all readers. Publishers come and go; some "die" with a claim open, which others then repair.
// test: LINKS weir_ringbuf LABELS tsan TIMEOUT 300
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>

#include "tests/support/ring_fixture.h"

using namespace ringtest;

namespace
{

#if defined(__SANITIZE_THREAD__)
constexpr uint64_t kScale = 1; // thread sanitizer runs about twenty times slower
#else
constexpr uint64_t kScale = 16;
#endif

struct Kind {
    const char *name;
    uint32_t flags;
    uint32_t when_full;
    uint32_t publishers; // that stay to the end
    uint32_t readers;
    uint32_t slots;
    uint64_t start;
    uint32_t largest; // bytes of a body
    bool ghosts;      // besides, publishers that come, publish a little and die
    bool sleeper;     // the first reader is slow
};

const Kind kKinds[] = {
    {"shared_journaled", RING_JOURNALED, RING_BLOCK, 3, 2, 4, 0, 200, false, false},
    {"shared_journaled_dying", RING_JOURNALED, RING_BLOCK, 2, 2, 5, (1ull << 32) - 64 * 4096, 200, true, false},
    {"shared_journaled_large", RING_JOURNALED, RING_BLOCK, 3, 2, 4, (1ull << 44) - 64 * 4096, 4080, false, true},
    {"shared_journaled_slow_reader", RING_JOURNALED, RING_BLOCK, 2, 2, 6, 0, 100, false, true},
    {"shared_memory_gated", 0, RING_BLOCK, 3, 2, 3, (1ull << 63) - 64 * 4096, 200, false, true},
    {"shared_memory_gated_dying", 0, RING_BLOCK, 2, 2, 5, 0, 1000, true, false},
    {"shared_memory_drop_old", 0, RING_DROP_OLD, 3, 2, 6, 0, 200, false, true},
    {"shared_memory_drop_old_dying", 0, RING_DROP_OLD, 2, 2, 8, (1ull << 44) - 64 * 4096, 200, true, true},
    {"exclusive_journaled", RING_EXCLUSIVE | RING_JOURNALED, RING_BLOCK, 1, 2, 3, (1ull << 32) - 64 * 4096, 200, false,
     true},
    {"exclusive_memory_gated", RING_EXCLUSIVE, RING_BLOCK, 1, 3, 3, 0, 1000, false, false},
    {"exclusive_memory_drop_old", RING_EXCLUSIVE, RING_DROP_OLD, 1, 2, 5, (1ull << 63) - 64 * 4096, 300, false, true},
};

struct Entry {
    uint64_t position;
    uint64_t next;
    uint32_t who;
    uint64_t number;
    bool operator==(const Entry &other) const
    {
        return position == other.position && next == other.next && who == other.who && number == other.number;
    }
};

struct Gap {
    uint64_t from, to;
};

uint32_t random_next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

class Storm
{
public:
    explicit Storm(const Kind &k)
        : kind(k), ring(shape(k)), deadline(std::chrono::steady_clock::now() + std::chrono::seconds(120))
    {
    }

    static Shape shape(const Kind &k)
    {
        Shape s;
        s.flags = k.flags;
        s.when_full = k.when_full;
        s.publishers = (k.flags & RING_EXCLUSIVE) ? 1 : k.publishers + 1 + (k.ghosts ? 2 : 0);
        s.readers = k.readers;
        s.slots = k.slots;
        s.start = k.start;
        return s;
    }

    bool expired()
    {
        if (std::chrono::steady_clock::now() >= deadline)
            failed = true;
        return failed;
    }

    void wait()
    {
        sched_yield();
    }

    // Publishes number, as a copy, a cancelled claim before it, or at the head of a batch. Returns how many, 0 at the deadline.
    uint64_t publish(Publisher &publisher, uint32_t who, uint64_t number, uint64_t most, uint32_t *random,
                     std::vector<Entry> *log)
    {
        uint32_t dice = random_next(random) % 16;
        uint32_t count = dice < 2 && most >= 3 ? 3 : 1;
        uint32_t sizes[3], units[3], total = 0;
        for (uint32_t i = 0; i < count; i++) {
            sizes[i] = 16 + random_next(random) % (count == 1 ? kind.largest - 15 : kind.largest / 4);
            units[i] = ring_units(publisher.view, sizes[i]);
            total += units[i];
        }
        uint64_t position;
        int r;
        while ((r = ring_claim(publisher, total, &position)) == -EAGAIN) {
            if (expired())
                return 0;
            wait();
        }
        if (r < 0) {
            ADD_FAILURE() << "claim: " << r;
            failed = true;
            return 0;
        }
        if (dice == 2) {
            ring_cancel(publisher);
            return publish(publisher, who, number, most, random, log);
        }
        uint8_t *at = ring_claim_address(publisher);
        for (uint32_t i = 0, offset = 0; i < count; offset += units[i], i++) {
            std::string body = stamped(who, number + i, sizes[i]);
            memcpy(at + offset * RING_UNIT_BYTES + sizeof(struct ring_record), body.data(), body.size());
            if (i > 0)
                ring_batch_put(publisher, offset, units[i], (uint16_t)who, 0, sizes[i]);
            uint64_t start = position + (uint64_t)offset * RING_UNIT_BYTES;
            log->push_back({start, start + (uint64_t)units[i] * RING_UNIT_BYTES, who, number + i});
        }
        ring_commit_first(publisher, units[0], (uint16_t)who, 0, sizes[0]);
        return count;
    }

    void publisher_body(uint32_t who, uint64_t messages)
    {
        View view(ring);
        uint32_t random = who * 77 + 1;
        std::vector<Entry> log;
        uint64_t number = 0;
        while (number < messages && !failed) {
            Publisher publisher(ring, view);
            if (publisher.joined < 0) {
                if (expired())
                    break;
                wait();
                continue;
            }
            for (uint64_t stay = 200; stay > 0 && number < messages;) {
                uint64_t sent = publish(publisher, who, number, messages - number, &random, &log);
                if (sent == 0)
                    break;
                number += sent;
                stay -= std::min(stay, sent);
            }
            EXPECT_EQ(ring_visible_position(publisher) >= ring.start(), true);
        }
        keep(log);
    }

    // Comes, publishes a little, claims, and does nothing any more: dead, for the others. Its own next life repairs some.
    void ghost_body(uint32_t who, uint64_t lives)
    {
        View view(ring);
        uint32_t random = who * 77 + 1;
        std::vector<Entry> log;
        uint64_t number = 0;
        for (uint64_t life = 0; life < lives && !failed;) {
            Publisher publisher(ring, view);
            if (publisher.joined < 0) {
                if (expired())
                    break;
                wait();
                continue;
            }
            for (uint32_t i = random_next(&random) % 8; i > 0 && !failed; i--)
                number += publish(publisher, who, number, 1, &random, &log);
            uint64_t position;
            ring_claim(publisher, 1 + random_next(&random) % 4, &position);
            publisher.die();
            life++;
        }
        keep(log);
    }

    void keep(const std::vector<Entry> &log)
    {
        std::lock_guard<std::mutex> lock(mutex);
        published.insert(published.end(), log.begin(), log.end());
    }

    Entry read(const struct ring_item &item)
    {
        Entry entry = {item.position, item.next, 0, 0};
        if (!stamp_read(item.body, item.body_bytes, &entry.who, &entry.number) || entry.who != item.tag) {
            ADD_FAILURE() << "a record that nobody wrote at " << item.position;
            failed = true;
        }
        return entry;
    }

    // Stands in for weird: takes everything over into `journal` and moves `drained` behind itself.
    void drain_body()
    {
        View view(ring);
        struct ring_reader_state reader = {};
        reader.view = view;
        struct ring_item item;
        std::vector<Entry> taken;
        if (ring_reader_seek(&reader, ring.start()) < 0)
            failed = true;
        for (uint32_t idle = 0; !failed;) {
            int r = ring_reader_peek(&reader, &item);
            if (r > 0) {
                taken.push_back(read(item));
                ring_reader_pass(&reader, &item);
                if (taken.size() < 50)
                    continue;
            }
            uint64_t position = ring_reader_position(&reader);
            if (!taken.empty()) {
                std::lock_guard<std::mutex> lock(mutex);
                journal.insert(journal.end(), taken.begin(), taken.end());
                taken.clear();
            }
            journal_end = position;
            poke(&ring.control_block()->written, position);
            poke(&ring.control_block()->durable, position);
            poke(&ring.control_block()->drained, position);
            if (r > 0)
                continue;
            bool pending;
            if (r < 0 || (++idle % 4 == 0 && (r = ring_reader_look(&reader, &pending)) < 0)) {
                ADD_FAILURE() << "drain: " << r;
                failed = true;
            }
            if (position >= end_of_all || expired())
                break;
            wait();
        }
    }

    void reader_body(uint32_t index)
    {
        View view(ring);
        bool gating = !(kind.flags & RING_JOURNALED) && kind.when_full == RING_BLOCK;
        std::vector<Entry> got;
        std::vector<Gap> gaps;
        {
            Reader reader(ring, view, gating);
            ASSERT_EQ(reader.joined, 0);
            ASSERT_EQ(ring_reader_seek(reader, ring.start()), 0);
            joined++;
            for (uint32_t idle = 0; !failed;) {
                struct ring_item item;
                int r = ring_reader_peek(reader, &item);
                if (r > 0) {
                    got.push_back(read(item));
                    ring_reader_pass(reader, &item);
                    if (kind.sleeper && index == 0 && got.size() % 64 == 0)
                        for (int i = 0; i < 20; i++)
                            wait();
                    continue;
                }
                uint64_t position = ring_reader_position(reader);
                bool pending;
                if (r == 0 && ++idle % 4 == 0)
                    r = ring_reader_look(reader, &pending);
                if (r == -ENOENT)
                    r = from_elsewhere(reader, position, &got, &gaps);
                if (r < 0) {
                    ADD_FAILURE() << "reader " << index << " at " << position << ": " << r;
                    failed = true;
                }
                if (position >= end_of_all || expired())
                    break;
                if (r == 0)
                    wait();
            }
        }
        std::lock_guard<std::mutex> lock(mutex);
        read_by_all.push_back(got);
        gaps_of_all.push_back(gaps);
    }

    // Not in memory: from the journal, or over a gap.
    int from_elsewhere(Reader &reader, uint64_t position, std::vector<Entry> *got, std::vector<Gap> *gaps)
    {
        if (kind.flags & RING_JOURNALED) {
            ring_reader_outside(reader, position);
            std::lock_guard<std::mutex> lock(mutex);
            for (const Entry &entry : journal) {
                if (entry.position < position)
                    continue;
                got->push_back(entry);
                position = entry.next;
            }
            if (journal_end > position)
                position = journal_end;
        } else {
            uint64_t oldest;
            int r = ring_oldest_segment(
                reader.view, (position + ring.shape().segment_bytes() - 1) >> ring.shape().segment_shift, &oldest);
            if (r < 0)
                return r;
            gaps->push_back({position, oldest << ring.shape().segment_shift});
            position = oldest << ring.shape().segment_shift;
        }
        int r = ring_reader_seek(reader, position);
        if (r == -ENOENT)
            ring_reader_outside(reader, position);
        return r == -ENOENT || r == -EAGAIN ? 0 : r;
    }

    void check()
    {
        std::sort(published.begin(), published.end(),
                  [](const Entry &a, const Entry &b) { return a.position < b.position; });
        std::map<uint32_t, uint64_t> next;
        for (const Entry &entry : published)
            ASSERT_EQ(entry.number, next[entry.who]++)
                << "the order of publisher " << entry.who << " at " << entry.position;
        for (size_t i = 1; i < published.size(); i++)
            ASSERT_LE(published[i - 1].next, published[i].position);
        ASSERT_EQ(read_by_all.size(), kind.readers);
        for (size_t reader = 0; reader < read_by_all.size(); reader++)
            check_reader(read_by_all[reader], gaps_of_all[reader]);
        EXPECT_EQ(ring.faults(), std::vector<std::string>());
    }

    void check_reader(const std::vector<Entry> &got, const std::vector<Gap> &gaps)
    {
        size_t at = 0;
        auto missing = [&](const Entry &entry) {
            for (const Gap &gap : gaps)
                if (entry.position >= gap.from && entry.position < gap.to)
                    return true;
            return false;
        };
        if (kind.when_full != RING_DROP_OLD) {
            ASSERT_TRUE(gaps.empty());
        }
        for (const Entry &entry : got) {
            while (at < published.size() && published[at].position < entry.position) {
                ASSERT_TRUE(missing(published[at])) << "lost: position " << published[at].position;
                at++;
            }
            ASSERT_LT(at, published.size());
            ASSERT_TRUE(published[at] == entry) << "invented or doubled: position " << entry.position;
            at++;
        }
        for (; at < published.size(); at++)
            ASSERT_TRUE(missing(published[at])) << "lost at the end: position " << published[at].position;
    }

    void run(uint64_t messages)
    {
        std::vector<std::thread> readers, publishers;
        for (uint32_t i = 0; i < kind.readers; i++)
            readers.emplace_back([this, i] { reader_body(i); });
        if (kind.flags & RING_JOURNALED)
            readers.emplace_back([this] { drain_body(); });
        while (joined < kind.readers && !expired())
            wait();
        for (uint32_t i = 0; i < kind.publishers; i++)
            publishers.emplace_back([this, i, messages] { publisher_body(i + 1, messages); });
        for (uint32_t i = 0; kind.ghosts && i < 2; i++)
            publishers.emplace_back([this, i, messages] { ghost_body(100 + i, messages / 50); });
        for (std::thread &thread : publishers)
            thread.join();
        {
            Publisher last(ring);
            EXPECT_EQ(last.joined, 0);
            ring_sweep(last);
        }
        end_of_all = ring_end_position(ring.view());
        for (std::thread &thread : readers)
            thread.join();
        ASSERT_FALSE(failed) << ring.dump();
        check();
    }

    const Kind kind;
    Ring ring;
    std::mutex mutex;
    std::vector<Entry> published;
    std::vector<Entry> journal;
    std::atomic<uint64_t> journal_end{0};
    std::vector<std::vector<Entry>> read_by_all;
    std::vector<std::vector<Gap>> gaps_of_all;
    std::atomic<uint32_t> joined{0};
    std::atomic<uint64_t> end_of_all{UINT64_MAX};
    std::atomic<bool> failed{false};
    std::chrono::steady_clock::time_point deadline;
};

class EveryKindOfRing : public ::testing::TestWithParam<Kind>
{
};

TEST_P(EveryKindOfRing, carries_every_message_once_and_in_one_order)
{
    Storm storm(GetParam());
    storm.run(4000 * kScale);
}

INSTANTIATE_TEST_SUITE_P(stress, EveryKindOfRing, ::testing::ValuesIn(kKinds),
                         [](const ::testing::TestParamInfo<Kind> &parameter) {
                             return std::string(parameter.param.name);
                         });

} // namespace
