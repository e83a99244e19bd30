/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/doze.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shm/shm.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* the same on every architecture */
#endif

/* The layout of struct futex_waitv, which older headers do not have. */
struct doze_waiter {
    uint64_t value;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
};
#define DOZE_FLAG_32 2u /* FUTEX_32; shared between processes, as FUTEX_PRIVATE_FLAG is not set */

static bool doze_on_all(const struct doze_word *words, uint32_t count, int64_t timeout_ns)
{
    struct doze_waiter waiters[DOZE_WORDS_MAX];
    if (count > DOZE_WORDS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++)
        waiters[i] = (struct doze_waiter){
            .value = words[i].expected, .address = (uint64_t)(uintptr_t)words[i].word, .flags = DOZE_FLAG_32};
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ns / 1000000000;
    until.tv_nsec += timeout_ns % 1000000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    if (syscall(SYS_futex_waitv, waiters, count, 0u, &until, CLOCK_MONOTONIC) >= 0)
        return true;
    return errno == EAGAIN || errno == ETIMEDOUT || errno == EINTR;
}

void doze(const struct doze_word *words, uint32_t count, int64_t timeout_ns)
{
    if (doze_on_all(words, count, timeout_ns))
        return;
    shm_sleep(words[0].word, words[0].expected, timeout_ns < DOZE_BLIND_NS ? timeout_ns : DOZE_BLIND_NS);
}
