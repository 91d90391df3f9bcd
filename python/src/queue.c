/* Queue and SimpleQueue: the C library's queues, with Python's names.
 *
 * put and get are what programs spend their time in: they look at their arguments by hand. A Queue that was
 * closed refuses both, but its process goes on to hold it until the object is gone, for join and qsize; a
 * SimpleQueue gives it up at once, or when the last call that is under way there has returned.
 */
#include "queue.h"
#include "polled.h"
#include <errno.h>
#include <string.h>

static PyTypeObject *Queue, *SimpleQueue;

shoal_queue *queue_handle(PyObject *object)
{
    return PyObject_TypeCheck(object, Queue) || PyObject_TypeCheck(object, SimpleQueue)
               ? QUEUE(object)->handle
               : NULL;
}

/* ---- making and ending ---- */

static int queue_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"maxsize", "name", NULL};
    Py_ssize_t maxsize = 0;
    const char *name = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|n$z:Queue", names, &maxsize, &name))
        return -1;
    if (QUEUE(self)->handle) {
        PyErr_SetString(PyExc_RuntimeError, "__init__ was called before");
        return -1;
    }
    uint64_t most = maxsize > 0 ? (uint64_t)maxsize : 0;
    int rc = shoal_queue_create(&QUEUE(self)->handle,
                                &(shoal_queue_options){.maxsize = most, .name = name});
    return rc ? (raise_result(rc), -1) : 0;
}

static void give_up(struct queue *q)
{
    if (calls_none(&q->calls))
        q->handle = shoal_queue_close(q->handle);
}

static void queue_destroy(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    polled_end(self);
    Py_CLEAR(QUEUE(self)->left.list);
    shoal_queue_close(QUEUE(self)->handle);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *queue_open(PyObject *self, PyObject *bytes)
{
    shoal_reference reference;
    if (reference_from(bytes, &reference))
        return NULL;
    if (QUEUE(self)->handle)
        return PyErr_Format(PyExc_RuntimeError, "the queue is open already");
    int rc = shoal_queue_open(&QUEUE(self)->handle, &reference);
    if (rc)
        return raise_result(rc);
    Py_RETURN_NONE;
}

static PyObject *queue_reference(PyObject *self, PyObject *unused)
{
    shoal_reference r;
    (void)unused;
    int rc = shoal_queue_reference(QUEUE(self)->handle, &r);
    return rc ? raise_result(rc) : reference_bytes(&r);
}

PyObject *queue_refuse(PyObject *self)
{
    if (PyObject_TypeCheck(self, SimpleQueue))
        return PyErr_Format(PyExc_OSError, "handle is closed");
    return PyErr_Format(PyExc_ValueError, "Queue %R is closed", self);
}

/* ---- put ---- */

/* What happens with an exception that pickling raised is for Python to say. */
static PyObject *not_pickled(PyObject *self, PyObject *object)
{
    PyObject *type, *value, *trace;
    if (!PyErr_ExceptionMatches(PyExc_Exception) || !PyObject_TypeCheck(self, Queue))
        return NULL;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace)
        PyException_SetTraceback(value, trace);
    PyObject *result =
        PyObject_CallMethodObjArgs(self, python_state.names._not_pickled, value, object, NULL);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return result;
}

__attribute__((noinline)) PyObject *queue_put_failed(PyObject *self, PyObject *object, int rc)
{
    if (rc == PARCEL_NOT_PICKLED)
        return not_pickled(self, object);
    if (vainly(rc))
        PyErr_SetNone(python_state.Full);
    else if (rc == -EPIPE)
        PyErr_SetNone(python_state.ShutDown);
    else
        raise_result(rc);
    return NULL;
}

static inline PyObject *put(PyObject *self, PyObject *object, int64_t until, const char *call)
{
    struct queue *q = QUEUE(self);
    struct port port;
    if (q->closed)
        return queue_refuse(self);
    int rc = port_of_queue(&port, q->handle, call);
    if (rc)
        return raise_result(rc);
    q->used = true;
    calls_begin(&q->calls);
    rc = parcel_put(&port, object, until);
    calls_end(&q->calls);
    if (!rc)
        Py_RETURN_NONE;
    return queue_put_failed(self, object, rc);
}

PyObject *queue_put_one(PyObject *self, PyObject *object, int64_t until, const char *call)
{
    return put(self, object, until, call);
}

