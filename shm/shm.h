/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named memory on tmpfs: create, attach, remove; who is alive; how to sleep and wake; the heavy fence. Knows nothing of
 * what the bytes mean.
 *
 * A ring is a directory BUS/NAME of files:
 *   control        read by whoever may read the ring, written by publishers, mapped
 *   readers        written by whoever may read the ring, mapped
 *   data           as control, mapped; with SHM_HUGE_PAGES a symbolic link to such a file on hugetlbfs
 *   locks          who publishes: byte ID is write-locked (F_OFD_SETLK) by the living holder of that id; for writers only
 *   locks.readers  the same for subscribers
 *   journal        symbolic link to the ring's journal directory, made by weird
 *   group.NAME     as readers, mapped by who needs it: a group of workers
 * A ring is built under BUS/.new-... and renamed into place with RENAME_NOREPLACE, so nobody can attach to half of one.
 * A builder holds a lock on byte 0 of its .new- directory's `locks`; left-over .new- directories without that lock, and
 * .old- ones of interrupted removals, are removed by whoever creates a ring later and has the right to.
 *
 * Functions return 0 or more, or a negative errno as the system call gave it; -EILSEQ and -ENAMETOOLONG for bad names.
 * `why`, where present, may be NULL; else it receives a sentence: what was wrong, where, what to do.
 */
