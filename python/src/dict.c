/* Dict and Namespace: the dict that all processes of a family share, and the one whose keys are attributes.
 *
 * What is about one key, or about all entries. The rest is said in ../shoal/_containers.py.
 */
#include "manager/dict.h"
#include "container.h"
#include "message/message.h"
#include <errno.h>
#include <stdlib.h>

static PyTypeObject *Dict, *Namespace;

COMMON_METHODS(dict)
COMMON_METHODS(namespace)
CONTAINER_LOCKS(dict)
CONTAINER_LOCKS(namespace)

static PyObject *no_key(PyObject *key)
{
    /* A tuple would be the arguments. */
    PyObject *arguments = PyTuple_Pack(1, key);
    if (arguments)
        PyErr_SetObject(PyExc_KeyError, arguments);
    Py_XDECREF(arguments);
    return NULL;
}

/* ---- looking ---- */

/* The value of a key: 1; 0: there is none; -1. */
static int look_up(const struct site *p, const struct key *key, PyObject **ret)
{
    struct fetched f;
    bool gone;
    do {
        if (!dict_get(p, key, &f))
            return 0;
        *ret = value_out(f.word, f.bytes, f.size, &gone);
    } while (unlikely(!*ret && gone));
    return *ret ? 1 : -1;
}

/* The value, a new reference; or NULL without an exception; or with one. */
static PyObject *find(PyObject *self, PyObject *name)
{
    struct site p;
    struct key key;
    PyObject *value = NULL;
    if (site_in(&p, self, TYPE_DICT, "dict") || key_in(&key, &p, name))
        return NULL;
    look_up(&p, &key, &value);
    key_end(&key);
    return value;
}

static PyObject *dict_subscript(PyObject *self, PyObject *name)
{
    PyObject *value = find(self, name);
    return likely(value || PyErr_Occurred()) ? value : no_key(name);
}

static PyObject *dict_get_method(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    if (n < 1 || n > 2)
        return PyErr_Format(PyExc_TypeError, "get expected 1 or 2 arguments, got %zd", n);
    PyObject *value = find(self, args[0]);
    return value || PyErr_Occurred() ? value : Py_NewRef(n == 2 ? args[1] : Py_None);
}

static int dict_contains(PyObject *self, PyObject *name)
{
    struct site p;
    struct key key;
    struct fetched f;
    if (site_in(&p, self, TYPE_DICT, "dict") || key_in(&key, &p, name))
        return -1;
    int rc = dict_get(&p, &key, &f);
    key_end(&key);
    return rc;
}

static Py_ssize_t dict_length_of(PyObject *self)
{
    int64_t n = shoal_dict_length(OF(self)->handle);
    return n < 0 ? (raise_result((int)n), -1) : n;
}

/* ---- all entries ---- */

static PyObject *entry_value(const struct entries *e, size_t i)
{
    size_t size = 0;
    bool gone; /* none is, while the shot has them open */
    uint64_t word = e->shot.words[e->at[i].word];
    const unsigned char *bytes = shot_block(&e->shot, word, &size);
    return value_out(word, bytes, size, &gone);
}

static PyObject *entry_key(const struct entries *e, size_t i)
{
    return key_out(e->at[i].info, e->shot.bytes + e->at[i].key);
}

static PyObject *entry_out(const struct entries *e, size_t i, unsigned what)
{
    if (what == DICT_KEYS)
        return entry_key(e, i);
    PyObject *value = entry_value(e, i);
    if (what == DICT_VALUES || !value)
        return value;
    PyObject *key = entry_key(e, i), *pair = key ? PyTuple_Pack(2, key, value) : NULL;
    Py_XDECREF(key);
    Py_DECREF(value);
    return pair;
}

