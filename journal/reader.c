/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a journal, live or dead.
 *
 * 1. Bytes are read into a buffer of the reader's own, checked there and handed out from there. So what was checked is what
 *    the caller gets, whoever writes to the file; and a file that is cut off or unlinked, or a block that the disk cannot
 *    read, is an error here and not a signal. (Mapping the file was measured at three times the speed of the copy; the
 *    copy, at 8 to 9 GB/s, is no slower than the checking of small records.)
 * 2. Nothing at or above the limit is read. Bytes below it never change, or are written again as they were; bytes read
 *    under a limit of UINT64_MAX may be of a time before they were written, so a record that does not check is read from
 *    the file once more before it is called damaged.
 * 3. A record in the buffer stays where it is until the reader leaves its segment or finds damage.
 */
#include "journal/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal/io.h"
#include "journal/meta.h"
#include "journal/record.h"
#include "journal/segment.h"
#include "journal/sums.h"

#define READ_BYTES (1u << 17) /* at a time: stays in the second-level cache until it is checked */

struct journal_reader {
    int folder_fd;
    uint8_t ring_id[16];
    uint32_t shift;
    uint64_t position;

    int fd; /* of the open segment, -1: none */
    uint64_t segment;
    uint32_t epoch_crcs[JOURNAL_EPOCHS_MAX]; /* of the epochs that it may be of: one, where its header is valid */
    int epoch_count;

    uint8_t *buffer; /* the segment's bytes at their offsets; those from loaded_from to loaded_to are there */
    uint64_t loaded_from, loaded_to;
    bool skip_unreadable; /* blocks that the disk cannot read count as zeros */
};

/* -- Open and close -------------------------------------------------------------------------------------- */

/* A journal whose `meta` is lost can still be read; one of another ring or version is refused here already. */
static int check_meta(int folder_fd, const uint8_t ring_id[16])
{
    struct journal_meta meta;
    int result = journal_meta_read(folder_fd, &meta);

    if (result == -EPROTONOSUPPORT)
        return result;
    return result == 0 && memcmp(meta.identity.ring_id, ring_id, 16) != 0 ? -ESTALE : 0;
}

int journal_reader_open(int ring_journal_fd, const uint8_t ring_id[16], uint32_t shift,
                        struct journal_reader **ret_reader)
{
    if (!journal_shifts_check(shift, 0))
        return -EINVAL;
    struct journal_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return -ENOMEM;

    *reader = (struct journal_reader){.folder_fd = -1, .shift = shift, .fd = -1};
    memcpy(reader->ring_id, ring_id, sizeof(reader->ring_id));
    reader->buffer = aligned_alloc(MEM_PAIR_BYTES, journal_segment_bytes(shift));
    int result = reader->buffer ? check_meta(ring_journal_fd, ring_id) : -ENOMEM;
    if (result == 0)
        result = reader->folder_fd = jio_duplicate(ring_journal_fd);
    if (result < 0) {
        journal_reader_close(reader);
        return result;
    }
    *ret_reader = reader;
    return 0;
}

void journal_reader_close(struct journal_reader *reader)
{
    if (!reader)
        return;
    jio_close(reader->fd);
    jio_close(reader->folder_fd);
    free(reader->buffer);
    free(reader);
}

/* -- Segments -------------------------------------------------------------------------------------------- */

static void leave_segment(struct journal_reader *reader)
{
    jio_close(reader->fd);
    reader->fd = -1;
    reader->loaded_from = reader->loaded_to = 0;
}

/* A header that does not check takes no record with it: theirs do, if one of the likely epochs is right. */
static int find_epochs(struct journal_reader *reader)
{
    struct journal_place place = {reader->ring_id, reader->shift, reader->segment};
    uint64_t epochs[JOURNAL_EPOCHS_MAX];
    int result = journal_segment_read_header(reader->fd, &place, &epochs[0]);

    if (result == 0)
        result = 1;
    else if (result == -EBADMSG || result == -ESTALE || result == -EPROTONOSUPPORT ||
             (result == -EIO && reader->skip_unreadable))
        result = journal_segment_guess_epochs(reader->folder_fd, &place, epochs);
    if (result < 0)
        return result;
    reader->epoch_count = result;
    for (int i = 0; i < reader->epoch_count; i++)
        reader->epoch_crcs[i] = journal_crc_of_epoch(reader->ring_id, epochs[i]);
    return 0;
}

