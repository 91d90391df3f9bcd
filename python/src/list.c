/* List: the list that all processes of a family share.
 *
 * Here is what is about one item, a slice, or the end. What is about the values of many (index, sort …) is said in
 * ../shoal/_containers.py, at copies, or with the list acquired.
 */
#include "manager/list.h"
#include "container.h"
#include "message/message.h"
#include <errno.h>

static PyTypeObject *List;

COMMON_METHODS(list)
CONTAINER_LOCKS(list)

static int list_init_object(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"name", NULL};
    const char *name = NULL;
    if (object_fresh(self) ||
        !PyArg_ParseTupleAndKeywords(args, keywords, "|$z:List", names, &name))
        return -1;
    shoal_list *list;
    int rc = shoal_list_create(&list, &(shoal_container_options){.name = name});
    if (rc)
        return raise_result(rc), -1;
    OF(self)->handle = list;
    return 0;
}

static PyObject *raise_index(int rc, const char *text)
{
    if (rc != -ERANGE)
        return raise_result(rc);
    PyErr_SetString(PyExc_IndexError, text);
    return NULL;
}

/* ---- looking ---- */

static Py_ssize_t list_length_of(PyObject *self)
{
    int64_t n = shoal_list_length(OF(self)->handle);
    return n < 0 ? (raise_result((int)n), -1) : n;
}

static PyObject *item_at(PyObject *self, int64_t index)
{
    struct site p;
    struct one one;
    PyObject *value;
    bool gone;
    if (site_in(&p, self, TYPE_LIST, "list"))
        return NULL;
    do {
        int rc = list_one(&p, index, &one);
        if (unlikely(rc))
            return raise_index(rc, "list index out of range");
        value = value_out(one.f.word, one.f.bytes, one.f.size, &gone);
    } while (unlikely(!value && gone));
    return value;
}

/* By PySequence_GetItem, which has added the length to what is below 0. */
static PyObject *list_item(PyObject *self, Py_ssize_t i)
{
    if (i < 0)
        return PyErr_Format(PyExc_IndexError, "list index out of range");
    return item_at(self, i);
}

static int slice_in(shoal_slice *ret, PyObject *slice)
{
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(slice, &start, &stop, &step))
        return -1;
    /* The least number is what stands where nothing stood. */
    *ret = (shoal_slice){start, stop, step};
    return 0;
}

static PyObject *shot_out(const struct shot *shot)
{
    PyObject *list = PyList_New((Py_ssize_t)shot->count);
    bool gone; /* none is, while the shot has them open */
    for (size_t i = 0; list && i < shot->count; i++) {
        size_t size = 0;
        const unsigned char *bytes = shot_block(shot, shot->words[i], &size);
        PyObject *value = value_out(shot->words[i], bytes, size, &gone);
        if (value)
            PyList_SET_ITEM(list, (Py_ssize_t)i, value);
        else
            Py_CLEAR(list);
    }
    return list;
}

/* What lies in a slice, or all, at one moment: a list. */
static PyObject *items_of(PyObject *self, const shoal_slice *slice)
{
    struct site p;
    struct shot shot = {0};
    int64_t length;
    if (site_in(&p, self, TYPE_LIST, "list"))
        return NULL;
    int rc = list_shot(&p, slice, &shot, &length);
    PyObject *list = rc ? raise_result(rc) : shot_out(&shot);
    shot_free(&shot);
    return list;
}

static PyObject *list_copy(PyObject *self, PyObject *unused)
{
    (void)unused;
    return items_of(self, NULL);
}

/* An index of any kind: false with an exception. */
static bool index_in(PyObject *key, int64_t *ret)
{
    if (!PyIndex_Check(key)) {
        PyErr_Format(PyExc_TypeError, "list indices must be integers or slices, not %.200s",
                     Py_TYPE(key)->tp_name);
        return false;
    }
    *ret = PyNumber_AsSsize_t(key, PyExc_IndexError);
    return *ret != -1 || !PyErr_Occurred();
}

static PyObject *list_get(PyObject *self, PyObject *key)
{
    shoal_slice slice;
    int64_t index;
    if (PySlice_Check(key))
        return slice_in(&slice, key) ? NULL : items_of(self, &slice);
    return index_in(key, &index) ? item_at(self, index) : NULL;
}

/* ---- changing ---- */

static int push(const struct site *p, const struct item *items, Py_ssize_t n)
{
    int rc = store_lock(p, p->stores, p->deadline);
    if (likely(!rc)) {
        rc = list_push(p, items, (size_t)n);
        store_unlock(p, p->stores);
    }
    return rc;
}

static PyObject *none_or(int rc)
{
    if (unlikely(rc))
        return raise_result(rc);
    Py_RETURN_NONE;
}

static PyObject *list_append(PyObject *self, PyObject *value)
{
    struct site p;
    struct item item;
    int rc;
    if (site_in(&p, self, TYPE_LIST, "append") || value_in(&item, &p, value))
        return NULL;
    CHANGE(rc, &p, push(&p, &item, 1));
    item_end(&item);
    return none_or(rc);
}

