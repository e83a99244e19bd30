/* SPDX-License-Identifier: Apache-2.0 */
/* CRCs of any stretch of a segment, from sums at every unit. */
#include "journal/sums.h"

#include <errno.h>
#include <stdlib.h>

#include "journal/crc.h"
#include "journal/journal.h"

int journal_sums_init(struct journal_sums *sums, const uint8_t *base, uint64_t from, uint64_t to)
{
    *sums = (struct journal_sums){.base = base, .from = from, .count = 1};
    sums->sums = malloc(((to - from) / RING_UNIT_BYTES + 1) * sizeof(*sums->sums));
    if (!sums->sums)
        return -ENOMEM;
    sums->sums[0] = 0;
    sums->powers[0] = JOURNAL_CRC_X8;
    for (int i = 1; i < 32; i++)
        sums->powers[i] = journal_crc_multiply(sums->powers[i - 1], sums->powers[i - 1]);
    return 0;
}

void journal_sums_free(struct journal_sums *sums)
{
    free(sums->sums);
    sums->sums = NULL;
}

/* The register after more bytes: journal_crc32c() turns it over at both ends. */
static uint32_t advance(uint32_t state, const uint8_t *at, uint64_t bytes)
{
    return ~journal_crc32c(~state, at, bytes);
}

/* The register, begun with 0, over everything from the first unit to `to`. */
static uint32_t sum_to(struct journal_sums *sums, uint64_t to)
{
    uint64_t units = (to - sums->from) / RING_UNIT_BYTES;
    uint64_t whole = sums->from + units * RING_UNIT_BYTES;

    for (; sums->count <= units; sums->count++) {
        const uint8_t *at = sums->base + sums->from + (sums->count - 1) * RING_UNIT_BYTES;
        sums->sums[sums->count] = advance(sums->sums[sums->count - 1], at, RING_UNIT_BYTES);
    }
    return advance(sums->sums[units], sums->base + whole, to - whole);
}

static uint32_t append_zeros(const struct journal_sums *sums, uint32_t state, uint64_t bytes)
{
    for (int i = 0; bytes != 0; i++, bytes >>= 1) {
        if (bytes & 1)
            state = journal_crc_multiply(state, sums->powers[i]);
    }
    return state;
}

/*
 * The register is linear: over bytes B, begun with s, it is s shifted over B, xor B's own, begun with 0. B's own is what the
 * whole up to B's end leaves when what stands before B, shifted over B, is taken out. So both shifts are one.
 */
uint32_t journal_sums_crc(struct journal_sums *sums, uint32_t crc, uint64_t from, uint64_t to)
{
    uint32_t begun = ~crc ^ sum_to(sums, from);

    return ~(append_zeros(sums, begun, to - from) ^ sum_to(sums, to));
}
