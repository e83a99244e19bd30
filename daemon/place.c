/* SPDX-License-Identifier: Apache-2.0 */
/* Finding, making and locking the bus and the journal directory. */
#include "daemon/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "journal/journal.h"

#define PLACE_LOCK_NAME ".weird"
#define PLACE_LOCK_NS 1000000000ull
#define PLACE_LOCK_STEP_NS 10000000
#define PLACE_OWNER_BYTES (PATH_MAX + 64)

/* -- one daemon for a bus, one bus for a journal directory ----------------------------------------------------------- */

/* What the holder wrote, for the second one's message. */
static void place_lock_owner(int fd, char *text, size_t text_bytes)
{
    ssize_t bytes = pread(fd, text, text_bytes - 1, 0);
    if (bytes <= 0) {
        snprintf(text, text_bytes, "a process that has not said who it is yet");
        return;
    }
    text[bytes] = 0;
    text[strcspn(text, "\n")] = 0;
}

static int place_lock_sign(int fd, const char *what, const char *where)
{
    char owner[PLACE_OWNER_BYTES];
    int bytes = snprintf(owner, sizeof owner, "pid %ld, %s %s\n", (long)getpid(), what, where);
    errno = EIO; /* of a short write */
    return ftruncate(fd, 0) < 0 || pwrite(fd, owner, (size_t)bytes, 0) != bytes ? -errno : 0;
}

/* One that was just killed has it a moment more, until the kernel has taken it apart. */
static int place_lock_take(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    uint64_t deadline_ns = shm_now_ns() + PLACE_LOCK_NS;
    while (fcntl(fd, F_OFD_SETLK, &whole) < 0) {
        if (errno != EAGAIN && errno != EACCES)
            return -errno;
        if (shm_now_ns() >= deadline_ns)
            return -EBUSY;
        nanosleep(&(struct timespec){.tv_nsec = PLACE_LOCK_STEP_NS}, NULL);
    }
    return 0;
}

struct place_lock {
    int directory_fd;
    const char *directory;
    const char *what, *where; /* what the holder uses with it: "bus", its path */
    char owner[PLACE_OWNER_BYTES];
};

