/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only file that spells a memory order. Words that another process can see are one-member structs, so a plain
 * access does not compile; they are touched through the functions below, whose names say the order. Which edge an
 * access belongs to (E1 commit, E2 announce, ...) is said where it is used; docs/memory-ordering.md lists the edges.
 *
 * In the testing build (WEIR_TESTING) every store and compare-and-swap is a point where the process can be made to
 * die or stop: each call site has a record of its own in the linker section "weir_sites", see mem_point().
 */
#ifndef WEIR_RINGBUF_ACCESS_H
#define WEIR_RINGBUF_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes of the pair of cache lines that the adjacent-line prefetcher of x86 treats as one. */
#define MEM_PAIR_BYTES 128

struct mem_u64 {
    uint64_t raw;
};

struct mem_u32 {
    uint32_t raw;
};

#ifdef WEIR_TESTING
/* One per call site of a store or compare-and-swap; hits counts how often it was reached. */
struct mem_site {
    const char *file;
    const char *function;
    int line;
    uint32_t hits;
};

/*
 * Called before the access of each site when set. May kill or stop the process. Set it before threads start. Defined here,
 * weakly, so that who links none of ringbuf/ can use this header in the testing build, too.
 */
__attribute__((weak)) void (*mem_point_hook)(struct mem_site *site);

#define mem_point()                                                                                                    \
    do {                                                                                                               \
        static struct mem_site site_                                                                                   \
            __attribute__((section("weir_sites"), used, aligned(32))) = {__FILE__, __func__, __LINE__, 0};             \
        __atomic_fetch_add(&site_.hits, 1, __ATOMIC_RELAXED);                                                          \
        if (mem_point_hook)                                                                                            \
            mem_point_hook(&site_);                                                                                    \
    } while (0)

/* Called before each load when set, so that a test can let others run in between. */
__attribute__((weak)) void (*mem_load_hook)(void);

static inline void mem_load_point(void)
{
    if (mem_load_hook)
        mem_load_hook();
}
#else
#define mem_point() ((void)0)

static inline void mem_load_point(void)
{
}
#endif

static inline uint64_t mem_load_relaxed(const struct mem_u64 *word)
{
    mem_load_point();
    return __atomic_load_n(&word->raw, __ATOMIC_RELAXED);
}

static inline uint64_t mem_load_acquire(const struct mem_u64 *word)
{
    mem_load_point();
    return __atomic_load_n(&word->raw, __ATOMIC_ACQUIRE);
}

static inline uint32_t mem_load_acquire32(const struct mem_u32 *word)
{
    mem_load_point();
    return __atomic_load_n(&word->raw, __ATOMIC_ACQUIRE);
}

static inline void mem_store_relaxed_(struct mem_u64 *word, uint64_t value)
{
    __atomic_store_n(&word->raw, value, __ATOMIC_RELAXED);
}

static inline void mem_store_release_(struct mem_u64 *word, uint64_t value)
{
    __atomic_store_n(&word->raw, value, __ATOMIC_RELEASE);
}

/* On success a release and an acquire; on failure an acquire, and *expected is left as it was. */
static inline bool mem_swap_(struct mem_u64 *word, uint64_t expected, uint64_t desired)
{
    return __atomic_compare_exchange_n(&word->raw, &expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static inline bool mem_swap32_(struct mem_u32 *word, uint32_t expected, uint32_t desired)
{
    return __atomic_compare_exchange_n(&word->raw, &expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Returns the value before the addition. */
static inline uint64_t mem_add_(struct mem_u64 *word, uint64_t amount)
{
    return __atomic_fetch_add(&word->raw, amount, __ATOMIC_ACQ_REL);
}

#define mem_store_relaxed(word, value)                                                                                 \
    __extension__({                                                                                                    \
        mem_point();                                                                                                   \
        mem_store_relaxed_((word), (value));                                                                           \
    })
#define mem_store_release(word, value)                                                                                 \
    __extension__({                                                                                                    \
        mem_point();                                                                                                   \
        mem_store_release_((word), (value));                                                                           \
    })
#define mem_swap(word, expected, desired)                                                                              \
    __extension__({                                                                                                    \
        mem_point();                                                                                                   \
        mem_swap_((word), (expected), (desired));                                                                      \
    })
#define mem_swap32(word, expected, desired)                                                                            \
    __extension__({                                                                                                    \
        mem_point();                                                                                                   \
        mem_swap32_((word), (expected), (desired));                                                                    \
    })
#define mem_add(word, amount)                                                                                          \
    __extension__({                                                                                                    \
        mem_point();                                                                                                   \
        mem_add_((word), (amount));                                                                                    \
    })

/* Keeps the compiler from reordering; the processor is held by the other side's membarrier (edge E6 sleep). */
static inline void mem_fence_light(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void mem_fence_full(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/*
 * For the few functions that each message goes through: everything that they call is inlined, where the library is
 * optimised as a whole, but what is marked MEM_COLD.
 */
#define MEM_HOT __attribute__((flatten))
#define MEM_COLD __attribute__((noinline, cold))

/* Fetches the line for a store that comes later. Changes nothing. */
static inline void mem_prefetch_store(const void *address)
{
    __builtin_prefetch(address, 1);
}

/* Tells the processor that this is a polling loop: x86 PAUSE, ARM YIELD. */
static inline void mem_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

#endif
