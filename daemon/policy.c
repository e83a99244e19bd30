/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the configuration in force, and what they say about a ring. */
#include "daemon/policy.h"

#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "ringbuf/access.h"

struct policies {
    pthread_mutex_t lock;
    struct mem_u64 generation;
    struct policy_rules rules;
};

void policy_override(struct policy *policy, const struct policy_rule *rule)
{
    const struct policy *says = &rule->says;
    if (rule->has & POLICY_HAS_SYNC) {
        policy->sync = says->sync;
        policy->sync_interval_ms = says->sync_interval_ms;
    }
    if (rule->has & POLICY_HAS_RETAIN_BYTES)
        policy->retain_bytes = says->retain_bytes;
    if (rule->has & POLICY_HAS_RETAIN_AGE)
        policy->retain_age_ms = says->retain_age_ms;
    if (rule->has & POLICY_HAS_LIMIT)
        policy->limit_bytes = says->limit_bytes;
    if (rule->has & POLICY_HAS_WHEN_LIMITED)
        policy->when_limited = says->when_limited;
    if (rule->has & POLICY_HAS_QUOTA_MESSAGES)
        policy->quota_messages = says->quota_messages;
    if (rule->has & POLICY_HAS_QUOTA_BYTES)
        policy->quota_bytes = says->quota_bytes;
    if (rule->has & POLICY_HAS_QUOTA_BURST)
        policy->quota_burst_ms = says->quota_burst_ms;
    if (rule->has & POLICY_HAS_KEEP_UNREAD)
        policy->keep_unread = says->keep_unread;
}

void policy_apply(const struct policy_rules *rules, const char *ring, struct policy *ret_policy)
{
    struct policy policy = rules->base;
    for (uint32_t i = 0; i < rules->count; i++) {
        if (fnmatch(rules->rules[i].pattern, ring, 0) == 0)
            policy_override(&policy, &rules->rules[i]);
    }
    *ret_policy = policy;
}

int policies_open(struct policies **ret_policies)
{
    struct policies *policies = calloc(1, sizeof *policies);
    if (!policies)
        return -ENOMEM;
    pthread_mutex_init(&policies->lock, NULL);
    config_default_policies(&policies->rules);
    mem_store_release(&policies->generation, 1);
    *ret_policies = policies;
    return 0;
}

void policies_close(struct policies *policies)
{
    if (!policies)
        return;
    pthread_mutex_destroy(&policies->lock);
    free(policies->rules.rules);
    free(policies);
}

int policies_set(struct policies *policies, const struct policy_rules *rules)
{
    struct policy_rules copy = *rules;
    copy.rules = NULL;
    if (copy.count) {
        copy.rules = calloc(copy.count, sizeof copy.rules[0]);
        if (!copy.rules)
            return -ENOMEM;
        memcpy(copy.rules, rules->rules, copy.count * sizeof copy.rules[0]);
    }
    pthread_mutex_lock(&policies->lock);
    struct policy_rule *before = policies->rules.rules;
    policies->rules = copy;
    mem_add(&policies->generation, 1);
    pthread_mutex_unlock(&policies->lock);
    free(before);
    return 0;
}

uint64_t policies_generation(const struct policies *policies)
{
    return mem_load_acquire(&policies->generation);
}

void policies_of(struct policies *policies, const char *ring, struct policy *ret_policy)
{
    pthread_mutex_lock(&policies->lock);
    policy_apply(&policies->rules, ring, ret_policy);
    pthread_mutex_unlock(&policies->lock);
}

void policies_room(struct policies *policies, struct policy_room *ret_room)
{
    pthread_mutex_lock(&policies->lock);
    *ret_room = policies->rules.room;
    pthread_mutex_unlock(&policies->lock);
}
