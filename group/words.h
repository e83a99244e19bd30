/* SPDX-License-Identifier: Apache-2.0 */
/* Taking apart and putting together the words of layout.h. Values are masked, never trusted. */
#ifndef WEIR_GROUP_WORDS_H
#define WEIR_GROUP_WORDS_H

#include <stdbool.h>

#include "group/layout.h"

/* -- an entry's word ------------------------------------------------------------------------------------------------ */

static inline uint64_t entry_make(enum group_state state, uint32_t mask, uint32_t owner, uint32_t attempt,
                                  uint32_t generation)
{
    return (uint64_t)state | (uint64_t)(mask & GROUP_MASK_BITS) << GROUP_MASK_SHIFT |
           (uint64_t)(owner & GROUP_OWNER_BITS) << GROUP_OWNER_SHIFT |
           (uint64_t)(attempt & GROUP_ATTEMPT_BITS) << GROUP_ATTEMPT_SHIFT |
           (uint64_t)(generation & GROUP_GENERATION_BITS) << GROUP_GENERATION_SHIFT;
}

static inline uint32_t entry_state(uint64_t word)
{
    return (uint32_t)(word & 7);
}

static inline uint32_t entry_mask(uint64_t word)
{
    return (uint32_t)(word >> GROUP_MASK_SHIFT) & GROUP_MASK_BITS;
}

static inline uint32_t entry_owner(uint64_t word)
{
    return (uint32_t)(word >> GROUP_OWNER_SHIFT) & GROUP_OWNER_BITS;
}

static inline uint32_t entry_last(uint64_t word)
{
    return (uint32_t)(word >> GROUP_LAST_SHIFT) & GROUP_LAST_BITS;
}

static inline uint32_t entry_attempt(uint64_t word)
{
    return (uint32_t)(word >> GROUP_ATTEMPT_SHIFT) & GROUP_ATTEMPT_BITS;
}

static inline uint32_t entry_generation(uint64_t word)
{
    return (uint32_t)(word >> GROUP_GENERATION_SHIFT);
}

/* The next life of an entry: FREE, or RESERVED by `owner`. */
static inline uint64_t entry_empty(uint64_t word, uint32_t owner)
{
    return entry_make(owner ? GROUP_RESERVED : GROUP_FREE, 0, owner, 0, entry_generation(word) + 1);
}

/* The same run in another state, with another owner. */
static inline uint64_t entry_become(uint64_t word, enum group_state state, uint32_t owner)
{
    uint64_t kept = word & ~((uint64_t)7 | (uint64_t)GROUP_OWNER_BITS << GROUP_OWNER_SHIFT);
    return kept | (uint64_t)state | (uint64_t)owner << GROUP_OWNER_SHIFT;
}

static inline uint64_t entry_without(uint64_t word, uint32_t bits)
{
    return word & ~((uint64_t)(bits & GROUP_MASK_BITS) << GROUP_MASK_SHIFT);
}

static inline uint64_t entry_with_last(uint64_t word, uint32_t last)
{
    uint64_t kept = word & ~((uint64_t)GROUP_LAST_BITS << GROUP_LAST_SHIFT);
    return kept | (uint64_t)last << GROUP_LAST_SHIFT;
}

/* One more, or as many as can be told. */
static inline uint32_t attempt_after(uint32_t attempt)
{
    return attempt < GROUP_ATTEMPT_BITS ? attempt + 1 : attempt;
}

/* -- a run's end and number ------------------------------------------------------------------------------------------ */

static inline uint64_t run_end(uint64_t end)
{
    return end & ~(uint64_t)(RING_UNIT_BYTES - 1);
}

static inline uint32_t run_count(uint64_t end)
{
    return (uint32_t)end & (RING_UNIT_BYTES - 1);
}

/* -- plan ------------------------------------------------------------------------------------------------------------ */

#define PLAN_CUT 0ull

static inline uint64_t plan_move(uint32_t entry, uint32_t generation, bool delayed)
{
    return (uint64_t)(entry + 1) | (uint64_t)generation << GROUP_PLAN_GENERATION_SHIFT |
           (delayed ? GROUP_PLAN_DELAYED : 0);
}

/* Entry + 1, 0: the cursor. */
static inline uint32_t plan_source(uint64_t plan)
{
    return (uint32_t)plan & GROUP_LAST_BITS;
}

static inline uint32_t plan_generation(uint64_t plan)
{
    return (uint32_t)(plan >> GROUP_PLAN_GENERATION_SHIFT) & GROUP_GENERATION_BITS;
}

/* Of the entry that it is moved to: nobody's, or nobody's before it is due. */
static inline uint32_t plan_owner(uint64_t plan)
{
    return plan & GROUP_PLAN_DELAYED ? GROUP_DELAYED : 0;
}

/* -- cursor ---------------------------------------------------------------------------------------------------------- */

static inline uint64_t cursor_make(uint64_t position, uint32_t tip)
{
    return ((position >> RING_UNIT_SHIFT) & GROUP_CURSOR_MASK) | (uint64_t)tip << GROUP_TIP_SHIFT;
}

static inline uint32_t cursor_tip(uint64_t cursor)
{
    return (uint32_t)(cursor >> GROUP_TIP_SHIFT);
}

static inline bool cursor_stands_at(uint64_t cursor, uint64_t position)
{
    return (cursor & GROUP_CURSOR_MASK) == ((position >> RING_UNIT_SHIFT) & GROUP_CURSOR_MASK);
}

/* The whole position: the one that is next to `near`, a position of the same log. */
static inline uint64_t cursor_position(uint64_t cursor, uint64_t near)
{
    uint64_t units = near >> RING_UNIT_SHIFT;
    uint64_t ahead = (cursor - units) & GROUP_CURSOR_MASK;
    if (ahead >> (GROUP_CURSOR_BITS - 1)) /* it lies behind */
        ahead |= ~GROUP_CURSOR_MASK;
    return (units + ahead) << RING_UNIT_SHIFT;
}

#endif
