/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/cases.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <weir.h>

#include "bench/daemon.h"

#define FORTH "bench-forth"
#define BACK "bench-back"
#define BATCH 64

struct work {
    const char *bus;
    const struct case_shape *shape;
    uint64_t count; /* messages, of each publisher */
    struct histogram *histogram, *others;
    uint8_t *buffer; /* payload_bytes */
    double result, fairness;
};

/* What stands at the start of each payload. */
struct mark {
    uint64_t sequence, publisher;
};

int case_say(int r, const char *what)
{
    if (r < 0 && r != -EINTR)
        fprintf(stderr, "weir: bench: %s: %s %s\n", what, weir_strerror(r), weir_last_error());
    return r;
}

static size_t at_least_one(size_t count)
{
    return count ? count : 1;
}

static int make_ring(const char *bus, const struct case_shape *shape, const char *name)
{
    struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    options.exclusive = shape->exclusive;
    options.journaled = 0;
    options.segment_bytes = shape->segment_bytes;
    options.max_publishers = shape->exclusive ? 1 : (uint32_t)at_least_one(shape->publishers);
    options.max_readers = (uint32_t)at_least_one(shape->subscribers);
    if (shape->set_bytes) { /* a ring has more slots than its limit asks for: docs/guarantees.md P1 */
        uint64_t more = options.max_readers + 2 * options.max_publishers + 3;
        options.memory_limit_bytes =
            shape->set_bytes - more * (shape->segment_bytes ? shape->segment_bytes : 256u << 10);
    }
    return case_say(weir_ring_create(bus, name, &options), name);
}

static int open_sub(const struct work *work, const char *name, int64_t spin_ns, struct weir_sub **ret_sub)
{
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    options.gating = 1;
    options.spin_ns = spin_ns;
    return case_say(weir_sub_open(work->bus, name, &options, ret_sub), name);
}

static int open_pub(const struct work *work, const char *name, struct weir_pub **ret_pub)
{
    return case_say(weir_pub_open(work->bus, name, NULL, ret_pub), name);
}

static int run(struct pair *pair, size_t children, int (*parent)(struct pair *, void *),
               int (*child)(struct pair *, size_t, void *), struct work *work)
{
    int r = make_ring(work->bus, work->shape, FORTH);
    if (r == 0)
        r = make_ring(work->bus, work->shape, BACK);
    if (r == 0 && !(work->buffer = calloc(1, at_least_one(work->shape->payload_bytes))))
        r = -ENOMEM;
    if (r == 0)
        r = case_say(pair_run(pair, children, parent, child, work), "processes of a case");
    free(work->buffer);
    weir_ring_remove(work->bus, FORTH, 1, 0);
    weir_ring_remove(work->bus, BACK, 1, 0);
    return r;
}

/* -- round trip ----------------------------------------------------------------------------------------------------- */

static int round_trip_child(struct pair *pair, size_t index, void *ctx)
{
    const struct work *work = ctx;
    size_t bytes = work->shape->payload_bytes;
    struct weir_message message;
    struct weir_sub *sub;
    struct weir_pub *pub;
    if (open_sub(work, FORTH, WEIR_FOREVER, &sub) < 0 || open_pub(work, BACK, &pub) < 0)
        return -EIO;
    pair_child_ready(pair, index);
    for (uint64_t i = 0; i < work->count; i++) {
        int r = weir_sub_next(sub, WEIR_FOREVER, &message);
        if (r < 0 || message.data_bytes != bytes)
            return case_say(r, "next");
        memcpy(work->buffer, message.data, bytes);
        if ((r = weir_pub_send(pub, work->buffer, bytes, WEIR_FOREVER, NULL)) < 0)
            return case_say(r, "send");
    }
    weir_sub_close(sub);
    weir_pub_close(pub);
    return 0;
}

static int round_trip_parent(struct pair *pair, void *ctx)
{
    (void)pair;
    struct work *work = ctx;
    size_t bytes = work->shape->payload_bytes;
    struct weir_message message;
    struct weir_sub *sub;
    struct weir_pub *pub;
    if (open_sub(work, BACK, WEIR_FOREVER, &sub) < 0 || open_pub(work, FORTH, &pub) < 0)
        return -EIO;
    int r = 0;
    for (uint64_t i = 0; i < work->count && r == 0; i++) {
        uint64_t start = bench_ticks();
        memcpy(work->buffer, &i, sizeof i);
        r = weir_pub_send(pub, work->buffer, bytes, WEIR_FOREVER, NULL);
        if (r == 0)
            r = weir_sub_next(sub, WEIR_FOREVER, &message);
        if (r == 0) {
            memcpy(work->buffer, message.data, bytes);
            histogram_add(work->histogram, bench_ticks() - start);
            if (memcmp(work->buffer, &i, sizeof i) != 0)
                r = -EBADMSG;
        }
    }
    weir_sub_close(sub);
    weir_pub_close(pub);
    return case_say(r, "round trip");
}

