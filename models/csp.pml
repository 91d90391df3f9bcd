/*
 * Two-sided alternation (src/csp/alternation.c): N processes, 2 channels, each process an alternation over
 * what it may read (RD) and write (WR), one swap of the partner's word as the commit.
 *
 * Processes 0 and 2 write to both channels, 1 and 3 read from both; with MIXED 0 and 1 each read from one and write
 * to the other, 2 writes to both and 3 reads from both, so that all can meet in several ways. With LONG writers do not meet readers, they poke them. TIMED: 0 may
 * give up at any moment. Each makes ROUNDS communications. Any may be killed or stopped before any step, a
 * repairer too (CRASHES: it begins anew).
 *
 * Looking at who waits is a step for each partner. A cell is `offered`, with the sequence that it names; a swap expects
 * that sequence. A writer has one box (in the code three): what a reader was given there stays until its word has moved on;
 * otherwise the message is a long one. The futex queue (inq) is what SLEEPING, seen in the swap, makes others wake.
 *
 * Judged: what is copied is what was written; each message of one communication is taken once; nobody meets one that has been repaired; and
 * when nothing moves any more, no two that live could meet, and nobody has been met and sleeps. (The latter not with a stop: one that is
 * stopped between the swap and the wake-up leaves that to whoever comes there later, or to the net.)
 */
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef N
#define N 4
#endif

#ifdef MIXED
#define RD(p) ((p) == 0 -> 2 : ((p) == 1 -> 1 : ((p) == 2 -> 0 : 3)))
#define WR(p) ((p) == 0 -> 1 : ((p) == 1 -> 2 : ((p) == 2 -> 3 : 0)))
#else
#define RD(p) ((p) & 1 -> 3 : 0)
#define WR(p) ((p) & 1 -> 0 : 3)
#endif
#define READS_FROM(r, w) (RD(r) & WR(w))

#define PRIVATE 0
#define WAITING 1
#define MET 2
byte word[N], seq[N], from[N];      /* from: where a reader finds what it got */
bit poked[N], sleeping[N], inq[N], offered[N], isout[N];  /* isout: it was met as a writer */
byte box[N], reader[N], metseq[N];  /* reader: whom the box was given to + 1, while its sequence is metseq */
bit object[N];                        /* this round's message is none of the box */
bit dead[N], stopped[N], repaired[N];
byte cur[N];                        /* ghost: what its box should say, as long as its word is WAITING */
byte due[N];                        /* ghost: what it was given */
byte taken[N], finished[N];         /* ghosts: how often its messages were taken, its writes that ended well */
byte deaths, stops, crashes;

#define COPIED(p) (!reader[p] || word[reader[p] - 1] != MET || seq[reader[p] - 1] != metseq[p] || \
                   from[reader[p] - 1] != p || isout[reader[p] - 1] || repaired[reader[p] - 1])

inline wake(q, was)
{
    atomic { if :: was -> inq[q] = 0 :: else fi; was = 0 }
}

inline poke(q, was)
{
    atomic {
        if
        :: word[q] == WAITING -> poked[q] = 1; was = sleeping[q]
        :: else -> was = 0
        fi
    };
    wake(q, was)
}

inline select_p()
{
    p = 0;
    do
    :: p < N - 1 -> p++
    :: break
    od
}

/* One look at partner q, by me; while PRIVATE it is met. `out`: me writes. */
inline try_read()
{
    atomic { /* the cell, the word, the sequence */
        if
        :: READS_FROM(me, q) && q != me && offered[q] && word[q] == WAITING && !repaired[q] -> s = seq[q]
        :: else -> goto not_read
        fi
    };
#ifndef BAD_COPY_AFTER
    atomic { copy = (object[q] -> cur[q] : box[q]) };
#endif
    atomic {
#ifdef BAD_MEET_BY_STORE
        if
        :: true ->
#else
        if
        :: word[q] == WAITING && seq[q] == s ->
#endif
            assert(!repaired[q]); was = sleeping[q]; word[q] = MET; isout[q] = 1; poked[q] = 0; taken[q]++;
            due[me] = cur[q]
        :: else -> goto not_read
        fi
    };
#ifdef BAD_COPY_AFTER
    atomic { copy = (object[q] -> cur[q] : box[q]) };
#endif
    atomic { assert(copy == due[me]); copy = 0; due[me] = 0 };
    wake(q, was);
    goto over;
not_read:
    skip
}

inline try_write()
{
    atomic {
        if
        :: READS_FROM(q, me) && q != me && !object[me] && offered[q] && word[q] == WAITING && !repaired[q] ->
            s = seq[q]; reader[me] = q + 1; metseq[me] = s
        :: else -> goto not_written
        fi
    };
    atomic {
        if
        :: word[q] == WAITING && seq[q] == s ->
            assert(!repaired[q]); was = sleeping[q]; word[q] = MET; isout[q] = 0; from[q] = me; poked[q] = 0;
            taken[me]++; due[q] = box[me]; finished[me]++
        :: else -> goto not_written
        fi
    };
#ifndef BAD_NO_WAKE
    wake(q, was);
#endif
    goto over;
not_written:
    skip
}

/* Whether there is a partner; whoever only readers can meet pokes them. */
inline look()
{
    q = 0; ready = 0;
    do
    :: atomic {
        q < N && !ready ->
        if
        :: q != me && offered[q] && word[q] == WAITING && !repaired[q] &&
           (READS_FROM(me, q) || (READS_FROM(q, me) && !object[me])) -> ready = 1
        :: else
        fi
       };
#ifndef BAD_NO_POKE
       if
       :: READS_FROM(q, me) && q != me && object[me] && !ready && offered[q] -> poke(q, was)
       :: else
       fi;
#endif
       q++
    :: atomic { q >= N || ready -> break }
    od
}

