/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <weir.h>

#include "daemon/log.h"

/* Who has not asked by then, or not read the answer, is let go. */
#define ADMIN_PATIENCE_NS 5000000000ull
/* Without descriptors to accept with, it is tried again then. */
#define ADMIN_AGAIN_NS 1000000000ull

struct admin_peer {
    int fd; /* -1: free */
    bool trusted;
    bool waits; /* for the daemon's end */
    uint64_t since_ns;
    uint64_t deadline_ns;
    size_t got;
    char *answer; /* NULL: it has not asked yet */
    size_t answer_bytes, sent;
    char request[ADMIN_REQUEST_MAX];
};

struct admin {
    pthread_t thread;
    struct weird *weird;
    const struct place *place;
    struct registry *registry;
    struct policies *policies;
    struct weird_calls calls;
    uint64_t started_ns;
    uint64_t accept_ns; /* not before */
    int socket_fd;
    bool bound;
    int event_fd;
    struct mem_u64 finish;
    struct admin_peer peers[ADMIN_CONNECTIONS_MAX];
};

/* -- answers ------------------------------------------------------------------------------------------------------------ */

/* "NAME TEXT", with nothing in the text that could be taken for a line of its own. */
static void answer_text(FILE *out, const char *name, const char *text)
{
    fprintf(out, "%s ", name);
    for (; *text; text++)
        putc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, out);
    putc('\n', out);
}

static void answer_note(void *ctx, const char *line)
{
    answer_text(ctx, "note", line);
}

struct admin_ring {
    char name[RING_NAME_BYTES];
    bool journaled;
};
struct admin_rings {
    struct admin_ring *all;
    size_t count, capacity;
};

/* Names alone: what else there is to ask may sleep. True: memory is short. */
static bool rings_take(void *ctx, struct weird_ring *ring)
{
    struct admin_rings *rings = ctx;
    if (rings->count == rings->capacity) {
        size_t capacity = rings->capacity ? 2 * rings->capacity : 16;
        struct admin_ring *all = reallocarray(rings->all, capacity, sizeof *all);
        if (!all)
            return true;
        rings->all = all;
        rings->capacity = capacity;
    }
    struct admin_ring *taken = &rings->all[rings->count++];
    memcpy(taken->name, ring->name, sizeof taken->name);
    taken->journaled = ring->journaled;
    return false;
}

static int rings_compare(const void *a, const void *b)
{
    return strcmp(((const struct admin_ring *)a)->name, ((const struct admin_ring *)b)->name);
}

static void answer_rings(const struct admin *admin, FILE *out)
{
    static const char *const syncs[] = {
        [POLICY_SYNC_ALWAYS] = "always", [POLICY_SYNC_INTERVAL] = "interval", [POLICY_SYNC_NEVER] = "never"};
    struct admin_rings rings = {0};
    registry_walk(admin->registry, rings_take, &rings);
    if (rings.count)
        qsort(rings.all, rings.count, sizeof rings.all[0], rings_compare);
    for (size_t i = 0; i < rings.count; i++) {
        struct policy policy;
        policies_of(admin->policies, rings.all[i].name, &policy);
        fprintf(out,
                "ring %s quota_messages_per_second=%" PRIu64 " quota_bytes_per_second=%" PRIu64
                " quota_burst_ms=%" PRIu64 " journaled=%s",
                rings.all[i].name, policy.quota_messages, policy.quota_bytes, policy.quota_burst_ms,
                rings.all[i].journaled ? "yes" : "no");
        if (rings.all[i].journaled)
            fprintf(out,
                    " sync=%s sync_interval_ms=%" PRIu32 " retain_bytes=%" PRIu64 " retain_age_ms=%" PRIu64
                    " limit_bytes=%" PRIu64 " when_limited=%s keep_unread=%s",
                    syncs[policy.sync], policy.sync_interval_ms, policy.retain_bytes, policy.retain_age_ms,
                    policy.limit_bytes, policy.when_limited == POLICY_LIMITED_EXPIRE ? "expire" : "block",
                    policy.keep_unread ? "yes" : "no");
        putc('\n', out);
    }
    free(rings.all);
}

