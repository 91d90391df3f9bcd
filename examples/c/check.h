/* check.h - what the examples do about errors: say which call failed and why, and end.
 *
 *     check(shoal_lock_acquire(lock, SHOAL_FOREVER));        also gives back what the call returned
 */
#ifndef CHECK_H
#define CHECK_H

#include <shoal/error.h>
#include <stdio.h>
#include <stdlib.h>

#define check(call) check_result((call), #call)

static inline int check_result(int result, const char *call)
{
    if (result >= 0)
        return result;
    fprintf(stderr, "%s: %s (%s)\n", call, shoal_strerror(result), shoal_error_detail());
    exit(1);
}

#endif
