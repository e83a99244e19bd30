/* SPDX-License-Identifier: Apache-2.0 */
/* Groups through the library: each call, each of its errors, what is delivered to whom, how often, and when. */
// test: LINKS weir_client TIMEOUT 120

#include "tests/support/group_support.hh"

extern "C" {
#include "shm/internal.h"
}

namespace
{

class ClientGroup : public GroupTest
{
protected:
    void SetUp() override
    {
        GroupTest::SetUp();
        ASSERT_EQ(create(RingOptions().with_users(2, 6).with_segments(4096, 16)), 0) << weir_last_error();
    }
    void TearDown() override
    {
        EXPECT_EQ(faults(), std::vector<std::string>());
        GroupTest::TearDown();
    }
    int made(GroupOptions options, const char *name = "other") const
    {
        return create_group(options, name);
    }
};

/* -- made, listed, looked at, removed ---------------------------------------------------------------------------------- */

TEST_F(ClientGroup, IsMadeListedAndRemoved)
{
    EXPECT_EQ(groups(), std::vector<std::string>());
    EXPECT_EQ(create_group(GroupOptions(), "b"), 0) << weir_last_error();
    EXPECT_EQ(weir_group_create(bus_.c_str(), "ring", "a", nullptr), 0) << weir_last_error();
    EXPECT_EQ(groups(), (std::vector<std::string>{"a", "b"}));
    GroupInfo info = group_info("a");
    EXPECT_EQ(info.lease_ns, 30 * s);
    EXPECT_EQ(info.backoff_ns, 0);
    EXPECT_EQ(info.backoff_max_ns, 300 * s);
    EXPECT_EQ(info.backoff_percent, 200u);
    EXPECT_EQ(info.jitter_percent, 0u);
    EXPECT_EQ(info.max_entries, 8192u);
    EXPECT_EQ(info.max_workers, 64u);
    EXPECT_EQ(info.entry_count + info.worker_count, 0u);
    EXPECT_NE(info.created_ns, 0u);
    EXPECT_EQ(group_info("b").lease_ns, WEIR_FOREVER);
    int calls = weir_group_list(
        bus_.c_str(), "ring", [](void *, const char *) { return 7; }, nullptr);
    EXPECT_EQ(calls, 7) << "stops early";
    EXPECT_EQ(weir_group_remove(bus_.c_str(), "ring", "a", 0), 0) << weir_last_error();
    EXPECT_EQ(groups(), (std::vector<std::string>{"b"}));
    EXPECT_EQ(weir_group_remove(bus_.c_str(), "ring", "a", 0), -ENOENT);
    EXPECT_EQ(weir_group_remove(bus_.c_str(), "ring", "a", 1), -ENOENT);
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), 0) << weir_last_error();
    EXPECT_EQ(list(), std::vector<std::string>());
    EXPECT_EQ(rmdir(bus_.c_str()), 0) << "nothing is left";
    ASSERT_EQ(mkdir(bus_.c_str(), 0755), 0);
    ASSERT_EQ(create(), 0);
}

TEST_F(ClientGroup, IsRefusedWhatItCannotBe)
{
    ASSERT_EQ(create_group(), 0);
    EXPECT_EQ(create_group(), -EEXIST);
    EXPECT_TRUE(told("group"));
    EXPECT_EQ(weir_group_create(bus_.c_str(), "ring", nullptr, nullptr), -EINVAL);
    EXPECT_EQ(weir_group_create(bus_.c_str(), "ring", ".x", nullptr), -EILSEQ);
    EXPECT_EQ(weir_group_create(bus_.c_str(), "ring", std::string(65, 'x').c_str(), nullptr), -ENAMETOOLONG);
    EXPECT_EQ(weir_group_create(bus_.c_str(), "ring", std::string(64, 'x').c_str(), nullptr), 0) << weir_last_error();
    EXPECT_EQ(weir_group_create(bus_.c_str(), "none", "group", nullptr), -ENOENT);
    const struct {
        void (*spoil)(GroupOptions &options);
    } spoilt[] = {
        {[](GroupOptions &o) { o.size--; }},
        {[](GroupOptions &o) { o.lease_ns = -1; }},
        {[](GroupOptions &o) { o.backoff_ns = -1; }},
        {[](GroupOptions &o) { o.backoff_max_ns = -1; }},
        {[](GroupOptions &o) { o.with_backoff(2, 1, 100); }},
        {[](GroupOptions &o) { o.with_backoff(1, 2, 99); }},
        {[](GroupOptions &o) { o.with_backoff(1, 2, 10001); }},
        {[](GroupOptions &o) { o.jitter_percent = 101; }},
        {[](GroupOptions &o) { o.max_entries = 16384; }},
        {[](GroupOptions &o) { o.max_workers = 1023; }},
        {[](GroupOptions &o) { o.from = 1; }},
        {[](GroupOptions &o) { o.from = 1 << 20; }},
    };
    for (size_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
        GroupOptions options;
        spoilt[i].spoil(options);
        EXPECT_EQ(made(options), -EINVAL) << i;
        EXPECT_STRNE(weir_last_error(), "") << i;
    }
    EXPECT_EQ(made(GroupOptions().with_entries(16383)), 0) << weir_last_error();
    EXPECT_EQ(groups().size(), 3u) << "what was refused left nothing";
    GroupInfo info = {};
    EXPECT_EQ(weir_group_inspect(bus_.c_str(), "ring", "group", &info), -EINVAL);
    info.size = sizeof info;
    EXPECT_EQ(weir_group_inspect(bus_.c_str(), "ring", "none", &info), -ENOENT);
    EXPECT_EQ(weir_group_inspect(bus_.c_str(), "ring", nullptr, &info), -EINVAL);
    EXPECT_EQ(weir_group_inspect(bus_.c_str(), "ring", "../ring", &info), -EILSEQ);
    EXPECT_EQ(weir_group_list(bus_.c_str(), "ring", nullptr, nullptr), -EINVAL);
    EXPECT_EQ(weir_group_remove(bus_.c_str(), "ring", nullptr, 0), -EINVAL);
}

