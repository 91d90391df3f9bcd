/* Memory, and the wrappers that put a lock around ctypes objects in it.
 *
 * What is shared is ctypes' object, whose buffer is a Memory; of plain numbers the wrapper reads and writes the
 * items itself, with the same results. What it does not know, or what ctypes refuses, ctypes is asked for. Any
 * object with acquire and release is good as a lock; shoal's own ones are called directly.
 */
#include "object.h"
#include "region/object.h"
#include "sync/sync.h"
#include <errno.h>
#include <structmember.h>
#include <wchar.h>

static PyTypeObject *Memory, *Synchronized, *SynchronizedArray;

/* ---- Memory: bytes in the region, as a buffer ---- */

COMMON_METHODS(memory)

static int memory_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"size", "name", NULL};
    Py_ssize_t size;
    const char *name = NULL;
    if (object_fresh(self) ||
        !PyArg_ParseTupleAndKeywords(args, keywords, "n|$z:Memory", names, &size, &name))
        return -1;
    if (size < 0) {
        PyErr_Format(PyExc_ValueError, "memory of %zd bytes", size);
        return -1;
    }
    int rc = shoal_memory_create(&OF(self)->memory, size ? (size_t)size : 1,
                                 &(shoal_memory_options){.flags = SHOAL_ZERO, .name = name});
    return rc ? (raise_result(rc), -1) : 0;
}

static int memory_buffer(PyObject *self, Py_buffer *buffer, int flags)
{
    void *at = shoal_memory_address(OF(self)->memory);
    if (!at) {
        PyErr_SetString(PyExc_ValueError, "memory that is not open");
        return -1;
    }
    return PyBuffer_FillInfo(buffer, self, at, (Py_ssize_t)shoal_memory_size(OF(self)->memory), 0,
                             flags);
}

static PyObject *memory_view(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyMemoryView_FromObject(self);
}

