/* SPDX-License-Identifier: Apache-2.0 */
/* weir journal ls|info|gaps|pin|unpin */
#include "cli/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/describe.h"
#include "cli/number.h"
#include "cli/output.h"
#include "cli/print.h"
#include "cli/signals.h"

static const struct option place_options[] = {JOURNAL_OPTION, OPTIONS_END};

static struct weir_journal *open_named(const struct call *call, const char *name, int *ret_exit_code)
{
    const struct journal_place *place = call->arguments;
    struct weir_journal *journal = NULL;
    signals_about(name);
    int rc = weir_journal_open(call->bus, place->directory, name, &journal);
    if (rc < 0)
        *ret_exit_code = complain_failed(rc, name);
    return journal;
}

struct weir_journal *journal_open_operand(const struct call *call, int *ret_exit_code)
{
    return open_named(call, call->operands[0], ret_exit_code);
}

static void set_instant(json_t *object, const char *name, uint64_t instant_ns)
{
    struct number_text buffer;
    output_set_text(object, name, number_instant(&buffer, instant_ns));
}

static const char *id_text(const uint8_t ring_id[16], char text[33])
{
    for (size_t i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", ring_id[i]);
    return text;
}

static json_t *info_json(const char *name, const struct weir_journal_info *info)
{
    char text[40];
    json_t *object = json_object();
    output_set_text(object, "journal", name);
    output_set_text(object, "ring_id", id_text(info->ring_id, text));
    set_instant(object, "created", info->created_ns);
    json_object_set_new(object, "live", info->live < 0 ? json_null() : json_boolean(info->live));
    json_object_set_new(object, "damaged", json_boolean(info->damaged));
    json_object_set_new(object, "exclusive", json_boolean(info->exclusive));
    output_set_text(object, "when_full", describe_when_full(info->when_full));
    snprintf(text, sizeof text, "%04o", (unsigned)info->mode);
    output_set_text(object, "mode", text);
    output_set_number(object, "uid", info->uid);
    output_set_number(object, "gid", info->gid);
    output_set_number(object, "segment_bytes", info->segment_bytes);
    output_set_number(object, "memory_limit_bytes", info->memory_limit_bytes);
    output_set_number(object, "max_readers", info->max_readers);
    output_set_number(object, "max_publishers", info->max_publishers);
    output_set_number(object, "epoch", info->epoch);
    output_set_number(object, "epoch_position", info->epoch_position);
    output_set_number(object, "oldest_position", info->oldest_position);
    output_set_number(object, "end_position", info->end_position);
    output_set_number(object, "durable", info->durable);
    output_set_number(object, "lease", info->lease);
    output_set_number(object, "disk_bytes", info->disk_bytes);
    output_set_number(object, "file_count", info->file_count);
    output_set_number(object, "spare_count", info->spare_count);
    output_set_number(object, "file_bytes", info->file_bytes);
    output_set_number(object, "gap_count", info->gap_count);
    output_set_number(object, "pin_count", info->pin_count);
    return object;
}

static const char *live_text(const struct weir_journal_info *info)
{
    return info->live < 0 ? "unknown" : info->live ? "alive" : "-";
}

/* -- ls ------------------------------------------------------------------------------------------------------------- */

struct listing {
    const struct call *call;
    struct table table;
    int exit_code;
};

static void table_add_journal(struct table *table, const char *name, const struct weir_journal_info *info)
{
    struct number_text size;
    char id[33];
    table_cell(table, "%s", name);
    table_cell(table, "%.8s", id_text(info->ring_id, id));
    table_cell(table, "%" PRIu64, info->epoch);
    table_cell(table, "%" PRIu64, info->oldest_position);
    table_cell(table, "%" PRIu64, info->end_position);
    table_cell(table, "%s", number_bytes(&size, (double)info->disk_bytes));
    table_cell(table, "%" PRIu64, info->file_count);
    table_cell(table, "%" PRIu64, info->gap_count);
    table_cell(table, "%s%s", live_text(info), info->damaged ? ", damaged: see weir journal repair" : "");
}

static int list_one(void *ctx, const char *name)
{
    struct listing *listing = ctx;
    struct weir_journal_info info = {.size = sizeof info};
    struct weir_journal *journal = open_named(listing->call, name, &listing->exit_code);
    int rc = journal ? weir_journal_inspect(journal, &info) : 0;
    if (rc < 0)
        listing->exit_code = complain_failed(rc, name);
    else if (journal && listing->call->json)
        output_json(info_json(name, &info));
    else if (journal)
        table_add_journal(&listing->table, name, &info);
    weir_journal_close(journal);
    return signals_stop();
}

static int ls_run(const struct call *call)
{
    static const char *const heads[] = {"JOURNAL", "RING ID", ">EPOCH", ">OLDEST", ">END",
                                        ">DISK",   ">FILES",  ">GAPS",  "WEIRD",   NULL};
    const struct journal_place *place = call->arguments;
    struct listing listing = {.call = call, .exit_code = EXIT_DONE};
    table_start(&listing.table, heads);
    int rc = weir_journal_list(call->bus, place->directory, list_one, &listing);
    if (rc < 0)
        listing.exit_code = complain_failed(rc, place->directory ? place->directory : "the default directory");
    if (listing.table.count > listing.table.columns)
        table_print(&listing.table, "");
    else
        table_free(&listing.table);
    return listing.exit_code;
}

const struct command journal_ls_command = {
    .words = "journal ls",
    .summary = "List journals",
    .operands = "",
    .options = place_options,
    .arguments_bytes = sizeof(struct journal_place),
    .text = "Prints nothing where there are none. A journal that cannot be read is told on standard error, exit 1.\n",
    .run = ls_run,
};

/* -- info ----------------------------------------------------------------------------------------------------------- */

static json_t *gap_json(const struct weir_journal_gap_entry *gap)
{
    json_t *object = json_object();
    output_set_number(object, "from", gap->from);
    output_set_number(object, "to", gap->to);
    output_set_text(object, "reason", print_gap_reason(gap->reason));
    set_instant(object, "noted", gap->time_ns);
    output_set_number(object, "epoch", gap->epoch);
    return object;
}

static void print_gap_entry(const struct weir_journal_gap_entry *gap, const char *indent)
{
    struct number_text text;
    printf("%s%" PRIu64 " to %" PRIu64 ", %s, noted %s in epoch %" PRIu64 "\n", indent, gap->from, gap->to,
           print_gap_reason(gap->reason), number_instant(&text, gap->time_ns), gap->epoch);
}

/* Where entries go: JSON arrays, or text under heads. */
struct shown {
    json_t *publishers, *cursors, *gaps, *pins; /* NULL: text */
    int cursors_begun, begun;
};

static int show_name(void *ctx, const struct weir_journal_name *name)
{
    struct shown *shown = ctx;
    const char *what = name->is_cursor ? "position" : "sequence";
    if (shown->publishers) {
        json_t *object = json_object();
        output_set_text(object, "name", name->name);
        output_set_number(object, what, name->value);
        json_array_append_new(name->is_cursor ? shown->cursors : shown->publishers, object);
        return 0;
    }
    int *begun = name->is_cursor ? &shown->cursors_begun : &shown->begun;
    if (!(*begun)++)
        printf("%s\n", name->is_cursor ? "saved positions" : "publishers");
    printf("  %s: %s %" PRIu64 "\n", name->name, what, name->value);
    return 0;
}

static int show_gap(void *ctx, const struct weir_journal_gap_entry *gap)
{
    struct shown *shown = ctx;
    if (shown->gaps)
        json_array_append_new(shown->gaps, gap_json(gap));
    else
        print_gap_entry(gap, shown->begun++ ? "  " : "gaps\n  ");
    return 0;
}

static int show_pin(void *ctx, const struct weir_journal_pin_entry *pin)
{
    struct shown *shown = ctx;
    struct number_text text;
    if (shown->pins) {
        json_t *object = json_object();
        output_set_text(object, "name", pin->name);
        output_set_number(object, "from", pin->from);
        output_set_number(object, "to", pin->to);
        set_instant(object, "made", pin->time_ns);
        json_array_append_new(shown->pins, object);
        return 0;
    }
    printf("%s  %s: %" PRIu64 " to %" PRIu64 ", made %s\n", shown->begun++ ? "" : "pins\n", pin->name, pin->from,
           pin->to, number_instant(&text, pin->time_ns));
    return 0;
}

static void print_info(const char *name, const struct weir_journal_info *info)
{
    struct number_text a, b;
    char id[33];
    printf("journal      %s\n", name);
    printf("id           %s, epoch %" PRIu64 "\n", id_text(info->ring_id, id), info->epoch);
    printf("created      %s\n", number_instant(&a, info->created_ns));
    printf("written by   %s\n", info->live < 0 ? "unknown (no right to ask)" : info->live ? "weird" : "nobody");
    if (info->damaged)
        printf("damaged      its `meta` is, and some of this is a guess: see 'weir journal repair'\n");
    printf("ring         %s, when full: %s, limit %s\n", info->exclusive ? "exclusive" : "shared",
           describe_when_full(info->when_full), number_exact_bytes(&a, info->memory_limit_bytes));
    printf("rights       %04o, user %u, group %u\n", (unsigned)info->mode, (unsigned)info->uid, (unsigned)info->gid);
    printf("on disk      %s: %" PRIu64 " files of %s, %" PRIu64 " spare\n", number_bytes(&a, (double)info->disk_bytes),
           info->file_count, number_exact_bytes(&b, info->file_bytes), info->spare_count);
    printf("oldest       %" PRIu64 "\n", info->oldest_position);
    printf("end          %" PRIu64 "\n", info->end_position);
    printf("durable      %" PRIu64 "\n", info->durable);
    printf("lease        %" PRIu64 "\n", info->lease);
    printf("this epoch   from %" PRIu64 "\n", info->epoch_position);
}

static int complain_part(int rc, const char *name, int exit_code)
{
    return rc < 0 ? complain_failed(rc, name) : exit_code;
}

/* What is damaged does not keep the rest from being shown. */
static int show_parts(struct weir_journal *journal, const char *name, struct shown *shown)
{
    int exit_code = complain_part(weir_journal_names(journal, show_name, shown), name, EXIT_DONE);
    shown->begun = 0;
    exit_code = complain_part(weir_journal_pins(journal, show_pin, shown), name, exit_code);
    shown->begun = 0;
    return complain_part(weir_journal_gaps(journal, show_gap, shown), name, exit_code);
}

static int info_run(const struct call *call)
{
    struct weir_journal_info info = {.size = sizeof info};
    struct shown shown = {0};
    int exit_code = EXIT_FAILED;
    struct weir_journal *journal = journal_open_operand(call, &exit_code);
    if (!journal)
        return exit_code;
    int rc = weir_journal_inspect(journal, &info);
    if (rc < 0) {
        exit_code = complain_failed(rc, call->operands[0]);
    } else if (call->json) {
        json_t *object = info_json(call->operands[0], &info);
        json_object_set_new(object, "publishers", shown.publishers = json_array());
        json_object_set_new(object, "cursors", shown.cursors = json_array());
        json_object_set_new(object, "pins", shown.pins = json_array());
        json_object_set_new(object, "gaps", shown.gaps = json_array());
        exit_code = show_parts(journal, call->operands[0], &shown);
        output_json(object);
    } else {
        print_info(call->operands[0], &info);
        exit_code = show_parts(journal, call->operands[0], &shown);
    }
    weir_journal_close(journal);
    return exit_code;
}

const struct command journal_info_command = {
    .words = "journal info",
    .summary = "Show what a journal holds, its names, pins and gaps",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .options = place_options,
    .arguments_bytes = sizeof(struct journal_place),
    .text = "Of a journal that weird serves, sequences and saved positions are those that it last wrote down.\n",
    .run = info_run,
};

/* -- gaps ----------------------------------------------------------------------------------------------------------- */

static int print_one_gap(void *ctx, const struct weir_journal_gap_entry *gap)
{
    const struct call *call = ctx;
    if (call->json)
        output_json(gap_json(gap));
    else
        print_gap_entry(gap, "");
    return signals_stop();
}

static int gaps_run(const struct call *call)
{
    int exit_code = EXIT_FAILED;
    struct weir_journal *journal = journal_open_operand(call, &exit_code);
    if (!journal)
        return exit_code;
    int rc = weir_journal_gaps(journal, print_one_gap, (void *)call);
    exit_code = rc < 0 ? complain_failed(rc, call->operands[0]) : EXIT_DONE;
    weir_journal_close(journal);
    return exit_code;
}

const struct command journal_gaps_command = {
    .words = "journal gaps",
    .summary = "List the positions that a journal has lost, and why",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .options = place_options,
    .arguments_bytes = sizeof(struct journal_place),
    .text =
        "Each entry of its ledger: [from, to), expired, lost or damaged, when that was noted, and in which epoch.\n",
    .run = gaps_run,
};

/* -- pin, unpin ----------------------------------------------------------------------------------------------------- */

struct pin_arguments {
    struct journal_place place;
    const char *name;
    uint64_t from, to;
};
static const struct pin_arguments pin_defaults = {{NULL}, NULL, WEIR_POSITION_START, WEIR_POSITION_END};
static const struct option pin_options[] = {
    JOURNAL_OPTION,
    {"--name", "AS", OPTION_TEXT, offsetof(struct pin_arguments, name), 0, 0,
     "the pin's name; another of that name goes"},
    {"--from", "start|POSITION", OPTION_POSITION, offsetof(struct pin_arguments, from), 0, 0,
     "first position that stays (default: start, the oldest that there is)"},
    {"--to", "end|POSITION", OPTION_POSITION, offsetof(struct pin_arguments, to), 0, 0,
     "the first behind it that need not stay (default: end, as it is now)"},
    OPTIONS_END,
};

static int pin_run(const struct call *call)
{
    const struct pin_arguments *arguments = call->arguments;
    int exit_code = EXIT_FAILED;
    if (!arguments->name) {
        complain("the pin needs a name, by which it is taken away again: give --name AS");
        return EXIT_USAGE;
    }
    if (arguments->from == WEIR_POSITION_END || arguments->to == WEIR_POSITION_START) {
        complain("a pin cannot begin at the end, nor end at the start");
        return EXIT_USAGE;
    }
    struct weir_journal *journal = journal_open_operand(call, &exit_code);
    if (!journal)
        return exit_code;
    int rc = weir_journal_pin(journal, arguments->name, arguments->from, arguments->to);
    exit_code = rc < 0 ? complain_failed(rc, call->operands[0]) : EXIT_DONE;
    weir_journal_close(journal);
    return exit_code;
}

const struct command journal_pin_command = {
    .words = "journal pin",
    .summary = "Keep a range of a journal from expiring",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .options = pin_options,
    .defaults = &pin_defaults,
    .arguments_bytes = sizeof pin_defaults,
    .text = "When it exits 0, nothing of the range has expired, and nothing of it will before the pin is taken away.\n",
    .run = pin_run,
};

struct unpin_arguments {
    struct journal_place place;
    const char *name;
    int all;
};
static const struct option unpin_options[] = {
    JOURNAL_OPTION,
    {"--name", "AS", OPTION_TEXT, offsetof(struct unpin_arguments, name), 0, 0, "this pin"},
    {"--all", NULL, OPTION_SET, offsetof(struct unpin_arguments, all), 1, 0,
     "all of them, also where they are damaged"},
    OPTIONS_END,
};

static int unpin_run(const struct call *call)
{
    const struct unpin_arguments *arguments = call->arguments;
    int exit_code = EXIT_FAILED;
    if (!arguments->name == !arguments->all) {
        complain("which pin: give --name AS, or --all");
        return EXIT_USAGE;
    }
    struct weir_journal *journal = journal_open_operand(call, &exit_code);
    if (!journal)
        return exit_code;
    int rc = arguments->all ? weir_journal_unpin_all(journal) : weir_journal_unpin(journal, arguments->name);
    exit_code = rc < 0 ? complain_failed(rc, call->operands[0]) : EXIT_DONE;
    weir_journal_close(journal);
    return exit_code;
}

const struct command journal_unpin_command = {
    .words = "journal unpin",
    .summary = "Take a pin away",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .options = unpin_options,
    .arguments_bytes = sizeof(struct unpin_arguments),
    .run = unpin_run,
};