static int enter_segment(struct journal_reader *reader, uint64_t segment)
{
    char name[JOURNAL_SEGMENT_NAME_BYTES];

    if (reader->fd >= 0 && reader->segment == segment)
        return 0;
    leave_segment(reader);
    journal_segment_name(segment, name);
    int fd = journal_file_open(reader->folder_fd, name, false);
    if (fd < 0)
        return fd;
    jio_hold(fd); /* it stays as it is, though it may expire; where it cannot be held, the records' CRCs tell */
    reader->fd = fd;
    reader->segment = segment;
    int result = find_epochs(reader);
    if (result < 0)
        leave_segment(reader);
    return result;
}

void journal_reader_stand_at(struct journal_reader *reader, uint64_t position)
{
    reader->position = position;
}

int journal_reader_seek(struct journal_reader *reader, uint64_t position)
{
    if (position % RING_UNIT_BYTES != 0)
        return -EINVAL;
    int result = enter_segment(reader, journal_segment_of(position, reader->shift));
    if (result == 0)
        reader->position = position;
    return result;
}

uint64_t journal_reader_position(const struct journal_reader *reader)
{
    return reader->position;
}

/* -- Bytes ----------------------------------------------------------------------------------------------- */

static int64_t read_blocks(struct journal_reader *reader, uint64_t from, uint64_t to)
{
    uint64_t at = from;

    while (at < to) {
        uint64_t step = JOURNAL_BLOCK_BYTES - at % JOURNAL_BLOCK_BYTES;
        uint64_t bytes = step < to - at ? step : to - at;
        int64_t got = jio_read(reader->fd, reader->buffer + at, bytes, JOURNAL_BLOCK_BYTES + at);
        if (got == -EIO) {
            memset(reader->buffer + at, 0, bytes);
            got = (int64_t)bytes;
        }
        if (got < 0)
            return got;
        at += (uint64_t)got;
        if ((uint64_t)got < bytes)
            break;
    }
    return (int64_t)(at - from);
}

/* What lies in the segment from loaded_to on: up to `need` at least, up to `most` if that is as cheap. */
static int64_t read_on(struct journal_reader *reader, uint64_t need, uint64_t most)
{
    uint64_t from = reader->loaded_to;
    uint64_t to = from + READ_BYTES < most ? from + READ_BYTES : most;

    to = to > need ? to : need;
    int64_t got = jio_read(reader->fd, reader->buffer + from, to - from, JOURNAL_BLOCK_BYTES + from);
    if (got == -EIO && to > need) /* it may be only what nobody has asked for yet */
        got = jio_read(reader->fd, reader->buffer + from, need - from, JOURNAL_BLOCK_BYTES + from);
    if (got == -EIO && reader->skip_unreadable)
        got = read_blocks(reader, from, need);
    return got;
}

/* Sees to it that the bytes from offset to need are in the buffer; need <= most. 1: they are; 0: the file ends before. */
static int load(struct journal_reader *reader, uint64_t offset, uint64_t need, uint64_t most)
{
    if (offset < reader->loaded_from || offset > reader->loaded_to)
        reader->loaded_from = reader->loaded_to = offset;
    if (need <= reader->loaded_to)
        return 1;
    int64_t got = read_on(reader, need, most);
    if (got < 0)
        return (int)got;
    reader->loaded_to += (uint64_t)got;
    return need <= reader->loaded_to;
}

/* -- Records --------------------------------------------------------------------------------------------- */

