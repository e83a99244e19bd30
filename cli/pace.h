/* SPDX-License-Identifier: Apache-2.0 */
/* The clock, and a rate that is kept without drift and without a busy loop. */
#ifndef WEIR_CLI_PACE_H
#define WEIR_CLI_PACE_H

#include <stddef.h>
#include <stdint.h>

uint64_t pace_now_ns(void); /* CLOCK_MONOTONIC */
/* Sleeps until then, or until a signal. */
void pace_sleep_until(uint64_t instant_ns);

/*
 * The k-th message is due at start + k / rate, so that an error of one sleep is made good by the next. What was lost to a
 * busy machine is caught up, a second's worth at most; what was lost to waiting for input is not.
 */
struct pace {
    double per_second; /* 0: no limit */
    uint64_t start_ns;
    uint64_t done;
};
void pace_start(struct pace *pace, double per_second);
/* How many of the wanted messages may go now. */
size_t pace_allowed(struct pace *pace, size_t wanted);
void pace_count(struct pace *pace, size_t done);
/* There was nothing to do until now: the time that passed gives no right to a burst. */
void pace_idle(struct pace *pace);
/* Sleeps until the next message is due, 0.5 ms at least and SIGNALS_SLICE_NS at most. */
void pace_wait(const struct pace *pace);

#endif
