/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a ring: all of it under a temporary name, with all its memory, then one rename that must find the name free.
 *
 * What each death leaves: a .new- directory that is not locked, and that the next creation on this bus removes (see
 * sweep_new()); never anything under the ring's name. After the rename there is nothing left to do.
 */
#include "shm/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* Far above any machine's memory, and far from where sums overflow. */
#define FILE_BYTES_MAX (UINT64_C(1) << 46)
/* A signal may make fallocate undo all that this one call did: a piece must fit between two ticks of a fast timer. */
#define FALLOCATE_BYTES (UINT64_C(1) << 20)
/* Each try fails only because somebody swept in the instants between two system calls. */
#define BEGIN_TRIES 64

struct builder {
    int bus_fd;
    const struct shm_create *create;
    struct shm_why *why;
    struct shm_place bus;
    struct shm_temp_name name;
    struct shm_ring ring; /* in the list of open rings: a forked child must not keep the builder's lock */
    bool room_lost;       /* others took it after the check */
    bool huge_lost;       /* the same of huge pages, for which there is no check */
};

static uint64_t whole_pages(uint64_t bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

/* On the tmpfs. */
static uint64_t needed_bytes(const struct shm_create *create)
{
    const struct shm_sizes *sizes = &create->sizes;
    uint64_t tables = whole_pages(sizes->control_bytes) + whole_pages(sizes->readers_bytes);
    return create->huge == SHM_HUGE_PAGES ? tables : tables + whole_pages(sizes->data_bytes);
}

/* -- Before anything is made -------------------------------------------------------------------------------------- */

static int check_sizes(const struct shm_sizes *sizes, struct shm_why *why)
{
    const uint64_t all[] = {sizes->control_bytes, sizes->readers_bytes, sizes->data_bytes};
    struct rlimit limit;
    struct shm_amount size, most;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0)
        limit.rlim_cur = RLIM_INFINITY;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i] == 0 || all[i] > FILE_BYTES_MAX)
            return shm_fail(why, EINVAL, "a file of %s is no part of a ring", shm_amount_of(all[i], &size));
        /* To reach the limit would be a signal, and its default is death. */
        if (limit.rlim_cur != RLIM_INFINITY && all[i] > limit.rlim_cur)
            return shm_fail(why, EFBIG,
                            "the ring needs a file of %s, and this process may write at most %s: "
                            "raise the limit (ulimit -f)",
                            shm_amount_of(all[i], &size), shm_amount_of(limit.rlim_cur, &most));
    }
    return 0;
}

/* On a disk the kernel would write the ring out page by page, and hold up publishers that touch a page meanwhile. */
static int check_tmpfs(const struct builder *builder)
{
    struct statfs status;
    if (fstatfs(builder->bus_fd, &status) != 0)
        return shm_fail(builder->why, errno, "cannot look at the file system of %s: %m", builder->bus.text);
    if ((unsigned long)status.f_type != TMPFS_MAGIC)
        return shm_fail(builder->why, EINVAL,
                        "the bus %s is not on tmpfs: name a directory below /dev/shm or /run, or mount a tmpfs there",
                        builder->bus.text);
    return 0;
}

static int name_taken(const struct builder *builder)
{
    return shm_fail(builder->why, EEXIST,
                    "there is a ring '%s' on %s already: use it, remove it, or choose another name",
                    builder->create->name, builder->bus.text);
}

