/*
 * The semaphore: permits beside the eventcount of docs/design.md 4, with the baton, and repair's
 * step 4.
 *
 * N processes acquire one permit each, one of them with a deadline (not with TIMED=0; the one that
 * NOW names does not wait at all); one releases RELEASES permits, one at a time; one has nothing to
 * do with the semaphore and only repairs. Any may be killed or stopped before any step. The permits
 * change by locked instructions only, so there is no store buffer for them. E's sequence and
 * "fresh": see lock.pml.
 *
 * With POCKET one more permit may lie in the pocket, which names the releaser at first: it gives
 * the first permit there, by a plain store that lies in its store buffer (sb) as in lock.pml. Who
 * takes it writes its own name there. Looks at the pocket and at the permits are steps of their
 * own.
 *
 * Judged: no permit is lost or made; and whenever nothing moves any more, nobody sleeps while
 * there are permits. When NET is set, sleepers look once more after everything has come to rest.
 */
#ifndef RELEASES
#define RELEASES 3
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#ifndef STOPS
#define STOPS 0
#endif

#ifndef N
#define N 3                         /* who acquire; N releases, N + 1 repairs */
#endif
#ifndef NOW
#define NOW 255
#endif
#ifndef TIMED
#define TIMED 1
#endif
#define ALL (N + 2)
#define BIT(p) (1 << (p))
#define HAS(m, p) ((m) & BIT(p))
#define ADD(m, p) m = m | BIT(p)
#define DEL(m, p) m = m & ~BIT(p)

byte permits;
#ifdef POCKET
#define FULL 255
byte pocket = N + 1;                /* FULL, or who may fill it, + 1 */
bit sb;                             /* the releaser's store of FULL is on its way */
#define DRAIN if :: sb -> pocket = FULL; sb = 0 :: else fi
#define IN_POCKET (pocket == FULL)
#else
#define DRAIN skip
#define IN_POCKET false
#endif
/* Goes to `none` if there are no permits, otherwise to `some`, which follows. */
#if defined POCKET && !defined BAD_AVAILABLE_WITHOUT_POCKET
#define AVAILABLE_OR(none, some) \
    atomic { if :: permits -> WINDOW_OPENS; goto some :: else fi }; \
    atomic { if :: IN_POCKET -> WINDOW_OPENS :: else -> goto none fi }
#else
#define AVAILABLE_OR(none, some) atomic { if :: permits -> WINDOW_OPENS :: else -> goto none fi }
#endif
bit E_sleepers;
byte fresh;                         /* E unchanged since this one loaded or changed it */
byte queue;                         /* asleep in the kernel on E */
byte frame;                         /* the record says "sleeps on this semaphore" */

#define ALIVE 0
#define GONE 1                      /* killed, life word marked, nobody has confirmed it yet */
#define FREED 2                     /* repaired, generation + 1 */
#define DEAD 3                      /* DEAD + r: confirmed, r has the right to repair */
byte slot[ALL];

byte killed, stopped;               /* Fate's orders */
byte deaths, stops;

byte given, taken;                  /* ghosts */
byte window;                        /* ghost: is in a step whose stop the design leaves to the net */
bit net_used;

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
#define NEED_REPAIR \
    (DEAD_PROCESS(0) || DEAD_PROCESS(1) || DEAD_PROCESS(2) || DEAD_PROCESS(N) || DEAD_PROCESS(N + 1))

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

/* "if E & 1: CAS E: e -> (e + 2) & ~1; FUTEX_WAKE". `done` is the label where it ends. */
#define LOAD_E(done) \
    if :: E_sleepers -> ADD(fresh, me) :: else -> goto done fi
#define CLEAR_E(done) \
    if :: me == N -> DRAIN :: else fi; \
    if :: HAS(fresh, me) -> E_sleepers = 0; fresh = 0 :: else -> goto done fi
#ifdef BAD_CLEAR_AFTER_WAKE
#define WAKE(done) \
    atomic { LOAD_E(done) }; atomic { futex_wake() }; atomic { E_sleepers = 0; fresh = 0 }
#else
#define WAKE(done) \
    atomic { LOAD_E(done) }; atomic { CLEAR_E(done) }; atomic { futex_wake() }
#endif

