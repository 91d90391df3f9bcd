/*
 * The pool's units (src/pool/units.c): who does a task, what a death leaves, who is woken.
 *
 * A parent gives TASKS tasks, cancels up to CANCELS of them, tells what becomes of them, and replaces workers that have ended. N workers
 * claim units, do and commit them, and sleep when there is none. One more process only repairs, as somebody asleep on another object
 * would: it confirms a death and rouses who sleeps on the pool. Workers may be killed (DEATHS, and the parent's own kills) or stopped
 * for good (STOPS) before any step; a stop that ends is nothing else than being slow. The net is off.
 *
 * A run is one unit here. There are PLACES of them, used again as soon as what lies there is told, and a directory of RUNS
 * entries: position p's place is in entry p % RUNS. Fewer places than tasks make a slow worker meet other names.
 *
 * With MAP the tasks are the parts of one map: they are published at once, and who counts the last one wakes the parent. With LIMIT task 0
 * never ends, and has a limit: the parent sleeps where its thread does, on `care`. With CLOSE the pool is closed when all is given.
 *
 * Judged: each task is told once: done, with the result of the worker that the claim names; or lost with a worker that had begun it; or
 * cancelled, if that was asked for; what was doomed is never told done, and its worker claims nothing more; nothing below `next` is FREE. When
 * nothing moves any more, everything is told, but for what a stopped worker has, or what is due to one stopped in a window, as in lock.pml.
 */
#ifndef N
#define N 2
#endif
#ifndef TASKS
#define TASKS 2
#endif
#ifndef PLACES
#define PLACES 2
#endif
#ifndef RUNS
#define RUNS PLACES
#endif
#ifndef TRIES
#define TRIES 0
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef CANCELS
#define CANCELS 0
#endif

#define REPAIRER N
#define PARENT (N + 1)
#define BIT(p) (1 << (p))
#define HAS(m, p) ((m) & BIT(p))
#define ADD(m, p) m = m | BIT(p)
#define DEL(m, p) m = m & ~BIT(p)
#define MIN(a, b) ((a) < (b) -> (a) : (b))

/* ---- shared ---- */

#define NONE 0
#define FREE 1
#define CLAIMED 2
#define DONE 3
#define DOOMED 4
byte tail, next;                    /* positions; a name is its position + 1 */
byte directory[RUNS];               /* place + 1 */
byte claim_name[PLACES], claim_worker[PLACES], claim_state[PLACES];    /* a claim is these three, and changes as one */
byte link[PLACES], work[PLACES];    /* `next` in the list; ARGUMENT(task), then RESULT(task, worker) */
byte finished;
byte want[N];
byte item;                          /* bit of each worker: 0 is NOT_BEGUN */
byte began;                         /* bit of each worker, with LIMIT */
byte not_counted;                      /* of the map; below 0 is 0 here */
bit closed;

#define ARGUMENT(t) ((t) + 1)
#define RESULT(t, w) (16 + (t) * 4 + (w))
#define PLACE(n) (directory[((n) - 1) % RUNS] - 1)
#ifdef BAD_NO_NAME
#define CLAIM_IS(u, n, s) (claim_state[u] == (s))
#else
#define CLAIM_IS(u, n, s) (claim_name[u] == (n) && claim_state[u] == (s))
#endif

/* Eventcounts: as in lock.pml "fresh" is: unchanged since this one looked. */
bit work_bit, done_bit;
byte work_fresh, done_fresh;
byte queue;                         /* workers asleep in the kernel on `work` */
bit parent_sleeps;                  /* the parent, on `done` */
byte frames;                        /* who has a frame that says: sleeps on the pool */

/* ---- lives ---- */

byte killed, stopped, doomed;       /* orders: Fate's; `doomed`: the parent has sent a signal that has not arrived */
byte process = (1 << N) - 1;        /* those that the parent has started and not closed */
byte gone;                          /* of them have died or ended */
byte unrepaired, confirmed;         /* their slots do not show it yet; show it */
byte deaths, stops;

