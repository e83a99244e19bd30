/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `data` on hugetlbfs: a file MOUNT/weir-XXXXXXXXXXXXXXXX, and in the ring's directory the symbolic link `data` to it.
 *
 * The link is made before the file, and removed after it. So whatever a death leaves, a link in a .new- or .old-
 * directory leads to it, and goes the way of that directory (remove.c).
 *
 * The link is untrusted, like everything on a bus: who has a directory there may point it at any file. So it is never
 * followed as such. Only a file is opened or removed that lies on hugetlbfs, has a name that weir gives, and belongs to
 * the owner of the ring's directory; or, for removal, whose link lies in a directory that I alone may write, since then
 * it was I who made it (a builder that died between giving away the file and giving away the directory).
 */
#include "shm/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define HUGE_PREFIX "weir-"
#define HUGE_NAME_CHARACTERS (sizeof(HUGE_PREFIX) - 1 + 16)

/* -- Where pages are to be had ------------------------------------------------------------------------------------ */

struct huge_mount {
    char path[PATH_MAX];
    uint64_t page_bytes;
};

static bool is_hugetlbfs(const struct statfs *status)
{
    return (unsigned long)status->f_type == HUGETLBFS_MAGIC;
}

/* The one of the smallest pages, at most `most` bytes, among those that I may make files on. */
static bool find_mount(uint64_t most, struct huge_mount *ret_mount)
{
    struct mntent entry;
    char line[2 * PATH_MAX];
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    bool found = false;
    while (mounts && getmntent_r(mounts, &entry, line, sizeof(line))) {
        struct statfs status;
        if (strcmp(entry.mnt_type, "hugetlbfs") != 0 || statfs(entry.mnt_dir, &status) != 0 || !is_hugetlbfs(&status))
            continue;
        uint64_t page = (uint64_t)status.f_bsize;
        if (page > most || (found && page >= ret_mount->page_bytes) || strlen(entry.mnt_dir) >= PATH_MAX - 64 ||
            faccessat(AT_FDCWD, entry.mnt_dir, W_OK | X_OK, AT_EACCESS) != 0)
            continue;
        (void)snprintf(ret_mount->path, sizeof(ret_mount->path), "%s", entry.mnt_dir);
        ret_mount->page_bytes = page;
        found = true;
    }
    if (mounts)
        (void)endmntent(mounts);
    return found;
}

static int no_mount(struct shm_why *why)
{
    return shm_fail(
        why, EOPNOTSUPP,
        "no huge pages: uid %u may make files on no hugetlbfs with pages that a segment can hold. Root mounts "
        "one (mount -t hugetlbfs -o mode=1777 none /dev/hugepages) and fills it (echo N > "
        "/proc/sys/vm/nr_hugepages)",
        (unsigned)geteuid());
}

int shm_huge_page_bytes(enum shm_huge huge, uint64_t most, uint64_t *ret_bytes, struct shm_why *why)
{
    struct huge_mount mount;
    switch (huge) {
    case SHM_HUGE_PAGES:
        if (!find_mount(most, &mount))
            return no_mount(why);
        *ret_bytes = mount.page_bytes;
        return 0;
    case SHM_HUGE_TRANSPARENT:
        if (!shm_read_number("/sys/kernel/mm/transparent_hugepage", "hpage_pmd_size", ret_bytes))
            return shm_fail(why, EOPNOTSUPP, "no transparent huge pages: this kernel has none");
        return 0;
    default:
        *ret_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
        return 0;
    }
}

/* "of 2.0 MiB on node 1, N are needed and F are free": of the machine's pool, or of one node's. */
int shm_huge_lost(const struct shm_create *create, struct shm_why *why)
{
    struct huge_mount mount;
    if (!find_mount(create->sizes.data_bytes, &mount))
        return no_mount(why);
    uint64_t needed = create->sizes.data_bytes / mount.page_bytes, there = 0, unused = 0, promised = 0;
    char node[48] = "", pool[128];
    if (create->set_node)
        (void)snprintf(node, sizeof(node), "/devices/system/node/node%u", create->node);
    (void)snprintf(pool, sizeof(pool), "/sys%s/hugepages/hugepages-%" PRIu64 "kB",
                   create->set_node ? node : "/kernel/mm", mount.page_bytes / 1024);
    (void)shm_read_number(pool, "nr_hugepages", &there);
    (void)shm_read_number(pool, "free_hugepages", &unused);
    (void)shm_read_number(pool, "resv_hugepages", &promised); /* nodes do not have it */
    unused -= promised < unused ? promised : unused;
    return shm_fail(why, ENOMEM,
                    "too few huge pages for the ring '%s': it needs %" PRIu64 " of %" PRIu64 " KiB, and %" PRIu64
                    " are free (if the mount %s has a size=, that may be less). Root makes more: echo %" PRIu64
                    " > %s/nr_hugepages",
                    create->name, needed, mount.page_bytes / 1024, unused, mount.path,
                    there + (needed > unused ? needed - unused : 0), pool);
}

