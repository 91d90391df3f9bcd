/*
 * Watching (docs/design.md 3): who notices a death while everybody who could is asleep.
 *
 * Four processes go to sleep, each on a word of its own, at any time; here there are two roles
 * instead of eight, so two of the four are watchers and two are ordinary sleepers. The world wakes
 * up to LEAVES of them by their own word: such a one leaves (its deadline is the same thing) and
 * computes for ever, or sleeps again. Any may be killed (DEATHS) or stopped (STOPS) before any
 * step.
 *
 * futex_waitv: who was woken on one word stays queued on its others until it runs again, and can
 * swallow wake-ups there; it is told of one word only, the last of its list. The list is: own
 * word, then roles or life words. The kernel, when a thread ends: marks its life word and wakes
 * one waiter; marks the role it holds and wakes one waiter; and where it died between unlock and
 * wake with the mutex named in list_op_pending, wakes one (KERNEL).
 *
 * Judged, when nothing moves any more: if anybody sleeps, nobody dead is left unrepaired, and if
 * an ordinary sleeper is left, its roles are taken, so that the next death finds as many watchers
 * as the first. HANDOVER is how many sleepers an unlock wakes. What is covered: models/README.md.
 */
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef LEAVES
#define LEAVES 1
#endif
#ifndef HANDOVER
#define HANDOVER 1
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef KERNEL
#define KERNEL 1
#endif

#define N 4
#define BIT(p) (1 << (p))
#define HAS(m, p) ((m) & BIT(p))
#define ADD(m, p) m = m | BIT(p)
#define DEL(m, p) m = m & ~BIT(p)

byte role[2];                       /* holder + 1; 0 is free (or marked, which is the same) */
byte asleep;                        /* queued on the words of its list */
byte woken[N];                      /* on which of them it was woken */
#define OWN 1
#define ROLE(r) (2 << (r))
#define ROLES (ROLE(0) | ROLE(1))
#define LIFE(d) (8 << (d))
#define NET_WAKES 128
byte unlocking[N];                  /* list_op_pending: role + 1 */

#define ALIVE 0
#define GONE 1                      /* life word marked, nobody has confirmed it yet */
#define FREED 2
#define DEAD 3                      /* DEAD + r: r repairs */
byte slot[N];

byte killed, stopped, deaths, stops, leaves;

#ifdef BAD_NO_TAKEOVER
#define NEED(p) (slot[p] == GONE)
#define UNREPAIRED(p) (slot[p] == GONE || (slot[p] >= DEAD && slot[slot[p] - DEAD] >= FREED))
#else
#define NEED(p) (slot[p] == GONE || (slot[p] >= DEAD && slot[slot[p] - DEAD] >= FREED))
#define UNREPAIRED(p) NEED(p)
#endif
#define NEED_REPAIR (NEED(0) || NEED(1) || NEED(2) || NEED(3))
#define WATCHES(p) (role[0] == (p) + 1 || role[1] == (p) + 1)

#define ORDINARY(p) (HAS(asleep, p) && !WATCHES(p))
#define ON_ROLE(p, r) (ORDINARY(p) && !(woken[p] & ROLE(r)))
#define WAKE_ROLE_IF(p, r) ON_ROLE(p, r) -> woken[p] = woken[p] | ROLE(r)
inline wake_role(r)
{
    if
    :: WAKE_ROLE_IF(0, r)
    :: WAKE_ROLE_IF(1, r)
    :: WAKE_ROLE_IF(2, r)
    :: WAKE_ROLE_IF(3, r)
    :: !(ON_ROLE(0, r) || ON_ROLE(1, r) || ON_ROLE(2, r) || ON_ROLE(3, r))
    fi
}

#define ON_LIFE(p, d) (HAS(asleep, p) && WATCHES(p) && (p) != d)
#define WAKE_LIFE_IF(p, d) ON_LIFE(p, d) -> woken[p] = woken[p] | LIFE(d)
inline wake_life(d)
{
    if
    :: WAKE_LIFE_IF(0, d)
    :: WAKE_LIFE_IF(1, d)
    :: WAKE_LIFE_IF(2, d)
    :: WAKE_LIFE_IF(3, d)
    :: !(ON_LIFE(0, d) || ON_LIFE(1, d) || ON_LIFE(2, d) || ON_LIFE(3, d))
    fi
}

inline die()
{
    slot[me] = GONE;
    DEL(killed, me);
    DEL(asleep, me);
    wake_life(me);
    if
    :: role[0] == me + 1 -> role[0] = 0; wake_role(0)
    :: role[1] == me + 1 -> role[1] = 0; wake_role(1)
    :: KERNEL && unlocking[me] == 1 -> wake_role(0)
    :: KERNEL && unlocking[me] == 2 -> wake_role(1)
    :: else
    fi;
    unlocking[me] = 0; woken[me] = 0
}

