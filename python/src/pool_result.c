/* ApplyResult and MapResult: what a task, or the tasks of a map, came to.
 *
 * Who asks for it decodes it, once. While a thread waits without the GIL it looks at the C result (or the map's arrivals), so that is
 * given back by the last who leaves (`waiters`). One with callbacks is ready when they have been called, as the standard library's is; on
 * the pool's thread, which calls them, before.
 */
#include "pool.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

PyTypeObject *ApplyResult, *MapResult;
static PyObject *TimeoutError;

#define OUTCOME(self) ((struct outcome *)(self))
#define MAP(self) ((struct map_outcome *)(self))

/* ---- one result ---- */

/* Takes the exception that is set. */
static PyObject *take_exception(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(traceback);
    Py_XDECREF(type);
    return value;
}

static PyObject *failure_of(shoal_result *handle)
{
    shoal_failure f = {0};
    shoal_result_failure(handle, &f);
    return PyObject_CallFunction(pool_helpers.failure, "iiiN", -f.error, (int)f.pid, f.exit_code,
                                 text_of(f.text ? f.text : ""));
}

int result_value(struct result *r, PyObject **ret)
{
    shoal_result *handle = cell_handle(&r->cell);
    const unsigned char *bytes;
    size_t size;
    uint8_t how = FAILED;
    PyObject *value;
    if (r->error) {
        value = failure_of(handle);
    } else {
        shoal_result_get(handle, (const void **)&bytes, &size, SHOAL_NOW);
        how = size ? bytes[0] : PICKLED;
        value = decode(how, bytes + 1, size ? size - 1 : 0);
    }
    if (!value) {
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return -1;
        value = take_exception();
        how = FAILED;
    }
    *ret = value;
    return how == FAILED ? BAD : GOOD;
}

/* ---- what both have ---- */

struct outcome *outcome_new(PyTypeObject *type, struct engine *e, PyObject *pool,
                            PyObject *callback, PyObject *error_callback)
{
    struct outcome *o = OUTCOME(type->tp_alloc(type, 0));
    if (!o)
        return NULL;
    o->engine = (struct engine *)Py_NewRef((PyObject *)e);
    o->pool = Py_NewRef(pool);
    if (callback && callback != Py_None)
        o->callback = Py_NewRef(callback);
    if (error_callback && error_callback != Py_None)
        o->error_callback = Py_NewRef(error_callback);
    o->calls = o->callback || o->error_callback;
    return o;
}

static void settle(struct outcome *o, int state, PyObject *value)
{
    if (o->state != WAITING) { /* another thread was faster */
        Py_DECREF(value);
        return;
    }
    o->value = value;
    o->state = (uint8_t)state;
    Py_CLEAR(o->pool);
}

void outcome_fail(struct outcome *o)
{
    settle(o, BAD, take_exception());
}

static bool is_map(const struct outcome *o)
{
    return PyObject_TypeCheck((PyObject *)(uintptr_t)o, MapResult);
}

/* What it waited for is needed no more. */
static void let_go(struct outcome *o)
{
    struct own *p = o->engine->own;
    struct arrivals *row = is_map(o) ? MAP(o)->row : NULL;
    bool pending = false;
    if (!o->r && !row && !o->function)
        return;
    if (!pool_is_mine(p)) /* in a child: they are its parent's */
        return;
    if (o->r) {
        pending = !result_is_ready(o->r);
        result_drop(o->r);
        o->r = NULL;
    }
    if (row) {
        os_mutex_lock(&p->mutex);
        pending = row->pending;
        arrivals_unwatch(p, row);
        arrivals_leave(row);
        os_mutex_unlock(&p->mutex);
        MAP(o)->row = NULL;
    }
    if (pending && o->function && o->engine->kept &&
        PyList_Append(o->engine->kept, (PyObject *)o->function))
        PyErr_WriteUnraisable(NULL);
    Py_CLEAR(o->function);
}

/* ---- a map's chunks ---- */

/* One of them failed, by an exception that is given over. */
static void chunk_failed(struct map_outcome *m, Py_ssize_t i, PyObject *exception)
{
    m->taken++;
    if (i < m->bad) {
        m->bad = i;
        Py_XSETREF(m->failure, exception);
    } else {
        Py_XDECREF(exception);
    }
}

