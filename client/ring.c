/* SPDX-License-Identifier: Apache-2.0 */
/* Creating, removing and listing rings. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/attach.h"
#include "journal/journal.h"
#include "weir.h"

#define DEFAULT_SEGMENT_BYTES 262144u
#define DEFAULT_LIMIT_SEGMENTS 32u
#define DEFAULT_READERS 16u
#define DEFAULT_PUBLISHERS 8u
static_assert(SHM_HUGE_PAGES == (int)WEIR_HUGE_PAGES && RING_HUGE_PAGES == (int)WEIR_HUGE_PAGES, "one enumeration");
static_assert(SHM_HUGE_TRANSPARENT == (int)WEIR_HUGE_TRANSPARENT && RING_HUGE_TRANSPARENT == (int)WEIR_HUGE_TRANSPARENT,
              "in three places");
#define NAMES_PER_RING 64u /* of publishers, and of cursors; more when more are admitted */
/* For weird to notice that a ring is removed, and to let go of its journal. */
#define LET_GO_NS 5000000000ull
#define LET_GO_STEP_NS 2000000

int weir_bus_default(char *buffer, size_t buffer_bytes)
{
    struct shm_why why = {""};
    fail_clear();
    int fd = shm_bus_open(NULL, false, buffer, buffer_bytes, &why);
    if (fd < 0)
        return fail(fd, "%s", why.text);
    close(fd);
    return 0;
}

static uint32_t log2_of(uint64_t value)
{
    return (uint32_t)(63 - __builtin_clzll(value));
}

static uint32_t at_least(uint32_t value, uint32_t least)
{
    return value < least ? least : value;
}

/* The struct before it grew: a program that was built then knows of no placement, and has none. */
#define OPTIONS_BYTES_UNPLACED offsetof(struct weir_ring_options, huge)

static int take_options(const struct weir_ring_options *given, struct weir_ring_options *ret_options)
{
    *ret_options = (struct weir_ring_options)WEIR_RING_OPTIONS_INIT;
    if (!given)
        return 0;
    if (given->size != sizeof *given && given->size != OPTIONS_BYTES_UNPLACED)
        return fail(-EINVAL, "weir_ring_create: options.size is not sizeof(struct weir_ring_options)");
    memcpy(ret_options, given, given->size);
    return 0;
}

/* A huge page holds no two segments' halves, so that each stays what it is when a reader pins it. */
static int choose_segment(const struct weir_ring_options *options, uint64_t *ret_bytes)
{
    struct shm_why why = {""};
    uint64_t page = 0, segment = options->segment_bytes ? options->segment_bytes : DEFAULT_SEGMENT_BYTES;
    int r = options->huge == WEIR_HUGE_NONE
                ? 0
                : shm_huge_page_bytes((enum shm_huge)options->huge, 1ull << RING_SEGMENT_SHIFT_MAX, &page, &why);
    if (r < 0)
        return fail(r, "%s", why.text);
    if (segment < page && options->segment_bytes)
        return fail(-EINVAL, "segments of %llu bytes are smaller than a huge page: they need %llu",
                    (unsigned long long)segment, (unsigned long long)page);
    *ret_bytes = segment < page ? page : segment;
    return 0;
}

static int choose_node(int asked, uint32_t *ret_node)
{
    struct shm_why why = {""};
    unsigned node = 0;
    if (asked < WEIR_NUMA_LOCAL || asked >= (int)RING_NODES_MAX)
        return fail(-EINVAL, "there is no NUMA node %d", asked);
    if (asked == WEIR_NUMA_NONE) {
        *ret_node = 0;
        return 0;
    }
    int r = asked == WEIR_NUMA_LOCAL ? shm_node_here(&node, &why) : 0;
    if (r < 0)
        return fail(r, "%s", why.text);
    *ret_node = (asked == WEIR_NUMA_LOCAL ? node : (uint32_t)asked) + 1;
    return 0;
}

