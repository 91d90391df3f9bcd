/* Objects as messages.
 *
 * Most are plain, and small (plain.h). What is not goes through pickle, with its buffers out of band: these are
 * copied once, to where the message lies. Objects of the family that are met meanwhile (their __reduce__ calls
 * carry) are held by the message until whoever takes it has opened them.
 *
 * A message is a pickle, or, where there are buffers beside it, an envelope, which no pickle begins like
 * (docs/design.md 12): a struct envelope, the size of each buffer, the pickle, the buffers, each aligned to 64.
 */
#include "parcel.h"
#include "message/message.h"
#include "message/pickle.h"
#include "plain.h"
#include "region/object.h"
#include <string.h>

struct envelope {
    unsigned char mark[8];
    uint64_t pickle;  /* bytes */
    uint64_t buffers; /* how many */
    uint64_t size[];  /* bytes of each; with READ_ONLY */
};
static const unsigned char mark[8] = {0, 's', 'h', 'o', 'a', 'l', 1, 0};
#define READ_ONLY (1ull << 63)
enum { ALIGNED = 64, MOST_BUFFERS = 1 << 20 };

static size_t aligned(size_t size)
{
    return (size + ALIGNED - 1) & ~(size_t)(ALIGNED - 1);
}

/* ---- a message in Python's hands ---- */

static PyTypeObject *Message;

struct message_object {
    PyObject_HEAD void *message;
};
#define MESSAGE_OF(self) (((struct message_object *)(self))->message)

/* Takes over the message, also when it fails. */
static PyObject *message_object(void *message)
{
    PyObject *self = Message->tp_alloc(Message, 0);
    if (self)
        MESSAGE_OF(self) = message;
    else
        message_close(message);
    return self;
}

static void message_destroy(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (MESSAGE_OF(self))
        message_close(MESSAGE_OF(self));
    type->tp_free(self);
    Py_DECREF(type);
}

static int message_buffer(PyObject *self, Py_buffer *as_view, int flags)
{
    void *message = MESSAGE_OF(self);
    return PyBuffer_FillInfo(as_view, self, message_bytes(message),
                             (Py_ssize_t)message_size(message), 0, flags);
}

