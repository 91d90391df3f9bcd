/* Writing pickle, protocol 4.
 *
 * How many bytes a value takes is known beforehand: containers keep the sum of what lies in them
 * (any_items.c), and pickle_size_other must say exactly what is written here. So a message is
 * written in one go, straight to where it belongs.
 *
 * Nothing is put into a memo, as nothing in a tree is there twice. There is one frame, as CPython
 * makes it, if all fits in one; without frames its reader does as well.
 */
#include "message/construct.h"
#include "message/pickle.h"
#include <stdlib.h>
#include <string.h>

/* CPython's smallest and largest frame. */
enum { FRAME_LEAST = 4, FRAME_MOST = 64 << 10 };

/* ---- sizes ---- */

static size_t int_bytes(int64_t value)
{
    return (size_t)(64 - __builtin_clrsbll(value) + 7) / 8;
}

static size_t int_size(const shoal_any *a)
{
    if (a->big)
        return a->bytes->size + (a->bytes->size < 256 ? 2 : 5);
    int64_t value = a->integer;
    if (value == (uint8_t)value)
        return 2;
    if (value == (uint16_t)value)
        return 3;
    return value == (int32_t)value ? 5 : 2 + int_bytes(value);
}

static size_t text_size(size_t size)
{
    return size + (size < 256 ? 2 : size <= UINT32_MAX ? 5 : 9);
}

size_t pickle_size_other(const shoal_any *a)
{
    const struct construct *c;
    switch (a->kind) {
    case SHOAL_ANY_INT: return int_size(a);
    case SHOAL_ANY_FLOAT: return 9;
    case SHOAL_ANY_STR:
    case SHOAL_ANY_BYTES: return text_size(a->bytes->size);
    case SHOAL_ANY_OBJECT: return 6;
    case SHOAL_ANY_LIST:
    case SHOAL_ANY_DICT: return a->items->size + (a->items->count ? 3 : 1);
    case SHOAL_ANY_TUPLE: return a->items->size + (a->items->count > 3 ? 2 : 1);
    case SHOAL_ANY_SET: return a->items->size + (a->frozen ? 2 : a->items->count ? 3 : 1);
    case SHOAL_ANY_CONSTRUCT:
        c = &constructs[a->name];
        return (construct_is_class(a) ? 0 : a->items->size + a->items->count) + 1 +
               text_size(strlen(c->module)) + text_size(strlen(c->name));
    default: return 1;
    }
}

/* With what begins and ends a pickle, and with STOP in the frame. */
static bool framed(size_t size)
{
    return size + 1 >= FRAME_LEAST && size + 1 <= FRAME_MOST;
}

static size_t whole_size(size_t size)
{
    return 2 + (framed(size) ? 9 : 0) + size + 1;
}

/* ---- scalars ---- */

static unsigned char *put(unsigned char *out, const void *bytes, size_t size)
{
    copy_text(out, bytes, size);
    return out + size;
}

/* The n low bytes, least significant first: these machines' own order. */
static unsigned char *put_number(unsigned char *out, enum opcode opcode, uint64_t value, size_t n)
{
    *out++ = (unsigned char)opcode;
    return put(out, &value, n);
}

static unsigned char *put_int(unsigned char *out, const shoal_any *a)
{
    if (a->big) {
        size_t size = a->bytes->size;
        out = size < 256 ? put_number(out, LONG1, size, 1) : put_number(out, LONG4, size, 4);
        return put(out, a->bytes->at, size);
    }
    int64_t value = a->integer;
    if (value == (uint8_t)value)
        return put_number(out, BININT1, (uint64_t)value, 1);
    if (value == (uint16_t)value)
        return put_number(out, BININT2, (uint64_t)value, 2);
    if (value == (int32_t)value)
        return put_number(out, BININT, (uint64_t)value, 4);
    size_t size = int_bytes(value);
    return put(put_number(out, LONG1, size, 1), &value, size);
}

