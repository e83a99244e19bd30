/* SPDX-License-Identifier: Apache-2.0 */
/* Names of rings, and the directory that holds them. */
#include "shm/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_CHARACTERS 64

/* Everybody may search a bus: who may use a ring is said by the ring's own files. */
#define BUS_MODE 0755

/* Not isalnum(): that asks the locale. */
static bool is_name_character(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

int shm_name_check(const char *name)
{
    if (!name || !name[0] || name[0] == '.')
        return -EILSEQ;
    size_t length = 0;
    for (; name[length]; length++) {
        if (length == NAME_MAX_CHARACTERS)
            return -ENAMETOOLONG;
        if (!is_name_character(name[length]))
            return -EILSEQ;
    }
    return 0;
}

int shm_name_require(const char *name, struct shm_why *why)
{
    switch (shm_name_check(name)) {
    case 0:
        return 0;
    case -ENAMETOOLONG:
        return shm_fail(why, ENAMETOOLONG, "the name '%.80s...' is too long: at most %d characters", name,
                        NAME_MAX_CHARACTERS);
    default:
        return shm_fail(why, EILSEQ,
                        "'%.80s' is no name: use 1 to %d of the characters A-Z a-z 0-9 . _ - and no dot in front",
                        name ? name : "", NAME_MAX_CHARACTERS);
    }
}

/*
 * A directory that I may search but not list is good enough to attach to the rings in it: O_PATH asks for no right at
 * all, and looking up "." for that of searching.
 */
static int open_searchable(const char *path, int flags)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
    if (fd < 0 && errno == EACCES)
        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | flags);
    if (fd < 0)
        return -errno;
    struct stat status;
    if (fstatat(fd, ".", &status, 0) != 0) {
        int error = -errno;
        (void)close(fd);
        return error;
    }
    return fd;
}

/* Made by me just now: the rights are to be as said, whatever the umask is. */
static int make_directory(const char *path)
{
    if (mkdir(path, BUS_MODE) != 0)
        return errno == EEXIST ? 0 : -errno;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = fchmod(fd, BUS_MODE) == 0 ? 0 : -errno;
    (void)close(fd);
    return error;
}

static int open_given(const char *bus, const char *origin, bool make, struct shm_why *why)
{
    int error = make ? make_directory(bus) : 0;
    if (error < 0)
        return shm_fail(why, -error, "cannot make the bus directory %s%s: %m", bus, origin);
    int fd = open_searchable(bus, 0);
    switch (fd) {
    case -ENOENT:
        return shm_fail(why, ENOENT, "there is no bus directory %s%s: create a ring on it first, or name another", bus,
                        origin);
    case -ENOTDIR:
        return shm_fail(why, ENOTDIR, "the bus %s%s is not a directory: name a directory on tmpfs", bus, origin);
    case -EACCES:
        return shm_fail(why, EACCES,
                        "uid %u may not search the bus directory %s%s: ask its owner for the right (chmod a+x), "
                        "or name another",
                        (unsigned)geteuid(), bus, origin);
    default:
        return fd >= 0 ? fd : shm_fail(why, -fd, "cannot open the bus directory %s%s: %m", bus, origin);
    }
}

/* /dev/shm is everybody's, so anybody can have put something there under this name before me. */
static int check_own(int fd, const char *path, struct shm_why *why)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return shm_fail(why, errno, "cannot look at the bus directory %s: %m", path);
    if (status.st_uid != geteuid())
        return shm_fail(why, EPERM,
                        "the bus directory %s belongs to uid %u, and you are uid %u: it is not safe to use. "
                        "Have it removed, or name another bus in $WEIR_BUS",
                        path, (unsigned)status.st_uid, (unsigned)geteuid());
    if (status.st_mode & (S_IWGRP | S_IWOTH))
        return shm_fail(why, EPERM,
                        "others may write your bus directory %s (mode %04o): it is not safe to use. Run: chmod go-w %s",
                        path, (unsigned)(status.st_mode & 07777), path);
    return 0;
}

static int open_own(const char *path, struct shm_why *why)
{
    int error = make_directory(path);
    if (error < 0)
        return shm_fail(why, -error, "cannot make the bus directory %s: %m. Name another bus in $WEIR_BUS", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
        return shm_fail(why, EPERM,
                        "%s should be your bus directory, but a file or a symbolic link stands there: "
                        "it is not safe to use. Have it removed, or name another bus in $WEIR_BUS",
                        path);
    /* Somebody else's, or one that I closed to myself: the owner tells which. */
    if (fd < 0 && errno == EACCES)
        fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return shm_fail(why, errno, "cannot open your bus directory %s: %m", path);
    error = check_own(fd, path, why);
    struct stat status;
    if (!error && fstatat(fd, ".", &status, 0) != 0)
        error = shm_fail(why, errno, "you may not search your own bus directory %s: run: chmod u+rwx %s", path, path);
    if (error) {
        (void)close(fd);
        return error;
    }
    return fd;
}

/* Outputs are written on success alone, and last. */
static int give(int fd, const char *from, char *path, size_t path_bytes, struct shm_why *why)
{
    if (fd < 0 || !path)
        return fd;
    size_t length = strlen(from);
    if (length >= path_bytes) {
        (void)close(fd);
        return shm_fail(why, ENAMETOOLONG, "the path of the bus, %.200s, is too long: %zu characters", from, length);
    }
    memcpy(path, from, length + 1);
    return fd;
}

int shm_bus_open_default(const struct shm_bus_places *places, char *path, size_t path_bytes, struct shm_why *why)
{
    int fd = open_searchable(places->service, O_NOFOLLOW);
    if (fd >= 0)
        return give(fd, places->service, path, path_bytes, why);
    /* Not there, or not for me: my own. Any other error (no more descriptors) must not lead to another bus. */
    if (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP && fd != -EACCES)
        return shm_fail(why, -fd, "cannot open the bus directory %s: %m", places->service);

    char own[PATH_MAX];
    if (snprintf(own, sizeof(own), "%s/weir-%u", places->memory, (unsigned)geteuid()) >= (int)sizeof(own))
        return shm_fail(why, ENAMETOOLONG, "the path %.100s... is too long for a bus", places->memory);
    return give(open_own(own, why), own, path, path_bytes, why);
}

int shm_bus_open(const char *bus, bool make, char *path, size_t path_bytes, struct shm_why *why)
{
    static const struct shm_bus_places places = {.service = "/run/weir", .memory = "/dev/shm"};
    const char *origin = "";
    if (!bus) {
        bus = secure_getenv("WEIR_BUS");
        origin = " (from $WEIR_BUS)";
        if (!bus || !bus[0])
            return shm_bus_open_default(&places, path, path_bytes, why);
    }
    return give(open_given(bus, origin, make, why), bus, path, path_bytes, why);
}
