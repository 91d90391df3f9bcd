/*
 * Lanes without a bound: what a put and a take are, which message is the oldest, lanes that outlive their producers (src/message/lanes.c).
 *
 * Three producers put PUTS0, PUTS1, PUTS2 messages and end, CONSUMERS take whatever there is, one has
 * nothing to do with it and only repairs (not with NO_REPAIRER). Each producer looks for a lane of its
 * own: one that is nobody's, or whose owner is gone. A lane is a ring of RING records, one of them the
 * header behind the last, so that a slow consumer may find overwritten what it reads. All words are
 * written in the order of the program (stores are released in order).
 *
 * Judged, in the step that takes: nobody has taken this before; the copy is the message; all whose put had returned before this one's
 * began have been taken. When nothing moves any more: all is taken that was committed, every put has returned, and lanes without
 * an owner have counted what was put into them. Sleeping and waking are semaphore.pml's matter, memory (segments) is not modelled.
 */
#ifndef PUTS0
#define PUTS0 2
#endif
#ifndef PUTS1
#define PUTS1 1
#endif
#ifndef PUTS2
#define PUTS2 0
#endif
#ifndef CONSUMERS
#define CONSUMERS 1
#endif
#ifndef RING
#define RING 2
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef STOPS
#define STOPS 0
#endif

#if PUTS2
#define LANES 3
#else
#define LANES 2
#endif
#define REPAIRER 5                  /* 0 to 2 put, 3 and 4 take */
#define ALL 6
#define BIT(p) (1 << (p))
#define HAS(m, p) ((m) & BIT(p))
#define ADD(m, p) m = m | BIT(p)
#define DEL(m, p) m = m & ~BIT(p)

byte high;
byte clock;
byte owner[3];                  /* process + 1 */
byte head[3], write[3];
byte puts[3];
byte under_way;                     /* bit of each lane */
byte word[3 * RING], stamp[3 * RING], bytes[3 * RING]; /* word: message + 1 */
#define AT(l, pos) ((l) * RING + (pos) % RING)

byte begun;
byte gone, killed, stopped, finished;
byte deaths, stops;

byte before[8];                     /* ghosts: what had returned when this one began */
byte returned, committed, taken;
byte commits[3];

/* STRUCK: before any step. UNSEEN: what only the next owner of a lane looks at is one step where
 * nobody dies. */
#if DEATHS || STOPS
#define UNSEEN
#define STRUCK(forget) \
    unless { \
        if \
        :: atomic { HAS(killed, me) -> ADD(gone, me); forget } \
        :: atomic { HAS(stopped, me) } \
        fi \
    }
#else
#define STRUCK(forget)
#define UNSEEN atomic
#endif

/* With ALIKE, for producers of one message each: they begin in the order of their names, as nothing
 * else tells one from the other. */
#ifdef ALIKE
#define MY_TURN (k || begun == me)
#define TURN_OVER begun = me + 1
#else
#define MY_TURN true
#define TURN_OVER skip
#endif

#define FREE(l) (!owner[l] || HAS(gone, owner[l] - 1))
#define VISIBLE(l) (word[AT(l, head[l])])
#define OVERTAKEN (head[l] != h)
#define SOMETHING ((high > 0 && VISIBLE(0)) || (high > 1 && VISIBLE(1)) || (high > 2 && VISIBLE(2)))

/* Finishes what the owner's last put left undone. `v` is the caller's. */
inline settle(l, v)
{
    atomic { v = word[AT(l, write[l])] != 0 };
#ifndef BAD_NO_UNDER_WAY
    atomic {
        if
        :: HAS(under_way, l) && !v -> puts[l]--
        :: else
        fi;
        DEL(under_way, l)
    }
#endif
#ifndef BAD_NO_SETTLE
    atomic {
        if
        :: v -> write[l] = write[l] + 1
        :: else
        fi;
        v = 0
    }
#endif
}

