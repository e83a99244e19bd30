/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes under way. A thread that drains has a few buffers, which its writers share: each holds whole blocks on their way to
 * the disk, while the next ones are put together.
 *
 * 1. What has landed is told in the order of positions: a writer's `written` never passes a write that is still under way.
 * 2. No two writes under way touch the same block: whoever goes on in a block that was not full waits for what it sent.
 * 3. No file is closed while a write to it, or its sync, is under way. A sync is for what had landed when it was begun.
 */
#ifndef WEIR_JOURNAL_FLIGHT_H
#define WEIR_JOURNAL_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/io.h"

struct journal_writer;

#define JOURNAL_FLIGHTS_MAX 8u

struct journal_flight {
    struct jio_op op;
    uint8_t *buffer;
    struct journal_writer *writer; /* NULL: it is free */
    uint64_t number;               /* among those of its writer */
};

struct journal_flights {
    struct jio_queue *queue;
    uint64_t longer_than;
    uint32_t count, next;
    struct journal_flight flights[JOURNAL_FLIGHTS_MAX];
};

/* Of one writer: what it sent and was not told of yet, the oldest first. */
struct journal_landings {
    struct {
        uint64_t position; /* behind it */
        int result;
        bool landed;
    } sent[JOURNAL_FLIGHTS_MAX];
    uint64_t first, next; /* numbers */
};

/* A buffer that is free, waited for if need be, with room for a block in front of ret_flight->buffer. */
int journal_flight_take(struct journal_writer *writer, struct journal_flight **ret_flight);
/* Sends bytes of it, from `lead` before its buffer on. `position`: behind the last record in it. */
void journal_flight_send(struct journal_flight *flight, int fd, uint64_t lead, uint64_t bytes, uint64_t offset,
                         uint64_t position);
/* Sends what is gathered (blocks.h), and takes note of what has landed; wait: of everything. An error ends the writer. */
int journal_flights_settle(struct journal_writer *writer, bool wait);

#endif
