/* Connections: what all callers go through. A handle that lies in the region's table of handles is an
 * end of a pipe, any other a socket's (socket.c). errno is the caller's. */
#include "message/connection.h"
#include "message/poll.h"
#include "region/object.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

const struct connection_verbs *connection_verbs_of(const shoal_connection *c, const char *what,
                                                   int *rc)
{
    if (c && handles && (uintptr_t)c - (uintptr_t)handles < MOST_OBJECTS * sizeof *handles) {
        *rc = header_of(c, TYPE_END) ? 0 : bad_handle(c, what);
        return *rc ? NULL : &pipe_verbs;
    }
    *rc = 0;
    return &socket_verbs;
}

int shoal_connection_send(shoal_connection *connection, const shoal_any *any, int64_t deadline)
{
    int rc, error = errno;
    const struct connection_verbs *verbs =
        connection_verbs_of(connection, "shoal_connection_send", &rc);
    if (verbs)
        rc = waited(verbs->send_any(connection, any, deadline), "shoal_connection_send", NULL, 0,
                    deadline);
    errno = error;
    return rc;
}

int shoal_connection_recv(shoal_connection *connection, shoal_any **ret, int64_t deadline)
{
    int rc, error = errno;
    const struct connection_verbs *verbs =
        connection_verbs_of(connection, "shoal_connection_recv", &rc);
    if (!verbs)
        return rc;
    if (!ret)
        return fail(-EINVAL, "shoal_connection_recv: nowhere to write the any (NULL)");
    rc = waited(verbs->recv_any(connection, ret, deadline), "shoal_connection_recv", NULL, 0,
                deadline);
    errno = error;
    return rc;
}

int shoal_connection_send_bytes(shoal_connection *connection, const void *bytes, size_t size,
                                int64_t deadline)
{
    int rc, error = errno;
    const struct connection_verbs *verbs =
        connection_verbs_of(connection, "shoal_connection_send_bytes", &rc);
    if (!verbs)
        return rc;
    if (!bytes && size)
        return fail(-EINVAL, "shoal_connection_send_bytes: %zu bytes at NULL", size);
    rc = waited(verbs->send(connection, bytes, size, deadline), "shoal_connection_send_bytes", NULL,
                0, deadline);
    errno = error;
    return rc;
}

int shoal_connection_flush(shoal_connection *connection, int64_t deadline)
{
    int rc, error = errno;
    const struct connection_verbs *verbs =
        connection_verbs_of(connection, "shoal_connection_flush", &rc);
    if (verbs)
        rc =
            waited(verbs->flush(connection, deadline), "shoal_connection_flush", NULL, 0, deadline);
    errno = error;
    return rc;
}

int shoal_connection_recv_bytes(shoal_connection *connection, void **ret, size_t *size,
                                int64_t deadline)
{
    int rc, error = errno;
    const struct connection_verbs *verbs =
        connection_verbs_of(connection, "shoal_connection_recv_bytes", &rc);
    if (!verbs)
        return rc;
    if (!ret || !size)
        return fail(-EINVAL,
                    "shoal_connection_recv_bytes: nowhere to write the message or its size (NULL)");
    rc = waited(verbs->recv(connection, ret, size, deadline), "shoal_connection_recv_bytes", NULL,
                0, deadline);
    errno = error;
    return rc;
}

int shoal_connection_recv_bytes_into(shoal_connection *connection, void *buffer, size_t capacity,
                                     size_t *size, int64_t deadline)
{
    int rc, error = errno;
    const struct connection_verbs *verbs =
        connection_verbs_of(connection, "shoal_connection_recv_bytes_into", &rc);
    if (!verbs)
        return rc;
    if ((!buffer && capacity) || !size)
        return fail(-EINVAL, "shoal_connection_recv_bytes_into: %s (NULL)",
                    size ? "no buffer" : "nowhere to write the size");
    rc = waited(verbs->recv_into(connection, buffer, capacity, size, deadline),
                "shoal_connection_recv_bytes_into", NULL, 0, deadline);
    errno = error;
    return rc;
}

int shoal_connection_poll(shoal_connection *connection, int64_t deadline)
{
    int rc, error = errno;
    const struct connection_verbs *verbs =
        connection_verbs_of(connection, "shoal_connection_poll", &rc);
    if (verbs)
        rc = waited(verbs->poll(connection, deadline), "shoal_connection_poll", NULL, 0, deadline);
    errno = error;
    return rc;
}

int connection_poll(shoal_connection *connection)
{
    int rc, error = errno;
    const struct connection_verbs *verbs = connection_verbs_of(connection, "a connection", &rc);
    if (verbs)
        rc = verbs->poll(connection, SHOAL_NOW);
    errno = error;
    return rc;
}

int connection_descriptor(shoal_connection *connection, short *events)
{
    int rc;
    const struct connection_verbs *verbs = connection_verbs_of(connection, "a connection", &rc);
    bool pending = verbs == &socket_verbs && socket_pending(connection);
    *events = pending ? POLLIN | POLLOUT : POLLIN;
    return verbs ? verbs->fileno(connection) : rc;
}

int shoal_connection_set_limit(shoal_connection *connection, size_t most)
{
    int rc;
    const struct connection_verbs *verbs =
        connection_verbs_of(connection, "shoal_connection_set_limit", &rc);
    return verbs ? verbs->set_limit(connection, most) : rc;
}

int shoal_connection_fileno(shoal_connection *connection)
{
    int rc;
    const struct connection_verbs *verbs =
        connection_verbs_of(connection, "shoal_connection_fileno", &rc);
    return verbs ? verbs->fileno(connection) : rc;
}

shoal_connection *shoal_connection_close(shoal_connection *connection)
{
    int rc, error = errno;
    const struct connection_verbs *verbs =
        connection_verbs_of(connection, "shoal_connection_close", &rc);
    if (verbs)
        verbs->close(connection);
    errno = error;
    return NULL;
}

/* What is wrong with it as a connection's socket; 0 if nothing. */
static int check_socket(int fd)
{
    int type, listens = 0;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size))
        return fail(errno == ENOTSOCK ? -ENOTSOCK : -EBADF,
                    "shoal_connection_from_fd: %d is not %s", fd,
                    errno == ENOTSOCK ? "a socket" : "an open descriptor");
    size = sizeof listens;
    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size);
    if (type != SOCK_STREAM || listens)
        return fail(-EINVAL, "shoal_connection_from_fd: %d is not a connected stream socket", fd);
    return 0;
}

int shoal_connection_from_fd(shoal_connection **ret, int fd)
{
    int error = errno;
    if (!ret)
        return fail(-EINVAL, "shoal_connection_from_fd: nowhere to write the handle (NULL)");
    int rc = check_socket(fd);
    shoal_connection *c = rc ? NULL : socket_new(fd, false);
    if (!rc && !c)
        rc = fail(-ENOMEM, "shoal_connection_from_fd: no memory");
    if (!rc) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        *ret = c;
    }
    errno = error;
    return rc;
}
