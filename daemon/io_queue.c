/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/io_queue.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "journal/journal.h"
#include "shm/shm.h"

/* With their blocks for headers they fit into four huge pages. Syncs of many rings' files gain up to as many as the kernel has
 * workers for. */
#define IO_QUEUE_BUFFERS 7u
#define IO_QUEUE_HUGE_BYTES ((size_t)2 << 20)
#define IO_QUEUE_DEPTH 64u
#define IO_QUEUE_THREADS 4u

struct io_queue_done {
    struct jio_op *op;
    int64_t result;
};

struct io_queue {
    struct jio_queue base;
    bool uring;
    bool registered;

    uint32_t under_way;
    struct io_uring ring;

    /* threads */
    pthread_t threads[IO_QUEUE_THREADS];
    uint32_t thread_count;
    pthread_mutex_t lock;
    pthread_cond_t work, news;
    struct jio_op *todo[IO_QUEUE_DEPTH]; /* a circle */
    uint32_t todo_first, todo_count;
    struct io_queue_done done[IO_QUEUE_DEPTH];
    uint32_t done_count;
    bool finish;
};

static struct io_queue *io_queue_of(struct jio_queue *base)
{
    return (struct io_queue *)(void *)((uint8_t *)base - offsetof(struct io_queue, base));
}

/* As the thin layer does it. */
static int64_t io_queue_do(const struct jio_op *op)
{
    int64_t r;
    switch (op->kind) {
    case JIO_OP_WRITE:
        r = jio_write(op->fd, op->data, op->bytes, op->offset);
        return r < 0 ? r : (int64_t)op->bytes;
    case JIO_OP_SYNC_DATA:
        return jio_sync_data(op->fd);
    case JIO_OP_SYNC:
        return jio_sync(op->fd);
    }
    return -EINVAL;
}

/* True: it was done here and now, since a test wants to see it. */
static bool io_queue_hooked(struct jio_op *op)
{
#ifdef WEIR_TESTING
    if (jio_hooks) {
        op->result = io_queue_do(op);
        op->done = true;
        return true;
    }
#endif
    (void)op;
    return false;
}

/* -- io_uring ------------------------------------------------------------------------------------------------------- */

static void io_queue_reap(struct io_queue *queue)
{
    struct io_uring_cqe *completion;
    while (io_uring_peek_cqe(&queue->ring, &completion) == 0) {
        struct jio_op *op = io_uring_cqe_get_data(completion);
        op->result = completion->res;
        op->done = true;
        io_uring_cqe_seen(&queue->ring, completion);
        queue->under_way--;
    }
}

/* Until one more is done. */
static void io_queue_reap_one(struct io_queue *queue)
{
    struct io_uring_cqe *completion;
    /* Interrupted, or short of memory: what is under way gets done all the same. */
    while (io_uring_wait_cqe(&queue->ring, &completion) < 0)
        ;
    io_queue_reap(queue);
}

static void io_queue_prepare(const struct io_queue *queue, struct io_uring_sqe *entry, const struct jio_op *op)
{
    const struct jio_queue *base = &queue->base;
    uint64_t index = (uint64_t)((const uint8_t *)op->data - base->buffers) / base->buffer_bytes;
    if (op->kind != JIO_OP_WRITE)
        io_uring_prep_fsync(entry, op->fd, op->kind == JIO_OP_SYNC_DATA ? IORING_FSYNC_DATASYNC : 0);
    else if (queue->registered)
        io_uring_prep_write_fixed(entry, op->fd, op->data, (unsigned)op->bytes, op->offset, (int)index);
    else
        io_uring_prep_write(entry, op->fd, op->data, (unsigned)op->bytes, op->offset);
}

static void io_queue_uring_submit(struct jio_queue *base, struct jio_op *op)
{
    struct io_queue *queue = io_queue_of(base);
    op->done = false;
    if (io_queue_hooked(op))
        return;
    while (queue->under_way == IO_QUEUE_DEPTH)
        io_queue_reap_one(queue);
    struct io_uring_sqe *entry = io_uring_get_sqe(&queue->ring); /* there is one: all earlier ones are submitted */
    io_queue_prepare(queue, entry, op);
    io_uring_sqe_set_data(entry, op);
    queue->under_way++;
    for (int r; (r = io_uring_submit(&queue->ring)) < 1;) {
        if (r == -EINTR)
            continue;
        io_queue_reap(queue); /* EAGAIN, EBUSY: what is under way has to be done first */
        sched_yield();
    }
}

static void io_queue_uring_wait(struct jio_queue *base, struct jio_op *op)
{
    struct io_queue *queue = io_queue_of(base);
    io_queue_reap(queue);
    while (op && !op->done)
        io_queue_reap_one(queue);
}

static bool io_queue_uring_open(struct io_queue *queue)
{
    if (io_uring_queue_init(IO_QUEUE_DEPTH, &queue->ring, 0) < 0)
        return false;
    io_uring_ring_dontfork(&queue->ring);
    struct iovec vectors[IO_QUEUE_BUFFERS];
    for (uint32_t i = 0; i < IO_QUEUE_BUFFERS; i++)
        vectors[i] = (struct iovec){queue->base.buffers + i * queue->base.buffer_bytes, queue->base.buffer_bytes};
    queue->registered = io_uring_register_buffers(&queue->ring, vectors, IO_QUEUE_BUFFERS) == 0;
    queue->uring = true;
    queue->base.submit = io_queue_uring_submit;
    queue->base.wait = io_queue_uring_wait;
    return true;
}