/* ---- the parent's own; ghosts ---- */

byte own_tail, outstanding;
byte owner[PLACES];                 /* task + 1 */
byte unit[TASKS];
byte tries[TASKS];
byte given;                         /* tasks given */
byte told, cancelled;               /* bit of each task; cancelled: it was asked for */
byte cancels;
byte reason;                        /* bit of each worker: killed by the parent for what it is at */
byte begun;                         /* ghost: bit of each place: the function was called */
byte doomed_task;                   /* ghost */
byte doomed_worker;                 /* ghost: its present life */
byte window;                        /* ghost: in a step whose stop is the net's matter */

#if STOPS
#define WINDOW_OPENS ADD(window, me)
#define WINDOW_CLOSES DEL(window, me)
#define WOKEN(p) DEL(queue, p); ADD(window, p)
#else
#define WINDOW_OPENS skip
#define WINDOW_CLOSES skip
#define WOKEN(p) DEL(queue, p)
#endif

#define FREE_BELOW(to) (BELOW(0, to) || (PLACES > 1 && BELOW(1 % PLACES, to)) || (PLACES > 2 && BELOW(2 % PLACES, to)))
#define BELOW(u, to) (claim_state[u] == FREE && claim_name[u] <= (to))

inline wake_one()
{
    if
    :: HAS(queue, 0) -> WOKEN(0)
    :: HAS(queue, 1) -> WOKEN(1)
#if N > 2
    :: HAS(queue, 2) -> WOKEN(2)
#endif
    :: !queue
    fi
}

inline wake_all()
{
#if STOPS
    window = window | queue;
#endif
    queue = 0
}

/* wait_wake, after a locked instruction that changed what is awaited, up to `done`. Looking and the CAS are one step: when the CAS fails it
 * looks again. */
#ifdef BAD_CLEAR_AFTER_WAKE
#define WAKE_WORK(done, wake) \
    atomic { if :: work_bit -> wake :: else -> goto done fi }; \
    atomic { work_bit = 0; work_fresh = 0 }
#else
#define WAKE_WORK(done, wake) \
    atomic { if :: work_bit -> work_bit = 0; work_fresh = 0 :: else -> goto done fi }; \
    atomic { wake }
#endif
/* units_publish: one for each unit; who finds that there were as many to be woken sets the bit again, as others may sleep. */
#define TWO_SLEEP ((HAS(queue, 0) && HAS(queue, 1)) || (HAS(queue, 0) && HAS(queue, 2)) || (HAS(queue, 1) && HAS(queue, 2)))
#ifdef BAD_CLEAR_AFTER_WAKE
#define WAKE_UNITS(done, enough, wake) \
    atomic { if :: work_bit -> wake :: else -> goto done fi }; \
    atomic { work_bit = 0; work_fresh = 0 }
#else
#define WAKE_UNITS(done, enough, wake) \
    atomic { if :: work_bit -> work_bit = 0; work_fresh = 0 :: else -> goto done fi }; \
    atomic { more = enough; wake }; \
    BIT_BACK
#endif
#ifdef BAD_NO_BIT_BACK
#define BIT_BACK skip
#else
#define BIT_BACK atomic { work_bit = work_bit | more; more = 0 }
#endif
#define WAKE_DONE(done) \
    atomic { if :: done_bit -> done_bit = 0; done_fresh = 0 :: else -> goto done fi }; \
    atomic { parent_sleeps = 0 }

/* ---- a worker ---- */

inline move_on(to)
{
    if
    :: next < to -> next = to; assert(!FREE_BELOW(next))
    :: else
    fi
}

/* Of the parts of a map only the last one to count wakes. */
#define COUNT \
    atomic { \
        if \
        :: not_counted > 1 -> not_counted--; goto woken \
        :: else -> not_counted = 0 \
        fi \
    }

