/* SPDX-License-Identifier: Apache-2.0 */
/* weir stat: positions, rates, who is attached, and who stands in the way. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <weir.h>

#include "cli/command.h"
#include "cli/describe.h"
#include "cli/number.h"
#include "cli/output.h"
#include "cli/pace.h"
#include "cli/signals.h"

struct stat_arguments {
    int64_t interval_ns;
    uint64_t count;
};
static const struct stat_arguments stat_defaults = {-1, 0};
static const int64_t default_interval_ns = INT64_C(500000000);
static const int64_t shortest_interval_ns = INT64_C(10000000);

static const struct option stat_options[] = {
    {"--interval", "S", OPTION_SPAN, offsetof(struct stat_arguments, interval_ns), 0, 0,
     "rates are over S; a report every S until interrupted (default: one report, over 0.5 s)"},
    {"--count", "N", OPTION_COUNT, offsetof(struct stat_arguments, count), 1, UINT64_MAX, "end after N reports"},
    {NULL, NULL, OPTION_SET, 0, 0, 0, NULL},
};

/* A ring at one moment. */
struct sample {
    char ring[256]; /* longer than a name may be: that is the library's to say */
    int error;      /* negative errno: there is nothing else in it but */
    char why[256];  /* weir_last_error() of it */
    uint64_t taken_ns;
    struct weir_ring_info info;
    struct people people;
    int people_error;
};
struct samples {
    struct sample *all;
    size_t count, capacity;
    int error;
};

/* -- Taking samples ------------------------------------------------------------------------------------------------- */

static void samples_free(struct samples *samples)
{
    for (size_t i = 0; i < samples->count; i++)
        people_free(&samples->all[i].people);
    free(samples->all);
    memset(samples, 0, sizeof *samples);
}

static int samples_add(void *ctx, const char *ring)
{
    struct samples *samples = ctx;
    if (samples->count == samples->capacity) {
        size_t capacity = samples->capacity ? 2 * samples->capacity : 8;
        struct sample *all = realloc(samples->all, capacity * sizeof *all);
        if (!all)
            return -ENOMEM;
        samples->all = all;
        samples->capacity = capacity;
    }
    struct sample *sample = &samples->all[samples->count++];
    memset(sample, 0, sizeof *sample);
    snprintf(sample->ring, sizeof sample->ring, "%s", ring);
    return 0;
}

static void sample_take(const struct call *call, struct sample *sample)
{
    signals_about(sample->ring);
    sample->info.size = sizeof sample->info;
    sample->taken_ns = pace_now_ns();
    sample->error = weir_ring_inspect(call->bus, sample->ring, &sample->info);
    if (sample->error < 0)
        snprintf(sample->why, sizeof sample->why, "%s", weir_last_error());
    else
        sample->people_error = people_ask(&sample->people, call->bus, sample->ring);
}

/* Of the rings named, or of all. */
static struct samples samples_take(const struct call *call)
{
    struct samples samples = {0};
    for (size_t i = 0; i < call->operand_count && samples.error == 0; i++)
        samples.error = samples_add(&samples, call->operands[i]);
    if (call->operand_count == 0)
        samples.error = weir_ring_list(call->bus, samples_add, &samples);
    for (size_t i = 0; i < samples.count && samples.error >= 0; i++)
        sample_take(call, &samples.all[i]);
    return samples;
}

static const struct sample *sample_before(const struct samples *before, const struct sample *now)
{
    for (size_t i = 0; i < before->count; i++) {
        const struct sample *sample = &before->all[i];
        if (sample->error == 0 && strcmp(sample->ring, now->ring) == 0 &&
            memcmp(sample->info.ring_id, now->info.ring_id, sizeof now->info.ring_id) == 0)
            return sample;
    }
    return NULL;
}

/* -- Rates ---------------------------------------------------------------------------------------------------------- */

static double rate(const struct sample *before, const struct sample *now, uint64_t then, uint64_t value)
{
    if (!before || now->taken_ns <= before->taken_ns || value < then)
        return 0;
    return (double)(value - then) * 1e9 / (double)(now->taken_ns - before->taken_ns);
}

