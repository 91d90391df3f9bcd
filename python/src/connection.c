/* Connection: the end of a pipe; and waiting for whichever of many comes first.
 *
 * Its errors are those of the standard library's connections: EOFError, OSError, BufferTooShort. A close while
 * another thread is in a call there takes effect when the last such call has returned.
 */
#include "parcel.h"
#include "polled.h"
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static PyTypeObject *Connection;

struct connection {
    PyObject_HEAD shoal_connection *handle;
    struct calls calls;
    int fd; /* of an end that only sends, + 1: always writable; 0: none yet */
    bool closed, readable, writable;
};
#define CONNECTION(self) ((struct connection *)(self))

/* ---- making and ending ---- */

static PyObject *make(PyTypeObject *type, shoal_connection *handle, bool readable, bool writable)
{
    PyObject *self = type->tp_alloc(type, 0);
    if (!self) {
        shoal_connection_close(handle);
        return NULL;
    }
    CONNECTION(self)->handle = handle;
    CONNECTION(self)->readable = readable;
    CONNECTION(self)->writable = writable;
    return self;
}

/* _pipe(type, duplex, name): two ends. */
static PyObject *connection_pipe(PyObject *type, PyObject *args)
{
    shoal_connection *ends[2];
    int duplex;
    const char *name = NULL;
    if (!PyArg_ParseTuple(args, "p|z:_pipe", &duplex, &name))
        return NULL;
    int rc = shoal_pipe(&ends[0], &ends[1],
                        &(shoal_pipe_options){.flags = duplex ? 0 : SHOAL_ONE_WAY, .name = name});
    if (rc)
        return raise_result(rc);
    PyObject *first = make((PyTypeObject *)type, ends[0], true, duplex);
    PyObject *second = make((PyTypeObject *)type, ends[1], duplex, true);
    PyObject *pair = first && second ? PyTuple_Pack(2, first, second) : NULL;
    Py_XDECREF(first);
    Py_XDECREF(second);
    return pair;
}

static PyObject *connection_open(PyObject *type, PyObject *bytes)
{
    shoal_reference reference;
    shoal_connection *handle;
    struct port port;
    if (reference_from(bytes, &reference))
        return NULL;
    int rc = shoal_connection_open(&handle, &reference);
    return rc ? raise_result(rc)
              : make((PyTypeObject *)type, handle, !port_of_end(&port, handle, false, "open"),
                     !port_of_end(&port, handle, true, "open"));
}

/* If it was closed, and this was the last call. */
static void give_up(struct connection *c)
{
    if (!c->closed || !calls_none(&c->calls))
        return;
    c->handle = shoal_connection_close(c->handle);
    if (c->fd)
        close(c->fd - 1);
    c->fd = 0;
}

static void connection_destroy(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    polled_end(self);
    CONNECTION(self)->closed = true;
    CONNECTION(self)->calls.n = 0;
    give_up(CONNECTION(self));
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *closed(void)
{
    return PyErr_Format(PyExc_OSError, "handle is closed");
}

static bool may_send(struct connection *c)
{
    if (c->closed || !c->handle)
        return closed(), false;
    if (!c->writable)
        PyErr_SetString(PyExc_OSError, "connection is read-only");
    return c->writable;
}

static bool may_receive(struct connection *c)
{
    if (c->closed || !c->handle)
        return closed(), false;
    if (!c->readable)
        PyErr_SetString(PyExc_OSError, "connection is write-only");
    return c->readable;
}

static PyObject *connection_reference(PyObject *self, PyObject *unused)
{
    shoal_reference r;
    (void)unused;
    if (CONNECTION(self)->closed)
        return closed();
    int rc = shoal_connection_reference(CONNECTION(self)->handle, &r);
    return rc ? raise_result(rc) : reference_bytes(&r);
}

static PyObject *connection_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    CONNECTION(self)->closed = true;
    give_up(CONNECTION(self));
    Py_RETURN_NONE;
}

