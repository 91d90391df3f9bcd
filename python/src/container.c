/* Values and keys of containers, in and out (container.h).
 *
 * Keys are the C library's where it has such: numbers, texts, None, tuples and frozensets of these. Any other
 * hashable object is a key by its pickle, made without a memo, so that equal ones of one type have the same bytes whoever
 * refers to what in them.
 */
#include "container.h"
#include "message/message.h"
#include "parcel.h"
#include "plain.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- values in ---- */

static _Thread_local unsigned stored;

/* is_stored(): whether what is being pickled is to lie in a container. */
static PyObject *is_stored(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyBool_FromLong(stored);
}

/* What is no number and no short text. */
static __attribute__((noinline)) int pack(struct item *ret, const struct site *p, PyObject *object)
{
    size_t size;
    struct pickle_objects *objects;
    unsigned char *bytes;
    stored++;
    struct parcel *parcel = parcel_pack(object, &size, &objects);
    stored--;
    int rc = 0;
    if (!parcel)
        return -1;
    if (size <= WORD_BLOCK && !objects->count) {
        bytes = malloc(size);
        if (bytes)
            item_of_pickle(ret, bytes, size);
        else
            rc = fail(-ENOMEM, "%s: out of memory", p->call);
    } else {
        rc = item_of_message(ret, p, size, objects, &bytes);
    }
    if (!rc)
        parcel_write(parcel, bytes);
    parcel_end(parcel);
    return rc ? (raise_result(rc), -1) : 0;
}

static inline bool simple(shoal_any *ret, PyObject *object)
{
    if (object == Py_None)
        *ret = (shoal_any){.kind = SHOAL_ANY_NONE};
    else if (PyFloat_CheckExact(object))
        *ret = (shoal_any){.kind = SHOAL_ANY_FLOAT, .real = PyFloat_AS_DOUBLE(object)};
    else if (PyBool_Check(object))
        *ret = (shoal_any){.kind = SHOAL_ANY_BOOL, .integer = object == Py_True};
    else
        return false;
    return true;
}

/* Its UTF-8; NULL without an exception: there are surrogates in it. */
static inline const char *utf8(PyObject *text, size_t *size)
{
    Py_ssize_t n;
    if (likely(PyUnicode_IS_COMPACT_ASCII(text))) {
        *size = (size_t)PyUnicode_GET_LENGTH(text);
        return (const char *)PyUnicode_1BYTE_DATA(text);
    }
    const char *at = PyUnicode_AsUTF8AndSize(text, &n);
    *size = (size_t)n;
    if (!at)
        PyErr_Clear();
    return at;
}

int value_in(struct item *ret, const struct site *p, PyObject *object)
{
    shoal_any any;
    size_t size;
    const char *text;
    int overflow;
    if (PyLong_CheckExact(object)) {
        long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
        if (likely(!overflow)) {
            item_of_int(ret, value);
            return 0;
        }
    } else if (PyUnicode_CheckExact(object)) {
        if ((text = utf8(object, &size)) && item_of_text(ret, false, text, size))
            return 0;
    } else if (PyBytes_CheckExact(object)) {
        if (item_of_text(ret, true, PyBytes_AS_STRING(object), (size_t)PyBytes_GET_SIZE(object)))
            return 0;
    } else if (simple(&any, object)) {
        return item_of_any(ret, p, &any);
    }
    return pack(ret, p, object);
}

int values_in(struct item **ret, const struct site *p, PyObject *tuple)
{
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    struct item *items = calloc((size_t)n + 1, sizeof *items);
    if (!items)
        return PyErr_NoMemory(), -1;
    for (Py_ssize_t i = 0; i < n; i++)
        if (value_in(&items[i], p, PyTuple_GET_ITEM(tuple, i))) {
            values_end(items, i);
            return -1;
        }
    *ret = items;
    return 0;
}

void values_end(struct item *items, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++)
        item_end(&items[i]);
    free(items);
}

/* ---- values out ---- */

static PyObject *text_out(const void *at, size_t size)
{
    return PyUnicode_DecodeUTF8(at, (Py_ssize_t)size, "surrogatepass");
}

static int open_message(void **ret, uint64_t word)
{
    int rc = message_open(ret, word_message_id(word), word_message_generation(word));
    return rc == -EINVAL ? -ESTALE : rc;
}

