/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 1. What is written lies in memory of the writer's own, in whole blocks at their places in the file.
 * 2. A block that is not written whole keeps what it had around the new bytes: it is the one that was written last, or known
 *    to hold nothing that counts, or read from the file first. So bytes that are durable are written again as they are, sector by sector,
 *    and a reader of what lies behind them sees no change.
 */
#include "journal/blocks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal/files.h"
#include "journal/segment.h"
#include "journal/writer.h"

#define BLOCK ((uint64_t)JOURNAL_BLOCK_BYTES)
/* As much as the drain writes at once; of it a segment's length is ever touched. Larger writes are faster (measured: 1.2 GB/s
 * with 256 KiB, 2.4 with 1 MiB). */
#define STAGE_BYTES (256 * BLOCK)
static_assert(STAGE_BYTES + BLOCK == JOURNAL_FLIGHT_BYTES, "the same in flight");

static uint64_t block_of(uint64_t offset)
{
    return offset & ~(BLOCK - 1);
}

int journal_blocks_init(struct journal_blocks *blocks)
{
    *blocks = (struct journal_blocks){.header = aligned_alloc(BLOCK, BLOCK + STAGE_BYTES + BLOCK)};
    if (!blocks->header)
        return -ENOMEM;
    blocks->stage = blocks->header + BLOCK;
    blocks->last = blocks->stage + STAGE_BYTES;
    return 0;
}

void journal_blocks_free(struct journal_blocks *blocks)
{
    free(blocks->header);
    *blocks = (struct journal_blocks){0};
}

/* What a block holds now. Clause 2. */
static int get_block(const struct journal_blocks *blocks, const struct journal_file *file, uint64_t block, uint8_t *to)
{
    if (blocks->has_last && blocks->last_segment == file->segment && blocks->last_offset == block) {
        memcpy(to, blocks->last, BLOCK);
        return 0;
    }
    int64_t got = block >= file->nothing_from ? 0 : journal_file_read_blocks(file->fd, to, BLOCK, BLOCK + block);
    if (got < 0)
        return (int)got;
    memset(to + got, 0, BLOCK - (uint64_t)got);
    return 0;
}

/* Writing over the block that is still on its way, or anything but what follows it: what was sent must land first. */
static int make_way(struct journal_writer *writer, uint64_t position, bool flies, bool whole_first)
{
    if (!writer->flights || (flies && whole_first && position == writer->sent))
        return 0;
    return journal_flights_settle(writer, true);
}

/* As much as the stage takes. A header that is due goes in front of the segment's first block, in one write. */
static int write_part(struct journal_writer *writer, const struct journal_file *file, uint64_t offset,
                      const void *bytes_at, uint64_t bytes)
{
    struct journal_blocks *blocks = &writer->blocks;
    struct journal_flight *flight = NULL;
    uint64_t position = journal_segment_start(file->segment, journal_shift(&writer->meta)) + offset;
    uint64_t end = offset + bytes;
    uint64_t first = block_of(offset), last = block_of(end - 1);
    bool whole = end % BLOCK == 0; /* the last block is */
    bool flies = writer->flights && file->flies && bytes > writer->flights->longer_than;
    int result = make_way(writer, position, flies, offset == first);

    if (result == 0 && flies)
        result = journal_flight_take(writer, &flight);
    if (result < 0)
        return result;
    uint8_t *stage = flight ? flight->buffer : blocks->stage;
    uint8_t *last_at = stage + (last - first);
    if (offset != first || (first == last && !whole))
        result = get_block(blocks, file, first, stage);
    if (result == 0 && first != last && !whole)
        result = get_block(blocks, file, last, last_at);
    uint64_t lead = file->header_due && first == 0 ? BLOCK : 0;
    uint64_t all = lead + last + BLOCK - first;
    if (result == 0) {
        memcpy(stage + (offset - first), bytes_at, bytes);
        if (lead && flight)
            memcpy(stage - BLOCK, blocks->header, BLOCK);
        if (!flight)
            result = journal_file_write_blocks(file->fd, stage - lead, all, BLOCK + first - lead);
    }
    if (flight) /* also where it failed, with nothing in it: it was taken */
        journal_flight_send(flight, file->fd, lead, result < 0 ? 0 : all, BLOCK + first - lead, position + bytes);
    if (result < 0)
        return result;
    blocks->has_last = !whole;
    if (!whole)
        memcpy(blocks->last, last_at, BLOCK);
    blocks->last_segment = file->segment;
    blocks->last_offset = last;
    writer->sent = position + bytes;
    return 0;
}

int journal_blocks_write(struct journal_writer *writer, const struct journal_file *file, uint64_t offset,
                         const void *bytes_at, uint64_t bytes)
{
    int result = 0;

    for (uint64_t done = 0, part; done < bytes && result == 0; done += part) {
        uint64_t room = STAGE_BYTES - (offset + done - block_of(offset + done));
        part = bytes - done < room ? bytes - done : room;
        result = write_part(writer, file, offset + done, (const uint8_t *)bytes_at + done, part);
    }
    return result;
}