proctype Worker(byte me)
{
    byte t, p, u;
    bit awake = 1, last, glance;                /* has no frame; knows that nothing more is given; has been woken, and looks */

life:
    {
        skip;
claim:  atomic {                                /* that `next` is newer only leaves out what is not FREE */
            t = tail; p = next;
            if
            :: p >= t -> goto none
            :: else
            fi
        };
look:   atomic {
            u = PLACE(p + 1);
            if
            :: CLAIM_IS(u, p + 1, FREE) ->
#ifndef BAD_ITEM_AFTER_CLAIM
                DEL(item, me);
#endif
#ifndef BAD_WANT_AFTER_CLAIM
                want[me] = p + 1
#endif
            :: else -> goto miss
            fi
        };
#ifdef BAD_NEXT_FIRST
        atomic { move_on(p + 1) };
#endif
        atomic {
            if
#ifdef BAD_CLAIM_BY_STORE
            :: true ->
#else
            :: CLAIM_IS(u, p + 1, FREE) ->
#endif
                assert(!HAS(doomed_worker, me));
                claim_state[u] = CLAIMED; claim_worker[u] = me; last = 0; t = 0;
                if
                :: !awake -> WINDOW_OPENS
                :: else
                fi;
                goto got
#ifndef BAD_CLAIM_BY_STORE
            :: else -> goto miss
#endif
            fi
        };
miss:   atomic {
            u = 0; p++;
            if
            :: p >= t -> goto none
            :: else -> goto look
            fi
        };
got:
#ifdef BAD_WANT_AFTER_CLAIM
        atomic { want[me] = p + 1 };
#endif
#ifdef BAD_ITEM_AFTER_CLAIM
        atomic { DEL(item, me) };
#endif
        atomic {
            p++; move_on(p);                    /* p is its name now */
            if
            :: awake -> goto begin
            :: else
            fi
        };
        atomic { awake = 1; glance = 0; DEL(frames, me); DEL(work_fresh, me) };
begin:
#ifdef LIMIT
        atomic {
            WINDOW_CLOSES;
            if
            :: work[u] == ARGUMENT(0) -> ADD(began, me)
            :: else -> goto call
            fi
        };
        WAKE_DONE(call);
call:
#endif
        atomic {
            WINDOW_CLOSES;
            assert(work[u] == ARGUMENT(owner[u] - 1));
#ifdef BAD_NOT_BEGUN_AND_WRITTEN
            if
            :: ADD(item, me)
            :: skip                             /* it does not know the function */
            fi;
#else
            ADD(item, me);
#endif
            ADD(begun, u);
#ifdef LIMIT
            if
            :: work[u] == ARGUMENT(0) -> goto end_endless
            :: else
            fi;
#endif
            work[u] = RESULT(work[u] - 1, me)
        };
#ifdef BAD_PUSH_BEFORE_COMMIT
        atomic { link[u] = finished; finished = p };
#endif
#ifdef BAD_COUNT_FIRST
        COUNT;
        WAKE_DONE(commit);
commit:
#endif
        atomic {
            u = PLACE(p);
            if
#ifdef BAD_COMMIT_BY_STORE
            :: true -> claim_state[u] = DONE; WINDOW_OPENS
#else
            :: CLAIM_IS(u, p, CLAIMED) && claim_worker[u] == me -> claim_state[u] = DONE; WINDOW_OPENS
#endif
#ifdef BAD_DOOMED_GOES_ON
            :: else -> p = 0; u = 0; goto claim
#elif !defined BAD_COMMIT_BY_STORE
            :: else -> goto end_doomed
#endif
            fi
        };
#ifdef BAD_WAKE_BEFORE_PUSH
        WAKE_DONE(push);
push:
#endif
#ifdef BAD_PUSH_BY_STORE
        atomic { link[u] = finished };
#endif
        atomic {                                /* a push whose CAS fails reads again */
#if !defined BAD_PUSH_BY_STORE && !defined BAD_PUSH_BEFORE_COMMIT
            link[u] = finished;
#endif
#ifndef BAD_PUSH_BEFORE_COMMIT
            finished = p;
#endif
            p = 0; u = 0
        };
#if defined MAP && !defined BAD_COUNT_FIRST
        COUNT;
#endif
#ifndef BAD_WAKE_BEFORE_PUSH
        WAKE_DONE(woken);
#endif
woken:  atomic { WINDOW_CLOSES; goto claim };

none:   atomic {
#ifdef BAD_MOVE_ON_TO_TAIL
            move_on(tail);
#else
            move_on(p);
#endif
            t = 0; p = 0;
            if
#ifdef BAD_LOOK_BEFORE_CLOSED
            :: closed && !awake -> goto retire
#endif
            :: last -> goto retire
            :: closed && !last -> WINDOW_CLOSES; last = 1; goto claim
            :: !closed && (awake || glance) -> glance = 0; goto announce
            :: !closed && !awake && !glance -> WINDOW_CLOSES
            fi
        };
        atomic {
#ifdef BAD_LOOK_BEFORE_BIT
            work_bit = 1; ADD(work_fresh, me);
#endif
            if
            :: HAS(work_fresh, me) -> ADD(queue, me)
            :: else -> goto announce
            fi
        };
end_asleep:
        atomic { !HAS(queue, me) -> glance = 1; goto claim };   /* looks at once, the bit is not its matter */
announce:
        atomic {
#ifdef BAD_NO_BIT_AGAIN
            work_bit = work_bit | awake;
#elif !defined BAD_LOOK_BEFORE_BIT
            work_bit = 1;
#endif
            awake = 0; ADD(frames, me); ADD(work_fresh, me); goto claim
        };
end_doomed:
end_endless:
        false
    } unless {
        if
        :: atomic { HAS(killed, me) -> skip }
        :: atomic { HAS(stopped, me) -> DEL(queue, me) };  /* the signal takes it off the queue */
end_stopped:
            HAS(killed, me)
        fi
    };
    goto dead;
retire:
    atomic { assert(DEATHS || CANCELS || !FREE_BELOW(tail)) };
dead:
    atomic {
        DEL(queue, me); DEL(work_fresh, me); WINDOW_CLOSES; DEL(doomed_worker, me);
        DEL(killed, me); DEL(doomed, me); DEL(stopped, me);
        t = 0; p = 0; u = 0; awake = 1; last = 0; glance = 0;
        DEL(frames, me);
        ADD(gone, me); ADD(unrepaired, me)
    };
end_gone:
    atomic { !HAS(gone, me) && HAS(process, me) -> goto life }      /* another one in its place */
}

