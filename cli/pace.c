/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pace.h"

#include <time.h>

#include "cli/signals.h"

static const uint64_t catch_up_ns = UINT64_C(1000000000);
/* At high rates several messages become due in one sleep: waking for each would cost more than the work. */
static const uint64_t shortest_sleep_ns = 500000;

uint64_t pace_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void pace_sleep_until(uint64_t instant_ns)
{
    struct timespec instant = {(time_t)(instant_ns / 1000000000), (long)(instant_ns % 1000000000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &instant, NULL);
}

static uint64_t pace_due_ns(const struct pace *pace, uint64_t message)
{
    return pace->start_ns + (uint64_t)((double)message * 1e9 / pace->per_second);
}

static void pace_restart(struct pace *pace, uint64_t now_ns)
{
    pace->start_ns = now_ns;
    pace->done = 0;
}

void pace_start(struct pace *pace, double per_second)
{
    pace->per_second = per_second;
    pace_restart(pace, pace_now_ns());
}

size_t pace_allowed(struct pace *pace, size_t wanted)
{
    if (pace->per_second <= 0)
        return wanted;
    uint64_t now_ns = pace_now_ns();
    uint64_t due_ns = pace_due_ns(pace, pace->done);
    if (now_ns < due_ns)
        return 0;
    if (now_ns - due_ns > catch_up_ns)
        pace_restart(pace, now_ns - catch_up_ns);
    /* Message k is due at k / rate: by now the messages 0 to elapsed * rate are. */
    double due = (double)(now_ns - pace->start_ns) * pace->per_second / 1e9 + 1;
    double allowed = due - (double)pace->done;
    if (allowed < 1)
        return 1;
    return allowed < (double)wanted ? (size_t)allowed : wanted;
}

void pace_count(struct pace *pace, size_t done)
{
    pace->done += done;
}

void pace_idle(struct pace *pace)
{
    uint64_t now_ns = pace_now_ns();
    if (pace->per_second > 0 && now_ns > pace_due_ns(pace, pace->done))
        pace_restart(pace, now_ns);
}

void pace_wait(const struct pace *pace)
{
    uint64_t now_ns = pace_now_ns();
    uint64_t due_ns = pace->per_second > 0 ? pace_due_ns(pace, pace->done) : 0;
    if (due_ns < now_ns + shortest_sleep_ns)
        due_ns = now_ns + shortest_sleep_ns;
    if (due_ns > now_ns + (uint64_t)SIGNALS_SLICE_NS)
        due_ns = now_ns + (uint64_t)SIGNALS_SLICE_NS;
    pace_sleep_until(due_ns);
}
