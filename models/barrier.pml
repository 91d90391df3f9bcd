/*
 * Barriers of channels (src/csp/barrier.c): N that may be enrolled, the first two from the beginning. Who is enrolled arrives, looks, and waits until the
 * round is over, or gives up and withdraws (WITHDRAWS in all), or resigns in the end; who is not enrols in the middle (ENROLS) and then does the
 * same. Each does ROUNDS rounds. Any may die before any step; who repairs resigns in its name.
 *
 * A look is a step for each end. The word is {round, changes}.
 *
 * Judged: a round is over only when each end that had been enrolled before it was, and still counts, has arrived in it; who has withdrawn was not in it;
 * nobody waits for ever.
 */
#ifndef N
#define N 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef WITHDRAWS
#define WITHDRAWS 0
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef ENROLLED
#define ENROLLED 2
#endif

byte round, changes;
bit counts[N];     /* its end does */
bit named[N];      /* and is in the list: struck out last, so that whoever repairs does it again */
byte arrived[N];   /* + 1 */
bit enrolled[N];   /* ghost: its enrolment has returned, and it has not begun to resign */
bit inside[N];         /* ghost: it is in a call to wait, and has not begun to withdraw */
bit dead[N];
byte withdraws, deaths;

/* Of all that count, who has not arrived? `seen` is what the word was. */
inline look()
{
    do
    :: atomic { r = round; c = changes; q = 0; any = 0; all = 1 };
       do
       :: atomic { q < N && all -> if :: counts[q] -> any = 1; all = (arrived[q] == r + 1) :: else fi; q++ }
       :: atomic { q >= N || !all -> break }
       od;
       atomic {
           if
           :: !all || !any -> q = 0; break
#ifdef BAD_NO_CHANGES
           :: all && any && round == r ->
#else
           :: all && any && round == r && changes == c ->
#endif
               q = 0;
               do
               :: q < N -> assert(!enrolled[q] || !counts[q] || inside[q]); q++
               :: q >= N -> break
               od;
               q = 0; round++; break
           :: else
           fi
       }
    od;
    all = 0; any = 0; r = 0; c = 0
}

proctype P(byte me)
{
    byte n, r, c, q, mine;
    bit any, all;
    { skip;
    if
    :: atomic { me >= ENROLLED -> arrived[me] = round; counts[me] = 1; named[me] = 1 };
#ifndef BAD_ENROL_UNSEEN
       atomic { changes = (changes + 1) % 8 };
#endif
       enrolled[me] = 1
    :: else
    fi;
    do
    :: n < ROUNDS ->
        mine = round;
        atomic { inside[me] = 1; arrived[me] = mine + 1 };
#ifndef BAD_ARRIVE_WITHOUT_LOOK
        look();
#endif
end_waits:
        if
        :: round != mine -> inside[me] = 0
        :: atomic { withdraws < WITHDRAWS && round == mine -> withdraws++ };
           atomic { if :: arrived[me] == mine + 1 -> arrived[me] = mine :: else fi };
           atomic {
               if
               :: round == mine -> changes = (changes + 1) % 8; inside[me] = 0
               :: else -> inside[me] = 0
               fi
           }
        fi;
        n++
    :: n >= ROUNDS -> break
    od;
    enrolled[me] = 0;
    counts[me] = 0;
#ifdef BAD_STRUCK_OUT_FIRST
    named[me] = 0;
#endif
#ifndef BAD_RESIGN_WITHOUT_LOOK
    look();
#endif
    named[me] = 0
    } unless { dead[me] };
    skip
}

/* Whoever notices: the end of the dead does not count any more, then a look. */
proctype Repairer()
{
    byte d, r, c, q;
    bit any, all;
end_r:
    do
    :: atomic { dead[0] && named[0] -> d = 0; break }
    :: atomic { dead[1] && named[1] -> d = 1; break }
#if N > 2
    :: atomic { dead[2] && named[2] -> d = 2; break }
#endif
    od;
    atomic { counts[d] = 0; enrolled[d] = 0; inside[d] = 0 };
    look();
    named[d] = 0;
    goto end_r
}

proctype Fate()
{
    byte p;
    do
    :: atomic { deaths < DEATHS -> deaths++; p = 0; do :: p < N - 1 -> p++ :: break od; dead[p] = 1 }
    :: break
    od
}

proctype Judge()
{
    byte q;
end_j:
    timeout ->
    atomic {
        do
        :: q < N -> assert(dead[q] || !inside[q]); q++ /* some wait, and nothing moves */
        :: q >= N -> break
        od
    }
}

init
{
    byte p;
    atomic {
        do
        :: p < ENROLLED -> counts[p] = 1; named[p] = 1; enrolled[p] = 1; p++
        :: p >= ENROLLED -> break
        od;
        p = 0;
        do
        :: p < N -> run P(p); p++
        :: p >= N -> break
        od;
        if :: DEATHS -> run Fate(); run Repairer() :: else fi;
        run Judge()
    }
}
