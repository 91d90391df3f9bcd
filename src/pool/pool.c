/* shoal/pool.h: a pool's life, and tasks. */
#include "pool/pool.h"
#include "message/any.h"
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the pools of this process ---- */

static struct os_mutex pools_mutex;
static struct own *pools; /* a child's copy is of any moment, and names what is not its own */
static struct own *unused;
_Thread_local const struct own *pool_telling __attribute__((tls_model("initial-exec")));
static struct own *_Atomic last_pool;

/* A child may have pools of its own, whatever other threads of its parent are at. */
static void before_fork(void)
{
    os_mutex_lock(&pools_mutex);
    os_mutex_lock(&cells_mutex);
}

static void after_fork_parent(void)
{
    os_mutex_unlock(&cells_mutex);
    os_mutex_unlock(&pools_mutex);
}

static void after_fork_child(void)
{
    for (struct own *p = unused; p; p = p->next)
        atomic_store(&p->users, 0); /* another thread's, that came late */
    after_fork_parent();
}

static void first_time(void)
{
    child_begin(); /* whose handler ends the workers, after this one */
    atexit(workers_end_all);
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

static struct own *find(const shoal_pool *pool)
{
    struct own *p = atomic_load_explicit(&last_pool, memory_order_relaxed);
    if (likely(p && p->handle == pool && pool_is_mine(p)))
        return p;
    os_mutex_lock(&pools_mutex);
    for (p = pools; p && (p->handle != pool || !pool_is_mine(p)); p = p->next)
        ;
    if (p)
        atomic_store_explicit(&last_pool, p, memory_order_relaxed);
    os_mutex_unlock(&pools_mutex);
    return p;
}

static void list(struct own *p)
{
    os_mutex_lock(&pools_mutex);
    p->next = pools;
    pools = p;
    os_mutex_unlock(&pools_mutex);
}

static void unlist(struct own *p)
{
    os_mutex_lock(&pools_mutex);
    struct own **at = &pools;
    while (*at && *at != p)
        at = &(*at)->next;
    if (*at)
        *at = p->next;
    atomic_store(&last_pool, NULL);
    os_mutex_unlock(&pools_mutex);
}

struct own *pool_of(const shoal_pool *pool, const char *call, int *rc)
{
    if (unlikely(!header_of(pool, TYPE_POOL))) {
        *rc = bad_handle(pool, call);
        return NULL;
    }
    static const char who[] = "%s: another process made the pool; only that one may use it";
    owner_t me;
    *rc = self(&me);
    if (*rc)
        return NULL;
    /* a child's list may be locked for good */
    if (handle_of(pool)->header->creator != process_self.slot ||
        handle_of(pool)->header->creator_generation != process_self.generation) {
        *rc = fail(-ECHILD, who, call);
        return NULL;
    }
    struct own *p = find(pool);
    if (!p)
        *rc = fail(-ECHILD, who, call);
    if (likely(!p || pool_telling != p))
        return p;
    *rc = fail(-EDEADLK, "%s: a progress callback may not call the pool", call);
    return NULL;
}

/* In a child: holds one of its parent's no more. */
static void leave(shoal_pool *pool)
{
    for (const struct own *p = pools; p; p = p->next)
        if (p->handle == pool && !pool_is_mine(p))
            shoal_queue_close(p->results);
    object_close(pool, TYPE_POOL);
}

void pools_leave(const shoal_pool *but)
{
    for (const struct own *p = pools; p; p = p->next)
        if (p->handle != but)
            leave(p->handle);
}

int pool_is_over(const struct own *p, const char *call)
{
    if (likely(!p->over))
        return 0;
    return fail(p->over, "%s: %s%s", call,
                p->over == -EPIPE       ? "the pool is closed"
                : p->over == -ECANCELED ? "the pool was terminated"
                                        : "the pool has given up: ",
                p->over == -ECONNABORTED ? p->last_death : "");
}

struct own *pool_open(const shoal_pool *pool, const char *call, int *rc)
{
    struct own *p = pool_of(pool, call, rc);
    if (!p)
        return NULL;
    os_mutex_lock(&p->mutex);
    *rc = pool_is_over(p, call);
    if (likely(!*rc))
        return p;
    os_mutex_unlock(&p->mutex);
    return NULL;
}

/* ---- making ---- */

static void free_own(struct own *p)
{
    for (struct run *run = p->runs, *next; run; run = next) {
        next = run->next;
        free(run);
    }
    for (unsigned level = 0; level < LEVELS; level++)
        free(p->run_at[level]);
    free(p->members);
    free(p->deaths);
    os_mutex_lock(&pools_mutex);
    p->next = unused;
    unused = p;
    os_mutex_unlock(&pools_mutex);
}

/* Zero but for its users. */
static struct own *new_own(void)
{
    os_mutex_lock(&pools_mutex);
    struct own *p = unused;
    if (p)
        unused = p->next;
    os_mutex_unlock(&pools_mutex);
    if (!p)
        return calloc(1, sizeof *p);
    atomic_store(&p->leaving, 0);
    memset(&p->next, 0, sizeof *p - offsetof(struct own, next));
    return p;
}

static struct own *make_own(const shoal_pool_options *o, unsigned workers)
{
    struct own *p = new_own();
    if (!p)
        return NULL;
    p->options = *o;
    p->workers = workers;
    p->members = calloc(workers, sizeof *p->members);
    unsigned most = o->most_deaths && o->most_deaths != UINT_MAX ? o->most_deaths : 16;
    p->deaths = calloc((size_t)most + 1, sizeof *p->deaths);
    if (p->members && p->deaths)
        return p;
    free_own(p);
    return NULL;
}

static int check(const shoal_pool_options *o, const char *call)
{
    if (o->flags)
        return fail(-EINVAL, "%s: unknown flags %#x", call, o->flags);
    if (o->workers < 0 || o->workers > SHOAL_POOL_WORKERS)
        return fail(-EINVAL,
                    "%s: %d workers; it can be 1 to %d, or 0 for as many as there are CPUs", call,
                    o->workers, SHOAL_POOL_WORKERS);
    if (o->name && (!*o->name || strlen(o->name) > 40))
        return fail(-EINVAL, "%s: the name \"%.60s\" has %zu bytes; it can have 1 to 40", call,
                    o->name, strlen(o->name));
    if (!(o->in_seconds >= 0))
        return fail(-EINVAL, "%s: deaths in %g seconds", call, o->in_seconds);
    if (o->most_deaths > 1000000 && o->most_deaths != UINT_MAX)
        return fail(-EINVAL, "%s: most_deaths %u is more than a million and not UINT_MAX", call,
                    o->most_deaths);
    return 0;
}

static int create(shoal_pool **ret, const shoal_pool_options *options, bool staffed)
{
    static _Atomic unsigned count;
    const char *call = "shoal_pool_create";
    static const shoal_pool_options none;
    const shoal_pool_options *o = options ? options : &none;
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the handle (NULL)", call);
    int rc = check(o, call);
    if (rc)
        return rc;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, first_time);
    int cpus = o->workers ? o->workers : shoal_cpu_count();
    struct own *p = make_own(o, (unsigned)(cpus < SHOAL_POOL_WORKERS ? cpus : SHOAL_POOL_WORKERS));
    if (!p)
        return fail(-ENOMEM, "%s: no memory", call);
    p->staffed = staffed;
    if (o->name)
        snprintf(p->name, sizeof p->name, "%s", o->name);
    else
        snprintf(p->name, sizeof p->name, "pool-%u", atomic_fetch_add(&count, 1) + 1);
    p->options.name = NULL;
    rc = units_create(&p->handle, p->name, p->workers, &p->results);
    if (rc) {
        free_own(p);
        return fail_in(rc, call);
    }
    p->shared = header_payload(handle_of(p->handle)->header);
    p->id = (uint32_t)(handle_of(p->handle) - handles);
    p->slot = process_self.slot;
    p->generation = process_self.generation;
    p->family = view.region->family;
    p->began = os_now();
    os_signals_block(&p->signals);
    os_signals_restore(&p->signals);
    rc = workers_start(p);
    if (rc) {
        shoal_pool *half = p->handle;
        fail_in(rc, call);
        list(p);
        char why[sizeof shoal_thread.detail];
        snprintf(why, sizeof why, "%s", fail_sentence());
        shoal_pool_free(half);
        return fail(rc, "%s", why);
    }
    list(p);
    *ret = p->handle;
    return 0;
}

