/* Messages that are objects of their own (docs/design.md 8).
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
#include "message/pickle.h"
#include "region/life.h"
#include <string.h>

int message_create(void **ret, size_t size, size_t key, unsigned char **bytes)
{
    struct header *h;
    if (size > view.at.size || key > view.at.size - size)
        return fail(-EMSGSIZE, "a message of %zu bytes is longer than the region (%llu)", size,
                    (unsigned long long)view.at.size);
    int rc = object_create(&h, TYPE_MESSAGE, size + key ? size + key : 1, NULL, OBJECT_RAW);
    if (rc)
        return rc;
    h->size = size;
    *bytes = header_payload(h);
    *ret = object_publish(h);
    return 0;
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
    int rc = lanes_begin(q, p, &r, sizeof named, true, deadline);
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
    int rc = message_create(&message, size, 0, &at);
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

int message_measure(const shoal_any *any, size_t *size, const char *call)
{
    if (pickle_measure(any, size, NULL))
        return fail(-EINVAL,
                    "%s: an object in an any does not travel; a reference to it, as bytes, does",
                    call);
    return 0;
}

int message_put_any(struct lanes *q, const struct place *p, const shoal_any *any, int64_t deadline)
{
    size_t size;
    int rc = message_measure(any, &size, p->call);
    if (rc)
        return rc;
    if (size > INLINE_MOST) {
        void *message;
        unsigned char *at;
        rc = message_create(&message, size, 0, &at);
        if (rc)
            return rc;
        pickle_write(any, at);
        return end_long(message, q, p, deadline);
    }
    struct room r;
    rc = lanes_begin(q, p, &r, size, false, deadline);
    if (rc)
        return rc;
    pickle_write(any, r.bytes);
    return lanes_commit(q, p, &r, deadline, NULL);
}

int message_unpack_any(void *message, shoal_any **ret)
{
    int rc = pickle_read(ret, message_bytes(message), message_size(message), NULL, NULL, 0);
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

static bool held(struct header *h)
{
    struct message *m = message_body(h);
    uint32_t id = atomic_load(&m->queue) - 1, generation = atomic_load(&m->generation);
    if (id >= atomic_load(&view.region->groups_high) * GROUP)
        return false;
    struct header *queue = header_at(id);
    uint64_t s = atomic_load(&queue->state);
    if (state_status(s) != OBJECT_LIVE || state_generation(s) != generation)
        return false;
    if (queue->type == TYPE_QUEUE && heap_kind(queue))
        return true;
    if ((queue->type != TYPE_QUEUE && queue->type != TYPE_PIPE) ||
        queue->size / sizeof(struct lanes) <= m->which)
        return false;
    return lanes_holds((struct lanes *)header_payload(queue) + m->which, m->lane, m->position);
}

const struct type_repair message_repair = {.held = held};

void message_describe(struct description *d, const struct header *h)
{
    const struct message *m = (const void *)h->body;
    uint32_t queue = atomic_load(&m->queue);
    if (queue)
        describe_number(d, "in", queue - 1);
}
