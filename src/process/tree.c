/* Killing a tree of processes.
 *
 * All are stopped before any is killed. A process that is sent SIGSTOP in the middle of a fork
 * still completes it, but one that was seen to be stopped is in no fork: what a further look at
 * /proc and at the slots does not show below it does not exist. So looks are repeated until one
 * that began with all of them stopped shows nothing new. Stopped processes keep their numbers, and
 * a signal goes only to the very process that was seen (its start time). The deepest are killed
 * first, so that no process group is orphaned, and thereby continued, while some of it has not
 * been sent its SIGKILL.
 */
#include "process/child.h"
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATIENCE = 40000000 };

struct tree {
    struct os_process *table; /* by rising pid */
    unsigned char *below;     /* table[i] belongs to the tree */
    struct os_process *found; /* those that were stopped, parents before children */
    bool still;               /* the last look began with all of them stopped, and found no more */
    size_t room, n, count;
    int error; /* /proc could not be listed */
    uint32_t slot, generation;
    pid_t spare;
};

/* One piece of memory for `room` processes; no malloc, as this runs in signal handlers. */
static bool tree_map(struct tree *t, size_t room)
{
    size_t each = 2 * sizeof *t->table + 1;
    void *memory =
        mmap(NULL, room * each, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    struct os_process *old = t->found;
    size_t old_room = t->room;
    t->table = memory;
    t->found = t->table + room;
    t->below = (unsigned char *)(t->found + room);
    t->room = room;
    if (old) {
        memcpy(t->found, old, t->count * sizeof *old);
        munmap(old - old_room, old_room * each);
    }
    return true;
}

/* Index in the table, or n. */
static size_t find(const struct tree *t, pid_t pid)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (t->table[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->n && t->table[low].pid == pid ? low : t->n;
}

/* Adds and stops what is seen to be in the tree; false if it was already in it. */
static bool add(struct tree *t, size_t i)
{
    const struct os_process *p = &t->table[i];
    if (t->below[i] || p->pid == t->spare || p->pid == getpid())
        return false;
    t->below[i] = 1;
    for (size_t k = 0; k < t->count; k++)
        if (t->found[k].pid == p->pid && t->found[k].start == p->start)
            return false;
    if (p->state == 'Z' || p->state == 'X' || os_process_signal(p, SIGSTOP) == -ESRCH)
        return false;
    t->found[t->count++] = *p;
    return true;
}

/* Whether slot s is the top's, or that of something that descends from it. */
static bool slot_below(const struct tree *t, uint32_t s)
{
    const struct slot *slot = &view.slots[s];
    uint64_t top = (uint64_t)t->generation << 32 | t->slot, word = atomic_load(&slot->word);
    if (slot_status(word) == SLOT_FREE)
        return false;
    if (s == t->slot)
        return word >> 32 == t->generation;
    for (unsigned i = 0; i < ANCESTORS && slot->ancestors[i]; i++)
        if (slot->ancestors[i] == top)
            return true;
    return false;
}

/* Attached processes are known to descend from the top even if those in between have ended. */
static void add_attached(struct tree *t)
{
    uint32_t high = t->slot ? atomic_load(&view.region->slots_high) : 0;
    for (uint32_t s = 1; s < high; s++) {
        uint64_t word = atomic_load(&view.slots[s].word);
        pid_t pid = atomic_load(&view.slots[s].pid);
        if (!pid || !slot_below(t, s))
            continue;
        /* Attached and seen with this number while it was: then it is that process, as the number
         * is in use as long as the slot is ALIVE and it lives. */
        size_t i = find(t, pid);
        if (i < t->n && atomic_load(&view.slots[s].word) == word)
            add(t, i);
    }
}

/* One look at everything: whether anything new was found. */
static bool look(struct tree *t)
{
    long n;
    while ((n = os_process_list(t->table, t->room)) > (long)t->room - 64)
        if (!tree_map(t, 2 * (size_t)n + 256))
            return false;
    if (n < 0) {
        t->error = (int)n;
        return false;
    }
    t->n = (size_t)n;
    memset(t->below, 0, t->n);
    size_t before = t->count;
    t->still = true;
    for (size_t k = 0; k < t->count; k++) {
        size_t i = find(t, t->found[k].pid);
        if (i < t->n && t->table[i].start == t->found[k].start) {
            t->below[i] = 1;
            t->still = t->still && strchr("TtZX", t->table[i].state);
        }
    }
    add_attached(t);
    bool more;
    do {
        more = false;
        for (size_t i = 0; i < t->n; i++) {
            size_t parent = find(t, t->table[i].parent);
            if (!t->below[i] && parent < t->n && t->below[parent])
                more = add(t, i) || more;
        }
    } while (more);
    t->still = t->still && t->count == before;
    return t->count > before;
}

int tree_kill(pid_t top, uint32_t slot, uint32_t generation, pid_t spare)
{
    struct tree t = {.slot = slot, .generation = generation, .spare = spare};
    struct os_process first;
    int killed = 0;
    if (!tree_map(&t, 1024))
        return -ENOMEM;
    if (top && !os_process_look(top, &first)) {
        if (first.state != 'Z' && first.state != 'X')
            os_process_signal(&first, SIGSTOP);
        t.found[t.count++] = first;
    }
    /* Who waits for the exec of its vfork child does not stop, so this has an end. */
    int64_t end = os_now() + PATIENCE;
    for (bool still = false; look(&t) || (!t.error && !still && os_now() < end); still = t.still)
        if (!t.still)
            os_yield();
    while (t.count) {
        const struct os_process *p = &t.found[--t.count];
        if (p->state != 'Z' && p->state != 'X' && !os_process_signal(p, SIGKILL))
            killed++;
    }
    munmap(t.table, t.room * (2 * sizeof *t.table + 1));
    return t.error ? t.error : killed;
}

int shoal_process_kill_tree(shoal_process *process)
{
    int rc;
    struct child *child = child_own(process, "kill_tree", &rc);
    if (!child)
        return rc;
    bool ended = child_look(child);
    rc = tree_kill(ended ? 0 : child->pid, child->slot, child->generation, 0);
    if (rc >= 0)
        return rc;
    /* It is our own child, not reaped: the number is its. */
    if (!ended)
        kill(child->pid, SIGKILL);
    return fail(rc, rc == -ENOMEM ? "kill_tree: no memory to look at processes"
                                  : "kill_tree: /proc does not show what is below it");
}
