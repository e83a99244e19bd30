/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group of workers over one log, each message to one of them until it is finished: docs/groups.md, "Any order".
 *   worker     joins, cuts a run of messages off the log's rest, or takes an open one; acks all of it or one message,
 *              gives it back as a whole, or one message of it by moving that to an entry of its own; and begins again
 *   resolver   puts in order what the dead held, entry by entry, then gives out their line in the table again
 *   ender      ends leases: of workers that stand still always, of others so many times (-DLEASES), at any moment,
 *              since a worker may sleep between any two steps (a zombie that wakes up is a worker whose lease was ended)
 *   saver      weird, which writes down what is not finished
 * A worker may die before any step (-DDEATHS), and comes back under another id when its line is free again; or stand
 * still for ever at any step (-DSTOPS), alive by the kernel's word. One step is one access to a shared word; the plain
 * words of an entry are stored together while it is RESV, and may be loaded at any time by who is late.
 *
 * The promises: a message is finished once, by who holds it, and whoever claims it is told how often that was done
 * before. When all is quiet, every message is finished, whoever died or stands still, and no entry is lost but what a
 * worker that stands still had reserved. A line is given out when nothing names who had it. What the saver wrote down,
 * and what lies behind the cursor that it read, holds every message that is not finished. -DNP: nobody goes round in
 * circles; no label marks progress, so that any circle would be found.
 *
 * -DNACKS: so many are given back, of runs of two also one alone; -DREJECT: one alone also of runs of one, which so end
 * in another entry, as a dead letter does. -DSPLIT: who takes a run that came back may move a message out of it that it
 * has not delivered. -DREUSE: who has finished a run keeps its entry for the next one.
 *
 * Not in it: store buffers (docs/groups.md, E10 to E13), an index used again by one who locks late (index.pml), where
 * messages lie (handover.pml), delays, rates and bells, which decide when to look and not what is right, seek; lanes,
 * which are a word each that its owner alone moves on. A run has two messages at most, what is OPEN stands for what is
 * LETTER, too, and weird as a taker for a worker.
 *
 * PAN: -DMSGS=2 -DNACKS=1 -DREJECT -DENTRIES=2 -DDEATHS=0 -DLEASES=1 | -DSAFETY | -E
 * PAN: -DMSGS=2 -DLEASES=1 -DSPLIT -DENTRIES=2 -DDEATHS=0 | -DSAFETY | -E
 * PAN: -DMSGS=2 -DSTOPS=1 -DREUSE -DDEATHS=0 | -DSAFETY | -E
 * PAN: -DMSGS=2 -DSTOPS=1 -DENTRIES=2 | -DSAFETY | -E
 * PAN: -DMSGS=2 -DSTOPS=1 -DNACKS=1 -DREJECT -DDEATHS=0 | -DSAFETY | -E
 * PAN: -DMSGS=1 -DRESOLVERS=2 -DENTRIES=2 | -DSAFETY | -E
 * PAN: -DMSGS=2 -DENTRIES=2 -DNACKS=1 -DLEASES=1 -DDEATHS=0 | -DNP | -E -l
 * PAN-FINDS: -DMSGS=2 -DRESERVE_LATE | -DSAFETY | -E | ((e[f].st==2)&&(e[f].own==(me+1)))
 * PAN-FINDS: -DMSGS=2 -DNO_SETTLE | -DSAFETY | -E | (fin[i]==1)
 * PAN-FINDS: -DMSGS=2 -DMARK_FIRST | -DSAFETY | -E | (fin[i]==1)
 * PAN-FINDS: -DMSGS=2 -DACK_BLIND -DLEASES=1 -DDEATHS=0 | -DSAFETY | -E | (holder[(e[f].start+i)]==(me+1))
 * PAN-FINDS: -DMSGS=2 -DNACKS=1 -DLEASES=1 -DDEATHS=0 -DENTRIES=1 -DNO_SECOND_LOOK | -DSAFETY | -E | (p==t)
 * PAN-FINDS: -DMSGS=2 -DNO_GEN | -DSAFETY | -E | ((e[f].st==2)&&(e[f].own==(me+1)))
 * PAN-FINDS: -DMSGS=2 -DNO_GEN -DNACKS=1 | -DSAFETY | -E | (e[f].att==claims[(e[f].start+i)])
 * PAN-FINDS: -DMSGS=2 -DDECIDE_FIRST | -DSAFETY | -E | (fin[i]==1)
 * PAN-FINDS: -DMSGS=2 -DNO_STILL_THERE -DRESOLVERS=2 | -DSAFETY | -E | ((e[f].st==1)&&(e[f].own==(me+1)))
 * PAN-FINDS: -DMSGS=2 -DFREE_FIRST | -DSAFETY | -E | (e[0].own==(w+1))
 * PAN-FINDS: -DMSGS=2 -DNACKS=1 -DCLEAR_FIRST | -DSAFETY | -E | (fin[i]==1)
 * PAN-FINDS: -DMSGS=2 -DSAVER -DNACKS=1 -DDEATHS=0 -DNO_MOVES | -DSAFETY | -E | (fin[i]||(listed&(1<<i)))
 * PAN-FINDS: -DMSGS=2 -DSAVER -DNACKS=1 -DDEATHS=0 -DBUMP_LATE | -DSAFETY | -E | (fin[i]||(listed&(1<<i)))
 * PAN-FINDS: -DMSGS=2 -DSAVER -DDEATHS=0 -DCURSOR_LAST | -DSAFETY | -E | (fin[i]||(listed&(1<<i)))
 * PAN-FINDS: -DMSGS=2 -DSTOPS=1 -DDEATHS=0 -DNO_ENDER | -DSAFETY | -E | (fin[i]==1)
 * PAN-FINDS: -DMSGS=2 -DSTOPS=1 -DDEATHS=0 -DENTRIES=1 | -DSAFETY | -E | (fin[i]==1)
 * HAND: | -DSAFETY | -E
 * HAND: -DMSGS=2 -DLEASES=1 -DSPLIT | -DSAFETY | -E
 * HAND: -DMSGS=2 -DNACKS=1 -DREJECT -DSPLIT -DLEASES=1 -DDEATHS=0 | -DSAFETY | -E
 * HAND: -DMSGS=2 -DNACKS=1 -DREUSE | -DSAFETY | -E
 * HAND: -DMSGS=2 -DSAVER -DNACKS=1 -DDEATHS=0 | -DSAFETY | -E
 * HAND: -DMSGS=1 -DSAVER -DNACKS=1 -DREJECT -DENTRIES=2 | -DSAFETY | -E
 * HAND: -DMSGS=2 -DNACKS=1 -DREJECT -DENTRIES=2 | -DSAFETY | -E
 * HAND: -DMSGS=2 -DNACKS=1 -DREUSE -DENTRIES=2 | -DSAFETY | -E
 * HAND: -DMSGS=2 -DSAVER | -DSAFETY | -E
 * HAND: -DMSGS=2 -DNACKS=1 -DREJECT | -DSAFETY | -E
 * HAND: -DMSGS=1 -DNACKS=1 -DREJECT -DRESOLVERS=2 -DENTRIES=2 | -DSAFETY | -E
 * HAND: -DMSGS=2 -DNACKS=1 -DREJECT -DLEASES=1 -DSTOPS=1 -DENTRIES=2 -DDEATHS=0 | -DSAFETY | -E
 */
