/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fan_out: one publisher, three readers in processes of their own; each reader gets every message.
 *
 * The ring is in memory alone and small, and its readers gate: the publisher waits for the slowest. (On a journaled ring
 * nobody waits for readers: one that falls behind reads on from disk.) A reader that dies gates no more.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weir.h>

#define RING "ticks"
#define READERS 3
#define MESSAGES UINT64_C(100000)

enum { TAG_TICK = 0, TAG_END = 1 };

static int failed(const char *what, int error)
{
    fprintf(stderr, "fan_out: %s: %s: %s\n", what, weir_strerror(error), weir_last_error());
    return EXIT_FAILURE;
}

/* Handles belong to the process that opened them: a child opens its own. */
static int read_all(int ready_fd)
{
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    options.gating = 1;
    struct weir_sub *sub = NULL;
    int r = weir_sub_open(NULL, RING, &options, &sub);
    if (r < 0)
        return failed("reader", r);
    if (write(ready_fd, "r", 1) != 1)
        return EXIT_FAILURE;
    close(ready_fd);
    uint64_t count = 0, sum = 0;
    struct weir_message message;
    while ((r = weir_sub_next(sub, WEIR_FOREVER, &message)) == 0 && message.tag != TAG_END) {
        if (message.data_bytes == sizeof(uint64_t))
            sum += *(const uint64_t *)message.data;
        count++;
    }
    if (r < 0)
        return failed("reader", r);
    weir_sub_close(sub);
    printf("%" PRIu64 " messages, sum %" PRIu64 "\n", count, sum);
    return EXIT_SUCCESS;
}

/* True when all readers have attached, and gate: what is published from then on waits for them. */
static int readers_are_ready(int ready_fd)
{
    char byte;
    int count = 0;
    while (count < READERS && read(ready_fd, &byte, 1) == 1)
        count++;
    return count == READERS;
}

static int publish_all(void)
{
    struct weir_pub *pub = NULL;
    int r = weir_pub_open(NULL, RING, NULL, &pub);
    for (uint64_t i = 1; i <= MESSAGES && r == 0; i++)
        r = weir_pub_send(pub, &i, sizeof i, WEIR_FOREVER, NULL);
    struct weir_message end = {.tag = TAG_END};
    if (r == 0)
        r = weir_pub_send_message(pub, &end, WEIR_FOREVER, NULL);
    if (r < 0)
        return failed("publisher", r);
    weir_pub_close(pub);
    return EXIT_SUCCESS;
}

int main(void)
{
    struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    options.journaled = 0;
    options.exclusive = 1;
    options.memory_limit_bytes = 1 << 20;
    options.max_readers = READERS;
    int ready[2];
    int r = weir_ring_create(NULL, RING, &options);
    if (r < 0)
        return failed(RING, r);
    if (pipe(ready) != 0) {
        perror("fan_out: pipe");
        return EXIT_FAILURE;
    }
    for (int i = 0; i < READERS; i++) {
        pid_t child = fork();
        if (child == 0) {
            close(ready[0]);
            exit(read_all(ready[1]));
        }
        if (child < 0)
            perror("fan_out: fork");
    }
    close(ready[1]); /* so that the end of the pipe is seen when a reader fails */
    int status = readers_are_ready(ready[0]) ? publish_all() : EXIT_FAILURE;
    for (int child_status; wait(&child_status) > 0;)
        if (child_status != 0)
            status = EXIT_FAILURE;
    weir_ring_remove(NULL, RING, 0, 0);
    return status;
}
