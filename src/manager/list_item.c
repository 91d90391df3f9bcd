/* list: what is about one item, or about the end: putting, taking, setting (see list.c). */
#include "manager/list.h"
#include <stdlib.h>
#include <string.h>

/* ---- parts of a change ---- */

/* A word of a new block, which may lie in the place of a free one; or of one that nobody reads. */
static void fill_word(struct change *c, uint64_t block, uint64_t at, uint64_t value)
{
    if (at == block && at < c->fresh)
        change_set(c, at, value);
    else
        atomic_store_explicit((word_t *)(void *)(c->base + at), value, memory_order_relaxed);
}

/* The directory, with entries from `i` on replaced, `less` of them by `more` others, and all numbers behind them moved by
 * `delta`: in another block, which has room for `behind` further ones. At most once in a change. */
static void new_dir(struct change *c, const struct reading *r, struct shape *shape, uint32_t i,
                    uint32_t less, const struct part others[], uint32_t more, int64_t delta,
                    uint32_t behind)
{
    uint32_t count = shape->count - less + more, n = 0, want = count + behind;
    uint64_t spare = change_get(c, LIST_AT(spare)), old = change_get(c, LIST_AT(dir));
    uint64_t dir = (uint64_t)HIGH(spare) * GRAIN, block = UINT64_MAX;
    uint32_t room = LOW(spare);
    if (room < want + 2 || room / 4 > want + 2) {
        room = want + want / 2 + 4;
        dir = block = block_new(c, (size_t)room * DIR_ENTRY);
        if (spare)
            block_free(c, (uint64_t)HIGH(spare) * GRAIN, (size_t)LOW(spare) * DIR_ENTRY);
    }
    uint32_t first = (room - want) / 2;
    for (uint32_t k = 0; k < shape->count + (less ? 0 : 1); k++) {
        if (k == i) {
            for (uint32_t m = 0; m < more; m++, n++) {
                uint64_t at = dir + ((uint64_t)first + n) * DIR_ENTRY;
                fill_word(c, block, at, (uint64_t)others[m].first);
                fill_word(c, block, at + 8, PAIR(others[m].at / GRAIN, others[m].room));
            }
        }
        if (k >= shape->count || (k >= i && k < i + less))
            continue;
        uint64_t from = dir_entry(shape, k), at = dir + ((uint64_t)first + n++) * DIR_ENTRY;
        fill_word(c, block, at, reading_word(r, from) + (k >= i + less ? (uint64_t)delta : 0));
        fill_word(c, block, at + 8, reading_word(r, from + 8));
    }
    change_set(c, LIST_AT(dir), PAIR(dir / GRAIN, room));
    change_set(c, LIST_AT(spare), old);
    change_set(c, LIST_AT(span), PAIR(first, count));
    shape->dir = dir;
    shape->room = room;
    shape->first = first;
    shape->count = count;
}

/* A chunk with these items, as part of a list of which the first one has this number; `before`: free places
 * before them. */
static struct part new_part(struct change *c, int64_t number, const uint64_t words[], size_t n,
                            uint32_t room, uint32_t before)
{
    struct part part = {.first = number - before, .room = room, .from = number};
    part.to = number + (int64_t)n;
    part.at = block_new(c, room * 8ul);
    for (size_t i = 0; i < n; i++)
        /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): there are n */
        fill_word(c, part.at, part.at + (before + i) * 8, words[i]);
    return part;
}

static void part_words(const struct reading *r, const struct part *part, uint64_t words[])
{
    for (int64_t i = part->from; i < part->to; i++)
        words[i - part->from] = reading_word(r, place_of(part, i));
}

static size_t dir_bytes(const struct shape *shape, uint32_t more)
{
    uint64_t count = shape->count + more;
    return block_size((count + count / 2 + 4) * DIR_ENTRY);
}

/* ---- at the end ---- */

/* Free places behind the last item. */
static size_t places(const struct reading *r, const struct shape *shape, struct part *last)
{
    if (!shape->count || !part_read(r, shape, shape->count - 1, last))
        return 0;
    return last->room - (size_t)(shape->end - last->first);
}

