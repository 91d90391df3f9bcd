/* dict: entries by key, in the order of insertion.
 *
 * A dict has SHARDS stores, and a key belongs to one of them by its hash, which is keyed with a secret of the
 * dict; so changes of different keys rarely meet. A small dict has all in the first: at SPREAD_FROM entries
 * it is spread, as one change of all stores, which the container's decision word says.
 *
 * A shard's arena has an index (slots with a part of the hash, and linear probing) behind its limit, and entries as
 * blocks, which are linked in the order of insertion. The order between shards follows from stamps, which are taken
 * with the shard's lock held: who puts a key after another put has returned gets a greater one.
 *
 * Another value of a key that needs no block is one word (poke); all else is a few words in the
 * store's journal. When the arena or its index is full, or the arena hardly used, its entries are copied to another one.
 */
#include "manager/dict.h"
#include "region/life.h"
#include <stdlib.h>
#include <string.h>

/* ---- finding ---- */

/* Where probing begins. */
static inline uint64_t first_slot(uint64_t hash, uint64_t slots)
{
    return (uint32_t)hash & (slots - 1);
}

/* With the same steps as dict_find, of what may not be there any more. */
static bool look_up(const struct reading *r, const struct key *key, uint64_t *at)
{
    uint64_t slots = r->base ? reading_word(r, ROOT_AT(slots)) : 0;
    uint64_t limit = slots ? reading_word(r, ROOT_AT(arena.limit)) : 0;
    if (!slots || slots & (slots - 1) || slots > r->capacity / 8)
        return false;
    uint64_t i = first_slot(key->hash, slots), info = key_info(key);
    for (uint64_t n = 0; n < slots; n++, i = (i + 1) & (slots - 1)) {
        uint64_t slot = reading_word(r, limit + i * 8);
        if (!slot)
            return false;
        if (HIGH(slot) != LOW(key->hash) || LOW(slot) == GONE)
            continue;
        *at = place_bytes(LOW(slot));
        uint64_t theirs = reading_word(r, FIELD(*at, info));
        if (KEY_SIZE(theirs) != key->size || KEY_KIND(theirs) != KEY_KIND(info))
            continue;
        const unsigned char *bytes = reading_bytes(r, *at + sizeof(struct dict_entry), key->size);
        if (bytes && (!key->size || !memcmp(bytes, key->bytes, key->size)))
            return true;
    }
    return false;
}

static uint64_t slot_at_index(const struct change *c, uint64_t i)
{
    return c->limit + i * 8;
}

void dict_find(const struct change *c, const struct key *key, struct spot *ret)
{
    *ret = (struct spot){0};
    if (!c->base)
        return;
    uint64_t slots = change_get(c, ROOT_AT(slots)), i = first_slot(key->hash, slots), gone = 0;
    for (;; i = (i + 1) & (slots - 1)) {
        uint64_t at = slot_at_index(c, i), slot = change_get(c, at);
        if (!slot) {
            ret->slot = gone ? gone : at;
            return;
        }
        if (LOW(slot) == GONE) {
            gone = gone ? gone : at;
            continue;
        }
        if (HIGH(slot) != LOW(key->hash))
            continue;
        uint64_t entry = place_bytes(LOW(slot)), info = change_get(c, FIELD(entry, info));
        if (KEY_SIZE(info) == key->size && KEY_KIND(info) == key->kind &&
            (!key->size ||
             !memcmp(c->base + entry + sizeof(struct dict_entry), key->bytes, key->size))) {
            *ret = (struct spot){.slot = at, .at = entry};
            return;
        }
    }
}

uint32_t dict_count(const struct change *c)
{
    return c->base ? HIGH(change_get(c, ROOT_AT(counts))) : 0;
}

/* ---- room ---- */

/* Bytes of an arena for so many bytes of blocks and entries of a journal, and so many keys: with room to grow. */
static uint64_t capacity_for(uint64_t bytes, uint64_t count)
{
    uint64_t capacity = UNIT;
    while (capacity - capacity / 4 < bytes || capacity / 32 < count * 2)
        capacity *= 2;
    return capacity;
}