static PyType_Slot message_slots[] = {
    {Py_tp_dealloc, message_destroy},
    {Py_bf_getbuffer, message_buffer},
    {Py_tp_doc,
     "A message that was taken, where it lies: it stays there until nothing refers to it."},
    {0, NULL},
};
static PyType_Spec message_spec = {
    .name = "shoal._shoal.Message",
    .basicsize = sizeof(struct message_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = message_slots,
};

/* ---- the objects of the family in what is being pickled ---- */

static _Thread_local struct cargo *cargo;

void cargo_end(struct cargo *c)
{
    pickle_objects_free(&c->objects);
    Py_CLEAR(c->owners);
}

static int cargo_add(struct cargo *c, PyObject *owner)
{
    shoal_reference r;
    if (!c->owners && !(c->owners = PyList_New(0)))
        return -1;
    PyObject *bytes = PyObject_CallMethod(owner, "_reference", NULL);
    if (!bytes || reference_from(bytes, &r) || PyList_Append(c->owners, owner)) {
        Py_XDECREF(bytes);
        return -1;
    }
    Py_DECREF(bytes);
    struct any_object object = {.reference = r, .type = header_at(r.id)->type, .held = true};
    int rc = pickle_objects_add(&c->objects, &object);
    return rc ? (raise_result(rc), -1) : 0;
}

/* The classes of those whose reference is all there is to them. */
enum { TRAVELLERS = 16 };
static PyTypeObject *travellers[TRAVELLERS];
static unsigned travellers_count;

int cargo_take(struct cargo *c, PyObject *object)
{
    bool travels = false;
    for (unsigned i = 0; i < travellers_count && !travels; i++)
        travels = Py_TYPE(object) == travellers[i];
    if (!travels)
        return -1;
    /* what is being encoded stays as it is */
    int number = (int)c->objects.count, collects = PyGC_Disable();
    int rc = cargo_add(c, object);
    if (collects)
        PyGC_Enable();
    if (!rc)
        return number;
    PyErr_Clear(); /* it is closed, say: pickle comes to the same */
    return -1;
}

/* travels(type): a reference is all there is to objects of exactly this type. */
static PyObject *parcel_travels(PyObject *module, PyObject *type)
{
    (void)module;
    if (!PyType_Check(type) || travellers_count == TRAVELLERS)
        return PyErr_Format(PyExc_ValueError, "%R cannot be one more that travels", type);
    Py_INCREF(type);
    travellers[travellers_count++] = (PyTypeObject *)type;
    Py_RETURN_NONE;
}

/* carry(object): if a message is being made by this thread, it holds the object from now on. */
static PyObject *parcel_carry(PyObject *module, PyObject *object)
{
    (void)module;
    if (!cargo)
        Py_RETURN_FALSE;
    if (cargo_add(cargo, object))
        return NULL;
    Py_RETURN_TRUE;
}

/* ---- pickle ---- */

/* A function of shoal._pickling. */
static PyObject *helper(PyObject **kept, const char *name)
{
    if (!*kept) {
        PyObject *module = PyImport_ImportModule("shoal._pickling");
        *kept = module ? PyObject_GetAttrString(module, name) : NULL;
        Py_XDECREF(module);
    }
    return *kept;
}

struct pickled {
    Py_buffer pickle;
    Py_buffer *buffers;
    size_t n, whole;
};

static void pickled_end(struct pickled *p)
{
    for (size_t i = 0; i < p->n; i++)
        PyBuffer_Release(&p->buffers[i]);
    PyMem_Free(p->buffers);
    if (p->pickle.obj)
        PyBuffer_Release(&p->pickle);
}

static int look_at_buffers(struct pickled *p, PyObject *list)
{
    Py_ssize_t n = PyList_GET_SIZE(list);
    if (!n) {
        p->whole = (size_t)p->pickle.len;
        return 0;
    }
    if (n > MOST_BUFFERS) {
        PyErr_Format(PyExc_ValueError, "a message of %zd buffers: %d are possible", n,
                     MOST_BUFFERS);
        return -1;
    }
    p->buffers = PyMem_Calloc((size_t)n, sizeof *p->buffers);
    if (!p->buffers)
        return PyErr_NoMemory(), -1;
    p->whole = sizeof(struct envelope) + (size_t)n * sizeof(uint64_t) + (size_t)p->pickle.len;
    for (Py_ssize_t i = 0; i < n; i++, p->n++) {
        if (PyObject_GetBuffer(PyList_GET_ITEM(list, i), &p->buffers[i], PyBUF_ANY_CONTIGUOUS))
            return -1;
        p->whole = aligned(p->whole) + (size_t)p->buffers[i].len;
    }
    return 0;
}

/* What pickle makes of it; -1 with an exception. */
static int pickle(struct pickled *ret, PyObject *object, struct cargo *c)
{
    static PyObject *dump;
    struct cargo *outer = cargo;
    *ret = (struct pickled){.n = 0};
    if (!helper(&dump, "dump"))
        return -1;
    cargo = c;
    PyObject *pair = PyObject_CallOneArg(dump, object);
    cargo = outer;
    if (!pair)
        return -1;
    int rc = PyObject_GetBuffer(PyTuple_GET_ITEM(pair, 0), &ret->pickle, PyBUF_SIMPLE);
    if (!rc)
        rc = look_at_buffers(ret, PyTuple_GET_ITEM(pair, 1));
    Py_DECREF(pair);
    return rc;
}

static void write_pickled(const void *argument, unsigned char *to)
{
    const struct pickled *p = argument;
    size_t at = sizeof(struct envelope) + p->n * sizeof(uint64_t);
    if (!p->n) {
        memcpy(to, p->pickle.buf, (size_t)p->pickle.len);
        return;
    }
    struct envelope *e = (struct envelope *)(void *)to;
    memcpy(e->mark, mark, sizeof mark);
    e->pickle = (uint64_t)p->pickle.len;
    e->buffers = p->n;
    memcpy(to + at, p->pickle.buf, (size_t)p->pickle.len);
    at += (size_t)p->pickle.len;
    for (size_t i = 0; i < p->n; i++) {
        const Py_buffer *b = &p->buffers[i];
        e->size[i] = (uint64_t)b->len | (b->readonly ? READ_ONLY : 0);
        at = aligned(at);
        memcpy(to + at, b->buf, (size_t)b->len);
        at += (size_t)b->len;
    }
}

/* ---- putting ---- */

static void write_plain(const void *argument, unsigned char *to)
{
    plain_write(argument, to);
}

/* A message that is an object of its own, which `write` writes where it lies. */
static int put_long(struct port *port, size_t size, struct pickle_objects *objects,
                    void (*write)(const void *argument, unsigned char *to), const void *argument,
                    int64_t until)
{
    void *message;
    unsigned char *bytes;
    int rc;
    if (until != SHOAL_NOW && port_is_ahead(port, size)) {
        Py_BEGIN_ALLOW_THREADS port_keep_pace(port, size);
        Py_END_ALLOW_THREADS
    }
    WAIT(rc, until, port_reserve(port, &message, size, objects, &bytes, deadline));
    if (rc)
        return rc;
    write(argument, bytes);
    WAIT(rc, until, port_commit(port, message, deadline));
    if (rc)
        message_close(message);
    return rc;
}

static __attribute__((noinline)) int put_pickled(struct port *port, PyObject *object, int64_t until)
{
    struct pickled p;
    struct cargo c = {.owners = NULL};
    int rc = PARCEL_NOT_PICKLED;
    if (!pickle(&p, object, &c)) {
        if (p.whole <= INLINE_MOST && !p.n && !c.objects.count)
            WAIT(rc, until, port_put(port, p.pickle.buf, p.whole, deadline));
        else
            rc = put_long(port, p.whole, &c.objects, write_pickled, &p, until);
    }
    pickled_end(&p);
    cargo_end(&c);
    return rc;
}

int parcel_put(struct port *port, PyObject *object, int64_t until)
{
    struct plain plain;
    struct cargo c = {.owners = NULL};
    int rc;
    if (!plain_encode_carrying(&plain, object, &c)) {
        if (c.owners)
            cargo_end(&c);
        return put_pickled(port, object, until);
    }
    if (plain.whole <= INLINE_MOST && !plain.splices && !c.owners) {
        WAIT(rc, until, port_put(port, plain.bytes, plain.whole, deadline));
        return rc;
    }
    rc = put_long(port, plain.whole, &c.objects, write_plain, &plain, until);
    plain_end(&plain);
    cargo_end(&c);
    return rc;
}

/* ---- getting ---- */

static PyObject *open_carried(void *message, size_t i)
{
    static const char *const classes[TYPES] = {
        [TYPE_LOCK] = "Lock",           [TYPE_RLOCK] = "RLock",     [TYPE_SEMAPHORE] = "Semaphore",
        [TYPE_EVENT] = "Event",         [TYPE_BARRIER] = "Barrier", [TYPE_QUEUE] = "Queue",
        [TYPE_END] = "Connection",      [TYPE_LIST] = "list",       [TYPE_DICT] = "dict",
        [TYPE_NAMESPACE] = "Namespace",
    };
    static PyObject *open;
    struct carried c;
    if (!message || !message_carried(message, i, &c))
        return PyErr_Format(PyExc_ValueError, "the message holds no object %zu", i);
    if (c.type >= TYPES || !classes[c.type])
        return PyErr_Format(PyExc_ValueError, "an object of the family that has no class here");
    PyObject *bytes =
        helper(&open, "open_object")
            ? reference_bytes(&(shoal_reference){view.region->family, c.id, c.generation})
            : NULL;
    PyObject *object = bytes ? PyObject_CallFunction(open, "sO", classes[c.type], bytes) : NULL;
    Py_XDECREF(bytes);
    return object;
}

/* carried(message, i): object i of a message, opened. */
static PyObject *parcel_carried(PyObject *module, PyObject *args)
{
    PyObject *message;
    Py_ssize_t i;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!n:carried", Message, &message, &i))
        return NULL;
    return open_carried(MESSAGE_OF(message), i < 0 ? SIZE_MAX : (size_t)i);
}

static __attribute__((noinline)) PyObject *unpickle_short(const unsigned char *bytes, size_t size)
{
    static PyObject *load;
    PyObject *copy = helper(&load, "load")
                         ? PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)size)
                         : NULL;
    PyObject *object = copy ? PyObject_CallOneArg(load, copy) : NULL;
    Py_XDECREF(copy);
    return object;
}

