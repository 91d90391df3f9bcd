/* Connections of stream sockets: messages as Python's multiprocessing.connection frames them. Before
 * each goes its length: 4 bytes, the highest first; or, beyond 2^31 - 1, 4 bytes of ones and then 8.
 *
 * What a message's transfer has come to is kept in the connection, so that a call that ends between
 * its first byte and its last leaves the stream whole: received bytes wait in `in.body` for the next
 * call; the rest of a message that is being sent lies in `out.rest`, and every later call pushes it
 * on, a receiving one too, since the peer might answer only what it has read.
 *
 * Each direction is one thread's at a time (its turn). The descriptor itself stays as it is, blocking
 * or not, as others may share it: every transfer says MSG_DONTWAIT, and waits are poll's.
 */
#include "message/any.h"
#include "message/connection.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    SHORT = 4, /* bytes of a length, and of one beyond 2^31 - 1 */
    LONG = 12,
    STEP = 1 << 20, /* bytes: so much memory an announced length is worth before any have come */
};

enum direction { IN, OUT };

/* Fields are those of who has the turn, but `most`, `pending` and `unready`. */
struct connection {
    struct endpoint e;
    _Atomic bool unready;
    _Atomic bool pending; /* there is a rest */
    _Atomic size_t most;  /* the limit; 0: none */
    struct {
        turn_t turn;
        const char *call;           /* whose turn it is, for sentences */
        int broken;                 /* -EPIPE, -EPROTO: nothing more can be received */
        bool known;                 /* the length is: a message has begun */
        unsigned char header[LONG]; /* its first `have` bytes are there */
        unsigned have;
        uint64_t size;
        unsigned char *body; /* room for `room` bytes, `got` of them are there; or NULL */
        uint64_t room, got;
    } in;
    struct {
        turn_t turn;
        const char *call;
        bool torn;
        unsigned char *rest; /* bytes from `from` to `to` are to be sent; or NULL */
        size_t from, to;
    } out;
};
static_assert(sizeof(struct connection) <= ENDPOINT_SIZE, "fits in its block");

static void end(struct endpoint *e)
{
    struct connection *c = (struct connection *)e;
    close(e->fd);
    free(c->in.body);
    free(c->out.rest);
}

/* A direction that another thread was using may be in the middle of any step: its memory is not
 * touched again. */
static void forked(struct endpoint *e)
{
    struct connection *c = (struct connection *)e;
    if (atomic_exchange(&c->in.turn, 0)) {
        c->in.broken = -EPIPE;
        c->in.body = NULL;
    }
    /* What is under way, the parent sends. */
    bool busy = atomic_exchange(&c->out.turn, 0);
    if (busy || c->out.rest) {
        if (!busy)
            free(c->out.rest);
        c->out.torn = true;
        c->out.rest = NULL;
        atomic_store(&c->pending, false);
    }
    if (atomic_load(&c->unready))
        endpoint_close(endpoint_handle(e), ENDPOINT_CONNECTION);
}

const struct endpoint_type connection_type = {.end = end, .forked = forked};

shoal_connection *socket_new(int fd, bool unready)
{
    struct connection *c = (struct connection *)endpoint_new(ENDPOINT_CONNECTION);
    if (!c)
        return NULL;
    atomic_store(&c->unready, unready);
    c->e.fd = fd;
    return endpoint_handle(&c->e);
}

static struct connection *enter(shoal_connection *handle, const char *what, int *rc)
{
    return (struct connection *)endpoint_enter(handle, ENDPOINT_CONNECTION, what, rc);
}

/* The same, with the turn to send or to receive. */
static struct connection *enter_turn(shoal_connection *handle, const char *call,
                                     enum direction direction, int64_t deadline, int *rc)
{
    struct connection *c = enter(handle, call, rc);
    if (!c)
        return NULL;
    *rc = turn_take(direction == OUT ? &c->out.turn : &c->in.turn, deadline);
    if (!*rc) {
        *(direction == OUT ? &c->out.call : &c->in.call) = call;
        return c;
    }
    endpoint_leave(&c->e);
    return NULL;
}

static int leave_turn(struct connection *c, enum direction direction, int rc)
{
    turn_give(direction == OUT ? &c->out.turn : &c->in.turn);
    endpoint_leave(&c->e);
    return rc;
}

