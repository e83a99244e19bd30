/* SPDX-License-Identifier: Apache-2.0 */
/* Which segments have files: listed once, then followed, since nobody but the writer makes or takes them away. */
#ifndef WEIR_JOURNAL_KEPT_H
#define WEIR_JOURNAL_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal_writer;

struct journal_kept {
    uint64_t *segments; /* ascending */
    size_t count, room;
    bool listed;
};
/* 0: writer->kept is listed. */
int journal_kept_list(struct journal_writer *writer);
/* One was made, or opened. */
void journal_kept_add(struct journal_writer *writer, uint64_t segment);
/* Those from `at` on went, so many of them. */
void journal_kept_cut(struct journal_writer *writer, size_t at, size_t count);
void journal_kept_free(struct journal_kept *kept);

#endif
