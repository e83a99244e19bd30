/* SPDX-License-Identifier: Apache-2.0 */
/* Writes and syncs under way that are done late, in any order, and in parts: as a disk with a queue may. */
#ifndef WEIR_TESTS_JOURNAL_QUEUE_HH
#define WEIR_TESTS_JOURNAL_QUEUE_HH

#include "tests/journal_support.hh"

#include <random>

namespace journaltest
{

class ShuffledQueue
{
public:
    explicit ShuffledQueue(uint64_t seed) : random_(seed)
    {
        base_.submit = [](struct jio_queue *base, struct jio_op *op) { of(base)->submit(op); };
        base_.wait = [](struct jio_queue *base, struct jio_op *op) { of(base)->wait(op); };
        base_.buffer_count = buffers;
        base_.buffer_bytes = JOURNAL_FLIGHT_BYTES;
        base_.buffers = (uint8_t *)aligned_alloc(JOURNAL_BLOCK_BYTES, buffers * (size_t)JOURNAL_FLIGHT_BYTES);
        EXPECT_EQ(journal_flights_open(&base_, 0, &flights_), 0);
    }
    ShuffledQueue(const ShuffledQueue &) = delete;
    ShuffledQueue &operator=(const ShuffledQueue &) = delete;
    ~ShuffledQueue()
    {
        EXPECT_TRUE(under_way_.empty());
        journal_flights_close(flights_);
        free(base_.buffers);
    }
    struct journal_flights *flights()
    {
        return flights_;
    }
    /* How many were under way at once. */
    size_t most() const
    {
        return most_;
    }

private:
    static constexpr uint32_t buffers = 5;

    static ShuffledQueue *of(struct jio_queue *base)
    {
        return (ShuffledQueue *)base; /* its first member */
    }

    void submit(struct jio_op *op)
    {
        op->done = false;
        under_way_.push_back(op);
        most_ = std::max(most_, under_way_.size());
        if (random_() % 4 == 0)
            do_one();
    }

    void wait(struct jio_op *op)
    {
        while (op ? !op->done : !under_way_.empty() && random_() % 2 == 0)
            do_one();
    }

    void do_one()
    {
        size_t index = random_() % under_way_.size();
        struct jio_op *op = under_way_[index];
        under_way_.erase(under_way_.begin() + (long)index);
        op->result = result_of(*op);
        op->done = true;
    }

    int64_t result_of(const struct jio_op &op)
    {
        if (op.kind == JIO_OP_SYNC_DATA)
            return jio_sync_data(op.fd);
        if (op.kind == JIO_OP_SYNC)
            return jio_sync(op.fd);
        uint64_t bytes = op.bytes;
        if (random_() % 8 == 0)
            return random_() % 2 ? -EINTR : -EAGAIN;
        if (random_() % 8 == 0)
            bytes = random_() % (bytes / 512 + 1) * 512;
        int result = jio_write(op.fd, op.data, bytes, op.offset);
        return result < 0 ? result : (int64_t)bytes;
    }

    struct jio_queue base_ = {};
    struct journal_flights *flights_ = nullptr;
    std::vector<struct jio_op *> under_way_;
    size_t most_ = 0;
    std::mt19937_64 random_;
};

} // namespace journaltest

#endif
