/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a journal without writing to it: what it is, how much of it there is, whether somebody writes it. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal/io.h"
#include "journal/meta.h"
#include "journal/segment.h"

#define SYSTEM_DIRECTORY "/var/lib/weir"
/* What a ring has that was made without options: `meta` alone tells how it was made. */
#define DEFAULT_PUBLISHERS 8u
#define DEFAULT_READERS 16u
#define DEFAULT_NAMES 64u
#define DEFAULT_LIMIT_SEGMENTS 32u

/* -- Where ----------------------------------------------------------------------------------------------- */

static const char *home_directory(void)
{
    const char *home = getenv("HOME");

    if (!home || home[0] != '/') {
        const struct passwd *user = getpwuid(getuid());
        home = user ? user->pw_dir : NULL;
    }
    return home && home[0] == '/' ? home : NULL;
}

int journal_directory_default(char *path, size_t path_bytes)
{
    struct stat st;
    int bytes;

    if (stat(SYSTEM_DIRECTORY, &st) == 0 && S_ISDIR(st.st_mode) && access(SYSTEM_DIRECTORY, R_OK | W_OK | X_OK) == 0) {
        bytes = snprintf(path, path_bytes, SYSTEM_DIRECTORY);
    } else {
        const char *state = getenv("XDG_STATE_HOME"), *home;
        if (state && state[0] == '/')
            bytes = snprintf(path, path_bytes, "%s/weir", state);
        else if ((home = home_directory()) != NULL)
            bytes = snprintf(path, path_bytes, "%s/.local/state/weir", home);
        else
            return -ENOENT;
    }
    return bytes < 0 || (size_t)bytes >= path_bytes ? -ENAMETOOLONG : 0;
}

/* -- Whether somebody writes it -------------------------------------------------------------------------- */

int journal_is_live(int ring_journal_fd)
{
    int fd = journal_file_open(ring_journal_fd, JOURNAL_LOCK_NAME, false);

    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int result = jio_is_held(fd);
    jio_close(fd);
    return result;
}

/* -- What it is, out of the headers of its segments ------------------------------------------------------ */

struct headers {
    struct journal_meta *meta;
    int folder_fd;
    bool any;
};

/* The earliest created is when the ring was, at the latest. */
static void take_header(struct headers *headers, const struct journal_segment_header *header, const struct stat *st)
{
    struct journal_meta *meta = headers->meta;
    uint64_t start = journal_segment_start(header->segment, header->segment_shift + header->segments_shift);
    struct ring_identity *identity = &meta->identity;

    if (!headers->any) {
        memcpy(identity->ring_id, header->ring_id, sizeof(identity->ring_id));
        memcpy(identity->name, header->name, sizeof(identity->name));
        identity->created_ns = header->created_ns;
        meta->geometry.segment_shift = header->segment_shift;
        meta->segments_shift = header->segments_shift;
        meta->mode = 0600 | (st->st_mode & 0044);
        meta->uid = st->st_uid;
        meta->gid = st->st_gid;
        headers->any = true;
    }
    if (memcmp(identity->ring_id, header->ring_id, sizeof(identity->ring_id)) != 0 ||
        meta->geometry.segment_shift != header->segment_shift || meta->segments_shift != header->segments_shift)
        return;
    if (header->created_ns < identity->created_ns)
        identity->created_ns = header->created_ns;
    if (header->epoch > identity->epoch || (header->epoch == identity->epoch && start < identity->start)) {
        identity->epoch = header->epoch;
        identity->start = start;
    }
}

static int read_segment(struct headers *headers, uint64_t segment)
{
    struct journal_segment_header header;
    char name[JOURNAL_SEGMENT_NAME_BYTES];
    struct stat st;

    journal_segment_name(segment, name);
    int fd = journal_file_open(headers->folder_fd, name, false);
    if (fd < 0)
        return journal_may_pass(fd) ? fd : 0;
    int64_t got = jio_read(fd, &header, sizeof(header), 0);
    int result = jio_stat(fd, &st);
    jio_close(fd);
    if (result < 0 || got < (int64_t)sizeof(header) || !journal_segment_header_checks(&header))
        return 0;
    if (header.segment == segment && journal_shifts_check(header.segment_shift, header.segments_shift) &&
        segment <= UINT64_MAX >> (header.segment_shift + header.segments_shift))
        take_header(headers, &header, &st);
    return 0;
}

static int rebuild(int folder_fd, struct journal_meta *ret_meta)
{
    struct journal_meta meta = {.geometry = {.flags = RING_JOURNALED,
                                             .max_publishers = DEFAULT_PUBLISHERS,
                                             .max_readers = DEFAULT_READERS,
                                             .max_producers = DEFAULT_NAMES,
                                             .max_cursors = DEFAULT_NAMES}};
    struct headers headers = {.meta = &meta, .folder_fd = folder_fd};
    struct journal_segment_list files;
    int result = journal_list_segments(folder_fd, RING_SEGMENT_SHIFT_MIN, &files);

    if (result < 0)
        return result;
    for (size_t i = 0; result == 0 && i < files.count; i++)
        result = read_segment(&headers, files.segments[i]);
    journal_segment_list_free(&files);
    if (result < 0)
        return result;
    meta.durable = meta.lease = meta.identity.start;
    meta.geometry.memory_limit_bytes = (uint64_t)DEFAULT_LIMIT_SEGMENTS << meta.geometry.segment_shift;
    if (!headers.any || journal_meta_check(&meta) < 0)
        return -EBADMSG;
    *ret_meta = meta;
    return 0;
}

int journal_look(int ring_journal_fd, struct journal_meta *ret_meta, bool *ret_rebuilt)
{
    int result = journal_meta_read(ring_journal_fd, ret_meta);

    *ret_rebuilt = result < 0;
    if (result != -EBADMSG && result != -EMEDIUMTYPE && result != -ENOENT && result != -EIO)
        return result;
    int rebuilt = rebuild(ring_journal_fd, ret_meta);
    if (rebuilt == -EBADMSG)
        return result == -ENOENT ? -EMEDIUMTYPE : result;
    return rebuilt;
}

/* -- How much ------------------------------------------------------------------------------------------- */

struct measure {
    int folder_fd;
    uint32_t shift;
    struct journal_extent extent;
};

/* A file that goes meanwhile is no error. */
static int measure_one(void *ctx, const char *name)
{
    struct measure *measure = ctx;
    uint64_t number;
    struct stat st;

    int fd = journal_file_open(measure->folder_fd, name, false);
    if (fd < 0 || jio_stat(fd, &st) < 0) {
        jio_close(fd);
        return 0;
    }
    jio_close(fd);
    measure->extent.bytes += (uint64_t)st.st_blocks * 512;
    if (journal_numbered(name, ".spare", &number))
        measure->extent.spare_count++;
    if (!journal_segment_number(name, &number) || number > UINT64_MAX >> measure->shift)
        return 0;
    measure->extent.segment_count++;
    if (number < measure->extent.first_segment)
        measure->extent.first_segment = number;
    return 0;
}

int journal_measure(int ring_journal_fd, uint32_t shift, struct journal_extent *ret_extent)
{
    struct measure measure = {ring_journal_fd, shift, {.first_segment = UINT64_MAX}};
    int result = jio_list(ring_journal_fd, measure_one, &measure);

    if (result == 0)
        *ret_extent = measure.extent;
    return result;
}
