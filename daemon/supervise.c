/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three sources say when to look, none of them is proof of a death:
 *   - a pidfd of each participant, from the pid that it wrote down (which may be of another namespace, or a lie);
 *   - inotify on the two lock files: whoever joins opens one, and the kernel closes it for whoever dies, wherever it runs;
 *   - the clock, every second, or every 100 ms where the lock files cannot be watched.
 * A look asks the kernel about every lock (ring_sweep, and groups.c for workers). It is repeated shortly after an event,
 * since a lock falls just behind the event that announces it, and whoever opens a lock file has its entry only a moment
 * later.
 */
#include "daemon/supervise.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/beat.h"
#include "daemon/bell.h"
#include "daemon/groups.h"
#include "daemon/guard.h"
#include "daemon/log.h"

#define SUPERVISE_EVENTS 64
#define SUPERVISE_WATCHED_NS 1000000000ull
#define SUPERVISE_BLIND_NS 100000000ull
#define SUPERVISE_TWICE_NS 2000000ull /* leases that may have run out are looked at twice */

static const uint64_t supervise_again_ns[] = {300000, 1000000, 3000000, 10000000};
#define SUPERVISE_AGAIN (sizeof supervise_again_ns / sizeof supervise_again_ns[0])

/* A participant, by its place in a table. */
struct watch_member {
    struct watch_ring *ring;
    uint64_t id;
    int pidfd; /* -1: none, or its event was taken */
};

struct watch_ring {
    struct weird_ring *ring;
    uint64_t due_ns;
    uint64_t looked_ns;
    size_t again;   /* looks left to do shortly, counted up to SUPERVISE_AGAIN */
    int watches[2]; /* of the lock files, -1: cannot be watched */
    bool hurt;
    uint64_t policies_generation; /* of the quota that the ring was told */
    struct policy policy;
    struct groups groups;
    uint32_t repaired; /* by the last look */
    bool left;         /* the last look saw an id go */
    uint32_t member_count;
    struct watch_member members[]; /* publisher entries, then readers */
};

struct supervisor {
    pthread_t thread;
    struct beat beat;
    struct registry *registry;
    struct drain_pool *pool;
    struct policies *policies;
    int epoll_fd;
    int event_fd;
    int inotify_fd;
    struct mem_u64 finish;

    uint64_t generation;
    struct watch_ring **rings;
    uint32_t count, capacity;
};

/* Many events in a row, by accident or not, make one look every so often. */
static void watch_soon(struct watch_ring *watch)
{
    uint64_t earliest_ns = watch->looked_ns + supervise_again_ns[0];
    if (watch->due_ns > earliest_ns)
        watch->due_ns = earliest_ns;
    watch->again = 0;
}

static void watch_forget(const struct supervisor *supervisor, struct watch_member *member)
{
    if (member->pidfd < 0)
        return;
    /* Closing alone would leave it in the set where a forked child has a copy. */
    epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_DEL, member->pidfd, NULL);
    close(member->pidfd);
    member->pidfd = -1;
}

/* -- which rings ----------------------------------------------------------------------------------------------------- */

static int watch_file(const struct supervisor *supervisor, const struct watch_ring *watch, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", watch->ring->hold.shm.dir_fd, name);
    return inotify_add_watch(supervisor->inotify_fd, path, IN_OPEN | IN_CLOSE | IN_DONT_FOLLOW);
}

static bool supervise_take(void *ctx, struct weird_ring *ring)
{
    struct supervisor *supervisor = ctx;
    for (uint32_t i = 0; i < supervisor->count; i++) {
        if (supervisor->rings[i]->ring == ring)
            return false;
    }
    if (supervisor->count == supervisor->capacity) {
        uint32_t capacity = supervisor->capacity ? 2 * supervisor->capacity : 16;
        struct watch_ring **rings = reallocarray(supervisor->rings, capacity, sizeof(void *));
        if (!rings)
            return true;
        supervisor->rings = rings;
        supervisor->capacity = capacity;
    }
    const struct ring_view *view = &ring->hold.supervise.view;
    uint32_t members = view->publisher_entries + view->geometry.max_readers;
    struct watch_ring *watch = calloc(1, sizeof *watch + members * sizeof watch->members[0]);
    if (!watch)
        return true;
    if (!weird_ring_get(ring)) {
        free(watch);
        return false;
    }
    watch->ring = ring;
    watch->watches[0] = watch->watches[1] = -2;
    watch->member_count = members;
    for (uint32_t i = 0; i < members; i++)
        watch->members[i] = (struct watch_member){.ring = watch, .pidfd = -1};
    supervisor->rings[supervisor->count++] = watch;
    return false;
}

