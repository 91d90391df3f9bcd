/* condition: a list of waiters beside a lock (docs/design.md 4).
 *
 *     cell = 0  --wait, lock held-->  {me, WAITING}  --notify, lock held-->  {me, NOTIFIED}  --me,
 *         lock held again-->  0
 *
 * A waiter spins, then sleeps, on the word of its own cell, so that a notification wakes it alone.
 * It sets SLEEPING before it parks; notifying is one CAS of the same word, so either that CAS sees
 * the bit and wakes, or the waiter's CAS sees the notification. Who is notified is decided with the
 * user's lock held, so nothing here races but the waiters' SLEEPING and the repairers, who do not
 * hold the lock: the words change by CAS.
 *
 * Deaths.
 *   Waiting: the repairer clears the cell.
 *   Notified, cell not yet cleared: the repairer strikes the owner out of the word, which leaves an
 *       orphan, {nobody, NOTIFIED}, and sets `dirty`. The oldest living waiter, roused
 *   by the repairer, takes the lock, and whoever has the lock next and sees `dirty` gives orphans
 *       to the oldest waiters, itself perhaps (settle). No repairer changes who is notified.
 *   (The heir may have come after the notification, if the death is noticed late; where nobody
 *       waits the notification is gone, like any other.)
 *   Between the notifier's CAS and its wake-up: the cell says NOTIFIED and SLEEPING; the repairer
 *       wakes it.
 *   The one that settles: giving orphan c to t is  1. t: WAITING -> NOTIFIED, FROM c  2. c = 0  3.
 *       t: without FROM.  `dirty` stays set until all is done, and whoever has the lock and
 *   sees it finishes what FROM tells before anything else; before that c is not used again. So
 *       nothing is lost and nothing doubled wherever it dies.
 *   The repairer: each of its steps is one CAS, and its own repairer does all of them again.
 *       Rousing changes the word (its count), so that one about to park looks again; it leaves
 *   SLEEPING set, so that a notifier wakes even if the rouser died before it did.
 * Stops. Only the holder of the lock can keep others waiting, and that is the user's lock.
 *
 * `dirty` and SLEEPING: a repairer stores orphan, dirty, then looks at who waits; a waiter sets
 * SLEEPING, then looks at dirty. One sees the other.
 */
#include "region/wait.h"
#include "sync/sync.h"
#include <limits.h>

enum { CELLS = 4096 };

/* word: {generation:32, record:16, index:12, state:4}. index: with FROM the cell whose notification
 * this was; while WAITING a count of rousings. ticket: written by the waiter before WAITING. */
struct cell {
    _Atomic uint64_t word;
    _Atomic uint64_t ticket;
};
enum { WAITING = 1, NOTIFIED = 2, SLEEPING = 4, FROM = 8 };
enum { INDEX_SHIFT = 4, RECORD_SHIFT = 16 };
#define INDEX_MASK ((uint64_t)(CELLS - 1) << INDEX_SHIFT)
#define OWNER_MASK (~(uint64_t)0xffff)
static_assert(RECORDS <= 1 << 16, "a record's number fits");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the state lies in the first half");

/* lock, lock_generation: constant. high: cells below it were used; grows under the lock. dirty:
 * {count:31, 1: there is something to settle}, bit cleared under the lock only. ticket: the next
 * one; under the lock. */
struct body {
    uint32_t lock;
    uint32_t lock_generation;
    _Atomic uint32_t high;
    _Atomic uint32_t dirty;
    uint64_t ticket;
};
static_assert(sizeof(struct body) <= BODY, "fits in the header");

static struct body *body_of(const struct header *h)
{
    return (struct body *)(uintptr_t)h->body;
}

static struct cell *cells_of(const struct header *h)
{
    return header_payload(h);
}

static uint64_t word_make(owner_t owner, unsigned state)
{
    return (owner & 0xffffffff00000000) | (uint64_t)owner_record(owner) << RECORD_SHIFT | state;
}

/* 0 for a free cell and for an orphan. */
static owner_t word_owner(uint64_t word)
{
    return owner_make((uint32_t)(word >> 32), (uint32_t)(word >> RECORD_SHIFT) & 0xffff);
}

