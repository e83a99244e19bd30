/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of all journals: making, listing and removing them.
 *
 * 1. A journal is built under .new-NAME and renamed, so NAME always is a whole one, and what a death left behind is taken
 *    away by the next who makes that name.
 * 2. One that is removed loses its name first, durably; the files follow. What a death left of them goes with the next
 *    removal.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/io.h"
#include "journal/ledger.h"
#include "journal/meta.h"
#include "journal/writer.h"

#define NEW_PREFIX ".new-"
#define REMOVED_PREFIX ".removed-"
#define HIDDEN_NAME_BYTES (RING_NAME_BYTES + 32)

/* -- Taking away ----------------------------------------------------------------------------------------- */

static int unlink_one(void *ctx, const char *name)
{
    jio_unlink(*(const int *)ctx, name); /* what stays makes the directory stay, and that is noticed */
    return 0;
}

static int remove_folder(int journal_fd, const char *name)
{
    int folder_fd = journal_folder_open(journal_fd, name);
    if (folder_fd == -ENOENT)
        return 0;
    if (folder_fd < 0)
        return folder_fd;

    int result = jio_list(folder_fd, unlink_one, &folder_fd);
    jio_close(folder_fd);
    return result < 0 ? result : jio_remove_directory(journal_fd, name);
}

static int remove_left_over(void *ctx, const char *name)
{
    if (strncmp(name, REMOVED_PREFIX, strlen(REMOVED_PREFIX)) == 0)
        remove_folder(*(const int *)ctx, name);
    return 0;
}

/* Takes the name away. Under the new one there may be what an earlier removal could not take away. */
static int rename_away(int journal_fd, const char *name, char hidden[HIDDEN_NAME_BYTES])
{
    int result = -EEXIST;

    for (int n = 0; n < 100 && (result == -EEXIST || result == -ENOTEMPTY); n++) {
        snprintf(hidden, HIDDEN_NAME_BYTES, REMOVED_PREFIX "%s-%d", name, n);
        result = jio_rename(journal_fd, name, journal_fd, hidden);
    }
    return result < 0 ? result : jio_sync(journal_fd);
}

/* Under its lock. */
static int take_away(int journal_fd, const char *name)
{
    char hidden[HIDDEN_NAME_BYTES];
    int result = rename_away(journal_fd, name, hidden);

    if (result == 0)
        jio_list(journal_fd, remove_left_over, &journal_fd);
    return result;
}

static int check_identity(int folder_fd, const struct ring_identity *identity)
{
    struct journal_meta meta;
    int result = identity ? journal_meta_read(folder_fd, &meta) : 0;

    if (result < 0 || !identity)
        return result;
    bool same = memcmp(meta.identity.ring_id, identity->ring_id, sizeof(identity->ring_id)) == 0 &&
                meta.identity.epoch == identity->epoch;
    return same ? 0 : -ESTALE;
}

int journal_remove(int journal_fd, const char *name, const struct ring_identity *identity)
{
    int folder_fd, lock_fd;
    int result = journal_name_check(name);

    if (result == 0)
        result = journal_folder_lock(journal_fd, name, &folder_fd, &lock_fd);
    if (result != 0)
        return result;
    result = check_identity(folder_fd, identity);
    if (result == 0)
        result = take_away(journal_fd, name);
    jio_close(folder_fd);
    jio_close(lock_fd);
    return result;
}

int journal_discard(int journal_fd, struct journal_writer *writer)
{
    const char *name = writer->meta.identity.name;
    int result = journal_folder_stands(journal_fd, name, writer->folder_fd);

    if (result == 0)
        result = take_away(journal_fd, name);
    journal_close(writer);
    return result;
}

/* -- Making ---------------------------------------------------------------------------------------------- */

static int make_meta(int folder_fd, const struct journal_meta *meta)
{
    struct journal_rights rights = journal_rights_of(meta);
    int fd = journal_file_make(folder_fd, JOURNAL_META_NAME, &rights);
    if (fd < 0)
        return fd;

    int result = journal_meta_write(fd, meta, 1, 0);
    if (result == 0)
        result = journal_meta_write(fd, meta, 1, 1);
    if (result == 0)
        result = jio_sync(fd);
    jio_close(fd);
    return result;
}