int case_round_trip(struct pair *pair, const char *bus, const struct case_shape *shape, size_t trips,
                    struct histogram *histogram)
{
    struct work work = {.bus = bus, .shape = shape, .count = trips, .histogram = histogram};
    return run(pair, 1, round_trip_parent, round_trip_child, &work);
}

/* -- open loop ------------------------------------------------------------------------------------------------------ */

static int open_loop_child(struct pair *pair, size_t index, void *ctx)
{
    const struct work *work = ctx;
    struct weir_message message;
    struct weir_sub *sub;
    if (open_sub(work, FORTH, WEIR_FOREVER, &sub) < 0)
        return -EIO;
    pair_child_ready(pair, index);
    for (uint64_t i = 0; i < work->count; i++) {
        uint64_t due;
        int r = weir_sub_next(sub, WEIR_FOREVER, &message);
        if (r < 0 || message.data_bytes != work->shape->payload_bytes)
            return case_say(r, "next");
        memcpy(&due, message.data, sizeof due);
        histogram_add(&pair->shared->histogram, bench_ticks() - due);
    }
    weir_sub_close(sub);
    return 0;
}

static int open_loop_parent(struct pair *pair, void *ctx)
{
    (void)pair;
    struct work *work = ctx;
    struct weir_pub *pub;
    if (open_pub(work, FORTH, &pub) < 0)
        return -EIO;
    double every = bench_ticks_per_ns() * 1e9 / work->shape->rate;
    uint64_t start = bench_ticks();
    int r = 0;
    for (uint64_t i = 0; i < work->count && r == 0; i++) {
        uint64_t due = start + (uint64_t)((double)i * every);
        while ((int64_t)(bench_ticks() - due) < 0)
            ;
        memcpy(work->buffer, &due, sizeof due);
        r = weir_pub_send(pub, work->buffer, work->shape->payload_bytes, WEIR_FOREVER, NULL);
    }
    weir_pub_close(pub);
    return case_say(r, "send");
}

int case_open_loop(struct pair *pair, const char *bus, const struct case_shape *shape, double seconds,
                   struct histogram *histogram)
{
    struct work work = {.bus = bus, .shape = shape, .count = (uint64_t)(seconds * shape->rate)};
    int r = run(pair, 1, open_loop_parent, open_loop_child, &work);
    if (r == 0)
        histogram_merge(histogram, &pair->shared->histogram);
    return r;
}

/* -- throughput ----------------------------------------------------------------------------------------------------- */

static int send_in_place(struct weir_pub *pub, const struct work *work, const struct mark *mark)
{
    void *data;
    int r = weir_pub_claim(pub, work->shape->payload_bytes, NULL, WEIR_FOREVER, &data);
    if (r < 0)
        return r;
    memset(data, (int)mark->sequence, work->shape->payload_bytes);
    memcpy(data, mark, sizeof *mark);
    return weir_pub_commit(pub, work->shape->payload_bytes, NULL);
}

static int send_batch(struct weir_pub *pub, const struct work *work, struct mark mark, uint64_t count)
{
    struct weir_message messages[BATCH];
    uint8_t payloads[BATCH][64]; /* batches are measured with small messages */
    for (uint64_t k = 0; k < count; k++, mark.sequence++) {
        memcpy(payloads[k], &mark, sizeof mark);
        messages[k] = (struct weir_message){.data = payloads[k], .data_bytes = work->shape->payload_bytes};
    }
    return weir_pub_send_batch(pub, messages, count, WEIR_FOREVER, NULL);
}

static int send_all(struct weir_pub *pub, const struct work *work, uint64_t publisher)
{
    struct mark mark = {0, publisher};
    int r = 0;
    while (mark.sequence < work->count && r == 0) {
        uint64_t count = 1;
        if (work->shape->way == CASE_BATCH) {
            count = work->count - mark.sequence < BATCH ? work->count - mark.sequence : BATCH;
            r = send_batch(pub, work, mark, count);
        } else if (work->shape->way == CASE_IN_PLACE) {
            r = send_in_place(pub, work, &mark);
        } else {
            memcpy(work->buffer, &mark, sizeof mark);
            r = weir_pub_send(pub, work->buffer, work->shape->payload_bytes, WEIR_FOREVER, NULL);
        }
        mark.sequence += count;
    }
    return case_say(r, "send");
}

