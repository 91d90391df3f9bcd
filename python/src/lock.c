/* Lock, RLock and Semaphore.
 *
 * acquire, release and `with` are what programs spend their time in: they look at their arguments by hand.
 * A lock whose holder died is acquired, with a warning that names the dead; where warnings are errors it is
 * released again first.
 */
#include "object.h"
#include <errno.h>

static PyTypeObject *Lock, *RLock, *Semaphore;

shoal_lock *lock_of(PyObject *object)
{
    return PyObject_TypeCheck(object, Lock) ? OF(object)->lock : NULL;
}

shoal_rlock *rlock_of(PyObject *object)
{
    return PyObject_TypeCheck(object, RLock) ? OF(object)->rlock : NULL;
}

/* ---- what the three have in common ---- */

static PyObject *tell_holder(const shoal_holder *holder)
{
    return Py_BuildValue("(iis)", (int)holder->pid, (int)holder->tid, holder->name);
}

/* The arguments of acquire(block=True, timeout=None). */
static int64_t deadline_of_acquire(PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    static const char *const names[] = {"block", "timeout"};
    PyObject *given[2] = {NULL, NULL};
    if (!n && !keywords)
        return SHOAL_FOREVER;
    if (!take_arguments(given, names, 2, "acquire", args, n, keywords))
        return -1;
    return deadline_of_block(given[0], given[1]);
}

/* What acquire returns for its result: `release` undoes it. */
static PyObject *acquired(PyObject *self, int rc, int (*release)(void *))
{
    if (!rc)
        Py_RETURN_TRUE;
    if (rc == SHOAL_OWNER_DIED) {
        if (!warn_owner_died())
            Py_RETURN_TRUE;
        release(OF(self)->handle);
        return NULL;
    }
    if (vainly(rc))
        Py_RETURN_FALSE;
    return raise_result(rc);
}

