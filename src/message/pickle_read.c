/* Reading pickle, protocols 2 to 5.
 *
 * Pickle is a program for a small stack machine. This one runs only what makes plain values:
 * nothing is looked up and nothing is called; a name is a place in a table (construct.c), and what
 * the call of one makes is known beforehand.
 *
 * The bytes are another process's, perhaps hostile, perhaps changing while they are read. So each
 * opcode, number and length is read once, texts are copied before they are checked, and every
 * length is compared with what is left before anything is done with it. There is no recursion.
 *
 * The memo. A value that is referred to again is not copied: the second node points to the same
 * items. Time and memory are limited as if it were copied (what is small as pickle can be huge when
 * it is walked: "billion laughs"). A container that something refers to does not change any more:
 * CPython's pickle fills a container before it is used anywhere else, unless it refers to itself.
 */
#include "message/construct.h"
#include "message/pickle.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_VALUES = 64, FIRST_MEMO = 32, UNSET = 255 };

struct reader {
    const unsigned char *at, *end, *begin;
    struct any_tree *tree;
    size_t nodes; /* how many more there may be */
    /* Values lie from bottom to top; those below floor are behind a mark. */
    shoal_any *bottom, *floor, *top, *limit;
    shoal_any *memo; /* NULL: nothing in it yet */
    size_t memo_room, memo_used;
    unsigned protocol;
    const struct any_object *objects;
    size_t n_objects;
    /* Where both are at first. They are large, and mostly stay as they are: so they stand apart. */
    shoal_any *first_values, *first_memo;
};

#define bad(...) fail(-EBADMSG, "pickle: " __VA_ARGS__)

/* ---- bytes ---- */

typedef uint16_t __attribute__((aligned(1), may_alias)) any_16;
typedef uint32_t __attribute__((aligned(1), may_alias)) any_32;
typedef uint64_t __attribute__((aligned(1), may_alias)) any_64;

static size_t left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

static int truncated(const struct reader *r)
{
    return bad("ends in the middle, after %zu bytes", (size_t)(r->end - r->begin));
}

/* A number of 1, 2, 4 or 8 bytes; volatile, so that it is read once. */
static inline int take_number(struct reader *r, size_t n, uint64_t *ret)
{
    if (unlikely(left(r) < n))
        return truncated(r);
    const unsigned char *p = r->at;
    r->at += n;
    switch (n) {
    case 1: *ret = *(const volatile unsigned char *)p; break;
    case 2: *ret = *(const volatile any_16 *)p; break;
    case 4: *ret = *(const volatile any_32 *)p; break;
    default: *ret = *(const volatile any_64 *)p; break;
    }
    return 0;
}

/* As many bytes as the number of n bytes before them says. */
static inline int take_bytes(struct reader *r, size_t n, const unsigned char **ret, size_t *size)
{
    uint64_t length;
    int rc = take_number(r, n, &length);
    if (rc)
        return rc;
    if (unlikely(length > left(r)))
        return truncated(r);
    *ret = r->at;
    *size = length;
    r->at += length;
    return 0;
}

/* What stands before the next newline. */
static int take_line(struct reader *r, const char **ret, size_t *size)
{
    const unsigned char *end = memchr(r->at, '\n', left(r));
    if (!end)
        return truncated(r);
    *ret = (const char *)r->at;
    *size = (size_t)(end - r->at);
    r->at = end + 1;
    return 0;
}

/* ---- the stack ---- */

static int grow(struct reader *r)
{
    size_t used = (size_t)(r->top - r->bottom), floor = (size_t)(r->floor - r->bottom);
    if (!tree_charge(r->tree, 2 * used * sizeof *r->top))
        return -ENOMEM;
    bool first = r->bottom == r->first_values;
    shoal_any *bottom = realloc(first ? NULL : r->bottom, 2 * used * sizeof *bottom);
    if (!bottom)
        return fail(-ENOMEM, "out of memory: %zu values", used);
    if (first)
        memcpy(bottom, r->bottom, used * sizeof *bottom);
    r->bottom = bottom;
    r->floor = bottom + floor;
    r->top = bottom + used;
    r->limit = bottom + 2 * used;
    return 0;
}