/* Whether the index has room for `more` keys; it always has free slots. */
static bool index_fits(const struct change *c, uint32_t more)
{
    uint64_t used = LOW(change_get(c, ROOT_AT(counts))), slots = change_get(c, ROOT_AT(slots));
    return (used + more) * 4 <= slots * 3;
}

static void enter(struct change *c, uint64_t hash, uint32_t place)
{
    uint64_t slots = change_get(c, ROOT_AT(slots)), i = first_slot(hash, slots);
    while (change_get(c, slot_at_index(c, i)))
        i = (i + 1) & (slots - 1);
    change_set(c, slot_at_index(c, i), PAIR(LOW(hash), place));
}

/* An entry of `from` at the end of c, which is made directly. */
static uint32_t copy_entry(struct change *c, const struct change *from, uint64_t at, uint32_t last)
{
    uint64_t info = change_get(from, FIELD(at, info)), word = change_get(from, FIELD(at, value));
    size_t size = sizeof(struct dict_entry) + KEY_SIZE(info) + KEY_FIRST(info), length;
    uint64_t to = block_new(c, size), block;
    memcpy(c->base + to, from->base + at, size);
    if (word_block(word, &block, &length)) {
        uint64_t moved = block_new(c, length);
        memcpy(c->base + moved, from->base + block, length);
        word = word_moved(word, moved);
    }
    change_set(c, FIELD(to, value), word);
    change_set(c, FIELD(to, links), PAIR(last, 0));
    if (last)
        change_set(c, FIELD(place_bytes(last), links),
                   PAIR(HIGH(change_get(c, FIELD(place_bytes(last), links))), to / GRAIN));
    return (uint32_t)(to / GRAIN);
}

/* The whole hash of an entry's key. */
static uint64_t hash_at(const struct change *c, uint64_t at)
{
    struct key key;
    uint64_t info = change_get(c, FIELD(at, info));
    key_of_text(&key, c->site, KEY_KIND(info), c->base + at + sizeof(struct dict_entry),
                KEY_SIZE(info));
    return key.hash;
}

/* Bytes of the blocks of those entries that are kept, and how many there are. */
static uint64_t measure(const struct change *from, bool (*keep)(uint64_t hash, void *argument),
                        void *argument, uint32_t *count)
{
    uint64_t sum = 0, block, at;
    size_t length;
    *count = 0;
    for (uint32_t place = from->base ? HIGH(change_get(from, ROOT_AT(ends))) : 0; place;
         place = LOW(change_get(from, FIELD(at, links)))) {
        at = place_bytes(place);
        uint64_t info = change_get(from, FIELD(at, info));
        if (!keep(hash_at(from, at), argument))
            continue;
        ++*count;
        sum += block_size(sizeof(struct dict_entry) + KEY_SIZE(info) + KEY_FIRST(info));
        if (word_block(change_get(from, FIELD(at, value)), &block, &length))
            sum += block_size(length);
    }
    return sum;
}

int dict_rebuild(struct change *ret, struct change *from, uint64_t bytes, uint32_t entries,
                 uint32_t more, bool (*keep)(uint64_t hash, void *argument), void *argument)
{
    const struct site *p = from->site;
    uint32_t count = dict_count(from), kept = 0, last = 0, first = 0;
    uint64_t live = from->base ? place_bytes(LOW(change_get(from, ROOT_AT(arena.bump)))) : 0;
    if (keep)
        live = measure(from, keep, argument, &count);
    count += more;
    uint64_t need = ROOT + live + bytes + entries * sizeof(struct entry) + 64;
    uint64_t capacity = capacity_for(need + need / 2, count), behind = capacity / 4;
    int rc = change_replace(ret, p, from->store, capacity, ROOT, behind);
    if (rc)
        return rc;
    memset(ret->base + ret->limit, 0, behind);
    change_set(ret, ROOT_AT(slots), behind / 8);
    change_set(ret, ROOT_AT(counts), 0);
    change_set(ret, ROOT_AT(ends), 0);
    rc = change_fits(ret, live + bytes, entries);
    if (rc != 1) {
        change_forget(ret);
        return rc ? rc : -ENOMEM;
    }
    uint32_t place = from->base ? HIGH(change_get(from, ROOT_AT(ends))) : 0;
    while (place) {
        uint64_t at = place_bytes(place), hash = hash_at(from, at);
        if (!keep || keep(hash, argument)) {
            last = copy_entry(ret, from, at, last);
            first = first ? first : last;
            kept++;
            enter(ret, hash, last);
        }
        place = LOW(change_get(from, FIELD(at, links)));
    }
    change_set(ret, ROOT_AT(ends), PAIR(first, last));
    change_set(ret, ROOT_AT(counts), PAIR(kept, kept));
    return 0;
}

