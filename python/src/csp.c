/* Channels, their ends, and alternation, for ../shoal/csp.py.
 *
 * A message is a pickle: the bytes that a C program of the family reads as an any, if the object is a plain
 * one (plain.h); otherwise what ../shoal/csp.py has made of it.
 */
#include "object.h"
#include "plain.h"
#include <errno.h>
#include <string.h>

static PyTypeObject *Channel, *End;
static PyObject *Retired, *Poisoned, *dumps, *loads;

/* ---- messages ---- */

enum { SHORT_MESSAGE = 2048 };

/* Where a message is read: on the stack, or, after one that was longer, on the heap. */
struct room {
    size_t capacity, size;
    unsigned char *bytes;
    unsigned char own[SHORT_MESSAGE];
};

static void room_begin(struct room *r)
{
    r->bytes = r->own;
    r->capacity = sizeof r->own;
    r->size = 0;
}

static void room_end(struct room *r)
{
    if (r->bytes != r->own)
        PyMem_RawFree(r->bytes);
}

/* For a message of `size` bytes; 0: of more than there was room for. */
static int room_grow(struct room *r, size_t size)
{
    size = size ? size : r->capacity * 16;
    unsigned char *bytes = PyMem_RawMalloc(size);
    if (!bytes)
        return PyErr_NoMemory(), -1;
    room_end(r);
    r->bytes = bytes;
    r->capacity = size;
    return 0;
}

static PyObject *room_object(const struct room *r)
{
    bool declined = false;
    PyObject *plain = plain_decode(r->bytes, r->size, NULL, NULL, &declined);
    if (plain || !declined)
        return plain;
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)r->bytes, (Py_ssize_t)r->size);
    PyObject *object = bytes ? PyObject_CallOneArg(loads, bytes) : NULL;
    Py_XDECREF(bytes);
    return object;
}

/* The bytes of an object, until letter_end: in `plain`, or a bytes object. */
struct letter {
    const void *bytes;
    size_t size;
    PyObject *object;
    struct plain plain;
};

static int letter_pickle(struct letter *l, PyObject *object)
{
    l->object = PyObject_CallOneArg(dumps, object);
    if (!l->object)
        return -1;
    if (!PyBytes_Check(l->object)) {
        PyErr_Format(PyExc_TypeError, "pickling made %R, not bytes", l->object);
        Py_CLEAR(l->object);
        return -1;
    }
    l->bytes = PyBytes_AS_STRING(l->object);
    l->size = (size_t)PyBytes_GET_SIZE(l->object);
    return 0;
}

static int letter_begin(struct letter *l, PyObject *object)
{
    l->object = NULL;
    if (!plain_encode(&l->plain, object))
        return letter_pickle(l, object);
    l->size = l->plain.whole;
    l->bytes = l->plain.bytes;
    if (!l->plain.splices)
        return 0;
    l->bytes = NULL;
    l->object = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)l->size);
    if (l->object) {
        plain_write(&l->plain, (unsigned char *)PyBytes_AS_STRING(l->object));
        l->bytes = PyBytes_AS_STRING(l->object);
    }
    plain_end(&l->plain);
    return l->bytes ? 0 : -1;
}

/* What the end of a channel means. */
static PyObject *raise_end(int rc)
{
    if (rc == -EPIPE || rc == -ECANCELED)
        return raise_text(rc == -EPIPE ? Retired : Poisoned);
    return raise_result(rc);
}

/* ---- Channel ---- */

struct end {
    PyObject_HEAD shoal_channel_end *handle;
};
#define END(self) (((struct end *)(self))->handle)
#define CHANNEL(self) ((shoal_channel *)OF(self)->handle)

COMMON_METHODS(channel)

static int channel_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"buffer", "name", NULL};
    Py_ssize_t buffer = 0;
    const char *name = NULL;
    shoal_channel *handle;
    if (object_fresh(self) ||
        !PyArg_ParseTupleAndKeywords(args, keywords, "|nz:Channel", names, &buffer, &name))
        return -1;
    if (buffer < 0) {
        PyErr_Format(PyExc_ValueError, "a buffer has room for 0 messages or more, not %zd", buffer);
        return -1;
    }
    int rc = shoal_channel_create(&handle, &(shoal_channel_options){.buffer = (uint64_t)buffer,
                                                                    .name = name});
    if (rc)
        return raise_result(rc), -1;
    OF(self)->handle = handle;
    return 0;
}

