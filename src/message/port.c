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

/* ---- streams of long messages ---- */

enum { PACED = 1 << 17, AHEAD_MOST = 4 << 20, AHEAD_LEAST = 2 };
enum { STREAM_PATIENCE = 200000 /* ns */, VAIN_PUTS = 16, LOOK_PAUSES = 40, LOOKS = 16 };
enum { YIELDED = 800 /* ns: a yield that took longer let somebody else run */ };
/* so many puts are not held up, as nobody took anything the last time */
static _Thread_local unsigned unpaced;

bool port_is_ahead(struct port *port, size_t size)
{
    if (likely(size < PACED) || !self_known() || port->lanes->maxsize)
        return false;
    if (unpaced && unpaced--)
        return false;
    uint64_t n = lanes_size(port->lanes, &port->place);
    return n >= AHEAD_LEAST && n >= AHEAD_MOST / size;
}

struct patience {
    int64_t until;
    unsigned looks;
};

/* False: it is too late. Yields rarely: what is waited for takes long, and is done on another core, if there is one. */
static bool let_the_other(struct patience *p)
{
    int64_t now = os_now();
    if (!p->until)
        p->until = now + STREAM_PATIENCE;
    if (shoal_thread.shares_core || ++p->looks % LOOKS == 0) {
        os_yield();
        shoal_thread.shares_core = os_now() - now > YIELDED;
    }
    for (int i = 0; i < LOOK_PAUSES && !shoal_thread.shares_core; i++)
        os_pause();
    return now < p->until && process_self.keep.yield;
}

void port_keep_pace(struct port *port, size_t size)
{
    struct patience p = {0};
    uint64_t before = lanes_size(port->lanes, &port->place);
    while (port_is_ahead(port, size) && let_the_other(&p))
        ;
    if (lanes_size(port->lanes, &port->place) >= before)
        unpaced = VAIN_PUTS;
}

void port_linger(struct port *port)
{
    struct patience p = {0};
    while (self_known() && !lanes_ready(port->lanes, &port->place) && let_the_other(&p))
        ;
}

/* ---- taking ---- */

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

int port_take_many(struct port *port, void *buffer, size_t capacity, struct taken ret[], unsigned n,
                   int64_t deadline)
{
    int rc;
    do
        rc = lanes_take_many(port->lanes, &port->place, buffer, capacity, ret, n, deadline);
    while (unlikely(rc < 0) && port->pipe && pipe_took_in_vain(rc, deadline));
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