static PyObject *queue_put(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    static const char *const names[] = {"obj", "block", "timeout"};
    PyObject *given[3] = {NULL, NULL, NULL};
    if (n == 1 && !keywords)
        return put(self, args[0], SHOAL_FOREVER, "put");
    if (!take_arguments(given, names, 3, "put", args, n, keywords))
        return NULL;
    if (!given[0])
        return PyErr_Format(PyExc_TypeError, "put is given nothing to put: obj");
    int64_t until = deadline_of_block(given[1], given[2]);
    return until < 0 ? NULL : put(self, given[0], until, "put");
}

static PyObject *queue_put_nowait(PyObject *self, PyObject *object)
{
    return put(self, object, SHOAL_NOW, "put_nowait");
}

static PyObject *simple_put(PyObject *self, PyObject *object)
{
    PyObject *result = put(self, object, SHOAL_FOREVER, "put");
    struct queue *q = QUEUE(self);
    if (q->closed)
        give_up(q);
    return result;
}

/* ---- get ---- */

PyObject *queue_get_failed(int rc)
{
    if (vainly(rc))
        PyErr_SetNone(python_state.Empty);
    else if (rc == -EPIPE)
        PyErr_SetNone(python_state.ShutDown);
    else if (rc)
        raise_result(rc);
    return NULL;
}

static inline PyObject *get(PyObject *self, int64_t until, bool as_view, const char *call)
{
    struct queue *q = QUEUE(self);
    struct port port;
    if (q->closed)
        return queue_refuse(self);
    if (unlikely(q->left.list) && queue_left(q))
        return queue_take_left(q);
    int rc = port_of_queue(&port, q->handle, call);
    if (rc)
        return raise_result(rc);
    calls_begin(&q->calls);
    PyObject *object = parcel_get(&port, until, as_view, &rc);
    calls_end(&q->calls);
    return object ? object : queue_get_failed(rc);
}

static PyObject *queue_get(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    static const char *const names[] = {"block", "timeout", "view"};
    PyObject *given[3] = {NULL, NULL, NULL};
    if (!n && !keywords)
        return get(self, SHOAL_FOREVER, false, "get");
    if (n > 2)
        return PyErr_Format(PyExc_TypeError,
                            "get takes at most 2 arguments without a name, not %zd", n);
    if (!take_arguments(given, names, 3, "get", args, n, keywords))
        return NULL;
    int as_view = given[2] ? PyObject_IsTrue(given[2]) : 0;
    int64_t until = as_view < 0 ? -1 : deadline_of_block(given[0], given[1]);
    return until < 0 ? NULL : get(self, until, as_view, "get");
}

static PyObject *queue_get_nowait(PyObject *self, PyObject *unused)
{
    (void)unused;
    return get(self, SHOAL_NOW, false, "get_nowait");
}

static PyObject *simple_get(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    static const char *const names[] = {"view"};
    PyObject *given = NULL;
    if ((n || keywords) && !take_arguments(&given, names, 1, "get", args, n, keywords))
        return NULL;
    int as_view = given ? PyObject_IsTrue(given) : 0;
    PyObject *object = as_view < 0 ? NULL : get(self, SHOAL_FOREVER, as_view, "get");
    if (QUEUE(self)->closed)
        give_up(QUEUE(self));
    return object;
}

/* ---- looking ---- */

static PyObject *queue_qsize(PyObject *self, PyObject *unused)
{
    (void)unused;
    int64_t n = shoal_queue_qsize(QUEUE(self)->handle);
    return n < 0 ? raise_result((int)n) : PyLong_FromLongLong(n + queue_left(QUEUE(self)));
}

static PyObject *told(int rc)
{
    return rc < 0 ? raise_result(rc) : PyBool_FromLong(rc);
}

/* As the standard library's, whose reader is closed with a queue that was used. */
static PyObject *queue_empty(PyObject *self, PyObject *unused)
{
    struct queue *q = QUEUE(self);
    (void)unused;
    if (q->closed && (q->used || !q->handle))
        return PyErr_Format(PyExc_OSError, "handle is closed");
    if (queue_left(q))
        Py_RETURN_FALSE;
    return told(shoal_queue_empty(q->handle));
}

