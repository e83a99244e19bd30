/* SPDX-License-Identifier: Apache-2.0 */
/* Remembering what cannot be served, by what its files look like from outside. */
#include "daemon/skip.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/log.h"
#include "ringbuf/layout.h"

/* What can be told of a ring's files from outside. While it stays the same, what made no sense makes none. */
struct skip_stamp {
    struct skip_file {
        uint64_t inode;
        int64_t changed_ns;
        int64_t bytes;
    } files[4]; /* the directory, control, readers, data */
};

struct skip {
    struct skip *next;
    char name[RING_NAME_BYTES];
    struct skip_stamp stamp;
    bool for_good; /* until the stamp changes */
    uint64_t due_ns, delay_ns;
    uint64_t seen; /* in this round */
    struct shm_why told;
};

uint64_t skip_delay(uint64_t delay_ns)
{
    if (delay_ns == 0)
        return SKIP_DELAY_MIN_NS;
    return 2 * delay_ns < SKIP_DELAY_MAX_NS ? 2 * delay_ns : SKIP_DELAY_MAX_NS;
}

static void skip_stamp(int bus_fd, const char *name, struct skip_stamp *ret_stamp)
{
    static const char *const files[] = {"", "/control", "/readers", "/data"};
    memset(ret_stamp, 0, sizeof *ret_stamp);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[RING_NAME_BYTES + 16];
        struct stat st;
        snprintf(path, sizeof path, "%s%s", name, files[i]);
        if (fstatat(bus_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        ret_stamp->files[i].inode = st.st_ino;
        ret_stamp->files[i].changed_ns = st.st_ctim.tv_sec * 1000000000ll + st.st_ctim.tv_nsec;
        ret_stamp->files[i].bytes = st.st_size;
    }
}

static struct skip *skip_find(const struct skip_list *list, const char *name)
{
    struct skip *skip = list->first;
    while (skip && strcmp(skip->name, name) != 0)
        skip = skip->next;
    return skip;
}

bool skip_again(struct skip_list *list, int bus_fd, const char *name, uint64_t round, uint64_t now_ns,
                uint64_t *ret_due_ns)
{
    struct skip *skip = skip_find(list, name);
    struct skip_stamp stamp;
    if (!skip)
        return false;
    skip->seen = round;
    skip_stamp(bus_fd, name, &stamp);
    if (memcmp(&stamp, &skip->stamp, sizeof stamp) != 0 || (!skip->for_good && skip->due_ns <= now_ns))
        return false;
    *ret_due_ns = skip->for_good ? UINT64_MAX : skip->due_ns;
    return true;
}

static bool skip_hopeless(int error)
{
    return error == -EBADMSG || error == -EMEDIUMTYPE || error == -EPROTONOSUPPORT || error == -EFAULT;
}

uint64_t skip_add(struct skip_list *list, int bus_fd, const char *name, uint64_t round, int error,
                  const struct shm_why *why)
{
    struct skip *skip = skip_find(list, name);
    struct skip_stamp stamp;
    skip_stamp(bus_fd, name, &stamp);
    if (!skip) {
        skip = calloc(1, sizeof *skip);
        if (!skip)
            return shm_now_ns() + SKIP_DELAY_MAX_NS;
        memcpy(skip->name, name, strnlen(name, RING_NAME_BYTES - 1));
        skip->next = list->first;
        list->first = skip;
    }
    bool changed = memcmp(&stamp, &skip->stamp, sizeof stamp) != 0;
    if (changed || strcmp(skip->told.text, why->text) != 0)
        log_error("ring %s is not served: %s", name, why->text[0] ? why->text : strerror(-error));
    skip->stamp = stamp;
    skip->told = *why;
    skip->seen = round;
    skip->for_good = skip_hopeless(error);
    skip->delay_ns = skip_delay(changed ? 0 : skip->delay_ns);
    skip->due_ns = shm_now_ns() + skip->delay_ns;
    return skip->for_good ? UINT64_MAX : skip->due_ns;
}

void skip_forget(struct skip_list *list, const char *name)
{
    for (struct skip **at = &list->first; *at; at = &(*at)->next) {
        struct skip *skip = *at;
        if (strcmp(skip->name, name) == 0) {
            *at = skip->next;
            free(skip);
            return;
        }
    }
}

void skip_forget_unseen(struct skip_list *list, uint64_t round)
{
    for (struct skip **at = &list->first; *at;) {
        struct skip *skip = *at;
        if (skip->seen == round) {
            at = &skip->next;
            continue;
        }
        *at = skip->next;
        free(skip);
    }
}
