/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/pair.h"

/* A start on a large journal, and a clean stop on a slow disk, may take as long. */
#define PATIENCE_NS 120000000000ull

/* A socket with a name that the kernel chose, "@00012", as a service manager has one. */
static int open_manager(char *name, size_t name_bytes)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof address.sun_family;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = bind(fd, (struct sockaddr *)&address, length);
    length = sizeof address;
    if (r == 0)
        r = getsockname(fd, (struct sockaddr *)&address, &length);
    if (r < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    int path_bytes = (int)length - (int)offsetof(struct sockaddr_un, sun_path) - 1;
    snprintf(name, name_bytes, "@%.*s", path_bytes, address.sun_path + 1);
    return fd;
}

static _Noreturn void become(const struct bench_daemon *daemon, const char *manager, int log)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0); /* a terminal's interrupt is the bench's: it ends the daemon when it is through with it */
    if (daemon->cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)daemon->cpu, &set);
        sched_setaffinity(0, sizeof set, &set);
    }
    dup2(log, STDERR_FILENO);
    setenv("NOTIFY_SOCKET", manager, 1);
    execlp(daemon->site->weird, "weird", "--bus", daemon->site->bus, "--journal", daemon->journal,
           daemon->config[0] ? "--config" : (char *)NULL, daemon->config, (char *)NULL);
    fprintf(stderr, "%s: %s\n", daemon->site->weird, strerror(errno));
    _exit(127);
}

static int wait_until_ready(struct bench_daemon *daemon, int manager)
{
    uint64_t start = bench_now_ns();
    struct pollfd polled = {.fd = manager, .events = POLLIN};
    while (bench_now_ns() - start < PATIENCE_NS && !site_stopped(daemon->site)) {
        char state[64];
        if (poll(&polled, 1, 20) == 1) {
            ssize_t bytes = recv(manager, state, sizeof state, MSG_DONTWAIT);
            if (bytes >= 7 && memcmp(state, "READY=1", 7) == 0)
                return 0;
        } else if (waitpid(daemon->pid, NULL, WNOHANG) == daemon->pid) {
            daemon->pid = 0;
            return -ECHILD;
        }
    }
    return site_stopped(daemon->site) ? -EINTR : -ETIMEDOUT;
}

static void show_log(const char *path)
{
    char line[512];
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        fputs(line, stderr);
    if (file)
        fclose(file);
}

int bench_daemon_again(struct bench_daemon *daemon)
{
    char log_path[sizeof daemon->site->folder + 16], name[120];
    snprintf(log_path, sizeof log_path, "%s/weird.log", daemon->site->folder);
    int log = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (log < 0)
        return -errno;
    int manager = open_manager(name, sizeof name), r = manager < 0 ? manager : 0;
    uint64_t start = bench_now_ns();
    if (r == 0 && (daemon->pid = fork()) == 0)
        become(daemon, name, log);
    if (r == 0 && daemon->pid < 0) {
        r = -errno;
        daemon->pid = 0;
    }
    if (r == 0)
        r = wait_until_ready(daemon, manager);
    daemon->ready_seconds = (double)(bench_now_ns() - start) / 1e9;
    close(log);
    if (manager >= 0)
        close(manager);
    if (r < 0 && r != -EINTR) {
        fprintf(stderr, "weir: bench: cannot start %s: %s\n", daemon->site->weird, strerror(-r));
        show_log(log_path);
    }
    if (r < 0)
        bench_daemon_end(daemon, SIGKILL);
    return r;
}

static int write_config(struct bench_daemon *daemon, uint64_t retain_bytes)
{
    snprintf(daemon->config, sizeof daemon->config, "%s/weird.conf", daemon->site->folder);
    FILE *file = fopen(daemon->config, "we");
    if (!file)
        return -errno;
    fprintf(file, "[ring]\nretain_bytes = %" PRIu64 "\n", retain_bytes);
    return fclose(file) == 0 ? 0 : -errno;
}

int bench_daemon_start(struct bench_daemon *daemon, struct site *site, int cpu, uint64_t bytes, uint64_t retain_bytes)
{
    *daemon = (struct bench_daemon){.site = site, .cpu = cpu};
    int r = site_open(site, bytes);
    if (r < 0)
        return r;
    snprintf(daemon->journal, sizeof daemon->journal, "%s/journal", site->folder);
    r = mkdir(daemon->journal, 0700) == 0 ? 0 : -errno;
    if (r == 0 && retain_bytes)
        r = write_config(daemon, retain_bytes);
    if (r == 0)
        r = bench_daemon_again(daemon);
    if (r < 0)
        site_remove(daemon->journal);
    return r;
}

void bench_daemon_end(struct bench_daemon *daemon, int signal_number)
{
    if (daemon->pid == 0)
        return;
    kill(daemon->pid, signal_number);
    for (uint64_t start = bench_now_ns(); waitpid(daemon->pid, NULL, WNOHANG) == 0;) {
        if (bench_now_ns() - start > PATIENCE_NS)
            kill(daemon->pid, SIGKILL);
        poll(NULL, 0, 1);
    }
    daemon->pid = 0;
}

void bench_daemon_stop(struct bench_daemon *daemon)
{
    bench_daemon_end(daemon, SIGKILL); /* so that it does not first drain what is thrown away */
    if (daemon->journal[0])
        site_remove(daemon->journal);
}

uint64_t bench_daemon_resident(const struct bench_daemon *daemon)
{
    char path[64], line[256];
    unsigned long long kib, sum = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)daemon->pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %llu", &kib) == 1 || sscanf(line, "RssFile: %llu", &kib) == 1)
            sum += kib;
    if (file)
        fclose(file);
    return sum << 10;
}
