/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the end after a death.
 *
 * 1. The end is never before a record that was synced: it is not below what `meta` says was durable, and bytes that do not
 *    check are the end only when no file holds a record that does behind them. If one does, the stretch between is damage,
 *    and the scan goes on behind it.
 * 2. Damage is noted in the ledger before the end is told, and only what the ledger does not tell already: recovering twice
 *    notes it once.
 * 3. Nothing is read or written of a file before what an earlier writer left under way in it has landed: it could land on
 *    what is written now.
 * 4. All that is below the end that is told is on stable storage then. What was read may have been in the kernel alone, even
 *    in pages that an earlier error has left unwritten and marked as clean; so everything above the durable position is
 *    written over itself and synced.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal/io.h"
#include "journal/ledger.h"
#include "journal/reader.h"
#include "journal/segment.h"
#include "journal/writer.h"

struct recovery {
    struct journal_writer *writer;
    struct journal_reader *reader;
    struct journal_segment_list files;
    uint32_t shift;
    uint64_t floor; /* everything below was durable, or never used */
    uint64_t end;
    uint64_t count_from;
    uint64_t again_from;
    void (*counted)(void *ctx, uint64_t producer, uint64_t sequence);
    void *ctx;
};

/* -- Damage ---------------------------------------------------------------------------------------------- */

static int note_damage(struct recovery *recovery, uint64_t from, uint64_t to)
{
    struct journal_gap gap = {
        .from = from,
        .to = to,
        .time_ns = journal_wall_ns(),
        .epoch = recovery->writer->meta.identity.epoch,
        .reason = JOURNAL_GAP_DAMAGED,
    };

    return from < to ? journal_note_gap(recovery->writer, &gap) : 0;
}

static int note_part(void *ctx, uint64_t from, uint64_t to, const struct journal_gap *gap)
{
    return gap ? 0 : note_damage(ctx, from, to);
}

/* Notes those parts of the stretch that no entry of the ledger covers. */
static int note_hole(struct recovery *recovery, uint64_t from, uint64_t to)
{
    struct journal_ledger ledger;

    to = to < recovery->again_from ? to : recovery->again_from;
    if (from >= to)
        return 0;
    int result = journal_ledger_load(recovery->writer->folder_fd, &ledger);
    if (result < 0)
        return result;
    result = journal_ledger_parts(&ledger, from, to, note_part, recovery);
    journal_ledger_free(&ledger);
    return result;
}

/* -- Scanning -------------------------------------------------------------------------------------------- */

static void count(const struct recovery *recovery, const struct ring_item *item)
{
    struct ring_meta meta;
    uint32_t meta_bytes;

    if (!recovery->counted || item->position < recovery->count_from || !(item->flags & RING_FLAG_PROPERTIES))
        return;
    if (ring_meta_get(item->body, item->body_bytes, item->flags, &meta, &meta_bytes) == 0 &&
        meta.present & RING_HAS_SEQUENCE)
        recovery->counted(recovery->ctx, meta.producer, meta.sequence);
}

static bool no_segment(int result)
{
    return result == -ENOENT || result == -EMEDIUMTYPE;
}

/* Reads on until something does not check: *ret_stop. */
static int scan(struct recovery *recovery, uint64_t *ret_stop)
{
    struct ring_item item;
    int result;

    while ((result = journal_reader_next(recovery->reader, UINT64_MAX, &item)) == 1)
        count(recovery, &item);
    if (result < 0 && result != -EBADMSG && !no_segment(result))
        return result;
    *ret_stop = journal_reader_position(recovery->reader);
    return 0;
}

/* Behind `stop`: goes to the next record that checks, in this file or a later one. 1: found; 0: there is none. */
static int find_next(struct recovery *recovery, uint64_t stop)
{
    int result = journal_reader_hunt(recovery->reader, UINT64_MAX);

    for (size_t i = 0; (result == 0 || no_segment(result)) && i < recovery->files.count; i++) {
        if (recovery->files.segments[i] <= journal_segment_of(stop, recovery->shift))
            continue;
        journal_reader_stand_at(recovery->reader, journal_segment_start(recovery->files.segments[i], recovery->shift));
        result = journal_reader_hunt(recovery->reader, UINT64_MAX);
    }
    return no_segment(result) ? 0 : result;
}

static int find_end(struct recovery *recovery, uint64_t from)
{
    uint64_t stop;
    int found;

    recovery->end = recovery->floor;
    journal_reader_stand_at(recovery->reader, from);
    do {
        int result = scan(recovery, &stop);
        if (result < 0)
            return result;
        recovery->end = stop > recovery->end ? stop : recovery->end;
        found = find_next(recovery, stop);
        if (found == 1)
            result = note_hole(recovery, stop, journal_reader_position(recovery->reader));
        if (found < 0 || result < 0)
            return found < 0 ? found : result;
    } while (found == 1);
    return note_hole(recovery, stop, recovery->floor);
}

