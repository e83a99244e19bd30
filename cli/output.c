/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir.h>

#include "cli/command.h"
#include "cli/pace.h"
#include "cli/signals.h"

/* -- Complaints ----------------------------------------------------------------------------------------------------- */

static const char *verb = "";

void complain_as(const char *name)
{
    verb = name;
}

const char *complain_verb(void)
{
    return verb;
}

void complain(const char *format, ...)
{
    va_list arguments;
    flockfile(stderr);
    fprintf(stderr, "weir: %s%s", verb, verb[0] ? ": " : "");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    putc('\n', stderr);
    funlockfile(stderr);
}

/* What to do, where the library had nothing to add. */
static const char *hint(int error)
{
    switch (error) {
    case -ENOENT:
        return "'weir ring ls' shows the rings of this bus; --bus DIR chooses another";
    case -EEXIST:
        return "choose another name, or remove it with 'weir ring rm'";
    case -EACCES:
        return "ask the owner of the ring, see 'weir ring info'";
    case -EBUSY:
        return "'weir stat' shows who holds it";
    case -EIDRM:
        return "create it again, or attach to the new one";
    case -ENOSPC:
        return "create the ring with more publishers or readers";
    case -EBADMSG:
        return "'weir ring check' shows the damage";
    default:
        return NULL;
    }
}

int complain_about(int error, const char *where, const char *why)
{
    if (why[0])
        complain("%s: %s", where, why);
    else if (hint(error))
        complain("%s: %s: %s", where, weir_strerror(error), hint(error));
    else
        complain("%s: %s", where, weir_strerror(error));
    return error == -EILSEQ || error == -ENAMETOOLONG ? EXIT_USAGE : EXIT_FAILED;
}

int complain_failed(int error, const char *where)
{
    return complain_about(error, where, weir_last_error());
}

/* -- JSON ----------------------------------------------------------------------------------------------------------- */

void output_json(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

json_t *output_number(uint64_t number)
{
    /* JSON's integers are signed here; a ring that has reached 2^63 bytes is told as text. */
    if (number > INT64_MAX)
        return json_sprintf("%llu", (unsigned long long)number);
    return json_integer((json_int_t)number);
}

void output_set_number(json_t *object, const char *name, uint64_t number)
{
    json_object_set_new(object, name, output_number(number));
}

void output_set_text(json_t *object, const char *name, const char *text)
{
    json_object_set_new(object, name, json_string(text));
}

static json_t *json_base64(const unsigned char *data, size_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((bytes + 2) / 3 * 4 + 1);
    if (!text)
        return NULL;
    char *out = text;
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        uint32_t three = (uint32_t)data[i] << 16;
        if (left > 1)
            three |= (uint32_t)data[i + 1] << 8;
        if (left > 2)
            three |= data[i + 2];
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        *out++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[three & 63] : '=';
    }
    json_t *string = json_stringn(text, (size_t)(out - text));
    free(text);
    return string;
}

void output_set_bytes(json_t *object, const char *name, const void *data, size_t bytes)
{
    json_t *string = json_stringn(bytes > 0 ? data : "", bytes);
    if (string) {
        json_object_set_new(object, name, string);
        return;
    }
    char name_base64[80];
    snprintf(name_base64, sizeof name_base64, "%s_base64", name);
    json_object_set_new(object, name_base64, json_base64(data, bytes));
}

static int stdout_error; /* the first errno of stdout */

bool output_flush(void)
{
    errno = 0;
    if (fflush(stdout) != 0 && stdout_error == 0)
        stdout_error = errno;
    if (ferror(stdout) && stdout_error == 0)
        stdout_error = EIO;
    return stdout_error == 0;
}

int output_finish(void)
{
    if (output_flush())
        return EXIT_DONE;
    if (stdout_error != EPIPE)
        complain("cannot write: standard output: %s", strerror(stdout_error));
    return EXIT_FAILED;
}

/* -- Tables --------------------------------------------------------------------------------------------------------- */

