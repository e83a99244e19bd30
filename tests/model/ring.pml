/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring over a pool of slots, as ringbuf/ does it, with publishers that die or stop at any step:
 *   roll.c      publisher_enter(), publisher_roll(), slot_take(), slot_settle(), slot_reclaim()
 *   claim.c     claim_shared(), clean_to(), clean_ahead_shared(), help_last_claim(), claim_exclusive(), ring_commit(),
 *               ring_batch_put(), ring_cancel()
 *   members.c   take_exclusive(), ring_publisher_leave()
 *   reader.c    ring_reader_peek(), ring_reader_look(), repair_claim(), by the drain, whose progress lets slots go
 *   repair.c    enter_segment_of(), resolve_claims(), resolve_slots(), by who sweeps (-DSWEEPER)
 * One step is one access to a shared word, and what follows from it in the process itself. A unit is the smallest
 * allocation; a record has one or two, the second stands for its payload. gen and seq of a header are ghosts for the
 * assertions: the protocol does not look at them, nor at gen of a claim.
 *
 * -DEXCLUSIVE: one publisher at a time. -DBATCH: a record of two units is a batch of two of one unit. -DCANCEL: one
 * claim is cancelled. -DREAD_ONLY: the reader may not write, and skips what the dead claimed. -DGIVE_UP: who waits for
 * a living cleaner pads what is left, so many times (for a stopped one: always). -DLOW: headers are cleaned ahead of
 * need. -DFIGHTS: a mark is taken from the living so many times only.
 *
 * A stopped publisher may stop the others only as docs/guarantees.md P1 says: by a claim that is not committed, which
 * ring_reader_claimant() names. The searches with -DNP look for executions that are fair to everyone and in which the
 * drain takes nothing any more. There is one: two who reclaim the same slot take the mark from each other for ever. It
 * takes both, each time, to be inside of the other's fence, and who lost tells its caller -EAGAIN instead of trying
 * again here.
 *
 * Not in it: store buffers (announce.pml, sleep.pml; ARM: docs/memory-ordering.md), subscribers and gates
 * (announce.pml), a table index that is used again (index.pml), the journal and the lease (handover.pml: here the drain
 * is the disk), drop-old (a ring whose every segment counts as drained: announce.pml), names of publishers. A publisher
 * that rolls over passes by the dead it meets, where publishers_inside() sweeps first: the sweeper does that beside it.
 * slot_find() of the drain is one step, since what is not drained keeps its slot; so is the choice of the oldest slot,
 * since the swap behind it tells when it is wrong; so is the preparation of a slot, which nobody looks at meanwhile.
 *
 * PAN: | -DSAFETY -DNOREDUCE | -E
 * PAN: -DSEG=2 | -DSAFETY -DNOREDUCE | -E
 * PAN: -DDEATHS=2 | -DSAFETY -DNOREDUCE | -E
 * PAN: -DGIVE_UP=1 | -DSAFETY -DNOREDUCE | -E
 * PAN: -DLOW=2 | -DSAFETY -DNOREDUCE | -E
 * PAN: -DPADDING -DCHUNK=2 | -DSAFETY -DNOREDUCE | -E
 * PAN: -DCANCEL | -DSAFETY -DNOREDUCE | -E
 * PAN: -DBATCH -DSEG=2 | -DSAFETY -DNOREDUCE | -E
 * PAN: -DSWEEPER | -DSAFETY -DNOREDUCE | -E
 * PAN: -DREAD_ONLY | -DSAFETY -DNOREDUCE | -E
 * PAN: -DEXCLUSIVE -DSEG=2 -DMSGS=3 -DDEATHS=2 -DCANCEL | -DSAFETY -DNOREDUCE | -E
 * PAN: -DEXCLUSIVE -DSEG=4 -DMSGS=3 -DDEATHS=2 -DCANCEL -DBATCH -DLOW=2 | -DSAFETY -DNOREDUCE | -E
 * PAN: -DSTOPS=1 -DSLOTS=3 | -DSAFETY -DNOREDUCE | -E
 * PAN: -DSTOPS=1 -DSLOTS=3 -DSEG=2 -DDEATHS=0 | -DSAFETY -DNOREDUCE | -E
 * PAN: -DSTOPS=1 -DSLOTS=3 -DDEATHS=0 | -DNP -DNOREDUCE -DNFAIR=3 | -E -l -f
 * PAN: -DSEG=2 -DBATCH | -DNP -DNOREDUCE -DNFAIR=3 | -E -l -f
 * PAN-FINDS: -DNO_LOOK -DMSGS=3 | -DSAFETY -DNOREDUCE | -E | ((s[sl].gen==g)&&(s[sl].st>=2))
 * PAN-FINDS: -DBURY_LIVING | -DSAFETY -DNOREDUCE | -E | ((h[((sl*3)+off)].st==0)||
 * PAN-FINDS: -DBURY_LIVING -DREAD_ONLY | -DSAFETY -DNOREDUCE -DBFS | -E | (got[h[((sl*3)+off)].own]==h[((sl*3)+off)].seq)
 * PAN-FINDS: -DSEG=2 -DSWEEPER -DSWEEP_UNANNOUNCED | -DSAFETY -DNOREDUCE | -E | &&(h[((sl*2)+at)].gen==g))
 * PAN-FINDS: -DSEG=2 -DSWEEPER -DSWEEP_NO_UNDO | -DSAFETY -DNOREDUCE | -E | &&(h[((sl*2)+at)].gen==g))
 * PAN-FINDS: -DSWEEPER -DSWEEP_NO_HELP | -DSAFETY -DNOREDUCE | -E | ((tend-tn)==at)
 * PAN-FINDS: -DCLEAN_SHORT | -DSAFETY -DNOREDUCE | -E | (h[((sl*3)+off)].gen==g)
 * PAN-FINDS: -DNO_READ_AGAIN | -DSAFETY -DNOREDUCE | -E | (got[o]==sent[o])
 * PAN-FINDS: -DEARLY_READY | -DSAFETY -DNOREDUCE | -E | ((h[((sl*3)+off)].n==1)||
 * PAN-FINDS: -DNO_CLEAN | -DSAFETY -DNOREDUCE | -E | (h[((sl*3)+off)].gen==g)
 * PAN-FINDS: -DEXCLUSIVE -DNO_NEXT | -DSAFETY -DNOREDUCE | -E | (h[((sl*3)+off)].gen==g)
 * PAN-FINDS: -DEXCLUSIVE -DSTEAL_RIGHT | -DSAFETY -DNOREDUCE | -E | (exclusive==me)
 * PAN-FINDS: -DNO_HELP | -DSAFETY -DNOREDUCE | -E | (h[((sl*3)+off)].st!=0)
 * PAN-FINDS: -DREAD_FIRST | -DSAFETY -DNOREDUCE | -E | ((ok||(agen!=vgen))||(aslot!=s2))
 * PAN-FINDS: -DSTOPS=1 -DSLOTS=2 | -DSAFETY -DNOREDUCE | -E | (drainer_done||
 * PAN-FINDS: -DSTOPS=1 -DSLOTS=3 -DNO_GIVE_UP | -DSAFETY -DNOREDUCE | -E | (drainer_done||
 * PAN-FINDS: -DSEG=2 -DBATCH -DNO_LIFT | -O2 -DNP -DNOREDUCE -DNFAIR=3 | -E -l -f | non-progress cycle
 * PAN-FINDS: -DSEG=2 -DNO_TAKE_OVER | -O2 -DNP -DNOREDUCE -DNFAIR=3 | -E -l -f | non-progress cycle
 * PAN-FINDS: -DSEG=2 | -O2 -DNP -DNOREDUCE -DNFAIR=3 | -E -l -f | non-progress cycle
 * HAND: -DSEG=2 -DFIGHTS=1 | -DNP -DNOREDUCE -DNFAIR=3 | -E -l -f
 * HAND: -DSTOPS=1 -DSLOTS=3 -DSEG=2 | -DSAFETY -DNOREDUCE | -E
 * HAND: -DSTOPS=1 -DSLOTS=3 -DSEG=2 -DDEATHS=0 -DFIGHTS=1 | -DNP -DNOREDUCE -DNFAIR=3 | -E -l -f
 * HAND: -DMSGS=3 -DPADDING -DGIVE_UP=1 -DDEATHS=2 | -DSAFETY -DNOREDUCE | -E
 * HAND: -DMSGS=3 -DLOW=2 -DCANCEL -DDEATHS=2 | -DSAFETY -DNOREDUCE | -E
 * HAND: -DSWEEPER -DSEG=2 | -DSAFETY -DNOREDUCE | -E
 * HAND: -DSWEEPER -DDEATHS=2 | -DSAFETY -DNOREDUCE | -E
 * HAND: -DSWEEPER -DSTOPS=1 -DSLOTS=3 | -DSAFETY -DNOREDUCE | -E
 * HAND: -DPUBS=3 -DMSGS=1 -DSEG=2 -DSLOTS=3 -DDEATHS=2 | -DSAFETY -DNOREDUCE | -E
 * HAND: -DPUBS=3 -DMSGS=1 -DSTOPS=1 -DSLOTS=3 | -DSAFETY -DNOREDUCE | -E
 */
#ifndef PUBS
#define PUBS 2 /* publishers */
#endif
#ifndef MSGS
#define MSGS 2 /* messages of each publisher, one more where a batch ends behind it */
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef SEG
#define SEG 3 /* units in a segment */
#endif
#ifndef DEATHS
#define DEATHS 1 /* of publishers, at most */
#endif
#ifndef STOPS
#define STOPS 0 /* publishers that are stopped for ever, at most; the kernel says that they are alive */
#endif
#ifdef PADDING
#define NEED ((me == 1 && seq == 1) -> 1 : 2) /* units of a record: leaves a segment's last one over */
#else
#define NEED (1 + ((me + seq) % 2))
#endif
/* Headers cleaned at a time, and how few may be left before some are cleaned ahead of need (0: never). */
#ifndef CHUNK
#define CHUNK 1
#endif
#ifndef LOW
#define LOW 0
#endif
#define GOAL if :: (c + CHUNK > tgt) -> goal = c + CHUNK :: else -> goal = tgt fi; if :: (goal > SEG) -> goal = SEG :: else fi

#define NONE 15
#define RUNS 0
#define STOPPED 1
#define DEAD 2
byte life[PUBS + 1]; /* the last one is the sweeper */
#define IS_DEAD(p) (life[p] == DEAD)

#define H_FREE 0
#define H_CLAIM 1
#define H_READY 2
#define H_PAD 3
#define H_JUNK 4 /* payload, or left from an earlier segment */
typedef head_t { byte st; byte own; byte n; byte gen; byte seq };
head_t h[SLOTS * SEG];
#define H(sl, o) h[(sl) * SEG + (o)]
#define SET_HEAD(sl, o, a, b, c, d, e) H(sl, o).st = a; H(sl, o).own = b; H(sl, o).n = c; H(sl, o).gen = d; H(sl, o).seq = e

#define S_FREE 0
#define S_RESV 1
#define S_LIVE 2
#define S_RECL 3
typedef slot_t {
  byte st; byte gen; byte own;   /* state word */
  byte end; byte n; byte by;     /* tail word: end of the last claim, its length, its owner */
  byte clean; byte lock          /* clean word */
};
slot_t s[SLOTS];
/* A slot that is worked in holds the segment that was entered. */
#define HOLDS(x, g) (s[x].gen == g && s[x].st >= S_LIVE)
#define LOAD_STATE(x) vst = s[x].st; vgen = s[x].gen; o = s[x].own
#define STATE_IS(x, a, b, c) (s[x].st == a && s[x].gen == b && s[x].own == c)
#define SET_STATE(x, a, b, c) s[x].st = a; s[x].gen = b; s[x].own = c

byte agen, aslot;      /* active word */
#ifdef SWEEPER
#define MEMBERS (PUBS + 1)
#else
#define MEMBERS PUBS
#endif
byte ann[MEMBERS];     /* each publisher's announced segment, and the sweeper's */
byte drained;          /* segments below it are drained */
byte exclusive = NONE; /* who has the right to publish, in an exclusive ring */

/* Ghosts. */
byte running = PUBS, deaths, stops, gave_up, cancels, fights;
bool fin[PUBS], drainer_done, looks;
byte sent[PUBS], got[PUBS];
byte at_slot, at_off; /* where the drainer stands, if it looks */

/* Locals that are dead are reset, so that states which differ in them alone are one. */
#define FORGET off = 0; goal = 0; pn = 0; pby = 0; need = 0; tgt = 0; k = 0; s2 = 0; c = 0; o = 0; vst = 0; vgen = 0; pass = 0; low = 0; ok = false; pad = false

/* Is there something to be had for the segment behind g, or somebody dead to be put in order? */
#define INSIDE(p, gen) (ann[p] == gen && !IS_DEAD(p))
#if MEMBERS > 2
#define ANYBODY(gen) (INSIDE(0, gen) || INSIDE(1, gen) || INSIDE(2, gen))
#else
#define ANYBODY(gen) (INSIDE(0, gen) || INSIDE(1, gen))
#endif
#ifdef FIGHTS
#define TAKE_OVER(p) (IS_DEAD(p) || fights < FIGHTS)
#else
#define TAKE_OVER(p) true
#endif
#define WORTH(x) (s[x].st == S_FREE || (s[x].st == S_RESV && IS_DEAD(s[x].own)) || \
  ((s[x].st == S_LIVE || (s[x].st == S_RECL && TAKE_OVER(s[x].own))) && s[x].gen < g && s[x].gen < drained && !ANYBODY(s[x].gen)))

proctype publisher(byte me) provided (life[_pid - 1] == RUNS) {
  byte g, sl, off, pn, pby, need, tgt, goal, seq, k, s2, c, o, vst, vgen, pass, low;
  bool ok, pad;

#ifdef EXCLUSIVE
  /* take_exclusive(), once the one entry is to be had */
right:
#ifdef STEAL_RIGHT
  o = exclusive;
#else
  atomic { (exclusive == NONE || IS_DEAD(exclusive)); o = exclusive };
#endif
  atomic { if :: (exclusive == o) -> exclusive = me :: else -> goto right fi };
#endif

enter: /* publisher_enter() */
  atomic { FORGET; g = agen; sl = aslot };
  ann[me] = g;
  atomic { LOAD_STATE(sl); if :: (vgen != g || vst == S_FREE) -> goto enter :: else fi };
  atomic {
    if
    :: (agen != g || aslot != sl) -> goto enter
    :: (agen == g && aslot == sl && vst == S_LIVE) ->
       FORGET;
#ifdef EXCLUSIVE
       goto walk
#else
       goto claim
#endif
    :: else
    fi
  };
  /* RESERVED by who won the roll-over */
#ifdef NO_LIFT
  goto enter;
#endif
  atomic { if :: STATE_IS(sl, vst, vgen, o) -> SET_STATE(sl, S_LIVE, g, NONE) :: else fi; goto enter };

#ifdef EXCLUSIVE
walk: /* segment_find_end() */
  atomic {
    if
    :: (off < SEG && H(sl, off).st != H_FREE) ->
       off = off + H(sl, off).n; goto walk
    :: else -> c = off + 1
    fi
  };
claim: /* claim_exclusive() */
  atomic {
    if :: (off == SEG) -> goto roll :: else fi;
    need = NEED; pad = false;
    if :: (off + need > SEG) -> need = SEG - off; pad = true; goto commit :: else fi;
#ifndef NO_NEXT
    if
    :: (off + need >= c) -> /* free before the record is READY */
       if :: (off + need < SEG) -> SET_HEAD(sl, off + need, H_FREE, 0, 0, g, 0) :: else fi;
       c = off + need + 1
    :: else
    fi
#endif
  };
#else
claim: /* claim_shared() */
  atomic {
    off = s[sl].end; pn = s[sl].n; pby = s[sl].by;
    if :: (off == SEG) -> goto roll :: else fi;
    need = NEED; pad = false;
    if :: (off + need > SEG) -> need = SEG - off; pad = true; goto help :: else fi;
#ifdef CLEAN_SHORT
    tgt = off + need
#else
    if :: (off + need >= SEG) -> tgt = SEG :: else -> tgt = off + need + 1 fi
#endif
  };
clean: /* clean_to() */
  atomic {
    c = s[sl].clean; o = s[sl].lock;
    if
    :: (c >= tgt) -> c = 0; o = 0; tgt = 0; goto help
    :: (c < tgt && o != NONE) -> goto other_cleans
    :: else -> GOAL
    fi
  };
  atomic { if :: (s[sl].clean == c && s[sl].lock == NONE) -> s[sl].lock = me; k = c; o = 0 :: else -> goto clean fi };
sweep: /* clean_chunk() */
  atomic {
#ifndef NO_CLEAN
    SET_HEAD(sl, k, H_FREE, 0, 0, g, 0);
#endif
    k++;
    if :: (k < goal) -> goto sweep :: else fi
  };
  atomic {
    if :: (s[sl].clean == c && s[sl].lock == me) -> s[sl].clean = goal; s[sl].lock = NONE :: else fi;
    k = 0; goal = 0;
    if :: pad -> goto next :: else -> goto clean fi
  };
other_cleans:
  if
  :: atomic { (s[sl].clean != c || s[sl].lock != o) -> goto clean }
  :: IS_DEAD(o) -> /* clean_settle() */
     atomic { if :: (s[sl].clean == c && s[sl].lock == o) -> s[sl].lock = NONE :: else fi; goto clean }
#if defined(GIVE_UP) || (STOPS > 0 && !defined(NO_GIVE_UP))
#ifndef GIVE_UP
#define GIVE_UP 0
#endif
     /* waited too long: pads what is left */
  :: atomic { (gave_up < GIVE_UP || life[o] == STOPPED) ->
       if :: (gave_up < GIVE_UP) -> gave_up++ :: else fi;
       need = SEG - off; pad = true; c = 0; o = 0; tgt = 0; goto help }
#endif
  fi;
help: /* help_last_claim(): before another's claim is displaced from the tail word, it stands in its header */
#if !defined(NO_HELP) && !defined(SWEEP_NO_HELP)
  if
  :: (pby != NONE && pby != me) ->
     d_step {
       if
       :: (H(sl, off - pn).st == H_FREE) ->
          assert(HOLDS(sl, g));
          SET_HEAD(sl, off - pn, H_CLAIM, pby, pn, g, 0)
       :: else
       fi
     }
  :: else
  fi;
#endif
  atomic {
    if
    :: (s[sl].end == off && s[sl].n == pn && s[sl].by == pby) ->
       assert(HOLDS(sl, g));
       s[sl].end = off + need; s[sl].n = need; s[sl].by = me; pn = 0; pby = 0
    :: else -> FORGET; goto claim
    fi
  };
#endif
#ifdef EARLY_READY
  if :: !pad -> atomic { SET_HEAD(sl, off, H_READY, me, need, g, seq) } :: else fi;
#endif
  if
  :: (need == 2 && !pad) ->
#ifdef BATCH
     /* ring_batch_put() */
     d_step { SET_HEAD(sl, off + 1, H_READY, me, 1, g, seq + 1) }
#else
     d_step { SET_HEAD(sl, off + 1, H_JUNK, me, 0, 77, seq) } /* the payload */
#endif
  :: else
  fi;
commit: skip;
#ifdef CANCEL
  /* ring_cancel(), once */
  if
  :: !pad -> skip
  :: atomic { (me == 0 && !pad && cancels == 0) -> cancels++;
#ifdef EXCLUSIVE
       need = 0; c = off + 1; goto claim /* as if it had never been; payload may stand in what was clean behind it */
#else
       pad = true
#endif
     }
  :: pad -> skip
  fi;
#endif
  /* commit_head() */
  atomic {
#ifdef EXCLUSIVE
    assert(exclusive == me);
#else
    assert(H(sl, off).st == H_FREE || (H(sl, off).st == H_CLAIM && H(sl, off).own == me && H(sl, off).n == need));
#endif
    assert(HOLDS(sl, g));
    if
    :: pad -> SET_HEAD(sl, off, H_PAD, me, need, g, seq)
#ifdef BATCH
    :: !pad -> SET_HEAD(sl, off, H_READY, me, 1, g, seq); seq = seq + need
#else
    :: !pad -> SET_HEAD(sl, off, H_READY, me, need, g, seq); seq++
#endif
    fi;
    sent[me] = seq;
#if defined(EXCLUSIVE) || LOW > 0
    off = off + need; need = 0;
#endif
#ifdef EXCLUSIVE
    pad = false
#else
    if :: pad -> FORGET; goto claim :: else fi
#endif
  };
#ifdef EXCLUSIVE
ahead: /* clean_ahead_exclusive() */
  atomic {
    if
    :: (c < off + LOW && c < SEG) -> SET_HEAD(sl, c, H_FREE, 0, 0, g, 0); c++; goto ahead
    :: else
    fi
  };
#elif LOW > 0
  /* clean_ahead_shared() */
  atomic {
    c = s[sl].clean; o = s[sl].lock;
    if :: (c >= off + LOW || c <= off || c >= SEG || o != NONE) -> goto next :: else fi;
    GOAL; pad = true
  };
  atomic { if :: (s[sl].clean == c && s[sl].lock == NONE) -> s[sl].lock = me; k = c; o = 0; goto sweep :: else fi };
#endif
next:
  atomic {
#ifndef EXCLUSIVE
    FORGET;
#endif
    if :: (seq >= MSGS) -> FORGET; goto leave :: else -> goto claim fi
  };

roll: /* publisher_roll() */
  atomic { ann[me] = NONE; FORGET };
  atomic { if :: (agen != g) -> goto enter :: else fi };
take: /* slot_take() */
  atomic {
    vst = 0; vgen = 0; o = 0; k = 0; ok = false;
    if
    :: (pass == 0 && s2 < SLOTS) -> /* one that is free */
       LOAD_STATE(s2);
       if :: (vst == S_LIVE || vst == S_RECL) -> s2++; goto take :: else fi
    :: else -> /* that of the oldest segment that may go */
       pass = 1; s2 = 0; k = NONE;
       do
       :: (s2 == SLOTS) -> break
       :: else ->
          if
#ifndef NO_TAKE_OVER
          :: (s[s2].st == S_RECL && TAKE_OVER(s[s2].own) && s[s2].gen >= low && (k == NONE || s[s2].gen < s[k].gen)) -> k = s2
#endif
          :: (s[s2].st == S_LIVE && s[s2].gen >= low && (k == NONE || s[s2].gen < s[k].gen)) -> k = s2
          :: else
          fi;
          s2++
       od;
       s2 = 0;
       if
       :: (k == NONE) -> k = 0; goto no_room
       :: else -> s2 = k; k = 0; LOAD_STATE(s2); low = vgen + 1
       fi;
       if
       :: (vgen >= g) -> goto no_room
       :: (vgen < g && vgen >= drained) -> goto take
       :: else
       fi
    fi
  };
  if
  :: (vst == S_FREE) ->
     atomic { if :: (s[s2].st == S_FREE) -> SET_STATE(s2, S_RESV, g + 1, me); goto prepare :: else -> goto take fi }
  :: (vst == S_RESV) ->
     /* slot_settle(): the kernel says dead; then the words are read; then one swap on exactly what was read */
#ifdef READ_FIRST
     atomic { ok = (agen == vgen && aslot == s2) };
#endif
     if
     :: IS_DEAD(o) ->
#ifndef READ_FIRST
        atomic { ok = (agen == vgen && aslot == s2) };
#endif
        atomic {
          if
          :: STATE_IS(s2, S_RESV, vgen, o) ->
             assert(ok || agen != vgen || aslot != s2);
             if :: ok -> SET_STATE(s2, S_LIVE, vgen, NONE) :: else -> SET_STATE(s2, S_FREE, 0, NONE) fi
          :: else
          fi;
          goto take
        }
     :: else -> s2++; goto take
     fi
  :: else
  fi;
  /* slot_reclaim(): mark, (fence,) look at everyone, swap on exactly the mark */
  atomic {
    if
    :: STATE_IS(s2, vst, vgen, o) ->
#ifdef FIGHTS
       if :: (vst == S_RECL && !IS_DEAD(o)) -> fights++ :: else fi;
#endif
       SET_STATE(s2, S_RECL, vgen, me); ok = true
    :: else -> goto take
    fi
  };
#ifndef NO_LOOK
  do
  :: atomic { (k < MEMBERS && (k == me || !INSIDE(k, vgen))) -> k++ }
  :: atomic { (k < MEMBERS && k != me && INSIDE(k, vgen)) -> ok = false; k = MEMBERS }
  :: atomic { (k == MEMBERS) -> k = 0; break }
  od;
#endif
  atomic { if :: (agen != g) -> ok = false :: else fi }; /* is_last() */
  atomic {
    if
    :: (STATE_IS(s2, S_RECL, vgen, me) && ok) -> SET_STATE(s2, S_RESV, g + 1, me); goto prepare
    :: (STATE_IS(s2, S_RECL, vgen, me) && !ok) -> SET_STATE(s2, S_LIVE, vgen, NONE)
    :: else
    fi;
    goto take
  };
no_room: /* -EAGAIN; who waits looks again when it may be worth while */
  atomic {
    (agen != g || WORTH(0) || WORTH(1)
#if SLOTS > 2
     || WORTH(2)
#endif
#if SLOTS > 3
     || WORTH(3)
#endif
    ) -> goto enter
  };
prepare: /* nobody looks at what a slot holds while it is RESERVED and `active` does not name it: one step */
  atomic {
    vst = 0; vgen = 0; o = 0; k = 0; pass = 0; low = 0;
    s[s2].end = 0; s[s2].n = 0; s[s2].by = NONE; s[s2].clean = 1; s[s2].lock = NONE;
    SET_HEAD(s2, 0, H_FREE, 0, 0, g + 1, 0)
  };
  atomic { ok = (agen == g && aslot == sl); if :: ok -> agen = g + 1; aslot = s2 :: else fi };
  atomic {
    if
    :: (STATE_IS(s2, S_RESV, g + 1, me) && ok) -> SET_STATE(s2, S_LIVE, g + 1, NONE)
    :: (STATE_IS(s2, S_RESV, g + 1, me) && !ok) -> SET_STATE(s2, S_FREE, 0, NONE)
    :: else
    fi;
    goto enter
  };
leave: /* ring_publisher_leave() */
#ifdef EXCLUSIVE
  exclusive = NONE;
#endif
  atomic { ann[me] = NONE; g = 0; sl = 0; running--; fin[me] = true }
}

#define FELL(p, how) if :: (life[p] == RUNS) -> running-- :: else fi; life[p] = how
proctype killer() {
  do
  :: atomic { (deaths < DEATHS && !fin[0] && !IS_DEAD(0)) -> deaths++; FELL(0, DEAD) }
  :: atomic { (deaths < DEATHS && !fin[1] && !IS_DEAD(1)) -> deaths++; FELL(1, DEAD) }
#if PUBS > 2
  :: atomic { (deaths < DEATHS && !fin[2] && !IS_DEAD(2)) -> deaths++; FELL(2, DEAD) }
  :: atomic { (stops < STOPS && !fin[2] && life[2] == RUNS) -> stops++; FELL(2, STOPPED) }
#endif
#ifdef SWEEPER
  :: atomic { (deaths < DEATHS && !IS_DEAD(PUBS)) -> deaths++; life[PUBS] = DEAD }
  :: atomic { (stops < STOPS && life[PUBS] == RUNS) -> stops++; life[PUBS] = STOPPED }
#endif
  :: atomic { (stops < STOPS && !fin[0] && life[0] == RUNS) -> stops++; FELL(0, STOPPED) }
  :: atomic { (stops < STOPS && !fin[1] && life[1] == RUNS) -> stops++; FELL(1, STOPPED) }
  :: atomic { (deaths < DEATHS || stops < STOPS) -> deaths = DEATHS; stops = STOPS } /* no more of it */
  od
}

#ifdef SWEEPER
/*
 * ring_sweep() of a process that publishes nothing: what a dead publisher left is put in order beside the drain, which repairs
 * the same claims. It may die and stop, too.
 */
proctype sweeper(byte me) provided (life[me] == RUNS) {
  byte d, g, sl, at, n, o, st, vst, vgen, tend, tn, tby; bool ok, resolved[2];

look:
  atomic {
    g = 0; sl = 0; at = 0; n = 0; o = 0; st = 0; vst = 0; vgen = 0; tend = 0; tn = 0; tby = 0; ok = false;
    if
    :: (IS_DEAD(0) && !resolved[0]) -> d = 0
    :: (IS_DEAD(1) && !resolved[1]) -> d = 1
    fi
  };
  atomic { g = ann[d]; if :: (g == NONE) -> goto slots :: else fi };
  /* enter_segment_of() */
#ifndef SWEEP_UNANNOUNCED
  ann[me] = g;
#endif
  atomic { if :: (agen == g) -> sl = aslot :: else -> goto scan fi };
  atomic { LOAD_STATE(sl); if :: (vst != S_FREE && vgen == g) -> goto found :: else -> sl = 0 fi };
scan:
  atomic {
    vst = 0; vgen = 0; o = 0;
    if :: (sl == SLOTS) -> sl = 0; goto left :: else fi;
    LOAD_STATE(sl);
    if
    :: (vst >= S_LIVE && vgen == g) -> goto found
    :: (vst == S_RESV && vgen == g)
    :: else -> sl++; goto scan
    fi
  };
  atomic { if :: (agen != g || aslot != sl) -> sl++; goto scan :: else fi };
found:
#ifndef SWEEP_NO_UNDO
  if
  :: (vst == S_RECL) ->
     atomic { if :: STATE_IS(sl, vst, vgen, o) -> SET_STATE(sl, S_LIVE, g, NONE) :: else fi };
     atomic { if :: (s[sl].st != S_LIVE || s[sl].gen != g) -> sl = 0; goto left :: else fi }
  :: else
  fi;
#endif
claims: /* resolve_claims(): the tail, then the header */
  atomic { vst = 0; vgen = 0; o = 0; st = 0; n = 0; tend = s[sl].end; tn = s[sl].n; tby = s[sl].by };
  atomic {
    assert(s[sl].gen == g && s[sl].st != S_FREE && H(sl, at).gen == g);
    st = H(sl, at).st; o = H(sl, at).own; n = H(sl, at).n;
    if
    :: (st == H_FREE) ->
       if
       :: (tend <= at) -> goto right
       :: else -> assert(tend - tn == at); n = tn; o = tby; if :: (o != d) -> goto right :: else fi
       fi
    :: else
    fi;
    if
    :: ((st == H_FREE || st == H_CLAIM) && o == d)
    :: else -> goto next
    fi
  };
  atomic {
    if
    :: (H(sl, at).st == st) -> assert(s[sl].gen == g && s[sl].st != S_FREE); SET_HEAD(sl, at, H_PAD, d, n, g, 0)
    :: else -> goto claims
    fi;
next:
    at = at + n;
    if :: (at < SEG) -> goto claims :: else fi
  };
right: /* to clean */
  atomic { at = 0; n = 0; o = 0; st = 0; tend = 0; tn = 0; tby = 0; n = s[sl].clean; if :: (s[sl].lock != d) -> goto left :: else fi };
  atomic { if :: (s[sl].clean == n && s[sl].lock == d) -> s[sl].lock = NONE :: else fi };
left:
  atomic { n = 0; sl = 0; ann[me] = NONE };
slots: /* resolve_slots() */
  atomic {
    vst = 0; vgen = 0; o = 0; ok = false;
    if :: (sl == SLOTS) -> resolved[d] = true; goto look :: else fi;
    LOAD_STATE(sl);
    if :: ((vst == S_RESV || vst == S_RECL) && o == d) :: else -> sl++; goto slots fi
  };
  atomic { ok = (vst == S_RECL || (agen == vgen && aslot == sl)) };
  atomic {
    if
    :: STATE_IS(sl, vst, vgen, o) ->
       assert(ok || agen != vgen || aslot != sl);
       if :: ok -> SET_STATE(sl, S_LIVE, vgen, NONE) :: else -> SET_STATE(sl, S_FREE, 0, NONE) fi
    :: else
    fi;
    sl++; goto slots
  }
}
#endif

/* Everybody stands still: only because all is done, or because of what docs/guarantees.md P1 names, and ring_reader_claimant() too. */
#define CLAIMANT_STOPPED (STOPS > 0 && looks && \
  ((H(at_slot, at_off).st == H_CLAIM && life[H(at_slot, at_off).own] == STOPPED) || \
   (H(at_slot, at_off).st == H_FREE && s[at_slot].end - s[at_slot].n == at_off && s[at_slot].n > 0 && life[s[at_slot].by] == STOPPED)))
proctype watchdog() { timeout -> assert(drainer_done || CLAIMANT_STOPPED) }

/* The reader whose progress allows reuse, and that repairs at its position. */
proctype drainer() {
  byte sl, off, g, n, o, st; bool ok;

segment: /* slot_find(): what is not drained stays in its slot, so looking for it is one step */
  atomic {
    looks = false; n = 0; o = 0; st = 0; sl = 0; ok = false;
    (agen >= g || running == 0);
    if :: (agen < g) -> goto finish :: else fi;
    do
    :: ((s[sl].st == S_LIVE || s[sl].st == S_RECL) && s[sl].gen == g) -> break
    :: (s[sl].st == S_RESV && s[sl].gen == g && agen == g && aslot == sl) -> break
    :: else -> sl++
    od;
    looks = true; at_slot = sl; at_off = off
  };
peek: /* ring_reader_peek(), and the first load of ring_reader_look() */
  if
  :: atomic { (H(sl, off).st == H_READY || H(sl, off).st == H_PAD) ->
take:
       assert(H(sl, off).gen == g); /* nothing of an earlier segment's, nor payload */
       if
       :: (H(sl, off).st == H_READY) ->
          assert(got[H(sl, off).own] == H(sl, off).seq);
          got[H(sl, off).own]++;
#ifndef BATCH
          assert(H(sl, off).n == 1 || (H(sl, off + 1).gen == 77 && H(sl, off + 1).own == H(sl, off).own && H(sl, off + 1).seq == H(sl, off).seq))
#endif
       :: else
       fi;
       n = H(sl, off).n;
pass:  off = off + n; at_off = off; n = 0; o = 0; st = 0;
       if :: (off == SEG) -> g++; off = 0; at_off = 0; drained = g :: else fi };
progress: if :: (off == 0) -> goto segment :: else -> goto peek fi
  :: atomic { (H(sl, off).st == H_JUNK) -> assert(H(sl, off).gen == g) }
#ifdef EXCLUSIVE
  :: atomic { (running == 0 && H(sl, off).st == H_FREE) -> goto finish }
#else
  :: atomic { (H(sl, off).st == H_CLAIM) -> st = H_CLAIM; o = H(sl, off).own; n = H(sl, off).n; goto ask }
  :: atomic { (H(sl, off).st == H_FREE && s[sl].end > off) -> st = H_FREE }
  :: atomic { (running == 0 && H(sl, off).st == H_FREE && s[sl].end == off) -> goto finish }
#endif
  fi;
#ifndef EXCLUSIVE
  /* ring_reader_look(): the tail word; a claim that was displaced from it since stands in its header by now */
  atomic { if :: (s[sl].end - s[sl].n == off) -> n = s[sl].n; o = s[sl].by; goto ask :: else fi };
  atomic {
#ifndef SWEEP_NO_HELP
    assert(H(sl, off).st != H_FREE);
#endif
    n = 0; o = 0; st = 0; goto peek
  };
ask: /* repair_claim(): the kernel first, then the header again */
#ifndef BURY_LIVING
  if
  :: IS_DEAD(o)
  :: atomic { !IS_DEAD(o) -> goto alive }
  fi;
#endif
#ifdef READ_ONLY
  /* Who may not write skips it by its length. */
  atomic {
#ifndef NO_READ_AGAIN
    if :: (H(sl, off).st != st) -> n = 0; o = 0; st = 0; goto peek :: else fi;
#endif
    goto pass
  };
#else
  atomic {
#ifdef NO_READ_AGAIN
    SET_HEAD(sl, off, H_PAD, o, n, g, 0);
#else
    if :: (H(sl, off).st == st) -> SET_HEAD(sl, off, H_PAD, o, n, g, 0) :: else fi;
#endif
    n = 0; o = 0; st = 0; goto peek
  };
#endif
alive: /* looks again when there is something else to be seen: what was seen in between would be this again */
  atomic { (IS_DEAD(o) || (H(sl, off).st != H_FREE && H(sl, off).st != H_CLAIM)) -> n = 0; o = 0; st = 0; goto peek };
#endif
finish:
  atomic {
    o = 0;
    do :: (o == PUBS) -> break :: else -> assert(got[o] == sent[o]); o++ od;
    o = 0; drainer_done = true
  }
}

init {
  atomic {
    byte i = 0;
    do :: (i == SLOTS) -> break :: else -> s[i].lock = NONE; s[i].by = NONE; s[i].own = NONE; i++ od;
    i = 0; do :: (i == SLOTS * SEG) -> break :: else -> h[i].st = H_JUNK; h[i].gen = NONE; i++ od;
    s[0].st = S_LIVE; s[0].clean = 1; h[0].st = H_FREE; h[0].gen = 0;
    i = 0; do :: (i == PUBS) -> break :: else -> ann[i] = NONE; run publisher(i); i++ od;
#ifdef SWEEPER
    ann[PUBS] = NONE; run sweeper(PUBS);
#endif
    run drainer(); run killer(); run watchdog()
  }
}
