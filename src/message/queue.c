/* queue: lanes (message/lanes.c) or a heap (message/heap.c), and what is counted around them. */
#include "message/queue.h"
#include "message/any.h"
#include "message/heap.h"
#include "message/lanes.h"
#include "message/message.h"
#include "message/poll.h"
#include "region/life.h"
#include "region/poll.h"
#include <limits.h>
#include <shoal/queue.h>
#include <stdlib.h>
#include <string.h>

int shoal_queue_create(shoal_queue **ret, const shoal_queue_options *options)
{
    struct header *h;
    if (!ret)
        return fail(-EINVAL, "shoal_queue_create: nowhere to write the handle (NULL)");
    if (options && options->flags)
        return fail(-EINVAL, "shoal_queue_create: unknown flags %#x", options->flags);
    unsigned kind = options ? options->kind : SHOAL_FIFO;
    if (kind > SHOAL_PRIORITY)
        return fail(-EINVAL, "shoal_queue_create: there is no kind %u of queues", kind);
    int rc = object_create(&h, TYPE_QUEUE, kind ? sizeof(struct heap) : sizeof(struct lanes),
                           options ? options->name : NULL, OBJECT_ZERO);
    if (rc)
        return rc;
    h->flags = OBJECT_LOOKED_AT;
    *heap_kind_of(h) = kind;
    *(kind ? &((struct heap *)header_payload(h))->maxsize : &lanes_of(h)->maxsize) =
        options ? options->maxsize : 0;
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
    struct heap *heap = heap_of(&p);
    if (unlikely(heap))
        return heap_put_bytes(heap, &p, bytes, size, deadline);
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
    int rc = any_may_travel(any, "shoal_queue_put");
    if (unlikely(rc))
        return rc;
    struct heap *heap = heap_of(&p);
    return heap ? heap_put_any(heap, &p, any, deadline) : message_put_any(q, &p, any, deadline);
}

/* Puts the first of n, which is short, and those behind it that go with it in one step: *put is how
 * many. */
static int put_run(struct lanes *q, const struct place *p, const shoal_bytes *m, size_t n,
                   int64_t deadline, unsigned *put)
{
    struct room r;
    int rc = lanes_begin(q, p, &r, m->size, NULL, deadline);
    if (rc)
        return rc;
    if (m->size)
        memcpy(r.bytes, m->bytes, m->size);
    for (size_t i = 1; i < n; i++) {
        if ((!m[i].bytes && m[i].size) || m[i].size > INLINE_MOST || !lanes_more(q, &r, m[i].size))
            break;
        if (m[i].size)
            memcpy(r.bytes, m[i].bytes, m[i].size);
    }
    return lanes_commit(q, p, &r, deadline, put);
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
        const shoal_bytes *m = &messages[done];
        struct heap *heap = heap_of(&p);
        unsigned put = 1;
        int rc;
        if (!m->bytes && m->size)
            rc = fail(-EINVAL, "shoal_queue_put_many: message %zu has %zu bytes at NULL", done,
                      m->size);
        else if (heap)
            rc = heap_put_bytes(heap, &p, m->bytes, m->size, deadline);
        else if (m->size > INLINE_MOST)
            rc = message_put_long(q, &p, m->bytes, m->size, deadline);
        else
            rc = put_run(q, &p, m, n - done, deadline, &put);
        if (rc)
            return done ? (int)done : rc;
        done += put;
    }
    return (int)done;
}

/* ---- get ---- */

static _Atomic uint32_t *items_of(const struct place *p)
{
    struct heap *heap = heap_of(p);
    return heap ? &heap->items : &lanes_of(p->header)->items;
}

static bool may_take(void *argument)
{
    const struct place *p = argument;
    struct heap *heap = heap_of(p);
    return heap ? heap_ready(heap) : lanes_ready(lanes_of(p->header), p);
}

int queue_in_vain(int rc, struct place *p)
{
    pollable_in_vain(&handles[p->id], rc, items_of(p), may_take, p);
    return rc;
}

static inline int take(struct lanes *q, struct place *p, void *buffer, size_t capacity, size_t most,
                       struct taken *ret, int64_t deadline)
{
    struct heap *heap = heap_of(p);
    int rc = unlikely(heap) ? heap_take(heap, p, most, ret, deadline)
                            : lanes_take(q, p, buffer, capacity, most, ret, deadline);
    return taken(rc, p);
}

