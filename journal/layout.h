/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte format of a journal: a directory JOURNAL/RING of
 *   meta       two blocks written in turn, the newer valid one counts: what the ring is, its epoch, how far positions are leased
 *   lock       empty: write-locked by who writes or removes the journal, readable by nobody else
 *   ledger     entries appended: ranges of positions that no reader will get, and why; zeros behind them; replaced by
 *              rename when it can be put together
 *   names      last sequences of named publishers, positions of cursors, as of a position; replaced by rename
 *   pins       ranges of positions that retention leaves alone; replaced by rename
 *   pins.lock  empty: write-locked by who changes `pins`, and by who takes segments away
 *   index      entries appended, never synced: which time lies where; replaced by rename when half of it has expired
 *   %016x.seg  one per segment, by number: a header block, then the segment's bytes as in memory. A segment of the journal is
 *              2^n of the ring's, one after the other: so the disk is asked for files seldom, and syncs few at once
 *   %016x.spare
 *              files for segments to come; what is in them means nothing
 *   *.new      what a rename has not reached yet; left by a death, it means nothing
 *
 * A segment has one epoch, since an epoch starts at a segment above all that was ever leased; so a segment file made ahead
 * of need under an earlier one has no records, and gets a new header when it is used. A file is allocated whole; behind the
 * last record lie zeros, or what an interrupted write left: there is no mark of the end but that nothing behind it checks,
 * in this file or a later one. A header that does not check costs no record: their CRCs tell the epoch, if one of the
 * neighbours or meta knows it.
 *
 * Records are those of ringbuf/layout.h, with owner bits zero and the CRC set: CRC-32C over the head word, body_bytes and
 * the body (padding: head and body_bytes alone, which is 0), its initial value the CRC-32C of struct journal_seed. So a record is
 * valid at one position of one ring in one epoch, and what an older file left behind cannot pass for it. All numbers are
 * in the byte order that the format signature tells. Reserved bytes are zero when written, not looked at when read.
 *
 * Changing any of it: raise JOURNAL_LAYOUT_VERSION and say so in docs/shared-memory.md "Versions".
 */
#ifndef WEIR_JOURNAL_LAYOUT_H
#define WEIR_JOURNAL_LAYOUT_H

#include <stdbool.h>

#include "ringbuf/layout.h"

#define JOURNAL_LAYOUT_VERSION 1u
#define JOURNAL_BLOCK_BYTES 4096u
#define JOURNAL_SEGMENT_MAGIC 0x3147455352494557ull /* "WEIRSEG1" */
#define JOURNAL_META_MAGIC 0x3154454d52494557ull    /* "WEIRMET1" */
#define JOURNAL_LEDGER_MAGIC 0x3152474c52494557ull  /* "WEIRLGR1" */
#define JOURNAL_NAMES_MAGIC 0x314d414e52494557ull   /* "WEIRNAM1" */
#define JOURNAL_INDEX_MAGIC 0x3158444e52494557ull   /* "WEIRNDX1" */
#define JOURNAL_PINS_MAGIC 0x314e495052494557ull    /* "WEIRPIN1" */

struct journal_seed {
    uint8_t ring_id[16];
    uint64_t epoch;
    uint64_t position;
};
static_assert(sizeof(struct journal_seed) == 32, "seed");

/* First block of a segment file; the segment's bytes follow at JOURNAL_BLOCK_BYTES. */
struct journal_segment_header {
    uint64_t magic;
    uint32_t layout_version;
    uint32_t header_bytes; /* JOURNAL_BLOCK_BYTES */
    uint64_t format_signature;
    uint8_t ring_id[16];
    uint64_t epoch;
    uint64_t segment;
    uint32_t segment_shift;  /* of the ring */
    uint32_t segments_shift; /* 2^n of the ring's are in the file */
    uint64_t created_ns;
    char name[RING_NAME_BYTES];
    uint8_t reserved1[3];
    uint32_t crc; /* CRC-32C of everything before it */
};
static_assert(sizeof(struct journal_segment_header) == 144, "segment header");
/* What a header or `meta` may say. A segment of the journal is no larger than one of a ring may be. */
static inline bool journal_shifts_check(uint32_t segment_shift, uint32_t segments_shift)
{
    return segment_shift >= RING_SEGMENT_SHIFT_MIN && segment_shift <= RING_SEGMENT_SHIFT_MAX &&
           segments_shift <= RING_SEGMENT_SHIFT_MAX - segment_shift;
}

