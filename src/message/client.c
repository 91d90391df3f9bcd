/* Clients: connect, then authenticate. */
#include "message/address.h"
#include "message/authenticate.h"
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static int refused(const char *how)
{
    /* An errno of connect that looks like one of ours. */
    int rc = errno == ETIMEDOUT ? -EHOSTUNREACH : -errno;
    return fail(rc, "shoal_client: %s: %s", how, strerror(errno));
}

/* A Unix socket that does not wait cannot tell when the listener has room for it; one that waits can
 * have a limit. */
static int connect_path(int fd, const struct address *a, int64_t deadline)
{
    struct timeval none = {0}, t = {0};
    int64_t left = deadline <= SHOAL_NOW ? 0 : deadline - os_now();
    if (left < 1000)
        left = 1000; /* 0 would be for ever */
    if (deadline != SHOAL_FOREVER)
        t = (struct timeval){.tv_sec = (time_t)(left / 1000000000),
                             .tv_usec = (suseconds_t)(left % 1000000000 / 1000)};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    if (deadline == SHOAL_NOW)
        fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, &a->any, a->size)) {
        if (errno == EAGAIN)
            return in_vain(deadline == SHOAL_NOW ? -EAGAIN : -ETIMEDOUT);
        return errno == EINTR ? in_vain(-EINTR) : refused("connect");
    }
    fcntl(fd, F_SETFL, 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
    return 0;
}

static int connect_host(int fd, const struct address *a, int64_t deadline)
{
    int error = 0;
    socklen_t size = sizeof error;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, &a->any, a->size)) {
        if (errno != EINPROGRESS && errno != EINTR)
            return refused("connect");
        int rc = endpoint_wait(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, deadline);
        if (rc < 0)
            return rc;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        errno = error;
        if (error)
            return refused("connect");
    }
    fcntl(fd, F_SETFL, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return 0;
}

/* A connected descriptor, or -errno. */
static int reach(const struct address *a, int64_t deadline)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return refused("socket");
    int rc =
        a->any.sa_family == AF_UNIX ? connect_path(fd, a, deadline) : connect_host(fd, a, deadline);
    if (rc)
        close(fd);
    return rc ? rc : fd;
}

static int reach_any(const shoal_address *address, int64_t deadline)
{
    struct address found[ADDRESSES];
    int n = address_resolve(found, address, "shoal_client"), rc = n;
    for (int i = 0; i < n; i++) {
        rc = reach(&found[i], deadline);
        if (rc >= 0 || rc == -EINTR || rc == -ETIMEDOUT || rc == -EAGAIN)
            break;
    }
    return rc;
}

static int authenticate(shoal_connection *c, int fd, const struct key *key, int64_t deadline)
{
    struct handshake h;
    short events;
    int rc;
    handshake_begin(&h, key, false);
    while ((rc = handshake_step(&h, c, &events)) == -EAGAIN) {
        rc = endpoint_wait(&(struct pollfd){.fd = fd, .events = events}, 1, deadline);
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int client(shoal_connection **ret, const shoal_address *address, const struct key *key,
                  int64_t deadline)
{
    int fd = reach_any(address, deadline);
    if (fd < 0)
        return fd;
    shoal_connection *c = socket_new(fd, true);
    if (!c) {
        close(fd);
        return fail(-ENOMEM, "shoal_client: no memory");
    }
    int rc = key->bytes ? authenticate(c, fd, key, deadline) : 0;
    if (rc) {
        fail_in(rc, "shoal_client");
        socket_verbs.close(c);
        return rc;
    }
    socket_ready(c);
    *ret = c;
    return 0;
}

int shoal_client(shoal_connection **ret, const shoal_address *address,
                 const shoal_client_options *options, int64_t deadline)
{
    static const shoal_client_options defaults;
    struct key key = {0};
    int rc, error = errno;
    if (!options)
        options = &defaults;
    if (!ret)
        return fail(-EINVAL, "shoal_client: nowhere to write the handle (NULL)");
    if (options->flags & ~SHOAL_NO_AUTHKEY)
        return fail(-EINVAL, "shoal_client: unknown flags %#x", options->flags);
    rc = check_deadline(deadline);
    if (!rc && !(options->flags & SHOAL_NO_AUTHKEY))
        rc = key_copy(&key, options->authkey, options->authkey_size, "shoal_client");
    if (!rc)
        rc = client(ret, address, &key, deadline);
    key_free(&key);
    errno = error;
    return waited(rc, "shoal_client", NULL, 0, deadline);
}
