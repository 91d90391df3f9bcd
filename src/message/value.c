/* Typed values and arrays: memory with a type and, if wanted, an rlock that goes with it.
 *
 * A value is an array of one item under another name. It names its lock by id and generation, and a
 * process that has it open has the lock open too: opened after it, closed after it. Nothing here
 * needs a repair: an item is written by one instruction, and the lock is repaired as every lock.
 */
#include "message/message.h"
#include "region/life.h"
#include "region/object.h"
#include "sync/sync.h"
#include <string.h>
#include <wchar.h>

/* All constant once it is published. lock: its id + 1, 0 for none. */
struct body {
    uint32_t lock;
    uint32_t lock_generation;
    uint64_t length;
    char type;
};
static_assert(sizeof(struct body) <= BODY, "fits in the header");

static struct body *body_of(const struct header *h)
{
    return (struct body *)(uintptr_t)h->body;
}

#define TYPES_OF_INTEGERS "bBhHiIlLqQ"

/* 0 if there is no such type. */
static size_t size_of(char type)
{
    switch (type) {
    case 'c':
    case 'b':
    case 'B': return sizeof(char);
    case 'h':
    case 'H': return sizeof(short);
    case 'i':
    case 'I': return sizeof(int);
    case 'l':
    case 'L': return sizeof(long);
    case 'q':
    case 'Q': return sizeof(long long);
    case 'u': return sizeof(wchar_t);
    case 'f': return sizeof(float);
    case 'd': return sizeof(double);
    }
    return 0;
}

/* ---- its lock ---- */

/* The handle, which this process has open since it has the value open; NULL: there is none. */
static shoal_rlock *lock_of(const struct header *h)
{
    const struct body *b = body_of(h);
    if (!b->lock)
        return NULL;
    return (shoal_rlock *)(void *)((unsigned char *)&handles[b->lock - 1] +
                                   (b->lock_generation & TAG_MASK));
}

/* Opens the lock that a new one is to have, NULL for none, and names it. */
static int lock_for(const shoal_value_options *options, const char *what, shoal_rlock **ret,
                    shoal_reference *reference)
{
    void *lock = NULL;
    int rc;
    if (options && options->flags & SHOAL_UNLOCKED) {
        *ret = NULL;
        return 0;
    }
    if (options && options->lock) {
        rc = object_reference(options->lock, TYPE_RLOCK, what, reference);
        if (!rc)
            rc = object_open(&lock, TYPE_RLOCK, what, reference);
    } else {
        shoal_rlock *own = NULL;
        rc = shoal_rlock_create(&own, NULL);
        if (!rc)
            shoal_rlock_reference(own, reference); /* it is open: it cannot fail */
        lock = own;
    }
    if (!rc)
        *ret = lock;
    return rc;
}

/* ---- creating, opening, closing ---- */

static int check_new(const void *ret, char type, size_t length, const void *initial, size_t size,
                     const shoal_value_options *options, const char *what, size_t *bytes)
{
    unsigned flags = options ? options->flags : 0;
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the handle (NULL)", what);
    if (!size_of(type))
        return fail(-EINVAL, "%s: %d (%c) is none of the types cu" TYPES_OF_INTEGERS "fd", what,
                    type, type > ' ' && type < 127 ? type : '?');
    if (flags & ~SHOAL_UNLOCKED)
        return fail(-EINVAL, "%s: unknown flags %#x", what, flags);
    if (flags && options->lock)
        return fail(-EINVAL, "%s: both a lock and SHOAL_UNLOCKED", what);
    if (__builtin_mul_overflow(length, size_of(type), bytes))
        return fail(-ENOMEM, "%s: %zu items of %zu bytes", what, length, size_of(type));
    if (!initial && size)
        return fail(-EINVAL, "%s: %zu bytes at NULL", what, size);
    if (initial && size != *bytes)
        return fail(-EINVAL, "%s: %zu bytes to begin with, not the %zu of %zu of type %c", what,
                    size, *bytes, length, type);
    return 0;
}

