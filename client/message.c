/* SPDX-License-Identifier: Apache-2.0 */
#include "client/message.h"

#include <errno.h>
#include <string.h>

#include "client/attach.h"

_Static_assert(WEIR_HAS_TIME == RING_HAS_TIME && WEIR_HAS_EXPIRY == RING_HAS_EXPIRY &&
                   WEIR_HAS_SEQUENCE == RING_HAS_SEQUENCE,
               "public and stored property bits are the same");

#define HEADER_NAME_MAX 255
#define HEADER_VALUE_MAX 65535

static int headers_bytes(const struct weir_message *message, uint64_t *ret_bytes)
{
    uint64_t bytes = 0;
    if (message->header_count && !message->headers)
        return fail(-EINVAL, "weir_message.headers is NULL, and header_count is not 0");
    for (size_t i = 0; i < message->header_count; i++) {
        const struct weir_header *header = &message->headers[i];
        size_t name_bytes = header->name ? strnlen(header->name, HEADER_NAME_MAX + 1) : 0;
        if (name_bytes == 0 || name_bytes > HEADER_NAME_MAX)
            return fail(-EINVAL, "header %zu: its name must have 1 to 255 bytes", i);
        if (header->value_bytes > HEADER_VALUE_MAX)
            return fail(-EINVAL, "header %s: its value is longer than 65535 bytes", header->name);
        if (header->value_bytes && !header->value)
            return fail(-EINVAL, "header %s: its value is NULL", header->name);
        bytes += RING_HEADER_OVERHEAD + name_bytes + header->value_bytes;
    }
    *ret_bytes = bytes;
    return 0;
}

int message_measure(const struct weir_message *message, bool named, struct ring_meta *ret_meta, uint32_t *ret_bytes)
{
    struct ring_meta meta = {0};
    uint64_t headers = 0;
    if (message->has & ~(WEIR_HAS_TIME | WEIR_HAS_EXPIRY | WEIR_HAS_SEQUENCE))
        return fail(-EINVAL, "weir_message.has carries unknown bits");
    if ((message->has & WEIR_HAS_SEQUENCE) && !named)
        return fail(-EINVAL, "a sequence needs a named publisher: set weir_pub_options.name");
    if (message->key_bytes && !message->key)
        return fail(-EINVAL, "weir_message.key is NULL, and key_bytes is not 0");
    int r = headers_bytes(message, &headers);
    if (r < 0)
        return r;
    if (headers > UINT16_MAX || message->key_bytes > UINT16_MAX)
        return fail(-EINVAL, "key and headers together are longer than a message's properties can be (65528 bytes)");
    meta.present = message->has | (named ? RING_HAS_SEQUENCE : 0u);
    meta.time_ns = message->time_ns;
    meta.expiry_ns = message->expiry_ns;
    meta.key = message->key;
    meta.key_bytes = message->key_bytes;
    meta.headers_bytes = (uint32_t)headers;
    if (ring_meta_bytes(&meta, ret_bytes) < 0)
        return fail(-EINVAL, "key and headers together are longer than a message's properties can be (65528 bytes)");
    if ((meta.present & RING_HAS_TIME) && meta.time_ns == 0)
        meta.time_ns = shm_wall_ns();
    *ret_meta = meta;
    return 0;
}

void message_encode_headers(const struct weir_message *message, uint8_t *buffer)
{
    for (size_t i = 0; i < message->header_count; i++) {
        const struct weir_header *header = &message->headers[i];
        uint8_t name_bytes = (uint8_t)strlen(header->name);
        uint16_t value_bytes = (uint16_t)header->value_bytes;
        *buffer++ = name_bytes;
        memcpy(buffer, &value_bytes, sizeof value_bytes);
        buffer += sizeof value_bytes;
        memcpy(buffer, header->name, name_bytes);
        buffer += name_bytes;
        if (value_bytes)
            memcpy(buffer, header->value, value_bytes);
        buffer += value_bytes;
    }
}

