/* A pool's worker: takes tasks, turns them into Python's objects, calls, and turns what that returned or raised into bytes.
 *
 * It holds the GIL while there is something to do, and gives it up before it waits. What a task refers to is dropped before the
 * next one is taken.
 */
#include "parcel.h"
#include "pool.h"
#include "pool/worker.h"
#include <errno.h>
#include <string.h>

/* ---- functions ---- */

enum { KNOWN = 64 };
static struct {
    uint32_t id, generation;
    PyObject *function;
} known[KNOWN];
static unsigned next_known;

static PyObject *read_function(uint32_t id, uint32_t generation)
{
    shoal_reference reference = {view.region->family, id, generation};
    shoal_memory *memory;
    int rc = shoal_memory_open(&memory, &reference);
    if (rc)
        return raise_result(rc);
    const unsigned char *at = shoal_memory_address(memory);
    PyObject *function = decode(at[0], at + 1, shoal_memory_size(memory) - 1);
    shoal_memory_close(memory);
    return function;
}

/* Borrowed. */
static PyObject *function_of(uint32_t id, uint32_t generation)
{
    for (unsigned i = 0; i < KNOWN; i++)
        if (known[i].id == id && known[i].generation == generation && known[i].function)
            return known[i].function;
    PyObject *function = read_function(id, generation);
    if (!function)
        return NULL;
    unsigned i = next_known++ % KNOWN;
    known[i].id = id;
    known[i].generation = generation;
    Py_XSETREF(known[i].function, function);
    return function;
}

/* ---- calls ---- */

static PyObject *call_all(PyObject *function, PyObject *arguments, PyObject *named)
{
    PyObject *tuple =
        PyTuple_CheckExact(arguments) ? Py_NewRef(arguments) : PySequence_Tuple(arguments);
    PyObject *dict = NULL, *value = NULL;
    if (tuple && named && named != Py_None && !PyDict_Check(named)) {
        dict = PyDict_New();
        if (!dict || PyDict_Update(dict, named))
            goto end;
        named = dict;
    }
    if (tuple)
        value = PyObject_Call(function, tuple, named == Py_None ? NULL : named);
end:
    Py_XDECREF(dict);
    Py_XDECREF(tuple);
    return value;
}

static PyObject *call_each(PyObject *function, PyObject *items, bool star)
{
    PyObject *fast = PySequence_Fast(items, "a chunk is a list or a tuple");
    PyObject *list = fast ? PyList_New(PySequence_Fast_GET_SIZE(fast)) : NULL;
    for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); i++) {
        PyObject *item = PySequence_Fast_GET_ITEM(fast, i);
        PyObject *value =
            star ? call_all(function, item, NULL) : PyObject_CallOneArg(function, item);
        if (value)
            PyList_SET_ITEM(list, i, value);
        else
            Py_CLEAR(list);
    }
    Py_XDECREF(fast);
    return list;
}

static PyObject *call(const struct head *head, const unsigned char *bytes, size_t size)
{
    PyObject *function = NULL, *value = NULL;
    if (head->kind != CALL_ALL && !(function = function_of(head->id, head->generation)))
        return NULL;
    Py_XINCREF(function);
    PyObject *argument = decode(head->how, bytes, size);
    if (argument)
        switch ((enum kind)head->kind) {
        case CALL: value = call_all(function, argument, NULL); break;
        case CALL_NAMED:
            value = call_all(function, PyTuple_GetItem(argument, 0), PyTuple_GetItem(argument, 1));
            break;
        case CALL_ALL:
            value = call_all(PyTuple_GetItem(argument, 0), PyTuple_GetItem(argument, 1),
                             PyTuple_GetItem(argument, 2));
            break;
        case ITEM: value = PyObject_CallOneArg(function, argument); break;
        case ITEM_STAR: value = call_all(function, argument, NULL); break;
        case CHUNK:
        case CHUNK_STAR: value = call_each(function, argument, head->kind == CHUNK_STAR); break;
        }
    Py_XDECREF(argument);
    Py_XDECREF(function);
    return value;
}

/* ---- what it gives back ---- */

/* What it gives back holds the objects of the family in it until it is received. */
static int give(shoal_task *task, const struct encoded *e, struct cargo *cargo)
{
    void *to;
    int rc = cargo->objects.count ? task_reserve_carrying(task, &to, e->size + 1, &cargo->objects)
                                  : shoal_task_reserve(task, &to, e->size + 1);
    if (rc) {
        raise_result(rc);
        return -1;
    }
    *(unsigned char *)to = e->how;
    encoded_write(e, (unsigned char *)to + 1);
    return 0;
}

static int give_value(shoal_task *task, enum kind kind, PyObject *value)
{
    struct encoded e;
    struct cargo cargo;
    cargo_watch(&cargo);
    int rc = kind == CHUNK || kind == CHUNK_STAR ? encode_chunk(&e, value) : encode(&e, value);
    cargo_unwatch(&cargo);
    if (!rc) {
        rc = give(task, &e, &cargo);
        encoded_free(&e);
    }
    cargo_end(&cargo);
    return rc;
}

