/* SPDX-License-Identifier: Apache-2.0 */
/* SIGINT, SIGTERM and SIGHUP ask to stop; SIGBUS is told in words; a broken pipe is an error of write(). */
#ifndef WEIR_CLI_SIGNALS_H
#define WEIR_CLI_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

/* How long one wait may last: the flag of signals_stop() is looked at this often. */
#define SIGNALS_SLICE_NS INT64_C(100000000)

void signals_install(void);
/* One of the three was received. */
bool signals_stop(void);
/* The ring that a SIGBUS from here on is about. */
void signals_about(const char *ring);

#endif
