/* dict and Namespace: anys in the server's memory, in the order of insertion, found by a hash with a
 * secret in it. Only the loop's thread comes here, one call at a time. An iterator has the keys of the
 * moment when it was made.
 */
#include "manager/type.h"
#include "message/any.h"
#include <inttypes.h>
#include <stdlib.h>

struct pair {
    shoal_any *key, *value; /* NULL: deleted */
    uint64_t hash;
};
/* index: place + 1, 0 for none; those of deleted pairs stay until it is built anew: they lead to no pair, or to a
 * later one, whose key tells. */
struct dict {
    struct pair *at;
    uint32_t *index;
    /* pairs, places in use, places; a power of two, twice as many in the index */
    size_t n, used, room;
    size_t filled; /* of the index; at least a fourth is always free */
};
enum { FIRST = 8, MOST = 1 << 30 };

static void place(struct dict *d, size_t i)
{
    size_t mask = 2 * d->room - 1, at = d->at[i].hash & mask;
    while (d->index[at])
        at = (at + 1) & mask;
    d->index[at] = (uint32_t)i + 1;
    d->filled++;
}

/* With room for one more. */
static int reserve(struct dict *d)
{
    if (d->used < d->room && d->filled < d->room + d->room / 2)
        return 0;
    size_t room = FIRST;
    while (room < d->n + d->n / 2 + 1)
        room *= 2;
    if (room > MOST)
        return fail(-ENOMEM, "a dict of more than %d entries", MOST);
    struct pair *at = malloc(room * sizeof *at);
    uint32_t *index = calloc(2 * room, sizeof *index);
    if (!at || !index) {
        free(at);
        free(index);
        return fail(-ENOMEM, "no memory for a dict of %zu entries", room);
    }
    size_t n = 0;
    for (size_t i = 0; i < d->used; i++)
        if (d->at[i].key)
            at[n++] = d->at[i];
    free(d->at);
    free(d->index);
    d->at = at;
    d->index = index;
    d->room = room;
    d->used = n;
    d->filled = 0;
    for (size_t i = 0; i < n; i++)
        place(d, i);
    return 0;
}

static struct pair *find(const struct dict *d, const shoal_any *key)
{
    uint64_t hash = any_hash(key);
    size_t mask = 2 * d->room - 1;
    for (size_t at = hash & mask; d->room && d->index[at]; at = (at + 1) & mask) {
        struct pair *p = &d->at[d->index[at] - 1];
        if (p->key && p->hash == hash && any_equal(p->key, key))
            return p;
    }
    return NULL;
}

/* Takes both over, also when it fails. */
static int put(struct dict *d, shoal_any *key, shoal_any *value)
{
    struct pair *p = key && value ? find(d, key) : NULL;
    int rc = key && value ? p ? 0 : reserve(d) : -ENOMEM;
    if (p) {
        shoal_any_free(p->value);
        p->value = value;
        shoal_any_free(key);
    } else if (rc) {
        shoal_any_free(key);
        shoal_any_free(value);
    } else {
        d->at[d->used] = (struct pair){key, value, any_hash(key)};
        place(d, d->used++);
        d->n++;
    }
    return rc;
}

/* The pair's value is the caller's. */
static shoal_any *take_out(struct dict *d, struct pair *p)
{
    shoal_any *value = p->value;
    shoal_any_free(p->key);
    p->key = p->value = NULL;
    d->n--;
    while (d->used && !d->at[d->used - 1].key)
        d->used--;
    return value;
}

static void clear(struct dict *d)
{
    for (size_t i = 0; i < d->used; i++) {
        shoal_any_free(d->at[i].key);
        shoal_any_free(d->at[i].value);
    }
    free(d->at);
    free(d->index);
    *d = (struct dict){.at = NULL};
}

/* ---- arguments ---- */

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

/* From a dict, or from pairs. */
static int update_from(struct dict *d, shoal_call *call, const shoal_any *from)
{
    if (from->kind == SHOAL_ANY_DICT) {
        for (size_t i = 0; i < from->items->count; i += 2) {
            int rc = put(d, shoal_any_copy(&from->items->at[i]),
                         shoal_any_copy(&from->items->at[i + 1]));
            if (rc)
                return rc;
        }
        return 0;
    }
    if (!any_has_items(from) || from->kind == SHOAL_ANY_CONSTRUCT)
        return call_raisef(call, "TypeError", "%s is not iterable", any_kind_name(from));
    for (size_t i = 0; i < from->items->count; i++) {
        const shoal_any *pair = &from->items->at[i];
        if (!any_has_items(pair) || pair->kind == SHOAL_ANY_CONSTRUCT ||
            pair->kind == SHOAL_ANY_DICT || pair->items->count != 2)
            return shoal_call_raise(call, "ValueError", "an element that is no pair");
        if (!any_hashable(&pair->items->at[0]))
            return call_raisef(call, "TypeError", "unhashable: %s cannot be a key",
                               any_kind_name(&pair->items->at[0]));
        int rc = put(d, shoal_any_copy(&pair->items->at[0]), shoal_any_copy(&pair->items->at[1]));
        if (rc)
            return rc;
    }
    return 0;
}

