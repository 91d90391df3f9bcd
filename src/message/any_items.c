/* Containers: their items, and how a dict or a set finds a key.
 *
 * Up to INDEX_FROM entries with plain keys are looked through one by one. For more, and where a key
 * is a tuple or the like, there is an index, a hash table with linear probing. Its slots hold a part of each key's hash: so it grows without hashing
 * anything anew, and hardly ever compares keys in vain. The hash has a secret in it: whoever writes
 * a message cannot choose keys that meet in one slot.
 */
#include "message/pickle.h"
#include <string.h>

enum { INDEX_FROM = 8, INDEX_FIRST = 16 };

struct any_index {
    size_t mask;
    struct place {
        uint32_t hash;
        uint32_t entry; /* which, from 1; 0: free */
    } at[];
};

#define ROOM_MOST (PTRDIFF_MAX / sizeof(shoal_any) / 2)

static const struct any_items empty = {.depth = 1, .hashable = true};

struct any_items *items_create(struct any_tree *tree, size_t room)
{
    struct any_items *items = NULL;
    if (room <= ROOM_MOST)
        items = tree_alloc(tree, sizeof *items + room * sizeof(shoal_any));
    else
        fail_detail("out of memory: a container of %zu items", room);
    if (items) {
        *items = empty;
        items->at = (shoal_any *)(items + 1);
        items->room = room;
    }
    return items;
}

int items_reserve(struct any_tree *tree, struct any_items *items, size_t n)
{
    size_t room = items->count + n;
    if (room <= items->room)
        return 0;
    if (room > ROOM_MOST)
        return fail(-ENOMEM, "out of memory: a container of %zu items", room);
    /* The first batch of items is mostly the only one. */
    if (items->count && room < 2 * items->count)
        room = 2 * items->count;
    /* Nothing was cut from the block since: it grows where it lies. */
    size_t more = (room - items->room) * sizeof(shoal_any);
    if ((unsigned char *)(items->at + items->room) == tree->at &&
        more <= (size_t)(tree->end - tree->at)) {
        tree->at += more;
    } else {
        shoal_any *at = tree_alloc(tree, room * sizeof(shoal_any));
        if (!at)
            return -ENOMEM;
        if (items->count)
            memcpy(at, items->at, items->count * sizeof(shoal_any));
        items->at = at;
    }
    items->room = room;
    return 0;
}

/* ---- sums ---- */

/* What more nodes add to a container's sums, so that they can be refused before anything changes. */
struct sums {
    size_t nodes, size;
    unsigned depth, sets;
    bool hashable, objects;
};

static struct sums sums_of(const struct any_items *items)
{
    return (struct sums){items->nodes, items->size,     items->depth,
                         items->sets,  items->hashable, items->objects};
}

static void set_sums(struct any_items *items, const struct sums *sums)
{
    items->nodes = sums->nodes;
    items->size = sums->size;
    items->depth = (uint16_t)sums->depth;
    items->sets = (uint8_t)sums->sets;
    items->hashable = sums->hashable;
    items->objects = sums->objects;
}

static int no_value(const shoal_any *a)
{
    return fail(-EINVAL, "%s is no value", any_kind_name(a));
}

/* A node that has items, or is no value; `inside` deeper in sets and keys than its container. */
static int count_other(struct sums *sums, const shoal_any *a, unsigned inside)
{
    if (a->kind > SHOAL_ANY_OBJECT)
        return no_value(a);
    unsigned sets = inside;
    if (a->kind == SHOAL_ANY_OBJECT) {
        sums->objects = true;
    } else {
        sets += a->items->sets;
        if (a->items->depth >= SHOAL_ANY_DEPTH)
            return fail(-EINVAL, "values deeper than %d levels", SHOAL_ANY_DEPTH);
        if (sums->depth <= a->items->depth)
            sums->depth = a->items->depth + 1u;
        sums->objects |= a->items->objects;
    }
    if (sets > SHOAL_ANY_SETS)
        return fail(-EINVAL, "sets in sets deeper than %d levels", SHOAL_ANY_SETS);
    if (sums->sets < sets)
        sums->sets = sets;
    sums->hashable &= any_hashable(a);
    if (__builtin_add_overflow(sums->nodes, any_nodes(a), &sums->nodes) ||
        __builtin_add_overflow(sums->size, pickle_size(a), &sums->size))
        return fail(-EINVAL, "more values than can be counted");
    return 0;
}

