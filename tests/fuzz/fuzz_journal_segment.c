/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz: LINKS weir_journal weir_ringbuf */
/*
 * A journal whose files hold anything: opened, recovered and read. The input is one byte of flags and patches to a good
 * journal: which file, offset (two bytes), length, bytes; length 255 cuts the file off there. The flags say whose CRCs are
 * put right afterwards, so that the values behind them are reached as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal/files.h"
#include "journal/index.h"
#include "journal/journal.h"
#include "journal/record.h"
#include "journal/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEGMENTS 3u
#define FILE_BYTES_MAX (JOURNAL_BLOCK_BYTES + 4096u)
#define FIX_META 1u
#define FIX_HEADERS 2u
#define FIX_RECORDS 4u
#define FIX_LEDGER 8u
#define FIX_NAMES 16u

struct image {
    uint8_t bytes[FILE_BYTES_MAX];
    size_t size;
};
enum { META, LEDGER, NAMES, FIRST_SEGMENT, FILES = FIRST_SEGMENT + SEGMENTS };
static const char *const file_names[FILES] = {
    "meta", "ledger", "names", "0000000000000000.seg", "0000000000000001.seg", "0000000000000002.seg",
};

static char scratch[256];
static int scratch_fd, folder_fd;
static struct journal_meta meta;
static struct image good[FILES], damaged[FILES];
static uint32_t body_sum;

static void need(int condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_journal_segment: %s (errno %d)\n", what, errno);
    abort();
}

/* -- The good journal --------------------------------------------------------------------------------------------------- */

static void remove_scratch(void)
{
    for (int i = 0; i < FILES; i++)
        unlinkat(folder_fd, file_names[i], 0);
    unlinkat(folder_fd, "0000000000000003.seg", 0);
    unlinkat(folder_fd, JOURNAL_INDEX_NAME, 0);
    unlinkat(folder_fd, JOURNAL_PINS_LOCK_NAME, 0);
    unlinkat(folder_fd, JOURNAL_LOCK_NAME, 0);
    unlinkat(scratch_fd, "ring", AT_REMOVEDIR);
    rmdir(scratch);
}

static void load_image(int index)
{
    int fd = openat(folder_fd, file_names[index], O_RDONLY | O_CLOEXEC);
    ssize_t got = pread(fd, good[index].bytes, sizeof(good[index].bytes), 0);

    need(got >= 0, "cannot read the good journal");
    good[index].size = (size_t)got;
    close(fd);
}

/* Records of one to five units, and padding at the end of each segment. */
static void write_records(struct journal_writer *writer)
{
    static uint8_t memory[4096];
    uint64_t reached;

    for (uint32_t segment = 0; segment < SEGMENTS; segment++) {
        uint32_t unit = 0;
        memset(memory, (int)segment + 1, sizeof(memory));
        for (uint32_t n = 1; unit < 64; n++) {
            uint32_t units = unit + n % 5 + 1 < 60 ? n % 5 + 1 : 64 - unit;
            struct journal_record record = {
                .head = head_make(unit + units == 64 ? RING_PADDING : RING_READY, n % 3 == 0 ? RING_FLAG_PROPERTIES : 0,
                                  units, (uint16_t)n, 5),
                .body_bytes = units * RING_UNIT_BYTES - 16 - n % 16,
            };
            journal_record_store(memory + unit * RING_UNIT_BYTES, &record);
            unit += units;
        }
        uint64_t position = (uint64_t)segment * sizeof(memory);
        need(journal_seal(&meta, position, memory, sizeof(memory), &reached, NULL, NULL) == 0, "seal");
        need(journal_write(writer, position, memory, sizeof(memory)) == 0, "write");
    }
}

