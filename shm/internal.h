/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of shm/ share with each other. Nobody else includes it, save for the tests of shm/.
 */
#ifndef WEIR_SHM_INTERNAL_H
#define WEIR_SHM_INTERNAL_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

#include "shm/shm.h"

/*
 * In the testing build each step of a creation or removal is a point where a test can make the process die or wait; the
 * hook is called with the step's name.
 */
#ifdef WEIR_TESTING
extern void (*shm_point_hook)(const char *step);
static inline void shm_point(const char *step)
{
    if (shm_point_hook)
        shm_point_hook(step);
}
#else
static inline void shm_point(const char *step)
{
    (void)step;
}
#endif

/* -- Explaining: explain.c ---------------------------------------------------------------------------------------- */

/* Explains and returns -error; %m in the format is that error's text. */
int shm_fail(struct shm_why *why, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Where an open directory lies, for messages alone: paths change, descriptors do not. */
struct shm_place {
    char text[256];
};
const char *shm_place_of(int fd, struct shm_place *place);

/* "14.2 MiB (14888960 bytes)" */
struct shm_amount {
    char text[64];
};
const char *shm_amount_of(uint64_t bytes, struct shm_amount *amount);

/* -- Bus: bus.c --------------------------------------------------------------------------------------------------- */

/* The two places of a bus that nobody named; the tests have others than /run/weir and /dev/shm. */
struct shm_bus_places {
    const char *service; /* the bus that the operator made */
    const char *memory;  /* where each user's own bus is made */
};
int shm_bus_open_default(const struct shm_bus_places *places, char *path, size_t path_bytes, struct shm_why *why);

/* Checks the name, with a sentence. */
int shm_name_require(const char *name, struct shm_why *why);

/* -- Files of a ring: files.c ------------------------------------------------------------------------------------- */

/*
 * In the order in which they are removed: `locks` is a builder's claim to its .new- directory, made first and removed
 * last.
 */
enum shm_file {
    SHM_FILE_CONTROL,
    SHM_FILE_READERS,
    SHM_FILE_DATA,
    SHM_FILE_READER_LOCKS,
    SHM_FILE_JOURNAL,
    SHM_FILE_LOCKS,
    SHM_FILE_COUNT
};
const char *shm_file_name(enum shm_file file);

#define SHM_NEW_PREFIX ".new-"
#define SHM_OLD_PREFIX ".old-"
/* A prefix, 16 random characters, and the end. */
struct shm_temp_name {
    char text[24];
};
int shm_make_temp_name(const char *prefix, struct shm_temp_name *ret_name);

/* A directory of that bus, never through a symbolic link. Negative errno as it came. */
int shm_open_directory(int bus_fd, const char *name);
/*
 * A regular file in an untrusted directory: never through a symbolic link but that of `data` to hugetlbfs, never waiting
 * for the far end of a pipe.
 * -EMEDIUMTYPE: something else stands there; -ENOENT: nothing does.
 */
int shm_open_file(int dir_fd, enum shm_file file, int flags);
/* True while `name` on the bus still is this directory. */
bool shm_is_named(int bus_fd, const char *name, int dir_fd);
/* Through a descriptor of its own: the position in the caller's stays where it is. NULL: errno says why. */
DIR *shm_open_listing(int dir_fd);
#define SHM_PART_PREFIX "group."
/* Whether a file of a ring's directory is one of part.c, by its name. */
bool shm_is_part(const char *file);
/* Removes the files of a ring and then the directory, by what it is called now. Negative errno: something is left. */
int shm_remove_directory(int bus_fd, const char *name, int dir_fd);

/* -- Placement: place.c ------------------------------------------------------------------------------------------- */

/* 0: memory of this process may lie there. */
int shm_node_check(unsigned node, struct shm_why *why);
/* Before it is touched: where the file's pages are to lie (NUMA), and of what kind (transparent huge pages). */
int shm_place_memory(void *memory, uint64_t bytes, const struct shm_create *create, bool is_data, struct shm_why *why);
/* When all is touched: is it as it was asked for? */
int shm_place_verify(const struct shm_ring *ring, const struct shm_create *create, struct shm_why *why);

/* -- `data` on hugetlbfs: huge.c ---------------------------------------------------------------------------------- */

/*
 * Makes the link `data` and then, where it leads, an empty file: nothing can be left behind that no link leads to. Returns
 * a descriptor.
 */
int shm_huge_make(int dir_fd, uint64_t bytes, struct shm_why *why);
/*
 * Opens what the link `data` leads to, if that is a file of weir's on hugetlbfs which belongs to the owner of the ring's
 * directory: who can make a link may not lend himself others' files, nor the rights of whoever follows it. -EMEDIUMTYPE:
 * it is not; -ENOENT: there is nothing.
 */
int shm_huge_open(int dir_fd, int flags);
/* Removes that file, under the same condition, before the link goes. 0 also where there is nothing to remove. */
int shm_huge_remove(int dir_fd);
/* Why there were too few pages. Returns -ENOMEM. */
int shm_huge_lost(const struct shm_create *create, struct shm_why *why);

/* -- Rights: rights.c --------------------------------------------------------------------------------------------- */

/* -EINVAL: bits that make no sense for a ring. */
int shm_mode_check(mode_t mode, struct shm_why *why);
/* Gives the files of a ring under construction, and its directory, their owner, group and modes. */
int shm_give_rights(const struct shm_ring *ring, const struct shm_create *create, struct shm_why *why);

/* -- Room: room.c ------------------------------------------------------------------------------------------------- */

/* 0 when the tmpfs of the bus, and the machine, container or NUMA node behind it, have that many bytes; else -ENOMEM. */
int shm_room_check(int bus_fd, const struct shm_create *create, uint64_t needed_bytes, struct shm_why *why);
/* The explanation alone, for when the room was lost to others after the check. Returns -ENOMEM. */
int shm_room_lost(int bus_fd, const struct shm_create *create, uint64_t needed_bytes, struct shm_why *why);
/* A whole number out of a file of /proc or /sys. False: not there, or none in it. */
bool shm_read_number(const char *directory, const char *file, uint64_t *ret_number);
/*
 * What a control group (version 2) at this directory still may take: its limit less what the kernel cannot give up.
 * UINT64_MAX: no limit, or no such files.
 */
uint64_t shm_room_of_group(const char *directory);

/* -- Left-overs: remove.c ----------------------------------------------------------------------------------------- */

/* Removes what dead builders and interrupted removals left on the bus, as far as this process may. */
void shm_sweep(int bus_fd);

/* -- Descriptors that hold locks: alive.c ------------------------------------------------------------------------- */

/*
 * A lock belongs to an open file description and lives as long as any descriptor of it, in any process. So a forked
 * child has to close the descriptors that it inherited, and must know all of them: whoever opens a lock file holds the
 * list from before the open until the ring that has the descriptor stands in the list.
 */
int shm_forks_register(void); /* once in the process; before the first lock file is opened */
void shm_forks_hold(void);
void shm_forks_release(void);
void shm_forks_add(struct shm_ring *ring);    /* list held */
void shm_forks_remove(struct shm_ring *ring); /* list held; closes the lock descriptors */

#endif