/* -- threads -------------------------------------------------------------------------------------------------------- */

/* The op itself is its owner's: a thread copies what to do, and leaves the result for the owner to pick up. */
static void *io_queue_main(void *argument)
{
    struct io_queue *queue = argument;
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        while (queue->todo_count == 0 && !queue->finish)
            pthread_cond_wait(&queue->work, &queue->lock);
        if (queue->todo_count == 0)
            break;
        struct jio_op *op = queue->todo[queue->todo_first];
        queue->todo_first = (queue->todo_first + 1) % IO_QUEUE_DEPTH;
        queue->todo_count--;
        pthread_mutex_unlock(&queue->lock);
        int64_t result = io_queue_do(op);
        pthread_mutex_lock(&queue->lock);
        queue->done[queue->done_count++] = (struct io_queue_done){op, result};
        pthread_cond_signal(&queue->news);
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

/* Picks up what is done, locked. */
static void io_queue_pick_up(struct io_queue *queue)
{
    while (queue->done_count > 0) {
        const struct io_queue_done *done = &queue->done[--queue->done_count];
        done->op->result = done->result;
        done->op->done = true;
        queue->under_way--;
    }
}

static void io_queue_threads_submit(struct jio_queue *base, struct jio_op *op)
{
    struct io_queue *queue = io_queue_of(base);
    op->done = false;
    if (io_queue_hooked(op))
        return;
    pthread_mutex_lock(&queue->lock);
    while (io_queue_pick_up(queue), queue->under_way == IO_QUEUE_DEPTH)
        pthread_cond_wait(&queue->news, &queue->lock);
    queue->todo[(queue->todo_first + queue->todo_count++) % IO_QUEUE_DEPTH] = op;
    queue->under_way++;
    pthread_cond_signal(&queue->work);
    pthread_mutex_unlock(&queue->lock);
}

static void io_queue_threads_wait(struct jio_queue *base, struct jio_op *op)
{
    struct io_queue *queue = io_queue_of(base);
    pthread_mutex_lock(&queue->lock);
    while (io_queue_pick_up(queue), op && !op->done)
        pthread_cond_wait(&queue->news, &queue->lock);
    pthread_mutex_unlock(&queue->lock);
}

static void io_queue_threads_stop(struct io_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->finish = true;
    pthread_cond_broadcast(&queue->work);
    pthread_mutex_unlock(&queue->lock);
    for (uint32_t i = 0; i < queue->thread_count; i++)
        pthread_join(queue->threads[i], NULL);
    queue->thread_count = 0;
}

static bool io_queue_threads_open(struct io_queue *queue)
{
    for (uint32_t i = 0; i < IO_QUEUE_THREADS; i++) {
        if (pthread_create(&queue->threads[i], NULL, io_queue_main, queue) != 0)
            break;
        pthread_setname_np(queue->threads[i], "weird-write");
        queue->thread_count++;
    }
    queue->base.submit = io_queue_threads_submit;
    queue->base.wait = io_queue_threads_wait;
    return queue->thread_count > 0;
}

/* -- either --------------------------------------------------------------------------------------------------------- */

/* In huge pages, where the kernel has them to give: a write of 1 MiB from small ones has more pieces than a disk may take in one
 * request, and is made in two (measured on virtio: 1.8 against 3.0 GB/s). */
static uint8_t *io_queue_buffers(void)
{
    size_t bytes = IO_QUEUE_BUFFERS * (size_t)JOURNAL_FLIGHT_BYTES;
    bytes = (bytes + IO_QUEUE_HUGE_BYTES - 1) / IO_QUEUE_HUGE_BYTES * IO_QUEUE_HUGE_BYTES;
    uint8_t *buffers = aligned_alloc(IO_QUEUE_HUGE_BYTES, bytes);
    if (buffers)
        (void)madvise(buffers, bytes, MADV_HUGEPAGE);
    return buffers;
}

struct jio_queue *io_queue_open(bool threads)
{
    struct io_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return NULL;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->work, NULL);
    pthread_cond_init(&queue->news, NULL);
    queue->base.buffer_count = IO_QUEUE_BUFFERS;
    queue->base.buffer_bytes = JOURNAL_FLIGHT_BYTES;
    queue->base.buffers = io_queue_buffers();
    if (!queue->base.buffers || !((!threads && io_queue_uring_open(queue)) || io_queue_threads_open(queue))) {
        io_queue_close(&queue->base);
        return NULL;
    }
    return &queue->base;
}

void io_queue_close(struct jio_queue *base)
{
    if (!base)
        return;
    struct io_queue *queue = io_queue_of(base);
    io_queue_threads_stop(queue);
    if (queue->uring)
        io_uring_queue_exit(&queue->ring);
    pthread_cond_destroy(&queue->news);
    pthread_cond_destroy(&queue->work);
    pthread_mutex_destroy(&queue->lock);
    free(queue->base.buffers);
    free(queue);
}

bool io_queue_is_uring(const struct jio_queue *base)
{
    return ((const struct io_queue *)(const void *)((const uint8_t *)base - offsetof(struct io_queue, base)))->uring;
}
