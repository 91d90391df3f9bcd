/* list: anys in the server's memory. Only the loop's thread comes here, one call at a time. */
#include "manager/type.h"
#include "message/any.h"
#include "message/any_order.h"
#include <stdlib.h>

struct list {
    shoal_any **at;
    size_t n, room;
};
enum { MOST = INT32_MAX };

static int reserve(struct list *l, size_t more)
{
    size_t room = l->room ? l->room : 4;
    if (more > MOST - l->n)
        return fail(-ENOMEM, "a list of more than %d items", MOST);
    while (room < l->n + more)
        room *= 2;
    if (room == l->room)
        return 0;
    shoal_any **at = realloc(l->at, room * sizeof(shoal_any *));
    if (!at)
        return fail(-ENOMEM, "no memory for a list of %zu items", room);
    l->at = at;
    l->room = room;
    return 0;
}

/* Makes a gap of n at i. */
static int open_gap(struct list *l, size_t i, size_t n)
{
    int rc = reserve(l, n);
    if (rc)
        return rc;
    memmove(l->at + i + n, l->at + i, (l->n - i) * sizeof(shoal_any *));
    l->n += n;
    return 0;
}

/* Ends n items from i on. */
static void cut(struct list *l, size_t i, size_t n)
{
    for (size_t k = 0; k < n; k++)
        shoal_any_free(l->at[i + k]);
    memmove(l->at + i, l->at + i + n, (l->n - i - n) * sizeof(shoal_any *));
    l->n -= n;
    if (l->n < l->room / 4) {
        shoal_any **at = realloc(l->at, (l->room / 2) * sizeof(shoal_any *));
        if (at) {
            l->at = at;
            l->room /= 2;
        }
    }
}

/* What can be iterated over: its items, and how many a step takes. */
static int items_of(shoal_call *call, const shoal_any *a, const shoal_any **items, size_t *n,
                    size_t *step)
{
    if (!a || !any_has_items(a) || a->kind == SHOAL_ANY_CONSTRUCT)
        return call_raisef(call, "TypeError", "%s is not iterable",
                           a ? any_kind_name(a) : "nothing");
    *step = a->kind == SHOAL_ANY_DICT ? 2 : 1;
    *items = a->items->at;
    *n = a->items->count / *step;
    return 0;
}

/* Copies of n items, into an array of the caller's: all or none. */
static int copies(shoal_any **ret, const shoal_any *items, size_t n, size_t step)
{
    for (size_t i = 0; i < n; i++) {
        ret[i] = shoal_any_copy(&items[i * step]);
        if (!ret[i]) {
            while (i-- > 0)
                shoal_any_free(ret[i]);
            return -ENOMEM;
        }
    }
    return 0;
}

static int insert_all(struct list *l, size_t at, const shoal_any *items, size_t n, size_t step)
{
    int rc = open_gap(l, at, n);
    if (rc)
        return rc;
    rc = copies(l->at + at, items, n, step);
    if (rc) {
        memmove(l->at + at, l->at + at + n, (l->n - at - n) * sizeof(shoal_any *));
        l->n -= n;
    }
    return rc;
}

static int list_create(void **ret, shoal_call *call)
{
    const shoal_any *items = NULL, *from = shoal_call_argument(call, 0, NULL);
    size_t n = 0, step = 1;
    int rc = call_takes(call, 0, 1);
    if (!rc && from)
        rc = items_of(call, from, &items, &n, &step);
    if (rc)
        return rc;
    struct list *l = calloc(1, sizeof *l);
    rc = l ? insert_all(l, 0, items, n, step) : fail(-ENOMEM, "no memory for a list");
    if (rc)
        free(l);
    else
        *ret = l;
    return rc;
}

static void list_destroy(void *object)
{
    struct list *l = object;
    for (size_t i = 0; i < l->n; i++)
        shoal_any_free(l->at[i]);
    free(l->at);
    free(l);
}