static PyObject *connection_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_INCREF(self);
    return self;
}

static PyObject *connection_exit(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    return connection_close(self, NULL);
}

static PyObject *connection_del(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    Py_RETURN_NONE;
}

/* ---- sending ---- */

static PyObject *sent(int rc)
{
    if (!rc)
        Py_RETURN_NONE;
    if (rc == PARCEL_NOT_PICKLED)
        return NULL;
    if (rc == -EPIPE) {
        errno = EPIPE;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return raise_result(rc);
}

static PyObject *connection_send(PyObject *self, PyObject *object)
{
    struct connection *c = CONNECTION(self);
    struct port port;
    if (!may_send(c))
        return NULL;
    int rc = port_of_end(&port, c->handle, true, "send");
    if (rc)
        return raise_result(rc);
    calls_begin(&c->calls);
    rc = parcel_put(&port, object, SHOAL_FOREVER);
    calls_end(&c->calls);
    if (unlikely(c->closed))
        give_up(c);
    return sent(rc);
}

/* An index argument, or what it is without one. */
static bool index_of(PyObject *o, Py_ssize_t otherwise, Py_ssize_t *ret)
{
    *ret = o && o != Py_None ? PyNumber_AsSsize_t(o, PyExc_OverflowError) : otherwise;
    return *ret != -1 || !PyErr_Occurred();
}

/* Which of n bytes: false with ValueError. */
static bool range_of(PyObject *const given[2], Py_ssize_t n, Py_ssize_t *offset, Py_ssize_t *size)
{
    const char *wrong = NULL;
    if (!index_of(given[0], 0, offset) || !index_of(given[1], n - *offset, size))
        return false;
    if (*offset < 0)
        wrong = "offset is negative";
    else if (n < *offset)
        wrong = "buffer length < offset";
    else if (*size < 0)
        wrong = "size is negative";
    else if (*size > n - *offset)
        wrong = "buffer length < offset + size";
    if (wrong)
        PyErr_SetString(PyExc_ValueError, wrong);
    return !wrong;
}

static PyObject *connection_send_bytes(PyObject *self, PyObject *const *args, Py_ssize_t n,
                                       PyObject *keywords)
{
    static const char *const names[] = {"buf", "offset", "size"};
    PyObject *given[3] = {NULL, NULL, NULL};
    struct connection *c = CONNECTION(self);
    struct port port;
    Py_buffer buffer;
    Py_ssize_t offset, size;
    if (!take_arguments(given, names, 3, "send_bytes", args, n, keywords))
        return NULL;
    if (!given[0])
        return PyErr_Format(PyExc_TypeError, "send_bytes is given nothing to send: buf");
    if (!may_send(c) || PyObject_GetBuffer(given[0], &buffer, PyBUF_SIMPLE))
        return NULL;
    if (!range_of(given + 1, buffer.len, &offset, &size)) {
        PyBuffer_Release(&buffer);
        return NULL;
    }
    int rc = port_of_end(&port, c->handle, true, "send_bytes");
    if (!rc) {
        calls_begin(&c->calls);
        WAIT(rc, SHOAL_FOREVER,
             port_put(&port, (const char *)buffer.buf + offset, (size_t)size, deadline));
        calls_end(&c->calls);
        if (unlikely(c->closed))
            give_up(c);
    }
    PyBuffer_Release(&buffer);
    return sent(rc);
}

/* ---- receiving ---- */

static PyObject *not_received(int rc)
{
    if (rc == -EPIPE)
        PyErr_SetNone(PyExc_EOFError);
    else if (rc)
        raise_result(rc);
    return NULL;
}

static PyObject *receive(struct connection *c, bool bytes, bool as_view, const char *call)
{
    struct port port;
    if (!may_receive(c))
        return NULL;
    int rc = port_of_end(&port, c->handle, false, call);
    if (rc)
        return raise_result(rc);
    calls_begin(&c->calls);
    PyObject *object = bytes ? parcel_get_bytes(&port, SHOAL_FOREVER, &rc)
                             : parcel_get(&port, SHOAL_FOREVER, as_view, &rc);
    calls_end(&c->calls);
    if (unlikely(c->closed))
        give_up(c);
    return object ? object : not_received(rc);
}

static PyObject *connection_recv(PyObject *self, PyObject *const *args, Py_ssize_t n,
                                 PyObject *keywords)
{
    static const char *const names[] = {"view"};
    PyObject *viewed = NULL;
    if (n)
        return PyErr_Format(PyExc_TypeError, "recv takes no arguments without a name");
    if (keywords && !take_arguments(&viewed, names, 1, "recv", args, n, keywords))
        return NULL;
    int as_view = viewed ? PyObject_IsTrue(viewed) : 0;
    return as_view < 0 ? NULL : receive(CONNECTION(self), false, as_view, "recv");
}

static PyObject *connection_recv_bytes(PyObject *self, PyObject *const *args, Py_ssize_t n,
                                       PyObject *keywords)
{
    static const char *const names[] = {"maxlength"};
    PyObject *given = NULL;
    Py_ssize_t most;
    struct connection *c = CONNECTION(self);
    if (!take_arguments(&given, names, 1, "recv_bytes", args, n, keywords) ||
        !index_of(given, PY_SSIZE_T_MAX, &most) || !may_receive(c))
        return NULL;
    if (most < 0)
        return PyErr_Format(PyExc_ValueError, "negative maxlength");
    PyObject *bytes = receive(c, true, false, "recv_bytes");
    if (!bytes || PyBytes_GET_SIZE(bytes) <= most)
        return bytes;
    Py_DECREF(bytes);
    if (c->writable)
        c->readable = false;
    else
        Py_XDECREF(connection_close((PyObject *)c, NULL));
    return PyErr_Format(PyExc_OSError, "bad message length");
}

static PyObject *connection_recv_bytes_into(PyObject *self, PyObject *const *args, Py_ssize_t n,
                                            PyObject *keywords)
{
    static const char *const names[] = {"buf", "offset"};
    PyObject *given[2] = {NULL, NULL}, *bytes = NULL, *result = NULL;
    Py_buffer buffer;
    Py_ssize_t offset;
    if (!take_arguments(given, names, 2, "recv_bytes_into", args, n, keywords))
        return NULL;
    if (!given[0])
        return PyErr_Format(PyExc_TypeError, "recv_bytes_into is given nowhere to receive to: buf");
    if (!may_receive(CONNECTION(self)) || PyObject_GetBuffer(given[0], &buffer, PyBUF_WRITABLE))
        return NULL;
    if (!index_of(given[1], 0, &offset))
        ;
    else if (offset < 0)
        PyErr_SetString(PyExc_ValueError, "negative offset");
    else if (offset > buffer.len)
        PyErr_SetString(PyExc_ValueError, "offset too large");
    else
        bytes = receive(CONNECTION(self), true, false, "recv_bytes_into");
    if (bytes && PyBytes_GET_SIZE(bytes) <= buffer.len - offset) {
        memcpy((char *)buffer.buf + offset, PyBytes_AS_STRING(bytes),
               (size_t)PyBytes_GET_SIZE(bytes));
        result = PyLong_FromSsize_t(PyBytes_GET_SIZE(bytes));
    } else if (bytes) {
        PyErr_SetObject(python_state.BufferTooShort, bytes);
    }
    Py_XDECREF(bytes);
    PyBuffer_Release(&buffer);
    return result;
}

static PyObject *connection_poll(PyObject *self, PyObject *const *args, Py_ssize_t n,
                                 PyObject *keywords)
{
    static const char *const names[] = {"timeout"};
    PyObject *timeout = NULL;
    struct connection *c = CONNECTION(self);
    struct port port;
    if (!take_arguments(&timeout, names, 1, "poll", args, n, keywords))
        return NULL;
    int64_t until = timeout ? deadline_of(timeout) : SHOAL_NOW;
    if (until < 0 || !may_receive(c))
        return NULL;
    int rc = port_of_end(&port, c->handle, false, "poll");
    if (rc)
        return raise_result(rc);
    calls_begin(&c->calls);
    WAIT(rc, until, port_poll(&port, deadline));
    calls_end(&c->calls);
    if (unlikely(c->closed))
        give_up(c);
    if (vainly(rc))
        Py_RETURN_FALSE;
    if (rc)
        return raise_result(rc);
    Py_RETURN_TRUE;
}

/* ---- descriptors ---- */

bool connection_look(PyObject *object)
{
    struct port port;
    if (!PyObject_TypeCheck(object, Connection))
        return false;
    const struct connection *c = CONNECTION(object);
    if (!c->closed && c->handle && !port_of_end(&port, c->handle, false, "poll"))
        port_poll(&port, SHOAL_NOW);
    return true;
}

static PyObject *connection_fileno(PyObject *self, PyObject *unused)
{
    struct connection *c = CONNECTION(self);
    (void)unused;
    if (c->closed || !c->handle)
        return closed();
    if (c->readable) {
        int rc = shoal_connection_fileno(c->handle);
        if (rc >= 0 && polled_begin(self))
            return NULL;
        return rc < 0 ? raise_result(rc) : PyLong_FromLong(rc);
    }
    if (!c->fd) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
        c->fd = fd + 1;
    }
    return PyLong_FromLong(c->fd - 1);
}

