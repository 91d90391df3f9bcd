/*
 * Two-sided alternation (src/csp/alternation.c): N processes, 2 channels, each process an alternation over
 * what it may read (RD) and write (WR), one swap of the partner's word as the commit.
 *
 * Processes 0 and 2 write to both channels, 1 and 3 read from both; with MIXED 0 and 1 each read from one and write
 * to the other, 2 writes to both and 3 reads from both, so that all can meet in several ways. With LONG writers do not meet readers, they poke them. TIMED: 0 may
 * give up at any moment. Each makes ROUNDS communications. Any may be killed or stopped before any step (DIES: that
 * one; CERTAIN: it is, sooner or later, and what comes of that is judged only then), a repairer too (CRASHES: it begins anew).
 *
 * Looking at who waits is a step for each partner. Every step is one atomic, which reads or writes what is shared
 * and then does what is its process's own; cells count only while a word is WAITING, so they are written with it. A cell is `offered`, with the sequence that it names; a swap expects
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

/* 2 * partner, + 1: as a writer. The next way in which me may meet somebody: nothing that is shared is read. */
#define WAYS (2 * N)
#define Q (i / 2)
#define IS_WAY(i) ((i) / 2 != me && ((i) % 2 -> READS_FROM((i) / 2, me) && (!object[me] || pokes) : READS_FROM(me, (i) / 2)))
inline next_way()
{
    do
    :: i < WAYS && !IS_WAY(i) -> i++
    :: else -> break
    od
}
#define SEEN(q) (offered[q] && word[q] == WAITING && !repaired[q])

#ifdef DIES
#define select_p() p = DIES
#else
inline select_p()
{
    p = 0;
    do
    :: p < N - 1 -> p++
    :: break
    od
}
#endif

