/* any: looking at values. */
#include "message/any.h"
#include "message/construct.h"
#include <math.h>

/* ---- what kind it is ---- */

const char *any_kind_name(const shoal_any *a)
{
    static const char *const names[] = {"none",    "a bool", "an int",      "a float",
                                        "a str",   "bytes",  "a list",      "a tuple",
                                        "a dict",  "a set",  "a construct", "an object",
                                        "a class", "a mark", "a blank"};
    return names[a->kind];
}

int any_is_null(const char *call)
{
    bool said = shoal_thread.unbuilt && shoal_thread.unbuilt == shoal_thread.failures;
    return said ? -EINVAL : fail(-EINVAL, "%s: NULL is no any", call);
}

int any_cannot_travel(const shoal_any *any, const char *call)
{
    return any ? fail(-EMSGSIZE, "%s: an any of %zu values; in a message there are %u at most",
                      call, any_nodes(any) - 1, SHOAL_ANY_NODES)
               : any_is_null(call);
}

int any_is_not(const shoal_any *any, const char *call, const char *what)
{
    return any ? fail(-EINVAL, "%s: is %s, not %s", call, any_kind_name(any), what)
               : any_is_null(call);
}

static int nowhere(const char *call)
{
    return fail(-EINVAL, "%s: nowhere to write what it finds (NULL)", call);
}

int shoal_any_kind(const shoal_any *any)
{
    return any ? any->kind : any_is_null("shoal_any_kind");
}

bool any_hashable(const shoal_any *a)
{
    switch (a->kind) {
    case SHOAL_ANY_LIST:
    case SHOAL_ANY_DICT: return false;
    case SHOAL_ANY_SET: return a->frozen;
    case SHOAL_ANY_TUPLE:
    case SHOAL_ANY_CONSTRUCT: return a->items->hashable;
    default: return true;
    }
}

/* ---- looking: scalars ---- */

int shoal_any_as_bool(const shoal_any *any, bool *ret)
{
    if (!any || any->kind != SHOAL_ANY_BOOL)
        return any_is_not(any, "shoal_any_as_bool", "a bool");
    if (!ret)
        return nowhere("shoal_any_as_bool");
    *ret = any->integer;
    return 0;
}

static bool is_int(const shoal_any *any)
{
    return any && (any->kind == SHOAL_ANY_INT || any->kind == SHOAL_ANY_BOOL);
}

int shoal_any_as_int(const shoal_any *any, int64_t *ret)
{
    if (!is_int(any))
        return any_is_not(any, "shoal_any_as_int", "an int");
    if (!ret)
        return nowhere("shoal_any_as_int");
    if (any->big)
        return fail(-ERANGE, "shoal_any_as_int: an int of %zu bytes does not fit in 8",
                    any->bytes->size);
    *ret = any->integer;
    return 0;
}

int shoal_any_as_uint(const shoal_any *any, uint64_t *ret)
{
    if (!is_int(any))
        return any_is_not(any, "shoal_any_as_uint", "an int");
    if (!ret)
        return nowhere("shoal_any_as_uint");
    /* From 2^63 on the ninth byte is the sign. */
    if (any->big ? any->bytes->size > 9 || any->bytes->at[8] : any->integer < 0)
        return fail(-ERANGE, "shoal_any_as_uint: an int below 0 or of more than 8 bytes");
    if (any->big)
        memcpy(ret, any->bytes->at, 8);
    else
        *ret = (uint64_t)any->integer;
    return 0;
}

int shoal_any_as_int_bytes(const shoal_any *any, const void **ret, size_t *size)
{
    if (!is_int(any))
        return any_is_not(any, "shoal_any_as_int_bytes", "an int");
    if (!ret)
        return nowhere("shoal_any_as_int_bytes");
    *ret = any->big ? any->bytes->at : (const void *)&any->integer;
    if (size)
        *size = any->big ? any->bytes->size : sizeof any->integer;
    return 0;
}

