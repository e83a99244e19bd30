/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring's three files in the memory of this process, to be damaged. What lies behind the end of each is poisoned for
 * the address sanitizer, to the byte.
 */
#ifndef WEIR_FUZZ_RING_IMAGE_H
#define WEIR_FUZZ_RING_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "ringbuf/ring.h"
#include "tests/fuzz/support/input.h"

enum { IMAGE_CONTROL, IMAGE_READERS, IMAGE_DATA, IMAGE_FILES };

struct image_file {
    uint8_t *bytes;
    size_t size;
};
extern struct image_file image[IMAGE_FILES];

/* Good rings of 4 slots of 4 KiB; journaled or not, shared or exclusive, blocking or dropping. */
#define IMAGE_KINDS 5u
void image_format(uint32_t kind);
/* Cuts a file, or makes it longer by zeros; no more than it has room for. */
void image_resize(int file, uint64_t size);
/* Writes over some of it, as the input says. Returns the file. */
int image_patch(struct input *input);

/*
 * What the kernel would say, as the input has it. Ids are dead by their low six bits, save for those that the target holds
 * itself.
 */
struct image_kernel {
    uint64_t dead;
    uint64_t mine[8]; /* alive whatever `dead` says */
    bool no_fence, no_copy;
};
extern struct image_kernel image_kernel;
extern const struct ring_ops image_ops;

/* From here on so many loads of shared words are allowed; one more is work without end. */
void image_allow_work(void);

/* Takes a record apart as a subscriber does. Every byte of it is read. */
void image_use_item(const struct ring_view *view, const struct ring_item *item);

#endif
