/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every system call of the journal goes through here, so that a test can make the n-th one fail, cut it short, and see
 * what was written and what was synced. Results are 0 or more, or a negative errno.
 *
 * 1. A call that was interrupted is made again, with three exceptions. fsync and fdatasync are never repeated: a second one
 *    may succeed although the first one's pages are lost. close is not either: the descriptor is gone in any case.
 *    Nor is a listing: it is the caller's to begin anew.
 * 2. jio_write() writes all of it or fails; jio_read() reads all that the file has there or fails.
 */
#ifndef WEIR_JOURNAL_IO_H
#define WEIR_JOURNAL_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

int jio_open(int dir_fd, const char *name, int flags, mode_t mode);
int jio_duplicate(int fd);
void jio_close(int fd); /* -1 is allowed */
int jio_stat(int fd, struct stat *ret_stat);
/* Of the file system: bytes that who is not root may still take, and all there are. */
int jio_room(int fd, uint64_t *ret_free_bytes, uint64_t *ret_bytes);
/* Past the kernel's cache: whole blocks from aligned memory alone. -EINVAL: not on this file system. */
int jio_set_direct(int fd, bool direct);
/* A read lock of the whole file, as long as the descriptor is open: see journal/spare.h. */
int jio_hold(int fd);
int jio_is_held(int fd); /* by another open description: 1 or 0 */
int jio_lock(int fd);    /* write lock of the whole file, of this open description; -EBUSY: somebody has it */

/* Bytes read: less than asked for only where the file ends. */
int64_t jio_read(int fd, void *buffer, uint64_t bytes, uint64_t offset);
int jio_write(int fd, const void *data, uint64_t bytes, uint64_t offset);
int jio_allocate(int fd, uint64_t offset, uint64_t bytes);
/*
 * 1: jio_allocate() of what is allocated already returns when no write past the kernel's cache is under way in that
 * file; 0: that is not known of its file system. FUSE has fallocate(2), and does not wait.
 */
int jio_allocate_waits(int fd);
/* Tells the kernel to begin writing out. Promises nothing. */
int jio_start_writing(int fd, uint64_t offset, uint64_t bytes);
/* Tells the kernel to begin reading all of it. Promises nothing. */
void jio_will_need(int fd);
int jio_sync(int fd);      /* fsync: of directories and new files */
int jio_sync_data(int fd); /* fdatasync */

/*
 * Writes and syncs under way, where somebody has a way to do them while the caller goes on (the daemon: io_uring, or threads).
 * One thread at a time. Each op is done once, as the call of its kind above would do it, but cut short where the kernel does
 * so; its errors are its result. Where hooks are set the calls above are to be made in its place.
 */
enum jio_op_kind { JIO_OP_WRITE, JIO_OP_SYNC_DATA, JIO_OP_SYNC };
struct jio_op {
    enum jio_op_kind kind;
    int fd;
    const void *data; /* in the queue's buffers */
    uint64_t bytes, offset;
    int64_t result; /* once it is done: bytes written, 0, or a negative errno */
    bool done;
};
struct jio_queue {
    /* Begins it: op and data stay where they are until it is done. May wait for others. */
    void (*submit)(struct jio_queue *queue, struct jio_op *op);
    /* Until it is done; others may be by then too. NULL: says which are by now, and does not wait. */
    void (*wait)(struct jio_queue *queue, struct jio_op *op);
    uint8_t *buffers; /* buffer_count of them, each of buffer_bytes, aligned to blocks */
    uint64_t buffer_bytes;
    uint32_t buffer_count;
};

int jio_rename(int from_dir_fd, const char *from, int to_dir_fd, const char *to);
int jio_unlink(int dir_fd, const char *name);
int jio_make_directory(int dir_fd, const char *name, mode_t mode);
int jio_remove_directory(int dir_fd, const char *name);
int jio_set_owner(int fd, uid_t uid, gid_t gid);
int jio_set_mode(int fd, mode_t mode);
/* Every name but . and .. ; stops when the callback returns non-zero, returns that. */
int jio_list(int dir_fd, int (*callback)(void *ctx, const char *name), void *ctx);

#ifdef WEIR_TESTING
enum jio_call {
    JIO_OPEN,
    JIO_DUPLICATE,
    JIO_CLOSE,
    JIO_STAT,
    JIO_ROOM, /* cut short: so many bytes are free */
    JIO_SET_DIRECT,
    JIO_LOCK,
    JIO_HOLD,
    JIO_IS_HELD,
    JIO_READ,
    JIO_WRITE,
    JIO_ALLOCATE,
    JIO_START_WRITING,
    JIO_SYNC,
    JIO_SYNC_DATA,
    JIO_RENAME,
    JIO_UNLINK,
    JIO_MAKE_DIRECTORY,
    JIO_REMOVE_DIRECTORY,
    JIO_SET_OWNER,
    JIO_SET_MODE,
    JIO_LIST,
    JIO_CALLS
};

struct jio_event {
    enum jio_call call;
    int fd;           /* of the directory where there is a name */
    const char *name; /* NULL where there is none */
    int to_fd;        /* rename */
    const char *to_name;
    const void *data; /* write: what is written */
    uint64_t offset, bytes;
};

struct jio_hooks {
    /*
     * Asked before each system call: 0 lets it go; a negative errno fails it without making it; a positive number cuts
     * a read or write down to so many bytes. Every close is made.
     */
    int64_t (*before)(void *ctx, const struct jio_event *event);
    /* Told after each one, with its result (open: the descriptor; read, write: the bytes). */
    void (*after)(void *ctx, const struct jio_event *event, int64_t result);
    void *ctx;
};
/* NULL: none. Not to be changed while another thread uses the journal. */
extern const struct jio_hooks *jio_hooks;
#endif

#endif