int shoal_pool_create(shoal_pool **ret, const shoal_pool_options *options)
{
    return create(ret, options, false);
}

int pool_create_staffed(shoal_pool **ret, const shoal_pool_options *options)
{
    return create(ret, options, true);
}

/* ---- ending ---- */

int shoal_pool_close(shoal_pool *pool)
{
    int rc;
    struct own *p = pool_of(pool, "shoal_pool_close", &rc);
    if (!p)
        return rc;
    os_mutex_lock(&p->mutex);
    if (!p->over)
        p->over = -EPIPE;
    atomic_fetch_or(&p->shared->closed, POOL_CLOSED);
    if (!MUTANT(283))
        wait_wake(&p->shared->work, INT_MAX);
    os_mutex_unlock(&p->mutex);
    return 0;
}

void pool_end(struct own *p)
{
    if (!p->over || p->over == -EPIPE)
        p->over = -ECANCELED;
    atomic_fetch_or(&p->shared->closed, POOL_CLOSED);
    workers_end(p);
}

int shoal_pool_terminate(shoal_pool *pool)
{
    int rc;
    struct own *p = pool_of(pool, "shoal_pool_terminate", &rc);
    if (!p)
        return rc;
    os_mutex_lock(&p->mutex);
    pool_settle(p); /* what is done is done */
    pool_end(p);
    workers_heal(p);
    pool_turn(p);
    os_mutex_unlock(&p->mutex);
    return 0;
}