static void chunk_done(struct map_outcome *m, Py_ssize_t i, PyObject *value)
{
    Py_ssize_t from = i * m->chunksize, n = m->items - from;
    n = n < m->chunksize ? n : m->chunksize;
    if (m->chunksize > 1 && (!PyList_CheckExact(value) || PyList_GET_SIZE(value) != n)) {
        PyErr_SetString(PyExc_RuntimeError, "a chunk of a map came back with another length");
        Py_DECREF(value);
        chunk_failed(m, i, take_exception());
        return;
    }
    m->taken++;
    if (m->chunksize == 1) {
        PyList_SET_ITEM(m->values, from, value);
        return;
    }
    for (Py_ssize_t k = 0; k < n; k++)
        PyList_SET_ITEM(m->values, from + k, Py_NewRef(PyList_GET_ITEM(value, k)));
    Py_DECREF(value);
}

static struct result *take_chunk(struct map_outcome *m)
{
    struct own *p = m->base.engine->own;
    if (!atomic_load_explicit(&m->row->ready, memory_order_relaxed))
        return NULL;
    os_mutex_lock(&p->mutex);
    struct result *r = arrivals_take(m->row);
    os_mutex_unlock(&p->mutex);
    return r;
}

/* Decodes what has come: 0, or -1: with an exception that concerns who asks. */
static int take_chunks(struct map_outcome *m)
{
    struct result *r;
    while (m->row && m->taken < m->chunks && (r = take_chunk(m))) {
        Py_ssize_t i = (Py_ssize_t)(uintptr_t)r->tag;
        PyObject *value;
        int state = result_value(r, &value);
        result_drop(r);
        if (state < 0) {
            PyObject *exception = take_exception();
            chunk_failed(m, i, Py_NewRef(exception));
            PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
            Py_DECREF(exception);
            return -1;
        }
        if (state == GOOD)
            chunk_done(m, i, value);
        else
            chunk_failed(m, i, value);
    }
    if (m->taken < m->chunks || m->base.state != WAITING)
        return 0;
    PyObject *values = m->values, *failure = m->failure;
    m->values = m->failure = NULL;
    if (failure)
        settle(&m->base, BAD, failure);
    else
        settle(&m->base, GOOD, Py_NewRef(values));
    Py_XDECREF(values);
    return 0;
}

/* ---- waiting ---- */

static bool on_minder(const struct outcome *o)
{
    return o->engine->minder && o->engine->minder == PyThread_get_thread_ident();
}

/* Whether there is something to be looked at. */
static bool has_come(void *argument)
{
    const struct outcome *o = argument;
    if (o->state != WAITING)
        return true;
    return is_map(o) ? MAP(o)->row->first != NULL : result_is_ready(o->r);
}

static bool was_told(void *argument)
{
    return atomic_load(&((struct outcome *)argument)->told);
}

/* Looks at what is there: 0, or -1. */
static int look(struct outcome *o)
{
    PyObject *value;
    if (is_map(o))
        return take_chunks(MAP(o));
    if (o->state != WAITING || !result_is_ready(o->r))
        return 0;
    int state = result_value(o->r, &value);
    if (state < 0)
        return -1;
    settle(o, state, value);
    return 0;
}

/* 0: it is ready, and looked at; -EAGAIN, -ETIMEDOUT: it is not; -EINTR: with an exception; or another error. */
static int await(struct outcome *o, int64_t deadline)
{
    int rc = 0;
    o->waiters++;
    while (o->state == WAITING) {
        if (look(o)) {
            rc = -EINTR;
            break;
        }
        if (o->state != WAITING)
            break;
        rc = engine_wait(o->engine, has_come, o, deadline);
        if (rc)
            break;
    }
    o->waiters--;
    if (o->state == WAITING)
        return rc;
    if (!o->waiters) {
        let_go(o);
    } else { /* the others may wait for what this one took */
        struct own *p = o->engine->own;
        os_mutex_lock(&p->mutex);
        pool_turn(p);
        os_mutex_unlock(&p->mutex);
    }
    if (!o->calls || was_told(o) || on_minder(o))
        return 0;
    return engine_wait(o->engine, was_told, o, deadline);
}

int outcome_tell(struct outcome *o)
{
    int rc = await(o, SHOAL_NOW);
    if (rc && vainly(rc))
        return 0;
    PyObject *call = !rc && o->state == GOOD ? o->callback : !rc ? o->error_callback : NULL;
    if (rc == -EINTR)
        PyErr_WriteUnraisable((PyObject *)o);
    if (call) {
        PyObject *done = PyObject_CallOneArg(call, o->value);
        if (!done)
            PyErr_WriteUnraisable(call);
        Py_XDECREF(done);
    }
    if (is_map(o) && MAP(o)->row) { /* others still look at it */
        struct own *p = o->engine->own;
        os_mutex_lock(&p->mutex);
        arrivals_unwatch(p, MAP(o)->row);
        os_mutex_unlock(&p->mutex);
    }
    atomic_store(&o->told, true);
    Py_CLEAR(o->callback);
    Py_CLEAR(o->error_callback);
    return 1;
}