/* Takes one message the way the case wants it; counts[] is how many of each publisher were seen. */
static int take(const struct work *work, const struct weir_message *message, uint64_t *counts, size_t publishers)
{
    struct mark mark;
    if (message->data_bytes != work->shape->payload_bytes)
        return -EBADMSG;
    if (work->shape->way != CASE_IN_PLACE)
        memcpy(work->buffer, message->data, work->shape->payload_bytes);
    memcpy(&mark, message->data, sizeof mark);
    return mark.publisher < publishers && mark.sequence == counts[mark.publisher]++ ? 0 : -EBADMSG;
}

static double fairness_of(const uint64_t *counts, size_t publishers)
{
    uint64_t least = UINT64_MAX, sum = 0;
    for (size_t i = 0; i < publishers; i++) {
        least = counts[i] < least ? counts[i] : least;
        sum += counts[i];
    }
    return sum ? (double)least * (double)publishers / (double)sum : 0;
}

static int take_all(struct work *work, struct weir_sub *sub, size_t publishers)
{
    struct weir_message messages[BATCH];
    uint64_t counts[PAIR_CHILDREN_MAX] = {0};
    for (uint64_t left = work->count * publishers; left > 0;) {
        int count = weir_sub_next_batch(sub, messages, BATCH, WEIR_FOREVER);
        if (count < 0)
            return case_say(count, "next");
        for (int k = 0; k < count; k++, left--) {
            int r = take(work, &messages[k], counts, publishers);
            if (r < 0)
                return case_say(r, "order");
        }
        for (size_t i = 0; i < publishers && work->fairness == 0; i++)
            if (counts[i] == work->count)
                work->fairness = fairness_of(counts, publishers);
    }
    return 0;
}

static int fan_in_child(struct pair *pair, size_t index, void *ctx)
{
    const struct work *work = ctx;
    struct weir_pub *pub;
    if (open_pub(work, FORTH, &pub) < 0)
        return -EIO;
    pair_child_ready(pair, index);
    while (mem_load_acquire(&pair->shared->go) == 0)
        sched_yield();
    int r = send_all(pub, work, index);
    weir_pub_close(pub);
    return r;
}

static int fan_in_parent(struct pair *pair, void *ctx)
{
    struct work *work = ctx;
    struct weir_sub *sub;
    if (open_sub(work, FORTH, WEIR_FOREVER, &sub) < 0)
        return -EIO;
    size_t publishers = at_least_one(work->shape->publishers);
    uint64_t start = bench_now_ns();
    mem_store_release(&pair->shared->go, 1);
    int r = take_all(work, sub, publishers);
    work->result = (double)(work->count * publishers) * 1e9 / (double)(bench_now_ns() - start);
    weir_sub_close(sub);
    return r;
}

int case_fan_in(struct pair *pair, const char *bus, const struct case_shape *shape, uint64_t messages, double *ret_rate,
                double *ret_fairness)
{
    size_t publishers = at_least_one(shape->publishers);
    struct work work = {.bus = bus, .shape = shape, .count = messages / publishers};
    int r = run(pair, publishers, fan_in_parent, fan_in_child, &work);
    *ret_rate = work.result;
    *ret_fairness = work.fairness;
    return r;
}

static int fan_out_child(struct pair *pair, size_t index, void *ctx)
{
    struct work *work = ctx;
    struct weir_sub *sub;
    if (open_sub(work, FORTH, WEIR_FOREVER, &sub) < 0)
        return -EIO;
    pair_child_ready(pair, index);
    int r = take_all(work, sub, 1);
    mem_store_release(&pair->shared->children[index].done, 1);
    weir_sub_close(sub);
    return r;
}

static int fan_out_parent(struct pair *pair, void *ctx)
{
    struct work *work = ctx;
    struct weir_pub *pub;
    if (open_pub(work, FORTH, &pub) < 0)
        return -EIO;
    uint64_t start = bench_now_ns();
    int r = send_all(pub, work, 0);
    for (size_t i = 0; i < at_least_one(work->shape->subscribers) && r == 0; i++)
        while (mem_load_acquire(&pair->shared->children[i].done) == 0) {
            if (bench_now_ns() - start > 120000000000u)
                return -ETIMEDOUT;
            sched_yield();
        }
    work->result = (double)work->count * 1e9 / (double)(bench_now_ns() - start);
    weir_pub_close(pub);
    return r;
}

