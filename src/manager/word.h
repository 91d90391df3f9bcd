/* manager/word.h - values in containers: a word each, which says all, or where the rest lies.
 *
 *     0        nothing
 *     INT      an int of 61 bits, in the word
 *     TEXT     a str or bytes of up to 7 bytes, in the word
 *     CONST    None, False, True
 *     FLOAT    one whose lowest three bits are zero
 *     BLOCK    up to WORD_BLOCK bytes in a block of the arena: text, a float, an int, or a pickle
 *     MESSAGE  a message (message/message.h) that lies in the container: what is longer, or has objects
 *              in it
 */
#ifndef SHOAL_MANAGER_WORD_H
#define SHOAL_MANAGER_WORD_H

#include "manager/store.h"
#include "message/any.h"
#include "message/pickle.h"

enum { WORD_INT = 1, WORD_TEXT, WORD_CONST, WORD_FLOAT, WORD_IN_BLOCK, WORD_MESSAGE };
enum { WORD_BLOCK = 2048 };

static inline uint64_t word_pair(uint32_t high, uint32_t low)
{
    return high * 0x100000000ull + low;
}
static inline unsigned word_tag(uint64_t word)
{
    return word & 7;
}
static inline bool word_is_message(uint64_t word)
{
    return word_tag(word) == WORD_MESSAGE;
}
static inline uint32_t word_message_id(uint64_t word)
{
    return word >> 3 & (MOST_OBJECTS - 1);
}
static inline uint32_t word_message_generation(uint64_t word)
{
    return (uint32_t)(word >> 23);
}
static inline bool word_int(int64_t value, uint64_t *ret)
{
    *ret = (uint64_t)value << 3 | WORD_INT;
    return (int64_t)*ret >> 3 == value;
}
/* Where its block lies; false if it has none. */
static inline bool word_block(uint64_t word, uint64_t *at, size_t *size)
{
    *at = (uint32_t)(word >> 18) * (uint64_t)GRAIN;
    *size = word >> 6 & 4095;
    return word_tag(word) == WORD_IN_BLOCK;
}
/* The same word with its block elsewhere. */
static inline uint64_t word_moved(uint64_t word, uint64_t at)
{
    return (word & ((1ull << 18) - 1)) | at / GRAIN << 18;
}

/* ---- a value on its way in ---- */

struct item {
    uint64_t word;     /* of a block: without its place */
    const void *bytes; /* of a block */
    size_t size;
    void *message; /* held by the caller */
    void *made;    /* malloc */
    uint64_t raw;  /* a number's, that is no block's bytes otherwise */
};
/* What is to be put: 0, -EINVAL, -EMSGSIZE, -ENOMEM. The any, or bytes, must last. */
int item_of_any(struct item *ret, const struct site *p, const shoal_any *any);
int item_of_bytes(struct item *ret, const struct site *p, const void *bytes, size_t size);
void item_of_int(struct item *ret, int64_t value);
/* A str or bytes, which must last; false: it is too long for a block. */
bool item_of_text(struct item *ret, bool bytes, const void *at, size_t size);
/* A pickle of at most WORD_BLOCK bytes, of malloc, which is the item's from now on. What it means to others than
 * Python, pickle_read says. */
void item_of_pickle(struct item *ret, void *bytes, size_t size);
/* One of any length, to be written to *bytes, that has these objects: 0, -EINVAL, -EMSGSIZE, -ENOMEM. */
int item_of_message(struct item *ret, const struct site *p, size_t size,
                    struct pickle_objects *objects, unsigned char **bytes);
/* What it needs of a change (change_fits), at most. */
enum { ITEM_ENTRIES = 3 };
static inline size_t item_room(const struct item *item)
{
    return word_tag(item->word) == WORD_IN_BLOCK ? block_size(item->size) : 0;
}
/* Puts it: the word. */
uint64_t item_put(struct change *c, const struct item *item);
/* Frees it, when it was put, or was not. */
void item_end(struct item *item);

/* What a word names is not in the arena any more: its block is freed, its message noted. */
void word_out(struct change *c, uint64_t word);

/* ---- on its way out ---- */

struct fetched {
    uint64_t word;
    size_t size; /* of a block */
    unsigned char bytes[WORD_BLOCK];
};
/* Copies what a word names in the arena: false if it names what cannot be there. */
bool word_fetch(const struct reading *r, uint64_t word, struct fetched *ret);
/* The any that it is: 0, -ENOMEM; -ESTALE: its message is gone, so that it was taken out meanwhile.
 * `bytes`: of its block. */
int word_any(uint64_t word, const void *bytes, size_t size, shoal_any **ret, const char *call);
/* A number, a bool or None, as a value that has no memory of its own: false if it is something else. */
bool word_number(uint64_t word, const void *bytes, shoal_any *ret);
/* Whether it is text of this kind (SHOAL_ANY_STR, SHOAL_ANY_BYTES): *at, which may be in the word, and
 * *size. */
bool word_text(const uint64_t *word, const void *bytes, int kind, const void **at, size_t *size);
/* 1, 0, or as word_any: whether it equals the any. */
int word_equals(uint64_t word, const void *bytes, size_t size, const shoal_any *any,
                const char *call);

#endif
