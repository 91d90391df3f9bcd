/* shoal/pool.h - a pool of worker processes that run functions.
 *
 * A task is a call of a function in a worker: it gets bytes or an any, and gives back bytes or an any. A map calls a
 * function for each item of an array. Tasks begin in the order in which they were given, those of a higher
 * priority first.
 *
 *     static int square(shoal_task *task) { ... }
 *     shoal_pool_create(&pool, NULL);                              as many workers as there are CPUs
 *     shoal_pool_apply_async(pool, &result, square, "7", 1, NULL);
 *     shoal_result_get(result, &bytes, &size, SHOAL_FOREVER);
 *     shoal_result_free(result);
 *
 *     static int cube(const void *in, void *out) { ... }
 *     shoal_pool_map(pool, cube, in, sizeof *in, out, sizeof *out, n, NULL, SHOAL_FOREVER);
 *
 *     shoal_pool_close(pool);
 *     shoal_pool_join(pool, SHOAL_FOREVER);
 *     shoal_pool_free(pool);
 *
 * A worker that dies (a signal, exit, too much memory) fails the task that it was at, and nothing else: that one's
 * error tells how, and another worker takes its place. Workers are children of the process that made the pool, daemons:
 * they end with it, however it ends. They ignore SIGINT: what Ctrl-C does is the parent's business. What they have printed
 * is flushed when they end in order (the pool is closed and joined, tasks_per_worker), not when they are killed (terminate, free).
 *
 * Only the process that made the pool gives tasks and asks for results, from any of its threads at the same time; a
 * child that has inherited the handle gets -ECHILD (but it may look at a result that was ready when it began). Only shoal_pool_free, shoal_result_free and
 * shoal_iterator_free may not come beside another call with the same handle. If that process is killed,
 * wherever, its workers end, and nothing of the pool is left (but a stopped worker, if the keeper was killed too: process.h).
 *
 * From the first call of apply_async, map_async or imap on, a pool has one thread in that process, with all
 * signals blocked, which replaces workers, calls callbacks and minds limits while the program does something
 * else. A pool that is only asked for apply and map has none: who waits does that.
 *
 * Functions travel by name, not by address: as an offset in the file that they come from, told by its build id, or as
 * a name given by shoal_function_register. What a worker does not know (a library that was loaded after the worker
 * had begun) fails the task with -ENOEXEC.
 */
#ifndef SHOAL_POOL_H
#define SHOAL_POOL_H

#include <shoal/any.h>
#include <shoal/memory.h>
#include <shoal/process.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct shoal_pool shoal_pool;
typedef struct shoal_task shoal_task;         /* in a worker, during the call */
typedef struct shoal_result shoal_result;     /* of a task, or of a map */
typedef struct shoal_iterator shoal_iterator; /* of imap */

/* Runs in a worker. 0; or an error, any other number, which the result tells (shoal_failure). */
typedef int (*shoal_function)(shoal_task *task);
/* Of a map, for one item: the same. `in` and `out` point to the item, and to where its result goes. */
typedef int (*shoal_item_function)(const void *in, void *out);
/* Of a starmap: in[i] points to the item of array i. */
typedef int (*shoal_star_function)(const void *const in[], void *out);

/* ---- making and ending ---- */

enum { SHOAL_POOL_WORKERS = 1024 /* the most */ };

