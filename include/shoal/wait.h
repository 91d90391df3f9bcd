/* shoal/wait.h - waiting for whichever of many comes first.
 *
 *     struct shoal_waitable all[] = {
 *         {.kind = SHOAL_WAIT_QUEUE, .queue = q},
 *         {.kind = SHOAL_WAIT_CONNECTION, .connection = c},
 *         {.kind = SHOAL_WAIT_PROCESS, .process = p},
 *         {.kind = SHOAL_WAIT_FD, .fd = 0},
 *     };
 *     int n = shoal_wait(all, 4, shoal_after(10));
 *     for (int i = 0; n > 0 && i < 4; i++)
 *         if (all[i].ready)
 *             ...                                      take it with SHOAL_NOW: another may have been quicker
 */
#ifndef SHOAL_WAIT_H
#define SHOAL_WAIT_H

#include <shoal/pipe.h>
#include <shoal/process.h>
#include <shoal/queue.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Kinds of what can be waited for, and when it is ready. */
enum {
    SHOAL_WAIT_QUEUE = 1, /* there is a message, or it was shut down */
    /* There is something to receive, or an end: a peer that is gone. Of a socket it may be a part of a
     * message, for which recv would still wait. */
    SHOAL_WAIT_CONNECTION,
    SHOAL_WAIT_PROCESS, /* it has ended; the caller started it */
    SHOAL_WAIT_FD,      /* any descriptor: readable, or at its end; a listener's, say */
};

typedef struct shoal_waitable {
    unsigned kind;
    int ready; /* written if the call succeeds: 1, 0 */
    union {
        shoal_queue *queue;
        shoal_connection *connection;
        shoal_process *process;
        int fd;
    };
} shoal_waitable;

/* Waits until at least one of n items is ready; how many are. -EAGAIN (SHOAL_NOW), -ETIMEDOUT, -EINTR.
 * -EINVAL: no items, an unknown kind, NULL. -EBADF: a bad handle, a descriptor that is not open, an end
 * that only sends. -EDEADLK, -ECHILD: as shoal_process_join. -ENOMEM. No other thread may close any of
 * them meanwhile.
 *   All are looked at first. For queues and pipes that have no descriptor yet that takes no system call, for
 * all else it may take some. If the call then has to sleep, each queue and each end of a pipe gets the
 * descriptors that shoal_queue_fileno would give it, once, and keeps them until its close: two each, and one
 * for each process of the family beside three others for every 32 of them. So -EMFILE, -ENFILE, -ENOSPC, as
 * there. */
SHOAL_API int shoal_wait(shoal_waitable items[], size_t n, int64_t deadline);

#ifdef __cplusplus
}
#endif
#endif