static inline int push(struct reader *r, shoal_any value)
{
    if (unlikely(r->top == r->limit)) {
        int rc = grow(r);
        if (rc)
            return rc;
    }
    *r->top++ = value;
    return 0;
}

/* What goes into a container counts, and what is referred to again. */
static inline int spend_nodes(struct reader *r, size_t n)
{
    if (unlikely(n > r->nodes))
        return bad("more values than the limit allows");
    r->nodes -= n;
    return 0;
}

static inline int need(const struct reader *r, size_t n)
{
    return likely((size_t)(r->top - r->floor) >= n) ? 0 : bad("takes from an empty stack");
}

/* Remembers where the mark before it is. */
static shoal_any mark(const struct reader *r, const shoal_any *floor)
{
    return (shoal_any){.head = ANY_MARK, .integer = floor - r->bottom};
}

static int push_mark(struct reader *r)
{
    int rc = push(r, mark(r, r->floor));
    r->floor = r->top;
    return rc;
}

/* The values above the last mark, which are off the stack then. */
static int pop_mark(struct reader *r, const shoal_any **values, size_t *n)
{
    if (r->floor == r->bottom)
        return bad("there is no mark");
    *values = r->floor;
    *n = (size_t)(r->top - r->floor);
    r->top = r->floor - 1;
    r->floor = r->bottom + r->top->integer;
    return 0;
}

/* ---- texts ---- */

static int push_text(struct reader *r, int kind, size_t n)
{
    const unsigned char *bytes;
    size_t size;
    int rc = take_bytes(r, n, &bytes, &size);
    if (rc)
        return rc;
    struct any_bytes *text = any_text(r->tree, size);
    if (!text)
        return -ENOMEM;
    if (copy_text(text->at, bytes, size) & NOT_ASCII && kind == SHOAL_ANY_STR &&
        any_utf8_valid(text->at, size) < size)
        return bad("a str that is not UTF-8");
    return push(r, (shoal_any){.head = (unsigned)kind, .bytes = text});
}

static int push_long(struct reader *r, size_t n)
{
    const unsigned char *bytes;
    size_t size;
    shoal_any value;
    int rc = take_bytes(r, n, &bytes, &size);
    if (!rc && size > INT32_MAX)
        rc = bad("an int of a negative number of bytes");
    if (!rc)
        rc = any_set_int(r->tree, &value, bytes, size);
    return rc ? rc : push(r, value);
}

static int push_int(struct reader *r, size_t n)
{
    uint64_t value;
    int rc = take_number(r, n, &value);
    if (rc)
        return rc;
    int64_t integer = n == 4 ? (int32_t)value : (int64_t)value;
    return push(r, (shoal_any){.head = SHOAL_ANY_INT, .integer = integer});
}

static int push_float(struct reader *r)
{
    uint64_t bits;
    int rc = take_number(r, 8, &bits);
    if (rc)
        return rc;
    shoal_any value = {.head = SHOAL_ANY_FLOAT};
    bits = __builtin_bswap64(bits);
    memcpy(&value.real, &bits, sizeof bits);
    return push(r, value);
}

/* ---- containers ---- */

static int push_empty(struct reader *r, int kind)
{
    struct any_items *made = items_create(r->tree, 0);
    return made ? push(r, node_of_items(kind, made)) : -ENOMEM;
}

/* A tuple of the n values at the end of the stack, which are taken off. */
static int push_tuple(struct reader *r, const shoal_any *values, size_t n)
{
    int rc = spend_nodes(r, n);
    if (rc)
        return rc;
    struct any_items *made = items_create(r->tree, n);
    rc = made ? items_append(r->tree, made, values, n) : -ENOMEM;
    return rc ? rc : push(r, node_of_items(SHOAL_ANY_TUPLE, made));
}

