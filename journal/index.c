/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file `index`: sparse, appended by the writer, and never synced.
 *
 * 1. An entry says that what lies below its position was written at its time or before, what lies at or above it then or later.
 *    Positions and times never fall from one entry to the next: while a clock that was set back has not caught up, entries carry
 *    the highest time that there was. So a search finds a position too low rather than too high.
 * 2. Nothing here ends the writer, and nothing is synced: an error of a sync would be told here, and then to nobody who
 *    has promised anything. What a power loss leaves may have holes; entries stand for themselves.
 * 3. When half of it tells of segments that are gone it is replaced by the other half. When it has grown long all the same, every
 *    second entry goes: what is older is told less exactly.
 * 4. A file may claim any size, and all of it may have to be read to find that nothing in it checks: one that is longer than
 *    any that is written here tells nothing, and is replaced by the writer.
 */
#include "journal/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal/io.h"
#include "journal/segment.h"
#include "journal/writer.h"

#define ENTRY_BYTES sizeof(struct journal_index_entry)
#define CHUNK_ENTRIES 128u
#define CUT_BYTES 32768u
/* 24 days of a ring that always writes; looked at each CUT_BYTES. What is written stays far from what is not believed. */
#define THIN_BYTES ((uint64_t)ENTRY_BYTES << 21)
#define INDEX_BYTES_MAX (2 * THIN_BYTES)
#define NEW_NAME JOURNAL_INDEX_NAME ".new"

static uint32_t entry_crc(const uint8_t ring_id[16], const struct journal_index_entry *entry)
{
    return journal_crc32c(journal_crc32c(0, ring_id, 16), entry, offsetof(struct journal_index_entry, crc));
}

static bool is_entry(const uint8_t ring_id[16], const struct journal_index_entry *entry)
{
    return entry->magic == JOURNAL_INDEX_MAGIC && entry->position % RING_UNIT_BYTES == 0 &&
           entry->crc == entry_crc(ring_id, entry);
}

/* -EFBIG: clause 4. */
static int entry_count(int fd, uint64_t *ret_count)
{
    struct stat st;
    int result = jio_stat(fd, &st);

    if (result == 0 && (uint64_t)st.st_size > INDEX_BYTES_MAX)
        result = -EFBIG;
    *ret_count = result < 0 ? 0 : (uint64_t)st.st_size / ENTRY_BYTES;
    return result;
}

/* -- Searching ------------------------------------------------------------------------------------------- */

/* The first valid entry in [from, to): 1, its number and itself; 0: there is none. */
static int first_valid(int fd, const uint8_t ring_id[16], uint64_t from, uint64_t to, uint64_t *ret_number,
                       struct journal_index_entry *ret_entry)
{
    struct journal_index_entry entries[CHUNK_ENTRIES];

    while (from < to) {
        uint64_t count = to - from < CHUNK_ENTRIES ? to - from : CHUNK_ENTRIES;
        int64_t got = jio_read(fd, entries, count * ENTRY_BYTES, from * ENTRY_BYTES);
        if (got < 0)
            return (int)got;
        for (uint64_t i = 0; i < (uint64_t)got / ENTRY_BYTES; i++) {
            if (!is_entry(ring_id, &entries[i]))
                continue;
            *ret_number = from + i;
            *ret_entry = entries[i];
            return 1;
        }
        if ((uint64_t)got < count * ENTRY_BYTES)
            break;
        from += count;
    }
    return 0;
}

/* The last valid one. */
static int last_valid(int fd, const uint8_t ring_id[16], uint64_t count, uint64_t *ret_number,
                      struct journal_index_entry *ret_entry)
{
    struct journal_index_entry entries[CHUNK_ENTRIES];