int shoal_any_as_float(const shoal_any *any, double *ret)
{
    if (!any || !any_is_number(any))
        return any_is_not(any, "shoal_any_as_float", "a float");
    if (!ret)
        return nowhere("shoal_any_as_float");
    if (any->kind == SHOAL_ANY_FLOAT) {
        *ret = any->real;
        return 0;
    }
    double value = any->big ? any_big_to_double(any->bytes) : (double)any->integer;
    if (isinf(value))
        return fail(-ERANGE, "shoal_any_as_float: an int of %zu bytes is beyond any float",
                    any->bytes->size);
    *ret = value;
    return 0;
}

static int as_text(const shoal_any *any, int kind, const char *call, const char *what,
                   const struct any_bytes **ret)
{
    if (!any || any->kind != kind)
        return any_is_not(any, call, what);
    *ret = any->bytes;
    return 0;
}

int shoal_any_as_str(const shoal_any *any, const char **ret, size_t *size)
{
    const struct any_bytes *text;
    int rc = as_text(any, SHOAL_ANY_STR, "shoal_any_as_str", "a str", &text);
    if (rc)
        return rc;
    if (!ret)
        return nowhere("shoal_any_as_str");
    if (!size && memchr(text->at, 0, text->size))
        return fail(-EINVAL, "shoal_any_as_str: a zero byte in a text whose size is not asked for");
    *ret = (const char *)text->at;
    if (size)
        *size = text->size;
    return 0;
}

int shoal_any_as_bytes(const shoal_any *any, const void **ret, size_t *size)
{
    const struct any_bytes *text;
    int rc = as_text(any, SHOAL_ANY_BYTES, "shoal_any_as_bytes", "bytes", &text);
    if (rc)
        return rc;
    if (!ret)
        return nowhere("shoal_any_as_bytes");
    *ret = text->at;
    if (size)
        *size = text->size;
    return 0;
}

int shoal_any_as_reference(const shoal_any *any, shoal_reference *ret)
{
    if (!any || any->kind != SHOAL_ANY_OBJECT)
        return any_is_not(any, "shoal_any_as_reference", "an object");
    if (!ret)
        return nowhere("shoal_any_as_reference");
    *ret = any->object->reference;
    return 0;
}

int shoal_any_as_construct(const shoal_any *any, const char **name, const shoal_any **arguments)
{
    if (!any || any->kind != SHOAL_ANY_CONSTRUCT)
        return any_is_not(any, "shoal_any_as_construct", "a construct");
    if (!name || !arguments)
        return nowhere("shoal_any_as_construct");
    *name = constructs[any->name].shown;
    *arguments = &any->items->at[0];
    return 0;
}

int shoal_any_state(const shoal_any *any, const shoal_any **ret)
{
    if (!any || any->kind != SHOAL_ANY_CONSTRUCT)
        return any_is_not(any, "shoal_any_state", "a construct");
    if (!ret)
        return nowhere("shoal_any_state");
    if (any->items->count < 2)
        return fail(-ENOENT, "shoal_any_state: %s has none", constructs[any->name].shown);
    *ret = &any->items->at[1];
    return 0;
}

int shoal_any_frozen(const shoal_any *set)
{
    if (!set || set->kind != SHOAL_ANY_SET)
        return any_is_not(set, "shoal_any_frozen", "a set");
    return set->frozen;
}

/* ---- looking: containers ---- */

static size_t step_of(const shoal_any *any)
{
    return any->kind == SHOAL_ANY_DICT ? 2 : 1;
}

/* Whether it has entries that can be counted. */
static int countable(const shoal_any *any, const char *call)
{
    return any && any_has_items(any) && any->kind != SHOAL_ANY_CONSTRUCT
               ? 0
               : any_is_not(any, call, "a list, tuple, dict or set");
}

int64_t shoal_any_count(const shoal_any *any)
{
    int rc = countable(any, "shoal_any_count");
    return rc ? rc : (int64_t)(any->items->count / step_of(any));
}

