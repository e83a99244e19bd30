/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings rings back whose memory is gone (the host was restarted) from their journals: the same ring, in its next epoch, whose
 * positions start above everything that was ever leased.
 */
#ifndef WEIR_DAEMON_RESTORE_H
#define WEIR_DAEMON_RESTORE_H

#include "daemon/place.h"

struct restore_list;

/* Looks for journals whose rings are not on the bus, and brings them back. NULL: out of memory. */
struct restore_list *restore_open(const struct place *place);
/* Tries again what failed for a reason that may have passed. Returns the instant (CLOCK_MONOTONIC) of the next try, or
 * UINT64_MAX when nothing is left to do. */
uint64_t restore_continue(struct restore_list *list, uint64_t now_ns);
void restore_close(struct restore_list *list);

#endif