/* ---- reading ---- */

/* A list of copies: n from `start` on, by steps. */
static int return_copies(shoal_call *call, const struct list *l, const struct slice *s,
                         unsigned times)
{
    size_t n = (size_t)s->count * times, made = 0;
    shoal_any **all = n < MOST ? calloc(n + 1, sizeof(shoal_any *)) : NULL;
    if (!all)
        return fail(-ENOMEM, "no memory for a list of %zu items", n);
    for (; made < n; made++) {
        int64_t i = (int64_t)(made % (size_t)s->count);
        all[made] = shoal_any_copy(l->at[s->start + i * s->step]);
        if (!all[made])
            break;
    }
    shoal_any *list = made == n ? shoal_any_list_from(all, n) : NULL;
    if (made < n)
        for (size_t i = 0; i < made; i++)
            shoal_any_free(all[i]);
    free(all);
    return list ? shoal_call_return(call, list) : -ENOMEM;
}

static int list_copy(void *object, shoal_call *call)
{
    const struct list *l = object;
    return return_copies(call, l, &(struct slice){0, 1, (int64_t)l->n}, 1);
}

static int list_len(void *object, shoal_call *call)
{
    return call_return_int(call, (int64_t)((struct list *)object)->n);
}

static int index_of(shoal_call *call, const struct list *l, const shoal_any *a, const char *what,
                    size_t *ret)
{
    int64_t i = 0;
    int rc = a ? shoal_any_as_int(a, &i) : -EINVAL;
    if (rc == -EINVAL)
        return call_raisef(call, "TypeError", "list indices must be integers or slices, not %s",
                           a ? any_kind_name(a) : "nothing");
    if (!rc && i < 0)
        i += (int64_t)l->n;
    if (rc || i < 0 || i >= (int64_t)l->n)
        return call_raisef(call, "IndexError", "%s index out of range", what);
    *ret = (size_t)i;
    return 0;
}

static int list_get(void *object, shoal_call *call)
{
    const struct list *l = object;
    const shoal_any *which = shoal_call_argument(call, 0, NULL);
    struct slice s = {0, 1, 0};
    size_t i = 0;
    if (which && is_slice(which)) {
        int rc = slice_of(call, which, (int64_t)l->n, &s);
        return rc ? rc : return_copies(call, l, &s, 1);
    }
    int rc = index_of(call, l, which, "list", &i);
    return rc ? rc : shoal_call_return(call, shoal_any_copy(l->at[i]));
}

static int list_add(void *object, shoal_call *call)
{
    const shoal_any *other = shoal_call_argument(call, 0, NULL);
    if (!other || other->kind != SHOAL_ANY_LIST)
        return shoal_call_raise(call, "TypeError", "can only concatenate list to list");
    int rc = list_copy(object, call);
    for (size_t i = 0; i < other->items->count && !rc; i++)
        rc = shoal_any_append(call->ret, shoal_any_copy(&other->items->at[i]));
    return rc;
}

static int times_of(shoal_call *call, const struct list *l, unsigned *ret)
{
    int64_t n = 0;
    int rc = call_int(call, 0, NULL, 0, &n);
    if (!rc && n > 0 && (uint64_t)n > MOST / (l->n ? l->n : 1))
        return shoal_call_raise(call, "MemoryError", NULL);
    *ret = n < 0 ? 0 : (unsigned)n;
    return rc;
}

static int list_mul(void *object, shoal_call *call)
{
    const struct list *l = object;
    unsigned n = 0;
    int rc = times_of(call, l, &n);
    return rc ? rc : return_copies(call, l, &(struct slice){0, 1, (int64_t)l->n}, n);
}