    while (count > 0) {
        uint64_t part = count < CHUNK_ENTRIES ? count : CHUNK_ENTRIES;
        int64_t got = jio_read(fd, entries, part * ENTRY_BYTES, (count - part) * ENTRY_BYTES);
        if (got < 0)
            return (int)got;
        for (uint64_t i = (uint64_t)got / ENTRY_BYTES; i > 0; i--) {
            if (!is_entry(ring_id, &entries[i - 1]))
                continue;
            *ret_number = count - part + i - 1;
            *ret_entry = entries[i - 1];
            return 1;
        }
        count -= part;
    }
    return 0;
}

static bool is_before(const struct journal_index_entry *entry, uint64_t time_ns, uint64_t position)
{
    return entry->time_ns < time_ns && entry->position < position;
}

/*
 * The last entry that is before both a time and a position, and the first that is not, among `count`: their numbers plus one,
 * 0: there is none.
 */
struct cut {
    uint64_t before, behind;
    struct journal_index_entry before_entry, behind_entry;
};

static int search(int fd, const uint8_t ring_id[16], uint64_t time_ns, uint64_t position, uint64_t count,
                  struct cut *ret_cut)
{
    uint64_t low = 0, high = count, number = 0;
    struct journal_index_entry entry;

    *ret_cut = (struct cut){0};
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int result = first_valid(fd, ring_id, middle, high, &number, &entry);
        if (result < 0)
            return result;
        if (result == 0) {
            high = middle;
        } else if (is_before(&entry, time_ns, position)) {
            ret_cut->before = number + 1;
            ret_cut->before_entry = entry;
            low = number + 1;
        } else {
            ret_cut->behind = number + 1;
            ret_cut->behind_entry = entry;
            high = middle;
        }
    }
    return 0;
}

int journal_index_find(int folder_fd, const uint8_t ring_id[16], uint64_t time_ns,
                       struct journal_index_range *ret_range)
{
    struct cut cut = {0};
    uint64_t count;
    int fd = journal_file_open(folder_fd, JOURNAL_INDEX_NAME, false);

    *ret_range = (struct journal_index_range){0, UINT64_MAX};
    if (fd < 0)
        return fd == -ENOENT || fd == -EMEDIUMTYPE ? 0 : fd;
    int result = entry_count(fd, &count);
    if (result == 0)
        result = search(fd, ring_id, time_ns, UINT64_MAX, count, &cut);
    jio_close(fd);
    if (result == -EIO || result == -EFBIG) /* the disk cannot read it, or clause 4: it tells nothing */
        return 0;
    if (cut.before)
        ret_range->from = cut.before_entry.position;
    if (cut.behind)
        ret_range->to = cut.behind_entry.position;
    return result;
}

/* -- Appending ------------------------------------------------------------------------------------------- */

void journal_index_close(struct journal_index *index)
{
    jio_close(index->fd);
    index->fd = -1;
}

/* The descriptor; *ret_count: clause 4 holds of it. */
static int open_file(struct journal_writer *writer, uint64_t *ret_count)
{
    struct journal_rights rights = journal_rights_of(&writer->meta);
    int fd = journal_file_open(writer->folder_fd, JOURNAL_INDEX_NAME, true);

    *ret_count = 0;
    if (fd == -ENOENT)
        return journal_file_make(writer->folder_fd, JOURNAL_INDEX_NAME, &rights);
    if (fd < 0)
        return fd;
    int result = entry_count(fd, ret_count);
    if (result == 0)
        return fd;
    jio_close(fd);
    if (result == -EFBIG)
        result = jio_unlink(writer->folder_fd, JOURNAL_INDEX_NAME);
    return result < 0 ? result : journal_file_make(writer->folder_fd, JOURNAL_INDEX_NAME, &rights);
}

static int open_index(struct journal_writer *writer)
{
    struct journal_index *index = &writer->index;
    struct journal_index_entry last = {0};
    uint64_t count, number = 0;
    int fd = open_file(writer, &count);

    if (fd < 0)
        return fd;
    int result = last_valid(fd, writer->meta.identity.ring_id, count, &number, &last);
    if (result < 0) {
        jio_close(fd);
        return result;
    }
    *index = (struct journal_index){.fd = fd, .any = result == 1, .cut_bytes = CUT_BYTES};
    if (index->any) {
        index->end_bytes = (number + 1) * ENTRY_BYTES;
        index->position = last.position;
        index->time_ns = last.time_ns;
    }
    return 0;
}

