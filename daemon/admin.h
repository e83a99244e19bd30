/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BUS/.weird.sock, on which the daemon is asked who it is and told what to do: one line of text in, lines out, the last one
 * "end". Who may connect may ask; what changes anything is for root and the daemon's own user. In a thread of its own, so
 * that whoever is slow, hostile or many stalls nobody but others who ask.
 *
 *   status          version, pid, uid, bus, journal, config, uptime_ms, verbose, room, and a line `ring` for each ring
 *   reload          reads the configuration again; lines `note` say what there is to say of it
 *   verbose on|off  until the configuration is read again
 *   stop            the connection is closed when all is drained and the daemon ends
 *
 * The first line is "ok", or "error" and why.
 */
#ifndef WEIR_DAEMON_ADMIN_H
#define WEIR_DAEMON_ADMIN_H

#include "daemon/place.h"
#include "daemon/policy.h"
#include "daemon/registry.h"
#include "daemon/weird.h"

#define ADMIN_SOCKET_NAME ".weird.sock"
#define ADMIN_REQUEST_MAX 256u
#define ADMIN_CONNECTIONS_MAX 8u

struct admin;

/* Behind place_open(): the bus is locked, so a socket that lies there is nobody's. NULL: there is none, and it was logged why. */
struct admin *admin_start(struct weird *weird, const struct place *place, struct registry *registry,
                          struct policies *policies, const struct weird_calls *calls);
/* Nobody is served any more; who asked for the end waits until admin_free(). NULL is allowed in both. */
void admin_finish(struct admin *admin);
void admin_free(struct admin *admin);

#endif
