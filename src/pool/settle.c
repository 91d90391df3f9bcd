/* What becomes of units: done, lost with a worker, ended before their time. */
#include "pool/pool.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- long results: in the pool's queue, tagged with their unit's name ---- */

struct long_result {
    struct long_result *next;
    unit_name name;
    void *message;
};

static void *from_stash(struct own *p, unit_name name)
{
    for (struct long_result **at = &p->stash; *at; at = &(*at)->next)
        if ((*at)->name == name) {
            struct long_result *found = *at;
            void *message = found->message;
            *at = found->next;
            free(found);
            return message;
        }
    return NULL;
}

static unit_name tag_of(const void *message)
{
    unit_name name;
    memcpy(&name, message_bytes(message) + message_size(message), sizeof name);
    return name;
}

/* They come in about the order in which they are asked for, so few are kept. */
void *long_result(struct own *p, unit_name name)
{
    struct place place;
    struct lanes *q = queue_of(p->results, "a pool", &place);
    unsigned char none[1];
    struct taken t;
    void *message = from_stash(p, name);
    while (!message && !lanes_take(q, &place, none, 0, SIZE_MAX, &t, SHOAL_NOW)) {
        if (!t.object)
            continue;
        object_inner(t.object);
        if (tag_of(t.object) == name)
            return t.object;
        struct long_result *kept = malloc(sizeof *kept);
        if (!kept) { /* that one's result will be missed: -ENOMEM */
            object_close(t.object, TYPE_MESSAGE);
            continue;
        }
        *kept = (struct long_result){p->stash, tag_of(t.object), t.object};
        p->stash = kept;
    }
    return message;
}

static void drop_long_result(struct own *p, unit_name name)
{
    void *message = long_result(p, name);
    if (message)
        object_close(message, TYPE_MESSAGE);
}

/* ---- tasks ---- */

static void drop_argument(struct result *r)
{
    if (r->message)
        object_close(r->message, TYPE_MESSAGE);
    r->message = NULL;
}

static void text_of(struct result *r, const struct work *w)
{
    if (r->message)
        result_text(r, "%.*s", (int)message_size(r->message),
                    (const char *)message_bytes(r->message));
    else if (w->n)
        result_text(r, "%.*s", (int)w->n, (const char *)w->bytes);
}

static void task_done(struct own *p, struct result *r, unit_name name, const struct work *w)
{
    int error = 0;
    drop_argument(r);
    r->flags = w->flags & (UNIT_SHARED | UNIT_MESSAGE | UNIT_ANY);
    r->n = (uint8_t)w->n;
    if (w->flags & UNIT_MESSAGE) {
        r->message = long_result(p, name);
        if (!r->message)
            error = -ENOMEM;
    } else if (w->flags & UNIT_SHARED) {
        memcpy(r->bytes, &w->first, sizeof w->first); /* how long it is */
    } else {
        memcpy(r->bytes, w->bytes, IN_UNIT);
    }
    if (w->flags & UNIT_FAILED) {
        int value = (int)(int64_t)w->first;
        error = w->function ? -(int)w->function : -EREMOTEIO;
        text_of(r, w);
        if (error == -EREMOTEIO)
            result_text(r, "the function returned %d", value);
        if (result_extra(r))
            r->extra->value = error == -EREMOTEIO ? value : 0;
    }
    result_finish(r, error);
}

static void task_ended(struct result *r, int error, pid_t pid, int exit_code)
{
    drop_argument(r);
    if (result_extra(r)) {
        r->extra->pid = pid;
        r->extra->exit_code = exit_code;
    }
    if (error == -EOWNERDEAD)
        result_text(r, "%s", r->pool->last_death);
    else if (error == -ETIME)
        result_text(r, "it took longer than its limit of %g s, so its worker (pid %d) was killed",
                    r->extra ? r->extra->options.limit : 0, (int)pid);
    else if (error == -ECANCELED)
        result_text(r,
                    r->pool->over == -ECANCELED ? "the pool was terminated" : "it was cancelled");
    else if (error == -ECONNABORTED)
        result_text(r, "the pool gave up: too many deaths; the last one: %s", r->pool->last_death);
    result_finish(r, error);
}

/* ---- units ---- */

static bool is_limited(const struct result *r)
{
    return r->extra && r->extra->options.limit > 0;
}

static void settle(struct own *p, unit_name name)
{
    struct work work = unit_at(p->shared, name)->work;
    struct result *r = unit_owner(p, name);
    p->limited -= is_limited(r);
    unit_over(p, name);
    if (work.kind == UNIT_PART)
        map_done(p, r, name, &work);
    else
        task_done(p, r, name, &work);
}

