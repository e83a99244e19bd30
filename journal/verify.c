/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checking a journal, live or dead, without writing to it.
 *
 * 1. Every record up to the limit is read and its CRC checked, by the reader that subscribers use. What cannot be read is a
 *    range; of it only what the ledger does not tell is new.
 * 2. A header that does not check costs no record, and is a fault all the same: so many of them in a row would.
 * 3. Behind the end there may be anything: files made ahead of need, what an interrupted write left. It is not looked at.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal/io.h"
#include "journal/ledger.h"
#include "journal/meta.h"
#include "journal/reader.h"
#include "journal/segment.h"
#include "journal/walk.h"

/* The kernel is asked for so much ahead of what is being checked, so that disk and processor work at the same time. */
#define AHEAD_BYTES (8u << 20)
#define PROGRESS_BYTES (4u << 20)

struct survey {
    int folder_fd;
    const struct journal_meta *meta;
    uint64_t limit;
    const struct journal_watch *watch;
    struct journal_walk walk;
    struct journal_segment_list files;
    size_t at, ahead; /* of files: being read, asked for */
    uint64_t told;    /* position at which progress was told */
    uint64_t segment; /* of the last record */
    uint64_t epoch;   /* of that segment; 0: none yet */
    bool begun;
};

static int tell(const struct survey *survey, const struct journal_fault *fault)
{
    return survey->watch->fault(survey->watch->ctx, fault);
}

static bool is_damage(int result)
{
    return result == -EBADMSG || result == -EPROTONOSUPPORT || result == -ESTALE || result == -EMEDIUMTYPE;
}

/* -- The small files ------------------------------------------------------------------------------------- */

static int check_meta_block(const struct survey *survey, int fd, uint32_t block)
{
    int result = journal_meta_check_block(fd, block);

    if (is_damage(result)) /* it may be the one that is being written */
        result = journal_meta_check_block(fd, block);
    if (!is_damage(result))
        return result;
    return tell(survey, &(struct journal_fault){.kind = JOURNAL_FAULT_META,
                                                .file = JOURNAL_META_NAME,
                                                .offset = (uint64_t)block * JOURNAL_BLOCK_BYTES,
                                                .bytes = JOURNAL_BLOCK_BYTES,
                                                .what = "one of the two blocks that say what the journal is"});
}

static int check_meta(const struct survey *survey)
{
    int fd = journal_file_open(survey->folder_fd, JOURNAL_META_NAME, false);

    if (fd == -ENOENT || fd == -EMEDIUMTYPE)
        return tell(survey, &(struct journal_fault){
                                .kind = JOURNAL_FAULT_META, .file = JOURNAL_META_NAME, .what = "the file is missing"});
    if (fd < 0)
        return fd;
    int result = check_meta_block(survey, fd, 0);
    if (result == 0)
        result = check_meta_block(survey, fd, 1);
    jio_close(fd);
    return result;
}

static int check_ledger(const struct survey *survey)
{
    struct journal_ledger ledger;
    int result = journal_ledger_load(survey->folder_fd, &ledger);

    if (result < 0)
        return result;
    if (ledger.bad_count > 0)
        result = tell(survey, &(struct journal_fault){.kind = JOURNAL_FAULT_LEDGER,
                                                      .file = JOURNAL_LEDGER_NAME,
                                                      .offset = ledger.bad_bytes,
                                                      .bytes = ledger.bad_count * sizeof(struct journal_ledger_entry),
                                                      .what = "entries that do not check"});
    journal_ledger_free(&ledger);
    return result;
}

static int check_names(const struct survey *survey)
{
    struct journal_names names;
    int result = journal_read_names(survey->folder_fd, survey->meta->identity.ring_id, &names);

    if (result == 0)
        journal_free_names(&names);
    if (!is_damage(result))
        return result;
    return tell(survey, &(struct journal_fault){.kind = JOURNAL_FAULT_NAMES,
                                                .file = JOURNAL_NAMES_NAME,
                                                .what = "last sequences and saved positions do not check"});
}

static int pass_pin(void *ctx, const struct journal_pin *pin)
{
    (void)ctx;
    (void)pin;
    return 0;
}

static int check_pins(const struct survey *survey)
{
    int result = journal_pins(survey->folder_fd, pass_pin, NULL);

    if (!is_damage(result))
        return result;
    return tell(survey, &(struct journal_fault){.kind = JOURNAL_FAULT_PINS,
                                                .file = JOURNAL_PINS_NAME,
                                                .what = "the pinned ranges do not check: nothing expires"});
}

/* -- Reading ahead and telling how far ------------------------------------------------------------------- */

static void read_ahead(struct survey *survey)
{
    size_t count = 1 + (AHEAD_BYTES >> survey->walk.shift);
    char name[JOURNAL_SEGMENT_NAME_BYTES];

    for (; survey->ahead < survey->files.count && survey->ahead <= survey->at + count; survey->ahead++) {
        journal_segment_name(survey->files.segments[survey->ahead], name);
        int fd = journal_file_open(survey->folder_fd, name, false);
        if (fd >= 0)
            jio_will_need(fd);
        jio_close(fd);
    }
}