static void make_good(void)
{
    const char *parent = getenv("WEIR_BUS");
    struct journal_name name = {"somebody", 64};
    struct journal_names names = {64, 1, 1, &name, &name};
    struct journal_writer *writer;

    snprintf(scratch, sizeof(scratch), "%s/weir-fuzz-XXXXXX", parent ? parent : "/dev/shm");
    need(mkdtemp(scratch) != NULL, "no scratch directory");
    scratch_fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    meta = (struct journal_meta){
        .identity = {.name = "ring", .epoch = 1}, .mode = 0600, .uid = geteuid(), .gid = getegid()};
    meta.geometry.segment_shift = 12;
    meta.identity.ring_id[0] = 7;
    need(journal_create(scratch_fd, &meta) == 0, "create");
    folder_fd = openat(scratch_fd, "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    atexit(remove_scratch);
    need(journal_open(scratch_fd, "ring", &writer, &meta) == 0, "open");
    write_records(writer);
    for (uint64_t i = 0; i < 3; i++) {
        struct journal_gap gap = {i * 4096, i * 4096 + 64, 1, 1, JOURNAL_GAP_DAMAGED};
        need(journal_note_gap(writer, &gap) == 0, "note");
    }
    need(journal_save_names(writer, &names) == 0, "names");
    journal_close(writer);
    for (int i = 0; i < FILES; i++)
        load_image(i);
}

/* -- Damage ---------------------------------------------------------------------------------------------------------------- */

static void patch(const uint8_t *data, size_t size)
{
    while (size >= 4) {
        struct image *image = &damaged[data[0] % FILES];
        size_t at = (data[1] | (size_t)data[2] << 8) % FILE_BYTES_MAX, bytes = data[3];
        data += 4;
        size -= 4;
        if (bytes == 255) {
            image->size = at < image->size ? at : image->size;
            continue;
        }
        bytes = bytes < size ? bytes : size;
        if (bytes > FILE_BYTES_MAX - at)
            bytes = FILE_BYTES_MAX - at;
        memcpy(image->bytes + at, data, bytes);
        if (bytes > 0 && image->size < at + bytes)
            image->size = at + bytes;
        data += bytes;
        size -= bytes;
    }
}

static void fix(uint8_t *at, size_t crc_offset)
{
    uint32_t crc = journal_crc32c(0, at, crc_offset);

    memcpy(at + crc_offset, &crc, sizeof(crc));
}

static void fix_names(struct image *image)
{
    struct journal_names_header header;
    size_t bytes = image->size > sizeof(header) ? image->size - sizeof(header) : 0;

    memcpy(&header, image->bytes, sizeof(header));
    uint64_t told = ((uint64_t)header.producer_count + header.cursor_count) * sizeof(struct journal_name_entry);
    uint32_t crc = journal_crc32c(0, &header, offsetof(struct journal_names_header, crc));
    crc = journal_crc32c(crc, image->bytes + sizeof(header), told < bytes ? told : bytes);
    memcpy(image->bytes + offsetof(struct journal_names_header, crc), &crc, sizeof(crc));
}

static void fix_records(uint64_t segment, uint8_t *bytes)
{
    for (uint64_t at = 0; at < 4096;) {
        struct journal_record record = journal_record_load(bytes + at);
        uint64_t record_bytes = journal_record_bytes(record.head, 4096 - at);
        if (record_bytes == 0 || !journal_record_holds_body(record_bytes, record.body_bytes)) {
            at += RING_UNIT_BYTES;
            continue;
        }
        record.crc = journal_record_crc(meta.identity.ring_id, 1, segment * 4096 + at, record.head, record.body_bytes,
                                        bytes + at + sizeof(struct ring_record));
        journal_record_store(bytes + at, &record);
        at += record_bytes;
    }
}

static void put_right(uint8_t flags)
{
    for (uint32_t i = 0; flags & FIX_META && i < 2; i++)
        fix(damaged[META].bytes + i * JOURNAL_BLOCK_BYTES, offsetof(struct journal_meta_block, crc));
    for (uint32_t i = 0; flags & FIX_LEDGER && i < 8; i++)
        fix(damaged[LEDGER].bytes + i * sizeof(struct journal_ledger_entry),
            offsetof(struct journal_ledger_entry, crc));
    if (flags & FIX_NAMES)
        fix_names(&damaged[NAMES]);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        if (flags & FIX_HEADERS)
            fix(damaged[FIRST_SEGMENT + i].bytes, offsetof(struct journal_segment_header, crc));
        if (flags & FIX_RECORDS)
            fix_records(i, damaged[FIRST_SEGMENT + i].bytes + JOURNAL_BLOCK_BYTES);
    }
}

