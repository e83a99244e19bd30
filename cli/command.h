/* SPDX-License-Identifier: Apache-2.0 */
/* What a command of `weir` is, and how it is called. main.c has the table of all. */
#ifndef WEIR_CLI_COMMAND_H
#define WEIR_CLI_COMMAND_H

#include <stddef.h>

#include "cli/options.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command;

struct call {
    const struct command *command;
    const char *bus; /* NULL: the default one */
    int json;
    const char **operands;
    size_t operand_count;
    const void *arguments; /* the command's own struct, filled by its options */
};

struct command {
    const char *words; /* "ring create" */
    const char *summary;
    const char *operands; /* as the usage line shows them, "" if none */
    size_t operands_min, operands_max;
    const struct option *options; /* NULL: only those that all have; ends with a nameless one */
    const void *defaults;         /* of the struct that the options fill, */
    size_t arguments_bytes;       /* and its size */
    const char *text;             /* more for --help, or NULL */
    int hidden;                   /* not shown: started by weir itself */
    int own_bus;                  /* makes a bus of its own, and takes no --bus */
    int (*run)(const struct call *call);
};

extern const struct command ring_create_command, ring_ls_command, ring_info_command, ring_check_command,
    ring_rm_command, pub_command, sub_command, stat_command, bench_command, demo_command, demo_publisher_command,
    demo_consumer_command, daemon_status_command, daemon_reload_command, daemon_verbose_command, daemon_stop_command;

extern const struct command journal_ls_command, journal_info_command, journal_gaps_command, journal_verify_command,
    journal_dump_command, journal_repair_command, journal_pin_command, journal_unpin_command;

extern const struct command group_create_command, group_ls_command, group_info_command, group_rm_command;

#endif
