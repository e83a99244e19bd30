/* SPDX-License-Identifier: Apache-2.0 */
/* weir group create|ls|info|rm */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <weir.h>

#include "cli/command.h"
#include "cli/number.h"
#include "cli/output.h"
#include "cli/signals.h"

/* Of the library's calls, whose group and ring make no sense without each other. */
static int complain_group(int error, const struct call *call)
{
    int exit_code = complain_failed(error, call->operands[0]);
    return error == -EINVAL ? EXIT_USAGE : exit_code;
}

static int ask(const struct call *call, const char *group, struct weir_group_info *ret_info)
{
    signals_about(call->operands[0]);
    ret_info->size = sizeof *ret_info;
    return weir_group_inspect(call->bus, call->operands[0], group, ret_info);
}

/* A span of a lease or a back-off; no end: null. */
static void set_span(json_t *object, const char *name, int64_t span_ns)
{
    json_object_set_new(object, name, span_ns == WEIR_FOREVER ? json_null() : output_number((uint64_t)span_ns));
}

static void print_json(const char *ring, const char *group, const struct weir_group_info *info)
{
    json_t *object = json_object();
    json_object_set_new(object, "ring", json_string(ring));
    json_object_set_new(object, "group", json_string(group));
    struct number_text created;
    output_set_text(object, "created", number_instant(&created, info->created_ns));
    set_span(object, "lease_ns", info->lease_ns);
    set_span(object, "backoff_ns", info->backoff_ns);
    set_span(object, "backoff_max_ns", info->backoff_max_ns);
    output_set_number(object, "backoff_percent", info->backoff_percent);
    output_set_number(object, "jitter_percent", info->jitter_percent);
    output_set_number(object, "entry_count", info->entry_count);
    output_set_number(object, "max_entries", info->max_entries);
    output_set_number(object, "worker_count", info->worker_count);
    output_set_number(object, "max_workers", info->max_workers);
    output_set_number(object, "position", info->position);
    output_set_number(object, "unfinished_position", info->unfinished_position);
    output_set_number(object, "lag_bytes", info->lag_bytes);
    output_set_number(object, "held_count", info->held_count);
    output_set_number(object, "open_count", info->open_count);
    output_set_number(object, "delayed_count", info->delayed_count);
    output_set_number(object, "taken_count", info->taken_count);
    output_set_number(object, "acked_count", info->acked_count);
    output_set_number(object, "returned_count", info->returned_count);
    output_set_number(object, "refused_count", info->refused_count);
    output_set_number(object, "gap_count", info->gap_count);
    output_json(object);
}

/* -- create --------------------------------------------------------------------------------------------------------- */

struct create_arguments {
    uint64_t from, since_ns;
    int64_t lease_ns, backoff_ns, backoff_max_ns;
    uint64_t factor_percent, jitter_percent, entries, workers;
};
static const struct create_arguments create_defaults = {.from = WEIR_POSITION_START};
static const struct option create_options[] = {
    {"--from", "start|end|POSITION", OPTION_POSITION, offsetof(struct create_arguments, from), 0, 0,
     "its first message (default: start, the oldest that is there)"},
    {"--since", "TIME|AGO", OPTION_INSTANT, offsetof(struct create_arguments, since_ns), 0, 0,
     "its first message is of that time or later"},
    {"--lease", "TIME", OPTION_SPAN, offsetof(struct create_arguments, lease_ns), 0, 0,
     "how long a worker may keep a message before others get it (default: 30s)"},
    {"--backoff", "TIME", OPTION_SPAN, offsetof(struct create_arguments, backoff_ns), 0, 0,
     "before the second attempt, where a worker asks for it (default: 0)"},
    {"--backoff-max", "TIME", OPTION_SPAN, offsetof(struct create_arguments, backoff_max_ns), 0, 0,
     "at most (default: 5m)"},
    {"--backoff-percent", "N", OPTION_COUNT, offsetof(struct create_arguments, factor_percent), 100, 10000,
     "each is so many percent of the one before (default: 200)"},
    {"--jitter", "N", OPTION_COUNT, offsetof(struct create_arguments, jitter_percent), 0, 100,
     "up to so many percent of it are left off, by chance (default: 0)"},
    {"--max-entries", "N", OPTION_COUNT, offsetof(struct create_arguments, entries), 1, 16383,
     "runs of up to 16 messages that may be unfinished (default: 8192)"},
    {"--max-workers", "N", OPTION_COUNT, offsetof(struct create_arguments, workers), 1, 1022, "at once (default: 64)"},
    OPTIONS_END,
};

