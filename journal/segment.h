/* SPDX-License-Identifier: Apache-2.0 */
/* Segment files: their names, their header block, the list of them. And the arithmetic of positions. */
#ifndef WEIR_JOURNAL_SEGMENT_H
#define WEIR_JOURNAL_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "journal/files.h"
#include "journal/journal.h"

/* -- Positions. The log ends at 2^64: nothing here wraps. ------------------------------------------------ */

static inline uint64_t journal_segment_bytes(uint32_t shift)
{
    return (uint64_t)1 << shift;
}

static inline uint64_t journal_segment_of(uint64_t position, uint32_t shift)
{
    return position >> shift;
}

static inline uint64_t journal_offset_of(uint64_t position, uint32_t shift)
{
    return position & (journal_segment_bytes(shift) - 1);
}

/* The segment's first position; UINT64_MAX behind the last segment that there can be. */
static inline uint64_t journal_segment_start(uint64_t segment, uint32_t shift)
{
    return segment <= UINT64_MAX >> shift ? segment << shift : UINT64_MAX;
}

/* -- Names: %016x.seg ------------------------------------------------------------------------------------ */

#define JOURNAL_SEGMENT_NAME_BYTES 21
void journal_segment_name(uint64_t segment, char ret_name[JOURNAL_SEGMENT_NAME_BYTES]);
/* Sixteen hexadecimal digits, then the suffix. */
bool journal_numbered(const char *name, const char *suffix, uint64_t *ret_number);
/* False: not the name of a segment file. */
bool journal_segment_number(const char *name, uint64_t *ret_segment);

struct journal_segment_list {
    uint64_t *segments; /* ascending */
    size_t count;
};
int journal_list_segments(int folder_fd, uint32_t shift, struct journal_segment_list *ret_list);
void journal_segment_list_free(struct journal_segment_list *list);

/* -- Header block ---------------------------------------------------------------------------------------- */

/* What a segment file should be. */
struct journal_place {
    const uint8_t *ring_id;
    uint32_t shift;
    uint64_t segment;
};
/*
 * The epoch that the header of an open file tells. -EBADMSG: there is no valid header, or it is of another segment, whose file
 * this was once; -ESTALE: it is of another ring; -EPROTONOSUPPORT: of another version or byte order.
 */
int journal_segment_read_header(int fd, const struct journal_place *place, uint64_t *ret_epoch);
/* Whether a header is one: its checksum, magic, version and byte order. */
bool journal_segment_header_checks(const struct journal_segment_header *header);
/* When the segment's first bytes were written, CLOCK_REALTIME. */
int journal_segment_read_created(int fd, const struct journal_place *place, uint64_t *ret_created_ns);
/* JOURNAL_BLOCK_BYTES of it. */
void journal_segment_fill_header(const struct journal_meta *meta, uint64_t segment, uint8_t *block);
int journal_segment_write_header(int fd, const struct journal_meta *meta, uint64_t segment);
/*
 * Writes it anew where it is not valid, or of an earlier epoch, else once more as it is. -ESTALE, -EPROTONOSUPPORT: the file
 * is somebody else's.
 */
int journal_segment_mend_header(int fd, const struct journal_meta *meta, uint64_t segment);
/* Until writes that another process left under way have landed. -EOPNOTSUPP, -ENOSYS: the file system has no way to tell. */
int journal_segment_await(int fd, const struct journal_meta *meta);
/* Whether writes may be left under way: a successor can wait for them. Those that another process left have landed. */
bool journal_segment_flies(int fd, const struct journal_meta *meta);

/*
 * Epochs that a segment without a valid header may be of: those of `meta` and of the nearest segments below and above that
 * have one. Returns their number, or a negative errno where asking may succeed later: good records must not be taken for
 * damaged for want of a descriptor.
 */
#define JOURNAL_EPOCHS_MAX 3
int journal_segment_guess_epochs(int folder_fd, const struct journal_place *place,
                                 uint64_t ret_epochs[JOURNAL_EPOCHS_MAX]);

struct journal_segment_file {
    int fd;
    bool direct;       /* it takes whole blocks past the kernel's cache */
    bool flies;        /* writes to it may be under way: a successor can wait for them */
    bool header_due;   /* its header is to be written with the segment's first bytes, or before */
    bool nothing_kept; /* there are zeros behind the header, or what another segment left */
    bool blank;        /* nothing was ever written to it */
};
/* Makes a segment's file, all its room allocated. Nothing is synced. -EEXIST: there is one. */
int journal_segment_make(int folder_fd, const struct journal_meta *meta, uint64_t segment,
                         struct journal_segment_file *ret_file);
/*
 * Opens a segment's file for writing: gives it the room and the header it should have where a death left it without.
 * What stands in it is not touched. -ENOENT; -ESTALE, -EPROTONOSUPPORT: it belongs to somebody else.
 */
int journal_segment_reopen(int folder_fd, const struct journal_meta *meta, uint64_t segment,
                           struct journal_segment_file *ret_file);

uint64_t journal_segment_file_bytes(const struct journal_meta *meta);
uint64_t journal_wall_ns(void); /* CLOCK_REALTIME */
/* Of a file that takes whole blocks: both ends of one. */
int journal_write_zeros(int fd, uint64_t from, uint64_t to);

#endif
