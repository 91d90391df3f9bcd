/*
 * The lock (docs/design.md 4a), the eventcount it sleeps on (4) and repair's step 4 (3).
 *
 * N processes take and release one lock, some with a deadline; one more process has nothing
 * to do with the lock and only repairs, as somebody asleep on another
 * object would. Any of them may be killed (DEATHS) or stopped (STOPS) before any step.
 *
 * Memory: the releaser's plain store W = 0 lies in a store buffer (sb) for as long as it likes;
 * every locked instruction of the same process drains it (where it must be empty already, that is
 * asserted), a membarrier of anybody drains all. A killed process's buffer drains before its death
 * can be seen. Other plain accesses are in order.
 *
 * E's sequence never wraps here: all that is ever asked of it is "is E still what I saw", so the
 * model keeps one bit for each process, "fresh", which whoever advances E clears for everybody.
 *
 * Which sleeper notices a death is watch.pml's matter; here any may, and one will.
 *
 * Judged: never two living holders; a holder's death is told to exactly one taker; and whenever
 * nothing moves any more, nobody sleeps on a lock that is free or owned by the dead. When NET is
 * set, sleepers look once more by themselves after everything has come to rest.
 */
#define N 3                         /* contenders */
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#ifndef STOPS
#define STOPS 0
#endif

#define ALL (N + 1)                 /* and the one that only repairs */
#define BIT(p) (1 << (p))
#define HAS(m, p) ((m) & BIT(p))
#define ADD(m, p) m = m | BIT(p)
#define DEL(m, p) m = m & ~BIT(p)

byte W;                             /* owner, process + 1; 0 is free */
bit E_sleepers;
byte fresh;                         /* E unchanged since this one loaded or changed it */
byte queue;                         /* asleep in the kernel on E */
byte sb;                            /* W = 0 still in this one's store buffer */
byte frame;                         /* the record says "sleeps on this lock" */

#define ALIVE 0
#define GONE 1                      /* killed, life word marked, nobody has confirmed it yet */
#define FREED 2                     /* repaired, generation + 1 */
#define DEAD 3                      /* DEAD + r: confirmed, r has the right to repair */
byte slot[ALL];

#define NEED_REPAIR (DEAD_PROCESS(0) || DEAD_PROCESS(1) || DEAD_PROCESS(2) || DEAD_PROCESS(N))

byte killed, stopped;               /* Fate's orders */
byte deaths, stops;

byte holding;                       /* ghost: inside the critical section */
bit owed;                           /* ghost: a holder died and nobody was told yet */
byte window;                        /* ghost: is in a step whose stop the design leaves to the net */
bit net_used;

#define DRAIN(p) if :: HAS(sb, p) -> W = 0; DEL(sb, p) :: else fi
#define OWNER_DEAD(w) (w != 0 && slot[w - 1] >= FREED)
#if STOPS
#define WINDOW_OPENS ADD(window, me)
#define WINDOW_CLOSES DEL(window, me)
#define WOKEN(p) DEL(queue, p); ADD(window, p)
#else
#define WINDOW_OPENS skip
#define WINDOW_CLOSES skip
#define WOKEN(p) DEL(queue, p)
#endif
#define DEAD_PROCESS(p) (slot[p] == GONE || (slot[p] >= DEAD && slot[slot[p] - DEAD] >= FREED))

inline drain_all()
{
    if
    :: sb -> W = 0; sb = 0
    :: else
    fi
}

/* FUTEX_WAKE of one, whichever */
inline futex_wake()
{
    if
    :: HAS(queue, 0) -> WOKEN(0)
    :: HAS(queue, 1) -> WOKEN(1)
    :: HAS(queue, 2) -> WOKEN(2)
    :: !queue
    fi
}

/* "if E & 1: CAS E: e -> (e + 2) & ~1; FUTEX_WAKE". `done` is the label where it ends. A CAS that fails means
 * that another waker was between, who wakes; nothing is repeated. */
#define LOAD_E(done) \
    if :: E_sleepers -> ADD(fresh, me) :: else -> goto done fi
