/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir: a shared-memory message bus for the processes of one host.
 *
 * A ring is one named, totally ordered log of messages. Its newest part lies in shared memory; the daemon `weird`
 * copies journaled rings to disk. A position is a 64-bit byte offset into the log; it names one message for ever, in
 * memory and on disk. A subscriber that is attached is called a reader in tables and counts; a cursor is a position
 * saved under a name.
 *
 * Errors. Functions return 0 or more on success and one of these negative errno values on failure; nothing was changed
 * then, and outputs (ret_...) are not written:
 *   -EINVAL    an argument is out of its documented range      -EILSEQ    a bad name
 *   -ENAMETOOLONG  a name or a path is too long, or the buffer too small for it
 *   -ENOENT    no such ring, group, journal, bus, header, gap or pin  -EEXIST  the ring, or the group, exists
 *   -EACCES    the files' rights do not allow it               -ENOMEM    not enough (shared) memory, or handles
 *   -EAGAIN    not now: ring full, quota used up, no message yet -ETIMEDOUT the time limit passed
 *   -EPIPE     messages before the next one are gone: see weir_sub_gap(), weir_journal_gap(); or some of the range to be
 *              pinned
 *   -EMSGSIZE  the message is larger than a segment takes, or the buffer is too small for it
 *   -EBUSY     the name, or the exclusive ring, is held by a process that is alive; or weird has the journal, or others
 *              change its pins, or they keep it
 *   -ECANCELED the message is no longer this worker's: its lease has ended, or it was finished before
 *   -EALREADY  a named publisher's sequence is not above its last one: it was published before
 *   -ENOSPC    a table of the ring is full (publishers, readers, names), or of the group (workers); or the journal's pins,
 *              or the disk, are full
 *   -EIDRM     the ring, or the group, was removed while in use, whether or not there is another of its name now: a publisher is told at
 *              the latest when its segment is full, a subscriber when it has read what is there
 *   -EIO       the ring's journal has stopped after a disk error; nothing above `durable` is safe; or the disk cannot
 *              read a journal
 *   -EBADMSG   bytes in shared memory or in the journal make no sense
 *   -EMEDIUMTYPE   neither a ring nor a journal of weir's      -EPROTONOSUPPORT   other layout version
 *   -ECHILD    the handle was opened by the parent of this forked process: open one of your own
 *   -EINTR     a signal handler ran while waiting              -EOPNOTSUPP  no huge pages or NUMA node to be had here
 *   -EPERM     the handle was not opened for this (no claim open, no name given, ...); the default bus is not safe
 *   other values of open(2), mmap(2), fallocate(2) as they came, from the functions that open or create.
 *
 * Threads. Handles are independent of each other; one handle may be used by one thread at a time. Functions marked
 * "any thread" may be called while another thread uses the handle; functions that take no handle, by any thread at any
 * time. Fork: see -ECHILD; closing an inherited handle in the child is allowed and harms nobody. Signals: nothing here
 * installs handlers, logs or exits.
 *
 * Time limits are spans in nanoseconds: 0 returns at once, WEIR_FOREVER waits without limit. Instants are nanoseconds
 * since 1970 (CLOCK_REALTIME). Sizes are bytes.
 */
#ifndef WEIR_H
#define WEIR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_VERSION_MAJOR 0
#define WEIR_VERSION_MINOR 1
#define WEIR_VERSION_PATCH 0

#define WEIR_FOREVER INT64_MAX
#define WEIR_NAME_MAX 64 /* characters of A-Z a-z 0-9 . _ - , no leading dot: rings, publishers, cursors, groups */
#define WEIR_POSITION_START UINT64_C(0xfffffffffffffffe) /* the oldest message that is still there */
#define WEIR_POSITION_END UINT64_C(0xffffffffffffffff)   /* only what is published from now on */

struct weir_pub;
struct weir_sub;
struct weir_worker;

/* "0.1.0", of the library at run time. Any thread. */
const char *weir_version(void);

/* One English sentence for a negative errno of the list above; never NULL. Any thread. */
const char *weir_strerror(int error);

/*
 * More about this thread's last failed call: what was wrong, where, and what to do. "" when there is nothing to add.
 * Valid until this thread's next call of the library.
 */
const char *weir_last_error(void);

/* -- Rings -------------------------------------------------------------------------------------------------------- */

enum weir_when_full {
    WEIR_BLOCK = 0,    /* publishing waits, or returns -EAGAIN */
    WEIR_DROP_NEW = 1, /* publishing is refused with -EAGAIN and counted, never waits */
    WEIR_DROP_OLD = 2  /* memory-only rings: the oldest segment goes, readers are told the gap */
};

enum weir_huge {
    WEIR_HUGE_NONE = 0,       /* the pages of the bus's tmpfs */
    WEIR_HUGE_PAGES = 1,      /* messages on hugetlbfs; segments are at least one of its pages */
    WEIR_HUGE_TRANSPARENT = 2 /* huge pages of a tmpfs mounted with huge=; as many as the kernel gives */
};
#define WEIR_NUMA_NONE (-1)
#define WEIR_NUMA_LOCAL (-2) /* the node that the calling thread runs on */

