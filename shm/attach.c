/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a ring that is there: its files, its memory, its lock files. */
#include "shm/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What each kind of access opens, and how. */
struct plan {
    const char *verb; /* "may not ... the ring" */
    int ring_flags;   /* control and data */
    int readers_flags;
    int locks_flags;
    int reader_locks_flags;
    bool locks_needed, reader_locks_needed;
    bool prefault;
};

static const struct plan plans[] = {
    [SHM_LOOK] = {"look at", O_RDONLY, O_RDONLY, O_RDONLY, O_RDONLY, false, false, false},
    [SHM_SUBSCRIBE] = {"subscribe to", O_RDONLY, O_RDWR, O_RDONLY, O_RDWR, false, true, true},
    [SHM_PUBLISH] = {"publish on", O_RDWR, O_RDONLY, O_RDWR, O_RDONLY, true, true, true},
    [SHM_SERVE] = {"serve", O_RDWR, O_RDWR, O_RDWR, O_RDWR, true, true, true},
};

struct opening {
    int bus_fd;
    const char *name;
    const struct plan *plan;
    struct shm_why *why;
    struct shm_place bus;
    struct shm_ring ring;
};

/* -- Explaining --------------------------------------------------------------------------------------------------- */

static int no_ring(const struct opening *opening)
{
    return shm_fail(opening->why, ENOENT,
                    "there is no ring '%s' on %s: create it (weir ring create %s), or name another bus in $WEIR_BUS",
                    opening->name, opening->bus.text, opening->name);
}

