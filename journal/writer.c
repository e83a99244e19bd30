/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing records, and making them durable.
 *
 * 1. A record counts as durable when a sync that began after it was written has ended without an error. By then its file's
 *    bytes, header and room are synced, and so is the directory, if a file was made since it last was. A file that is not
 *    synced yet is kept open: the kernel tells of a failed write-out only those who had the file open.
 * 2. After a failed write, fdatasync or fsync nothing is known of what the kernel holds: the writer has ended, and answers
 *    everything with that error. Only a file that cannot be made or opened for want of room or descriptors is different:
 *    nothing was written then, and the same call may be made again later. (A write of records that is refused for want of room
 *    is not: NFS so tells, once, that earlier ones were lost.)
 * 3. What journal_open() finds in meta, ledger and names is on stable storage when it returns, whatever became of the syncs
 *    of an earlier writer.
 * 4. Nothing is written below the first position of the epoch, nor where a file's header tells another ring.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal/io.h"
#include "journal/ledger.h"
#include "journal/segment.h"
#include "journal/spare.h"
#include "journal/writer.h"

/* A sync that has to turn allocated but never written blocks into written ones takes nearly twice as long (measured:
 * 180 against 106 us). So who writes little at a time takes zeros with it, up to the next of these steps; whoever writes
 * much at once has no use for it and would pay for writing twice. */
#define ZEROS_AHEAD_BYTES (1u << 18)
#define LITTLE_BYTES (1u << 16)
/* The disk begins to work before the sync comes (measured: 300 against 1100 MB/s, synced each 16 MiB). */
#define START_WRITING_BYTES (1u << 18)
#define AHEAD_FILES 4u
/* No names file that counts is longer: see names.c. */
#define NAMES_BYTES_MAX (1u << 24)

/* -- Open and close -------------------------------------------------------------------------------------- */

static int open_meta(struct journal_writer *writer)
{
    writer->meta_fd = journal_file_open(writer->folder_fd, JOURNAL_META_NAME, true);
    if (writer->meta_fd < 0)
        return writer->meta_fd == -ENOENT ? -EMEDIUMTYPE : writer->meta_fd;
    return journal_meta_load(writer->meta_fd, &writer->meta, &writer->meta_state);
}

/* A file that may be missing. */
static int secure_file(int folder_fd, const char *name, uint64_t bytes)
{
    int fd = journal_file_open(folder_fd, name, true);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;

    int result = journal_file_secure(fd, 0, bytes);
    jio_close(fd);
    return result;
}

/* Clause 3. Of `meta` it must be the block that counts, and no other: the other one may not be good. */
static int secure_found(struct journal_writer *writer, int journal_fd)
{
    uint64_t block = (uint64_t)writer->meta_state.block * JOURNAL_BLOCK_BYTES;
    struct journal_ledger ledger;

    int result = journal_file_secure(writer->meta_fd, block, block + JOURNAL_BLOCK_BYTES);
    if (result < 0)
        return result;
    result = journal_ledger_load(writer->folder_fd, &ledger);
    if (result < 0)
        return result;
    result = secure_file(writer->folder_fd, JOURNAL_LEDGER_NAME, ledger.end_bytes);
    journal_ledger_free(&ledger);
    if (result == 0)
        result = secure_file(writer->folder_fd, JOURNAL_NAMES_NAME, NAMES_BYTES_MAX);
    if (result == 0)
        result = jio_sync(writer->folder_fd);
    return result < 0 ? result : jio_sync(journal_fd); /* the name of the journal itself */
}

