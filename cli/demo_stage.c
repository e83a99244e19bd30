/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/demo_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/pace.h"

enum {
    MESSAGES_FULL = 300 * 1000, /* at the full length at least: "repeated if few" */
    MESSAGES_MIN = 50 * 1000,   /* else: fewer would not leave the memory */
    SEGMENTS = 32,              /* the memory limit */
    SEGMENT_BYTES_MIN = 16 * 1024,
    SEGMENT_BYTES_MAX = 128 * 1024,
    RECORD_EXTRA_BYTES = 72, /* header, sequence, and half a unit of rounding up */
};

/* -- Questions ----- --------------------------------------------------------------------------------------------------- */

uint64_t demo_published(const struct demo *demo)
{
    uint64_t count = 0;
    for (int i = 0; i < DEMO_PUBLISHERS; i++)
        count += demo->publishers[i].report.sequence;
    return count;
}

double demo_elapsed(const struct demo *demo)
{
    return (double)(pace_now_ns() - demo->began_ns) / 1e9;
}

double demo_consume_seconds(const struct demo *demo)
{
    return 0.85 * demo->seconds;
}

struct weir_ring_info demo_ring_info(const struct demo *demo)
{
    struct weir_ring_info info = {.size = sizeof info};
    if (weir_ring_inspect(demo->bus, DEMO_RING, &info) < 0)
        memset(&info, 0, sizeof info);
    return info;
}

/* -- Children ------------------------------------------------------------------------------------------------- */

int demo_start_daemon(struct demo *demo)
{
    const char *const argv[] = {demo->weird, "--bus", demo->bus, "--journal", demo->journal, NULL};
    int rc = demo_child_start(&demo->daemon, argv, false, demo->log_fd);
    if (rc < 0)
        complain("cannot start: %s: %s", demo->weird, strerror(-rc));
    return rc;
}

int demo_start_publisher(struct demo *demo, struct demo_publisher *publisher)
{
    const char *const argv[] = {demo->self, "demo-publisher", DEMO_RING, "--bus",         demo->bus,
                                "--file",   publisher->file,  "--as",    publisher->name, NULL};
    memset(&publisher->report, 0, sizeof publisher->report);
    int rc = demo_child_start(&publisher->child, argv, true, demo->log_fd);
    if (rc == 0 && demo_tell(publisher->child.orders_fd, &publisher->order, sizeof publisher->order, true) < 0)
        rc = -EPIPE;
    if (rc < 0)
        complain("cannot start: %s: %s", publisher->name, strerror(-rc));
    return rc;
}

int demo_start_consumer(struct demo *demo, struct demo_consumer *consumer)
{
    char count[24], rate[40], keep[352];
    snprintf(count, sizeof count, "%" PRIu64, demo->message_count);
    snprintf(rate, sizeof rate, "%.3f", consumer->per_second);
    demo_path(keep, sizeof keep, demo->disk, consumer->name, ".kept");
    const char *argv[16] = {demo->self, "demo-consumer", DEMO_RING, "--bus", demo->bus, "--count", count};
    int words = 7;
    if (consumer->per_second > 0) {
        argv[words++] = "--rate";
        argv[words++] = rate;
    }
    if (consumer->keeps) {
        argv[words++] = "--save";
        argv[words++] = consumer->name;
        argv[words++] = "--keep";
        argv[words++] = keep;
    }
    memset(&consumer->report, 0, sizeof consumer->report);
    int rc = demo_child_start(&consumer->child, argv, true, demo->log_fd);
    if (rc < 0)
        complain("cannot start: %s consumer: %s", consumer->name, strerror(-rc));
    return rc;
}

void demo_read_reports(struct demo *demo)
{
    for (int i = 0; i < DEMO_PUBLISHERS; i++) {
        struct demo_publisher *publisher = &demo->publishers[i];
        struct demo_publisher_report report;
        while (publisher->child.reports_fd >= 0 &&
               read(publisher->child.reports_fd, &report, sizeof report) == (ssize_t)sizeof report) {
            demo_latency_merge(&demo->latency, &report.latency);
            demo_latency_merge(&demo->latency_recent, &report.latency);
            publisher->report = report;
        }
    }
    for (int i = 0; i < DEMO_CONSUMERS; i++) {
        struct demo_consumer *consumer = &demo->consumers[i];
        struct demo_consumer_report report;
        while (consumer->child.reports_fd >= 0 &&
               read(consumer->child.reports_fd, &report, sizeof report) == (ssize_t)sizeof report)
            consumer->report = report;
    }
}

/* -- Setting up and clearing away ----------------------------------------------------------------------------------- */

static int write_part(struct demo_publisher *publisher, const struct demo_input *input, uint64_t first, uint64_t count)
{
    FILE *file = fopen(publisher->file, "we");
    publisher->count = count;
    demo_digest_start(&publisher->expected);
    for (uint64_t i = first; file && i < first + count; i++) {
        const struct demo_line *line = &input->lines[i % input->line_count];
        demo_digest_add(&publisher->expected, line->data, line->bytes);
        fwrite(line->data, 1, line->bytes, file);
        putc('\n', file);
    }
    if (file && fclose(file) == 0)
        return EXIT_DONE;
    complain("cannot write: %s: %s", publisher->file, strerror(errno));
    return EXIT_FAILED;
}

