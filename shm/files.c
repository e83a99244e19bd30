/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a ring's directory, opened and removed with care: who can write the bus can put anything there.
 */
#include "shm/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

const char *shm_file_name(enum shm_file file)
{
    static const char *const names[SHM_FILE_COUNT] = {
        [SHM_FILE_CONTROL] = "control", [SHM_FILE_READERS] = "readers",
        [SHM_FILE_DATA] = "data",       [SHM_FILE_READER_LOCKS] = "locks.readers",
        [SHM_FILE_JOURNAL] = "journal", [SHM_FILE_LOCKS] = "locks",
    };
    return names[file];
}

/* Random, since a pid says nothing across the pid namespaces that may share a bus. */
int shm_make_temp_name(const char *prefix, struct shm_temp_name *ret_name)
{
    uint64_t random;
    ssize_t got;
    do {
        got = getrandom(&random, sizeof(random), 0);
    } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof(random))
        return got < 0 ? -errno : -EIO;
    (void)snprintf(ret_name->text, sizeof(ret_name->text), "%s%016" PRIx64, prefix, random);
    return 0;
}

int shm_open_directory(int bus_fd, const char *name)
{
    int fd = openat(bus_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* O_NONBLOCK: a pipe opens at once. ELOOP: a symbolic link; ENXIO: a socket or a pipe that nobody reads. */
int shm_open_file(int dir_fd, enum shm_file file, int flags)
{
    int fd = openat(dir_fd, shm_file_name(file), flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    if (fd < 0 && errno == ELOOP && file == SHM_FILE_DATA)
        return shm_huge_open(dir_fd, flags);
    if (fd < 0) {
        bool other_kind = errno == ELOOP || errno == EISDIR || errno == ENXIO || errno == ENODEV;
        return other_kind ? -EMEDIUMTYPE : -errno;
    }
    struct stat status;
    int error = 0;
    if (fstat(fd, &status) != 0)
        error = -errno;
    else if (!S_ISREG(status.st_mode))
        error = -EMEDIUMTYPE;
    if (error) {
        (void)close(fd);
        return error;
    }
    return fd;
}

bool shm_is_named(int bus_fd, const char *name, int dir_fd)
{
    struct stat named, opened;
    return fstatat(bus_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(dir_fd, &opened) == 0 &&
           named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

DIR *shm_open_listing(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    DIR *listing = fdopendir(fd);
    if (!listing) {
        int error = errno;
        (void)close(fd);
        errno = error;
    }
    return listing;
}

/* What is made behind this look keeps the directory, as one that is left over: who sweeps finds it. */
static void remove_parts(int dir_fd)
{
    DIR *listing = shm_open_listing(dir_fd);
    const struct dirent *entry;
    while (listing && (entry = readdir(listing))) {
        if (shm_is_part(entry->d_name))
            (void)unlinkat(dir_fd, entry->d_name, 0);
    }
    if (listing)
        (void)closedir(listing);
}

/* Another process may be at it too: what is gone already is no error. */
int shm_remove_directory(int bus_fd, const char *name, int dir_fd)
{
    int error = shm_huge_remove(dir_fd);
    if (error) /* the link stays, for whoever comes next and may */
        return error;
    shm_point("remove: huge pages given back");
    remove_parts(dir_fd);
    for (enum shm_file file = 0; file < SHM_FILE_COUNT; file++) {
        if (unlinkat(dir_fd, shm_file_name(file), 0) != 0 && errno != ENOENT && !error)
            error = -errno;
        shm_point("remove: file unlinked");
    }
    if (unlinkat(bus_fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT && !error)
        error = -errno;
    return error;
}
