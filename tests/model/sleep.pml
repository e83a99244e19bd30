/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleep and wake (E6): ringbuf/bell.c, and who uses it:
 *   publisher  commit_head(), ring_bell_news(), shm_wake_all()
 *   sleeper    ring_bell_ask(), the heavy fence, a look, shm_sleep(): wait_next() of client/subscriber.c,
 *              wait_for_room() and weir_pub_wait() of client/
 *   -DDRAIN    drain_rest() of daemon/drain.c: asks, fences and looks once more from the top; sleeps when it asks again
 *              and finds that it need not
 *   -DWISH     weir_pub_wait() asks for a position to be written (written_want) before it asks to be woken, and
 *              drain_written_step() of daemon/drain_ring.c rings for nobody who waits for more
 *   -DTIMEOUTS a sleep runs out, so many times: wait_next() then neither asks nor fences again while nobody has rung
 *   ringer     attachment_ring(), bell_ring(): rings whatever is wanted
 *   weird      watch_sweep_step() of daemon/supervise.c: after a death (-DDEATHS) it puts in order and rings
 * What a publisher stores stays in its store buffer, for as long as it likes, up to its next locked instruction or
 * system call (x86: loads go ahead of earlier stores, and nothing else; what ARM needs: docs/memory-ordering.md, E6).
 * One step is one access to a shared word; the kernel compares and queues in one. Sleeps have no bound here otherwise,
 * so that a lost wake-up is a deadlock: in weir it is a sleep of 50 ms.
 *
 * -DOTHERS_REPAIR shows what is left to that bound also while weird runs: it rings for whom it put in order itself;
 * where another publisher was faster with the dead one, nobody makes up for the wake that this one still owed.
 *
 * Not in it: where the fence is refused the sleep is bounded to 5 ms, and that is all; garbage in `want`; wrap of
 * `seq`.
 *
 * PAN: | -DSAFETY | -E
 * PAN: -DSLEEPERS=1 -DRINGS=2 -DNEWS=2 | -DSAFETY | -E
 * PAN: -DFENCED | -DSAFETY | -E
 * PAN: -DDRAIN -DSLEEPERS=1 -DRINGS=2 | -DSAFETY | -E
 * PAN: -DWISH | -DSAFETY | -E
 * PAN: -DWISH -DFENCED | -DSAFETY | -E
 * PAN: -DTIMEOUTS=1 | -DSAFETY | -E
 * PAN: -DTIMEOUTS=2 -DSLEEPERS=1 -DRINGS=1 | -DSAFETY | -E
 * PAN: -DDEATHS=1 -DSLEEPERS=1 | -DSAFETY -DNOREDUCE | -E
 * PAN: -DDEATHS=2 -DSLEEPERS=1 -DNEWS=2 | -DSAFETY -DNOREDUCE | -E
 * PAN-FINDS: -DNO_MEMBARRIER | -DSAFETY | -E | (awake==2)
 * PAN-FINDS: -DNO_MEMBARRIER -DDRAIN -DSLEEPERS=1 | -DSAFETY | -E | (awake==1)
 * PAN-FINDS: -DFENCED -DNO_FENCE | -DSAFETY | -E | (awake==2)
 * PAN-FINDS: -DWISH -DWISH_LATE | -DSAFETY | -E | (awake==2)
 * PAN-FINDS: -DWISH -DNO_MEMBARRIER | -DSAFETY | -E | (awake==2)
 * PAN-FINDS: -DASK_LATE | -DSAFETY | -E | (awake==2)
 * PAN-FINDS: -DNO_LOOK | -DSAFETY | -E | (awake==2)
 * PAN-FINDS: -DLOAD_FIRST | -DSAFETY | -E | (awake==2)
 * PAN-FINDS: -DNO_COMPARE | -DSAFETY | -E | (awake==2)
 * PAN-FINDS: -DDEATHS=1 -DSLEEPERS=1 -DNO_BELL | -DSAFETY -DNOREDUCE | -E | (awake==1)
 * PAN-FINDS: -DDEATHS=1 -DSLEEPERS=1 -DOTHERS_REPAIR | -DSAFETY -DNOREDUCE | -E | (awake==1)
 * HAND: -DRINGS=1 | -DSAFETY | -E
 * HAND: -DDEATHS=1 -DNEWS=2 | -DSAFETY -DNOREDUCE | -E
 */
