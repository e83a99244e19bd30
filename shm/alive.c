/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is alive: locks that the kernel drops with their holder, kept out of forked children.
 *
 * A lock of this kind (F_OFD_SETLK) belongs to an open file description. What follows from that:
 *   - it lasts until the last descriptor of that description is closed, in whatever process: closing a copy, made by
 *     dup or fork, gives nothing back, and a forgotten copy keeps the lock of a dead process alive. Hence O_CLOEXEC and
 *     the handlers below;
 *   - unlocking through any copy unlocks for all, so a child must never unlock, only close;
 *   - asked through its own description a lock is never in the way, so nobody sees his own. Two openings in one process
 *     see each other's.
 */
#include "shm/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Bytes of a lock file, which stays empty: locks may lie behind its end. */
#define ID_LIMIT (UINT64_C(1) << 62)

/* -- Locks -------------------------------------------------------------------------------------------------------- */

/* l_pid stays 0: the kernel asks for that. */
static struct flock lock_of(short type, uint64_t id)
{
    struct flock lock;
    memset(&lock, 0, sizeof(lock));
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = (off_t)id;
    lock.l_len = 1;
    return lock;
}

int shm_lock(int lock_fd, uint64_t id)
{
    if (id >= ID_LIMIT)
        return -EINVAL;
    struct flock lock = lock_of(F_WRLCK, id);
    if (fcntl(lock_fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

/*
 * Asks as a reader would: only a write lock is in a reader's way, and that takes the right to write. A read lock, which
 * whoever may read the file can put on any byte, makes nobody alive.
 */
int shm_locked(int lock_fd, uint64_t id)
{
    if (id >= ID_LIMIT) /* shm_lock() takes none of these: who wrote it down is not alive under it */
        return 0;
    struct flock lock = lock_of(F_RDLCK, id);
    if (fcntl(lock_fd, F_OFD_GETLK, &lock) != 0)
        return -errno;
    return lock.l_type == F_UNLCK ? 0 : 1;
}

/* -- Fork --------------------------------------------------------------------------------------------------------- */

uint32_t shm_fork_generation;

static pthread_mutex_t forks_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct shm_ring *open_rings;
static bool forks_registered;

static void close_locks(struct shm_ring *ring)
{
    if (ring->lock_fd >= 0)
        (void)close(ring->lock_fd);
    if (ring->reader_lock_fd >= 0)
        (void)close(ring->reader_lock_fd);
    ring->lock_fd = ring->reader_lock_fd = -1;
}

/* The child is this one thread, so plain stores are enough; it makes none but system calls that signal handlers may. */
static void forked_child(void)
{
    for (struct shm_ring *ring = open_rings; ring; ring = ring->next_open)
        close_locks(ring);
    shm_fork_generation++;
    shm_forks_release();
}

int shm_forks_register(void)
{
    int error = 0;
    shm_forks_hold();
    if (!forks_registered)
        error = pthread_atfork(shm_forks_hold, shm_forks_release, forked_child);
    forks_registered = !error;
    shm_forks_release();
    return -error;
}

void shm_forks_hold(void)
{
    (void)pthread_mutex_lock(&forks_mutex);
}

void shm_forks_release(void)
{
    (void)pthread_mutex_unlock(&forks_mutex);
}

void shm_forks_add(struct shm_ring *ring)
{
    ring->next_open = open_rings;
    ring->link = &open_rings;
    if (open_rings)
        open_rings->link = &ring->next_open;
    open_rings = ring;
}

void shm_forks_remove(struct shm_ring *ring)
{
    close_locks(ring);
    *ring->link = ring->next_open;
    if (ring->next_open)
        ring->next_open->link = ring->link;
    ring->link = NULL;
    ring->next_open = NULL;
}

/* -- Stopped ------------------------------------------------------------------------------------------------------ */

/* "PID (NAME) STATE ...": the name may hold anything, what follows it no bracket. */
int shm_process_stopped(pid_t pid)
{
    char path[64], text[512];
    if (pid <= 0)
        return -ESRCH;
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    int error = got < 0 ? -errno : 0;
    (void)close(fd);
    if (error)
        return error;
    text[got] = '\0';
    const char *state = strrchr(text, ')');
    if (!state || state[1] != ' ')
        return -ESRCH;
    switch (state[2]) {
    case 'T':
    case 't':
        return 1;
    case 'Z':
    case 'X':
        return -ESRCH;
    default:
        return 0;
    }
}
