/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The account of what the journals take on the disk: of all rings, and of each. A file is asked for here before it is
 * made, so that limits, and the reserve on the file system, are met before they are crossed.
 *
 *   - What one was promised and has not made yet counts, so two who ask at once cannot both get the last of it.
 *   - A ring whose journal expires what is oldest is told how much to give up from the high watermark on, down to the
 *     low one.
 *   - Any other that was refused once gets nothing before the low watermark is reached, so that it does not stop and go with
 *     each file; or before there is room for ROOM_FILES_LEAST. As what waits writes nothing, and retention may never come to
 *     any of these, it gets what there is after a second all the same.
 *
 * Any thread; the small files of a journal (meta, ledger, names, pins, index) are not counted, and live in the reserve:
 * weird.conf(5) says how large they get.
 */
#ifndef WEIR_DAEMON_ROOM_H
#define WEIR_DAEMON_ROOM_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/policy.h"
#include "journal/journal.h"

/* A ring's journal may always have so many files: the one that is written to, the next one, and some to give up. */
#define ROOM_FILES_LEAST 4u

struct room;
struct room_share; /* of one ring */

int room_open(struct room **ret_room, int journal_fd, struct policies *policies);
void room_close(struct room *room); /* NULL is allowed; when all shares are left */

/* A ring's journal has its writer, which asks here from now on. */
int room_join(struct room *room, const char *name, struct journal_writer *writer, struct room_share **ret_share);
/* NULL is allowed. Before the writer is closed. */
void room_leave(struct room_share *share);
/* A journal that no ring has any more was taken away. */
void room_count_anew(struct room *room);
/* What holds for the ring now. Warns where what is to be kept leaves no room to write. */
void room_set_policy(struct room_share *share, const struct policy *policy);

struct room_view {
    bool pressed;        /* the directory is above its high watermark: nothing is to be kept ready */
    bool ample;          /* it, and the ring, are below the low one */
    uint64_t left_bytes; /* what the ring's journal may still take */
    uint64_t give_bytes; /* what a ring that expires is to give up of its segments now */
};
/* needed: a file was refused just now, so that something is to be given up in any case. */
struct room_view room_look(struct room_share *share, bool needed);

#endif