/* How large the only chunk becomes when it is too small for `more` items; 0: it does not grow. */
static uint32_t wider(const struct shape *shape, const struct part *last, size_t more)
{
    size_t has = (size_t)(shape->end - shape->begin), want = has + (has > more ? has : more);
    if (shape->count != 1 || last->room == CHUNK || has + more > CHUNK)
        return 0;
    return chunk_room(want < CHUNK ? want : CHUNK);
}

/* A chunk of so many places, with the items of the only one behind `before` free ones, in its place. */
static void widen(struct change *c, const struct reading *r, const struct shape *shape,
                  struct part *only, uint32_t room, uint32_t before)
{
    uint64_t words[CHUNK], entry = dir_entry(shape, 0);
    struct part old = *only;
    part_words(r, &old, words);
    *only = new_part(c, old.from, words, (size_t)(old.to - old.from), room, before);
    change_set(c, entry, (uint64_t)only->first);
    change_set(c, entry + 8, PAIR(only->at / GRAIN, only->room));
    block_free(c, old.at, old.room * 8ul);
}

/* An empty chunk at the end. The directory has room. */
static void add_part(struct change *c, struct shape *shape, size_t n, struct part *last)
{
    uint64_t entry = dir_entry(shape, shape->count);
    *last = new_part(c, shape->end, NULL, 0, shape->count ? CHUNK : chunk_room(n), 0);
    change_set(c, entry, (uint64_t)last->first);
    change_set(c, entry + 8, PAIR(last->at / GRAIN, last->room));
    shape->count++;
    change_set(c, LIST_AT(span), PAIR(shape->first, shape->count));
}

/* One item that needs nothing but its word, where there is a place for it. With the lock, and nothing under way, words
 * are read as they lie there. */
static bool push_word(const struct site *p, uint64_t word)
{
    struct change c;
    change_begin(&c, p, p->stores);
    uint64_t span = change_word(&c, LIST_AT(span));
    int64_t end = (int64_t)change_word(&c, LIST_AT(end));
    if (unlikely(!LOW(span)))
        return false;
    uint64_t entry = (uint64_t)HIGH(change_word(&c, LIST_AT(dir))) * GRAIN +
                     ((uint64_t)HIGH(span) + LOW(span) - 1) * DIR_ENTRY;
    int64_t place = end - (int64_t)change_word(&c, entry);
    uint64_t where = change_word(&c, entry + 8);
    if (place >= LOW(where))
        return false;
    atomic_store_explicit((word_t *)(void *)(c.base + (uint64_t)HIGH(where) * GRAIN +
                                             (uint64_t)place * 8),
                          word, memory_order_relaxed);
    change_poke(&c, LIST_AT(end), (uint64_t)end + 1);
    return true;
}

enum { JOURNAL_MOST = 1024 };

/* All of them at the end, together with what is there. */
static int push_anew(const struct site *p, const struct item items[], size_t count)
{
    struct pieces pieces;
    int rc = list_pieces(p, &pieces);
    if (rc)
        return rc;
    struct piece *more = realloc(pieces.at, (pieces.count + count) * sizeof *more);
    if (more) {
        pieces.at = more;
        for (size_t i = 0; i < count; i++)
            more[pieces.count++] = (struct piece){.item = &items[i]};
        rc = list_remake(p, &pieces, NULL, 0, 0, UINT64_MAX);
    } else {
        rc = fail(-ENOMEM, "%s: out of memory", p->call);
    }
    free(pieces.at);
    return rc;
}