/* Of anything but a message. */
static inline PyObject *plain_out(uint64_t word, const void *bytes, size_t size)
{
    shoal_any number;
    const void *at;
    if (word_number(word, bytes, &number))
        switch (number.kind) {
        case SHOAL_ANY_NONE: Py_RETURN_NONE;
        case SHOAL_ANY_BOOL: return PyBool_FromLong((long)number.integer);
        case SHOAL_ANY_INT: return PyLong_FromLongLong(number.integer);
        default: return PyFloat_FromDouble(number.real);
        }
    if (word_text(&word, bytes, SHOAL_ANY_STR, &at, &size))
        return text_out(at, size);
    if (word_text(&word, bytes, SHOAL_ANY_BYTES, &at, &size))
        return PyBytes_FromStringAndSize(at, (Py_ssize_t)size);
    return parcel_read(bytes, size);
}

PyObject *value_out(uint64_t word, const void *bytes, size_t size, bool *gone)
{
    void *message;
    *gone = false;
    if (likely(!word_is_message(word)))
        return plain_out(word, bytes, size);
    int rc = open_message(&message, word);
    *gone = rc == -ESTALE;
    return rc ? (*gone ? NULL : raise_result(rc)) : parcel_read_message(message);
}

int copied_hold(struct copied *copied)
{
    copied->message = NULL;
    return word_is_message(copied->f.word) ? open_message(&copied->message, copied->f.word) : 0;
}

PyObject *copied_out(struct copied *copied)
{
    void *message = copied->message;
    copied->message = NULL;
    return message ? parcel_read_message(message)
                   : plain_out(copied->f.word, copied->f.bytes, copied->f.size);
}

bool copied_same(const struct fetched *a, const struct fetched *b)
{
    uint64_t at;
    size_t size;
    if (!word_block(a->word, &at, &size))
        return a->word == b->word;
    /* the same kind and size, wherever they lie */
    return word_moved(a->word, 0) == word_moved(b->word, 0) && !memcmp(a->bytes, b->bytes, size);
}

/* ---- keys ---- */

/* The key's bytes are its own from now on. */
static int own_bytes(struct key *key)
{
    if (key->bytes == key->few || key->bytes == key->made || !key->size)
        return 0;
    void *made = malloc(key->size);
    if (!made) {
        key_end(key);
        PyErr_NoMemory();
        return -1;
    }
    key->bytes = memcpy(made, key->bytes, key->size);
    free(key->made);
    key->made = made;
    return 0;
}

static int key_of_bytes(struct key *ret, const struct site *p, unsigned kind, PyObject *bytes)
{
    int rc = key_of_text(ret, p, kind, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    return rc ? (raise_result(rc), -1) : own_bytes(ret);
}

/* One of the C library's: 1; 0: it is none; -1. */
static int key_of_plain(struct key *ret, const struct site *p, PyObject *object)
{
    struct plain plain;
    shoal_any *any;
    if (!plain_encode(&plain, object))
        return 0;
    bool whole = !plain.splices;
    int rc = whole ? shoal_any_decode(&any, plain.bytes, plain.size, NULL) : -EBADMSG;
    plain_end(&plain);
    if (rc == -EBADMSG)
        return 0;
    if (!rc) {
        rc = key_of_any(ret, p, any);
        int owned = rc ? 0 : own_bytes(ret);
        shoal_any_free(any);
        if (owned)
            return -1;
    }
    if (rc == -EINVAL)
        return 0; /* not hashable there */
    return rc ? (raise_result(rc), -1) : 1;
}

static __attribute__((noinline)) int key_of_other(struct key *ret, const struct site *p,
                                                  PyObject *object)
{
    static PyObject *pickle_key;
    if (PyUnicode_CheckExact(object)) {
        PyObject *bytes = PyUnicode_AsEncodedString(object, "utf-8", "surrogatepass");
        int rc = bytes ? key_of_bytes(ret, p, KEY_STR, bytes) : -1;
        Py_XDECREF(bytes);
        return rc;
    }
    if (PyObject_Hash(object) == -1) /* TypeError */
        return -1;
    int rc = key_of_plain(ret, p, object);
    if (rc)
        return rc < 0 ? -1 : 0;
    if (!pickle_key) {
        PyObject *module = PyImport_ImportModule("shoal._containers");
        pickle_key = module ? PyObject_GetAttrString(module, "pickle_key") : NULL;
        Py_XDECREF(module);
    }
    PyObject *bytes = pickle_key ? PyObject_CallOneArg(pickle_key, object) : NULL;
    if (bytes && !PyBytes_CheckExact(bytes))
        PyErr_SetString(PyExc_TypeError, "a pickle is bytes");
    rc = bytes && PyBytes_CheckExact(bytes) ? key_of_bytes(ret, p, KEY_PICKLE, bytes) : -1;
    Py_XDECREF(bytes);
    return rc;
}

int key_in(struct key *ret, const struct site *p, PyObject *object)
{
    shoal_any any;
    size_t size;
    const char *text;
    int overflow = 0, rc;
    if (likely(PyUnicode_CheckExact(object))) {
        if (!(text = utf8(object, &size)))
            return key_of_other(ret, p, object);
        rc = key_of_text(ret, p, KEY_STR, text, size);
    } else if (PyLong_CheckExact(object)) {
        long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
        if (overflow)
            return key_of_other(ret, p, object);
        any = (shoal_any){.kind = SHOAL_ANY_INT, .integer = value};
        rc = key_of_any(ret, p, &any);
    } else if (PyBytes_CheckExact(object)) {
        rc = key_of_text(ret, p, KEY_BYTES, PyBytes_AS_STRING(object),
                         (size_t)PyBytes_GET_SIZE(object));
    } else if (simple(&any, object)) {
        rc = key_of_any(ret, p, &any);
    } else {
        return key_of_other(ret, p, object);
    }
    return rc ? (raise_result(rc), -1) : 0;
}

static PyObject *int_out(const unsigned char *bytes, size_t size)
{
    uint64_t value;
    if (size == sizeof value) {
        memcpy(&value, bytes, sizeof value);
        return PyLong_FromLongLong((long long)value);
    }
#if PY_VERSION_HEX < 0x030d0000
    return _PyLong_FromByteArray(bytes, size, 1, 1);
#else
    return PyLong_FromNativeBytes(bytes, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#endif
}

PyObject *key_out(uint64_t info, const unsigned char *bytes)
{
    size_t size = KEY_SIZE(info);
    double real;
    if (KEY_FIRST(info))
        return parcel_read(bytes + size, KEY_FIRST(info));
    switch (KEY_KIND(info)) {
    case KEY_NONE: Py_RETURN_NONE;
    case KEY_INT: return int_out(bytes, size);
    case KEY_FLOAT: memcpy(&real, bytes, sizeof real); return PyFloat_FromDouble(real);
    case KEY_STR: return text_out(bytes, size);
    case KEY_PICKLE: return parcel_read(bytes, size);
    default: return PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)size);
    }
}

