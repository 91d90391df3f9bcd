/* any: building, changing, looking. */
#include "message/any.h"
#include "message/construct.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what kind it is ---- */

const char *any_kind_name(const shoal_any *a)
{
    static const char *const names[] = {"none",        "a bool",    "an int",  "a float", "a str",
                                        "bytes",       "a list",    "a tuple", "a dict",  "a set",
                                        "a construct", "an object", "a class", "a mark"};
    return names[a->kind];
}

static int is_null(const char *call)
{
    return fail(-EINVAL, "%s: NULL is no any", call);
}

static int not_a(const shoal_any *any, const char *call, const char *what)
{
    return any ? fail(-EINVAL, "%s: is %s, not %s", call, any_kind_name(any), what) : is_null(call);
}

int shoal_any_kind(const shoal_any *any)
{
    return any ? any->kind : is_null("shoal_any_kind");
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

/* ---- ints ---- */

/* What only repeats the sign is left out, so that each number has one form. */
static size_t trimmed(const unsigned char *bytes, size_t size)
{
    while (size > 1 && bytes[size - 1] == (bytes[size - 2] & 0x80 ? 0xff : 0))
        size--;
    return size;
}

static int64_t short_int(const unsigned char *bytes, size_t size)
{
    uint64_t value = size && bytes[size - 1] & 0x80 ? UINT64_MAX : 0;
    while (size-- > 0)
        value = value << 8 | bytes[size];
    return (int64_t)value;
}

int any_set_int(struct any_tree *tree, shoal_any *ret, const unsigned char *bytes, size_t size)
{
    unsigned char few[16], *copy = few;
    struct any_bytes *big = NULL;
    if (size > sizeof few) {
        big = any_text(tree, size);
        if (!big)
            return -ENOMEM;
        copy = big->at;
    }
    /* Copied before it is looked at: it may lie where others write. */
    if (size)
        memcpy(copy, bytes, size);
    size = trimmed(copy, size);
    if (size <= 8) {
        *ret = (shoal_any){.kind = SHOAL_ANY_INT, .integer = short_int(copy, size)};
        return 0;
    }
    if (!big) {
        big = any_text(tree, size);
        if (!big)
            return -ENOMEM;
        memcpy(big->at, few, size);
    }
    big->size = size;
    *ret = (shoal_any){.kind = SHOAL_ANY_INT, .big = true, .bytes = big};
    return 0;
}

size_t any_float_bytes(double value, unsigned char ret[BIG_FLOAT])
{
    int exponent;
    uint64_t mantissa = (uint64_t)ldexp(frexp(fabs(value), &exponent), 53);
    size_t shift = (size_t)exponent - 53, size = shift / 8 + 9;
    memset(ret, 0, BIG_FLOAT);
    mantissa <<= shift % 8; /* 60 bits */
    memcpy(ret + shift / 8, &mantissa, 8);
    for (size_t i = 0, carry = 1; value < 0 && i < size; i++) {
        size_t digit = (unsigned char)~ret[i] + carry;
        ret[i] = (unsigned char)digit;
        carry = digit >> 8;
    }
    return trimmed(ret, size);
}

/* Rounded to the nearest; infinite if it is too large. The 64 highest bits decide, and whether
 * there is anything below them. */
static double big_to_double(const struct any_bytes *big)
{
    bool negative = big->at[big->size - 1] & 0x80;
    uint64_t top = 0;
    size_t low = 0, at = big->size;
    /* The magnitude, from the most significant byte on: -x is ~x + 1. */
    while (low < big->size && !big->at[low])
        low++;
    while (at > 0 && !(top >> 56)) {
        at--;
        unsigned char byte = big->at[at];
        if (negative)
            byte = (unsigned char)(at > low ? ~byte : at == low ? -byte : 0);
        top = top << 8 | byte;
    }
    if (low < at)
        top |= 1;
    /* Beyond what an int holds it is infinite all the same. */
    double value = ldexp((double)top, at > 1000 ? 8000 : (int)at * 8);
    return negative ? -value : value;
}

/* ---- text ---- */

struct any_bytes *any_text(struct any_tree *tree, size_t size)
{
    struct any_bytes *text = NULL;
    if (size < PTRDIFF_MAX - 64)
        text = tree_alloc(tree, sizeof *text + size + 1);
    if (text) {
        text->size = size;
        text->at[size] = 0;
    }
    return text;
}

/* How many bytes the character at p takes, which is not ASCII, 0 if it is none. The shortest form only, up to
 * U+10FFFF. */
static size_t utf8_character(const unsigned char *p, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n > left || p[0] < 0xc0 || p[0] > 0xf4)
        return 0;
    uint32_t code = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    return code >= least[n] && code <= 0x10ffff ? n : 0;
}

