/* rwlock: many readers or one writer; a writer keeps new readers out while it waits for the old
 * ones.
 *
 * The writer is an owner word with flags; each reader has a cell, found from its record's number.
 *
 *     read:   cell: CAS 0 -> me, count 0 (a full fence);  writer word free: cell = me, count 1, in.  Else: cell = 0 and wait.
 *     write:  writer: CAS 0 -> me (a full fence);  all cells empty or dead: writer = me | HELD, in.
 *         Else wait for them; in vain: writer = 0.
 *     leave:  reader: cell = 0, a look at `drain`.  Writer: writer = 0, a look at `writers` and `readers`.   (plain stores as in docs/design.md 4a)
 *
 * A reader claims before it looks at the writer, a writer claims before it looks at the cells: at
 * least one sees the other. Both claims name their owner, so whoever dies with one is seen to be
 * dead: a dead reader's cell counts as empty, and is emptied by whoever meets it; a dead writer's
 * word is taken over by the next.
 *
 * The debt. A writer that died HELD leaves something half changed, and the next to acquire must be
 * told, even if that one dies, or gives up, before it could do anything about it. So the debt
 * stands in the writer word until one who was told has released:
 *     owner | HELD    dead: there is a debt
 *     owner | DIED    a writer that waits for readers and will be told; it gives up: nobody | DIED;  it gets in: owner | HELD
 *     owner | TOLD    a reader that was told and still reads. Other readers may come in, writers wait for it. Leaves: 0. Dead: there is a debt
 * In short: any flag beside a dead owner (record 0, nobody, is always dead) is a debt; a dead owner
 * without flags was only waiting.
 *
 * Three eventcounts: `writers` wait for the writer word, one is woken; `readers` wait for it, all
 * are woken; `drain`: the one who has the word waits for the cells. Whoever frees the writer word
 * wakes a writer; if none sleeps, the readers. A woken writer takes the word, or else another
 * writer has it, who will wake again.
 *
 * Stopped instead of killed: a reader that stops between its claim and its look is waited for as if
 * it read. A signal handler that interrupts its own thread between the two takes a second cell:
 * cells with count 0 are nobody's share yet.
 */
#include "region/wait.h"
#include "sync/sync.h"
#include <limits.h>
#include <string.h>

/* writer: CAS by acquirers, stored by its owner; the events: see region/wait.h. */
struct body {
    _Atomic owner_t writer;
    _Atomic uint32_t writers, readers, drain;
};
static_assert(sizeof(struct body) <= BODY, "fits in the header");

enum { HELD = 1, DIED = 2, TOLD = 4, FLAGS = 0xff };
enum { CELLS = 4088, COUNT = 0xff, PAGE = 4096 };

/* The payload. Pages of cells have memory once somebody needed them.
 *   high, reach, pages   only grow, before the claim that they concern: cells below high may be in use, at most `reach` places behind their home, in these pages
 *   cell                 owner | count: CAS 0 or dead -> me, then written by its owner; a dead one: CAS -> 0 by anybody
 */
struct shares {
    _Atomic uint32_t high, reach, pages;
    uint32_t reserved[13];
    _Atomic owner_t cell[CELLS];
};
static_assert(sizeof(struct shares) == 8 * PAGE, "whole pages");

static struct body *body_of(const struct header *h)
{
    return (struct body *)(uintptr_t)h->body;
}

static struct shares *shares_of(const struct header *h)
{
    return header_payload(h);
}

int shoal_rwlock_create(shoal_rwlock **ret, const shoal_sync_options *options)
{
    struct header *h;
    if (!ret)
        return fail(-EINVAL, "shoal_rwlock_create: nowhere to write the handle (NULL)");
    if (options && options->flags)
        return fail(-EINVAL, "shoal_rwlock_create: unknown flags %#x", options->flags);
    int rc = object_create(&h, TYPE_RWLOCK, sizeof(struct shares), options ? options->name : NULL,
                           OBJECT_SPARSE);
    if (rc)
        return rc;
    unsigned char *page = header_payload(h);
    rc = region_populate(page, PAGE);
    if (rc) {
        object_abandon(h);
        return fail(rc, "shoal_rwlock_create: no memory");
    }
    for (unsigned i = 0; i < 8; i++) /* what others left there */
        if (region_is_populated(page + i * PAGE))
            memset(page + i * PAGE, 0, PAGE);
    shares_of(h)->pages = 1;
    *ret = object_publish(h);
    return 0;
}

