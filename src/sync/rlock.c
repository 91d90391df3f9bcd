/* rlock: an owner word and a depth (docs/design.md 4a).
 *
 * The record in the owner word already names the thread. `depth` belongs to the owner alone: it is
 * set after each take, so what a dead owner left in it does not matter.
 */
#include "region/wait.h"
#include "sync/sync.h"

/* owner: CAS by acquirers, stored by the owner; depth: levels beyond the first, read and written by
 * the owner only. */
struct body {
    _Atomic owner_t owner;
    _Atomic uint32_t event;
    _Atomic uint32_t depth;
};
static_assert(sizeof(struct body) <= BODY, "fits in the header");

static struct body *body_of(const struct header *h)
{
    return (struct body *)(uintptr_t)h->body;
}

int shoal_rlock_create(shoal_rlock **ret, const shoal_sync_options *options)
{
    struct header *h;
    int rc = sync_create(&h, ret, TYPE_RLOCK, 0, options, "shoal_rlock_create");
    if (!rc)
        *ret = object_publish(h);
    return rc;
}

__attribute__((noinline)) static int acquire_slow(shoal_rlock *lock, int64_t deadline,
                                                  const char *call)
{
    struct header *h = header_of(lock, TYPE_RLOCK);
    owner_t me, dead = 0;
    if (!h)
        return bad_handle(lock, call);
    struct body *b = body_of(h);
    int rc = self(&me);
    if (rc)
        return rc;
    if (atomic_load_explicit(&b->owner, memory_order_relaxed) == me) {
        uint32_t depth = atomic_load_explicit(&b->depth, memory_order_relaxed);
        if (depth >= INT32_MAX - 1)
            return fail(-EOVERFLOW, "%s: held %u times already", call, depth + 1);
        atomic_store_explicit(&b->depth, depth + 1, memory_order_relaxed);
        return 0;
    }
    rc = owner_acquire_slow(&b->owner, &b->event, header_id(h), me, deadline, &dead);
    if (rc < 0)
        return waited(rc, call, lock, TYPE_RLOCK, deadline);
    atomic_store_explicit(&b->depth, 0, memory_order_relaxed);
    return rc ? owner_died(dead, call, lock, TYPE_RLOCK) : 0;
}

static inline int acquire(shoal_rlock *lock, int64_t deadline, const char *call)
{
    struct header *h = header_of(lock, TYPE_RLOCK);
    owner_t me = self_known();
    if (likely(h) && likely(me) && likely(owner_try(&body_of(h)->owner, me))) {
        atomic_store_explicit(&body_of(h)->depth, 0, memory_order_relaxed);
        return 0;
    }
    return acquire_slow(lock, deadline, call);
}

int shoal_rlock_acquire(shoal_rlock *lock, int64_t deadline)
{
    return acquire(lock, deadline, "shoal_rlock_acquire");
}

int rlock_acquire(shoal_rlock *lock, int64_t deadline, const char *call)
{
    return acquire(lock, deadline, call);
}

static inline int release(shoal_rlock *lock, const char *call)
{
    struct header *h = header_of(lock, TYPE_RLOCK);
    if (unlikely(!h))
        return bad_handle(lock, call);
    struct body *b = body_of(h);
    owner_t me = self_known();
    if (unlikely(!me) || unlikely(atomic_load_explicit(&b->owner, memory_order_relaxed) != me))
        return fail(-EPERM, "%s: the calling thread does not hold the lock", call);
    uint32_t depth = atomic_load_explicit(&b->depth, memory_order_relaxed);
    if (depth)
        atomic_store_explicit(&b->depth, depth - 1, memory_order_relaxed);
    else
        owner_release(&b->owner, &b->event);
    return 0;
}

int shoal_rlock_release(shoal_rlock *lock)
{
    return release(lock, "shoal_rlock_release");
}

int rlock_release(shoal_rlock *lock, const char *call)
{
    return release(lock, call);
}

int shoal_rlock_locked(const shoal_rlock *lock)
{
    struct header *h = header_of(lock, TYPE_RLOCK);
    if (!h)
        return bad_handle(lock, "shoal_rlock_locked");
    return sync_lives(atomic_load(&body_of(h)->owner));
}

int shoal_rlock_count(const shoal_rlock *lock)
{
    struct header *h = header_of(lock, TYPE_RLOCK);
    if (!h)
        return bad_handle(lock, "shoal_rlock_count");
    struct body *b = body_of(h);
    owner_t me = self_known();
    if (!me || atomic_load_explicit(&b->owner, memory_order_relaxed) != me)
        return 0;
    return (int)atomic_load_explicit(&b->depth, memory_order_relaxed) + 1;
}

int shoal_rlock_holder(const shoal_rlock *lock, shoal_holder *ret)
{
    struct header *h = header_of(lock, TYPE_RLOCK);
    if (!h)
        return bad_handle(lock, "shoal_rlock_holder");
    return sync_holder(atomic_load(&body_of(h)->owner), ret, "shoal_rlock_holder");
}

bool rlock_mine(const struct header *h)
{
    owner_t me = self_known();
    return me && atomic_load_explicit(&body_of(h)->owner, memory_order_relaxed) == me;
}

uint32_t rlock_leave(struct header *h)
{
    struct body *b = body_of(h);
    uint32_t depth = atomic_load_explicit(&b->depth, memory_order_relaxed);
    owner_release(&b->owner, &b->event);
    return depth;
}

void rlock_return(struct header *h, uint32_t depth)
{
    atomic_store_explicit(&body_of(h)->depth, depth, memory_order_relaxed);
}

SYNC_REFERENCES(rlock, TYPE_RLOCK)

void rlock_describe(struct description *d, const struct header *h)
{
    const struct body *b = body_of(h);
    d->blocking = BLOCKS_ALL;
    d->first = describe_share(d, atomic_load(&b->owner), "holder");
    describe_flag(d, "locked", d->first);
    describe_number(d, "levels", d->first ? (uint64_t)atomic_load(&b->depth) + 1 : 0);
}

/* ---- repair ---- */

static _Atomic uint32_t *event_of(struct header *h)
{
    return &body_of(h)->event;
}

static bool ready(struct header *h)
{
    owner_t owner = atomic_load(&body_of(h)->owner);
    return !owner || owner_gone(owner);
}

const struct type_repair rlock_repair = {.event = event_of, .ready = ready};