/* ---- the parent ---- */

#define OPEN(u) (owner[u] != 0)
#define SECOND (1 % PLACES)
#define THIRD (2 % PLACES)
#define A_PLACE (!OPEN(0) || !OPEN(SECOND) || !OPEN(THIRD))
#define FREE_PLACE (!OPEN(0) -> 0 : (!OPEN(SECOND) -> SECOND : THIRD))
/* whether the directory's entry for position p is one of a unit that is not told */
#define ENTRY(p) directory[(p) % RUNS]
#define IN_USE(p) (ENTRY(p) && OPEN(ENTRY(p) - 1) && (claim_name[ENTRY(p) - 1] - 1) % RUNS == (p) % RUNS)

/* Nobody looks at it before tail is moved on, but one that comes late. */
inline unit_add(t, u, w)
{
    u = FREE_PLACE;
#ifndef BAD_ENTRY_IN_USE
    do
    :: IN_USE(own_tail) -> own_tail++
    :: else -> break
    od;
#endif
    ENTRY(own_tail) = u + 1;
    owner[u] = t + 1; work[u] = w; DEL(begun, u);
    own_tail++; unit[t] = own_tail;
    claim_name[u] = own_tail; claim_worker[u] = 0;
#ifndef BAD_TAIL_FIRST
    claim_state[u] = FREE;
#endif
    outstanding++; u = 0
}

inline unit_over(u)
{
    if
    :: unit[owner[u] - 1] == claim_name[u] -> unit[owner[u] - 1] = 0
    :: else                                     /* it was given again */
    fi;
    owner[u] = 0; claim_state[u] = NONE; claim_worker[u] = 0; work[u] = 0; DEL(begun, u); outstanding--
}