static int create_run(const struct call *call)
{
    const struct create_arguments *arguments = call->arguments;
    struct weir_group_options options = WEIR_GROUP_OPTIONS_INIT;
    options.from = arguments->from;
    options.since_ns = arguments->since_ns;
    options.lease_ns = arguments->lease_ns;
    options.backoff_ns = arguments->backoff_ns;
    options.backoff_max_ns = arguments->backoff_max_ns;
    options.backoff_percent = (uint32_t)arguments->factor_percent;
    options.jitter_percent = (uint32_t)arguments->jitter_percent;
    options.max_entries = (uint32_t)arguments->entries;
    options.max_workers = (uint32_t)arguments->workers;
    signals_about(call->operands[0]);
    int rc = weir_group_create(call->bus, call->operands[0], call->operands[1], &options);
    struct weir_group_info info;
    if (rc == 0 && call->json && (rc = ask(call, call->operands[1], &info)) == 0)
        print_json(call->operands[0], call->operands[1], &info);
    return rc < 0 ? complain_group(rc, call) : EXIT_DONE;
}

const struct command group_create_command = {
    .words = "group create",
    .summary = "Create a group of workers over a ring",
    .operands = "RING GROUP",
    .operands_min = 2,
    .operands_max = 2,
    .options = create_options,
    .defaults = &create_defaults,
    .arguments_bytes = sizeof create_defaults,
    .text = "Each message of the ring goes to one of its workers (weir_group(3)). It lives in shared memory with its\n"
            "ring. Prints nothing, or with --json what 'weir group info' would.\n",
    .run = create_run,
};

/* -- ls ------------------------------------------------------------------------------------------------------------- */

struct listing {
    const struct call *call;
    struct table table;
    int exit_code;
};

static int list_one(void *ctx, const char *group)
{
    struct listing *listing = ctx;
    struct weir_group_info info;
    struct number_text lag;
    int rc = ask(listing->call, group, &info);
    if (rc == -ENOENT) /* removed since it was listed */
        return 0;
    if (rc < 0) {
        listing->exit_code = complain_failed(rc, group);
    } else if (listing->call->json) {
        print_json(listing->call->operands[0], group, &info);
    } else {
        table_cell(&listing->table, "%s", group);
        table_cell(&listing->table, "%" PRIu64, info.position);
        table_cell(&listing->table, "%s", number_bytes(&lag, (double)info.lag_bytes));
        table_cell(&listing->table, "%" PRIu64, info.held_count);
        table_cell(&listing->table, "%" PRIu64, info.open_count + info.delayed_count);
        table_cell(&listing->table, "%u", (unsigned)info.worker_count);
    }
    return 0;
}

static int ls_run(const struct call *call)
{
    static const char *const heads[] = {"GROUP", ">POSITION", ">LAG", ">HELD", ">BACK", ">WORKERS", NULL};
    struct listing listing = {.call = call, .exit_code = EXIT_DONE};
    table_start(&listing.table, heads);
    int rc = weir_group_list(call->bus, call->operands[0], list_one, &listing);
    if (rc < 0)
        listing.exit_code = complain_failed(rc, call->operands[0]);
    if (listing.table.count > listing.table.columns)
        table_print(&listing.table, "");
    else
        table_free(&listing.table);
    return listing.exit_code;
}

