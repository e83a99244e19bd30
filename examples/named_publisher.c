/* SPDX-License-Identifier: Apache-2.0 */
/*
 * named_publisher RING NAME: publishes each line of standard input once, however often it is killed and started again
 * with the same input.
 *
 * The ring keeps the last sequence of a named publisher across crashes. A line's number is its sequence: after a restart
 * the lines up to the last sequence are passed over, and should an older one be sent all the same, it is refused.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir.h>

#define MINUTE_NS INT64_C(60000000000)

static int failed(const char *what, int error)
{
    fprintf(stderr, "named_publisher: %s: %s: %s\n", what, weir_strerror(error), weir_last_error());
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: named_publisher RING NAME <LINES\n");
        return 2;
    }
    struct weir_pub_options options = WEIR_PUB_OPTIONS_INIT;
    options.name = argv[2];
    struct weir_pub *pub = NULL;
    uint64_t last = 0;
    int r = weir_pub_open(NULL, argv[1], &options, &pub); /* -EBUSY: somebody alive has the name */
    if (r == 0)
        r = weir_pub_last_sequence(pub, &last);
    if (r < 0)
        return failed(argv[1], r);

    char *line = NULL;
    size_t capacity = 0;
    uint64_t number = 0, published = 0;
    for (ssize_t bytes; (bytes = getline(&line, &capacity, stdin)) >= 0;) {
        if (++number <= last)
            continue;
        if (line[bytes - 1] == '\n')
            bytes--;
        struct weir_message message = {
            .data = line, .data_bytes = (size_t)bytes, .has = WEIR_HAS_SEQUENCE, .sequence = number};
        r = weir_pub_send_message(pub, &message, MINUTE_NS, NULL);
        if (r < 0)
            return failed("send", r);
        published++;
    }
    free(line);
    if (ferror(stdin)) {
        perror("named_publisher: standard input");
        return EXIT_FAILURE;
    }
    weir_pub_close(pub);
    printf("went on behind line %" PRIu64 ", published %" PRIu64 "\n", last, published);
    return EXIT_SUCCESS;
}