static bool is_orphan(uint64_t word)
{
    return (word & NOTIFIED) && !(word & OWNER_MASK);
}

static _Atomic uint32_t *sleeping_word(struct cell *cell)
{
    return (_Atomic uint32_t *)(uintptr_t)&cell->word;
}

/* ---- its lock ---- */

static struct header *lock_header(const struct header *h)
{
    return header_at(body_of(h)->lock);
}

/* The handle, which this process has open since it has the condition open. */
static void *lock_handle(const struct header *h)
{
    struct body *b = body_of(h);
    return (unsigned char *)&handles[b->lock] + (b->lock_generation & TAG_MASK);
}

static int lock_take(const struct header *h, int64_t deadline, const char *call)
{
    void *lock = lock_handle(h);
    return lock_header(h)->type == TYPE_RLOCK ? rlock_acquire(lock, deadline, call)
                                              : lock_acquire(lock, deadline, call);
}

/* 0 if the caller holds the lock of the open condition. */
static int check_held(const void *condition, const char *what, struct header **ret)
{
    struct header *h = header_of(condition, TYPE_CONDITION);
    if (unlikely(!h))
        return bad_handle(condition, what);
    struct header *lock = lock_header(h);
    bool recursive = lock->type == TYPE_RLOCK;
    if (unlikely(!header_of(lock_handle(h), recursive ? TYPE_RLOCK : TYPE_LOCK)))
        return fail(-EBADF, "%s: the condition's lock was closed more often than opened", what);
    if (unlikely(recursive ? !rlock_mine(lock) : !lock_mine(lock)))
        return fail(-EPERM, "%s: the calling thread does not hold the condition's lock", what);
    *ret = h;
    return 0;
}

/* Lets go of the lock, all levels of it. */
static uint32_t leave(struct header *h)
{
    if (lock_header(h)->type == TYPE_RLOCK)
        return rlock_leave(lock_header(h));
    shoal_lock_release(lock_handle(h));
    return 0;
}

/* Takes it again, whatever it takes: 0, SHOAL_OWNER_DIED; -EBADF if the program closed it
 * meanwhile. */
static int come_back(struct header *h, uint32_t depth, const char *call)
{
    int rc;
    do
        rc = lock_take(h, SHOAL_FOREVER, call); /* signals do not keep us from it */
    while (rc < 0 && rc != -EBADF);
    if (rc >= 0 && lock_header(h)->type == TYPE_RLOCK)
        rlock_return(lock_header(h), depth);
    return rc;
}

/* ---- the list; the caller has the lock ---- */

/* The longest waiting one of the living with a ticket of `least` or more; NULL: none. Also used
 * without the lock, where it is a guess. */
static struct cell *oldest(const struct header *h, uint64_t least)
{
    struct cell *cells = cells_of(h), *found = NULL;
    uint32_t high = atomic_load(&body_of(h)->high);
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 0; i < high; i++) {
        uint64_t word = atomic_load(&cells[i].word), ticket = atomic_load(&cells[i].ticket);
        if ((word & WAITING) && ticket >= least && ticket < best && !owner_dead(word_owner(word))) {
            best = ticket;
            found = &cells[i];
        }
    }
    return found;
}

/* How many orphans wait for an heir: not those that were given already by one that died before it
 * cleared them. Without the lock a guess, but exact once the one that settled is dead. */
static int orphans(const struct header *h)
{
    struct cell *cells = cells_of(h);
    uint32_t high = atomic_load(&body_of(h)->high);
    int n = 0;
    for (uint32_t i = 0; i < high; i++) {
        uint64_t word = atomic_load(&cells[i].word);
        n += is_orphan(word);
        if (word & FROM)
            n -= is_orphan(atomic_load(&cells[(word & INDEX_MASK) >> INDEX_SHIFT].word));
    }
    return n;
}

/* Notifies and wakes; false if it does not wait any more (it died). */
static bool notify_cell(struct cell *cell, uint64_t from)
{
    uint64_t word = atomic_load(&cell->word);
    while (word & WAITING)
        if (atomic_compare_exchange_weak(&cell->word, &word,
                                         (word & (OWNER_MASK | SLEEPING)) | NOTIFIED | from)) {
            if (word & SLEEPING && !MUTANT(45))
                os_futex_wake(sleeping_word(cell), 1);
            return true;
        }
    return false;
}

