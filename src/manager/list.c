/* list: items by number.
 *
 * The items' words (word.h) lie in chunks, which a directory names. An item's absolute number does not
 * change when something is put before the first one or taken from there, so both ends are alike: what is put or
 * taken there moves `end` or `begin`, by a poke where nothing else is to change (a short item is appended or popped), and what lies
 * beyond them in a chunk is free memory.
 * While all chunks but the first and the last are full, which chunk has an item is a division; if not, a
 * search. In the middle a chunk is copied with or without the item, and so is the directory, since the numbers behind
 * it change; from two chunks on that is a 512th of the list.
 *
 * The first arena, of a small list, lies in the object itself. When there is no room, or little is used, or
 * an operation touches all, the list is made anew in another arena (list_remake).
 */
#include "manager/list.h"
#include "region/life.h"
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

void shape_read(const struct reading *r, struct shape *ret)
{
    uint64_t dir = reading_word(r, LIST_AT(dir)), span = reading_word(r, LIST_AT(span));
    *ret = (struct shape){.begin = (int64_t)reading_word(r, LIST_AT(begin)),
                          .end = (int64_t)reading_word(r, LIST_AT(end)),
                          .dir = (uint64_t)HIGH(dir) * GRAIN,
                          .room = LOW(dir),
                          .first = HIGH(span),
                          .count = LOW(span)};
}

bool part_read(const struct reading *r, const struct shape *shape, uint32_t i, struct part *ret)
{
    uint64_t entry = dir_entry(shape, i);
    ret->first = (int64_t)reading_word(r, entry);
    uint64_t where = reading_word(r, entry + 8);
    ret->at = (uint64_t)HIGH(where) * GRAIN;
    ret->room = LOW(where);
    ret->from = ret->first > shape->begin ? ret->first : shape->begin;
    ret->to = i + 1 < shape->count ? (int64_t)reading_word(r, entry + DIR_ENTRY) : shape->end;
    return ret->first <= ret->from && ret->to - ret->first <= CHUNK && ret->to - ret->from >= 0;
}

int64_t part_find(const struct reading *r, const struct shape *shape, int64_t number,
                  struct part *ret)
{
    if (!shape->count)
        return -1;
    int64_t first = (int64_t)reading_word(r, dir_entry(shape, 0));
    uint64_t guess = ((uint64_t)number - (uint64_t)first) / CHUNK;
    if (likely(guess < shape->count) && part_read(r, shape, (uint32_t)guess, ret) &&
        likely(number >= ret->from && number < ret->to))
        return (int64_t)guess;
    uint32_t low = 0, high = shape->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if ((int64_t)reading_word(r, dir_entry(shape, middle)) <= number)
            low = middle;
        else
            high = middle;
    }
    bool good = part_read(r, shape, low, ret) && number >= ret->from && number < ret->to;
    return good ? (int64_t)low : -1;
}

int list_index(const struct site *p, int64_t index, int64_t length, int64_t *ret)
{
    *ret = index < 0 ? index + length : index;
    if (*ret < 0 || *ret >= length)
        return fail(-ERANGE, "%s: index %lld of %lld", p->call, (long long)index,
                    (long long)length);
    return 0;
}

/* Looks until it was at one moment, or *rc, which may be NULL, says that that is no use. `look` says whether what it
 * saw can have been. */
static inline __attribute__((always_inline)) int look_until(const struct site *p,
                                                            bool (*look)(const struct reading *r,
                                                                         void *argument),
                                                            void *argument, const int *rc)
{
    for (unsigned i = 0;; i++) {
        struct reading r;
        bool locked = unlikely(i && i % VAIN == 0) && !store_lock(p, p->stores, os_now() + HURRY);
        store_read(p, p->stores, &r);
        AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
        bool whole = look(&r, argument);
        AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
        whole = reading_holds(&r) && whole;
        if (unlikely(locked))
            store_unlock(p, p->stores);
        if (likely(whole))
            return 0;
        if (rc && *rc)
            return fail(*rc, "%s: out of memory", p->call);
        if (unlikely(locked)) /* nobody else can have changed it */
            return fail(-EBADMSG, "%s: somebody has written into it", p->call);
    }
}

static bool look_at_one(const struct reading *r, void *argument)
{
    struct one *one = argument;
    struct shape shape;
    struct part part;
    shape_read(r, &shape);
    one->length = shape.end - shape.begin;
    int64_t i = one->index < 0 ? one->index + one->length : one->index;
    one->there = i >= 0 && i < one->length;
    if (!one->there)
        return true;
    return part_find(r, &shape, shape.begin + i, &part) >= 0 &&
           word_fetch(r, reading_word(r, place_of(&part, shape.begin + i)), &one->f);
}