#ifndef MSGS
#define MSGS 3
#endif
#ifndef ENTRIES
#define ENTRIES 3
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef LEASES
#define LEASES 0
#endif
#ifndef NACKS
#define NACKS 0
#endif
#ifndef RESOLVERS
#define RESOLVERS 1
#endif
#define WORKERS 2
#define RUN 2 /* messages of a run, at most */

#define FREE 0
#define RESV 1
#define PLAN 2
#define HELD 3
#define OPEN 4
typedef entry_t {
  byte st; byte mask; byte own; byte last; byte att; byte gen; /* one word; own and last are an index + 1 */
  byte start; byte n; byte src; byte sgen                      /* the plan; src: 0 the cursor, else an entry + 1 */
};
entry_t e[ENTRIES];
byte pos, tip; /* the cursor, one word: where nothing is cut yet, and the entry + 1 of what was cut last */
byte moves;

byte next_id = 1, line[WORKERS]; /* the workers' lines: 0 or an id */
bool dead[WORKERS + DEATHS + 1]; /* by id: what the kernel says */

/* Ghosts. */
byte deaths, stops, nacks, leases;
bool stopped[WORKERS];
byte claims[MSGS], fin[MSGS], holder[MSGS];

#ifdef NO_GEN
#define SAME_GEN(a, b) true
#else
#define SAME_GEN(a, b) ((a) == (b))
#endif
#define IS(x, s, m, o, l, g) (e[x].st == s && e[x].mask == m && e[x].own == o && e[x].last == l && SAME_GEN(e[x].gen, g))
#define SET(x, s, m, o, l, a, g) e[x].st = s; e[x].mask = m; e[x].own = o; e[x].last = l; e[x].att = a; e[x].gen = g

