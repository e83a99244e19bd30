/* SPDX-License-Identifier: Apache-2.0 */
/* Journals from outside: finding, looking, verifying, repairing, pinning. Reading their messages: journal_read.c. */
#include "client/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/attach.h"

int journal_gap_reason(uint32_t reason)
{
    return reason == JOURNAL_GAP_EXPIRED ? WEIR_GAP_EXPIRED
           : reason == JOURNAL_GAP_LOST  ? WEIR_GAP_LOST
                                         : WEIR_GAP_DAMAGED;
}

static int told_error(int error)
{
    switch (error) {
    case -EMFILE:
    case -ENFILE:
        return -ENOMEM; /* "or handles" */
    case -EPERM:
    case -EROFS:
        return -EACCES;
    case -ENOTDIR:
    case -ELOOP:
        return -EMEDIUMTYPE;
    case -ESTALE:
        return -EBADMSG;
    default:
        return error;
    }
}

int journal_fail(const struct weir_journal *journal, int error, const char *what)
{
    return fail(told_error(error), "%s: %s: %s", journal->path, what, strerror(-error));
}

/* -- Where journals lie -------------------------------------------------------------------------------------------- */

/* The directory part of what the ring's link says. False: it has none. */
static bool linked_directory(int bus_fd, const char *ring, char *path, size_t path_bytes)
{
    char link[RING_NAME_BYTES + 16];
    snprintf(link, sizeof link, "%s/journal", ring);
    ssize_t length = readlinkat(bus_fd, link, path, path_bytes);
    if (length <= 0 || (size_t)length >= path_bytes)
        return false;
    path[length] = 0;
    char *slash = strrchr(path, '/');
    if (!slash || slash == path || strcmp(slash + 1, ring) != 0)
        return false;
    *slash = 0;
    return true;
}

struct look_for {
    int bus_fd;
    char *path;
    size_t path_bytes;
};

static int try_ring(void *ctx, const char *name)
{
    const struct look_for *look = ctx;
    return linked_directory(look->bus_fd, name, look->path, look->path_bytes);
}

/* ring NULL: of any. */
static int find_directory(const char *bus, const char *ring, char *path, size_t path_bytes)
{
    struct shm_why why = {""};
    int bus_fd = shm_bus_open(bus, false, NULL, 0, &why);
    if (bus_fd < 0 && bus) /* it was asked for by name */
        return fail(bus_fd, "%s", why.text);
    if (bus_fd >= 0) {
        struct look_for look = {bus_fd, path, path_bytes};
        bool found = (ring && try_ring(&look, ring)) || weir_ring_list(bus, try_ring, &look) > 0;
        close(bus_fd);
        if (found)
            return 0;
    }
    fail_clear();
    int r = journal_directory_default(path, path_bytes);
    if (r < 0)
        return fail(r, r == -ENOENT ? "there is no home directory for journals to lie in: name their directory"
                                    : "the path of the journals is too long");
    return 0;
}

int weir_journal_directory(const char *bus, char *buffer, size_t buffer_bytes)
{
    fail_clear();
    char path[PATH_MAX];
    int r = find_directory(bus, NULL, path, sizeof path);
    if (r < 0)
        return r;
    size_t bytes = strlen(path) + 1;
    if (bytes > buffer_bytes)
        return fail(-ENAMETOOLONG, "the buffer has no room for %s", path);
    memcpy(buffer, path, bytes);
    return 0;
}

static int open_directory(const char *bus, const char *directory, const char *ring, char *path)
{
    int r = 0;
    if (!directory)
        r = find_directory(bus, ring, path, PATH_MAX);
    else if (strlen(directory) >= PATH_MAX)
        r = fail(-ENAMETOOLONG, "the path of the directory is too long");
    else
        memcpy(path, directory, strlen(directory) + 1);
    if (r < 0)
        return r;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? fail(told_error(-errno), "directory of journals %s: %s", path, strerror(errno)) : fd;
}

int weir_journal_list(const char *bus, const char *directory, int (*callback)(void *ctx, const char *name), void *ctx)
{
    char path[PATH_MAX];
    fail_clear();
    int fd = open_directory(bus, directory, NULL, path);
    if (fd < 0)
        return fd;
    int r = journal_list(fd, callback, ctx);
    close(fd);
    return r;
}

/* -- Open and close ------------------------------------------------------------------------------------------------ */

