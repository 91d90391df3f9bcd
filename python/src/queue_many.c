/* put_many and get_many.
 *
 * A list is put in runs: as many small plain objects as there are behind each other go to the library in one call, which
 * makes them visible in one step. What another iterable yields is put at once, each for itself: it may take its time.
 *
 * What get_many takes comes in runs, too; only then each is read. If one of them raises, it is lost, as with get; what was
 * taken with it is left to the next calls of this process.
 */
#include "plain.h"
#include "queue.h"
#include <errno.h>
#include <string.h>

enum { RUN = 256 /* messages */, ROOM = 16 * INLINE_MOST };

/* ---- put ---- */

struct run {
    struct plain plain; /* of the one that is being added */
    unsigned n;
    size_t used;
    shoal_bytes messages[RUN];
    unsigned char bytes[ROOM];
};

/* Adds an object: false if it does not belong into a run, or not into this one. */
static bool add(struct run *r, PyObject *object)
{
    if (r->n == RUN || !plain_encode(&r->plain, object))
        return false;
    bool fits =
        !r->plain.splices && r->plain.whole <= INLINE_MOST && r->plain.whole <= ROOM - r->used;
    if (fits) {
        unsigned char *to = r->bytes + r->used;
        memcpy(to, r->plain.bytes, r->plain.size);
        r->messages[r->n++] = (shoal_bytes){to, r->plain.size};
        r->used += r->plain.size;
    }
    plain_end(&r->plain);
    return fits;
}

/* Puts them: 0, or why not all; *done: how many. */
static int put_run(struct queue *q, const struct run *r, int64_t until, unsigned *done)
{
    int rc = 0;
    *done = 0;
    calls_begin(&q->calls);
    while (*done < r->n && rc >= 0) {
        WAIT(rc, until,
             shoal_queue_put_many(q->handle, r->messages + *done, r->n - *done, deadline));
        *done += rc > 0 ? (unsigned)rc : 0;
    }
    calls_end(&q->calls);
    return rc < 0 ? rc : 0;
}

/* Of a list or tuple, which others may change meanwhile: how many were put; if not all, with an exception. */
static Py_ssize_t put_listed(PyObject *self, PyObject *list, int64_t until, struct run *r)
{
    struct queue *q = QUEUE(self);
    Py_ssize_t done = 0;
    while (done < PySequence_Fast_GET_SIZE(list)) {
        if (q->closed)
            return queue_refuse(self), done;
        r->n = 0;
        r->used = 0;
        while (done + (Py_ssize_t)r->n < PySequence_Fast_GET_SIZE(list) &&
               add(r, PySequence_Fast_GET_ITEM(list, done + (Py_ssize_t)r->n)))
            ;
        if (r->n) {
            unsigned put;
            int rc = put_run(q, r, until, &put);
            q->used = true;
            done += put;
            if (rc)
                return queue_put_failed(self, NULL, rc), done;
            continue;
        }
        PyObject *object = Py_NewRef(PySequence_Fast_GET_ITEM(list, done));
        PyObject *result = queue_put_one(self, object, until, "put_many");
        Py_DECREF(object);
        if (!result)
            return done;
        Py_DECREF(result);
        done++;
    }
    return done;
}

static Py_ssize_t put_iterated(PyObject *self, PyObject *iterable, int64_t until)
{
    PyObject *iterator = PyObject_GetIter(iterable), *object;
    Py_ssize_t done = 0;
    while (iterator && (object = PyIter_Next(iterator))) {
        PyObject *result = queue_put_one(self, object, until, "put_many");
        Py_DECREF(object);
        if (!result)
            break;
        Py_DECREF(result);
        done++;
    }
    Py_XDECREF(iterator);
    return done;
}

PyObject *queue_put_many(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    static const char *const names[] = {"objects", "block", "timeout"};
    PyObject *given[3] = {NULL, NULL, NULL};
    Py_ssize_t done;
    if (!take_arguments(given, names, 3, "put_many", args, n, keywords))
        return NULL;
    if (!given[0])
        return PyErr_Format(PyExc_TypeError, "put_many is given nothing to put: objects");
    int64_t until = deadline_of_block(given[1], given[2]);
    if (until < 0)
        return NULL;
    if (PyList_CheckExact(given[0]) || PyTuple_CheckExact(given[0])) {
        struct run *run = PyMem_Malloc(sizeof *run);
        if (!run)
            return PyErr_NoMemory();
        done = put_listed(self, given[0], until, run);
        PyMem_Free(run);
    } else {
        done = put_iterated(self, given[0], until);
    }
    if (PyErr_Occurred() && (!done || !PyErr_ExceptionMatches(python_state.Full)))
        return NULL;
    PyErr_Clear();
    return PyLong_FromSsize_t(done);
}

/* ---- what is left ---- */

static uint64_t this_process(void)
{
    return (uint64_t)process_self.generation << 32 | process_self.slot;
}

Py_ssize_t queue_left(struct queue *q)
{
    if (likely(!q->left.list))
        return 0;
    if (q->left.process != this_process())
        Py_CLEAR(q->left.list); /* its parent's */
    return q->left.list ? PyList_GET_SIZE(q->left.list) : 0;
}

