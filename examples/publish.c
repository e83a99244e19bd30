/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish RING: publishes each line of standard input, and ends when all of them are on stable storage.
 *
 * It handles no signals, for it has nothing to tidy up: killed at any instruction, what it had sent is whole and stays,
 * what it was just sending is skipped by the readers, and nobody waits for it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir.h>

#define MINUTE_NS INT64_C(60000000000)

static int failed(const char *what, int error)
{
    fprintf(stderr, "publish: %s: %s: %s\n", what, weir_strerror(error), weir_last_error());
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: publish RING <LINES\n");
        return 2;
    }
    const char *ring = argv[1];
    int r = weir_ring_create(NULL, ring, NULL);
    if (r < 0 && r != -EEXIST) /* whoever comes first makes it */
        return failed(ring, r);
    struct weir_pub *pub = NULL;
    r = weir_pub_open(NULL, ring, NULL, &pub);
    if (r < 0)
        return failed(ring, r);

    char *line = NULL;
    size_t capacity = 0;
    uint64_t count = 0, position = 0;
    for (ssize_t bytes; (bytes = getline(&line, &capacity, stdin)) >= 0; count++) {
        if (bytes > 0 && line[bytes - 1] == '\n')
            bytes--;
        /* When the ring is full it waits for room. A minute without any, and weir_last_error() says why. */
        r = weir_pub_send(pub, line, (size_t)bytes, MINUTE_NS, &position);
        if (r < 0)
            return failed("send", r);
    }
    free(line);
    if (ferror(stdin)) {
        perror("publish: standard input");
        return EXIT_FAILURE;
    }
    /* A position stands for all before it: one confirm for the last message is enough. */
    if (count > 0) {
        r = weir_pub_wait(pub, position, WEIR_DURABLE, MINUTE_NS);
        if (r < 0)
            return failed("not known to be durable", r);
    }
    weir_pub_close(pub);
    printf("%" PRIu64 " messages are durable, the last one at position %" PRIu64 "\n", count, position);
    return EXIT_SUCCESS;
}
