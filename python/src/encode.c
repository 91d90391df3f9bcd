/* Plain objects into bytes (plain.h).
 *
 * Nothing is put into a memo. So what would need one is declined: a container that occurs twice, or in itself.
 * One that only its own container refers to (its reference count is 1) cannot; the others are compared with
 * each other.
 *
 * No code of the program's runs meanwhile, so nothing changes: sets are walked with the collector
 * stopped, as their iterators might set it off.
 */
#include "plain.h"
#include <string.h>

#if PY_VERSION_HEX < 0x030d0000
static size_t int_size(PyObject *o)
{
    return _PyLong_NumBits(o) / 8 + 1;
}
static bool int_bytes(PyObject *o, unsigned char *to, size_t size)
{
    return !_PyLong_AsByteArray((PyLongObject *)o, to, size, 1, 1);
}
#else
static size_t int_size(PyObject *o)
{
    return (size_t)PyLong_AsNativeBytes(o, NULL, 0, -1);
}
static bool int_bytes(PyObject *o, unsigned char *to, size_t size)
{
    return PyLong_AsNativeBytes(o, to, (Py_ssize_t)size, Py_ASNATIVEBYTES_LITTLE_ENDIAN) >= 0;
}
#endif

/* ---- bytes ---- */

static inline bool room_for(const struct plain *p, size_t size)
{
    return size <= PLAIN_ROOM - p->size;
}

static inline void put_byte(struct plain *p, unsigned byte)
{
    p->bytes[p->size++] = (unsigned char)byte;
}

/* The n low bytes of a number: these machines' order is pickle's. */
static inline void put_number(struct plain *p, unsigned opcode, uint64_t value, size_t n)
{
    put_byte(p, opcode);
    memcpy(p->bytes + p->size, &value, n);
    p->size += n;
}

/* What begins a value of any kind takes no more than this. */
enum { HEAD = 16 };

static bool put_long(struct plain *p, PyObject *o)
{
    size_t size = int_size(o);
    if (size >= PLAIN_ROOM || !room_for(p, HEAD + size))
        return false;
    put_number(p, size < 256 ? LONG1 : LONG4, size, size < 256 ? 1 : 4);
    if (!int_bytes(o, p->bytes + p->size, size)) {
        PyErr_Clear();
        return false;
    }
    p->size += size;
    return true;
}

static inline bool put_int(struct plain *p, PyObject *o)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow)
        return put_long(p, o);
    if (value == (uint8_t)value)
        put_number(p, BININT1, (uint64_t)value, 1);
    else if (value == (uint16_t)value)
        put_number(p, BININT2, (uint64_t)value, 2);
    else if (value == (int32_t)value)
        put_number(p, BININT, (uint64_t)value, 4);
    else {
        size_t size = (size_t)(64 - __builtin_clrsbll(value) + 7) / 8;
        put_byte(p, LONG1);
        put_byte(p, (unsigned)size);
        memcpy(p->bytes + p->size, &value, size);
        p->size += size;
    }
    return true;
}

static bool splice(struct plain *p, PyObject *o, const void *from, size_t size)
{
    for (unsigned i = 0; i < p->splices; i++)
        if (p->splice[i].object == o)
            return false;
    if (p->splices == PLAIN_SPLICES)
        return false;
    p->splice[p->splices++] = (struct splice){p->size, from, size, o};
    p->whole += size;
    return true;
}

static inline bool put_bytes(struct plain *p, PyObject *o, const void *from, size_t size)
{
    if (size > PLAIN_SHORT || p->size + size > PLAIN_SHORT)
        return splice(p, o, from, size);
    memcpy(p->bytes + p->size, from, size);
    p->size += size;
    return true;
}

static bool put_text(struct plain *p, PyObject *o)
{
    const char *text;
    Py_ssize_t size;
    if (PyUnicode_IS_COMPACT_ASCII(o)) {
        text = (const char *)PyUnicode_1BYTE_DATA(o);
        size = PyUnicode_GET_LENGTH(o);
    } else {
        text = PyUnicode_AsUTF8AndSize(o, &size);
        if (!text) { /* a lone surrogate, say */
            PyErr_Clear();
            return false;
        }
    }
    if (size < 256)
        put_number(p, SHORT_BINUNICODE, (uint64_t)size, 1);
    else if (size <= UINT32_MAX)
        put_number(p, BINUNICODE, (uint64_t)size, 4);
    else
        put_number(p, BINUNICODE8, (uint64_t)size, 8);
    return put_bytes(p, o, text, (size_t)size);
}

