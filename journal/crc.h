/* SPDX-License-Identifier: Apache-2.0 */
/* The two ways to a CRC-32C behind journal_crc32c(), named for the tests, and the algebra that sums.c needs. */
#ifndef WEIR_JOURNAL_CRC_H
#define WEIR_JOURNAL_CRC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint32_t journal_crc32c_table(uint32_t crc, const void *data, size_t bytes);
bool journal_crc32c_has_hardware(void);
/* Only where journal_crc32c_has_hardware(). */
uint32_t journal_crc32c_hardware(uint32_t crc, const void *data, size_t bytes);

/*
 * A CRC's register is a polynomial of degree 31 over GF(2), modulo the CRC's own polynomial; bit 31 is x^0. Appending n
 * zero bytes multiplies it by x^(8n).
 */
#define JOURNAL_CRC_X8 0x00800000u /* x^8: one zero byte */
uint32_t journal_crc_multiply(uint32_t a, uint32_t b);

#endif
