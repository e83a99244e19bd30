/* SPDX-License-Identifier: Apache-2.0 */
/* The rounds of a drain thread: which rings it has, whose turn it is, when it sleeps. */
#include "daemon/drain.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/beat.h"
#include "daemon/bell.h"
#include "daemon/drain_ring.h"
#include "daemon/guard.h"
#include "daemon/io_queue.h"
#include "daemon/log.h"
#include "daemon/nodes.h"
#include "daemon/spread.h"

static_assert(SPREAD_THREADS_MAX == DRAIN_THREADS_MAX, "threads");

/* A round gives each ring this much before the next one has its turn. */
#define DRAIN_ROUND_BYTES (4ull << 20)
#define DRAIN_NAP_MIN_NS 200000ull
/* Whoever waited for a confirm often sends the next message at once: so long it is looked for before anybody has to wake us. */
#define DRAIN_SPIN_NS 50000ull
/* To wait for so little costs no more than to come back for it. */
#define DRAIN_LITTLE_BYTES (64ull << 10)
/* Publishers are asked to wake us only for naps from here on, so that busy ones never have to. */
#define DRAIN_NAP_ASK_NS 5000000ull
/* Whoever publishes rings, and whoever dies before it rings is seen by the supervisor, which wakes us: this is for one that
 * was stopped in between. At 50 ms an idle daemon took more than 0.1 % of a core. */
#define DRAIN_NAP_MAX_NS 200000000ull
/* A claim that stands still this long is looked at. */
#define DRAIN_QUIET_NS 1000000ull
#define DRAIN_FINISH_NS 5000000000ull

struct drain_thread {
    pthread_t thread;
    struct drain_pool *pool;
    uint32_t number;
    struct mem_u64 bell; /* others wake it */
    struct mem_u64 sleeps;
    struct beat beat;

    /* Its own. */
    uint64_t generation;
    uint64_t policies_generation;
    struct drain_ring **rings;
    uint32_t count, capacity;
    struct drain_buffer buffer;
    bool opened;             /* what follows, when it has its first ring */
    struct jio_queue *queue; /* NULL: each write is waited for */
    struct journal_flights *flights;
    uint64_t nap_ns;
    uint64_t tended_ns;
    uint64_t confirmed_ns; /* when somebody who waited was told last */
};

struct drain_pool {
    const struct place *place;
    struct policies *policies;
    struct room *room;
    struct registry *registry;
    struct mem_u64 finish;
    struct spread spread;
    uint32_t count; /* of those that run */
    struct drain_thread threads[];
};

/* -- which rings ----------------------------------------------------------------------------------------------------- */

static uint32_t drain_number_of(const struct drain_pool *pool, const struct weird_ring *ring)
{
    return spread_thread(&pool->spread, ring->hold.drain.view.geometry.numa_node, ring->hash);
}

static bool drain_take(void *ctx, struct weird_ring *ring)
{
    struct drain_thread *thread = ctx;
    if (!ring->journaled || drain_number_of(thread->pool, ring) != thread->number ||
        mem_load_acquire(&ring->bound) == 0)
        return false;
    for (uint32_t i = 0; i < thread->count; i++) {
        if (thread->rings[i]->ring == ring)
            return false;
    }
    if (thread->count == thread->capacity) {
        uint32_t capacity = thread->capacity ? 2 * thread->capacity : 16;
        struct drain_ring **rings = reallocarray(thread->rings, capacity, sizeof(void *));
        if (!rings)
            return true;
        thread->rings = rings;
        thread->capacity = capacity;
    }
    if (!weird_ring_get(ring))
        return false;
    /* Opened outside the read-side section: see drain_refresh(). */
    struct drain_ring *drain = calloc(1, sizeof *drain);
    if (!drain) {
        weird_ring_put(ring);
        return true;
    }
    drain->ring = ring;
    drain->room = thread->pool->room;
    thread->rings[thread->count++] = drain;
    mem_store_release(&ring->taken, 1);
    return false;
}

static int drain_removed(void *argument)
{
    const struct weird_ring *ring = argument;
    return (int)mem_load_acquire(&ring->hold.drain.view.control->removed);
}

