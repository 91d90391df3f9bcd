/* imap: a task for each input of a row that may have no end, and their results in the inputs' order or as they come. Only
 * `ahead` of them are given and not taken, so it takes the same memory however many there are. */
#include "pool/pool.h"
#include <limits.h>
#include <shoal/pool.h>
#include <stdlib.h>
#include <string.h>

/*   mutex     of telling progress
 *   window    results that are given and not taken; in the order of the inputs: [i % ahead]; unordered: anywhere
 *   order     unordered: those that are ready, in the order in which they came: [i % ahead]
 *   given, taken, came  how many were, so far; came: are ready, unordered only
 *   under_way given, and not ready: they point here
 *   ended     1, or the input's error: there are no more
 *   feeding   a thread asks for inputs and gives tasks: only one does, the feeder
 * All but the first two are under the pool's mutex.
 */
struct iterator {
    _Alignas(CELL_ALIGN) struct cell cell;
    struct os_mutex mutex;
    struct own *_Atomic pool;        /* NULL: it is gone */
    struct iterator *next, **before; /* of the pool's */
    shoal_input input;
    void *argument;
    shoal_task_options task;
    uint16_t code;
    bool unordered, freed, feeding;
    pthread_t feeder;
    unsigned ahead;
    int ended;
    uint64_t total, given, taken, came, failed;
    int64_t began, told;
    struct result **window, **order;
    uint64_t under_way;
};
static_assert(sizeof(struct iterator) <= 384, "cell_size in result.c");

int shoal_pool_imap(shoal_pool *pool, shoal_iterator **ret, shoal_function function,
                    shoal_input input, void *argument, const shoal_imap_options *options)
{
    const char *call = "shoal_pool_imap";
    if (!ret || !input)
        return fail(-EINVAL, "%s: no %s (NULL)", call, ret ? "input" : "place for the iterator");
    const shoal_task_options *task = options ? options->task : NULL;
    if (task && task->out)
        return fail(-EINVAL, "%s: out would be where all results go", call);
    int rc = options_check(task, call);
    struct own *p = rc ? NULL : pool_open(pool, call, &rc);
    if (!p)
        return rc;
    uint16_t code;
    unsigned ahead = options && options->ahead ? options->ahead : 4 * p->workers;
    struct iterator *it = NULL;
    struct result **window = NULL; /* and order */
    rc = code_number(p, (const void *)(uintptr_t)function, call, &code);
    if (!rc)
        rc = thread_start(p);
    if (!rc) {
        window = calloc(ahead, 2 * sizeof(struct result *));
        it = (struct iterator *)(void *)cell_new(CELL_ITERATOR);
        if (!it || !window)
            rc = fail(-ENOMEM, "%s: no memory for %u results", call, ahead);
    }
    if (rc) {
        free(window);
        if (it)
            cell_free(&it->cell, CELL_ITERATOR);
        goto out;
    }
    atomic_store(&it->pool, p);
    it->input = input;
    it->argument = argument;
    if (task)
        it->task = *task;
    it->code = code;
    it->unordered = options && options->unordered;
    it->ahead = ahead;
    it->total = options ? options->total : 0;
    it->window = window;
    it->order = window + ahead;
    it->began = os_now();
    it->next = p->iterators;
    it->before = &p->iterators;
    if (it->next)
        it->next->before = &it->next;
    p->iterators = it;
    *ret = cell_handle(&it->cell);
out:
    os_mutex_unlock(&p->mutex);
    return rc;
}

void iterators_orphan(struct own *p)
{
    os_mutex_lock(&p->mutex);
    for (struct iterator *it = p->iterators, *next; it; it = next) {
        next = it->next;
        it->before = NULL;
        atomic_store(&it->pool, NULL);
    }
    p->iterators = NULL;
    os_mutex_unlock(&p->mutex);
}