static int list_imul(void *object, shoal_call *call)
{
    struct list *l = object;
    unsigned n = 0;
    int rc = times_of(call, l, &n);
    if (rc || !n) {
        if (!rc)
            cut(l, 0, l->n);
        return rc;
    }
    size_t once = l->n, made = once;
    rc = reserve(l, once * (n - 1));
    for (; !rc && made < once * n; made++) {
        l->at[made] = shoal_any_copy(l->at[made % once]);
        if (!l->at[made])
            break;
    }
    if (rc || made == once * n) {
        l->n = rc ? once : made;
        return rc;
    }
    l->n = made;
    cut(l, once, made - once);
    return -ENOMEM;
}

static int list_reversed(void *object, shoal_call *call)
{
    int rc = list_copy(object, call);
    if (rc)
        return rc;
    shoal_any *list = call->ret;
    call->ret = NULL;
    return shoal_call_return(call, shoal_any_construct("reversed", shoal_any_tuple(list)));
}

static size_t find(const struct list *l, const shoal_any *a, size_t from, size_t to)
{
    while (from < to && !any_equal(l->at[from], a))
        from++;
    return from < to ? from : SIZE_MAX;
}

static int needs_one(shoal_call *call, const shoal_any **ret)
{
    *ret = shoal_call_argument(call, 0, NULL);
    return *ret ? 0 : shoal_call_raise(call, "TypeError", "an argument is missing");
}

static int list_contains(void *object, shoal_call *call)
{
    const struct list *l = object;
    const shoal_any *a = NULL;
    int rc = needs_one(call, &a);
    return rc ? rc : call_return_bool(call, find(l, a, 0, l->n) != SIZE_MAX);
}

static int list_count(void *object, shoal_call *call)
{
    const struct list *l = object;
    const shoal_any *a = NULL;
    int64_t n = 0;
    int rc = needs_one(call, &a);
    for (size_t i = 0; i < l->n && !rc; i++)
        n += any_equal(l->at[i], a);
    return rc ? rc : call_return_int(call, n);
}

static int64_t bound(int64_t i, size_t n)
{
    if (i < 0)
        i += (int64_t)n;
    return i < 0 ? 0 : i > (int64_t)n ? (int64_t)n : i;
}

static int list_index(void *object, shoal_call *call)
{
    const struct list *l = object;
    const shoal_any *a = NULL;
    int64_t from = 0, to = 0;
    int rc = needs_one(call, &a);
    if (!rc)
        rc = call_int(call, 1, NULL, 0, &from);
    if (!rc)
        rc = call_int(call, 2, NULL, INT64_MAX, &to);
    if (rc)
        return rc;
    size_t i = find(l, a, (size_t)bound(from, l->n), (size_t)bound(to, l->n));
    return i == SIZE_MAX ? shoal_call_raise(call, "ValueError", "value is not in list")
                         : call_return_int(call, (int64_t)i);
}

/* ---- changing ---- */

static int list_append(void *object, shoal_call *call)
{
    struct list *l = object;
    const shoal_any *a = NULL;
    int rc = needs_one(call, &a);
    return rc ? rc : insert_all(l, l->n, a, 1, 1);
}

static int list_extend(void *object, shoal_call *call)
{
    struct list *l = object;
    const shoal_any *items = NULL;
    size_t n = 0, step = 1;
    int rc = items_of(call, shoal_call_argument(call, 0, NULL), &items, &n, &step);
    return rc ? rc : insert_all(l, l->n, items, n, step);
}

static int list_insert(void *object, shoal_call *call)
{
    struct list *l = object;
    int64_t i = 0;
    const shoal_any *a = shoal_call_argument(call, 1, NULL);
    int rc = call_int(call, 0, NULL, 0, &i);
    if (!rc && !a)
        rc = shoal_call_raise(call, "TypeError", "insert expected 2 arguments");
    return rc ? rc : insert_all(l, (size_t)bound(i, l->n), a, 1, 1);
}

