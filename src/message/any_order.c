/* The order of anys, in the form of keys: bytes that stand in the order of the values.
 *
 * So whoever compares often, where memory cannot be had and nothing may fail, compares bytes. A key
 * is made of tagged items:
 *
 *     number      NUMBER, how it stands to zero, then if it is finite and not zero the place of its
 *                 highest bit, and its bits from there on; both upside down if it is negative. So
 *                 ints of any size and floats are compared exactly
 *     str, bytes  the tag, the bytes; UTF-8 stands in the order of code points
 *     list, tuple the tag, the items' keys, END, which is smaller than all tags: so the shorter comes first
 *     None        the tag: it equals itself, and that is all that can be said
 *     others      UNORDERED, and nothing behind it. NaN is one
 *
 * Bytes of any number are followed by 0 0, and a zero byte among them by 255: so their end is smaller
 * than whatever might go on. Two keys cannot be compared if the first thing in which they differ is
 * a tag, and not END; or if they do not differ, and that is because both stopped.
 */
#include "message/any_order.h"
#include <math.h>

enum { END, NONE, NUMBER, STR, BYTES, LIST, TUPLE, UNORDERED = 0x80 };
enum { INFINITE_BELOW, NEGATIVE, ZERO, POSITIVE, INFINITE_ABOVE };
enum { FLOAT_BITS = 53 };

/* ---- writing ---- */

struct key {
    unsigned char *at; /* NULL: it is only measured */
    size_t size;
    unsigned char flip; /* all bits of what is negative */
};

static void put(struct key *k, unsigned byte)
{
    if (k->at)
        k->at[k->size] = (unsigned char)byte ^ k->flip;
    k->size++;
}

/* One of the bytes that an end follows. */
static void put_escaped(struct key *k, unsigned byte)
{
    put(k, byte);
    if (!byte)
        put(k, 0xff);
}

static void put_end(struct key *k)
{
    put(k, 0);
    put(k, 0);
}

static void put_text(struct key *k, unsigned tag, const struct any_bytes *text)
{
    put(k, tag);
    for (size_t i = 0; i < text->size; i++)
        put_escaped(k, text->at[i]);
    put_end(k);
}

/* Little-endian two's complement; all bytes below `lowest` are zero. */
struct integer {
    const unsigned char *bytes;
    size_t size, lowest;
    bool negative;
};

/* The i-th byte of its magnitude: the complement and one more, which gets as far as `lowest`. */
static unsigned magnitude(const struct integer *n, size_t i)
{
    unsigned byte = n->bytes[i];
    if (!n->negative || i < n->lowest)
        return byte;
    return (i == n->lowest ? 0x100 - byte : ~byte) & 0xff;
}

/* The integer, times 2 to the `shift`. */
static void put_integer(struct key *k, const unsigned char *bytes, size_t size, int64_t shift)
{
    struct integer n = {bytes, size, 0, size && bytes[size - 1] & 0x80};
    put(k, NUMBER);
    while (n.lowest < size && !bytes[n.lowest])
        n.lowest++;
    if (n.lowest == size) {
        put(k, ZERO);
        return;
    }
    size_t top = size - 1;
    while (!magnitude(&n, top))
        top--;
    unsigned lead = (unsigned)__builtin_clz(magnitude(&n, top)) - 24;
    uint64_t place = (uint64_t)(((int64_t)top + 1) * 8 - lead + shift) + (1ull << 63);
    put(k, n.negative ? NEGATIVE : POSITIVE);
    k->flip = n.negative ? 0xff : 0;
    for (int i = 56; i >= 0; i -= 8)
        put(k, place >> i & 0xff);
    for (size_t i = top + 1; i-- > n.lowest;) {
        unsigned low = i ? magnitude(&n, i - 1) : 0;
        unsigned byte = (magnitude(&n, i) << lead | low >> (8 - lead)) & 0xff;
        if (byte || i != n.lowest) /* zeroes at the end would make two keys of one number */
            put_escaped(k, byte);
    }
    put_end(k);
    k->flip = 0;
}

static void put_int64(struct key *k, int64_t value, int64_t shift)
{
    unsigned char bytes[8];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)((uint64_t)value >> 8 * i);
    put_integer(k, bytes, sizeof bytes, shift);
}

