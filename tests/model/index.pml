/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table index that is used again, and repair by the kernel's answer: ringbuf/members.c, ringbuf/repair.c,
 * ringbuf/roll.c.
 *   owner      weir_pub_open(): ring_publisher_id(), shm_lock(), take_free_entry(); then what a publisher may hold: a
 *              claim, the right to clean, a slot in RESERVED and RECLAIMING; ring_publisher_leave(), and the lock goes
 *   resolver   ring_sweep(), ring_publisher_resolve(): resolve_claims(), the right to clean, resolve_slots(),
 *              slot_settle()
 *   reader     repair_claim(), publisher_is_dead()
 *   taker      another publisher: slot_take() with slot_settle(), clean_settle()
 * The owners have the same entry of the table one after the other. Each may die before any step; its lock goes with it.
 * The kernel's answer, the load of a word, the load of the entry behind it, and the swap are steps of their own, and
 * any time may pass between them, a repairer that is stopped and wakes late too. -DHALTS: the first of them stands
 * still for ever, or is dead. The entry and the right to clean carry the whole id (64 and 33 bits in C), claims and
 * slots low bits of it: one bit here (12 and 20 in C), so the third owner looks like the first. who and dead are
 * ghosts.
 *
 * The promises: nothing is taken from the living. An entry is given out only when nothing names who had it before. When
 * all is quiet, nothing is left behind, nor is the entry, also while a repairer stands still. -DNP: nobody goes round
 * in circles; no label marks progress, so that any circle would be found.
 *
 * Not in it: several entries (each stands for itself), the announcement (it carries no owner), the exclusive right and
 * a producer's name (whole ids, swapped as the entry is), subscribers (the same with fewer words). Segments move on
 * between two owners' roll-overs. On a ring that stands still they may not; then a repairer that sleeps between its
 * last load and its swap, while 2^20 others come and go, takes the slot from that one of them that has it RESERVED for
 * the very same segment at that moment: -DSAME_SEGMENT shows it with one bit.
 *
 * PAN: -DCLAIM -DRESOLVERS=2 | -DSAFETY | -E
 * PAN: -DCLAIM -DREADER | -DSAFETY | -E
 * PAN: -DSLOT -DRESOLVERS=2 | -DSAFETY | -E
 * PAN: -DSLOT -DTAKER | -DSAFETY | -E
 * PAN: -DCLAIM -DTAKER | -DSAFETY | -E
 * PAN: -DCLAIM -DSLOT | -DSAFETY | -E
 * PAN: -DCLAIM -DRESOLVERS=2 -DHALTS | -DSAFETY | -E
 * PAN: -DSLOT -DRESOLVERS=2 -DHALTS | -DSAFETY | -E
 * PAN: -DSLOT -DRESOLVERS=2 | -DNP | -E -l
 * PAN-FINDS: -DCLAIM -DNO_ID -DRESOLVERS=2 | -DSAFETY | -E | violated dead[cell[k].who]
 * PAN-FINDS: -DSLOT -DNO_ID -DRESOLVERS=2 | -DSAFETY | -E | violated dead[slot.who]
 * PAN-FINDS: -DCLAIM -DNO_STILL_THERE -DRESOLVERS=2 | -DSAFETY | -E | violated dead[cell[k].who]
 * PAN-FINDS: -DSLOT -DNO_STILL_THERE -DRESOLVERS=2 | -DSAFETY | -E | violated dead[slot.who]
 * PAN-FINDS: -DCLAIM -DTAKER -DNO_ASK | -DSAFETY | -E | violated dead[clean]
 * PAN-FINDS: -DCLAIM -DLOCK_LATE | -DSAFETY | -E | (entry==me)
 * PAN-FINDS: -DCLAIM -DFREE_FIRST | -DSAFETY | -E | ||(clean==id))||
 * PAN-FINDS: -DSLOT -DREAD_FIRST | -DSAFETY | -E | ((won|| !(here))||(aseg!=slot.seg))
 * PAN-FINDS: -DSLOT -DNO_SLOTS | -DSAFETY | -E | !(left_behind)
 * PAN-FINDS: -DSLOT -DSAME_SEGMENT -DRESOLVERS=2 | -DSAFETY | -E | violated dead[slot.who]
 * HAND: -DCLAIM -DRESOLVERS=2 -DHALTS | -DNP | -E -l
 * HAND: -DCLAIM -DSLOT -DRESOLVERS=2 | -DSAFETY | -E
 * HAND: -DCLAIM -DSLOT -DREADER | -DSAFETY | -E
 * HAND: -DCLAIM -DSLOT -DTAKER | -DSAFETY | -E
 */
#ifndef OWNERS
#define OWNERS 3
#endif
#ifndef RESOLVERS
#define RESOLVERS 1
#endif
#define LOW(id) (id & 1)

byte next_id = 1, entry; /* 0: free */
bool locked[OWNERS + 1]; /* what the kernel knows, by id */
bool dead[OWNERS + 1], left_behind, quiet;
bool halted; /* -DHALTS: the first resolver is stopped for ever, or dead, at any step */
byte first;

