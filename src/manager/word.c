/* Values in containers (word.h). */
#include "manager/word.h"
#include "message/message.h"
#include "message/pickle.h"
#include <stdlib.h>
#include <string.h>

/* What lies in a block. */
enum { BLOCK_STR, BLOCK_BYTES, BLOCK_FLOAT, BLOCK_INT, BLOCK_PICKLE };
enum { CONST_NONE, CONST_FALSE, CONST_TRUE };
enum { SHORT = 7 };

static uint64_t block_word(unsigned kind, size_t size)
{
    return (uint64_t)size << 6 | kind << 3 | WORD_IN_BLOCK;
}
static unsigned block_kind(uint64_t word)
{
    return word >> 3 & 7;
}

static uint64_t const_word(unsigned which)
{
    return (uint64_t)which << 3 | WORD_CONST;
}

/* ---- in ---- */

void item_of_int(struct item *ret, int64_t value)
{
    *ret = (struct item){.raw = (uint64_t)value, .size = 8};
    if (unlikely(!word_int(value, &ret->word)))
        ret->word = block_word(BLOCK_INT, 8);
}

static void of_float(struct item *ret, double value)
{
    *ret = (struct item){.size = 8};
    memcpy(&ret->raw, &value, sizeof ret->raw);
    ret->word = ret->raw & 7 ? block_word(BLOCK_FLOAT, 8) : ret->raw | WORD_FLOAT;
}

bool item_of_text(struct item *ret, bool bytes, const void *at, size_t size)
{
    *ret = (struct item){.bytes = at, .size = size};
    if (size > WORD_BLOCK)
        return false;
    if (size > SHORT) {
        ret->word = block_word(bytes ? BLOCK_BYTES : BLOCK_STR, size);
        return true;
    }
    unsigned char word[8] = {(unsigned char)(WORD_TEXT | bytes << 3 | size << 4)};
    if (size)
        memcpy(word + 1, at, size);
    ret->word = 0;
    for (unsigned i = 8; i-- > 0;)
        ret->word = ret->word << 8 | word[i];
    return true;
}

/* The item of a message, or why there is none. */
static int of_message(struct item *ret, const struct site *p, int rc, void *message)
{
    if (rc == -EAGAIN)
        rc =
            fail(-ENOMEM, "%s: the region, or the quota, has no room for so long a value", p->call);
    if (rc)
        return rc;
    const struct handle *h = handle_of(message);
    *ret = (struct item){.message = message};
    ret->word = (uint64_t)h->generation << 23 | (uint64_t)(h - handles) << 3 | WORD_MESSAGE;
    return 0;
}

static const _Atomic uint32_t open;

static int of_any(struct item *ret, const struct site *p, const shoal_any *any)
{
    void *message;
    unsigned char *behind;
    struct place place = {p->header, p->id, p->generation, 0, p->call};
    struct shortage shortage = {&place, &p->stores->event, &open, SHOAL_NOW};
    int rc = message_encode(&message, any, 0, &shortage, &behind);
    return of_message(ret, p, rc, message);
}

int item_of_message(struct item *ret, const struct site *p, size_t size,
                    struct pickle_objects *objects, unsigned char **bytes)
{
    void *message;
    struct place place = {p->header, p->id, p->generation, 0, p->call};
    struct shortage shortage = {&place, &p->stores->event, &open, SHOAL_NOW};
    int rc = message_create_carrying(&message, size, 0, objects, &shortage, bytes);
    return of_message(ret, p, rc, message);
}

void item_of_pickle(struct item *ret, void *bytes, size_t size)
{
    *ret = (struct item){.word = block_word(BLOCK_PICKLE, size),
                         .bytes = bytes,
                         .size = size,
                         .made = bytes};
}

static int of_pickle(struct item *ret, const struct site *p, const shoal_any *any)
{
    size_t size = 0;
    struct pickle_objects objects = {0};
    int rc = pickle_measure(any, &size, &objects);
    size_t count = objects.count;
    pickle_objects_free(&objects);
    if (rc || count || size > WORD_BLOCK)
        return rc ? rc : of_any(ret, p, any);
    *ret = (struct item){.word = block_word(BLOCK_PICKLE, size), .size = size};
    ret->bytes = ret->made = malloc(size);
    if (!ret->made)
        return fail(-ENOMEM, "%s: out of memory", p->call);
    pickle_write(any, ret->made);
    return 0;
}

int item_of_any(struct item *ret, const struct site *p, const shoal_any *any)
{
    int rc = any_may_travel(any, p->call);
    if (unlikely(rc))
        return rc;
    switch (any->kind) {
    case SHOAL_ANY_NONE: *ret = (struct item){.word = const_word(CONST_NONE)}; return 0;
    case SHOAL_ANY_BOOL:
        *ret = (struct item){.word = const_word(any->integer ? CONST_TRUE : CONST_FALSE)};
        return 0;
    case SHOAL_ANY_INT:
        if (any->big)
            break;
        item_of_int(ret, any->integer);
        return 0;
    case SHOAL_ANY_FLOAT: of_float(ret, any->real); return 0;
    case SHOAL_ANY_STR:
    case SHOAL_ANY_BYTES:
        if (item_of_text(ret, any->kind == SHOAL_ANY_BYTES, any->bytes->at, any->bytes->size))
            return 0;
        break;
    default: break;
    }
    return of_pickle(ret, p, any);
}

int item_of_bytes(struct item *ret, const struct site *p, const void *bytes, size_t size)
{
    if (item_of_text(ret, true, bytes, size))
        return 0;
    shoal_any *any = shoal_any_bytes(bytes, size);
    int rc = any ? of_any(ret, p, any) : -ENOMEM;
    shoal_any_free(any);
    return rc;
}

