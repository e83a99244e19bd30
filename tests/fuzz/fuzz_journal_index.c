/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz: LINKS weir_journal weir_ringbuf */
/*
 * An `index` with any content, searched and appended to. The input: a byte, 1: magic and checksums are put right, so that the
 * values behind them are reached; a time to look for (8 bytes); then the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "journal/index.h"
#include "journal/segment.h"
#include "journal/writer.h"
#include "ringbuf/words.h"
#include "tests/fuzz/support/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEGMENTS 3u
#define CONTENT_MAX 65536u

static char scratch[256];
static int scratch_fd, folder_fd;
static struct journal_meta good;

/* -- The journal --------------------------------------------------------------------------------------------------- */

static void remove_scratch(void)
{
    journal_remove(scratch_fd, "ring", NULL);
    rmdir(scratch);
}

/* Segments of padding alone. */
static void write_segments(void)
{
    struct journal_writer *writer;

    need(journal_open(scratch_fd, "ring", &writer, &good) == 0, "the good journal cannot be opened");
    for (uint64_t i = 0; i < SEGMENTS; i++) {
        uint8_t bytes[4096] = {0};
        uint64_t head = head_make(RING_PADDING, 0, sizeof(bytes) / RING_UNIT_BYTES, 0, 0), reached;
        memcpy(bytes, &head, sizeof(head));
        need(journal_seal(&good, i * sizeof(bytes), bytes, sizeof(bytes), &reached, NULL, NULL) == 0 &&
                 journal_write(writer, i * sizeof(bytes), bytes, sizeof(bytes)) == 0,
             "the good journal cannot be written");
    }
    need(journal_sync(writer) == 0, "the good journal cannot be synced");
    journal_close(writer);
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
    write_segments();
    atexit(remove_scratch);
}

static void put_right(uint8_t *content, size_t size)
{
    for (size_t at = 0; at + sizeof(struct journal_index_entry) <= size; at += sizeof(struct journal_index_entry)) {
        struct journal_index_entry entry;
        memcpy(&entry, content + at, sizeof(entry));
        entry.magic = JOURNAL_INDEX_MAGIC;
        entry.position &= ~(uint64_t)(RING_UNIT_BYTES - 1);
        entry.crc = journal_crc32c(journal_crc32c(0, good.identity.ring_id, 16), &entry,
                                   offsetof(struct journal_index_entry, crc));
        memcpy(content + at, &entry, sizeof(entry));
    }
}

/* -- What must hold ------------------------------------------------------------------------------------------------ */

/* Whatever the index says, a seek ends within the files that there are; one or two are made ahead. */
static void seek(uint64_t time_ns)
{
    struct journal_index_range range;
    uint64_t position;

    need(journal_index_find(folder_fd, good.identity.ring_id, time_ns, &range) == 0, "it cannot be searched");
    need(range.from % RING_UNIT_BYTES == 0, "not a position");
    need(journal_seek_time(folder_fd, &good, time_ns, &position) == 0, "nothing is found");
    need(position < (SEGMENTS + 2) * 4096u && position % RING_UNIT_BYTES == 0, "found outside of the journal");
}

/* What can be appended to is found behind all that was there. */
static void append(uint64_t time_ns)
{
    struct journal_writer *writer;
    struct journal_index_range range;

    need(journal_open(scratch_fd, "ring", &writer, &good) == 0, "the journal does not open");
    journal_index_note(writer, 4096, time_ns);
    uint64_t last = writer->index.position, last_ns = writer->index.time_ns;
    journal_index_note(writer, last | (JOURNAL_INDEX_BYTES - 1), UINT64_MAX - 1);
    need(writer->index.fd < 0 || writer->index.time_ns >= last_ns, "a time that falls");
    journal_close(writer);
    need(journal_index_find(folder_fd, good.identity.ring_id, time_ns, &range) == 0,
         "it cannot be searched afterwards");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t content[CONTENT_MAX];
    struct input input = {data, size};
    uint64_t flags = input_number(&input, 1), time_ns = input_number(&input, 8);

    if (scratch[0] == '\0')
        make_journal();
    size = input_bytes(&input, content, sizeof(content));
    if (flags & 1)
        put_right(content, size);
    int fd = openat(folder_fd, JOURNAL_INDEX_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    need(fd >= 0 && pwrite(fd, content, size, 0) == (ssize_t)size, "the file cannot be written");
    close(fd);
    seek(time_ns);
    append(time_ns);
    seek(time_ns);
    return 0;
}
