/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/print.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/number.h"

static int put_json(struct sink *sink, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text) {
        sink->error = -ENOMEM;
        return -ENOMEM;
    }
    sink_put(sink, text, strlen(text));
    free(text);
    return sink_put(sink, "\n", 1);
}

static json_t *headers_json(const struct weir_message *message)
{
    json_t *headers = json_array();
    for (size_t i = 0; i < message->header_count; i++) {
        const char *name = NULL;
        const void *value = NULL;
        size_t name_bytes = 0, value_bytes = 0;
        if (weir_message_header_at(message, i, &name, &name_bytes, &value, &value_bytes) < 0)
            break;
        json_t *header = json_object();
        output_set_bytes(header, "name", name, name_bytes);
        output_set_bytes(header, "value", value, value_bytes);
        json_array_append_new(headers, header);
    }
    return headers;
}

static int put_message_json(struct sink *sink, const struct weir_message *message)
{
    struct number_text buffer;
    json_t *object = json_object();
    json_object_set_new(object, "position", output_number(message->position));
    if (message->has & WEIR_HAS_TIME)
        json_object_set_new(object, "time", json_string(number_instant(&buffer, message->time_ns)));
    if (message->has & WEIR_HAS_EXPIRY)
        json_object_set_new(object, "expiry", json_string(number_instant(&buffer, message->expiry_ns)));
    json_object_set_new(object, "tag", json_integer(message->tag));
    if (message->key)
        output_set_bytes(object, "key", message->key, message->key_bytes);
    if (message->has & WEIR_HAS_SEQUENCE) {
        json_object_set_new(object, "sequence", output_number(message->sequence));
        json_object_set_new(object, "publisher", json_sprintf("%016" PRIx64, message->publisher_hash));
    }
    if (message->header_count > 0)
        json_object_set_new(object, "headers", headers_json(message));
    output_set_bytes(object, "data", message->data, message->data_bytes);
    return put_json(sink, object);
}

int print_message(struct sink *sink, const struct weir_message *message, enum print_format format)
{
    uint32_t bytes = (uint32_t)message->data_bytes;
    unsigned char frame[4] = {bytes & 255, bytes >> 8 & 255, bytes >> 16 & 255, (unsigned char)(bytes >> 24)};
    switch (format) {
    case PRINT_JSON:
        return put_message_json(sink, message);
    case PRINT_FRAMED:
        sink_put(sink, frame, sizeof frame);
        return sink_put(sink, message->data, message->data_bytes);
    case PRINT_LINES:
        sink_put(sink, message->data, message->data_bytes);
        return sink_put(sink, "\n", 1);
    }
    return 0;
}

const char *print_gap_reason(int reason)
{
    switch (reason) {
    case WEIR_GAP_OVERWRITTEN:
        return "overwritten";
    case WEIR_GAP_EXPIRED:
        return "expired";
    case WEIR_GAP_LOST:
        return "lost";
    case WEIR_GAP_DAMAGED:
        return "damaged";
    default:
        return "unknown";
    }
}

int print_gap(struct sink *sink, const struct weir_gap *gap, enum print_format format)
{
    if (format == PRINT_JSON) {
        json_t *object = json_object();
        json_t *members = json_object();
        json_object_set_new(members, "from", output_number(gap->from));
        json_object_set_new(members, "to", output_number(gap->to));
        json_object_set_new(members, "reason", json_string(print_gap_reason(gap->reason)));
        json_object_set_new(object, "gap", members);
        return put_json(sink, object);
    }
    sink_flush(sink); /* what comes before the gap is seen before it */
    fprintf(stderr, "gap: positions %" PRIu64 " to %" PRIu64 " are missing (%s)\n", gap->from, gap->to,
            print_gap_reason(gap->reason));
    return sink->error;
}
