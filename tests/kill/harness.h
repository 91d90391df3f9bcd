/*
 * harness.h: kills (or stops) a process at every point of an operation that matters, and looks
 * whether those who survive can go on.
 *
 * OVERVIEW
 *
 * A scenario describes shared state, an operation on it, and what must be true when the process
 * that was inside the operation is gone. The harness runs it once undisturbed under ptrace and
 * writes down its kill points. Then it runs it again from the beginning for each point: fresh state
 * in a fresh process, the victim goes natively up to the point (hardware breakpoint; single steps
 * where there is none), is killed there with SIGKILL and reaped at once, and the survivors have to
 * do their work within the deadline. Whoever is not done by then "hung", and the point counts as
 * failed.
 *
 * Kill points are
 *   - before and after each instruction that writes one of the ranges named by kill_region()
 *     (with KILL_EVERY_INSTRUCTION: before each instruction);
 *   - each system call: at its entry, asleep in it (confirmed: state S and not one switch of context
 *     since), and returned from it (for one that slept: woken but not yet back in user space).
 * In a loop an instruction counts 16 times, then each time its count is a power of two; of a string
 * instruction (rep) the first two rounds and its end count.
 *
 * A SCENARIO
 *
 *     struct state { ... };                       // private: the same in all processes, as they are forked
 *
 *     static void *setup(void)                    // makes shared state, says where it lies
 *     {
 *         struct state *s = calloc(1, sizeof(*s));
 *         ASSERT_OK(shoal_lock_create(&s->lock, NULL));
 *         kill_region(base, size);
 *         return s;
 *     }
 *     static void victim(void *p)                 // killed at each point of this
 *     {
 *         struct state *s = p;
 *         ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
 *         ASSERT_OK(shoal_lock_release(s->lock));
 *     }
 *     static void survivor(void *p, int i)        // must succeed wherever it died
 *     {
 *         struct state *s = p;
 *         int got = ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
 *         if (got == SHOAL_OWNER_DIED)
 *             ASSERT_TRUE(kill_victim_was_killed());
 *         ASSERT_OK(shoal_lock_release(s->lock));
 *     }
 *     KILL_SCENARIO(lock_uncontended, .setup = setup, .victim = victim, .survivor = survivor);
 *
 * Link with harness*.c, the runner's check.c, and harness_main.c (which holds main); or call
 * kill_run() from a test of your own. All callbacks use the assertions of check.h.
 *
 * WHO RUNS WHAT
 *
 *     case process   setup, state, and nothing else; is the parent and tracer of all others
 *     victim         prepare (native), victim (traced), after (native; only if it was not killed)
 *     partner i      partner(s, i): forked before the victim, and at its place when the victim begins
 *     survivor i     survivor(s, i): forked after the kill, all at once, beside the partners
 *     last           final(s): a process forked when all others are done
 *
 * Every process but the victim has the deadline from the kill on (10 s, or .deadline): a net, not a
 * measurement. Whoever fails an assertion, crashes or exits with another status than 0 fails the
 * point. Everyone leaves by exit(0), so that the library's own end of process runs.
 *
 * PARTNERS are how a victim gets to sleep and to be woken. They wait for the victim's progress with
 * kill_await_*(). The harness moves the victim only when every partner is settled: asleep in some
 * other system call, waiting in kill_await_*, or gone. For example a victim that blocks:
 *
 *     static void partner(void *p, int i)
 *     {
 *         struct state *s = p;
 *         ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
 *         kill_partner_ready();                   // only now the victim is let go
 *         kill_await_asleep(1);                   // or until the victim is over: killed or done
 *         ASSERT_OK(shoal_lock_release(s->lock));
 *     }
 *
 * and one that must be woken by the victim: kill_await_begun(), then acquire, while the victim took
 * the lock in prepare(). (There leave survivor out: one that came later would wake the partner whom
 * the victim no longer could.) A partner whose first act is to block may call kill_partner_ready()
 * before it: all are settled anyway before the victim begins. If nobody wakes the victim, set
 * KILL_ENDS_ASLEEP: the path then ends where it has gone to sleep.
 *
 * MODES
 *
 *   KILL    as above.
 *   STOP    the victim is stopped instead. While it stands, stopped(s, i) runs in as many processes as
 *           survivor would: what must go on beside a stopped process, and must not be repaired. Then the
 *           victim goes on and must come to its end, and survivor and final run as after an
 *           undisturbed run. Only for scenarios that have stopped.
 *   REPAIR  the victim is killed at each point; then repair(s) (default: survivor(s, 0)) is itself
 *           traced and killed at each of its points; then survivor and final run. Needs state(s): a hash
 *           of what matters in the shared state, without generations and process ids. Of two repairers
 *           that left the same hash only the first is followed up, and of two victims likewise; where
 *           no partners are, the hash is taken on the way already, and nobody is killed at a point that
 *           would leave what another has left.
 *
 * COVERAGE: harness_main's --cover PATTERN lists the instructions of matching functions that store
 * through a register other than the stack's, and were never a kill point: see harness_main.c.
 *
 * COSTS: 5 to 20 us a single step, only where a way is found; a kill is 1 to 3 ms: some forks,
 * the way to the point, and what the survivors do; 5 ms where somebody must be seen asleep.
 *
 * LIMITS: x86-64 (elsewhere all is skipped). Only the victim's first thread is stepped; children of
 * the victim run free. Operations must take the same way each time: switch spinning off
 * (SHOAL_TEST_SPIN=0). A run that leaves the known way is repeated, three times at most; then the
 * way is found anew, twice at most; then the point counts as failed, "diverged". How many runs were
 * repeated is printed. A killed instruction is always wholly
 * done or not at all; what a store buffer may delay is not seen (models do that). What the kernel
 * writes into the region counts at the entry and return of its system call.
 */