int list_push(const struct site *p, const struct item items[], size_t count)
{
    struct reading r;
    struct shape shape;
    struct part last;
    struct change c;
    if (likely(count == 1) && word_tag(items->word) < WORD_IN_BLOCK && push_word(p, items->word))
        return 0;
    if (!count)
        return 0;
    if (count > JOURNAL_MOST / ITEM_ENTRIES)
        return push_anew(p, items, count);
    store_read(p, p->stores, &r);
    shape_read(&r, &shape);
    size_t free = places(&r, &shape, &last);
    uint64_t parts = count > free ? (count - free + CHUNK - 1) / CHUNK : 0, bytes = 0;
    uint32_t room = parts && shape.count ? wider(&shape, &last, count) : 0;
    if (room || (parts && !shape.count && count <= CHUNK))
        bytes = block_size((room ? room : chunk_room(count)) * 8ul);
    else
        bytes = parts * CHUNK * 8;
    for (size_t i = 0; i < count; i++)
        bytes += item_room(&items[i]);
    change_begin(&c, p, p->stores);
    int rc = list_room(&c, bytes + (parts ? dir_bytes(&shape, (uint32_t)parts) : 0),
                       (uint32_t)count * ITEM_ENTRIES + ONE_ENTRIES);
    if (rc)
        return rc;
    store_read(p, p->stores, &r); /* it may have been made anew, with more places */
    shape_read(&r, &shape);
    free = places(&r, &shape, &last);
    parts = count > free ? (count - free + CHUNK - 1) / CHUNK : 0;
    room = parts && shape.count ? wider(&shape, &last, count) : 0;
    if (room)
        widen(&c, &r, &shape, &last, room, 0);
    else if (parts && shape.first + shape.count + parts > shape.room)
        new_dir(&c, &r, &shape, shape.count, 0, NULL, 0, 0, (uint32_t)parts);
    for (size_t i = 0; i < count; i++) {
        uint64_t word = item_put(&c, &items[i]);
        if (!shape.count || shape.end - last.first >= last.room)
            add_part(&c, &shape, count - i, &last);
        fill_word(&c, last.at, place_of(&last, shape.end), word);
        shape.end++;
    }
    change_set(&c, LIST_AT(end), (uint64_t)shape.end);
    change_commit(&c);
    return 0;
}

/* ---- in the middle, and at the beginning ---- */

/* How large the only chunk becomes for an item before the first; 0: there is to be another. */
static uint32_t front_room(const struct shape *shape, const struct part *first)
{
    uint64_t has = (uint64_t)(first->to - first->from);
    return shape->count == 1 && has < CHUNK / 2 ? chunk_room(has * 2 + 1) : 0;
}

/* Before the first item, where its chunk has a place, or can have; or in a new one. */
static void push_front(struct change *c, const struct reading *r, struct shape *shape,
                       const struct item *item)
{
    struct part first, made;
    uint64_t word = item_put(c, item);
    part_read(r, shape, 0, &first);
    uint32_t has = (uint32_t)(first.to - first.from), room = front_room(shape, &first);
    if (first.first == shape->begin && room) {
        widen(c, r, shape, &first, room, room - has);
    } else if (first.first == shape->begin) {
        made = new_part(c, shape->begin - 1, &word, 1, CHUNK, CHUNK - 1);
        new_dir(c, r, shape, 0, 0, &made, 1, 0, 0);
        first = made;
    }
    fill_word(c, first.at, place_of(&first, shape->begin - 1), word);
    change_set(c, LIST_AT(begin), (uint64_t)(shape->begin - 1));
}

static void push_between(struct change *c, const struct reading *r, struct shape *shape,
                         int64_t number, const struct item *item)
{
    uint64_t words[CHUNK + 1], word = item_put(c, item);
    struct part part, made[2];
    int64_t i = part_find(r, shape, number, &part);
    size_t n = (size_t)(part.to - part.from), at = (size_t)(number - part.from);
    part_words(r, &part, words);
    memmove(words + at + 1, words + at, (n - at) * sizeof *words);
    words[at] = word;
    size_t half = n + 1 <= CHUNK ? n + 1 : (n + 1) / 2;
    made[0] = new_part(c, part.from, words, half, chunk_room(half), 0);
    if (half < n + 1)
        made[1] = new_part(c, part.from + (int64_t)half, words + half, n + 1 - half,
                           chunk_room(n + 1 - half), 0);
    new_dir(c, r, shape, (uint32_t)i, 1, made, half < n + 1 ? 2 : 1, 1, 0);
    block_free(c, part.at, part.room * 8ul);
    change_set(c, LIST_AT(end), (uint64_t)(shape->end + 1));
}

