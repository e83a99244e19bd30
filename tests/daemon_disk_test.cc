/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journals on a small disk of their own, an ext4 or an xfs in a file: filled by publishers, by others to its last
 * block, and made room on again, with the daemon killed in each state. Nothing that a publisher was allowed to send is
 * lost, it stands in order, and weird goes on by itself.
 */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing TIMEOUT 300

#include "tests/daemon_support.hh"
#include "tests/mounts.hh"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include <sys/statvfs.h>

namespace
{

constexpr uint64_t mebi = 1 << 20;
constexpr uint64_t reserve_bytes = 4 * mebi;

struct Small {
    const char *type;
    const char *make; /* the command */
    enum weir_when_full when_full;
};

void PrintTo(const Small &small, std::ostream *out)
{
    *out << small.make;
}

/* A publisher that sends as fast as it may, and keeps what was taken from it. */
class Load
{
public:
    Load(struct weir_pub *pub, int number) : pub_(pub), number_(number), thread_([this] { run(); })
    {
    }
    Load(const Load &) = delete;
    Load &operator=(const Load &) = delete;
    ~Load()
    {
        stop();
        weir_pub_close(pub_);
    }
    void stop()
    {
        end_ = true;
        if (thread_.joinable())
            thread_.join();
    }
    uint64_t refused() const
    {
        return refused_;
    }
    /* Up to what was confirmed, or all. */
    void add_to(std::map<uint64_t, std::string> &all, bool confirmed)
    {
        std::lock_guard<std::mutex> lock(lock_);
        for (const auto &[position, text] : sent_) {
            if (!confirmed || position <= confirmed_)
                all[position] = text;
        }
    }

private:
    void run()
    {
        for (uint64_t count = 0; !end_;) {
            std::string text = std::to_string(number_) + "-" + std::to_string(count);
            text.resize(1000 + count % 64, 'x');
            uint64_t position = 0;
            int r = weir_pub_send(pub_, text.data(), text.size(), 20000000, &position);
            if (r < 0) {
                EXPECT_TRUE(r == -EAGAIN || r == -ETIMEDOUT || r == -EIO) << weir_last_error();
                refused_++;
                usleep(200);
                continue;
            }
            bool durable = ++count % 64 == 0 && weir_pub_wait(pub_, position, WEIR_DURABLE, 300000000) == 0;
            std::lock_guard<std::mutex> lock(lock_);
            sent_.emplace_back(position, text);
            confirmed_ = durable ? position : confirmed_;
        }
    }

    struct weir_pub *pub_;
    int number_;
    std::atomic<bool> end_{false};
    std::atomic<uint64_t> refused_{0};
    std::mutex lock_;
    std::vector<std::pair<uint64_t, std::string>> sent_;
    uint64_t confirmed_ = 0;
    std::thread thread_;
};

class DaemonDisk : public DaemonTest, public testing::WithParamInterface<Small>
{
protected:
    void SetUp() override
    {
        DaemonTest::SetUp();
        std::string image = journal_ + ".image";
        if (!mounts_of_our_own())
            GTEST_SKIP() << "a mount namespace is not permitted here";
        std::string why = make_image(image, GetParam().make);
        if (why.empty())
            why = mount_image(image, journal_);
        mounted_ = why.empty();
        if (!mounted_)
            GTEST_SKIP() << "no " << GetParam().type << " in a file can be had here: " << why;
    }
    void TearDown() override
    {
        if (mounted_) {
            EXPECT_EQ(umount2(journal_.c_str(), MNT_DETACH), 0);
        }
        DaemonTest::TearDown();
    }

