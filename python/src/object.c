/* What the types that are a handle and nothing else have in common. */
#include "object.h"

void object_destroy(PyObject *self, void *(*close)(void *))
{
    PyTypeObject *type = Py_TYPE(self);
    if (OF(self)->handle)
        close(OF(self)->handle);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject *object_make(PyTypeObject *type, int (*open)(void **, const shoal_reference *),
                      PyObject *bytes)
{
    shoal_reference reference;
    if (reference_from(bytes, &reference))
        return NULL;
    PyObject *self = type->tp_alloc(type, 0);
    int rc = self ? open(&OF(self)->handle, &reference) : 0;
    if (!rc)
        return self;
    Py_DECREF(self);
    return raise_result(rc);
}

PyObject *object_refer(PyObject *self, int (*reference)(const void *, shoal_reference *))
{
    shoal_reference r;
    int rc = reference(OF(self)->handle, &r);
    return rc ? raise_result(rc) : reference_bytes(&r);
}

int object_fresh(PyObject *self)
{
    if (!OF(self)->handle)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "__init__ was called before");
    return -1;
}

PyObject *truth(int rc)
{
    return rc < 0 ? raise_result(rc) : PyBool_FromLong(rc);
}
