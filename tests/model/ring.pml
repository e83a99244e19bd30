/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared ring over a pool of slots, as ringbuf/claim.c, roll.c, reader.c and repair.c do it: enter, clean, help, claim by the
 * tail word, commit, roll over, reclaim, repair. One step is one access to shared words; the killer may end publishers
 * before any step. A unit is the smallest allocation; a record is 1 or 2 units, the second stands for payload. Header
 * fields gen and seq are ghosts for the assertions: the protocol never looks at them.
 *
 * Repair is made of its separate steps: the kernel's answer, the words read again, one swap on exactly what was read. Who waits
 * for a cleaner may give up at any time and pad. A reclaim may be taken over by anybody at any time.
 *
 * Not in it: store buffers (the fences count as executed), stopped processes as a progress property, readers that announce,
 * reuse of a table index, exclusive rings, batches, cancels.
 *
 * PAN: -DGIVE_UP=1 | -DSAFETY -DCOLLAPSE -DNOREDUCE -DVECTORSZ=2048 -DMEMLIM=6000 | -E -m400000
 * PAN: | -DSAFETY -DCOLLAPSE -DNOREDUCE -DVECTORSZ=2048 -DMEMLIM=6000 | -E -m400000
 * PAN: -DDEATHS=2 | -DSAFETY -DCOLLAPSE -DNOREDUCE -DVECTORSZ=2048 -DMEMLIM=6000 | -E -m400000
 * PAN: -DPADDING | -DSAFETY -DCOLLAPSE -DNOREDUCE -DVECTORSZ=2048 -DMEMLIM=9000 | -E -m400000
 * PAN-FINDS: -DNO_HELP | -DSAFETY -DCOLLAPSE -DNOREDUCE -DVECTORSZ=2048 -DMEMLIM=6000 | -E -m400000
 * PAN-FINDS: -DNO_CLEAN | -DSAFETY -DCOLLAPSE -DNOREDUCE -DVECTORSZ=2048 -DMEMLIM=6000 | -E -m400000
 * PAN-FINDS: -DREAD_FIRST | -DSAFETY -DCOLLAPSE -DNOREDUCE -DVECTORSZ=2048 -DMEMLIM=6000 | -E -m400000
 * PAN-FINDS: -DNO_ANNOUNCE -DMSGS=3 | -DSAFETY -DCOLLAPSE -DNOREDUCE -DVECTORSZ=2048 -DMEMLIM=6000 | -E -m400000
 */
#ifdef PADDING
#define NEED ((me == 1 && seq == 1) -> 1 : 2) /* lengths that leave a segment's last unit over */
#else
#define NEED (1 + ((me + seq) % 2))
#endif
#define NP 2 /* publishers */
#ifndef MSGS
#define MSGS 2 /* messages each */
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef SEG
#define SEG 3 /* units in a segment */
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#define NONE 15

#define H_FREE 0
#define H_CLAIM 1
#define H_READY 2
#define H_PAD 3
#define H_JUNK 4 /* payload, or left from an earlier segment */
typedef head_t { byte st; byte own; byte n; byte gen; byte seq };
head_t h[SLOTS * SEG];
#define H(sl, o) h[(sl) * SEG + (o)]

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
byte agen, aslot;  /* active word */
byte ann[NP];      /* each publisher's announced segment */
byte drained;      /* segments below it are drained */
bool dead[NP + 1], fin[NP], dfin;
byte deaths, done, got[NP], gave_up;

