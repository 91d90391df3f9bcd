/* shoal/queue.h - queues: many processes put messages in, many take them out.
 *
 * A message is a sequence of bytes of any length, or an any (any.h), which is encoded into bytes.
 * Which is taken first depends on the queue's kind:
 *
 *   SHOAL_FIFO      the oldest: if a put has returned before another one began, in whatever processes,
 *                   its message is taken first
 *   SHOAL_LIFO      the newest: the one whose put came last
 *   SHOAL_PRIORITY  the smallest, and of equal ones the oldest. Bytes are compared as memcmp does,
 *                   the shorter first where one begins as the other. Anys are compared as Python's <
 *                   does: ints, floats and bools by their value, exactly; str by code points; bytes;
 *                   lists and tuples item by item, so (priority, message) does what one expects. What
 *                   equals itself and has no order otherwise is None. Nothing else has an order (dict,
 *                   set, NaN, ...), nor have a str and an int, say, or anys and plain bytes: a put is
 *                   -EINVAL if it comes to compare the message with such a one in the queue. It is
 *                   compared with the first one, and with some of the others. Two tuples are compared up
 *                   to where they differ; what stands behind may be anything
 *
 * In a queue of the latter two who puts and who takes come one at a time. One that is stopped (SIGSTOP)
 * in there keeps out all others, who wait until their deadlines: with SHOAL_NOW for a tenth of
 * a second, as for one who merely works in there; one that is killed in there keeps out nobody. Each
 * message takes an object of the region. An any in a SHOAL_PRIORITY queue takes about twice its bytes.
 *
 * A message is in the queue wholly or not at all, whatever
 * dies; one that a put has reported is never lost, and ends only with a process that took it, or
 * with the queue. No thread, no descriptor and no other process is needed; who puts may end at once.
 *
 *     shoal_queue_create(&q, NULL);                        before the children start, who have it too
 *     shoal_queue_put(q, any, SHOAL_FOREVER);              one side; any stays its own
 *     shoal_queue_get(q, &any, shoal_after(10));           the other; … shoal_any_free(any);
 *     shoal_queue_put_bytes(q, "hello", 5, SHOAL_FOREVER);
 *     shoal_queue_get_bytes(q, &bytes, &size, SHOAL_NOW);  … free(bytes);
 *     shoal_queue_shutdown(q, 0);                          nothing more comes: gets end with -EPIPE
 *     shoal_queue_close(q);
 *
 * What a SHOAL_FIFO queue needs at its peak, about twice the bytes of what lies in it, stays with each thread that
 * puts, and is given back when it goes on with less, when it has ended and the queue is drained, or with the queue.
 *
 * A get is not told that nobody is left who could put: that is what a pipe tells (pipe.h). Deadlines
 * are absolute, see error.h. A close may not come beside another thread's call (memory.h).
 *   No call is promised to work in a signal handler; one that interrupted a put into the same queue, or of
 * the latter two kinds any call for it, is -EDEADLK.
 */
#ifndef SHOAL_QUEUE_H
#define SHOAL_QUEUE_H

#include <shoal/any.h>
#include <shoal/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct shoal_queue shoal_queue;

/* Kinds of queues. */
enum { SHOAL_FIFO, SHOAL_LIFO, SHOAL_PRIORITY };

typedef struct shoal_queue_options {
    uint64_t maxsize; /* messages; 0: no bound but the region's and the quota's */
    unsigned flags;   /* 0 */
    const char *name; /* at most 47 bytes; NULL: none */
    unsigned kind;    /* SHOAL_FIFO, which is 0, SHOAL_LIFO or SHOAL_PRIORITY */
} shoal_queue_options;

/* A message where it lies. */
typedef struct shoal_bytes {
    const void *bytes;
    size_t size;
} shoal_bytes;

/* A message that the caller has where it lies, until it puts it or releases it. bytes is aligned to 16, of a
 * reserved one to 64. NULL: none any more. */
typedef struct shoal_message {
    void *bytes;
    size_t size;
    void *handle; /* shoal's own; stays as it is */
} shoal_message;

/* options may be NULL. 0, -EINVAL, -ENOMEM. */
SHOAL_API int shoal_queue_create(shoal_queue **ret, const shoal_queue_options *options);

