/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_keys.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "daemon/cpus.h"
#include "daemon/weird.h"

#define MIB (UINT64_C(1) << 20)
#define PIB (UINT64_C(1) << 50)
#define SECOND_MS UINT64_C(1000)
#define DAY_MS (86400 * SECOND_MS)

#define IN_CONFIG(member) offsetof(struct config, member)
#define IN_ROOM(member) offsetof(struct config, policies.room.member)
#define IN_POLICY(member) offsetof(struct policy, member)

const char *const config_section_names[] = {"", "weird", "journal", "ring"};

const struct config_key config_keys[] = {
    {.section = CONFIG_SECTION_WEIRD,
     .name = "bus",
     .kind = CONFIG_KIND_PATH,
     .offset = IN_CONFIG(bus),
     .restart = true,
     .value = "/run/weir",
     .instead = "$WEIR_BUS, else /run/weir where it may be used, else /dev/shm/weir-UID",
     .help = "The bus, a directory on tmpfs; made when it is missing."},
    {.section = CONFIG_SECTION_WEIRD,
     .name = "journal",
     .kind = CONFIG_KIND_PATH,
     .offset = IN_CONFIG(journal),
     .restart = true,
     .value = "/var/lib/weir",
     .instead = "/var/lib/weir where it may be written, else $XDG_STATE_HOME/weir, else ~/.local/state/weir",
     .help = "Where the journals lie, on a disk."},
    {.section = CONFIG_SECTION_WEIRD,
     .name = "threads",
     .kind = CONFIG_KIND_COUNT,
     .offset = IN_CONFIG(threads),
     .min = 1,
     .max = WEIRD_THREADS_MAX,
     .restart = true,
     .value = "1",
     .help = "Threads that drain; where there are several NUMA nodes, one for each at least. A ring belongs to one of "
             "them."},
    {.section = CONFIG_SECTION_WEIRD,
     .name = "cpus",
     .kind = CONFIG_KIND_CPUS,
     .offset = IN_CONFIG(cpus),
     .restart = true,
     .value = "0,2-5",
     .instead = "any",
     .help = "The processors that these threads run on."},
    {.section = CONFIG_SECTION_WEIRD,
     .name = "verbose",
     .kind = CONFIG_KIND_SWITCH,
     .offset = IN_CONFIG(verbose),
     .value = "no",
     .help = "Log also what is of interest for finding faults."},
    {.section = CONFIG_SECTION_JOURNAL,
     .name = "limit",
     .kind = CONFIG_KIND_SIZE,
     .offset = IN_ROOM(limit_bytes),
     .min = 1 << 16,
     .max = PIB,
     .none = true,
     .value = "none",
     .help = "What the files of all journals may take together."},
    {.section = CONFIG_SECTION_JOURNAL,
     .name = "reserve",
     .kind = CONFIG_KIND_SIZE,
     .offset = IN_ROOM(reserve_bytes),
     .min = 0,
     .max = PIB,
     .value = "64MiB",
     .help = "What is left free on the disk, so that deleting and administration still work."},
    {.section = CONFIG_SECTION_JOURNAL,
     .name = "high_watermark",
     .kind = CONFIG_KIND_PERCENT,
     .offset = IN_ROOM(high_percent),
     .min = 1,
     .max = 100,
     .value = "95%",
     .help = "Of what may be used: from here on rings whose when_limited is expire give up their oldest segments."},
    {.section = CONFIG_SECTION_JOURNAL,
     .name = "low_watermark",
     .kind = CONFIG_KIND_PERCENT,
     .offset = IN_ROOM(low_percent),
     .min = 0,
     .max = 99,
     .value = "90%",
     .help = "Down to this; below the high watermark."},
    {.section = CONFIG_SECTION_RING,
     .name = "sync",
     .kind = CONFIG_KIND_SYNC,
     .min = 1,
     .max = 60 * SECOND_MS,
     .has = POLICY_HAS_SYNC,
     .value = "always",
     .help =
         "When records become durable: soon, and at once for whoever waits; every so often; when the kernel likes."},
    {.section = CONFIG_SECTION_RING,
     .name = "retain_bytes",
     .kind = CONFIG_KIND_SIZE,
     .offset = IN_POLICY(retain_bytes),
     .min = 4096,
     .max = PIB,
     .none = true,
     .has = POLICY_HAS_RETAIN_BYTES,
     .value = "none",
     .help = "Of the log, so much is kept; none: all."},
    {.section = CONFIG_SECTION_RING,
     .name = "retain_age",
     .kind = CONFIG_KIND_SPAN,
     .offset = IN_POLICY(retain_age_ms),
     .min = 1,
     .max = 36500 * DAY_MS,
     .none = true,
     .has = POLICY_HAS_RETAIN_AGE,
     .value = "none",
     .help = "Records are kept this long; none: for ever."},
    {.section = CONFIG_SECTION_RING,
     .name = "limit",
     .kind = CONFIG_KIND_SIZE,
     .offset = IN_POLICY(limit_bytes),
     .min = 1 << 16,
     .max = PIB,
     .none = true,
     .has = POLICY_HAS_LIMIT,
     .value = "none",
     .help = "What the files of the ring's journal may take."},
    {.section = CONFIG_SECTION_RING,
     .name = "when_limited",
     .kind = CONFIG_KIND_LIMITED,
     .offset = IN_POLICY(when_limited),
     .has = POLICY_HAS_WHEN_LIMITED,
     .value = "block",
     .help = "At a limit: write nothing, until publishers meet the ring's own policy; or let the oldest segments go."},
    {.section = CONFIG_SECTION_RING,
     .name = "quota_messages",
     .kind = CONFIG_KIND_RATE,
     .offset = IN_POLICY(quota_messages),
     .min = 1,
     .max = UINT64_C(1000000000),
     .none = true,
     .has = POLICY_HAS_QUOTA_MESSAGES,
     .value = "none",
     .help = "Messages a second that all publishers together may send; who is over it waits, or is refused."},
    {.section = CONFIG_SECTION_RING,
     .name = "quota_bytes",
     .kind = CONFIG_KIND_SIZE,
     .offset = IN_POLICY(quota_bytes),
     .min = 1024,
     .max = UINT64_C(1) << 40,
     .none = true,
     .has = POLICY_HAS_QUOTA_BYTES,
     .value = "none",
     .help = "Bytes a second, likewise: of the log, with headers and properties."},
    {.section = CONFIG_SECTION_RING,
     .name = "quota_burst",
     .kind = CONFIG_KIND_SPAN,
     .offset = IN_POLICY(quota_burst_ms),
     .min = 0,
     .max = DAY_MS,
     .has = POLICY_HAS_QUOTA_BURST,
     .value = "100ms",
     .help = "So long a share of both may come at once, by whoever has sent less for a while."},
    {.section = CONFIG_SECTION_RING,
     .name = "keep_unread",
     .kind = CONFIG_KIND_SWITCH,
     .offset = IN_POLICY(keep_unread),
     .has = POLICY_HAS_KEEP_UNREAD,
     .value = "no",
     .help = "What a saved position has not read yet is kept, whatever the keys above say."},
};
static_assert(sizeof config_keys / sizeof config_keys[0] == CONFIG_KEY_COUNT, "keys");