/* All in a larger arena, in its place, and another index. */
static int grow(struct change *ret, struct change *from, uint64_t bytes, uint32_t entries,
                uint32_t more)
{
    uint64_t used = place_bytes(HIGH(change_get(from, ROOT_AT(arena.bump)))), old = from->limit;
    uint64_t need = used + bytes + entries * sizeof(struct entry) + 64;
    uint64_t slots = change_get(from, ROOT_AT(slots));
    uint64_t capacity = capacity_for(need + need / 2, dict_count(from) + more);
    int rc = change_grow(ret, from, capacity, capacity / 4);
    if (rc)
        return rc;
    memset(ret->base + ret->limit, 0, capacity / 4);
    change_set(ret, ROOT_AT(slots), capacity / 4 / 8);
    for (uint64_t i = 0; i < slots; i++) {
        uint64_t slot = change_get(from, old + i * 8);
        if (slot && LOW(slot) != GONE)
            enter(ret, HIGH(slot), LOW(slot));
    }
    change_set(ret, ROOT_AT(counts), PAIR(dict_count(from), dict_count(from)));
    return 0;
}

int dict_room(struct change *c, uint64_t bytes, uint32_t entries, uint32_t more)
{
    int rc = c->base && index_fits(c, more) ? change_fits(c, bytes, entries) : 0;
    if (likely(rc))
        return rc < 0 ? rc : 0;
    struct change larger;
    rc = c->base && change_is_dense(c) ? grow(&larger, c, bytes, entries, more)
                                       : dict_rebuild(&larger, c, bytes, entries, more, NULL, NULL);
    if (rc)
        return rc;
    change_commit(&larger);
    change_begin(c, larger.site, larger.store);
    rc = change_fits(c, bytes, entries);
    return rc == 1 ? 0 : rc ? rc : -ENOMEM;
}

/* An arena of which little is used becomes a smaller one, if there is memory for that. */
static void shrink(const struct site *p, struct store *s)
{
    struct change c, smaller;
    change_begin(&c, p, s);
    uint64_t live = place_bytes(LOW(change_get(&c, ROOT_AT(arena.bump))));
    uint64_t capacity = c.limit / 3 * 4;
    if (capacity <= UNIT || (live + ROOT) * 4 > capacity || dict_count(&c) * 4ull * 32 > capacity)
        return;
    if (!dict_rebuild(&smaller, &c, 0, PUT_ENTRIES, 0, NULL, NULL))
        change_commit(&smaller);
}

/* ---- changing ---- */

uint64_t dict_stamp(void)
{
    return os_stamp(view.region->stamps);
}

void dict_insert(struct change *c, const struct key *key, const struct spot *spot,
                 const struct item *item, uint64_t stamp)
{
    uint64_t ends = change_get(c, ROOT_AT(ends)), counts = change_get(c, ROOT_AT(counts));
    uint64_t word = item_put(c, item);
    uint64_t at = block_new(c, dict_entry_size(key));
    uint64_t fields[4] = {stamp, PAIR(LOW(ends), 0), word, key_info(key)};
    block_fill(c, at, fields, sizeof fields);
    unsigned char *behind = c->base + at + sizeof fields;
    if (key->size)
        memcpy(behind, key->bytes, key->size);
    if (key->first_size)
        memcpy(behind + key->size, key->first, key->first_size);
    uint32_t place = (uint32_t)(at / GRAIN);
    if (LOW(ends)) {
        uint64_t links = FIELD(place_bytes(LOW(ends)), links);
        change_set(c, links, PAIR(HIGH(change_get(c, links)), place));
    }
    change_set(c, ROOT_AT(ends), PAIR(HIGH(ends) ? HIGH(ends) : place, place));
    change_set(c, ROOT_AT(counts),
               PAIR(HIGH(counts) + 1, LOW(counts) + !change_get(c, spot->slot)));
    change_set(c, spot->slot, PAIR(LOW(key->hash), place));
}

