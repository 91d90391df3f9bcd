/*
 * Lanes with a bound: tickets, which are stamps and count against the bound, and helping (src/message/lanes_put.c, take_tickets).
 *
 * Producers 0 and 1 have lanes of their own, producer 2 goes on in one that has become nobody's; each puts PUTS messages. One takes, one has
 * nothing to do with it and only repairs. Choosing and taking is one step here: looking at lanes that change is lanes.pml's matter.
 *
 * Judged: never are there more than MAX messages for which a ticket was given and that are not taken; what is taken is the next in the
 * order of tickets, and all whose put had returned before this one's began have been taken. When nothing moves any more: whoever still
 * wants to put is stopped, or there are MAX messages and nobody takes; all is taken but for a message whose producer is stopped, or dead
 * and not repaired; lanes without an owner have counted what was put into them.
 */
#ifndef MAX
#define MAX 1
#endif
#ifndef PUTS
#define PUTS 2
#endif
#ifndef PUTS2
#define PUTS2 0
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef STOPS
#define STOPS 0
#endif

#define LENGTH 6
#define CONSUMER 3
#define REPAIRER 4
#define BIT(p) (1 << (p))
#define HAS(m, p) ((m) & BIT(p))
#define ADD(m, p) m = m | BIT(p)
#define DEL(m, p) m = m & ~BIT(p)

byte given, named;                  /* the ticket word: tickets given, lane + 1 whose put is under way */
byte owner[2];                      /* process + 1 */
byte head[2], tail[2], next[2], write[2], puts[2];
byte under_way;
byte stamp[2 * LENGTH];
#define STAMP(l, pos) stamp[(l) * LENGTH + (pos)]

byte gone, killed, stopped, finished;
byte deaths, stops;

byte takes;                         /* ghosts */
byte before[10];                    /* of each ticket: how many had returned before its put began */
byte returned;                      /* the highest ticket whose put has returned */

#define VISIBLE(l) (head[l] < tail[l])
#define OLDEST(l) STAMP(l, head[l])

/* lanes_help: of the put that the word {t, l + 1} names; `was`, `to` are the caller's. */
inline help(t, l, was, to)
{
    atomic { was = tail[l] };
    atomic { to = next[l] };
#ifndef BAD_HELP_NO_LOOK
    atomic {
        if
        :: given == t && named == l + 1
        :: else -> was = 0; to = 0; goto helped
        fi
    };
#endif
    atomic {
        if
        :: tail[l] == was && was < to -> tail[l] = to
        :: else
        fi;
        was = 0; to = 0
    };
    atomic { if :: given == t && named == l + 1 -> named = 0 :: else fi };
helped: skip
}

proctype Producer(byte me)
{
    byte k, n, l, t, other, least, was, to, seen, begun;

    {
        skip;
end_lane:
        atomic {
            if
            :: me < 2 -> l = me; n = PUTS
            :: me == 2 && !owner[0] -> l = 0; n = PUTS2; owner[0] = 3   /* unreached: without PUTS2 (the repairer settles) */
            :: me == 2 && owner[0] && !owner[1] -> l = 1; n = PUTS2; owner[1] = 3    /* unreached: without a third producer, a second consumer */
            fi
        }
begin:  atomic {
            if
            :: k < n -> k++; begun = returned
            :: else -> ADD(gone, me); ADD(finished, me); goto end      /* the thread ends */
            fi
        }
try:    atomic {
            t = given; other = named; seen = takes; /* its wait_announce */
            if
            :: other -> other--
            :: else -> goto place
            fi
        }
#ifdef BAD_NO_HELP
        atomic { !named -> other = 0; goto try }
#else
        help(t, other, was, to);
        atomic { other = 0; goto try }
#endif
place:  atomic { least = t + 1; if :: VISIBLE(0) && OLDEST(0) < least -> least = OLDEST(0) :: else fi }
        atomic { if :: VISIBLE(1) && OLDEST(1) < least -> least = OLDEST(1) :: else fi }
        atomic {
            if
            :: given != t || named -> least = 0; goto try
            :: else ->
                if
                :: t - (least - 1) < MAX -> least = 0; goto room
                :: else -> least = 0            /* -EAGAIN */
                fi
            fi
        }
end_full:
        atomic { takes != seen || given != t -> goto try }   /* who takes wakes */
room:   atomic { STAMP(l, write[l]) = t + 1; seen = 0 }
        atomic { puts[l]++; ADD(under_way, l) }
#ifndef BAD_NEXT_AFTER_TICKET
        atomic { next[l] = write[l] + 1 }
#endif
        atomic {
            if
#ifdef BAD_TICKET_BY_STORE
            :: true ->
#else
            :: given == t && !named ->
#endif
                given = t + 1; named = l + 1; before[t + 1] = begun;
                assert(given - takes <= MAX)
#ifndef BAD_TICKET_BY_STORE
            :: else -> puts[l]--; DEL(under_way, l); goto try
#endif
            fi
        }
#ifdef BAD_NEXT_AFTER_TICKET
        atomic { next[l] = write[l] + 1 }
#endif
        atomic { tail[l] = write[l] + 1 }
        atomic { if :: named == l + 1 && given == t + 1 -> named = 0 :: else fi }
        atomic { DEL(under_way, l) }
        atomic {
            write[l] = write[l] + 1;
            if
            :: t + 1 > returned -> returned = t + 1
            :: else
            fi;
            t = 0; begun = 0; goto begin
        }
    } unless {
        if
        :: atomic { HAS(killed, me) -> ADD(gone, me);
            k = 0; l = 0; t = 0; n = 0; other = 0; least = 0; was = 0; to = 0; seen = 0; begun = 0 }
        :: atomic { HAS(stopped, me) }
        fi
    }
end:
}

