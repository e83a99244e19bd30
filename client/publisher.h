/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEIR_CLIENT_PUBLISHER_H
#define WEIR_CLIENT_PUBLISHER_H

#include "client/attach.h"
#include "client/watcher.h"

struct weir_pub {
    struct attachment attachment;
    struct ring_publisher_state state;
    /* The open claim of weir_pub_claim() */
    uint16_t claim_tag;
    uint32_t claim_flags;
    uint32_t claim_meta_bytes;
    uint64_t claim_sequence;
    uint64_t claim_position;
    size_t claim_data_bytes;
    int64_t spin_ns;         /* how long to poll for room before sleeping */
    uint8_t *scratch;        /* encoded headers; UINT16_MAX bytes, made when first needed */
    struct watcher *watcher; /* of weir_pub_fd(), NULL: nobody asked for it */
    struct watch watch;      /* the last one that it was armed with */
};

/* A span of time being waited out. */
struct wait {
    uint64_t deadline_ns; /* CLOCK_MONOTONIC; UINT64_MAX: never */
};
struct wait wait_start(int64_t timeout_ns);
/* What is left of it, at most `bound`; 0: nothing. */
int64_t wait_left(const struct wait *wait, int64_t bound_ns);

#define SLEEP_BOUND_NS 80000000 /* a publisher may have died between its news and the wake; P2 gives 100 ms */
#define SLEEP_BOUND_PENDING_NS 5000000

#endif
