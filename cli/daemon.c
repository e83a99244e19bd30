/* SPDX-License-Identifier: Apache-2.0 */
/* weir daemon: asks the daemon of a bus, on the socket that it has there, who it is, and tells it what to do. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <weir.h>

#include "cli/command.h"
#include "cli/number.h"
#include "cli/output.h"
#include "cli/pace.h"
#include "cli/signals.h"

#define SOCKET_NAME ".weird.sock"
#define ANSWER_MAX (16u << 20)
static const uint64_t patience_ns = UINT64_C(10000000000);

/* -- asking -------------------------------------------------------------------------------------------------------------- */

struct answer {
    char bus[PATH_MAX];
    struct ucred peer;
    int pidfd;  /* of the daemon; -1: not to be had */
    char *text; /* lines, each ended by a zero byte; the last one is empty */
    size_t bytes;
};

/* Where the daemon is asked for: 0, or -1 with a complaint. */
static int bus_path(const struct call *call, char *path, size_t path_bytes)
{
    if (!call->bus) {
        int rc = weir_bus_default(path, path_bytes);
        if (rc < 0)
            complain_failed(rc, "the default bus");
        return rc < 0 ? -1 : 0;
    }
    if (strlen(call->bus) >= path_bytes) {
        complain("the path of the bus is too long: %s", call->bus);
        return -1;
    }
    memcpy(path, call->bus, strlen(call->bus) + 1);
    return 0;
}

/* A connection, or -1 with a complaint. */
static int ask_connect(struct answer *answer)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int bus_fd = open(answer->bus, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (bus_fd < 0) {
        complain("there is no bus directory %s: %s", answer->bus, strerror(errno));
        return -1;
    }
    /* By the descriptor: the path may be longer than an address. */
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" SOCKET_NAME, bus_fd);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t bytes = sizeof answer->peer;
    if (fd >= 0) /* how long connect() waits where many others do */
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){.tv_sec = 10}, sizeof(struct timeval));
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &answer->peer, &bytes) < 0) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            complain("no weird serves the bus %s: start one, or name another bus", answer->bus);
        else
            complain("cannot ask the weird of the bus %s: %s", answer->bus, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    } else if (answer->peer.pid > 0) {
        answer->pidfd = (int)syscall(SYS_pidfd_open, answer->peer.pid, 0u);
    }
    close(bus_fd);
    return fd;
}

/* Until the descriptor is ready: 0, or -1 with a complaint. deadline_ns UINT64_MAX: however long it takes. */
static int ask_wait(const struct answer *answer, int fd, uint64_t deadline_ns)
{
    for (;;) {
        struct pollfd polled = {fd, POLLIN, 0};
        if (poll(&polled, 1, (int)(SIGNALS_SLICE_NS / 1000000)) > 0)
            return 0;
        if (signals_stop()) {
            complain("interrupted");
            return -1;
        }
        if (pace_now_ns() >= deadline_ns) {
            complain("the weird of the bus %s (pid %ld) does not answer", answer->bus, (long)answer->peer.pid);
            return -1;
        }
    }
}

/* All that it says, until it closes the connection. */
static int ask_read(struct answer *answer, int fd, bool for_ever)
{
    uint64_t deadline_ns = for_ever ? UINT64_MAX : pace_now_ns() + patience_ns;
    size_t capacity = 0;
    for (;;) {
        if (answer->bytes + 2 > capacity) {
            capacity = capacity ? 2 * capacity : 4096;
            char *text = capacity <= ANSWER_MAX ? realloc(answer->text, capacity) : NULL;
            if (!text) {
                complain("the answer is too long");
                return -1;
            }
            answer->text = text;
        }
        if (ask_wait(answer, fd, deadline_ns) < 0)
            return -1;
        ssize_t got = recv(fd, answer->text + answer->bytes, capacity - answer->bytes - 2, MSG_DONTWAIT);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0)
            break;
        answer->bytes += (size_t)got;
    }
    answer->text[answer->bytes] = '\0';
    return 0;
}

