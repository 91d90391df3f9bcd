/* lock: an owner word (docs/design.md 4a).
 *
 *     owner = 0            acquire: CAS 0 -> me, or dead -> me            release by the owner: plain store of 0, then a look at the sleepers bit
 *                                                                        release by another living
 *                                                                            process: CAS owner ->
 *                                                                            0
 * A dead owner stands in the word until somebody takes the lock over in one step. Nothing counts
 * anything, so nothing can leak.
 */
#include "region/object.h"
#include "region/wait.h"
#include "sync/sync.h"

/* owner: CAS by acquirers, stored by the owner, CAS by other releasers; event: see
 * region/wait.h. */
struct body {
    _Atomic owner_t owner;
    _Atomic uint32_t event;
};
static_assert(sizeof(struct body) <= BODY, "fits in the header");

static struct body *body_of(const struct header *h)
{
    return (struct body *)(uintptr_t)h->body;
}

int shoal_lock_create(shoal_lock **ret, const shoal_sync_options *options)
{
    struct header *h;
    int rc = sync_create(&h, ret, TYPE_LOCK, 0, options, "shoal_lock_create");
    if (!rc)
        *ret = object_publish(h);
    return rc;
}

__attribute__((noinline)) static int acquire_slow(shoal_lock *lock, int64_t deadline,
                                                  const char *call)
{
    struct header *h = header_of(lock, TYPE_LOCK);
    owner_t me, dead = 0;
    if (!h)
        return bad_handle(lock, call);
    int rc = self(&me);
    if (rc)
        return rc;
    struct body *b = body_of(h);
    rc = owner_acquire_slow(&b->owner, &b->event, header_id(h), me, deadline, &dead);
    return rc == SHOAL_OWNER_DIED ? owner_died(dead, call, lock, TYPE_LOCK)
                                  : waited(rc, call, lock, TYPE_LOCK, deadline);
}

static inline int acquire(shoal_lock *lock, int64_t deadline, const char *call)
{
    struct header *h = header_of(lock, TYPE_LOCK);
    owner_t me = self_known();
    if (likely(h) && likely(me) && likely(owner_try(&body_of(h)->owner, me)))
        return 0;
    return acquire_slow(lock, deadline, call);
}

int shoal_lock_acquire(shoal_lock *lock, int64_t deadline)
{
    return acquire(lock, deadline, "shoal_lock_acquire");
}

int lock_acquire(shoal_lock *lock, int64_t deadline, const char *call)
{
    return acquire(lock, deadline, call);
}

/* Of somebody else, or of nobody. What a dead one held is nobody's to give back: the next to
 * acquire is to be told. */
static int release_slow(struct body *b, const char *call)
{
    owner_t owner = atomic_load(&b->owner);
    while (sync_lives(owner))
        if (atomic_compare_exchange_strong(&b->owner, &owner, 0)) {
            if (MUTANT(5))
                return 0;
            wait_wake(&b->event, 1);
            return 0;
        }
    return fail(-EPERM, "%s: nobody holds the lock", call);
}

static inline int release(shoal_lock *lock, const char *call)
{
    struct header *h = header_of(lock, TYPE_LOCK);
    if (unlikely(!h))
        return bad_handle(lock, call);
    struct body *b = body_of(h);
    owner_t me = self_known();
    if (unlikely(!me) || unlikely(atomic_load_explicit(&b->owner, memory_order_relaxed) != me))
        return release_slow(b, call);
    owner_release(&b->owner, &b->event);
    return 0;
}

int shoal_lock_release(shoal_lock *lock)
{
    return release(lock, "shoal_lock_release");
}

int lock_release(shoal_lock *lock, const char *call)
{
    return release(lock, call);
}

int shoal_lock_locked(const shoal_lock *lock)
{
    struct header *h = header_of(lock, TYPE_LOCK);
    if (!h)
        return bad_handle(lock, "shoal_lock_locked");
    return sync_lives(atomic_load(&body_of(h)->owner));
}

int shoal_lock_holder(const shoal_lock *lock, shoal_holder *ret)
{
    struct header *h = header_of(lock, TYPE_LOCK);
    if (!h)
        return bad_handle(lock, "shoal_lock_holder");
    return sync_holder(atomic_load(&body_of(h)->owner), ret, "shoal_lock_holder");
}

bool lock_mine(const struct header *h)
{
    owner_t me = self_known();
    return me && atomic_load_explicit(&body_of(h)->owner, memory_order_relaxed) == me;
}

SYNC_REFERENCES(lock, TYPE_LOCK)

void lock_describe(struct description *d, const struct header *h)
{
    d->blocking = BLOCKS_ALL;
    d->owner_too = true;
    d->first = describe_share(d, atomic_load(&body_of(h)->owner), "holder");
    describe_flag(d, "locked", d->first);
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

const struct type_repair lock_repair = {.event = event_of, .ready = ready};
