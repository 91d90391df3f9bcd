/* Condition, Event and Barrier. */
#include "object.h"
#include <errno.h>

static PyTypeObject *Condition, *Event, *Barrier;

/* ---- Condition ---- */

struct condition {
    PyObject_HEAD shoal_condition *handle;
    PyObject *lock; /* a Lock or RLock, whose acquire and release are the condition's */
};
#define CONDITION(self) ((struct condition *)(self))

static int condition_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"lock", "name", NULL};
    struct condition *c = CONDITION(self);
    PyObject *lock;
    const char *name = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|$z:Condition", names, &lock, &name))
        return -1;
    if (c->handle) {
        PyErr_SetString(PyExc_RuntimeError, "__init__ was called before");
        return -1;
    }
    shoal_lock *plain = lock_of(lock);
    shoal_rlock *recursive = rlock_of(lock);
    if (!plain && !recursive) {
        PyErr_Format(PyExc_TypeError, "a condition's lock is a Lock or RLock of shoal's, not %R",
                     lock);
        return -1;
    }
    int rc =
        shoal_condition_create(&c->handle, plain, recursive, &(shoal_sync_options){.name = name});
    if (rc)
        return raise_result(rc), -1;
    Py_INCREF(lock);
    c->lock = lock;
    return 0;
}

static int condition_clear(PyObject *self)
{
    Py_CLEAR(CONDITION(self)->lock);
    return 0;
}

static int condition_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(CONDITION(self)->lock);
    return 0;
}

static void condition_destroy(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    shoal_condition_close(CONDITION(self)->handle);
    condition_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *condition_open(PyObject *type, PyObject *args)
{
    shoal_reference reference;
    PyObject *bytes, *lock;
    if (!PyArg_ParseTuple(args, "OO:_open", &bytes, &lock) || reference_from(bytes, &reference))
        return NULL;
    PyObject *self = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0);
    if (!self)
        return NULL;
    int rc = shoal_condition_open(&CONDITION(self)->handle, &reference);
    if (rc) {
        Py_DECREF(self);
        return raise_result(rc);
    }
    Py_INCREF(lock);
    CONDITION(self)->lock = lock;
    return self;
}

static PyObject *condition_reference(PyObject *self, PyObject *unused)
{
    shoal_reference r;
    (void)unused;
    int rc = shoal_condition_reference(CONDITION(self)->handle, &r);
    return rc ? raise_result(rc) : reference_bytes(&r);
}

static PyObject *not_held(const char *call)
{
    return PyErr_Format(PyExc_AssertionError, "must acquire() condition before using %s()", call);
}

/* The lock may come from a thread of this process that needs the GIL to give it back. */
static int wait_notified(shoal_condition *handle, int64_t deadline)
{
    int rc;
    do {
        Py_BEGIN_ALLOW_THREADS spread_out();
        rc = shoal_condition_wait(handle, deadline);
        Py_END_ALLOW_THREADS
    } while (rc == -EINTR && !PyErr_CheckSignals());
    return rc;
}

static PyObject *condition_wait(PyObject *self, PyObject *const *args, Py_ssize_t n,
                                PyObject *keywords)
{
    static const char *const names[] = {"timeout"};
    PyObject *timeout = NULL;
    if (!take_arguments(&timeout, names, 1, "wait", args, n, keywords))
        return NULL;
    int64_t deadline = deadline_of(timeout);
    if (deadline < 0)
        return NULL;
    int rc = wait_notified(CONDITION(self)->handle, deadline);
    if (rc == -EPERM)
        return not_held("wait");
    if (rc == SHOAL_OWNER_DIED || rc == -EOWNERDEAD) {
        if (warn_owner_died()) /* the lock is held, as after any return */
            return NULL;
        return PyBool_FromLong(rc == SHOAL_OWNER_DIED);
    }
    if (rc == -ETIMEDOUT)
        Py_RETURN_FALSE;
    if (rc)
        return raise_result(rc);
    Py_RETURN_TRUE;
}

static PyObject *notified(int rc, const char *call)
{
    if (rc == -EPERM)
        return not_held(call);
    if (rc < 0)
        return raise_result(rc);
    Py_RETURN_NONE;
}

static PyObject *condition_notify(PyObject *self, PyObject *const *args, Py_ssize_t n,
                                  PyObject *keywords)
{
    static const char *const names[] = {"n"};
    PyObject *count = NULL;
    int overflow = 0;
    long many = 1;
    if (!take_arguments(&count, names, 1, "notify", args, n, keywords))
        return NULL;
    if (count)
        many = PyLong_AsLongAndOverflow(count, &overflow);
    if (many == -1 && PyErr_Occurred())
        return NULL;
    if (overflow > 0 || many > INT32_MAX)
        many = INT32_MAX;
    if (overflow < 0 || many < 0)
        many = 0;
    return notified(shoal_condition_notify(CONDITION(self)->handle, (unsigned)many), "notify");
}

static PyObject *condition_notify_all(PyObject *self, PyObject *unused)
{
    (void)unused;
    return notified(shoal_condition_notify_all(CONDITION(self)->handle), "notify_all");
}

