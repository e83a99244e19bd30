/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEIR_DAEMON_DOZE_H
#define WEIR_DAEMON_DOZE_H

#include <stdbool.h>
#include <stdint.h>

/* FUTEX_WAITV_MAX */
#define DOZE_WORDS_MAX 128u
/* No sleep is longer where not every word can be waited on, or nobody was asked to wake us. */
#define DOZE_BLIND_NS 5000000

struct doze_word {
    const uint32_t *word;
    uint32_t expected;
};

/*
 * Sleeps until one of the words is not what was expected and somebody wakes its sleepers, or for timeout_ns. The words may lie
 * in memory of other processes, and may be gone. With more words than the kernel takes, or a kernel that cannot wait on
 * several (before 5.16, or forbidden), it waits on the first one, at most DOZE_BLIND_NS.
 */
void doze(const struct doze_word *words, uint32_t count, int64_t timeout_ns);

#endif
