/* The names that a message may call. Which these are, and how each protocol spells them, is what
 * CPython's pickle writes (the __reduce__ of each type; _compat_pickle.py for protocol 2). */
#include "message/construct.h"
#include <string.h>

#define PLAIN(name, makes, takes)                                 \
    {                                                             \
        "builtins", name, "__builtin__", name, name, makes, takes \
    }
#define EXCEPTION(name)                                                          \
    {                                                                            \
        "builtins", name, "exceptions", name, name, MAKES_ITSELF, TAKES_ANYTHING \
    }
#define OF_MANAGERS(name, takes)                                                                   \
    {                                                                                              \
        "multiprocessing.managers", name, NULL, NULL, "multiprocessing." name, MAKES_ITSELF, takes \
    }
const struct construct constructs[] = {
    PLAIN("set", MAKES_SET, TAKES_SOMETHING),
    PLAIN("frozenset", MAKES_FROZENSET, TAKES_SOMETHING),
    PLAIN("bytes", MAKES_BYTES, TAKES_SOMETHING),
    PLAIN("list", MAKES_LIST, TAKES_SOMETHING),
    PLAIN("bytearray", MAKES_BYTEARRAY, TAKES_BYTES),
    PLAIN("complex", MAKES_ITSELF, TAKES_FLOATS),
    PLAIN("slice", MAKES_ITSELF, TAKES_THREE),
    PLAIN("reversed", MAKES_ITSELF, TAKES_LIST),
    {"builtins", "range", "__builtin__", "xrange", "range", MAKES_ITSELF, TAKES_RANGE},
    {"_codecs", "encode", NULL, NULL, "_codecs.encode", MAKES_ENCODED, TAKES_SOMETHING},
    {"array", "array", NULL, NULL, "array.array", MAKES_ITSELF, TAKES_ARRAY},
    {"queue", "Empty", "Queue", "Empty", "queue.Empty", MAKES_ITSELF, TAKES_ANYTHING},
    {"_queue", "Empty", NULL, NULL, "queue.Empty", MAKES_ITSELF, TAKES_ANYTHING},
    {"queue", "Full", "Queue", "Full", "queue.Full", MAKES_ITSELF, TAKES_ANYTHING},
    {"queue", "ShutDown", NULL, NULL, "queue.ShutDown", MAKES_ITSELF, TAKES_ANYTHING},
    {"threading", "BrokenBarrierError", NULL, NULL, "threading.BrokenBarrierError", MAKES_ITSELF,
     TAKES_ANYTHING},
    {"multiprocessing.context", "TimeoutError", NULL, NULL, "multiprocessing.TimeoutError",
     MAKES_ITSELF, TAKES_ANYTHING},
    OF_MANAGERS("RemoteError", TAKES_ANYTHING),
    OF_MANAGERS("Token", TAKES_TOKEN),
    OF_MANAGERS("RebuildProxy", TAKES_PROXY),
    OF_MANAGERS("AcquirerProxy", TAKES_CLASS),
    OF_MANAGERS("ArrayProxy", TAKES_CLASS),
    OF_MANAGERS("AutoProxy", TAKES_CLASS),
    OF_MANAGERS("BarrierProxy", TAKES_CLASS),
    OF_MANAGERS("BaseListProxy", TAKES_CLASS),
    OF_MANAGERS("BaseProxy", TAKES_CLASS),
    OF_MANAGERS("ConditionProxy", TAKES_CLASS),
    OF_MANAGERS("DictProxy", TAKES_CLASS),
    OF_MANAGERS("EventProxy", TAKES_CLASS),
    OF_MANAGERS("IteratorProxy", TAKES_CLASS),
    OF_MANAGERS("ListProxy", TAKES_CLASS),
    OF_MANAGERS("NamespaceProxy", TAKES_CLASS),
    OF_MANAGERS("PoolProxy", TAKES_CLASS),
    OF_MANAGERS("ValueProxy", TAKES_CLASS),
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
    switch (c->takes) {
    case TAKES_BYTES: return are(arguments, 1, SHOAL_ANY_BYTES);
    case TAKES_FLOATS: return are(arguments, 2, SHOAL_ANY_FLOAT);
    case TAKES_THREE: return are(arguments, 3, -1);
    case TAKES_RANGE: return are(arguments, 3, SHOAL_ANY_INT) && (at[2].big || at[2].integer);
    case TAKES_LIST: return are(arguments, 1, SHOAL_ANY_LIST);
    case TAKES_ARRAY:
        return are(arguments, 2, -1) && at[0].kind == SHOAL_ANY_STR &&
               at[1].kind == SHOAL_ANY_BYTES;
    case TAKES_TOKEN:
        return are(arguments, 3, -1) && at[0].kind == SHOAL_ANY_STR && at[2].kind == SHOAL_ANY_STR;
    case TAKES_PROXY:
        return are(arguments, 4, -1) && construct_is_class(&at[0]) &&
               at[1].kind == SHOAL_ANY_CONSTRUCT && constructs[at[1].name].takes == TAKES_TOKEN &&
               at[2].kind == SHOAL_ANY_STR && at[3].kind == SHOAL_ANY_DICT;
    default: return true;
    }
}

bool construct_is_class(const shoal_any *any)
{
    return any->kind == SHOAL_ANY_CONSTRUCT && constructs[any->name].takes == TAKES_CLASS &&
           !any->items->at[0].items->count;
}

/* Python tells exceptions apart by identity, so any is a key; a bytearray or an array never is. */
static void set_hashable(const struct construct *c, struct any_items *items)
{
    if (c->takes == TAKES_ANYTHING)
        items->hashable = true;
    else if (c->makes == MAKES_BYTEARRAY || c->takes == TAKES_ARRAY)
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
    if (c->takes != TAKES_ANYTHING || state->kind != SHOAL_ANY_DICT)
        return fail(-EINVAL, "%s: takes no such state", c->shown);
    for (size_t i = 0; i < state->items->count; i += 2)
        if (state->items->at[i].kind != SHOAL_ANY_STR)
            return fail(-EINVAL, "%s: the name of an attribute is %s", c->shown,
                        any_kind_name(&state->items->at[i]));
    int rc = items_append(tree, construct->items, state, 1);
    set_hashable(c, construct->items);
    return rc;
}
