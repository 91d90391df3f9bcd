/* Who waits for whom, and where that goes round in a circle.
 *
 * A thread's frame tells what it waits for, the object's type who keeps it waiting. What is no part of
 * a circle is struck out from both sides: who waits for nobody that is stuck, and for whom nobody waits
 * that is; each cycle is then looked for from each thread that is left.
 *
 * The copies are of different moments, so what they say together may never have been so: two threads
 * that take two locks in the same order, seen one early and one late. A deadlock does not go away. So
 * each cycle is looked at again a few times, thread by thread: whether it still waits there, sleeps in
 * the kernel, and is kept waiting by the next one.
 */
#include "inspect/inspect.h"
#include "region/wait.h"
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 3, TRIES = 3, PAUSE = 1000000 /* ns */ };

static bool waits(const struct seen_thread *t)
{
    return t->frame || t->joins;
}

static owner_t owner_of(const struct seen_thread *t)
{
    return owner_make(t->generation, t->record);
}

/* Whom a thread waits for, who has a part of the object that `d` describes: the i-th, or 0. */
static owner_t blocker(const struct seen_thread *t, const struct description *d, size_t i)
{
    owner_t me = owner_of(t);
    if (!t->frame) /* a process: its first thread, as all end when that returns */
        return i || !t->joins ? 0
                              : owner_make((uint32_t)(t->joins >> 32), (uint32_t)t->joins & 0xffff);
    if (!d || d->blocking == BLOCKS_NOT || i >= d->count)
        return 0;
    if (d->blocking == BLOCKS_ANY)
        return d->shares[i].owner;
    if (!d->first)
        return 0;
    bool mine = d->shares[0].owner == me;
    if (!mine || d->owner_too)
        return i ? 0 : d->shares[0].owner;
    return i + 1 < d->count ? d->shares[i + 1].owner : 0;
}

static const struct description *awaited(const struct snapshot *s, const struct seen_thread *t)
{
    const struct seen_object *o = t->frame ? snapshot_object(s, t->frame - 1) : NULL;
    return o ? &o->more : NULL;
}

/* ---- the graph ---- */

/* Edges from the thread that waits to the one it waits for; those of a thread lie side by side:
 * [from[t], from[t + 1]). `back` has the same edges by their other end. */
struct graph {
    size_t n, edges;
    size_t *from, *back_from;
    uint32_t *to, *back;
    size_t *left;       /* how many of its edges lead to threads that are stuck */
    size_t *left_back;  /* and come from such */
    bool *out;          /* it is no part of a cycle */
    uint32_t *queue;    /* for walks */
    uint32_t *previous; /* thread + 1 by which a walk came here; 0: it did not */
};

static void graph_free(struct graph *g)
{
    free(g->from);
    free(g->back_from);
    free(g->to);
    free(g->back);
    free(g->left);
    free(g->left_back);
    free(g->out);
    free(g->queue);
    free(g->previous);
}

/* Counts the edges of each thread, then, when there is room for them, writes them. */
static void find_edges(const struct snapshot *s, struct graph *g, bool count)
{
    size_t n = 0;
    for (size_t t = 0; t < g->n; t++) {
        const struct seen_thread *thread = &s->threads[t];
        const struct description *d = waits(thread) ? awaited(s, thread) : NULL;
        owner_t owner;
        g->from[t] = n;
        for (size_t i = 0; waits(thread) && (owner = blocker(thread, d, i)); i++) {
            const struct seen_thread *other = snapshot_thread(s, owner);
            if (other && s->over[other->slot])
                other = NULL;
            if (!other && d && d->blocking == BLOCKS_ANY)
                g->out[t] = true; /* a dead one's share, or of one that we do not know */
            if (!other || (other == thread && !(d && d->owner_too)))
                continue;
            if (!count)
                g->to[n] = (uint32_t)(other - s->threads);
            n++;
        }
    }
    g->from[g->n] = n;
}

static void turn_edges(struct graph *g)
{
    for (size_t e = 0; e < g->edges; e++)
        g->back_from[g->to[e] + 1]++;
    for (size_t t = 0; t < g->n; t++)
        g->back_from[t + 1] += g->back_from[t];
    for (size_t t = 0; t < g->n; t++)
        for (size_t e = g->from[t]; e < g->from[t + 1]; e++)
            g->back[g->back_from[g->to[e]] + g->left_back[g->to[e]]++] = (uint32_t)t;
    for (size_t t = 0; t < g->n; t++)
        g->left[t] = g->from[t + 1] - g->from[t];
}