static inline int count_in(struct sums *sums, const shoal_any *a, unsigned inside)
{
    if (a->kind > SHOAL_ANY_BYTES)
        return count_other(sums, a, inside);
    if (sums->sets < inside)
        sums->sets = inside;
    sums->nodes++;
    return __builtin_add_overflow(sums->size, pickle_size(a), &sums->size)
               ? fail(-EINVAL, "more bytes than can be counted")
               : 0;
}

/* Stores a node that was counted. */
static inline void store(shoal_any *to, const shoal_any *a)
{
    node_copy(to, a);
    to->root = false;
    if (any_has_items(a))
        a->items->shared = true;
}

/* n nodes of which some are containers or the like. */
static int append_others(struct any_items *items, const shoal_any *nodes, size_t n)
{
    struct sums sums = sums_of(items);
    for (size_t i = 0; i < n; i++) {
        int rc = count_in(&sums, &nodes[i], 0);
        if (rc)
            return rc;
    }
    set_sums(items, &sums);
    shoal_any *to = items->at + items->count;
    for (size_t i = 0; i < n; i++)
        store(to + i, &nodes[i]);
    items->count += n;
    return 0;
}

int items_append(struct any_tree *tree, struct any_items *items, const shoal_any *nodes, size_t n)
{
    int rc = items_reserve(tree, items, n);
    if (rc)
        return rc;
    shoal_any *to = items->at + items->count;
    size_t size = items->size;
    for (size_t i = 0; i < n; i++) {
        if (nodes[i].kind > SHOAL_ANY_BYTES)
            return append_others(items, nodes, n);
        size_t more = pickle_size(&nodes[i]);
        if (more > SIZE_MAX - size)
            return fail(-EINVAL, "more bytes than can be counted");
        size += more;
        store(to + i, &nodes[i]);
    }
    items->nodes += n;
    items->size = size;
    items->count += n;
    return 0;
}

/* ---- keys ---- */

static size_t entries_of(const struct any_items *items, size_t step)
{
    return step == 2 ? items->count / 2 : items->count;
}

/* Most keys are short texts. */
static inline bool equal_keys(const shoal_any *a, const shoal_any *b)
{
    if (a->kind == SHOAL_ANY_STR && b->kind == SHOAL_ANY_STR)
        return a->bytes->size == b->bytes->size &&
               !memcmp(a->bytes->at, b->bytes->at, a->bytes->size);
    return any_equal(a, b);
}

static ptrdiff_t find(const struct any_items *items, size_t step, const shoal_any *key,
                      uint32_t hash)
{
    const struct any_index *index = items->index;
    for (size_t i = 0; !index && i < items->count; i += step)
        if (equal_keys(&items->at[i], key))
            return (ptrdiff_t)i;
    if (!index)
        return -1;
    for (size_t i = hash & index->mask; index->at[i].entry; i = (i + 1) & index->mask) {
        size_t at = (index->at[i].entry - 1) * step;
        if (index->at[i].hash == hash && equal_keys(&items->at[at], key))
            return (ptrdiff_t)at;
    }
    return -1;
}

ptrdiff_t items_find(const struct any_items *items, size_t step, const shoal_any *key)
{
    return find(items, step, key, items->index ? (uint32_t)any_hash(key) : 0);
}

static void enter(struct any_index *index, struct place place)
{
    size_t i = place.hash & index->mask;
    while (index->at[i].entry)
        i = (i + 1) & index->mask;
    index->at[i] = place;
}

/* Whether a container needs an index once this key is in it. Keys that have items may be alike for
 * long: to find one by comparing with some would take several times as long as comparing two, and
 * each level of sets in sets would multiply that. */
static bool wants_index(const struct any_items *items, size_t step, const shoal_any *key)
{
    return items->index || entries_of(items, step) >= INDEX_FROM || any_has_items(key);
}

