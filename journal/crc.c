/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli, RFC 3720 B.4): by the processor's instruction where it has one, else by tables. */
#include "journal/crc.h"

#include <string.h>

#include "journal/journal.h"

#define POLYNOMIAL 0x82f63b78u /* 0x1edc6f41, bit-reversed */

/* -- Tables: eight bytes a step -------------------------------------------------------------------------- */

/*
 * table[k][i] is the register after byte i and k zero bytes. It is linear in the bits of i, so the eight values of the
 * single bits are all there is to know, and the compiler puts together the rest.
 */
#define ENTRY(i, b0, b1, b2, b3, b4, b5, b6, b7)                                                                       \
    (((i)&1 ? b0 : 0u) ^ ((i)&2 ? b1 : 0u) ^ ((i)&4 ? b2 : 0u) ^ ((i)&8 ? b3 : 0u) ^ ((i)&16 ? b4 : 0u) ^              \
     ((i)&32 ? b5 : 0u) ^ ((i)&64 ? b6 : 0u) ^ ((i)&128 ? b7 : 0u))
#define ENTRIES_4(i, ...)                                                                                              \
    ENTRY((i), __VA_ARGS__), ENTRY((i) + 1, __VA_ARGS__), ENTRY((i) + 2, __VA_ARGS__), ENTRY((i) + 3, __VA_ARGS__)
#define ENTRIES_16(i, ...)                                                                                             \
    ENTRIES_4((i), __VA_ARGS__), ENTRIES_4((i) + 4, __VA_ARGS__), ENTRIES_4((i) + 8, __VA_ARGS__),                     \
        ENTRIES_4((i) + 12, __VA_ARGS__)
#define ENTRIES_64(i, ...)                                                                                             \
    ENTRIES_16((i), __VA_ARGS__), ENTRIES_16((i) + 16, __VA_ARGS__), ENTRIES_16((i) + 32, __VA_ARGS__),                \
        ENTRIES_16((i) + 48, __VA_ARGS__)
#define ENTRIES(...)                                                                                                   \
    {                                                                                                                  \
        ENTRIES_64(0, __VA_ARGS__), ENTRIES_64(64, __VA_ARGS__), ENTRIES_64(128, __VA_ARGS__),                         \
            ENTRIES_64(192, __VA_ARGS__)                                                                               \
    }

static const uint32_t table[8][256] = {
    ENTRIES(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, POLYNOMIAL),
    ENTRIES(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
    ENTRIES(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
    ENTRIES(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
    ENTRIES(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
    ENTRIES(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
    ENTRIES(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
    ENTRIES(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
};

static inline uint64_t load_64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint64_t load_little_64(const uint8_t *at)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(load_64(at));
#else
    return load_64(at);
#endif
}

uint32_t journal_crc32c_table(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint32_t state = ~crc;

    for (; bytes >= 8; bytes -= 8, at += 8) {
        uint64_t word = load_little_64(at) ^ state;
        state = table[7][word & 0xff] ^ table[6][word >> 8 & 0xff] ^ table[5][word >> 16 & 0xff] ^
                table[4][word >> 24 & 0xff] ^ table[3][word >> 32 & 0xff] ^ table[2][word >> 40 & 0xff] ^
                table[1][word >> 48 & 0xff] ^ table[0][word >> 56];
    }
    for (; bytes > 0; bytes--, at++)
        state = state >> 8 ^ table[0][(state ^ *at) & 0xff];
    return ~state;
}

/* -- The processor's instruction ------------------------------------------------------------------------- */

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>

#define HARDWARE __attribute__((target("sse4.2,pclmul")))

bool journal_crc32c_has_hardware(void)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

/*
 * One crc32 takes three cycles, and a new one can start in each. So three stripes side by side are read at once, and put
 * together again: the first is shifted over the two behind it (`over_two`), the second over one (`over_one`). The constant
 * for n bytes is x^(8n - 33): the carry-less product of two reflected words is one place short, and the crc32 that takes
 * it modulo the polynomial multiplies by x^32.
 */
static inline __attribute__((always_inline)) HARDWARE uint64_t three_stripes(uint64_t state, const uint8_t *at,
                                                                             size_t stripe_bytes, uint32_t over_one,
                                                                             uint32_t over_two)
{
    uint64_t second = 0, third = 0;

    for (size_t i = 0; i < stripe_bytes; i += 8) {
        state = _mm_crc32_u64(state, load_64(at + i));
        second = _mm_crc32_u64(second, load_64(at + stripe_bytes + i));
        third = _mm_crc32_u64(third, load_64(at + 2 * stripe_bytes + i));
    }
    __m128i shifted_two =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)state), _mm_cvtsi32_si128((int)over_two), 0);
    __m128i shifted_one =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)second), _mm_cvtsi32_si128((int)over_one), 0);
    uint64_t product = (uint64_t)_mm_cvtsi128_si64(_mm_xor_si128(shifted_two, shifted_one));
    return _mm_crc32_u64(0, product) ^ third;
}

HARDWARE uint32_t journal_crc32c_hardware(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint64_t state = (uint32_t)~crc;

    for (; bytes >= 3 * 1024; bytes -= 3 * 1024, at += 3 * 1024)
        state = three_stripes(state, at, 1024, 0x170076fa, 0xa51b6135);
    for (; bytes >= 3 * 256; bytes -= 3 * 256, at += 3 * 256)
        state = three_stripes(state, at, 256, 0xb9e02b86, 0xdd7e3b0c);
    for (; bytes >= 3 * 64; bytes -= 3 * 64, at += 3 * 64)
        state = three_stripes(state, at, 64, 0x9e4addf8, 0x0d3b6092);
    for (; bytes >= 8; bytes -= 8, at += 8)
        state = _mm_crc32_u64(state, load_64(at));
    for (; bytes > 0; bytes--, at++)
        state = _mm_crc32_u8((uint32_t)state, *at);
    return ~(uint32_t)state;
}

#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#include <sys/auxv.h>

#define HWCAP_HAS_CRC32 (1ul << 7) /* HWCAP_CRC32 of asm/hwcap.h */

bool journal_crc32c_has_hardware(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_HAS_CRC32) != 0;
}

uint32_t journal_crc32c_hardware(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint32_t state = ~crc;

    for (; bytes >= 8; bytes -= 8, at += 8)
        __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(state) : "r"(load_64(at)));
    for (; bytes > 0; bytes--, at++)
        __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(state) : "r"((uint32_t)*at));
    return ~state;
}

#else

bool journal_crc32c_has_hardware(void)
{
    return false;
}

uint32_t journal_crc32c_hardware(uint32_t crc, const void *data, size_t bytes)
{
    return journal_crc32c_table(crc, data, bytes);
}

#endif

uint32_t journal_crc32c(uint32_t crc, const void *data, size_t bytes)
{
    if (journal_crc32c_has_hardware())
        return journal_crc32c_hardware(crc, data, bytes);
    return journal_crc32c_table(crc, data, bytes);
}

uint32_t journal_crc_multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;

    for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = b >> 1 ^ (b & 1 ? POLYNOMIAL : 0);
    }
    return product;
}