/* Fill with WEIR_RING_OPTIONS_INIT, then change what you need. */
struct weir_ring_options {
    size_t size;                 /* sizeof(struct weir_ring_options) */
    int exclusive;               /* 1: one publisher at a time, cheapest; 0: many */
    int journaled;               /* 1: drained to disk by weird; 0: memory only */
    int when_full;               /* enum weir_when_full */
    uint64_t segment_bytes;      /* power of two, 4 KiB to 64 MiB; 0: 256 KiB, more where limit or pages need it */
    uint64_t memory_limit_bytes; /* what may wait for the disk, or is kept in memory; 0: 32 segments */
    uint32_t max_readers;        /* 1 to 1024; 0: 16 */
    uint32_t max_publishers;     /* 1 to 512; 0: 8, or 1 when exclusive */
    uint32_t mode;               /* 0600 to 0666, as of chmod; read: may subscribe, write too: publish; 0: 0600 */
    const char *group;           /* name or number of the group that owns the files, NULL: the caller's */
    int fenced;                  /* 1: every process fences for itself, nobody is interrupted by membarrier */
    uint64_t first_position;     /* multiple of the segment size, for tests and for moving a ring; 0 */
    int huge;                    /* enum weir_huge */
    int numa_node;               /* all memory on this node: a number, WEIR_NUMA_LOCAL, or WEIR_NUMA_NONE: anywhere */
};
#define WEIR_RING_OPTIONS_INIT                                                                                         \
    {                                                                                                                  \
        sizeof(struct weir_ring_options), 0, 1, WEIR_BLOCK, 0, 0, 0, 0, 0, NULL, 0, 0, WEIR_HUGE_NONE, WEIR_NUMA_NONE  \
    }

/*
 * Everywhere below: bus is a directory on tmpfs, or NULL for $WEIR_BUS, else /run/weir where it exists and may be used,
 * else /dev/shm/weir-UID (made when missing; its owner is checked).
 */

/*
 * The bus directory that NULL stands for, into buffer; /dev/shm/weir-UID is made when missing. -ENAMETOOLONG: the buffer is
 * too small; -ENOENT: $WEIR_BUS names no directory.
 */
int weir_bus_default(char *buffer, size_t buffer_bytes);

/*
 * Creates a ring; all its memory is allocated and touched here. May take milliseconds. options may be NULL.
 * A memory-only ring keeps the newest messages, as many as fit into its memory limit, for subscribers that come later.
 * -EOPNOTSUPP, -ENOMEM, -EINVAL: huge pages or the NUMA node are not to be had; weir_last_error() says how they would be.
 */
int weir_ring_create(const char *bus, const char *name, const struct weir_ring_options *options);

/*
 * Removes a ring: its name at once, its memory when the last process has let go. With force 0: -EBUSY when somebody alive
 * uses it, or pins keep the journal that is to go, which weir_last_error() names; or an error of reading the pins.
 * keep_journal 1: the journal stays, and weird brings the ring back from it; 0: it goes too, for which
 * weird is waited for up to 5 s; -EBUSY also when it has not let go of it by then: the ring is removed, and weird removes the
 * journal when it goes on.
 */
int weir_ring_remove(const char *bus, const char *name, int force, int keep_journal);

/* When weird syncs a journal, as its configuration says; weird.conf(5). */
enum weir_sync {
    WEIR_SYNC_NONE = 0,     /* there is no journal, or weird has not served it yet */
    WEIR_SYNC_ALWAYS = 1,   /* at once for whoever waits for a confirm */
    WEIR_SYNC_INTERVAL = 2, /* sync_interval_ms after the first message that waits; sooner when much does */
    WEIR_SYNC_NEVER = 3     /* each 16 segments, without room for more, and at a clean stop; for nobody who waits */
};

struct weir_ring_info {
    size_t size; /* set to sizeof(struct weir_ring_info) before the call */
    int exclusive, journaled, when_full, fenced;
    uint64_t segment_bytes, memory_limit_bytes, memory_bytes; /* memory_bytes: all that the ring takes on tmpfs */
    uint32_t slot_count, slots_used;
    uint32_t max_readers, max_publishers, reader_count, publisher_count; /* the last two: attached now */
    uint32_t mode;
    uint32_t uid, gid;
    uint8_t ring_id[16];
    uint64_t created_ns;
    uint64_t epoch;
    uint64_t first_position;  /* of this epoch */
    uint64_t memory_position; /* the oldest still in memory */
    uint64_t end_position;    /* behind the last claim */
    uint64_t visible, written, durable, lease;
    int journal_error;                       /* errno that stopped the journal, or holds it up; 0: none */
    int journal_retries;                     /* 1: it holds it up, and weird tries again; 0: the journal has stopped */
    int daemon_alive;                        /* 1: weird serves this ring; 0: it does not; -1: no right to ask */
    uint64_t refused_count, refused_last_ns; /* by drop-new, or for want of quota on a ring that drops */
    /* What publishers may send, all together, and so long a share of it at once; 0: as much as they like. */
    uint64_t quota_messages_per_second, quota_bytes_per_second, quota_burst_ns;
    int sync;                    /* enum weir_sync */
    uint32_t sync_interval_ms;   /* WEIR_SYNC_INTERVAL */
    uint64_t journal_room_bytes; /* that the journal may still take; UINT64_MAX: no limit, or not known */
};
int weir_ring_inspect(const char *bus, const char *name, struct weir_ring_info *ret_info);