static PyObject *make_end(PyObject *self, PyObject *type,
                          int (*end)(shoal_channel *, shoal_channel_end **))
{
    if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, End))
        return PyErr_Format(PyExc_TypeError, "an end is an _End, not %R", type);
    PyObject *made = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0);
    int rc = made ? end(CHANNEL(self), &END(made)) : 0;
    if (!rc)
        return made;
    Py_DECREF(made);
    return raise_end(rc);
}

static PyObject *channel_reader(PyObject *self, PyObject *type)
{
    return make_end(self, type, shoal_channel_reader);
}

static PyObject *channel_writer(PyObject *self, PyObject *type)
{
    return make_end(self, type, shoal_channel_writer);
}

static PyMethodDef channel_methods[] = {
    METHOD("_reader", channel_reader, METH_O, "_reader(type): a further reading end"),
    METHOD("_writer", channel_writer, METH_O, "_writer(type): a further writing end"),
    COMMON_TABLE(channel),
    {NULL, NULL, 0, NULL},
};
static PyType_Slot channel_slots[] = {
    {Py_tp_init, channel_init},
    {Py_tp_dealloc, channel_destroy},
    {Py_tp_methods, channel_methods},
    {Py_tp_doc, "Channel(buffer=0, name=None)\n--\n\nA channel, any to any."},
    {0, NULL},
};
static PyType_Spec channel_spec = {
    .name = "shoal._shoal.Channel",
    .basicsize = sizeof(struct object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = channel_slots,
};

/* ---- End ---- */

static PyObject *end_write(PyObject *self, PyObject *object)
{
    int rc;
    struct letter letter;
    if (letter_begin(&letter, object))
        return NULL;
    WAIT(rc, SHOAL_FOREVER,
         shoal_channel_write_bytes(END(self), letter.bytes, letter.size, deadline));
    Py_XDECREF(letter.object);
    if (rc)
        return raise_end(rc);
    Py_RETURN_NONE;
}

static PyObject *end_read(PyObject *self, PyObject *unused)
{
    int rc;
    struct room room;
    (void)unused;
    room_begin(&room);
    for (;;) {
        WAIT(rc, SHOAL_FOREVER,
             shoal_channel_read_bytes(END(self), room.bytes, room.capacity, &room.size, deadline));
        if (rc != -EMSGSIZE || room_grow(&room, room.size))
            break;
    }
    PyObject *object = NULL;
    if (!rc)
        object = room_object(&room);
    else if (!PyErr_Occurred())
        raise_end(rc);
    room_end(&room);
    return object;
}

static PyObject *end_retire(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = shoal_channel_retire(END(self));
    if (rc)
        return raise_end(rc);
    Py_RETURN_NONE;
}

static PyObject *end_poison(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = shoal_channel_poison(END(self));
    if (rc)
        return raise_end(rc);
    Py_RETURN_NONE;
}

static PyObject *end_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    END(self) = shoal_channel_end_close(END(self));
    Py_RETURN_NONE;
}

static void end_destroy(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    shoal_channel_end_close(END(self));
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *end_open(PyObject *type, PyObject *bytes)
{
    shoal_reference reference;
    if (reference_from(bytes, &reference))
        return NULL;
    PyObject *self = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0);
    int rc = self ? shoal_channel_end_open(&END(self), &reference) : 0;
    if (!rc)
        return self;
    Py_DECREF(self);
    return raise_result(rc);
}

static PyObject *end_reference(PyObject *self, PyObject *unused)
{
    shoal_reference r;
    (void)unused;
    int rc = shoal_channel_end_reference(END(self), &r);
    return rc ? raise_result(rc) : reference_bytes(&r);
}

static PyMethodDef end_methods[] = {
    METHOD("_write", end_write, METH_O, "_write(object)"),
    METHOD("_read", end_read, METH_NOARGS, "_read()"),
    METHOD("_retire", end_retire, METH_NOARGS, "_retire()"),
    METHOD("_poison", end_poison, METH_NOARGS, "_poison()"),
    METHOD("_close", end_close, METH_NOARGS, "_close(): this process does not have it any more"),
    METHOD("_open", end_open, METH_O | METH_CLASS,
           "_open(reference): the same in another process."),
    METHOD("_reference", end_reference, METH_NOARGS, "_reference(): for _open."),
    {NULL, NULL, 0, NULL},
};
static PyType_Slot end_slots[] = {
    {Py_tp_dealloc, end_destroy},
    {Py_tp_methods, end_methods},
    {Py_tp_doc, "An end of a channel."},
    {0, NULL},
};
static PyType_Spec end_spec = {
    .name = "shoal._shoal.ChannelEnd",
    .basicsize = sizeof(struct end),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = end_slots,
};

