/* Whether an object can be reached from what a process holds, through messages (docs/design.md 9b).
 *
 * A message holds the objects that it names; what it lies in, a queue or the end of a pipe that will
 * receive it, holds the message, and may lie in a message itself. Nothing counts that, as a count
 * would not survive a death: who gives something up looks, from the object backwards, whether a
 * process holds any of what leads there. So what leads only to itself is found to be nobody's.
 *
 * What is handed on meanwhile. A process hands an object over to a message, and a message to a queue,
 * before it gives up its own hold; so each thing is looked for in the processes first, and in messages
 * and queues then. It takes something out of them by opening it, which changes its state's version:
 * if a process holds, in the end, anything of what was found to be nobody's, one of the versions has
 * changed since, or that of the object itself before it is freed.
 *
 * What seemed to be held, and was not at any one moment: then some link that was seen was broken
 * meanwhile, and whoever breaks a link marks first that it holds no more, and looks then itself.
 */
#include "region/object.h"
#include <string.h>
#include <sys/mman.h>

enum { FEW = 24 };

struct seen {
    uint32_t id;
    uint64_t state;
};

/* What leads to the object, and the object. More than FEW lie in memory of their own, with a bit for
 * each object that there can be. */
struct search {
    struct seen *at;
    size_t count, room;
    uint64_t *bits;
    bool nameable; /* some of them may lie in messages */
    struct seen few[FEW];
};

static size_t large_size(const struct search *s)
{
    return s->room * sizeof *s->at + s->room / 8;
}

static bool enlarge(struct search *s)
{
    if (s->at != s->few)
        return false;
    s->room = MOST_OBJECTS;
    void *map = mmap(NULL, large_size(s), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return false;
    s->at = map;
    s->bits = (uint64_t *)(void *)(s->at + s->room);
    memcpy(s->at, s->few, sizeof s->few);
    for (size_t i = 0; i < s->count; i++)
        s->bits[s->at[i].id / 64] |= 1ull << s->at[i].id % 64;
    return true;
}

static bool is_seen(const struct search *s, uint32_t id)
{
    if (s->bits)
        return s->bits[id / 64] >> id % 64 & 1;
    for (size_t i = 0; i < s->count; i++)
        if (s->at[i].id == id)
            return true;
    return false;
}

/* False: no memory to remember it. */
static bool see(struct search *s, const struct header *h, uint64_t state)
{
    uint32_t id = header_id(h);
    if (s->count == s->room && !enlarge(s))
        return false;
    if (s->bits)
        s->bits[id / 64] |= 1ull << id % 64;
    s->at[s->count++] = (struct seen){id, state};
    s->nameable |= __atomic_load_n(&h->flags, __ATOMIC_SEQ_CST) & OBJECT_SENT;
    return true;
}

/* A queue, or an end of a pipe. One that has ended meanwhile gives up what it held, and who ended it
 * looks at that. */
static bool leads_from_process(struct search *s, struct header *h, uint32_t generation)
{
    uint64_t state = atomic_load(&h->state);
    uint32_t id = header_id(h);
    if (state_status(state) != OBJECT_LIVE || state_generation(state) != generation ||
        is_seen(s, id))
        return false;
    return object_held(id, 0) || !see(s, h, state);
}

static bool names_seen(const struct search *s, struct header *message)
{
    const struct type_repair *type = life_type(TYPE_MESSAGE);
    uint32_t id, generation, most = atomic_load(&view.region->groups_high) * GROUP;
    for (unsigned i = 0; type->names(message, i, &id, &generation); i++)
        if (id < most && is_seen(s, id) &&
            state_generation(atomic_load(&header_at(id)->state)) == generation)
            return true;
    return false;
}

/* Whether it is a message that holds something of what was seen, and is held. */
static bool is_held_holder(struct search *s, struct header *h)
{
    uint64_t state;
    do {
        uint32_t generation;
        state = atomic_load(&h->state);
        if (state_status(state) != OBJECT_LIVE || h->type != TYPE_MESSAGE ||
            !(__atomic_load_n(&h->flags, __ATOMIC_SEQ_CST) & OBJECT_CARRIES) || !names_seen(s, h))
            return false;
        if (object_held(header_id(h), 0))
            return true;
        struct header *in = life_type(TYPE_MESSAGE)->lies_in(h, &generation);
        if (in && leads_from_process(s, in, generation))
            return true;
    } while (atomic_load(&h->state) != state); /* somebody was taking it */
    return false;
}

static bool look_at_messages(struct search *s)
{
    uint32_t high = atomic_load(&view.region->groups_high);
    for (uint32_t g = 0; g < high; g++)
        for (uint32_t i = 0; atomic_load(&group_at(g)->carries) && i < GROUP; i++)
            if (is_held_holder(s, header_at(g * GROUP + i)))
                return true;
    return false;
}

static bool reached(struct search *s, struct header *h)
{
    uint32_t generation;
    see(s, h, atomic_load(&h->state));
    struct header *in =
        h->type == TYPE_MESSAGE ? life_type(TYPE_MESSAGE)->lies_in(h, &generation) : NULL;
    if (in && leads_from_process(s, in, generation))
        return true;
    /* Until a look at all messages, after the last thing was seen, has found nothing more. */
    size_t before;
    do {
        before = s->count;
        if (s->nameable && look_at_messages(s))
            return true;
    } while (s->count != before);
    return false;
}

static bool changed(const struct search *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (atomic_load(&header_at(s->at[i].id)->state) != s->at[i].state && !MUTANT(162))
            return true;
    return false;
}

__attribute__((noinline)) enum reach object_reach(struct header *h)
{
    struct search s;
    s.at = s.few;
    s.count = 0;
    s.room = FEW;
    s.bits = NULL;
    s.nameable = false;
    enum reach ret = reached(&s, h) ? REACHED : changed(&s) ? REACH_CHANGED : UNREACHED;
    if (s.at != s.few)
        munmap(s.at, large_size(&s));
    return ret;
}
