/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, rates, spans and positions as people write them, and back. Parsers return 0, or -1 and write nothing. */
#ifndef WEIR_CLI_NUMBER_H
#define WEIR_CLI_NUMBER_H

#include <stddef.h>
#include <stdint.h>

/* Digits, then nothing or one of k M G T (1000), KiB MiB GiB TiB (1024). Nothing that overflows. */
int number_parse(const char *text, uint64_t *ret_number);
int number_parse_octal(const char *text, uint64_t *ret_number);
/* Per second: decimals are allowed, k and M may follow; above 0. */
int number_parse_rate(const char *text, double *ret_rate);
/* Seconds, or with ms, s, m or min, h, d; decimals are allowed; 0 or more. In ns. */
int number_parse_span(const char *text, int64_t *ret_span_ns);
/*
 * An instant of RFC 3339, of which the zone may be missing (local time), the fraction, or all behind the day; or a span: so long
 * ago. In ns since 1970.
 */
int number_parse_instant(const char *text, uint64_t *ret_instant_ns);
/* start, end, or digits. */
int number_parse_position(const char *text, uint64_t *ret_position);

/* Room for any of the texts below. */
struct number_text {
    char text[40];
};
const char *number_bytes(struct number_text *buffer, double bytes);         /* "4.0 MiB" */
const char *number_per_second(struct number_text *buffer, double bytes);    /* "4.0 MiB/s" */
const char *number_exact_bytes(struct number_text *buffer, uint64_t bytes); /* "256 KiB", "1000 B": without rounding */
const char *number_span(struct number_text *buffer, uint64_t span_ns);      /* "1.5 ms" */
const char *number_grouped(struct number_text *buffer, uint64_t number);    /* "438,694" */
/* RFC 3339 in UTC with nanoseconds: "2026-01-31T12:00:00.123456789Z" */
const char *number_instant(struct number_text *buffer, uint64_t instant_ns);

#endif
