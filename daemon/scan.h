/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conductor: one thread that finds the rings of the bus, takes them in, ties them to their journals, and takes them out
 * again when they were removed or hurt. It alone changes the registry.
 */
#ifndef WEIR_DAEMON_SCAN_H
#define WEIR_DAEMON_SCAN_H

#include "daemon/drain.h"
#include "daemon/place.h"
#include "daemon/registry.h"
#include "daemon/supervise.h"

struct scanner;

/* Brings back the rings of the journals, takes in what is on the bus, and starts the thread that goes on doing so. */
int scan_start(struct scanner **ret_scanner, const struct place *place, struct registry *registry,
               struct drain_pool *pool, struct supervisor *supervisor, struct shm_why *why);
/* No ring comes or goes any more. NULL is allowed. */
void scan_stop(struct scanner *scanner);
/* Behind drain_finish() and supervise_finish(): leaves and unmaps every ring. Frees the scanner. NULL is allowed. */
void scan_finish(struct scanner *scanner);
/* For the one who watches: see drain_beats(). */
bool scan_beats(struct scanner *scanner, uint64_t step_ns);
/* Readable when the daemon cannot go on: the bus was taken away. */
int scan_failed_fd(const struct scanner *scanner);

#endif