proctype Consumer(byte me)
{
    byte l;

    {
        skip;
end_rest:
        atomic {
            if
            :: VISIBLE(0) && (!VISIBLE(1) || OLDEST(0) < OLDEST(1)) -> l = 0
            :: VISIBLE(1) && (!VISIBLE(0) || OLDEST(1) < OLDEST(0)) -> l = 1
            fi;
            takes++;
            assert(takes <= given && OLDEST(l) <= given);
            assert(before[OLDEST(l)] < OLDEST(l));
            assert(OLDEST(l) == takes || (named && takes + 1 == OLDEST(l)));
            head[l] = head[l] + 1; l = 0; goto end_rest
        }
    } unless {
        if
        :: atomic { HAS(killed, me) -> ADD(gone, me) }
        :: atomic { HAS(stopped, me) }
        fi
    }
}

#define ORPHAN(l) (owner[l] && HAS(gone, owner[l] - 1))

/* Tends every lane whose owner is gone. */
proctype Repairer(byte me)
{
    byte l, t, was, to;

    {
        skip;
end_rest:
        atomic {
            if
            :: ORPHAN(0) -> l = 0
            :: !ORPHAN(0) && ORPHAN(1) -> l = 1
            fi;
            owner[l] = me + 1
        }
#ifndef BAD_REPAIR_NO_HELP
        atomic {
            if
            :: named == l + 1 -> t = given
            :: else -> goto helped_it
            fi
        }
        help(t, l, was, to);
#endif
helped_it:
        atomic { was = tail[l]; t = 0 }
#ifndef BAD_NO_UNDER_WAY
        atomic {
            if
            :: HAS(under_way, l) && was <= write[l] -> puts[l]--
            :: else
            fi;
            DEL(under_way, l)
        }
#endif
        atomic {
            if
            :: was > write[l] -> write[l] = was
            :: else
            fi;
            was = 0
        }
        atomic { owner[l] = 0; l = 0; goto end_rest }
    } unless {
        if
        :: atomic { HAS(killed, me) -> ADD(gone, me); l = 0; t = 0; was = 0; to = 0 }
        :: atomic { HAS(stopped, me) }
        fi
    }
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
            :: PUTS2 -> p = 2    /* unreached: without a third producer, a second consumer */
            :: p = CONSUMER
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
#define WANTS(p) (!HAS(gone | stopped | finished, p))
#define IN_ORDER(l) (owner[l] || (!HAS(under_way, l) && puts[l] == tail[l] && write[l] == tail[l]))
/* the put that is under way has an owner who is stopped, or dead and nobody repairs */
#define ITS_OWNER (owner[named - 1] - 1)
#define LEFT (named && AWAY(ITS_OWNER) && (HAS(stopped, ITS_OWNER) || AWAY(REPAIRER)))

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
        owner[0] = 1; owner[1] = 2;
        run Producer(0);
        run Producer(1);
        if
        :: PUTS2 -> run Producer(2)    /* unreached: without a third producer, a second consumer */
        :: else -> ADD(finished, 2)
        fi;
        run Consumer(CONSUMER);
        run Repairer(REPAIRER);
        run Fate()
    }
    timeout ->                                      /* nothing moves any more */
    atomic {
        assert(AWAY(CONSUMER) || given == takes || LEFT);
        assert(!(WANTS(0) || WANTS(1)) || (AWAY(CONSUMER) && given - takes >= MAX));
        assert(IN_ORDER(0) && IN_ORDER(1))
    }
}
