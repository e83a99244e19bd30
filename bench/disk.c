/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/pair.h"

#define DEPTH 8
#define WRITE_BYTES (1u << 20)
#define BLOCK_BYTES 4096u
#define HUGE_BYTES (2u << 20)

static int put(int fd, const uint8_t *from, size_t bytes, uint64_t offset)
{
    ssize_t done = pwrite(fd, from, bytes, (off_t)offset);
    return done == (ssize_t)bytes ? 0 : done < 0 ? -errno : -EIO;
}

static uint8_t *make_buffer(int huge)
{
    size_t bytes = huge ? HUGE_BYTES : WRITE_BYTES;
    uint8_t *buffer = aligned_alloc(huge ? HUGE_BYTES : BLOCK_BYTES, bytes);
    if (buffer && huge)
        (void)madvise(buffer, bytes, MADV_HUGEPAGE);
    if (buffer)
        memset(buffer, 0x5a, WRITE_BYTES);
    return buffer;
}

static int fill(const struct disk *disk)
{
    uint8_t *buffer = make_buffer(0);
    int r = buffer ? 0 : -ENOMEM;
    for (uint64_t at = 0; at < disk->bytes && r == 0; at += WRITE_BYTES)
        r = put(disk->buffered, buffer, WRITE_BYTES, at);
    free(buffer);
    return r == 0 && fsync(disk->buffered) < 0 ? -errno : r;
}

int disk_open(struct disk *disk, struct site *site, uint64_t bytes)
{
    char path[sizeof site->folder + 16];
    *disk = (struct disk){.direct = -1, .buffered = -1};
    disk->bytes = bytes < DEPTH * WRITE_BYTES ? DEPTH * WRITE_BYTES : bytes / WRITE_BYTES * WRITE_BYTES;
    int r = site_open(site, disk->bytes);
    if (r < 0)
        return r;
    snprintf(path, sizeof path, "%s/limit", site->folder);
    disk->buffered = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (disk->buffered < 0)
        return -errno;
    disk->direct = open(path, O_RDWR | O_CLOEXEC | O_DIRECT);
    unlink(path);
    r = fill(disk);
    if (r < 0) {
        fprintf(stderr, "weir: bench: %s: %s\n", path, strerror(-r));
        disk_close(disk);
    }
    return r;
}

void disk_close(struct disk *disk)
{
    if (disk->direct >= 0)
        close(disk->direct);
    if (disk->buffered >= 0)
        close(disk->buffered);
    *disk = (struct disk){.direct = -1, .buffered = -1};
}

/* -- large writes --------------------------------------------------------------------------------------------------- */

struct writers {
    pthread_mutex_t lock;
    int fd, huge;
    uint64_t bytes, sync_bytes, sync_ns;
    uint64_t next;        /* to be written */
    uint64_t unsynced;    /* written since a sync was begun */
    uint64_t unsynced_ns; /* when the first of it was */
    int error;
};

/* With the lock held. */
static int sync_is_due(struct writers *writers)
{
    uint64_t now = bench_now_ns();
    if (writers->unsynced == 0)
        writers->unsynced_ns = now;
    writers->unsynced += WRITE_BYTES;
    if (writers->unsynced < writers->sync_bytes && now - writers->unsynced_ns < writers->sync_ns)
        return 0;
    writers->unsynced = 0;
    return 1;
}

static void *write_on(void *argument)
{
    struct writers *writers = argument;
    uint8_t *buffer = make_buffer(writers->huge);
    int r = buffer ? 0 : -ENOMEM;
    pthread_mutex_lock(&writers->lock);
    while (r == 0 && writers->error == 0 && writers->next < writers->bytes) {
        uint64_t at = writers->next;
        writers->next += WRITE_BYTES;
        pthread_mutex_unlock(&writers->lock);
        r = put(writers->fd, buffer, WRITE_BYTES, at);
        pthread_mutex_lock(&writers->lock);
        if (r == 0 && sync_is_due(writers)) {
            pthread_mutex_unlock(&writers->lock);
            r = fdatasync(writers->fd) == 0 ? 0 : -errno;
            pthread_mutex_lock(&writers->lock);
        }
    }
    if (r < 0)
        writers->error = r;
    pthread_mutex_unlock(&writers->lock);
    free(buffer);
    return NULL;
}

int disk_write_all(const struct disk *disk, int huge, uint64_t sync_bytes, uint64_t sync_ns, double *ret_rate)
{
    struct writers writers = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .fd = disk->direct >= 0 ? disk->direct : disk->buffered,
                              .huge = huge,
                              .bytes = disk->bytes,
                              .sync_bytes = sync_bytes,
                              .sync_ns = sync_ns};
    pthread_t threads[DEPTH];
    size_t started = 0;
    uint64_t start = bench_now_ns();
    int r = 0;
    while (started < DEPTH && r == 0) {
        r = -pthread_create(&threads[started], NULL, write_on, &writers);
        started += r == 0;
    }
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (r == 0)
        r = writers.error;
    if (r == 0 && fdatasync(writers.fd) < 0)
        r = -errno;
    *ret_rate = (double)disk->bytes * 1e9 / (double)(bench_now_ns() - start);
    return r;
}

/* -- blocks --------------------------------------------------------------------------------------------------------- */

int disk_write_blocks(const struct disk *disk, int direct, size_t count, struct histogram *histogram)
{
    uint8_t *buffer = make_buffer(0);
    int r = buffer ? 0 : -ENOMEM, fd = direct && disk->direct >= 0 ? disk->direct : disk->buffered;
    for (size_t i = 0; i < count && r == 0; i++) {
        uint64_t start = bench_now_ns();
        r = put(fd, buffer, BLOCK_BYTES, i * BLOCK_BYTES % disk->bytes);
        if (r == 0 && fdatasync(fd) < 0)
            r = -errno;
        histogram_add(histogram, bench_now_ns() - start);
    }
    free(buffer);
    return r;
}
