/* Pools whose workers the program starts: another way to fork them, another program, an interpreter.
 *
 * A place goes from empty to hiring, under the mutex, by who asked for it; then, without it, the process is started, which may
 * claim units and even end before its place is told who it is; then the place has a worker, whose end is seen as any
 * other's. A pool that is ended meanwhile waits for who hires, and ends the worker then.
 *
 * A row is a list that results join when they are ready. It takes no memory of its own for each, and who reads it never looks
 * at those that are not.
 */
#include "pool/pool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NEXT_START = 10000000 /* ns until one is tried again that could not be started */ };

int pool_vacancy(shoal_pool *pool)
{
    int rc, place = -EAGAIN;
    struct own *p = pool_of(pool, "pool_vacancy", &rc);
    if (!p)
        return rc;
    os_mutex_lock(&p->mutex);
    for (unsigned i = 0; workers_wanted(p) && i < p->workers && place < 0; i++) {
        struct member *m = &p->members[i];
        if (m->process || m->hiring)
            continue;
        *m = (struct member){.hiring = true};
        memset(&p->shared->worker[i], 0, sizeof p->shared->worker[i]);
        place = (int)i;
    }
    os_mutex_unlock(&p->mutex);
    return place;
}

int pool_hired(shoal_pool *pool, int place, shoal_process *process)
{
    int rc;
    struct own *p = pool_of(pool, "pool_hired", &rc);
    const struct child *child = p && process ? child_of(process, "pool_hired", &rc) : NULL;
    if (!p)
        return rc;
    os_mutex_lock(&p->mutex);
    struct member *m = &p->members[place];
    m->hiring = false;
    if (child) {
        m->process = process;
        m->pid = child->pid;
        m->slot = child->slot;
        m->generation = child->generation;
        if (p->over == -ECANCELED || p->over == -ECONNABORTED)
            shoal_process_terminate(process);
    } else {
        p->next_start = os_now() + NEXT_START;
        snprintf(p->last_death, sizeof p->last_death, "a worker could not be started");
        p->unready++;
    }
    pool_turn(p);
    os_mutex_unlock(&p->mutex);
    return process && !child ? rc : 0;
}

bool pool_employs(shoal_pool *pool, pid_t pid)
{
    int rc;
    bool does = false;
    struct own *p = pool_of(pool, "pool_employs", &rc);
    if (!p)
        return false;
    os_mutex_lock(&p->mutex);
    for (unsigned i = 0; i < p->workers; i++)
        does |= p->members[i].process && p->members[i].pid == pid;
    os_mutex_unlock(&p->mutex);
    return does;
}

/* ---- minding ---- */

bool mind_due(const struct own *p)
{
    for (const struct arrivals *row = p->watched; row; row = row->next_watched)
        if (row->pending <= row->low)
            return true;
    return p->due.first || p->stirred;
}

void pool_stir(struct own *p)
{
    os_mutex_lock(&p->mutex);
    p->stirred = true;
    pool_turn(p);
    os_mutex_unlock(&p->mutex);
}

void arrivals_watch(struct own *p, struct arrivals *row, uint64_t low)
{
    row->low = low;
    row->next_watched = p->watched;
    p->watched = row;
    pool_turn(p);
}

void arrivals_unwatch(struct own *p, struct arrivals *row)
{
    struct arrivals **at = &p->watched;
    while (*at && *at != row)
        at = &(*at)->next_watched;
    if (*at)
        *at = row->next_watched;
}

static bool is_over(const struct own *p)
{
    return p->over && workers_gone(p) && !p->outstanding && !p->due.first;
}

int pool_mind(struct own *p, int64_t deadline)
{
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    os_mutex_lock(&p->mutex);
    p->threaded = true;
    p->thread = pthread_self();
    int64_t until = thread_care(p);
    bool due = mind_due(p), wanted = workers_wanted(p), over = is_over(p);
    p->stirred = false;
    os_mutex_unlock(&p->mutex);
    if (due || wanted || over)
        return due ? 1 : wanted ? -ERESTART : 0;
    rc = thread_sleep(p, until < deadline ? until : deadline);
    return rc == -EINTR ? rc : 1;
}

void pool_unmind(struct own *p)
{
    os_mutex_lock(&p->mutex);
    p->threaded = false;
    os_mutex_unlock(&p->mutex);
}

/* ---- rows ---- */

void arrivals_add(struct arrivals *row, struct result *r)
{
    row->pending--;
    if (row->left) {
        result_drop(r);
        if (!row->pending)
            free(row);
        return;
    }
    r->cell.next = NULL;
    if (row->last)
        row->last->cell.next = &r->cell;
    else
        row->first = r;
    row->last = r;
    atomic_fetch_add_explicit(&row->ready, 1, memory_order_relaxed);
}

struct result *arrivals_take(struct arrivals *row)
{
    struct result *r = row->first;
    if (!r)
        return NULL;
    row->first = (struct result *)(void *)r->cell.next;
    if (!row->first)
        row->last = NULL;
    return r;
}

void arrivals_leave(struct arrivals *row)
{
    struct result *r;
    while ((r = arrivals_take(row)))
        result_drop(r);
    row->left = true;
    if (!row->pending)
        free(row);
}

unsigned arrivals_cancel(struct own *p, const struct arrivals *row, bool all)
{
    unsigned n = 0;
    pool_settle(p);
    for (const struct run *run = p->runs; run && row->pending; run = run->next)
        for (unsigned i = 0; run->open && i < UNITS; i++) {
            const struct result *r = run->owner[i];
            unit_name name = unit_make(run->level, run->position + i);
            if (!r || r->row != row)
                continue;
            n += all || unit_withdraw(p, name, -ECANCELED);
            if (all)
                unit_end(p, name, -ECANCELED);
        }
    pool_turn(p);
    return n;
}

bool result_withdraw(struct own *p, struct result *r)
{
    pool_settle(p);
    if (result_is_ready(r) || !unit_withdraw(p, r->unit, -ECANCELED))
        return false;
    pool_turn(p);
    return true;
}
