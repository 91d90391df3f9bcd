/* Bytes into plain objects (plain.h): a pickle machine for the opcodes of plain objects, with a small stack.
 *
 * Anything else (a name to be looked up, a stack that is too small, bytes that are no pickle) is declined, and
 * pickle reads it from the beginning, and says what is wrong with it, if something is. So this makes objects and
 * nothing more, whatever the bytes say. They may lie in shared memory: each is read once, or only copied.
 */
#include "plain.h"
#include <string.h>

enum { STACK = 256, MARKS = PLAIN_DEPTH + 8, MEMO = 64 };

struct machine {
    const unsigned char *at, *end;
    unsigned height, marks, memos;
    bool refuses; /* not for us */
    bool fails;   /* the exception is the program's to see */
    plain_object *object;
    void *argument;
    PyObject *stack[STACK];
    PyObject *memo[MEMO];
    unsigned mark[MARKS];
};

/* ---- the stack ---- */

static bool refuse(struct machine *m)
{
    m->refuses = true;
    return false;
}

/* Takes over the reference; NULL is an exception. */
static inline bool push(struct machine *m, PyObject *o)
{
    if (!o)
        return false;
    if (m->height == STACK) {
        Py_DECREF(o);
        return refuse(m);
    }
    m->stack[m->height++] = o;
    return true;
}

static inline bool push_new(struct machine *m, PyObject *o)
{
    Py_INCREF(o);
    return push(m, o);
}

/* How many lie above the last mark, which is taken off; below it must be `below` objects of this one's. */
static bool pop_mark(struct machine *m, unsigned below, unsigned *n)
{
    if (!m->marks)
        return refuse(m);
    unsigned mark = m->mark[--m->marks], floor = m->marks ? m->mark[m->marks - 1] : 0;
    if (mark < floor + below)
        return refuse(m);
    *n = m->height - mark;
    return true;
}

/* Whether n objects lie above the last mark. */
static inline bool has(struct machine *m, unsigned n)
{
    unsigned floor = m->marks ? m->mark[m->marks - 1] : 0;
    return m->height - floor >= n || refuse(m);
}

static void drop(struct machine *m, unsigned n)
{
    while (n--)
        Py_DECREF(m->stack[--m->height]);
}

/* ---- numbers and texts ---- */

static inline bool take(struct machine *m, void *to, size_t size)
{
    if ((size_t)(m->end - m->at) < size)
        return refuse(m);
    memcpy(to, m->at, size);
    m->at += size;
    return true;
}

/* A count of n bytes, and as many bytes behind it, which *bytes points to. */
static inline bool take_counted(struct machine *m, size_t n, const unsigned char **bytes,
                                size_t *size)
{
    uint64_t count = 0;
    if (!take(m, &count, n) || count > (uint64_t)(m->end - m->at) || count > PY_SSIZE_T_MAX)
        return refuse(m);
    *bytes = m->at;
    *size = (size_t)count;
    m->at += count;
    return true;
}

static bool read_int(struct machine *m, size_t n)
{
    int32_t value = 0;
    return take(m, &value, n) && push(m, PyLong_FromLong(value));
}

static bool read_long(struct machine *m, size_t n)
{
    const unsigned char *bytes;
    size_t size;
    if (!take_counted(m, n, &bytes, &size))
        return false;
    if (size <= 8) {
        uint64_t value = 0;
        memcpy(&value, bytes, size);
        unsigned unused = 64 - 8 * (unsigned)size;
        return push(m, PyLong_FromLongLong(size ? (int64_t)(value << unused) >> unused : 0));
    }
#if PY_VERSION_HEX < 0x030d0000
    return push(m, _PyLong_FromByteArray(bytes, size, 1, 1));
#else
    return push(m, PyLong_FromNativeBytes(bytes, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN));
#endif
}

static bool read_float(struct machine *m)
{
    uint64_t bits;
    double value;
    if (!take(m, &bits, sizeof bits))
        return false;
    bits = __builtin_bswap64(bits);
    memcpy(&value, &bits, sizeof value);
    return push(m, PyFloat_FromDouble(value));
}

static bool read_text(struct machine *m, size_t n)
{
    const unsigned char *bytes;
    size_t size;
    return take_counted(m, n, &bytes, &size) &&
           push(m, PyUnicode_DecodeUTF8((const char *)bytes, (Py_ssize_t)size, "surrogatepass"));
}

