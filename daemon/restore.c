/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In this order, so that a death anywhere is answered by doing it all again:
 *   1. the journal is locked and recovered: it ends at E. The lease says that no position from L on was ever given out;
 *   2. the ledger gets the range from E to the next epoch's start S (L, rounded up to a segment), unless it has it: what was
 *      in there is lost, or never was;
 *   3. names and sequences up to E are saved, since recovery will not look below S again;
 *   4. meta gets epoch + 1, start S and a lease beyond it. From here on the old epoch is over;
 *   5. the ring appears on the bus, under its name, with its names.
 * Again after 4 means another epoch, and another range in the ledger, without records in it: nothing is given out twice.
 */
#include "daemon/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/binding.h"
#include "daemon/log.h"
#include "daemon/names.h"
#include "journal/journal.h"
#include "ringbuf/ring.h"

#define RESTORE_DELAY_MIN_NS 100000000ull
#define RESTORE_DELAY_MAX_NS 30000000000ull

struct restore {
    struct restore *next;
    char name[RING_NAME_BYTES];
    bool prepared; /* 1 to 4 are done: the writer is held and the names are known */
    struct journal_writer *writer;
    struct journal_meta meta;
    struct names names;
    bool names_fit;
    uint64_t due_ns, delay_ns;
    struct shm_why told;
};

struct restore_list {
    const struct place *place;
    struct restore *first;
};

