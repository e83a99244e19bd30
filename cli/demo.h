/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir demo: one process directs (demo.c), shows (demo_show.c) and checks; the publishers and consumers are processes of
 * their own, `weir demo-publisher` and `weir demo-consumer`, which take orders on standard input and report on standard
 * output, in the structs below.
 */
#ifndef WEIR_CLI_DEMO_H
#define WEIR_CLI_DEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { DEMO_PUBLISHERS = 3 };
#define DEMO_RING "demo"

/* -- Digest (demo_input.c) ------------------------------------------------------------------------------------------ */

/* Of the messages of one publisher in order: 64-bit FNV-1a over each one's length (4 bytes, little-endian) and bytes. */
struct demo_digest {
    uint64_t count;
    uint64_t hash;
};
void demo_digest_start(struct demo_digest *digest);
void demo_digest_add(struct demo_digest *digest, const void *data, size_t bytes);

/* -- Input (demo_input.c) ------------------------------------------------------------------------------------------- */

struct demo_line {
    const char *data;
    size_t bytes;
};
struct demo_input {
    char *text;
    size_t text_bytes;
    struct demo_line *lines;
    size_t line_count;
    size_t file_count;
};
/* The lines of dpkg's file lists, or of `file` if not NULL. Complains and returns EXIT_FAILED if there are none. */
int demo_input_load(struct demo_input *input, const char *file);
void demo_input_free(struct demo_input *input);

/* -- Latency (demo_latency.c) --------------------------------------------------------------------------------------- */

/* A count for each eighth of an octave of nanoseconds. */
enum { DEMO_BUCKETS = 272 };
struct demo_latency {
    uint32_t counts[DEMO_BUCKETS];
};
void demo_latency_add(struct demo_latency *latency, uint64_t span_ns);
void demo_latency_merge(struct demo_latency *latency, const struct demo_latency *more);
/* Upper end of the bucket below which that share of all lies; 0 if there is none. */
uint64_t demo_latency_quantile(const struct demo_latency *latency, double share);

/* -- What goes over the pipes --------------------------------------------------------------------------------------- */

/* To a publisher: go on up to this sequence at this rate (0: at full speed). */
struct demo_order {
    uint64_t until;
    double per_second;
};

struct demo_publisher_report {
    uint64_t sequence;           /* of the last message published */
    uint64_t resumed_after;      /* what the name had published before this process */
    struct demo_latency latency; /* since the last report */
};

/* Of a consumer; also what it keeps beside its cursor. */
struct demo_consumer_report {
    struct demo_digest digests[DEMO_PUBLISHERS];
    uint64_t position;     /* next to read */
    uint64_t from_journal; /* messages read from the journal */
    uint64_t repeated;     /* met again after a restart, known by their sequence, and not processed again */
    uint64_t misplaced;    /* sequence missing or out of order, or of an unknown publisher */
    uint64_t gaps;
    uint64_t resumed_at; /* position of the cursor when this process began */
    uint64_t done;       /* 1: all messages were there and none more came */
};
uint64_t demo_consumed(const struct demo_consumer_report *report);

void demo_publisher_name(int index, char name[24]);

/* Sends one report or order: all of it at once. 1: sent; 0: no room now (only if !wait); negative errno. */
int demo_tell(int fd, const void *bytes, size_t count, bool wait);

/* -- Processes and folders (demo_process.c) ------------------------------------------------------------------------- */

struct demo_child {
    pid_t pid; /* 0: not running */
    int orders_fd, reports_fd;
};
#define DEMO_CHILD_NONE                                                                                                \
    {                                                                                                                  \
        0, -1, -1                                                                                                      \
    }
/*
 * Starts argv[0], found as execvp() would, with pipes for orders and reports (or /dev/null for both), and log_fd as its
 * standard error. It is killed when this process dies.
 */
int demo_child_start(struct demo_child *child, const char *const *argv, bool pipes, int log_fd);
/* SIGKILL, and waits for its end. Its reports stay readable until demo_child_close(). */
void demo_child_kill(struct demo_child *child);
/* True if it has ended by itself: *ret_status as of waitpid(). */
bool demo_child_ended(struct demo_child *child, int *ret_status);
void demo_child_close(struct demo_child *child);

/* Makes PARENT/weir-demo-XXXXXX. */
int demo_folder_make(const char *parent, char *path, size_t path_bytes);
void demo_folder_remove(const char *path);
/* FOLDER/NAMESUFFIX */
void demo_path(char *path, size_t path_bytes, const char *folder, const char *name, const char *suffix);

#endif