static bool read_bytes(struct machine *m, size_t n)
{
    const unsigned char *bytes;
    size_t size;
    return take_counted(m, n, &bytes, &size) &&
           push(m, PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)size));
}

static bool read_bytearray(struct machine *m)
{
    const unsigned char *bytes;
    size_t size;
    return take_counted(m, 8, &bytes, &size) &&
           push(m, PyByteArray_FromStringAndSize((const char *)bytes, (Py_ssize_t)size));
}

/* ---- containers ---- */

/* The n topmost, as a tuple. */
static bool make_tuple(struct machine *m, unsigned n)
{
    PyObject *o = PyTuple_New((Py_ssize_t)n);
    if (!o)
        return false;
    m->height -= n;
    for (unsigned i = 0; i < n; i++)
        PyTuple_SET_ITEM(o, (Py_ssize_t)i, m->stack[m->height + i]);
    m->stack[m->height++] = o; /* where one of them was, or a mark's room */
    return true;
}

static bool make_few(struct machine *m, unsigned n)
{
    return has(m, n) && make_tuple(m, n);
}

static bool append(struct machine *m, unsigned n)
{
    PyObject *list = m->stack[m->height - n - 1];
    if (!PyList_CheckExact(list))
        return refuse(m);
    if (!PyList_GET_SIZE(list) && Py_REFCNT(list) == 1) {
        PyObject *full = PyList_New((Py_ssize_t)n);
        if (!full)
            return false;
        m->height -= n;
        for (unsigned i = 0; i < n; i++)
            PyList_SET_ITEM(full, (Py_ssize_t)i, m->stack[m->height + i]);
        m->stack[m->height - 1] = full;
        Py_DECREF(list);
        return true;
    }
    for (unsigned i = 0; i < n; i++)
        if (PyList_Append(list, m->stack[m->height - n + i]))
            return false;
    drop(m, n);
    return true;
}

/* True of what may be a key without any code of the program's being run, and can. */
static bool plain_key_in(PyObject *o, unsigned depth)
{
    if (PyTuple_CheckExact(o)) {
        bool plain = depth < PLAIN_DEPTH;
        for (Py_ssize_t i = 0; plain && i < PyTuple_GET_SIZE(o); i++)
            plain = plain_key_in(PyTuple_GET_ITEM(o, i), depth + 1);
        return plain;
    }
    return PyUnicode_CheckExact(o) || PyLong_CheckExact(o) || PyBytes_CheckExact(o) ||
           PyFloat_CheckExact(o) || PyFrozenSet_CheckExact(o) || PyBool_Check(o) || o == Py_None;
}

static bool plain_key(PyObject *o)
{
    return plain_key_in(o, 0);
}

static bool set_items(struct machine *m, unsigned n)
{
    PyObject **at = &m->stack[m->height - n], *dict = at[-1];
    if (!PyDict_CheckExact(dict) || n % 2)
        return refuse(m);
    for (unsigned i = 0; i < n; i += 2) {
        if (!plain_key(at[i]))
            return refuse(m);
        if (PyDict_SetItem(dict, at[i], at[i + 1]))
            return false;
    }
    drop(m, n);
    return true;
}

static bool add_items(struct machine *m, unsigned n)
{
    PyObject **at = &m->stack[m->height - n], *set = at[-1];
    if (!PySet_CheckExact(set))
        return refuse(m);
    for (unsigned i = 0; i < n; i++) {
        if (!plain_key(at[i]))
            return refuse(m);
        if (PySet_Add(set, at[i]))
            return false;
    }
    drop(m, n);
    return true;
}

static bool make_frozenset(struct machine *m, unsigned n)
{
    for (unsigned i = 1; i <= n; i++)
        if (!plain_key(m->stack[m->height - i]))
            return refuse(m);
    if (!make_tuple(m, n))
        return false;
    PyObject *set = PyFrozenSet_New(m->stack[m->height - 1]);
    if (!set)
        return false;
    Py_DECREF(m->stack[m->height - 1]);
    m->stack[m->height - 1] = set;
    return true;
}

/* ---- the rest ---- */

static bool memoize(struct machine *m)
{
    if (!has(m, 1) || m->memos == MEMO)
        return refuse(m);
    PyObject *o = m->stack[m->height - 1];
    Py_INCREF(o);
    m->memo[m->memos++] = o;
    return true;
}

