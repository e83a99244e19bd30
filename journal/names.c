/* SPDX-License-Identifier: Apache-2.0 */
/* The file `names`: last sequences of named publishers, positions of cursors. Replaced whole, so it is old or new. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal/io.h"
#include "journal/writer.h"

/* More than a ring can have, and little enough to be read at once. */
#define NAMES_COUNT_MAX (1u << 16)

static uint32_t names_crc(const struct journal_names_header *header, const struct journal_name_entry *entries)
{
    uint32_t crc = journal_crc32c(0, header, offsetof(struct journal_names_header, crc));
    uint64_t count = (uint64_t)header->producer_count + header->cursor_count;

    return journal_crc32c(crc, entries, count * sizeof(*entries));
}

/* -- Saving ---------------------------------------------------------------------------------------------- */

static int put_entries(struct journal_name_entry *entries, const struct journal_name *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t length = strnlen(names[i].name, RING_NAME_BYTES);
        if (length == RING_NAME_BYTES)
            return -EINVAL;
        memcpy(entries[i].name, names[i].name, length);
        entries[i].value = names[i].value;
    }
    return 0;
}

static int encode(const struct journal_writer *writer, const struct journal_names *names, uint8_t *bytes)
{
    struct journal_names_header header = {
        .magic = JOURNAL_NAMES_MAGIC,
        .layout_version = JOURNAL_LAYOUT_VERSION,
        .producer_count = names->producer_count,
        .cursor_count = names->cursor_count,
        .position = names->position,
    };
    struct journal_name_entry *entries = (struct journal_name_entry *)(bytes + sizeof(header));

    memcpy(header.ring_id, writer->meta.identity.ring_id, sizeof(header.ring_id));
    int result = put_entries(entries, names->producers, names->producer_count);
    if (result == 0)
        result = put_entries(entries + names->producer_count, names->cursors, names->cursor_count);
    header.crc = names_crc(&header, entries);
    memcpy(bytes, &header, sizeof(header));
    return result;
}

int journal_save_names(struct journal_writer *writer, const struct journal_names *names)
{
    struct journal_rights rights = journal_rights_of(&writer->meta);
    bool sync_failed = false;

    if (writer->error < 0)
        return writer->error;
    if (names->producer_count > NAMES_COUNT_MAX || names->cursor_count > NAMES_COUNT_MAX)
        return -EINVAL;
    uint64_t count = (uint64_t)names->producer_count + names->cursor_count;
    uint64_t bytes = sizeof(struct journal_names_header) + count * sizeof(struct journal_name_entry);
    uint8_t *content = calloc(1, bytes);
    if (!content)
        return -ENOMEM;
    int result = encode(writer, names, content);
    if (result == 0) {
        result = journal_file_replace(writer->folder_fd, JOURNAL_NAMES_NAME, &rights, content, bytes, &sync_failed);
        if (result < 0 && (sync_failed || !journal_may_pass(result)))
            journal_end(writer, result);
    }
    free(content);
    return result;
}

/* -- Loading --------------------------------------------------------------------------------------------- */

static int check_header(const uint8_t ring_id[16], const struct journal_names_header *header)
{
    if (header->magic != JOURNAL_NAMES_MAGIC || header->producer_count > NAMES_COUNT_MAX ||
        header->cursor_count > NAMES_COUNT_MAX)
        return -EBADMSG;
    if (header->layout_version != JOURNAL_LAYOUT_VERSION)
        return -EPROTONOSUPPORT;
    if (memcmp(header->ring_id, ring_id, sizeof(header->ring_id)) != 0)
        return -ESTALE;
    return 0;
}

