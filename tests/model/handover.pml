/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From memory to the journal: what the drain writes and tells, when memory is given up, and a subscriber that goes from
 * memory to the journal and back, while the daemon dies before any step and starts again, or does not.
 *   publisher   commits, and rolls over into a slot whose segment is drained (ringbuf/roll.c; in four steps)
 *   daemon      binding_fill(), journal_recover(), binding_tell_control(), binding_lease(); drain_copy_step(),
 *               journal_write(), drain_written_step(), journal_sync_begin(), journal_sync_end(), drain_durable_step()
 *   subscriber  backlog_fetch(), fetch_journal(), seek_memory(), seek_journal() of client/backlog.c; enter_segment()
 *   power       restore_prepare() of daemon/restore.c
 * A segment is SEG records. One step is one access to a shared word, one record handed to the kernel, or one file
 * synced. The kernel has a record (kernel), has yet to bring it to the disk (dirty), or has done so (disk). A sync that
 * fails leaves the pages clean and the disk as it was, as Linux does. A sync covers the files that this daemon wrote
 * to, and all that is dirty in them; while one is under way more is written, for which it is no sync.
 *
 * The promises: what is told as written the kernel has, what is told as durable is on the disk, and so is what memory
 * gives up. A subscriber gets each record once and in order, wherever it reads it, none before it was told as written,
 * and all that was published, also while nobody drains. -DPOWER: the power goes at any step, and any part of what was
 * dirty with it: the journal that is left has, without a gap, all that was ever told as durable, and no position that
 * was given out is given out again.
 *
 * What was told as written may be told as not written yet by the next daemon, which starts over from durable:
 * -DWRITTEN_STAYS shows it. It stays true of the record (the kernel has it), and subscribers do not mind.
 * -DRESUME_WRITTEN and -DNO_SECURE each hold alone: that recovery syncs what it found, and that the drain writes it
 * again, are two nets, one below the other. So are the way back to memory within a segment, and the bound on what is
 * read from the journal (written): what has left memory is drained as a whole, so a subscriber as it is never needs
 * either. -DSTRAY: one that goes to the journal for no reason, so many times; it needs both.
 *
 * Not in it: how slots change hands in full (ring.pml, announce.pml), bytes and their checks
 * (tests/journal_power_test.cc), expired segments, names; what is published after a loss of power (it begins as this
 * does, at another position).
 *
 * PAN: | -DSAFETY | -E
 * PAN: -DSLOTS=3 | -DSAFETY | -E
 * PAN: -DSTRAY=2 | -DSAFETY | -E
 * PAN: -DPOWER | -DSAFETY | -E
 * PAN: -DKILLS=2 -DFAILS=1 | -DSAFETY | -E
 * PAN: -DRESUME_WRITTEN -DFAILS=1 | -DSAFETY | -E
 * PAN: -DNO_SECURE -DFAILS=1 | -DSAFETY | -E
 * PAN-FINDS: -DDURABLE_FIRST | -DSAFETY | -E | violated durable_is_on_disk
 * PAN-FINDS: -DDURABLE_SENT | -DSAFETY | -E | violated durable_is_on_disk
 * PAN-FINDS: -DCLEAN_LATE | -DSAFETY | -E | violated durable_is_on_disk
 * PAN-FINDS: -DIGNORE_ERROR -DFAILS=1 | -DSAFETY | -E | violated durable_is_on_disk
 * PAN-FINDS: -DRESUME_WRITTEN -DNO_SECURE | -DSAFETY | -E | violated durable_is_on_disk
 * PAN-FINDS: -DDRAIN_WRITTEN -DLEASED=3 | -DSAFETY | -E | violated given_up_is_on_disk
 * PAN-FINDS: -DWRITTEN_FIRST | -DSAFETY | -E | violated written_is_in_kernel
 * PAN-FINDS: -DLEASE_FIRST | -DSAFETY | -E | violated ((aseg+1)<meta_lease)
 * PAN-FINDS: -DPOWER -DDURABLE_FIRST | -DSAFETY | -E | (end>=told)
 * PAN-FINDS: -DPOWER -DLEASE_FIRST | -DSAFETY | -E | violated all_below_lease
 * PAN-FINDS: -DSTRAY=2 -DNO_LIMIT | -DSAFETY | -E | violated kernel[journal]
 * PAN-FINDS: -DNO_LOOK | -DSAFETY | -E | (memory+1))
 * PAN-FINDS: -DSTRAY=2 -DOLD_POSITION | -DSAFETY | -E | ==got)
 * PAN-FINDS: -DSTRAY=2 -DNO_WAY_BACK | -DSAFETY | -E | (got==published)
 * PAN-FINDS: -DWRITTEN_STAYS | -DSAFETY | -E | (written>=c_written)
 * HAND: -DSLOTS=3 -DLAST=8 -DKILLS=3 -DFAILS=1 | -DSAFETY | -E
 * HAND: -DPOWER -DKILLS=2 -DFAILS=1 -DSLOTS=3 | -DSAFETY | -E
 */
