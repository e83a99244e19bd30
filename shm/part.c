/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Further files in a ring's directory, `group.NAME`: made, opened and removed while the ring is in use. One is made without a
 * name (O_TMPFILE), and gets it when it is complete: killed before, nothing is left; nobody can open half of one.
 */
#include "shm/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool shm_is_part(const char *file)
{
    size_t prefix = strlen(SHM_PART_PREFIX);
    return strncmp(file, SHM_PART_PREFIX, prefix) == 0 && shm_name_check(file + prefix) == 0;
}

struct part_file {
    char text[sizeof SHM_PART_PREFIX + 64];
};

static int part_file(const char *name, struct part_file *ret_file, struct shm_why *why)
{
    int error = shm_name_require(name, why);
    if (!error)
        (void)snprintf(ret_file->text, sizeof ret_file->text, SHM_PART_PREFIX "%s", name);
    return error;
}

/* -- create -------------------------------------------------------------------------------------------------------- */

/* Who may read the ring may write its groups, as `readers`. After fchown, since that may take bits away. */
static int give_readers_rights(int dir_fd, int fd, struct shm_why *why)
{
    struct stat readers, made;
    if (fstatat(dir_fd, shm_file_name(SHM_FILE_READERS), &readers, AT_SYMLINK_NOFOLLOW) != 0 || fstat(fd, &made) != 0)
        return shm_fail(why, errno, "cannot ask for the rights of the ring's files: %m");
    if ((readers.st_uid != made.st_uid || readers.st_gid != made.st_gid) &&
        fchown(fd, readers.st_uid, readers.st_gid) != 0)
        return shm_fail(why, errno, "uid %u cannot make a file that belongs to the ring's owner and group: %m",
                        (unsigned)geteuid());
    if (fchmod(fd, readers.st_mode & 0777) != 0)
        return shm_fail(why, errno, "cannot give the rights of the ring's files: %m");
    return 0;
}

static int fill(int fd, uint64_t bytes, void (*format)(void *ctx, void *memory), void *ctx, struct shm_why *why)
{
    int error;
    do {
        error = posix_fallocate(fd, 0, (off_t)bytes);
    } while (error == EINTR);
    struct shm_amount amount;
    if (error == ENOSPC)
        return shm_fail(why, ENOMEM, "no room for %s on the bus", shm_amount_of(bytes, &amount));
    if (error)
        return shm_fail(why, error, "cannot allocate %s: %m", shm_amount_of(bytes, &amount));
    void *memory = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (memory == MAP_FAILED)
        return shm_fail(why, errno, "cannot map %s: %m", shm_amount_of(bytes, &amount));
    format(ctx, memory);
    (void)munmap(memory, (size_t)bytes);
    return 0;
}

/* By /proc: a descriptor alone may be linked by the privileged only. */
static int give_name(int dir_fd, int fd, const char *file, struct shm_why *why)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, path, dir_fd, file, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    if (errno == EEXIST)
        return shm_fail(why, EEXIST, "there is a %s already", file);
    return shm_fail(why, errno, "cannot give %s its name: %m", file);
}

int shm_part_create(int dir_fd, const char *name, uint64_t bytes, void (*format)(void *ctx, void *memory), void *ctx,
                    struct shm_why *why)
{
    struct part_file file;
    int error = part_file(name, &file, why);
    if (error)
        return error;
    if (faccessat(dir_fd, file.text, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return shm_fail(why, EEXIST, "there is a %s already", file.text);
    int fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return shm_fail(why, errno, "uid %u may not make a file in the ring's directory: %m", (unsigned)geteuid());
    error = fill(fd, bytes, format, ctx, why);
    if (!error)
        error = give_readers_rights(dir_fd, fd, why);
    shm_point("part: complete");
    if (!error)
        error = give_name(dir_fd, fd, file.text, why);
    (void)close(fd);
    return error;
}

/* -- open ----------------------------------------------------------------------------------------------------------- */

/* Without holes, and not too large to be mapped: see measure() in attach.c. */
static int map(int fd, bool writable, const char *file, struct shm_part *ret_part, struct shm_why *why)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return shm_fail(why, errno, "cannot look at %s: %m", file);
    if (!S_ISREG(status.st_mode) || status.st_size <= 0 || status.st_size > INT32_MAX ||
        (uint64_t)status.st_blocks < ((uint64_t)status.st_size + 511) / 512)
        return shm_fail(why, EMEDIUMTYPE, "%s is no regular file, or is not whole. Remove it, and make it again", file);
    size_t bytes = (size_t)status.st_size;
    void *memory = mmap(NULL, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (memory == MAP_FAILED)
        return shm_fail(why, errno, "cannot map %s: %m", file);
    *ret_part = (struct shm_part){memory, bytes, status.st_dev, status.st_ino};
    return 0;
}

int shm_part_open(int dir_fd, const char *name, bool writable, struct shm_part *ret_part, struct shm_why *why)
{
    struct part_file file;
    int error = part_file(name, &file, why);
    if (error)
        return error;
    int fd = openat(dir_fd, file.text, (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        bool other_kind = errno == ELOOP || errno == EISDIR || errno == ENXIO || errno == ENODEV;
        if (errno == ENOENT)
            return shm_fail(why, ENOENT, "there is no %s", file.text);
        return shm_fail(why, other_kind ? EMEDIUMTYPE : errno, "uid %u cannot open %s: %m", (unsigned)geteuid(),
                        file.text);
    }
    error = map(fd, writable, file.text, ret_part, why);
    (void)close(fd);
    return error;
}

void shm_part_close(struct shm_part *part)
{
    if (part->memory)
        (void)munmap(part->memory, part->bytes);
    *part = (struct shm_part){0};
}

bool shm_part_is_named(int dir_fd, const char *name, const struct shm_part *part)
{
    struct part_file file;
    struct stat status;
    return part_file(name, &file, NULL) == 0 && fstatat(dir_fd, file.text, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           status.st_dev == part->device && status.st_ino == part->inode;
}

/* -- list and remove ------------------------------------------------------------------------------------------------- */

int shm_part_remove(int dir_fd, const char *name, struct shm_why *why)
{
    struct part_file file;
    int error = part_file(name, &file, why);
    if (!error && unlinkat(dir_fd, file.text, 0) != 0)
        error = shm_fail(why, errno, "uid %u cannot remove %s: %m", (unsigned)geteuid(), file.text);
    return error;
}

int shm_part_list(int dir_fd, int (*callback)(void *ctx, const char *name), void *ctx)
{
    DIR *listing = shm_open_listing(dir_fd);
    if (!listing)
        return -errno;
    int r = 0;
    const struct dirent *entry;
    while (r == 0 && (entry = readdir(listing))) {
        if (shm_is_part(entry->d_name))
            r = callback(ctx, entry->d_name + strlen(SHM_PART_PREFIX));
    }
    (void)closedir(listing);
    return r;
}
