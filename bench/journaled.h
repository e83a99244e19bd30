/* SPDX-License-Identifier: Apache-2.0 */
/* Cases with a journal: rings that a daemon of the bench drains, on a disk. */
#ifndef WEIR_BENCH_JOURNALED_H
#define WEIR_BENCH_JOURNALED_H

#include <weir.h>

#include "bench/cases.h"
#include "bench/daemon.h"

/* -- what the cases are made of ------------------------------------------------------------------------------------- */

#define JOURNALED_BATCH 64
/* A batch lies in one segment, whatever is left of the one before. Of these, what is left is little. */
#define JOURNALED_SMALL_BATCH 16
/* Of a batch: 64 messages of 1 KiB fit in the smallest segment in use. */
#define JOURNALED_PAYLOAD_MAX 1024
/* In front of each payload, in memory and on disk (docs/shared-memory.md). */
#define JOURNALED_HEADER_BYTES 16u
/* What is not synced is when it is a quarter of the memory limit, or so much, or so old: by weird, and by the limit. */
#define JOURNALED_SYNC_BYTES (8u << 20)
#define JOURNALED_SYNC_NS 10000000u
#define JOURNALED_MEMORY_BYTES (8u << 20) /* of a ring that nothing was said about */

/* A journaled ring as the shape says: exclusive, segment_bytes, memory_bytes. */
int journaled_ring(const struct site *site, const struct case_shape *shape, const char *name);
/* Opens a publisher on it, and sees to it that weird drains it, so that what follows does not wait for that. */
int journaled_pub(const struct site *site, const char *name, struct weir_pub **ret_pub);
/* A batch of `count`, whose payloads begin with their number, from `first` on. *ret_last: position of the last; may be NULL. */
int journaled_send(struct weir_pub *pub, size_t payload_bytes, uint64_t first, size_t count, uint64_t *ret_last);
int journaled_wait(const struct site *site, struct weir_pub *pub, uint64_t position);
/* For what the ring's name alone is still to be done: the journal goes with the daemon's. */
void journaled_remove(const struct site *site, const char *name);

/* -- cases ---------------------------------------------------------------------------------------------------------- */

/*
 * Messages on shape->rings rings, as fast as they are taken, for two seconds or `bytes` in all: bytes a second, of
 * payloads and headers, from the first publish until the last is durable; and the memory that weird takes beside the
 * rings.
 */
int case_drain(struct pair *pair, struct site *site, const struct case_shape *shape, uint64_t bytes, double *ret_rate,
               double *ret_resident);
/*
 * How long it takes to publish a batch of 64, at a steady pace, on a ring that has memory for all `bytes`: with
 * shape->daemon while weird drains it, else while nobody does. Adds ticks. *ret_drained: the part of it that was
 * durable when the last was published.
 */
int case_publish(struct pair *pair, struct site *site, const struct case_shape *shape, uint64_t bytes,
                 struct histogram *histogram, double *ret_drained);
/* One message after the other published and waited for until it is durable. Adds nanoseconds. */
int case_confirm(struct pair *pair, struct site *site, const struct case_shape *shape, size_t count,
                 struct histogram *histogram);
/*
 * Messages published as fast as they are taken, for a second or `bytes`, while the publisher looks how far durable is:
 * confirmed messages a second. Adds the nanoseconds from the publish of each batch of 64 to its confirm.
 */
int case_confirm_many(struct pair *pair, struct site *site, const struct case_shape *shape, uint64_t bytes,
                      double *ret_rate, struct histogram *histogram);
/*
 * A subscriber that starts at the beginning of a journaled ring, `bytes` long, or what was published in two seconds, and
 * reads what has left memory; twice, so that the page cache has it the second time, which counts: messages a second.
 * *ret_live: the same loop, at the other end of a publisher on a ring in memory alone.
 */
int case_catch_up(struct pair *pair, struct site *site, const struct case_shape *shape, uint64_t bytes,
                  double *ret_rate, double *ret_live);

struct peak {
    struct histogram *histogram; /* ticks that each publish took */
    double sent;     /* of what the publisher was to send at its rate: less where the disk does not follow */
    double taken;    /* of what the consumer was to take by the end of the peak at its own rate */
    double fills;    /* how often what was published would fill the ring's memory */
    double resident; /* bytes that weird takes beside the ring */
};
/*
 * shape->rate messages a second for a second, two on a slow disk, or `bytes`; and, with shape->subscribers, a consumer
 * that takes a hundredth of that, and then what is left. -EBADMSG: it did not get each of them once, in order.
 */
int case_peak(struct pair *pair, struct site *site, const struct case_shape *shape, uint64_t bytes, struct peak *peak);

struct recover {
    double clean, killed; /* seconds from weird's start until it serves the ring that is on the bus, */
    double restored_clean, restored_killed; /* or that it has to bring back, as after a restart of the host */
};
/* weird started on a journal of `bytes` that the page cache has not: median of several times. */
int case_recover(struct site *site, uint64_t bytes, struct recover *ret_recover);

#endif
