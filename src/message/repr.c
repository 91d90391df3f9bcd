/* repr: a value in Python's notation. */
#include "message/construct.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
    char *at;
    size_t size, room;
    bool failed;
};

static void put(struct text *t, const char *bytes, size_t size)
{
    if (!t->at || t->room - t->size < size) {
        size_t room = 2 * t->room + size + 64;
        char *at = t->failed ? NULL : realloc(t->at, room);
        t->failed = !at;
        if (!at)
            return;
        t->at = at;
        t->room = room;
    }
    memcpy(t->at + t->size, bytes, size);
    t->size += size;
}

static void put_text(struct text *t, const char *s)
{
    put(t, s, strlen(s));
}

/* ---- ints ---- */

enum { DIGITS_MOST = 4300, BIG_MOST = 1786 /* bytes that 4300 digits take */ };

/* The magnitude as 32-bit words, least significant first; returns how many. */
static size_t magnitude(const struct any_bytes *big, uint32_t *words)
{
    bool negative = big->at[big->size - 1] & 0x80;
    uint64_t carry = negative;
    size_t n = big->size / 4 + 1;
    for (size_t i = 0; i < n; i++) {
        uint32_t word = 0;
        for (size_t k = 0; k < 4; k++) {
            size_t at = i * 4 + k;
            unsigned char byte = at < big->size ? big->at[at] : negative ? 0xff : 0;
            word |= (uint32_t)(negative ? (unsigned char)~byte : byte) << 8 * k;
        }
        carry += word;
        words[i] = (uint32_t)carry;
        carry >>= 32;
    }
    while (n > 1 && !words[n - 1])
        n--;
    return n;
}

/* Divides by 10^9 until nothing is left: each remainder is nine digits. */
static void put_decimal(struct text *t, uint32_t *words, size_t n)
{
    char digits[DIGITS_MOST + 32];
    size_t at = sizeof digits;
    do {
        uint64_t rest = 0;
        for (size_t i = n; i-- > 0;) {
            rest = rest << 32 | words[i];
            words[i] = (uint32_t)(rest / 1000000000);
            rest %= 1000000000;
        }
        while (n && !words[n - 1])
            n--;
        for (int i = 0; i < 9; i++, rest /= 10)
            digits[--at] = (char)('0' + rest % 10);
    } while (n);
    while (digits[at] == '0')
        at++;
    put(t, digits + at, sizeof digits - at);
}

static void put_hexadecimal(struct text *t, const uint32_t *words, size_t n)
{
    char digits[16];
    put_text(t, "0x");
    for (size_t i = n; i-- > 0;)
        put(t, digits,
            (size_t)snprintf(digits, sizeof digits, i == n - 1 ? "%x" : "%08x", words[i]));
}

static void put_int(struct text *t, const shoal_any *a)
{
    char digits[32];
    if (!a->big) {
        put(t, digits, (size_t)snprintf(digits, sizeof digits, "%lld", (long long)a->integer));
        return;
    }
    uint32_t *words = malloc((a->bytes->size / 4 + 1) * sizeof *words);
    t->failed |= !words;
    if (!words)
        return;
    if (a->bytes->at[a->bytes->size - 1] & 0x80)
        put_text(t, "-");
    size_t n = magnitude(a->bytes, words);
    if (a->bytes->size > BIG_MOST)
        put_hexadecimal(t, words, n);
    else
        put_decimal(t, words, n);
    free(words);
}

/* ---- floats ---- */

/* The digits of %.*e, whatever the locale puts between them, and the exponent of the first. */
static int digits_of(double value, int n, char digits[32])
{
    char text[64];
    snprintf(text, sizeof text, "%.*e", n - 1, value);
    char *exponent = strchr(text, 'e');
    int got = 0;
    for (const char *p = text; p < exponent; p++)
        if (*p >= '0' && *p <= '9')
            digits[got++] = *p;
    digits[got] = 0;
    return atoi(exponent + 1);
}

static double value_of(const char *digits, int exponent)
{
    char text[64];
    snprintf(text, sizeof text, "%se%d", digits, exponent - (int)strlen(digits) + 1);
    return strtod(text, NULL);
}

/* One more in the last place; false: all were nines. */
static bool next_up(char *digits)
{
    size_t i = strlen(digits);
    while (i-- > 0) {
        if (digits[i] != '9') {
            digits[i]++;
            return true;
        }
        digits[i] = '0';
    }
    return false;
}

/* The shortest digits that stand for this number (finite, 0 or more) and no other. The nearest with
 * so many is tried first, then the one above: below a power of two the numbers lie closer, so that
 * the nearest may belong to another one, and the one above to this. */
static int shortest(double value, char digits[32])
{
    /* Any 15 digits come back from a normal number: fewer are these without the zeros at the end. */
    for (int n = value < DBL_MIN ? 1 : DBL_DIG; n <= 17; n++) {
        int exponent = digits_of(value, n, digits);
        if (value_of(digits, exponent) == value)
            return exponent;
        if (next_up(digits) && value_of(digits, exponent) == value)
            return exponent;
    }
    return digits_of(value, 17, digits);
}

