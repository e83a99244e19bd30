/* SPDX-License-Identifier: Apache-2.0 */
/* Quotas of the configuration reach the rings, with a journal and without, and change with it. */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing TIMEOUT 200

#include "tests/daemon_support.hh"

namespace
{

class DaemonQuota : public DaemonTest
{
protected:
    bool quota_becomes(const std::string &ring, uint64_t messages, uint64_t bytes)
    {
        return wait_until([&] {
            struct weir_ring_info now = info(ring);
            return now.size != 0 && now.quota_messages_per_second == messages && now.quota_bytes_per_second == bytes;
        });
    }
};

TEST_F(DaemonQuota, IsToldToRingsAndChangesWithTheConfiguration)
{
    struct weir_ring_options memory = small_ring();
    memory.journaled = 0;
    create("orders");
    create("memory", memory);
    std::string file = journal_ + "/../weird.conf";
    std::ofstream(file) << "[ring]\nquota_messages = 5k\n[ring mem*]\nquota_bytes = 1MiB\nquota_burst = 1s\n";
    Weird weird(bus_, journal_);
    weird.more_options = {"--config", file};
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_TRUE(quota_becomes("orders", 5000, 0));
    EXPECT_TRUE(quota_becomes("memory", 5000, 1 << 20));
    EXPECT_EQ(info("orders").quota_burst_ns, 100 * UINT64_C(1000000));
    EXPECT_EQ(info("memory").quota_burst_ns, UINT64_C(1000000000));
    create("later");
    EXPECT_TRUE(quota_becomes("later", 5000, 0));

    std::ofstream(file) << "[ring orders]\nquota_messages = none\n";
    ASSERT_EQ(::kill(weird.pid(), SIGHUP), 0);
    EXPECT_TRUE(quota_becomes("orders", 0, 0));
    EXPECT_TRUE(quota_becomes("memory", 0, 0));
    EXPECT_EQ(weird.stop(), 0) << weird.log();
}

/* Ten times what the quota lets through is offered: it comes at the quota's rate, all of it, and in order. */
TEST_F(DaemonQuota, HoldsForPublishersAndLosesNothing)
{
    constexpr uint64_t rate = 2000, count = 600;
    create("r");
    struct policy_rules rules = {};
    rules.room = {0, 1 << 20, 95, 90};
    rules.base.quota_messages = rate;
    rules.base.quota_burst_ms = 10;
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    ASSERT_TRUE(quota_becomes("r", rate, 0));
    struct weir_pub *pub = publisher("r");
    uint64_t begun_ns = shm_now_ns(), position = 0;
    for (uint64_t i = 0; i < count; i++)
        position = send(pub, std::to_string(i));
    uint64_t took_ms = (shm_now_ns() - begun_ns) / 1000000;
    EXPECT_GE(took_ms, (count - rate / 100 - 1) * 1000 / rate) << "faster than its quota";
    EXPECT_EQ(wait_durable(pub, position), 0) << weir_last_error();
    std::vector<Record> records = journal("r", info("r").ring_id, 16384, position + 64);
    ASSERT_EQ(records.size(), count);
    for (uint64_t i = 0; i < count; i++)
        EXPECT_EQ(records[i].data, std::to_string(i));
    weir_pub_close(pub);
}

/* What was owed at a rate that was a mistake is not owed any more when it is put right. */
TEST_F(DaemonQuota, ThatIsRaisedLetsThoseGoWhoWaited)
{
    create("r");
    struct policy_rules rules = {};
    rules.room = {0, 1 << 20, 95, 90};
    rules.base.quota_messages = 1;
    Embedded weird(bus_, journal_, &rules);
    ASSERT_EQ(weird.error, 0) << weird.why.text;
    ASSERT_TRUE(quota_becomes("r", 1, 0));
    struct weir_pub *pub = publisher("r");
    struct weir_message message = {};
    message.data = "x";
    message.data_bytes = 1;
    std::vector<struct weir_message> batch(200, message);
    ASSERT_EQ(weir_pub_send_batch(pub, batch.data(), batch.size(), 0, nullptr), 0) << weir_last_error();
    EXPECT_EQ(weir_pub_send(pub, "x", 1, 0, nullptr), -EAGAIN) << "it owes minutes";
    rules.base.quota_messages = 1000;
    ASSERT_EQ(weird_set_policies(weird.weird, &rules), 0);
    EXPECT_EQ(weir_pub_send(pub, "x", 1, deadline_ms * INT64_C(1000000), nullptr), 0) << weir_last_error();
    weir_pub_close(pub);
}

} // namespace