static int tuple_of(struct reader *r, size_t n)
{
    int rc = need(r, n);
    if (rc)
        return rc;
    r->top -= n;
    return push_tuple(r, r->top, n);
}

static int tuple_from_mark(struct reader *r)
{
    const shoal_any *values;
    size_t n;
    int rc = pop_mark(r, &values, &n);
    return rc ? rc : push_tuple(r, values, n);
}

static int fill_dict(struct reader *r, struct any_items *into, const shoal_any *values, size_t n)
{
    if (n % 2)
        return bad("a key without a value");
    int rc = items_reserve(r->tree, into, n);
    for (size_t i = 0; i < n && !rc; i += 2)
        rc = items_put(r->tree, into, &values[i], &values[i + 1]);
    return rc;
}

static int fill_set(struct reader *r, struct any_items *into, const shoal_any *values, size_t n)
{
    int rc = items_reserve(r->tree, into, n);
    for (size_t i = 0; i < n && !rc; i++)
        rc = items_add(r->tree, into, &values[i]);
    return rc;
}

/* The values are off the stack already; the container is at its top. */
static int fill_top(struct reader *r, int kind, const shoal_any *values, size_t n)
{
    int rc = need(r, 1);
    if (!rc)
        rc = spend_nodes(r, n);
    if (rc)
        return rc;
    const shoal_any *into = r->top - 1;
    if (into->kind != kind || into->frozen)
        return bad("puts into %s", any_kind_name(into));
    if (into->items->shared)
        return bad("%s that refers to itself, or changes after it was used", any_kind_name(into));
    switch (kind) {
    case SHOAL_ANY_DICT: return fill_dict(r, into->items, values, n);
    case SHOAL_ANY_SET: return fill_set(r, into->items, values, n);
    default: return items_append(r->tree, into->items, values, n);
    }
}

static int fill_from_mark(struct reader *r, int kind)
{
    const shoal_any *values;
    size_t n;
    int rc = pop_mark(r, &values, &n);
    return rc ? rc : fill_top(r, kind, values, n);
}

static int fill_with(struct reader *r, int kind, size_t n)
{
    int rc = need(r, n);
    if (rc)
        return rc;
    r->top -= n;
    return fill_top(r, kind, r->top, n);
}

static int push_set(struct reader *r, bool frozen, const shoal_any *values, size_t n)
{
    int rc = spend_nodes(r, n);
    if (rc)
        return rc;
    struct any_items *items = items_create(r->tree, 0);
    rc = items ? fill_set(r, items, values, n) : -ENOMEM;
    if (rc)
        return rc;
    shoal_any made = node_of_items(SHOAL_ANY_SET, items);
    made.frozen = frozen;
    return push(r, made);
}

static int frozenset_from_mark(struct reader *r)
{
    const shoal_any *values;
    size_t n;
    int rc = pop_mark(r, &values, &n);
    return rc ? rc : push_set(r, true, values, n);
}

/* ---- names and calls ---- */

/* A construct without arguments. */
static int push_class(struct reader *r, int name)
{
    struct any_items *none = items_create(r->tree, 0);
    shoal_any arguments = node_of_items(SHOAL_ANY_TUPLE, none), made;
    int rc = none ? construct_create(r->tree, &made, name, &arguments) : -ENOMEM;
    return rc ? rc : push(r, made);
}

static int push_global(struct reader *r, const char *module, size_t module_size, const char *name,
                       size_t name_size)
{
    int which = construct_find(r->protocol, module, module_size, name, name_size);
    if (which >= 0 && constructs[which].takes == TAKES_CLASS)
        return push_class(r, which);
    if (which >= 0)
        return push(r, (shoal_any){.kind = ANY_GLOBAL, .name = (uint32_t)which});
    /* Whatever bytes it is, what is shown is text. */
    char shown[100];
    int n = snprintf(shown, sizeof shown, "%.*s.%.*s", (int)(module_size < 48 ? module_size : 48),
                     module, (int)(name_size < 48 ? name_size : 48), name);
    for (int i = 0; i < n; i++)
        if (shown[i] < ' ' || shown[i] > '~')
            shown[i] = '?';
    return bad("%s is none of the names that a message may have", shown);
}