static bool is_over(void *argument)
{
    const struct own *p = argument;
    return workers_gone(p) && !p->outstanding && !p->calling && !p->due.first;
}

/* Whether it is a callback that calls. */
static bool on_thread(struct own *p)
{
    os_mutex_lock(&p->mutex);
    bool is = p->threaded && pthread_equal(p->thread, pthread_self());
    os_mutex_unlock(&p->mutex);
    return is;
}

int shoal_pool_join(shoal_pool *pool, int64_t deadline)
{
    const char *call = "shoal_pool_join";
    int rc;
    struct own *p = pool_of(pool, call, &rc);
    if (!p)
        return rc;
    os_mutex_lock(&p->mutex);
    bool over = p->over;
    os_mutex_unlock(&p->mutex);
    if (on_thread(p))
        return fail(-EDEADLK, "%s: one of its callbacks waits for itself", call);
    if (!over)
        return fail(-EBUSY, "%s: the pool is open: close or terminate it first", call);
    return waited(pool_wait(p, is_over, p, deadline), call, pool, TYPE_POOL, deadline);
}

shoal_pool *shoal_pool_free(shoal_pool *pool)
{
    int rc;
    if (!pool)
        return NULL;
    struct own *p = pool_of(pool, "shoal_pool_free", &rc);
    if (!p) {
        if (rc == -ECHILD)
            leave(pool);
        return NULL;
    }
    if (on_thread(p)) {
        fail_detail("shoal_pool_free: one of its callbacks waits for itself");
        return NULL;
    }
    shoal_pool_terminate(pool);
    os_mutex_lock(&p->mutex);
    workers_kill(p);
    os_mutex_unlock(&p->mutex);
    while (shoal_pool_join(pool, SHOAL_FOREVER) == -EINTR)
        ;
    thread_stop(p);
    iterators_orphan(p);
    unlist(p);
    /* All results are ready: who waits for them is about to leave. */
    atomic_store(&p->leaving, 1);
    for (uint32_t n; (n = atomic_load(&p->users));)
        os_futex_wait(&p->users, n, INT64_MAX);
    shoal_queue_close(p->results);
    object_close(p->handle, TYPE_POOL);
    free_own(p);
    return NULL;
}

int shoal_pool_statistics(shoal_pool *pool, shoal_worker_statistics ret[], size_t n)
{
    int rc;
    struct own *p = pool_of(pool, "shoal_pool_statistics", &rc);
    if (!p)
        return rc;
    if (!ret && n)
        return fail(-EINVAL, "shoal_pool_statistics: nowhere to write them (NULL)");
    os_mutex_lock(&p->mutex);
    for (unsigned i = 0; i < p->workers && i < n; i++) {
        const struct worker *line = &p->shared->worker[i];
        int64_t since = atomic_load(&line->since), idle = atomic_load(&line->idle);
        int64_t all = since ? os_now() - since : 0;
        ret[i] = (shoal_worker_statistics){.pid = p->members[i].pid,
                                           .tasks = atomic_load(&line->tasks),
                                           .busy = (double)(all > idle ? all - idle : 0) / 1e9,
                                           .idle = (double)idle / 1e9};
    }
    os_mutex_unlock(&p->mutex);
    return (int)p->workers;
}

