/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file `pins`: ranges that retention leaves alone. Replaced whole, so it is old or new.
 *
 * 1. It is changed under the lock of `pins.lock`, a file of its own that only the journal's owner can lock; and whoever
 *    expires segments holds that lock from before it reads the pins until the files are gone. So a pin that was made is
 *    obeyed, and a range that has begun to expire is refused.
 * 2. A file that is damaged may have held any pin: nothing expires then.
 */
#include "journal/pins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "journal/io.h"
#include "journal/ledger.h"
#include "journal/segment.h"
#include "journal/writer.h"

#define LOCK_WAIT_NS 5000000000ull
#define LOCK_NAP_NS 1000000

/* -- Lock ------------------------------------------------------------------------------------------------- */

int journal_pins_lock(int folder_fd)
{
    int fd = journal_lock_file_open(folder_fd, JOURNAL_PINS_LOCK_NAME);
    if (fd < 0)
        return fd;

    int result = jio_lock(fd);
    if (result < 0) {
        jio_close(fd);
        return result;
    }
    return fd;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int wait_for_lock(int folder_fd)
{
    const struct timespec nap = {.tv_nsec = LOCK_NAP_NS};
    uint64_t deadline_ns = now_ns() + LOCK_WAIT_NS;
    int fd;

    while ((fd = journal_pins_lock(folder_fd)) == -EBUSY && now_ns() < deadline_ns)
        nanosleep(&nap, NULL);
    return fd;
}

/* -- Loading ---------------------------------------------------------------------------------------------- */

static uint32_t pins_crc(const struct journal_pins_header *header, const struct journal_pin_entry *entries)
{
    uint32_t crc = journal_crc32c(0, header, offsetof(struct journal_pins_header, crc));

    return journal_crc32c(crc, entries, header->count * sizeof(*entries));
}

static int check_header(const struct journal_pins_header *header)
{
    if (header->magic != JOURNAL_PINS_MAGIC || header->count > JOURNAL_PINS_MAX)
        return -EBADMSG;
    return header->layout_version == JOURNAL_LAYOUT_VERSION ? 0 : -EPROTONOSUPPORT;
}

/* Names in order, none twice: what is written by encode(). */
static int decode(const struct journal_pins_header *header, const struct journal_pin_entry *entries,
                  struct journal_pin *pins)
{
    if (header->crc != pins_crc(header, entries))
        return -EBADMSG;
    for (uint32_t i = 0; i < header->count; i++) {
        const struct journal_pin_entry *entry = &entries[i];
        if (memchr(entry->name, '\0', sizeof(entry->name)) == NULL || journal_name_check(entry->name) < 0 ||
            entry->from >= entry->to || (i > 0 && strcmp(entries[i - 1].name, entry->name) >= 0))
            return -EBADMSG;
        pins[i] = (struct journal_pin){.from = entry->from, .to = entry->to, .time_ns = entry->time_ns};
        memcpy(pins[i].name, entry->name, strlen(entry->name));
    }
    return 0;
}

static int load(int fd, struct journal_pin_list *list)
{
    struct journal_pins_header header;
    int64_t got = jio_read(fd, &header, sizeof(header), 0);

    if (got < 0)
        return (int)got;
    int result = (uint64_t)got < sizeof(header) ? -EBADMSG : check_header(&header);
    if (result < 0)
        return result;
    uint64_t bytes = header.count * sizeof(struct journal_pin_entry);
    struct journal_pin_entry *entries = calloc(header.count + 1u, sizeof(*entries));
    list->pins = calloc(header.count + 1u, sizeof(*list->pins));
    list->count = header.count;
    if (!entries || !list->pins)
        result = -ENOMEM;
    if (result == 0) {
        got = jio_read(fd, entries, bytes, sizeof(header));
        result = got < 0 ? (int)got : (uint64_t)got < bytes ? -EBADMSG : decode(&header, entries, list->pins);
    }
    free(entries);
    return result;
}

int journal_pins_load(int folder_fd, struct journal_pin_list *ret_list)
{
    struct journal_pin_list list = {0};
    int fd = journal_file_open(folder_fd, JOURNAL_PINS_NAME, false);

    if (fd < 0 && fd != -ENOENT)
        return fd;
    int result = fd < 0 ? 0 : load(fd, &list);
    jio_close(fd);
    if (result < 0) {
        journal_pins_free(&list);
        return result;
    }
    *ret_list = list;
    return 0;
}

void journal_pins_free(struct journal_pin_list *list)
{
    free(list->pins);
    *list = (struct journal_pin_list){0};
}

bool journal_pins_touch(const struct journal_pin_list *list, uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->pins[i].from < to && from < list->pins[i].to)
            return true;
    }
    return false;
}