/* Where a ring's memory lies: what was asked for, and what is. */
struct weir_ring_placement {
    size_t size;           /* set to sizeof(struct weir_ring_placement) before the call */
    int huge;              /* enum weir_huge, as asked for */
    int numa_node;         /* as asked for; WEIR_NUMA_NONE */
    int memory_node;       /* the node that most of the memory lies on; WEIR_NUMA_NONE: the kernel does not tell */
    uint64_t memory_bytes; /* all of the ring's memory, in whole pages */
    uint64_t node_bytes;   /* of that: on memory_node */
    uint64_t huge_bytes;   /* of that: in huge pages */
    uint64_t page_bytes;   /* of a huge page where there are any, else of a page */
};
/* Asks the kernel for each page: some 50 ns each, so milliseconds for a large ring. */
int weir_ring_locate(const char *bus, const char *name, struct weir_ring_placement *ret_placement);

/* Calls back with each ring's name, in order of names; stops early when the callback returns non-zero, returns that. */
int weir_ring_list(const char *bus, int (*callback)(void *ctx, const char *name), void *ctx);

enum weir_role { WEIR_PUBLISHER = 0, WEIR_READER = 1, WEIR_DAEMON = 2 };
enum weir_state { WEIR_ALIVE = 0, WEIR_STOPPED = 1, WEIR_DEAD = 2, WEIR_UNKNOWN = 3 };
struct weir_participant {
    size_t size; /* set by the library */
    int role;    /* enum weir_role */
    int state;   /* enum weir_state; stopped is known only for processes of the same pid namespace */
    uint32_t index;
    uint64_t id;
    uint64_t pid;
    uint64_t attached_ns;
    uint64_t position;         /* reader: next to read; publisher: its last message */
    uint64_t lag_bytes;        /* reader: behind the end of the log */
    int gating;                /* reader */
    int holds_claim;           /* publisher: a claimed message that it has not committed stands at the end of the log */
    uint64_t waiting_since_ns; /* publisher: waits for room since then; 0: it does not */
    uint64_t refused_count, refused_last_ns, refused_sequence; /* publisher: as in struct weir_ring_info */
    uint64_t repeated_count;      /* of the publisher's name: refused, for the sequence had been published before */
    uint64_t gap_count;           /* reader: gaps told since it attached */
    uint64_t saved_ns;            /* reader with a cursor: when a position was last saved under it; 0: never */
    char name[WEIR_NAME_MAX + 1]; /* of the publisher, or of the reader's cursor; "" */
};
/* Calls back for everybody attached, alive or dead. Stops early as weir_ring_list(). */
int weir_ring_participants(const char *bus, const char *name,
                           int (*callback)(void *ctx, const struct weir_participant *participant), void *ctx);

/* Walks a live or dead ring and calls back per fault. Returns the number of faults. Never writes. */
int weir_ring_check(const char *bus, const char *name,
                    void (*callback)(void *ctx, const char *file, uint64_t offset, const char *what), void *ctx);

/* -- Messages ----------------------------------------------------------------------------------------------------- */

/* User headers: read with weir_message_header(). */
struct weir_header {
    const char *name; /* 1 to 255 bytes */
    const void *value;
    size_t value_bytes; /* at most 65535; all headers of a message together at most 65528 with its key */
};

enum {
    WEIR_HAS_TIME = 1,    /* publishing: keep time_ns as the time, 0: now; read: time_ns is set */
    WEIR_HAS_EXPIRY = 2,  /* expiry_ns is set */
    WEIR_HAS_SEQUENCE = 4 /* sequence is set; publishing: only for named publishers */
};

/* What is published, and what is read. Zero it, then set what you need. Unused properties cost nothing. */
struct weir_message {
    const void *data; /* read: aligned to 16 bytes, to 8 with any of the properties below */
    size_t data_bytes;
    uint16_t tag; /* the application's own type */
    uint16_t has; /* WEIR_HAS_... */
    uint32_t key_bytes;
    const void *key; /* NULL: none, with key_bytes 0 */
    uint64_t time_ns;
    uint64_t expiry_ns;
    uint64_t sequence;
    const struct weir_header *headers; /* publishing only */
    size_t header_count;               /* read: how many there are */
    /* Read only: */
    uint64_t position;       /* of this message; its unique id within the ring */
    uint64_t next;           /* of the message behind it: save this to go on there */
    uint64_t publisher_hash; /* with WEIR_HAS_SEQUENCE: of the publisher's name */
    const void *reserved_headers;
    size_t reserved_headers_bytes;
};