int list_insert(const struct site *p, int64_t index, const struct item *item)
{
    struct reading r;
    struct shape shape;
    struct change c;
    store_read(p, p->stores, &r);
    shape_read(&r, &shape);
    int64_t length = shape.end - shape.begin, i = index < 0 ? index + length : index;
    if (i >= length)
        return list_push(p, item, 1);
    struct part part;
    part_find(&r, &shape, shape.begin + (i < 0 ? 0 : i), &part);
    size_t most = (chunk_room(CHUNK / 2) + chunk_room(CHUNK / 2 + 1)) * 8ul; /* two halves */
    size_t n = (size_t)(part.to - part.from + 1);
    /* One of several chunks may be a full one when all is made anew. */
    size_t chunk = shape.count == 1 && n <= CHUNK ? block_size(n * 8) : most;
    if (i <= 0)
        chunk = (front_room(&shape, &part) ? front_room(&shape, &part) : CHUNK) * 8ul;
    change_begin(&c, p, p->stores);
    int rc = list_room(&c, item_room(item) + chunk + CHUNK_LEAST * 8 + dir_bytes(&shape, 2),
                       ONE_ENTRIES);
    if (rc)
        return rc;
    store_read(p, p->stores, &r);
    shape_read(&r, &shape);
    if (i <= 0)
        push_front(&c, &r, &shape, item);
    else
        push_between(&c, &r, &shape, shape.begin + i, item);
    change_commit(&c);
    return 0;
}

static void take_between(struct change *c, const struct reading *r, struct shape *shape,
                         int64_t number)
{
    uint64_t words[CHUNK];
    struct part part, made;
    int64_t i = part_find(r, shape, number, &part);
    size_t n = (size_t)(part.to - part.from), at = (size_t)(number - part.from);
    part_words(r, &part, words);
    memmove(words + at, words + at + 1, (n - at - 1) * sizeof *words);
    if (n > 1)
        made = new_part(c, part.from, words, n - 1, chunk_room(n - 1), 0);
    new_dir(c, r, shape, (uint32_t)i, 1, &made, n > 1, -1, 0);
    block_free(c, part.at, part.room * 8ul);
    change_set(c, LIST_AT(end), (uint64_t)(shape->end - 1));
}

/* The chunks at an end that have no item any more: the i-th, and those before it, if it is the beginning. There is one before it
 * if somebody died who had taken the last item of a list, and not made it anew. */
static void drop_parts(struct change *c, const struct reading *r, const struct shape *shape,
                       uint32_t i, bool front)
{
    struct part part;
    uint32_t from = front ? 0 : i, n = i + 1 - from;
    for (uint32_t k = from; k <= i; k++) {
        part_read(r, shape, k, &part);
        block_free(c, part.at, part.room * 8ul);
    }
    change_set(c, LIST_AT(span), PAIR(shape->first + (front ? n : 0), shape->count - n));
}

int list_take(const struct site *p, int64_t index)
{
    struct reading r;
    struct shape shape;
    struct part part;
    struct change c;
    store_read(p, p->stores, &r);
    shape_read(&r, &shape);
    int64_t number = shape.begin + index;
    bool front = !index, back = number == shape.end - 1;
    int64_t i = part_find(&r, &shape, number, &part);
    uint64_t word = reading_word(&r, place_of(&part, number));
    bool empties = part.to - part.from == 1 && shape.count > 1;
    change_begin(&c, p, p->stores);
    uint64_t end = front ? LIST_AT(begin) : LIST_AT(end);
    uint64_t value = (uint64_t)(front ? shape.begin + 1 : shape.end - 1);
    if ((front || back) && !empties && word_tag(word) < WORD_IN_BLOCK) {
        change_poke(&c, end, value);
        list_shrink(p);
        return 0;
    }
    size_t n = shape.count == 1 ? (size_t)(part.to - part.from) : CHUNK; /* as in insert */
    uint64_t bytes = front || back ? 0 : block_size(n * 8) + CHUNK_LEAST * 8 + dir_bytes(&shape, 1);
    const unsigned char *base = c.base;
    int rc = list_room(&c, bytes, ONE_ENTRIES);
    if (rc)
        return rc;
    if (c.base != base) {
        store_read(p, p->stores, &r);
        shape_read(&r, &shape);
        number = shape.begin + index;
        i = part_find(&r, &shape, number, &part);
        word = reading_word(&r, place_of(&part, number));
        empties = part.to - part.from == 1 && shape.count > 1;
        value = (uint64_t)(front ? shape.begin + 1 : shape.end - 1);
    }
    if (front || back) {
        change_set(&c, end, value);
        if (empties)
            drop_parts(&c, &r, &shape, (uint32_t)i, front);
    } else {
        take_between(&c, &r, &shape, number);
    }
    word_out(&c, word);
    change_commit(&c);
    list_shrink(p);
    return 0;
}

/* ---- one item in its place ---- */