#define CLEAR_E(done, drain) \
    drain; if :: HAS(fresh, me) -> E_sleepers = 0; fresh = 0 :: else -> goto done fi
#ifdef BAD_CLEAR_AFTER_WAKE
#define WAKE(done, drain) \
    atomic { LOAD_E(done) }; atomic { futex_wake() }; atomic { DRAIN(me); E_sleepers = 0; fresh = 0 }
#else
#define WAKE(done, drain) \
    atomic { LOAD_E(done) }; atomic { CLEAR_E(done, drain) }; atomic { futex_wake() }
#endif

/* The lock was taken in this very step, from w. */
inline taken()
{
    assert(!holding);
    assert((w != 0) == owed);       /* told if, and only if, the last holder died */
    owed = 0;
    w = 0;
    ADD(holding, me)
}

/* Repair, by me. Steps 1 to 3 are other models' matter. */
inline repair(dead, may)
{
    atomic {
        may && NEED_REPAIR -> DEL(queue, me);
        if
        :: DEAD_PROCESS(0) -> dead = 0
        :: DEAD_PROCESS(1) -> dead = 1
        :: DEAD_PROCESS(2) -> dead = 2
        :: DEAD_PROCESS(N) -> dead = N          /* unreached: where N itself repairs */
        fi;
        slot[dead] = DEAD + me;
        WINDOW_OPENS
    }
#ifdef BAD_REPAIR_FREES_LOCK
    atomic {
        if
        :: W == dead + 1 -> W = 0
        :: else
        fi
    }
#endif
#ifndef BAD_NO_STEP4
    atomic {
        assert(!HAS(sb, me));
        if
#ifdef BAD_STEP4_NO_BIT
        :: frame -> skip
#else
        :: frame -> E_sleepers = 1
#endif
        :: else -> goto mended
        fi
    }
#if defined PLAIN && !defined BAD_STEP4_NO_MEMBARRIER
    atomic { drain_all() }
#endif
    atomic {
        if
        :: W == 0 || OWNER_DEAD(W) -> skip
        :: else -> goto mended
        fi
    }
    WAKE(mended, assert(!HAS(sb, me)));
#endif
mended:
    atomic { DEL(frame, dead); DEL(fresh, me); slot[dead] = FREED; WINDOW_CLOSES; dead = 0 }
}

inline die()
{
    if
    :: W == me + 1 -> owed = 1
    :: else
    fi;
    DEL(holding, me); DEL(queue, me); DEL(fresh, me); WINDOW_CLOSES;
    slot[me] = GONE;
    DEL(killed, me)
}