/* The methods of locks, whose functions differ by their names only. */
#define LOCK_METHODS(name)                                                                 \
    static int name##_undo(void *handle)                                                   \
    {                                                                                      \
        return shoal_##name##_release(handle);                                             \
    }                                                                                      \
    static PyObject *name##_acquire(PyObject *self, PyObject *const *args, Py_ssize_t n,   \
                                    PyObject *keywords)                                    \
    {                                                                                      \
        int rc;                                                                            \
        int64_t until = deadline_of_acquire(args, n, keywords);                            \
        if (until < 0)                                                                     \
            return NULL;                                                                   \
        WAIT_TO_HOLD(rc, until, shoal_##name##_acquire(OF(self)->name, deadline));         \
        return acquired(self, rc, name##_undo);                                            \
    }                                                                                      \
    static PyObject *name##_enter(PyObject *self, PyObject *unused)                        \
    {                                                                                      \
        int rc;                                                                            \
        (void)unused;                                                                      \
        WAIT_TO_HOLD(rc, SHOAL_FOREVER, shoal_##name##_acquire(OF(self)->name, deadline)); \
        return acquired(self, rc, name##_undo);                                            \
    }                                                                                      \
    static PyObject *name##_locked(PyObject *self, PyObject *unused)                       \
    {                                                                                      \
        (void)unused;                                                                      \
        return truth(shoal_##name##_locked(OF(self)->name));                               \
    }                                                                                      \
    static PyObject *name##_holder(PyObject *self, PyObject *unused)                       \
    {                                                                                      \
        shoal_holder holder;                                                               \
        (void)unused;                                                                      \
        int rc = shoal_##name##_holder(OF(self)->name, &holder);                           \
        if (rc < 0)                                                                        \
            return raise_result(rc);                                                       \
        if (!rc)                                                                           \
            Py_RETURN_NONE;                                                                \
        return tell_holder(&holder);                                                       \
    }

LOCK_METHODS(lock)
LOCK_METHODS(rlock)
COMMON_METHODS(lock)
COMMON_METHODS(rlock)
COMMON_METHODS(semaphore)

/* ---- Lock ---- */

static bool name_argument(PyObject *args, PyObject *keywords, const char *format, const char **name)
{
    static char *names[] = {"name", NULL};
    *name = NULL;
    return PyArg_ParseTupleAndKeywords(args, keywords, format, names, name);
}

static int lock_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    const char *name;
    if (object_fresh(self) || !name_argument(args, keywords, "|$z:Lock", &name))
        return -1;
    int rc = shoal_lock_create(&OF(self)->lock, &(shoal_sync_options){.name = name});
    return rc ? (raise_result(rc), -1) : 0;
}

static PyObject *lock_release(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = shoal_lock_release(OF(self)->lock);
    if (rc == -EPERM)
        return PyErr_Format(PyExc_ValueError, "semaphore or lock released too many times");
    if (rc)
        return raise_result(rc);
    Py_RETURN_NONE;
}

static PyObject *lock_exit(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    return lock_release(self, NULL);
}

static PyObject *lock_take_from_dead(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = shoal_lock_acquire(OF(self)->lock, SHOAL_NOW);
    if (rc == 0 || rc == SHOAL_OWNER_DIED)
        shoal_lock_release(OF(self)->lock);
    else if (!vainly(rc))
        return raise_result(rc);
    return PyBool_FromLong(rc == SHOAL_OWNER_DIED);
}

static PyMethodDef lock_methods[] = {
    METHOD(
        "acquire", lock_acquire, FAST,
        "acquire(block=True, timeout=None)\n--\n\nTakes the lock: True, or False when the timeout "
        "(in seconds) has passed."),
    METHOD("release", lock_release, METH_NOARGS,
           "release()\n--\n\nGives the lock back; anybody may. ValueError: nobody holds it."),
    METHOD("__enter__", lock_enter, METH_NOARGS, ""),
    METHOD("__exit__", lock_exit, METH_FASTCALL, ""),
    METHOD("locked", lock_locked, METH_NOARGS,
           "locked()\n--\n\nWhether somebody holds it at this moment."),
    METHOD("_holder", lock_holder, METH_NOARGS, "(pid, tid, name) or None"),
    METHOD("_take_from_dead", lock_take_from_dead, METH_NOARGS,
           "Releases it in the name of a process that has ended: whether one had it."),
    COMMON_TABLE(lock),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_init, lock_init},
    {Py_tp_dealloc, lock_destroy},
    {Py_tp_methods, lock_methods},
    {Py_tp_doc, "Lock(*, name=None)\n--\n\nA lock, not recursive."},
    {0, NULL},
};
static PyType_Spec lock_spec = {
    .name = "shoal._shoal.Lock",
    .basicsize = sizeof(struct object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = lock_slots,
};

/* ---- RLock ---- */

static int rlock_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    const char *name;
    if (object_fresh(self) || !name_argument(args, keywords, "|$z:RLock", &name))
        return -1;
    int rc = shoal_rlock_create(&OF(self)->rlock, &(shoal_sync_options){.name = name});
    return rc ? (raise_result(rc), -1) : 0;
}

static PyObject *rlock_release(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = shoal_rlock_release(OF(self)->rlock);
    if (rc == -EPERM)
        return PyErr_Format(PyExc_AssertionError,
                            "attempt to release recursive lock not owned by thread");
    if (rc)
        return raise_result(rc);
    Py_RETURN_NONE;
}

static PyObject *rlock_exit(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    return rlock_release(self, NULL);
}

static PyObject *rlock_count(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = shoal_rlock_count(OF(self)->rlock);
    return rc < 0 ? raise_result(rc) : PyLong_FromLong(rc);
}

static PyMethodDef rlock_methods[] = {
    METHOD("acquire", rlock_acquire, FAST,
           "acquire(block=True, timeout=None)\n--\n\nTakes the lock, once more if the calling "
           "thread has "
           "it: True, or False when the timeout (in seconds) has passed."),
    METHOD("release", rlock_release, METH_NOARGS,
           "release()\n--\n\nUndoes one acquire of the calling thread. AssertionError: it does not "
           "hold "
           "the lock."),
    METHOD("__enter__", rlock_enter, METH_NOARGS, ""),
    METHOD("__exit__", rlock_exit, METH_FASTCALL, ""),
    METHOD("locked", rlock_locked, METH_NOARGS,
           "locked()\n--\n\nWhether somebody holds it at this moment."),
    METHOD("_holder", rlock_holder, METH_NOARGS, "(pid, tid, name) or None"),
    METHOD("_count", rlock_count, METH_NOARGS, "How often the calling thread has acquired it."),
    COMMON_TABLE(rlock),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot rlock_slots[] = {
    {Py_tp_init, rlock_init},
    {Py_tp_dealloc, rlock_destroy},
    {Py_tp_methods, rlock_methods},
    {Py_tp_doc, "RLock(*, name=None)\n--\n\nA lock that its owner, a thread, may acquire again."},
    {0, NULL},
};
static PyType_Spec rlock_spec = {
    .name = "shoal._shoal.RLock",
    .basicsize = sizeof(struct object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = rlock_slots,
};

/* ---- Semaphore ---- */

enum { OWNED_AT_LEAST = 16, OWNED_AT_MOST = 4096 };

static int semaphore_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"value", "bound", "name", NULL};
    Py_ssize_t value = 1, bound = 0;
    const char *name = NULL;
    if (object_fresh(self) || !PyArg_ParseTupleAndKeywords(args, keywords, "|n$nz:Semaphore", names,
                                                           &value, &bound, &name))
        return -1;
    if (value < 0 || value > SHOAL_SEMAPHORE_MAX || bound < 0 || bound > SHOAL_SEMAPHORE_MAX) {
        PyErr_Format(PyExc_ValueError, "a semaphore counts from 0 to %d, not %zd",
                     SHOAL_SEMAPHORE_MAX, value);
        return -1;
    }
    uint32_t owned = value < OWNED_AT_LEAST  ? OWNED_AT_LEAST
                     : value > OWNED_AT_MOST ? OWNED_AT_MOST
                                             : (uint32_t)value;
    int rc = shoal_semaphore_create(&OF(self)->semaphore, (uint32_t)value,
                                    &(shoal_semaphore_options){.name = name,
                                                               .bound = (uint32_t)bound,
                                                               .owned = owned});
    return rc ? (raise_result(rc), -1) : 0;
}

static int semaphore_undo(void *handle)
{
    return shoal_semaphore_release(handle);
}

static PyObject *semaphore_acquire(PyObject *self, PyObject *const *args, Py_ssize_t n,
                                   PyObject *keywords)
{
    int rc;
    int64_t until = deadline_of_acquire(args, n, keywords);
    if (until < 0)
        return NULL;
    WAIT(rc, until, shoal_semaphore_acquire(OF(self)->semaphore, deadline));
    return acquired(self, rc, semaphore_undo);
}

static PyObject *semaphore_released(int rc)
{
    if (rc == -EOVERFLOW)
        return PyErr_Format(PyExc_ValueError, "semaphore or lock released too many times");
    if (rc)
        return raise_result(rc);
    Py_RETURN_NONE;
}

static PyObject *semaphore_release(PyObject *self, PyObject *unused)
{
    (void)unused;
    return semaphore_released(shoal_semaphore_release(OF(self)->semaphore));
}

/* `with` takes a permit that comes back when its owner dies; a plain one where all cells for those are in
 * use. */
static PyObject *semaphore_enter(PyObject *self, PyObject *unused)
{
    int rc;
    (void)unused;
    WAIT(rc, SHOAL_FOREVER, shoal_semaphore_acquire_owned(OF(self)->semaphore, deadline));
    if (rc == -ENOSPC)
        WAIT(rc, SHOAL_FOREVER, shoal_semaphore_acquire(OF(self)->semaphore, deadline));
    return acquired(self, rc, semaphore_undo);
}

static PyObject *semaphore_exit(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    int rc = shoal_semaphore_release_owned(OF(self)->semaphore);
    if (rc == -EPERM) /* the permit was a plain one, or another thread's */
        rc = shoal_semaphore_release(OF(self)->semaphore);
    return semaphore_released(rc);
}

static PyObject *semaphore_value(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = shoal_semaphore_value(OF(self)->semaphore);
    return rc < 0 ? raise_result(rc) : PyLong_FromLong(rc);
}

static PyObject *semaphore_holders(PyObject *self, PyObject *unused)
{
    (void)unused;
    shoal_holder holders[64];
    int n = shoal_semaphore_holders(OF(self)->semaphore, holders, 64);
    if (n < 0)
        return raise_result(n);
    n = n > 64 ? 64 : n;
    PyObject *list = PyList_New(n);
    for (int i = 0; list && i < n; i++) {
        PyObject *holder = tell_holder(&holders[i]);
        if (!holder)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, holder);
    }
    return list;
}

static PyMethodDef semaphore_methods[] = {
    METHOD(
        "acquire", semaphore_acquire, FAST,
        "acquire(block=True, timeout=None)\n--\n\nTakes a permit: True, or False when the timeout "
        "(in "
        "seconds) has passed. It stays taken when its taker dies; one taken by `with` comes back."),
    METHOD("release", semaphore_release, METH_NOARGS,
           "release()\n--\n\nGives a permit. ValueError: there are as many as there may be."),
    METHOD("__enter__", semaphore_enter, METH_NOARGS, ""),
    METHOD("__exit__", semaphore_exit, METH_FASTCALL, ""),
    METHOD("get_value", semaphore_value, METH_NOARGS,
           "get_value()\n--\n\nHow many permits there are."),
    METHOD("_holders", semaphore_holders, METH_NOARGS,
           "[(pid, tid, name)] of owned permits, 64 at most"),
    COMMON_TABLE(semaphore),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot semaphore_slots[] = {
    {Py_tp_init, semaphore_init},
    {Py_tp_dealloc, semaphore_destroy},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_doc, "Semaphore(value=1, *, bound=0, name=None)\n--\n\nA semaphore; 0: no bound."},
    {0, NULL},
};
static PyType_Spec semaphore_spec = {
    .name = "shoal._shoal.Semaphore",
    .basicsize = sizeof(struct object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = semaphore_slots,
};

int lock_add(PyObject *module)
{
    return add_type(module, &Lock, &lock_spec) || add_type(module, &RLock, &rlock_spec) ||
                   add_type(module, &Semaphore, &semaphore_spec)
               ? -1
               : 0;
}
