/* SPDX-License-Identifier: Apache-2.0 */
/* weir pub: publishes the lines, or the frames, of a file or pipe. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weir.h>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/pace.h"
#include "cli/signals.h"
#include "cli/source.h"

enum {
    BATCH_MESSAGES = 64,    /* published at once when that many are there; nobody waits for more */
    CONFIRM_WINDOW = 65536, /* messages that may wait for their confirm while more are published */
    RECORD_UNIT_BYTES = 64,
    RECORD_EXTRA_BYTES = 64, /* header and properties, about */
};
static const uint64_t say_full_after_ns = UINT64_C(500000000);
static const int64_t interrupted_confirm_ns = INT64_C(2000000000);

struct pub_arguments {
    const char *file;
    int framed;
    double rate;
    int confirm; /* CONFIRM_NONE or enum weir_level */
    uint64_t tag;
    const char *key;
    const char *name;
    int64_t timeout_ns;
};
enum { CONFIRM_NONE = -1 };
static const struct pub_arguments pub_defaults = {NULL, 0, 0, CONFIRM_NONE, 0, NULL, NULL, WEIR_FOREVER};

static const char confirm_words[] = "visible|written|durable";
static const char *const confirm_names[] = {"visible", "written", "durable"};

static const struct option pub_options[] = {
    {"--file", "F", OPTION_TEXT, offsetof(struct pub_arguments, file), 0, 0,
     "where the messages are; - is standard input (default)"},
    {"--framed", NULL, OPTION_SET, offsetof(struct pub_arguments, framed), 1, 0,
     "each message follows its length in 4 bytes, little-endian (default: a line each)"},
    {"--rate", "N", OPTION_RATE, offsetof(struct pub_arguments, rate), 0, 0, "at most N messages a second"},
    {"--confirm", confirm_words, OPTION_CHOICE, offsetof(struct pub_arguments, confirm), 0, 0,
     "wait until all have got there, and print how many and the last position"},
    {"--tag", "N", OPTION_COUNT, offsetof(struct pub_arguments, tag), 0, UINT16_MAX,
     "type of the messages, 0 to 65535 (default: 0)"},
    {"--key", "K", OPTION_TEXT, offsetof(struct pub_arguments, key), 0, 0, "key of the messages"},
    {"--as", "NAME", OPTION_TEXT, offsetof(struct pub_arguments, name), 0, 0,
     "named publisher: the n-th message has sequence n, and what was published before is skipped"},
    {"--timeout", "S", OPTION_SPAN, offsetof(struct pub_arguments, timeout_ns), 0, 0,
     "fail when the ring stays full, or a confirm stays out, that long (default: wait)"},
    {NULL, NULL, OPTION_SET, 0, 0, 0, NULL},
};

struct run {
    const struct call *call;
    const struct pub_arguments *arguments;
    const char *ring, *file;
    struct weir_ring_info info;
    struct weir_pub *pub;
    struct source source;
    struct pace pace;
    uint64_t sequence;     /* of the last message taken from the input */
    uint64_t resume_after; /* what the name had published before */
    uint64_t skipped, published, refused;
    uint64_t last_position, mark_position;
    uint64_t since_mark;
    bool marked, said_full;
};

struct batch {
    struct weir_message messages[BATCH_MESSAGES];
    uint64_t offsets[BATCH_MESSAGES];
    size_t count, bytes;
};

/* -- Waiting -------------------------------------------------------------------------------------------------------- */

/* One wait in slices, between which the flag of the signals is looked at and the user is told why it takes long. */
struct wait {
    uint64_t began_ns;
    int64_t limit_ns;
    bool confirm;     /* for a confirm: goes on a little after a signal */
    bool interrupted; /* by one */
};

static int64_t wait_slice(const struct wait *wait)
{
    int64_t left_ns = wait->limit_ns - (int64_t)(pace_now_ns() - wait->began_ns);
    if (left_ns <= 0)
        return 0;
    return left_ns < SIGNALS_SLICE_NS ? left_ns : SIGNALS_SLICE_NS;
}

static bool has_quota(const struct weir_ring_info *info)
{
    return info->quota_messages_per_second || info->quota_bytes_per_second;
}

