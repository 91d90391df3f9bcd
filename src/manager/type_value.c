/* Value and Array: numbers with a type, in shared memory. As array.array has it, an item that does not fit is
 * an OverflowError, and what is no number a TypeError. A Value of another type than those of numbers
 * holds anything, as Python's does.
 */
#include "manager/type.h"
#include "message/any.h"
#include <inttypes.h>
#include <stdlib.h>
#include <wchar.h>

enum { ITEM = 8 };
static const char integers[] = "bBhHiIlLqQ";

static size_t item_size(char type)
{
    switch (type) {
    case 'b':
    case 'B': return 1;
    case 'h':
    case 'H': return 2;
    case 'i':
    case 'I': return sizeof(int);
    case 'l':
    case 'L': return sizeof(long);
    case 'f': return sizeof(float);
    case 'q':
    case 'Q':
    case 'd': return 8;
    default: return 0;
    }
}

static bool is_signed(char type)
{
    return type >= 'a';
}

static int pack_int(shoal_call *call, char type, const shoal_any *a, void *ret)
{
    int64_t value = 0;
    size_t size = item_size(type);
    if (!a)
        return shoal_call_raise(call, "TypeError", "no value");
    if (a->kind != SHOAL_ANY_INT && a->kind != SHOAL_ANY_BOOL)
        return call_raisef(call, "TypeError", "%s where an int is wanted", any_kind_name(a));
    bool fits;
    if (type == 'Q' || type == 'L') {
        fits = !shoal_any_as_uint(a, (uint64_t *)&value);
    } else {
        unsigned bits = (unsigned)size * 8;
        fits = !shoal_any_as_int(a, &value);
        if (fits && bits < 64)
            fits = is_signed(type)
                       ? value >= -(INT64_C(1) << (bits - 1)) && value < INT64_C(1) << (bits - 1)
                       : value >= 0 && value < INT64_C(1) << bits;
    }
    if (!fits)
        return call_raisef(call, "OverflowError", "an int that does not fit into a '%c'", type);
    memcpy(ret, &value, size); /* these machines are little-endian */
    return 0;
}

static int pack(shoal_call *call, char type, const shoal_any *a, void *ret)
{
    double value;
    if (strchr(integers, type))
        return pack_int(call, type, a, ret);
    if (shoal_any_as_float(a, &value))
        return call_raisef(call, "TypeError", "%s where a number is wanted", any_kind_name(a));
    if (type == 'f')
        *(float *)ret = (float)value;
    else
        *(double *)ret = value;
    return 0;
}

static shoal_any *unpack(char type, const void *from)
{
    int64_t value = 0;
    size_t size = item_size(type);
    if (type == 'f')
        return shoal_any_float((double)*(const float *)from);
    if (type == 'd')
        return shoal_any_float(*(const double *)from);
    if (!size)
        return shoal_any_none(); /* there is no such type */
    memcpy(&value, from, size);
    unsigned unused = 64 - (unsigned)size * 8;
    if (is_signed(type))
        return shoal_any_int((int64_t)((uint64_t)value << unused) >> unused);
    return shoal_any_uint((uint64_t)value);
}

/* The character of a number's type, or 0: another one. SHOAL_RAISED. */
static int type_of(shoal_call *call, char *ret)
{
    const char *name = "";
    size_t size;
    const shoal_any *a = shoal_call_argument(call, 0, "typecode");
    if (!a || shoal_any_as_str(a, &name, &size))
        return shoal_call_raise(call, "TypeError", "no typecode");
    *ret = size == 1 && item_size(name[0]) ? name[0] : 0;
    return 0;
}

/* ---- value ---- */

struct value {
    shoal_value *value; /* NULL: it holds anything, `any` */
    shoal_any *any;
    shoal_any *code;
    char type;
};

static void value_destroy(void *object)
{
    struct value *v = object;
    shoal_value_close(v->value);
    shoal_any_free(v->any);
    shoal_any_free(v->code);
    free(v);
}