/* What befalls the messages of a mask, by i. */
#define EACH(f0, m0, what) \
  i = 0; do :: (i < RUN) -> if :: ((m0) & (1 << i)) -> what :: else fi; i++ :: else -> i = 0; break od
#define AT(f0) e[f0].start + i
#define CLAIM(f0, m0) EACH(f0, m0, claims[AT(f0)]++; assert(e[f0].att == claims[AT(f0)]); holder[AT(f0)] = me + 1)
#define FINISH(f0, m0) EACH(f0, m0, assert(holder[AT(f0)] == me + 1); fin[AT(f0)]++; assert(fin[AT(f0)] == 1); holder[AT(f0)] = 0)
#define GIVE_BACK(f0, m0) EACH(f0, m0, assert(fin[AT(f0)] == 0); holder[AT(f0)] = 0)

#if MSGS == 1
#define ALL_DONE fin[0]
#elif MSGS == 2
#define ALL_DONE (fin[0] && fin[1])
#else
#define ALL_DONE (fin[0] && fin[1] && fin[2])
#endif
#define IS_FREE(x) (e[x].st == FREE)
#define IS_OPEN(x) (e[x].st == OPEN)

/* Before any step. */
#define DIES atomic { (deaths < DEATHS) -> deaths++; goto died }
#define STEP(x) if :: atomic { x } :: DIES fi

/*
 * Before a word that names entry t - 1 as the last is displaced: if that one's plan is what the word tells (a cut that
 * ends at p, or a move out of entry f), it has come true.
 */
#define SETTLE(t, told, becomes) \
  if \
  :: atomic { (t != 0 && e[t - 1].st == PLAN) -> hm = e[t - 1].mask; ho = e[t - 1].own; hg = e[t - 1].gen }; \
     STEP(hs = (told)); \
     if \
     :: hs -> STEP(if :: IS(t - 1, PLAN, hm, ho, 0, hg) -> becomes :: else fi; hs = false) \
     :: else \
     fi; \
     atomic { hm = 0; ho = 0; hg = 0 } \
  :: else \
  fi
#define SETTLE_CUT(t, p) SETTLE(t, e[t - 1].src == 0 && e[t - 1].start + e[t - 1].n == p, e[t - 1].st = HELD)
#define SETTLE_MOVE(t, f, m, g) \
  SETTLE(t, e[t - 1].src == f + 1 && e[t - 1].sgen == g && (m & hm) == 0, e[t - 1].st = OPEN; e[t - 1].own = 0)

#if ENTRIES == 1
#define ANY(what) what(0)
#elif ENTRIES == 2
#define ANY(what) (what(0) || what(1))
#elif ENTRIES == 3
#define ANY(what) (what(0) || what(1) || what(2))
#else
#define ANY(what) (what(0) || what(1) || what(2) || what(3))
#endif

