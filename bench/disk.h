/* SPDX-License-Identifier: Apache-2.0 */
/* What the bare disk can do: the limits that journals are held against. */
#ifndef WEIR_BENCH_DISK_H
#define WEIR_BENCH_DISK_H

#include "bench/histogram.h"
#include "bench/site.h"

/* A file that was written whole and synced, so that nothing is left to allocate. Without a name: it goes when closed. */
struct disk {
    int direct;   /* opened with O_DIRECT; -1: the file system has none */
    int buffered; /* opened without */
    uint64_t bytes;
};

int disk_open(struct disk *disk, struct site *site, uint64_t bytes);
void disk_close(struct disk *disk);

/*
 * All of it written again, 1 MiB at a time, eight at once, past the page cache; synced when so much is not, or the
 * oldest of it has not been for `sync_ns`. Bytes a second, from the first write to the end of the last sync. huge: from huge
 * pages; a disk may take 1 MiB of others in two requests alone.
 */
int disk_write_all(const struct disk *disk, int huge, uint64_t sync_bytes, uint64_t sync_ns, double *ret_rate);
/* One block after the other written and synced; past the page cache or through it. Adds nanoseconds. */
int disk_write_blocks(const struct disk *disk, int direct, size_t count, struct histogram *histogram);

#endif