static int global(struct reader *r)
{
    const char *module, *name;
    size_t module_size, name_size;
    int rc = take_line(r, &module, &module_size);
    if (!rc)
        rc = take_line(r, &name, &name_size);
    return rc ? rc : push_global(r, module, module_size, name, name_size);
}

static int stack_global(struct reader *r)
{
    int rc = need(r, 2);
    if (rc)
        return rc;
    r->top -= 2;
    if (r->top[0].kind != SHOAL_ANY_STR || r->top[1].kind != SHOAL_ANY_STR)
        return bad("a name that is no str");
    const struct any_bytes *module = r->top[0].bytes, *name = r->top[1].bytes;
    return push_global(r, (const char *)module->at, module->size, (const char *)name->at,
                       name->size);
}

static int push_construct(struct reader *r, int name, const shoal_any *arguments)
{
    shoal_any made;
    int rc = construct_create(r->tree, &made, name, arguments);
    return rc ? rc : push(r, made);
}

static int call_bytearray(struct reader *r, int name, const shoal_any *arguments)
{
    shoal_any none = {.head = SHOAL_ANY_BYTES, .bytes = any_text(r->tree, 0)}, made;
    if (arguments->items->count)
        return push_construct(r, name, arguments);
    struct any_items *items = none.bytes ? items_create(r->tree, 1) : NULL;
    int rc = items ? items_append(r->tree, items, &none, 1) : -ENOMEM;
    made = node_of_items(SHOAL_ANY_TUPLE, items);
    return rc ? rc : push_construct(r, name, &made);
}

static int call_set(struct reader *r, bool frozen, const struct any_items *arguments)
{
    if (!arguments->count)
        return push_set(r, frozen, NULL, 0);
    if (arguments->count != 1 || arguments->at[0].kind != SHOAL_ANY_LIST)
        return bad("a set of something other than a list");
    const struct any_items *list = arguments->at[0].items;
    return push_set(r, frozen, list->at, list->count);
}

/* Bytes, as protocol 2 writes them: a str whose characters are the bytes. */
static int call_encode(struct reader *r, const struct any_items *arguments)
{
    const shoal_any *at = arguments->at;
    if (arguments->count != 2 || at[0].kind != SHOAL_ANY_STR || at[1].kind != SHOAL_ANY_STR ||
        (strcmp((const char *)at[1].bytes->at, "latin1") != 0 &&
         strcmp((const char *)at[1].bytes->at, "latin-1") != 0))
        return bad("_codecs.encode of something other than a str to latin1");
    const struct any_bytes *str = at[0].bytes;
    struct any_bytes *bytes = any_text(r->tree, str->size);
    if (!bytes)
        return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < str->size; i++) {
        unsigned c = str->at[i];
        if (c >= 0xc4) /* U+0100 and beyond */
            return bad("a str of bytes with a character beyond 255");
        if (c >= 0x80)
            c = (c & 3) << 6 | (str->at[++i] & 0x3f);
        bytes->at[n++] = (unsigned char)c;
    }
    bytes->at[n] = 0;
    bytes->size = n;
    return push(r, (shoal_any){.head = SHOAL_ANY_BYTES, .bytes = bytes});
}

static int call_bytes(struct reader *r, const struct any_items *arguments)
{
    if (arguments->count)
        return bad("bytes of something");
    struct any_bytes *none = any_text(r->tree, 0);
    return none ? push(r, (shoal_any){.head = SHOAL_ANY_BYTES, .bytes = none}) : -ENOMEM;
}

static int call_list(struct reader *r, const struct any_items *arguments)
{
    if (arguments->count != 1 || arguments->at[0].kind != SHOAL_ANY_LIST)
        return bad("a list of something other than a list");
    arguments->at[0].items->shared = true;
    return push(r, arguments->at[0]);
}

