/* Keys of dicts (key.h). */
#include "manager/key.h"
#include "message/pickle.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- hash: 16 bytes at a time, each multiplied with what is secret and what came before ---- */

__extension__ typedef unsigned __int128 uint128;

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    uint128 product = (uint128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load(const unsigned char *at, size_t size)
{
    uint64_t word = 0;
    if (size >= 8)
        memcpy(&word, at, 8);
    else if (size >= 4) { /* the halves overlap */
        uint32_t low, high;
        memcpy(&low, at, 4);
        memcpy(&high, at + size - 4, 4);
        word = (uint64_t)high << 32 | low;
    } else if (size) {
        word = at[0] | (uint64_t)at[size / 2] << 8 | (uint64_t)at[size - 1] << 16;
    }
    return word;
}

static inline uint64_t hash(const uint64_t secret[2], unsigned kind, const unsigned char *at,
                            size_t size)
{
    uint64_t h = fold(secret[0] ^ kind, secret[1] ^ size);
    for (; size > 16; size -= 16, at += 16)
        h = fold(load(at, 8) ^ secret[1], load(at + 8, 8) ^ h);
    uint64_t first = load(at, size), second = size > 8 ? load(at + size - 8, 8) : 0;
    return fold(fold(first ^ secret[1], second ^ h) ^ secret[0], h | 1);
}

/* ---- what has items ---- */

struct out {
    unsigned char *at;
    size_t size, room;
    int rc;
};

static void put(struct out *out, const void *bytes, size_t size)
{
    if (out->rc)
        return;
    if (size > KEY_MOST || out->size + size > KEY_MOST) {
        out->rc = -EMSGSIZE;
        return;
    }
    if (out->size + size > out->room) {
        size_t room = (out->size + size) * 2;
        unsigned char *more = realloc(out->at, room);
        if (!more) {
            out->rc = -ENOMEM;
            return;
        }
        out->at = more;
        out->room = room;
    }
    if (size)
        memcpy(out->at + out->size, bytes, size);
    out->size += size;
}

static void put_number(struct out *out, uint64_t number)
{
    put(out, &number, sizeof number);
}

static bool shallow(struct key *key, const shoal_any *a);
static void put_value(struct out *out, const shoal_any *a);

static int by_bytes(const void *a, const void *b)
{
    const struct out *x = a, *y = b;
    size_t size = x->size < y->size ? x->size : y->size;
    int way = size ? memcmp(x->at, y->at, size) : 0;
    return way ? way : x->size < y->size ? -1 : x->size > y->size;
}

static void put_set(struct out *out, const struct any_items *items)
{
    struct out *members = calloc(items->count + 1, sizeof *members);
    if (!members) {
        out->rc = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < items->count && !out->rc; i++) {
        put_value(&members[i], &items->at[i]);
        out->rc = members[i].rc;
    }
    if (!out->rc)
        qsort(members, items->count, sizeof *members, by_bytes);
    for (size_t i = 0; i < items->count; i++) {
        put(out, members[i].at, members[i].size);
        free(members[i].at);
    }
    free(members);
}

/* As deep as values are: SHOAL_ANY_DEPTH. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static void put_value(struct out *out, const shoal_any *a)
{
    struct key key = {0};
    if (shallow(&key, a)) {
        put_number(out, key.kind);
        put_number(out, key.size);
        put(out, key.bytes, key.size);
        return;
    }
    put_number(out, KEY_DEEP + a->kind);
    put_number(out, a->name);
    put_number(out, a->items->count);
    if (a->kind == SHOAL_ANY_SET)
        put_set(out, a->items);
    else
        for (size_t i = 0; i < a->items->count && !out->rc; i++)
            put_value(out, &a->items->at[i]);
}

/* ---- what has not ---- */

#define TWO_63 9223372036854775808.0

static void of_int(struct key *key, int64_t value)
{
    key->kind = KEY_INT;
    memcpy(key->few, &value, sizeof value);
    key->bytes = key->few;
    key->size = sizeof value;
}

/* False: it has items. The bytes of a large float last until the next one of the thread. */
static bool shallow(struct key *key, const shoal_any *a)
{
    static _Thread_local unsigned char big[BIG_FLOAT];
    switch (a->kind) {
    case SHOAL_ANY_NONE:
        key->kind = KEY_NONE;
        key->bytes = "";
        return true;
    case SHOAL_ANY_BOOL: of_int(key, a->integer); return true;
    case SHOAL_ANY_INT:
        if (a->big) {
            key->kind = KEY_INT;
            key->bytes = a->bytes->at;
            key->size = a->bytes->size;
        } else {
            of_int(key, a->integer);
        }
        return true;
    case SHOAL_ANY_FLOAT:
        if (a->real >= -TWO_63 && a->real < TWO_63 && a->real == (double)(int64_t)a->real) {
            of_int(key, (int64_t)a->real);
        } else if (isfinite(a->real) && fabs(a->real) >= TWO_63) {
            key->kind = KEY_INT;
            key->size = any_float_bytes(a->real, big);
            key->bytes = big;
        } else {
            double real = isnan(a->real) ? NAN : a->real; /* whatever its sign and payload */
            key->kind = KEY_FLOAT;
            memcpy(key->few, &real, sizeof real);
            key->bytes = key->few;
            key->size = sizeof a->real;
        }
        return true;
    case SHOAL_ANY_STR:
    case SHOAL_ANY_BYTES:
        key->kind = a->kind == SHOAL_ANY_STR ? KEY_STR : KEY_BYTES;
        key->bytes = a->bytes->at;
        key->size = a->bytes->size;
        return true;
    default: return false;
    }
}

/* The pickle of the key itself, where its bytes do not tell what it was. */
static int keep_first(struct key *key, const shoal_any *any)
{
    size_t size = 0;
    int rc = pickle_measure(any, &size, NULL);
    if (rc)
        return rc;
    key->first = key->made_first = malloc(size);
    if (!key->made_first)
        return -ENOMEM;
    pickle_write(any, key->made_first);
    key->first_size = size;
    return 0;
}

static int check_size(const struct key *key, const struct site *p)
{
    return key->size + key->first_size <= KEY_MOST
               ? 0
               : fail(-EMSGSIZE, "%s: a key of %zu bytes; at most %d", p->call,
                      key->size + key->first_size, KEY_MOST);
}

int key_of_any(struct key *ret, const struct site *p, const shoal_any *any)
{
    struct out out = {0};
    if (!any)
        return any_is_null(p->call);
    *ret = (struct key){0};
    if (!any_hashable(any) || any->kind == SHOAL_ANY_OBJECT ||
        (any_has_items(any) && any->items->objects))
        return fail(-EINVAL, "%s: %s cannot be a key", p->call, any_kind_name(any));
    int rc = 0;
    bool plain = shallow(ret, any);
    if (!plain) {
        put_value(&out, any);
        ret->kind = KEY_DEEP;
        ret->bytes = ret->made = out.at;
        ret->size = out.size;
        rc = out.rc;
    }
    if (plain && any->kind == SHOAL_ANY_FLOAT && ret->kind == KEY_INT && ret->bytes != ret->few) {
        /* there may be other keys before this one is put */
        ret->made = malloc(ret->size);
        if (ret->made)
            ret->bytes = memcpy(ret->made, ret->bytes, ret->size);
        else
            rc = -ENOMEM;
    }
    if (!rc && (!plain || any->kind == SHOAL_ANY_BOOL ||
                (any->kind == SHOAL_ANY_FLOAT && ret->kind == KEY_INT)))
        rc = keep_first(ret, any);
    if (rc == -EMSGSIZE)
        ret->size = KEY_MOST + 1; /* for the sentence */
    if (!rc || rc == -EMSGSIZE)
        rc = check_size(ret, p);
    if (rc) {
        key_end(ret);
        return rc == -ENOMEM ? fail(rc, "%s: out of memory", p->call) : rc;
    }
    ret->hash = hash(p->head->secret, ret->kind, ret->bytes, ret->size);
    return 0;
}

int key_of_text(struct key *ret, const struct site *p, unsigned kind, const void *bytes,
                size_t size)
{
    ret->kind = kind;
    ret->bytes = bytes;
    ret->size = size;
    ret->first = ret->made = ret->made_first = NULL;
    ret->first_size = 0;
    if (unlikely(!bytes && size))
        return fail(-EINVAL, "%s: a key of %zu bytes at NULL", p->call, size);
    if (unlikely(size > KEY_MOST))
        return check_size(ret, p);
    ret->hash = hash(p->head->secret, kind, bytes, size);
    return 0;
}

void key_end(struct key *key)
{
    free(key->made);
    free(key->made_first);
    key->made = key->made_first = NULL;
}

int key_any(uint64_t info, const unsigned char *bytes, shoal_any **ret)
{
    size_t size = KEY_SIZE(info);
    double real;
    if (KEY_FIRST(info))
        return pickle_read(ret, bytes + size, KEY_FIRST(info), NULL, NULL, 0);
    switch (KEY_KIND(info)) {
    case KEY_NONE: *ret = shoal_any_none(); break;
    case KEY_INT: *ret = shoal_any_int_bytes(bytes, size); break;
    case KEY_FLOAT:
        memcpy(&real, bytes, sizeof real);
        *ret = shoal_any_float(real);
        break;
    case KEY_STR: *ret = shoal_any_str_sized((const char *)bytes, size); break;
    default: *ret = shoal_any_bytes(bytes, size); break;
    }
    return *ret ? 0 : -ENOMEM;
}