inline tell(u)
{
    assert(OPEN(u) && !HAS(told, owner[u] - 1));
    ADD(told, owner[u] - 1);
    news = 1;
    unit_over(u)
}

inline tell_done(u)
{
    assert(claim_state[u] == DONE && work[u] == RESULT(owner[u] - 1, claim_worker[u]) && !HAS(doomed_task, owner[u] - 1));
    tell(u)
}

/* pool_settle: what is in the list is nobody else's any more, so that all is one step. */
inline settle()
{
#ifndef BAD_TAKE_BY_STORE
    n = finished;
#endif
    finished = 0;
    do
    :: n -> u = PLACE(n); assert(claim_name[u] == n); n = link[u]; link[u] = 0; tell_done(u)
    :: else -> break
    od;
    u = 0
}

#define ENDED(w) (HAS(gone, w) && (HAS(confirmed, w) || HAS(reason, w)))
#define CHANGED (ENDED(0) || ENDED(1) || (N > 2 && ENDED(2)))
#define RUNNING (HAS(process, 0) + HAS(process, 1) / 2 + HAS(process, 2) / 4)
#ifdef NO_OTHERS                        /* no further process can be had */
#define WANTED 0
#else
#define WANTED (closed -> MIN(outstanding, N) : N)
#endif

/* pool_judge */
inline judge(w)
{
#ifndef BAD_NO_SETTLE
    settle();
#endif
    n = want[w]; want[w] = 0;
#if defined MAP && !defined BAD_NOT_COUNTED
    not_counted = 0;                            /* it may not have counted what it did */
#endif
    if
    :: n -> u = PLACE(n)
    :: else
    fi;
    if
#ifdef BAD_ANY_WORKER
    :: !n || !(claim_name[u] == n && claim_state[u] >= CLAIMED)
#else
    :: !n || !(claim_name[u] == n && claim_worker[u] == w && claim_state[u] >= CLAIMED)    /* it had nothing */
#endif
    :: else ->
        t = owner[u] - 1;
        if
#ifndef BAD_DONE_IS_LOST
        :: claim_state[u] == DONE -> tell_done(u)
#endif
        :: claim_state[u] != DONE && HAS(reason, w) -> assert(HAS(cancelled, t)); tell(u)
        :: claim_state[u] != DONE && !HAS(reason, w) && (!HAS(item, w) || tries[t]) && A_PLACE ->
            if
            :: HAS(item, w) -> tries[t]--; n = ARGUMENT(t)
            :: else -> n = work[u]              /* as it was given */
            fi;
#ifdef BAD_SAME_UNIT_AGAIN
            claim_state[u] = FREE; claim_worker[u] = 0; work[u] = n; DEL(begun, u); again = 1
#else
            unit_add(t, p, n); unit_over(u); again = 1
#endif
        :: else -> assert(claim_state[u] == CLAIMED && (HAS(begun, u) || !A_PLACE)); tell(u)
        fi
    fi;
    DEL(gone, w); DEL(confirmed, w); DEL(reason, w); DEL(process, w);
    DEL(doomed, w); DEL(doomed_worker, w);      /* where it had died before */
    n = 0; u = 0; t = 0
}

inline start(w)
{
    if
    :: !HAS(process, w) && RUNNING < WANTED -> ADD(process, w); DEL(item, w); DEL(began, w)
    :: else
    fi
}

/* workers_limits. It is late at once. */
#define AT(w) (HAS(began, w) && want[w] && !HAS(reason, w))
#define limits(label) \
    atomic { \
        if \
        :: AT(0) -> w = 0 \
        :: AT(1) -> w = 1 \
        :: else -> goto label \
        fi; \
        DEL(frames, me); u = PLACE(want[w]); ADD(cancelled, owner[u] - 1); goto unit_end \
    }

