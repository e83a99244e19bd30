/* SPDX-License-Identifier: Apache-2.0 */
/* The same work as in limits.h, done through weir's public API. */
#ifndef WEIR_BENCH_CASES_H
#define WEIR_BENCH_CASES_H

#include "bench/limits.h"
#include "bench/site.h"

enum case_way { CASE_COPY, CASE_IN_PLACE, CASE_BATCH };

/* What a case does; not every case uses all of it. */
struct case_shape {
    int exclusive;
    size_t payload_bytes;              /* at least 16 */
    uint64_t segment_bytes, set_bytes; /* 0: default; set: all the memory that the ring goes round in */
    enum case_way way;
    size_t publishers, subscribers; /* 0: one */
    double rate;                    /* open loop: messages a second */
    int asleep, daemon;             /* repair: the subscriber does not spin; a daemon serves the ring */
    int epoll;                      /* wakeup: it sleeps in epoll_wait() on weir_sub_fd() */
    uint64_t memory_bytes;          /* journaled rings: what may wait for the disk; 0: default */
    size_t rings;                   /* drain: 0: one */
    int huge;                       /* drain: its limit writes from huge pages, as weird does where it gets them */
};

/* Passes r on; says on stderr what failed, unless it was a signal that asks the bench to end. */
int case_say(int r, const char *what);

/* Round trips over two rings, one each way; the payload copied in and out on both sides. Adds ticks. */
int case_round_trip(struct pair *pair, const char *bus, const struct case_shape *shape, size_t trips,
                    struct histogram *histogram);
/*
 * Messages at a fixed rate, one way. What is counted is the time from when a message was due to be sent to when it was
 * received, so that a stall is counted for each message that it delays (coordinated omission, Gil Tene). Adds ticks.
 */
int case_open_loop(struct pair *pair, const char *bus, const struct case_shape *shape, double seconds,
                   struct histogram *histogram);
/*
 * Publishers to one subscriber that they wait for: messages a second from the first send to the last receive. *ret_fairness:
 * when the first publisher was through, what the slowest had got of its even share.
 */
int case_fan_in(struct pair *pair, const char *bus, const struct case_shape *shape, uint64_t messages, double *ret_rate,
                double *ret_fairness);
/* One publisher to subscribers that it waits for: messages a second until the last one has them all. */
int case_fan_out(struct pair *pair, const char *bus, const struct case_shape *shape, uint64_t messages,
                 double *ret_rate);
/* A subscriber blocked in weir_sub_next(), or in epoll_wait(), woken by a publish. Adds nanoseconds. */
int case_wakeup(struct pair *pair, const char *bus, const struct case_shape *shape, size_t wakes,
                struct histogram *histogram);
/* How long a publish takes that rolls over to a new segment, and one that does not. Adds ticks. */
int case_roll_over(struct pair *pair, const char *bus, const struct case_shape *shape, uint64_t messages,
                   struct histogram *rolls, struct histogram *others);
/*
 * From the moment that the kernel drops the lock of a publisher that was killed with a claim open, to the receipt of the
 * record behind that claim. Adds nanoseconds.
 */
int case_repair(struct pair *pair, struct site *site, const struct case_shape *shape, size_t deaths,
                struct histogram *histogram);
/* Share of a core that a subscriber uses that is blocked for `seconds`. */
int case_idle(struct pair *pair, const char *bus, const struct case_shape *shape, double seconds, double *ret_share);
/* Share of a core that the daemon uses that has a ring and nothing to do. */
int case_idle_daemon(struct site *site, double seconds, double *ret_share);

#endif
