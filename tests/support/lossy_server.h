/* SPDX-License-Identifier: Apache-2.0 */
/* The process that serves a LossyDisk to the kernel. */
#ifndef WEIR_TESTS_SUPPORT_LOSSY_SERVER_H
#define WEIR_TESTS_SUPPORT_LOSSY_SERVER_H

#include <atomic>
#include <cstdint>
#include <string>

/* What the test asks of it; each is answered with 0 or an errno. */
enum LossyWish { LOSSY_MOUNT, LOSSY_LOSE_AT, LOSSY_LOSE, LOSSY_RESTORE, LOSSY_BREAK_SYNCS, LOSSY_HOLD, LOSSY_RELEASE };
struct LossyOrder {
    LossyWish what;
    uint64_t value;
};

/* In memory that both share. */
struct LossyNews {
    std::atomic<uint64_t> lost{0}, held{0}, broken{0};
};

/* Until the line, a SOCK_SEQPACKET, is closed; then it is mounted no more. */
void lossy_serve(const std::string &path, uint64_t seed, bool allocates, LossyNews *news, int line);

#endif