TEST_F(ClientGroup, LeavesNothingWhereItsMakerDies)
{
    Child maker([&](const Line &) {
        shm_point_hook = [](const char *step) {
            if (strcmp(step, "part: complete") == 0)
                raise(SIGKILL);
        };
        (void)create_group();
    });
    EXPECT_EQ(maker.result(), -SIGKILL);
    EXPECT_EQ(groups(), std::vector<std::string>());
    EXPECT_EQ(create_group(), 0) << weir_last_error();
}

TEST_F(ClientGroup, TakesRoomForAReaderToBeMade)
{
    std::vector<std::unique_ptr<Sub>> subs;
    for (int i = 0; i < 6; i++)
        subs.push_back(std::make_unique<Sub>(bus_, "ring"));
    EXPECT_EQ(create_group(), -ENOSPC);
    subs.pop_back();
    EXPECT_EQ(create_group(), 0) << weir_last_error();
    GroupWorker worker(bus_);
    EXPECT_EQ(worker.error, 0);
    GroupWorker second(bus_);
    EXPECT_EQ(second.error, -ENOSPC) << "no reader's place is left";
}

TEST_F(ClientGroup, IsJoinedByAsManyAsItAdmits)
{
    GroupOptions options;
    options.max_workers = 2;
    ASSERT_EQ(create_group(options), 0);
    weir_worker_options wrong = WEIR_WORKER_OPTIONS_INIT;
    weir_worker *handle = nullptr;
    wrong.prefetch = 17;
    EXPECT_EQ(weir_worker_open(bus_.c_str(), "ring", "group", &wrong, &handle), -EINVAL);
    wrong.prefetch = 1;
    wrong.size++;
    EXPECT_EQ(weir_worker_open(bus_.c_str(), "ring", "group", &wrong, &handle), -EINVAL);
    EXPECT_EQ(weir_worker_open(bus_.c_str(), "ring", "group", nullptr, nullptr), -EINVAL);
    EXPECT_EQ(weir_worker_open(bus_.c_str(), "ring", nullptr, nullptr, &handle), -EINVAL);
    EXPECT_EQ(weir_worker_open(bus_.c_str(), "ring", "none", nullptr, &handle), -ENOENT);
    EXPECT_EQ(weir_worker_open(bus_.c_str(), "none", "group", nullptr, &handle), -ENOENT);
    EXPECT_EQ(handle, nullptr);
    auto one = std::make_unique<GroupWorker>(bus_);
    GroupWorker two(bus_);
    EXPECT_EQ(one->error | two.error, 0);
    EXPECT_EQ(GroupWorker(bus_).error, -ENOSPC);
    EXPECT_EQ(group_info().worker_count, 2u);
    EXPECT_EQ(weir_group_remove(bus_.c_str(), "ring", "group", 0), -EBUSY);
    one.reset();
    EXPECT_EQ(GroupWorker(bus_).error, 0) << weir_last_error();
    EXPECT_EQ(weir_group_remove(bus_.c_str(), "ring", "group", 1), 0) << weir_last_error();
    EXPECT_EQ(two.next(), "[EIDRM]");
    EXPECT_TRUE(told("group group of ring ring was removed")) << weir_last_error();
    EXPECT_EQ(create_group(), 0) << "another one of that name";
    EXPECT_EQ(two.next(), "[EIDRM]");
}

TEST_F(ClientGroup, BeginsWhereItIsTold)
{
    Pub pub(bus_, "ring");
    std::vector<uint64_t> positions = publish(pub, 0, 100);
    ASSERT_EQ(create_group(GroupOptions().with_from(WEIR_POSITION_END), "end"), 0);
    ASSERT_EQ(create_group(GroupOptions().with_from(positions[70]), "middle"), 0);
    ASSERT_EQ(create_group(GroupOptions(), "start"), 0);
    GroupOptions since;
    since.since_ns = UINT64_MAX / 2;
    ASSERT_EQ(create_group(since, "late"), 0) << weir_last_error();
    publish(pub, 100, 103);
    EXPECT_EQ(GroupWorker(bus_, 0, "end").drain(), numbers(100, 103));
    EXPECT_EQ(GroupWorker(bus_, 0, "middle").drain(), numbers(70, 103));
    EXPECT_EQ(GroupWorker(bus_, 0, "start").drain(), numbers(0, 103));
    EXPECT_EQ(GroupWorker(bus_, 0, "late").drain(), numbers(100, 103));
}

