/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file. Its text is untrusted: whatever is wrong is told with file and line, all of it, and nothing of a
 * file with a fault is used. What the keys are, what they may be, and what they are by default is one table in config_keys.c.
 */
#ifndef WEIR_DAEMON_CONFIG_H
#define WEIR_DAEMON_CONFIG_H

#include <limits.h>
#include <stdio.h>

#include "daemon/policy.h"

#define CONFIG_FILE_MAX (1u << 20) /* bytes of a file, ... */
#define CONFIG_LINE_MAX 190u       /* ... of a line: libinih may have room for no more, ... */
#define CONFIG_RULES_MAX 1024u     /* ... and sections of rings */
#define CONFIG_CPUS_BYTES 1024u

struct config {
    char bus[PATH_MAX]; /* "": not said */
    char journal[PATH_MAX];
    char cpus[CONFIG_CPUS_BYTES];
    uint32_t threads;
    bool verbose;
    struct policy_rules
        policies; /* its base is the defaults: the section [ring] is its first rule, where there is one */
};

/* A line for a person, without its newline, and with nothing but printable characters. */
struct config_tell {
    void (*line)(void *ctx, const char *line);
    void *ctx;
};
void config_tell_line(const struct config_tell *tell, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What holds without a file. */
void config_default(struct config *ret_config);
void config_default_policies(struct policy_rules *ret_rules);
/* What the command line says, which wins. NULL, 0, false: nothing. */
struct config_given {
    const char *bus;     /* shorter than PATH_MAX */
    const char *journal; /* likewise */
    const char *cpus;    /* shorter than CONFIG_CPUS_BYTES */
    uint32_t threads;
    bool verbose;
};
void config_override(struct config *config, const struct config_given *given);
void config_free(struct config *config); /* zeroed is allowed */

/* -EINVAL: the text is refused, and every fault in it was told. `name`: the file's, for what is told. */
int config_parse(const char *name, const char *text, size_t bytes, struct config *ret_config,
                 const struct config_tell *tell);
/* The same of a file. What cannot be read is told, too. */
int config_load(const char *path, struct config *ret_config, const struct config_tell *tell);

/* The configuration as a file, with what each key may be; what is the default stands behind a number sign. */
void config_print(FILE *out, const struct config *config);
/* "always", "interval 50ms", "never". */
struct config_text {
    char text[64];
};
const char *config_sync_text(struct config_text *buffer, const struct policy *policy);
const char *config_size_text(struct config_text *buffer, uint64_t bytes);
const char *config_span_text(struct config_text *buffer, uint64_t span_ms);

/*
 * From one to the next: what only a start can change stays as it is in `running`, and is told where it differs. The rest
 * moves over. `next` is used up.
 */
void config_move(struct config *running, struct config *next, const struct config_tell *tell);

#endif