static void put_zeros(struct text *t, int n)
{
    while (n-- > 0)
        put_text(t, "0");
}

/* As Python: an exponent below 1e-4 and from 1e16 on. point: "1.0", not "1". */
static void put_float(struct text *t, double value, bool point)
{
    char digits[32], exponent[16];
    if (signbit(value) && !isnan(value))
        put_text(t, "-");
    if (!isfinite(value)) {
        put_text(t, isnan(value) ? "nan" : "inf");
        return;
    }
    int e = value == 0 ? 0 : shortest(fabs(value), digits);
    if (value == 0)
        strcpy(digits, "0");
    int n = (int)strlen(digits);
    while (n > 1 && digits[n - 1] == '0')
        n--;
    if (e < -4 || e >= 16) {
        put(t, digits, 1);
        if (n > 1)
            put_text(t, ".");
        put(t, digits + 1, (size_t)n - 1);
        put(t, exponent,
            (size_t)snprintf(exponent, sizeof exponent, "e%c%02d", e < 0 ? '-' : '+', abs(e)));
    } else if (e < 0) {
        put_text(t, "0.");
        put_zeros(t, -e - 1);
        put(t, digits, (size_t)n);
    } else {
        int whole = n < e + 1 ? n : e + 1;
        put(t, digits, (size_t)whole);
        put_zeros(t, e + 1 - n);
        if (n > whole || point)
            put_text(t, ".");
        if (n > whole)
            put(t, digits + whole, (size_t)(n - whole));
        else if (point)
            put_text(t, "0");
    }
}

/* ---- texts ---- */

/* Beyond Latin-1: what Unicode 15 calls formats (Cf), separators (Zs, Zl, Zp), surrogates (Cs) and
 * private (Co), which Python escapes. It also escapes what Unicode gives no meaning to; that
 * depends on its version, and is not known here. */
