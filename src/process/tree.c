/* Killing a tree of processes.
 *
 * All are stopped before any is killed. A process that is sent SIGSTOP in the middle of a fork
 * still completes it, but one that was seen to be stopped is in no fork: what a further look at
 * /proc and at the slots does not show below it does not exist. So looks are repeated until one
 * that began with all of them stopped shows nothing new. Stopped processes keep their numbers, and
 * a signal goes only to the very process that was seen (its start time). The deepest are killed
 * first, so that no process group is orphaned, and thereby continued, while some of it has not
 * been sent its SIGKILL.
 *
 * Who forks and ends, time and again, could be gone whenever it is looked for. So the attached are
 * doomed first: a process that finds its slot doomed on its way into a fork stops by itself. It
 * reserves the child's slot and then looks; we doom it and then look at the slots. Either it stops,
 * or we see the child, which is doomed in turn before it can fork.
 */
#include "process/child.h"
#include "process/processes.h"
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATIENCE = 40000000, LONGEST = 1000000000, SLICE = 200000 };
enum { EACH = 2 * sizeof(struct os_process) + sizeof(uint16_t) + 1 };

struct tree {
    struct os_process *table; /* by rising pid */
    unsigned char *below;     /* table[i] belongs to the tree */
    struct os_process *found; /* those that were stopped */
    uint16_t *depth;          /* of found[i] in the tree */
    enum os_rest rest;        /* of the one that rested least as the last look began */
    bool still;               /* all rested then, and it found no more */
    size_t room, n, count;
    int error; /* /proc could not be listed */
    uint32_t slot, generation;
    pid_t spare;
};

