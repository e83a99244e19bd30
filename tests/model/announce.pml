/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Announce before you touch (E2): who goes into a segment against who takes its slot for another.
 *   roller     slot_take(), slot_reclaim() and the end of publisher_roll() in ringbuf/roll.c
 *   reader     reader_announce(), enter_segment(), slot_find(), ring_reader_outside(); enter_segment_of() of
 *              ringbuf/repair.c is the same
 *   writer     publisher_enter(), one record, the first store of publisher_roll()
 * What readers and writers store stays in their store buffers, for as long as it likes, up to their next locked
 * instruction or full fence (x86: loads go ahead of earlier stores, and nothing else; what ARM needs:
 * docs/memory-ordering.md, E2). Who announces fences, once a segment: announce() in ringbuf/internal.h. -DMEMBARRIER:
 * it does not, and a roller has everybody fenced between mark and look, which empties the buffers of one processor
 * after the other. One step is one access to a shared word, or the landing of a store.
 *
 * The promise: what a reader reads and what a writer writes is of the segment that it announced, however long it slept
 * between two steps. -DGATE: a reader of a memory-only ring that gates, and so loses nothing that was in memory when it
 * got in. -DREAD_ONLY: a reader that may not undo a mark waits, or gives up and reads the journal.
 *
 * Not in it: what lies in a segment (ring.pml), the journal (handover.pml: here all segments below the last are
 * drained), deaths (ring.pml), the low half of a segment's number in the state word, the look at announcements before
 * the mark (it spares a swap where the answer is known). The choice of the oldest slot is one step: the swap behind it
 * tells when it is wrong. What a roller stores is seen at once, which is the worst for who looks too early.
 *
 * PAN: -DREADERS=1 | -DSAFETY | -E
 * PAN: -DREADERS=1 -DREAD_ONLY | -DSAFETY | -E
 * PAN: -DREADERS=1 -DGATE | -DSAFETY | -E
 * PAN: -DREADERS=1 -DGATE -DROLLERS=1 -DSLOTS=3 -DLAST=4 | -DSAFETY | -E
 * PAN: -DREADERS=1 -DMEMBARRIER | -DSAFETY | -E
 * PAN: -DREADERS=1 -DREAD_ONLY -DMEMBARRIER | -DSAFETY | -E
 * PAN: -DWRITERS=1 | -DSAFETY | -E
 * PAN: -DWRITERS=1 -DMEMBARRIER | -DSAFETY | -E
 * PAN: -DREADERS=1 -DWRITERS=1 -DROLLERS=1 | -DSAFETY | -E
 * PAN: -DREADERS=1 -DWRITERS=1 -DROLLERS=1 -DMEMBARRIER | -DSAFETY | -E
 * PAN-FINDS: -DREADERS=1 -DNO_FENCE | -DSAFETY | -E | (s[i].content==seg)
 * PAN-FINDS: -DREADERS=1 -DREAD_ONLY -DNO_FENCE | -DSAFETY | -E | (s[i].content==seg)
 * PAN-FINDS: -DREADERS=1 -DANNOUNCE_LATE | -DSAFETY | -E | (s[i].content==seg)
 * PAN-FINDS: -DREADERS=1 -DMEMBARRIER -DANNOUNCE_LATE | -DSAFETY | -E | (s[i].content==seg)
 * PAN-FINDS: -DREADERS=1 -DNO_UNDO | -DSAFETY | -E | (s[i].content==seg)
 * PAN-FINDS: -DREADERS=1 -DLOOK_FIRST | -DSAFETY | -E | (s[i].content==seg)
 * PAN-FINDS: -DREADERS=1 -DPLAIN_STORE | -DSAFETY | -E | (s[i].content==seg)
 * PAN-FINDS: -DREADERS=1 -DGATE -DROLLERS=1 -DSLOTS=3 -DNO_SECOND_GATE | -DSAFETY | -E | !(in_order)||
 * PAN-FINDS: -DWRITERS=1 -DNO_FENCE | -DSAFETY | -E | .content==b[0].value[0])
 * PAN-FINDS: -DWRITERS=1 -DANNOUNCE_LATE | -DSAFETY | -E | .content==b[0].value[0])
 * PAN-FINDS: -DWRITERS=1 -DMEMBARRIER -DLOOK_FIRST | -DSAFETY | -E | .content==b[0].value[0])
 * PAN-FINDS: -DWRITERS=1 -DPLAIN_STORE | -DSAFETY | -E | .content==b[0].value[0])
 * PAN-FINDS: -DWRITERS=1 -DNO_RELEASE | -DSAFETY | -E | .content==b[0].value[0])
 * HAND: -DREADERS=1 -DWRITERS=1 | -DSAFETY | -E
 * HAND: -DREADERS=1 -DWRITERS=1 -DMEMBARRIER | -DSAFETY | -E
 * HAND: -DREADERS=1 -DGATE -DSLOTS=3 | -DSAFETY | -E
 * HAND: -DREADERS=1 -DWRITERS=1 -DROLLERS=1 -DSLOTS=3 -DLAST=5 | -DSAFETY | -E
 */
