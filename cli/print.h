/* SPDX-License-Identifier: Apache-2.0 */
/* Messages and gaps as `sub` and `journal dump` print them. */
#ifndef WEIR_CLI_PRINT_H
#define WEIR_CLI_PRINT_H

#include <weir.h>

#include "cli/output.h"

enum print_format {
    PRINT_LINES,  /* as they are, a newline behind each; gaps on stderr */
    PRINT_FRAMED, /* behind their length in 4 bytes, little-endian; gaps on stderr */
    PRINT_JSON,
};
/* The sink's error. */
int print_message(struct sink *sink, const struct weir_message *message, enum print_format format);
int print_gap(struct sink *sink, const struct weir_gap *gap, enum print_format format);
/* "overwritten", "expired", "lost", "damaged" */
const char *print_gap_reason(int reason);

#endif
