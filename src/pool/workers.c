/* Worker processes: started, watched, replaced. */
#include "pool/pool.h"
#include "pool/worker.h"
#include "region/life.h"
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ns until somebody who is about to end is looked at again */
enum { SOON = 200000, MOST_SOON = 10000000 };
/* ns that workers which the program started have for what they do at SIGTERM */
#define PATIENCE 5000000000
/* workers in a row that may end before they are ready, and as many more as there are places; once one has been of use it is rather
 * somebody who kills them */
enum { UNREADY = 4, UNREADY_LATER = 100 };

static int start(struct own *p, unsigned i)
{
    struct member *m = &p->members[i];
    char name[NAME];
    snprintf(name, sizeof name, "%.40s:%u", p->name, ++p->spares);
    shoal_process_options options = {.name = name, .flags = SHOAL_DAEMON};
    struct worker_start start = {.index = i, .signals = p->signals, .options = p->options};
    struct worker *line = &p->shared->worker[i];
    int rc = object_reference(p->handle, TYPE_POOL, "a pool", &start.pool);
    if (rc)
        return rc;
    memset(line, 0, sizeof *line);
    rc = shoal_process_start(&m->process, worker_main, &start, &options);
    if (rc)
        return rc;
    const struct child *child = child_of(m->process, "a pool", &rc);
    m->pid = child->pid;
    m->slot = child->slot;
    m->generation = child->generation;
    m->reason = 0;
    return 0;
}

/* How many there should be. */
static unsigned wanted(const struct own *p)
{
    if (!p->over)
        return p->workers;
    return p->over != -EPIPE             ? 0
           : p->outstanding < p->workers ? (unsigned)p->outstanding
                                         : p->workers;
}

static unsigned running(const struct own *p)
{
    unsigned n = 0;
    for (unsigned i = 0; i < p->workers; i++)
        n += p->members[i].process || p->members[i].hiring;
    return n;
}

bool workers_wanted(const struct own *p)
{
    return p->staffed && running(p) < wanted(p) && os_now() >= p->next_start;
}

int workers_start(struct own *p)
{
    unsigned n = p->staffed ? UINT_MAX : running(p);
    for (unsigned i = 0; i < p->workers && n < wanted(p); i++) {
        if (p->members[i].process)
            continue;
        int rc = start(p, i);
        if (rc)
            return rc;
        n++;
    }
    return 0;
}

void worker_kill(struct own *p, unsigned worker)
{
    if (p->members[worker].process)
        shoal_process_kill(p->members[worker].process);
}

void workers_kill(struct own *p)
{
    for (unsigned i = 0; i < p->workers; i++)
        worker_kill(p, i);
}

void workers_end(struct own *p)
{
    if (!p->staffed) {
        workers_kill(p);
        return;
    }
    p->kill_at = os_now() + PATIENCE;
    for (unsigned i = 0; i < p->workers; i++)
        if (p->members[i].process)
            shoal_process_terminate(p->members[i].process);
}

static _Atomic bool exits;

void workers_end_all(void)
{
    atomic_store(&exits, true);
}

bool workers_gone(const struct own *p)
{
    return !running(p);
}

/* ---- endings ---- */

static void tell_how(struct own *p, unsigned i, int exit_code, int refused)
{
    char *to = p->last_death;
    const char *name = shoal_process_name(p->members[i].process);
    int pid = (int)p->members[i].pid;
    size_t size = sizeof p->last_death;
    if (!name)
        name = "?";
    if (refused)
        snprintf(to, size, "the initializer of worker %s (pid %d) returned %d", name, pid, refused);
    else if (exit_code == SHOAL_EXIT_UNKNOWN)
        snprintf(to, size, "worker %s (pid %d) ended, nobody knows how", name, pid);
    else if (exit_code < 0)
        snprintf(to, size, "worker %s (pid %d) was killed by signal %d (%s)", name, pid, -exit_code,
                 strsignal(-exit_code));
    else
        snprintf(to, size, "worker %s (pid %d) ended with exit code %d", name, pid, exit_code);
}

/* A death: whether there have been too many. */
static bool too_many(struct own *p, bool fruitless)
{
    unsigned most = p->options.most_deaths ? p->options.most_deaths : 16;
    if (most == UINT_MAX || (!p->options.most_deaths && !fruitless))
        return false;
    int64_t now = os_now();
    double seconds = p->options.in_seconds > 0 ? p->options.in_seconds : 5;
    p->deaths[p->n_deaths++ % (most + 1)] = now;
    return p->n_deaths > most && now - p->deaths[p->n_deaths % (most + 1)] < nanoseconds(seconds);
}