static PyObject *queue_bound(PyObject *self, PyObject *unused)
{
    struct port port;
    (void)unused;
    int rc = port_of_queue(&port, QUEUE(self)->handle, "maxsize");
    return rc ? raise_result(rc) : PyLong_FromUnsignedLongLong(port.lanes->maxsize);
}

static PyObject *queue_full(PyObject *self, PyObject *unused)
{
    (void)unused;
    return told(shoal_queue_full(QUEUE(self)->handle));
}

static PyObject *queue_poll(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct queue *q = QUEUE(self);
    struct port port;
    int64_t until = n ? deadline_of(args[0]) : SHOAL_NOW;
    if (until < 0)
        return NULL;
    if (q->closed && (q->used || !q->handle))
        return PyErr_Format(PyExc_OSError, "handle is closed");
    if (queue_left(q))
        Py_RETURN_TRUE;
    int rc = port_of_queue(&port, q->handle, "poll");
    if (rc)
        return raise_result(rc);
    calls_begin(&q->calls);
    WAIT(rc, until, port_poll(&port, deadline));
    calls_end(&q->calls);
    if (vainly(rc))
        Py_RETURN_FALSE;
    if (rc)
        return raise_result(rc);
    Py_RETURN_TRUE;
}

bool queue_look(PyObject *object)
{
    struct port port;
    if (!PyObject_TypeCheck(object, Queue) && !PyObject_TypeCheck(object, SimpleQueue))
        return false;
    if (QUEUE(object)->handle && !port_of_queue(&port, QUEUE(object)->handle, "poll"))
        port_poll(&port, SHOAL_NOW);
    return true;
}

static PyObject *queue_fileno(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (!QUEUE(self)->handle)
        return PyErr_Format(PyExc_OSError, "handle is closed");
    int rc = shoal_queue_fileno(QUEUE(self)->handle);
    if (rc >= 0 && polled_begin(self))
        return NULL;
    return rc < 0 ? raise_result(rc) : PyLong_FromLong(rc);
}

/* ---- ending ---- */

static PyObject *queue_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    QUEUE(self)->closed = true;
    Py_RETURN_NONE;
}

static PyObject *simple_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    QUEUE(self)->closed = true;
    give_up(QUEUE(self));
    Py_RETURN_NONE;
}

static PyObject *queue_shutdown(PyObject *self, PyObject *const *args, Py_ssize_t n,
                                PyObject *keywords)
{
    static const char *const names[] = {"immediate"};
    PyObject *immediate = NULL;
    if (!take_arguments(&immediate, names, 1, "shutdown", args, n, keywords))
        return NULL;
    int at_once = immediate ? PyObject_IsTrue(immediate) : 0;
    if (at_once < 0)
        return NULL;
    int rc = shoal_queue_shutdown(QUEUE(self)->handle, at_once);
    if (rc)
        return raise_result(rc);
    Py_RETURN_NONE;
}

static PyObject *queue_task_done(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = shoal_queue_task_done(QUEUE(self)->handle);
    if (rc == -EINVAL && QUEUE(self)->handle)
        return PyErr_Format(PyExc_ValueError, "task_done() called too many times");
    if (rc)
        return raise_result(rc);
    Py_RETURN_NONE;
}

static PyObject *queue_join(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    static const char *const names[] = {"timeout"};
    PyObject *timeout = NULL;
    struct queue *q = QUEUE(self);
    int rc;
    if (!take_arguments(&timeout, names, 1, "join", args, n, keywords))
        return NULL;
    int64_t until = deadline_of(timeout);
    if (until < 0)
        return NULL;
    calls_begin(&q->calls);
    WAIT(rc, until, shoal_queue_join(q->handle, deadline));
    calls_end(&q->calls);
    if (vainly(rc))
        Py_RETURN_FALSE;
    if (rc)
        return raise_result(rc);
    if (timeout && timeout != Py_None)
        Py_RETURN_TRUE;
    Py_RETURN_NONE;
}

static PyObject *queue_get_closed(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(QUEUE(self)->closed);
}

/* ---- the types ---- */