int journal_pins(int ring_journal_fd, int (*callback)(void *ctx, const struct journal_pin *pin), void *ctx)
{
    struct journal_pin_list list;
    int result = journal_pins_load(ring_journal_fd, &list);

    if (result < 0)
        return result;
    for (uint32_t i = 0; result == 0 && i < list.count; i++)
        result = callback(ctx, &list.pins[i]);
    journal_pins_free(&list);
    return result;
}

/* -- Changing --------------------------------------------------------------------------------------------- */

static int save(int folder_fd, const struct journal_pin_list *list)
{
    struct journal_pins_header header = {
        .magic = JOURNAL_PINS_MAGIC, .layout_version = JOURNAL_LAYOUT_VERSION, .count = list->count};
    uint64_t bytes = sizeof(header) + list->count * sizeof(struct journal_pin_entry);
    struct journal_meta meta;
    bool sync_failed;

    int result = journal_meta_read(folder_fd, &meta);
    if (result < 0)
        return result;
    uint8_t *content = calloc(1, bytes);
    if (!content)
        return -ENOMEM;
    struct journal_pin_entry *entries = (struct journal_pin_entry *)(content + sizeof(header));
    for (uint32_t i = 0; i < list->count; i++) {
        const struct journal_pin *pin = &list->pins[i];
        entries[i] = (struct journal_pin_entry){.from = pin->from, .to = pin->to, .time_ns = pin->time_ns};
        memcpy(entries[i].name, pin->name, sizeof(entries[i].name));
    }
    header.crc = pins_crc(&header, entries);
    memcpy(content, &header, sizeof(header));
    struct journal_rights rights = journal_rights_of(&meta);
    result = journal_file_replace(folder_fd, JOURNAL_PINS_NAME, &rights, content, bytes, &sync_failed);
    free(content);
    return result;
}

/* The pin of this name, or NULL. *ret_at: where it is, or would be. */
static struct journal_pin *find(const struct journal_pin_list *list, const char *name, uint32_t *ret_at)
{
    uint32_t i = 0;

    while (i < list->count && strcmp(list->pins[i].name, name) < 0)
        i++;
    *ret_at = i;
    return i < list->count && strcmp(list->pins[i].name, name) == 0 ? &list->pins[i] : NULL;
}

static int put(struct journal_pin_list *list, const struct journal_pin *pin)
{
    uint32_t at;
    struct journal_pin *old = find(list, pin->name, &at);

    if (old) {
        *old = *pin;
        return 0;
    }
    if (list->count == JOURNAL_PINS_MAX)
        return -EFBIG;
    struct journal_pin *pins = realloc(list->pins, (list->count + 1u) * sizeof(*pins));
    if (!pins)
        return -ENOMEM;
    memmove(&pins[at + 1], &pins[at], (list->count - at) * sizeof(*pins));
    pins[at] = *pin;
    list->pins = pins;
    list->count++;
    return 0;
}

static int has_expired(void *ctx, const struct journal_gap *gap)
{
    const struct journal_pin *pin = ctx;

    return gap->reason == JOURNAL_GAP_EXPIRED && gap->from < pin->to && pin->from < gap->to ? -ENODATA : 0;
}

static int pin_locked(int folder_fd, struct journal_pin *pin)
{
    struct journal_pin_list list = {0};
    int result = journal_gaps(folder_fd, has_expired, pin);

    if (result == 0)
        result = journal_pins_load(folder_fd, &list);
    if (result < 0)
        return result;
    result = put(&list, pin);
    if (result == 0)
        result = save(folder_fd, &list);
    journal_pins_free(&list);
    return result;
}

int journal_pin(int ring_journal_fd, const char *name, uint64_t from, uint64_t to)
{
    struct journal_pin pin = {.from = from, .to = to, .time_ns = journal_wall_ns()};
    int result = journal_name_check(name);

    if (result == 0 && from >= to)
        result = -EINVAL;
    if (result < 0)
        return result;
    memcpy(pin.name, name, strlen(name));
    int lock_fd = wait_for_lock(ring_journal_fd);
    if (lock_fd < 0)
        return lock_fd;
    result = pin_locked(ring_journal_fd, &pin);
    jio_close(lock_fd);
    return result;
}

static int unpin_locked(int folder_fd, const char *name)
{
    struct journal_pin_list list = {0};
    int result = name ? journal_pins_load(folder_fd, &list) : 0;

    if (result < 0)
        return result;
    if (name) {
        uint32_t at;
        struct journal_pin *pin = find(&list, name, &at);
        if (pin) {
            list.count--;
            memmove(pin, pin + 1, (list.count - at) * sizeof(*pin));
        } else {
            result = -ENOENT;
        }
    }
    if (result == 0)
        result = save(folder_fd, &list);
    journal_pins_free(&list);
    return result;
}

int journal_unpin(int ring_journal_fd, const char *name)
{
    int lock_fd = wait_for_lock(ring_journal_fd);
    if (lock_fd < 0)
        return lock_fd;

    int result = unpin_locked(ring_journal_fd, name);
    jio_close(lock_fd);
    return result;
}
