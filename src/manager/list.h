/* manager/list.h - what the files of lists share: list.c (looking, arenas), list_item.c (one item), list_many.c (slices, sort, …).
 * list.c says how a list lies in its store.
 */
#ifndef SHOAL_MANAGER_LIST_H
#define SHOAL_MANAGER_LIST_H

#include "manager/container.h"

/* The beginning of a list's arena. Items have absolute numbers, of which the first is `begin`.
 *   begin, end  items from begin to before end
 *   dir         the directory {place:32, entries it has room for:32}
 *   spare       the one before it, in which the next one is written
 *   span        {its first entry in use:32, how many are:32}
 * An entry of the directory: the absolute number of the chunk's first place; {its place:32, how many items it
 * has room for:32}. Between the chunks there are no gaps: each reaches to where the next one begins.
 */
struct list_root {
    struct arena arena;
    word_t begin, end;
    word_t dir;
    word_t spare;
    word_t span;
};
enum { LIST_ROOT = 128, CHUNK = 512, CHUNK_LEAST = 8, DIR_ENTRY = 16 };
static_assert(sizeof(struct list_root) == LIST_ROOT && LIST_ROOT % GRAIN == 0, "no gaps");
#define LIST_AT(name) offsetof(struct list_root, name)

#define HIGH(word) ((uint32_t)((word) >> 32))
#define LOW(word) ((uint32_t)(word))
#define PAIR(high, low) word_pair((uint32_t)(high), (uint32_t)(low))

/* What one item needs of a change, at most: entries of the journal. */
enum { ONE_ENTRIES = 18 };

/* A list's root, as it was read, or as a change will leave it. */
struct shape {
    int64_t begin, end;
    uint64_t dir;
    uint32_t room; /* of the directory */
    uint32_t first, count;
};
/* A chunk, and which absolute numbers its items have. */
struct part {
    int64_t first;
    uint64_t at;
    uint32_t room;
    int64_t from, to;
};
void shape_read(const struct reading *r, struct shape *ret);
/* False: what is read is no more. */
bool part_read(const struct reading *r, const struct shape *shape, uint32_t i, struct part *ret);
/* The part that has an item: which, or -1. */
int64_t part_find(const struct reading *r, const struct shape *shape, int64_t number,
                  struct part *ret);

static inline uint64_t dir_entry(const struct shape *shape, uint32_t i)
{
    return shape->dir + ((uint64_t)shape->first + i) * DIR_ENTRY;
}

static inline uint64_t place_of(const struct part *part, int64_t number)
{
    return part->at + (uint64_t)(number - part->first) * 8;
}

static inline uint32_t chunk_room(uint64_t items)
{
    uint64_t room = block_size((items < CHUNK_LEAST ? CHUNK_LEAST : items) * 8) / 8;
    return room < CHUNK ? (uint32_t)room : CHUNK;
}

/* One item, as it was at one moment. */
struct one {
    int64_t index, length;
    bool there;
    struct fetched f;
};
int list_one(const struct site *p, int64_t index, struct one *ret);

/* Makes sure that there is room for so much, in another arena if need be. */
int list_room(struct change *c, uint64_t bytes, uint32_t entries);
/* What a new arena is filled with: a word of the old one, or a new item. */
struct piece {
    uint64_t word;
    const struct item *item;
};
struct pieces {
    struct piece *at;
    size_t count;
};
/* A list that has these items, in an arena of its own with room for so much more, committed. What
 * leaves it is told by `out`. Nothing, if that arena would not be smaller than `below`. -ENOMEM. The
 * store is locked. */
int list_remake(const struct site *p, const struct pieces *pieces, const struct pieces *out,
                uint64_t bytes, uint32_t entries, uint64_t below);
/* All words of it, which is locked. -ENOMEM. */
int list_pieces(const struct site *p, struct pieces *ret);
/* Copies items from `from` to before `to` (of all: 0, INT64_MAX), of one moment; *length: of the list. */
int list_shot(const struct site *p, const shoal_slice *slice, struct shot *ret, int64_t *length);
/* Where an index lies: -ERANGE. */
int list_index(const struct site *p, int64_t index, int64_t length, int64_t *ret);
/* A slice of a list of this length, as Python counts: begins at *start, *count items. -EINVAL. */
void slice_resolve(const shoal_slice *slice, int64_t length, int64_t *start, int64_t *step,
                   int64_t *count);
/* Puts items at the end, or before an index; takes out an item. The store is locked. */
int list_push(const struct site *p, const struct item items[], size_t count);
int list_insert(const struct site *p, int64_t index, const struct item *item);
int list_take(const struct site *p, int64_t index);
void list_shrink(const struct site *p);

/* ---- these lock it ---- */
/* Decides what an item becomes: 1 and *new, 0: it stays, or -errno. */
typedef int change_item(const struct site *p, const struct fetched *old, struct item *new,
                        void *argument);
int list_change(const struct site *p, int64_t index, change_item *decide, void *argument);
int list_turn(const struct site *p); /* the last one first */
/* Puts these items, which stay the caller's, where a slice is; or takes the slice out. */
int list_replace(const struct site *p, const shoal_slice *slice, const struct item items[],
                 size_t count, bool deletes);

#endif
