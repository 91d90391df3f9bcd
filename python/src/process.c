/* Child processes, as the start methods of ../shoal need them: a fork of this interpreter, a new program, their
 * ends.
 *
 * They are the library's own children, so that they have their names and their parent in the region, are
 * daemons that no death of their parent leaves behind, and end by leaving the family in good order.
 */
#include "polled.h"
#include "process/child.h"
#include "process/processes.h"
#include "python.h"
#include "region/object.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static PyTypeObject *Child;

struct child_object {
    PyObject_HEAD shoal_process *handle;
};
#define CHILD_OF(self) (((struct child_object *)(self))->handle)

PyObject *child_make(shoal_process *handle)
{
    PyObject *self = Child->tp_alloc(Child, 0);
    if (self)
        CHILD_OF(self) = handle;
    return self; /* without it the handle stays: its process runs */
}

shoal_process *child_process(PyObject *object)
{
    return PyObject_TypeCheck(object, Child) ? CHILD_OF(object) : NULL;
}

/* ---- starting ---- */

static void options_of(shoal_process_options *o, const char *name, int daemon)
{
    *o = (shoal_process_options){.name = name && *name ? name : NULL,
                                 .flags = daemon ? SHOAL_DAEMON : 0};
}

int take_name(PyObject *given, void *ret)
{
    char *name = ret;
    PyObject *bytes = PyUnicode_Check(given) ? PyUnicode_AsEncodedString(given, "utf-8", "replace")
                                             : PyErr_Format(PyExc_TypeError, "a name is a str");
    if (!bytes)
        return 0;
    size_t n = (size_t)PyBytes_GET_SIZE(bytes);
    const char *text = PyBytes_AS_STRING(bytes);
    if (n > NAME - 1)
        for (n = NAME - 1; n && ((unsigned char)text[n] & 0xc0) == 0x80;)
            n--;
    for (size_t i = 0; i < n; i++)
        name[i] = (char)(text[i] ? text[i] : '?');
    name[n] = 0;
    Py_DECREF(bytes);
    return 1;
}

#if PY_VERSION_HEX >= 0x030c0000
/* How many threads this process has, as the system counts them; where it does not say, those that Python knows. */
static long count_threads(void)
{
    enum { THREADS = 17 /* fields behind the name, which ends with the last parenthesis */ };
    char line[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    size_t size = file ? fread(line, 1, sizeof line - 1, file) : 0;
    line[size] = 0;
    if (file)
        fclose(file);
    char *at = strrchr(line, ')');
    for (int i = 0; at && i <= THREADS; i++)
        at = strchr(at + 1, ' ');
    long n = at ? strtol(at, NULL, 10) : 0;
    if (n > 0)
        return n;
    PyThreadState *thread = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; thread; thread = PyThreadState_Next(thread))
        n++;
    return n;
}

/* As os.fork of these versions, with the text that programs filter by: 0, or -1 where warnings are errors; then nobody has been
 * forked. */
static int warn_of_threads(void)
{
    int pid = (int)getpid();
    return count_threads() > 1
               ? PyErr_WarnFormat(PyExc_DeprecationWarning, 1,
                                  "This process (pid=%d) is multi-threaded, use of fork() may "
                                  "lead to deadlocks in the child.",
                                  pid)
               : 0;
}
#else
static int warn_of_threads(void)
{
    return 0;
}
#endif

/* fork(name, daemon): a Child in the parent, None in the child. */
static PyObject *process_fork(PyObject *module, PyObject *args)
{
    int daemon;
    char name[NAME];
    struct launch l;
    shoal_process_options options;
    (void)module;
    if (!PyArg_ParseTuple(args, "O&p:fork", take_name, name, &daemon))
        return NULL;
    if (warn_of_threads())
        return NULL;
    options_of(&options, name, daemon);
    PyOS_BeforeFork();
    int rc = launch_begin(&l, "fork", &options, false, 0);
    if (rc) {
        PyOS_AfterFork_Parent();
        return raise_result(rc);
    }
    pid_t pid = fork();
    if (!pid) {
        launch_settle(&l);
        launch_ready(&l);
        PyOS_AfterFork_Child();
        Py_RETURN_NONE;
    }
    rc = launch_end(&l, pid, errno);
    PyOS_AfterFork_Parent();
    if (rc)
        return raise_result(rc);
    polled_settle_birth(l.birth.slot);
    return child_make(child_handle(l.child));
}