/* The word alone is not enough: any publisher can write it. To take the name away needs rights on the bus. */
static bool drain_journal_goes(const struct place *place, struct weird_ring *ring)
{
    return mem_load_acquire(&ring->hurt) == 0 && guard_run(drain_removed, ring) == RING_REMOVED_WITH_JOURNAL &&
           !weird_ring_is_named(ring, place->bus_fd);
}

/*
 * The ring is on its way out. Its journal goes with it if whoever removed the ring said so, who may be gone by now, or may not
 * have seen that there is one. Else it gets what is still in memory.
 */
static void drain_let_go(struct drain_thread *thread, struct drain_ring *drain)
{
    const struct place *place = thread->pool->place;
    struct weird_ring *ring = drain->ring;
    if (drain_journal_goes(place, ring)) {
        drain_ring_discard(drain, place);
    } else {
        if (faccessat(place->journal_fd, ring->name, F_OK, 0) == 0 && mem_load_acquire(&ring->hurt) == 0) {
            drain->quiet = true;
            drain_ring_finish(drain, &thread->buffer, shm_now_ns() + DRAIN_FINISH_NS);
        }
        drain_ring_close(drain);
    }
    weird_ring_put(ring);
}

/* Its buffers are some MiB, which a thread without rings does without. */
static void drain_open_queue(struct drain_thread *thread)
{
    thread->opened = true;
    thread->queue = io_queue_open(false);
    if (thread->queue && journal_flights_open(thread->queue, DRAIN_LITTLE_BYTES, &thread->flights) < 0) {
        io_queue_close(thread->queue);
        thread->queue = NULL;
    }
    if (!thread->queue)
        log_warning("neither io_uring nor threads for writing are to be had: journals are written one write at a time");
    else
        log_debug("journals are written by %s", io_queue_is_uring(thread->queue) ? "io_uring" : "threads");
}

static void drain_refresh(struct drain_thread *thread)
{
    uint64_t generation = mem_load_acquire(&thread->pool->registry->generation);
    if (generation == thread->generation)
        return;
    for (uint32_t i = 0; i < thread->count;) {
        struct drain_ring *drain = thread->rings[i];
        if (mem_load_acquire(&drain->ring->gone) == 0) {
            i++;
            continue;
        }
        drain_let_go(thread, drain);
        thread->rings[i] = thread->rings[--thread->count];
    }
    uint32_t before = thread->count;
    if (!registry_walk(thread->pool->registry, drain_take, thread))
        thread->generation = generation; /* else memory was short: again in the next round */
    if (thread->count && !thread->opened)
        drain_open_queue(thread);
    for (uint32_t i = before; i < thread->count; i++) {
        policies_of(thread->pool->policies, thread->rings[i]->ring->name, &thread->rings[i]->policy);
        thread->rings[i]->flights = thread->flights;
        drain_ring_begin(thread->rings[i]);
        const struct spread_node *node = spread_of_thread(&thread->pool->spread, thread->number);
        if (node)
            log_debug("ring %s: drained by thread %u, of NUMA node %u", thread->rings[i]->ring->name, thread->number,
                      node->node);
    }
}

/* What the configuration says now, for each ring. */
static void drain_learn(struct drain_thread *thread)
{
    struct policies *policies = thread->pool->policies;
    uint64_t generation = policies_generation(policies);
    if (generation == thread->policies_generation)
        return;
    thread->policies_generation = generation;
    for (uint32_t i = 0; i < thread->count; i++) {
        policies_of(policies, thread->rings[i]->ring->name, &thread->rings[i]->policy);
        drain_ring_learn(thread->rings[i]);
    }
}

/* -- one round ------------------------------------------------------------------------------------------------------- */

