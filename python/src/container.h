/* container.h - what the files of lists, dicts and namespaces share: values and keys on their way in and out,
 * waiting. (container.c)
 *
 * A value is the C library's word (manager/word.h), so numbers and short texts are put and read without making
 * anything. What is neither number nor text is a pickle, plain.h's where that will do: C programs read that one too.
 */
#ifndef SHOAL_PYTHON_CONTAINER_H
#define SHOAL_PYTHON_CONTAINER_H

#include "manager/key.h"
#include "object.h"

/* A value on its way in, until item_end. The object must last. -1 with an exception. */
int value_in(struct item *ret, const struct site *p, PyObject *object);
/* Those of a tuple, until values_end. */
int values_in(struct item **ret, const struct site *p, PyObject *tuple);
void values_end(struct item *items, Py_ssize_t count);

/* A value that was copied out. */
struct copied {
    struct fetched f;
    void *message; /* what it names, if that is to last; or NULL */
};
/* Under the lock, of f: 0, or -errno. */
int copied_hold(struct copied *copied);
/* What it is, and gives up its message. */
PyObject *copied_out(struct copied *copied);
/* What a word is, that was read without the lock. NULL with an exception; or NULL and *gone, without one: it was taken
 * out meanwhile, so look again. */
PyObject *value_out(uint64_t word, const void *bytes, size_t size, bool *gone);
/* Whether two are the same value of one and the same store (which is less than equal values). */
bool copied_same(const struct fetched *a, const struct fetched *b);

/* A key, until key_end. TypeError: unhashable. The object must last. */
int key_in(struct key *ret, const struct site *p, PyObject *object);
PyObject *key_out(uint64_t info, const unsigned char *bytes);

/* What is added to a value, and the sum. These anys have no memory of their own. */
struct sum {
    shoal_any number, result;
};
/* false with TypeError, OverflowError. */
bool number_in(shoal_any *ret, PyObject *object);
PyObject *number_out(const shoal_any *any);
/* Of a value that is being changed (NULL: there is none), with the lock: 0, -EINVAL, -EOVERFLOW. */
int sum_of(const struct site *p, const struct fetched *old, struct item *new, struct sum *sum);
PyObject *raise_sum(int rc);

/* The container of a call: -1 with an exception. */
int site_in(struct site *p, PyObject *self, enum type type, const char *call);

/* Runs `call`, which changes it: first with the GIL, if nobody else changes it; then without. -EINTR: an exception is set. */
#define CHANGE(rc, p, call)                                \
    do {                                                   \
        (p)->deadline = SHOAL_NOW;                         \
        (rc) = (call);                                     \
        if (likely((rc) != -EAGAIN))                       \
            break;                                         \
        (p)->deadline = SHOAL_FOREVER;                     \
        (p)->interruptible = true;                         \
        do {                                               \
            Py_BEGIN_ALLOW_THREADS(rc) = (call);           \
            Py_END_ALLOW_THREADS                           \
        } while ((rc) == -EINTR && !PyErr_CheckSignals()); \
    } while (0)

/* acquire(block=True, timeout=None) and release() of a kind. */
#define CONTAINER_LOCKS(name)                                                                     \
    static PyObject *name##_acquire(PyObject *self, PyObject *const *args, Py_ssize_t n,          \
                                    PyObject *keywords)                                           \
    {                                                                                             \
        static const char *const names[] = {"block", "timeout"};                                  \
        PyObject *given[2] = {NULL, NULL};                                                        \
        int rc;                                                                                   \
        if (!take_arguments(given, names, 2, "acquire", args, n, keywords))                       \
            return NULL;                                                                          \
        int64_t until = deadline_of_block(given[0], given[1]);                                    \
        if (until < 0)                                                                            \
            return NULL;                                                                          \
        WAIT(rc, until, shoal_##name##_acquire(OF(self)->handle, deadline));                      \
        return container_acquired(rc, OF(self)->handle, (int (*)(void *))shoal_##name##_release); \
    }                                                                                             \
    static PyObject *name##_release(PyObject *self, PyObject *unused)                             \
    {                                                                                             \
        (void)unused;                                                                             \
        return container_released(shoal_##name##_release(OF(self)->handle));                      \
    }
PyObject *container_acquired(int rc, void *handle, int (*release)(void *));
PyObject *container_released(int rc);

#define CONTAINER_TABLE(name)                                                                    \
    METHOD("_acquire", name##_acquire, FAST,                                                     \
           "_acquire(block=True, timeout=None)\n--\n\nKeeps all others from changing it: True; " \
           "False: the timeout has passed; None: this thread does so already."),                 \
        METHOD("_release", name##_release, METH_NOARGS, "_release()\n--\n\nRuntimeError."),      \
        COMMON_TABLE(name)

#endif