/* -- Making ------------------------------------------------------------------------------------------------------- */

int shm_huge_make(int dir_fd, uint64_t bytes, struct shm_why *why)
{
    struct huge_mount mount;
    struct shm_temp_name name;
    char path[PATH_MAX + sizeof(name.text)];
    if (!find_mount(bytes, &mount))
        return no_mount(why);
    int error = shm_make_temp_name(HUGE_PREFIX, &name);
    if (error)
        return shm_fail(why, -error, "cannot get random bytes for a name: %m");
    (void)snprintf(path, sizeof(path), "%s/%s", mount.path, name.text);
    if (symlinkat(path, dir_fd, shm_file_name(SHM_FILE_DATA)) != 0)
        return shm_fail(why, errno, "cannot link to %s: %m", path);
    shm_point("create: huge pages linked");
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return shm_fail(why, errno, "cannot make %s: %m", path);
    shm_point("create: huge pages' file made");
    if (ftruncate(fd, (off_t)bytes) != 0) {
        error = errno;
        (void)close(fd);
        if (error == EINVAL)
            return shm_fail(why, EINVAL, "the slots' %" PRIu64 " bytes are not a multiple of a huge page's %" PRIu64,
                            bytes, mount.page_bytes);
        return shm_fail(why, error, "cannot size %s: %m", path);
    }
    return fd;
}

/* -- Following ---------------------------------------------------------------------------------------------------- */

struct target {
    int dir_fd; /* O_PATH, on hugetlbfs */
    char name[HUGE_NAME_CHARACTERS + 1];
};

static bool is_weirs_name(const char *name)
{
    size_t prefix = strlen(HUGE_PREFIX);
    return strlen(name) == HUGE_NAME_CHARACTERS && strncmp(name, HUGE_PREFIX, prefix) == 0 &&
           strspn(name + prefix, "0123456789abcdef") == 16;
}

/* -EINVAL: no symbolic link; -EMEDIUMTYPE: it leads to no place for files of weir's. */
static int find_target(int dir_fd, struct target *ret_target)
{
    char path[PATH_MAX];
    ssize_t length = readlinkat(dir_fd, shm_file_name(SHM_FILE_DATA), path, sizeof(path));
    if (length < 0)
        return -errno;
    if (length == (ssize_t)sizeof(path))
        return -EMEDIUMTYPE;
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    if (path[0] != '/' || slash == path || !is_weirs_name(slash + 1))
        return -EMEDIUMTYPE;
    memcpy(ret_target->name, slash + 1, sizeof(ret_target->name)); /* its length was checked */
    *slash = '\0';
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ENOENT : -EMEDIUMTYPE;
    struct statfs status;
    if (fstatfs(fd, &status) != 0 || !is_hugetlbfs(&status)) {
        (void)close(fd);
        return -EMEDIUMTYPE;
    }
    ret_target->dir_fd = fd;
    return 0;
}

static bool same_owner(int dir_fd, const struct stat *file)
{
    struct stat directory;
    return fstat(dir_fd, &directory) == 0 && directory.st_uid == file->st_uid;
}

int shm_huge_open(int dir_fd, int flags)
{
    struct target target = {.dir_fd = -1};
    int error = find_target(dir_fd, &target);
    if (error)
        return error == -EINVAL ? -EMEDIUMTYPE : error;
    int fd = openat(target.dir_fd, target.name, (flags & O_ACCMODE) | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    error = fd < 0 ? -errno : 0;
    (void)close(target.dir_fd);
    if (fd < 0)
        return error == -ELOOP || error == -EISDIR || error == -ENXIO ? -EMEDIUMTYPE : error;
    struct stat status;
    struct statfs system;
    if (fstat(fd, &status) != 0 || fstatfs(fd, &system) != 0)
        error = -errno;
    else if (!S_ISREG(status.st_mode) || !is_hugetlbfs(&system) || !same_owner(dir_fd, &status))
        error = -EMEDIUMTYPE;
    if (!error)
        return fd;
    (void)close(fd);
    return error;
}

static bool is_mine_alone(int dir_fd)
{
    struct stat directory;
    return fstat(dir_fd, &directory) == 0 && directory.st_uid == geteuid() && (directory.st_mode & 0022) == 0;
}

/* What the link has no right to lead to is no part of this ring: it stays, and the link goes. */
int shm_huge_remove(int dir_fd)
{
    struct target target = {.dir_fd = -1};
    struct stat file;
    if (find_target(dir_fd, &target) != 0)
        return 0;
    int error = 0;
    if (fstatat(target.dir_fd, target.name, &file, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(file.st_mode) &&
        (same_owner(dir_fd, &file) || is_mine_alone(dir_fd)) && unlinkat(target.dir_fd, target.name, 0) != 0 &&
        errno != ENOENT)
        error = -errno;
    (void)close(target.dir_fd);
    return error;
}
