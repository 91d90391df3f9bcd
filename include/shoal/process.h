/* shoal/process.h - processes: start, join, end, look at.
 *
 * A process is started by one process, its parent; only the parent joins and closes it. The parent
 * of a family's first process is nobody. A child starts with everything that its parent holds
 * (memory.h). Ending in whatever way gives up all it holds.
 */
#ifndef SHOAL_PROCESS_H
#define SHOAL_PROCESS_H

#include <shoal/error.h>
#include <shoal/memory.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct shoal_process shoal_process;

/* Daemons use the signal SIGRTMAX - 2: leave its handler in place and the signal unblocked. A process
 * that has daemons has a keeper beside it, a small process in a session of its own, called
 * shoal-keeper, which ends when the last thing it is for is done: when its parent has ended, however
 * it did, it kills those daemons that cannot end by themselves (a program that makes no call of
 * shoal, a daemon that is stopped or blocks the signal), with everything below them. If the keeper
 * itself has been killed, the next start of a daemon makes another; until then such daemons live on
 * if their parent is killed. waitpid(-1) does not meet it. */

/* What a child runs; the low 8 bits of what it returns are its exit code. Returning flushes the
 * standard streams and detaches, but runs none of the program's atexit handlers; a target that
 * calls exit runs them. */
typedef int (*shoal_target)(void *argument);

typedef struct shoal_limit {
    int resource; /* RLIMIT_… */
    struct rlimit limit;
} shoal_limit;

#define SHOAL_DAEMON \
    1u /* ends when its parent ends, with everything below it; at the parent's normal end too */

typedef struct shoal_process_options {
    /* 1 to 47 bytes ("" is -EINVAL); NULL: Process-1, Process-2, … in children Process-1:1, … */
    const char *name;
    unsigned flags;                 /* SHOAL_DAEMON. A daemon's children are daemons. */
    const char *directory;          /* working directory; NULL: the parent's */
    const char *const *environment; /* "NAME=value" …, NULL at the end; NULL: the parent's */
    int stdin_fd, stdout_fd,
        stderr_fd; /* 0: the parent's own; else a descriptor number that becomes the child's 0, 1, 2 (it stays open in the parent) */
    const shoal_limit *limits; /* resource limits, n_limits of them */
    size_t n_limits;
    const int *cpus; /* CPU affinity, n_cpus of them; 0: the parent's */
    size_t n_cpus;
    int nice; /* added to the parent's niceness */
} shoal_process_options;

/* Starts target(argument) in a child made by fork: the child has its own copy of the memory of this
 * moment, so argument may point to anything, locals too, or be a handle (memory.h). Standard output is flushed first, so that
 * nothing appears twice. On success *ret is a handle of the parent. Nobody waits for children at
 * the parent's end: who wants them to finish, joins them. Options that the child cannot carry out
 * (a directory that does not exist) are reported here, and no child is left. -EAGAIN, -ENOMEM: the
 * system's or the region's limit on processes. Threads: only the calling one exists in the child;
 * in a program with threads use shoal_process_start_clean. */
SHOAL_API int shoal_process_start(shoal_process **ret, shoal_target target, void *argument,
                                  const shoal_process_options *options);

/* The same by fork and exec of path with argv (NULL at the end). A path without a slash is looked for
 * in the folders of PATH, as execvp does: the child's, if its environment is given. That it cannot be
 * run is reported here: -ENOENT, -EACCES, … The program joins the family at its first call of shoal
 * that needs one (memory.h), if it makes one. Only so is the family handed on: a program that is run by a
 * fork and exec of one's own, or by system, begins another. */
SHOAL_API int shoal_process_start_exec(shoal_process **ret, const char *path, char *const argv[],
                                       const shoal_process_options *options);

/* A fork server: a child without threads, forked now from this process; call it before threads
 * start. Later shoal_process_start_clean has it fork; the target must be code that was loaded then,
 * and sees the memory of then, but a copy of the `size` bytes at argument. The child's parent, for
 * join and daemon, is the caller, which must be the process that started the server. -EPIPE: it has
 * none, or it is gone. stop: -EBUSY while a child that it forked still runs. */
SHOAL_API int shoal_forkserver_start(void);
SHOAL_API int shoal_forkserver_stop(void);
SHOAL_API int shoal_process_start_clean(shoal_process **ret, shoal_target target,
                                        const void *argument, size_t size,
                                        const shoal_process_options *options);