/* One piece of memory for `room` processes; no malloc, as this runs in signal handlers. */
static bool tree_map(struct tree *t, size_t room)
{
    void *memory =
        mmap(NULL, room * EACH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    struct os_process *old = t->found;
    size_t old_room = t->room;
    t->table = memory;
    t->found = t->table + room;
    t->depth = (uint16_t *)(t->found + room);
    t->below = (unsigned char *)(t->depth + room);
    t->room = room;
    if (old) {
        memcpy(t->found, old, t->count * sizeof *old);
        munmap(old - old_room, old_room * EACH);
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

/* Whether there is nothing to be done about it. */
static bool is_known(pid_t pid, void *argument)
{
    const struct tree *t = argument;
    size_t k = 0;
    while (k < t->count && t->found[k].pid != pid)
        k++;
    return k < t->count || pid == t->spare || pid == getpid();
}

/* Stops and adds what was seen to be in the tree; false if that was done before, or it has
 * ended. */
static bool add(struct tree *t, const struct os_process *p)
{
    if (is_known(p->pid, t) || os_process_over(p) || os_process_signal(p, SIGSTOP) == -ESRCH)
        return false;
    t->found[t->count++] = *p;
    return true;
}

/* Whether slot s is the top's, or that of something that descends from it. */
static bool slot_below(const struct tree *t, uint32_t s)
{
    const struct slot *slot = slot_at(s);
    uint64_t top = (uint64_t)t->generation << 32 | t->slot, word = atomic_load(&slot->word);
    if (slot_status(word) == SLOT_FREE)
        return false;
    if (s == t->slot && word >> 32 == t->generation)
        return true;
    for (unsigned i = 0; i < ANCESTORS && slot->ancestors[i]; i++)
        if (slot->ancestors[i] == top)
            return true;
    return false;
}

/* Whether a child is reserved that may exist, or come to exist, and has not run yet. If its parent
 * is stopped, /proc shows it below that one; until then it may be on its way into the fork. */
static bool is_awaited(struct tree *t, uint32_t s, uint64_t word)
{
    uint64_t record = atomic_load(&record_at((uint32_t)word >> 8)->word);
    uint32_t parent = (uint32_t)(record >> 16) & 0xffff;
    struct os_process p;
    if (slot_status(word) != SLOT_STARTING)
        return false;
    if (parent && !os_process_look(atomic_load(&slot_at(parent)->pid), &p) &&
        !strchr("ZX", p.state))
        return !strchr("Tt", p.state);
    /* It may have said who it is while we were looking for one that has not. */
    return life_unborn(s, word, is_known, t) || atomic_load(&slot_at(s)->pid) ||
           atomic_load(&slot_at(s)->word) != word;
}

/* Dooms and stops the attached, which are known to descend from the top even if those in between
 * have ended. Whether there is nothing left to do. */
static bool stop_attached(struct tree *t)
{
    bool rest = true;
    uint32_t high = atomic_load(&view.region->slots_high);
    for (uint32_t s = 1; s < high; s++) {
        uint64_t word = atomic_load(&slot_at(s)->word);
        struct os_process p;
        if (!slot_below(t, s))
            continue;
        if (life_doom(s, (uint32_t)(word >> 32)))
            rest = false;
        pid_t pid = atomic_load(&slot_at(s)->pid);
        if (pid && is_known(pid, t))
            continue;
        if (life_process(s, word, &p))
            rest = !add(t, &p) && rest;
        else if (atomic_load(&slot_at(s)->word) != word || atomic_load(&slot_at(s)->pid) != pid ||
                 (!pid && is_awaited(t, s, word)))
            rest = false;
    }
    return rest;
}

/* Until all are at rest. One that is about to be born may have to wait for its turn to run. */
static bool catch_attached(struct tree *t)
{
    if (!t->slot)
        return true;
    if (t->count + SLOTS > t->room && !tree_map(t, t->count + 2 * SLOTS))
        return false;
    size_t before = t->count;
    for (int64_t end = os_now() + LONGEST; !stop_attached(t) && os_now() < end; before = t->count)
        if (t->count == before)
            os_sleep(SLICE);
    return true;
}

/* How they are before a look: what it lists may be older than what it says of each, so a state that it shows says nothing of
 * what was not listed. */
static enum os_rest rest(const struct tree *t)
{
    enum os_rest least = OS_RESTS;
    for (size_t k = 0; k < t->count && least != OS_RUNS; k++) {
        enum os_rest one = os_process_rest(&t->found[k]);
        least = one > least ? one : least;
    }
    return least;
}

/* One look at all of /proc: whether anything new was found. */
static bool look(struct tree *t)
{
    long n;
    t->rest = rest(t);
    while ((n = os_process_list(t->table, t->room)) + (long)t->count > (long)t->room - 64)
        if (!tree_map(t, 2 * (size_t)n + t->count + 256))
            return false;
    if (n < 0) {
        t->error = (int)n;
        return false;
    }
    t->n = (size_t)n;
    memset(t->below, 0, t->n);
    size_t before = t->count;
    for (size_t k = 0; k < t->count; k++) {
        size_t i = find(t, t->found[k].pid);
        if (i < t->n && t->table[i].start == t->found[k].start)
            t->below[i] = 1;
    }
    size_t spare = t->spare ? find(t, t->spare) : t->n;
    if (spare < t->n)
        t->below[spare] = 1;
    bool more;
    do {
        more = false;
        for (size_t i = 0; i < t->n; i++) {
            size_t parent = find(t, t->table[i].parent);
            if (t->below[i] || parent == t->n || !t->below[parent])
                continue;
            t->below[i] = 1;
            more = true;
            add(t, &t->table[i]);
        }
    } while (more);
    t->still = t->rest == OS_RESTS && t->count == before;
    return t->count > before;
}

/* Keepers end by themselves, and are nobody's business. */
static bool is_keeper(pid_t pid)
{
    uint32_t high = view.region ? atomic_load(&view.region->slots_high) : 0;
    for (uint32_t s = 1; s < high; s++)
        if (atomic_load(&slot_at(s)->keeper) == pid)
            return true;
    return false;
}

/* The deepest first; how many there were. */
static int kill_found(struct tree *t)
{
    int killed = 0, deepest = 0;
    for (size_t k = 0; k < t->count; k++) {
        int depth = 0;
        size_t i = find(t, t->found[k].pid);
        while (i < t->n && depth < UINT16_MAX && (i = find(t, t->table[i].parent)) < t->n &&
               t->below[i])
            depth++;
        t->depth[k] = (uint16_t)depth;
        deepest = depth > deepest ? depth : deepest;
    }
    for (int depth = deepest; depth >= 0; depth--)
        for (size_t k = 0; k < t->count; k++) {
            const struct os_process *p = &t->found[k];
            if (t->depth[k] == depth && !os_process_over(p) && !os_process_signal(p, SIGKILL))
                killed += !is_keeper(p->pid);
        }
    return killed;
}

int tree_kill(pid_t top, uint32_t slot, uint32_t generation, pid_t spare)
{
    struct tree t = {.slot = slot, .generation = generation, .spare = spare};
    struct os_process first;
    if (!tree_map(&t, 2 * SLOTS))
        return -ENOMEM;
    if (top && !os_process_look(top, &first)) {
        if (!os_process_over(&first))
            os_process_signal(&first, SIGSTOP);
        t.found[t.count++] = first;
    }
    /* Who waits for the exec of its vfork child does not stop, but forks nothing either; who runs may have to wait long for its
     * turn to stop. */
    int64_t begun = os_now(), ran = begun;
    while (catch_attached(&t) && (look(&t) || (!t.error && !t.still && os_now() - begun < LONGEST &&
                                               os_now() - ran < PATIENCE))) {
        if (t.rest == OS_RUNS)
            ran = os_now();
        if (!t.still)
            os_sleep(SLICE);
    }
    int killed = kill_found(&t);
    munmap(t.table, t.room * EACH);
    return t.error ? t.error : killed;
}

int shoal_process_kill_tree(shoal_process *process)
{
    int rc;
    struct child *child = child_own(process, "shoal_process_kill_tree", &rc);
    if (!child)
        return rc;
    bool ended = child_look(child);
    rc = tree_kill(ended ? 0 : child->pid, child_slot(child), child->generation, 0);
    if (rc >= 0)
        return rc;
    /* It is our own child, not reaped: the number is its. */
    if (!ended)
        kill(child->pid, SIGKILL);
    return fail(rc, rc == -ENOMEM
                        ? "shoal_process_kill_tree: no memory to look at processes"
                        : "shoal_process_kill_tree: /proc does not show what is below it");
}
