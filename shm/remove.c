/* SPDX-License-Identifier: Apache-2.0 */
/* Taking a ring away, and sweeping up after those who died while they made one or took one away. */
#include "shm/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- Removal ------------------------------------------------------------------------------------------------------ */

static bool is_ring_file(int dir_fd, const char *name)
{
    struct stat status;
    if (fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode))
        return false;
    for (enum shm_file file = 0; file < SHM_FILE_COUNT; file++) {
        if (strcmp(name, shm_file_name(file)) == 0)
            return true;
    }
    return shm_is_part(name);
}

/* A directory that holds anything else was not made by weir, and is not weir's to remove. A damaged ring is. */
static int check_only_ring_files(int dir_fd, const char *path, struct shm_why *why)
{
    DIR *listing = shm_open_listing(dir_fd);
    if (!listing)
        return shm_fail(why, errno, "cannot list %s: %m", path);
    int error = 0;
    const struct dirent *entry;
    while (!error && (entry = readdir(listing))) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !is_ring_file(dir_fd, name))
            error = shm_fail(why, EMEDIUMTYPE,
                             "%s holds '%.64s', which is no part of a ring: nothing was removed. "
                             "Look at it, and remove it by hand",
                             path, name);
    }
    (void)closedir(listing);
    return error;
}

static int open_to_remove(int bus_fd, const char *name, const char *path, struct shm_why *why)
{
    int dir_fd = shm_open_directory(bus_fd, name);
    switch (dir_fd) {
    case -ENOENT:
        return shm_fail(why, ENOENT, "there is no ring %s", path);
    case -ENOTDIR:
    case -ELOOP:
        return shm_fail(why, EMEDIUMTYPE,
                        "%s is not a ring, for it is not a directory. Look at it, and remove it by hand", path);
    case -EACCES:
        return shm_fail(why, EACCES, "uid %u may not remove the ring %s: only its owner and root may",
                        (unsigned)geteuid(), path);
    default:
        return dir_fd >= 0 ? dir_fd : shm_fail(why, -dir_fd, "cannot open %s: %m", path);
    }
}

/* Gives it a name that no ring can have. */
static int put_aside(int bus_fd, const char *name, const char *path, struct shm_temp_name *ret_aside,
                     struct shm_why *why)
{
    int error = shm_make_temp_name(SHM_OLD_PREFIX, ret_aside);
    if (error)
        return shm_fail(why, -error, "cannot get random bytes for a name: %m");
    if (renameat2(bus_fd, name, bus_fd, ret_aside->text, RENAME_NOREPLACE) != 0)
        return shm_fail(why, errno, "cannot remove the ring %s: its bus does not let uid %u rename it: %m", path,
                        (unsigned)geteuid());
    return 0;
}

int shm_remove(int bus_fd, const char *name, struct shm_why *why)
{
    return shm_remove_telling(bus_fd, name, NULL, NULL, why);
}

int shm_remove_telling(int bus_fd, const char *name, void (*gone)(void *ctx, int dir_fd), void *ctx,
                       struct shm_why *why)
{
    int error = shm_name_require(name, why);
    if (error)
        return error;
    struct shm_place bus;
    char path[384];
    (void)snprintf(path, sizeof(path), "%s/%s", shm_place_of(bus_fd, &bus), name);

    int dir_fd = open_to_remove(bus_fd, name, path, why);
    if (dir_fd < 0)
        return dir_fd;
    error = check_only_ring_files(dir_fd, path, why);
    /* Asked before its name is gone: half a removal would be left for nobody to finish. */
    if (!error && faccessat(dir_fd, ".", W_OK | X_OK, AT_EACCESS) != 0)
        error = shm_fail(why, errno, "uid %u may not remove the files of the ring %s: only its owner and root may",
                         (unsigned)geteuid(), path);
    struct shm_temp_name aside;
    if (!error)
        error = put_aside(bus_fd, name, path, &aside, why);
    if (!error) {
        shm_point("remove: name gone");
        if (gone)
            gone(ctx, dir_fd);
        error = shm_remove_directory(bus_fd, aside.text, dir_fd);
        if (error)
            (void)shm_fail(why, -error, "the ring %s is gone, but files are left in %s/%s: %m. Remove that directory",
                           path, bus.text, aside.text);
    }
    (void)close(dir_fd);
    return error;
}

/* -- Sweep -------------------------------------------------------------------------------------------------------- */

/*
 * Who holds byte 0 of a .new- directory's `locks` has the right to it: its builder, or whoever sweeps it after the
 * builder's death.
 * 1. A builder holds the lock until the directory has its final name. So whoever gets the lock and *then* finds the
 *    directory still under its .new- name knows that the builder is dead and nobody else will come.
 * 2. A builder that got its lock too late finds `locks` unlinked, or the directory gone, and starts again elsewhere.
 * 3. `locks` is made first and removed last; without it the directory is empty, and is removed if it still is then.
 * This descriptor is not in the list for fork: a child that inherited it could at worst keep a left-over from being swept.
 */
static void sweep_new(int bus_fd, const char *name, int dir_fd)
{
    int lock_fd = shm_open_file(dir_fd, SHM_FILE_LOCKS, O_RDWR);
    if (lock_fd == -ENOENT) {
        shm_point("sweep: no lock file");
        (void)unlinkat(bus_fd, name, AT_REMOVEDIR);
        return;
    }
    if (lock_fd < 0)
        return;
    shm_point("sweep: lock file open");
    if (shm_lock(lock_fd, 0) == 0 && shm_is_named(bus_fd, name, dir_fd)) {
        shm_point("sweep: locked");
        (void)shm_remove_directory(bus_fd, name, dir_fd);
    }
    (void)close(lock_fd);
}

static void sweep_entry(int bus_fd, const char *name)
{
    bool is_new = strncmp(name, SHM_NEW_PREFIX, strlen(SHM_NEW_PREFIX)) == 0;
    bool is_old = strncmp(name, SHM_OLD_PREFIX, strlen(SHM_OLD_PREFIX)) == 0;
    if (!is_new && !is_old)
        return;
    int dir_fd = shm_open_directory(bus_fd, name);
    if (dir_fd < 0)
        return;
    if (is_new)
        sweep_new(bus_fd, name, dir_fd);
    else
        (void)shm_remove_directory(bus_fd, name, dir_fd); /* nobody gives it back its name */
    (void)close(dir_fd);
}

void shm_sweep(int bus_fd)
{
    DIR *listing = shm_open_listing(bus_fd);
    if (!listing)
        return; /* a bus that I may not list: somebody else's to sweep */
    const struct dirent *entry;
    while ((entry = readdir(listing)))
        sweep_entry(bus_fd, entry->d_name);
    (void)closedir(listing);
}
