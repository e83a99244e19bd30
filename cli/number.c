/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/number.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <weir.h>

struct unit {
    const char *suffix;
    uint64_t factor;
};

static const struct unit count_units[] = {
    {"", 1},
    {"k", 1000},
    {"M", 1000 * 1000},
    {"G", 1000 * 1000 * 1000},
    {"T", UINT64_C(1000) * 1000 * 1000 * 1000},
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {"TiB", UINT64_C(1) << 40},
    {NULL, 0},
};
static const struct unit rate_units[] = {{"", 1}, {"k", 1000}, {"M", 1000 * 1000}, {NULL, 0}};
static const struct unit span_units[] = {
    {"", UINT64_C(1000000000)},
    {"s", UINT64_C(1000000000)},
    {"ms", 1000 * 1000},
    {"min", UINT64_C(60) * 1000000000},
    {"m", UINT64_C(60) * 1000000000},
    {"h", UINT64_C(3600) * 1000000000},
    {"d", UINT64_C(86400) * 1000000000},
    {NULL, 0},
};

static uint64_t unit_factor(const struct unit *units, const char *suffix)
{
    for (; units->suffix; units++)
        if (strcmp(units->suffix, suffix) == 0)
            return units->factor;
    return 0;
}

/* Digits only: strtoull would take "-1", " 1" and "0x1". */
static int parse_digits(const char *text, int base, uint64_t *ret_number, const char **ret_end)
{
    char *end = NULL;
    if (!isdigit((unsigned char)text[0]))
        return -1;
    errno = 0;
    uint64_t number = strtoull(text, &end, base);
    if (errno != 0 || end == text)
        return -1;
    *ret_number = number;
    *ret_end = end;
    return 0;
}

int number_parse(const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *suffix = NULL;
    if (parse_digits(text, 10, &number, &suffix) != 0)
        return -1;
    uint64_t factor = unit_factor(count_units, suffix);
    if (factor == 0 || number > UINT64_MAX / factor)
        return -1;
    *ret_number = number * factor;
    return 0;
}

int number_parse_octal(const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *rest = NULL;
    if (parse_digits(text, 8, &number, &rest) != 0 || *rest != '\0')
        return -1;
    *ret_number = number;
    return 0;
}

/* Digits with at most one point among them, then a unit. */
static int parse_decimal(const char *text, const struct unit *units, double *ret_number)
{
    size_t digits = strspn(text, "0123456789.");
    if (digits == 0 || digits > 30 || strspn(text, ".") == digits)
        return -1;
    const char *point = memchr(text, '.', digits);
    if (point && memchr(point + 1, '.', digits - (size_t)(point + 1 - text)))
        return -1;
    uint64_t factor = unit_factor(units, text + digits);
    if (factor == 0)
        return -1;
    char copy[32];
    memcpy(copy, text, digits);
    copy[digits] = '\0';
    *ret_number = strtod(copy, NULL) * (double)factor;
    return 0;
}

int number_parse_rate(const char *text, double *ret_rate)
{
    double rate = 0;
    if (parse_decimal(text, rate_units, &rate) != 0 || rate < 1e-6 || rate > 1e12)
        return -1;
    *ret_rate = rate;
    return 0;
}

int number_parse_span(const char *text, int64_t *ret_span_ns)
{
    double span_ns = 0;
    if (parse_decimal(text, span_units, &span_ns) != 0 || span_ns > 9e18)
        return -1;
    *ret_span_ns = (int64_t)(span_ns + 0.5);
    return 0;
}

/* "T12:00:00.5", "T12:00:00", "T12:00", a blank in place of the T; *ret_rest: behind it. */
static int parse_clock(const char *text, struct tm *parts, uint64_t *ret_ns, const char **ret_rest)
{
    const char *rest = strptime(text + 1, "%H:%M:%S", parts);
    if (!rest)
        rest = strptime(text + 1, "%H:%M", parts);
    if (!rest || (text[0] != 'T' && text[0] != 't' && text[0] != ' '))
        return -1;
    uint64_t unit_ns = 100000000;
    if (*rest == '.' && isdigit((unsigned char)rest[1]))
        for (rest++; isdigit((unsigned char)*rest); rest++, unit_ns /= 10)
            *ret_ns += (uint64_t)(*rest - '0') * unit_ns;
    *ret_rest = rest;
    return 0;
}

