/* imap and imap_unordered: a task for each input (or chunk of inputs) of a row, and their results in the inputs' order or as they come.
 *
 * Inputs are given ahead of what is asked for, AHEAD tasks that are not done at most. Those of a plain container are given by who asks
 * for results, or by the pool's thread if nobody does; others may make their caller wait, so a thread of Python's gives them. One at a
 * time, whoever it is (`feeding`). In any case all inputs are given, whether their results are asked for or not.
 *
 * An input that raises ends the row: the exception is raised behind all results. What cannot be pickled is raised in its place.
 */
#include "pool.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static PyTypeObject *IMapIterator;
static PyObject *TimeoutError;

enum {
    AHEAD = 4096,
    BATCH = AHEAD / 2, /* inputs that are given at once */
    CARE = AHEAD / 4   /* of so many tasks the pool's thread is told of one */
};

/*   given     tasks, and failures in place of tasks
 *   came      of them were taken from `row`, or failed at once; in order: they lie in ring[index % room] until they are passed on
 *   passed    of them were passed on
 *   failures  index: exception, of what could not be given
 *   chunk     a list whose items at `at` … are to be passed on
 *   error     the input's; then NULL
 */
struct imap {
    PyObject_HEAD struct engine *engine;
    PyObject *pool, *source, *failures, *chunk, *error;
    struct function *function;
    struct arrivals *row;
    struct result **ring;
    size_t room;
    uint64_t given, given_tasks, came, passed;
    Py_ssize_t chunksize, at;
    enum kind kind;
    bool ordered, simple, feeding, exhausted;
};
#define IMAP(self) ((struct imap *)(self))

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

/* ---- giving ---- */

static uint64_t done_tasks(const struct imap *it)
{
    return atomic_load_explicit(&it->row->ready, memory_order_relaxed);
}

static bool has_room(const struct imap *it)
{
    return it->given_tasks - done_tasks(it) < AHEAD;
}

/* No more inputs; who waits is told. */
static void end_inputs(struct imap *it)
{
    struct own *p = it->engine->own;
    if (it->exhausted)
        return;
    it->exhausted = true;
    Py_CLEAR(it->source);
    if (!pool_is_mine(p)) /* in a child */
        return;
    engine_fed(it->engine);
    os_mutex_lock(&p->mutex);
    arrivals_unwatch(p, it->row);
    pool_turn(p);
    os_mutex_unlock(&p->mutex);
}

/* The next input, or chunk; NULL: there is none, or an exception. */
static PyObject *next_input(struct imap *it)
{
    PyObject *one, *list;
    if (it->chunksize == 1)
        return PyIter_Next(it->source);
    list = PyList_New(0);
    while (list && PyList_GET_SIZE(list) < it->chunksize && (one = PyIter_Next(it->source))) {
        if (PyList_Append(list, one))
            Py_CLEAR(list);
        Py_DECREF(one);
    }
    /* an exception stands for its whole chunk, as in the standard library */
    if (list && (PyErr_Occurred() || !PyList_GET_SIZE(list)))
        Py_CLEAR(list);
    return list;
}

/* One task more: 0; 1: there are no more. */
static int feed_one(struct imap *it, bool cares)
{
    struct result *r;
    PyObject *input = next_input(it);
    if (!input) {
        if (PyErr_Occurred())
            it->error = take_exception();
        return 1;
    }
    int rc = engine_give(it->engine, &r, it->kind, it->function, input, it->row,
                         (void *)(uintptr_t)it->given, cares ? MINDED : ANY_TIME);
    Py_DECREF(input);
    if (!rc) {
        it->given++;
        it->given_tasks++;
        return 0;
    }
    PyObject *exception = take_exception(), *index = PyLong_FromUnsignedLongLong(it->given);
    if (it->engine->own->over) { /* nothing more can be given */
        Py_XDECREF(index);
        it->error = exception;
        return 1;
    }
    if (!index || PyDict_SetItem(it->failures, index, exception))
        PyErr_Clear();
    Py_XDECREF(index);
    Py_DECREF(exception);
    it->given++;
    return 0;
}

/* Up to `most`, if nobody else does. */
static void feed(struct imap *it, int most)
{
    if (it->feeding || it->exhausted)
        return;
    it->feeding = true;
    int over = 0;
    while (!over && most-- > 0)
        over = feed_one(it, it->simple && most % CARE == 0);
    it->feeding = false;
    if (over)
        end_inputs(it);
}