#ifndef LAST
#define LAST 6 /* records in all */
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef KILLS
#define KILLS 1 /* of the daemon, at most */
#endif
#ifndef FAILS
#define FAILS 0 /* syncs that fail, at most */
#endif
#ifndef LEASED
#define LEASED 2 /* segments from the durable one on that publishers may claim */
#endif
#define SEG 2
#define SEGMENTS (LAST / SEG)
#define NONE 15
#define SEGMENT(p) ((p) / SEG)
#define CELL(sl, p) cell[(sl) * SEG + (p) % SEG]

#define S_FREE 0
#define S_LIVE 1
#define S_RECL 2
#define S_RESV 3
typedef slot_t { byte st; byte seg };
slot_t slot[SLOTS];
byte cell[SLOTS * SEG]; /* the record's number, from 1; 0: not committed yet */
byte aseg;              /* active segment */
byte ann = NONE;        /* the subscriber's */

byte c_written, c_durable, c_drained, c_lease = LEASED; /* in control; the lease in segments */
bool kernel[LAST], dirty[LAST], disk[LAST];
byte meta_lease = LEASED; /* on the disk, synced */

/* Ghosts. */
byte published, got, kills, fails, strayed;
byte told; /* the most that was ever told as durable */
bool power_off, durable_is_on_disk, given_up_is_on_disk, written_is_in_kernel;
#ifdef POWER
#define ON provided (!power_off)
#else
#define ON
#endif

#define ALL_OF(where, from, to, what) \
  k = from; what = true; do :: (k < to) -> what = what && where[k]; k++ :: else -> k = 0; break od; assert(what); what = false
/* With -DPOWER the loss itself finds it out. */
#ifdef POWER
#define DURABLE_IS_ON_DISK skip
#define LEASED_IN_META skip
#else
#define DURABLE_IS_ON_DISK ALL_OF(disk, 0, c_durable, durable_is_on_disk)
#define LEASED_IN_META assert(aseg + 1 < meta_lease)
#endif
#define DONE(x) ((slot[x].st == S_LIVE || slot[x].st == S_RECL) && slot[x].seg < aseg && (slot[x].seg + 1) * SEG <= c_drained && ann != slot[x].seg)