static int progress(struct survey *survey, uint64_t position)
{
    uint64_t bytes = journal_segment_bytes(survey->walk.shift), start = survey->files.count * bytes;

    if (!survey->watch->progress)
        return 0;
    survey->told = position;
    if (survey->at < survey->files.count) {
        uint64_t from = journal_segment_start(survey->files.segments[survey->at], survey->walk.shift);
        start = survey->at * bytes + (position > from ? (position - from < bytes ? position - from : bytes) : 0);
    }
    return survey->watch->progress(survey->watch->ctx, start, survey->files.count * bytes);
}

/* -- Records --------------------------------------------------------------------------------------------- */

/* *ret_epoch: what the header tells, or, where it does not check, the records of the segment: *ret_fault. */
static int find_epoch(const struct survey *survey, uint64_t segment, const char *name, uint64_t *ret_epoch,
                      bool *ret_fault)
{
    struct journal_place place = {survey->meta->identity.ring_id, survey->walk.shift, segment};
    uint64_t epochs[JOURNAL_EPOCHS_MAX];
    int fd = journal_file_open(survey->folder_fd, name, false);
    if (fd < 0)
        return fd;

    int result = journal_segment_read_header(fd, &place, ret_epoch);
    jio_close(fd);
    *ret_fault = is_damage(result) || result == -EIO;
    if (!*ret_fault)
        return result;
    int count = journal_segment_guess_epochs(survey->folder_fd, &place, epochs);
    int which = count < 0 ? -1 : journal_reader_which_epoch(survey->walk.reader, epochs, count);
    *ret_epoch = which < 0 ? 0 : epochs[which];
    return count < 0 ? count : 0;
}

/* The first record of another segment. */
static int enter(struct survey *survey, uint64_t segment)
{
    char name[JOURNAL_SEGMENT_NAME_BYTES];
    uint64_t epoch = 0;
    bool fault;

    journal_segment_name(segment, name);
    int result = find_epoch(survey, segment, name, &epoch, &fault);
    if (result < 0)
        return result == -ENOENT ? 0 : result; /* it has just expired */
    survey->begun = true;
    survey->segment = segment;
    survey->epoch = epoch ? epoch : survey->epoch;
    while (survey->at < survey->files.count && survey->files.segments[survey->at] < segment)
        survey->at++;
    read_ahead(survey);
    if (fault)
        result = tell(survey, &(struct journal_fault){.kind = JOURNAL_FAULT_HEADER,
                                                      .file = name,
                                                      .bytes = JOURNAL_BLOCK_BYTES,
                                                      .epoch = epoch,
                                                      .what = "the segment's header does not check"});
    return result == 0 ? progress(survey, journal_segment_start(segment, survey->walk.shift)) : result;
}

struct part {
    struct survey *survey;
    const struct journal_range *range;
    uint32_t reason;
};

static int tell_records(const struct part *part, uint64_t from, uint64_t to, bool missing, bool known)
{
    const struct survey *survey = part->survey;
    uint32_t shift = survey->walk.shift;
    char name[JOURNAL_SEGMENT_NAME_BYTES];

    journal_segment_name(journal_segment_of(from, shift), name);
    return tell(survey, &(struct journal_fault){.kind = JOURNAL_FAULT_RECORDS,
                                                .file = name,
                                                .offset = JOURNAL_BLOCK_BYTES + journal_offset_of(from, shift),
                                                .bytes = to - from,
                                                .from = from,
                                                .to = to,
                                                .reason = part->reason,
                                                .known = known,
                                                .what = part->reason == JOURNAL_GAP_LOST
                                                            ? "the end of an epoch, which nothing tells"
                                                        : missing                    ? "there is no such file"
                                                        : part->range->error == -EIO ? "the disk cannot read it"
                                                                                     : "records that do not check"});
}

