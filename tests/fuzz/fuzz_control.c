/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz: LINKS weir_ringbuf SOURCES tests/fuzz/support/ring_image.c */
/*
 * Publishers and readers at work on a ring whose words somebody else writes over meanwhile. The input is the kind of ring,
 * and steps, each one byte: which step (low five bits) and whose (high bits); some take more. Any outcome but a crash, work
 * without end, or an access outside of the files is right; nobody writes what his rights would not let him write; an
 * exclusive publisher never writes over a record.
 */
#include <errno.h>

#include "tests/fuzz/support/ring_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ACTORS 3u /* of each role; the last publisher is weird, the last reader may repair */
#define STEPS_MAX 128

static struct ring_view writing, looking, serving;
static struct ring_publisher_state publishers[ACTORS];
static struct ring_reader_state readers[ACTORS];
static bool joined[ACTORS], attached[ACTORS];
static bool patched; /* since the only publisher joined */
static uint8_t before[96u << 10];

/* -- Rights -------------------------------------------------------------------------------------------------------- */

static void keep(int file, size_t *used)
{
    need(*used + image[file].size <= sizeof(before), "no room to keep the files");
    memcpy(before + *used, image[file].bytes, image[file].size);
    *used += image[file].size;
}

static void compare(int file, size_t *used)
{
    need(memcmp(before + *used, image[file].bytes, image[file].size) == 0, "written without the right to");
    *used += image[file].size;
}

/* -- Publishers ---------------------------------------------------------------------------------------------------- */

/* Who is at work, and who is just joining, is alive. */
static void join(uint32_t who)
{
    struct ring_view *view = who == ACTORS - 1 ? &serving : &writing;
    uint64_t id;

    if (joined[who])
        return;
    id = image_kernel.mine[2 * ACTORS] = ring_publisher_id(view);
    joined[who] = (who == ACTORS - 1 ? ring_daemon_join(&publishers[who], view, id, 1, 1)
                                     : ring_publisher_join(&publishers[who], view, id, 1, 1)) == 0;
    if (!joined[who])
        return;
    image_kernel.mine[who] = id;
    if (who < 2 && !joined[!who]) /* the only one, and what has been written over so far it has yet to see */
        patched = false;
}

static uint64_t head_at(const struct ring_publisher_state *publisher, uint32_t units)
{
    uint64_t head;

    memcpy(&head, publisher->base + (size_t)units * RING_UNIT_BYTES, sizeof(head));
    return head;
}

/* The end of the chain of records is where an exclusive ring's next record goes. */
static void check_exclusive(const struct ring_publisher_state *publisher)
{
    const struct ring_view *view = publisher->view;
    uint32_t at = 0;

    if (!(view->geometry.flags & RING_EXCLUSIVE) || patched)
        return;
    while (at < publisher->claim_offset) {
        uint64_t head = head_at(publisher, at);
        uint32_t units = (uint32_t)(head >> RING_HEAD_UNITS_SHIFT) & RING_UNITS_MASK;
        need(head != 0 && units != 0, "an exclusive publisher leaves a hole");
        at += units;
    }
    need(at == publisher->claim_offset && head_at(publisher, at) == 0, "an exclusive publisher writes over a record");
}

static bool claim(struct ring_publisher_state *publisher, uint32_t units)
{
    uint64_t position;

    if (ring_claim(publisher, units, &position) < 0)
        return false;
    check_exclusive(publisher);
    memset(ring_claim_address(publisher) + sizeof(struct ring_record), (int)units,
           (size_t)units * RING_UNIT_BYTES - sizeof(struct ring_record));
    return true;
}

static void publish(uint32_t who, uint32_t units)
{
    struct ring_publisher_state *publisher = &publishers[who];
    uint64_t position = 0;

    if (!joined[who] || who == ACTORS - 1 || !claim(publisher, units))
        return;
    position = publisher->segment * 4096 + publisher->claim_offset * RING_UNIT_BYTES;
    ring_commit(publisher, (uint16_t)units, 0, units * RING_UNIT_BYTES - (uint32_t)sizeof(struct ring_record));
    if (publisher->producer)
        ring_producer_count(publisher, publisher->sequence + 1, position + units * RING_UNIT_BYTES);
    ring_news(publisher->view);
}