static bool drain_write_all(struct drain_thread *thread)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < thread->count; i++) {
        beat_raise(&thread->beat); /* many rings take long, and hang no more than few */
        if (!thread->rings[i]->stopped)
            bytes += drain_ring_write(thread->rings[i], &thread->buffer, DRAIN_ROUND_BYTES, shm_now_ns());
    }
    /* What is on its way is told when it lands: at once where nothing comes after it. */
    for (uint32_t i = 0; i < thread->count; i++)
        drain_ring_settle(thread->rings[i], bytes == 0);
    return bytes != 0;
}

static void drain_confirmed(struct drain_thread *thread, const struct drain_ring *drain)
{
    if (drain->wanted)
        thread->confirmed_ns = shm_now_ns();
}

/*
 * Group commit: when one ring's turn has come, every ring that may be synced at any time is synced in the same round. Where
 * something else was found to do, it is done while they are under way; else all are waited for.
 */
static bool drain_sync_all(struct drain_thread *thread, bool found, uint64_t *ret_due_ns)
{
    uint64_t now_ns = shm_now_ns();
    struct drain_ring *one = NULL;
    bool due = false, through = false;
    uint32_t count = 0;
    *ret_due_ns = UINT64_MAX;
    for (uint32_t i = 0; i < thread->count; i++)
        due |= drain_ring_sync_due(thread->rings[i], false, now_ns, ret_due_ns);
    for (uint32_t i = 0; i < thread->count; i++) {
        struct drain_ring *drain = thread->rings[i];
        drain->turn = due && drain_ring_sync_due(drain, true, now_ns, ret_due_ns);
        one = drain->turn ? drain : one;
        count += drain->turn || drain->syncing;
    }
    if (count == 1 && one && one->sent - one->durable <= DRAIN_LITTLE_BYTES) {
        drain_ring_sync(one);
        drain_confirmed(thread, one);
        return true;
    }
    for (uint32_t i = 0; i < thread->count; i++) {
        if (thread->rings[i]->turn)
            drain_ring_sync_begin(thread->rings[i], now_ns);
    }
    for (uint32_t i = 0; i < thread->count; i++) {
        struct drain_ring *drain = thread->rings[i];
        if (!drain->syncing || !drain_ring_sync_end(drain, !found))
            continue;
        drain_confirmed(thread, drain);
        through = true;
    }
    return due || through;
}

/* What is due now and then, also while others keep the thread busy. True: a claim in the way was repaired. */
static bool drain_tend_all(struct drain_thread *thread)
{
    uint64_t now_ns = shm_now_ns();
    bool repaired = false;
    if (now_ns - thread->tended_ns < DRAIN_QUIET_NS)
        return false;
    thread->tended_ns = now_ns;
    for (uint32_t i = 0; i < thread->count; i++) {
        struct drain_ring *drain = thread->rings[i];
        if (!drain->stopped)
            drain_ring_checkpoint(drain, now_ns);
        if (!drain->stopped)
            drain_ring_retain(drain, now_ns);
        if (!drain->stopped && drain->quiet_ns && now_ns - drain->quiet_ns >= DRAIN_QUIET_NS)
            repaired |= drain_ring_look(drain);
    }
    return repaired;
}

/* -- sleeping -------------------------------------------------------------------------------------------------------- */

/* True: somebody who was not asked before to wake us is now: look once more. */
static bool drain_ask_all(struct drain_thread *thread)
{
    bool asked = false;
    for (uint32_t i = 0; i < thread->count; i++) {
        if (!thread->rings[i]->stopped)
            asked |= drain_ring_ask(thread->rings[i]);
    }
    return asked;
}

static void drain_nap(struct drain_thread *thread, uint32_t bell, uint64_t nap_ns)
{
    struct shm_word words[SHM_WORDS_MAX];
    uint32_t count = 0;
    words[count++] = (struct shm_word){bell_futex(&thread->bell), bell};
    for (uint32_t i = 0; i < thread->count; i++) {
        const struct drain_ring *drain = thread->rings[i];
        if (drain->stopped)
            continue;
        if (count == SHM_WORDS_MAX) {
            if (nap_ns > SHM_BLIND_NS)
                nap_ns = SHM_BLIND_NS;
            break;
        }
        words[count++] =
            (struct shm_word){bell_futex(&drain->ring->hold.drain.view.control->work.seq), drain->work_seq};
    }
    mem_store_relaxed(&thread->sleeps, mem_load_relaxed(&thread->sleeps) + 1);
    shm_sleep_any(words, count, (int64_t)nap_ns);
}

