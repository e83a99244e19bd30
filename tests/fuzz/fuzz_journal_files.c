/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz: LINKS weir_journal weir_ringbuf */
/*
 * The small files of a journal with any content: `meta`, `ledger`, `names` and `pins`. (Segments: fuzz_journal_segment.c.) The input
 * is a byte that says which file, and whether magic, version and checksums are put right so that the values behind them
 * are reached; then what the file holds: meta's two blocks one behind the other, and the others as they are.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "journal/files.h"
#include "journal/journal.h"
#include "journal/layout.h"
#include "journal/meta.h"
#include "tests/fuzz/support/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { META, LEDGER, NAMES, PINS, FILES };
#define PUT_RIGHT 4u
#define CONTENT_MAX 16384u

static const char *const file_names[FILES] = {JOURNAL_META_NAME, JOURNAL_LEDGER_NAME, JOURNAL_NAMES_NAME,
                                              JOURNAL_PINS_NAME};
static char scratch[256];
static int scratch_fd, folder_fd;
static struct journal_meta good;
static uint8_t good_meta[2 * JOURNAL_BLOCK_BYTES];

/* -- The journal --------------------------------------------------------------------------------------------------- */

static void remove_scratch(void)
{
    for (int i = 0; i < FILES; i++) {
        char fresh[32];
        snprintf(fresh, sizeof(fresh), "%s.new", file_names[i]);
        unlinkat(folder_fd, file_names[i], 0);
        unlinkat(folder_fd, fresh, 0);
    }
    unlinkat(folder_fd, JOURNAL_LOCK_NAME, 0);
    unlinkat(folder_fd, JOURNAL_PINS_LOCK_NAME, 0);
    unlinkat(scratch_fd, "ring", AT_REMOVEDIR);
    rmdir(scratch);
}

