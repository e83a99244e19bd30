/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the service manager that it is ready, or ends. */
#ifndef WEIR_DAEMON_NOTIFY_H
#define WEIR_DAEMON_NOTIFY_H

/* Tells the service manager, as sd_notify(3) does: "READY=1", "STOPPING=1". Without $NOTIFY_SOCKET: nothing. */
void notify_manager(const char *state);

#endif
