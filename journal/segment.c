/* SPDX-License-Identifier: Apache-2.0 */
/* Names, headers, making and reopening of segment files. */
#include "journal/segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "journal/io.h"
#include "journal/meta.h"

/* -- Names ----------------------------------------------------------------------------------------------- */

void journal_segment_name(uint64_t segment, char ret_name[JOURNAL_SEGMENT_NAME_BYTES])
{
    snprintf(ret_name, JOURNAL_SEGMENT_NAME_BYTES, "%016llx.seg", (unsigned long long)segment);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool journal_numbered(const char *name, const char *suffix, uint64_t *ret_number)
{
    uint64_t number = 0;

    for (int i = 0; i < 16; i++) {
        int digit = hex_digit(name[i]);
        if (digit < 0)
            return false;
        number = number << 4 | (uint64_t)digit;
    }
    *ret_number = number;
    return strcmp(name + 16, suffix) == 0;
}

bool journal_segment_number(const char *name, uint64_t *ret_segment)
{
    /* No position has a segment number above: see RING_SEGMENT_SHIFT_MIN. */
    return journal_numbered(name, ".seg", ret_segment) && *ret_segment <= UINT64_MAX >> RING_SEGMENT_SHIFT_MIN;
}

struct listing {
    struct journal_segment_list list;
    size_t room;
    uint32_t shift;
};

static int list_one(void *ctx, const char *name)
{
    struct listing *listing = ctx;
    uint64_t segment;

    if (!journal_segment_number(name, &segment) || segment > UINT64_MAX >> listing->shift)
        return 0;
    if (listing->list.count == listing->room) {
        size_t room = listing->room ? 2 * listing->room : 64;
        uint64_t *segments = realloc(listing->list.segments, room * sizeof(*segments));
        if (!segments)
            return -ENOMEM;
        listing->list.segments = segments;
        listing->room = room;
    }
    listing->list.segments[listing->list.count++] = segment;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

int journal_list_segments(int folder_fd, uint32_t shift, struct journal_segment_list *ret_list)
{
    struct listing listing = {.shift = shift};
    int result = jio_list(folder_fd, list_one, &listing);

    if (result < 0) {
        free(listing.list.segments);
        return result;
    }
    if (listing.list.count > 0)
        qsort(listing.list.segments, listing.list.count, sizeof(uint64_t), by_number);
    *ret_list = listing.list;
    return 0;
}

void journal_segment_list_free(struct journal_segment_list *list)
{
    free(list->segments);
    *list = (struct journal_segment_list){0};
}

/* -- Header block ---------------------------------------------------------------------------------------- */

static uint32_t header_crc(const struct journal_segment_header *header)
{
    return journal_crc32c(0, header, offsetof(struct journal_segment_header, crc));
}

bool journal_segment_header_checks(const struct journal_segment_header *header)
{
    return header->crc == header_crc(header) && header->magic == JOURNAL_SEGMENT_MAGIC &&
           header->layout_version == JOURNAL_LAYOUT_VERSION && header->format_signature == RING_FORMAT_SIGNATURE &&
           memchr(header->name, '\0', sizeof(header->name)) != NULL;
}

uint64_t journal_wall_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int read_header(int fd, const struct journal_place *place, struct journal_segment_header *header)
{
    int64_t got = jio_read(fd, header, sizeof(*header), 0);

    if (got < 0)
        return (int)got;
    if ((uint64_t)got < sizeof(*header))
        return -EBADMSG;
    /* The CRC first: `meta` has told the version already, so that a header that seems to be of another one is damaged. */
    if (header->crc != header_crc(header) || header->magic != JOURNAL_SEGMENT_MAGIC)
        return -EBADMSG;
    if (header->layout_version != JOURNAL_LAYOUT_VERSION || header->format_signature != RING_FORMAT_SIGNATURE)
        return -EPROTONOSUPPORT;
    if (memcmp(header->ring_id, place->ring_id, sizeof(header->ring_id)) != 0 ||
        header->segment_shift + (uint64_t)header->segments_shift != place->shift)
        return -ESTALE;
    return header->segment == place->segment ? 0 : -EBADMSG; /* the file was another segment's once: see spare.c */
}

int journal_segment_read_header(int fd, const struct journal_place *place, uint64_t *ret_epoch)
{
    struct journal_segment_header header;
    int result = read_header(fd, place, &header);

    if (result == 0)
        *ret_epoch = header.epoch;
    return result;
}

int journal_segment_read_created(int fd, const struct journal_place *place, uint64_t *ret_created_ns)
{
    struct journal_segment_header header;
    int result = read_header(fd, place, &header);

    if (result == 0)
        *ret_created_ns = header.created_ns;
    return result;
}

void journal_segment_fill_header(const struct journal_meta *meta, uint64_t segment, uint8_t *block)
{
    struct journal_segment_header header = {
        .magic = JOURNAL_SEGMENT_MAGIC,
        .layout_version = JOURNAL_LAYOUT_VERSION,
        .header_bytes = JOURNAL_BLOCK_BYTES,
        .format_signature = RING_FORMAT_SIGNATURE,
        .epoch = meta->identity.epoch,
        .segment = segment,
        .segment_shift = meta->geometry.segment_shift,
        .segments_shift = meta->segments_shift,
        .created_ns = journal_wall_ns(),
    };

    memcpy(header.ring_id, meta->identity.ring_id, sizeof(header.ring_id));
    memcpy(header.name, meta->identity.name, sizeof(header.name));
    header.crc = header_crc(&header);
    memset(block, 0, JOURNAL_BLOCK_BYTES);
    memcpy(block, &header, sizeof(header));
}

int journal_segment_write_header(int fd, const struct journal_meta *meta, uint64_t segment)
{
    _Alignas(JOURNAL_BLOCK_BYTES) uint8_t block[JOURNAL_BLOCK_BYTES];

    journal_segment_fill_header(meta, segment, block);
    return journal_file_write_blocks(fd, block, sizeof(block), 0);
}

/* -- Epochs of a segment whose header is lost ------------------------------------------------------------ */

static int epoch_of(int folder_fd, const struct journal_place *place, uint64_t *ret_epoch)
{
    char name[JOURNAL_SEGMENT_NAME_BYTES];

    journal_segment_name(place->segment, name);
    int fd = journal_file_open(folder_fd, name, false);
    if (fd < 0)
        return fd;
    int result = journal_segment_read_header(fd, place, ret_epoch);
    jio_close(fd);
    return result;
}

static int add_epoch(uint64_t epochs[JOURNAL_EPOCHS_MAX], int count, uint64_t epoch)
{
    for (int i = 0; i < count; i++) {
        if (epochs[i] == epoch)
            return count;
    }
    epochs[count] = epoch;
    return count + 1;
}

/* The nearest segment with a valid header is asked on each side of `at`, or nobody where so many in a row have none. */
#define NEIGHBOURS_ASKED 8u

/* 1: *ret_epoch; 0: it does not say; negative: it may say so at another time. */
static int ask(int folder_fd, const struct journal_place *place, uint64_t segment, uint64_t *ret_epoch)
{
    struct journal_place neighbour = {place->ring_id, place->shift, segment};
    int result = epoch_of(folder_fd, &neighbour, ret_epoch);

    return result == 0 ? 1 : journal_may_pass(result) ? result : 0;
}

static int ask_below(int folder_fd, const struct journal_place *place, const struct journal_segment_list *list,
                     size_t at, uint64_t *ret_epoch)
{
    int result = 0;

    for (size_t i = at; result == 0 && i > 0 && at - i < NEIGHBOURS_ASKED; i--)
        result = ask(folder_fd, place, list->segments[i - 1], ret_epoch);
    return result;
}

static int ask_above(int folder_fd, const struct journal_place *place, const struct journal_segment_list *list,
                     size_t at, uint64_t *ret_epoch)
{
    int result = 0;

    for (size_t i = at; result == 0 && i < list->count && i - at < NEIGHBOURS_ASKED; i++)
        result = ask(folder_fd, place, list->segments[i], ret_epoch);
    return result;
}

static int ask_neighbours(int folder_fd, const struct journal_place *place, const struct journal_segment_list *list,
                          uint64_t epochs[JOURNAL_EPOCHS_MAX], int count)
{
    size_t below = 0, above;
    uint64_t epoch;

    while (below < list->count && list->segments[below] < place->segment)
        below++;
    above = below < list->count && list->segments[below] == place->segment ? below + 1 : below;
    int result = ask_below(folder_fd, place, list, below, &epoch);
    if (result == 1)
        count = add_epoch(epochs, count, epoch);
    if (result >= 0)
        result = ask_above(folder_fd, place, list, above, &epoch);
    if (result == 1)
        count = add_epoch(epochs, count, epoch);
    return result < 0 ? result : count;
}

int journal_segment_guess_epochs(int folder_fd, const struct journal_place *place,
                                 uint64_t ret_epochs[JOURNAL_EPOCHS_MAX])
{
    struct journal_segment_list list;
    struct journal_meta meta;
    int count = 0;

    int result = journal_meta_read(folder_fd, &meta);
    if (journal_may_pass(result))
        return result;
    if (result == 0 && memcmp(meta.identity.ring_id, place->ring_id, sizeof(meta.identity.ring_id)) == 0)
        count = add_epoch(ret_epochs, count, meta.identity.epoch);
    result = journal_list_segments(folder_fd, place->shift, &list);
    if (result < 0)
        return journal_may_pass(result) ? result : count;
    count = ask_neighbours(folder_fd, place, &list, ret_epochs, count);
    journal_segment_list_free(&list);
    return count;
}

/* -- Making and reopening -------------------------------------------------------------------------------- */

int journal_write_zeros(int fd, uint64_t from, uint64_t to)
{
    /* Not const: that would put them into the file of the program. */
    static _Alignas(JOURNAL_BLOCK_BYTES) uint8_t zeros[1u << 18];
    int result = 0;

    for (; from < to && result == 0; from += sizeof(zeros))
        result = journal_file_write_blocks(fd, zeros, to - from < sizeof(zeros) ? to - from : sizeof(zeros), from);
    return result;
}

/* Room for the whole file, so that no record is refused for want of it later. *ret_zeroed: zeros had to be written. */
static int make_room(int fd, uint64_t from, uint64_t to, bool *ret_zeroed)
{
    int result = jio_allocate(fd, 0, to);

    *ret_zeroed = result == -EOPNOTSUPP || result == -ENOSYS;
    return *ret_zeroed ? journal_write_zeros(fd, from, to) : result;
}

uint64_t journal_segment_file_bytes(const struct journal_meta *meta)
{
    return JOURNAL_BLOCK_BYTES + journal_segment_bytes(journal_shift(meta));
}

/* The header goes with the first bytes, and tells when they came. */
static int fill_new(int fd, const struct journal_meta *meta, struct journal_segment_file *file)
{
    bool zeroed;
    int result = make_room(fd, 0, journal_segment_file_bytes(meta), &zeroed);

    *file = (struct journal_segment_file){.fd = fd, .header_due = true, .nothing_kept = true, .blank = !zeroed};
    if (result < 0)
        return result;
    file->direct = jio_set_direct(fd, true) == 0;
    file->flies = file->direct && !zeroed && jio_allocate_waits(fd) == 1;
    return 0;
}

/*
 * A daemon that was killed may have left writes under way, which end when the disk likes: after its locks are gone, and over
 * what its successor writes to the same block. fallocate(2), of what is allocated already, changes nothing and returns when none
 * are left, on those file systems on which it may leave some: journal_segment_flies(). It waits for those of the whole file,
 * however little it is asked for: and a file may claim any size.
 */
int journal_segment_await(int fd, const struct journal_meta *meta)
{
    uint64_t bytes = journal_segment_file_bytes(meta);
    struct stat st;
    int result = jio_stat(fd, &st);

    if (result == 0 && st.st_size > 0)
        result = jio_allocate(fd, 0, (uint64_t)st.st_size < bytes ? (uint64_t)st.st_size : bytes);
    return result == -ENOSPC || result == -EDQUOT ? 0 : result; /* it has waited, and nothing is asked for */
}

bool journal_segment_flies(int fd, const struct journal_meta *meta)
{
    return jio_allocate_waits(fd) == 1 && journal_segment_await(fd, meta) == 0;
}

int journal_segment_make(int folder_fd, const struct journal_meta *meta, uint64_t segment,
                         struct journal_segment_file *ret_file)
{
    struct journal_rights rights = {meta->mode, meta->uid, meta->gid};
    struct journal_segment_file file;
    char name[JOURNAL_SEGMENT_NAME_BYTES];

    journal_segment_name(segment, name);
    int fd = journal_file_make(folder_fd, name, &rights);
    if (fd < 0)
        return fd;
    int result = fill_new(fd, meta, &file);
    if (result < 0) {
        jio_unlink(folder_fd, name); /* where this fails too, the next one to come reopens what is there */
        jio_close(fd);
        return result;
    }
    *ret_file = file;
    return 0;
}

static int write_header_again(int fd)
{
    uint8_t block[JOURNAL_BLOCK_BYTES];
    int64_t got = jio_read(fd, block, sizeof(block), 0);

    return got < 0 ? (int)got : jio_write(fd, block, (uint64_t)got, 0);
}

/*
 * 1. A header that is valid and tells another ring or version is left alone: the file is not ours to write to.
 * 2. One that is not valid, of another segment, or of an earlier epoch, is written anew in its place. Of an earlier epoch there are no records
 *    here, since an epoch starts at a segment above all that were ever leased; of this epoch there may be good ones, so the
 *    bytes behind the header stay.
 * 3. One that is as it should be may be in the kernel alone, and stay there: it is written over itself, so that the next
 *    sync of the file brings it to the disk with the records.
 */
int journal_segment_mend_header(int fd, const struct journal_meta *meta, uint64_t segment)
{
    struct journal_place place = {meta->identity.ring_id, journal_shift(meta), segment};
    uint64_t epoch = 0;
    int result = journal_segment_read_header(fd, &place, &epoch);

    if (result < 0 && result != -EBADMSG)
        return result;
    if (result == 0 && epoch == meta->identity.epoch)
        return write_header_again(fd);
    if (result == 0 && epoch > meta->identity.epoch)
        return -ESTALE;
    return journal_segment_write_header(fd, meta, segment);
}

/* The room first: a header says that the file is whole. */
static int put_right(int fd, const struct journal_meta *meta, uint64_t segment)
{
    struct stat st;
    bool zeroed;
    int result = jio_stat(fd, &st);

    if (result == 0 && (uint64_t)st.st_size < journal_segment_file_bytes(meta))
        result = make_room(fd, (uint64_t)st.st_size, journal_segment_file_bytes(meta), &zeroed);
    return result < 0 ? result : journal_segment_mend_header(fd, meta, segment);
}

int journal_segment_reopen(int folder_fd, const struct journal_meta *meta, uint64_t segment,
                           struct journal_segment_file *ret_file)
{
    char name[JOURNAL_SEGMENT_NAME_BYTES];

    journal_segment_name(segment, name);
    int fd = journal_file_open(folder_fd, name, true);
    if (fd < 0)
        return fd;
    int result = put_right(fd, meta, segment);
    if (result < 0) {
        jio_close(fd);
        return result;
    }
    bool direct = jio_set_direct(fd, true) == 0;
    *ret_file =
        (struct journal_segment_file){.fd = fd, .direct = direct, .flies = direct && journal_segment_flies(fd, meta)};
    return 0;
}
