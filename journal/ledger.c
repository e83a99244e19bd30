/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file `ledger`. Each entry stands for itself: one that does not check, torn or damaged, is passed over, and those
 * behind it still count. Behind the last one lie zeros, kept ready so that a range can be noted on a full disk.
 */
#include "journal/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal/io.h"
#include "journal/writer.h"

#define ENTRY_BYTES sizeof(struct journal_ledger_entry)
#define CHUNK_ENTRIES 256u
#define ROOM_BYTES 16384u /* allocated ahead of the last entry */
#define ROOM_LOW_BYTES 4096u
/* What lies beyond is not looked at: a file may claim any size. 2^20 entries; see compact(). */
#define LEDGER_BYTES_MAX ((uint64_t)ENTRY_BYTES << 20)
#define COMPACT_COUNT 4096u

static uint32_t entry_crc(const struct journal_ledger_entry *entry)
{
    return journal_crc32c(0, entry, offsetof(struct journal_ledger_entry, crc));
}

static struct journal_ledger_entry encode(const struct journal_gap *gap)
{
    struct journal_ledger_entry entry = {
        .magic = JOURNAL_LEDGER_MAGIC,
        .from = gap->from,
        .to = gap->to,
        .time_ns = gap->time_ns,
        .epoch = gap->epoch,
        .reason = gap->reason,
    };

    entry.crc = entry_crc(&entry);
    return entry;
}

static bool decode(const struct journal_ledger_entry *entry, struct journal_gap *ret_gap)
{
    if (entry->magic != JOURNAL_LEDGER_MAGIC || entry->crc != entry_crc(entry) || entry->from >= entry->to)
        return false;
    *ret_gap = (struct journal_gap){entry->from, entry->to, entry->time_ns, entry->epoch, entry->reason};
    return true;
}

/* -- Reading --------------------------------------------------------------------------------------------- */

static int add_gap(struct journal_ledger *ledger, size_t *room, const struct journal_gap *gap)
{
    if (ledger->count == *room) {
        size_t more = *room ? 2 * *room : 64;
        struct journal_gap *gaps = realloc(ledger->gaps, more * sizeof(*gaps));
        if (!gaps)
            return -ENOMEM;
        ledger->gaps = gaps;
        *room = more;
    }
    ledger->gaps[ledger->count++] = *gap;
    return 0;
}

static bool is_blank(const struct journal_ledger_entry *entry)
{
    static const struct journal_ledger_entry blank;

    return memcmp(entry, &blank, sizeof(blank)) == 0;
}

/* What does not check behind the last valid entry is what a torn write left. */
static int load(int fd, struct journal_ledger *ledger)
{
    struct journal_ledger_entry entries[CHUNK_ENTRIES];
    uint64_t bad_count = 0, bad_bytes = 0;
    size_t room = 0;

    for (uint64_t at = 0; at < LEDGER_BYTES_MAX; at += sizeof(entries)) {
        int64_t got = jio_read(fd, entries, sizeof(entries), at);
        if (got < 0)
            return (int)got;
        for (uint64_t i = 0; i < (uint64_t)got / ENTRY_BYTES; i++) {
            struct journal_gap gap;
            if (!decode(&entries[i], &gap)) {
                if (!is_blank(&entries[i]) && bad_count++ == 0)
                    bad_bytes = at + i * ENTRY_BYTES;
                continue;
            }
            int result = add_gap(ledger, &room, &gap);
            if (result < 0)
                return result;
            ledger->end_bytes = at + (i + 1) * ENTRY_BYTES;
            ledger->bad_count = bad_count;
            ledger->bad_bytes = bad_bytes;
        }
        if ((uint64_t)got < sizeof(entries))
            break;
    }
    return 0;
}

int journal_ledger_load(int folder_fd, struct journal_ledger *ret_ledger)
{
    struct journal_ledger ledger = {0};
    int fd = journal_file_open(folder_fd, JOURNAL_LEDGER_NAME, false);

    if (fd < 0 && fd != -ENOENT)
        return fd;
    int result = fd < 0 ? 0 : load(fd, &ledger);
    jio_close(fd);
    if (result < 0) {
        journal_ledger_free(&ledger);
        return result;
    }
    *ret_ledger = ledger;
    return 0;
}

void journal_ledger_free(struct journal_ledger *ledger)
{
    free(ledger->gaps);
    *ledger = (struct journal_ledger){0};
}

static int by_position(const void *a, const void *b)
{
    const struct journal_gap *left = a, *right = b;

    if (left->from != right->from)
        return left->from < right->from ? -1 : 1;
    return (left->to > right->to) - (left->to < right->to);
}