/* One thing at a time, so that what comes meanwhile does not wait long. */
static bool drain_prepare_one(struct drain_thread *thread)
{
    for (uint32_t i = 0; i < thread->count; i++) {
        if (!thread->rings[i]->stopped && drain_ring_prepare(thread->rings[i]))
            return true;
    }
    return false;
}

/* Nothing was found. Sleeps, unless there is a reason to look again at once. */
static void drain_rest(struct drain_thread *thread, uint32_t bell, uint64_t due_ns)
{
    uint64_t nap_ns = thread->nap_ns;
    bool pending = false;
    if (shm_now_ns() - thread->confirmed_ns < DRAIN_SPIN_NS) {
        sched_yield();
        return;
    }
    for (uint32_t i = 0; i < thread->count; i++)
        pending |= !thread->rings[i]->stopped && thread->rings[i]->pending;
    if (pending && nap_ns > SHM_BLIND_NS)
        nap_ns = SHM_BLIND_NS;
    if (due_ns != UINT64_MAX) {
        uint64_t now_ns = shm_now_ns();
        uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
        nap_ns = left_ns < nap_ns ? left_ns : nap_ns;
    } else if (drain_prepare_one(thread)) {
        return;
    } else if (nap_ns >= DRAIN_NAP_ASK_NS && !pending && drain_ask_all(thread)) {
        /* E6 sleep: either a publisher sees that it was asked, or the next round sees its record. */
        mem_fence_full();
        if (thread->pool->place->fence_self || !shm_fence())
            nap_ns = SHM_BLIND_NS;
        else
            return;
    }
    drain_nap(thread, bell, nap_ns);
    thread->nap_ns = 2 * thread->nap_ns < DRAIN_NAP_MAX_NS ? 2 * thread->nap_ns : DRAIN_NAP_MAX_NS;
}

/* -- thread ---------------------------------------------------------------------------------------------------------- */

static void drain_end(struct drain_thread *thread)
{
    uint64_t deadline_ns = shm_now_ns() + DRAIN_FINISH_NS;
    for (uint32_t i = 0; i < thread->count; i++)
        drain_ring_finish(thread->rings[i], &thread->buffer, deadline_ns);
    for (uint32_t i = 0; i < thread->count; i++) {
        struct weird_ring *ring = thread->rings[i]->ring;
        drain_ring_close(thread->rings[i]);
        weird_ring_put(ring);
    }
    journal_flights_close(thread->flights);
    io_queue_close(thread->queue);
    free(thread->rings);
    free(thread->buffer.bytes);
}

static void *drain_main(void *argument)
{
    struct drain_thread *thread = argument;
    rcu_register_thread();
    beat_begin(&thread->beat);
    thread->nap_ns = DRAIN_NAP_MIN_NS;
    for (;;) {
        beat_raise(&thread->beat);
        uint32_t bell = (uint32_t)mem_load_acquire(&thread->bell);
        bool finish = mem_load_acquire(&thread->pool->finish);
        drain_refresh(thread);
        drain_learn(thread);
        if (finish)
            break;
        uint64_t due_ns;
        bool found = drain_write_all(thread);
        bool synced = drain_sync_all(thread, found, &due_ns);
        bool repaired = drain_tend_all(thread);
        if (found || synced || repaired)
            thread->nap_ns = DRAIN_NAP_MIN_NS;
        else
            drain_rest(thread, bell, due_ns);
    }
    drain_end(thread);
    rcu_unregister_thread();
    return NULL;
}

/* On its processors from its first instruction, so that what it touches first lies near them. cpus NULL: on any. */
static int drain_create(struct drain_thread *thread, const cpu_set_t *cpus)
{
    pthread_attr_t attributes;
    int r = pthread_attr_init(&attributes);
    if (r != 0)
        return -r;
    if (cpus)
        r = pthread_attr_setaffinity_np(&attributes, sizeof *cpus, cpus);
    if (r == 0)
        r = pthread_create(&thread->thread, &attributes, drain_main, thread);
    pthread_attr_destroy(&attributes);
    return -r;
}

