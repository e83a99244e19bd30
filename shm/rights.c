/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what with a ring is said by the rights of its files, and by nothing else:
 *
 *                    owner   with the read bit   with the write bit too
 *   directory        rwx     r-x                 r-x
 *   control, data    rw      r                   rw
 *   readers          rw      rw                  rw
 *   locks.readers    rw      rw                  rw
 *   locks            rw      -                   rw
 *
 * Who may read may subscribe, and writes in the readers' table for that. The publishers' locks say who is alive, so
 * they are for publishers alone.
 */
#include "shm/internal.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

int shm_mode_check(mode_t mode, struct shm_why *why)
{
    if (mode & ~(mode_t)0666)
        return shm_fail(why, EINVAL, "mode %04o makes no sense for a ring: use the bits of 0666", (unsigned)mode);
    if ((mode & 0600) != 0600)
        return shm_fail(why, EINVAL, "mode %04o would shut out the ring's owner: use 06.. (read and write)",
                        (unsigned)mode);
    if ((mode & 0222) & ~((mode & 0444) >> 1))
        return shm_fail(why, EINVAL,
                        "mode %04o lets somebody publish who may not read, but publishing takes reading: "
                        "give the read bit too",
                        (unsigned)mode);
    return 0;
}

static mode_t mode_of(enum shm_file file, mode_t mode)
{
    mode_t write = mode & 0222;
    switch (file) {
    case SHM_FILE_READERS:
    case SHM_FILE_READER_LOCKS:
        return mode | (mode & 0444) >> 1;
    case SHM_FILE_LOCKS:
        return write | write << 1;
    default:
        return mode;
    }
}

static mode_t directory_mode(mode_t mode)
{
    mode_t read = mode & 0044;
    return 0700 | read | read >> 2;
}

static int give(int fd, mode_t mode, const struct shm_create *create, struct shm_why *why)
{
    uid_t uid = create->set_uid ? create->uid : (uid_t)-1;
    gid_t gid = create->set_gid ? create->gid : (gid_t)-1;
    if ((create->set_uid || create->set_gid) && fchown(fd, uid, gid) != 0) {
        int error = errno;
        if (error == EPERM && !create->set_uid)
            return shm_fail(why, error, "uid %u is not in the group %u and so cannot give it the ring '%s'",
                            (unsigned)geteuid(), (unsigned)gid, create->name);
        return shm_fail(why, error, "cannot give the ring '%s' to uid %d, gid %d: %m", create->name, (int)uid,
                        (int)gid);
    }
    /* fchmod, since open and mkdir obey the umask; after fchown, since that may take bits away. */
    if (fchmod(fd, mode) != 0)
        return shm_fail(why, errno, "cannot set the mode of the ring '%s': %m", create->name);
    return 0;
}

/* The directory comes last: until then nobody else gets in. */
int shm_give_rights(const struct shm_ring *ring, const struct shm_create *create, struct shm_why *why)
{
    const int fds[SHM_FILE_COUNT] = {
        [SHM_FILE_CONTROL] = ring->control_fd,
        [SHM_FILE_READERS] = ring->readers_fd,
        [SHM_FILE_DATA] = ring->data_fd,
        [SHM_FILE_READER_LOCKS] = ring->reader_lock_fd,
        [SHM_FILE_JOURNAL] = -1, /* weird makes it */
        [SHM_FILE_LOCKS] = ring->lock_fd,
    };
    int error = 0;
    for (enum shm_file file = 0; file < SHM_FILE_COUNT && !error; file++) {
        if (fds[file] >= 0)
            error = give(fds[file], mode_of(file, create->mode), create, why);
    }
    return error ? error : give(ring->dir_fd, directory_mode(create->mode), create, why);
}
