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
#include "cli/command.h"
#include "cli/output.h"
#include "cli/signals.h"

struct bench_arguments {
    uint64_t seconds;
    const char *cpus;
};
static const struct bench_arguments bench_defaults = {60, NULL};
static const struct option bench_command_options[] = {
    {"--seconds", "N", OPTION_COUNT, offsetof(struct bench_arguments, seconds), 1, 86400,
     "about how long all of it takes (default: 60)"},
    {"--cpus", "A,B", OPTION_TEXT, offsetof(struct bench_arguments, cpus), 0, 0,
     "the two processors to use (default: the first two allowed)"},
    {NULL, NULL, OPTION_SET, 0, 0, 0, NULL},
};

static int parse_cpus(const char *text, int cpus[2])
{
    char *end;
    cpus[0] = cpus[1] = -1;
    if (!text)
        return 0;
    long a = strtol(text, &end, 10);
    if (end == text || *end != ',')
        return -EINVAL;
    const char *second = end + 1;
    long b = strtol(second, &end, 10);
    if (end == second || *end || a < 0 || b < 0 || a > 1023 || b > 1023 || a == b)
        return -EINVAL;
    cpus[0] = (int)a;
    cpus[1] = (int)b;
    return 0;
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
    struct bench_options options = {.names = call->operands,
                                    .name_count = call->operand_count,
                                    .seconds = (double)arguments->seconds,
                                    .json = call->json,
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
    if (parse_cpus(arguments->cpus, options.cpus) < 0) {
        complain("--cpus: \"%s\" is not two different processors, like 0,1", arguments->cpus);
        return EXIT_USAGE;
    }
    char bus[] = "/dev/shm/weir-bench-XXXXXX";
    if (!mkdtemp(bus)) {
        complain("cannot make a bus below /dev/shm: %s", strerror(errno));
        return EXIT_FAILED;
    }
    options.bus = bus;
    int r = bench_run(&options);
    weir_ring_list(bus, remove_one, bus);
    rmdir(bus);
    if (r < 0)
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
        "Benches: latency, throughput, wakeup, idle; without names, all of them. Each figure is the median of rounds\n"
        "that were interleaved with the bare machine doing the same; near and far say how the two processors lay to\n"
        "each other then. A missed budget is marked; it does not change the exit status.\n",
    .run = bench_command_run,
};
