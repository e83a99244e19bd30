/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte format of a ring: files `control`, `readers` and `data`, and the record, which is the same in memory and in the
 * journal. Structs, constants and static asserts, nothing else; docs/shared-memory.md has the same as tables, with the
 * state that each possible death leaves.
 *
 * Changing any of it: raise RING_LAYOUT_VERSION, add a line to docs/shared-memory.md "Versions", and, if records
 * change, raise JOURNAL_LAYOUT_VERSION too. Unknown incompatible feature bits refuse the attach; unknown compatible
 * ones are ignored. Reserved bytes are zero when written and not looked at when read. Byte order is the host's in
 * memory; the format signature holds a byte-order mark, so that a journal carried to another kind of host is refused.
 */
#ifndef WEIR_RINGBUF_LAYOUT_H
#define WEIR_RINGBUF_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "ringbuf/access.h"

/* In C and in C++ alike. */
#define RING_PAIR_ALIGNED __attribute__((aligned(MEM_PAIR_BYTES)))

#define RING_LAYOUT_VERSION 1u
#define RING_CONTROL_MAGIC 0x314c544352494557ull /* "WEIRCTL1" */
#define RING_READERS_MAGIC 0x3152445252494557ull /* "WEIRRDR1" */

/* Byte order, cache line, unit and word sizes that both ends must share; built from the constants below. */
#define RING_FORMAT_SIGNATURE                                                                                          \
    (0x0102030400000000ull | ((uint64_t)MEM_PAIR_BYTES << 16) | (RING_UNIT_BYTES << 8) | sizeof(void *))

/* Records are multiples of a unit, and start on one: a record of up to 48 bytes of payload is one cache line. */
#define RING_UNIT_BYTES 64u
#define RING_UNIT_SHIFT 6
#define RING_SEGMENT_SHIFT_MIN 12 /* 4 KiB */
#define RING_SEGMENT_SHIFT_MAX 26 /* 64 MiB */
#define RING_SLOTS_MAX 4096u
#define RING_SLOTS_MIN 3u
#define RING_PUBLISHERS_MAX 512u
#define RING_READERS_MAX 1024u
#define RING_NAME_BYTES 65u /* 64 characters and the end */

/* Incompatible feature bits. */
#define RING_FEATURE_FENCED 1u /* every process fences after its news (E6 sleep); nobody needs membarrier */
#define RING_FEATURES_KNOWN RING_FEATURE_FENCED

/* ring_control.flags */
#define RING_EXCLUSIVE 1u /* one publisher at a time; else shared */
#define RING_JOURNALED 2u /* drained to disk by weird; else memory only */

/* The pages that `data` was asked to lie on: hugetlbfs, or transparent huge pages of the tmpfs. */
enum ring_huge { RING_HUGE_NONE = 0, RING_HUGE_PAGES = 1, RING_HUGE_TRANSPARENT = 2 };
#define RING_NODES_MAX 1024u

enum ring_when_full { RING_BLOCK = 0, RING_DROP_NEW = 1, RING_DROP_OLD = 2 };

/* -- Record ------------------------------------------------------------------------------------------------------ */

/*
 * First word, atomic:
 *   bits  0..1   state
 *   bits  2..4   flags
 *   bits  5..25  allocated length in units, header included; never changes after the claim
 *   bits 26..41  type tag
 *   bits 42..63  owner: index + 1 of the publisher (10), low bits of its id (12)
 * A free header is zero. Second word: bytes of properties and payload (low half), CRC-32C in the journal (high half).
 */
struct ring_record {
    struct mem_u64 head;
    uint32_t body_bytes;
    uint32_t crc;
};
static_assert(sizeof(struct ring_record) == 16, "record header");

enum ring_record_state { RING_FREE = 0, RING_CLAIMED = 1, RING_READY = 2, RING_PADDING = 3 };

#define RING_HEAD_FLAG_SHIFT 2
#define RING_HEAD_UNITS_SHIFT 5
#define RING_HEAD_TAG_SHIFT 26
#define RING_HEAD_OWNER_SHIFT 42
#define RING_UNITS_MASK 0x1fffffu /* 21 bits: up to 2^20 units, a whole segment of 64 MiB */
#define RING_OWNER_BITS 22
#define RING_OWNER_INCARNATION_BITS 12