size_t any_utf8_valid(const unsigned char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        uint64_t word;
        if (size - i >= sizeof word) {
            memcpy(&word, text + i, sizeof word);
            if (!(word & 0x8080808080808080)) {
                i += sizeof word;
                continue;
            }
        }
        if (text[i] < 0x80) {
            i++;
            continue;
        }
        size_t n = utf8_character(text + i, size - i);
        if (!n)
            return i;
        i += n;
    }
    return size;
}

/* ---- building: scalars ---- */

static shoal_any *stand_alone(struct any_tree *tree, shoal_any value)
{
    value.root = true;
    tree->root = value;
    return &tree->root;
}

static shoal_any *scalar(shoal_any value)
{
    struct any_tree *tree = tree_create(0, SIZE_MAX);
    return tree ? stand_alone(tree, value) : NULL;
}

shoal_any *shoal_any_none(void)
{
    return scalar((shoal_any){.kind = SHOAL_ANY_NONE});
}

shoal_any *shoal_any_bool(bool value)
{
    return scalar((shoal_any){.kind = SHOAL_ANY_BOOL, .integer = value});
}

shoal_any *shoal_any_int(int64_t value)
{
    return scalar((shoal_any){.kind = SHOAL_ANY_INT, .integer = value});
}

shoal_any *shoal_any_float(double value)
{
    return scalar((shoal_any){.kind = SHOAL_ANY_FLOAT, .real = value});
}

/* Room for a text of this size in the first block; of one that cannot be, none. */
static size_t text_room(size_t size)
{
    return size < PTRDIFF_MAX - 64 ? sizeof(struct any_bytes) + size + 16 : 0;
}

shoal_any *shoal_any_int_bytes(const void *bytes, size_t size)
{
    shoal_any value;
    if (!bytes && size)
        return fail(NULL, "shoal_any_int_bytes: NULL instead of %zu bytes", size);
    if (size > INT32_MAX)
        return fail(NULL, "shoal_any_int_bytes: %zu bytes; at most 2147483647", size);
    struct any_tree *tree = tree_create(text_room(size), SIZE_MAX);
    if (!tree)
        return NULL;
    if (any_set_int(tree, &value, bytes, size)) {
        blocks_free(&tree->block);
        return NULL;
    }
    return stand_alone(tree, value);
}

shoal_any *shoal_any_uint(uint64_t value)
{
    unsigned char bytes[9] = {0};
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    return shoal_any_int_bytes(bytes, sizeof bytes);
}

static shoal_any *text(int kind, const char *call, const void *bytes, size_t size)
{
    if (!bytes && size)
        return fail(NULL, "%s: NULL instead of %zu bytes", call, size);
    struct any_tree *tree = tree_create(text_room(size), SIZE_MAX);
    if (!tree)
        return NULL;
    struct any_bytes *copy = any_text(tree, size);
    if (!copy) {
        blocks_free(&tree->block);
        return NULL;
    }
    if (size)
        memcpy(copy->at, bytes, size);
    size_t valid = kind == SHOAL_ANY_STR ? any_utf8_valid(copy->at, size) : size;
    if (valid < size) {
        fail_detail("%s: byte %zu, 0x%02x, is not UTF-8", call, valid, copy->at[valid]);
        blocks_free(&tree->block);
        return NULL;
    }
    return stand_alone(tree, (shoal_any){.kind = (uint8_t)kind, .bytes = copy});
}

