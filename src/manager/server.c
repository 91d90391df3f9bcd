/* The server's loop. One thread waits on all connections and never in any one of them.
 *
 * A connection is in one of these states, and is watched for one thing only:
 *   it proves the key          for what the handshake waits for, until its time is over
 *   nothing is under way       for a request. One is taken at a time; then the others have their turn
 *   its answer is under way    for room. It is not read meanwhile, so who asks and never reads
 *                              costs one request and one answer, and waits for itself
 *   a thread works for it      for its end, which ends what the thread waits in
 *
 * What a connection has of an object (a lock, permits) is its own (holder.c).
 *
 * Nothing is freed inside a round of events, as an event may still name it.
 */
#include "manager/manager.h"
#include "message/any.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS = 64,
    ACCEPTS = 16,           /* at a time */
    KICK = 5,               /* ms: again */
    DEAF = 100,             /* ms: until the listener is heard again */
    LAST_WORD = 1000000000, /* ns that the answer to a shutdown may take */
};

static void session_end(struct server *server, struct session *s);

/* ---- watching ---- */

static void watch(struct server *server, struct session *s, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = s};
    if (s->watched == events)
        return;
    epoll_ctl(server->epoll, s->watched ? events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL : EPOLL_CTL_ADD,
              s->fd, &event);
    s->watched = events;
}

static int watch_other(struct server *server, struct watch *w, int fd, enum watch_kind kind)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = w};
    w->kind = kind;
    return epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static void hear(struct server *server, bool hears)
{
    struct epoll_event event = {.events = hears ? EPOLLIN : 0, .data.ptr = &server->listening};
    if (server->deaf == hears)
        epoll_ctl(server->epoll, EPOLL_CTL_MOD, shoal_listener_fileno(server->listener), &event);
    server->deaf = !hears;
}

/* ---- sessions: beginning and end ---- */

static void link_handshaking(struct server *server, struct session *s)
{
    s->previous = server->last;
    *(server->last ? &server->last->next : &server->first) = s;
    server->last = s;
}

static void unlink_session(struct server *server, struct session *s)
{
    bool shaking = s->state == SESSION_HANDSHAKE;
    if (s->previous)
        s->previous->next = s->next;
    else
        *(shaking ? &server->first : &server->sessions) = s->next;
    if (s->next)
        s->next->previous = s->previous;
    else if (shaking)
        server->last = s->previous;
    s->previous = s->next = NULL;
}

static void link_session(struct server *server, struct session *s)
{
    s->next = server->sessions;
    if (s->next)
        s->next->previous = s;
    server->sessions = s;
}

/* Gives back what it has, or leaves it to its client (holder.c). */
static void leave_holder(struct server *server, struct session *s)
{
    holder_leave(server, &s->holder, s->thread && !MUTANT(315) ? NULL : s->client);
}

static void session_end(struct server *server, struct session *s)
{
    if (s->dead || s->gone)
        return;
    watch(server, s, 0);
    if (s->call) { /* comes here again when the call has returned */
        s->gone = true;
        server->gone++;
        if (!s->holder.busy) /* its client's next connection may be here soon */
            leave_holder(server, s);
        threads_kick(server->threads);
        return;
    }
    session_return(server, s);
    leave_holder(server, s);
    client_leave(server, s->client);
    unlink_session(server, s);
    socket_verbs.close(s->connection);
    free(s->out);
    s->dead = true;
    s->next = server->graves;
    server->graves = s;
    server->n--;
    if (server->deaf)
        hear(server, true);
}

static void bury(struct server *server)
{
    while (server->graves) {
        struct session *s = server->graves;
        server->graves = s->next;
        free(s);
    }
}

/* ---- callers ---- */

struct session *session_begin(struct server *server, int fd)
{
    struct session *s = calloc(1, sizeof *s);
    shoal_connection *c = s ? socket_new(fd, true) : NULL;
    if (!c) {
        free(s);
        close(fd);
        return NULL;
    }
    if (server->manager->address.host)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    s->watch.kind = WATCH_SESSION;
    s->connection = c;
    s->fd = fd;
    s->deadline = os_now() + server->handshake;
    handshake_begin(&s->handshake, &server->key, true);
    link_handshaking(server, s);
    server->n++;
    watch(server, s, EPOLLOUT);
    return s;
}

static void welcome(struct server *server)
{
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(shoal_listener_fileno(server->listener), NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && server->n >= server->most) {
            if (server->first) { /* the oldest that has not proved anything yet */
                session_end(server, server->first);
            } else {
                close(fd);
                continue;
            }
        }
        if (fd >= 0 && session_begin(server, fd))
            continue;
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
            if (server->first)
                session_end(server, server->first);
            else
                hear(server, false);
        }
        if (fd < 0 && (errno == EAGAIN || server->deaf))
            return;
    }
}

void session_proved(struct server *server, struct session *s)
{
    unlink_session(server, s);
    s->state = SESSION_ASKS;
    link_session(server, s);
    socket_ready(s->connection);
    shoal_connection_set_limit(s->connection, server->message);
    if (!server->manager->address.host)
        s->client = client_of(server, s->fd);
    watch(server, s, EPOLLIN);
}