/* -- delivered ------------------------------------------------------------------------------------------------------------ */

TEST_F(ClientGroup, GivesEachMessageToOneWorkerAndAllToEachGroup)
{
    ASSERT_EQ(create_group() | create_group(GroupOptions(), "second"), 0);
    Pub pub(bus_, "ring");
    Sub sub(bus_, "ring");
    GroupWorker one(bus_, 1), two(bus_, 1), other(bus_, 0, "second");
    publish(pub, 0, 100);
    std::vector<std::string> all;
    for (int i = 0; i < 50; i++) {
        for (GroupWorker *worker : {&one, &two}) {
            all.push_back(worker->next());
            EXPECT_EQ(worker->ack(), 0);
        }
    }
    EXPECT_EQ(one.next(), "[EAGAIN]");
    std::sort(all.begin(), all.end());
    std::vector<std::string> expected = numbers(0, 100);
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(all, expected);
    EXPECT_EQ(other.drain(), numbers(0, 100)) << "in order, where nothing comes back";
    for (int i = 0; i < 100; i++)
        ASSERT_EQ(sub.text(), std::to_string(i));
    GroupInfo info = group_info();
    EXPECT_EQ(info.taken_count, 100u);
    EXPECT_EQ(info.acked_count, 100u);
    EXPECT_EQ(info.lag_bytes, 0u);
    EXPECT_EQ(info.unfinished_position, info.position);
}

TEST_F(ClientGroup, GivesMessagesWithTheirProperties)
{
    ASSERT_EQ(create_group(), 0);
    Pub pub(bus_, "ring");
    weir_message message = message_of("data", 77);
    message.has = WEIR_HAS_TIME;
    message.time_ns = 123;
    message.key = "key";
    message.key_bytes = 3;
    uint64_t position;
    ASSERT_EQ(weir_pub_send_message(pub, &message, 0, &position), 0);
    GroupWorker worker(bus_);
    ASSERT_EQ(worker.next(), "data#1");
    EXPECT_EQ(worker.task.message.tag, 77);
    EXPECT_EQ(worker.task.message.time_ns, 123u);
    EXPECT_EQ(std::string((const char *)worker.task.message.key, worker.task.message.key_bytes), "key");
    EXPECT_EQ(worker.task.message.position, position);
    EXPECT_EQ(worker.ack(), 0);
}

TEST_F(ClientGroup, TakesAndAcknowledgesInBatches)
{
    ASSERT_EQ(create_group(), 0);
    Pub pub(bus_, "ring");
    GroupWorker worker(bus_, 1);
    weir_task tasks[40];
    EXPECT_EQ(weir_worker_next_batch(worker, tasks, 0, 0), -EINVAL);
    EXPECT_EQ(weir_worker_next_batch(worker, tasks, 40, 0), -EAGAIN);
    publish(pub, 0, 50);
    EXPECT_EQ(weir_worker_next_batch(worker, tasks, 3, 0), 3);
    EXPECT_EQ(weir_worker_next_batch(worker, tasks + 3, 37, 0), 16) << "at most";
    for (int i = 0; i < 19; i++)
        EXPECT_EQ(text_of(tasks[i].message), std::to_string(i));
    size_t done = 99;
    EXPECT_EQ(weir_worker_ack(worker, tasks, 19, &done), 0) << weir_last_error();
    EXPECT_EQ(done, 19u);
    EXPECT_EQ(weir_worker_ack(worker, tasks, 0, &done), 0);
    EXPECT_EQ(done, 0u);
    EXPECT_EQ(weir_worker_next_batch(worker, tasks + 19, 8, 0), 8);
    EXPECT_EQ(weir_worker_ack(worker, &tasks[20], 1, nullptr), 0);
    EXPECT_EQ(weir_worker_ack(worker, tasks + 19, 8, &done), -ECANCELED) << "one of them was";
    EXPECT_EQ(done, 7u);
    EXPECT_EQ(weir_worker_ack(worker, tasks + 19, 8, &done), -ECANCELED);
    EXPECT_EQ(done, 0u);
    EXPECT_EQ(weir_worker_nack(worker, &tasks[19], 0), -ECANCELED);
    EXPECT_EQ(weir_worker_extend(worker, &tasks[19], s), -ECANCELED);
    EXPECT_EQ(group_info().acked_count, 27u);
    EXPECT_EQ(group_info().refused_count, 11u);
    EXPECT_EQ(worker.drain(), numbers(27, 50));
}

TEST_F(ClientGroup, TakesAheadWhatFitsAndGivesItBackUncounted)
{
    ASSERT_EQ(create_group(), 0);
    Pub pub(bus_, "ring");
    auto ahead = std::make_unique<GroupWorker>(bus_);
    GroupWorker none(bus_, 1);
    publish(pub, 0, 18);
    EXPECT_EQ(ahead->next(), "0#1");
    EXPECT_EQ(none.next(), "16#1") << "sixteen are taken at a time";
    EXPECT_EQ(none.next(), "17#1") << "one is";
    EXPECT_EQ(none.next(), "[EAGAIN]");
    EXPECT_EQ(group_info().held_count, 18u);
    ahead.reset(); /* with one delivered, and 15 that were not */
    EXPECT_EQ(group_info().open_count, 16u);
    std::vector<std::string> rest = none.drain();
    std::sort(rest.begin(), rest.end());
    std::vector<std::string> expected = numbers(1, 16);
    expected.push_back("0#2");
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(rest, expected);
}

