/* dict: what is about several keys, or all (see dict.c). It has the locks of all stores, or looks at all and
 * then again whether any has changed. */
#include "manager/dict.h"
#include <stdlib.h>
#include <string.h>

/* ---- all entries, as they were at one moment ---- */

void entries_free(struct entries *e)
{
    free(e->at);
    shot_free(&e->shot);
    *e = (struct entries){0};
}

/* False: in vain; rc says if it is for want of memory. */
static bool add_entry(struct entries *e, const struct reading *r, uint64_t at)
{
    uint64_t info = reading_word(r, FIELD(at, info));
    size_t size = KEY_SIZE(info) + KEY_FIRST(info);
    const unsigned char *from = reading_bytes(r, at + sizeof(struct dict_entry), size);
    /* What is no more may be anything, and much. */
    if (!from || size > KEY_MOST || (e->count % 256 == 255 && !reading_holds(r)))
        return false;
    if (e->count == e->room) {
        size_t room = e->room * 2 + 16;
        struct seen_entry *more = realloc(e->at, room * sizeof *more);
        if (!more) {
            e->rc = -ENOMEM;
            return false;
        }
        e->at = more;
        e->room = room;
    }
    unsigned char *key = shot_bytes(&e->shot, size, &e->rc);
    if (!key)
        return false;
    memcpy(key, from, size);
    struct seen_entry seen = {reading_word(r, FIELD(at, stamp)), info,
                              (size_t)(key - e->shot.bytes), e->shot.count};
    if (!shot_add(&e->shot, r, reading_word(r, FIELD(at, value)), &e->rc))
        return false;
    e->at[e->count++] = seen;
    return true;
}

static bool add_shard(struct entries *e, const struct reading *r)
{
    if (!r->base)
        return true;
    uint32_t place = HIGH(reading_word(r, ROOT_AT(ends)));
    uint64_t count = HIGH(reading_word(r, ROOT_AT(counts))), n = 0;
    for (; place && n < count && n < r->capacity / ROOT * 2; n++) {
        uint64_t at = place_bytes(place);
        if (!add_entry(e, r, at))
            return false;
        place = LOW(reading_word(r, FIELD(at, links)));
    }
    return true;
}

/* Whether nobody can have poked a word, and not counted that, while the states were what they are. */
static bool is_calm(const struct site *p)
{
    for (unsigned i = 0; i < SHARDS; i++)
        if (atomic_load_explicit(&p->stores[i].owner, memory_order_acquire))
            return false;
    return true;
}

/* With the locks of all, or without.
 * That no state has changed says that in each shard at most one word has, by a poke; but then one that was poked may have been
 * seen and another, which was poked before, not. Unless it is *calm: then two looks must give the same, and find the same states. A
 * word that the first saw poked was so by its end, and one that the second did not see poked was not yet; and none was poked and
 * poked back in between, as the second poke of a shard comes after the count of the first. */
static bool look(const struct site *p, struct entries *e, bool *calm, uint64_t states[SHARDS])
{
    struct reading r[SHARDS];
    bool whole = true;
    e->count = e->shot.count = e->shot.used = 0;
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    for (unsigned i = 0; i < SHARDS; i++)
        store_read(p, &p->stores[i], &r[i]);
    for (unsigned i = 0; i < SHARDS && whole; i++)
        whole = add_shard(e, &r[i]);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    *calm = *calm || is_calm(p); /* before the states: who lets go has counted */
    for (unsigned i = 0; i < SHARDS && !MUTANT(310); i++)
        whole = reading_holds(&r[i]) && whole;
    for (unsigned i = 0; i < SHARDS; i++)
        states[i] = r[i].state;
    return whole;
}

static bool same(const struct entries *a, const struct entries *b)
{
    return a->count == b->count && a->shot.used == b->shot.used &&
           (!a->count ||
            (!memcmp(a->at, b->at, a->count * sizeof *a->at) &&
             !memcmp(a->shot.words, b->shot.words, a->shot.count * sizeof *a->shot.words) &&
             (!a->shot.used || !memcmp(a->shot.bytes, b->shot.bytes, a->shot.used))));
}

