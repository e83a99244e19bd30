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
};
/* All valid entries. A missing file is an empty one. */
int journal_ledger_load(int folder_fd, struct journal_ledger *ret_ledger);
void journal_ledger_free(struct journal_ledger *ledger);
int journal_ledger_make(int folder_fd, const struct journal_rights *rights);

#endif