static int value_create(void **ret, shoal_call *call)
{
    char item[ITEM] = {0};
    const shoal_any *initial = shoal_call_argument(call, 1, "value");
    struct value *v = calloc(1, sizeof *v);
    int rc = v ? type_of(call, &v->type) : fail(-ENOMEM, "no memory for a value");
    if (!rc && !initial)
        rc = shoal_call_raise(call, "TypeError", "Value() missing an argument: 'value'");
    if (!rc) {
        v->code = shoal_any_copy(shoal_call_argument(call, 0, "typecode"));
        rc = v->code ? 0 : -ENOMEM;
    }
    if (!rc && v->type)
        rc = pack(call, v->type, initial, item);
    if (!rc && v->type)
        rc = shoal_value_create(&v->value, v->type, item, item_size(v->type), NULL);
    if (!rc && !v->type) {
        v->any = shoal_any_copy(initial);
        rc = v->any ? 0 : -ENOMEM;
    }
    if (!rc)
        *ret = v;
    else if (v)
        value_destroy(v);
    return rc;
}

static int value_reopen(void **ret, const shoal_reference *reference)
{
    struct value *v = calloc(1, sizeof *v);
    int rc = v ? shoal_value_open(&v->value, reference) : -ENOMEM;
    if (!rc) {
        v->type = (char)shoal_value_type(v->value);
        v->code = shoal_any_str((char[]){v->type, 0});
        rc = v->code ? 0 : -ENOMEM;
    }
    if (!rc && !item_size(v->type))
        rc = fail(-EINVAL, "a value of type '%c' is not exported", v->type);
    if (!rc)
        *ret = v;
    else if (v)
        value_destroy(v);
    return rc;
}

static int value_open(void **ret, const void *handle)
{
    shoal_reference reference;
    int rc = shoal_value_reference(handle, &reference);
    return rc ? rc : value_reopen(ret, &reference);
}

/* NULL: one that holds anything is the server's alone. */
static const void *value_handle(void *object)
{
    return ((struct value *)object)->value;
}

/* Whoever of the family holds its lock is waited for. */
static int value_get(void *object, shoal_call *call)
{
    struct value *v = object;
    char item[ITEM] = {0};
    int64_t deadline = 0;
    if (!v->value)
        return shoal_call_return(call, shoal_any_copy(v->any));
    int rc = call_deadline(call, NULL, NULL, &deadline);
    if (!rc)
        rc = shoal_value_get(v->value, item, item_size(v->type), deadline);
    return rc < 0 ? rc : shoal_call_return(call, unpack(v->type, item));
}

static int value_set(void *object, shoal_call *call)
{
    struct value *v = object;
    char item[ITEM] = {0};
    int64_t deadline = 0;
    const shoal_any *a = shoal_call_argument(call, 0, "value");
    if (!a)
        return shoal_call_raise(call, "TypeError", "set() missing an argument: 'value'");
    if (!v->value) {
        shoal_any *copy = shoal_any_copy(a);
        if (!copy)
            return -ENOMEM;
        shoal_any_free(v->any);
        v->any = copy;
        return 0;
    }
    int rc = pack(call, v->type, a, item);
    if (!rc)
        rc = call_deadline(call, NULL, NULL, &deadline);
    if (!rc)
        rc = shoal_value_set(v->value, item, item_size(v->type), deadline);
    return rc < 0 ? rc : rc == SHOAL_RAISED ? rc : 0;
}

static int value_repr(void *object, shoal_call *call)
{
    struct value *v = object;
    char *code = NULL, *text = NULL, *whole = NULL;
    int rc = value_get(v, call);
    if (rc < 0)
        return rc;
    rc = shoal_any_repr(v->code, &code);
    if (!rc)
        rc = shoal_any_repr(call->ret, &text);
    if (!rc && asprintf(&whole, "Value(%s, %s)", code, text) < 0)
        rc = -ENOMEM;
    if (!rc)
        rc = shoal_call_return(call, shoal_any_str(whole));
    free(whole);
    free(text);
    free(code);
    return rc;
}