void dict_replace(struct change *c, uint64_t at, const struct item *item)
{
    uint64_t old = change_get(c, FIELD(at, value));
    change_set(c, FIELD(at, value), item_put(c, item));
    word_out(c, old);
}

void dict_remove(struct change *c, const struct spot *spot)
{
    uint64_t at = spot->at, links = change_get(c, FIELD(at, links));
    uint64_t ends = change_get(c, ROOT_AT(ends)), counts = change_get(c, ROOT_AT(counts));
    uint64_t info = change_get(c, FIELD(at, info)), value = change_get(c, FIELD(at, value));
    uint32_t before = HIGH(links), behind = LOW(links);
    if (before) {
        uint64_t where = FIELD(place_bytes(before), links);
        change_set(c, where, PAIR(HIGH(change_get(c, where)), behind));
    }
    if (behind) {
        uint64_t where = FIELD(place_bytes(behind), links);
        change_set(c, where, PAIR(before, LOW(change_get(c, where))));
    }
    change_set(c, ROOT_AT(ends), PAIR(before ? HIGH(ends) : behind, behind ? LOW(ends) : before));
    /* A slot before a free one is free; others lead on. */
    uint64_t slots = change_get(c, ROOT_AT(slots)), i = (spot->slot - c->limit) / 8;
    bool last = !change_get(c, slot_at_index(c, (i + 1) & (slots - 1)));
    change_set(c, spot->slot, last ? 0 : GONE);
    change_set(c, ROOT_AT(counts), PAIR(HIGH(counts) - 1, LOW(counts) - last));
    block_free(c, at, sizeof(struct dict_entry) + KEY_SIZE(info) + KEY_FIRST(info));
    word_out(c, value);
}

void dict_commit(const struct site *p, struct change changes[], bool spread)
{
    uint64_t decision = atomic_load(&p->head->decision), turn = (decision >> 1) + 1;
    unsigned many = 0, one = 0;
    for (unsigned i = 0; i < p->count; i++)
        if (changes[i].direct || changes[i].count) {
            many++;
            one = i;
        }
    if (many == 1 && !spread) {
        change_commit(&changes[one]);
        return;
    }
    if (!many)
        return;
    for (unsigned i = 0; i < p->count; i++)
        if (changes[i].direct || changes[i].count)
            change_prepare(&changes[i], turn);
    atomic_store(&p->head->decision, turn << 1 | spread | (decision & 1));
    atomic_thread_fence(memory_order_release);
    for (unsigned i = 0; i < p->count; i++)
        if (changes[i].direct || changes[i].count)
            store_finish(p, &p->stores[i]);
}

/* ---- spreading ---- */

struct wanted {
    unsigned shard;
};

static bool is_of_shard(uint64_t hash, void *argument)
{
    return shard_of(hash, 1) == ((const struct wanted *)argument)->shard;
}

/* From the first store over all. It stays where it is if there is no memory for that now. */
static void spread(const struct site *p)
{
    struct change from, changes[SHARDS] = {{0}};
    if (store_lock_all(p, os_now() + HURRY))
        return;
    change_begin(&from, p, &p->stores[0]);
    int rc = atomic_load(&p->head->decision) & 1 || dict_count(&from) < SPREAD_FROM;
    for (unsigned i = 0; i < SHARDS && !rc; i++) {
        struct change here;
        struct wanted wanted = {i};
        change_begin(&here, p, &p->stores[i]);
        here.base = from.base; /* another store's entries, to this one */
        here.limit = from.limit;
        rc = dict_rebuild(&changes[i], &here, 0, PUT_ENTRIES, 0, is_of_shard, &wanted);
    }
    if (!rc)
        dict_commit(p, changes, true);
    else
        for (unsigned i = 0; i < SHARDS; i++)
            if (changes[i].store && changes[i].base)
                change_forget(&changes[i]);
    store_unlock_all(p);
}

/* ---- one key ---- */