/* Value of a header of a message that was read: 0, or -ENOENT. *ret_value points into the message. */
int weir_message_header(const struct weir_message *message, const char *name, const void **ret_value,
                        size_t *ret_value_bytes);
/* The index-th header: 0, or -ENOENT past the last. name_bytes is its length; the name is not terminated. */
int weir_message_header_at(const struct weir_message *message, size_t index, const char **ret_name,
                           size_t *ret_name_bytes, const void **ret_value, size_t *ret_value_bytes);
/* The hash that weir_message.publisher_hash carries for a publisher's name. Any thread. */
uint64_t weir_publisher_hash(const char *name);

/* -- Publishing --------------------------------------------------------------------------------------------------- */

struct weir_pub_options {
    size_t size;
    const char *name; /* a named publisher: remembers its last sequence across crashes; NULL: none */
};
#define WEIR_PUB_OPTIONS_INIT                                                                                          \
    {                                                                                                                  \
        sizeof(struct weir_pub_options), NULL                                                                          \
    }

/* Attaches a publisher. -EBUSY: exclusive ring or name held by the living; after a death it is taken over. */
int weir_pub_open(const char *bus, const char *ring, const struct weir_pub_options *options, struct weir_pub **ret_pub);
/* Cancels an open claim. NULL is allowed. */
void weir_pub_close(struct weir_pub *pub);

/*
 * Publishes by copying. Visible to readers when it returns 0. When the ring is full, or has had its quota, it waits
 * up to timeout_ns (block), or refuses with -EAGAIN (drop-new; drop-old for its quota alone). ret_position may be NULL.
 */
int weir_pub_send(struct weir_pub *pub, const void *data, size_t data_bytes, int64_t timeout_ns,
                  uint64_t *ret_position);
/* The same with tag and properties. */
int weir_pub_send_message(struct weir_pub *pub, const struct weir_message *message, int64_t timeout_ns,
                          uint64_t *ret_position);
/*
 * All of them become visible at once, next to each other in the order given, or none is published. Together they must
 * fit in one segment (-EMSGSIZE). ret_positions: NULL, or room for count positions.
 */
int weir_pub_send_batch(struct weir_pub *pub, const struct weir_message *messages, size_t count, int64_t timeout_ns,
                        uint64_t *ret_positions);

/*
 * In place: claim, write up to data_bytes at *ret_data, commit or cancel. *ret_data is aligned to 16 bytes, to 8 with
 * properties or a named publisher. One claim at a time per handle. Readers wait for a claim that is not committed: write
 * at once. message gives tag and properties; its data is not read; NULL: none.
 */
int weir_pub_claim(struct weir_pub *pub, size_t data_bytes, const struct weir_message *message, int64_t timeout_ns,
                   void **ret_data);
/* data_bytes: what was written, at most what was claimed. -EPERM: no claim is open. */
int weir_pub_commit(struct weir_pub *pub, size_t data_bytes, uint64_t *ret_position);
int weir_pub_cancel(struct weir_pub *pub);

/* The last sequence that was published under the handle's name; 0: none yet. -EPERM: it has no name. */
int weir_pub_last_sequence(struct weir_pub *pub, uint64_t *ret_sequence);

enum weir_level {
    WEIR_VISIBLE = 0, /* readers have it */
    WEIR_WRITTEN = 1, /* the kernel has it: survives the daemon's death */
    WEIR_DURABLE = 2  /* on stable storage: survives power loss */
};
/* Has the message at this position, and all before it, reached the level? 0: yes; -EAGAIN: not yet; -EIO: never will. */
int weir_pub_confirm(struct weir_pub *pub, uint64_t position, enum weir_level level);
/*
 * Waits for it up to timeout_ns, and polls the first 250 us of that unless the journal took longer lately, or there is one
 * processor alone: 0, -ETIMEDOUT (-EAGAIN when timeout_ns is 0), -EIO, -EIDRM, -EINTR; both: -EINVAL above
 * WEIR_VISIBLE on a memory-only ring.
 */
int weir_pub_wait(struct weir_pub *pub, uint64_t position, enum weir_level level, int64_t timeout_ns);
/*
 * A descriptor for poll(2) and epoll(7), of confirms. Readable after a weir_pub_confirm() that said -EAGAIN: it is time to
 * ask again. Asking again makes it unreadable, until there is news again, or for good when the answer is another one.
 * For the rest see weir_sub_fd(). WEIR_VISIBLE is looked for every 5 ms only.
 */
int weir_pub_fd(struct weir_pub *pub, int *ret_fd);

/* -- Subscribing -------------------------------------------------------------------------------------------------- */

