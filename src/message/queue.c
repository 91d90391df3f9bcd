/* queue: lanes (message/lanes.c), and what is counted around them. */
#include "message/any.h"
#include "message/lanes.h"
#include "message/message.h"
#include "region/life.h"
#include <limits.h>
#include <shoal/queue.h>
#include <stdlib.h>
#include <string.h>

static struct lanes *lanes_of(const struct header *h)
{
    return header_payload(h);
}

/* The lanes of an open queue, and their place. */
static inline struct lanes *queue_of(const shoal_queue *queue, const char *call, struct place *p)
{
    struct header *h = header_of(queue, TYPE_QUEUE);
    if (unlikely(!h))
        return NULL;
    p->header = h;
    p->id = (uint32_t)(handle_of(queue) - handles);
    p->generation = handle_of(queue)->generation;
    p->which = 0;
    p->call = call;
    return lanes_of(h);
}

int shoal_queue_create(shoal_queue **ret, const shoal_queue_options *options)
{
    struct header *h;
    if (!ret)
        return fail(-EINVAL, "shoal_queue_create: nowhere to write the handle (NULL)");
    if (options && options->flags)
        return fail(-EINVAL, "shoal_queue_create: unknown flags %#x", options->flags);
    int rc = object_create(&h, TYPE_QUEUE, sizeof(struct lanes), options ? options->name : NULL,
                           OBJECT_ZERO);
    if (rc)
        return rc;
    h->flags = OBJECT_LOOKED_AT;
    lanes_of(h)->maxsize = options ? options->maxsize : 0;
    *ret = object_publish(h);
    return 0;
}

/* ---- put ---- */

int shoal_queue_put_bytes(shoal_queue *queue, const void *bytes, size_t size, int64_t deadline)
{
    struct place p;
    struct lanes *q = queue_of(queue, "shoal_queue_put_bytes", &p);
    if (unlikely(!q))
        return bad_handle(queue, "shoal_queue_put_bytes");
    if (unlikely(!bytes && size))
        return fail(-EINVAL, "shoal_queue_put_bytes: %zu bytes at NULL", size);
    if (unlikely(size > INLINE_MOST))
        return message_put_long(q, &p, bytes, size, deadline);
    return lanes_put(q, &p, bytes, size, deadline);
}

int shoal_queue_put(shoal_queue *queue, const shoal_any *any, int64_t deadline)
{
    struct place p;
    struct lanes *q = queue_of(queue, "shoal_queue_put", &p);
    if (unlikely(!q))
        return bad_handle(queue, "shoal_queue_put");
    if (unlikely(!any))
        return any_is_null("shoal_queue_put");
    return message_put_any(q, &p, any, deadline);
}

int shoal_queue_put_many(shoal_queue *queue, const shoal_bytes messages[], size_t n,
                         int64_t deadline)
{
    struct place p;
    struct lanes *q = queue_of(queue, "shoal_queue_put_many", &p);
    if (!q)
        return bad_handle(queue, "shoal_queue_put_many");
    if (n > INT_MAX || (!messages && n))
        return fail(-EINVAL, "shoal_queue_put_many: %zu messages at %p", n, (const void *)messages);
    size_t done = 0;
    while (done < n) {
        struct room r;
        const shoal_bytes *m = &messages[done];
        unsigned put = 1;
        int rc;
        if (!m->bytes && m->size)
            rc = fail(-EINVAL, "shoal_queue_put_many: message %zu has %zu bytes at NULL", done,
                      m->size);
        else if (m->size > INLINE_MOST)
            rc = message_put_long(q, &p, m->bytes, m->size, deadline);
        else
            rc = lanes_begin(q, &p, &r, m->size, false, deadline);
        if (!rc && m->size <= INLINE_MOST) {
            if (m->size)
                memcpy(r.bytes, m->bytes, m->size);
            for (size_t i = done + 1; i < n; i++) {
                if ((!messages[i].bytes && messages[i].size) || messages[i].size > INLINE_MOST ||
                    !lanes_more(q, &r, messages[i].size))
                    break;
                if (messages[i].size)
                    memcpy(r.bytes, messages[i].bytes, messages[i].size);
            }
            rc = lanes_commit(q, &p, &r, deadline, &put);
        }
        if (rc)
            return done ? (int)done : rc;
        done += put;
    }
    return (int)done;
}

/* ---- get ---- */