static const struct range {
    uint32_t first, last;
} unprintable[] = {
    {0x600, 0x605},     {0x61c, 0x61c},      {0x6dd, 0x6dd},     {0x70f, 0x70f},
    {0x890, 0x891},     {0x8e2, 0x8e2},      {0x1680, 0x1680},   {0x180e, 0x180e},
    {0x2000, 0x200f},   {0x2028, 0x202f},    {0x205f, 0x206f},   {0x3000, 0x3000},
    {0xd800, 0xf8ff},   {0xfeff, 0xfeff},    {0xfff9, 0xfffb},   {0x110bd, 0x110bd},
    {0x110cd, 0x110cd}, {0x13430, 0x1343f},  {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
    {0xe0001, 0xe007f}, {0xf0000, 0x10fffd},
};

static bool printable(uint32_t c)
{
    if (c < 0x100)
        return (c >= ' ' && c < 0x7f) || (c > 0xa0 && c != 0xad);
    for (size_t i = 0; i < sizeof unprintable / sizeof *unprintable; i++)
        if (c >= unprintable[i].first && c <= unprintable[i].last)
            return false;
    return true;
}

/* A character, whose bytes these are (in a str), or a byte. */
static void put_character(struct text *t, uint32_t c, const unsigned char *bytes, size_t size,
                          char quote)
{
    char escape[16];
    if (c == '\n' || c == '\r' || c == '\t') {
        put_text(t, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
    } else if (c == (unsigned char)quote || c == '\\') {
        put_text(t, "\\");
        put(t, (const char *)bytes, size);
    } else if (size && printable(c)) {
        put(t, (const char *)bytes, size);
    } else {
        int n = snprintf(escape, sizeof escape, "\\%c%0*x",
                         c < 0x100     ? 'x'
                         : c < 0x10000 ? 'u'
                                       : 'U',
                         c < 0x100     ? 2
                         : c < 0x10000 ? 4
                                       : 8,
                         c);
        put(t, escape, (size_t)n);
    }
}

static char quote_of(const struct any_bytes *b)
{
    return memchr(b->at, '\'', b->size) && !memchr(b->at, '"', b->size) ? '"' : '\'';
}

static void put_str(struct text *t, const struct any_bytes *b)
{
    static const unsigned char lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    char quote = quote_of(b);
    put(t, &quote, 1);
    for (size_t i = 0, n; i < b->size; i += n) {
        const unsigned char *p = b->at + i;
        n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
        uint32_t c = p[0] & lead[n];
        for (size_t k = 1; k < n; k++)
            c = c << 6 | (p[k] & 0x3f);
        put_character(t, c, p, n, quote);
    }
    put(t, &quote, 1);
}

/* Python's bytearray escapes a single quote even between double ones. */
static void put_bytes(struct text *t, const struct any_bytes *b, bool array)
{
    char quote = quote_of(b);
    put_text(t, "b");
    put(t, &quote, 1);
    for (size_t i = 0; i < b->size; i++)
        put_character(t, b->at[i], b->at + i, b->at[i] < 0x7f,
                      array && b->at[i] == '\'' ? '\'' : quote);
    put(t, &quote, 1);
}

/* ---- the whole ---- */

/* As Python: 2j, (1+2j). */
static void put_complex(struct text *t, const struct any_items *arguments)
{
    double real = arguments->at[0].real, imaginary = arguments->at[1].real;
    bool both = real != 0 || signbit(real);
    if (both) {
        put_text(t, "(");
        put_float(t, real, false);
        if (!signbit(imaginary) || isnan(imaginary))
            put_text(t, "+");
    }
    put_float(t, imaginary, false);
    put_text(t, both ? "j)" : "j");
}

static void put_object(struct text *t, const struct any_object *o)
{
    char shown[100];
    put(t, shown,
        (size_t)snprintf(shown, sizeof shown, "<object %u.%u of type %u>", o->reference.id,
                         o->reference.generation, o->type));
}

static bool is_construct(const shoal_any *a, const char *name)
{
    return a->kind == SHOAL_ANY_CONSTRUCT && !strcmp(constructs[a->name].name, name);
}

/* Whether the walk is among the arguments of this construct. */
static bool calls(const struct any_frame *top, const struct any_frame *bottom, const char *name)
{
    return top > bottom && is_construct(top[-1].in, name);
}

/* How many of a container's nodes are shown: not a construct's state, nor the step of 1 of a
 * range. */
static size_t shown_of(const struct any_frame *top, const struct any_frame *bottom)
{
    const struct any_items *items = top->in->items;
    if (top->in->kind == SHOAL_ANY_CONSTRUCT)
        return 1;
    if (calls(top, bottom, "range") && !items->at[2].big && items->at[2].integer == 1)
        return 2;
    return items->count;
}

static void begin(struct text *t, const shoal_any *a)
{
    bool some = a->items->count;
    switch (a->kind) {
    case SHOAL_ANY_LIST: put_text(t, "["); break;
    case SHOAL_ANY_TUPLE: put_text(t, "("); break;
    case SHOAL_ANY_DICT: put_text(t, "{"); break;
    case SHOAL_ANY_SET:
        put_text(t, a->frozen ? some ? "frozenset({" : "frozenset(" : some ? "{" : "set(");
        break;
    default: put_text(t, constructs[a->name].name); break;
    }
}

static void end(struct text *t, const struct any_frame *top, const struct any_frame *bottom)
{
    const shoal_any *a = top->in;
    bool some = a->items->count;
    switch (a->kind) {
    case SHOAL_ANY_LIST: put_text(t, "]"); break;
    case SHOAL_ANY_TUPLE:
        /* The arguments of a call are not a tuple of one. */
        if (a->items->count == 1 && (top == bottom || top[-1].in->kind != SHOAL_ANY_CONSTRUCT))
            put_text(t, ",");
        put_text(t, ")");
        break;
    case SHOAL_ANY_DICT: put_text(t, "}"); break;
    case SHOAL_ANY_SET:
        if (some)
            put_text(t, "}");
        if (a->frozen || !some)
            put_text(t, ")");
        break;
    default: break;
    }
}

static void put_value(struct text *t, const shoal_any *a, bool array)
{
    switch (a->kind) {
    case SHOAL_ANY_NONE: put_text(t, "None"); break;
    case SHOAL_ANY_BOOL: put_text(t, a->integer ? "True" : "False"); break;
    case SHOAL_ANY_INT: put_int(t, a); break;
    case SHOAL_ANY_FLOAT: put_float(t, a->real, true); break;
    case SHOAL_ANY_STR: put_str(t, a->bytes); break;
    case SHOAL_ANY_BYTES: put_bytes(t, a->bytes, array); break;
    case SHOAL_ANY_OBJECT: put_object(t, a->object); break;
    default: begin(t, a); break;
    }
}

static void put_tree(struct text *t, const shoal_any *a)
{
    struct any_frame *bottom = any_frames(a), *top = bottom - 1;
    for (;;) {
        if (is_construct(a, "complex")) {
            put_complex(t, a->items->at[0].items);
        } else {
            put_value(t, a, calls(top, bottom, "bytearray"));
            if (any_has_items(a))
                *++top = (struct any_frame){a, 0};
        }
        while (top >= bottom && top->next == shown_of(top, bottom))
            end(t, top, bottom), top--;
        if (top < bottom)
            return;
        if (top->next)
            put_text(t, top->in->kind == SHOAL_ANY_DICT && top->next % 2 ? ": " : ", ");
        a = &top->in->items->at[top->next++];
    }
}

int shoal_any_repr(const shoal_any *any, char **ret)
{
    struct text t = {0};
    if (!any)
        return any_is_null("shoal_any_repr");
    if (!ret)
        return fail(-EINVAL, "shoal_any_repr: nowhere to write the text (NULL)");
    put_tree(&t, any);
    put(&t, "", 1);
    if (t.failed) {
        free(t.at);
        return fail(-ENOMEM, "out of memory: a repr of more than %zu bytes", t.size);
    }
    *ret = t.at;
    return 0;
}