struct weir_sub_options {
    size_t size;
    uint64_t from;      /* a position, WEIR_POSITION_START or WEIR_POSITION_END */
    const char *cursor; /* name under which the position is saved; found again it wins over `from`; NULL: none */
    int gating;         /* 1: publishers wait for me (memory-only rings that do not drop old) */
    int64_t spin_ns;    /* how long to poll before sleeping in the kernel; -1: a measured default */
    uint64_t since_ns;  /* not 0: stands for `from`, as weir_sub_seek_time() */
};
#define WEIR_SUB_OPTIONS_INIT                                                                                          \
    {                                                                                                                  \
        sizeof(struct weir_sub_options), WEIR_POSITION_START, NULL, 0, -1, 0                                           \
    }

/*
 * Attaches a subscriber. It needs to read the ring's files and to write `readers` alone. A position that is no longer in
 * memory is read from the journal, without the caller doing anything. -EBUSY: the cursor is held by the living.
 */
int weir_sub_open(const char *bus, const char *ring, const struct weir_sub_options *options, struct weir_sub **ret_sub);
/* Does not save the cursor. NULL is allowed. */
void weir_sub_close(struct weir_sub *sub);

/*
 * The next message, in place: ret_message points into the ring, read-only, and stays valid until the next call on the
 * handle. Waits up to timeout_ns: -EAGAIN when timeout_ns is 0 and there is none, else -ETIMEDOUT.
 * -EPIPE: messages are missing here; weir_sub_gap() says which, the next call goes on behind them.
 */
int weir_sub_next(struct weir_sub *sub, int64_t timeout_ns, struct weir_message *ret_message);
/* Up to max_count messages that are there, waiting only for the first. Returns their number. All are valid as above. */
int weir_sub_next_batch(struct weir_sub *sub, struct weir_message *ret_messages, size_t max_count, int64_t timeout_ns);
/*
 * The same by copying the payload into buffer; ret_message->data is buffer, key and headers stay in place.
 * -EMSGSIZE: buffer is too small, ret_message->data_bytes says how much it takes, and the message is still the next.
 */
int weir_sub_recv(struct weir_sub *sub, void *buffer, size_t buffer_bytes, int64_t timeout_ns,
                  struct weir_message *ret_message);

/*
 * A descriptor for poll(2) and epoll(7). Readable (POLLIN): the next call of weir_sub_next(), weir_sub_next_batch() or
 * weir_sub_recv() may have something to say: a message, a gap, an error. Level-triggered: it becomes unreadable when one
 * of them, with whatever timeout_ns, says -EAGAIN or -ETIMEDOUT, and by nothing else. At times it is readable for nothing.
 * With EPOLLET read on until -EAGAIN.
 *
 * It belongs to the handle, which closes it: neither read nor close it, and take it out of the epoll first. Asking again
 * gives the same one. The first call starts a thread, which sleeps on the ring in the caller's stead, blocks all
 * signals, and ends in weir_sub_close(). A wake-up goes through it and takes so much longer (weir bench wakeup). Any thread
 * may poll it; who then reads is the one thread that uses the handle. In a forked child it tells the parent's news,
 * and closing the handle there closes the child's copy. -ENOMEM: no thread or no descriptor left.
 */
int weir_sub_fd(struct weir_sub *sub, int *ret_fd);

enum weir_gap_reason {
    WEIR_GAP_OVERWRITTEN = 0, /* memory-only ring: the reader was too slow, or the messages were never kept */
    WEIR_GAP_EXPIRED = 1,     /* retention removed them from the journal */
    WEIR_GAP_LOST = 2,        /* a restart of the host: [from, to) was not durable, or was never used */
    WEIR_GAP_DAMAGED = 3      /* bytes on disk that do not check */
};
struct weir_gap {
    uint64_t from, to; /* positions: [from, to) */
    int reason;        /* enum weir_gap_reason */
};
/* The gap that the last -EPIPE was about. */
int weir_sub_gap(const struct weir_sub *sub, struct weir_gap *ret_gap);

/* Where the next message is looked for. */
uint64_t weir_sub_position(const struct weir_sub *sub);
/* Goes to a position, WEIR_POSITION_START or WEIR_POSITION_END. */
int weir_sub_seek(struct weir_sub *sub, uint64_t position);
/*
 * Goes to the first message of that time or later. A message's time is when it was published, where it carries that
 * (WEIR_HAS_TIME), else when weird wrote it to the journal, which is known to the second (to 16 MiB of messages, where these
 * come faster); without a journal there is no such time. No message of that time or later is passed over. What is returned
 * first may be older only where it carries no time, by as much as is not known; behind it, times need not rise, since
 * publishers overtake each other. A time to come is the end. It reads what lies between the place that the journal's index
 * knows and the message, 16 MiB or a second's worth mostly.
 */
int weir_sub_seek_time(struct weir_sub *sub, uint64_t time_ns);
/* Keeps a position (of the next message wanted) under the handle's cursor name. -EPERM: it has none. */
int weir_sub_save(struct weir_sub *sub, uint64_t position);
/* 1: the next message is read from memory; 0: from the journal. */
int weir_sub_in_memory(const struct weir_sub *sub);