/* "Z", "+01:00", "" for local time: the instant of what the clock there showed. */
static int resolve_zone(const char *zone, struct tm *parts, int64_t *ret_seconds)
{
    unsigned hours = 0, minutes = 0;
    int used = 0;
    if (zone[0] == '\0') {
        parts->tm_isdst = -1;
        *ret_seconds = mktime(parts);
        return 0;
    }
    *ret_seconds = timegm(parts);
    if ((zone[0] == 'Z' || zone[0] == 'z') && zone[1] == '\0')
        return 0;
    if ((zone[0] != '+' && zone[0] != '-') || !isdigit((unsigned char)zone[1]) ||
        sscanf(zone + 1, "%2u:%2u%n", &hours, &minutes, &used) != 2 || zone[1 + used] != '\0' || used != 5 ||
        hours > 23 || minutes > 59)
        return -1;
    int64_t offset = hours * 3600 + minutes * 60;
    *ret_seconds += zone[0] == '+' ? -offset : offset;
    return 0;
}

int number_parse_instant(const char *text, uint64_t *ret_instant_ns)
{
    struct timespec now;
    struct tm parts = {0};
    int64_t span_ns = 0, seconds = 0;
    uint64_t ns = 0;
    if (number_parse_span(text, &span_ns) == 0) {
        clock_gettime(CLOCK_REALTIME, &now);
        uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
        *ret_instant_ns = (uint64_t)span_ns < now_ns ? now_ns - (uint64_t)span_ns : 1;
        return 0;
    }
    const char *rest = isdigit((unsigned char)text[0]) ? strptime(text, "%Y-%m-%d", &parts) : NULL;
    if (!rest || (*rest && parse_clock(rest, &parts, &ns, &rest) != 0) || resolve_zone(rest, &parts, &seconds) != 0)
        return -1;
    if (seconds < 0 || seconds > INT64_MAX / 1000000000 - 1)
        return -1;
    ns += (uint64_t)seconds * 1000000000;
    *ret_instant_ns = ns > 0 ? ns : 1;
    return 0;
}

int number_parse_position(const char *text, uint64_t *ret_position)
{
    uint64_t position = 0;
    const char *rest = NULL;
    if (strcmp(text, "start") == 0)
        position = WEIR_POSITION_START;
    else if (strcmp(text, "end") == 0)
        position = WEIR_POSITION_END;
    else if (parse_digits(text, 10, &position, &rest) != 0 || *rest != '\0' || position >= WEIR_POSITION_START)
        return -1;
    *ret_position = position;
    return 0;
}

static const char *const byte_units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
enum { BYTE_UNIT_COUNT = sizeof byte_units / sizeof byte_units[0] };

static const char *print_bytes(struct number_text *buffer, double bytes, const char *tail)
{
    unsigned unit = 0;
    for (; bytes >= 1023.95 && unit + 1 < BYTE_UNIT_COUNT; unit++)
        bytes /= 1024;
    snprintf(buffer->text, sizeof buffer->text, "%.*f %s%s", unit > 0 ? 1 : 0, bytes, byte_units[unit], tail);
    return buffer->text;
}

const char *number_bytes(struct number_text *buffer, double bytes)
{
    return print_bytes(buffer, bytes, "");
}

const char *number_per_second(struct number_text *buffer, double bytes)
{
    return print_bytes(buffer, bytes, "/s");
}

const char *number_exact_bytes(struct number_text *buffer, uint64_t bytes)
{
    unsigned unit = 0;
    for (; bytes >= 1024 && bytes % 1024 == 0 && unit + 1 < BYTE_UNIT_COUNT; unit++)
        bytes /= 1024;
    snprintf(buffer->text, sizeof buffer->text, "%" PRIu64 " %s", bytes, byte_units[unit]);
    return buffer->text;
}

const char *number_span(struct number_text *buffer, uint64_t span_ns)
{
    double span = (double)span_ns;
    if (span_ns < 1000)
        snprintf(buffer->text, sizeof buffer->text, "%.0f ns", span);
    else if (span_ns < 999950)
        snprintf(buffer->text, sizeof buffer->text, "%.1f us", span / 1e3);
    else if (span_ns < 999950000)
        snprintf(buffer->text, sizeof buffer->text, "%.1f ms", span / 1e6);
    else
        snprintf(buffer->text, sizeof buffer->text, "%.1f s", span / 1e9);
    return buffer->text;
}

const char *number_grouped(struct number_text *buffer, uint64_t number)
{
    char digits[24];
    size_t count = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, number);
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            buffer->text[used++] = ',';
        buffer->text[used++] = digits[i];
    }
    buffer->text[used] = '\0';
    return buffer->text;
}

const char *number_instant(struct number_text *buffer, uint64_t instant_ns)
{
    time_t seconds = (time_t)(instant_ns / 1000000000);
    struct tm parts;
    char date[24] = "";
    if (gmtime_r(&seconds, &parts))
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(buffer->text, sizeof buffer->text, "%s.%09uZ", date, (unsigned)(instant_ns % 1000000000));
    return buffer->text;
}
