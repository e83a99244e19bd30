/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of workers: made, removed, listed, looked at. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/worker.h"

#define LEASE_NS INT64_C(30000000000)
#define BACKOFF_MAX_NS INT64_C(300000000000)

_Static_assert(WEIR_NAME_MAX + 1 == RING_NAME_BYTES, "a group's name fits");

bool group_worker_dead(void *ctx, uint64_t id)
{
    const struct ring_view *view = ctx;
    return view->ops->reader_dead(view->ctx, id);
}

void group_tell(const struct ring_view *ring, const struct group_view *view)
{
    if (ring_bell_news(ring, &view->header->bell, &view->header->bell_want))
        shm_wake_all(attachment_futex(&view->header->bell));
}

int group_open(const struct attachment *attachment, const char *group, bool writable, struct shm_part *ret_part,
               struct group_view *ret_view)
{
    struct shm_why why = {""};
    const char *reason = "", *ring = attachment->view.identity.name;
    int r = shm_part_open(attachment->shm.dir_fd, group, writable, ret_part, &why);
    if (r == -ENOENT)
        return fail(r, "ring %s has no group %s: create it (weir_group_create())", ring, group);
    if (r < 0)
        return fail(r, "group %.80s of ring %s: %s", group, ring, why.text);
    r = group_view_init(ret_view, ret_part->memory, ret_part->bytes, &reason);
    if (r == 0 && (strcmp(ret_view->identity.name, group) != 0 ||
                   memcmp(ret_view->identity.ring_id, attachment->view.identity.ring_id,
                          sizeof ret_view->identity.ring_id) != 0)) {
        reason = "it was made for another group, or another ring";
        r = -EBADMSG;
    }
    if (r < 0) {
        shm_part_close(ret_part);
        ret_view->header = NULL;
        return fail(r, "group %s of ring %s: %s", group, ring, reason);
    }
    return 0;
}

/* -- create ---------------------------------------------------------------------------------------------------------- */

struct making {
    struct group_options options;
    struct group_identity identity;
    uint64_t position;
};

static void format(void *ctx, void *memory)
{
    const struct making *making = ctx;
    group_format(memory, &making->options, &making->identity, making->position);
}

/* The defaults of weir.h in place of 0. */
static int complete_options(const struct weir_group_options *given, struct group_options *ret_options)
{
    const char *reason = "";
    if (given->lease_ns < 0 || given->backoff_ns < 0 || given->backoff_max_ns < 0)
        return fail(-EINVAL, "a span of time is negative");
    int64_t longest = given->backoff_max_ns ? given->backoff_max_ns : BACKOFF_MAX_NS;
    if (given->backoff_max_ns == 0 && longest < given->backoff_ns)
        longest = given->backoff_ns;
    *ret_options = (struct group_options){
        .lease_ns =
            given->lease_ns == WEIR_FOREVER ? UINT64_MAX : (uint64_t)(given->lease_ns ? given->lease_ns : LEASE_NS),
        .backoff_ns = (uint64_t)given->backoff_ns,
        .backoff_max_ns = (uint64_t)longest,
        .backoff_percent = given->backoff_percent ? given->backoff_percent : 200,
        .jitter_percent = given->jitter_percent,
        .entry_count = given->max_entries ? given->max_entries : 8192,
        .worker_count = given->max_workers ? given->max_workers : 64,
    };
    int r = group_options_check(ret_options, &reason);
    return r < 0 ? fail(r, "%s", reason) : 0;
}

int weir_group_create(const char *bus, const char *ring, const char *group, const struct weir_group_options *given)
{
    struct weir_group_options options = WEIR_GROUP_OPTIONS_INIT;
    struct weir_sub_options sub_options = WEIR_SUB_OPTIONS_INIT;
    struct making making = {.position = 0};
    struct shm_why why = {""};
    struct weir_sub *sub;
    fail_clear();
    if (!group || (given && given->size != sizeof options))
        return fail(-EINVAL, "no group is named, or options.size is not sizeof(struct weir_group_options)");
    if (given)
        options = *given;
    int r = complete_options(&options, &making.options);
    if (r == 0 && (r = shm_name_check(group)) < 0)
        fail(r, "group name \"%.80s\": %s", group, weir_strerror(r));
    if (r < 0)
        return r;
    /* Where it begins is found as a subscriber finds it. */
    sub_options.from = options.from;
    sub_options.since_ns = options.since_ns;
    r = weir_sub_open(bus, ring, &sub_options, &sub);
    if (r < 0)
        return r;
    const struct ring_identity *identity = &sub->attachment.view.identity;
    memcpy(making.identity.name, group, strlen(group));
    memcpy(making.identity.ring_id, identity->ring_id, sizeof making.identity.ring_id);
    making.identity.created_ns = shm_wall_ns();
    making.position = weir_sub_position(sub);
    r = shm_part_create(sub->attachment.shm.dir_fd, group, group_bytes(&making.options), format, &making, &why);
    if (r < 0)
        fail(r, "cannot make the group %s of ring %s: %s", group, identity->name, why.text);
    weir_sub_close(sub);
    return r;
}

/* -- remove ---------------------------------------------------------------------------------------------------------- */

