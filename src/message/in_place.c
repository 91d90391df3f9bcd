/* Messages that are filled in and read where they lie (queue.h).
 *
 * One that is reserved is an object of its own (message/message.h), whatever its size, held by the process
 * until commit hands it to the queue, as put does with a long one. One that is viewed is what was taken: the
 * object, which the process holds until it releases it, or puts it into a queue again; or a short one's
 * copy, as its place in the queue is given back with the step that takes it.
 *
 * A child that was forked in between has the message too, so both may come to commit it: who gets it is
 * told by one CAS of its body's `queue`, which names none before.
 */
#include "message/message.h"
#include "message/queue.h"
#include <stdlib.h>
#include <string.h>

#define CLAIMED UINT32_MAX /* in a message's `queue`: about to be put; no object has this number */

int shoal_queue_reserve(shoal_queue *queue, shoal_message *ret, size_t size, int64_t deadline)
{
    struct place p;
    unsigned char *bytes;
    void *message;
    owner_t me;
    struct lanes *q = queue_of(queue, "shoal_queue_reserve", &p);
    if (!q)
        return bad_handle(queue, "shoal_queue_reserve");
    if (!ret)
        return fail(-EINVAL, "shoal_queue_reserve: nowhere to write the message (NULL)");
    int rc = self(&me);
    if (rc)
        return rc;
    struct heap *heap = heap_of(&p);
    struct shortage shortage = heap ? (struct shortage){&p, &heap->space, &heap->closed, deadline}
                                    : shortage_of(q, &p, deadline);
    if (atomic_load(shortage.closed) & LANES_SHUT)
        return fail(-EPIPE, "shoal_queue_reserve: nothing is put any more: it was shut down");
    rc = message_create(&message, size, 0, &shortage, &bytes);
    if (rc)
        return rc;
    *ret = (shoal_message){bytes, size, message};
    return 0;
}

/* Whether the message may be put with the size that it says: 0 or -EINVAL. */
static int resize(const shoal_message *message, struct header *h)
{
    if (message->size == h->size)
        return 0;
    if (message->size > h->size)
        return fail(-EINVAL, "shoal_queue_commit: %zu bytes, where %llu were reserved",
                    message->size, (unsigned long long)h->size);
    if (message_body(h)->key || h->flags & OBJECT_CARRIES)
        return fail(-EINVAL, "shoal_queue_commit: a message that is an any cannot be made shorter");
    h->size = message->size;
    return 0;
}

/* A short message that was viewed. Its bytes stand behind this, aligned as promised. */
struct viewed {
    _Alignas(16) uint64_t process; /* who has it: a copy of its memory, a child's, is no message */
    uint64_t size;
};

static uint64_t this_process(void)
{
    return (uint64_t)process_self.generation << 32 | process_self.slot;
}

static struct viewed *viewed_of(const shoal_message *message)
{
    return (struct viewed *)message->bytes - 1;
}

static int put_short(struct lanes *q, const struct place *p, const shoal_message *message,
                     int64_t deadline)
{
    struct viewed *v = viewed_of(message);
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    if (v->process != this_process())
        return fail(-EINVAL, "shoal_queue_commit: another process viewed this short message, and "
                             "may put it");
    if (message->size > v->size)
        return fail(-EINVAL, "shoal_queue_commit: %zu bytes, where there were %llu", message->size,
                    (unsigned long long)v->size);
    rc = heap_of(p) ? heap_put_bytes(heap_of(p), p, message->bytes, message->size, deadline)
                    : lanes_put(q, p, message->bytes, message->size, deadline);
    if (!rc)
        free(v);
    return rc;
}

static int put(struct lanes *q, const struct place *p, const shoal_message *message,
               int64_t deadline)
{
    struct header *h = header_of(message->handle, TYPE_MESSAGE);
    uint32_t none = 0;
    if (!h)
        return bad_handle(message->handle, "shoal_queue_commit");
    _Atomic uint32_t *in = &message_body(h)->queue;
    if (!atomic_compare_exchange_strong(in, &none, CLAIMED) && !MUTANT(165))
        return fail(-EINVAL,
                    "shoal_queue_commit: another process, which was forked with this message, "
                    "has put it into a queue");
    int rc = resize(message, h);
    if (!rc)
        rc = heap_of(p) ? heap_put(heap_of(p), p, message->handle, deadline)
                        : message_put(message->handle, q, p, deadline);
    if (rc)
        atomic_store(in, 0);
    return rc;
}

int shoal_queue_commit(shoal_queue *queue, shoal_message *message, int64_t deadline)
{
    struct place p;
    int rc;
    struct lanes *q = queue_of(queue, "shoal_queue_commit", &p);
    if (!q)
        return bad_handle(queue, "shoal_queue_commit");
    if (!message || !message->bytes)
        return fail(-EINVAL,
                    "shoal_queue_commit: no message: it was committed or released, perhaps");
    rc = message->handle ? put(q, &p, message, deadline) : put_short(q, &p, message, deadline);
    if (!rc)
        *message = (shoal_message){NULL, 0, NULL};
    return rc;
}

int shoal_queue_view(shoal_queue *queue, shoal_message *ret, int64_t deadline)
{
    struct place p;
    struct taken t;
    struct lanes *q = queue_of(queue, "shoal_queue_view", &p);
    if (!q)
        return bad_handle(queue, "shoal_queue_view");
    if (!ret)
        return fail(-EINVAL, "shoal_queue_view: nowhere to write the message (NULL)");
    struct heap *heap = heap_of(&p);
    struct viewed *v = heap ? NULL : malloc(sizeof *v + INLINE_MOST);
    if (!heap && !v)
        return fail(-ENOMEM, "shoal_queue_view: no memory for a short message");
    int rc = heap ? heap_take(heap, &p, SIZE_MAX, &t, deadline)
                  : lanes_take(q, &p, v + 1, INLINE_MOST, SIZE_MAX, &t, deadline);
    taken(rc, &p);
    if (rc || t.object)
        free(v);
    if (rc)
        return rc;
    if (t.object) {
        if (!heap) /* which has done so under its lock */
            atomic_store(&message_body(handle_of(t.object)->header)->queue, 0);
        *ret = (shoal_message){message_bytes(t.object), t.size, t.object};
    } else if (v) { /* it is there, but in a heap */
        *v = (struct viewed){this_process(), t.size};
        *ret = (shoal_message){v + 1, t.size, NULL};
    }
    return 0;
}

void shoal_message_release(shoal_message *message)
{
    if (!message)
        return;
    if (message->handle)
        object_close(message->handle, TYPE_MESSAGE);
    else if (message->bytes)
        free(viewed_of(message));
    *message = (shoal_message){NULL, 0, NULL};
}