/* wait(items, timeout): of a list of Connections, queues and descriptors, which are ready: a list of as many bools, or
 * None if none became so in time. */
static PyObject *wait_many(PyObject *module, PyObject *args)
{
    PyObject *list, *timeout = NULL, *result = NULL;
    int rc = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!|O:wait", &PyList_Type, &list, &timeout))
        return NULL;
    size_t n = (size_t)PyList_GET_SIZE(list);
    int64_t until = deadline_of(timeout);
    shoal_waitable *items = until < 0 ? NULL : PyMem_Calloc(n ? n : 1, sizeof *items);
    if (!items)
        return until < 0 ? NULL : PyErr_NoMemory();
    for (size_t i = 0; i < n; i++) {
        PyObject *o = PyList_GET_ITEM(list, (Py_ssize_t)i);
        if (PyObject_TypeCheck(o, Connection)) {
            if (!may_receive(CONNECTION(o)))
                goto end;
            items[i] = (shoal_waitable){.kind = SHOAL_WAIT_CONNECTION,
                                        .connection = CONNECTION(o)->handle};
        } else if (queue_handle(o)) {
            items[i] = (shoal_waitable){.kind = SHOAL_WAIT_QUEUE, .queue = queue_handle(o)};
        } else {
            int fd = PyObject_AsFileDescriptor(o);
            if (fd < 0)
                goto end;
            items[i] = (shoal_waitable){.kind = SHOAL_WAIT_FD, .fd = fd};
        }
    }
    /* What is closed meanwhile by another thread stays open until this has returned. */
    for (size_t i = 0; i < n; i++)
        if (items[i].kind == SHOAL_WAIT_CONNECTION)
            calls_begin(&CONNECTION(PyList_GET_ITEM(list, (Py_ssize_t)i))->calls);
    WAIT(rc, until, shoal_wait(items, n, deadline));
    for (size_t i = 0; i < n; i++)
        if (items[i].kind == SHOAL_WAIT_CONNECTION) {
            struct connection *c = CONNECTION(PyList_GET_ITEM(list, (Py_ssize_t)i));
            calls_end(&c->calls);
            give_up(c);
        }
    if (vainly(rc)) {
        Py_INCREF(Py_None);
        result = Py_None;
    } else if (rc < 0) {
        raise_result(rc);
    } else {
        result = PyList_New((Py_ssize_t)n);
        for (size_t i = 0; result && i < n; i++)
            PyList_SET_ITEM(result, (Py_ssize_t)i, PyBool_FromLong(items[i].ready));
    }
end:
    PyMem_Free(items);
    return result;
}

