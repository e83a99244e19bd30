/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/limits.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* -- ping-pong ------------------------------------------------------------------------------------------------------ */

struct ping {
    size_t trips;
    struct histogram *histogram;
};

static int ping_child(struct pair *pair, size_t index, void *ctx)
{
    const struct ping *ping = ctx;
    struct pair_shared *shared = pair->shared;
    uint8_t buffer[56];
    pair_child_ready(pair, index);
    for (uint64_t i = 1; i <= ping->trips; i++) {
        while (mem_load_acquire(&shared->ping) != i)
            ;
        memcpy(buffer, shared->ping_payload, sizeof buffer);
        memcpy(shared->pong_payload, buffer, sizeof buffer);
        mem_store_release(&shared->pong, i);
    }
    return 0;
}

static int ping_parent(struct pair *pair, void *ctx)
{
    struct ping *ping = ctx;
    struct pair_shared *shared = pair->shared;
    uint8_t buffer[56] = {0};
    for (uint64_t i = 1; i <= ping->trips; i++) {
        uint64_t start = bench_ticks();
        memcpy(shared->ping_payload, buffer, sizeof buffer);
        mem_store_release(&shared->ping, i);
        while (mem_load_acquire(&shared->pong) != i)
            ;
        memcpy(buffer, shared->pong_payload, sizeof buffer);
        histogram_add(ping->histogram, bench_ticks() - start);
    }
    return 0;
}

int limit_ping_pong(struct pair *pair, size_t trips, struct histogram *histogram)
{
    struct ping ping = {.trips = trips, .histogram = histogram};
    return pair_run(pair, 1, ping_parent, ping_child, &ping);
}

/* -- copy ring ------------------------------------------------------------------------------------------------------ */

/* Indices are published this often for small slots, as a careful ring would. */
#define COPY_BATCH 16u

struct copy {
    size_t slot_bytes, slots;
    uint64_t messages;
    uint64_t start_ns;
    double rate;
    uint8_t *buffer;
};

static uint64_t copy_batch(const struct copy *copy)
{
    return copy->slot_bytes <= 256 ? COPY_BATCH : 1;
}

static int copy_child(struct pair *pair, size_t index, void *ctx)
{
    const struct copy *copy = ctx;
    struct pair_shared *shared = pair->shared;
    uint64_t batch = copy_batch(copy), done = 0;
    pair_child_ready(pair, index);
    while (done < copy->messages) {
        uint64_t written;
        while ((written = mem_load_acquire(&shared->written)) == done)
            ;
        for (; done < written; done++) {
            memcpy(copy->buffer, pair->area + done % copy->slots * copy->slot_bytes, copy->slot_bytes);
            mem_fence_light();
            if (done % batch == batch - 1)
                mem_store_release(&shared->read, done + 1);
        }
        mem_store_release(&shared->read, done);
    }
    return 0;
}

static int copy_parent(struct pair *pair, void *ctx)
{
    struct copy *copy = ctx;
    struct pair_shared *shared = pair->shared;
    uint64_t batch = copy_batch(copy), read = 0;
    uint64_t start = bench_now_ns();
    for (uint64_t i = 0; i < copy->messages; i++) {
        while (i - read >= copy->slots)
            read = mem_load_acquire(&shared->read);
        memcpy(pair->area + i % copy->slots * copy->slot_bytes, copy->buffer, copy->slot_bytes);
        mem_fence_light();
        if (i % batch == batch - 1 || i == copy->messages - 1)
            mem_store_release(&shared->written, i + 1);
    }
    while (mem_load_acquire(&shared->read) != copy->messages)
        ;
    copy->rate = (double)copy->messages * 1e9 / (double)(bench_now_ns() - start);
    return 0;
}

int limit_copy_ring(struct pair *pair, size_t slot_bytes, size_t ring_bytes, uint64_t messages, double *ret_rate)
{
    if (ring_bytes > pair->area_bytes || slot_bytes > ring_bytes)
        return -EINVAL;
    struct copy copy = {.slot_bytes = slot_bytes,
                        .slots = ring_bytes / slot_bytes,
                        .messages = messages,
                        .buffer = calloc(1, slot_bytes)};
    if (!copy.buffer)
        return -ENOMEM;
    int r = pair_run(pair, 1, copy_parent, copy_child, &copy);
    free(copy.buffer);
    if (r == 0)
        *ret_rate = copy.rate;
    return r;
}

/* -- futex ---------------------------------------------------------------------------------------------------------- */

struct wake {
    size_t wakes;
    struct histogram *histogram;
};

static void futex(struct mem_u32 *word, int operation, uint32_t value)
{
    syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

static int wake_child(struct pair *pair, size_t index, void *ctx)
{
    const struct wake *wake = ctx;
    struct pair_shared *shared = pair->shared;
    pair_child_ready(pair, index);
    for (uint32_t i = 0; i < wake->wakes; i++) {
        while (mem_load_acquire32(&shared->futex) == i)
            futex(&shared->futex, FUTEX_WAIT, i);
        mem_store_release(&shared->stamp_ns, bench_now_ns());
        mem_store_release(&shared->read, i + 1);
    }
    return 0;
}

static int wake_parent(struct pair *pair, void *ctx)
{
    struct wake *wake = ctx;
    struct pair_shared *shared = pair->shared;
    for (uint32_t i = 0; i < wake->wakes; i++) {
        struct timespec rest = {0, 300000}; /* until it surely sleeps */
        nanosleep(&rest, NULL);
        uint64_t start = bench_now_ns();
        mem_swap32(&shared->futex, i, i + 1);
        futex(&shared->futex, FUTEX_WAKE, INT32_MAX);
        while (mem_load_acquire(&shared->read) != i + 1)
            ;
        histogram_add(wake->histogram, mem_load_acquire(&shared->stamp_ns) - start);
    }
    return 0;
}

int limit_futex_wake(struct pair *pair, size_t wakes, struct histogram *histogram)
{
    struct wake wake = {.wakes = wakes, .histogram = histogram};
    return pair_run(pair, 1, wake_parent, wake_child, &wake);
}