/* Repair, by me. Steps 1 to 3 are other models' matter. */
inline repair(dead, may)
{
    atomic {
        may && NEED_REPAIR -> DEL(queue, me);
        if
        :: DEAD_PROCESS(0) -> dead = 0
        :: DEAD_PROCESS(1) -> dead = 1
        :: DEAD_PROCESS(2) -> dead = 2
        :: DEAD_PROCESS(N) -> dead = N
        :: DEAD_PROCESS(N + 1) -> dead = N + 1  /* unreached: where it repairs itself */
        fi;
        slot[dead] = DEAD + me;
        WINDOW_OPENS
    }
#ifndef BAD_NO_STEP4
    atomic {
        if
#ifdef BAD_STEP4_NO_BIT
        :: frame -> skip
#else
        :: frame -> E_sleepers = 1
#endif
        :: else -> goto mended
        fi
    }
#ifndef BAD_STEP4_NO_MEMBARRIER
    atomic { DRAIN }
#endif
    AVAILABLE_OR(mended, ready);
ready:
    WAKE(mended);
#endif
mended:
    atomic { DEL(frame, dead); DEL(fresh, me); slot[dead] = FREED; WINDOW_CLOSES; dead = 0 }
}

inline die()
{
    DEL(queue, me); DEL(fresh, me); WINDOW_CLOSES;
    slot[me] = GONE;
    DEL(killed, me)
}

proctype Acquirer(byte me)
{
    bit timed;
    byte d;

    {
#ifdef POCKET
        atomic {
            if
            :: IN_POCKET -> pocket = me + 1; taken++; goto end
            :: else
            fi
        }
#endif
        atomic {
            /* the uncontended path; if it fails, the record says what it will sleep on */
            if
            :: permits -> permits--; taken++; goto end
            :: !permits && me == NOW -> goto end        /* does not wait */
            :: !permits && me != NOW -> ADD(frame, me)
            fi;
            if
            :: timed = 0
            :: me == 0 && TIMED -> timed = 1    /* one of them, as they are all alike */
            fi
        }
#ifdef BAD_NO_REBIT
        atomic { E_sleepers = 1 }
#endif
look:
#if defined BAD_NO_REBIT || defined BAD_LOOK_BEFORE_BIT
        atomic { ADD(fresh, me) }
#else
        atomic { E_sleepers = 1; ADD(fresh, me) }
#endif
#ifdef POCKET
#ifndef BAD_NO_MEMBARRIER
        atomic { DRAIN }
#endif
try:    atomic {
            if
            :: IN_POCKET -> pocket = me + 1; taken++; goto got
            :: else
            fi
        }
#endif
        atomic {
            if
            :: permits -> permits--; taken++; goto got
            :: else -> WINDOW_CLOSES
            fi
        }
#ifdef POCKET
        atomic {
            if
            :: IN_POCKET -> goto try
            :: else
            fi
        }
#endif
#ifdef BAD_LOOK_BEFORE_BIT
        atomic { E_sleepers = 1; ADD(fresh, me) }
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

got:    skip;                                   /* the baton */
#ifndef BAD_NO_BATON
        AVAILABLE_OR(leave, pass);
pass:   WAKE(leave);
#endif
leave:  atomic { DEL(frame, me); DEL(fresh, me); WINDOW_CLOSES; timed = 0; goto end }
    } unless {
        if
        :: atomic { HAS(killed, me) -> die(); d = 0; timed = 0 }
        :: atomic { HAS(stopped, me) -> DEL(queue, me) }    /* the signal takes it off the queue */
        fi
    }
end:
}

proctype Releaser(byte me)
{
    byte round;

    {
        skip;
again:  atomic {
            if
#ifdef POCKET
            :: round < RELEASES && pocket == me + 1 && !sb ->
                round++; given++; sb = 1; WINDOW_OPENS  /* what it has stored itself it sees */
            :: round < RELEASES ->                      /* not its, or as another's would go */
                DRAIN; round++; permits++; given++; WINDOW_OPENS
            :: round >= RELEASES -> goto end
#else
            :: round < RELEASES -> round++; permits++; given++; WINDOW_OPENS
            :: else -> goto end
#endif
            fi
        }
        WAKE(released);
released:
        atomic { WINDOW_CLOSES; DEL(fresh, me); goto again }
    } unless {
        if
        :: atomic { HAS(killed, me) -> DRAIN; die(); round = 0 }
        :: atomic { HAS(stopped, me) }
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

#ifdef POCKET
proctype Memory()
{
end: do
    :: atomic { sb -> DRAIN }
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
            :: p = N + 1
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

#define STUCK (queue && (permits || IN_POCKET))

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
        :: i < N -> run Acquirer(i); i++
        :: else -> break
        od;
        run Releaser(N);
        run Repairer(N + 1);
        run Fate();
#ifdef POCKET
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
        assert(given == taken + permits + IN_POCKET);
#ifdef NET
        assert(!STUCK)
#else
        /* a stop in one of these windows is the net's matter */
        assert(!STUCK || (window & stopped))
#endif
    }
}
