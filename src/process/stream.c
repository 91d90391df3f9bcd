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
 */
#include "process/child.h"
#include <stdio.h>
#include <stdio_ext.h>

enum { AGAIN = 1000000 };

__attribute__((weak)) FILE *list_begin(void) __asm__("_IO_iter_begin");
__attribute__((weak)) FILE *list_end(void) __asm__("_IO_iter_end");
__attribute__((weak)) FILE *list_next(FILE *stream) __asm__("_IO_iter_next");
__attribute__((weak)) void list_lock(void) __asm__("_IO_list_lock");
__attribute__((weak)) void list_unlock(void) __asm__("_IO_list_unlock");

static bool listed(void)
{
    return list_begin && list_end && list_next && list_lock && list_unlock;
}

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
    if (listed())
        each(flush);
    else
        fflush(NULL);
}

void streams_forget(void)
{
    if (listed()) {
        each(forget);
    } else {
        __fpurge(stdout);
        __fpurge(stderr);
    }
}

void streams_finish(void)
{
    if (!listed())
        fflush(NULL);
    else
        while (!each(flush))
            os_sleep(AGAIN);
}