static uint32_t body_crc(struct journal_reader *reader, uint32_t crc, uint64_t offset, uint32_t bytes,
                         struct journal_sums *sums)
{
    uint64_t body = offset + sizeof(struct ring_record);

    return sums ? journal_sums_crc(sums, crc, body, body + bytes) : journal_crc32c(crc, reader->buffer + body, bytes);
}

static bool crc_matches(struct journal_reader *reader, uint64_t offset, const struct journal_record *record,
                        struct journal_sums *sums)
{
    uint64_t position = journal_segment_start(reader->segment, reader->shift) + offset;
    uint32_t covered = journal_record_covered(record->head, record->body_bytes);

    for (int i = 0; i < reader->epoch_count; i++) {
        uint32_t crc = journal_crc_of_header(reader->epoch_crcs[i], position, record->head, record->body_bytes);
        if (body_crc(reader, crc, offset, covered, sums) != record->crc)
            continue;
        reader->epoch_crcs[0] = reader->epoch_crcs[i]; /* a segment has one epoch */
        reader->epoch_count = 1;
        return true;
    }
    return false;
}

/*
 * The record at an offset, of which nothing may reach beyond `end`. 1: it is good; 0: it is not; -ENODATA: the file ends
 * before its header does; else a negative errno. `sums` may be NULL.
 */
static int check(struct journal_reader *reader, uint64_t offset, uint64_t end, struct journal_sums *sums,
                 struct journal_record *ret_record, uint64_t *ret_bytes)
{
    if (end - offset < RING_UNIT_BYTES)
        return 0;
    int result = load(reader, offset, offset + sizeof(struct ring_record), end);
    if (result <= 0)
        return result < 0 ? result : -ENODATA;
    struct journal_record record = journal_record_load(reader->buffer + offset);
    uint64_t bytes = journal_record_bytes(record.head, end - offset);
    if (bytes == 0 || record.head & JOURNAL_OWNER_MASK || !journal_record_holds_body(bytes, record.body_bytes))
        return 0;
    uint32_t covered = journal_record_covered(record.head, record.body_bytes);
    result = load(reader, offset, offset + sizeof(struct ring_record) + covered, end);
    if (result <= 0)
        return result;
    if (!crc_matches(reader, offset, &record, sums))
        return 0;
    *ret_record = record;
    *ret_bytes = bytes;
    return 1;
}

/* Clause 2. */
static int check_twice(struct journal_reader *reader, uint64_t offset, uint64_t end, struct journal_record *ret_record,
                       uint64_t *ret_bytes)
{
    bool read_before = offset >= reader->loaded_from && offset < reader->loaded_to;
    int result = check(reader, offset, end, NULL, ret_record, ret_bytes);

    if (result == 0 && read_before) {
        reader->loaded_from = reader->loaded_to = offset;
        result = check(reader, offset, end, NULL, ret_record, ret_bytes);
    }
    return result;
}

/* Where the limit, or else the segment, ends: an offset in the segment of the position, which is below the limit. */
static uint64_t end_offset(const struct journal_reader *reader, uint64_t limit)
{
    uint64_t bytes = journal_segment_bytes(reader->shift);
    uint64_t start = reader->position & ~(bytes - 1);

    return limit - start < bytes ? limit - start : bytes;
}

static uint64_t next_segment_start(const struct journal_reader *reader)
{
    return journal_segment_start(journal_segment_of(reader->position, reader->shift) + 1, reader->shift);
}

int journal_reader_next(struct journal_reader *reader, uint64_t limit, struct ring_item *ret_item)
{
    while (reader->position < limit) {
        struct journal_record record = {0};
        uint64_t bytes = 0, position = reader->position;
        uint64_t offset = journal_offset_of(position, reader->shift);
        int result = enter_segment(reader, journal_segment_of(position, reader->shift));
        if (result < 0)
            return result;
        result = check_twice(reader, offset, end_offset(reader, limit), &record, &bytes);
        if (result <= 0)
            return result == 0 || result == -ENODATA ? -EBADMSG : result;
        bool last = offset + bytes == journal_segment_bytes(reader->shift);
        reader->position = last ? next_segment_start(reader) : position + bytes;
        if (head_state(record.head) == RING_PADDING)
            continue;
        *ret_item = (struct ring_item){
            .position = position,
            .next = reader->position,
            .body = reader->buffer + offset + sizeof(struct ring_record),
            .body_bytes = record.body_bytes,
            .tag = head_tag(record.head),
            .flags = head_flags(record.head),
        };
        return 1;
    }
    return 0;
}