/* Beside busy writers it takes the locks, if these can be had. */
static int look_at_all(const struct site *p, struct entries *e)
{
    struct entries again = {0};
    uint64_t first[SHARDS], second[SHARDS];
    bool whole = false;
    for (unsigned i = 0; !whole && !e->rc && !again.rc; i++) {
        bool locked = i && i % 4 == 0 && !store_lock_all(p, os_now() + HURRY);
        bool calm = locked || MUTANT(310);
        whole = look(p, e, &calm, first);
        if (whole && !calm)
            whole = look(p, &again, &calm, second) &&
                    (!memcmp(first, second, sizeof first) || MUTANT(314)) && same(e, &again);
        if (locked)
            store_unlock_all(p);
        if (locked && !whole && !e->rc) { /* nobody else can have changed it */
            entries_free(&again);
            return fail(-EBADMSG, "%s: somebody has written into it", p->call);
        }
    }
    entries_free(&again);
    return whole ? 0 : fail(-ENOMEM, "%s: out of memory", p->call);
}

static int by_stamp(const void *a, const void *b)
{
    const struct seen_entry *x = a, *y = b;
    if (x->stamp != y->stamp)
        return x->stamp < y->stamp ? -1 : 1;
    return x->word < y->word ? -1 : x->word > y->word;
}

int entries_look(const struct site *p, struct entries *ret)
{
    bool locked;
    unsigned n = 0;
    int rc;
    do {
        locked = shot_begin(p, &ret->shot, n++);
        rc = look_at_all(p, ret);
    } while (shot_end(p, &ret->shot, locked, &rc));
    if (!rc && ret->count)
        qsort(ret->at, ret->count, sizeof *ret->at, by_stamp);
    return rc;
}

static int entry_any(const struct site *p, const struct entries *e, size_t i, unsigned what,
                     struct anys *ret)
{
    shoal_any *key = NULL, *value = NULL;
    int rc = 0;
    if (what != DICT_VALUES)
        rc = key_any(e->at[i].info, e->shot.bytes + e->at[i].key, &key);
    if (!rc && what != DICT_KEYS)
        rc = shot_any(&e->shot, e->at[i].word, &value, p->call);
    if (rc) {
        shoal_any_free(key);
        return rc;
    }
    if (what == DICT_ITEMS) {
        key = shoal_any_tuple(key, value);
        value = NULL;
        if (!key)
            return -ENOMEM;
    }
    if (key)
        ret->at[ret->count++] = key;
    if (value)
        ret->at[ret->count++] = value;
    return 0;
}

int dict_entries(const struct site *p, unsigned what, shoal_any **ret)
{
    struct entries e = {.shot.unopened = what == DICT_KEYS};
    struct anys anys = {0};
    int rc;
    if (!ret)
        return nowhere(p);
    rc = entries_look(p, &e);
    anys.at = rc ? NULL : malloc((e.count * 2 + 1) * sizeof *anys.at);
    if (!rc && !anys.at)
        rc = fail(-ENOMEM, "%s: out of memory", p->call);
    for (size_t i = 0; i < e.count && !rc; i++)
        rc = entry_any(p, &e, i, what, &anys);
    if (!rc) {
        shoal_any *made = what == DICT_ALL ? shoal_any_dict_from(anys.at, anys.count)
                                           : shoal_any_list_from(anys.at, anys.count);
        anys.count = 0; /* the builder's */
        rc = made ? 0 : -ENOMEM;
        if (made)
            *ret = made;
    }
    anys_free(&anys);
    entries_free(&e);
    return rc;
}

static int all(const shoal_dict *dict, unsigned what, shoal_any **ret, const char *call)
{
    struct site p;
    int rc = site_of(&p, dict, TYPE_DICT, call);
    return rc ? rc : dict_entries(&p, what, ret);
}

int shoal_dict_keys(const shoal_dict *dict, shoal_any **ret)
{
    return all(dict, DICT_KEYS, ret, "shoal_dict_keys");
}

int shoal_dict_values(const shoal_dict *dict, shoal_any **ret)
{
    return all(dict, DICT_VALUES, ret, "shoal_dict_values");
}

int shoal_dict_items(const shoal_dict *dict, shoal_any **ret)
{
    return all(dict, DICT_ITEMS, ret, "shoal_dict_items");
}

int shoal_dict_copy(const shoal_dict *dict, shoal_any **ret)
{
    return all(dict, DICT_ALL, ret, "shoal_dict_copy");
}

int shoal_dict_equal(const shoal_dict *dict, const shoal_any *any)
{
    shoal_any *copy = NULL;
    if (!any)
        return any_is_null("shoal_dict_equal");
    int rc = all(dict, DICT_ALL, &copy, "shoal_dict_equal");
    if (!rc)
        rc = any_equal(copy, any);
    shoal_any_free(copy);
    return rc;
}

