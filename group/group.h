/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups: a shared cursor over a ring, and what its workers hold. Algorithms over memory that the caller gives: no system
 * call, no allocation, no log. Where messages lie, what time it is and who is dead, the caller says. docs/groups.md has the
 * protocol; tests/model/group.pml searches it.
 *
 * Every int-returning function returns 0 or more, or a negative errno:
 *   -EAGAIN    nothing to be had, or somebody was faster: look again
 *   -ECANCELED the run, or the message, is no longer this worker's
 *   -ENOSPC    no entry, or no line, is free
 *   -EBADMSG   the shared bytes make no sense            -EPROTONOSUPPORT  other layout version or unknown feature bits
 *   -EINVAL    the caller's arguments make no sense       -EMEDIUMTYPE      not a file of weir's
 *
 * Who may run with whom: a struct group_worker belongs to one thread; all else is safe between any number of processes.
 * Progress: lock-free. Killed at any point: group_resolve() puts in order what the dead one held.
 */
#ifndef WEIR_GROUP_GROUP_H
#define WEIR_GROUP_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "group/layout.h"

/* -- memory: view.c ------------------------------------------------------------------------------------------------- */

struct group_options {
    uint64_t lease_ns; /* UINT64_MAX: until the worker dies */
    uint64_t backoff_ns, backoff_max_ns;
    uint32_t backoff_percent, jitter_percent;
    uint32_t entry_count, worker_count;
};

struct group_identity {
    char name[RING_NAME_BYTES];
    uint8_t ring_id[16];
    uint64_t created_ns;
};

struct group_view {
    struct group_header *header;
    struct group_line *lines;
    struct group_entry *entries;
    struct group_options options; /* copied once, bounded */
    struct group_identity identity;
};

/* -EINVAL with *ret_reason, a static sentence: not possible. */
int group_options_check(const struct group_options *options, const char **ret_reason);
uint64_t group_bytes(const struct group_options *options);
/* Formats zeroed memory of group_bytes(). What lies before `position` is finished. Readiness is stored last. */
void group_format(void *memory, const struct group_options *options, const struct group_identity *identity,
                  uint64_t position);
/* Checks the untrusted bytes and fills the view. *ret_reason: a static sentence for every error. -EAGAIN: not ready yet. */
int group_view_init(struct group_view *view, void *memory, uint64_t bytes, const char **ret_reason);

/* -- workers: line.c ------------------------------------------------------------------------------------------------ */

struct group_worker {
    struct group_view *view;
    struct group_line *line;
    uint64_t id;
    uint32_t owner;     /* line + 1 */
    uint32_t kept;      /* entry + 1 that is RESERVED for the next run, 0: none */
    uint64_t kept_word; /* as it is then */
    uint32_t hint;      /* where to look for a free entry first */
    uint64_t opened;    /* as it was when all entries were last looked at */
    uint32_t next;      /* entry to look at next */
    bool looking;       /* a look at all entries is under way, or is due */
    uint64_t due_ns;    /* the first of the delayed that the looks saw; UINT64_MAX: none */
    uint64_t due_seen_ns;
};

/* Tells whether the kernel says that nobody holds the lock of this id. False when alive or when it cannot tell. */
typedef bool group_dead(void *ctx, uint64_t id);

/* The caller holds the lock of `id`. Lines of the dead are resolved where none is free. -ENOSPC: all are alive. */
int group_join(struct group_worker *worker, struct group_view *view, uint64_t id, uint64_t pid, uint64_t now_ns,
               group_dead *dead, void *ctx);
/* All that it holds is OPEN again. True: some was; ring the bell. */
bool group_leave(struct group_worker *worker);
/*
 * Everything that names a line whose holder the kernel says is dead, then the line. May be run by any number at once, and
 * die anywhere. True: something came back; ring the bell.
 */
bool group_resolve(struct group_view *view, uint32_t line, uint64_t id);
/* The same for every line of the dead. Returns how many there were; *ret_opened: ring the bell. */
uint32_t group_sweep(struct group_view *view, group_dead *dead, void *ctx, bool *ret_opened);