shoal_any *shoal_any_str(const char *s)
{
    if (!s)
        return fail(NULL, "shoal_any_str: NULL is no text");
    return text(SHOAL_ANY_STR, "shoal_any_str", s, strlen(s));
}

shoal_any *shoal_any_str_sized(const char *s, size_t size)
{
    return text(SHOAL_ANY_STR, "shoal_any_str_sized", s, size);
}

shoal_any *shoal_any_bytes(const void *bytes, size_t size)
{
    return text(SHOAL_ANY_BYTES, "shoal_any_bytes", bytes, size);
}

shoal_any *any_from_object(const shoal_reference *reference, uint32_t type)
{
    struct any_tree *tree = tree_create(sizeof(struct any_object), SIZE_MAX);
    if (!tree)
        return NULL;
    struct any_object *object = tree_alloc(tree, sizeof *object);
    *object = (struct any_object){.reference = *reference, .type = type};
    return stand_alone(tree, (shoal_any){.kind = SHOAL_ANY_OBJECT, .object = object});
}

shoal_any *shoal_any_free(shoal_any *any)
{
    if (any && any->root)
        blocks_free(&tree_of(any)->block);
    return NULL;
}

/* ---- building: containers ---- */

/* What a builder was given, taken from its owner: joined to the new whole, or freed. */
struct parts {
    struct any_block first, *last; /* a list, behind `first` */
    size_t taken;                  /* bytes of malloc in it */
    struct any_block *loose;       /* of those that are nothing but a node, which is copied */
};

static void parts_free(struct parts *parts)
{
    blocks_free(parts->first.next);
    blocks_free(parts->loose);
}

static void parts_join(struct any_tree *tree, struct parts *parts)
{
    if (parts->first.next) {
        tree->last->next = parts->first.next;
        tree->last = parts->last;
        tree->taken += parts->taken;
    }
    blocks_free(parts->loose);
}

/* On failure, too, all that can be taken is. */
static int claim(struct parts *parts, const char *call, shoal_any *const items[], size_t count)
{
    int rc = 0;
    *parts = (struct parts){.last = &parts->first};
    for (size_t i = 0; i < count; i++) {
        shoal_any *item = items[i];
        if (!item) {
            /* Whoever could not build it has said why. */
            rc = *shoal_thread.detail ? -EINVAL : is_null(call);
            continue;
        }
        if (!item->root) { /* or is given twice */
            rc = fail(-EINVAL, "%s: item %zu is a part of something already", call, i);
            continue;
        }
        struct any_tree *tree = tree_of(item);
        item->root = false;
        if (item->kind < SHOAL_ANY_STR && !item->big) {
            tree->block.next = parts->loose;
            parts->loose = &tree->block;
        } else {
            parts->last->next = &tree->block;
            parts->last = tree->last;
            parts->taken += tree->taken;
        }
    }
    return rc;
}

static int put_in(struct any_tree *tree, int kind, struct any_items *in, shoal_any *const items[])
{
    switch (kind) {
    case SHOAL_ANY_DICT: return items_put(tree, in, items[0], items[1]);
    case SHOAL_ANY_SET: return items_add(tree, in, items[0]);
    default: return items_append(tree, in, items[0], 1);
    }
}

