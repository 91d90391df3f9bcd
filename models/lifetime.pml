/*
 * Lifetime of objects (docs/design.md 5): one header and its column of hold bytes.
 *
 * A creates an object, may give out a reference, may fork K, closes; if the header is free again,
 * it creates a second object in it. K closes what it was born with. O and P open by the newest
 * reference they see, use it and close. R and S repair. Any of them may be killed (DEATHS) or
 * stopped (STOPS) before any step.
 *
 * Every access is one step, in order: the exchanges and CAS are full fences, the creator's and the
 * fast path's plain stores are release stores. Versions and `forks` never wrap: all that is asked
 * of them is "is it still what I read", so there is one bit for each process ("same_state",
 * "same_forks"), cleared by whoever changes it. Threads of one process take turns when they open
 * and close (the process's private lock), so a row has one writer, but for one who creates or
 * closes what nobody else knows: with THREADS there is T, another thread of A's process, which
 * closes in A's row and opens in vain there while A creates.
 *
 * Judged: nobody who holds sees the object go (no use after free), one finisher at a time and
 * memory given back once (no double free), and when nothing moves any more, all is free and every
 * byte 0 (no leak).
 */
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef STOPS
#define STOPS 0
#endif

#ifndef OPENERS
#define OPENERS 1
#endif
#ifndef FORKS
#define FORKS 1
#endif
#ifndef REUSE
#define REUSE 1
#endif

#define BIT(p) (1 << (p))
#define HAS(m, p) ((m) & BIT(p))
#define ADD(m, p) m = m | BIT(p)
#define DEL(m, p) m = m & ~BIT(p)

#define K 0                         /* lower than its parent's: the scan meets it first */
#define A 1
#define O 2
#define P 3
#define R 4
#define S 5
#define T P                         /* of A's process; its row is A's */
#define ROWS (2 + OPENERS)          /* R and S hold nothing themselves */
#define ALL 6

/* the header */
#define FREE 0
#define CREATING 1
#define LIVE 2
#define DEAD 3
byte status, generation;
byte by;                            /* CREATING, DEAD: the slot that does it */
byte payload;                       /* generation whose memory this is; 0 given back */
byte same_state, same_forks;

#define NONE 0
#define HELD 1
#define CLOSING 2
#define OPENING 3                   /* counts as HELD */
byte hold[4];

byte reference;                     /* newest generation whose reference was given out */

/* slots */
#define ALIVE 0
#define GONE 1                      /* killed, not yet confirmed */
#define FREED 2
#define STARTING 3
#define REPAIRED_BY 4
byte slot[ALL];
bit born;                           /* K exists: what the birth token tells */

byte killed, stopped, deaths, stops;
bit private_lock, open_handle;      /* of A's process */
bit handed_over, handed_alone;      /* T is to close what A has created, which nobody else knows */

byte legit;                         /* ghost: who may use the object now */
byte finisher;                      /* ghost: who gives the memory back, + 1 */
bit used_generation;                /* ghost */

#define STATE_CHANGES same_state = 0
#define IS_DEAD(p) (slot[p] == GONE || slot[p] == FREED || slot[p] >= REPAIRED_BY)
#define NEED(p) (slot[p] == GONE || \
    (slot[p] >= REPAIRED_BY && slot[slot[p] - REPAIRED_BY] == FREED))

inline finish_starts()
{
    assert(finisher == 0 || finisher == me + 1 || IS_DEAD(finisher - 1));
    finisher = me + 1
}

