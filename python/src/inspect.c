/* Snapshots of a family, as what pickle reads and in words. */
#include "inspect/text.h"
#include "python.h"
#include <limits.h>
#include <stdlib.h>

/* Of this process's family for pid 0. */
static shoal_any *snapshot_of(PyObject *pid)
{
    shoal_any *snapshot;
    int rc;
    long n = PyLong_AsLong(pid);
    if (n == -1 && PyErr_Occurred())
        return NULL;
    if (n < 0 || n > INT_MAX) {
        PyErr_Format(PyExc_ValueError, "%ld is not the number of a process", n);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS rc =
        n ? shoal_inspect_process(&snapshot, (pid_t)n) : shoal_inspect(&snapshot);
    Py_END_ALLOW_THREADS if (rc) raise_result(rc);
    return rc ? NULL : snapshot;
}

static PyObject *inspect(PyObject *module, PyObject *pid)
{
    void *bytes;
    size_t size;
    (void)module;
    shoal_any *snapshot = snapshot_of(pid);
    if (!snapshot)
        return NULL;
    int rc = shoal_any_encode(snapshot, &bytes, &size);
    shoal_any_free(snapshot);
    if (rc)
        return raise_result(rc);
    PyObject *result = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
    free(bytes);
    return result;
}

static PyObject *inspect_text(PyObject *module, PyObject *pid)
{
    char *text = NULL;
    size_t size;
    (void)module;
    shoal_any *snapshot = snapshot_of(pid);
    if (!snapshot)
        return NULL;
    FILE *to = open_memstream(&text, &size);
    if (to)
        text_print(to, snapshot);
    shoal_any_free(snapshot);
    bool written = to && !ferror(to);
    if ((to && fclose(to)) || !written) {
        free(text);
        return PyErr_NoMemory();
    }
    PyObject *result = PyUnicode_DecodeUTF8(text, (Py_ssize_t)size, "replace");
    free(text);
    return result;
}

static PyMethodDef functions[] = {
    METHOD(
        "inspect", inspect, METH_O,
        "inspect(pid)\n--\n\nA snapshot of a process's family, of this one's for 0, as bytes for "
        "pickle.loads."),
    METHOD("inspect_text", inspect_text, METH_O, "inspect_text(pid)\n--\n\nThe same in words."),
    {NULL, NULL, 0, NULL},
};

int inspect_add(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