/* Takes it apart into lines, without the last one; false: it is not whole. */
static bool answer_split(struct answer *answer)
{
    static const char end[] = "\nend\n";
    size_t end_bytes = sizeof end - 1;
    if (answer->bytes < end_bytes || strlen(answer->text) != answer->bytes ||
        strcmp(answer->text + answer->bytes - end_bytes, end) != 0)
        return false;
    answer->bytes -= end_bytes - 1;
    for (size_t i = 0; i < answer->bytes; i++) {
        unsigned char c = (unsigned char)answer->text[i];
        if (c == '\n')
            answer->text[i] = '\0';
        else if (c < ' ' || c == 0x7f)
            answer->text[i] = '?';
    }
    answer->text[answer->bytes] = '\0';
    return true;
}

static const char *answer_next(const char *line)
{
    return line + strlen(line) + 1;
}

static void answer_free(struct answer *answer)
{
    free(answer->text);
    if (answer->pidfd >= 0)
        close(answer->pidfd);
}

/* 0: the answer begins with ok. Else it was told, and the exit status is EXIT_FAILED. */
static int ask(const struct call *call, const char *request, struct answer *answer)
{
    bool stop = strcmp(request, "stop\n") == 0;
    *answer = (struct answer){.pidfd = -1};
    int fd = bus_path(call, answer->bus, sizeof answer->bus) < 0 ? -1 : ask_connect(answer);
    if (fd < 0)
        return -1;
    int r = -1;
    /* Who turned us away may have done so without listening, and has said why. */
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request) && errno != EPIPE)
        complain("cannot ask the weird of the bus %s: %s", answer->bus, strerror(errno));
    else
        r = ask_read(answer, fd, stop);
    close(fd);
    if (r == 0 && !answer_split(answer)) {
        complain("the weird of the bus %s went away before it had answered", answer->bus);
        r = -1;
    }
    if (r == 0 && strcmp(answer->text, "ok") != 0) {
        for (const char *line = answer_next(answer->text); *line; line = answer_next(line))
            complain("%s", strncmp(line, "note ", 5) == 0 ? line + 5 : line);
        complain("%s", strncmp(answer->text, "error ", 6) == 0 ? answer->text + 6 : answer->text);
        r = -1;
    }
    return r;
}

/* -- status ---------------------------------------------------------------------------------------------------------------- */

/* The value behind the name in a line "NAME VALUE", or NULL. */
static const char *line_value(const char *line, const char *name)
{
    size_t bytes = strlen(name);
    return strncmp(line, name, bytes) == 0 && line[bytes] == ' ' ? line + bytes + 1 : NULL;
}

static const char *status_value(const struct answer *answer, const char *name)
{
    for (const char *line = answer->text; *line; line = answer_next(line)) {
        const char *value = line_value(line, name);
        if (value)
            return value;
    }
    return NULL;
}

/* A word as JSON has it: yes and no, a number, else text. */
static json_t *json_word(const char *word)
{
    uint64_t number;
    if (strcmp(word, "yes") == 0 || strcmp(word, "no") == 0)
        return json_boolean(word[0] == 'y');
    return number_parse(word, &number) == 0 ? output_number(number) : json_string(word);
}

/* "NAME key=value key=value" */
static json_t *json_ring(const char *text)
{
    json_t *object = json_object();
    char *copy = strdup(text), *rest = NULL;
    if (!copy)
        return object;
    char *word = strtok_r(copy, " ", &rest);
    json_object_set_new(object, "ring", json_string(word ? word : ""));
    while ((word = strtok_r(NULL, " ", &rest))) {
        char *equals = strchr(word, '=');
        if (!equals)
            continue;
        *equals = '\0';
        json_object_set_new(object, word, json_word(equals + 1));
    }
    free(copy);
    return object;
}

