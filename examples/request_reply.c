/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request_reply serve      answers requests until SIGINT or SIGTERM
 * request_reply TEXT...    asks, and prints the answers (the text in capitals)
 *
 * Two rings, one for each direction. A request's position is its unique id, and the reply carries it as its key; so any
 * number may ask and any number of requests may be under way.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <weir.h>

#define REQUESTS "requests"
#define REPLIES "replies"
#define SECOND_NS INT64_C(1000000000)
#define PATIENCE_NS (60 * SECOND_NS)

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static int failed(const char *what, int error)
{
    fprintf(stderr, "request_reply: %s: %s: %s\n", what, weir_strerror(error), weir_last_error());
    return EXIT_FAILURE;
}

/* In memory alone, and the oldest goes when there is no room: nobody ever waits for who does not read. */
static int make_ring(const char *name)
{
    struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    options.journaled = 0;
    options.when_full = WEIR_DROP_OLD;
    int r = weir_ring_create(NULL, name, &options);
    return r == -EEXIST ? 0 : r;
}

static int answer(struct weir_pub *replies, const struct weir_message *request)
{
    struct weir_message reply = {.key = &request->position, .key_bytes = sizeof request->position};
    void *text;
    int r = weir_pub_claim(replies, request->data_bytes, &reply, 0, &text);
    if (r < 0)
        return r;
    for (size_t i = 0; i < request->data_bytes; i++)
        ((char *)text)[i] = (char)toupper(((const unsigned char *)request->data)[i]);
    return weir_pub_commit(replies, request->data_bytes, NULL);
}

static int serve(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    options.cursor = "server"; /* one server at a time; the next one goes on where this one was killed */
    struct weir_sub *requests = NULL;
    struct weir_pub *replies = NULL;
    struct weir_message request;
    int r = weir_sub_open(NULL, REQUESTS, &options, &requests);
    if (r == 0)
        r = weir_pub_open(NULL, REPLIES, NULL, &replies);
    if (r < 0)
        return failed("serve", r);
    uint64_t count = 0;
    while (!stop) {
        r = weir_sub_next(requests, SECOND_NS / 10, &request);
        if (r == -ETIMEDOUT || r == -EINTR) /* look at `stop` */
            continue;
        if (r == -EPIPE) /* overwritten before they were read: who asked gives up in time */
            continue;
        if (r == 0)
            r = answer(replies, &request);
        if (r == 0)
            r = weir_sub_save(requests, request.next);
        if (r < 0)
            return failed("serve", r);
        count++;
    }
    weir_pub_close(replies);
    weir_sub_close(requests);
    printf("%" PRIu64 " requests answered\n", count);
    return EXIT_SUCCESS;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

/* Waits for the reply to the request at this position; replies to others pass by. */
static int await(struct weir_sub *replies, uint64_t position, struct weir_message *ret_reply)
{
    for (int64_t deadline = now_ns() + PATIENCE_NS;;) {
        int64_t left = deadline - now_ns();
        int r = weir_sub_next(replies, left > 0 ? left : 0, ret_reply);
        if (r == 0 && ret_reply->key_bytes == sizeof position &&
            memcmp(ret_reply->key, &position, sizeof position) == 0)
            return 0;
        if (r < 0 && r != -EPIPE)
            return r;
    }
}

static int ask(struct weir_pub *requests, const char *text)
{
    struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
    options.from = WEIR_POSITION_END; /* before asking, so that no reply can be missed */
    struct weir_sub *replies = NULL;
    struct weir_message reply;
    uint64_t position;
    int r = weir_sub_open(NULL, REPLIES, &options, &replies);
    if (r < 0)
        return r;
    r = weir_pub_send(requests, text, strlen(text), PATIENCE_NS, &position);
    if (r == 0)
        r = await(replies, position, &reply);
    if (r == 0)
        printf("%.*s\n", (int)reply.data_bytes, (const char *)reply.data);
    weir_sub_close(replies);
    return r;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: request_reply serve|TEXT...\n");
        return 2;
    }
    int r = make_ring(REQUESTS);
    if (r == 0)
        r = make_ring(REPLIES);
    if (r < 0)
        return failed("cannot make the rings", r);
    if (argc == 2 && strcmp(argv[1], "serve") == 0)
        return serve();
    struct weir_pub *requests = NULL;
    r = weir_pub_open(NULL, REQUESTS, NULL, &requests);
    for (int i = 1; i < argc && r == 0; i++)
        r = ask(requests, argv[i]);
    if (r < 0)
        return failed("ask", r);
    weir_pub_close(requests);
    return EXIT_SUCCESS;
}