static void authenticate(struct server *server, struct session *s)
{
    short events = 0;
    int rc = handshake_step(&s->handshake, s->connection, &events);
    /* Python's clients say by two messages that they take our proof, and what they want. By TCP the second waits for
     * the first one's acknowledgement, which the kernel would put off for 40 ms. */
    if (server->manager->address.host)
        setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
    if (rc == -EAGAIN) {
        watch(server, s, events & POLLOUT ? EPOLLOUT : EPOLLIN);
        return;
    }
    if (rc) {
        session_end(server, s);
        return;
    }
    session_proved(server, s);
}

static void drop_the_late(struct server *server)
{
    int64_t now = server->first ? os_now() : 0;
    while (server->first && server->first->deadline <= now)
        session_end(server, server->first);
}

/* ---- answers ---- */

static void answered(struct server *server, struct session *s)
{
    if (s->last)
        server->stop = true;
    if (s->gives)
        local_give(s);
    s->gives = false;
    if (s->state == SESSION_OVER)
        session_end(server, s);
    else
        watch(server, s, EPOLLIN);
}

/* What is to be sent is the session's from now on. */
static void send_bytes(struct server *server, struct session *s, void *bytes, size_t size)
{
    int64_t deadline = s->last ? os_now() + LAST_WORD : SHOAL_NOW;
    int rc = socket_send_as(s->connection, bytes, size, deadline, "an answer");
    if (rc == -EAGAIN) {
        s->out = bytes;
        s->out_size = size;
        watch(server, s, EPOLLOUT);
        return;
    }
    free(bytes);
    if (rc == SHOAL_UNDER_WAY)
        watch(server, s, EPOLLOUT);
    else if (rc && !s->last)
        session_end(server, s);
    else
        answered(server, s);
}

static void send_rest(struct server *server, struct session *s)
{
    if (s->out) {
        void *out = s->out;
        s->out = NULL;
        send_bytes(server, s, out, s->out_size);
        return;
    }
    int rc = socket_flush_as(s->connection, SHOAL_NOW, "an answer");
    if (!rc)
        answered(server, s);
    else if (rc != -EAGAIN)
        session_end(server, s);
}

static void answer(struct server *server, struct session *s, const char *kind, shoal_any *value)
{
    void *bytes;
    size_t size;
    int rc = answer_write(kind, request_export(server, s, value), &bytes, &size);
    if (rc)
        rc = answer_write("#UNSERIALIZABLE", shoal_any_str(fail_sentence()), &bytes, &size);
    if (rc)
        session_end(server, s); /* no memory for so much as that */
    else
        send_bytes(server, s, bytes, size);
}

/* What went wrong, in words, as the other side raises it. */
static void complain(struct server *server, struct session *s)
{
    char text[sizeof shoal_thread.detail + 1];
    int n = snprintf(text, sizeof text, "%s\n", fail_sentence());
    shoal_any *any = shoal_any_str_sized(text, (size_t)n);
    answer(server, s, "#TRACEBACK", any ? any : shoal_any_str("an error\n"));
}

/* ---- calls ---- */

static void call_over(struct server *server, struct session *s, shoal_call *call)
{
    shoal_any *value;
    const char *kind = call_outcome(call, &value);
    const struct manager_type *makes = call->method->makes;
    if (makes && call->result >= 0 && !call->raised) {
        void *made = NULL;
        call->ret = value;
        int rc = makes->create(&made, call);
        value = rc ? NULL : request_proxy(server, s, makes, made);
        kind = "#PROXY";
        if (!value) {
            kind = "#ERROR";
            value = call_exception(-ENOMEM);
        }
    }
    shoal_any_free(call->request);
    answer(server, s, kind, value);
}

static void call_in_thread(struct server *server, struct session *s, const shoal_call *call)
{
    shoal_call *copy = malloc(sizeof *copy);
    int rc = copy ? 0 : fail(-ENOMEM, "no memory for a call");
    if (copy) {
        *copy = *call;
        copy->tries = false;
        s->call = copy;
        if (copy->holder)
            copy->holder->busy = true;
        entry_use(copy->entry);
        rc = threads_give(server->threads, copy);
    }
    if (!rc) {
        watch(server, s, EPOLLRDHUP);
        return;
    }
    if (copy)
        entry_unuse(&server->objects, copy->entry);
    s->call = NULL;
    if (call->holder)
        call->holder->busy = false;
    free(copy);
    shoal_any_free(call->request);
    answer(server, s, "#ERROR", call_exception(rc));
}

static void call_method(struct server *server, struct session *s, const struct request *request)
{
    shoal_call call;
    int rc = request_call(server, s, request, &call);
    if (rc) {
        shoal_any_free(request->whole);
        complain(server, s);
        return;
    }
    if (!(call.method->flags & METHOD_WAITS)) {
        entry_use(call.entry); /* a method may give up the last reference */
        call_run(&call);
        struct entry *e = call.entry;
        if (call_would_wait(&call, call.result)) {
            call_in_thread(server, s, &call);
        } else {
            call_over(server, s, &call);
        }
        entry_unuse(&server->objects, e);
    } else {
        call_in_thread(server, s, &call);
    }
}