static void answer_status(const struct admin *admin, FILE *out)
{
    struct policy_room room;
    policies_room(admin->policies, &room);
    fprintf(out, "ok\nversion %d.%d.%d\npid %ld\nuid %ld\n", WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR, WEIR_VERSION_PATCH,
            (long)getpid(), (long)geteuid());
    answer_text(out, "bus", admin->place->bus);
    answer_text(out, "journal", admin->place->journal);
    if (admin->calls.config)
        answer_text(out, "config", admin->calls.config);
    fprintf(out,
            "uptime_ms %" PRIu64 "\nverbose %s\nlimit_bytes %" PRIu64 "\nreserve_bytes %" PRIu64
            "\nhigh_watermark_percent %" PRIu32 "\nlow_watermark_percent %" PRIu32 "\n",
            (shm_now_ns() - admin->started_ns) / 1000000, log_is_verbose() ? "yes" : "no", room.limit_bytes,
            room.reserve_bytes, room.high_percent, room.low_percent);
    answer_rings(admin, out);
}

static void answer_reload(struct admin *admin, FILE *out)
{
    char *notes = NULL;
    size_t bytes = 0;
    FILE *told = open_memstream(&notes, &bytes);
    if (!told) {
        fputs("error not enough memory\n", out);
        return;
    }
    int r = admin->calls.reload(admin->calls.ctx, admin->weird, answer_note, told);
    if (fclose(told) != 0)
        bytes = 0;
    if (r < 0)
        fputs("error the configuration was refused, and stays as it was\n", out);
    else
        fputs("ok\n", out);
    fwrite(notes, 1, bytes, out);
    free(notes);
}

enum admin_word { ADMIN_STATUS, ADMIN_RELOAD, ADMIN_STOP, ADMIN_VERBOSE_ON, ADMIN_VERBOSE_OFF, ADMIN_WORDS };
static const char *const admin_words[ADMIN_WORDS] = {"status", "reload", "stop", "verbose on", "verbose off"};

static void answer(struct admin *admin, struct admin_peer *peer, const char *request, FILE *out)
{
    size_t word = 0;
    while (word < ADMIN_WORDS && strcmp(admin_words[word], request) != 0)
        word++;
    if (word == ADMIN_WORDS) {
        fputs("error unknown request: there are status, reload, verbose on|off, stop\n", out);
    } else if (word == ADMIN_STATUS) {
        answer_status(admin, out);
    } else if (!peer->trusted) {
        fprintf(out, "error %s is for root and uid %ld alone\n", request, (long)geteuid());
    } else if (word == ADMIN_RELOAD && !admin->calls.reload) {
        fputs("error it was started without a configuration file: there is nothing to read again\n", out);
    } else if (word == ADMIN_RELOAD) {
        answer_reload(admin, out);
    } else if (word == ADMIN_STOP && !admin->calls.stop) {
        fputs("error it is part of another program, and stops with that\n", out);
    } else {
        if (word == ADMIN_STOP)
            peer->waits = true;
        else
            log_set_verbose(word == ADMIN_VERBOSE_ON);
        fputs("ok\n", out);
    }
    fputs("end\n", out);
}

/* -- who asks ------------------------------------------------------------------------------------------------------------ */

static void peer_close(struct admin_peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    free(peer->answer);
    *peer = (struct admin_peer){.fd = -1};
}

/* As much of the answer as goes. */
static void peer_send(struct admin_peer *peer)
{
    while (peer->sent < peer->answer_bytes) {
        ssize_t sent =
            send(peer->fd, peer->answer + peer->sent, peer->answer_bytes - peer->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0) {
            peer_close(peer);
            return;
        }
        peer->sent += (size_t)sent;
    }
    if (!peer->waits)
        peer_close(peer);
}