/* In a child that runs another program soon: of the descriptors above 2 only these n, sorted, are handed on. */
static void hand_on(const int fds[], size_t n)
{
    unsigned from = 3;
    for (size_t i = 0; i <= n; i++) {
        unsigned to = i < n ? (unsigned)fds[i] : ~0u;
        if (to > from &&
            syscall(SYS_close_range, from, to - (i < n), 4u /* CLOSE_RANGE_CLOEXEC */) &&
            errno != EBADF) {
            long most = sysconf(_SC_OPEN_MAX);
            for (unsigned fd = from; fd < to && (long)fd < most; fd++)
                fcntl((int)fd, F_SETFD, FD_CLOEXEC);
        }
        from = to + 1;
    }
    for (size_t i = 0; i < n; i++)
        if (fds[i] > 2)
            fcntl(fds[i], F_SETFD, 0);
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* A sequence of bytes as an array that ends with NULL, which points into them. */
static char **array_of_bytes(PyObject *sequence)
{
    Py_ssize_t n = PyTuple_GET_SIZE(sequence);
    char **array = PyMem_Calloc((size_t)n + 1, sizeof *array);
    if (!array)
        return (char **)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < n; i++) {
        array[i] = PyBytes_AsString(PyTuple_GET_ITEM(sequence, i));
        if (!array[i]) {
            PyMem_Free(array);
            return NULL;
        }
    }
    return array;
}

static int *array_of_ints(PyObject *sequence, size_t *n)
{
    *n = (size_t)PyTuple_GET_SIZE(sequence);
    int *array = PyMem_Calloc(*n + 1, sizeof *array);
    if (!array)
        return (int *)PyErr_NoMemory();
    for (size_t i = 0; i < *n; i++) {
        array[i] = (int)PyLong_AsLong(PyTuple_GET_ITEM(sequence, (Py_ssize_t)i));
        if (PyErr_Occurred()) {
            PyMem_Free(array);
            return NULL;
        }
    }
    qsort(array, *n, sizeof *array, by_number);
    return array;
}

/* execute(path, argv, fds, name, daemon): a Child that runs another program of the family. */
static PyObject *process_execute(PyObject *module, PyObject *args)
{
    PyObject *argv, *numbers, *result = NULL;
    const char *path;
    int daemon;
    size_t n;
    char name[NAME];
    struct launch l;
    shoal_process_options options;
    (void)module;
    if (!PyArg_ParseTuple(args, "yO!O!O&p:execute", &path, &PyTuple_Type, &argv, &PyTuple_Type,
                          &numbers, take_name, name, &daemon))
        return NULL;
    options_of(&options, name, daemon);
    char **strings = array_of_bytes(argv);
    int *fds = strings ? array_of_ints(numbers, &n) : NULL;
    if (!fds)
        goto end;
    int rc = launch_begin(&l, "spawn", &options, true, BIRTH_EXEC);
    if (!rc) {
        pid_t pid = fork();
        if (!pid) {
            launch_settle(&l);
            hand_on(fds, n);
            launch_program(&l, path, strings);
        }
        rc = launch_end(&l, pid, errno);
    }
    if (!rc)
        polled_settle_birth(l.birth.slot);
    result = rc ? raise_errno(-rc) : child_make(child_handle(l.child));
end:
    PyMem_Free(strings);
    PyMem_Free(fds);
    return result;
}

/* exit(code): ends this process, a child, in good order, without running anything of Python's. */
static PyObject *process_exit(PyObject *module, PyObject *code)
{
    long n = PyLong_AsLong(code);
    (void)module;
    if (n == -1 && PyErr_Occurred())
        PyErr_Clear();
    process_finish((int)n);
}

/* ---- Child ---- */

static void child_destroy(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (CHILD_OF(self))
        shoal_process_close(CHILD_OF(self)); /* not while it runs: then the list keeps it */
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *child_exit_code(PyObject *self, PyObject *unused)
{
    int code;
    (void)unused;
    int rc = shoal_process_exit_code(CHILD_OF(self), &code);
    if (rc)
        return raise_result(rc);
    if (code == SHOAL_EXIT_RUNNING)
        Py_RETURN_NONE;
    polled_settle();
    return code == SHOAL_EXIT_UNKNOWN ? PyUnicode_FromString("unknown") : PyLong_FromLong(code);
}

static PyObject *child_join(PyObject *self, PyObject *timeout)
{
    int rc;
    int64_t until = deadline_of(timeout);
    if (until < 0)
        return NULL;
    if (until == SHOAL_FOREVER) { /* it rarely has ended, and a look costs as much as a wait */
        do {
            Py_BEGIN_ALLOW_THREADS rc = shoal_process_join(CHILD_OF(self), until);
            Py_END_ALLOW_THREADS
        } while (rc == -EINTR && !PyErr_CheckSignals());
    } else {
        WAIT(rc, until, shoal_process_join(CHILD_OF(self), deadline));
    }
    if (vainly(rc))
        Py_RETURN_FALSE;
    if (rc)
        return raise_result(rc);
    polled_settle();
    Py_RETURN_TRUE;
}

static PyObject *child_sentinel(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = shoal_process_sentinel(CHILD_OF(self));
    return rc < 0 ? raise_result(rc) : PyLong_FromLong(rc);
}

static PyObject *child_signal(PyObject *self, PyObject *number)
{
    long n = PyLong_AsLong(number);
    if (n == -1 && PyErr_Occurred())
        return NULL;
    int rc = n == SIGTERM   ? shoal_process_terminate(CHILD_OF(self))
             : n == SIGINT  ? shoal_process_interrupt(CHILD_OF(self))
             : n == SIGKILL ? shoal_process_kill(CHILD_OF(self))
                            : -EINVAL;
    if (rc)
        return raise_result(rc);
    Py_RETURN_NONE;
}

static PyObject *child_kill_tree(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = shoal_process_kill_tree(CHILD_OF(self));
    return rc < 0 ? raise_result(rc) : PyLong_FromLong(rc);
}

static PyObject *child_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    int rc = CHILD_OF(self) ? shoal_process_close(CHILD_OF(self)) : 0;
    if (rc)
        return raise_result(rc);
    CHILD_OF(self) = NULL;
    Py_RETURN_NONE;
}