static int graph_make(const struct snapshot *s, struct graph *g)
{
    size_t n = s->threads_count;
    *g = (struct graph){.n = n};
    g->from = calloc(n + 1, sizeof *g->from);
    g->back_from = calloc(n + 1, sizeof *g->back_from);
    g->left = calloc(n + 1, sizeof *g->left);
    g->left_back = calloc(n + 1, sizeof *g->left_back);
    g->out = calloc(n + 1, sizeof *g->out);
    g->queue = calloc(n + 1, sizeof *g->queue);
    g->previous = calloc(n + 1, sizeof *g->previous);
    if (!g->from || !g->back_from || !g->left || !g->left_back || !g->out || !g->queue ||
        !g->previous)
        return -ENOMEM;
    find_edges(s, g, true);
    g->edges = g->from[n];
    g->to = calloc(g->edges + 1, sizeof *g->to);
    g->back = calloc(g->edges + 1, sizeof *g->back);
    if (!g->to || !g->back)
        return -ENOMEM;
    find_edges(s, g, false);
    turn_edges(g);
    return 0;
}

static bool enough_is_one(const struct snapshot *s, uint32_t t)
{
    const struct description *d = awaited(s, &s->threads[t]);
    return d && d->blocking == BLOCKS_ANY;
}

/* Strikes a thread out, and with it those whom that leaves without anybody to wait for, or without
 * anybody who waits for them. */
static void strike_out(const struct snapshot *s, struct graph *g, uint32_t first)
{
    size_t n = 0;
    g->queue[n++] = first;
    g->out[first] = true;
    while (n) {
        uint32_t t = g->queue[--n];
        for (size_t e = g->back_from[t]; e < g->back_from[t + 1]; e++) {
            uint32_t by = g->back[e];
            g->left[by]--;
            if (!g->out[by] && (!g->left[by] || enough_is_one(s, by))) {
                g->out[by] = true;
                g->queue[n++] = by;
            }
        }
    }
}

/* Those who can go on, or wait for such; then those for whom nobody waits. */
static void strike_out_all(const struct snapshot *s, struct graph *g)
{
    for (uint32_t t = 0; t < g->n; t++)
        if (g->out[t])
            strike_out(s, g, t);
    for (uint32_t t = 0; t < g->n; t++)
        if (!g->out[t] && !g->left[t])
            strike_out(s, g, t);
    size_t n = 0;
    for (uint32_t t = 0; t < g->n; t++) {
        g->left_back[t] = 0;
        for (size_t e = g->back_from[t]; e < g->back_from[t + 1]; e++)
            g->left_back[t] += !g->out[g->back[e]];
    }
    for (uint32_t t = 0; t < g->n; t++)
        if (!g->out[t] && !g->left_back[t]) {
            g->out[t] = true;
            g->queue[n++] = t;
        }
    while (n) {
        uint32_t t = g->queue[--n];
        for (size_t e = g->from[t]; e < g->from[t + 1]; e++) {
            uint32_t to = g->to[e];
            if (!g->out[to] && !--g->left_back[to]) {
                g->out[to] = true;
                g->queue[n++] = to;
            }
        }
    }
}

/* The shortest way from a thread back to itself, as g->previous says it: false if there is none. */
static bool walk_round(struct graph *g, uint32_t start)
{
    size_t next = 0, n = 0;
    memset(g->previous, 0, g->n * sizeof *g->previous);
    g->queue[n++] = start;
    while (next < n) {
        uint32_t t = g->queue[next++];
        for (size_t e = g->from[t]; e < g->from[t + 1]; e++) {
            uint32_t to = g->to[e];
            if (g->out[to] || g->previous[to])
                continue;
            g->previous[to] = t + 1;
            if (to == start)
                return true;
            g->queue[n++] = to;
        }
    }
    return false;
}

/* ---- whether it is so ---- */

/* Sleeps in the kernel; also if that cannot be told. One that runs may be about to go on; and one that
 * is stopped may have just got what it waits for, and is then its owner. */
static bool sleeps(const struct snapshot *s, const struct seen_thread *t, bool for_itself)
{
    struct os_process thread;
    if (!s->near || os_process_look((pid_t)t->tid, &thread))
        return true;
    return for_itself ? thread.state == 'S' : thread.state != 'R';
}

/* Whether a thread still waits where it did, and the other still keeps it waiting. */
static bool still_blocks(const struct snapshot *s, const struct seen_thread *t,
                         const struct seen_thread *other)
{
    struct record record;
    struct seen_thread now = *t;
    if (!look_read(&s->look, look_record(&s->look, t->record), &record, sizeof record) ||
        atomic_load(&record.word) >> 32 != t->generation)
        return false;
    now.joins = atomic_load(&record.joins);
    now.frame = 0;
    for (int i = FRAMES - 1; i >= 0 && !now.frame; i--)
        now.frame = atomic_load(&record.frames[i]);
    if (now.frame != t->frame || now.joins != t->joins || !sleeps(s, t, t == other))
        return false;
    const struct seen_object *o = t->frame ? snapshot_object(s, t->frame - 1) : NULL;
    struct header header;
    struct description d = {.look = &s->look};
    if (o) {
        look_read(&s->look, look_header(&s->look, o->id), &header, sizeof header);
        if (state_generation(atomic_load(&header.state)) ==
            state_generation(atomic_load(&o->header.state)))
            object_describe(&s->look, &header, &d);
    }
    bool found = false;
    owner_t owner;
    for (size_t i = 0; !found && (owner = blocker(t, &d, i)); i++)
        found = owner == owner_of(other);
    description_free(&d);
    return found;
}