proctype Producer(byte me; byte n)
{
    byte k, m, s, l = LANES;
    bit v, alone;

    {
        skip;
begin:  atomic {
            if
            :: k < n && MY_TURN ->
                TURN_OVER;
                m = (me -> me * 2 + 2 : 0) + k; k++; before[m] = returned & ~taken
            :: k == n -> ADD(gone, me); ADD(finished, me); l = 0; goto end  /* the thread ends */
            fi;
            if
            :: l < LANES -> goto end_room
            :: else
            fi
        }
        atomic {
            if
            :: FREE(0) -> l = 0
            :: !FREE(0) && FREE(1) -> l = 1
            :: LANES > 2 && !FREE(0) && !FREE(1) && FREE(2) -> l = 2
            fi;
            owner[l] = me + 1                   /* and TENDED */
        }
#ifndef BAD_HIGH_LATE
        atomic {
            if
            :: high <= l -> high = l + 1
            :: else
            fi
        }
#endif
        UNSEEN { settle(l, v) };
end_room:
        atomic { write[l] + 2 <= head[l] + RING -> alone = high == 1 }  /* and the header behind it */
        atomic {
#ifndef BAD_STAMP_OF_THE_LAST
            if
            :: alone -> s = 0
            :: else -> clock++; s = clock
            fi;
            stamp[AT(l, write[l])] = s; s = 0;
#else
            stamp[AT(l, write[l])] = s; clock++; s = clock;
#endif
            alone = 0
        }
        atomic {
#ifndef BAD_BYTES_AFTER_COMMIT
            bytes[AT(l, write[l])] = m + 1;
#endif
#ifndef BAD_ZERO_AFTER_COMMIT
            word[AT(l, write[l] + 1)] = 0
#endif
        }
        UNSEEN {
            atomic { puts[l]++; ADD(under_way, l) }
            atomic { word[AT(l, write[l])] = m + 1; ADD(committed, m); commits[l]++ }
        }
#ifdef BAD_BYTES_AFTER_COMMIT
        atomic { bytes[AT(l, write[l])] = m + 1 }
#endif
#ifdef BAD_ZERO_AFTER_COMMIT
        atomic { word[AT(l, write[l] + 1)] = 0 }
#endif
        UNSEEN {
            atomic { DEL(under_way, l) }
            atomic { write[l] = write[l] + 1; ADD(returned, m) }
        }
#ifdef BAD_HIGH_LATE
        atomic {
            if
            :: high <= l -> high = l + 1
            :: else
            fi
        }
#endif
        goto begin
    } STRUCK(k = 0; m = 0; s = 0; l = 0; v = 0; alone = 0)
end:
}