int64_t shoal_dict_length(const shoal_dict *dict)
{
    struct site p;
    int rc = site_of(&p, dict, TYPE_DICT, "shoal_dict_length");
    if (rc)
        return rc;
    for (unsigned n = 1;; n++) {
        struct reading r[SHARDS];
        int64_t sum = 0;
        bool locked = n % VAIN == 0 && !store_lock_all(&p, os_now() + HURRY), holds = true;
        for (unsigned i = 0; i < SHARDS; i++)
            store_read(&p, &p.stores[i], &r[i]);
        for (unsigned i = 0; i < SHARDS; i++)
            sum += r[i].base ? HIGH(reading_word(&r[i], ROOT_AT(counts))) : 0;
        for (unsigned i = 0; i < SHARDS; i++)
            holds = (reading_holds(&r[i]) || MUTANT(310)) && holds;
        if (locked)
            store_unlock_all(&p);
        if (holds)
            return sum;
    }
}

/* ---- changes of several keys ---- */

static void forget(struct change changes[])
{
    for (unsigned i = 0; i < SHARDS; i++)
        if (changes[i].count || changes[i].direct)
            change_forget(&changes[i]);
}

void coming_end(struct coming *c, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        key_end(&c[i].key);
        item_end(&c[i].item);
    }
    free(c);
}

static int coming_from(const struct site *p, const shoal_any *entries, struct coming **ret,
                       size_t *count)
{
    int64_t n = shoal_any_count(entries);
    struct coming *c = calloc((size_t)n + 1, sizeof *c);
    if (!c)
        return fail(-ENOMEM, "%s: out of memory", p->call);
    for (int64_t i = 0; i < n; i++) {
        const shoal_any *key, *value;
        int rc = shoal_any_entry(entries, i, &key, &value);
        if (!rc)
            rc = key_of_any(&c[i].key, p, key);
        if (!rc)
            rc = item_of_any(&c[i].item, p, value);
        if (rc) {
            coming_end(c, (size_t)i + 1);
            return rc;
        }
    }
    *ret = c;
    *count = (size_t)n;
    return 0;
}

enum { JOURNAL_MOST = 256 /* entries: in a longer one looking for words takes too long */ };

/* Room in each store for its share; more than a few are put into a copy of it. */
static int room_for_all(const struct site *p, struct change changes[], const struct coming *c,
                        size_t count)
{
    uint64_t bytes[SHARDS] = {0}, decision = atomic_load(&p->head->decision);
    uint32_t many[SHARDS] = {0};
    for (size_t i = 0; i < count; i++) {
        unsigned shard = shard_of(c[i].key.hash, decision);
        bytes[shard] += block_size(dict_entry_size(&c[i].key)) + item_room(&c[i].item);
        many[shard]++;
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        struct change here;
        int rc = 0;
        change_begin(&here, p, &p->stores[i]);
        if (many[i] && many[i] <= JOURNAL_MOST / PUT_ENTRIES) {
            rc = dict_room(&here, bytes[i], many[i] * PUT_ENTRIES, many[i]);
            changes[i] = here;
        } else if (many[i]) {
            /* notes of messages, of which there are not more at a time */
            uint32_t notes = many[i] < MOST_OBJECTS / 2 ? many[i] * 2 : MOST_OBJECTS;
            rc = dict_rebuild(&changes[i], &here, bytes[i], notes + PUT_ENTRIES, many[i], NULL,
                              NULL);
        }
        if (rc)
            return rc;
    }
    return 0;
}

int dict_put_all(const struct site *p, const struct coming *c, size_t count)
{
    struct change changes[SHARDS] = {{0}};
    int rc = store_lock_all(p, p->deadline);
    if (rc)
        return rc;
    rc = room_for_all(p, changes, c, count);
    for (size_t i = 0; i < count && !rc; i++) {
        struct spot spot;
        struct change *change = &changes[shard_of(c[i].key.hash, atomic_load(&p->head->decision))];
        dict_find(change, &c[i].key, &spot);
        if (spot.at)
            dict_replace(change, spot.at, &c[i].item);
        else
            dict_insert(change, &c[i].key, &spot, &c[i].item, dict_stamp());
    }
    if (!rc)
        dict_commit(p, changes, false);
    else
        forget(changes);
    store_unlock_all(p);
    return rc;
}

int shoal_dict_update(shoal_dict *dict, const shoal_any *entries)
{
    struct site p;
    struct coming *c;
    size_t count;
    int rc = site_of(&p, dict, TYPE_DICT, "shoal_dict_update");
    if (!rc && (!entries || entries->kind != SHOAL_ANY_DICT))
        rc = any_is_not(entries, p.call, "a dict");
    if (!rc)
        rc = coming_from(&p, entries, &c, &count);
    if (rc)
        return rc;
    rc = dict_put_all(&p, c, count);
    coming_end(c, count);
    return rc;
}

