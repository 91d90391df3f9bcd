/* Lists of scalars, as the chunks of most maps are: one mark and a value for each, nothing else. There is nothing in them whose
 * identity could be told, so it need not be kept. A list with anything else in it is not flat.
 */
#include "pool.h"
#include <string.h>

enum {
    MARK_NONE,
    MARK_FALSE,
    MARK_TRUE,
    MARK_1,
    MARK_4,
    MARK_8,
    MARK_FLOAT,
    MARK_TEXT,
    MARK_BYTES
};
enum { FEWEST = 4 };

/* Bytes for it; 0: it is none. */
static size_t size_of(PyObject *o)
{
    if (PyLong_CheckExact(o)) {
        int over;
        long long n = PyLong_AsLongLongAndOverflow(o, &over);
        return over ? 0 : n >= 0 && n < 256 ? 2 : n == (int32_t)n ? 5 : 9;
    }
    if (PyFloat_CheckExact(o))
        return 9;
    if (o == Py_None || PyBool_Check(o))
        return 1;
    if (PyUnicode_CheckExact(o) && PyUnicode_IS_COMPACT_ASCII(o))
        return 9 + (size_t)PyUnicode_GET_LENGTH(o);
    return PyBytes_CheckExact(o) ? 9 + (size_t)PyBytes_GET_SIZE(o) : 0;
}

size_t flat_size(PyObject *list)
{
    if (!PyList_CheckExact(list) && !PyTuple_CheckExact(list))
        return 0;
    Py_ssize_t n = PySequence_Fast_GET_SIZE(list);
    PyObject **items = PySequence_Fast_ITEMS(list);
    size_t all = sizeof n;
    for (Py_ssize_t i = 0; i < n; i++) {
        size_t one = size_of(items[i]);
        if (!one)
            return 0;
        all += one;
    }
    return n < FEWEST ? 0 : all;
}

static unsigned char *put(unsigned char *to, int mark, const void *bytes, size_t size)
{
    *to = (unsigned char)mark;
    memcpy(to + 1, bytes, size);
    return to + 1 + size;
}

static unsigned char *put_long(unsigned char *to, int mark, const char *bytes, Py_ssize_t size)
{
    to = put(to, mark, &size, sizeof size);
    memcpy(to, bytes, (size_t)size);
    return to + size;
}

static unsigned char *put_item(unsigned char *to, PyObject *o)
{
    if (PyLong_CheckExact(o)) {
        int over;
        long long n = PyLong_AsLongLongAndOverflow(o, &over);
        int32_t n4 = (int32_t)n;
        unsigned char n1 = (unsigned char)n;
        return n >= 0 && n < 256 ? put(to, MARK_1, &n1, 1)
               : n == n4         ? put(to, MARK_4, &n4, 4)
                                 : put(to, MARK_8, &n, 8);
    }
    if (PyFloat_CheckExact(o)) {
        double d = PyFloat_AS_DOUBLE(o);
        return put(to, MARK_FLOAT, &d, 8);
    }
    if (PyUnicode_CheckExact(o))
        return put_long(to, MARK_TEXT, PyUnicode_DATA(o), PyUnicode_GET_LENGTH(o));
    if (PyBytes_CheckExact(o))
        return put_long(to, MARK_BYTES, PyBytes_AS_STRING(o), PyBytes_GET_SIZE(o));
    *to = o == Py_None ? MARK_NONE : o == Py_True ? MARK_TRUE : MARK_FALSE;
    return to + 1;
}

void flat_write(PyObject *list, unsigned char *to)
{
    Py_ssize_t n = PySequence_Fast_GET_SIZE(list);
    PyObject **items = PySequence_Fast_ITEMS(list);
    memcpy(to, &n, sizeof n);
    to += sizeof n;
    for (Py_ssize_t i = 0; i < n; i++)
        to = put_item(to, items[i]);
}

/* The item at *at, which is moved behind it; NULL: an exception, or it is cut. */
static PyObject *get_item(const unsigned char **at, const unsigned char *end)
{
    static const unsigned char sizes[] = {0, 0, 0, 1, 4, 8, 8, 8, 8};
    const unsigned char *p = *at;
    union {
        int32_t n4;
        int64_t n8;
        double d;
    } u;
    if (p == end || *p >= sizeof sizes || end - p <= sizes[*p])
        return NULL;
    int mark = *p++;
    memcpy(&u, p, sizes[mark]);
    *at = p + sizes[mark];
    switch (mark) {
    case MARK_NONE: return Py_NewRef(Py_None);
    case MARK_FALSE: return Py_NewRef(Py_False);
    case MARK_TRUE: return Py_NewRef(Py_True);
    case MARK_1: return PyLong_FromLong(*p);
    case MARK_4: return PyLong_FromLong(u.n4);
    case MARK_8: return PyLong_FromLongLong(u.n8);
    case MARK_FLOAT: return PyFloat_FromDouble(u.d);
    default: break;
    }
    if (u.n8 < 0 || u.n8 > end - *at)
        return NULL;
    p = *at;
    *at += u.n8;
    if (mark == MARK_BYTES)
        return PyBytes_FromStringAndSize((const char *)p, u.n8);
    PyObject *text = PyUnicode_New(u.n8, 127);
    if (text)
        memcpy(PyUnicode_DATA(text), p, (size_t)u.n8);
    return text;
}

PyObject *flat_read(const unsigned char *bytes, size_t size)
{
    const unsigned char *at = bytes + sizeof(Py_ssize_t), *end = bytes + size;
    Py_ssize_t n = -1;
    if (size >= sizeof n)
        memcpy(&n, bytes, sizeof n);
    /* an item has a byte at least */
    PyObject *list = n >= 0 && (size_t)n <= size ? PyList_New(n) : NULL;
    for (Py_ssize_t i = 0; list && i < n; i++) {
        PyObject *item = get_item(&at, end);
        if (item)
            PyList_SET_ITEM(list, i, item);
        else
            Py_CLEAR(list);
    }
    if (!list && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "the list that a task brought is cut");
    return list;
}