static PyObject *child_pid(PyObject *self, void *unused)
{
    (void)unused;
    pid_t pid = shoal_process_pid(CHILD_OF(self));
    return pid < 0 ? raise_result((int)pid) : PyLong_FromLong(pid);
}

static PyMethodDef child_methods[] = {
    METHOD("exit_code", child_exit_code, METH_NOARGS,
           "exit_code()\n--\n\nNone while it runs; -N if signal N ended it; 'unknown' if the "
           "program itself took "
           "its status."),
    METHOD("join", child_join, METH_O, "join(timeout)\n--\n\nWaits for its end: True, or False."),
    METHOD("sentinel", child_sentinel, METH_NOARGS,
           "sentinel()\n--\n\nA descriptor, readable at its end."),
    METHOD("signal", child_signal, METH_O,
           "signal(number)\n--\n\nSIGTERM, SIGINT or SIGKILL to it."),
    METHOD("kill_tree", child_kill_tree, METH_NOARGS,
           "kill_tree()\n--\n\nSIGKILL to it and all below it: how many."),
    METHOD("close", child_close, METH_NOARGS,
           "close()\n--\n\nGives up the handle of a child that has ended."),
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef child_getset[] = {
    {"pid", child_pid, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot child_slots[] = {
    {Py_tp_dealloc, child_destroy},
    {Py_tp_methods, child_methods},
    {Py_tp_getset, child_getset},
    {Py_tp_doc, "A child process."},
    {0, NULL},
};
static PyType_Spec child_spec = {
    .name = "shoal._shoal.Child",
    .basicsize = sizeof(struct child_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = child_slots,
};

/* ---- the family ---- */

static PyObject *parent_sentinel(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    shoal_process *parent = shoal_process_parent();
    if (!parent)
        Py_RETURN_NONE;
    int rc = shoal_process_sentinel(parent);
    return rc < 0 ? raise_result(rc) : PyLong_FromLong(rc);
}

/* release_unopened(): what a new program of the family inherited and has not opened it gives up. */
static PyObject *release_unopened(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    owner_t me;
    int rc = self(&me);
    if (rc)
        return raise_result(rc);
    object_release_unopened();
    Py_RETURN_NONE;
}

static PyObject *cpu_count(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromLong(shoal_cpu_count());
}

static PyMethodDef functions[] = {
    METHOD("fork", process_fork, METH_VARARGS,
           "fork(name, daemon)\n--\n\nA Child in the parent, None in the child."),
    METHOD("execute", process_execute, METH_VARARGS,
           "execute(path, argv, fds, name, daemon)\n--\n\nA Child that runs another program of the "
           "family, with "
           "these descriptors."),
    METHOD("exit", process_exit, METH_O,
           "exit(code)\n--\n\nEnds this process, leaving the family in good order."),
    METHOD("parent_sentinel", parent_sentinel, METH_NOARGS,
           "parent_sentinel()\n--\n\nA descriptor, readable at the parent's end; None: the root "
           "has none."),
    METHOD("release_unopened", release_unopened, METH_NOARGS,
           "release_unopened()\n--\n\nGives up what was inherited by exec and was not opened."),
    METHOD(
        "cpu_count", cpu_count, METH_NOARGS,
        "cpu_count()\n--\n\nHow many CPUs this process may use: its affinity, its cgroup's quota."),
    {NULL, NULL, 0, NULL},
};

int process_add(PyObject *module)
{
    return add_type(module, &Child, &child_spec) || PyModule_AddFunctions(module, functions) ? -1
                                                                                             : 0;
}
