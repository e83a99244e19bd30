/* SPDX-License-Identifier: Apache-2.0 */
/* The conductor's rounds: what came, what went, what was cut short. */
#include "daemon/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/beat.h"
#include "daemon/bell.h"
#include "daemon/guard.h"
#include "daemon/log.h"
#include "daemon/restore.h"
#include "daemon/skip.h"

/* inotify tells at once; this is for what it may not tell (a full queue, no watches left). */
#define SCAN_PERIOD_NS 1000000000ull

struct scanner {
    pthread_t thread;
    struct beat beat;
    const struct place *place;
    struct registry *registry;
    struct drain_pool *pool;
    struct supervisor *supervisor;
    struct restore_list *restores;
    int inotify_fd;
    int failed_fd;
    bool failed;
    struct mem_u64 stop;

    uint64_t round;
    uint64_t due_ns;           /* of whatever is to be tried again next */
    struct weird_ring **rings; /* served, or gone and waiting to be let go by the other threads */
    uint32_t count, capacity;
    struct skip_list skips;
};

static void scan_due(struct scanner *scanner, uint64_t due_ns)
{
    if (due_ns < scanner->due_ns)
        scanner->due_ns = due_ns;
}

static void scan_skip(struct scanner *scanner, const char *name, int error, const struct shm_why *why)
{
    scan_due(scanner, skip_add(&scanner->skips, scanner->place->bus_fd, name, scanner->round, error, why));
}

/* -- the tie to the journal ------------------------------------------------------------------------------------------- */

struct scan_tell {
    struct weird_ring *ring;
    int error;
};

/* Publishers must not wait for a journal that stands still. Binding takes it back. */
static int scan_tell_step(void *argument)
{
    struct scan_tell *tell = argument;
    struct ring_control *control = tell->ring->hold.drain.view.control;
    uint64_t error = (uint64_t)-tell->error | (journal_may_pass(tell->error) ? RING_JOURNAL_RETRIES : 0);
    if (mem_load_acquire(&control->journal_error) == 0) {
        mem_store_release(&control->journal_error, error); /* E8 progress */
        bell_ring(&control->progress.seq);
    }
    return 0;
}

static void scan_bind_failed(struct scanner *scanner, struct weird_ring *ring, int error, struct shm_why *why)
{
    if (error == -EFAULT) {
        weird_ring_hurt(ring);
        return;
    }
    /* A ring of the same name that is on its way out may hold the journal for a moment more. */
    bool brief = error == -EBUSY && ring->bind.delay_ns < SKIP_DELAY_MAX_NS / 4;
    if (!why->text[0])
        shm_explain(why, "%s", strerror(-error));
    if (!brief && strcmp(why->text, ring->bind.told.text) != 0) {
        log_error("ring %s is not drained: %s", ring->name, why->text);
        ring->bind.told = *why;
        struct scan_tell tell = {.ring = ring, .error = error};
        if (guard_run(scan_tell_step, &tell) < 0)
            weird_ring_hurt(ring);
    }
    ring->bind.delay_ns = skip_delay(ring->bind.delay_ns);
    ring->bind.due_ns = shm_now_ns() + ring->bind.delay_ns;
    scan_due(scanner, ring->bind.due_ns);
}