/* Locks DIRECTORY/.weird. The descriptor, which holds the lock; -EBUSY: somebody has it, and lock->owner says who. */
static int place_lock(const struct place *place, struct place_lock *lock, struct shm_why *why)
{
    const char *directory = lock->directory;
    int fd = openat(lock->directory_fd, PLACE_LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0) {
        int error = errno;
        struct stat st;
        if (error == EACCES && fstatat(lock->directory_fd, PLACE_LOCK_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0)
            shm_explain(why,
                        "cannot open %s/" PLACE_LOCK_NAME ", the lock of a daemon: it belongs to uid %u, whose weird "
                        "serves here, or did: 'weir --bus %s daemon status' tells",
                        directory, (unsigned)st.st_uid, place->bus);
        else
            shm_explain(why, "cannot open %s/" PLACE_LOCK_NAME ", the lock of a daemon: %s", directory,
                        strerror(error));
        return -error;
    }
    int r = place_lock_take(fd);
    if (r == -EBUSY) {
        place_lock_owner(fd, lock->owner, sizeof lock->owner);
    } else if (r < 0) {
        shm_explain(why, "cannot lock %s/" PLACE_LOCK_NAME ": %s", directory, strerror(-r));
    } else if ((r = place_lock_sign(fd, lock->what, lock->where)) < 0) {
        log_warning("cannot write into %s/" PLACE_LOCK_NAME " who has it: %s", directory, strerror(-r));
        r = 0; /* it is for show: the lock is held */
    }
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

static int place_lock_bus(struct place *place, struct shm_why *why)
{
    struct place_lock lock = {
        .directory_fd = place->bus_fd, .directory = place->bus, .what = "journal in", .where = place->journal};
    int fd = place_lock(place, &lock, why);
    if (fd == -EBUSY)
        shm_explain(why, "the bus %s is served already by another weird: %s", place->bus, lock.owner);
    if (fd < 0)
        return fd;
    place->bus_lock_fd = fd;
    return 0;
}

/* Rings of two buses may have the same name, and a journal belongs to one ring. */
static int place_lock_journal(struct place *place, struct shm_why *why)
{
    struct place_lock lock = {
        .directory_fd = place->journal_fd, .directory = place->journal, .what = "bus", .where = place->bus};
    int fd = place_lock(place, &lock, why);
    if (fd == -EBUSY)
        shm_explain(why,
                    "another weird has its journals in %s: %s. The bus %s needs a directory of its own: give --journal "
                    "DIR, or stop that weird",
                    place->journal, lock.owner, place->bus);
    if (fd < 0)
        return fd;
    place->journal_lock_fd = fd;
    return 0;
}

/* -- the journal directory ------------------------------------------------------------------------------------------ */

/* Makes each missing part of an absolute path. */
static int place_make(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        int r = mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
        *slash = '/';
        if (r < 0)
            return r;
    }
    return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static int place_journal_default(char *path, size_t path_bytes, struct shm_why *why)
{
    int r = journal_directory_default(path, path_bytes);
    if (r == -ENOENT)
        shm_explain(why, "the system's journal directory may not be written and there is no home directory: give "
                         "--journal DIR");
    if (r < 0)
        return r;
    r = place_make(path);
    if (r < 0)
        shm_explain(why, "cannot make the journal directory %s: %s", path, strerror(-r));
    return r;
}

static int place_journal_open(struct place *place, const char *given, struct shm_why *why)
{
    char path[PATH_MAX];
    if (given) {
        size_t bytes = strlen(given) + 1;
        if (bytes > sizeof path)
            return -ENAMETOOLONG;
        memcpy(path, given, bytes);
        if (mkdir(path, 0755) < 0 && errno != EEXIST) {
            int error = errno;
            shm_explain(why, "cannot make the journal directory %s: %s", path, strerror(error));
            return -error;
        }
    } else {
        int r = place_journal_default(path, sizeof path, why);
        if (r < 0)
            return r;
    }
    if (!realpath(path, place->journal)) {
        int error = errno;
        shm_explain(why, "journal directory %s: %s", path, strerror(error));
        return -error;
    }
    place->journal_fd = open(place->journal, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (place->journal_fd < 0) {
        int error = errno;
        shm_explain(why, "journal directory %s: %s", place->journal, strerror(error));
        return -error;
    }
    if (faccessat(place->journal_fd, ".", W_OK | X_OK, AT_EACCESS) < 0) {
        int error = errno;
        shm_explain(why, "journal directory %s may not be written: %s", place->journal, strerror(error));
        return -error;
    }
    return 0;
}

int place_open(struct place *place, const char *bus, const char *journal, struct shm_why *why)
{
    *place = (struct place){.bus_fd = -1, .journal_fd = -1, .bus_lock_fd = -1, .journal_lock_fd = -1};
    int r = shm_bus_open(bus, true, place->bus, sizeof place->bus, why);
    if (r < 0)
        return r;
    place->bus_fd = r;
    r = place_journal_open(place, journal, why);
    if (r == 0)
        r = place_lock_bus(place, why);
    if (r == 0)
        r = place_lock_journal(place, why);
    if (r < 0) {
        place_close(place);
        return r;
    }
    place->fence_self = !shm_fence_register();
    return 0;
}

void place_close(struct place *place)
{
    /* The locks' files stay: taking one away would let a third daemon lock another file of that name. */
    int *fds[] = {&place->journal_lock_fd, &place->bus_lock_fd, &place->journal_fd, &place->bus_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

static bool place_lets_pass(const char *path, mode_t mode, gid_t gid)
{
    struct stat st;
    if (stat(path, &st) < 0 || st.st_mode & S_IXOTH)
        return true;
    return !(mode & S_IROTH) && (!(mode & S_IRGRP) || (st.st_gid == gid && st.st_mode & S_IXGRP));
}

bool place_journal_is_shut(const struct place *place, mode_t mode, gid_t gid, char *ret_path)
{
    memcpy(ret_path, place->journal, strlen(place->journal) + 1);
    for (char *slash = strchr(ret_path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (!place_lets_pass(ret_path, mode, gid))
            return true;
        *slash = '/';
    }
    return !place_lets_pass(ret_path, mode, gid);
}

bool place_bus_stands(const struct place *place)
{
    struct stat mine, there;
    if (fstat(place->bus_fd, &mine) < 0 || stat(place->bus, &there) < 0)
        return false;
    return mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}
