/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's system calls, with their hooks for tests. */
#include "journal/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#ifdef WEIR_TESTING

const struct jio_hooks *jio_hooks;

static int64_t ask(const struct jio_event *event)
{
    return jio_hooks && jio_hooks->before ? jio_hooks->before(jio_hooks->ctx, event) : 0;
}

static void tell(const struct jio_event *event, int64_t result)
{
    if (jio_hooks && jio_hooks->after)
        jio_hooks->after(jio_hooks->ctx, event, result);
}

/* `expression` is the system call; `amount` in it is how much to read or write. */
#define CALL(result, amount, expression, ...)                                                                          \
    do {                                                                                                               \
        const struct jio_event event_ = {__VA_ARGS__};                                                                 \
        int64_t answer_ = ask(&event_);                                                                                \
        if (answer_ > 0 && (uint64_t)answer_ < (amount))                                                               \
            (amount) = (uint64_t)answer_;                                                                              \
        (result) = answer_ < 0 ? answer_ : or_errno(expression);                                                       \
        tell(&event_, (result));                                                                                       \
    } while (0)

#else
#define CALL(result, amount, expression, ...) ((result) = or_errno(expression))
#endif

static int64_t or_errno(int64_t result)
{
    return result < 0 ? -errno : result;
}

/* A call that may be interrupted and made again. */
#define CALL_AGAIN(expression, ...)                                                                                    \
    __extension__({                                                                                                    \
        int64_t result_;                                                                                               \
        uint64_t amount_ = 0;                                                                                          \
        (void)amount_;                                                                                                 \
        do                                                                                                             \
            CALL(result_, amount_, (expression), __VA_ARGS__);                                                         \
        while (result_ == -EINTR);                                                                                     \
        (int)result_;                                                                                                  \
    })

/* A call that is made once. */
#define CALL_ONCE(expression, ...)                                                                                     \
    __extension__({                                                                                                    \
        int64_t result_;                                                                                               \
        uint64_t amount_ = 0;                                                                                          \
        (void)amount_;                                                                                                 \
        CALL(result_, amount_, (expression), __VA_ARGS__);                                                             \
        (int)result_;                                                                                                  \
    })

/* -- Descriptors ----------------------------------------------------------------------------------------- */

int jio_open(int dir_fd, const char *name, int flags, mode_t mode)
{
    return CALL_AGAIN(openat(dir_fd, name, flags | O_CLOEXEC, mode), .call = JIO_OPEN, .fd = dir_fd, .name = name);
}

int jio_duplicate(int fd)
{
    return CALL_AGAIN(fcntl(fd, F_DUPFD_CLOEXEC, 0), .call = JIO_DUPLICATE, .fd = fd);
}

void jio_close(int fd)
{
    if (fd < 0)
        return;
#ifdef WEIR_TESTING
    const struct jio_event event = {.call = JIO_CLOSE, .fd = fd};
    (void)ask(&event);
    tell(&event, 0); /* first: behind the close, another thread may get the same descriptor */
#endif
    close(fd);
}

int jio_stat(int fd, struct stat *ret_stat)
{
    return CALL_AGAIN(fstat(fd, ret_stat), .call = JIO_STAT, .fd = fd);
}

int jio_room(int fd, uint64_t *ret_free_bytes, uint64_t *ret_bytes)
{
    struct statvfs room;
    int64_t result;
    uint64_t most = UINT64_MAX;

    do
        CALL(result, most, fstatvfs(fd, &room), .call = JIO_ROOM, .fd = fd);
    while (result == -EINTR);
    if (result < 0)
        return (int)result;
    uint64_t free_bytes = (uint64_t)room.f_bavail * room.f_frsize;
    *ret_free_bytes = free_bytes < most ? free_bytes : most;
    *ret_bytes = (uint64_t)room.f_blocks * room.f_frsize;
    return 0;
}

int jio_set_direct(int fd, bool direct)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    flags = direct ? flags | O_DIRECT : flags & ~O_DIRECT;
    return CALL_AGAIN(fcntl(fd, F_SETFL, flags), .call = JIO_SET_DIRECT, .fd = fd);
}

int jio_lock(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int result = CALL_AGAIN(fcntl(fd, F_OFD_SETLK, &lock), .call = JIO_LOCK, .fd = fd);

    return result == -EAGAIN || result == -EACCES ? -EBUSY : result;
}

int jio_hold(int fd)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

    return CALL_AGAIN(fcntl(fd, F_OFD_SETLK, &lock), .call = JIO_HOLD, .fd = fd);
}

int jio_is_held(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int result = CALL_AGAIN(fcntl(fd, F_OFD_GETLK, &lock), .call = JIO_IS_HELD, .fd = fd);

    return result < 0 ? result : lock.l_type != F_UNLCK;
}

/* -- Bytes ----------------------------------------------------------------------------------------------- */

#define CALL_BYTES_MAX (1u << 30) /* Linux takes a little less than 2 GiB at once */

