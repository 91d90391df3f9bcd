/* Listeners. Peers that have called but not proved yet that they have the key stand in a line, the
 * oldest first, and all get on side by side while accept is being called: none waits for another. One
 * thread at a time does that (its turn); what has begun stays for the next call.
 */
#include "message/address.h"
#include "message/authenticate.h"
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PLACE = 96 /* a directory for a socket, whose path has at most 107 bytes */ };

struct peer {
    shoal_connection *connection;
    int fd; /* the connection's */
    short events;
    int64_t deadline;
    struct handshake handshake;
};

/* What does not fit into the block. */
struct listening {
    struct key key;    /* none: nobody proves anything */
    int64_t handshake; /* nanoseconds */
    char text[ADDRESS_TEXT];
    shoal_address address;
    char directory[PLACE]; /* made for the socket; or "" */
    pid_t maker;           /* removes them */
    dev_t device;          /* the path, if it is one, was this */
    ino_t inode;
    unsigned most, n; /* room for peers, and how many there are */
    struct peer *peers;
    struct pollfd *fds; /* one more than peers */
};

struct listener {
    struct endpoint e;
    turn_t turn;
    struct listening *l;
};
static_assert(sizeof(struct listener) <= ENDPOINT_SIZE, "fits in its block");

/* ---- its end ---- */

/* The path may be another's socket by now. */
static void remove_path(const struct listening *l)
{
    struct stat now;
    if (l->maker != os_getpid() || !l->inode)
        return;
    if (!lstat(l->address.path, &now) && now.st_dev == l->device && now.st_ino == l->inode)
        unlink(l->address.path);
    if (l->directory[0])
        rmdir(l->directory);
}

static void free_listening(struct listening *l)
{
    if (!l)
        return;
    for (unsigned i = 0; i < l->n; i++)
        socket_verbs.close(l->peers[i].connection);
    key_free(&l->key);
    free(l->peers);
    free(l->fds);
    free(l);
}

static void end(struct endpoint *e)
{
    struct listener *listener = (struct listener *)e;
    if (listener->l)
        remove_path(listener->l);
    close(e->fd);
    free_listening(listener->l);
}

/* The parent's peers are not the child's: their connections, which are not ready, are closed as such.
 * If another thread was busy with them, what it was doing is not looked at. */
static void forked(struct endpoint *e)
{
    struct listener *listener = (struct listener *)e;
    atomic_store(&listener->turn, 0);
    if (listener->l)
        listener->l->n = 0;
}

const struct endpoint_type listener_type = {.end = end, .forked = forked};

static void remove_path_of(struct endpoint *e)
{
    const struct listener *listener = (const struct listener *)e;
    if (listener->l)
        remove_path(listener->l);
}

static void at_exit(void)
{
    endpoint_each(ENDPOINT_LISTENER, remove_path_of);
}

/* ---- its beginning ---- */

/* A path in a fresh directory, for who named none. */
static int make_place(struct listening *l, char path[ADDRESS_TEXT], shoal_address *ret)
{
    const char *base = getenv("TMPDIR");
    if (!base || base[0] != '/' || strlen(base) + sizeof "/shoal-XXXXXX" > PLACE)
        base = "/tmp";
    snprintf(l->directory, PLACE, "%s/shoal-XXXXXX", base);
    if (!mkdtemp(l->directory)) {
        int rc =
            fail(-errno, "shoal_listener_create: a directory in %s: %s", base, strerror(errno));
        l->directory[0] = 0;
        return rc;
    }
    snprintf(path, ADDRESS_TEXT, "%s/listener", l->directory);
    *ret = (shoal_address){.path = path};
    return 0;
}

