/* dict and Namespace: shared ones of the family (container.h) as Python's. As with lists (type_list.c) one that
 * changes acquires first. An iterator has the keys of the moment when it was made.
 */
#include "manager/type.h"
#include "message/any.h"
#include <shoal/container.h>
#include <stdlib.h>

/* ---- dict ---- */

static void dict_destroy(void *object)
{
    shoal_dict_close(object);
}

TYPE_OPEN(dict)

static int change(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = call_deadline(call, NULL, NULL, &deadline);
    return rc ? rc : shoal_dict_acquire(object, deadline);
}

static int changed(void *object, int rc)
{
    shoal_dict_release(object);
    return rc;
}

/* A key: 0, SHOAL_RAISED */
static int key_of(shoal_call *call, const shoal_any **ret)
{
    *ret = shoal_call_argument(call, 0, NULL);
    if (!*ret)
        return shoal_call_raise(call, "TypeError", "no key");
    if (!any_hashable(*ret))
        return call_raisef(call, "TypeError", "unhashable: %s cannot be a key",
                           any_kind_name(*ret));
    return 0;
}

static int no_key(shoal_call *call, const shoal_any *key)
{
    shoal_any *error = shoal_any_construct("KeyError", shoal_any_tuple(shoal_any_copy(key)));
    if (!error)
        return -ENOMEM;
    shoal_call_return(call, error);
    call->raised = true;
    return SHOAL_RAISED;
}

/* Adds entries of a dict, or pairs, to a dict. */
static int collect(shoal_any *into, shoal_call *call, const shoal_any *from)
{
    int rc = 0;
    if (from->kind == SHOAL_ANY_DICT) {
        for (size_t i = 0; i < from->items->count && !rc; i += 2)
            rc = shoal_any_put(into, shoal_any_copy(&from->items->at[i]),
                               shoal_any_copy(&from->items->at[i + 1]));
        return rc;
    }
    if (!any_has_items(from) || from->kind == SHOAL_ANY_CONSTRUCT)
        return call_raisef(call, "TypeError", "%s is not iterable", any_kind_name(from));
    for (size_t i = 0; i < from->items->count && !rc; i++) {
        const shoal_any *pair = &from->items->at[i];
        if (!any_has_items(pair) || pair->kind == SHOAL_ANY_CONSTRUCT ||
            pair->kind == SHOAL_ANY_DICT || pair->items->count != 2)
            return shoal_call_raise(call, "ValueError", "an element that is no pair");
        if (!any_hashable(&pair->items->at[0]))
            return call_raisef(call, "TypeError", "unhashable: %s cannot be a key",
                               any_kind_name(&pair->items->at[0]));
        rc = shoal_any_put(into, shoal_any_copy(&pair->items->at[0]),
                           shoal_any_copy(&pair->items->at[1]));
    }
    return rc;
}

/* What a dict is made of or updated with, as one: 0 and *ret, which is the caller's; SHOAL_RAISED. */
static int entries_of(shoal_call *call, shoal_any **ret)
{
    if (call->args->items->count > 1)
        return shoal_call_raise(call, "TypeError", "expected at most 1 argument");
    shoal_any *all = shoal_any_dict_from(NULL, 0);
    int rc = all ? 0 : -ENOMEM;
    if (!rc && call->args->items->count)
        rc = collect(all, call, &call->args->items->at[0]);
    if (!rc && call->kwds)
        rc = collect(all, call, call->kwds);
    if (rc)
        shoal_any_free(all);
    else
        *ret = all;
    return rc;
}

static int dict_create(void **ret, shoal_call *call)
{
    shoal_any *all = NULL;
    shoal_dict *dict = NULL;
    int rc = entries_of(call, &all);
    if (rc || !all)
        return rc;
    rc = shoal_dict_create(&dict, NULL);
    if (!rc && all->items->count)
        rc = shoal_dict_update(dict, all);
    shoal_any_free(all);
    if (rc)
        shoal_dict_close(dict);
    else
        *ret = dict;
    return rc;
}

static int dict_update(void *object, shoal_call *call)
{
    shoal_any *all = NULL;
    int rc = entries_of(call, &all);
    if (rc || !all)
        return rc;
    rc = change(object, call);
    if (rc >= 0)
        rc = changed(object, all->items->count ? shoal_dict_update(object, all) : 0);
    shoal_any_free(all);
    return rc;
}