typedef struct shoal_pool_options {
    int workers; /* 1 to SHOAL_POOL_WORKERS; 0: shoal_cpu_count() */
    /* at most 40 bytes; NULL: pool-1, pool-2, ... Its workers are pool-1:1, pool-1:2, ... */
    const char *name;
    unsigned flags; /* must be 0 */
    /* In each worker before its first task, and after its last one if it ends in order, with `argument`: what
     * that points to is the worker's own copy of the moment in which it begins, so it must last as long as the pool. An
     * initializer that does not return 0 ends its worker, as a death. */
    int (*initializer)(void *argument);
    void (*finalizer)(void *argument);
    void *argument;
    /* then another takes its place; 0: no limit. A part of a map counts as one */
    uint64_t tasks_per_worker;
    /* Bytes that a worker may allocate beyond what it has at its beginning (address space, RLIMIT_AS); 0: no
     * limit. What lies in shared memory does not count. */
    uint64_t memory_per_worker;
    /* More than most_deaths deaths of workers in in_seconds, and the pool gives up: all that is not done fails with
     * -ECONNABORTED, and nothing more is taken. UINT_MAX: any number. 0: 16 in 5 seconds, and only those count after
     * which no task has failed (in the initializer, or at a task that is then tried again): these could go on for ever.
     * So a few bad tasks with many retries can make a pool give up: then give a number. */
    unsigned most_deaths;
    double in_seconds; /* 0: 5 */
} shoal_pool_options;

/* Makes a pool and starts its workers: 0. -EINVAL: workers below 0 or above the most, unknown flags, a name that is too long.
 * -ENOMEM, -EAGAIN: no room for the pool or its processes; none is left. */
SHOAL_API int shoal_pool_create(shoal_pool **ret, const shoal_pool_options *options);
/* Nothing more is given (-EPIPE); what was given is done, then the workers end. 0, also if it was closed. */
SHOAL_API int shoal_pool_close(shoal_pool *pool);
/* Kills the workers at once; what is not done fails with -ECANCELED. 0. */
SHOAL_API int shoal_pool_terminate(shoal_pool *pool);
/* Waits until all workers of a closed or terminated pool have ended, and all callbacks have been called: 0. -EBUSY: it is neither.
 * -EDEADLK: a callback calls.
 * -EAGAIN, -ETIMEDOUT, -EINTR. */
SHOAL_API int shoal_pool_join(shoal_pool *pool, int64_t deadline);
/* Terminates what still runs, and gives back what is the pool's; results that are ready stay good. Other threads may be waiting for
 * results, or in shoal_iterator_next: it returns when they have been told. NULL, and takes NULL.
 * A child that has inherited the handle may give it back too. */
SHOAL_API shoal_pool *shoal_pool_free(shoal_pool *pool);

typedef struct shoal_worker_statistics {
    pid_t pid;         /* 0: there is none at the moment */
    uint64_t tasks;    /* that it has done; an item of a map counts as one */
    double busy, idle; /* seconds since it began; idle: without a task for more than a moment */
} shoal_worker_statistics;
/* How many workers it has; fills in up to n. */
SHOAL_API int shoal_pool_statistics(shoal_pool *pool, shoal_worker_statistics ret[], size_t n);

/* Gives a function a name, at most 62 bytes, which it travels by: for functions that are in no file (made at run
 * time), or where worker and parent are not the same program. To be done before the worker begins, in the process that it comes from.
 * -EALREADY: another function has the name. */
typedef void (*shoal_code)(void);
SHOAL_API int shoal_function_register(const char *name, shoal_code function);

/* ---- in a worker ---- */

/* What the task was given: valid until it returns; a copy is aligned to 16 bytes. Of a task that was given an any: its pickle. */
SHOAL_API const void *shoal_task_bytes(shoal_task *task, size_t *size);
/* The any that it was given, the task's, freed when it returns; NULL: it was given bytes, or (with a sentence) they could not be read. */
SHOAL_API const shoal_any *shoal_task_any(shoal_task *task);
/* What it gives back, a copy; the last call counts, without one it is 0 bytes. -EMSGSIZE: the region, or the worker's
 * quota, will never have room for so much. -ENOMEM: it has none now, and had none for a second. Where the task's options say where its result goes:
 * -EMSGSIZE: that is too small. */