proctype Sleeper(byte me)
{
    bit leaving;
    byte d, r, round;

    {
        skip;
        /* park(): a role, if one is free */
again:  atomic {
            if
            :: WATCHES(me) -> goto watch
            :: !WATCHES(me) && role[0] == 0 -> role[0] = me + 1; goto pass
            :: else
            fi
        }
        atomic {
            if
            :: role[1] == 0 -> role[1] = me + 1; goto watch
            :: role[1] != 0 && leaving -> goto out
            :: else -> goto doze
            fi
        }

        /* It may have swallowed the wake-up on the other role too: pass that on. */
pass:   skip;
#ifndef BAD_SWALLOWS_OTHER
        atomic {
            if
            :: role[1] == 0 -> wake_role(1)
            :: else
            fi
        }
#endif

        /* A watcher looks at all life words, and repairs. */
watch:
#ifndef BAD_NO_LOOK
        atomic {
            if
            :: NEED(0) -> d = 0; slot[d] = DEAD + me
            :: NEED(1) -> d = 1; slot[d] = DEAD + me
            :: NEED(2) -> d = 2; slot[d] = DEAD + me
            :: NEED(3) -> d = 3; slot[d] = DEAD + me
            :: else -> goto calm
            fi
        }
        atomic { slot[d] = FREED; d = 0 }
#ifndef BAD_REPAIR_WAKES_NO_ROLE
        atomic {
            if
            :: role[0] == 0 -> wake_role(0)
            :: else
            fi
        }
        atomic {
            if
            :: role[1] == 0 -> wake_role(1)
            :: else
            fi
        }
#endif
        goto watch;
calm:
#endif
        if
        :: leaving -> goto leave
        :: else
        fi;
        atomic {                                        /* futex_waitv looks at the values once more */
            if
#ifndef BAD_NO_LOOK
            :: NEED_REPAIR -> goto watch
            :: else -> ADD(asleep, me); goto wait
#else
            :: ADD(asleep, me); goto wait
#endif
            fi
        }

doze:   atomic {                                        /* an ordinary sleeper */
            if
            :: role[0] == 0 || role[1] == 0 -> goto again
            :: else -> ADD(asleep, me)
            fi
        }

wait:   skip;
end_asleep:
        atomic {
            woken[me] ->
            DEL(asleep, me);
            leaving = woken[me] & OWN;
            if
#ifdef BAD_SWALLOWS_ROLE
            :: woken[me] & OWN -> woken[me] = 0; goto leave
#else
            :: woken[me] == OWN -> woken[me] = 0; goto leave    /* told of its own word: only that */
#endif
#ifdef BAD_NO_LOOK
            :: woken[me] & ~(OWN | ROLES) -> woken[me] = 0; goto mend
#endif
#ifdef NET                                              /* looks at all life words, watcher or not */
            :: woken[me] & NET_WAKES -> woken[me] = 0; leaving = 0; goto watch
#endif
            :: else -> woken[me] = 0; goto again
            fi
        }
#ifdef BAD_NO_LOOK                                      /* it repairs only whom the wake-up named */
mend:   atomic {
            if
            :: slot[0] == GONE -> slot[0] = FREED
            :: slot[1] == GONE -> slot[1] = FREED
            :: slot[2] == GONE -> slot[2] = FREED
            :: slot[3] == GONE -> slot[3] = FREED
            :: else
            fi;
            goto again
        }
#endif

        /* unlock and wake */
leave:  atomic {
            if
            :: role[0] == me + 1 -> r = 0; role[0] = 0; unlocking[me] = 1
            :: role[1] == me + 1 -> r = 1; role[1] = 0; unlocking[me] = 2
            :: else -> goto out
            fi
        }
#ifndef BAD_NO_HANDOVER
        atomic {
#ifdef BAD_VACANT                                       /* nobody takes it while another role is held */
            if
            :: role[1 - r] != 0 -> unlocking[me] = 0; goto out
            :: else
            fi;
#endif
            wake_role(r);
#if HANDOVER > 1
            wake_role(r);
#endif
            unlocking[me] = 0
        }
#endif
out:    atomic {
            leaving = 0; r = 0; unlocking[me] = 0;
            if
            :: round + 1 < ROUNDS -> round++; goto again
            :: goto end
            fi
        }
    } unless {
        if
        :: atomic { HAS(killed, me) -> die(); leaving = 0; d = 0; r = 0; round = 0 }
        :: atomic { HAS(stopped, me) -> DEL(asleep, me); woken[me] = 0 }
        fi
    }
end:
}

/* Own words are woken. */
proctype World()
{
end_world:
    do
    :: atomic { leaves && HAS(asleep, 0) && !(woken[0] & OWN) -> leaves--; woken[0] = woken[0] | OWN }
    :: atomic { leaves && HAS(asleep, 1) && !(woken[1] & OWN) -> leaves--; woken[1] = woken[1] | OWN }
    :: atomic { leaves && HAS(asleep, 2) && !(woken[2] & OWN) -> leaves--; woken[2] = woken[2] | OWN }
    :: atomic { leaves && HAS(asleep, 3) && !(woken[3] & OWN) -> leaves--; woken[3] = woken[3] | OWN }
    od
}

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
            :: p = 3
            fi;
            if
            :: MAY_STRIKE(p) && deaths -> ADD(killed, p); deaths--
            :: MAY_STRIKE(p) && stops -> ADD(stopped, p); stops--
            :: deaths -> deaths--                       /* came too late */
            :: stops -> stops--
            fi;
            p = 0
        }
    :: else -> break
    od
}

#define NET_WAKE(p) \
    if :: HAS(asleep, p) -> woken[p] = woken[p] | NET_WAKES :: else fi

init {
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
        :: leaves < LEAVES -> leaves++
        :: break
        od;
        run Sleeper(0);
        run Sleeper(1);
        run Sleeper(2);
        run Sleeper(3);
        run World();
        run Fate()
    }
    /* Nothing moves any more. */
    timeout;
#ifdef NET
    atomic {
        NET_WAKE(0); NET_WAKE(1); NET_WAKE(2); NET_WAKE(3)
    }
    timeout;
#endif
    atomic {
        assert(!asleep ||
            !(UNREPAIRED(0) || UNREPAIRED(1) || UNREPAIRED(2) || UNREPAIRED(3)));
#ifdef BAD_VACANT
        assert(role[0] || role[1] || stopped ||
#else
        /* and the watch is again at full strength: an ordinary sleeper's roles are all taken */
        assert((role[0] && role[1]) || stopped ||
#endif
            !(ORDINARY(0) || ORDINARY(1) || ORDINARY(2) || ORDINARY(3)))
    }
}
