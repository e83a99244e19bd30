/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/number.h"

static int choice_index(const char *words, const char *text)
{
    size_t text_bytes = strlen(text);
    for (int index = 0;; index++) {
        size_t bytes = strcspn(words, "|");
        if (bytes == text_bytes && memcmp(words, text, bytes) == 0)
            return index;
        if (words[bytes] == '\0')
            return -1;
        words += bytes + 1;
    }
}

static int take_count(const struct option *option, const char *text, void *member, char *why, size_t why_bytes)
{
    uint64_t number = 0;
    if (number_parse(text, &number) != 0) {
        snprintf(why, why_bytes, "is not a whole number (k, M, G, KiB, MiB, GiB may follow)");
        return -1;
    }
    if (number < option->min || number > option->max) {
        if (option->max == UINT64_MAX)
            snprintf(why, why_bytes, "must be %" PRIu64 " or more", option->min);
        else
            snprintf(why, why_bytes, "must be %" PRIu64 " to %" PRIu64, option->min, option->max);
        return -1;
    }
    memcpy(member, &number, sizeof number);
    return 0;
}

static int take_octal(const struct option *option, const char *text, void *member, char *why, size_t why_bytes)
{
    uint64_t number = 0;
    if (number_parse_octal(text, &number) != 0 || number < option->min || number > option->max) {
        snprintf(why, why_bytes, "is not an octal number from %" PRIo64 " to %" PRIo64, option->min, option->max);
        return -1;
    }
    memcpy(member, &number, sizeof number);
    return 0;
}

static int take_rate(const char *text, void *member, char *why, size_t why_bytes)
{
    double rate = 0;
    if (number_parse_rate(text, &rate) != 0) {
        snprintf(why, why_bytes, "is not a number above 0 (k, M may follow)");
        return -1;
    }
    memcpy(member, &rate, sizeof rate);
    return 0;
}

static int take_span(const char *text, void *member, char *why, size_t why_bytes)
{
    int64_t span_ns = 0;
    if (number_parse_span(text, &span_ns) != 0) {
        snprintf(why, why_bytes, "is not a time (seconds; or with ms, s, m, h, d)");
        return -1;
    }
    memcpy(member, &span_ns, sizeof span_ns);
    return 0;
}

static int take_instant(const char *text, void *member, char *why, size_t why_bytes)
{
    uint64_t instant_ns = 0;
    if (number_parse_instant(text, &instant_ns) != 0) {
        snprintf(why, why_bytes, "is neither an instant (2026-01-31T12:00:00Z) nor a time ago (10m)");
        return -1;
    }
    memcpy(member, &instant_ns, sizeof instant_ns);
    return 0;
}

static int take_position(const char *text, void *member, char *why, size_t why_bytes)
{
    uint64_t position = 0;
    if (number_parse_position(text, &position) != 0) {
        snprintf(why, why_bytes, "is neither start, end nor a position");
        return -1;
    }
    memcpy(member, &position, sizeof position);
    return 0;
}

int option_take(const struct option *option, const char *text, void *arguments, char *why, size_t why_bytes)
{
    void *member = (char *)arguments + option->offset;
    int value = (int)option->min;
    switch (option->kind) {
    case OPTION_SET:
        memcpy(member, &value, sizeof value);
        return 0;
    case OPTION_TEXT:
        memcpy(member, &text, sizeof text);
        return 0;
    case OPTION_COUNT:
        return take_count(option, text, member, why, why_bytes);
    case OPTION_RATE:
        return take_rate(text, member, why, why_bytes);
    case OPTION_SPAN:
        return take_span(text, member, why, why_bytes);
    case OPTION_INSTANT:
        return take_instant(text, member, why, why_bytes);
    case OPTION_OCTAL:
        return take_octal(option, text, member, why, why_bytes);
    case OPTION_CHOICE:
        value = choice_index(option->value, text);
        if (value < 0) {
            snprintf(why, why_bytes, "must be one of %s", option->value);
            return -1;
        }
        memcpy(member, &value, sizeof value);
        return 0;
    case OPTION_POSITION:
        return take_position(text, member, why, why_bytes);
    }
    return -1;
}

const struct option *option_find(const struct option *options, const char *name, size_t name_bytes)
{
    for (const struct option *option = options; option && option->name; option++)
        if (strlen(option->name) == name_bytes && memcmp(option->name, name, name_bytes) == 0)
            return option;
    return NULL;
}