static void scan_bind(struct scanner *scanner, struct weird_ring *ring)
{
    struct shm_why why = {{0}};
    bool made = faccessat(scanner->place->journal_fd, ring->name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
    int r = binding_open(&ring->binding, scanner->place, &ring->hold, &why);
    if (r < 0) {
        scan_bind_failed(scanner, ring, r, &why);
        return;
    }
    if (made && !weird_ring_is_named(ring, scanner->place->bus_fd)) {
        /* Removed meanwhile by somebody who found no journal to remove: it would come back from this one. */
        binding_discard(ring->binding, scanner->place);
        ring->binding = NULL;
        return;
    }
    log_notice("ring %s: drained to %s/%s from position %" PRIu64, ring->name, scanner->place->journal, ring->name,
               ring->binding->durable);
    mem_store_release(&ring->bound, 1);
    registry_changed(scanner->registry);
    drain_wake(scanner->pool, ring);
}

/* -- rings come --------------------------------------------------------------------------------------------------------- */

static bool scan_room(struct scanner *scanner)
{
    if (scanner->count < scanner->capacity)
        return true;
    uint32_t capacity = scanner->capacity ? 2 * scanner->capacity : 16;
    struct weird_ring **rings = reallocarray(scanner->rings, capacity, sizeof(void *));
    if (!rings)
        return false;
    scanner->rings = rings;
    scanner->capacity = capacity;
    return true;
}

static void scan_take_in(struct scanner *scanner, const char *name, const struct stat *st)
{
    struct shm_why why = {{0}};
    struct weird_ring *ring = scan_room(scanner) ? calloc(1, sizeof *ring) : NULL;
    if (!ring)
        return;
    memcpy(ring->name, name, strnlen(name, RING_NAME_BYTES - 1));
    ring->place = (struct ring_place){st->st_dev, st->st_ino};
    ring->seen = scanner->round;
    int r = hold_open(&ring->hold, scanner->place, name, &why);
    if (r == 0 && !weird_ring_is_named(ring, scanner->place->bus_fd)) {
        hold_close(&ring->hold); /* swapped between the two looks: next round */
        r = -ENOENT;
    }
    if (r < 0) {
        free(ring);
        if (r == -ENOENT || r == -EIDRM)
            scan_due(scanner, shm_now_ns() + SKIP_DELAY_MIN_NS);
        else
            scan_skip(scanner, name, r, &why);
        return;
    }
    skip_forget(&scanner->skips, name);
    ring->journaled = ring->hold.drain.view.geometry.flags & RING_JOURNALED;
    registry_add(scanner->registry, ring);
    scanner->rings[scanner->count++] = ring;
    supervise_wake(scanner->supervisor);
    log_debug("ring %s: found, %s", name, ring->journaled ? "journaled" : "memory only");
    if (ring->journaled)
        scan_bind(scanner, ring);
}

/* -- rings go ----------------------------------------------------------------------------------------------------------- */

static void scan_take_out(struct scanner *scanner, struct weird_ring *ring)
{
    registry_remove(scanner->registry, ring);
    drain_wake(scanner->pool, ring);
    supervise_wake(scanner->supervisor);
    weird_ring_put(ring);
}

static int scan_removed_step(void *argument)
{
    const struct weird_ring *ring = argument;
    return mem_load_acquire(&ring->hold.drain.view.control->removed) != 0;
}

/* Whoever took the name away may have died before it told those who wait in the ring. */
static int scan_tell_removed_step(void *argument)
{
    const struct weird_ring *ring = argument;
    struct ring_control *control = ring->hold.drain.view.control;
    if (mem_swap(&control->removed, 0, RING_REMOVED)) {
        bell_ring(&control->records.seq);
        bell_ring(&control->progress.seq);
        bell_ring(&control->work.seq);
    }
    return 0;
}

/* The drain thread finds a ring in the table alone. If it has not come to it yet, what is in memory would be lost. */
static void scan_removed(struct scanner *scanner, struct weird_ring *ring)
{
    if (guard_run(scan_tell_removed_step, ring) < 0)
        weird_ring_hurt(ring);
    if (mem_load_relaxed(&ring->bound) && mem_load_acquire(&ring->taken) == 0) {
        registry_changed(scanner->registry);
        drain_wake(scanner->pool, ring);
        scan_due(scanner, shm_now_ns() + SKIP_DELAY_MIN_NS);
        return;
    }
    log_notice("ring %s: removed", ring->name);
    scan_take_out(scanner, ring);
}

static void scan_check(struct scanner *scanner, struct weird_ring *ring)
{
    int removed = guard_run(scan_removed_step, ring);
    if (removed < 0 || mem_load_acquire(&ring->hurt)) {
        struct shm_why why = {{0}};
        shm_explain(&why,
                    "its files were cut short while it was in use. What is durable is safe in the journal; remove the "
                    "ring, and make it anew");
        scan_skip(scanner, ring->name, -EFAULT, &why);
        mem_store_release(&ring->hurt, 1);
        struct scan_tell tell = {.ring = ring, .error = -EFAULT};
        if (ring->journaled)
            guard_run(scan_tell_step, &tell); /* `control` may be whole: then publishers hear of it */
        scan_take_out(scanner, ring);
    } else if (removed > 0 || !weird_ring_is_named(ring, scanner->place->bus_fd)) {
        scan_removed(scanner, ring);
    } else if (ring->journaled && mem_load_relaxed(&ring->bound) == 0) {
        if (ring->bind.due_ns <= shm_now_ns())
            scan_bind(scanner, ring);
        else
            scan_due(scanner, ring->bind.due_ns);
    }
}

/* What nobody has any more is unmapped after a grace period: until then a walk of the table may still look at it. */
static void scan_free_unused(struct scanner *scanner)
{
    bool waited = false;
    for (uint32_t i = 0; i < scanner->count;) {
        struct weird_ring *ring = scanner->rings[i];
        if (mem_load_acquire(&ring->unused) == 0) {
            i++;
            continue;
        }
        if (!waited)
            registry_grace(scanner->registry);
        waited = true;
        weird_ring_free(ring);
        scanner->rings[i] = scanner->rings[--scanner->count];
    }
}

/* -- a round ------------------------------------------------------------------------------------------------------------ */

static void scan_entry(struct scanner *scanner, const char *name, uint64_t now_ns)
{
    struct stat st;
    if (shm_name_check(name) < 0 || fstatat(scanner->place->bus_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    rcu_read_lock();
    bool served = registry_find(scanner->registry, name) != NULL; /* those of another inode were taken out before */
    rcu_read_unlock();
    uint64_t due_ns = UINT64_MAX;
    if (served || skip_again(&scanner->skips, scanner->place->bus_fd, name, scanner->round, now_ns, &due_ns)) {
        scan_due(scanner, due_ns);
        return;
    }
    if (S_ISDIR(st.st_mode)) {
        scan_take_in(scanner, name, &st);
    } else {
        struct shm_why why = {{0}};
        shm_explain(&why, "it is no directory");
        scan_skip(scanner, name, -EMEDIUMTYPE, &why);
    }
}

static void scan_round(struct scanner *scanner)
{
    uint64_t now_ns = shm_now_ns();
    scanner->round++;
    scanner->due_ns = now_ns + SCAN_PERIOD_NS;
    for (uint32_t i = 0; i < scanner->count; i++) {
        beat_raise(&scanner->beat);
        if (mem_load_relaxed(&scanner->rings[i]->gone) == 0)
            scan_check(scanner, scanner->rings[i]);
    }
    scan_free_unused(scanner);
    if (scanner->restores)
        scan_due(scanner, restore_continue(scanner->restores, now_ns));

    int fd = openat(scanner->place->bus_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    if (directory) {
        for (struct dirent *entry; (entry = readdir(directory));)
            scan_entry(scanner, entry->d_name, now_ns);
        closedir(directory);
        skip_forget_unseen(&scanner->skips, scanner->round);
    } else if (fd >= 0) {
        close(fd);
    }
    if (!scanner->failed && !place_bus_stands(scanner->place)) {
        log_error("the bus %s was taken away or replaced: nobody who comes from now on can find me there",
                  scanner->place->bus);
        scanner->failed = true;
        eventfd_write(scanner->failed_fd, 1);
    }
}

static void scan_drain_events(int fd)
{
    char buffer[4096];
    while (read(fd, buffer, sizeof buffer) > 0)
        ;
}

static void *scan_main(void *argument)
{
    struct scanner *scanner = argument;
    rcu_register_thread();
    beat_begin(&scanner->beat);
    while (!mem_load_acquire(&scanner->stop)) {
        beat_raise(&scanner->beat);
        uint64_t now_ns = shm_now_ns();
        struct pollfd polled[] = {{.fd = scanner->registry->event_fd, .events = POLLIN},
                                  {.fd = scanner->inotify_fd, .events = POLLIN}};
        int timeout_ms = scanner->due_ns > now_ns ? (int)((scanner->due_ns - now_ns + 999999) / 1000000) : 0;
        int ready = poll(polled, 2, timeout_ms);
        if (ready > 0 && polled[0].revents)
            scan_drain_events(scanner->registry->event_fd);
        if (ready > 0 && polled[1].revents)
            scan_drain_events(scanner->inotify_fd);
        if (!mem_load_acquire(&scanner->stop))
            scan_round(scanner);
    }
    rcu_unregister_thread();
    return NULL;
}

/* -- start and end ------------------------------------------------------------------------------------------------------- */

static void scan_free(struct scanner *scanner)
{
    scanner->round++;
    skip_forget_unseen(&scanner->skips, scanner->round);
    restore_close(scanner->restores);
    if (scanner->inotify_fd >= 0)
        close(scanner->inotify_fd);
    if (scanner->failed_fd >= 0)
        close(scanner->failed_fd);
    free(scanner->rings);
    free(scanner);
}

int scan_start(struct scanner **ret_scanner, const struct place *place, struct registry *registry,
               struct drain_pool *pool, struct supervisor *supervisor, struct shm_why *why)
{
    struct scanner *scanner = calloc(1, sizeof *scanner);
    if (!scanner)
        return -ENOMEM;
    scanner->place = place;
    scanner->registry = registry;
    scanner->pool = pool;
    scanner->supervisor = supervisor;
    scanner->failed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    scanner->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (scanner->failed_fd < 0 || faccessat(place->bus_fd, ".", R_OK | X_OK, AT_EACCESS) < 0) {
        int error = errno;
        shm_explain(why, "cannot read the bus %s: %s", place->bus, strerror(error));
        scan_free(scanner);
        return -error;
    }
    /* Before the first round, so that nothing falls between the two. */
    if (scanner->inotify_fd < 0 ||
        inotify_add_watch(scanner->inotify_fd, place->bus,
                          IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ONLYDIR) < 0)
        log_warning("cannot watch the bus %s, new rings are found within a second: %m", place->bus);
    scanner->restores = restore_open(place);
    scan_round(scanner);
    int r = pthread_create(&scanner->thread, NULL, scan_main, scanner);
    if (r != 0) {
        shm_explain(why, "cannot start a thread: %s", strerror(r));
        mem_store_release(&scanner->stop, 1);
        *ret_scanner = scanner;
        return -r;
    }
    pthread_setname_np(scanner->thread, "weird-scan");
    *ret_scanner = scanner;
    return 0;
}

void scan_stop(struct scanner *scanner)
{
    if (!scanner || mem_load_acquire(&scanner->stop))
        return;
    mem_store_release(&scanner->stop, 1);
    registry_call(scanner->registry);
    pthread_join(scanner->thread, NULL);
}

bool scan_beats(struct scanner *scanner, uint64_t step_ns)
{
    return beat_look(&scanner->beat, step_ns, BEAT_WAITS_FOR_DISK);
}

void scan_finish(struct scanner *scanner)
{
    if (!scanner)
        return;
    for (uint32_t i = 0; i < scanner->count; i++) {
        struct weird_ring *ring = scanner->rings[i];
        if (mem_load_acquire(&ring->gone) == 0) {
            if (mem_load_acquire(&ring->hurt) == 0)
                hold_leave(&ring->hold);
            registry_remove(scanner->registry, ring);
            weird_ring_put(ring);
        }
    }
    scan_free_unused(scanner);
    scan_free(scanner);
}

int scan_failed_fd(const struct scanner *scanner)
{
    return scanner->failed_fd;
}
