/* When two values are equal, and the hash that goes with it. */
#include "message/any.h"
#include <math.h>
#include <string.h>

/* ---- numbers ---- */

#define TWO_63 9223372036854775808.0

static bool fits_64(double f)
{
    return f >= -TWO_63 && f < TWO_63;
}

static bool equal_bytes(const struct any_bytes *a, const struct any_bytes *b)
{
    return a->size == b->size && !memcmp(a->at, b->at, a->size);
}

/* Ints are in one form only: in bytes if and only if they do not fit in 64 bits. */
static bool equal_float_int(double f, const shoal_any *i)
{
    if (!i->big)
        return fits_64(f) && f == (double)(int64_t)f && (int64_t)f == i->integer;
    unsigned char bytes[BIG_FLOAT];
    if (!isfinite(f) || fits_64(f) || i->bytes->size > sizeof bytes)
        return false;
    size_t size = any_float_bytes(f, bytes);
    return size == i->bytes->size && !memcmp(bytes, i->bytes->at, size);
}

static bool equal_numbers(const shoal_any *a, const shoal_any *b)
{
    if (a->kind == SHOAL_ANY_FLOAT)
        return b->kind == SHOAL_ANY_FLOAT ? a->real == b->real : equal_float_int(a->real, b);
    if (b->kind == SHOAL_ANY_FLOAT)
        return equal_float_int(b->real, a);
    if (a->big || b->big)
        return a->big && b->big && equal_bytes(a->bytes, b->bytes);
    return a->integer == b->integer;
}

/* ---- equality ---- */

static bool equal_objects(const struct any_object *a, const struct any_object *b)
{
    return a->type == b->type && a->reference.family == b->reference.family &&
           a->reference.id == b->reference.id && a->reference.generation == b->reference.generation;
}

/* Members are found one by one, which compares them anew; that goes SHOAL_ANY_SETS deep at most. */
static bool equal_sets(const struct any_items *a, const struct any_items *b)
{
    if (a->hash != b->hash)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (items_find(b, 1, &a->at[i]) < 0)
            return false;
    return true;
}

/* Two values without their items; *into: these are to be compared too. */
static bool equal_shallow(const shoal_any *a, const shoal_any *b, bool *into)
{
    if (a->kind != b->kind)
        return any_is_number(a) && any_is_number(b) && equal_numbers(a, b);
    switch (a->kind) {
    case SHOAL_ANY_NONE: return true;
    case SHOAL_ANY_BOOL:
    case SHOAL_ANY_INT:
    case SHOAL_ANY_FLOAT: return equal_numbers(a, b);
    case SHOAL_ANY_STR:
    case SHOAL_ANY_BYTES: return equal_bytes(a->bytes, b->bytes);
    case SHOAL_ANY_OBJECT: return equal_objects(a->object, b->object);
    default: break;
    }
    if (a->items->count != b->items->count || a->name != b->name)
        return false;
    if (a->kind == SHOAL_ANY_SET)
        return equal_sets(a->items, b->items);
    *into = true;
    return true;
}

struct pair {
    const shoal_any *a, *b;
    size_t next;
};

/* The next two nodes to compare; false: there are none, as b has no such key. */
static bool next_pair(struct pair *top, const shoal_any **a, const shoal_any **b)
{
    const struct any_items *in = top->a->items, *other = top->b->items;
    size_t i = top->next;
    if (top->a->kind != SHOAL_ANY_DICT) {
        top->next = i + 1;
        *a = &in->at[i];
        *b = &other->at[i];
        return true;
    }
    ptrdiff_t at = items_find(other, 2, &in->at[i]);
    if (at < 0)
        return false;
    top->next = i + 2;
    *a = &in->at[i + 1];
    *b = &other->at[at + 1];
    return true;
}

