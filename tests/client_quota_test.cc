/* SPDX-License-Identifier: Apache-2.0 */
/* What the publishers of a ring may send together: never more, in the long run no less, whoever they are. */
// test: LINKS weir_client weir_shm weir_ringbuf LABELS tsan TIMEOUT 120

#include "tests/support/client_support.hh"

#include <algorithm>
#include <random>
#include <thread>

#include <sys/mman.h>

extern "C" {
#include "client/quota.h"
#include "shm/shm.h"
}

namespace
{

constexpr uint64_t second_ns = UINT64_C(1000000000);

/* -- the words ------------------------------------------------------------------------------------------------------ */

struct Words {
    explicit Words(uint64_t messages, uint64_t bytes, uint64_t burst_ns) : control(new ring_control())
    {
        control->quota_messages.raw = messages;
        control->quota_bytes.raw = bytes;
        control->quota_burst_ns.raw = burst_ns;
    }
    /* Takes at a time that only the test knows; 0, or how long to wait. */
    uint64_t take(uint64_t now_ns, uint64_t messages, uint64_t bytes = 64)
    {
        struct quota_amount amount = {messages, bytes};
        return quota_take(control.get(), &amount, now_ns, &share);
    }
    /* What was taken last, or somebody kept. */
    void give_back(uint64_t now_ns)
    {
        give_back(now_ns, share);
    }
    void give_back(uint64_t now_ns, const struct quota_share &taken)
    {
        quota_give_back(control.get(), &taken, now_ns);
    }
    /* As weird does. */
    void change(uint64_t messages)
    {
        control->quota_messages.raw = messages;
        control->quota_messages_due.raw = 0;
    }
    struct quota_share share = {};
    std::unique_ptr<ring_control> control;
};

/*
 * Takers that come at random, some of them in batches, some late: over every span of time no more than rate x span + burst,
 * and, as somebody always wants more, within 1 % of the rate in the end.
 */
void keep_the_rate(uint64_t rate, uint64_t burst_ns, uint64_t seed)
{
    SCOPED_TRACE("rate " + std::to_string(rate) + ", burst " + std::to_string(burst_ns) + " ns, seed " +
                 std::to_string(seed));
    std::mt19937_64 random(seed);
    Words words(rate, 0, burst_ns);
    uint64_t now = 1000 + random() % second_ns, begun = now, sent = 0;
    std::vector<std::pair<uint64_t, uint64_t>> all; /* when, how many by then */
    while (all.size() < 3000) {
        uint64_t count = 1 + (random() % 4 == 0 ? random() % 8 : 0);
        uint64_t wait = words.take(now, count);
        if (wait == 0) {
            sent += count;
            all.emplace_back(now, sent);
        } else {
            ASSERT_EQ(words.take(now + wait - 1 - wait / 1000, count) > 0, true) << "told to wait longer than needed";
            now += wait + random() % 100;
        }
        now += random() % 3 * (burst_ns / 1000);
    }
    double most_at_once = (double)burst_ns * (double)rate / 1e9 + 8 + 1; /* a batch may be larger than the burst */
    for (size_t i = 0; i < all.size(); i += 7) {
        for (size_t k = i + 1; k < all.size(); k += 11) {
            double span_s = (double)(all[k].first - all[i].first) / 1e9;
            ASSERT_LE((double)(all[k].second - all[i].second), span_s * (double)rate * 1.0001 + most_at_once);
        }
    }
    double took_s = (double)(now - begun) / 1e9;
    EXPECT_NEAR((double)sent / took_s, (double)rate,
                (double)rate * 0.01 + most_at_once / took_s + 1000 * (double)rate / 1e9 * (double)rate);
}

TEST(Quota, IsNeverExceededAndUsedUpByWhoeverWantsMore)
{
    for (uint64_t rate : {UINT64_C(10), UINT64_C(1000), UINT64_C(1000000)}) {
        for (uint64_t burst_ns : {UINT64_C(0), UINT64_C(1000000), 100 * UINT64_C(1000000)}) {
            for (uint64_t seed = 1; seed <= 3; seed++)
                keep_the_rate(rate, burst_ns, seed);
        }
    }
}

TEST(Quota, OfBytesAndOfMessagesBothHoldAndNothingIsTakenByHalves)
{
    Words words(1000, 64000, second_ns / 100); /* 10 messages, or 640 bytes, at once */
    uint64_t now = second_ns;
    EXPECT_EQ(words.take(now, 1, 640), 0u);
    uint64_t messages_due = words.control->quota_messages_due.raw;
    EXPECT_GT(words.take(now, 1, 64), 0u) << "the bytes are used up";
    EXPECT_EQ(words.control->quota_messages_due.raw, messages_due) << "and no message was counted";
    words.control->quota_bytes.raw = 0;
    for (int i = 0; i < 9; i++)
        EXPECT_EQ(words.take(now, 1), 0u);
    EXPECT_GT(words.take(now, 1), 0u);
    words.give_back(now);
    EXPECT_EQ(words.take(now, 1), 0u);
}

/* Who waited for room in vain, until its share had run out, does not take away what others owe. */
TEST(Quota, IsNotGivenBackWhatTimeHasWorkedOff)
{
    Words words(1000, 0, second_ns / 10);
    uint64_t now = second_ns, sent = 0;
    std::vector<struct quota_share> waiting;
    while (words.take(now, 1) == 0)
        waiting.push_back(words.share);
    EXPECT_EQ(waiting.size(), 100u);
    now += second_ns;
    while (words.take(now, 1) == 0)
        sent++;
    for (const struct quota_share &share : waiting)
        words.give_back(now, share);
    while (words.take(now, 1) == 0)
        sent++;
    EXPECT_EQ(sent, 100u);
}

/* Half of it has been worked off when the other half comes back. */
TEST(Quota, IsGivenBackInPartWhereSomeTimeHasPassed)
{
    Words words(1000, 0, second_ns / 10);
    uint64_t now = second_ns, sent = 0;
    ASSERT_EQ(words.take(now, 100), 0u);
    now += second_ns / 20;
    words.give_back(now);
    while (words.take(now, 1) == 0)
        sent++;
    EXPECT_EQ(sent, 100u);
}

TEST(Quota, IsNotGivenBackBeyondAChange)
{
    Words words(10, 0, second_ns);
    uint64_t now = second_ns, sent = 0;
    ASSERT_EQ(words.take(now, 10), 0u);
    struct quota_share of_old = words.share;
    words.change(1000);
    while (words.take(now, 1) == 0)
        sent++;
    EXPECT_EQ(sent, 1000u) << "what was owed at the old rate is not owed any more";
    words.give_back(now, of_old);
    EXPECT_GT(words.take(now, 1), 0u);
    words.control->quota_messages.raw = 0;
    ASSERT_EQ(words.take(now, 1), 0u);
    struct quota_share of_none = words.share;
    words.change(1000);
    ASSERT_EQ(words.take(now, 1000), 0u);
    words.give_back(now, of_none);
    EXPECT_GT(words.take(now, 1), 0u) << "it was never taken";
    struct quota_share of_same = words.share;
    words.control->quota_burst_ns.raw = second_ns / 2;
    words.change(1000);
    ASSERT_EQ(words.take(now, 500), 0u);
    words.give_back(now, of_same);
    EXPECT_GT(words.take(now, 1), 0u) << "the burst was another";
}

/*
 * Takers of small messages and of such as take longer than the burst, or half of it, who all want more at any time and come
 * when they were told to: at each such time, in any order.
 */
TEST(Quota, KeepsNobodyOutForTheSizeOfItsMessages)
{
    for (uint64_t size : {50, 99, 100, 300}) {
        std::mt19937_64 random(size);
        Words words(1000, 0, second_ns / 10);
        uint64_t now = second_ns, begun = now, went[4] = {}, sent = 0;
        const uint64_t sizes[4] = {1, size, 1, size};
        size_t order[4] = {0, 1, 2, 3};
        while (now - begun < 1000 * second_ns) {
            uint64_t soonest = UINT64_MAX;
            std::shuffle(order, order + 4, random);
            for (size_t who : order) {
                uint64_t wait = words.take(now, sizes[who]);
                soonest = wait < soonest ? wait : soonest;
                went[who] += wait == 0;
                sent += wait == 0 ? sizes[who] : 0;
            }
            now += soonest;
        }
        for (uint64_t times : went)
            EXPECT_GT(times, 100u) << "of " << size;
        EXPECT_NEAR((double)sent, 1e6, 1e3);
    }
}

TEST(Quota, WhatIsLargerThanTheBurstPaysForItBehind)
{
    Words words(1000, 0, 0);
    uint64_t now = second_ns;
    EXPECT_EQ(words.take(now, 500), 0u);
    uint64_t wait = words.take(now, 1);
    EXPECT_NEAR((double)wait, 0.5e9, 1e6);
    EXPECT_EQ(words.take(now + wait, 1), 0u);
}

TEST(Quota, AWordThatSomebodyScribbledOverHoldsNobodyForEver)
{
    Words words(1000, 0, 0);
    words.control->quota_messages_due.raw = UINT64_MAX;
    EXPECT_EQ(words.take(second_ns, 1), 0u);
}

TEST(Quota, IsExactWithManyAtOnce)
{
    constexpr uint64_t rate = 1000, burst_ns = second_ns / 10;
    Words words(rate, 0, burst_ns);
    struct mem_u64 taken = {0};
    std::vector<std::thread> all;
    for (int i = 0; i < 4; i++) {
        all.emplace_back([&] {
            for (int k = 0; k < 1000; k++) {
                if (words.take(second_ns, 1) == 0) /* all at one instant */
                    mem_add(&taken, 1);
            }
        });
    }
    for (std::thread &thread : all)
        thread.join();
    EXPECT_EQ(mem_load_acquire(&taken), 100u);
}

/* -- publishers ----------------------------------------------------------------------------------------------------- */

class ClientQuota : public ClientTest
{
protected:
    void set(uint64_t messages, uint64_t bytes, uint64_t burst_ns)
    {
        int fd = open((bus_ + "/ring/control").c_str(), O_RDWR | O_CLOEXEC);
        auto *control = static_cast<struct ring_control *>(
            mmap(nullptr, RING_CONTROL_HEADER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
        ASSERT_NE(control, MAP_FAILED);
        mem_store_relaxed(&control->quota_burst_ns, burst_ns);
        mem_store_relaxed(&control->quota_messages, messages);
        mem_store_relaxed(&control->quota_bytes, bytes);
        munmap(control, RING_CONTROL_HEADER_BYTES);
        close(fd);
    }
};

TEST_F(ClientQuota, PublishersWaitForTheirTurnTogether)
{
    ASSERT_EQ(create(RingOptions().with_users(2, 1)), 0);
    set(1000, 0, second_ns / 100);
    Pub one(bus_, "ring"), two(bus_, "ring");
    uint64_t begun_ns = shm_now_ns();
    for (int i = 0; i < 50; i++) {
        ASSERT_EQ(one.send("one", 20 * 1000 * ms), 0) << weir_last_error();
        ASSERT_EQ(two.send("two", 20 * 1000 * ms), 0) << weir_last_error();
    }
    EXPECT_GE(shm_now_ns() - begun_ns, second_ns * (100 - 10 - 1) / 1000) << "faster than a thousand a second";
    EXPECT_EQ(info().quota_messages_per_second, 1000u);
}

TEST_F(ClientQuota, WhoDoesNotWaitIsToldWhy)
{
    ASSERT_EQ(create(RingOptions()), 0);
    set(1, 0, 0);
    Pub pub(bus_, "ring");
    ASSERT_EQ(pub.send("first"), 0);
    EXPECT_EQ(pub.send("second"), -EAGAIN);
    EXPECT_TRUE(told("takes 1 messages")) << weir_last_error();
    EXPECT_EQ(pub.send("second", 5 * ms), -ETIMEDOUT);
    weir_message message = message_of("x");
    EXPECT_EQ(weir_pub_send_batch(pub, &message, 1, 0, nullptr), -EAGAIN);
    void *data = nullptr;
    EXPECT_EQ(weir_pub_claim(pub, 1, nullptr, 0, &data), -EAGAIN);
    EXPECT_EQ(info().refused_count, 0u);
    set(0, 0, 0);
    EXPECT_EQ(pub.send("second"), 0) << weir_last_error();
    Sub sub(bus_, "ring");
    EXPECT_EQ(sub.text(), "first");
    EXPECT_EQ(sub.text(), "second");
    EXPECT_EQ(sub.text(), "[EAGAIN]") << "what was refused is not there";
}

TEST_F(ClientQuota, ARingThatDropsRefusesAndCounts)
{
    ASSERT_EQ(create(RingOptions().with_policy(WEIR_DROP_NEW)), 0);
    set(0, 1, 0);
    Pub pub(bus_, "ring");
    ASSERT_EQ(pub.send("first"), 0);
    EXPECT_EQ(pub.send("second", 20 * 1000 * ms), -EAGAIN);
    EXPECT_TRUE(told("quota")) << weir_last_error();
    EXPECT_EQ(info().refused_count, 1u);
}

TEST_F(ClientQuota, WhoWaitsIsToldWhenTheRingGoes)
{
    ASSERT_EQ(create(RingOptions()), 0);
    set(1, 0, 0);
    Pub pub(bus_, "ring");
    ASSERT_EQ(weir_pub_send(pub, "1234", 4, 0, nullptr), 0);
    std::vector<weir_message> batch(50, message_of("x")); /* pays for most of a minute */
    ASSERT_EQ(weir_pub_send_batch(pub, batch.data(), batch.size(), 5000 * ms, nullptr), 0) << weir_last_error();
    int result = 0;
    std::thread waiter([&] { result = pub.send("y", 40 * 1000 * ms); });
    auto waits = [&] {
        for (const weir_participant &participant : participants()) {
            if (participant.waiting_since_ns)
                return true;
        }
        return false;
    };
    while (!waits())
        std::this_thread::yield();
    ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0);
    waiter.join();
    EXPECT_EQ(result, -EIDRM);
}

} // namespace