/* Its pool, to be left again; NULL: it is gone. */
static struct own *enter_pool(struct iterator *it)
{
    struct own *p = atomic_load(&it->pool);
    if (!p)
        return NULL;
    own_enter(p);
    if (atomic_load(&it->pool) == p)
        return p;
    own_leave(p);
    return NULL;
}

uint64_t iterator_given(const struct iterator *it)
{
    return it->given;
}

static void give_back(struct iterator *it)
{
    free(it->window);
    cell_free(&it->cell, CELL_ITERATOR);
}

/* Under the pool's mutex: one of its results is ready. */
void iterator_ready(struct iterator *it, struct result *r)
{
    it->under_way--;
    it->failed += r->error != 0;
    if (it->freed) {
        if (!it->under_way)
            give_back(it);
    } else if (it->unordered) {
        it->order[it->came++ % it->ahead] = r;
    }
}

static struct result **place_for(struct iterator *it)
{
    uint64_t i = it->given;
    while (it->unordered && it->window[i % it->ahead])
        i++;
    return &it->window[i % it->ahead];
}

/* Under the mutex. */
static bool has_room(const struct iterator *it)
{
    return !it->ended && it->given - it->taken < it->ahead;
}

/* Under the mutex: others who wait in shoal_iterator_next may be able to go on. */
static void turn(struct own *p)
{
    atomic_fetch_add(&p->turns, 1);
    wait_wake(&p->shared->done, INT_MAX);
}

/* Gives a task for the next input: false: there is none, or it cannot be given. */
static bool feed_one(struct own *p, struct iterator *it, const char *call)
{
    const void *bytes = NULL;
    size_t size = 0;
    struct result *r;
    int rc = 0, more = it->input(it->argument, &bytes, &size);
    if (more == 1 && !bytes && size)
        more = fail(-EINVAL, "%s: the input is %zu bytes at NULL", call, size);
    else if (more < 0)
        fail_detail("%s: the input failed with %d", call, more);
    if (more <= 0)
        rc = more < 0 ? more : 1;
    os_mutex_lock(&p->mutex);
    if (!rc)
        rc = pool_is_over(p, call);
    if (!rc)
        rc = task_give(p, &r, it->code, NULL, bytes, size, &it->task, it, call);
    if (!rc) {
        *place_for(it) = r;
        it->given++;
        it->under_way++;
    }
    it->ended = rc; /* if it could not be given its input is lost */
    bool again = has_room(it);
    os_mutex_unlock(&p->mutex);
    return again;
}

/* Gives tasks until enough are under way, or there is no more input; unless another thread does. */
static void feed(struct own *p, struct iterator *it, const char *call)
{
    os_mutex_lock(&p->mutex);
    bool mine = !it->feeding && has_room(it);
    it->feeding |= mine;
    if (mine)
        it->feeder = pthread_self();
    os_mutex_unlock(&p->mutex);
    if (!mine)
        return;
    while (feed_one(p, it, call))
        ;
    os_mutex_lock(&p->mutex);
    it->feeding = false;
    turn(p);
    os_mutex_unlock(&p->mutex);
}

/* Under the mutex. */
static bool has_next(const struct iterator *it)
{
    return it->unordered
               ? it->came > it->taken
               : it->given > it->taken && result_is_ready(it->window[it->taken % it->ahead]);
}

static bool is_over(const struct iterator *it)
{
    return it->ended && it->given == it->taken;
}

static bool goes_on(void *argument)
{
    const struct iterator *it = argument;
    return has_next(it) || is_over(it) || (has_room(it) && !it->feeding);
}

/* Under the mutex. */
static struct result *take(struct own *p, struct iterator *it)
{
    struct result **at = &it->window[it->taken % it->ahead], *r = *at;
    if (it->unordered) {
        r = it->order[it->taken % it->ahead];
        for (at = it->window; *at != r; at++)
            ;
    }
    *at = NULL;
    it->taken++;
    turn(p);
    return r;
}

