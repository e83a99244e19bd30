/* SPDX-License-Identifier: Apache-2.0 */
/* Writes and syncs under way, by io_uring and by threads: each is done, with its own result, whatever the order. */
// test: LINKS weird_core weir_journal weir_shm weir_ringbuf LABELS tsan TIMEOUT 120

#include "tests/journal_support.hh"

#include <linux/io_uring.h>
#include <sys/syscall.h>

extern "C" {
#include "daemon/io_queue.h"
#include "journal/journal.h"
}

using namespace journaltest;

namespace
{

class DaemonIoQueue : public ::testing::TestWithParam<bool>
{
protected:
    DaemonIoQueue() : queue_(io_queue_open(GetParam()))
    {
    }
    ~DaemonIoQueue() override
    {
        io_queue_close(queue_);
    }
    uint8_t *buffer(uint32_t index) const
    {
        return queue_->buffers + index * queue_->buffer_bytes;
    }
    void submit(struct jio_op *op, enum jio_op_kind kind, int fd, uint32_t index = 0, uint64_t bytes = 0,
                uint64_t offset = 0)
    {
        *op = {};
        op->kind = kind;
        op->fd = fd;
        op->data = kind == JIO_OP_WRITE ? buffer(index) : nullptr;
        op->bytes = bytes;
        op->offset = offset;
        queue_->submit(queue_, op);
    }
    void wait(struct jio_op *op)
    {
        queue_->wait(queue_, op);
        EXPECT_TRUE(op->done);
    }

    struct jio_queue *queue_;
};
INSTANTIATE_TEST_SUITE_P(Ways, DaemonIoQueue, ::testing::Bool(),
                         [](const auto &threads) { return threads.param ? "Threads" : "Uring"; });

TEST_P(DaemonIoQueue, WritesWhatItIsGivenWhereItBelongs)
{
    ASSERT_NE(queue_, nullptr);
    Scratch scratch;
    int fd = openat(scratch.fd(), "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    uint32_t count = queue_->buffer_count;
    std::vector<struct jio_op> ops(count);
    for (int round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < count; i++) {
            memset(buffer(i), (int)(round * count + i) & 0xff, 8192);
            submit(&ops[i], JIO_OP_WRITE, fd, i, 8192, (uint64_t)(round * count + i) * 8192);
        }
        for (uint32_t i = count; i > 0; i--) {
            wait(&ops[i - 1]);
            ASSERT_EQ(ops[i - 1].result, 8192);
        }
    }
    Bytes bytes = read_file(scratch.fd(), "file");
    ASSERT_EQ(bytes.size(), 20u * count * 8192);
    for (size_t i = 0; i < bytes.size(); i++)
        ASSERT_EQ(bytes[i], (i / 8192) & 0xff) << i;
    close(fd);
}

TEST_P(DaemonIoQueue, TellsEachErrorToWhomItBelongs)
{
    ASSERT_NE(queue_, nullptr);
    Scratch scratch;
    int fd = openat(scratch.fd(), "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int readable = openat(scratch.fd(), "file", O_RDONLY | O_CLOEXEC);
    struct jio_op good, bad, sync, folder, bad_sync;
    submit(&good, JIO_OP_WRITE, fd, 0, 4096, 0);
    submit(&bad, JIO_OP_WRITE, readable, 1, 4096, 0);
    submit(&sync, JIO_OP_SYNC_DATA, fd);
    submit(&folder, JIO_OP_SYNC, scratch.fd());
    submit(&bad_sync, JIO_OP_SYNC_DATA, -1);
    for (struct jio_op *op : {&bad_sync, &bad, &folder, &good, &sync})
        wait(op);
    EXPECT_EQ(good.result, 4096);
    EXPECT_EQ(bad.result, -EBADF);
    EXPECT_EQ(sync.result, 0);
    EXPECT_EQ(folder.result, 0);
    EXPECT_EQ(bad_sync.result, -EBADF);
    close(readable);
    close(fd);
}

/* More than the kernel's queue takes: whoever submits waits, and nothing is lost. */
TEST_P(DaemonIoQueue, TakesMoreThanItHasRoomFor)
{
    ASSERT_NE(queue_, nullptr);
    Scratch scratch;
    int fd = openat(scratch.fd(), "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    std::vector<struct jio_op> ops(300);
    for (struct jio_op &op : ops)
        submit(&op, JIO_OP_SYNC_DATA, fd);
    for (struct jio_op &op : ops) {
        wait(&op);
        EXPECT_EQ(op.result, 0);
    }
    queue_->wait(queue_, nullptr); /* with nothing under way it does not wait */
    close(fd);
}

TEST(DaemonIoQueueWays, UringIsUsedWhereTheKernelHasIt)
{
    struct jio_queue *queue = io_queue_open(false), *threads = io_queue_open(true);
    ASSERT_NE(queue, nullptr);
    ASSERT_NE(threads, nullptr);
    struct io_uring_params params = {};
    int fd = (int)syscall(SYS_io_uring_setup, 1, &params);
    bool refused = fd < 0;
    close(fd);
    EXPECT_TRUE(io_queue_is_uring(queue) || refused);
    EXPECT_FALSE(io_queue_is_uring(threads));
    io_queue_close(queue);
    io_queue_close(threads);
}

} // namespace
