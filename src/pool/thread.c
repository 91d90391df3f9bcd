/* A pool's one thread: callbacks, limits and replacing workers, while the program does something else. */
#include "pool/pool.h"
#include <limits.h>
#include <string.h>

/* Under the mutex: the callbacks that are due, one after the other; it is free while one runs. */
static void call(struct own *p)
{
    while (p->calls) {
        struct result *r = p->calls;
        p->calls = r->extra->next_call;
        if (!p->calls)
            p->last_call = NULL;
        shoal_task_options o = r->extra->options;
        os_mutex_unlock(&p->mutex);
        result_call(r, r->error ? o.on_error : o.on_success, o.argument);
        result_drop(r);
        os_mutex_lock(&p->mutex);
        p->calling--;
        if (!p->calling)
            pool_turn(p);
    }
}

int64_t thread_care(struct own *p)
{
    int64_t limits = workers_limits(p), progress = pool_progress(p);
    int64_t soon = workers_heal(p);
    if (pool_settle(p))
        wait_wake(&p->shared->done, INT_MAX);
    int64_t until = soon == INT64_MAX ? INT64_MAX : os_now() + soon;
    until = until < limits ? until : limits;
    return until < progress ? until : progress;
}

int thread_sleep(struct own *p, int64_t until)
{
    struct waiter w;
    int rc = wait_begin(&w, p->id);
    if (rc)
        return rc;
    uint32_t seen = wait_announce(&w, &p->shared->care);
    os_mutex_lock(&p->mutex);
    bool more = p->stop || workers_changed(p) || workers_wanted(p);
    /* what began before the bit was set woke nobody */
    int64_t limits = workers_limits(p), progress = pool_progress(p);
    until = until < limits ? until : limits;
    until = until < progress ? until : progress;
    if (pool_settle(p))
        wait_wake(&p->shared->done, INT_MAX);
    more = more || p->calls || mind_due(p);
    os_mutex_unlock(&p->mutex);
    if (!more)
        rc = wait_park(&w, &p->shared->care, seen, until);
    wait_end(&w);
    return rc;
}

static void *run(void *argument)
{
    struct own *p = argument;
    os_name_thread("shoal-pool");
    int rc = self_attach();
    atomic_store(&p->thread_state, rc ? rc : 1);
    os_futex_wake((_Atomic uint32_t *)&p->thread_state, 1);
    if (rc)
        return NULL;
    os_mutex_lock(&p->mutex);
    while (!p->stop) {
        int64_t until = thread_care(p);
        call(p);
        os_mutex_unlock(&p->mutex);
        thread_sleep(p, until);
        os_mutex_lock(&p->mutex);
    }
    os_mutex_unlock(&p->mutex);
    return NULL;
}

int thread_start(struct own *p)
{
    uint64_t signals;
    if (p->threaded || p->staffed) /* the program has one for it */
        return 0;
    os_signals_block(&signals);
    int rc = pthread_create(&p->thread, NULL, run, p);
    os_signals_restore(&signals);
    if (rc)
        return fail(-rc, "no thread for the pool's callbacks and limits: %s", strerror(rc));
    while (!atomic_load(&p->thread_state))
        os_futex_wait((_Atomic uint32_t *)&p->thread_state, 0, INT64_MAX);
    rc = atomic_load(&p->thread_state);
    if (rc < 0) {
        pthread_join(p->thread, NULL);
        atomic_store(&p->thread_state, 0);
        return fail(rc, "no thread for the pool's callbacks and limits: %s", shoal_strerror(rc));
    }
    p->threaded = true;
    return 0;
}

void thread_stop(struct own *p)
{
    os_mutex_lock(&p->mutex);
    bool was = p->threaded && !p->staffed;
    p->stop = true;
    pool_turn(p);
    os_mutex_unlock(&p->mutex);
    if (was)
        pthread_join(p->thread, NULL);
    p->threaded = false;
}
