/* SPDX-License-Identifier: Apache-2.0 */
/* weir ring create|ls|info|check|rm */
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir.h>

#include "cli/command.h"
#include "cli/describe.h"
#include "cli/number.h"
#include "cli/output.h"
#include "cli/signals.h"

static int ask_info(const struct call *call, const char *ring, struct weir_ring_info *ret_info)
{
    signals_about(ring);
    ret_info->size = sizeof *ret_info;
    return weir_ring_inspect(call->bus, ring, ret_info);
}

/* What `ring info` shows. */
struct shown {
    struct weir_ring_info info;
    struct weir_ring_placement placement;
};

static int ask_all(const struct call *call, const char *ring, struct shown *ret_shown)
{
    int rc = ask_info(call, ring, &ret_shown->info);
    ret_shown->placement.size = sizeof ret_shown->placement;
    return rc < 0 ? rc : weir_ring_locate(call->bus, ring, &ret_shown->placement);
}

static void print_json(const char *ring, const struct shown *shown)
{
    json_t *object = describe_info(ring, &shown->info);
    describe_placement(object, &shown->placement);
    output_json(object);
}

/* -- create --------------------------------------------------------------------------------------------------------- */

struct create_arguments {
    int exclusive, journaled, memory, when_full, huge;
    uint64_t segment_bytes, memory_limit_bytes, max_readers, max_publishers, mode;
    const char *group, *numa;
};
static const struct create_arguments create_defaults = {0, 0, 0, WEIR_BLOCK, WEIR_HUGE_NONE, 0, 0, 0, 0, 0, NULL, NULL};
static const struct option create_options[] = {
    {"--exclusive", NULL, OPTION_SET, offsetof(struct create_arguments, exclusive), 1, 0,
     "one publisher at a time, cheapest (default: many)"},
    {"--journaled", NULL, OPTION_SET, offsetof(struct create_arguments, journaled), 1, 0,
     "drained to disk by weird (default)"},
    {"--memory", NULL, OPTION_SET, offsetof(struct create_arguments, memory), 1, 0, "kept in memory only"},
    {"--segment-bytes", "N", OPTION_COUNT, offsetof(struct create_arguments, segment_bytes), 4096, 64 << 20,
     "a power of two, 4 KiB to 64 MiB; a message fits in one (default: 256 KiB)"},
    {"--memory-limit", "BYTES", OPTION_COUNT, offsetof(struct create_arguments, memory_limit_bytes), 1, UINT64_MAX,
     "how many bytes may wait for the disk, or are kept in memory (default: 32 segments)"},
    {"--max-readers", "N", OPTION_COUNT, offsetof(struct create_arguments, max_readers), 1, 1024,
     "attached at once, 1 to 1024 (default: 16)"},
    {"--max-publishers", "N", OPTION_COUNT, offsetof(struct create_arguments, max_publishers), 1, 512,
     "attached at once, 1 to 512 (default: 8, or 1 with --exclusive)"},
    {"--when-full", "block|drop-new|drop-old", OPTION_CHOICE, offsetof(struct create_arguments, when_full), 0, 0,
     "publishers wait; or are refused and counted; or, with --memory, the oldest goes (default: block)"},
    {"--mode", "OCTAL", OPTION_OCTAL, offsetof(struct create_arguments, mode), 0600, 0666,
     "rights: who may read subscribes, who may write publishes (default: 0600)"},
    {"--group", "NAME", OPTION_TEXT, offsetof(struct create_arguments, group), 0, 0,
     "group that owns the ring, by name or number (default: yours)"},
    {"--numa", "NODE|local", OPTION_TEXT, offsetof(struct create_arguments, numa), 0, 0,
     "all of its memory on that NUMA node, or on the one that this runs on (default: anywhere)"},
    {"--huge", NULL, OPTION_SET, offsetof(struct create_arguments, huge), WEIR_HUGE_PAGES, 0,
     "messages on huge pages of a hugetlbfs; segments are one page at least"},
    {"--huge-transparent", NULL, OPTION_SET, offsetof(struct create_arguments, huge), WEIR_HUGE_TRANSPARENT, 0,
     "messages on transparent huge pages, where the bus is mounted with huge="},
    OPTIONS_END,
};

/* "local", or a node's number: 0, or -1. */
static int parse_node(const char *text, int *ret_node)
{
    uint64_t node;
    if (!text)
        return 0;
    if (strcmp(text, "local") == 0) {
        *ret_node = WEIR_NUMA_LOCAL;
        return 0;
    }
    if (number_parse(text, &node) != 0 || node > INT32_MAX)
        return -1;
    *ret_node = (int)node;
    return 0;
}

