/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a ring's memory lies: on which NUMA node, in pages of what size. It is said once, by the creator, before the
 * pages are touched: a page lies where it was first touched, and the node stays with a file of tmpfs for pages that
 * come back from swap. Whoever attaches has nothing to do with it. The system calls are made directly, since libweir
 * needs libc alone.
 */
#include "shm/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

#define NODES 1024u /* the most that Linux can be built for */
#define BITS (8 * sizeof(unsigned long))
#define PAGES_ASKED 1024u

struct nodes {
    unsigned long bits[NODES / BITS];
};

/* -- Nodes -------------------------------------------------------------------------------------------------------- */

/* The kernel counts one bit less than it is told. */
static int get_allowed(struct nodes *ret_nodes)
{
    memset(ret_nodes, 0, sizeof(*ret_nodes));
    return syscall(SYS_get_mempolicy, NULL, ret_nodes->bits, NODES + 1, NULL, MPOL_F_MEMS_ALLOWED) == 0 ? 0 : -errno;
}

static bool has_node(const struct nodes *nodes, unsigned node)
{
    return node < NODES && (nodes->bits[node / BITS] >> node % BITS & 1);
}

static int no_numa(int error, struct shm_why *why)
{
    if (error == ENOSYS)
        return shm_fail(why, EOPNOTSUPP, "no NUMA node can be chosen: this kernel knows of none");
    return shm_fail(why, EOPNOTSUPP, "no NUMA node can be chosen: the kernel refuses it (%m; a container's rules?)");
}

int shm_node_here(unsigned *ret_node, struct shm_why *why)
{
    unsigned cpu;
    if (syscall(SYS_getcpu, &cpu, ret_node, NULL) != 0)
        return no_numa(errno, why);
    return 0;
}

int shm_node_check(unsigned node, struct shm_why *why)
{
    struct nodes allowed;
    int error = get_allowed(&allowed);
    if (error)
        return no_numa(-error, why);
    if (has_node(&allowed, node))
        return 0;
    char list[128] = "";
    size_t used = 0;
    for (unsigned i = 0; i < NODES && used < sizeof(list) - 8; i++) {
        if (has_node(&allowed, i))
            used += (size_t)snprintf(list + used, sizeof(list) - used, " %u", i);
    }
    return shm_fail(why, EINVAL, "there is no NUMA node %u that this process may use; those that it may:%s", node,
                    list);
}

/* -- Before memory is touched ------------------------------------------------------------------------------------- */

static int bind_node(void *memory, uint64_t bytes, unsigned node, struct shm_why *why)
{
    struct nodes nodes = {{0}};
    nodes.bits[node / BITS] = 1ul << node % BITS;
    if (syscall(SYS_mbind, memory, (unsigned long)bytes, MPOL_BIND, nodes.bits, NODES + 1, 0) == 0)
        return 0;
    if (errno == EINVAL)
        return shm_node_check(node, why) ? -EINVAL
                                         : shm_fail(why, EINVAL, "cannot bind memory to NUMA node %u: %m", node);
    return no_numa(errno, why);
}

int shm_place_memory(void *memory, uint64_t bytes, const struct shm_create *create, bool is_data, struct shm_why *why)
{
    int error = create->set_node ? bind_node(memory, bytes, create->node, why) : 0;
    if (!error && is_data && create->huge == SHM_HUGE_TRANSPARENT && madvise(memory, (size_t)bytes, MADV_HUGEPAGE) != 0)
        error = shm_fail(why, EOPNOTSUPP, "no transparent huge pages: this kernel has none (%m)");
    return error;
}

/* -- Afterwards --------------------------------------------------------------------------------------------------- */

static uint64_t base_page_bytes(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t whole(uint64_t bytes, uint64_t page)
{
    return (bytes + page - 1) / page * page;
}

/* Of hugetlbfs: its pages' size; else 0. */
static uint64_t huge_file_page(int fd)
{
    struct statfs status;
    bool huge = fstatfs(fd, &status) == 0 && (unsigned long)status.f_type == HUGETLBFS_MAGIC;
    return huge ? (uint64_t)status.f_bsize : 0;
}

/* How much of [from, to) huge pages of a tmpfs map, in all areas there. */
static uint64_t transparent_bytes(uintptr_t from, uintptr_t to)
{
    char line[512];
    bool inside = false;
    uint64_t sum = 0;
    FILE *areas = fopen("/proc/self/smaps", "re");
    while (areas && fgets(line, sizeof(line), areas)) {
        uintptr_t start, end;
        uint64_t kib;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) == 2)
            inside = start >= from && end <= to;
        else if (inside && sscanf(line, "ShmemPmdMapped: %" SCNu64, &kib) == 1)
            sum += kib * 1024;
    }
    if (areas)
        (void)fclose(areas);
    return sum;
}

