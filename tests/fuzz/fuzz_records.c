/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz: LINKS weir_client weir_journal weir_shm weir_ringbuf SOURCES tests/fuzz/support/ring_image.c */
/*
 * A segment of any bytes: walked by readers that may repair and that may not, by the check, and by the drain's seal; and
 * the records in it, taken apart as a subscriber does. The input is the kind of ring, a publisher's index and incarnation
 * (for claims), the tail word, and the segment.
 */
#include <errno.h>

#include "client/message.h"
#include "journal/journal.h"
#include "tests/fuzz/support/ring_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEGMENT_BYTES 4096u
#define START (UINT64_C(5) * SEGMENT_BYTES)

static struct ring_view view;
static uint32_t sum;

static void add(const void *bytes, size_t size)
{
    for (const uint8_t *at = bytes; size > 0; at++, size--)
        sum = sum * 31 + *at;
}

/* -- Properties ---------------------------------------------------------------------------------------------------- */

/* What was read, written again, reads the same. */
static void put_again(const struct ring_item *item)
{
    static uint8_t room[SEGMENT_BYTES];
    struct ring_meta meta, again;
    uint32_t bytes, again_bytes, put_bytes;

    if (ring_meta_get(item->body, item->body_bytes, item->flags, &meta, &bytes) < 0 || bytes == 0)
        return;
    need(ring_meta_bytes(&meta, &put_bytes) == 0 && put_bytes <= bytes, "properties that could not be written");
    if (put_bytes == 0)
        return;
    ring_meta_put(&meta, room);
    need(ring_meta_get(room, put_bytes, RING_FLAG_PROPERTIES, &again, &again_bytes) == 0 && again_bytes == put_bytes,
         "properties that cannot be read again");
    need(again.present == meta.present && again.time_ns == meta.time_ns && again.expiry_ns == meta.expiry_ns &&
             again.producer == meta.producer && again.sequence == meta.sequence && again.key_bytes == meta.key_bytes &&
             again.headers_bytes == meta.headers_bytes,
         "properties that read otherwise the second time");
    need((meta.key_bytes == 0 || memcmp(again.key, meta.key, meta.key_bytes) == 0) &&
             (meta.headers_bytes == 0 || memcmp(again.headers, meta.headers, meta.headers_bytes) == 0),
         "a key or headers that read otherwise the second time");
}

static void use_headers(const struct weir_message *message)
{
    const char *name;
    const void *value;
    size_t name_bytes, value_bytes, count = 0;

    while (weir_message_header_at(message, count, &name, &name_bytes, &value, &value_bytes) == 0) {
        char wanted[256];
        add(name, name_bytes);
        add(value, value_bytes);
        memcpy(wanted, name, name_bytes);
        wanted[name_bytes] = '\0';
        if (strlen(wanted) == name_bytes)
            need(weir_message_header(message, wanted, &value, &value_bytes) == 0, "a header that is not found");
        count++;
    }
    need(count == message->header_count, "another number of headers");
}

static void use_message(const struct ring_item *item)
{
    struct weir_message message;

    if (message_from_item(item, &message) < 0) {
        need(weir_last_error()[0] != '\0', "refused without a reason");
        return;
    }
    need((const uint8_t *)message.data >= item->body &&
             (const uint8_t *)message.data + message.data_bytes == item->body + item->body_bytes,
         "a payload outside of its record");
    add(message.data, message.data_bytes);
    add(message.key, message.key_bytes);
    use_headers(&message);
}

/* -- Walks --------------------------------------------------------------------------------------------------------- */

static void walk(void)
{
    struct ring_reader_state reader = {.view = &view};
    struct ring_item item;
    bool pending;
    int result = ring_reader_seek(&reader, START);

    image_allow_work();
    need(result == 0, "the segment is not there");
    do {
        while ((result = ring_reader_peek(&reader, &item)) > 0) {
            image_use_item(&view, &item);
            put_again(&item);
            use_message(&item);
            ring_reader_pass(&reader, &item);
        }
        ring_reader_claimant(&reader);
    } while (result == 0 && ring_reader_look(&reader, &pending) > 0);
}

static void take_fault(void *ctx, enum ring_file file, uint64_t offset, const char *what)
{
    need(offset <= image[file == RING_FILE_CONTROL   ? IMAGE_CONTROL
                         : file == RING_FILE_READERS ? IMAGE_READERS
                                                     : IMAGE_DATA]
                       .size,
         "a fault outside of its file");
    need(what != NULL && what[0] != '\0', "a fault without a name");
    ++*(uint32_t *)ctx;
}

static void count(void *ctx, uint64_t producer, uint64_t sequence)
{
    *(uint64_t *)ctx += producer ^ sequence;
}

/* What is sealed can be sealed again, and is the same then. */
static void seal(void)
{
    static uint8_t copy[SEGMENT_BYTES], twice[SEGMENT_BYTES];
    struct journal_meta meta = {.identity = view.identity, .geometry = view.geometry};
    uint64_t reached = UINT64_MAX, again = UINT64_MAX, counted = 0;

    memcpy(copy, image[IMAGE_DATA].bytes, sizeof(copy));
    int result = journal_seal(&meta, START, copy, sizeof(copy), &reached, count, &counted);
    need(reached <= sizeof(copy) && reached % RING_UNIT_BYTES == 0, "sealed further than there is");
    need((result == 0) == (reached == sizeof(copy)), "sealed in part");
    if (reached == 0)
        return;
    memcpy(twice, copy, sizeof(copy));
    need(journal_seal(&meta, START, twice, reached, &again, NULL, NULL) == 0 && again == reached &&
             memcmp(copy, twice, reached) == 0,
         "what is sealed is sealed otherwise the second time");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint32_t faults = 0;

    image_format((uint32_t)input_number(&input, 1));
    need(ring_view_init(&view, image[IMAGE_CONTROL].bytes, image[IMAGE_CONTROL].size, image[IMAGE_READERS].bytes,
                        image[IMAGE_READERS].size, image[IMAGE_DATA].bytes, image[IMAGE_DATA].size, NULL) == 0,
         "the good ring cannot be opened");
    view.ops = &image_ops;
    uint32_t index = (uint32_t)input_number(&input, 1) % view.publisher_entries;
    view.publishers[index].id.raw = input_number(&input, 1);
    view.slots[0].tail.raw = input_number(&input, 8);
    view.slots[0].clean.raw = SEGMENT_BYTES / RING_UNIT_BYTES;
    image_kernel = (struct image_kernel){.dead = 0xffff};
    input_bytes(&input, image[IMAGE_DATA].bytes, SEGMENT_BYTES);

    image_allow_work();
    ring_check(&view, take_fault, &faults);
    ring_end_position(&view);
    seal();
    walk();
    view.control_writable = view.data_writable = true;
    walk();
    return 0;
}