static unsigned char *put_float(unsigned char *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put_number(out, BINFLOAT, __builtin_bswap64(bits), 8);
}

static unsigned char *put_text(unsigned char *out, bool str, const void *bytes, size_t size)
{
    if (size < 256)
        out = put_number(out, str ? SHORT_BINUNICODE : SHORT_BINBYTES, size, 1);
    else if (size <= UINT32_MAX)
        out = put_number(out, str ? BINUNICODE : BINBYTES, size, 4);
    else
        out = put_number(out, str ? BINUNICODE8 : BINBYTES8, size, 8);
    return put(out, bytes, size);
}

/* ---- containers ---- */

static unsigned char *begin(unsigned char *out, const shoal_any *a)
{
    const struct construct *c;
    bool some = a->items->count;
    switch (a->kind) {
    case SHOAL_ANY_LIST: *out++ = EMPTY_LIST; break;
    case SHOAL_ANY_DICT: *out++ = EMPTY_DICT; break;
    case SHOAL_ANY_TUPLE: some = a->items->count > 3; break;
    case SHOAL_ANY_SET:
        if (a->frozen)
            some = true;
        else
            *out++ = EMPTY_SET;
        break;
    default: /* construct */
        c = &constructs[a->name];
        out = put_text(out, true, c->module, strlen(c->module));
        out = put_text(out, true, c->name, strlen(c->name));
        *out++ = STACK_GLOBAL;
        return out;
    }
    if (some)
        *out++ = MARK;
    return out;
}

static unsigned char *end(unsigned char *out, const shoal_any *a)
{
    static const unsigned char tuple[] = {EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3};
    size_t count = a->items->count;
    switch (a->kind) {
    case SHOAL_ANY_TUPLE: *out++ = count > 3 ? TUPLE : tuple[count]; break;
    case SHOAL_ANY_CONSTRUCT: *out++ = count > 1 ? BUILD : REDUCE; break;
    case SHOAL_ANY_SET:
        if (a->frozen)
            *out++ = FROZENSET;
        else if (count)
            *out++ = ADDITEMS;
        break;
    default:
        if (count)
            *out++ = a->kind == SHOAL_ANY_LIST ? APPENDS : SETITEMS;
        break;
    }
    return out;
}

static unsigned char *put_other(unsigned char *out, const shoal_any *a, uint32_t *objects)
{
    switch (a->kind) {
    case SHOAL_ANY_BOOL: *out++ = a->integer ? NEWTRUE : NEWFALSE; return out;
    case SHOAL_ANY_INT: return put_int(out, a);
    case SHOAL_ANY_FLOAT: return put_float(out, a->real);
    case SHOAL_ANY_STR:
    case SHOAL_ANY_BYTES:
        return put_text(out, a->kind == SHOAL_ANY_STR, a->bytes->at, a->bytes->size);
    case SHOAL_ANY_OBJECT:
        out = put_number(out, BININT, (*objects)++, 4);
        *out++ = BINPERSID;
        return out;
    default: return begin(out, a);
    }
}

static bool goes_down(const shoal_any *a)
{
    return any_has_items(a) && !construct_is_class(a);
}

/* The commonest first: a table of jumps costs more than all the rest of a short message. */
static inline unsigned char *put_value(unsigned char *out, const shoal_any *a, uint32_t *objects)
{
    if (a->kind == SHOAL_ANY_INT && !a->big && a->integer == (uint8_t)a->integer)
        return put_number(out, BININT1, (uint64_t)a->integer, 1);
    if (a->kind == SHOAL_ANY_STR && a->bytes->size < 256)
        return put(put_number(out, SHORT_BINUNICODE, a->bytes->size, 1), a->bytes->at,
                   a->bytes->size);
    if (a->kind == SHOAL_ANY_NONE) {
        *out++ = NONE;
        return out;
    }
    return put_other(out, a, objects);
}

