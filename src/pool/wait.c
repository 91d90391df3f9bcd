/* Waiting in the pool's process: each of its threads sleeps on `done`, takes in what is finished for all of them, and looks after
 * the workers, as there may be nobody else who does. */
#include "pool/pool.h"
#include <limits.h>

enum { END_SLICE = 10000000 /* ns until others who wait are looked after again */ };

void pool_turn(struct own *p)
{
    atomic_fetch_add(&p->turns, 1);
    wait_wake(&p->shared->done, INT_MAX);
    if (p->threaded)
        wait_wake(&p->shared->care, INT_MAX);
}

/* One look. Others may wait for what it takes in. *changed: the workers are to be looked after again. */
static bool look(struct own *p, bool (*ready)(void *), void *argument, bool *changed)
{
    os_mutex_lock(&p->mutex);
    bool is, news = pool_settle(p);
    is = ready(argument);
    *changed = workers_changed(p);
    if (news)
        wait_wake(&p->shared->done, INT_MAX);
    if (p->threaded && p->calls)
        wait_wake(&p->shared->care, INT_MAX);
    os_mutex_unlock(&p->mutex);
    return is;
}

void pool_tell(struct own *p, shoal_progress_callback callback, const shoal_progress *progress,
               void *argument)
{
    pool_telling = p;
    callback(progress, argument);
    pool_telling = NULL;
}

int64_t pool_progress(struct own *p)
{
    int64_t now = os_now(), next = INT64_MAX;
    bool due = now - p->told_progress >= PROGRESS_PERIOD;
    for (struct map *map = p->maps; map; map = map_next(map)) {
        shoal_progress progress;
        shoal_progress_callback callback;
        void *argument;
        if (!map_progress(p, map, &progress, &callback, &argument))
            continue;
        if (due) {
            p->told_progress = now;
            pool_tell(p, callback, &progress, argument);
        }
        next = p->told_progress + PROGRESS_PERIOD;
    }
    return next;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Under the mutex: all that somebody has to do who waits. When to do it again. */
static int64_t care(struct own *p)
{
    int64_t soon = workers_heal(p);
    int64_t until = soon == INT64_MAX ? INT64_MAX : os_now() + soon;
    if (!p->threaded)
        until = sooner(until, sooner(workers_limits(p), pool_progress(p)));
    return until;
}

/* What a worker has left to do when it has given up its place wakes nobody but who waits for its process: 1, it has ended; 0, -EINTR, -ETIMEDOUT. */
static int await_end(pid_t pid, int64_t deadline)
{
    int64_t now = os_now(), until = sooner(deadline, now + END_SLICE);
    return until > now ? os_process_await(pid, until - now) : -ETIMEDOUT;
}

static int await(struct own *p, bool (*ready)(void *), void *argument, int64_t deadline)
{
    struct waiter w;
    bool changed;
    for (;;) {
        os_mutex_lock(&p->mutex);
        int64_t until = care(p);
        pid_t ending = workers_ending(p);
        bool wanted = workers_wanted(p);
        os_mutex_unlock(&p->mutex);
        if (wanted)
            return look(p, ready, argument, &changed) ? 0 : -ERESTART;
        int rc = ending ? await_end(ending, deadline) : 0;
        if (rc < 0)
            return look(p, ready, argument, &changed) ? 0 : rc;
        if (rc)
            continue;
        rc = wait_begin(&w, p->id);
        if (rc)
            return rc;
        uint32_t seen = wait_announce(&w, &p->shared->done);
        if (look(p, ready, argument, &changed)) {
            wait_end(&w);
            return 0;
        }
        rc = changed ? 0 : wait_park(&w, &p->shared->done, seen, sooner(deadline, until));
        wait_end(&w);
        if (rc && !(rc == -ETIMEDOUT && until < deadline && os_now() < deadline))
            return rc;
    }
}

/* For what was given by who waits now: a worker that is awake has claimed it by now, and others need not be woken, which is dear. */
static void wake_late(struct own *p)
{
    if (atomic_load_explicit(&p->unwoken, memory_order_relaxed) &&
        atomic_exchange(&p->unwoken, false) && !MUTANT(290))
        units_wake(p->shared);
}

int pool_wait(struct own *p, bool (*ready)(void *), void *argument, int64_t deadline)
{
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    if (!pool_is_mine(p))
        return fail(-ECHILD, "another process made the pool");
    if (pool_telling == p)
        return fail(-EDEADLK, "a progress callback may not call the pool");
    bool changed;
    if (look(p, ready, argument, &changed))
        return 0;
    if (deadline <= SHOAL_NOW) {
        wake_late(p);
        os_mutex_lock(&p->mutex);
        workers_heal(p);
        bool wanted = workers_wanted(p);
        os_mutex_unlock(&p->mutex);
        return look(p, ready, argument, &changed) ? 0 : wanted ? -ERESTART : not_now(deadline);
    }
    uint32_t turn = atomic_load(&p->turns);
    for (struct spin s = spin_begin(); spin_once(&s);) {
        if (!atomic_load_explicit(&p->shared->finished, memory_order_relaxed) &&
            atomic_load_explicit(&p->turns, memory_order_relaxed) == turn) {
            if (s.until)
                wake_late(p);
            continue;
        }
        if (look(p, ready, argument, &changed))
            return 0;
        turn = atomic_load(&p->turns);
        s = spin_begin();
    }
    wake_late(p);
    return await(p, ready, argument, deadline);
}
