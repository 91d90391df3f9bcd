/* Children that a fork server forks in another process's name (../shoal/forkserver.py).
 *
 * The server is a member of the family, and so are its children from their birth. Whose child one really is
 * it is told by the request, and writes into its own slot before it does anything else: from then on it has
 * that process as its parent, and if it is a daemon it ends with that.
 *
 * What the child is to open is named by references. Whoever starts it has the objects open until start
 * returns; the server holds them around the fork; so the child has them from its birth, and gives up what it
 * has not opened when it has read what it is to do. At no time does nobody hold them.
 *
 * The child's end comes by a socket of its own: the server's word about its status, as the library's own
 * fork server gives it. The child keeps the other end open as well, so that the socket is readable at the
 * child's end even where the server is gone.
 */
#include "process/forkserver.h"
#include "polled.h"
#include "process/processes.h"
#include "python.h"
#include "region/object.h"
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- references that are handed out ---- */

static _Thread_local PyObject *collected; /* a list, borrowed from who called collect */

int note_reference(PyObject *bytes)
{
    return collected ? PyList_Append(collected, bytes) : 0;
}

/* collect(list): references that this thread hands out are appended to it from now on; None: no more. */
static PyObject *collect(PyObject *module, PyObject *list)
{
    (void)module;
    if (list != Py_None && !PyList_CheckExact(list))
        return PyErr_Format(PyExc_TypeError, "collect wants a list, or None");
    collected = list == Py_None ? NULL : list;
    Py_RETURN_NONE;
}

/* The type of the object that a reference names; TYPE_NONE: none of this family. */
static enum type type_of(const shoal_reference *r)
{
    if (r->family != view.region->family || r->id >= atomic_load(&view.region->groups_high) * GROUP)
        return TYPE_NONE;
    return (enum type)header_at(r->id)->type;
}

/* hold(references): the calling process holds them; those whose objects are gone are left out. A list of
 * what it holds now. */
static PyObject *hold(PyObject *module, PyObject *references)
{
    owner_t me;
    shoal_reference r;
    (void)module;
    int rc = self(&me);
    if (rc)
        return raise_result(rc);
    PyObject *fast = PySequence_Fast(references, "hold wants a sequence of references");
    PyObject *held = fast ? PyList_New(0) : NULL;
    for (Py_ssize_t i = 0; held && i < PySequence_Fast_GET_SIZE(fast); i++) {
        PyObject *bytes = PySequence_Fast_GET_ITEM(fast, i);
        if (reference_from(bytes, &r))
            goto failed;
        enum type type = type_of(&r);
        if (type == TYPE_NONE || object_hold(&r, type, "hold"))
            continue; /* the child, if it wants it, says what is wrong with it */
        if (PyList_Append(held, bytes)) {
            object_unhold(&r, type);
            goto failed;
        }
    }
    Py_XDECREF(fast);
    return held;
failed:
    Py_DECREF(fast);
    Py_DECREF(held);
    return NULL;
}

/* unhold(list): gives up what hold has returned. */
static PyObject *unhold(PyObject *module, PyObject *list)
{
    shoal_reference r;
    (void)module;
    if (!PyList_CheckExact(list))
        return PyErr_Format(PyExc_TypeError, "unhold wants a list");
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        if (reference_from(PyList_GET_ITEM(list, i), &r))
            return NULL;
        object_unhold(&r, type_of(&r));
    }
    Py_RETURN_NONE;
}

/* ---- in the server ---- */

