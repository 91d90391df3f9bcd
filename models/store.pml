/*
 * A container of two stores (src/manager/store.c): store 0 has two words, a and b, and may be replaced by a new arena;
 * store 1 has one, c. N writers make CHANGES changes each, of a kind that is free:
 *   poke      one word of store 0; with ALL of store 1, too
 *   journal   both words of store 0
 *   replace   the same, by another arena
 *   several   a of store 0 and c of store 1, by the container's decision
 * with BACK only pokes, by which a word becomes what it was; with MESSAGES only journals, which put a message in, or take it out. A reader looks at store 0, or at both stores (a copy
 * of a dict) where ALL is given. Who takes a lock from the dead succeeds him; so does a repairer, which may die itself, CRASHES times, and then another begins
 * anew. A writer may die before any step. (One that is stopped is slow.)
 *
 * A state word is one step, and so is each other word. A journal's entries lie where the last one's were; a run that was given back is
 * garbage. What the processors may do in another order is not here: the fences beside each step, and ThreadSanitizer.
 *
 * Judged: what a look takes for whole was there at one moment between its beginning and its end; no message is let go of that is in the container; and when
 * nothing moves any more no lock is a dead one's, the words are those of the changes that were committed, and the message says whether it is in.
 */
#ifndef N
#define N 2
#endif
#ifndef CHANGES
#define CHANGES 1
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef CRASHES
#define CRASHES 0
#endif

#define IDLE 0
#define COMMITTED 1
#define PREPARED 2
#define GARBAGE 7

#define AT(s, run, w) word[(s) * 4 + (run) * 2 + (w)]
byte word[8];
byte where[4], value[4];            /* the journals: 2 entries each */
byte version[2], count[2], phase[2], now[2], next[2]; /* the state words */
byte turn[2], decision;
byte owner[2];                      /* 0; a writer's number + 1; 50 + which of its lives: the repairer */
byte filled;                        /* store 0 has a note of the message: 1 that it is put in, 2 that it is taken out */
bit inside;                         /* the message says that it is in the container */
bit dead[N + 1];                    /* the repairer's tells nothing: see GONE */
byte deaths, crashes, repaired;

byte values;                        /* each change has its own */
byte a, b, c;                       /* ghosts: what was committed */
bit lies;                           /* ghost: the message is in it */
bit seen[64];                       /* ghost: what there was since the look began */

#define GONE(o) ((o) && ((o) >= 50 && (o) < 50 + crashes || (o) < 50 && dead[((o) < 50 -> (o) - 1 : 0)]))
#define NOTE seen[a * 16 + b * 4 + c] = 1
#define DECIDED(s) (phase[s] == COMMITTED || phase[s] == PREPARED && decision >= turn[s])

#ifdef BAD_FORGETS
#define TO_FINISH(s) false
#elif defined BAD_PREPARED_IS_COMMITTED
#define TO_FINISH(s) (phase[s] != IDLE)
#else
#define TO_FINISH(s) DECIDED(s)
#endif

/* One step, before which who makes it may be killed. */
#define STEP(x) atomic { \
    if \
    :: me < N && deaths < DEATHS || me >= N && crashes < CRASHES -> \
        deaths = deaths + (me < N); crashes = crashes + (me >= N); dead[me] = 1; goto gone \
    :: true -> x \
    fi }
#define STATE(s, cnt, ph, nw, nx) \
    version[s]++; count[s] = cnt; phase[s] = ph; now[s] = nw; next[s] = nx

/* ---- the end of a change: by who made it, or by who succeeds him ---- */

inline finish(s)
{
    i = 0;
    do
    :: atomic { i < count[s] && where[(s) * 2 + i] < 2 ->
        STEP(AT(s, next[s], where[(s) * 2 + i]) = value[(s) * 2 + i]; i++) }
    :: else -> break
    od;
    if
    :: s == 0 && filled && count[s] ->
        STEP(if :: filled == 2 -> assert(!lies); inside = 0 :: else fi);   /* unreached: in copies for store 1 */
#ifndef BAD_NOTE_LATE
        STEP(filled = 0);   /* unreached: in copies for store 1 */
#endif
    :: else
    fi;
    STEP(STATE(s, 0, IDLE, next[s], next[s]));
#ifdef BAD_NOTE_LATE
    STEP(filled = (s == 0 -> 0 : filled));
#endif
    free_other(s)
}