static int open_folder(struct weir_journal *journal)
{
    journal->folder_fd = openat(journal->directory_fd, journal->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (journal->folder_fd < 0) {
        int error = errno;
        return error == ENOENT ? fail(-ENOENT, "there is no journal %s", journal->path)
                               : journal_fail(journal, -error, "cannot be opened");
    }
    int r = journal_look(journal->folder_fd, &journal->meta, &journal->rebuilt);
    if (r == -EMEDIUMTYPE)
        return fail(r, "%s is not a journal of weir's", journal->path);
    if (r == -EBADMSG)
        return fail(r, "%s: its `meta` is damaged, and no segment tells what it was", journal->path);
    return r < 0 ? journal_fail(journal, r, "cannot be read") : 0;
}

int weir_journal_open(const char *bus, const char *directory, const char *name, struct weir_journal **ret_journal)
{
    fail_clear();
    int r = shm_name_check(name);
    if (r < 0)
        return fail(r, "journal name \"%.80s\": %s", name, weir_strerror(r));
    struct weir_journal *journal = calloc(1, sizeof *journal);
    if (!journal)
        return fail(-ENOMEM, "no memory for a journal");
    journal->folder_fd = -1;
    memcpy(journal->name, name, strlen(name) + 1);
    r = journal->directory_fd = open_directory(bus, directory, name, journal->path);
    size_t length = strlen(journal->path);
    if (r >= 0 && length + strlen(name) + 2 > sizeof journal->path)
        r = fail(-ENAMETOOLONG, "the path of the journal is too long");
    if (r >= 0) {
        snprintf(journal->path + length, sizeof journal->path - length, "/%s", name);
        r = bus && !(journal->bus = strdup(bus)) ? fail(-ENOMEM, "no memory for a journal") : open_folder(journal);
    }
    if (r < 0) {
        weir_journal_close(journal);
        return r;
    }
    *ret_journal = journal;
    return 0;
}

void weir_journal_close(struct weir_journal *journal)
{
    if (!journal)
        return;
    journal_read_close(journal);
    if (journal->folder_fd >= 0)
        close(journal->folder_fd);
    if (journal->directory_fd >= 0)
        close(journal->directory_fd);
    free(journal->bus);
    free(journal);
}

/* -- The ring that it is of ---------------------------------------------------------------------------------------- */

static bool link_leads_here(const struct weir_journal *journal)
{
    struct stat here, there;
    char link[RING_NAME_BYTES + 16];
    int bus_fd = shm_bus_open(journal->bus, false, NULL, 0, NULL);
    if (bus_fd < 0)
        return false;
    snprintf(link, sizeof link, "%s/journal", journal->name);
    bool same = fstatat(bus_fd, link, &there, 0) == 0 && fstat(journal->folder_fd, &here) == 0 &&
                here.st_dev == there.st_dev && here.st_ino == there.st_ino;
    close(bus_fd);
    return same;
}

bool journal_ask_ring(const struct weir_journal *journal, struct weir_ring_info *ret_info)
{
    ret_info->size = sizeof *ret_info;
    bool known = link_leads_here(journal) && weir_ring_inspect(journal->bus, journal->name, ret_info) == 0 &&
                 memcmp(ret_info->ring_id, journal->meta.identity.ring_id, sizeof ret_info->ring_id) == 0 &&
                 ret_info->epoch >= journal->meta.identity.epoch;
    fail_clear();
    return known;
}

/* -- Looking ------------------------------------------------------------------------------------------------------- */

static int count_gap(void *ctx, const struct journal_gap *gap)
{
    (void)gap;
    ++*(uint64_t *)ctx;
    return 0;
}

static int count_pin(void *ctx, const struct journal_pin *pin)
{
    (void)pin;
    ++*(uint64_t *)ctx;
    return 0;
}

static void fill_meta(const struct weir_journal *journal, struct weir_journal_info *info)
{
    const struct journal_meta *meta = &journal->meta;
    info->damaged = journal->rebuilt;
    info->exclusive = (meta->geometry.flags & RING_EXCLUSIVE) != 0;
    info->when_full = (int)meta->geometry.when_full;
    info->segment_bytes = 1ull << meta->geometry.segment_shift;
    info->file_bytes = 1ull << journal_shift(meta);
    info->memory_limit_bytes = meta->geometry.memory_limit_bytes;
    info->max_readers = meta->geometry.max_readers;
    info->max_publishers = meta->geometry.max_publishers;
    info->mode = meta->mode;
    info->uid = meta->uid;
    info->gid = meta->gid;
    memcpy(info->ring_id, meta->identity.ring_id, sizeof info->ring_id);
    info->created_ns = meta->identity.created_ns;
    info->epoch = meta->identity.epoch;
    info->epoch_position = meta->identity.start;
    info->durable = meta->durable;
    info->lease = meta->lease;
}

static int fill_ends(struct weir_journal *journal, struct weir_journal_info *info)
{
    struct weir_ring_info ring;
    struct journal_extent extent;
    uint32_t shift = journal_shift(&journal->meta);
    int r = journal_measure(journal->folder_fd, shift, &extent);
    if (r < 0)
        return r;
    info->disk_bytes = extent.bytes;
    info->file_count = extent.segment_count;
    info->spare_count = extent.spare_count;
    info->live = journal_is_live(journal->folder_fd);
    info->live = info->live < 0 ? -1 : info->live;
    if (info->live != 0 && journal_ask_ring(journal, &ring)) {
        info->durable = ring.durable;
        info->lease = ring.lease;
        info->end_position = ring.written;
    } else if ((r = journal_find_end(journal->folder_fd, &journal->meta, &info->end_position)) < 0) {
        return r;
    }
    uint64_t first = extent.segment_count ? extent.first_segment << shift : info->end_position;
    info->oldest_position = first < info->end_position ? first : info->end_position; /* files are made ahead */
    return 0;
}

/* It is live, and may have gone on since it was opened. */
static void look_again(struct weir_journal *journal)
{
    struct journal_meta meta;
    bool rebuilt;
    if (journal_look(journal->folder_fd, &meta, &rebuilt) == 0 &&
        journal_shift(&meta) == journal_shift(&journal->meta)) {
        journal->meta = meta;
        journal->rebuilt = rebuilt;
    }
}

int weir_journal_inspect(struct weir_journal *journal, struct weir_journal_info *ret_info)
{
    fail_clear();
    if (!ret_info || ret_info->size != sizeof *ret_info)
        return fail(-EINVAL, "weir_journal_inspect: ret_info.size is not sizeof(struct weir_journal_info)");
    struct weir_journal_info info = {.size = sizeof info};
    look_again(journal);
    fill_meta(journal, &info);
    int r = fill_ends(journal, &info);
    if (r == 0)
        r = journal_gaps(journal->folder_fd, count_gap, &info.gap_count);
    if (r < 0)
        return journal_fail(journal, r, "cannot be read");
    journal_pins(journal->folder_fd, count_pin, &info.pin_count); /* damaged ones are told by weir_journal_pins() */
    *ret_info = info;
    return 0;
}

static int give_names(const struct journal_name *names, uint32_t count, int is_cursor,
                      int (*callback)(void *ctx, const struct weir_journal_name *name), void *ctx)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        struct weir_journal_name name = {.size = sizeof name, .is_cursor = is_cursor, .value = names[i].value};
        memcpy(name.name, names[i].name, sizeof name.name);
        r = callback(ctx, &name);
    }
    return r;
}