#define ONE(m) ((m) == 3 -> 1 : (m))
#ifdef REJECT
#define MOVES true
#else
#define MOVES (m == 3)
#endif
#define FIRST_FREE(f, none) \
  f = 0; do :: (f == ENTRIES) -> f = 0; goto none :: (f < ENTRIES && e[f].st == FREE) -> break :: else -> f++ od

#if STOPS > 0
#define RUNS provided (!stopped[_pid - 1])
#else
#define RUNS
#endif
proctype worker(byte me) RUNS {
  byte id, f, h, m, l, g, a, p, t, n, i, kept;
  byte hm, ho, hg; bool hs;

join:
  atomic { (line[me] == 0); id = next_id; next_id++; line[me] = id };
next:
  atomic {
    f = 0; h = 0; m = 0; l = 0; g = 0; a = 0; p = 0; t = 0; n = 0;
    if
    :: IS_OPEN(0) -> goto take
#if ENTRIES > 1
    :: IS_OPEN(1) -> f = 1; goto take
#endif
#if ENTRIES > 2
    :: IS_OPEN(2) -> f = 2; goto take
#endif
#if ENTRIES > 3
    :: IS_OPEN(3) -> f = 3; goto take
#endif
    :: (pos < MSGS && (kept || ANY(IS_FREE))) -> goto cut
    :: ALL_DONE -> goto leave
    :: (deaths < DEATHS) -> deaths++; goto died
    fi
  };

cut:
#ifdef RESERVE_LATE
  STEP(p = pos; t = tip; if :: (p == MSGS) -> goto next :: else fi);
#endif
  /* an entry of its own first: from now on only its own swap can make the cursor name it */
  if
  :: atomic { kept -> f = kept - 1; kept = 0; g = e[f].gen }
  :: atomic { !kept ->
       FIRST_FREE(f, next);
       g = e[f].gen; SET(f, RESV, 0, me + 1, 0, 0, g)
     }
  :: DIES
  fi;
plan:
#ifndef RESERVE_LATE
  STEP(p = pos; t = tip; if :: (p == MSGS) -> goto unreserve :: else fi);
#endif
#ifndef NO_SETTLE
  SETTLE_CUT(t, p);
#endif
  /* looks at the messages there */
  atomic { n = 1; if :: (p + RUN <= MSGS) -> if :: n = RUN :: true fi :: else fi };
#ifndef MARK_FIRST
  STEP(e[f].start = p; e[f].n = n; e[f].src = 0);
  STEP(assert(e[f].st == RESV && e[f].own == me + 1); SET(f, PLAN, (1 << n) - 1, me + 1, 0, 1, g));
#endif
  STEP(
    if
    :: (pos == p && tip == t) ->
       pos = p + n; tip = f + 1;
#ifndef MARK_FIRST
       CLAIM(f, (1 << n) - 1)
#endif
    :: else -> p = 0; t = 0; n = 0; goto again
    fi
  );
#ifdef MARK_FIRST
  STEP(e[f].start = p; e[f].n = n; e[f].src = 0; SET(f, PLAN, (1 << n) - 1, me + 1, 0, 1, g); CLAIM(f, (1 << n) - 1));
#endif
  STEP(
    m = (1 << n) - 1; a = 1; p = 0; t = 0; n = 0;
    if :: IS(f, PLAN, m, me + 1, 0, g) -> e[f].st = HELD :: else fi;
    goto work
  );
again: /* each plan has a generation of its own */
  STEP(
#ifndef MARK_FIRST
    assert(e[f].st == PLAN && e[f].own == me + 1);
#endif
    g++; SET(f, RESV, 0, me + 1, 0, 0, g); goto plan
  );
unreserve:
  STEP(SET(f, FREE, 0, 0, 0, 0, g + 1); goto next);

take: /* an open entry, where it lies */
  STEP(if :: (e[f].st == OPEN) -> m = e[f].mask; l = e[f].last; a = e[f].att; g = e[f].gen :: else -> goto next fi);
#ifndef NO_SETTLE
  SETTLE_MOVE(l, f, m, g);
#endif
  STEP(
    if
    :: (m == 0 && IS(f, OPEN, 0, 0, l, g)) -> SET(f, FREE, 0, 0, 0, 0, g + 1); goto next /* all was moved */
    :: (m != 0 && IS(f, OPEN, m, 0, l, g)) ->
       a++; g++; l = 0; SET(f, HELD, m, me + 1, 0, a, g); CLAIM(f, m); t = e[f].start
    :: else -> goto next
    fi
  );
  /* which messages: of this life of the entry, if its word is the same behind that */
  STEP(p = e[f].start);
#ifndef NO_SECOND_LOOK
  STEP(if :: IS(f, HELD, m, me + 1, l, g) :: else -> goto next fi);
#endif
  atomic { assert(p == t); p = 0; t = 0 };

work: /* as a worker sees it: the word is m, l, a, g, or no longer its own */
  if
  :: STEP( /* all of it */
       if
#ifdef ACK_BLIND
       :: (e[f].st == HELD && e[f].mask == m) ->
#else
       :: IS(f, HELD, m, me + 1, l, g) ->
#endif
          FINISH(f, m);
#ifdef REUSE
          if
          :: (kept == 0) -> kept = f + 1; SET(f, RESV, 0, me + 1, 0, 0, e[f].gen + 1)
          :: else -> SET(f, FREE, 0, 0, 0, 0, e[f].gen + 1)
          fi
#else
          SET(f, FREE, 0, 0, 0, 0, e[f].gen + 1)
#endif
       :: else /* refused */
       fi;
       goto next
     )
  :: (m == 3) -> /* one of two */
     STEP(if :: IS(f, HELD, m, me + 1, l, g) -> FINISH(f, 2); e[f].mask = 1; m = 1 :: else -> goto next fi; goto work)
  :: (nacks < NACKS) -> /* all of it back */
     STEP(nacks++; if :: IS(f, HELD, m, me + 1, l, g) -> GIVE_BACK(f, m); SET(f, OPEN, m, 0, l, a, g) :: else fi; goto next)
  :: atomic { (nacks < NACKS && MOVES && ANY(IS_FREE)) -> nacks++; p = 0 }; goto move /* one of them back */
#ifdef SPLIT
  :: atomic { (m == 3 && a > 1 && ANY(IS_FREE)) -> p = 1 }; goto move /* one of them back, before it was delivered */
#endif
  fi;

move:
  STEP(FIRST_FREE(h, work); n = e[h].gen; SET(h, RESV, 0, me + 1, 0, 0, n));
#ifndef CLEAR_FIRST
  STEP(e[h].start = e[f].start; e[h].n = e[f].n; e[h].src = f + 1; e[h].sgen = g);
  STEP(SET(h, PLAN, ONE(m), me + 1, 0, a - p, n));
#ifndef BUMP_LATE
  STEP(moves++);
#endif
#endif
  STEP(
    if
    :: IS(f, HELD, m, me + 1, l, g) ->
       GIVE_BACK(f, ONE(m));
       if :: p -> EACH(f, ONE(m), claims[AT(f)]--) :: else fi;
       l = h + 1; t = ONE(m); m = m - t; e[f].mask = m; e[f].last = l
    :: else -> goto give_up
    fi
  );
#ifdef CLEAR_FIRST
  STEP(e[h].start = e[f].start; e[h].n = e[f].n; e[h].src = f + 1; e[h].sgen = g; SET(h, PLAN, t, me + 1, 0, a - p, n); moves++);
#endif
#ifdef BUMP_LATE
  STEP(moves++);
#endif
  STEP(if :: IS(h, PLAN, t, me + 1, 0, n) -> e[h].st = OPEN; e[h].own = 0 :: else fi; h = 0; n = 0; p = 0; t = 0; if :: m -> goto work :: else fi);
  STEP(if :: IS(f, HELD, 0, me + 1, l, g) -> SET(f, FREE, 0, 0, 0, 0, g + 1) :: else fi; goto next);
give_up:
  STEP(
#ifndef CLEAR_FIRST
    assert(e[h].st == PLAN && e[h].own == me + 1);
#endif
    SET(h, FREE, 0, 0, 0, 0, n + 1); goto next
  );

leave:
  if
  :: kept -> STEP(f = kept - 1; kept = 0; SET(f, FREE, 0, 0, 0, 0, e[f].gen + 1); f = 0)
  :: else
  fi;
  atomic { line[me] = 0; id = 0; goto ended };
died:
  atomic {
    dead[id] = true; id = 0;
    f = 0; h = 0; m = 0; l = 0; g = 0; a = 0; p = 0; t = 0; n = 0; kept = 0; hm = 0; ho = 0; hg = 0; hs = false
  };
  goto join;
ended: skip
}

