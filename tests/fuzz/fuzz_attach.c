/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz: LINKS weir_ringbuf SOURCES tests/fuzz/support/ring_image.c */
/*
 * A ring's files of any size and content: refused with a reason, or opened; then looked at, checked, read and joined.
 * The input is a byte of kind and flags; the files' sizes where a flag asks for it; patches to a good ring's files. Other
 * flags make the sizes, and the readers' header, fit what control says, so that other geometries are reached.
 */
#include <errno.h>

#include "tests/fuzz/support/ring_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CUT 8u
#define FIT_SIZES 16u
#define FIT_READERS 32u
#define WRITABLE 64u

static void cut(struct input *input)
{
    for (int i = 0; i < IMAGE_FILES; i++) {
        uint64_t bytes = input_number(input, 2);
        image_resize(i, bytes < image[i].size ? bytes : image[i].size);
    }
}

static void fit(uint64_t flags)
{
    struct ring_geometry geometry;
    struct ring_identity identity;
    struct ring_readers *readers = (struct ring_readers *)(void *)image[IMAGE_READERS].bytes;

    if (ring_control_read((void *)image[IMAGE_CONTROL].bytes, image[IMAGE_CONTROL].size, &geometry, &identity, NULL) <
        0)
        return;
    if (flags & FIT_SIZES) {
        image_resize(IMAGE_CONTROL, geometry.control_bytes);
        image_resize(IMAGE_READERS, geometry.readers_bytes);
        image_resize(IMAGE_DATA, geometry.data_bytes);
    }
    if (flags & FIT_READERS && image[IMAGE_READERS].size >= sizeof(*readers)) {
        readers->reader_count = geometry.max_readers;
        readers->cursor_count = geometry.max_cursors;
        memcpy(readers->ring_id, identity.ring_id, sizeof(readers->ring_id));
    }
}

static void take_fault(void *ctx, enum ring_file file, uint64_t offset, const char *what)
{
    const struct ring_view *view = ctx;
    uint64_t sizes[] = {view->geometry.control_bytes, view->geometry.readers_bytes, view->geometry.data_bytes};

    need(offset <= sizes[file], "a fault outside of its file");
    need(what != NULL && what[0] != '\0', "a fault without a name");
}

static void read_from(struct ring_view *view, uint64_t position)
{
    struct ring_reader_state reader = {.view = view};
    struct ring_item item;
    bool pending;
    int result;

    if (ring_reader_seek(&reader, position) < 0)
        return;
    do {
        while ((result = ring_reader_peek(&reader, &item)) > 0) {
            image_use_item(view, &item);
            ring_reader_pass(&reader, &item);
        }
    } while (result == 0 && ring_reader_look(&reader, &pending) > 0);
    ring_reader_claimant(&reader);
}

static void take_part(struct ring_view *view)
{
    struct ring_publisher_state publisher;
    struct ring_reader_state reader;
    uint64_t position;

    if (ring_publisher_join(&publisher, view, 1000, 1, 1) == 0) {
        if (ring_claim(&publisher, 2, &position) == 0) {
            memset(ring_claim_address(&publisher) + sizeof(struct ring_record), 1, 100);
            ring_commit(&publisher, 1, 0, 100);
        }
        ring_publisher_leave(&publisher);
    }
    if (ring_reader_join(&reader, view, 1001, 1, 1) == 0) {
        ring_cursor_take(&reader, "somebody", &position);
        ring_reader_seek_end(&reader);
        ring_reader_leave(&reader);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint64_t flags = input_number(&input, 1), oldest;
    struct ring_view view;
    const char *reason = NULL;

    image_format(flags % 8);
    if (flags & CUT)
        cut(&input);
    for (int i = 0; i < IMAGE_FILES; i++)
        if (image[i].size < 8)
            input.left = 0; /* there is no word to patch */
    while (input.left > 0)
        image_patch(&input);
    if (flags & (FIT_SIZES | FIT_READERS))
        fit(flags);

    image_allow_work();
    int result =
        ring_view_init(&view, image[IMAGE_CONTROL].bytes, image[IMAGE_CONTROL].size, image[IMAGE_READERS].bytes,
                       image[IMAGE_READERS].size, image[IMAGE_DATA].bytes, image[IMAGE_DATA].size, &reason);
    if (result < 0) {
        need(reason != NULL && reason[0] != '\0', "refused without a reason");
        need(result == -EMEDIUMTYPE || result == -EPROTONOSUPPORT || result == -EAGAIN || result == -EBADMSG,
             "refused with an error that is not in the list");
        return 0;
    }
    image_kernel = (struct image_kernel){.dead = UINT64_MAX, .mine = {1000, 1001}};
    view.ops = &image_ops;
    view.control_writable = view.data_writable = view.readers_writable = flags & WRITABLE;
    ring_check(&view, take_fault, &view);
    image_allow_work();
    read_from(&view, ring_oldest_segment(&view, 0, &oldest) == 0 ? oldest << view.geometry.segment_shift : 0);
    read_from(&view, ring_end_position(&view) & ~(uint64_t)(RING_UNIT_BYTES - 1));
    image_allow_work();
    if (flags & WRITABLE)
        take_part(&view);
    return 0;
}