static PyMethodDef memory_methods[] = {
    METHOD("create_memoryview", memory_view, METH_NOARGS,
           "create_memoryview()\n--\n\nIts bytes; 1 if it was made with 0."),
    COMMON_TABLE(memory),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot memory_slots[] = {
    {Py_tp_init, memory_init},
    {Py_tp_dealloc, memory_destroy},
    {Py_tp_methods, memory_methods},
    {Py_bf_getbuffer, memory_buffer},
    {Py_tp_doc,
     "Memory(size, *, name=None)\n--\n\nZeroed bytes that the family shares. MemoryError."},
    {0, NULL},
};
static PyType_Spec memory_spec = {
    .name = "shoal._shoal.Memory",
    .basicsize = sizeof(struct object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = memory_slots,
};

/* ---- wrappers ---- */

/*   code    what its items are, a character of ctypes' (memory.h lists them); 0: what only ctypes knows
 *   items   where they lie, while the view lasts
 *   rlock, plain  the lock's handle, if it is one of shoal's; the lock holds it
 */
struct wrapper {
    PyObject_HEAD PyObject *object, *lock;
    shoal_rlock *rlock;
    shoal_lock *plain;
    Py_buffer view;
    char *items;
    Py_ssize_t count;
    Py_ssize_t size; /* bytes of an item */
    char code;
};
#define WRAPPER(self) ((struct wrapper *)(self))

static bool is_wrapped(const struct wrapper *w)
{
    if (w->lock)
        return true;
    PyErr_SetString(PyExc_RuntimeError, "__init__ was not called");
    return false;
}

/* Whether the calling thread has the lock, as it mostly has in `with`: then there is nothing to take. */
static inline bool is_mine(const struct wrapper *w)
{
    const struct header *h = w->rlock ? header_of(w->rlock, TYPE_RLOCK) : NULL;
    return h && rlock_mine(h);
}

/* Takes the lock: true; or false with an exception. */
static bool take(struct wrapper *w)
{
    int rc;
    if (w->rlock) {
        WAIT_TO_HOLD(rc, SHOAL_FOREVER, shoal_rlock_acquire(w->rlock, deadline));
    } else if (w->plain) {
        WAIT_TO_HOLD(rc, SHOAL_FOREVER, shoal_lock_acquire(w->plain, deadline));
    } else {
        PyObject *result =
            is_wrapped(w) ? PyObject_CallMethodNoArgs(w->lock, python_state.names.acquire) : NULL;
        Py_XDECREF(result);
        return result != NULL;
    }
    if (!rc)
        return true;
    if (rc != SHOAL_OWNER_DIED) {
        raise_result(rc);
        return false;
    }
    if (!warn_owner_died())
        return true;
    if (w->rlock)
        shoal_rlock_release(w->rlock);
    else
        shoal_lock_release(w->plain);
    return false;
}

/* The lock is held, and *taken says whether by this call: true; or false with an exception. */
static inline bool hold(struct wrapper *w, bool *taken)
{
    *taken = !is_mine(w);
    return !*taken || take(w);
}

/* `result`, or NULL with an exception that there is already, or with that of the release. */
static PyObject *let_go(struct wrapper *w, bool taken, PyObject *result)
{
    if (!taken)
        return result;
    if (w->rlock) {
        shoal_rlock_release(w->rlock);
    } else if (w->plain) {
        shoal_lock_release(w->plain);
    } else {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyObject *released = PyObject_CallMethodNoArgs(w->lock, python_state.names.release);
        if (released)
            PyErr_Restore(type, value, traceback);
        else
            Py_CLEAR(result);
        if (!released) {
            Py_XDECREF(type);
            Py_XDECREF(value);
            Py_XDECREF(traceback);
        }
        Py_XDECREF(released);
    }
    return result;
}

static PyObject *read_item(char code, const char *at)
{
    if (!at) { /* no: what has a code has items */
        PyErr_BadInternalCall();
        return NULL;
    }
#define READ(character, type, make)     \
    case character: {                   \
        type item;                      \
        memcpy(&item, at, sizeof item); \
        return make(item);              \
    }
    switch (code) {
        READ('b', signed char, PyLong_FromLong)
        READ('B', unsigned char, PyLong_FromLong)
        READ('h', short, PyLong_FromLong)
        READ('H', unsigned short, PyLong_FromLong)
        READ('i', int, PyLong_FromLong)
        READ('I', unsigned, PyLong_FromUnsignedLong)
        READ('l', long, PyLong_FromLong)
        READ('L', unsigned long, PyLong_FromUnsignedLong)
        READ('q', long long, PyLong_FromLongLong)
        READ('Q', unsigned long long, PyLong_FromUnsignedLongLong)
        READ('f', float, PyFloat_FromDouble)
        READ('d', double, PyFloat_FromDouble)
    case '?': return PyBool_FromLong(*at);
    default: return PyBytes_FromStringAndSize(at, 1); /* 'c' */
    }
#undef READ
}

static inline bool is_int(char code)
{
    return code != 'f' && code != 'd' && code != 'c' && code != '?';
}

/* Writes it as ctypes does: true; false: ctypes is to be asked, or to complain. */
static bool write_item(char code, Py_ssize_t size, char *at, PyObject *value)
{
    if (is_int(code)) {
        if (!PyLong_Check(value))
            return false;
        unsigned long long item = PyLong_AsUnsignedLongLongMask(value);
        /* One store each, as other processes may read it. */
        switch (size) {
        case 1: *(volatile uint8_t *)at = (uint8_t)item; break;
        case 2: *(volatile uint16_t *)(void *)at = (uint16_t)item; break;
        case 4: *(volatile uint32_t *)(void *)at = (uint32_t)item; break;
        default: *(volatile uint64_t *)(void *)at = item; break;
        }
        return true;
    }
    if (code == 'd' && PyFloat_Check(value)) {
        *(volatile double *)(void *)at = PyFloat_AS_DOUBLE(value);
        return true;
    }
    if (code == 'f' && PyFloat_Check(value)) {
        *(volatile float *)(void *)at = (float)PyFloat_AS_DOUBLE(value);
        return true;
    }
    return false;
}

/* Whether acquire and release of a lock of shoal's are still its own, in a subclass. */
static bool is_own(PyObject *lock)
{
    PyObject *const names[] = {python_state.names.acquire, python_state.names.release};
    bool own = true;
    for (int i = 0; i < 2 && own; i++) {
        PyObject *method = PyObject_GetAttr((PyObject *)Py_TYPE(lock), names[i]);
        own = method && Py_IS_TYPE(method, &PyMethodDescr_Type);
        Py_XDECREF(method);
    }
    PyErr_Clear();
    return own;
}

static int wrapper_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"obj", "lock", "code", "size", NULL};
    struct wrapper *w = WRAPPER(self);
    PyObject *object, *lock;
    const char *code;
    Py_ssize_t size;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOsn:_wrap", names, &object, &lock, &code,
                                     &size))
        return -1;
    if (w->lock) {
        PyErr_SetString(PyExc_RuntimeError, "__init__ was called before");
        return -1;
    }
    if (PyObject_GetBuffer(object, &w->view, PyBUF_WRITABLE))
        return -1;
    w->items = w->view.buf;
    w->size = size;
    w->code = size > 0 ? *code : 0;
    w->count = size > 0 ? w->view.len / size : 0;
    if (is_own(lock)) {
        w->rlock = rlock_of(lock);
        w->plain = lock_of(lock);
    }
    Py_INCREF(object);
    Py_INCREF(lock);
    w->object = object;
    w->lock = lock;
    return 0;
}

