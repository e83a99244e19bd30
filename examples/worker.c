/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker RING GROUP [COUNT]: one of the workers of a group, as many as one likes. Prints each message that it is given, with
 * its attempt, and acknowledges it; one that begins with "fail" it gives back twice before. It ends after COUNT
 * acknowledgements, or when nothing has come for a second. Killed at any instruction, what it had in hand goes to the others.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir.h>

#define WAIT_NS INT64_C(1000000000)

static int failed(const char *what, int error)
{
    fprintf(stderr, "worker: %s: %s: %s\n", what, weir_strerror(error), weir_last_error());
    return EXIT_FAILURE;
}

/* What the work is. False: it did not succeed this time. */
static bool handle(const struct weir_task *task)
{
    const struct weir_message *message = &task->message;
    if (message->data_bytes >= 4 && memcmp(message->data, "fail", 4) == 0 && task->attempt < 3)
        return false;
    printf("%.*s, attempt %u\n", (int)message->data_bytes, (const char *)message->data, (unsigned)task->attempt);
    return fflush(stdout) == 0;
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: worker RING GROUP [COUNT]\n");
        return 2;
    }
    uint64_t left = argc == 4 ? strtoull(argv[3], NULL, 10) : UINT64_MAX;

    /* Whoever comes first makes the group. */
    struct weir_group_options group = WEIR_GROUP_OPTIONS_INIT;
    group.backoff_ns = 1000000; /* then 2 ms, 4 ms, ... */
    int r = weir_group_create(NULL, argv[1], argv[2], &group);
    if (r < 0 && r != -EEXIST)
        return failed(argv[2], r);

    struct weir_worker *worker = NULL;
    r = weir_worker_open(NULL, argv[1], argv[2], NULL, &worker);
    if (r < 0)
        return failed(argv[2], r);
    while (left > 0) {
        struct weir_task task;
        r = weir_worker_next(worker, WAIT_NS, &task);
        if (r == -EPIPE || r == -EINTR) /* messages are gone, see weir_worker_gap(); or a signal */
            continue;
        if (r < 0)
            break;
        if (!handle(&task)) {
            r = weir_worker_nack(worker, &task, WEIR_NACK_BACKOFF);
        } else {
            r = weir_worker_ack(worker, &task, 1, NULL);
            left--;
        }
        if (r == -ECANCELED) /* it took longer than its lease: another one has it, or will */
            fprintf(stderr, "worker: too late for position %" PRIu64 "\n", task.message.position);
        else if (r < 0)
            break;
    }
    weir_worker_close(worker);
    return r < 0 && r != -ETIMEDOUT && r != -ECANCELED ? failed(argv[1], r) : EXIT_SUCCESS;
}
