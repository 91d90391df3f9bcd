/* Messages that are objects of their own (docs/design.md 9).
 *
 * Its body says in which lane of which queue it was put, and at which position, before the put's
 * commit. While that position is between the lane's head and its end the queue holds it; so the
 * commit of the put, and that of the take, hand it over in the one step that they are. Whoever puts
 * holds it until after the first, whoever takes holds it before the second: there is no moment at
 * which nobody does. A heap hands over in the same way, but for what says that it holds the message:
 * its body alone.
 */
#include "message/message.h"
#include "message/heap.h"
#include "message/lanes_inner.h"
#include "message/pickle.h"
#include "region/life.h"
#include <stdlib.h>
#include <string.h>

/* Behind the bytes, and the key: what the message holds. Only if it is flagged OBJECT_CARRIES. */
struct cargo {
    _Atomic uint64_t count;
    struct carried at[];
};

static size_t padded(uint64_t size)
{
    return (size + 7) & ~(size_t)7;
}

static struct cargo *cargo_of(const struct header *h)
{
    unsigned char *bytes = header_payload(h);
    return (struct cargo *)(void *)(bytes + padded(h->size + message_body(h)->key));
}

/* What is to be made. */
struct wish {
    size_t whole;
    const struct shortage *shortage;
    struct header *header;
};

static int try_create(struct lanes *none, const struct place *p, void *argument)
{
    struct wish *w = argument;
    (void)none;
    if (atomic_load(w->shortage->closed) & LANES_SHUT)
        return fail(-EPIPE, "%s: nothing is put any more: it was shut down", p->call);
    int rc = object_try_create(&w->header, TYPE_MESSAGE, w->whole, NULL, OBJECT_RAW);
    return rc == -ENOSPC ? -EAGAIN : rc;
}

/* With room for a key and for objects. */
static int create(void **ret, size_t size, size_t key, size_t objects,
                  const struct shortage *shortage, unsigned char **bytes)
{
    size_t whole = size + key;
    if (objects)
        whole = padded(whole) + sizeof(struct cargo) + objects * sizeof(struct carried);
    if (size > view.at.size || whole > view.at.size)
        return fail(-EMSGSIZE, "%s: a message of %zu bytes is longer than the region (%llu)",
                    shortage->place->call, size, (unsigned long long)view.at.size);
    struct wish w = {whole ? whole : 1, shortage, NULL};
    int rc = object_try_create(&w.header, TYPE_MESSAGE, w.whole, NULL, OBJECT_RAW);
    if (unlikely(rc == -ENOSPC)) {
        if (!object_may_fit(whole))
            return fail(-EMSGSIZE,
                        "%s: a message of %zu bytes is more than there will ever be room for",
                        shortage->place->call, size);
        rc = lanes_await(NULL, shortage->place, shortage->event, shortage->deadline, SHORTAGE_SLICE,
                         try_create, &w);
    }
    if (rc)
        return rc;
    struct header *h = w.header;
    h->size = size;
    message_body(h)->key = (uint32_t)key;
    if (objects) {
        h->flags = OBJECT_LOOKED_AT | OBJECT_CARRIES;
        atomic_store(&cargo_of(h)->count, 0);
    }
    *bytes = header_payload(h);
    *ret = object_publish(h);
    return 0;
}

int message_create(void **ret, size_t size, size_t key, const struct shortage *shortage,
                   unsigned char **bytes)
{
    return create(ret, size, key, 0, shortage, bytes);
}

int message_open(void **ret, uint32_t id, uint32_t generation)
{
    shoal_reference reference = {view.region->family, id, generation};
    return object_open(ret, TYPE_MESSAGE, "a message", &reference);
}

unsigned char *message_bytes(const void *message)
{
    return header_payload(handle_of(message)->header);
}

size_t message_size(const void *message)
{
    return handle_of(message)->header->size;
}

int message_put(void *message, struct lanes *q, const struct place *p, int64_t deadline)
{
    struct room r;
    struct handle *handle = handle_of(message);
    struct header *h = handle->header;
    struct named named = {header_id(h), handle->generation, h->size};
    int rc = lanes_begin(q, p, &r, sizeof named, &named, deadline);
    if (rc)
        return rc;
    memcpy(r.bytes, &named, sizeof named);
    struct message *m = message_body(h);
    m->position = r.record;
    m->lane = (uint16_t)r.index;
    m->which = (uint16_t)p->which;
    atomic_store(&m->generation, p->generation);
    atomic_store(&m->queue, p->id + 1);
    /* others may hold it as soon as it can be seen */
    atomic_store_explicit(&handle->shared, 1, memory_order_relaxed);
    rc = lanes_commit(q, p, &r, deadline, NULL);
    if (!rc)
        object_close(message, TYPE_MESSAGE);
    return rc;
}

static int end_long(void *message, struct lanes *q, const struct place *p, int64_t deadline)
{
    int rc = message_put(message, q, p, deadline);
    if (rc)
        object_close(message, TYPE_MESSAGE);
    return rc;
}

