/* Ints of any size, and text. */
#include "message/any.h"
#include <math.h>

/* ---- ints ---- */

/* What only repeats the sign is left out, so that each number has one form. */
static size_t trimmed(const unsigned char *bytes, size_t size)
{
    while (size > 1 && bytes[size - 1] == (bytes[size - 2] & 0x80 ? 0xff : 0))
        size--;
    return size;
}

static int64_t short_int(const unsigned char *bytes, size_t size)
{
    uint64_t value = size && bytes[size - 1] & 0x80 ? UINT64_MAX : 0;
    while (size-- > 0)
        value = value << 8 | bytes[size];
    return (int64_t)value;
}

int any_set_int(struct any_tree *tree, shoal_any *ret, const unsigned char *bytes, size_t size)
{
    unsigned char few[16], *copy = few;
    struct any_bytes *big = NULL;
    if (size > sizeof few) {
        big = any_text(tree, size);
        if (!big)
            return -ENOMEM;
        copy = big->at;
    }
    /* Copied before it is looked at: it may lie where others write. */
    if (size)
        memcpy(copy, bytes, size);
    size = trimmed(copy, size);
    if (size <= 8) {
        *ret = (shoal_any){.kind = SHOAL_ANY_INT, .integer = short_int(copy, size)};
        return 0;
    }
    if (!big) {
        big = any_text(tree, size);
        if (!big)
            return -ENOMEM;
        memcpy(big->at, few, size);
    }
    big->size = size;
    *ret = (shoal_any){.kind = SHOAL_ANY_INT, .big = true, .bytes = big};
    return 0;
}

size_t any_float_bytes(double value, unsigned char ret[BIG_FLOAT])
{
    int exponent;
    uint64_t mantissa = (uint64_t)ldexp(frexp(fabs(value), &exponent), 53);
    size_t shift = (size_t)exponent - 53, size = shift / 8 + 9;
    memset(ret, 0, BIG_FLOAT);
    mantissa <<= shift % 8; /* 60 bits */
    memcpy(ret + shift / 8, &mantissa, 8);
    for (size_t i = 0, carry = 1; value < 0 && i < size; i++) {
        size_t digit = (unsigned char)~ret[i] + carry;
        ret[i] = (unsigned char)digit;
        carry = digit >> 8;
    }
    return trimmed(ret, size);
}

/* Rounded to the nearest; infinite if it is too large. The 64 highest bits decide, and whether
 * there is anything below them. */
double any_big_to_double(const struct any_bytes *big)
{
    bool negative = big->at[big->size - 1] & 0x80;
    uint64_t top = 0;
    size_t low = 0, at = big->size;
    /* The magnitude, from the most significant byte on: -x is ~x + 1. */
    while (low < big->size && !big->at[low])
        low++;
    while (at > 0 && !(top >> 56)) {
        at--;
        unsigned char byte = big->at[at];
        if (negative)
            byte = (unsigned char)(at > low ? ~byte : at == low ? -byte : 0);
        top = top << 8 | byte;
    }
    if (low < at)
        top |= 1;
    /* Beyond what an int holds it is infinite all the same. */
    double value = ldexp((double)top, at > 1000 ? 8000 : (int)at * 8);
    return negative ? -value : value;
}

/* ---- text ---- */

struct any_bytes *any_text(struct any_tree *tree, size_t size)
{
    struct any_bytes *text = NULL;
    if (size < PTRDIFF_MAX - 64)
        text = tree_alloc(tree, sizeof *text + size + 1);
    else
        fail_detail("out of memory: a text of %zu bytes", size);
    if (text) {
        text->size = size;
        text->at[size] = 0;
    }
    return text;
}

/* How many bytes the character at p takes, which is not ASCII, 0 if it is none. The shortest form only, up to
 * U+10FFFF. */
static size_t utf8_character(const unsigned char *p, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n > left || p[0] < 0xc0 || p[0] > 0xf4)
        return 0;
    uint32_t code = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    return code >= least[n] && code <= 0x10ffff ? n : 0;
}

size_t any_utf8_valid(const unsigned char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        uint64_t word;
        if (size - i >= sizeof word) {
            memcpy(&word, text + i, sizeof word);
            if (!(word & 0x8080808080808080)) {
                i += sizeof word;
                continue;
            }
        }
        if (text[i] < 0x80) {
            i++;
            continue;
        }
        size_t n = utf8_character(text + i, size - i);
        if (!n)
            return i;
        i += n;
    }
    return size;
}