/* Steps 2 and 3 of giving. */
static void finish_giving(struct cell *cells, struct cell *to)
{
    uint64_t word = atomic_load(&to->word);
    if (!(word & FROM)) /* only if the program let another thread release the lock meanwhile */
        return;
    atomic_store(&cells[(word & INDEX_MASK) >> INDEX_SHIFT].word, 0);
    while (!atomic_compare_exchange_weak(&to->word, &word, word & ~(FROM | INDEX_MASK)))
        ;
}

/* Gives the notifications of the dead to the oldest who wait; where nobody waits they are gone,
 * like any notification. */
static void settle_slow(struct header *h)
{
    struct body *b = body_of(h);
    struct cell *cells = cells_of(h);
    uint32_t dirty = atomic_load(&b->dirty), high = atomic_load(&b->high);
    do {
        for (uint32_t i = 0; i < high; i++)
            if (atomic_load(&cells[i].word) & FROM && !MUTANT(44))
                finish_giving(cells, &cells[i]);
        for (uint32_t i = 0; i < high; i++) {
            while (is_orphan(atomic_load(&cells[i].word))) {
                struct cell *to = oldest(h, 0);
                if (!to)
                    atomic_store(&cells[i].word, 0);
                else if (notify_cell(to, FROM | (uint64_t)i << INDEX_SHIFT))
                    finish_giving(cells, to);
            }
        }
    } while (!atomic_compare_exchange_strong(&b->dirty, &dirty, dirty & ~1u));
}

static void settle(struct header *h)
{
    if (unlikely(atomic_load(&body_of(h)->dirty) & 1))
        settle_slow(h);
}

/* Enters the caller as the youngest. */
static int enter(struct header *h, owner_t me, const char *call, struct cell **ret)
{
    struct body *b = body_of(h);
    struct cell *cells = cells_of(h);
    uint32_t high = atomic_load_explicit(&b->high, memory_order_relaxed), i = 0;
    while (i < high && atomic_load_explicit(&cells[i].word, memory_order_relaxed))
        i++;
    if (i == CELLS)
        return fail(-ENOMEM, "%s: %d threads wait already", call, CELLS);
    if (i == high) {
        int rc = region_populate(&cells[i], sizeof *cells);
        if (rc)
            return fail(rc, "%s: no memory for another waiter", call);
        atomic_store(&cells[i].word, 0); /* what lay there before is not ours */
        atomic_store(&b->high, i + 1);
    }
    atomic_store_explicit(&cells[i].ticket, b->ticket++, memory_order_relaxed);
    atomic_store_explicit(&cells[i].word, word_make(me, WAITING), memory_order_release);
    *ret = &cells[i];
    return 0;
}

/* ---- waiting ---- */

/* Whether a notification of the dead is the caller's, as far as can be seen without the lock. */
static bool is_heir(struct header *h, const struct cell *mine)
{
    struct body *b = body_of(h);
    struct cell *cells = cells_of(h);
    uint32_t high = atomic_load(&b->high);
    if (!(atomic_load(&b->dirty) & 1))
        return false;
    int left = orphans(h);
    for (uint32_t i = 0; i < high && left > 0; i++) {
        uint64_t word = atomic_load(&cells[i].word);
        if ((word & WAITING) && atomic_load(&cells[i].ticket) < atomic_load(&mine->ticket) &&
            !owner_dead(word_owner(word)))
            left--;
    }
    return left > 0;
}

/* 0: notified, or perhaps the heir of one that was; or why not. */
static int sleep_in(struct header *h, struct cell *cell, int64_t deadline)
{
    struct waiter w;
    if (deadline != SHOAL_NOW)
        for (struct spin s = spin_begin(); spin_once(&s);)
            if (!(atomic_load_explicit(&cell->word, memory_order_acquire) & WAITING))
                return 0;
    int rc = wait_begin(&w, header_id(h));
    if (rc)
        return rc;
    for (;;) {
        uint64_t word = atomic_load(&cell->word);
        if (!(word & WAITING))
            break;
        if (!atomic_compare_exchange_strong(&cell->word, &word, word | SLEEPING))
            continue;
        if (is_heir(h, cell))
            break;
        rc = wait_park(&w, sleeping_word(cell), (uint32_t)word | SLEEPING, deadline);
        if (rc)
            break;
    }
    wait_end(&w);
    return rc == -EAGAIN ? in_vain(-ETIMEDOUT) : rc;
}