static bool put_binary(struct plain *p, PyObject *o)
{
    size_t size = (size_t)PyBytes_GET_SIZE(o);
    if (size < 256)
        put_number(p, SHORT_BINBYTES, size, 1);
    else if (size <= UINT32_MAX)
        put_number(p, BINBYTES, size, 4);
    else
        put_number(p, BINBYTES8, size, 8);
    return put_bytes(p, o, PyBytes_AS_STRING(o), size);
}

static bool put_bytearray(struct plain *p, PyObject *o)
{
    size_t size = (size_t)PyByteArray_GET_SIZE(o);
    p->bytes[1] = 5; /* the protocol that has them */
    put_number(p, BYTEARRAY8, size, 8);
    return put_bytes(p, o, PyByteArray_AS_STRING(o), size);
}

static void put_float(struct plain *p, PyObject *o)
{
    uint64_t bits;
    double value = PyFloat_AS_DOUBLE(o);
    memcpy(&bits, &value, sizeof bits);
    put_number(p, BINFLOAT, __builtin_bswap64(bits), 8);
}

/* ---- containers ---- */

static bool put_value(struct plain *p, PyObject *o, unsigned depth);

/* Whether it was here before, or may have been. */
static bool seen(struct plain *p, PyObject *o)
{
    if (Py_REFCNT(o) == 1)
        return false;
    for (unsigned i = 0; i < p->shared; i++)
        if (p->seen[i] == o)
            return true;
    if (p->shared == PLAIN_SHARED)
        return true;
    p->seen[p->shared++] = o;
    return false;
}

static bool put_tuple(struct plain *p, PyObject *o, unsigned depth)
{
    static const unsigned char few[] = {EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3};
    Py_ssize_t n = PyTuple_GET_SIZE(o);
    if (n > 3)
        put_byte(p, MARK);
    for (Py_ssize_t i = 0; i < n; i++)
        if (!put_value(p, PyTuple_GET_ITEM(o, i), depth))
            return false;
    put_byte(p, n > 3 ? TUPLE : few[n]);
    return true;
}

static bool put_list(struct plain *p, PyObject *o, unsigned depth)
{
    Py_ssize_t n = PyList_GET_SIZE(o);
    put_byte(p, EMPTY_LIST);
    if (!n)
        return true;
    put_byte(p, MARK);
    for (Py_ssize_t i = 0; i < n; i++)
        if (!put_value(p, PyList_GET_ITEM(o, i), depth))
            return false;
    put_byte(p, APPENDS);
    return true;
}

static bool put_dict(struct plain *p, PyObject *o, unsigned depth)
{
    Py_ssize_t at = 0;
    PyObject *key, *value;
    put_byte(p, EMPTY_DICT);
    if (!PyDict_GET_SIZE(o))
        return true;
    put_byte(p, MARK);
    while (PyDict_Next(o, &at, &key, &value))
        if (!put_value(p, key, depth) || !put_value(p, value, depth))
            return false;
    put_byte(p, SETITEMS);
    return true;
}

static bool put_members(struct plain *p, PyObject *o, unsigned depth)
{
    PyObject *iterator = PyObject_GetIter(o), *member;
    bool well = iterator;
    while (well && (member = PyIter_Next(iterator))) {
        Py_DECREF(member); /* the set has it */
        /* The iterator's own reference would hide that nobody else has it. */
        well = put_value(p, member, depth);
    }
    Py_XDECREF(iterator);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        well = false;
    }
    return well;
}