/* ---- the readers' cells ---- */

static uint32_t page_of(uint32_t k)
{
    return (uint32_t)(offsetof(struct shares, cell) + k * sizeof(owner_t)) / PAGE;
}

static owner_t load_cell(struct shares *s, uint32_t k)
{
    return atomic_load(&s->pages) >> page_of(k) & 1 ? atomic_load(&s->cell[k]) : 0;
}

static void grow(_Atomic uint32_t *most, uint32_t n)
{
    uint32_t now = atomic_load_explicit(most, memory_order_relaxed);
    while (now < n && !atomic_compare_exchange_weak(most, &now, n))
        ;
}

/* The cell in which `me` has a share, or NULL. */
static _Atomic owner_t *find_share(struct shares *s, owner_t me)
{
    uint32_t home = owner_record(me) % CELLS;
    uint32_t reach = atomic_load_explicit(&s->reach, memory_order_relaxed);
    for (uint32_t i = 0; i <= reach; i++) {
        uint32_t k = (home + i) % CELLS;
        owner_t c = load_cell(s, k);
        if ((c & ~(owner_t)COUNT) == me && (c & COUNT))
            return &s->cell[k];
    }
    return NULL;
}

/* Puts `me` with count 0 into a cell that is empty, or whose owner is dead. */
static int claim(struct shares *s, owner_t me, _Atomic owner_t **ret)
{
    uint32_t home = owner_record(me) % CELLS;
    for (uint32_t i = 0; i < CELLS; i++) {
        uint32_t k = (home + i) % CELLS;
        if (unlikely(!(atomic_load(&s->pages) >> page_of(k) & 1))) {
            int rc = region_populate(&s->cell[k], sizeof(owner_t));
            if (rc)
                return fail(rc, "shoal_rwlock_acquire_read: no memory for another reader");
            atomic_fetch_or(&s->pages, 1u << page_of(k));
        }
        owner_t c = atomic_load_explicit(&s->cell[k], memory_order_relaxed);
        if (c && !owner_dead(c))
            continue;
        grow(&s->reach, i);
        grow(&s->high, k + 1);
        if (atomic_compare_exchange_strong(&s->cell[k], &c, me)) {
            *ret = &s->cell[k];
            return 0;
        }
    }
    return fail(-ENOSPC, "shoal_rwlock_acquire_read: %d threads read already", CELLS);
}

/* Whether no living thread but `me` has a cell; the cells of the dead are emptied. `ask`: looks at
 * the lives of the others. */
static bool drained(struct shares *s, owner_t me, bool ask)
{
    uint32_t high = atomic_load(&s->high);
    for (uint32_t k = 0; k < high; k++) {
        owner_t c = load_cell(s, k);
        if (!c || (c & ~(owner_t)COUNT) == me) /* mine: of a call that this one interrupts */
            continue;
        if (ask)
            life_ask(c);
        if (!owner_gone(c))
            return false;
        atomic_compare_exchange_strong(&s->cell[k], &c, 0);
    }
    return true;
}

/* ---- waking ---- */

/* Whether somebody was asleep. */
static bool wake(_Atomic uint32_t *event, int n)
{
    uint32_t e = atomic_load(event);
    while (e & SLEEPERS)
        if (atomic_compare_exchange_weak(event, &e, (e + EVENT_STEP) & ~(uint32_t)SLEEPERS))
            return os_futex_wake(event, n) > 0;
    return false;
}

/* Gives up the writer word, which is the caller's; `debt`: 0 or DIED. */
static void free_writer(struct body *b, owner_t debt)
{
    if (likely(process_self.keep.asymmetric)) {
        atomic_store_explicit(&b->writer, debt, memory_order_release);
        atomic_signal_fence(memory_order_seq_cst);
    } else {
        atomic_exchange(&b->writer, debt);
#if !defined(__x86_64__)
        atomic_thread_fence(memory_order_seq_cst);
#endif
    }
    if (unlikely(atomic_load_explicit(&b->writers, memory_order_relaxed) & SLEEPERS) &&
        (wake(&b->writers, 1) || MUTANT(94)))
        return;
    if (unlikely(atomic_load_explicit(&b->readers, memory_order_relaxed) & SLEEPERS))
        wake(&b->readers, INT_MAX);
}

/* ---- reading ---- */

static bool keeps_readers_out(owner_t writer)
{
    return writer && !(writer & TOLD) && !owner_dead(writer);
}