#define NAMED(x, w) (e[x].own == w + 1)
#if ENTRIES == 1
#define NAMES(w) NAMED(0, w)
#elif ENTRIES == 2
#define NAMES(w) (NAMED(0, w) || NAMED(1, w))
#elif ENTRIES == 3
#define NAMES(w) (NAMED(0, w) || NAMED(1, w) || NAMED(2, w))
#else
#define NAMES(w) (NAMED(0, w) || NAMED(1, w) || NAMED(2, w) || NAMED(3, w))
#endif
#define DEAD_LINE(w) (line[w] != 0 && dead[line[w]])
#ifdef NO_STILL_THERE
#define STILL_THERE true
#else
#define STILL_THERE (line[w] == id)
#endif

/* Has the plan of entry x (mask m, generation g) come true? The cursor, or the word that it moves out of, tells. */
#define CAME_TRUE(x, m) \
  ((e[x].src == 0 && tip == x + 1 && pos == e[x].start + e[x].n) || \
   (e[x].src != 0 && (e[e[x].src - 1].st == HELD || e[e[x].src - 1].st == OPEN) && e[e[x].src - 1].last == x + 1 && \
    SAME_GEN(e[e[x].src - 1].gen, e[x].sgen) && (e[e[x].src - 1].mask & m) == 0))