/* The exception that is set: what a task raised, or, with the value, why that cannot be sent. */
static int give_failure(shoal_task *task, PyObject *value)
{
    PyObject *type, *exception, *traceback;
    PyErr_Fetch(&type, &exception, &traceback);
    PyErr_NormalizeException(&type, &exception, &traceback);
    if (traceback)
        PyException_SetTraceback(exception, traceback);
    struct cargo cargo;
    cargo_watch(&cargo);
    PyObject *bytes =
        PyObject_CallFunctionObjArgs(pool_helpers.encode_failure, exception, value, NULL);
    cargo_unwatch(&cargo);
    struct encoded e;
    e.size = 0;
    e.how = FAILED;
    e.is_plain = false;
    e.buffers = NULL;
    e.pickle.obj = e.flat = NULL;
    int rc = bytes ? PyObject_GetBuffer(bytes, &e.pickle, PyBUF_SIMPLE) : -1;
    if (!rc) {
        e.size = (size_t)e.pickle.len;
        rc = give(task, &e, &cargo);
        encoded_free(&e);
    }
    cargo_end(&cargo);
    Py_XDECREF(bytes);
    Py_XDECREF(traceback);
    Py_XDECREF(exception);
    Py_XDECREF(type);
    return rc;
}

int python_task(shoal_task *task)
{
    struct head head = {0};
    size_t size;
    const unsigned char *bytes = shoal_task_bytes(task, &size);
    memcpy(&head, bytes, HEAD);
    PyObject *value = call(&head, bytes + HEAD, size - HEAD);
    int rc = value ? give_value(task, (enum kind)head.kind, value) : give_failure(task, NULL);
    if (rc && value)
        rc = give_failure(task, value);
    Py_XDECREF(value);
    if (!rc)
        return 0;
    PyErr_Clear();
    return shoal_task_fail(-ENOMEM, "what it raised could not be sent");
}

/* ---- a worker's life ---- */

/* Whether the exception that a signal's handler raised while there was nothing to do ends the worker: Ctrl-C does not. */
static bool is_end(void)
{
    if (!PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return true;
    PyErr_Clear();
    return false;
}

/* What it is, as worker_begin wants it. */
static struct worker_start start;

/* pool_hold(reference): the pool stays open until this process ends. */
static PyObject *pool_hold(PyObject *module, PyObject *bytes)
{
    shoal_reference reference;
    void *handle;
    shoal_queue *results;
    (void)module;
    if (reference_from(bytes, &reference))
        return NULL;
    int rc = object_open(&handle, TYPE_POOL, "a worker", &reference);
    if (!rc) {
        const struct pool *q = header_payload(handle_of(handle)->header);
        rc = shoal_queue_open(&results, &q->results);
    }
    if (rc)
        return raise_result(rc);
    Py_RETURN_NONE;
}

/* work_begin(reference, place, memory): False: the pool is gone. */
static PyObject *work_begin(PyObject *module, PyObject *args)
{
    PyObject *bytes;
    int place;
    unsigned long long memory;
    (void)module;
    if (!PyArg_ParseTuple(args, "OiK:work_begin", &bytes, &place, &memory))
        return NULL;
    start = (struct worker_start){.index = (unsigned)place, .later = true};
    start.options.memory_per_worker = memory;
    if (reference_from(bytes, &start.pool))
        return NULL;
    os_signals_block(&start.signals); /* as they are */
    os_signals_restore(&start.signals);
    int rc = shoal_function_register("shoal.python task", (shoal_code)(void (*)(void))python_task);
    if (rc)
        return raise_result(rc);
    return PyBool_FromLong(worker_begin(&start));
}

/* work_ready(refused): 0: its initializer has run. */
static PyObject *work_ready(PyObject *module, PyObject *refused)
{
    (void)module;
    worker_ready((int)PyLong_AsLong(refused));
    Py_RETURN_NONE;
}

/* The next unit, waiting without the GIL; 0: there is none any more, or with an exception. */
static uint64_t next_unit(void)
{
    uint64_t unit = worker_next_now();
    while (!unit) {
        bool interrupted = false;
        Py_BEGIN_ALLOW_THREADS spread_out();
        unit = worker_next(&interrupted);
        Py_END_ALLOW_THREADS if (!interrupted || unit) break;
        if (PyErr_CheckSignals() && is_end())
            break;
    }
    return unit;
}

/* work(most): does tasks, `most` if that is not 0, until the pool is closed. */
static PyObject *work(PyObject *module, PyObject *number)
{
    uint64_t unit, done = 0, most = PyLong_AsUnsignedLongLong(number);
    (void)module;
    while (!PyErr_Occurred() && (!most || done++ < most) && (unit = next_unit())) {
        /* a signal that came while there was nothing to do is no task's */
        if (PyErr_CheckSignals() && is_end())
            break;
        worker_do(unit);
    }
    if (PyErr_Occurred())
        return NULL;
    worker_end(&start);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    METHOD("pool_hold", pool_hold, METH_O,
           "pool_hold(reference)\n--\n\nHolds a pool for the worker that this process will be."),
    METHOD(
        "work_begin", work_begin, METH_VARARGS,
        "work_begin(reference, place, memory)\n--\n\nThis process is a pool's worker: False: the "
        "pool is gone."),
    METHOD("work_ready", work_ready, METH_O, "work_ready(refused)\n--\n\n0: it may have tasks."),
    METHOD("work", work, METH_O, "work(most)\n--\n\nDoes tasks until there are no more."),
    {NULL, NULL, 0, NULL},
};

int work_add(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