/* -- given back ----------------------------------------------------------------------------------------------------------- */

TEST_F(ClientGroup, DeliversAgainWhatIsGivenBack)
{
    ASSERT_EQ(create_group(), 0);
    Pub pub(bus_, "ring");
    GroupWorker one(bus_), two(bus_);
    publish(pub, 0, 4);
    EXPECT_EQ(one.next(), "0#1");
    EXPECT_EQ(one.next(), "1#1");
    EXPECT_EQ(one.nack(), 0) << "one of a run";
    EXPECT_EQ(one.nack(), -ECANCELED);
    EXPECT_EQ(one.ack(), -ECANCELED);
    EXPECT_EQ(two.next(), "1#2");
    EXPECT_EQ(two.nack(), 0) << "all of a run";
    EXPECT_EQ(two.next(), "1#3");
    EXPECT_EQ(two.ack(), 0);
    EXPECT_EQ(one.drain(), numbers(2, 4));
    EXPECT_EQ(two.next(), "[EAGAIN]") << "0 is held";
    EXPECT_EQ(group_info().held_count, 1u);
    EXPECT_EQ(group_info().returned_count, 2u);
    EXPECT_EQ(weir_worker_nack(one, &one.task, -2), -EINVAL);
}

TEST_F(ClientGroup, CountsAttemptsToTheLastItCanTell)
{
    ASSERT_EQ(create_group(), 0);
    Pub pub(bus_, "ring");
    GroupWorker worker(bus_);
    publish(pub, 0, 1);
    for (int i = 1; i < 70; i++) {
        ASSERT_EQ(worker.next(), "0#" + std::to_string(i < 63 ? i : 63));
        ASSERT_EQ(worker.nack(), 0);
    }
}

int64_t now_ns()
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * s + now.tv_nsec;
}

TEST_F(ClientGroup, DeliversAgainWhenTheDelayIsOver)
{
    ASSERT_EQ(create_group(GroupOptions().with_backoff(20 * ms, 30 * ms, 200)), 0);
    Pub pub(bus_, "ring");
    GroupWorker worker(bus_), other(bus_);
    publish(pub, 0, 2);
    ASSERT_EQ(worker.next(), "0#1");
    weir_task first = worker.task;
    ASSERT_EQ(worker.next(), "1#1");
    int64_t begin = now_ns();
    ASSERT_EQ(worker.nack(30 * ms), 0);
    ASSERT_EQ(weir_worker_nack(worker, &first, WEIR_NACK_BACKOFF), 0);
    EXPECT_EQ(group_info().delayed_count, 2u);
    EXPECT_EQ(other.next(WEIR_FOREVER), "0#2") << "sleeps until the first one is due";
    EXPECT_GE(now_ns() - begin, 20 * ms);
    begin = now_ns();
    ASSERT_EQ(other.nack(WEIR_NACK_BACKOFF), 0) << "30 ms: no more than the limit";
    std::string next = worker.next(WEIR_FOREVER);
    EXPECT_EQ(next, "1#2");
    EXPECT_EQ(worker.ack(), 0);
    EXPECT_EQ(worker.next(WEIR_FOREVER), "0#3");
    EXPECT_GE(now_ns() - begin, 30 * ms);
    EXPECT_EQ(worker.ack(), 0);
}