static int reduce(struct reader *r)
{
    int rc = need(r, 2);
    if (rc)
        return rc;
    r->top -= 2;
    shoal_any function = r->top[0], arguments = r->top[1];
    bool class = function.kind == SHOAL_ANY_CONSTRUCT && construct_is_class(&function);
    if ((function.kind != ANY_GLOBAL && !class) || arguments.kind != SHOAL_ANY_TUPLE)
        return bad("calls %s with %s", any_kind_name(&function), any_kind_name(&arguments));
    int name = (int)function.name;
    switch (constructs[name].makes) {
    case MAKES_SET: return call_set(r, false, arguments.items);
    case MAKES_FROZENSET: return call_set(r, true, arguments.items);
    case MAKES_BYTES: return call_bytes(r, arguments.items);
    case MAKES_BYTEARRAY: return call_bytearray(r, name, &arguments);
    case MAKES_ENCODED: return call_encode(r, arguments.items);
    case MAKES_LIST: return call_list(r, arguments.items);
    case MAKES_ITSELF: break;
    }
    return push_construct(r, name, &arguments);
}

/* A Token is made empty, and told what it is by its state: the arguments that it is called with here. */
static int newobj(struct reader *r)
{
    int rc = need(r, 2);
    if (rc)
        return rc;
    r->top -= 2;
    const shoal_any *class = r->top, *arguments = r->top + 1;
    if (class->kind != ANY_GLOBAL || constructs[class->name].takes != TAKES_TOKEN ||
        arguments->kind != SHOAL_ANY_TUPLE || arguments->items->count)
        return bad("opcode 0x%02x, which makes no plain value", NEWOBJ);
    return push(r, (shoal_any){.kind = ANY_BLANK, .name = class->name});
}

static int build(struct reader *r)
{
    int rc = need(r, 2);
    if (rc)
        return rc;
    r->top--;
    const shoal_any *construct = r->top - 1, *state = r->top;
    if (construct->kind == ANY_BLANK) {
        int name = (int)construct->name;
        shoal_any arguments = *state;
        r->top--;
        return push_construct(r, name, &arguments);
    }
    if (construct->kind != SHOAL_ANY_CONSTRUCT)
        return bad("sets the state of %s", any_kind_name(construct));
    return construct_set_state(r->tree, construct, state);
}

/* Protocol 5: the call of bytearray is part of the opcode. */
static int bytearray8(struct reader *r)
{
    int rc = push_text(r, SHOAL_ANY_BYTES, 8);
    if (!rc)
        rc = tuple_of(r, 1);
    if (rc)
        return rc;
    shoal_any arguments = *--r->top;
    return push_construct(r, construct_named("bytearray"), &arguments);
}

static int persistent(struct reader *r)
{
    int rc = need(r, 1);
    if (rc)
        return rc;
    shoal_any id = *--r->top, made;
    if (!r->objects)
        return bad("an object of a family, where there can be none");
    if (id.kind != SHOAL_ANY_INT || id.big || (uint64_t)id.integer >= r->n_objects)
        return bad("an object that did not come along");
    rc = any_set_object(r->tree, &made, &r->objects[id.integer], "an object in a message");
    return rc ? rc : push(r, made);
}

/* ---- the memo ---- */

static int memo_grow(struct reader *r, size_t least)
{
    size_t room = 2 * r->memo_room > least ? 2 * r->memo_room : least;
    if (!tree_charge(r->tree, room * sizeof *r->memo))
        return -ENOMEM;
    bool first = r->memo == r->first_memo;
    shoal_any *memo = realloc(first ? NULL : r->memo, room * sizeof *memo);
    if (!memo)
        return fail(-ENOMEM, "out of memory: a memo of %zu values", room);
    if (first)
        memcpy(memo, r->memo, r->memo_room * sizeof *memo);
    for (size_t i = r->memo_room; i < room; i++)
        memo[i].kind = UNSET;
    r->memo = memo;
    r->memo_room = room;
    return 0;
}

