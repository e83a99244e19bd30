/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/pair.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return bench_now_ns();
#endif
}

double bench_ticks_per_ns(void)
{
    static double ratio;
    if (ratio == 0) {
        uint64_t start = bench_now_ns(), ticks = bench_ticks(), now;
        while ((now = bench_now_ns()) - start < 20000000)
            ;
        ratio = (double)(bench_ticks() - ticks) / (double)(now - start);
    }
    return ratio;
}

static int pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0 ? 0 : -errno;
}

static void *shared_memory(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* The processors that this process may use. */
static size_t allowed_cpus(int cpus[PAIR_CPUS_MAX])
{
    cpu_set_t set;
    size_t found = 0;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 0;
    for (int i = 0; i < CPU_SETSIZE && found < PAIR_CPUS_MAX; i++)
        if (CPU_ISSET((size_t)i, &set))
            cpus[found++] = i;
    return found;
}

static bool contains(const int *cpus, size_t count, int cpu)
{
    for (size_t i = 0; i < count; i++)
        if (cpus[i] == cpu)
            return true;
    return false;
}

int pair_open(struct pair *pair, const int *cpus, size_t cpu_count, size_t area_bytes)
{
    *pair = (struct pair){.cpu_count = cpu_count, .area_bytes = area_bytes};
    if (cpu_count > PAIR_CPUS_MAX)
        return -EINVAL;
    int allowed[PAIR_CPUS_MAX];
    size_t allowed_count = allowed_cpus(allowed);
    if (cpu_count == 0) {
        pair->cpu_count = allowed_count;
        cpus = allowed;
    }
    for (size_t i = 0; i < pair->cpu_count; i++) {
        if (!contains(allowed, allowed_count, cpus[i]))
            return -ENXIO;
        pair->cpus[i] = cpus[i];
    }
    if (pair->cpu_count < 2)
        return -ENODEV;
    pair->shared = shared_memory(sizeof *pair->shared);
    pair->area = shared_memory(area_bytes);
    return pair->shared && pair->area ? 0 : -ENOMEM;
}

void pair_close(struct pair *pair)
{
    if (pair->shared)
        munmap(pair->shared, sizeof *pair->shared);
    if (pair->area)
        munmap(pair->area, pair->area_bytes);
}

void pair_child_ready(struct pair *pair, size_t index)
{
    mem_store_release(&pair->shared->children[index].ready, 1);
}

/* A child that fails before it is ready is found by its end. */
static int wait_children(struct pair *pair, const pid_t *pids, size_t children)
{
    uint64_t deadline = bench_now_ns() + 10000000000u;
    for (size_t i = 0; i < children; i++) {
        siginfo_t ended = {.si_pid = 0};
        while (mem_load_acquire(&pair->shared->children[i].ready) == 0) {
            if (waitid(P_PID, (id_t)pids[i], &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid != 0)
                return -ECHILD;
            if (bench_now_ns() > deadline)
                return -ETIMEDOUT;
            sched_yield();
        }
    }
    return 0;
}

static pid_t start_child(struct pair *pair, size_t index, int (*child)(struct pair *, size_t, void *), void *ctx)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int r = pin(pair->cpus[(1 + index) % pair->cpu_count]);
    if (r == 0)
        r = child(pair, index, ctx);
    _exit(r == 0 ? 0 : 1);
}

int pair_run(struct pair *pair, size_t children, int (*parent)(struct pair *pair, void *ctx),
             int (*child)(struct pair *pair, size_t index, void *ctx), void *ctx)
{
    pid_t pids[PAIR_CHILDREN_MAX] = {0};
    size_t started = 0;
    int r = children > PAIR_CHILDREN_MAX ? -EINVAL : 0;
    memset(pair->shared, 0, sizeof *pair->shared);
    for (; r == 0 && started < children; started++) {
        pids[started] = start_child(pair, started, child, ctx);
        if (pids[started] < 0) {
            r = -errno;
            break;
        }
    }
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    if (r == 0)
        r = pin(pair->cpus[0]);
    if (r == 0)
        r = wait_children(pair, pids, children);
    if (r == 0)
        r = parent(pair, ctx);
    sched_setaffinity(0, sizeof before, &before);
    for (size_t i = 0; i < started; i++) {
        int status = 0;
        if (r < 0)
            kill(pids[i], SIGKILL);
        while (waitpid(pids[i], &status, 0) < 0 && errno == EINTR)
            ;
        if (r == 0 && status != 0)
            r = -ECHILD;
    }
    return r;
}
