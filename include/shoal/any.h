/* shoal/any.h - a value as Python knows it: what messages are made of.
 *
 * An any is a tree in private memory: none, bool, int of any size, float, str, bytes, list, tuple,
 * dict, set; a *construct*, which is a name and its arguments, as in range(0, 3, 1) or
 * ValueError('no'); or an *object* of the family (a queue, a lock, …).
 *
 *     shoal_any *a = shoal_any_list(shoal_any_int(42), shoal_any_none(), shoal_any_str("hello"));
 *     if (!a)
 *         return report(shoal_error_detail());
 *
 * Who builds owns: what a builder returns is the caller's, until it is given to another builder or
 * shoal_any_free. A builder takes over everything that it is given, also when it fails: it returns
 * NULL (out of memory, bad UTF-8, a list as a key, NULL among the items …), so that one look at the
 * end suffices; that may be the one of a call that sends or puts it, which then fails with -EINVAL
 * and the builder's sentence. Looking at an any gives pointers into it: `const`, valid until it is
 * changed or freed. A call that is given NULL where it wants an any returns -EINVAL.
 *
 * Several threads may look at an any at the same time; only its owner changes or frees it, alone.
 * Nothing here is shared memory: a process that dies takes its own anys along and no others. No
 * call may be made in a signal handler.
 */
#ifndef SHOAL_ANY_H
#define SHOAL_ANY_H

#include <shoal/error.h>
#include <shoal/memory.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct shoal_any shoal_any;

enum {
    SHOAL_ANY_NONE,
    SHOAL_ANY_BOOL,
    SHOAL_ANY_INT,
    SHOAL_ANY_FLOAT,
    SHOAL_ANY_STR,
    SHOAL_ANY_BYTES,
    SHOAL_ANY_LIST,
    SHOAL_ANY_TUPLE,
    SHOAL_ANY_DICT, /* in the order of insertion */
    SHOAL_ANY_SET,  /* a frozenset too */
    SHOAL_ANY_CONSTRUCT,
    SHOAL_ANY_OBJECT
};

/* How deep values may be nested: a list of lists of ints has depth 2. What would be deeper is not
 * built, and -EBADMSG where it is read. (Sets in sets and in keys: SHOAL_ANY_SETS.) */
#define SHOAL_ANY_DEPTH 1000
#define SHOAL_ANY_SETS 32

/* How many values are read from one message, unless a limit (below) says otherwise. An any with more
 * in it is not put into a queue or sent through a pipe: -EMSGSIZE. */
#define SHOAL_ANY_NODES 67108864u

/* ---- building: NULL on failure, shoal_error_detail says why ---- */

SHOAL_API shoal_any *shoal_any_none(void);
SHOAL_API shoal_any *shoal_any_bool(bool value);
SHOAL_API shoal_any *shoal_any_int(int64_t value);
SHOAL_API shoal_any *shoal_any_uint(uint64_t value);
/* An int of any size: two's complement, least significant byte first; 0 bytes are 0. */
SHOAL_API shoal_any *shoal_any_int_bytes(const void *bytes, size_t size);
SHOAL_API shoal_any *shoal_any_float(double value);
/* A copy of UTF-8 text; what Python calls lone surrogates may be in it, encoded like any other code
 * point (U+D800 is ED A0 80). */
SHOAL_API shoal_any *shoal_any_str(const char *text);
SHOAL_API shoal_any *shoal_any_str_sized(const char *text, size_t size); /* zero bytes are text */
SHOAL_API shoal_any *shoal_any_bytes(const void *bytes, size_t size);    /* a copy */

/* Up to 64 items, also none (in C; more do not compile; in C++ any number): shoal_any_list(a, b, c),
 * shoal_any_dict(key, value, key, value).
 * Keys and members of sets are what Python can hash: no lists, dicts, sets (but frozensets) or
 * bytearrays, nor tuples with such inside. Of equal keys the first stays, with the last one's
 * value; of equal members the first. */
#ifndef __cplusplus
#define shoal_any_list(...) SHOAL_ANY_MAKE_(list, #__VA_ARGS__, __VA_ARGS__)
#define shoal_any_tuple(...) SHOAL_ANY_MAKE_(tuple, #__VA_ARGS__, __VA_ARGS__)
#define shoal_any_dict(...) SHOAL_ANY_MAKE_(dict, #__VA_ARGS__, __VA_ARGS__)
#define shoal_any_set(...) SHOAL_ANY_MAKE_(set, #__VA_ARGS__, __VA_ARGS__)
#define shoal_any_frozenset(...) SHOAL_ANY_MAKE_(frozenset, #__VA_ARGS__, __VA_ARGS__)
#endif
/* The same with any number of items, in an array; a dict's are key, value, key, value, …. The array
 * stays the caller's. NULL is as good as an array of none. */