/* Locks the key's store. */
static int lock_for(const struct site *p, const struct key *key, struct store **ret)
{
    for (;;) {
        uint64_t decision = atomic_load_explicit(&p->head->decision, memory_order_acquire);
        struct store *s = &p->stores[shard_of(key->hash, decision)];
        int rc = store_lock(p, s, SHOAL_FOREVER);
        if (unlikely(rc))
            return rc;
        *ret = s;
        /* It is spread by who has the locks of all. */
        if (likely(shard_of(key->hash,
                            atomic_load_explicit(&p->head->decision, memory_order_acquire)) ==
                   shard_of(key->hash, decision)))
            return 0;
        store_unlock(p, s);
    }
}

/* `many`: it has many entries now. */
static void unlock_for(const struct site *p, struct store *s, bool many)
{
    bool wide = many && !(atomic_load_explicit(&p->head->decision, memory_order_relaxed) & 1);
    store_unlock(p, s);
    if (unlikely(wide))
        spread(p);
}

/* The same entry with another word, which is all that changes. */
static bool is_poke(uint64_t old, uint64_t new)
{
    return word_tag(old) < WORD_IN_BLOCK && word_tag(new) < WORD_IN_BLOCK;
}

static int put(struct change *c, const struct key *key, struct spot *spot, const struct item *item)
{
    if (likely(spot->at)) {
        if (likely(is_poke(change_get(c, FIELD(spot->at, value)), item->word))) {
            change_poke(c, FIELD(spot->at, value), item->word);
            return 0;
        }
    }
    uint64_t bytes = item_room(item) + (spot->at ? 0 : block_size(dict_entry_size(key)));
    struct store *s = c->store;
    const unsigned char *base = c->base;
    int rc = dict_room(c, bytes, PUT_ENTRIES, !spot->at);
    if (rc)
        return rc;
    if (c->base != base || c->store != s)
        dict_find(c, key, spot);
    if (spot->at)
        dict_replace(c, spot->at, item);
    else
        dict_insert(c, key, spot, item, dict_stamp());
    change_commit(c);
    return 0;
}

static int take_out(struct change *c, const struct key *key, struct spot *spot)
{
    const unsigned char *base = c->base;
    int rc = change_fits(c, 0, PUT_ENTRIES);
    if (!rc)
        rc = dict_room(c, 0, PUT_ENTRIES, 0);
    if (rc < 0)
        return rc;
    if (c->base != base)
        dict_find(c, key, spot);
    dict_remove(c, spot);
    change_commit(c);
    shrink(c->site, c->store);
    return 0;
}

int dict_change(const struct site *p, const struct key *key, decider *decide, void *argument)
{
    struct change c;
    struct spot spot;
    struct store *s;
    struct fetched old;
    struct reading r;
    struct item item = {0};
    int rc = lock_for(p, key, &s);
    if (unlikely(rc))
        return rc;
    change_begin(&c, p, s);
    dict_find(&c, key, &spot);
    if (spot.at) {
        store_read(p, s, &r);
        word_fetch(&r, change_get(&c, FIELD(spot.at, value)), &old);
    }
    int verdict = decide(p, spot.at ? &old : NULL, &item, argument);
    bool grown = false;
    if (verdict == DICT_PUT) {
        rc = put(&c, key, &spot, &item);
        grown = !rc && !spot.at;
    } else if (verdict == DICT_REMOVE) {
        rc = take_out(&c, key, &spot);
    }
    unlock_for(p, s, grown && dict_count(&c) > SPREAD_FROM);
    return rc ? rc : verdict;
}

int dict_get(const struct site *p, const struct key *key, struct fetched *ret)
{
    struct reading r;
    struct store *locked = NULL;
    for (unsigned i = 0;; i++) {
        uint64_t at = 0, decision = atomic_load_explicit(&p->head->decision, memory_order_acquire);
        if (unlikely(i && i % VAIN == 0 &&
                     !store_lock(p, &p->stores[shard_of(key->hash, decision)], os_now() + HURRY)))
            locked = &p->stores[shard_of(key->hash, decision)];
        store_read(p, &p->stores[shard_of(key->hash, decision)], &r);
        AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
        bool found = look_up(&r, key, &at);
        bool whole = !found || word_fetch(&r, reading_word(&r, FIELD(at, value)), ret);
        AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
        bool holds =
            reading_holds(&r) && whole &&
            shard_of(key->hash, atomic_load_explicit(&p->head->decision, memory_order_relaxed)) ==
                shard_of(key->hash, decision);
        if (unlikely(locked != NULL)) {
            store_unlock(p, locked);
            locked = NULL;
        }
        if (likely(holds))
            return found;
    }
}