/* 0: reads. SHOAL_OWNER_DIED: the same, and *dead was a writer. -EAGAIN: a writer is there. Or an
 * error. */
static int try_read(struct header *h, owner_t me, owner_t *dead)
{
    struct body *b = body_of(h);
    _Atomic owner_t *cell;
    owner_t w = atomic_load_explicit(&b->writer, memory_order_relaxed), was = 0;
    if (keeps_readers_out(w))
        return in_vain(-EAGAIN);
    int rc = claim(shares_of(h), me, &cell);
    if (rc)
        return rc;
    w = MUTANT(49) ? w : atomic_load(&b->writer);
    while (unlikely(w)) {
        if (keeps_readers_out(w)) {
            owner_release(cell, &b->drain);
            return in_vain(-EAGAIN);
        }
        if (!owner_dead(w)) { /* somebody was told, and reads; unless it died and nobody met that */
            life_ask(w);
            if (!owner_dead(w))
                break;
            w = atomic_load(&b->writer);
            continue;
        }
        was = w;
        if (atomic_compare_exchange_strong(&b->writer, &w,
                                           w & FLAGS && !MUTANT(50) ? me | TOLD : 0)) {
            w = 0;
            break;
        }
    }
    atomic_store_explicit(cell, me | 1, memory_order_relaxed);
    if (likely(w || !(was & FLAGS)))
        return 0;
    *dead = was;
    return SHOAL_OWNER_DIED;
}

static int wait_read(struct header *h, owner_t me, int64_t deadline, owner_t *dead)
{
    struct body *b = body_of(h);
    if (deadline <= SHOAL_NOW) {
        life_ask(atomic_load(&b->writer));
        int rc = try_read(h, me, dead);
        return rc == -EAGAIN ? not_now(deadline) : rc;
    }
    for (struct spin s = spin_begin(); spin_once(&s);)
        if (!keeps_readers_out(atomic_load_explicit(&b->writer, memory_order_relaxed))) {
            int rc = try_read(h, me, dead);
            if (rc != -EAGAIN)
                return rc;
        }
    struct waiter w;
    int rc = wait_begin(&w, header_id(h));
    if (rc)
        return rc;
    for (;;) {
        uint32_t seen = wait_announce(&w, &b->readers);
        rc = try_read(h, me, dead);
        if (rc != -EAGAIN)
            break;
        rc = wait_park(&w, &b->readers, seen, deadline);
        if (rc)
            break;
    }
    wait_end(&w);
    /* a repairer wakes one: the others may too */
    if (!keeps_readers_out(atomic_load(&b->writer)) && !MUTANT(93))
        wait_wake(&b->readers, INT_MAX);
    return rc;
}

int shoal_rwlock_acquire_read(shoal_rwlock *lock, int64_t deadline)
{
    struct header *h = header_of(lock, TYPE_RWLOCK);
    if (unlikely(!h))
        return bad_handle(lock, "shoal_rwlock_acquire_read");
    owner_t me, dead = 0;
    int rc = self(&me);
    if (unlikely(rc))
        return rc;
    _Atomic owner_t *share = find_share(shares_of(h), me);
    if (share) {
        owner_t c = atomic_load_explicit(share, memory_order_relaxed);
        if ((c & COUNT) == COUNT)
            return fail(-EOVERFLOW, "shoal_rwlock_acquire_read: acquired %d times already", COUNT);
        atomic_store_explicit(share, c + 1, memory_order_relaxed);
        return 0;
    }
    owner_t w = atomic_load_explicit(&body_of(h)->writer, memory_order_relaxed);
    if (unlikely((w & ~(owner_t)FLAGS) == me && !(w & TOLD)))
        return fail(-EDEADLK, "shoal_rwlock_acquire_read: the caller writes");
    rc = try_read(h, me, &dead);
    if (unlikely(rc == -EAGAIN))
        rc = waited(wait_read(h, me, deadline, &dead), "shoal_rwlock_acquire_read", lock,
                    TYPE_RWLOCK, deadline);
    return likely(rc != SHOAL_OWNER_DIED)
               ? rc
               : owner_died(dead, "shoal_rwlock_acquire_read", lock, TYPE_RWLOCK);
}

/* ---- writing ---- */