#define COMMON                                                                                     \
    METHOD("_open", queue_open, METH_O, "_open(reference): becomes the same in another process."), \
        METHOD("_reference", queue_reference, METH_NOARGS, "_reference(): for _open."),            \
        METHOD("_poll", queue_poll, METH_FASTCALL,                                                 \
               "_poll(timeout=0.0, /)\n--\n\nWaits until there is something to get: whether."),    \
        METHOD("_fileno", queue_fileno, METH_NOARGS,                                               \
               "_fileno()\n--\n\nA descriptor, readable if there may be something to get."),       \
        METHOD("empty", queue_empty, METH_NOARGS,                                                  \
               "empty()\n--\n\nWhether there is nothing in it at this moment.")

static PyMethodDef queue_methods[] = {
    COMMON,
    METHOD("put", queue_put, FAST,
           "put(obj, block=True, timeout=None)\n--\n\nPuts an object. It is in the queue when this "
           "returns. "
           "Full: there was no room in time. What pickling raises is raised here."),
    METHOD("get", queue_get, FAST,
           "get(block=True, timeout=None, *, view=False)\n--\n\nTakes the oldest object. Empty: "
           "there was none "
           "in time. view=True: long bytes come as a memoryview, and arrays of NumPy without "
           "having been copied: "
           "they lie in shared memory until they are dropped."),
    METHOD("put_nowait", queue_put_nowait, METH_O, "put_nowait(obj)\n--\n\nput(obj, False)"),
    METHOD("get_nowait", queue_get_nowait, METH_NOARGS, "get_nowait()\n--\n\nget(False)"),
    METHOD("put_many", queue_put_many, FAST,
           "put_many(objects, block=True, timeout=None)\n--\n\nPuts them in this order: how many, "
           "which is all "
           "unless time ran out. Full: not even the first."),
    METHOD("get_many", queue_get_many, FAST,
           "get_many(n=256, block=True, timeout=None)\n--\n\nTakes up to n objects that there are, "
           "waiting only "
           "for the first: a list. Empty: there was none in time."),
    METHOD("qsize", queue_qsize, METH_NOARGS, "qsize()\n--\n\nHow many objects are in it, about."),
    METHOD("_bound", queue_bound, METH_NOARGS, "_bound(): its maxsize; 0: none."),
    METHOD("full", queue_full, METH_NOARGS, "full()\n--\n\nWhether it has maxsize objects."),
    METHOD(
        "close", queue_close, METH_NOARGS,
        "close()\n--\n\nThis process puts and gets no more (ValueError). What it has put stays."),
    METHOD("shutdown", queue_shutdown, FAST,
           "shutdown(immediate=False)\n--\n\nNothing is put any more, by any process (ShutDown); "
           "when it is "
           "empty, or at once if so asked, get raises ShutDown too."),
    METHOD("_task_done", queue_task_done, METH_NOARGS, "One object that was got is finished."),
    METHOD("_join", queue_join, FAST, "Waits until all that was put is finished."),
    {NULL, NULL, 0, NULL},
};
static PyMethodDef simple_methods[] = {
    COMMON,
    METHOD("put", simple_put, METH_O, "put(obj)\n--\n\nPuts an object."),
    METHOD("get", simple_get, FAST,
           "get(*, view=False)\n--\n\nTakes the oldest object, waiting for it."),
    METHOD("close", simple_close, METH_NOARGS, "close()\n--\n\nThis process gives it up."),
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef queue_getset[] = {
    {"_closed", queue_get_closed, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot queue_slots[] = {
    {Py_tp_init, queue_init},
    {Py_tp_dealloc, queue_destroy},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {Py_tp_doc, "Queue(maxsize=0, *, name=None)\n--\n\nA queue, first in, first out."},
    {0, NULL},
};
static PyType_Spec queue_spec = {
    .name = "shoal._shoal.Queue",
    .basicsize = sizeof(struct queue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = queue_slots,
};
static PyType_Slot simple_slots[] = {
    {Py_tp_init, queue_init},
    {Py_tp_dealloc, queue_destroy},
    {Py_tp_methods, simple_methods},
    {Py_tp_getset, queue_getset},
    {Py_tp_doc, "SimpleQueue(*, name=None)\n--\n\nA queue without a bound."},
    {0, NULL},
};
static PyType_Spec simple_spec = {
    .name = "shoal._shoal.SimpleQueue",
    .basicsize = sizeof(struct queue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = simple_slots,
};

int queue_add(PyObject *module)
{
    return add_type(module, &Queue, &queue_spec) || add_type(module, &SimpleQueue, &simple_spec)
               ? -1
               : 0;
}