/* ---- what all who look for a key come to ---- */

int dict_no_key(const struct site *p)
{
    return fail(-ENOENT, "%s: no such key", p->call);
}

int dict_get_any(const struct site *p, const struct key *key, shoal_any **ret)
{
    struct fetched f;
    int rc;
    if (!ret)
        return nowhere(p);
    do {
        if (!dict_get(p, key, &f))
            return dict_no_key(p);
        rc = word_any(f.word, f.bytes, f.size, ret, p->call);
    } while (rc == -ESTALE); /* taken out meanwhile */
    return rc;
}

struct taken_item {
    struct item *item;
    const shoal_any *any; /* a number, or what is expected */
    shoal_any **ret;
    int64_t sum;
    bool plain; /* sum is wanted */
};

static int set_item(const struct site *p, const struct key *key, struct item *item)
{
    struct change c;
    struct spot spot;
    struct store *s;
    int rc = lock_for(p, key, &s);
    if (likely(!rc)) {
        change_begin(&c, p, s);
        dict_find(&c, key, &spot);
        bool new = !spot.at;
        rc = put(&c, key, &spot, item);
        unlock_for(p, s, !rc && new &&dict_count(&c) > SPREAD_FROM);
    }
    item_end(item);
    return rc;
}

int dict_set_any(const struct site *p, const struct key *key, const shoal_any *value)
{
    struct item item;
    int rc = item_of_any(&item, p, value);
    return rc ? rc : set_item(p, key, &item);
}

static int remove_it(const struct site *p, const struct fetched *old, struct item *new,
                     void *argument)
{
    const struct taken_item *t = argument;
    (void)new;
    if (!old)
        return dict_no_key(p);
    int rc = t->ret ? word_any(old->word, old->bytes, old->size, t->ret, p->call) : 0;
    return rc ? rc : DICT_REMOVE;
}

int dict_delete_key(const struct site *p, const struct key *key, shoal_any **ret)
{
    shoal_any *taken = NULL;
    struct taken_item t = {.ret = ret ? &taken : NULL};
    int rc = dict_change(p, key, remove_it, &t);
    if (rc < 0)
        shoal_any_free(taken);
    else if (ret)
        *ret = taken;
    return rc < 0 ? rc : 0;
}

static int add_it(const struct site *p, const struct fetched *old, struct item *new, void *argument)
{
    struct taken_item *t = argument;
    shoal_any number, *made = NULL;
    const shoal_any *a = old ? &number : NULL;
    if (old && !word_number(old->word, old->bytes, &number)) {
        int rc = word_any(old->word, old->bytes, old->size, &made, p->call);
        if (rc)
            return rc;
        a = made;
    }
    int rc = container_sum(new, p, a, t->any);
    shoal_any_free(made);
    if (!rc && t->ret)
        rc = word_any(new->word, &new->raw, new->size, t->ret, p->call);
    if (!rc && t->plain && word_number(new->word, &new->raw, &number))
        t->sum = number.integer;
    return rc ? rc : DICT_PUT;
}

int dict_add_any(const struct site *p, const struct key *key, const shoal_any *number,
                 shoal_any **ret)
{
    shoal_any *sum = NULL;
    struct taken_item t = {.any = number, .ret = ret ? &sum : NULL};
    if (!number)
        return any_is_null(p->call);
    int rc = dict_change(p, key, add_it, &t);
    if (rc < 0)
        shoal_any_free(sum);
    else if (ret)
        *ret = sum;
    return rc < 0 ? rc : 0;
}

struct comparison {
    const shoal_any *expected;
    struct item *item; /* NULL: it is to be deleted */
};

static int compare_it(const struct site *p, const struct fetched *old, struct item *new,
                      void *argument)
{
    const struct comparison *t = argument;
    int rc = !old && !t->expected;
    if (old && t->expected)
        rc = word_equals(old->word, old->bytes, old->size, t->expected, p->call);
    if (rc <= 0)
        return rc; /* DICT_KEEP */
    if (t->item)
        *new = *t->item;
    return t->item ? DICT_PUT : old ? DICT_REMOVE : DICT_DONE;
}