/* Splits the input, taken as often as needed, into a part for each publisher. */
static int prepare_input(struct demo *demo, const char *file)
{
    struct demo_input input;
    if (demo_input_load(&input, file) != EXIT_DONE)
        return EXIT_FAILED;
    uint64_t lines = input.line_count;
    demo->input_files = input.file_count;
    demo->input_lines = lines;
    demo->input_times = (MESSAGES_FULL + lines - 1) / lines;
    demo->message_count = lines * demo->input_times;
    if (demo->seconds < DEMO_FULL_SECONDS)
        demo->message_count = (uint64_t)((double)demo->message_count * demo->seconds / DEMO_FULL_SECONDS);
    if (demo->message_count < MESSAGES_MIN)
        demo->message_count = MESSAGES_MIN;
    for (uint64_t i = 0; i < demo->message_count; i++) {
        uint64_t bytes = input.lines[i % lines].bytes;
        demo->message_bytes += bytes;
        if (bytes > demo->message_bytes_max)
            demo->message_bytes_max = bytes;
    }
    int exit_code = EXIT_DONE;
    for (int i = 0; i < DEMO_PUBLISHERS && exit_code == EXIT_DONE; i++) {
        struct demo_publisher *publisher = &demo->publishers[i];
        uint64_t first = demo->message_count * (uint64_t)i / DEMO_PUBLISHERS;
        uint64_t end = demo->message_count * (uint64_t)(i + 1) / DEMO_PUBLISHERS;
        demo_publisher_name(i, publisher->name);
        demo_path(publisher->file, sizeof publisher->file, demo->disk, publisher->name, ".lines");
        exit_code = write_part(publisher, &input, first, end - first);
    }
    demo_input_free(&input);
    return exit_code;
}

static int make_folders(struct demo *demo)
{
    char log[352];
    const char *temporary = getenv("TMPDIR");
    if (!temporary || !temporary[0])
        temporary = "/tmp";
    int rc = demo_folder_make("/dev/shm", demo->bus, sizeof demo->bus);
    if (rc < 0) {
        complain("cannot make a folder: /dev/shm: %s", strerror(-rc));
        return EXIT_FAILED;
    }
    rc = demo_folder_make(temporary, demo->disk, sizeof demo->disk);
    if (rc < 0) {
        complain("cannot make a folder: %s: %s: set $TMPDIR", temporary, strerror(-rc));
        return EXIT_FAILED;
    }
    demo_path(demo->journal, sizeof demo->journal, demo->disk, "journal", "");
    if (mkdir(demo->journal, 0700) != 0) {
        complain("cannot make a folder: %s: %s", demo->journal, strerror(errno));
        return EXIT_FAILED;
    }
    demo_path(log, sizeof log, demo->disk, "log", "");
    demo->log_fd = open(log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (demo->log_fd >= 0)
        return EXIT_DONE;
    complain("cannot make: %s: %s", log, strerror(errno));
    return EXIT_FAILED;
}

/*
 * Memory for about a sixteenth of the log, 4 MiB at most: little enough that who falls behind reads from the journal, and
 * more than what trickles in while weird is dead.
 */
static int make_ring(struct demo *demo)
{
    struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    uint64_t log_bytes = demo->message_bytes + demo->message_count * RECORD_EXTRA_BYTES;
    uint64_t segment_bytes = SEGMENT_BYTES_MIN;
    while (segment_bytes < SEGMENT_BYTES_MAX && segment_bytes * SEGMENTS * 16 < log_bytes)
        segment_bytes *= 2;
    while (segment_bytes < demo->message_bytes_max + RECORD_EXTRA_BYTES)
        segment_bytes *= 2;
    options.segment_bytes = segment_bytes;
    options.memory_limit_bytes = demo->memory_limit_bytes = segment_bytes * SEGMENTS;
    options.max_readers = DEMO_CONSUMERS + 1;
    options.max_publishers = DEMO_PUBLISHERS + 1;
    int rc = weir_ring_create(demo->bus, DEMO_RING, &options);
    return rc < 0 ? complain_failed(rc, DEMO_RING) : EXIT_DONE;
}

/* What the children said last, when something went wrong. */
void demo_stage_print_log(const struct demo *demo)
{
    char text[4096];
    off_t bytes = demo->log_fd >= 0 ? lseek(demo->log_fd, 0, SEEK_END) : 0;
    off_t from = bytes > (off_t)sizeof text ? bytes - (off_t)sizeof text : 0;
    ssize_t got = bytes > 0 ? pread(demo->log_fd, text, sizeof text, from) : 0;
    if (got > 0)
        fprintf(stderr, "-- what weird and the others said last:\n%.*s--\n", (int)got, text);
}

void demo_stage_clear(struct demo *demo)
{
    for (int i = 0; i < DEMO_PUBLISHERS; i++) {
        demo_child_kill(&demo->publishers[i].child);
        demo_child_close(&demo->publishers[i].child);
    }
    for (int i = 0; i < DEMO_CONSUMERS; i++) {
        demo_child_kill(&demo->consumers[i].child);
        demo_child_close(&demo->consumers[i].child);
    }
    demo_child_kill(&demo->daemon);
    demo_child_close(&demo->daemon);
    if (demo->log_fd >= 0)
        close(demo->log_fd);
    demo_folder_remove(demo->bus);
    demo_folder_remove(demo->disk);
}

int demo_stage_set(struct demo *demo, const char *file)
{
    int exit_code = make_folders(demo);
    if (exit_code == EXIT_DONE)
        exit_code = prepare_input(demo, file);
    if (exit_code == EXIT_DONE)
        exit_code = make_ring(demo);
    demo->consumers[DEMO_SLOW].per_second = (double)demo->message_count / demo_consume_seconds(demo);
    return exit_code;
}