static bool is_due(const struct journal_index *index, uint64_t position, uint64_t time_ns)
{
    if (!index->any)
        return true;
    return position > index->position &&
           (time_ns >= index->time_ns + JOURNAL_INDEX_NS || position - index->position >= JOURNAL_INDEX_BYTES);
}

static int append(struct journal_writer *writer, uint64_t position, uint64_t time_ns)
{
    struct journal_index *index = &writer->index;
    struct journal_index_entry entry = {.magic = JOURNAL_INDEX_MAGIC, .position = position, .time_ns = time_ns};

    if (index->end_bytes >= INDEX_BYTES_MAX) /* it could not be cut, for want of room */
        return -EFBIG;
    entry.crc = entry_crc(writer->meta.identity.ring_id, &entry);
    int result = jio_write(index->fd, &entry, ENTRY_BYTES, index->end_bytes);
    if (result == 0)
        index->end_bytes += ENTRY_BYTES;
    return result;
}

/* -- Cutting --------------------------------------------------------------------------------------------- */

static uint64_t every_second(struct journal_index_entry *entries, uint64_t count)
{
    for (uint64_t i = 0; i < count / 2; i++)
        entries[i] = entries[2 * i + 1];
    return count / 2;
}

/* What comes behind the first `number` entries; thin: every second one of them. */
static int copy_rest(struct journal_writer *writer, int to_fd, uint64_t number, bool thin, uint64_t *ret_bytes)
{
    struct journal_index_entry entries[CHUNK_ENTRIES];
    uint64_t end = writer->index.end_bytes / ENTRY_BYTES, done = 0;

    for (; number < end; number += CHUNK_ENTRIES) {
        uint64_t count = end - number < CHUNK_ENTRIES ? end - number : CHUNK_ENTRIES;
        int64_t got = jio_read(writer->index.fd, entries, count * ENTRY_BYTES, number * ENTRY_BYTES);
        if (got < 0 || (uint64_t)got < count * ENTRY_BYTES)
            return got < 0 ? (int)got : -EIO;
        if (thin)
            count = every_second(entries, count);
        int result = jio_write(to_fd, entries, count * ENTRY_BYTES, done);
        if (result < 0)
            return result;
        done += count * ENTRY_BYTES;
    }
    *ret_bytes = done;
    return 0;
}

static int replace(struct journal_writer *writer, uint64_t number, bool thin)
{
    struct journal_rights rights = journal_rights_of(&writer->meta);
    uint64_t bytes = 0;
    int result = jio_unlink(writer->folder_fd, NEW_NAME); /* a dead one's left-over */

    if (result < 0 && result != -ENOENT)
        return result;
    int fd = journal_file_make(writer->folder_fd, NEW_NAME, &rights);
    if (fd < 0)
        return fd;
    result = copy_rest(writer, fd, number, thin, &bytes);
    if (result == 0)
        result = jio_rename(writer->folder_fd, NEW_NAME, writer->folder_fd, JOURNAL_INDEX_NAME);
    if (result < 0) {
        jio_unlink(writer->folder_fd, NEW_NAME);
        jio_close(fd);
        return result;
    }
    jio_close(writer->index.fd);
    writer->index.fd = fd;
    writer->index.end_bytes = bytes;
    return 0;
}

