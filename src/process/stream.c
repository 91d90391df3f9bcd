/* What is buffered in the program's streams, around a start and at a child's end.
 *
 * fflush(NULL) will not do: it waits for the lock of every stream, and a thread that reads from one
 * holds its lock until something comes. But a stream that is read has nothing to write. So streams
 * with nothing buffered are passed by, and a start passes by those that another thread is writing
 * to as well: what is in their buffers is the parent's to write, and the child forgets its copy.
 *
 * glibc exports its list of streams, though no header of today declares it. Without it (musl)
 * fflush(NULL) has to do; there it waits for streams that the program opened itself, not for
 * standard input.
 *
 * Mostly there is nothing in any of them. In a process with one thread that is seen without the
 * list's lock and without libc's code: they are a page of data to be copied for the parent and one for
 * each child, and two pages of code.
 */
#include "process/child.h"
#include <stdio.h>
#include <stdio_ext.h>

enum { AGAIN = 1000000, TRIES = 100 };

__attribute__((weak)) FILE *list_begin(void) __asm__("_IO_iter_begin");
__attribute__((weak)) FILE *list_end(void) __asm__("_IO_iter_end");
__attribute__((weak)) FILE *list_next(FILE *stream) __asm__("_IO_iter_next");
__attribute__((weak)) void list_lock(void) __asm__("_IO_list_lock");
__attribute__((weak)) void list_unlock(void) __asm__("_IO_list_unlock");

static bool listed(void)
{
    return list_begin && list_end && list_next && list_lock && list_unlock;
}

#if defined(__GLIBC__)
/* The list itself, the newest stream first. */
extern __attribute__((weak)) FILE *list __asm__("_IO_list_all");

/* Whether it is: a program that was linked in an odd way may see a copy of its beginning. */
CHILD_PATH static bool list_known(void)
{
    static enum { UNKNOWN, KNOWN, OTHER } is = UNKNOWN;
    if (is == UNKNOWN) {
        char byte = 0;
        FILE *newest = &list ? fmemopen(&byte, 1, "r") : NULL;
        is = newest && newest == list ? KNOWN : OTHER;
        if (newest)
            fclose(newest);
    }
    return is == KNOWN;
}

CHILD_PATH static bool nothing_buffered(void)
{
    if (!os_single_threaded() || !list_known())
        return false;
    for (const FILE *stream = list; stream; stream = stream->_chain)
        if (stream->_mode > 0 /* wide characters, which lie elsewhere */ ||
            stream->_IO_write_ptr > stream->_IO_write_base)
            return false;
    return true;
}
#else
static bool nothing_buffered(void)
{
    return false;
}
#endif

/* Calls visit for each stream; false if one of the calls was. */
static bool each(bool (*visit)(FILE *))
{
    bool all = true;
    list_lock();
    for (FILE *stream = list_begin(); stream != list_end(); stream = list_next(stream))
        all = visit(stream) && all;
    list_unlock();
    return all;
}

/* False if another thread is writing to it. */
static bool flush(FILE *stream)
{
    if (!__fpending(stream))
        return true;
    if (ftrylockfile(stream))
        return false;
    fflush_unlocked(stream);
    funlockfile(stream);
    return true;
}

/* Streams in memory have no descriptor; their buffer is where what was written stays. */
static bool forget(FILE *stream)
{
    if (__fpending(stream) && fileno(stream) >= 0)
        __fpurge(stream);
    return true;
}

void streams_flush(void)
{
    if (nothing_buffered())
        return;
    if (listed())
        each(flush);
    else
        fflush(NULL);
}

CHILD_PATH void streams_forget(void)
{
    if (nothing_buffered())
        return;
    if (listed()) {
        each(forget);
    } else {
        __fpurge(stdout);
        __fpurge(stderr);
    }
}

static bool is_free(FILE *stream)
{
    if (ftrylockfile(stream))
        return false;
    funlockfile(stream);
    return true;
}

/* fflush(NULL) would wait for ever for a lock that another of the parent's threads had at the fork:
 * in the child nobody has it. One of a thread of ours is given back soon. */
static void flush_unlisted(void)
{
    for (int i = 0; i < TRIES; i++) {
        if (is_free(stdout) && is_free(stderr)) {
            fflush(NULL);
            return;
        }
        os_sleep(AGAIN);
    }
}

CHILD_PATH void streams_finish(void)
{
    if (nothing_buffered())
        return;
    if (!listed())
        flush_unlisted();
    else
        while (!each(flush))
            os_sleep(AGAIN);
}