/* Waits for its end: 0. -ETIMEDOUT, -EAGAIN (SHOAL_NOW), -EINTR. -EDEADLK: itself. -ECHILD: another
 * process started it. */
SHOAL_API int shoal_process_join(shoal_process *process, int64_t deadline);
/* Waits until at least one of n has ended; sets ended[i] to 1 for each that has (ended may be
 * NULL); returns how many. */
SHOAL_API int shoal_process_wait(shoal_process *const processes[], size_t n, int ended[],
                                 int64_t deadline);

#define SHOAL_EXIT_RUNNING INT32_MIN /* it has not ended */
#define SHOAL_EXIT_UNKNOWN \
    (INT32_MIN + 1) /* it has, but the host program took its status (waitpid, SIGCHLD ignored) */
/* *ret: what it returned or gave to exit (0 … 255), -N if signal N ended it, or one of the two
 * above. */
SHOAL_API int shoal_process_exit_code(shoal_process *process, int *ret);
SHOAL_API int shoal_process_is_alive(shoal_process *process); /* 1, 0, -errno */
SHOAL_API pid_t shoal_process_pid(const shoal_process *process);
SHOAL_API const char *shoal_process_name(
    const shoal_process *process); /* valid until close; NULL for a bad handle */
SHOAL_API int shoal_process_is_daemon(const shoal_process *process);
/* A descriptor that is readable once the process has ended; it belongs to the handle and is closed
 * with it. */
SHOAL_API int shoal_process_sentinel(shoal_process *process);

/* Signals to it. 0 if it has already ended. */
SHOAL_API int shoal_process_terminate(shoal_process *process); /* SIGTERM */
SHOAL_API int shoal_process_interrupt(shoal_process *process); /* SIGINT */
SHOAL_API int shoal_process_kill(shoal_process *process);      /* SIGKILL */
/* SIGKILL to it and every descendant: all that is attached to the family below it or that /proc
 * shows below it. They are stopped first, so that none escapes by forking. Returns
 * how many were killed; -ENODATA where /proc is not mounted: only the child itself was killed. */
SHOAL_API int shoal_process_kill_tree(shoal_process *process);
/* Gives up the handle of a child that has ended, joined or not. -EBUSY: it runs; join or kill it
 * first. */
SHOAL_API int shoal_process_close(shoal_process *process);

/* Names of processes that shoal did not start: the family's first is MainProcess; a child of the
 * program's own fork is (forked); one that attached by itself (a bare clone, a second program of a
 * shell) is (attached). The fork server is ForkServer. A parent that ended before it was asked for
 * may be (ended). */

/* The calling process and its parent: handles that live as long as the process; join on them is
 * -EDEADLK, -ECHILD. parent is NULL in the root. */
SHOAL_API shoal_process *shoal_process_current(void);
SHOAL_API shoal_process *shoal_process_parent(void);
/* The caller's children that run: up to n handles; returns how many there are. Reaps those that
 * have ended. */
SHOAL_API int shoal_process_active_children(shoal_process *ret[], size_t n);

/* 32 random bytes that the root draws and children inherit, to authenticate connections. set: for
 *   this process and its future children, 1 to 64 bytes. */
SHOAL_API int shoal_process_authkey(
    unsigned char *ret, size_t size); /* returns the length; -EMSGSIZE if size is less */
SHOAL_API int shoal_process_set_authkey(const unsigned char *key, size_t size);

/* How many CPUs this process may use: its affinity, and its cgroup's quota rounded up. At least
 * 1. */
SHOAL_API int shoal_cpu_count(void);

/* Called in any process that notices, after it has repaired what a dead process left: from inside a
 * call of shoal, with its private locks held: if it calls shoal it may wait for itself for ever.
 * One per process, inherited by children; NULL: none. It is the process that repairs which tells,
 * not always the parent. */
typedef struct shoal_death {
    pid_t pid;
    char name[48];
} shoal_death;
typedef void (*shoal_death_callback)(const shoal_death *death, void *argument);
SHOAL_API int shoal_process_on_death(shoal_death_callback callback, void *argument);

/* Leaves the family: gives up everything, as at exit, and unmaps the region. All handles are -EBADF
 * afterwards; the next call of shoal begins a family of its own. Called by itself at a normal exit;
 * a program may call it before _exit. -EBUSY: other threads of this process use shoal. */
SHOAL_API int shoal_detach(void);

#ifdef __cplusplus
}
#endif
#endif
