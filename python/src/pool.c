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
#include "parcel.h"
#include "process/child.h"
#include <errno.h>
#include <string.h>

static PyTypeObject *Engine, *Function, *Pool;
static const char function_name[] = "shoal.python task";

enum { FUNCTIONS = 1024 /* that are known by name */ };

struct pool_object {
    PyObject_HEAD struct engine *engine;
};
#define ENGINE(self) ((struct engine *)(self))
#define ENGINE_OF(self) (((struct pool_object *)(self))->engine)

/* ---- functions ---- */

struct function *function_make(PyObject *function)
{
    struct encoded e;
    shoal_memory *memory;
    if (encode(&e, function))
        return NULL;
    int rc = shoal_memory_create(&memory, e.size + 1, NULL);
    if (rc) {
        encoded_free(&e);
        raise_result(rc);
        return NULL;
    }
    unsigned char *at = shoal_memory_address(memory);
    at[0] = e.how;
    encoded_write(&e, at + 1);
    encoded_free(&e);
    struct function *f = (struct function *)Function->tp_alloc(Function, 0);
    if (!f) {
        shoal_memory_close(memory);
        return NULL;
    }
    f->memory = memory;
    shoal_memory_reference(memory, &f->reference);
    return f;
}

static void function_destroy(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    shoal_memory_close(((struct function *)self)->memory);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Whether it is pickled by name, so that what it is does not change. */
static bool has_name(PyObject *function)
{
    if (!PyFunction_Check(function) && !PyType_Check(function) &&
        !(PyCFunction_CheckExact(function) &&
          (!PyCFunction_GET_SELF(function) || PyModule_Check(PyCFunction_GET_SELF(function)))))
        return false;
    PyObject *custom = PyObject_CallOneArg(pool_helpers.custom, (PyObject *)Py_TYPE(function));
    if (!custom)
        PyErr_Clear();
    bool is = custom == Py_False;
    Py_XDECREF(custom);
    return is;
}

struct function *engine_function(struct engine *e, PyObject *function)
{
    struct function *f = (struct function *)PyDict_GetItemWithError(e->functions, function);
    if (f)
        return (struct function *)Py_NewRef((PyObject *)f);
    if (PyErr_Occurred()) { /* it has no hash */
        PyErr_Clear();
        return NULL;
    }
    if (PyDict_GET_SIZE(e->functions) >= FUNCTIONS || !has_name(function))
        return NULL;
    f = function_make(function);
    if (f && PyDict_SetItem(e->functions, function, (PyObject *)f))
        Py_CLEAR(f);
    return f;
}

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

static PyObject *not_running(void)
{
    PyErr_SetString(PyExc_ValueError, "Pool not running");
    return NULL;
}

int engine_open(struct engine *e)
{
    if (e && e->own && !e->closing && !e->ended)
        return 0;
    not_running();
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

/* ---- giving ---- */

enum { SCRATCH = 256 };

static int give(struct engine *e, struct result **ret, const void *bytes, size_t size,
                struct arrivals *row, void *tag, bool cares)
{
    struct own *p = e->own;
    const shoal_task_options *options = e->optioned ? &e->options : NULL;
    shoal_task_options care = e->options;
    care.flags = TASK_CARES;
    if (cares)
        options = &care;
    if (!pool_is_mine(p)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "another process made the pool; only that one may use it");
        return -1;
    }
    os_mutex_lock(&p->mutex);
    int rc = pool_is_over(p, "the pool");
    if (!rc)
        rc = task_give(p, ret, e->code, NULL, bytes, size, options, NULL, "the pool");
    if (!rc && row) {
        (*ret)->row = row;
        (*ret)->tag = tag;
        row->pending++;
        if (row == &p->due) /* which holds it beside the outcome */
            atomic_fetch_add(&(*ret)->holders, HELD);
    }
    os_mutex_unlock(&p->mutex);
    if (!rc)
        return 0;
    if (rc == -EPIPE || rc == -ECANCELED) {
        not_running();
    } else if (rc == -ECONNABORTED) {
        PyObject *failure =
            PyObject_CallFunction(pool_helpers.failure, "iiis", -rc, 0, 0, shoal_error_detail());
        if (failure)
            PyErr_SetObject((PyObject *)Py_TYPE(failure), failure);
        Py_XDECREF(failure);
    } else {
        raise_result(rc);
    }
    return -1;
}

/* Objects of the family in a task are held by its giver, until no task is under way. Takes over the list, or NULL. */
static int keep(struct engine *e, PyObject *met)
{
    if (!met)
        return 0;
    Py_ssize_t n = PyList_GET_SIZE(e->kept);
    int rc = PyList_SetSlice(e->kept, e->own->outstanding ? n : 0, n, met);
    Py_DECREF(met);
    return rc;
}

int engine_give(struct engine *e, struct result **ret, enum kind kind,
                const struct function *function, PyObject *argument, struct arrivals *row,
                void *tag, bool cares)
{
    struct encoded encoded;
    struct cargo cargo;
    struct head head = {.kind = (uint8_t)kind};
    unsigned char scratch[SCRATCH], *bytes = scratch;
    cargo_watch(&cargo);
    int failed = kind == CHUNK ? encode_chunk(&encoded, argument) : encode(&encoded, argument);
    PyObject *met = cargo_met(&cargo);
    if (failed || keep(e, met)) {
        if (!failed)
            encoded_free(&encoded);
        return -1;
    }
    if (function) {
        head.id = function->reference.id;
        head.generation = function->reference.generation;
    }
    head.how = encoded.how;
    size_t size = HEAD + encoded.size;
    if (size > sizeof scratch)
        bytes = PyMem_Malloc(size);
    int rc = -1;
    if (bytes) {
        memcpy(bytes, &head, HEAD);
        encoded_write(&encoded, bytes + HEAD);
        rc = give(e, ret, bytes, size, row, tag, cares);
    } else {
        PyErr_NoMemory();
    }
    if (bytes != scratch)
        PyMem_Free(bytes);
    encoded_free(&encoded);
    return rc;
}

/* A call of function(*arguments, **named): as short as it can be said. */
static int give_call(struct engine *e, struct result **ret, struct function **f, PyObject *function,
                     PyObject *arguments, PyObject *named, struct arrivals *row, void *tag,
                     bool cares)
{
    int rc = -1;
    PyObject *all;
    bool has_named = named && !(PyDict_Check(named) && !PyDict_GET_SIZE(named));
    *f = engine_function(e, function);
    if (!*f && PyErr_Occurred())
        return -1;
    if (*f && !has_named)
        return engine_give(e, ret, CALL, *f, arguments, row, tag, cares);
    if (!has_named)
        named = Py_None;
    all = *f ? PyTuple_Pack(2, arguments, named) : PyTuple_Pack(3, function, arguments, named);
    if (all)
        rc = engine_give(e, ret, *f ? CALL_NAMED : CALL_ALL, *f, all, row, tag, cares);
    Py_XDECREF(all);
    return rc;
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
    if (rc < 0 && rc != -ERESTART && rc != -EINTR)
        return raise_result(rc);
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
    int rc = give_call(e, &r, &f, given[0], given[1], given[2], NULL, NULL, false);
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
    int rc = give_call(e, &o->r, &o->function, given[0], given[1] ? given[1] : empty, given[2],
                       o->calls ? &p->due : NULL, o, o->calls);
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
        if (rc)
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

static PyType_Slot function_slots[] = {
    {Py_tp_dealloc, function_destroy},
    {Py_tp_doc, "A function, as workers find it."},
    {0, NULL},
};
static PyType_Spec function_spec = {
    .name = "shoal._shoal.Function",
    .basicsize = sizeof(struct function),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = function_slots,
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
    return add_type(module, &Engine, &engine_spec) || add_type(module, &Pool, &pool_spec) ||
                   add_type(module, &Function, &function_spec) || result_add(module) ||
                   imap_add(module) || work_add(module) || PyModule_AddFunctions(module, functions)
               ? -1
               : 0;
}