int journal_open(int journal_fd, const char *name, struct journal_writer **ret_writer, struct journal_meta *ret_meta)
{
    int result = journal_name_check(name);
    if (result < 0)
        return result;
    struct journal_writer *writer = calloc(1, sizeof(*writer));
    if (!writer)
        return -ENOMEM;

    writer->folder_fd = writer->lock_fd = writer->meta_fd = writer->index.fd = -1;
    result = journal_blocks_init(&writer->blocks);
    if (result == 0)
        result = journal_folder_lock(journal_fd, name, &writer->folder_fd, &writer->lock_fd);
    if (result == 0)
        result = open_meta(writer);
    /* A copy of a journal under another name is the journal of another ring. */
    if (result == 0 && strcmp(writer->meta.identity.name, name) != 0)
        result = -ESTALE;
    if (result == 0)
        result = secure_found(writer, journal_fd);
    if (result < 0) {
        journal_close(writer);
        return result;
    }
    *ret_writer = writer;
    *ret_meta = writer->meta;
    return 0;
}

/* Waits for those that are under way. */
static void finish_syncs(struct journal_writer *writer)
{
    for (uint32_t i = 0; i < writer->syncs_under_way; i++) {
        struct jio_op *op = &writer->syncs[i];
        if (!op->done)
            writer->flights->queue->wait(writer->flights->queue, op);
        if (op->result < 0 && writer->sync_result == 0)
            writer->sync_result = (int)op->result;
    }
    writer->syncs_under_way = 0;
}

int journal_ended(const struct journal_writer *writer)
{
    return writer->error;
}

void journal_close(struct journal_writer *writer)
{
    if (!writer)
        return;
    finish_syncs(writer);
    journal_flights_settle(writer, true); /* their buffers are other writers' too */
    for (uint32_t i = 0; i < writer->file_count; i++)
        jio_close(writer->files[i].fd);
    journal_index_close(&writer->index);
    jio_close(writer->meta_fd);
    jio_close(writer->folder_fd);
    jio_close(writer->lock_fd);
    journal_kept_free(&writer->kept);
    journal_blocks_free(&writer->blocks);
    free(writer);
}

/* -- The files that are open ----------------------------------------------------------------------------- */

static struct journal_file *find_file(struct journal_writer *writer, uint64_t segment)
{
    for (uint32_t i = 0; i < writer->file_count; i++) {
        if (writer->files[i].segment == segment)
            return &writer->files[i];
    }
    return NULL;
}

static void close_file(struct journal_writer *writer, uint32_t index)
{
    jio_close(writer->files[index].fd);
    writer->files[index] = writer->files[--writer->file_count];
}

static int sync_file(struct journal_writer *writer, struct journal_file *file)
{
    if (!file->dirty)
        return 0;
    int result = jio_sync_data(file->fd);
    if (result < 0)
        return journal_end(writer, result);
    file->dirty = false;
    return 0;
}

/* Makes place among the open files: the one of the lowest segment goes, synced if need be (clause 1). */
static int make_place(struct journal_writer *writer)
{
    uint32_t lowest = 0;

    if (writer->file_count < JOURNAL_FILES_MAX)
        return 0;
    int result = journal_flights_settle(writer, true);
    if (result < 0)
        return result;
    finish_syncs(writer);
    for (uint32_t i = 1; i < writer->file_count; i++) {
        if (writer->files[i].segment < writer->files[lowest].segment)
            lowest = i;
    }
    result = sync_file(writer, &writer->files[lowest]);
    if (result == 0)
        close_file(writer, lowest);
    return result;
}

/* Room is asked for before the disk is. */
static int make_segment(struct journal_writer *writer, uint64_t segment, enum journal_room_want want,
                        struct journal_segment_file *made)
{
    int result = journal_room_take(writer, want);

    if (result < 0)
        return result;
    result = journal_segment_make(writer->folder_fd, &writer->meta, segment, made);
    journal_room_settle(writer, result == 0);
    return result;
}

static int open_segment(struct journal_writer *writer, uint64_t segment, enum journal_room_want want,
                        struct journal_file **ret_file)
{
    struct journal_segment_file made;
    int result = make_place(writer);

