/* shoal/error.h - what every call returns, and how long it waits.
 *
 * Every function that can fail returns an int: 0 or more is success, -errno is failure. errno
 * itself is never set and nothing is ever printed. On failure outputs and shared state are as they
 * were before the call.
 *
 *   -EAGAIN     tried in vain (deadline SHOAL_NOW), or    -EBADF    not a handle of this kind, or closed
 *               no room for one more process or thread
 *   -ETIMEDOUT  the deadline passed                       -ESTALE   a reference whose object is gone, or of another family
 *   -EINTR      a signal handler ran: call again with     -EINVAL   an argument makes no sense (NULL, unknown flag,
 *               the same deadline                                   negative deadline)
 *   -ENOMEM     machine, region or quota is full          -EPERM    not yours to release, or to look into
 *   -ENOSPC     the object has no place for one more      -ECANCELED  cancelled; the barrier is broken
 *   -EOVERFLOW  a count would pass its bound              -EPIPE    the other side is gone, or it was shut down
 *   -ERANGE     an index beyond the end; a number that    -ENOENT   no such key, nothing of the kind
 *               does not fit                              -EMSGSIZE  longer than there is room for
 *   -EDEADLK    it would wait for itself, or for the      -EBADMSG  bytes that are not what they should be
 *               call that a signal handler interrupted
 *   -EBUSY      still in use                              -EALREADY  it is so already
 *   -ECHILD     another process started it                -ENOTSUP  not with this kind, machine or build
 *   -EOWNERDEAD condition_wait, see there                 -ESRCH    no such process (inspect.h)
 *   -EMFILE, -ENFILE  no descriptor left, for the region  -ENODATA  the system does not say: it has no family
 *               (the first call of all) or to wait on               (inspect.h), there is no /proc (kill_tree)
 *   -EFBIG      no region: RLIMIT_FSIZE is below 64 MiB
 *
 * Of what a task came to (pool.h): -EREMOTEIO, -EOWNERDEAD, -ETIME, -ECANCELED, -ECONNABORTED, -ENOEXEC.
 *
 * A handle is a pointer: one that is closed, or is of another object, is -EBADF; memory of the program's that
 * never was a handle cannot be told from one.
 * These are all, but for what the kernel has a say in: starting and signalling processes (process.h),
 * sockets (pipe.h), descriptors to wait on (queue.h) and making the region; other results stand there or are
 * the kernel's own. So look for < 0 first, and for those numbers that you can do something about.
 *
 * Unless a comment says otherwise every function may be called by any thread of any process of the
 * family at the same time, and a process may be killed anywhere inside: the others go on and find
 * the object whole. acquire, release, set, clear and wait may be called in signal handlers (-EDEADLK if
 * more than four wait on top of one another); what creates, opens, closes or starts may not.
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

/* A deadline is an absolute time of CLOCK_MONOTONIC in nanoseconds: not 5 seconds, but when those will
 * be over, which shoal_after(5) says. One in the past is -ETIMEDOUT where the call would have to wait
 * (so is a 5, five nanoseconds after the machine started); a negative one is -EINVAL there. */
#define SHOAL_NOW 0             /* try, never wait */
#define SHOAL_FOREVER INT64_MAX /* wait without end */

/* The deadline `seconds` from now. 0, negative or NaN: SHOAL_NOW. More than 292 years:
 * SHOAL_FOREVER. */
SHOAL_API int64_t shoal_after(double seconds);

/* A short text for a result of any call ("no such object", never NULL, never freed): an error, or one
 * of the positive constants, SHOAL_…. A positive number that counts something has no text of its own. */
SHOAL_API const char *shoal_strerror(int result);

/* What went wrong in this thread's last failed call (or SHOAL_OWNER_DIED), in one sentence with the
 * call, the object's name if it has one, and the values concerned; "" if nothing did. Valid until the
 * thread's next failing call. */
SHOAL_API const char *shoal_error_detail(void);

#ifdef __cplusplus
}
#endif
#endif