static inline PyObject *read_short(const unsigned char *bytes, size_t size)
{
    bool declined;
    PyObject *object = plain_decode(bytes, size, NULL, NULL, &declined);
    return declined ? unpickle_short(bytes, size) : object;
}

/* Where the content of a message lies that is one bytes or bytearray and nothing else; NULL: it is not. */
static const unsigned char *only_bytes(const unsigned char *at, size_t size, size_t *length)
{
    uint64_t n = 0;
    size_t head;
    if (size < 2 + 1 + 8 + 1 || at[0] != PROTO || at[size - 1] != STOP)
        return NULL;
    if (at[2] == BINBYTES) {
        memcpy(&n, at + 3, 4);
        head = 7;
    } else if (at[2] == BINBYTES8 || at[2] == BYTEARRAY8) {
        memcpy(&n, at + 3, 8);
        head = 11;
    } else {
        return NULL;
    }
    *length = (size_t)n;
    return n == size - head - 1 ? at + head : NULL;
}

/* [from, from + size) of a message, as a memoryview. */
static PyObject *part(PyObject *message, size_t from, size_t size, bool read_only)
{
    PyObject *whole = PyMemoryView_FromObject(message), *slice = NULL, *ret = NULL;
    PyObject *first = PyLong_FromSize_t(from), *last = PyLong_FromSize_t(from + size);
    if (whole && first && last)
        slice = PySlice_New(first, last, NULL);
    if (slice)
        ret = PyObject_GetItem(whole, slice);
    if (ret && read_only) {
        PyObject *locked = PyObject_CallMethod(ret, "toreadonly", NULL);
        Py_DECREF(ret);
        ret = locked;
    }
    Py_XDECREF(whole);
    Py_XDECREF(first);
    Py_XDECREF(last);
    Py_XDECREF(slice);
    return ret;
}