static int create(void **ret, enum type kind, char type, size_t length, const void *initial,
                  size_t size, const shoal_value_options *options, const char *what)
{
    struct header *h;
    shoal_reference reference = {0};
    shoal_rlock *lock = NULL;
    size_t bytes;
    int rc = check_new(ret, type, length, initial, size, options, what, &bytes);
    if (rc)
        return rc;
    rc = lock_for(options, what, &lock, &reference);
    if (rc)
        return rc;
    rc = object_create(&h, kind, bytes ? bytes : 1, options ? options->name : NULL,
                       initial ? OBJECT_RAW : OBJECT_ZERO);
    if (rc) {
        object_close(lock, TYPE_RLOCK);
        return rc;
    }
    h->size = bytes;
    if (bytes && initial)
        memcpy(header_payload(h), initial, bytes);
    *body_of(h) = (struct body){.lock = lock ? reference.id + 1 : 0,
                                .lock_generation = reference.generation,
                                .length = length,
                                .type = type};
    *ret = object_publish(h);
    return 0;
}

static int open_with_lock(void **ret, enum type kind, const char *what,
                          const shoal_reference *reference)
{
    void *opened, *lock;
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the handle (NULL)", what);
    int rc = object_open(&opened, kind, what, reference);
    if (rc)
        return rc;
    const struct body *b = body_of(header_of(opened, kind));
    if (b->lock && !MUTANT(140)) {
        /* The last who had both may just be closing them: then the lock may be gone before the
         * value. */
        shoal_reference its = {reference->family, b->lock - 1, b->lock_generation};
        rc = object_open(&lock, TYPE_RLOCK, what, &its);
    }
    if (rc)
        object_close(opened, kind);
    else
        *ret = opened;
    return rc;
}

static void close_with_lock(void *opaque, enum type kind)
{
    struct header *h = header_of(opaque, kind);
    shoal_rlock *lock = h ? lock_of(h) : NULL;
    object_close(opaque, kind);
    if (!MUTANT(141))
        object_close(lock, TYPE_RLOCK);
}

/* ---- items ---- */

/* Items of an open value or array. */
struct items {
    void *at;
    size_t size; /* of one */
    char type;
    shoal_rlock *lock;
};

static int find(const void *opaque, enum type kind, size_t first, size_t n, const char *what,
                struct items *ret)
{
    struct header *h = header_of(opaque, kind);
    if (unlikely(!h))
        return bad_handle(opaque, what);
    const struct body *b = body_of(h);
    if (unlikely(first > b->length || n > b->length - first)) {
        if (n == 1)
            return fail(-ERANGE, "%s: index %zu, but the array has %llu items", what, first,
                        (unsigned long long)b->length);
        return fail(-ERANGE, "%s: %zu items from index %zu on, but the array has %llu items", what,
                    n, first, (unsigned long long)b->length);
    }
    size_t size = size_of(b->type);
    *ret = (struct items){(unsigned char *)header_payload(h) + first * size, size, b->type,
                          lock_of(h)};
    return 0;
}

/* Item by item, each in one step. One side is shared and aligned, the other one the caller's and
 * perhaps not. */