/* serve_fork(): (pid, slot, generation) of a child; None in the child. */
static PyObject *serve_fork(PyObject *module, PyObject *unused)
{
    static const char name[NAME] = "(forked)", identity[NAME] = "";
    owner_t me;
    (void)module;
    (void)unused;
    int rc = self(&me);
    if (rc)
        return raise_result(rc);
    child_begin();
    PyOS_BeforeFork();
    os_mutex_lock(&child_mutex);
    struct birth birth = {.flags =
                              atomic_load(&slot_at(process_self.slot)->flags) & SLOT_FLAG_DAEMON};
    self_start_begin(&birth, name, identity);
    pid_t pid = fork();
    int error = errno;
    if (!pid) {
        if (!birth.slot)
            _exit(127);
        PyOS_AfterFork_Child();
        Py_RETURN_NONE;
    }
    self_start_end();
    os_mutex_unlock(&child_mutex);
    PyOS_AfterFork_Parent();
    if (pid < 0) {
        if (birth.slot)
            life_ended(birth.slot, birth.generation, true);
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if (!birth.slot) {
        waitpid(pid, NULL, 0);
        return raise_result(-EAGAIN); /* the fork handler has left the sentence */
    }
    return Py_BuildValue("(iII)", (int)pid, birth.slot, birth.generation);
}

/* ending(status): what tells the starting process of a child's end: its exit code, or -N for signal N. */
static PyObject *ending(PyObject *module, PyObject *status)
{
    long n = PyLong_AsLong(status);
    (void)module;
    if (n == -1 && PyErr_Occurred())
        return NULL;
    struct ending e;
    memset(&e, 0, sizeof e);
    e.status = (int32_t)n;
    return PyBytes_FromStringAndSize((const char *)&e, sizeof e);
}

/* ---- in the child ---- */

/* Whom the child descends from, as if its parent had forked it. */
static void descend(struct slot *slot, uint32_t parent, uint32_t generation)
{
    const struct slot *from = slot_at(parent);
    unsigned n = 0;
    for (; n < ANCESTORS && from->ancestors[n]; n++)
        slot->ancestors[n] = from->ancestors[n];
    if (n < ANCESTORS)
        slot->ancestors[n++] = (uint64_t)generation << 32 | parent;
    for (; n < ANCESTORS; n++)
        slot->ancestors[n] = 0;
}

/* follow((slot, generation), name, daemon): the calling process is that one's child from now on. */
static PyObject *follow(PyObject *module, PyObject *args)
{
    unsigned parent, generation;
    char name[NAME];
    int daemon;
    owner_t me;
    (void)module;
    if (!PyArg_ParseTuple(args, "(II)O&p:follow", &parent, &generation, take_name, name, &daemon))
        return NULL;
    int rc = self(&me);
    if (rc)
        return raise_result(rc);
    if (!parent || parent >= SLOTS)
        return PyErr_Format(PyExc_ValueError, "follow: there is no slot %u", parent);
    struct slot *slot = slot_at(process_self.slot);
    if (region_populate(slot_at(parent), sizeof *slot))
        return PyErr_NoMemory();
    slot->parent = parent;
    slot->parent_generation = generation;
    if (slot_of_parent(slot)) {
        descend(slot, parent, generation);
        atomic_store(&slot->quota, atomic_load(&slot_at(parent)->quota));
    }
    memcpy(slot->name, name, NAME);
    if (daemon) {
        atomic_fetch_or(&slot->flags, SLOT_FLAG_DAEMON);
        self_on_join(); /* daemon.c's: it ends with its parent, at once if that is gone */
    }
    Py_RETURN_NONE;
}

/* identity(): (slot, generation) of the calling process. */
static PyObject *identity(PyObject *module, PyObject *unused)
{
    owner_t me;
    (void)module;
    (void)unused;
    int rc = self(&me);
    if (rc)
        return raise_result(rc);
    return Py_BuildValue("(II)", process_self.slot, process_self.generation);
}

/* ---- in the process that starts it ---- */

/* expect_daemon(): there will be a daemon that this process does not fork itself. */
static PyObject *expect_daemon(PyObject *module, PyObject *unused)
{
    owner_t me;
    (void)module;
    (void)unused;
    int rc = self(&me);
    if (rc)
        return raise_result(rc);
    child_begin();
    os_mutex_lock(&child_mutex);
    daemon_expect();
    keeper_start();
    os_mutex_unlock(&child_mutex);
    Py_RETURN_NONE;
}

/* served_child(name, daemon, pid, slot, generation, fd): the Child that a server has forked for this
 * process. fd, where the word of its end will come, is the Child's from now on. */
static PyObject *served_child(PyObject *module, PyObject *args)
{
    char name[NAME];
    int daemon, pid, fd;
    unsigned slot, generation;
    owner_t me;
    (void)module;
    if (!PyArg_ParseTuple(args, "O&piIIi:served_child", take_name, name, &daemon, &pid, &slot,
                          &generation, &fd))
        return NULL;
    int rc = self(&me);
    if (rc)
        return raise_result(rc);
    child_begin();
    os_mutex_lock(&child_mutex);
    struct child *child = child_new(CLEAN);
    if (child) {
        child->pid = pid;
        child->family = view.region->family;
        child->slot = slot;
        child->generation = generation;
        child->daemon = daemon;
        memcpy(child->name, name, NAME);
        descriptor_keep(&child->end, fd);
        child_number_reused(child);
    }
    os_mutex_unlock(&child_mutex);
    if (!child)
        return PyErr_NoMemory();
    polled_settle_birth(slot);
    return child_make(child_handle(child));
}

static PyMethodDef functions[] = {
    METHOD("collect", collect, METH_O,
           "collect(list)\n--\n\nReferences that this thread hands out are appended to the list; "
           "None: no more."),
    METHOD("hold", hold, METH_O,
           "hold(references)\n--\n\nHolds what they name: a list of those that there are."),
    METHOD("unhold", unhold, METH_O, "unhold(list)\n--\n\nGives up what hold has returned."),
    METHOD("serve_fork", serve_fork, METH_NOARGS,
           "serve_fork()\n--\n\n(pid, slot, generation) in the parent, None in the child."),
    METHOD("ending", ending, METH_O,
           "ending(status)\n--\n\nA message to the Child of another process: it has ended."),
    METHOD("follow", follow, METH_VARARGS,
           "follow((slot, generation), name, daemon)\n--\n\nBecomes that process's child."),
    METHOD("identity", identity, METH_NOARGS,
           "identity()\n--\n\n(slot, generation) of this process."),
    METHOD("expect_daemon", expect_daemon, METH_NOARGS,
           "expect_daemon()\n--\n\nA daemon will follow this process."),
    METHOD("served_child", served_child, METH_VARARGS,
           "served_child(name, daemon, pid, slot, generation, fd)\n--\n\nThe Child that a server "
           "has forked for this process."),
    {NULL, NULL, 0, NULL},
};

int forkserver_add(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
