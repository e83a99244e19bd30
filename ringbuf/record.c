/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes of records, and the optional properties in front of a payload. */
#include <errno.h>
#include <string.h>

#include "ringbuf/internal.h"

uint32_t ring_units(const struct ring_view *view, uint64_t body_bytes)
{
    uint64_t limit = ((uint64_t)view->segment_units << RING_UNIT_SHIFT) - sizeof(struct ring_record);
    if (body_bytes > limit)
        return 0;
    return (uint32_t)((body_bytes + sizeof(struct ring_record) + RING_UNIT_BYTES - 1) >> RING_UNIT_SHIFT);
}

/* Bytes of the 8-byte values that `present` asks for. */
static uint32_t values_bytes(uint32_t present)
{
    return ((present & RING_HAS_TIME) ? 8u : 0u) + ((present & RING_HAS_EXPIRY) ? 8u : 0u) +
           ((present & RING_HAS_SEQUENCE) ? 16u : 0u);
}

int ring_meta_bytes(const struct ring_meta *meta, uint32_t *ret_bytes)
{
    if (!meta->present && !meta->key_bytes && !meta->headers_bytes) {
        *ret_bytes = 0;
        return 0;
    }
    uint64_t bytes = sizeof(struct ring_properties) + values_bytes(meta->present) + (uint64_t)meta->key_bytes +
                     (uint64_t)meta->headers_bytes;
    bytes = (bytes + 7) & ~7ull;
    if (bytes > UINT16_MAX || (meta->present & ~RING_HAS_KNOWN))
        return -EINVAL;
    *ret_bytes = (uint32_t)bytes;
    return 0;
}

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, 8);
    return at + 8;
}

void ring_meta_put(const struct ring_meta *meta, uint8_t *body)
{
    uint32_t bytes = 0;
    if (ring_meta_bytes(meta, &bytes) < 0 || bytes == 0)
        return;
    struct ring_properties properties = {.bytes = (uint16_t)bytes,
                                         .present = (uint16_t)meta->present,
                                         .key_bytes = (uint16_t)meta->key_bytes,
                                         .headers_bytes = (uint16_t)meta->headers_bytes};
    uint8_t *at = body;
    memcpy(at, &properties, sizeof properties);
    at += sizeof properties;
    if (meta->present & RING_HAS_TIME)
        at = put_u64(at, meta->time_ns);
    if (meta->present & RING_HAS_EXPIRY)
        at = put_u64(at, meta->expiry_ns);
    if (meta->present & RING_HAS_SEQUENCE) {
        at = put_u64(at, meta->producer);
        at = put_u64(at, meta->sequence);
    }
    if (meta->key_bytes) {
        memcpy(at, meta->key, meta->key_bytes);
        at += meta->key_bytes;
    }
    if (meta->headers_bytes) {
        memcpy(at, meta->headers, meta->headers_bytes);
        at += meta->headers_bytes;
    }
    memset(at, 0, (size_t)(body + bytes - at));
}

static const uint8_t *get_u64(const uint8_t *at, uint64_t *ret_value)
{
    memcpy(ret_value, at, 8);
    return at + 8;
}

int ring_meta_get(const uint8_t *body, uint32_t body_bytes, uint32_t flags, struct ring_meta *ret_meta,
                  uint32_t *ret_bytes)
{
    struct ring_meta meta = {0};
    if (!(flags & RING_FLAG_PROPERTIES)) {
        *ret_meta = meta;
        *ret_bytes = 0;
        return 0;
    }
    struct ring_properties properties;
    if (body_bytes < sizeof properties)
        return -EBADMSG;
    memcpy(&properties, body, sizeof properties); /* read once; the copy is bounded and used */
    uint32_t need = (uint32_t)sizeof properties + values_bytes(properties.present) + properties.key_bytes +
                    properties.headers_bytes;
    if (properties.bytes > body_bytes || need > properties.bytes || properties.bytes % 8 != 0 ||
        (properties.present & ~RING_HAS_KNOWN))
        return -EBADMSG;
    const uint8_t *at = body + sizeof properties;
    meta.present = properties.present;
    if (meta.present & RING_HAS_TIME)
        at = get_u64(at, &meta.time_ns);
    if (meta.present & RING_HAS_EXPIRY)
        at = get_u64(at, &meta.expiry_ns);
    if (meta.present & RING_HAS_SEQUENCE) {
        at = get_u64(at, &meta.producer);
        at = get_u64(at, &meta.sequence);
    }
    meta.key = properties.key_bytes ? at : NULL;
    meta.key_bytes = properties.key_bytes;
    at += properties.key_bytes;
    meta.headers = properties.headers_bytes ? at : NULL;
    meta.headers_bytes = properties.headers_bytes;
    *ret_meta = meta;
    *ret_bytes = properties.bytes;
    return 0;
}
