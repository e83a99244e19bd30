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

void journal_blocks_send(struct journal_writer *writer)
{
    struct journal_gathered *gathered = &writer->blocks.gathered;

    if (!gathered->flight)
        return;
    uint64_t bytes = gathered->lead + gathered->end - gathered->first;
    journal_flight_send(gathered->flight, gathered->fd, gathered->lead, bytes, BLOCK + gathered->first - gathered->lead,
                        gathered->position);
    gathered->flight = NULL;
}

static bool follows(const struct journal_gathered *gathered, const struct journal_file *file, uint64_t offset,
                    uint64_t bytes)
{
    return gathered->flight && gathered->segment == file->segment && gathered->end == offset &&
           offset + bytes - gathered->first <= STAGE_BYTES;
}

static int gather(struct journal_writer *writer, const struct journal_file *file, uint64_t first, uint64_t lead)
{
    struct journal_gathered *gathered = &writer->blocks.gathered;
    struct journal_flight *flight;

    journal_blocks_send(writer);
    int result = journal_flight_take(writer, &flight);
    if (result < 0)
        return result;
    if (lead)
        journal_segment_fill_header(&writer->meta, file->segment, flight->buffer - BLOCK);
    *gathered = (struct journal_gathered){.flight = flight,
                                          .fd = file->fd,
                                          .segment = file->segment,
                                          .first = first,
                                          .end = first,
                                          .lead = lead,
                                          .position = writer->sent};
    return 0;
}

uint8_t *journal_blocks_stage(struct journal_writer *writer, const struct journal_file *file, uint64_t offset,
                              uint64_t bytes)
{
    struct journal_gathered *gathered = &writer->blocks.gathered;
    uint64_t position = journal_segment_start(file->segment, journal_shift(&writer->meta)) + offset;
    bool more = follows(gathered, file, offset, bytes);

    if (!more && (!file->flies || offset % BLOCK != 0 || bytes <= writer->flights->longer_than || bytes > STAGE_BYTES ||
                  position != writer->sent))
        return NULL;
    if (!more && gather(writer, file, offset, file->header_due && offset == 0 ? BLOCK : 0) < 0)
        return NULL;
    return gathered->flight->buffer + (offset - gathered->first);
}

/* As much as the stage takes. A header that is due goes in front of the segment's first block, in one write. */
static int write_part(struct journal_writer *writer, const struct journal_file *file, uint64_t offset,
                      const void *bytes_at, uint64_t bytes)
{
    struct journal_blocks *blocks = &writer->blocks;
    struct journal_gathered *gathered = &blocks->gathered;
    uint64_t position = journal_segment_start(file->segment, journal_shift(&writer->meta)) + offset;
    uint64_t end = offset + bytes;
    uint64_t first = block_of(offset), last = block_of(end - 1);
    uint64_t lead = file->header_due && first == 0 ? BLOCK : 0;
    bool whole = end % BLOCK == 0; /* the last block is */
    bool more = follows(gathered, file, offset, bytes);
    bool flies = more || (writer->flights && file->flies && bytes > writer->flights->longer_than);
    int result = more ? 0 : make_way(writer, position, flies, offset == first);

    if (result == 0 && flies && !more)
        result = gather(writer, file, first, lead);
    if (result < 0)
        return result;
    uint8_t *stage = flies ? gathered->flight->buffer + (first - gathered->first) : blocks->stage;
    uint8_t *last_at = stage + (last - first);
    bool staged = bytes_at == stage; /* journal_blocks_stage(): nothing stands behind it */
    if (staged)
        memset(stage + bytes, 0, last + BLOCK - end);
    else if (offset != first || (first == last && !whole))
        result = get_block(blocks, file, first, stage);
    if (result == 0 && !staged && first != last && !whole)
        result = get_block(blocks, file, last, last_at);
    if (result == 0) {
        if (!staged)
            memcpy(stage + (offset - first), bytes_at, bytes);
        if (!flies)
            result =
                journal_file_write_blocks(file->fd, stage - lead, lead + last + BLOCK - first, BLOCK + first - lead);
    }
    if (result < 0)
        return result;
    if (flies) {
        gathered->end = last + BLOCK;
        gathered->position = position + bytes;
    }
    blocks->has_last = !whole;
    if (!whole)
        memcpy(blocks->last, last_at, BLOCK);
    blocks->last_segment = file->segment;
    blocks->last_offset = last;
    writer->sent = position + bytes;
    if (flies && (!whole || gathered->end - gathered->first == STAGE_BYTES))
        journal_blocks_send(writer); /* nothing more can be added */
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