/* Puts a copy of `size` bytes: 0. Waits while the queue is full, or the region or the process's quota is:
 * -EAGAIN (SHOAL_NOW), -ETIMEDOUT, -EINTR. -EPIPE: it was shut down. -EMSGSIZE: longer than region or quota
 * will ever have room for. -ENOMEM: the machine has no memory, or the region none for one more thread that
 * puts. -ENOSPC: 12,482 threads that live have put into it (SHOAL_FIFO). -EINVAL: it cannot be compared
 * (SHOAL_PRIORITY). Killed inside: it is in the queue, or nothing has happened. */
SHOAL_API int shoal_queue_put_bytes(shoal_queue *queue, const void *bytes, size_t size,
                                    int64_t deadline);
/* Takes the first message into memory from malloc, which the caller frees; *ret is not NULL for a
 * message of 0 bytes either; no zero byte lies behind it. 0. -EAGAIN, -ETIMEDOUT, -EINTR: there was
 * none. -EPIPE: it was shut down, and is empty: nothing comes any more. -ENOMEM: it stays in the queue.
 * Killed inside: the message is in the queue, or gone. */
SHOAL_API int shoal_queue_get_bytes(shoal_queue *queue, void **ret, size_t *size, int64_t deadline);
/* The same into memory of the caller's. -EMSGSIZE: it is longer than `capacity`, stays in the
 * queue, and *size says how long it is. */
SHOAL_API int shoal_queue_get_bytes_into(shoal_queue *queue, void *buffer, size_t capacity,
                                         size_t *size, int64_t deadline);
/* Puts an any as one message: as put_bytes, of what shoal_any_encode makes of it. The any stays the
 * caller's, and so do the objects in it (shoal_any_object): the message holds them besides, until it is
 * taken or dropped, or the queue ends. -EINVAL: NULL, or an object of another family. -EMSGSIZE: also if
 * there are more than SHOAL_ANY_NODES values in it, which no get would decode. */
SHOAL_API int shoal_queue_put(shoal_queue *queue, const shoal_any *any, int64_t deadline);
/* Takes the first message as an any, the caller's: as get_bytes and shoal_any_decode with its default
 * limits. -EBADMSG: it was no any (bytes that something else put, too much of it), -ENOMEM: there was no
 * memory for it; that message was taken, and is gone. So it is, with its objects, if it is taken as bytes,
 * which name them by numbers only. -ESTALE: an object in it is gone; it takes a queue that nobody held,
 * and that was opened by its reference at the last moment. */
SHOAL_API int shoal_queue_get(shoal_queue *queue, shoal_any **ret, int64_t deadline);
/* Puts n messages, in this order, in few steps (one each if it is not SHOAL_FIFO): how many. Fewer than n if
 * something ends it when some are in, the deadline or whatever put_bytes returns for the next one; a call
 * with the rest tells what. If none is in: as put_bytes. Killed inside: the first few of them are in the
 * queue, each as a whole, or none, or all; nobody is told how many. */
SHOAL_API int shoal_queue_put_many(shoal_queue *queue, const shoal_bytes messages[], size_t n,
                                   int64_t deadline);
/* Takes up to n messages that there are, waiting only for the first, into `buffer`: ret[i] says where each
 * lies there. How many: 1 at least and 256 at most, and fewer than there are where the next one is longer than
 * 4096 bytes, say, or than what is left of `buffer`. Otherwise as get_bytes_into, but that -EMSGSIZE tells no
 * size (only shoal_error_detail does). Killed inside: each is still in the queue, or gone. */
SHOAL_API int shoal_queue_get_many(shoal_queue *queue, shoal_bytes ret[], size_t n, void *buffer,
                                   size_t capacity, int64_t deadline);

/* Without a copy: the message is written, handed over and read in one place, in shared memory. It pays
 * for those of some KiB or more.
 *
 *     shoal_queue_reserve(q, &m, 1 << 20, SHOAL_FOREVER);    one side
 *     fill(m.bytes, m.size);
 *     shoal_queue_commit(q, &m, SHOAL_FOREVER);
 *     shoal_queue_view(q, &m, SHOAL_FOREVER);                the other
 *     use(m.bytes, m.size);
 *     shoal_message_release(&m);                             or commit it to the next queue
 *
 * A message is the calling process's alone, to read and write; one that dies loses it. A child that is
 * forked meanwhile has it too, and each releases it; one of them may put it. */
/* Makes room for `size` bytes, which are undefined: 0. Waits while the region, or the process's quota, has no
 * room: -EAGAIN, -ETIMEDOUT, -EINTR. -EPIPE: it was shut down. -EMSGSIZE: there will never be room.
 * -ENOMEM: the machine has no memory. It may be put into any queue of the family; this one's is only asked
 * whether it is still open. */