static void peer_answer(struct admin *admin, struct admin_peer *peer, const char *request)
{
    FILE *out = open_memstream(&peer->answer, &peer->answer_bytes);
    if (!out) {
        peer_close(peer);
        return;
    }
    answer(admin, peer, request, out);
    if (fclose(out) != 0) {
        peer_close(peer);
        return;
    }
    bool stop = peer->waits;
    peer->deadline_ns = shm_now_ns() + ADMIN_PATIENCE_NS;
    peer_send(peer);
    if (stop)
        admin->calls.stop(admin->calls.ctx);
}

static void peer_receive(struct admin *admin, struct admin_peer *peer)
{
    ssize_t got = recv(peer->fd, peer->request + peer->got, sizeof peer->request - peer->got, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got <= 0) { /* half a request is none */
        peer_close(peer);
        return;
    }
    peer->got += (size_t)got;
    char *newline = memchr(peer->request, '\n', peer->got);
    if (newline) {
        *newline = 0; /* what is behind it, or behind a zero byte, was not asked */
        peer_answer(admin, peer, strlen(peer->request) == (size_t)(newline - peer->request) ? peer->request : "");
    } else if (peer->got == sizeof peer->request) {
        peer_answer(admin, peer, "");
    }
}

/* The place for one more; who may change nothing gives way to who may. NULL: all are taken. */
static struct admin_peer *peer_place(struct admin *admin, bool trusted)
{
    struct admin_peer *oldest = NULL;
    for (size_t i = 0; i < ADMIN_CONNECTIONS_MAX; i++) {
        struct admin_peer *peer = &admin->peers[i];
        if (peer->fd < 0)
            return peer;
        if (!peer->trusted && (!oldest || peer->since_ns < oldest->since_ns))
            oldest = peer;
    }
    if (!trusted || !oldest)
        return NULL;
    peer_close(oldest);
    return oldest;
}

static void admin_accept(struct admin *admin, uint64_t now_ns)
{
    struct ucred cred;
    socklen_t bytes = sizeof cred;
    int fd = accept4(admin->socket_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            admin->accept_ns = now_ns + ADMIN_AGAIN_NS;
        return;
    }
    bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) == 0;
    bool trusted = known && (cred.uid == 0 || cred.uid == geteuid());
    struct admin_peer *peer = peer_place(admin, trusted);
    if (!peer) {
        static const char busy[] = "error too many others ask\nend\n";
        send(fd, busy, sizeof busy - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        close(fd);
        return;
    }
    *peer = (struct admin_peer){
        .fd = fd, .trusted = trusted, .since_ns = now_ns, .deadline_ns = now_ns + ADMIN_PATIENCE_NS};
}

/* -- the thread ---------------------------------------------------------------------------------------------------------- */

static void admin_round(struct admin *admin)
{
    struct pollfd polled[2 + ADMIN_CONNECTIONS_MAX];
    uint64_t now_ns = shm_now_ns(), due_ns = UINT64_MAX;
    bool accepts = admin->accept_ns <= now_ns;
    if (!accepts)
        due_ns = admin->accept_ns;
    polled[0] = (struct pollfd){.fd = admin->event_fd, .events = POLLIN};
    polled[1] = (struct pollfd){.fd = accepts ? admin->socket_fd : -1, .events = POLLIN};
    for (size_t i = 0; i < ADMIN_CONNECTIONS_MAX; i++) {
        struct admin_peer *peer = &admin->peers[i];
        bool done = peer->answer && peer->sent == peer->answer_bytes; /* and waits for the end */
        if (peer->fd >= 0 && !done && peer->deadline_ns <= now_ns)
            peer_close(peer);
        polled[2 + i] = (struct pollfd){.fd = peer->fd, .events = done ? 0 : peer->answer ? POLLOUT : POLLIN};
        if (peer->fd >= 0 && !done && peer->deadline_ns < due_ns)
            due_ns = peer->deadline_ns;
    }
    int timeout_ms = due_ns == UINT64_MAX ? -1 : (int)((due_ns - now_ns + 999999) / 1000000);
    if (poll(polled, 2 + ADMIN_CONNECTIONS_MAX, timeout_ms) <= 0)
        return;
    for (size_t i = 0; i < ADMIN_CONNECTIONS_MAX; i++) {
        struct admin_peer *peer = &admin->peers[i];
        if (peer->fd < 0 || !polled[2 + i].revents)
            continue;
        if (!polled[2 + i].events)
            peer_close(peer); /* it does not wait any more */
        else if (peer->answer)
            peer_send(peer);
        else
            peer_receive(admin, peer);
    }
    if (polled[1].revents)
        admin_accept(admin, shm_now_ns());
}

