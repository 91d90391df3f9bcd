/* Objects of a snapshot: those that live, who has them open, and what their types tell. */
#include "csp/channel.h"
#include "inspect/inspect.h"
#include "manager/container.h"
#include "message/message.h"
#include "pool/units.h"
#include "sync/sync.h"
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    describe *describe;
} types[TYPES] = {
    [TYPE_MEMORY] = {"memory", NULL},
    [TYPE_LOCK] = {"lock", lock_describe},
    [TYPE_RLOCK] = {"rlock", rlock_describe},
    [TYPE_RWLOCK] = {"rwlock", rwlock_describe},
    [TYPE_ONCE] = {"once", once_describe},
    [TYPE_SEMAPHORE] = {"semaphore", semaphore_describe},
    [TYPE_CONDITION] = {"condition", condition_describe},
    [TYPE_EVENT] = {"event", event_describe},
    [TYPE_BARRIER] = {"barrier", barrier_describe},
    [TYPE_MESSAGE] = {"message", message_describe},
    [TYPE_QUEUE] = {"queue", queue_describe},
    [TYPE_VALUE] = {"value", value_describe},
    [TYPE_ARRAY] = {"array", value_describe},
    [TYPE_PIPE] = {"pipe", pipe_describe},
    [TYPE_END] = {"connection", pipe_end_describe},
    [TYPE_POOL] = {"pool", pool_describe},
    [TYPE_LIST] = {"list", container_describe},
    [TYPE_DICT] = {"dict", container_describe},
    [TYPE_NAMESPACE] = {"namespace", container_describe},
    [TYPE_CHANNEL] = {"channel", channel_describe},
    [TYPE_CHANNEL_END] = {"channel end", channel_end_describe},
};

const char *object_type_name(unsigned type)
{
    return type < TYPES && types[type].name ? types[type].name : "?";
}

void object_describe(const struct look *look, const struct header *header, struct description *d)
{
    *d = (struct description){.look = look};
    if (header->type < TYPES && types[header->type].describe)
        types[header->type].describe(d, header);
}

/* ---- copying them ---- */

/* The hold rows of a group: one for each slot. */
static int copy_holders(const struct snapshot *s, struct seen_object *o, const unsigned char *rows)
{
    size_t n = 0;
    for (int fill = 0; fill < 2; fill++) {
        if (fill && n && !(o->holders = malloc(n * sizeof *o->holders)))
            return -ENOMEM;
        n = 0;
        for (uint32_t slot = 1; slot < s->slots_high; slot++) {
            unsigned char hold = rows[(size_t)slot * GROUP + o->id % GROUP];
            if ((hold != HOLD_HELD && hold != HOLD_OPENING) || !snapshot_has(s, slot))
                continue;
            if (fill)
                o->holders[n] = slot;
            n++;
        }
    }
    o->holders_count = n;
    return 0;
}

static uint64_t cost_of(const struct header *h, uint32_t group_size)
{
    return sizeof *h + (h->units ? (uint64_t)h->units * UNIT : group_size ? group_size - 1 : 0);
}

/* The next place in the array; NULL: -ENOMEM. */
static struct seen_object *new_object(struct snapshot *s, size_t *room)
{
    if (s->objects_count == *room) {
        size_t more = *room ? *room * 2 : 64;
        struct seen_object *objects = realloc(s->objects, more * sizeof *objects);
        if (!objects)
            return NULL;
        s->objects = objects;
        *room = more;
    }
    struct seen_object *o = &s->objects[s->objects_count];
    memset(o, 0, sizeof *o);
    return o;
}

/* It may have become another object while it was looked at. */
static bool still_there(const struct look *look, const struct seen_object *o)
{
    uint64_t state, was = atomic_load(&o->header.state);
    return look_read(look, look_header(look, o->id), &state, sizeof state) &&
           state_generation(state) == state_generation(was) && state_status(state) == OBJECT_LIVE;
}

