/* message/construct.h - the names that a message may call, as data: nothing here ever runs.
 *
 * A closed table. To add a name: an entry in construct.c, and what its arguments must be in
 * construct.c's `fits`.
 */
#ifndef SHOAL_MESSAGE_CONSTRUCT_H
#define SHOAL_MESSAGE_CONSTRUCT_H

#include "message/any.h"

/* What a call makes. */
enum construct_makes {
    MAKES_ITSELF, /* a CONSTRUCT */
    MAKES_SET,
    MAKES_FROZENSET,
    MAKES_BYTES,     /* bytes() of protocol 2 */
    MAKES_BYTEARRAY, /* a CONSTRUCT whose argument is brought into one form */
    MAKES_ENCODED,   /* _codecs.encode(str, 'latin1'): bytes, as protocol 2 writes them */
    MAKES_LIST,      /* list(list): as the views of a manager's dict are written */
};

/* What it can be called with. */
enum construct_takes {
    TAKES_ANYTHING, /* an exception, with a state too */
    TAKES_SOMETHING,
    TAKES_BYTES,
    TAKES_FLOATS, /* two */
    TAKES_THREE,  /* of anything */
    TAKES_RANGE,  /* three ints, the last not 0 */
    TAKES_LIST,
    TAKES_ARRAY, /* a typecode and bytes */
    TAKES_TOKEN, /* a type's name, an address, an id */
    TAKES_PROXY, /* a class, a Token, a str, a dict */
    /* It may stand for itself, uncalled: a construct without arguments. Called, with anything. */
    TAKES_CLASS,
};

struct construct {
    const char *module, *name;         /* as protocols 3 and up write it */
    const char *old_module, *old_name; /* as protocol 2 may write it, beside the above; NULL: not */
    const char *shown;                 /* in the API */
    enum construct_makes makes;
    enum construct_takes takes;
};
extern const struct construct constructs[];

/* Which construct `module`.`name` is to a reader of `protocol`, or -1. Texts of these sizes. */
int construct_find(unsigned protocol, const char *module, size_t module_size, const char *name,
                   size_t name_size);
/* By the name that the API shows, or -1. */
int construct_named(const char *name);
/* A CONSTRUCT of a name that makes itself or a bytearray. -EINVAL with a sentence if it cannot be
 * called with this tuple. */
int construct_create(struct any_tree *tree, shoal_any *ret, int name, const shoal_any *arguments);
/* A class that stands for itself. */
bool construct_is_class(const shoal_any *any);
/* Adds a state to one that has none. -EINVAL: it takes none, or not this one. */
int construct_set_state(struct any_tree *tree, const shoal_any *construct, const shoal_any *state);

#endif