static PyObject *as_dict(const struct entries *e)
{
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < e->count; i++) {
        PyObject *value = entry_value(e, i), *key = value ? entry_key(e, i) : NULL;
        if (!key || PyDict_SetItem(dict, key, value))
            Py_CLEAR(dict);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *as_list(const struct entries *e, unsigned what)
{
    PyObject *list = PyList_New((Py_ssize_t)e->count);
    for (size_t i = 0; list && i < e->count; i++) {
        PyObject *item = entry_out(e, i, what);
        if (item)
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        else
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *entries_of(PyObject *self, enum type type, unsigned what)
{
    struct site p;
    struct entries e = {.shot.unopened = what == DICT_KEYS};
    if (site_in(&p, self, type, "dict"))
        return NULL;
    int rc = entries_look(&p, &e);
    PyObject *ret = rc ? raise_result(rc) : what == DICT_ALL ? as_dict(&e) : as_list(&e, what);
    entries_free(&e);
    return ret;
}

static PyObject *dict_keys(PyObject *self, PyObject *unused)
{
    (void)unused;
    return entries_of(self, TYPE_DICT, DICT_KEYS);
}

static PyObject *dict_values(PyObject *self, PyObject *unused)
{
    (void)unused;
    return entries_of(self, TYPE_DICT, DICT_VALUES);
}

static PyObject *dict_items(PyObject *self, PyObject *unused)
{
    (void)unused;
    return entries_of(self, TYPE_DICT, DICT_ITEMS);
}

static PyObject *dict_copy(PyObject *self, PyObject *unused)
{
    (void)unused;
    return entries_of(self, TYPE_DICT, DICT_ALL);
}

/* ---- one key is changed ---- */

struct wish {
    const struct item *item;
    struct copied *copied;          /* what was there */
    const struct fetched *expected; /* NULL: nothing */
};

static int put_it(const struct site *p, const struct fetched *old, struct item *new, void *argument)
{
    (void)p;
    (void)old;
    *new = *((const struct wish *)argument)->item;
    return DICT_PUT;
}

static int put_if_none(const struct site *p, const struct fetched *old, struct item *new,
                       void *argument)
{
    struct wish *wish = argument;
    if (!old)
        return put_it(p, old, new, argument);
    wish->copied->f = *old;
    int rc = copied_hold(wish->copied);
    return rc ? rc : DICT_KEEP;
}

static int take_it(const struct site *p, const struct fetched *old, struct item *new,
                   void *argument)
{
    struct copied *copied = ((struct wish *)argument)->copied;
    (void)new;
    if (!old)
        return dict_no_key(p);
    if (copied) {
        copied->f = *old;
        int rc = copied_hold(copied);
        if (rc)
            return rc;
    }
    return DICT_REMOVE;
}

static int compare_it(const struct site *p, const struct fetched *old, struct item *new,
                      void *argument)
{
    const struct wish *wish = argument;
    (void)p;
    if (!old != !wish->expected || (old && !copied_same(old, wish->expected)))
        return DICT_KEEP;
    if (!wish->item)
        return old ? DICT_REMOVE : DICT_DONE;
    *new = *wish->item;
    return DICT_PUT;
}

static int add_it(const struct site *p, const struct fetched *old, struct item *new, void *argument)
{
    int rc = sum_of(p, old, new, argument);
    return rc ? rc : DICT_PUT;
}

static int put(struct site *p, const struct key *key, PyObject *value)
{
    struct item item;
    int rc;
    if (value_in(&item, p, value))
        return -1;
    struct wish wish = {.item = &item};
    if (likely(!item.made && !item.message)) {
        struct item copy = item; /* nothing to be ended, however often it is tried */
        CHANGE(rc, p, dict_put(p, key, &copy));
    } else {
        CHANGE(rc, p, dict_change(p, key, put_it, &wish));
        item_end(&item);
    }
    return rc < 0 ? (raise_result(rc), -1) : 0;
}

/* 1; 0: there is no such key; -1. `ret` NULL: nobody asks what it was. */
static int take(struct site *p, const struct key *key, PyObject **ret)
{
    struct copied copied = {.message = NULL};
    struct wish wish = {.copied = ret ? &copied : NULL};
    int rc;
    CHANGE(rc, p, dict_change(p, key, take_it, &wish));
    if (rc < 0) {
        if (copied.message)
            message_close(copied.message);
        return rc == -ENOENT ? 0 : (raise_result(rc), -1);
    }
    if (ret && !(*ret = copied_out(&copied)))
        return -1;
    return 1;
}

static int dict_assign(PyObject *self, PyObject *name, PyObject *value)
{
    struct site p;
    struct key key;
    if (site_in(&p, self, TYPE_DICT, "dict") || key_in(&key, &p, name))
        return -1;
    int rc = value ? put(&p, &key, value) : take(&p, &key, NULL);
    key_end(&key);
    if (!value && !rc)
        no_key(name);
    return value ? rc : rc == 1 ? 0 : -1;
}

static PyObject *dict_pop(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site p;
    struct key key;
    PyObject *value = NULL;
    if (n < 1 || n > 2)
        return PyErr_Format(PyExc_TypeError, "pop expected 1 or 2 arguments, got %zd", n);
    if (site_in(&p, self, TYPE_DICT, "pop") || key_in(&key, &p, args[0]))
        return NULL;
    int rc = take(&p, &key, &value);
    key_end(&key);
    if (rc)
        return value;
    return n == 2 ? Py_NewRef(args[1]) : no_key(args[0]);
}

static PyObject *dict_setdefault(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site p;
    struct key key;
    struct item item;
    struct copied copied = {.message = NULL};
    struct wish wish = {&item, &copied, NULL};
    int rc;
    if (n < 1 || n > 2)
        return PyErr_Format(PyExc_TypeError, "setdefault expected 1 or 2 arguments, got %zd", n);
    PyObject *value = n == 2 ? args[1] : Py_None;
    if (site_in(&p, self, TYPE_DICT, "setdefault") || key_in(&key, &p, args[0]))
        return NULL;
    if (value_in(&item, &p, value)) {
        key_end(&key);
        return NULL;
    }
    CHANGE(rc, &p, dict_change(&p, &key, put_if_none, &wish));
    key_end(&key);
    item_end(&item);
    if (rc < 0)
        return raise_result(rc);
    return rc == DICT_PUT ? Py_NewRef(value) : copied_out(&copied);
}

/* ---- several keys ---- */

/* An entry of a dict of this process's own: -1 with an exception. */
static int entry_in(struct coming *ret, const struct site *p, PyObject *name, PyObject *value)
{
    if (key_in(&ret->key, p, name)) {
        ret->key = (struct key){0};
        return -1;
    }
    if (!value_in(&ret->item, p, value))
        return 0;
    ret->item = (struct item){0};
    return -1;
}

/* _update(dict): all of its entries, as one step. */
static PyObject *dict_update(PyObject *self, PyObject *entries)
{
    struct site p;
    int rc = 0;
    if (!PyDict_CheckExact(entries))
        return PyErr_Format(PyExc_TypeError, "_update expects a dict");
    if (site_in(&p, self, TYPE_DICT, "update"))
        return NULL;
    PyObject *items = PyDict_Items(entries); /* pickling runs code of the program's */
    Py_ssize_t n = items ? PyList_GET_SIZE(items) : 0;
    struct coming *coming = items ? calloc((size_t)n + 1, sizeof *coming) : NULL;
    if (!coming) {
        Py_XDECREF(items);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < n && !rc; i++) {
        PyObject *pair = PyList_GET_ITEM(items, i);
        rc = entry_in(&coming[i], &p, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
    }
    bool bad = rc;
    if (!bad)
        CHANGE(rc, &p, dict_put_all(&p, coming, (size_t)n));
    coming_end(coming, (size_t)n);
    Py_DECREF(items);
    if (rc)
        return bad ? NULL : raise_result(rc);
    Py_RETURN_NONE;
}

static PyObject *dict_clear_all(PyObject *self, PyObject *unused)
{
    struct site p;
    int rc;
    (void)unused;
    if (site_in(&p, self, TYPE_DICT, "clear"))
        return NULL;
    CHANGE(rc, &p, dict_empty(&p));
    if (rc)
        return raise_result(rc);
    Py_RETURN_NONE;
}

/* ---- in one step ---- */

static PyObject *add_number(struct site *p, const struct key *key, PyObject *number)
{
    struct sum sum;
    int rc;
    if (!number_in(&sum.number, number))
        return NULL;
    CHANGE(rc, p, dict_change(p, key, add_it, &sum));
    return rc < 0 ? raise_sum(rc) : number_out(&sum.result);
}

static PyObject *dict_add_number(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site p;
    struct key key;
    if (n != 2)
        return PyErr_Format(PyExc_TypeError, "add expected 2 arguments, got %zd", n);
    if (site_in(&p, self, TYPE_DICT, "add") || key_in(&key, &p, args[0]))
        return NULL;
    PyObject *sum = add_number(&p, &key, args[1]);
    key_end(&key);
    return sum;
}

/* Whether what is there equals what is expected (NULL: nothing), as Python compares: 1, 0, -1; *ret is what is
 * there, if anything is. */
static int is_expected(struct site *p, const struct key *key, PyObject *expected,
                       struct fetched *ret, bool *there)
{
    for (;;) {
        bool gone;
        *there = dict_get(p, key, ret);
        if (!*there || !expected)
            return !*there && !expected;
        PyObject *value = value_out(ret->word, ret->bytes, ret->size, &gone);
        if (!value && gone)
            continue;
        int equal = value ? PyObject_RichCompareBool(value, expected, Py_EQ) : -1;
        Py_XDECREF(value);
        return equal;
    }
}

static PyObject *compare_and_set(struct site *p, const struct key *key, PyObject *expected,
                                 PyObject *value)
{
    struct item item = {0};
    struct fetched f;
    struct wish wish = {.item = value ? &item : NULL};
    bool there;
    int rc = DICT_KEEP, equal = 1;
    if (value && value_in(&item, p, value))
        return NULL;
    while (rc == DICT_KEEP && (equal = is_expected(p, key, expected, &f, &there)) == 1) {
        wish.expected = there ? &f : NULL;
        CHANGE(rc, p, dict_change(p, key, compare_it, &wish));
    }
    item_end(&item);
    if (rc < 0)
        return raise_result(rc);
    return equal < 0 ? NULL : PyBool_FromLong(equal);
}

/* compare_and_set(key, expected, value); the type itself as either stands for nothing. */
static PyObject *dict_compare_and_set(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site p;
    struct key key;
    if (n != 3)
        return PyErr_Format(PyExc_TypeError, "_compare_and_set expected 3 arguments, got %zd", n);
    if (site_in(&p, self, TYPE_DICT, "compare_and_set") || key_in(&key, &p, args[0]))
        return NULL;
    PyObject *nothing = (PyObject *)Dict;
    PyObject *done = compare_and_set(&p, &key, args[1] == nothing ? NULL : args[1],
                                     args[2] == nothing ? NULL : args[2]);
    key_end(&key);
    return done;
}

static PyObject *dict_bytes(PyObject *self, PyObject *unused)
{
    (void)unused;
    int64_t n = shoal_dict_bytes(OF(self)->handle);
    return n < 0 ? raise_result((int)n) : PyLong_FromLongLong(n);
}

static int dict_init_object(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"name", NULL};
    const char *name = NULL;
    shoal_dict *dict;
    if (object_fresh(self) ||
        !PyArg_ParseTupleAndKeywords(args, keywords, "|$z:Dict", names, &name))
        return -1;
    int rc = shoal_dict_create(&dict, &(shoal_container_options){.name = name});
    if (rc)
        return raise_result(rc), -1;
    OF(self)->handle = dict;
    return 0;
}

static PyMethodDef dict_methods[] = {
    METHOD("get", dict_get_method, METH_FASTCALL, "get(key, default=None)"),
    METHOD("pop", dict_pop, METH_FASTCALL, "pop(key[, default])"),
    METHOD("setdefault", dict_setdefault, METH_FASTCALL, "setdefault(key, default=None)"),
    METHOD("keys", dict_keys, METH_NOARGS, "keys()\n--\n\nA list, of one moment."),
    METHOD("values", dict_values, METH_NOARGS, "values()\n--\n\nA list, of one moment."),
    METHOD("items", dict_items, METH_NOARGS, "items()\n--\n\nA list of pairs, of one moment."),
    METHOD("copy", dict_copy, METH_NOARGS,
           "copy()\n--\n\nAs a dict of this process's own, of one moment."),
    METHOD("clear", dict_clear_all, METH_NOARGS, "clear()"),
    METHOD("_update", dict_update, METH_O, "_update(dict)\n--\n\nAll of its entries, as one step."),
    METHOD("add", dict_add_number, METH_FASTCALL,
           "add(key, number)\n--\n\nvalue += number, as one step: the sum. No value is 0. "
           "OverflowError: it needs more than 64 bits."),
    METHOD("_compare_and_set", dict_compare_and_set, METH_FASTCALL,
           "_compare_and_set(key, expected, value)\n--\n\n_shoal.Dict stands for nothing."),
    METHOD("_bytes", dict_bytes, METH_NOARGS, "How much memory of the region it takes."),
    CONTAINER_TABLE(dict),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot dict_slots[] = {
    {Py_tp_init, dict_init_object},
    {Py_tp_dealloc, dict_destroy},
    {Py_tp_methods, dict_methods},
    {Py_mp_length, dict_length_of},
    {Py_mp_subscript, dict_subscript},
    {Py_mp_ass_subscript, dict_assign},
    {Py_sq_contains, dict_contains},
    {Py_tp_doc, "Dict(*, name=None)\n--\n\nA dict that the family shares."},
    {0, NULL},
};
static PyType_Spec dict_spec = {
    .name = "shoal._shoal.Dict",
    .basicsize = sizeof(struct object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = dict_slots,
};

/* ---- Namespace ---- */

static inline bool is_private(PyObject *name)
{
    return PyUnicode_GET_LENGTH(name) && PyUnicode_READ_CHAR(name, 0) == '_';
}

static PyObject *no_attribute(PyObject *name)
{
    return PyErr_Format(PyExc_AttributeError, "'Namespace' object has no attribute '%U'", name);
}

static PyObject *namespace_getattr(PyObject *self, PyObject *name)
{
    struct site p;
    struct key key;
    PyObject *value = NULL;
    if (is_private(name))
        return PyObject_GenericGetAttr(self, name);
    if (site_in(&p, self, TYPE_NAMESPACE, "Namespace") || key_in(&key, &p, name))
        return NULL;
    look_up(&p, &key, &value);
    key_end(&key);
    return likely(value || PyErr_Occurred()) ? value : no_attribute(name);
}

static int namespace_setattr(PyObject *self, PyObject *name, PyObject *value)
{
    struct site p;
    struct key key;
    if (is_private(name))
        return PyObject_GenericSetAttr(self, name, value);
    if (site_in(&p, self, TYPE_NAMESPACE, "Namespace") || key_in(&key, &p, name))
        return -1;
    int rc = value ? put(&p, &key, value) : take(&p, &key, NULL);
    key_end(&key);
    if (!value && !rc)
        no_attribute(name);
    return value ? rc : rc == 1 ? 0 : -1;
}

static PyObject *namespace_copy(PyObject *self, PyObject *unused)
{
    (void)unused;
    return entries_of(self, TYPE_NAMESPACE, DICT_ALL);
}

/* A name that a method was given: false with an exception. */
static bool name_in(struct site *p, struct key *key, PyObject *self, PyObject *name)
{
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "attribute name must be string, not '%.200s'",
                     Py_TYPE(name)->tp_name);
        return false;
    }
    return !site_in(p, self, TYPE_NAMESPACE, "Namespace") && !key_in(key, p, name);
}

static PyObject *namespace_add_number(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site p;
    struct key key;
    if (n != 2)
        return PyErr_Format(PyExc_TypeError, "_add expected 2 arguments, got %zd", n);
    if (!name_in(&p, &key, self, args[0]))
        return NULL;
    PyObject *sum = add_number(&p, &key, args[1]);
    key_end(&key);
    return sum;
}

static PyObject *namespace_compare_and_set(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site p;
    struct key key;
    if (n != 3)
        return PyErr_Format(PyExc_TypeError, "_compare_and_set expected 3 arguments, got %zd", n);
    if (!name_in(&p, &key, self, args[0]))
        return NULL;
    PyObject *done = compare_and_set(&p, &key, args[1], args[2]);
    key_end(&key);
    return done;
}

static int namespace_init_object(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"name", NULL};
    const char *name = NULL;
    shoal_namespace *space;
    if (object_fresh(self) ||
        !PyArg_ParseTupleAndKeywords(args, keywords, "|$z:Namespace", names, &name))
        return -1;
    int rc = shoal_namespace_create(&space, &(shoal_container_options){.name = name});
    if (rc)
        return raise_result(rc), -1;
    OF(self)->handle = space;
    return 0;
}

static PyMethodDef namespace_methods[] = {
    METHOD("_copy", namespace_copy, METH_NOARGS,
           "_copy()\n--\n\nAll attributes, of one moment: a dict."),
    METHOD("_add", namespace_add_number, METH_FASTCALL,
           "_add(name, number)\n--\n\nattribute += number, as one step: the sum. None is 0."),
    METHOD("_compare_and_set", namespace_compare_and_set, METH_FASTCALL,
           "_compare_and_set(name, expected, value)\n--\n\nSets it if it equals `expected`, as one "
           "step: whether it did."),
    CONTAINER_TABLE(namespace),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot namespace_slots[] = {
    {Py_tp_init, namespace_init_object},
    {Py_tp_dealloc, namespace_destroy},
    {Py_tp_methods, namespace_methods},
    {Py_tp_getattro, namespace_getattr},
    {Py_tp_setattro, namespace_setattr},
    {Py_tp_doc, "Namespace(*, name=None)\n--\n\nAttributes that the family shares."},
    {0, NULL},
};
static PyType_Spec namespace_spec = {
    .name = "shoal._shoal.Namespace",
    .basicsize = sizeof(struct object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = namespace_slots,
};

int dict_add(PyObject *module)
{
    return add_type(module, &Dict, &dict_spec) || add_type(module, &Namespace, &namespace_spec) ? -1
                                                                                                : 0;
}