static PyObject *list_extend(PyObject *self, PyObject *values)
{
    struct site p;
    struct item *items;
    int rc;
    if (site_in(&p, self, TYPE_LIST, "extend"))
        return NULL;
    PyObject *tuple = PySequence_Tuple(values);
    if (!tuple || values_in(&items, &p, tuple)) {
        Py_XDECREF(tuple);
        return NULL;
    }
    CHANGE(rc, &p, push(&p, items, PyTuple_GET_SIZE(tuple)));
    values_end(items, PyTuple_GET_SIZE(tuple));
    Py_DECREF(tuple);
    return none_or(rc);
}

static int put_before(const struct site *p, int64_t index, const struct item *item)
{
    int rc = store_lock(p, p->stores, p->deadline);
    if (!rc) {
        rc = list_insert(p, index, item);
        store_unlock(p, p->stores);
    }
    return rc;
}

static PyObject *list_insert_item(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site p;
    struct item item;
    int rc;
    if (n != 2)
        return PyErr_Format(PyExc_TypeError, "insert expected 2 arguments, got %zd", n);
    Py_ssize_t index = PyNumber_AsSsize_t(args[0], NULL); /* cut, if it is beyond */
    if (index == -1 && PyErr_Occurred())
        return NULL;
    if (site_in(&p, self, TYPE_LIST, "insert") || value_in(&item, &p, args[1]))
        return NULL;
    CHANGE(rc, &p, put_before(&p, index, &item));
    item_end(&item);
    return none_or(rc);
}

/* Takes an item out; `copied` is what it was, NULL: nobody asks. */
static int take(const struct site *p, int64_t index, struct copied *copied)
{
    struct one one;
    int64_t i;
    int rc = store_lock(p, p->stores, p->deadline);
    if (rc)
        return rc;
    rc = list_one(p, index, &one);
    if (!rc)
        rc = list_index(p, index, one.length, &i);
    if (!rc && copied) {
        copied->f = one.f;
        rc = copied_hold(copied);
    }
    if (!rc)
        rc = list_take(p, i);
    store_unlock(p, p->stores);
    if (rc && copied && copied->message) {
        message_close(copied->message);
        copied->message = NULL;
    }
    return rc;
}

static PyObject *list_pop(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site p;
    struct copied copied = {.message = NULL};
    int64_t index = -1;
    int rc;
    if (n > 1)
        return PyErr_Format(PyExc_TypeError, "pop expected at most 1 argument, got %zd", n);
    if ((n && !index_in(args[0], &index)) || site_in(&p, self, TYPE_LIST, "pop"))
        return NULL;
    CHANGE(rc, &p, take(&p, index, &copied));
    if (!rc)
        return copied_out(&copied);
    return raise_index(rc, shoal_list_length(OF(self)->handle) ? "pop index out of range"
                                                               : "pop from empty list");
}

struct wish {
    const struct item *item;
    const struct fetched *expected;
    bool was; /* what was expected */
};

static int set_it(const struct site *p, const struct fetched *old, struct item *new, void *argument)
{
    (void)p;
    (void)old;
    *new = *((const struct wish *)argument)->item;
    return 1;
}

static int set_item(PyObject *self, int64_t index, PyObject *value)
{
    struct site p;
    struct item item;
    struct wish wish = {.item = &item};
    int rc;
    if (site_in(&p, self, TYPE_LIST, "list") || value_in(&item, &p, value))
        return -1;
    CHANGE(rc, &p, list_change(&p, index, set_it, &wish));
    item_end(&item);
    return rc < 0 ? (raise_index(rc, "list assignment index out of range"), -1) : 0;
}

static int delete_item(PyObject *self, int64_t index)
{
    struct site p;
    int rc;
    if (site_in(&p, self, TYPE_LIST, "list"))
        return -1;
    CHANGE(rc, &p, take(&p, index, NULL));
    return rc ? (raise_index(rc, "list assignment index out of range"), -1) : 0;
}