/* ---- looking ---- */

static int dict_len(void *object, shoal_call *call)
{
    return call_return_int(call, shoal_dict_length(object));
}

static int dict_contains(void *object, shoal_call *call)
{
    const shoal_any *key = NULL;
    int rc = key_of(call, &key);
    return rc ? rc : call_return_bool(call, shoal_dict_contains(object, key));
}

static int dict_item(void *object, shoal_call *call)
{
    const shoal_any *key = NULL;
    shoal_any *value = NULL;
    int rc = key_of(call, &key);
    if (rc)
        return rc;
    rc = shoal_dict_get(object, key, &value);
    if (rc == -ENOENT)
        return no_key(call, key);
    return rc ? rc : shoal_call_return(call, value);
}

static int dict_get(void *object, shoal_call *call)
{
    const shoal_any *key = NULL, *otherwise = shoal_call_argument(call, 1, "default");
    shoal_any *value = NULL;
    int rc = key_of(call, &key);
    if (rc)
        return rc;
    rc = shoal_dict_get(object, key, &value);
    if (rc == -ENOENT)
        return otherwise ? shoal_call_return(call, shoal_any_copy(otherwise)) : 0;
    return rc ? rc : shoal_call_return(call, value);
}

static int all_of(int (*what)(const shoal_dict *, shoal_any **), void *object, shoal_call *call)
{
    shoal_any *all = NULL;
    int rc = what(object, &all);
    return rc ? rc : shoal_call_return(call, all);
}

static int dict_keys(void *object, shoal_call *call)
{
    return all_of(shoal_dict_keys, object, call);
}

static int dict_values(void *object, shoal_call *call)
{
    return all_of(shoal_dict_values, object, call);
}

static int dict_items(void *object, shoal_call *call)
{
    return all_of(shoal_dict_items, object, call);
}

static int dict_copy(void *object, shoal_call *call)
{
    return all_of(shoal_dict_copy, object, call);
}

static int dict_repr(void *object, shoal_call *call)
{
    char *text;
    int rc = dict_copy(object, call);
    if (!rc)
        rc = shoal_any_repr(call->ret, &text);
    if (rc)
        return rc;
    rc = shoal_call_return(call, shoal_any_str(text));
    free(text);
    return rc;
}

/* ---- changing ---- */

static int dict_set(void *object, shoal_call *call)
{
    const shoal_any *key = NULL, *value = shoal_call_argument(call, 1, NULL);
    int rc = key_of(call, &key);
    if (!rc && !value)
        rc = shoal_call_raise(call, "TypeError", "no value");
    if (rc)
        return rc;
    rc = change(object, call);
    return rc < 0 ? rc : changed(object, shoal_dict_set(object, key, value));
}

static int dict_delete(void *object, shoal_call *call)
{
    const shoal_any *key = NULL;
    int rc = key_of(call, &key);
    if (rc)
        return rc;
    rc = change(object, call);
    if (rc >= 0)
        rc = changed(object, shoal_dict_delete(object, key));
    return rc == -ENOENT ? no_key(call, key) : rc;
}

static int dict_pop(void *object, shoal_call *call)
{
    const shoal_any *key = NULL, *otherwise = shoal_call_argument(call, 1, NULL);
    shoal_any *value = NULL;
    int rc = key_of(call, &key);
    if (rc)
        return rc;
    rc = change(object, call);
    if (rc >= 0)
        rc = changed(object, shoal_dict_pop(object, key, &value));
    if (rc == -ENOENT)
        return otherwise ? shoal_call_return(call, shoal_any_copy(otherwise)) : no_key(call, key);
    return rc ? rc : shoal_call_return(call, value);
}

static int dict_popitem(void *object, shoal_call *call)
{
    shoal_any *key = NULL, *value = NULL;
    int rc = change(object, call);
    if (rc >= 0)
        rc = changed(object, shoal_dict_popitem(object, &key, &value));
    if (rc == -ENOENT)
        return shoal_call_raise(call, "KeyError", "popitem(): dictionary is empty");
    return rc ? rc : shoal_call_return(call, shoal_any_tuple(key, value));
}

