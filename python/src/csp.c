/* Channels, their ends, and alternation, for ../shoal/csp.py.
 *
 * A message is a pickle: the bytes that a C program of the family reads as an any, if the object is a plain
 * one (plain.h); otherwise what ../shoal/csp.py has made of it. Objects of the family in it, ends of channels too, are
 * held by the message until whoever reads it has opened them.
 */
#include "csp/alternation.h"
#include "message/message.h"
#include "object.h"
#include "parcel.h"
#include "plain.h"
#include <errno.h>
#include <string.h>

static PyTypeObject *Channel, *End;
static PyObject *Retired, *Poisoned, *dumps, *loads;

/* ---- messages ---- */

/* The object that came; what came is given up. */
static PyObject *got_object(struct got *got)
{
    bool declined = false;
    if (got->object)
        return parcel_read_message(got->object);
    PyObject *plain = plain_decode(got->bytes, got->size, NULL, NULL, &declined);
    if (plain || !declined)
        return plain;
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)got->bytes, (Py_ssize_t)got->size);
    PyObject *object = bytes ? PyObject_CallOneArg(loads, bytes) : NULL;
    Py_XDECREF(bytes);
    return object;
}

/* The bytes of an object, until mail_end: in `plain`, or a bytes object; and what they refer to. */
struct mail {
    const void *bytes;
    size_t size;
    PyObject *object;
    struct cargo cargo;
};

static int mail_pickle(struct mail *m, PyObject *object)
{
    cargo_watch(&m->cargo);
    m->object = PyObject_CallOneArg(dumps, object);
    cargo_unwatch(&m->cargo);
    if (m->object && !PyBytes_Check(m->object)) {
        PyErr_Format(PyExc_TypeError, "pickling made %R, not bytes", m->object);
        Py_CLEAR(m->object);
    }
    if (!m->object) {
        cargo_end(&m->cargo);
        return -1;
    }
    m->bytes = PyBytes_AS_STRING(m->object);
    m->size = (size_t)PyBytes_GET_SIZE(m->object);
    return 0;
}

static int mail_begin(struct mail *m, PyObject *object, struct plain *plain)
{
    m->object = NULL;
    m->cargo = (struct cargo){.owners = NULL};
    if (!plain_encode(plain, object))
        return mail_pickle(m, object);
    m->size = plain->whole;
    m->bytes = plain->bytes;
    if (!plain->splices)
        return 0;
    m->bytes = NULL;
    m->object = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)m->size);
    if (m->object) {
        plain_write(plain, (unsigned char *)PyBytes_AS_STRING(m->object));
        m->bytes = PyBytes_AS_STRING(m->object);
    }
    plain_end(plain);
    return m->bytes ? 0 : -1;
}

static void mail_end(struct mail *m)
{
    Py_CLEAR(m->object);
    cargo_end(&m->cargo);
}

/* As a message that holds what it refers to: 0, or as shoal_channel_write. */
static int mail_message(const struct mail *m, shoal_channel_end *end,
                        struct pickle_objects *objects, void **ret)
{
    unsigned char *bytes;
    int rc;
    WAIT(rc, SHOAL_FOREVER, channel_reserve(end, ret, m->size, objects, &bytes, deadline));
    if (!rc)
        memcpy(bytes, m->bytes, m->size);
    return rc;
}

