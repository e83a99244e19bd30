/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heavy fence: who goes to sleep pays for the fences that those leave out who would have to wake it.
 *
 * GLOBAL_EXPEDITED interrupts each processor that runs a thread of a registered process just now; a thread that is not
 * running has passed a full fence when it was switched away. The private variant would reach my own process alone.
 */
#include "shm/shm.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

/*
 * Asking again costs one short system call, so nothing is remembered here that threads, or a parent and its forked child,
 * would have to agree on.
 */
bool shm_fence_register(void)
{
    return membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
}

bool shm_fence(void)
{
    return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
}