static bool restore_on_bus(const struct place *place, const char *name)
{
    struct stat st;
    return fstatat(place->bus_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

/* -- 1 to 4 ----------------------------------------------------------------------------------------------------------- */

static int restore_open_journal(struct restore *restore, const struct place *place, struct shm_why *why)
{
    const char *reason = "";
    int r = journal_open(place->journal_fd, restore->name, &restore->writer, &restore->meta);
    if (r < 0) {
        shm_explain(why, "cannot open its journal: %s%s", r == -EBUSY ? "another process writes it" : strerror(-r),
                    r == -EBADMSG || r == -EMEDIUMTYPE ? ": see weir journal repair" : "");
        return r;
    }
    if (strcmp(restore->meta.identity.name, restore->name) != 0) {
        shm_explain(why, "the journal in that directory is of a ring called %s", restore->meta.identity.name);
        return -EBADMSG;
    }
    r = ring_geometry_check(&restore->meta.geometry, &reason);
    if (r < 0)
        shm_explain(why, "its journal asks for an impossible ring: %s", reason);
    return r;
}

static int restore_recover(struct restore *restore, uint64_t *ret_end, struct shm_why *why)
{
    struct journal_names saved;
    uint64_t end = 0;
    int r = journal_load_names(restore->writer, &saved);
    if (r < 0) {
        shm_explain(why, "cannot read the names in its journal: %s%s", strerror(-r),
                    r == -EBADMSG ? ": weir journal repair brings back those that its messages prove" : "");
        return r;
    }
    r = names_open(&restore->names, &restore->meta.geometry, &saved);
    journal_free_names(&saved);
    if (r == 0)
        r = journal_recover(restore->writer, names_count_from(&restore->names, &restore->meta), UINT64_MAX,
                            names_count_recovered, &restore->names, &end);
    if (r < 0) {
        shm_explain(why, "cannot recover its journal: %s", strerror(-r));
        return r;
    }
    names_recovered(&restore->names, end, end);
    *ret_end = end;
    return 0;
}

static int restore_note_gap(struct restore *restore, const struct place *place, uint64_t from, uint64_t to)
{
    struct journal_gap known;
    if (from == to)
        return 0;
    int fd = openat(place->journal_fd, restore->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    bool noted = journal_find_gap(fd, from, &known) == 0 && known.from <= from && known.to >= to;
    close(fd);
    if (noted)
        return 0;
    struct journal_gap gap = {.from = from,
                              .to = to,
                              .time_ns = shm_wall_ns(),
                              .epoch = restore->meta.identity.epoch,
                              .reason = JOURNAL_GAP_LOST};
    return journal_note_gap(restore->writer, &gap);
}

static int restore_prepare(struct restore *restore, const struct place *place, struct shm_why *why)
{
    uint64_t end = 0;
    int r = restore_open_journal(restore, place, why);
    if (r == 0)
        r = restore_recover(restore, &end, why);
    if (r < 0)
        return r;
    struct journal_meta meta = restore->meta;
    uint64_t segment = 1ull << journal_shift(&meta);
    uint64_t above = meta.lease > end ? meta.lease : end;
    meta.identity.epoch++;
    meta.identity.start = (above + segment - 1) & ~(segment - 1);
    meta.durable = meta.identity.start;
    meta.lease = meta.identity.start + BINDING_LEASE_TAKEN * meta.geometry.data_bytes;
    r = restore_note_gap(restore, place, end, meta.identity.start);
    if (r == 0 && restore->names.changed)
        r = names_save(&restore->names, restore->writer);
    if (r == 0)
        r = journal_set_meta(restore->writer, &meta);
    if (r < 0) {
        shm_explain(why, "cannot write its journal: %s", strerror(-r));
        return r;
    }
    restore->meta = meta;
    restore->prepared = true;
    log_notice("ring %s: back from its journal, which ends at %" PRIu64 ", in epoch %" PRIu64 " from %" PRIu64
               ". What is between was lost with the memory, or never was",
               restore->name, end, meta.identity.epoch, meta.identity.start);
    return 0;
}

/* -- 5 ---------------------------------------------------------------------------------------------------------------- */

static void restore_format(void *ctx, void *control, void *readers, void *data)
{
    struct restore *restore = ctx;
    struct ring_geometry *geometry = &restore->meta.geometry;
    struct ring_view view;
    const char *reason;
    ring_format(control, readers, data, geometry, &restore->meta.identity);
    mem_store_relaxed(&((struct ring_control *)control)->lease, restore->meta.lease);
    if (ring_view_init(&view, control, geometry->control_bytes, readers, geometry->readers_bytes, data,
                       geometry->data_bytes, &reason) == 0)
        restore->names_fit = names_restore(&restore->names, &view);
}

static int restore_create(struct restore *restore, const struct place *place, struct shm_why *why)
{
    const struct journal_meta *meta = &restore->meta;
    bool root = geteuid() == 0;
    char journal[PATH_MAX + RING_NAME_BYTES];
    snprintf(journal, sizeof journal, "%s/%s", place->journal, restore->name);
    if (meta->uid != geteuid() && !root)
        log_warning("ring %s: it was user %u's, and becomes user %u's since I am not root", restore->name, meta->uid,
                    (unsigned)geteuid());
    struct shm_create create = {
        .name = restore->name,
        .sizes = {meta->geometry.control_bytes, meta->geometry.readers_bytes, meta->geometry.data_bytes},
        .mode = meta->mode & 0666,
        .set_gid = meta->gid != getegid(),
        .gid = meta->gid,
        .set_uid = root && meta->uid != geteuid(),
        .uid = meta->uid,
        .journal = journal, /* who is faster than the binding finds its backlog, and who removes the ring its journal */
        .huge = (enum shm_huge)meta->geometry.huge,
        .set_node = meta->geometry.numa_node != 0,
        .node = meta->geometry.numa_node ? meta->geometry.numa_node - 1 : 0,
        .format = restore_format,
        .ctx = restore};
    bool placed = create.set_node || create.huge != SHM_HUGE_NONE;
    int r = shm_create(place->bus_fd, &create, why);
    if (r < 0 && r != -EEXIST && placed) {
        /* Its messages matter more than where they lie; `weir ring info` shows both what was asked for and what is. */
        struct shm_why first = why ? *why : (struct shm_why){{0}};
        create.huge = SHM_HUGE_NONE;
        create.set_node = false;
        r = shm_create(place->bus_fd, &create, why);
        if (r == 0)
            log_warning("ring %s: it is back on ordinary memory: %s", restore->name, first.text);
    }
    if (r == 0 && !restore->names_fit)
        log_warning("ring %s: it has no room for all the names in its journal", restore->name);
    return r;
}

/* -- list ------------------------------------------------------------------------------------------------------------- */

static void restore_reset(struct restore *restore)
{
    if (restore->writer)
        journal_close(restore->writer);
    restore->writer = NULL;
    names_close(&restore->names);
    restore->prepared = false;
}

/* True: there is nothing left to do. */
static bool restore_try(struct restore *restore, const struct place *place, uint64_t now_ns)
{
    struct shm_why why = {{0}};
    if (restore_on_bus(place, restore->name))
        return true;
    int r = restore->prepared ? 0 : restore_prepare(restore, place, &why);
    if (r == 0)
        r = restore_create(restore, place, &why);
    if (r == 0 || r == -EEXIST)
        return true;
    if (!why.text[0])
        shm_explain(&why, "%s", strerror(-r));
    if (strcmp(why.text, restore->told.text) != 0)
        log_error("ring %s is in the journal directory but not on the bus, and cannot be brought back: %s",
                  restore->name, why.text);
    restore->told = why;
    if (!restore->prepared)
        restore_reset(restore);
    restore->delay_ns = restore->delay_ns ? 2 * restore->delay_ns : RESTORE_DELAY_MIN_NS;
    if (restore->delay_ns > RESTORE_DELAY_MAX_NS)
        restore->delay_ns = RESTORE_DELAY_MAX_NS;
    restore->due_ns = now_ns + restore->delay_ns;
    return false;
}

static int restore_found(void *ctx, const char *name)
{
    struct restore_list *list = ctx;
    if (shm_name_check(name) < 0 || restore_on_bus(list->place, name))
        return 0;
    struct restore *restore = calloc(1, sizeof *restore);
    if (!restore)
        return -ENOMEM;
    memcpy(restore->name, name, strnlen(name, RING_NAME_BYTES - 1));
    restore->next = list->first;
    list->first = restore;
    return 0;
}

struct restore_list *restore_open(const struct place *place)
{
    struct restore_list *list = calloc(1, sizeof *list);
    if (!list)
        return NULL;
    list->place = place;
    int r = journal_list(place->journal_fd, restore_found, list);
    if (r < 0)
        log_error("cannot read the journal directory %s: %s. No ring is brought back from it", place->journal,
                  strerror(-r));
    restore_continue(list, shm_now_ns());
    return list;
}

uint64_t restore_continue(struct restore_list *list, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;
    for (struct restore **at = &list->first; *at;) {
        struct restore *restore = *at;
        if (restore->due_ns <= now_ns && restore_try(restore, list->place, now_ns)) {
            *at = restore->next;
            restore_reset(restore);
            free(restore);
            continue;
        }
        if (restore->due_ns < next_ns)
            next_ns = restore->due_ns;
        at = &restore->next;
    }
    return next_ns;
}

void restore_close(struct restore_list *list)
{
    if (!list)
        return;
    while (list->first) {
        struct restore *restore = list->first;
        list->first = restore->next;
        restore_reset(restore);
        free(restore);
    }
    free(list);
}
