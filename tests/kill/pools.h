/* pools.h - what the scenarios about pools share. A worker that is led along, or is a partner, is none that the pool has started: it
 * takes the place of one that was, and runs the worker's own code (attach, adopt). What a worker does is asked for by orders; what has
 * been done is counted outside of the region.
 */
#ifndef TESTS_KILL_POOLS_H
#define TESTS_KILL_POOLS_H

#include "family.h"

#include "pool/pool.h"
#include "pool/worker.h"

enum {
    ITEMS = 6,
    FAILS = 1 /* this one of them, if any */,
    LONG = 300,
    MOST = 1000,
    OTHERS = 10,
    UNTIL_ASLEEP = 2
};

/* What the processes of a case tell one another. */
extern struct common {
    struct worker_start start;
    uint32_t slot, generation; /* of whoever is taken in */
    pid_t pid;
    int there, attached, adopted;     /* the pool; its worker; and both know */
    int entered, release;             /* of a function that waits */
    int given;                        /* a task, to who sleeps */
    int over;                         /* what is to happen beside the stopped one has happened */
    int item_waits;                   /* UNTIL_ASLEEP */
    int refuse;                       /* initializers */
    int runs[4];                      /* of the function, by number of the order */
    int calls[ITEMS], victims[ITEMS]; /* of items: all, and by the victim */
} * share;

struct order {
    unsigned number;
    size_t argument, result; /* sizes */
    int value;               /* what the function returns; with a sentence of `result` bytes */
    bool any, unknown;
    unsigned char waits; /* for `release`, or UNTIL_ASLEEP */
};

struct state {
    struct note *note;
    int workers;
    bool threaded, fails;
    shoal_memory *memory; /* where a result goes */
    shoal_task_options options;
    struct order *order; /* what the victim is to do; NULL: a map */
};

extern const struct order plain;

extern shoal_pool *pool; /* of the pool's process: its handle */

/* ---- what workers do ---- */

/* The function of an order without an argument of its own: three bytes {number, waits, fails}. */
int work_short(shoal_task *task);
/* Items of maps, which are counted; the latter returns 5 for number FAILS. */
int item(const void *in, void *out);
int item_that_may_fail(const void *in, void *out);

/* ---- the pool's process ---- */

/* A pool whose workers have ended, so that others can take their places. */
void make_pool(struct state *s);
struct own *own_of(void);
/* From now on whoever has attached is worker 0. */
void adopt(const struct state *s);
/* As a partner: lets the victim begin, and adopts it. */
void await_victim(const struct state *s);
/* Starts all that there should be; the other: but for worker 0, whose place is taken for that long. */
void start_workers(void);
void start_the_other(void);

/* Tasks, without the pool's thread. */
struct result *give(shoal_function function, const void *bytes, size_t size,
                    const shoal_task_options *options);
struct result *give_short(unsigned char number, unsigned char waits);
struct result *give_order(struct state *s);
/* What a task of this order came to: 1 if it was told that its worker died. */
int expect(struct result *r, const struct order *o, bool may_die);
/* One more, which nothing may befall. */
void go_on(unsigned char number);
/* Nothing of a task is left. */
void check_objects(const struct state *s);
void end_pool(void);

/* ---- a worker that the pool has not started ---- */

void attach(void);
struct pool *own_shared(void); /* the pool, as it sees it */
void remaining_steps(void *p);

/* ---- cases ---- */

struct state *begin(int workers);
void *with_order(const struct order *o);
void with_out(struct state *s); /* its result, of LONG bytes, goes to memory of its own */
void *setup_short(void);
void *setup_long(void);
void last(void *p);

#endif