/* -- values, from text and back ------------------------------------------------------------------------------------------ */

struct unit {
    const char *name;
    uint64_t amount;
};
/* Of those that are equally good, the first is how a number is written, and zero. */
static const struct unit size_units[] = {
    {"", 1},     {"KiB", 1024},  {"MiB", MIB},      {"GiB", UINT64_C(1) << 30},     {"TiB", UINT64_C(1) << 40},
    {"k", 1000}, {"M", 1000000}, {"G", 1000000000}, {"T", UINT64_C(1000000000000)}, {NULL, 0}};
static const struct unit span_units[] = {
    {"ms", 1},     {"s", SECOND_MS}, {"min", 60 * SECOND_MS}, {"m", 60 * SECOND_MS}, {"h", 3600 * SECOND_MS},
    {"d", DAY_MS}, {NULL, 0}};
static const struct unit percent_units[] = {{"%", 1}, {"", 1}, {NULL, 0}};
static const struct unit count_units[] = {{"", 1}, {NULL, 0}};
static const struct unit rate_units[] = {{"", 1}, {"k", 1000}, {"M", 1000000}, {NULL, 0}};
/* An interval may do without. */
static const struct unit sync_units[] = {
    {"ms", 1}, {"", 1}, {"s", SECOND_MS}, {"min", 60 * SECOND_MS}, {"m", 60 * SECOND_MS}, {NULL, 0}};