int shoal_queue_get_bytes(shoal_queue *queue, void **ret, size_t *size, int64_t deadline)
{
    struct place p;
    struct taken t;
    unsigned char buffer[INLINE_MOST];
    struct lanes *q = queue_of(queue, "shoal_queue_get_bytes", &p);
    if (unlikely(!q))
        return bad_handle(queue, "shoal_queue_get_bytes");
    if (unlikely(!ret || !size))
        return fail(-EINVAL,
                    "shoal_queue_get_bytes: nowhere to write the message or its size (NULL)");
    int rc = lanes_take(q, &p, buffer, sizeof buffer, SIZE_MAX, &t, deadline);
    if (rc)
        return rc;
    void *copy = malloc(t.size ? t.size : 1);
    if (!copy) { /* it was taken, and cannot be put back to where it was */
        if (t.object)
            object_close(t.object, TYPE_MESSAGE);
        return fail(-ENOMEM, "%s: no memory for a message of %zu bytes, which is lost", p.call,
                    t.size);
    }
    if (t.object)
        message_unpack(t.object, copy);
    else
        memcpy(copy, buffer, t.size);
    *ret = copy;
    *size = t.size;
    return 0;
}

int shoal_queue_get_bytes_into(shoal_queue *queue, void *buffer, size_t capacity, size_t *size,
                               int64_t deadline)
{
    struct place p;
    struct taken t;
    struct lanes *q = queue_of(queue, "shoal_queue_get_bytes_into", &p);
    if (unlikely(!q))
        return bad_handle(queue, "shoal_queue_get_bytes_into");
    if (unlikely(!size || (!buffer && capacity)))
        return fail(-EINVAL, "shoal_queue_get_bytes_into: NULL for the buffer or the size");
    int rc = lanes_take(q, &p, buffer, capacity, capacity, &t, deadline);
    if (likely(!rc)) {
        if (unlikely(t.object))
            message_unpack(t.object, buffer);
        *size = t.size;
    } else if (rc == -EMSGSIZE) {
        *size = t.size;
        return fail(rc, "%s: the message has %zu bytes, the buffer %zu", p.call, t.size, capacity);
    }
    return rc;
}

int shoal_queue_get(shoal_queue *queue, shoal_any **ret, int64_t deadline)
{
    struct place p;
    size_t size;
    struct lanes *q = queue_of(queue, "shoal_queue_get", &p);
    if (unlikely(!q))
        return bad_handle(queue, "shoal_queue_get");
    if (unlikely(!ret))
        return fail(-EINVAL, "shoal_queue_get: nowhere to write the any (NULL)");
    return message_take_any(q, &p, ret, SIZE_MAX, &size, deadline);
}

int shoal_queue_get_many(shoal_queue *queue, shoal_bytes ret[], size_t n, void *buffer,
                         size_t capacity, int64_t deadline)
{
    enum { STEP = 256 };
    struct place p;
    struct taken t[STEP];
    struct lanes *q = queue_of(queue, "shoal_queue_get_many", &p);
    if (!q)
        return bad_handle(queue, "shoal_queue_get_many");
    if (!ret || !n || (!buffer && capacity))
        return fail(-EINVAL, "shoal_queue_get_many: %zu messages at %p, buffer %p", n, (void *)ret,
                    buffer);
    int rc = lanes_take_many(q, &p, buffer, capacity, t, n < STEP ? (unsigned)n : STEP, deadline);
    if (rc == -EMSGSIZE)
        return fail(rc, "%s: the message has %zu bytes, the buffer %zu", p.call, t[0].size,
                    capacity);
    size_t used = 0;
    for (int i = 0; i < rc; i++) {
        if (t[i].object)
            message_unpack(t[i].object, (unsigned char *)buffer + used);
        ret[i] = (shoal_bytes){(unsigned char *)buffer + used, t[i].size};
        used += t[i].size;
    }
    return rc;
}

/* ---- counting ---- */

static int64_t count(const shoal_queue *queue, const char *call)
{
    struct place p;
    owner_t me;
    struct lanes *q = queue_of(queue, call, &p);
    if (!q)
        return bad_handle(queue, call);
    int rc = self(&me);
    return rc ? rc : (int64_t)lanes_size(q, &p);
}

int64_t shoal_queue_qsize(const shoal_queue *queue)
{
    return count(queue, "shoal_queue_qsize");
}

int shoal_queue_empty(const shoal_queue *queue)
{
    int64_t n = count(queue, "shoal_queue_empty");
    return n < 0 ? (int)n : n == 0;
}

