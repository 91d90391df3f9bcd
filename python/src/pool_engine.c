/* Engine: the library's pool, with what it is told and what it tells without a thread of its own. Python's part of it starts
 * workers (fill) and the thread that minds it (begin_minding).
 */
#include "pool.h"
#include <errno.h>
#include <string.h>

PyTypeObject *Engine;
static const char function_name[] = "shoal.python task";

#define ENGINE(self) ((struct engine *)(self))

/* ---- waiting ---- */

static int fill(struct engine *e)
{
    PyObject *done = PyObject_CallMethod((PyObject *)e, "fill", NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int wait_freely(struct own *p, bool (*ready)(void *), void *argument, int64_t deadline)
{
    int rc;
    Py_BEGIN_ALLOW_THREADS;
    spread_out();
    rc = pool_wait(p, ready, argument, deadline);
    Py_END_ALLOW_THREADS;
    return rc;
}

int engine_wait(struct engine *e, bool (*ready)(void *), void *argument, int64_t deadline)
{
    for (int looked = 0;; looked++) {
        int rc = wait_freely(e->own, ready, argument, deadline);
        if (rc != -ERESTART && rc != -EINTR)
            return rc;
        if (rc == -ERESTART && deadline == SHOAL_NOW && looked)
            return -EAGAIN;
        if (rc == -ERESTART ? fill(e) : PyErr_CheckSignals())
            return -EINTR;
    }
}

void engine_not_running(void)
{
    PyErr_SetString(PyExc_ValueError, "Pool not running");
}

int engine_open(struct engine *e)
{
    if (e && e->own && !pool_is_mine(e->own)) {
        PyErr_SetString(PyExc_RuntimeError, "Pool not running here: another process made it");
        return -1;
    }
    if (e && e->own && !e->closing && !e->ended)
        return 0;
    engine_not_running();
    return -1;
}

int engine_minded(struct engine *e)
{
    if (e->minder)
        return 0;
    PyObject *done = PyObject_CallMethod((PyObject *)e, "begin_minding", NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* ---- Engine ---- */

static int engine_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"workers", "name", "task_timeout", "retries", "strict", NULL};
    struct engine *e = ENGINE(self);
    int workers, strict = 0;
    const char *name = NULL;
    double limit = 0;
    Py_ssize_t retries = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "i|zdnp:Engine", names, &workers, &name,
                                     &limit, &retries, &strict))
        return -1;
    if (e->handle || workers < 1) {
        PyErr_SetString(PyExc_ValueError, e->handle ? "__init__ was called before"
                                                    : "Number of processes must be at least 1");
        return -1;
    }
    shoal_pool_options options = {.workers = workers, .name = name, .most_deaths = UINT_MAX};
    e->functions = PyDict_New();
    e->kept = PyList_New(0);
    e->watched = PyList_New(0);
    e->hungry = PyList_New(0);
    if (!e->functions || !e->kept || !e->watched || !e->hungry)
        return -1;
    e->options = (shoal_task_options){.limit = limit,
                                      .retries = retries < UINT_MAX ? (unsigned)retries : UINT_MAX};
    e->optioned = limit > 0 || retries;
    int rc = shoal_function_register(function_name, (shoal_code)(void (*)(void))python_task);
    if (!rc)
        rc = options_check(&e->options, "Pool");
    if (!rc)
        rc = pool_create_staffed(&e->handle, &options);
    if (rc) {
        raise_result(rc);
        return -1;
    }
    e->own = pool_of(e->handle, "Pool", &rc);
    e->own->strict = strict;
    rc = code_number(e->own, (const void *)(uintptr_t)python_task, "Pool", &e->code);
    if (!rc)
        return 0;
    raise_result(rc);
    return -1;
}

static int engine_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct engine *e = ENGINE(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(e->functions);
    Py_VISIT(e->kept);
    Py_VISIT(e->watched);
    Py_VISIT(e->hungry);
    return 0;
}

static int engine_clear(PyObject *self)
{
    struct engine *e = ENGINE(self);
    Py_CLEAR(e->watched);
    Py_CLEAR(e->hungry);
    Py_CLEAR(e->kept);
    Py_CLEAR(e->functions);
    return 0;
}

/* What its tags hold. */
static void drop_due(struct own *p)
{
    struct result *r;
    os_mutex_lock(&p->mutex);
    while ((r = arrivals_take(&p->due))) {
        PyObject *o = r->tag;
        os_mutex_unlock(&p->mutex);
        result_drop(r);
        Py_DECREF(o);
        os_mutex_lock(&p->mutex);
    }
    os_mutex_unlock(&p->mutex);
}