static shoal_any *container(int kind, const char *call, shoal_any *const items[], size_t count)
{
    struct parts parts;
    size_t step = kind == SHOAL_ANY_DICT ? 2 : 1;
    struct any_tree *tree = NULL;
    struct any_items *made = NULL;
    if (!items && count) {
        is_null(call);
        return NULL;
    }
    int rc = claim(&parts, call, items, count);
    if (!rc && count % step)
        rc = fail(-EINVAL, "%s: a key without a value", call);
    if (!rc) {
        tree = tree_create(sizeof(struct any_items) + count * sizeof(shoal_any), SIZE_MAX);
        made = tree ? items_create(tree, count) : NULL;
        rc = made ? 0 : -ENOMEM;
    }
    for (size_t i = 0; i < count && !rc; i += step)
        rc = put_in(tree, kind, made, items + i);
    if (rc) {
        parts_free(&parts);
        if (tree)
            blocks_free(&tree->block);
        return NULL;
    }
    parts_join(tree, &parts);
    return stand_alone(tree, node_of_items(kind, made));
}

shoal_any *shoal_any_list_from(shoal_any *const items[], size_t count)
{
    return container(SHOAL_ANY_LIST, "shoal_any_list", items, count);
}

shoal_any *shoal_any_tuple_from(shoal_any *const items[], size_t count)
{
    return container(SHOAL_ANY_TUPLE, "shoal_any_tuple", items, count);
}

shoal_any *shoal_any_dict_from(shoal_any *const items[], size_t count)
{
    return container(SHOAL_ANY_DICT, "shoal_any_dict", items, count);
}

shoal_any *shoal_any_set_from(shoal_any *const items[], size_t count)
{
    return container(SHOAL_ANY_SET, "shoal_any_set", items, count);
}

shoal_any *shoal_any_frozenset_from(shoal_any *const items[], size_t count)
{
    shoal_any *set = container(SHOAL_ANY_SET, "shoal_any_frozenset", items, count);
    if (set)
        set->frozen = true;
    return set;
}

shoal_any *shoal_any_construct(const char *name, shoal_any *arguments)
{
    struct parts parts;
    struct any_tree *tree = NULL;
    shoal_any made;
    int rc = claim(&parts, "shoal_any_construct", &arguments, 1);
    int which = name ? construct_named(name) : -1;
    if (!rc && which < 0)
        rc = fail(-EINVAL, "shoal_any_construct: %s is none", name ? name : "NULL");
    if (!rc) {
        tree = tree_create(sizeof(struct any_items) + sizeof(shoal_any), SIZE_MAX);
        rc = tree ? construct_create(tree, &made, which, arguments) : -ENOMEM;
    }
    if (rc) {
        parts_free(&parts);
        if (tree)
            blocks_free(&tree->block);
        return NULL;
    }
    parts_join(tree, &parts);
    return stand_alone(tree, made);
}

/* ---- changing ---- */

static int change(shoal_any *in, int kind, const char *call, const char *what,
                  shoal_any *const items[], size_t count)
{
    struct parts parts;
    for (size_t i = 0; i < count; i++)
        if (in && items[i] == in)
            return fail(-EINVAL, "%s: nothing can be put into itself", call);
    int rc = claim(&parts, call, items, count);
    if (!rc && (!in || in->kind != kind || in->frozen))
        rc = in && in->frozen ? fail(-EINVAL, "%s: a frozenset does not change", call)
                              : not_a(in, call, what);
    if (!rc && !in->root)
        rc = fail(-EINVAL, "%s: what lies inside another any does not change", call);
    if (!rc)
        rc = put_in(tree_of(in), kind, in->items, items);
    if (rc)
        parts_free(&parts);
    else
        parts_join(tree_of(in), &parts);
    return rc;
}

int shoal_any_append(shoal_any *list, shoal_any *item)
{
    return change(list, SHOAL_ANY_LIST, "shoal_any_append", "a list", &item, 1);
}

int shoal_any_put(shoal_any *dict, shoal_any *key, shoal_any *value)
{
    shoal_any *const items[] = {key, value};
    return change(dict, SHOAL_ANY_DICT, "shoal_any_put", "a dict", items, 2);
}

