/* message/any.h - how an any lies in memory.
 *
 * A value is a node of 16 bytes; a container's nodes stand in one array, so an item is reached at
 * once. Nodes, arrays and texts lie in the blocks of their tree, which only grow and are given back
 * together: freeing is walking a list of blocks, and a builder takes over what it is given by
 * joining two lists. While it is read from a message, a tree may refer to the same items several
 * times; so nothing inside changes any more once something refers to it.
 *
 * Each container keeps sums over what lies in it: how deep and how many its values are, and how
 * many bytes they take as pickle. So nothing here recurses: who walks a tree knows beforehand how
 * many steps down there can be, and takes a frame for each from the stack (at most SHOAL_ANY_DEPTH).
 */
#ifndef SHOAL_MESSAGE_ANY_H
#define SHOAL_MESSAGE_ANY_H

#include "region/self.h"
#include <assert.h>
#include <shoal/any.h>
#include <string.h>

/* Of the reader's stack only: a name that may be called, a mark, what has no state yet (a Token). */
enum { ANY_GLOBAL = SHOAL_ANY_OBJECT + 1, ANY_MARK, ANY_BLANK };

/* A text, or an int of more than 8 bytes. */
struct any_bytes {
    size_t size;
    unsigned char at[]; /* and a zero byte */
};

/* In a tree, or in a table of what goes with a message. held: the tree holds the object in the
 * process's name (in a table: a tree that gets it shall). */
struct any_object {
    shoal_reference reference;
    uint32_t type; /* enum type */
    bool held;
    struct any_object *next; /* of its block */
};

struct shoal_any {
    union {
        struct {
            uint8_t kind;  /* SHOAL_ANY_… */
            bool root;     /* stands alone: the root of a struct any_tree */
            bool big;      /* INT: in bytes, as it has more than 64 bits */
            bool frozen;   /* SET: a frozenset */
            uint32_t name; /* CONSTRUCT: which of constructs[] */
        };
        uint64_t head; /* all of these: a kind and nothing else is written as this one number */
    };
    union {
        int64_t integer; /* BOOL too */
        double real;
        const struct any_bytes *bytes; /* STR, BYTES, INT */
        struct any_items *items;       /* LIST, TUPLE, DICT, SET, CONSTRUCT */
        const struct any_object *object;
    };
};
static_assert(sizeof(struct shoal_any) == 16, "an array of them is what most memory goes into");

/* A container's: a dict's are key, value, key, value, …; a construct's the tuple of its arguments
 * and, if it has any, its state. */
struct any_items {
    shoal_any *at;
    size_t count, room;      /* nodes */
    size_t nodes;            /* in it, whatever their depth */
    size_t size;             /* their bytes as pickle, without what the container itself adds */
    uint64_t hash;           /* SET: of its members together, in whatever order */
    struct any_index *index; /* SET, DICT: of more than INDEX_FROM entries */
    uint16_t depth;          /* 1 or more */
    uint8_t sets;            /* how deep sets and keys lie in sets and keys */
    bool hashable : 1;       /* everything in it is */
    bool objects : 1;        /* there are some in it */
    bool shared : 1;         /* something refers to it: it changes no more */
};

/* ---- a tree's memory ---- */
struct any_block {
    struct any_block *next;
    struct any_object *objects; /* which lie in it or in those behind it, and are held */
};
struct any_tree {
    struct any_block block, *last; /* it is the first of its blocks */
    unsigned char *at, *end;       /* what is free in the newest block */
    size_t taken, most;            /* bytes of memory, and how many there may be */
    bool full;                     /* there would have been more */
    shoal_any root;
};
/* With `room` bytes in its first block. NULL: -ENOMEM, with a sentence; tree_alloc, too. */
struct any_tree *tree_create(size_t room, size_t most);
void *tree_alloc_block(struct any_tree *tree, size_t size);
static inline void *tree_alloc(struct any_tree *tree, size_t size)
{
    size = (size + 7) & ~(size_t)7;
    void *p = tree->at;
    if (unlikely(size > (size_t)(tree->end - tree->at)))
        return tree_alloc_block(tree, size);
    tree->at += size;
    return p;
}
/* Accounts for memory that is no part of it: false if there may be no more. */
bool tree_charge(struct any_tree *tree, size_t size);
/* And those behind it, with what they hold; NULL too. */
void blocks_free(struct any_block *first);
static inline struct any_tree *tree_of(shoal_any *root)
{
    return (struct any_tree *)((char *)root - offsetof(struct any_tree, root));
}

/* ---- values ---- */
/* Two words, as a node is written: what is read in larger pieces than it was written in has to wait
 * until it has left the store buffer. */
static inline void node_copy(shoal_any *to, const shoal_any *from)
{
    uint64_t head = from->head;
    int64_t body = from->integer;
    __asm__("" : "+r"(head), "+r"(body));
    to->head = head;
    to->integer = body;
}
/* Most texts are short: a call would take longer than the copying. Returns bits of what it copied
 * that are certainly ASCII if they have none of NOT_ASCII; they are not read again to tell. */