proctype publisher() ON {
  byte i, k;

commit:
  atomic {
    if
    :: (published == LAST) -> goto ended
    :: (published < LAST && SEGMENT(published) > aseg) -> goto roll
    :: else -> CELL(i, published) = published + 1; published++; goto commit
    fi
  };
roll: /* a slot that is free, or whose segment is drained and announced by nobody */
  atomic { (c_lease > aseg + 1) };
  atomic {
    i = 0;
    if
    :: (slot[0].st == S_FREE || DONE(0))
    :: (slot[1].st == S_FREE || DONE(1)) -> i = 1
#if SLOTS > 2
    :: (slot[2].st == S_FREE || DONE(2)) -> i = 2
#endif
    fi
  };
  atomic {
    if
    :: (slot[i].st == S_FREE) -> slot[i].st = S_RESV; goto take
    :: (slot[i].st == S_LIVE) -> slot[i].st = S_RECL
    :: else -> goto roll
    fi
  };
#ifndef NO_LOOK
  atomic { if :: (ann == slot[i].seg) -> if :: (slot[i].st == S_RECL) -> slot[i].st = S_LIVE :: else fi; goto roll :: else fi };
#endif
  atomic {
    if :: (slot[i].st != S_RECL) -> goto roll :: else fi;
    ALL_OF(disk, slot[i].seg * SEG, (slot[i].seg + 1) * SEG, given_up_is_on_disk);
    slot[i].st = S_RESV
  };
take:
  atomic { LEASED_IN_META; slot[i].st = S_LIVE; slot[i].seg = aseg + 1; CELL(i, 0) = 0; CELL(i, 1) = 0; aseg++; goto commit };
ended: skip
}

/* Before any step. */
#define STEP(x) if :: atomic { x } :: (kills < KILLS) -> goto killed fi
#define BIT(sg) (1 << (sg))
#define CLEAN(sg) dirty[(sg) * SEG] = false; dirty[(sg) * SEG + 1] = false
#define FLUSH_ONE(p) disk[p] = disk[p] || dirty[p]
#define SYNC(sg) \
  if \
  :: atomic { !(files & BIT(sg)) -> skip } \
  :: atomic { (files & BIT(sg)) -> FLUSH_ONE((sg) * SEG); FLUSH_ONE((sg) * SEG + 1); CLEAN(sg) } \
  :: atomic { ((files & BIT(sg)) && fails < FAILS) -> fails++; CLEAN(sg); goto failed } \
  :: (kills < KILLS) -> goto killed \
  fi
/* One of those of a sync that is under way: its end tells whether it was well. */
#define SYNC_ONE \
  if \
  :: atomic { f = 0; NEXT_FILE; FLUSH_ONE(f * SEG); FLUSH_ONE(f * SEG + 1); CLEAN(f); todo = todo - BIT(f); f = 0 } \
  :: atomic { (fails < FAILS) -> f = 0; NEXT_FILE; fails++; bad = true; CLEAN(f); todo = todo - BIT(f); f = 0 } \
  :: (kills < KILLS) -> goto killed \
  fi
#define NEXT_FILE do :: (todo & BIT(f)) -> break :: else -> f++ od
#define FORGET \
  written = 0; durable = 0; at = 0; to = 0; sl = 0; k = 0; w = 0; files = 0; cut = 0; todo = 0; syncing = false; bad = false

