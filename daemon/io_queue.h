/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes and syncs that run while a drain thread goes on: by io_uring, its buffers registered where the memory that may be
 * locked allows; where the kernel, or what confines the process, refuses io_uring, by threads. What is registered is private:
 * no shared memory is ever given to the kernel.
 */
#ifndef WEIR_DAEMON_IO_QUEUE_H
#define WEIR_DAEMON_IO_QUEUE_H

#include "journal/io.h"

/* NULL where there is no memory, or nothing can be had: the drain then waits for each write. `threads`: not io_uring. */
struct jio_queue *io_queue_open(bool threads);
/* Nothing is under way. NULL is allowed. */
void io_queue_close(struct jio_queue *queue);
bool io_queue_is_uring(const struct jio_queue *queue);

#endif