int shoal_any_add(shoal_any *set, shoal_any *member)
{
    return change(set, SHOAL_ANY_SET, "shoal_any_add", "a set", &member, 1);
}

/* ---- copying ---- */

/* What a node points to becomes its own; items of its items are still those of the original. */
static int copy_shallow(struct any_tree *tree, shoal_any *a)
{
    a->root = false;
    if (any_has_items(a))
        return items_copy(tree, a);
    if (a->kind == SHOAL_ANY_OBJECT) {
        struct any_object *copy = tree_alloc(tree, sizeof *copy);
        if (!copy)
            return -ENOMEM;
        *copy = *a->object;
        a->object = copy;
    }
    if (a->kind == SHOAL_ANY_STR || a->kind == SHOAL_ANY_BYTES || a->big) {
        struct any_bytes *copy = any_text(tree, a->bytes->size);
        if (!copy)
            return -ENOMEM;
        memcpy(copy->at, a->bytes->at, copy->size);
        a->bytes = copy;
    }
    return 0;
}

static int copy_deep(struct any_tree *tree, shoal_any *a)
{
    struct any_frame *bottom = any_frames(a), *top = bottom - 1;
    for (;;) {
        int rc = copy_shallow(tree, a);
        if (rc)
            return rc;
        if (any_has_items(a))
            *++top = (struct any_frame){a, 0};
        while (top >= bottom && top->next == top->in->items->count)
            top--;
        if (top < bottom)
            return 0;
        a = &top->in->items->at[top->next++];
    }
}

shoal_any *shoal_any_copy(const shoal_any *any)
{
    if (!any)
        return fail_detail("shoal_any_copy: NULL is no any"), NULL;
    struct any_tree *tree = tree_create(any_depth(any) ? 1024 : 0, SIZE_MAX);
    if (!tree)
        return NULL;
    shoal_any made = *any;
    if (copy_deep(tree, &made)) {
        blocks_free(&tree->block);
        return NULL;
    }
    return stand_alone(tree, made);
}

/* ---- looking: scalars ---- */

int shoal_any_as_bool(const shoal_any *any, bool *ret)
{
    if (!any || any->kind != SHOAL_ANY_BOOL)
        return not_a(any, "shoal_any_as_bool", "a bool");
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
        return not_a(any, "shoal_any_as_int", "an int");
    if (any->big)
        return fail(-ERANGE, "shoal_any_as_int: an int of %zu bytes does not fit in 8",
                    any->bytes->size);
    *ret = any->integer;
    return 0;
}

int shoal_any_as_uint(const shoal_any *any, uint64_t *ret)
{
    if (!is_int(any))
        return not_a(any, "shoal_any_as_uint", "an int");
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
        return not_a(any, "shoal_any_as_int_bytes", "an int");
    *ret = any->big ? any->bytes->at : (const void *)&any->integer;
    if (size)
        *size = any->big ? any->bytes->size : sizeof any->integer;
    return 0;
}

int shoal_any_as_float(const shoal_any *any, double *ret)
{
    if (!any || !any_is_number(any))
        return not_a(any, "shoal_any_as_float", "a float");
    if (any->kind == SHOAL_ANY_FLOAT) {
        *ret = any->real;
        return 0;
    }
    double value = any->big ? big_to_double(any->bytes) : (double)any->integer;
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
        return not_a(any, call, what);
    *ret = any->bytes;
    return 0;
}

int shoal_any_as_str(const shoal_any *any, const char **ret, size_t *size)
{
    const struct any_bytes *text;
    int rc = as_text(any, SHOAL_ANY_STR, "shoal_any_as_str", "a str", &text);
    if (rc)
        return rc;
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
    *ret = text->at;
    if (size)
        *size = text->size;
    return 0;
}

