/* SPDX-License-Identifier: Apache-2.0 */
/* Taking apart and putting together the words of layout.h. Values are masked, never trusted. */
#ifndef WEIR_RINGBUF_WORDS_H
#define WEIR_RINGBUF_WORDS_H

#include "ringbuf/layout.h"

/* -- owners: index + 1 of the table entry in the high 10 bits, low 12 bits of the id ------------------------------- */

static inline uint32_t owner_make(uint32_t index, uint64_t id)
{
    return ((index + 1) << RING_OWNER_INCARNATION_BITS) | (uint32_t)(id & ((1u << RING_OWNER_INCARNATION_BITS) - 1));
}

/* UINT32_MAX for nobody. */
static inline uint32_t owner_index(uint32_t owner)
{
    return (owner >> RING_OWNER_INCARNATION_BITS) - 1;
}

static inline bool owner_names(uint32_t owner, uint32_t index, uint64_t id)
{
    return owner == owner_make(index, id);
}

/* -- record header ------------------------------------------------------------------------------------------------- */

static inline uint64_t head_make(enum ring_record_state state, uint32_t flags, uint32_t units, uint16_t tag,
                                 uint32_t owner)
{
    return (uint64_t)state | (uint64_t)(flags & RING_FLAGS_MASK) << RING_HEAD_FLAG_SHIFT |
           (uint64_t)(units & RING_UNITS_MASK) << RING_HEAD_UNITS_SHIFT | (uint64_t)tag << RING_HEAD_TAG_SHIFT |
           (uint64_t)owner << RING_HEAD_OWNER_SHIFT;
}

static inline enum ring_record_state head_state(uint64_t head)
{
    return (enum ring_record_state)(head & 3);
}

static inline uint32_t head_flags(uint64_t head)
{
    return (uint32_t)(head >> RING_HEAD_FLAG_SHIFT) & RING_FLAGS_MASK;
}

static inline uint32_t head_units(uint64_t head)
{
    return (uint32_t)(head >> RING_HEAD_UNITS_SHIFT) & RING_UNITS_MASK;
}

static inline uint16_t head_tag(uint64_t head)
{
    return (uint16_t)(head >> RING_HEAD_TAG_SHIFT);
}

static inline uint32_t head_owner(uint64_t head)
{
    return (uint32_t)(head >> RING_HEAD_OWNER_SHIFT);
}

/* -- tail: end, length, owner of the last claim -------------------------------------------------------------------- */

static inline uint64_t tail_make(uint32_t end, uint32_t units, uint32_t owner)
{
    return (uint64_t)end | (uint64_t)units << 21 | (uint64_t)owner << 42;
}

static inline uint32_t tail_end(uint64_t tail)
{
    return (uint32_t)tail & RING_UNITS_MASK;
}

static inline uint32_t tail_units(uint64_t tail)
{
    return (uint32_t)(tail >> 21) & RING_UNITS_MASK;
}

static inline uint32_t tail_owner(uint64_t tail)
{
    return (uint32_t)(tail >> 42);
}

/* -- clean: units whose headers are clean, who cleans on ----------------------------------------------------------- */

#define CLEAN_ID_MASK 0x1ffffffffull /* 33 bits */

static inline uint64_t clean_make(uint32_t units)
{
    return units;
}

static inline uint64_t clean_taken(uint32_t units, uint32_t index, uint64_t id)
{
    return (uint64_t)units | (uint64_t)(index + 1) << 21 | (id & CLEAN_ID_MASK) << 31;
}

static inline uint32_t clean_units(uint64_t clean)
{
    return (uint32_t)clean & RING_UNITS_MASK;
}

static inline bool clean_free(uint64_t clean)
{
    return ((clean >> 21) & 0x3ff) == 0;
}

static inline uint32_t clean_index(uint64_t clean)
{
    return (uint32_t)((clean >> 21) & 0x3ff) - 1;
}

static inline bool clean_names(uint64_t clean, uint32_t index, uint64_t id)
{
    return clean == clean_taken(clean_units(clean), index, id);
}

/* -- slot state ---------------------------------------------------------------------------------------------------- */

#define SLOT_ID_MASK 0xfffffull /* 20 bits */

/* RESERVED and RECLAIMING have an owner; LIVE and FREE have none. */
static inline uint64_t slot_owned(enum ring_slot_state state, uint64_t segment, uint32_t index, uint64_t id)
{
    return (uint64_t)state | (uint64_t)(index + 1) << 2 | (id & SLOT_ID_MASK) << 12 | (segment & 0xffffffffu) << 32;
}

static inline uint64_t slot_live(uint64_t segment)
{
    return (uint64_t)RING_SLOT_LIVE | (segment & 0xffffffffu) << 32;
}

static inline enum ring_slot_state slot_state(uint64_t state)
{
    return (enum ring_slot_state)(state & 3);
}

static inline bool slot_holds(uint64_t state, uint64_t segment)
{
    return slot_state(state) != RING_SLOT_FREE && (uint32_t)(state >> 32) == (uint32_t)segment;
}

static inline uint32_t slot_owner_index(uint64_t state)
{
    return (uint32_t)((state >> 2) & 0x3ff) - 1;
}

static inline bool slot_names(uint64_t state, uint32_t index, uint64_t id)
{
    return slot_owner_index(state) == index && ((state >> 12) & SLOT_ID_MASK) == (id & SLOT_ID_MASK);
}

/* The same segment, LIVE. */
static inline uint64_t slot_to_live(uint64_t state)
{
    return (uint64_t)RING_SLOT_LIVE | (state & 0xffffffff00000000ull);
}

/* -- gate: start of a segment, and in the bits below it low bits of the reader's id --------------------------------- */

#define GATE_ID_MASK ((1ull << RING_SEGMENT_SHIFT_MIN) - 1)

/*
 * An entry keeps the gate of a dead reader until the next one has cleared it, and that one may be stopped before: the id
 * tells that the gate is not the new one's. Never 0.
 */
static inline uint64_t gate_make(uint64_t segment_start, uint64_t id)
{
    return (segment_start & ~GATE_ID_MASK) | (1 + id % GATE_ID_MASK);
}

static inline bool gate_names(uint64_t gate, uint64_t id)
{
    return (gate & GATE_ID_MASK) == 1 + id % GATE_ID_MASK;
}

static inline uint64_t gate_position(uint64_t gate)
{
    return gate & ~GATE_ID_MASK;
}

/* -- active --------------------------------------------------------------------------------------------------------- */

static inline uint64_t active_make(uint64_t segment, uint32_t slot)
{
    return segment << 12 | slot;
}

static inline uint64_t active_segment(uint64_t active)
{
    return active >> 12;
}

static inline uint32_t active_slot(uint64_t active)
{
    return (uint32_t)(active & 0xfff);
}

#endif
