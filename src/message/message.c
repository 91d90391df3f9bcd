/* Messages that are objects of their own (docs/design.md 8).
 *
 * Its body says in which lane of which queue it was put, and at which position, before the put's
 * commit. While that position is between the lane's head and its end the queue holds it; so the
 * commit of the put, and that of the take, hand it over in the one step that they are. Whoever puts
 * holds it until after the first, whoever takes holds it before the second: there is no moment at
 * which nobody does.
 */
#include "message/message.h"
#include "message/pickle.h"
#include "region/life.h"
#include <string.h>

static struct message *body_of(const struct header *h)
{
    return (struct message *)(uintptr_t)h->body;
}

int message_create(void **ret, size_t size, unsigned char **bytes)
{
    struct header *h;
    int rc = object_create(&h, TYPE_MESSAGE, size ? size : 1, NULL, OBJECT_RAW);
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
    struct message *m = body_of(h);
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

/* One of `size` bytes to be filled in, whose put is the caller's to do. */
static int begin_long(void **ret, size_t size, unsigned char **bytes)
{
    if (size > view.at.size)
        return fail(-EMSGSIZE, "a message of %zu bytes is longer than the region (%llu)", size,
                    (unsigned long long)view.at.size);
    return message_create(ret, size, bytes);
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
    int rc = begin_long(&message, size, &at);
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

int message_put_any(struct lanes *q, const struct place *p, const shoal_any *any, int64_t deadline)
{
    size_t size;
    if (pickle_measure(any, &size, NULL))
        return fail(-EINVAL,
                    "%s: an object in an any does not travel; a reference to it, as bytes, does",
                    p->call);
    if (size > INLINE_MOST) {
        void *message;
        unsigned char *at;
        int rc = begin_long(&message, size, &at);
        if (rc)
            return rc;
        pickle_write(any, at);
        return end_long(message, q, p, deadline);
    }
    struct room r;
    int rc = lanes_begin(q, p, &r, size, false, deadline);
    if (rc)
        return rc;
    pickle_write(any, r.bytes);
    return lanes_commit(q, p, &r, deadline, NULL);
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
    rc = pickle_read(ret, t.object ? message_bytes(t.object) : buffer, t.size, NULL, NULL, 0);
    if (t.object)
        object_close(t.object, TYPE_MESSAGE);
    return rc ? fail_in(rc, p->call) : 0;
}

/* ---- lifetime ---- */

static bool held(struct header *h)
{
    struct message *m = body_of(h);
    uint32_t id = atomic_load(&m->queue) - 1, generation = atomic_load(&m->generation);
    if (id >= atomic_load(&view.region->groups_high) * GROUP)
        return false;
    struct header *queue = header_at(id);
    uint64_t s = atomic_load(&queue->state);
    if (state_status(s) != OBJECT_LIVE || state_generation(s) != generation ||
        (queue->type != TYPE_QUEUE && queue->type != TYPE_PIPE) ||
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
