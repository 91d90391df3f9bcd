/* Handles: telling open ones from closed ones and from other processes' ones; the calling process
 * and its parent. */
#include "process/child.h"
#include "process/processes.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TAG = 255, OPEN = 256, PAGE = 4096 };

/* ---- fork ---- */

/* Waits for starts of other threads, so that their pipes do not get into this child. */
static void before_fork(void)
{
    if (!self_starts())
        os_mutex_lock(&child_mutex);
}

static void after_fork_parent(void)
{
    if (!self_starts())
        os_mutex_unlock(&child_mutex);
}

static void begin(void)
{
    /* After the region's own handlers, so that this mutex is taken before theirs. */
    pthread_atfork(before_fork, after_fork_parent, NULL);
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
        *rc = child->tag
                  ? fail(-EBADF, "%s: not an open handle of a process (closed?)", what)
                  : fail(-ECHILD, "%s: not a process that the calling one has started", what);
        return NULL;
    }
    *rc = 0;
    return child;
}

/* Whether another process started it. Where a fork wipes handles, those that are open are the
 * caller's own. */
static bool foreign(const struct child *child)
{
    return !os_features()->wipe_on_fork && child->owner != os_getpid();
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
    if (child->kind == PARENT || foreign(child)) {
        *rc = fail(-ECHILD, "%s: process %s (pid %d) was not started by the calling one", what,
                   child->name, (int)child->pid);
        return NULL;
    }
    return child;
}

/* A page of structs. Each begins with life 1: a struct that was never used is one that was
 * wiped. */
static bool more_unused(void)
{
    struct child *page = os_memory_wiped_page();
    for (unsigned i = 0; page && i < PAGE / sizeof *page; i++) {
        page[i].next = children->unused;
        children->unused = &page[i];
    }
    return page;
}

struct child *child_new(enum child_kind kind)
{
    if (!children->owner)
        children->owner = os_getpid();
    if (!children->unused && !more_unused())
        return NULL;
    struct child *child = children->unused;
    children->unused = child->next;
    uint32_t tag = child->tag % TAG + 1; /* never 0 */
    *child = (struct child){.check = OPEN | tag,
                            .tag = tag,
                            .kind = kind,
                            .owner = children->owner,
                            .status = SHOAL_EXIT_RUNNING,
                            .end = {.fd = -1}};
    child->next = children->list;
    children->list = child;
    return child;
}

void child_drop(struct child *child)
{
    for (struct child **p = &children->list; *p; p = &(*p)->next)
        if (*p == child) {
            *p = child->next;
            break;
        }
    descriptor_close(&child->end);
    child->check = 0;
    child->next = children->unused;
    children->unused = child;
}

int child_each(int (*visit)(struct child *, void *), void *argument)
{
    int rc = 0;
    for (struct child *c = children->list, *next; c && !rc; c = next) {
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
    struct child *child = child_of(process, "shoal_process_close", &rc);
    if (!child)
        return rc;
    if (child->kind == SELF || child->kind == PARENT)
        return fail(-EINVAL, "shoal_process_close: the handle of %s lives as long as this process",
                    child->name);
    if (!foreign(child) && !child_look(child))
        return fail(-EBUSY, "shoal_process_close: process %s (pid %d) runs; join or kill it first",
                    child->name, (int)child->pid);
    os_mutex_lock(&child_mutex);
    child_drop(child);
    os_mutex_unlock(&child_mutex);
    return 0;
}

/* ---- what is known without asking ---- */

pid_t shoal_process_pid(const shoal_process *process)
{
    int rc;
    const struct child *child = child_of(process, "shoal_process_pid", &rc);
    return child ? child->pid : rc;
}

const char *shoal_process_name(const shoal_process *process)
{
    int rc;
    const struct child *child = child_of(process, "shoal_process_name", &rc);
    return child ? child->name : NULL;
}

int shoal_process_is_daemon(const shoal_process *process)
{
    int rc;
    const struct child *child = child_of(process, "shoal_process_is_daemon", &rc);
    return child ? child->daemon : rc;
}

/* ---- the calling process and its parent ---- */

/* Under child_mutex. A fork copies them: what was the parent's own is how a child knows its parent,
 * even when that has ended. */
static struct child self_child, parent_child;

static void from_slot(struct child *child, enum child_kind kind, uint32_t s, uint32_t generation)
{
    const struct slot *slot = slot_at(s);
    uint32_t tag = child->tag % TAG + 1;
    *child = (struct child){.check = OPEN | tag,
                            .tag = tag,
                            .kind = kind,
                            .pid = atomic_load(&slot->pid),
                            .owner = os_getpid(),
                            .family = view.region->family,
                            .slot = s,
                            .generation = generation,
                            .status = SHOAL_EXIT_RUNNING,
                            .end = {.fd = -1},
                            .daemon = atomic_load(&slot->flags) & SLOT_FLAG_DAEMON};
    memcpy(child->name, slot->name, NAME);
    child->name[NAME - 1] = 0;
}

static bool is_about(const struct child *child, uint32_t s, uint32_t generation)
{
    return child->check && child_in_family(child) && child->slot == s &&
           child->generation == generation;
}

/* Under child_mutex. */
static void know_self(void)
{
    uint32_t s = process_self.slot, generation = process_self.generation;
    if (is_about(&self_child, s, generation))
        return;
    const struct slot *slot = slot_at(s);
    uint32_t p = slot->parent, p_generation = slot->parent_generation;
    uint32_t tag = parent_child.tag % TAG + 1;
    if (p && is_about(&self_child, p, p_generation)) {
        parent_child = self_child;
        parent_child.kind = PARENT;
        parent_child.tag = tag;
        parent_child.check = OPEN | tag;
        parent_child.end.fd = -1;
    } else if (p) {
        from_slot(&parent_child, PARENT, p, p_generation);
        if (atomic_load(&slot_at(p)->word) >> 32 != p_generation) { /* the slot is another's */
            parent_child.pid = 0;
            memcpy(parent_child.name, "(ended)", 8);
        }
    } else {
        parent_child.check = 0;
    }
    from_slot(&self_child, SELF, s, generation);
}

static shoal_process *known(const struct child *which)
{
    owner_t me;
    if (self(&me))
        return NULL;
    child_begin();
    os_mutex_lock(&child_mutex);
    know_self();
    shoal_process *process = which->check ? child_handle(which) : NULL;
    os_mutex_unlock(&child_mutex);
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
        return fail(-EINVAL, "shoal_process_active_children: no room to put %zu handles", n);
    for (bool again = true; again;) {
        g = (struct gathering){.ret = ret, .n = n};
        os_mutex_lock(&child_mutex);
        again = child_each(gather, &g);
        os_mutex_unlock(&child_mutex);
        if (again)
            child_gone(&g.gone);
    }
    return (int)g.found;
}
