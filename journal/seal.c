/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a private copy of committed records fit for the disk. */
#include <errno.h>

#include "journal/journal.h"
#include "journal/record.h"

/* Nobody interprets the body of padding, and it may hold anything: what a dead publisher had begun to write, what an
 * earlier segment left. It does not go to disk. */
static void seal_padding(uint8_t *at, uint64_t record_bytes, struct journal_record *record)
{
    record->head = head_make(RING_PADDING, 0, head_units(record->head), 0, 0);
    record->body_bytes = 0;
    memset(at + sizeof(struct ring_record), 0, record_bytes - sizeof(struct ring_record));
}

/* Nor does what is left of an earlier segment behind the body: a record that was removed should be gone. */
static void seal_ready(uint8_t *at, uint64_t record_bytes, struct journal_record *record)
{
    uint64_t end = sizeof(struct ring_record) + record->body_bytes;

    record->head &= ~JOURNAL_OWNER_MASK;
    memset(at + end, 0, record_bytes - end);
}

static void count(const uint8_t *at, const struct journal_record *record,
                  void (*counted)(void *ctx, uint64_t producer, uint64_t sequence), void *ctx)
{
    struct ring_meta meta;
    uint32_t meta_bytes;
    uint32_t flags = head_flags(record->head);

    if (!(flags & RING_FLAG_PROPERTIES))
        return;
    if (ring_meta_get(at + sizeof(struct ring_record), record->body_bytes, flags, &meta, &meta_bytes) == 0 &&
        meta.present & RING_HAS_SEQUENCE)
        counted(ctx, meta.producer, meta.sequence);
}

/*
 * 1. Only bytes of the copy are looked at, each header once: the copy is private, but was made of bytes that anyone who
 *    may publish can have written.
 * 2. Either a record is sealed whole, or it is the first that is not, and neither it nor anything behind it is touched.
 */
int journal_seal(const struct journal_meta *meta, uint64_t position, void *copy, uint64_t bytes, uint64_t *ret_bytes,
                 void (*counted)(void *ctx, uint64_t producer, uint64_t sequence), void *ctx)
{
    uint64_t segment_bytes = (uint64_t)1 << meta->geometry.segment_shift;
    uint32_t crc_of_epoch = journal_crc_of_epoch(meta->identity.ring_id, meta->identity.epoch);
    uint64_t done = 0;

    if (position % RING_UNIT_BYTES != 0 || bytes % RING_UNIT_BYTES != 0 ||
        bytes > segment_bytes - (position & (segment_bytes - 1)))
        return -EINVAL;
    while (done < bytes) {
        uint8_t *at = (uint8_t *)copy + done;
        struct journal_record record = journal_record_load(at);
        uint64_t record_bytes = journal_record_bytes(record.head, bytes - done);
        if (record_bytes == 0)
            break;
        if (head_state(record.head) == RING_PADDING) {
            seal_padding(at, record_bytes, &record);
        } else {
            if (!journal_record_holds_body(record_bytes, record.body_bytes))
                break;
            seal_ready(at, record_bytes, &record);
            if (counted)
                count(at, &record, counted, ctx);
        }
        uint32_t crc = journal_crc_of_header(crc_of_epoch, position + done, record.head, record.body_bytes);
        record.crc = journal_crc32c(crc, at + sizeof(struct ring_record), record.body_bytes);
        journal_record_store(at, &record);
        done += record_bytes;
    }
    *ret_bytes = done;
    return done == bytes ? 0 : -EBADMSG;
}