/* 0, also if it is gone. */
static int copy_object(struct snapshot *s, uint32_t id, const struct header *header,
                       const unsigned char *rows, size_t *room)
{
    struct seen_object *o = new_object(s, room);
    if (!o)
        return -ENOMEM;
    o->id = id;
    o->header = *header;
    if (header->name)
        look_payload(&s->look, header, (header->name - 1) * 8ull, o->name, sizeof o->name);
    o->name[NAME - 1] = 0;
    int rc = copy_holders(s, o, rows);
    object_describe(&s->look, &o->header, &o->more);
    if (!rc && o->more.short_of_memory)
        rc = -ENOMEM;
    if (rc || !still_there(&s->look, o)) {
        free(o->holders);
        description_free(&o->more);
        return rc;
    }
    s->objects_count++;
    const struct group *group = (const void *)rows; /* row 0 */
    uint64_t cost = cost_of(header, group->size <= 4097 ? group->size : 0);
    uint32_t creator = header->creator;
    s->used += cost;
    if (snapshot_has(s, creator) &&
        atomic_load(&s->slots[creator].word) >> 32 == header->creator_generation)
        s->charged[creator] += cost;
    return 0;
}

static int copy_group(struct snapshot *s, uint32_t g, unsigned char *rows, size_t *room)
{
    struct header headers[GROUP];
    uint64_t at = look_group(&s->look, g);
    bool have_rows = false;
    if (!look_read(&s->look, at, headers, sizeof headers))
        return 0;
    for (uint32_t i = 0; i < GROUP; i++) {
        if (state_status(atomic_load(&headers[i].state)) != OBJECT_LIVE)
            continue;
        if (!have_rows)
            look_read(&s->look, at + GROUP_HEADERS, rows, (size_t)s->slots_high * GROUP);
        have_rows = true;
        int rc = copy_object(s, g * GROUP + i, &headers[i], rows, room);
        if (rc)
            return rc;
    }
    return 0;
}

int snapshot_objects(struct snapshot *s)
{
    size_t room = 0;
    int rc = 0;
    uint32_t high = atomic_load(&s->region.groups_high);
    unsigned char *rows = malloc((size_t)s->slots_high * GROUP);
    if (!rows)
        return -ENOMEM;
    for (uint32_t g = 0; g < high && g < s->look.at.max_groups && !rc; g++)
        rc = copy_group(s, g, rows, &room);
    free(rows);
    return rc;
}

const struct seen_object *snapshot_object(const struct snapshot *s, uint64_t id)
{
    size_t from = 0, to = s->objects_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (s->objects[middle].id < id)
            from = middle + 1;
        else
            to = middle;
    }
    return from < s->objects_count && s->objects[from].id == id ? &s->objects[from] : NULL;
}

/* ---- as anys ---- */

static shoal_any *build_owners(struct build *b, const struct description *d)
{
    shoal_any *list = shoal_any_list();
    for (size_t i = 0; i < d->count; i++) {
        const struct seen_thread *t = snapshot_thread(b->s, d->shares[i].owner);
        shoal_any *one;
        if (t) {
            one = build_thread(b, t);
        } else { /* dead, and repaired; or it came after we had looked at the threads */
            one = shoal_any_dict();
            build_put(b, one, "pid", shoal_any_int(0));
            build_put(b, one, "process", shoal_any_str(""));
            build_put(b, one, "thread", shoal_any_int(0));
        }
        build_put(b, one, "as", shoal_any_str(d->shares[i].as));
        build_put(b, one, "alive",
                  shoal_any_bool(d->shares[i].lives && !(t && b->s->over[t->slot])));
        build_append(b, list, one);
    }
    return list;
}

static void build_facts(struct build *b, shoal_any *dict, const struct description *d)
{
    for (unsigned i = 0; i < d->n; i++) {
        const struct fact *f = &d->facts[i];
        build_put(b, dict, f->name,
                  f->kind == FACT_FLAG   ? shoal_any_bool(f->number)
                  : f->kind == FACT_TEXT ? shoal_any_str(f->text)
                                         : shoal_any_int(f->number));
    }
}

/* An object, and a message that holds it. */
struct link {
    uint32_t object, message;
};