int case_fan_out(struct pair *pair, const char *bus, const struct case_shape *shape, uint64_t messages,
                 double *ret_rate)
{
    struct work work = {.bus = bus, .shape = shape, .count = messages};
    int r = run(pair, at_least_one(shape->subscribers), fan_out_parent, fan_out_child, &work);
    *ret_rate = work.result;
    return r;
}

/* -- wake-up -------------------------------------------------------------------------------------------------------- */

/* An epoll that watches the subscriber, and has said that nothing is there. */
static int open_epoll(struct weir_sub *sub, int *ret_epoll)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct weir_message message;
    int fd, r = case_say(weir_sub_fd(sub, &fd), "fd");
    if (r < 0)
        return r;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return -errno;
    *ret_epoll = epoll;
    r = weir_sub_next(sub, 0, &message);
    return r == -EAGAIN ? 0 : -EBADMSG;
}

/* As a loop does: reads until nothing is there, then sleeps. */
static int next_by_epoll(struct weir_sub *sub, int epoll, struct weir_message *ret_message)
{
    struct epoll_event event;
    int r;
    while ((r = weir_sub_next(sub, 0, ret_message)) == -EAGAIN) {
        if (epoll_wait(epoll, &event, 1, -1) < 0 && errno != EINTR)
            return -errno;
    }
    return r;
}

static int wakeup_child(struct pair *pair, size_t index, void *ctx)
{
    const struct work *work = ctx;
    struct weir_message message;
    struct weir_sub *sub;
    int epoll = -1;
    if (open_sub(work, FORTH, 0, &sub) < 0 || (work->shape->epoll && open_epoll(sub, &epoll) < 0))
        return -EIO;
    pair_child_ready(pair, index);
    for (uint64_t i = 0; i < work->count; i++) {
        int r = epoll >= 0 ? next_by_epoll(sub, epoll, &message) : weir_sub_next(sub, WEIR_FOREVER, &message);
        mem_store_release(&pair->shared->stamp_ns, bench_now_ns());
        mem_store_release(&pair->shared->read, i + 1);
        if (r < 0)
            return case_say(r, "next");
    }
    if (epoll >= 0)
        close(epoll);
    weir_sub_close(sub);
    return 0;
}

static int wakeup_parent(struct pair *pair, void *ctx)
{
    struct work *work = ctx;
    struct weir_pub *pub;
    if (open_pub(work, FORTH, &pub) < 0)
        return -EIO;
    for (uint64_t i = 0; i < work->count; i++) {
        struct timespec rest = {0, 300000}; /* until it surely sleeps */
        nanosleep(&rest, NULL);
        uint64_t start = bench_now_ns();
        int r = weir_pub_send(pub, &i, sizeof i, WEIR_FOREVER, NULL);
        if (r < 0)
            return case_say(r, "send");
        while (mem_load_acquire(&pair->shared->read) != i + 1)
            ;
        histogram_add(work->histogram, mem_load_acquire(&pair->shared->stamp_ns) - start);
    }
    weir_pub_close(pub);
    return 0;
}

int case_wakeup(struct pair *pair, const char *bus, const struct case_shape *shape, size_t wakes,
                struct histogram *histogram)
{
    struct work work = {.bus = bus, .shape = shape, .count = wakes, .histogram = histogram};
    return run(pair, 1, wakeup_parent, wakeup_child, &work);
}

/* -- roll-over ------------------------------------------------------------------------------------------------------ */

/* Reads along, as somebody does in use: the publisher waits for it. */
static int roll_over_child(struct pair *pair, size_t index, void *ctx)
{
    const struct work *work = ctx;
    struct weir_message message;
    struct weir_sub *sub;
    if (open_sub(work, FORTH, WEIR_FOREVER, &sub) < 0)
        return -EIO;
    pair_child_ready(pair, index);
    int r = 0;
    for (uint64_t i = 0; i < work->count && r == 0; i++)
        r = weir_sub_next(sub, WEIR_FOREVER, &message);
    weir_sub_close(sub);
    return case_say(r, "next");
}