static void supervise_let_go(struct supervisor *supervisor, struct watch_ring *watch)
{
    for (uint32_t i = 0; i < watch->member_count; i++)
        watch_forget(supervisor, &watch->members[i]);
    for (size_t i = 0; i < 2; i++) {
        if (watch->watches[i] >= 0)
            inotify_rm_watch(supervisor->inotify_fd, watch->watches[i]);
    }
    groups_close(&watch->groups);
    weird_ring_put(watch->ring);
    free(watch);
}

static void supervise_refresh(struct supervisor *supervisor)
{
    uint64_t generation = mem_load_acquire(&supervisor->registry->generation);
    if (generation == supervisor->generation)
        return;
    for (uint32_t i = 0; i < supervisor->count;) {
        struct watch_ring *watch = supervisor->rings[i];
        if (mem_load_acquire(&watch->ring->gone) == 0) {
            i++;
            continue;
        }
        supervise_let_go(supervisor, watch);
        supervisor->rings[i] = supervisor->rings[--supervisor->count];
    }
    if (!registry_walk(supervisor->registry, supervise_take, supervisor))
        supervisor->generation = generation; /* else memory was short: again with the next event */
    for (uint32_t i = 0; i < supervisor->count; i++) {
        struct watch_ring *watch = supervisor->rings[i];
        if (watch->watches[0] != -2)
            continue;
        watch->watches[0] = watch_file(supervisor, watch, "locks");
        watch->watches[1] = watch_file(supervisor, watch, "locks.readers");
    }
}

/* -- a look ----------------------------------------------------------------------------------------------------------- */

struct watch_news {
    struct watch_ring *watch;
    uint32_t at; /* member to look at next */
    uint64_t id; /* a new one was found there: its id and pid */
    uint64_t pid;
};

/* Goes on to the next entry whose id is not the one we know. 1: found one that is taken, 0: none are left. */
static int watch_news_step(void *argument)
{
    struct watch_news *news = argument;
    const struct ring_view *view = &news->watch->ring->hold.supervise.view;
    for (; news->at < news->watch->member_count; news->at++) {
        uint32_t reader = news->at - view->publisher_entries;
        bool publishes = news->at < view->publisher_entries;
        const struct mem_u64 *id = publishes ? &view->publishers[news->at].id : &view->reader_table[reader].id;
        const struct mem_u64 *pid = publishes ? &view->publishers[news->at].pid : &view->reader_table[reader].pid;
        news->id = mem_load_acquire(id);
        if (news->id == news->watch->members[news->at].id || news->at == RING_WEIRD_INDEX)
            continue;
        news->pid = mem_load_acquire(pid);
        return 1;
    }
    return 0;
}

static void watch_member_changed(const struct supervisor *supervisor, struct watch_member *member, uint64_t id,
                                 uint64_t pid)
{
    watch_forget(supervisor, member);
    member->id = id;
    if (id == 0 || pid == 0 || pid > INT32_MAX)
        return;
    /* -1: dead already (the sweep behind this finds out), of another namespace, or too many descriptors. */
    member->pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0u);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = member};
    if (member->pidfd >= 0 && epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_ADD, member->pidfd, &event) < 0)
        watch_forget(supervisor, member);
}

static int watch_sweep_step(void *argument)
{
    struct watch_ring *watch = argument;
    struct hold *hold = &watch->ring->hold;
    struct ring_control *control = hold->supervise.view.control;
    watch->repaired = ring_sweep(&hold->daemon);
    if (watch->repaired == 0 && !watch->left)
        return 0;
    /* Whoever sleeps may have slept on what is repaired now, and the dead may have been about to wake it. */
    bell_ring(&control->records.seq);
    bell_ring(&control->progress.seq);
    if (hold->supervise.view.readers_writable)
        bell_ring(&hold->supervise.view.readers->gates.seq);
    return 0;
}