SHOAL_API shoal_any *shoal_any_list_from(shoal_any *const items[], size_t count);
SHOAL_API shoal_any *shoal_any_tuple_from(shoal_any *const items[], size_t count);
SHOAL_API shoal_any *shoal_any_dict_from(shoal_any *const items[], size_t count);
SHOAL_API shoal_any *shoal_any_set_from(shoal_any *const items[], size_t count);
SHOAL_API shoal_any *shoal_any_frozenset_from(shoal_any *const items[], size_t count);

/* range, slice, complex, bytearray, array.array, reversed, one of Python's built-in exceptions,
 * queue.Empty, queue.Full, threading.BrokenBarrierError; and what managers send (manager.h):
 * multiprocessing.Token, multiprocessing.RebuildProxy and the classes of proxies, as
 * multiprocessing.ListProxy; any other name is an error. `arguments` is a tuple, with which Python could
 * call it: range: three ints, the last not 0; slice: three of anything; complex: two floats; bytearray:
 * one bytes; array.array: a type's character and bytes; reversed: a list. A class of proxies without
 * arguments is the class itself, not called. */
SHOAL_API shoal_any *shoal_any_construct(const char *name, shoal_any *arguments);

/* An object of the family, by any open handle of it: a lock, queue, memory, value, …, or a connection
 * that is the end of a pipe. The any holds the object, as one more open of it would, until it is freed
 * (so does each copy); the handle stays the caller's. In a message (queue.h, pipe.h) it travels
 * to another process, and the message holds it on the way. Whoever has the any gets a handle by
 * shoal_any_as_reference and the object's own _open. A socket's connection is no such object. */
SHOAL_API shoal_any *shoal_any_object(const void *handle);

/* A whole copy of an any, or of what lies inside one. */
SHOAL_API shoal_any *shoal_any_copy(const shoal_any *any);
/* Takes NULL and returns NULL. What lies inside another any is left alone. */
SHOAL_API shoal_any *shoal_any_free(shoal_any *any);

/* ---- changing: only what stands alone, not what lies inside another any ---- */

/* They take over what they are given, also when they fail: -EINVAL (of another kind; cannot be a
 * key; NULL; would be too deep), -ENOMEM; the container is then as it was. Memory of a value that
 * was replaced is given back with the whole. */
SHOAL_API int shoal_any_append(shoal_any *list, shoal_any *item);
SHOAL_API int shoal_any_put(shoal_any *dict, shoal_any *key, shoal_any *value);
SHOAL_API int shoal_any_add(shoal_any *set, shoal_any *member); /* not to a frozenset */

/* ---- looking ---- */

/* SHOAL_ANY_…, or -EINVAL. */
SHOAL_API int shoal_any_kind(const shoal_any *any);

/* All of these: 0, or -EINVAL for another kind, in words ("is a str, not an int"), or for NULL. Only
 * `size` may be NULL. */
SHOAL_API int shoal_any_as_bool(const shoal_any *any, bool *ret);
/* An int or a bool. -ERANGE: it needs more than 64 bits. */
SHOAL_API int shoal_any_as_int(const shoal_any *any, int64_t *ret);
SHOAL_API int shoal_any_as_uint(const shoal_any *any, uint64_t *ret); /* -ERANGE: nor if negative */
/* An int as two's complement, least significant byte first; of 8 bytes or more. */
SHOAL_API int shoal_any_as_int_bytes(const shoal_any *any, const void **ret, size_t *size);
/* A float; or an int or a bool, rounded. -ERANGE: an int beyond the largest float. */
SHOAL_API int shoal_any_as_float(const shoal_any *any, double *ret);
/* Behind the text stands a zero byte. Without `size` a text that has one inside is -EINVAL. */
SHOAL_API int shoal_any_as_str(const shoal_any *any, const char **ret, size_t *size);
SHOAL_API int shoal_any_as_bytes(const shoal_any *any, const void **ret, size_t *size);
/* Of an object, for its _open (-EINVAL there: of another kind). Good as long as the any is there. */
SHOAL_API int shoal_any_as_reference(const shoal_any *any, shoal_reference *ret);
SHOAL_API int shoal_any_as_construct(const shoal_any *any, const char **name,
                                     const shoal_any **arguments);
/* What Python adds to an exception beyond its arguments (its notes, attributes): a dict. -ENOENT:
 * nothing. */
SHOAL_API int shoal_any_state(const shoal_any *any, const shoal_any **ret);
SHOAL_API int shoal_any_frozen(const shoal_any *set); /* 1 a frozenset, 0 a set, -EINVAL */

/* How many items, entries or members a list, tuple, dict or set has, or -EINVAL. */
SHOAL_API int64_t shoal_any_count(const shoal_any *any);
/* Item `index` of a list or tuple, or member of a set in the order of insertion; -1 is the last.
 * -ERANGE: beyond the end. */
SHOAL_API int shoal_any_at(const shoal_any *any, int64_t index, const shoal_any **ret);
/* Entry `index` of a dict in the order of insertion; key and value may be NULL. -ERANGE. */
SHOAL_API int shoal_any_entry(const shoal_any *dict, int64_t index, const shoal_any **key,
                              const shoal_any **value);