static void say_why_it_waits(struct run *run, const struct wait *wait)
{
    if (run->said_full || pace_now_ns() - wait->began_ns < say_full_after_ns)
        return;
    struct weir_ring_info info = {.size = sizeof info};
    char why[256]; /* the next call forgets it */
    snprintf(why, sizeof why, "%s", weir_last_error());
    if (weir_ring_inspect(run->call->bus, run->ring, &info) < 0)
        return;
    const char *what = wait->confirm ? "nothing is confirmed" : "ring full";
    if (!wait->confirm && has_quota(&info))
        complain("%s: it waits: %s", run->ring, why); /* for room, or its turn */
    else if (info.journaled && info.daemon_alive == 0)
        complain("%s: %s, nobody drains it: start weird", run->ring, what);
    else if (!info.journaled)
        complain("%s: ring full, a gating reader is behind: 'weir stat %s' names it", run->ring, run->ring);
    else
        return;
    run->said_full = true;
}

/* rc: of the slice that ended. 0: wait another; else the negative errno to end with. */
static int wait_on(struct run *run, struct wait *wait, int rc)
{
    if (rc != -ETIMEDOUT && rc != -EAGAIN && rc != -EINTR)
        return rc;
    if (signals_stop() && !wait->confirm)
        return -EINTR;
    if (signals_stop() && !wait->interrupted) {
        wait->interrupted = true;
        int64_t waited_ns = (int64_t)(pace_now_ns() - wait->began_ns);
        if (wait->limit_ns - waited_ns > interrupted_confirm_ns)
            wait->limit_ns = waited_ns + interrupted_confirm_ns;
    }
    if (wait_slice(wait) == 0)
        return wait->interrupted ? -EINTR : -ETIMEDOUT;
    say_why_it_waits(run, wait);
    return 0;
}

static int confirm_wait(struct run *run, uint64_t position)
{
    const char *level = confirm_names[run->arguments->confirm];
    struct wait wait = {.began_ns = pace_now_ns(), .limit_ns = run->arguments->timeout_ns, .confirm = true};
    int rc = 0;
    do {
        rc = weir_pub_wait(run->pub, position, (enum weir_level)run->arguments->confirm, wait_slice(&wait));
        if (rc == 0)
            return EXIT_DONE;
        rc = wait_on(run, &wait, rc);
    } while (rc == 0);
    if (rc == -EINTR || rc == -ETIMEDOUT)
        complain("%s: %s: position %" PRIu64 " is not yet %s: 'weir stat %s' shows how far it is",
                 rc == -EINTR ? "interrupted" : "the time limit passed", run->ring, position, level, run->ring);
    else
        complain_failed(rc, run->ring);
    return EXIT_FAILED;
}

/* Keeps the messages that wait for a confirm to CONFIRM_WINDOW, half a window at a time. */
static int confirm_some(struct run *run, size_t count)
{
    run->since_mark += count;
    if (run->arguments->confirm == CONFIRM_NONE || run->since_mark < CONFIRM_WINDOW / 2)
        return EXIT_DONE;
    uint64_t position = run->mark_position;
    bool marked = run->marked;
    run->mark_position = run->last_position;
    run->marked = true;
    run->since_mark = 0;
    return marked ? confirm_wait(run, position) : EXIT_DONE;
}

/* -- Publishing ----------------------------------------------------------------------------------------------------- */

/* 0, or a negative errno: -EAGAIN refused by drop-new, -EINTR asked to stop, -ETIMEDOUT. */
static int send_messages(struct run *run, const struct weir_message *messages, size_t count)
{
    struct wait wait = {.began_ns = pace_now_ns(), .limit_ns = run->arguments->timeout_ns};
    uint64_t positions[BATCH_MESSAGES];
    for (;;) {
        int64_t slice_ns = wait_slice(&wait);
        int rc = count == 1 ? weir_pub_send_message(run->pub, messages, slice_ns, positions)
                            : weir_pub_send_batch(run->pub, messages, count, slice_ns, positions);
        if (rc == 0) {
            run->published += count;
            run->last_position = positions[count - 1];
            return 0;
        }
        if (rc == -EAGAIN && run->info.when_full == WEIR_DROP_NEW)
            return rc;
        rc = wait_on(run, &wait, rc);
        if (rc < 0)
            return rc;
    }
}

static int send_failed(const struct run *run, int error, uint64_t sequence, uint64_t offset)
{
    char where[512];
    snprintf(where, sizeof where, "%s: %s %" PRIu64 " at offset %" PRIu64 " of %s", run->ring,
             run->arguments->framed ? "frame" : "line", sequence, offset, run->file);
    if (error == -EINTR)
        complain("interrupted: %s: it and what follows is not published", where);
    else if (error == -ETIMEDOUT)
        complain("the ring stayed full%s: %s: it and what follows is not published",
                 has_quota(&run->info) ? ", or had its quota" : "", where);
    else
        complain_failed(error, where);
    return EXIT_FAILED;
}