#ifndef READERS
#define READERS 0
#endif
#ifndef WRITERS
#define WRITERS 0
#endif
#ifndef ROLLERS
#define ROLLERS 2
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef LAST
#define LAST 3 /* the last segment, counted from 0 */
#endif
#define MEMBERS (READERS + WRITERS) /* who announces: readers first */
#define NONE 15

#define S_FREE 0
#define S_RESV 1
#define S_LIVE 2
#define S_RECL 3
typedef slot_t { byte st; byte gen; byte own; byte content };
slot_t s[SLOTS];
#define LOAD_STATE(x) vst = s[x].st; vgen = s[x].gen; o = s[x].own
#define STATE_IS(x, a, b, c) (s[x].st == a && s[x].gen == b && s[x].own == c)
#define SET_STATE(x, a, b, c) s[x].st = a; s[x].gen = b; s[x].own = c

byte agen, aslot; /* active word */
byte ann[MEMBERS];
byte gate = NONE; /* of the gating reader: neither this segment nor one behind it may go */

/* Store buffers, the oldest store first. */
#define BUFFER 2
#define TO_ANN 0
#define TO_GATE 1
#define TO_SLOT 2 /* TO_SLOT + slot: a record */
typedef buffer_t { byte n; byte to[BUFFER]; byte value[BUFFER] };
buffer_t b[MEMBERS];
#define STORE(t, v) (b[me].n < BUFFER) -> b[me].to[b[me].n] = t; b[me].value[b[me].n] = v; b[me].n++
#define EMPTY(p) (b[p].n == 0) /* a locked instruction or a full fence waits for it */
#define LAND(p, t, v) \
  if \
  :: (t == TO_ANN) -> ann[p] = v \
  :: (t == TO_GATE) -> gate = v \
  :: else -> assert(s[t - TO_SLOT].content == v) \
  fi
#define DRIP(p) \
  LAND(p, b[p].to[0], b[p].value[0]); \
  b[p].to[0] = b[p].to[1]; b[p].value[0] = b[p].value[1]; b[p].n--; b[p].to[b[p].n] = 0; b[p].value[b[p].n] = 0

active proctype memory() {
  do
  :: atomic { !EMPTY(0) -> DRIP(0) }
#if MEMBERS > 1
  :: atomic { !EMPTY(1) -> DRIP(1) }
#endif
#ifdef NO_RELEASE /* the announcement is taken back before the last write lands */
  :: atomic { (b[0].n == 2) -> LAND(0, b[0].to[1], b[0].value[1]); b[0].n = 1; b[0].to[1] = 0; b[0].value[1] = 0 }
#endif
  od
}

#define LOOK_AT_EVERYONE \
  do \
  :: atomic { (k < MEMBERS && ann[k] != vgen) -> k++ } \
  :: atomic { (k < MEMBERS && ann[k] == vgen) -> ok = false; k = MEMBERS } \
  :: atomic { (k == MEMBERS) -> k = 0; break } \
  od