static int make_lock(int folder_fd, const char *name, const struct journal_meta *meta)
{
    struct journal_rights rights = {.uid = meta->uid, .gid = meta->gid};
    int fd = journal_file_make(folder_fd, name, &rights);

    jio_close(fd);
    return fd < 0 ? fd : 0;
}

static int fill_folder(int folder_fd, const struct journal_meta *meta)
{
    struct journal_rights rights = journal_rights_of(meta);
    int result = make_meta(folder_fd, meta);

    if (result == 0)
        result = make_lock(folder_fd, JOURNAL_LOCK_NAME, meta);
    if (result == 0) /* now: on a full disk there may be no room for it */
        result = make_lock(folder_fd, JOURNAL_PINS_LOCK_NAME, meta);
    if (result == 0)
        result = journal_ledger_make(folder_fd, &rights);
    /* Last: from here on its owner may put things into it. */
    if (result == 0)
        result = journal_folder_set_rights(folder_fd, &rights);
    return result < 0 ? result : jio_sync(folder_fd);
}

static int make_folder(int journal_fd, const char *name, const struct journal_meta *meta)
{
    int result = remove_folder(journal_fd, name);
    if (result == 0)
        result = jio_make_directory(journal_fd, name, 0700);
    if (result < 0)
        return result;
    int folder_fd = journal_folder_open(journal_fd, name);
    if (folder_fd < 0)
        return folder_fd;
    result = fill_folder(folder_fd, meta);
    jio_close(folder_fd);
    return result;
}

static int name_is_free(int journal_fd, const char *name)
{
    int fd = journal_folder_open(journal_fd, name);
    if (fd == -ENOENT)
        return 0;
    jio_close(fd);
    return fd >= 0 || fd == -EMEDIUMTYPE ? -EEXIST : fd;
}

int journal_create(int journal_fd, const struct journal_meta *meta)
{
    const char *name = meta->identity.name;
    char new_name[HIDDEN_NAME_BYTES];
    int result = journal_name_check(name);

    if (result == 0)
        result = journal_meta_check(meta);
    if (result == 0)
        result = name_is_free(journal_fd, name);
    if (result < 0)
        return result;
    snprintf(new_name, sizeof(new_name), NEW_PREFIX "%s", name);
    result = make_folder(journal_fd, new_name, meta);
    if (result == 0)
        result = jio_rename(journal_fd, new_name, journal_fd, name);
    if (result < 0) {
        remove_folder(journal_fd, new_name);
        return result == -ENOTEMPTY || result == -ENOTDIR ? -EEXIST : result;
    }
    return jio_sync(journal_fd); /* where this fails it stays: whole, and found by the next one; see journal_open() */
}

/* -- Listing --------------------------------------------------------------------------------------------- */

struct name_list {
    int journal_fd;
    char (*names)[RING_NAME_BYTES];
    size_t count, room;
};

static bool is_absent(int fd)
{
    return fd == -ENOENT || fd == -EMEDIUMTYPE;
}

/* What cannot be opened now may well be one: who opens it later is told why it cannot be. */
static bool is_journal(int journal_fd, const char *name)
{
    if (journal_name_check(name) < 0)
        return false;
    int folder_fd = journal_folder_open(journal_fd, name);
    if (folder_fd < 0)
        return !is_absent(folder_fd);
    int meta_fd = journal_file_open(folder_fd, JOURNAL_META_NAME, false);
    jio_close(meta_fd);
    jio_close(folder_fd);
    return !is_absent(meta_fd);
}

static int add_name(void *ctx, const char *name)
{
    struct name_list *list = ctx;

    if (!is_journal(list->journal_fd, name))
        return 0;
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 16;
        char(*names)[RING_NAME_BYTES] = realloc(list->names, room * sizeof(*names));
        if (!names)
            return -ENOMEM;
        list->names = names;
        list->room = room;
    }
    memcpy(list->names[list->count++], name, strlen(name) + 1);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

int journal_list(int journal_fd, int (*callback)(void *ctx, const char *name), void *ctx)
{
    struct name_list list = {.journal_fd = journal_fd};
    int result = jio_list(journal_fd, add_name, &list);

    if (result == 0 && list.count > 0)
        qsort(list.names, list.count, sizeof(list.names[0]), by_name);
    for (size_t i = 0; result == 0 && i < list.count; i++)
        result = callback(ctx, list.names[i]);
    free(list.names);
    return result;
}