int list_one(const struct site *p, int64_t index, struct one *ret)
{
    ret->index = index;
    int rc = look_until(p, look_at_one, ret, NULL);
    if (rc || likely(ret->there))
        return rc;
    return list_index(p, index, ret->length, &index);
}

static bool look_at_length(const struct reading *r, void *argument)
{
    *(int64_t *)argument =
        (int64_t)(reading_word(r, LIST_AT(end)) - reading_word(r, LIST_AT(begin)));
    return true;
}

struct range {
    const shoal_slice *slice;
    struct shot *shot;
    int64_t length;
    int rc; /* -ENOMEM: no use to look again */
};

static bool look_at_range(const struct reading *r, void *argument)
{
    struct range *range = argument;
    struct shape shape;
    struct part part = {0};
    int64_t start, step, count;
    range->shot->count = range->shot->used = 0;
    shape_read(r, &shape);
    range->length = shape.end - shape.begin;
    if (range->length < 0 || (uint64_t)range->length > r->capacity / 8)
        return false;
    slice_resolve(range->slice, range->length, &start, &step, &count);
    for (int64_t n = 0; n < count; n++) {
        int64_t number = shape.begin + start + n * step;
        /* What is no more may be anything, and much. */
        if (n % 256 == 255 && !reading_holds(r))
            return false;
        if ((number < part.from || number >= part.to) && part_find(r, &shape, number, &part) < 0)
            return false;
        if (!shot_add(range->shot, r, reading_word(r, place_of(&part, number)), &range->rc))
            return false;
    }
    return true;
}

int list_shot(const struct site *p, const shoal_slice *slice, struct shot *ret, int64_t *length)
{
    struct range range = {slice, ret, 0, 0};
    bool locked;
    unsigned n = 0;
    int rc;
    do {
        locked = shot_begin(p, ret, n++);
        rc = look_until(p, look_at_range, &range, &range.rc);
    } while (shot_end(p, ret, locked, &rc));
    *length = range.length;
    return rc;
}

/* ---- making anew ---- */

int list_init(const struct site *p)
{
    struct change c;
    change_inner(&c, p, p->stores, LIST_ROOT);
    return 0;
}

/* The words of pieces, in chunks of a new arena. */
static void lay_out(struct change *c, const struct change *from, const struct pieces *pieces,
                    uint32_t parts, uint32_t spare)
{
    uint32_t room = parts + spare, first = spare / 2;
    uint64_t dir = block_new(c, (size_t)room * DIR_ENTRY), chunk = 0;
    for (size_t i = 0; i < pieces->count; i++) {
        const struct piece *piece = &pieces->at[i];
        uint64_t word = piece->word, at;
        size_t size, rest = pieces->count - i;
        if (i % CHUNK == 0) {
            uint32_t has = chunk_room(rest < CHUNK && !i ? rest + rest / 4 : rest);
            uint64_t entry = dir + (first + i / CHUNK) * DIR_ENTRY;
            chunk = block_new(c, has * 8ul);
            change_set(c, entry, i);
            change_set(c, entry + 8, PAIR(chunk / GRAIN, has));
        }
        if (piece->item) {
            word = item_put(c, piece->item);
        } else if (word_block(word, &at, &size)) {
            uint64_t to = block_new(c, size);
            block_fill(c, to, from->base + at, size);
            word = word_moved(word, to);
        }
        change_set(c, chunk + i % CHUNK * 8, word);
    }
    change_set(c, LIST_AT(begin), 0);
    change_set(c, LIST_AT(end), pieces->count);
    change_set(c, LIST_AT(dir), PAIR(dir / GRAIN, room));
    change_set(c, LIST_AT(spare), 0);
    change_set(c, LIST_AT(span), PAIR(first, parts));
}

int list_remake(const struct site *p, const struct pieces *pieces, const struct pieces *out,
                uint64_t bytes, uint32_t entries, uint64_t below)
{
    struct store *s = p->stores;
    struct change c, from;
    uint64_t at, parts = (pieces->count + CHUNK - 1) / CHUNK, need = 0;
    uint32_t notes = 0; /* of messages, so not many */
    size_t size;
    change_begin(&from, p, s);
    for (size_t i = 0; i < pieces->count; i++) {
        const struct piece *piece = &pieces->at[i];
        if (piece->item)
            need += item_room(piece->item);
        else if (word_block(piece->word, &at, &size))
            need += block_size(size);
        notes += piece->item && word_is_message(piece->item->word);
    }
    for (size_t i = 0; out && i < out->count; i++)
        notes += word_is_message(out->at[i].word);
    uint32_t spare = (uint32_t)(parts / 2 + 2);
    need += block_size((parts + spare) * DIR_ENTRY) + parts * CHUNK * 8;
    if (parts == 1)
        need -= CHUNK * 8 - chunk_room(pieces->count + pieces->count / 4) * 8ul;
    if (notes + entries < notes)
        return fail(-ENOMEM, "%s: too many objects", p->call);
    uint64_t least = LIST_ROOT + need + bytes +
                     (uint64_t)(notes + entries + ONE_ENTRIES) * sizeof(struct entry) + 128;
    uint64_t capacity = (least + least / 2 + UNIT - 1) / UNIT * UNIT;
    int rc = 0;
    if (least <= p->inner && from.next)
        change_inner(&c, p, s, LIST_ROOT);
    else if (capacity >= below)
        return 0;
    else
        rc = change_replace(&c, p, s, capacity, LIST_ROOT, 0);
    if (rc)
        return rc;
    rc = change_fits(&c, need, notes);
    if (rc != 1) {
        change_forget(&c);
        return rc ? rc : no_room(p);
    }
    lay_out(&c, &from, pieces, (uint32_t)parts, spare);
    for (size_t i = 0; out && i < out->count; i++)
        if (word_is_message(out->at[i].word))
            change_note(&c, ENTRY_OUT, out->at[i].word);
    change_commit(&c);
    return 0;
}