/* One record each: a claim's position is never claimed again while anybody looks at it. */
#define C_FREE 0
#define C_CLAIMED 1
#define C_READY 2
#define C_PADDING 3
typedef cell_t { byte st; byte low; byte who };
cell_t cell[OWNERS];
byte tail;

byte clean; /* who cleans; 0: nobody */

#define S_FREE 0
#define S_RESV 1
#define S_LIVE 2
#define S_RECL 3
typedef slot_t { byte st; byte seg; byte low; byte who };
slot_t slot;
byte aseg; bool here; /* active word: the segment, and whether it is in this slot */
#define SLOT_IS(a, b, c) (slot.st == a && slot.seg == b && slot.low == c)
#define SET_SLOT(a, b, c, d) slot.st = a; slot.seg = b; slot.low = c; slot.who = d

#define NAMES(id) ((tail > 0 && cell[0].st == C_CLAIMED && cell[0].who == id) || \
  (tail > 1 && cell[1].st == C_CLAIMED && cell[1].who == id) || (tail > 2 && cell[2].st == C_CLAIMED && cell[2].who == id) || \
  clean == id || ((slot.st == S_RESV || slot.st == S_RECL) && slot.who == id))

/* Before any step. */
#define STEP(x) if :: atomic { x } :: goto died fi

proctype owner(byte me) {
  byte at, g; bool ok;

  (next_id == me); /* whoever comes first has the first id */
  next_id++;
#ifndef LOCK_LATE
  locked[me] = true;
#endif
  STEP((entry == 0) -> entry = me);
#ifdef LOCK_LATE
  locked[me] = true;
#endif
#ifdef CLAIM
  if
  :: STEP(at = tail; tail++; cell[at].low = LOW(me); cell[at].who = me; cell[at].st = C_CLAIMED);
     if
     :: atomic { (clean == 0) -> clean = me };
        STEP(clean = 0)
     :: skip
     fi;
     STEP(cell[at].st = C_READY; at = 0)
  :: skip
  fi;
#endif
#ifdef SLOT
  STEP(
#ifndef SAME_SEGMENT
    aseg++; here = false; /* the log has moved on, in other slots */
#endif
    g = aseg
  );
  if
  :: STEP((slot.st == S_FREE) -> SET_SLOT(S_RESV, g + 1, LOW(me), me))
  :: atomic { (slot.st == S_LIVE && slot.seg < g) -> at = slot.seg; SET_SLOT(S_RECL, at, LOW(me), me) };
     STEP(if :: SLOT_IS(S_RECL, at, LOW(me)) -> SET_SLOT(S_RESV, g + 1, LOW(me), me) :: else -> goto leave fi)
  :: atomic { (slot.st != S_FREE && !(slot.st == S_LIVE && slot.seg < g)) -> goto leave }
  fi;
  STEP(ok = (aseg == g); if :: ok -> aseg = g + 1; here = true :: else fi);
  STEP(
    if :: ok -> SET_SLOT(S_LIVE, g + 1, 0, 0) :: else -> SET_SLOT(S_FREE, 0, 0, 0) fi
  );
leave:
#endif
  STEP(assert(entry == me); entry = 0);
  atomic { locked[me] = false; goto ended };
died: /* the kernel gives its lock back */
  atomic { locked[me] = false; dead[me] = true };
ended:
  atomic { at = 0; g = 0; ok = false }
}

/* May the word with these low bits be this one's? And is the entry still its? */
#ifdef NO_ID
#define MAY_BE(low, id) true
#define STILL_THERE(id) true
#else
#define MAY_BE(a, id) (a == LOW(id))
#ifdef NO_STILL_THERE
#define STILL_THERE(id) true
#else
#define STILL_THERE(id) (entry == id)
#endif
#endif
#define PAD(k, l) if :: (cell[k].st == C_CLAIMED && cell[k].low == l) -> assert(dead[cell[k].who]); cell[k].st = C_PADDING :: else fi
#define UNCLEAN(id) if :: (clean == id) -> assert(dead[clean]); clean = 0 :: else fi

/* slot_settle() */
#define SETTLE(next) \
  atomic { a = slot.seg; l = slot.low; if :: (slot.st != S_RESV || !MAY_BE(l, id)) -> goto next :: else fi }; \
  LOAD_AFTER \
  atomic { if :: !STILL_THERE(id) -> goto next :: else fi }; \
  atomic { \
    if \
    :: SLOT_IS(S_RESV, a, l) -> \
       assert(dead[slot.who]); \
       assert(won || !here || aseg != slot.seg); \
       if :: won -> SET_SLOT(S_LIVE, a, 0, 0) :: else -> SET_SLOT(S_FREE, 0, 0, 0) fi \
    :: else \
    fi; \
    goto next \
  }