/* ---- alternation ---- */

/* One guard, (kind, end, what, chosen): what is a message's bytes, or a timeout's seconds. */
static int guard_of(shoal_guard *g, PyObject *tuple, const struct room *room)
{
    int kind;
    PyObject *end, *what;
    unsigned long long chosen;
    if (!PyArg_ParseTuple(tuple, "iOOK", &kind, &end, &what, &chosen))
        return -1;
    *g = (shoal_guard){.kind = (enum shoal_guard_kind)kind, .chosen = chosen};
    if (kind == SHOAL_TIMEOUT) {
        g->deadline = deadline_of(what);
        return g->deadline < 0 ? -1 : 0;
    }
    if (kind != SHOAL_INPUT && kind != SHOAL_OUTPUT)
        return 0;
    if (!PyObject_TypeCheck(end, End)) {
        PyErr_Format(PyExc_TypeError, "a guard is on an end of a channel, not %R", end);
        return -1;
    }
    g->end = END(end);
    if (kind == SHOAL_INPUT) {
        g->buffer = room->bytes;
        g->capacity = room->capacity;
        return 0;
    }
    char *text;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(what, &text, &size))
        return -1;
    g->bytes = text;
    g->size = (size_t)size;
    return 0;
}

static int guards_of(shoal_guard guards[], PyObject *list, Py_ssize_t n, const struct room *room)
{
    for (Py_ssize_t i = 0; i < n; i++)
        if (guard_of(&guards[i], PyList_GET_ITEM(list, i), room))
            return -1;
    return 0;
}

/* alternate([(kind, end, what, chosen)], choice): (index, message or None). */
static PyObject *alternate(PyObject *module, PyObject *args)
{
    enum { FEW = 8 };
    PyObject *list, *message = NULL;
    int choice, rc = -1;
    struct room room;
    shoal_guard few[FEW], *guards = few;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!i:alternate", &PyList_Type, &list, &choice))
        return NULL;
    Py_ssize_t n = PyList_GET_SIZE(list);
    room_begin(&room);
    if (n > FEW && !(guards = PyMem_Calloc((size_t)n, sizeof *guards)))
        return PyErr_NoMemory();
    do {
        if (guards_of(guards, list, n, &room))
            goto end;
        WAIT(rc, SHOAL_FOREVER,
             shoal_alternate(guards, (size_t)n, (enum shoal_choice)choice, deadline));
    } while (rc == -EMSGSIZE && !room_grow(&room, 0));
    if (rc < 0) {
        if (!PyErr_Occurred())
            raise_end(rc);
        goto end;
    }
    if (guards[rc].kind == SHOAL_INPUT) {
        room.size = guards[rc].size;
        message = room_object(&room);
    } else {
        message = Py_None;
        Py_INCREF(message);
    }
end:
    room_end(&room);
    if (guards != few)
        PyMem_Free(guards);
    return message ? Py_BuildValue("(iN)", rc, message) : NULL;
}

/* set_csp(Retired, Poisoned, dumps, loads): what ../shoal/csp.py brings. */
static PyObject *set_csp(PyObject *module, PyObject *args)
{
    PyObject *retired, *poisoned, *to, *from;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOO:set_csp", &retired, &poisoned, &to, &from))
        return NULL;
    Py_XDECREF(Retired);
    Py_XDECREF(Poisoned);
    Py_XDECREF(dumps);
    Py_XDECREF(loads);
    Py_INCREF(retired);
    Py_INCREF(poisoned);
    Py_INCREF(to);
    Py_INCREF(from);
    Retired = retired;
    Poisoned = poisoned;
    dumps = to;
    loads = from;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    METHOD("alternate", alternate, METH_VARARGS,
           "alternate([(kind, end, what, chosen)], choice)\n--\n\nCarries one guard out: its "
           "index, and the message."),
    METHOD("set_csp", set_csp, METH_VARARGS, "set_csp(Retired, Poisoned, dumps, loads)"),
    {NULL, NULL, 0, NULL},
};

int csp_add(PyObject *module)
{
    return add_type(module, &Channel, &channel_spec) || add_type(module, &End, &end_spec) ||
                   PyModule_AddFunctions(module, functions)
               ? -1
               : 0;
}
