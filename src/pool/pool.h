/* pool/pool.h - what the process that made a pool keeps for itself about it, and about its results.
 *
 * All of it is under the pool's mutex, but for what is constant, and what a result that is ready tells.
 * No worker ever takes that mutex, or looks at any of this: its copy may be of any moment.
 */
#ifndef SHOAL_POOL_INNER_H
#define SHOAL_POOL_INNER_H

#include "message/message.h"
#include "message/queue.h"
#include "pool/units.h"
#include "process/child.h"
#include <pthread.h>

/* ---- handles: memory that is never given back, as in process/child.h ---- */

struct cell {
    _Atomic uint32_t check; /* {kind:16, 1:8, tag:8} while open, 0 when not */
    uint32_t tag;
    struct cell *next;
};
extern struct os_mutex cells_mutex;
enum cell_kind { CELL_RESULT, CELL_ITERATOR, CELL_KINDS };
enum { CELL_ALIGN = 128 };
struct cell *cell_new(enum cell_kind kind); /* zero but for the cell; NULL: no memory */
void cell_free(struct cell *cell, enum cell_kind kind);
void cell_close(struct cell *cell); /* its handle is bad, though it is still needed */
void *cell_handle(const struct cell *cell);
struct cell *cell_of(const void *handle, enum cell_kind kind, const char *what, int *rc);

/* ---- results ---- */

enum { RESULT_PENDING, RESULT_READY };

/* What few results have. */
struct extra {
    shoal_task_options options;
    unsigned tries;   /* left */
    struct work work; /* as it was given, for another try */
    int value, exit_code;
    pid_t pid;
    uint64_t item, failed;
    char *text; /* malloc */
    struct map *map;
    struct iterator *iterator;
    struct result *next_call; /* the next one whose callback is due */
};

/*   holders   HELD_BY_PROGRAM, and HELD for each other one who needs it: the pool while it is pending, an iterator
 *             until it is taken, a callback that is due. Atomic
 *   error     what shoal_result_get returns
 */
struct result {
    _Alignas(CELL_ALIGN) struct cell cell;
    struct own *pool;
    _Atomic uint32_t holders;
    _Atomic uint32_t state;
    bool called, freed; /* its callback runs; by the program. Under cells_mutex */
    uint8_t flags;      /* UNIT_… of what it gave back */
    uint8_t n;
    int error;
    uint64_t index;
    unit_name unit;         /* of a task */
    void *message;          /* the argument's; then the result's; NULL */
    shoal_any *_Atomic any; /* made by the first who asks for it */
    struct extra *extra;    /* NULL: nothing special */
    struct arrivals *row;   /* that it joins when it is ready; NULL */
    void *tag;              /* for who reads that row */
    unsigned char bytes[IN_UNIT];
};
static_assert(sizeof(struct result) == 128, "two lines");

