/* python.h - what all files of the extension share: the module's state, errors, deadlines, waiting.
 *
 * The extension is the C library with Python's names on it. Each type stands in a file of its own; what
 * is better said in Python is in ../shoal. Nothing here is known outside of this folder.
 */
#ifndef SHOAL_PYTHON_H
#define SHOAL_PYTHON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <shoal/shoal.h>
#include <stdbool.h>
#include <stddef.h>

/* What the module keeps. There is one, as there is one region in a process: the main interpreter's. */
struct state {
    PyObject *Empty, *Full, *ShutDown; /* queue's */
    PyObject *BrokenBarrierError;      /* threading's */
    PyObject *AuthenticationError;     /* multiprocessing's, and so are these */
    PyObject *BufferTooShort;
    PyObject *OwnerDiedWarning;
};
extern struct state python_state;

/* Raises what the result of a call of shoal's means (docs/python-names.md), with its sentence; returns NULL.
 * Not for results of waiting in vain, whose meaning the caller knows. */
PyObject *raise_result(int result);
/* The same where the number is the kernel's own: always an OSError. */
PyObject *raise_errno(int error);

/* A deadline from Python's timeout in seconds, or None for none; below 0 counts as 0, which is SHOAL_NOW.
 * -1 with an exception: it is no number, or nan. */
int64_t deadline_of(PyObject *timeout);
/* The same of acquire(block, timeout): either may be NULL. */
int64_t deadline_of_block(PyObject *block, PyObject *timeout);

/* Sorts the arguments of a fast call into ret[most], which begins as all NULL; false with TypeError. */
bool take_arguments(PyObject *ret[], const char *const names[], size_t most, const char *call,
                    PyObject *const *args, Py_ssize_t n, PyObject *keywords);

/* Before a wait without the GIL. Two processes that answer each other on one core would stay there, though another is idle, as neither
 * ever sleeps: who finds his core shared again and again sleeps for an instant, and is woken where there is room. */
void spread_out(void);

/* Runs `call`, an expression with `deadline` in it, until it has an answer: first with SHOAL_NOW and the GIL
 * held; then without the GIL, and again when a signal handler ran, unless one raises. The answer is in `rc`;
 * -EINTR stands for that exception, which is set. */
#define WAIT(rc, until, call)                                \
    do {                                                     \
        int64_t wait_until_ = (until), deadline = SHOAL_NOW; \
        (rc) = (call);                                       \
        if ((rc) != -EAGAIN || wait_until_ == SHOAL_NOW)     \
            break;                                           \
        deadline = wait_until_;                              \
        do {                                                 \
            Py_BEGIN_ALLOW_THREADS spread_out();             \
            (rc) = (call);                                   \
            Py_END_ALLOW_THREADS                             \
        } while ((rc) == -EINTR && !PyErr_CheckSignals());   \
    } while (0)

/* True of what a wait that found nothing returns. */
static inline bool vainly(int rc)
{
    return rc == -EAGAIN || rc == -ETIMEDOUT;
}

/* Warns that the holder of what was just acquired died with it: 0, or -1 where warnings are errors. */
int warn_owner_died(void);

/* Adds a type to the module under its name: 0 or -1. */
int add_type(PyObject *module, PyTypeObject **ret, PyType_Spec *spec);

/* A reference as bytes, and from bytes. */
PyObject *reference_bytes(const shoal_reference *reference);
int reference_from(PyObject *bytes, shoal_reference *ret);

/* forkserver.c: a reference is handed out; who collects them gets it. 0 or -1. */
int note_reference(PyObject *bytes);

/* process.c: a Child. And for PyArg_Parse a process's name, whose place has NAME bytes: what is too long is cut
 * between characters, and what it cannot have is '?'. */
PyObject *child_make(shoal_process *handle);
int take_name(PyObject *given, void *ret);

/* lock.c: the handle of a Lock or RLock; NULL: it is something else. */
shoal_lock *lock_of(PyObject *object);
shoal_rlock *rlock_of(PyObject *object);

/* queue.c: the handle of a queue of either type; NULL: it is something else, or closed. */
shoal_queue *queue_handle(PyObject *object);
/* process.c: the handle of a Child, which stays its; NULL: it is something else. */
shoal_process *child_process(PyObject *object);

/* What each file adds to the module: 0 or -1. */
int lock_add(PyObject *module);
int condition_add(PyObject *module);
int forkserver_add(PyObject *module);
int inspect_add(PyObject *module);
int pool_add(PyObject *module);
int process_add(PyObject *module);
int parcel_add(PyObject *module);
int queue_add(PyObject *module);
int connection_add(PyObject *module);
int csp_add(PyObject *module);
int value_add(PyObject *module);
int container_add(PyObject *module);
int list_add(PyObject *module);
int dict_add(PyObject *module);

/* Methods may take arguments as C arrays. */
#define METHOD(name, function, flags, text)                                   \
    {                                                                         \
        name, (PyCFunction)(void (*)(void))(function), flags, PyDoc_STR(text) \
    }
#define FAST (METH_FASTCALL | METH_KEYWORDS)

#endif