static void table_keep(struct table *table, char *cell)
{
    if (table->count == table->capacity) {
        size_t capacity = table->capacity ? 2 * table->capacity : 64;
        char **cells = realloc(table->cells, capacity * sizeof *cells);
        if (!cells) {
            free(cell);
            return;
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    table->cells[table->count++] = cell;
}

void table_start(struct table *table, const char *const *heads)
{
    memset(table, 0, sizeof *table);
    for (; heads[table->columns] && table->columns < TABLE_COLUMNS_MAX; table->columns++) {
        const char *head = heads[table->columns];
        table->right[table->columns] = head[0] == '>';
        table_cell(table, "%s", head + (head[0] == '>'));
    }
}

void table_cell(struct table *table, const char *format, ...)
{
    char *cell = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&cell, format, arguments) < 0)
        cell = NULL;
    va_end(arguments);
    table_keep(table, cell);
}

void table_print(struct table *table, const char *indent)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->count; i++) {
        size_t width = table->cells[i] ? strlen(table->cells[i]) : 0;
        if (width > widths[i % table->columns])
            widths[i % table->columns] = width;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns;
        bool last = column + 1 == table->columns || i + 1 == table->count;
        const char *cell = table->cells[i] ? table->cells[i] : "";
        int width = (int)widths[column];
        if (last && !table->right[column])
            width = 0; /* no blanks at the end of a line */
        printf("%s%*s%s", column == 0 ? indent : "", table->right[column] ? width : -width, cell, last ? "\n" : "  ");
    }
    table_free(table);
}

void table_free(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    memset(table, 0, sizeof *table);
}

/* -- Bytes ---------------------------------------------------------------------------------------------------------- */

static const uint64_t sink_grace_ns = UINT64_C(2000000000);

int sink_open(struct sink *sink, int fd, size_t capacity)
{
    memset(sink, 0, sizeof *sink);
    sink->fd = fd;
    sink->capacity = capacity;
    sink->buffer = malloc(capacity);
    return sink->buffer ? 0 : -ENOMEM;
}

void sink_close(struct sink *sink)
{
    free(sink->buffer);
    sink->buffer = NULL;
}

static int sink_write(struct sink *sink, const char *data, size_t bytes)
{
    uint64_t give_up_ns = 0;
    while (bytes > 0 && sink->error == 0) {
        ssize_t written = write(sink->fd, data, bytes);
        if (written >= 0) {
            data += written;
            bytes -= (size_t)written;
            continue;
        }
        if (errno == EAGAIN) { /* somebody else's O_NONBLOCK on a shared terminal or pipe */
            struct pollfd ready = {sink->fd, POLLOUT, 0};
            poll(&ready, 1, (int)(SIGNALS_SLICE_NS / 1000000));
        } else if (errno != EINTR) {
            sink->error = -errno;
        }
        if (signals_stop()) {
            uint64_t now_ns = pace_now_ns();
            if (give_up_ns == 0)
                give_up_ns = now_ns + sink_grace_ns;
            else if (now_ns >= give_up_ns)
                sink->error = sink->error ? sink->error : -EINTR;
        }
    }
    return sink->error;
}

int sink_put(struct sink *sink, const void *data, size_t bytes)
{
    if (bytes > sink->capacity - sink->used && sink_flush(sink) != 0)
        return sink->error;
    if (bytes >= sink->capacity)
        return sink_write(sink, data, bytes);
    if (bytes > 0)
        memcpy(sink->buffer + sink->used, data, bytes);
    sink->used += bytes;
    return sink->error;
}

int sink_flush(struct sink *sink)
{
    size_t used = sink->used;
    sink->used = 0;
    return sink_write(sink, sink->buffer, used);
}

int sink_look(struct sink *sink)
{
    struct pollfd look = {sink->fd, 0, 0};
    if (sink->error == 0 && poll(&look, 1, 0) > 0 && (look.revents & POLLERR))
        sink->error = -EPIPE;
    return sink->error;
}
