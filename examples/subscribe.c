/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscribe RING CURSOR [COUNT]: prints messages, and goes on the next time where it stopped. It ends after COUNT of
 * them, or on SIGINT or SIGTERM.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir.h>

/* A signal can come between the look at `stop` and the wait, and not interrupt it: no wait is longer than this. */
#define WAIT_NS INT64_C(100000000)

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static int failed(const char *what, int error)
{
    fprintf(stderr, "subscribe: %s: %s: %s\n", what, weir_strerror(error), weir_last_error());
    return EXIT_FAILURE;
}

/* A position is kept only when all before it is out: killed at any instruction, a message may come twice, none is lost. */
static int save(struct weir_sub *sub, uint64_t next)
{
    if (fflush(stdout) != 0) {
        perror("subscribe: standard output");
        return EXIT_FAILURE;
    }
    int r = weir_sub_save(sub, next);
    return r < 0 ? failed("save", r) : EXIT_SUCCESS;
}

static void tell_gap(const struct weir_sub *sub)
{
    struct weir_gap gap;
    if (weir_sub_gap(sub, &gap) == 0)
        fprintf(stderr, "subscribe: positions %" PRIu64 " to %" PRIu64 " are missing\n", gap.from, gap.to);
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: subscribe RING CURSOR [COUNT]\n");
        return 2;
    }
    uint64_t left = argc == 4 ? strtoull(argv[3], NULL, 10) : UINT64_MAX;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    options.from = WEIR_POSITION_START; /* the first time; then the cursor knows better */
    options.cursor = argv[2];
    struct weir_sub *sub = NULL;
    int r = weir_sub_open(NULL, argv[1], &options, &sub);
    if (r < 0)
        return failed(argv[1], r);

    uint64_t next = weir_sub_position(sub);
    while (left > 0 && !stop) {
        struct weir_message message;
        r = weir_sub_next(sub, 0, &message);
        if (r == -EAGAIN) { /* all that is there has been read: time to save, and to wait */
            if (save(sub, next) != EXIT_SUCCESS)
                return EXIT_FAILURE;
            r = weir_sub_next(sub, WAIT_NS, &message);
        }
        if (r == -EAGAIN || r == -ETIMEDOUT || r == -EINTR)
            continue;
        if (r == -EPIPE) { /* it goes on behind the gap */
            tell_gap(sub);
            next = weir_sub_position(sub);
            continue;
        }
        if (r < 0)
            return failed(argv[1], r);
        printf("%" PRIu64 " ", message.position);
        fwrite(message.data, 1, message.data_bytes, stdout);
        putchar('\n');
        next = message.next;
        left--;
    }
    int status = save(sub, next);
    weir_sub_close(sub);
    return status;
}