/* Digits, and a unit behind them. */
static bool number_take(const char *text, const struct unit *units, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
            return false;
    }
    text += digits;
    text += strspn(text, " ");
    while (units->name && strcmp(units->name, text) != 0)
        units++;
    if (!units->name || __builtin_mul_overflow(number, units->amount, &number))
        return false;
    *ret_number = number;
    return true;
}

/* In the unit that gives the smallest number without a rest. */
static const char *number_text(struct config_text *buffer, const struct unit *units, uint64_t number)
{
    const struct unit *best = units; /* the first one is 1 in every table */
    for (; number && units->name; units++) {
        if (number % units->amount == 0 && units->amount > best->amount)
            best = units;
    }
    snprintf(buffer->text, sizeof buffer->text, "%" PRIu64 "%.8s", number / best->amount, best->name);
    return buffer->text;
}

const char *config_size_text(struct config_text *buffer, uint64_t bytes)
{
    return number_text(buffer, size_units, bytes);
}

const char *config_span_text(struct config_text *buffer, uint64_t span_ms)
{
    return number_text(buffer, span_units, span_ms);
}

const char *config_sync_text(struct config_text *buffer, const struct policy *policy)
{
    struct config_text span;
    if (policy->sync == POLICY_SYNC_INTERVAL)
        snprintf(buffer->text, sizeof buffer->text, "interval %.40s",
                 config_span_text(&span, policy->sync_interval_ms));
    else
        snprintf(buffer->text, sizeof buffer->text, "%s", policy->sync == POLICY_SYNC_NEVER ? "never" : "always");
    return buffer->text;
}

static const struct unit *kind_units(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_KIND_SIZE:
        return size_units;
    case CONFIG_KIND_SPAN:
        return span_units;
    case CONFIG_KIND_PERCENT:
        return percent_units;
    case CONFIG_KIND_RATE:
        return rate_units;
    default:
        return count_units;
    }
}

/* A uint64_t, else a uint32_t. */
static bool is_wide(enum config_kind kind)
{
    return kind == CONFIG_KIND_SIZE || kind == CONFIG_KIND_SPAN || kind == CONFIG_KIND_RATE;
}

static bool take_number(const struct config_key *key, const char *text, char *member)
{
    uint64_t number = 0;
    if (!(key->none && strcmp(text, "none") == 0) &&
        (!number_take(text, kind_units(key->kind), &number) || number < key->min || number > key->max))
        return false;
    if (is_wide(key->kind))
        *(uint64_t *)(void *)member = number;
    else
        *(uint32_t *)(void *)member = (uint32_t)number;
    return true;
}

static bool take_sync(const struct config_key *key, const char *text, struct policy *policy)
{
    static const char interval[] = "interval";
    uint64_t span_ms;
    if (strcmp(text, "always") == 0 || strcmp(text, "never") == 0) {
        policy->sync = text[0] == 'a' ? POLICY_SYNC_ALWAYS : POLICY_SYNC_NEVER;
        policy->sync_interval_ms = 0;
        return true;
    }
    if (strncmp(text, interval, sizeof interval - 1) != 0)
        return false;
    text += sizeof interval - 1;
    size_t blanks = strspn(text, " =");
    if (blanks == 0 || !number_take(text + blanks, sync_units, &span_ms) || span_ms < key->min || span_ms > key->max)
        return false;
    policy->sync = POLICY_SYNC_INTERVAL;
    policy->sync_interval_ms = (uint32_t)span_ms;
    return true;
}

