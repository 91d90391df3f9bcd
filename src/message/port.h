/* message/port.h - a queue, or an end of a pipe, for who writes and reads messages himself: where they are
 * put and taken, whatever it is.
 *
 *     port_of_queue(&port, queue, call) or port_of_end(&port, connection, out, call)
 *     port_put             a copy of some bytes
 *     port_reserve … port_commit   a message that is an object: written where it lies
 *     port_take            either
 *
 * A port is made for a call, and holds nothing: the handle stays open meanwhile.
 */
#ifndef SHOAL_MESSAGE_PORT_H
#define SHOAL_MESSAGE_PORT_H

#include "message/lanes.h"
#include <shoal/pipe.h>
#include <shoal/queue.h>

struct pickle_objects;

struct port {
    struct lanes *lanes;
    struct place place;
    const void *handle;
    bool pipe;
};

/* Of a SHOAL_FIFO queue: 0; -EBADF, -EINVAL: it is of another kind. */
int port_of_queue(struct port *ret, const shoal_queue *queue, const char *call);
/* Of the end of a pipe, to send (`out`) or to receive: 0; -EBADF: closed, or it goes the other way only. */
int port_of_end(struct port *ret, const shoal_connection *end, bool out, const char *call);

/* As shoal_queue_put_bytes, shoal_connection_send_bytes. */
int port_put(struct port *port, const void *bytes, size_t size, int64_t deadline);
/* Makes a message of `size` bytes, which the caller holds and writes to *bytes (aligned to 64). It holds
 * these objects, which are open here, and what belongs to them; NULL: none. As shoal_queue_reserve. */
int port_reserve(struct port *port, void **ret, size_t size, struct pickle_objects *objects,
                 unsigned char **bytes, int64_t deadline);
/* Puts it, and gives up the caller's hold: 0. Otherwise it stays the caller's. As shoal_queue_commit. */
int port_commit(struct port *port, void *message, int64_t deadline);
/* Takes the first message: bytes to the buffer, of INLINE_MOST bytes, or an object that the caller holds and
 * closes (message_close). As shoal_queue_view. */
int port_take(struct port *port, void *buffer, struct taken *ret, int64_t deadline);
/* As many as there are, up to n: bytes one after the other in the buffer, of INLINE_MOST bytes or more; an object is the
 * last, and no longer than it. How many; -EMSGSIZE: port_take takes it. */
int port_take_many(struct port *port, void *buffer, size_t capacity, struct taken ret[], unsigned n,
                   int64_t deadline);
/* The same as port_take at once, or within about a microsecond if `patient`: -EAGAIN. No more than a first look: of a death that
 * nobody has noticed yet, and to the handle's descriptor, only port_take tells. */
int port_try(struct port *port, void *buffer, struct taken *ret, bool patient);
/* Streams of long messages, which are best written to where one was just read: that memory is there, and in the caches. Both calls wait
 * for the other side, for some hundred microseconds at most, and may be left out.
 *   keep_pace  before one of `size` bytes is put: until what lies there is not much. Not where nobody takes
 *   linger     before the next one is taken: until it is there, as to sleep and to be woken takes as long as it takes to come */
bool port_is_ahead(struct port *port, size_t size);
void port_keep_pace(struct port *port, size_t size);
void port_linger(struct port *port);
/* Waits until there is something to take, or an end. */
int port_poll(struct port *port, int64_t deadline);
/* After a take that went well: the handle's descriptor, if it has one, is unreadable if that was all. */
void port_settle_slow(struct port *port);
static inline void port_settle(struct port *port)
{
    if (unlikely(atomic_load_explicit(&handle_of(port->handle)->pollable, memory_order_relaxed)))
        port_settle_slow(port);
}

/* For port.c, of pipes: what port_of_end finds; before a send of `size` bytes; `rc`, what a take came to: true
 * if it may have been in vain for a death that nobody had noticed, so take again. */
int pipe_port(struct port *ret, const shoal_connection *end, bool out, const char *call);
void pipe_sends(size_t size);
bool pipe_took_in_vain(int rc, int64_t deadline);

#endif