proctype Parent(byte me)
{
    byte n, u, t, w, p;
    bit again, news, waits, more;

begin:
    atomic {
        waits = 0; news = 0;
        if
        :: given < TASKS && A_PLACE ->
#ifdef MAP
            do
            :: given < TASKS -> unit_add(given, p, ARGUMENT(given)); given++; not_counted++
            :: else -> break
            od;
#else
            unit_add(given, p, ARGUMENT(given)); given++;
#endif
            goto publish
#if CANCELS
        :: cancels && outstanding -> goto cancel
#endif
        :: outstanding || closed -> waits = 1; goto heal
#ifdef CLOSE
        :: given == TASKS && !closed -> closed = 1; goto close
        :: given == TASKS && !outstanding && closed && !process -> goto end
#else
        :: given == TASKS && !outstanding -> goto end
#endif
        fi
    };
publish:
#ifdef BAD_WAKE_BEFORE_TAIL
    WAKE_UNITS(tail_is, queue > 0, wake_one());
tail_is:
#endif
    atomic { tail = own_tail };
#ifdef BAD_TAIL_FIRST
    atomic { u = PLACE(own_tail); claim_state[u] = FREE; u = 0 };
#endif
#ifdef BAD_WAKE_BEFORE_TAIL
    goto published;
#endif
#ifdef MAP
    WAKE_UNITS(published, TWO_SLEEP, wake_one(); wake_one());
#else
    WAKE_UNITS(published, queue > 0, wake_one());
#endif
published:
    atomic {
        if
        :: waits -> goto heal
        :: else -> goto begin
        fi
    };
#ifdef CLOSE
close:
    WAKE_WORK(begin, wake_all());
    goto begin;
#endif

#if CANCELS
cancel:
    atomic {
        settle();
        if
        :: unit[0] -> t = 0
        :: TASKS > 1 && unit[1 % TASKS] -> t = 1 % TASKS
        :: TASKS > 2 && unit[2 % TASKS] -> t = 2 % TASKS
        :: !outstanding -> goto begin           /* too late */
        fi;
        cancels--;
        u = PLACE(unit[t]); ADD(cancelled, t); t = 0;
        goto unit_end
    };
#endif
#if CANCELS || defined LIMIT
unit_end:
#ifdef BAD_DOOM_BY_STORE
    atomic { t = claim_state[u] };
#define SEEN t
#else
#define SEEN claim_state[u]
#endif
    atomic {
        assert(claim_state[u] != NONE);
        if
        :: SEEN == FREE -> tell(u); u = 0; t = 0; goto ended
        :: SEEN == CLAIMED ->
            w = claim_worker[u]; ADD(reason, w);
#ifndef BAD_KILL_UNDOOMED
            claim_state[u] = DOOMED; ADD(doomed_task, owner[u] - 1); ADD(doomed_worker, w);
#endif
            u = 0; t = 0
        :: SEEN > CLAIMED -> u = 0; t = 0; goto ended   /* it is done, and will be told; or a kill is under way */
        fi
    };
    atomic { ADD(doomed, w); w = 0 };
ended:
    atomic {
        if
        :: waits -> goto heal
        :: else -> goto begin
        fi
    };
#endif

heal:
    atomic {
        again = 0;
        if
        :: ENDED(0) -> w = 0
        :: ENDED(1) -> w = 1
        :: N > 2 && ENDED(2) -> w = 2
        :: else -> goto healed
        fi;
        judge(w);
        w = 0;
        start(0); start(1);
#if N > 2
        start(2);
#endif
        if
        :: again -> again = 0; goto publish
        :: else -> goto heal
        fi
    };
healed:
#ifdef LIMIT
    limits(within);
within:
#endif
#ifdef BAD_LOOK_BEFORE_DONE_BIT
    atomic { settle() };
#endif
    atomic { done_bit = 1; ADD(done_fresh, me); ADD(frames, me) };
#if defined LIMIT && !defined BAD_LIMIT_BEFORE_BIT
    limits(within_still);
within_still:
#endif
#ifdef BAD_TAKE_BY_STORE
    atomic { n = finished };
#endif
    atomic {                                    /* what changes after this wakes */
#ifndef BAD_LOOK_BEFORE_DONE_BIT
        settle();
#endif
        if
        :: (given < TASKS -> news : !outstanding) && !(closed && process) -> DEL(frames, me); goto begin
#if CANCELS
        :: cancels && outstanding -> DEL(frames, me); goto begin    /* another thread */
#endif
        :: else
        fi;
#ifndef BAD_NO_CHANGED
        if
        :: CHANGED -> DEL(frames, me); goto heal
        :: else
        fi
#endif
    };
    atomic {
        if
        :: HAS(done_fresh, me) -> parent_sleeps = 1
        :: else -> DEL(frames, me); goto heal
        fi
    };
end_sleep:
    atomic { !parent_sleeps -> DEL(frames, me); DEL(done_fresh, me); goto heal };
end:
    skip
}

