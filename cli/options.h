/* SPDX-License-Identifier: Apache-2.0 */
/* Options as a table: one entry gives the parsing, the checks and the line in --help. */
#ifndef WEIR_CLI_OPTIONS_H
#define WEIR_CLI_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_SET,      /* int: becomes `min`; no value */
    OPTION_TEXT,     /* const char * */
    OPTION_COUNT,    /* uint64_t within [min, max], suffixes allowed */
    OPTION_RATE,     /* double above 0: per second, suffixes allowed */
    OPTION_SPAN,     /* int64_t, ns */
    OPTION_INSTANT,  /* uint64_t, ns since 1970; 0: not given */
    OPTION_OCTAL,    /* uint64_t within [min, max] */
    OPTION_CHOICE,   /* int: index in `value`, whose words are separated by bars */
    OPTION_POSITION, /* uint64_t: start, end or a number */
};

struct option {
    const char *name;  /* "--rate" */
    const char *value; /* as --help shows it; NULL: takes none */
    enum option_kind kind;
    size_t offset; /* of the member that it sets */
    uint64_t min, max;
    const char *help;
};
/* Behind the last of a table. */
#define OPTIONS_END                                                                                                    \
    {                                                                                                                  \
        NULL, NULL, OPTION_SET, 0, 0, 0, NULL                                                                          \
    }

/*
 * Takes the value of one option: 0, or -1 with the reason in why ("is not a number", ...). text is NULL for OPTION_SET.
 */
int option_take(const struct option *option, const char *text, void *arguments, char *why, size_t why_bytes);

/* The option called name (name_bytes long), or NULL. */
const struct option *option_find(const struct option *options, const char *name, size_t name_bytes);

#endif