int dict_compare_any(const struct site *p, const struct key *key, const shoal_any *expected,
                     const shoal_any *value)
{
    struct item item = {0};
    struct comparison t = {expected, value ? &item : NULL};
    int rc = value ? item_of_any(&item, p, value) : 0;
    if (rc)
        return rc;
    rc = dict_change(p, key, compare_it, &t);
    item_end(&item);
    return rc < 0 ? rc : rc != DICT_KEEP;
}

/* ---- public: anys ---- */

/* The dict and the key of a call. */
static int begin(struct site *p, struct key *k, const shoal_dict *dict, const shoal_any *key,
                 const char *call)
{
    int rc = site_of(p, dict, TYPE_DICT, call);
    return rc ? rc : key_of_any(k, p, key);
}

int shoal_dict_get(const shoal_dict *dict, const shoal_any *key, shoal_any **ret)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, dict, key, "shoal_dict_get");
    if (rc)
        return rc;
    rc = dict_get_any(&p, &k, ret);
    key_end(&k);
    return rc;
}

int shoal_dict_contains(const shoal_dict *dict, const shoal_any *key)
{
    struct site p;
    struct key k;
    struct fetched f;
    int rc = begin(&p, &k, dict, key, "shoal_dict_contains");
    if (rc)
        return rc;
    rc = dict_get(&p, &k, &f);
    key_end(&k);
    return rc;
}

int shoal_dict_set(shoal_dict *dict, const shoal_any *key, const shoal_any *value)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, dict, key, "shoal_dict_set");
    if (rc)
        return rc;
    rc = dict_set_any(&p, &k, value);
    key_end(&k);
    return rc;
}

int shoal_dict_delete(shoal_dict *dict, const shoal_any *key)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, dict, key, "shoal_dict_delete");
    if (rc)
        return rc;
    rc = dict_delete_key(&p, &k, NULL);
    key_end(&k);
    return rc;
}

int shoal_dict_pop(shoal_dict *dict, const shoal_any *key, shoal_any **ret)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, dict, key, "shoal_dict_pop");
    if (rc)
        return rc;
    rc = dict_delete_key(&p, &k, ret);
    key_end(&k);
    return rc;
}

static int set_if_none(const struct site *p, const struct fetched *old, struct item *new,
                       void *argument)
{
    const struct taken_item *t = argument;
    if (!old) {
        *new = *t->item;
        return DICT_PUT;
    }
    int rc = t->ret ? word_any(old->word, old->bytes, old->size, t->ret, p->call) : 0;
    return rc ? rc : DICT_KEEP;
}

int shoal_dict_setdefault(shoal_dict *dict, const shoal_any *key, const shoal_any *value,
                          shoal_any **ret)
{
    struct site p;
    struct key k;
    struct item item;
    shoal_any *there = NULL;
    struct taken_item t = {.item = &item, .ret = ret ? &there : NULL};
    int rc = begin(&p, &k, dict, key, "shoal_dict_setdefault");
    if (rc)
        return rc;
    rc = item_of_any(&item, &p, value);
    if (!rc) {
        shoal_any *copy = ret ? shoal_any_copy(value) : NULL;
        rc = ret && !copy ? -ENOMEM : dict_change(&p, &k, set_if_none, &t);
        item_end(&item);
        if (rc == DICT_PUT && ret)
            *ret = copy;
        else
            shoal_any_free(copy);
        if (rc == DICT_KEEP && ret)
            *ret = there;
    }
    key_end(&k);
    return rc < 0 ? rc : rc == DICT_PUT;
}

int shoal_dict_add(shoal_dict *dict, const shoal_any *key, const shoal_any *number, shoal_any **ret)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, dict, key, "shoal_dict_add");
    if (rc)
        return rc;
    rc = dict_add_any(&p, &k, number, ret);
    key_end(&k);
    return rc;
}

int shoal_dict_compare_and_set(shoal_dict *dict, const shoal_any *key, const shoal_any *expected,
                               const shoal_any *value)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, dict, key, "shoal_dict_compare_and_set");
    if (rc)
        return rc;
    rc = dict_compare_any(&p, &k, expected, value);
    key_end(&k);
    return rc;
}

/* ---- public: bytes ---- */