proctype P(byte me)
{
    byte round, q, s, copy;
    bit was, ready;
    { skip;
again:
    if
    :: atomic { round == ROUNDS -> goto finish }
    :: atomic { round < ROUNDS && WR(me) ->
#ifdef LONG
        object[me] = 1;
#elif defined BAD_BOX_REUSED
        object[me] = 0;
#else
        object[me] = !COPIED(me);
#endif
        cur[me] = 1 + me + round * N;
        if :: !object[me] -> box[me] = cur[me]; reader[me] = 0 :: else fi }
    :: atomic { round < ROUNDS && !WR(me) }
    fi;
attempt:
    q = 0;
    do
    :: q < N ->
        try_read();
        try_write();
        q++
    :: q >= N -> break
    od;
#ifdef BAD_LOOK_FIRST
    look();
    if :: ready -> goto attempt :: else fi;
#endif
    atomic { offered[me] = 1 };
    atomic { word[me] = WAITING; poked[me] = 0; sleeping[me] = 0; q = 0; s = 0 };
doze:
    atomic {
        if
        :: word[me] != WAITING -> goto leave
        :: else -> sleeping[me] = 1; poked[me] = 0 /* what the word was */
        fi
    };
#ifndef BAD_LOOK_FIRST
    look();
    if :: ready -> goto leave :: else fi;
#endif
    atomic { if :: word[me] == WAITING && !poked[me] -> inq[me] = 1 :: else fi };
end_asleep:
    if
    :: !inq[me]
#ifdef TIMED
    :: me == 0 -> atomic { inq[me] = 0; if :: word[me] == WAITING -> word[me] = PRIVATE; goto give_up :: else fi }
#endif
    fi;
    if :: word[me] == WAITING -> goto doze :: else fi;
leave:
#ifdef BAD_LEAVE_BY_STORE
    atomic { word[me] = PRIVATE; sleeping[me] = 0; goto attempt };
#else
    if
    :: atomic { word[me] == WAITING -> word[me] = PRIVATE; sleeping[me] = 0; poked[me] = 0; goto attempt }
    :: word[me] == MET
    fi;
#endif
    /* met */
    if
    :: !isout[me] ->
        atomic { copy = box[from[me]] };
        atomic { assert(copy == due[me]); copy = 0; due[me] = 0 }
    :: isout[me] -> finished[me]++
    fi;
over:
#ifdef TIMED
give_up:
#endif
    atomic { offered[me] = 0 };
    atomic {
        word[me] = PRIVATE; sleeping[me] = 0; poked[me] = 0;
#ifndef BAD_SAME_SEQUENCE
        seq[me]++
#endif
    };
    atomic { round++; q = 0; s = 0; goto again };
    } unless { dead[me] || stopped[me] };
finish:
    skip
}

/* Whoever notices. */
proctype Repairer()
{
    byte d, q;
    bit was;
again:
end_r:
    do
    :: atomic { dead[0] && !repaired[0] -> d = 0; break }
    :: atomic { dead[1] && !repaired[1] -> d = 1; break }
#if N > 2
    :: atomic { dead[2] && !repaired[2] -> d = 2; break }
#endif
#if N > 3
    :: atomic { dead[3] && !repaired[3] -> d = 3; break }
#endif
    od;
#ifndef BAD_NOT_TAKEN_BACK
    atomic { if :: word[d] == WAITING -> word[d] = PRIVATE :: else fi };
    atomic { offered[d] = 0; inq[d] = 0 };
#endif
    if
    :: atomic { crashes < CRASHES -> crashes++; goto again }
    :: true
    fi;
    q = 0;
#ifndef BAD_NO_ROUSE
    do
    :: q < N ->
        poke(q, was);
        atomic { if :: word[q] == MET -> inq[q] = 0 :: else fi };
        if
        :: atomic { crashes < CRASHES -> crashes++; goto again }
        :: true
        fi;
        q++
    :: q >= N -> break
    od;
#endif
    atomic { repaired[d] = 1; goto again }
}

proctype Fate()
{
    byte p;
    do
    :: atomic { deaths < DEATHS -> deaths++; select_p(); if :: !stopped[p] -> dead[p] = 1 :: else fi }
    :: atomic { stops < STOPS -> stops++; select_p(); if :: !dead[p] -> stopped[p] = 1 :: else fi }
    :: break
    od
}

#define LIVES(p) (!dead[p] && !stopped[p])
#define COULD_MEET(r, w) (LIVES(r) && LIVES(w) && READS_FROM(r, w) && word[r] == WAITING && word[w] == WAITING)

proctype Judge()
{
    byte r, w;
end_j:
    timeout ->
    atomic {
        do
        :: r < N ->
            w = 0;
            do
            :: w < N ->
                assert(r == w || !COULD_MEET(r, w));
                w++
            :: w >= N -> break
            od;
            assert(STOPS || !LIVES(r) || word[r] != MET);
            assert(taken[r] >= finished[r] && (STOPS || dead[r] || taken[r] == finished[r]));
            r++
        :: r >= N -> break
        od
    }
}

init
{
    byte p;
    atomic {
        do
        :: p < N -> run P(p); p++
        :: p >= N -> break
        od;
        if :: DEATHS || STOPS -> run Fate() :: else fi;
        if :: DEATHS -> run Repairer() :: else fi;
        run Judge()
    }
}
