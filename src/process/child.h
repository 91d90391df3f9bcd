/* process/child.h - what a process keeps about those it started: handles, and the list of them.
 *
 * Private memory, never given back, so that a handle that is used after its close is told from one
 * that is open: the low bits of the opaque pointer count the lives of the struct it points to. A
 * fork wipes it, and the child never uses the pages again, so that what its parent's handles point
 * to is told from both.
 */
#ifndef SHOAL_CHILD_H
#define SHOAL_CHILD_H

#include "process/descriptor.h"
#include "region/self.h"
#include <poll.h>
#include <shoal/process.h>

enum child_kind {
    CHILD,  /* forked by this process */
    CLEAN,  /* forked by the fork server in this process's name */
    SELF,   /* shoal_process_current */
    PARENT, /* shoal_process_parent */
};

struct child {
    _Alignas(256) uint32_t check; /* 0x100 | tag while open, 0 when not */
    uint32_t tag;
    struct child *next; /* in the list of the open or of the unused */
    enum child_kind kind;
    pid_t pid;
    pid_t owner;     /* whose child it is */
    uint64_t family; /* whose region `slot` is in */
    uint32_t slot, generation;
    _Atomic int32_t status; /* as shoal_process_exit_code gives it; set once */
    bool daemon;
    bool died; /* CLEAN: of a death that is told here */
    /* What becomes readable at its end: a pidfd, once somebody wants it; of a CLEAN child the pipe
     * into which the fork server writes its wait status. */
    struct descriptor end;
    char name[NAME];
};
static_assert(sizeof(struct child) == 256, "none lies on two pages");

/* What a process knows of its children. It lies in the page that a fork wipes (region/self.h): a
 * child begins with nothing. */
struct children {
    struct os_mutex mutex; /* guards all of this, reaping, and starts; fork handlers hold it too */
    struct os_mutex server_mutex; /* guards requests to the fork server; taken before the other */
    pid_t owner;                  /* whose this is */
    unsigned count;               /* of starts, for names */
    struct child *list, *unused;
};
static_assert(sizeof(struct children) <= sizeof process_self.children, "there is room for it");
#define children ((struct children *)(void *)process_self.children)
#define child_mutex (children->mutex)

/* The struct behind an open handle, or NULL with *rc = -EINVAL, -EBADF. */
struct child *child_of(const shoal_process *process, const char *what, int *rc);
/* The same for what only the process may do that started it: -ECHILD, and -EDEADLK for the calling
 * process itself. */
struct child *child_own(const shoal_process *process, const char *what, int *rc);

/* Under child_mutex: a new handle, in the list; NULL: no memory. And what undoes it. */
struct child *child_new(enum child_kind kind);
void child_drop(struct child *child);
shoal_process *child_handle(const struct child *child);
/* Under child_mutex: calls visit for each open handle of this process's own children; stops when it
 * returns nonzero. */
int child_each(int (*visit)(struct child *, void *), void *argument);
/* Under child_mutex: a process with this number was just started, so an older one that had it has
 * ended. */
void child_number_reused(const struct child *newest);
/* Makes the fork handlers; once. */
void child_begin(void);

/* ---- join.c ---- */
/* Under child_mutex: whether it has ended; takes its status if so. *fresh: it was this call that
 * found it: call child_gone when the mutex is free. */
bool child_ended(struct child *child, bool *fresh);
void child_gone(const struct child *child);
/* Whether its slot lies in the region that this process has now. */
static inline bool child_in_family(const struct child *child)
{
    return child->slot && view.base && child->family == view.region->family;
}
/* Takes the mutex itself. */
bool child_look(struct child *child);
/* A descriptor that becomes readable at its end, or -errno. Takes the mutex itself. */
int child_pollable(struct child *child);

/* Where to look for what is below it, if that region still is there; 0: /proc alone tells. */
static inline uint32_t child_slot(const struct child *child)
{
    return child_in_family(child) ? child->slot : 0;
}

/* What to poll for the end of a child that runs; below 0 where only looking now and then helps: after
 * CHILD_SLICE, then after longer slices. `told`: its descriptor was readable, and yet it runs: a clean
 * one's server is gone. Asked before each sleep, since the program may have closed the descriptor. */
int child_to_poll(struct child *child, short told);
enum { CHILD_SLICE = 200000 };
int64_t child_slice(int64_t slice);
/* Sleeps until one of the descriptors is ready or the deadline has passed: 0, -EINTR, -errno. At most
 * `slice` ns. */
int child_poll(struct pollfd *fds, size_t n, int64_t deadline, int64_t slice);

/* Waits for a child that is about to end by itself, and forgets it. */
void child_abandon(struct child *child);

/* ---- start.c ---- */
/* What is the same in all ways to start. */
struct launch {
    const char *call; /* of the program's, for sentences */
    struct child *child;
    struct birth birth;
    const shoal_process_options *options; /* never NULL */
    pid_t parent;
    char identity[NAME];
    /* Whose child it is, if the fork server forks it in that process's name; follows 0: the
     * parent's. */
    pid_t follows;
    uint64_t follows_start;
    uint32_t follows_slot, follows_generation;
    int report[2]; /* a pipe: what the child could not do; -1 */
};
/* Under child_mutex: the next number, and the name. */
void launch_name(struct child *child, const char *name, char identity[NAME]);
/* Checks options, takes child_mutex, makes the handle, names the birth, flushes. `reports`: the
 * child may fail even without options. */
int launch_begin(struct launch *l, const char *call, const shoal_process_options *options,
                 bool reports, unsigned flags);
/* In the parent, after fork: gives back the mutex and takes the child's report; 0, or -errno when
 * no child is left. */
int launch_end(struct launch *l, pid_t pid, int error);
/* In the child: becomes what was asked for, or ends. */
void launch_settle(const struct launch *l);
/* In the child, where no exec follows: tells the parent that all went well. */
void launch_ready(const struct launch *l);
/* In the child, instead: becomes another program of the family. */
_Noreturn void launch_program(const struct launch *l, const char *path, char *const argv[]);
_Noreturn void launch_fail(const struct launch *l, int result);
/* The end of a child that returned from its target. */
_Noreturn void process_finish(int code);

/* ---- stream.c ---- */
/* Before a fork: writes what is buffered, as far as no other thread is in its stream. */
void streams_flush(void);
/* In the child: what is still buffered is its parent's. */
void streams_forget(void);
/* At a child's end: writes what is buffered, and waits for other threads that are writing. */
void streams_finish(void);

/* ---- option.c ---- */
bool option_any(
    const shoal_process_options *options); /* whether there is something that may fail */
int option_check(const shoal_process_options *options, const char *call);
/* In the child; -errno with a detail. */
int option_apply(const shoal_process_options *options, const char *call);

/* ---- forkserver.c ---- */
/* A signal to a CLEAN child, by way of the server, which knows whether it has been reaped. */
int forkserver_signal(struct child *child, int number);

#endif