int imap_feed(PyObject *self)
{
    struct imap *it = IMAP(self);
    if (it->engine->ended)
        end_inputs(it);
    if (!it->exhausted && it->row->pending <= BATCH / 2)
        feed(it, BATCH);
    return !it->exhausted;
}

static bool has_room_now(void *argument)
{
    return has_room(argument) || ((struct imap *)argument)->engine->own->over;
}

/* _feed(): gives all inputs; for a thread of its own. */
static PyObject *imap_feed_all(PyObject *self, PyObject *unused)
{
    struct imap *it = IMAP(self);
    (void)unused;
    while (!it->exhausted) {
        if (it->engine->ended) {
            end_inputs(it);
            break;
        }
        feed(it, 1);
        if (!has_room(it) && engine_wait(it->engine, has_room_now, it, SHOAL_FOREVER)) {
            if (PyErr_Occurred())
                it->error = take_exception();
            end_inputs(it);
        }
    }
    Py_RETURN_NONE;
}

/* ---- taking ---- */

static int make_room(struct imap *it)
{
    uint64_t most = it->given - it->passed;
    if (most < it->room)
        return 0;
    size_t room = it->room ? it->room : 64;
    while (room <= most)
        room *= 2;
    struct result **ring = calloc(room, sizeof *ring);
    if (!ring) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < it->room; i++)
        if (it->ring[i])
            ring[(uintptr_t)it->ring[i]->tag % room] = it->ring[i];
    free(it->ring);
    it->ring = ring;
    it->room = room;
    return 0;
}

/* What came goes to its place in the ring. */
static int sort(struct imap *it)
{
    struct own *p = it->engine->own;
    struct result *r, *first;
    if (!it->row->first)
        return 0;
    if (make_room(it))
        return -1;
    os_mutex_lock(&p->mutex);
    first = it->row->first;
    it->row->first = it->row->last = NULL;
    os_mutex_unlock(&p->mutex);
    for (r = first; r; r = (struct result *)(void *)r->cell.next)
        it->ring[(uintptr_t)r->tag % it->room] = r;
    return 0;
}

/* A failure in place of a task, if it is the next's turn: the exception. */
static PyObject *take_failure(struct imap *it)
{
    PyObject *key = NULL, *value = NULL;
    Py_ssize_t at = 0;
    if (!PyDict_GET_SIZE(it->failures))
        return NULL;
    if (!it->ordered)
        PyDict_Next(it->failures, &at, &key, &value);
    else if ((key = PyLong_FromUnsignedLongLong(it->passed)))
        value = PyDict_GetItemWithError(it->failures, key);
    if (!it->ordered)
        Py_XINCREF(key);
    Py_XINCREF(value);
    if (value && PyDict_DelItem(it->failures, key))
        PyErr_Clear();
    Py_XDECREF(key);
    return value;
}

/* The next result, if it is there, the caller's. */
static struct result *take_result(struct imap *it)
{
    struct own *p = it->engine->own;
    if (!it->ordered) {
        if (!it->row->first)
            return NULL;
        os_mutex_lock(&p->mutex);
        struct result *r = arrivals_take(it->row);
        os_mutex_unlock(&p->mutex);
        return r;
    }
    if (sort(it) || !it->room)
        return NULL;
    struct result **at = &it->ring[it->passed % it->room], *r = *at;
    if (!r || (uintptr_t)r->tag != it->passed)
        return NULL;
    *at = NULL;
    return r;
}

static bool has_come(void *argument)
{
    const struct imap *it = argument;
    return it->row->first || (it->exhausted && it->given == it->passed) ||
           (it->simple && !it->exhausted && !it->feeding && has_room(it));
}

/* The item at `at` of the chunk. */
static PyObject *next_of_chunk(struct imap *it)
{
    PyObject *item = Py_NewRef(PyList_GET_ITEM(it->chunk, it->at++));
    if (it->at == PyList_GET_SIZE(it->chunk))
        Py_CLEAR(it->chunk);
    return item;
}