static void write_files(void)
{
    for (int i = 0; i < FILES; i++) {
        unlinkat(folder_fd, file_names[i], 0);
        int fd = openat(folder_fd, file_names[i], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        need(pwrite(fd, damaged[i].bytes, damaged[i].size, 0) == (ssize_t)damaged[i].size, "cannot write");
        close(fd);
    }
}

/* -- What must hold ------------------------------------------------------------------------------------------------------------ */

/* Where no CRC was made to fit, a record that is delivered is one that was written. */
static void check_item(const struct ring_item *item, uint8_t flags)
{
    uint64_t segment = item->position >> 12;

    need(item->next > item->position && item->position % RING_UNIT_BYTES == 0, "a record without length");
    need(item->next - item->position >= item->body_bytes + sizeof(struct ring_record), "a body longer than its record");
    need((item->next - 1) >> 12 == segment, "a record across segments");
    body_sum ^= journal_crc32c(0, item->body, item->body_bytes); /* all of it can be read */
    if (flags & FIX_RECORDS)
        return;
    need(segment < SEGMENTS, "a record in a segment that was never written");
    const uint8_t *original = good[FIRST_SEGMENT + segment].bytes + JOURNAL_BLOCK_BYTES + (item->position & 4095);
    struct journal_record record = journal_record_load(original);
    need(record.body_bytes == item->body_bytes && head_tag(record.head) == item->tag &&
             memcmp(original + sizeof(struct ring_record), item->body, item->body_bytes) == 0,
         "a record that nobody wrote");
}

static void read_all(uint64_t limit, uint8_t flags)
{
    struct journal_reader *reader;
    struct ring_item item;

    if (journal_reader_open(folder_fd, meta.identity.ring_id, 12, &reader) < 0)
        return;
    for (int steps = 0; journal_reader_position(reader) < limit && journal_reader_position(reader) < 8 * 4096;
         steps++) {
        uint64_t before = journal_reader_position(reader);
        int result = journal_reader_next(reader, limit, &item);
        need(steps < 10000, "no end of it");
        if (result == 1)
            check_item(&item, flags);
        else if (result < 0)
            need(journal_reader_resync(reader, limit) > before, "no way on");
        need(journal_reader_position(reader) <= limit, "beyond the limit");
    }
    journal_reader_close(reader);
}

static int take_gap(void *ctx, const struct journal_gap *gap)
{
    need(gap->from < gap->to, "a gap without length");
    *(uint64_t *)ctx = gap->from;
    return 0;
}

static void read_ledger(void)
{
    uint64_t position = 0;
    struct journal_gap gap;

    if (journal_gaps(folder_fd, take_gap, &position) == 0 && journal_find_gap(folder_fd, position, &gap) == 0)
        need(gap.from <= position && position < gap.to, "a gap that is somewhere else");
}

static void count(void *ctx, uint64_t producer, uint64_t sequence)
{
    *(uint64_t *)ctx += producer ^ sequence;
}

static void recover(void)
{
    struct journal_writer *writer;
    struct journal_meta opened;
    struct journal_names names;
    uint64_t recovered = 0;
    uint64_t sum = 0;

    if (journal_open(scratch_fd, "ring", &writer, &opened) < 0)
        return;
    if (journal_load_names(writer, &names) == 0)
        journal_free_names(&names);
    if (opened.geometry.segment_shift <= 16 && journal_recover(writer, 0, UINT64_MAX, count, &sum, &recovered) == 0)
        need(recovered >= opened.durable, "the end is too low");
    journal_close(writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (scratch[0] == '\0')
        make_good();
    if (size == 0)
        return 0;
    memcpy(damaged, good, sizeof(damaged));
    patch(data + 1, size - 1);
    put_right(data[0]);
    write_files();
    read_all(SEGMENTS * 4096, data[0]);
    read_all(UINT64_MAX, data[0]);
    read_ledger();
    recover();
    read_all(UINT64_MAX, data[0]);
    return 0;
}