/* ---- methods ---- */

static int64_t deadline_of_call(const char *call, PyObject *const *args, Py_ssize_t n,
                                PyObject *keywords)
{
    static const char *const names[] = {"timeout"};
    PyObject *timeout = NULL;
    if (!take_arguments(&timeout, names, 1, call, args, n, keywords))
        return -1;
    return deadline_of(timeout);
}

static PyObject *outcome_get(PyObject *self, PyObject *const *args, Py_ssize_t n,
                             PyObject *keywords)
{
    struct outcome *o = OUTCOME(self);
    int64_t until = deadline_of_call("get", args, n, keywords);
    if (until < 0)
        return NULL;
    int rc = await(o, until);
    if (vainly(rc)) {
        PyErr_SetNone(TimeoutError);
        return NULL;
    }
    if (rc)
        return rc == -EINTR ? NULL : raise_result(rc);
    if (o->state == GOOD)
        return Py_NewRef(o->value);
    PyErr_SetObject((PyObject *)Py_TYPE(o->value), o->value);
    return NULL;
}

static PyObject *outcome_wait(PyObject *self, PyObject *const *args, Py_ssize_t n,
                              PyObject *keywords)
{
    int64_t until = deadline_of_call("wait", args, n, keywords);
    if (until < 0)
        return NULL;
    int rc = await(OUTCOME(self), until);
    if (rc && !vainly(rc))
        return rc == -EINTR ? NULL : raise_result(rc);
    Py_RETURN_NONE;
}

static PyObject *outcome_ready(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = await(OUTCOME(self), SHOAL_NOW);
    if (rc && !vainly(rc))
        return rc == -EINTR ? NULL : raise_result(rc);
    return PyBool_FromLong(!rc);
}

static PyObject *outcome_successful(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = await(OUTCOME(self), SHOAL_NOW);
    if (rc == -EINTR)
        return NULL;
    if (rc)
        return PyErr_Format(PyExc_ValueError, "%R not ready", self);
    return PyBool_FromLong(OUTCOME(self)->state == GOOD);
}

/* Tasks that have not begun do not begin; of those that run the workers are killed. */
static PyObject *outcome_cancel(PyObject *self, PyObject *unused)
{
    struct outcome *o = OUTCOME(self);
    struct own *p = o->engine->own;
    (void)unused;
    if (o->state != WAITING || !pool_is_mine(p))
        Py_RETURN_FALSE;
    if (!is_map(o)) {
        int rc = shoal_result_cancel(cell_handle(&o->r->cell));
        if (rc && rc != -EALREADY)
            return raise_result(rc);
        return PyBool_FromLong(!rc);
    }
    os_mutex_lock(&p->mutex);
    bool any = arrivals_cancel(p, MAP(o)->row, true);
    os_mutex_unlock(&p->mutex);
    return PyBool_FromLong(any);
}

/* _withdraw(): True: it had not begun, and never will. */
static PyObject *outcome_withdraw(PyObject *self, PyObject *unused)
{
    struct outcome *o = OUTCOME(self);
    struct own *p = o->engine->own;
    (void)unused;
    if (!o->r || !pool_is_mine(p))
        Py_RETURN_FALSE;
    os_mutex_lock(&p->mutex);
    bool done = result_withdraw(p, o->r);
    os_mutex_unlock(&p->mutex);
    return PyBool_FromLong(done);
}

/* _running(): whether a worker has it. */
static PyObject *outcome_running(PyObject *self, PyObject *unused)
{
    struct outcome *o = OUTCOME(self);
    struct own *p = o->engine->own;
    bool has = false;
    (void)unused;
    if (!o->r || !pool_is_mine(p))
        Py_RETURN_FALSE;
    os_mutex_lock(&p->mutex);
    if (!result_is_ready(o->r)) {
        uint64_t claim = atomic_load(&unit_at(p->shared, o->r->unit)->claim);
        has = claim_state(claim) == UNIT_CLAIMED;
    }
    os_mutex_unlock(&p->mutex);
    return PyBool_FromLong(has);
}

static PyObject *map_count_done(PyObject *self, PyObject *unused)
{
    struct map_outcome *m = MAP(self);
    (void)unused;
    Py_ssize_t n = m->chunks;
    if (m->base.state == WAITING) {
        await(&m->base, SHOAL_NOW);
        if (PyErr_Occurred())
            return NULL;
        if (m->row)
            n = m->chunks - m->given + (Py_ssize_t)atomic_load(&m->row->ready);
    }
    n *= m->chunksize;
    return PyLong_FromSsize_t(n < m->items ? n : m->items);
}