#ifdef READ_FIRST
#define LOAD_BEFORE atomic { won = (here && slot.st == S_RESV && aseg == slot.seg) };
#define LOAD_AFTER
#else
#define LOAD_BEFORE
#define LOAD_AFTER atomic { won = (here && aseg == a) };
#endif

#ifdef HALTS
#define RUNS provided (_pid != first || !halted)
#else
#define RUNS
#endif
proctype resolver() RUNS {
  byte id, k, l, a; bool won;

look:
  atomic { k = 0; l = 0; a = 0; won = false; (entry != 0); id = entry };
  LOAD_BEFORE
  atomic { (!locked[id] || entry != id); if :: locked[id] -> goto look :: else fi };
#ifdef FREE_FIRST
  atomic { if :: (entry == id) -> assert(!NAMES(id)); entry = 0 :: else fi };
#endif
claims: /* resolve_claims(): claims stand in their headers, or the last one in the tail word: up to the tail all are found */
  atomic {
    if :: (k == tail) -> k = 0; goto right :: else fi;
    l = cell[k].low;
    if :: (cell[k].st != C_CLAIMED || !MAY_BE(l, id)) -> k++; goto claims :: else fi
  };
  atomic { if :: !STILL_THERE(id) -> k++; goto claims :: else fi };
  atomic { PAD(k, l); k++; goto claims };
right: /* to clean */
  atomic { l = 0; if :: (clean != id) -> goto slots :: else fi };
  atomic { if :: !STILL_THERE(id) -> goto slots :: else fi };
  atomic { UNCLEAN(id) };
slots: /* resolve_slots() */
#ifndef NO_SLOTS
  atomic {
    a = slot.seg; l = slot.low;
    if
    :: (slot.st == S_RESV && MAY_BE(l, id)) -> goto settle
    :: (slot.st == S_RECL && MAY_BE(l, id))
    :: else -> goto free
    fi
  };
  atomic { if :: !STILL_THERE(id) -> goto free :: else fi };
  atomic { if :: SLOT_IS(S_RECL, a, l) -> SET_SLOT(S_LIVE, a, 0, 0) :: else fi; goto free };
settle:
  SETTLE(free);
#endif
free:
#ifndef FREE_FIRST
#ifdef NO_SLOTS
  atomic { if :: (entry == id) -> entry = 0 :: else fi };
#else
  atomic { if :: (entry == id) -> assert(!NAMES(id)); entry = 0 :: else fi };
#endif
#endif
  goto look
}

#ifdef READER
proctype reader() {
  byte id, k, l;

look:
  atomic {
    id = 0; l = 0;
    if
    :: (k == OWNERS) -> goto done
    :: (k < OWNERS && cell[k].st >= C_READY) -> k++; goto look
    :: (k < OWNERS && cell[k].st == C_CLAIMED) -> l = cell[k].low
    fi
  };
  atomic { id = entry; if :: (id == 0 || !MAY_BE(l, id)) -> goto wait :: else fi };
  atomic { if :: locked[id] -> goto wait :: else fi };
  atomic { if :: (cell[k].st != C_CLAIMED) -> goto look :: else fi };
  atomic { PAD(k, l); goto look };
wait:
  atomic { (cell[k].st != C_CLAIMED || (entry != 0 && MAY_BE(l, entry) && !locked[entry])) -> goto look };
done: skip
}
#endif

#ifdef TAKER
proctype taker() {
  byte id, l, a; bool won;

look:
  atomic {
    id = 0; l = 0; a = 0; won = false;
    if
    :: (slot.st == S_RESV) -> l = slot.low
    :: (clean != 0) -> a = clean; goto right
    :: quiet -> goto done
    fi
  };
  LOAD_BEFORE
  atomic { id = entry; if :: (id == 0 || !MAY_BE(l, id)) -> goto look :: else fi };
  atomic { if :: locked[id] -> goto look :: else fi };
  SETTLE(look);
right:
  atomic { id = entry; if :: (id != a) -> goto look :: else fi };
#ifndef NO_ASK
  atomic { if :: locked[id] -> goto look :: else fi };
#endif
  atomic { UNCLEAN(id); goto look };
done: skip
}
#endif

#ifdef HALTS
proctype halt() { if :: halted = true :: true fi }
#endif

/* All that came has gone, and who looks for the dead has nothing to do. */
proctype watchdog() {
  atomic {
    timeout;
    left_behind = entry != 0 || NAMES(1) || NAMES(2) || NAMES(3);
    assert(!left_behind);
    quiet = true
  }
}

init {
  atomic {
    byte i = 1;
    do :: (i > OWNERS) -> break :: else -> run owner(i); i++ od;
    i = 0; do :: (i == RESOLVERS) -> break :: else -> if :: (i == 0) -> first = run resolver() :: else -> run resolver() fi; i++ od;
#ifdef HALTS
    run halt();
#endif
#ifdef READER
    run reader();
#endif
#ifdef TAKER
    run taker();
#endif
    run watchdog()
  }
}