static int by_object(const void *a, const void *b)
{
    const struct link *x = a, *y = b;
    if (x->object != y->object)
        return x->object < y->object ? -1 : 1;
    return x->message < y->message ? -1 : x->message > y->message;
}

/* In the order of objects' ids, and one more that is none's. NULL: no memory. */
static struct link *find_links(const struct snapshot *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->objects_count; i++)
        n += s->objects[i].more.carries_count;
    struct link *links = malloc((n + 1) * sizeof *links);
    if (!links)
        return NULL;
    n = 0;
    for (size_t i = 0; i < s->objects_count; i++) {
        const struct seen_object *o = &s->objects[i];
        for (size_t k = 0; k < o->more.carries_count; k++)
            links[n++] = (struct link){o->more.carries[k], o->id};
    }
    qsort(links, n, sizeof *links, by_object);
    links[n] = (struct link){UINT32_MAX, 0};
    return links;
}

/* The messages that hold an object; *next: the first link that may be its. */
static shoal_any *build_messages(struct build *b, uint32_t id, const struct link **next)
{
    shoal_any *list = shoal_any_list();
    while ((*next)->object < id)
        ++*next;
    for (; (*next)->object == id; ++*next)
        if ((*next)[1].object != id || (*next)[1].message != (*next)->message)
            build_append(b, list, shoal_any_int((*next)->message));
    return list;
}

static shoal_any *build_object(struct build *b, const struct seen_object *o, shoal_any *waiters,
                               const struct link **links)
{
    shoal_any *dict = shoal_any_dict(), *holders = shoal_any_list();
    for (size_t i = 0; i < o->holders_count; i++)
        build_append(b, holders, shoal_any_int(atomic_load(&b->s->slots[o->holders[i]].pid)));
    build_put(b, dict, "id", shoal_any_int(o->id));
    build_put(b, dict, "generation",
              shoal_any_int(state_generation(atomic_load(&o->header.state))));
    build_put(b, dict, "type", shoal_any_str(object_type_name(o->header.type)));
    build_put(b, dict, "name", build_name(o->name, NAME));
    build_put(b, dict, "bytes", shoal_any_uint(o->header.size));
    build_put(b, dict, "holders", holders);
    build_put(b, dict, "owners", build_owners(b, &o->more));
    build_put(b, dict, "waiters", waiters);
    build_put(b, dict, "messages", build_messages(b, o->id, links));
    build_facts(b, dict, &o->more);
    return dict;
}

/* Threads that wait, by what they wait for: so that all objects' waiters are found in one go. */
static int by_frame(const void *a, const void *b)
{
    const struct seen_thread *x = *(const struct seen_thread *const *)a;
    const struct seen_thread *y = *(const struct seen_thread *const *)b;
    if (x->frame != y->frame)
        return x->frame < y->frame ? -1 : 1;
    return x->record < y->record ? -1 : x->record > y->record;
}

shoal_any *build_objects(struct build *b)
{
    const struct snapshot *s = b->s;
    shoal_any *list = shoal_any_list();
    size_t n = 0, next = 0;
    const struct seen_thread **waiting = malloc((s->threads_count + 1) * sizeof(void *));
    struct link *links = find_links(s);
    const struct link *link = links;
    if (!waiting || !links) {
        free(waiting);
        free(links);
        b->rc = -ENOMEM;
        return list;
    }
    for (size_t i = 0; i < s->threads_count; i++)
        if (s->threads[i].frame)
            waiting[n++] = &s->threads[i];
    qsort(waiting, n, sizeof *waiting, by_frame);
    for (size_t i = 0; i < s->objects_count && !b->rc; i++) {
        uint64_t frame = (uint64_t)s->objects[i].id + 1;
        shoal_any *waiters = shoal_any_list();
        while (next < n && waiting[next]->frame < frame)
            next++;
        for (; next < n && waiting[next]->frame == frame; next++)
            build_append(b, waiters, build_thread(b, waiting[next]));
        build_append(b, list, build_object(b, &s->objects[i], waiters, &link));
    }
    free(links);
    free(waiting);
    return list;
}