int journal_gaps(int ring_journal_fd, int (*callback)(void *ctx, const struct journal_gap *gap), void *ctx)
{
    struct journal_ledger ledger;
    int result = journal_ledger_load(ring_journal_fd, &ledger);

    if (result < 0)
        return result;
    if (ledger.count > 0)
        qsort(ledger.gaps, ledger.count, sizeof(ledger.gaps[0]), by_position);
    for (size_t i = 0; result == 0 && i < ledger.count; i++)
        result = callback(ctx, &ledger.gaps[i]);
    journal_ledger_free(&ledger);
    return result;
}

int journal_ledger_parts(struct journal_ledger *ledger, uint64_t from, uint64_t to,
                         int (*part)(void *ctx, uint64_t from, uint64_t to, const struct journal_gap *gap), void *ctx)
{
    int result = 0;

    if (ledger->count > 0)
        qsort(ledger->gaps, ledger->count, sizeof(ledger->gaps[0]), by_position);
    for (size_t i = 0; result == 0 && i < ledger->count && from < to; i++) {
        const struct journal_gap *gap = &ledger->gaps[i];
        if (gap->to <= from)
            continue;
        if (gap->from >= to)
            break;
        if (from < gap->from)
            result = part(ctx, from, gap->from, NULL);
        from = from > gap->from ? from : gap->from;
        uint64_t end = gap->to < to ? gap->to : to;
        if (result == 0)
            result = part(ctx, from, end, gap);
        from = end;
    }
    return result == 0 && from < to ? part(ctx, from, to, NULL) : result;
}

/* The run of ranges of this reason, each touching the next, that holds the position. One pass over sorted gaps. */
static struct journal_gap run_at(const struct journal_ledger *ledger, uint32_t reason, uint64_t position)
{
    struct journal_gap run = {0};

    for (size_t i = 0; i < ledger->count; i++) {
        const struct journal_gap *gap = &ledger->gaps[i];
        if (gap->reason != reason)
            continue;
        if (run.to > 0 && gap->from <= run.to) {
            run.to = gap->to > run.to ? gap->to : run.to;
        } else if (run.to > position) {
            break;
        } else {
            run = *gap;
        }
    }
    return run;
}

int journal_find_gap(int ring_journal_fd, uint64_t position, struct journal_gap *ret_gap)
{
    struct journal_ledger ledger;
    struct journal_gap best = {0};
    int result = journal_ledger_load(ring_journal_fd, &ledger);

    if (result < 0)
        return result;
    for (size_t i = 0; i < ledger.count; i++) {
        const struct journal_gap *gap = &ledger.gaps[i];
        if (gap->from <= position && position < gap->to && gap->to > best.to)
            best = *gap;
    }
    if (best.to > 0) {
        qsort(ledger.gaps, ledger.count, sizeof(ledger.gaps[0]), by_position);
        struct journal_gap run = run_at(&ledger, best.reason, position);
        best.from = run.from;
        best.to = run.to;
        *ret_gap = best;
    }
    journal_ledger_free(&ledger);
    return best.to > 0 ? 0 : -ENOENT;
}

/* -- Appending ------------------------------------------------------------------------------------------- */

/* Not for the sake of what is to be written now: a file system that cannot is no fault, and no room is not one yet. */
static void keep_room(int fd, uint64_t end_bytes)
{
    struct stat st;

    if (jio_stat(fd, &st) == 0 && (uint64_t)st.st_size < end_bytes + ROOM_LOW_BYTES)
        jio_allocate(fd, 0, end_bytes + ROOM_BYTES);
}

int journal_ledger_make(int folder_fd, const struct journal_rights *rights)
{
    int fd = journal_file_make(folder_fd, JOURNAL_LEDGER_NAME, rights);
    if (fd < 0)
        return fd;

    keep_room(fd, 0);
    int result = jio_sync(fd);
    jio_close(fd);
    return result;
}

/* The file may be gone by somebody's hand; the directory is synced with it, once. */
static int open_ledger(struct journal_writer *writer)
{
    struct journal_rights rights = journal_rights_of(&writer->meta);
    int fd = journal_file_open(writer->folder_fd, JOURNAL_LEDGER_NAME, true);

    if (fd != -ENOENT)
        return fd;
    int result = journal_ledger_make(writer->folder_fd, &rights);
    if (result == 0) {
        result = jio_sync(writer->folder_fd);
        if (result < 0)
            journal_end(writer, result);
    }
    return result < 0 ? result : journal_file_open(writer->folder_fd, JOURNAL_LEDGER_NAME, true);
}

