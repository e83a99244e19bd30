/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going to a time. The journal's index tells where to begin; from there on each record's own time is looked at.
 *
 * 1. No record of that time or later is passed over: one that carries no time ends the search, since it may be.
 * 2. What is missing may have been of that time: a gap in front of the record that ends the search is told by the next read.
 */
#include <errno.h>

#include "client/subscriber.h"

bool seek_time_reached(const struct ring_item *item, uint64_t time_ns)
{
    struct ring_meta properties;
    uint32_t bytes;
    if (!(item->flags & RING_FLAG_PROPERTIES) ||
        ring_meta_get(item->body, item->body_bytes, item->flags, &properties, &bytes) < 0)
        return true;
    return !(properties.present & RING_HAS_TIME) || properties.time_ns >= time_ns;
}

static int go_near(struct weir_sub *sub, uint64_t time_ns)
{
    uint64_t position;
    int r = backlog_time_hint(sub, time_ns, &position);
    if (r == -ENOENT)
        return backlog_seek_oldest(sub);
    if (r < 0)
        return r;
    r = backlog_seek_checked(sub, position);
    return r == -EINVAL ? backlog_seek_oldest(sub) : r; /* the index is damaged */
}

/* Reads on to the first record that is not older. *ret_position: where it is, or the gap in front of it, or the end. */
static int scan(struct weir_sub *sub, uint64_t time_ns, uint64_t *ret_position)
{
    uint64_t gap_from = UINT64_MAX;
    struct ring_item item;
    int r;
    while ((r = backlog_fetch(sub, &item)) != 0) {
        if (r == -EPIPE) {
            gap_from = gap_from == UINT64_MAX ? sub->gap.from : gap_from;
            continue;
        }
        if (r < 0)
            return r;
        if (seek_time_reached(&item, time_ns))
            break;
        backlog_pass(sub, &item);
        gap_from = UINT64_MAX;
    }
    *ret_position = gap_from != UINT64_MAX ? gap_from : r == 0 ? weir_sub_position(sub) : item.position;
    return 0;
}

int seek_time(struct weir_sub *sub, uint64_t time_ns)
{
    struct weir_gap told = sub->gap;
    uint64_t position = 0;
    if (time_ns > shm_wall_ns()) {
        int r = ring_reader_seek_end(&sub->reader);
        sub->in_journal = false;
        return r < 0 ? fail(r, "ring %s: cannot find its end", sub->attachment.view.identity.name) : 0;
    }
    int r = go_near(sub, time_ns);
    if (r == 0)
        r = scan(sub, time_ns, &position);
    sub->gap = told; /* what was passed on the way is nobody's */
    return r < 0 ? r : backlog_seek(sub, position);
}