static void status_json(const struct answer *answer)
{
    static const char *const texts[] = {"version", "bus", "journal", "config"};
    static const char *const words[] = {
        "uptime_ms", "verbose", "limit_bytes", "reserve_bytes", "high_watermark_percent", "low_watermark_percent"};
    json_t *object = json_object(), *rings = json_array();
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *value = status_value(answer, texts[i]);
        if (value)
            output_set_bytes(object, texts[i], value, strlen(value));
        else
            json_object_set_new(object, texts[i], json_null());
    }
    json_object_set_new(object, "pid", json_integer(answer->peer.pid));
    json_object_set_new(object, "uid", json_integer(answer->peer.uid));
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const char *value = status_value(answer, words[i]);
        json_object_set_new(object, words[i], value ? json_word(value) : json_null());
    }
    for (const char *line = answer->text; *line; line = answer_next(line)) {
        const char *ring = line_value(line, "ring");
        if (ring)
            json_array_append_new(rings, json_ring(ring));
    }
    json_object_set_new(object, "rings", rings);
    output_json(object);
}

static uint64_t member_number(const json_t *object, const char *name)
{
    const json_t *member = json_object_get(object, name);
    return json_is_integer(member) ? (uint64_t)json_integer_value(member) : 0;
}

static const char *limit_text(struct number_text *buffer, uint64_t bytes)
{
    return bytes ? number_exact_bytes(buffer, bytes) : "none";
}

static void status_quota(struct table *table, const json_t *ring)
{
    struct number_text text, size;
    uint64_t messages = member_number(ring, "quota_messages_per_second");
    uint64_t bytes = member_number(ring, "quota_bytes_per_second");
    table_cell(table, "%s%s%s%s", messages ? number_grouped(&text, messages) : "", messages ? "/s" : "",
               messages && bytes ? ", " : "",
               bytes      ? number_per_second(&size, (double)bytes)
               : messages ? ""
                          : "none");
}

static void status_rings(const struct answer *answer)
{
    static const char *const heads[] = {"RING",         "SYNC",   ">RETAIN", ">AGE", ">LIMIT",
                                        "WHEN LIMITED", "UNREAD", ">QUOTA",  NULL};
    struct table table;
    table_start(&table, heads);
    for (const char *line = answer->text; *line; line = answer_next(line)) {
        struct number_text span, retain, age, limit;
        const char *text = line_value(line, "ring");
        json_t *ring = text ? json_ring(text) : NULL;
        if (!ring)
            continue;
        const char *sync = json_string_value(json_object_get(ring, "sync"));
        uint64_t interval_ms = member_number(ring, "sync_interval_ms");
        uint64_t age_ms = member_number(ring, "retain_age_ms");
        const char *when = json_string_value(json_object_get(ring, "when_limited"));
        table_cell(&table, "%s", json_string_value(json_object_get(ring, "ring")));
        if (!sync) {
            for (size_t i = 1; heads[i + 1]; i++)
                table_cell(&table, "%s", i == 1 ? "in memory alone" : "");
        } else {
            table_cell(&table, "%s%s%s", sync, interval_ms ? " " : "",
                       interval_ms ? number_span(&span, interval_ms * 1000000) : "");
            table_cell(&table, "%s", limit_text(&retain, member_number(ring, "retain_bytes")));
            table_cell(&table, "%s", age_ms ? number_span(&age, age_ms * 1000000) : "none");
            table_cell(&table, "%s", limit_text(&limit, member_number(ring, "limit_bytes")));
            table_cell(&table, "%s", when ? when : "");
            table_cell(&table, "%s", json_is_true(json_object_get(ring, "keep_unread")) ? "kept" : "not kept");
        }
        status_quota(&table, ring);
        json_decref(ring);
    }
    if (table.count > table.columns)
        table_print(&table, "");
    else
        table_free(&table);
}

static uint64_t status_number(const struct answer *answer, const char *name)
{
    uint64_t number = 0;
    const char *value = status_value(answer, name);
    return value && number_parse(value, &number) == 0 ? number : 0;
}

