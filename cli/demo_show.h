/* SPDX-License-Identifier: Apache-2.0 */
/* What the demo shows while it runs, and how it closes. */
#ifndef WEIR_CLI_DEMO_SHOW_H
#define WEIR_CLI_DEMO_SHOW_H

#include <stdbool.h>
#include <weir.h>

#include "cli/demo_stage.h"

/* Chooses where to: with JSON on standard output, all else goes to standard error. */
void demo_show_start(bool json);
/* Two lines rewritten in place on a terminal, else a line a second. */
void demo_show_status(struct demo *demo, const struct weir_ring_info *info);
/* Something happened: a line of its own that stays. */
void demo_show_event(const struct demo *demo, const char *format, ...) __attribute__((format(printf, 2, 3)));

void demo_check(struct demo *demo, const char *name, bool ok, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Closes with what was shown. True if every check passed, and there were some. */
bool demo_show_summary(const struct demo *demo, bool json);

#endif