uint64_t item_put(struct change *c, const struct item *item)
{
    if (likely(word_tag(item->word) < WORD_IN_BLOCK))
        return item->word;
    if (word_is_message(item->word)) {
        change_note(c, ENTRY_IN, item->word);
        return item->word;
    }
    uint64_t at = block_new(c, item->size);
    block_fill(c, at, item->bytes ? item->bytes : &item->raw, item->size);
    return word_moved(item->word, at);
}

void item_end(struct item *item)
{
    free(item->made);
    if (item->message)
        object_close(item->message, TYPE_MESSAGE);
    item->made = item->message = NULL;
}

void word_out(struct change *c, uint64_t word)
{
    uint64_t at;
    size_t size;
    if (word_block(word, &at, &size))
        block_free(c, at, size);
    else if (word_is_message(word))
        change_note(c, ENTRY_OUT, word);
}

/* ---- out ---- */

bool word_fetch(const struct reading *r, uint64_t word, struct fetched *ret)
{
    uint64_t at;
    ret->word = word;
    ret->size = 0;
    if (likely(!word_block(word, &at, &ret->size)))
        return true;
    const unsigned char *from = reading_bytes(r, at, ret->size);
    if (!from || ret->size > WORD_BLOCK)
        return false;
    /* Its first word may be one of the journal's. */
    uint64_t first = reading_word(r, at);
    memcpy(ret->bytes, &first, ret->size < 8 ? ret->size : 8);
    if (ret->size > 8)
        memcpy(ret->bytes + 8, from + 8, ret->size - 8);
    return true;
}

bool word_number(uint64_t word, const void *bytes, shoal_any *ret)
{
    uint64_t raw = 0;
    switch (word_tag(word)) {
    case WORD_INT:
        *ret = (shoal_any){.kind = SHOAL_ANY_INT, .integer = (int64_t)word >> 3};
        return true;
    case WORD_CONST:
        if (word >> 3 == CONST_NONE)
            *ret = (shoal_any){.kind = SHOAL_ANY_NONE};
        else
            *ret = (shoal_any){.kind = SHOAL_ANY_BOOL, .integer = word >> 3 == CONST_TRUE};
        return true;
    case WORD_FLOAT: raw = word & ~7ull; break;
    case WORD_IN_BLOCK:
        if (block_kind(word) != BLOCK_FLOAT && block_kind(word) != BLOCK_INT)
            return false;
        memcpy(&raw, bytes, sizeof raw);
        if (block_kind(word) == BLOCK_FLOAT)
            break;
        *ret = (shoal_any){.kind = SHOAL_ANY_INT, .integer = (int64_t)raw};
        return true;
    default: return false;
    }
    *ret = (shoal_any){.kind = SHOAL_ANY_FLOAT};
    memcpy(&ret->real, &raw, sizeof raw);
    return true;
}

bool word_text(const uint64_t *word, const void *bytes, int kind, const void **at, size_t *size)
{
    bool is_bytes = kind == SHOAL_ANY_BYTES;
    if (word_tag(*word) == WORD_TEXT && (*word >> 3 & 1) == is_bytes) {
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "a short text lies behind the lowest byte of its word"
#endif
        *at = (const unsigned char *)word + 1;
        *size = *word >> 4 & 7;
        return true;
    }
    if (word_tag(*word) != WORD_IN_BLOCK ||
        block_kind(*word) != (is_bytes ? BLOCK_BYTES : BLOCK_STR))
        return false;
    *at = bytes;
    *size = *word >> 6 & 4095;
    return true;
}

/* The any of a message that lies in a container. */
static int message_any(uint64_t word, shoal_any **ret, const char *call)
{
    void *message;
    int rc = message_open(&message, word_message_id(word), word_message_generation(word));
    if (rc)
        return rc == -EINVAL ? -ESTALE : rc;
    rc = message_unpack_any(message, ret);
    return rc ? fail_in(rc, call) : 0;
}

int word_any(uint64_t word, const void *bytes, size_t size, shoal_any **ret, const char *call)
{
    shoal_any number;
    const void *at;
    if (word_number(word, bytes, &number))
        *ret = number.kind == SHOAL_ANY_NONE   ? shoal_any_none()
               : number.kind == SHOAL_ANY_BOOL ? shoal_any_bool(number.integer)
               : number.kind == SHOAL_ANY_INT  ? shoal_any_int(number.integer)
                                               : shoal_any_float(number.real);
    else if (word_text(&word, bytes, SHOAL_ANY_STR, &at, &size))
        *ret = shoal_any_str_sized(at, size);
    else if (word_text(&word, bytes, SHOAL_ANY_BYTES, &at, &size))
        *ret = shoal_any_bytes(at, size);
    else if (word_is_message(word))
        return message_any(word, ret, call);
    else
        return pickle_read(ret, bytes, size, NULL, NULL, 0);
    return *ret ? 0 : -ENOMEM;
}

int word_equals(uint64_t word, const void *bytes, size_t size, const shoal_any *any,
                const char *call)
{
    shoal_any number, *made;
    const void *at;
    if (word_number(word, bytes, &number))
        return any_equal(&number, any);
    for (int kind = SHOAL_ANY_STR; kind <= SHOAL_ANY_BYTES; kind++)
        if (word_text(&word, bytes, kind, &at, &size))
            return any->kind == kind && any->bytes->size == size &&
                   !memcmp(any->bytes->at, at, size);
    int rc = word_any(word, bytes, size, &made, call);
    if (rc)
        return rc;
    rc = any_equal(made, any);
    shoal_any_free(made);
    return rc;
}