int weir_journal_names(struct weir_journal *journal, int (*callback)(void *ctx, const struct weir_journal_name *name),
                       void *ctx)
{
    struct journal_names names;
    fail_clear();
    int r = journal_read_names(journal->folder_fd, journal->meta.identity.ring_id, &names);
    if (r < 0)
        return journal_fail(journal, r, "its `names` cannot be read");
    r = give_names(names.producers, names.producer_count, 0, callback, ctx);
    if (r == 0)
        r = give_names(names.cursors, names.cursor_count, 1, callback, ctx);
    journal_free_names(&names);
    return r;
}

struct give {
    int (*gap)(void *ctx, const struct weir_journal_gap_entry *gap);
    int (*pin)(void *ctx, const struct weir_journal_pin_entry *pin);
    void *ctx;
    int answer; /* of the callback */
};

static int give_gap(void *ctx, const struct journal_gap *gap)
{
    struct give *give = ctx;
    struct weir_journal_gap_entry told = {.size = sizeof told,
                                          .from = gap->from,
                                          .to = gap->to,
                                          .time_ns = gap->time_ns,
                                          .epoch = gap->epoch,
                                          .reason = journal_gap_reason(gap->reason)};
    give->answer = give->gap(give->ctx, &told);
    return give->answer != 0;
}

int weir_journal_gaps(struct weir_journal *journal,
                      int (*callback)(void *ctx, const struct weir_journal_gap_entry *gap), void *ctx)
{
    struct give give = {.gap = callback, .ctx = ctx};
    fail_clear();
    int r = journal_gaps(journal->folder_fd, give_gap, &give);
    return r < 0 ? journal_fail(journal, r, "its `ledger` cannot be read") : give.answer;
}

