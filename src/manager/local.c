/* Clients that become one of the server's family. What there is beyond the standard library's protocol:
 *
 *     shoal_family (namespace)   ->  (family, None): a byte follows the answer, and with it comes the region's descriptor
 *                                    (family, text): nothing does, and why
 *     shoal_reference (ident)    ->  (family, id, generation) of the region's object behind it, or None
 *
 * The region is everything that the family has, and who maps it is a process of the family, which others look after: they
 * must be able to see whether it lives. So it is given only to who has proved that he has the key, over a Unix socket, to the same user
 * (whom the kernel names), whose processes are numbered as here. A server that does not know the request says
 * so, as Python's does, and the client stays what it is.
 */
#include "manager/manager.h"
#include "message/any.h"
#include "message/endpoint.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control { /* aligned as the kernel's macros want it */
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
};

/* ---- the server ---- */

/* Why the client that asks does not get it; NULL: it does. */
static const char *reason(const struct server *server, const struct session *s,
                          const struct request *request)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    int64_t theirs;
    uint64_t mine = os_pid_namespace();
    if (server->manager->address.host)
        return "the server is reached by TCP";
    if (getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) ||
        (peer.uid != geteuid() && !MUTANT(316)))
        return "the server is another user's";
    if (request->args->items->count != 1 ||
        shoal_any_as_int(&request->args->items->at[0], &theirs) || !mine ||
        (uint64_t)theirs != mine)
        return "the server's processes are of another namespace";
    return region_fd() < 0 ? "the server has closed the region's descriptor" : NULL;
}

int local_offer(const struct server *server, struct session *s, const struct request *request,
                shoal_any **ret)
{
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    const char *why = reason(server, s, request);
    s->gives = !why;
    *ret = shoal_any_tuple(shoal_any_int((int64_t)view.region->family),
                           why ? shoal_any_str(why) : shoal_any_none());
    return *ret ? 0 : -ENOMEM;
}

void local_give(const struct session *s)
{
    char byte = 0;
    int fd = region_fd();
    union control control = {.header = {.cmsg_len = CMSG_LEN(sizeof fd),
                                        .cmsg_level = SOL_SOCKET,
                                        .cmsg_type = SCM_RIGHTS}};
    struct iovec one = {&byte, 1};
    struct msghdr message = {.msg_iov = &one,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    /* Where it cannot be sent the connection ends all the same, which tells. */
    if (fd >= 0)
        sendmsg(s->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

shoal_any *local_reference(const struct entry *e)
{
    const shoal_reference *r = &e->reference;
    if (!r->family)
        return shoal_any_none();
    return shoal_any_tuple(shoal_any_int((int64_t)r->family), shoal_any_int(r->id),
                           shoal_any_int(r->generation));
}

/* ---- the client ---- */

/* The descriptor that follows an answer: -EPIPE: none does. */
static int take_descriptor(int fd, int64_t deadline)
{
    char byte;
    int got = -1, rc;
    ssize_t n;
    do {
        union control control;
        struct iovec one = {&byte, 1};
        struct msghdr message = {.msg_iov = &one,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof control};
        rc = endpoint_wait(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, deadline);
        if (rc < 0)
            return rc;
        n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        const struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
        if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof got))
            memcpy(&got, CMSG_DATA(header), sizeof got);
    } while (n < 0 && (errno == EAGAIN || errno == EINTR));
    return got >= 0 ? got : -EPIPE;
}

static int stays_outside(const char *why)
{
    return fail(0, "shoal_manager_connect: the process does not join the server's family: %s", why);
}

int local_join(struct shoal_manager *m, shoal_connection *c, const shoal_any *answer,
               int64_t deadline)
{
    const shoal_any *family = NULL, *why = NULL;
    const char *text;
    int64_t number;
    if (shoal_any_at(answer, 0, &family) || shoal_any_at(answer, 1, &why) ||
        shoal_any_as_int(family, &number))
        return stays_outside("what came is no answer");
    if (view.base && view.region->family == (uint64_t)number) {
        m->family = (uint64_t)number; /* it is of it already */
        return 0;
    }
    if (!shoal_any_as_str(why, &text, NULL))
        return stays_outside(text);
    int fd = take_descriptor(shoal_connection_fileno(c), deadline);
    if (fd < 0)
        return fd == -EPIPE ? stays_outside("no descriptor came") : fd;
    int rc = self_join(fd);
    if (rc) {
        char said[sizeof shoal_thread.detail];
        close(fd);
        strcpy(said, fail_sentence());
        return stays_outside(said);
    }
    m->family = (uint64_t)number;
    if (m->key.size <= sizeof slot_at(0)->authkey) /* a longer one stays the connection's own */
        shoal_process_set_authkey(m->key.bytes, m->key.size);
    return 0;
}

int shoal_manager_is_local(const shoal_manager *m)
{
    shoal_address at;
    int rc = shoal_manager_address((shoal_manager *)(uintptr_t)m, &at);
    if (rc && rc != -EBUSY)
        return fail_in(rc, "shoal_manager_is_local");
    return !m->connected || (m->family && view.base && view.region->family == m->family);
}