/* NULL: deletes. */
static int set_slice(PyObject *self, const shoal_slice *slice, PyObject *values)
{
    struct site p;
    struct item *items = NULL;
    PyObject *tuple = values ? PySequence_Tuple(values) : PyTuple_New(0);
    int rc;
    if (!tuple || site_in(&p, self, TYPE_LIST, "list") || values_in(&items, &p, tuple)) {
        Py_XDECREF(tuple);
        return -1;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    CHANGE(rc, &p, list_replace(&p, slice, items, (size_t)n, !values));
    values_end(items, n);
    Py_DECREF(tuple);
    return rc ? (raise_result(rc), -1) : 0;
}

static int list_set(PyObject *self, PyObject *key, PyObject *value)
{
    shoal_slice slice;
    int64_t index;
    if (PySlice_Check(key))
        return slice_in(&slice, key) ? -1 : set_slice(self, &slice, value);
    if (!index_in(key, &index))
        return -1;
    return value ? set_item(self, index, value) : delete_item(self, index);
}

static PyObject *list_clear(PyObject *self, PyObject *unused)
{
    (void)unused;
    return set_slice(self, NULL, NULL) ? NULL : Py_NewRef(Py_None);
}

static PyObject *list_reverse(PyObject *self, PyObject *unused)
{
    struct site p;
    int rc;
    (void)unused;
    if (site_in(&p, self, TYPE_LIST, "reverse"))
        return NULL;
    CHANGE(rc, &p, list_turn(&p));
    return none_or(rc);
}

/* ---- in one step ---- */

static int add_it(const struct site *p, const struct fetched *old, struct item *new, void *argument)
{
    int rc = sum_of(p, old, new, argument);
    return rc ? rc : 1;
}

static PyObject *list_add_number(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site p;
    struct sum sum;
    int64_t index;
    int rc;
    if (n != 2)
        return PyErr_Format(PyExc_TypeError, "add expected 2 arguments, got %zd", n);
    if (!index_in(args[0], &index) || !number_in(&sum.number, args[1]) ||
        site_in(&p, self, TYPE_LIST, "add"))
        return NULL;
    CHANGE(rc, &p, list_change(&p, index, add_it, &sum));
    if (rc == -ERANGE)
        return raise_index(rc, "list index out of range");
    return rc == 1 ? number_out(&sum.result) : raise_sum(rc);
}

static int compare_it(const struct site *p, const struct fetched *old, struct item *new,
                      void *argument)
{
    struct wish *wish = argument;
    (void)p;
    wish->was = copied_same(old, wish->expected);
    *new = *wish->item;
    return wish->was;
}

/* What is there is compared as Python compares; that it is still there, under the lock. */
static PyObject *list_compare_and_set(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site p;
    struct item item;
    struct one one;
    struct wish wish = {.item = &item, .expected = &one.f};
    int64_t index;
    int rc = 0, equal = 0;
    if (n != 3)
        return PyErr_Format(PyExc_TypeError, "compare_and_set expected 3 arguments, got %zd", n);
    if (!index_in(args[0], &index) || site_in(&p, self, TYPE_LIST, "compare_and_set") ||
        value_in(&item, &p, args[2]))
        return NULL;
    while (!wish.was) {
        bool gone;
        rc = list_one(&p, index, &one);
        PyObject *value = rc ? NULL : value_out(one.f.word, one.f.bytes, one.f.size, &gone);
        if (!rc && !value && gone)
            continue;
        equal = value ? PyObject_RichCompareBool(value, args[1], Py_EQ) : -1;
        Py_XDECREF(value);
        if (rc || equal <= 0)
            break;
        CHANGE(rc, &p, list_change(&p, index, compare_it, &wish));
        if (rc < 0)
            break;
    }
    item_end(&item);
    if (rc < 0)
        return raise_index(rc, "list index out of range");
    return equal < 0 ? NULL : PyBool_FromLong(wish.was);
}

static PyObject *list_bytes(PyObject *self, PyObject *unused)
{
    (void)unused;
    int64_t n = shoal_list_bytes(OF(self)->handle);
    return n < 0 ? raise_result((int)n) : PyLong_FromLongLong(n);
}

static PyMethodDef list_methods[] = {
    METHOD("append", list_append, METH_O, "append(item)"),
    METHOD("extend", list_extend, METH_O, "extend(items)\n--\n\nAll of them, as one step."),
    METHOD("insert", list_insert_item, METH_FASTCALL, "insert(index, item)"),
    METHOD("pop", list_pop, METH_FASTCALL, "pop(index=-1)"),
    METHOD("clear", list_clear, METH_NOARGS, "clear()"),
    METHOD("copy", list_copy, METH_NOARGS, "copy()\n--\n\nAs a list of this process's own."),
    METHOD("reverse", list_reverse, METH_NOARGS, "reverse()"),
    METHOD("add", list_add_number, METH_FASTCALL,
           "add(index, number)\n--\n\nitem += number, as one step: the sum. OverflowError: it "
           "needs more than 64 bits."),
    METHOD("compare_and_set", list_compare_and_set, METH_FASTCALL,
           "compare_and_set(index, expected, item)\n--\n\nSets the item if it equals `expected`, "
           "as one step: whether it did."),
    METHOD("_bytes", list_bytes, METH_NOARGS, "How much memory of the region it takes."),
    CONTAINER_TABLE(list),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot list_slots[] = {
    {Py_tp_init, list_init_object},
    {Py_tp_dealloc, list_destroy},
    {Py_tp_methods, list_methods},
    {Py_mp_length, list_length_of},
    {Py_sq_length, list_length_of},
    {Py_mp_subscript, list_get},
    {Py_mp_ass_subscript, list_set},
    {Py_sq_item, list_item},
    {Py_tp_doc, "List(*, name=None)\n--\n\nA list that the family shares."},
    {0, NULL},
};
static PyType_Spec list_spec = {
    .name = "shoal._shoal.List",
    .basicsize = sizeof(struct object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = list_slots,
};

int list_add(PyObject *module)
{
    return add_type(module, &List, &list_spec);
}
