/* SPDX-License-Identifier: Apache-2.0 */
/* What report.c prints: a line a figure, a table or JSON. */
#ifndef WEIR_BENCH_REPORT_H
#define WEIR_BENCH_REPORT_H

#include <stddef.h>

struct report_row {
    const char *bench;
    const char *name;   /* of the case */
    const char *metric; /* of its figures: "p50"; NULL: it has one */
    const char *place;  /* "near", "far", "" */
    const char *unit;
    const char *disk;    /* file system of the journals: "ext4"; NULL: there were none */
    double value, limit; /* medians; limit 0: none */
    double ratio;        /* median of the paired ratios; 0: none */
    double budget;       /* of the ratio where there is a limit, else of the value; 0: none */
    int budget_is_floor; /* 1: at least, 0: at most */
    size_t rounds;
};

void report_begin(int json);
/* Prints a row; 1 when it is within its budget or has none. */
int report_row(const struct report_row *row, int json);
/* Median; sorts. */
double report_median(double *values, size_t count);

#endif
