/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/plot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "bench/pair.h"

static struct plot_curve *curve_of(struct plot *plot, const char *name)
{
    for (size_t i = 0; i < plot->count; i++)
        if (strcmp(plot->curves[i].name, name) == 0)
            return &plot->curves[i];
    if (plot->count == PLOT_CURVES_MAX)
        return NULL;
    struct plot_curve *curve = &plot->curves[plot->count];
    snprintf(curve->name, sizeof curve->name, "%s", name);
    curve->weir = calloc(1, sizeof *curve->weir);
    curve->limit = calloc(1, sizeof *curve->limit);
    plot->count++;
    return curve->weir && curve->limit ? curve : NULL;
}

int plot_add(struct plot *plot, const char *name, int near, const struct histogram *weir, const struct histogram *limit)
{
    char whole[64];
    snprintf(whole, sizeof whole, "%s, %s", name, near ? "near" : "far");
    struct plot_curve *curve = curve_of(plot, whole);
    if (!curve)
        return -ENOMEM;
    histogram_merge(curve->weir, weir);
    histogram_merge(curve->limit, limit);
    return 0;
}

void plot_close(struct plot *plot)
{
    for (size_t i = 0; i < plot->count; i++) {
        free(plot->curves[i].weir);
        free(plot->curves[i].limit);
    }
    plot->count = 0;
}

static int complain(const char *what, int error)
{
    fprintf(stderr, "weir: bench: %s: %s\n", what, strerror(error));
    return -error;
}

static int write_hgrm(const char *directory, const char *name, const char *suffix, const struct histogram *histogram)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/%s%s.hgrm", directory, name, suffix) >= sizeof path)
        return complain(directory, ENAMETOOLONG);
    for (char *c = path + strlen(directory) + 1; *c; c++)
        if (*c == ' ' || *c == ',')
            *c = '-';
    FILE *file = fopen(path, "w");
    if (!file)
        return complain(path, errno);
    histogram_print(histogram, file, bench_ticks_per_ns());
    int failed = ferror(file) != 0;
    return fclose(file) != 0 || failed ? complain(path, EIO) : 0;
}

static int write_all_hgrm(const struct plot *plot, const char *directory)
{
    if (mkdir(directory, 0777) < 0 && errno != EEXIST)
        return complain(directory, errno);
    int r = 0;
    for (size_t i = 0; i < plot->count && r == 0; i++) {
        const struct plot_curve *curve = &plot->curves[i];
        r = write_hgrm(directory, curve->name, "", curve->weir);
        if (r == 0)
            r = write_hgrm(directory, curve->name, "-limit", curve->limit);
    }
    return r;
}

/* A text in gnuplot's single quotes, where only the quote itself is special. */
static void quote(FILE *stream, const char *text)
{
    fputc('\'', stream);
    for (; *text; text++) {
        if (*text == '\'')
            fputc('\'', stream);
        fputc(*text, stream);
    }
    fputc('\'', stream);
}

static void draw(const struct plot *plot, FILE *gnuplot, const char *file)
{
    for (size_t i = 0; i < plot->count; i++) {
        fprintf(gnuplot, "$weir%zu << END\n", i);
        histogram_print(plot->curves[i].weir, gnuplot, bench_ticks_per_ns());
        fprintf(gnuplot, "END\n$limit%zu << END\n", i);
        histogram_print(plot->curves[i].limit, gnuplot, bench_ticks_per_ns());
        fprintf(gnuplot, "END\n");
    }
    fprintf(gnuplot, "set terminal svg size 900,600 background rgb 'white'\nset output ");
    quote(gnuplot, file);
    fprintf(gnuplot, "\nset title 'round trip of two processes, beside the bare ping-pong'\n"
                     "set logscale xy\nset xlabel 'percentile'\nset ylabel 'ns'\nset grid\nset key top left\n"
                     "set xtics ('50' 2, '90' 10, '99' 100, '99.9' 1000, '99.99' 10000, '99.999' 100000)\nplot ");
    for (size_t i = 0; i < plot->count; i++) {
        fprintf(gnuplot, "%s$weir%zu using 4:1 skip 2 with lines lw 2 lc %zu title ", i ? ", " : "", i, i + 1);
        quote(gnuplot, plot->curves[i].name);
        fprintf(gnuplot, ", $limit%zu using 4:1 skip 2 with lines dt 2 lc %zu title 'limit of it'", i, i + 1);
    }
    fprintf(gnuplot, "\n");
}

static int write_svg(const struct plot *plot, const char *file)
{
    FILE *gnuplot = popen("gnuplot", "w");
    if (!gnuplot)
        return complain("gnuplot", errno);
    draw(plot, gnuplot, file);
    int status = pclose(gnuplot);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        fprintf(stderr, "weir: bench: gnuplot is not installed: apt-get install gnuplot-nox\n");
        return -ENOENT;
    }
    return status == 0 ? 0 : complain(file, EIO);
}

int plot_finish(const struct plot *plot, const char *directory, const char *file)
{
    if (plot->count == 0) {
        if (directory || file)
            fprintf(stderr, "weir: bench: nothing to draw: only the bench latency has distributions\n");
        return directory || file ? -EINVAL : 0;
    }
    int r = directory ? write_all_hgrm(plot, directory) : 0;
    return r == 0 && file ? write_svg(plot, file) : r;
}