static inline bool result_is_ready(const struct result *r)
{
    return atomic_load_explicit(&r->state, memory_order_acquire) == RESULT_READY;
}
/* After own_enter. */
static inline bool result_is_ready_now(const struct result *r)
{
    return atomic_load(&r->state) == RESULT_READY;
}
struct result *result_of(const shoal_result *result, const char *what, int *rc);
/* shoal_result_free may be called by the program and by a callback: only for the first who does is it held. */
enum { HELD_BY_PROGRAM = 1, HELD = 2 };
/* For two holders: the pool, and who gives the task. With `extra` if there are options or retries. */
struct result *result_new(struct own *p, bool extra);
struct extra *result_extra(struct result *r); /* made if there is none; NULL: no memory */
void result_drop(struct result *r);           /* one holder less, not the program */
/* Who gave the task, or has it from an iterator, leaves it to the program: its handle. Before a callback may free it. */
static inline shoal_result *result_hand_out(struct result *r)
{
    shoal_result *handle = cell_handle(&r->cell);
    atomic_fetch_sub(&r->holders, HELD - HELD_BY_PROGRAM);
    return handle;
}
/* Its callback, for which its handle is good whatever the program has done. */
void result_call(struct result *r, void (*callback)(shoal_result *, void *), void *argument);
/* A sentence for people; kept if there is memory. */
void result_text(struct result *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Says in a sentence what is wrong with one that is ready: its error. */
int result_error(struct result *r, const char *call);
/* Under the mutex: it is ready. Its callback becomes due. */
void result_finish(struct result *r, int error);

/* ---- the pool ---- */

/* The pool whose mutex the calling thread has while it calls the program (for progress), which may not call the pool. */
extern _Thread_local const struct own *pool_telling __attribute__((tls_model("initial-exec")));

struct member {
    shoal_process *process; /* NULL: there is none */
    pid_t pid;
    uint32_t slot, generation;
    int reason;  /* why it is killed: 0, or the error of what it is at */
    bool hiring; /* somebody is about to start it (staff.c) */
};

/* What is known of a run of units: whose they are, and how many are not told. */
struct run {
    struct run *next, *next_free;
    struct result *owner[UNITS];
    uint64_t position; /* of its first unit */
    unsigned level, open;
    unsigned number; /* in `owned` */
};

/*   users    calls under way by handles of its results and iterators: it may be given back meanwhile, and waits for them. These
 *            structs are never given back, so a call that comes late may be counted, and finds that its result is ready, or its
 *            iterator of no pool
 *   leaving  it waits
 */
/* Results in the order in which they became ready: each brings its giver's hold along (staff.c).
 *   pending  results that will come
 *   ready    those that came
 *   first, last  that were not taken, linked by their cells
 *   left     nobody takes any more: it goes with the last one
 *   low      watched: who minds the pool is told when no more than so many are pending; next_watched: of the pool's
 */
struct arrivals {
    uint64_t pending, low;
    struct arrivals *next_watched;
    _Atomic uint64_t ready;
    struct result *first, *last;
    bool left;
};

struct own {
    _Atomic uint32_t users, leaving; /* the first: also of who comes late, so it is never set */
    struct own *next;                /* of all pools of this process, or of the unused */
    shoal_pool *handle;
    struct pool *shared;
    shoal_queue *results;
    uint32_t id;               /* the object's */
    uint32_t slot, generation; /* of the process that made it */
    uint64_t family;
    uint64_t signals; /* what it blocked then */
    int64_t began;
    shoal_pool_options options;
    char name[NAME];
    unsigned workers;
    struct os_mutex mutex;

    struct member *members;
    unsigned gone; /* of them have given up their places, when they were looked at, and not ended */
    struct run *runs, *free_runs; /* all; those that are told, to be used again */
    struct run **run_at[LEVELS];  /* the directory, as far as it has been used */
    uint32_t room_at[LEVELS];
    uint64_t tail[LEVELS];
    uint64_t index;                /* of the next result */
    uint64_t outstanding, limited; /* units that are not told; of those with a limit */
    const void *codes[CODES];
    unsigned n_codes, last_code;
    /* who gives a task now waits for it, and wakes a worker then, if need be */
    bool quiet;
    _Atomic bool unwoken; /* one was given so */

    int over;                  /* 0; why nothing more is taken: -EPIPE, -ECANCELED, -ECONNABORTED */
    int64_t next_start;        /* not before, as the last one failed */
    int64_t *deaths;           /* when the last ones were, a ring of most_deaths + 1 */
    unsigned n_deaths, spares; /* how many; processes made so far */
    char last_death[128];

    _Atomic uint32_t turns;           /* grows when something becomes ready */
    struct result *calls, *last_call; /* whose callbacks are due */
    unsigned calling;                 /* those, and the one that is being called */
    struct map *maps;                 /* that are not ready */
    struct iterator *iterators;
    int64_t told_progress; /* when it was told last */
    bool threaded, stop;
    pthread_t thread;
    _Atomic int thread_state;  /* 1: it runs; below 0: why it cannot */
    struct long_result *stash; /* messages whose units are not settled yet */

    bool staffed;        /* the program starts the workers (staff.c) */
    bool strict;         /* one that its initializer ends is one too many */
    bool was_ready;      /* one of them has been of use */
    unsigned unready;    /* workers in a row that ended before they were ready */
    int64_t kill_at;     /* staffed, terminated: when who has not ended is killed */
    struct arrivals due; /* staffed: of results that somebody is to be told of */
    struct arrivals *watched;
    bool stirred;
};

/* An open handle of a pool that this process has made; NULL, with *rc. */
struct own *pool_of(const shoal_pool *pool, const char *call, int *rc);
/* The same, locked, and open for tasks. */
struct own *pool_open(const shoal_pool *pool, const char *call, int *rc);
/* Around a call by a result's or an iterator's handle; in it, look once more. */
static inline void own_enter(struct own *p)
{
    atomic_fetch_add(&p->users, 1);
}
static inline void own_leave(struct own *p)
{
    if (atomic_fetch_sub(&p->users, 1) == 1 && atomic_load(&p->leaving))
        os_futex_wake(&p->users, 1);
}
/* In a worker of this pool: holds none of its parent's others. */
void pools_leave(const shoal_pool *but);
int pool_is_over(const struct own *p, const char *call);
/* Under the mutex: its workers are killed, and nothing more is taken. */
void pool_end(struct own *p);
/* Whether this process made it, in the family that it is in now. */
static inline bool pool_is_mine(const struct own *p)
{
    return p->slot == process_self.slot && p->generation == process_self.generation &&
           atomic_load_explicit(&process_self.attached, memory_order_relaxed) &&
           p->family == view.region->family;
}

/* ---- submit.c: under the mutex ---- */
/* Adds a unit at the end of a level, whose result is `owner`'s: its name, or 0 with *rc. unit_publish makes it known. */
unit_name unit_add(struct own *p, unsigned level, struct result *owner, const struct work *work,
                   int *rc);
static inline void unit_publish(struct own *p, unsigned level, int many)
{
    units_publish(p->shared, level, p->tail[level], many);
}
struct result *unit_owner(const struct own *p, unit_name name);
/* It is over, and its place free. */
void unit_over(struct own *p, unit_name name);
/* The number of a function among the pool's codes: 0, -EINVAL, -ENOEXEC, -ENOSPC. */
int code_number(struct own *p, const void *function, const char *call, uint16_t *ret);
static inline unsigned level_of(const shoal_task_options *options)
{
    return options ? (unsigned)(options->priority + 1) : 1;
}
int options_check(const shoal_task_options *options, const char *call);
/* In the flags of its options: the pool's thread is told when it is done, though there is no callback. */
#define TASK_CARES 0x80000000u
/* Gives a task: its argument is bytes, or, if that is not NULL, an any. */
int task_give(struct own *p, struct result **ret, uint16_t code, const shoal_any *any,
              const void *bytes, size_t size, const shoal_task_options *options,
              struct iterator *iterator, const char *call);
/* Whether it lies in the region as a whole. */
static inline bool in_region(const void *address, size_t size)
{
    const unsigned char *at = address;
    return at >= view.heap && at < view.base + view.at.size &&
           size <= (size_t)(view.base + view.at.size - at);
}

/* ---- settle.c: under the mutex ---- */
/* Takes in what is finished: whether there was something. */
bool pool_settle(struct own *p);
/* What a worker that is dead had at last. `fruitless`: no task ended with it. */
void pool_judge(struct own *p, unsigned worker, pid_t pid, int exit_code, bool *fruitless);
/* Ends a unit: one that nobody has yet at once; a worker that is at it is killed first. `error`: -ECANCELED, -ETIME … */
void unit_end(struct own *p, unit_name name, int error);
/* The same of one that nobody has: false: somebody does. */
bool unit_withdraw(struct own *p, unit_name name, int error);
/* The same for all there are; where there are no workers any more. */
void pool_drop(struct own *p, int error);
/* The message that a worker put beside its unit; NULL: there is none. */
void *long_result(struct own *p, unit_name name);

/* ---- map.c ---- */
void map_done(struct own *p, struct result *r, unit_name name, const struct work *work);
/* Of a part that ends otherwise: `at` of its items are done, and the next one ended like this; pid 0: none has been begun. */
void map_lost(struct own *p, struct result *r, unit_name name, const struct work *work, uint64_t at,
              int error, pid_t pid, int exit_code);
/* A worker has died, and may not have counted the part that it had done: from now on each one wakes who waits. */
void maps_uncounted(struct own *p);
void map_cancel(struct own *p, struct map *map);
void map_free(struct map *map);
bool map_progress(struct own *p, struct map *map, shoal_progress *ret,
                  shoal_progress_callback *callback, void **argument);
struct map *map_next(struct map *map);

/* ---- workers.c: under the mutex ---- */
int workers_start(struct own *p);
/* Looks after those that have ended: judges, and replaces. How soon to look again, ns; INT64_MAX: a wake-up
 * will tell. */
int64_t workers_heal(struct own *p);
/* One that has given up its place and is about to end, if that is all that is waited for; or 0. */
pid_t workers_ending(const struct own *p);
/* Whether one has gone since then: to be asked after wait_announce, as it may have wakened nobody. */
bool workers_changed(const struct own *p);
/* Whether somebody is to start one, in a staffed pool. */
bool workers_wanted(const struct own *p);
void worker_kill(struct own *p, unsigned worker);
/* The pool is over: they are killed, or, in a staffed one, asked first. */
void workers_end(struct own *p);
void workers_kill(struct own *p);
/* The process exits: from now on no pool replaces its workers, and who still waits is told that it was terminated. Not under
 * the mutex. */
void workers_end_all(void);
bool workers_gone(const struct own *p);
/* Ends tasks whose limit has passed; when the next one's does. INT64_MAX: none. */
int64_t workers_limits(struct own *p);

/* ---- wait.c ---- */
/* Waits until ready(argument), which is asked under the mutex, after what is finished has been taken in. -ERESTART: staff.c. */
int pool_wait(struct own *p, bool (*ready)(void *argument), void *argument, int64_t deadline);
/* Others of this process may be able to go on. Under the mutex. */
void pool_turn(struct own *p);
/* Calls who wants to know how far maps are, if it is time. When it is time again. Under the mutex: a callback that
 * asks the pool for anything waits for itself. */
int64_t pool_progress(struct own *p);

/* A callback for progress, under the mutex. */
void pool_tell(struct own *p, shoal_progress_callback callback, const shoal_progress *progress,
               void *argument);

/* ---- staff.c: for programs that start a pool's workers in their own way ----
 *
 * In a staffed pool no worker is started by the library. Who waits for it is told by -ERESTART that one is wanted, and then asks for a place,
 * starts a process that calls worker_begin, and says who it is. Nothing of this calls the program under the mutex, so it
 * may have locks of its own above it.
 */
int pool_create_staffed(shoal_pool **ret, const shoal_pool_options *options);
/* Which place is to be filled, now the caller's to fill: from 0; -EAGAIN: none; or why not. */
int pool_vacancy(shoal_pool *pool);
/* Who fills it; NULL: it could not be started, and is wanted again in a while. The handle stays the caller's, and open until pool_employs
 * says that it is not one of them any more. */
int pool_hired(shoal_pool *pool, int place, shoal_process *process);
bool pool_employs(shoal_pool *pool, pid_t pid);
/* The place of its thread, which the program gives: waits until there may be something to do: 1, there may; -ERESTART; 0: it is over, and
 * all is told. p->threaded is set meanwhile. -EINTR. */
int pool_mind(struct own *p, int64_t deadline);
/* From now on it returns when no more than `low` of them are pending; then, that it does not. Both under the mutex. */
void arrivals_watch(struct own *p, struct arrivals *row, uint64_t low);
void arrivals_unwatch(struct own *p, struct arrivals *row);
/* Under the mutex: whether there is something for who minds the pool. */
bool mind_due(const struct own *p);
/* It returns once. */
void pool_stir(struct own *p);
/* From now on nobody minds it. */
void pool_unmind(struct own *p);
/* Under the mutex. One that is ready, now the caller's; NULL: none. */
struct result *arrivals_take(struct arrivals *row);
void arrivals_add(struct arrivals *row, struct result *r);
/* Nobody takes from it any more: it is given back, at once or with the last that comes. */
void arrivals_leave(struct arrivals *row);
/* Under the mutex. Ends those of it that are not ready: `all`, or those that have not begun: how many. */
unsigned arrivals_cancel(struct own *p, const struct arrivals *row, bool all);
/* Under the mutex. Ends one that has not begun: whether it did. */
bool result_withdraw(struct own *p, struct result *r);

/* ---- thread.c ---- */
/* Under the mutex: what there is to do, but callbacks. When to look again. */
int64_t thread_care(struct own *p);
/* Not under it: sleeps until there may be something. */
int thread_sleep(struct own *p, int64_t until);
int thread_start(struct own *p); /* under the mutex; 0 also if it runs */
void thread_stop(struct own *p); /* not under it */

/* ---- imap.c ---- */
void iterator_ready(struct iterator *it, struct result *r);
void iterators_orphan(struct own *p);               /* the pool goes */
uint64_t iterator_given(const struct iterator *it); /* how many results have been asked for */

/* ---- progress.c ---- */
enum { PROGRESS_PERIOD = 100000000 };

/* Of seconds that the program says, which may be any number from 0 on: so that it can be added to a time. */
static inline int64_t nanoseconds(double seconds)
{
    return seconds < 4e9 ? (int64_t)(seconds * 1e9) : INT64_MAX / 2;
}

#endif
