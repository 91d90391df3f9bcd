/* Units of work.
 *
 *     submit   fill the unit in; claim = {u, 0, FREE}; tail = u's position + 1  == it may be claimed
 *     claim    want = u (the worker's own line); CAS claim {u, 0, FREE} -> {u, me, CLAIMED}  == COMMIT
 *     finish   write the result; CAS claim CLAIMED -> DONE  == COMMIT; push u on `finished`
 *     tell     (parent) take `finished` as a whole; for each unit: copy the result, claim = NONE
 *
 * Only the pool's process submits and tells, under a mutex of its own; only living workers claim and finish.
 * A worker has one unit at a time, and has named it in `want` before it claimed it, and the claim names the
 * worker: so when it is dead the parent takes what is finished, looks at that one unit, and knows: CLAIMED, it
 * died at it; DONE, all is there but the push; anything else, it had nothing (the rest of what it did is told).
 * A worker says in `item` when it begins: what it had claimed and not begun is given again, and nobody to blame.
 * The parent's death ends the workers, and nobody is left to be told.
 *
 * A worker that is to be killed for what it is at (a limit, cancel) is first made unable to finish that: CAS
 * CLAIMED -> DOOMED. One of both CAS wins; a worker that finds DOOMED does nothing more. So the kill never hits
 * the next unit.
 *
 * `next` says from where to look. It is moved forward by whoever finds that what lies there is not FREE, and
 * may be too low, never too high: a position that was FREE once, and is not, is never FREE again (what is tried again
 * is a new unit).
 *
 * Memory: a unit of 64 bytes lies in a run of a page. When all units of a run are told it is used again for other
 * positions. A worker that was stopped in between may look into it late: it finds other names there, which its
 * CAS does not expect (40 bits of them: it would have to sleep through 2^38 tasks). Runs are given back when
 * the pool is, which its workers hold. A position whose place in the directory still leads to a unit that is not
 * over, after all the RUNS runs behind it, is left out.
 *
 * Who sleeps: the parent wakes one for each unit (of a map: as many as there are parts), and sets the sleepers bit again if all of
 * them were there to be woken, as others may still sleep. So a worker that is stopped while it wakes up takes no other's wake-up
 * along, and one that has been woken looks at once, without announcing itself anew (which costs it a membarrier). The parent's tail and its look at the bit have a full fence between them (the exchange); so has the worker.
 * Who gives one unit and waits for it (apply) looks at the bit later: after the time that a worker that is awake takes to claim it.
 */
#include "pool/units.h"
#include "region/life.h"
#include <limits.h>
#include <string.h>

static struct pool *pool_at(struct header *h)
{
    return header_payload(h);
}

/* ---- the pool's process ---- */

int units_create(shoal_pool **ret, const char *name, unsigned workers, shoal_queue **results)
{
    struct header *h;
    int rc = shoal_queue_create(results, NULL);
    if (!rc)
        rc = object_create(&h, TYPE_POOL, sizeof(struct pool), name, OBJECT_SPARSE);
    if (rc)
        goto out;
    struct pool *q = pool_at(h);
    size_t head = offsetof(struct pool, worker) + workers * sizeof(struct worker);
    rc = region_populate(q, head);
    if (rc) {
        object_abandon(h);
        rc = fail(rc, "no memory for a pool");
        goto out;
    }
    memset(q, 0, head); /* the rest may be anything, and is written before it is read */
    q->workers = workers;
    shoal_queue_reference(*results, &q->results);
    *ret = object_publish(h);
    return 0;
out:
    *results = shoal_queue_close(*results);
    return rc;
}

int units_run(struct pool *q)
{
    uint32_t k = atomic_load(&q->owned_count);
    if (k == RUNS)
        return fail(-ENOSPC, "%d tasks and parts of maps are waiting, which is the most",
                    RUNS * UNITS);
    int rc = region_populate(&q->owned[k], sizeof q->owned[k]);
    if (rc)
        return fail(rc, "no memory for more tasks");
    /* listed first, so that it is never in use and not listed */
    atomic_store(&q->owned[k], 0);
    atomic_store(&q->owned_count, k + 1);
    rc = unit_alloc(&q->owned[k], 1);
    unsigned char *run = view.heap + (uint64_t)(atomic_load(&q->owned[k]) - 1) * 64;
    /* or there may be no memory behind it, which the first write would be told by a signal */
    if (!rc && !MUTANT(289))
        rc = region_populate(run, UNIT);
    if (rc) {
        unit_free(&q->owned[k], 1);
        atomic_store(&q->owned_count, k);
        return fail(-ENOMEM, "no memory for more tasks: %s", shoal_strerror(rc));
    }
    memset(run, 0, UNIT);
    return (int)k;
}

