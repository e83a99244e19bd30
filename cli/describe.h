/* SPDX-License-Identifier: Apache-2.0 */
/* A ring and those attached to it, in words and in JSON: shared by `ring` and `stat`. */
#ifndef WEIR_CLI_DESCRIBE_H
#define WEIR_CLI_DESCRIBE_H

#include <jansson.h>
#include <stddef.h>
#include <weir.h>

#include "cli/number.h"

const char *describe_when_full(int when_full);
const char *describe_daemon(const struct weir_ring_info *info); /* "alive", "absent", "unknown", "none" (memory only) */
const char *describe_role(int role);
const char *describe_state(int state);

/* Members ring, ring_id, ... as weir-ring(1) lists them. */
json_t *describe_info(const char *ring, const struct weir_ring_info *info);

const char *describe_sync(int sync);
const char *describe_huge(int huge); /* "none", "hugetlbfs", "transparent" */
/* Adds where its memory lies. */
void describe_placement(json_t *object, const struct weir_ring_placement *placement);

/* Everybody attached to a ring, as it was at one moment. */
struct people {
    struct weir_participant *all;
    size_t count, capacity;
};
/* 0, or a negative errno of the library. Release with people_free(), also after a failure. */
int people_ask(struct people *people, const char *bus, const char *ring);
void people_free(struct people *people);

#endif
