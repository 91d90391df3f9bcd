/* Locks, semaphores, conditions, events and barriers as Python's threading has them. */
#include "manager/manager.h"
#include "manager/type.h"
#include "message/any.h"
#include "sync/sync.h"
#include <stdlib.h>

/* acquire(blocking=True, timeout=None); -1 is for ever, as threading's locks have it. */
static int acquire_deadline(shoal_call *call, int64_t *ret)
{
    const shoal_any *timeout = shoal_call_argument(call, 1, "timeout");
    double seconds;
    if (timeout && !shoal_any_as_float(timeout, &seconds) && seconds < 0)
        timeout = NULL;
    return call_deadline(call, shoal_call_argument(call, 0, "blocking"), timeout, ret);
}

/* What an acquire came to, as True or False. */
static int acquired(shoal_call *call, int rc)
{
    if (call_would_wait(call, rc))
        return rc;
    if (rc == -EAGAIN || rc == -ETIMEDOUT)
        return call_return_bool(call, 0);
    return rc < 0 ? rc : call_return_bool(call, 1);
}

/* wait(timeout=None) */
static int wait_deadline(shoal_call *call, int64_t *ret)
{
    return call_deadline(call, NULL, shoal_call_argument(call, 0, "timeout"), ret);
}

static int as_exception(shoal_call *call, int rc, int which, const char *exception,
                        const char *text)
{
    return rc == which ? shoal_call_raise(call, exception, text) : rc < 0 ? rc : 0;
}

/* ---- lock ---- */

static int lock_create(void **ret, shoal_call *call)
{
    int rc = call_takes(call, 0, 0);
    return rc ? rc : shoal_lock_create((shoal_lock **)ret, NULL);
}

static int lock_acquire_(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = acquire_deadline(call, &deadline);
    return rc ? rc : acquired(call, shoal_lock_acquire(object, deadline));
}

static int lock_release_(void *object, shoal_call *call)
{
    return as_exception(call, shoal_lock_release(object), -EPERM, "RuntimeError",
                        "release unlocked lock");
}

static int lock_locked(void *object, shoal_call *call)
{
    return call_return_bool(call, shoal_lock_locked(object));
}

static bool lock_has(void *object)
{
    const struct header *h = header_of(object, TYPE_LOCK);
    return h && lock_mine(h);
}

static void lock_leave(void *object, _Atomic uint32_t **event)
{
    if (lock_has(object))
        *event = life_type(TYPE_LOCK)->event(header_of(object, TYPE_LOCK));
}

static void lock_destroy(void *object)
{
    shoal_lock_close(object);
}

TYPE_OPEN(lock)