/* Takes the writer word from nobody or from the dead; a full fence. */
static bool try_write(struct body *b, owner_t me, owner_t *dead)
{
    owner_t w = atomic_load_explicit(&b->writer, memory_order_relaxed);
    while (!w || owner_dead(w)) {
        owner_t was = w;
        if (atomic_compare_exchange_strong(&b->writer, &w,
                                           w & FLAGS && !MUTANT(52) ? me | DIED : me)) {
            *dead = was;
            return true;
        }
    }
    return false;
}

static int wait_write(struct header *h, owner_t me, int64_t deadline, owner_t *dead)
{
    struct body *b = body_of(h);
    if (deadline <= SHOAL_NOW) {
        life_ask(atomic_load(&b->writer));
        return try_write(b, me, dead) ? 0 : not_now(deadline);
    }
    for (struct spin s = spin_begin(); spin_once(&s);)
        if (!atomic_load_explicit(&b->writer, memory_order_relaxed) && try_write(b, me, dead))
            return 0;
    struct waiter w;
    int rc = wait_begin(&w, header_id(h));
    if (rc)
        return rc;
    for (;;) {
        uint32_t seen = wait_announce(&w, &b->writers);
        rc = 0;
        if (try_write(b, me, dead))
            break;
        rc = wait_park(&w, &b->writers, seen, deadline);
        if (rc)
            break;
    }
    wait_end(&w);
    return rc;
}

/* The writer word is mine: waits until nobody reads. */
static int wait_drained(struct header *h, owner_t me, int64_t deadline)
{
    struct body *b = body_of(h);
    struct shares *s = shares_of(h);
    if (deadline <= SHOAL_NOW)
        return drained(s, me, true) ? 0 : not_now(deadline);
    for (struct spin spin = spin_begin(); spin_once(&spin);)
        if (drained(s, me, false))
            return 0;
    struct waiter w;
    int rc = wait_begin(&w, header_id(h));
    if (rc)
        return rc;
    for (;;) {
        uint32_t seen = wait_announce(&w, &b->drain);
        rc = 0;
        if (drained(s, me, false))
            break;
        rc = wait_park(&w, &b->drain, seen, deadline);
        if (rc)
            break;
    }
    wait_end(&w);
    return rc;
}

int shoal_rwlock_acquire_write(shoal_rwlock *lock, int64_t deadline)
{
    struct header *h = header_of(lock, TYPE_RWLOCK);
    if (unlikely(!h))
        return bad_handle(lock, "shoal_rwlock_acquire_write");
    struct body *b = body_of(h);
    owner_t me, dead = 0;
    int rc = self(&me);
    if (unlikely(rc))
        return rc;
    if (find_share(shares_of(h), me))
        return fail(-EDEADLK, "shoal_rwlock_acquire_write: the caller reads");
    if (unlikely(!try_write(b, me, &dead))) {
        if ((atomic_load(&b->writer) & ~(owner_t)FLAGS) == me)
            return fail(-EDEADLK, "shoal_rwlock_acquire_write: the caller writes already");
        rc = wait_write(h, me, deadline, &dead);
        if (rc)
            return waited(rc, "shoal_rwlock_acquire_write", lock, TYPE_RWLOCK, deadline);
    }
    if (unlikely(!drained(shares_of(h), me, false))) {
        rc = wait_drained(h, me, deadline);
        if (rc) {
            free_writer(b, dead & FLAGS ? DIED : 0);
            return waited(rc, "shoal_rwlock_acquire_write", lock, TYPE_RWLOCK, deadline);
        }
    }
    atomic_store_explicit(&b->writer, me | HELD, memory_order_relaxed);
    return likely(!(dead & FLAGS))
               ? 0
               : owner_died(dead, "shoal_rwlock_acquire_write", lock, TYPE_RWLOCK);
}

/* ---- releasing ---- */

int shoal_rwlock_release(shoal_rwlock *lock)
{
    struct header *h = header_of(lock, TYPE_RWLOCK);
    if (unlikely(!h))
        return bad_handle(lock, "shoal_rwlock_release");
    struct body *b = body_of(h);
    owner_t me = self_known(), w = atomic_load_explicit(&b->writer, memory_order_relaxed);
    if (me && w == (me | HELD)) {
        free_writer(b, 0);
        return 0;
    }
    _Atomic owner_t *share = me ? find_share(shares_of(h), me) : NULL;
    if (!share)
        return fail(-EPERM, "shoal_rwlock_release: the calling thread neither reads nor writes");
    owner_t c = atomic_load_explicit(share, memory_order_relaxed);
    if ((c & COUNT) > 1) {
        atomic_store_explicit(share, c - 1, memory_order_relaxed);
        return 0;
    }
    if (MUTANT(51))
        atomic_store(share, 0);
    else
        owner_release(share, &b->drain);
    if (unlikely(w == (me | TOLD)))
        free_writer(b, 0);
    return 0;
}

