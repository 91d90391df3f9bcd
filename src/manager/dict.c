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
        return rc ? rc : no_room(p);
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
    return rc == 1 ? 0 : rc ? rc : no_room(c->site);
}

void dict_shrink(const struct site *p, struct store *s)
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
        int rc = store_lock(p, s, p->deadline);
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
    dict_shrink(c->site, c->store);
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

int dict_put(const struct site *p, const struct key *key, struct item *item)
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