int units_place(struct pool *q, unsigned level, uint64_t position, unsigned run)
{
    _Atomic uint32_t *entry = &q->runs[level][position / UNITS % RUNS];
    int rc = region_populate(entry, sizeof *entry);
    if (rc)
        return fail(rc, "no memory for more tasks");
    atomic_store_explicit(entry, atomic_load(&q->owned[run]), memory_order_release);
    return 0;
}

/* Wakes up to `many`. Where there may be more who sleep the bit is set again at once, not by those who have been woken: they may be
 * stopped before they come to it. */
static void wake_workers(struct pool *q, int many)
{
    uint32_t e = atomic_load(&q->work);
    while (e & SLEEPERS)
        if (atomic_compare_exchange_weak(&q->work, &e, (e + EVENT_STEP) & ~(uint32_t)SLEEPERS)) {
            if (!MUTANT(264) && os_futex_wake(&q->work, many) == many && !MUTANT(265))
                atomic_fetch_or(&q->work, SLEEPERS);
            return;
        }
}

void units_publish(struct pool *q, unsigned level, uint64_t tail, int many)
{
    atomic_exchange(&q->level[level].tail, tail); /* a full fence */
    if (many)
        wake_workers(q, many);
}

void units_wake(struct pool *q)
{
    uint64_t many = 0;
    for (unsigned k = 0; k < LEVELS; k++) {
        uint64_t next = atomic_load(&q->level[k].next), tail = atomic_load(&q->level[k].tail);
        many += tail > next ? tail - next : 0;
    }
    if (many)
        wake_workers(q, many < q->workers ? (int)many : (int)q->workers);
}

unit_name units_finished(struct pool *q)
{
    if (!atomic_load_explicit(&q->finished, memory_order_relaxed))
        return 0;
    unit_name name = MUTANT(281) ? atomic_load(&q->finished) : atomic_exchange(&q->finished, 0),
              before = 0;
    if (MUTANT(281))
        atomic_store(&q->finished, 0);
    while (name) { /* the last one is the first */
        struct unit *unit = unit_at(q, name);
        unit_name next = atomic_load_explicit(&unit->next, memory_order_relaxed);
        atomic_store_explicit(&unit->next, before, memory_order_relaxed);
        before = name;
        name = next;
    }
    return before;
}

/* ---- workers ---- */

bool units_waiting(struct pool *q)
{
    for (unsigned k = 0; k < LEVELS; k++)
        if (atomic_load_explicit(&q->level[k].next, memory_order_relaxed) <
            atomic_load_explicit(&q->level[k].tail, memory_order_relaxed))
            return true;
    return false;
}

/* Nothing below `to` is FREE. */
static void move_on(struct pool *q, unsigned level, uint64_t from, uint64_t to)
{
    while (from < to && !atomic_compare_exchange_weak(&q->level[level].next, &from, to))
        ;
}

static unit_name claim(struct pool *q, unsigned me, unsigned level)
{
    uint64_t tail = atomic_load_explicit(&q->level[level].tail, memory_order_acquire);
    uint64_t from = atomic_load_explicit(&q->level[level].next, memory_order_relaxed), p = from;
    for (; p < tail; p++) {
        unit_name name = unit_make(level, p);
        struct unit *unit = unit_at(q, name);
        uint64_t free = claim_make(name, 0, UNIT_FREE);
        if (atomic_load_explicit(&unit->claim, memory_order_relaxed) != free)
            continue;
        if (!MUTANT(273))
            atomic_store_explicit(&q->worker[me].item, NOT_BEGUN, memory_order_relaxed);
        if (!MUTANT(274))
            atomic_store_explicit(&q->worker[me].want, name, memory_order_relaxed);
        if (MUTANT(271))
            atomic_store(&unit->claim, claim_make(name, me, UNIT_CLAIMED));
        else if (!atomic_compare_exchange_strong(&unit->claim, &free,
                                                 claim_make(name, me, UNIT_CLAIMED)))
            continue;
        if (MUTANT(274))
            atomic_store_explicit(&q->worker[me].want, name, memory_order_relaxed);
        move_on(q, level, from, p + 1 + MUTANT(284));
        return name;
    }
    move_on(q, level, from, p);
    return 0;
}