static PyObject *one_buffer(PyObject *message, size_t from, uint64_t size, bool read_only,
                            bool as_view)
{
    const char *bytes = (const char *)message_bytes(MESSAGE_OF(message)) + from;
    if (as_view)
        return part(message, from, size, read_only);
    return read_only ? PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size)
                     : PyByteArray_FromStringAndSize(bytes, (Py_ssize_t)size);
}

static PyObject *bad_envelope(void)
{
    return PyErr_Format(PyExc_ValueError, "the message is no envelope, though it begins like one");
}

/* The buffers of an envelope, as a list, and where its pickle is. */
static PyObject *open_envelope(PyObject *message, bool as_view, PyObject **pickle)
{
    const unsigned char *bytes = message_bytes(MESSAGE_OF(message));
    size_t whole = message_size(MESSAGE_OF(message));
    const struct envelope *e = (const struct envelope *)(const void *)bytes;
    uint64_t n = e->buffers, size = e->pickle;
    if (n > MOST_BUFFERS || size > whole || sizeof *e + n * sizeof(uint64_t) + size > whole)
        return bad_envelope();
    size_t at = sizeof *e + n * sizeof(uint64_t);
    PyObject *list = PyList_New((Py_ssize_t)n);
    *pickle = list ? part(message, at, size, true) : NULL;
    if (!*pickle) {
        Py_XDECREF(list);
        return NULL;
    }
    at += size;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t word = e->size[i], length = word & ~READ_ONLY;
        at = aligned(at);
        PyObject *buffer = at > whole || length > whole - at
                               ? bad_envelope()
                               : one_buffer(message, at, length, word & READ_ONLY, as_view);
        if (!buffer) {
            Py_DECREF(list);
            Py_CLEAR(*pickle);
            return NULL;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, buffer);
        at += length;
    }
    return list;
}

/* By pickle, with what is beside it. */
static PyObject *unpickle_long(PyObject *message, bool as_view)
{
    static PyObject *load, *load_carrying;
    PyObject *pickle = NULL, *buffers = NULL, *object = NULL;
    const unsigned char *bytes = message_bytes(MESSAGE_OF(message));
    size_t size = message_size(MESSAGE_OF(message));
    struct carried first;
    if (size >= sizeof(struct envelope) && !memcmp(bytes, mark, sizeof mark))
        buffers = open_envelope(message, as_view, &pickle);
    else if ((pickle = part(message, 0, size, true)))
        buffers = PyList_New(0);
    if (!buffers || !helper(&load, "load") || !helper(&load_carrying, "load_carrying"))
        goto end;
    object = message_carried(MESSAGE_OF(message), 0, &first)
                 ? PyObject_CallFunctionObjArgs(load_carrying, pickle, buffers, message, NULL)
                 : PyObject_CallFunctionObjArgs(load, pickle, buffers, NULL);
end:
    Py_XDECREF(pickle);
    Py_XDECREF(buffers);
    return object;
}

/* Takes over the message. */
static __attribute__((noinline)) PyObject *read_long(void *handle, bool as_view)
{
    const unsigned char *bytes = message_bytes(handle), *content;
    size_t size = message_size(handle), length;
    bool declined = true;
    PyObject *object = NULL;
    if (!as_view)
        object = plain_decode(bytes, size, open_carried, handle, &declined);
    if (!declined) {
        message_close(handle);
        return object;
    }
    PyObject *message = message_object(handle);
    if (!message)
        return NULL;
    if (as_view && (content = only_bytes(bytes, size, &length)))
        object = part(message, (size_t)(content - bytes), length, bytes[2] != BYTEARRAY8);
    else
        object = unpickle_long(message, as_view);
    Py_DECREF(message);
    return object;
}

/* Where the last long message came from; only compared. */
static const struct lanes *stream;