proctype publisher(byte me) provided (!dead[_pid - 1]) {
  byte g, sl, off, pn, pby, need, tgt, seq, k, s2, q, c, o, vst, vgen;
  bool ok, pad;
  do
  :: (seq == MSGS) -> break
  :: else ->
enter:
    /* Locals that are dead here are reset, so that states which differ in them alone are one. */
    atomic { g = agen; sl = aslot; off = 0; pn = 0; pby = 0; need = 0; tgt = 0; k = 0; s2 = 0; q = 0; c = 0; o = 0; vst = 0; vgen = 0;
             ok = false; pad = false };
    ann[me] = g;
    atomic { vst = s[sl].st; vgen = s[sl].gen; o = s[sl].own };
    if
    :: (vgen != g || vst == S_FREE || vst == S_RECL) -> goto enter
    :: else
    fi;
    if
    :: (agen != g || aslot != sl) -> goto enter
    :: else
    fi;
    if
    :: (vst == S_RESV) -> /* E5: `active` names it, so it is live */
       atomic { if :: (s[sl].st == vst && s[sl].gen == vgen && s[sl].own == o) -> s[sl].st = S_LIVE; s[sl].own = NONE
                   :: else fi };
       goto enter
    :: else
    fi;
retry:
    atomic { off = s[sl].end; pn = s[sl].n; pby = s[sl].by; k = 0; c = 0; o = 0; vst = 0; vgen = 0; ok = false };
    if :: (off == SEG) -> goto roll :: else fi;
    d_step {
      need = NEED; pad = false;
      if :: (off + need > SEG) -> need = SEG - off; pad = true :: else fi;
      if :: (off + need >= SEG) -> tgt = SEG :: else -> tgt = off + need + 1 fi
    };
    /* clean_to() */
    do
    :: atomic { c = s[sl].clean; o = s[sl].lock };
       if
       :: (c >= tgt) -> break
       :: (c < tgt && o == NONE) ->
          atomic { ok = (s[sl].clean == c && s[sl].lock == NONE); if :: ok -> s[sl].lock = me :: else fi };
          if
          :: ok ->
             k = c;
             do
             :: (k == tgt) -> break
             :: else ->
#ifndef NO_CLEAN
                d_step { H(sl, k).st = H_FREE; H(sl, k).own = 0; H(sl, k).n = 0; H(sl, k).gen = g; H(sl, k).seq = 0 };
#endif
                k++
             od;
             atomic { if :: (s[sl].clean == c && s[sl].lock == me) -> s[sl].clean = tgt; s[sl].lock = NONE :: else fi }
          :: else
          fi
       :: (c < tgt && o != NONE) ->
          if
          :: dead[o] -> atomic { if :: (s[sl].clean == c && s[sl].lock == o) -> s[sl].lock = NONE :: else fi }
          :: (s[sl].clean != c || s[sl].lock != o)
#ifdef GIVE_UP
          :: atomic { (gave_up < GIVE_UP) -> gave_up++; need = SEG - off; pad = true }; break /* waited too long: pad what is left */
#endif
          fi
       fi
    od;
#ifndef NO_HELP
    /* help_last_claim(): before another's claim is displaced from the tail word, it stands in its header */
    if
    :: (pby != NONE && pby != me) ->
       atomic { if :: (H(sl, off - pn).st == H_FREE) ->
                      H(sl, off - pn).st = H_CLAIM; H(sl, off - pn).own = pby; H(sl, off - pn).n = pn;
                      assert(H(sl, off - pn).gen == g)
                   :: else fi }
    :: else
    fi;
#endif
    atomic {
      ok = (s[sl].end == off && s[sl].n == pn && s[sl].by == pby);
      if :: ok -> s[sl].end = off + need; s[sl].n = need; s[sl].by = me; assert(s[sl].gen == g && s[sl].st != S_FREE)
         :: else fi
    };
    if :: !ok -> goto retry :: else fi;
    if
    :: (need == 2 && !pad) -> d_step { H(sl, off + 1).st = H_JUNK; H(sl, off + 1).gen = 77; H(sl, off + 1).own = me; H(sl, off + 1).seq = seq }
    :: else
    fi;
    /* commit_head() */
    d_step {
      assert(H(sl, off).gen == g);
      assert(H(sl, off).st == H_FREE || (H(sl, off).st == H_CLAIM && H(sl, off).own == me && H(sl, off).n == need));
      H(sl, off).own = me; H(sl, off).n = need; H(sl, off).seq = seq;
      if :: pad -> H(sl, off).st = H_PAD :: else -> H(sl, off).st = H_READY fi
    };
    if :: pad -> goto retry :: else -> seq++ fi;
    goto next;
roll:
    atomic { ann[me] = NONE; off = 0; pn = 0; pby = 0; need = 0; tgt = 0; k = 0; c = 0; o = 0; vst = 0; vgen = 0; q = 0; s2 = 0; ok = false };
    if :: (agen != g) -> goto enter :: else fi;
    do
    :: (s2 == SLOTS) -> break
    :: else ->
       atomic { vst = s[s2].st; vgen = s[s2].gen; o = s[s2].own };
       if
       :: (vst == S_FREE) ->
          atomic { ok = (s[s2].st == S_FREE); if :: ok -> s[s2].st = S_RESV; s[s2].gen = g + 1; s[s2].own = me :: else fi };
          if :: ok -> break :: else fi
       :: (vst == S_RESV) ->
          /* slot_settle(): the kernel says dead; then the words are read; then one swap on exactly what was read */
#ifdef READ_FIRST
          atomic { ok = (agen == vgen && aslot == s2) };
#endif
          if
          :: dead[o] ->
#ifndef READ_FIRST
             atomic { ok = (agen == vgen && aslot == s2) };
#endif
             atomic { if :: (s[s2].st == S_RESV && s[s2].gen == vgen && s[s2].own == o) ->
                            s[s2].own = NONE;
                            if :: ok -> s[s2].st = S_LIVE :: else -> s[s2].st = S_FREE fi
                         :: else fi };
             ok = false
          :: else -> ok = false; s2++
          fi
       :: ((vst == S_LIVE || vst == S_RECL) && vgen < g && drained > vgen) ->
          /* slot_reclaim(): mark, (fence,) look at everyone, swap on exactly the mark */
          atomic { ok = (s[s2].st == vst && s[s2].gen == vgen && s[s2].own == o); if :: ok -> s[s2].st = S_RECL; s[s2].own = me :: else fi };
          if
          :: ok ->
             q = 0;
#ifndef NO_ANNOUNCE
             do
             :: (q == NP) -> break
             :: (q < NP && (ann[q] != vgen || dead[q])) -> q++
             :: (q < NP && ann[q] == vgen && !dead[q]) -> ok = false; break
             od;
#endif
             q = 0;
             atomic {
               if
               :: (s[s2].st == S_RECL && s[s2].gen == vgen && s[s2].own == me) ->
                  if :: ok -> s[s2].st = S_RESV; s[s2].gen = g + 1 :: else -> s[s2].st = S_LIVE; s[s2].own = NONE fi
               :: else -> ok = false
               fi
             };
             if :: ok -> break :: else -> s2++ fi
          :: else
          fi
       :: else -> s2++
       fi
    od;
    if :: !ok -> (agen != g || drained > 0); goto enter :: else fi;
    d_step { s[s2].end = 0; s[s2].n = 0; s[s2].by = NONE };
    d_step { H(s2, 0).st = H_FREE; H(s2, 0).own = 0; H(s2, 0).n = 0; H(s2, 0).gen = g + 1; H(s2, 0).seq = 0 };
    d_step { s[s2].clean = 1; s[s2].lock = NONE };
    atomic { ok = (agen == g && aslot == sl); if :: ok -> agen = g + 1; aslot = s2 :: else fi };
    atomic {
      if :: (s[s2].st == S_RESV && s[s2].own == me && s[s2].gen == g + 1) ->
            s[s2].own = NONE;
            if :: ok -> s[s2].st = S_LIVE :: else -> s[s2].st = S_FREE fi
         :: else fi
    };
    goto enter;
next: atomic { off = 0; pn = 0; pby = 0; need = 0; tgt = 0; k = 0; c = 0; o = 0; vst = 0; vgen = 0; q = 0; s2 = 0; ok = false; pad = false }
  od;
  atomic { done++; fin[me] = true }
}

