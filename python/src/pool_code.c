/* Objects as bytes, for pools: a pickle, and what protocol 5 leaves beside it, copied once to where it goes.
 *
 *     PICKLED    the pickle
 *     BUFFERED   {size of the pickle, number of buffers, sizes of buffers …}, 8 bytes each; the pickle; the buffers
 *     FLAT       a list of scalars (pool_flat.c), instead of a pickle
 *     FAILED     what encode_failure made of an exception
 */
#include "pool.h"
#include <string.h>

struct helpers pool_helpers;

enum {
    NEST = 8,
    MANY = 1000 /* items that plain_encode has no room for */
};

/* Whether it is made of a few built-in types only, so that every pickler writes the same. */
static bool is_basic(PyObject *object, int nest)
{
    if (object == Py_None || PyLong_CheckExact(object) || PyFloat_CheckExact(object) ||
        PyUnicode_CheckExact(object) || PyBool_Check(object) || PyBytes_CheckExact(object))
        return true;
    if (!nest)
        return false;
    if (PyList_CheckExact(object) || PyTuple_CheckExact(object)) {
        PyObject **items = PySequence_Fast_ITEMS(object);
        for (Py_ssize_t i = 0, n = PySequence_Fast_GET_SIZE(object); i < n; i++)
            if (!is_basic(items[i], nest - 1))
                return false;
        return true;
    }
    if (PyDict_CheckExact(object)) {
        PyObject *key, *value;
        Py_ssize_t at = 0;
        while (PyDict_Next(object, &at, &key, &value))
            if (!is_basic(key, nest - 1) || !is_basic(value, nest - 1))
                return false;
        return true;
    }
    return false;
}

static bool is_long(PyObject *object)
{
    return (PyList_CheckExact(object) || PyTuple_CheckExact(object)) &&
           PySequence_Fast_GET_SIZE(object) > MANY;
}

static int encode_pickle(struct encoded *ret, PyObject *object)
{
    PyObject *pickle, *both = NULL;
    if (is_basic(object, NEST)) {
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

int encode(struct encoded *ret, PyObject *object)
{
    ret->how = PICKLED;
    ret->buffers = NULL;
    ret->pickle.obj = ret->flat = NULL;
    ret->is_plain = !is_long(object) && plain_encode(&ret->plain, object);
    if (!ret->is_plain)
        return encode_pickle(ret, object);
    ret->size = ret->plain.whole;
    return 0;
}

int encode_chunk(struct encoded *ret, PyObject *chunk)
{
    size_t size = flat_size(chunk);
    if (!size)
        return encode(ret, chunk);
    ret->how = FLAT;
    ret->is_plain = false;
    ret->size = size;
    ret->buffers = ret->pickle.obj = NULL;
    ret->flat = Py_NewRef(chunk);
    return 0;
}

static unsigned char *put(unsigned char *to, const void *bytes, size_t size)
{
    memcpy(to, bytes, size);
    return to + size;
}

void encoded_write(const struct encoded *e, unsigned char *to)
{
    if (e->is_plain) {
        plain_write(&e->plain, to);
        return;
    }
    if (e->flat) {
        flat_write(e->flat, to);
        return;
    }
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
    if (e->is_plain) {
        plain_end(&e->plain);
        return;
    }
    if (e->pickle.obj)
        PyBuffer_Release(&e->pickle);
    Py_CLEAR(e->buffers);
    Py_CLEAR(e->flat);
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
    uint64_t pickle = 0, n = 0;
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

/* Tasks carry no objects of the family but in pickles of their own. */
static PyObject *no_object(void *argument, size_t i)
{
    (void)argument;
    return PyErr_Format(PyExc_ValueError, "a task carries no object %zu", i);
}

PyObject *decode(uint8_t how, const unsigned char *bytes, size_t size)
{
    bool declined = true;
    PyObject *plain = how == PICKLED && size < MANY * 8
                          ? plain_decode(bytes, size, no_object, NULL, &declined)
                          : NULL;
    if (!declined)
        return plain;
    if (how == FLAT)
        return flat_read(bytes, size);
    if (how == BUFFERED)
        return decode_buffered(bytes, size);
    PyObject *all = view_of(bytes, size);
    PyObject *call = how == FAILED ? pool_helpers.decode_failure : pool_helpers.loads;
    PyObject *object = all ? PyObject_CallOneArg(call, all) : NULL;
    Py_XDECREF(all);
    return object;
}