    if (result < 0)
        return result;
    writer->folder_dirty =
        true; /* also where it fails: what was made may resist being taken away, and is reopened later */
    result = journal_segment_reopen(writer->folder_fd, &writer->meta, segment, &made);
    if (result == -ENOENT)
        result = journal_spare_take(writer, segment, &made);
    if (result == -ENOENT)
        result = make_segment(writer, segment, want, &made);
    if (result < 0)
        return result;
    journal_kept_add(writer, segment);
    *ret_file = &writer->files[writer->file_count++];
    **ret_file = (struct journal_file){
        .fd = made.fd,
        .segment = segment,
        .epoch = writer->meta.identity.epoch,
        .nothing_from = made.nothing_kept ? 0 : UINT64_MAX,
        .blank_from = made.blank ? 0 : UINT64_MAX,
        .direct = made.direct,
        .flies = made.flies,
        .header_due = made.header_due,
    };
    return 0;
}

/* The file of a segment, of this epoch. */
static int use_file(struct journal_writer *writer, uint64_t segment, struct journal_file **ret_file)
{
    struct journal_file *file = find_file(writer, segment);

    if (!file) {
        int result = open_segment(writer, segment, JOURNAL_ROOM_NEEDED, ret_file);
        if (result < 0 && !journal_may_pass(result))
            journal_end(writer, result);
        return result;
    }
    if (file->epoch != writer->meta.identity.epoch && !file->header_due) {
        int result = journal_segment_write_header(file->fd, &writer->meta, segment);
        if (result < 0)
            return journal_end(writer, result);
        file->dirty = true;
    }
    file->epoch = writer->meta.identity.epoch;
    *ret_file = file;
    return 0;
}

/* -- Writing --------------------------------------------------------------------------------------------- */

/* blank_from never falls below the end of anything written, so zeros never fall on records. */
static int zeros_behind(struct journal_file *file, uint64_t end, uint64_t bytes, uint64_t segment_bytes)
{
    uint64_t to = (end + ZEROS_AHEAD_BYTES - 1) & ~(uint64_t)(ZEROS_AHEAD_BYTES - 1);

    if (file->direct) /* the rest of the block was written with it */
        end = (end + JOURNAL_BLOCK_BYTES - 1) & ~(uint64_t)(JOURNAL_BLOCK_BYTES - 1);
    if (end <= file->blank_from)
        return 0;
    file->blank_from = end;
    if (bytes > LITTLE_BYTES)
        return 0;
    to = to < segment_bytes ? to : segment_bytes;
    int result = journal_write_zeros(file->fd, JOURNAL_BLOCK_BYTES + end, JOURNAL_BLOCK_BYTES + to);
    if (result == 0)
        file->blank_from = to;
    return result;
}

static int start_writing(struct journal_file *file)
{
    int result = jio_start_writing(file->fd, 0, 0);

    file->unsynced_bytes = 0;
    return result == -ENOSYS || result == -EINVAL || result == -EOPNOTSUPP || result == -ESPIPE ? 0 : result;
}

/* Where that can be, the header goes with the segment's first bytes, in one write. */
static int put_header(struct journal_writer *writer, struct journal_file *file, uint64_t offset)
{
    if (!file->header_due)
        return 0;
    if (file->direct && offset == 0) {
        journal_segment_fill_header(&writer->meta, file->segment, writer->blocks.header);
        return 0;
    }
    file->header_due = false;
    return journal_segment_write_header(file->fd, &writer->meta, file->segment);
}

static int put_bytes(struct journal_writer *writer, struct journal_file *file, uint64_t offset, const void *bytes_at,
                     uint64_t bytes)
{
    if (file->direct)
        return journal_blocks_write(writer, file, offset, bytes_at, bytes);
    int result = journal_flights_settle(writer, true); /* of a file before this one */
    if (result < 0)
        return result;
    file->unsynced_bytes += bytes;
    return jio_write(file->fd, bytes_at, bytes, JOURNAL_BLOCK_BYTES + offset);
}