inline free_other(s)
{
    if
    :: s == 0 -> STEP(AT(0, 1 - now[0], 0) = GARBAGE; AT(0, 1 - now[0], 1) = GARBAGE)   /* unreached: in copies for store 1 */
    :: else
    fi
}

inline recover(s)
{
    if
    :: TO_FINISH(s) -> finish(s)
    :: else ->
        if
        :: s == 0 && filled == 1 -> STEP(assert(!lies); inside = 0)   /* unreached: in copies for store 1 */
        :: else
        fi;
#ifndef BAD_POKE_NOT_COUNTED
        STEP(STATE(s, 0, IDLE, now[s], now[s]));
#endif
        if
        :: s == 0 && filled -> STEP(filled = 0)   /* unreached: in copies for store 1 */
        :: else
        fi;
        free_other(s)
    fi
}

inline lock(s)
{
    STEP(assert(owner[s] != me + 1));
    atomic {
        if
        :: owner[s] == 0 -> owner[s] = me + 1; died = 0
        :: GONE(owner[s]) -> owner[s] = me + 1; died = 1
        fi
    };
    if
    :: died -> recover(s)
    :: else
    fi
}

/* ---- changes ---- */

proctype Writer(byte me)
{
    byte i, v, left = CHANGES;
    bit died, w;
    do
    :: left ->
        left--;
#ifdef BACK
        if                              /* a poke to and fro, of a store of its own */
        :: me == 0 ->
            lock(1);
            STEP(AT(1, now[1], 0) = 1 - c; c = 1 - c; NOTE);
            STEP(STATE(1, 0, IDLE, now[1], now[1]));
            STEP(owner[1] = 0)
        :: else ->
            lock(0);
            STEP(AT(0, now[0], 0) = 1 - a; a = 1 - a; NOTE);
            STEP(STATE(0, 0, IDLE, now[0], now[0]));
            STEP(owner[0] = 0)
        fi;
        goto done;
#endif
#ifdef ALL
        if
        :: true ->                      /* a poke of store 1 */
            lock(1);
            atomic { values++; v = values };
            STEP(AT(1, now[1], 0) = v; c = v; NOTE);
            STEP(STATE(1, 0, IDLE, now[1], now[1]));
            STEP(owner[1] = 0);
            goto done
        :: true
        fi;
#endif
        lock(0);
        atomic { values++; v = values };
#ifdef MESSAGES
        v = 1 - lies;
        STEP(filled = 2 - v);           /* the note, before the message says so */
        if
        :: v -> STEP(inside = 1)
        :: else
        fi;
        STEP(where[0] = 0; value[0] = v);
        STEP(where[1] = 2);             /* the note in the journal */
        STEP(STATE(0, 2, COMMITTED, now[0], now[0]); lies = v; a = v; NOTE);
        finish(0)
#else
        if
        :: atomic { true -> w = 0 }     /* poke */
        :: atomic { true -> w = 1 }
        :: true ->                      /* journal */
            STEP(where[0] = 0; value[0] = v);
            STEP(where[1] = 1; value[1] = v);
#ifdef BAD_APPLIES_FIRST
            STEP(AT(0, now[0], 0) = v);
#endif
            STEP(STATE(0, 2, COMMITTED, now[0], now[0]); a = v; b = v; NOTE);
            finish(0);
            goto unlock
        :: true ->                      /* replace */
            STEP(AT(0, 1 - now[0], 0) = v);
            STEP(AT(0, 1 - now[0], 1) = v);
#ifdef BAD_FREES_FIRST
            STEP(AT(0, now[0], 0) = GARBAGE);
#endif
            STEP(STATE(0, 0, COMMITTED, now[0], 1 - now[0]); a = v; b = v; NOTE);
            finish(0);
            goto unlock
        :: true ->                      /* several */
            lock(1);
            STEP(where[0] = 0; value[0] = v);
            STEP(turn[0] = decision + 1);
            STEP(STATE(0, 1, PREPARED, now[0], now[0]));
            STEP(where[2] = 0; value[2] = v);
            STEP(turn[1] = decision + 1);
            STEP(STATE(1, 1, PREPARED, now[1], now[1]));
            STEP(decision++; a = v; c = v; NOTE);
            finish(0);
            finish(1);
            STEP(owner[1] = 0);
            goto unlock
        fi;
        STEP(AT(0, now[0], w) = v; if :: w -> b = v :: else -> a = v fi; NOTE);
        STEP(STATE(0, 0, IDLE, now[0], now[0]));
#endif
unlock:
        STEP(owner[0] = 0);
done:
        skip
    :: else -> break
    od;
gone:
    skip
}

