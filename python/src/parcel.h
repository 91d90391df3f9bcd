/* parcel.h - any object of Python's as a message, to and from a queue or pipe (parcel.c). */
#ifndef SHOAL_PYTHON_PARCEL_H
#define SHOAL_PYTHON_PARCEL_H

#include "message/pickle.h"
#include "message/port.h"
#include "python.h"
#include "region/self.h"

/* The calls that are under way with a handle, which is not closed beside them. A child that was forked has none of
 * its parent's. */
struct calls {
    Py_ssize_t n;
    uint64_t process;
};
static inline void calls_begin(struct calls *calls)
{
    uint64_t process = (uint64_t)process_self.generation << 32 | process_self.slot;
    if (unlikely(calls->process != process))
        *calls = (struct calls){0, process};
    calls->n++;
}
static inline void calls_end(struct calls *calls)
{
    if (calls->n)
        calls->n--;
}
static inline bool calls_none(const struct calls *calls)
{
    uint64_t process = (uint64_t)process_self.generation << 32 | process_self.slot;
    return !calls->n || calls->process != process;
}

/* It could not be pickled: the exception is set. */
enum { PARCEL_NOT_PICKLED = 1 };
/* Puts it, waiting until `until`: 0; PARCEL_NOT_PICKLED; or as port_put. */
int parcel_put(struct port *port, PyObject *object, int64_t until);
/* Takes a message and makes the object of it. NULL with *rc, as of port_take; or with *rc == 0 and an
 * exception. `view`: long bytes and buffers stay where they are, in the region, until they are dropped. */
PyObject *parcel_get(struct port *port, int64_t until, bool as_view, int *rc);
/* Takes a message as bytes; NULL as parcel_get. */
PyObject *parcel_get_bytes(struct port *port, int64_t until, int *rc);

/* The objects of the family in what is being pickled. */
struct cargo {
    struct pickle_objects objects;
    PyObject *owners; /* a list of what has them open; NULL: there are none */
    struct cargo *outer;
};
/* For who pickles himself: between these two what is met is noted, for a message that will hold it; until cargo_end it
 * stays open. */
void cargo_watch(struct cargo *c);
void cargo_unwatch(struct cargo *c);
void cargo_end(struct cargo *c);

/* ---- for who has a place of his own for the bytes ---- */
struct parcel;
/* What there is to write of an object, and which objects of the family are to be held as long as it lies
 * there. NULL with an exception. */
struct parcel *parcel_pack(PyObject *object, size_t *size, struct pickle_objects **objects);
void parcel_write(const struct parcel *parcel, unsigned char *to);
void parcel_end(struct parcel *parcel);
/* What was written, without objects; or a message that it was written to, which is closed. */
PyObject *parcel_read(const unsigned char *bytes, size_t size);
PyObject *parcel_read_message(void *message);
/* What was taken, to be read later, and then. */
PyObject *parcel_keep(const unsigned char *bytes, const struct taken *t);
PyObject *parcel_read_kept(PyObject *kept);

#endif