static int bind_and_listen(int fd, const struct address *a, int backlog)
{
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    /* :: is IPv6 only, whatever the machine's default: 0.0.0.0 may be another's. */
    if (a->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
    return bind(fd, &a->any, a->size) || listen(fd, backlog ? backlog : 128) ? -errno : 0;
}

static const char *name_of(const shoal_address *a)
{
    if (a->host)
        return a->host;
    return a->path && a->path[0] ? a->path : "an abstract name";
}

/* A listening descriptor, or -errno. */
static int open_socket(const shoal_address *address, int backlog)
{
    struct address found[ADDRESSES];
    int n = address_resolve(found, address, "shoal_listener_create"), rc = n;
    for (int i = 0; i < n; i++) {
        int fd = socket(found[i].any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        rc = fd < 0 ? -errno : bind_and_listen(fd, &found[i], backlog);
        if (!rc)
            return fd;
        if (fd >= 0)
            close(fd);
        rc = fail(rc, "shoal_listener_create: %s: %s", name_of(address), strerror(-rc));
    }
    return rc;
}

/* What the kernel made of the address. */
static void learn_address(struct listening *l, int fd)
{
    struct address a = {.size = sizeof a.room};
    struct stat now;
    getsockname(fd, &a.any, &a.size);
    address_parts(&a, l->text, &l->address);
    if (l->address.path && l->address.path[0] && !lstat(l->address.path, &now)) {
        l->device = now.st_dev;
        l->inode = now.st_ino;
    }
    l->maker = os_getpid();
}

static int allocate(struct listening **ret, const shoal_listener_options *o)
{
    struct listening *l = calloc(1, sizeof *l);
    int rc = 0;
    if (l) {
        l->most = o->flags & SHOAL_NO_AUTHKEY ? 0 : o->pending ? o->pending : 64;
        l->peers = calloc(l->most ? l->most : 1, sizeof *l->peers);
        l->fds = calloc((size_t)l->most + 1, sizeof *l->fds);
        l->handshake = (int64_t)((o->handshake != 0 ? o->handshake : 10) * 1e9);
    }
    if (!l || !l->peers || !l->fds)
        rc = fail(-ENOMEM, "shoal_listener_create: no memory");
    else if (!(o->flags & SHOAL_NO_AUTHKEY))
        rc = key_copy(&l->key, o->authkey, o->authkey_size, "shoal_listener_create");
    if (rc)
        free_listening(l);
    else
        *ret = l;
    return rc;
}

static int check_options(shoal_listener **ret, const shoal_listener_options *o)
{
    if (!ret)
        return fail(-EINVAL, "shoal_listener_create: nowhere to write the handle (NULL)");
    if (o->flags & ~SHOAL_NO_AUTHKEY)
        return fail(-EINVAL, "shoal_listener_create: unknown flags %#x", o->flags);
    if (o->backlog < 0 || o->pending > 1 << 16)
        return fail(-EINVAL, "shoal_listener_create: a backlog of %d, %u peers pending", o->backlog,
                    o->pending);
    if (!(o->handshake >= 0 && o->handshake <= 1e6))
        return fail(-EINVAL, "shoal_listener_create: %g seconds for a handshake", o->handshake);
    return 0;
}

/* With all that it needs; l becomes the listener's. */
static int create(shoal_listener **ret, struct listening *l, const shoal_address *address,
                  int backlog)
{
    char path[ADDRESS_TEXT];
    shoal_address own = {0};
    int rc = address ? 0 : make_place(l, path, &own);
    int fd = rc ? rc : open_socket(address ? address : &own, backlog);
    if (fd < 0) {
        if (l->directory[0])
            rmdir(l->directory);
        return fd;
    }
    learn_address(l, fd);
    struct listener *listener = (struct listener *)endpoint_new(ENDPOINT_LISTENER);
    if (!listener) {
        remove_path(l);
        close(fd);
        return fail(-ENOMEM, "shoal_listener_create: no memory");
    }
    listener->e.fd = fd;
    listener->l = l;
    *ret = endpoint_handle(&listener->e);
    return 0;
}

static void begin(void)
{
    atexit(at_exit);
}

int shoal_listener_create(shoal_listener **ret, const shoal_address *address,
                          const shoal_listener_options *options)
{
    static const shoal_listener_options defaults;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct listening *l = NULL;
    int error = errno;
    if (!options)
        options = &defaults;
    int rc = check_options(ret, options);
    if (rc)
        return rc;
    pthread_once(&once, begin);
    rc = allocate(&l, options);
    if (!rc) {
        rc = create(ret, l, address, options->backlog);
        if (rc)
            free_listening(l);
    }
    errno = error;
    return rc;
}

/* ---- peers ---- */

static struct peer take_out(struct listening *l, unsigned i)
{
    struct peer peer = l->peers[i];
    l->n--;
    memmove(&l->peers[i], &l->peers[i + 1], (l->n - i) * sizeof *l->peers);
    return peer;
}

/* Drops peer i, and says so. */
static int drop(struct listening *l, unsigned i, int rc, const char *why)
{
    char who[ADDRESS_TEXT], reason[200];
    struct peer peer = take_out(l, i);
    address_of_peer(peer.fd, who);
    snprintf(reason, sizeof reason, "%s", why);
    socket_verbs.close(peer.connection);
    return fail(rc, "shoal_listener_accept: %s: %s", who, reason);
}

/* Goes on with peer i. -EAGAIN: it is still at it; otherwise accept's result. */
static int go_on(struct listening *l, unsigned i, shoal_connection **ret)
{
    struct peer *peer = &l->peers[i];
    int rc = handshake_step(&peer->handshake, peer->connection, &peer->events);
    if (rc == -EAGAIN)
        return rc;
    if (rc)
        return drop(l, i, rc == -EPIPE ? -ECONNABORTED : rc, shoal_error_detail());
    *ret = take_out(l, i).connection;
    socket_ready(*ret);
    return 0;
}

/* A peer that has called: -EAGAIN: it has begun, or there is none; otherwise accept's result. */
static int welcome(struct listener *listener, shoal_connection **ret)
{
    struct listening *l = listener->l;
    int rc = 0, fd = accept4(listener->e.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        /* Peers' mishaps on the way are told here too. */
        bool full = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS;
        rc = errno == ENOBUFS ? -ENOMEM : -errno;
        return full ? fail(rc, "shoal_listener_accept: %s", strerror(-rc)) : -EAGAIN;
    }
    if (l->address.host)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    shoal_connection *c = socket_new(fd, l->most);
    if (!c) {
        close(fd);
        return fail(-ENOMEM, "shoal_listener_accept: no memory");
    }
    if (!l->most) {
        *ret = c;
        return 0;
    }
    rc = l->n < l->most ? -EAGAIN
                        : drop(l, 0, -ETIME, "too many peers at once, and it was the oldest");
    struct peer *peer = &l->peers[l->n++];
    *peer = (struct peer){.connection = c, .fd = fd, .deadline = os_now() + l->handshake};
    handshake_begin(&peer->handshake, &l->key, true);
    peer->events = POLLOUT;
    return rc;
}

/* Waits until somebody calls, or can go on, or is late. */
static int wait_for_peers(struct listener *listener, int64_t deadline)
{
    struct listening *l = listener->l;
    /* the oldest is the first to be late */
    int64_t first = l->n ? l->peers[0].deadline : SHOAL_FOREVER;
    l->fds[0] = (struct pollfd){.fd = listener->e.fd, .events = POLLIN};
    for (unsigned i = 0; i < l->n; i++)
        l->fds[i + 1] = (struct pollfd){.fd = l->peers[i].fd, .events = l->peers[i].events};
    int rc = endpoint_wait(l->fds, l->n + 1, deadline < first ? deadline : first);
    if ((rc == -EAGAIN || rc == -ETIMEDOUT) && first <= os_now())
        return 0; /* for whom it is too late */
    return rc < 0 ? rc : 0;
}

/* One look at everybody. -EAGAIN: nobody is through yet; otherwise accept's result. */
static int look_at_peers(struct listener *listener, shoal_connection **ret)
{
    struct listening *l = listener->l;
    int64_t now = os_now();
    for (unsigned i = 0; i < l->n; i++) {
        if (l->fds[i + 1].revents) {
            int rc = go_on(l, i, ret);
            if (rc != -EAGAIN)
                return rc; /* the others' turn comes with the next call */
        } else if (l->peers[i].deadline <= now) {
            return drop(l, i, -ETIME, "it has not got through in its time");
        }
    }
    return l->fds[0].revents ? welcome(listener, ret) : -EAGAIN;
}

static int accept_peer(struct listener *listener, shoal_connection **ret, int64_t deadline)
{
    for (;;) {
        int rc = wait_for_peers(listener, deadline);
        if (endpoint_closed(&listener->e))
            return fail(
                -EBADF,
                "shoal_listener_accept: the listener was closed by another thread meanwhile");
        if (rc)
            return rc;
        rc = look_at_peers(listener, ret);
        if (rc != -EAGAIN)
            return rc;
    }
}

int shoal_listener_accept(shoal_listener *handle, shoal_connection **ret, int64_t deadline)
{
    int rc, error = errno;
    struct listener *listener =
        (struct listener *)endpoint_enter(handle, ENDPOINT_LISTENER, "shoal_listener_accept", &rc);
    if (!listener)
        return rc;
    if (ret)
        rc = turn_take(&listener->turn, deadline);
    else
        rc = fail(-EINVAL, "shoal_listener_accept: nowhere to write the handle (NULL)");
    if (!rc) {
        rc = accept_peer(listener, ret, deadline);
        turn_give(&listener->turn);
    }
    endpoint_leave(&listener->e);
    errno = error;
    return waited(rc, "shoal_listener_accept", NULL, 0, deadline);
}

/* ---- the rest ---- */

int shoal_listener_address(shoal_listener *handle, shoal_address *ret)
{
    int rc;
    struct listener *listener =
        (struct listener *)endpoint_enter(handle, ENDPOINT_LISTENER, "shoal_listener_address", &rc);
    if (!listener)
        return rc;
    rc = 0;
    if (ret)
        *ret = listener->l->address;
    else
        rc = fail(-EINVAL, "shoal_listener_address: nowhere to write it (NULL)");
    endpoint_leave(&listener->e);
    return rc;
}

int shoal_listener_fileno(shoal_listener *handle)
{
    int rc;
    struct endpoint *e = endpoint_enter(handle, ENDPOINT_LISTENER, "shoal_listener_fileno", &rc);
    if (!e)
        return rc;
    rc = e->fd;
    endpoint_leave(e);
    return rc;
}

shoal_listener *shoal_listener_close(shoal_listener *listener)
{
    int error = errno;
    endpoint_close(listener, ENDPOINT_LISTENER);
    errno = error;
    return NULL;
}
