/* SPDX-License-Identifier: Apache-2.0 */
/* The file `ledger`: ranges of positions that no reader will get. */
#ifndef WEIR_JOURNAL_LEDGER_H
#define WEIR_JOURNAL_LEDGER_H

#include <stddef.h>
#include <stdint.h>

#include "journal/files.h"
#include "journal/journal.h"

struct journal_ledger {
    struct journal_gap *gaps; /* as they were appended */
    size_t count;
    uint64_t end_bytes; /* of the file, behind the last valid entry */
    uint64_t bad_count; /* entries before that which do not check */
    uint64_t bad_bytes; /* where the first of them is */
};
/* All valid entries. A missing file is an empty one. */
int journal_ledger_load(int folder_fd, struct journal_ledger *ret_ledger);
void journal_ledger_free(struct journal_ledger *ledger);
/*
 * Takes [from, to) apart, in order: `gap` is the entry that tells a part, NULL where none does. Sorts the gaps. Stops when the
 * callback returns non-zero, returns that.
 */
int journal_ledger_parts(struct journal_ledger *ledger, uint64_t from, uint64_t to,
                         int (*part)(void *ctx, uint64_t from, uint64_t to, const struct journal_gap *gap), void *ctx);
int journal_ledger_make(int folder_fd, const struct journal_rights *rights);
/* Replaces the file by one with the valid entries alone. */
int journal_ledger_clean(struct journal_writer *writer);

#endif