TEST_F(ClientGroup, LeavesSomeOfTheBackoffOffByChance)
{
    GroupOptions options;
    options.with_backoff(WEIR_FOREVER / 2, WEIR_FOREVER, 10000);
    options.jitter_percent = 100;
    ASSERT_EQ(create_group(options), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    GroupWorker worker(bus_);
    publish(pub, 0, 1);
    ASSERT_EQ(worker.next(), "0#1");
    EXPECT_EQ(worker.nack(WEIR_NACK_BACKOFF), 0);
    EXPECT_EQ(group_info().delayed_count + group_info().open_count, 1u);
}

TEST_F(ClientGroup, SaysWhenItHasNoEntryLeft)
{
    ASSERT_EQ(create_group(GroupOptions().with_entries(2)), 0);
    Pub pub(bus_, "ring");
    GroupWorker one(bus_, 2), two(bus_, 2);
    publish(pub, 0, 8);
    ASSERT_EQ(one.next(), "0#1");
    ASSERT_EQ(two.next(), "2#1");
    EXPECT_EQ(one.nack(), -EAGAIN) << "one of two takes an entry of its own";
    EXPECT_TRUE(told("2 entries")) << weir_last_error();
    weir_task held = one.task;
    ASSERT_EQ(one.next(), "1#1");
    EXPECT_EQ(one.next(), "[EAGAIN]") << "nothing new is taken";
    EXPECT_EQ(one.next(20 * ms), "[ETIMEDOUT]");
    EXPECT_EQ(one.ack(), 0);
    EXPECT_EQ(one.ack(held), 0);
    EXPECT_EQ(one.next(), "4#1");
    EXPECT_EQ(two.ack(), 0);
    EXPECT_EQ(two.next(), "3#1");
    EXPECT_EQ(two.ack(), 0);
    EXPECT_EQ(two.next(), "6#1");
}

/* -- leases ----------------------------------------------------------------------------------------------------------------- */

TEST_F(ClientGroup, TakesBackWhatIsKeptBeyondTheLease)
{
    ASSERT_EQ(create_group(GroupOptions().with_lease(30 * ms)), 0);
    Pub pub(bus_, "ring");
    GroupWorker slow(bus_, 1), quick(bus_, 1), kept(bus_, 1);
    publish(pub, 0, 2);
    ASSERT_EQ(slow.next(), "0#1");
    ASSERT_EQ(kept.next(), "1#1");
    EXPECT_EQ(weir_worker_extend(kept, &kept.task, 0), -EINVAL);
    EXPECT_EQ(weir_worker_extend(kept, &kept.task, WEIR_FOREVER), 0) << weir_last_error();
    EXPECT_EQ(quick.next(WEIR_FOREVER), "0#2");
    EXPECT_EQ(slow.ack(), -ECANCELED);
    EXPECT_TRUE(told("lease")) << weir_last_error();
    EXPECT_EQ(slow.nack(), -ECANCELED);
    EXPECT_EQ(weir_worker_extend(slow, &slow.task, s), -ECANCELED);
    EXPECT_EQ(weir_worker_extend(quick, &quick.task, WEIR_FOREVER), 0);
    EXPECT_EQ(slow.next(200 * ms), "[ETIMEDOUT]") << "what was extended stays";
    EXPECT_EQ(quick.ack() | kept.ack(), 0);
    EXPECT_EQ(group_info().refused_count, 3u);
}

TEST_F(ClientGroup, DoesNotCountTheTimeInTheWorkersOwnHands)
{
    ASSERT_EQ(create_group(GroupOptions().with_lease(2 * s)), 0);
    Pub pub(bus_, "ring");
    publish(pub, 0, 5);
    GroupWorker worker(bus_), other(bus_);
    int64_t begin = now_ns();
    for (int i = 0; i < 5; i++) {
        ASSERT_EQ(worker.next(), std::to_string(i) + "#1");
        while (now_ns() < begin + (i + 1) * 600 * ms) { /* others look for leases that have run out */
            ASSERT_EQ(other.next(20 * ms), "[ETIMEDOUT]") << "after " << i;
        }
        ASSERT_EQ(worker.ack(), 0);
    }
}

/* One message that kills whoever touches it takes no others with it. */
TEST_F(ClientGroup, DeliversARunThatCameBackMessageByMessage)
{
    ASSERT_EQ(create_group(), 0);
    Pub pub(bus_, "ring");
    publish(pub, 0, 5);
    Child dies([&](const Line &) {
        GroupWorker worker(bus_);
        ASSERT_EQ(worker.next(), "0#1");
        raise(SIGKILL);
    });
    EXPECT_EQ(dies.result(), -SIGKILL);
    GroupWorker worker(bus_);
    ASSERT_EQ(worker.next(WEIR_FOREVER), "0#2");
    EXPECT_EQ(group_info().held_count, 1u);
    EXPECT_EQ(group_info().open_count, 4u);
    GroupWorker other(bus_);
    EXPECT_EQ(other.drain(), numbers(1, 5, 2));
    EXPECT_EQ(worker.ack(), 0);
}

/* -- gaps ------------------------------------------------------------------------------------------------------------------- */

TEST_F(ClientGroup, TellsWhatIsGone)
{
    ASSERT_EQ(create(RingOptions().with_policy(WEIR_DROP_OLD).with_users(1, 4).with_segments(4096, 2), "old"), 0);
    weir_group_options options = GroupOptions();
    ASSERT_EQ(weir_group_create(bus_.c_str(), "old", "group", &options), 0) << weir_last_error();
    Pub pub(bus_, "old");
    publish(pub, 0, 10);
    GroupWorker holder(bus_, 4, "group", "old"), worker(bus_, 4, "group", "old");
    ASSERT_EQ(holder.next(), "0#1");
    weir_gap gap = {};
    EXPECT_EQ(weir_worker_gap(worker, &gap), -ENOENT);
    ASSERT_EQ(worker.next(), "4#1");
    weir_task held = worker.task;
    /* Both have the first segment announced: it stays, and what lies behind it goes. */
    publish(pub, 10, 2000);
    for (int i = 5; i < 8; i++) {
        ASSERT_EQ(worker.next(), std::to_string(i) + "#1");
        ASSERT_EQ(worker.ack(), 0);
    }
    EXPECT_EQ(worker.ack(held), 0);
    std::vector<std::string> some = worker.drain();
    EXPECT_EQ(some.front(), "8#1");
    ASSERT_EQ(weir_worker_gap(worker, &gap), 0) << "drain() ends at the gap";
    EXPECT_EQ(gap.reason, (int)WEIR_GAP_OVERWRITTEN);
    EXPECT_EQ(gap.from % 4096, 0u);
    some = worker.drain();
    EXPECT_EQ(some.back(), "1999#1");
    EXPECT_EQ(holder.nack(), 0);
    /* Now nobody has the first segment announced: what comes back from it is gone. */
    holder.close();
    publish(pub, 2000, 4000);
    std::vector<std::string> after;
    int gaps = 0;
    for (std::string text; (text = worker.next()) != "[EAGAIN]";) {
        if (text == "[EPIPE]") {
            gaps++;
            ASSERT_EQ(weir_worker_gap(worker, &gap), 0);
            continue;
        }
        after.push_back(text);
        EXPECT_EQ(worker.ack(), 0);
    }
    EXPECT_EQ(after.back(), "3999#1");
    EXPECT_GE(gaps, 2) << "of what came back, and of what was not cut yet";
    GroupInfo info = {};
    info.size = sizeof info;
    ASSERT_EQ(weir_group_inspect(bus_.c_str(), "old", "group", &info), 0);
    EXPECT_EQ(info.gap_count, (uint64_t)gaps + 1);
    EXPECT_EQ(info.held_count + info.open_count, 0u) << "what is gone is finished";
    EXPECT_EQ(info.lag_bytes, 0u);
}

/* -- waiting ---------------------------------------------------------------------------------------------------------------- */

/* A worker in another process that waits for one message and says whether it was this one. */
class Waiting : public Child
{
public:
    Waiting(const std::string &bus, const std::string &expected, int64_t spin_ns)
        : Child([&](const Line &line) {
              GroupWorker worker(bus, 1, "group", "ring", spin_ns);
              ASSERT_EQ(worker.error, 0) << weir_last_error();
              line.say('r');
              std::string text = worker.next(WEIR_FOREVER);
              ASSERT_EQ(text, expected) << weir_last_error();
              if (text[0] != '[') {
                  ASSERT_EQ(worker.ack(), 0);
              }
          })
    {
        EXPECT_EQ(line().hear(), 'r');
        if (spin_ns == 0) {
            EXPECT_TRUE(wait_until_asleep());
        }
    }
};

class ClientGroupWait : public ClientGroup, public testing::WithParamInterface<int64_t>
{
};

INSTANTIATE_TEST_SUITE_P(Spin, ClientGroupWait, testing::Values(0, INT64_MAX));

TEST_P(ClientGroupWait, HearsOfNewMessages)
{
    ASSERT_EQ(create_group(), 0);
    Pub pub(bus_, "ring");
    Waiting waiting(bus_, "0#1", GetParam());
    publish(pub, 0, 1);
    EXPECT_EQ(waiting.result(), 0);
}

TEST_P(ClientGroupWait, HearsOfWhatIsGivenBack)
{
    ASSERT_EQ(create_group(), 0);
    Pub pub(bus_, "ring");
    publish(pub, 0, 1);
    GroupWorker worker(bus_);
    ASSERT_EQ(worker.next(), "0#1");
    Waiting waiting(bus_, "0#2", GetParam());
    ASSERT_EQ(worker.nack(), 0);
    EXPECT_EQ(waiting.result(), 0);
}

TEST_P(ClientGroupWait, HearsOfWhoLeaves)
{
    ASSERT_EQ(create_group(), 0);
    Pub pub(bus_, "ring");
    publish(pub, 0, 1);
    GroupWorker worker(bus_);
    ASSERT_EQ(worker.next(), "0#1");
    Waiting waiting(bus_, "0#2", GetParam());
    worker.close();
    EXPECT_EQ(waiting.result(), 0);
}

TEST_P(ClientGroupWait, MeetsTheDead)
{
    ASSERT_EQ(create_group(), 0);
    Pub pub(bus_, "ring");
    publish(pub, 0, 1);
    Child holder([&](const Line &line) {
        GroupWorker worker(bus_);
        ASSERT_EQ(worker.next(), "0#1");
        line.say('h');
        line.hear();
    });
    ASSERT_EQ(holder.line().hear(), 'h');
    Waiting waiting(bus_, "0#2", GetParam());
    holder.kill_and_reap();
    EXPECT_EQ(waiting.result(), 0);
}

TEST_P(ClientGroupWait, EndsTheLeaseOfWhoIsStopped)
{
    ASSERT_EQ(create_group(GroupOptions().with_lease(20 * ms)), 0);
    Pub pub(bus_, "ring");
    publish(pub, 0, 1);
    Child holder([&](const Line &line) {
        GroupWorker worker(bus_);
        ASSERT_EQ(worker.next(), "0#1");
        line.say('h');
        line.hear();
        EXPECT_EQ(worker.ack(), -ECANCELED) << "it was stopped for longer than its lease";
    });
    ASSERT_EQ(holder.line().hear(), 'h');
    ::kill(holder.pid(), SIGSTOP);
    Waiting waiting(bus_, "0#2", GetParam());
    EXPECT_EQ(waiting.result(), 0);
    ::kill(holder.pid(), SIGCONT);
    holder.line().say('a');
    EXPECT_EQ(holder.result(), 0);
}

TEST_P(ClientGroupWait, HearsOfTheEndOfGroupAndRing)
{
    ASSERT_EQ(create_group(), 0);
    {
        Waiting waiting(bus_, "[EIDRM]", GetParam());
        ASSERT_EQ(weir_group_remove(bus_.c_str(), "ring", "group", 1), 0);
        EXPECT_EQ(waiting.result(), 0);
    }
    ASSERT_EQ(create_group(), 0);
    Waiting waiting(bus_, "[EIDRM]", GetParam());
    ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0);
    EXPECT_EQ(waiting.result(), 0);
    ASSERT_EQ(create(), 0);
}