static PyObject *condition_waiters(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = shoal_condition_waiters(CONDITION(self)->handle);
    return rc < 0 ? raise_result(rc) : PyLong_FromLong(rc);
}

/* `with` and acquire are the lock's own. */
static PyObject *forward(PyObject *self, const char *method, PyObject *args)
{
    PyObject *lock = CONDITION(self)->lock;
    if (!lock)
        return PyErr_Format(PyExc_ValueError, "the condition was not initialised");
    PyObject *function = PyObject_GetAttrString(lock, method);
    PyObject *result = function ? PyObject_Call(function, args, NULL) : NULL;
    Py_XDECREF(function);
    return result;
}

static PyObject *condition_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    PyObject *none = PyTuple_New(0);
    PyObject *result = none ? forward(self, "__enter__", none) : NULL;
    Py_XDECREF(none);
    return result;
}

static PyObject *condition_exit(PyObject *self, PyObject *args)
{
    return forward(self, "__exit__", args);
}

static PyObject *condition_lock(PyObject *self, void *unused)
{
    (void)unused;
    PyObject *lock = CONDITION(self)->lock ? CONDITION(self)->lock : Py_None;
    Py_INCREF(lock);
    return lock;
}

static PyMethodDef condition_methods[] = {
    METHOD("wait", condition_wait, FAST,
           "wait(timeout=None)\n--\n\nReleases the lock, waits until it is notified, takes the "
           "lock: True, or "
           "False when the timeout (in seconds) has passed. AssertionError: the lock is not held."),
    METHOD("notify", condition_notify, FAST,
           "notify(n=1)\n--\n\nWakes up to n of those that wait, the oldest first. A notification "
           "that a dead "
           "waiter had received goes to the next. AssertionError: the lock is not held."),
    METHOD("notify_all", condition_notify_all, METH_NOARGS,
           "notify_all()\n--\n\nWakes all that wait."),
    METHOD("_waiters", condition_waiters, METH_NOARGS, "How many wait."),
    METHOD("__enter__", condition_enter, METH_NOARGS, ""),
    METHOD("__exit__", condition_exit, METH_VARARGS, ""),
    METHOD("_open", condition_open, METH_VARARGS | METH_CLASS,
           "_open(reference, lock): the same in another process."),
    METHOD("_reference", condition_reference, METH_NOARGS, "_reference(): for _open."),
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef condition_getset[] = {
    {"_lock", condition_lock, NULL, PyDoc_STR("The lock."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot condition_slots[] = {
    {Py_tp_init, condition_init},
    {Py_tp_dealloc, condition_destroy},
    {Py_tp_traverse, condition_traverse},
    {Py_tp_clear, condition_clear},
    {Py_tp_methods, condition_methods},
    {Py_tp_getset, condition_getset},
    {Py_tp_doc, "Condition(lock, *, name=None)\n--\n\nA condition on a Lock or RLock."},
    {0, NULL},
};
static PyType_Spec condition_spec = {
    .name = "shoal._shoal.Condition",
    .basicsize = sizeof(struct condition),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = condition_slots,
};

/* ---- Event ---- */

COMMON_METHODS(event)

static int event_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"name", NULL};
    const char *name = NULL;
    if (object_fresh(self) ||
        !PyArg_ParseTupleAndKeywords(args, keywords, "|$z:Event", names, &name))
        return -1;
    int rc = shoal_event_create(&OF(self)->event, &(shoal_sync_options){.name = name});
    return rc ? (raise_result(rc), -1) : 0;
}

static PyObject *nothing(int rc)
{
    if (rc < 0)
        return raise_result(rc);
    Py_RETURN_NONE;
}

static PyObject *event_set(PyObject *self, PyObject *unused)
{
    (void)unused;
    return nothing(shoal_event_set(OF(self)->event));
}

static PyObject *event_unset(PyObject *self, PyObject *unused)
{
    (void)unused;
    return nothing(shoal_event_clear(OF(self)->event));
}

static PyObject *event_is_set(PyObject *self, PyObject *unused)
{
    (void)unused;
    return truth(shoal_event_is_set(OF(self)->event));
}

static PyObject *event_wait(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    static const char *const names[] = {"timeout"};
    PyObject *timeout = NULL;
    int rc;
    if (!take_arguments(&timeout, names, 1, "wait", args, n, keywords))
        return NULL;
    int64_t until = deadline_of(timeout);
    if (until < 0)
        return NULL;
    WAIT(rc, until, shoal_event_wait(OF(self)->event, deadline));
    if (vainly(rc))
        Py_RETURN_FALSE;
    if (rc)
        return raise_result(rc);
    Py_RETURN_TRUE;
}

static PyMethodDef event_methods[] = {
    METHOD("set", event_set, METH_NOARGS, "set()\n--\n\nSets it, and wakes all that wait."),
    METHOD("clear", event_unset, METH_NOARGS, "clear()\n--\n\nUnsets it."),
    METHOD("is_set", event_is_set, METH_NOARGS, "is_set()\n--\n\nWhether it is set."),
    METHOD("wait", event_wait, FAST,
           "wait(timeout=None)\n--\n\nWaits until it is set: True, or False when the timeout (in "
           "seconds) has "
           "passed."),
    COMMON_TABLE(event),
    {NULL, NULL, 0, NULL},
};
static PyType_Slot event_slots[] = {
    {Py_tp_init, event_init},
    {Py_tp_dealloc, event_destroy},
    {Py_tp_methods, event_methods},
    {Py_tp_doc, "Event(*, name=None)\n--\n\nAn event that is set or not."},
    {0, NULL},
};
static PyType_Spec event_spec = {
    .name = "shoal._shoal.Event",
    .basicsize = sizeof(struct object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = event_slots,
};

/* ---- Barrier ---- */

COMMON_METHODS(barrier)

static int barrier_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"parties", "name", NULL};
    Py_ssize_t parties;
    const char *name = NULL;
    if (object_fresh(self) ||
        !PyArg_ParseTupleAndKeywords(args, keywords, "n|$z:Barrier", names, &parties, &name))
        return -1;
    if (parties < 1 || parties > 4096) {
        PyErr_Format(PyExc_ValueError, "parties must be 1 to 4096, not %zd", parties);
        return -1;
    }
    int rc = shoal_barrier_create(&OF(self)->barrier, (unsigned)parties,
                                  &(shoal_sync_options){.name = name});
    return rc ? (raise_result(rc), -1) : 0;
}

/* Called by the last to arrive, which waits without the GIL. */
static int run_action(void *action)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *result = PyObject_CallNoArgs(action);
    int rc = result ? 0 : -ECANCELED; /* the exception stays set, for who waits */
    Py_XDECREF(result);
    PyGILState_Release(gil);
    return rc;
}