static int send_one(struct run *run, const struct batch *batch, size_t index)
{
    int rc = send_messages(run, &batch->messages[index], 1);
    if (rc == -EAGAIN) {
        run->refused++;
        return EXIT_DONE;
    }
    if (rc < 0)
        return send_failed(run, rc, run->sequence - (batch->count - 1 - index), batch->offsets[index]);
    return EXIT_DONE;
}

static int send_batch(struct run *run, const struct batch *batch)
{
    int exit_code = EXIT_DONE;
    int rc = batch->count > 1 ? send_messages(run, batch->messages, batch->count) : -EMSGSIZE;
    /* A batch goes as a whole or not at all; one by one, what fits goes, and the one that does not is known. */
    if (rc == -EMSGSIZE)
        for (size_t i = 0; i < batch->count && exit_code == EXIT_DONE; i++)
            exit_code = send_one(run, batch, i);
    else if (rc < 0)
        exit_code = send_failed(run, rc, run->sequence - (batch->count - 1), batch->offsets[0]);
    if (exit_code == EXIT_DONE)
        exit_code = confirm_some(run, batch->count);
    return exit_code;
}

static void batch_add(struct run *run, struct batch *batch, const struct source_message *taken)
{
    const struct pub_arguments *arguments = run->arguments;
    struct weir_message *message = &batch->messages[batch->count];
    memset(message, 0, sizeof *message);
    message->data = taken->data;
    message->data_bytes = taken->bytes;
    message->tag = (uint16_t)arguments->tag;
    message->has = WEIR_HAS_TIME;
    if (arguments->key) {
        message->key = arguments->key;
        message->key_bytes = (uint32_t)strlen(arguments->key);
    }
    if (arguments->name) {
        message->has |= WEIR_HAS_SEQUENCE;
        message->sequence = run->sequence;
    }
    batch->offsets[batch->count++] = taken->offset;
    batch->bytes += (taken->bytes + message->key_bytes + RECORD_EXTRA_BYTES) | (RECORD_UNIT_BYTES - 1);
}

/* Fills the batch with messages that are there, `allowed` at most. Returns what source_take() ended with, 1 if it did not. */
static int batch_take(struct run *run, struct batch *batch, size_t allowed)
{
    /* Small next to a segment, so that little of it is lost to padding at its end. */
    size_t bytes_max = run->info.segment_bytes / 16;
    /* A batch is refused as a whole, and the ring counts what it refuses. */
    if (run->info.when_full == WEIR_DROP_NEW && allowed > 1)
        allowed = 1;
    batch->count = batch->bytes = 0;
    while (batch->count < allowed && batch->bytes < bytes_max) {
        struct source_message taken;
        int rc = source_take(&run->source, &taken);
        if (rc <= 0)
            return rc;
        run->sequence++;
        if (run->sequence <= run->resume_after)
            run->skipped++;
        else
            batch_add(run, batch, &taken);
    }
    return 1;
}

static int input_failed(const struct run *run, int error)
{
    if (error == -EMSGSIZE || error == -EBADMSG)
        complain("%s: %s: %s: all before it is published", error == -EMSGSIZE ? "message too long" : "input ends early",
                 run->file, run->source.why);
    else
        complain("%s: %s", run->source.why, run->file);
    return EXIT_FAILED;
}

/* All is well if it came while there was nothing to read. */
static int interrupted(const struct run *run)
{
    struct pollfd input = {run->source.fd, POLLIN, 0};
    if (source_rest(&run->source) == 0 && poll(&input, 1, 0) >= 0 && !(input.revents & POLLIN))
        return EXIT_DONE;
    complain("interrupted: %s: published %" PRIu64 " messages, what follows them is not published", run->file,
             run->published);
    return EXIT_FAILED;
}

/* Until the input ends, a signal comes or something fails. */
static int publish_all(struct run *run)
{
    struct batch batch;
    for (;;) {
        if (signals_stop())
            return interrupted(run);
        size_t allowed = pace_allowed(&run->pace, BATCH_MESSAGES);
        if (allowed == 0) {
            pace_wait(&run->pace);
            continue;
        }
        int rc = batch_take(run, &batch, allowed);
        if (batch.count > 0) {
            int exit_code = send_batch(run, &batch);
            if (exit_code != EXIT_DONE)
                return exit_code;
            pace_count(&run->pace, batch.count);
        }
        if (rc < 0)
            return input_failed(run, rc);
        if (rc > 0)
            continue;
        if (run->source.ended)
            return EXIT_DONE;
        rc = source_fill(&run->source);
        if (rc < 0 && rc != -EINTR)
            return input_failed(run, rc);
        pace_idle(&run->pace);
    }
}

