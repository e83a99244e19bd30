/* SPDX-License-Identifier: Apache-2.0 */
/* A publisher dies with a claim open, a record stands behind it, and a subscriber waits for that record. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <weir.h>

#include "bench/cases.h"
#include "bench/daemon.h"

#define RING "bench-repair"
#define PATIENCE_NS 10000000000
/* Deaths are spread over a sleeper's bounded sleep, so that none of its looks is met more often than another. */
#define SLEEP_BOUND_US 5000u

struct work {
    const char *bus;
    const struct case_shape *shape;
    size_t deaths;
    struct histogram *histogram;
    struct weir_pub *pub;
    int locks; /* the ring's lock file */
};

static int read_along(struct pair *pair, size_t index, void *ctx)
{
    const struct work *work = ctx;
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    options.from = WEIR_POSITION_END;
    options.spin_ns = work->shape->asleep ? 0 : WEIR_FOREVER;
    struct weir_message message;
    struct weir_sub *sub;
    if (case_say(weir_sub_open(work->bus, RING, &options, &sub), RING) < 0)
        return -EIO;
    pair_child_ready(pair, index);
    int r = 0;
    for (size_t i = 0; i < work->deaths && r == 0; i++) {
        r = weir_sub_next(sub, WEIR_FOREVER, &message);
        mem_store_release(&pair->shared->stamp_ns, bench_now_ns());
        mem_store_release(&pair->shared->read, i + 1);
    }
    weir_sub_close(sub);
    return case_say(r, "next");
}

/* Claims, says so, and waits to be killed. */
static pid_t start_victim(struct pair *pair, const struct work *work, uint64_t number)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid < 0 ? -errno : pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct weir_pub *pub;
    void *data;
    if (case_say(weir_pub_open(work->bus, RING, NULL, &pub), RING) < 0 ||
        case_say(weir_pub_claim(pub, 48, NULL, 0, &data), "claim") < 0)
        _exit(1);
    mem_store_release(&pair->shared->written, number);
    for (;;)
        pause();
}

struct wanted {
    uint64_t pid, id;
};

static int find_publisher(void *ctx, const struct weir_participant *participant)
{
    struct wanted *wanted = ctx;
    if (participant->role != WEIR_PUBLISHER || participant->pid != wanted->pid)
        return 0;
    wanted->id = participant->id;
    return 1;
}

/* The lock of a publisher is a byte of the file, numbered by its id (docs/shared-memory.md). */
static int is_locked(int locks, uint64_t id)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = (off_t)id, .l_len = 1};
    return fcntl(locks, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static int wait_for(const struct mem_u64 *word, uint64_t value)
{
    for (uint64_t start = bench_now_ns(); mem_load_acquire(word) != value; sched_yield())
        if (bench_now_ns() - start > PATIENCE_NS)
            return -ETIMEDOUT;
    return 0;
}

static int kill_and_time(struct pair *pair, struct work *work, pid_t victim, uint64_t number)
{
    struct wanted wanted = {.pid = (uint64_t)victim};
    int r = case_say(wait_for(&pair->shared->written, number), "a publisher to kill");
    if (r == 0 && weir_ring_participants(work->bus, RING, find_publisher, &wanted) != 1)
        r = -ESRCH;
    if (r == 0)
        r = case_say(weir_pub_send(work->pub, &number, sizeof number, 0, NULL), "send");
    if (r < 0)
        return r;
    struct timespec rest = {0, (long)(300 + number * 977 % SLEEP_BOUND_US) * 1000};
    nanosleep(&rest, NULL);
    kill(victim, SIGKILL);
    uint64_t killed = bench_now_ns(), dead = killed;
    while (is_locked(work->locks, wanted.id) && dead - killed < PATIENCE_NS) {
        sched_yield(); /* it dies on this processor */
        dead = bench_now_ns();
    }
    r = case_say(wait_for(&pair->shared->read, number), "a repair");
    uint64_t repaired = mem_load_acquire(&pair->shared->stamp_ns);
    if (r == 0)
        histogram_add(work->histogram, repaired > dead ? repaired - dead : 0);
    return r;
}

static int kill_all(struct pair *pair, void *ctx)
{
    struct work *work = ctx;
    int r = 0;
    for (size_t i = 0; i < work->deaths && r == 0; i++) {
        pid_t victim = start_victim(pair, work, i + 1);
        if (victim < 0)
            return (int)victim;
        r = kill_and_time(pair, work, victim, i + 1);
        kill(victim, SIGKILL);
        waitpid(victim, NULL, 0);
    }
    return r;
}

static int run(struct pair *pair, struct work *work)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/" RING "/locks", work->bus);
    work->locks = open(path, O_RDONLY | O_CLOEXEC);
    if (work->locks < 0)
        return case_say(-errno, path);
    uint64_t position;
    int r = case_say(weir_pub_open(work->bus, RING, NULL, &work->pub), RING);
    if (r == 0)
        r = case_say(weir_pub_send(work->pub, "x", 1, 0, &position), "send");
    if (r == 0 && work->shape->daemon) /* then it has found the ring */
        r = case_say(weir_pub_wait(work->pub, position, WEIR_DURABLE, PATIENCE_NS), "the daemon");
    if (r == 0)
        r = pair_run(pair, 1, kill_all, read_along, work);
    weir_pub_close(work->pub);
    close(work->locks);
    return r;
}

int case_repair(struct pair *pair, struct site *site, const struct case_shape *shape, size_t deaths,
                struct histogram *histogram)
{
    struct work work = {.bus = site->bus, .shape = shape, .deaths = deaths, .histogram = histogram};
    struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    struct bench_daemon daemon = {0};
    options.journaled = shape->daemon;
    int r = case_say(weir_ring_create(site->bus, RING, &options), RING);
    if (r == 0 && shape->daemon)
        r = bench_daemon_start(&daemon, site, -1, 0, 0);
    if (r == 0)
        r = run(pair, &work);
    bench_daemon_stop(&daemon);
    weir_ring_remove(site->bus, RING, 1, 1);
    return r;
}
