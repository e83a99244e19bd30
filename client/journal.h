/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEIR_CLIENT_JOURNAL_H
#define WEIR_CLIENT_JOURNAL_H

#include <limits.h>
#include <stdbool.h>

#include "journal/journal.h"
#include "journal/walk.h"
#include "weir.h"

struct weir_journal {
    int directory_fd; /* of all journals */
    int folder_fd;    /* of this one */
    char name[RING_NAME_BYTES];
    char path[PATH_MAX]; /* DIRECTORY/NAME, for messages */
    char *bus;           /* NULL: the default one */
    struct journal_meta meta;
    bool rebuilt; /* `meta` is damaged */

    /* Reading: journal_read.c */
    struct journal_walk walk;
    bool walking;
    struct journal_range missing; /* from < to: still to be told */
    struct weir_gap gap;
};

/* What this journal's ring says, if that is on the bus and its link leads here: true. */
bool journal_ask_ring(const struct weir_journal *journal, struct weir_ring_info *ret_info);
/* Error of the closed list, with a text. */
int journal_fail(const struct weir_journal *journal, int error, const char *what);
/* Of the ledger, as weir.h has it. */
int journal_gap_reason(uint32_t reason);
void journal_read_close(struct weir_journal *journal);

#endif