int shoal_any_as_reference(const shoal_any *any, shoal_reference *ret)
{
    if (!any || any->kind != SHOAL_ANY_OBJECT)
        return not_a(any, "shoal_any_as_reference", "an object");
    *ret = any->object->reference;
    return 0;
}

int shoal_any_as_construct(const shoal_any *any, const char **name, const shoal_any **arguments)
{
    if (!any || any->kind != SHOAL_ANY_CONSTRUCT)
        return not_a(any, "shoal_any_as_construct", "a construct");
    *name = constructs[any->name].shown;
    *arguments = &any->items->at[0];
    return 0;
}

int shoal_any_state(const shoal_any *any, const shoal_any **ret)
{
    if (!any || any->kind != SHOAL_ANY_CONSTRUCT)
        return not_a(any, "shoal_any_state", "a construct");
    if (any->items->count < 2)
        return fail(-ENOENT, "shoal_any_state: %s has none", constructs[any->name].shown);
    *ret = &any->items->at[1];
    return 0;
}

int shoal_any_frozen(const shoal_any *set)
{
    if (!set || set->kind != SHOAL_ANY_SET)
        return not_a(set, "shoal_any_frozen", "a set");
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
               : not_a(any, call, "a list, tuple, dict or set");
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
        return fail(-ENOENT, "%s: index %lld of %lld", call, (long long)index, (long long)count);
    *ret = &any->items->at[(size_t)i * step_of(any)];
    return 0;
}

int shoal_any_at(const shoal_any *any, int64_t index, const shoal_any **ret)
{
    int rc = countable(any, "shoal_any_at");
    if (!rc && any->kind == SHOAL_ANY_DICT)
        rc = not_a(any, "shoal_any_at", "a list, tuple or set");
    return rc ? rc : entry_of(any, index, "shoal_any_at", ret);
}

int shoal_any_entry(const shoal_any *dict, int64_t index, const shoal_any **key,
                    const shoal_any **value)
{
    const shoal_any *at;
    if (!dict || dict->kind != SHOAL_ANY_DICT)
        return not_a(dict, "shoal_any_entry", "a dict");
    int rc = entry_of(dict, index, "shoal_any_entry", &at);
    if (rc)
        return rc;
    if (key)
        *key = at;
    if (value)
        *value = at + 1;
    return 0;
}

static int no_key(const shoal_any *key)
{
    if (key->kind == SHOAL_ANY_STR)
        return fail(-ENOENT, "shoal_any_get: no key '%s'", (const char *)key->bytes->at);
    return fail(-ENOENT, "shoal_any_get: no such key; it is %s", any_kind_name(key));
}

int shoal_any_get(const shoal_any *dict, const shoal_any *key, const shoal_any **ret)
{
    if (!dict || dict->kind != SHOAL_ANY_DICT)
        return not_a(dict, "shoal_any_get", "a dict");
    if (!key)
        return is_null("shoal_any_get");
    if (!any_hashable(key))
        return fail(-EINVAL, "shoal_any_get: %s cannot be a key", any_kind_name(key));
    ptrdiff_t at = items_find(dict->items, 2, key);
    if (at < 0)
        return no_key(key);
    *ret = &dict->items->at[at + 1];
    return 0;
}

int shoal_any_get_str(const shoal_any *dict, const char *key, const shoal_any **ret)
{
    if (!key)
        return is_null("shoal_any_get_str");
    shoal_any *any = shoal_any_str(key);
    if (!any)
        return any_utf8_valid((const unsigned char *)key, strlen(key)) < strlen(key) ? -EINVAL
                                                                                     : -ENOMEM;
    int rc = shoal_any_get(dict, any, ret);
    shoal_any_free(any);
    return rc;
}

int shoal_any_contains(const shoal_any *any, const shoal_any *item)
{
    int rc = countable(any, "shoal_any_contains");
    if (rc)
        return rc;
    if (!item)
        return is_null("shoal_any_contains");
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
    return a && b ? any_equal(a, b) : is_null("shoal_any_equal");
}