int64_t jio_read(int fd, void *buffer, uint64_t bytes, uint64_t offset)
{
    uint64_t done = 0;

    while (done < bytes) {
        uint64_t part = bytes - done < CALL_BYTES_MAX ? bytes - done : CALL_BYTES_MAX;
        int64_t result;
        CALL(result, part, pread(fd, (char *)buffer + done, part, (off_t)(offset + done)), .call = JIO_READ, .fd = fd,
             .offset = offset + done, .bytes = part);
        if (result == -EINTR)
            continue;
        if (result < 0)
            return result;
        if (result == 0)
            break;
        done += (uint64_t)result;
    }
    return (int64_t)done;
}

int jio_write(int fd, const void *data, uint64_t bytes, uint64_t offset)
{
    uint64_t done = 0;

    while (done < bytes) {
        uint64_t part = bytes - done < CALL_BYTES_MAX ? bytes - done : CALL_BYTES_MAX;
        const char *from = (const char *)data + done;
        int64_t result;
        CALL(result, part, pwrite(fd, from, part, (off_t)(offset + done)), .call = JIO_WRITE, .fd = fd, .data = from,
             .offset = offset + done, .bytes = part);
        if (result == -EINTR)
            continue;
        if (result < 0)
            return (int)result;
        if (result == 0)
            return -EIO;
        done += (uint64_t)result;
    }
    return 0;
}

int jio_allocate(int fd, uint64_t offset, uint64_t bytes)
{
    return CALL_AGAIN(fallocate(fd, 0, (off_t)offset, (off_t)bytes), .call = JIO_ALLOCATE, .fd = fd, .offset = offset,
                      .bytes = bytes);
}

/*
 * inode_dio_wait() in the fallocate of ext4, xfs and f2fs; btrfs waits for its ordered extents; on tmpfs a process does
 * not end before its writes have.
 */
int jio_allocate_waits(int fd)
{
    struct statfs system = {0};
    int result = CALL_AGAIN(fstatfs(fd, &system), .call = JIO_STAT, .fd = fd);

    if (result < 0)
        return result;
    switch ((uint32_t)system.f_type) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
        return 1;
    default:
        return 0;
    }
}

int jio_start_writing(int fd, uint64_t offset, uint64_t bytes)
{
    return CALL_AGAIN(sync_file_range(fd, (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE),
                      .call = JIO_START_WRITING, .fd = fd, .offset = offset, .bytes = bytes);
}

void jio_will_need(int fd)
{
    posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
}

int jio_sync(int fd)
{
    return CALL_ONCE(fsync(fd), .call = JIO_SYNC, .fd = fd);
}

int jio_sync_data(int fd)
{
    return CALL_ONCE(fdatasync(fd), .call = JIO_SYNC_DATA, .fd = fd);
}

/* -- Names ----------------------------------------------------------------------------------------------- */

int jio_rename(int from_dir_fd, const char *from, int to_dir_fd, const char *to)
{
    return CALL_AGAIN(renameat(from_dir_fd, from, to_dir_fd, to), .call = JIO_RENAME, .fd = from_dir_fd, .name = from,
                      .to_fd = to_dir_fd, .to_name = to);
}

int jio_unlink(int dir_fd, const char *name)
{
    return CALL_AGAIN(unlinkat(dir_fd, name, 0), .call = JIO_UNLINK, .fd = dir_fd, .name = name);
}

int jio_make_directory(int dir_fd, const char *name, mode_t mode)
{
    return CALL_AGAIN(mkdirat(dir_fd, name, mode), .call = JIO_MAKE_DIRECTORY, .fd = dir_fd, .name = name);
}

int jio_remove_directory(int dir_fd, const char *name)
{
    return CALL_AGAIN(unlinkat(dir_fd, name, AT_REMOVEDIR), .call = JIO_REMOVE_DIRECTORY, .fd = dir_fd, .name = name);
}

int jio_set_owner(int fd, uid_t uid, gid_t gid)
{
    return CALL_AGAIN(fchown(fd, uid, gid), .call = JIO_SET_OWNER, .fd = fd);
}

int jio_set_mode(int fd, mode_t mode)
{
    return CALL_AGAIN(fchmod(fd, mode), .call = JIO_SET_MODE, .fd = fd);
}

/* readdir() tells its errors apart from the end by errno alone. A listing is one call to the hooks, made at its end. */
static int list_entries(DIR *directory, int (*callback)(void *ctx, const char *name), void *ctx)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        int error = errno;
        if (!entry)
            return CALL_ONCE((errno = error) == 0 ? 0 : -1, .call = JIO_LIST, .fd = dirfd(directory));
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int result = callback(ctx, entry->d_name);
        if (result != 0)
            return result;
    }
}

int jio_list(int dir_fd, int (*callback)(void *ctx, const char *name), void *ctx)
{
    /* An open description of its own: the place in the directory is part of it. */
    int fd = jio_open(dir_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;

    DIR *directory = fdopendir(fd);
    if (!directory) {
        int error = -errno;
        jio_close(fd);
        return error;
    }
    int result = list_entries(directory, callback, ctx);
    closedir(directory);
    return result;
}