static int dict_update(void *object, shoal_call *call)
{
    const shoal_any *from = call->args->items->count ? &call->args->items->at[0] : NULL;
    int rc = 0;
    if (call->args->items->count > 1)
        return shoal_call_raise(call, "TypeError", "expected at most 1 argument");
    if (from)
        rc = update_from(object, call, from);
    if (!rc && call->kwds)
        rc = update_from(object, call, call->kwds);
    return rc;
}

static int dict_create(void **ret, shoal_call *call)
{
    struct dict *d = calloc(1, sizeof *d);
    int rc = d ? dict_update(d, call) : fail(-ENOMEM, "no memory for a dict");
    if (!rc) {
        *ret = d;
        return 0;
    }
    if (d)
        clear(d);
    free(d);
    return rc;
}

static void dict_destroy(void *object)
{
    clear(object);
    free(object);
}

/* ---- reading ---- */

static int dict_len(void *object, shoal_call *call)
{
    return call_return_int(call, (int64_t)((struct dict *)object)->n);
}

static int dict_contains(void *object, shoal_call *call)
{
    const shoal_any *key = NULL;
    int rc = key_of(call, &key);
    return rc ? rc : call_return_bool(call, find(object, key) != NULL);
}

static int dict_item(void *object, shoal_call *call)
{
    const shoal_any *key = NULL;
    int rc = key_of(call, &key);
    const struct pair *p = rc ? NULL : find(object, key);
    if (rc)
        return rc;
    return p ? shoal_call_return(call, shoal_any_copy(p->value)) : no_key(call, key);
}

static int dict_get(void *object, shoal_call *call)
{
    const shoal_any *key = NULL, *otherwise = shoal_call_argument(call, 1, "default");
    int rc = key_of(call, &key);
    const struct pair *p = rc ? NULL : find(object, key);
    if (rc)
        return rc;
    if (p)
        otherwise = p->value;
    return otherwise ? shoal_call_return(call, shoal_any_copy(otherwise)) : 0;
}

enum what { KEYS, VALUES, ITEMS, WHOLE };
static int all_of(const struct dict *d, shoal_call *call, enum what what)
{
    shoal_any *all = what == WHOLE ? shoal_any_dict_from(NULL, 0) : shoal_any_list_from(NULL, 0);
    int rc = all ? 0 : -ENOMEM;
    for (size_t i = 0; i < d->used && !rc; i++) {
        const struct pair *p = &d->at[i];
        if (!p->key)
            continue;
        if (what == WHOLE)
            rc = shoal_any_put(all, shoal_any_copy(p->key), shoal_any_copy(p->value));
        else
            rc =
                shoal_any_append(all, what == KEYS     ? shoal_any_copy(p->key)
                                      : what == VALUES ? shoal_any_copy(p->value)
                                                       : shoal_any_tuple(shoal_any_copy(p->key),
                                                                         shoal_any_copy(p->value)));
    }
    if (rc) {
        shoal_any_free(all);
        return rc;
    }
    return shoal_call_return(call, all);
}

static int dict_keys(void *object, shoal_call *call)
{
    return all_of(object, call, KEYS);
}

static int dict_values(void *object, shoal_call *call)
{
    return all_of(object, call, VALUES);
}

static int dict_items(void *object, shoal_call *call)
{
    return all_of(object, call, ITEMS);
}

static int dict_copy(void *object, shoal_call *call)
{
    return all_of(object, call, WHOLE);
}

static int return_repr(shoal_call *call)
{
    char *text;
    int rc = shoal_any_repr(call->ret, &text);
    if (rc)
        return rc;
    rc = shoal_call_return(call, shoal_any_str(text));
    free(text);
    return rc;
}

static int dict_repr(void *object, shoal_call *call)
{
    int rc = dict_copy(object, call);
    return rc ? rc : return_repr(call);
}

/* ---- changing ---- */

static int dict_set(void *object, shoal_call *call)
{
    const shoal_any *key = NULL, *value = shoal_call_argument(call, 1, NULL);
    int rc = key_of(call, &key);
    if (!rc && !value)
        rc = shoal_call_raise(call, "TypeError", "no value");
    return rc ? rc : put(object, shoal_any_copy(key), shoal_any_copy(value));
}

static int dict_delete(void *object, shoal_call *call)
{
    const shoal_any *key = NULL;
    int rc = key_of(call, &key);
    struct pair *p = rc ? NULL : find(object, key);
    if (rc)
        return rc;
    if (!p)
        return no_key(call, key);
    shoal_any_free(take_out(object, p));
    return 0;
}