/* -- Groups -------------------------------------------------------------------------------------------------------- */

/*
 * A group is a cursor over a ring that any number of workers share: each message goes to one of them, and stays with it
 * until it is acknowledged. What a worker gives back, what it held when it died or left, and what it kept beyond its lease,
 * is delivered again, to whoever asks next, with a higher `attempt`. Other groups and subscribers of the ring notice nothing.
 *
 * A group stands beside its ring in shared memory, and goes with it: it outlives its workers and weird, not a restart of the
 * host. It holds up no publisher; what goes from the ring (or its journal) before it was delivered is told as a gap.
 * Messages are handed out in the order of the log, and may overtake each other from there on. Workers need the rights of
 * subscribers. Whoever may work may also alter the group's state: it is as trustworthy as the least trusted of its workers.
 */

/* Fill with WEIR_GROUP_OPTIONS_INIT, then change what you need. */
struct weir_group_options {
    size_t size;              /* sizeof(struct weir_group_options) */
    uint64_t from;            /* a position, WEIR_POSITION_START or WEIR_POSITION_END */
    uint64_t since_ns;        /* not 0: stands for `from`, as weir_sub_seek_time() */
    int64_t lease_ns;         /* how long a worker may keep a message; WEIR_FOREVER: until it dies; 0: 30 s */
    int64_t backoff_ns;       /* of WEIR_NACK_BACKOFF: before the second attempt; 0: at once */
    int64_t backoff_max_ns;   /* at most; 0: 5 minutes, or backoff_ns where that is more */
    uint32_t backoff_percent; /* of the delay before: 100 to 10000; 0: 200, which doubles it */
    uint32_t jitter_percent;  /* up to so much of the delay is left off, by chance: 0 to 100 */
    uint32_t max_entries; /* runs of messages that may be unfinished, and one for each worker: 1 to 16383; 0: 8192 */
    uint32_t max_workers; /* 1 to 1022; 0: 64 */
};
#define WEIR_GROUP_OPTIONS_INIT                                                                                        \
    {                                                                                                                  \
        sizeof(struct weir_group_options), WEIR_POSITION_START, 0, 0, 0, 0, 0, 0, 0, 0                                 \
    }

/*
 * Makes a group, whole or not at all. options may be NULL. It takes the right to write in the ring's directory, and a reader's
 * place for a moment (-ENOSPC). -EEXIST: there is one of that name. Where since_ns is set it reads disks, and may take long.
 */
int weir_group_create(const char *bus, const char *ring, const char *group, const struct weir_group_options *options);
/* -EBUSY: it has workers that are alive, and force is 0. Its workers are told -EIDRM. Never waits. */
int weir_group_remove(const char *bus, const char *ring, const char *group, int force);
/* Calls back with each group's name, in order of names; stops early as weir_ring_list(). */
int weir_group_list(const char *bus, const char *ring, int (*callback)(void *ctx, const char *group), void *ctx);

struct weir_group_info {
    size_t size;         /* set to sizeof(struct weir_group_info) before the call */
    uint64_t created_ns; /* and the next six: as it was made */
    int64_t lease_ns, backoff_ns, backoff_max_ns;
    uint32_t backoff_percent, jitter_percent;
    uint32_t max_entries, max_workers;
    uint32_t entry_count, worker_count; /* in use; alive, or so taken where one may not ask */
    uint64_t position;                  /* all messages before it were handed out at least once */
    uint64_t unfinished_position;       /* all messages before it are finished */
    uint64_t lag_bytes;                 /* from there to the end of the log */
    uint64_t held_count;                /* messages that workers hold */
    uint64_t open_count, delayed_count; /* that came back: to be delivered again, now or later */
    /* Since the group was made: messages delivered, acknowledged, given back by their workers; calls refused with -ECANCELED;
     * gaps told. What a worker counted last may lack. */
    uint64_t taken_count, acked_count, returned_count, refused_count, gap_count;
};
/* While others work the numbers are of different instants. Changes nothing, never waits. */
int weir_group_inspect(const char *bus, const char *ring, const char *group, struct weir_group_info *ret_info);

struct weir_worker_options {
    size_t size;
    uint32_t prefetch; /* messages that are taken ahead of being asked for: 1 (none) to 16; 0: 16 */
    int64_t spin_ns;   /* how long to poll before sleeping in the kernel; -1: a measured default */
};
#define WEIR_WORKER_OPTIONS_INIT                                                                                       \
    {                                                                                                                  \
        sizeof(struct weir_worker_options), 0, -1                                                                      \
    }

/*
 * Joins a group. options may be NULL. It takes a reader's place in the ring. -ENOENT: no such ring, or no such group;
 * -ENOSPC: all places of readers, or of workers, are held by the living. One handle is one worker, used by one thread at a
 * time.
 */
int weir_worker_open(const char *bus, const char *ring, const char *group, const struct weir_worker_options *options,
                     struct weir_worker **ret_worker);