static void memo_begin(struct reader *r)
{
    r->memo = r->first_memo;
    r->memo_room = FIRST_MEMO;
    for (int i = 0; i < FIRST_MEMO; i++)
        r->memo[i].kind = UNSET;
}

static int memo_put(struct reader *r, uint64_t index)
{
    int rc = need(r, 1);
    if (rc)
        return rc;
    /* They are numbered as they come, each in a byte at least: so a memo cannot be larger than
     * what was read. */
    if (index > (size_t)(r->at - r->begin))
        return bad("a memo with number %llu", (unsigned long long)index);
    if (!r->memo)
        memo_begin(r);
    if (index >= r->memo_room)
        rc = memo_grow(r, index + 1);
    if (rc)
        return rc;
    r->memo_used += r->memo[index].kind == UNSET;
    r->memo[index] = r->top[-1];
    return 0;
}

static int memo_get(struct reader *r, uint64_t index)
{
    if (index >= r->memo_room || r->memo[index].kind == UNSET)
        return bad("refers to number %llu, which there is not", (unsigned long long)index);
    shoal_any value = r->memo[index];
    size_t nodes = any_nodes(&value), size = pickle_size(&value);
    int rc = spend_nodes(r, nodes);
    if (rc)
        return rc;
    if (size > SIZE_MAX / 2 || nodes > SIZE_MAX / 2 / sizeof value ||
        !tree_charge(r->tree, size + nodes * sizeof value))
        return -ENOMEM;
    if (any_has_items(&value))
        value.items->shared = true;
    return push(r, value);
}

static int memo_numbered(struct reader *r, size_t n, int (*what)(struct reader *, uint64_t))
{
    uint64_t index;
    int rc = take_number(r, n, &index);
    return rc ? rc : what(r, index);
}

/* The number in decimal, on a line. */
static int memo_line(struct reader *r, int (*what)(struct reader *, uint64_t))
{
    const char *digits;
    size_t n;
    uint64_t index = 0;
    int rc = take_line(r, &digits, &n);
    if (rc)
        return rc;
    if (!n || n > 10)
        return bad("a number of %zu digits", n);
    for (size_t i = 0; i < n; i++) {
        char digit = *(const volatile char *)&digits[i];
        if (digit < '0' || digit > '9')
            return bad("a number that is none");
        index = index * 10 + (uint64_t)(digit - '0');
    }
    return what(r, index);
}

/* ---- the machine ---- */

static int skip_frame(struct reader *r)
{
    uint64_t size;
    int rc = take_number(r, 8, &size);
    return rc ? rc : size > left(r) ? truncated(r) : 0;
}

static int unknown(unsigned opcode)
{
    if (opcode == NEXT_BUFFER || opcode == READONLY_BUFFER)
        return bad("a buffer out of band, where there can be none");
    return bad("opcode 0x%02x, which makes no plain value", opcode);
}

static int stop(struct reader *r)
{
    if (r->top - r->bottom != 1 || r->floor != r->bottom)
        return bad("leaves %zu values, not one", (size_t)(r->top - r->bottom));
    if (r->at != r->end)
        return bad("%zu bytes behind its end", left(r));
    if (r->top[-1].kind > SHOAL_ANY_OBJECT)
        return bad("%s is no plain value", any_kind_name(r->top - 1));
    return 0;
}