/* A look that spares the work; the rename decides. */
static int check_absent(const struct builder *builder)
{
    struct stat status;
    if (fstatat(builder->bus_fd, builder->create->name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return name_taken(builder);
    return errno == ENOENT ? 0
                           : shm_fail(builder->why, errno, "cannot look for '%s' on %s: %m", builder->create->name,
                                      builder->bus.text);
}

static int check_request(const struct builder *builder)
{
    const struct shm_create *create = builder->create;
    int error = shm_name_require(create->name, builder->why);
    if (!error)
        error = shm_mode_check(create->mode, builder->why);
    if (!error)
        error = check_sizes(&create->sizes, builder->why);
    if (!error && create->set_node)
        error = shm_node_check(create->node, builder->why);
    if (!error)
        error = check_tmpfs(builder);
    if (!error)
        error = check_absent(builder);
    return error;
}

/* -- Building ----------------------------------------------------------------------------------------------------- */

static int no_more_files(const struct builder *builder)
{
    return shm_fail(
        builder->why, ENOMEM,
        "the tmpfs of %s takes no more files: remove some, or give it more (mount -o remount,nr_inodes=...)",
        builder->bus.text);
}

static int make_directory(struct builder *builder)
{
    int error = shm_make_temp_name(SHM_NEW_PREFIX, &builder->name);
    if (error)
        return shm_fail(builder->why, -error, "cannot get random bytes for a name: %m");
    if (mkdirat(builder->bus_fd, builder->name.text, 0700) == 0)
        return 0;
    switch (errno) {
    case EACCES:
    case EROFS:
        return shm_fail(builder->why, errno,
                        "uid %u may not create rings on %s: %m. Name a bus of your own ($WEIR_BUS), or have its "
                        "owner create the ring for you",
                        (unsigned)geteuid(), builder->bus.text);
    case ENOSPC:
        return no_more_files(builder);
    default:
        return shm_fail(builder->why, errno, "cannot make a directory on %s: %m", builder->bus.text);
    }
}

/* 1: mine now; 0: somebody swept it away; negative: it cannot be. */
static int claim_directory(struct builder *builder)
{
    struct shm_ring *ring = &builder->ring;
    shm_point("create: directory made");
    ring->dir_fd = shm_open_directory(builder->bus_fd, builder->name.text);
    if (ring->dir_fd < 0)
        return ring->dir_fd == -ENOENT ? 0 : ring->dir_fd;

    shm_point("create: directory open");
    shm_forks_hold();
    int fd = shm_open_file(ring->dir_fd, SHM_FILE_LOCKS, O_RDWR | O_CREAT | O_EXCL);
    ring->lock_fd = fd < 0 ? -1 : fd;
    shm_forks_add(ring);
    shm_forks_release();
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;

    shm_point("create: lock file made");
    int error = shm_lock(ring->lock_fd, 0);
    if (error)
        return error == -EBUSY ? 0 : error;
    struct stat status;
    if (fstat(ring->lock_fd, &status) != 0)
        return -errno;
    return status.st_nlink > 0;
}

static void reset(struct shm_ring *ring)
{
    shm_close_ring(ring);
    *ring = (struct shm_ring){
        .dir_fd = -1, .control_fd = -1, .readers_fd = -1, .data_fd = -1, .lock_fd = -1, .reader_lock_fd = -1};
}

static int begin(struct builder *builder)
{
    for (int tries = 0; tries < BEGIN_TRIES; tries++) {
        reset(&builder->ring);
        int error = make_directory(builder);
        if (error)
            return error;
        int claimed = claim_directory(builder);
        if (claimed > 0) {
            shm_point("create: directory locked");
            return 0;
        }
        if (claimed < 0) {
            (void)shm_remove_directory(builder->bus_fd, builder->name.text, builder->ring.dir_fd);
            if (claimed == -ENOSPC)
                return no_more_files(builder);
            return shm_fail(builder->why, -claimed, "cannot lock %s/%s: %m", builder->bus.text, builder->name.text);
        }
    }
    return shm_fail(builder->why, EBUSY, "others on %s keep removing the new ring's directory: try again",
                    builder->bus.text);
}

static int make_file(struct builder *builder, enum shm_file file, int *ret_fd)
{
    int fd = shm_open_file(builder->ring.dir_fd, file, O_RDWR | O_CREAT | O_EXCL);
    if (fd == -ENOSPC)
        return no_more_files(builder);
    if (fd < 0)
        return shm_fail(builder->why, -fd, "cannot make the file %s of the ring '%s' on %s: %m", shm_file_name(file),
                        builder->create->name, builder->bus.text);
    *ret_fd = fd;
    return 0;
}

/* Explained when all that was taken is given back: then the free memory is what the next try will find. */
static int lose_room(struct builder *builder)
{
    builder->room_lost = true;
    return -ENOMEM;
}

/* Allocates the whole file, so that nobody is killed later by SIGBUS for want of a page. */
static int allocate(struct builder *builder, enum shm_file file, int fd, uint64_t bytes)
{
    for (uint64_t done = 0; done < bytes;) {
        uint64_t left = bytes - done;
        uint64_t piece = left < FALLOCATE_BYTES ? left : FALLOCATE_BYTES;
        if (fallocate(fd, 0, (off_t)done, (off_t)piece) == 0)
            done += piece;
        else if (errno == ENOSPC || errno == ENOMEM)
            return lose_room(builder);
        else if (errno != EINTR)
            return shm_fail(builder->why, errno, "cannot allocate the file %s of the ring '%s' on %s: %m",
                            shm_file_name(file), builder->create->name, builder->bus.text);
    }
    return 0;
}

/* Zeroed pages, all of them there: the kernel clears a page of tmpfs when it is first touched. */
static int touch(void *memory, uint64_t bytes)
{
    int error;
    do {
        error = madvise(memory, (size_t)bytes, MADV_POPULATE_WRITE) == 0 ? 0 : errno;
    } while (error == EINTR);
    if (error != EINVAL)
        return -error;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (uint64_t at = 0; at < bytes; at += page)
        ((char *)memory)[at] = 0;
    return 0;
}

static int cannot_map(const struct builder *builder, enum shm_file file, uint64_t bytes, int error)
{
    struct shm_amount amount;
    return shm_fail(builder->why, -error, "cannot map %s for the file %s of the ring '%s': %m (ulimit -v?)",
                    shm_amount_of(bytes, &amount), shm_file_name(file), builder->create->name);
}

static int map(const struct builder *builder, enum shm_file file, uint64_t bytes, int fd, void **ret_memory)
{
    void *memory = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return cannot_map(builder, file, bytes, -errno);
    *ret_memory = memory;
    return 0;
}

static int make_memory(struct builder *builder, enum shm_file file, uint64_t bytes, int *ret_fd, void **ret_memory)
{
    int error = make_file(builder, file, ret_fd);
    if (!error && ftruncate(*ret_fd, (off_t)bytes) != 0)
        error = shm_fail(builder->why, errno, "cannot size the file %s of the ring '%s': %m", shm_file_name(file),
                         builder->create->name);
    if (!error)
        error = map(builder, file, bytes, *ret_fd, ret_memory);
    if (!error)
        error = shm_place_memory(*ret_memory, bytes, builder->create, false, builder->why);
    if (!error)
        error = allocate(builder, file, *ret_fd, bytes);
    if (!error) {
        error = touch(*ret_memory, bytes);
        error = error ? cannot_map(builder, file, bytes, error) : 0;
    }
    return error;
}

/*
 * Huge pages are taken by touching them: fallocate() knows neither the mapping's node nor that huge pages of the tmpfs were
 * asked for. A page that is not to be had is an error of the system call then, and no signal.
 */
static int touch_huge(struct builder *builder, uint64_t bytes)
{
    int error;
    do {
        error = madvise(builder->ring.data, (size_t)bytes, MADV_POPULATE_WRITE) == 0 ? 0 : errno;
    } while (error == EINTR);
    if (error == EINVAL)
        return shm_fail(builder->why, EOPNOTSUPP, "huge pages need Linux 5.14 or newer");
    if (error && builder->create->huge == SHM_HUGE_TRANSPARENT)
        return lose_room(builder);
    builder->huge_lost = error != 0;
    return error ? -ENOMEM : 0;
}

static int make_huge_data(struct builder *builder)
{
    const struct shm_create *create = builder->create;
    struct shm_ring *ring = &builder->ring;
    uint64_t bytes = ring->sizes.data_bytes;
    int error = 0;
    if (create->huge == SHM_HUGE_TRANSPARENT) {
        error = make_file(builder, SHM_FILE_DATA, &ring->data_fd);
        if (!error && ftruncate(ring->data_fd, (off_t)bytes) != 0)
            error = shm_fail(builder->why, errno, "cannot size the data of the ring '%s': %m", create->name);
    } else {
        ring->data_fd = shm_huge_make(ring->dir_fd, bytes, builder->why);
        error = ring->data_fd < 0 ? ring->data_fd : 0;
    }
    if (!error)
        error = map(builder, SHM_FILE_DATA, bytes, ring->data_fd, &ring->data);
    if (error == -ENOMEM && create->huge == SHM_HUGE_PAGES)
        builder->huge_lost = true; /* the pages are promised when they are mapped */
    if (!error)
        error = shm_place_memory(ring->data, bytes, create, true, builder->why);
    return error ? error : touch_huge(builder, bytes);
}

static int make_link(struct builder *builder)
{
    const struct shm_create *create = builder->create;
    if (!create->journal)
        return 0;
    if (symlinkat(create->journal, builder->ring.dir_fd, shm_file_name(SHM_FILE_JOURNAL)) == 0)
        return 0;
    return shm_fail(builder->why, errno, "cannot link the ring '%s' on %s to its journal: %m", create->name,
                    builder->bus.text);
}

static int make_files(struct builder *builder)
{
    struct shm_ring *ring = &builder->ring;
    ring->sizes = builder->create->sizes;
    shm_forks_hold();
    int error = make_file(builder, SHM_FILE_READER_LOCKS, &ring->reader_lock_fd);
    shm_forks_release();
    if (!error)
        error = make_memory(builder, SHM_FILE_CONTROL, ring->sizes.control_bytes, &ring->control_fd, &ring->control);
    if (!error)
        error = make_memory(builder, SHM_FILE_READERS, ring->sizes.readers_bytes, &ring->readers_fd, &ring->readers);
    if (!error && builder->create->huge != SHM_HUGE_NONE)
        error = make_huge_data(builder);
    else if (!error)
        error = make_memory(builder, SHM_FILE_DATA, ring->sizes.data_bytes, &ring->data_fd, &ring->data);
    if (!error)
        error = shm_place_verify(ring, builder->create, builder->why);
    if (!error)
        error = make_link(builder);
    if (!error)
        shm_point("create: memory there");
    return error;
}

/* -- The whole ---------------------------------------------------------------------------------------------------- */

static int give_name(struct builder *builder)
{
    const char *name = builder->create->name;
    if (renameat2(builder->bus_fd, builder->name.text, builder->bus_fd, name, RENAME_NOREPLACE) != 0) {
        if (errno == EEXIST)
            return name_taken(builder);
        return shm_fail(builder->why, errno, "cannot give the new ring its name '%s' on %s: %m", name,
                        builder->bus.text);
    }
    shm_point("create: named");
    return 0;
}

static int build(struct builder *builder)
{
    const struct shm_create *create = builder->create;
    int error = make_files(builder);
    if (error)
        return error;
    if (create->format)
        create->format(create->ctx, builder->ring.control, builder->ring.readers, builder->ring.data);
    shm_point("create: formatted");
    error = shm_give_rights(&builder->ring, create, builder->why);
    shm_point("create: rights given");
    return error ? error : give_name(builder);
}

int shm_create(int bus_fd, const struct shm_create *create, struct shm_why *why)
{
    struct builder builder = {.bus_fd = bus_fd, .create = create, .why = why};
    (void)shm_place_of(bus_fd, &builder.bus);

    int error = check_request(&builder);
    if (error)
        return error;
    shm_sweep(bus_fd); /* first: what it frees may be what is needed */
    error = shm_room_check(bus_fd, create, needed_bytes(create), why);
    if (error)
        return error;
    shm_point("create: room checked");
    error = shm_forks_register();
    if (error)
        return shm_fail(why, -error, "cannot register for fork: %m");

    error = begin(&builder);
    if (!error) {
        error = build(&builder);
        if (error)
            (void)shm_remove_directory(bus_fd, builder.name.text, builder.ring.dir_fd);
    }
    shm_close_ring(&builder.ring); /* drops the lock: after the name is given, or all is removed */
    if (builder.huge_lost)
        return shm_huge_lost(create, why);
    return builder.room_lost ? shm_room_lost(bus_fd, create, needed_bytes(create), why) : error;
}