/* Memory first, as what was taken cannot be put back to where it was. */
int shoal_queue_get_bytes(shoal_queue *queue, void **ret, size_t *size, int64_t deadline)
{
    struct place p;
    struct taken t;
    struct lanes *q = queue_of(queue, "shoal_queue_get_bytes", &p);
    if (unlikely(!q))
        return bad_handle(queue, "shoal_queue_get_bytes");
    if (unlikely(!ret || !size))
        return fail(-EINVAL,
                    "shoal_queue_get_bytes: nowhere to write the message or its size (NULL)");
    unsigned char *copy = NULL;
    int rc = -EMSGSIZE;
    for (size_t room = INLINE_MOST; rc == -EMSGSIZE; room = t.size) {
        free(copy);
        copy = malloc(room);
        if (!copy)
            return fail(-ENOMEM, "%s: no memory for a message of %zu bytes; it is still there",
                        p.call, room);
        rc = take(q, &p, copy, room, room, &t, deadline);
    }
    if (rc) {
        free(copy);
        return rc;
    }
    if (t.object)
        message_unpack(t.object, copy);
    void *smaller = realloc(copy, t.size ? t.size : 1);
    *ret = smaller ? smaller : copy;
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
    int rc = take(q, &p, buffer, capacity, capacity, &t, deadline);
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
    struct taken t;
    size_t size;
    struct lanes *q = queue_of(queue, "shoal_queue_get", &p);
    if (unlikely(!q))
        return bad_handle(queue, "shoal_queue_get");
    if (unlikely(!ret))
        return fail(-EINVAL, "shoal_queue_get: nowhere to write the any (NULL)");
    struct heap *heap = heap_of(&p);
    if (!heap)
        return taken(message_take_any(q, &p, ret, SIZE_MAX, &size, deadline), &p);
    int rc = taken(heap_take(heap, &p, SIZE_MAX, &t, deadline), &p);
    if (rc)
        return rc;
    rc = message_unpack_any(t.object, ret);
    return rc ? fail_in(rc, p.call) : 0;
}

