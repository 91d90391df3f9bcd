/* Pools of Python processes, on the library's pools (src/pool).
 *
 * A task is a task of the library's: bytes, which a unit in shared memory holds or refers to. So what is promised there holds here: a
 * worker's claim names it, and when it is killed, wherever, its task alone is lost, with who it was and how it ended, or is given again;
 * what was done is told. Its function is python_task (pool_work.c): bytes to Python's objects, the call, and back.
 *
 *     {function: where its pickle lies; kind; how} pickle          as much as fits lies in the unit itself
 *
 * A function is pickled once into memory of its own, and each worker keeps those that it has read; functions that are pickled by name
 * stay known to the pool, others as long as the map that they are of. A map is a task for each chunk.
 *
 * Workers are Process objects of the pool's context: the pool is a staffed one (src/pool/staff.c). Nothing under the pool's mutex
 * ever waits for the GIL, so it may be taken with it. Who finds that a worker is wanted returns with -ERESTART from its wait, takes the
 * GIL, and calls fill() of the engine's Python class, which starts one.
 *
 * Who waits for results decodes them, so there is no thread for that. From the first asynchronous call on there is one
 * (mind), which calls callbacks, replaces workers, ends tasks at their limits, and gives the inputs of rows that nobody asks; it
 * holds the engine and not the Pool, so a Pool that is forgotten ends.
 *
 * Results in the order in which they become ready come in `arrivals`: one for each map and row, and one of the pool's for tasks with
 * callbacks, whose tags hold the outcome until its callback has been called.
 */
#include "pool.h"
#include <errno.h>

static PyTypeObject *Pool;

struct pool_object {
    PyObject_HEAD struct engine *engine;
};
#define ENGINE_OF(self) (((struct pool_object *)(self))->engine)

/* ---- Pool ---- */

static int pool_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *engine;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "O!:Pool", Engine, &engine))
        return -1;
    if (ENGINE_OF(self)) {
        PyErr_SetString(PyExc_RuntimeError, "__init__ was called before");
        return -1;
    }
    ENGINE_OF(self) = (struct engine *)Py_NewRef(engine);
    return 0;
}

static int pool_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(ENGINE_OF(self));
    return 0;
}

static void pool_destroy(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(ENGINE_OF(self));
    type->tp_free(self);
    Py_DECREF(type);
}

static bool is_ready(void *argument)
{
    return result_is_ready(argument);
}

/* apply(func, args=(), kwds={}) */
static PyObject *pool_apply(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    static const char *const names[] = {"func", "args", "kwds"};
    PyObject *given[3] = {NULL}, *value = NULL, *empty = NULL;
    struct engine *e = ENGINE_OF(self);
    struct function *f;
    struct result *r;
    if (!take_arguments(given, names, 3, "apply", args, n, keywords) || engine_open(e))
        return NULL;
    if (!given[0]) {
        PyErr_SetString(PyExc_TypeError, "apply() wants a function");
        return NULL;
    }
    if (!given[1])
        given[1] = empty = PyTuple_New(0);
    Py_INCREF(e);
    int rc = engine_call(e, &r, &f, given[0], given[1], given[2], NULL, NULL, AT_ONCE);
    Py_XDECREF(empty);
    if (rc) {
        Py_XDECREF(f);
        Py_DECREF(e);
        return NULL;
    }
    rc = engine_wait(e, is_ready, r, SHOAL_FOREVER);
    if (!rc && result_value(r, &value) == BAD) {
        PyErr_SetObject((PyObject *)Py_TYPE(value), value);
        Py_CLEAR(value);
    } else if (rc && rc != -EINTR) {
        raise_result(rc);
    }
    if (rc && f) /* it goes on */
        PyList_Append(e->kept, (PyObject *)f);
    result_drop(r);
    Py_XDECREF(f);
    Py_DECREF(e);
    return value;
}

/* With callbacks it is on the list of those that are due, until they have been called. */
static int give_outcome(struct outcome *o, PyObject *const given[])
{
    struct engine *e = o->engine;
    struct own *p = e->own;
    PyObject *empty = given[1] ? NULL : PyTuple_New(0);
    int rc = engine_call(e, &o->r, &o->function, given[0], given[1] ? given[1] : empty, given[2],
                         o->calls ? &p->due : NULL, o, o->calls ? MINDED : ANY_TIME);
    Py_XDECREF(empty);
    return rc;
}