bool any_equal(const shoal_any *a, const shoal_any *b)
{
    bool into = false;
    if (!equal_shallow(a, b, &into))
        return false;
    if (!into)
        return true;
    struct pair *bottom = any_on_stack(struct pair, any_depth(a) + 1u), *top = bottom - 1;
    for (;;) {
        if (into)
            *++top = (struct pair){a, b, 0};
        while (top->next == top->a->items->count)
            if (top-- == bottom)
                return true;
        into = false;
        if (!next_pair(top, &a, &b) || !equal_shallow(a, b, &into))
            return false;
    }
}

/* ---- hash ---- */

__extension__ typedef unsigned __int128 uint128;

static uint64_t secret(void)
{
    static _Atomic uint64_t ours;
    uint64_t known = atomic_load_explicit(&ours, memory_order_relaxed);
    if (unlikely(!known)) {
        uint64_t made;
        os_random(&made, sizeof made);
        made |= 1;
        known = atomic_compare_exchange_strong(&ours, &known, made) ? made : known;
    }
    return known;
}

/* A 64 by 64 bit product folded: each bit of both bears on each bit of the result. */
static uint64_t mix(uint64_t hash, uint64_t value)
{
    uint128 product = (uint128)(hash ^ value) * secret();
    return (uint64_t)product ^ (uint64_t)(product >> 64) ^ hash >> 29;
}

static uint64_t mix_bytes(uint64_t hash, const unsigned char *at, size_t size)
{
    uint64_t word;
    hash = mix(hash, size);
    for (; size >= 8; size -= 8, at += 8) {
        memcpy(&word, at, 8);
        hash = mix(hash, word);
    }
    word = 0;
    memcpy(&word, at, size);
    return mix(hash, word);
}

/* Numbers that are equal have the same hash, whatever their kind. */
static uint64_t mix_number(uint64_t hash, const shoal_any *a)
{
    unsigned char bytes[BIG_FLOAT];
    if (a->kind != SHOAL_ANY_FLOAT)
        return a->big ? mix_bytes(hash, a->bytes->at, a->bytes->size)
                      : mix(hash, (uint64_t)a->integer);
    if (fits_64(a->real) && a->real == (double)(int64_t)a->real)
        return mix(hash, (uint64_t)(int64_t)a->real);
    if (isfinite(a->real) && !fits_64(a->real))
        return mix_bytes(hash, bytes, any_float_bytes(a->real, bytes));
    return mix_bytes(hash, (const unsigned char *)&a->real, sizeof a->real);
}

/* A value without its items, but for a set, whose members were hashed when they went in. */
static uint64_t mix_shallow(uint64_t hash, const shoal_any *a)
{
    switch (a->kind) {
    case SHOAL_ANY_NONE: return mix(hash, 1);
    case SHOAL_ANY_BOOL:
    case SHOAL_ANY_INT:
    case SHOAL_ANY_FLOAT: return mix_number(mix(hash, 2), a);
    case SHOAL_ANY_STR:
    case SHOAL_ANY_BYTES: return mix_bytes(mix(hash, a->kind), a->bytes->at, a->bytes->size);
    case SHOAL_ANY_SET: return mix(mix(hash, a->kind), a->items->hash);
    case SHOAL_ANY_OBJECT: return mix(mix(hash, a->kind), a->object->reference.id);
    default: return mix(mix(mix(hash, a->kind), a->name), a->items->count);
    }
}

static bool has_more(const shoal_any *a)
{
    return a->kind == SHOAL_ANY_TUPLE || a->kind == SHOAL_ANY_CONSTRUCT;
}

uint64_t any_hash(const shoal_any *a)
{
    uint64_t hash = mix_shallow(secret() >> 7, a);
    if (!has_more(a))
        return hash;
    struct any_frame *bottom = any_frames(a), *top = bottom;
    *top = (struct any_frame){a, 0};
    for (;;) {
        while (top->next == top->in->items->count)
            if (top-- == bottom)
                return hash;
        a = &top->in->items->at[top->next++];
        hash = mix_shallow(hash, a);
        if (has_more(a))
            *++top = (struct any_frame){a, 0};
    }
}