static int dict_pop(void *object, shoal_call *call)
{
    const shoal_any *key = NULL, *otherwise = shoal_call_argument(call, 1, NULL);
    int rc = key_of(call, &key);
    struct pair *p = rc ? NULL : find(object, key);
    if (rc)
        return rc;
    if (p)
        return shoal_call_return(call, take_out(object, p));
    return otherwise ? shoal_call_return(call, shoal_any_copy(otherwise)) : no_key(call, key);
}

static int dict_popitem(void *object, shoal_call *call)
{
    struct dict *d = object;
    size_t i = d->used;
    if (!d->n)
        return shoal_call_raise(call, "KeyError", "popitem(): dictionary is empty");
    while (!d->at[--i].key)
        ;
    shoal_any *key = shoal_any_copy(d->at[i].key);
    if (!key)
        return -ENOMEM;
    return shoal_call_return(call, shoal_any_tuple(key, take_out(d, &d->at[i])));
}

static int dict_setdefault(void *object, shoal_call *call)
{
    const shoal_any *key = NULL, *otherwise = shoal_call_argument(call, 1, "default");
    int rc = key_of(call, &key);
    const struct pair *p = rc ? NULL : find(object, key);
    if (rc)
        return rc;
    if (p)
        return shoal_call_return(call, shoal_any_copy(p->value));
    shoal_any *value = otherwise ? shoal_any_copy(otherwise) : shoal_any_none();
    rc = value ? shoal_call_return(call, shoal_any_copy(value)) : -ENOMEM;
    if (rc) {
        shoal_any_free(value);
        return rc;
    }
    return put(object, shoal_any_copy(key), value);
}

static int dict_clear(void *object, shoal_call *call)
{
    (void)call;
    clear(object);
    return 0;
}

static int dict_iter(void *object, shoal_call *call)
{
    return all_of(object, call, KEYS);
}

static const struct method dict_methods[] = {
    {"__contains__", dict_contains, 0, NULL},
    {"__delitem__", dict_delete, 0, NULL},
    {"__getitem__", dict_item, 0, NULL},
    {"__iter__", dict_iter, METHOD_HIDDEN, &iterator_type},
    {"__len__", dict_len, 0, NULL},
    {"__setitem__", dict_set, 0, NULL},
    {"clear", dict_clear, 0, NULL},
    {"copy", dict_copy, 0, NULL},
    {"get", dict_get, 0, NULL},
    {"items", dict_items, 0, NULL},
    {"keys", dict_keys, 0, NULL},
    {"pop", dict_pop, 0, NULL},
    {"popitem", dict_popitem, 0, NULL},
    {"setdefault", dict_setdefault, 0, NULL},
    {"update", dict_update, 0, NULL},
    {"values", dict_values, 0, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type dict_type = {.name = "dict",
                                       .create = dict_create,
                                       .destroy = dict_destroy,
                                       .methods = dict_methods,
                                       .repr = dict_repr,
                                       .value = dict_copy};

/* ---- namespace: attributes in a dict ---- */

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
    if (call->args->items->count)
        return shoal_call_raise(call, "TypeError", "Namespace() takes no positional arguments");
    return dict_create(ret, call);
}

static int namespace_get(void *object, shoal_call *call)
{
    const char *name = "";
    int rc = name_of(call, &name);
    if (rc)
        return rc;
    if (!strcmp(name, "__dict__"))
        return dict_copy(object, call);
    const struct pair *p = find(object, shoal_call_argument(call, 0, NULL));
    return p ? shoal_call_return(call, shoal_any_copy(p->value)) : no_attribute(call, name);
}

static int namespace_set(void *object, shoal_call *call)
{
    const char *name = "";
    int rc = name_of(call, &name);
    return rc ? rc : dict_set(object, call);
}

static int namespace_delete(void *object, shoal_call *call)
{
    const char *name = "";
    int rc = name_of(call, &name);
    if (rc)
        return rc;
    return find(object, shoal_call_argument(call, 0, NULL)) ? dict_delete(object, call)
                                                            : no_attribute(call, name);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, without those that begin with _. */
static int namespace_repr(void *object, shoal_call *call)
{
    const struct dict *d = object;
    char **parts = calloc(d->n + 1, sizeof(char *)), *whole = NULL;
    size_t n = 0, size = sizeof "Namespace()";
    int rc = parts ? 0 : -ENOMEM;
    for (size_t i = 0; i < d->used && !rc; i++) {
        char *text;
        const char *name = d->at[i].key ? (const char *)d->at[i].key->bytes->at : "_";
        if (name[0] == '_')
            continue;
        rc = shoal_any_repr(d->at[i].value, &text);
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
    return rc;
}

static const struct method namespace_methods[] = {
    {"__getattribute__", namespace_get, METHOD_HIDDEN, NULL},
    {"__setattr__", namespace_set, METHOD_HIDDEN, NULL},
    {"__delattr__", namespace_delete, METHOD_HIDDEN, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type namespace_type = {.name = "Namespace",
                                            .create = namespace_create,
                                            .destroy = dict_destroy,
                                            .methods = namespace_methods,
                                            .repr = namespace_repr,
                                            .value = dict_copy};

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
