/* SPDX-License-Identifier: Apache-2.0 */
/* weir journal dump: messages by range, without the ring. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/journal.h"
#include "cli/output.h"
#include "cli/print.h"
#include "cli/signals.h"

enum { SINK_BYTES = 256 * 1024 };

struct dump_arguments {
    struct journal_place place;
    uint64_t from, to, since_ns, until_ns, count;
    int framed;
};
static const struct dump_arguments dump_defaults = {{NULL}, WEIR_POSITION_START, WEIR_POSITION_END, 0, 0, UINT64_MAX,
                                                    0};
static const struct option dump_options[] = {
    JOURNAL_OPTION,
    {"--from", "start|POSITION", OPTION_POSITION, offsetof(struct dump_arguments, from), 0, 0,
     "where to begin (default: start, the oldest that there is)"},
    {"--to", "end|POSITION", OPTION_POSITION, offsetof(struct dump_arguments, to), 0, 0,
     "only messages in front of this position (default: end)"},
    {"--since", "TIME", OPTION_INSTANT, offsetof(struct dump_arguments, since_ns), 0, 0,
     "begin with what is of that time or later: 2026-01-31T12:00:00Z, or 10m: so long ago"},
    {"--until", "TIME", OPTION_INSTANT, offsetof(struct dump_arguments, until_ns), 0, 0,
     "end where --since TIME would begin"},
    {"--count", "N", OPTION_COUNT, offsetof(struct dump_arguments, count), 0, UINT64_MAX, "N messages at most"},
    {"--framed", NULL, OPTION_SET, offsetof(struct dump_arguments, framed), 1, 0,
     "each message follows its length in 4 bytes, little-endian (default: a newline behind each)"},
    OPTIONS_END,
};

/* Goes to the beginning; *ret_to: the end. */
static int go(const struct dump_arguments *arguments, struct weir_journal *journal, uint64_t *ret_to)
{
    int rc = 0;
    *ret_to = arguments->to;
    if (arguments->until_ns && (rc = weir_journal_seek_time(journal, arguments->until_ns)) == 0)
        *ret_to = weir_journal_position(journal);
    if (rc < 0)
        return rc;
    return arguments->since_ns ? weir_journal_seek_time(journal, arguments->since_ns)
                               : weir_journal_seek(journal, arguments->from);
}

static int dump(const struct dump_arguments *arguments, uint64_t to, enum print_format format,
                struct weir_journal *journal, struct sink *sink)
{
    uint64_t printed = 0;
    struct weir_message message;
    struct weir_gap gap;
    while (sink->error == 0 && !signals_stop() && printed < arguments->count && weir_journal_position(journal) < to) {
        int rc = weir_journal_next(journal, &message);
        if (rc == -EAGAIN)
            return 0;
        if (rc == -EPIPE && weir_journal_gap(journal, &gap) == 0 && gap.from < to) {
            gap.to = gap.to < to ? gap.to : to;
            print_gap(sink, &gap, format);
        } else if (rc < 0) {
            return rc;
        } else if (message.position >= to) {
            return 0;
        } else {
            print_message(sink, &message, format);
            printed++;
        }
    }
    return 0;
}

static int finish(struct sink *sink, int rc, const char *name)
{
    char why[512];
    snprintf(why, sizeof why, "%s", weir_last_error());
    if (sink->error == 0)
        sink_flush(sink);
    if (sink->error == -EPIPE)
        return EXIT_FAILED;
    if (sink->error != 0) {
        complain("cannot write: standard output: %s", strerror(-sink->error));
        return EXIT_FAILED;
    }
    return rc < 0 ? complain_about(rc, name, why) : EXIT_DONE;
}

static int dump_run(const struct call *call)
{
    const struct dump_arguments *arguments = call->arguments;
    enum print_format format = call->json ? PRINT_JSON : arguments->framed ? PRINT_FRAMED : PRINT_LINES;
    struct sink sink;
    int exit_code = EXIT_FAILED;
    if (call->json && arguments->framed) {
        complain("--json and --framed exclude each other: choose one");
        return EXIT_USAGE;
    }
    if (arguments->since_ns && arguments->from != WEIR_POSITION_START) {
        complain("--from and --since exclude each other: choose one");
        return EXIT_USAGE;
    }
    if (arguments->until_ns && arguments->to != WEIR_POSITION_END) {
        complain("--to and --until exclude each other: choose one");
        return EXIT_USAGE;
    }
    if (sink_open(&sink, STDOUT_FILENO, SINK_BYTES) < 0) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    struct weir_journal *journal = journal_open_operand(call, &exit_code);
    if (journal) {
        uint64_t to = 0;
        int rc = go(arguments, journal, &to);
        if (rc == 0)
            rc = dump(arguments, to, format, journal, &sink);
        exit_code = finish(&sink, rc, call->operands[0]);
    }
    weir_journal_close(journal);
    sink_close(&sink);
    return exit_code;
}

const struct command journal_dump_command = {
    .words = "journal dump",
    .summary = "Print the messages of a journal, without its ring",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .options = dump_options,
    .defaults = &dump_defaults,
    .arguments_bytes = sizeof dump_defaults,
    .text = "As 'weir sub' prints them. Missing positions are told on standard error, with --json as {\"gap\":...}.\n",
    .run = dump_run,
};
