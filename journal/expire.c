/* SPDX-License-Identifier: Apache-2.0 */
/* Retention: taking away the oldest segments. */
#include <errno.h>

#include "journal/io.h"
#include "journal/segment.h"
#include "journal/spare.h"
#include "journal/writer.h"

static int take_away(struct journal_writer *writer, const struct journal_segment_list *files, uint64_t below)
{
    char name[JOURNAL_SEGMENT_NAME_BYTES];

    for (size_t i = 0; i < files->count && files->segments[i] < below; i++) {
        if (journal_spare_keep(writer, files->segments[i]) == 0)
            continue;
        journal_segment_name(files->segments[i], name);
        int result = jio_unlink(writer->folder_fd, name);
        if (result < 0 && result != -ENOENT)
            return result;
    }
    return 0;
}

/*
 * 1. The range is durably in the ledger before the first file goes: no reader finds records missing without being told.
 * 2. Files go from the oldest on, so that what a death leaves is one stretch without holes.
 * 3. A file that this writer has open is not removed: it is being written to, or is not synced yet.
 * 4. Some files are kept, as spares, for segments to come.
 */
int journal_expire(struct journal_writer *writer, uint64_t below_segment)
{
    uint32_t shift = writer->meta.geometry.segment_shift;
    struct journal_segment_list files;

    if (writer->error < 0)
        return writer->error;
    for (uint32_t i = 0; i < writer->file_count; i++) {
        if (writer->files[i].segment < below_segment)
            return -EBUSY;
    }
    int result = journal_list_segments(writer->folder_fd, shift, &files);
    if (result < 0)
        return result;
    if (files.count > 0 && files.segments[0] < below_segment) {
        struct journal_gap gap = {
            .from = journal_segment_start(files.segments[0], shift),
            .to = journal_segment_start(below_segment, shift),
            .time_ns = journal_wall_ns(),
            .epoch = writer->meta.identity.epoch,
            .reason = JOURNAL_GAP_EXPIRED,
        };
        result = journal_note_gap(writer, &gap);
        if (result == 0)
            result = take_away(writer, &files, below_segment);
    }
    journal_segment_list_free(&files);
    return result;
}
