/* Objects as bytes, for pools: a pickle, and what protocol 5 leaves beside it, copied once to where it goes.
 *
 *     PICKLED    the pickle
 *     BUFFERED   {size of the pickle, number of buffers, sizes of buffers …}, 8 bytes each; the pickle; the buffers
 *     FAILED     what encode_failure made of an exception
 */
#include "pool.h"
#include <string.h>

struct helpers pool_helpers;

enum { NEST = 8 };

/* Whether it is made of a few built-in types only, so that every pickler writes the same. */
static bool is_plain(PyObject *object, int nest)
{
    if (object == Py_None || PyLong_CheckExact(object) || PyFloat_CheckExact(object) ||
        PyUnicode_CheckExact(object) || PyBool_Check(object))
        return true;
    if (PyBytes_CheckExact(object))
        return PyBytes_GET_SIZE(object) < 4096;
    if (!nest)
        return false;
    if (PyList_CheckExact(object)) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(object); i++)
            if (!is_plain(PyList_GET_ITEM(object, i), nest - 1))
                return false;
        return true;
    }
    if (PyTuple_CheckExact(object)) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); i++)
            if (!is_plain(PyTuple_GET_ITEM(object, i), nest - 1))
                return false;
        return true;
    }
    if (PyDict_CheckExact(object)) {
        PyObject *key, *value;
        Py_ssize_t at = 0;
        while (PyDict_Next(object, &at, &key, &value))
            if (!is_plain(key, nest - 1) || !is_plain(value, nest - 1))
                return false;
        return true;
    }
    return false;
}

int encode(struct encoded *ret, PyObject *object)
{
    PyObject *pickle, *both = NULL;
    *ret = (struct encoded){.how = PICKLED};
    if (is_plain(object, NEST)) {
        pickle = PyObject_CallOneArg(pool_helpers.dumps_plain, object);
    } else {
        both = PyObject_CallOneArg(pool_helpers.dumps, object);
        pickle = both ? Py_NewRef(PyTuple_GET_ITEM(both, 0)) : NULL;
    }
    int rc = pickle ? PyObject_GetBuffer(pickle, &ret->pickle, PyBUF_SIMPLE) : -1;
    Py_XDECREF(pickle);
    if (!rc)
        ret->size = (size_t)ret->pickle.len;
    if (!rc && both && PyList_GET_SIZE(PyTuple_GET_ITEM(both, 1))) {
        ret->how = BUFFERED;
        ret->buffers = Py_NewRef(PyTuple_GET_ITEM(both, 1));
        ret->size += 16;
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(ret->buffers); i++) {
            const Py_buffer *b = PyMemoryView_GET_BUFFER(PyList_GET_ITEM(ret->buffers, i));
            ret->size += 8 + (size_t)b->len;
        }
    }
    Py_XDECREF(both);
    return rc;
}

static unsigned char *put(unsigned char *to, const void *bytes, size_t size)
{
    memcpy(to, bytes, size);
    return to + size;
}

void encoded_write(const struct encoded *e, unsigned char *to)
{
    if (e->buffers) {
        uint64_t n = (uint64_t)PyList_GET_SIZE(e->buffers), size = (uint64_t)e->pickle.len;
        to = put(to, &size, 8);
        to = put(to, &n, 8);
        for (uint64_t i = 0; i < n; i++) {
            size = (uint64_t)PyMemoryView_GET_BUFFER(PyList_GET_ITEM(e->buffers, i))->len;
            to = put(to, &size, 8);
        }
    }
    to = put(to, e->pickle.buf, (size_t)e->pickle.len);
    for (Py_ssize_t i = 0; e->buffers && i < PyList_GET_SIZE(e->buffers); i++) {
        const Py_buffer *b = PyMemoryView_GET_BUFFER(PyList_GET_ITEM(e->buffers, i));
        if (b->len)
            to = put(to, b->buf, (size_t)b->len);
    }
}

void encoded_free(struct encoded *e)
{
    if (e->pickle.obj)
        PyBuffer_Release(&e->pickle);
    Py_CLEAR(e->buffers);
}

static PyObject *view_of(const unsigned char *bytes, size_t size)
{
    if (size < 256)
        return PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)size);
    return PyMemoryView_FromMemory((char *)(uintptr_t)bytes, (Py_ssize_t)size, PyBUF_READ);
}

/* Copies, which what is decoded may keep and change. */
static PyObject *copies_of(const unsigned char *sizes, uint64_t n, const unsigned char *at,
                           const unsigned char *end)
{
    PyObject *list = PyList_New(0);
    for (uint64_t i = 0; list && i < n; i++) {
        uint64_t size;
        memcpy(&size, sizes + 8 * i, 8);
        if (size > (uint64_t)(end - at)) {
            PyErr_SetString(PyExc_ValueError, "a buffer of a task is cut");
            Py_CLEAR(list);
            break;
        }
        PyObject *copy = PyByteArray_FromStringAndSize((const char *)at, (Py_ssize_t)size);
        if (!copy || PyList_Append(list, copy))
            Py_CLEAR(list);
        Py_XDECREF(copy);
        at += size;
    }
    return list;
}

static PyObject *decode_buffered(const unsigned char *bytes, size_t size)
{
    uint64_t pickle, n;
    if (size >= 16) {
        memcpy(&pickle, bytes, 8);
        memcpy(&n, bytes + 8, 8);
    }
    if (size < 16 || n > (size - 16) / 8 || pickle > size - 16 - 8 * n) {
        PyErr_SetString(PyExc_ValueError, "what a task brought is cut");
        return NULL;
    }
    const unsigned char *sizes = bytes + 16, *at = sizes + 8 * n;
    PyObject *buffers = copies_of(sizes, n, at + pickle, bytes + size);
    PyObject *pickled = buffers ? view_of(at, pickle) : NULL;
    PyObject *arguments = pickled ? PyTuple_Pack(1, pickled) : NULL;
    PyObject *named = arguments ? Py_BuildValue("{sO}", "buffers", buffers) : NULL;
    PyObject *object = named ? PyObject_Call(pool_helpers.loads, arguments, named) : NULL;
    Py_XDECREF(named);
    Py_XDECREF(arguments);
    Py_XDECREF(pickled);
    Py_XDECREF(buffers);
    return object;
}

PyObject *decode(uint8_t how, const unsigned char *bytes, size_t size)
{
    if (how == BUFFERED)
        return decode_buffered(bytes, size);
    PyObject *all = view_of(bytes, size);
    PyObject *call = how == FAILED ? pool_helpers.decode_failure : pool_helpers.loads;
    PyObject *object = all ? PyObject_CallOneArg(call, all) : NULL;
    Py_XDECREF(all);
    return object;
}
