/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weird on file systems that lose power: one in which all that was not synced may be gone, in part or torn
 * (support/lossy_disk.h), and an ext4 and an xfs whose kernel forgets it (support/shutdown_disk.h). Then the host comes
 * back without the ring's memory: what was reported durable is there, in order, nothing is there that nobody sent, each
 * missing message is in a range that readers are told, no position is given out twice, and nobody has to do anything. A
 * seed gives a disk and a course; when what happens in it is up to the scheduler. Failures name it.
 *   WEIR_TEST_SEED=N    that seed alone          WEIR_TEST_SEEDS=N   so many, from 1
 */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing TIMEOUT 1800

#include "tests/daemon_support.hh"
#include "tests/mounts.hh"
#include "tests/support/lossy_disk.h"
#include "tests/support/shutdown_disk.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>

namespace
{

constexpr int64_t ms = 1000000;

uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);
    return value ? strtoull(value, nullptr, 0) : otherwise;
}

struct Told {
    std::map<uint64_t, std::string> messages;
    std::vector<struct weir_gap> gaps;
    uint64_t last_sequence = 0;

    const struct weir_gap *gap_at(uint64_t position) const
    {
        auto gap = std::find_if(gaps.begin(), gaps.end(), [position](const struct weir_gap &one) {
            return one.from <= position && position < one.to;
        });
        return gap == gaps.end() ? nullptr : &*gap;
    }
};

class DaemonPower : public DaemonTest
{
protected:
    void SetUp() override
    {
        DaemonTest::SetUp();
        if (!mounts_of_our_own())
            GTEST_SKIP() << "a mount namespace is not permitted here";
    }

    bool on_bus()
    {
        return info("ring").size != 0;
    }

    /* -- One life of the host -------------------------------------------------------------------------------------- */

    /* False: the power went before it was ready. */
    bool start(Weird &weird)
    {
        weird.more_options = {"--config", config_};
        if (!weird.start()) {
            EXPECT_TRUE(disk_->lost_power()) << weird.log();
            return false;
        }
        return true;
    }

    /* The daemon dies, and another one takes over; or it ends, since its journal has stopped. */
    bool start_again(Weird &weird)
    {
        if (random_() % 2)
            weird.kill();
        else
            weird.stop();
        return start(weird);
    }

    /* As a publisher does that sends again what was lost. */
    struct weir_pub *resume()
    {
        struct weir_pub *pub = publisher("ring", "somebody");
        uint64_t last = 0;
        EXPECT_EQ(weir_pub_last_sequence(pub, &last), 0);
        EXPECT_GE(last, promised_sequence_);
        EXPECT_LE(last, sent_sequence_);
        sent_sequence_ = last;
        return pub;
    }

    void publish_until_power_is_lost(Weird &weird)
    {
        struct weir_pub *pub = resume();
        for (uint64_t left = 100 + random_() % 500; left > 0 && !disk_->lost_power(); left--) {
            send_one(pub);
            bool stopped = info("ring").journal_error != 0;
            if ((stopped || random_() % 100 == 0) && !start_again(weird))
                break;
        }
        /* Idle, or in the middle of something. */
        if (syncs_ && random_() % 2)
            weir_pub_wait(pub, last_position_, WEIR_DURABLE, 100 * ms);
        disk_->lose_power_now();
        weir_pub_close(pub);
    }

    void send_one(struct weir_pub *pub)
    {
        std::string text = std::to_string(sent_sequence_ + 1) + "-";
        text.resize(text.size() + random_() % (random_() % 16 == 0 ? 12000 : 300), (char)('a' + random_() % 26));
        uint64_t position = 0;
        int r = weir_pub_send(pub, text.data(), text.size(), ms, &position);
        if (r < 0) {
            ASSERT_TRUE(r == -ETIMEDOUT || r == -EIO) << weir_last_error();
            return;
        }
        ASSERT_TRUE(position > last_position_ || sent_sequence_ == 0) << "a position was given out twice";
        sent_[position] = text;
        sent_sequence_++;
        last_position_ = position;
        if (syncs_ && random_() % 16 == 0 && weir_pub_wait(pub, position, WEIR_DURABLE, 200 * ms) == 0 &&
            !disk_->lost_power())
            promise(position + 1, sent_sequence_);
    }

