/* The names that a message may call. Which these are, and how each protocol spells them, is what
 * CPython's pickle writes (the __reduce__ of each type; _compat_pickle.py for protocol 2). */
#include "message/construct.h"
#include <string.h>

#define PLAIN(name, makes)                                        \
    {                                                             \
        "builtins", name, "__builtin__", name, name, makes, false \
    }
#define EXCEPTION(name)                                                \
    {                                                                  \
        "builtins", name, "exceptions", name, name, MAKES_ITSELF, true \
    }
const struct construct constructs[] = {
    PLAIN("set", MAKES_SET),
    PLAIN("frozenset", MAKES_FROZENSET),
    PLAIN("bytes", MAKES_BYTES),
    PLAIN("bytearray", MAKES_BYTEARRAY),
    PLAIN("complex", MAKES_ITSELF),
    PLAIN("slice", MAKES_ITSELF),
    {"builtins", "range", "__builtin__", "xrange", "range", MAKES_ITSELF, false},
    {"_codecs", "encode", NULL, NULL, "_codecs.encode", MAKES_ENCODED, false},
    {"queue", "Empty", "Queue", "Empty", "queue.Empty", MAKES_ITSELF, true},
    {"_queue", "Empty", NULL, NULL, "queue.Empty", MAKES_ITSELF, true},
    {"queue", "Full", "Queue", "Full", "queue.Full", MAKES_ITSELF, true},
    EXCEPTION("ArithmeticError"),
    EXCEPTION("AssertionError"),
    EXCEPTION("AttributeError"),
    EXCEPTION("BaseException"),
    EXCEPTION("BaseExceptionGroup"),
    EXCEPTION("BlockingIOError"),
    EXCEPTION("BrokenPipeError"),
    EXCEPTION("BufferError"),
    EXCEPTION("BytesWarning"),
    EXCEPTION("ChildProcessError"),
    EXCEPTION("ConnectionAbortedError"),
    EXCEPTION("ConnectionError"),
    EXCEPTION("ConnectionRefusedError"),
    EXCEPTION("ConnectionResetError"),
    EXCEPTION("DeprecationWarning"),
    EXCEPTION("EOFError"),
    EXCEPTION("EncodingWarning"),
    EXCEPTION("Exception"),
    EXCEPTION("ExceptionGroup"),
    EXCEPTION("FileExistsError"),
    EXCEPTION("FileNotFoundError"),
    EXCEPTION("FloatingPointError"),
    EXCEPTION("FutureWarning"),
    EXCEPTION("GeneratorExit"),
    EXCEPTION("ImportError"),
    EXCEPTION("ImportWarning"),
    EXCEPTION("IndentationError"),
    EXCEPTION("IndexError"),
    EXCEPTION("InterruptedError"),
    EXCEPTION("IsADirectoryError"),
    EXCEPTION("KeyError"),
    EXCEPTION("KeyboardInterrupt"),
    EXCEPTION("LookupError"),
    EXCEPTION("MemoryError"),
    EXCEPTION("ModuleNotFoundError"),
    EXCEPTION("NameError"),
    EXCEPTION("NotADirectoryError"),
    EXCEPTION("NotImplementedError"),
    EXCEPTION("OSError"),
    EXCEPTION("OverflowError"),
    EXCEPTION("PendingDeprecationWarning"),
    EXCEPTION("PermissionError"),
    EXCEPTION("ProcessLookupError"),
    EXCEPTION("PythonFinalizationError"),
    EXCEPTION("RecursionError"),
    EXCEPTION("ReferenceError"),
    EXCEPTION("ResourceWarning"),
    EXCEPTION("RuntimeError"),
    EXCEPTION("RuntimeWarning"),
    EXCEPTION("StopAsyncIteration"),
    EXCEPTION("StopIteration"),
    EXCEPTION("SyntaxError"),
    EXCEPTION("SyntaxWarning"),
    EXCEPTION("SystemError"),
    EXCEPTION("SystemExit"),
    EXCEPTION("TabError"),
    EXCEPTION("TimeoutError"),
    EXCEPTION("TypeError"),
    EXCEPTION("UnboundLocalError"),
    EXCEPTION("UnicodeDecodeError"),
    EXCEPTION("UnicodeEncodeError"),
    EXCEPTION("UnicodeError"),
    EXCEPTION("UnicodeTranslateError"),
    EXCEPTION("UnicodeWarning"),
    EXCEPTION("UserWarning"),
    EXCEPTION("ValueError"),
    EXCEPTION("Warning"),
    EXCEPTION("ZeroDivisionError"),
};
enum { CONSTRUCTS = sizeof constructs / sizeof *constructs };