static int wait_notified(shoal_condition *condition, int64_t deadline, const char *call)
{
    struct header *h;
    struct cell *cell;
    int rc = check_held(condition, call, &h);
    if (likely(!rc))
        rc = check_deadline(deadline);
    if (unlikely(rc))
        return rc;
    if (unlikely(shoal_thread.depth == FRAMES)) /* now, while the lock is still ours */
        return fail(-EDEADLK, "signal handlers interrupted one another's waits %d deep", FRAMES);
    settle(h);
    rc = enter(h, self_known(), call, &cell);
    if (unlikely(rc))
        return rc;
    for (;;) {
        uint32_t depth = leave(h);
        rc = sleep_in(h, cell, deadline);
        int died = come_back(h, depth, call);
        if (unlikely(died < 0)) {
            atomic_store(&cell->word, 0);
            return died;
        }
        settle(h);
        bool notified = atomic_load_explicit(&cell->word, memory_order_relaxed) & NOTIFIED;
        if (unlikely(!notified && !rc && !died))
            continue; /* another was the heir */
        atomic_store_explicit(&cell->word, 0, memory_order_release);
        if (notified)
            return died;
        if (died)
            return -EOWNERDEAD; /* who it was has been said */
        /* what came while the lock was taken again is not what the caller waited for */
        return rc == -ETIMEDOUT || rc == -EINTR ? in_vain(rc) : rc;
    }
}

int shoal_condition_wait(shoal_condition *condition, int64_t deadline)
{
    const char *call = "shoal_condition_wait";
    return waited(wait_notified(condition, deadline, call), call, condition, TYPE_CONDITION,
                  deadline);
}

static int wait_for(shoal_condition *condition, int (*predicate)(void *argument), void *argument,
                    int64_t deadline, int *died, const char *call)
{
    struct header *h;
    int rc = check_held(condition, call, &h);
    if (rc)
        return rc;
    if (!predicate)
        return fail(-EINVAL, "%s: no predicate (NULL)", call);
    for (;;) {
        unsigned failures = shoal_thread.failures;
        int answer = predicate(argument);
        if (answer)
            return answer < 0 ? fail_callback(answer, call, failures) : answer;
        if (rc == -ETIMEDOUT)
            return in_vain(rc);
        rc = wait_notified(condition, deadline, call);
        if ((rc == SHOAL_OWNER_DIED || rc == -EOWNERDEAD) && died)
            *died = 1;
        if (rc == -EOWNERDEAD)
            rc = os_now() >= deadline ? -ETIMEDOUT : 0;
        if (rc < 0 && rc != -ETIMEDOUT)
            return rc;
    }
}

int shoal_condition_wait_for(shoal_condition *condition, int (*predicate)(void *argument),
                             void *argument, int64_t deadline, int *died)
{
    const char *call = "shoal_condition_wait_for";
    return waited(wait_for(condition, predicate, argument, deadline, died, call), call, condition,
                  TYPE_CONDITION, deadline);
}

/* ---- notifying ---- */

static int notify(shoal_condition *condition, unsigned n, const char *call)
{
    struct header *h;
    unsigned notified = 0;
    int rc = check_held(condition, call, &h);
    if (unlikely(rc))
        return rc;
    settle(h);
    struct cell *cells = cells_of(h);
    uint32_t high = atomic_load(&body_of(h)->high);
    if (n >= high) { /* all: their order does not matter */
        for (uint32_t i = 0; i < high; i++) {
            uint64_t word = atomic_load(&cells[i].word);
            if ((word & WAITING) && !owner_dead(word_owner(word)))
                notified += notify_cell(&cells[i], 0);
        }
        return (int)notified;
    }
    while (notified < n) {
        struct cell *cell = oldest(h, 0);
        if (!cell)
            break;
        notified += notify_cell(cell, 0);
    }
    return (int)notified;
}

