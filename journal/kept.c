/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/kept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal/io.h"
#include "journal/segment.h"
#include "journal/spare.h"
#include "journal/writer.h"

void journal_kept_free(struct journal_kept *kept)
{
    free(kept->segments);
    *kept = (struct journal_kept){0};
}

int journal_kept_list(struct journal_writer *writer)
{
    struct journal_segment_list list;

    if (writer->kept.listed)
        return 0;
    int result = journal_list_segments(writer->folder_fd, journal_shift(&writer->meta), &list);
    if (result < 0)
        return result;
    writer->kept =
        (struct journal_kept){.segments = list.segments, .count = list.count, .room = list.count, .listed = true};
    return 0;
}

static bool make_place(struct journal_kept *kept)
{
    size_t room = kept->room ? 2 * kept->room : 64;

    if (kept->count < kept->room)
        return true;
    uint64_t *segments = realloc(kept->segments, room * sizeof(*segments));
    if (!segments)
        return false;
    kept->segments = segments;
    kept->room = room;
    return true;
}

/* What cannot be followed for want of memory is listed again when it is asked for. */
void journal_kept_add(struct journal_writer *writer, uint64_t segment)
{
    struct journal_kept *kept = &writer->kept;
    size_t at = kept->count;

    if (!kept->listed)
        return;
    while (at > 0 && kept->segments[at - 1] > segment)
        at--;
    if (at > 0 && kept->segments[at - 1] == segment)
        return;
    if (!make_place(kept)) {
        journal_kept_free(kept);
        return;
    }
    memmove(&kept->segments[at + 1], &kept->segments[at], (kept->count - at) * sizeof(kept->segments[0]));
    kept->segments[at] = segment;
    kept->count++;
}

void journal_kept_cut(struct journal_writer *writer, size_t at, size_t count)
{
    struct journal_kept *kept = &writer->kept;

    if (count == 0)
        return;
    memmove(&kept->segments[at], &kept->segments[at + count], (kept->count - at - count) * sizeof(kept->segments[0]));
    kept->count -= count;
}

/* -- Asking ----------------------------------------------------------------------------------------------- */

int journal_segments(struct journal_writer *writer, const uint64_t **ret_segments, size_t *ret_count)
{
    if (writer->error < 0)
        return writer->error;
    int result = journal_kept_list(writer);
    if (result < 0)
        return result;
    *ret_segments = writer->kept.segments;
    *ret_count = writer->kept.count;
    return 0;
}

int journal_segment_created(struct journal_writer *writer, uint64_t segment, uint64_t *ret_created_ns)
{
    struct journal_place place = {writer->meta.identity.ring_id, journal_shift(&writer->meta), segment};
    char name[JOURNAL_SEGMENT_NAME_BYTES];

    journal_segment_name(segment, name);
    int fd = journal_file_open(writer->folder_fd, name, false);
    if (fd < 0)
        return fd;
    int result = journal_segment_read_created(fd, &place, ret_created_ns);
    jio_close(fd);
    return result;
}

/* -- Room ------------------------------------------------------------------------------------------------- */

int journal_set_room(struct journal_writer *writer, const struct journal_room *room, uint64_t *ret_bytes)
{
    int result = journal_kept_list(writer);

    if (result < 0)
        return result;
    journal_spare_list(writer);
    writer->room = *room;
    *ret_bytes = (writer->kept.count + writer->spares.count) * journal_file_bytes(writer);
    return 0;
}

uint64_t journal_file_bytes(const struct journal_writer *writer)
{
    return journal_segment_file_bytes(&writer->meta);
}

static int count_one(void *ctx, const char *name)
{
    uint64_t *count = ctx, number;

    *count += journal_segment_number(name, &number) || journal_spare_number(name, &number);
    return 0;
}

int journal_bytes(int journal_fd, const char *name, uint64_t *ret_bytes)
{
    struct journal_meta meta;
    uint64_t count = 0;
    int folder_fd = journal_folder_open(journal_fd, name);
    if (folder_fd < 0)
        return folder_fd;

    int result = journal_meta_read(folder_fd, &meta);
    if (result == 0)
        result = jio_list(folder_fd, count_one, &count);
    jio_close(folder_fd);
    if (result == 0)
        *ret_bytes = count * journal_segment_file_bytes(&meta);
    return result;
}