static bool same(const char *known, const char *text, size_t size)
{
    return strlen(known) == size && !memcmp(known, text, size);
}

/* Protocol 2 spells what Python 2 did not have as the others do, but in a module of its name. */
static bool known_as(const struct construct *c, bool old, const char *module, size_t module_size,
                     const char *name, size_t name_size)
{
    if (same(c->name, name, name_size) &&
        (same(c->module, module, module_size) ||
         (old && !strcmp(c->module, "builtins") && same("__builtin__", module, module_size))))
        return true;
    return old && c->old_name && same(c->old_name, name, name_size) &&
           same(c->old_module, module, module_size);
}

int construct_find(unsigned protocol, const char *module, size_t module_size, const char *name,
                   size_t name_size)
{
    int i = 0;
    while (i < CONSTRUCTS &&
           !known_as(&constructs[i], protocol < 3, module, module_size, name, name_size))
        i++;
    if (i == CONSTRUCTS)
        return -1;
    /* Of two entries that are shown alike the first is meant. */
    return constructs[i].makes == MAKES_ITSELF ? construct_named(constructs[i].shown) : i;
}

int construct_named(const char *name)
{
    for (int i = 0; i < CONSTRUCTS; i++)
        if (!strcmp(constructs[i].shown, name) &&
            (constructs[i].makes == MAKES_ITSELF || constructs[i].makes == MAKES_BYTEARRAY))
            return i;
    return -1;
}

/* n items, each of the kind; SHOAL_ANY_INT takes a bool too, a negative kind anything. */
static bool are(const struct any_items *items, size_t n, int kind)
{
    if (items->count != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int is = items->at[i].kind;
        if (kind >= 0 && is != kind && !(kind == SHOAL_ANY_INT && is == SHOAL_ANY_BOOL))
            return false;
    }
    return true;
}

static bool fits(const struct construct *c, const struct any_items *arguments)
{
    const shoal_any *at = arguments->at;
    if (c->exception)
        return true;
    switch (c->name[0]) {
    case 'b': return are(arguments, 1, SHOAL_ANY_BYTES);
    case 'c': return are(arguments, 2, SHOAL_ANY_FLOAT);
    case 's': return are(arguments, 3, -1);
    default: /* range */ return are(arguments, 3, SHOAL_ANY_INT) && (at[2].big || at[2].integer);
    }
}

/* Python tells exceptions apart by identity, so any is a key; a bytearray never is. */
static void set_hashable(const struct construct *c, struct any_items *items)
{
    if (c->exception)
        items->hashable = true;
    else if (c->makes == MAKES_BYTEARRAY)
        items->hashable = false;
}

int construct_create(struct any_tree *tree, shoal_any *ret, int name, const shoal_any *arguments)
{
    const struct construct *c = &constructs[name];
    if (arguments->kind != SHOAL_ANY_TUPLE || !fits(c, arguments->items))
        return fail(-EINVAL, "%s: cannot be called with these arguments", c->shown);
    struct any_items *items = items_create(tree, 1);
    int rc = items ? items_append(tree, items, arguments, 1) : -ENOMEM;
    if (rc)
        return rc;
    set_hashable(c, items);
    *ret = node_of_items(SHOAL_ANY_CONSTRUCT, items);
    ret->name = (uint32_t)name;
    return 0;
}

int construct_set_state(struct any_tree *tree, const shoal_any *construct, const shoal_any *state)
{
    const struct construct *c = &constructs[construct->name];
    if (construct->items->shared || construct->items->count != 1)
        return fail(-EINVAL, "%s: its state cannot be set any more", c->shown);
    if (!c->exception || state->kind != SHOAL_ANY_DICT)
        return fail(-EINVAL, "%s: takes no such state", c->shown);
    for (size_t i = 0; i < state->items->count; i += 2)
        if (state->items->at[i].kind != SHOAL_ANY_STR)
            return fail(-EINVAL, "%s: the name of an attribute is %s", c->shown,
                        any_kind_name(&state->items->at[i]));
    int rc = items_append(tree, construct->items, state, 1);
    set_hashable(c, construct->items);
    return rc;
}