PyObject *queue_take_left(struct queue *q)
{
    PyObject *list = q->left.list, *first = Py_NewRef(PyList_GET_ITEM(list, 0));
    bool is_object = q->left.objects > 0;
    if (PyList_GET_SIZE(list) == 1) {
        Py_CLEAR(q->left.list);
    } else if (PyList_SetSlice(list, 0, 1, NULL)) {
        Py_DECREF(first);
        return NULL;
    }
    q->left.objects -= is_object;
    if (is_object)
        return first;
    PyObject *object = parcel_read_kept(first);
    Py_DECREF(first);
    return object;
}

/* Leaves the objects of a list, in front, or messages, behind. Keeps the exception that is set. */
static void leave(struct queue *q, PyObject *list, bool objects)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    Py_ssize_t n = PyList_GET_SIZE(list), at = objects ? 0 : queue_left(q);
    if (n && !queue_left(q)) {
        q->left.list = PyList_New(0);
        q->left.objects = 0;
        q->left.process = this_process();
    }
    if (n && (!q->left.list || PyList_SetSlice(q->left.list, at, at, list)))
        PyErr_WriteUnraisable(list); /* no memory: lost, like the one that could not be read */
    else if (objects)
        q->left.objects += n;
    PyErr_Restore(type, value, trace);
}

/* ---- get ---- */

/* The messages of a run behind the one that could not be read. */
static void leave_rest(struct queue *q, const unsigned char *bytes, const struct taken *t, int n)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *list = PyList_New(0);
    for (int i = 0; i < n; i++) {
        PyObject *kept = parcel_keep(bytes, &t[i]);
        if (!list || !kept || PyList_Append(list, kept))
            PyErr_WriteUnraisable(NULL);
        Py_XDECREF(kept);
        bytes += t[i].object ? 0 : t[i].size;
    }
    if (list)
        leave(q, list, false);
    Py_XDECREF(list);
    PyErr_Restore(type, value, trace);
}

/* Reads a run: true; or false with an exception. */
static bool read_run(struct queue *q, PyObject *list, const unsigned char *bytes,
                     const struct taken *t, int n)
{
    for (int i = 0; i < n; i++) {
        PyObject *object =
            t[i].object ? parcel_read_message(t[i].object) : parcel_read(bytes, t[i].size);
        int rc = object ? PyList_Append(list, object) : -1;
        Py_XDECREF(object);
        bytes += t[i].object ? 0 : t[i].size;
        if (rc) {
            leave_rest(q, bytes, t + i + 1, n - i - 1);
            return false;
        }
    }
    return true;
}

/* Takes what there is, up to `most`, waiting for the first: 0; what a get comes to; 1: with an exception. */
static int take_run(struct queue *q, PyObject *list, Py_ssize_t most, int64_t until,
                    unsigned char *bytes)
{
    struct port port;
    struct taken t[RUN];
    int rc = port_of_queue(&port, q->handle, "get_many");
    if (rc)
        return rc;
    rc = port_take_many(&port, bytes, ROOM, t, most < RUN ? (unsigned)most : RUN, SHOAL_NOW);
    if (rc > 0) {
        port_settle(&port);
        return !read_run(q, list, bytes, t, rc);
    }
    if (rc != -EMSGSIZE && (rc != -EAGAIN || until == SHOAL_NOW))
        return rc;
    PyObject *object = parcel_get(&port, until, false, &rc);
    if (!object)
        return rc ? rc : 1;
    rc = PyList_Append(list, object) ? 1 : 0;
    Py_DECREF(object);
    return rc;
}

static int take_one_left(struct queue *q, PyObject *list)
{
    PyObject *object = queue_take_left(q);
    int rc = object ? PyList_Append(list, object) : -1;
    Py_XDECREF(object);
    return rc ? 1 : 0;
}

PyObject *queue_get_many(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    static const char *const names[] = {"n", "block", "timeout"};
    PyObject *given[3] = {NULL, NULL, NULL};
    struct queue *q = QUEUE(self);
    if (!take_arguments(given, names, 3, "get_many", args, n, keywords))
        return NULL;
    Py_ssize_t most = given[0] ? PyNumber_AsSsize_t(given[0], NULL) : RUN, got;
    if (most == -1 && PyErr_Occurred())
        return NULL;
    if (most < 1)
        return PyErr_Format(PyExc_ValueError, "get_many takes 1 object or more, not %zd", most);
    int64_t until = deadline_of_block(given[1], given[2]);
    if (until < 0)
        return NULL;
    if (q->closed)
        return queue_refuse(self);
    unsigned char *bytes = PyMem_Malloc(ROOM);
    PyObject *list = bytes ? PyList_New(0) : PyErr_NoMemory();
    int rc = list ? 0 : 1;
    calls_begin(&q->calls);
    while (!rc && (got = PyList_GET_SIZE(list)) < most)
        rc = queue_left(q) ? take_one_left(q, list)
                           : take_run(q, list, most - got, got ? SHOAL_NOW : until, bytes);
    calls_end(&q->calls);
    PyMem_Free(bytes);
    if (!rc || (list && PyList_GET_SIZE(list) && (vainly(rc) || rc == -EPIPE)))
        return list;
    if (list)
        leave(q, list, true);
    Py_XDECREF(list);
    return rc < 0 ? queue_get_failed(rc) : NULL;
}