/* What it holds goes back to the group at once. NULL is allowed; so is closing an inherited handle after fork(). */
void weir_worker_close(struct weir_worker *worker);

/* A message in a worker's hands. */
struct weir_task {
    struct weir_message message; /* in place: valid until the next weir_worker_next() or ..._batch() on the handle */
    uint32_t attempt;            /* 1: it is delivered for the first time; stays at 63 */
    uint32_t reserved;
    uint64_t ticket; /* names it to the calls below, as long as the handle is open */
};

/*
 * The next message of the group. Waits up to timeout_ns: -EAGAIN when timeout_ns is 0 and there is none, else -ETIMEDOUT.
 * -EPIPE: messages are missing; weir_worker_gap() says which, and the next call goes on. -EINTR: a signal handler that was
 * installed without SA_RESTART ran. -EIDRM: ring or group were removed. -EBADMSG: a message, which is passed over, or what
 * the group says of it, makes no sense.
 */
int weir_worker_next(struct weir_worker *worker, int64_t timeout_ns, struct weir_task *ret_task);
/*
 * Up to max_count of them that are there, waiting for the first alone; at most 16 at a time. Returns their number. All are
 * valid as above.
 */
int weir_worker_next_batch(struct weir_worker *worker, struct weir_task *ret_tasks, size_t max_count,
                           int64_t timeout_ns);
/* The gap that the last -EPIPE was about. -ENOENT: none was met. */
int weir_worker_gap(const struct weir_worker *worker, struct weir_gap *ret_gap);

/*
 * These name tasks of the same handle by their tickets; the messages need not be valid any more. They never wait. -ECANCELED:
 * the message is not, or no longer, this worker's; the lease has ended, and it may be at another one by now, or the call was
 * made before.
 *
 * Finished: these are never delivered again. -ECANCELED: some of them were refused; the others count. ret_done: how many did,
 * also where it fails; NULL: not asked.
 */
int weir_worker_ack(struct weir_worker *worker, const struct weir_task *tasks, size_t count, size_t *ret_done);
#define WEIR_NACK_BACKOFF (-1)
/*
 * Back to the group, to be delivered again when delay_ns have passed; 0: at once; WEIR_NACK_BACKOFF: as the group's options
 * say, by the task's attempt. -EAGAIN: as many runs are unfinished as the group has entries for, so it is still the worker's:
 * finish others, or let its lease end.
 */
int weir_worker_nack(struct weir_worker *worker, const struct weir_task *task, int64_t delay_ns);
/*
 * The lease of the task ends so long from now, and that of those that were taken in one go with it; WEIR_FOREVER: it does not
 * end while the worker lives. A lease that has run out may end even so, and the ack then says so. A lease also begins anew when
 * the worker is given another message that was taken in one go with it.
 */
int weir_worker_extend(struct weir_worker *worker, const struct weir_task *task, int64_t lease_ns);

/* -- Journals ----------------------------------------------------------------------------------------------------- */

/*
 * A journal is looked at, read and repaired without the ring and without weird, live or dead. Everywhere below: directory is
 * the one in which journals lie; NULL: the one that the ring's link on the bus names, or that of the bus's other rings; where
 * there is none, what weird would take: /var/lib/weir where it may be written, else $XDG_STATE_HOME/weir, else
 * ~/.local/state/weir. These calls read disks and may take long. They take the right to read the journal's files; repair, pin
 * and unpin that to write them.
 */

struct weir_journal;

/* The directory that NULL stands for, into buffer. -ENAMETOOLONG: the buffer is too small. */
int weir_journal_directory(const char *bus, char *buffer, size_t buffer_bytes);
/* Calls back with the name of each journal, in order of names. Stops early as weir_ring_list(). */
int weir_journal_list(const char *bus, const char *directory, int (*callback)(void *ctx, const char *name), void *ctx);
/* Opens a journal for looking, also one whose `meta` is damaged. Holds nothing up. -EMEDIUMTYPE: that directory is no journal. */
int weir_journal_open(const char *bus, const char *directory, const char *name, struct weir_journal **ret_journal);
/* NULL is allowed. */
void weir_journal_close(struct weir_journal *journal);

struct weir_journal_info {
    size_t size; /* set to sizeof(struct weir_journal_info) before the call */
    int live;    /* 1: weird has it; 0: nobody writes it; -1: no right to ask */
    int damaged; /* 1: `meta` is, and what stands here was had from elsewhere, or is a default: weir_journal_repair() */
    int exclusive, when_full;
    uint64_t segment_bytes, memory_limit_bytes;
    uint32_t max_readers, max_publishers;
    uint32_t mode;
    uint32_t uid, gid;
    uint8_t ring_id[16];
    uint64_t created_ns;
    uint64_t epoch;
    uint64_t epoch_position;          /* the first of this epoch */
    uint64_t oldest_position;         /* of the oldest segment that is kept */
    uint64_t end_position;            /* behind the last record that can be read */
    uint64_t durable;                 /* at least so far; of a ring on the bus: exactly */
    uint64_t lease;                   /* no position at or above it was ever given out */
    uint64_t disk_bytes;              /* on disk, of all its files */
    uint64_t file_count, spare_count; /* files with messages; kept ready for those to come */
    uint64_t file_bytes;              /* of the log in one of them: a power of two of the ring's segments */
    uint64_t gap_count, pin_count;
};
int weir_journal_inspect(struct weir_journal *journal, struct weir_journal_info *ret_info);