/* The value of a key: -ENOENT: there is none; -EINVAL: it cannot be one. */
SHOAL_API int shoal_any_get(const shoal_any *dict, const shoal_any *key, const shoal_any **ret);
SHOAL_API int shoal_any_get_str(const shoal_any *dict, const char *key, const shoal_any **ret);
/* 1 or 0: whether a set has this member, a dict this key, a list or tuple this item. */
SHOAL_API int shoal_any_contains(const shoal_any *any, const shoal_any *item);

/* 1 or 0, as Python's ==: 1, 1.0 and True are equal, nan is not, dicts and sets have no order.
 * Constructs are equal if names, arguments and states are; objects if they are the same one. */
SHOAL_API int shoal_any_equal(const shoal_any *a, const shoal_any *b);
/* Python's repr, as text that the caller frees. Different: beyond Latin-1 every character is taken
 * for printable but those that Unicode calls formats, separators, surrogates or private; ints of
 * more than 4300 digits are hexadecimal; exceptions show all their arguments. 0, -ENOMEM, or -EINVAL
 * for NULL. */
SHOAL_API int shoal_any_repr(const shoal_any *any, char **ret);

/* ---- bytes ---- */

/* What decoding may cost; a zero field means the default, and so does NULL instead of all of them.
 * What a message refers to several times counts each time. */
typedef struct shoal_any_limits {
    unsigned depth; /* at most SHOAL_ANY_DEPTH, which is the default */
    size_t nodes;   /* values, each item, key and entry's value; default SHOAL_ANY_NODES */
    /* of memory; default 1 GiB + 64 times the size of the message, which is not enough for one of more
     * than 2^24 empty lists, say */
    size_t bytes;
} shoal_any_limits;

/* Bytes that Python's pickle.loads reads (protocol 4); the caller frees them. -EINVAL: an object is
 * in it, which means nothing outside of its family. -ENOMEM. */
SHOAL_API int shoal_any_encode(const shoal_any *any, void **ret, size_t *size);
/* Reads what Python's pickle writes (protocols 2 to 5) for the kinds above. -EBADMSG: anything else
 * (broken, refers to itself, another class, beyond the limits), in words. -EINVAL: bad limits.
 * Nothing is looked up and nothing is called, whatever the bytes say. */
SHOAL_API int shoal_any_decode(shoal_any **ret, const void *bytes, size_t size,
                               const shoal_any_limits *limits);

#ifdef __cplusplus
}
#endif

/* ---- how items are counted ---- */
#ifdef __cplusplus
template <class... T> inline shoal_any *shoal_any_list(T... items)
{
    shoal_any *const all[] = {nullptr, items...};
    return shoal_any_list_from(all + 1, sizeof...(items));
}
template <class... T> inline shoal_any *shoal_any_tuple(T... items)
{
    shoal_any *const all[] = {nullptr, items...};
    return shoal_any_tuple_from(all + 1, sizeof...(items));
}
template <class... T> inline shoal_any *shoal_any_dict(T... items)
{
    shoal_any *const all[] = {nullptr, items...};
    return shoal_any_dict_from(all + 1, sizeof...(items));
}
template <class... T> inline shoal_any *shoal_any_set(T... items)
{
    shoal_any *const all[] = {nullptr, items...};
    return shoal_any_set_from(all + 1, sizeof...(items));
}
template <class... T> inline shoal_any *shoal_any_frozenset(T... items)
{
    shoal_any *const all[] = {nullptr, items...};
    return shoal_any_frozenset_from(all + 1, sizeof...(items));
}
#else
/* An empty list of items counts as one item, an empty one; its text tells. The 65th item instead of a
 * number would be no size of an array: so more than 64 do not compile. */
#define SHOAL_ANY_MAKE_(kind, text, ...)                                                           \
    shoal_any_##kind##_from(sizeof(text) > 1 ? (shoal_any *const[]){NULL, __VA_ARGS__} + 1 : NULL, \
                            sizeof(text) > 1                                                       \
                                ? sizeof(char[SHOAL_ANY_COUNT_(__VA_ARGS__, SHOAL_ANY_NUMBERS_)])  \
                                : 0)
#define SHOAL_ANY_COUNT_(...) SHOAL_ANY_65TH_(__VA_ARGS__)
#define SHOAL_ANY_65TH_(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16,     \
                        _17, _18, _19, _20, _21, _22, _23, _24, _25, _26, _27, _28, _29, _30, _31, \
                        _32, _33, _34, _35, _36, _37, _38, _39, _40, _41, _42, _43, _44, _45, _46, \
                        _47, _48, _49, _50, _51, _52, _53, _54, _55, _56, _57, _58, _59, _60, _61, \
                        _62, _63, _64, n, ...)                                                     \
    n
#define SHOAL_ANY_NUMBERS_                                                                      \
    64, 63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, \
        41, 40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, \
        19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0
#endif
#endif
