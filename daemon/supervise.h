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

int supervise_start(struct supervisor **ret_supervisor, struct registry *registry, struct drain_pool *pool);
/* The registry changed. Any thread. */
void supervise_wake(struct supervisor *supervisor);
/* NULL is allowed. Lets go of every ring. */
void supervise_finish(struct supervisor *supervisor);

#endif