TEST_F(ClientGroup, IsInterruptedBySignals)
{
    ASSERT_EQ(create_group(), 0);
    Child waiting([&](const Line &line) {
        struct sigaction action = {};
        action.sa_handler = [](int) {};
        sigaction(SIGUSR1, &action, nullptr);
        GroupWorker worker(bus_);
        line.say('r');
        EXPECT_EQ(worker.next(WEIR_FOREVER), "[EINTR]");
        line.say('d');
    });
    ASSERT_EQ(waiting.line().hear(), 'r');
    while (!waiting.line().has_news(10)) /* at the first one it may not sleep yet */
        ::kill(waiting.pid(), SIGUSR1);
    EXPECT_EQ(waiting.result(), 0);
}

/* -- processes ---------------------------------------------------------------------------------------------------------------- */

TEST_F(ClientGroup, IsOfTheProcessThatOpenedIt)
{
    ASSERT_EQ(create_group(), 0);
    Pub pub(bus_, "ring");
    publish(pub, 0, 2);
    GroupWorker worker(bus_, 1);
    ASSERT_EQ(worker.next(), "0#1");
    Child forked([&](const Line &) {
        weir_task task;
        EXPECT_EQ(weir_worker_next(worker, 0, &task), -ECHILD);
        EXPECT_EQ(weir_worker_next_batch(worker, &task, 1, 0), -ECHILD);
        EXPECT_EQ(worker.ack(), -ECHILD);
        EXPECT_EQ(worker.nack(), -ECHILD);
        EXPECT_EQ(weir_worker_extend(worker, &worker.task, 1), -ECHILD);
        worker.close();
    });
    EXPECT_EQ(forked.result(), 0);
    EXPECT_EQ(group_info().held_count, 1u) << "the child harmed nobody";
    EXPECT_EQ(worker.ack(), 0) << weir_last_error();
    EXPECT_EQ(worker.next(), "1#1");
}