static void publish_batch(uint32_t who, uint32_t count)
{
    struct ring_publisher_state *publisher = &publishers[who];

    if (!joined[who] || who == ACTORS - 1 || !claim(publisher, 2 * count))
        return;
    for (uint32_t i = 1; i < count; i++)
        ring_batch_put(publisher, 2 * i, 2, 1, 0, 100);
    ring_commit_first(publisher, 2, 1, 0, 100);
}

/* -- Readers ------------------------------------------------------------------------------------------------------- */

static void attach(uint32_t who)
{
    struct ring_view *view = who == ACTORS - 1 ? &serving : &looking;
    uint64_t id;

    if (attached[who])
        return;
    id = image_kernel.mine[2 * ACTORS] = ring_reader_id(view);
    attached[who] = ring_reader_join(&readers[who], view, id, 1, 1) == 0;
    if (!attached[who])
        return;
    image_kernel.mine[ACTORS + who] = id;
    readers[who].gating = who == 1;
}

static void read_some(struct ring_reader_state *reader, uint32_t count)
{
    struct ring_item item;

    while (count-- > 0 && ring_reader_peek(reader, &item) > 0) {
        image_use_item(reader->view, &item);
        ring_reader_pass(reader, &item);
    }
}

static void take_fault(void *ctx, enum ring_file file, uint64_t offset, const char *what)
{
    (void)ctx;
    need(offset <= image[file == RING_FILE_CONTROL   ? IMAGE_CONTROL
                         : file == RING_FILE_READERS ? IMAGE_READERS
                                                     : IMAGE_DATA]
                       .size,
         "a fault outside of its file");
    need(what != NULL && what[0] != '\0', "a fault without a name");
}

/* -- Steps --------------------------------------------------------------------------------------------------------- */

enum step {
    PATCH,
    KERNEL,
    JOIN,
    LEAVE,
    NAME,
    PUBLISH,
    FILL,
    BATCH,
    CLAIM,
    COMMIT,
    CANCEL,
    VISIBLE,
    SWEEP,
    DRAINED,
    LAST_PUBLISHER_STEP = DRAINED,
    ATTACH,
    DETACH,
    CURSOR,
    SAVE,
    GO,
    GO_TO_END,
    GO_TO_OLDEST,
    READ,
    STAY,
    LOOK,
    OUTSIDE,
    BELL,
    CHECK,
    STEPS
};

static void publisher_step(enum step step, uint32_t who, struct input *input)
{
    struct ring_publisher_state *publisher = &publishers[who];
    bool weird = who == ACTORS - 1;

    if (step == JOIN) {
        join(who);
        return;
    }
    if (!joined[who])
        return;
    switch (step) {
    case LEAVE:
        ring_publisher_leave(publisher);
        joined[who] = false;
        break;
    case NAME:
        if (!weird && !publisher->producer)
            ring_producer_take(publisher, input_number(input, 1) & 1 ? "one" : "two");
        break;
    case PUBLISH:
        publish(who, (uint32_t)input_number(input, 1) % 80);
        break;
    case FILL:
        for (uint32_t i = 0; i < 4; i++)
            publish(who, 31);
        break;
    case BATCH:
        publish_batch(who, 1 + (uint32_t)input_number(input, 1) % 32);
        break;
    case CLAIM:
        if (!weird)
            claim(publisher, (uint32_t)input_number(input, 1) % 80);
        break;
    case COMMIT:
        if (publisher->claimed)
            ring_commit(publisher, 1, 0, 16);
        break;
    case CANCEL:
        ring_cancel(publisher);
        break;
    case VISIBLE:
        ring_visible_position(publisher);
        break;
    case SWEEP:
        ring_sweep(publisher);
        break;
    default: { /* as if the journal had got everything */
        uint64_t end = ring_end_position(publisher->view);
        struct ring_control *control = publisher->view->control;
        control->written.raw = control->durable.raw = control->drained.raw = end;
        control->lease.raw = end + publisher->view->geometry.data_bytes;
        break;
    }
    }
}

