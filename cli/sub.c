/* SPDX-License-Identifier: Apache-2.0 */
/* weir sub: prints what is published as lines, frames or JSON. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weir.h>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/pace.h"
#include "cli/print.h"
#include "cli/signals.h"

enum {
    BATCH_MESSAGES = 64,
    SAVE_MESSAGES = 1024, /* the position is saved at least this often, */
    SINK_BYTES = 256 * 1024,
};
static const uint64_t save_every_ns = UINT64_C(100000000); /* and this often */
/* An idle reader looks this often whether anybody still reads its output. Signals interrupt the wait. */
static const int64_t idle_slice_ns = INT64_C(1000000000);

struct sub_arguments {
    uint64_t from, since_ns, count;
    int64_t timeout_ns;
    const char *cursor;
    double rate;
    int framed, gate;
};
static const struct sub_arguments sub_defaults = {WEIR_POSITION_START, 0, UINT64_MAX, WEIR_FOREVER, NULL, 0, 0, 0};

static const struct option sub_options[] = {
    {"--from", "start|end|POSITION", OPTION_POSITION, offsetof(struct sub_arguments, from), 0, 0,
     "where to begin (default: start, the oldest that is still there)"},
    {"--since", "TIME", OPTION_INSTANT, offsetof(struct sub_arguments, since_ns), 0, 0,
     "begin with what is of that time or later: 2026-01-31T12:00:00Z, or 10m: so long ago"},
    {"--count", "N", OPTION_COUNT, offsetof(struct sub_arguments, count), 0, UINT64_MAX,
     "end with exit 0 after N messages"},
    {"--timeout", "S", OPTION_SPAN, offsetof(struct sub_arguments, timeout_ns), 0, 0,
     "end with exit 1 S after the start; 0: print what is there, and exit 0"},
    {"--save", "AS", OPTION_TEXT, offsetof(struct sub_arguments, cursor), 0, 0,
     "keep the position under this name, and go on there next time"},
    {"--rate", "N", OPTION_RATE, offsetof(struct sub_arguments, rate), 0, 0, "at most N messages a second"},
    {"--framed", NULL, OPTION_SET, offsetof(struct sub_arguments, framed), 1, 0,
     "each message follows its length in 4 bytes, little-endian (default: a newline behind each)"},
    {"--gate", NULL, OPTION_SET, offsetof(struct sub_arguments, gate), 1, 0,
     "publishers wait for this reader (memory-only rings)"},
    {NULL, NULL, OPTION_SET, 0, 0, 0, NULL},
};

struct run {
    const struct call *call;
    const struct sub_arguments *arguments;
    const char *ring;
    struct weir_sub *sub;
    struct sink sink;
    struct pace pace;
    uint64_t deadline_ns; /* UINT64_MAX: none */
    uint64_t printed;     /* messages put into the sink */
    uint64_t next;        /* position behind the last of them */
    uint64_t unsaved;     /* how many since the last save */
    uint64_t saved_ns;
    bool dirty; /* next is ahead of what is flushed, or of what is saved */
};

static enum print_format format_of(const struct run *run)
{
    return run->call->json ? PRINT_JSON : run->arguments->framed ? PRINT_FRAMED : PRINT_LINES;
}

static void put_gap(struct run *run)
{
    struct weir_gap gap;
    if (weir_sub_gap(run->sub, &gap) < 0)
        return;
    print_gap(&run->sink, &gap, format_of(run));
    run->next = gap.to;
    run->dirty = true;
}

/* -- Output and position -------------------------------------------------------------------------------------------- */

/* A position is saved only after all before it has been taken by the kernel: a kill repeats messages, and loses none. */
static int flush_and_save(struct run *run)
{
    if (!run->dirty)
        return run->sink.error;
    if (sink_flush(&run->sink) != 0)
        return run->sink.error;
    int rc = run->arguments->cursor ? weir_sub_save(run->sub, run->next) : 0;
    run->dirty = false;
    run->unsaved = 0;
    run->saved_ns = pace_now_ns();
    return rc;
}

static bool save_is_due(const struct run *run)
{
    return run->arguments->cursor &&
           (run->unsaved + BATCH_MESSAGES > SAVE_MESSAGES || pace_now_ns() - run->saved_ns >= save_every_ns);
}

static int64_t slice_ns(const struct run *run, uint64_t now_ns)
{
    if (now_ns >= run->deadline_ns)
        return 0;
    uint64_t left_ns = run->deadline_ns - now_ns;
    return left_ns < (uint64_t)idle_slice_ns ? (int64_t)left_ns : idle_slice_ns;
}

/* Up to `allowed` messages. Before it waits, what has been read is flushed. Returns as weir_sub_next_batch(). */
static int read_some(struct run *run, struct weir_message *messages, size_t allowed)
{
    int rc = weir_sub_next_batch(run->sub, messages, allowed, 0);
    if (rc != -EAGAIN && rc != -ETIMEDOUT)
        return rc;
    rc = flush_and_save(run);
    if (rc == 0)
        rc = sink_look(&run->sink);
    int64_t wait_ns = slice_ns(run, pace_now_ns());
    if (rc < 0 || wait_ns == 0)
        return rc < 0 ? rc : -EAGAIN;
    rc = weir_sub_next_batch(run->sub, messages, allowed, wait_ns);
    pace_idle(&run->pace);
    return rc;
}