TEST_F(ClientGroup, IsWorkedBySubscribersAloneAndMadeByTheOwner)
{
    if (!is_root())
        GTEST_SKIP() << "takes another user";
    ASSERT_EQ(create(RingOptions().with_mode(0644).with_users(1, 4), "shown"), 0);
    ASSERT_EQ(create(RingOptions().with_mode(0600).with_users(1, 4), "hidden"), 0);
    for (const char *ring : {"shown", "hidden"})
        ASSERT_EQ(weir_group_create(bus_.c_str(), ring, "group", nullptr), 0);
    Pub pub(bus_, "shown");
    publish(pub, 0, 1);
    Child other([&](const Line &) {
        ASSERT_TRUE(become(nobody, nobody));
        GroupWorker worker(bus_, 0, "group", "shown");
        EXPECT_EQ(worker.next(), "0#1") << weir_last_error();
        EXPECT_EQ(worker.ack(), 0);
        EXPECT_EQ(weir_group_create(bus_.c_str(), "shown", "mine", nullptr), -EACCES);
        EXPECT_EQ(weir_group_remove(bus_.c_str(), "shown", "group", 1), -EACCES);
        EXPECT_EQ(GroupWorker(bus_, 0, "group", "hidden").error, -EACCES);
    });
    EXPECT_EQ(other.result(), 0);
}

/* -- damage ---------------------------------------------------------------------------------------------------------------- */

class GroupFile
{
public:
    explicit GroupFile(const std::string &path)
    {
        int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
        struct stat status;
        EXPECT_EQ(fstat(fd, &status), 0);
        bytes = (size_t)status.st_size;
        memory = static_cast<char *>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
        close(fd);
    }
    ~GroupFile()
    {
        munmap(memory, bytes);
    }
    size_t bytes;
    char *memory;
};

TEST_F(ClientGroup, IsRefusedWhenItsFileIsAnothers)
{
    ASSERT_EQ(create_group(), 0);
    GroupInfo info = {};
    info.size = sizeof info;
    std::string file = path("ring/group.group");
    ASSERT_EQ(link(file.c_str(), path("ring/group.renamed").c_str()), 0);
    EXPECT_EQ(GroupWorker(bus_, 0, "renamed").error, -EBADMSG);
    EXPECT_EQ(weir_group_inspect(bus_.c_str(), "ring", "renamed", &info), -EBADMSG);
    EXPECT_EQ(weir_group_remove(bus_.c_str(), "ring", "renamed", 0), -EBADMSG);
    EXPECT_EQ(weir_group_remove(bus_.c_str(), "ring", "renamed", 1), 0) << weir_last_error();
    ASSERT_EQ(symlink("group.group", path("ring/group.link").c_str()), 0);
    EXPECT_EQ(GroupWorker(bus_, 0, "link").error, -EMEDIUMTYPE);
    ASSERT_EQ(mkfifo(path("ring/group.pipe").c_str(), 0600), 0);
    EXPECT_EQ(weir_group_inspect(bus_.c_str(), "ring", "pipe", &info), -EMEDIUMTYPE);
    GroupFile mapped(file);
    memset(mapped.memory, 0, 8);
    EXPECT_EQ(GroupWorker(bus_).error, -EMEDIUMTYPE);
    ASSERT_EQ(truncate(file.c_str(), 4096), 0);
    EXPECT_EQ(GroupWorker(bus_).error, -EMEDIUMTYPE);
    ASSERT_EQ(truncate(file.c_str(), 0), 0);
    EXPECT_EQ(GroupWorker(bus_).error, -EMEDIUMTYPE);
    ASSERT_EQ(truncate(file.c_str(), 1 << 20), 0);
    EXPECT_EQ(GroupWorker(bus_).error, -EMEDIUMTYPE) << "it has holes";
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 0, 0), 0) << weir_last_error();
    ASSERT_EQ(create(), 0);
}