/* Close in the name of row v, executed by me; g is the generation that a wrong variant sticks to. */
inline close(v, g)
{
#ifdef BAD_SCAN_BEFORE_MARK
    skip;
#elif defined BAD_NO_CLOSING
    atomic { hold[v] = NONE; DEL(legit, v) }
#else
    atomic { hold[v] = CLOSING; DEL(legit, v) }
#endif
again:
    /* Both are read before the scan; in one step, as reading forks earlier notices more. */
#ifdef BAD_STATE_AFTER_SCAN
    atomic { ADD(same_forks, me); i = 0 }
#else
    atomic {
        ADD(same_forks, me);
        i = 0;
        if
#ifdef BAD_OWN_GENERATION
        :: status == LIVE && generation == g -> ADD(same_state, me)
#else
        :: status == LIVE -> ADD(same_state, me)
#endif
        :: else -> goto done
        fi
    }
#endif
#if defined THREADS && !defined BAD_OWN_BYTE
    atomic {                                            /* another thread of ours created it */
        if
        :: hold[v] == HELD -> goto done
        :: else -> i = 0
        fi
    }
#endif
    do
    :: atomic { i < ROWS && (i == v || hold[i] == NONE) -> i++ }
#ifdef BAD_CLOSING_HOLDS
    :: atomic { i < ROWS && i != v && hold[i] != NONE -> goto done }
#else
    :: atomic { i < ROWS && i != v && hold[i] == CLOSING -> i++ }
    :: atomic { i < ROWS && i != v && (hold[i] == HELD || hold[i] == OPENING) -> goto done }
#endif
    :: atomic { i >= ROWS -> i = 0; break }
    od;
#ifdef BAD_STATE_AFTER_SCAN
    atomic {
        if
        :: status == LIVE -> ADD(same_state, me)
        :: else -> goto done
        fi
    }
#endif
#ifndef BAD_NO_FORKS
    atomic {
        if
        :: HAS(same_forks, me) -> skip
        :: else -> goto again
        fi
    }
#endif
#ifdef BAD_SCAN_BEFORE_MARK
    atomic { hold[v] = CLOSING; DEL(legit, v) }
#endif
    atomic {                                            /* the one commit */
        if
        :: HAS(same_state, me) ->
            assert(status == LIVE && payload == generation);
            assert(!legit);
            status = DEAD; generation++; by = v; STATE_CHANGES;
            finish_starts()
        :: else -> goto again
        fi
    }
finish:
    atomic {                                            /* give the memory back */
        assert(finisher == me + 1);
        assert(payload == generation - 1 || payload == 0);
        payload = 0
    }
    atomic {
        assert(finisher == me + 1 && status == DEAD && by == v && payload == 0);
        status = FREE; finisher = 0; STATE_CHANGES
    }
done:
    atomic {
        if
#ifndef BAD_CLEARS_OTHERS
        :: hold[v] == HELD -> skip                      /* by another thread, meanwhile */
        :: hold[v] != HELD -> hold[v] = NONE; DEL(legit, v)
#else
        :: hold[v] = NONE
#endif
        fi;
        i = 0; DEL(same_state, me); DEL(same_forks, me)
    }
}

inline die()
{
    DEL(legit, me); DEL(same_state, me); DEL(same_forks, me);
    slot[me] = GONE;
    DEL(killed, me)
}

/* What a row v is left with, the dead's or its unborn child's: finish, or close. */
inline look_at_row()
{
    atomic {
        if
        :: hold[v] == NONE -> goto done
#ifdef BAD_NO_NAME
        :: hold[v] != NONE && status == DEAD ->
            hold[v] = CLOSING; by = v; finish_starts(); goto finish
        :: hold[v] != NONE && status == CREATING ->
#else
        :: hold[v] != NONE && status == DEAD && by == v ->
            hold[v] = CLOSING; finish_starts(); goto finish
        :: hold[v] != NONE && status == CREATING && by == v ->
#endif
            hold[v] = CLOSING; status = DEAD; generation++; by = v; STATE_CHANGES;
            finish_starts();
            goto finish
        :: else -> goto close_it
        fi
    }
}

#define EPILOGUE(cleanup) \
    unless { \
        if \
        :: atomic { HAS(killed, me) -> die(); cleanup } \
        :: atomic { HAS(stopped, me) } \
        fi \
    }