/* Each atomic is one step that reads or writes what is shared, with what is its process's own behind it. */
proctype P(byte me)
{
    byte round, i, s, copy;
    bit was, pokes;
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
    atomic { pokes = 0; i = 0; next_way(); if :: i >= WAYS -> goto offer :: else fi };
    do
    :: atomic { /* the cell, the word, the sequence */
        !SEEN(Q) -> i++; next_way(); if :: i >= WAYS -> goto offer :: else fi
       }
    :: atomic { SEEN(Q) && i % 2 == 0 -> s = seq[Q] }; /* me reads */
#ifndef BAD_COPY_AFTER
       atomic { copy = (object[Q] -> cur[Q] : box[Q]) };
#endif
       atomic {
           if
#ifdef BAD_MEET_BY_STORE
           :: true ->
#else
           :: word[Q] == WAITING && seq[Q] == s ->
#endif
               assert(!repaired[Q]); was = sleeping[Q]; word[Q] = MET; isout[Q] = 1; poked[Q] = 0; taken[Q]++;
               due[me] = cur[Q];
#ifndef BAD_COPY_AFTER
               assert(copy == due[me]); copy = 0; due[me] = 0; s = 0;
#endif
               goto met_one
           :: else -> copy = 0; s = 0; i++; next_way(); if :: i >= WAYS -> goto offer :: else fi
           fi
       }
    :: atomic { SEEN(Q) && i % 2 -> s = seq[Q]; reader[me] = Q + 1; metseq[me] = s }; /* me writes */
       atomic {
           if
           :: word[Q] == WAITING && seq[Q] == s ->
               assert(!repaired[Q]); was = sleeping[Q]; word[Q] = MET; isout[Q] = 0; from[Q] = me; poked[Q] = 0;
               taken[me]++; due[Q] = box[me]; finished[me]++; s = 0; goto met_one
           :: else -> s = 0; i++; next_way(); if :: i >= WAYS -> goto offer :: else fi
           fi
       }
    od;
met_one:
#ifdef BAD_COPY_AFTER
    if
    :: atomic { i % 2 == 0 -> copy = (object[Q] -> cur[Q] : box[Q]); assert(copy == due[me]); copy = 0; due[me] = 0; s = 0 }
    :: i % 2
    fi;
#endif
#ifdef BAD_NO_WAKE
    atomic { if :: i % 2 -> was = 0 :: else fi };
#endif
    atomic { if :: was -> inq[Q] = 0 :: else fi; was = 0; i = 0; goto over };
offer:
#ifdef BAD_LOOK_FIRST
    atomic { i = 0; next_way() };
    do
    :: atomic { i < WAYS && SEEN(Q) -> goto attempt }
    :: atomic { i < WAYS && !SEEN(Q) -> i++; next_way() }
    :: atomic { i >= WAYS -> break }
    od;
#endif
    atomic { offered[me] = 1; word[me] = WAITING; poked[me] = 0; sleeping[me] = 0; i = 0 };
doze:
    atomic {
        if
        :: word[me] != WAITING -> goto leave
        :: else -> sleeping[me] = 1; poked[me] = 0 /* what the word was */
        fi;
        pokes = 1; i = 0; next_way()
    };
#ifndef BAD_LOOK_FIRST
    /* whether there is a partner; whoever only readers can meet pokes them */
looking:
    do
    :: atomic { i >= WAYS -> i = 0; break }
    :: atomic { i < WAYS && !(i % 2 && object[me]) ->
           if
           :: SEEN(Q) -> i = 0; pokes = 0; goto leave
           :: else -> i++; next_way()
           fi
       }
    :: atomic { i < WAYS && i % 2 && object[me] ->
#ifndef BAD_NO_POKE
           if
           :: offered[Q] && word[Q] == WAITING -> poked[Q] = 1; was = sleeping[Q]
           :: else -> was = 0
           fi;
#endif
           if :: !was -> i++; next_way(); goto looking :: else fi
       };
       atomic { inq[Q] = 0; was = 0; i++; next_way() }
    od;
#endif
    atomic { pokes = 0; if :: word[me] == WAITING && !poked[me] -> inq[me] = 1 :: else fi };
end_asleep:
    if
    :: atomic { !inq[me] -> goto doze }
#ifdef TIMED
    :: atomic { me == 0 -> inq[me] = 0; if :: word[me] == WAITING -> word[me] = PRIVATE; goto over :: else -> goto doze fi }
#endif
    fi;
leave:
#ifdef BAD_LEAVE_BY_STORE
    atomic { word[me] = PRIVATE; sleeping[me] = 0; goto attempt };
#else
    if
    :: atomic { word[me] == WAITING -> word[me] = PRIVATE; sleeping[me] = 0; poked[me] = 0; goto attempt }
    :: atomic { word[me] == MET && isout[me] -> finished[me]++ }
    :: atomic { word[me] == MET && !isout[me] ->
           copy = box[from[me]]; assert(copy == due[me]); copy = 0; due[me] = 0 }
    fi;
#endif
over:
    atomic { /* what was offered counts only while the word is WAITING */
        offered[me] = 0; word[me] = PRIVATE; sleeping[me] = 0; poked[me] = 0;
#ifndef BAD_SAME_SEQUENCE
        seq[me]++;
#endif
        round++; i = 0; s = 0; goto again
    };
    } unless { dead[me] || stopped[me] };
finish:
    skip
}

/* Whoever notices. */
proctype Repairer()
{
    byte d, q;
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
    /* Taken back, which nobody but who meets it sees; its cells are cleared behind that. */
#ifndef BAD_NOT_TAKEN_BACK
    atomic { if :: word[d] == WAITING -> word[d] = PRIVATE :: else fi; offered[d] = 0; inq[d] = 0 };
#endif
#ifndef BAD_NO_ROUSE
    do
    :: atomic { q < N ->
        /* Pokes it, or wakes it if it has been met. That the wake-up is a step of its own could only come to a sleep that
         * began after the poke, and so after a look. */
        if
        :: word[q] == WAITING -> poked[q] = 1; inq[q] = 0
        :: word[q] == MET -> inq[q] = 0
        :: else
        fi;
        q++ }
    :: atomic { crashes < CRASHES -> crashes++; q = 0; goto again }
    :: atomic { q >= N -> break }
    od;
#endif
    atomic { repaired[d] = 1; d = 0; q = 0; goto again }
}

proctype Fate()
{
    byte p;
end_f:
    do
    :: atomic { deaths < DEATHS -> deaths++; select_p(); if :: !stopped[p] -> dead[p] = 1 :: else fi }
    :: atomic { stops < STOPS -> stops++; select_p(); if :: !dead[p] -> stopped[p] = 1 :: else fi }
#ifndef CERTAIN
    :: break
#endif
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