/* True: it was another. */
static bool watch_tell_word(struct mem_u64 *word, uint64_t value)
{
    if (mem_load_relaxed(word) == value)
        return false;
    mem_store_relaxed(word, value);
    return true;
}

/*
 * Rings without a journal have quotas too: so it is told here, and not by the drain. What is owed was counted at the rates of
 * before, and may be for years at a rate that was a mistake: with a change nothing is owed.
 */
static int watch_quota_step(void *argument)
{
    const struct watch_ring *watch = argument;
    struct ring_control *control = watch->ring->hold.supervise.view.control;
    bool burst = watch_tell_word(&control->quota_burst_ns, watch->policy.quota_burst_ms * 1000000);
    bool messages = watch_tell_word(&control->quota_messages, watch->policy.quota_messages);
    bool bytes = watch_tell_word(&control->quota_bytes, watch->policy.quota_bytes);
    if (burst || messages)
        mem_store_release(&control->quota_messages_due, 0); /* E10 quota */
    if (burst || bytes)
        mem_store_release(&control->quota_bytes_due, 0); /* E10 quota */
    return 0;
}

static int watch_learn(const struct supervisor *supervisor, struct watch_ring *watch)
{
    uint64_t generation = policies_generation(supervisor->policies);
    if (generation == watch->policies_generation)
        return 0;
    watch->policies_generation = generation;
    policies_of(supervisor->policies, watch->ring->name, &watch->policy);
    return guard_run(watch_quota_step, watch);
}

static void watch_look(const struct supervisor *supervisor, struct watch_ring *watch, uint64_t now_ns)
{
    struct watch_news news = {.watch = watch};
    int r;
    watch->looked_ns = now_ns;
    watch->left = false;
    while ((r = guard_run(watch_news_step, &news)) > 0) {
        watch->left |= watch->members[news.at].id != 0;
        watch_member_changed(supervisor, &watch->members[news.at], news.id, news.pid);
        news.at++;
    }
    if (r == 0)
        r = guard_run(watch_sweep_step, watch);
    if (r == 0)
        r = watch_learn(supervisor, watch);
    if (r < 0) {
        watch->hurt = true;
        weird_ring_hurt(watch->ring);
        return;
    }
    bool soon;
    uint32_t workers = groups_look(&watch->groups, watch->ring->hold.shm.dir_fd, watch->ring->name,
                                   &watch->ring->hold.supervise.view, now_ns, &soon);
    if (workers)
        log_debug("ring %s: %u workers died; what they held is open again", watch->ring->name, workers);
    if (watch->repaired)
        log_debug("ring %s: %u died and left; put in order", watch->ring->name, watch->repaired);
    if (watch->repaired || watch->left)
        drain_wake(supervisor->pool, watch->ring);
    bool blind = watch->watches[0] < 0 || watch->watches[1] < 0;
    if (watch->again < SUPERVISE_AGAIN)
        watch->due_ns = now_ns + supervise_again_ns[watch->again++];
    else
        watch->due_ns = now_ns + (soon ? SUPERVISE_TWICE_NS : blind ? SUPERVISE_BLIND_NS : SUPERVISE_WATCHED_NS);
}

/* -- events ----------------------------------------------------------------------------------------------------------- */

static void supervise_locks(struct supervisor *supervisor)
{
    _Alignas(struct inotify_event) char buffer[4096];
    ssize_t bytes;
    while ((bytes = read(supervisor->inotify_fd, buffer, sizeof buffer)) > 0) {
        for (char *at = buffer; at < buffer + bytes;) {
            const struct inotify_event *event = (const struct inotify_event *)(void *)at;
            at += sizeof *event + event->len;
            for (uint32_t i = 0; i < supervisor->count; i++) {
                struct watch_ring *watch = supervisor->rings[i];
                if ((event->mask & IN_Q_OVERFLOW) || event->wd == watch->watches[0] || event->wd == watch->watches[1])
                    watch_soon(watch);
            }
        }
    }
}