static Py_ssize_t map_length(PyObject *self)
{
    return MAP(self)->items;
}

static int outcome_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct outcome *o = OUTCOME(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(o->engine);
    Py_VISIT(o->pool);
    Py_VISIT(o->function);
    Py_VISIT(o->callback);
    Py_VISIT(o->error_callback);
    Py_VISIT(o->value);
    if (is_map(o)) {
        Py_VISIT(MAP(o)->values);
        Py_VISIT(MAP(o)->failure);
    }
    return 0;
}

static int outcome_clear(PyObject *self)
{
    struct outcome *o = OUTCOME(self);
    Py_CLEAR(o->pool);
    Py_CLEAR(o->callback);
    Py_CLEAR(o->error_callback);
    Py_CLEAR(o->value);
    return 0;
}

static void outcome_destroy(PyObject *self)
{
    struct outcome *o = OUTCOME(self);
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (o->engine)
        let_go(o);
    outcome_clear(self);
    if (is_map(o)) {
        Py_CLEAR(MAP(o)->values);
        Py_CLEAR(MAP(o)->failure);
    }
    Py_CLEAR(o->function);
    Py_CLEAR(o->engine);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- making a map ---- */

enum {
    /* chunks that are given and not done; there is room for twice as many */
    MOST_PENDING = 1000000,
    LOOK = 1024 /* chunks until signals are looked after again */
};

static bool has_room(void *argument)
{
    const struct map_outcome *m = argument;
    return m->row->pending < MOST_PENDING / 2;
}

static PyObject *chunk_of(PyObject *items, Py_ssize_t i, Py_ssize_t size)
{
    Py_ssize_t from = i * size;
    if (size == 1) {
        if (PyTuple_Check(items))
            return PySequence_GetItem(items, from);
        if (from < PyList_GET_SIZE(items))
            return Py_NewRef(PyList_GET_ITEM(items, from));
        PyErr_SetString(PyExc_RuntimeError, "the list changed its size while it was given");
        return NULL;
    }
    return PyTuple_Check(items) ? PyTuple_GetSlice(items, from, from + size)
                                : PyList_GetSlice(items, from, from + size);
}

/* Gives a chunk: 0, or -1 with an exception; what cannot be given is a failure of its own. */
static int give_chunk(struct map_outcome *m, PyObject *items, Py_ssize_t i, enum kind kind)
{
    struct engine *e = m->base.engine;
    struct result *r;
    PyObject *chunk = chunk_of(items, i, m->chunksize);
    int rc = chunk ? engine_give(e, &r, kind, m->base.function, chunk, m->row, (void *)(uintptr_t)i,
                                 m->base.calls ? MINDED : ANY_TIME)
                   : -1;
    Py_XDECREF(chunk);
    if (!rc) {
        m->given++;
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    chunk_failed(m, i, take_exception());
    return 0;
}

static int give_chunks(struct map_outcome *m, PyObject *items, enum kind kind)
{
    for (Py_ssize_t i = 0; i < m->chunks; i++) {
        if (give_chunk(m, items, i, kind))
            return -1;
        if (i % LOOK != LOOK - 1)
            continue;
        if (PyErr_CheckSignals())
            return -1;
        if (m->row->pending >= MOST_PENDING &&
            engine_wait(m->base.engine, has_room, m, SHOAL_FOREVER))
            return -1;
    }
    return 0;
}

PyObject *map_new(PyObject *pool, struct engine *e, PyObject *const *args)
{
    PyObject *function = args[0], *items = args[1];
    bool star = args[2] == Py_True;
    Py_ssize_t chunksize = PyLong_AsSsize_t(args[3]);
    if (chunksize == -1 && PyErr_Occurred())
        return NULL;
    if (!PyList_Check(items) && !PyTuple_Check(items)) {
        PyErr_SetString(PyExc_TypeError, "_map wants a list or a tuple");
        return NULL;
    }
    struct map_outcome *m = MAP(outcome_new(MapResult, e, pool, args[4], args[5]));
    if (!m)
        return NULL;
    struct own *p = e->own;
    m->items = PySequence_Size(items);
    m->chunksize = chunksize > 0 ? chunksize : 1;
    m->chunks = m->bad = (m->items + m->chunksize - 1) / m->chunksize;
    m->values = PyList_New(m->items);
    if (!m->values)
        goto fail;
    if (!m->chunks) {
        m->base.calls = false;
        take_chunks(m);
        return (PyObject *)m;
    }
    if (!p->outstanding)
        PyList_SetSlice(e->kept, 0, PyList_GET_SIZE(e->kept), NULL);
    m->base.function = engine_function(e, function);
    if (!m->base.function && !PyErr_Occurred())
        m->base.function = function_make(function);
    m->row = m->base.function ? calloc(1, sizeof *m->row) : NULL;
    if (!m->row) {
        if (m->base.function)
            PyErr_NoMemory();
        else if (!PyErr_ExceptionMatches(PyExc_Exception))
            goto fail;
        outcome_fail(&m->base);
    } else if (give_chunks(m, items,
                           chunksize > 1 ? star ? CHUNK_STAR : CHUNK
                           : star        ? ITEM_STAR
                                         : ITEM)) {
        os_mutex_lock(&p->mutex);
        arrivals_cancel(p, m->row, true);
        os_mutex_unlock(&p->mutex);
        goto fail;
    }
    if (!m->base.calls)
        return (PyObject *)m;
    if (PyList_Append(e->watched, (PyObject *)m))
        goto fail;
    os_mutex_lock(&p->mutex);
    p->calling++;
    if (m->row)
        arrivals_watch(p, m->row, 0);
    os_mutex_unlock(&p->mutex);
    if (engine_minded(
            e)) /* as in apply_async; and it may have given up since the chunks were given */
        goto fail;
    if (!m->row)
        pool_stir(p);
    return (PyObject *)m;
fail:
    Py_DECREF(m);
    return NULL;
}

/* ---- types ---- */

static PyMethodDef outcome_methods[] = {
    METHOD("get", outcome_get, FAST,
           "get(timeout=None)\n--\n\nWhat it came to: returned, or raised. TimeoutError: not yet."),
    METHOD("wait", outcome_wait, FAST, "wait(timeout=None)\n--\n\nWaits until it is ready."),
    METHOD("ready", outcome_ready, METH_NOARGS, "ready()\n--\n\nWhether it is."),
    METHOD("successful", outcome_successful, METH_NOARGS,
           "successful()\n--\n\nWhether it raised nothing. ValueError: it is not ready."),
    METHOD("cancel", outcome_cancel, METH_NOARGS,
           "cancel()\n--\n\nIt ends with CancelledError, if it is not ready; of what runs the "
           "worker is killed and replaced."),
    METHOD("_withdraw", outcome_withdraw, METH_NOARGS,
           "_withdraw()\n--\n\nTrue: it had not begun, and never will."),
    METHOD("_running", outcome_running, METH_NOARGS, "_running()\n--\n\nWhether a worker has it."),
    METHOD("__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "See PEP 585"),
    {NULL, NULL, 0, NULL},
};
static PyType_Slot outcome_slots[] = {
    {Py_tp_dealloc, outcome_destroy},     {Py_tp_traverse, outcome_traverse},
    {Py_tp_clear, outcome_clear},         {Py_tp_methods, outcome_methods},
    {Py_tp_doc, "The result of a task."}, {0, NULL},
};
static PyType_Spec outcome_spec = {
    .name = "shoal.pool.ApplyResult",
    .basicsize = sizeof(struct outcome),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = outcome_slots,
};

static PyMethodDef map_methods[] = {
    METHOD("_done", map_count_done, METH_NOARGS, "_done()\n--\n\nHow many items are done, about."),
    {NULL, NULL, 0, NULL},
};
static PyType_Slot map_slots[] = {
    {Py_tp_methods, map_methods},
    {Py_sq_length, map_length},
    {Py_tp_dealloc, outcome_destroy},
    {Py_tp_traverse, outcome_traverse},
    {Py_tp_clear, outcome_clear},
    {Py_tp_doc, "The result of a map."},
    {0, NULL},
};
static PyType_Spec map_spec = {
    .name = "shoal.pool.MapResult",
    .basicsize = sizeof(struct map_outcome),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = map_slots,
};

int result_add(PyObject *module)
{
    PyObject *context = PyImport_ImportModule("multiprocessing.context");
    TimeoutError = context ? PyObject_GetAttrString(context, "TimeoutError") : NULL;
    Py_XDECREF(context);
    if (!TimeoutError || add_type(module, &ApplyResult, &outcome_spec))
        return -1;
    PyObject *bases = PyTuple_Pack(1, (PyObject *)ApplyResult);
    MapResult = bases ? (PyTypeObject *)PyType_FromModuleAndSpec(module, &map_spec, bases) : NULL;
    Py_XDECREF(bases);
    return MapResult ? PyModule_AddType(module, MapResult) : -1;
}
