/* SPDX-License-Identifier: Apache-2.0 */
/* What recovery and the verifier need of the reader beyond journal.h. */
#ifndef WEIR_JOURNAL_READER_H
#define WEIR_JOURNAL_READER_H

#include <stdint.h>

#include "journal/journal.h"

/* Goes to a position without opening anything yet. It is a multiple of the unit. */
void journal_reader_stand_at(struct journal_reader *reader, uint64_t position);
/*
 * From the position on, in this segment and below the limit: goes to the first record that checks. 1: found. 0: there is
 * none, the position has not changed. Else a negative errno, as journal_reader_next().
 */
int journal_reader_hunt(struct journal_reader *reader, uint64_t limit);
/* The same, past blocks that the disk cannot read. */
int journal_reader_search(struct journal_reader *reader, uint64_t limit);
/* The one epoch that the open segment's records are of, as a good one has shown, among `epochs`: its index; -1: not known. */
int journal_reader_which_epoch(const struct journal_reader *reader, const uint64_t *epochs, int count);

#endif