static int put(struct journal_writer *writer, struct journal_file *file, uint64_t offset, const void *bytes_at,
               uint64_t bytes)
{
    uint64_t segment_bytes = journal_segment_bytes(journal_shift(&writer->meta));

    file->dirty = true;
    int result = put_header(writer, file, offset);
    if (result == 0)
        result = put_bytes(writer, file, offset, bytes_at, bytes);
    file->header_due = false;
    file->sent_to = journal_segment_start(file->segment, journal_shift(&writer->meta)) + offset + bytes;
    if (result == 0 && offset + bytes > file->nothing_from)
        file->nothing_from = offset + bytes;
    if (result == 0)
        result = zeros_behind(file, offset + bytes, bytes, segment_bytes);
    if (result == 0 && file->unsynced_bytes >= START_WRITING_BYTES)
        result = start_writing(file);
    return result < 0 ? journal_end(writer, result) : 0;
}

/*
 * In the last quarter the next file is made. Where that fails, it is tried again when the file is needed, and then told. Of
 * spares a few more are taken with it: a sync that finds new names in the directory takes much longer, and so few do.
 */
static void make_ahead(struct journal_writer *writer, uint64_t segment, uint64_t end)
{
    uint32_t shift = journal_shift(&writer->meta);
    uint64_t segment_bytes = journal_segment_bytes(shift);
    struct journal_file *file;

    if (end <= segment_bytes - segment_bytes / 4 || writer->ahead_tried == segment + 1 ||
        segment == UINT64_MAX >> shift)
        return;
    writer->ahead_tried = segment + 1;
    if (find_file(writer, segment + 1) || open_segment(writer, segment + 1, JOURNAL_ROOM_AHEAD, &file) < 0)
        return;
    for (uint64_t i = 2; i <= AHEAD_FILES && segment + i <= UINT64_MAX >> shift && journal_spares(writer) > AHEAD_FILES;
         i++) {
        if (!find_file(writer, segment + i) && open_segment(writer, segment + i, JOURNAL_ROOM_AHEAD, &file) < 0)
            return;
    }
}

void *journal_stage(struct journal_writer *writer, uint64_t position, uint64_t bytes)
{
    uint32_t shift = journal_shift(&writer->meta);
    uint64_t offset = journal_offset_of(position, shift);
    struct journal_file *file;

    if (!writer->flights || writer->error < 0 || position < writer->meta.identity.start ||
        bytes > journal_segment_bytes(shift) - offset)
        return NULL;
    if (use_file(writer, journal_segment_of(position, shift), &file) < 0)
        return NULL; /* journal_write() will say why */
    return journal_blocks_stage(writer, file, offset, bytes);
}

int journal_write(struct journal_writer *writer, uint64_t position, const void *bytes_at, uint64_t bytes)
{
    uint32_t shift = journal_shift(&writer->meta);
    uint64_t segment = journal_segment_of(position, shift), offset = journal_offset_of(position, shift);
    struct journal_file *file;

    if (writer->error < 0)
        return writer->error;
    if (position % RING_UNIT_BYTES != 0 || bytes % RING_UNIT_BYTES != 0 ||
        bytes > journal_segment_bytes(shift) - offset || position < writer->meta.identity.start)
        return -EINVAL;
    int result = use_file(writer, segment, &file);
    if (writer->sent == 0 && writer->written == 0)
        writer->written = position; /* nothing behind it has landed yet */
    if (result == 0) {
        journal_index_note(writer, position, journal_wall_ns());
        result = put(writer, file, offset, bytes_at, bytes);
    }
    if (result < 0)
        return result;
    if (writer->landings.first == writer->landings.next)
        writer->written = position + bytes;
    writer->segment = segment;
    make_ahead(writer, segment, offset + bytes);
    return 0;
}

/* -- Syncing --------------------------------------------------------------------------------------------- */

/* Files below the one that is written to will not be needed again. */
static void close_passed(struct journal_writer *writer)
{
    for (uint32_t i = writer->file_count; i > 0; i--) {
        if (writer->files[i - 1].segment < writer->segment && !writer->files[i - 1].dirty)
            close_file(writer, i - 1);
    }
}

static uint32_t dirty_files(const struct journal_writer *writer)
{
    uint32_t dirty = 0;

    for (uint32_t i = 0; i < writer->file_count; i++)
        dirty += writer->files[i].dirty;
    return dirty;
}