static int list_pop(void *object, shoal_call *call)
{
    struct list *l = object;
    const shoal_any *which = shoal_call_argument(call, 0, NULL);
    size_t i = l->n - 1;
    int64_t number;
    if (!l->n && !(which && shoal_any_as_int(which, &number) == -EINVAL))
        return shoal_call_raise(call, "IndexError", "pop from empty list");
    int rc = which ? index_of(call, l, which, "pop", &i) : 0;
    if (rc)
        return rc;
    shoal_call_return(call, l->at[i]);
    l->at[i] = NULL;
    cut(l, i, 1);
    return 0;
}

static int list_remove(void *object, shoal_call *call)
{
    struct list *l = object;
    const shoal_any *a = NULL;
    int rc = needs_one(call, &a);
    size_t i = rc ? 0 : find(l, a, 0, l->n);
    if (!rc && i == SIZE_MAX)
        rc = shoal_call_raise(call, "ValueError", "list.remove(x): x not in list");
    if (!rc)
        cut(l, i, 1);
    return rc;
}

static int list_clear(void *object, shoal_call *call)
{
    struct list *l = object;
    (void)call;
    cut(l, 0, l->n);
    return 0;
}

static int list_reverse(void *object, shoal_call *call)
{
    struct list *l = object;
    (void)call;
    for (size_t i = 0; i < l->n / 2; i++) {
        shoal_any *other = l->at[i];
        l->at[i] = l->at[l->n - 1 - i];
        l->at[l->n - 1 - i] = other;
    }
    return 0;
}

static int set_slice(struct list *l, shoal_call *call, const shoal_any *which,
                     const shoal_any *value)
{
    const shoal_any *items = NULL;
    size_t n = 0, step = 1;
    struct slice s = {0, 1, 0};
    int rc = slice_of(call, which, (int64_t)l->n, &s);
    if (!rc && value)
        rc = items_of(call, value, &items, &n, &step);
    if (rc)
        return rc;
    if (s.step == 1) {
        rc = insert_all(l, (size_t)(s.start + s.count), items, n, step);
        if (!rc)
            cut(l, (size_t)s.start, (size_t)s.count);
        return rc;
    }
    if (value && n != (size_t)s.count)
        return call_raisef(call, "ValueError",
                           "attempt to assign sequence of size %zu to extended slice of size %lld",
                           n, (long long)s.count);
    if (value) {
        shoal_any **made = calloc(n + 1, sizeof(shoal_any *));
        rc = made ? copies(made, items, n, step) : -ENOMEM;
        for (int64_t i = 0; i < s.count && !rc; i++) {
            shoal_any **at = &l->at[s.start + i * s.step];
            shoal_any_free(*at);
            *at = made[i];
        }
        free(made);
        return rc;
    }
    /* Deleted ones leave gaps, which are closed in one go. */
    for (int64_t i = 0; i < s.count; i++)
        l->at[s.start + i * s.step] = shoal_any_free(l->at[s.start + i * s.step]);
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i])
            l->at[kept++] = l->at[i];
    l->n = kept;
    return 0;
}

static int list_set(void *object, shoal_call *call)
{
    struct list *l = object;
    const shoal_any *which = shoal_call_argument(call, 0, NULL);
    const shoal_any *value = shoal_call_argument(call, 1, NULL);
    size_t i = 0;
    if (!value)
        return shoal_call_raise(call, "TypeError", "no value");
    if (which && is_slice(which))
        return set_slice(l, call, which, value);
    int rc = index_of(call, l, which, "list assignment", &i);
    shoal_any *copy = rc ? NULL : shoal_any_copy(value);
    if (rc || !copy)
        return rc ? rc : -ENOMEM;
    shoal_any_free(l->at[i]);
    l->at[i] = copy;
    return 0;
}

static int list_delete(void *object, shoal_call *call)
{
    struct list *l = object;
    const shoal_any *which = shoal_call_argument(call, 0, NULL);
    size_t i = 0;
    if (which && is_slice(which))
        return set_slice(l, call, which, NULL);
    int rc = index_of(call, l, which, "list assignment", &i);
    if (!rc)
        cut(l, i, 1);
    return rc;
}

