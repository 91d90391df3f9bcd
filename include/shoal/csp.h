/* shoal/csp.h - communicating sequential processes: channels, alternation, networks of processes.
 *
 * A channel connects any number of writers with any number of readers. Without a buffer they meet: a
 * write returns when a reader has taken its message, those who have waited longest first. With a
 * buffer a write returns when its message is in there, and waits while it is full. Who uses a channel
 * has an end of it, a reader or a writer. A message is an any (any.h) or bytes.
 *
 *     shoal_channel_create(&c, NULL);
 *     shoal_channel_writer(c, &out);   shoal_channel_reader(c, &in);     one for each process
 *     shoal_channel_write(out, any, SHOAL_FOREVER);                      one side
 *     shoal_channel_read(in, &any, SHOAL_FOREVER);                       the other
 *     shoal_channel_retire(out);                                         no more from here
 *
 * How a network ends. An end is retired by shoal_channel_retire, when its process ends, however it
 * does, or when it was closed by all who had it open. When the last end of one side is retired, so
 * is the channel: calls on the other side are -EPIPE, after what is in the buffer has been read if it
 * is the writers who are gone; if it is the readers, that is dropped. Poison ends a channel at
 * once, however many ends it has: -ECANCELED; but what is in the buffer is read first if it was a writer
 * that poisoned it. A process that shoal_parallel started, and that returns one of the two, passes it on
 * to all of its ends; so the whole network ends.
 *
 * A call that waits ends with its deadline, see error.h. Killed inside a write or read: both sides
 * communicated or neither; a message is received once, or, if who took it was killed, not at all. No
 * process waits for one that is stopped but for the messages that it was to send or take. Calls may
 * not be made in signal handlers.
 *
 * A network can be drawn while it runs: shoal_inspect_draw (inspect.h), or `shoal-inspect --dot PID | dot -Tsvg`.
 */
#ifndef SHOAL_CSP_H
#define SHOAL_CSP_H

#include <shoal/any.h>
#include <shoal/memory.h>
#include <shoal/process.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- channels and their ends ---- */

typedef struct shoal_channel shoal_channel;
typedef struct shoal_channel_end shoal_channel_end;

typedef struct shoal_channel_options {
    uint64_t buffer;  /* messages; 0: none, who writes and who reads meet */
    unsigned flags;   /* 0 */
    const char *name; /* at most 47 bytes; NULL: none */
} shoal_channel_options;

/* options may be NULL. 0, -EINVAL, -ENOMEM. */
SHOAL_API int shoal_channel_create(shoal_channel **ret, const shoal_channel_options *options);
/* A further end, which counts from now on. -ENOMEM; -ENOSPC: it has some 5,000 of that side. Of a channel
 * that is retired it is one, too. */
SHOAL_API int shoal_channel_reader(shoal_channel *channel, shoal_channel_end **ret);
SHOAL_API int shoal_channel_writer(shoal_channel *channel, shoal_channel_end **ret);

/* Writes an any, which stays the caller's; objects in it travel, as through a queue
 * (shoal_queue_put), channels and ends too. 0. -EAGAIN (SHOAL_NOW), -ETIMEDOUT, -EINTR: it was not
 * written. -EPIPE: this end is retired, or the channel. -ECANCELED: the channel is poisoned. -EBADF: it
 * is a reader. -EINVAL, -EMSGSIZE, -ENOMEM: as shoal_queue_put. -ENOSPC: more than 8,192 threads
 * communicate, or some 5,000 wait here. */
SHOAL_API int shoal_channel_write(shoal_channel_end *end, const shoal_any *any, int64_t deadline);
SHOAL_API int shoal_channel_write_bytes(shoal_channel_end *end, const void *bytes, size_t size,
                                        int64_t deadline);
/* Reads a message as an any, the caller's: 0. As write; -EBADF: it is a writer. -EBADMSG: it was no any,
 * and is gone. */
SHOAL_API int shoal_channel_read(shoal_channel_end *end, shoal_any **ret, int64_t deadline);
/* The same as bytes into memory of the caller's. -EMSGSIZE: it is longer than `capacity`, and was not
 * taken; *size tells how long it is. */
SHOAL_API int shoal_channel_read_bytes(shoal_channel_end *end, void *buffer, size_t capacity,
                                       size_t *size, int64_t deadline);

/* This end is used no more, in whatever process it is open: 0, also if it was retired before. */
SHOAL_API int shoal_channel_retire(shoal_channel_end *end);
/* The whole channel is: 0. */
SHOAL_API int shoal_channel_poison(shoal_channel_end *end);

/* As shoal_memory_reference, shoal_memory_open and shoal_memory_close. An end that its last process
 * closes is retired. */
SHOAL_API int shoal_channel_reference(const shoal_channel *channel, shoal_reference *ret);
SHOAL_API int shoal_channel_open(shoal_channel **ret, const shoal_reference *reference);
SHOAL_API shoal_channel *shoal_channel_close(shoal_channel *channel);
SHOAL_API int shoal_channel_end_reference(const shoal_channel_end *end, shoal_reference *ret);
SHOAL_API int shoal_channel_end_open(shoal_channel_end **ret, const shoal_reference *reference);
SHOAL_API shoal_channel_end *shoal_channel_end_close(shoal_channel_end *end);

/* ---- alternation ---- */

enum shoal_guard_kind {
    SHOAL_INPUT,   /* reads from `end` */
    SHOAL_OUTPUT,  /* writes to `end` */
    SHOAL_TIMEOUT, /* ready from `deadline` on: occam's AFTER */
    SHOAL_SKIP,    /* always ready */
};

