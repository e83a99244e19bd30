/* SPDX-License-Identifier: Apache-2.0 */
/* weir bench: the cases of bench/ on a bus of their own. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir.h>

#include "bench/bench.h"
#include "bench/site.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/programs.h"
#include "cli/signals.h"

struct bench_arguments {
    uint64_t seconds, journal_bytes;
    const char *cpus, *only, *hgrm, *plot, *journal_dir;
};
static const struct bench_arguments bench_defaults = {.seconds = 90};
static const struct option bench_command_options[] = {
    {"--seconds", "N", OPTION_COUNT, offsetof(struct bench_arguments, seconds), 1, 86400,
     "about how long all of it takes (default: 90)"},
    {"--case", "TEXT", OPTION_TEXT, offsetof(struct bench_arguments, only), 0, 0,
     "only the cases whose name has TEXT in it"},
    {"--cpus", "A,B,...", OPTION_TEXT, offsetof(struct bench_arguments, cpus), 0, 0,
     "the processors to use, two at least (default: all that are allowed)"},
    {"--journal-dir", "DIR", OPTION_TEXT, offsetof(struct bench_arguments, journal_dir), 0, 0,
     "the disk to use, for journals that are removed (default: $TMPDIR if that is a disk, else /var/tmp)"},
    {"--journal-bytes", "N", OPTION_COUNT, offsetof(struct bench_arguments, journal_bytes), 1 << 20, 1ull << 40,
     "how much a round writes to it at most (default: 512MiB, recover 1GiB)"},
    {"--hgrm", "DIR", OPTION_TEXT, offsetof(struct bench_arguments, hgrm), 0, 0,
     "write the round trips' distributions there, as HdrHistogram's .hgrm files"},
    {"--plot", "FILE", OPTION_TEXT, offsetof(struct bench_arguments, plot), 0, 0,
     "draw them as SVG, beside the limit's (needs gnuplot)"},
    {NULL, NULL, OPTION_SET, 0, 0, 0, NULL},
};

#define CPUS_MAX 64

/* "0,1,5": how many, or -EINVAL. */
static int parse_cpus(const char *text, int cpus[CPUS_MAX])
{
    int count = 0;
    if (!text)
        return 0;
    for (char *end; count < CPUS_MAX; text = end + 1) {
        long cpu = strtol(text, &end, 10);
        if (end == text || cpu < 0 || cpu > 1023 || (*end && *end != ','))
            return -EINVAL;
        for (int i = 0; i < count; i++)
            if (cpus[i] == cpu)
                return -EINVAL;
        cpus[count++] = (int)cpu;
        if (!*end)
            return count >= 2 ? count : -EINVAL;
    }
    return -EINVAL;
}

struct known {
    const char *wanted;
    int found;
};
static struct known known;

static void look_up(const char *name, const char *what)
{
    (void)what;
    known.found |= strcmp(name, known.wanted) == 0;
}

static void list_one(const char *name, const char *what)
{
    fprintf(stderr, "  %-11s %s\n", name, what);
}

static int remove_one(void *ctx, const char *name)
{
    weir_ring_remove(ctx, name, 1, 0);
    return 0;
}

static int stop(void)
{
    return signals_stop();
}

static int bench_command_run(const struct call *call)
{
    const struct bench_arguments *arguments = call->arguments;
    int cpus[CPUS_MAX];
    int cpu_count = parse_cpus(arguments->cpus, cpus);
    struct bench_options options = {.names = call->operands,
                                    .name_count = call->operand_count,
                                    .only = arguments->only,
                                    .journal_dir = arguments->journal_dir,
                                    .journal_bytes = arguments->journal_bytes,
                                    .seconds = (double)arguments->seconds,
                                    .json = call->json,
                                    .cpus = cpus,
                                    .cpu_count = (size_t)(cpu_count > 0 ? cpu_count : 0),
                                    .hgrm = arguments->hgrm,
                                    .plot = arguments->plot,
                                    .progress = !call->json && isatty(STDERR_FILENO),
                                    .stop = stop};
    for (size_t i = 0; i < call->operand_count; i++) {
        known = (struct known){call->operands[i], 0};
        bench_names(look_up);
        if (!known.found) {
            complain("there is no bench %s; there are:", call->operands[i]);
            bench_names(list_one);
            return EXIT_USAGE;
        }
    }
    if (cpu_count < 0) {
        complain("--cpus: \"%s\" is not a list of different processors, two at least, like 0,1", arguments->cpus);
        return EXIT_USAGE;
    }
    char bus[] = "/dev/shm/weir-bench-XXXXXX";
    if (!mkdtemp(bus)) {
        complain("cannot make a bus below /dev/shm: %s", strerror(errno));
        return EXIT_FAILED;
    }
    char self[4096] = "", weird[4096];
    program_self(self, sizeof self);
    program_weird(self, weird, sizeof weird);
    options.bus = bus;
    options.weird = weird;
    int r = bench_run(&options);
    weir_ring_list(bus, remove_one, bus);
    site_remove(bus); /* a daemon leaves a file */
    if (r == -ENOENT && arguments->only)
        complain("--case: no case has \"%s\" in its name", arguments->only);
    else if (r < 0)
        complain("could not measure: %s", weir_strerror(r));
    return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

const struct command bench_command = {
    .words = "bench",
    .summary = "Measure weir beside the limits of this machine",
    .operands = "[BENCH...]",
    .operands_max = (size_t)-1,
    .options = bench_command_options,
    .defaults = &bench_defaults,
    .arguments_bytes = sizeof bench_defaults,
    .text =
        "Benches: limit, copy, latency, openloop, throughput, fanout, wakeup, rollover, repair, idle, and of "
        "journals:\n"
        "drain, confirm, catchup, peak, recover; without names, all of them.\n"
        "Each figure is the median of rounds that were interleaved with the bare machine doing the same; near and far\n"
        "say how the processors lay to each other then. A missed budget is marked; it does not change the exit "
        "status.\n"
        "Journals take up to 2 GiB of the disk, or twice --journal-bytes, while they are measured.\n",
    .own_bus = 1,
    .run = bench_command_run,
};