/* region/life.c: confirms a death, and rouses who sleeps on the pool. */
proctype Repairer(byte me)
{
    byte w;

end_rest:
    atomic {
        if
        :: HAS(unrepaired, 0) -> w = 0
        :: !HAS(unrepaired, 0) && HAS(unrepaired, 1) -> w = 1
        :: N > 2 && !HAS(unrepaired, 0) && !HAS(unrepaired, 1) && HAS(unrepaired, 2) -> w = 2
        fi;
        DEL(unrepaired, w);
        if
        :: HAS(gone, w) -> ADD(confirmed, w)
        :: else                                 /* the parent has killed, judged and replaced it */
        fi;
        w = 0
    };
    atomic {
        if
#ifdef BAD_ROUSE_NO_BIT
        :: frames
#else
        :: frames -> work_bit = 1; done_bit = 1
#endif
        :: else -> goto end_rest
        fi
    };
#ifndef BAD_ROUSE_NO_WORKERS
    WAKE_WORK(roused, wake_all());
#endif
roused:
#ifndef BAD_ROUSE_NO_PARENT
    WAKE_DONE(end_rest);
#endif
    goto end_rest
}

/* How many die and are stopped is chosen first. All workers are alike: if it is only one, it is the first. */
#define STRIKES(p) ((p == 0 || DEATHS + STOPS > 1) && HAS(process, p) && !HAS(gone | killed | stopped, p))
proctype Fate()
{
    byte p;

end_rest:
    do
    :: atomic { (deaths || stops) && (STRIKES(0) || STRIKES(1) || STRIKES(2)) ->
            if
            :: STRIKES(0) -> p = 0
#if DEATHS + STOPS > 1
            :: STRIKES(1) -> p = 1
            :: STRIKES(2) -> p = 2
#endif
            fi;
            if
            :: deaths -> ADD(killed, p); deaths--
            :: stops -> ADD(stopped, p); stops--
            fi;
            p = 0
        }
    :: atomic { doomed ->
            if
            :: HAS(doomed, 0) -> p = 0
            :: HAS(doomed, 1) -> p = 1
            :: HAS(doomed, 2) -> p = 2
            fi;
            DEL(doomed, p);
            if
            :: HAS(gone, p)
            :: else -> ADD(killed, p)
            fi;
            p = 0
        }
    od
}

#define AT_REST(t) (HAS(told, t) || (unit[t] && claim_state[PLACE(unit[t])] == CLAIMED && HAS(stopped, claim_worker[PLACE(unit[t])])) || \
                    (t >= given && stopped))

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
        :: cancels < CANCELS -> cancels++
        :: break
        od;
        do
        :: i < TASKS -> tries[i] = TRIES; i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < N -> run Worker(i); i++
        :: else -> break
        od;
        i = 0;
        run Parent(PARENT);
        run Repairer(REPAIRER);
        run Fate()
    }
    timeout ->                                  /* nothing moves any more */
    atomic {
        do
        :: i < TASKS -> assert(AT_REST(i) || (window & stopped)); i++
        :: else -> break
        od;
        assert(!doomed_worker);
        assert(!closed || !process || stopped)
    }
}