static double participant_rate(const struct sample *before, const struct sample *now,
                               const struct weir_participant *participant)
{
    for (size_t i = 0; before && i < before->people.count; i++) {
        const struct weir_participant *then = &before->people.all[i];
        if (then->role == participant->role && then->id == participant->id)
            return rate(before, now, then->position, participant->position);
    }
    return 0;
}

struct rates {
    double visible, written, durable;
};

static struct rates sample_rates(const struct sample *before, const struct sample *now)
{
    const struct weir_ring_info *then = before ? &before->info : &now->info;
    struct rates rates = {
        rate(before, now, then->visible, now->info.visible),
        rate(before, now, then->written, now->info.written),
        rate(before, now, then->durable, now->info.durable),
    };
    return rates;
}

/* Until the journal may take no more, if it goes on like that; UINT64_MAX: it does not, or nobody knows. */
static uint64_t full_in_ns(const struct sample *now, const struct rates *rates)
{
    if (!now->info.journaled || now->info.journal_room_bytes == UINT64_MAX || rates->written <= 0)
        return UINT64_MAX;
    double span_ns = (double)now->info.journal_room_bytes / rates->written * 1e9;
    return span_ns < 1e19 ? (uint64_t)span_ns : UINT64_MAX;
}

/* -- Notes: a sentence for each thing that an operator would want to know first ------------------------------------- */

enum { NOTE_BYTES = 320 };
typedef void note_function(void *ctx, const char *note);