/* A publisher's last sequence, or a cursor's position, as they were last saved. */
struct weir_journal_name {
    size_t size;   /* set by the library */
    int is_cursor; /* 1: value is a position; 0: value is a sequence */
    char name[WEIR_NAME_MAX + 1];
    uint64_t value;
};
/* -EBADMSG: they are damaged. Stops early as weir_ring_list(). */
int weir_journal_names(struct weir_journal *journal, int (*callback)(void *ctx, const struct weir_journal_name *name),
                       void *ctx);

/* An entry of the journal's ledger: positions that no reader gets. */
struct weir_journal_gap_entry {
    size_t size; /* set by the library */
    uint64_t from, to;
    uint64_t time_ns; /* when it was noted */
    uint64_t epoch;   /* in which it was */
    int reason;       /* enum weir_gap_reason */
};
/*
 * The whole ledger; what weir_journal_next() met is weir_journal_gap(). In the order of positions. Stops early as
 * weir_ring_list().
 */
int weir_journal_gaps(struct weir_journal *journal,
                      int (*callback)(void *ctx, const struct weir_journal_gap_entry *gap), void *ctx);

struct weir_journal_fault {
    size_t size;            /* set by the library */
    const char *file;       /* in the journal's directory; valid during the call */
    uint64_t offset, bytes; /* in the file; bytes 0: all of it */
    uint64_t from, to;      /* positions of the records that are damaged; both 0: none are */
    int known;              /* 1: the ledger tells it already */
    const char *what;
};
/*
 * Reads every record, up to what is durable in a live journal, and checks every checksum. Calls back per fault, and now and
 * then with how much is done. Returns the number of faults that the ledger does not tell. Never writes. progress: NULL, or
 * called now and then; non-zero stops: a negative value is returned as it is, any other as -EINTR.
 */
int weir_journal_verify(struct weir_journal *journal, void (*fault)(void *ctx, const struct weir_journal_fault *fault),
                        int (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes), void *ctx);
/*
 * Brings a journal that nobody writes to a state in which weird opens it and readers are told of each range that is missing.
 * No record that can be read is lost; weir-journal(1) says what is restored, and from what. Calls back with each step, one
 * English sentence; with dry_run 1 nothing is written. Returns the number of steps. -EBUSY: weird has it. progress: as of
 * weir_journal_verify(). On failure the steps that were told are done; repair again. Open it anew afterwards.
 */
int weir_journal_repair(struct weir_journal *journal, int dry_run, void (*step)(void *ctx, const char *text),
                        int (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes), void *ctx);

/*
 * The next message of the journal, from the oldest on; it stays valid until the next call on the handle. -EAGAIN: the end, as
 * it was at the first call, or when a position was last gone to; go to weir_journal_position() for what has come since. -EPIPE:
 * messages are missing here; weir_journal_gap() says which, the next call goes on behind them.
 */
int weir_journal_next(struct weir_journal *journal, struct weir_message *ret_message);
int weir_journal_gap(const struct weir_journal *journal, struct weir_gap *ret_gap);
/* Where the next message is looked for. */
uint64_t weir_journal_position(const struct weir_journal *journal);
/* Goes to a message's position, WEIR_POSITION_START or WEIR_POSITION_END. */
int weir_journal_seek(struct weir_journal *journal, uint64_t position);
/* As weir_sub_seek_time(). */
int weir_journal_seek_time(struct weir_journal *journal, uint64_t time_ns);

/*
 * Pins keep a range of positions from expiring, what is not written yet included. A pin of the same name is replaced. from may
 * be WEIR_POSITION_START, to WEIR_POSITION_END: what is there now. -EPIPE: some of the range has expired already;
 * -ENOSPC: there are 1024; -EBUSY: others have changed pins for five seconds.
 */
int weir_journal_pin(struct weir_journal *journal, const char *name, uint64_t from, uint64_t to);
/* -ENOENT: no such pin. -EBUSY as weir_journal_pin(). */
int weir_journal_unpin(struct weir_journal *journal, const char *name);
/* Also where the file is damaged. */
int weir_journal_unpin_all(struct weir_journal *journal);
struct weir_journal_pin_entry {
    size_t size; /* set by the library */
    char name[WEIR_NAME_MAX + 1];
    uint64_t from, to;
    uint64_t time_ns; /* when it was made */
};
/* In order of names. Stops early as weir_ring_list(). */
int weir_journal_pins(struct weir_journal *journal,
                      int (*callback)(void *ctx, const struct weir_journal_pin_entry *pin), void *ctx);

#ifdef __cplusplus
}
#endif

#endif
