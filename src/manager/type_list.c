/* list: a shared list of the family (container.h) as Python's list. Calls that look wait for nobody. One that
 * changes it acquires it first, since the change itself may wait for who is stopped in the middle of one: it
 * is tried at once, and otherwise gets a thread.
 */
#include "manager/type.h"
#include "message/any.h"
#include <shoal/container.h>
#include <stdlib.h>

enum { MOST = INT32_MAX };

static void list_destroy(void *object)
{
    shoal_list_close(object);
}

TYPE_OPEN(list)

/* Adds the characters of a str. */
static int add_characters(shoal_any *list, const shoal_any *a)
{
    const unsigned char *at = a->bytes->at;
    size_t size = a->bytes->size;
    int rc = 0;
    for (size_t i = 0, n; i < size && !rc; i += n) {
        for (n = 1; i + n < size && (at[i + n] & 0xc0) == 0x80;)
            n++;
        rc = shoal_any_append(list, shoal_any_str_sized((const char *)at + i, n));
    }
    return rc;
}

/* What can be iterated over, as a list: 0 and *ret, which is the caller's; SHOAL_RAISED. */
static int items_of(shoal_call *call, const shoal_any *a, shoal_any **ret)
{
    bool text = a && a->kind == SHOAL_ANY_STR;
    int64_t n = text ? 0 : a ? iterable_count(a) : -1;
    if (n < 0)
        return call_raisef(call, "TypeError", "%s is not iterable",
                           a ? any_kind_name(a) : "nothing");
    if (n > RANGE_MOST)
        return shoal_call_raise(call, "MemoryError", NULL);
    shoal_any *list = shoal_any_list_from(NULL, 0);
    int rc = list ? 0 : -ENOMEM;
    if (!rc && text)
        rc = add_characters(list, a);
    for (int64_t i = 0; i < n && !rc; i++)
        rc = shoal_any_append(list, iterable_at(a, i));
    if (rc)
        shoal_any_free(list);
    else
        *ret = list;
    return rc;
}

static int list_create(void **ret, shoal_call *call)
{
    const shoal_any *from = shoal_call_argument(call, 0, NULL);
    shoal_any *items = NULL;
    shoal_list *list = NULL;
    int rc = call_takes(call, 0, 1);
    if (!rc && from)
        rc = items_of(call, from, &items);
    if (!rc)
        rc = shoal_list_create(&list, NULL);
    if (!rc && items)
        rc = shoal_list_extend(list, items);
    shoal_any_free(items);
    if (rc)
        shoal_list_close(list);
    else
        *ret = list;
    return rc;
}

/* Acquires it for a change; when that has been made: `changed`. */
static int change(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = call_deadline(call, NULL, NULL, &deadline);
    return rc ? rc : shoal_list_acquire(object, deadline);
}

static int changed(void *object, int rc)
{
    shoal_list_release(object);
    return rc;
}

static int out_of_range(shoal_call *call, int rc, const char *what)
{
    return rc == -ERANGE ? call_raisef(call, "IndexError", "%s index out of range", what) : rc;
}

static int index_of(shoal_call *call, const shoal_any *a, int64_t *ret)
{
    int rc = a ? shoal_any_as_int(a, ret) : -EINVAL;
    if (rc == -EINVAL)
        return call_raisef(call, "TypeError", "list indices must be integers or slices, not %s",
                           a ? any_kind_name(a) : "nothing");
    if (rc)
        return shoal_call_raise(call, "IndexError", "cannot fit 'int' into an index-sized integer");
    return 0;
}

static int part_of(shoal_call *call, const shoal_any *a, int64_t *ret)
{
    if (a->kind == SHOAL_ANY_NONE)
        return 0;
    int rc = shoal_any_as_int(a, ret);
    if (rc == -ERANGE)
        *ret = a->bytes->at[a->bytes->size - 1] & 0x80 ? -INT64_MAX : INT64_MAX;
    else if (rc)
        return shoal_call_raise(call, "TypeError", "slice indices must be integers or None");
    else if (*ret == INT64_MIN)
        *ret = -INT64_MAX;
    return 0;
}