static int step(struct reader *r, unsigned opcode)
{
    switch (opcode) {
    case FRAME: return skip_frame(r);
    case NONE: return push(r, (shoal_any){.head = SHOAL_ANY_NONE});
    case NEWTRUE:
    case NEWFALSE:
        return push(r, (shoal_any){.head = SHOAL_ANY_BOOL, .integer = opcode == NEWTRUE});
    case BININT1: return push_int(r, 1);
    case BININT2: return push_int(r, 2);
    case BININT: return push_int(r, 4);
    case LONG1: return push_long(r, 1);
    case LONG4: return push_long(r, 4);
    case BINFLOAT: return push_float(r);
    case SHORT_BINUNICODE: return push_text(r, SHOAL_ANY_STR, 1);
    case BINUNICODE: return push_text(r, SHOAL_ANY_STR, 4);
    case BINUNICODE8: return push_text(r, SHOAL_ANY_STR, 8);
    case SHORT_BINBYTES: return push_text(r, SHOAL_ANY_BYTES, 1);
    case BINBYTES: return push_text(r, SHOAL_ANY_BYTES, 4);
    case BINBYTES8: return push_text(r, SHOAL_ANY_BYTES, 8);
    case BYTEARRAY8: return bytearray8(r);
    case MARK: return push_mark(r);
    case EMPTY_LIST: return push_empty(r, SHOAL_ANY_LIST);
    case EMPTY_DICT: return push_empty(r, SHOAL_ANY_DICT);
    case EMPTY_SET: return push_empty(r, SHOAL_ANY_SET);
    case APPEND: return fill_with(r, SHOAL_ANY_LIST, 1);
    case APPENDS: return fill_from_mark(r, SHOAL_ANY_LIST);
    case SETITEM: return fill_with(r, SHOAL_ANY_DICT, 2);
    case SETITEMS: return fill_from_mark(r, SHOAL_ANY_DICT);
    case ADDITEMS: return fill_from_mark(r, SHOAL_ANY_SET);
    case FROZENSET: return frozenset_from_mark(r);
    case EMPTY_TUPLE: return push_empty(r, SHOAL_ANY_TUPLE);
    case TUPLE1: return tuple_of(r, 1);
    case TUPLE2: return tuple_of(r, 2);
    case TUPLE3: return tuple_of(r, 3);
    case TUPLE: return tuple_from_mark(r);
    case MEMOIZE: return memo_put(r, r->memo_used);
    case PUT: return memo_line(r, memo_put);
    case BINPUT: return memo_numbered(r, 1, memo_put);
    case LONG_BINPUT: return memo_numbered(r, 4, memo_put);
    case GET: return memo_line(r, memo_get);
    case BINGET: return memo_numbered(r, 1, memo_get);
    case LONG_BINGET: return memo_numbered(r, 4, memo_get);
    case GLOBAL: return global(r);
    case STACK_GLOBAL: return stack_global(r);
    case REDUCE: return reduce(r);
    case NEWOBJ: return newobj(r);
    case BUILD: return build(r);
    case BINPERSID: return persistent(r);
    default: return unknown(opcode);
    }
}

/* The commonest opcodes, as long as they come. What they change is kept in registers: through
 * memory each would wait for the one before it. Leaves to step() whatever is not plain sailing. */
static void run_common(struct reader *r)
{
    const unsigned char *at = r->at, *end = r->end;
    shoal_any *top = r->top, *limit = r->limit, *floor = r->floor;
    while (end - at > 1 && top != limit) {
        unsigned opcode = *(const volatile unsigned char *)at;
        size_t next = *(const volatile unsigned char *)(at + 1);
        if (opcode == BININT1) {
            *top++ = (shoal_any){.head = SHOAL_ANY_INT, .integer = (int64_t)next};
            at += 2;
        } else if (opcode == SHORT_BINUNICODE) {
            struct any_bytes *text =
                next + 2 <= (size_t)(end - at) ? any_text(r->tree, next) : NULL;
            if (!text)
                break;
            if (copy_text(text->at, at + 2, next) & NOT_ASCII &&
                any_utf8_valid(text->at, next) < next)
                break;
            *top++ = (shoal_any){.head = SHOAL_ANY_STR, .bytes = text};
            at += 2 + next;
        } else if (opcode == NONE) {
            *top++ = (shoal_any){.head = SHOAL_ANY_NONE};
            at++;
        } else if (opcode == MARK) {
            *top++ = mark(r, floor);
            floor = top;
            at++;
        } else {
            break;
        }
    }
    r->at = at;
    r->top = top;
    r->floor = floor;
}