proctype Contender(byte me)
{
    bit timed;
    byte w, d, round;

    {
        skip;
again:  atomic {
            if
            :: round < ROUNDS -> round++
            :: round -> goto end
            fi;
            /* the uncontended path; if it fails, the record says what it will sleep on */
            DRAIN(me);
            if
            :: W == 0 -> W = me + 1; taken(); goto hold
            :: else -> ADD(frame, me)
            fi;
            if
            :: timed = 0
            :: me == 0 -> timed = 1             /* one of them, as they are all alike */
            fi
        }
#ifdef BAD_NO_REBIT
        atomic { E_sleepers = 1 }
#endif
look:
#if defined BAD_NO_REBIT || defined BAD_LOOK_BEFORE_BIT
        atomic { ADD(fresh, me) }
#else
        atomic { assert(!HAS(sb, me)); E_sleepers = 1; ADD(fresh, me) }
#if defined PLAIN && !defined BAD_NO_MEMBARRIER
        atomic { drain_all() }
#endif
#endif
#ifdef BAD_TAKE_BY_STORE
        atomic {
            w = W;
            if
            :: w == 0 || OWNER_DEAD(w) -> skip
            :: else -> w = 0; goto park
            fi
        }
        atomic { W = me + 1; taken(); goto got }
#else
        atomic {
            w = W;
            if
            :: w == 0 || OWNER_DEAD(w) -> W = me + 1; taken(); goto got
            :: else -> w = 0; WINDOW_CLOSES
            fi
        }
#endif
park:
#ifdef BAD_LOOK_BEFORE_BIT
        atomic { assert(!HAS(sb, me)); E_sleepers = 1; ADD(fresh, me) }
#ifdef PLAIN
        atomic { drain_all() }
#endif
#endif
        atomic {
            if
            :: timed -> goto leave              /* the deadline passed while it was awake */
            :: HAS(fresh, me) -> ADD(queue, me)
            :: !HAS(fresh, me) -> goto look     /* -EAGAIN */
            fi
        }
end_asleep:
        if
        :: atomic { !HAS(queue, me) ->                              /* woken */
#ifdef BAD_LEAVE_WITHOUT_LOOK
            if
            :: timed -> goto leave
            :: goto look
            fi
#else
            goto look
#endif
            }
        :: atomic { HAS(queue, me) && timed -> DEL(queue, me); goto leave } /* deadline or signal */
        :: repair(d, HAS(queue, me));
            goto look
        fi;

leave:  atomic { DEL(frame, me); DEL(fresh, me); WINDOW_CLOSES; timed = 0; goto again }

got:    atomic { DEL(frame, me); DEL(fresh, me); WINDOW_CLOSES; timed = 0 }

hold:   atomic {                                /* release: it is mine, so nobody else changes W */
            assert(W == me + 1);
            DEL(holding, me);
#ifdef PLAIN
            ADD(sb, me);
#else
            W = 0;
#endif
            WINDOW_OPENS
        }
        WAKE(released, DRAIN(me));
released:
        atomic { WINDOW_CLOSES; DEL(fresh, me); goto again }
    } unless {
        if
        :: atomic { HAS(killed, me) -> DRAIN(me); die(); w = 0; d = 0; timed = 0; round = 0 }
        :: atomic { HAS(stopped, me) -> DEL(queue, me) }    /* the signal takes it off the queue */
        fi
    }
end:
}

/* Sleeps on something else; repairs. */
proctype Repairer(byte me)
{
    byte d;

    {
        skip;
end_asleep:
        repair(d, true);
        goto end_asleep
    } unless {
        if
        :: atomic { HAS(killed, me) -> die(); d = 0 }
        :: atomic { HAS(stopped, me) }
        fi
    }
}

#ifdef PLAIN
proctype Memory()
{
end: do
    :: atomic { sb -> drain_all() }
    od
}
#endif

#define MAY_STRIKE(p) (!HAS(killed, p) && !HAS(stopped, p) && slot[p] == ALIVE)

/* How many die and are stopped is chosen first, so that a state at rest owes nothing. */
proctype Fate()
{
    byte p;

    do
    :: deaths || stops ->
        atomic {
            if
            :: p = 0
            :: p = 1
            :: p = 2
            :: p = N
            fi;
            if
            :: MAY_STRIKE(p) && deaths -> ADD(killed, p); deaths--
            :: MAY_STRIKE(p) && stops -> ADD(stopped, p); stops--
            :: deaths -> deaths--                   /* came too late */
            :: stops -> stops--
            fi;
            p = 0
        }
    :: else -> break
    od
}

#define STUCK (queue && (W == 0 || OWNER_DEAD(W)))

init {
    byte i;

    atomic {
        do
        :: deaths < DEATHS -> deaths++
        :: break
        od;
        do
        :: stops < STOPS -> stops++
        :: break
        od;
        do
        :: i < N -> run Contender(i); i++
        :: else -> break
        od;
        run Repairer(N);
        run Fate();
#ifdef PLAIN
        run Memory();
#endif
        i = 0
    }
    /* Nothing moves any more. */
    do
    :: timeout ->
        atomic {
#ifdef NET
            if
            :: !net_used -> net_used = 1; queue = 0
            :: else -> break
            fi
#else
            break
#endif
        }
    od;
    atomic {
        assert(!sb);
#ifdef NET
        assert(!STUCK)
#else
        /* a stop in one of these windows is the net's matter */
        assert(!STUCK || (window & stopped))
#endif
    }
}