/* ---- tasks ---- */

/* Something may have to be done before anybody waits. */
static bool needs_thread(const shoal_task_options *options)
{
    return options && (options->on_success || options->on_error || options->limit > 0);
}

/* `asynchronous`: the program does something else meanwhile; `handle`: and gets the result there, or NULL. */
static int give(shoal_pool *pool, struct result **ret, const void *function, const shoal_any *any,
                const void *bytes, size_t size, const shoal_task_options *options, const char *call,
                bool asynchronous, shoal_result **handle)
{
    uint16_t code;
    if (unlikely(!bytes && size))
        return fail(-EINVAL, "%s: %zu bytes at NULL", call, size);
    int rc = options_check(options, call);
    if (unlikely(rc))
        return rc;
    struct own *p = pool_open(pool, call, &rc);
    if (unlikely(!p))
        return rc;
    rc = code_number(p, function, call, &code);
    if (!rc && asynchronous)
        rc = thread_start(p);
    if (!rc) {
        p->quiet = !asynchronous;
        rc = task_give(p, ret, code, any, bytes, size, options, NULL, call);
        p->quiet = false;
    }
    if (!rc && handle)
        *handle = result_hand_out(*ret);
    os_mutex_unlock(&p->mutex);
    return rc;
}

static int give_async(shoal_pool *pool, shoal_result **ret, shoal_function function,
                      const shoal_any *any, const void *bytes, size_t size,
                      const shoal_task_options *options, const char *call)
{
    struct result *r;
    int rc = give(pool, &r, (const void *)(uintptr_t)function, any, bytes, size, options, call,
                  true, ret);
    if (!rc && !ret)
        result_drop(r);
    return rc;
}

int shoal_pool_apply_async(shoal_pool *pool, shoal_result **ret, shoal_function function,
                           const void *bytes, size_t size, const shoal_task_options *options)
{
    return give_async(pool, ret, function, NULL, bytes, size, options, "shoal_pool_apply_async");
}

int shoal_pool_apply_async_any(shoal_pool *pool, shoal_result **ret, shoal_function function,
                               const shoal_any *any, const shoal_task_options *options)
{
    const char *call = "shoal_pool_apply_async_any";
    int rc = any_may_travel(any, call);
    return rc ? rc : give_async(pool, ret, function, any, NULL, 0, options, call);
}

/* Waits for one that was given: 0, with the result, which is still to be freed. */
static int wait_for(struct result *r, const char *call, int64_t deadline)
{
    shoal_result *handle = cell_handle(&r->cell);
    int rc;
    while ((rc = shoal_result_wait(handle, deadline)) == -EINTR)
        ;
    if (rc) {
        shoal_result_cancel(handle);
        waited(in_vain(rc), call, NULL, 0, deadline);
        return rc;
    }
    return r->error ? result_error(r, call) : 0;
}

int shoal_pool_apply(shoal_pool *pool, void **ret, size_t *ret_size, shoal_function function,
                     const void *bytes, size_t size, int64_t deadline)
{
    const char *call = "shoal_pool_apply";
    struct result *r;
    int rc = waited(check_deadline(deadline), call, NULL, 0, deadline);
    if (!rc)
        rc = give(pool, &r, (const void *)(uintptr_t)function, NULL, bytes, size, NULL, call, false,
                  NULL);
    if (rc)
        return rc;
    rc = wait_for(r, call, deadline);
    if (!rc) {
        const void *from;
        size_t n;
        shoal_result_get(cell_handle(&r->cell), &from, &n, SHOAL_NOW);
        void *copy = ret ? malloc(n ? n : 1) : NULL;
        if (ret && !copy)
            rc = fail(-ENOMEM, "%s: no memory for a result of %zu bytes", call, n);
        if (copy) {
            memcpy(copy, from, n);
            *ret = copy;
        }
        if (!rc && ret_size)
            *ret_size = n;
    }
    result_drop(r);
    return rc;
}