proctype resolver() {
  byte w, id, x, s, m, l, g, i; bool yes;

look:
  atomic {
    w = 0; id = 0; x = 0;
    if
    :: DEAD_LINE(0) -> w = 0
    :: DEAD_LINE(1) -> w = 1
#ifdef DECIDE_FIRST
    :: (line[0] != 0 && !stops) -> w = 0
    :: (line[1] != 0 && !stops) -> w = 1
#endif
    fi;
    id = line[w]
  };
#ifdef FREE_FIRST
  atomic { if :: (line[w] == id) -> assert(!NAMES(w)); line[w] = 0 :: else fi };
#endif
entry:
  atomic {
    s = e[x].st; m = e[x].mask; l = e[x].last; g = e[x].gen; yes = false;
    if :: (e[x].own != w + 1) -> goto onward :: else fi
  };
  if
  :: (s == PLAN) -> atomic { yes = CAME_TRUE(x, m) }
  :: else
  fi;
#ifdef DECIDE_FIRST
  atomic { (dead[id] || line[w] != id); if :: (line[w] != id) -> goto done :: else fi };
#endif
  atomic { if :: !STILL_THERE -> goto done :: else fi };
  atomic {
    if
    :: IS(x, s, m, w + 1, l, g) ->
       if
       :: (s == RESV || (s == PLAN && !yes)) -> SET(x, FREE, 0, 0, 0, 0, g + 1)
       :: (s == PLAN && yes && e[x].src == 0) -> e[x].st = HELD; goto entry
       :: (s == PLAN && yes && e[x].src != 0) -> e[x].st = OPEN; e[x].own = 0
       :: (s == HELD) -> GIVE_BACK(x, m); e[x].st = OPEN; e[x].own = 0
       fi
    :: else -> goto entry
    fi
  };
onward:
  atomic { s = 0; m = 0; l = 0; g = 0; yes = false; x++; if :: (x < ENTRIES) -> goto entry :: else fi };
  atomic { if :: (line[w] == id) -> assert(!NAMES(w)); line[w] = 0 :: else fi };
done:
  atomic { s = 0; m = 0; l = 0; g = 0; yes = false; goto look }
}