struct out_of {
    struct change *change; /* NULL: they are only counted */
    uint32_t count;
};

static void note_message(uint64_t word, void *argument)
{
    struct out_of *o = argument;
    if (!word_is_message(word))
        return;
    o->count++;
    if (o->change)
        change_note(o->change, ENTRY_OUT, word);
}

/* All of one store: by no arena at all, unless there are messages to be told of. */
static int clear_store(const struct site *p, struct store *s, struct change *ret)
{
    struct change here;
    struct reading r;
    struct out_of o = {0};
    change_begin(&here, p, s);
    if (!here.base)
        return 0;
    store_read(p, s, &r);
    dict_each(&r, note_message, &o);
    if (!o.count) {
        change_none(ret, p, s);
        return 0;
    }
    here.base = NULL; /* an arena of no entries */
    uint32_t many = o.count;
    int rc = dict_rebuild(ret, &here, 0, many + PUT_ENTRIES, 0, NULL, NULL);
    if (rc)
        return rc;
    o = (struct out_of){.change = ret};
    dict_each(&r, note_message, &o);
    return 0;
}

int dict_empty(const struct site *p)
{
    struct change changes[SHARDS] = {{0}};
    int rc = store_lock_all(p, p->deadline);
    if (rc)
        return rc;
    for (unsigned i = 0; i < SHARDS && !rc; i++)
        rc = clear_store(p, &p->stores[i], &changes[i]);
    if (!rc)
        dict_commit(p, changes, false);
    else
        forget(changes);
    store_unlock_all(p);
    return rc;
}

int shoal_dict_clear(shoal_dict *dict)
{
    struct site p;
    int rc = site_of(&p, dict, TYPE_DICT, "shoal_dict_clear");
    return rc ? rc : dict_empty(&p);
}

/* The entry with the greatest stamp: the store it is in, or -1. */
static int last_of(const struct site *p, struct change *ret)
{
    uint64_t greatest = 0;
    int shard = -1;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct change c;
        change_begin(&c, p, &p->stores[i]);
        uint32_t last = c.base ? LOW(change_get(&c, ROOT_AT(ends))) : 0;
        uint64_t stamp = last ? change_get(&c, FIELD(place_bytes(last), stamp)) : 0;
        if (last && (shard < 0 || stamp >= greatest)) {
            greatest = stamp;
            shard = (int)i;
            *ret = c;
        }
    }
    return shard;
}

static int take_last(const struct site *p, struct change *c, shoal_any **key, shoal_any **value)
{
    int rc = dict_room(c, 0, PUT_ENTRIES, 0); /* it may be made anew, elsewhere */
    if (rc)
        return rc;
    uint64_t at = place_bytes(LOW(change_get(c, ROOT_AT(ends))));
    uint64_t info = change_get(c, FIELD(at, info));
    struct reading r;
    struct fetched f;
    struct spot spot;
    struct key k;
    const unsigned char *bytes = c->base + at + sizeof(struct dict_entry);
    store_read(p, c->store, &r);
    word_fetch(&r, change_get(c, FIELD(at, value)), &f);
    key_of_text(&k, p, KEY_KIND(info), bytes, KEY_SIZE(info));
    dict_find(c, &k, &spot);
    if (key)
        rc = key_any(info, bytes, key);
    if (!rc && value)
        rc = word_any(f.word, f.bytes, f.size, value, p->call);
    if (rc)
        return rc;
    dict_remove(c, &spot);
    change_commit(c);
    dict_shrink(p, c->store);
    return 0;
}

int shoal_dict_popitem(shoal_dict *dict, shoal_any **key, shoal_any **value)
{
    struct site p;
    struct change c;
    shoal_any *k = NULL, *v = NULL;
    int rc = site_of(&p, dict, TYPE_DICT, "shoal_dict_popitem");
    if (!rc)
        rc = store_lock_all(&p, p.deadline);
    if (rc)
        return rc;
    rc = last_of(&p, &c) < 0 ? fail(-ENOENT, "%s: it is empty", p.call)
                             : take_last(&p, &c, key ? &k : NULL, value ? &v : NULL);
    store_unlock_all(&p);
    if (rc) {
        shoal_any_free(k);
        shoal_any_free(v);
        return rc;
    }
    if (key)
        *key = k;
    if (value)
        *value = v;
    return 0;
}
