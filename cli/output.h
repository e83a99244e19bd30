/* SPDX-License-Identifier: Apache-2.0 */
/* What goes out: complaints, JSON lines, tables, and a buffered stream of bytes. */
#ifndef WEIR_CLI_OUTPUT_H
#define WEIR_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -- Complaints on stderr: "weir: VERB: what is wrong, where, what to do" ------------------------------------------- */

void complain_as(const char *verb); /* the pointer is kept */
const char *complain_verb(void);
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A failed call of the library: what it said, or else what the error means. EXIT_USAGE for a bad name, else EXIT_FAILED. */
int complain_failed(int error, const char *where);
/* The same of an earlier call, whose weir_last_error() was kept. */
int complain_about(int error, const char *where, const char *why);

/* -- Lines and tables on stdout ------------------------------------------------------------------------------------- */

/* One object, one line. Takes the reference. */
void output_json(json_t *object);
json_t *output_number(uint64_t number);
void output_set_number(json_t *object, const char *name, uint64_t number);
void output_set_text(json_t *object, const char *name, const char *text);
/* Sets NAME to a string if the bytes are UTF-8, else NAME_base64. */
void output_set_bytes(json_t *object, const char *name, const void *data, size_t bytes);
/* Writes out what stdout holds; false from the first time that this fails on. */
bool output_flush(void);
/* The last flush: EXIT_DONE, or EXIT_FAILED with a complaint (none for a broken pipe) if anything went wrong with it. */
int output_finish(void);

enum { TABLE_COLUMNS_MAX = 12 };
struct table {
    size_t columns;
    bool right[TABLE_COLUMNS_MAX];
    size_t count, capacity; /* cells */
    char **cells;
};
/* The heads, ended by NULL; one that begins with '>' makes a column of numbers, set to the right. */
void table_start(struct table *table, const char *const *heads);
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints it, each line behind indent, and frees it. */
void table_print(struct table *table, const char *indent);
void table_free(struct table *table);

/* -- Bytes ---------------------------------------------------------------------------------------------------------- */

/* Errors stick: after the first nothing more is written. */
struct sink {
    int fd;
    int error; /* negative errno, 0: none */
    size_t used, capacity;
    char *buffer;
};
int sink_open(struct sink *sink, int fd, size_t capacity);
void sink_close(struct sink *sink); /* without flushing; leaves the descriptor open */
int sink_put(struct sink *sink, const void *data, size_t bytes);
/* 0: all that was put has been taken by the kernel. -EINTR: asked to stop, and nobody took it within two seconds. */
int sink_flush(struct sink *sink);
/* A pipe whose reader is gone makes this -EPIPE without a write. */
int sink_look(struct sink *sink);

#endif