/* On the processors of its NUMA node, where it is of one; else on any of these. */
static int drain_create_near(struct drain_thread *thread, const cpu_set_t *cpus)
{
    const struct spread_node *node = spread_of_thread(&thread->pool->spread, thread->number);
    int r = node ? drain_create(thread, &node->cpus) : drain_create(thread, cpus);
    if (node && r == 0) {
        log_debug("drain thread %u runs on NUMA node %u alone", thread->number, node->node);
    } else if (node) {
        /* Its processors are gone by now, or a container's rules forbid to choose: it drains from afar, too. */
        log_warning("drain thread %u cannot be bound to NUMA node %u: %s", thread->number, node->node, strerror(-r));
        r = drain_create(thread, cpus);
    }
    return r;
}

/* cpus NULL: those that this process may use. */
static void drain_spread(struct spread *ret_spread, uint32_t threads, const cpu_set_t *cpus)
{
    cpu_set_t allowed;
    int node_of_cpu[CPU_SETSIZE];
    CPU_ZERO(&allowed);
    if (!cpus && sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        CPU_ZERO(&allowed); /* more processors than a set has bits: of no node */
    nodes_read(cpus ? cpus : &allowed, node_of_cpu);
    spread_make(ret_spread, threads, cpus ? cpus : &allowed, node_of_cpu);
}

int drain_start(struct drain_pool **ret_pool, const struct place *place, struct policies *policies,
                struct registry *registry, uint32_t threads, const cpu_set_t *cpus)
{
    struct spread spread;
    drain_spread(&spread, threads, cpus);
    struct drain_pool *pool = calloc(1, sizeof *pool + spread.thread_count * sizeof pool->threads[0]);
    if (!pool)
        return -ENOMEM;
    int r = room_open(&pool->room, place->journal_fd, policies);
    if (r < 0) {
        free(pool);
        return r;
    }
    pool->place = place;
    pool->policies = policies;
    pool->registry = registry;
    pool->spread = spread;
    for (uint32_t i = 0; i < spread.thread_count; i++) {
        pool->threads[i].pool = pool;
        pool->threads[i].number = i;
    }
    for (; pool->count < spread.thread_count; pool->count++) {
        struct drain_thread *thread = &pool->threads[pool->count];
        r = drain_create_near(thread, cpus);
        if (r != 0) {
            drain_finish(pool);
            drain_free(pool);
            return r;
        }
        pthread_setname_np(thread->thread, "weird-drain");
    }
    *ret_pool = pool;
    return 0;
}

void drain_wake(struct drain_pool *pool, const struct weird_ring *ring)
{
    bell_ring(&pool->threads[drain_number_of(pool, ring)].bell);
}

void drain_wake_all(struct drain_pool *pool)
{
    for (uint32_t i = 0; i < pool->count; i++)
        bell_ring(&pool->threads[i].bell);
}

bool drain_beats(struct drain_pool *pool, uint64_t step_ns)
{
    bool alive = true;
    for (uint32_t i = 0; i < pool->count; i++)
        alive &= beat_look(&pool->threads[i].beat, step_ns, BEAT_WAITS_FOR_DISK);
    return alive;
}

void drain_finish(struct drain_pool *pool)
{
    if (!pool)
        return;
    mem_store_release(&pool->finish, 1);
    drain_wake_all(pool);
    for (uint32_t i = 0; i < pool->count; i++)
        pthread_join(pool->threads[i].thread, NULL);
}

void drain_free(struct drain_pool *pool)
{
    if (!pool)
        return;
    room_close(pool->room);
    free(pool);
}

uint64_t drain_sleeps(const struct drain_pool *pool)
{
    uint64_t sleeps = 0;
    for (uint32_t i = 0; i < pool->count; i++)
        sleeps += mem_load_relaxed(&pool->threads[i].sleeps);
    return sleeps;
}