static void put_float(struct key *k, double value)
{
    int exponent = 0;
    if (isinf(value)) {
        put(k, NUMBER);
        put(k, value < 0 ? INFINITE_BELOW : INFINITE_ABOVE);
        return;
    }
    double fraction = frexp(value, &exponent);
    put_int64(k, (int64_t)ldexp(fraction, FLOAT_BITS), exponent - FLOAT_BITS);
}

/* A value without its items. False: it has no place in any order. */
static bool put_shallow(struct key *k, const shoal_any *a)
{
    switch (a->kind) {
    case SHOAL_ANY_NONE: put(k, NONE); return true;
    case SHOAL_ANY_BOOL: put_int64(k, a->integer, 0); return true;
    case SHOAL_ANY_INT:
        if (a->big)
            put_integer(k, a->bytes->at, a->bytes->size, 0);
        else
            put_int64(k, a->integer, 0);
        return true;
    case SHOAL_ANY_FLOAT:
        if (isnan(a->real))
            break;
        put_float(k, a->real);
        return true;
    case SHOAL_ANY_STR: put_text(k, STR, a->bytes); return true;
    case SHOAL_ANY_BYTES: put_text(k, BYTES, a->bytes); return true;
    case SHOAL_ANY_LIST: put(k, LIST); return true;
    case SHOAL_ANY_TUPLE: put(k, TUPLE); return true;
    default: break;
    }
    put(k, UNORDERED);
    return false;
}

size_t any_key(const shoal_any *a, unsigned char *out)
{
    struct key k = {.at = NULL};
    k.at = out;
    struct any_frame *bottom = any_frames(a);
    size_t deep = 0;
    while (put_shallow(&k, a)) {
        if (a->kind == SHOAL_ANY_LIST || a->kind == SHOAL_ANY_TUPLE)
            bottom[deep++] = (struct any_frame){a, 0};
        for (; deep && bottom[deep - 1].next == bottom[deep - 1].in->items->count; deep--)
            put(&k, END);
        if (!deep)
            break;
        a = &bottom[deep - 1].in->items->at[bottom[deep - 1].next++];
    }
    return k.size;
}

/* ---- comparing ---- */

/* Where the bytes that begin at `at` have ended. */
static size_t behind_end(const unsigned char *key, size_t size, size_t at, unsigned char flip)
{
    while (at + 1 < size) {
        if (key[at] != flip)
            at++;
        else if (key[at + 1] == flip)
            return at + 2;
        else
            at += 2;
    }
    return size;
}

/* Where the item that begins at `at`, with a tag, has ended; of a list or tuple only the tag. */
static size_t behind_item(const unsigned char *key, size_t size, size_t at)
{
    switch (key[at]) {
    case STR:
    case BYTES: return behind_end(key, size, at + 1, 0);
    case NUMBER:
        if (at + 1 >= size || (key[at + 1] != NEGATIVE && key[at + 1] != POSITIVE))
            return at + 2;
        return behind_end(key, size, at + 2 + 8, key[at + 1] == NEGATIVE ? 0xff : 0);
    default: return at + 1;
    }
}

static const char *tag_name(unsigned tag)
{
    static const char *const names[] =
        {[NONE] = "None",   [NUMBER] = "a number", [STR] = "a str",
         [BYTES] = "bytes", [LIST] = "a list",     [TUPLE] = "a tuple"};
    return tag < sizeof names / sizeof *names ? names[tag] : "a value that has no order";
}

bool any_keys_apart(const unsigned char *a, size_t a_size, const unsigned char *b, size_t b_size,
                    const char *what[2])
{
    size_t size = a_size < b_size ? a_size : b_size, differ = 0, at = 0;
    while (differ < size && a[differ] == b[differ])
        differ++;
    if (differ == size) /* they are the same; the last one is a tag if it says that */
        at = differ = a[size - 1] == UNORDERED ? size - 1 : SIZE_MAX;
    while (at < differ && differ != SIZE_MAX)
        at = behind_item(a, a_size, at);
    if (at != differ || differ == SIZE_MAX || a[at] == END || b[at] == END)
        return false;
    what[0] = tag_name(a[at]);
    what[1] = tag_name(b[at]);
    return true;
}
