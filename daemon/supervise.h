/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor: one thread that learns of participants' deaths as events, has the kernel prove them by their locks, puts in
 * order what they left, and wakes whoever may have waited for it.
 */
#ifndef WEIR_DAEMON_SUPERVISE_H
#define WEIR_DAEMON_SUPERVISE_H

#include "daemon/drain.h"
#include "daemon/registry.h"

struct supervisor;

int supervise_start(struct supervisor **ret_supervisor, struct registry *registry, struct policies *policies,
                    struct drain_pool *pool);
/* The registry changed. Any thread. */
void supervise_wake(struct supervisor *supervisor);
/* For the one who watches: see drain_beats(). */
bool supervise_beats(struct supervisor *supervisor, uint64_t step_ns);
/* NULL is allowed. Lets go of every ring. */
void supervise_finish(struct supervisor *supervisor);

#endif
