/* SPDX-License-Identifier: Apache-2.0 */
/* CRCs of records. */
#include "journal/record.h"

#include "journal/journal.h"

uint32_t journal_crc_of_epoch(const uint8_t ring_id[16], uint64_t epoch)
{
    struct journal_seed seed = {.epoch = epoch};

    memcpy(seed.ring_id, ring_id, sizeof(seed.ring_id));
    return journal_crc32c(0, &seed, offsetof(struct journal_seed, position));
}

uint32_t journal_crc_of_header(uint32_t crc_of_epoch, uint64_t position, uint64_t head, uint32_t body_bytes)
{
    uint8_t bytes[sizeof(position) + sizeof(head) + sizeof(body_bytes)];

    head &= ~JOURNAL_OWNER_MASK;
    memcpy(bytes, &position, sizeof(position));
    memcpy(bytes + sizeof(position), &head, sizeof(head));
    memcpy(bytes + sizeof(position) + sizeof(head), &body_bytes, sizeof(body_bytes));
    return journal_crc32c(crc_of_epoch, bytes, sizeof(bytes));
}

uint32_t journal_record_crc(const uint8_t ring_id[16], uint64_t epoch, uint64_t position, uint64_t head,
                            uint32_t body_bytes, const void *body)
{
    uint32_t crc = journal_crc_of_header(journal_crc_of_epoch(ring_id, epoch), position, head, body_bytes);

    return journal_crc32c(crc, body, journal_record_covered(head, body_bytes));
}