/* One step: 0, or a negative errno; -ETIMEDOUT: the time limit. */
static int print_some(struct run *run)
{
    struct weir_message messages[BATCH_MESSAGES];
    uint64_t wanted = run->arguments->count - run->printed;
    size_t allowed = pace_allowed(&run->pace, wanted < BATCH_MESSAGES ? (size_t)wanted : BATCH_MESSAGES);
    bool limit_passed = pace_now_ns() >= run->deadline_ns;
    if (limit_passed && run->arguments->timeout_ns > 0)
        return -ETIMEDOUT;
    if (allowed == 0) {
        int rc = flush_and_save(run);
        pace_wait(&run->pace);
        return rc;
    }
    int count = read_some(run, messages, allowed);
    if (count == -EPIPE && run->sink.error == 0) {
        put_gap(run);
        return 0;
    }
    if (count == -EAGAIN || count == -ETIMEDOUT)
        return limit_passed ? -ETIMEDOUT : 0;
    if (count < 0)
        return count == -EINTR && run->sink.error == 0 ? 0 : count;
    for (int i = 0; i < count; i++) {
        if (print_message(&run->sink, &messages[i], format_of(run)) != 0)
            return run->sink.error;
        run->next = messages[i].next;
        run->printed++;
        run->unsaved++;
    }
    run->dirty = run->dirty || count > 0;
    pace_count(&run->pace, (size_t)count);
    return save_is_due(run) ? flush_and_save(run) : 0;
}

/* -- The command ---------------------------------------------------------------------------------------------------- */

static int print_all(struct run *run)
{
    int rc = 0;
    while (rc == 0 && !signals_stop() && run->printed < run->arguments->count)
        rc = print_some(run);
    bool limit_passed = rc == -ETIMEDOUT;
    char why[512];
    snprintf(why, sizeof why, "%s", weir_last_error());
    /* What was read before something failed is still good, unless it is the output that failed. */
    int end_rc = run->sink.error == 0 ? flush_and_save(run) : 0;
    if (run->sink.error == -EPIPE)
        return EXIT_FAILED;
    if (run->sink.error != 0) {
        complain("cannot write: standard output: %s: the position is not saved past it",
                 run->sink.error == -EINTR ? "nobody takes it" : strerror(-run->sink.error));
        return EXIT_FAILED;
    }
    if (rc < 0 && !limit_passed) {
        complain_about(rc, run->ring, why);
        return EXIT_FAILED;
    }
    if (end_rc < 0)
        return complain_failed(end_rc, run->ring);
    return limit_passed && run->arguments->timeout_ns > 0 ? EXIT_FAILED : EXIT_DONE;
}

static int sub_run(const struct call *call)
{
    const struct sub_arguments *arguments = call->arguments;
    struct run run = {.call = call, .arguments = arguments, .ring = call->operands[0]};
    if (call->json && arguments->framed) {
        complain("--json and --framed exclude each other: choose one");
        return EXIT_USAGE;
    }
    if (arguments->since_ns && arguments->from != WEIR_POSITION_START) {
        complain("--from and --since exclude each other: choose one");
        return EXIT_USAGE;
    }
    uint64_t now_ns = pace_now_ns();
    run.deadline_ns = UINT64_MAX;
    if (arguments->timeout_ns < WEIR_FOREVER - (int64_t)now_ns)
        run.deadline_ns = now_ns + (uint64_t)arguments->timeout_ns;
    if (sink_open(&run.sink, STDOUT_FILENO, SINK_BYTES) < 0) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    options.from = arguments->from;
    options.since_ns = arguments->since_ns;
    options.cursor = arguments->cursor;
    options.gating = arguments->gate;
    signals_about(run.ring);
    int rc = weir_sub_open(call->bus, run.ring, &options, &run.sub);
    int exit_code = EXIT_FAILED;
    if (rc < 0) {
        exit_code = complain_failed(rc, run.ring);
    } else {
        pace_start(&run.pace, arguments->rate);
        run.saved_ns = now_ns;
        exit_code = print_all(&run);
    }
    weir_sub_close(run.sub);
    sink_close(&run.sink);
    return exit_code;
}

const struct command sub_command = {
    .words = "sub",
    .summary = "Print the messages of a ring as they come",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .options = sub_options,
    .defaults = &sub_defaults,
    .arguments_bytes = sizeof sub_defaults,
    .text = "Exit status 0: --count was reached, --timeout 0 has printed what is there, or SIGINT, SIGTERM or SIGHUP\n"
            "came; 1: the time limit passed, the output broke, or something failed. Missing positions are told on "
            "standard error, with --json as "
            "{\"gap\":...}.\n",
    .run = sub_run,
};