/* ---- looking ---- */

static bool is_written(const struct header *h)
{
    owner_t w = atomic_load(&body_of(h)->writer);
    return w & HELD && sync_lives(w);
}

/* How many read; one of them is *one. */
static int count_readers(const struct header *h, owner_t *one)
{
    struct shares *s = shares_of(h);
    uint32_t high = atomic_load(&s->high);
    int n = 0;
    for (uint32_t k = 0; k < high; k++) {
        owner_t c = load_cell(s, k);
        if (!(c & COUNT) || !sync_lives(c))
            continue;
        *one = c;
        n++;
    }
    return n;
}

int shoal_rwlock_locked(const shoal_rwlock *lock)
{
    struct header *h = header_of(lock, TYPE_RWLOCK);
    owner_t one;
    if (!h)
        return bad_handle(lock, "shoal_rwlock_locked");
    return is_written(h) ? 2 : count_readers(h, &one) != 0;
}

int shoal_rwlock_readers(const shoal_rwlock *lock)
{
    struct header *h = header_of(lock, TYPE_RWLOCK);
    owner_t one;
    return h ? count_readers(h, &one) : bad_handle(lock, "shoal_rwlock_readers");
}

int shoal_rwlock_holder(const shoal_rwlock *lock, shoal_holder *ret)
{
    struct header *h = header_of(lock, TYPE_RWLOCK);
    if (!h)
        return bad_handle(lock, "shoal_rwlock_holder");
    owner_t one = 0, w = atomic_load(&body_of(h)->writer);
    if (w & HELD && sync_lives(w))
        one = w;
    else
        count_readers(h, &one);
    return sync_holder(one, ret, "shoal_rwlock_holder");
}

SYNC_REFERENCES(rwlock, TYPE_RWLOCK)

/* The writer word keeps all others waiting, also while its owner still waits for readers. */
void rwlock_describe(struct description *d, const struct header *h)
{
    owner_t writer = atomic_load(&body_of(h)->writer), few[64];
    struct {
        _Atomic uint32_t high, reach, pages;
    } top;
    uint64_t readers = 0;
    look_payload(d->look, h, 0, &top, sizeof top);
    d->blocking = BLOCKS_ALL;
    d->first = describe_share(d, writer,
                              writer & HELD   ? "writer"
                              : writer & TOLD ? "reader who was told of a death"
                                              : "waits to write");
    uint32_t high = atomic_load(&top.high), n;
    for (uint32_t k = 0; k < high && k < CELLS; k += n) {
        n = high - k < 64 ? high - k : 64;
        if (!look_payload(d->look, h, offsetof(struct shares, cell) + k * sizeof(owner_t), few,
                          n * sizeof(owner_t)))
            break;
        for (uint32_t i = 0; i < n; i++)
            if (few[i] & COUNT)
                readers += describe_share(d, few[i], "reader");
    }
    describe_flag(d, "written", d->first && writer & HELD);
    describe_number(d, "readers", readers);
}

/* ---- repair ---- */

static void repair(struct header *h)
{
    struct shares *s = shares_of(h);
    uint32_t high = atomic_load(&s->high);
    for (uint32_t k = 0; k < high; k++) {
        owner_t c = load_cell(s, k);
        if (c && owner_gone(c))
            atomic_compare_exchange_strong(&s->cell[k], &c, 0);
    }
}

static _Atomic uint32_t *event_of(struct header *h)
{
    return &body_of(h)->readers;
}

static bool ready(struct header *h)
{
    owner_t w = atomic_load(&body_of(h)->writer);
    return !w || w & TOLD || owner_gone(w);
}

/* Who waits to write looks again: a reader may have died, or a writer, or one that had been
 * woken. */
static void rouse(struct header *h)
{
    _Atomic uint32_t *const events[] = {&body_of(h)->writers, &body_of(h)->drain};
    for (unsigned i = 0; i < 2; i++) {
        atomic_fetch_or(events[i], SLEEPERS);
        if (!MUTANT(53))
            wait_wake_slow(events[i], 1);
    }
}

const struct type_repair rwlock_repair = {.repair = repair,
                                          .event = event_of,
                                          .ready = ready,
                                          .rouse = rouse};