/* From the caller's options to a geometry; segments grow as the memory limit needs it, unless they were asked for. */
static int choose_geometry(const struct weir_ring_options *options, struct ring_geometry *ret_geometry)
{
    const char *reason = "";
    uint64_t segment = 0;
    if (options->huge < WEIR_HUGE_NONE || options->huge > WEIR_HUGE_TRANSPARENT)
        return fail(-EINVAL, "huge must be one of enum weir_huge");
    int error = choose_segment(options, &segment);
    if (error < 0)
        return error;
    if (segment & (segment - 1))
        return fail(-EINVAL, "segment bytes must be a power of two from 4096 (4 KiB) to 67108864 (64 MiB)");
    if (options->exclusive && options->max_publishers > 1)
        return fail(-EINVAL, "an exclusive ring has one publisher at a time: ask for no more than one");
    struct ring_geometry g = {.flags = (options->exclusive ? RING_EXCLUSIVE : 0u) |
                                       (options->journaled ? RING_JOURNALED : 0u),
                              .when_full = (uint32_t)options->when_full,
                              .segment_shift = log2_of(segment),
                              .max_publishers = options->exclusive        ? 1
                                                : options->max_publishers ? options->max_publishers
                                                                          : DEFAULT_PUBLISHERS,
                              .max_readers = options->max_readers ? options->max_readers : DEFAULT_READERS,
                              .features_incompatible = options->fenced ? RING_FEATURE_FENCED : 0,
                              .huge = (uint32_t)options->huge};
    if ((error = choose_node(options->numa_node, &g.numa_node)) < 0)
        return error;
    g.max_producers = at_least(4 * g.max_publishers, NAMES_PER_RING);
    g.max_cursors = at_least(4 * g.max_readers, NAMES_PER_RING);
    for (;;) {
        g.memory_limit_bytes = options->memory_limit_bytes ? options->memory_limit_bytes
                                                           : (uint64_t)DEFAULT_LIMIT_SEGMENTS << g.segment_shift;
        int r = ring_geometry_check(&g, &reason);
        if (r == 0)
            break;
        bool grow = !options->segment_bytes && g.segment_shift < RING_SEGMENT_SHIFT_MAX &&
                    g.memory_limit_bytes >> g.segment_shift > RING_SLOTS_MAX / 2;
        if (!grow)
            return fail(r, "%s", reason);
        g.segment_shift++;
    }
    if (options->first_position & ((1ull << g.segment_shift) - 1))
        return fail(-EINVAL, "the first position must be a multiple of the segment's %llu bytes",
                    1ull << g.segment_shift);
    *ret_geometry = g;
    return 0;
}

static int find_group(const char *group, gid_t *ret_gid)
{
    char *end;
    unsigned long number = strtoul(group, &end, 10);
    if (*group && !*end && number < UINT32_MAX) {
        *ret_gid = (gid_t)number;
        return 0;
    }
    struct group entry, *found = NULL;
    char buffer[4096];
    int r = getgrnam_r(group, &entry, buffer, sizeof buffer, &found);
    if (!found)
        return fail(r ? -r : -EINVAL, "there is no group %s", group);
    *ret_gid = found->gr_gid;
    return 0;
}

struct format {
    const struct ring_geometry *geometry;
    const struct ring_identity *identity;
};

static void format(void *ctx, void *control, void *readers, void *data)
{
    const struct format *format = ctx;
    ring_format(control, readers, data, format->geometry, format->identity);
}

int weir_ring_create(const char *bus, const char *name, const struct weir_ring_options *given)
{
    struct weir_ring_options options;
    struct ring_geometry geometry = {0};
    struct shm_why why = {""};
    char path[256];
    fail_clear();
    if (!name)
        return fail(-EINVAL, "weir_ring_create: name is NULL");
    int r = take_options(given, &options);
    if (r < 0)
        return r;
    r = shm_name_check(name);
    if (r < 0)
        return fail(r, "ring name \"%.80s\": %s", name, weir_strerror(r));
    if (options.mode & ~0666u)
        return fail(-EINVAL, "mode %o: rights are made of read and write bits (octal 0 to 0666)", options.mode);
    if ((r = choose_geometry(&options, &geometry)) < 0)
        return r;

    struct ring_identity identity = {.created_ns = shm_wall_ns(), .epoch = 1, .start = options.first_position};
    memcpy(identity.name, name, strlen(name) + 1); /* its length was checked */
    if (getrandom(identity.ring_id, sizeof identity.ring_id, 0) != (ssize_t)sizeof identity.ring_id)
        return fail(-errno, "no random bytes for the ring's id");
    struct format what = {&geometry, &identity};
    struct shm_create create = {.name = name,
                                .sizes = {geometry.control_bytes, geometry.readers_bytes, geometry.data_bytes},
                                .huge = (enum shm_huge)geometry.huge,
                                .set_node = geometry.numa_node != 0,
                                .node = geometry.numa_node ? geometry.numa_node - 1 : 0,
                                .mode = options.mode ? options.mode : 0600,
                                .format = format,
                                .ctx = &what};
    if (options.group) {
        if ((r = find_group(options.group, &create.gid)) < 0)
            return r;
        create.set_gid = true;
    }
    int bus_fd = shm_bus_open(bus, true, path, sizeof path, &why);
    if (bus_fd < 0)
        return fail(bus_fd, "%s", why.text);
    r = shm_create(bus_fd, &create, &why);
    close(bus_fd);
    return r < 0 ? fail(r, "%s", why.text[0] ? why.text : weir_strerror(r)) : 0;
}