static inline int begin_bytes(struct site *p, struct key *k, const shoal_dict *dict,
                              const void *key, size_t size, const char *call)
{
    int rc = site_of(p, dict, TYPE_DICT, call);
    return rc ? rc : key_of_text(k, p, KEY_BYTES, key, size);
}

int shoal_dict_set_int(shoal_dict *dict, const void *key, size_t key_size, int64_t value)
{
    struct site p;
    struct key k;
    struct item item;
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_set_int");
    if (rc)
        return rc;
    item_of_int(&item, value);
    return set_item(&p, &k, &item);
}

int shoal_dict_get_int(const shoal_dict *dict, const void *key, size_t key_size, int64_t *ret)
{
    struct site p;
    struct key k;
    struct fetched f;
    shoal_any number;
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_get_int");
    if (rc)
        return rc;
    if (unlikely(!ret))
        return nowhere(&p);
    if (unlikely(!dict_get(&p, &k, &f)))
        return dict_no_key(&p);
    if (unlikely(!word_number(f.word, f.bytes, &number)) || number.kind != SHOAL_ANY_INT)
        return fail(-EINVAL, "%s: the value is no int of 64 bits", p.call);
    *ret = number.integer;
    return 0;
}

int shoal_dict_add_int(shoal_dict *dict, const void *key, size_t key_size, int64_t number,
                       int64_t *ret)
{
    struct site p;
    struct key k;
    shoal_any any = {.kind = SHOAL_ANY_INT, .integer = number};
    struct taken_item t = {.any = &any, .plain = true};
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_add_int");
    if (!rc)
        rc = dict_change(&p, &k, add_it, &t);
    if (rc >= 0 && ret)
        *ret = t.sum;
    return rc < 0 ? rc : 0;
}

int shoal_dict_set_bytes(shoal_dict *dict, const void *key, size_t key_size, const void *bytes,
                         size_t size)
{
    struct site p;
    struct key k;
    struct item item;
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_set_bytes");
    if (!rc && !bytes && size)
        rc = fail(-EINVAL, "%s: %zu bytes at NULL", p.call, size);
    if (!rc)
        rc = item_of_bytes(&item, &p, bytes, size);
    return rc ? rc : set_item(&p, &k, &item);
}

int shoal_dict_get_bytes(const shoal_dict *dict, const void *key, size_t key_size, void *buffer,
                         size_t capacity, size_t *size)
{
    struct site p;
    struct key k;
    struct fetched f;
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_get_bytes");
    if (rc)
        return rc;
    do {
        if (!dict_get(&p, &k, &f))
            return dict_no_key(&p);
        rc = fetched_bytes(&p, &f, buffer, capacity, size);
    } while (rc == -ESTALE);
    return rc;
}

int shoal_dict_delete_bytes(shoal_dict *dict, const void *key, size_t key_size)
{
    struct site p;
    struct key k;
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_delete_bytes");
    return rc ? rc : dict_delete_key(&p, &k, NULL);
}

int shoal_dict_contains_bytes(const shoal_dict *dict, const void *key, size_t key_size)
{
    struct site p;
    struct key k;
    struct fetched f;
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_contains_bytes");
    return rc ? rc : dict_get(&p, &k, &f);
}

/* ---- for the type ---- */

void dict_each(const struct reading *r, visit_word *visit, void *argument)
{
    uint64_t slots = reading_word(r, ROOT_AT(slots)), limit = reading_word(r, ROOT_AT(arena.limit));
    for (uint64_t i = 0; i < slots && i < r->capacity / 8; i++) {
        uint64_t slot = reading_word(r, limit + i * 8);
        if (slot && LOW(slot) != GONE)
            visit(reading_word(r, FIELD(place_bytes(LOW(slot)), value)), argument);
    }
}

uint64_t dict_length(const struct look *look, const struct header *h)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct store s;
        uint64_t counts;
        if (!look_payload(look, h, sizeof(struct head) + i * sizeof s, &s, sizeof s))
            continue;
        unsigned now = atomic_load(&s.state) >> 3 & 3;
        if (now >= 1 && now <= 2 &&
            look_run(look, atomic_load(&s.runs[now - 1].payload), ROOT_AT(counts), &counts,
                     sizeof counts))
            sum += HIGH(counts);
    }
    return sum;
}