/* ---- sorting: by keys, which stand in Python's order as bytes ---- */

struct keyed {
    shoal_any *value;
    unsigned char *key;
    size_t size, at;
};

static int compare(const void *one, const void *other)
{
    const struct keyed *a = one, *b = other;
    int order = memcmp(a->key, b->key, a->size < b->size ? a->size : b->size);
    if (order)
        return order;
    if (a->size != b->size)
        return a->size < b->size ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at; /* equal ones stay as they are */
}

static int sort(struct list *l, shoal_call *call, struct keyed *all, bool reverse)
{
    const char *what[2];
    size_t n = l->n;
    for (size_t i = 0; i < n; i++) {
        all[i] = (struct keyed){l->at[i], NULL, any_key(l->at[i], NULL), reverse ? n - i : i};
        all[i].key = malloc(all[i].size);
        if (!all[i].key)
            return fail(-ENOMEM, "no memory to sort %zu items", n);
        any_key(l->at[i], all[i].key);
    }
    qsort(all, n, sizeof *all, compare);
    for (size_t i = 0; i + 1 < n; i++)
        if (any_keys_apart(all[i].key, all[i].size, all[i + 1].key, all[i + 1].size, what))
            return call_raisef(call, "TypeError", "'<' not supported between %s and %s", what[0],
                               what[1]);
    for (size_t i = 0; i < n; i++)
        l->at[reverse ? n - 1 - i : i] = all[i].value;
    return 0;
}

static int list_sort(void *object, shoal_call *call)
{
    struct list *l = object;
    const shoal_any *key = shoal_call_argument(call, UINT32_MAX, "key");
    const shoal_any *reverse = shoal_call_argument(call, UINT32_MAX, "reverse");
    if (key && key->kind != SHOAL_ANY_NONE)
        return shoal_call_raise(call, "TypeError", "this server calls no key functions");
    struct keyed *all = calloc(l->n + 1, sizeof *all);
    int rc = all ? sort(l, call, all, reverse && any_is_true(reverse))
                 : fail(-ENOMEM, "no memory to sort %zu items", l->n);
    for (size_t i = 0; all && i < l->n; i++)
        free(all[i].key);
    free(all);
    return rc;
}

static int list_repr(void *object, shoal_call *call)
{
    char *text;
    int rc = list_copy(object, call);
    if (!rc)
        rc = shoal_any_repr(call->ret, &text);
    if (rc)
        return rc;
    rc = shoal_call_return(call, shoal_any_str(text));
    free(text);
    return rc;
}

static const struct method list_methods[] = {
    {"__add__", list_add, 0, NULL},
    {"__contains__", list_contains, 0, NULL},
    {"__delitem__", list_delete, 0, NULL},
    {"__getitem__", list_get, 0, NULL},
    {"__imul__", list_imul, METHOD_HIDDEN, NULL},
    {"__len__", list_len, 0, NULL},
    {"__mul__", list_mul, 0, NULL},
    {"__reversed__", list_reversed, 0, NULL},
    {"__rmul__", list_mul, 0, NULL},
    {"__setitem__", list_set, 0, NULL},
    {"append", list_append, 0, NULL},
    {"clear", list_clear, 0, NULL},
    {"copy", list_copy, 0, NULL},
    {"count", list_count, 0, NULL},
    {"extend", list_extend, 0, NULL},
    {"index", list_index, 0, NULL},
    {"insert", list_insert, 0, NULL},
    {"pop", list_pop, 0, NULL},
    {"remove", list_remove, 0, NULL},
    {"reverse", list_reverse, 0, NULL},
    {"sort", list_sort, 0, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type list_type = {.name = "list",
                                       .create = list_create,
                                       .destroy = list_destroy,
                                       .methods = list_methods,
                                       .repr = list_repr,
                                       .value = list_copy};
