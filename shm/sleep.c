/* SPDX-License-Identifier: Apache-2.0 */
/* Sleeping on a shared word, waking who sleeps there, and the clocks. */
#include "shm/shm.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* the same on every architecture */
#endif
/* The layout of struct futex_waitv, which older headers do not have. */
struct waiter {
    uint64_t value;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
};
#define WAITER_FLAG_32 2u /* FUTEX_32; shared between processes, as FUTEX_PRIVATE_FLAG is not set */

/* No FUTEX_PRIVATE_FLAG: the kernel finds the word by its place in the file, and so across processes. */
static long futex(const uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    return syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}

/*
 * "For ever" is a time limit of 292 years: a wait without one would be taken up again by the kernel behind a handler
 * that was installed with SA_RESTART, and the caller never saw the -EINTR that it was promised.
 */
int shm_sleep(const uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
    if (timeout_ns < 0)
        timeout_ns = 0;
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / NS_PER_S), .tv_nsec = (long)(timeout_ns % NS_PER_S)};
    if (futex(word, FUTEX_WAIT, expected, &timeout) == 0 || errno == EAGAIN)
        return 0;
    return -errno;
}

/* 0, -EINTR, or another error: the kernel cannot. */
static int sleep_on_all(const struct shm_word *words, uint32_t count, int64_t timeout_ns)
{
    struct waiter waiters[SHM_WORDS_MAX];
    if (count > SHM_WORDS_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < count; i++)
        waiters[i] = (struct waiter){
            .value = words[i].expected, .address = (uint64_t)(uintptr_t)words[i].word, .flags = WAITER_FLAG_32};
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(timeout_ns / NS_PER_S);
    until.tv_nsec += (long)(timeout_ns % NS_PER_S);
    if (until.tv_nsec >= NS_PER_S) {
        until.tv_sec++;
        until.tv_nsec -= (long)NS_PER_S;
    }
    if (syscall(SYS_futex_waitv, waiters, count, 0u, &until, CLOCK_MONOTONIC) >= 0)
        return 0;
    return errno == EAGAIN || errno == ETIMEDOUT ? 0 : -errno;
}

int shm_sleep_any(const struct shm_word *words, uint32_t count, int64_t timeout_ns)
{
    int r = sleep_on_all(words, count, timeout_ns);
    if (r != 0 && r != -EINTR)
        r = shm_sleep(words[0].word, words[0].expected, timeout_ns < SHM_BLIND_NS ? timeout_ns : SHM_BLIND_NS);
    return r == -EINTR ? r : 0;
}

void shm_wake_all(const uint32_t *word)
{
    (void)futex(word, FUTEX_WAKE, INT_MAX, NULL);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * (uint64_t)NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t shm_coarse_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC_COARSE);
}

uint64_t shm_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t shm_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}