static void note(note_function *say, void *ctx, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void note(note_function *say, void *ctx, const char *format, ...)
{
    char text[NOTE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    say(ctx, text);
}

static uint64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* "publisher 123 (importer)" */
static void participant_title(char *title, size_t bytes, const struct weir_participant *participant)
{
    const char *name = participant->name;
    snprintf(title, bytes, "%s %" PRIu64 "%s%s%s", describe_role(participant->role), participant->pid,
             name[0] ? " (" : "", name, name[0] ? ")" : "");
}

static bool has_quota(const struct weir_ring_info *info)
{
    return info->quota_messages_per_second || info->quota_bytes_per_second;
}

static void note_publisher(const struct weir_ring_info *info, const struct weir_participant *publisher,
                           note_function *say, void *ctx)
{
    struct number_text waits;
    char title[WEIR_NAME_MAX + 48];
    participant_title(title, sizeof title, publisher);
    uint64_t now_ns = wall_ns();
    if (publisher->state == WEIR_STOPPED && publisher->holds_claim)
        note(say, ctx,
             "%s is stopped and holds a claim: readers wait for it; 'kill -CONT %" PRIu64
             "' lets it go on, 'kill -KILL %" PRIu64 "' gives the claim up",
             title, publisher->pid, publisher->pid);
    else if (publisher->state == WEIR_STOPPED)
        note(say, ctx, "%s is stopped; it holds no claim, nobody waits for it", title);
    else if (publisher->state == WEIR_DEAD)
        note(say, ctx, "%s is dead; whoever meets what it left behind repairs it", title);
    if (publisher->waiting_since_ns && publisher->state != WEIR_DEAD)
        note(say, ctx, "%s has waited for room%s for %s", title, has_quota(info) ? " or quota" : "",
             number_span(&waits, now_ns > publisher->waiting_since_ns ? now_ns - publisher->waiting_since_ns : 0));
    if (publisher->repeated_count)
        note(say, ctx, "%s was refused %" PRIu64 " message%s whose sequence had been published before", title,
             publisher->repeated_count, publisher->repeated_count == 1 ? "" : "s");
}

static void note_reader(const struct weir_participant *reader, note_function *say, void *ctx)
{
    char title[WEIR_NAME_MAX + 48];
    struct number_text lag;
    participant_title(title, sizeof title, reader);
    if (reader->state == WEIR_STOPPED && reader->gating)
        note(say, ctx, "%s is stopped and gates: publishers will wait for it when the ring is full, %s behind", title,
             number_bytes(&lag, (double)reader->lag_bytes));
    else if (reader->state == WEIR_STOPPED)
        note(say, ctx, "%s is stopped; it stalls nobody", title);
    else if (reader->state == WEIR_DEAD)
        note(say, ctx, "%s is dead; its place is given out again", title);
    if (reader->gap_count)
        note(say, ctx, "%s has missed messages: it was told of %" PRIu64 " gap%s", title, reader->gap_count,
             reader->gap_count == 1 ? "" : "s");
}

static void sample_notes(const struct sample *sample, note_function *say, void *ctx)
{
    const struct weir_ring_info *info = &sample->info;
    struct number_text when;
    if (info->journaled && info->daemon_alive == 0)
        note(say, ctx, "nobody drains it: start weird");
    if (info->journal_retries)
        note(say, ctx, "the journal cannot go on for now (%s): weird tries again, publishers wait when memory is full",
             strerror(info->journal_error));
    else if (info->journal_error)
        note(say, ctx, "the journal has stopped (%s): nothing above position %" PRIu64 " is safe",
             strerror(info->journal_error), info->durable);
    for (size_t i = 0; i < sample->people.count; i++) {
        if (sample->people.all[i].role == WEIR_PUBLISHER)
            note_publisher(info, &sample->people.all[i], say, ctx);
        else if (sample->people.all[i].role == WEIR_READER)
            note_reader(&sample->people.all[i], say, ctx);
    }
    if (info->refused_count)
        note(say, ctx, "%" PRIu64 " messages were refused%s, the last at %s", info->refused_count,
             has_quota(info) ? "" : " because the ring was full", number_instant(&when, info->refused_last_ns));
    if (sample->people_error < 0)
        note(say, ctx, "who is attached cannot be told: %s", weir_strerror(sample->people_error));
}

/* -- JSON ----------------------------------------------------------------------------------------------------------- */

static json_t *participant_json(const struct sample *before, const struct sample *now,
                                const struct weir_participant *participant)
{
    struct number_text buffer;
    bool reader = participant->role == WEIR_READER, publisher = participant->role == WEIR_PUBLISHER;
    json_t *object = json_object();
    json_object_set_new(object, "role", json_string(describe_role(participant->role)));
    json_object_set_new(object, "state", json_string(describe_state(participant->state)));
    json_object_set_new(object, "pid", output_number(participant->pid));
    json_object_set_new(object, "id", output_number(participant->id));
    json_object_set_new(object, "index", output_number(participant->index));
    json_object_set_new(object, "name", json_string(participant->name));
    json_object_set_new(object, "attached", json_string(number_instant(&buffer, participant->attached_ns)));
    if (reader || publisher) {
        json_object_set_new(object, "position", output_number(participant->position));
        json_object_set_new(object, "bytes_per_second", json_real(participant_rate(before, now, participant)));
    }
    if (reader) {
        json_object_set_new(object, "lag_bytes", output_number(participant->lag_bytes));
        json_object_set_new(object, "gating", json_boolean(participant->gating));
        json_object_set_new(object, "gap_count", output_number(participant->gap_count));
        json_object_set_new(object, "saved",
                            participant->saved_ns ? json_string(number_instant(&buffer, participant->saved_ns))
                                                  : json_null());
    }
    if (publisher) {
        json_object_set_new(object, "holds_claim", json_boolean(participant->holds_claim));
        json_object_set_new(object, "waiting_since",
                            participant->waiting_since_ns
                                ? json_string(number_instant(&buffer, participant->waiting_since_ns))
                                : json_null());
        json_object_set_new(object, "repeated_count", output_number(participant->repeated_count));
        json_object_set_new(object, "refused_count", output_number(participant->refused_count));
        if (participant->refused_count) {
            json_object_set_new(object, "refused_last",
                                json_string(number_instant(&buffer, participant->refused_last_ns)));
            json_object_set_new(object, "refused_sequence", output_number(participant->refused_sequence));
        }
    }
    return object;
}

static void note_to_json(void *ctx, const char *text)
{
    json_array_append_new(ctx, json_string(text));
}

static void report_json(const struct sample *before, const struct sample *now)
{
    struct rates rates = sample_rates(before, now);
    struct number_text buffer;
    json_t *object = describe_info(now->ring, &now->info);
    json_t *people = json_array();
    json_t *notes = json_array();
    json_object_set_new(object, "time", json_string(number_instant(&buffer, wall_ns())));
    json_object_set_new(object, "visible_bytes_per_second", json_real(rates.visible));
    json_object_set_new(object, "written_bytes_per_second", json_real(rates.written));
    json_object_set_new(object, "durable_bytes_per_second", json_real(rates.durable));
    uint64_t full_ns = full_in_ns(now, &rates);
    json_object_set_new(object, "journal_full_in_seconds",
                        full_ns != UINT64_MAX ? json_real((double)full_ns / 1e9) : json_null());
    for (size_t i = 0; i < now->people.count; i++)
        json_array_append_new(people, participant_json(before, now, &now->people.all[i]));
    json_object_set_new(object, "participants", people);
    sample_notes(now, note_to_json, notes);
    json_object_set_new(object, "notes", notes);
    output_json(object);
}

/* -- Text ----------------------------------------------------------------------------------------------------------- */

static void note_to_stdout(void *ctx, const char *text)
{
    (void)ctx;
    printf("  ! %s\n", text);
}

static void print_positions(const struct sample *now, const struct rates *rates)
{
    static const char *const heads[] = {"", ">POSITION", ">BEHIND", ">RATE", NULL};
    const struct weir_ring_info *info = &now->info;
    struct number_text behind, speed;
    struct table table;
    table_start(&table, heads);
    table_cell(&table, "visible");
    table_cell(&table, "%" PRIu64, info->visible);
    table_cell(&table, "-");
    table_cell(&table, "%s", number_per_second(&speed, rates->visible));
    for (int i = 0; i < 2 && info->journaled; i++) {
        uint64_t position = i == 0 ? info->written : info->durable;
        table_cell(&table, "%s", i == 0 ? "written" : "durable");
        table_cell(&table, "%" PRIu64, position);
        table_cell(&table, "%s",
                   number_bytes(&behind, info->visible > position ? (double)(info->visible - position) : 0));
        table_cell(&table, "%s", number_per_second(&speed, i == 0 ? rates->written : rates->durable));
    }
    table_print(&table, "  ");
}

static void print_room(const struct sample *now, const struct rates *rates)
{
    struct number_text room, span;
    uint64_t full_ns = full_in_ns(now, rates);
    if (!now->info.journaled || now->info.journal_room_bytes == UINT64_MAX)
        return;
    printf("  the journal may take %s more", number_bytes(&room, (double)now->info.journal_room_bytes));
    if (full_ns != UINT64_MAX)
        printf(": full in %s at this rate", number_span(&span, full_ns));
    printf("\n");
}

static void participant_row(struct table *table, const struct sample *before, const struct sample *now,
                            const struct weir_participant *participant)
{
    struct number_text lag, speed, saved;
    uint64_t now_ns = wall_ns();
    table_cell(table, "%s", describe_role(participant->role));
    table_cell(table, "%" PRIu64, participant->pid);
    table_cell(table, "%s", participant->name[0] ? participant->name : "-");
    table_cell(table, "%s%s%s%s", describe_state(participant->state), participant->gating ? ", gates" : "",
               participant->holds_claim ? ", holds a claim" : "", participant->waiting_since_ns ? ", waits" : "");
    if (participant->role == WEIR_DAEMON) {
        for (int i = 0; i < 4; i++)
            table_cell(table, "-");
        return;
    }
    table_cell(table, "%" PRIu64, participant->position);
    if (participant->role == WEIR_READER)
        table_cell(table, "%s", number_bytes(&lag, (double)participant->lag_bytes));
    else
        table_cell(table, "-");
    table_cell(table, "%s", number_per_second(&speed, participant_rate(before, now, participant)));
    if (participant->saved_ns)
        table_cell(table, "%s ago",
                   number_span(&saved, now_ns > participant->saved_ns ? now_ns - participant->saved_ns : 0));
    else
        table_cell(table, "-");
}

static void report_text(const struct sample *before, const struct sample *now)
{
    static const char *const heads[] = {"WHO", ">PID", "NAME", "STATE", ">POSITION", ">LAG", ">RATE", ">SAVED", NULL};
    const struct weir_ring_info *info = &now->info;
    struct rates rates = sample_rates(before, now);
    struct number_text limit;
    printf("%s: %s, %s, when full: %s, %u of %u slots in use, limit %s, weird: %s\n", now->ring,
           info->journaled ? "journaled" : "memory only", info->exclusive ? "exclusive" : "shared",
           describe_when_full(info->when_full), (unsigned)info->slots_used, (unsigned)info->slot_count,
           number_exact_bytes(&limit, info->memory_limit_bytes), describe_daemon(info));
    print_positions(now, &rates);
    print_room(now, &rates);
    if (now->people.count > 0) {
        struct table table;
        table_start(&table, heads);
        for (size_t i = 0; i < now->people.count; i++)
            participant_row(&table, before, now, &now->people.all[i]);
        table_print(&table, "  ");
    }
    sample_notes(now, note_to_stdout, NULL);
}

/* -- The command ---------------------------------------------------------------------------------------------------- */

static int report(const struct call *call, const struct samples *before, const struct samples *now)
{
    int exit_code = EXIT_DONE;
    if (now->error < 0)
        return complain_failed(now->error, call->bus ? call->bus : "the default bus");
    for (size_t i = 0; i < now->count; i++) {
        const struct sample *sample = &now->all[i];
        if (sample->error == -ENOENT && call->operand_count == 0)
            continue; /* removed since it was listed */
        if (sample->error < 0) {
            exit_code = complain_about(sample->error, sample->ring, sample->why);
        } else if (call->json) {
            report_json(sample_before(before, sample), sample);
        } else {
            report_text(sample_before(before, sample), sample);
        }
    }
    return output_flush() ? exit_code : EXIT_FAILED;
}

/* False: asked to stop. */
static bool sleep_until(uint64_t instant_ns)
{
    while (!signals_stop()) {
        uint64_t now_ns = pace_now_ns();
        if (now_ns >= instant_ns)
            return true;
        pace_sleep_until(instant_ns - now_ns < (uint64_t)SIGNALS_SLICE_NS ? instant_ns
                                                                          : now_ns + (uint64_t)SIGNALS_SLICE_NS);
    }
    return false;
}

static int stat_run(const struct call *call)
{
    const struct stat_arguments *arguments = call->arguments;
    bool given = arguments->interval_ns >= 0;
    int64_t interval_ns = given ? arguments->interval_ns : default_interval_ns;
    uint64_t count = arguments->count;
    if (count == 0)
        count = given ? UINT64_MAX : 1;
    if (interval_ns < shortest_interval_ns) {
        complain("--interval: shorter than 10 ms: take a longer one");
        return EXIT_USAGE;
    }
    bool clear = !call->json && count > 1 && isatty(STDOUT_FILENO);
    uint64_t next_ns = pace_now_ns();
    struct samples before = samples_take(call);
    int exit_code = EXIT_DONE;
    for (uint64_t i = 0; i < count && exit_code == EXIT_DONE; i++) {
        next_ns += (uint64_t)interval_ns;
        if (!sleep_until(next_ns))
            break;
        struct samples now = samples_take(call);
        if (clear)
            printf("\033[H\033[J");
        exit_code = report(call, &before, &now);
        samples_free(&before);
        before = now;
    }
    samples_free(&before);
    return exit_code;
}

const struct command stat_command = {
    .words = "stat",
    .summary = "Show positions, rates, who is attached and who stands in the way",
    .operands = "[NAME...]",
    .operands_max = (size_t)-1,
    .options = stat_options,
    .defaults = &stat_defaults,
    .arguments_bytes = sizeof stat_defaults,
    .text = "Of the rings named, or of all rings of the bus. Rates are bytes a second between two looks.\n",
    .run = stat_run,
};