#define COPY_OUT(bits)                                                                           \
    for (size_t i = 0; i < n; i++) {                                                             \
        uint##bits##_t item =                                                                    \
            atomic_load_explicit((_Atomic uint##bits##_t *)items->at + i, memory_order_acquire); \
        memcpy((unsigned char *)ret + i * sizeof item, &item, sizeof item);                      \
    }
#define COPY_IN(bits)                                                              \
    for (size_t i = 0; i < n; i++) {                                               \
        uint##bits##_t item;                                                       \
        memcpy(&item, (const unsigned char *)from + i * sizeof item, sizeof item); \
        atomic_store_explicit((_Atomic uint##bits##_t *)items->at + i, item,       \
                              memory_order_release);                               \
    }

static void copy_out(const struct items *items, size_t n, void *ret)
{
    switch (items->size) {
    case 1: COPY_OUT(8) break;
    case 2: COPY_OUT(16) break;
    case 4: COPY_OUT(32) break;
    default: COPY_OUT(64) break;
    }
}

static void copy_in(const struct items *items, size_t n, const void *from)
{
    switch (items->size) {
    case 1: COPY_IN(8) break;
    case 2: COPY_IN(16) break;
    case 4: COPY_IN(32) break;
    default: COPY_IN(64) break;
    }
}

/* Copies to `ret` or, if that is NULL, from `from`. */
static int copy(const void *opaque, enum type kind, size_t first, size_t n, void *ret,
                const void *from, size_t size, int64_t deadline, const char *what)
{
    struct items items;
    int rc = find(opaque, kind, first, n, what, &items);
    if (rc)
        return rc;
    if (unlikely((n && !ret && !from) || size != n * items.size))
        return fail(-EINVAL, "%s: a buffer of %zu bytes at %p for %zu of %zu bytes", what, size,
                    ret ? ret : from, n, items.size);
    if (items.lock && !MUTANT(142))
        rc = rlock_acquire(items.lock, deadline, what);
    if (rc < 0)
        return waited(rc, what, opaque, kind, deadline);
    if (ret)
        copy_out(&items, n, ret);
    else
        copy_in(&items, n, from);
    if (items.lock)
        shoal_rlock_release(items.lock);
    return rc;
}

/* ---- integers, in one step ---- */

/* 8, 16, 32 or 64 bits as a number of the type. */
static int64_t number(const struct items *items, uint64_t bits)
{
    unsigned spare = 64 - 8 * (unsigned)items->size;
    bits <<= spare;
    return items->type >= 'a' ? (int64_t)bits >> spare : (int64_t)(bits >> spare);
}

static int find_integer(const void *opaque, enum type kind, size_t index, const char *what,
                        struct items *ret)
{
    int rc = find(opaque, kind, index, 1, what, ret);
    if (!rc && !strchr(TYPES_OF_INTEGERS, ret->type))
        return fail(-EINVAL, "%s: type %c is not an integer's", what, ret->type);
    return rc;
}

static int add(const void *opaque, enum type kind, size_t index, int64_t n, int64_t *before,
               const char *what)
{
    struct items i;
    uint64_t old;
    int rc = find_integer(opaque, kind, index, what, &i);
    if (rc)
        return rc;
    switch (i.size) {
    case 1: old = atomic_fetch_add((_Atomic uint8_t *)i.at, (uint8_t)n); break;
    case 2: old = atomic_fetch_add((_Atomic uint16_t *)i.at, (uint16_t)n); break;
    case 4: old = atomic_fetch_add((_Atomic uint32_t *)i.at, (uint32_t)n); break;
    default: old = atomic_fetch_add((_Atomic uint64_t *)i.at, (uint64_t)n); break;
    }
    if (before)
        *before = number(&i, old);
    return 0;
}

static int exchange(const void *opaque, enum type kind, size_t index, int64_t n, int64_t *before,
                    const char *what)
{
    struct items i;
    uint64_t old;
    int rc = find_integer(opaque, kind, index, what, &i);
    if (rc)
        return rc;
    switch (i.size) {
    case 1: old = atomic_exchange((_Atomic uint8_t *)i.at, (uint8_t)n); break;
    case 2: old = atomic_exchange((_Atomic uint16_t *)i.at, (uint16_t)n); break;
    case 4: old = atomic_exchange((_Atomic uint32_t *)i.at, (uint32_t)n); break;
    default: old = atomic_exchange((_Atomic uint64_t *)i.at, (uint64_t)n); break;
    }
    if (before)
        *before = number(&i, old);
    return 0;
}

#define COMPARE_EXCHANGE(bits)                                                      \
    {                                                                               \
        uint##bits##_t was = (uint##bits##_t) * expected;                           \
        done = atomic_compare_exchange_strong((_Atomic uint##bits##_t *)i.at, &was, \
                                              (uint##bits##_t)n);                   \
        old = was;                                                                  \
    }

static int compare_exchange(const void *opaque, enum type kind, size_t index, int64_t *expected,
                            int64_t n, const char *what)
{
    struct items i;
    uint64_t old;
    bool done;
    int rc = find_integer(opaque, kind, index, what, &i);
    if (rc)
        return rc;
    if (!expected)
        return fail(-EINVAL, "%s: NULL for what is expected", what);
    switch (i.size) {
    case 1: COMPARE_EXCHANGE(8) break;
    case 2: COMPARE_EXCHANGE(16) break;
    case 4: COMPARE_EXCHANGE(32) break;
    default: COMPARE_EXCHANGE(64) break;
    }
    if (!done)
        *expected = number(&i, old);
    return done;
}

/* ---- the public face ---- */

static int lock_or_fail(const void *opaque, enum type kind, const char *what, shoal_rlock **ret)
{
    struct header *h = header_of(opaque, kind);
    if (unlikely(!h))
        return bad_handle(opaque, what);
    *ret = lock_of(h);
    return *ret ? 0 : fail(-EINVAL, "%s: it was made without a lock", what);
}

static struct header *header_or_detail(const void *opaque, enum type kind, const char *what)
{
    struct header *h = header_of(opaque, kind);
    if (!h)
        bad_handle(opaque, what);
    return h;
}

/* What is the same for both. */
#define FACE(name, kind)                                                                    \
    void *shoal_##name##_address(const shoal_##name *handle)                                \
    {                                                                                       \
        struct header *h = header_or_detail(handle, kind, "shoal_" #name "_address");       \
        return h ? header_payload(h) : NULL;                                                \
    }                                                                                       \
    int shoal_##name##_type(const shoal_##name *handle)                                     \
    {                                                                                       \
        struct header *h = header_of(handle, kind);                                         \
        return h ? body_of(h)->type : bad_handle(handle, "shoal_" #name "_type");           \
    }                                                                                       \
    size_t shoal_##name##_size(const shoal_##name *handle)                                  \
    {                                                                                       \
        struct header *h = header_or_detail(handle, kind, "shoal_" #name "_size");          \
        return h ? h->size : 0;                                                             \
    }                                                                                       \
    int shoal_##name##_acquire(shoal_##name *handle, int64_t deadline)                      \
    {                                                                                       \
        shoal_rlock *lock;                                                                  \
        int rc = lock_or_fail(handle, kind, "shoal_" #name "_acquire", &lock);              \
        rc = rc ? rc : rlock_acquire(lock, deadline, "shoal_" #name "_acquire");            \
        return waited(rc, "shoal_" #name "_acquire", handle, kind, deadline);               \
    }                                                                                       \
    int shoal_##name##_release(shoal_##name *handle)                                        \
    {                                                                                       \
        shoal_rlock *lock;                                                                  \
        int rc = lock_or_fail(handle, kind, "shoal_" #name "_release", &lock);              \
        return rc ? rc : rlock_release(lock, "shoal_" #name "_release");                    \
    }                                                                                       \
    shoal_rlock *shoal_##name##_get_lock(const shoal_##name *handle)                        \
    {                                                                                       \
        shoal_rlock *lock;                                                                  \
        return lock_or_fail(handle, kind, "shoal_" #name "_get_lock", &lock) ? NULL : lock; \
    }                                                                                       \
    int shoal_##name##_reference(const shoal_##name *handle, shoal_reference *ret)          \
    {                                                                                       \
        return object_reference(handle, kind, "shoal_" #name "_reference", ret);            \
    }                                                                                       \
    int shoal_##name##_open(shoal_##name **ret, const shoal_reference *reference)           \
    {                                                                                       \
        return open_with_lock((void **)ret, kind, "shoal_" #name "_open", reference);       \
    }                                                                                       \
    shoal_##name *shoal_##name##_close(shoal_##name *handle)                                \
    {                                                                                       \
        close_with_lock(handle, kind);                                                      \
        return NULL;                                                                        \
    }

FACE(value, TYPE_VALUE)
FACE(array, TYPE_ARRAY)

int shoal_value_create(shoal_value **ret, char type, const void *initial, size_t size,
                       const shoal_value_options *options)
{
    return create((void **)ret, TYPE_VALUE, type, 1, initial, size, options, "shoal_value_create");
}

int shoal_array_create(shoal_array **ret, char type, size_t length, const void *initial,
                       size_t size, const shoal_value_options *options)
{
    return create((void **)ret, TYPE_ARRAY, type, length, initial, size, options,
                  "shoal_array_create");
}

size_t shoal_array_length(const shoal_array *array)
{
    struct header *h = header_or_detail(array, TYPE_ARRAY, "shoal_array_length");
    return h ? body_of(h)->length : 0;
}

int shoal_value_get(shoal_value *value, void *ret, size_t size, int64_t deadline)
{
    return copy(value, TYPE_VALUE, 0, 1, ret, NULL, size, deadline, "shoal_value_get");
}

int shoal_value_set(shoal_value *value, const void *from, size_t size, int64_t deadline)
{
    return copy(value, TYPE_VALUE, 0, 1, NULL, from, size, deadline, "shoal_value_set");
}

int shoal_array_get(shoal_array *array, size_t first, size_t n, void *ret, size_t size,
                    int64_t deadline)
{
    return copy(array, TYPE_ARRAY, first, n, ret, NULL, size, deadline, "shoal_array_get");
}

int shoal_array_set(shoal_array *array, size_t first, size_t n, const void *from, size_t size,
                    int64_t deadline)
{
    return copy(array, TYPE_ARRAY, first, n, NULL, from, size, deadline, "shoal_array_set");
}

int shoal_value_add(shoal_value *value, int64_t n, int64_t *before)
{
    return add(value, TYPE_VALUE, 0, n, before, "shoal_value_add");
}

int shoal_value_exchange(shoal_value *value, int64_t n, int64_t *before)
{
    return exchange(value, TYPE_VALUE, 0, n, before, "shoal_value_exchange");
}

int shoal_value_compare_exchange(shoal_value *value, int64_t *expected, int64_t n)
{
    return compare_exchange(value, TYPE_VALUE, 0, expected, n, "shoal_value_compare_exchange");
}

int shoal_array_add(shoal_array *array, size_t index, int64_t n, int64_t *before)
{
    return add(array, TYPE_ARRAY, index, n, before, "shoal_array_add");
}

int shoal_array_exchange(shoal_array *array, size_t index, int64_t n, int64_t *before)
{
    return exchange(array, TYPE_ARRAY, index, n, before, "shoal_array_exchange");
}

int shoal_array_compare_exchange(shoal_array *array, size_t index, int64_t *expected, int64_t n)
{
    return compare_exchange(array, TYPE_ARRAY, index, expected, n, "shoal_array_compare_exchange");
}

/* ---- inspection ---- */

void value_describe(struct description *d, const struct header *h)
{
    const struct body *b = body_of(h);
    describe_letter(d, "of", b->type);
    describe_number(d, "length", b->length);
    if (b->lock)
        describe_number(d, "lock", b->lock - 1);
}

/* ---- for messages ---- */

static bool part(struct header *h, uint32_t *id, uint32_t *generation)
{
    *id = body_of(h)->lock - 1;
    *generation = body_of(h)->lock_generation;
    return body_of(h)->lock;
}

const struct type_repair value_repair = {.part = part};