static bool put_set(struct plain *p, PyObject *o, unsigned depth)
{
    bool frozen = PyFrozenSet_CheckExact(o);
    if (!frozen) {
        put_byte(p, EMPTY_SET);
        if (!PySet_GET_SIZE(o))
            return true;
    }
    put_byte(p, MARK);
    int collects = PyGC_Disable();
    bool well = put_members(p, o, depth);
    if (collects)
        PyGC_Enable();
    put_byte(p, frozen ? FROZENSET : ADDITEMS);
    return well;
}

/* One that occurs twice is one object, which is for pickle to say. */
static bool put_object(struct plain *p, PyObject *o)
{
    int number = p->cargo && !seen(p, o) ? cargo_take(p->cargo, o) : -1;
    if (number < 0)
        return false;
    put_number(p, BININT, (uint64_t)number, 4);
    put_byte(p, BINPERSID);
    return true;
}

static bool put_container(struct plain *p, PyObject *o, unsigned depth)
{
    if (depth == PLAIN_DEPTH || !room_for(p, 2 * HEAD))
        return false;
    if (PyTuple_CheckExact(o))
        return (!PyTuple_GET_SIZE(o) || !seen(p, o)) && put_tuple(p, o, depth + 1);
    if (PyList_CheckExact(o))
        return !seen(p, o) && put_list(p, o, depth + 1);
    if (PyDict_CheckExact(o))
        return !seen(p, o) && put_dict(p, o, depth + 1);
    if (PyAnySet_CheckExact(o))
        return !seen(p, o) && put_set(p, o, depth + 1);
    return put_object(p, o);
}

/* Always leaves room for the end of each container that is open. */
static bool put_value(struct plain *p, PyObject *o, unsigned depth)
{
    if (p->size > PLAIN_ROOM - 2 * HEAD - PLAIN_DEPTH)
        return false;
    if (PyLong_CheckExact(o))
        return put_int(p, o) && p->size <= PLAIN_ROOM - HEAD - PLAIN_DEPTH;
    if (PyUnicode_CheckExact(o))
        return put_text(p, o);
    if (o == Py_None)
        put_byte(p, NONE);
    else if (PyFloat_CheckExact(o))
        put_float(p, o);
    else if (PyBytes_CheckExact(o))
        return put_binary(p, o);
    else if (PyBool_Check(o))
        put_byte(p, o == Py_True ? NEWTRUE : NEWFALSE);
    else if (PyByteArray_CheckExact(o))
        return put_bytearray(p, o);
    else
        return put_container(p, o, depth);
    return true;
}

/* ---- the whole ---- */

/* What is spliced in stays as it is until it has been written. */
static bool keep(struct plain *p)
{
    for (unsigned i = 0; i < p->splices; i++) {
        PyObject *o = p->splice[i].object;
        if (PyByteArray_CheckExact(o))
            ((PyByteArrayObject *)o)->ob_exports++;
        Py_INCREF(o);
    }
    return true;
}

bool plain_encode(struct plain *ret, PyObject *object)
{
    return plain_encode_carrying(ret, object, NULL);
}

bool plain_encode_carrying(struct plain *ret, PyObject *object, struct cargo *cargo)
{
    ret->bytes[0] = PROTO;
    ret->bytes[1] = 4;
    ret->size = 2;
    ret->whole = 0;
    ret->splices = ret->shared = 0;
    ret->cargo = cargo;
    if (!put_value(ret, object, 0)) {
        ret->splices = 0;
        return false;
    }
    put_byte(ret, STOP);
    ret->whole += ret->size;
    return !ret->splices || keep(ret);
}

void plain_write(const struct plain *plain, unsigned char *to)
{
    size_t from = 0;
    for (unsigned i = 0; i < plain->splices; i++) {
        const struct splice *s = &plain->splice[i];
        memcpy(to, plain->bytes + from, s->at - from);
        to += s->at - from;
        memcpy(to, s->from, s->size);
        to += s->size;
        from = s->at;
    }
    memcpy(to, plain->bytes + from, plain->size - from);
}

void plain_end(struct plain *plain)
{
    for (unsigned i = 0; i < plain->splices; i++) {
        PyObject *o = plain->splice[i].object;
        if (PyByteArray_CheckExact(o))
            ((PyByteArrayObject *)o)->ob_exports--;
        Py_DECREF(o);
    }
    plain->splices = 0;
}