static int roll_over_parent(struct pair *pair, void *ctx)
{
    (void)pair;
    struct work *work = ctx;
    struct weir_ring_info info = {.size = sizeof info};
    struct weir_pub *pub;
    if (open_pub(work, FORTH, &pub) < 0)
        return -EIO;
    int r = case_say(weir_ring_inspect(work->bus, FORTH, &info), FORTH);
    uint64_t segment = UINT64_MAX;
    for (uint64_t i = 0; i < work->count && r == 0; i++) {
        uint64_t position, start = bench_ticks();
        r = weir_pub_send(pub, work->buffer, work->shape->payload_bytes, WEIR_FOREVER, &position);
        uint64_t took = bench_ticks() - start;
        if (r == 0 && segment != UINT64_MAX) /* the first one attaches */
            histogram_add(position / info.segment_bytes == segment ? work->others : work->histogram, took);
        segment = position / info.segment_bytes;
    }
    weir_pub_close(pub);
    return case_say(r, "send");
}

int case_roll_over(struct pair *pair, const char *bus, const struct case_shape *shape, uint64_t messages,
                   struct histogram *rolls, struct histogram *others)
{
    struct work work = {.bus = bus, .shape = shape, .count = messages, .histogram = rolls, .others = others};
    return run(pair, 1, roll_over_parent, roll_over_child, &work);
}

/* -- idle ----------------------------------------------------------------------------------------------------------- */

static double cpu_seconds(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

/* The child blocks for count nanoseconds and leaves what it used, in ns of processor time. */
static int idle_child(struct pair *pair, size_t index, void *ctx)
{
    const struct work *work = ctx;
    struct weir_message message;
    struct weir_sub *sub;
    if (open_sub(work, FORTH, -1, &sub) < 0)
        return -EIO;
    double before = cpu_seconds(RUSAGE_SELF);
    pair_child_ready(pair, index);
    int r = weir_sub_next(sub, (int64_t)work->count, &message);
    mem_store_release(&pair->shared->stamp_ns, (uint64_t)((cpu_seconds(RUSAGE_SELF) - before) * 1e9));
    mem_store_release(&pair->shared->read, 1);
    weir_sub_close(sub);
    return r == -ETIMEDOUT ? 0 : case_say(r, "next");
}

static void rest_ms(long ms)
{
    struct timespec rest = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
        ;
}

static int idle_parent(struct pair *pair, void *ctx)
{
    struct work *work = ctx;
    while (mem_load_acquire(&pair->shared->read) == 0)
        rest_ms(20);
    work->result = (double)mem_load_acquire(&pair->shared->stamp_ns) / (double)work->count;
    return 0;
}

int case_idle(struct pair *pair, const char *bus, const struct case_shape *shape, double seconds, double *ret_share)
{
    struct work work = {.bus = bus, .shape = shape, .count = (uint64_t)(seconds * 1e9)};
    int r = run(pair, 1, idle_parent, idle_child, &work);
    *ret_share = work.result;
    return r;
}

/* What all threads of a process have run so far, from /proc; negative: it is gone. */
static double process_seconds(pid_t pid)
{
    char path[64 + 256];
    double ns = -1;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        unsigned long long ran;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, task->d_name);
        FILE *file = task->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file && fscanf(file, "%llu", &ran) == 1)
            ns = (ns < 0 ? 0 : ns) + (double)ran;
        if (file)
            fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return ns / 1e9;
}

static int measure_daemon(const char *bus, pid_t pid, double seconds, double *ret_share)
{
    struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    struct weir_pub *pub = NULL;
    int r = case_say(weir_ring_create(bus, FORTH, &options), FORTH);
    if (r == 0)
        r = case_say(weir_pub_open(bus, FORTH, NULL, &pub), FORTH);
    uint64_t position;
    if (r == 0)
        r = weir_pub_send(pub, "x", 1, 0, &position);
    if (r == 0) /* then it has started, found the ring, and is through */
        r = case_say(weir_pub_wait(pub, position, WEIR_DURABLE, 10000000000), "the daemon");
    double before = process_seconds(pid);
    rest_ms((long)(seconds * 1000));
    double after = process_seconds(pid);
    weir_pub_close(pub);
    weir_ring_remove(bus, FORTH, 1, 0);
    if (r == 0 && (before < 0 || after < 0))
        r = -ECHILD;
    *ret_share = (after - before) / seconds;
    return r;
}

int case_idle_daemon(struct site *site, double seconds, double *ret_share)
{
    struct bench_daemon daemon;
    int r = bench_daemon_start(&daemon, site, -1, 0, 0);
    if (r < 0)
        return r;
    r = measure_daemon(site->bus, daemon.pid, seconds, ret_share);
    bench_daemon_stop(&daemon);
    return r;
}