/* ---- who repairs ---- */

proctype Repairer(byte me)
{
    byte i, s, d, now_dead;
gone:
end_r:
    do
    :: atomic { deaths > repaired -> s = 0; now_dead = deaths };
        do
        :: s < 2 ->
            atomic {
                if
#ifndef BAD_NOT_TENDED
                :: GONE(owner[s]) -> d = 1; owner[s] = 50 + crashes
#endif
                :: else -> d = 0
                fi
            };
            if
            :: d -> recover(s); STEP(owner[s] = 0)
            :: else
            fi;
            s++
        :: else -> break
        od;
        repaired = now_dead
    od
}

/* ---- who reads ---- */

/* The state of a store, as reading notes it. */
inline note_state(s)
{
    atomic { rv[s] = version[s]; rp[s] = phase[s]; rc[s] = count[s]; rn[s] = now[s]; rx[s] = next[s] };
    atomic { rd[s] = rp[s] == COMMITTED || rp[s] == PREPARED && decision >= turn[s] }
}

inline read_word(s, w, ret)
{
    i = 0;
    ret = 255;
#ifndef BAD_NOT_THE_JOURNAL
    do
    :: atomic { rd[s] && rn[s] == rx[s] && i < rc[s] ->
        if :: where[(s) * 2 + i] == w -> ret = value[(s) * 2 + i] :: else fi; i++ }
    :: else -> break
    od;
#endif
    atomic { if :: ret == 255 -> ret = AT(s, (rd[s] -> rx[s] : rn[s]), w) :: else fi }
}

#ifdef BAD_NO_SECOND_STATE
#define HOLDS(s) whole = whole
#else
#define HOLDS(s) atomic { whole = whole && version[s] == rv[s] && \
    (rp[s] != PREPARED || (decision >= turn[s]) == rd[s]) }
#endif

inline look(x, y, z)
{
    note_state(0);
#ifdef ALL
    note_state(1);
#endif
    read_word(0, 0, x);
    read_word(0, 1, y);
#ifdef ALL
    read_word(1, 0, z);
    atomic { calm = calm || !owner[0] };
    atomic { calm = calm && !owner[1] };
#endif
    whole = 1;
    HOLDS(0);
#ifdef ALL
    HOLDS(1)
#endif
}

proctype Reader()
{
    byte i, x, y, z, x2, y2, z2;
    byte rv[2], rp[2], rc[2], rn[2], rx[2], fv[2];
    bit rd[2], whole, calm;
    d_step { i = 0; do :: i < 64 -> seen[i] = 0; i++ :: else -> break od; NOTE };
    look(x, y, z);
#ifdef ALL
#ifndef BAD_ONE_LOOK
    if
    :: whole && !calm ->
        atomic { fv[0] = rv[0]; fv[1] = rv[1] };
        look(x2, y2, z2);
        atomic { whole = whole && x == x2 && y == y2 && z == z2 };
#ifndef BAD_OTHER_STATES
        atomic { whole = whole && fv[0] == rv[0] && fv[1] == rv[1] }
#endif
    :: else
    fi;
#endif
#endif
    d_step {
        i = 0;
        do /* z is any where it was not looked at */
        :: i < 4 && whole && x < 4 && y < 4 && !(seen[x * 16 + y * 4 + i]) -> i++
        :: else -> break
        od;
        assert(!whole || x < 4 && y < 4);
#ifdef ALL
        assert(!whole || seen[x * 16 + y * 4 + z]);
#endif
        assert(!whole || i < 4);
        x = 0; y = 0; z = 0; x2 = 0; y2 = 0; z2 = 0
    }
}

/* ---- what there is in the end ---- */

proctype Judge()
{
end_j:
    atomic { timeout ->
        assert(!GONE(owner[0]) && !GONE(owner[1]));
        if
        :: !owner[0] ->
            assert(phase[0] == IDLE && AT(0, now[0], 0) == a && AT(0, now[0], 1) == b);
            assert(inside == lies && !filled)
        :: else
        fi;
        if
        :: !owner[1] -> assert(phase[1] == IDLE && AT(1, now[1], 0) == c)
        :: else
        fi
    }
}

init
{
    byte p;
    atomic {
        do
        :: p < N -> run Writer(p); p++
        :: p >= N -> break
        od;
        run Repairer(N);
        run Reader();
        run Judge()
    }
}