/* ---- the type ---- */

static PyObject *get_closed(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(CONNECTION(self)->closed);
}
static PyObject *get_readable(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(CONNECTION(self)->readable);
}
static PyObject *get_writable(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(CONNECTION(self)->writable);
}

static PyObject *get_calls(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSsize_t(CONNECTION(self)->calls.n);
}

static PyMethodDef connection_methods[] = {
    METHOD("_pipe", connection_pipe, METH_VARARGS | METH_CLASS,
           "_pipe(duplex, name=None): two ends."),
    METHOD("_open", connection_open, METH_O | METH_CLASS,
           "_open(reference): the same end in another process."),
    METHOD("_reference", connection_reference, METH_NOARGS, "_reference(): for _open."),
    METHOD("send", connection_send, METH_O,
           "send(obj)\n--\n\nSends an object. BrokenPipeError: nobody has the other end open any "
           "more."),
    METHOD("send_bytes", connection_send_bytes, FAST,
           "send_bytes(buf, offset=0, size=None)\n--\n\nSends these bytes as one message."),
    METHOD("recv", connection_recv, FAST,
           "recv(*, view=False)\n--\n\nReceives an object. EOFError: nobody has the other end open "
           "any more, and "
           "all that was sent has been received. view: as get's of a Queue."),
    METHOD("recv_bytes", connection_recv_bytes, FAST,
           "recv_bytes(maxlength=None)\n--\n\nReceives a message as bytes. OSError: it is longer; "
           "then nothing more "
           "can be received."),
    METHOD("recv_bytes_into", connection_recv_bytes_into, FAST,
           "recv_bytes_into(buf, offset=0)\n--\n\nReceives a message into a buffer: its size. "
           "BufferTooShort, with "
           "the message."),
    METHOD("poll", connection_poll, FAST,
           "poll(timeout=0.0)\n--\n\nWaits until there is something to receive, the end included: "
           "whether."),
    METHOD("fileno", connection_fileno, METH_NOARGS,
           "fileno()\n--\n\nA descriptor, readable if there may be something to receive."),
    METHOD("close", connection_close, METH_NOARGS,
           "close()\n--\n\nThis process gives this end up."),
    METHOD("__enter__", connection_enter, METH_NOARGS, ""),
    METHOD("__exit__", connection_exit, METH_FASTCALL, ""),
    METHOD("__del__", connection_del, METH_NOARGS, ""),
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef connection_getset[] = {
    {"closed", get_closed, NULL, PyDoc_STR("Whether this process has closed it."), NULL},
    {"readable", get_readable, NULL, PyDoc_STR("Whether it receives."), NULL},
    {"writable", get_writable, NULL, PyDoc_STR("Whether it sends."), NULL},
    {"_calls", get_calls, NULL, PyDoc_STR("How many calls of this process are under way there."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot connection_slots[] = {
    {Py_tp_dealloc, connection_destroy},
    {Py_tp_methods, connection_methods},
    {Py_tp_getset, connection_getset},
    {Py_tp_doc, "The end of a pipe."},
    {0, NULL},
};
static PyType_Spec connection_spec = {
    .name = "shoal._shoal.Connection",
    .basicsize = sizeof(struct connection),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = connection_slots,
};

static PyMethodDef functions[] = {
    METHOD("wait", wait_many, METH_VARARGS,
           "wait(items, timeout=None)\n--\n\nWhich of Connections, queues and descriptors are "
           "ready: a list of "
           "bools, or None."),
    {NULL, NULL, 0, NULL},
};

int connection_add(PyObject *module)
{
    return add_type(module, &Connection, &connection_spec) ||
                   PyModule_AddFunctions(module, functions)
               ? -1
               : 0;
}
