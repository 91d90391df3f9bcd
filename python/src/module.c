/* The module shoal._shoal: its state, and what each file adds. */
#include "python.h"
#include "region/self.h"
#include <errno.h>
#include <math.h>
#include <string.h>

struct state python_state;

/* ---- errors ---- */

static PyObject *raise_text(PyObject *type)
{
    const char *detail = shoal_error_detail();
    PyErr_SetString(type, *detail ? detail : "no reason is known");
    return NULL;
}

PyObject *raise_errno(int error)
{
    PyObject *arguments = Py_BuildValue("(is)", error, shoal_error_detail());
    PyObject *exception = arguments ? PyObject_Call(PyExc_OSError, arguments, NULL) : NULL;
    if (exception)
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_XDECREF(exception);
    Py_XDECREF(arguments);
    return NULL;
}

PyObject *raise_result(int result)
{
    switch (-result) {
    case EINTR: return PyErr_Occurred() ? NULL : raise_errno(EINTR);
    case ENOMEM: return raise_text(PyExc_MemoryError);
    case EINVAL: return raise_text(PyExc_ValueError);
    case EBADF: return raise_text(PyExc_ValueError);
    case ERANGE: return raise_text(PyExc_IndexError);
    case ENOENT: return raise_text(PyExc_KeyError);
    case EOVERFLOW: return raise_text(PyExc_ValueError);
    case EACCES: return raise_text(python_state.AuthenticationError);
    case ECANCELED: return raise_text(python_state.BrokenBarrierError);
    case ESTALE: return raise_text(PyExc_FileNotFoundError);
    default: return raise_errno(-result);
    }
}

int warn_owner_died(void)
{
    return PyErr_WarnEx(python_state.OwnerDiedWarning, shoal_error_detail(), 1);
}

/* ---- arguments ---- */

int64_t deadline_of(PyObject *timeout)
{
    if (!timeout || timeout == Py_None)
        return SHOAL_FOREVER;
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "a timeout is a number of seconds, not nan");
        return -1;
    }
    return shoal_after(seconds);
}

int64_t deadline_of_block(PyObject *block, PyObject *timeout)
{
    if (block && block != Py_True) {
        int truth = PyObject_IsTrue(block);
        if (truth < 0)
            return -1;
        if (!truth)
            return SHOAL_NOW;
    }
    return deadline_of(timeout);
}

bool take_arguments(PyObject *ret[], const char *const names[], size_t most, const char *call,
                    PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    if ((size_t)n > most) {
        PyErr_Format(PyExc_TypeError, "%s takes at most %zu arguments, not %zd", call, most, n);
        return false;
    }
    for (Py_ssize_t i = 0; i < n; i++)
        ret[i] = args[i];
    for (Py_ssize_t k = 0; keywords && k < PyTuple_GET_SIZE(keywords); k++) {
        PyObject *name = PyTuple_GET_ITEM(keywords, k);
        size_t i = 0;
        while (i < most && PyUnicode_CompareWithASCIIString(name, names[i]))
            i++;
        if (i == most) {
            PyErr_Format(PyExc_TypeError, "%s has no argument called '%U'", call, name);
            return false;
        }
        if (ret[i]) {
            PyErr_Format(PyExc_TypeError, "%s is given its argument '%U' twice", call, name);
            return false;
        }
        ret[i] = args[n + k];
    }
    return true;
}

/* ---- waiting ---- */

void spread_out(void)
{
    enum { OFTEN = 1000 /* waits: some milliseconds */ };
    static _Thread_local unsigned shared;
    if (likely(!shoal_thread.shares_core))
        shared = 0;
    else if (++shared % OFTEN == 0)
        os_sleep(1);
}

/* ---- types and objects ---- */

int add_type(PyObject *module, PyTypeObject **ret, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (!type)
        return -1;
    *ret = (PyTypeObject *)type; /* ours, for good */
    return PyModule_AddType(module, *ret);
}

PyObject *reference_bytes(const shoal_reference *reference)
{
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)reference, sizeof *reference);
    if (bytes && note_reference(bytes))
        Py_CLEAR(bytes);
    return bytes;
}

int reference_from(PyObject *bytes, shoal_reference *ret)
{
    char *text;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(bytes, &text, &size))
        return -1;
    if (size != sizeof *ret) {
        PyErr_Format(PyExc_ValueError, "a reference has %zu bytes, not %zd", sizeof *ret, size);
        return -1;
    }
    memcpy(ret, text, sizeof *ret);
    return 0;
}

/* ---- the module ---- */

static int import(PyObject **ret, const char *module, const char *name)
{
    PyObject *m = PyImport_ImportModule(module);
    *ret = m ? PyObject_GetAttrString(m, name) : NULL;
    Py_XDECREF(m);
    return *ret ? 0 : -1;
}

static int make_exceptions(PyObject *module)
{
    if (import(&python_state.Empty, "queue", "Empty") ||
        import(&python_state.Full, "queue", "Full") ||
        import(&python_state.BrokenBarrierError, "threading", "BrokenBarrierError") ||
        import(&python_state.AuthenticationError, "multiprocessing.context",
               "AuthenticationError") ||
        import(&python_state.BufferTooShort, "multiprocessing.context", "BufferTooShort"))
        return -1;
    if (import(&python_state.ShutDown, "queue", "ShutDown")) {
        PyErr_Clear(); /* it came with 3.13 */
        python_state.ShutDown =
            PyErr_NewExceptionWithDoc("shoal.ShutDown",
                                      "Raised by put and get of a queue that was shut down.", NULL,
                                      NULL);
    }
    python_state.OwnerDiedWarning = PyErr_NewExceptionWithDoc(
        "shoal.OwnerDiedWarning",
        "A lock was acquired whose holder had died with it: what it protects may be half changed.",
        PyExc_RuntimeWarning, NULL);
    if (!python_state.ShutDown || !python_state.OwnerDiedWarning)
        return -1;
    Py_INCREF(python_state.ShutDown);
    Py_INCREF(python_state.OwnerDiedWarning);
    return PyModule_AddObject(module, "ShutDown", python_state.ShutDown) ||
                   PyModule_AddObject(module, "OwnerDiedWarning", python_state.OwnerDiedWarning)
               ? -1
               : 0;
}

static int execute(PyObject *module)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError,
                        "shoal works in the main interpreter only, not in a sub-interpreter");
        return -1;
    }
    if (python_state.Empty) {
        PyErr_SetString(PyExc_ImportError, "shoal._shoal is loaded already");
        return -1;
    }
    return make_exceptions(module) || lock_add(module) || condition_add(module) ||
                   process_add(module) || csp_add(module) || forkserver_add(module) ||
                   value_add(module) || container_add(module) || list_add(module) ||
                   dict_add(module) || pool_add(module) || parcel_add(module) ||
                   queue_add(module) || connection_add(module) || inspect_add(module)
               ? -1
               : 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "shoal._shoal",
    .m_doc = PyDoc_STR("The engine: the C library's objects."),
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__shoal(void);
PyMODINIT_FUNC PyInit__shoal(void)
{
    return PyModuleDef_Init(&definition);
}
