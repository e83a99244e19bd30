/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration asks for: how a ring's journal is synced, and how much of it is kept. */
#ifndef WEIR_DAEMON_POLICY_H
#define WEIR_DAEMON_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * always    whoever waits for a confirm is synced for at once; else records are collected for POLICY_COLLECT_MS at most
 * interval  synced `sync_interval_ms` after the first record that waits, whoever waits; sooner when much waits
 * never     the kernel writes when it likes, and memory is given up for what is written: durable moves each time 8 segments
 *           wait for it, when no room is left for more, and at a clean stop
 */
enum policy_sync { POLICY_SYNC_ALWAYS, POLICY_SYNC_INTERVAL, POLICY_SYNC_NEVER };
#define POLICY_COLLECT_MS 10u

/* What happens when a ring's journal, or the directory, may take no more. */
enum policy_when_limited {
    POLICY_LIMITED_BLOCK,  /* nothing is drained: publishers meet the ring's own policy when its memory is full */
    POLICY_LIMITED_EXPIRE, /* the oldest segments go, and the ledger says which */
};

/* Of one ring. 0 in a limit: none. */
struct policy {
    enum policy_sync sync;
    uint32_t sync_interval_ms;
    uint64_t retain_bytes;  /* older segments than those that hold so much expire */
    uint64_t retain_age_ms; /* segments whose last record is older expire */
    uint64_t limit_bytes;   /* files of this ring's journal may take so much */
    enum policy_when_limited when_limited;
    uint64_t quota_messages; /* that its publishers may send a second, all together */
    uint64_t quota_bytes;    /* of the log, likewise */
    uint64_t quota_burst_ms; /* so long a share of them may come at once */
    bool keep_unread;        /* what a saved position has not read yet does not expire */
};

/* Of the journal directory. */
struct policy_room {
    uint64_t limit_bytes;   /* all journals in it together; 0: none */
    uint64_t reserve_bytes; /* left free on its file system, so that acks, deletions and administration go on */
    uint32_t high_percent;  /* of what may be used: from here on rings that expire give up their oldest segments, ... */
    uint32_t low_percent;   /* ... down to this; the others go on when it is reached again */
};

/* What a section of the configuration says; what it is silent about, `has` tells. */
enum policy_has {
    POLICY_HAS_SYNC = 1u << 0,
    POLICY_HAS_RETAIN_BYTES = 1u << 1,
    POLICY_HAS_RETAIN_AGE = 1u << 2,
    POLICY_HAS_LIMIT = 1u << 3,
    POLICY_HAS_WHEN_LIMITED = 1u << 4,
    POLICY_HAS_KEEP_UNREAD = 1u << 5,
    POLICY_HAS_QUOTA_MESSAGES = 1u << 6,
    POLICY_HAS_QUOTA_BYTES = 1u << 7,
    POLICY_HAS_QUOTA_BURST = 1u << 8,
};
#define POLICY_PATTERN_BYTES 128u
struct policy_rule {
    char pattern[POLICY_PATTERN_BYTES]; /* fnmatch(3), of ring names */
    uint32_t has;
    struct policy says;
};
struct policy_rules {
    struct policy_room room;
    struct policy base; /* of rings that no rule says anything about */
    struct policy_rule *rules;
    uint32_t count;
};
/* What one of them says, over what is there. */
void policy_override(struct policy *policy, const struct policy_rule *rule);
/* What they say about a ring: of the rules that match and say something, the last one. */
void policy_apply(const struct policy_rules *rules, const char *ring, struct policy *ret_policy);

struct policies;

/* What holds until policies_set(): the defaults of daemon/config_keys.c. */
int policies_open(struct policies **ret_policies);
void policies_close(struct policies *policies); /* NULL is allowed */
/* Copies the rules, which hold from now on, and changes the generation. -ENOMEM: those of before hold. Any thread. */
int policies_set(struct policies *policies, const struct policy_rules *rules);
/* Changes with each reload: whoever keeps a copy asks again then. Any thread. */
uint64_t policies_generation(const struct policies *policies);
/* A copy of what holds for a ring of this name now. Any thread. */
void policies_of(struct policies *policies, const char *ring, struct policy *ret_policy);
void policies_room(struct policies *policies, struct policy_room *ret_room);

#endif