/* The node where an entry begins. */
static int entry_of(const shoal_any *any, int64_t index, const char *call, const shoal_any **ret)
{
    int64_t count = (int64_t)(any->items->count / step_of(any));
    int64_t i = index < 0 ? index + count : index;
    if (i < 0 || i >= count)
        return fail(-ERANGE, "%s: index %lld of %lld", call, (long long)index, (long long)count);
    *ret = &any->items->at[(size_t)i * step_of(any)];
    return 0;
}

int shoal_any_at(const shoal_any *any, int64_t index, const shoal_any **ret)
{
    int rc = countable(any, "shoal_any_at");
    if (!rc && any->kind == SHOAL_ANY_DICT)
        rc = any_is_not(any, "shoal_any_at", "a list, tuple or set");
    if (!rc && !ret)
        rc = nowhere("shoal_any_at");
    return rc ? rc : entry_of(any, index, "shoal_any_at", ret);
}

int shoal_any_entry(const shoal_any *dict, int64_t index, const shoal_any **key,
                    const shoal_any **value)
{
    const shoal_any *at;
    if (!dict || dict->kind != SHOAL_ANY_DICT)
        return any_is_not(dict, "shoal_any_entry", "a dict");
    int rc = entry_of(dict, index, "shoal_any_entry", &at);
    if (rc)
        return rc;
    if (key)
        *key = at;
    if (value)
        *value = at + 1;
    return 0;
}

static int no_key(const shoal_any *key, const char *call)
{
    if (key->kind == SHOAL_ANY_STR)
        return fail(-ENOENT, "%s: no key '%s'", call, (const char *)key->bytes->at);
    return fail(-ENOENT, "%s: no such key; it is %s", call, any_kind_name(key));
}

static int get(const shoal_any *dict, const shoal_any *key, const char *call, const shoal_any **ret)
{
    if (!dict || dict->kind != SHOAL_ANY_DICT)
        return any_is_not(dict, call, "a dict");
    if (!key)
        return any_is_null(call);
    if (!ret)
        return nowhere(call);
    if (!any_hashable(key))
        return fail(-EINVAL, "%s: %s cannot be a key", call, any_kind_name(key));
    ptrdiff_t at = items_find(dict->items, 2, key);
    if (at < 0)
        return no_key(key, call);
    *ret = &dict->items->at[at + 1];
    return 0;
}

int shoal_any_get(const shoal_any *dict, const shoal_any *key, const shoal_any **ret)
{
    return get(dict, key, "shoal_any_get", ret);
}

int shoal_any_get_str(const shoal_any *dict, const char *key, const shoal_any **ret)
{
    const char *call = "shoal_any_get_str";
    if (!key)
        return fail(-EINVAL, "%s: NULL is no text", call);
    size_t size = strlen(key), valid = any_utf8_valid((const unsigned char *)key, size);
    if (valid < size)
        return fail(-EINVAL, "%s: byte %zu of the key, 0x%02x, is not UTF-8", call, valid,
                    (unsigned char)key[valid]);
    shoal_any *any = shoal_any_str(key);
    if (!any)
        return -ENOMEM; /* with a sentence */
    int rc = get(dict, any, call, ret);
    shoal_any_free(any);
    return rc;
}

int shoal_any_contains(const shoal_any *any, const shoal_any *item)
{
    int rc = countable(any, "shoal_any_contains");
    if (rc)
        return rc;
    if (!item)
        return any_is_null("shoal_any_contains");
    if (any->kind == SHOAL_ANY_DICT || any->kind == SHOAL_ANY_SET) {
        if (!any_hashable(item))
            return fail(-EINVAL, "shoal_any_contains: %s cannot be a key", any_kind_name(item));
        return items_find(any->items, step_of(any), item) >= 0;
    }
    for (size_t i = 0; i < any->items->count; i++)
        if (any_equal(&any->items->at[i], item))
            return 1;
    return 0;
}

int shoal_any_equal(const shoal_any *a, const shoal_any *b)
{
    return a && b ? any_equal(a, b) : any_is_null("shoal_any_equal");
}
