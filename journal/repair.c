/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing a journal that nobody writes to a state in which it can be opened, recovered and read without a new fault.
 *
 * 1. No record is written to, and no file that holds one goes. What cannot be read is noted in the ledger, and stays where it is;
 *    but what the ring in memory still has is not noted, since weird will write it again.
 * 2. `meta`: one block that does not check is written anew from the other. Where both are lost: ring id, name, segment size,
 *    epoch and its start are those of the segments' headers (if the epoch's first segments have expired, the start is that of the
 *    oldest kept); the lease is put above anything that can have been leased. How the ring was made (rights apart, which
 *    are the files') is known from the ring in memory, or lost: then it is as a ring made without options.
 * 3. `ledger`: entries stand for themselves; those that do not check are dropped. A range that they told is found again by its
 *    want of records, with its reason where that can be seen: between two epochs it was lost, else it is damaged.
 * 4. `names`: a producer's name that still can be read, and whose records are there, has the highest sequence among them. Other
 *    names are forgotten, and the cursors, since nothing proves a position: a reader begins at the oldest then, and misses none.
 * 5. A segment's header is written anew with the epoch that its records show.
 * 6. `pins` are left alone: only who made them knows what they were.
 * 7. Doing it twice is no harm; a death in between is answered by doing it again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/io.h"
#include "journal/ledger.h"
#include "journal/meta.h"
#include "journal/segment.h"
#include "journal/writer.h"

/* What a lease can be ahead of the last record: four times the memory of the largest ring, and as much again. */
#define LEASE_SEGMENTS_MAX ((uint64_t)8 * RING_SLOTS_MAX)

struct salvage {
    uint64_t hash;
    struct journal_name name; /* value: the highest sequence seen */
    bool seen;
};

struct repairing {
    const struct journal_repair *repair;
    int folder_fd;
    struct journal_meta meta;
    struct journal_writer *writer; /* NULL: dry run */
    bool rebuilt;                  /* `meta` was */
    bool names_damaged;
    struct salvage *salvaged;
    size_t salvaged_count;
    int steps;
};

static void step(struct repairing *repairing, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void step(struct repairing *repairing, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    repairing->steps++;
    repairing->repair->step(repairing->repair->ctx, text);
}

/* -- Meta ------------------------------------------------------------------------------------------------ */

static bool is_same(const struct journal_meta *a, const struct journal_meta *b)
{
    return memcmp(a->identity.ring_id, b->identity.ring_id, sizeof(a->identity.ring_id)) == 0 &&
           a->geometry.segment_shift == b->geometry.segment_shift && a->identity.epoch <= b->identity.epoch;
}

/* Above all that may have been leased: the last record, or the last file that was made, and the most that memory can be ahead. */
static int guess_lease(struct repairing *repairing, uint64_t *ret_lease)
{
    uint32_t shift = journal_shift(&repairing->meta);
    struct journal_segment_list files = {0};
    uint64_t end = 0;
    int result = journal_find_end(repairing->folder_fd, &repairing->meta, &end);

    if (result == 0)
        result = journal_list_segments(repairing->folder_fd, shift, &files);
    if (result < 0)
        return result;
    uint64_t last = journal_segment_of(end, shift);
    if (files.count > 0 && files.segments[files.count - 1] > last)
        last = files.segments[files.count - 1];
    journal_segment_list_free(&files);
    if (last + LEASE_SEGMENTS_MAX > UINT64_MAX >> shift)
        return -EOVERFLOW;
    *ret_lease = journal_segment_start(last + LEASE_SEGMENTS_MAX, shift);
    return 0;
}

static int rebuild_meta(struct repairing *repairing, const char *name)
{
    const struct journal_meta *known = repairing->repair->known;
    int result = 0;

    if (strcmp(repairing->meta.identity.name, name) != 0)
        return -ESTALE;
    if (known && is_same(&repairing->meta, known)) {
        uint64_t durable = repairing->meta.durable;
        repairing->meta = *known;
        repairing->meta.durable = durable > known->identity.start ? durable : known->identity.start;
        step(repairing, "meta: written anew, as the ring in memory says");
    } else {
        result = guess_lease(repairing, &repairing->meta.lease);
        if (result < 0)
            return result;
        step(repairing,
             "meta: written anew from the segments' headers: epoch %" PRIu64 " from %" PRIu64 ", leased up to %" PRIu64
             ". How the ring was made is lost: it comes back shared, blocking, with a limit of %" PRIu64 " bytes",
             repairing->meta.identity.epoch, repairing->meta.identity.start, repairing->meta.lease,
             repairing->meta.geometry.memory_limit_bytes);
    }
    return repairing->repair->dry_run ? 0 : journal_meta_replace(repairing->folder_fd, &repairing->meta);
}

/* -- Names ----------------------------------------------------------------------------------------------- */

static int by_hash(const void *a, const void *b)
{
    const struct salvage *left = a, *right = b;

    return (left->hash > right->hash) - (left->hash < right->hash);
}

static int find_names(struct repairing *repairing)
{
    struct journal_names names;
    int result = journal_salvage_names(repairing->folder_fd, &names);

    if (result < 0)
        return result;
    repairing->salvaged = calloc(names.producer_count + 1u, sizeof(*repairing->salvaged));
    if (!repairing->salvaged) {
        journal_free_names(&names);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < names.producer_count; i++)
        repairing->salvaged[i] =
            (struct salvage){.hash = ring_producer_hash(names.producers[i].name), .name = names.producers[i]};
    repairing->salvaged_count = names.producer_count;
    qsort(repairing->salvaged, names.producer_count, sizeof(*repairing->salvaged), by_hash);
    journal_free_names(&names);
    return 0;
}

static void take_record(void *ctx, const struct ring_item *item)
{
    struct repairing *repairing = ctx;
    struct ring_meta properties;
    uint32_t bytes;

    if (repairing->salvaged_count == 0 || !(item->flags & RING_FLAG_PROPERTIES) ||
        ring_meta_get(item->body, item->body_bytes, item->flags, &properties, &bytes) < 0 ||
        !(properties.present & RING_HAS_SEQUENCE))
        return;
    struct salvage wanted = {.hash = properties.producer};
    struct salvage *found = bsearch(&wanted, repairing->salvaged, repairing->salvaged_count, sizeof(wanted), by_hash);
    if (!found)
        return;
    if (!found->seen || properties.sequence > found->name.value)
        found->name.value = properties.sequence;
    found->seen = true;
}

static int rebuild_names(struct repairing *repairing, uint64_t end)
{
    struct journal_names names = {.position = end};

    names.producers = calloc(repairing->salvaged_count + 1, sizeof(*names.producers));
    if (!names.producers)
        return -ENOMEM;
    for (size_t i = 0; i < repairing->salvaged_count; i++) {
        if (repairing->salvaged[i].seen)
            names.producers[names.producer_count++] = repairing->salvaged[i].name;
    }
    step(repairing,
         "names: written anew: %" PRIu32
         " publishers' last sequences are those of their records; other publishers' and the "
         "readers' saved positions are lost",
         names.producer_count);
    int result = repairing->writer ? journal_save_names(repairing->writer, &names) : 0;
    journal_free_names(&names);
    return result;
}

/* -- Faults ---------------------------------------------------------------------------------------------- */

static int mend_header(struct repairing *repairing, const struct journal_fault *fault)
{
    struct journal_meta meta = repairing->meta;
    uint64_t segment;

    if (fault->epoch == 0 || !journal_segment_number(fault->file, &segment)) {
        step(repairing, "%s: its header is damaged, and its epoch is not known: it stays", fault->file);
        return 0;
    }
    step(repairing, "%s: its header is written anew, epoch %" PRIu64, fault->file, fault->epoch);
    if (!repairing->writer)
        return 0;
    int fd = journal_file_open(repairing->folder_fd, fault->file, true);
    if (fd < 0)
        return fd;
    meta.identity.epoch = fault->epoch;
    int result = journal_segment_write_header(fd, &meta, segment);
    if (result == 0)
        result = jio_sync_data(fd);
    jio_close(fd);
    return result;
}

static int note_records(struct repairing *repairing, const struct journal_fault *fault)
{
    uint64_t again_from = repairing->repair->again_from;
    uint64_t to = fault->to < again_from ? fault->to : again_from;
    uint64_t rest = fault->from > again_from ? fault->from : again_from;
    struct journal_gap gap = {.from = fault->from,
                              .to = to,
                              .time_ns = journal_wall_ns(),
                              .epoch = repairing->meta.identity.epoch,
                              .reason = fault->reason};

    if (fault->known)
        return 0;
    if (rest < fault->to)
        step(repairing,
             "%s: positions %" PRIu64 " to %" PRIu64
             " stay as they are (%s): memory has them, and weird, once it is started, writes them again",
             fault->file, rest, fault->to, fault->what);
    if (fault->from >= to)
        return 0;
    step(repairing, "ledger: positions %" PRIu64 " to %" PRIu64 " are noted as %s (%s, from byte %" PRIu64 ": %s)",
         fault->from, to, fault->reason == JOURNAL_GAP_LOST ? "lost" : "damaged", fault->file, fault->offset,
         fault->what);
    return repairing->writer ? journal_note_gap(repairing->writer, &gap) : 0;
}

static int take_fault(void *ctx, const struct journal_fault *fault)
{
    struct repairing *repairing = ctx;

    switch (fault->kind) {
    case JOURNAL_FAULT_META:
        if (repairing->rebuilt) /* told already, both of them */
            return 0;
        step(repairing, "meta: the block at byte %" PRIu64 " is written anew", fault->offset);
        return repairing->writer ? journal_set_meta(repairing->writer, &repairing->meta) : 0;
    case JOURNAL_FAULT_LEDGER:
        step(repairing, "ledger: written anew without %" PRIu64 " entries that do not check",
             fault->bytes / sizeof(struct journal_ledger_entry));
        return repairing->writer ? journal_ledger_clean(repairing->writer) : 0;
    case JOURNAL_FAULT_NAMES:
        repairing->names_damaged = true;
        return find_names(repairing);
    case JOURNAL_FAULT_PINS:
        return 0;
    case JOURNAL_FAULT_HEADER:
        return mend_header(repairing, fault);
    case JOURNAL_FAULT_RECORDS:
        return note_records(repairing, fault);
    }
    return 0;
}

static int take_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    const struct repairing *repairing = ctx;

    return repairing->repair->progress ? repairing->repair->progress(repairing->repair->ctx, done_bytes, total_bytes)
                                       : 0;
}

/* -- All of it ------------------------------------------------------------------------------------------- */

static int work(struct repairing *repairing)
{
    const struct journal_watch watch = {take_fault, take_progress, take_record, repairing};
    uint64_t end = 0;
    int result = journal_verify(repairing->folder_fd, &repairing->meta, UINT64_MAX, &watch, &end);

    /* What follows makes durable what was read, so that no power loss changes what is said now. */
    if (result == 0 && repairing->writer)
        result = journal_recover(repairing->writer, UINT64_MAX, repairing->repair->again_from, NULL, NULL, &end);
    if (result == 0 && repairing->names_damaged)
        result = rebuild_names(repairing, end);
    return result;
}

static int run(struct repairing *repairing, int journal_fd, const char *name)
{
    int result = journal_is_live(repairing->folder_fd);

    if (result != 0)
        return result > 0 ? -EBUSY : result;
    result = journal_look(repairing->folder_fd, &repairing->meta, &repairing->rebuilt);
    if (result == 0 && repairing->rebuilt)
        result = rebuild_meta(repairing, name);
    if (result == 0 && !repairing->repair->dry_run)
        result = journal_open(journal_fd, name, &repairing->writer, &repairing->meta);
    if (result == 0)
        result = work(repairing);
    journal_close(repairing->writer);
    free(repairing->salvaged);
    return result;
}

int journal_repair(int journal_fd, const char *name, const struct journal_repair *repair)
{
    struct repairing repairing = {.repair = repair};
    int result = journal_name_check(name);

    if (result < 0)
        return result;
    repairing.folder_fd = journal_folder_open(journal_fd, name);
    if (repairing.folder_fd < 0)
        return repairing.folder_fd;
    result = run(&repairing, journal_fd, name);
    jio_close(repairing.folder_fd);
    return result != 0 ? result : repairing.steps;
}
