/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums over a segment, from which the CRC of any stretch of it follows at the same small cost, however long the stretch
 * is. Who looks for the next good record behind damage tries every unit; bytes that look like headers of long records,
 * by chance or by intent, must not make that take hours.
 */
#ifndef WEIR_JOURNAL_SUMS_H
#define WEIR_JOURNAL_SUMS_H

#include <stdint.h>

struct journal_sums {
    const uint8_t *base;
    uint64_t from;       /* offset of the first unit that is summed */
    uint32_t *sums;      /* sums[i]: CRC register, begun with 0, over i units from there */
    uint64_t count;      /* sums that are there */
    uint32_t powers[32]; /* of x: 2^i zero bytes */
};

/* Over bytes from `from`, a multiple of the unit, to `to` at most. -ENOMEM. */
int journal_sums_init(struct journal_sums *sums, const uint8_t *base, uint64_t from, uint64_t to);
void journal_sums_free(struct journal_sums *sums);
/* The same as journal_crc32c(crc, base + from, to - from). */
uint32_t journal_sums_crc(struct journal_sums *sums, uint32_t crc, uint64_t from, uint64_t to);

#endif
