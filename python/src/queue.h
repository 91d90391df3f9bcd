/* queue.h - what the two files of queues share: queue.c (the types, and one object at a time) and queue_many.c. */
#ifndef SHOAL_PYTHON_QUEUE_H
#define SHOAL_PYTHON_QUEUE_H

#include "parcel.h"

/*   left      what get_many has taken and not handed out, as one of them could not be read: a list. NULL: nothing
 *   objects   so many of it are objects, in front; the others are messages
 *   process   whose it is: not a forked child's
 */
struct left {
    PyObject *list;
    Py_ssize_t objects;
    uint64_t process;
};

struct queue {
    PyObject_HEAD shoal_queue *handle;
    struct calls calls;
    struct left left;
    bool closed;
    bool used; /* something was put here */
};
#define QUEUE(self) ((struct queue *)(self))

/* Raises that it is closed; NULL. */
PyObject *queue_refuse(PyObject *self);
/* Puts one object: None, or NULL. */
PyObject *queue_put_one(PyObject *self, PyObject *object, int64_t until, const char *call);
/* Raises what a put, or a get, came to; NULL, or what _on_queue_feeder_error makes of it. */
PyObject *queue_put_failed(PyObject *self, PyObject *object, int rc);
PyObject *queue_get_failed(int rc);

/* ---- queue_many.c ---- */
PyObject *queue_put_many(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords);
PyObject *queue_get_many(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords);
/* How many are left there of this process's. */
Py_ssize_t queue_left(struct queue *q);
/* The first of those, if there are some; NULL with an exception. */
PyObject *queue_take_left(struct queue *q);

#endif