/* Who may not ask takes all of them for alive. */
static uint32_t count_living(const struct attachment *attachment, const struct group_view *view)
{
    uint32_t living = 0;
    for (uint32_t i = 0; i < view->options.worker_count; i++) {
        uint64_t id = mem_load_acquire(&view->lines[i].id);
        int lock_fd = attachment->shm.reader_lock_fd;
        living += id != 0 && (lock_fd < 0 || shm_locked(lock_fd, id) != 0);
    }
    return living;
}

int weir_group_remove(const char *bus, const char *ring, const char *group, int force)
{
    struct attachment attachment;
    struct shm_part part = {0};
    struct group_view view = {.header = NULL};
    struct shm_why why = {""};
    fail_clear();
    if (!group)
        return fail(-EINVAL, "no group is named");
    int r = attachment_open(&attachment, bus, ring, SHM_LOOK, false);
    if (r < 0)
        return r;
    r = group_open(&attachment, group, true, &part, &view);
    bool sound = view.header != NULL;
    uint32_t living = sound && !force ? count_living(&attachment, &view) : 0;
    if (living)
        r = fail(-EBUSY, "group %s of ring %s has %u workers that are alive", group, attachment.view.identity.name,
                 living);
    else if (sound || (force && r != -ENOENT))
        r = shm_part_remove(attachment.shm.dir_fd, group, &why);
    if (why.text[0])
        fail(r, "%s", why.text);
    if (r == 0 && sound) {
        mem_store_release(&view.header->removed, 1);
        attachment_ring(&view.header->bell);
    }
    shm_part_close(&part);
    attachment_close(&attachment);
    return r;
}

/* -- list and look ----------------------------------------------------------------------------------------------------- */

struct names {
    char (*all)[RING_NAME_BYTES];
    size_t count, capacity;
};

static int remember(void *ctx, const char *name)
{
    struct names *names = ctx;
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? 2 * names->capacity : 16;
        void *all = reallocarray(names->all, capacity, sizeof *names->all);
        if (!all)
            return -ENOMEM;
        names->all = all;
        names->capacity = capacity;
    }
    strncpy(names->all[names->count], name, RING_NAME_BYTES - 1);
    names->all[names->count++][RING_NAME_BYTES - 1] = '\0';
    return 0;
}

static int by_name(const void *one, const void *other)
{
    return strcmp(one, other);
}

int weir_group_list(const char *bus, const char *ring, int (*callback)(void *ctx, const char *group), void *ctx)
{
    struct attachment attachment;
    struct names names = {NULL, 0, 0};
    fail_clear();
    if (!callback)
        return fail(-EINVAL, "there is nothing to call back");
    int r = attachment_open(&attachment, bus, ring, SHM_LOOK, false);
    if (r < 0)
        return r;
    r = shm_part_list(attachment.shm.dir_fd, remember, &names);
    if (r < 0)
        fail(r, "cannot list the directory of ring %s: %s", attachment.view.identity.name, strerror(-r));
    attachment_close(&attachment);
    if (r == 0 && names.count)
        qsort(names.all, names.count, sizeof *names.all, by_name);
    for (size_t i = 0; r == 0 && i < names.count; i++)
        r = callback(ctx, names.all[i]);
    free(names.all);
    return r;
}

int weir_group_inspect(const char *bus, const char *ring, const char *group, struct weir_group_info *ret_info)
{
    struct attachment attachment;
    struct shm_part part;
    struct group_view view = {.header = NULL};
    struct group_counts counts = {0};
    fail_clear();
    if (!group || !ret_info || ret_info->size != sizeof *ret_info)
        return fail(-EINVAL, "no group is named, or ret_info.size is not sizeof(struct weir_group_info)");
    int r = attachment_open(&attachment, bus, ring, SHM_LOOK, false);
    if (r < 0)
        return r;
    r = group_open(&attachment, group, false, &part, &view);
    if (r == 0) {
        const struct group_options *options = &view.options;
        group_count(&view, ring_end_position(&attachment.view), &counts);
        uint64_t end = ring_end_position(&attachment.view); /* behind the counts: nothing lies above it */
        *ret_info = (struct weir_group_info){
            .size = sizeof *ret_info,
            .created_ns = view.identity.created_ns,
            .lease_ns = options->lease_ns > INT64_MAX ? WEIR_FOREVER : (int64_t)options->lease_ns,
            .backoff_ns = (int64_t)options->backoff_ns,
            .backoff_max_ns = (int64_t)options->backoff_max_ns,
            .backoff_percent = options->backoff_percent,
            .jitter_percent = options->jitter_percent,
            .max_entries = options->entry_count,
            .max_workers = options->worker_count,
            .entry_count = counts.entries_used,
            .worker_count = count_living(&attachment, &view),
            .position = counts.cursor,
            .unfinished_position = counts.low_water,
            .lag_bytes = end > counts.low_water ? end - counts.low_water : 0,
            .held_count = counts.held,
            .open_count = counts.open,
            .delayed_count = counts.delayed,
            .taken_count = counts.taken,
            .acked_count = counts.acked,
            .returned_count = counts.returned,
            .refused_count = counts.refused,
            .gap_count = counts.missing,
        };
        shm_part_close(&part);
    }
    attachment_close(&attachment);
    return r;
}
