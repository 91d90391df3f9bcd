/* shoal/pipe.h - connections: whole messages between two ends; pipes, listeners and clients.
 *
 * A connection sends and receives messages: each arrives whole or not at all, in order. A pipe is
 * two of them, for the processes of one family. Listeners and clients make connections of stream
 * sockets. They speak exactly what Python's multiprocessing.connection speaks, so that either side
 * may be a Python program that has nothing but its standard library.
 *
 *     listener:  shoal_listener_create(&l, &(shoal_address){.host = "127.0.0.1", .port = 6000},
 *                    &(shoal_listener_options){.authkey = "secret", .authkey_size = 6});
 *                while (shoal_listener_accept(l, &c, SHOAL_FOREVER) < 0)
 *                    ...                          a peer without the key, say; the next one may have it
 *     client:    shoal_client(&c, &(shoal_address){.host = "127.0.0.1", .port = 6000},
 *                    &(shoal_client_options){.authkey = "secret", .authkey_size = 6}, deadline);
 *     both:      shoal_connection_send(c, any, deadline);       Python's send and recv
 *                shoal_connection_recv(c, &any, deadline);      … shoal_any_free(any);
 *                shoal_connection_send_bytes(c, "hello", 5, deadline);
 *                shoal_connection_recv_bytes(c, &bytes, &size, deadline); … free(bytes);
 *                shoal_connection_close(c);
 *
 * Without a key in the options it is the family's (process.h), which nobody else has.
 *
 * Deadlines are absolute, see error.h: -EAGAIN if SHOAL_NOW was in vain, -ETIMEDOUT, -EINTR. A
 * message that had come in part by then is kept and completed by the next call.
 *
 * Several threads may use one connection at once: each message is sent, and each is received, by one
 * of them. No call may be made in a signal handler. After a fork the child has a copy of every
 * connection and listener; both copies are the same stream, so one side closes its own; and a peer
 * sees the end only when all copies are closed. Where the parent had a message under way on a socket, or
 * another of its threads was in a call there, the child cannot go on in that direction: -EPIPE. (Not so
 * with a pipe.)
 */
#ifndef SHOAL_PIPE_H
#define SHOAL_PIPE_H

#include <shoal/any.h>
#include <shoal/error.h>
#include <shoal/memory.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- connection ---- */

typedef struct shoal_connection shoal_connection;

/* send: the message is under way and counts as sent. Its beginning had left when the deadline
 * passed; the rest is kept, and leaves with the next call on this connection. */
#define SHOAL_UNDER_WAY 2

/* Sends an any as one message: as send_bytes, of what shoal_any_encode makes of it. The any stays the
 * caller's. Through a pipe the objects in it travel too, as through a queue (shoal_queue_put); they end
 * with the end that would have received them. -EINVAL: NULL; on a socket there is an object in it,
 * which means nothing beyond its family. -EMSGSIZE: of a pipe, also if there are more than
 * SHOAL_ANY_NODES values in it, which no recv would decode. */
SHOAL_API int shoal_connection_send(shoal_connection *connection, const shoal_any *any,
                                    int64_t deadline);
/* Receives a message as an any, the caller's: as recv_bytes and shoal_any_decode with its default
 * limits. -EBADMSG: what it sent is not an any (broken, another class, too much of it): that message
 * is gone, the next one may be received. -ENOMEM: it stays the next one. */
SHOAL_API int shoal_connection_recv(shoal_connection *connection, shoal_any **ret,
                                    int64_t deadline);

/* Sends `size` bytes as one message. 0: all of it is in the hands of the kernel, or of the peer.
 * SHOAL_UNDER_WAY. -EAGAIN, -ETIMEDOUT, -EINTR: nothing of it was sent. -EPIPE: the peer is gone.
 * -ENOMEM: so it is too when a socket has taken the beginning and there is no memory to keep the rest;
 * from then on nothing can be sent (-EPIPE). Of a pipe also, as of a queue: -EMSGSIZE: longer than region
 * or quota will ever have room for; -ENOSPC: 12,482 threads that live have sent that way. Never raises
 * SIGPIPE. Once its beginning has left, signal handlers do not end the call; with SHOAL_FOREVER it is all
 * sent then. */
SHOAL_API int shoal_connection_send_bytes(shoal_connection *connection, const void *bytes,
                                          size_t size, int64_t deadline);
