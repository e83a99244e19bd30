/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration file, read and taken apart. libinih gets one line at a time, for it stops telling at the first fault of a
 * text; sections are taken here, for it cuts their names.
 */
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config_keys.h"

/* -- a text ---------------------------------------------------------------------------------------------------------------- */

struct parse {
    const char *name;
    const struct config_tell *tell;
    struct config *config;
    unsigned line;
    unsigned faults;
    enum config_section section;
    bool silent;                          /* in a section that was refused: its keys are not told as well */
    uint32_t rule;                        /* of a section of rings, + 1 */
    unsigned seen[CONFIG_SECTION_RING];   /* line of a section's head */
    unsigned *rules_seen;                 /* [CONFIG_RULES_MAX]: likewise */
    unsigned keys_seen[CONFIG_KEY_COUNT]; /* line of a key in this section */
    unsigned watermark_line;
};

#define fault(parse, line, ...) fault_tell((parse), (line), __VA_ARGS__)
static void fault_tell(struct parse *parse, unsigned line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void fault_tell(struct parse *parse, unsigned line, const char *format, ...)
{
    char text[768];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    parse->faults++;
    config_tell_line(parse->tell, "%.200s:%u: %s", parse->name, line, text);
}

/* "bus, journal, threads": of a section. */
static void section_keys(enum config_section section, char *text, size_t bytes)
{
    size_t at = 0;
    text[0] = 0;
    for (const struct config_key *key = config_keys; key < config_keys + CONFIG_KEY_COUNT; key++) {
        if (key->section == section && at < bytes)
            at += (size_t)snprintf(text + at, bytes - at, "%s%s", at ? ", " : "", key->name);
    }
}

/* One KEY = VALUE. Returns 1, as libinih wants it: what is wrong has been told. */
static int parse_key(void *user, const char *section, const char *name, const char *value)
{
    struct parse *parse = user;
    struct config_allowed allowed;
    (void)section;
    if (parse->silent)
        return 1;
    if (parse->section == CONFIG_SECTION_NONE) {
        fault(parse, parse->line, "key '%s' before any section: begin with [weird], [journal] or [ring]", name);
        return 1;
    }
    size_t index = 0;
    while (index < CONFIG_KEY_COUNT &&
           (config_keys[index].section != parse->section || strcmp(config_keys[index].name, name) != 0))
        index++;
    if (index == CONFIG_KEY_COUNT) {
        char known[256];
        section_keys(parse->section, known, sizeof known);
        fault(parse, parse->line, "unknown key '%s' in [%s]: it has %s", name, config_section_names[parse->section],
              known);
        return 1;
    }
    const struct config_key *key = &config_keys[index];
    if (parse->keys_seen[index]) {
        fault(parse, parse->line, "%s stands in this section already, in line %u", name, parse->keys_seen[index]);
        return 1;
    }
    parse->keys_seen[index] = parse->line;
    struct policy_rule *rule = parse->rule ? &parse->config->policies.rules[parse->rule - 1] : NULL;
    if (!config_value_take(key, value, rule ? (void *)&rule->says : (void *)parse->config)) {
        fault(parse, parse->line, "%s = %s: allowed is %s", name, value, config_value_allowed(key, &allowed));
        return 1;
    }
    if (rule)
        rule->has |= key->has;
    if (key->kind == CONFIG_KIND_PERCENT)
        parse->watermark_line = parse->line;
    return 1;
}

/* The rule that gets what a section of rings says. */
static void parse_ring_section(struct parse *parse, const char *pattern)
{
    static const char may[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-*?[]!^";
    struct policy_rules *policies = &parse->config->policies;
    if (strlen(pattern) >= POLICY_PATTERN_BYTES || pattern[strspn(pattern, may)]) {
        fault(parse, parse->line,
              "[ring %s]: a pattern is the name of a ring with * ? [...] for what differs, %u characters at most",
              pattern, POLICY_PATTERN_BYTES - 1);
        return;
    }
    for (uint32_t i = 0; i < policies->count; i++) {
        if (strcmp(policies->rules[i].pattern, pattern) == 0) {
            fault(parse, parse->line, "section [ring %s] stands in line %u already", pattern, parse->rules_seen[i]);
            return;
        }
    }
    if (policies->count == CONFIG_RULES_MAX) {
        fault(parse, parse->line, "[ring %s]: more than %u sections of rings", pattern, CONFIG_RULES_MAX);
        return;
    }
    struct policy_rule *rules = reallocarray(policies->rules, policies->count + 1, sizeof *rules);
    if (!rules) {
        fault(parse, parse->line, "not enough memory");
        return;
    }
    policies->rules = rules;
    struct policy_rule *rule = &rules[policies->count];
    *rule = (struct policy_rule){.says = policies->base};
    memcpy(rule->pattern, pattern, strlen(pattern) + 1);
    parse->rules_seen[policies->count] = parse->line;
    policies->count++;
    parse->rule = policies->count;
    parse->silent = false;
}

/* "[...]": from the bracket on. */
static void parse_section(struct parse *parse, char *text)
{
    static const char blanks[] = " \t";
    memset(parse->keys_seen, 0, sizeof parse->keys_seen);
    parse->section = CONFIG_SECTION_NONE;
    parse->rule = 0;
    parse->silent = true; /* unless it turns out good */

    for (char *at = text; *at; at++) {
        if (*at == ';' && strchr(blanks, at[-1])) /* a comment behind it */
            *at = 0;
    }
    size_t end = strlen(text);
    while (strchr(blanks, text[end - 1]))
        end--;
    if (text[end - 1] != ']' || end < 2) {
        fault(parse, parse->line,
              "a section is [weird], [journal], [ring] or [ring PATTERN]: there is no ] at the end");
        return;
    }
    text[end - 1] = 0;
    char *name = text + 1 + strspn(text + 1, blanks);
    for (end = strlen(name); end && strchr(blanks, name[end - 1]);)
        name[--end] = 0;
    size_t word = strcspn(name, blanks);
    const char *pattern = name + word + strspn(name + word, blanks);
    enum config_section section = CONFIG_SECTION_NONE;
    for (size_t i = CONFIG_SECTION_WEIRD; i <= CONFIG_SECTION_RING; i++) {
        if (strlen(config_section_names[i]) == word && memcmp(config_section_names[i], name, word) == 0)
            section = (enum config_section)i;
    }
    if (section == CONFIG_SECTION_NONE || (section != CONFIG_SECTION_RING && *pattern)) {
        fault(parse, parse->line, "unknown section [%s]: there are [weird], [journal], [ring] and [ring PATTERN]",
              name);
        return;
    }
    parse->section = section;
    if (section == CONFIG_SECTION_RING) {
        parse_ring_section(parse, pattern);
    } else if (parse->seen[section]) {
        fault(parse, parse->line, "section [%s] stands in line %u already", name, parse->seen[section]);
    } else {
        parse->seen[section] = parse->line;
        parse->silent = false;
    }
}

static void parse_line(struct parse *parse, const char *text, size_t bytes)
{
    char line[CONFIG_LINE_MAX + 1];
    if (bytes && text[bytes - 1] == '\r')
        bytes--;
    if (bytes > CONFIG_LINE_MAX) {
        fault(parse, parse->line, "the line has %zu bytes: %u are allowed", bytes, CONFIG_LINE_MAX);
        return;
    }
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            fault(parse, parse->line, "byte %u in column %zu: a line is text", c, i + 1);
            return;
        }
    }
    memcpy(line, text, bytes);
    line[bytes] = 0;
    char *at = line + strspn(line, " \t");
    if (*at == '[')
        parse_section(parse, at);
    else if (*at && ini_parse_string(at, parse_key, parse) != 0 && !parse->silent)
        fault(parse, parse->line, "neither a [section], nor KEY = VALUE, nor a comment: %.60s", at);
}