void socket_ready(shoal_connection *handle)
{
    int rc;
    struct connection *c = enter(handle, "ready", &rc);
    if (!c)
        return;
    atomic_store(&c->unready, false);
    endpoint_leave(&c->e);
}

/* What errno means after a transfer that failed. */
static int failed(const struct connection *c, const char *what)
{
    if (endpoint_closed(&c->e))
        return fail(-EBADF, "%s: the connection was closed by another thread meanwhile", what);
    switch (errno) {
    case ENOMEM:
    case ENOBUFS: return fail(-ENOMEM, "%s: %s", what, strerror(errno));
    case EBADF:
    case ENOTSOCK:
        return fail(-EBADF, "%s: descriptor %d is no longer the connection's", what, c->e.fd);
    default: return fail(-EPIPE, "%s: the peer is gone (%s)", what, strerror(errno));
    }
}

/* ---- sending ---- */

/* Sends [*sent, the end) of two parts as far as it goes by the deadline: 0 when all is sent. */
static int push(struct connection *c, const struct iovec parts[2], size_t *sent, int64_t deadline)
{
    const size_t all = parts[0].iov_len + parts[1].iov_len;
    while (*sent < all) {
        struct iovec left[2];
        size_t skip = *sent;
        int n = 0;
        for (int i = 0; i < 2; i++) {
            size_t here = skip < parts[i].iov_len ? skip : parts[i].iov_len;
            skip -= here;
            if (here < parts[i].iov_len)
                left[n++] =
                    (struct iovec){(char *)parts[i].iov_base + here, parts[i].iov_len - here};
        }
        struct msghdr message = {.msg_iov = left, .msg_iovlen = n};
        ssize_t went = sendmsg(c->e.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (went >= 0) {
            *sent += (size_t)went;
        } else if (errno == EAGAIN) {
            int rc = endpoint_wait(&(struct pollfd){.fd = c->e.fd, .events = POLLOUT}, 1, deadline);
            if (rc < 0 && !(rc == -EINTR && *sent))
                return rc;
        } else if (errno != EINTR) {
            return failed(c, c->out.call);
        }
    }
    return 0;
}

static void drop_rest(struct connection *c)
{
    free(c->out.rest);
    c->out.rest = NULL;
    atomic_store(&c->pending, false);
}

/* With the turn. Pushes the rest of an earlier message on: 0 when there is none any more. */
static int push_rest(struct connection *c, int64_t deadline)
{
    if (c->out.torn)
        return fail(-EPIPE,
                    "%s: the rest of an earlier message was lost, or the parent was sending "
                    "when it forked this process",
                    c->out.call);
    if (!c->out.rest)
        return 0;
    size_t sent = 0;
    struct iovec parts[2] = {{c->out.rest + c->out.from, c->out.to - c->out.from}};
    int rc;
    do /* that its beginning has left is no reason to hold out here */
        rc = push(c, parts, &sent, SHOAL_NOW);
    while (rc == -EAGAIN && (rc = endpoint_wait(&(struct pollfd){.fd = c->e.fd, .events = POLLOUT},
                                                1, deadline)) > 0);
    c->out.from += sent;
    if (!rc || rc == -EPIPE)
        drop_rest(c);
    return rc;
}

/* The rest of a message, which is thereby sent. */
static int keep_rest(struct connection *c, const struct iovec parts[2], size_t sent)
{
    const size_t first = parts[0].iov_len, all = first + parts[1].iov_len;
    unsigned char *rest = malloc(all - sent);
    if (!rest) {
        c->out.torn = true;
        return fail(-ENOMEM, "%s: no memory for the rest of a message whose beginning has left",
                    c->out.call);
    }
    if (sent < first)
        memcpy(rest, (char *)parts[0].iov_base + sent, first - sent);
    size_t begin = sent < first ? 0 : sent - first;
    if (parts[1].iov_len)
        memcpy(rest + (all - sent) - (parts[1].iov_len - begin), (char *)parts[1].iov_base + begin,
               parts[1].iov_len - begin);
    c->out.rest = rest;
    c->out.from = 0;
    c->out.to = all - sent;
    atomic_store(&c->pending, true);
    return SHOAL_UNDER_WAY;
}

static size_t make_header(unsigned char header[LONG], uint64_t size)
{
    bool beyond = size > INT32_MAX;
    size_t n = beyond ? LONG : SHORT;
    memset(header, 0xff, SHORT);
    for (size_t i = beyond ? SHORT : 0; i < n; i++)
        header[i] = (unsigned char)(size >> 8 * (n - 1 - i));
    return n;
}

static int send_whole(struct connection *c, const void *bytes, size_t size, int64_t deadline)
{
    unsigned char header[LONG];
    size_t sent = 0;
    int rc = push_rest(c, deadline);
    if (rc)
        return rc;
    struct iovec parts[2] = {{header, make_header(header, size)}, {(void *)(uintptr_t)bytes, size}};
    rc = push(c, parts, &sent, deadline);
    return rc && sent && rc != -EPIPE && rc != -EBADF ? keep_rest(c, parts, sent) : rc;
}

int socket_send_as(shoal_connection *handle, const void *bytes, size_t size, int64_t deadline,
                   const char *call)
{
    int rc;
    struct connection *c = enter_turn(handle, call, OUT, deadline, &rc);
    return c ? leave_turn(c, OUT, send_whole(c, bytes, size, deadline)) : rc;
}

static int socket_send(shoal_connection *handle, const void *bytes, size_t size, int64_t deadline)
{
    return socket_send_as(handle, bytes, size, deadline, "shoal_connection_send_bytes");
}

static int socket_send_any(shoal_connection *handle, const shoal_any *any, int64_t deadline)
{
    const char *call = "shoal_connection_send";
    void *bytes = NULL;
    size_t size = 0;
    int rc;
    struct connection *c = enter(handle, call, &rc); /* whatever else is wrong */
    if (!c)
        return rc;
    rc = any ? shoal_any_encode(any, &bytes, &size) : any_is_null(call);
    if (!rc) {
        rc = socket_send_as(handle, bytes, size, deadline, call);
        free(bytes);
    }
    endpoint_leave(&c->e);
    return rc;
}

int socket_flush_as(shoal_connection *handle, int64_t deadline, const char *call)
{
    int rc;
    struct connection *c = enter_turn(handle, call, OUT, deadline, &rc);
    return c ? leave_turn(c, OUT, push_rest(c, deadline)) : rc;
}

static int socket_flush(shoal_connection *handle, int64_t deadline)
{
    return socket_flush_as(handle, deadline, "shoal_connection_flush");
}

/* ---- receiving ---- */

/* Waits until something can be received, and pushes a rest on meanwhile. 0 or -errno. */
static int wait_readable(struct connection *c, int64_t deadline)
{
    for (;;) {
        struct pollfd fd = {.fd = c->e.fd, .events = POLLIN};
        if (atomic_load(&c->pending) && turn_try(&c->out.turn)) {
            c->out.call = c->in.call;
            push_rest(c, SHOAL_NOW);
            turn_give(&c->out.turn);
            if (atomic_load(&c->pending))
                fd.events |= POLLOUT;
        }
        int rc = endpoint_wait(&fd, 1, deadline);
        if (rc < 0)
            return rc;
        if (fd.revents & ~POLLOUT)
            return 0;
    }
}

/* Receives up to `size` bytes, 1 at least: how many. */
static int64_t take(struct connection *c, void *into, uint64_t size, int64_t deadline)
{
    for (;;) {
        ssize_t n = recv(c->e.fd, into, size, MSG_DONTWAIT);
        if (n > 0)
            return n;
        if (n < 0 && errno == EAGAIN) {
            int rc = wait_readable(c, deadline);
            if (rc)
                return rc;
        } else if (n < 0 && errno != EINTR) {
            return failed(c, c->in.call);
        } else if (!n && endpoint_closed(&c->e)) {
            return failed(c, c->in.call);
        } else if (!n && !c->in.have) {
            return fail(-EPIPE, "%s: the peer has closed its end", c->in.call);
        } else if (!n) {
            return fail(-EPIPE, "%s: the peer has closed its end in the middle of a message",
                        c->in.call);
        }
    }
}

/* With the turn. The length of the next message. */
static int learn_length(struct connection *c, int64_t deadline)
{
    static const unsigned char ones[SHORT] = {0xff, 0xff, 0xff, 0xff};
    if (c->in.broken == -EPIPE)
        return fail(-EPIPE,
                    "%s: a part of a message was lost, or another thread of the parent was "
                    "receiving when it forked this process",
                    c->in.call);
    while (!c->in.known) {
        unsigned need = c->in.have >= SHORT && !memcmp(c->in.header, ones, SHORT) ? LONG : SHORT;
        if (c->in.have < need) {
            int64_t n = take(c, c->in.header + c->in.have, need - c->in.have, deadline);
            if (n < 0)
                return (int)n;
            c->in.have += (unsigned)n;
            continue;
        }
        c->in.size = 0;
        for (unsigned i = need == LONG ? SHORT : 0; i < need; i++)
            c->in.size = c->in.size << 8 | c->in.header[i];
        if (need == SHORT && c->in.size > INT32_MAX)
            c->in.broken = -EPROTO;
        c->in.known = true;
    }
    if (c->in.broken)
        return fail(-EPROTO, "%s: not a message: its length is %d", c->in.call,
                    (int)(uint32_t)c->in.size);
    return 0;
}

/* The message is no longer the next one. */
static void done(struct connection *c)
{
    c->in.known = false;
    c->in.have = 0;
    c->in.body = NULL;
    c->in.room = c->in.got = 0;
}

/* The length of the next message, which is within the limit. */
static int next_length(struct connection *c, size_t *size, int64_t deadline)
{
    int rc = learn_length(c, deadline);
    if (rc)
        return rc;
    size_t most = atomic_load(&c->most);
    if (!most)
        most = PTRDIFF_MAX - 1; /* room for a zero byte */
    if (c->in.size <= most)
        return 0;
    *size = c->in.size > SIZE_MAX ? SIZE_MAX : (size_t)c->in.size;
    return fail(-EMSGSIZE, "%s: a message of %llu bytes, beyond the limit of %zu", c->in.call,
                (unsigned long long)c->in.size, most);
}

/* Receives into in.body, which grows with what has come. */
static int fill_body(struct connection *c, int64_t deadline)
{
    while (!c->in.body || c->in.got < c->in.size) {
        if (!c->in.body || c->in.got == c->in.room) {
            uint64_t room = c->in.room * 2 > STEP ? c->in.room * 2 : STEP;
            if (room > c->in.size)
                room = c->in.size;
            unsigned char *body = realloc(c->in.body, (size_t)room + 1);
            if (!body)
                return fail(-ENOMEM, "%s: no memory for a message of %llu bytes", c->in.call,
                            (unsigned long long)c->in.size);
            c->in.body = body;
            c->in.room = room;
            continue;
        }
        int64_t n = take(c, c->in.body + c->in.got, c->in.room - c->in.got, deadline);
        if (n < 0)
            return (int)n;
        c->in.got += (uint64_t)n;
    }
    return 0;
}

static int recv_whole(struct connection *c, void **ret, size_t *size, int64_t deadline)
{
    int rc = next_length(c, size, deadline);
    if (!rc)
        rc = fill_body(c, deadline);
    if (rc)
        return rc;
    c->in.body[c->in.size] = 0;
    *ret = c->in.body;
    *size = (size_t)c->in.size;
    done(c);
    return 0;
}

static int recv_decoded(struct connection *c, shoal_any **ret, int64_t deadline)
{
    size_t size;
    int rc = next_length(c, &size, deadline);
    if (!rc)
        rc = fill_body(c, deadline);
    if (rc)
        return rc;
    rc = shoal_any_decode(ret, c->in.body, (size_t)c->in.size, NULL);
    if (rc != -ENOMEM) {
        free(c->in.body);
        done(c);
    }
    return rc ? fail_in(rc, "shoal_connection_recv") : 0;
}

/* Straight into the caller's buffer; what has come when that ends early is kept. */
static int fill_buffer(struct connection *c, unsigned char *buffer, int64_t deadline)
{
    uint64_t got = 0;
    int64_t n = 0;
    while (got < c->in.size && n >= 0) {
        n = take(c, buffer + got, c->in.size - got, deadline);
        if (n > 0)
            got += (uint64_t)n;
    }
    if (n >= 0 || !got)
        return n < 0 ? (int)n : 0;
    c->in.body = malloc((size_t)got + 1);
    if (!c->in.body) {
        c->in.broken = -EPIPE;
        return fail(-ENOMEM, "%s: no memory to keep what has come of a message", c->in.call);
    }
    memcpy(c->in.body, buffer, (size_t)got);
    c->in.got = c->in.room = got;
    return (int)n;
}

static int recv_into(struct connection *c, void *buffer, size_t capacity, size_t *size,
                     int64_t deadline)
{
    int rc = next_length(c, size, deadline);
    if (rc)
        return rc;
    if (c->in.size > capacity) {
        *size = (size_t)c->in.size;
        return fail(-EMSGSIZE, "%s: a message of %zu bytes, room for %zu", c->in.call, *size,
                    capacity);
    }
    rc = c->in.body ? fill_body(c, deadline) : fill_buffer(c, buffer, deadline);
    if (rc)
        return rc;
    if (c->in.body && c->in.size)
        memcpy(buffer, c->in.body, (size_t)c->in.size);
    free(c->in.body);
    *size = (size_t)c->in.size;
    done(c);
    return 0;
}

static int socket_recv(shoal_connection *handle, void **ret, size_t *size, int64_t deadline)
{
    int rc;
    struct connection *c = enter_turn(handle, "shoal_connection_recv_bytes", IN, deadline, &rc);
    return c ? leave_turn(c, IN, recv_whole(c, ret, size, deadline)) : rc;
}

static int socket_recv_any(shoal_connection *handle, shoal_any **ret, int64_t deadline)
{
    int rc;
    struct connection *c = enter_turn(handle, "shoal_connection_recv", IN, deadline, &rc);
    return c ? leave_turn(c, IN, recv_decoded(c, ret, deadline)) : rc;
}

int socket_recv_into_as(shoal_connection *handle, void *buffer, size_t capacity, size_t *size,
                        int64_t deadline, const char *call)
{
    int rc;
    struct connection *c = enter_turn(handle, call, IN, deadline, &rc);
    return c ? leave_turn(c, IN, recv_into(c, buffer, capacity, size, deadline)) : rc;
}

static int socket_recv_into(shoal_connection *handle, void *buffer, size_t capacity, size_t *size,
                            int64_t deadline)
{
    return socket_recv_into_as(handle, buffer, capacity, size, deadline,
                               "shoal_connection_recv_bytes_into");
}

static int socket_poll(shoal_connection *handle, int64_t deadline)
{
    int rc;
    struct connection *c = enter_turn(handle, "shoal_connection_poll", IN, deadline, &rc);
    if (!c)
        return rc;
    if (!c->in.known && !c->in.broken)
        rc = wait_readable(c, deadline);
    if (endpoint_closed(&c->e))
        rc = failed(c, c->in.call);
    return leave_turn(c, IN, rc);
}

/* ---- the rest ---- */

static int socket_set_limit(shoal_connection *handle, size_t most)
{
    int rc;
    struct connection *c = enter(handle, "shoal_connection_set_limit", &rc);
    if (!c)
        return rc;
    atomic_store(&c->most, most);
    endpoint_leave(&c->e);
    return 0;
}

static int socket_fileno(shoal_connection *handle)
{
    int rc;
    struct connection *c = enter(handle, "shoal_connection_fileno", &rc);
    if (!c)
        return rc;
    rc = c->e.fd;
    endpoint_leave(&c->e);
    return rc;
}

bool socket_pending(shoal_connection *handle)
{
    int rc;
    struct connection *c = enter(handle, "shoal_wait", &rc);
    bool pending = c && atomic_load(&c->pending);
    if (c)
        endpoint_leave(&c->e);
    return pending;
}

static void socket_close(shoal_connection *handle)
{
    int rc;
    struct connection *c = handle ? enter(handle, "shoal_connection_close", &rc) : NULL;
    if (!c)
        return;
    if (atomic_load(&c->pending) && turn_try(&c->out.turn)) {
        c->out.call = "shoal_connection_close";
        push_rest(c, SHOAL_NOW);
        turn_give(&c->out.turn);
    }
    endpoint_leave(&c->e);
    endpoint_close(handle, ENDPOINT_CONNECTION);
}

const struct connection_verbs socket_verbs = {
    .send_any = socket_send_any,
    .recv_any = socket_recv_any,
    .send = socket_send,
    .flush = socket_flush,
    .recv = socket_recv,
    .recv_into = socket_recv_into,
    .poll = socket_poll,
    .set_limit = socket_set_limit,
    .fileno = socket_fileno,
    .close = socket_close,
};
