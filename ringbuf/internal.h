/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of ringbuf/ share among themselves. */
#ifndef WEIR_RINGBUF_INTERNAL_H
#define WEIR_RINGBUF_INTERNAL_H

#include "ringbuf/ring.h"
#include "ringbuf/words.h"

static inline struct ring_record *record_at(const uint8_t *base, uint32_t units)
{
    return (struct ring_record *)(uintptr_t)(base + ((size_t)units << RING_UNIT_SHIFT));
}

static inline uint8_t *slot_base(const struct ring_view *view, uint32_t slot)
{
    return view->data + ((size_t)slot << view->geometry.segment_shift);
}

static inline uint64_t segment_start(const struct ring_view *view, uint64_t segment)
{
    return segment << view->geometry.segment_shift;
}

static inline uint64_t segment_of(const struct ring_view *view, uint64_t position)
{
    return position >> view->geometry.segment_shift;
}

static inline uint64_t unit_position(const struct ring_view *view, uint64_t segment, uint32_t units)
{
    return segment_start(view, segment) + ((uint64_t)units << RING_UNIT_SHIFT);
}

/*
 * E2, the one who announces: the store is a release, so that what was done in the segment announced before is over for
 * whoever sees the new value; then a full fence, and only after it may the slot's state be read. Once a segment, so it is
 * paid here and not by a heavy fence of who reclaims, which costs an interrupt of every running participant.
 */
static inline void announce(struct mem_u64 *word, uint64_t segment_plus_1)
{
    mem_store_release(word, segment_plus_1);
    mem_fence_full();
}

/*
 * The whole number of the segment in a slot that is LIVE or RECLAIMING (or RESERVED and named by `active`), from the state
 * word's low half and the slot's own word. A slot that somebody has held for very long is 2^32 segments behind the others,
 * so the half alone does not tell. False: the slot was taken for another segment meanwhile.
 */
static inline bool slot_segment(const struct ring_view *view, uint32_t slot, uint64_t state, uint64_t *ret_segment)
{
    *ret_segment = mem_load_relaxed(&view->slots[slot].segment); /* after the state's acquire: E5 enter */
    return slot_holds(state, *ret_segment);
}

/* The slot that holds the segment, in any state but FREE: true, with the state word that said so. */
bool slot_find(const struct ring_view *view, uint64_t segment, uint32_t *ret_slot, uint64_t *ret_state);

/* Is the owner of this word (index and low bits of its id) dead? Reads the table, then asks the kernel; *ret_id: the dead. */
bool publisher_is_dead(const struct ring_view *view, uint32_t index, uint64_t id_bits, uint64_t id_mask,
                       uint64_t *ret_id);

/*
 * A slot RESERVED by this publisher, which the kernel says is dead, becomes LIVE if it made it into `active`, else FREE.
 * True if the word changed.
 */
bool slot_settle(struct ring_view *view, uint32_t slot, uint32_t index, uint64_t id);

/* The first header of a segment that is free, where an exclusive ring's next record goes. -EBADMSG: the chain breaks. */
int segment_find_end(const struct ring_view *view, const uint8_t *base, uint32_t *ret_end);

/* Leaves a full segment: makes the next one active, or finds that somebody did. */
MEM_COLD int publisher_roll(struct ring_publisher_state *publisher);
/* Announces and enters the active segment. */
MEM_COLD int publisher_enter(struct ring_publisher_state *publisher);

/* A claim of the dead at `offset` becomes padding. `head` is what was read there (FREE or CLAIMED), after the kernel said
 * dead. */
bool claim_to_padding(struct ring_record *record, uint64_t head, uint32_t units, uint32_t owner);

/* Bounded waits: looks in a row before the others' processors are given up, and before a wait is given up. */
#define WAIT_PAUSES 64u
#define WAIT_ROUNDS 4096u

#endif
