/* manager/key.h - keys of dicts, in a form in which what is equal in Python has equal bytes.
 *
 *     None; ints, and floats and bools that are equal to one: INT, 8 bytes or more; other floats; str; bytes;
 *     tuples, frozensets, constructs: DEEP, item by item with their kinds and lengths, those of a frozenset
 *     in the order of their bytes; PICKLE: what only Python knows (python/src/container.c), to others bytes
 */
#ifndef SHOAL_MANAGER_KEY_H
#define SHOAL_MANAGER_KEY_H

#include "manager/container.h"

enum { KEY_NONE = 1, KEY_INT, KEY_FLOAT, KEY_STR, KEY_BYTES, KEY_DEEP, KEY_PICKLE };
enum { KEY_MOST = 1 << 20 /* bytes, with what is kept to give it back */ };

/* Where what they point to lies elsewhere it must last.
 *   first   a pickle of the first key that was put, if the bytes do not tell it; or NULL
 */
struct key {
    unsigned kind;
    const void *bytes;
    size_t size;
    const void *first;
    size_t first_size;
    uint64_t hash;
    unsigned char few[8];
    void *made, *made_first; /* malloc */
};
/* 0; -EINVAL: it cannot be one; -EMSGSIZE; -ENOMEM. */
int key_of_any(struct key *ret, const struct site *p, const shoal_any *any);
int key_of_text(struct key *ret, const struct site *p, unsigned kind, const void *bytes,
                size_t size);
void key_end(struct key *key);
/* What an entry says of its key: {first_size:28, kind:8, size:28}. */
static inline uint64_t key_info(const struct key *key)
{
    return (uint64_t)key->first_size << 36 | (uint64_t)key->kind << 28 | key->size;
}
#define KEY_SIZE(info) ((size_t)((info)&0xfffffff))
#define KEY_KIND(info) ((unsigned)((info) >> 28 & 0xff))
#define KEY_FIRST(info) ((size_t)((info) >> 36))
/* The key as it was first put, of its bytes, behind which `first` lies. 0, -ENOMEM. */
int key_any(uint64_t info, const unsigned char *bytes, shoal_any **ret);

#endif
