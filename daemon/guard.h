/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps over memory that others can take away. A participant may truncate a ring's file under its users; touching it
 * then raises SIGBUS. A step that runs under a guard is left at the access, and its caller is told (docs/guarantees.md, P7).
 *
 * A step takes no lock, allocates nothing, enters no RCU read-side section and keeps nothing half done outside the ring:
 * it may end at any access. What it found out goes into the structure that it was given.
 */
#ifndef WEIR_DAEMON_GUARD_H
#define WEIR_DAEMON_GUARD_H

/* The handler is the process's; it stays as long as somebody who installed it has not removed it. */
int guard_install(void);
void guard_remove(void);

/* Runs step(argument) and returns what it returned, or -EFAULT when the memory was gone. May be nested. */
int guard_run(int (*step)(void *argument), void *argument);

#endif