proctype Creator(byte me)
{
    byte i;
    bit shared, second, third, forked;

    {
        skip;
create:
#ifdef BAD_CREATE_ORDER
        atomic { status == FREE -> status = CREATING; by = me; STATE_CHANGES }
        atomic { hold[me] = HELD }
#else
        atomic { hold[me] = HELD }
        atomic { assert(status == FREE); status = CREATING; by = me; STATE_CHANGES }
#endif
        atomic { assert(status == CREATING && payload == 0); payload = generation }
        atomic { assert(status == CREATING); status = LIVE; STATE_CHANGES; ADD(legit, me) }
#ifdef THREADS
        atomic { open_handle = 1 }
        if
        :: !second ->
            atomic { reference = generation; handed_over = 1; open_handle = 0 }
            atomic { status == FREE -> second = 1; goto create }
        :: second && !third ->                          /* nobody else can know it */
            atomic { handed_alone = 1; open_handle = 0 }
            atomic { status == FREE -> third = 1; goto create }
        :: second && !shared
        fi;
#endif
        if
        :: atomic { reference = generation; shared = 1 }
        :: skip
        fi;
        if
        :: !forked && FORKS ->
            atomic { forked = 1; shared = 1; slot[K] = STARTING }
            atomic { hold[K] = HELD }
#ifdef BAD_FORK_ORDER
            atomic { born = 1; slot[K] = ALIVE; ADD(legit, K) }
            atomic { same_forks = 0 }
#else
            atomic { same_forks = 0 }
            atomic { born = 1; slot[K] = ALIVE; ADD(legit, K) }
#endif
        :: skip
        fi;
        atomic { assert(status == LIVE && payload == generation && hold[me] == HELD) }
#ifdef THREADS
        if
        :: shared -> atomic { !private_lock -> private_lock = 1 }
        :: else
        fi;
        atomic { open_handle = 0 }
#endif
        if
        :: shared -> skip
        :: !shared ->                                   /* nobody else can know it */
            atomic {
                assert(status == LIVE);
                status = DEAD; generation++; by = me; STATE_CHANGES; DEL(legit, me);
                finish_starts()
            }
            atomic { payload = 0 }
            atomic { assert(status == DEAD); status = FREE; finisher = 0; STATE_CHANGES }
            atomic { hold[me] = NONE; goto next }
        :: !shared ->                                   /* and the memory stays the group's */
#ifdef BAD_PRIVATE_BYTE_FIRST
            atomic { hold[me] = NONE }
#endif
            atomic {
                assert(status == LIVE && payload == generation);
                status = FREE; generation++; payload = 0; STATE_CHANGES; DEL(legit, me)
            }
            atomic { hold[me] = NONE; goto next }
        fi;
        close(me, generation);
#ifdef THREADS
        atomic { private_lock = 0 }
#endif
next:   atomic {
            if
            :: REUSE && !second && status == FREE -> second = 1; shared = 0; goto create
            :: goto end
            fi
        }
    } EPILOGUE(i = 0; shared = 0; second = 0; third = 0; forked = 0)
end:
}

proctype Child(byte me)
{
    byte i;

    {
        skip;
end_unborn:
        born;
        atomic { assert(status == LIVE && payload == generation) }
        close(me, generation)
    } EPILOGUE(i = 0)
}

proctype Opener(byte me)
{
    byte i, g;

    {
        skip;
end_no_reference:
        atomic { reference -> g = reference }
#ifndef BAD_HOLD_LATE
        atomic { hold[me] = HELD }
#endif
check:
        atomic {
            if
            :: status == LIVE && generation == g -> ADD(same_state, me)
            :: else -> goto stale
            fi
        }
        atomic {
            if
            :: HAS(same_state, me) ->
#ifndef BAD_NO_VERSION
                STATE_CHANGES;
#endif
                DEL(same_state, me); ADD(legit, me)
            :: else -> goto check
            fi
        }
#ifdef BAD_HOLD_LATE
        atomic { hold[me] = HELD }
#endif
        atomic { assert(status == LIVE && generation == g && payload == g) }
stale:
        close(me, g);
        g = 0
    } EPILOGUE(i = 0; g = 0)
}

