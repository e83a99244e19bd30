/* SPDX-License-Identifier: Apache-2.0 */
/* What holds: by default, with the command line, as a file, and after a change. */
#include "daemon/config.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_keys.h"

void config_tell_line(const struct config_tell *tell, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char *at = text; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?'; /* the text of a file may hold anything */
    }
    tell->line(tell->ctx, text);
}

/* -- defaults ------------------------------------------------------------------------------------------------------- */

void config_default(struct config *ret_config)
{
    *ret_config = (struct config){0};
    for (const struct config_key *key = config_keys; key < config_keys + CONFIG_KEY_COUNT; key++) {
        void *at = key->section == CONFIG_SECTION_RING ? (void *)&ret_config->policies.base : (void *)ret_config;
        if (!key->instead)
            config_value_take(key, key->value, at);
    }
}

void config_default_policies(struct policy_rules *ret_rules)
{
    struct config config;
    config_default(&config);
    *ret_rules = config.policies;
}

void config_override(struct config *config, const struct config_given *given)
{
    if (given->bus)
        snprintf(config->bus, sizeof config->bus, "%s", given->bus);
    if (given->journal)
        snprintf(config->journal, sizeof config->journal, "%s", given->journal);
    if (given->cpus)
        snprintf(config->cpus, sizeof config->cpus, "%s", given->cpus);
    if (given->threads)
        config->threads = given->threads;
    if (given->verbose)
        config->verbose = true;
}

void config_free(struct config *config)
{
    free(config->policies.rules);
    config->policies.rules = NULL;
    config->policies.count = 0;
}

/* -- as a file, and against another one ------------------------------------------------------------------------------ */

/* `rule`: of a section [ring PATTERN], which says what it says; in the others every key stands, and what it may be. */
static void print_keys(FILE *out, enum config_section section, const void *at, const struct policy_rule *rule)
{
    struct config fallback;
    config_default(&fallback);
    for (const struct config_key *key = config_keys; key < config_keys + CONFIG_KEY_COUNT; key++) {
        struct config_text buffer, buffer_default;
        struct config_allowed allowed;
        if (key->section != section || (rule && !(rule->has & key->has)))
            continue;
        const char *value = config_value_text(key, at, &buffer);
        if (rule) {
            fprintf(out, "%s = %s\n", key->name, value);
            continue;
        }
        const void *base =
            section == CONFIG_SECTION_RING ? (const void *)&fallback.policies.base : (const void *)&fallback;
        fprintf(out, "\n# %s\n# Allowed: %s.%s\n# Default: %s.\n", key->help, config_value_allowed(key, &allowed),
                key->restart ? " A change needs a restart." : "", key->instead ? key->instead : key->value);
        if (strcmp(value, config_value_text(key, base, &buffer_default)) == 0)
            fprintf(out, "#%s = %s\n", key->name, key->value);
        else
            fprintf(out, "%s = %s\n", key->name, value);
    }
}

void config_print(FILE *out, const struct config *config)
{
    static const char head[] =
        "# Configuration of weird(8), the daemon of weir: see weird.conf(5). What is wrong with "
        "a file, and what holds:\n"
        "#   weird --check-config --config FILE\n"
        "# Keys behind a number sign stand with their default, or with an example where \"Default:\" says otherwise.\n";
    static const char ring_head[] = "\n\n# Of all rings. [ring PATTERN] is about those whose names match (* ? [...], "
                                    "as in a shell); where several\n"
                                    "# match and say something, the last one holds.\n"
                                    "[ring]\n";
    const struct policy_rules *policies = &config->policies;
    /* [ring] stands there in any case, so that the reader sees what holds for all others. */
    struct policy all = policies->base;
    uint32_t first = policies->count && strcmp(policies->rules[0].pattern, "*") == 0;
    if (first)
        policy_override(&all, &policies->rules[0]);
    fputs(head, out);
    fputs("\n[weird]\n", out);
    print_keys(out, CONFIG_SECTION_WEIRD, config, NULL);
    fputs("\n\n[journal]\n", out);
    print_keys(out, CONFIG_SECTION_JOURNAL, config, NULL);
    fputs(ring_head, out);
    print_keys(out, CONFIG_SECTION_RING, &all, NULL);
    if (policies->count == first)
        fputs("\n#[ring telemetry.*]\n#sync = interval 100ms\n#retain_age = 7d\n", out);
    for (uint32_t i = first; i < policies->count; i++) {
        fprintf(out, "\n[ring %s]\n", policies->rules[i].pattern);
        print_keys(out, CONFIG_SECTION_RING, &policies->rules[i].says, &policies->rules[i]);
    }
}

void config_move(struct config *running, struct config *next, const struct config_tell *tell)
{
    for (const struct config_key *key = config_keys; key < config_keys + CONFIG_KEY_COUNT; key++) {
        struct config_text was, is;
        if (!key->restart)
            continue;
        const char *before = config_value_text(key, running, &was), *now = config_value_text(key, next, &is);
        if (strcmp(before, now) != 0)
            config_tell_line(tell, "%s = %s needs a restart: it stays %s until then", key->name,
                             now[0] ? now : "(the default)", before[0] ? before : "the default");
    }
    config_free(running);
    running->verbose = next->verbose;
    running->policies = next->policies;
    *next = (struct config){0};
}