/* What a result came to: an item, or NULL with what it raised; *again: it was a chunk without items. */
static PyObject *pass_on(struct imap *it, struct result *r, bool *again)
{
    PyObject *value;
    it->passed++;
    int state = result_value(r, &value);
    result_drop(r);
    if (state == GOOD && it->chunksize > 1) {
        if (!PyList_CheckExact(value)) {
            Py_DECREF(value);
            PyErr_SetString(PyExc_RuntimeError, "a chunk of an imap came back as something else");
            return NULL;
        }
        *again = !PyList_GET_SIZE(value);
        it->at = 0;
        if (*again) {
            Py_DECREF(value);
            return NULL;
        }
        Py_XSETREF(it->chunk, value);
        return next_of_chunk(it);
    }
    if (state == GOOD)
        return value;
    if (state == BAD) {
        PyErr_SetObject((PyObject *)Py_TYPE(value), value);
        Py_DECREF(value);
    }
    return NULL;
}

/* The next: NULL without an exception: it is over; *rc: or it is not there yet. */
static PyObject *next(struct imap *it, int64_t deadline, int *rc)
{
    struct result *r;
    PyObject *exception;
    *rc = 0;
    for (;;) {
        bool again = false;
        if (it->chunk)
            return next_of_chunk(it);
        if (it->simple && !it->exhausted && it->given_tasks - done_tasks(it) <= BATCH)
            feed(it, BATCH);
        if (PyErr_Occurred())
            return NULL;
        r = take_result(it);
        if (r) {
            PyObject *item = pass_on(it, r, &again);
            if (!again)
                return item;
            continue;
        }
        exception = PyErr_Occurred() ? NULL : take_failure(it);
        if (exception)
            it->passed++;
        if (!exception && !PyErr_Occurred() && it->exhausted && it->given == it->passed) {
            Py_CLEAR(it->pool);
            exception = it->error;
            it->error = NULL;
            if (!exception)
                return NULL;
        }
        if (exception) {
            PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
            Py_DECREF(exception);
        }
        if (PyErr_Occurred())
            return NULL;
        *rc = engine_wait(it->engine, has_come, it, deadline);
        if (*rc)
            return NULL;
    }
}

static PyObject *imap_iternext(PyObject *self)
{
    int rc;
    PyObject *item = next(IMAP(self), SHOAL_FOREVER, &rc);
    if (rc && rc != -EINTR)
        raise_result(rc);
    return item;
}

static PyObject *imap_next(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    static const char *const names[] = {"timeout"};
    PyObject *timeout = NULL;
    int rc;
    if (!take_arguments(&timeout, names, 1, "next", args, n, keywords))
        return NULL;
    int64_t until = deadline_of(timeout);
    if (until < 0)
        return NULL;
    PyObject *item = next(IMAP(self), until, &rc);
    if (item || PyErr_Occurred())
        return item;
    if (vainly(rc))
        PyErr_SetNone(TimeoutError);
    else if (rc)
        raise_result(rc);
    else
        PyErr_SetNone(PyExc_StopIteration);
    return NULL;
}

static PyObject *cancel(PyObject *self, bool all)
{
    struct imap *it = IMAP(self);
    struct own *p = it->engine->own;
    end_inputs(it);
    os_mutex_lock(&p->mutex);
    bool any = arrivals_cancel(p, it->row, all);
    os_mutex_unlock(&p->mutex);
    return PyBool_FromLong(any);
}

static PyObject *imap_cancel(PyObject *self, PyObject *unused)
{
    (void)unused;
    return cancel(self, true);
}

static PyObject *imap_withdraw(PyObject *self, PyObject *unused)
{
    (void)unused;
    return cancel(self, false);
}

static PyObject *imap_done(PyObject *self, PyObject *unused)
{
    struct imap *it = IMAP(self);
    (void)unused;
    return PyLong_FromUnsignedLongLong((it->given - it->given_tasks + done_tasks(it)) *
                                       (uint64_t)it->chunksize);
}

/* ---- life ---- */