/* -- new messages: cut.c --------------------------------------------------------------------------------------------- */

/* A run in a worker's hands. Its word is its owner's alone while it is HELD. */
struct group_run {
    uint32_t entry;
    uint32_t generation;
    uint32_t mask;  /* as last known: not finished */
    uint32_t count; /* messages of it, finished ones included */
    uint32_t attempt;
    uint64_t start, end;
    uint64_t lease_ns; /* when it ends: the value in the entry */
};

/* Where nothing is cut yet. What the cursor names is settled: it may be displaced. `near`: any position of the log. */
struct group_cut {
    uint64_t cursor; /* the word */
    uint64_t position;
};
/* Makes sure of an entry, which comes first. -ENOSPC: all are in use. */
int group_reserve(struct group_worker *worker);
int group_cursor(struct group_worker *worker, uint64_t near, struct group_cut *ret_cut);
/*
 * Takes run->count messages from run->start to run->end, until run->lease_ns. -EAGAIN: others were faster, from
 * group_cursor() on again. -ECANCELED: it was ours, and the lease ended at once.
 */
int group_cut(struct group_worker *worker, const struct group_cut *cut, struct group_run *run);
/* The cursor goes past messages that are gone. -EAGAIN: others were faster. */
int group_skip(struct group_worker *worker, const struct group_cut *cut, uint64_t to);

/* -- messages that came back, and what becomes of those in hand: take.c ------------------------------------------------ */

/*
 * Takes the next entry that is open and due. 1: taken, its attempt raised; 0: there is none. lease_ns: when the lease ends.
 * start and end are untrusted: the caller bounds them.
 */
int group_take(struct group_worker *worker, uint64_t now_ns, uint64_t lease_ns, struct group_run *ret_run);
/* Whether group_take() may have something to say: cheap. */
bool group_may_take(const struct group_worker *worker, uint64_t now_ns);

/* Finishes the messages of `bits`. -ECANCELED: not ours any more, or finished already; nothing was changed. */
int group_finish(struct group_worker *worker, uint32_t entry, uint32_t generation, uint32_t bits);
/*
 * Gives messages back, to be taken when it is due_ns; 0: at once. attempt_back: they were not delivered, so this attempt does
 * not count. -ECANCELED as above; -ENOSPC: some of a run, and no entry is free for them; nothing was changed.
 * The caller rings the bell.
 */
int group_give_back(struct group_worker *worker, uint32_t entry, uint32_t generation, uint32_t bits, uint64_t due_ns,
                    bool attempt_back);
/* -ECANCELED: not ours any more. lease_ns: when it ends. */
int group_extend(struct group_worker *worker, uint32_t entry, uint32_t generation, uint64_t lease_ns);
/* -- leases: lease.c ------------------------------------------------------------------------------------------------ */

#define GROUP_SUSPECTS 64u
/* One looker's memory of what it saw: a lease ends when its word was found twice, GROUP_TWICE_NS or more apart. */
#define GROUP_TWICE_NS 1000000u
struct group_ender {
    uint64_t looked_ns;
    uint32_t count;
    uint32_t next; /* entry to begin at: so all have their turn where there are many */
    struct {
        uint32_t entry;
        uint64_t word;
    } suspects[GROUP_SUSPECTS];
};
/* True: something came back; ring the bell. *ret_suspects: look again GROUP_TWICE_NS later. */
bool group_end_leases(struct group_view *view, struct group_ender *ender, uint64_t now_ns, bool *ret_suspects);

/* -- looking: count.c ------------------------------------------------------------------------------------------------ */

struct group_counts {
    uint64_t cursor;              /* position behind what is cut */
    uint64_t low_water;           /* the lowest that is not finished: all before it is */
    uint32_t entries_used;        /* not free */
    uint64_t held, open, delayed; /* messages */
    uint64_t taken, acked, returned, refused, missing;
};
/* `near`: any position of the log. May look at a copy. What others change meanwhile is counted before or after. */
void group_count(const struct group_view *view, uint64_t near, struct group_counts *ret_counts);

#endif
