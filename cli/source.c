/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 256 * 1024, FRAME_HEADER_BYTES = 4 };

int source_open(struct source *source, int fd, bool framed, size_t message_max)
{
    memset(source, 0, sizeof *source);
    source->fd = fd;
    source->framed = framed;
    source->message_max = message_max;
    source->capacity = BLOCK_BYTES;
    source->buffer = malloc(source->capacity);
    return source->buffer ? 0 : -ENOMEM;
}

void source_close(struct source *source)
{
    free(source->buffer);
    source->buffer = NULL;
}

size_t source_rest(const struct source *source)
{
    return source->end - source->begin;
}

static uint64_t offset_of_begin(const struct source *source)
{
    return source->buffer_offset + source->begin;
}

static void give(struct source *source, size_t skip, size_t bytes, size_t taken, struct source_message *ret_message)
{
    ret_message->data = source->buffer + source->begin + skip;
    ret_message->bytes = bytes;
    ret_message->offset = offset_of_begin(source);
    source->begin += taken;
    source->searched = 0;
}

static int too_long(struct source *source)
{
    snprintf(source->why, sizeof source->why, "%s at offset %" PRIu64 " is longer than %zu bytes",
             source->framed ? "the frame" : "the line", offset_of_begin(source), source->message_max);
    return -EMSGSIZE;
}

static int take_line(struct source *source, struct source_message *ret_message)
{
    const char *line = source->buffer + source->begin;
    size_t rest = source_rest(source);
    const char *newline =
        rest > source->searched ? memchr(line + source->searched, '\n', rest - source->searched) : NULL;
    size_t bytes = newline ? (size_t)(newline - line) : rest;
    source->searched = rest;
    if (bytes > source->message_max)
        return too_long(source);
    if (!newline && !(source->ended && rest > 0))
        return 0;
    give(source, 0, bytes, bytes + (newline != NULL), ret_message);
    return 1;
}

static int take_frame(struct source *source, struct source_message *ret_message)
{
    const unsigned char *frame = (const unsigned char *)source->buffer + source->begin;
    size_t rest = source_rest(source);
    size_t bytes = 0;
    if (rest >= FRAME_HEADER_BYTES) {
        bytes = (size_t)frame[0] | (size_t)frame[1] << 8 | (size_t)frame[2] << 16 | (size_t)frame[3] << 24;
        if (bytes > source->message_max)
            return too_long(source);
        if (rest - FRAME_HEADER_BYTES >= bytes) {
            give(source, FRAME_HEADER_BYTES, bytes, FRAME_HEADER_BYTES + bytes, ret_message);
            return 1;
        }
    }
    if (!source->ended || rest == 0)
        return 0;
    if (rest < FRAME_HEADER_BYTES)
        snprintf(source->why, sizeof source->why,
                 "the frame at offset %" PRIu64 " is cut off: %zu of the 4 bytes of its length",
                 offset_of_begin(source), rest);
    else
        snprintf(source->why, sizeof source->why, "the frame at offset %" PRIu64 " is cut off: %zu of %zu bytes",
                 offset_of_begin(source), rest - FRAME_HEADER_BYTES, bytes);
    return -EBADMSG;
}

int source_take(struct source *source, struct source_message *ret_message)
{
    return source->framed ? take_frame(source, ret_message) : take_line(source, ret_message);
}

/* Room behind what is left, which moves to the front. One message, with its frame or newline, always fits. */
static int make_room(struct source *source)
{
    size_t rest = source_rest(source);
    if (source->begin > 0) {
        memmove(source->buffer, source->buffer + source->begin, rest);
        source->buffer_offset += source->begin;
        source->begin = 0;
        source->end = rest;
    }
    if (source->end < source->capacity)
        return 0;
    char *buffer = realloc(source->buffer, 2 * source->capacity);
    if (!buffer) {
        snprintf(source->why, sizeof source->why, "not enough memory for a message of %zu bytes", rest);
        return -ENOMEM;
    }
    source->buffer = buffer;
    source->capacity *= 2;
    return 0;
}

int source_fill(struct source *source)
{
    if (source->ended)
        return 0;
    int rc = make_room(source);
    if (rc < 0)
        return rc;
    ssize_t got = read(source->fd, source->buffer + source->end, source->capacity - source->end);
    if (got < 0) {
        rc = -errno;
        snprintf(source->why, sizeof source->why, "cannot read: %s", strerror(errno));
        return rc;
    }
    source->end += (size_t)got;
    source->ended = got == 0;
    return got > 0;
}
