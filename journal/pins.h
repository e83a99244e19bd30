/* SPDX-License-Identifier: Apache-2.0 */
/* The file `pins`, and the lock under which it is changed and obeyed. */
#ifndef WEIR_JOURNAL_PINS_H
#define WEIR_JOURNAL_PINS_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/journal.h"

struct journal_pin_list {
    struct journal_pin *pins; /* in the order of names */
    uint32_t count;
};
/* A descriptor that holds the lock until it is closed. -EBUSY: somebody has it. */
int journal_pins_lock(int folder_fd);
/* A missing file is an empty one. */
int journal_pins_load(int folder_fd, struct journal_pin_list *ret_list);
void journal_pins_free(struct journal_pin_list *list);
/* Whether one covers some of [from, to). */
bool journal_pins_touch(const struct journal_pin_list *list, uint64_t from, uint64_t to);

#endif