bool pool_settle(struct own *p)
{
    unit_name name = units_finished(p->shared);
    if (!name)
        return false;
    p->was_ready = true;
    while (name) {
        unit_name next =
            atomic_load_explicit(&unit_at(p->shared, name)->next, memory_order_relaxed);
        settle(p, name);
        name = next;
    }
    atomic_fetch_add(&p->turns, 1);
    return true;
}

/* It ends other than by being done: `at` of a part's items are. */
static void lose(struct own *p, unit_name name, uint64_t at, int error, pid_t pid, int exit_code)
{
    struct work work = unit_at(p->shared, name)->work;
    struct result *r = unit_owner(p, name);
    p->limited -= is_limited(r);
    unit_over(p, name);
    if (work.kind == UNIT_PART)
        map_lost(p, r, name, &work, at, error, pid, exit_code);
    else
        task_ended(r, error, pid, exit_code);
    atomic_fetch_add(&p->turns, 1);
}

/* What was begun counts as a try; the rest is as it was given. */
static bool try_again(struct own *p, struct result *r, unit_name name, bool begun)
{
    int rc = 0;
    struct extra *extra = r->extra;
    if ((begun && (!extra || !extra->tries)) || p->over == -ECANCELED || p->over == -ECONNABORTED)
        return false;
    struct work work = extra ? extra->work : unit_at(p->shared, name)->work;
    unit_name again = unit_add(p, unit_level(name), r, &work, &rc);
    if (!again)
        return false;
    if (begun && extra->tries != UINT32_MAX)
        extra->tries--;
    r->unit = again;
    p->limited -= is_limited(r);
    unit_over(p, name);
    unit_publish(p, unit_level(name), 1);
    return true;
}

void pool_judge(struct own *p, unsigned worker, pid_t pid, int exit_code, bool *fruitless)
{
    struct worker *line = &p->shared->worker[worker];
    maps_uncounted(p);
    pool_settle(p); /* nothing more comes from it */
    unit_name name = atomic_exchange(&line->want, 0);
    uint64_t at = atomic_load(&line->item);
    *fruitless = true;
    if (!name)
        return;
    struct unit *unit = unit_at(p->shared, name);
    uint64_t claim = atomic_load(&unit->claim);
    if (!claim_names(claim, name) || claim_worker(claim) != worker ||
        claim_state(claim) < UNIT_CLAIMED)
        return; /* it had nothing */
    struct result *r = unit_owner(p, name);
    if (claim_state(claim) == UNIT_DONE) {
        *fruitless = false;
        settle(p, name);
        atomic_fetch_add(&p->turns, 1);
        return;
    }
    int error = p->members[worker].reason;
    if (!error)
        error = p->over == -ECANCELED || p->over == -ECONNABORTED ? p->over : -EOWNERDEAD;
    if (!MUTANT(279))
        drop_long_result(p, name);
    if (unit->work.kind == UNIT_TASK && error == -EOWNERDEAD &&
        try_again(p, r, name, at != NOT_BEGUN || MUTANT(286)))
        return;
    *fruitless = unit->work.kind == UNIT_PART && at == NOT_BEGUN;
    lose(p, name, at, error, pid, exit_code);
}

bool unit_withdraw(struct own *p, unit_name name, int error)
{
    struct unit *unit = unit_at(p->shared, name);
    uint64_t claim = atomic_load(&unit->claim);
    while (claim_state(claim) == UNIT_FREE)
        if (MUTANT(280) ||
            atomic_compare_exchange_strong(&unit->claim, &claim, claim_make(name, 0, UNIT_NONE))) {
            lose(p, name, NOT_BEGUN, error, 0, 0);
            return true;
        }
    return false;
}

void unit_end(struct own *p, unit_name name, int error)
{
    if (unit_withdraw(p, name, error))
        return;
    struct unit *unit = unit_at(p->shared, name);
    uint64_t claim = atomic_load(&unit->claim);
    while (claim_state(claim) == UNIT_CLAIMED)
        if (MUTANT(288) ||
            atomic_compare_exchange_strong(&unit->claim, &claim,
                                           claim_make(name, claim_worker(claim), UNIT_DOOMED))) {
            p->members[claim_worker(claim)].reason = error;
            worker_kill(p, claim_worker(claim));
            return;
        }
    /* it is done, and will be told; or a kill is under way */
}

void pool_drop(struct own *p, int error)
{
    pool_settle(p);
    for (const struct run *run = p->runs; run && p->outstanding; run = run->next) {
        for (unsigned i = 0; run->open && i < UNITS; i++) {
            if (!run->owner[i])
                continue;
            unit_name name = unit_make(run->level, run->position + i);
            if (claim_state(atomic_load(&unit_at(p->shared, name)->claim)) == UNIT_DONE)
                settle(p, name);
            else
                lose(p, name, NOT_BEGUN, error, 0, 0);
        }
    }
}