proctype killer() {
  do
  :: atomic { (deaths < DEATHS && !fin[0] && !dead[0]) -> deaths++; dead[0] = true; done++ }
  :: atomic { (deaths < DEATHS && !fin[1] && !dead[1]) -> deaths++; dead[1] = true; done++ }
  :: (done == NP) -> break
  od
}

proctype watchdog() { timeout -> assert(dfin) }

/* The drain: the reader that gates reuse, and that repairs at its position (ring_reader_look()). */
proctype drainer() {
  byte sl, off, g, tn, o, p, st; bool ok;
  do
  :: atomic {
       sl = 0; ok = false; tn = 0; o = 0; st = 0;
       do
       :: (sl == SLOTS) -> break
       :: (sl < SLOTS && (s[sl].st == S_LIVE || s[sl].st == S_RECL) && s[sl].gen == g) -> ok = true; break
       :: (sl < SLOTS && s[sl].st == S_RESV && s[sl].gen == g && agen == g && aslot == sl) -> ok = true; break
       :: else -> sl++
       od
     };
     if
     :: !ok -> if :: (done == NP && agen < g) -> break :: (agen >= g) -> skip fi
     :: else ->
        if
        :: (off == SEG) -> g++; off = 0; drained = g
        :: else ->
           if
           :: atomic { (H(sl, off).st == H_CLAIM && dead[H(sl, off).own]) -> o = H(sl, off).own };
              atomic { if :: (H(sl, off).st == H_CLAIM && H(sl, off).own == o) -> H(sl, off).st = H_PAD :: else fi }
           :: atomic { (H(sl, off).st == H_FREE && s[sl].end > off && s[sl].end - s[sl].n == off && dead[s[sl].by]) -> tn = s[sl].n };
              atomic { st = H(sl, off).st };
              if
              :: (st == H_FREE) -> atomic { if :: (H(sl, off).st == H_FREE) -> H(sl, off).st = H_PAD; H(sl, off).n = tn :: else fi }
              :: else
              fi
           :: atomic { (H(sl, off).st == H_READY || H(sl, off).st == H_PAD) ->
                assert(H(sl, off).gen == g && H(sl, off).n > 0 && off + H(sl, off).n <= SEG);
                if
                :: (H(sl, off).st == H_READY) ->
                   assert(got[H(sl, off).own] == H(sl, off).seq); got[H(sl, off).own]++;
                   assert(H(sl, off).n == 1 || (H(sl, off + 1).gen == 77 && H(sl, off + 1).own == H(sl, off).own && H(sl, off + 1).seq == H(sl, off).seq))
                :: else
                fi;
                off = off + H(sl, off).n }
           :: atomic { (H(sl, off).st == H_JUNK) -> assert(false) }
           :: atomic { (done == NP && H(sl, off).st == H_FREE && s[sl].end == off) -> assert(H(sl, off).gen == g) }; break
           fi
        fi
     fi
  od;
  p = 0;
  do :: (p == NP) -> break :: else -> assert(dead[p] || got[p] == MSGS); p++ od;
  dfin = true
}

init {
  atomic {
    byte i = 0;
    do :: (i == SLOTS) -> break :: else -> s[i].lock = NONE; s[i].by = NONE; s[i].own = NONE; i++ od;
    i = 0; do :: (i == SLOTS * SEG) -> break :: else -> h[i].st = H_JUNK; h[i].gen = 99; i++ od;
    s[0].st = S_LIVE; s[0].clean = 1; h[0].st = H_FREE; h[0].gen = 0;
    i = 0; do :: (i == NP) -> break :: else -> ann[i] = NONE; run publisher(i); i++ od;
    run drainer(); run killer(); run watchdog()
  }
}