/* Where to begin: at the durable position, or below it where there still are records to be counted. */
static uint64_t scan_start(const struct recovery *recovery)
{
    uint64_t from = recovery->count_from & ~(uint64_t)(RING_UNIT_BYTES - 1);

    if (recovery->files.count == 0 || from >= recovery->floor)
        return recovery->floor;
    uint64_t oldest = journal_segment_start(recovery->files.segments[0], recovery->shift);
    from = from > oldest ? from : oldest;
    return from < recovery->floor ? from : recovery->floor;
}

/* -- Making it durable ----------------------------------------------------------------------------------- */

static int secure_segment(struct recovery *recovery, uint64_t segment)
{
    uint64_t start = journal_segment_start(segment, recovery->shift);
    uint64_t bytes = journal_segment_bytes(recovery->shift);
    uint64_t from = recovery->floor > start ? recovery->floor - start : 0;
    uint64_t to = recovery->end - start < bytes ? recovery->end - start : bytes;
    char name[JOURNAL_SEGMENT_NAME_BYTES];

    journal_segment_name(segment, name);
    int fd = journal_file_open(recovery->writer->folder_fd, name, true);
    if (fd < 0)
        return no_segment(fd) ? 0 : fd;
    int result = journal_segment_mend_header(fd, &recovery->writer->meta, segment);
    if (result == -ESTALE || result == -EPROTONOSUPPORT) /* no record in it is ours */
        result = 0;
    else if (result == 0)
        result = journal_file_secure(fd, JOURNAL_BLOCK_BYTES + from, JOURNAL_BLOCK_BYTES + to);
    jio_close(fd);
    return result < 0 ? journal_end(recovery->writer, result) : 0;
}

/* Clause 4. A write or sync that fails here ends the writer as it does elsewhere. */
static int secure(struct recovery *recovery)
{
    int result = 0;

    if (recovery->end == recovery->floor)
        return 0;
    uint64_t first = journal_segment_of(recovery->floor, recovery->shift);
    uint64_t last = journal_segment_of(recovery->end - 1, recovery->shift);
    for (size_t i = 0; result == 0 && i < recovery->files.count; i++) {
        if (recovery->files.segments[i] >= first && recovery->files.segments[i] <= last)
            result = secure_segment(recovery, recovery->files.segments[i]);
    }
    if (result < 0)
        return result;
    result = jio_sync(recovery->writer->folder_fd);
    return result < 0 ? journal_end(recovery->writer, result) : 0;
}

/* -- All of it ------------------------------------------------------------------------------------------- */

/* Clause 3. Below the durable position nothing was under way: it was synced. */
static int await_all(const struct recovery *recovery)
{
    char name[JOURNAL_SEGMENT_NAME_BYTES];
    uint64_t first = journal_segment_of(recovery->floor, recovery->shift);

    for (size_t i = 0; i < recovery->files.count; i++) {
        if (recovery->files.segments[i] < first)
            continue;
        journal_segment_name(recovery->files.segments[i], name);
        int fd = journal_file_open(recovery->writer->folder_fd, name, true);
        if (fd < 0 && no_segment(fd))
            continue;
        int result = fd < 0 ? fd : journal_segment_await(fd, &recovery->writer->meta);
        jio_close(fd);
        if (result < 0 && result != -EOPNOTSUPP && result != -ENOSYS) /* nothing is ever under way there */
            return result;
    }
    return 0;
}

static int recover(struct recovery *recovery, uint64_t *ret_end)
{
    int result = await_all(recovery);

    if (result == 0)
        result = find_end(recovery, scan_start(recovery));
    if (result == 0)
        result = secure(recovery);
    if (result == 0)
        *ret_end = recovery->end;
    return result;
}

int journal_recover(struct journal_writer *writer, uint64_t count_from, uint64_t again_from,
                    void (*counted)(void *ctx, uint64_t producer, uint64_t sequence), void *ctx, uint64_t *ret_end)
{
    const struct journal_meta *meta = &writer->meta;
    struct recovery recovery = {
        .writer = writer,
        .shift = journal_shift(meta),
        .floor = meta->durable > meta->identity.start ? meta->durable : meta->identity.start,
        .count_from = count_from,
        .again_from = again_from,
        .counted = counted,
        .ctx = ctx,
    };

    if (writer->error < 0)
        return writer->error;
    int result = journal_list_segments(writer->folder_fd, recovery.shift, &recovery.files);
    if (result < 0)
        return result;
    result = journal_reader_open(writer->folder_fd, meta->identity.ring_id, recovery.shift, &recovery.reader);
    if (result == 0) {
        result = recover(&recovery, ret_end);
        journal_reader_close(recovery.reader);
    }
    journal_segment_list_free(&recovery.files);
    return result;
}