/* Of files that go through the kernel's cache: all begin before the first is waited for. */
static int start_all(struct journal_writer *writer)
{
    uint32_t dirty = dirty_files(writer);
    int result = 0;

    for (uint32_t i = 0; dirty > 1 && result == 0 && i < writer->file_count; i++) {
        if (writer->files[i].dirty && !writer->files[i].direct)
            result = start_writing(&writer->files[i]);
    }
    return result < 0 ? journal_end(writer, result) : 0;
}

/* Each is waited for. */
static int sync_here(struct journal_writer *writer)
{
    int result = start_all(writer);

    for (uint32_t i = 0; result == 0 && i < writer->file_count; i++)
        result = sync_file(writer, &writer->files[i]);
    if (result == 0 && writer->folder_dirty) {
        result = jio_sync(writer->folder_fd);
        writer->folder_dirty = result < 0;
    }
    return result < 0 ? journal_end(writer, result) : 0;
}

static void begin_sync(struct journal_writer *writer, enum jio_op_kind kind, int fd)
{
    struct jio_op *op = &writer->syncs[writer->syncs_under_way++];

    *op = (struct jio_op){.kind = kind, .fd = fd};
    writer->flights->queue->submit(writer->flights->queue, op);
}

int journal_sync_begin(struct journal_writer *writer)
{
    int result = writer->error;

    if (result == 0 && writer->syncing)
        result = -EINVAL;
    if (result == 0)
        result = writer->flights ? start_all(writer) : sync_here(writer);
    if (result < 0)
        return result;
    writer->syncing = true;
    writer->sync_result = 0;
    writer->sync_end = writer->written;
    if (!writer->flights)
        return 0;
    for (uint32_t i = 0; i < writer->file_count; i++) {
        struct journal_file *file = &writer->files[i];
        if (!file->dirty)
            continue;
        begin_sync(writer, JIO_OP_SYNC_DATA, file->fd);
        file->dirty = file->sent_to > writer->sync_end;
    }
    if (writer->folder_dirty) {
        begin_sync(writer, JIO_OP_SYNC, writer->folder_fd);
        writer->folder_dirty = false;
    }
    return 0;
}

int journal_sync_end(struct journal_writer *writer, bool wait, uint64_t *ret_durable)
{
    if (!writer->syncing)
        return -EINVAL;
    if (!wait && writer->syncs_under_way > 0)
        writer->flights->queue->wait(writer->flights->queue, NULL);
    for (uint32_t i = 0; !wait && i < writer->syncs_under_way; i++) {
        if (!writer->syncs[i].done)
            return 0;
    }
    finish_syncs(writer);
    writer->syncing = false;
    if (writer->sync_result < 0)
        journal_end(writer, writer->sync_result);
    if (writer->error < 0)
        return writer->error;
    close_passed(writer);
    *ret_durable = writer->sync_end;
    return 1;
}

/* To have one sync done by somebody else takes longer than to do it (measured: a confirm 240 against 190 us). */
int journal_sync(struct journal_writer *writer)
{
    uint64_t durable;
    int result = writer->syncing ? journal_sync_end(writer, true, &durable) : writer->error;

    if (result >= 0)
        result = journal_flights_settle(writer, true);
    if (result < 0)
        return result;
    if (writer->flights && dirty_files(writer) > 1) {
        result = journal_sync_begin(writer);
        if (result == 0)
            result = journal_sync_end(writer, true, &durable);
        return result < 0 ? result : 0;
    }
    result = sync_here(writer);
    if (result == 0)
        close_passed(writer);
    return result;
}

/* -- Flights --------------------------------------------------------------------------------------------- */

void journal_set_flights(struct journal_writer *writer, struct journal_flights *flights)
{
    writer->flights = flights;
}

int journal_settle(struct journal_writer *writer, bool wait, uint64_t *ret_written)
{
    int result = journal_flights_settle(writer, wait);

    if (writer->error < 0)
        return writer->error;
    *ret_written = writer->written;
    return result;
}