/* -- Behind damage --------------------------------------------------------------------------------------- */

/* Every unit is tried, not only where the damaged header says that the next one is: that may be what is damaged. */
static int hunt_from(struct journal_reader *reader, uint64_t offset, uint64_t end, struct journal_sums *sums)
{
    uint64_t start = reader->position - offset;

    for (uint64_t at = offset; end - at >= RING_UNIT_BYTES; at += RING_UNIT_BYTES) {
        struct journal_record record;
        uint64_t bytes;
        /* The whole unit, so that what is loaded has no holes: the sums go over all of it. */
        int result = load(reader, at, at + RING_UNIT_BYTES, end);
        if (result >= 0)
            result = check(reader, at, end, sums, &record, &bytes);
        if (result == 1)
            reader->position = start + at;
        if (result != 0)
            return result == -ENODATA ? 0 : result;
    }
    return 0;
}

int journal_reader_hunt(struct journal_reader *reader, uint64_t limit)
{
    uint64_t offset = journal_offset_of(reader->position, reader->shift);
    struct journal_sums sums;

    if (reader->position >= limit)
        return 0;
    int result = enter_segment(reader, journal_segment_of(reader->position, reader->shift));
    if (result < 0)
        return result;
    uint64_t end = end_offset(reader, limit);
    result = journal_sums_init(&sums, reader->buffer, offset, end);
    if (result < 0)
        return result;
    reader->loaded_from = reader->loaded_to = offset;
    result = hunt_from(reader, offset, end, &sums);
    journal_sums_free(&sums);
    return result;
}

int journal_reader_search(struct journal_reader *reader, uint64_t limit)
{
    reader->skip_unreadable = true;
    int result = journal_reader_hunt(reader, limit);
    reader->skip_unreadable = false;
    return result;
}

int journal_reader_which_epoch(const struct journal_reader *reader, const uint64_t *epochs, int count)
{
    for (int i = 0; i < count && reader->fd >= 0 && reader->epoch_count == 1; i++) {
        if (journal_crc_of_epoch(reader->ring_id, epochs[i]) == reader->epoch_crcs[0])
            return i;
    }
    return -1;
}

uint64_t journal_reader_resync(struct journal_reader *reader, uint64_t limit)
{
    int result = journal_reader_search(reader, limit);
    /* Other errors say nothing of the bytes: the position stays, and journal_reader_next() tells them. */
    bool nothing_here = result == 0 || result == -ENOENT || result == -EMEDIUMTYPE;
    if (nothing_here && reader->position < limit) {
        uint64_t next = next_segment_start(reader);
        reader->position = next < limit ? next : limit;
    }
    return reader->position;
}

/* -- Which segments there are ---------------------------------------------------------------------------- */

struct oldest {
    uint64_t from, found;
    bool any;
};

static int look_for_oldest(void *ctx, const char *name)
{
    struct oldest *oldest = ctx;
    uint64_t segment;

    if (journal_segment_number(name, &segment) && segment >= oldest->from &&
        (!oldest->any || segment < oldest->found)) {
        oldest->found = segment;
        oldest->any = true;
    }
    return 0;
}

int journal_oldest_segment(int ring_journal_fd, uint64_t from, uint64_t *ret_segment)
{
    struct oldest oldest = {.from = from};
    int result = jio_list(ring_journal_fd, look_for_oldest, &oldest);

    if (result < 0)
        return result;
    if (!oldest.any)
        return -ENOENT;
    *ret_segment = oldest.found;
    return 0;
}
