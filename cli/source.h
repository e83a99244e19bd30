/* SPDX-License-Identifier: Apache-2.0 */
/* Messages from a file or a pipe: one a line, or framed (4 bytes of length, little-endian, then the bytes). */
#ifndef WEIR_CLI_SOURCE_H
#define WEIR_CLI_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source {
    int fd;
    bool framed;
    bool ended;         /* no more input follows what is in the buffer */
    size_t message_max; /* bytes of a message; what is longer is not even read */
    char *buffer;
    size_t capacity;
    size_t begin, end;      /* what has been read and not taken */
    size_t searched;        /* from begin: no newline there */
    uint64_t buffer_offset; /* of buffer[0] in the input */
    char why[160];          /* of the last negative return: what was wrong, where */
};

/* 0, or -ENOMEM. The descriptor stays the caller's. */
int source_open(struct source *source, int fd, bool framed, size_t message_max);
void source_close(struct source *source);

struct source_message {
    const char *data; /* in the buffer, until the next source_fill() */
    size_t bytes;
    uint64_t offset; /* where it, or its frame, begins in the input */
};
/*
 * Takes the next message of those that are whole. 1: *ret_message; 0: none is, source_fill() first, or the end;
 * -EMSGSIZE: longer than message_max; -EBADMSG: the input ends within a frame.
 */
int source_take(struct source *source, struct source_message *ret_message);
/* Reads once, waiting for input. 1: there is more; 0: the end; -EINTR: a signal; else negative errno of read(2). */
int source_fill(struct source *source);
/* Bytes that were read, belong to no whole message, and were not taken. */
size_t source_rest(const struct source *source);

#endif