static void make_journal(void)
{
    const char *parent = getenv("WEIR_BUS");

    snprintf(scratch, sizeof(scratch), "%s/weir-fuzz-XXXXXX", parent ? parent : "/dev/shm");
    need(mkdtemp(scratch) != NULL, "no scratch directory");
    scratch_fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    good = (struct journal_meta){
        .identity = {.name = "ring", .ring_id = {7}, .epoch = 1}, .mode = 0600, .uid = geteuid(), .gid = getegid()};
    good.geometry.segment_shift = 12;
    need(journal_create(scratch_fd, &good) == 0, "the good journal cannot be made");
    folder_fd = openat(scratch_fd, "ring", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = openat(folder_fd, JOURNAL_META_NAME, O_RDONLY | O_CLOEXEC);
    need(fd >= 0 && pread(fd, good_meta, sizeof(good_meta), 0) == (ssize_t)sizeof(good_meta),
         "the good journal cannot be read");
    close(fd);
    atexit(remove_scratch);
}

static void write_file(int file, const void *bytes, size_t size)
{
    int fd = openat(folder_fd, file_names[file], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    need(fd >= 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size, "the file cannot be written");
    close(fd);
}

/* -- What the input leaves to be desired --------------------------------------------------------------------------- */

static void put_meta_right(uint8_t *content)
{
    for (int i = 0; i < 2; i++) {
        struct journal_meta_block block;
        memcpy(&block, content + i * JOURNAL_BLOCK_BYTES, sizeof(block));
        block.magic = JOURNAL_META_MAGIC;
        block.layout_version = JOURNAL_LAYOUT_VERSION;
        block.header_bytes = sizeof(block);
        block.format_signature = RING_FORMAT_SIGNATURE;
        block.crc = journal_crc32c(0, &block, offsetof(struct journal_meta_block, crc));
        memcpy(content + i * JOURNAL_BLOCK_BYTES, &block, sizeof(block));
    }
}

static void put_ledger_right(uint8_t *content, size_t size)
{
    for (size_t at = 0; at + sizeof(struct journal_ledger_entry) <= size; at += sizeof(struct journal_ledger_entry)) {
        struct journal_ledger_entry entry;
        memcpy(&entry, content + at, sizeof(entry));
        entry.magic = JOURNAL_LEDGER_MAGIC;
        entry.crc = journal_crc32c(0, &entry, offsetof(struct journal_ledger_entry, crc));
        memcpy(content + at, &entry, sizeof(entry));
    }
}

static void put_names_right(uint8_t *content, size_t size)
{
    struct journal_names_header header;
    size_t bytes = size - sizeof(header);

    memcpy(&header, content, sizeof(header));
    header.magic = JOURNAL_NAMES_MAGIC;
    header.layout_version = JOURNAL_LAYOUT_VERSION;
    memcpy(header.ring_id, good.identity.ring_id, sizeof(header.ring_id));
    uint64_t told = ((uint64_t)header.producer_count + header.cursor_count) * sizeof(struct journal_name_entry);
    header.crc = journal_crc32c(0, &header, offsetof(struct journal_names_header, crc));
    header.crc = journal_crc32c(header.crc, content + sizeof(header), told < bytes ? told : bytes);
    memcpy(content, &header, sizeof(header));
}

static void put_pins_right(uint8_t *content, size_t size)
{
    struct journal_pins_header header;
    size_t bytes = size - sizeof(header);

    memcpy(&header, content, sizeof(header));
    header.magic = JOURNAL_PINS_MAGIC;
    header.layout_version = JOURNAL_LAYOUT_VERSION;
    uint64_t told = (uint64_t)header.count * sizeof(struct journal_pin_entry);
    header.crc = journal_crc32c(0, &header, offsetof(struct journal_pins_header, crc));
    header.crc = journal_crc32c(header.crc, content + sizeof(header), told < bytes ? told : bytes);
    memcpy(content, &header, sizeof(header));
}

/* -- What must hold ------------------------------------------------------------------------------------------------ */

/* A meta that is taken can be read, kept and taken again. */
static void use_meta(void)
{
    struct journal_meta meta, again;
    struct journal_writer *writer;
    int read = journal_meta_read(folder_fd, &meta);

    need(read == 0 || read == -EMEDIUMTYPE || read == -EPROTONOSUPPORT || read == -EBADMSG, "another error");
    if (read == 0)
        need(journal_meta_check(&meta) == 0, "a meta that no journal can have");
    int opened = journal_open(scratch_fd, "ring", &writer, &again);
    if (opened < 0)
        return;
    need(read == 0 && memcmp(&meta.identity, &again.identity, sizeof(meta.identity)) == 0,
         "opened, but not to be read");
    need(journal_set_meta(writer, &again) == 0, "what was opened cannot be kept");
    need(journal_meta_read(folder_fd, &again) == 0 &&
             memcmp(&meta.identity, &again.identity, sizeof(meta.identity)) == 0,
         "what was kept cannot be read");
    journal_close(writer);
}

static int take_gap(void *ctx, const struct journal_gap *gap)
{
    uint64_t *last = ctx;
    struct journal_gap found;

    need(gap->from < gap->to, "a range without length");
    need(gap->from >= *last, "ranges out of order");
    *last = gap->from;
    need(journal_find_gap(folder_fd, gap->from, &found) == 0 && found.from <= gap->from && gap->from < found.to &&
             found.to >= gap->to,
         "a range that is not found");
    return 0;
}

static void use_ledger(void)
{
    struct journal_gap added = {4096, 8192, 1, 1, JOURNAL_GAP_DAMAGED}, found;
    struct journal_writer *writer;
    struct journal_meta meta;
    uint64_t last = 0;

    need(journal_gaps(folder_fd, take_gap, &last) == 0, "a ledger that cannot be read");
    need(journal_open(scratch_fd, "ring", &writer, &meta) == 0, "a damaged ledger shuts the journal");
    need(journal_note_gap(writer, &added) == 0, "a range cannot be added");
    need(journal_find_gap(folder_fd, 4096, &found) == 0, "the added range is not found");
    journal_close(writer);
}

static void use_names(void)
{
    struct journal_names names, again;
    struct journal_writer *writer;
    struct journal_meta meta;

    need(journal_open(scratch_fd, "ring", &writer, &meta) == 0, "damaged names shut the journal");
    if (journal_load_names(writer, &names) == 0) {
        need(journal_save_names(writer, &names) == 0, "names that cannot be kept");
        need(journal_load_names(writer, &again) == 0 && again.position == names.position &&
                 again.producer_count == names.producer_count && again.cursor_count == names.cursor_count,
             "kept names that cannot be read");
        for (uint32_t i = 0; i < names.producer_count; i++)
            need(strcmp(names.producers[i].name, again.producers[i].name) == 0, "a producer that reads otherwise");
        for (uint32_t i = 0; i < names.cursor_count; i++)
            need(names.cursors[i].value == again.cursors[i].value, "a cursor that reads otherwise");
        journal_free_names(&again);
        journal_free_names(&names);
    }
    journal_close(writer);
}

struct pins_seen {
    char last[RING_NAME_BYTES];
    uint32_t count;
};

static int take_pin(void *ctx, const struct journal_pin *pin)
{
    struct pins_seen *seen = ctx;

    need(journal_name_check(pin->name) == 0 && pin->from < pin->to, "a pin that makes no sense");
    need(seen->count == 0 || strcmp(seen->last, pin->name) < 0, "pins out of order");
    memcpy(seen->last, pin->name, sizeof(seen->last));
    seen->count++;
    return 0;
}

/* Pins that are taken can be added to; those that are not can be taken away. */
static void use_pins(void)
{
    struct pins_seen seen = {0}, again = {0};
    int result = journal_pins(folder_fd, take_pin, &seen);

    need(result == 0 || result == -EBADMSG || result == -EPROTONOSUPPORT, "another error");
    if (result == 0 && seen.count < JOURNAL_PINS_MAX) {
        need(journal_pin(folder_fd, "zzzz", 4096, 8192) == 0, "a pin cannot be added");
        need(journal_pins(folder_fd, take_pin, &again) == 0 && again.count - seen.count <= 1, "the pins are others");
        need(journal_unpin(folder_fd, "zzzz") == 0, "a pin cannot be taken away");
    } else if (result < 0) {
        need(journal_pin(folder_fd, "zzzz", 4096, 8192) == result, "what cannot be read is added to");
    }
    need(journal_unpin(folder_fd, NULL) == 0, "the pins cannot be taken away");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t content[CONTENT_MAX], blocks[2 * JOURNAL_BLOCK_BYTES];
    struct input input = {data, size};
    uint64_t flags = input_number(&input, 1);
    int file = (int)(flags % FILES);

    if (scratch[0] == '\0')
        make_journal();
    if (file == META) {
        size_t rest = input.left;
        memset(blocks, 0, sizeof(blocks));
        input_bytes(&input, blocks, sizeof(struct journal_meta_block));
        input_bytes(&input, blocks + JOURNAL_BLOCK_BYTES, sizeof(struct journal_meta_block));
        if (flags & PUT_RIGHT)
            put_meta_right(blocks);
        write_file(META, blocks, rest > 0 ? JOURNAL_BLOCK_BYTES + (rest < JOURNAL_BLOCK_BYTES ? rest : 0) : 0);
        use_meta();
    } else {
        size = input_bytes(&input, content, sizeof(content));
        if (flags & PUT_RIGHT && file == LEDGER)
            put_ledger_right(content, size);
        if (flags & PUT_RIGHT && file == NAMES && size >= sizeof(struct journal_names_header))
            put_names_right(content, size);
        if (flags & PUT_RIGHT && file == PINS && size >= sizeof(struct journal_pins_header))
            put_pins_right(content, size);
        write_file(META, good_meta, sizeof(good_meta));
        write_file(LEDGER, "", 0);
        write_file(file, content, size);
        if (file == LEDGER)
            use_ledger();
        else if (file == NAMES)
            use_names();
        else
            use_pins();
    }
    return 0;
}