static void wrapper_destroy(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    struct wrapper *w = WRAPPER(self);
    if (w->lock)
        PyBuffer_Release(&w->view);
    Py_XDECREF(w->object);
    Py_XDECREF(w->lock);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *wrapper_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct wrapper *w = WRAPPER(self);
    if (!w->rlock && !w->plain)
        return is_wrapped(w) ? PyObject_CallMethodNoArgs(w->lock, python_state.names.enter) : NULL;
    if (!take(w))
        return NULL;
    Py_RETURN_TRUE;
}

static PyObject *wrapper_exit(PyObject *self, PyObject *args)
{
    struct wrapper *w = WRAPPER(self);
    if ((w->rlock && !shoal_rlock_release(w->rlock)) || (w->plain && !shoal_lock_release(w->plain)))
        Py_RETURN_NONE;
    PyObject *exit = is_wrapped(w) ? PyObject_GetAttr(w->lock, python_state.names.exit) : NULL;
    PyObject *result = exit ? PyObject_Call(exit, args, NULL) : NULL;
    Py_XDECREF(exit);
    return result;
}

static PyObject *wrapper_object(PyObject *self, PyObject *unused)
{
    (void)unused;
    return is_wrapped(WRAPPER(self)) ? Py_NewRef(WRAPPER(self)->object) : NULL;
}

static PyObject *wrapper_lock(PyObject *self, PyObject *unused)
{
    (void)unused;
    return is_wrapped(WRAPPER(self)) ? Py_NewRef(WRAPPER(self)->lock) : NULL;
}

#define WRAPPER_TABLE                                                    \
    METHOD("__enter__", wrapper_enter, METH_NOARGS, ""),                 \
        METHOD("__exit__", wrapper_exit, METH_VARARGS, ""),              \
        METHOD("get_obj", wrapper_object, METH_NOARGS,                   \
               "get_obj()\n--\n\nThe ctypes object, without its lock."), \
        METHOD("get_lock", wrapper_lock, METH_NOARGS,                    \
               "get_lock()\n--\n\nThe lock that guards it.")

/* ---- Synchronized: one item ---- */

static PyObject *value_get(PyObject *self, void *unused)
{
    struct wrapper *w = WRAPPER(self);
    bool taken;
    (void)unused;
    if (!hold(w, &taken))
        return NULL;
    return let_go(w, taken,
                  w->code ? read_item(w->code, w->items)
                          : PyObject_GetAttr(w->object, python_state.names.value));
}

static int value_set(PyObject *self, PyObject *value, void *unused)
{
    struct wrapper *w = WRAPPER(self);
    bool taken;
    (void)unused;
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "the value cannot be deleted");
        return -1;
    }
    if (!hold(w, &taken))
        return -1;
    bool done = (w->code && write_item(w->code, w->size, w->items, value)) ||
                !PyObject_SetAttr(w->object, python_state.names.value, value);
    return let_go(w, taken, done ? Py_None : NULL) ? 0 : -1;
}