#ifndef TESTS_KILL_HARNESS_H
#define TESTS_KILL_HARNESS_H

#include "../runner/check.h"

#include <stddef.h>
#include <stdint.h>

enum kill_mode {
    KILL_MODE_KILL = 1,
    KILL_MODE_STOP = 2,
    KILL_MODE_REPAIR = 4,
};

enum kill_flag {
    KILL_EVERY_INSTRUCTION = 1, /* before each instruction, not only where the region is written */
    KILL_ENDS_ASLEEP = 2,       /* nobody wakes the victim: its way ends asleep */
    KILL_NO_BREAKPOINT = 4,     /* single steps in each run (for ways that are sensitive to time) */
    KILL_FROM_BIRTH =
        8, /* the victim's way begins in its fork, with the handlers of others; no prepare */
    /* stopped() is forked past the handlers of others, so its birth changes nothing */
    KILL_UNNOTICED = 16,
    /* Behind each system call of the victim the partners settle: whom it woke has done by then what it does, so that the
     * victim's way does not depend on who is faster. */
    KILL_SETTLED = 32,
};

#define KILL_MAX_PARTNERS 16

struct kill_scenario {
    const char *name;
    void *(*setup)(void);     /* its result is handed to all others */
    void (*prepare)(void *s); /* may be NULL, as may all that follow but victim */
    void (*victim)(void *s);
    void (*after)(void *s);
    void (*partner)(void *s, int i);
    int partners; /* 0 with a partner function means 1 */
    void (*survivor)(void *s, int i);
    int survivors; /* 0 means 2 */
    void (*stopped)(void *s, int i);
    void (*repair)(void *s);
    uint64_t (*state)(void *s);
    void (*final)(void *s);
    unsigned flags;  /* enum kill_flag */
    double deadline; /* seconds; 0 means 10 */
    struct kill_scenario *next;
};

/* Registers a scenario for harness_main. */
#define KILL_SCENARIO(id, ...)                                             \
    __attribute__((constructor)) static void kill_add_##id(void)           \
    {                                                                      \
        static struct kill_scenario scenario = {.name = #id, __VA_ARGS__}; \
        kill_register(&scenario);                                          \
    }                                                                      \
    _Static_assert(1, "a semicolon follows")

void kill_register(struct kill_scenario *scenario);

/* ---- for setup ---- */

/* Writes to [base, base + size) are kill points. Up to 8 ranges. */
void kill_region(const void *base, size_t size);
/* The same for each shared mapping of this process whose name in /proc/self/maps contains this text. */
void kill_region_named(const char *text);

/* Called after each kill, and every 10 ms until all have ended: for sleepers that go on by time, which would make each way another
 * one. They sleep without an end then, and are told here that a slice is over. */
void kill_slices(void (*end)(void));

/* ---- for partners ---- */

void kill_partner_ready(void);
/* Each returns early when the victim is over: killed, or done and past its after(). */
void kill_await_begun(void);
void kill_await_asleep(int times); /* until the victim has fallen asleep so many times */
void kill_await_stopped(void);
void kill_await_over(void);

/* ---- for all ---- */

int kill_victim_pid(void);
/* 1 in survivor, final, and in a partner after kill_await_over, if the victim was killed. */
int kill_victim_was_killed(void);
/* 1 from the moment on in which the victim is stopped for good in mode STOP, until it goes on. */
int kill_victim_is_stopped(void);

/* ---- for programs that call the harness ---- */

struct kill_options {
    unsigned mode;    /* one enum kill_mode; 0 means KILL */
    int thin;         /* every n-th point; 0 and 1 mean all */
    int offset;       /* the first of them, 0 … thin - 1 */
    int max_failures; /* stop after so many failing points; 0 means 5 */
    double deadline;  /* overrides the scenario's where not 0 */
    int verbose;      /* prints each point */
    int quiet;        /* prints nothing */
};

struct kill_result {
    /* kill points found on the way of the victim (all repairers' too in mode REPAIR) */
    int points;
    int tried;          /* of these, killed or stopped at */
    int same;           /* mode REPAIR: not followed up, since the state was known */
    int failed;         /* failing points, and failures of the undisturbed run */
    int repeated;       /* runs that were repeated since they left the known way */
    int steps;          /* instructions of the undisturbed run */
    int slept;          /* points asleep in a system call */
    int skipped;        /* 1: not run; failure says why */
    char failure[2600]; /* the first failure: point and what was said */
};

/* Runs one scenario in one mode and prints its line. Returns 0 if all was well, 1 if not. */
int kill_run(const struct kill_scenario *scenario, const struct kill_options *options,
             struct kill_result *result);

/* Why nothing can be traced here, or NULL. */
const char *kill_unavailable(void);

#endif