static void calls_are_over(struct server *server)
{
    uint64_t count;
    shoal_call *call;
    if (read(threads_fd(server->threads), &count, sizeof count) < 0)
        return;
    while ((call = threads_take(server->threads))) {
        struct session *s = call->session;
        s->call = NULL;
        if (call->holder)
            call->holder->busy = false;
        if (s->gone) {
            shoal_any_free(call->ret);
            shoal_any_free(call->request);
            s->gone = false;
            server->gone--;
            session_end(server, s);
        } else {
            call_over(server, s, call);
        }
        entry_unuse(&server->objects, call->entry);
        free(call);
    }
}

/* ---- requests ---- */

static void serve_request(struct server *server, struct session *s, const struct request *request)
{
    shoal_any *ret;
    if (s->state == SESSION_ASKS)
        s->state = SESSION_OVER; /* unless it is to stream */
    int rc = request_serve(server, s, request, &ret);
    shoal_any_free(request->whole);
    if (rc)
        complain(server, s);
    else
        answer(server, s, "#RETURN", ret);
}

static void take_request(struct server *server, struct session *s)
{
    void *bytes;
    size_t size;
    struct request request;
    int rc = shoal_connection_recv_bytes(s->connection, &bytes, &size, SHOAL_NOW);
    if (rc == -EAGAIN)
        return;
    if (rc) { /* too long, also: what follows is not to be told from it */
        session_end(server, s);
        return;
    }
    rc = request_read(&request, bytes, size);
    free(bytes);
    if (!rc && request_localize(server, &request)) {
        shoal_any_free(request.whole);
        rc = fail(-ENOMEM, "no memory for a request");
    }
    session_return(server, s); /* by now its client refers to it */
    if (rc) {
        if (s->state == SESSION_ASKS)
            s->state = SESSION_OVER;
        complain(server, s);
    } else if (s->state == SESSION_ASKS || request.ident->kind == SHOAL_ANY_NONE) {
        serve_request(server, s, &request);
    } else {
        call_method(server, s, &request);
    }
}

static void session_event(struct server *server, struct session *s, uint32_t events)
{
    if (s->dead || s->gone)
        return;
    if (s->state == SESSION_HANDSHAKE)
        authenticate(server, s);
    else if (s->call) {
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            session_end(server, s);
    } else if (s->watched & EPOLLOUT)
        send_rest(server, s);
    else
        take_request(server, s);
}

/* ---- the loop ---- */

static int patience(const struct server *server)
{
    if (server->gone)
        return KICK;
    if (server->deaf)
        return DEAF;
    if (!server->first)
        return -1;
    int64_t left = server->first->deadline - os_now();
    return left <= 0 ? 0 : (int)(left / 1000000) + 1;
}

int loop_begin(struct server *server)
{
    if (server->threads)
        return 0;
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll < 0)
        return fail(-errno, "a manager: epoll: %s", strerror(errno));
    int rc = threads_create(&server->threads, server->manager->options.waiting);
    if (!rc)
        rc = watch_other(server, &server->listening, shoal_listener_fileno(server->listener),
                         WATCH_LISTENER);
    if (!rc)
        rc = watch_other(server, &server->finished, threads_fd(server->threads), WATCH_DONE);
    return rc;
}

int loop_round(struct server *server)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(server->epoll, events, EVENTS, patience(server));
    if (n < 0)
        return errno == EINTR ? in_vain(-EINTR) : fail(-errno, "epoll: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct watch *w = events[i].data.ptr;
        switch (w->kind) {
        case WATCH_LISTENER: welcome(server); break;
        case WATCH_DONE: calls_are_over(server); break;
        case WATCH_CLIENT: client_ended(server, (struct client *)w); break;
        case WATCH_SESSION: session_event(server, (struct session *)w, events[i].events); break;
        }
    }
    drop_the_late(server);
    if (server->gone)
        threads_kick(server->threads);
    if (server->deaf && !n)
        hear(server, true);
    bury(server);
    return 0;
}

int loop_run(struct server *server)
{
    int rc = loop_begin(server);
    while (!rc && !server->stop)
        rc = loop_round(server);
    return rc;
}

void loop_end(struct server *server)
{
    for (struct session *s = server->sessions, *next; s; s = next) {
        next = s->next;
        session_end(server, s);
    }
    while (server->first)
        session_end(server, server->first);
    while (server->gone) {
        struct pollfd fd = {.fd = threads_fd(server->threads), .events = POLLIN};
        threads_kick(server->threads);
        if (poll(&fd, 1, KICK) > 0)
            calls_are_over(server);
    }
    bury(server);
    while (server->clients) {
        server->clients->connections = 0;
        client_ended(server, server->clients);
    }
    objects_free(&server->objects);
    threads_free(server->threads);
    server->threads = NULL;
    if (server->epoll >= 0)
        close(server->epoll);
    server->epoll = -1;
}