#define RING_FLAG_PROPERTIES 1u /* struct ring_properties stands in front of the payload */
#define RING_FLAGS_MASK 7u

/* Optional properties; the 8-byte values present follow in the order of their bits, then key, then headers. */
struct ring_properties {
    uint16_t bytes; /* of all properties, this struct included; a multiple of 8 */
    uint16_t present;
    uint16_t key_bytes;
    uint16_t headers_bytes;
};
static_assert(sizeof(struct ring_properties) == 8, "properties");

#define RING_HAS_TIME 1u     /* publish time, ns since 1970, CLOCK_REALTIME */
#define RING_HAS_EXPIRY 2u   /* instant of expiry, same clock */
#define RING_HAS_SEQUENCE 4u /* two values: id of the producer (hash of its name), its sequence */
#define RING_HAS_KNOWN 7u

/* Headers are a run of: uint8_t name_bytes, uint16_t value_bytes (unaligned, host order), name, value. */
#define RING_HEADER_OVERHEAD 3u

/* -- control ------------------------------------------------------------------------------------------------------ */

/*
 * Something to sleep on. Who is about to sleep raises `want` to seq + 1, fences (or has everyone fenced), looks again,
 * and sleeps in the kernel on the low half of `seq`. Who made news looks at `want`, and only if it is ahead raises
 * `seq` and wakes. `want` may stand in another file than `seq`.
 */
struct ring_bell {
    struct mem_u64 seq;
};

/*
 * Slot state word:  bits 0..1 state, bits 2..11 owner index + 1, bits 12..31 low bits of the owner's id, bits 32..63 low
 * half of the segment number. Tail word: bits 0..20 end of the last claim in units, 21..41 its length, 42..63 owner.
 * Clean word: bits 0..20 units whose headers are clean (all below), 21..30 index + 1 of the cleaner, 31..63 low bits of
 * its id. Active word: bits 0..11 slot, 12..63 segment number.
 */
enum ring_slot_state { RING_SLOT_FREE = 0, RING_SLOT_RESERVED = 1, RING_SLOT_LIVE = 2, RING_SLOT_RECLAIMING = 3 };

struct ring_slot {
    RING_PAIR_ALIGNED struct mem_u64 tail;
    struct mem_u64 clean;
    struct mem_u64 segment; /* the whole number, of which the state word has the low half; written while RESERVED */
    uint8_t reserved[104];
};
static_assert(sizeof(struct ring_slot) == MEM_PAIR_BYTES, "slot");

/* Segment in announcement words: number + 1; 0 announces nothing. */
struct ring_publisher {
    RING_PAIR_ALIGNED struct mem_u64 id; /* 0: free; also its byte in the lock file */
    struct mem_u64 announced;
    struct mem_u64 producer;         /* index + 1 of the producer entry it holds */
    struct mem_u64 pid;              /* in its own pid namespace: a hint, never a proof */
    struct mem_u64 attached_ns;      /* CLOCK_REALTIME */
    struct mem_u64 waiting_since_ns; /* CLOCK_REALTIME; 0: not waiting for room */
    uint8_t reserved[80];
    /* second pair of lines: written by the publisher while it works */
    struct mem_u64 refused_count;
    struct mem_u64 refused_last_ns;
    struct mem_u64 refused_sequence; /* producer sequence of the last refused one */
    struct mem_u64 position;         /* of its last record, for show */
    uint8_t reserved2[96];
};
static_assert(sizeof(struct ring_publisher) == 2 * MEM_PAIR_BYTES, "publisher");

/*
 * A producer is a publisher's name that outlives it. `scan` is a position such that every record of this producer below
 * it is counted in `sequence`; the records at or above it are all in the segment the holder has announced. Order of the
 * stores after a commit: sequence, then scan.
 */
enum ring_entry_state { RING_ENTRY_FREE = 0, RING_ENTRY_FILLING = 1, RING_ENTRY_USED = 2 };
struct ring_producer {
    RING_PAIR_ALIGNED struct mem_u64 state; /* enum, and who fills it: see ring_name_word */
    struct mem_u64 hash;
    struct mem_u64 holder;   /* id of the publisher that holds it, 0: nobody */
    struct mem_u64 sequence; /* last committed */
    struct mem_u64 scan;
    struct mem_u64 refused_count; /* older sequences refused */
    uint8_t reserved[8];
    char name[RING_NAME_BYTES];
    uint8_t reserved2[7];
};
static_assert(sizeof(struct ring_producer) == MEM_PAIR_BYTES, "producer");

