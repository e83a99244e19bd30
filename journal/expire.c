/* SPDX-License-Identifier: Apache-2.0 */
/* Retention: taking away the oldest segments. */
#include <errno.h>

#include "journal/io.h"
#include "journal/pins.h"
#include "journal/segment.h"
#include "journal/spare.h"
#include "journal/writer.h"

/* A run of segments with files that may go, of those in writer->kept. */
struct run {
    size_t at, count;
    uint64_t to; /* the range that the ledger is told ends here */
};

static bool is_pinned(const struct journal_writer *writer, const struct journal_pin_list *pins, uint64_t segment)
{
    uint32_t shift = journal_shift(&writer->meta);

    return journal_pins_touch(pins, journal_segment_start(segment, shift), journal_segment_start(segment + 1, shift));
}

/* From run->at on. What has no file between two that go, has been told of before, and maybe as lost: so the run ends there. */
static void find_run(const struct journal_writer *writer, const struct journal_pin_list *pins, uint64_t below,
                     uint64_t most, struct run *run)
{
    const struct journal_kept *kept = &writer->kept;
    uint32_t shift = journal_shift(&writer->meta);

    while (run->at < kept->count && kept->segments[run->at] < below && is_pinned(writer, pins, kept->segments[run->at]))
        run->at++;
    for (run->count = 0; run->count < most; run->count++) {
        size_t i = run->at + run->count;
        if (i == kept->count || kept->segments[i] >= below || is_pinned(writer, pins, kept->segments[i]) ||
            (run->count > 0 && kept->segments[i] != kept->segments[i - 1] + 1))
            break;
        run->to = journal_segment_start(kept->segments[i] + 1, shift);
    }
}

static int take_one(struct journal_writer *writer, uint64_t segment)
{
    char name[JOURNAL_SEGMENT_NAME_BYTES];

    if (journal_spare_keep(writer, segment) == 0)
        return 0;
    journal_segment_name(segment, name);
    int result = jio_unlink(writer->folder_fd, name);
    if (result < 0 && result != -ENOENT)
        return result;
    journal_room_give(writer);
    return 0;
}

static int take_run(struct journal_writer *writer, const struct run *run, uint64_t *count)
{
    uint32_t shift = journal_shift(&writer->meta);
    struct journal_gap gap = {
        .from = journal_segment_start(writer->kept.segments[run->at], shift),
        .to = run->to,
        .time_ns = journal_wall_ns(),
        .epoch = writer->meta.identity.epoch,
        .reason = JOURNAL_GAP_EXPIRED,
    };
    size_t went = 0;

    int result = journal_note_gap(writer, &gap);
    while (result == 0 && went < run->count) {
        result = take_one(writer, writer->kept.segments[run->at + went]);
        went += result == 0;
    }
    journal_kept_cut(writer, run->at, went);
    *count += went;
    return result;
}

static int expire(struct journal_writer *writer, uint64_t below, uint64_t most, uint64_t *count)
{
    struct journal_pin_list pins = {0};
    struct run run = {0};
    int result = journal_pins_load(writer->folder_fd, &pins);

    while (result == 0 && *count < most) {
        find_run(writer, &pins, below, most - *count, &run);
        if (run.count == 0)
            break;
        result = take_run(writer, &run, count);
    }
    journal_pins_free(&pins);
    return result;
}

/*
 * 1. The range is durably in the ledger before the first file goes: no reader finds records missing without being told.
 * 2. Files go from the oldest on, so that what a death leaves is one stretch without holes, but for what pins cover.
 * 3. A file that this writer has open is not removed: it is being written to, or is not synced yet.
 * 4. Some files are kept, as spares, for segments to come.
 * 5. The pins are read, and obeyed, under their lock: see pins.c.
 */
int journal_expire_some(struct journal_writer *writer, uint64_t below_segment, uint64_t most, uint64_t *ret_count)
{
    *ret_count = 0;
    if (writer->error < 0)
        return writer->error;
    for (uint32_t i = 0; i < writer->file_count; i++) {
        if (writer->files[i].segment < below_segment)
            return -EBUSY;
    }
    int result = journal_kept_list(writer);
    if (result < 0 || writer->kept.count == 0 || writer->kept.segments[0] >= below_segment)
        return result;
    int lock_fd = journal_pins_lock(writer->folder_fd);
    if (lock_fd < 0)
        return lock_fd;
    result = expire(writer, below_segment, most, ret_count);
    jio_close(lock_fd);
    return result;
}

int journal_expire(struct journal_writer *writer, uint64_t below_segment)
{
    uint64_t count;

    return journal_expire_some(writer, below_segment, UINT64_MAX, &count);
}