/* Adds each page to the node that it lies on; false where the kernel does not tell. */
static bool count_nodes(void *memory, uint64_t bytes, uint64_t page, uint64_t *node_bytes)
{
    void *pages[PAGES_ASKED];
    int nodes[PAGES_ASKED];
    for (uint64_t at = 0; at < bytes;) {
        unsigned long count = 0;
        for (; count < PAGES_ASKED && at < bytes; at += page)
            pages[count++] = (char *)memory + at;
        if (syscall(SYS_move_pages, 0, count, pages, NULL, nodes, 0) != 0)
            return false;
        for (unsigned long i = 0; i < count; i++) {
            if (nodes[i] >= 0 && (unsigned)nodes[i] < NODES)
                node_bytes[nodes[i]] += page;
        }
    }
    return true;
}

void shm_look_placement(const struct shm_ring *ring, struct shm_placement *ret_placement)
{
    uint64_t base = base_page_bytes(), huge_page = huge_file_page(ring->data_fd), node_bytes[NODES] = {0};
    uint64_t data_page = huge_page ? huge_page : base;
    struct {
        void *memory;
        uint64_t bytes, page;
    } parts[] = {{ring->control, ring->sizes.control_bytes, base},
                 {ring->readers, ring->sizes.readers_bytes, base},
                 {ring->data, ring->sizes.data_bytes, data_page}};
    struct shm_placement placement = {.node = -1, .page_bytes = data_page};
    bool told = true;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        placement.memory_bytes += whole(parts[i].bytes, parts[i].page);
        /* A page that is not mapped is not told of. Refused (an older kernel, a file cut short): so are those pages. */
        (void)madvise(parts[i].memory, (size_t)parts[i].bytes, MADV_POPULATE_READ);
        told = told && count_nodes(parts[i].memory, parts[i].bytes, parts[i].page, node_bytes);
    }
    if (huge_page)
        placement.huge_bytes = whole(ring->sizes.data_bytes, huge_page);
    else
        placement.huge_bytes = transparent_bytes((uintptr_t)ring->data, (uintptr_t)ring->data + ring->sizes.data_bytes);
    if (placement.huge_bytes && !huge_page)
        (void)shm_huge_page_bytes(SHM_HUGE_TRANSPARENT, UINT64_MAX, &placement.page_bytes, NULL);
    for (int i = 0; told && i < (int)NODES; i++) {
        if (node_bytes[i] > placement.node_bytes) {
            placement.node = i;
            placement.node_bytes = node_bytes[i];
        }
    }
    *ret_placement = placement;
}

int shm_place_verify(const struct shm_ring *ring, const struct shm_create *create, struct shm_why *why)
{
    struct shm_placement placement;
    struct shm_amount there, all;
    if (!create->set_node && create->huge == SHM_HUGE_NONE)
        return 0;
    shm_look_placement(ring, &placement);
    if (create->huge == SHM_HUGE_TRANSPARENT && placement.huge_bytes == 0)
        return shm_fail(
            why, EOPNOTSUPP,
            "no transparent huge pages for the ring '%s': its tmpfs must be mounted with huge=advise (mount -o "
            "remount,huge=advise ...), /sys/kernel/mm/transparent_hugepage/shmem_enabled must not be deny, and "
            "memory not all in small pieces",
            create->name);
    if (create->set_node && placement.node >= 0 &&
        ((unsigned)placement.node != create->node || placement.node_bytes != placement.memory_bytes))
        return shm_fail(why, ENOMEM,
                        "too little memory on NUMA node %u for the ring '%s': %s of %s would lie on node %d",
                        create->node, create->name, shm_amount_of(placement.node_bytes, &there),
                        shm_amount_of(placement.memory_bytes, &all), placement.node);
    return 0;
}