#ifndef WEIR_SHM_SHM_H
#define WEIR_SHM_SHM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct shm_why {
    char text[512];
};
void shm_explain(struct shm_why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* 1 to 64 of A-Z a-z 0-9 . _ - , no leading dot: 0, -ENAMETOOLONG or -EILSEQ. */
int shm_name_check(const char *name);

/*
 * Opens the bus directory: `bus` if not NULL, else $WEIR_BUS, else /run/weir where it is a directory that I may search, else
 * /dev/shm/weir-UID, made with mode 0755 when missing and refused (-EPERM) unless it is a real directory of mine that
 * nobody else may write. path, which may be NULL, gets what was chosen. Returns a descriptor (O_DIRECTORY | O_CLOEXEC).
 * A given bus is made (one level, mode 0755) when `make` is true and it is missing. Where I may search the bus but not
 * list it the descriptor is O_PATH: enough for all functions here, not for readdir.
 */
int shm_bus_open(const char *bus, bool make, char *path, size_t path_bytes, struct shm_why *why);

struct shm_sizes {
    uint64_t control_bytes;
    uint64_t readers_bytes;
    uint64_t data_bytes;
};

/* -- Placement: place.c, huge.c ------------------------------------------------------------------------------------ */

enum shm_huge {
    SHM_HUGE_NONE,       /* the pages of the tmpfs */
    SHM_HUGE_PAGES,      /* `data` is a file on hugetlbfs */
    SHM_HUGE_TRANSPARENT /* huge pages of the tmpfs, as many as the kernel gives, one at least */
};
/*
 * Of what size they are: what `data` must be a multiple of. At most `most` bytes where there is a choice. -EOPNOTSUPP: this
 * machine has none, or none for me.
 */
int shm_huge_page_bytes(enum shm_huge huge, uint64_t most, uint64_t *ret_bytes, struct shm_why *why);
/* The NUMA node that the calling thread runs on. */
int shm_node_here(unsigned *ret_node, struct shm_why *why);

/* Where a ring's memory lies, as the kernel says. */
struct shm_placement {
    uint64_t memory_bytes; /* all of control, readers and data, in whole pages */
    uint64_t page_bytes;   /* huge pages' size where there are any, else that of the others */
    uint64_t huge_bytes;   /* of memory_bytes: in huge pages */
    int node;              /* that most of it lies on; -1: the kernel does not tell */
    uint64_t node_bytes;   /* of memory_bytes: on that node */
};
struct shm_ring;
/* Maps every page of the ring into this process, if need be, and asks for each. */
void shm_look_placement(const struct shm_ring *ring, struct shm_placement *ret_placement);

/* -- Create -------------------------------------------------------------------------------------------------------- */

struct shm_create {
    const char *name;
    struct shm_sizes sizes;
    enum shm_huge huge;
    bool set_node; /* all of its memory on this NUMA node, and nowhere else */
    unsigned node;
    mode_t mode;  /* 0600, 0640, 0660, ...: read bits may subscribe, write bits may publish */
    bool set_gid; /* give the files this group */
    gid_t gid;
    bool set_uid; /* weird restoring a ring */
    uid_t uid;
    const char *journal; /* where the link `journal` leads; NULL: weird will make it */
    /* Formats the zeroed, touched memory before the ring gets its name. */
    void (*format)(void *ctx, void *control, void *readers, void *data);
    void *ctx;
};
/*
 * Allocates (fallocate) and touches everything: -ENOMEM with the size needed and the size free when it does not fit.
 * -EOPNOTSUPP: the placement is not to be had here; -EINVAL: no such node.
 * -EEXIST: the name is taken, also where another creator was faster. -EINVAL: the bus is not on tmpfs, the mode lets
 * somebody write who may not read, or shuts out the owner. Rights do not depend on the umask. On failure nothing is left.
 */
int shm_create(int bus_fd, const struct shm_create *create, struct shm_why *why);

enum shm_access {
    SHM_LOOK,      /* control, readers, data mapped PROT_READ; no locks needed (ring info, check) */
    SHM_SUBSCRIBE, /* control and data PROT_READ, readers writable; control writable too if `repair` and allowed */
    SHM_PUBLISH,   /* control and data writable, readers PROT_READ */
    SHM_SERVE      /* all writable, for weird: as SHM_PUBLISH, and the readers' table can be swept */
};

struct shm_ring {
    int dir_fd;
    int control_fd, readers_fd, data_fd;
    int lock_fd;        /* `locks`; -1 where it may not be opened, and in a forked child */
    int reader_lock_fd; /* `locks.readers`; likewise */
    void *control;
    void *readers;
    void *data;
    struct shm_sizes sizes;
    bool control_writable, data_writable, readers_writable;
    struct shm_ring *next_open, **link; /* list of open rings of this process, for fork */
};
/*
 * Maps the files whole; data is prefaulted (MAP_POPULATE) for SUBSCRIBE and PUBLISH. With repair, SUBSCRIBE maps control and data
 * writable where the rights allow it (to turn the claims of the dead into padding), both or none. Lock files are opened by
 * a descriptor of their own, O_CLOEXEC, and never mapped; for writing by those alone who take a lock there (`locks`:
 * PUBLISH and SERVE; `locks.readers`: SUBSCRIBE and SERVE). -ENOENT: no such ring; -EMEDIUMTYPE: a file is missing, is not a
 * regular file, or has holes. The caller compares sizes with what control says.
 * The struct must stay where it is until it is closed: the list of open rings points to it.
 */
int shm_open_ring(int bus_fd, const char *name, enum shm_access access, bool repair, struct shm_ring *ret_ring,
                  struct shm_why *why);
/*
 * Unmaps and closes all; the locks go with the descriptors. Safe in a forked child (harms nobody's locks). NULL, a zeroed
 * struct and one that is closed already are allowed.
 */
void shm_close_ring(struct shm_ring *ring);

/*
 * Takes the name away (rename to .old-..., then unlink). A process that has it mapped keeps its memory. Damaged rings can be
 * removed too; -EMEDIUMTYPE: a directory that holds anything else than the files of a ring.
 */
int shm_remove(int bus_fd, const char *name, struct shm_why *why);
/* `gone` is called once the name is taken away, and before any file in the ring's directory is. */
int shm_remove_telling(int bus_fd, const char *name, void (*gone)(void *ctx, int dir_fd), void *ctx,
                       struct shm_why *why);

/* -- Further files of a ring: part.c ------------------------------------------------------------------------------ */

/*
 * `group.NAME` in the ring's directory, with the rights of `readers`; it goes with the ring. Made and touched whole: -ENOMEM
 * when there is no room. `format` fills the zeroed memory before the file gets its name. -EEXIST: the name is taken.
 */
int shm_part_create(int dir_fd, const char *name, uint64_t bytes, void (*format)(void *ctx, void *memory), void *ctx,
                    struct shm_why *why);
struct shm_part {
    void *memory; /* NULL: closed */
    size_t bytes;
    dev_t device;
    ino_t inode;
};
/* -ENOENT; -EMEDIUMTYPE: no regular file, or one with holes. */
int shm_part_open(int dir_fd, const char *name, bool writable, struct shm_part *ret_part, struct shm_why *why);
/* A zeroed one, and one that is closed already, are allowed. */
void shm_part_close(struct shm_part *part);
/* Its name still leads to it. */
bool shm_part_is_named(int dir_fd, const char *name, const struct shm_part *part);
int shm_part_remove(int dir_fd, const char *name, struct shm_why *why);
/* Calls back with each name, in no order; stops when the callback returns non-zero, and returns that. */
int shm_part_list(int dir_fd, int (*callback)(void *ctx, const char *name), void *ctx);

/* -- Alive or dead ------------------------------------------------------------------------------------------------- */

/*
 * A lock belongs to the open file description: each shm_open_ring() makes one, dup and fork share it. It lasts until the
 * last descriptor of the description is closed, in any process; asked through its own description it is never seen.
 */
/* Write-locks byte `id` of the lock file on this descriptor. -EBUSY: somebody has it. Ids are below 2^62. */
int shm_lock(int lock_fd, uint64_t id);
/*
 * 1: a living holder has it, through another description than this one; 0: nobody has, or I do myself, or nobody ever can
 * (2^62 and above); negative: cannot tell. A descriptor open for reading is enough; a read lock counts for nothing.
 */
int shm_locked(int lock_fd, uint64_t id);

/*
 * Raised by one in every forked child (pthread_atfork), which also closes the lock descriptors of all rings that are
 * open in it, so that the parent's locks die with the parent. Handles remember the value that they were opened under.
 * Written only while the child is a single thread. Who makes processes behind libc's back (clone, _Fork) must exec at
 * once; what exec, posix_spawn and system start inherits nothing.
 */
extern uint32_t shm_fork_generation;

/* -- Sleep and wake ------------------------------------------------------------------------------------------------ */

/*
 * Sleeps while *word == expected, at most timeout_ns (INT64_MAX: for ever). 0: woken or changed, or for no reason at all;
 * -ETIMEDOUT; -EINTR, after any signal handler. The word may be mapped read-only.
 */
int shm_sleep(const uint32_t *word, uint32_t expected, int64_t timeout_ns);

#define SHM_WORDS_MAX 128u   /* FUTEX_WAITV_MAX */
#define SHM_BLIND_NS 5000000 /* no sleep is longer where not every word can be waited on */
struct shm_word {
    const uint32_t *word;
    uint32_t expected;
};
/*
 * Sleeps until one of the words is not what was expected and somebody wakes its sleepers, or for timeout_ns, or for no
 * reason at all. The words may be gone. With more words than the kernel takes, or a kernel that cannot wait on several
 * (before 5.16, or forbidden), it waits on the first one, at most SHM_BLIND_NS. -EINTR: a signal handler ran that was
 * installed without SA_RESTART (behind others the kernel sleeps on); else 0.
 */
int shm_sleep_any(const struct shm_word *words, uint32_t count, int64_t timeout_ns);
void shm_wake_all(const uint32_t *word);

/* -- Fence --------------------------------------------------------------------------------------------------------- */

/* Registers the process for the heavy fence; more than once is allowed. False: the kernel refuses; the process must fence for itself. */
bool shm_fence_register(void);
/* membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED): a full fence on each processor that runs a registered process. */
bool shm_fence(void);

/* -- Time and processes -------------------------------------------------------------------------------------------- */

uint64_t shm_now_ns(void);    /* CLOCK_MONOTONIC */
uint64_t shm_coarse_ns(void); /* CLOCK_MONOTONIC_COARSE: some milliseconds behind, at a tenth of the cost */
uint64_t shm_wall_ns(void);   /* CLOCK_REALTIME */
/* 1: /proc says state T or t; 0: it runs or sleeps; -ESRCH, also for a zombie. Only for processes of this pid namespace. */
int shm_process_stopped(pid_t pid);

#endif
