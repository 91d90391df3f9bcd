/* manager/type.h - what the files of types share. */
#ifndef SHOAL_MANAGER_TYPE_H
#define SHOAL_MANAGER_TYPE_H

#include "manager/manager.h"
#include <shoal/memory.h>
#include <shoal/queue.h>
#include <shoal/sync.h>
#include <stdio.h>
#include <string.h>

/* Another open of a handle of shoal_NAME. */
#define TYPE_OPEN(name)                                                    \
    static int name##_reopen(void **ret, const shoal_reference *reference) \
    {                                                                      \
        return shoal_##name##_open((shoal_##name **)ret, reference);       \
    }                                                                      \
    static int name##_open(void **ret, const void *handle)                 \
    {                                                                      \
        shoal_reference reference;                                         \
        int rc = shoal_##name##_reference(handle, &reference);             \
        return rc ? rc : name##_reopen(ret, &reference);                   \
    }

/* A list's items as an any, and what a key, an index or a slice is. */
struct slice {
    int64_t start, step;
    int64_t count;
};
/* A slice's three numbers for `length` items: 0, SHOAL_RAISED. */
int slice_of(shoal_call *call, const shoal_any *slice, int64_t length, struct slice *ret);
bool is_slice(const shoal_any *a);

/* What Python iterates over as it is sent: lists, tuples, sets, dicts (their keys), bytes (ints), ranges of 32-bit numbers. How many items
 * it has, or -1: it is something else. */
int64_t iterable_count(const shoal_any *a);
enum { RANGE_MOST = 1 << 25 /* about as many as a request may name one by one */ };
/* The i-th of them, of which there are more: the caller's. NULL: no memory. */
shoal_any *iterable_at(const shoal_any *a, int64_t i);

#endif