/* The last entry below the oldest segment stays: it tells of what comes behind it. */
static void cut(struct journal_writer *writer)
{
    struct journal_index *index = &writer->index;
    const uint64_t *segments;
    struct cut cut = {0};
    size_t count;

    if (index->end_bytes < index->cut_bytes)
        return;
    if (journal_segments(writer, &segments, &count) == 0 && count > 0) {
        uint64_t oldest = journal_segment_start(segments[0], journal_shift(&writer->meta));
        search(index->fd, writer->meta.identity.ring_id, UINT64_MAX, oldest, index->end_bytes / ENTRY_BYTES, &cut);
    }
    /* Where it fails the whole stays. */
    if (cut.before > 0 && (cut.before - 1) * ENTRY_BYTES > index->end_bytes / 2)
        replace(writer, cut.before - 1, false);
    else if (index->end_bytes >= THIN_BYTES)
        replace(writer, 0, true);
    index->cut_bytes = index->end_bytes + CUT_BYTES;
}

/* -- Noting ---------------------------------------------------------------------------------------------- */

void journal_index_note(struct journal_writer *writer, uint64_t position, uint64_t time_ns)
{
    struct journal_index *index = &writer->index;

    if (!is_due(index, position, time_ns))
        return;
    int result = index->fd >= 0 ? 0 : open_index(writer);
    if (result == 0 && !is_due(index, position, time_ns))
        return;
    time_ns = index->any && time_ns < index->time_ns ? index->time_ns : time_ns;
    if (result == 0)
        result = append(writer, position, time_ns);
    if (result == 0)
        cut(writer);
    else
        journal_index_close(index); /* it is tried again when the next one is due */
    index->any = true;
    index->position = position;
    index->time_ns = time_ns;
}

/* -- Where a time lies ----------------------------------------------------------------------------------- */

static int read_created(int folder_fd, const struct journal_meta *meta, uint64_t segment, uint64_t *ret_created_ns)
{
    struct journal_place place = {meta->identity.ring_id, journal_shift(meta), segment};
    char name[JOURNAL_SEGMENT_NAME_BYTES];

    journal_segment_name(segment, name);
    int fd = journal_file_open(folder_fd, name, false);
    if (fd < 0)
        return fd;
    int result = journal_segment_read_created(fd, &place, ret_created_ns);
    jio_close(fd);
    return result;
}

/*
 * Headers say when a segment was begun, at the latest: a restart may write one a little ahead of its first record. So all
 * in front of the segment before one that was begun before the time was written before it.
 */
static uint64_t narrow(int folder_fd, const struct journal_meta *meta, const struct journal_segment_list *files,
                       const struct journal_index_range *range, uint64_t time_ns)
{
    uint32_t shift = journal_shift(meta);
    uint64_t position = range->from, created_ns;
    size_t i = 0;

    while (i < files->count && files->segments[i] < journal_segment_of(range->from, shift))
        i++;
    for (; i + 1 < files->count && journal_segment_start(files->segments[i + 1], shift) < range->to; i++) {
        int result = read_created(folder_fd, meta, files->segments[i + 1], &created_ns);
        if (result == 0 && created_ns >= time_ns)
            break;
        uint64_t start = journal_segment_start(files->segments[i], shift);
        if (result == 0 && start > position)
            position = start;
    }
    return position;
}

int journal_seek_time(int ring_journal_fd, const struct journal_meta *meta, uint64_t time_ns, uint64_t *ret_position)
{
    uint32_t shift = journal_shift(meta);
    struct journal_index_range range;
    struct journal_segment_list files = {0};
    int result = journal_index_find(ring_journal_fd, meta->identity.ring_id, time_ns, &range);

    if (result == 0)
        result = journal_list_segments(ring_journal_fd, shift, &files);
    if (result < 0)
        return result;
    if (files.count > 0) {
        uint64_t first = journal_segment_start(files.segments[0], shift);
        uint64_t last = journal_segment_start(files.segments[files.count - 1], shift);
        range.from = range.from > first ? range.from : first;
        range.from = journal_segment_of(range.from, shift) > files.segments[files.count - 1] ? last : range.from;
        *ret_position = narrow(ring_journal_fd, meta, &files, &range, time_ns);
    }
    result = files.count > 0 ? 0 : -ENOENT;
    journal_segment_list_free(&files);
    return result;
}