static unsigned char *put_tree(unsigned char *out, const shoal_any *a)
{
    uint32_t objects = 0;
    struct any_frame *bottom = any_frames(a), *top = bottom;
    *top = (struct any_frame){a, 0}; /* in case it has no items */
    out = put_value(out, a, &objects);
    if (!goes_down(a))
        return out;
    const shoal_any *next = a->items->at, *last = next + a->items->count;
    for (;;) {
        while (next == last) {
            out = end(out, top->in);
            if (top == bottom)
                return out;
            top--;
            next = top->in->items->at + top->next;
            last = top->in->items->at + top->in->items->count;
        }
        if (top->in->kind == SHOAL_ANY_CONSTRUCT && next > top->in->items->at)
            *out++ = REDUCE; /* before its state */
        a = next++;
        out = put_value(out, a, &objects);
        if (goes_down(a)) {
            top->next = (size_t)(next - top->in->items->at);
            *++top = (struct any_frame){a, 0};
            next = a->items->at;
            last = next + a->items->count;
        }
    }
}

/* A value of this size. */
static void put_whole(unsigned char *out, const shoal_any *any, size_t size)
{
    *out++ = PROTO;
    *out++ = 4;
    if (framed(size))
        out = put_number(out, FRAME, size + 1, 8);
    unsigned char *stop = put_tree(out, any);
    assert((size_t)(stop - out) == size);
    *stop = STOP;
}

void pickle_write(const shoal_any *any, unsigned char *out)
{
    put_whole(out, any, pickle_size(any));
}

/* ---- objects ---- */

int pickle_objects_add(struct pickle_objects *objects, const struct any_object *object)
{
    if (objects->count == objects->room) {
        size_t room = objects->room ? objects->room * 2 : 8;
        struct any_object *at = room <= INT32_MAX ? realloc(objects->at, room * sizeof *at) : NULL;
        if (!at)
            return fail(-ENOMEM, "out of memory: a message of more than %zu objects",
                        objects->count);
        objects->at = at;
        objects->room = room;
    }
    objects->at[objects->count++] = *object;
    return 0;
}

static int note_objects(struct pickle_objects *objects, const shoal_any *a)
{
    struct any_frame *bottom = any_frames(a), *top = bottom - 1;
    for (;;) {
        if (a->kind == SHOAL_ANY_OBJECT) {
            int rc = pickle_objects_add(objects, a->object);
            if (rc)
                return rc;
        }
        if (any_has_items(a) && a->items->objects)
            *++top = (struct any_frame){a, 0};
        while (top >= bottom && top->next == top->in->items->count)
            top--;
        if (top < bottom)
            return 0;
        a = &top->in->items->at[top->next++];
    }
}

void pickle_objects_free(struct pickle_objects *objects)
{
    free(objects->at);
    *objects = (struct pickle_objects){0};
}

static bool has_objects(const shoal_any *any)
{
    return any->kind == SHOAL_ANY_OBJECT || (any_has_items(any) && any->items->objects);
}

static int not_here(void)
{
    return fail(-EINVAL, "an object of the family cannot leave it: elsewhere it means nothing");
}

int pickle_measure(const shoal_any *any, size_t *size, struct pickle_objects *objects)
{
    int rc = 0;
    if (has_objects(any))
        rc = objects ? note_objects(objects, any) : not_here();
    if (!rc)
        *size = whole_size(pickle_size(any));
    return rc;
}

int shoal_any_encode(const shoal_any *any, void **ret, size_t *size)
{
    if (!any)
        return any_is_null("shoal_any_encode");
    if (!ret || !size)
        return fail(-EINVAL, "shoal_any_encode: nowhere to write the bytes or their size (NULL)");
    if (has_objects(any))
        return not_here();
    size_t inner = pickle_size(any), whole = whole_size(inner);
    void *out = malloc(whole);
    if (!out)
        return fail(-ENOMEM, "out of memory: %zu bytes of pickle", whole);
    put_whole(out, any, inner);
    *ret = out;
    *size = whole;
    return 0;
}