static int create_run(const struct call *call)
{
    const struct create_arguments *arguments = call->arguments;
    const char *ring = call->operands[0];
    struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    if (arguments->memory && arguments->journaled) {
        complain("--memory and --journaled exclude each other: choose one");
        return EXIT_USAGE;
    }
    options.exclusive = arguments->exclusive;
    options.journaled = !arguments->memory;
    options.when_full = arguments->when_full;
    options.segment_bytes = arguments->segment_bytes;
    options.memory_limit_bytes = arguments->memory_limit_bytes;
    options.max_readers = (uint32_t)arguments->max_readers;
    options.max_publishers = (uint32_t)arguments->max_publishers;
    options.mode = (uint32_t)arguments->mode;
    options.group = arguments->group;
    options.huge = arguments->huge;
    if (parse_node(arguments->numa, &options.numa_node) != 0) {
        complain("--numa: \"%s\" is neither local nor the number of a node", arguments->numa);
        return EXIT_USAGE;
    }
    int rc = weir_ring_create(call->bus, ring, &options);
    if (rc < 0) {
        int exit_code = complain_failed(rc, ring);
        return rc == -EINVAL ? EXIT_USAGE : exit_code;
    }
    if (!call->json)
        return EXIT_DONE;
    struct shown shown;
    rc = ask_all(call, ring, &shown);
    if (rc < 0)
        return complain_failed(rc, ring);
    print_json(ring, &shown);
    return EXIT_DONE;
}

const struct command ring_create_command = {
    .words = "ring create",
    .summary = "Create a ring",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .options = create_options,
    .defaults = &create_defaults,
    .arguments_bytes = sizeof create_defaults,
    .text = "All memory of the ring is taken now. Without options it is journaled, shared by many publishers, and\n"
            "they wait when it is full. Numbers take k, M, G (1000) and KiB, MiB, GiB (1024). Prints nothing, or\n"
            "with --json what 'weir ring info' would.\n",
    .run = create_run,
};

/* -- ls ------------------------------------------------------------------------------------------------------------- */

struct ring_names {
    char **names;
    size_t count, capacity;
};

static int keep_name(void *ctx, const char *name)
{
    struct ring_names *names = ctx;
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? 2 * names->capacity : 16;
        char **bigger = realloc(names->names, capacity * sizeof *bigger);
        if (!bigger)
            return -ENOMEM;
        names->names = bigger;
        names->capacity = capacity;
    }
    names->names[names->count] = strdup(name);
    if (!names->names[names->count])
        return -ENOMEM;
    names->count++;
    return 0;
}

static void table_add_ring(struct table *table, const char *ring, const struct weir_ring_info *info)
{
    struct number_text limit, size;
    table_cell(table, "%s", ring);
    table_cell(table, "%s%s", info->journaled ? "journaled" : "memory", info->exclusive ? ", exclusive" : "");
    table_cell(table, "%s", describe_when_full(info->when_full));
    table_cell(table, "%s", number_exact_bytes(&limit, info->memory_limit_bytes));
    table_cell(table, "%s", number_bytes(&size, (double)info->memory_bytes));
    table_cell(table, "%" PRIu64, info->visible);
    if (info->journaled)
        table_cell(table, "%" PRIu64, info->durable);
    else
        table_cell(table, "-");
    table_cell(table, "%u", (unsigned)info->publisher_count);
    table_cell(table, "%u", (unsigned)info->reader_count);
    table_cell(table, "%s", info->journaled ? describe_daemon(info) : "-");
}

static int ls_run(const struct call *call)
{
    static const char *const heads[] = {"RING",     "KIND", "WHEN FULL", ">LIMIT", ">MEMORY", ">VISIBLE",
                                        ">DURABLE", ">PUB", ">SUB",      "WEIRD",  NULL};
    struct ring_names names = {0};
    struct table table;
    int exit_code = EXIT_DONE;
    table_start(&table, heads);
    int rc = weir_ring_list(call->bus, keep_name, &names);
    if (rc < 0)
        exit_code = complain_failed(rc, call->bus ? call->bus : "the default bus");
    for (size_t i = 0; i < names.count; i++) {
        struct weir_ring_info info;
        rc = ask_info(call, names.names[i], &info);
        if (rc == -ENOENT) /* removed since it was listed */
            continue;
        if (rc < 0)
            exit_code = complain_failed(rc, names.names[i]);
        else if (call->json)
            output_json(describe_info(names.names[i], &info));
        else
            table_add_ring(&table, names.names[i], &info);
    }
    if (table.count > table.columns)
        table_print(&table, "");
    else
        table_free(&table);
    for (size_t i = 0; i < names.count; i++)
        free(names.names[i]);
    free(names.names);
    return exit_code;
}