/* ---- numbers ---- */

bool number_in(shoal_any *ret, PyObject *object)
{
    int overflow = 0;
    if (PyFloat_CheckExact(object)) {
        *ret = (shoal_any){.kind = SHOAL_ANY_FLOAT, .real = PyFloat_AS_DOUBLE(object)};
    } else if (PyLong_Check(object)) {
        long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
        *ret = (shoal_any){.kind = SHOAL_ANY_INT, .integer = value};
        if (overflow)
            PyErr_SetString(PyExc_OverflowError, "the number needs more than 64 bits");
    } else {
        PyErr_Format(PyExc_TypeError, "a number is added, not '%.100s'", Py_TYPE(object)->tp_name);
        return false;
    }
    return !overflow;
}

PyObject *number_out(const shoal_any *any)
{
    return any->kind == SHOAL_ANY_FLOAT ? PyFloat_FromDouble(any->real)
                                        : PyLong_FromLongLong(any->integer);
}

int sum_of(const struct site *p, const struct fetched *old, struct item *new, struct sum *sum)
{
    shoal_any number;
    if (old && !word_number(old->word, old->bytes, &number))
        return fail(-EINVAL, "%s: the value is no number of 64 bits", p->call);
    int rc = container_sum(new, p, old ? &number : NULL, &sum->number);
    if (!rc)
        word_number(new->word, &new->raw, &sum->result);
    return rc;
}

PyObject *raise_sum(int rc)
{
    if (rc != -EINVAL && rc != -EOVERFLOW)
        return raise_result(rc);
    return raise_text(rc == -EINVAL ? PyExc_TypeError : PyExc_OverflowError);
}

/* ---- the rest ---- */

int site_in(struct site *p, PyObject *self, enum type type, const char *call)
{
    int rc = site_of(p, OF(self)->handle, type, call);
    return likely(!rc) ? 0 : (raise_result(rc), -1);
}

PyObject *container_acquired(int rc, void *handle, int (*release)(void *))
{
    if (rc == -EDEADLK)
        Py_RETURN_NONE;
    if (vainly(rc))
        Py_RETURN_FALSE;
    if (rc == SHOAL_OWNER_DIED && warn_owner_died()) {
        release(handle);
        return NULL;
    }
    if (rc < 0)
        return raise_result(rc);
    Py_RETURN_TRUE;
}

PyObject *container_released(int rc)
{
    if (rc == -EPERM)
        return PyErr_Format(PyExc_RuntimeError, "cannot release what this thread has not acquired");
    if (rc)
        return raise_result(rc);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    METHOD("is_stored", is_stored, METH_NOARGS,
           "is_stored()\n--\n\nWhether what is being pickled is to lie in a container."),
    {NULL, NULL, 0, NULL},
};

int container_add(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
