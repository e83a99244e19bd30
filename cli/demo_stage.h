/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that the demo's director knows; the stage is set, played on, and cleared away. */
#ifndef WEIR_CLI_DEMO_STAGE_H
#define WEIR_CLI_DEMO_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weir.h>

#include "cli/demo.h"

enum {
    DEMO_FULL_SECONDS = 30,    /* the whole input is used from here on */
    DEMO_KILLED_PUBLISHER = 1, /* index of the one that is killed */
};

struct demo_publisher {
    char name[24];
    char file[320];
    uint64_t count; /* messages of its part */
    struct demo_digest expected;
    struct demo_child child;
    struct demo_order order;
    struct demo_publisher_report report;
};

struct demo_consumer {
    const char *name;
    double per_second; /* 0: as fast as it can */
    bool keeps;        /* its state and cursor, so that it can be killed */
    struct demo_child child;
    struct demo_consumer_report report;
};

enum { DEMO_SLOW, DEMO_FAST, DEMO_LATE, DEMO_CONSUMERS };
enum { DEMO_CHECKS_MAX = 16 };

struct demo_check {
    const char *name; /* stable, for --json */
    bool ok;
    char text[200];
};

struct demo {
    const char *self;
    char weird[512];
    char bus[320], disk[320], journal[352];
    double seconds;
    uint64_t message_count, message_bytes, message_bytes_max;
    uint64_t memory_limit_bytes;
    uint64_t input_files, input_lines, input_times; /* files, lines in them, how often they were taken */
    struct demo_publisher publishers[DEMO_PUBLISHERS];
    struct demo_consumer consumers[DEMO_CONSUMERS];
    struct demo_child daemon;
    int log_fd;
    uint64_t began_ns;
    size_t step;                        /* of the script */
    uint64_t looked_ns;                 /* at the ring, last */
    struct demo_latency latency;        /* of all messages */
    struct demo_latency latency_recent; /* of those since the last line shown */
    /* What happened, for the checks. */
    uint64_t published_at_kill, published_in_outage, durable_at_kill;
    double outage_seconds;
    uint64_t publisher_killed_after, publisher_resumed_after;
    uint64_t consumer_killed_after, consumer_resumed_after, consumer_resumed_at;
    uint64_t lag_max_bytes;
    uint64_t publishers_done_ns, slow_done_ns;
    struct demo_check checks[DEMO_CHECKS_MAX];
    int check_count;
};

uint64_t demo_published(const struct demo *demo);
double demo_elapsed(const struct demo *demo); /* seconds */
/* How long the slow consumer takes for all; the script's instants are shares of it. */
double demo_consume_seconds(const struct demo *demo);
/* All zero if it cannot be asked. */
struct weir_ring_info demo_ring_info(const struct demo *demo);

/* -- demo_stage.c: exit codes, complaining --------------------------------------------------------------------------- */

/* Folders, input (dpkg's lists, or `file`) in a part for each publisher, and the ring. */
int demo_stage_set(struct demo *demo, const char *file);
/* Ends all children and removes all files. */
void demo_stage_clear(struct demo *demo);
/* What the children said last, to standard error. */
void demo_stage_print_log(const struct demo *demo);

int demo_start_daemon(struct demo *demo);
int demo_start_publisher(struct demo *demo, struct demo_publisher *publisher);
int demo_start_consumer(struct demo *demo, struct demo_consumer *consumer);
/* Takes all that the children have reported. */
void demo_read_reports(struct demo *demo);

/* -- demo_script.c --------------------------------------------------------------------------------------------------- */

/* Takes every step of the script that is due. 0, or EXIT_FAILED with a complaint. */
int demo_script_go_on(struct demo *demo);
bool demo_script_ended(const struct demo *demo);
const char *demo_script_waits_for(const struct demo *demo);

#endif