    /* All below is to be there from now on. */
    void promise(uint64_t durable, uint64_t sequence)
    {
        durable_ = std::max(durable_, durable);
        promised_sequence_ = std::max(promised_sequence_, sequence);
    }

    /* -- What is there afterwards ---------------------------------------------------------------------------------- */

    void read_all(Told &told)
    {
        struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
        struct weir_sub *sub = nullptr;
        options.from = 0; /* of that position, not of the oldest that is there */
        ASSERT_EQ(weir_sub_open(bus_.c_str(), "ring", &options, &sub), 0) << weir_last_error();
        uint64_t next = 0;
        for (int r; (r = weir_sub_next(sub, 0, &message_)) != -EAGAIN;) {
            if (r == -EPIPE) {
                struct weir_gap gap;
                ASSERT_EQ(weir_sub_gap(sub, &gap), 0);
                ASSERT_GE(gap.from, next);
                next = gap.to;
                told.gaps.push_back(gap);
                continue;
            }
            ASSERT_EQ(r, 0) << weir_last_error();
            ASSERT_GE(message_.position, next) << "out of order";
            next = message_.next;
            told.messages[message_.position].assign((const char *)message_.data, message_.data_bytes);
            told.last_sequence = message_.sequence;
        }
        EXPECT_GE(weir_sub_position(sub), info("ring").first_position);
        weir_sub_close(sub);
    }

