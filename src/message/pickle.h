/* message/pickle.h - the pickle codec for those who encode straight into shared memory.
 *
 *     pickle_measure     how many bytes, and which objects, in order
 *     pickle_write       exactly these bytes; objects become numbers 0, 1, 2 … (persistent ids)
 *     pickle_read        the same back, with the table of objects that travelled beside the bytes
 */
#ifndef SHOAL_MESSAGE_PICKLE_H
#define SHOAL_MESSAGE_PICKLE_H

#include "message/any.h"

/* The objects of a message; all zeroes are an empty table. */
struct pickle_objects {
    struct any_object *at; /* malloc */
    size_t count, room;
};
int pickle_objects_add(struct pickle_objects *objects, const struct any_object *object);
void pickle_objects_free(struct pickle_objects *objects);

/* Adds the objects in `any` to those of the table, which should be empty, as pickle_write will
 * number them. objects NULL: none may be in it (-EINVAL). -ENOMEM. */
int pickle_measure(const shoal_any *any, size_t *size, struct pickle_objects *objects);

/* Writes as many bytes as pickle_measure said. Cannot fail; reads nothing of what it has written. */
void pickle_write(const shoal_any *any, unsigned char *out);

/* As shoal_any_decode. The bytes may change meanwhile (shared memory): each is read once, or only
 * copied. Persistent id i becomes objects[i], which is held if that says so (-ESTALE: it is gone); with
 * objects NULL there are none. */
int pickle_read(shoal_any **ret, const void *bytes, size_t size, const shoal_any_limits *limits,
                const struct any_object *objects, size_t count);

/* The opcodes, named as in CPython's pickle (Lib/pickle.py, whose comments say what each does). */
enum opcode {
    MARK = '(',
    STOP = '.',
    BININT = 'J',
    BININT1 = 'K',
    BININT2 = 'M',
    NONE = 'N',
    BINPERSID = 'Q',
    REDUCE = 'R',
    BINUNICODE = 'X',
    APPEND = 'a',
    BUILD = 'b',
    GLOBAL = 'c',
    EMPTY_DICT = '}',
    APPENDS = 'e',
    GET = 'g',
    BINGET = 'h',
    LONG_BINGET = 'j',
    EMPTY_LIST = ']',
    PUT = 'p',
    BINPUT = 'q',
    LONG_BINPUT = 'r',
    SETITEM = 's',
    TUPLE = 't',
    EMPTY_TUPLE = ')',
    SETITEMS = 'u',
    BINFLOAT = 'G',
    PROTO = 0x80,
    NEWOBJ = 0x81,
    TUPLE1 = 0x85,
    TUPLE2 = 0x86,
    TUPLE3 = 0x87,
    NEWTRUE = 0x88,
    NEWFALSE = 0x89,
    LONG1 = 0x8a,
    LONG4 = 0x8b,
    BINBYTES = 'B',
    SHORT_BINBYTES = 'C',
    SHORT_BINUNICODE = 0x8c,
    BINUNICODE8 = 0x8d,
    BINBYTES8 = 0x8e,
    EMPTY_SET = 0x8f,
    ADDITEMS = 0x90,
    FROZENSET = 0x91,
    STACK_GLOBAL = 0x93,
    MEMOIZE = 0x94,
    FRAME = 0x95,
    BYTEARRAY8 = 0x96,
    NEXT_BUFFER = 0x97,
    READONLY_BUFFER = 0x98,
};

/* ---- a value's bytes, without what begins and ends a pickle ---- */
size_t pickle_size_other(const shoal_any *a);
static inline size_t pickle_size(const shoal_any *a)
{
    if (a->kind <= SHOAL_ANY_BOOL)
        return 1;
    if (a->kind == SHOAL_ANY_INT && !a->big && a->integer == (uint8_t)a->integer)
        return 2;
    if ((a->kind == SHOAL_ANY_STR || a->kind == SHOAL_ANY_BYTES) && a->bytes->size < 256)
        return 2 + a->bytes->size;
    return pickle_size_other(a);
}

#endif
