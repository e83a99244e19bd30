/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, making and replacing files of a journal with care. */
#include "journal/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal/io.h"
#include "journal/journal.h"
#include "ringbuf/layout.h"

#define COPY_BYTES (1u << 17)

int journal_name_check(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t length = strnlen(name, RING_NAME_BYTES);

    if (length == RING_NAME_BYTES)
        return -ENAMETOOLONG;
    if (length == 0 || name[0] == '.' || name[strspn(name, allowed)] != '\0')
        return -EILSEQ;
    return 0;
}

int journal_folder_open(int parent_fd, const char *name)
{
    int fd = jio_open(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

    return fd == -ENOTDIR || fd == -ELOOP ? -EMEDIUMTYPE : fd;
}

/* The daemon may run as root and serve the rings of others. Where it does not, giving files away is not its business. */
static int set_owner(int fd, const struct journal_rights *rights)
{
    int result = jio_set_owner(fd, rights->uid, rights->gid);

    return result == -EPERM && geteuid() != 0 ? 0 : result;
}

int journal_folder_set_rights(int folder_fd, const struct journal_rights *rights)
{
    mode_t mode = 0700 | (rights->mode & 0040 ? 0050 : 0) | (rights->mode & 0004 ? 0005 : 0);
    int result = set_owner(folder_fd, rights);

    return result < 0 ? result : jio_set_mode(folder_fd, mode);
}

/*
 * 1. What is opened is a regular file in this very directory: a symbolic link, a pipe or a device is refused without
 *    waiting for it.
 * 2. Root writes only to files whose owner is the directory's, so that the directory's owner cannot have it write to
 *    somebody else's file by a hard link.
 */
static int check_file(int folder_fd, int fd, bool writable)
{
    struct stat file, folder;
    int result = jio_stat(fd, &file);

    if (result < 0)
        return result;
    if (!S_ISREG(file.st_mode))
        return -EMEDIUMTYPE;
    if (!writable || geteuid() != 0)
        return 0;
    result = jio_stat(folder_fd, &folder);
    if (result < 0)
        return result;
    return file.st_uid == folder.st_uid ? 0 : -EPERM;
}

int journal_file_open(int folder_fd, const char *name, bool writable)
{
    int fd = jio_open(folder_fd, name, (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd == -ELOOP || fd == -EISDIR || fd == -ENXIO)
        return -EMEDIUMTYPE;
    if (fd < 0)
        return fd;

    int result = check_file(folder_fd, fd, writable);
    if (result < 0) {
        jio_close(fd);
        return result;
    }
    return fd;
}

int journal_file_make(int folder_fd, const char *name, const struct journal_rights *rights)
{
    int fd = jio_open(folder_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fd;

    int result = set_owner(fd, rights);
    if (result == 0)
        result = jio_set_mode(fd, 0600 | (rights->mode & 0044));
    if (result < 0) {
        jio_unlink(folder_fd, name);
        jio_close(fd);
        return result;
    }
    return fd;
}

int journal_folder_stands(int journal_fd, const char *name, int folder_fd)
{
    struct stat mine, there;
    int fd = journal_folder_open(journal_fd, name);
    if (fd < 0)
        return fd == -EMEDIUMTYPE ? -ENOENT : fd;

    int result = jio_stat(fd, &there);
    if (result == 0)
        result = jio_stat(folder_fd, &mine);
    jio_close(fd);
    if (result != 0)
        return result;
    return mine.st_dev == there.st_dev && mine.st_ino == there.st_ino ? 0 : -ENOENT;
}

int journal_lock_file_open(int folder_fd, const char *name)
{
    struct stat folder;
    int fd = journal_file_open(folder_fd, name, true);

    if (fd != -ENOENT)
        return fd;
    int result = jio_stat(folder_fd, &folder);
    if (result < 0)
        return result;
    struct journal_rights rights = {.uid = folder.st_uid, .gid = folder.st_gid};
    fd = journal_file_make(folder_fd, name, &rights);
    return fd == -EEXIST ? journal_file_open(folder_fd, name, true) : fd;
}

static int check_is_journal(int folder_fd)
{
    int fd = journal_file_open(folder_fd, JOURNAL_META_NAME, false);

    jio_close(fd);
    return fd == -ENOENT ? -EMEDIUMTYPE : fd < 0 ? fd : 0;
}

/*
 * 1. The name is looked at again under the lock: it goes first when a journal is removed, under the same lock.
 * 2. A directory that is no journal gets no file from us.
 */
static int lock_folder(int journal_fd, const char *name, int folder_fd)
{
    int result = check_is_journal(folder_fd);
    if (result == -EMEDIUMTYPE && journal_folder_stands(journal_fd, name, folder_fd) == -ENOENT)
        return -ENOENT;
    if (result < 0)
        return result;
    int fd = journal_lock_file_open(folder_fd, JOURNAL_LOCK_NAME);
    if (fd < 0)
        return fd;
    result = jio_lock(fd);
    if (result == 0)
        result = journal_folder_stands(journal_fd, name, folder_fd);
    if (result < 0) {
        jio_close(fd);
        return result;
    }
    return fd;
}

int journal_folder_lock(int journal_fd, const char *name, int *ret_folder_fd, int *ret_lock_fd)
{
    int folder_fd = journal_folder_open(journal_fd, name);
    if (folder_fd < 0)
        return folder_fd;

    int lock_fd = lock_folder(journal_fd, name, folder_fd);
    if (lock_fd < 0) {
        jio_close(folder_fd);
        return lock_fd;
    }
    *ret_folder_fd = folder_fd;
    *ret_lock_fd = lock_fd;
    return 0;
}

static int write_new(int folder_fd, const char *name, const struct journal_rights *rights, const void *data,
                     uint64_t bytes, bool *ret_sync_failed)
{
    int result = jio_unlink(folder_fd, name); /* a dead one's left-over */
    if (result < 0 && result != -ENOENT)
        return result;
    int fd = journal_file_make(folder_fd, name, rights);
    if (fd < 0)
        return fd;
    result = jio_write(fd, data, bytes, 0);
    if (result == 0) {
        result = jio_sync(fd);
        *ret_sync_failed = result < 0;
    }
    jio_close(fd);
    return result;
}

int journal_file_replace(int folder_fd, const char *name, const struct journal_rights *rights, const void *data,
                         uint64_t bytes, bool *ret_sync_failed)
{
    char new_name[32];

    *ret_sync_failed = false;
    snprintf(new_name, sizeof(new_name), "%s.new", name);
    int result = write_new(folder_fd, new_name, rights, data, bytes, ret_sync_failed);
    if (result == 0)
        result = jio_rename(folder_fd, new_name, folder_fd, name);
    if (result < 0) {
        jio_unlink(folder_fd, new_name);
        return result;
    }
    result = jio_sync(folder_fd);
    *ret_sync_failed = result < 0;
    return result;
}

static int write_over(int fd, uint64_t from, uint64_t to, uint8_t *buffer)
{
    while (from < to) {
        uint64_t bytes = to - from < COPY_BYTES ? to - from : COPY_BYTES;
        int64_t got = jio_read(fd, buffer, bytes, from);
        if (got < 0)
            return (int)got;
        int result = jio_write(fd, buffer, (uint64_t)got, from);
        if (result < 0)
            return result;
        if ((uint64_t)got < bytes)
            break;
        from += bytes;
    }
    return jio_sync_data(fd);
}

int journal_file_secure(int fd, uint64_t from, uint64_t to)
{
    uint8_t *buffer = malloc(COPY_BYTES);
    if (!buffer)
        return -ENOMEM;

    int result = write_over(fd, from, to, buffer);
    free(buffer);
    return result;
}

int journal_file_write_blocks(int fd, const void *data, uint64_t bytes, uint64_t offset)
{
    int result = jio_write(fd, data, bytes, offset);

    if (result == -EINVAL && jio_set_direct(fd, false) == 0)
        result = jio_write(fd, data, bytes, offset);
    return result;
}

int64_t journal_file_read_blocks(int fd, void *buffer, uint64_t bytes, uint64_t offset)
{
    int64_t got = jio_read(fd, buffer, bytes, offset);

    if (got == -EINVAL && jio_set_direct(fd, false) == 0)
        got = jio_read(fd, buffer, bytes, offset);
    return got;
}

bool journal_may_pass(int error)
{
    return error == -ENOSPC || error == -EDQUOT || error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}