int list_change(const struct site *p, int64_t index, change_item *decide, void *argument)
{
    struct reading r;
    struct shape shape;
    struct part part;
    struct change c;
    struct fetched old;
    struct item item = {0};
    int64_t i;
    int rc = store_lock(p, p->stores, p->deadline);
    if (rc)
        return rc;
    store_read(p, p->stores, &r);
    shape_read(&r, &shape);
    rc = list_index(p, index, shape.end - shape.begin, &i);
    if (rc)
        goto out;
    part_find(&r, &shape, shape.begin + i, &part);
    uint64_t at = place_of(&part, shape.begin + i), word = reading_word(&r, at);
    word_fetch(&r, word, &old);
    rc = decide(p, &old, &item, argument);
    if (rc <= 0)
        goto out;
    change_begin(&c, p, p->stores);
    if (word_tag(word) < WORD_IN_BLOCK && word_tag(item.word) < WORD_IN_BLOCK) {
        change_poke(&c, at, item.word);
        goto out;
    }
    const unsigned char *base = c.base;
    int room = list_room(&c, item_room(&item), ONE_ENTRIES);
    if (room) {
        rc = room;
        goto out;
    }
    if (c.base != base) {
        store_read(p, p->stores, &r);
        shape_read(&r, &shape);
        part_find(&r, &shape, shape.begin + i, &part);
        at = place_of(&part, shape.begin + i);
        word = reading_word(&r, at);
    }
    change_set(&c, at, item_put(&c, &item));
    word_out(&c, word);
    change_commit(&c);
out:
    store_unlock(p, p->stores);
    return rc;
}

/* ---- public ---- */

static int push_one(const struct site *p, struct item *item)
{
    int rc = store_lock(p, p->stores, p->deadline);
    if (likely(!rc)) {
        rc = list_push(p, item, 1);
        store_unlock(p, p->stores);
    }
    item_end(item);
    return rc;
}

int shoal_list_append(shoal_list *list, const shoal_any *item)
{
    struct site p;
    struct item i;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_append");
    if (!rc)
        rc = item_of_any(&i, &p, item);
    return rc ? rc : push_one(&p, &i);
}

int shoal_list_append_int(shoal_list *list, int64_t item)
{
    struct site p;
    struct item i;
    uint64_t word;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_append_int");
    if (!rc)
        rc = store_lock(&p, p.stores, p.deadline);
    if (unlikely(rc))
        return rc;
    if (unlikely(!word_int(item, &word) || !push_word(&p, word))) {
        item_of_int(&i, item);
        rc = list_push(&p, &i, 1);
    }
    store_unlock(&p, p.stores);
    return rc;
}

int shoal_list_append_bytes(shoal_list *list, const void *bytes, size_t size)
{
    struct site p;
    struct item i;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_append_bytes");
    if (!rc && !bytes && size)
        rc = fail(-EINVAL, "%s: %zu bytes at NULL", p.call, size);
    if (!rc)
        rc = item_of_bytes(&i, &p, bytes, size);
    return rc ? rc : push_one(&p, &i);
}

int shoal_list_insert(shoal_list *list, int64_t index, const shoal_any *item)
{
    struct site p;
    struct item i;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_insert");
    if (!rc)
        rc = item_of_any(&i, &p, item);
    if (rc)
        return rc;
    rc = store_lock(&p, p.stores, p.deadline);
    if (!rc) {
        rc = list_insert(&p, index, &i);
        store_unlock(&p, p.stores);
    }
    item_end(&i);
    return rc;
}

int shoal_list_get(const shoal_list *list, int64_t index, shoal_any **ret)
{
    struct site p;
    struct one one;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_get");
    if (!rc && !ret)
        rc = nowhere(&p);
    if (rc)
        return rc;
    do {
        rc = list_one(&p, index, &one);
        if (!rc)
            rc = word_any(one.f.word, one.f.bytes, one.f.size, ret, p.call);
    } while (rc == -ESTALE); /* taken out meanwhile */
    return rc;
}

int shoal_list_get_int(const shoal_list *list, int64_t index, int64_t *ret)
{
    struct site p;
    struct one one;
    shoal_any number;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_get_int");
    if (!rc && !ret)
        rc = nowhere(&p);
    if (!rc)
        rc = list_one(&p, index, &one);
    if (rc)
        return rc;
    if (!word_number(one.f.word, one.f.bytes, &number) || number.kind != SHOAL_ANY_INT)
        return fail(-EINVAL, "%s: the item is no int of 64 bits", p.call);
    *ret = number.integer;
    return 0;
}