/* -- The command ---------------------------------------------------------------------------------------------------- */

static int open_publisher(struct run *run)
{
    const struct pub_arguments *arguments = run->arguments;
    signals_about(run->ring);
    run->info.size = sizeof run->info;
    int rc = weir_ring_inspect(run->call->bus, run->ring, &run->info);
    if (rc < 0)
        return complain_failed(rc, run->ring);
    if (!run->info.journaled && arguments->confirm > WEIR_VISIBLE) {
        complain("--confirm %s: %s: the ring is in memory only: use --confirm visible, or a journaled ring",
                 confirm_names[arguments->confirm], run->ring);
        return EXIT_FAILED;
    }
    struct weir_pub_options options = WEIR_PUB_OPTIONS_INIT;
    options.name = arguments->name;
    rc = weir_pub_open(run->call->bus, run->ring, &options, &run->pub);
    if (rc < 0)
        return complain_failed(rc, run->ring);
    if (!arguments->name)
        return EXIT_DONE;
    rc = weir_pub_last_sequence(run->pub, &run->resume_after);
    if (rc < 0)
        return complain_failed(rc, run->ring);
    if (run->resume_after > 0)
        complain("%s: %s has published up to %" PRIu64 ": skipping that many messages of %s", run->ring,
                 arguments->name, run->resume_after, run->file);
    return EXIT_DONE;
}

static int open_input(struct run *run, int *ret_fd)
{
    const char *file = run->arguments->file;
    *ret_fd = STDIN_FILENO;
    run->file = "standard input";
    if (!file || strcmp(file, "-") == 0)
        return EXIT_DONE;
    run->file = file;
    *ret_fd = open(file, O_RDONLY | O_CLOEXEC);
    if (*ret_fd >= 0)
        return EXIT_DONE;
    complain("cannot open: %s: %s", file, strerror(errno));
    return EXIT_FAILED;
}

static void report(const struct run *run, bool confirmed)
{
    const char *level = confirmed ? confirm_names[run->arguments->confirm] : NULL;
    if (run->call->json) {
        json_t *object = json_object();
        json_object_set_new(object, "ring", json_string(run->ring));
        json_object_set_new(object, "published", output_number(run->published));
        json_object_set_new(object, "skipped", output_number(run->skipped));
        json_object_set_new(object, "refused", output_number(run->refused));
        json_object_set_new(object, "last_position",
                            run->published > 0 ? output_number(run->last_position) : json_null());
        json_object_set_new(object, "confirmed", level ? json_string(level) : json_null());
        output_json(object);
    } else if (confirmed && run->published > 0) {
        printf("published %" PRIu64 " messages, last position %" PRIu64 ", %s\n", run->published, run->last_position,
               level);
    } else if (confirmed) {
        printf("published 0 messages\n");
    }
}

static int pub_run(const struct call *call)
{
    struct run run = {.call = call, .arguments = call->arguments, .ring = call->operands[0]};
    int fd = -1;
    int exit_code = open_input(&run, &fd);
    if (exit_code == EXIT_DONE)
        exit_code = open_publisher(&run);
    if (exit_code == EXIT_DONE && source_open(&run.source, fd, run.arguments->framed, run.info.segment_bytes) < 0) {
        complain("not enough memory");
        exit_code = EXIT_FAILED;
    }
    if (exit_code == EXIT_DONE) {
        pace_start(&run.pace, run.arguments->rate);
        exit_code = publish_all(&run);
        bool confirmed = run.arguments->confirm != CONFIRM_NONE;
        if (confirmed && run.published > 0 && confirm_wait(&run, run.last_position) != EXIT_DONE) {
            confirmed = false;
            exit_code = EXIT_FAILED;
        }
        report(&run, confirmed);
        if (run.refused > 0) {
            complain("%s: %" PRIu64 " of %" PRIu64 " messages were refused: the ring was full (drop-new)", run.ring,
                     run.refused, run.refused + run.published);
            exit_code = EXIT_FAILED;
        }
    }
    weir_pub_close(run.pub);
    source_close(&run.source);
    if (fd > STDIN_FILENO)
        close(fd);
    return exit_code;
}

const struct command pub_command = {
    .words = "pub",
    .summary = "Publish the lines, or frames, of a file or of standard input",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .options = pub_options,
    .defaults = &pub_defaults,
    .arguments_bytes = sizeof pub_defaults,
    .text = "The newline is not part of the message, and a last line without one counts. A message that is too long,\n"
            "or a frame that is cut off, ends it with exit 1; all before it is published.\n",
    .run = pub_run,
};