int list_pieces(const struct site *p, struct pieces *ret)
{
    struct reading r;
    struct shape shape;
    struct part part;
    store_read(p, p->stores, &r);
    shape_read(&r, &shape);
    size_t n = (size_t)(shape.end - shape.begin);
    ret->count = 0;
    ret->at = malloc((n + 1) * sizeof *ret->at);
    if (!ret->at)
        return fail(-ENOMEM, "%s: out of memory", p->call);
    for (uint32_t i = 0; i < shape.count && part_read(&r, &shape, i, &part); i++)
        for (int64_t k = part.from; k < part.to; k++)
            ret->at[ret->count++] = (struct piece){.word = reading_word(&r, place_of(&part, k))};
    return 0;
}

/* Makes sure that there is room for so much. */
int list_room(struct change *c, uint64_t bytes, uint32_t entries)
{
    const struct site *p = c->site;
    struct pieces pieces;
    int rc = change_fits(c, bytes, entries);
    if (likely(rc))
        return rc < 0 ? rc : 0;
    if (change_is_dense(c) && c->limit >= UNIT) {
        struct change larger;
        rc = change_grow(&larger, c, c->limit * 2 + bytes + entries * sizeof(struct entry), 0);
        if (rc)
            return rc;
        change_commit(&larger);
    } else {
        rc = list_pieces(p, &pieces);
        if (rc)
            return rc;
        rc = list_remake(p, &pieces, NULL, bytes, entries, UINT64_MAX);
        free(pieces.at);
        if (rc)
            return rc;
    }
    change_begin(c, p, p->stores);
    rc = change_fits(c, bytes, entries);
    return rc == 1 ? 0 : rc ? rc : no_room(p);
}

/* An arena of which little is used becomes a smaller one, if there is memory for that. */
void list_shrink(const struct site *p)
{
    struct change c;
    struct pieces pieces;
    change_begin(&c, p, p->stores);
    uint64_t live = (uint64_t)LOW(change_get(&c, LIST_AT(arena.bump))) * GRAIN;
    uint64_t items = change_get(&c, LIST_AT(end)) - change_get(&c, LIST_AT(begin));
    /* A few items in one chunk may have place in the object; it is not tried at each step. */
    bool few = items <= CHUNK_LEAST && !(items & (items - 1));
    if (!c.next || (live * 4 > c.limit && !few) || list_pieces(p, &pieces))
        return;
    list_remake(p, &pieces, NULL, 0, 0, c.limit);
    free(pieces.at);
}

int64_t shoal_list_length(const shoal_list *list)
{
    struct site p;
    int64_t length = 0;
    int rc = site_of(&p, list, TYPE_LIST, "shoal_list_length");
    if (!rc)
        rc = look_until(&p, look_at_length, &length, NULL);
    return rc ? rc : length;
}

/* ---- for the type ---- */

void list_each(const struct reading *r, visit_word *visit, void *argument)
{
    struct shape shape;
    struct part part;
    shape_read(r, &shape);
    for (uint32_t i = 0; i < shape.count && part_read(r, &shape, i, &part); i++)
        for (int64_t k = part.from; k < part.to; k++)
            visit(reading_word(r, place_of(&part, k)), argument);
}

uint64_t list_length(const struct look *look, const struct header *h)
{
    struct store s;
    uint64_t ends[2];
    if (!look_payload(look, h, sizeof(struct head), &s, sizeof s))
        return 0;
    unsigned now = atomic_load(&s.state) >> 3 & 3;
    bool there = now ? now <= 2 && look_run(look, atomic_load(&s.runs[now - 1].payload),
                                            LIST_AT(begin), ends, sizeof ends)
                     : look_payload(look, h, sizeof(struct head) + sizeof s + LIST_AT(begin), ends,
                                    sizeof ends);
    return there ? ends[1] - ends[0] : 0;
}
