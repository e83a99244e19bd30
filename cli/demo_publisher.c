/* SPDX-License-Identifier: Apache-2.0 */
/* weir demo-publisher: publishes the lines of a file under a name, as far and as fast as it is told to. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weir.h>

#include "cli/command.h"
#include "cli/demo.h"
#include "cli/output.h"
#include "cli/pace.h"
#include "cli/signals.h"

enum { MESSAGES_BETWEEN_LOOKS = 256 };
static const uint64_t report_every_ns = UINT64_C(10000000);

struct publisher_arguments {
    const char *file, *name;
};
static const struct option publisher_options[] = {
    {"--file", "F", OPTION_TEXT, offsetof(struct publisher_arguments, file), 0, 0, "the lines to publish"},
    {"--as", "NAME", OPTION_TEXT, offsetof(struct publisher_arguments, name), 0, 0, "the publisher's name"},
    {NULL, NULL, OPTION_SET, 0, 0, 0, NULL},
};

struct run {
    struct weir_pub *pub;
    struct demo_input input;
    struct demo_order order;
    struct demo_publisher_report report;
    struct pace pace;
    uint64_t reported_ns;
};

void demo_publisher_name(int index, char name[24])
{
    snprintf(name, 24, "source-%d", index + 1);
}

static int tell(struct run *run, bool wait)
{
    int rc = demo_tell(STDOUT_FILENO, &run->report, sizeof run->report, wait);
    run->reported_ns = pace_now_ns();
    if (rc == 1)
        memset(&run->report.latency, 0, sizeof run->report.latency);
    return rc < 0 ? rc : 0;
}

/* Takes an order if there is one; waits for it that long. 0; -EPIPE: the director is gone. */
static int take_order(struct run *run, int timeout_ms)
{
    struct pollfd orders = {STDIN_FILENO, POLLIN, 0};
    if (poll(&orders, 1, timeout_ms) <= 0)
        return 0;
    struct demo_order order;
    ssize_t got = read(STDIN_FILENO, &order, sizeof order);
    if (got != (ssize_t)sizeof order)
        return got < 0 && errno == EINTR ? 0 : -EPIPE;
    run->order = order;
    pace_start(&run->pace, order.per_second);
    return 0;
}

static int publish_next(struct run *run)
{
    const struct demo_line *line = &run->input.lines[run->report.sequence];
    struct weir_message message = {
        .data = line->data,
        .data_bytes = line->bytes,
        .has = WEIR_HAS_SEQUENCE,
        .sequence = run->report.sequence + 1,
    };
    uint64_t began_ns = pace_now_ns();
    int rc = 0;
    do
        rc = weir_pub_send_message(run->pub, &message, SIGNALS_SLICE_NS, NULL);
    while ((rc == -ETIMEDOUT || rc == -EAGAIN || rc == -EINTR) && !signals_stop());
    if (rc < 0)
        return rc;
    demo_latency_add(&run->report.latency, pace_now_ns() - began_ns);
    run->report.sequence++;
    return 0;
}

static int publish_all(struct run *run)
{
    int rc = 0;
    while (rc == 0 && !signals_stop() && run->report.sequence < run->input.line_count) {
        uint64_t left = run->order.until > run->report.sequence ? run->order.until - run->report.sequence : 0;
        size_t wanted = left < MESSAGES_BETWEEN_LOOKS ? (size_t)left : MESSAGES_BETWEEN_LOOKS;
        size_t allowed = wanted > 0 ? pace_allowed(&run->pace, wanted) : 0;
        for (size_t i = 0; i < allowed && rc == 0; i++)
            rc = publish_next(run);
        pace_count(&run->pace, allowed);
        if (rc == 0 && (allowed == 0 || pace_now_ns() - run->reported_ns >= report_every_ns))
            rc = tell(run, false);
        if (rc == 0)
            rc = take_order(run, wanted == 0 ? 10 : 0);
        if (wanted > 0 && allowed == 0)
            pace_wait(&run->pace);
    }
    return rc;
}

static int publisher_run(const struct call *call)
{
    const struct publisher_arguments *arguments = call->arguments;
    struct run run = {0};
    if (!arguments->file || !arguments->name) {
        complain("--file and --as are needed: the demo gives them");
        return EXIT_USAGE;
    }
    fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK);
    if (demo_input_load(&run.input, arguments->file) != EXIT_DONE)
        return EXIT_FAILED;
    struct weir_pub_options options = WEIR_PUB_OPTIONS_INIT;
    options.name = arguments->name;
    int rc = weir_pub_open(call->bus, call->operands[0], &options, &run.pub);
    if (rc == 0)
        rc = weir_pub_last_sequence(run.pub, &run.report.resumed_after);
    run.report.sequence = run.report.resumed_after;
    if (rc == 0)
        rc = tell(&run, true);
    if (rc == 0)
        rc = publish_all(&run);
    if (rc == 0)
        rc = tell(&run, true);
    if (rc < 0)
        complain_failed(rc, arguments->name);
    weir_pub_close(run.pub);
    demo_input_free(&run.input);
    return rc == 0 ? EXIT_DONE : EXIT_FAILED;
}

const struct command demo_publisher_command = {
    .words = "demo-publisher",
    .summary = "A publisher of the demo",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .options = publisher_options,
    .arguments_bytes = sizeof(struct publisher_arguments),
    .hidden = 1,
    .run = publisher_run,
};
