/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is there memory for a ring? A tmpfs says no by itself, with ENOSPC. But its limit may lie far above what the machine
 * or the container has, and there the kernel's answer is to kill somebody; so those are asked beforehand.
 */
#include "shm/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct room {
    uint64_t free_bytes;
    const char *where;
    const char *remedy;
};

/* A tmpfs with size=0 has no limit and says that it has no blocks. */
static uint64_t room_of_tmpfs(int bus_fd)
{
    struct statvfs status;
    if (fstatvfs(bus_fd, &status) != 0 || status.f_blocks == 0)
        return UINT64_MAX;
    return (uint64_t)status.f_bavail * status.f_frsize;
}

/* A whole file of /proc or /sys, which are read in one piece. False: not there, or not to be read. */
static bool read_text(const char *path, char *text, size_t text_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, text_bytes - 1);
    (void)close(fd);
    if (got < 0)
        return false;
    text[got] = '\0';
    return true;
}

/* The number behind a key at the start of a line. */
static bool find_number(const char *text, const char *key, uint64_t *ret_number)
{
    size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0)
            return sscanf(line + length, "%" SCNu64, ret_number) == 1;
    }
    return false;
}

bool shm_read_number(const char *directory, const char *file, uint64_t *ret_number)
{
    char path[PATH_MAX], text[64];
    if (snprintf(path, sizeof(path), "%s/%s", directory, file) >= (int)sizeof(path))
        return false;
    return read_text(path, text, sizeof(text)) && find_number(text, "", ret_number);
}

/* Without /proc nobody knows, and nothing is refused. */
static void read_machine(uint64_t *ret_free_bytes, uint64_t *ret_swap_bytes)
{
    char text[4096];
    uint64_t available_kib, swap_kib;
    *ret_free_bytes = UINT64_MAX;
    *ret_swap_bytes = 0;
    if (!read_text("/proc/meminfo", text, sizeof(text)) || !find_number(text, "MemAvailable:", &available_kib))
        return;
    if (find_number(text, "SwapFree:", &swap_kib))
        *ret_swap_bytes = swap_kib * 1024;
    *ret_free_bytes = available_kib * 1024 + *ret_swap_bytes;
}

uint64_t shm_room_of_group(const char *directory)
{
    char path[PATH_MAX], text[8192];
    uint64_t limit, used, file = 0, shared = 0, slab = 0;
    if (!shm_read_number(directory, "memory.max", &limit) || !shm_read_number(directory, "memory.current", &used))
        return UINT64_MAX; /* "max" is no number */
    if (snprintf(path, sizeof(path), "%s/memory.stat", directory) < (int)sizeof(path) &&
        read_text(path, text, sizeof(text))) {
        (void)find_number(text, "file ", &file);
        (void)find_number(text, "shmem ", &shared);
        (void)find_number(text, "slab_reclaimable ", &slab);
    }
    /* Cached pages of files can be given up; those of a tmpfs count as cached and cannot. */
    uint64_t reclaimable = (file > shared ? file - shared : 0) + slab;
    used -= used < reclaimable ? used : reclaimable;
    return limit > used ? limit - used : 0;
}

/* The tightest control group from mine upwards, where version 2 accounts for memory. */
static uint64_t room_of_groups(void)
{
    char text[8192], path[PATH_MAX];
    static const char top[] = "/sys/fs/cgroup";
    if (!read_text("/proc/self/cgroup", text, sizeof(text)))
        return UINT64_MAX;
    char *mine = strstr(text, "0::/");
    if (!mine || (mine != text && mine[-1] != '\n'))
        return UINT64_MAX;
    mine += strlen("0::");
    mine[strcspn(mine, "\n")] = '\0';
    if (snprintf(path, sizeof(path), "%s%s", top, mine) >= (int)sizeof(path))
        return UINT64_MAX;

    uint64_t room = UINT64_MAX;
    while (strlen(path) >= strlen(top)) {
        uint64_t here = shm_room_of_group(path);
        room = here < room ? here : room;
        char *slash = strrchr(path, '/');
        *slash = '\0';
    }
    return room;
}

/* What the kernel can give on a NUMA node: bound to it, a process that finds none there is killed. */
static uint64_t room_of_node(unsigned node)
{
    char path[64], keys[4][32], text[4096];
    static const char *const names[] = {"MemFree:", "FilePages:", "Shmem:", "SReclaimable:"};
    uint64_t kib[4] = {0};
    (void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", node);
    if (!read_text(path, text, sizeof(text)))
        return UINT64_MAX;
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(keys[i], sizeof(keys[i]), "Node %u %s", node, names[i]);
        if (!find_number(text, keys[i], &kib[i]))
            return UINT64_MAX;
    }
    return (kib[0] + (kib[1] > kib[2] ? kib[1] - kib[2] : 0) + kib[3]) * 1024;
}

static struct room find_room(int bus_fd, const struct shm_place *place, const struct shm_create *create)
{
    uint64_t machine, swap;
    read_machine(&machine, &swap);
    uint64_t groups = room_of_groups();
    if (groups < UINT64_MAX - swap)
        groups += swap;

    struct room room = {room_of_tmpfs(bus_fd), place->text, "give the tmpfs more (mount -o remount,size=...)"};
    if (machine < room.free_bytes)
        room = (struct room){machine, "this machine's memory", "end what takes it"};
    if (groups < room.free_bytes)
        room = (struct room){groups, "the memory of this control group (container)", "raise its memory limit"};
    uint64_t node = create->set_node ? room_of_node(create->node) : UINT64_MAX;
    if (node < room.free_bytes)
        room = (struct room){node, "its NUMA node", "name another node"};
    return room;
}

static int explain_room(const struct room *room, const char *name, uint64_t needed_bytes, struct shm_why *why)
{
    struct shm_amount needed, there;
    return shm_fail(why, ENOMEM,
                    "too little memory for the ring '%s': it needs %s, and %s has %s free. "
                    "Ask for a smaller memory limit or fewer readers, remove rings, or %s",
                    name, shm_amount_of(needed_bytes, &needed), room->where, shm_amount_of(room->free_bytes, &there),
                    room->remedy);
}

int shm_room_check(int bus_fd, const struct shm_create *create, uint64_t needed_bytes, struct shm_why *why)
{
    struct shm_place place;
    (void)shm_place_of(bus_fd, &place);
    struct room room = find_room(bus_fd, &place, create);
    return needed_bytes <= room.free_bytes ? 0 : explain_room(&room, create->name, needed_bytes, why);
}

int shm_room_lost(int bus_fd, const struct shm_create *create, uint64_t needed_bytes, struct shm_why *why)
{
    struct shm_place place;
    (void)shm_place_of(bus_fd, &place);
    struct room room = find_room(bus_fd, &place, create);
    return explain_room(&room, create->name, needed_bytes, why);
}