#define ENDS(x) ((e[x].st == HELD || (e[x].st == PLAN && CAME_TRUE(x, e[x].mask))) && (stopped[e[x].own - 1] || leases < LEASES))
#if (STOPS > 0 || LEASES > 0) && !defined(NO_ENDER)
proctype ender() {
  byte x, s, m, o, l, g, i;

look:
  atomic {
    if
    :: ENDS(0) -> x = 0
#if ENTRIES > 1
    :: ENDS(1) -> x = 1
#endif
#if ENTRIES > 2
    :: ENDS(2) -> x = 2
#endif
#if ENTRIES > 3
    :: ENDS(3) -> x = 3
#endif
    fi;
    s = e[x].st; m = e[x].mask; o = e[x].own; l = e[x].last; g = e[x].gen;
    if :: stopped[o - 1] :: else -> leases++ fi
  };
  atomic {
    if
    :: IS(x, s, m, o, l, g) ->
       if
       :: (s == PLAN && e[x].src == 0) -> e[x].st = HELD
       :: (s == PLAN && e[x].src != 0) -> e[x].st = OPEN; e[x].own = 0
       :: (s == HELD) -> GIVE_BACK(x, m); e[x].st = OPEN; e[x].own = 0
       fi
    :: else
    fi;
    x = 0; s = 0; m = 0; o = 0; l = 0; g = 0; goto look
  }
}
#endif

#ifdef SAVER
proctype saver() {
  byte x, i, m, c, from, last, listed; bool planned;

  atomic { (pos > 0); c = moves };
#ifndef CURSOR_LAST
  atomic { from = pos; last = tip };
#endif
  do
  :: (x < ENTRIES) ->
     atomic { if :: (e[x].st >= PLAN) -> m = e[x].mask :: else -> m = 0 fi; planned = (e[x].st == PLAN) };
#ifndef CURSOR_LAST
     /* a cut that the cursor, as it was read, does not tell of has not come true, or lies behind it */
     atomic { if :: (planned && e[x].src == 0 && (last != x + 1 || e[x].start + e[x].n != from)) -> m = 0 :: else fi; planned = false };
#endif
     atomic { EACH(x, m, listed = listed | (1 << (AT(x)))); m = 0; x++ }
  :: else -> x = 0; break
  od;
#ifdef CURSOR_LAST
  from = pos;
#endif
  atomic {
    if
#ifdef NO_MOVES
    :: true ->
#else
    :: (moves == c) ->
#endif
       do
       :: (i < from) -> assert(fin[i] || (listed & (1 << i))); i++
       :: else -> break
       od
    :: else
    fi;
    i = 0; c = 0; from = 0; last = 0; listed = 0
  }
}
#endif

#if STOPS > 0
proctype stopper() { if :: stopped[0] = true; stops++ :: skip fi }
#endif

/* An open entry without a message is freed by the next who comes by. */
#define LOST(x) (e[x].st != FREE && !(e[x].st == OPEN && e[x].mask == 0) && !((e[x].st == RESV || e[x].st == PLAN) && stopped[e[x].own - 1]))
proctype watchdog() {
  byte i;
  atomic {
    timeout;
    do :: (i < MSGS) -> assert(fin[i] == 1); i++ :: else -> break od;
    i = 0;
    do :: (i < ENTRIES) -> assert(!LOST(i)); i++ :: else -> i = 0; break od
  }
}

init {
  atomic {
    byte i;
    do :: (i < WORKERS) -> run worker(i); i++ :: else -> i = 0; break od;
    do :: (i < RESOLVERS) -> run resolver(); i++ :: else -> i = 0; break od;
#if (STOPS > 0 || LEASES > 0) && !defined(NO_ENDER)
    run ender();
#endif
#ifdef SAVER
    run saver();
#endif
#if STOPS > 0
    run stopper();
#endif
    run watchdog()
  }
}