static void reader_step(enum step step, uint32_t who, struct input *input)
{
    struct ring_reader_state *reader = &readers[who];
    struct ring_view *view = reader->view;
    uint64_t position;
    bool pending;

    if (step == ATTACH) {
        attach(who);
        return;
    }
    if (!attached[who])
        return;
    switch (step) {
    case DETACH:
        ring_reader_leave(reader);
        attached[who] = false;
        break;
    case CURSOR:
        ring_cursor_take(reader, input_number(input, 1) & 1 ? "one" : "two", &position);
        break;
    case SAVE:
        ring_cursor_save(reader, ring_reader_position(reader), 1);
        break;
    case GO:
        ring_reader_seek(reader, view->identity.start + input_number(input, 3));
        break;
    case GO_TO_END:
        ring_reader_seek_end(reader);
        break;
    case GO_TO_OLDEST:
        if (ring_oldest_segment(view, 0, &position) == 0)
            ring_reader_seek(reader, position << view->geometry.segment_shift);
        break;
    case READ:
        read_some(reader, 1000);
        break;
    case STAY:
        reader->stay = !reader->stay;
        break;
    case LOOK:
        ring_reader_look(reader, &pending);
        ring_reader_poll(reader, 10);
        ring_reader_claimant(reader);
        break;
    case OUTSIDE:
        ring_reader_outside(reader, ring_reader_position(reader) + input_number(input, 2));
        break;
    case BELL:
        ring_bell_ask(&view->control->records, &view->readers->records_want);
        break;
    default:
        ring_check(view, take_fault, NULL);
        ring_end_position(view);
        break;
    }
}

static void make_step(struct input *input)
{
    uint32_t byte = (uint32_t)input_number(input, 1), who = (byte >> 5) % ACTORS;
    enum step step = (byte & 31) % STEPS;
    size_t kept = 0, compared = 0;
    bool weird = who == ACTORS - 1;

    image_allow_work();
    if (step == PATCH) {
        patched |= image_patch(input) != IMAGE_READERS;
    } else if (step == KERNEL) {
        image_kernel.dead = input_number(input, 8);
        image_kernel.no_fence = image_kernel.dead & 1;
        image_kernel.no_copy = image_kernel.dead & 2;
    } else if (step <= LAST_PUBLISHER_STEP) {
        if (!weird)
            keep(IMAGE_READERS, &kept);
        publisher_step(step, who, input);
        if (!weird)
            compare(IMAGE_READERS, &compared);
    } else {
        if (!weird) {
            keep(IMAGE_CONTROL, &kept);
            keep(IMAGE_DATA, &kept);
        }
        reader_step(step, who, input);
        if (!weird) {
            compare(IMAGE_CONTROL, &compared);
            compare(IMAGE_DATA, &compared);
        }
    }
}

static void start(uint32_t kind)
{
    image_format(kind);
    need(ring_view_init(&writing, image[IMAGE_CONTROL].bytes, image[IMAGE_CONTROL].size, image[IMAGE_READERS].bytes,
                        image[IMAGE_READERS].size, image[IMAGE_DATA].bytes, image[IMAGE_DATA].size, NULL) == 0,
         "the good ring cannot be opened");
    writing.ops = &image_ops;
    looking = writing;
    looking.readers_writable = true;
    writing.control_writable = writing.data_writable = true;
    serving = writing;
    serving.readers_writable = true;
    image_kernel = (struct image_kernel){0};
    memset(joined, 0, sizeof(joined));
    memset(attached, 0, sizeof(attached));
    memset(readers, 0, sizeof(readers));
    patched = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};

    start((uint32_t)input_number(&input, 1));
    for (int i = 0; i < STEPS_MAX && input.left > 0; i++)
        make_step(&input);
    for (uint32_t i = 0; i < ACTORS; i++) {
        image_allow_work();
        if (joined[i])
            ring_publisher_leave(&publishers[i]);
        if (attached[i])
            ring_reader_leave(&readers[i]);
    }
    image_allow_work();
    ring_check(&serving, take_fault, NULL);
    return 0;
}