SHOAL_API int shoal_queue_reserve(shoal_queue *queue, shoal_message *ret, size_t size,
                                  int64_t deadline);
/* Puts a message that was reserved or viewed: as put_bytes. On success it is the queue's, and *message
 * empty; otherwise it stays the caller's. message->size may have been made smaller before, unless it came
 * from shoal_queue_put. In a SHOAL_PRIORITY queue what was no object of such a queue before counts as plain
 * bytes. -EINVAL: it is empty, larger than it was, another process put it, or, of a short one that
 * was viewed, viewed it.
 * -EBADF: it is no message of this process. */
SHOAL_API int shoal_queue_commit(shoal_queue *queue, shoal_message *message, int64_t deadline);
/* Takes the first message: as get_bytes, but that a long or reserved one is not copied. -ENOMEM: it is still
 * the first. */
SHOAL_API int shoal_queue_view(shoal_queue *queue, shoal_message *ret, int64_t deadline);
/* Ends a message that was viewed, or reserved and not put. Takes NULL and empty ones. */
SHOAL_API void shoal_message_release(shoal_message *message);

/* A descriptor for epoll loops, poll and select: readable when there may be a message, or it was shut
 * down. It may be readable for nothing, so take with SHOAL_NOW; a get of this process that finds nothing
 * makes it unreadable again. So a loop may take one message each time it is readable, or all until
 * -EAGAIN. Do nothing else with it. The first call in a process makes it, and it stays the handle's until
 * its close; without that call there is none, and nobody has anything to do for it.
 *   It is readable after each birth and death in the family, too, and perhaps every other second. It
 * counts on a get following: that is what takes note of a death, and repairs. So no thread and no other
 * process is needed, and whoever puts may be killed right after.
 *   What it takes: two descriptors; and for every 32 of them (ends of pipes count too, pipe.h) three more
 * and one for each process of the family. The last quarter of the numbers that the process may use is
 * left alone; where there is not enough without it all are readable 50 times a second instead. Who puts
 * something while somebody waits so sends a byte to a socket in the abstract namespace: both must be in
 * one network namespace. No more than three epoll descriptors may have it in them. A child has copies,
 * which are its parent's: its own call gives it its own.
 *   -EMFILE, -ENFILE, -ENOMEM; -ENOSPC: the family has 16,384; or what the kernel says of sockets. */
SHOAL_API int shoal_queue_fileno(shoal_queue *queue);

/* How many messages are in the queue, about, or -errno; with who else puts and gets it changes at
 * once. One without a maxsize is never full. */
SHOAL_API int64_t shoal_queue_qsize(const shoal_queue *queue);
SHOAL_API int shoal_queue_empty(const shoal_queue *queue); /* 1, 0, -errno */
SHOAL_API int shoal_queue_full(const shoal_queue *queue);  /* 1, 0, -errno */

/* For who counts what is not finished yet: each message taken is reported finished once. 0. -EINVAL:
 * more than were put. What a process that was killed had taken, and had not reported, nobody reports: join
 * waits for it until its deadline. */
SHOAL_API int shoal_queue_task_done(shoal_queue *queue);
/* Waits until every message put has been reported finished: 0, -EAGAIN, -ETIMEDOUT, -EINTR. */
SHOAL_API int shoal_queue_join(shoal_queue *queue, int64_t deadline);
/* Nothing is put any more (-EPIPE). What is in it is taken as before, then -EPIPE; with `at_once`
 * it is dropped, and all counts as finished. 0, also when it was shut down before. A put that another
 * process was in the middle of still puts, or gets -EPIPE; who gets waits for that. -EAGAIN, with `at_once`,
 * not SHOAL_FIFO: somebody is stopped inside; it is shut down, but not all was dropped. */
SHOAL_API int shoal_queue_shutdown(shoal_queue *queue, int at_once);

/* As shoal_memory_reference, shoal_memory_open and shoal_memory_close. */
SHOAL_API int shoal_queue_reference(const shoal_queue *queue, shoal_reference *ret);
SHOAL_API int shoal_queue_open(shoal_queue **ret, const shoal_reference *reference);
SHOAL_API shoal_queue *shoal_queue_close(shoal_queue *queue);

#ifdef __cplusplus
}
#endif
#endif
