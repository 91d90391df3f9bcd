/* once: an owner word around the function, and a flag that is written under it. A dead runner is
 * succeeded like the dead holder of a lock. */
#include "region/wait.h"
#include "sync/sync.h"

/* owner: CAS by who runs the function, stored by it; done: written by the owner only. */
struct body {
    _Atomic owner_t owner;
    _Atomic uint32_t event;
    _Atomic uint32_t done;
};
static_assert(sizeof(struct body) <= BODY, "fits in the header");

static struct body *body_of(const struct header *h)
{
    return (struct body *)(uintptr_t)h->body;
}

int shoal_once_create(shoal_once **ret, const shoal_sync_options *options)
{
    struct header *h;
    int rc = sync_create(&h, ret, TYPE_ONCE, 0, options, "shoal_once_create");
    if (!rc)
        *ret = object_publish(h);
    return rc;
}

/* The owner word is a lock around the function; `done` is written under it. */
int shoal_once_run(shoal_once *once, int (*function)(void *argument), void *argument,
                   int64_t deadline)
{
    struct header *h = header_of(once, TYPE_ONCE);
    if (unlikely(!h))
        return bad_handle(once, "shoal_once_run");
    struct body *b = body_of(h);
    if (likely(atomic_load_explicit(&b->done, memory_order_acquire)))
        return 0;
    if (!function)
        return fail(-EINVAL, "shoal_once_run: no function (NULL)");
    owner_t me, dead = 0;
    int rc = self(&me);
    if (rc)
        return rc;
    if (atomic_load(&b->owner) == me)
        return fail(-EDEADLK, "shoal_once_run: called from within its own function");
    rc = owner_acquire_slow(&b->owner, &b->event, header_id(h), me, deadline, &dead);
    if (rc < 0)
        return waited(rc, "shoal_once_run", once, TYPE_ONCE, deadline);
    rc = 0;
    if (!atomic_load_explicit(&b->done, memory_order_relaxed)) {
        unsigned failures = shoal_thread.failures;
        rc = function(argument);
        if (rc < 0) {
            fail_callback(rc, "shoal_once_run", failures);
        } else {
            rc = 0;
            atomic_store_explicit(&b->done, 1, memory_order_release);
        }
    }
    owner_release(&b->owner, &b->event);
    return rc;
}

int shoal_once_done(const shoal_once *once)
{
    struct header *h = header_of(once, TYPE_ONCE);
    if (unlikely(!h))
        return bad_handle(once, "shoal_once_done");
    return (int)atomic_load_explicit(&body_of(h)->done, memory_order_acquire);
}

SYNC_REFERENCES(once, TYPE_ONCE)

void once_describe(struct description *d, const struct header *h)
{
    const struct body *b = body_of(h);
    d->blocking = BLOCKS_ALL;
    d->owner_too = true;
    d->first = describe_share(d, atomic_load(&b->owner), "runs the function");
    describe_flag(d, "done", atomic_load(&b->done));
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

const struct type_repair once_repair = {.event = event_of, .ready = ready};