int shoal_queue_full(const shoal_queue *queue)
{
    struct place p;
    int64_t n = count(queue, "shoal_queue_full");
    struct lanes *q = queue_of(queue, "shoal_queue_full", &p);
    return n < 0 ? (int)n : q && q->maxsize && (uint64_t)n >= q->maxsize;
}

int shoal_queue_task_done(shoal_queue *queue)
{
    struct place p;
    struct lanes *q = queue_of(queue, "shoal_queue_task_done", &p);
    if (!q)
        return bad_handle(queue, "shoal_queue_task_done");
    uint64_t done = atomic_load(&q->done);
    do {
        if (done >= lanes_puts(q))
            return fail(-EINVAL, "shoal_queue_task_done: all %llu messages are finished already",
                        (unsigned long long)done);
    } while (!atomic_compare_exchange_weak(&q->done, &done, done + 1));
    if (done + 1 >= lanes_puts(q))
        wait_wake(&q->finished, INT_MAX);
    return 0;
}

static int wait_finished(struct lanes *q, const struct place *p, int64_t deadline)
{
    struct waiter w;
    if (deadline <= SHOAL_NOW)
        return not_now(deadline);
    int rc = wait_begin(&w, p->id);
    if (rc)
        return rc;
    for (;;) {
        uint32_t seen = wait_announce(&w, &q->finished);
        if (atomic_load(&q->done) >= lanes_puts(q))
            break;
        rc = wait_park(&w, &q->finished, seen, deadline);
        if (rc)
            break;
    }
    wait_end(&w);
    return rc;
}

int shoal_queue_join(shoal_queue *queue, int64_t deadline)
{
    struct place p;
    owner_t me;
    struct lanes *q = queue_of(queue, "shoal_queue_join", &p);
    if (!q)
        return bad_handle(queue, "shoal_queue_join");
    int rc = self(&me);
    if (rc || atomic_load(&q->done) >= lanes_puts(q))
        return rc;
    return waited(wait_finished(q, &p, deadline), p.call, queue, TYPE_QUEUE, deadline);
}

int shoal_queue_shutdown(shoal_queue *queue, int at_once)
{
    struct place p;
    struct lanes *q = queue_of(queue, "shoal_queue_shutdown", &p);
    unsigned char buffer[INLINE_MOST];
    struct taken t;
    if (!q)
        return bad_handle(queue, "shoal_queue_shutdown");
    lanes_shut(q);
    while (at_once) {
        int rc = lanes_take(q, &p, buffer, sizeof buffer, SIZE_MAX, &t, SHOAL_NOW);
        if (rc == -EPIPE || rc == -EAGAIN)
            break;
        if (rc)
            return rc;
        if (t.object)
            object_close(t.object, TYPE_MESSAGE);
        shoal_queue_task_done(queue);
    }
    return 0;
}

int shoal_queue_reference(const shoal_queue *queue, shoal_reference *ret)
{
    return object_reference(queue, TYPE_QUEUE, "shoal_queue_reference", ret);
}

int shoal_queue_open(shoal_queue **ret, const shoal_reference *reference)
{
    return object_open((void **)ret, TYPE_QUEUE, "shoal_queue_open", reference);
}

shoal_queue *shoal_queue_close(shoal_queue *queue)
{
    object_close(queue, TYPE_QUEUE);
    return NULL;
}

/* ---- repair ---- */

static struct place place_of(struct header *h)
{
    return (struct place){h, header_id(h), state_generation(atomic_load(&h->state)), 0, NULL};
}

static void repair(struct header *h)
{
    struct place p = place_of(h);
    lanes_repair(lanes_of(h), &p);
}

static void destroy(struct header *h, uint32_t slot)
{
    lanes_destroy(lanes_of(h), slot);
}

static void runs(struct header *h, void (*visit)(uint32_t payload, uint32_t units, void *argument),
                 void *argument)
{
    lanes_runs(lanes_of(h), visit, argument);
}

static _Atomic uint32_t *event_of(struct header *h)
{
    return &lanes_of(h)->items;
}

static bool ready(struct header *h)
{
    struct place p = place_of(h);
    return lanes_ready(lanes_of(h), &p);
}

static _Atomic uint32_t *further(struct header *h, unsigned i)
{
    return lanes_event(lanes_of(h), i);
}

const struct type_repair queue_repair = {.repair = repair,
                                         .event = event_of,
                                         .ready = ready,
                                         .further = further,
                                         .destroy = destroy,
                                         .runs = runs};

/* ---- inspection ---- */

void queue_describe(struct description *d, const struct header *h)
{
    lanes_describe(d, h, 0, "size");
}
