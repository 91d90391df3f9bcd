/* shoal/inspect.h - looking into a running family: who is there, who holds what, who waits for whom.
 *
 * A snapshot is an any (any.h) and nothing but data: it holds no object and stops nobody. Others go on
 * while it is taken, so each figure was true at some moment of the call, and two of them perhaps at
 * different ones. A deadlock is told only after it was looked at several times and stood still. It is a ring of
 * those who wait for what only its owner gives up (locks, rlocks, rwlocks, the lock of a value, a process's end);
 * who waits for a permit, a message or an event may be helped by anybody, and is in none.
 *
 *     {'processes': [{'pid', 'name', 'slot', 'parent' (its pid; 0: none, or it has ended),
 *                     'status' ('starting': its pid may be 0 yet; 'running'; 'leaving';
 *                     'dead': what it left is not given back yet), 'daemon',
 *                     'threads' (that have called shoal), 'charged', 'quota' (bytes; 0: no limit),
 *                     'waits_for' (ids of objects)}],
 *      'objects': [{'id', 'generation', 'type', 'name' ('': none), 'bytes' (of content),
 *                   'holders' (pids that have it open), 'owners', 'waiters', 'messages' (ids of those
 *                   that hold it, until they have been taken; a message's first 100 objects count),
 *                   … and what its type tells: 'locked', 'levels' (rlock), 'value', 'bound', 'owned'
 *                   (semaphore), 'written', 'readers' (rwlock), 'set', 'sets' (event), 'parties',
 *                   'waiting', 'broken', 'phase' (barrier), 'waiting', 'notified', 'lock' (condition),
 *                   'done' (once), 'size' (a queue's: messages), 'lifo', 'priority', 'maxsize', 'closed', 'to first',
 *                   'to second' (pipe: messages), 'of', 'length', 'lock' (value and array),
 *                   'buffered', 'maxsize' (a channel with a buffer: messages), 'no readers', 'no writers', 'poisoned' (channel; its
 *                   owners are who waits there, as 'waiting reader' or 'waiting writer'), 'round' (a barrier of csp.h), 'channel', 'reader' or
 *                   'writer', 'retired' (channel end)}],
 *      'waits': [{'pid', 'process', 'thread', 'object', 'type', 'name', 'held_by'}],
 *      'deadlocks': [[{'pid', 'process', 'thread', 'object', 'type', 'name'}]],
 *      'memory': {'reserved', 'populated', 'used', 'objects'},
 *      'counters': {'deaths', 'repairs'}}
 *
 * Who owns, waits or keeps others waiting is {'pid', 'process', 'thread'}, an owner also with 'as'
 * ('holder', 'writer', 'reader', …) and 'alive'. In a deadlock each entry waits for its object, which
 * the next one has; the last one's the first has. Where cycles share threads, each of these is in at
 * least one that is shown. A thread that waits for the end of a process, in shoal_process_join, has
 * 'type' 'process', and as 'object' the pid. More keys may come to be.
 */
#ifndef SHOAL_INSPECT_H
#define SHOAL_INSPECT_H

#include <shoal/any.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A snapshot of the caller's family, which it becomes a member of if it was of none; the caller frees
 * it. 0, -ENOMEM, -EINVAL for NULL. */
SHOAL_API int shoal_inspect(shoal_any **ret);

/* A snapshot of the family of another process, which learns nothing of it: the caller does not become
 * a member and writes nothing, and what is half written or hostile there does no harm.
 * -ESRCH: there is no such process; -EPERM: the caller may not look into it; -ENODATA: it has no
 * family (it does not use shoal, or has ended); -ENOTSUP: it uses another version of shoal, or there is no
 * /proc; -ENOMEM. */
SHOAL_API int shoal_inspect_process(shoal_any **ret, pid_t pid);

/* Draws the networks (csp.h) that a snapshot shows, as text for Graphviz's dot: processes that have ends of channels, the channels, and an arrow
 * for each end, in the direction in which messages go: red where its process waits there, dashed where it is
 * retired. An end that travels comes from or leads to its message. Threads of a process are not told apart. The caller frees the text with free().
 * 0, -ENOMEM, -EINVAL: no snapshot. */
SHOAL_API int shoal_inspect_draw(char **ret, const shoal_any *snapshot);

#ifdef __cplusplus
}
#endif
#endif