proctype daemon() ON {
  byte written, durable, at, to, sl, k, w;
  byte files; /* that this one has written to, as bits */
  byte cut, todo, f; /* the sync that is under way is for what lies below; what of it is not done yet */
  bool syncing, bad;

start: /* binding_fill() */
  STEP(durable = c_durable; w = c_written);
  /* journal_recover(): what is above durable and checks is written over itself, and synced */
  STEP(
    at = durable;
    do
    :: (at < LAST && kernel[at]) ->
#ifndef NO_SECURE
       dirty[at] = true; files = files | BIT(SEGMENT(at));
#endif
       at++
    :: else -> break
    od;
    to = at; at = 0
  );
  do
  :: (at == SEGMENTS) -> break
  :: else -> SYNC(at); at++
  od;
  atomic { files = 0; at = 0 };
  /* binding_tell_control() */
  STEP(if :: (w < durable || w > to) -> c_written = durable :: else fi);
  STEP(c_drained = durable);
  STEP(c_lease = meta_lease);
  atomic { w = 0; to = 0; written = durable };
#ifdef RESUME_WRITTEN
  STEP(written = c_written);
#endif
  /* drain_ring_begin() */
  if
  :: (meta_lease < SEGMENT(durable) + LEASED) ->
     STEP(meta_lease = SEGMENT(durable) + LEASED);
     STEP(c_lease = meta_lease)
  :: else
  fi;
  do
  :: atomic { (published > written) -> /* drain_copy_step(): some of what is committed in this segment */
       sl = 0;
       do :: (slot[sl].st == S_LIVE && slot[sl].seg == SEGMENT(written)) -> break :: else -> sl++ od;
       to = written;
       do
       :: (to < published && SEGMENT(to) == SEGMENT(written)) -> to++
       :: (to > written) -> break
       od;
       sl = 0; at = written
     };
#ifdef WRITTEN_FIRST
     STEP(c_written = to; ALL_OF(kernel, 0, c_written, written_is_in_kernel));
#endif
     do /* journal_write() */
     :: (at == to) -> break
     :: (at < to && todo != 0) -> SYNC_ONE
     :: (at < to) -> STEP(kernel[at] = true; dirty[at] = true; files = files | BIT(SEGMENT(at)); at++)
     od;
     /* drain_written_step() */
     STEP(
       written = to; at = 0; to = 0;
#ifdef WRITTEN_STAYS
       assert(written >= c_written);
#endif
#ifdef DRAIN_WRITTEN
       c_drained = written;
#endif
       c_written = written; ALL_OF(kernel, 0, c_written, written_is_in_kernel)
     )
  :: (written > durable && !syncing) -> /* drain_ring_sync_begin() */
#ifdef DURABLE_FIRST
     STEP(c_durable = written; told = c_durable; DURABLE_IS_ON_DISK);
#endif
     STEP(
       syncing = true; cut = written; todo = files;
#ifndef CLEAN_LATE
       files = 0
#endif
     )
  :: (todo != 0) -> SYNC_ONE
  :: (syncing && todo == 0) -> /* drain_ring_sync_end() */
     if
     :: bad -> goto failed
     :: else
     fi;
synced: /* drain_durable_step() */
#ifdef CLEAN_LATE
     files = 0;
#endif
#ifdef DURABLE_SENT
     cut = written;
#endif
     STEP(durable = cut; cut = 0; syncing = false; bad = false; at = 0; c_durable = durable; told = c_durable; DURABLE_IS_ON_DISK);
     STEP(c_drained = durable);
     /* binding_lease(): the meta block is synced before publishers are told */
     if
     :: (meta_lease < SEGMENT(durable) + LEASED) ->
#ifdef LEASE_FIRST
        STEP(c_lease = SEGMENT(durable) + LEASED);
#endif
        STEP(meta_lease = SEGMENT(durable) + LEASED);
        STEP(c_lease = meta_lease)
     :: else
     fi
  :: (kills < KILLS) -> goto killed
  od;
failed: /* the journal stands still until weird is started again */
#ifdef IGNORE_ERROR
  goto synced;
#endif
  if
  :: goto again
  :: goto gone
  fi;
killed:
  kills++;
  if
  :: goto again
  :: goto gone
  fi;
again:
  atomic { FORGET; goto start };
gone:
  atomic { FORGET }
}

#define IS_IN(x, sg) ((slot[x].st == S_LIVE || slot[x].st == S_RECL) && slot[x].seg == sg)
#if SLOTS > 2
#define IN_MEMORY(sg) (IS_IN(0, sg) || IS_IN(1, sg) || IS_IN(2, sg))
#else
#define IN_MEMORY(sg) (IS_IN(0, sg) || IS_IN(1, sg))
#endif
#define DELIVER(p) assert(p == got); got++; p++

#ifdef STRAY
#define STRAYS(not_here) :: (sl == 0 && strayed < STRAY) -> strayed++; goto not_here
#else
#define STRAYS(not_here)
#endif

/* enter_segment() for position p, and where to go on */
#define ENTER(p, look, inside, not_yet, not_here) \
  ann = SEGMENT(p); \