/* One header at *offset of untrusted bytes; false at the end or where they make no sense. */
static bool header_next(const struct weir_message *message, size_t *offset, const char **ret_name,
                        size_t *ret_name_bytes, const void **ret_value, size_t *ret_value_bytes)
{
    size_t left = message->reserved_headers_bytes - *offset;
    if (!message->reserved_headers || left < RING_HEADER_OVERHEAD)
        return false;
    const uint8_t *at = (const uint8_t *)message->reserved_headers + *offset;
    uint8_t name_bytes = at[0];
    uint16_t value_bytes;
    memcpy(&value_bytes, at + 1, sizeof value_bytes);
    size_t total = (size_t)RING_HEADER_OVERHEAD + name_bytes + value_bytes;
    if (name_bytes == 0 || total > left)
        return false;
    *ret_name = (const char *)at + RING_HEADER_OVERHEAD;
    *ret_name_bytes = name_bytes;
    *ret_value = at + RING_HEADER_OVERHEAD + name_bytes;
    *ret_value_bytes = value_bytes;
    *offset += total;
    return true;
}

int weir_message_header_at(const struct weir_message *message, size_t index, const char **ret_name,
                           size_t *ret_name_bytes, const void **ret_value, size_t *ret_value_bytes)
{
    const char *name;
    const void *value;
    size_t offset = 0, name_bytes, value_bytes;
    for (size_t i = 0; header_next(message, &offset, &name, &name_bytes, &value, &value_bytes); i++) {
        if (i < index)
            continue;
        *ret_name = name;
        *ret_name_bytes = name_bytes;
        *ret_value = value;
        *ret_value_bytes = value_bytes;
        return 0;
    }
    fail_clear();
    return -ENOENT;
}

int weir_message_header(const struct weir_message *message, const char *wanted, const void **ret_value,
                        size_t *ret_value_bytes)
{
    const char *name;
    const void *value;
    size_t offset = 0, name_bytes, value_bytes, wanted_bytes = strlen(wanted);
    while (header_next(message, &offset, &name, &name_bytes, &value, &value_bytes)) {
        if (name_bytes != wanted_bytes || memcmp(name, wanted, wanted_bytes) != 0)
            continue;
        *ret_value = value;
        *ret_value_bytes = value_bytes;
        return 0;
    }
    fail_clear();
    return -ENOENT;
}

uint64_t weir_publisher_hash(const char *name)
{
    return ring_producer_hash(name);
}

int message_from_item(const struct ring_item *item, struct weir_message *ret_message)
{
    if (!(item->flags & RING_FLAG_PROPERTIES)) {
        *ret_message = (struct weir_message){.data = item->body,
                                             .data_bytes = item->body_bytes,
                                             .tag = item->tag,
                                             .position = item->position,
                                             .next = item->next};
        return 0;
    }
    struct ring_meta meta;
    uint32_t bytes;
    int r = ring_meta_get(item->body, item->body_bytes, item->flags, &meta, &bytes);
    if (r < 0)
        return fail(r, "the properties of the message at position %llu make no sense",
                    (unsigned long long)item->position);
    *ret_message = (struct weir_message){.data = item->body + bytes,
                                         .data_bytes = item->body_bytes - bytes,
                                         .tag = item->tag,
                                         .has = (uint16_t)meta.present,
                                         .key = meta.key,
                                         .key_bytes = meta.key_bytes,
                                         .time_ns = meta.time_ns,
                                         .expiry_ns = meta.expiry_ns,
                                         .sequence = meta.sequence,
                                         .position = item->position,
                                         .next = item->next,
                                         .publisher_hash = meta.producer,
                                         .reserved_headers = meta.headers,
                                         .reserved_headers_bytes = meta.headers_bytes};
    const char *name;
    const void *value;
    size_t offset = 0, name_bytes, value_bytes;
    while (header_next(ret_message, &offset, &name, &name_bytes, &value, &value_bytes))
        ret_message->header_count++;
    return 0;
}
