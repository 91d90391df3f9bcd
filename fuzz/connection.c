/* What a peer sends: the framing of messages, and the handshake. The input is
 *
 *   byte 0  what is tried: messages, a listener's side of the handshake, a client's side
 *   byte 1  messages: the size of the pieces that they come in, and of the buffer; handshake: for how many
 *           steps the peer does all right, before it sends what follows
 *   the rest, what the peer sends
 *
 * Messages must be what a plain reading of the bytes says. Nobody may get through the handshake who has
 * not proved that it has the key.
 */
#include "message/authenticate.h"
#include <shoal/shoal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void pair(int fds[2], shoal_connection **c)
{
    must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    *c = socket_new(fds[0], false);
    must(*c);
}

/* Where it is not taken at once, the rest stays away. */
static size_t put(int fd, const uint8_t *bytes, size_t size)
{
    ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? 0 : (size_t)n;
}

/* ---- messages ---- */

/* Whether a whole message lies at *bytes: takes it out. */
static bool plain_message(const uint8_t **bytes, size_t *size, const uint8_t **ret, size_t *length)
{
    uint64_t n = 0;
    size_t head = *size >= 4 && !memcmp(*bytes, "\377\377\377\377", 4) ? 12 : 4;
    if (*size < head)
        return false;
    for (size_t i = head == 12 ? 4 : 0; i < head; i++)
        n = n << 8 | (*bytes)[i];
    if ((head == 4 && n > INT32_MAX) || n > *size - head)
        return false;
    *ret = *bytes + head;
    *length = (size_t)n;
    *bytes += head + n;
    *size -= head + (size_t)n;
    return true;
}

/* Receives what is there: what comes must be what the plain reading says. */
static void take_all(shoal_connection *c, const uint8_t **bytes, size_t *size, size_t capacity)
{
    uint8_t buffer[64];
    const uint8_t *wanted;
    for (unsigned turn = 0;; turn++) {
        void *got = buffer;
        size_t length, wanted_length;
        int rc = turn % 2
                     ? shoal_connection_recv_bytes_into(c, buffer, capacity, &length, SHOAL_NOW)
                     : shoal_connection_recv_bytes(c, &got, &length, SHOAL_NOW);
        if (rc == -EMSGSIZE && turn % 2) {
            must(length > capacity);
            continue;
        }
        if (rc) {
            must(rc == -EAGAIN || rc == -EPIPE || rc == -EPROTO || rc == -EMSGSIZE ||
                 rc == -ENOMEM);
            return;
        }
        must(plain_message(bytes, size, &wanted, &wanted_length));
        must(length == wanted_length && (!length || !memcmp(got, wanted, length)));
        if (got != buffer)
            free(got);
    }
}

static void messages(uint8_t option, const uint8_t *bytes, size_t size)
{
    int fds[2];
    shoal_connection *c;
    size_t piece = option / 4 ? option / 4 : size, left = size, sent;
    const uint8_t *rest = bytes;
    pair(fds, &c);
    for (size_t at = 0; at < size; at += sent) {
        sent = put(fds[1], bytes + at, piece < size - at ? piece : size - at);
        take_all(c, &rest, &left, (size_t)(option % 4) * 20);
        if (!sent)
            break; /* what is beyond any limit fills the socket */
    }
    close(fds[1]);
    take_all(c, &rest, &left, 64);
    shoal_connection_close(c);
}

/* ---- the handshake ---- */

static void handshake(bool listener, unsigned steps, const uint8_t *bytes, size_t size)
{
    struct key key = {(unsigned char[]){'k', 'e', 'y'}, 3};
    struct handshake h, right;
    shoal_connection *c, *peer;
    int fds[2], rc = -EAGAIN;
    short events;
    pair(fds, &c);
    int fd = dup(fds[1]);
    peer = socket_new(fds[1], false);
    must(peer && fd >= 0);
    handshake_begin(&h, &key, listener);
    handshake_begin(&right, &key, !listener);
    for (unsigned i = 0; i < steps; i++)
        if (i % 2)
            must(!(rc = handshake_step(&h, c, &events)) || rc == -EAGAIN);
        else
            handshake_step(&right, peer, &events);
    /* The right one has sent its answer; a client does so first. */
    bool proved = listener ? right.stage != HANDSHAKE_ANSWER : right.stage > HANDSHAKE_ANSWER;
    put(fd, bytes, size);
    close(fd);
    shutdown(fds[1], SHUT_WR);
    if (rc)
        rc = handshake_step(&h, c, &events);
    must(!rc || rc == -EACCES || rc == -EBADMSG || rc == -EPIPE);
    must(rc || proved);
    shoal_connection_close(peer);
    shoal_connection_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] % 4 < 2)
        messages(data[1], data + 2, size - 2);
    else if (SHOAL_CRYPTO)
        handshake(data[0] % 4 == 2, data[1] % 8, data + 2, size - 2);
    return 0;
}
