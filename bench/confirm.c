/* SPDX-License-Identifier: Apache-2.0 */
/* Confirms that a message is durable: one at a time, and many outstanding. */
#include <errno.h>
#include <stdlib.h>

#include "bench/journaled.h"

#define RING "bench-confirm"
#define SECONDS 1
/* Batches that may wait for their confirm; the ring's memory holds no more. */
#define OUTSTANDING 4096u
#define WARM_UP 20u

struct work {
    struct site *site;
    const struct case_shape *shape;
    struct weir_pub *pub;
    size_t count;
    uint64_t bytes;
    struct histogram *histogram;
    double rate;
};

static int run(struct pair *pair, struct work *work, int (*parent)(struct pair *, void *))
{
    struct bench_daemon daemon = {0};
    int r = journaled_ring(work->site, work->shape, RING);
    if (r == 0)
        r = bench_daemon_start(&daemon, work->site, pair->cpus[1], work->bytes, 0);
    if (r == 0)
        r = journaled_pub(work->site, RING, &work->pub);
    if (r == 0)
        r = pair_run(pair, 0, parent, NULL, work);
    weir_pub_close(work->pub);
    bench_daemon_stop(&daemon);
    journaled_remove(work->site, RING);
    return r;
}

/* -- one at a time -------------------------------------------------------------------------------------------------- */

static int confirm_each(struct pair *pair, void *ctx)
{
    (void)pair;
    struct work *work = ctx;
    uint8_t payload[JOURNALED_PAYLOAD_MAX] = {0};
    int r = 0;
    for (size_t i = 0; i < WARM_UP + work->count && r == 0; i++) {
        uint64_t position, start = bench_now_ns();
        r = case_say(weir_pub_send(work->pub, payload, work->shape->payload_bytes, 0, &position), "send");
        if (r == 0)
            r = journaled_wait(work->site, work->pub, position);
        if (r == 0 && i >= WARM_UP)
            histogram_add(work->histogram, bench_now_ns() - start);
    }
    return r;
}

int case_confirm(struct pair *pair, struct site *site, const struct case_shape *shape, size_t count,
                 struct histogram *histogram)
{
    struct work work = {.site = site, .shape = shape, .count = count, .histogram = histogram};
    return run(pair, &work, confirm_each);
}

/* -- many outstanding ----------------------------------------------------------------------------------------------- */

struct batch {
    uint64_t last; /* its last message */
    uint64_t sent_ns;
};

struct outstanding {
    struct batch batches[OUTSTANDING];
    uint64_t sent, confirmed; /* of all batches so far */
};

/* Counts what has become durable; waits for the oldest if asked to. */
static int take_confirms(const struct work *work, struct outstanding *outstanding, int wait)
{
    int r = 0;
    while (outstanding->confirmed < outstanding->sent) {
        const struct batch *oldest = &outstanding->batches[outstanding->confirmed % OUTSTANDING];
        r = wait ? journaled_wait(work->site, work->pub, oldest->last)
                 : weir_pub_confirm(work->pub, oldest->last, WEIR_DURABLE);
        if (r < 0)
            break;
        wait = 0;
        histogram_add(work->histogram, bench_now_ns() - oldest->sent_ns);
        outstanding->confirmed++;
    }
    return r == -EAGAIN ? 0 : r;
}

static int send_for_a_while(struct work *work, struct outstanding *outstanding)
{
    uint64_t batch_bytes = JOURNALED_BATCH * (work->shape->payload_bytes + JOURNALED_HEADER_BYTES);
    uint64_t start = bench_now_ns(), most = work->bytes / batch_bytes + 1;
    int r = 0;
    while (r == 0 && outstanding->sent < most && bench_now_ns() - start < SECONDS * 1000000000ull) {
        if (site_stopped(work->site))
            return -EINTR;
        struct batch batch = {.sent_ns = bench_now_ns()};
        r = journaled_send(work->pub, work->shape->payload_bytes, outstanding->sent, JOURNALED_BATCH, &batch.last);
        if (r < 0)
            break;
        outstanding->batches[outstanding->sent++ % OUTSTANDING] = batch;
        r = take_confirms(work, outstanding, outstanding->sent - outstanding->confirmed == OUTSTANDING);
    }
    while (r == 0 && outstanding->confirmed < outstanding->sent)
        r = take_confirms(work, outstanding, 1);
    work->rate = (double)outstanding->confirmed * JOURNALED_BATCH * 1e9 / (double)(bench_now_ns() - start);
    return r;
}

static int confirm_many(struct pair *pair, void *ctx)
{
    (void)pair;
    struct outstanding *outstanding = calloc(1, sizeof *outstanding);
    if (!outstanding)
        return -ENOMEM;
    int r = send_for_a_while(ctx, outstanding);
    free(outstanding);
    return r;
}

int case_confirm_many(struct pair *pair, struct site *site, const struct case_shape *shape, uint64_t bytes,
                      double *ret_rate, struct histogram *histogram)
{
    struct work work = {.site = site, .shape = shape, .bytes = bytes, .histogram = histogram};
    int r = run(pair, &work, confirm_many);
    *ret_rate = work.rate;
    return r;
}
