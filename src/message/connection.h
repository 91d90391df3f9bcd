/* message/connection.h - what is behind a shoal_connection.
 *
 * It is one of two things: a socket (socket.c), whose handle is an endpoint's, or an end of a pipe
 * (pipe.c), whose handle lies in the region's table of handles. connection.c tells them apart and
 * checks what callers give; what is below here takes good arguments.
 */
#ifndef SHOAL_CONNECTION_H
#define SHOAL_CONNECTION_H

#include "message/endpoint.h"
#include <shoal/pipe.h>

struct connection_verbs {
    int (*send_any)(shoal_connection *c, const shoal_any *any, int64_t deadline);
    int (*recv_any)(shoal_connection *c, shoal_any **ret, int64_t deadline);
    int (*send)(shoal_connection *c, const void *bytes, size_t size, int64_t deadline);
    int (*flush)(shoal_connection *c, int64_t deadline);
    int (*recv)(shoal_connection *c, void **ret, size_t *size, int64_t deadline);
    int (*recv_into)(shoal_connection *c, void *buffer, size_t capacity, size_t *size,
                     int64_t deadline);
    int (*poll)(shoal_connection *c, int64_t deadline);
    int (*set_limit)(shoal_connection *c, size_t most);
    int (*fileno)(shoal_connection *c);
    void (*close)(shoal_connection *c);
};
extern const struct connection_verbs socket_verbs, pipe_verbs;
/* NULL: it is no connection, with *rc. */
const struct connection_verbs *connection_verbs_of(const shoal_connection *c, const char *what,
                                                   int *rc);

/* A connection of a connected stream socket, which is closed with it. NULL: no memory. `unready`: it
 * is not the caller's yet, and a child that is forked meanwhile closes its copy. */
shoal_connection *socket_new(int fd, bool unready);
void socket_ready(shoal_connection *handle);
/* A socket's verbs in the name of another call than their own. */
int socket_send_as(shoal_connection *handle, const void *bytes, size_t size, int64_t deadline,
                   const char *call);
int socket_flush_as(shoal_connection *handle, int64_t deadline, const char *call);
int socket_recv_into_as(shoal_connection *handle, void *buffer, size_t capacity, size_t *size,
                        int64_t deadline, const char *call);
/* Whether something is under way there, which every call pushes on. */
bool socket_pending(shoal_connection *handle);

#endif
