/* object.h - what the types that are a handle and nothing else have in common: making, referring to, ending. */
#ifndef SHOAL_PYTHON_OBJECT_H
#define SHOAL_PYTHON_OBJECT_H

#include "python.h"
#include "region/wait.h"

/* A handle; what it is of, the type tells. */
struct object {
    PyObject_HEAD union {
        void *handle;
        shoal_lock *lock;
        shoal_rlock *rlock;
        shoal_semaphore *semaphore;
        shoal_event *event;
        shoal_barrier *barrier;
        shoal_memory *memory;
    };
};
#define OF(self) ((struct object *)(self))

void object_destroy(PyObject *self, void *(*close)(void *));
PyObject *object_make(PyTypeObject *type, int (*open)(void **, const shoal_reference *),
                      PyObject *bytes);
PyObject *object_refer(PyObject *self, int (*reference)(const void *, shoal_reference *));
/* In an __init__: -1 with RuntimeError if it was called before. */
int object_fresh(PyObject *self);
/* Whether a result of 1 or 0 is True; what is below raises. */
PyObject *truth(int rc);

/* Leaves who has a lock alone for a while, as each look takes the lock's cache line away from him: false: there is no use,
 * as he may wait for this very core. */
static inline bool hold_off(void)
{
    struct spin s = spin_begin();
    for (int i = 0; i < s.left; i++)
        os_pause();
    return s.left > 0;
}

/* WAIT for a lock. Most are held for less time than it takes to give up the GIL, so that comes only after HOLD_OFFS. */
enum { HOLD_OFFS = 2 };
#define WAIT_TO_HOLD(rc, until, call)                                                    \
    do {                                                                                 \
        int64_t lock_until_ = (until);                                                   \
        WAIT(rc, SHOAL_NOW, call);                                                       \
        if (likely((rc) != -EAGAIN) || lock_until_ == SHOAL_NOW)                         \
            break;                                                                       \
        for (int offs_ = 0; (rc) == -EAGAIN && offs_ < HOLD_OFFS && hold_off(); offs_++) \
            WAIT(rc, SHOAL_NOW, call);                                                   \
        if ((rc) == -EAGAIN)                                                             \
            WAIT(rc, lock_until_, call);                                                 \
    } while (0)

/* Making, referring to and ending of one kind. */
#define COMMON_METHODS(name)                                               \
    static void *name##_give_up(void *handle)                              \
    {                                                                      \
        return shoal_##name##_close(handle);                               \
    }                                                                      \
    static void name##_destroy(PyObject *self)                             \
    {                                                                      \
        object_destroy(self, name##_give_up);                              \
    }                                                                      \
    static int name##_reopen(void **ret, const shoal_reference *reference) \
    {                                                                      \
        shoal_##name *handle;                                              \
        int rc = shoal_##name##_open(&handle, reference);                  \
        *ret = rc ? NULL : handle;                                         \
        return rc;                                                         \
    }                                                                      \
    static PyObject *name##_open(PyObject *type, PyObject *bytes)          \
    {                                                                      \
        return object_make((PyTypeObject *)type, name##_reopen, bytes);    \
    }                                                                      \
    static int name##_refer(const void *handle, shoal_reference *ret)      \
    {                                                                      \
        return shoal_##name##_reference(handle, ret);                      \
    }                                                                      \
    static PyObject *name##_reference(PyObject *self, PyObject *unused)    \
    {                                                                      \
        (void)unused;                                                      \
        return object_refer(self, name##_refer);                           \
    }

#define COMMON_TABLE(name)                                    \
    METHOD("_open", name##_open, METH_O | METH_CLASS,         \
           "_open(reference): the same in another process."), \
        METHOD("_reference", name##_reference, METH_NOARGS, "_reference(): for _open.")

#endif
