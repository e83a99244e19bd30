/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double report_median(double *values, size_t count)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

void report_begin(int json)
{
    if (!json)
        printf("%-11s %-38s %-5s %12s %12s %7s  %-12s %6s\n", "bench", "case", "cores", "weir", "limit", "ratio",
               "budget", "rounds");
}

static int within(const struct report_row *row)
{
    double judged = row->limit > 0 ? row->ratio : row->value;
    if (row->budget == 0)
        return 1;
    return row->budget_is_floor ? judged >= row->budget : judged <= row->budget;
}

static void print_number(double value, const char *unit, int known)
{
    char text[32];
    if (!known)
        snprintf(text, sizeof text, "-");
    else
        snprintf(text, sizeof text, value < 10 ? "%.3f %s" : "%.1f %s", value, unit);
    printf(" %12s", text);
}

/* The processor's name and how it is clocked: what a figure is worth depends on them. */
static const char *processor(void)
{
    static char name[128];
    char line[256];
    FILE *file = name[0] ? NULL : fopen("/proc/cpuinfo", "r");
    while (file && !name[0] && fgets(line, sizeof line, file))
        sscanf(line, "model name : %127[^\n\"\\]", name);
    if (file)
        fclose(file);
    return name[0] ? name : "unknown";
}

static const char *governor(void)
{
    static char name[32];
    FILE *file = name[0] ? NULL : fopen("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "r");
    if (file) {
        if (fscanf(file, "%31[a-z]", name) != 1)
            name[0] = '\0';
        fclose(file);
    }
    return name[0] ? name : "none";
}

static void print_json(const struct report_row *row, int ok)
{
    struct utsname machine;
    uname(&machine);
    printf("{\"bench\":\"%s\",\"case\":\"%s%s%s\",\"cores\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",", row->bench,
           row->name, row->metric ? " " : "", row->metric ? row->metric : "", row->place, row->value, row->unit);
    if (row->limit > 0)
        printf("\"limit\":%.6g,\"ratio\":%.4f,", row->limit, row->ratio);
    else
        printf("\"limit\":null,\"ratio\":null,");
    if (row->budget > 0)
        printf("\"budget\":%.4g,\"within\":%s,", row->budget, ok ? "true" : "false");
    else
        printf("\"budget\":null,\"within\":null,");
    if (row->disk)
        printf("\"disk\":\"%s\",", row->disk);
    else
        printf("\"disk\":null,");
    printf("\"rounds\":%zu,\"kernel\":\"%s\",\"machine\":\"%s\",\"processor\":\"%s\",\"processors\":%ld,\"governor\":"
           "\"%s\"}\n",
           row->rounds, machine.release, machine.machine, processor(), sysconf(_SC_NPROCESSORS_ONLN), governor());
}

static void print_line(const struct report_row *row, int ok)
{
    char budget[32] = "", name[64];
    snprintf(name, sizeof name, "%s%s%s", row->name, row->metric ? " " : "", row->metric ? row->metric : "");
    if (row->budget > 0)
        snprintf(budget, sizeof budget, "%s %.4g%s", row->budget_is_floor ? ">=" : "<=", row->budget,
                 ok ? "" : "  MISSED");
    printf("%-11s %-38s %-5s", row->bench, name, row->place);
    print_number(row->value, row->unit, 1);
    print_number(row->limit, row->unit, row->limit > 0);
    if (row->limit > 0)
        printf(" %6.2fx", row->ratio);
    else
        printf(" %7s", "");
    printf("  %-12s %6zu\n", budget, row->rounds);
}

int report_row(const struct report_row *row, int json)
{
    int ok = within(row);
    if (json)
        print_json(row, ok);
    else
        print_line(row, ok);
    fflush(stdout);
    return ok;
}
