/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands `weir journal` have in common. */
#ifndef WEIR_CLI_JOURNAL_H
#define WEIR_CLI_JOURNAL_H

#include <stddef.h>
#include <weir.h>

#include "cli/command.h"

/* First member of each command's arguments. */
struct journal_place {
    const char *directory; /* NULL: found by the bus */
};
#define JOURNAL_OPTION                                                                                                 \
    {                                                                                                                  \
        "--journal", "DIR", OPTION_TEXT, offsetof(struct journal_place, directory), 0, 0,                              \
            "where the journals lie (default: where the bus's rings have theirs, else as of weird)"                    \
    }

/* The journal that the first operand names; NULL: complained. */
struct weir_journal *journal_open_operand(const struct call *call, int *ret_exit_code);

#endif