int message_put_long(struct lanes *q, const struct place *p, const void *bytes, size_t size,
                     int64_t deadline)
{
    void *message;
    unsigned char *at;
    struct shortage shortage = shortage_of(q, p, deadline);
    int rc = message_create(&message, size, 0, &shortage, &at);
    if (rc)
        return rc;
    memcpy(at, bytes, size);
    return end_long(message, q, p, deadline);
}

void message_unpack(void *message, void *buffer)
{
    if (buffer) /* none for a message of 0 bytes, perhaps */
        memcpy(buffer, message_bytes(message), message_size(message));
    object_close(message, TYPE_MESSAGE);
}

/* ---- anys ---- */

/* Adds what belongs to the objects of the table, which the any holds too. */
static int add_parts(struct pickle_objects *objects, const struct place *p)
{
    size_t n = objects->count;
    for (size_t i = 0; i < n; i++) {
        const struct any_object *object = &objects->at[i];
        struct any_object part = {.type = TYPE_NONE};
        enum type type;
        if (!object->held || object->reference.family != view.region->family)
            return fail(-EINVAL, "%s: an object of another family", p->call);
        if (!object_part(header_at(object->reference.id), &part.reference, &type))
            continue;
        part.type = type;
        int rc = pickle_objects_add(objects, &part);
        if (rc)
            return rc;
    }
    return 0;
}

/* Names them behind the message's bytes. */
static void carry(void *message, const struct pickle_objects *objects)
{
    struct cargo *cargo = cargo_of(handle_of(message)->header);
    for (size_t i = 0; i < objects->count; i++) {
        const struct any_object *object = &objects->at[i];
        object_sent(object->reference.id);
        cargo->at[i] =
            (struct carried){object->reference.id, object->reference.generation, object->type};
    }
    atomic_store(&cargo->count, objects->count);
}

int message_create_carrying(void **ret, size_t size, size_t key, struct pickle_objects *objects,
                            const struct shortage *shortage, unsigned char **bytes)
{
    size_t count = objects->count;
    int rc = add_parts(objects, shortage->place);
    if (!rc)
        rc = create(ret, size, key, objects->count, shortage, bytes);
    if (!rc)
        carry(*ret, objects);
    objects->count = count;
    return rc;
}

void message_close(void *message)
{
    object_close(message, TYPE_MESSAGE);
}

/* The message of an any of `size` bytes that has these objects. */
static int encode(void **ret, const shoal_any *any, size_t size, size_t key,
                  struct pickle_objects *objects, const struct shortage *shortage,
                  unsigned char **behind)
{
    unsigned char *at;
    int rc = add_parts(objects, shortage->place);
    if (!rc)
        rc = create(ret, size, key, objects->count, shortage, &at);
    if (rc)
        return rc;
    pickle_write(any, at);
    *behind = at + size;
    if (objects->count)
        carry(*ret, objects);
    return 0;
}

int message_encode(void **ret, const shoal_any *any, size_t key, const struct shortage *shortage,
                   unsigned char **behind)
{
    size_t size;
    struct pickle_objects objects = {0};
    owner_t me;
    int rc = self(&me);
    if (!rc)
        rc = pickle_measure(any, &size, &objects);
    if (!rc)
        rc = encode(ret, any, size, key, &objects, shortage, behind);
    pickle_objects_free(&objects);
    return rc;
}

int message_put_any(struct lanes *q, const struct place *p, const shoal_any *any, int64_t deadline)
{
    size_t size = 0;
    struct pickle_objects objects = {0};
    owner_t me;
    int rc = self(&me);
    if (!rc)
        rc = pickle_measure(any, &size, &objects);
    if (rc || objects.count || size > INLINE_MOST) {
        void *message;
        unsigned char *behind;
        struct shortage shortage = shortage_of(q, p, deadline);
        if (!rc)
            rc = encode(&message, any, size, 0, &objects, &shortage, &behind);
        pickle_objects_free(&objects);
        return rc ? rc : end_long(message, q, p, deadline);
    }
    struct room r;
    rc = lanes_begin(q, p, &r, size, NULL, deadline);
    if (rc)
        return rc;
    pickle_write(any, r.bytes);
    return lanes_commit(q, p, &r, deadline, NULL);
}

bool message_carried(const void *message, size_t i, struct carried *ret)
{
    const struct header *h = handle_of(message)->header;
    const struct cargo *cargo = h->flags & OBJECT_CARRIES ? cargo_of(h) : NULL;
    bool there = cargo && i < atomic_load(&cargo->count);
    if (there)
        *ret = cargo->at[i];
    return there;
}

