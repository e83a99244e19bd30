/* SPDX-License-Identifier: Apache-2.0 */
/* One thread's alone. The memory is others': it is touched under guard, and a group that was cut short is left alone. */
#include "daemon/groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bell.h"
#include "daemon/guard.h"
#include "daemon/log.h"
#include "group/group.h"

struct groups_one {
    struct groups_one *next;
    char name[RING_NAME_BYTES];
    struct shm_part part;
    struct group_view view;
    struct group_ender ender;
    bool sound;
    bool seen; /* its file is still there */
};

static struct groups_one *find(const struct groups *groups, const char *name)
{
    struct groups_one *one = groups->first;
    while (one && strcmp(one->name, name) != 0)
        one = one->next;
    return one;
}

static void let_go(struct groups_one *one)
{
    shm_part_close(&one->part);
    free(one);
}

/* -- which groups ------------------------------------------------------------------------------------------------------ */

struct refresh {
    struct groups *groups;
    int dir_fd;
    const char *ring;
    const struct ring_view *ring_view;
};

struct check {
    struct groups_one *one;
    const struct ring_view *ring_view;
    const char *reason;
};

static int check_step(void *argument)
{
    struct check *check = argument;
    struct groups_one *one = check->one;
    int r = group_view_init(&one->view, one->part.memory, one->part.bytes, &check->reason);
    if (r == 0 && memcmp(one->view.identity.ring_id, check->ring_view->identity.ring_id,
                         sizeof one->view.identity.ring_id) != 0) {
        check->reason = "it was made for another ring";
        r = -EBADMSG;
    }
    return r;
}

static void take(const struct refresh *refresh, struct groups_one *one)
{
    struct shm_why why = {""};
    struct check check = {.one = one, .ring_view = refresh->ring_view, .reason = "its file was cut short"};
    int r = shm_part_open(refresh->dir_fd, one->name, true, &one->part, &why);
    if (r == 0)
        r = guard_run(check_step, &check);
    one->sound = r == 0;
    if (r < 0 && r != -ENOENT)
        log_warning("ring %s: group %s is left alone: %s", refresh->ring, one->name,
                    why.text[0] ? why.text : check.reason);
}

static int refresh_one(void *ctx, const char *name)
{
    const struct refresh *refresh = ctx;
    struct groups_one *one = find(refresh->groups, name);
    if (one && (!one->part.memory || shm_part_is_named(refresh->dir_fd, name, &one->part))) {
        one->seen = true;
        return 0;
    }
    if (one) { /* another one of that name */
        shm_part_close(&one->part);
    } else {
        one = calloc(1, sizeof *one);
        if (!one)
            return 0; /* with the next look */
        memcpy(one->name, name, strnlen(name, sizeof one->name - 1));
        one->next = refresh->groups->first;
        refresh->groups->first = one;
    }
    one->ender = (struct group_ender){0};
    one->seen = true;
    take(refresh, one);
    return 0;
}

static void refresh_all(struct groups *groups, struct refresh *refresh)
{
    for (struct groups_one *one = groups->first; one; one = one->next)
        one->seen = false;
    if (shm_part_list(refresh->dir_fd, refresh_one, refresh) < 0)
        return; /* not known: as they were */
    for (struct groups_one **at = &groups->first; *at;) {
        struct groups_one *one = *at;
        if (one->seen) {
            at = &one->next;
            continue;
        }
        *at = one->next;
        let_go(one);
    }
}

/* -- a look ------------------------------------------------------------------------------------------------------------- */

struct look {
    struct groups_one *one;
    const struct ring_view *ring_view;
    uint64_t now_ns;
    uint32_t resolved;
    bool suspects;
};

static bool worker_dead(void *ctx, uint64_t id)
{
    const struct ring_view *view = ctx;
    return view->ops->reader_dead(view->ctx, id);
}

static int look_step(void *argument)
{
    struct look *look = argument;
    struct group_view *view = &look->one->view;
    bool opened = false;
    look->resolved = group_sweep(view, worker_dead, (void *)(uintptr_t)look->ring_view, &opened);
    opened |= group_end_leases(view, &look->one->ender, look->now_ns, &look->suspects);
    if (opened)
        bell_ring(&view->header->bell.seq);
    return 0;
}

uint32_t groups_look(struct groups *groups, int dir_fd, const char *ring, const struct ring_view *view, uint64_t now_ns,
                     bool *ret_soon)
{
    struct refresh refresh = {.groups = groups, .dir_fd = dir_fd, .ring = ring, .ring_view = view};
    uint32_t resolved = 0;
    *ret_soon = false;
    refresh_all(groups, &refresh);
    for (struct groups_one *one = groups->first; one; one = one->next) {
        struct look look = {.one = one, .ring_view = view, .now_ns = now_ns};
        if (!one->sound)
            continue;
        if (guard_run(look_step, &look) < 0) {
            one->sound = false;
            log_warning("ring %s: group %s is left alone: its file was cut short", ring, one->name);
            continue;
        }
        resolved += look.resolved;
        *ret_soon |= look.suspects;
    }
    return resolved;
}

void groups_close(struct groups *groups)
{
    while (groups->first) {
        struct groups_one *one = groups->first;
        groups->first = one->next;
        let_go(one);
    }
}