/* Waits until nothing is under way: 0, -EAGAIN, -ETIMEDOUT, -EINTR, -EPIPE. */
SHOAL_API int shoal_connection_flush(shoal_connection *connection, int64_t deadline);

/* Receives a message: *ret is to be freed with free and is never NULL; behind the *size bytes lies a
 * zero byte that is not counted. -EPIPE: the peer is gone and everything it had sent was received.
 * -EMSGSIZE: the message is longer than the limit, *size tells how long; it stays the next one: raise
 * the limit, or close. -EPROTO: what the peer sent is no message; no more can be received. -ENOMEM:
 * it stays the next one. Memory is taken as the bytes come, not as their announced number says. */
SHOAL_API int shoal_connection_recv_bytes(shoal_connection *connection, void **ret, size_t *size,
                                          int64_t deadline);
/* Receives a message into `capacity` bytes at buffer, which is undefined after a failure. The same,
 * and -EMSGSIZE also when it is longer than capacity: *size tells how long; it stays the next
 * message, for a larger buffer or recv_bytes. */
SHOAL_API int shoal_connection_recv_bytes_into(shoal_connection *connection, void *buffer,
                                               size_t capacity, size_t *size, int64_t deadline);

/* Waits until there is something to receive, the end included: 0, -EAGAIN, -ETIMEDOUT, -EINTR. It
 * may be a part of a message, for which recv would still wait. */
SHOAL_API int shoal_connection_poll(shoal_connection *connection, int64_t deadline);
/* The longest message that is received; 0, as in the beginning: any that fits into memory. */
SHOAL_API int shoal_connection_set_limit(shoal_connection *connection, size_t most);
/* The descriptor, which stays the connection's: to wait on. Readable when poll would return 0, but
 * after -ENOMEM from recv_bytes, whose message may be here already. Of a pipe's end it is made by the
 * first call, and may be readable for nothing; what shoal_queue_fileno says holds for it, recv or poll for
 * get; -EBADF: it only sends. */
SHOAL_API int shoal_connection_fileno(shoal_connection *connection);
/* Makes a connection of a connected stream socket, which belongs to it on success. -ENOTSOCK,
 * -EINVAL: of another type. -EBADF, -ENOMEM. */
SHOAL_API int shoal_connection_from_fd(shoal_connection **ret, int fd);
/* Takes NULL; returns NULL. What is under way is dropped if the kernel does not take it at once:
 * flush before. A call of another thread on it ends with -EBADF: at once if the process did not fork
 * since the connection was made, otherwise when its wait ends. */
SHOAL_API shoal_connection *shoal_connection_close(shoal_connection *connection);

/* ---- pipe ---- */

/* The two ends of a pipe, each a connection, which the process's children have too. Nothing but the
 * region lies between them: no descriptor, no thread, no system call where nobody waits. Several
 * processes and threads may have one end; each message is received by one of them.
 *   The peer is gone when nobody has the other end open any more: all who had it have closed it, or
 * have ended, however. So whoever needs one end closes the other, in parent and child, as with any
 * pipe. What was sent before is still received, then -EPIPE; who sends gets -EPIPE. Of a peer that
 * was killed who only sends may learn some sends later, 64 at most: nobody but who waits is told.
 *   A message is there as a whole when its send returns, whatever dies next; killed inside, it was
 * sent or nothing has happened. A send waits while more than `room` bytes of the calling thread's
 * are on their way, or the region is full. Unlike a socket's: SHOAL_UNDER_WAY never comes; recv's
 * -ENOMEM takes the message along; set_limit is for all who have that end; and no other thread of the
 * process may be in a call on an end when it is closed (memory.h). */
#define SHOAL_ONE_WAY 1u /* the first end only receives, the second only sends; otherwise -EBADF */

typedef struct shoal_pipe_options {
    unsigned flags;   /* SHOAL_ONE_WAY or 0: both send and receive */
    const char *name; /* at most 47 bytes; NULL: none */
    /* bytes that each thread may have on their way, about; 0: 1 MiB; at least 16 KiB. A longer message
     * is sent when nothing else is */
    size_t room;
} shoal_pipe_options;

/* options may be NULL. 0, -EINVAL, -ENOMEM. */
SHOAL_API int shoal_pipe(shoal_connection **first, shoal_connection **second,
                         const shoal_pipe_options *options);