static void tell_progress(struct own *p, struct iterator *it, bool last)
{
    int64_t now = os_now();
    if (!it->task.progress)
        return;
    os_mutex_lock(&it->mutex);
    if (!last && now - it->told < PROGRESS_PERIOD)
        goto out;
    os_mutex_lock(&p->mutex);
    uint64_t taken = it->taken, failed = it->failed;
    os_mutex_unlock(&p->mutex);
    double seconds = (double)(now - it->began) / 1e9;
    shoal_progress progress = {.done = taken,
                               .failed = failed,
                               .total = last && !it->total ? taken : it->total,
                               .seconds = seconds,
                               .rate = seconds > 0 ? (double)taken / seconds : 0};
    it->told = now;
    it->task.progress(&progress, it->task.progress_argument);
out:
    os_mutex_unlock(&it->mutex);
}

static int next(struct own *p, struct iterator *it, shoal_result **ret, int64_t deadline,
                const char *call)
{
    struct result *r = NULL;
    int over = 0;
    while (!r && !over) {
        feed(p, it, call);
        int rc = pool_wait(p, goes_on, it, deadline);
        if (rc)
            return waited(rc, call, NULL, 0, deadline);
        os_mutex_lock(&p->mutex);
        over = is_over(it) ? it->ended : 0;
        if (has_next(it)) /* or another thread has taken it */
            r = take(p, it);
        os_mutex_unlock(&p->mutex);
    }
    tell_progress(p, it, !r);
    if (r)
        *ret = result_hand_out(r);
    return r ? 1 : over < 0 ? over : 0;
}

/* Whether it is the iterator's own input that calls. */
static bool is_feeding(struct own *p, const struct iterator *it)
{
    os_mutex_lock(&p->mutex);
    bool is = it->feeding && pthread_equal(it->feeder, pthread_self());
    os_mutex_unlock(&p->mutex);
    return is;
}

int shoal_iterator_next(shoal_iterator *iterator, shoal_result **ret, int64_t deadline)
{
    const char *call = "shoal_iterator_next";
    int rc;
    struct iterator *it = (struct iterator *)(void *)cell_of(iterator, CELL_ITERATOR, call, &rc);
    if (!it)
        return rc;
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the result (NULL)", call);
    struct own *p = enter_pool(it);
    if (!p)
        return fail(-EBADF, "%s: its pool is gone", call);
    rc = !pool_is_mine(p)    ? fail(-ECHILD, "%s: another process made the pool", call)
         : pool_telling == p ? fail(-EDEADLK, "%s: a progress callback may not call the pool", call)
         : is_feeding(p, it) ? fail(-EDEADLK, "%s: its own input waits for itself", call)
                             : next(p, it, ret, deadline, call);
    own_leave(p);
    return rc;
}

shoal_iterator *shoal_iterator_free(shoal_iterator *iterator)
{
    int rc;
    struct iterator *it = iterator ? (struct iterator *)(void *)cell_of(iterator, CELL_ITERATOR,
                                                                        "shoal_iterator_free", &rc)
                                   : NULL;
    if (!it)
        return NULL;
    struct own *p = enter_pool(it);
    if (p && (!pool_is_mine(p) || pool_telling == p || is_feeding(p, it))) {
        own_leave(p);
        return NULL;
    }
    if (p) {
        os_mutex_lock(&p->mutex);
        pool_settle(p);
    }
    it->under_way++; /* it stays meanwhile */
    for (unsigned i = 0; i < it->ahead; i++) {
        struct result *r = it->window[i];
        if (r && p && !result_is_ready(r))
            unit_end(p, r->unit, -ECANCELED);
        if (r)
            result_drop(r);
    }
    if (it->before) {
        *it->before = it->next;
        if (it->next)
            it->next->before = it->before;
    }
    it->freed = true;
    cell_close(&it->cell);
    bool last = !--it->under_way;
    if (p) {
        pool_turn(p);
        os_mutex_unlock(&p->mutex);
        own_leave(p);
    }
    if (last)
        give_back(it);
    return NULL;
}