/* What an alternation may choose. All but its kind and what that needs may be zero. */
typedef struct shoal_guard {
    enum shoal_guard_kind kind;
    shoal_channel_end *end;
    const shoal_any *any; /* OUTPUT: what to write; NULL: `size` bytes at `bytes` */
    const void *bytes;
    /* INPUT: where to write the message's bytes; NULL: it becomes `got` */
    void *buffer;
    size_t capacity;
    size_t size;      /* OUTPUT: of bytes. INPUT: set to how many came to buffer */
    shoal_any *got;   /* INPUT: set to the message, the caller's */
    int64_t deadline; /* TIMEOUT */
    /* Called when it is chosen, after it was carried out; NULL: none. What it returns, if not 0, is the
     * call's result if that is negative. */
    int (*action)(struct shoal_guard *guard, void *argument);
    void *argument;
    uint64_t chosen; /* how often; for SHOAL_FAIR: zero at first, and then left alone */
    bool off;        /* is not there this time, as occam's guard whose condition is FALSE */
} shoal_guard;

/* How one of several guards that are ready is chosen. */
enum shoal_choice {
    SHOAL_ALT,  /* any */
    SHOAL_PRI,  /* the first */
    SHOAL_FAIR, /* the one that was chosen least often; TIMEOUT and SKIP after all others */
};

/* Waits until one of n guards is ready, carries it out, and returns its index; none of the others has
 * happened. Several processes may alternate on both sides of the same channels. If a channel was retired or
 * poisoned, and no guard before it is ready: -EPIPE or -ECANCELED. Otherwise as read and write.
 * -EINVAL: no guards, more than 4,096, a bad kind. If all are off, or the only ones are timeouts, it merely waits. */
SHOAL_API int shoal_alternate(shoal_guard guards[], size_t n, enum shoal_choice choice,
                              int64_t deadline);

/* ---- timers ---- */

/* The time by the clock of all deadlines, in nanoseconds: occam's `timer ? t`. What is to happen every so often adds its period to
 * the last deadline, not to the time. */
SHOAL_API int64_t shoal_timer_read(void);
/* Waits until then: occam's `timer ? AFTER t`. 0, at once if it has passed; -EINTR, -EINVAL: negative. Among guards it is SHOAL_TIMEOUT. */
SHOAL_API int shoal_timer_wait(int64_t deadline);

/* ---- barriers ---- */

/* A barrier is a channel without messages: who is enrolled has an end of it, and waits there until all who are enrolled do. Its ends are given to
 * the processes of a network, sent, retired and closed as others are: that resigns, as a death does, and the rest go on without. It is
 * not broken by a death, unlike shoal_barrier (sync.h), which is for a number of parties that stays. name: NULL for none.
 * As shoal_channel_create. */
SHOAL_API int shoal_channel_create_barrier(shoal_channel **ret, const char *name);
/* A further end, which counts from now on: others wait for it. As shoal_channel_reader; -EBADF: it is no barrier. */
SHOAL_API int shoal_channel_enrol(shoal_channel *barrier, shoal_channel_end **ret);
/* Waits until all who are enrolled wait here: 0. An end is used by one thread at a time. -EAGAIN (SHOAL_NOW), -ETIMEDOUT, -EINTR: it did not
 * arrive. -EPIPE: this end is retired. -ECANCELED: the barrier is poisoned. -EBADF: it is an end of a channel. */
SHOAL_API int shoal_channel_sync(shoal_channel_end *end, int64_t deadline);

/* ---- networks ---- */

/* What a process of a network runs. It has the ends that it was given, in their order, and no others. Its
 * result: 0 … 255, or a failure: -EPIPE and -ECANCELED mean that it ended because something was retired or
 * poisoned, which is passed on to its ends, and count as 0; others as 255. Ends that it has not retired are
 * retired then. */
typedef int (*shoal_csp_target)(void *argument, shoal_channel_end *const ends[]);

#define SHOAL_CSP_THREADS 1u /* threads of this process instead of processes of their own */

typedef struct shoal_csp_process {
    shoal_csp_target target;
    void *argument;
    shoal_channel_end *const *ends; /* n_ends of them; they are closed here when it has started */
    size_t n_ends;
    size_t replicas; /* so many, each but the first with fresh ends of the same channels; 0: one */
    const char *name;
    /* NULL, or for each replica: set to its result, or -N if signal N ended it */
    int *results;
} shoal_csp_process;

typedef struct shoal_network shoal_network;

/* Starts all n and waits until all have ended: how many of them have not ended with 0. -EAGAIN, -ENOMEM …: they
 * could not all be started; those that had been found all their channels poisoned, and have ended; all ends are
 * closed here. -EINVAL: nothing was done. */
SHOAL_API int shoal_parallel(const shoal_csp_process processes[], size_t n, unsigned flags);
/* One after the other, replicas too: as shoal_parallel. All ends are made before the first begins, and one that only a later one has counts
 * meanwhile. If one cannot be started the rest are not, and their channels are poisoned. */
SHOAL_API int shoal_sequence(const shoal_csp_process processes[], size_t n, unsigned flags);
/* Starts them only. The array may go; results and arguments of threads stay until they are joined. */
SHOAL_API int shoal_spawn(shoal_network **ret, const shoal_csp_process processes[], size_t n,
                          unsigned flags);
/* Waits for all: as shoal_parallel, and the handle is gone. Of the process that spawned it, once. */
SHOAL_API int shoal_network_join(shoal_network *network);

#ifdef __cplusplus
}
#endif
#endif