    bool in_ledger(uint64_t position)
    {
        struct journal_gap gap;
        int fd = open((journal_ + "/ring").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = journal_find_gap(fd, position, &gap);
        close(fd);
        return r == 0 && gap.from <= position && position < gap.to;
    }

    /* Files, as retention counts them: also those in which the power left nothing. */
    size_t segments_above(uint64_t position)
    {
        size_t count = 0;
        for (const auto &entry : std::filesystem::directory_iterator(journal_ + "/ring"))
            count += entry.path().extension() == ".seg" &&
                     strtoull(entry.path().filename().c_str(), nullptr, 16) > position / 16384;
        return count;
    }

    void check()
    {
        Told told;
        read_all(told);
        for (const auto &[position, text] : told.messages) {
            auto sent = sent_.find(position);
            ASSERT_NE(sent, sent_.end()) << "nobody sent what is at " << position;
            ASSERT_EQ(sent->second, text);
        }
        for (const auto &[position, text] : sent_) {
            if (told.messages.count(position))
                continue;
            const struct weir_gap *gap = told.gap_at(position);
            ASSERT_TRUE(gap) << position << " is missing, and nobody is told";
            ASSERT_TRUE(in_ledger(position)) << position << " is missing, and not in the ledger";
            if (gap->reason == WEIR_GAP_EXPIRED) {
                ASSERT_GE(segments_above(position), 4u) << position << " was to be kept";
                ASSERT_TRUE(expires_);
                expired_++;
            } else {
                ASSERT_GE(position, durable_) << "it was durable, and is gone";
                lost_++;
            }
        }
        for (const auto &[position, text] : told.messages)
            found_count_ += position >= counted_to_;
        counted_to_ = last_position_ + 1;
        sent_ = std::move(told.messages); /* what was told to be lost stays lost */
        promise(info("ring").first_position, told.last_sequence);
    }

    void forget()
    {
        sent_.clear();
        counted_to_ = sent_sequence_ = last_position_ = 0;
    }

    void live_and_lose_power()
    {
        Weird weird(bus_, journal_);
        durable_at_last_ = UINT64_MAX;
        disk_->last_moment = [this] { durable_at_last_ = info("ring").durable; };
        disk_->lose_power_at(1 + random_() % (random_() % 3 ? 500 : 60));
        disk_->break_syncs(break_one_in_);
        if (!start(weird))
            return;
        /* Where a sync failed meanwhile, it is brought back a little later. */
        if (durable_ > 0)
            ASSERT_TRUE(wait_until([&] { return on_bus() || disk_->lost_power(); })) << weird.log();
        else if (!on_bus() && !disk_->lost_power()) {
            forget(); /* its journal was never on the disk */
            create("ring");
        }
        if (on_bus())
            publish_until_power_is_lost(weird);
        /* The daemon is still there to raise it, and must not. */
        weird.kill();
        promise(std::min<uint64_t>(info("ring").durable, durable_at_last_), 0);
    }

    /* The host is up again, without the ring's memory. */
    void boot()
    {
        lose_memory();
        disk_->restore_power();
        ASSERT_EQ(disk_->why(), "");
        disk_->break_syncs(0);
    }

    /* The power may go once more while the journal is recovered. */
    void come_back()
    {
        Weird weird(bus_, journal_);
        boot();
        if (random_() % 3 == 0) {
            disk_->lose_power_at(1 + random_() % 30);
            start(weird);
            disk_->lose_power_now();
            weird.kill();
            boot();
        }
        ASSERT_TRUE(start(weird)) << weird.log();
        if (!on_bus()) {
            ASSERT_EQ(durable_, 0u) << "the ring is not back\n" << weird.log();
            forget();
            return;
        }
        EXPECT_EQ(info("ring").journal_error, 0);
        check();
        if (HasFailure())
            return;
        struct weir_pub *pub = resume();
        send_one(pub);
        if (syncs_) {
            EXPECT_EQ(wait_durable(pub, last_position_), 0) << weir_last_error();
        }
        weir_pub_close(pub);
        EXPECT_EQ(weird.stop(), 0);
        EXPECT_GE(info("ring").durable, info("ring").end_position);
        promise(info("ring").durable, sent_sequence_);
    }

    void run(uint64_t seed)
    {
        static const char *const policies[] = {"always", "always", "interval 3ms", "never"};
        random_.seed(seed);
        forget();
        durable_ = promised_sequence_ = 0;
        config_ = journal_ + ".conf";
        syncs_ = seed % 4 != 3;
        expires_ = seed % 2;
        std::ofstream(config_) << "[ring]\nsync = " << policies[seed % 4] << "\n"
                               << (expires_ ? "retain_bytes = 64KiB\n" : "");
        for (int round = 0; round < 3 && !HasFailure(); round++) {
            SCOPED_TRACE("round " + std::to_string(round));
            live_and_lose_power();
            if (!HasFailure())
                come_back();
        }
        broken_ += disk_->broken();
        disk_.reset();
        lose_memory();
    }

    void run_all(uint64_t count, const std::function<void(uint64_t)> &make_disk)
    {
        uint64_t first = from_environment("WEIR_TEST_SEED", 1);
        uint64_t last = getenv("WEIR_TEST_SEED") ? first : from_environment("WEIR_TEST_SEEDS", count);
        for (uint64_t seed = first; seed <= last && !HasFailure(); seed++) {
            alarm(test_limit_s);
            SCOPED_TRACE("seed " + std::to_string(seed));
            make_disk(seed);
            if (seed == first && !disk_->why().empty())
                GTEST_SKIP() << "not to be had here: " << disk_->why();
            ASSERT_EQ(disk_->why(), "");
            run(seed);
        }
        printf("seeds %llu to %llu: %llu messages read back, %llu told to be lost, none of them durable, %llu to have "
               "expired; "
               "%llu syncs failed\n",
               (unsigned long long)first, (unsigned long long)last, (unsigned long long)found_count_,
               (unsigned long long)lost_, (unsigned long long)expired_, (unsigned long long)broken_);
    }

    std::unique_ptr<PowerDisk> disk_;
    std::mt19937_64 random_;
    std::string config_;
    struct weir_message message_ = {};
    std::map<uint64_t, std::string> sent_; /* and not told to be lost */
    uint64_t sent_sequence_ = 0, last_position_ = 0, durable_ = 0, promised_sequence_ = 0, counted_to_ = 0;
    std::atomic<uint64_t> durable_at_last_{UINT64_MAX};
    uint64_t break_one_in_ = 0;
    bool syncs_ = true, expires_ = false;
    uint64_t found_count_ = 0, lost_ = 0, expired_ = 0, broken_ = 0;
};

TEST_F(DaemonPower, MayGoAtAnyTimeAndTakesNothingThatWasDurable)
{
    run_all(24, [this](uint64_t seed) {
        disk_ = std::make_unique<LossyDisk>(journal_, seed, seed % 3 != 0);
        break_one_in_ = seed % 5 == 0 ? 20 : 0;
    });
}

TEST_F(DaemonPower, MayGoOnAnExt4)
{
    run_all(8, [this](uint64_t) { disk_ = std::make_unique<ShutdownDisk>(journal_, make_ext4); });
}

TEST_F(DaemonPower, MayGoOnAnXfs)
{
    run_all(8, [this](uint64_t) { disk_ = std::make_unique<ShutdownDisk>(journal_, make_xfs); });
}

/*
 * A daemon that is killed may leave writes under way which end when the disk likes. What its successor has written to
 * the same block meanwhile is not written over: there are no such writes, or the successor waits for them.
 */
class DaemonPowerLate : public DaemonPower
{
protected:
    void publish(struct weir_pub *pub, size_t count)
    {
        for (size_t i = 0; i < count; i++) {
            texts_.push_back(std::to_string(texts_.size()) + std::string(1000, 'x'));
            last_position_ = send(pub, texts_.back());
        }
    }

