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

#endif