static PyGetSetDef value_getset[] = {
    {"value", value_get, value_set, PyDoc_STR("The item; read and written with the lock held."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef value_methods[] = {WRAPPER_TABLE, {NULL, NULL, 0, NULL}};
static PyType_Slot value_slots[] = {
    {Py_tp_init, wrapper_init},
    {Py_tp_dealloc, wrapper_destroy},
    {Py_tp_methods, value_methods},
    {Py_tp_getset, value_getset},
    {Py_tp_doc, "Synchronized(obj, lock, code, size)\n--\n\nA ctypes number and its lock."},
    {0, NULL},
};
static PyType_Spec value_spec = {
    .name = "shoal._shoal.Synchronized",
    .basicsize = sizeof(struct wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = value_slots,
};

/* ---- SynchronizedArray ---- */

static Py_ssize_t array_length(PyObject *self)
{
    struct wrapper *w = WRAPPER(self);
    if (!is_wrapped(w))
        return -1;
    return w->code ? w->count : PyObject_Size(w->object);
}

static PyObject *read_slice(const struct wrapper *w, PyObject *slice)
{
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(slice, &start, &stop, &step))
        return NULL;
    Py_ssize_t n = PySlice_AdjustIndices(w->count, &start, &stop, step);
    PyObject *list = PyList_New(n);
    for (Py_ssize_t i = 0; list && i < n; i++) {
        PyObject *item = read_item(w->code, w->items + (start + i * step) * w->size);
        if (item)
            PyList_SET_ITEM(list, i, item);
        else
            Py_CLEAR(list);
    }
    return list;
}

/* Where an item lies; NULL: ctypes is to be asked. */
static char *place(const struct wrapper *w, PyObject *key)
{
    if (!w->code || !PyLong_CheckExact(key))
        return NULL;
    Py_ssize_t i = PyLong_AsSsize_t(key);
    if (i == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return NULL;
    }
    if (i < 0)
        i += w->count;
    return i >= 0 && i < w->count ? w->items + i * w->size : NULL;
}

static PyObject *array_get(PyObject *self, PyObject *key)
{
    struct wrapper *w = WRAPPER(self);
    bool taken;
    if (!hold(w, &taken))
        return NULL;
    const char *at = place(w, key);
    return let_go(w, taken,
                  at ? read_item(w->code, at)
                  : w->code && w->code != 'c' && PySlice_Check(key)
                      ? read_slice(w, key)
                      : PyObject_GetItem(w->object, key));
}

static PyObject *array_item(PyObject *self, Py_ssize_t i)
{
    struct wrapper *w = WRAPPER(self);
    bool taken;
    if (!hold(w, &taken))
        return NULL;
    return let_go(w, taken,
                  w->code && i >= 0 && i < w->count ? read_item(w->code, w->items + i * w->size)
                                                    : PySequence_GetItem(w->object, i));
}

static int array_set(PyObject *self, PyObject *key, PyObject *value)
{
    struct wrapper *w = WRAPPER(self);
    bool taken;
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "items of an array cannot be deleted");
        return -1;
    }
    if (!hold(w, &taken))
        return -1;
    char *at = place(w, key);
    bool done =
        (at && write_item(w->code, w->size, at, value)) || !PyObject_SetItem(w->object, key, value);
    return let_go(w, taken, done ? Py_None : NULL) ? 0 : -1;
}

static PyMethodDef array_methods[] = {WRAPPER_TABLE, {NULL, NULL, 0, NULL}};
static PyType_Slot array_slots[] = {
    {Py_tp_init, wrapper_init},
    {Py_tp_dealloc, wrapper_destroy},
    {Py_tp_methods, array_methods},
    {Py_mp_length, array_length},
    {Py_sq_length, array_length},
    {Py_mp_subscript, array_get},
    {Py_mp_ass_subscript, array_set},
    {Py_sq_item, array_item},
    {Py_tp_doc, "SynchronizedArray(obj, lock, code, size)\n--\n\nA ctypes array and its lock."},
    {0, NULL},
};
static PyType_Spec array_spec = {
    .name = "shoal._shoal.SynchronizedArray",
    .basicsize = sizeof(struct wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = array_slots,
};

/* ---- the region ---- */

static PyObject *statistics(PyObject *module, PyObject *unused)
{
    shoal_statistics s;
    (void)module;
    (void)unused;
    int rc = shoal_memory_statistics(&s);
    if (rc)
        return raise_result(rc);
    return Py_BuildValue("{s:K,s:K,s:K,s:K,s:K,s:I,s:I,s:K,s:K}", "reserved",
                         (unsigned long long)s.reserved, "populated",
                         (unsigned long long)s.populated, "used", (unsigned long long)s.used,
                         "quota", (unsigned long long)s.quota, "charged",
                         (unsigned long long)s.charged, "objects", (unsigned)s.objects, "processes",
                         (unsigned)s.processes, "deaths", (unsigned long long)s.deaths, "repairs",
                         (unsigned long long)s.repairs);
}

static PyObject *family(PyObject *module, PyObject *unused)
{
    owner_t me;
    (void)module;
    (void)unused;
    int rc = self(&me);
    return rc ? raise_result(rc)
              : PyBytes_FromStringAndSize((const char *)&view.region->family,
                                          sizeof view.region->family);
}

/* is_member(pid): whether the process is of the family. */
static PyObject *is_member(PyObject *module, PyObject *pid)
{
    long number = PyLong_AsLong(pid);
    owner_t me;
    (void)module;
    if (number == -1 && PyErr_Occurred())
        return NULL;
    int rc = self(&me);
    if (rc)
        return raise_result(rc);
    uint32_t high = atomic_load(&view.region->slots_high);
    bool found = false;
    for (uint32_t i = 1; i < high && !found; i++)
        found = slot_status(atomic_load(&slot_at(i)->word)) == SLOT_ALIVE &&
                atomic_load(&slot_at(i)->pid) == number;
    return PyBool_FromLong(found);
}

static PyMethodDef functions[] = {
    METHOD("is_member", is_member, METH_O,
           "is_member(pid)\n--\n\nWhether a process is of the family."),
    METHOD("family", family, METH_NOARGS,
           "family()\n--\n\nWhat references of this family begin with: 8 bytes."),
    METHOD("statistics", statistics, METH_NOARGS,
           "statistics()\n--\n\nFigures of the family's memory, a dict: bytes, and numbers of "
           "things."),
    {NULL, NULL, 0, NULL},
};

int value_add(PyObject *module)
{
    return PyModule_AddFunctions(module, functions) || add_type(module, &Memory, &memory_spec) ||
                   add_type(module, &Synchronized, &value_spec) ||
                   add_type(module, &SynchronizedArray, &array_spec)
               ? -1
               : 0;
}