proctype Consumer(byte me)
{
    byte n, l, h, w, s;                         /* lanes, and what was seen of this one */
    byte best, best_head, best_stamp, copy;
    bit any, first, hollow, better;
    bit tried;                                  /* in vain: once it does not wait until there is something */

    {
        skip;
end_rest:
        atomic { SOMETHING || !tried -> tried = tried || !SOMETHING }
again:  atomic { n = high; first = 1; h = head[0] }
peek:   atomic { w = word[AT(l, h)]; s = stamp[AT(l, h)] }
        atomic {                                /* of the next lane, its head */
            if
            :: OVERTAKEN -> w = 0; s = 0; h = head[l]; goto peek
            :: !OVERTAKEN && !w -> hollow = 1
            :: else ->
                if
                :: !any || s < best_stamp -> best = l; best_head = h; best_stamp = s; any = 1; better = 1
                :: else
                fi
            fi;
            w = 0; s = 0; l++;
            if
            :: any && l == best -> l++
            :: else
            fi;
            if
            :: l < n -> h = head[l]; goto peek
            :: else -> h = 0; l = 0
            fi;
            if
            :: !any -> n = 0; hollow = 0; first = 0; goto end_rest
#ifndef BAD_NO_SECOND_LOOK
            :: any && (first -> hollow : better) -> goto pass
#endif
            :: else
            fi
        }
#ifndef BAD_HIGH_ONCE
        atomic {
            if
            :: n != high -> n = high            /* others have come before the candidate, perhaps */
            :: else -> goto chosen
            fi
        }
#else
        goto chosen;
#endif
pass:   atomic {
            first = 0; hollow = 0; better = 0; l = (best == 0);
            if
            :: l < n -> h = head[l]; goto peek
            :: else -> l = 0
            fi
        }
chosen:
        atomic {
            n = 0; first = 0; hollow = 0; better = 0; any = 0; best_stamp = 0;
#ifndef BAD_COPY_AFTER_TAKE
            copy = bytes[AT(best, best_head)]
#endif
        }
        atomic {
            if
#ifndef BAD_TAKE_BY_STORE
            :: head[best] != best_head -> best = 0; best_head = 0; copy = 0; goto again
#endif
            :: else ->
                w = word[AT(best, best_head)] - 1;
                head[best] = best_head + 1;
                assert(!HAS(taken, w));
                assert(!(before[w] & ~taken));  /* the order */
#ifndef BAD_COPY_AFTER_TAKE
                assert(copy == w + 1);
#endif
                ADD(taken, w); before[w] = 0
            fi
        }
#ifdef BAD_COPY_AFTER_TAKE
        atomic { copy = bytes[AT(best, best_head)]; assert(copy == w + 1) }
#endif
        d_step { w = 0; best = 0; best_head = 0; copy = 0 };
        goto end_rest
    } STRUCK(n = 0; l = 0; h = 0; w = 0; s = 0; best = 0; best_head = 0; best_stamp = 0; copy = 0; \
             any = 0; first = 0; hollow = 0; better = 0)
}

/* Tends every lane whose owner is gone: it is nobody's then, with what it holds. */
proctype Repairer(byte me)
{
    byte l;
    bit v;

    {
        skip;
end_rest:
        atomic {
            if
            :: owner[0] && FREE(0) -> l = 0
            :: owner[1] && FREE(1) -> l = 1
            :: LANES > 2 && owner[2] && FREE(2) -> l = 2    /* unreached: three producers are searched without it */
            fi;
            owner[l] = me + 1
        }
        UNSEEN { settle(l, v) };
        atomic { owner[l] = 0; l = 0; goto end_rest }
    } STRUCK(l = 0; v = 0)
}

/* How many die and are stopped is chosen first. */
proctype Fate()
{
    byte p;

    do
    :: deaths || stops ->
        atomic {
            if
            :: p = 0
            :: p = 1
            :: PUTS2 -> p = 2                     /* unreached: three producers are searched without a death */
            :: p = 3
            :: CONSUMERS == 2 -> p = 4
            :: p = REPAIRER
            fi;
            if
            :: deaths && !HAS(gone | killed | stopped, p) -> ADD(killed, p); deaths--
            :: stops && !HAS(gone | killed | stopped, p) -> ADD(stopped, p); stops--
            :: deaths -> deaths--                   /* came too late */
            :: stops -> stops--
            fi;
            p = 0
        }
    :: else -> break
    od
}

#define AWAY(p) HAS(gone | stopped, p)
#define CONSUMED (!AWAY(3) || (CONSUMERS == 2 && !AWAY(4)))
#define IN_ORDER(l) (owner[l] || (!HAS(under_way, l) && puts[l] == commits[l] && write[l] == commits[l]))

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
        run Producer(0, PUTS0);
        run Producer(1, PUTS1);
        if
        :: PUTS2 -> run Producer(2, PUTS2)
        :: else -> ADD(finished, 2)
        fi;
        run Consumer(3);
        if
        :: CONSUMERS == 2 -> run Consumer(4)
        :: else
        fi;
#ifndef NO_REPAIRER
        run Repairer(REPAIRER);
#endif
        run Fate()
    }
    timeout ->                                      /* nothing moves any more */
    atomic {
        assert(!CONSUMED || !(committed & ~taken));
        assert(!CONSUMED || ((finished | gone | stopped) & 7) == 7);
        assert(IN_ORDER(0) && IN_ORDER(1) && (LANES == 2 || IN_ORDER(2)))
    }
}
