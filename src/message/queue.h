/* message/queue.h - what a queue's handle leads to: lanes, or a heap (see queue.c). */
#ifndef SHOAL_MESSAGE_QUEUE_H
#define SHOAL_MESSAGE_QUEUE_H

#include "message/heap.h"
#include "message/lanes.h"
#include <shoal/queue.h>

static inline struct lanes *lanes_of(const struct header *h)
{
    return header_payload(h);
}

/* The lanes of an open queue, and their place; NULL: it is none. */
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

/* The heap of one that was found by queue_of; NULL: it is of the kind that has lanes. */
static inline struct heap *heap_of(const struct place *p)
{
    return unlikely(heap_kind(p->header)) ? header_payload(p->header) : NULL;
}

/* `rc`, what a call came to that takes; if it was in vain, the queue's descriptor waits. */
int queue_in_vain(int rc, struct place *p);
static inline int taken(int rc, struct place *p)
{
    return likely(rc >= 0) ? rc : queue_in_vain(rc, p);
}

#endif