int shoal_condition_notify(shoal_condition *condition, unsigned n)
{
    return notify(condition, n, "shoal_condition_notify");
}

int shoal_condition_notify_all(shoal_condition *condition)
{
    return notify(condition, UINT_MAX, "shoal_condition_notify_all");
}

int shoal_condition_waiters(const shoal_condition *condition)
{
    struct header *h = header_of(condition, TYPE_CONDITION);
    if (!h)
        return bad_handle(condition, "shoal_condition_waiters");
    struct cell *cells = cells_of(h);
    uint32_t high = atomic_load(&body_of(h)->high);
    int waiters = 0;
    for (uint32_t i = 0; i < high; i++) {
        uint64_t word = atomic_load(&cells[i].word);
        waiters += (word & WAITING) && sync_lives(word_owner(word));
    }
    return waiters;
}

int shoal_condition_acquire(shoal_condition *condition, int64_t deadline)
{
    struct header *h = header_of(condition, TYPE_CONDITION);
    if (unlikely(!h))
        return bad_handle(condition, "shoal_condition_acquire");
    return waited(lock_take(h, deadline, "shoal_condition_acquire"), "shoal_condition_acquire",
                  condition, TYPE_CONDITION, deadline);
}

int shoal_condition_release(shoal_condition *condition)
{
    struct header *h = header_of(condition, TYPE_CONDITION);
    if (unlikely(!h))
        return bad_handle(condition, "shoal_condition_release");
    void *lock = lock_handle(h);
    const char *call = "shoal_condition_release";
    return lock_header(h)->type == TYPE_RLOCK ? rlock_release(lock, call)
                                              : lock_release(lock, call);
}

/* ---- life: a process that holds the condition holds its lock too ---- */

/* One more open of the given lock, or a new rlock. */
static int lock_for(shoal_lock *lock, shoal_rlock *rlock, const shoal_sync_options *options,
                    shoal_reference *ret)
{
    void *opened = NULL;
    enum type type = lock ? TYPE_LOCK : TYPE_RLOCK;
    const char *what = "shoal_condition_create";
    int rc = 0;
    if (lock && rlock)
        return fail(-EINVAL, "%s: both a lock and an rlock", what);
    if (!lock && !rlock) {
        rc = shoal_rlock_create(&rlock, options);
        opened = rlock;
    }
    if (!rc)
        rc = object_reference(lock ? (void *)lock : (void *)rlock, type, what, ret);
    if (!rc && !opened)
        rc = object_open(&opened, type, what, ret);
    return rc;
}

int shoal_condition_create(shoal_condition **ret, shoal_lock *lock, shoal_rlock *rlock,
                           const shoal_sync_options *options)
{
    shoal_reference reference;
    struct header *h;
    if (!ret)
        return fail(-EINVAL, "shoal_condition_create: nowhere to write the handle (NULL)");
    if (options && options->flags)
        return fail(-EINVAL, "shoal_condition_create: unknown flags %#x", options->flags);
    int rc = lock_for(lock, rlock, options, &reference);
    if (rc)
        return rc;
    rc = object_create(&h, TYPE_CONDITION, CELLS * sizeof(struct cell),
                       options ? options->name : NULL, OBJECT_SPARSE);
    if (rc) {
        object_close((unsigned char *)&handles[reference.id] + (reference.generation & TAG_MASK),
                     lock ? TYPE_LOCK : TYPE_RLOCK);
        return rc;
    }
    body_of(h)->lock = reference.id;
    body_of(h)->lock_generation = reference.generation;
    *ret = object_publish(h);
    return 0;
}

int shoal_condition_reference(const shoal_condition *condition, shoal_reference *ret)
{
    return object_reference(condition, TYPE_CONDITION, "shoal_condition_reference", ret);
}