/* As lanes_take_many. */
static int take_many(struct heap *q, const struct place *p, size_t capacity, struct taken ret[],
                     unsigned n, int64_t deadline)
{
    unsigned got = 0;
    int rc = 0;
    while (got < n) {
        rc = heap_take(q, p, capacity, &ret[got], got ? SHOAL_NOW : deadline);
        if (rc)
            break;
        capacity -= ret[got++].size;
    }
    return got ? (int)got : rc;
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
    struct heap *heap = heap_of(&p);
    unsigned most = n < STEP ? (unsigned)n : STEP;
    int rc = heap ? take_many(heap, &p, capacity, t, most, deadline)
                  : lanes_take_many(q, &p, buffer, capacity, t, most, deadline);
    taken(rc, &p);
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

/* ---- polling ---- */

int shoal_queue_fileno(shoal_queue *queue)
{
    struct place p;
    if (!queue_of(queue, "shoal_queue_fileno", &p))
        return bad_handle(queue, "shoal_queue_fileno");
    return pollable_open(&handles[p.id], items_of(&p), may_take, &p, p.call);
}

int queue_poll(shoal_queue *queue, const char *call)
{
    struct place p;
    owner_t me;
    if (!queue_of(queue, call, &p))
        return bad_handle(queue, call);
    int rc = self(&me);
    return rc ? rc : taken(may_take(&p) ? 0 : -EAGAIN, &p);
}

/* ---- counting ---- */

static uint64_t maxsize_of(const struct place *p)
{
    struct heap *heap = heap_of(p);
    return heap ? heap->maxsize : lanes_of(p->header)->maxsize;
}

static uint64_t puts_of(const struct place *p)
{
    struct heap *heap = heap_of(p);
    return heap ? atomic_load(&heap->puts) : lanes_puts(lanes_of(p->header));
}

static _Atomic uint64_t *done_of(const struct place *p)
{
    struct heap *heap = heap_of(p);
    return heap ? &heap->done : &lanes_of(p->header)->done;
}

static _Atomic uint32_t *finished_of(const struct place *p)
{
    struct heap *heap = heap_of(p);
    return heap ? &heap->finished : &lanes_of(p->header)->finished;
}

/* Also if what was left has been dropped. */
static bool all_finished(const struct place *p)
{
    struct heap *heap = heap_of(p);
    uint32_t closed = atomic_load(heap ? &heap->closed : &lanes_of(p->header)->closed);
    return closed & LANES_DROPPED || atomic_load(done_of(p)) >= puts_of(p);
}

static int64_t count(const shoal_queue *queue, const char *call)
{
    struct place p;
    owner_t me;
    struct lanes *q = queue_of(queue, call, &p);
    if (!q)
        return bad_handle(queue, call);
    int rc = self(&me);
    struct heap *heap = heap_of(&p);
    return rc ? rc : heap ? (int64_t)atomic_load(&heap->count) : (int64_t)lanes_size(q, &p);
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
    if (n < 0 || !queue_of(queue, "shoal_queue_full", &p))
        return n < 0 ? (int)n : 0;
    return maxsize_of(&p) && (uint64_t)n >= maxsize_of(&p);
}

int shoal_queue_task_done(shoal_queue *queue)
{
    struct place p;
    if (!queue_of(queue, "shoal_queue_task_done", &p))
        return bad_handle(queue, "shoal_queue_task_done");
    uint64_t done = atomic_load(done_of(&p));
    do {
        if (done >= puts_of(&p))
            return fail(-EINVAL, "shoal_queue_task_done: all %llu messages are finished already",
                        (unsigned long long)done);
    } while (!atomic_compare_exchange_weak(done_of(&p), &done, done + 1));
    if (done + 1 >= puts_of(&p) && !MUTANT(194))
        wait_wake(finished_of(&p), INT_MAX);
    return 0;
}

static int wait_finished(const struct place *p, int64_t deadline)
{
    struct waiter w;
    if (deadline <= SHOAL_NOW)
        return not_now(deadline);
    int rc = wait_begin(&w, p->id);
    if (rc)
        return rc;
    for (;;) {
        uint32_t seen = wait_announce(&w, finished_of(p));
        if (all_finished(p))
            break;
        rc = wait_park(&w, finished_of(p), seen, deadline);
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
    if (!queue_of(queue, "shoal_queue_join", &p))
        return bad_handle(queue, "shoal_queue_join");
    int rc = self(&me);
    if (rc || all_finished(&p))
        return rc;
    return waited(wait_finished(&p, deadline), p.call, queue, TYPE_QUEUE, deadline);
}

int shoal_queue_shutdown(shoal_queue *queue, int at_once)
{
    struct place p;
    struct lanes *q = queue_of(queue, "shoal_queue_shutdown", &p);
    unsigned char buffer[INLINE_MOST];
    struct taken t;
    if (!q)
        return bad_handle(queue, "shoal_queue_shutdown");
    uint32_t how = LANES_SHUT | (at_once ? LANES_DROPPED : 0);
    if (heap_of(&p))
        heap_shut(heap_of(&p), how);
    else
        lanes_shut(q, how);
    while (at_once) {
        int rc = take(q, &p, buffer, sizeof buffer, SIZE_MAX, &t, SHOAL_NOW);
        if (rc == -EPIPE || (rc == -EAGAIN && !heap_of(&p)))
            break;
        if (rc)
            return rc;
        if (t.object)
            object_close(t.object, TYPE_MESSAGE);
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
    if (heap_of(&p))
        heap_repair(heap_of(&p), &p);
    else
        lanes_repair(lanes_of(h), &p);
}

static void destroy(struct header *h, uint32_t slot)
{
    struct place p = place_of(h);
    p.generation--; /* what it was when it lived */
    if (heap_of(&p))
        heap_destroy(heap_of(&p), &p, slot);
    else
        lanes_destroy(lanes_of(h), slot);
}

static void runs(struct header *h, void (*visit)(uint32_t payload, uint32_t units, void *argument),
                 void *argument)
{
    struct place p = place_of(h);
    if (heap_of(&p))
        heap_runs(heap_of(&p), visit, argument);
    else
        lanes_runs(lanes_of(h), visit, argument);
}

static uint64_t charged(struct header *h, uint32_t slot)
{
    return heap_kind(h) ? 0 : lanes_charged(lanes_of(h), slot);
}

static _Atomic uint32_t *event_of(struct header *h)
{
    struct place p = place_of(h);
    return heap_of(&p) ? &heap_of(&p)->items : &lanes_of(h)->items;
}

static bool ready(struct header *h)
{
    struct place p = place_of(h);
    return heap_of(&p) ? heap_ready(heap_of(&p)) : lanes_ready(lanes_of(h), &p);
}

static _Atomic uint32_t *further(struct header *h, unsigned i)
{
    struct place p = place_of(h);
    return heap_of(&p) ? heap_event(heap_of(&p), i) : lanes_event(lanes_of(h), i);
}

const struct type_repair queue_repair = {.repair = repair,
                                         .event = event_of,
                                         .ready = ready,
                                         .further = further,
                                         .destroy = destroy,
                                         .runs = runs,
                                         .charged = charged};

/* ---- inspection ---- */

void queue_describe(struct description *d, const struct header *h)
{
    if (heap_kind(h))
        heap_describe(d, h);
    else
        lanes_describe(d, h, 0, "size");
}
