/* SPDX-License-Identifier: Apache-2.0 */
/*
 * in_place: a message is built where readers find it, and read where it lies. Nothing is copied.
 *
 * Between claim and commit readers wait for the message, so a claim is no place for slow input: what takes long is done
 * before it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir.h>

#define RING "samples"
#define SAMPLES_MAX 4096

struct block {
    uint32_t number;
    uint32_t count;
    float samples[]; /* what is claimed begins at a multiple of 8 bytes, of 16 without properties */
};

static int failed(const char *what, int error)
{
    fprintf(stderr, "in_place: %s: %s: %s\n", what, weir_strerror(error), weir_last_error());
    return EXIT_FAILURE;
}

/* How many there will be is not known before they have been made: claim the most, commit what was used. */
static uint32_t make_samples(float *samples, uint32_t number)
{
    uint32_t count = (number * 1021) % SAMPLES_MAX;
    for (uint32_t i = 0; i < count; i++)
        samples[i] = (float)(i % 8) + (float)number;
    return count;
}

static int publish_block(struct weir_pub *pub, uint32_t number)
{
    void *data;
    int r = weir_pub_claim(pub, sizeof(struct block) + SAMPLES_MAX * sizeof(float), NULL, WEIR_FOREVER, &data);
    if (r < 0)
        return r;
    struct block *block = data;
    block->number = number;
    block->count = make_samples(block->samples, number);
    if (block->count == 0) /* thought better of: readers never see it */
        return weir_pub_cancel(pub);
    return weir_pub_commit(pub, sizeof *block + block->count * sizeof(float), NULL);
}

/* The message lies in the ring, read-only, and stays until the next call on the subscriber. Its bytes are another
 * process's: check them before they are used. */
static void print_block(const struct weir_message *message)
{
    const struct block *block = message->data;
    if (message->data_bytes < sizeof *block)
        return;
    uint32_t count = block->count;
    if (count > (message->data_bytes - sizeof *block) / sizeof(float))
        return;
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += (double)block->samples[i];
    printf("block %" PRIu32 ": %" PRIu32 " samples, sum %.0f\n", block->number, count, sum);
}

int main(void)
{
    struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    options.journaled = 0;
    struct weir_pub *pub = NULL;
    struct weir_sub *sub = NULL;
    struct weir_message message;
    int r = weir_ring_create(NULL, RING, &options);
    if (r == 0)
        r = weir_pub_open(NULL, RING, NULL, &pub);
    if (r == 0)
        r = weir_sub_open(NULL, RING, NULL, &sub);
    for (uint32_t number = 0; number < 5 && r == 0; number++)
        r = publish_block(pub, number);
    if (r < 0)
        return failed(RING, r);
    while ((r = weir_sub_next(sub, 0, &message)) == 0)
        print_block(&message);
    if (r != -EAGAIN)
        return failed(RING, r);
    weir_sub_close(sub);
    weir_pub_close(pub);
    weir_ring_remove(NULL, RING, 0, 0);
    return EXIT_SUCCESS;
}