static int run(struct reader *r)
{
    uint64_t opcode;
    for (;;) {
        run_common(r);
        int rc = take_number(r, 1, &opcode);
        if (rc)
            return rc;
        if (opcode == STOP)
            return stop(r);
        rc = opcode == APPENDS ? fill_from_mark(r, SHOAL_ANY_LIST) : step(r, (unsigned)opcode);
        if (rc)
            return rc;
    }
}

static int begin(struct reader *r)
{
    uint64_t opcode, protocol;
    int rc = take_number(r, 1, &opcode);
    if (!rc)
        rc = take_number(r, 1, &protocol);
    if (rc)
        return rc;
    if (opcode != PROTO || protocol < 2 || protocol > 5)
        return bad("begins with 0x%02x 0x%02x, which is not protocol 2, 3, 4 or 5",
                   (unsigned)opcode, (unsigned)protocol);
    r->protocol = (unsigned)protocol;
    if (left(r) && *(const volatile unsigned char *)r->at == FRAME) {
        r->at++;
        return skip_frame(r);
    }
    return 0;
}

/* The default of each limit stands in any.h. */
static int set_limits(struct reader *r, const shoal_any_limits *limits, size_t *most,
                      unsigned *depth)
{
    static const shoal_any_limits defaults;
    size_t size = left(r);
    if (!limits)
        limits = &defaults;
    if (limits->depth > SHOAL_ANY_DEPTH)
        return fail(-EINVAL, "a limit of %u levels; %d is the most", limits->depth,
                    SHOAL_ANY_DEPTH);
    *depth = limits->depth ? limits->depth : SHOAL_ANY_DEPTH;
    r->nodes = limits->nodes ? limits->nodes : SHOAL_ANY_NODES;
    *most = limits->bytes ? limits->bytes : ((size_t)1 << 30) + 64 * size;
    return 0;
}

/* Most of what a short message becomes fits into the first block. */
static size_t first_room(size_t size, size_t most)
{
    size_t room = size < 16 << 10 ? 128 + 4 * size : 64 << 10;
    return room < most / 2 ? room : 0;
}

int pickle_read(shoal_any **ret, const void *bytes, size_t size, const shoal_any_limits *limits,
                const struct any_object *objects, size_t count)
{
    shoal_any values[FIRST_VALUES], memo[FIRST_MEMO];
    struct reader r = {
        .at = bytes,
        .begin = bytes,
        .end = (const unsigned char *)bytes + size,
        .bottom = values,
        .floor = values,
        .top = values,
        .limit = values + FIRST_VALUES,
        .objects = objects,
        .n_objects = count,
        .first_values = values,
        .first_memo = memo,
    };
    size_t most;
    unsigned depth;
    int rc = set_limits(&r, limits, &most, &depth);
    if (rc)
        return rc;
    r.tree = tree_create(first_room(size, most), most);
    if (!r.tree)
        return -ENOMEM;
    rc = begin(&r);
    if (!rc)
        rc = run(&r);
    if (!rc && any_depth(r.bottom) > depth)
        rc = bad("values deeper than the limit of %u levels", depth);
    if (!rc) {
        r.tree->root = *r.bottom;
        r.tree->root.root = true;
    }
    if (r.bottom != values)
        free(r.bottom);
    if (r.memo != memo)
        free(r.memo);
    if (rc) {
        if (rc == -EINVAL || (rc == -ENOMEM && r.tree->full))
            rc = -EBADMSG;
        blocks_free(&r.tree->block);
        return rc;
    }
    *ret = &r.tree->root;
    return 0;
}

int shoal_any_decode(shoal_any **ret, const void *bytes, size_t size,
                     const shoal_any_limits *limits)
{
    if (!ret || (!bytes && size))
        return fail(-EINVAL, "shoal_any_decode: NULL instead of bytes, or nothing to write to");
    return pickle_read(ret, bytes, size, limits, NULL, 0);
}
