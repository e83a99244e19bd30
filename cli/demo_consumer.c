/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir demo-consumer: reads all messages and digests them per publisher.
 *
 * With --keep it can be killed at any instruction and restarted: what it has processed (counts and digests) is written to
 * a file first, then the position is saved in the ring. A restarted one goes on at the saved position; a message that the
 * file already counts is known by its publisher's sequence, and not processed twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weir.h>

#include "cli/command.h"
#include "cli/demo.h"
#include "cli/output.h"
#include "cli/pace.h"
#include "cli/signals.h"

enum { BATCH_MESSAGES = 64, SAVE_MESSAGES = 1024 };
static const uint64_t report_every_ns = UINT64_C(20000000);
static const uint64_t save_every_ns = UINT64_C(100000000);
static const uint64_t quiet_ns = UINT64_C(200000000); /* after the last message nothing more may come for that long */

struct consumer_arguments {
    const char *cursor, *keep;
    double rate;
    uint64_t count;
};
static const struct consumer_arguments consumer_defaults = {NULL, NULL, 0, 0};
static const struct option consumer_options[] = {
    {"--save", "AS", OPTION_TEXT, offsetof(struct consumer_arguments, cursor), 0, 0, "name of the cursor"},
    {"--keep", "FILE", OPTION_TEXT, offsetof(struct consumer_arguments, keep), 0, 0, "what has been processed"},
    {"--rate", "N", OPTION_RATE, offsetof(struct consumer_arguments, rate), 0, 0, "at most N messages a second"},
    {"--count", "N", OPTION_COUNT, offsetof(struct consumer_arguments, count), 1, UINT64_MAX, "messages to come"},
    {NULL, NULL, OPTION_SET, 0, 0, 0, NULL},
};

struct run {
    const struct consumer_arguments *arguments;
    struct weir_sub *sub;
    int keep_fd;
    uint64_t producers[DEMO_PUBLISHERS]; /* hashes of the publishers' names */
    struct demo_consumer_report report;
    struct pace pace;
    uint64_t unsaved, saved_ns, reported_ns, last_message_ns;
};

uint64_t demo_consumed(const struct demo_consumer_report *report)
{
    uint64_t count = 0;
    for (int i = 0; i < DEMO_PUBLISHERS; i++)
        count += report->digests[i].count;
    return count;
}

static void process(struct run *run, const struct weir_message *message)
{
    int publisher = 0;
    while (publisher < DEMO_PUBLISHERS && run->producers[publisher] != message->publisher_hash)
        publisher++;
    if (publisher == DEMO_PUBLISHERS || !(message->has & WEIR_HAS_SEQUENCE)) {
        run->report.misplaced++;
        return;
    }
    struct demo_digest *digest = &run->report.digests[publisher];
    if (message->sequence <= digest->count) {
        run->report.repeated++;
        return;
    }
    run->report.misplaced += message->sequence != digest->count + 1;
    demo_digest_add(digest, message->data, message->data_bytes);
}

/* First what was done, then where to go on: a kill in between repeats, and loses nothing. */
static int save(struct run *run)
{
    if (!run->arguments->keep)
        return 0;
    if (pwrite(run->keep_fd, &run->report, sizeof run->report, 0) != (ssize_t)sizeof run->report)
        return -errno;
    run->unsaved = 0;
    run->saved_ns = pace_now_ns();
    return weir_sub_save(run->sub, run->report.position);
}

static int load(struct run *run)
{
    struct demo_consumer_report kept;
    for (int i = 0; i < DEMO_PUBLISHERS; i++) {
        char name[24];
        demo_publisher_name(i, name);
        run->producers[i] = weir_publisher_hash(name);
        demo_digest_start(&run->report.digests[i]);
    }
    run->keep_fd = -1;
    if (!run->arguments->keep)
        return 0;
    run->keep_fd = open(run->arguments->keep, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (run->keep_fd < 0)
        return -errno;
    if (pread(run->keep_fd, &kept, sizeof kept, 0) == (ssize_t)sizeof kept)
        run->report = kept;
    return 0;
}

static int tell(struct run *run, bool wait)
{
    int rc = demo_tell(STDOUT_FILENO, &run->report, sizeof run->report, wait);
    run->reported_ns = pace_now_ns();
    return rc < 0 ? rc : 0;
}

static int read_some(struct run *run, size_t allowed)
{
    struct weir_message messages[BATCH_MESSAGES];
    int count = weir_sub_next_batch(run->sub, messages, allowed, SIGNALS_SLICE_NS);
    if (count == -EPIPE) {
        run->report.gaps++;
        return 0;
    }
    if (count == -ETIMEDOUT || count == -EAGAIN || count == -EINTR) {
        pace_idle(&run->pace);
        return 0;
    }
    if (count < 0)
        return count;
    if (count > 0 && !weir_sub_in_memory(run->sub))
        run->report.from_journal += (uint64_t)count;
    for (int i = 0; i < count; i++) {
        process(run, &messages[i]);
        run->report.position = messages[i].next;
    }
    run->unsaved += (uint64_t)count;
    run->last_message_ns = pace_now_ns();
    pace_count(&run->pace, (size_t)count);
    return 0;
}

static int read_all(struct run *run)
{
    run->last_message_ns = pace_now_ns();
    while (!signals_stop()) {
        bool all = demo_consumed(&run->report) >= run->arguments->count;
        if (all && pace_now_ns() - run->last_message_ns >= quiet_ns)
            return 0;
        size_t allowed = pace_allowed(&run->pace, BATCH_MESSAGES);
        int rc = allowed > 0 ? read_some(run, allowed) : 0;
        uint64_t now_ns = pace_now_ns();
        if (rc == 0 && (run->unsaved + BATCH_MESSAGES > SAVE_MESSAGES || now_ns - run->saved_ns >= save_every_ns))
            rc = save(run);
        if (rc == 0 && now_ns - run->reported_ns >= report_every_ns)
            rc = tell(run, false);
        if (rc < 0)
            return rc;
        if (allowed == 0)
            pace_wait(&run->pace);
    }
    return -EINTR;
}

static int consumer_run(const struct call *call)
{
    struct run run = {.arguments = call->arguments};
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    options.cursor = run.arguments->cursor;
    fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK);
    int rc = load(&run);
    if (rc == 0)
        rc = weir_sub_open(call->bus, call->operands[0], &options, &run.sub);
    if (rc == 0) {
        run.report.position = run.report.resumed_at = weir_sub_position(run.sub);
        pace_start(&run.pace, run.arguments->rate);
        rc = tell(&run, true);
    }
    if (rc == 0)
        rc = read_all(&run);
    if (rc == 0)
        rc = save(&run);
    if (rc == 0) {
        run.report.done = 1;
        rc = tell(&run, true);
    }
    if (rc < 0)
        complain_failed(rc, call->operands[0]);
    weir_sub_close(run.sub);
    if (run.keep_fd >= 0)
        close(run.keep_fd);
    return rc == 0 ? EXIT_DONE : EXIT_FAILED;
}

const struct command demo_consumer_command = {
    .words = "demo-consumer",
    .summary = "A consumer of the demo",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .options = consumer_options,
    .defaults = &consumer_defaults,
    .arguments_bytes = sizeof consumer_defaults,
    .hidden = 1,
    .run = consumer_run,
};