/* [ring] is what holds for all, wherever it stands. */
static void parse_order_rules(struct policy_rules *policies)
{
    for (uint32_t i = 0; i < policies->count; i++) {
        if (policies->rules[i].pattern[0])
            continue;
        struct policy_rule all = policies->rules[i];
        memmove(&policies->rules[1], &policies->rules[0], i * sizeof all);
        memcpy(all.pattern, "*", 2);
        policies->rules[0] = all;
        return;
    }
}

int config_parse(const char *name, const char *text, size_t bytes, struct config *ret_config,
                 const struct config_tell *tell)
{
    static const char mark[] = "\xef\xbb\xbf"; /* that some editors put in front */
    unsigned rules_seen[CONFIG_RULES_MAX];
    struct config config;
    struct parse parse = {.name = name, .tell = tell, .config = &config, .rules_seen = rules_seen};
    config_default(&config);
    if (bytes >= 3 && memcmp(text, mark, 3) == 0) {
        text += 3;
        bytes -= 3;
    }
    while (bytes) {
        const char *newline = memchr(text, '\n', bytes);
        size_t length = newline ? (size_t)(newline - text) : bytes;
        parse.line++;
        parse_line(&parse, text, length);
        text += newline ? length + 1 : length;
        bytes -= newline ? length + 1 : length;
    }
    if (config.policies.room.low_percent >= config.policies.room.high_percent && parse.watermark_line)
        fault(&parse, parse.watermark_line, "low_watermark, %u%%, must be below high_watermark, %u%%",
              config.policies.room.low_percent, config.policies.room.high_percent);
    if (parse.faults) {
        config_free(&config);
        return -EINVAL;
    }
    parse_order_rules(&config.policies);
    *ret_config = config;
    return 0;
}

/* -- a file ---------------------------------------------------------------------------------------------------------------- */

/* The whole of it; more than is allowed: one byte more. */
static ssize_t file_read(int fd, char *text)
{
    size_t got = 0;
    while (got < CONFIG_FILE_MAX + 1) {
        ssize_t bytes = read(fd, text + got, CONFIG_FILE_MAX + 1 - got);
        if (bytes < 0 && errno == EINTR)
            continue;
        if (bytes < 0)
            return -errno;
        if (bytes == 0)
            break;
        got += (size_t)bytes;
    }
    return (ssize_t)got;
}

int config_load(const char *path, struct config *ret_config, const struct config_tell *tell)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer is no reason to wait */
    if (fd < 0 || fstat(fd, &st) < 0) {
        int error = errno;
        config_tell_line(tell, "%.200s: cannot read it: %s", path, strerror(error));
        if (fd >= 0)
            close(fd);
        return -error;
    }
    int r;
    char *text = malloc(CONFIG_FILE_MAX + 1);
    ssize_t bytes = !text ? -ENOMEM : !S_ISREG(st.st_mode) ? -EMEDIUMTYPE : file_read(fd, text);
    if (bytes == -EMEDIUMTYPE) {
        config_tell_line(tell, "%.200s: it is no regular file", path);
        r = -EINVAL;
    } else if (bytes < 0) {
        config_tell_line(tell, "%.200s: cannot read it: %s", path, strerror((int)-bytes));
        r = (int)bytes;
    } else if (bytes > (ssize_t)CONFIG_FILE_MAX) {
        config_tell_line(tell, "%.200s: it is longer than %u bytes", path, CONFIG_FILE_MAX);
        r = -EINVAL;
    } else {
        r = config_parse(path, text, (size_t)bytes, ret_config, tell);
    }
    free(text);
    close(fd);
    return r;
}