static void *admin_main(void *argument)
{
    struct admin *admin = argument;
    rcu_register_thread();
    while (!mem_load_acquire(&admin->finish))
        admin_round(admin);
    rcu_unregister_thread();
    return NULL;
}

/* -- start and end ------------------------------------------------------------------------------------------------------- */

/* Who may search the bus may connect. By a descriptor: on a bus that others may write, the name may lead elsewhere by now. */
static int admin_open_to_all(int bus_fd)
{
    struct stat st;
    char path[64];
    int fd = openat(bus_fd, ADMIN_SOCKET_NAME, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r == 0 && (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid()))
        r = -EEXIST; /* not what was bound */
    if (r == 0 && chmod(path, 0666) < 0)
        r = -errno;
    close(fd);
    return r;
}

static int admin_listen(struct admin *admin)
{
    struct stat st;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int bus_fd = admin->place->bus_fd;
    /* By the descriptor: the path may be longer than an address, or lead elsewhere by now. */
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" ADMIN_SOCKET_NAME, bus_fd);
    if (fstatat(bus_fd, ADMIN_SOCKET_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
        unlinkat(bus_fd, ADMIN_SOCKET_NAME, 0);
    admin->socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (admin->socket_fd < 0 || bind(admin->socket_fd, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    admin->bound = true;
    int r = admin_open_to_all(bus_fd);
    return r == 0 && listen(admin->socket_fd, (int)ADMIN_CONNECTIONS_MAX) < 0 ? -errno : r;
}

struct admin *admin_start(struct weird *weird, const struct place *place, struct registry *registry,
                          struct policies *policies, const struct weird_calls *calls)
{
    struct admin *admin = calloc(1, sizeof *admin);
    if (!admin)
        return NULL;
    admin->weird = weird;
    admin->place = place;
    admin->registry = registry;
    admin->policies = policies;
    if (calls)
        admin->calls = *calls;
    admin->started_ns = shm_now_ns();
    admin->socket_fd = -1;
    for (size_t i = 0; i < ADMIN_CONNECTIONS_MAX; i++)
        admin->peers[i].fd = -1;
    admin->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = admin->event_fd < 0 ? -errno : admin_listen(admin);
    if (r == 0)
        r = -pthread_create(&admin->thread, NULL, admin_main, admin);
    if (r < 0) {
        log_warning("no socket %s/" ADMIN_SOCKET_NAME ", so 'weir daemon' cannot ask here: %s", place->bus,
                    strerror(-r));
        admin_free(admin);
        return NULL;
    }
    pthread_setname_np(admin->thread, "weird-admin");
    return admin;
}

void admin_finish(struct admin *admin)
{
    if (!admin)
        return;
    mem_store_release(&admin->finish, 1);
    eventfd_write(admin->event_fd, 1);
    pthread_join(admin->thread, NULL);
}

void admin_free(struct admin *admin)
{
    if (!admin)
        return;
    if (admin->bound) /* else what lies there is another's */
        unlinkat(admin->place->bus_fd, ADMIN_SOCKET_NAME, 0);
    for (size_t i = 0; i < ADMIN_CONNECTIONS_MAX; i++)
        peer_close(&admin->peers[i]);
    if (admin->socket_fd >= 0)
        close(admin->socket_fd);
    if (admin->event_fd >= 0)
        close(admin->event_fd);
    free(admin);
}