int shoal_list_get_bytes(const shoal_list *list, int64_t index, void *buffer, size_t capacity,
                         size_t *size)
{
    struct site p;
    struct one one;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_get_bytes");
    if (rc)
        return rc;
    do {
        rc = list_one(&p, index, &one);
        if (!rc)
            rc = fetched_bytes(&p, &one.f, buffer, capacity, size);
    } while (rc == -ESTALE);
    return rc;
}

struct wish {
    struct item *item;
    const shoal_any *any;
    shoal_any **ret;
};

static int always(const struct site *p, const struct fetched *old, struct item *new, void *argument)
{
    (void)p;
    (void)old;
    *new = *((const struct wish *)argument)->item;
    return 1;
}

static int set_at(const struct site *p, int64_t index, struct item *item)
{
    struct wish w = {.item = item};
    int rc = list_change(p, index, always, &w);
    item_end(item);
    return rc < 0 ? rc : 0;
}

int shoal_list_set(shoal_list *list, int64_t index, const shoal_any *item)
{
    struct site p;
    struct item i;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_set");
    if (!rc)
        rc = item_of_any(&i, &p, item);
    return rc ? rc : set_at(&p, index, &i);
}

int shoal_list_set_int(shoal_list *list, int64_t index, int64_t item)
{
    struct site p;
    struct item i;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_set_int");
    if (rc)
        return rc;
    item_of_int(&i, item);
    return set_at(&p, index, &i);
}

static int add_it(const struct site *p, const struct fetched *old, struct item *new, void *argument)
{
    const struct wish *w = argument;
    shoal_any *number;
    int rc = word_any(old->word, old->bytes, old->size, &number, p->call);
    if (rc)
        return rc;
    rc = container_sum(new, p, number, w->any);
    shoal_any_free(number);
    if (!rc && w->ret)
        rc = word_any(new->word, &new->raw, new->size, w->ret, p->call);
    return rc ? rc : 1;
}

int shoal_list_add(shoal_list *list, int64_t index, const shoal_any *number, shoal_any **ret)
{
    struct site p;
    shoal_any *sum = NULL;
    struct wish w = {.any = number, .ret = ret ? &sum : NULL};
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_add");
    if (!rc && !number)
        rc = any_is_null(p.call);
    if (!rc)
        rc = list_change(&p, index, add_it, &w);
    if (rc < 0)
        shoal_any_free(sum);
    else if (ret)
        *ret = sum;
    return rc < 0 ? rc : 0;
}

static int compare_it(const struct site *p, const struct fetched *old, struct item *new,
                      void *argument)
{
    const struct wish *w = argument;
    int rc = word_equals(old->word, old->bytes, old->size, w->any, p->call);
    if (rc > 0)
        *new = *w->item;
    return rc;
}

int shoal_list_compare_and_set(shoal_list *list, int64_t index, const shoal_any *expected,
                               const shoal_any *item)
{
    struct site p;
    struct item i;
    struct wish w = {.item = &i, .any = expected};
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_compare_and_set");
    if (!rc && !expected)
        rc = any_is_null(p.call);
    if (!rc)
        rc = item_of_any(&i, &p, item);
    if (rc)
        return rc;
    rc = list_change(&p, index, compare_it, &w);
    item_end(&i);
    return rc;
}

int shoal_list_pop(shoal_list *list, int64_t index, shoal_any **ret)
{
    struct site p;
    struct one one;
    int64_t i = 0;
    shoal_any *taken = NULL;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_pop");
    if (!rc)
        rc = store_lock(&p, p.stores, p.deadline);
    if (rc)
        return rc;
    rc = list_one(&p, index, &one);
    if (!rc)
        rc = list_index(&p, index, one.length, &i);
    if (!rc && ret)
        rc = word_any(one.f.word, one.f.bytes, one.f.size, &taken, p.call);
    if (!rc)
        rc = list_take(&p, i);
    store_unlock(&p, p.stores);
    if (rc)
        shoal_any_free(taken);
    else if (ret)
        *ret = taken;
    return rc;
}
