/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of a configuration: one table, with what each may be and what it is by default. Private to config*.c. */
#ifndef WEIR_DAEMON_CONFIG_KEYS_H
#define WEIR_DAEMON_CONFIG_KEYS_H

#include <stddef.h>

#include "daemon/config.h"

enum config_section { CONFIG_SECTION_NONE, CONFIG_SECTION_WEIRD, CONFIG_SECTION_JOURNAL, CONFIG_SECTION_RING };
extern const char *const config_section_names[]; /* without their brackets */

enum config_kind {
    CONFIG_KIND_PATH,
    CONFIG_KIND_CPUS,
    CONFIG_KIND_COUNT,   /* uint32_t */
    CONFIG_KIND_PERCENT, /* uint32_t */
    CONFIG_KIND_SIZE,    /* uint64_t, bytes */
    CONFIG_KIND_SPAN,    /* uint64_t, ms */
    CONFIG_KIND_RATE,    /* uint64_t, a second */
    CONFIG_KIND_SWITCH,  /* bool */
    CONFIG_KIND_SYNC,    /* of a struct policy */
    CONFIG_KIND_LIMITED, /* enum policy_when_limited */
};

struct config_key {
    enum config_section section;
    const char *name;
    enum config_kind kind;
    size_t offset; /* in struct config; in struct policy for a ring's */
    uint64_t min, max;
    bool none;           /* 0 is allowed, and is written as "none" */
    bool restart;        /* changes at a start alone */
    uint32_t has;        /* of a ring's */
    const char *value;   /* the default, or an example where there is none in the table */
    const char *instead; /* the default, in words */
    const char *help;
};

#define CONFIG_KEY_COUNT 18u
extern const struct config_key config_keys[]; /* CONFIG_KEY_COUNT of them */

/* Into the struct config, or struct policy, at `at`. False, and nothing is changed: not allowed. */
bool config_value_take(const struct config_key *key, const char *text, void *at);
/* As config_value_take() reads it. Good until the buffer, or what lies at `at`, changes. */
const char *config_value_text(const struct config_key *key, const void *at, struct config_text *buffer);

struct config_allowed {
    char text[192];
};
const char *config_value_allowed(const struct config_key *key, struct config_allowed *buffer);

#endif