static void engine_destroy(PyObject *self)
{
    struct engine *e = ENGINE(self);
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (e->handle && e->own && pool_is_mine(e->own)) {
        struct own *p = e->own;
        shoal_pool_terminate(e->handle);
        Py_BEGIN_ALLOW_THREADS;
        os_mutex_lock(&p->mutex);
        workers_kill(p);
        os_mutex_unlock(&p->mutex);
        Py_END_ALLOW_THREADS;
        drop_due(p);
        Py_BEGIN_ALLOW_THREADS;
        shoal_pool_free(e->handle);
        Py_END_ALLOW_THREADS;
    } else if (e->handle) {
        shoal_pool_free(e->handle);
    }
    e->handle = NULL;
    engine_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *engine_reference(PyObject *self, PyObject *unused)
{
    shoal_reference r;
    (void)unused;
    int rc = object_reference(ENGINE(self)->handle, TYPE_POOL, "Pool", &r);
    return rc ? raise_result(rc) : reference_bytes(&r);
}

static PyObject *engine_vacancy(PyObject *self, PyObject *unused)
{
    (void)unused;
    int place = pool_vacancy(ENGINE(self)->handle);
    if (place == -EAGAIN)
        Py_RETURN_NONE;
    return place < 0 ? raise_result(place) : PyLong_FromLong(place);
}

/* hired(place, child): child is None where it could not be started. */
static PyObject *engine_hired(PyObject *self, PyObject *args)
{
    int place;
    PyObject *child;
    shoal_process *process = NULL;
    if (!PyArg_ParseTuple(args, "iO:hired", &place, &child))
        return NULL;
    if (child != Py_None && !(process = child_process(child))) {
        PyErr_SetString(PyExc_TypeError,
                        "the pool's context makes processes that are none of shoal's");
        return NULL;
    }
    int rc = pool_hired(ENGINE(self)->handle, place, process);
    if (rc)
        return raise_result(rc);
    Py_RETURN_NONE;
}

static PyObject *engine_employs(PyObject *self, PyObject *pid)
{
    long n = PyLong_AsLong(pid);
    if (n == -1 && PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(pool_employs(ENGINE(self)->handle, (pid_t)n));
}

static void close_now(struct engine *e)
{
    if (!pool_is_mine(e->own)) /* in a child, where its mutex may be locked for good */
        return;
    shoal_pool_close(e->handle);
    os_mutex_lock(&e->own->mutex);
    pool_turn(e->own);
    os_mutex_unlock(&e->own->mutex);
}

static PyObject *engine_close(PyObject *self, PyObject *unused)
{
    struct engine *e = ENGINE(self);
    (void)unused;
    e->closing = true;
    if (!e->feeding)
        close_now(e);
    Py_RETURN_NONE;
}

void engine_fed(struct engine *e)
{
    if (!--e->feeding && e->closing)
        close_now(e);
}

static PyObject *engine_terminate(PyObject *self, PyObject *unused)
{
    struct engine *e = ENGINE(self);
    (void)unused;
    e->ended = true;
    int rc;
    Py_BEGIN_ALLOW_THREADS;
    rc = shoal_pool_terminate(e->handle);
    Py_END_ALLOW_THREADS;
    if (rc)
        return raise_result(rc);
    Py_RETURN_NONE;
}

static bool joined(void *argument)
{
    const struct own *p = argument;
    return p->over && workers_gone(p) && !p->outstanding && !p->calling && !p->due.first;
}

static PyObject *engine_join(PyObject *self, PyObject *timeout)
{
    struct engine *e = ENGINE(self);
    int64_t until = deadline_of(timeout);
    if (until < 0)
        return NULL;
    if (e->minder == PyThread_get_thread_ident()) {
        PyErr_SetString(PyExc_RuntimeError, "cannot join a pool in one of its callbacks");
        return NULL;
    }
    if (!pool_is_mine(e->own)) /* in a child: it is its parent's to wait for */
        Py_RETURN_TRUE;
    int rc = engine_wait(e, joined, e->own, until);
    if (vainly(rc))
        Py_RETURN_FALSE;
    if (rc)
        return rc == -EINTR ? NULL : raise_result(rc);
    Py_RETURN_TRUE;
}

/* ---- minding ---- */

/* Tasks whose callbacks are due. */
static void tell_due(struct engine *e)
{
    struct own *p = e->own;
    for (;;) {
        os_mutex_lock(&p->mutex);
        struct result *r = arrivals_take(&p->due);
        os_mutex_unlock(&p->mutex);
        if (!r)
            return;
        struct outcome *o = r->tag;
        outcome_tell(o);
        os_mutex_lock(&p->mutex);
        p->calling--;
        pool_turn(p);
        os_mutex_unlock(&p->mutex);
        result_drop(r);
        Py_DECREF(o);
    }
}

/* Calls visit for each, and takes out those that it is done with (0: keep; 1; an error is told, and is 1). */
static void visit_list(PyObject *list, int (*visit)(PyObject *))
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list);) {
        PyObject *one = Py_NewRef(PyList_GET_ITEM(list, i));
        int over = visit(one);
        /* others may have changed the list */
        Py_ssize_t at = i < PyList_GET_SIZE(list) && PyList_GET_ITEM(list, i) == one
                            ? i
                            : PySequence_Index(list, one);
        if (at < 0)
            PyErr_Clear();
        if (over && at >= 0)
            PyList_SetSlice(list, at, at + 1, NULL);
        i = over ? i : i + 1;
        Py_DECREF(one);
    }
}

