/* SPDX-License-Identifier: Apache-2.0 */
/* What stands on the bus and cannot be served: remembered, so that it is said once for each change, and tried again in time. */
#ifndef WEIR_DAEMON_SKIP_H
#define WEIR_DAEMON_SKIP_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/shm.h"

/* The time between two tries, doubled each time. */
#define SKIP_DELAY_MIN_NS 10000000ull
#define SKIP_DELAY_MAX_NS 4000000000ull
uint64_t skip_delay(uint64_t delay_ns);

struct skip;
struct skip_list {
    struct skip *first;
};

/*
 * Remembers, in this round, that the ring failed with this error, and logs it unless that was said before. Returns when it is
 * to be tried again; UINT64_MAX: not before its files change.
 */
uint64_t skip_add(struct skip_list *list, int bus_fd, const char *name, uint64_t round, int error,
                  const struct shm_why *why);
/* True: it would be the same again. Its next try is due at *ret_due_ns. */
bool skip_again(struct skip_list *list, int bus_fd, const char *name, uint64_t round, uint64_t now_ns,
                uint64_t *ret_due_ns);
void skip_forget(struct skip_list *list, const char *name);
/* All that was not seen in this round. */
void skip_forget_unseen(struct skip_list *list, uint64_t round);

#endif