int message_read_any(const void *message, shoal_any **ret)
{
    const struct header *h = handle_of(message)->header;
    const struct cargo *cargo = h->flags & OBJECT_CARRIES ? cargo_of(h) : NULL;
    size_t n = cargo ? atomic_load(&cargo->count) : 0;
    struct any_object *objects = NULL;
    if (n && !(objects = malloc(n * sizeof *objects)))
        return fail(-ENOMEM, "no memory for a message of %zu objects", n);
    for (size_t i = 0; i < n; i++)
        objects[i] = (struct any_object){.reference = {view.region->family, cargo->at[i].id,
                                                       cargo->at[i].generation},
                                         .type = cargo->at[i].type,
                                         .held = true};
    int rc = pickle_read(ret, header_payload(h), h->size, NULL, objects, n);
    free(objects);
    return rc;
}

int message_unpack_any(void *message, shoal_any **ret)
{
    int rc = message_read_any(message, ret);
    object_close(message, TYPE_MESSAGE);
    return rc;
}

int message_take_any(struct lanes *q, const struct place *p, shoal_any **ret, size_t most,
                     size_t *size, int64_t deadline)
{
    struct taken t;
    unsigned char buffer[INLINE_MOST];
    int rc =
        lanes_take(q, p, buffer, most < sizeof buffer ? most : sizeof buffer, most, &t, deadline);
    if (rc == -EMSGSIZE)
        *size = t.size;
    if (rc)
        return rc;
    rc = t.object ? message_unpack_any(t.object, ret)
                  : pickle_read(ret, buffer, t.size, NULL, NULL, 0);
    return rc ? fail_in(rc, p->call) : 0;
}

/* ---- lifetime ---- */

static struct header *lies_in(struct header *h, uint32_t *generation)
{
    struct message *m = message_body(h);
    uint32_t id = atomic_load(&m->queue) - 1;
    *generation = atomic_load(&m->generation);
    if (id >= atomic_load(&view.region->groups_high) * GROUP)
        return NULL;
    struct header *queue = header_at(id);
    uint64_t s = atomic_load(&queue->state);
    if (state_status(s) != OBJECT_LIVE || state_generation(s) != *generation)
        return NULL;
    if ((queue->type == TYPE_QUEUE && heap_kind(queue)) ||
        (queue->type >= TYPE_LIST && queue->type <= TYPE_NAMESPACE)) /* manager/store.c */
        return queue;
    if ((queue->type != TYPE_QUEUE && queue->type != TYPE_PIPE && queue->type != TYPE_CHANNEL) ||
        queue->size / sizeof(struct lanes) <= m->which)
        return NULL;
    struct lanes *q = (struct lanes *)header_payload(queue) + m->which;
    if (!lanes_holds(q, id, m->lane, m->position, header_id(h),
                     state_generation(atomic_load(&h->state))))
        return NULL;
    /* What nobody will receive any more is nobody's: of a pipe's message it is the end that counts. */
    if (queue->type == TYPE_CHANNEL && atomic_load(&q->closed) & LANES_DROPPED && !MUTANT(413))
        return NULL;
    return queue->type == TYPE_PIPE ? pipe_reader(queue, m->which, generation) : queue;
}

static bool held(struct header *h)
{
    uint32_t generation;
    return lies_in(h, &generation);
}

/* May be asked of any content. */
static bool names(struct header *h, unsigned i, uint32_t *id, uint32_t *generation)
{
    uint64_t room = object_room(h), from = padded(h->size + message_body(h)->key);
    uint64_t at = atomic_load(&h->payload),
             end = from + sizeof(struct cargo) + (i + 1ull) * sizeof(struct carried);
    if (!(h->flags & OBJECT_CARRIES) || !at || from > room || end > room ||
        (at - 1) * 64 + end > view.at.size)
        return false;
    const volatile struct cargo *cargo =
        (const volatile struct cargo *)(const volatile void *)(view.heap + (at - 1) * 64 + from);
    if (i >= atomic_load(&cargo->count))
        return false;
    *id = cargo->at[i].id;
    *generation = cargo->at[i].generation;
    return true;
}

static void destroy(struct header *h, uint32_t slot)
{
    uint32_t id, generation;
    for (unsigned i = 0; !MUTANT(161) && names(h, i, &id, &generation); i++)
        object_drop(id, generation, slot);
}

const struct type_repair message_repair = {.held = held,
                                           .names = names,
                                           .lies_in = lies_in,
                                           .destroy = destroy};

void message_describe(struct description *d, const struct header *h)
{
    const struct message *m = (const void *)h->body;
    uint32_t queue = atomic_load(&m->queue);
    uint64_t from = padded(h->size + m->key), count = 0;
    if (queue)
        describe_number(d, "in", queue - 1);
    if (!(h->flags & OBJECT_CARRIES) || !look_payload(d->look, h, from, &count, sizeof count))
        return;
    from += sizeof(struct cargo);
    for (uint64_t i = 0; i < count && i < MOST_CARRIED; i++) {
        struct carried one;
        if (!look_payload(d->look, h, from + i * sizeof one, &one, sizeof one))
            break;
        describe_carried(d, one.id);
    }
}
