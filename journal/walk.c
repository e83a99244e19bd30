/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/walk.h"

#include <errno.h>

#include "journal/reader.h"
#include "journal/segment.h"

int journal_walk_open(struct journal_walk *walk, int folder_fd, const struct journal_meta *meta, uint64_t from,
                      uint64_t floor, uint64_t limit)
{
    *walk = (struct journal_walk){.folder_fd = folder_fd, .shift = journal_shift(meta), .limit = limit};
    walk->floor = limit < UINT64_MAX ? limit : floor;
    int result = journal_reader_open(folder_fd, meta->identity.ring_id, walk->shift, &walk->reader);
    if (result == 0)
        journal_walk_go(walk, from);
    return result;
}

void journal_walk_close(struct journal_walk *walk)
{
    journal_reader_close(walk->reader);
    walk->reader = NULL;
}

void journal_walk_go(struct journal_walk *walk, uint64_t position)
{
    walk->over = false;
    journal_reader_stand_at(walk->reader, position & ~(uint64_t)(RING_UNIT_BYTES - 1));
}

uint64_t journal_walk_position(const struct journal_walk *walk)
{
    return journal_reader_position(walk->reader);
}

static bool no_file(int result)
{
    return result == -ENOENT || result == -EMEDIUMTYPE;
}

/* Goes to the next good record, in this segment's file or a later one. 1: there; 0: there is none below the limit. */
static int find_good(struct journal_walk *walk)
{
    uint64_t segment = journal_segment_of(journal_reader_position(walk->reader), walk->shift);
    int result = journal_reader_search(walk->reader, walk->limit);

    while (result == 0 || no_file(result)) {
        if (segment == UINT64_MAX >> walk->shift)
            return 0;
        result = journal_oldest_segment(walk->folder_fd, segment + 1, &segment);
        if (result < 0)
            return result == -ENOENT ? 0 : result;
        if (journal_segment_start(segment, walk->shift) >= walk->limit)
            return 0;
        journal_reader_stand_at(walk->reader, journal_segment_start(segment, walk->shift));
        result = journal_reader_search(walk->reader, walk->limit);
    }
    return result;
}

int journal_walk_next(struct journal_walk *walk, struct ring_item *ret_item, struct journal_range *ret_range)
{
    if (walk->over)
        return 0;
    int result = journal_reader_next(walk->reader, walk->limit, ret_item);
    if (result == 1)
        return 1;
    uint64_t from = journal_reader_position(walk->reader);
    if (result < 0 && result != -EBADMSG && result != -EIO && !no_file(result))
        return result;
    int found = result < 0 ? find_good(walk) : 0;
    if (found < 0)
        return found;
    uint64_t to = journal_reader_position(walk->reader);
    if (found == 1 && to == from) /* it is being written, and now it is good: the next call reads it */
        return journal_reader_next(walk->reader, walk->limit, ret_item);
    walk->over = found == 0;
    if (found == 0) {
        to = from < walk->floor ? walk->floor : from;
        journal_reader_stand_at(walk->reader, to);
    }
    *ret_range = (struct journal_range){from, to, no_file(result) ? -ENOENT : result};
    return from < to ? 2 : 0;
}
