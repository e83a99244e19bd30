/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/flight.h"

#include <errno.h>
#include <stdlib.h>

#include "journal/layout.h"
#include "journal/writer.h"

int journal_flights_open(struct jio_queue *queue, uint64_t longer_than, struct journal_flights **ret_flights)
{
    if (queue->buffer_bytes < JOURNAL_FLIGHT_BYTES || queue->buffer_count == 0)
        return -EINVAL;
    struct journal_flights *flights = calloc(1, sizeof(*flights));
    if (!flights)
        return -ENOMEM;
    flights->queue = queue;
    flights->longer_than = longer_than;
    flights->count = queue->buffer_count < JOURNAL_FLIGHTS_MAX ? queue->buffer_count : JOURNAL_FLIGHTS_MAX;
    for (uint32_t i = 0; i < flights->count; i++)
        flights->flights[i].buffer = queue->buffers + i * queue->buffer_bytes + JOURNAL_BLOCK_BYTES;
    *ret_flights = flights;
    return 0;
}

void journal_flights_close(struct journal_flights *flights)
{
    free(flights);
}

/* What was cut short, or is refused past the kernel's cache, goes on as any other write: see files.h. */
static int land(const struct jio_op *op)
{
    uint64_t done = op->result > 0 ? (uint64_t)op->result : 0;

    if (op->result < 0 && op->result != -EINVAL && op->result != -EINTR && op->result != -EAGAIN)
        return (int)op->result;
    if (done >= op->bytes)
        return 0;
    done &= ~(uint64_t)(JOURNAL_BLOCK_BYTES - 1);
    return journal_file_write_blocks(op->fd, (const uint8_t *)op->data + done, op->bytes - done, op->offset + done);
}

/* Waits for a flight, and tells its writer. */
static void finish(struct journal_flights *flights, struct journal_flight *flight)
{
    struct journal_landings *landings = &flight->writer->landings;
    uint64_t at = flight->number % JOURNAL_FLIGHTS_MAX;

    if (!flight->op.done)
        flights->queue->wait(flights->queue, &flight->op);
    landings->sent[at].result = land(&flight->op);
    landings->sent[at].landed = true;
    flight->writer = NULL;
}

static struct journal_flight *find(struct journal_flights *flights, const struct journal_writer *writer,
                                   uint64_t number)
{
    for (uint32_t i = 0; i < flights->count; i++) {
        if (flights->flights[i].writer == writer && flights->flights[i].number == number)
            return &flights->flights[i];
    }
    return NULL;
}

int journal_flights_settle(struct journal_writer *writer, bool wait)
{
    struct journal_flights *flights = writer->flights;
    struct journal_landings *landings = &writer->landings;
    int result = 0;

    journal_blocks_send(writer);
    if (landings->first != landings->next && !wait)
        flights->queue->wait(flights->queue, NULL);
    for (; landings->first != landings->next; landings->first++) {
        uint64_t at = landings->first % JOURNAL_FLIGHTS_MAX;
        if (!landings->sent[at].landed) {
            struct journal_flight *flight = find(flights, writer, landings->first);
            if (!wait && !flight->op.done)
                break;
            finish(flights, flight);
        }
        if (landings->sent[at].result < 0 && result == 0)
            result = journal_end(writer, landings->sent[at].result);
        if (result == 0 && writer->error == 0)
            writer->written = landings->sent[at].position;
    }
    return result;
}

int journal_flight_take(struct journal_writer *writer, struct journal_flight **ret_flight)
{
    struct journal_flights *flights = writer->flights;
    struct journal_landings *landings = &writer->landings;
    struct journal_flight *flight = &flights->flights[flights->next];

    /* Others may have used the buffers that its later ones had: as many landings as there is room for. */
    if (landings->next - landings->first == JOURNAL_FLIGHTS_MAX) {
        int result = journal_flights_settle(writer, true);
        if (result < 0)
            return result;
    }
    if (flight->writer) {
        if (flight->writer->blocks.gathered.flight == flight)
            journal_blocks_send(flight->writer);
        finish(flights, flight);
    }
    flights->next = (flights->next + 1) % flights->count;
    flight->writer = writer;
    flight->number = landings->next++;
    landings->sent[flight->number % JOURNAL_FLIGHTS_MAX].landed = false;
    *ret_flight = flight;
    return 0;
}

void journal_flight_send(struct journal_flight *flight, int fd, uint64_t lead, uint64_t bytes, uint64_t offset,
                         uint64_t position)
{
    struct journal_flights *flights = flight->writer->flights;

    flight->writer->landings.sent[flight->number % JOURNAL_FLIGHTS_MAX].position = position;
    flight->op = (struct jio_op){
        .kind = JIO_OP_WRITE,
        .fd = fd,
        .data = flight->buffer - lead,
        .bytes = bytes,
        .offset = offset,
    };
    flights->queue->submit(flights->queue, &flight->op);
}