static const struct method lock_methods[] = {
    {"acquire", lock_acquire_, METHOD_TRIES | METHOD_OWNS, NULL},
    {"release", lock_release_, METHOD_OWNS, NULL},
    {"locked", lock_locked, 0, NULL},
    {"__enter__", lock_acquire_, METHOD_TRIES | METHOD_OWNS | METHOD_HIDDEN, NULL},
    {"__exit__", lock_release_, METHOD_OWNS | METHOD_HIDDEN, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type lock_type = {.name = "Lock",
                                       .proxy = "multiprocessing.AcquirerProxy",
                                       .type = TYPE_LOCK,
                                       .create = lock_create,
                                       .destroy = lock_destroy,
                                       .methods = lock_methods,
                                       .has = lock_has,
                                       .leave = lock_leave,
                                       .open = lock_open,
                                       .reopen = lock_reopen};

/* ---- rlock ---- */

static int rlock_create(void **ret, shoal_call *call)
{
    int rc = call_takes(call, 0, 0);
    return rc ? rc : shoal_rlock_create((shoal_rlock **)ret, NULL);
}

static int rlock_acquire_(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = acquire_deadline(call, &deadline);
    return rc ? rc : acquired(call, shoal_rlock_acquire(object, deadline));
}

static int rlock_release_(void *object, shoal_call *call)
{
    return as_exception(call, shoal_rlock_release(object), -EPERM, "RuntimeError",
                        "cannot release un-acquired lock");
}

static bool rlock_has(void *object)
{
    const struct header *h = header_of(object, TYPE_RLOCK);
    return h && rlock_mine(h);
}

static void rlock_leave_(void *object, _Atomic uint32_t **event)
{
    if (rlock_has(object))
        *event = life_type(TYPE_RLOCK)->event(header_of(object, TYPE_RLOCK));
}

static void rlock_destroy(void *object)
{
    shoal_rlock_close(object);
}

TYPE_OPEN(rlock)

static const struct method rlock_methods[] = {
    {"acquire", rlock_acquire_, METHOD_TRIES | METHOD_OWNS, NULL},
    {"release", rlock_release_, METHOD_OWNS, NULL},
    {"__enter__", rlock_acquire_, METHOD_TRIES | METHOD_OWNS | METHOD_HIDDEN, NULL},
    {"__exit__", rlock_release_, METHOD_OWNS | METHOD_HIDDEN, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type rlock_type = {.name = "RLock",
                                        .proxy = "multiprocessing.AcquirerProxy",
                                        .type = TYPE_RLOCK,
                                        .create = rlock_create,
                                        .destroy = rlock_destroy,
                                        .methods = rlock_methods,
                                        .has = rlock_has,
                                        .leave = rlock_leave_,
                                        .open = rlock_open,
                                        .reopen = rlock_reopen};

/* ---- semaphores ----
 *
 * acquire() without arguments is what `with` calls: that permit belongs to the connection, and comes back
 * with its end. acquire(True), which the proxy's own acquire makes, takes a plain one: a signal. */

enum { OWNED = 256 };

static int semaphore_make(void **ret, shoal_call *call, bool bounded)
{
    int64_t value = 0;
    int rc = call_int(call, 0, "value", 1, &value);
    if (rc)
        return rc;
    if (value < 0 || value > SHOAL_SEMAPHORE_MAX)
        return shoal_call_raise(call, "ValueError", "semaphore initial value must be >= 0");
    if (bounded && !value)
        bounded = false; /* a bound of 0 is none to shoal; nothing can be released beyond it */
    shoal_semaphore_options options = {.bound = bounded ? (uint32_t)value : 0, .owned = OWNED};
    if (bounded && value < OWNED)
        options.owned = (uint32_t)value;
    return shoal_semaphore_create((shoal_semaphore **)ret, (uint32_t)value, &options);
}

static int semaphore_create(void **ret, shoal_call *call)
{
    return semaphore_make(ret, call, false);
}

static int bounded_semaphore_create(void **ret, shoal_call *call)
{
    return semaphore_make(ret, call, true);
}

static int semaphore_acquire(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = acquire_deadline(call, &deadline);
    if (rc)
        return rc;
    rc = -ENOSPC;
    if (!shoal_call_count(call))
        rc = shoal_semaphore_acquire_owned(object, deadline);
    if (rc == -ENOSPC || rc == -EINVAL) /* no cell for an owner is free, or it has none */
        rc = shoal_semaphore_acquire(object, deadline);
    return acquired(call, rc);
}

static int semaphore_release(void *object, shoal_call *call)
{
    int64_t n = 0;
    int rc = call_int(call, 0, "n", 1, &n);
    if (!rc && n < 1)
        return shoal_call_raise(call, "ValueError", "n must be one or more");
    while (!rc && n-- > 0) {
        rc = shoal_semaphore_release_owned(object);
        if (rc == -EPERM || rc == -EINVAL)
            rc = shoal_semaphore_release(object);
    }
    return as_exception(call, rc, -EOVERFLOW, "ValueError", "Semaphore released too many times");
}

static bool semaphore_has(void *object)
{
    struct header *h = header_of(object, TYPE_SEMAPHORE);
    return h && semaphore_mine(h);
}

static void semaphore_leave(void *object, _Atomic uint32_t **event)
{
    (void)event;
    while (!shoal_semaphore_release_owned(object))
        ;
}

static int semaphore_value(void *object, shoal_call *call)
{
    return call_return_int(call, shoal_semaphore_value(object));
}

static void semaphore_destroy(void *object)
{
    shoal_semaphore_close(object);
}

TYPE_OPEN(semaphore)

static const struct method semaphore_methods[] = {
    {"acquire", semaphore_acquire, METHOD_TRIES | METHOD_OWNS, NULL},
    {"release", semaphore_release, METHOD_OWNS, NULL},
    {"get_value", semaphore_value, 0, NULL},
    {"__enter__", semaphore_acquire, METHOD_TRIES | METHOD_OWNS | METHOD_HIDDEN, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type semaphore_type = {.name = "Semaphore",
                                            .proxy = "multiprocessing.AcquirerProxy",
                                            .type = TYPE_SEMAPHORE,
                                            .create = semaphore_create,
                                            .destroy = semaphore_destroy,
                                            .methods = semaphore_methods,
                                            .has = semaphore_has,
                                            .leave = semaphore_leave,
                                            .open = semaphore_open,
                                            .reopen = semaphore_reopen};
const struct manager_type bounded_semaphore_type = {.name = "BoundedSemaphore",
                                                    .proxy = "multiprocessing.AcquirerProxy",
                                                    .type = TYPE_SEMAPHORE,
                                                    .create = bounded_semaphore_create,
                                                    .destroy = semaphore_destroy,
                                                    .methods = semaphore_methods,
                                                    .has = semaphore_has,
                                                    .leave = semaphore_leave};

/* ---- condition ---- */

static int condition_create(void **ret, shoal_call *call)
{
    shoal_reference reference;
    shoal_lock *lock = NULL;
    shoal_rlock *rlock = NULL;
    const shoal_any *given = shoal_call_argument(call, 0, "lock");
    int rc = call_takes(call, 0, 1);
    if (rc)
        return rc;
    if (given && given->kind != SHOAL_ANY_NONE &&
        (shoal_any_as_reference(given, &reference) ||
         (shoal_lock_open(&lock, &reference) && shoal_rlock_open(&rlock, &reference))))
        return shoal_call_raise(call, "TypeError", "the lock is no Lock or RLock of this manager");
    rc = shoal_condition_create((shoal_condition **)ret, lock, rlock, NULL);
    shoal_lock_close(lock);
    shoal_rlock_close(rlock);
    return rc;
}

static int condition_acquire(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = acquire_deadline(call, &deadline);
    return rc ? rc : acquired(call, shoal_condition_acquire(object, deadline));
}

static int condition_release(void *object, shoal_call *call)
{
    return as_exception(call, shoal_condition_release(object), -EPERM, "RuntimeError",
                        "cannot release un-acquired lock");
}

static int condition_wait(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = wait_deadline(call, &deadline);
    if (rc)
        return rc;
    rc = shoal_condition_wait(object, deadline);
    if (rc == -ETIMEDOUT || rc == -EAGAIN || rc == -EOWNERDEAD)
        return call_return_bool(call, 0);
    if (rc >= 0)
        return call_return_bool(call, 1);
    return as_exception(call, rc, -EPERM, "RuntimeError", "cannot wait on un-acquired lock");
}

static int condition_notify_n(void *object, shoal_call *call, int64_t n)
{
    return as_exception(call, shoal_condition_notify(object, (unsigned)n), -EPERM, "RuntimeError",
                        "cannot notify on un-acquired lock");
}

static int condition_notify(void *object, shoal_call *call)
{
    int64_t n = 0;
    int rc = call_int(call, 0, "n", 1, &n);
    if (rc)
        return rc;
    return condition_notify_n(object, call, n < 0 ? 0 : n > INT32_MAX ? INT32_MAX : n);
}

static int condition_notify_all(void *object, shoal_call *call)
{
    return condition_notify_n(object, call, INT32_MAX);
}

/* The lock of it that the calling owner holds, or NULL. */
static struct header *condition_lock(void *object, enum type *type)
{
    struct header *h = header_of(object, TYPE_CONDITION);
    shoal_reference part;
    if (!h || !object_part(h, &part, type))
        return NULL;
    struct header *lock = header_at(part.id);
    return (*type == TYPE_LOCK ? lock_mine(lock) : rlock_mine(lock)) ? lock : NULL;
}

static bool condition_has(void *object)
{
    enum type type;
    return condition_lock(object, &type);
}

static void condition_leave(void *object, _Atomic uint32_t **event)
{
    enum type type;
    struct header *lock = condition_lock(object, &type);
    if (lock)
        *event = life_type(type)->event(lock);
}

static void condition_destroy(void *object)
{
    shoal_condition_close(object);
}

TYPE_OPEN(condition)

static const struct method condition_methods[] = {
    {"acquire", condition_acquire, METHOD_TRIES | METHOD_OWNS, NULL},
    {"release", condition_release, METHOD_OWNS, NULL},
    {"wait", condition_wait, METHOD_WAITS | METHOD_OWNS, NULL},
    {"notify", condition_notify, METHOD_OWNS, NULL},
    {"notify_all", condition_notify_all, METHOD_OWNS, NULL},
    {"__enter__", condition_acquire, METHOD_TRIES | METHOD_OWNS | METHOD_HIDDEN, NULL},
    {"__exit__", condition_release, METHOD_OWNS | METHOD_HIDDEN, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type condition_type = {.name = "Condition",
                                            .proxy = "multiprocessing.ConditionProxy",
                                            .type = TYPE_CONDITION,
                                            .create = condition_create,
                                            .destroy = condition_destroy,
                                            .methods = condition_methods,
                                            .has = condition_has,
                                            .leave = condition_leave,
                                            .open = condition_open,
                                            .reopen = condition_reopen};

/* ---- event ---- */

static int event_create(void **ret, shoal_call *call)
{
    int rc = call_takes(call, 0, 0);
    return rc ? rc : shoal_event_create((shoal_event **)ret, NULL);
}

static int event_is_set(void *object, shoal_call *call)
{
    return call_return_bool(call, shoal_event_is_set(object));
}

static int event_set(void *object, shoal_call *call)
{
    (void)call;
    return shoal_event_set(object);
}

static int event_clear(void *object, shoal_call *call)
{
    (void)call;
    return shoal_event_clear(object);
}

static int event_wait(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = wait_deadline(call, &deadline);
    return rc ? rc : acquired(call, shoal_event_wait(object, deadline));
}

static void event_destroy(void *object)
{
    shoal_event_close(object);
}

TYPE_OPEN(event)

static const struct method event_methods[] = {
    {"is_set", event_is_set, 0, NULL},
    {"isSet", event_is_set, METHOD_HIDDEN, NULL},
    {"set", event_set, 0, NULL},
    {"clear", event_clear, 0, NULL},
    {"wait", event_wait, METHOD_TRIES, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type event_type = {.name = "Event",
                                        .proxy = "multiprocessing.EventProxy",
                                        .type = TYPE_EVENT,
                                        .create = event_create,
                                        .destroy = event_destroy,
                                        .methods = event_methods,
                                        .open = event_open,
                                        .reopen = event_reopen};

/* ---- barrier ---- */

/* A timeout of the barrier's own goes with it in private memory. */
struct barrier {
    shoal_barrier *barrier;
    shoal_any *timeout;
};

static int barrier_create(void **ret, shoal_call *call)
{
    int64_t parties = 0;
    const shoal_any *action = shoal_call_argument(call, 1, "action");
    const shoal_any *timeout = shoal_call_argument(call, 2, "timeout");
    double seconds;
    int rc = call_int(call, 0, "parties", 0, &parties);
    if (rc)
        return rc;
    if (parties < 1 || parties > 4096)
        return shoal_call_raise(call, "ValueError", "parties must be 1 to 4096");
    if (action && action->kind != SHOAL_ANY_NONE)
        return shoal_call_raise(call, "TypeError", "this server calls no actions");
    if (timeout && timeout->kind != SHOAL_ANY_NONE && shoal_any_as_float(timeout, &seconds))
        return shoal_call_raise(call, "TypeError", "a timeout that is no number");
    struct barrier *b = calloc(1, sizeof *b);
    if (!b)
        return fail(-ENOMEM, "no memory for a barrier");
    rc = shoal_barrier_create(&b->barrier, (unsigned)parties, NULL);
    if (!rc && timeout) {
        b->timeout = shoal_any_copy(timeout);
        if (!b->timeout)
            rc = -ENOMEM;
    }
    if (rc) {
        shoal_barrier_close(b->barrier);
        free(b);
        return rc;
    }
    *ret = b;
    return 0;
}

static void barrier_destroy(void *object)
{
    struct barrier *b = object;
    shoal_barrier_close(b->barrier);
    shoal_any_free(b->timeout);
    free(b);
}

static int barrier_wait(void *object, shoal_call *call)
{
    struct barrier *b = object;
    const shoal_any *timeout = shoal_call_argument(call, 0, "timeout");
    int64_t deadline = 0;
    if (!timeout || timeout->kind == SHOAL_ANY_NONE)
        timeout = b->timeout;
    int rc = call_deadline(call, NULL, timeout, &deadline);
    if (rc)
        return rc;
    rc = shoal_barrier_wait(b->barrier, deadline);
    if (rc == -ECANCELED || rc == -ETIMEDOUT || rc == -EAGAIN)
        return shoal_call_raise(call, "threading.BrokenBarrierError", NULL);
    return call_return_int(call, rc);
}

static int barrier_abort(void *object, shoal_call *call)
{
    (void)call;
    return shoal_barrier_abort(((struct barrier *)object)->barrier);
}

static int barrier_reset(void *object, shoal_call *call)
{
    (void)call;
    return shoal_barrier_reset(((struct barrier *)object)->barrier);
}

static int barrier_attribute(void *object, shoal_call *call)
{
    const struct barrier *b = object;
    const char *name = "";
    const shoal_any *a = shoal_call_argument(call, 0, NULL);
    if (!a || shoal_any_as_str(a, &name, NULL))
        return shoal_call_raise(call, "TypeError", "attribute name must be string");
    if (!strcmp(name, "parties"))
        return call_return_int(call, shoal_barrier_parties(b->barrier));
    if (!strcmp(name, "n_waiting"))
        return call_return_int(call, shoal_barrier_n_waiting(b->barrier));
    if (!strcmp(name, "broken"))
        return call_return_bool(call, shoal_barrier_broken(b->barrier));
    return call_raisef(call, "AttributeError", "'Barrier' object has no attribute '%.60s'", name);
}

static int barrier_reopen(void **ret, const shoal_reference *reference)
{
    struct barrier *b = calloc(1, sizeof *b);
    int rc = b ? shoal_barrier_open(&b->barrier, reference) : -ENOMEM;
    if (rc)
        free(b);
    else
        *ret = b;
    return rc;
}

static int barrier_open(void **ret, const void *handle)
{
    shoal_reference reference;
    int rc = shoal_barrier_reference(handle, &reference);
    return rc ? rc : barrier_reopen(ret, &reference);
}

static const void *barrier_handle(void *object)
{
    return ((struct barrier *)object)->barrier;
}

static const struct method barrier_methods[] = {
    {"__getattribute__", barrier_attribute, METHOD_HIDDEN, NULL},
    {"wait", barrier_wait, METHOD_WAITS | METHOD_OWNS, NULL},
    {"abort", barrier_abort, 0, NULL},
    {"reset", barrier_reset, 0, NULL},
    {NULL, NULL, 0, NULL},
};
static void barrier_leave(void *object, _Atomic uint32_t **event)
{
    (void)object, (void)event; /* who was interrupted has broken it */
}
const struct manager_type barrier_type = {.name = "Barrier",
                                          .proxy = "multiprocessing.BarrierProxy",
                                          .type = TYPE_BARRIER,
                                          .handle = barrier_handle,
                                          .create = barrier_create,
                                          .destroy = barrier_destroy,
                                          .methods = barrier_methods,
                                          .leave = barrier_leave,
                                          .open = barrier_open,
                                          .reopen = barrier_reopen};