TEST_F(ClientGroup, SaysWhenAnEntryTellsOfMessagesThatThereAreNot)
{
    Pub pub(bus_, "ring");
    publish(pub, 0, 100); /* a unit each: the second segment begins at 4096 */
    const struct {
        uint64_t start, end, count, mask;
    } entries[] = {
        {32, 128, 1, 1},                       /* not a record's position */
        {128, 64, 1, 1},                       /* ends before it begins */
        {64, 64, 1, 1},                        /* is empty */
        {4032, 4160, 2, 3},                    /* lies in two segments */
        {64 * 100, 64 * 101, 1, 1},            /* behind the end */
        {1ull << 62, (1ull << 62) + 64, 1, 1}, /* far behind it */
        {64, 128, 0, 1},                       /* has no message */
        {64, 1152, 17, 1},                     /* more than a run has */
        {64, 128, 1, 3},                       /* a mask of more than there are */
        {64, 192, 2, 8},
    };
    for (const auto &entry : entries) {
        ASSERT_EQ(create_group(GroupOptions().with_from(WEIR_POSITION_END)), 0) << weir_last_error();
        {
            GroupFile file(path("ring/group.group"));
            GroupWorker worker(bus_);
            uint64_t used = 1, run[4] = {4 | entry.mask << 3 | 1ull << 43, 0, entry.start, entry.end | entry.count};
            memcpy(file.memory + file.bytes - 4096, run, sizeof run); /* 64 entries are the last page */
            memcpy(file.memory + 392, &used, sizeof used);
            EXPECT_EQ(worker.next(), "[EBADMSG]") << entry.start << " to " << entry.end;
            EXPECT_TRUE(told("damaged")) << weir_last_error();
            EXPECT_EQ(worker.next(), "[EAGAIN]") << "the others go on";
        }
        ASSERT_EQ(weir_group_remove(bus_.c_str(), "ring", "group", 0), 0) << weir_last_error();
    }
    /* A cursor far behind the end. */
    ASSERT_EQ(create_group(), 0);
    GroupFile file(path("ring/group.group"));
    GroupWorker worker(bus_);
    uint64_t far = 1ull << 40;
    memcpy(file.memory + 256, &far, sizeof far);
    EXPECT_EQ(worker.next(), "[EBADMSG]");
}

/* Whatever a fellow worker writes into the group: errors, or messages, and an end. */
TEST_F(ClientGroup, SurvivesAnyWordsInItsFile)
{
    uint64_t random = 7;
    auto draw = [&] { return random = random * 6364136223846793005ull + 1442695040888963407ull; };
    Pub pub(bus_, "ring");
    publish(pub, 0, 200);
    for (int round = 0; round < 60; round++) {
        ASSERT_EQ(create_group(GroupOptions().with_entries(8).with_lease(ms)), 0) << weir_last_error();
        {
            GroupWorker worker(bus_), other(bus_);
            worker.next();
            other.next();
            GroupFile file(path("ring/group.group"));
            for (int i = 0; i < 8; i++) {
                worker.next();
                for (int n = 0; n < 6; n++) { /* behind the constants: words that work uses */
                    size_t words = (file.bytes - 256) / 8;
                    uint64_t at = draw() >> 33;
                    if (at % 2)
                        words = 4 * 128 / 8;
                    uint64_t word = draw() >> 32 | draw() << 32;
                    memcpy(file.memory + 256 + at % words * 8, &word, 8);
                }
                /* Entries that look like ones to be taken. */
                uint64_t open = 4 | (draw() >> 40 & 0xffff) << 3 | (draw() >> 60) << 43;
                uint64_t start = (draw() >> 40) & ~63ull;
                uint64_t run[5] = {open, 0, start, (start + (draw() >> 50 & ~63ull)) | (draw() >> 59 & 31), 0};
                memcpy(file.memory + file.bytes - 4096 + (draw() >> 61) * 64, run, sizeof run);
                weir_task task = {};
                task.ticket = draw();
                worker.nack();
                other.ack();
                (void)weir_worker_ack(worker, &task, 1, nullptr);
                (void)weir_worker_nack(other, &task, WEIR_NACK_BACKOFF);
                (void)weir_worker_extend(other, &task, s);
                GroupInfo info = {};
                info.size = sizeof info;
                (void)weir_group_inspect(bus_.c_str(), "ring", "group", &info);
                for (int n = 0; n < 4; n++)
                    other.next(n ? 0 : ms);
            }
        }
        ASSERT_EQ(weir_group_remove(bus_.c_str(), "ring", "group", 1), 0) << weir_last_error();
    }
}

} // namespace