const struct command group_ls_command = {
    .words = "group ls",
    .summary = "List the groups of a ring",
    .operands = "RING",
    .operands_min = 1,
    .operands_max = 1,
    .text = "Prints nothing where there are none. BACK: messages that came back and wait for a worker.\n",
    .run = ls_run,
};

/* -- info ----------------------------------------------------------------------------------------------------------- */

static void print_info(const struct call *call, const struct weir_group_info *info)
{
    struct number_text a, b;
    printf("group        %s of ring %s\n", call->operands[1], call->operands[0]);
    printf("created      %s\n", number_instant(&a, info->created_ns));
    printf("lease        %s\n",
           info->lease_ns == WEIR_FOREVER ? "until the worker dies" : number_span(&a, (uint64_t)info->lease_ns));
    printf("back-off     %s, at most %s; %u %% of the one before, %u %% of it by chance\n",
           number_span(&a, (uint64_t)info->backoff_ns), number_span(&b, (uint64_t)info->backoff_max_ns),
           (unsigned)info->backoff_percent, (unsigned)info->jitter_percent);
    printf("workers      %u of %u\n", (unsigned)info->worker_count, (unsigned)info->max_workers);
    printf("entries      %u of %u\n", (unsigned)info->entry_count, (unsigned)info->max_entries);
    printf("position     %" PRIu64 " (all before it was handed out)\n", info->position);
    printf("unfinished   %" PRIu64 " (all before it is finished)\n", info->unfinished_position);
    printf("lag          %s\n", number_bytes(&a, (double)info->lag_bytes));
    printf("held         %" PRIu64 "\n", info->held_count);
    printf("came back    %" PRIu64 ", and %" PRIu64 " for later\n", info->open_count, info->delayed_count);
    printf("so far       %" PRIu64 " taken, %" PRIu64 " acked, %" PRIu64 " returned, %" PRIu64 " refused, %" PRIu64
           " gaps\n",
           info->taken_count, info->acked_count, info->returned_count, info->refused_count, info->gap_count);
}

static int info_run(const struct call *call)
{
    struct weir_group_info info;
    int rc = ask(call, call->operands[1], &info);
    if (rc < 0)
        return complain_failed(rc, call->operands[0]);
    if (call->json)
        print_json(call->operands[0], call->operands[1], &info);
    else
        print_info(call, &info);
    return EXIT_DONE;
}

const struct command group_info_command = {
    .words = "group info",
    .summary = "Show a group's options, positions and counts",
    .operands = "RING GROUP",
    .operands_min = 2,
    .operands_max = 2,
    .run = info_run,
};

/* -- rm ------------------------------------------------------------------------------------------------------------- */

struct rm_arguments {
    int force;
};
static const struct option rm_options[] = {
    {"--force", NULL, OPTION_SET, offsetof(struct rm_arguments, force), 1, 0, "although it has workers that are alive"},
    OPTIONS_END,
};

static int rm_run(const struct call *call)
{
    const struct rm_arguments *arguments = call->arguments;
    signals_about(call->operands[0]);
    int rc = weir_group_remove(call->bus, call->operands[0], call->operands[1], arguments->force);
    if (rc < 0)
        return complain_failed(rc, call->operands[0]);
    if (call->json) {
        json_t *object = json_object();
        json_object_set_new(object, "ring", json_string(call->operands[0]));
        json_object_set_new(object, "group", json_string(call->operands[1]));
        json_object_set_new(object, "removed", json_true());
        output_json(object);
    }
    return EXIT_DONE;
}

const struct command group_rm_command = {
    .words = "group rm",
    .summary = "Remove a group",
    .operands = "RING GROUP",
    .operands_min = 2,
    .operands_max = 2,
    .options = rm_options,
    .arguments_bytes = sizeof(struct rm_arguments),
    .text = "The ring and its messages stay.\n",
    .run = rm_run,
};