/* file NULL: the directory. */
static int no_right(const struct opening *opening, int dir_fd, const char *file, int error)
{
    struct stat status;
    if (fstatat(dir_fd, file ? file : opening->name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return shm_fail(opening->why, error, "uid %u may not %s the ring '%s' on %s: %m", (unsigned)geteuid(),
                        opening->plan->verb, opening->name, opening->bus.text);
    return shm_fail(opening->why, error,
                    "uid %u may not %s the ring '%s' on %s (%s%s: uid %u, gid %u, mode %04o): %m. Its owner gives the "
                    "right with a mode or a group at creation (weir ring create --mode, --group)",
                    (unsigned)geteuid(), opening->plan->verb, opening->name, opening->bus.text,
                    file ? "file " : "directory", file ? file : "", (unsigned)status.st_uid, (unsigned)status.st_gid,
                    (unsigned)(status.st_mode & 07777));
}

/* A missing file of a ring that is being removed at this moment is a missing ring. */
static int bad_file(const struct opening *opening, enum shm_file file, int error)
{
    const char *name = shm_file_name(file);
    switch (error) {
    case ENOENT:
        if (!shm_is_named(opening->bus_fd, opening->name, opening->ring.dir_fd))
            return no_ring(opening);
        return shm_fail(opening->why, EMEDIUMTYPE,
                        "%s/%s is not a whole ring: it has no file %s. Remove it "
                        "(weir ring rm %s) and create it again",
                        opening->bus.text, opening->name, name, opening->name);
    case EMEDIUMTYPE:
        return shm_fail(opening->why, EMEDIUMTYPE,
                        "%s/%s is not a ring: %s in it is not a regular file. Look at it, "
                        "and remove it",
                        opening->bus.text, opening->name, name);
    case EACCES:
    case EPERM:
    case EROFS:
        return no_right(opening, opening->ring.dir_fd, name, error);
    default:
        return shm_fail(opening->why, error, "cannot open %s/%s/%s: %m", opening->bus.text, opening->name, name);
    }
}

/* -- Files -------------------------------------------------------------------------------------------------------- */

static int open_ring_directory(struct opening *opening)
{
    int fd = shm_open_directory(opening->bus_fd, opening->name);
    switch (fd) {
    case -ENOENT:
        return no_ring(opening);
    case -ENOTDIR:
    case -ELOOP:
        return shm_fail(opening->why, EMEDIUMTYPE,
                        "%s/%s is not a ring, for it is not a directory. Look at it, and "
                        "remove it",
                        opening->bus.text, opening->name);
    case -EACCES:
        return no_right(opening, opening->bus_fd, NULL, EACCES);
    default:
        if (fd < 0)
            return shm_fail(opening->why, -fd, "cannot open %s/%s: %m", opening->bus.text, opening->name);
        opening->ring.dir_fd = fd;
        return 0;
    }
}

static int open_part(struct opening *opening, enum shm_file file, int flags, int *ret_fd)
{
    int fd = shm_open_file(opening->ring.dir_fd, file, flags);
    if (fd < 0)
        return bad_file(opening, file, -fd);
    *ret_fd = fd;
    return 0;
}

/* Repair takes both files or is left to others: half the right would be a right to make things worse. */
static bool open_for_repair(struct opening *opening)
{
    struct shm_ring *ring = &opening->ring;
    int control_fd = shm_open_file(ring->dir_fd, SHM_FILE_CONTROL, O_RDWR);
    int data_fd = shm_open_file(ring->dir_fd, SHM_FILE_DATA, O_RDWR);
    if (control_fd >= 0 && data_fd >= 0) {
        ring->control_fd = control_fd;
        ring->data_fd = data_fd;
        return true;
    }
    if (control_fd >= 0)
        (void)close(control_fd);
    if (data_fd >= 0)
        (void)close(data_fd);
    return false;
}

static int open_memory_files(struct opening *opening, bool repair)
{
    struct shm_ring *ring = &opening->ring;
    const struct plan *plan = opening->plan;
    bool writable = plan->ring_flags == O_RDWR;
    int error = 0;
    if (!writable && repair)
        writable = open_for_repair(opening);
    if (ring->control_fd < 0)
        error = open_part(opening, SHM_FILE_CONTROL, plan->ring_flags, &ring->control_fd);
    if (!error && ring->data_fd < 0)
        error = open_part(opening, SHM_FILE_DATA, plan->ring_flags, &ring->data_fd);
    if (!error)
        error = open_part(opening, SHM_FILE_READERS, plan->readers_flags, &ring->readers_fd);
    ring->control_writable = ring->data_writable = writable;
    ring->readers_writable = plan->readers_flags == O_RDWR;
    return error;
}

/* -- Memory ------------------------------------------------------------------------------------------------------- */

/*
 * A hole would be filled page by page when it is touched, with a SIGBUS when there is no more memory; and a file of
 * nothing but a hole costs its maker nothing and whoever prefaults it all there is. A ring's files have none.
 */
static int measure(const struct opening *opening, enum shm_file file, int fd, uint64_t *ret_bytes)
{
    struct stat status;
    const char *what = NULL;
    if (fstat(fd, &status) != 0)
        return bad_file(opening, file, errno);
    if (status.st_size <= 0)
        what = "is empty";
    else if ((uint64_t)status.st_size > SIZE_MAX)
        what = "is larger than memory can be";
    else if ((uint64_t)status.st_blocks < ((uint64_t)status.st_size + 511) / 512)
        what = "has holes";
    if (what)
        return shm_fail(opening->why, EMEDIUMTYPE,
                        "%s/%s is not a whole ring: its file %s %s. Remove it (weir ring rm "
                        "%s) and create it again",
                        opening->bus.text, opening->name, shm_file_name(file), what, opening->name);
    *ret_bytes = (uint64_t)status.st_size;
    return 0;
}

static int map_file(const struct opening *opening, enum shm_file file, int fd, bool writable, uint64_t *ret_bytes,
                    void **ret_memory)
{
    uint64_t bytes = 0;
    int error = measure(opening, file, fd, &bytes);
    if (error)
        return error;
    int flags = MAP_SHARED | (opening->plan->prefault ? MAP_POPULATE : 0);
    void *memory = mmap(NULL, (size_t)bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, flags, fd, 0);
    if (memory == MAP_FAILED) {
        error = errno;
        struct shm_amount amount;
        return shm_fail(opening->why, error, "cannot map %s of %s/%s/%s: %m (ulimit -v?)",
                        shm_amount_of(bytes, &amount), opening->bus.text, opening->name, shm_file_name(file));
    }
    *ret_bytes = bytes;
    *ret_memory = memory;
    return 0;
}

static int map_files(struct opening *opening)
{
    struct shm_ring *ring = &opening->ring;
    int error = map_file(opening, SHM_FILE_CONTROL, ring->control_fd, ring->control_writable,
                         &ring->sizes.control_bytes, &ring->control);
    if (!error)
        error = map_file(opening, SHM_FILE_READERS, ring->readers_fd, ring->readers_writable,
                         &ring->sizes.readers_bytes, &ring->readers);
    if (!error)
        error =
            map_file(opening, SHM_FILE_DATA, ring->data_fd, ring->data_writable, &ring->sizes.data_bytes, &ring->data);
    return error;
}

/* -- Locks -------------------------------------------------------------------------------------------------------- */

/* Whoever cannot ask who is alive leaves repair to others. Damage is told by whoever needs the file. */
static int open_lock_file(struct opening *opening, enum shm_file file, int flags, bool needed, int *ret_fd)
{
    int fd = shm_open_file(opening->ring.dir_fd, file, flags);
    bool may_lack = fd == -EACCES || fd == -EPERM || fd == -ENOENT || fd == -EMEDIUMTYPE;
    if (fd < 0 && (needed || !may_lack))
        return bad_file(opening, file, -fd);
    *ret_fd = fd < 0 ? -1 : fd;
    return 0;
}

static int open_lock_files(struct opening *opening)
{
    const struct plan *plan = opening->plan;
    int error = open_lock_file(opening, SHM_FILE_LOCKS, plan->locks_flags, plan->locks_needed, &opening->ring.lock_fd);
    if (!error)
        error = open_lock_file(opening, SHM_FILE_READER_LOCKS, plan->reader_locks_flags, plan->reader_locks_needed,
                               &opening->ring.reader_lock_fd);
    return error;
}

/* -- The whole ---------------------------------------------------------------------------------------------------- */

static void close_fd(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}

static void unmap(void *memory, uint64_t bytes)
{
    if (memory)
        (void)munmap(memory, (size_t)bytes);
}

static void close_all_but_locks(struct shm_ring *ring)
{
    unmap(ring->control, ring->sizes.control_bytes);
    unmap(ring->readers, ring->sizes.readers_bytes);
    unmap(ring->data, ring->sizes.data_bytes);
    ring->control = ring->readers = ring->data = NULL;
    close_fd(ring->control_fd);
    close_fd(ring->readers_fd);
    close_fd(ring->data_fd);
    close_fd(ring->dir_fd);
    ring->control_fd = ring->readers_fd = ring->data_fd = ring->dir_fd = -1;
}

int shm_open_ring(int bus_fd, const char *name, enum shm_access access, bool repair, struct shm_ring *ret_ring,
                  struct shm_why *why)
{
    struct opening opening = {
        .bus_fd = bus_fd,
        .name = name,
        .plan = &plans[access],
        .why = why,
        .ring = {.dir_fd = -1, .control_fd = -1, .readers_fd = -1, .data_fd = -1, .lock_fd = -1, .reader_lock_fd = -1},
    };
    int error = shm_name_require(name, why);
    if (error)
        return error;
    error = shm_forks_register();
    if (error)
        return shm_fail(why, -error, "cannot register for fork: %m");
    (void)shm_place_of(bus_fd, &opening.bus);

    error = open_ring_directory(&opening);
    if (!error)
        error = open_memory_files(&opening, repair && access == SHM_SUBSCRIBE);
    if (!error)
        error = map_files(&opening);
    if (!error) {
        shm_forks_hold();
        error = open_lock_files(&opening);
        if (!error) {
            *ret_ring = opening.ring;
            shm_forks_add(ret_ring);
        } else {
            close_fd(opening.ring.lock_fd);
        }
        shm_forks_release();
    }
    if (error)
        close_all_but_locks(&opening.ring);
    return error;
}

/* An open ring stands in the list; a zeroed one does not, nor one that is closed already. */
void shm_close_ring(struct shm_ring *ring)
{
    if (!ring)
        return;
    shm_forks_hold(); /* its neighbours in the list write into its link */
    bool open = ring->link != NULL;
    if (open)
        shm_forks_remove(ring);
    shm_forks_release();
    if (open)
        close_all_but_locks(ring);
}
