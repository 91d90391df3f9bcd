/* Handles: telling open ones from closed ones and from other processes' ones; the calling process and its parent. */
#include "process/child.h"
#include "region/life.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

pthread_mutex_t child_mutex = PTHREAD_MUTEX_INITIALIZER;
_Thread_local bool child_starting;

enum { TAG = 255, OPEN = 256, CHUNK = 16 /* a page */ };

/* Under child_mutex. Chunks are chained through their first struct, so that they stay reachable. */
static struct child *chunks, *unused, *open_list;
static pid_t list_owner; /* whose children open_list has */

/* ---- fork ---- */

static void before_fork(void)
{
    if (!child_starting)
        pthread_mutex_lock(&child_mutex);
}

static void after_fork_parent(void)
{
    if (!child_starting)
        pthread_mutex_unlock(&child_mutex);
}

static void after_fork_child(void)
{
    child_mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    child_starting = false;
    forkserver_forked();
}

static void begin(void)
{
    /* After the region's own handlers, so that this mutex is taken before theirs. */
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
    atexit(daemon_end_all);
}

void child_begin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin);
}

/* ---- the pool ---- */

shoal_process *child_handle(const struct child *child)
{
    return (shoal_process *)((uintptr_t)child | (child->tag & TAG));
}

struct child *child_of(const shoal_process *process, const char *what, int *rc)
{
    struct child *child = (struct child *)((uintptr_t)process & ~(uintptr_t)TAG);
    if (!child) {
        *rc = fail(-EINVAL, "%s: NULL is not a process", what);
        return NULL;
    }
    if (child->check != (OPEN | ((uintptr_t)process & TAG))) {
        *rc = fail(-EBADF, "%s: not an open handle of a process (closed?)", what);
        return NULL;
    }
    *rc = 0;
    return child;
}

struct child *child_own(const shoal_process *process, const char *what, int *rc)
{
    struct child *child = child_of(process, what, rc);
    if (!child)
        return NULL;
    if (child->kind == SELF) {
        *rc = fail(-EDEADLK, "%s: process %s is the calling one", what, child->name);
        return NULL;
    }
    if (child->kind == PARENT || child->owner != getpid()) {
        *rc = fail(-ECHILD, "%s: process %s (pid %d) was not started by the calling one", what,
                   child->name, (int)child->pid);
        return NULL;
    }
    return child;
}

/* Children of the process that this one was forked from are no longer listed; their handles stay what they are. */
static void own_list(void)
{
    pid_t me = getpid();
    if (list_owner == me)
        return;
    list_owner = me;
    open_list = NULL;
}

static struct child *take_unused(void)
{
    if (!unused) {
        struct child *chunk = aligned_alloc(CHUNK * sizeof *chunk, CHUNK * sizeof *chunk);
        if (!chunk)
            return NULL;
        memset(chunk, 0, CHUNK * sizeof *chunk);
        chunk[0].next = chunks;
        chunks = chunk;
        for (unsigned i = 1; i < CHUNK; i++) {
            chunk[i].next = unused;
            unused = &chunk[i];
        }
    }
    struct child *child = unused;
    unused = child->next;
    return child;
}

struct child *child_new(enum child_kind kind)
{
    own_list();
    struct child *child = take_unused();
    if (!child)
        return NULL;
    uint32_t tag = (child->tag + 1) & TAG;
    *child = (struct child){.check = OPEN | tag,
                            .tag = tag,
                            .kind = kind,
                            .owner = list_owner,
                            .status = SHOAL_EXIT_RUNNING,
                            .pidfd = -1,
                            .status_fd = -1};
    if (kind == CHILD || kind == CLEAN) {
        child->next = open_list;
        open_list = child;
    }
    return child;
}

void child_drop(struct child *child)
{
    for (struct child **p = &open_list; *p; p = &(*p)->next)
        if (*p == child) {
            *p = child->next;
            break;
        }
    if (child->pidfd >= 0)
        close(child->pidfd);
    if (child->status_fd >= 0)
        close(child->status_fd);
    child->check = 0;
    child->next = unused;
    unused = child;
}

int child_each(int (*visit)(struct child *, void *), void *argument)
{
    own_list();
    int rc = 0;
    for (struct child *c = open_list, *next; c && !rc; c = next) {
        next = c->next;
        rc = visit(c, argument);
    }
    return rc;
}

void child_number_reused(const struct child *newest)
{
    for (struct child *c = newest->next; c; c = c->next)
        if (c->pid == newest->pid && c->status == SHOAL_EXIT_RUNNING)
            c->status = SHOAL_EXIT_UNKNOWN;
}

