/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the service manager that it is ready, lives, or ends. */
#ifndef WEIR_DAEMON_NOTIFY_H
#define WEIR_DAEMON_NOTIFY_H

#include <stdint.h>

/* Tells the service manager, as sd_notify(3) does: "READY=1", "STOPPING=1". Without $NOTIFY_SOCKET: nothing. */
void notify_manager(const char *state);
/* "RELOADING=1", with the time that goes with it; "READY=1" ends it. */
void notify_reloading(void);
/* How often the service manager wants to hear "WATCHDOG=1", in ns; 0: it does not. */
uint64_t notify_watchdog_ns(void);

#endif
