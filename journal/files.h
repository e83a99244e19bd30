/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and making the files of a journal, which somebody else may own and may have planted. */
#ifndef WEIR_JOURNAL_FILES_H
#define WEIR_JOURNAL_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define JOURNAL_META_NAME "meta"
#define JOURNAL_LEDGER_NAME "ledger"
#define JOURNAL_NAMES_NAME "names"
#define JOURNAL_LOCK_NAME "lock"
#define JOURNAL_PINS_NAME "pins"
#define JOURNAL_PINS_LOCK_NAME "pins.lock"

/* Whose the files are, and who else may read them: the read bits of `mode` for group and others. */
struct journal_rights {
    uint32_t mode, uid, gid;
};

/* 1 to 64 of A-Z a-z 0-9 . _ - , no leading dot: 0, -ENAMETOOLONG or -EILSEQ. */
int journal_name_check(const char *name);

/* A directory, not through a symbolic link. -ENOENT; -EMEDIUMTYPE: something else has the name. */
int journal_folder_open(int parent_fd, const char *name);
/* Gives a directory that was just made its owner and mode. */
int journal_folder_set_rights(int folder_fd, const struct journal_rights *rights);

/* A regular file that is there, not through a symbolic link. -EMEDIUMTYPE: something else; -EPERM: see the function. */
int journal_file_open(int folder_fd, const char *name, bool writable);
/* A new file. -EEXIST: there is one. */
int journal_file_make(int folder_fd, const char *name, const struct journal_rights *rights);
/* A lock file: its owner's alone. Somebody may have thought it a left-over: it is made where it is missing. */
int journal_lock_file_open(int folder_fd, const char *name);
/*
 * Opens DIR/NAME and takes the lock of its one writer, a file of its own: whoever may read a file may keep others from locking
 * it, and nobody but the journal's owner may read this one. -EBUSY: somebody has it; -EMEDIUMTYPE: it is no journal; -ENOENT:
 * there is none, or it was taken away meanwhile. While *ret_lock_fd is open, nobody else writes or removes what has the name.
 */
int journal_folder_lock(int journal_fd, const char *name, int *ret_folder_fd, int *ret_lock_fd);
/* Whether this directory still has that name: 0, or -ENOENT. */
int journal_folder_stands(int journal_fd, const char *name, int folder_fd);

/*
 * Replaces a file's content at once and durably: written to NAME.new, synced, renamed, directory synced. On failure either
 * the old or the new content is in place. *ret_sync_failed: it was a sync that failed.
 */
int journal_file_replace(int folder_fd, const char *name, const struct journal_rights *rights, const void *data,
                         uint64_t bytes, bool *ret_sync_failed);

/*
 * Writes bytes of a file over themselves and syncs it. Afterwards they are on stable storage, which a sync alone does not
 * say: pages that an earlier error left unwritten are clean, and can be read, until the power goes.
 */
int journal_file_secure(int fd, uint64_t from, uint64_t to);

/*
 * Whole blocks, of a file that may have been opened for direct I/O, to and from aligned memory. Some file systems take the
 * flag and refuse the calls: such a file goes through the kernel's cache from then on.
 */
int journal_file_write_blocks(int fd, const void *data, uint64_t bytes, uint64_t offset);
int64_t journal_file_read_blocks(int fd, void *buffer, uint64_t bytes, uint64_t offset);

#endif
