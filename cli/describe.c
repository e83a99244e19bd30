/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

const char *describe_when_full(int when_full)
{
    switch (when_full) {
    case WEIR_BLOCK:
        return "block";
    case WEIR_DROP_NEW:
        return "drop-new";
    case WEIR_DROP_OLD:
        return "drop-old";
    default:
        return "unknown";
    }
}

const char *describe_daemon(const struct weir_ring_info *info)
{
    if (!info->journaled)
        return "none";
    if (info->daemon_alive < 0)
        return "unknown";
    return info->daemon_alive ? "alive" : "absent";
}

const char *describe_role(int role)
{
    switch (role) {
    case WEIR_PUBLISHER:
        return "publisher";
    case WEIR_READER:
        return "reader";
    case WEIR_DAEMON:
        return "daemon";
    default:
        return "unknown";
    }
}

const char *describe_state(int state)
{
    switch (state) {
    case WEIR_ALIVE:
        return "alive";
    case WEIR_STOPPED:
        return "stopped";
    case WEIR_DEAD:
        return "dead";
    default:
        return "unknown";
    }
}

json_t *describe_info(const char *ring, const struct weir_ring_info *info)
{
    struct number_text buffer;
    char text[40];
    json_t *object = json_object();
    output_set_text(object, "ring", ring);
    for (size_t i = 0; i < sizeof info->ring_id; i++)
        snprintf(text + 2 * i, 3, "%02x", info->ring_id[i]);
    output_set_text(object, "ring_id", text);
    output_set_text(object, "created", number_instant(&buffer, info->created_ns));
    json_object_set_new(object, "exclusive", json_boolean(info->exclusive));
    json_object_set_new(object, "journaled", json_boolean(info->journaled));
    json_object_set_new(object, "fenced", json_boolean(info->fenced));
    output_set_text(object, "when_full", describe_when_full(info->when_full));
    snprintf(text, sizeof text, "%04o", (unsigned)info->mode);
    output_set_text(object, "mode", text);
    output_set_number(object, "uid", info->uid);
    output_set_number(object, "gid", info->gid);
    output_set_number(object, "segment_bytes", info->segment_bytes);
    output_set_number(object, "memory_limit_bytes", info->memory_limit_bytes);
    output_set_number(object, "memory_bytes", info->memory_bytes);
    output_set_number(object, "slot_count", info->slot_count);
    output_set_number(object, "slots_used", info->slots_used);
    output_set_number(object, "max_readers", info->max_readers);
    output_set_number(object, "max_publishers", info->max_publishers);
    output_set_number(object, "reader_count", info->reader_count);
    output_set_number(object, "publisher_count", info->publisher_count);
    output_set_number(object, "epoch", info->epoch);
    output_set_number(object, "first_position", info->first_position);
    output_set_number(object, "memory_position", info->memory_position);
    output_set_number(object, "end_position", info->end_position);
    output_set_number(object, "visible", info->visible);
    output_set_number(object, "written", info->written);
    output_set_number(object, "durable", info->durable);
    output_set_number(object, "lease", info->lease);
    output_set_text(object, "daemon", describe_daemon(info));
    output_set_text(object, "sync", describe_sync(info->sync));
    if (info->sync == WEIR_SYNC_INTERVAL)
        output_set_number(object, "sync_interval_ms", info->sync_interval_ms);
    json_object_set_new(object, "journal_error",
                        info->journal_error ? json_string(strerror(info->journal_error)) : json_null());
    json_object_set_new(object, "journal_retries", json_boolean(info->journal_retries));
    json_object_set_new(object, "journal_room_bytes",
                        info->journal_room_bytes != UINT64_MAX ? output_number(info->journal_room_bytes) : json_null());
    output_set_number(object, "refused_count", info->refused_count);
    if (info->quota_messages_per_second)
        output_set_number(object, "quota_messages_per_second", info->quota_messages_per_second);
    if (info->quota_bytes_per_second)
        output_set_number(object, "quota_bytes_per_second", info->quota_bytes_per_second);
    if (info->quota_messages_per_second || info->quota_bytes_per_second)
        output_set_number(object, "quota_burst_ns", info->quota_burst_ns);
    if (info->refused_last_ns)
        output_set_text(object, "refused_last", number_instant(&buffer, info->refused_last_ns));
    return object;
}

const char *describe_sync(int sync)
{
    switch (sync) {
    case WEIR_SYNC_NONE:
        return "none";
    case WEIR_SYNC_ALWAYS:
        return "always";
    case WEIR_SYNC_INTERVAL:
        return "interval";
    case WEIR_SYNC_NEVER:
        return "never";
    default:
        return "unknown";
    }
}

const char *describe_huge(int huge)
{
    switch (huge) {
    case WEIR_HUGE_NONE:
        return "none";
    case WEIR_HUGE_PAGES:
        return "hugetlbfs";
    case WEIR_HUGE_TRANSPARENT:
        return "transparent";
    default:
        return "unknown";
    }
}

static json_t *node_or_null(int node)
{
    return node < 0 ? json_null() : json_integer(node);
}

void describe_placement(json_t *object, const struct weir_ring_placement *placement)
{
    json_object_set_new(object, "numa_asked", node_or_null(placement->numa_node));
    json_object_set_new(object, "numa_node", node_or_null(placement->memory_node));
    output_set_number(object, "numa_node_bytes", placement->node_bytes);
    output_set_text(object, "huge_asked", describe_huge(placement->huge));
    output_set_number(object, "huge_bytes", placement->huge_bytes);
    output_set_number(object, "page_bytes", placement->page_bytes);
    output_set_number(object, "placed_bytes", placement->memory_bytes);
}

static int keep_participant(void *ctx, const struct weir_participant *participant)
{
    struct people *people = ctx;
    if (people->count == people->capacity) {
        size_t capacity = people->capacity ? 2 * people->capacity : 16;
        struct weir_participant *all = realloc(people->all, capacity * sizeof *all);
        if (!all)
            return -ENOMEM;
        people->all = all;
        people->capacity = capacity;
    }
    people->all[people->count++] = *participant;
    return 0;
}

int people_ask(struct people *people, const char *bus, const char *ring)
{
    memset(people, 0, sizeof *people);
    return weir_ring_participants(bus, ring, keep_participant, people);
}

void people_free(struct people *people)
{
    free(people->all);
    memset(people, 0, sizeof *people);
}