/* Makes room for one more entry in the index; at most half of it is used. */
static int index_reserve(struct any_tree *tree, struct any_items *items, size_t step)
{
    struct any_index *old = items->index, *index;
    size_t entries = entries_of(items, step), slots = old ? old->mask + 1 : INDEX_FIRST;
    if (old && (entries + 1) * 2 <= slots)
        return 0;
    if (entries >= UINT32_MAX / 4)
        return fail(-ENOMEM, "a dict or set of more than %zu entries", entries);
    while ((entries + 1) * 2 > slots)
        slots *= 2;
    index = tree_alloc(tree, sizeof *index + slots * sizeof *index->at);
    if (!index)
        return -ENOMEM;
    index->mask = slots - 1;
    memset(index->at, 0, slots * sizeof *index->at);
    for (size_t i = 0; old && i <= old->mask; i++)
        if (old->at[i].entry)
            enter(index, old->at[i]);
    for (size_t i = 0; !old && i < entries; i++)
        enter(index, (struct place){(uint32_t)any_hash(&items->at[i * step]), (uint32_t)i + 1});
    items->index = index;
    return 0;
}

/* The hash of a key that is about to go in, or why it cannot. */
static int key_hash(const struct any_items *items, size_t step, const shoal_any *key, uint64_t *ret)
{
    if (unlikely(key->kind > SHOAL_ANY_OBJECT))
        return no_value(key);
    if (!any_hashable(key))
        return fail(-EINVAL, "%s cannot be %s", any_kind_name(key),
                    step == 2 ? "a key" : "in a set");
    *ret = 0;
    if (step == 1 || wants_index(items, step, key))
        *ret = any_hash(key);
    return 0;
}

/* Stores an entry that was counted in *sums, at the end. */
static int store_entry(struct any_tree *tree, struct any_items *items, const struct sums *sums,
                       size_t step, uint64_t hash, const shoal_any *key, const shoal_any *value)
{
    int rc = wants_index(items, step, key) ? index_reserve(tree, items, step) : 0;
    if (!rc)
        rc = items_reserve(tree, items, step);
    if (rc)
        return rc;
    if (items->index)
        enter(items->index,
              (struct place){(uint32_t)hash, (uint32_t)(entries_of(items, step)) + 1});
    set_sums(items, sums);
    store(items->at + items->count, key);
    if (step == 2)
        store(items->at + items->count + 1, value);
    items->count += step;
    return 0;
}

int items_put(struct any_tree *tree, struct any_items *items, const shoal_any *key,
              const shoal_any *value)
{
    uint64_t hash;
    int rc = key_hash(items, 2, key, &hash);
    if (rc)
        return rc;
    ptrdiff_t at = find(items, 2, key, (uint32_t)hash);
    struct sums sums = sums_of(items);
    if (at < 0) {
        rc = count_in(&sums, key, 1);
        if (!rc)
            rc = count_in(&sums, value, 0);
        return rc ? rc : store_entry(tree, items, &sums, 2, hash, key, value);
    }
    /* The depth stays what it was at most. */
    shoal_any *old = &items->at[at + 1];
    sums.nodes -= any_nodes(old);
    sums.size -= pickle_size(old);
    rc = count_in(&sums, value, 0);
    if (rc)
        return rc;
    set_sums(items, &sums);
    store(old, value);
    return 0;
}

int items_add(struct any_tree *tree, struct any_items *items, const shoal_any *member)
{
    uint64_t hash;
    int rc = key_hash(items, 1, member, &hash);
    if (rc || find(items, 1, member, (uint32_t)hash) >= 0)
        return rc;
    struct sums sums = sums_of(items);
    rc = count_in(&sums, member, 1);
    if (!rc)
        rc = store_entry(tree, items, &sums, 1, hash, member, NULL);
    if (!rc)
        items->hash += hash * (hash | 1); /* members in any order, and not to be cancelled out */
    return rc;
}

int items_copy(struct any_tree *tree, shoal_any *a)
{
    const struct any_items *from = a->items;
    const struct any_index *index = from->index;
    struct any_items *to = items_create(tree, from->count);
    if (!to)
        return -ENOMEM;
    shoal_any *at = to->at;
    if (from->count)
        memcpy(at, from->at, from->count * sizeof *at);
    *to = *from;
    to->at = at;
    to->room = from->count;
    to->shared = true;
    if (index) {
        size_t size = sizeof *index + (index->mask + 1) * sizeof *index->at;
        to->index = tree_alloc(tree, size);
        if (!to->index)
            return -ENOMEM;
        memcpy(to->index, index, size);
    }
    a->items = to;
    return 0;
}
