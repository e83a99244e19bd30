/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/support/ring_image.h"

#include <sanitizer/asan_interface.h>

#include "ringbuf/access.h"

#define LOADS_MAX 2000000u
#define CONTROL_MAX (64u << 10)
#define READERS_MAX (64u << 10)
#define DATA_MAX (256u << 10)
#define BEHIND (64u << 10) /* never used, poisoned */

static RING_PAIR_ALIGNED uint8_t control_room[CONTROL_MAX + BEHIND];
static RING_PAIR_ALIGNED uint8_t readers_room[READERS_MAX + BEHIND];
static RING_PAIR_ALIGNED uint8_t copy_room[READERS_MAX + BEHIND];
static RING_PAIR_ALIGNED uint8_t data_room[DATA_MAX + BEHIND];

struct image_file image[IMAGE_FILES] = {{control_room, 0}, {readers_room, 0}, {data_room, 0}};
struct image_kernel image_kernel;

static const size_t size_max[IMAGE_FILES] = {CONTROL_MAX, READERS_MAX, DATA_MAX};
static uint32_t loads_left;
static uint32_t sum; /* of all that was read */

/* -- The files ----------------------------------------------------------------------------------------------------- */

void image_resize(int file, uint64_t size)
{
    struct image_file *f = &image[file];
    size_t now = size < size_max[file] ? (size_t)size : size_max[file];

    ASAN_UNPOISON_MEMORY_REGION(f->bytes, now);
    if (now > f->size)
        memset(f->bytes + f->size, 0, now - f->size);
    ASAN_POISON_MEMORY_REGION(f->bytes + now, size_max[file] + BEHIND - now);
    f->size = now;
}

void image_format(uint32_t kind)
{
    static const struct ring_geometry kinds[IMAGE_KINDS] = {
        {.flags = RING_JOURNALED, .when_full = RING_BLOCK, .max_publishers = 2},
        {.flags = RING_JOURNALED | RING_EXCLUSIVE, .when_full = RING_BLOCK, .max_publishers = 1},
        {.flags = 0, .when_full = RING_BLOCK, .max_publishers = 2},
        {.flags = 0, .when_full = RING_DROP_OLD, .max_publishers = 2},
        {.flags = RING_EXCLUSIVE, .when_full = RING_DROP_OLD, .max_publishers = 1},
    };
    const struct ring_identity identity = {.name = "ring", .ring_id = {7}, .epoch = 1, .start = 5 << 12};
    struct ring_geometry geometry = kinds[kind % IMAGE_KINDS];

    geometry.segment_shift = 12;
    geometry.max_readers = geometry.max_producers = geometry.max_cursors = 2;
    geometry.memory_limit_bytes = 8192;
    geometry.slot_count = 4;
    need(ring_geometry_check(&geometry, NULL) == 0, "the good ring is refused");
    for (int i = 0; i < IMAGE_FILES; i++)
        image_resize(i, 0);
    image_resize(IMAGE_CONTROL, geometry.control_bytes);
    image_resize(IMAGE_READERS, geometry.readers_bytes);
    image_resize(IMAGE_DATA, geometry.data_bytes);
    ring_format(image[IMAGE_CONTROL].bytes, image[IMAGE_READERS].bytes, image[IMAGE_DATA].bytes, &geometry, &identity);
}

/* One byte: bits 0..1 file (control twice), 2..3 how; two bytes: which word; then what is written. */
int image_patch(struct input *input)
{
    static const int files[] = {IMAGE_CONTROL, IMAGE_CONTROL, IMAGE_READERS, IMAGE_DATA};
    uint64_t how = input_number(input, 1), word = input_number(input, 2), value;
    int file = files[how & 3];
    struct image_file *f = &image[file];
    uint8_t *at = f->bytes + word % (f->size / 8) * 8;

    memcpy(&value, at, 8);
    switch (how >> 2 & 3) {
    case 0:
        value = input_number(input, 8);
        break;
    case 1:
        value = (value & ~UINT64_C(0xffffffff)) | input_number(input, 4);
        break;
    case 2: { /* a few bits anywhere in the word: the parts of packed words do not end at bytes */
        uint64_t shift = input_number(input, 1) % 64;
        value = (value & ~(UINT64_C(0xff) << shift)) | input_number(input, 1) << shift;
        break;
    }
    default: /* a copy of another word of the file */
        memcpy(&value, f->bytes + input_number(input, 2) % (f->size / 8) * 8, 8);
        break;
    }
    memcpy(at, &value, 8);
    return file;
}

/* -- The kernel ---------------------------------------------------------------------------------------------------- */

static bool dead(void *ctx, uint64_t id)
{
    (void)ctx;
    for (size_t i = 0; i < sizeof(image_kernel.mine) / sizeof(image_kernel.mine[0]); i++)
        if (image_kernel.mine[i] == id)
            return false;
    return image_kernel.dead >> (id % 64) & 1;
}

static bool fence(void *ctx)
{
    (void)ctx;
    return !image_kernel.no_fence;
}

static const struct ring_readers *readers_copy(void *ctx)
{
    size_t bytes = image[IMAGE_READERS].size;

    (void)ctx;
    if (image_kernel.no_copy)
        return NULL;
    ASAN_UNPOISON_MEMORY_REGION(copy_room, bytes);
    memcpy(copy_room, image[IMAGE_READERS].bytes, bytes);
    ASAN_POISON_MEMORY_REGION(copy_room + bytes, sizeof(copy_room) - bytes);
    return (const struct ring_readers *)(const void *)copy_room;
}

static void relax(void *ctx)
{
    (void)ctx;
}

const struct ring_ops image_ops = {dead, dead, fence, readers_copy, relax};

static void count_load(void)
{
    need(loads_left-- > 0, "work without end");
}

void image_allow_work(void)
{
    loads_left = LOADS_MAX;
    mem_load_hook = count_load;
}

/* -- Records ------------------------------------------------------------------------------------------------------- */

static void add(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + at[i];
}

static void use_properties(const struct ring_item *item)
{
    struct ring_meta meta;
    uint32_t bytes = 0;

    if (ring_meta_get(item->body, item->body_bytes, item->flags, &meta, &bytes) < 0)
        return;
    need(bytes <= item->body_bytes, "properties longer than the body");
    add(meta.key, meta.key_bytes);
    add(meta.headers, meta.headers_bytes);
}

void image_use_item(const struct ring_view *view, const struct ring_item *item)
{
    uint64_t at = (uint64_t)(item->body - view->data), segment_bytes = 1ull << view->geometry.segment_shift;

    need(item->body > view->data && at + item->body_bytes <= view->geometry.data_bytes, "a record outside of the data");
    need(at / segment_bytes == (at + item->body_bytes - 1) / segment_bytes, "a record across slots");
    need(item->next > item->position && item->position % RING_UNIT_BYTES == 0, "a record without length");
    need(item->next - item->position >= item->body_bytes + sizeof(struct ring_record), "a body longer than its record");
    add(item->body, item->body_bytes);
    use_properties(item);
}