static void supervise_event(struct supervisor *supervisor, const struct epoll_event *event)
{
    if (event->data.ptr == &supervisor->event_fd) {
        uint64_t count;
        ssize_t bytes = read(supervisor->event_fd, &count, sizeof count);
        (void)bytes;
    } else if (event->data.ptr == &supervisor->inotify_fd) {
        supervise_locks(supervisor);
    } else {
        struct watch_member *member = event->data.ptr;
        watch_forget(supervisor, member); /* it would say the same for ever */
        watch_soon(member->ring);
    }
}

static int supervise_timeout_ms(const struct supervisor *supervisor, uint64_t now_ns)
{
    uint64_t due_ns = now_ns + SUPERVISE_WATCHED_NS;
    for (uint32_t i = 0; i < supervisor->count; i++) {
        if (!supervisor->rings[i]->hurt && supervisor->rings[i]->due_ns < due_ns)
            due_ns = supervisor->rings[i]->due_ns;
    }
    return due_ns <= now_ns ? 0 : (int)((due_ns - now_ns + 999999) / 1000000);
}

static void *supervise_main(void *argument)
{
    struct supervisor *supervisor = argument;
    rcu_register_thread();
    beat_begin(&supervisor->beat);
    while (!mem_load_acquire(&supervisor->finish)) {
        beat_raise(&supervisor->beat);
        supervise_refresh(supervisor);
        uint64_t now_ns = shm_now_ns();
        for (uint32_t i = 0; i < supervisor->count; i++) {
            struct watch_ring *watch = supervisor->rings[i];
            if (!watch->hurt && watch->due_ns <= now_ns)
                watch_look(supervisor, watch, now_ns);
        }
        struct epoll_event events[SUPERVISE_EVENTS];
        int count =
            epoll_wait(supervisor->epoll_fd, events, SUPERVISE_EVENTS, supervise_timeout_ms(supervisor, now_ns));
        for (int i = 0; i < count; i++)
            supervise_event(supervisor, &events[i]);
    }
    while (supervisor->count)
        supervise_let_go(supervisor, supervisor->rings[--supervisor->count]);
    rcu_unregister_thread();
    return NULL;
}

/* -- start and end ---------------------------------------------------------------------------------------------------- */

static void supervise_free(struct supervisor *supervisor)
{
    if (supervisor->epoll_fd >= 0)
        close(supervisor->epoll_fd);
    if (supervisor->event_fd >= 0)
        close(supervisor->event_fd);
    if (supervisor->inotify_fd >= 0)
        close(supervisor->inotify_fd);
    free(supervisor->rings);
    free(supervisor);
}

int supervise_start(struct supervisor **ret_supervisor, struct registry *registry, struct policies *policies,
                    struct drain_pool *pool)
{
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (!supervisor)
        return -ENOMEM;
    supervisor->registry = registry;
    supervisor->pool = pool;
    supervisor->policies = policies;
    supervisor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    supervisor->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    supervisor->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = &supervisor->event_fd};
    struct epoll_event locks = {.events = EPOLLIN, .data.ptr = &supervisor->inotify_fd};
    int r = 0;
    if (supervisor->epoll_fd < 0 || supervisor->event_fd < 0 ||
        epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_ADD, supervisor->event_fd, &wake) < 0)
        r = -errno;
    if (r == 0 && supervisor->inotify_fd >= 0 &&
        epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_ADD, supervisor->inotify_fd, &locks) < 0)
        r = -errno;
    if (r == 0)
        r = -pthread_create(&supervisor->thread, NULL, supervise_main, supervisor);
    if (r < 0) {
        supervise_free(supervisor);
        return r;
    }
    pthread_setname_np(supervisor->thread, "weird-watch");
    *ret_supervisor = supervisor;
    return 0;
}

void supervise_wake(struct supervisor *supervisor)
{
    uint64_t one = 1;
    ssize_t bytes = write(supervisor->event_fd, &one, sizeof one);
    (void)bytes;
}

bool supervise_beats(struct supervisor *supervisor, uint64_t step_ns)
{
    return beat_look(&supervisor->beat, step_ns, BEAT_COMES_ROUND);
}

void supervise_finish(struct supervisor *supervisor)
{
    if (!supervisor)
        return;
    mem_store_release(&supervisor->finish, 1);
    supervise_wake(supervisor);
    pthread_join(supervisor->thread, NULL);
    supervise_free(supervisor);
}