/* -- Verify and repair --------------------------------------------------------------------------------------------- */

struct verifying {
    void (*fault)(void *ctx, const struct weir_journal_fault *fault);
    int (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
    void (*step)(void *ctx, const char *text);
    void *ctx;
    int answer; /* of progress */
    int new_count;
};

static int take_fault(void *ctx, const struct journal_fault *fault)
{
    struct verifying *verifying = ctx;
    struct weir_journal_fault told = {.size = sizeof told,
                                      .file = fault->file,
                                      .offset = fault->offset,
                                      .bytes = fault->bytes,
                                      .from = fault->from,
                                      .to = fault->to,
                                      .known = fault->known,
                                      .what = fault->what};
    verifying->new_count += !fault->known;
    verifying->fault(verifying->ctx, &told);
    return 0;
}

static int take_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    struct verifying *verifying = ctx;
    if (verifying->progress)
        verifying->answer = verifying->progress(verifying->ctx, done_bytes, total_bytes);
    return verifying->answer != 0;
}

static void take_step(void *ctx, const char *text)
{
    struct verifying *verifying = ctx;
    verifying->step(verifying->ctx, text);
}

/* Of a live journal what is durable now; all of one that nobody writes. */
static uint64_t verify_limit(const struct weir_journal *journal)
{
    struct weir_ring_info ring;
    if (journal_is_live(journal->folder_fd) == 0)
        return UINT64_MAX;
    if (journal_ask_ring(journal, &ring))
        return ring.durable > journal->meta.durable ? ring.durable : journal->meta.durable;
    return journal->meta.durable;
}

int weir_journal_verify(struct weir_journal *journal, void (*fault)(void *ctx, const struct weir_journal_fault *fault),
                        int (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes), void *ctx)
{
    struct verifying verifying = {.fault = fault, .progress = progress, .ctx = ctx};
    const struct journal_watch watch = {take_fault, take_progress, NULL, &verifying};
    uint64_t end;
    fail_clear();
    look_again(journal);
    int r = journal_verify(journal->folder_fd, &journal->meta, verify_limit(journal), &watch, &end);
    if (verifying.answer != 0)
        return fail(verifying.answer < 0 ? verifying.answer : -EINTR, "stopped half way");
    return r < 0 ? journal_fail(journal, r, "cannot be read") : verifying.new_count;
}

/* What a ring in memory says of the journal that it had. */
static bool known_meta(const struct weir_journal *journal, struct journal_meta *ret_meta)
{
    struct weir_ring_info ring;
    if (!journal_ask_ring(journal, &ring))
        return false;
    *ret_meta = journal->meta;
    ret_meta->geometry.flags = RING_JOURNALED | (ring.exclusive ? RING_EXCLUSIVE : 0u);
    ret_meta->geometry.features_incompatible = ring.fenced ? RING_FEATURE_FENCED : 0;
    ret_meta->geometry.when_full = (uint32_t)ring.when_full;
    ret_meta->geometry.memory_limit_bytes = ring.memory_limit_bytes;
    ret_meta->geometry.max_readers = ring.max_readers;
    ret_meta->geometry.max_publishers = ring.max_publishers;
    ret_meta->identity.created_ns = ring.created_ns;
    ret_meta->identity.epoch = ring.epoch;
    ret_meta->identity.start = ring.first_position;
    ret_meta->mode = ring.mode;
    ret_meta->uid = ring.uid;
    ret_meta->gid = ring.gid;
    ret_meta->lease = ring.lease;
    return true;
}

/*
 * From where on weird will write again what a ring in memory has, whichever directory of journals that led to so far: see
 * daemon/binding.c. UINT64_MAX: there is no such ring, or it is in another epoch.
 */
static uint64_t written_again_from(const struct weir_journal *journal)
{
    const struct ring_identity *ours = &journal->meta.identity;
    struct attachment attachment;
    uint64_t from = UINT64_MAX;
    if (attachment_open(&attachment, journal->bus, journal->name, SHM_LOOK, false) == 0) {
        const struct ring_view *view = &attachment.view;
        uint64_t durable = mem_load_acquire(&view->control->durable);
        uint64_t drained = mem_load_acquire(&view->control->drained);
        if (memcmp(view->identity.ring_id, ours->ring_id, sizeof ours->ring_id) == 0 &&
            view->identity.epoch == ours->epoch)
            from = drained > durable ? drained : durable;
        attachment_close(&attachment);
    }
    fail_clear();
    return from;
}

