/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a group's file, `group.NAME` in the ring's directory: header, workers' lines, entries. docs/groups.md says
 * what they are for. To change them: raise GROUP_LAYOUT_VERSION. Reserved bytes are zero when written and not looked at
 * when read.
 */
#ifndef WEIR_GROUP_LAYOUT_H
#define WEIR_GROUP_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "ringbuf/layout.h"

#define GROUP_LAYOUT_VERSION 1u
#define GROUP_MAGIC 0x3150524752494557ull /* "WEIRGRP1" */
#define GROUP_ENTRIES_MAX 16383u
#define GROUP_WORKERS_MAX 1022u
#define GROUP_RUN_MAX 16u /* messages of a run */

/*
 * First word of an entry:
 *   bits  0..2   state
 *   bits  3..18  mask: bit n is set while the run's n-th message is not finished
 *   bits 19..28  owner: line + 1; GROUP_DELAYED in an OPEN one: not before `when`
 *   bits 29..42  last: entry + 1 that a message of this run was moved to last
 *   bits 43..48  attempt
 *   bits 49..63  generation
 */
enum group_state { GROUP_FREE = 0, GROUP_RESERVED = 1, GROUP_PLANNED = 2, GROUP_HELD = 3, GROUP_OPEN = 4 };
#define GROUP_MASK_SHIFT 3
#define GROUP_OWNER_SHIFT 19
#define GROUP_LAST_SHIFT 29
#define GROUP_ATTEMPT_SHIFT 43
#define GROUP_GENERATION_SHIFT 49
#define GROUP_MASK_BITS 0xffffu
#define GROUP_OWNER_BITS 0x3ffu
#define GROUP_LAST_BITS 0x3fffu
#define GROUP_ATTEMPT_BITS 0x3fu /* the count stays at the last it can tell */
#define GROUP_GENERATION_BITS 0x7fffu
#define GROUP_DELAYED GROUP_OWNER_BITS

/* Plan word: bits 0..13 the entry + 1 that it is taken out of, 0: the cursor; 14..28 that one's generation; 29 delayed. */
#define GROUP_PLAN_GENERATION_SHIFT 14
#define GROUP_PLAN_DELAYED (1ull << 29)

/* Plain words: only the owner stores them, and only while the entry is RESERVED, but for `when`. */
struct group_entry {
    struct mem_u64 word;
    struct mem_u64 when;  /* CLOCK_MONOTONIC, ns: HELD: the lease ends; OPEN and delayed: it is due */
    struct mem_u64 start; /* position of the run's first message */
    struct mem_u64 end;   /* position behind its last; in the low 6 bits their number */
    struct mem_u64 plan;
    uint8_t reserved[24];
};
static_assert(sizeof(struct group_entry) == RING_UNIT_BYTES, "an entry is a line of the cache");
static_assert(GROUP_ENTRIES_MAX <= GROUP_LAST_BITS && GROUP_WORKERS_MAX < GROUP_OWNER_BITS, "indexes fit their bits");

/* Cursor: bits 0..48 the position in units, modulo 2^49; 49 zero; 50..63 entry + 1 of the run that was cut last, 0: none. */
#define GROUP_CURSOR_BITS 49
#define GROUP_CURSOR_MASK ((1ull << GROUP_CURSOR_BITS) - 1)
#define GROUP_TIP_SHIFT 50

/* A worker is a reader of the ring, and has its id: one byte of `locks.readers` says whether it lives. */
struct group_line {
    RING_PAIR_ALIGNED struct mem_u64 id; /* 0: free */
    struct mem_u64 pid;                  /* in its own pid namespace: a hint */
    struct mem_u64 attached_ns;          /* CLOCK_REALTIME */
    uint8_t reserved[104];
    /* Second pair of lines: counts, for show, never set back. Written by the worker while it works. */
    struct mem_u64 taken;    /* messages delivered */
    struct mem_u64 acked;    /* acknowledged */
    struct mem_u64 returned; /* given back by the worker */
    struct mem_u64 refused;  /* acks and returns of what was no longer its own */
    struct mem_u64 missing;  /* gaps that it was told */
    uint8_t reserved2[88];
};
static_assert(sizeof(struct group_line) == 2 * MEM_PAIR_BYTES, "line");

#define GROUP_HEADER_BYTES 4096u
struct group_header {
    /* Constant once `ready` is set. */
    uint64_t magic;
    uint32_t layout_version;
    uint32_t header_bytes;
    uint64_t format_signature;
    uint64_t features_incompatible;
    uint64_t features_compatible;
    uint8_t ring_id[16];
    uint64_t created_ns; /* CLOCK_REALTIME */
    uint64_t lease_ns;
    uint64_t backoff_ns;
    uint64_t backoff_max_ns;
    uint32_t backoff_percent;
    uint32_t jitter_percent;
    uint32_t entry_count;
    uint32_t worker_count;
    char name[RING_NAME_BYTES];
    uint8_t reserved0[47];
    struct mem_u64 ready; /* GROUP_LAYOUT_VERSION, stored last */
    uint8_t reserved1[32];

    /* Swapped by who cuts. */
    RING_PAIR_ALIGNED struct mem_u64 cursor;
    uint8_t reserved2[120];

    /* Read by all for each run, written when something comes back. */
    RING_PAIR_ALIGNED struct mem_u64 opened; /* raised by who made an entry OPEN, afterwards: a hint to look */
    struct mem_u64 used;                     /* entries below it have been reserved at some time; only rises */
    struct mem_u64 removed;                  /* 1: the group's name is gone */
    uint8_t reserved3[104];

    /* Sleepers: rung with `opened`. */
    RING_PAIR_ALIGNED struct ring_bell bell;
    struct mem_u64 bell_want;
    uint8_t reserved4[112];
};
static_assert(sizeof(struct group_header) == 5 * MEM_PAIR_BYTES, "group header");
static_assert(offsetof(struct group_header, ready) == 216, "the constant part");
RING_APART(struct group_header, ready, cursor);
RING_APART(struct group_header, cursor, opened);
RING_APART(struct group_header, opened, bell);

/* Behind the header, each part padded to a page: lines, entries. */

#endif