static int the_slice(shoal_call *call, const shoal_any *a, shoal_slice *ret)
{
    const shoal_any *part = a->items->at[0].items->at;
    *ret = (shoal_slice){SHOAL_OMITTED, SHOAL_OMITTED, SHOAL_OMITTED};
    int rc = part_of(call, &part[0], &ret->start);
    if (!rc)
        rc = part_of(call, &part[1], &ret->stop);
    if (!rc)
        rc = part_of(call, &part[2], &ret->step);
    if (!rc && !ret->step)
        rc = shoal_call_raise(call, "ValueError", "slice step cannot be zero");
    return rc;
}

/* ---- looking ---- */

static int return_slice(void *object, shoal_call *call, const shoal_slice *slice)
{
    shoal_any *ret = NULL;
    int rc = shoal_list_slice(object, slice, &ret);
    return rc ? rc : shoal_call_return(call, ret);
}

static int list_copy(void *object, shoal_call *call)
{
    return return_slice(object, call, NULL);
}

static int list_len(void *object, shoal_call *call)
{
    return call_return_int(call, shoal_list_length(object));
}

static int list_get(void *object, shoal_call *call)
{
    const shoal_any *which = shoal_call_argument(call, 0, NULL);
    shoal_slice slice = {0, 0, 0};
    shoal_any *ret = NULL;
    int64_t i = 0;
    int rc;
    if (which && is_slice(which)) {
        rc = the_slice(call, which, &slice);
        return rc ? rc : return_slice(object, call, &slice);
    }
    rc = index_of(call, which, &i);
    if (!rc)
        rc = out_of_range(call, shoal_list_get(object, i, &ret), "list");
    return rc ? rc : shoal_call_return(call, ret);
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

static int times_of(shoal_call *call, const void *object, int64_t *ret)
{
    int64_t length = shoal_list_length(object);
    int rc = length < 0 ? (int)length : call_int(call, 0, NULL, 0, ret);
    if (!rc && *ret > MOST / (length ? length : 1))
        return shoal_call_raise(call, "MemoryError", NULL);
    if (*ret < 0)
        *ret = 0;
    return rc;
}

static int list_mul(void *object, shoal_call *call)
{
    int64_t times = 0;
    shoal_any *once;
    int rc = times_of(call, object, &times);
    if (!rc)
        rc = shoal_list_slice(object, NULL, &once);
    if (rc)
        return rc;
    shoal_any *all = shoal_any_list_from(NULL, 0);
    rc = all ? 0 : -ENOMEM;
    for (; times > 0 && !rc; times--)
        for (size_t i = 0; i < once->items->count && !rc; i++)
            rc = shoal_any_append(all, shoal_any_copy(&once->items->at[i]));
    shoal_any_free(once);
    if (rc)
        shoal_any_free(all);
    return rc ? rc : shoal_call_return(call, all);
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

static int needs_one(shoal_call *call, const shoal_any **ret)
{
    *ret = shoal_call_argument(call, 0, NULL);
    return *ret ? 0 : shoal_call_raise(call, "TypeError", "an argument is missing");
}

static int list_contains(void *object, shoal_call *call)
{
    const shoal_any *a = NULL;
    int rc = needs_one(call, &a);
    return rc ? rc : call_return_bool(call, shoal_list_contains(object, a));
}

static int list_count(void *object, shoal_call *call)
{
    const shoal_any *a = NULL;
    int rc = needs_one(call, &a);
    return rc ? rc : call_return_int(call, shoal_list_count(object, a));
}

static int list_index(void *object, shoal_call *call)
{
    const shoal_any *a = NULL;
    int64_t from = 0, to = 0;
    int rc = needs_one(call, &a);
    if (!rc)
        rc = call_int(call, 1, NULL, SHOAL_OMITTED, &from);
    if (!rc)
        rc = call_int(call, 2, NULL, SHOAL_OMITTED, &to);
    if (rc)
        return rc;
    int64_t i = shoal_list_index(object, a, from, to);
    return i == -ENOENT ? shoal_call_raise(call, "ValueError", "value is not in list")
                        : call_return_int(call, i);
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

/* ---- changing ---- */

static int list_append(void *object, shoal_call *call)
{
    const shoal_any *a = NULL;
    int rc = needs_one(call, &a);
    if (!rc)
        rc = change(object, call);
    return rc < 0 || rc == SHOAL_RAISED ? rc : changed(object, shoal_list_append(object, a));
}

static int list_extend(void *object, shoal_call *call)
{
    shoal_any *items = NULL;
    int rc = items_of(call, shoal_call_argument(call, 0, NULL), &items);
    if (rc)
        return rc;
    rc = change(object, call);
    if (rc >= 0)
        rc = changed(object, shoal_list_extend(object, items));
    shoal_any_free(items);
    return rc;
}

static int list_insert(void *object, shoal_call *call)
{
    int64_t i = 0;
    const shoal_any *a = shoal_call_argument(call, 1, NULL);
    int rc = call_int(call, 0, NULL, 0, &i);
    if (!rc && !a)
        rc = shoal_call_raise(call, "TypeError", "insert expected 2 arguments");
    if (rc)
        return rc;
    rc = change(object, call);
    return rc < 0 ? rc : changed(object, shoal_list_insert(object, i, a));
}

static int list_pop(void *object, shoal_call *call)
{
    const shoal_any *which = shoal_call_argument(call, 0, NULL);
    shoal_any *ret = NULL;
    int64_t i = -1;
    int rc = which ? index_of(call, which, &i) : 0;
    if (rc)
        return rc;
    rc = change(object, call);
    if (rc < 0)
        return rc;
    bool empty = !shoal_list_length(object);
    rc = changed(object, shoal_list_pop(object, i, &ret));
    if (rc == -ERANGE && empty)
        return shoal_call_raise(call, "IndexError", "pop from empty list");
    rc = out_of_range(call, rc, "pop");
    return rc ? rc : shoal_call_return(call, ret);
}

static int list_remove(void *object, shoal_call *call)
{
    const shoal_any *a = NULL;
    int rc = needs_one(call, &a);
    if (rc)
        return rc;
    rc = change(object, call);
    if (rc >= 0)
        rc = changed(object, shoal_list_remove(object, a));
    return rc == -ENOENT ? shoal_call_raise(call, "ValueError", "list.remove(x): x not in list")
                         : rc;
}

static int list_clear(void *object, shoal_call *call)
{
    int rc = change(object, call);
    return rc < 0 ? rc : changed(object, shoal_list_clear(object));
}

static int list_reverse(void *object, shoal_call *call)
{
    int rc = change(object, call);
    return rc < 0 ? rc : changed(object, shoal_list_reverse(object));
}

/* In steps: nobody else changes it meanwhile, but who only looks may see some. */
static int list_imul(void *object, shoal_call *call)
{
    int64_t times = 0;
    shoal_any *once = NULL;
    int rc = change(object, call);
    if (rc < 0)
        return rc;
    rc = times_of(call, object, &times);
    if (!rc && !times)
        rc = shoal_list_clear(object);
    else if (!rc)
        rc = shoal_list_slice(object, NULL, &once);
    while (!rc && --times > 0)
        rc = shoal_list_extend(object, once);
    shoal_any_free(once);
    return changed(object, rc);
}

static int set_slice(void *object, shoal_call *call, const shoal_any *which, const shoal_any *value)
{
    shoal_any *items = NULL;
    shoal_slice slice = {0, 0, 0};
    int rc = the_slice(call, which, &slice);
    if (!rc && value)
        rc = items_of(call, value, &items);
    if (rc)
        return rc;
    rc = change(object, call);
    if (rc >= 0)
        rc = changed(object, value ? shoal_list_set_slice(object, &slice, items)
                                   : shoal_list_delete_slice(object, &slice));
    shoal_any_free(items);
    return rc;
}

static int list_set(void *object, shoal_call *call)
{
    const shoal_any *which = shoal_call_argument(call, 0, NULL);
    const shoal_any *value = shoal_call_argument(call, 1, NULL);
    int64_t i = 0;
    if (!value)
        return shoal_call_raise(call, "TypeError", "no value");
    if (which && is_slice(which))
        return set_slice(object, call, which, value);
    int rc = index_of(call, which, &i);
    if (rc)
        return rc;
    rc = change(object, call);
    if (rc >= 0)
        rc = changed(object, shoal_list_set(object, i, value));
    return out_of_range(call, rc, "list assignment");
}

static int list_delete(void *object, shoal_call *call)
{
    const shoal_any *which = shoal_call_argument(call, 0, NULL);
    int64_t i = 0;
    if (which && is_slice(which))
        return set_slice(object, call, which, NULL);
    int rc = index_of(call, which, &i);
    if (rc)
        return rc;
    rc = change(object, call);
    if (rc >= 0)
        rc = changed(object, shoal_list_pop(object, i, NULL));
    return out_of_range(call, rc, "list assignment");
}

static int list_sort(void *object, shoal_call *call)
{
    const shoal_any *key = shoal_call_argument(call, UINT32_MAX, "key");
    const shoal_any *reverse = shoal_call_argument(call, UINT32_MAX, "reverse");
    if (key && key->kind != SHOAL_ANY_NONE)
        return shoal_call_raise(call, "TypeError", "this server calls no key functions");
    int rc = change(object, call);
    if (rc < 0)
        return rc;
    rc = changed(object,
                 shoal_list_sort(object, reverse && any_is_true(reverse) ? SHOAL_DESCENDING : 0));
    return rc == -EINVAL ? shoal_call_raise(call, "TypeError", fail_sentence()) : rc;
}

static const struct method list_methods[] = {
    {"__add__", list_add, 0, NULL},
    {"__contains__", list_contains, 0, NULL},
    {"__delitem__", list_delete, METHOD_TRIES, NULL},
    {"__getitem__", list_get, 0, NULL},
    {"__imul__", list_imul, METHOD_TRIES | METHOD_HIDDEN, NULL},
    {"__len__", list_len, 0, NULL},
    {"__mul__", list_mul, 0, NULL},
    {"__reversed__", list_reversed, 0, NULL},
    {"__rmul__", list_mul, 0, NULL},
    {"__setitem__", list_set, METHOD_TRIES, NULL},
    {"append", list_append, METHOD_TRIES, NULL},
    {"clear", list_clear, METHOD_TRIES, NULL},
    {"copy", list_copy, 0, NULL},
    {"count", list_count, 0, NULL},
    {"extend", list_extend, METHOD_TRIES, NULL},
    {"index", list_index, 0, NULL},
    {"insert", list_insert, METHOD_TRIES, NULL},
    {"pop", list_pop, METHOD_TRIES, NULL},
    {"remove", list_remove, METHOD_TRIES, NULL},
    {"reverse", list_reverse, METHOD_TRIES, NULL},
    {"sort", list_sort, METHOD_TRIES, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type list_type = {.name = "list",
                                       .proxy = "multiprocessing.ListProxy",
                                       .type = TYPE_LIST,
                                       .create = list_create,
                                       .destroy = list_destroy,
                                       .methods = list_methods,
                                       .repr = list_repr,
                                       .value = list_copy,
                                       .open = list_open,
                                       .reopen = list_reopen};