const struct command ring_ls_command = {
    .words = "ring ls",
    .summary = "List the rings of a bus",
    .operands = "",
    .text = "Prints nothing where there are none. A ring that cannot be read is told on standard error, exit 1.\n",
    .run = ls_run,
};

/* -- info ----------------------------------------------------------------------------------------------------------- */

static void print_owner(const struct weir_ring_info *info)
{
    const struct passwd *user = getpwuid(info->uid);
    const struct group *group = getgrgid(info->gid);
    printf("rights       %04o", (unsigned)info->mode);
    if (user)
        printf(", user %s", user->pw_name);
    else
        printf(", user %u", (unsigned)info->uid);
    if (group)
        printf(", group %s\n", group->gr_name);
    else
        printf(", group %u\n", (unsigned)info->gid);
}

static void print_journal(const struct weir_ring_info *info)
{
    static const char *const daemon_words[] = {"weird state unknown (no right to ask)", "not served: start weird",
                                               "served by weird"};
    printf("written      %" PRIu64 "\n", info->written);
    printf("durable      %" PRIu64 "\n", info->durable);
    printf("lease        %" PRIu64 "\n", info->lease);
    printf("sync         %s", describe_sync(info->sync));
    if (info->sync == WEIR_SYNC_INTERVAL)
        printf(" %u ms", (unsigned)info->sync_interval_ms);
    printf("\n");
    printf("journal      %s", daemon_words[info->daemon_alive < 0 ? 0 : 1 + (info->daemon_alive > 0)]);
    if (info->journal_error)
        printf("; %s: %s", info->journal_retries ? "held up" : "stopped", strerror(info->journal_error));
    printf("\n");
}

/* "64.0 MiB of 67.1 MiB", or that it is all. */
static void print_part(uint64_t part, uint64_t all)
{
    struct number_text a, b;
    if (part == all)
        printf("all of it");
    else
        printf("%s of %s", number_bytes(&a, (double)part), number_bytes(&b, (double)all));
}

static void print_placement(const struct weir_ring_placement *placement)
{
    struct number_text text;
    if (placement->memory_node < 0) {
        printf("node         not told by the kernel");
    } else {
        printf("node         %d, ", placement->memory_node);
        print_part(placement->node_bytes, placement->memory_bytes);
    }
    if (placement->numa_node >= 0)
        printf("; asked for: %d", placement->numa_node);
    printf("\npages        %s", number_exact_bytes(&text, placement->page_bytes));
    if (placement->huge_bytes) {
        printf(", huge: ");
        print_part(placement->huge_bytes, placement->memory_bytes);
    }
    if (placement->huge != WEIR_HUGE_NONE)
        printf("; asked for: %s", describe_huge(placement->huge));
    printf("\n");
}

static void print_info(const char *ring, const struct shown *shown)
{
    const struct weir_ring_info *info = &shown->info;
    struct number_text a, b;
    printf("ring         %s\n", ring);
    printf("id           ");
    for (size_t i = 0; i < sizeof info->ring_id; i++)
        printf("%02x", info->ring_id[i]);
    printf(", epoch %" PRIu64 "\n", info->epoch);
    printf("created      %s\n", number_instant(&a, info->created_ns));
    printf("kind         %s, %s, when full: %s%s\n", info->journaled ? "journaled" : "memory only",
           info->exclusive ? "exclusive" : "shared", describe_when_full(info->when_full),
           info->fenced ? ", fenced" : "");
    print_owner(info);
    printf("segments     %s each, limit %s\n", number_exact_bytes(&a, info->segment_bytes),
           number_exact_bytes(&b, info->memory_limit_bytes));
    printf("memory       %s: %u slots, %u in use\n", number_bytes(&a, (double)info->memory_bytes),
           (unsigned)info->slot_count, (unsigned)info->slots_used);
    print_placement(&shown->placement);
    printf("publishers   %u of %u\n", (unsigned)info->publisher_count, (unsigned)info->max_publishers);
    printf("readers      %u of %u\n", (unsigned)info->reader_count, (unsigned)info->max_readers);
    printf("first        %" PRIu64 " (of this epoch)\n", info->first_position);
    printf("in memory    from %" PRIu64 "\n", info->memory_position);
    printf("end          %" PRIu64 " (behind the last claim)\n", info->end_position);
    printf("visible      %" PRIu64 "\n", info->visible);
    if (info->journaled)
        print_journal(info);
    if (info->quota_messages_per_second || info->quota_bytes_per_second)
        printf("quota        %s messages and %s a second, %" PRIu64 " ms of it at once\n",
               info->quota_messages_per_second ? number_grouped(&a, info->quota_messages_per_second) : "any number of",
               info->quota_bytes_per_second ? number_bytes(&b, (double)info->quota_bytes_per_second)
                                            : "any number of bytes",
               info->quota_burst_ns / 1000000);
    if (info->refused_count)
        printf("refused      %" PRIu64 ", last %s\n", info->refused_count, number_instant(&a, info->refused_last_ns));
}