static int by_number(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static bool has_file(const struct survey *survey, uint64_t segment)
{
    return survey->files.count > 0 &&
           bsearch(&segment, survey->files.segments, survey->files.count, sizeof(uint64_t), by_number) != NULL;
}

/* To the end of the segment; of all that are missing in a row; of the whole, where it was lost. */
static uint64_t part_end(const struct part *part, uint64_t from, uint64_t to, bool missing)
{
    uint32_t shift = part->survey->walk.shift;
    uint64_t end = from;

    if (part->reason == JOURNAL_GAP_LOST)
        return to;
    do
        end = journal_segment_start(journal_segment_of(end, shift) + 1, shift);
    while (missing && end < to && !has_file(part->survey, journal_segment_of(end, shift)));
    return end < to ? end : to;
}

static int tell_part(void *ctx, uint64_t from, uint64_t to, const struct journal_gap *gap)
{
    const struct part *part = ctx;
    int result = 0;

    if (gap && gap->reason != JOURNAL_GAP_DAMAGED)
        return 0;
    while (result == 0 && from < to) {
        bool missing = !has_file(part->survey, journal_segment_of(from, part->survey->walk.shift));
        uint64_t end = part_end(part, from, to, missing);
        result = tell_records(part, from, end, missing, gap != NULL);
        from = end;
    }
    return result;
}

/* Between two epochs there is a range that was never used, or lost with the memory. */
static uint32_t reason_of(struct survey *survey, const struct journal_range *range)
{
    uint64_t segment = journal_segment_of(range->to, survey->walk.shift), epoch = 0;
    struct journal_place place = {survey->meta->identity.ring_id, survey->walk.shift, segment};
    char name[JOURNAL_SEGMENT_NAME_BYTES];

    if (journal_offset_of(range->to, survey->walk.shift) != 0 || survey->walk.over || survey->epoch == 0)
        return JOURNAL_GAP_DAMAGED;
    journal_segment_name(segment, name);
    int fd = journal_file_open(survey->folder_fd, name, false);
    int result = fd < 0 ? fd : journal_segment_read_header(fd, &place, &epoch);
    jio_close(fd);
    return result == 0 && epoch > survey->epoch ? JOURNAL_GAP_LOST : JOURNAL_GAP_DAMAGED;
}

/* The ledger is read now: what expires while this runs is in it before it goes. */
static int take_range(struct survey *survey, const struct journal_range *range)
{
    struct part part = {survey, range, reason_of(survey, range)};
    struct journal_ledger ledger;
    int result = journal_ledger_load(survey->folder_fd, &ledger);

    if (result < 0)
        return result;
    result = journal_ledger_parts(&ledger, range->from, range->to, tell_part, &part);
    journal_ledger_free(&ledger);
    return result;
}

static int take_record(struct survey *survey, const struct ring_item *item)
{
    uint64_t segment = journal_segment_of(item->position, survey->walk.shift);
    int result = 0;

    if (!survey->begun || segment != survey->segment)
        result = enter(survey, segment);
    else if (item->position - survey->told >= PROGRESS_BYTES)
        result = progress(survey, item->position);
    if (survey->watch->record)
        survey->watch->record(survey->watch->ctx, item);
    return result;
}

static int check_records(struct survey *survey, uint64_t *ret_end)
{
    struct journal_range range;
    struct ring_item item;
    int result = 0, next;

    read_ahead(survey);
    while (result == 0 && (next = journal_walk_next(&survey->walk, &item, &range)) != 0) {
        if (next < 0)
            return next;
        result = next == 1 ? take_record(survey, &item) : take_range(survey, &range);
    }
    if (result != 0)
        return result;
    *ret_end = journal_walk_position(&survey->walk);
    survey->at = survey->files.count;
    return progress(survey, *ret_end);
}

/* -- All of it ------------------------------------------------------------------------------------------- */

/* Where the first file that there is begins; what is below is gone, and said to be. */
static uint64_t first_position(const struct survey *survey)
{
    const struct journal_meta *meta = survey->meta;

    if (survey->files.count == 0)
        return meta->identity.start;
    uint64_t first = journal_segment_start(survey->files.segments[0], journal_shift(meta));
    return first < survey->limit ? first : survey->limit;
}

static void drop_above(struct journal_segment_list *files, uint32_t shift, uint64_t limit)
{
    while (files->count > 0 && journal_segment_start(files->segments[files->count - 1], shift) >= limit)
        files->count--;
}

int journal_verify(int ring_journal_fd, const struct journal_meta *meta, uint64_t limit,
                   const struct journal_watch *watch, uint64_t *ret_end)
{
    struct survey survey = {.folder_fd = ring_journal_fd, .meta = meta, .limit = limit, .watch = watch};
    uint32_t shift = journal_shift(meta);
    int result = journal_list_segments(ring_journal_fd, shift, &survey.files);

    if (result < 0)
        return result;
    drop_above(&survey.files, shift, limit);
    result = journal_walk_open(&survey.walk, ring_journal_fd, meta, first_position(&survey), meta->durable, limit);
    if (result == 0)
        result = check_meta(&survey);
    if (result == 0)
        result = check_ledger(&survey);
    if (result == 0)
        result = check_names(&survey);
    if (result == 0)
        result = check_pins(&survey);
    if (result == 0)
        result = check_records(&survey, ret_end);
    journal_walk_close(&survey.walk);
    journal_segment_list_free(&survey.files);
    return result;
}

int journal_find_end(int ring_journal_fd, const struct journal_meta *meta, uint64_t *ret_end)
{
    uint64_t from = meta->durable > meta->identity.start ? meta->durable : meta->identity.start;
    struct journal_walk walk;
    struct journal_range range;
    struct ring_item item;
    int result = journal_walk_open(&walk, ring_journal_fd, meta, from, from, UINT64_MAX);

    if (result < 0)
        return result;
    while ((result = journal_walk_next(&walk, &item, &range)) > 0)
        ;
    if (result == 0)
        *ret_end = journal_walk_position(&walk);
    journal_walk_close(&walk);
    return result;
}