proctype roller(byte me) {
  byte g, sl, i, k, vst, vgen, o, low, gates; bool ok;

again:
  atomic { g = agen; sl = aslot; i = 0; k = 0; vst = 0; vgen = 0; o = 0; low = 0; ok = false; if :: (g == LAST) -> goto done :: else fi };
  /* It entered the segment before: found its slot LIVE, or made it so. */
  atomic {
    if
    :: STATE_IS(sl, S_RESV, g, s[sl].own) -> SET_STATE(sl, S_LIVE, g, NONE)
    :: (s[sl].st >= S_LIVE && s[sl].gen == g)
    :: else -> goto again
    fi
  };
#ifdef GATE
  gates = gate; /* readers_copy() */
#endif
free:
  atomic {
    if :: (i == SLOTS) -> goto oldest :: (i < SLOTS && s[i].st != S_FREE) -> i++; goto free :: else fi
  };
  atomic { if :: (s[i].st == S_FREE) -> SET_STATE(i, S_RESV, g + 1, me); goto prepare :: else -> goto free fi };
oldest:
  atomic {
    vst = 0; vgen = 0; o = 0; ok = false; i = 0; k = NONE;
    do
    :: (i == SLOTS) -> break
    :: else ->
       if
       :: (s[i].st >= S_LIVE && s[i].gen >= low && (k == NONE || s[i].gen < s[k].gen)) -> k = i
       :: else
       fi;
       i++
    od;
    i = 0;
    if :: (k == NONE) -> k = 0; goto again :: else -> i = k; k = 0; LOAD_STATE(i); low = vgen + 1 fi;
    if
    :: (vgen >= g) -> goto again
#ifdef GATE
    :: (vgen < g && gates <= vgen) -> goto oldest
#endif
    :: else
    fi
  };
#ifdef LOOK_FIRST
  ok = true;
  LOOK_AT_EVERYONE;
  if :: !ok -> goto oldest :: else fi;
#endif
  atomic { if :: STATE_IS(i, vst, vgen, o) -> SET_STATE(i, S_RECL, vgen, me); ok = true; o = 0; vst = 0 :: else -> goto oldest fi };
#ifdef MEMBARRIER
  do
  :: atomic { (k < MEMBERS) -> do :: EMPTY(k) -> break :: else -> DRIP(k) od; k++ }
  :: atomic { (k == MEMBERS) -> k = 0; break }
  od;
#endif
#ifndef LOOK_FIRST
  LOOK_AT_EVERYONE;
#endif
#if defined(GATE) && !defined(NO_SECOND_GATE)
  atomic { if :: (gate <= vgen) -> ok = false :: else fi };
#endif
  atomic { if :: (agen != g) -> ok = false :: else fi };
  atomic {
    if
#ifdef PLAIN_STORE
    :: ok -> SET_STATE(i, S_RESV, g + 1, me); goto prepare
#else
    :: (ok && STATE_IS(i, S_RECL, vgen, me)) -> SET_STATE(i, S_RESV, g + 1, me); goto prepare
#endif
    :: (!ok && STATE_IS(i, S_RECL, vgen, me)) -> SET_STATE(i, S_LIVE, vgen, NONE)
    :: else
    fi;
    goto oldest
  };
prepare:
  atomic { vst = 0; vgen = 0; o = 0; k = 0; low = 0; ok = false; s[i].content = g + 1 };
  atomic { ok = (agen == g && aslot == sl); if :: ok -> agen = g + 1; aslot = i :: else fi };
  atomic {
    if
    :: (STATE_IS(i, S_RESV, g + 1, me) && ok) -> SET_STATE(i, S_LIVE, g + 1, NONE)
    :: (STATE_IS(i, S_RESV, g + 1, me) && !ok) -> SET_STATE(i, S_FREE, 0, NONE)
    :: else
    fi;
    goto again
  };
done: skip
}

