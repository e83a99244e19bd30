/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/pair.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
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

/* The first two processors that this process may use. */
static int choose_cpus(int cpus[2])
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return -errno;
    int found = 0;
    for (int i = 0; i < CPU_SETSIZE && found < 2; i++)
        if (CPU_ISSET((size_t)i, &set))
            cpus[found++] = i;
    return found == 2 ? 0 : -ENODEV;
}

int pair_open(struct pair *pair, const int cpus[2], size_t area_bytes)
{
    *pair = (struct pair){.cpus = {cpus[0], cpus[1]}, .area_bytes = area_bytes};
    int r = cpus[0] < 0 || cpus[1] < 0 ? choose_cpus(pair->cpus) : 0;
    if (r < 0)
        return r;
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

void pair_child_ready(struct pair *pair)
{
    mem_store_release(&pair->shared->child_ready, 1);
}

int pair_wait_child(struct pair *pair)
{
    uint64_t deadline = bench_now_ns() + 10000000000u;
    while (mem_load_acquire(&pair->shared->child_ready) == 0) {
        if (bench_now_ns() > deadline)
            return -ETIMEDOUT;
        sched_yield();
    }
    return 0;
}

int pair_run(struct pair *pair, int (*parent)(struct pair *pair, void *ctx), int (*child)(struct pair *pair, void *ctx),
             void *ctx)
{
    memset(pair->shared, 0, sizeof *pair->shared);
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int r = pin(pair->cpus[1]);
        if (r == 0)
            r = child(pair, ctx);
        _exit(r == 0 ? 0 : 1);
    }
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    int r = pin(pair->cpus[0]);
    if (r == 0)
        r = pair_wait_child(pair);
    if (r == 0)
        r = parent(pair, ctx);
    if (r < 0)
        kill(pid, SIGKILL);
    sched_setaffinity(0, sizeof before, &before);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return r == 0 && status != 0 ? -ECHILD : r;
}
