/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 1. A spare that was a segment's file has that one's header until the first write to it, and its names reach the disk when
 *    they like: after power loss any of the names that it had may stand on it, with either header. So a header counts where
 *    it tells the segment that the name tells, and there alone.
 * 2. What stands behind the header may be anything: records of another segment do not check in this one.
 * 3. A spare that somebody still reads (who holds a read lock on it) is not written to, but removed: so a reader in a segment
 *    that expires reads it to its end.
 * 4. Spares serve speed alone. What goes wrong with one ends nothing; the file is removed, and does without.
 */
#include "journal/spare.h"

#include <errno.h>
#include <stdio.h>

#include "journal/io.h"
#include "journal/writer.h"

#define NAME_BYTES 23
#define SUFFIX ".spare"
/* Made ahead: so much, at least one file. Kept of what expires: so much. */
#define MADE_BYTES (1u << 20)
#define KEPT_BYTES (64u << 20)

static uint32_t count_for(const struct journal_writer *writer, uint64_t bytes)
{
    uint64_t count = bytes >> journal_shift(&writer->meta);

    if (count == 0)
        return 1;
    return count < JOURNAL_SPARES_MAX ? (uint32_t)count : JOURNAL_SPARES_MAX;
}

static void spare_name(uint64_t number, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "%016llx" SUFFIX, (unsigned long long)number);
}

/* -- Which there are -------------------------------------------------------------------------------------- */

bool journal_spare_number(const char *name, uint64_t *ret_number)
{
    return journal_numbered(name, SUFFIX, ret_number);
}

static int list_one(void *ctx, const char *name)
{
    struct journal_spares *spares = ctx;
    uint64_t number;

    if (!journal_spare_number(name, &number))
        return 0;
    spares->next = number >= spares->next ? number + 1 : spares->next;
    if (spares->count < JOURNAL_SPARES_MAX)
        spares->numbers[spares->count++] = number;
    return 0;
}

static bool list(struct journal_writer *writer)
{
    struct journal_spares *spares = &writer->spares;

    if (!spares->listed)
        spares->listed = jio_list(writer->folder_fd, list_one, spares) == 0;
    return spares->listed;
}

void journal_spare_list(struct journal_writer *writer)
{
    list(writer);
}

uint32_t journal_spares(const struct journal_writer *writer)
{
    return writer->spares.count;
}

static int drop(struct journal_writer *writer, const char *name)
{
    int result = jio_unlink(writer->folder_fd, name);

    if (result == 0)
        journal_room_give(writer);
    return result;
}

void journal_keep_spares(struct journal_writer *writer, bool keep)
{
    struct journal_spares *spares = &writer->spares;
    char name[NAME_BYTES];

    spares->unwanted = !keep;
    spares->given_up = false;
    while (!keep && spares->count > 0) {
        spare_name(spares->numbers[--spares->count], name);
        drop(writer, name);
    }
}

/* -- Taking one ------------------------------------------------------------------------------------------- */

static int check_free(int fd, uint64_t file_bytes)
{
    struct stat st;
    int result = jio_is_held(fd); /* clause 3 */

    if (result == 0)
        result = jio_stat(fd, &st);
    if (result != 0)
        return result < 0 ? result : -EBUSY;
    return (uint64_t)st.st_size == file_bytes ? 0 : -EBADMSG;
}

static int take_one(struct journal_writer *writer, const char *name, uint64_t segment)
{
    char segment_name[JOURNAL_SEGMENT_NAME_BYTES];
    int fd = journal_file_open(writer->folder_fd, name, true);
    if (fd < 0) {
        drop(writer, name);
        return fd;
    }

    journal_segment_name(segment, segment_name);
    int result = check_free(fd, journal_segment_file_bytes(&writer->meta));
    if (result == 0)
        result = jio_rename(writer->folder_fd, name, writer->folder_fd, segment_name);
    if (result < 0) {
        drop(writer, name);
        jio_close(fd);
        return result;
    }
    return fd;
}

int journal_spare_take(struct journal_writer *writer, uint64_t segment, struct journal_segment_file *ret_file)
{
    struct journal_spares *spares = &writer->spares;
    char name[NAME_BYTES];

    list(writer);
    while (spares->count > 0) {
        spare_name(spares->numbers[--spares->count], name);
        int fd = take_one(writer, name, segment);
        if (fd < 0)
            continue;
        bool direct = jio_set_direct(fd, true) == 0;
        *ret_file = (struct journal_segment_file){.fd = fd,
                                                  .direct = direct,
                                                  .flies = direct && journal_segment_flies(fd, &writer->meta),
                                                  .header_due = true,
                                                  .nothing_kept = true};
        return 0;
    }
    return -ENOENT;
}

/* -- Making one ------------------------------------------------------------------------------------------- */

static int write_spare(struct journal_writer *writer, int fd)
{
    uint64_t bytes = journal_segment_file_bytes(&writer->meta);
    int result = jio_allocate(fd, 0, bytes);

    if (result < 0 && result != -EOPNOTSUPP && result != -ENOSYS)
        return result;
    jio_set_direct(fd, true);
    result = journal_write_zeros(fd, 0, bytes);
    return result < 0 ? result : jio_sync_data(fd);
}

static int make_one(struct journal_writer *writer, const char *name)
{
    struct journal_rights rights = journal_rights_of(&writer->meta);
    int fd = journal_file_make(writer->folder_fd, name, &rights);
    int result = fd < 0 ? fd : write_spare(writer, fd);

    jio_close(fd);
    if (result < 0)
        jio_unlink(writer->folder_fd, name);
    return result;
}

int journal_prepare(struct journal_writer *writer)
{
    struct journal_spares *spares = &writer->spares;
    char name[NAME_BYTES];

    if (writer->error < 0)
        return writer->error;
    if (writer->file_count == 0 || spares->given_up || spares->unwanted)
        return 0;
    if (!list(writer)) {
        spares->given_up = true; /* there may be more, of any number */
        return 0;
    }
    if (spares->count >= count_for(writer, MADE_BYTES))
        return 0;
    int result = journal_room_take(writer, JOURNAL_ROOM_SPARE);
    if (result == 0) {
        spare_name(spares->next, name);
        result = make_one(writer, name);
        journal_room_settle(writer, result == 0);
    }
    spares->given_up = result < 0;
    if (result < 0)
        return 0;
    spares->numbers[spares->count++] = spares->next++;
    return 1;
}

/* -- Keeping what expires --------------------------------------------------------------------------------- */

int journal_spare_keep(struct journal_writer *writer, uint64_t segment)
{
    struct journal_spares *spares = &writer->spares;
    char name[NAME_BYTES], segment_name[JOURNAL_SEGMENT_NAME_BYTES];

    if (spares->unwanted || !list(writer) || spares->count >= count_for(writer, KEPT_BYTES))
        return -EBUSY;
    journal_segment_name(segment, segment_name);
    spare_name(spares->next, name);
    int result = jio_rename(writer->folder_fd, segment_name, writer->folder_fd, name);
    if (result < 0)
        return result;
    spares->numbers[spares->count++] = spares->next++;
    return 0;
}