#ifndef SLEEPERS
#define SLEEPERS 2 /* at most */
#endif
#ifndef NEWS
#define NEWS 3 /* pieces of news: publisher 0 has 0, 2, ..., publisher 1 has 1, 3, ... */
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef RINGS
#define RINGS 0
#endif
#define PUBS 2

bool news[NEWS];
byte seq, want;
byte wish; /* -DWISH: how far who sleeps waits for; publisher 0, which has all the news then, rings for nobody else */
bool asleep[2]; /* in the kernel's queue on seq */
#define WAKE_ALL asleep[0] = false; asleep[1] = false

/* Store buffers: news that a publisher has stored and others do not see yet, oldest first. */
#define BUFFER 2
typedef buffer_t { byte n; byte at[BUFFER] };
buffer_t b[PUBS];
#define EMPTY(p) (b[p].n == 0) /* a locked instruction, a full fence or a system call waits for it */
#define DRIP(p) news[b[p].at[0]] = true; b[p].at[0] = b[p].at[1]; b[p].at[1] = 0; b[p].n--

bool dead[PUBS];
byte deaths, running = PUBS, awake, timeouts;
bool ended[PUBS];

active proctype memory() {
  do
  :: atomic { !EMPTY(0) -> DRIP(0) }
  :: atomic { !EMPTY(1) -> DRIP(1) }
  od
}

#if DEATHS > 0
#define MORTAL provided (!dead[me])
#else
#define MORTAL
#endif
proctype publisher(byte me) MORTAL {
  byte k, s, w;

#ifdef WISH
#define STEP_OF_NEWS 1
  atomic { k = 0; if :: (me == 1) -> k = NEWS :: else fi };
#else
#define STEP_OF_NEWS PUBS
  atomic { k = me };
#endif
  do
  :: (k >= NEWS) -> break
  :: else ->
#ifdef LOAD_FIRST
     s = seq;
     w = want;
#endif
     atomic { (b[me].n < BUFFER) -> b[me].at[b[me].n] = k; b[me].n++ };
#if defined(FENCED) && !defined(NO_FENCE)
     EMPTY(me);
#endif
#ifdef WISH
     atomic { if :: (wish <= k) -> goto next :: else fi };
#endif
#ifndef LOAD_FIRST
     s = seq;
     w = want;
#endif
     if
     :: (w > s) ->
        atomic { EMPTY(me) -> if :: (seq == s) -> seq = w :: else fi };
        d_step { WAKE_ALL } /* also who lost the swap: it was overtaken by another's news */
     :: else
     fi;
next:
     atomic { s = 0; w = 0; k = k + STEP_OF_NEWS }
  od;
  atomic { running--; ended[me] = true }
}