    uint64_t free_bytes()
    {
        struct statvfs room = {};
        EXPECT_EQ(statvfs(journal_.c_str(), &room), 0);
        return (uint64_t)room.f_bavail * room.f_frsize;
    }
    void take_room(const char *name, uint64_t bytes)
    {
        int fd = open((journal_ + "/" + name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ASSERT_EQ(posix_fallocate(fd, 0, (off_t)bytes), 0);
        close(fd);
    }
    /* To the last block, that for root alone included. */
    void take_all(const char *name)
    {
        int fd = open((journal_ + "/" + name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        off_t at = 0;
        for (off_t part = mebi; part >= 4096; part /= 2) {
            while (fallocate(fd, 0, at, part) == 0)
                at += part;
        }
        EXPECT_EQ(errno, ENOSPC);
        close(fd);
    }
    void give_room(const char *name)
    {
        ASSERT_EQ(unlink((journal_ + "/" + name).c_str()), 0);
    }

    void start(Weird &weird)
    {
        weird.more_options = {"--config", journal_ + ".conf"};
        ASSERT_TRUE(weird.start()) << weird.log();
    }
    void start_again(Weird &weird)
    {
        weird.kill();
        start(weird);
    }

    /* The journal waits, and publishers have met their policy since. */
    void expect_full(const Weird &weird)
    {
        ASSERT_TRUE(wait_until([&] { return info("ring").journal_error != 0; })) << weird.log();
        for (const auto &load : loads_) {
            uint64_t before = load->refused();
            ASSERT_TRUE(wait_until([&] { return load->refused() > before; }));
        }
        struct weir_ring_info now = info("ring");
        EXPECT_EQ(now.journal_error, ENOSPC);
        EXPECT_EQ(now.journal_retries, 1);
        EXPECT_GT(now.refused_count + (GetParam().when_full == WEIR_BLOCK), 0u);
    }
    void expect_going_on(const Weird &weird)
    {
        uint64_t durable = info("ring").durable;
        ASSERT_TRUE(wait_until([&] { return info("ring").durable > durable + mebi / 2; })) << weird.log();
    }

    /* What is confirmed now, or all that was taken, is in the journal. */
    void check(bool all)
    {
        std::map<uint64_t, std::string> sent;
        for (const auto &load : loads_)
            load->add_to(sent, !all);
        struct weir_ring_info now = info("ring");
        size_t found = 0;
        uint64_t last = 0;
        for (const Record &record : journal("ring", now.ring_id, now.segment_bytes, now.durable)) {
            ASSERT_TRUE(found == 0 || record.position > last);
            last = record.position;
            auto at = sent.find(record.position);
            if (at != sent.end()) {
                ASSERT_EQ(at->second, record.data);
                found++;
            } else {
                ASSERT_FALSE(all) << "nobody sent what is at " << record.position;
            }
        }
        EXPECT_EQ(found, sent.size());
        EXPECT_GT(found, 1000u);
    }

    std::vector<std::unique_ptr<Load>> loads_;
    bool mounted_ = false;
};

TEST_P(DaemonDisk, IsFilledAndMadeRoomOnAndNothingIsLost)
{
    std::ofstream(journal_ + ".conf") << "[journal]\nreserve = 4MiB\n";
    ASSERT_GT(free_bytes(), 30 * mebi);
    take_room("some", 8 * mebi);
    take_room("much", free_bytes() - 12 * mebi);
    struct weir_ring_options options = small_ring();
    options.when_full = GetParam().when_full;
    create("ring", options);
    Weird weird(bus_, journal_);
    ASSERT_NO_FATAL_FAILURE(start(weird));
    for (int i = 0; i < 2; i++)
        loads_.push_back(std::make_unique<Load>(publisher("ring"), i));

    /* By the account: what is reserved stays free. */
    ASSERT_NO_FATAL_FAILURE(expect_full(weird));
    EXPECT_GE(free_bytes(), reserve_bytes - 256 * 1024) << "the reserve was taken";
    ASSERT_NO_FATAL_FAILURE(start_again(weird));
    ASSERT_NO_FATAL_FAILURE(expect_full(weird));
    check(false);

    give_room("some");
    ASSERT_NO_FATAL_FAILURE(expect_going_on(weird));
    ASSERT_NO_FATAL_FAILURE(start_again(weird));
    ASSERT_NO_FATAL_FAILURE(expect_going_on(weird));

    /* Others take all there is, the reserve too, in the middle of it. */
    take_all("all");
    ASSERT_NO_FATAL_FAILURE(expect_full(weird));
    EXPECT_LT(free_bytes(), 65536u); /* xfs keeps some to itself */
    ASSERT_NO_FATAL_FAILURE(start_again(weird));
    ASSERT_NO_FATAL_FAILURE(expect_full(weird));
    check(false);

    give_room("all");
    give_room("much");
    ASSERT_NO_FATAL_FAILURE(expect_going_on(weird));
    for (auto &load : loads_)
        load->stop();
    ASSERT_TRUE(durable_reaches("ring", info("ring").end_position));
    EXPECT_EQ(info("ring").journal_error, 0);
    EXPECT_EQ(weird.stop(), 0);
    check(true);
    loads_.clear();
    struct weir_journal *whole = nullptr;
    ASSERT_EQ(weir_journal_open(bus_.c_str(), journal_.c_str(), "ring", &whole), 0) << weir_last_error();
    EXPECT_EQ(weir_journal_verify(
                  whole, [](void *, const struct weir_journal_fault *fault) { ADD_FAILURE() << fault->what; }, nullptr,
                  nullptr),
              0);
    weir_journal_close(whole);
}

INSTANTIATE_TEST_SUITE_P(FileSystems, DaemonDisk,
                         testing::Values(Small{"ext4", make_ext4, WEIR_BLOCK}, Small{"ext4", make_ext4, WEIR_DROP_NEW},
                                         Small{"xfs", make_xfs, WEIR_BLOCK}, Small{"xfs", make_xfs, WEIR_DROP_NEW}),
                         [](const testing::TestParamInfo<Small> &info) {
                             return std::string(info.param.type) +
                                    (info.param.when_full == WEIR_BLOCK ? "Block" : "DropNew");
                         });

} // namespace