look: \
  atomic { if :: (SEGMENT(p) > aseg) -> goto not_yet :: else -> sl = 0 fi }; \
  atomic { \
    do \
    STRAYS(not_here) \
    :: (sl == SLOTS) -> sl = 0; goto not_here \
    :: (sl < SLOTS && slot[sl].seg == SEGMENT(p) && slot[sl].st == S_LIVE) -> goto inside \
    :: (sl < SLOTS && slot[sl].seg == SEGMENT(p) && slot[sl].st == S_RECL) -> break \
    :: else -> sl++ \
    od \
  }; \
  atomic { if :: (slot[sl].seg == SEGMENT(p) && slot[sl].st == S_RECL) -> slot[sl].st = S_LIVE :: else fi; goto look }

proctype subscriber() ON {
  byte memory, journal, limit, sl; /* where it stands in both */

enter: /* ring_reader_peek() */
  ENTER(memory, look, inside, not_yet, gone);
not_yet:
  atomic { (aseg >= SEGMENT(memory)) -> goto look };
inside:
  atomic {
    (CELL(sl, memory) != 0);
    assert(CELL(sl, memory) == memory + 1);
    DELIVER(memory);
    if
    :: (memory == LAST) -> goto done
    :: (memory < LAST && memory % SEG == 0) -> sl = 0; goto enter
    :: else -> goto inside
    fi
  };
gone: /* seek_journal() */
  atomic { ann = NONE; journal = memory };
fetch: /* fetch_journal() */
  if
  :: (journal % SEG == 0) -> goto way_back
  :: else
  fi;
read:
  limit = c_written;
  atomic {
    if
#ifdef NO_LIMIT
    :: true ->
#else
    :: (journal < limit) ->
#endif
       assert(kernel[journal]);
       limit = 0;
       DELIVER(journal);
       if :: (journal == LAST) -> goto done :: else -> goto fetch fi
    :: else
    fi
  };
#ifdef NO_WAY_BACK
  atomic { (c_written > limit) -> goto fetch };
#endif
way_back: /* seek_memory() */
  ENTER(journal, look_back, back, back_not_yet, not_back);
back_not_yet:
  atomic { memory = journal; journal = 0; limit = 0; goto not_yet };
back:
  atomic {
#ifdef OLD_POSITION
    if :: (SEGMENT(memory) != SEGMENT(journal)) -> memory = journal :: else fi;
#else
    memory = journal;
#endif
    journal = 0; limit = 0; goto inside
  };
not_back:
  atomic {
    (c_written > journal || IN_MEMORY(SEGMENT(journal)));
    if :: (c_written > journal) -> goto read :: else -> goto way_back fi
  };
done: skip
}

#ifdef POWER
/*
 * The memory is gone, and of what the kernel had not yet brought to the disk any part. weird makes the ring again from the
 * journal (daemon/restore.c): it ends where the disk's bytes no longer check, and goes on at the lease; a subscriber reads up
 * to the end, and is told of the gap from there to the lease.
 */
proctype power() {
  byte k, end; bool all_below_lease;

  atomic {
    !power_off; power_off = true;
    do
    :: (k < LAST && dirty[k]) -> if :: disk[k] = true :: true fi; k++
    :: (k < LAST && !dirty[k]) -> k++
    :: (k == LAST) -> k = 0; break
    od;
    do :: (end < LAST && disk[end]) -> end++ :: else -> break od;
    assert(end >= told);
    all_below_lease = true;
    do
    :: (k < SLOTS) ->
       if :: (slot[k].st == S_LIVE || slot[k].st == S_RECL) -> all_below_lease = all_below_lease && slot[k].seg < meta_lease :: else fi; k++
    :: else -> k = 0; break
    od;
    assert(all_below_lease) /* no position is given out again */
  }
}
#endif

proctype watchdog() ON { timeout -> assert(got == published) }

init {
  atomic {
    slot[0].st = S_LIVE;
    run publisher(); run daemon(); run subscriber(); run watchdog()
#ifdef POWER
    ;run power()
#endif

  }
}