static int dict_setdefault(void *object, shoal_call *call)
{
    static const shoal_any none = {.kind = SHOAL_ANY_NONE};
    const shoal_any *key = NULL, *otherwise = shoal_call_argument(call, 1, "default");
    shoal_any *value = NULL;
    int rc = key_of(call, &key);
    if (rc)
        return rc;
    rc = change(object, call);
    if (rc >= 0)
        rc = changed(object,
                     shoal_dict_setdefault(object, key, otherwise ? otherwise : &none, &value));
    return rc < 0 ? rc : shoal_call_return(call, value);
}

static int dict_clear(void *object, shoal_call *call)
{
    int rc = change(object, call);
    return rc < 0 ? rc : changed(object, shoal_dict_clear(object));
}

static const struct method dict_methods[] = {
    {"__contains__", dict_contains, 0, NULL},
    {"__delitem__", dict_delete, METHOD_TRIES, NULL},
    {"__getitem__", dict_item, 0, NULL},
    {"__iter__", dict_keys, METHOD_HIDDEN, &iterator_type},
    {"__len__", dict_len, 0, NULL},
    {"__setitem__", dict_set, METHOD_TRIES, NULL},
    {"clear", dict_clear, METHOD_TRIES, NULL},
    {"copy", dict_copy, 0, NULL},
    {"get", dict_get, 0, NULL},
    {"items", dict_items, 0, NULL},
    {"keys", dict_keys, 0, NULL},
    {"pop", dict_pop, METHOD_TRIES, NULL},
    {"popitem", dict_popitem, METHOD_TRIES, NULL},
    {"setdefault", dict_setdefault, METHOD_TRIES, NULL},
    {"update", dict_update, METHOD_TRIES, NULL},
    {"values", dict_values, 0, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type dict_type = {.name = "dict",
                                       .proxy = "multiprocessing.DictProxy",
                                       .type = TYPE_DICT,
                                       .create = dict_create,
                                       .destroy = dict_destroy,
                                       .methods = dict_methods,
                                       .repr = dict_repr,
                                       .value = dict_copy,
                                       .open = dict_open,
                                       .reopen = dict_reopen};

/* ---- namespace ---- */

static void namespace_destroy(void *object)
{
    shoal_namespace_close(object);
}

TYPE_OPEN(namespace)

static int change_space(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = call_deadline(call, NULL, NULL, &deadline);
    return rc ? rc : shoal_namespace_acquire(object, deadline);
}

static int changed_space(void *object, int rc)
{
    shoal_namespace_release(object);
    return rc;
}

static int name_of(shoal_call *call, const char **ret)
{
    const shoal_any *a = shoal_call_argument(call, 0, NULL);
    if (!a || shoal_any_as_str(a, ret, NULL))
        return shoal_call_raise(call, "TypeError", "attribute name must be string");
    return 0;
}

static int no_attribute(shoal_call *call, const char *name)
{
    return call_raisef(call, "AttributeError", "'Namespace' object has no attribute '%.100s'",
                       name);
}

static int namespace_create(void **ret, shoal_call *call)
{
    shoal_namespace *space;
    int rc = 0;
    if (call->args->items->count)
        return shoal_call_raise(call, "TypeError", "Namespace() takes no positional arguments");
    rc = shoal_namespace_create(&space, NULL);
    if (rc)
        return rc;
    for (size_t i = 0; call->kwds && i < call->kwds->items->count && !rc; i += 2) {
        const shoal_any *pair = &call->kwds->items->at[i];
        const char *name = "";
        rc = shoal_any_as_str(pair, &name, NULL);
        if (!rc)
            rc = shoal_namespace_set(space, name, pair + 1);
    }
    if (rc)
        shoal_namespace_close(space);
    else
        *ret = space;
    return rc;
}

static int namespace_copy(void *object, shoal_call *call)
{
    shoal_any *all = NULL;
    int rc = shoal_namespace_copy(object, &all);
    return rc ? rc : shoal_call_return(call, all);
}

static int namespace_get(void *object, shoal_call *call)
{
    const char *name = "";
    shoal_any *value = NULL;
    int rc = name_of(call, &name);
    if (rc)
        return rc;
    if (!strcmp(name, "__dict__"))
        return namespace_copy(object, call);
    rc = shoal_namespace_get(object, name, &value);
    if (rc == -ENOENT)
        return no_attribute(call, name);
    return rc ? rc : shoal_call_return(call, value);
}

static int namespace_set(void *object, shoal_call *call)
{
    const char *name = "";
    const shoal_any *value = shoal_call_argument(call, 1, NULL);
    int rc = name_of(call, &name);
    if (!rc && !value)
        rc = shoal_call_raise(call, "TypeError", "no value");
    if (rc)
        return rc;
    rc = change_space(object, call);
    return rc < 0 ? rc : changed_space(object, shoal_namespace_set(object, name, value));
}

static int namespace_delete(void *object, shoal_call *call)
{
    const char *name = "";
    int rc = name_of(call, &name);
    if (rc)
        return rc;
    rc = change_space(object, call);
    if (rc >= 0)
        rc = changed_space(object, shoal_namespace_delete(object, name));
    return rc == -ENOENT ? no_attribute(call, name) : rc;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, without those that begin with _. */
static int namespace_repr(void *object, shoal_call *call)
{
    shoal_any *all = NULL;
    int rc = shoal_namespace_copy(object, &all);
    if (rc)
        return rc;
    char **parts = calloc(all->items->count + 1, sizeof(char *)), *whole = NULL;
    size_t n = 0, size = sizeof "Namespace()";
    rc = parts ? 0 : -ENOMEM;
    for (size_t i = 0; i < all->items->count && !rc; i += 2) {
        char *text;
        const char *name = (const char *)all->items->at[i].bytes->at;
        if (name[0] == '_')
            continue;
        rc = shoal_any_repr(&all->items->at[i + 1], &text);
        if (!rc && asprintf(&parts[n], "%s=%s", name, text) < 0)
            rc = -ENOMEM;
        if (!rc) {
            size += strlen(parts[n++]) + 2;
            free(text);
        }
    }
    if (!rc) {
        qsort(parts, n, sizeof *parts, by_text);
        whole = malloc(size);
        rc = whole ? 0 : -ENOMEM;
    }
    if (!rc) {
        char *at = stpcpy(whole, "Namespace(");
        for (size_t i = 0; i < n; i++)
            at = stpcpy(stpcpy(at, i ? ", " : ""), parts[i]);
        stpcpy(at, ")");
        rc = shoal_call_return(call, shoal_any_str(whole));
    }
    for (size_t i = 0; i < n; i++)
        free(parts[i]);
    free(parts);
    free(whole);
    shoal_any_free(all);
    return rc;
}

static const struct method namespace_methods[] = {
    {"__getattribute__", namespace_get, METHOD_HIDDEN, NULL},
    {"__setattr__", namespace_set, METHOD_HIDDEN | METHOD_TRIES, NULL},
    {"__delattr__", namespace_delete, METHOD_HIDDEN | METHOD_TRIES, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type namespace_type = {.name = "Namespace",
                                            .proxy = "multiprocessing.NamespaceProxy",
                                            .type = TYPE_NAMESPACE,
                                            .create = namespace_create,
                                            .destroy = namespace_destroy,
                                            .methods = namespace_methods,
                                            .repr = namespace_repr,
                                            .value = namespace_copy,
                                            .open = namespace_open,
                                            .reopen = namespace_reopen};

/* ---- iterator: a list of keys, and how far it has come ---- */

struct iterator {
    shoal_any *list;
    int64_t at;
};

static int iterator_next(void *object, shoal_call *call)
{
    struct iterator *i = object;
    const shoal_any *item;
    if (!i->list || i->at >= shoal_any_count(i->list))
        return shoal_call_raise(call, "StopIteration", NULL);
    shoal_any_at(i->list, i->at++, &item);
    return shoal_call_return(call, shoal_any_copy(item));
}

static int iterator_close(void *object, shoal_call *call)
{
    struct iterator *i = object;
    (void)call;
    i->list = shoal_any_free(i->list);
    return 0;
}

static void iterator_destroy(void *object)
{
    shoal_any_free(((struct iterator *)object)->list);
    free(object);
}

/* Of a method that makes one: what it returned, a list, is the iterator's. */
static int iterator_create(void **ret, shoal_call *call)
{
    struct iterator *i = calloc(1, sizeof *i);
    if (!i)
        return fail(-ENOMEM, "no memory for an iterator");
    i->list = call->ret;
    call->ret = NULL;
    *ret = i;
    return 0;
}

static const struct method iterator_methods[] = {
    {"__next__", iterator_next, 0, NULL},
    {"close", iterator_close, 0, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type iterator_type = {.name = "Iterator",
                                           .create = iterator_create,
                                           .destroy = iterator_destroy,
                                           .methods = iterator_methods};
