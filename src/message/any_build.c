/* any: building, changing, copying. */
#include "message/any.h"
#include "message/construct.h"
#include "region/object.h"
#include <stdlib.h>

/* ---- failing ---- */

/* A builder's NULL, once it has a sentence. Whoever is given it knows by the count whether that is
 * still the last one. */
static shoal_any *not_built(void)
{
    shoal_thread.unbuilt = shoal_thread.failures;
    return NULL;
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
    return tree ? stand_alone(tree, value) : not_built();
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
        return fail(not_built(), "shoal_any_int_bytes: NULL instead of %zu bytes", size);
    if (size > INT32_MAX)
        return fail(not_built(), "shoal_any_int_bytes: %zu bytes; at most 2147483647", size);
    struct any_tree *tree = tree_create(text_room(size), SIZE_MAX);
    if (!tree)
        return not_built();
    if (any_set_int(tree, &value, bytes, size)) {
        blocks_free(&tree->block);
        return not_built();
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
        return fail(not_built(), "%s: NULL instead of %zu bytes", call, size);
    struct any_tree *tree = tree_create(text_room(size), SIZE_MAX);
    if (!tree)
        return not_built();
    struct any_bytes *copy = any_text(tree, size);
    if (!copy) {
        blocks_free(&tree->block);
        return not_built();
    }
    if (size)
        memcpy(copy->at, bytes, size);
    size_t valid = kind == SHOAL_ANY_STR ? any_utf8_valid(copy->at, size) : size;
    if (valid < size) {
        fail_detail("%s: byte %zu, 0x%02x, is not UTF-8", call, valid, copy->at[valid]);
        blocks_free(&tree->block);
        return not_built();
    }
    return stand_alone(tree, (shoal_any){.kind = (uint8_t)kind, .bytes = copy});
}

shoal_any *shoal_any_str(const char *s)
{
    if (!s)
        return fail(not_built(), "shoal_any_str: NULL is no text");
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

static shoal_any *from_object(const struct any_object *object)
{
    shoal_any value;
    struct any_tree *tree = tree_create(sizeof *object, SIZE_MAX);
    if (!tree)
        return not_built();
    if (any_set_object(tree, &value, object, "shoal_any_object")) {
        blocks_free(&tree->block);
        return not_built();
    }
    return stand_alone(tree, value);
}

shoal_any *any_from_object(const shoal_reference *reference, uint32_t type)
{
    return from_object(&(struct any_object){.reference = *reference, .type = type});
}

shoal_any *shoal_any_object(const void *handle)
{
    struct any_object object = {.held = true};
    object.type = object_type(handle, "shoal_any_object", &object.reference);
    return object.type ? from_object(&object) : not_built();
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
            rc = any_is_null(call);
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
        any_is_null(call);
        return not_built();
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
        if ((rc = put_in(tree, kind, made, items + i)))
            fail_in(rc, call);
    if (rc) {
        parts_free(&parts);
        if (tree)
            blocks_free(&tree->block);
        return not_built();
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
        return not_built();
    }
    parts_join(tree, &parts);
    return stand_alone(tree, made);
}

/* ---- changing ---- */

static int does_not_change(const shoal_any *in, int kind, const char *call, const char *what)
{
    if (!in || in->kind != kind)
        return any_is_not(in, call, what);
    if (in->frozen)
        return fail(-EINVAL, "%s: a frozenset does not change", call);
    return fail(-EINVAL, "%s: what lies inside another any does not change", call);
}

static int change(shoal_any *in, int kind, const char *call, const char *what,
                  shoal_any *const items[], size_t count)
{
    struct parts parts;
    bool root = in && in->root, changes = root && in->kind == kind && !in->frozen;
    if (root)
        in->root = false; /* nothing is put into itself: it is not there to be claimed */
    int rc = claim(&parts, call, items, count);
    if (root)
        in->root = true;
    if (!rc && changes) {
        rc = put_in(tree_of(in), kind, in->items, items);
        if (!rc) {
            parts_join(tree_of(in), &parts);
            return 0;
        }
        fail_in(rc, call);
    }
    parts_free(&parts);
    return rc ? rc : does_not_change(in, kind, call, what);
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
    if (a->kind == SHOAL_ANY_OBJECT)
        return any_set_object(tree, a, a->object, "shoal_any_copy");
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
        return fail(not_built(), "shoal_any_copy: NULL is no any");
    struct any_tree *tree = tree_create(any_depth(any) ? 1024 : 0, SIZE_MAX);
    if (!tree)
        return not_built();
    shoal_any made = *any;
    if (copy_deep(tree, &made)) {
        blocks_free(&tree->block);
        return not_built();
    }
    return stand_alone(tree, made);
}