static void status_print(const struct answer *answer)
{
    struct number_text text, reserve;
    const char *version = status_value(answer, "version"), *config = status_value(answer, "config");
    const char *bus = status_value(answer, "bus"), *journal = status_value(answer, "journal");
    printf("weird %s, pid %ld, uid %ld, up for %s\n", version ? version : "?", (long)answer->peer.pid,
           (long)answer->peer.uid, number_span(&text, status_number(answer, "uptime_ms") * 1000000));
    printf("bus      %s\njournal  %s\nconfig   %s\n", bus ? bus : "?", journal ? journal : "?",
           config ? config : "none");
    printf("room     limit %s, reserve %s, watermarks %" PRIu64 "%% and %" PRIu64 "%%\n",
           limit_text(&text, status_number(answer, "limit_bytes")),
           limit_text(&reserve, status_number(answer, "reserve_bytes")),
           status_number(answer, "high_watermark_percent"), status_number(answer, "low_watermark_percent"));
    status_rings(answer);
}

static int status_run(const struct call *call)
{
    struct answer answer;
    int r = ask(call, "status\n", &answer);
    if (r == 0 && call->json)
        status_json(&answer);
    else if (r == 0)
        status_print(&answer);
    answer_free(&answer);
    return r == 0 ? EXIT_DONE : EXIT_FAILED;
}

const struct command daemon_status_command = {
    .words = "daemon status",
    .summary = "Show the weird of a bus, and what its configuration says of each ring",
    .operands = "",
    .run = status_run,
};

/* -- reload, verbose, stop ------------------------------------------------------------------------------------------------- */

static void print_done(const struct call *call, const char *name, bool value, json_t *notes)
{
    if (!call->json) {
        json_decref(notes);
        return;
    }
    json_t *object = json_object();
    json_object_set_new(object, name, json_boolean(value));
    if (notes)
        json_object_set_new(object, "notes", notes);
    output_json(object);
}

static int reload_run(const struct call *call)
{
    struct answer answer;
    int r = ask(call, "reload\n", &answer);
    if (r == 0) {
        json_t *notes = json_array();
        for (const char *line = answer.text; *line; line = answer_next(line)) {
            const char *note = line_value(line, "note");
            if (note && call->json)
                json_array_append_new(notes, json_string(note));
            else if (note)
                printf("%s\n", note);
        }
        print_done(call, "reloaded", true, notes);
    }
    answer_free(&answer);
    return r == 0 ? EXIT_DONE : EXIT_FAILED;
}

const struct command daemon_reload_command = {
    .words = "daemon reload",
    .summary = "Have it read its configuration again",
    .operands = "",
    .run = reload_run,
};

static int verbose_run(const struct call *call)
{
    struct answer answer;
    bool on = strcmp(call->operands[0], "on") == 0;
    if (!on && strcmp(call->operands[0], "off") != 0) {
        complain("%s: must be on or off", call->operands[0]);
        return EXIT_USAGE;
    }
    int r = ask(call, on ? "verbose on\n" : "verbose off\n", &answer);
    if (r == 0)
        print_done(call, "verbose", on, NULL);
    answer_free(&answer);
    return r == 0 ? EXIT_DONE : EXIT_FAILED;
}

const struct command daemon_verbose_command = {
    .words = "daemon verbose",
    .summary = "Have it log more, or less, until it reads its configuration again",
    .operands = "on|off",
    .operands_min = 1,
    .operands_max = 1,
    .run = verbose_run,
};

static int stop_run(const struct call *call)
{
    struct answer answer;
    int r = ask(call, "stop\n", &answer); /* which returns when all is drained */
    if (r == 0 && answer.pidfd >= 0)
        r = ask_wait(&answer, answer.pidfd, UINT64_MAX);
    if (r == 0)
        print_done(call, "stopped", true, NULL);
    answer_free(&answer);
    return r == 0 ? EXIT_DONE : EXIT_FAILED;
}

const struct command daemon_stop_command = {
    .words = "daemon stop",
    .summary = "Have it drain what is published, and end; waits until it has",
    .operands = "",
    .run = stop_run,
};
