/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The groups of a ring, as the supervisor sees them: what the dead held goes back at once, leases end. Groups come and go
 * with their files in the ring's directory.
 */
#ifndef WEIR_DAEMON_GROUPS_H
#define WEIR_DAEMON_GROUPS_H

#include "ringbuf/ring.h"

struct groups {
    struct groups_one *first;
};

/* Looks which there are, and at each of them. Returns how many of the dead were put in order; *ret_soon: look again in 2 ms. */
uint32_t groups_look(struct groups *groups, int dir_fd, const char *ring, const struct ring_view *view, uint64_t now_ns,
                     bool *ret_soon);
void groups_close(struct groups *groups);

#endif
