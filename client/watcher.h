/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor that tells of news, for epoll loops: a thread sleeps on the bell in the handle's stead and signals an
 * eventfd. Started when it is first asked for.
 */
#ifndef WEIR_CLIENT_WATCHER_H
#define WEIR_CLIENT_WATCHER_H

#include "client/attach.h"

/*
 * What is slept on: taken by value, so that the handle goes on undisturbed. The thread changes nothing; it looks at the
 * ring through the copy, whose segment stays where it is as long as the handle's announcement does. When the handle has
 * gone on, `ready` may look at another segment's bytes, and what it says costs a look for nothing.
 */
struct watch {
    const struct ring_bell *bell;
    uint64_t seq;     /* of the bell, when nothing was there */
    int64_t bound_ns; /* of each sleep: who had news may have died before it rang */
    bool look_again;  /* a bound that ran out is reason enough to look */
    bool (*ready)(const struct watch *watch);
    const struct ring_control *control;
    struct ring_reader_state reader; /* a subscriber's */
    const struct mem_u64 *level;     /* a publisher's: when it passes the position */
    uint64_t position;
};

struct watcher;
/* Unreadable at first. -ENOMEM: no descriptor, no thread, no memory. */
int watcher_open(struct watcher **ret_watcher);
/* In a forked child too, where there is no thread. NULL is allowed. */
void watcher_close(struct watcher *watcher, bool forked);
int watcher_fd(const struct watcher *watcher);

/*
 * Unreadable until there is news of this. The order that loses none: ask the bell (seq), fence, look at the ring, find
 * nothing, arm.
 */
void watcher_arm(struct watcher *watcher, const struct watch *watch);
/* Readable from now on. */
void watcher_raise(struct watcher *watcher);
/* Unreadable from now on; nothing is watched. */
void watcher_rest(struct watcher *watcher);
/* True: armed, and not one bell later: what was asked for still holds. */
bool watcher_holds(struct watcher *watcher);

#endif