static bool get_memo(struct machine *m)
{
    unsigned char i;
    return take(m, &i, 1) && (i < m->memos || refuse(m)) && push_new(m, m->memo[i]);
}

static bool read_object(struct machine *m)
{
    if (!m->object || !has(m, 1) || !PyLong_CheckExact(m->stack[m->height - 1]))
        return refuse(m);
    size_t i = PyLong_AsSize_t(m->stack[m->height - 1]);
    if (i == (size_t)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        return refuse(m);
    }
    PyObject *o = m->object(m->argument, i);
    if (!o) {
        m->fails = true;
        return false;
    }
    drop(m, 1);
    return push(m, o);
}

static inline bool step(struct machine *m, unsigned opcode)
{
    unsigned n;
    uint64_t frame;
    switch (opcode) {
    case BININT1: return read_int(m, 1);
    case BININT2: return read_int(m, 2);
    case BININT: return read_int(m, 4);
    case NONE: return push_new(m, Py_None);
    case NEWTRUE: return push_new(m, Py_True);
    case NEWFALSE: return push_new(m, Py_False);
    case LONG1: return read_long(m, 1);
    case LONG4: return read_long(m, 4);
    case BINFLOAT: return read_float(m);
    case SHORT_BINUNICODE: return read_text(m, 1);
    case BINUNICODE: return read_text(m, 4);
    case BINUNICODE8: return read_text(m, 8);
    case SHORT_BINBYTES: return read_bytes(m, 1);
    case BINBYTES: return read_bytes(m, 4);
    case BINBYTES8: return read_bytes(m, 8);
    case BYTEARRAY8: return read_bytearray(m);
    case EMPTY_LIST: return push(m, PyList_New(0));
    case EMPTY_DICT: return push(m, PyDict_New());
    case EMPTY_SET: return push(m, PySet_New(NULL));
    case EMPTY_TUPLE: return push(m, PyTuple_New(0));
    case TUPLE1: return make_few(m, 1);
    case TUPLE2: return make_few(m, 2);
    case TUPLE3: return make_few(m, 3);
    case MARK:
        if (m->marks == MARKS || m->height == STACK) /* there is room for what comes of it */
            return refuse(m);
        m->mark[m->marks++] = m->height;
        return true;
    case TUPLE: return pop_mark(m, 0, &n) && make_tuple(m, n);
    case FROZENSET: return pop_mark(m, 0, &n) && make_frozenset(m, n);
    case APPENDS: return pop_mark(m, 1, &n) && append(m, n);
    case APPEND: return has(m, 2) && append(m, 1);
    case SETITEMS: return pop_mark(m, 1, &n) && set_items(m, n);
    case SETITEM: return has(m, 3) && set_items(m, 2);
    case ADDITEMS: return pop_mark(m, 1, &n) && add_items(m, n);
    case MEMOIZE: return memoize(m);
    case BINGET: return get_memo(m);
    case BINPERSID: return read_object(m);
    case FRAME:
        return take(m, &frame, sizeof frame) && (frame <= (uint64_t)(m->end - m->at) || refuse(m));
    default: return refuse(m);
    }
}

static bool run(struct machine *m)
{
    unsigned char protocol[2];
    if (!take(m, protocol, 2) || protocol[0] != PROTO || protocol[1] < 2 || protocol[1] > 5)
        return refuse(m);
    while (m->at < m->end) {
        unsigned opcode = *m->at++;
        if (opcode == STOP)
            return (m->height == 1 && !m->marks) || refuse(m);
        if (!step(m, opcode))
            return false;
    }
    return refuse(m);
}

PyObject *plain_decode(const unsigned char *bytes, size_t size, plain_object *object,
                       void *argument, bool *declined)
{
    struct machine m;
    m.at = bytes;
    m.end = bytes + size;
    m.height = m.marks = m.memos = 0;
    m.refuses = m.fails = false;
    m.object = object;
    m.argument = argument;
    *declined = false;
    bool well = run(&m);
    while (m.memos)
        Py_DECREF(m.memo[--m.memos]);
    if (well)
        return m.stack[0];
    if (!m.refuses && !m.fails && !PyErr_ExceptionMatches(PyExc_MemoryError)) {
        PyErr_Clear(); /* bad UTF-8, a list as a key: pickle has its own words for it */
        m.refuses = true;
    }
    drop(&m, m.height);
    *declined = m.refuses;
    return NULL;
}
