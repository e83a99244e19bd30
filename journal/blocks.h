/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct I/O: whole blocks from aligned memory to the disk, past the kernel's cache. Records end anywhere, so the block in
 * which the last one ends is written again, whole, with the next one.
 */
#ifndef WEIR_JOURNAL_BLOCKS_H
#define WEIR_JOURNAL_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

struct journal_file;
struct journal_flight;
struct journal_writer;

/* Whole blocks that are to fly together: what follows them can still be added. */
struct journal_gathered {
    struct journal_flight *flight; /* NULL: nothing is gathered */
    int fd;
    uint64_t segment, first, end; /* offsets in the segment */
    uint64_t lead;                /* of the header in front of them */
    uint64_t position;            /* behind the last record */
};

struct journal_blocks {
    struct journal_gathered gathered;
    uint8_t *header; /* room for a segment's header block, in front of the stage */
    uint8_t *stage;  /* where whole blocks are put together */
    uint8_t *last;   /* the block that was written last, where that was not full */
    uint64_t last_segment, last_offset;
    bool has_last;
};

int journal_blocks_init(struct journal_blocks *blocks); /* -ENOMEM */
void journal_blocks_free(struct journal_blocks *blocks);
/*
 * Writes bytes at an offset in the file's segment; what is in their first and last block around them stays. Where the file's
 * header is due, it stands in blocks->header, and is written together with the segment's first bytes. Where writes fly, those
 * that follow one another are gathered first, as many as there is room for in one: journal_flights_settle() sends them.
 */
int journal_blocks_write(struct journal_writer *writer, const struct journal_file *file, uint64_t offset,
                         const void *bytes_at, uint64_t bytes);
/* Where bytes that fly can be put together: journal_stage(). NULL: nowhere. */
uint8_t *journal_blocks_stage(struct journal_writer *writer, const struct journal_file *file, uint64_t offset,
                              uint64_t bytes);
/* Sends what is gathered, if anything is. */
void journal_blocks_send(struct journal_writer *writer);

#endif