/* First a look, and a short one more, with the GIL held. */
static inline int take(struct port *port, void *buffer, struct taken *t, int64_t until)
{
    int rc = port_try(port, buffer, t, until != SHOAL_NOW);
    if (unlikely(rc == -EAGAIN)) {
        if (until == SHOAL_NOW)
            return port_take(port, buffer, t, SHOAL_NOW);
        do {
            bool lingers = stream == port->lanes;
            Py_BEGIN_ALLOW_THREADS spread_out();
            if (lingers)
                port_linger(port);
            rc = port_take(port, buffer, t, until);
            Py_END_ALLOW_THREADS
        } while (rc == -EINTR && !PyErr_CheckSignals());
    }
    if (likely(!rc))
        port_settle(port);
    return rc;
}

PyObject *parcel_get(struct port *port, int64_t until, bool as_view, int *rc)
{
    unsigned char buffer[INLINE_MOST];
    struct taken t;
    *rc = take(port, buffer, &t, until);
    if (*rc)
        return NULL;
    stream = t.object ? port->lanes : NULL;
    return t.object ? read_long(t.object, as_view) : read_short(buffer, t.size);
}

PyObject *parcel_get_bytes(struct port *port, int64_t until, int *rc)
{
    unsigned char buffer[INLINE_MOST];
    struct taken t;
    *rc = take(port, buffer, &t, until);
    if (*rc)
        return NULL;
    const unsigned char *bytes = t.object ? message_bytes(t.object) : buffer;
    PyObject *object = PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)t.size);
    if (t.object)
        message_close(t.object);
    return object;
}

/* ---- for who has a place of his own for the bytes ---- */

struct parcel {
    bool is_plain;
    union {
        struct plain plain;
        struct pickled pickled;
    };
    struct cargo cargo;
};

struct parcel *parcel_pack(PyObject *object, size_t *size, struct pickle_objects **objects)
{
    struct parcel *p = PyMem_Malloc(sizeof *p);
    if (!p)
        return (struct parcel *)PyErr_NoMemory();
    p->cargo = (struct cargo){.owners = NULL};
    p->is_plain = plain_encode_carrying(&p->plain, object, &p->cargo);
    if (!p->is_plain)
        cargo_end(&p->cargo);
    if (!p->is_plain && pickle(&p->pickled, object, &p->cargo)) {
        parcel_end(p);
        return NULL;
    }
    *size = p->is_plain ? p->plain.whole : p->pickled.whole;
    *objects = &p->cargo.objects;
    return p;
}

void parcel_write(const struct parcel *p, unsigned char *to)
{
    if (p->is_plain)
        plain_write(&p->plain, to);
    else
        write_pickled(&p->pickled, to);
}

void parcel_end(struct parcel *p)
{
    if (p->is_plain)
        plain_end(&p->plain);
    else
        pickled_end(&p->pickled);
    cargo_end(&p->cargo);
    PyMem_Free(p);
}

PyObject *parcel_read(const unsigned char *bytes, size_t size)
{
    return read_short(bytes, size);
}

PyObject *parcel_read_message(void *message)
{
    return read_long(message, false);
}

PyObject *parcel_keep(const unsigned char *bytes, const struct taken *t)
{
    return t->object ? message_object(t->object)
                     : PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)t->size);
}

PyObject *parcel_read_kept(PyObject *kept)
{
    if (PyBytes_CheckExact(kept))
        return read_short((const unsigned char *)PyBytes_AS_STRING(kept),
                          (size_t)PyBytes_GET_SIZE(kept));
    void *message = MESSAGE_OF(kept);
    MESSAGE_OF(kept) = NULL;
    return read_long(message, false);
}

void cargo_watch(struct cargo *c)
{
    *c = (struct cargo){.owners = NULL, .outer = cargo};
    cargo = c;
}

void cargo_unwatch(struct cargo *c)
{
    cargo = c->outer;
}

/* ---- the module ---- */

static PyMethodDef functions[] = {
    METHOD("carry", parcel_carry, METH_O,
           "carry(object)\n--\n\nWhether a message is being made, which holds the object from now "
           "on."),
    METHOD("travels", parcel_travels, METH_O,
           "travels(type)\n--\n\nTells that a reference is all there is to objects of exactly this "
           "type."),
    METHOD("carried", parcel_carried, METH_VARARGS,
           "carried(message, i)\n--\n\nOpens an object that it holds."),
    {NULL, NULL, 0, NULL},
};

int parcel_add(PyObject *module)
{
    return add_type(module, &Message, &message_spec) || PyModule_AddFunctions(module, functions)
               ? -1
               : 0;
}