static int append(struct journal_writer *writer, const struct journal_gap *gap, uint64_t end_bytes)
{
    struct journal_ledger_entry entry = encode(gap);
    int fd = open_ledger(writer);
    if (fd < 0)
        return fd;

    int result = jio_write(fd, &entry, sizeof(entry), end_bytes);
    if (result == 0) {
        result = jio_sync_data(fd);
        if (result < 0)
            journal_end(writer, result);
        else
            keep_room(fd, end_bytes + sizeof(entry));
    }
    jio_close(fd);
    return result;
}

/* -- Keeping it small ------------------------------------------------------------------------------------ */

/* Retention notes a range for each segment that it removes: they join into one. What was lost or damaged stays as it was
 * noted. The gaps are sorted; returns how many are left. */
static size_t join_expired(struct journal_gap *gaps, size_t count)
{
    struct journal_gap *last = NULL;
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct journal_gap *gap = &gaps[i];
        if (last && gap->reason == JOURNAL_GAP_EXPIRED && gap->from <= last->to) {
            last->to = gap->to > last->to ? gap->to : last->to;
            last->time_ns = gap->time_ns > last->time_ns ? gap->time_ns : last->time_ns;
            continue;
        }
        gaps[kept] = *gap;
        if (gap->reason == JOURNAL_GAP_EXPIRED)
            last = &gaps[kept];
        kept++;
    }
    return kept;
}

/* Replaces the file by one with these entries; behind them the zeros that keep the room for later ones. */
static int replace(struct journal_writer *writer, const struct journal_gap *gaps, size_t count)
{
    struct journal_rights rights = journal_rights_of(&writer->meta);
    uint64_t bytes = count * ENTRY_BYTES + ROOM_BYTES;
    struct journal_ledger_entry *entries = calloc(1, bytes);
    bool sync_failed;

    if (!entries)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        entries[i] = encode(&gaps[i]);
    int result = journal_file_replace(writer->folder_fd, JOURNAL_LEDGER_NAME, &rights, entries, bytes, &sync_failed);
    free(entries);
    return sync_failed ? journal_end(writer, result) : result;
}

int journal_ledger_clean(struct journal_writer *writer)
{
    struct journal_ledger ledger;

    if (writer->error < 0)
        return writer->error;
    int result = journal_ledger_load(writer->folder_fd, &ledger);
    if (result < 0)
        return result;
    result = replace(writer, ledger.gaps, ledger.count);
    journal_ledger_free(&ledger);
    return result;
}

/*
 * Replaces the file by one with the same ranges in fewer entries, `gap` among them, if that halves it. 1: done; else the file
 * is as it was, or the writer has ended.
 */
static int compact(struct journal_writer *writer, struct journal_ledger *ledger, const struct journal_gap *gap)
{
    size_t room = ledger->count, count = ledger->count;

    int result = add_gap(ledger, &room, gap);
    if (result < 0)
        return result;
    qsort(ledger->gaps, ledger->count, sizeof(ledger->gaps[0]), by_position);
    size_t kept = join_expired(ledger->gaps, ledger->count);
    writer->ledger_compact_count = 2 * kept > COMPACT_COUNT ? 2 * kept : COMPACT_COUNT;
    if (kept > count / 2)
        return 0;
    result = replace(writer, ledger->gaps, kept);
    return result < 0 ? result : 1;
}

static int note_gap(struct journal_writer *writer, struct journal_ledger *ledger, const struct journal_gap *gap)
{
    uint64_t end_bytes = ledger->end_bytes;

    if (writer->ledger_compact_count == 0)
        writer->ledger_compact_count = COMPACT_COUNT;
    if (ledger->count >= writer->ledger_compact_count) {
        int result = compact(writer, ledger, gap);
        if (result == 1)
            return 0;
        /* A full disk has no room for a second file, but there still is some for one more entry. */
        if (result < 0 && (writer->error < 0 || !journal_may_pass(result)))
            return result;
    }
    if (end_bytes >= LEDGER_BYTES_MAX)
        return -EFBIG;
    return append(writer, gap, end_bytes);
}

/*
 * 1. An entry goes behind the last valid one, on 64-byte steps: over what a torn write left, never over an entry.
 * 2. When it returns 0, the range is on stable storage. A repeated range does no harm.
 */
int journal_note_gap(struct journal_writer *writer, const struct journal_gap *gap)
{
    struct journal_ledger ledger;

    if (writer->error < 0)
        return writer->error;
    if (gap->from >= gap->to)
        return -EINVAL;
    int result = journal_ledger_load(writer->folder_fd, &ledger);
    if (result < 0)
        return result;
    result = note_gap(writer, &ledger, gap);
    journal_ledger_free(&ledger);
    return result < 0 && !journal_may_pass(result) ? journal_end(writer, result) : result;
}
