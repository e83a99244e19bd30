/* SPDX-License-Identifier: Apache-2.0 */
/* The file `meta`: two blocks written in turn. */
#ifndef WEIR_JOURNAL_META_H
#define WEIR_JOURNAL_META_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/journal.h"

/* The newest valid block of an open meta, and which one it is. */
struct journal_meta_state {
    uint64_t generation;
    uint32_t block;
};
int journal_meta_load(int meta_fd, struct journal_meta *ret_meta, struct journal_meta_state *ret_state);
/* The same by name, for readers. */
int journal_meta_read(int folder_fd, struct journal_meta *ret_meta);
/* One block alone: 0, or what is wrong with it. */
int journal_meta_check_block(int meta_fd, uint32_t block);
/* Writes one block; does not sync. */
int journal_meta_write(int meta_fd, const struct journal_meta *meta, uint64_t generation, uint32_t block);
/* A new file in its place, both blocks the same; synced. */
int journal_meta_replace(int folder_fd, const struct journal_meta *meta);
/* 0, or -EINVAL: no journal can be like that. */
int journal_meta_check(const struct journal_meta *meta);

#endif