static bool stands_still(const struct snapshot *s, const struct cycle *cycle)
{
    for (int round = 0, tries = 0; round < ROUNDS;) {
        bool all = true;
        os_sleep(PAUSE);
        for (size_t i = 0; i < cycle->count && all; i++)
            all = still_blocks(s, &s->threads[cycle->threads[i]],
                               &s->threads[cycle->threads[(i + 1) % cycle->count]]);
        if (all)
            round++;
        else if (++tries == TRIES) /* one may just have been awake to look around */
            return false;
    }
    return true;
}

/* ---- cycles ---- */

/* What walk_round found, and those in it need not be begun with any more. */
static int add_cycle(struct snapshot *s, const struct graph *g, uint32_t start, bool *begun)
{
    struct cycle cycle = {.count = 0};
    uint32_t t = start;
    do {
        cycle.count++;
        t = g->previous[t] - 1;
    } while (t != start);
    cycle.threads = calloc(cycle.count, sizeof *cycle.threads);
    struct cycle *cycles = realloc(s->cycles, (s->cycles_count + 1) * sizeof *cycles);
    if (cycles)
        s->cycles = cycles;
    if (!cycle.threads || !cycles) {
        free(cycle.threads);
        return -ENOMEM;
    }
    for (size_t i = cycle.count; i > 0; i--) {
        t = g->previous[t] - 1;
        cycle.threads[i - 1] = t;
        begun[t] = true;
    }
    if (stands_still(s, &cycle))
        s->cycles[s->cycles_count++] = cycle;
    else
        free(cycle.threads);
    return 0;
}

int snapshot_deadlocks(struct snapshot *s)
{
    struct graph g;
    bool *begun = calloc(s->threads_count + 1, sizeof *begun);
    int rc = begun ? graph_make(s, &g) : -ENOMEM;
    if (!rc) {
        strike_out_all(s, &g);
        for (uint32_t t = 0; t < g.n && !rc; t++)
            if (!g.out[t] && !begun[t] && walk_round(&g, t))
                rc = add_cycle(s, &g, t, begun);
    }
    if (begun)
        graph_free(&g);
    free(begun);
    return rc;
}

/* ---- as anys ---- */

void build_awaited(struct build *b, shoal_any *dict, const struct seen_thread *t)
{
    const struct snapshot *s = b->s;
    uint64_t id = t->frame - 1;
    const struct seen_object *o = t->frame ? snapshot_object(s, id) : NULL;
    const char *type = o ? object_type_name(o->header.type) : id == WAIT_GUARD ? "allocation" : "?";
    const char *name = o ? o->name : "";
    if (!t->frame) {
        uint32_t slot = (uint32_t)t->joins;
        bool there = snapshot_has(s, slot);
        type = "process";
        id = there ? (uint64_t)atomic_load(&s->slots[slot].pid) : 0;
        name = there ? s->slots[slot].name : "";
    }
    build_put(b, dict, "object", shoal_any_int((int64_t)(uint32_t)id));
    build_put(b, dict, "type", shoal_any_str(type));
    build_put(b, dict, "name", build_name(name, NAME));
}

shoal_any *build_waits(struct build *b)
{
    const struct snapshot *s = b->s;
    shoal_any *list = shoal_any_list();
    for (size_t i = 0; i < s->threads_count && !b->rc; i++) {
        const struct seen_thread *t = &s->threads[i], *other;
        owner_t owner;
        if (!waits(t))
            continue;
        shoal_any *dict = build_thread(b, t), *by = shoal_any_list();
        build_awaited(b, dict, t);
        for (size_t k = 0; (owner = blocker(t, awaited(s, t), k)); k++)
            if ((other = snapshot_thread(s, owner)))
                build_append(b, by, build_thread(b, other));
        build_put(b, dict, "held_by", by);
        build_append(b, list, dict);
    }
    return list;
}

shoal_any *build_deadlocks(struct build *b)
{
    const struct snapshot *s = b->s;
    shoal_any *list = shoal_any_list();
    for (size_t i = 0; i < s->cycles_count && !b->rc; i++) {
        shoal_any *cycle = shoal_any_list();
        for (size_t k = 0; k < s->cycles[i].count; k++) {
            const struct seen_thread *t = &s->threads[s->cycles[i].threads[k]];
            shoal_any *dict = build_thread(b, t);
            build_awaited(b, dict, t);
            build_append(b, cycle, dict);
        }
        build_append(b, list, cycle);
    }
    return list;
}
