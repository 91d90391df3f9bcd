/* list: what is about many items: slices, searching, sorting. What only looks does so at a copy (list_shot); what
 * changes has the lock, works out which items there are to be, and makes the list anew. */
#include "manager/list.h"
#include "message/any_order.h"
#include <stdlib.h>
#include <string.h>

/* ---- slices ---- */

static int64_t clamp(int64_t index, int64_t length, int64_t low, int64_t high)
{
    if (index < 0)
        index = index < -length ? -1 : index + length;
    return index < low ? low : index > high ? high : index;
}

void slice_resolve(const shoal_slice *slice, int64_t length, int64_t *start, int64_t *step,
                   int64_t *count)
{
    static const shoal_slice all = {SHOAL_OMITTED, SHOAL_OMITTED, 1};
    const shoal_slice *s = slice ? slice : &all;
    int64_t by = s->step ? s->step == SHOAL_OMITTED ? 1 : s->step : 1;
    int64_t low = by < 0 ? -1 : 0, high = by < 0 ? length - 1 : length;
    int64_t from = by < 0 ? high : low, to = by < 0 ? low : high;
    if (s->start != SHOAL_OMITTED)
        from = clamp(s->start, length, low, high);
    if (s->stop != SHOAL_OMITTED)
        to = clamp(s->stop, length, low, high);
    uint64_t span =
        by < 0 ? (from > to ? (uint64_t)(from - to) : 0) : (to > from ? (uint64_t)(to - from) : 0);
    uint64_t stride = by < 0 ? 0 - (uint64_t)by : (uint64_t)by;
    *start = from;
    *step = by;
    *count = span ? (int64_t)((span - 1) / stride + 1) : 0;
}

static int copy_slice(const shoal_list *list, const shoal_slice *slice, shoal_any **ret,
                      const char *call)
{
    struct site p;
    struct shot shot = {0};
    struct anys anys = {0};
    int64_t length;
    int rc = site_of(&p, list, TYPE_LIST, call);
    if (!rc && !ret)
        rc = nowhere(&p);
    if (rc)
        return rc;
    rc = list_shot(&p, slice, &shot, &length);
    anys.at = rc ? NULL : malloc((shot.count + 1) * sizeof *anys.at);
    if (!rc && !anys.at)
        rc = fail(-ENOMEM, "%s: out of memory", p.call);
    for (size_t i = 0; i < shot.count && !rc; i++) {
        rc = shot_any(&shot, i, &anys.at[anys.count], p.call);
        anys.count += !rc;
    }
    if (!rc) {
        shoal_any *made = shoal_any_list_from(anys.at, anys.count);
        anys.count = 0; /* the builder's */
        rc = made ? 0 : -ENOMEM;
        if (made)
            *ret = made;
    }
    anys_free(&anys);
    shot_free(&shot);
    return rc;
}

int shoal_list_slice(const shoal_list *list, const shoal_slice *slice, shoal_any **ret)
{
    return copy_slice(list, slice, ret, "shoal_list_slice");
}

int shoal_list_equal(const shoal_list *list, const shoal_any *any)
{
    shoal_any *copy = NULL;
    if (!any)
        return any_is_null("shoal_list_equal");
    int rc = copy_slice(list, NULL, &copy, "shoal_list_equal");
    if (!rc)
        rc = any_equal(copy, any);
    shoal_any_free(copy);
    return rc;
}

/* ---- searching ---- */

/* Calls found for each item that equals it until that is false. */
static int search(const struct site *p, const shoal_slice *slice, const shoal_any *item,
                  bool (*found)(size_t i, void *argument), void *argument)
{
    struct shot shot = {0};
    int64_t length, start = 0, step, count;
    if (!item)
        return any_is_null(p->call);
    int rc = list_shot(p, slice, &shot, &length);
    if (!rc)
        slice_resolve(slice, length, &start, &step, &count);
    for (size_t i = 0; i < shot.count && rc >= 0; i++) {
        size_t size = 0;
        const unsigned char *bytes = shot_block(&shot, shot.words[i], &size);
        rc = word_equals(shot.words[i], bytes, size, item, p->call);
        if (rc == 1 && !found((size_t)start + i, argument))
            break;
    }
    shot_free(&shot);
    return rc < 0 ? rc : 0;
}

static bool note_first(size_t i, void *argument)
{
    *(int64_t *)argument = (int64_t)i;
    return false;
}

static bool count_one(size_t i, void *argument)
{
    (void)i;
    ++*(int64_t *)argument;
    return true;
}

int64_t shoal_list_index(const shoal_list *list, const shoal_any *item, int64_t from, int64_t to)
{
    struct site p;
    shoal_slice slice = {from, to, 1};
    int64_t at = -1;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_index");
    if (!rc)
        rc = search(&p, &slice, item, note_first, &at);
    if (rc)
        return rc;
    return at >= 0 ? at : fail(-ENOENT, "%s: no such item", p.call);
}

