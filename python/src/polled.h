/* polled.h - the objects whose descriptors this process polls (polled.c). */
#ifndef SHOAL_PYTHON_POLLED_H
#define SHOAL_PYTHON_POLLED_H

#include "python.h"

/* It has a descriptor from now on: 0, -1. Borrowed, until polled_end. */
int polled_begin(PyObject *object);
void polled_end(PyObject *object);
/* A child of this process was born, in that slot (0: whichever), or has ended: what of that made descriptors readable for nothing is
 * settled. With the GIL. */
void polled_settle_birth(unsigned slot);
void polled_settle(void);

/* queue.c, connection.c: has a look at what it is polled for, which settles its descriptor; false: it is none of these. */
bool queue_look(PyObject *object);
bool connection_look(PyObject *object);

#endif
