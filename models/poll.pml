/*
 * Descriptors that are rung (src/region/poll.c, pollable.c, lives.c).
 *
 * Two producers put PUTS messages each into the last of QUEUES queues; their stores may wait in their store buffers. Two pollers (or one), each with a
 * descriptor of its own, for queue 0 and for the last one; with THREADS they are threads of a process that share one. A poller sleeps until its
 * descriptor is readable, takes one message or finds nothing, and then waits again. Both share the lives of the family, which a death makes
 * readable for both until one of them has looked.
 *
 * Judged: when nothing moves any more, all is taken, what the dead had put included, but for the message of who is stopped in the middle of
 * its put.
 */
#ifndef PUTS
#define PUTS 1
#endif
#ifndef POLLERS
#define POLLERS 2
#endif
#ifndef QUEUES
#define QUEUES 1
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef STOPS
#define STOPS 0
#endif

#define POLLER 2                    /* processes 2 and 3 */
#define BIT(p) (1 << (p))
#define HAS(m, p) ((m) & BIT(p))
#define ADD(m, p) m = m | BIT(p)
#define DEL(m, p) m = m & ~BIT(p)

#define LAST (QUEUES - 1)
#define QUEUE(i) (QUEUES == 1 -> 0 : (i))
#ifdef THREADS
#define DESCRIPTOR(i) 0
#define DESCRIPTORS 1
#else
#define DESCRIPTOR(i) (i)
#define DESCRIPTORS POLLERS
#endif

byte items[2];                      /* in the last queue, of each producer */
byte marked;                        /* the eventcounts: ARMED of each */
byte same;                          /* of each producer: the last queue's is what it has read */
byte armed;                         /* of each descriptor: armed != rung */
byte current;                       /* of each producer and descriptor: it is ringing it, and armed is what it has read */
byte rings;                         /* of each socket: something lies in it */
bool lives;                         /* somebody has ended, and nobody has looked */

byte buffered;                      /* of each producer: its message is not to be seen yet */
byte gone, killed, stopped;
byte deaths, stops;

byte inside;                        /* ghost: has put, and not returned */

inline drain_buffer(p)
{
    if
    :: HAS(buffered, p) -> DEL(buffered, p); items[p] = items[p] + 1
    :: else
    fi
}

/* The processors' own doing. */
proctype Buffers()
{
end_drain:
    do
    :: atomic { HAS(buffered, 0) -> drain_buffer(0) }
    :: atomic { HAS(buffered, 1) -> drain_buffer(1) }
    od
}

inline clear(q)
{
    atomic {
        drain_buffer(me);           /* a locked instruction */
        if
#ifdef BAD_NO_STEP                         /* it may have become the same again */
        :: HAS(marked, q) -> DEL(marked, q)
#else
        :: HAS(same, me) -> DEL(marked, q); same = 0
#endif
        :: else
        fi
    }
}

proctype Producer(byte me)
{
    byte k, i;

    {
        skip;
begin:  atomic { if :: k < PUTS -> k++ :: else -> ADD(gone, me); goto end fi };
        atomic { ADD(buffered, me); ADD(inside, me) };
        atomic { if :: HAS(marked, LAST) -> ADD(same, me) :: else -> goto done fi };
#ifdef BAD_CLEAR_FIRST
        clear(LAST);
#endif
ring:   atomic {
            do
            :: i < DESCRIPTORS && (QUEUES == 2 && QUEUE(i) != LAST || !HAS(armed, i)) -> i++
            :: else -> break
            od;
            if
            :: i == DESCRIPTORS -> i = 0; goto told
            :: else -> ADD(current, 2 * me + i)
            fi
        };
        atomic { drain_buffer(me); ADD(rings, i) };
        atomic {                            /* rung = what armed was */
            if
            :: HAS(current, 2 * me + i) -> DEL(armed, i)
            :: else -> ADD(armed, i)
            fi;
            DEL(current, 2 * me + i); i++; goto ring
        };
told:   skip;
#ifndef BAD_CLEAR_FIRST
        clear(LAST);
#endif
done:   atomic { DEL(inside, me); DEL(same, me); goto begin }
    } unless {
        if
        :: atomic { HAS(killed, me) ->
            ADD(gone, me); DEL(inside, me); drain_buffer(me);
            DEL(same, me); DEL(current, 2 * me); DEL(current, 2 * me + 1);
            lives = true; k = 0; i = 0 }
        :: atomic { HAS(stopped, me) }
        fi
    }
end:
}

proctype Poller(byte i)
{
    byte d = DESCRIPTOR(i), q = QUEUE(i);
    bool was;

    {
        goto arm;
end_sleep:
        atomic { HAS(rings, d) || lives };
        atomic {                            /* takes one; it is readable still, perhaps */
            if
            :: q == LAST && items[0] -> items[0] = items[0] - 1; goto end_sleep
            :: q == LAST && items[1] -> items[1] = items[1] - 1; goto end_sleep
            :: else
            fi
        };
        atomic { was = HAS(rings, d) != 0; if :: lives -> lives = false :: else -> goto looked fi };
#ifndef BAD_NOT_PASSED_ON
        atomic { ADD(rings, 0); DEL(armed, 0) };
        atomic { if :: DESCRIPTORS == 2 -> ADD(rings, 1); DEL(armed, 1) :: else fi };
#endif
looked: atomic {                            /* nobody has rung: it is armed still */
            if
            :: !was && HAS(armed, d) && HAS(marked, q) -> goto end_sleep
            :: else -> was = false
            fi
        };
arm:
#ifndef BAD_DRAIN_LATE
        atomic { DEL(rings, d) };
#endif
        atomic { ADD(armed, d); DEL(current, d); DEL(current, 2 + d) };
#ifdef BAD_NO_STEP
        atomic { ADD(marked, q) };
#else
        atomic { ADD(marked, q); if :: q == LAST -> same = 0 :: else fi };
#endif
#ifndef BAD_NO_MEMBARRIER
        atomic { drain_buffer(0); drain_buffer(1) };
#endif
#ifndef BAD_NO_LOOK
        atomic { if :: q == LAST && items[0] + items[1] -> ADD(rings, d); DEL(armed, d) :: else fi };
#endif
#ifdef BAD_DRAIN_LATE
        atomic { DEL(rings, d) };
#endif
        goto end_sleep
    } unless {
        atomic { HAS(stopped, POLLER + i) }
    }
}

/* Of two that have nothing in common: a process is stopped as one. */
#ifdef THREADS
#define STOPS_POLLER false
#else
#define STOPS_POLLER (POLLERS == 2 && DEATHS == 0)
#endif

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
            :: STOPS_POLLER -> p = POLLER
            fi;
            if
            :: deaths && p < POLLER && !HAS(gone | killed | stopped, p) -> ADD(killed, p); deaths--
            :: stops && !HAS(gone | killed | stopped, p) -> ADD(stopped, p); stops--
            :: deaths -> deaths--                   /* came too late */
            :: stops -> stops--
            fi;
            p = 0
        }
    :: else -> break
    od
}

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
        run Buffers();
        run Producer(0);
        run Producer(1);
        run Poller(0);
        if
        :: POLLERS == 2 -> run Poller(1)
        :: else
        fi;
        run Fate()
    }
    timeout ->                                      /* nothing moves any more */
    atomic {
        assert(items[0] <= (HAS(inside & stopped, 0) -> 1 : 0));
        assert(items[1] <= (HAS(inside & stopped, 1) -> 1 : 0))
    }
}
