/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll_loop RING...: prints the messages of several rings and the lines of its standard input as they come, in one
 * loop of one thread. It ends with its input.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <weir.h>

#define RINGS_MAX 16
/* So many from one source, then the others have their turn: what is left is told again, since epoll is level-triggered. */
#define TURN 100

static int failed(const char *what, int error)
{
    fprintf(stderr, "epoll_loop: %s: %s: %s\n", what, weir_strerror(error), weir_last_error());
    return EXIT_FAILURE;
}

static int watch(int epoll, int fd, int source)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = (uint32_t)source}};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int open_ring(int epoll, const char *ring, int source, struct weir_sub **ret_sub)
{
    int fd = -1, r = weir_sub_open(NULL, ring, NULL, ret_sub);
    if (r == 0)
        r = weir_sub_fd(*ret_sub, &fd);
    return r < 0 ? r : watch(epoll, fd, source);
}

/* The descriptor goes on being readable until weir_sub_next() says -EAGAIN. */
static int take(const char *ring, struct weir_sub *sub)
{
    struct weir_message message;
    int r = 0;
    for (int i = 0; i < TURN && r == 0; i++) {
        r = weir_sub_next(sub, 0, &message);
        if (r == 0)
            printf("%s: %.*s\n", ring, (int)message.data_bytes, (const char *)message.data);
        else if (r == -EPIPE) { /* it goes on behind the gap */
            fprintf(stderr, "epoll_loop: %s: %s\n", ring, weir_last_error());
            r = 0;
        }
    }
    fflush(stdout);
    return r == -EAGAIN ? 0 : r;
}

/* 1: there is more to come; 0: it has ended. */
static int take_input(void)
{
    char text[4096];
    ssize_t got = read(STDIN_FILENO, text, sizeof text);
    if (got > 0)
        printf("input: %.*s", (int)got, text);
    fflush(stdout);
    return got > 0;
}

int main(int argc, char **argv)
{
    struct weir_sub *subs[RINGS_MAX] = {NULL};
    int rings = argc - 1, status = EXIT_SUCCESS;
    if (rings < 1 || rings > RINGS_MAX) {
        fprintf(stderr, "usage: epoll_loop RING...\n");
        return 2;
    }
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || watch(epoll, STDIN_FILENO, rings) < 0) {
        perror("epoll_loop");
        return EXIT_FAILURE;
    }
    for (int i = 0; i < rings; i++) {
        int r = open_ring(epoll, argv[1 + i], i, &subs[i]);
        if (r < 0)
            return failed(argv[1 + i], r);
    }
    for (int more = 1; more && status == EXIT_SUCCESS;) {
        struct epoll_event events[RINGS_MAX + 1];
        int count = epoll_wait(epoll, events, RINGS_MAX + 1, -1);
        for (int i = 0; i < count && status == EXIT_SUCCESS; i++) {
            int source = (int)events[i].data.u32;
            int r = 0;
            if (source == rings)
                more = take_input();
            else
                r = take(argv[1 + source], subs[source]);
            if (r < 0)
                status = failed(argv[1 + source], r);
        }
    }
    close(epoll);
    for (int i = 0; i < rings; i++)
        weir_sub_close(subs[i]);
    return status;
}
