/* plain.h - small plain objects and their bytes, without calling pickle (encode.c, decode.c).
 *
 * Plain are None, bool, int, float, str, bytes, bytearray, list, tuple, dict, set and frozenset, of exactly
 * these types, and what is made of them. Their bytes are a pickle (protocol 4; 5 with a bytearray): what
 * pickle.loads reads, and the C library's shoal_queue_get. Whatever does not fit in here is declined, and
 * pickle does it.
 */
#ifndef SHOAL_PYTHON_PLAIN_H
#define SHOAL_PYTHON_PLAIN_H

#include "message/pickle.h"
#include "python.h"

enum {
    PLAIN_SHORT = 4096, /* bytes: as much as a lane takes without an object of its own */
    PLAIN_ROOM = 16384, /* beside what is spliced in */
    /* long texts and bytes, which are copied once, to where the message lies */
    PLAIN_SPLICES = 8,
    PLAIN_DEPTH = 40,  /* how deep objects are nested */
    PLAIN_SHARED = 64, /* containers that others refer to, too */
};

struct plain {
    size_t size;  /* of bytes[] */
    size_t whole; /* with what is spliced in */
    unsigned splices, shared;
    struct splice {
        size_t at; /* in bytes[] */
        const void *from;
        size_t size;
        PyObject *object; /* what has them; a bytearray is locked */
    } splice[PLAIN_SPLICES];
    PyObject *seen[PLAIN_SHARED];
    struct cargo *cargo; /* which objects of the family are in it; NULL: they are declined */
    unsigned char bytes[PLAIN_ROOM];
};

/* False: declined, without an exception, and nothing to end. Runs no code of the program's. */
bool plain_encode(struct plain *ret, PyObject *object);
/* The same, but objects of the family whose reference is all there is to them are added to the cargo, and are numbers
 * in the bytes. */
struct cargo;
bool plain_encode_carrying(struct plain *ret, PyObject *object, struct cargo *cargo);
/* All of it, to `whole` bytes. */
void plain_write(const struct plain *plain, unsigned char *to);
void plain_end(struct plain *plain);

/* parcel.c: adds an object of the family, if it is one that travels so: its number, or -1 without an exception. */
int cargo_take(struct cargo *cargo, PyObject *object);

/* What refers to an object of the family in a message: makes object i; NULL with an exception. */
typedef PyObject *plain_object(void *argument, size_t i);

/* The object; NULL with an exception; or NULL and *declined, without one. */
PyObject *plain_decode(const unsigned char *bytes, size_t size, plain_object *object,
                       void *argument, bool *declined);

#endif