static bool take_switch(const char *text, bool *ret_on)
{
    static const char *const words[] = {"no", "yes", "off", "on", "false", "true", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret_on = i % 2;
            return true;
        }
    }
    return false;
}

bool config_value_take(const struct config_key *key, const char *text, void *at)
{
    char *member = (char *)at + key->offset;
    cpu_set_t cpus;
    switch (key->kind) {
    case CONFIG_KIND_PATH:
    case CONFIG_KIND_CPUS:
        /* As config_print() writes it, it is still a line. */
        if (strlen(key->name) + strlen(" = ") + strlen(text) > CONFIG_LINE_MAX ||
            (key->kind == CONFIG_KIND_PATH ? text[0] != '/' : cpus_parse(text, &cpus) < 0))
            return false;
        memcpy(member, text, strlen(text) + 1);
        return true;
    case CONFIG_KIND_COUNT:
    case CONFIG_KIND_PERCENT:
    case CONFIG_KIND_SIZE:
    case CONFIG_KIND_SPAN:
    case CONFIG_KIND_RATE:
        return take_number(key, text, member);
    case CONFIG_KIND_SWITCH:
        return take_switch(text, (bool *)(void *)member);
    case CONFIG_KIND_SYNC:
        return take_sync(key, text, at);
    case CONFIG_KIND_LIMITED:
        if (strcmp(text, "block") != 0 && strcmp(text, "expire") != 0)
            return false;
        *(enum policy_when_limited *)(void *)member = text[0] == 'b' ? POLICY_LIMITED_BLOCK : POLICY_LIMITED_EXPIRE;
        return true;
    }
    return false;
}

const char *config_value_text(const struct config_key *key, const void *at, struct config_text *buffer)
{
    const char *member = (const char *)at + key->offset;
    uint64_t number;
    switch (key->kind) {
    case CONFIG_KIND_PATH:
    case CONFIG_KIND_CPUS:
        return member;
    case CONFIG_KIND_SWITCH:
        return *(const bool *)(const void *)member ? "yes" : "no";
    case CONFIG_KIND_SYNC:
        return config_sync_text(buffer, at);
    case CONFIG_KIND_LIMITED:
        return *(const enum policy_when_limited *)(const void *)member == POLICY_LIMITED_BLOCK ? "block" : "expire";
    default:
        break;
    }
    if (is_wide(key->kind))
        number = *(const uint64_t *)(const void *)member;
    else
        number = *(const uint32_t *)(const void *)member;
    return key->none && number == 0 ? "none" : number_text(buffer, kind_units(key->kind), number);
}

const char *config_value_allowed(const struct config_key *key, struct config_allowed *buffer)
{
    struct config_text min, max;
    const struct unit *units = kind_units(key->kind);
    switch (key->kind) {
    case CONFIG_KIND_PATH:
        return "a path, from / on";
    case CONFIG_KIND_CPUS:
        return "a list of processors, like 0,2-5";
    case CONFIG_KIND_SWITCH:
        return "yes or no";
    case CONFIG_KIND_LIMITED:
        return "block or expire";
    case CONFIG_KIND_SYNC:
        snprintf(buffer->text, sizeof buffer->text, "always, never, or interval TIME, %s to %s",
                 number_text(&min, span_units, key->min), number_text(&max, span_units, key->max));
        return buffer->text;
    default:
        snprintf(buffer->text, sizeof buffer->text, "%s%s to %s%s", key->none ? "none, or " : "",
                 number_text(&min, units, key->min), number_text(&max, units, key->max),
                 key->kind == CONFIG_KIND_SIZE   ? " (k M G T, KiB MiB GiB TiB)"
                 : key->kind == CONFIG_KIND_SPAN ? " (ms s m h d)"
                 : key->kind == CONFIG_KIND_RATE ? " (k M)"
                                                 : "");
        return buffer->text;
    }
}