int64_t shoal_list_count(const shoal_list *list, const shoal_any *item)
{
    struct site p;
    int64_t count = 0;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_count");
    if (!rc)
        rc = search(&p, NULL, item, count_one, &count);
    return rc ? rc : count;
}

int shoal_list_contains(const shoal_list *list, const shoal_any *item)
{
    int64_t at = shoal_list_index(list, item, SHOAL_OMITTED, SHOAL_OMITTED);
    return at >= 0 ? 1 : at == -ENOENT ? 0 : (int)at;
}

int shoal_list_remove(shoal_list *list, const shoal_any *item)
{
    struct site p;
    int64_t at = -1;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_remove");
    if (!rc)
        rc = store_lock(&p, p.stores, p.deadline);
    if (rc)
        return rc;
    rc = search(&p, NULL, item, note_first, &at);
    if (!rc)
        rc = at < 0 ? fail(-ENOENT, "%s: no such item", p.call) : list_take(&p, at);
    store_unlock(&p, p.stores);
    return rc;
}

/* ---- many new items ---- */

static void items_end(struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        item_end(&items[i]);
    free(items);
}

/* Of a list or tuple. */
static int items_from(const struct site *p, const shoal_any *any, struct item **ret, size_t *count)
{
    if (!any || (any->kind != SHOAL_ANY_LIST && any->kind != SHOAL_ANY_TUPLE))
        return any_is_not(any, p->call, "a list or tuple");
    size_t n = any->items->count;
    struct item *items = calloc(n + 1, sizeof *items);
    if (!items)
        return fail(-ENOMEM, "%s: out of memory", p->call);
    for (size_t i = 0; i < n; i++) {
        int rc = item_of_any(&items[i], p, &any->items->at[i]);
        if (rc) {
            items_end(items, i);
            return rc;
        }
    }
    *ret = items;
    *count = n;
    return 0;
}

int shoal_list_extend(shoal_list *list, const shoal_any *any)
{
    struct site p;
    struct item *items = NULL;
    size_t count = 0;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_extend");
    if (!rc)
        rc = items_from(&p, any, &items, &count);
    if (rc)
        return rc;
    rc = store_lock(&p, p.stores, p.deadline);
    if (!rc) {
        rc = list_push(&p, items, count);
        store_unlock(&p, p.stores);
    }
    items_end(items, count);
    return rc;
}

/* ---- what makes the list anew ---- */

/* What it is made of: pieces of the old one, and, as it comes to pass, of the new one and those that leave. */
struct anew {
    struct pieces old, new, out;
};

static void anew_free(struct anew *a)
{
    free(a->old.at);
    free(a->new.at);
    free(a->out.at);
}

/* With room for so many items more. */
static int anew_begin(const struct site *p, struct anew *a, size_t more)
{
    *a = (struct anew){0};
    int rc = list_pieces(p, &a->old);
    if (rc)
        return rc;
    a->new.at = malloc((a->old.count + more + 1) * sizeof *a->new.at);
    a->out.at = malloc((a->old.count + 1) * sizeof *a->out.at);
    if (a->new.at && a->out.at)
        return 0;
    anew_free(a);
    return fail(-ENOMEM, "%s: out of memory", p->call);
}

/* Does `arrange` to it, with the lock: 0, or -errno. */
static int make_anew(const struct site *p, size_t more,
                     int (*arrange)(const struct site *p, struct anew *a, void *argument),
                     void *argument)
{
    struct anew a;
    int rc = store_lock(p, p->stores, p->deadline);
    if (rc)
        return rc;
    rc = anew_begin(p, &a, more);
    if (!rc) {
        rc = arrange(p, &a, argument);
        if (!rc)
            rc = list_remake(p, &a.new, &a.out, 0, 0, UINT64_MAX);
        if (!rc)
            list_shrink(p);
        anew_free(&a);
    }
    store_unlock(p, p->stores);
    return rc;
}

static void add(struct pieces *to, struct piece piece)
{
    to->at[to->count++] = piece;
}

static int all_out(const struct site *p, struct anew *a, void *argument)
{
    (void)p;
    (void)argument;
    memcpy(a->out.at, a->old.at, a->old.count * sizeof *a->old.at);
    a->out.count = a->old.count;
    return 0;
}

int shoal_list_clear(shoal_list *list)
{
    struct site p;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_clear");
    return rc ? rc : make_anew(&p, 0, all_out, NULL);
}

static int turn_round(const struct site *p, struct anew *a, void *argument)
{
    (void)p;
    (void)argument;
    for (size_t i = a->old.count; i-- > 0;)
        add(&a->new, a->old.at[i]);
    return 0;
}

int list_turn(const struct site *p)
{
    return make_anew(p, 0, turn_round, NULL);
}