    /* below: where the writes are held. */
    void outlive(LossyDisk &below)
    {
        struct weir_ring_options options = small_ring();
        options.segment_bytes = 1 << 20;
        options.memory_limit_bytes = 16 << 20;
        create("ring", options);
        struct weir_pub *pub = publisher("ring");
        Weird first(bus_, journal_), second(bus_, journal_);
        ASSERT_TRUE(first.start()) << first.log();
        publish(pub, 1);
        ASSERT_EQ(wait_durable(pub, last_position_), 0);
        kill(first.pid(), SIGSTOP);
        publish(pub, 300); /* more than it writes at once without leaving it under way */
        below.hold_writes(true);
        kill(first.pid(), SIGCONT);
        ASSERT_TRUE(wait_until([&] { return below.held() > 0; }));
        kill(first.pid(), SIGKILL);
        below.hold_writes(false); /* those that come from now on are made */
        if (!wait_until([&] { return !first.runs(); }, 1000))
            below.release_writes(); /* it ends with its writes, as it may */
        first.wait();
        second.launch();
        publish(pub, 2);
        /* A successor that waits for them does not get there before they land. */
        wait_until([&] { return info("ring").durable == info("ring").end_position; }, 2000);
        below.release_writes();
        EXPECT_TRUE(durable_reaches("ring", info("ring").end_position)) << second.log();
        weir_pub_close(pub);
        second.kill();
        EXPECT_TRUE(data_of(journal("ring", info("ring").ring_id, 1 << 20)) == texts_);
    }

    /* On another file system, in a file where the writes are held. */
    void outlive_above(const char *make)
    {
        std::string below = journal_ + ".below", image = below + "/image";
        std::filesystem::create_directories(below);
        LossyDisk disk(below, 1, true);
        std::string why = disk.why();
        if (why.empty())
            why = make_image(image, make);
        if (why.empty())
            why = mount_image(image, journal_, true);
        if (!why.empty())
            GTEST_SKIP() << "not to be had here: " << why;
        outlive(disk);
        EXPECT_EQ(umount2(journal_.c_str(), 0), 0);
    }

    std::vector<std::string> texts_;
};

TEST_F(DaemonPowerLate, WritesOfTheDeadTakeNothingThatTheirSuccessorWrote)
{
    LossyDisk disk(journal_, 1, true);
    if (!disk.why().empty())
        GTEST_SKIP() << "not to be had here: " << disk.why();
    outlive(disk);
}

TEST_F(DaemonPowerLate, WritesOfTheDeadOnAnExt4TakeNothingThatTheirSuccessorWrote)
{
    outlive_above(make_ext4);
}

TEST_F(DaemonPowerLate, WritesOfTheDeadOnAnXfsTakeNothingThatTheirSuccessorWrote)
{
    outlive_above(make_xfs);
}

} // namespace
