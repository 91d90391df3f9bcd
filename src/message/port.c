/* Ports: what putting and taking come to, for queues and for ends of pipes (see port.h). */
#include "message/port.h"
#include "message/message.h"
#include "message/pickle.h"
#include "message/queue.h"
#include "region/poll.h"

int port_of_queue(struct port *ret, const shoal_queue *queue, const char *call)
{
    struct place p;
    struct lanes *q = queue_of(queue, call, &p);
    if (unlikely(!q))
        return bad_handle(queue, call);
    if (heap_of(&p))
        return fail(-EINVAL, "%s: the queue is not first in, first out", call);
    *ret = (struct port){q, p, queue, false};
    return 0;
}

int port_of_end(struct port *ret, const shoal_connection *end, bool out, const char *call)
{
    return pipe_port(ret, end, out, call);
}

int port_put(struct port *port, const void *bytes, size_t size, int64_t deadline)
{
    if (port->pipe)
        pipe_sends(size);
    return size > INLINE_MOST ? message_put_long(port->lanes, &port->place, bytes, size, deadline)
                              : lanes_put(port->lanes, &port->place, bytes, size, deadline);
}

int port_reserve(struct port *port, void **ret, size_t size, struct pickle_objects *objects,
                 unsigned char **bytes, int64_t deadline)
{
    struct shortage shortage = shortage_of(port->lanes, &port->place, deadline);
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    if (atomic_load(&port->lanes->closed) & LANES_SHUT)
        return fail(-EPIPE, "%s: nothing is put any more: it was shut down", port->place.call);
    return objects && objects->count
               ? message_create_carrying(ret, size, 0, objects, &shortage, bytes)
               : message_create(ret, size, 0, &shortage, bytes);
}

int port_commit(struct port *port, void *message, int64_t deadline)
{
    if (port->pipe)
        pipe_sends(INLINE_MOST + 1);
    return message_put(message, port->lanes, &port->place, deadline);
}

static bool may_take(void *argument)
{
    const struct port *port = argument;
    return lanes_ready(port->lanes, &port->place);
}

/* `rc`, of a call that takes; in vain, the descriptor waits. */
static int taken_from(struct port *port, int rc)
{
    if (unlikely(rc < 0))
        pollable_in_vain(handle_of(port->handle), rc, &port->lanes->items, may_take, port);
    return rc;
}

int port_take(struct port *port, void *buffer, struct taken *ret, int64_t deadline)
{
    int rc;
    *ret = (struct taken){0, NULL};
    do
        rc = lanes_take(port->lanes, &port->place, buffer, INLINE_MOST, SIZE_MAX, ret, deadline);
    while (unlikely(rc) && port->pipe && pipe_took_in_vain(rc, deadline));
    return taken_from(port, rc);
}

int port_try(struct port *port, void *buffer, struct taken *ret, bool patient)
{
    *ret = (struct taken){0, NULL};
    int rc = lanes_take(port->lanes, &port->place, buffer, INLINE_MOST, SIZE_MAX, ret, SHOAL_NOW);
    if (likely(rc != -EAGAIN) || !patient)
        return rc;
    for (struct spin s = spin_begin(); rc == -EAGAIN && s.left > 0;) {
        spin_once(&s);
        if (lanes_ready(port->lanes, &port->place))
            rc = lanes_take(port->lanes, &port->place, buffer, INLINE_MOST, SIZE_MAX, ret,
                            SHOAL_NOW);
    }
    return rc;
}

int port_poll(struct port *port, int64_t deadline)
{
    int rc;
    do
        rc = lanes_poll(port->lanes, &port->place, deadline);
    while (unlikely(rc) && port->pipe && pipe_took_in_vain(rc, deadline));
    return taken_from(port, rc);
}

void port_settle_slow(struct port *port)
{
    if (!may_take(port))
        pollable_wait(handle_of(port->handle), &port->lanes->items, may_take, port);
}
