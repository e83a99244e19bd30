/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/policy.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "ringbuf/access.h"

struct policies {
    pthread_mutex_t lock;
    struct mem_u64 generation;
    struct policy base;
    struct policy_room room;
};

int policies_open(struct policies **ret_policies)
{
    struct policies *policies = calloc(1, sizeof *policies);
    if (!policies)
        return -ENOMEM;
    pthread_mutex_init(&policies->lock, NULL);
    policies->base = (struct policy){.sync = POLICY_SYNC_ALWAYS};
    policies->room = (struct policy_room){.reserve_bytes = 64ull << 20, .high_percent = 95, .low_percent = 90};
    mem_store_release(&policies->generation, 1);
    *ret_policies = policies;
    return 0;
}

void policies_close(struct policies *policies)
{
    if (!policies)
        return;
    pthread_mutex_destroy(&policies->lock);
    free(policies);
}

uint64_t policies_generation(const struct policies *policies)
{
    return mem_load_acquire(&policies->generation);
}

void policies_of(struct policies *policies, const char *ring, struct policy *ret_policy)
{
    (void)ring;
    pthread_mutex_lock(&policies->lock);
    *ret_policy = policies->base;
    pthread_mutex_unlock(&policies->lock);
}

void policies_room(struct policies *policies, struct policy_room *ret_room)
{
    pthread_mutex_lock(&policies->lock);
    *ret_room = policies->room;
    pthread_mutex_unlock(&policies->lock);
}