#ifdef THREADS
proctype Thread(byte me)
{
    byte i;
    bit opened;

    handed_over;
    atomic { !private_lock -> private_lock = 1 }
close_it:
    close(A, generation);
    atomic {
        private_lock = 0;
        if
        :: opened -> goto end_alone
        :: !opened -> opened = 1
        fi
    }
    atomic { !private_lock -> private_lock = 1 }
    atomic {
        if
        :: open_handle -> goto out                      /* of a later life */
#ifdef BAD_OPEN_BY_EXCHANGE
        :: !open_handle -> hold[A] = HELD
#else
        :: !open_handle && hold[A] == NONE -> hold[A] = OPENING
        :: !open_handle && hold[A] != NONE -> goto out  /* the other thread's */
#endif
        fi
    }
check:
    atomic {
        if
        :: status == LIVE && generation == 1 -> ADD(same_state, me)
        :: else -> goto stale
        fi
    }
    atomic {
        if
        :: HAS(same_state, me) -> STATE_CHANGES; DEL(same_state, me); ADD(legit, A)
        :: else -> goto check
        fi
    }
    atomic { hold[A] = HELD }
    atomic { assert(status == LIVE && generation == 1 && payload == 1); goto close_it }
stale:
    atomic {
        if
#ifdef BAD_OPEN_BY_EXCHANGE
        :: hold[A] = CLOSING; goto again
#else
        :: hold[A] == OPENING -> hold[A] = CLOSING; goto again
        :: hold[A] != OPENING
#endif
        fi
    }
out:
    atomic { private_lock = 0 }
end_alone:
    /* A may create anew as soon as it is FREE; who opens what was there before may come first. */
    atomic { handed_alone && !private_lock -> private_lock = 1; opened = 0 }
#ifdef BAD_ALONE_STAYS_HELD
    atomic { DEL(legit, A) }
#else
    atomic { hold[A] = CLOSING; DEL(legit, A) }
#endif
    atomic {
        if
#ifdef BAD_ALONE_BY_STORE
        :: true ->
#else
        :: !(status == LIVE && generation == 2) -> goto cleared
        :: status == LIVE && generation == 2 ->
#endif
            assert(!legit); status = DEAD; generation = 3; by = A; STATE_CHANGES;
            finish_starts()
        fi
    }
    atomic { assert(payload == 2); payload = 0 }
    atomic { assert(status == DEAD && by == A); status = FREE; finisher = 0; STATE_CHANGES }
cleared:
#ifdef BAD_ALONE_STAYS_HELD
    atomic { hold[A] = NONE; private_lock = 0 }
#else
    atomic {
        if
        :: hold[A] == CLOSING -> hold[A] = NONE
        :: hold[A] != CLOSING
        fi;
        private_lock = 0
    }
#endif
}
#endif

#define TAKE(p) NEED(p) -> d = p

proctype Repairer(byte me)
{
    byte i, d, v;

    {
        skip;
end_watching:
        atomic {
            if
            :: TAKE(A)
            :: TAKE(K)
            :: TAKE(O)
            :: TAKE(P)
            :: TAKE(R)
            fi;
            slot[d] = REPAIRED_BY + me
        }
        if
        :: d >= ROWS -> goto step5
        :: d < ROWS -> v = d
        fi;
row:    look_at_row();
close_it:
        close(v, generation);
#ifndef BAD_UNBORN
        if
        :: v == K && d != K -> atomic { slot[K] = FREED }
        :: v == A && slot[K] == STARTING && !born -> atomic { v = K; goto row }
        :: else
        fi;
#endif
step5:
        atomic { slot[d] = FREED; d = 0; v = 0; goto end_watching }
    } EPILOGUE(i = 0; d = 0; v = 0)
}

#define MAY_STRIKE(p) (!HAS(killed, p) && !HAS(stopped, p) && slot[p] == ALIVE && (p != K || born))

/* How many die and are stopped is chosen first, so that a state at rest owes nothing. */
proctype Fate()
{
    byte p;

    do
    :: deaths || stops ->
        atomic {
            if
            :: p = A
            :: p = K
            :: p = O
            :: OPENERS > 1 -> p = P
            :: p = R                                    /* S lives on, to repair R */
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

init {
    atomic {
        generation = 1;
        do
        :: deaths < DEATHS -> deaths++
        :: break
        od;
        do
        :: stops < STOPS -> stops++
        :: break
        od;
        run Creator(A);
        run Child(K);
        run Opener(O);
        if
        :: OPENERS > 1 -> run Opener(P)
        :: else
        fi;
#ifdef THREADS
        run Thread(T);
#endif
        run Repairer(R);
        run Repairer(S);
        run Fate()
    }
    /* Nothing moves any more. */
    timeout;
    atomic {
        if
        :: stopped -> skip                              /* it may hold for ever, rightly */
        :: else ->
            assert(status == FREE && payload == 0);
            assert(!hold[A] && !hold[K] && !hold[O] && !hold[P]);
            assert(!legit)
        fi
    }
}