proctype sleeper(byte me) {
  byte k, s, w, p; bool ok;

look:
  atomic { s = 0; w = 0; p = 0; ok = false };
#ifdef DRAIN
  s = seq; /* drain_look_at_wishes() */
#endif
  atomic {
    do
    :: (k < NEWS && news[k]) -> k++; ok = true
    :: else -> break
    od;
    if :: (k == NEWS) -> goto done :: (k < NEWS && ok) -> goto look :: else fi
  };
#ifdef ASK_LATE
  goto fence;
#endif
ask:
#if defined(WISH) && !defined(WISH_LATE)
  atomic { if :: (wish < k + 1) -> wish = k + 1 :: else fi }; /* raise_want() */
#endif
  s = seq;
  atomic { w = want; if :: (w > s) -> w = 0; goto asked :: else fi };
  atomic { if :: (want == w) -> want = s + 1; w = 0; ok = true :: else -> w = 0; goto ask fi };
asked:
#ifdef ASK_LATE
  goto rest;
#endif
#ifdef DRAIN
  if :: !ok -> goto rest :: else fi;
#endif
fence:
#if !defined(NO_MEMBARRIER) && !defined(FENCED)
  do
  :: atomic { (p < PUBS) -> do :: EMPTY(p) -> break :: else -> DRIP(p) od; p++ } /* one processor after the other */
  :: atomic { (p == PUBS) -> p = 0; break }
  od;
#endif
#ifdef DRAIN
  goto look;
#endif
#ifndef NO_LOOK
  atomic { if :: news[k] -> goto look :: else fi };
#endif
#ifdef ASK_LATE
  goto ask;
#endif
rest:
#if defined(WISH) && defined(WISH_LATE)
  atomic { if :: (wish < k + 1) -> wish = k + 1 :: else fi };
#endif
#ifdef NO_COMPARE
  asleep[me] = true;
#else
  atomic { if :: (seq == s) -> asleep[me] = true :: else -> goto look fi };
#endif
#ifdef TIMEOUTS
  if
  :: atomic { !asleep[me] -> goto look }
  :: atomic { (asleep[me] && timeouts < TIMEOUTS) -> timeouts++; asleep[me] = false };
     /* A sleep that ran out: what was asked for holds until somebody answers, and costs no second fence. */
     atomic { if :: news[k] -> goto look :: else fi };
     atomic { if :: (seq == s) -> goto rest :: else -> goto look fi }
  fi;
#else
  atomic { !asleep[me] -> goto look };
#endif
done:
  awake++
}

#if RINGS > 0
active proctype ringer() {
  byte rings;
  do
  :: (rings == RINGS) -> break
  :: else -> seq++; d_step { WAKE_ALL }; rings++
  od
}
#endif

#if DEATHS > 0
/* The dead's claims become padding, which is news, too. All that it stored is visible before its lock goes. */
#define REPAIR(p) \
  k = p; do :: (k < NEWS) -> news[k] = true; k = k + PUBS :: else -> break od; k = 0; repaired[p] = true
bool repaired[PUBS];

active proctype killer() {
  do
  :: atomic { (deaths < DEATHS && !dead[0] && !ended[0]) -> deaths++; running--; dead[0] = true }
  :: atomic { (deaths < DEATHS && !dead[1] && !ended[1]) -> deaths++; running--; dead[1] = true }
  :: atomic { (deaths < DEATHS) -> deaths = DEATHS } /* no more of it */
  od
}

active proctype weird() {
  byte k;
  do
  :: atomic { (dead[0] && !repaired[0] && EMPTY(0)) -> REPAIR(0) }
#ifndef NO_BELL
     seq++;
     d_step { WAKE_ALL }
#endif
  :: atomic { (dead[1] && !repaired[1] && EMPTY(1)) -> REPAIR(1) }
#ifndef NO_BELL
     seq++;
     d_step { WAKE_ALL }
#endif
  od
}

#ifdef OTHERS_REPAIR
active proctype other() {
  byte k;
  do
  :: atomic { (dead[0] && !repaired[0] && EMPTY(0)) -> REPAIR(0) }
  :: atomic { (dead[1] && !repaired[1] && EMPTY(1)) -> REPAIR(1) }
  od
}
#endif
#endif

proctype watchdog() { timeout -> assert(awake == SLEEPERS) }

init {
  atomic {
    byte i = 0;
    do :: (i == PUBS) -> break :: else -> run publisher(i); i++ od;
    i = 0; do :: (i == SLEEPERS) -> break :: else -> run sleeper(i); i++ od;
    run watchdog()
  }
}
