/* manager/dict.h - what the files of dicts share: dict.c, dict_key.c (one key), dict_many.c (several), names of
 * entries. dict.c says how a dict lies in its stores.
 */
#ifndef SHOAL_MANAGER_DICT_H
#define SHOAL_MANAGER_DICT_H

#include "manager/key.h"

/* The beginning of a shard's arena.
 *   ends    {first entry:32, last:32}, in the order of insertion
 *   counts  {entries:32, places of the index that are not free:32}
 *   slots   of the index, which lies behind the limit: a power of two. Constant
 * An index's slot: {hash:32, entry's place:32}; 0 is free, GONE was an entry's.
 */
struct root {
    struct arena arena;
    word_t ends;
    word_t counts;
    word_t slots;
};
enum { ROOT = 112, GONE = 1 /* lies in the root, as no entry does */ };
static_assert(sizeof(struct root) == ROOT && ROOT % GRAIN == 0, "no gaps");

/* An entry: a block.
 *   stamp  grows with each new key, in all shards together
 *   links  {previous:32, next:32}, places of entries
 *   value  a word (word.h)
 *   info   key.h; behind it lie the key's bytes, and a pickle of the first key
 */
struct dict_entry {
    word_t stamp, links, value, info;
};

#define HIGH(word) ((uint32_t)((word) >> 32))
#define LOW(word) ((uint32_t)(word))
#define PAIR(high, low) word_pair((uint32_t)(high), (uint32_t)(low))

static inline uint64_t place_bytes(uint32_t place)
{
    return (uint64_t)place * GRAIN;
}
#define FIELD(entry, name) ((entry) + offsetof(struct dict_entry, name))
#define ROOT_AT(name) offsetof(struct root, name)

/* How many entries one store holds before a dict is spread over all of them. */
enum { SPREAD_FROM = 64 };
/* What one key needs of a change, at most: entries of the journal. */
enum { PUT_ENTRIES = 20 };

static inline unsigned shard_of(uint64_t hash, uint64_t decision)
{
    return decision & 1 ? (unsigned)(hash >> 61) : 0;
}
static_assert(SHARDS == 8, "three bits tell which");

static inline size_t dict_entry_size(const struct key *key)
{
    return sizeof(struct dict_entry) + key->size + key->first_size;
}

/* Where a key is, or would be. */
struct spot {
    uint64_t slot; /* in bytes */
    uint64_t at;   /* of the entry, 0: there is none */
    uint64_t last; /* the slot behind which a free one was found */
};
/* With the shard's lock held; a change that has none is empty. */
void dict_find(const struct change *c, const struct key *key, struct spot *ret);
/* Makes sure that there is room for so much: with a larger arena if need be. -ENOMEM. */
int dict_room(struct change *c, uint64_t bytes, uint32_t entries, uint32_t more);
/* Begins a change that has all entries of this one, or only those that `keep` says, in an arena with room for so much more. */
int dict_rebuild(struct change *ret, struct change *from, uint64_t bytes, uint32_t entries,
                 uint32_t more, bool (*keep)(uint64_t hash, void *argument), void *argument);
/* A new entry, at the end; or another value of one; or its end. */
void dict_insert(struct change *c, const struct key *key, const struct spot *spot,
                 const struct item *item, uint64_t stamp);
void dict_replace(struct change *c, uint64_t at, const struct item *item);
void dict_remove(struct change *c, const struct spot *spot);
/* An arena of which little is used becomes a smaller one, if there is memory for that. */
void dict_shrink(const struct site *p, struct store *s);
uint64_t dict_stamp(void);
/* Entries. */
uint32_t dict_count(const struct change *c);

/* Commits what was begun in some of the stores, all of which are locked, as one. `spread`: and the
 * dict is, from now on. */
void dict_commit(const struct site *p, struct change changes[], bool spread);

/* ---- for namespaces: as the calls of container.h, of a key ---- */
enum verdict { DICT_KEEP, DICT_PUT, DICT_REMOVE, DICT_DONE /* as it is, and well so */ };
/* Decides what becomes of a key, with its lock held: a verdict, or -errno. old NULL: there is none. */
typedef int decider(const struct site *p, const struct fetched *old, struct item *new,
                    void *argument);
int dict_change(const struct site *p, const struct key *key, decider *decide, void *argument);
/* Sets it; the item is ended. */
int dict_put(const struct site *p, const struct key *key, struct item *item);
/* 1; 0: there is no such key. */
int dict_get(const struct site *p, const struct key *key, struct fetched *ret);
int dict_get_any(const struct site *p, const struct key *key, shoal_any **ret);
int dict_set_any(const struct site *p, const struct key *key, const shoal_any *value);
int dict_delete_key(const struct site *p, const struct key *key, shoal_any **ret);
int dict_add_any(const struct site *p, const struct key *key, const shoal_any *number,
                 shoal_any **ret);
int dict_compare_any(const struct site *p, const struct key *key, const shoal_any *expected,
                     const shoal_any *value);
int dict_no_key(const struct site *p);
/* All entries as they were at one moment, in order: 0, -ENOMEM; entries_free in any case. */
struct entries {
    struct seen_entry {
        uint64_t stamp, info;
        size_t key; /* where its bytes lie in the shot */
        size_t word;
    } * at;
    size_t count, room;
    struct shot shot;
    int rc;
};
int entries_look(const struct site *p, struct entries *ret);
void entries_free(struct entries *e);
int dict_empty(const struct site *p); /* no entries any more, as one step */
/* Puts all of these, as one step. An entry on its way in: its key and its value, which stay the caller's. */
struct coming {
    struct key key;
    struct item item;
};
int dict_put_all(const struct site *p, const struct coming *c, size_t count);
void coming_end(struct coming *c, size_t count); /* of malloc */
/* All entries: what of them as what. */
enum { DICT_KEYS, DICT_VALUES, DICT_ITEMS, DICT_ALL };
int dict_entries(const struct site *p, unsigned what, shoal_any **ret);

#endif
