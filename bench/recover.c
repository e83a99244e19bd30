/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon starts on a journal that is there, after a clean stop and after a kill. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/journaled.h"
#include "bench/report.h"

#define RING "bench-recover"
#define TIMES 3
#define PATIENCE_NS 60000000000
/* The journal is made of large records, which is quick, and of small ones at its end, where a recovery reads. */
#define LARGE_BYTES (60u << 10)
#define SMALL_BATCHES 64u

struct work {
    struct site *site;
    struct bench_daemon daemon;
    uint64_t bytes;
};

static int fill(const struct work *work)
{
    struct weir_pub *pub = NULL;
    uint64_t position = 0;
    uint8_t *payload = calloc(1, LARGE_BYTES);
    int r = payload ? journaled_pub(work->site, RING, &pub) : -ENOMEM;
    for (uint64_t sent = 0; r == 0 && sent < work->bytes; sent += LARGE_BYTES)
        r = site_stopped(work->site) ? -EINTR : weir_pub_send(pub, payload, LARGE_BYTES, PATIENCE_NS, &position);
    if (case_say(r, "send") == 0)
        r = journaled_wait(work->site, pub, position);
    weir_pub_close(pub);
    free(payload);
    return r;
}

/* So that what is killed has something in hand. */
static int send_small(const struct work *work)
{
    struct weir_pub *pub;
    int r = case_say(weir_pub_open(work->site->bus, RING, NULL, &pub), RING);
    if (r < 0)
        return r;
    for (uint64_t i = 0; i < SMALL_BATCHES && r == 0; i++)
        r = journaled_send(pub, 64, i * JOURNALED_BATCH, JOURNALED_BATCH, NULL);
    weir_pub_close(pub);
    return r;
}

/* Nothing of the journal stays in the page cache; what the kernel knows of its directories does. */
static int forget(const char *directory)
{
    char path[sizeof((struct bench_daemon *)0)->journal + 300];
    DIR *entries = opendir(directory);
    int r = 0;
    if (!entries)
        return -errno;
    for (struct dirent *entry; r == 0 && (entry = readdir(entries));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (entry->d_type == DT_DIR) {
            r = forget(path);
            continue;
        }
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
            continue;
        /* What is not written out cannot be forgotten. To sync each of thousands of files would take minutes. */
        sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    closedir(entries);
    return r;
}

/* Ends weird as told, and takes the time of its next start. It serves the ring when that confirms again. */
static int once(struct work *work, int signal_number, int restart_of_host, double *ret_seconds)
{
    struct weir_pub *pub;
    int r = send_small(work);
    bench_daemon_end(&work->daemon, signal_number);
    if (r == 0 && restart_of_host)
        r = case_say(weir_ring_remove(work->site->bus, RING, 1, 1), RING);
    if (r == 0)
        r = forget(work->daemon.journal);
    if (r == 0)
        r = bench_daemon_again(&work->daemon);
    *ret_seconds = work->daemon.ready_seconds;
    if (r == 0)
        r = journaled_pub(work->site, RING, &pub);
    if (r == 0)
        weir_pub_close(pub);
    return r;
}

static int several(struct work *work, int signal_number, int restart_of_host, double *ret_seconds)
{
    double seconds[TIMES];
    int r = 0;
    for (size_t i = 0; i < TIMES && r == 0; i++)
        r = site_stopped(work->site) ? -EINTR : once(work, signal_number, restart_of_host, &seconds[i]);
    if (r == 0)
        *ret_seconds = report_median(seconds, TIMES);
    return r;
}

int case_recover(struct site *site, uint64_t bytes, struct recover *ret_recover)
{
    static const struct case_shape shape = {.memory_bytes = 64u << 20}; /* to be filled faster */
    struct work work = {.site = site, .bytes = bytes};
    int r = journaled_ring(site, &shape, RING);
    if (r == 0)
        r = bench_daemon_start(&work.daemon, site, -1, bytes, 0);
    if (r == 0)
        r = fill(&work);
    if (r == 0)
        r = several(&work, SIGTERM, 0, &ret_recover->clean);
    if (r == 0)
        r = several(&work, SIGKILL, 0, &ret_recover->killed);
    if (r == 0)
        r = several(&work, SIGTERM, 1, &ret_recover->restored_clean);
    if (r == 0)
        r = several(&work, SIGKILL, 1, &ret_recover->restored_killed);
    bench_daemon_stop(&work.daemon);
    journaled_remove(site, RING);
    return r;
}