/* _wait(action, timeout): a handler that runs meanwhile breaks the barrier, if it raises. */
static PyObject *barrier_wait(PyObject *self, PyObject *args)
{
    PyObject *action, *timeout;
    int rc;
    if (!PyArg_ParseTuple(args, "OO:_wait", &action, &timeout))
        return NULL;
    int64_t deadline = deadline_of(timeout);
    if (deadline < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS rc =
        action == Py_None
            ? shoal_barrier_wait(OF(self)->barrier, deadline)
            : shoal_barrier_wait_action(OF(self)->barrier, run_action, action, deadline);
    Py_END_ALLOW_THREADS if (PyErr_Occurred() ||
                             (rc == -EINTR && PyErr_CheckSignals())) return NULL;
    if (rc == -ETIMEDOUT || rc == -EAGAIN || rc == -EINTR)
        rc = -ECANCELED;
    return rc < 0 ? raise_result(rc) : PyLong_FromLong(rc);
}

static PyObject *barrier_reset(PyObject *self, PyObject *unused)
{
    (void)unused;
    return nothing(shoal_barrier_reset(OF(self)->barrier));
}

static PyObject *barrier_abort(PyObject *self, PyObject *unused)
{
    (void)unused;
    return nothing(shoal_barrier_abort(OF(self)->barrier));
}

static PyObject *number(int rc)
{
    return rc < 0 ? raise_result(rc) : PyLong_FromLong(rc);
}

static PyObject *barrier_parties(PyObject *self, void *unused)
{
    (void)unused;
    return number(shoal_barrier_parties(OF(self)->barrier));
}

static PyObject *barrier_n_waiting(PyObject *self, void *unused)
{
    (void)unused;
    return number(shoal_barrier_n_waiting(OF(self)->barrier));
}

static PyObject *barrier_broken(PyObject *self, void *unused)
{
    (void)unused;
    return truth(shoal_barrier_broken(OF(self)->barrier));
}

static PyMethodDef barrier_methods[] = {
    METHOD("_wait", barrier_wait, METH_VARARGS, "_wait(action, timeout)"),
    METHOD("reset", barrier_reset, METH_NOARGS,
           "reset()\n--\n\nMakes it as new; who waits gets BrokenBarrierError."),
    METHOD("abort", barrier_abort, METH_NOARGS, "abort()\n--\n\nBreaks it, until it is reset."),
    COMMON_TABLE(barrier),
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef barrier_getset[] = {
    {"parties", barrier_parties, NULL, PyDoc_STR("How many must wait to go on."), NULL},
    {"n_waiting", barrier_n_waiting, NULL, PyDoc_STR("How many wait."), NULL},
    {"broken", barrier_broken, NULL, PyDoc_STR("Whether it is broken."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot barrier_slots[] = {
    {Py_tp_init, barrier_init},
    {Py_tp_dealloc, barrier_destroy},
    {Py_tp_methods, barrier_methods},
    {Py_tp_getset, barrier_getset},
    {Py_tp_doc,
     "Barrier(parties, *, name=None)\n--\n\nWhere a number of threads wait for each other."},
    {0, NULL},
};
static PyType_Spec barrier_spec = {
    .name = "shoal._shoal.Barrier",
    .basicsize = sizeof(struct object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = barrier_slots,
};

int condition_add(PyObject *module)
{
    return add_type(module, &Condition, &condition_spec) || add_type(module, &Event, &event_spec) ||
                   add_type(module, &Barrier, &barrier_spec)
               ? -1
               : 0;
}
