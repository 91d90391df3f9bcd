/* message/poll.h - what waiting on many needs to know of queues and connections (process/wait.c). */
#ifndef SHOAL_MESSAGE_POLL_H
#define SHOAL_MESSAGE_POLL_H

#include <shoal/pipe.h>
#include <shoal/queue.h>

/* Whether there is something to take, or an end: 0, -EAGAIN, -EBADF, -EINVAL. After -EAGAIN the
 * descriptor, if the queue has one here, waits. */
int queue_poll(shoal_queue *queue, const char *call);
/* The same for what is to be received. */
int connection_poll(shoal_connection *connection);
/* Its descriptor, and what to poll it for; -errno. */
int connection_descriptor(shoal_connection *connection, short *events);

#endif