/* At offset 0 and JOURNAL_BLOCK_BYTES of `meta`. */
struct journal_meta_block {
    uint64_t magic;
    uint32_t layout_version;
    uint32_t header_bytes; /* sizeof(struct journal_meta_block) */
    uint64_t format_signature;
    uint64_t generation; /* the higher valid one counts */
    uint8_t ring_id[16];
    uint64_t created_ns;
    uint64_t epoch;
    uint64_t start;   /* first position of the epoch */
    uint64_t lease;   /* no position at or above it was ever given out */
    uint64_t durable; /* at least this far when the block was written */
    uint64_t features_incompatible;
    uint64_t memory_limit_bytes;
    uint32_t flags, when_full;
    uint16_t segment_shift;  /* of the ring */
    uint16_t segments_shift; /* 2^n of the ring's are in one file */
    uint32_t max_publishers, max_readers, max_producers, max_cursors;
    uint32_t mode, uid, gid;
    char name[RING_NAME_BYTES];
    uint8_t huge;       /* as in ring_control: how a ring that is brought back is to be placed */
    uint16_t numa_node; /* node + 1, 0: none */
    uint32_t crc;       /* CRC-32C of everything before it */
};
static_assert(sizeof(struct journal_meta_block) == 216, "meta block");

enum journal_gap_reason { JOURNAL_GAP_EXPIRED = 1, JOURNAL_GAP_LOST = 2, JOURNAL_GAP_DAMAGED = 3 };
struct journal_ledger_entry {
    uint64_t magic;
    uint64_t from, to; /* positions: [from, to) */
    uint64_t time_ns;  /* CLOCK_REALTIME */
    uint64_t epoch;
    uint32_t reason; /* enum journal_gap_reason */
    uint8_t reserved[16];
    uint32_t crc;
};
static_assert(sizeof(struct journal_ledger_entry) == 64, "ledger entry");

/* `names`: header, then entries; the crc covers the header before it and all entries. */
struct journal_names_header {
    uint64_t magic;
    uint32_t layout_version;
    uint32_t producer_count;
    uint32_t cursor_count;
    uint32_t reserved0;
    uint8_t ring_id[16];
    uint64_t position; /* every record below it is counted in the producers' sequences */
    uint8_t reserved1[12];
    uint32_t crc;
};
static_assert(sizeof(struct journal_names_header) == 64, "names header");
struct journal_name_entry {
    char name[RING_NAME_BYTES];
    uint8_t reserved[7];
    uint64_t value; /* producer: last sequence; cursor: position */
};
static_assert(sizeof(struct journal_name_entry) == 80, "name entry");

/* `pins`: header, then entries; the crc covers the header before it and all entries. */
#define JOURNAL_PINS_MAX 1024u
struct journal_pins_header {
    uint64_t magic;
    uint32_t layout_version;
    uint32_t count;
    uint8_t reserved[12];
    uint32_t crc;
};
static_assert(sizeof(struct journal_pins_header) == 32, "pins header");
struct journal_pin_entry {
    char name[RING_NAME_BYTES];
    uint8_t reserved[7];
    uint64_t from, to; /* positions: [from, to) */
    uint64_t time_ns;  /* CLOCK_REALTIME, when it was made */
};
static_assert(sizeof(struct journal_pin_entry) == 96, "pin entry");

/* `index`: what lies at or above the position was written at this time or later, what lies below it then or before. */
struct journal_index_entry {
    uint64_t magic;
    uint64_t position; /* not below that of the entry before, */
    uint64_t time_ns;  /* CLOCK_REALTIME: nor is this */
    uint32_t reserved;
    uint32_t crc; /* CRC-32C of ring_id and everything before it */
};
static_assert(sizeof(struct journal_index_entry) == 32, "index entry");

#endif