static int tell_watched(PyObject *one)
{
    struct outcome *o = (struct outcome *)one;
    struct own *p = o->engine->own;
    if (!outcome_tell(o))
        return 0;
    os_mutex_lock(&p->mutex);
    p->calling--;
    pool_turn(p);
    os_mutex_unlock(&p->mutex);
    return 1;
}

static int feed_hungry(PyObject *one)
{
    return !imap_feed(one);
}

/* claim(begins): whether the caller is the one to begin the thread that minds the pool; False: gives that up. A thread that has been
 * told that all is over (mind) counts no more, though it may be there for a moment. */
static PyObject *engine_claim(PyObject *self, PyObject *begins)
{
    enum { BEGUN = 1 /* no thread's number */ };
    struct engine *e = ENGINE(self);
    bool claimed = begins == Py_True && !e->minder;
    if (begins != Py_True)
        e->minder = 0;
    else if (claimed)
        e->minder = BEGUN;
    return PyBool_FromLong(claimed);
}

/* mind(): False: the pool is over, and nothing is left to do. */
static PyObject *engine_mind(PyObject *self, PyObject *unused)
{
    struct engine *e = ENGINE(self);
    uint64_t signals;
    int rc;
    (void)unused;
    e->minder = PyThread_get_thread_ident();
    visit_list(e->hungry, feed_hungry);
    Py_BEGIN_ALLOW_THREADS os_signals_block(&signals);
    rc = pool_mind(e->own, SHOAL_FOREVER);
    os_signals_restore(&signals);
    Py_END_ALLOW_THREADS tell_due(e);
    visit_list(e->watched, tell_watched);
    if (rc == -ERESTART && fill(e))
        PyErr_WriteUnraisable(self);
    if (rc < 0 && rc != -ERESTART && rc != -EINTR) {
        e->minder = 0;
        return raise_result(rc);
    }
    if (rc || PyList_GET_SIZE(e->watched))
        Py_RETURN_TRUE;
    e->minder = 0;
    pool_unmind(e->own);
    Py_RETURN_FALSE;
}

static PyObject *engine_statistics(PyObject *self, PyObject *unused)
{
    static shoal_worker_statistics all[SHOAL_POOL_WORKERS];
    (void)unused;
    int n = shoal_pool_statistics(ENGINE(self)->handle, all, SHOAL_POOL_WORKERS);
    if (n < 0)
        return raise_result(n);
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < n; i++) {
        PyObject *one = Py_BuildValue("(iKdd)", (int)all[i].pid, (unsigned long long)all[i].tasks,
                                      all[i].busy, all[i].idle);
        if (!one || PyList_Append(list, one))
            Py_CLEAR(list);
        Py_XDECREF(one);
    }
    return list;
}

static PyMethodDef engine_methods[] = {
    METHOD("reference", engine_reference, METH_NOARGS, "reference()\n--\n\nFor its workers."),
    METHOD("vacancy", engine_vacancy, METH_NOARGS,
           "vacancy()\n--\n\nA place to be filled, the caller's to fill; None."),
    METHOD("hired", engine_hired, METH_VARARGS,
           "hired(place, child)\n--\n\nWho fills a place; None: it could not be started."),
    METHOD("employs", engine_employs, METH_O,
           "employs(pid)\n--\n\nWhether it is one of its workers."),
    METHOD("close", engine_close, METH_NOARGS, "close()\n--\n\nNothing more is given."),
    METHOD("terminate", engine_terminate, METH_NOARGS, "terminate()\n--\n\nEnds the workers."),
    METHOD("join", engine_join, METH_O,
           "join(timeout)\n--\n\nWaits until it is over: True, or False."),
    METHOD("claim", engine_claim, METH_O,
           "claim(begins)\n--\n\nWhether the caller begins the thread that minds it."),
    METHOD("mind", engine_mind, METH_NOARGS,
           "mind()\n--\n\nOne round of the pool's thread; False: it is over."),
    METHOD("statistics", engine_statistics, METH_NOARGS,
           "statistics()\n--\n\nA list of (pid, tasks, busy, idle)."),
    {NULL, NULL, 0, NULL},
};
static PyType_Slot engine_slots[] = {
    {Py_tp_init, engine_init},         {Py_tp_dealloc, engine_destroy},
    {Py_tp_traverse, engine_traverse}, {Py_tp_clear, engine_clear},
    {Py_tp_methods, engine_methods},   {Py_tp_doc, "A pool, to be subclassed with fill()."},
    {Py_tp_new, PyType_GenericNew},    {0, NULL},
};
static PyType_Spec engine_spec = {
    .name = "shoal._shoal.Engine",
    .basicsize = sizeof(struct engine),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = engine_slots,
};

int engine_add(PyObject *module)
{
    return add_type(module, &Engine, &engine_spec);
}
