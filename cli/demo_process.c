/* SPDX-License-Identifier: Apache-2.0 */
/* The demo's child processes and temporary folders. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/demo.h"
#include "cli/signals.h"

/* -- Processes ------------------------------------------------------------------------------------------------------ */

static void become(const char *const *argv, pid_t parent, int input_fd, int output_fd, int log_fd)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* A Ctrl-C on the terminal is the director's alone to answer. */
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    if (getppid() == parent && dup2(input_fd, STDIN_FILENO) >= 0 && dup2(output_fd, STDOUT_FILENO) >= 0 &&
        dup2(log_fd, STDERR_FILENO) >= 0)
        execvp(argv[0], (char *const *)argv);
    dprintf(log_fd, "cannot start %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

int demo_child_start(struct demo_child *child, const char *const *argv, bool pipes, int log_fd)
{
    int orders[2] = {-1, -1}, reports[2] = {-1, -1};
    int rc = 0;
    if (pipes) {
        if (pipe2(orders, O_CLOEXEC) != 0 || pipe2(reports, O_CLOEXEC) != 0)
            rc = -errno;
    } else if ((orders[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0 ||
               (reports[1] = open("/dev/null", O_WRONLY | O_CLOEXEC)) < 0) {
        rc = -errno;
    }
    pid_t parent = getpid();
    pid_t pid = rc == 0 ? fork() : -1;
    if (pid == 0)
        become(argv, parent, orders[0], reports[1], log_fd);
    if (rc == 0 && pid < 0)
        rc = -errno;
    if (orders[0] >= 0)
        close(orders[0]);
    if (reports[1] >= 0)
        close(reports[1]);
    child->orders_fd = orders[1];
    child->reports_fd = reports[0];
    child->pid = pid > 0 ? pid : 0;
    if (rc < 0)
        demo_child_close(child);
    else if (child->reports_fd >= 0)
        fcntl(child->reports_fd, F_SETFL, O_NONBLOCK);
    return rc;
}

void demo_child_kill(struct demo_child *child)
{
    if (child->pid <= 0)
        return;
    kill(child->pid, SIGKILL);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    child->pid = 0;
}

bool demo_child_ended(struct demo_child *child, int *ret_status)
{
    if (child->pid <= 0 || waitpid(child->pid, ret_status, WNOHANG) != child->pid)
        return false;
    child->pid = 0;
    return true;
}

void demo_child_close(struct demo_child *child)
{
    if (child->orders_fd >= 0)
        close(child->orders_fd);
    if (child->reports_fd >= 0)
        close(child->reports_fd);
    child->orders_fd = child->reports_fd = -1;
}

int demo_tell(int fd, const void *bytes, size_t count, bool wait)
{
    for (;;) {
        /* Less than PIPE_BUF: all of it or nothing. */
        ssize_t written = write(fd, bytes, count);
        if (written == (ssize_t)count)
            return 1;
        if (written >= 0)
            return -EIO;
        if (errno == EAGAIN && !wait)
            return 0;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        struct pollfd ready = {fd, POLLOUT, 0};
        poll(&ready, 1, (int)(SIGNALS_SLICE_NS / 1000000));
        if (signals_stop())
            return -EINTR;
    }
}

/* -- Folders -------------------------------------------------------------------------------------------------------- */

int demo_folder_make(const char *parent, char *path, size_t path_bytes)
{
    if (snprintf(path, path_bytes, "%s/weir-demo-XXXXXX", parent) >= (int)path_bytes) {
        path[0] = '\0';
        return -ENAMETOOLONG;
    }
    if (!mkdtemp(path)) {
        path[0] = '\0';
        return -errno;
    }
    return 0;
}

void demo_path(char *path, size_t path_bytes, const char *folder, const char *name, const char *suffix)
{
    snprintf(path, path_bytes, "%s/%s%s", folder, name, suffix);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    (void)remove(path); /* what cannot be removed is left; the rest still goes */
    return 0;
}

void demo_folder_remove(const char *path)
{
    if (path[0] != '\0')
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