PyObject *imap_new(PyObject *pool, struct engine *e, PyObject *const *args)
{
    struct imap *it = IMAP(IMapIterator->tp_alloc(IMapIterator, 0));
    if (!it)
        return NULL;
    it->engine = (struct engine *)Py_NewRef((PyObject *)e);
    it->pool = Py_NewRef(pool);
    it->simple = args[2] == Py_True;
    it->ordered = args[3] == Py_True;
    it->chunksize = PyLong_AsSsize_t(args[4]);
    it->kind = (enum kind)PyLong_AsLong(args[5]);
    it->failures = PyDict_New();
    it->source = PyErr_Occurred() ? NULL : PyObject_GetIter(args[1]);
    it->row = calloc(1, sizeof *it->row);
    if (it->chunksize > 1)
        it->kind = it->kind == ITEM ? CHUNK : CHUNK_STAR;
    if (!it->source || !it->failures || !it->row) {
        if (!PyErr_Occurred())
            PyErr_NoMemory();
        it->exhausted = true;
        Py_DECREF(it);
        return NULL;
    }
    e->feeding++;
    it->function = engine_function(e, args[0]);
    if (!it->function && !PyErr_Occurred())
        it->function = function_make(args[0]);
    if (!it->function) { /* raised as what its first input would raise */
        it->error = take_exception();
        end_inputs(it);
        return (PyObject *)it;
    }
    if (it->simple) {
        feed(it, AHEAD);
        if (!it->exhausted && PyList_Append(e->hungry, (PyObject *)it)) {
            Py_DECREF(it);
            return NULL;
        }
        os_mutex_lock(&e->own->mutex);
        if (!it->exhausted)
            arrivals_watch(e->own, it->row, BATCH / 2);
        os_mutex_unlock(&e->own->mutex);
    }
    return (PyObject *)it;
}

static int imap_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct imap *it = IMAP(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(it->engine);
    Py_VISIT(it->pool);
    Py_VISIT(it->source);
    Py_VISIT(it->failures);
    Py_VISIT(it->chunk);
    Py_VISIT(it->error);
    Py_VISIT(it->function);
    return 0;
}

static int imap_clear(PyObject *self)
{
    struct imap *it = IMAP(self);
    Py_CLEAR(it->pool);
    Py_CLEAR(it->chunk);
    Py_CLEAR(it->error);
    Py_CLEAR(it->failures);
    return 0;
}

static void imap_destroy(PyObject *self)
{
    struct imap *it = IMAP(self);
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    struct own *p = it->engine->own;
    if (!it->exhausted)
        end_inputs(it);
    if (it->row && pool_is_mine(p)) {
        os_mutex_lock(&p->mutex);
        bool pending = it->row->pending;
        arrivals_leave(it->row);
        os_mutex_unlock(&p->mutex);
        for (size_t i = 0; i < it->room; i++)
            if (it->ring[i])
                result_drop(it->ring[i]);
        if (pending && it->function && it->engine->kept &&
            PyList_Append(it->engine->kept, (PyObject *)it->function))
            PyErr_WriteUnraisable(NULL);
    }
    free(it->ring);
    imap_clear(self);
    Py_CLEAR(it->source);
    Py_CLEAR(it->function);
    Py_CLEAR(it->engine);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    METHOD(
        "next", imap_next, FAST,
        "next(timeout=None)\n--\n\nThe next result: returned, or raised. TimeoutError: not yet."),
    METHOD("cancel", imap_cancel, METH_NOARGS,
           "cancel()\n--\n\nNothing more is given, and what is not ready ends with "
           "CancelledError."),
    METHOD("_withdraw", imap_withdraw, METH_NOARGS,
           "_withdraw()\n--\n\nThe same, but what has begun goes on."),
    METHOD("_feed", imap_feed_all, METH_NOARGS, "_feed()\n--\n\nGives all inputs."),
    METHOD("_done", imap_done, METH_NOARGS, "_done()\n--\n\nHow many inputs are done, about."),
    {NULL, NULL, 0, NULL},
};
static PyType_Slot imap_slots[] = {
    {Py_tp_dealloc, imap_destroy},       {Py_tp_traverse, imap_traverse},
    {Py_tp_clear, imap_clear},           {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, imap_iternext},     {Py_tp_methods, methods},
    {Py_tp_doc, "The results of imap."}, {0, NULL},
};
static PyType_Spec spec = {
    .name = "shoal.pool.IMapIterator",
    .basicsize = sizeof(struct imap),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = imap_slots,
};

int imap_add(PyObject *module)
{
    PyObject *context = PyImport_ImportModule("multiprocessing.context");
    TimeoutError = context ? PyObject_GetAttrString(context, "TimeoutError") : NULL;
    Py_XDECREF(context);
    return TimeoutError ? add_type(module, &IMapIterator, &spec) : -1;
}