/* To hand an end to another process of the family, which opens it; keep it open until it is open
 * there, or send it in an any (shoal_any_object). As shoal_memory_reference and shoal_memory_open;
 * -ENOTSUP: it is a socket's. */
SHOAL_API int shoal_connection_reference(const shoal_connection *connection, shoal_reference *ret);
SHOAL_API int shoal_connection_open(shoal_connection **ret, const shoal_reference *reference);

/* ---- where ---- */

/* {.path = "/run/x"}: a Unix socket. {.path = "\0x", .path_size = 2}: an abstract one (Linux): the
 * name begins with a zero byte, and its length is told. {.host = "127.0.0.1", .port = 6000}: TCP;
 * host is a number of IPv4 or IPv6, or a name, which libc looks up, heeding no deadline (IPv4 first,
 * as Python's standard library does). */
typedef struct shoal_address {
    const char *path;
    size_t path_size; /* 0: up to the zero byte */
    const char *host;
    unsigned port; /* 0 for a listener: any that is free */
} shoal_address;

#define SHOAL_NO_AUTHKEY 1u /* in flags: neither side proves anything */

/* Authentication: each side proves that it has the key, without telling it, before anything else is
 * sent or received. The key is `authkey_size` bytes at authkey (1 or more); NULL: that of the calling
 * process (process.h), which its family shares. */

/* ---- listener ---- */

typedef struct shoal_listener shoal_listener;

typedef struct shoal_listener_options {
    unsigned flags;
    const void *authkey;
    size_t authkey_size;
    int backlog;      /* peers that the kernel lets wait for accept; 0: 128 */
    double handshake; /* seconds that a peer has to authenticate itself; 0: 10 */
    unsigned pending; /* peers that may be at it at once; 0: 64 */
} shoal_listener_options;

/* Listens at address; NULL: a Unix socket in a directory of its own that only this user may enter.
 * options may be NULL. -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, … as bind has them; -EHOSTUNREACH: no
 * such name; -ENAMETOOLONG: a path has at most 107 bytes; -ENOTSUP: built without libcrypto, and not
 * SHOAL_NO_AUTHKEY. */
SHOAL_API int shoal_listener_create(shoal_listener **ret, const shoal_address *address,
                                    const shoal_listener_options *options);
/* The next peer that has authenticated itself. Or what was wrong with one that did not; the listener
 * is as good as before, so call again:
 *   -EACCES        it has another key
 *   -EBADMSG       what it sent is not the protocol, or too long for it
 *   -ECONNABORTED  it closed its end before it was through
 *   -ETIME         it had not got through in its time, or was the oldest of too many
 * Peers authenticate themselves side by side: one that stalls keeps nobody waiting. But they get on
 * only while accept is being called. -EMFILE, -ENFILE, -ENOMEM: no room for another peer now. */
SHOAL_API int shoal_listener_accept(shoal_listener *listener, shoal_connection **ret,
                                    int64_t deadline);
/* Where it listens, the actual port included; the texts are the listener's, valid until its close. */
SHOAL_API int shoal_listener_address(shoal_listener *listener, shoal_address *ret);
/* The descriptor, which stays the listener's: readable when a peer calls. Of peers that are
 * authenticating themselves it tells nothing. */
SHOAL_API int shoal_listener_fileno(shoal_listener *listener);
/* Takes NULL; returns NULL. Peers that had not got through are dropped; a call of another thread ends
 * as for connections. The socket's path is removed by the process that made the listener, here or at
 * its exit. */
SHOAL_API shoal_listener *shoal_listener_close(shoal_listener *listener);

/* ---- client ---- */

typedef struct shoal_client_options {
    unsigned flags;
    const void *authkey;
    size_t authkey_size;
} shoal_client_options;

/* Connects to the listener at address, and both authenticate themselves. options may be NULL.
 *   -EAGAIN, -ETIMEDOUT, -EINTR   there is no connection: it was given up
 *   -ECONNREFUSED, -ENOENT, …     nobody listens there; -EHOSTUNREACH: no such name
 *   -EACCES                       one side does not take the other's key (or the path is not to be entered)
 *   -EBADMSG                      what it sent is not the protocol
 *   -EPIPE                        it closed its end before both were through */
SHOAL_API int shoal_client(shoal_connection **ret, const shoal_address *address,
                           const shoal_client_options *options, int64_t deadline);

#ifdef __cplusplus
}
#endif
#endif