int shoal_condition_open(shoal_condition **ret, const shoal_reference *reference)
{
    void *opened, *lock;
    if (!ret)
        return fail(-EINVAL, "shoal_condition_open: nowhere to write the handle (NULL)");
    int rc = object_open(&opened, TYPE_CONDITION, "shoal_condition_open", reference);
    if (rc)
        return rc;
    struct header *h = header_of(opened, TYPE_CONDITION);
    struct body *b = body_of(h);
    shoal_reference its = {reference->family, b->lock, b->lock_generation};
    /* The last who had both may just be closing them: then the lock may be gone before the
     * condition. */
    rc = object_open(&lock, TYPE_LOCK, "shoal_condition_open", &its);
    if (rc == -EINVAL)
        rc = object_open(&lock, TYPE_RLOCK, "shoal_condition_open", &its);
    if (rc)
        object_close(opened, TYPE_CONDITION);
    else
        *ret = opened;
    return rc;
}

shoal_condition *shoal_condition_close(shoal_condition *condition)
{
    struct header *h = header_of(condition, TYPE_CONDITION);
    if (!h)
        return NULL;
    void *lock = lock_handle(h);
    enum type type = lock_header(h)->type;
    object_close(condition, TYPE_CONDITION);
    object_close(lock, type);
    return NULL;
}

void condition_describe(struct description *d, const struct header *h)
{
    const struct body *b = body_of(h);
    struct cell few[64];
    uint64_t waiting = 0, notified = 0;
    uint32_t high = atomic_load(&b->high), n;
    for (uint32_t k = 0; k < high && k < CELLS; k += n) {
        n = high - k < 64 ? high - k : 64;
        if (!look_payload(d->look, h, k * sizeof(struct cell), few, n * sizeof(struct cell)))
            break;
        for (uint32_t i = 0; i < n; i++) {
            uint64_t word = atomic_load(&few[i].word);
            waiting += word & WAITING && word & OWNER_MASK;
            notified += (word & NOTIFIED) != 0;
        }
    }
    describe_number(d, "waiting", waiting);
    describe_number(d, "notified", notified);
    describe_number(d, "lock", b->lock);
}

/* ---- repair ---- */

static void repair(struct header *h)
{
    struct body *b = body_of(h);
    struct cell *cells = cells_of(h);
    uint32_t high = atomic_load(&b->high);
    bool some = false;
    for (uint32_t i = 0; i < high; i++) {
        uint64_t word = atomic_load(&cells[i].word);
        while ((word & OWNER_MASK) && owner_gone(word_owner(word)) &&
               !atomic_compare_exchange_weak(&cells[i].word, &word,
                                             word & NOTIFIED ? word & (NOTIFIED | FROM | INDEX_MASK)
                                                             : 0))
            ;
        some |= !MUTANT(41) && is_orphan(atomic_load(&cells[i].word));
    }
    uint32_t dirty = atomic_load(&b->dirty);
    while (some && !atomic_compare_exchange_weak(&b->dirty, &dirty, (dirty + 2) | 1))
        ;
}

/* Wakes those whose notifier died before it woke them, and as many of the oldest waiters as there
 * are orphans. */
static void rouse(struct header *h)
{
    struct cell *cells = cells_of(h), *cell;
    uint32_t high = atomic_load(&body_of(h)->high);
    for (uint32_t i = 0; i < high; i++) {
        uint64_t word = atomic_load(&cells[i].word);
        if ((word & NOTIFIED) && (word & SLEEPING) && !MUTANT(42))
            os_futex_wake(sleeping_word(&cells[i]), 1);
    }
    uint64_t least = 0;
    for (int left = orphans(h); left > 0 && (cell = oldest(h, least)); left--) {
        least = atomic_load(&cell->ticket) + 1;
        uint64_t word = atomic_load(&cell->word);
        while (word & WAITING) {
            uint64_t count = (word + ((uint64_t)1 << INDEX_SHIFT)) & INDEX_MASK;
            if (atomic_compare_exchange_weak(&cell->word, &word, (word & ~INDEX_MASK) | count)) {
                os_futex_wake(sleeping_word(cell), 1);
                break;
            }
        }
    }
}

static bool part(struct header *h, uint32_t *id, uint32_t *generation)
{
    *id = body_of(h)->lock;
    *generation = body_of(h)->lock_generation;
    return true;
}

const struct type_repair condition_repair = {.repair = repair, .rouse = rouse, .part = part};