/* Not 0: the ring's name is gone. */
enum ring_removed { RING_REMOVED = 1, RING_REMOVED_WITH_JOURNAL = 2 };

/* Beside the errno in `journal_error`: what holds the journal up may pass (no room on the disk), and is tried again. */
#define RING_JOURNAL_RETRIES (1ull << 32)

/* When weird syncs the journal: see daemon/policy.h. */
enum ring_sync { RING_SYNC_NONE = 0, RING_SYNC_ALWAYS = 1, RING_SYNC_INTERVAL = 2, RING_SYNC_NEVER = 3 };

#define RING_CONTROL_HEADER_BYTES 4096u
struct ring_control {
    /* Constant once `ready` is set. */
    uint64_t magic;
    uint32_t layout_version;
    uint32_t header_bytes;
    uint64_t format_signature;
    uint64_t features_incompatible;
    uint64_t features_compatible;
    uint8_t ring_id[16];
    uint64_t created_ns; /* CLOCK_REALTIME */
    uint64_t epoch;      /* 1 at creation; one more each time the ring came back from its journal alone */
    uint64_t start;      /* first position of this epoch, a multiple of the segment size */
    uint32_t flags;
    uint32_t when_full;
    uint32_t segment_shift;
    uint32_t slot_count;
    uint32_t publisher_count; /* entries besides weird's at index 0 before them, and RING_SEATS behind them */
    uint32_t reader_count;
    uint32_t producer_count;
    uint32_t cursor_count;
    uint64_t memory_limit_bytes;
    char name[RING_NAME_BYTES];
    uint8_t huge;       /* enum ring_huge: what was asked for; where memory lies, the kernel knows */
    uint16_t numa_node; /* the same: node + 1, 0: none */
    uint8_t reserved0[12];
    struct mem_u64 ready; /* RING_LAYOUT_VERSION, stored last */

    /* Read by all, written once a segment. */
    RING_PAIR_ALIGNED struct mem_u64 active;
    struct mem_u64 removed; /* enum ring_removed */
    /* What publishers may send, all together: set by weird; see quota.h. 0: as much as they like. */
    struct mem_u64 quota_messages; /* a second */
    struct mem_u64 quota_bytes;    /* a second, of the log */
    struct mem_u64 quota_burst_ns; /* so long a share of them may come at once */
    uint8_t reserved1[88];

    /* News of records, for readers; its `want` stands in `readers`. */
    RING_PAIR_ALIGNED struct ring_bell records;
    uint8_t reserved2[120];

    /* Written by weird: how far the journal is. All are positions. */
    RING_PAIR_ALIGNED struct mem_u64 visible; /* hint: everything below is committed; anyone may raise it */
    struct mem_u64 written;
    struct mem_u64 durable;
    struct mem_u64 remote;
    struct mem_u64 drained;       /* segments wholly below it may be reclaimed */
    struct mem_u64 lease;         /* publishers never claim a segment that ends beyond it */
    struct mem_u64 journal_error; /* errno that stopped the journal, 0: none; see RING_JOURNAL_RETRIES */
    struct ring_bell progress;    /* news of written, durable, drained, lease, error */
    struct mem_u64 sync;          /* for show: enum ring_sync, from bit 8 on milliseconds of the interval */
    struct mem_u64 room;          /* for show: bytes that the journal may still take, + 1; 0: not known, or no limit */
    uint8_t reserved3[48];

    /* Wishes of publishers. */
    RING_PAIR_ALIGNED struct mem_u64 progress_want; /* of `progress` above */
    struct ring_bell work;                          /* weird sleeps on it: confirm wanted, ring full */
    struct mem_u64 work_want;
    struct mem_u64 confirm_want;  /* somebody waits for this position to be durable */
    struct mem_u64 refused_count; /* by drop-new, all publishers together */
    struct mem_u64 refused_last_ns;
    struct mem_u64 written_want; /* somebody waits for this position to be written: `progress` is rung for that too */
    uint8_t reserved4[72];

