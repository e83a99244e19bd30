/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why no news is lost. Under the mutex the descriptor is readable exactly when `state` is RAISED, and the thread
 * watches exactly when it is ARMED.
 *  1. The handle asks the bell and remembers seq, fences, looks at the ring, finds nothing, and arms the watcher with
 *     that seq. News that its look did not see rings the bell (E6 sleep), so bell->seq is not seq any more, or will not
 *     be.
 *  2. Armed, the thread compares bell->seq with that seq before each sleep, and the kernel does once more as it puts it
 *     to sleep. Different: it raises. So whether the bell rang before the arming, between two instructions of the
 *     thread, or while it slept, it raises.
 *  3. Whoever had news and died before ringing is found by `ready` when the sleep's bound runs out. A claim whose owner
 *     died before it made it ready is news only when something stands behind it, and then its header says so; one that
 *     the handle knew of makes it look again at each bound.
 *  4. Arming takes back a raise that came after the look: then bell->seq is not seq any more, and the thread raises
 *     again at once by 2; or it was by 3, and comes again by 3.
 * Stopping, and arming after a rest, change `turn`, on which the thread sleeps as well as on the bell.
 */
#include "client/watcher.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum state { RESTING, ARMED, RAISED, STOPPING };

struct watcher {
    int fd;
    pthread_t thread;
    pthread_mutex_t mutex;
    enum state state;
    struct watch watch;
    struct mem_u32 turn;
};

/* Under the mutex, as all that follow up to the thread. */
static void set_state(struct watcher *watcher, enum state state)
{
    uint64_t count = 1;
    if (state == RAISED && watcher->state != RAISED)
        (void)!write(watcher->fd, &count, sizeof count);
    else if (state != RAISED && watcher->state == RAISED)
        (void)!read(watcher->fd, &count, sizeof count);
    watcher->state = state;
}

static void next_turn(struct watcher *watcher)
{
    uint32_t turn = mem_load_acquire32(&watcher->turn);
    (void)mem_swap32(&watcher->turn, turn, turn + 1);
    shm_wake_all(&watcher->turn.raw);
}

static bool has_rung(const struct watch *watch)
{
    return mem_load_acquire(&watch->bell->seq) != watch->seq;
}

/* One round of the thread: true: it is to stop; else *ret_words and *ret_bound_ns say how to sleep. */
static bool look(struct watcher *watcher, bool slept_out, struct shm_word words[2], uint32_t *ret_count,
                 int64_t *ret_bound_ns)
{
    struct shm_word turn = {&watcher->turn.raw, 0};
    (void)pthread_mutex_lock(&watcher->mutex);
    const struct watch *watch = &watcher->watch;
    turn.expected = mem_load_acquire32(&watcher->turn);
    if (watcher->state == ARMED && (has_rung(watch) || (slept_out && (watch->look_again || watch->ready(watch)))))
        set_state(watcher, RAISED);
    *ret_count = 0;
    *ret_bound_ns = INT64_MAX;
    if (watcher->state == ARMED) {
        words[(*ret_count)++] = (struct shm_word){attachment_futex(watch->bell), (uint32_t)watch->seq};
        *ret_bound_ns = watch->bound_ns;
    }
    words[(*ret_count)++] = turn;
    bool stop = watcher->state == STOPPING;
    (void)pthread_mutex_unlock(&watcher->mutex);
    return stop;
}

static void *watch_main(void *argument)
{
    struct watcher *watcher = argument;
    struct shm_word words[2];
    uint32_t count;
    int64_t bound_ns;
    bool slept_out = false;
    while (!look(watcher, slept_out, words, &count, &bound_ns)) {
        if (count == 1) {
            (void)shm_sleep(words[0].word, words[0].expected, bound_ns);
            slept_out = false;
            continue;
        }
        uint64_t start = shm_now_ns();
        shm_sleep_any(words, count, bound_ns);
        slept_out = shm_now_ns() - start >= SHM_BLIND_NS; /* the least that a bound is, where sleeps are cut short */
    }
    return NULL;
}

/* A signal is for the program's own threads. */
static int start_thread(struct watcher *watcher)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&watcher->thread, NULL, watch_main, watcher);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error)
        (void)pthread_setname_np(watcher->thread, "weir-fd");
    return -error;
}

int watcher_open(struct watcher **ret_watcher)
{
    struct watcher *watcher = calloc(1, sizeof *watcher);
    if (!watcher)
        return fail(-ENOMEM, "no memory for a pollable descriptor");
    watcher->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watcher->fd < 0) {
        free(watcher);
        return fail(-ENOMEM, "no pollable descriptor: %m");
    }
    (void)pthread_mutex_init(&watcher->mutex, NULL);
    int r = start_thread(watcher);
    if (r < 0) {
        (void)pthread_mutex_destroy(&watcher->mutex);
        close(watcher->fd);
        free(watcher);
        errno = -r;
        return fail(-ENOMEM, "no thread for a pollable descriptor: %m");
    }
    *ret_watcher = watcher;
    return 0;
}

/* In a forked child nobody ever unlocks what the parent's thread had locked. */
void watcher_close(struct watcher *watcher, bool forked)
{
    if (!watcher)
        return;
    if (!forked) {
        (void)pthread_mutex_lock(&watcher->mutex);
        set_state(watcher, STOPPING);
        next_turn(watcher);
        (void)pthread_mutex_unlock(&watcher->mutex);
        (void)pthread_join(watcher->thread, NULL);
        (void)pthread_mutex_destroy(&watcher->mutex);
    }
    close(watcher->fd);
    free(watcher);
}

int watcher_fd(const struct watcher *watcher)
{
    return watcher->fd;
}

void watcher_arm(struct watcher *watcher, const struct watch *watch)
{
    (void)pthread_mutex_lock(&watcher->mutex);
    watcher->watch = *watch;
    if (watcher->state != ARMED) {
        set_state(watcher, ARMED);
        next_turn(watcher);
    }
    (void)pthread_mutex_unlock(&watcher->mutex);
}

void watcher_raise(struct watcher *watcher)
{
    (void)pthread_mutex_lock(&watcher->mutex);
    set_state(watcher, RAISED);
    (void)pthread_mutex_unlock(&watcher->mutex);
}

void watcher_rest(struct watcher *watcher)
{
    (void)pthread_mutex_lock(&watcher->mutex);
    set_state(watcher, RESTING);
    (void)pthread_mutex_unlock(&watcher->mutex);
}

bool watcher_holds(struct watcher *watcher)
{
    (void)pthread_mutex_lock(&watcher->mutex);
    bool holds = watcher->state == ARMED && !watcher->watch.look_again && !has_rung(&watcher->watch);
    (void)pthread_mutex_unlock(&watcher->mutex);
    return holds;
}