#define NOT_ASCII 0x8080808080808080u
static inline uint64_t copy_text(void *to, const void *from, size_t size)
{
    const unsigned char *f = from;
    unsigned char *t = to;
    uint64_t head = 0, tail = 0;
    if (size > 16) {
        memcpy(t, f, size);
        return NOT_ASCII;
    }
    if (size >= 8) { /* the halves overlap */
        memcpy(&head, f, 8);
        memcpy(&tail, f + size - 8, 8);
        memcpy(t, &head, 8);
        memcpy(t + size - 8, &tail, 8);
    } else if (size >= 4) {
        memcpy(&head, f, 4);
        memcpy(&tail, f + size - 4, 4);
        memcpy(t, &head, 4);
        memcpy(t + size - 4, &tail, 4);
    } else {
        while (size-- > 0) {
            unsigned char byte = f[size];
            t[size] = byte;
            head |= byte;
        }
    }
    return head | tail;
}
static inline shoal_any node_of_items(int kind, struct any_items *items)
{
    return (shoal_any){.head = (unsigned)kind, .items = items};
}
/* An object of the family, not held; NULL: -ENOMEM. */
shoal_any *any_from_object(const shoal_reference *reference, uint32_t type);
/* A copy of `object`, which is held if that says so: -ENOMEM, -ESTALE. */
int any_set_object(struct any_tree *tree, shoal_any *ret, const struct any_object *object,
                   const char *call);
static inline bool any_has_items(const shoal_any *a)
{
    return a->kind >= SHOAL_ANY_LIST && a->kind <= SHOAL_ANY_CONSTRUCT;
}
static inline unsigned any_depth(const shoal_any *a)
{
    return any_has_items(a) ? a->items->depth : 0;
}
static inline size_t any_nodes(const shoal_any *a)
{
    return any_has_items(a) ? a->items->nodes + 1 : 1;
}
static inline bool any_is_number(const shoal_any *a)
{
    return a->kind >= SHOAL_ANY_BOOL && a->kind <= SHOAL_ANY_FLOAT;
}
bool any_hashable(const shoal_any *a);
const char *any_kind_name(const shoal_any *a); /* "a list", "an int" */
/* -EINVAL with a sentence: NULL (the builder's that has just returned it, if one has); of another kind
 * than `what` (or NULL). */
int any_is_null(const char *call);
int any_is_not(const shoal_any *any, const char *call, const char *what);
/* What may be put into a queue or pipe: 0; -EINVAL: NULL; -EMSGSIZE: no get would decode it. */
int any_cannot_travel(const shoal_any *any, const char *call);
static inline int any_may_travel(const shoal_any *any, const char *call)
{
    bool may = any && any_nodes(any) - 1 <= SHOAL_ANY_NODES;
    return likely(may) ? 0 : any_cannot_travel(any, call);
}
/* A text of `size` bytes for the caller to fill; NULL: -ENOMEM. */
struct any_bytes *any_text(struct any_tree *tree, size_t size);
/* Where text stops being UTF-8 (with surrogates), or `size`. */
size_t any_utf8_valid(const unsigned char *text, size_t size);
/* An int of little-endian two's complement, which is read once. 0 or -ENOMEM. */
int any_set_int(struct any_tree *tree, shoal_any *ret, const unsigned char *bytes, size_t size);
/* An integral float of 2^63 or more, or below -2^63, as two's complement; returns how many bytes. */
enum { BIG_FLOAT = 136 };
size_t any_float_bytes(double value, unsigned char ret[BIG_FLOAT]);
/* An int in bytes, rounded; infinite if it is beyond any float. */
double any_big_to_double(const struct any_bytes *big);

/* ---- containers (any_items.c) ----
 * -EINVAL with a sentence for what does not fit: cannot be a key, too deep, not a value at all. */
struct any_items *items_create(struct any_tree *tree, size_t room); /* NULL: -ENOMEM */
/* room for n more nodes */
int items_reserve(struct any_tree *tree, struct any_items *items, size_t n);
/* n nodes at the end of a list, tuple or construct; on failure nothing was changed. */
int items_append(struct any_tree *tree, struct any_items *items, const shoal_any *nodes, size_t n);
int items_put(struct any_tree *tree, struct any_items *items, const shoal_any *key,
              const shoal_any *value);
int items_add(struct any_tree *tree, struct any_items *items, const shoal_any *member);
/* Where in items->at a key or member stands, or -1. `step`: 2 for a dict, 1 for a set. */
ptrdiff_t items_find(const struct any_items *items, size_t step, const shoal_any *key);

/* What a container's node points to becomes its own; what its items point to does not. */
int items_copy(struct any_tree *tree, shoal_any *a);

/* ---- equality and hash (any_equal.c) ---- */
bool any_equal(const shoal_any *a, const shoal_any *b);
/* Equal for what is equal, and different from one process to the next. For hashables. */
uint64_t any_hash(const shoal_any *a);

/* ---- walking ---- */
/* The way down to where a walk is: a container, and which of its nodes comes next. */
struct any_frame {
    const shoal_any *in;
    size_t next;
};
/* n of them on the caller's stack. */
#define any_on_stack(type, n) ((type *)__builtin_alloca(sizeof(type) * (n)))
#define any_frames(any) any_on_stack(struct any_frame, any_depth(any) + 1u)

#endif