proctype reader(byte me) {
  byte seg, i, vst, vgen, o, reads;
#ifdef GATE
  bool in_order; byte kept; /* ghosts: it has got in; bits of the segments that were in memory then */
#endif

announce:
  atomic { i = 0; vst = 0; vgen = 0; o = 0; reads = 0 };
#ifdef GATE
  atomic { STORE(TO_GATE, seg) };
#endif
#ifndef ANNOUNCE_LATE
  atomic { STORE(TO_ANN, seg) };
#endif
#if !defined(MEMBARRIER) && !defined(NO_FENCE)
  EMPTY(me);
#endif
look:
  (agen >= seg); /* -EAGAIN: it does not exist yet */
  /* slot_find() */
  atomic { vst = 0; vgen = 0; o = 0; if :: (agen == seg) -> i = aslot :: else -> i = 0; goto scan fi };
  atomic { LOAD_STATE(i); if :: (vst != S_FREE && vgen == seg) -> goto found :: else -> i = 0 fi };
scan:
  atomic {
    if :: (i == SLOTS) -> goto gone :: else fi;
    LOAD_STATE(i);
    if
    :: (vst >= S_LIVE && vgen == seg) -> goto found
    :: (vst == S_RESV && vgen == seg)
    :: else -> i++; goto scan
    fi
  };
  atomic { if :: (agen != seg || aslot != i) -> i++; goto scan :: else fi };
found:
#ifndef NO_UNDO
  if
#ifdef READ_ONLY
  :: (vst == S_RECL) -> if :: goto look :: goto gone fi
#else
  :: (vst == S_RECL) -> /* its owner may have looked before I announced; undone, it cannot go on */
     atomic { EMPTY(me) -> if :: STATE_IS(i, vst, vgen, o) -> SET_STATE(i, S_LIVE, seg, NONE) :: else fi; goto look }
#endif
  :: else
  fi;
#endif
  atomic {
    vst = 0; vgen = 0; o = 0;
#ifdef GATE
    if
    :: !in_order ->
       in_order = true; vst = 0;
       do
       :: (vst == SLOTS) -> vst = 0; break
       :: else -> if :: (s[vst].st == S_LIVE) -> kept = kept | (1 << s[vst].gen) :: else fi; vst++
       od;
       vst = agen; do :: (vst == LAST) -> vst = 0; break :: else -> vst++; kept = kept | (1 << vst) od
    :: else
    fi
#endif
  };
#ifdef ANNOUNCE_LATE
  atomic { STORE(TO_ANN, seg) };
#endif
  do
  :: atomic { (reads < 2) -> assert(s[i].content == seg); reads++ }
  :: atomic { (reads == 2) -> reads = 0; break }
  od;
  atomic { if :: (seg == LAST) -> goto done :: else -> seg++; goto announce fi };
gone: /* read from the journal, or told as a gap */
#ifdef GATE
  assert(!in_order || !(kept & (1 << seg)));
#endif
  atomic { STORE(TO_ANN, NONE) };
  atomic { if :: (seg == LAST) -> goto done :: else -> seg++; goto announce fi };
done: skip
}

proctype writer(byte me) {
  byte g, sl, vst, vgen, o;

enter:
  atomic { g = agen; sl = aslot; vst = 0; vgen = 0; o = 0; if :: (g == LAST) -> goto done :: else fi };
#ifndef ANNOUNCE_LATE
  atomic { STORE(TO_ANN, g) };
#endif
#if !defined(MEMBARRIER) && !defined(NO_FENCE)
  EMPTY(me);
#endif
  atomic { LOAD_STATE(sl); if :: (vst == S_FREE || vgen != g) -> goto enter :: else fi };
  atomic {
    if
    :: (agen != g || aslot != sl) -> goto enter
    :: (agen == g && aslot == sl && vst == S_LIVE) -> goto inside
    :: else
    fi
  };
  atomic { EMPTY(me) -> if :: STATE_IS(sl, vst, vgen, o) -> SET_STATE(sl, S_LIVE, g, NONE) :: else fi; goto enter };
inside:
#ifdef ANNOUNCE_LATE
  atomic { STORE(TO_ANN, g) };
#endif
  atomic { STORE(TO_SLOT + sl, g) };
  atomic { STORE(TO_ANN, NONE); goto enter };
done: skip
}

init {
  atomic {
    byte i = 0;
    do :: (i == SLOTS) -> break :: else -> s[i].own = NONE; i++ od;
    s[0].st = S_LIVE;
    i = 0;
    do
    :: (i == MEMBERS) -> break
    :: else -> ann[i] = NONE; if :: (i < READERS) -> run reader(i) :: else -> run writer(i) fi; i++
    od;
    i = 0; do :: (i == ROLLERS) -> break :: else -> run roller(i); i++ od
  }
}
