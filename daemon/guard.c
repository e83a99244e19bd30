/* SPDX-License-Identifier: Apache-2.0 */
/* Catching SIGBUS where a step asked for it. */
#include "daemon/guard.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

struct guard_frame {
    sigjmp_buf point;
    struct guard_frame *outer;
};

/* The handler leaves the mask as it is (SA_NODEFER), but thread sanitizer blocks all signals around it. */
#ifdef __SANITIZE_THREAD__
#define GUARD_SAVES_MASK 1
#else
#define GUARD_SAVES_MASK 0
#endif

static _Thread_local struct guard_frame *guard_top;

static pthread_mutex_t guard_mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned guard_users;
static struct sigaction guard_before;

static void guard_caught(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (guard_top && info->si_code == BUS_ADRERR)
        siglongjmp(guard_top->point, 1);
    /* Not about a ring: as if there were no handler. The access is repeated; what kill() sent is raised again. */
    sigaction(SIGBUS, &guard_before, NULL);
    if (info->si_code <= 0)
        raise(number);
}

int guard_install(void)
{
    int r = 0;
    pthread_mutex_lock(&guard_mutex);
    if (guard_users == 0) {
        /* SA_NODEFER: the mask is as it was when the handler is left by a jump, so sigsetjmp() need not save it. */
        struct sigaction action = {.sa_sigaction = guard_caught, .sa_flags = SA_SIGINFO | SA_NODEFER};
        sigemptyset(&action.sa_mask);
        if (sigaction(SIGBUS, &action, &guard_before) < 0)
            r = -errno;
    }
    if (r == 0)
        guard_users++;
    pthread_mutex_unlock(&guard_mutex);
    return r;
}

void guard_remove(void)
{
    pthread_mutex_lock(&guard_mutex);
    if (--guard_users == 0)
        sigaction(SIGBUS, &guard_before, NULL);
    pthread_mutex_unlock(&guard_mutex);
}

int guard_run(int (*step)(void *argument), void *argument)
{
    struct guard_frame frame;
    frame.outer = guard_top;
    if (sigsetjmp(frame.point, GUARD_SAVES_MASK) != 0) {
        guard_top = frame.outer;
        return -EFAULT;
    }
    guard_top = &frame;
    int r = step(argument);
    guard_top = frame.outer;
    return r;
}
