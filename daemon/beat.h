/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a thread still does its work, for the service manager's watchdog. A thread raises its beat whenever it comes round,
 * each second at least. One that has not for BEAT_LIMIT_NS hangs; but not where all it does is to wait for a disk, which may
 * take minutes to answer and is not helped by a restart: such a thread uses no processor, one that goes in circles does.
 */
#ifndef WEIR_DAEMON_BEAT_H
#define WEIR_DAEMON_BEAT_H

#include <stdbool.h>
#include <time.h>

#include "ringbuf/access.h"

#define BEAT_LIMIT_NS 5000000000ull

enum beat_kind {
    BEAT_COMES_ROUND,    /* whatever happens */
    BEAT_WAITS_FOR_DISK, /* may */
};

struct beat {
    struct mem_u64 rounds; /* 0: it has not begun */
    clockid_t clock;       /* of the thread's processor time, written before `rounds` */

    /* The watcher's. */
    uint64_t seen_rounds;
    uint64_t seen_used_ns;
    uint64_t still_ns; /* so long it has not come round */
};

/* By the thread: once, and in each round. */
void beat_begin(struct beat *beat);
void beat_raise(struct beat *beat);
/*
 * By the watcher, while the thread has not ended. step_ns: what passed since the last look; a watcher that was stopped
 * meanwhile, as the thread may have been, counts less. False: it hangs.
 */
bool beat_look(struct beat *beat, uint64_t step_ns, enum beat_kind kind);

#endif