SHOAL_API int shoal_task_return_bytes(shoal_task *task, const void *bytes, size_t size);
SHOAL_API int shoal_task_return(shoal_task *task, const shoal_any *any);
/* What it gives back, to be filled in where it lies, in shared memory, aligned to 16 bytes: no copy is made on its way. */
SHOAL_API int shoal_task_reserve(shoal_task *task, void **ret, size_t size);
/* A sentence for the error that is about to be returned; it is `error`. For tasks and for items of maps, by the
 * thread that runs them: return shoal_task_fail(-ENOENT, "no file %s", path). Of a map the sentence of the first error is kept.
 * Sentences longer than 255 bytes are cut. */
SHOAL_API int shoal_task_fail(int error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Any pointer of the worker's own, for what its initializer makes and its tasks use. Outside of workers: -EPERM, and NULL. */
SHOAL_API int shoal_worker_set_state(void *state);
SHOAL_API void *shoal_worker_state(void);

/* ---- giving tasks ---- */

/* How far a map or imap is. */
typedef struct shoal_progress {
    uint64_t done, failed, total; /* items; failed ones are done too. total: 0: not known */
    double seconds;               /* since it was given */
    double rate;                  /* items per second */
} shoal_progress;
/* On the pool's thread, or on one that waits: some ten times a second, and when all is done. Of a map: the pool stands still
 * meanwhile, so the callback is soon done, and may not call it (-EDEADLK). */
typedef void (*shoal_progress_callback)(const shoal_progress *progress, void *argument);
/* A ready-made one: a bar on standard error, if that is a terminal; else nothing. argument: a title (const char *), or
 * NULL. */
SHOAL_API void shoal_progress_bar(const shoal_progress *progress, void *argument);

typedef struct shoal_task_options {
    int priority;   /* -1, 0, 1: highest */
    unsigned flags; /* must be 0 */
    /* Seconds that it may take: then its worker is killed, and it fails with -ETIME; 0: none. Of a map it is for a part, as
     * many items as a worker takes at once (the first one is n / (2 * workers), later ones are smaller): the item that the
     * worker was at fails, and another goes on with the rest of the part, with as much time. */
    double limit;
    /* It is tried again so often after a death of its worker; UINT_MAX: however often. Not after an error that it returned, nor
     * after its limit. Of map and starmap it must be 0 (-EINVAL). */
    unsigned retries;
    /* When the result is ready, on the pool's thread: one of both. They may give further tasks, look at the result, and
     * free it if the call that gave the task gave it to the program (not of imap and map_any, nor of a call that waits), close and
     * terminate the pool; they may not wait for results, join or free the pool (-EDEADLK). Where giving fails they are not called. */
    void (*on_success)(shoal_result *result, void *argument);
    void (*on_error)(shoal_result *result, void *argument);
    void *argument; /* of both */
    /* Of map and imap. */
    shoal_progress_callback progress;
    void *progress_argument;
    /* Of a task: where its result goes, and for how many bytes there is room: in memory of the family (memory.h) that the caller has
     * open and leaves open until the result is ready. NULL: the result lies where there is room. Not of maps (-EINVAL). */
    void *out;
    size_t out_size;
} shoal_task_options;

/* Bytes (and arrays, below) that lie in memory of the family which the caller has open are read where they lie, without a
 * copy: leave them alone, and open, until the result is ready. All others are copied by the call.
 *
 * All of these: -EINVAL: a NULL function or pointer, an option that makes no sense. -EPIPE: the pool is closed.
 * -ECANCELED: it was terminated. -ECONNABORTED: it has given up. -ENOEXEC: the function is in no file and has no name.
 * -ENOMEM, -EMSGSIZE: no room for the argument. -ENOSPC: two million tasks are waiting. -ECHILD. -EBADF. */

/* Gives a task and returns at once; *ret is the caller's, to be freed, before or after it is done. ret may be NULL: nobody wants the
 * result (its callbacks are called all the same). */
SHOAL_API int shoal_pool_apply_async(shoal_pool *pool, shoal_result **ret, shoal_function function,
                                     const void *bytes, size_t size,
                                     const shoal_task_options *options);
/* The same, and it is given an any, which stays the caller's. Objects in it (any.h) are held until it is done. */
SHOAL_API int shoal_pool_apply_async_any(shoal_pool *pool, shoal_result **ret,
                                         shoal_function function, const shoal_any *any,
                                         const shoal_task_options *options);
/* Gives a task, and waits for its result: 0; or as shoal_result_get; or as the deadline says, then it is cancelled. A signal
 * handler that runs does not end the wait. *ret is a copy, to be given to free(); both may be NULL. */
SHOAL_API int shoal_pool_apply(shoal_pool *pool, void **ret, size_t *ret_size,
                               shoal_function function, const void *bytes, size_t size,
                               int64_t deadline);
SHOAL_API int shoal_pool_apply_any(shoal_pool *pool, shoal_any **ret, shoal_function function,
                                   const shoal_any *any, int64_t deadline);

/* function(in + i * in_size, out + i * out_size) for i = 0 ... n - 1, by all workers, in no order. All items are done,
 * whatever some of them return: 0; or the error of the one that failed with the lowest i, as shoal_result_get; or as the
 * deadline says, then it is cancelled. A signal handler that runs does not end the wait.
 *   What the `out` of an item that failed has is undefined. Which one was the first, and how many there are, tells
 * shoal_failure (of map_async); who wants to know all of them has the function return 0 and write what went wrong to `out`.
 *   `out` may be NULL with out_size 0. Where `out` is not in shared memory the items are copied there at the end; then the
 * function does not see what was there before. */
SHOAL_API int shoal_pool_map(shoal_pool *pool, shoal_item_function function, const void *in,
                             size_t in_size, void *out, size_t out_size, size_t n,
                             const shoal_task_options *options, int64_t deadline);
/* `out` must last until the result is ready. *ret is the caller's, to be freed; ret may not be NULL. */
SHOAL_API int shoal_pool_map_async(shoal_pool *pool, shoal_result **ret,
                                   shoal_item_function function, const void *in, size_t in_size,
                                   void *out, size_t out_size, size_t n,
                                   const shoal_task_options *options);
/* With several arguments: in[k] is array k, of items of in_sizes[k] bytes; 1 to 8 of them. */
SHOAL_API int shoal_pool_starmap(shoal_pool *pool, shoal_star_function function,
                                 const void *const in[], const size_t in_sizes[], size_t n_in,
                                 void *out, size_t out_size, size_t n,
                                 const shoal_task_options *options, int64_t deadline);
SHOAL_API int shoal_pool_starmap_async(shoal_pool *pool, shoal_result **ret,
                                       shoal_star_function function, const void *const in[],
                                       const size_t in_sizes[], size_t n_in, void *out,
                                       size_t out_size, size_t n,
                                       const shoal_task_options *options);
/* A task for each item of a list or tuple; *ret is the list of what they gave back, the caller's (an item that gave back
 * bytes: as bytes). The first error in the order of items ends it, and what has not begun is cancelled. `out` is -EINVAL. */
SHOAL_API int shoal_pool_map_any(shoal_pool *pool, shoal_any **ret, shoal_function function,
                                 const shoal_any *items, const shoal_task_options *options,
                                 int64_t deadline);

/* ---- an endless row of tasks ---- */

/* The next input: 1, with bytes that last until it is called again; 0: there is no more; below 0: an error, which ends the
 * row: shoal_iterator_next returns it when all before it has been. Called by shoal_iterator_next, by the thread that called that;
 * it may give tasks and wait for them, but for the same iterator shoal_iterator_next is -EDEADLK, and shoal_iterator_free does nothing. */
typedef int (*shoal_input)(void *argument, const void **bytes, size_t *size);

typedef struct shoal_imap_options {
    const shoal_task_options *task; /* of each; NULL */
    /* tasks that are given and not yet taken, at most; 0: 4 for each worker. So memory stays bounded */
    unsigned ahead;
    int unordered;  /* 1: results come as they are ready; 0: in the order of the inputs */
    uint64_t total; /* for progress; 0: not known */
} shoal_imap_options;

/* A task for each input; nothing is read of it before the first shoal_iterator_next. */
SHOAL_API int shoal_pool_imap(shoal_pool *pool, shoal_iterator **ret, shoal_function function,
                              shoal_input input, void *argument, const shoal_imap_options *options);
/* The next result, ready, good or not (shoal_result_get tells), the caller's: 1; 0: that was all. -EAGAIN, -ETIMEDOUT, -EINTR;
 * -EDEADLK: its own input calls, or a progress callback; an error of the input, or of giving a task. */
SHOAL_API int shoal_iterator_next(shoal_iterator *iterator, shoal_result **ret, int64_t deadline);
/* Cancels what is not done. NULL, and takes NULL. */
SHOAL_API shoal_iterator *shoal_iterator_free(shoal_iterator *iterator);

/* ---- results ---- */

/* Waits until it is ready, good or not: 0, -EAGAIN, -ETIMEDOUT, -EINTR. */
SHOAL_API int shoal_result_wait(shoal_result *result, int64_t deadline);
SHOAL_API int shoal_result_ready(shoal_result *result);      /* 1, 0 */
SHOAL_API int shoal_result_successful(shoal_result *result); /* 1, 0; -EBUSY: it is not ready */
/* Waits, and tells: 0, with what the task gave back, which lasts as long as the result (both may be NULL; of a map: nothing). Or why there is
 * nothing (shoal_failure, and the sentence of shoal_error_detail, tell more):
 *   -EREMOTEIO     the function returned an error         -EOWNERDEAD    its worker died
 *   -ETIME         its limit passed                       -ECANCELED     it was cancelled, or the pool terminated
 *   -ECONNABORTED  the pool gave up: too many deaths      -ENOEXEC       the worker does not know the function
 *   -ENOMEM, -EMSGSIZE  no room for what it gave back     -EBADMSG       (any) what it gave back is none
 * or as shoal_result_wait: then it may be asked again. */
SHOAL_API int shoal_result_get(shoal_result *result, const void **ret, size_t *size,
                               int64_t deadline);
/* The same as an any, the result's. */
SHOAL_API int shoal_result_get_any(shoal_result *result, const shoal_any **ret, int64_t deadline);
/* A task that has not begun does not begin; of one that runs the worker is killed and replaced: the result is -ECANCELED,
 * at once or soon. -EALREADY: it is ready. */
SHOAL_API int shoal_result_cancel(shoal_result *result);
/* Of imap: which input of its row it is of, from 0. Of others: how many calls of apply, apply_async and map, and items of map_any, the
 * pool had been given before it, by all threads. */
SHOAL_API uint64_t shoal_result_index(const shoal_result *result);
/* Gives it back; its task goes on, unless it was cancelled. NULL, and takes NULL. */
SHOAL_API shoal_result *shoal_result_free(shoal_result *result);

typedef struct shoal_failure {
    int error;        /* what shoal_result_get returns; 0: it succeeded */
    int value;        /* what the function returned */
    pid_t pid;        /* of the worker that died or was killed */
    int exit_code;    /* its exit code; -N: signal N; SHOAL_EXIT_UNKNOWN */
    uint64_t index;   /* which task it was; of a map: which item */
    uint64_t failed;  /* of a map: how many items failed */
    const char *text; /* in a sentence, as long as the result; "" */
} shoal_failure;
/* 0; -EBUSY: it is not ready. */
SHOAL_API int shoal_result_failure(shoal_result *result, shoal_failure *ret);

#ifdef __cplusplus
}
#endif

#endif
