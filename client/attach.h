/* SPDX-License-Identifier: Apache-2.0 */
/* What publishers, subscribers and the lookers-on have in common: a mapped ring, its view, and the kernel's answers. */
#ifndef WEIR_CLIENT_ATTACH_H
#define WEIR_CLIENT_ATTACH_H

#include "ringbuf/ring.h"
#include "shm/shm.h"

struct attachment {
    struct shm_ring shm;
    struct ring_view view;
    uint32_t fork_generation;
    bool fence_works;
    uint64_t publisher_id; /* mine, 0: none: a lock that I hold does not show on my own descriptor */
    uint64_t reader_id;
    struct ring_readers *readers_copy; /* readers_bytes, for reclaiming */
};

/* Opens bus and ring, checks the bytes, fills the view. On failure nothing is left open and last_error says why. The
 * attachment must not move afterwards: the view's ctx points to it. */
int attachment_open(struct attachment *attachment, const char *bus, const char *name, enum shm_access access,
                    bool repair);
void attachment_close(struct attachment *attachment);
/* -ECHILD in a forked child of the process that opened it. */
int attachment_check(const struct attachment *attachment);

/* The half of a bell that the kernel sleeps on. */
const uint32_t *attachment_futex(const struct ring_bell *bell);
/* Raises and wakes whether or not somebody asked. */
void attachment_ring(struct ring_bell *bell);
bool attachment_daemon_alive(struct attachment *attachment);
/* The errno that stopped the journal, 0: none did. What only holds it up is waited out, as a full ring is. */
int attachment_journal_stopped(const struct ring_control *control);
int attachment_journal_held_up(const struct ring_control *control);

/* How long to poll before sleeping: about what a sleep and a wake-up cost together (bench wakeup), so that polling never
 * costs more than twice the better choice (competitive spinning, Karlin et al., SODA 1990). 0 on a single processor. */
int64_t attachment_spin_ns(void);

/* This thread's last error: sets the text and returns the error. */
int fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fail_clear(void);

#endif