unit_name units_claim(struct pool *q, unsigned me)
{
    for (unsigned level = LEVELS; level-- > 0;) {
        unit_name name = claim(q, me, level);
        if (name)
            return name;
    }
    return 0;
}

bool units_commit(struct pool *q, unsigned me, unit_name name, bool wakes, bool cares)
{
    struct unit *unit = unit_at(q, name);
    uint64_t mine = claim_make(name, me, UNIT_CLAIMED);
    if (MUTANT(272))
        atomic_store(&unit->claim, claim_make(name, me, UNIT_DONE));
    else if (!atomic_compare_exchange_strong(&unit->claim, &mine, claim_make(name, me, UNIT_DONE)))
        return false;
    unit_name first = atomic_load_explicit(&q->finished, memory_order_relaxed);
    do
        atomic_store_explicit(&unit->next, first, memory_order_relaxed);
    while (MUTANT(277) ? (atomic_store(&q->finished, name), false)
                       : !atomic_compare_exchange_weak(&q->finished, &first, name));
    if (wakes && !MUTANT(276))
        wait_wake(&q->done, INT_MAX);
    if (cares && !MUTANT(278))
        wait_wake(&q->care, INT_MAX);
    return true;
}

/* ---- lifetime ---- */

/* Done again by who repairs its closer, who may have given back the pool itself by then. */
static void destroy(struct header *h, uint32_t slot)
{
    struct pool *q = pool_at(h);
    (void)slot;
    if (!atomic_load(&h->payload) && !MUTANT(266))
        return;
    for (uint32_t k = 0; k < atomic_load(&q->owned_count); k++)
        if (atomic_load(&q->owned[k]) && !MUTANT(287))
            unit_free(&q->owned[k], 1);
}

/* Asked of a pool that may have been given back, and whose header may be another object's by now. */
static bool is_there(const void *at, size_t size)
{
    const unsigned char *from = at;
    return from >= view.heap && from + size <= view.base + view.at.size && region_is_populated(at);
}

static void runs(struct header *h, void (*visit)(uint32_t payload, uint32_t units, void *argument),
                 void *argument)
{
    struct pool *q = pool_at(h);
    if ((!atomic_load(&h->payload) || !is_there(&q->owned_count, sizeof q->owned_count)) &&
        !MUTANT(267))
        return;
    uint32_t n = atomic_load(&q->owned_count);
    for (uint32_t k = 0; k < n && k < RUNS && is_there(&q->owned[k], sizeof q->owned[k]); k++)
        if (atomic_load(&q->owned[k]))
            visit(atomic_load(&q->owned[k]), 1, argument);
}

static _Atomic uint32_t *event_of(struct header *h)
{
    return &pool_at(h)->work;
}

static _Atomic uint32_t *further(struct header *h, unsigned i)
{
    return i == 1 ? &pool_at(h)->done : i == 2 ? &pool_at(h)->care : NULL;
}

const struct type_repair pool_repair = {.event = event_of,
                                        .further = further,
                                        .destroy = destroy,
                                        .runs = runs};

/* ---- inspection ---- */

void pool_describe(struct description *d, const struct header *h)
{
    uint32_t closed = 0, workers = 0;
    uint64_t done = 0;
    if (!look_payload(d->look, h, offsetof(struct pool, closed), &closed, sizeof closed) ||
        !look_payload(d->look, h, offsetof(struct pool, workers), &workers, sizeof workers))
        return;
    for (uint32_t i = 0; i < workers && i < SHOAL_POOL_WORKERS; i++) {
        uint64_t tasks = 0;
        look_payload(d->look, h,
                     offsetof(struct pool, worker) + i * sizeof(struct worker) +
                         offsetof(struct worker, tasks),
                     &tasks, sizeof tasks);
        done += tasks;
    }
    describe_number(d, "workers", workers);
    describe_number(d, "tasks", done);
    describe_flag(d, "closed", closed & POOL_CLOSED);
}
