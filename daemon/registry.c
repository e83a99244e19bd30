/* SPDX-License-Identifier: Apache-2.0 */
/* The table of rings, and who still has a reference to one. */
#include "daemon/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* A bus has some rings, not thousands; a table that resizes itself would bring a thread of its own. */
#define REGISTRY_BUCKETS 256u

int registry_open(struct registry *registry)
{
    *registry = (struct registry){.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (registry->event_fd < 0)
        return -errno;
    registry->table = cds_lfht_new(REGISTRY_BUCKETS, REGISTRY_BUCKETS, REGISTRY_BUCKETS, 0, NULL);
    if (!registry->table) {
        registry_close(registry);
        return -ENOMEM;
    }
    return 0;
}

void registry_close(struct registry *registry)
{
    if (registry->table)
        cds_lfht_destroy(registry->table, NULL);
    registry->table = NULL;
    if (registry->event_fd >= 0)
        close(registry->event_fd);
    registry->event_fd = -1;
}

/*
 * Thread sanitizer sees neither that who finds a ring in the table finds it whole, nor that a grace period waits for the walks
 * before it, since liburcu orders both in ways of its own: it is told.
 */
#ifdef __SANITIZE_THREAD__
void AnnotateHappensBefore(const char *file, int line, const void *address);
void AnnotateHappensAfter(const char *file, int line, const void *address);
#else
#define AnnotateHappensBefore(file, line, address) ((void)(address))
#define AnnotateHappensAfter(file, line, address) ((void)(address))
#endif

static struct weird_ring *ring_of(struct cds_lfht_node *node)
{
    AnnotateHappensAfter(__FILE__, __LINE__, node);
    return (struct weird_ring *)(void *)((char *)node - offsetof(struct weird_ring, node));
}

static int registry_match(struct cds_lfht_node *node, const void *key)
{
    return strcmp(ring_of(node)->name, key) == 0;
}

void registry_add(struct registry *registry, struct weird_ring *ring)
{
    mem_store_relaxed(&ring->references, 1);
    ring->registry = registry;
    ring->hash = ring_producer_hash(ring->name);
    cds_lfht_node_init(&ring->node);
    AnnotateHappensBefore(__FILE__, __LINE__, &ring->node);
    rcu_read_lock();
    cds_lfht_add(registry->table, (unsigned long)ring->hash, &ring->node);
    rcu_read_unlock();
    registry_changed(registry);
}

void registry_remove(struct registry *registry, struct weird_ring *ring)
{
    rcu_read_lock();
    cds_lfht_del(registry->table, &ring->node);
    rcu_read_unlock();
    mem_store_release(&ring->gone, 1);
    registry_changed(registry);
}

struct weird_ring *registry_find(struct registry *registry, const char *name)
{
    struct cds_lfht_iter iter;
    cds_lfht_lookup(registry->table, (unsigned long)ring_producer_hash(name), registry_match, name, &iter);
    struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
    return node ? ring_of(node) : NULL;
}

bool registry_walk(struct registry *registry, bool (*visit)(void *ctx, struct weird_ring *ring), void *ctx)
{
    struct cds_lfht_iter iter;
    bool stopped = false;
    rcu_read_lock();
    cds_lfht_first(registry->table, &iter);
    for (struct cds_lfht_node *node; !stopped && (node = cds_lfht_iter_get_node(&iter));
         cds_lfht_next(registry->table, &iter))
        stopped = visit(ctx, ring_of(node));
    AnnotateHappensBefore(__FILE__, __LINE__, registry);
    rcu_read_unlock();
    return stopped;
}

void registry_grace(const struct registry *registry)
{
    synchronize_rcu();
    AnnotateHappensAfter(__FILE__, __LINE__, registry);
}

void registry_changed(struct registry *registry)
{
    mem_add(&registry->generation, 1);
}

void registry_call(struct registry *registry)
{
    uint64_t one = 1;
    ssize_t bytes = write(registry->event_fd, &one, sizeof one);
    (void)bytes; /* full: it is readable, which is all that matters */
}

bool weird_ring_get(struct weird_ring *ring)
{
    for (;;) {
        uint64_t references = mem_load_acquire(&ring->references);
        if (references == 0)
            return false;
        if (mem_swap(&ring->references, references, references + 1))
            return true;
    }
}

void weird_ring_put(struct weird_ring *ring)
{
    struct registry *registry = ring->registry;
    if (mem_add(&ring->references, (uint64_t)-1) != 1)
        return;
    mem_store_release(&ring->unused, 1); /* the conductor may free it from here on */
    registry_call(registry);
}

void weird_ring_free(struct weird_ring *ring)
{
    binding_close(ring->binding);
    hold_close(&ring->hold);
    free(ring);
}

bool weird_ring_is_named(const struct weird_ring *ring, int bus_fd)
{
    struct stat st;
    return fstatat(bus_fd, ring->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == ring->place.device &&
           st.st_ino == ring->place.inode;
}

void weird_ring_hurt(struct weird_ring *ring)
{
    mem_store_release(&ring->hurt, 1);
    registry_call(ring->registry);
}
