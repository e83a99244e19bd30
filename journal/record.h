/* SPDX-License-Identifier: Apache-2.0 */
/* Records as they stand in a journal: what a header may say, and its CRC. */
#ifndef WEIR_JOURNAL_RECORD_H
#define WEIR_JOURNAL_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ringbuf/words.h"

#define JOURNAL_OWNER_MASK (~(uint64_t)0 << RING_HEAD_OWNER_SHIFT)

/* A header read once, out of bytes that may change or lie. */
struct journal_record {
    uint64_t head;
    uint32_t body_bytes;
    uint32_t crc;
};

static inline struct journal_record journal_record_load(const uint8_t *at)
{
    struct journal_record record;

    memcpy(&record.head, at + offsetof(struct ring_record, head), sizeof(record.head));
    memcpy(&record.body_bytes, at + offsetof(struct ring_record, body_bytes), sizeof(record.body_bytes));
    memcpy(&record.crc, at + offsetof(struct ring_record, crc), sizeof(record.crc));
    return record;
}

static inline void journal_record_store(uint8_t *at, const struct journal_record *record)
{
    memcpy(at + offsetof(struct ring_record, head), &record->head, sizeof(record->head));
    memcpy(at + offsetof(struct ring_record, body_bytes), &record->body_bytes, sizeof(record->body_bytes));
    memcpy(at + offsetof(struct ring_record, crc), &record->crc, sizeof(record->crc));
}

/* Bytes that a committed record or padding takes, if that is at most `room`; else 0. */
static inline uint64_t journal_record_bytes(uint64_t head, uint64_t room)
{
    uint64_t bytes = (uint64_t)head_units(head) << RING_UNIT_SHIFT;
    bool committed = head_state(head) == RING_READY || head_state(head) == RING_PADDING;

    return committed && bytes <= room ? bytes : 0;
}

static inline bool journal_record_holds_body(uint64_t record_bytes, uint32_t body_bytes)
{
    return body_bytes <= record_bytes - sizeof(struct ring_record);
}

/* Bytes of body that the CRC covers: nobody interprets what stands in padding. */
static inline uint32_t journal_record_covered(uint64_t head, uint32_t body_bytes)
{
    return head_state(head) == RING_PADDING ? 0 : body_bytes;
}

/*
 * journal_record_crc() in three parts, since the first is the same for all records of an epoch, and the third is all that
 * depends on the body.
 */
uint32_t journal_crc_of_epoch(const uint8_t ring_id[16], uint64_t epoch);
uint32_t journal_crc_of_header(uint32_t crc_of_epoch, uint64_t position, uint64_t head, uint32_t body_bytes);

#endif
