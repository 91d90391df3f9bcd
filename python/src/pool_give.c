/* Functions as workers find them, and tasks as bytes: what is given to the library. */
#include "parcel.h"
#include "pool.h"
#include <errno.h>
#include <string.h>

static PyTypeObject *Function;

enum { FUNCTIONS = 1024 /* that are known by name */ };

/* ---- functions ---- */

struct function *function_make(PyObject *function)
{
    struct encoded e;
    shoal_memory *memory;
    if (encode(&e, function))
        return NULL;
    int rc = shoal_memory_create(&memory, e.size + 1, NULL);
    if (rc) {
        encoded_free(&e);
        raise_result(rc);
        return NULL;
    }
    unsigned char *at = shoal_memory_address(memory);
    at[0] = e.how;
    encoded_write(&e, at + 1);
    encoded_free(&e);
    struct function *f = (struct function *)Function->tp_alloc(Function, 0);
    if (!f) {
        shoal_memory_close(memory);
        return NULL;
    }
    f->memory = memory;
    shoal_memory_reference(memory, &f->reference);
    return f;
}

static void function_destroy(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    shoal_memory_close(((struct function *)self)->memory);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Whether it is pickled by name, so that what it is does not change. */
static bool has_name(PyObject *function)
{
    if (!PyFunction_Check(function) && !PyType_Check(function) &&
        !(PyCFunction_CheckExact(function) &&
          (!PyCFunction_GET_SELF(function) || PyModule_Check(PyCFunction_GET_SELF(function)))))
        return false;
    PyObject *custom = PyObject_CallOneArg(pool_helpers.custom, (PyObject *)Py_TYPE(function));
    if (!custom)
        PyErr_Clear();
    bool is = custom == Py_False;
    Py_XDECREF(custom);
    return is;
}

struct function *engine_function(struct engine *e, PyObject *function)
{
    struct function *f = (struct function *)PyDict_GetItemWithError(e->functions, function);
    if (f)
        return (struct function *)Py_NewRef((PyObject *)f);
    if (PyErr_Occurred()) { /* it has no hash */
        PyErr_Clear();
        return NULL;
    }
    if (PyDict_GET_SIZE(e->functions) >= FUNCTIONS || !has_name(function))
        return NULL;
    f = function_make(function);
    if (f && PyDict_SetItem(e->functions, function, (PyObject *)f))
        Py_CLEAR(f);
    return f;
}

static PyType_Slot function_slots[] = {
    {Py_tp_dealloc, function_destroy},
    {Py_tp_doc, "A function, as workers find it."},
    {0, NULL},
};
static PyType_Spec function_spec = {
    .name = "shoal._shoal.Function",
    .basicsize = sizeof(struct function),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = function_slots,
};

/* ---- giving ---- */

enum { SCRATCH = 256 };

/* Raises what a pool says that takes no task. */
static void refuse(int rc)
{
    if (rc == -EPIPE || rc == -ECANCELED) {
        engine_not_running();
    } else if (rc == -ECONNABORTED) {
        PyObject *failure =
            PyObject_CallFunction(pool_helpers.failure, "iiis", -rc, 0, 0, shoal_error_detail());
        if (failure)
            PyErr_SetObject((PyObject *)Py_TYPE(failure), failure);
        Py_XDECREF(failure);
    } else {
        raise_result(rc);
    }
}

/* Gives a task of bytes; what they lie in, if that is a message, goes with it. */
static int give(struct engine *e, struct result **ret, const void *bytes, size_t size,
                void *message, struct arrivals *row, void *tag, enum interest interest)
{
    struct own *p = e->own;
    const shoal_task_options *options = e->optioned ? &e->options : NULL;
    shoal_task_options care = e->options;
    care.flags = TASK_CARES;
    if (interest == MINDED)
        options = &care;
    os_mutex_lock(&p->mutex);
    int rc = pool_is_over(p, "the pool");
    p->quiet = interest == AT_ONCE;
    if (!rc)
        rc = task_give(p, ret, e->code, NULL, bytes, size, options, NULL, "the pool");
    p->quiet = false;
    if (!rc && message) /* until it is done */
        (*ret)->message = message;
    if (!rc && row) {
        (*ret)->row = row;
        (*ret)->tag = tag;
        row->pending++;
        if (row == &p->due) /* which holds it beside the outcome */
            atomic_fetch_add(&(*ret)->holders, HELD);
    }
    os_mutex_unlock(&p->mutex);
    if (!rc)
        return 0;
    refuse(rc);
    return -1;
}

static int give_short(struct engine *e, struct result **ret, const struct head *head,
                      const struct encoded *encoded, struct arrivals *row, void *tag,
                      enum interest interest)
{
    unsigned char scratch[SCRATCH];
    memcpy(scratch, head, HEAD);
    encoded_write(encoded, scratch + HEAD);
    return give(e, ret, scratch, HEAD + encoded->size, NULL, row, tag, interest);
}

/* Written to where it is read, in a message that the result holds until it is done, and with it the objects of the family that
 * the worker will open. */
static int give_long(struct engine *e, struct result **ret, const struct head *head,
                     const struct encoded *encoded, struct pickle_objects *objects,
                     struct arrivals *row, void *tag, enum interest interest)
{
    struct place place;
    struct lanes *q = queue_of(e->own->results, "the pool", &place);
    struct shortage shortage = shortage_of(q, &place, SHOAL_NOW);
    size_t size = HEAD + encoded->size;
    unsigned char *bytes;
    void *message;
    int rc = objects->count ? message_create_carrying(&message, size, 0, objects, &shortage, &bytes)
                            : message_create(&message, size, 0, &shortage, &bytes);
    if (rc) {
        PyErr_Format(PyExc_MemoryError, "the region, or the quota, has no room for %zu bytes",
                     size);
        return -1;
    }
    object_inner(message);
    memcpy(bytes, head, HEAD);
    encoded_write(encoded, bytes + HEAD);
    rc = give(e, ret, bytes, size, message, row, tag, interest);
    if (rc)
        object_close(message, TYPE_MESSAGE);
    return rc;
}

int engine_give(struct engine *e, struct result **ret, enum kind kind,
                const struct function *function, PyObject *argument, struct arrivals *row,
                void *tag, enum interest interest)
{
    struct encoded encoded;
    struct cargo cargo;
    struct head head = {.kind = (uint8_t)kind};
    if (!pool_is_mine(e->own)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "another process made the pool; only that one may use it");
        return -1;
    }
    cargo_watch(&cargo);
    int failed = kind == CHUNK ? encode_chunk(&encoded, argument) : encode(&encoded, argument);
    cargo_unwatch(&cargo);
    if (failed) {
        cargo_end(&cargo);
        return -1;
    }
    if (function) {
        head.id = function->reference.id;
        head.generation = function->reference.generation;
    }
    head.how = encoded.how;
    int rc = HEAD + encoded.size <= SCRATCH && !cargo.objects.count
                 ? give_short(e, ret, &head, &encoded, row, tag, interest)
                 : give_long(e, ret, &head, &encoded, &cargo.objects, row, tag, interest);
    encoded_free(&encoded);
    cargo_end(&cargo);
    return rc;
}

int engine_call(struct engine *e, struct result **ret, struct function **f, PyObject *function,
                PyObject *arguments, PyObject *named, struct arrivals *row, void *tag,
                enum interest interest)
{
    int rc = -1;
    PyObject *all;
    bool has_named = named && !(PyDict_Check(named) && !PyDict_GET_SIZE(named));
    *f = engine_function(e, function);
    if (!*f && PyErr_Occurred())
        return -1;
    if (*f && !has_named)
        return engine_give(e, ret, CALL, *f, arguments, row, tag, interest);
    if (!has_named)
        named = Py_None;
    all = *f ? PyTuple_Pack(2, arguments, named) : PyTuple_Pack(3, function, arguments, named);
    if (all)
        rc = engine_give(e, ret, *f ? CALL_NAMED : CALL_ALL, *f, all, row, tag, interest);
    Py_XDECREF(all);
    return rc;
}

int give_add(PyObject *module)
{
    return add_type(module, &Function, &function_spec);
}