static const struct method value_methods[] = {
    {"get", value_get, METHOD_TRIES, NULL},
    {"set", value_set, METHOD_TRIES, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type value_type = {.name = "Value",
                                        .proxy = "multiprocessing.ValueProxy",
                                        .handle = value_handle,
                                        .type = TYPE_VALUE,
                                        .create = value_create,
                                        .destroy = value_destroy,
                                        .methods = value_methods,
                                        .repr = value_repr,
                                        .open = value_open,
                                        .reopen = value_reopen};

/* ---- array ---- */

static int array_create(void **ret, shoal_call *call)
{
    char type = 0, *items = NULL;
    const shoal_any *sequence = shoal_call_argument(call, 1, "sequence");
    int rc = type_of(call, &type);
    if (rc)
        return rc;
    if (!type)
        return shoal_call_raise(call, "ValueError",
                                "bad typecode (must be b, B, h, H, i, I, l, L, q, Q, f or d)");
    size_t size = item_size(type), n = 0;
    if (sequence) {
        int64_t count = iterable_count(sequence);
        if (sequence->kind == SHOAL_ANY_BYTES && size != 1)
            count = -1; /* they would be the items' own */
        if (count < 0 || sequence->kind == SHOAL_ANY_DICT)
            return call_raisef(call, "TypeError", "%s where a list is wanted",
                               any_kind_name(sequence));
        if (count > RANGE_MOST)
            return shoal_call_raise(call, "MemoryError", NULL);
        n = (size_t)count;
    }
    items = calloc(n + 1, size);
    if (!items)
        return fail(-ENOMEM, "no memory for an array of %zu", n);
    for (size_t i = 0; i < n && !rc; i++) {
        shoal_any *item = iterable_at(sequence, (int64_t)i);
        rc = item ? pack(call, type, item, items + i * size) : -ENOMEM;
        shoal_any_free(item);
    }
    if (!rc)
        rc = shoal_array_create((shoal_array **)ret, type, n, items, n * size, NULL);
    free(items);
    return rc;
}

static void array_destroy(void *object)
{
    shoal_array_close(object);
}

TYPE_OPEN(array)

static int array_len(void *object, shoal_call *call)
{
    return call_return_int(call, (int64_t)shoal_array_length(object));
}

static int read_all(shoal_array *array, shoal_call *call, char **ret)
{
    int64_t deadline = 0;
    size_t n = shoal_array_length(array), size = shoal_array_size(array);
    int rc = call_deadline(call, NULL, NULL, &deadline);
    if (rc)
        return rc;
    char *items = malloc(size + 1);
    if (!items)
        return fail(-ENOMEM, "no memory for an array of %zu", n);
    rc = shoal_array_get(array, 0, n, items, size, deadline);
    if (rc < 0)
        free(items);
    else
        *ret = items;
    return rc < 0 ? rc : 0;
}

/* A slice is an array.array, as Python's is. */
static int get_slice(shoal_array *array, shoal_call *call, const shoal_any *which)
{
    struct slice s = {0, 1, 0};
    char *items = NULL, type[2] = {(char)shoal_array_type(array), 0};
    size_t size = item_size(type[0]);
    int rc = slice_of(call, which, (int64_t)shoal_array_length(array), &s);
    if (!rc)
        rc = read_all(array, call, &items);
    if (rc)
        return rc;
    char *out = malloc((size_t)s.count * size + 1);
    for (int64_t i = 0; out && i < s.count; i++)
        memcpy(out + (size_t)i * size, items + (size_t)(s.start + i * s.step) * size, size);
    shoal_any *made =
        out ? shoal_any_construct("array.array",
                                  shoal_any_tuple(shoal_any_str(type),
                                                  shoal_any_bytes(out, (size_t)s.count * size)))
            : NULL;
    free(out);
    free(items);
    return made ? shoal_call_return(call, made) : -ENOMEM;
}

static int index_of(shoal_call *call, const shoal_any *a, size_t length, const char *what,
                    int64_t *ret)
{
    int rc = a ? shoal_any_as_int(a, ret) : -EINVAL;
    if (rc == -EINVAL)
        return shoal_call_raise(call, "TypeError", "array indices must be integers");
    if (!rc && *ret < 0)
        *ret += (int64_t)length;
    if (rc || *ret < 0 || *ret >= (int64_t)length)
        return call_raisef(call, "IndexError", "%s index out of range", what);
    return 0;
}

static int array_get(void *object, shoal_call *call)
{
    const shoal_any *which = shoal_call_argument(call, 0, NULL);
    char item[ITEM] = {0};
    int64_t i = 0, deadline = 0;
    char type = (char)shoal_array_type(object);
    if (which && is_slice(which))
        return get_slice(object, call, which);
    int rc = index_of(call, which, shoal_array_length(object), "array", &i);
    if (!rc)
        rc = call_deadline(call, NULL, NULL, &deadline);
    if (rc)
        return rc;
    rc = shoal_array_get(object, (size_t)i, 1, item, item_size(type), deadline);
    return rc < 0 ? rc : shoal_call_return(call, unpack(type, item));
}

/* Of the same type and length: a fixed number of items is what it has. */
static int set_slice(shoal_array *array, shoal_call *call, const shoal_any *which,
                     const shoal_any *value)
{
    const char *name = "";
    const shoal_any *parts, *code, *bytes;
    const char *from, *text;
    struct slice s = {0, 1, 0};
    size_t size = item_size((char)shoal_array_type(array)), n;
    int rc = slice_of(call, which, (int64_t)shoal_array_length(array), &s);
    if (rc)
        return rc;
    if (!value || shoal_any_as_construct(value, &name, &parts) || strcmp(name, "array.array") != 0)
        return shoal_call_raise(call, "TypeError", "can only assign an array to an array slice");
    shoal_any_at(parts, 0, &code);
    shoal_any_at(parts, 1, &bytes);
    if (shoal_any_as_str(code, &text, NULL) || text[0] != (char)shoal_array_type(array) || text[1])
        return shoal_call_raise(call, "TypeError", "an array of another type");
    shoal_any_as_bytes(bytes, (const void **)&from, &n);
    if (n != (size_t)s.count * size)
        return shoal_call_raise(call, "ValueError", "a shared array keeps its length");
    char *items = NULL;
    int64_t deadline = 0;
    rc = shoal_array_acquire(array, call->tries ? SHOAL_NOW : SHOAL_FOREVER);
    if (rc == -EAGAIN) {
        rc = call_deadline(call, NULL, NULL, &deadline);
        return rc ? rc : -EAGAIN;
    }
    if (rc < 0)
        return rc;
    items = shoal_array_address(array);
    for (int64_t i = 0; i < s.count; i++)
        memcpy(items + (size_t)(s.start + i * s.step) * size, from + (size_t)i * size, size);
    shoal_array_release(array);
    return 0;
}

static int array_set(void *object, shoal_call *call)
{
    const shoal_any *which = shoal_call_argument(call, 0, NULL);
    const shoal_any *value = shoal_call_argument(call, 1, NULL);
    char item[ITEM] = {0}, type = (char)shoal_array_type(object);
    int64_t i = 0, deadline = 0;
    if (which && is_slice(which))
        return set_slice(object, call, which, value);
    int rc = index_of(call, which, shoal_array_length(object), "array assignment", &i);
    if (!rc && !value)
        rc = shoal_call_raise(call, "TypeError", "no value");
    if (!rc)
        rc = pack(call, type, value, item);
    if (!rc)
        rc = call_deadline(call, NULL, NULL, &deadline);
    if (rc)
        return rc;
    rc = shoal_array_set(object, (size_t)i, 1, item, item_size(type), deadline);
    return rc < 0 ? rc : 0;
}

static int array_repr(void *object, shoal_call *call)
{
    char type = (char)shoal_array_type(object), *items = NULL, *text = NULL, *whole = NULL;
    size_t n = shoal_array_length(object);
    int rc = read_all(object, call, &items);
    if (rc)
        return rc;
    shoal_any *list = shoal_any_list_from(NULL, 0);
    for (size_t i = 0; i < n && list && !rc; i++)
        rc = shoal_any_append(list, unpack(type, items + i * item_size(type)));
    if (!rc)
        rc = shoal_any_repr(list, &text);
    if (!rc && asprintf(&whole, n ? "array('%c', %s)" : "array('%c')", type, text) < 0)
        rc = -ENOMEM;
    if (!rc)
        rc = shoal_call_return(call, shoal_any_str(whole));
    shoal_any_free(list);
    free(items);
    free(text);
    free(whole);
    return rc;
}

static const struct method array_methods[] = {
    {"__len__", array_len, 0, NULL},
    {"__getitem__", array_get, METHOD_TRIES, NULL},
    {"__setitem__", array_set, METHOD_TRIES, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type array_type = {.name = "Array",
                                        .proxy = "multiprocessing.ArrayProxy",
                                        .type = TYPE_ARRAY,
                                        .create = array_create,
                                        .destroy = array_destroy,
                                        .methods = array_methods,
                                        .repr = array_repr,
                                        .open = array_open,
                                        .reopen = array_reopen};