static void give_up(struct own *p)
{
    if (p->over == -ECANCELED || p->over == -ECONNABORTED)
        return;
    p->over = -ECONNABORTED;
    atomic_fetch_or(&p->shared->closed, POOL_CLOSED);
    workers_end(p);
}

/* One that has ended: what it had, and whether that was a death. */
static void ended(struct own *p, unsigned i)
{
    struct member *m = &p->members[i];
    struct worker *line = &p->shared->worker[i];
    int exit_code = SHOAL_EXIT_UNKNOWN;
    uint32_t state = atomic_load(&line->state);
    bool fruitless, retired = state == WORKER_RETIRED;
    shoal_process_exit_code(m->process, &exit_code);
    if (!retired && !m->reason && (!p->over || p->over == -EPIPE))
        tell_how(p, i, exit_code, atomic_load(&line->refused));
    pid_t pid = m->pid;
    pool_judge(p, i, pid, exit_code, &fruitless);
    int reason = m->reason;
    if (!p->staffed)
        shoal_process_close(m->process);
    *m = (struct member){0};
    if (!retired && !reason && too_many(p, fruitless))
        give_up(p);
    if (state == WORKER_STARTS || state == WORKER_REFUSED) {
        p->unready++;
    } else {
        p->unready = 0;
        p->was_ready = true;
    }
    unsigned most = (p->was_ready ? UNREADY_LATER : UNREADY) + 2 * p->workers;
    if (p->staffed && (p->unready > most || (p->strict && state == WORKER_REFUSED)))
        give_up(p);
}

/* Whether the region shows that it has given up its place, or lost it: it has ended, or is about to. */
static bool seems_gone(const struct member *m)
{
    uint64_t word = atomic_load(&slot_at(m->slot)->word);
    return word >> 32 != m->generation || slot_status(word) == SLOT_FREE ||
           slot_status(word) >= SLOT_LEAVING;
}

static unsigned seem_gone(const struct own *p)
{
    unsigned n = 0;
    for (unsigned i = 0; i < p->workers; i++)
        n += p->members[i].process && seems_gone(&p->members[i]);
    return n;
}

bool workers_changed(const struct own *p)
{
    return seem_gone(p) != p->gone;
}

pid_t workers_ending(const struct own *p)
{
    for (unsigned i = 0; p->over && !p->outstanding && i < p->workers; i++)
        if (p->members[i].process && seems_gone(&p->members[i]))
            return p->members[i].pid;
    return 0;
}

int64_t workers_heal(struct own *p)
{
    int64_t soon = INT64_MAX;
    bool news = false;
    if (atomic_load(&exits) && (!p->over || p->over == -EPIPE))
        pool_end(p);
    p->gone = 0;
    if (p->kill_at && os_now() >= p->kill_at)
        workers_kill(p);
    for (unsigned i = 0; i < p->workers; i++) {
        struct member *m = &p->members[i];
        if (!m->process || (!m->reason && !p->over && !seems_gone(m)))
            continue;
        /* below 0: the program has closed its handle, as it may when it has ended */
        if (shoal_process_is_alive(m->process) > 0) {
            bool gone = seems_gone(m);
            p->gone += gone;
            if (gone || m->reason || p->over == -ECANCELED || p->over == -ECONNABORTED)
                soon = SOON;
            continue;
        }
        ended(p, i);
        news = true;
    }
    if (p->over == -ECANCELED || p->over == -ECONNABORTED) {
        if (workers_gone(p) && p->outstanding) {
            pool_drop(p, p->over);
            news = true;
        }
    } else if (os_now() < p->next_start) {
        soon = MOST_SOON;
    } else if (workers_start(p)) { /* no process can be had now */
        soon = MOST_SOON;
        p->next_start = os_now() + MOST_SOON;
        if (workers_gone(p)) {
            snprintf(p->last_death, sizeof p->last_death, "no worker could be started: %.80s",
                     fail_sentence());
            if (too_many(p, true))
                give_up(p);
        }
    }
    if (news)
        pool_turn(p);
    return soon;
}

int64_t workers_limits(struct own *p)
{
    int64_t next = INT64_MAX, now = p->limited ? os_now() : 0;
    for (unsigned i = 0; p->limited && i < p->workers; i++) {
        struct worker *line = &p->shared->worker[i];
        int64_t began = atomic_load(&line->began);
        unit_name name = atomic_load(&line->want);
        if (!began || !name || p->members[i].reason || atomic_load(&line->began) != began)
            continue;
        const struct result *r = unit_owner(p, name);
        if (!r || !r->extra || !(r->extra->options.limit > 0))
            continue;
        int64_t until = began + nanoseconds(r->extra->options.limit);
        if (until <= now)
            unit_end(p, name, -ETIME);
        else if (until < next)
            next = until;
    }
    return next;
}
