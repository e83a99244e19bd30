/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch: messages that belong together become visible together, or not at all.
 *
 * A transfer takes from one account and gives to another. Published as a batch, no reader can see a world in which only
 * one of them has happened, whenever the publisher dies. Reading in batches costs less for each message.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir.h>

#define RING "transfers"
#define ACCOUNTS 4
#define TRANSFERS 1000

enum { TAG_TAKE = 1, TAG_GIVE = 2 };

struct posting {
    uint32_t account;
    uint32_t cents;
};

static int failed(const char *what, int error)
{
    fprintf(stderr, "batch: %s: %s: %s\n", what, weir_strerror(error), weir_last_error());
    return EXIT_FAILURE;
}

static int transfer(struct weir_pub *pub, uint32_t from, uint32_t to, uint32_t cents)
{
    struct posting take = {from, cents}, give = {to, cents};
    struct weir_message messages[] = {
        {.data = &take, .data_bytes = sizeof take, .tag = TAG_TAKE},
        {.data = &give, .data_bytes = sizeof give, .tag = TAG_GIVE},
    };
    return weir_pub_send_batch(pub, messages, 2, WEIR_FOREVER, NULL);
}

/* Reads what is there. */
static int add_up(struct weir_sub *sub, int64_t balances[ACCOUNTS])
{
    struct weir_message messages[64];
    int count;
    while ((count = weir_sub_next_batch(sub, messages, 64, 0)) > 0)
        for (int i = 0; i < count; i++) {
            const struct posting *posting = messages[i].data;
            if (messages[i].data_bytes != sizeof *posting || posting->account >= ACCOUNTS)
                continue; /* not one of ours */
            if (messages[i].tag == TAG_TAKE)
                balances[posting->account] -= posting->cents;
            else
                balances[posting->account] += posting->cents;
        }
    return count == -EAGAIN ? 0 : count;
}

int main(void)
{
    struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    options.journaled = 0;
    options.exclusive = 1; /* one publisher: the cheapest */
    struct weir_pub *pub = NULL;
    struct weir_sub *sub = NULL;
    int64_t balances[ACCOUNTS] = {0};
    int r = weir_ring_create(NULL, RING, &options);
    if (r == 0)
        r = weir_pub_open(NULL, RING, NULL, &pub);
    if (r == 0)
        r = weir_sub_open(NULL, RING, NULL, &sub);
    for (uint32_t i = 0; i < TRANSFERS && r == 0; i++)
        r = transfer(pub, i % ACCOUNTS, (i + 1 + i / ACCOUNTS % 3) % ACCOUNTS, 100 + i);
    if (r == 0)
        r = add_up(sub, balances);
    if (r < 0)
        return failed(RING, r);
    int64_t sum = 0;
    for (int i = 0; i < ACCOUNTS; i++) {
        printf("account %d: %" PRId64 "\n", i, balances[i]);
        sum += balances[i];
    }
    printf("sum: %" PRId64 "\n", sum);
    weir_sub_close(sub);
    weir_pub_close(pub);
    weir_ring_remove(NULL, RING, 0, 0);
    return sum == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