static int info_run(const struct call *call)
{
    struct shown shown;
    int rc = ask_all(call, call->operands[0], &shown);
    if (rc < 0)
        return complain_failed(rc, call->operands[0]);
    if (call->json)
        print_json(call->operands[0], &shown);
    else
        print_info(call->operands[0], &shown);
    return EXIT_DONE;
}

const struct command ring_info_command = {
    .words = "ring info",
    .summary = "Show a ring's geometry, rights and positions",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .run = info_run,
};

/* -- check ---------------------------------------------------------------------------------------------------------- */

static void print_fault(void *ctx, const char *file, uint64_t offset, const char *what)
{
    const struct call *call = ctx;
    if (!call->json) {
        printf("%s: %s: %" PRIu64 ": %s\n", call->operands[0], file, offset, what);
        return;
    }
    json_t *object = json_object();
    json_object_set_new(object, "ring", json_string(call->operands[0]));
    json_object_set_new(object, "file", json_string(file));
    json_object_set_new(object, "offset", output_number(offset));
    json_object_set_new(object, "fault", json_string(what));
    output_json(object);
}

static int check_run(const struct call *call)
{
    signals_about(call->operands[0]);
    int faults = weir_ring_check(call->bus, call->operands[0], print_fault, (void *)call);
    if (faults < 0)
        return complain_failed(faults, call->operands[0]);
    if (call->json) {
        json_t *object = json_object();
        json_object_set_new(object, "ring", json_string(call->operands[0]));
        json_object_set_new(object, "faults", output_number((uint64_t)faults));
        output_json(object);
    } else if (faults == 0 && isatty(STDOUT_FILENO)) {
        printf("%s: no faults\n", call->operands[0]);
    }
    return faults == 0 ? EXIT_DONE : EXIT_FAILED;
}

const struct command ring_check_command = {
    .words = "ring check",
    .summary = "Verify a live or dead ring, without writing to it",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .text = "Prints one line a fault: RING: FILE: OFFSET: WHAT. Exit status 0: no faults, 1: faults, or not a ring.\n",
    .run = check_run,
};

/* -- rm ------------------------------------------------------------------------------------------------------------- */

struct rm_arguments {
    int force, keep_journal;
};
static const struct option rm_options[] = {
    {"--force", NULL, OPTION_SET, offsetof(struct rm_arguments, force), 1, 0,
     "although somebody alive uses it, or pins keep its journal"},
    {"--keep-journal", NULL, OPTION_SET, offsetof(struct rm_arguments, keep_journal), 1, 0,
     "the journal stays, and weird brings the ring back from it"},
    OPTIONS_END,
};

static int rm_run(const struct call *call)
{
    const struct rm_arguments *arguments = call->arguments;
    signals_about(call->operands[0]);
    int rc = weir_ring_remove(call->bus, call->operands[0], arguments->force, arguments->keep_journal);
    if (rc < 0)
        return complain_failed(rc, call->operands[0]);
    if (call->json) {
        json_t *object = json_object();
        json_object_set_new(object, "ring", json_string(call->operands[0]));
        json_object_set_new(object, "removed", json_true());
        output_json(object);
    }
    return EXIT_DONE;
}

const struct command ring_rm_command = {
    .words = "ring rm",
    .summary = "Remove a ring, and its journal",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .options = rm_options,
    .arguments_bytes = sizeof(struct rm_arguments),
    .text = "Its name goes at once, its memory when the last process has let go.\n",
    .run = rm_run,
};