int shoal_process_close(shoal_process *process)
{
    int rc;
    struct child *child = child_of(process, "close", &rc);
    if (!child)
        return rc;
    if (child->kind == SELF || child->kind == PARENT)
        return fail(-EINVAL, "close: the handle of %s lives as long as this process", child->name);
    if (child->owner == getpid() && !child_look(child))
        return fail(-EBUSY, "close: process %s (pid %d) runs; join or kill it first", child->name,
                    (int)child->pid);
    pthread_mutex_lock(&child_mutex);
    child_drop(child);
    pthread_mutex_unlock(&child_mutex);
    return 0;
}

/* ---- what is known without asking ---- */

pid_t shoal_process_pid(const shoal_process *process)
{
    int rc;
    const struct child *child = child_of(process, "pid", &rc);
    return child ? child->pid : rc;
}

const char *shoal_process_name(const shoal_process *process)
{
    int rc;
    const struct child *child = child_of(process, "name", &rc);
    return child ? child->name : NULL;
}

int shoal_process_is_daemon(const shoal_process *process)
{
    int rc;
    const struct child *child = child_of(process, "is_daemon", &rc);
    return child ? child->daemon : rc;
}

/* ---- the calling process and its parent ---- */

/* Under child_mutex. `self_child` as a fork copied it is the parent's: that is how a child knows its parent even when that has ended. */
static struct child *self_child, *parent_child;

static struct child *new_from_slot(enum child_kind kind, uint32_t s, uint32_t generation)
{
    struct child *child = child_new(kind);
    const struct slot *slot = &view.slots[s];
    if (!child)
        return NULL;
    child->family = view.region->family;
    child->slot = s;
    child->generation = generation;
    child->pid = atomic_load(&slot->pid);
    child->daemon = atomic_load(&slot->flags) & SLOT_FLAG_DAEMON;
    memcpy(child->name, slot->name, NAME);
    child->name[NAME - 1] = 0;
    return child;
}

/* Under child_mutex. */
static int know_self(void)
{
    uint32_t s = process_self.slot, generation = process_self.generation;
    if (self_child && self_child->slot == s && self_child->generation == generation)
        return 0;
    const struct slot *slot = &view.slots[s];
    uint32_t p = slot->parent, p_generation = slot->parent_generation;
    if (p && self_child && self_child->slot == p && self_child->generation == p_generation) {
        self_child->kind = PARENT;
        parent_child = self_child;
    } else if (p) {
        parent_child = new_from_slot(PARENT, p, p_generation);
        if (!parent_child)
            return fail(-ENOMEM, "no memory for a handle");
        if (atomic_load(&view.slots[p].word) >> 32 != p_generation) { /* the slot is another's */
            parent_child->pid = 0;
            parent_child->status = SHOAL_EXIT_UNKNOWN;
            memcpy(parent_child->name, "(ended)", 8);
        }
    } else {
        parent_child = NULL;
    }
    self_child = new_from_slot(SELF, s, generation);
    return self_child ? 0 : fail(-ENOMEM, "no memory for a handle");
}

static shoal_process *known(struct child **which)
{
    owner_t me;
    if (self(&me))
        return NULL;
    child_begin();
    pthread_mutex_lock(&child_mutex);
    shoal_process *process = !know_self() && *which ? child_handle(*which) : NULL;
    pthread_mutex_unlock(&child_mutex);
    return process;
}

shoal_process *shoal_process_current(void)
{
    return known(&self_child);
}

shoal_process *shoal_process_parent(void)
{
    return known(&parent_child);
}

/* ---- the caller's children ---- */

struct gathering {
    shoal_process **ret;
    size_t n, found;
    struct child
        gone; /* a copy: one that was found to have ended, whose repair is to happen without the mutex */
};

static int gather(struct child *child, void *argument)
{
    struct gathering *g = argument;
    bool fresh;
    if (child_ended(child, &fresh)) {
        if (fresh)
            g->gone = *child;
        return fresh;
    }
    if (g->found < g->n)
        g->ret[g->found] = child_handle(child);
    g->found++;
    return 0;
}

int shoal_process_active_children(shoal_process *ret[], size_t n)
{
    struct gathering g;
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    if (n && !ret)
        return fail(-EINVAL, "active_children: no room to put %zu handles", n);
    for (bool again = true; again;) {
        g = (struct gathering){.ret = ret, .n = n};
        pthread_mutex_lock(&child_mutex);
        again = child_each(gather, &g);
        pthread_mutex_unlock(&child_mutex);
        if (again)
            child_gone(&g.gone);
    }
    return (int)g.found;
}