    RING_PAIR_ALIGNED struct mem_u64 next_id; /* ids of publishers, from 1 */
    struct mem_u64 exclusive;                 /* id of the publisher of an exclusive ring, 0: nobody */
    struct mem_u64 quota_messages_due;        /* swapped by publishers; see quota.h */
    struct mem_u64 quota_bytes_due;
    uint8_t reserved5[96];
};
static_assert(sizeof(struct ring_control) == 7 * MEM_PAIR_BYTES, "control header");
static_assert(offsetof(struct ring_control, ready) == 200, "the constant part");
static_assert(sizeof(struct ring_control) <= RING_CONTROL_HEADER_BYTES, "control header fits");

/* What one side writes while the other reads something else must not share a pair of lines (false sharing). */
#define RING_APART(type, one, other)                                                                                   \
    static_assert(offsetof(type, one) / MEM_PAIR_BYTES != offsetof(type, other) / MEM_PAIR_BYTES,                      \
                  #one " and " #other " share a pair of lines")
RING_APART(struct ring_control, ready, active);           /* constants; written once a segment */
RING_APART(struct ring_control, active, records);         /* read for each message; rung for sleepers */
RING_APART(struct ring_control, removed, visible);        /* read for each message; raised by weird */
RING_APART(struct ring_control, records, visible);        /* rung by publishers; raised by weird */
RING_APART(struct ring_control, progress, progress_want); /* rung by weird; asked for by publishers */
RING_APART(struct ring_control, work_want, next_id);      /* read by publishers that wait; swapped by who joins */
RING_APART(struct ring_publisher, announced, position);   /* read by reclaimers; written for each message */

#define RING_WEIRD_INDEX 0u
#define RING_SEATS 2u /* entries past the publishers' for who must resolve a dead one before it can have an entry */

/* Behind the header, in this order, each part padded to MEM_PAIR_BYTES: slot states (mem_u64), slots, publishers,
 * producers. */

/* -- readers ------------------------------------------------------------------------------------------------------ */

struct ring_reader {
    RING_PAIR_ALIGNED struct mem_u64 id; /* 0: free; also its byte in the readers' lock file */
    struct mem_u64 announced;
    struct mem_u64 gate;     /* publishers must not reclaim this segment, nor any after it: see words.h; 0: no gate */
    struct mem_u64 position; /* for show */
    struct mem_u64 pid;
    struct mem_u64 attached_ns;
    struct mem_u64 lost_count; /* gaps told */
    struct mem_u64 cursor;     /* index + 1 of the cursor it holds */
    uint8_t reserved[64];
};
static_assert(sizeof(struct ring_reader) == MEM_PAIR_BYTES, "reader");

/* A cursor is a position kept under a name. */
struct ring_cursor {
    RING_PAIR_ALIGNED struct mem_u64 state;
    struct mem_u64 holder; /* id of the reader that holds it */
    struct mem_u64 position;
    struct mem_u64 saved_ns; /* CLOCK_REALTIME */
    uint8_t reserved[24];
    char name[RING_NAME_BYTES];
    uint8_t reserved2[7];
};
static_assert(sizeof(struct ring_cursor) == MEM_PAIR_BYTES, "cursor");

#define RING_READERS_HEADER_BYTES 512u
struct ring_readers {
    uint64_t magic;
    uint32_t layout_version;
    uint32_t header_bytes;
    uint32_t reader_count;
    uint32_t cursor_count;
    uint8_t ring_id[16];
    uint8_t reserved0[88];
    RING_PAIR_ALIGNED struct mem_u64 next_id; /* ids of readers, from 1 */
    uint8_t reserved1[120];
    /* The sleepers' word: publishers read it after each commit. */
    RING_PAIR_ALIGNED struct mem_u64 records_want; /* of ring_control.records */
    uint8_t reserved2[120];
    RING_PAIR_ALIGNED struct ring_bell gates; /* news of gates, for publishers; want is progress_want */
    uint8_t reserved3[120];
};
static_assert(sizeof(struct ring_readers) == RING_READERS_HEADER_BYTES, "readers header");

/* Behind the header: readers, then cursors. */

#endif
