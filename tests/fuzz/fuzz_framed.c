/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz: */
/*
 * What `weir pub` reads, as lines or framed, in pieces of any size. The input is a byte of flags, the longest message that
 * is allowed (a byte), the sizes of the pieces (a count, and a byte each, used again and again; 0: interrupted), and the
 * text. The messages must be those that one look at the whole text finds.
 */
#include <errno.h>
#include <unistd.h>

#include "tests/fuzz/support/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The file under test reads from the input instead of a descriptor. */
static ssize_t read_piece(int fd, void *buffer, size_t bytes);
#define read read_piece
#include "cli/source.c"
#undef read

#define FRAMED 1u
#define SCALED 2u /* pieces and messages are long */

static struct input text;
static const uint8_t *pieces;
static size_t piece_count, piece_next, piece_scale;

static ssize_t read_piece(int fd, void *buffer, size_t bytes)
{
    size_t piece = piece_count > 0 ? pieces[piece_next++ % piece_count] * piece_scale : SIZE_MAX;

    (void)fd;
    if (piece == 0 && piece_next <= piece_count) { /* not for ever */
        errno = EINTR;
        return -1;
    }
    piece = piece == 0 ? 1 : piece;
    return (ssize_t)input_bytes(&text, buffer, piece < bytes ? piece : bytes);
}

/* What source_take() must say next, from the whole text. */
static int expect(struct input *rest, const struct source *source, struct source_message *ret_message)
{
    const uint8_t *at = rest->at;
    size_t bytes, skip = 0, taken;

    if (rest->left == 0)
        return 0;
    if (source->framed) {
        if (rest->left < 4)
            return -EBADMSG;
        bytes = at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
        if (bytes > source->message_max)
            return -EMSGSIZE;
        if (bytes > rest->left - 4)
            return -EBADMSG;
        skip = 4;
        taken = 4 + bytes;
    } else {
        const uint8_t *newline = memchr(at, '\n', rest->left);
        bytes = newline ? (size_t)(newline - at) : rest->left;
        if (bytes > source->message_max)
            return -EMSGSIZE;
        taken = bytes + (newline != NULL);
    }
    *ret_message = (struct source_message){(const char *)at + skip, bytes, 0};
    rest->at += taken;
    rest->left -= taken;
    return 1;
}

/* Reads until there is a message, or none will come. */
static int take(struct source *source, struct source_message *ret_message)
{
    int result = source_take(source, ret_message), more;

    while (result == 0 && ((more = source_fill(source)) == -EINTR || more > 0))
        result = source_take(source, ret_message);
    return result != 0 ? result : source_take(source, ret_message);
}

static void read_all(struct source *source, struct input whole)
{
    struct input rest = whole;
    struct source_message message, expected;

    for (;;) {
        uint64_t offset = (uint64_t)(rest.at - whole.at);
        int result = take(source, &message);
        need(result == expect(&rest, source, &expected), "another result than the whole text has");
        if (result < 0)
            need(source->why[0] != '\0', "refused without a reason");
        if (result <= 0)
            break;
        need(message.bytes == expected.bytes && message.offset == offset &&
                 memcmp(message.data, expected.data, message.bytes) == 0,
             "another message than the text has");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint64_t flags = input_number(&input, 1);
    size_t message_max = input_number(&input, 1);
    struct source source;

    piece_count = input_number(&input, 1) % 16;
    piece_count = piece_count < input.left ? piece_count : input.left;
    pieces = input.at;
    piece_next = 0;
    piece_scale = flags & SCALED ? 97 : 1;
    text = (struct input){input.at + piece_count, input.left - piece_count};
    need(source_open(&source, 0, flags & FRAMED, flags & SCALED ? message_max * 64 : message_max) == 0, "no memory");
    read_all(&source, text);
    source_close(&source);
    return 0;
}