/* What the end of a channel means. */
static PyObject *raise_end(int rc)
{
    if (rc == -EPIPE || rc == -ECANCELED) {
        PyErr_SetString(rc == -EPIPE ? Retired : Poisoned, shoal_error_detail());
        return NULL;
    }
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

static int write_carrying(shoal_channel_end *end, struct mail *m)
{
    void *message;
    int rc = mail_message(m, end, &m->cargo.objects, &message);
    if (rc)
        return rc;
    WAIT(rc, SHOAL_FOREVER, channel_write_message(end, message, deadline));
    if (rc)
        message_close(message);
    return rc;
}

static PyObject *end_write(PyObject *self, PyObject *object)
{
    int rc;
    struct mail mail;
    struct plain plain;
    if (mail_begin(&mail, object, &plain))
        return NULL;
    if (mail.cargo.objects.count)
        rc = write_carrying(END(self), &mail);
    else
        WAIT(rc, SHOAL_FOREVER,
             shoal_channel_write_bytes(END(self), mail.bytes, mail.size, deadline));
    mail_end(&mail);
    if (!rc)
        Py_RETURN_NONE;
    return PyErr_Occurred() ? NULL : raise_end(rc);
}

static PyObject *end_read(PyObject *self, PyObject *unused)
{
    int rc;
    struct got got;
    (void)unused;
    WAIT(rc, SHOAL_FOREVER, channel_read_message(END(self), &got, deadline));
    if (!rc)
        return got_object(&got);
    return PyErr_Occurred() ? NULL : raise_end(rc);
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

/* The guards of a call, and what those that write have to write. */
struct guards {
    Py_ssize_t n;
    shoal_guard *guard;
    struct mail *mail;
    void **message; /* mail with objects of the family */
    struct plain plain;
};

static void guards_end(struct guards *all)
{
    for (Py_ssize_t i = 0; i < all->n; i++) {
        if (all->message && all->message[i])
            message_close(all->message[i]);
        if (all->mail)
            mail_end(&all->mail[i]);
    }
    PyMem_Free(all->guard);
    PyMem_Free(all->mail);
    PyMem_Free(all->message);
}

/* What guard i writes, in memory that stays. */
static int guard_mail(struct guards *all, Py_ssize_t i, PyObject *object)
{
    struct mail *m = &all->mail[i];
    if (mail_begin(m, object, &all->plain))
        return -1;
    if (m->cargo.objects.count) {
        int rc = mail_message(m, all->guard[i].end, &m->cargo.objects, &all->message[i]);
        if (!rc || rc == -EPIPE || rc == -ECANCELED) /* over: it will not be written */
            return 0;
        if (!PyErr_Occurred())
            raise_result(rc);
        return -1;
    }
    if (!m->object) {
        m->object = PyBytes_FromStringAndSize(m->bytes, (Py_ssize_t)m->size);
        if (!m->object)
            return -1;
    }
    all->guard[i].bytes = PyBytes_AS_STRING(m->object);
    all->guard[i].size = m->size;
    return 0;
}

/* One guard, (kind, end, what, chosen): what is the object to write, or a timeout's seconds. */
static int guard_of(struct guards *all, Py_ssize_t i, PyObject *tuple)
{
    int kind;
    PyObject *end, *what;
    unsigned long long chosen;
    shoal_guard *g = &all->guard[i];
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
    return kind == SHOAL_INPUT ? 0 : guard_mail(all, i, what);
}

static int guards_begin(struct guards *all, PyObject *list)
{
    size_t n = (size_t)PyList_GET_SIZE(list);
    *all = (struct guards){.n = (Py_ssize_t)n};
    all->guard = PyMem_Calloc(n + 1, sizeof *all->guard);
    all->mail = PyMem_Calloc(n + 1, sizeof *all->mail);
    all->message = PyMem_Calloc(n + 1, sizeof *all->message);
    if (!all->guard || !all->mail || !all->message)
        return PyErr_NoMemory(), -1;
    for (Py_ssize_t i = 0; i < all->n; i++)
        if (guard_of(all, i, PyList_GET_ITEM(list, i)))
            return -1;
    return 0;
}

/* alternate([(kind, end, what, chosen)], choice): (index, message or None). */
static PyObject *alternate(PyObject *module, PyObject *args)
{
    PyObject *list, *message = NULL;
    int choice, rc = -1;
    struct got got;
    struct guards all;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!i:alternate", &PyList_Type, &list, &choice))
        return NULL;
    if (!guards_begin(&all, list)) {
        WAIT(rc, SHOAL_FOREVER,
             channel_alternate(all.guard, (size_t)all.n, (enum shoal_choice)choice, all.message,
                               &got, deadline));
        if (rc < 0 && !PyErr_Occurred())
            raise_end(rc);
    }
    if (rc >= 0)
        message = all.guard[rc].kind == SHOAL_INPUT ? got_object(&got) : Py_NewRef(Py_None);
    guards_end(&all);
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
