/* shoal/error.h - what every call returns, and how long it waits.
 *
 * Every function that can fail returns an int: 0 or more is success, -errno is failure. errno
 * itself is never set and nothing is ever printed. On failure outputs and shared state are as they
 * were before the call.
 *
 *   -EAGAIN     tried in vain (deadline SHOAL_NOW)        -EBADF    not a handle of this kind, or closed
 *   -ETIMEDOUT  the deadline passed                       -ESTALE   a reference whose object is gone, or of another family
 *   -EINTR      a signal handler ran: call again with     -EINVAL   an argument makes no sense (NULL, unknown flag)
 *               the same deadline                         -EPERM    not yours to release
 *   -ENOMEM     machine, region or quota is full          -ECANCELED  the barrier is broken
 *   -EOVERFLOW  a count would pass its bound              -EPIPE    the other side is gone
 *   -ERANGE     an index beyond the end
 *
 * Unless a comment says otherwise every function may be called by any thread of any process of the
 * family at the same time, and a process may be killed anywhere inside: the others go on and find
 * the object whole. acquire, release, set, clear and wait may be called in signal handlers; what
 * creates, opens, closes or starts may not.
 */
#ifndef SHOAL_ERROR_H
#define SHOAL_ERROR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SHOAL_API __attribute__((visibility("default")))
#else
#define SHOAL_API
#endif

/* Positive results of acquiring: the lock *is* held by the caller. */
#define SHOAL_OWNER_DIED \
    1 /* its holder died while it held it: what it protects may be half changed */

/* A deadline is an absolute time of CLOCK_MONOTONIC in nanoseconds. */
#define SHOAL_NOW 0             /* try, never wait */
#define SHOAL_FOREVER INT64_MAX /* wait without end */

/* The deadline `seconds` from now. 0, negative or NaN: SHOAL_NOW. More than 292 years:
 * SHOAL_FOREVER. */
SHOAL_API int64_t shoal_after(double seconds);

/* A short text for a result of any call ("no such object", never NULL, never freed). Takes negative
 * and positive results. */
SHOAL_API const char *shoal_strerror(int result);

/* What went wrong in this thread's last failed call (or SHOAL_OWNER_DIED), in one sentence with the
 * values concerned; "" if nothing did. Valid until the thread's next failing call. */
SHOAL_API const char *shoal_error_detail(void);

#ifdef __cplusplus
}
#endif
#endif
