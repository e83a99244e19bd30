/* SPDX-License-Identifier: Apache-2.0 */
/* The handle of a publisher: shared by publisher.c and confirm.c. */
#ifndef WEIR_CLIENT_PUBLISHER_H
#define WEIR_CLIENT_PUBLISHER_H

#include "client/attach.h"
#include "client/watcher.h"

/* Between two looks for room, or a confirm: long enough for whoever makes it to go on undisturbed. */
#define PAUSES_PER_TRY 64u

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
    uint64_t confirm_ns[2];  /* how long weir_pub_wait() waited for WEIR_WRITTEN, WEIR_DURABLE: moving means */
    uint8_t *scratch;        /* encoded headers; UINT16_MAX bytes, made when first needed */
    struct watcher *watcher; /* of weir_pub_fd(), NULL: nobody asked for it */
    struct watch watch;      /* the last one that it was armed with */
};

#endif