int weir_journal_repair(struct weir_journal *journal, int dry_run, void (*step)(void *ctx, const char *text),
                        int (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes), void *ctx)
{
    struct verifying verifying = {.progress = progress, .step = step, .ctx = ctx};
    struct journal_meta known;
    fail_clear();
    struct journal_repair repair = {.dry_run = dry_run != 0,
                                    .known = known_meta(journal, &known) ? &known : NULL,
                                    .again_from = written_again_from(journal),
                                    .step = take_step,
                                    .progress = take_progress,
                                    .ctx = &verifying};
    journal_read_close(journal);
    int r = journal_repair(journal->directory_fd, journal->name, &repair);
    if (verifying.answer != 0)
        return fail(verifying.answer < 0 ? verifying.answer : -EINTR, "stopped half way: repair it again");
    if (r == -EBUSY)
        return fail(r, "%s: weird has it, and keeps it: stop weird first", journal->path);
    if (r == -ESTALE)
        return fail(-EBADMSG, "%s: it is of a ring of another name: it was copied, or moved; give it its name back",
                    journal->path);
    return r < 0 ? journal_fail(journal, r, "cannot be repaired") : r;
}

/* -- Pins ---------------------------------------------------------------------------------------------------------- */

static int fail_pin(const struct weir_journal *journal, int error)
{
    switch (error) {
    case -ENODATA:
        return fail(-EPIPE, "%s: some of the range has expired already", journal->path);
    case -EFBIG:
        return fail(-ENOSPC, "%s: it has %u pins, and takes no more", journal->path, JOURNAL_PINS_MAX);
    case -EBUSY:
        return fail(error, "%s: somebody else is changing its pins, or expiring segments: try again", journal->path);
    case -EBADMSG:
        return fail(error, "%s: its `pins` are damaged: unpin all, then pin what is to stay", journal->path);
    case -ENOENT:
        return fail(error, "%s: it has no such pin", journal->path);
    default:
        return journal_fail(journal, error, "its pins");
    }
}

int weir_journal_pin(struct weir_journal *journal, const char *name, uint64_t from, uint64_t to)
{
    struct weir_journal_info info = {.size = sizeof info};
    fail_clear();
    int r = shm_name_check(name);
    if (r < 0)
        return fail(r, "pin name \"%.80s\": %s", name, weir_strerror(r));
    if (from == WEIR_POSITION_END || to == WEIR_POSITION_START)
        return fail(-EINVAL, "%s: a pin cannot begin at the end, nor end at the start", journal->path);
    if (from == WEIR_POSITION_START || to == WEIR_POSITION_END) {
        r = weir_journal_inspect(journal, &info);
        if (r < 0)
            return r;
        from = from == WEIR_POSITION_START ? info.oldest_position : from;
        to = to == WEIR_POSITION_END ? info.end_position : to;
    }
    if (from >= to)
        return fail(-EINVAL, "%s: from %llu to %llu there is nothing to pin", journal->path, (unsigned long long)from,
                    (unsigned long long)to);
    r = journal_pin(journal->folder_fd, name, from, to);
    return r < 0 ? fail_pin(journal, r) : 0;
}

int weir_journal_unpin(struct weir_journal *journal, const char *name)
{
    fail_clear();
    if (!name)
        return fail(-EINVAL, "%s: which pin is to go: give its name", journal->path);
    int r = shm_name_check(name);
    if (r < 0)
        return fail(r, "pin name \"%.80s\": %s", name, weir_strerror(r));
    r = journal_unpin(journal->folder_fd, name);
    return r < 0 ? fail_pin(journal, r) : 0;
}

int weir_journal_unpin_all(struct weir_journal *journal)
{
    fail_clear();
    int r = journal_unpin(journal->folder_fd, NULL);
    return r < 0 ? fail_pin(journal, r) : 0;
}

static int give_pin(void *ctx, const struct journal_pin *pin)
{
    struct give *give = ctx;
    struct weir_journal_pin_entry told = {
        .size = sizeof told, .from = pin->from, .to = pin->to, .time_ns = pin->time_ns};
    memcpy(told.name, pin->name, sizeof told.name);
    give->answer = give->pin(give->ctx, &told);
    return give->answer != 0;
}

int weir_journal_pins(struct weir_journal *journal,
                      int (*callback)(void *ctx, const struct weir_journal_pin_entry *pin), void *ctx)
{
    struct give give = {.pin = callback, .ctx = ctx};
    fail_clear();
    int r = journal_pins(journal->folder_fd, give_pin, &give);
    return r < 0 ? fail_pin(journal, r) : give.answer;
}