/* The any of a result that is ready and good and known to nobody else; the caller's. */
static int take_any(struct result *r, shoal_any **ret)
{
    int rc = shoal_result_get_any(cell_handle(&r->cell), NULL, SHOAL_NOW);
    if (rc)
        return rc;
    *ret = atomic_exchange(&r->any, NULL);
    if (r->message)
        object_close(r->message, TYPE_MESSAGE);
    r->message = NULL;
    r->flags = 0;
    r->n = 0;
    return 0;
}

int shoal_pool_apply_any(shoal_pool *pool, shoal_any **ret, shoal_function function,
                         const shoal_any *any, int64_t deadline)
{
    const char *call = "shoal_pool_apply_any";
    struct result *r;
    int rc = waited(check_deadline(deadline), call, NULL, 0, deadline);
    if (!rc)
        rc = any_may_travel(any, call);
    if (!rc)
        rc = give(pool, &r, (const void *)(uintptr_t)function, any, NULL, 0, NULL, call, false,
                  NULL);
    if (rc)
        return rc;
    rc = wait_for(r, call, deadline);
    if (!rc && ret)
        rc = take_any(r, ret);
    result_drop(r);
    return rc;
}

/* Of tasks one by one: how many are done. */
static void tell(const shoal_pool *pool, const shoal_task_options *options, uint64_t done,
                 uint64_t total, int64_t began, int64_t *told)
{
    int rc;
    int64_t now = os_now();
    struct own *p = done == total || now - *told >= PROGRESS_PERIOD
                        ? pool_of(pool, "shoal_pool_map_any", &rc)
                        : NULL;
    if (!p)
        return;
    double seconds = (double)(now - began) / 1e9;
    shoal_progress progress = {.done = done,
                               .total = total,
                               .seconds = seconds,
                               .rate = seconds > 0 ? (double)done / seconds : 0};
    *told = now;
    os_mutex_lock(&p->mutex);
    pool_tell(p, options->progress, &progress, options->progress_argument);
    os_mutex_unlock(&p->mutex);
}

int shoal_pool_map_any(shoal_pool *pool, shoal_any **ret, shoal_function function,
                       const shoal_any *items, const shoal_task_options *options, int64_t deadline)
{
    const char *call = "shoal_pool_map_any";
    int kind = shoal_any_kind(items),
        rc = waited(check_deadline(deadline), call, NULL, 0, deadline);
    if (!rc && kind != SHOAL_ANY_LIST && kind != SHOAL_ANY_TUPLE)
        rc = fail(-EINVAL, "%s: its items are no list or tuple", call);
    if (!rc && !ret)
        rc = fail(-EINVAL, "%s: nowhere to write the list (NULL)", call);
    if (!rc && options && options->out)
        rc = fail(-EINVAL, "%s: out would be where all results go", call);
    size_t n = rc ? 0 : (size_t)shoal_any_count(items), given = 0;
    int64_t began = os_now(), told = 0;
    struct result **all = rc ? NULL : calloc(n ? n : 1, sizeof(struct result *));
    shoal_any *results = all ? shoal_any_list() : NULL;
    if (!rc && !results)
        rc = fail(-ENOMEM, "%s: no memory for %zu results", call, n);
    for (; !rc && given < n; given++) {
        const shoal_any *item;
        rc = shoal_any_at(items, (int64_t)given, &item);
        if (!rc)
            rc = give(pool, &all[given], (const void *)(uintptr_t)function, item, NULL, 0, options,
                      call, needs_thread(options), NULL);
        if (rc)
            break;
    }
    for (size_t i = 0; !rc && i < n; i++) {
        shoal_any *one;
        rc = wait_for(all[i], call, deadline);
        if (!rc)
            rc = take_any(all[i], &one);
        if (!rc)
            rc = shoal_any_append(results, one);
        if (!rc && options && options->progress)
            tell(pool, options, i + 1, n, began, &told);
    }
    char why[sizeof shoal_thread.detail];
    snprintf(why, sizeof why, "%s", rc ? fail_sentence() : "");
    for (size_t i = 0; i < given; i++) {
        if (rc)
            shoal_result_cancel(cell_handle(&all[i]->cell));
        result_drop(all[i]);
    }
    free(all);
    if (rc) {
        shoal_any_free(results);
        return fail(rc, "%s", why);
    }
    *ret = results;
    return 0;
}
