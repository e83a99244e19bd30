/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment files kept ready: written once from end to end, so that a sync of what is written over them has no allocation to
 * bring to the disk. They are made while there is nothing else to do, or were segments that have expired.
 */
#ifndef WEIR_JOURNAL_SPARE_H
#define WEIR_JOURNAL_SPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/segment.h"

struct journal_writer;

/* Those that an earlier writer left; once. */
void journal_spare_list(struct journal_writer *writer);
/* False: not the name of a spare. */
bool journal_spare_number(const char *name, uint64_t *ret_number);
/* Renames one to be the file of a segment that has none. -ENOENT: there is none. Nothing is synced. */
int journal_spare_take(struct journal_writer *writer, uint64_t segment, struct journal_segment_file *ret_file);
/*
 * Keeps the file of an expired segment. -EBUSY: there are enough, or somebody reads it; else an error: it stays where and, but
 * for its header, as it was.
 */
int journal_spare_keep(struct journal_writer *writer, uint64_t segment);

#endif