/* -- removing ------------------------------------------------------------------------------------------------------ */

static int count_living(void *ctx, const struct weir_participant *participant)
{
    if (participant->role != WEIR_DAEMON && participant->state != WEIR_DEAD)
        ++*(int *)ctx;
    return 0;
}

/* The journal directory DIR/NAME that the ring's link names: DIR opened, or negative. */
static int journal_parent(const struct attachment *attachment, const char *name)
{
    char target[4096];
    ssize_t length = readlinkat(attachment->shm.dir_fd, "journal", target, sizeof target - 1);
    if (length < 0)
        return -errno;
    target[length] = 0;
    char *slash = strrchr(target, '/');
    if (!slash || slash == target || strcmp(slash + 1, name) != 0)
        return -EINVAL;
    *slash = 0;
    int fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* A few of the pins by name, the others by number. */
struct pins {
    char names[256];
    size_t used;
    uint32_t count, named;
};

static int name_pin(void *ctx, const struct journal_pin *pin)
{
    struct pins *pins = ctx;
    size_t left = sizeof pins->names - pins->used;
    int length = snprintf(pins->names + pins->used, left, "%s%s", pins->count ? ", " : "", pin->name);
    if (pins->named == pins->count++ && (size_t)length < left) {
        pins->used += (size_t)length;
        pins->named++;
    }
    pins->names[pins->used] = 0;
    return 0;
}

/* Somebody wanted a range kept, and may know nothing of this. What is not this ring's journal does not go with it. */
static int check_pins(int journal_fd, const char *name, const struct ring_identity *identity)
{
    struct journal_meta meta;
    struct pins pins = {.count = 0};
    bool rebuilt;
    int fd = openat(journal_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = fd < 0 ? -errno : journal_look(fd, &meta, &rebuilt);
    if (r == 0 && memcmp(meta.identity.ring_id, identity->ring_id, sizeof meta.identity.ring_id) == 0)
        r = journal_pins(fd, name_pin, &pins);
    if (fd >= 0)
        close(fd);
    if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -EMEDIUMTYPE)
        return 0;
    if (r < 0)
        return fail(r, "the pins of the journal of ring %s cannot be read (%s): keep the journal, or use force", name,
                    weir_strerror(r));
    if (pins.count > pins.named)
        return fail(-EBUSY, "pins keep the journal of ring %s (%s and %u more): unpin, keep the journal, or use force",
                    name, pins.names, pins.count - pins.named);
    if (pins.count)
        return fail(-EBUSY, "pins keep the journal of ring %s (%s): unpin, keep the journal, or use force", name,
                    pins.names);
    return 0;
}

/*
 * weird, if it serves the ring, removes the journal when it notices; else we do. Nothing tells when a lock is free but trying
 * to take it. Another ring's journal under that name, of one that was made meanwhile or that the link was bent to, stays.
 */
static int remove_journal(int journal_fd, const char *name, const struct ring_identity *identity)
{
    uint64_t deadline_ns = shm_now_ns() + LET_GO_NS;
    bool served = false;
    int r;
    while ((r = journal_remove(journal_fd, name, identity)) == -EBUSY && shm_now_ns() < deadline_ns) {
        served = true;
        nanosleep(&(struct timespec){.tv_nsec = LET_GO_STEP_NS}, NULL);
    }
    if (r == -EBUSY)
        return fail(r,
                    "ring %s is removed, its journal is not: weird has not let go of it yet, and removes it when it "
                    "does. If weird dies first, the ring comes back with the next one: remove it then",
                    name);
    if (r == -ESTALE && !served)
        return fail(-EMEDIUMTYPE,
                    "ring %s is removed; what its link calls its journal is another ring's, and was left alone", name);
    if (r < 0 && r != -ENOENT && r != -ESTALE)
        return fail(r, "ring %s is removed, its journal is not: %s", name, weir_strerror(r));
    return 0;
}

struct removal {
    struct attachment *attachment;
    const char *name;
    int keep_journal;
    int *journal_fd;
};

/* Those who wait in the ring are told at once. weird may have made the journal, and the link, a moment ago. */
static void tell_removed(void *ctx, int dir_fd)
{
    const struct removal *removal = ctx;
    struct ring_control *control = removal->attachment->view.control;
    (void)dir_fd;
    mem_store_release(&control->removed, removal->keep_journal ? RING_REMOVED : RING_REMOVED_WITH_JOURNAL);
    attachment_ring(&control->records);
    attachment_ring(&control->progress);
    attachment_ring(&control->work);
    if (*removal->journal_fd == -ENOENT && !removal->keep_journal)
        *removal->journal_fd = journal_parent(removal->attachment, removal->name);
}

int weir_ring_remove(const char *bus, const char *name, int force, int keep_journal)
{
    struct attachment attachment;
    struct shm_why why = {""};
    char path[256];
    int living = 0;
    fail_clear();
    int bus_fd = shm_bus_open(bus, false, path, sizeof path, &why);
    if (bus_fd < 0)
        return fail(bus_fd, "%s", why.text);
    int r = attachment_open(&attachment, bus, name, SHM_PUBLISH, false);
    bool sound = r == 0;
    if (r == -EACCES)
        fail(r, "uid %u may not remove the ring %s on %s: only its owner and root may", (unsigned)geteuid(), name,
             path);
    if (r == -ENOENT || r == -EACCES || (r < 0 && !force))
        goto out;
    if (sound && !force && (r = weir_ring_participants(bus, name, count_living, &living)) == 0 && living > 0)
        r = fail(-EBUSY, "ring %s is used by %d processes that are alive (weir stat %s names them; --force removes it)",
                 name, living, name);
    if (sound && r < 0)
        goto close;
    int journal_fd = sound && !keep_journal ? journal_parent(&attachment, name) : -ENOENT;
    if (journal_fd < 0 && journal_fd != -ENOENT && !force) {
        r = fail(journal_fd, "the journal of ring %s cannot be reached (%s): keep it, or use force", name,
                 weir_strerror(journal_fd));
        goto close;
    }
    if (journal_fd >= 0 && !force && (r = check_pins(journal_fd, name, &attachment.view.identity)) < 0) {
        close(journal_fd);
        goto close;
    }
    /* The name first: killed after that, nobody can attach any more; a journal that stayed brings the ring back when
     * weird starts, and removing it again finishes the work. */
    struct removal removal = {&attachment, name, keep_journal, &journal_fd};
    r = shm_remove_telling(bus_fd, name, sound ? tell_removed : NULL, &removal, &why);
    if (r < 0)
        fail(r, "%s", why.text[0] ? why.text : weir_strerror(r));
    if (r == 0 && journal_fd >= 0)
        r = remove_journal(journal_fd, name, &attachment.view.identity);
    if (journal_fd >= 0)
        close(journal_fd);
close:
    if (sound)
        attachment_close(&attachment);
out:
    close(bus_fd);
    return r;
}

/* -- listing ------------------------------------------------------------------------------------------------------- */

static int is_ring(const struct dirent *entry)
{
    return shm_name_check(entry->d_name) == 0 && (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN);
}

int weir_ring_list(const char *bus, int (*callback)(void *ctx, const char *name), void *ctx)
{
    struct dirent **entries;
    struct shm_why why = {""};
    char path[256];
    fail_clear();
    int bus_fd = shm_bus_open(bus, false, path, sizeof path, &why);
    if (bus_fd < 0)
        return fail(bus_fd, "%s", why.text);
    int count = scandirat(bus_fd, ".", &entries, is_ring, alphasort);
    int r = count < 0 ? fail(-errno, "cannot read the bus %s", path) : 0;
    for (int i = 0; i < count; i++) {
        if (r == 0)
            r = callback(ctx, entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    close(bus_fd);
    return r;
}
