/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

int bench_daemon_start(struct bench_daemon *daemon, const char *bus, const char *weird)
{
    const char *temporary = getenv("TMPDIR");
    *daemon = (struct bench_daemon){0};
    if (!temporary || !temporary[0])
        temporary = "/tmp";
    int length = snprintf(daemon->journal, sizeof daemon->journal, "%s/weir-bench-XXXXXX", temporary);
    int r = length >= (int)sizeof daemon->journal ? -ENAMETOOLONG : mkdtemp(daemon->journal) ? 0 : -errno;
    if (r < 0) {
        fprintf(stderr, "weir: bench: cannot make a folder: %s: %s: set $TMPDIR\n", temporary, strerror(-r));
        return r;
    }
    char *arguments[] = {(char *)(uintptr_t)weird, "--bus", (char *)(uintptr_t)bus, "--journal", daemon->journal, NULL};
    posix_spawn_file_actions_t quiet;
    r = -posix_spawn_file_actions_init(&quiet);
    if (r == 0) {
        r = -posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        if (r == 0)
            r = -posix_spawnp(&daemon->pid, weird, &quiet, NULL, arguments, environ);
        posix_spawn_file_actions_destroy(&quiet);
    }
    if (r < 0) {
        fprintf(stderr, "weir: bench: cannot start %s: %s\n", weird, strerror(-r));
        rmdir(daemon->journal);
    }
    return r;
}

void bench_daemon_stop(struct bench_daemon *daemon)
{
    kill(daemon->pid, SIGTERM);
    while (waitpid(daemon->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    nftw(daemon->journal, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}