int shoal_list_reverse(shoal_list *list)
{
    struct site p;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_reverse");
    return rc ? rc : list_turn(&p);
}

struct replacement {
    const shoal_slice *slice;
    const struct item *items;
    size_t count;
    bool deletes;
};

static int replace(const struct site *p, struct anew *a, void *argument)
{
    const struct replacement *r = argument;
    int64_t start, step, count, length = (int64_t)a->old.count;
    slice_resolve(r->slice, length, &start, &step, &count);
    if (step != 1 && !r->deletes && (size_t)count != r->count)
        return fail(-EINVAL, "%s: %zu items for a slice of %lld", p->call, r->count,
                    (long long)count);
    bool backwards = step < 0, whole = step == 1 && !r->deletes;
    if (backwards && count) { /* the same places, from the other end */
        start += (count - 1) * step;
        step = -step;
    }
    for (int64_t i = 0, n = 0; i <= length; i++) {
        bool inside = n < count && i == start + n * step;
        if (whole && i == start)
            for (size_t k = 0; k < r->count; k++)
                add(&a->new, (struct piece){.item = &r->items[k]});
        else if (inside && !r->deletes && !whole)
            add(&a->new, (struct piece){.item = &r->items[backwards ? count - 1 - n : n]});
        if (i == length)
            break;
        add(inside ? &a->out : &a->new, a->old.at[i]);
        n += inside;
    }
    return 0;
}

int list_replace(const struct site *p, const shoal_slice *slice, const struct item items[],
                 size_t count, bool deletes)
{
    struct replacement r = {slice, items, count, deletes};
    return make_anew(p, count, replace, &r);
}

int shoal_list_delete_slice(shoal_list *list, const shoal_slice *slice)
{
    struct site p;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_delete_slice");
    return rc ? rc : list_replace(&p, slice, NULL, 0, true);
}

int shoal_list_set_slice(shoal_list *list, const shoal_slice *slice, const shoal_any *any)
{
    struct site p;
    struct item *items = NULL;
    size_t count = 0;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_set_slice");
    if (!rc)
        rc = items_from(&p, any, &items, &count);
    if (rc)
        return rc;
    rc = list_replace(&p, slice, items, count, false);
    items_end(items, count);
    return rc;
}

/* ---- sorting ---- */

struct sorted {
    unsigned char *key;
    size_t size, index;
    bool descending;
};

static int by_key(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;
    size_t size = x->size < y->size ? x->size : y->size;
    int way = memcmp(x->key, y->key, size);
    if (!way && x->size != y->size)
        way = x->size < y->size ? -1 : 1;
    if (way)
        return x->descending ? -way : way;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* The key of a piece of the list. */
static int key_of_piece(const struct site *p, const struct piece *piece, struct sorted *ret)
{
    struct reading r;
    struct fetched f;
    shoal_any *any;
    store_read(p, p->stores, &r);
    word_fetch(&r, piece->word, &f);
    int rc = word_any(f.word, f.bytes, f.size, &any, p->call);
    if (rc)
        return rc;
    ret->size = any_key(any, NULL);
    ret->key = malloc(ret->size);
    if (ret->key)
        any_key(any, ret->key);
    else
        rc = fail(-ENOMEM, "%s: out of memory", p->call);
    shoal_any_free(any);
    return rc;
}

static int sort(const struct site *p, struct anew *a, void *argument)
{
    size_t n = a->old.count;
    struct sorted *keys = calloc(n + 1, sizeof *keys);
    int rc = keys ? 0 : fail(-ENOMEM, "%s: out of memory", p->call);
    for (size_t i = 0; i < n && !rc; i++) {
        keys[i].index = i;
        keys[i].descending = *(const unsigned *)argument & SHOAL_DESCENDING;
        rc = key_of_piece(p, &a->old.at[i], &keys[i]);
    }
    if (!rc)
        qsort(keys, n, sizeof *keys, by_key);
    for (size_t i = 1; i < n && !rc; i++) {
        const char *what[2];
        if (any_keys_apart(keys[i - 1].key, keys[i - 1].size, keys[i].key, keys[i].size, what))
            rc = fail(-EINVAL, "%s: %s cannot be compared with %s", p->call, what[0], what[1]);
    }
    for (size_t i = 0; i < n && !rc; i++)
        add(&a->new, a->old.at[keys[i].index]);
    for (size_t i = 0; keys && i < n; i++)
        free(keys[i].key);
    free(keys);
    return rc;
}

int shoal_list_sort(shoal_list *list, unsigned flags)
{
    struct site p;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_sort");
    if (!rc && flags & ~(unsigned)SHOAL_DESCENDING)
        rc = fail(-EINVAL, "%s: unknown flags %#x", p.call, flags);
    return rc ? rc : make_anew(&p, 0, sort, &flags);
}