/* apply_async(func, args=(), kwds={}, callback=None, error_callback=None) */
static PyObject *pool_apply_async(PyObject *self, PyObject *const *args, Py_ssize_t n,
                                  PyObject *keywords)
{
    static const char *const names[] = {"func", "args", "kwds", "callback", "error_callback"};
    PyObject *given[5] = {NULL};
    struct engine *e = ENGINE_OF(self);
    if (!take_arguments(given, names, 5, "apply_async", args, n, keywords) || engine_open(e) ||
        engine_minded(e))
        return NULL;
    if (!given[0]) {
        PyErr_SetString(PyExc_TypeError, "apply_async() wants a function");
        return NULL;
    }
    struct outcome *o = outcome_new(ApplyResult, e, self, given[3], given[4]);
    if (!o)
        return NULL;
    struct own *p = e->own;
    if (o->calls) { /* before it is given: it may be ready at once */
        Py_INCREF(o);
        os_mutex_lock(&p->mutex);
        p->calling++;
        os_mutex_unlock(&p->mutex);
    }
    if (!give_outcome(o, given))
        return (PyObject *)o;
    if (PyErr_ExceptionMatches(PyExc_ValueError) && (e->own->over || e->ended)) {
        if (o->calls) {
            os_mutex_lock(&p->mutex);
            p->calling--;
            os_mutex_unlock(&p->mutex);
            Py_DECREF(o);
        }
        Py_DECREF(o);
        return NULL;
    }
    outcome_fail(o); /* get() raises it, as it would what the worker raises */
    if (o->calls) {
        int rc = PyList_Append(e->watched, (PyObject *)o);
        Py_DECREF(o);
        /* The thread that was there has perhaps ended since, as the pool is over. */
        if (rc || engine_minded(e))
            Py_CLEAR(o);
        pool_stir(p);
    }
    return (PyObject *)o;
}

/* _imap(func, iterator, simple, ordered, chunksize, kind) */
static PyObject *pool_imap(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    if (n != 6) {
        PyErr_SetString(PyExc_TypeError, "_imap wants six arguments");
        return NULL;
    }
    if (engine_open(ENGINE_OF(self)) || engine_minded(ENGINE_OF(self)))
        return NULL;
    return imap_new(self, ENGINE_OF(self), args);
}

/* _map(func, items, star, chunksize, callback, error_callback, asynchronous) */
static PyObject *pool_map(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct engine *e = ENGINE_OF(self);
    if (n != 7) {
        PyErr_SetString(PyExc_TypeError, "_map wants seven arguments");
        return NULL;
    }
    if (engine_open(e) || (PyObject_IsTrue(args[6]) && engine_minded(e)))
        return NULL;
    return map_new(self, e, args);
}

static PyMethodDef pool_methods[] = {
    METHOD("apply", pool_apply, FAST,
           "apply(func, args=(), kwds={})\n--\n\nfunc(*args, **kwds), by a worker."),
    METHOD("apply_async", pool_apply_async, FAST,
           "apply_async(func, args=(), kwds={}, callback=None, error_callback=None)\n--\n\nThe "
           "same, without waiting: an AsyncResult."),
    METHOD("_map", pool_map, METH_FASTCALL,
           "_map(func, items, star, chunksize, callback, error_callback, asynchronous)"),
    METHOD("_imap", pool_imap, METH_FASTCALL,
           "_imap(func, iterator, simple, ordered, chunksize, kind)"),
    {NULL, NULL, 0, NULL},
};
static PyType_Slot pool_slots[] = {
    {Py_tp_init, pool_init},
    {Py_tp_dealloc, pool_destroy},
    {Py_tp_traverse, pool_traverse},
    {Py_tp_methods, pool_methods},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_doc, "What Pool is made of."},
    {0, NULL},
};
static PyType_Spec pool_spec = {
    .name = "shoal._shoal.Pool",
    .basicsize = sizeof(struct pool_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = pool_slots,
};

/* pool_helpers(dumps, dumps_plain, loads, encode_failure, decode_failure, failure, custom) */
static PyObject *set_helpers(PyObject *module, PyObject *args)
{
    struct helpers *h = &pool_helpers;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOOOO:pool_helpers", &h->dumps, &h->dumps_plain, &h->loads,
                          &h->encode_failure, &h->decode_failure, &h->failure, &h->custom))
        return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++)
        Py_INCREF(PyTuple_GET_ITEM(args, i)); /* for good */
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    METHOD("pool_helpers", set_helpers, METH_VARARGS, "What python/shoal/pool.py gives."),
    {NULL, NULL, 0, NULL},
};

int pool_add(PyObject *module)
{
    return engine_add(module) || add_type(module, &Pool, &pool_spec) || give_add(module) ||
                   result_add(module) || imap_add(module) || work_add(module) ||
                   PyModule_AddFunctions(module, functions)
               ? -1
               : 0;
}