static int take_entries(const struct journal_name_entry *entries, uint32_t count, struct journal_name **ret_names)
{
    struct journal_name *names = calloc(count ? count : 1, sizeof(*names));
    if (!names)
        return -ENOMEM;

    *ret_names = names;
    for (uint32_t i = 0; i < count; i++) {
        if (memchr(entries[i].name, '\0', sizeof(entries[i].name)) == NULL)
            return -EBADMSG;
        memcpy(names[i].name, entries[i].name, sizeof(names[i].name));
        names[i].value = entries[i].value;
    }
    return 0;
}

static int decode(const struct journal_names_header *header, const struct journal_name_entry *entries,
                  struct journal_names *ret_names)
{
    struct journal_names names = {
        .position = header->position,
        .producer_count = header->producer_count,
        .cursor_count = header->cursor_count,
    };

    if (header->crc != names_crc(header, entries))
        return -EBADMSG;
    int result = take_entries(entries, names.producer_count, &names.producers);
    if (result == 0)
        result = take_entries(entries + names.producer_count, names.cursor_count, &names.cursors);
    if (result < 0) {
        journal_free_names(&names);
        return result;
    }
    *ret_names = names;
    return 0;
}

static int load(const uint8_t ring_id[16], int fd, struct journal_names *ret_names)
{
    struct journal_names_header header;
    int64_t got = jio_read(fd, &header, sizeof(header), 0);

    if (got < 0)
        return (int)got;
    int result = (uint64_t)got < sizeof(header) ? -EBADMSG : check_header(ring_id, &header);
    if (result < 0)
        return result;
    uint64_t bytes = ((uint64_t)header.producer_count + header.cursor_count) * sizeof(struct journal_name_entry);
    struct journal_name_entry *entries = malloc(bytes ? bytes : 1);
    if (!entries)
        return -ENOMEM;
    got = jio_read(fd, entries, bytes, sizeof(header));
    if (got < 0)
        result = (int)got;
    else
        result = (uint64_t)got < bytes ? -EBADMSG : decode(&header, entries, ret_names);
    free(entries);
    return result;
}

int journal_read_names(int ring_journal_fd, const uint8_t ring_id[16], struct journal_names *ret_names)
{
    int fd = journal_file_open(ring_journal_fd, JOURNAL_NAMES_NAME, false);
    if (fd == -ENOENT) {
        *ret_names = (struct journal_names){0};
        return 0;
    }
    if (fd < 0)
        return fd;

    int result = load(ring_id, fd, ret_names);
    jio_close(fd);
    return result;
}

/* Nothing vouches for them: the file does not check. */
int journal_salvage_names(int folder_fd, struct journal_names *ret_names)
{
    struct journal_names names = {0};
    int fd = journal_file_open(folder_fd, JOURNAL_NAMES_NAME, false);
    if (fd < 0)
        return fd;

    uint64_t at = sizeof(struct journal_names_header);
    names.producers = calloc(2 * NAMES_COUNT_MAX, sizeof(*names.producers));
    int64_t got = names.producers ? 0 : -ENOMEM;
    while (got >= 0 && names.producer_count < 2 * NAMES_COUNT_MAX) {
        struct journal_name_entry entry;
        got = jio_read(fd, &entry, sizeof(entry), at);
        if (got < (int64_t)sizeof(entry))
            break;
        at += sizeof(entry);
        if (memchr(entry.name, '\0', sizeof(entry.name)) == NULL || journal_name_check(entry.name) < 0)
            continue;
        struct journal_name *name = &names.producers[names.producer_count++];
        memcpy(name->name, entry.name, sizeof(name->name));
        name->value = entry.value;
    }
    jio_close(fd);
    if (got < 0 && got != -EIO) {
        journal_free_names(&names);
        return (int)got;
    }
    *ret_names = names;
    return 0;
}

int journal_load_names(struct journal_writer *writer, struct journal_names *ret_names)
{
    return journal_read_names(writer->folder_fd, writer->meta.identity.ring_id, ret_names);
}

void journal_free_names(struct journal_names *names)
{
    free(names->producers);
    free(names->cursors);
    *names = (struct journal_names){0};
}
